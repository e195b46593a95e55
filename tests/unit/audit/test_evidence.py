"""The rule of the verdict and the figures that it rests on, with models that are known to read one thing."""

import math

import numpy as np
import pytest
from scipy import stats

from covid_core.audit.model import evidence
from covid_core.audit.model.evidence import FRAME, LUNGS, UNKNOWN, Conflict, Effects
from covid_core.evaluation.metrics import Measure, wilson

LABELS = np.repeat(np.arange(3), (30, 12, 6)).astype(np.int32)
SEEN = Measure(0.9, 0.85, 0.95)  # balanced accuracy of images as they are


def answers(of_frame: float, seed: int = 0) -> Conflict:
    """Answers that follow the frame in that share of the composites, and else the lungs."""
    rng = np.random.default_rng(seed)
    frames, lungs = evidence.pairs(LABELS, 3, 150, rng)
    follows = np.where(rng.random(len(frames)) < of_frame, LABELS[frames], LABELS[lungs])
    return Conflict(LABELS, frames, lungs, follows, 3)


def effects(lungs: tuple, frame: tuple, within: float = 0.9) -> Effects:
    return Effects(Measure(*lungs), Measure(*frame), Measure(within))


def test_every_combination_of_classes_has_its_pairs_and_no_image_meets_itself():
    frames, lungs = evidence.pairs(LABELS, 3, 20, np.random.default_rng(0))
    assert (frames != lungs).all()
    cells = np.bincount(LABELS[frames] * 3 + LABELS[lungs], minlength=9)
    assert cells.tolist() == [20] * 9


@pytest.mark.parametrize(("of_frame", "lungs", "frame"), [(0.0, 1.0, 0.0), (1.0, 0.0, 1.0)], ids=["lungs", "frame"])
def test_a_model_that_reads_one_thing_has_one_effect(of_frame, lungs, frame):
    found = evidence.effects(answers(of_frame))
    assert (found.lungs.value, found.frame.value, found.within.value) == (lungs, frame, 1.0)


def test_a_model_that_reads_both_is_measured_as_it_is_and_its_interval_says_so():
    found = evidence.effects(answers(0.3))
    assert found.frame.low < 0.3 < found.frame.high and found.lungs.low < 0.7 < found.lungs.high


def test_a_model_that_always_answers_the_same_reads_nothing():
    given = answers(0.0)
    always = Conflict(given.labels, given.frames, given.lungs, np.zeros_like(given.answered), 3)
    found = evidence.effects(always)
    assert (found.lungs.value, found.frame.value) == (0.0, 0.0)
    assert evidence.verdict(found, Measure(1 / 3, 1 / 3, 1 / 3), 3)[0] == UNKNOWN


def test_images_that_belong_together_widen_the_interval():
    given = answers(0.3)
    alone = evidence.effects(given).frame
    together = evidence.effects(given, np.arange(len(LABELS)) // 3).frame
    assert together.value == alone.value
    assert together.high - together.low != alone.high - alone.low


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (effects((0.9, 0.85, 0.95), (0.0, -0.03, 0.04)), LUNGS),
        (effects((0.2, 0.1, 0.3), (0.6, 0.5, 0.7)), FRAME),
        (effects((0.6, 0.55, 0.7), (0.3, 0.2, 0.4)), FRAME),
        (effects((0.9, 0.85, 0.95), (0.1, 0.05, 0.25)), UNKNOWN),
        (effects((0.4, 0.3, 0.49), (0.0, -0.03, 0.04)), UNKNOWN),
        (effects((0.9, 0.85, 0.95), (0.0, -0.03, 0.04), within=0.5), UNKNOWN),
        (effects((0.9, math.nan, math.nan), (0.0, math.nan, math.nan)), UNKNOWN),
    ],
    ids=["lungs", "frame", "both", "too wide", "little of either", "composing decides", "no interval"],
)
def test_the_rule(found, verdict):
    assert evidence.verdict(found, SEEN, 3)[0] == verdict


def test_why_a_check_is_inconclusive():
    clear = effects((0.9, 0.85, 0.95), (0.0, -0.03, 0.04), within=0.5)
    assert evidence.verdict(None, SEEN, 3) == (UNKNOWN, evidence.NO_LUNGS)
    assert evidence.verdict(clear, Measure(0.4, 0.3, 0.5), 3) == (UNKNOWN, evidence.NO_SKILL)
    assert evidence.verdict(clear, SEEN, 3) == (UNKNOWN, evidence.COMPOSING)
    assert evidence.verdict(effects((0.4, 0.3, 0.49), (0.0, -0.03, 0.04)), SEEN, 3) == (UNKNOWN, evidence.BETWEEN)


@pytest.mark.parametrize(
    ("found", "border", "verdict", "why"),
    [
        (effects((0.5, 0.4, 0.6), (0.1, 0.05, 0.15)), Measure(0.80, 0.75, 0.85), FRAME, ""),
        (effects((0.5, 0.4, 0.6), (0.4, 0.3, 0.5)), Measure(0.4, 0.3, 0.5), FRAME, ""),
        (effects((0.9, 0.85, 0.95), (0.0, -0.03, 0.04)), Measure(0.4, 0.3, 0.5), UNKNOWN, evidence.NO_OUTLINES),
        (None, Measure(0.80, 0.75, 0.85), UNKNOWN, evidence.FEW_IMAGES),
    ],
    ids=["border is enough", "frame exchange", "an oval acquits nobody", "few images"],
)
def test_the_rule_without_outlines(found, border, verdict, why):
    assert evidence.verdict_without_outlines(found, SEEN, border, 3) == (verdict, why)


def test_without_outlines_a_model_no_better_than_chance_has_no_verdict():
    found, chance = effects((0.5, 0.4, 0.6), (0.4, 0.3, 0.5)), Measure(0.4, 0.3, 0.5)
    assert evidence.verdict_without_outlines(found, chance, chance, 3) == (UNKNOWN, evidence.NO_SKILL)


def test_balanced_accuracy_counts_classes_alike():
    found = evidence.balanced(LABELS, np.zeros_like(LABELS), 3)
    assert found.value == pytest.approx(1 / 3) and found.low == pytest.approx(1 / 3)


def test_the_worst_subgroup_comes_first_with_a_corrected_p_value():
    right = np.ones(120, bool)
    right[:20] = False
    by = {"source": np.repeat(np.array(["A", "B", "C"], object), 40), "none": np.full(120, "", object)}
    found = evidence.subgroups(right, by)
    assert [one.name for one in found][0] == "A" and len(found) == 3
    assert found[0].accuracy.value == 0.5 and found[0].others.value == 1.0
    assert found[0].is_worse and not found[1].is_worse


def test_a_subgroup_of_few_images_is_not_looked_at():
    right, sources = np.ones(60, bool), np.array(["A"] * 19 + ["B"] * 41, object)
    assert evidence.subgroups(right, {"source": sources}) == []


def test_subgroups_of_images_that_stand_alone_are_as_without_groups():
    rng = np.random.default_rng(0)
    right, by = rng.random(120) < 0.8, {"source": rng.choice(np.array(["A", "B", "C"], object), 120)}
    found = evidence.subgroups(right, by)
    assert evidence.subgroups(right, by, np.arange(120)) == found
    for one in found:
        inside = by["source"] == one.name
        table = [[int(right[at].sum()), int((~right[at]).sum())] for at in (inside, ~inside)]
        assert one.accuracy == wilson(table[0][0], sum(table[0])) and one.others == wilson(table[1][0], sum(table[1]))
        assert one.p >= stats.fisher_exact(table).pvalue


def test_patients_who_happen_to_be_hard_do_not_make_their_source_worse():
    """Forty patients of ten images each, from two like sources; a patient's images are right or wrong together."""
    rng, patients = np.random.default_rng(1), np.repeat(np.arange(40), 10)
    sources = {"source": np.where(patients < 20, "A", "B").astype(object)}
    trials = [np.repeat(rng.random(40) < 0.8, 10) for _ in range(300)]
    together = [evidence.subgroups(right, sources, patients)[0].is_worse for right in trials]
    naive = [evidence.subgroups(right, sources)[0].is_worse for right in trials]
    assert np.mean(together) <= 0.06 and np.mean(naive) > 0.3


@pytest.mark.parametrize("patients_inside", [2, 5, 20])
def test_two_like_sources_are_told_apart_no_more_often_than_the_level_says(patients_inside):
    """Even where one source has two patients: how alike a patient's images are is known from all of them."""
    rng, patients = np.random.default_rng(2), np.repeat(np.arange(40), 10)
    sources = {"source": np.where(patients < patients_inside, "A", "B").astype(object)}
    found = []
    for _ in range(200):
        right = rng.random(400) < rng.beta(2, 0.5, 40)[patients]
        found.append(evidence.subgroups(right, sources, patients)[0].p if right.any() else 1)
    assert np.mean(np.array(found) < 0.05) <= 0.08


def test_what_sets_images_of_the_same_patients_apart_is_found_as_among_single_images():
    """A patient's images are alike, but dark and bright ones are of the same patients: that cancels."""
    rng, patients = np.random.default_rng(3), np.repeat(np.arange(40), 10)
    dark = np.tile([True, False], 200)
    right = (rng.random(40) < 0.8)[patients] & ~(dark & (rng.random(400) < 0.25))
    (worst, _) = evidence.subgroups(right, {"brightness": np.where(dark, "dark", "bright").astype(object)}, patients)
    assert worst.name == "dark" and worst.is_worse


def test_thirds_are_named_lowest_first_and_equal_images_have_none():
    names = ("low", "middle", "high")
    assert evidence.thirds(np.arange(9), names).tolist() == ["low"] * 3 + ["middle"] * 3 + ["high"] * 3
    assert set(evidence.thirds(np.full(9, 5), names)) == {""}
