"""Studies of folds and seeds: what their runs say together, which runs are paired, and the same in words."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_runs import answered, fold_table

from covid_core.evaluation import repeats, resampling
from covid_core.evaluation.assessment import assess
from covid_core.evaluation.comparison import holm
from covid_core.evaluation.corrected_tests import over_folds, over_seeds
from covid_core.evaluation.metrics import wilson
from covid_core.evaluation.repeats import ImageChoice, Remark, Repeat, Repeats
from covid_core.reports import repeats_tables
from covid_core.reports.encode import encode
from covid_core.reports.repeats_text import reason, study_line, summary

EXACT = 1e-12
IMAGES = ImageChoice("X", 0, (), 1, None, 0.2, grouped=False, seed=1, shifted=False)
LABELS = ["A"] * 6 + ["B"] * 4


def table(fold: int, *wrong: int) -> pd.DataFrame:
    """40 training images and a fold's ten test images, 6 A and 4 B, all right but those at the positions given."""
    given = [("B" if label == "A" else "A") if i in wrong else label for i, label in enumerate(LABELS)]
    test = answered(LABELS, given).assign(image_id=lambda t: f"fold-{fold}-" + t["image_id"])
    return pd.concat([answered(4 * LABELS, 4 * LABELS, "train"), test], ignore_index=True)


def study(name: str, runs: dict[tuple[int, int], pd.DataFrame], folds: int = 3, groups=None, **known) -> Repeats:
    """A study of the tables of each (fold, seed)."""
    found = tuple(
        Repeat(f"{name} {key}", f"{name} {key}", *key, assess(one, groups=groups, intervals=False))
        for key, one in runs.items()
    )
    return Repeats(
        **{"id": name, "name": name, "folds": folds, "images": IMAGES, "planned": len(runs), **known, "runs": found}
    )


def of_folds(name: str, *wrong: int, **known) -> Repeats:
    """A study of folds in which fold i has so many images wrong."""
    tables = {(fold, 0): table(fold, *range(images)) for fold, images in enumerate(wrong)}
    return study(name, tables, folds=known.pop("folds", len(wrong)), **known)


def of_seeds(name: str, *wrong: tuple[int, ...], **known) -> Repeats:
    """A study of seeds on one split in which seed i has the images at these positions wrong."""
    return study(name, {(0, seed): table(0, *images) for seed, images in enumerate(wrong)}, folds=1, **known)


# One study


def test_a_study_has_mean_spread_lowest_and_highest_of_each_measure():
    found = repeats.spreads(of_folds("a", 1, 2, 3))
    assert found["accuracy"].mean == pytest.approx(0.8)
    assert found["accuracy"].spread == pytest.approx(0.1)
    assert (found["accuracy"].lowest, found["accuracy"].highest) == pytest.approx((0.7, 0.9))
    assert found["sensitivity A"].mean == pytest.approx(np.mean([5 / 6, 4 / 6, 3 / 6]))
    assert found["sensitivity B"].spread == 0
    assert found["balanced_accuracy"].mean == pytest.approx(np.mean([11 / 12, 10 / 12, 9 / 12]))
    assert set(found) == {"accuracy", "balanced_accuracy", "macro_auroc", "sensitivity A", "sensitivity B"}


def test_an_undefined_value_is_left_out_and_the_count_says_so():
    found = repeats.spread([0.5, math.nan, 0.7])
    assert (found.mean, found.count) == (pytest.approx(0.6), 2)
    assert math.isnan(repeats.spread([]).mean)
    assert math.isnan(repeats.spread([0.5]).spread)


def test_all_folds_together_test_every_image_once():
    (found,) = repeats.pooled(of_folds("a", 1, 2, 3))
    assert found.accuracy == wilson(24, 30)
    assert found.sensitivity["A"] == wilson(12, 18)
    assert found.method == "Wilson"


def test_folds_that_are_not_complete_are_not_pooled():
    assert repeats.pooled(of_folds("a", 1, 2, folds=3)) == ()


def test_seeds_on_one_split_are_not_pooled():
    assert repeats.pooled(of_seeds("a", (0,), (1,))) == ()


def test_each_seed_with_all_folds_is_pooled_by_itself():
    tables = {(fold, seed): table(fold, *range(seed)) for fold in (0, 1) for seed in (1, 2)}
    tables[0, 3] = table(0)
    found = repeats.pooled(study("a", tables, folds=2))
    assert [(one.seed, one.accuracy.value) for one in found] == [(1, 0.9), (2, 0.8)]


def test_where_images_belong_together_groups_are_drawn_again():
    images = [f"fold-{fold}-test-{i:05d}" for fold in range(3) for i in range(10)]
    groups = pd.Series([f"{name[:6]} {int(name[-1]) // 5}" for name in images], index=images)
    plain, grouped = (repeats.pooled(of_folds("a", 3, 0, 5, groups=given))[0] for given in (None, groups))
    assert grouped.method == "bootstrap of groups"
    assert grouped.accuracy.value == plain.accuracy.value
    right = np.array([i >= wrong for wrong in (3, 0, 5) for i in range(10)])
    strata, units = np.array([label == "B" for label in 3 * LABELS]).astype(int), np.arange(30) // 5  # across folds too
    drawn = resampling.replicates(lambda times: {"a": right @ times / times.sum(axis=0)}, strata, units)
    assert (grouped.accuracy.low, grouped.accuracy.high) == pytest.approx(tuple(resampling.interval(drawn["a"])))
    assert grouped.accuracy.low < plain.accuracy.low
    assert grouped.sensitivity["A"].low < plain.sensitivity["A"].low


def test_folds_of_images_that_stand_alone_are_pooled_as_without_groups():
    images = [f"fold-{fold}-test-{i:05d}" for fold in range(3) for i in range(10)]
    plain, alone = (
        repeats.pooled(of_folds("a", 3, 0, 5, groups=given)) for given in (None, pd.Series(images, index=images))
    )
    assert alone == plain


def test_a_study_is_tested_against_the_majority_class_of_its_own_test_images():
    above = repeats.above_majority(of_folds("a", 1, 2, 3))
    assert above.result == over_folds([0.3, 0.2, 0.1], trained=40, tested=10)
    assert above.is_above == (above.result.p / 2 <= 0.05)


def test_a_study_below_the_majority_class_is_not_above_it():
    above = repeats.above_majority(of_folds("a", 7, 7, 8))
    assert above.result.p < 0.05
    assert not above.is_above


def test_seeds_are_tested_against_the_majority_class_image_by_image():
    above = repeats.above_majority(of_seeds("a", (0,), (1, 2), (0, 1)))
    gains = np.zeros((3, 10))
    gains[:, 6:] = 1  # images of B, which always answering A has wrong
    for seed, wrong in enumerate([(0,), (1, 2), (0, 1)]):
        gains[seed, list(wrong)] = -1
    assert above.result == over_seeds(gains)


def test_one_fold_cannot_be_tested_and_says_why():
    one = of_folds("a", 1, folds=3)
    above = repeats.above_majority(one)
    assert above.result is None
    assert reason(above, one) == "only one fold is finished, and an SD needs two"


# Pairs


def test_folds_are_paired_by_fold_and_tested_with_their_sizes():
    found = repeats.difference(of_folds("a", 0, 1, 0), of_folds("b", 2, 2, 3))
    assert found.result == over_folds([0.2, 0.1, 0.3], trained=40, tested=10)
    assert (found.varied, found.runs) == ("folds", 3)


def test_the_order_in_which_runs_were_queued_does_not_matter():
    turned = study("b", {(fold, 0): table(fold, *range(n)) for fold, n in ((2, 3), (0, 2), (1, 2))})
    assert repeats.difference(of_folds("a", 0, 1, 0), turned).result.mean == pytest.approx(0.2)


def test_the_smaller_training_part_of_a_pair_counts():
    smaller = study("b", {(fold, 0): table(fold, *range(n)).iloc[20:] for fold, n in enumerate((2, 2, 3))})
    found = repeats.difference(of_folds("a", 0, 1, 0), smaller)
    assert found.result == over_folds([0.2, 0.1, 0.3], trained=20, tested=10)


def test_seeds_of_a_fold_count_as_one_value_because_they_share_its_images():
    first = study("a", {(fold, seed): table(fold) for fold in (0, 1) for seed in (0, 1)}, folds=2)
    wrong = {(0, 0): 1, (0, 1): 3, (1, 0): 2, (1, 1): 4}
    second = study("b", {key: table(key[0], *range(n)) for key, n in wrong.items()}, folds=2)
    found = repeats.difference(first, second)
    assert found.result.mean == pytest.approx(0.25)
    assert (found.result.count, found.runs) == (2, 4)
    assert found.result.p == pytest.approx(over_folds([0.2, 0.3], trained=40, tested=10).p)


def test_seeds_on_one_split_are_paired_image_by_image():
    found = repeats.difference(of_seeds("a", (), (0,)), of_seeds("b", (1, 2), (2, 3)))
    gains = np.zeros((2, 10))
    gains[0, [1, 2]] = gains[1, [2, 3]] = 1
    gains[1, 0] = -1
    assert found.result == over_seeds(gains)
    assert found.varied == "seeds"


def test_images_of_one_group_count_as_one_case_over_seeds():
    images = [f"fold-0-test-{i:05d}" for i in range(10)]
    groups = pd.Series([str(i // 2) for i in range(10)], index=images)
    given = ((), (0,)), ((1, 2), (2, 3))
    plain = repeats.difference(*(of_seeds(name, *wrong) for name, wrong in zip("ab", given, strict=True)))
    grouped = repeats.difference(
        *(of_seeds(name, *wrong, groups=groups) for name, wrong in zip("ab", given, strict=True))
    )
    assert grouped.result.mean == pytest.approx(plain.result.mean)
    assert grouped.result.p != plain.result.p


def test_only_what_both_studies_have_is_compared():
    found = repeats.difference(of_folds("a", 0, 1, 0), of_folds("b", 2, 2, folds=3))
    assert (found.result.count, found.result.mean) == (2, pytest.approx(0.15))


OTHER = {
    "folds": (of_folds("a", 1, 2), of_folds("b", 1, 2, 3), "other folds: 2 folds (a) against 3 folds (b)"),
    "one split": (of_folds("a", 1, 2), of_seeds("b", (1,), (2,)), "2 folds (a) against one split for all seeds (b)"),
    "images": (
        of_seeds("a", (1,), (2,), images=IMAGES),
        study("b", {(0, s): table(7) for s in (0, 1)}, folds=1, images=replace(IMAGES, seed=2)),
        "other test images: X: 20 % of the images, seed 1 (a) against X: 20 % of the images, seed 2 (b)",
    ),
    "changed images": (
        of_seeds("a", (1,), (2,)),
        study("b", {(0, s): table(7) for s in (0, 1)}, folds=1),
        "images or labels of the data set were changed in between",
    ),
    "seeds": (
        study("a", {(0, s): table(0) for s in (0, 1)}, folds=1),
        study("b", {(0, s): table(0) for s in (2, 3)}, folds=1),
        "other seeds of training: 0, 1 (a) against 2, 3 (b)",
    ),
    "classes": (
        of_seeds("a", (1,), (2,)),
        study("b", {(0, s): answered(["A", "C"], ["A", "C"]) for s in (0, 1)}, folds=1),
        "other classes: A, B (a) against A, C (b)",
    ),
    "unlike folds done": (
        study("a", {(0, 0): table(0)}),
        study("b", {(1, 0): table(1)}),
        "no fold and seed is finished in both studies",
    ),
    "one fold in common": (
        study("a", {(0, 0): table(0), (1, 0): table(1)}),
        study("b", {(1, 0): table(1), (2, 0): table(2)}),
        "only one fold is finished in both studies, and an SD needs two",
    ),
    "nothing done": (of_folds("a", 1, 2), study("b", {}), "no finished run in b"),
}


@pytest.mark.parametrize(("first", "second", "why"), OTHER.values(), ids=OTHER)
def test_studies_that_cannot_be_paired_name_what_differs(first, second, why):
    found = repeats.difference(first, second)
    assert found.result is None
    assert why in reason(found, first, second)


def test_folds_that_all_differ_by_the_same_have_no_p_and_say_why():
    found = repeats.difference(of_folds("a", 0, 1, 2), of_folds("b", 1, 2, 3))
    assert math.isnan(found.result.p)
    assert found.reason == "alike"


def test_all_pairs_that_can_be_tested_are_corrected_together():
    given = repeats.compare(
        [of_folds("a", 0, 1, 0), of_folds("b", 3, 2, 3), of_folds("c", 5, 5, 4), of_seeds("d", (1,), (2,))]
    )
    tested = [pair for pair in given.pairs.values() if pair.result]
    assert (given.compared, len(given.pairs)) == (3, 6)
    assert [one.p_holm for one in tested] == pytest.approx(list(holm(np.array([one.result.p for one in tested]))))


def test_a_pair_without_p_does_not_spoil_the_correction_of_the_others():
    given = repeats.compare([of_folds("a", 0, 1, 0), of_folds("b", 1, 2, 1), of_folds("c", 3, 2, 3)])
    corrected = [given.pairs[at].p_holm for at in ((0, 1), (0, 2), (1, 2))]
    assert math.isnan(corrected[0])
    assert corrected[1:] == pytest.approx(list(holm(np.array([given.pairs[at].result.p for at in ((0, 2), (1, 2))]))))
    assert given.compared == 2


def test_studies_stand_by_their_mean_and_those_without_runs_last():
    given = repeats.compare([study("empty", {}), of_folds("low", 3, 3), of_folds("high", 1, 2)])
    assert [one.name for one in given.studies] == ["high", "low", "empty"]


# Tables and words


def test_the_tables_have_a_row_for_each_study_measure_run_and_pair():
    given = repeats.compare([of_folds("a", 0, 1, 0), of_folds("b", 3, 2, 3), study("empty", {})])
    of_study = repeats_tables.study_table(given)
    assert of_study["pooled"].round(3).tolist()[:2] == [0.967, 0.733]
    assert of_study["above_majority"].round(3).tolist()[:2] == [0.367, 0.133]
    assert len(repeats_tables.spread_table(given)) == 2 * 5 + 3
    assert repeats_tables.run_table(given, "sensitivity B")["value"].tolist() == [1.0] * 6
    pairs = repeats_tables.pair_table(given)
    assert pairs["difference"].round(3).tolist()[0] == 0.233
    assert pairs["reason"].tolist()[1:] == ["no finished run in empty"] * 2


def test_the_answer_for_the_command_line_holds_studies_and_pairs():
    answer = encode(repeats.compare([of_folds("a", 0, 1, 0), of_folds("b", 3, 2, 3)]))
    one = answer["studies"][0]
    assert (one["runs"][0]["trained"], one["runs"][0]["tested"]) == (40, 10)
    assert one["pooled"][0]["accuracy"]["n"] == 30
    assert one["above_majority"]["p_above"] < one["above_majority"]["p"]
    assert answer["pairs"][0]["test"] == "corrected resampled t-test"


def test_a_line_tells_mean_spread_and_the_pooled_figure():
    one = of_folds("a", 1, 2, 3)
    assert study_line(one, repeats.spreads(one)["accuracy"], repeats.pooled(one)) == (
        "test accuracy 80.0 % on average, SD 10.0 points, 70.0 % to 90.0 % over 3 folds; "
        "pooled over all folds 80.0 % [62.7, 90.5] of 30 images"
    )


def test_pooled_figures_of_several_seeds_are_told_from_lowest_to_highest():
    tables = {(fold, seed): table(fold, *range(seed)) for fold in (0, 1) for seed in (1, 2)}
    one = study("a", tables, folds=2)
    line = study_line(one, repeats.spreads(one)["accuracy"], repeats.pooled(one))
    assert line.endswith("over 2 folds x 2 seeds; pooled over all folds 80.0 % to 90.0 % of 20 images, by seed")


def test_the_headline_says_that_a_difference_could_be_chance():
    told = summary(repeats.compare([of_folds("a", 0, 1, 0), of_folds("b", 2, 0, 1)]))
    assert told.headline.startswith("a is ahead of b by 6.7 points [")
    assert "over 3 folds: not significant (corrected resampled t-test, p = " in told.headline
    assert any("The corrected resampled t-test accounts for that" in text for text in told.details)


def test_the_headline_says_that_a_difference_is_more_than_chance():
    told = summary(repeats.compare([of_folds("a", 0, 0, 0, 1), of_folds("b", 5, 5, 5, 5)]))
    assert ": significant (" in told.headline


def test_level_studies_are_called_level():
    told = summary(repeats.compare([of_folds("a", 1, 2), of_folds("b", 2, 1)]))
    assert told.headline.startswith("a and b are level over 2 folds")


def test_seeds_are_told_with_what_was_not_varied():
    told = summary(repeats.compare([of_seeds("a", (), (0,)), of_seeds("b", (1, 2), (2, 3))]))
    assert "t-test over seeds and images" in told.headline
    assert any("Seeds share one split" in text for text in told.details)


def test_one_study_is_answered_against_the_majority_class():
    told = summary(repeats.compare([of_folds("a", 0, 1, 0, 0)]))
    assert told.headline.startswith("a: test accuracy 97.5 % on average")
    assert "above the majority baseline: significant (one-sided" in told.headline


def test_a_study_below_the_majority_class_is_told_to_be_below():
    told = summary(repeats.compare([of_folds("a", 6, 7, 8)]))
    assert "below the majority baseline: not significant" in told.headline


def test_without_any_finished_run_there_is_no_answer():
    assert summary(repeats.compare([study("a", {})])).headline == "None of these studies has a finished run."


def test_what_cannot_be_compared_is_a_warning():
    told = summary(repeats.compare([of_folds("a", 1, 2), of_folds("b", 1, 2, 3)]))
    assert told.headline.startswith("No two of these studies can be compared")
    assert "Not comparable: a and b: other folds: 2 folds (a) against 3 folds (b)." in told.warnings


def test_of_many_pairs_that_cannot_be_compared_the_kinds_are_told():
    given = [of_folds("a", 1, 2), of_folds("b", 1, 2, 3), of_seeds("c", (1,), (2,))]
    assert summary(repeats.compare(given)).warnings == ("3 pairs of 3 cannot be compared: other folds.",)


def test_a_study_half_done_is_compared_over_what_both_have_and_says_so():
    told = summary(
        repeats.compare(
            [of_folds("a", 0, 1, 0), of_folds("b", 2, 2, folds=3, remarks=(Remark("no result", "fold 3"),))]
        )
    )
    assert "b: fold 3 has no result." in told.warnings
    assert any("are compared over the 2 runs that both have" in warning for warning in told.warnings)


def test_a_run_without_training_images_is_no_ground_for_a_test():
    bare = {(fold, 0): fold_table(fold, 1).query("part == 'test'") for fold in (0, 1)}
    assert repeats.above_majority(study("a", bare, folds=2)).reason == "no_images"


def test_who_is_ahead_is_read_off_the_runs_that_both_have():
    told = summary(repeats.compare([of_folds("a", 3, 2, 0, 0), of_folds("b", 2, 2, folds=4)]))
    assert told.headline.startswith("b is ahead of a by 5.0 points [")
    assert "by -" not in told.headline


def test_folds_that_all_differ_by_the_same_are_told_without_a_verdict():
    told = summary(repeats.compare([of_folds("a", 0, 1, 2), of_folds("b", 1, 2, 3)]))
    assert told.headline == (
        "a is ahead of b by 10.0 points over 3 folds: all folds differ by exactly the same, "
        "so there is no variance to test."
    )


def test_several_pairs_are_told_with_the_correction_for_all_of_them():
    three = [of_folds("a", 0, 1, 0), of_folds("b", 3, 2, 3), of_folds("c", 5, 5, 4)]
    assert "after Holm's correction for 3 pairs" in summary(repeats.compare(three)).headline
    assert "Holm" not in summary(repeats.compare(three[:2])).headline


def test_folds_that_are_all_alike_are_not_tested_against_the_majority_class():
    told = summary(repeats.compare([of_folds("a", 1, 1, 1)]))
    assert "It is 30.0 points above the majority baseline; all folds differ by exactly" in told.headline


def test_one_finished_fold_is_not_tested_against_the_majority_class():
    told = summary(repeats.compare([of_folds("a", 1, folds=3)]))
    assert told.headline == (
        "a: test accuracy 90.0 % over 1 fold. A test against the majority baseline is not possible: "
        "only one fold is finished, and an SD needs two."
    )
