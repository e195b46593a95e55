"""Several prediction tables side by side: marks, ranking, paired tests, the table and its summary in words."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_runs import COURSE_SIZES, all_parts, answered, course_artefact
from scipy import stats

from covid_core.evaluation import assessment, comparison, resampling
from covid_core.evaluation.assessment import assess
from covid_core.evaluation.comparison import Candidate, Paired, ranking
from covid_core.evaluation.label_check import LabelCheck
from covid_core.reports.comparison_text import Summary, summary
from covid_core.reports.run_text import labels

EXACT = 1e-12
LABELS = ["A"] * 60 + ["B"] * 40


def candidate(name: str, table, **known) -> Candidate:
    found = assess(table)
    return Candidate(name, name, found, tuple(assessment.marks(found)), **known)


def told_of(*candidates: Candidate) -> Summary:
    return summary(ranking(candidates))


def paired(first: pd.DataFrame, second: pd.DataFrame) -> Paired:
    return comparison.pairs([assess(first), assess(second)]).of(0, 1)


def wrong_at(*images: int):
    """100 images, 60 A and 40 B, all answered rightly but those at the positions given; validation as the test part."""
    given = [("B" if label == "A" else "A") if i in images else label for i, label in enumerate(LABELS)]
    return pd.concat([answered(LABELS, given, part) for part in ("validation", "test")], ignore_index=True)


SOME_RUN = assess(wrong_at())


def test_the_course_table_has_the_majority_row_beside_the_run():
    table = comparison.performance_table([candidate("ResNet50", course_artefact())])
    run, majority, chance = table.to_dict("records")
    assert majority["name"] == "Majority baseline (COVID)"
    assert majority["test"] == run["test"] == 579 / 646
    assert (majority["balanced_accuracy"], majority["macro_auroc"]) == (0.5, 0.5)
    assert majority["macro_f1"] == pytest.approx(0.5 * 2 * 579 / (579 + 646), abs=EXACT)
    assert (chance["test"], chance["balanced_accuracy"]) == (1 / 3, 1 / 3)
    assert chance["log_loss"] == pytest.approx(math.log(3), abs=EXACT)


def test_the_chance_row_is_what_guessing_reaches_in_the_long_run():
    table = all_parts({"train": 3, "validation": 3, "test": 60_000}, skill=0)
    table["label"] = table["label"].where(table.index % 5 > 0, "COVID")  # unequal classes
    found = assess(table, intervals=False)
    _, _, chance = comparison.performance_table([Candidate("a", "a", found)]).to_dict("records")
    guessed = found.tested.overall
    assert chance["test"] == pytest.approx(guessed["accuracy"].value, abs=0.01)
    assert chance["balanced_accuracy"] == pytest.approx(guessed["balanced_accuracy"].value, abs=0.01)
    assert chance["macro_f1"] == pytest.approx(guessed["macro_f1"].value, abs=0.01)
    assert chance["macro_auroc"] == pytest.approx(guessed["macro_auroc"].value, abs=0.01)


@pytest.mark.parametrize(("b", "c"), [(12, 9), (9, 12), (0, 5), (1, 1), (40, 10), (300, 250)])
def test_exact_mcnemar_agrees_with_scipy(b, c):
    expected = stats.binomtest(b, b + c, 0.5).pvalue
    assert comparison.mcnemar(np.array(b), np.array(c)) == pytest.approx(expected, rel=1e-9)


def test_runs_that_never_disagree_have_a_p_of_one():
    assert comparison.mcnemar(np.array(0), np.array(0)) == 1.0


def test_paired_counts_the_images_that_one_run_alone_had_right():
    found = paired(wrong_at(0, 1), wrong_at(1, 2, 3, 4))
    assert (found.n, found.only_first, found.only_second) == (100, 3, 1)
    assert found.difference == pytest.approx(0.02, abs=EXACT)
    assert found.low < 0 < found.high
    assert found.could_be_chance


def test_a_pair_turned_round_has_the_opposite_difference():
    both = comparison.pairs([assess(wrong_at(0, 1)), assess(wrong_at(*range(10, 30)))])
    one, other = both.of(0, 1), both.of(1, 0)
    assert (other.only_first, other.difference, other.p) == (one.only_second, -one.difference, one.p)
    assert (other.low, other.high) == (-one.high, -one.low)


def test_holm_multiplies_the_smallest_by_all_and_never_falls():
    corrected = comparison.holm(np.array([0.04, 0.01, 0.03, 0.5]))
    assert corrected == pytest.approx([0.09, 0.04, 0.09, 0.5], abs=EXACT)


def test_every_pair_of_a_group_is_corrected_for_all_of_them():
    found = comparison.pairs([assess(wrong_at(*range(n))) for n in (0, 6, 20)])
    upper = np.triu_indices(3, 1)
    assert found.compared == 3
    assert found.p_holm[upper] == pytest.approx(comparison.holm(found.p[upper]), abs=EXACT)
    assert np.isnan(np.diagonal(found.p)).all()


def test_paired_does_not_depend_on_the_order_of_the_images():
    table = wrong_at(0, 1, 70)
    found = paired(table, table.sample(frac=1, random_state=1))
    assert (found.only_first, found.only_second) == (0, 0)


def outcomes(rng: np.random.Generator, shares: list[float], images: int) -> np.ndarray:
    """Which images runs get right, of shape (runs, images): hard images are hard for all, as for real models
    (correlation near 0.4)."""
    hardness, luck = rng.normal(size=images), rng.normal(size=(len(shares), images))
    return np.sqrt(0.6) * hardness + np.sqrt(0.4) * luck > -stats.norm.ppf(shares)[:, None]


def compared(right: np.ndarray, groups: np.ndarray | None = None) -> comparison.Pairs:
    """What the page says of runs that got these images right, all of one class."""
    strata = np.zeros(right.shape[1], int)
    return comparison.pairs([replace(SOME_RUN, right=row, strata=strata, groups=groups) for row in right])


def called_different(found: comparison.Pairs) -> bool:
    """Whether any pair is said to differ by more than chance."""
    runs = range(len(found.p))
    return any(not found.of(i, j).could_be_chance for i in runs for j in runs if i < j)


def any_below(p: np.ndarray) -> bool:
    return bool(np.nanmin(p[np.triu_indices(len(p), 1)]) <= 0.05)


@pytest.fixture
def few_draws(monkeypatch):
    """Where only p values are looked at."""
    monkeypatch.setattr(resampling, "REPLICATES", 20)
    resampling._cached.cache_clear()
    yield
    resampling._cached.cache_clear()


def test_two_models_of_the_same_skill_are_called_different_in_at_most_one_of_twenty_trials(few_draws):
    rng = np.random.default_rng(0)
    found = [compared(outcomes(rng, [0.9, 0.9], 646)) for _ in range(1000)]
    assert 0.02 <= np.mean([called_different(one) for one in found]) <= 0.05
    assert np.mean([one.p[0, 1] / 2 <= 0.05 for one in found]) > 0.07  # a one-sided p would not pass this trial


def test_a_gap_of_five_points_on_1500_images_is_found_in_four_of_five_trials(few_draws):
    rng = np.random.default_rng(1)
    assert np.mean([called_different(compared(outcomes(rng, [0.88, 0.83], 1500))) for _ in range(300)]) >= 0.8


def test_a_false_alarm_among_many_equal_runs_is_as_rare_as_among_two(few_draws):
    rng = np.random.default_rng(2)
    found = [compared(outcomes(rng, [0.85] * 6, 300)) for _ in range(300)]
    assert np.mean([called_different(one) for one in found]) <= 0.05
    assert np.mean([any_below(one.p) for one in found]) > 0.15  # without Holm's correction it would be many


def test_two_equal_models_on_images_that_come_in_fives_are_called_different_no_more_often(few_draws):
    """Five copies of an image are right or wrong together: as five images, they would be five times the evidence."""
    rng, groups = np.random.default_rng(3), np.repeat(np.arange(120), 5)
    trials = [np.repeat(outcomes(rng, [0.85, 0.85], 120), 5, axis=1) for _ in range(500)]
    assert np.mean([called_different(compared(right, groups)) for right in trials]) <= 0.05
    assert np.mean([called_different(compared(right)) for right in trials]) > 0.2


def test_images_that_stand_by_themselves_have_the_p_of_the_exact_mcnemar_test():
    right = outcomes(np.random.default_rng(4), [0.9, 0.8, 0.85, 0.85], 200)
    alone, grouped = compared(right), compared(right, np.arange(200))
    np.testing.assert_allclose(grouped.p, alone.p, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_p_of_groups_counts_the_ways_to_turn_them_round(seed):
    rng = np.random.default_rng(seed)
    groups = np.sort(rng.integers(0, 9, 25))
    right = rng.random((2, 25)) < [[0.8], [0.5]]
    leads = np.array([right[0][groups == g].sum() - right[1][groups == g].sum() for g in range(9)])
    ways = [abs(np.dot(signs, leads)) >= abs(leads.sum()) for signs in itertools.product((1, -1), repeat=9)]
    assert comparison.mcnemar_of_groups(right, groups)[0, 1] == pytest.approx(np.mean(ways), rel=1e-12)


def test_the_paired_interval_holds_the_true_difference_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(resampling, "REPLICATES", 400)
    resampling._cached.cache_clear()
    rng, inside = np.random.default_rng(3), []
    for _ in range(300):
        found = compared(outcomes(rng, [0.85, 0.8], 100)).of(0, 1)
        inside.append(found.low <= 0.05 <= found.high)
    resampling._cached.cache_clear()
    assert np.mean(inside) == pytest.approx(0.95, abs=0.035)


def test_runs_with_other_test_images_are_not_comparable():
    one, other = assess(wrong_at()), assess(wrong_at().assign(image_id=lambda t: "x" + t["image_id"]))
    assert not comparison.comparable(one, other)
    with pytest.raises(ValueError, match="same test images"):
        comparison.pairs([one, other])


def test_runs_with_other_labels_on_the_same_images_are_not_comparable():
    table = wrong_at()
    last = table.index[-1]
    assert not comparison.comparable(
        assess(table), assess(table.assign(label=table["label"].where(table.index != last, "A")))
    )


def test_groups_hold_runs_of_the_same_test_images_the_largest_first():
    alone = candidate("alone", all_parts(COURSE_SIZES, skill=1))
    a, b = candidate("a", wrong_at(0)), candidate("b", wrong_at(1))
    assert [[c.name for c in group] for group in comparison.grouped([alone, a, b])] == [["a", "b"], ["alone"]]


def test_equal_test_accuracy_is_ranked_by_validation():
    better = wrong_at(0)
    worse = better.copy()
    worse.loc[5, ["score_A", "score_B"]] = [0.2, 0.8]  # an image of the validation part
    order = ranking([candidate("worse", worse), candidate("better", better)]).order
    assert [c.name for c in order] == ["better", "worse"]


def test_an_empty_test_part_is_undefined_and_ranks_last():
    empty = candidate("empty", answered(["A", "B"], ["A", "B"], "train"))
    assert math.isnan(empty.assessment.test.value)
    assert empty.marks == ()
    assert told_of(empty).headline == "None of these runs has predicted a test image."


def test_the_table_of_no_runs_is_empty():
    assert comparison.performance_table([]).empty


def test_summary_says_that_a_small_lead_could_be_chance():
    told = told_of(candidate("B", wrong_at(0, 1)), candidate("A", wrong_at(1, 2, 3)))
    assert told.headline.startswith(
        "B is the best of 2 runs: 98.0 % [93.0, 99.4] of 100 test images, not significantly"
    )
    assert told.details[0].startswith("B leads A by 1.0 points [") and told.details[0].endswith(": not significant.")
    assert told.details[1].startswith(
        "2 images are predicted correctly by B alone, 1 by A alone (exact McNemar test, p = 1.00)"
    )


def test_summary_says_that_a_large_lead_is_more_than_chance():
    told = told_of(candidate("A", wrong_at(*range(20))), candidate("B", wrong_at()))
    assert "significantly more than A" in told.headline and "not significantly" not in told.headline
    assert (
        told.details[1] == "20 images are predicted correctly by B alone, 0 by A alone (exact McNemar test, p < 0.001)."
    )


def test_summary_says_that_images_that_belong_together_count_for_fewer():
    table = all_parts({"train": 3, "validation": 3, "test": 60}, skill=0)
    patients = pd.Series((table.index // 10).to_numpy(), index=table["image_id"])
    for groups, said in (
        (None, "at 5 %)"),
        (patients, "at 5 %, cluster-adjusted)"),
    ):
        told = summary(ranking([Candidate("A", "A", assess(table, groups=groups))]))
        assert any(said in sentence for sentence in (told.headline, *told.details))


def test_summary_says_why_an_interval_may_leave_zero_out_where_the_test_finds_nothing():
    lead, test, *_ = told_of(candidate("A", wrong_at(*range(5))), candidate("B", wrong_at())).details
    assert "5 images are predicted correctly by B alone" in test and "exact McNemar test, p = 0.063" in test
    assert "not significant. The" in lead and lead.endswith(
        " the exact test is the stricter of the two, and it decides."
    )


def test_summary_says_why_an_interval_may_leave_zero_out_where_the_correction_takes_the_finding_back():
    runs = [candidate("A", wrong_at()), candidate("B", wrong_at(*range(6))), candidate("C", wrong_at(*range(10, 16)))]
    lead, test, *_ = told_of(*runs).details
    assert "exact McNemar test, p = 0.031; p = 0.094 after Holm's correction for 3 pairs" in test
    assert lead.endswith("but it is for this pair alone; the test corrects for 3 pairs.")


def test_summary_says_why_an_interval_may_reach_zero_where_the_test_finds_something():
    order = [candidate("A", wrong_at()), candidate("B", wrong_at(*range(20)))]
    found = ranking(order)
    near = replace(found, pairs=replace(found.pairs, low=found.pairs.low - found.pairs.low[0, 1]))
    assert "The interval includes 0 all the same" in summary(near).details[0]


@pytest.mark.parametrize("errors", [1, 20])
def test_summary_explains_nothing_where_interval_and_test_agree(errors):
    told = told_of(candidate("A", wrong_at(*range(errors))), candidate("B", wrong_at()))
    assert "The interval" not in told.details[0]


def test_summary_of_equal_runs_names_both():
    told = told_of(candidate("A", wrong_at(1)), candidate("B", wrong_at(2)))
    assert told.headline.startswith("A and B are level at the top")


def test_summary_does_not_crown_a_run_below_the_majority_class():
    told = told_of(candidate("A", course_artefact()), candidate("B", course_artefact()))
    assert told.headline.startswith("None of these 2 runs beats the majority baseline (always COVID)")
    assert "A, B: predicts one class only, does not beat the majority baseline." in told.warnings


def test_summary_says_how_many_images_chose_where_validation_is_halved():
    table = wrong_at(0)
    halved = [
        Candidate(name, name, assess(one, choosing=one[~one["image_id"].isin(table["image_id"].iloc[50:100])]))
        for name, one in (("First", table), ("Second", wrong_at(0, 1, 2, 3)))
    ]
    assert "on the 50 validation images that choose" in " ".join(told_of(*halved).details)


def test_summary_tells_when_validation_would_choose_another_run():
    best_on_test = wrong_at(0, 1, 2)
    best_on_test.loc[best_on_test["part"] == "test", ["score_A", "score_B"]] = wrong_at().loc[
        lambda t: t["part"] == "test", ["score_A", "score_B"]
    ]
    told = told_of(candidate("lucky", best_on_test), candidate("chosen", wrong_at(9)))
    assert any("it picks chosen (99.0 % against 97.0 %)" in sentence for sentence in told.details)


def test_summary_names_what_the_best_run_costs():
    told = told_of(candidate("A", wrong_at(0), seconds=130, ms_per_image=3.71))
    assert "A took 2 min 10 s to train and takes 3.7 ms per image." in told.details


def test_summary_warns_when_runs_were_trained_on_different_images():
    runs = [candidate("A", wrong_at(0), split_hash="1"), candidate("B", wrong_at(), split_hash="2")]
    assert any("the training images differ between runs" in warning for warning in told_of(*runs).warnings)


def test_images_of_the_same_names_in_another_data_set_are_other_images():
    assert not comparison.comparable(assess(wrong_at(0), images_of="one"), assess(wrong_at(0), images_of="other"))


def test_summary_explains_a_mark_once_and_names_the_runs_where_these_are_not_all():
    tables = [wrong_at(*range(7 + k)) for k in range(3)]
    moved = LabelCheck(10, 4, cause="moved", number=1)
    explained = [candidate(name, table, labels=moved) for name, table in zip("xy", tables[:2], strict=True)]
    assert told_of(*explained).warnings[-1] == labels(moved)
    assert told_of(*explained, candidate("z", tables[2])).warnings[-1] == f"x, y: {labels(moved)}"
