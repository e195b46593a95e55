"""Several prediction tables side by side: marks, ranking, paired tests, the table and its summary in words."""

import math

import numpy as np
import pandas as pd
import pytest
from made_runs import COURSE_SIZES, all_parts, answered, course_artefact
from scipy import stats

from covid_core.evaluation import comparison
from covid_core.evaluation.comparison import Candidate, assess
from covid_core.evaluation.wording import summary

EXACT = 1e-12
LABELS = ["A"] * 60 + ["B"] * 40


def candidate(name: str, table, **known) -> Candidate:
    found = assess(table)
    return Candidate(name, name, found, tuple(comparison.marks(found)), **known)


def wrong_at(*films: int):
    """100 films, 60 A and 40 B, all answered rightly but those at the positions given; validation as the test part."""
    given = [("B" if label == "A" else "A") if i in films else label for i, label in enumerate(LABELS)]
    return pd.concat([answered(LABELS, given, part) for part in ("validation", "test")], ignore_index=True)


def test_the_course_artefact_is_89_63_per_cent_and_marked_twice():
    found = assess(course_artefact())
    assert f"{100 * found.test.value:.2f}" == "89.63"
    assert f"{100 * found.validation.value:.2f}" == "89.77"
    assert comparison.marks(found) == [comparison.ONE_CLASS, comparison.NOT_BETTER]


def test_the_course_table_has_the_majority_row_beside_the_run():
    table = comparison.performance_table([candidate("ResNet50", course_artefact())])
    run, majority = table.to_dict("records")
    assert majority["name"] == "Majority class (COVID)"
    assert majority["test"] == run["test"] == 579 / 646
    assert (majority["balanced_accuracy"], majority["macro_auroc"]) == (0.5, 0.5)
    assert majority["macro_f1"] == pytest.approx(0.5 * 2 * 579 / (579 + 646), abs=EXACT)


def test_two_films_above_the_majority_class_do_not_beat_it():
    table = course_artefact()
    normal = table.index[(table["part"] == "test") & (table["label"] == "Normal")][:2]
    table.loc[normal, ["score_COVID", "score_Normal"]] = [0.15, 0.8]
    found = assess(table)
    assert f"{100 * found.test.value:.2f}" == "89.94"
    assert comparison.marks(found) == [comparison.NOT_BETTER]


def test_a_run_well_above_the_majority_class_has_no_marks():
    assert comparison.marks(assess(all_parts(COURSE_SIZES, skill=3))) == []


def test_a_loss_that_is_not_a_number_is_marked_first():
    assert comparison.marks(assess(course_artefact()), loss_is_a_number=False)[0] == comparison.LOSS_NOT_A_NUMBER


def test_scores_that_are_not_numbers_are_marked():
    table = wrong_at()
    table.loc[0, "score_A"] = np.nan
    assert comparison.NO_ANSWER in comparison.marks(assess(table))


@pytest.mark.parametrize(
    ("hits", "total", "chance"), [(0, 5, 0.3), (3, 5, 0.3), (581, 646, 579 / 646), (646, 646, 0.5)]
)
def test_one_sided_binomial_agrees_with_scipy(hits, total, chance):
    expected = stats.binomtest(hits, total, chance, alternative="greater").pvalue
    assert comparison.at_least_by_chance(hits, total, chance) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("b", "c"), [(12, 9), (9, 12), (0, 5), (1, 1), (40, 10), (300, 250)])
def test_exact_mcnemar_agrees_with_scipy(b, c):
    expected = stats.binomtest(b, b + c, 0.5).pvalue
    assert comparison.mcnemar(b, c) == pytest.approx(expected, rel=1e-9)


def test_runs_that_never_disagree_have_a_p_of_one():
    assert comparison.mcnemar(0, 0) == 1.0


def test_paired_counts_the_films_that_one_run_alone_had_right():
    found = comparison.paired(assess(wrong_at(0, 1)), assess(wrong_at(1, 2, 3, 4)))
    assert (found.n, found.only_first, found.only_second) == (100, 3, 1)
    assert found.difference == pytest.approx(0.02, abs=EXACT)
    assert found.low < 0 < found.high
    assert found.could_be_chance


def test_paired_does_not_depend_on_the_order_of_the_films():
    table = wrong_at(0, 1, 70)
    found = comparison.paired(assess(table), assess(table.sample(frac=1, random_state=1)))
    assert (found.only_first, found.only_second) == (0, 0)


def test_paired_interval_of_uncorrelated_runs_adds_the_squares_of_wilsons_half_widths():
    low, high = comparison.paired_interval(40, 10, 0, 0)  # the first run is always right: no correlation
    first, second = (stats.binomtest(hits, 50).proportion_ci(method="wilson") for hits in (50, 40))
    assert low == pytest.approx(0.2 - math.hypot(1 - first.low, second.high - 0.8), abs=EXACT)
    assert high == pytest.approx(0.2 + math.hypot(first.high - 1, 0.8 - second.low), abs=EXACT)


def test_paired_interval_holds_the_true_difference_as_often_as_it_says():
    rng = np.random.default_rng(0)
    cells = rng.multinomial(200, [0.8, 0.1, 0.06, 0.04], size=2000)
    inside = [low <= 0.04 <= high for low, high in (comparison.paired_interval(*map(int, row)) for row in cells)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_runs_with_other_test_films_are_not_comparable():
    one, other = assess(wrong_at()), assess(wrong_at().assign(image_id=lambda t: "x" + t["image_id"]))
    assert not comparison.comparable(one, other)
    with pytest.raises(ValueError, match="same test films"):
        comparison.paired(one, other)


def test_runs_with_other_labels_on_the_same_films_are_not_comparable():
    table = wrong_at()
    last = table.index[-1]
    assert not comparison.comparable(
        assess(table), assess(table.assign(label=table["label"].where(table.index != last, "A")))
    )


def test_groups_hold_runs_of_the_same_test_films_the_largest_first():
    alone = candidate("alone", all_parts(COURSE_SIZES, skill=1))
    a, b = candidate("a", wrong_at(0)), candidate("b", wrong_at(1))
    assert [[c.name for c in group] for group in comparison.grouped([alone, a, b])] == [["a", "b"], ["alone"]]


def test_equal_test_accuracy_is_ranked_by_validation():
    better = wrong_at(0)
    worse = better.copy()
    worse.loc[5, ["score_A", "score_B"]] = [0.2, 0.8]  # a film of the validation part
    order = comparison.ranked([candidate("worse", worse), candidate("better", better)])
    assert [c.name for c in order] == ["better", "worse"]


def test_an_empty_test_part_is_undefined_and_ranks_last():
    empty = candidate("empty", answered(["A", "B"], ["A", "B"], "train"))
    assert math.isnan(empty.assessment.test.value)
    assert empty.marks == ()
    assert summary([empty]).headline == "None of these runs has answered a test film."


def test_the_table_of_no_runs_is_empty():
    assert comparison.performance_table([]).empty


def test_summary_says_that_a_small_lead_could_be_chance():
    told = summary([candidate("B", wrong_at(0, 1)), candidate("A", wrong_at(1, 2, 3))])
    assert told.headline.startswith("B is the best of 2 runs: 98.0 % [93.0, 99.4] of 100 test films.")
    assert "It leads A by 1.0 points [" in told.headline
    assert "could be chance: 2 films that only A" not in told.headline
    assert "the difference could be chance: 2 films that only B has right against 1 that only A has" in told.headline


def test_summary_says_that_a_large_lead_is_more_than_chance():
    told = summary([candidate("A", wrong_at(*range(20))), candidate("B", wrong_at())])
    assert "that is more than chance: 20 films that only B has right against 0" in told.headline
    assert "p < 0.001" in told.headline


def test_summary_of_equal_runs_names_both():
    told = summary([candidate("A", wrong_at(1)), candidate("B", wrong_at(2))])
    assert told.headline.startswith("A and B are level at the top")


def test_summary_does_not_crown_a_run_below_the_majority_class():
    told = summary([candidate("A", course_artefact()), candidate("B", course_artefact())])
    assert told.headline.startswith("None of these 2 runs beats always answering COVID")
    assert "A: predicts one class only, does not beat the majority class." in told.warnings


def test_summary_tells_when_validation_would_choose_another_run():
    best_on_test = wrong_at(0, 1, 2)
    best_on_test.loc[best_on_test["part"] == "test", ["score_A", "score_B"]] = wrong_at().loc[
        lambda t: t["part"] == "test", ["score_A", "score_B"]
    ]
    told = summary([candidate("lucky", best_on_test), candidate("chosen", wrong_at(9))])
    assert any("it picks chosen (99.0 % against 97.0 %)" in sentence for sentence in told.details)


def test_summary_names_what_the_best_run_costs():
    told = summary([candidate("A", wrong_at(0), seconds=130, ms_per_film=3.71)])
    assert "What it costs: A trained for 2 min 10 s and takes 3.7 ms per film." in told.details


def test_summary_warns_when_runs_were_trained_on_different_films():
    runs = [candidate("A", wrong_at(0), split_hash="1"), candidate("B", wrong_at(), split_hash="2")]
    assert any("trained on different films" in warning for warning in summary(runs).warnings)


def test_films_of_the_same_names_in_another_data_set_are_other_films():
    assert not comparison.comparable(assess(wrong_at(0), films_of="one"), assess(wrong_at(0), films_of="other"))
