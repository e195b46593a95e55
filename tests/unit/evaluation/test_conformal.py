"""Sets of classes at a coverage: limits by the definition, the promise by simulation, what is said where it fails."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from made_runs import CLASSES, all_parts, made_run, scored

from covid_core.errors import DataError, InvalidChoice, RunDamaged
from covid_core.evaluation import conformal
from covid_core.evaluation.conformal import Sets
from covid_core.reports.prediction_text import prediction_set, set_notes
from covid_core.runs import prediction_sets, temperature_scaling

SIZES = {"train": 3, "validation": 300, "test": 3000}


def logits_of(table: pd.DataFrame, part: str) -> np.ndarray:
    return table.loc[table["part"] == part, [f"logit_{label}" for label in CLASSES]].to_numpy()


def uneven(counts: dict[str, int], seed: int = 0) -> pd.DataFrame:
    """Validation images, so many of each class, with logits that tell the classes apart a little."""
    rng = np.random.default_rng(seed)
    labels = [label for label, count in counts.items() for _ in range(count)]
    logits = rng.normal(size=(len(labels), len(CLASSES)))
    logits[np.arange(len(labels)), [CLASSES.index(label) for label in labels]] += 2
    powers = np.exp(logits)
    return scored(labels, powers / powers.sum(axis=1, keepdims=True), CLASSES, "validation")


@pytest.mark.parametrize("coverage", ["0.7", "0.8", "0.9", "0.95", "0.99"])
@pytest.mark.parametrize("images", [1, 8, 9, 18, 19, 20, 98, 99, 100, 321])
def test_the_limit_is_the_least_value_that_enough_values_keep(images, coverage):
    """Brute force, in exact fractions: the least value with at least coverage of n + 1 values at or below it."""
    values = np.random.default_rng(images).normal(size=images)
    enough = [v for v in values if Fraction(int((values <= v).sum())) >= (images + 1) * Fraction(coverage)]
    assert conformal.quantile(values, float(coverage)) == (min(enough) if enough else math.inf)


@pytest.mark.parametrize(("coverage", "images"), [(0.7, 3), (0.8, 4), (0.9, 9), (0.95, 19), (0.98, 49), (0.99, 99)])
def test_a_coverage_needs_so_many_images(coverage, images):
    assert conformal.least(coverage) == images
    assert conformal.quantile(np.arange(images), coverage) == images - 1
    assert conformal.quantile(np.arange(images - 1), coverage) == math.inf


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_hold_the_right_class_as_often_as_promised_in_every_class(coverage):
    found = [
        conformal.evaluated(Sets.of(table), table, coverage)
        for table in (all_parts(SIZES, skill=2, seed=seed) for seed in range(20))
    ]
    assert np.mean([one.covered.value for one in found]) == pytest.approx(coverage + 0.005, abs=0.01)
    for label in CLASSES:
        assert np.mean([one.of_class[label].value for one in found]) == pytest.approx(coverage + 0.005, abs=0.025)


def test_one_limit_for_all_keeps_the_promise_over_all_images_where_a_class_is_too_rare():
    covered = []
    for seed in range(40):
        given = Sets.of(uneven({"COVID": 60, "Normal": 150, "Viral Pneumonia": 6}, seed))
        assert not given.is_by_class(0.9)
        fresh = uneven({"COVID": 600, "Normal": 1500, "Viral Pneumonia": 60}, 1000 + seed)
        covered.append(conformal.evaluated(given, fresh, 0.9, "validation").covered.value)
    assert np.mean(covered) == pytest.approx(0.9, abs=0.012)


def test_p_values_say_at_which_coverage_a_class_enters():
    table = all_parts(SIZES, skill=1)
    given, logits = Sets.of(table), logits_of(table, "test")[:200]
    for coverage in (0.7, 0.85, 0.9, 0.95):
        assert np.array_equal(given.inside(logits, coverage), given.p_values(logits, coverage) > 1 - coverage + 1e-12)


def test_sets_grow_with_the_coverage():
    table = all_parts(SIZES, skill=1)
    given, logits = Sets.of(table), logits_of(table, "test")
    sets = [given.inside(logits, coverage) for coverage in (0.7, 0.8, 0.9, 0.95)]
    assert all((small <= large).all() for small, large in zip(sets, sets[1:], strict=False))
    assert sets[0].sum() < sets[-1].sum()


def test_scores_that_round_to_one_are_still_told_apart():
    values = [np.array([40.0 + k, 0.0, 0.0]) for k in range(30)]
    table = pd.DataFrame({"image_id": range(30), "part": "validation", "label": "COVID"})
    for k, label in enumerate(CLASSES):
        table[f"score_{label}"] = 1.0 if k == 0 else 0.0
        table[f"logit_{label}"] = [value[k] for value in values]
    given = Sets.of(table)
    assert len(np.unique(given.unlike[0])) == 30


def test_a_set_is_told_in_words_the_likeliest_class_first():
    table = all_parts(SIZES, skill=1)
    given = Sets.of(table)
    told = given.set_of(np.array([1.0, -9.0, 1.1]), 0.9)
    assert told.classes == ("Viral Pneumonia", "COVID")
    assert prediction_set(told) == "Viral Pneumonia or COVID, not Normal"
    assert (told.coverage, told.images, set_notes(told)) == (0.9, 300, [])
    assert prediction_set(given.set_of(np.zeros(3), 0.95)).endswith(": no class can be ruled out")
    assert prediction_set(given.set_of(np.array([9.0, 0.0, 0.0]), 0.9)) == "COVID, not Normal or Viral Pneumonia"


def test_an_empty_set_is_said_and_says_which_coverage_would_fill_it():
    table = all_parts(SIZES, skill=6)  # so good that at 70 % some images are like no class
    given = Sets.of(table)
    unclear = np.array([0.1, 0.0, 0.0])
    told = given.set_of(unclear, 0.7)
    assert told.classes == ()
    assert prediction_set(told) == "none of the classes at 70 %: unusual for COVID, Normal or Viral Pneumonia"
    assert set_notes(told)[0].startswith("COVID fits best, but less well than ")
    enters = 1 - given.p_values(unclear[None], 0.7).max()
    assert f"{100 * enters:.1f} %" in set_notes(told)[0]
    if enters < 0.98:
        assert given.set_of(unclear, enters + 0.005).classes


def test_a_coverage_that_a_class_cannot_support_is_said():
    given = Sets.of(uneven({"COVID": 60, "Normal": 150, "Viral Pneumonia": 12}))
    assert set_notes(given.set_of(np.zeros(3), 0.9)) == []
    assert set_notes(given.set_of(np.zeros(3), 0.95)) == [
        "95 % holds over all images together, not within each class: Viral Pneumonia has 12, and at least 19 images "
        "are needed."
    ]


def test_a_coverage_that_all_images_cannot_support_rules_nothing_out():
    told = Sets.of(uneven({"COVID": 5, "Normal": 5, "Viral Pneumonia": 5})).set_of(np.array([9.0, 0, 0]), 0.95)
    assert set(told.classes) == set(CLASSES)
    assert set_notes(told) == ["No class can be ruled out: 95 % needs at least 19 images, and there are 15."]


@pytest.mark.parametrize("coverage", [0.0, 0.69, 0.995, 1.0, math.nan])
def test_a_coverage_out_of_range_is_refused(coverage):
    with pytest.raises(InvalidChoice, match="must be 70 % to 99 %"):
        Sets.of(all_parts(SIZES, skill=1)).set_of(np.zeros(3), coverage)


def test_logits_that_are_missing_or_no_numbers_are_refused():
    table = all_parts(SIZES, skill=1)
    with pytest.raises(DataError, match="logits of every class"):
        Sets.of(table.drop(columns="logit_COVID"))
    with pytest.raises(DataError, match="finite logits"):
        Sets.of(table.assign(logit_COVID=math.inf))


def test_what_sets_come_to_is_counted_on_the_test_part():
    table = all_parts(SIZES, skill=2)
    given = Sets.of(table)
    inside = given.inside(logits_of(table, "test"), 0.9)
    found = conformal.evaluated(given, table, 0.9)
    assert found.mean_size == pytest.approx(inside.sum() / 3000)
    assert found.single.value == pytest.approx((inside.sum(axis=1) == 1).mean())
    assert found.empty.value == pytest.approx((inside.sum(axis=1) == 0).mean())
    assert found.covered.low < found.covered.value < found.covered.high
    assert found.covered.n == 3000


def test_a_run_from_before_halves_has_sets_of_all_its_validation_images(workspace):
    run = made_run(workspace, all_parts(SIZES, skill=2))
    assert prediction_sets.of(run).images == 300


def test_images_that_chose_the_epoch_set_no_limit(workspace):
    run = made_run(workspace, all_parts(SIZES, skill=2), halved=True)
    validation = temperature_scaling.table(run)
    assert prediction_sets.of(run).images == (validation["part"] == "validation").sum() == 150


def test_the_sets_of_a_run_are_measured_on_its_test_part(workspace):
    found = prediction_sets.report(made_run(workspace, all_parts(SIZES, skill=2)))
    assert (found.coverage, found.covered.n) == (0.9, 3000)
    assert set(found.of_class) == set(CLASSES)


def test_a_run_without_logits_says_that_it_has_no_sets(workspace):
    table = all_parts(SIZES, skill=2).drop(columns=[f"logit_{label}" for label in CLASSES])
    with pytest.raises(RunDamaged, match="logits of every class"):
        prediction_sets.of(made_run(workspace, table, "Old"))


def test_a_likeliest_class_that_is_ruled_out_is_explained():
    """Images of one class are all very like it, those of the other hardly: between the two the other one is left."""
    sharp, vague = np.linspace(0.001, 0.1, 50), np.linspace(0.5, 2.0, 50)
    told = Sets(("COVID", "Normal"), (vague, sharp)).set_of(np.array([0.0, 0.5]), 0.9)
    assert told.classes == ("COVID",)
    (note,) = set_notes(told)
    assert "Normal" in note and "98.0 %" in note
