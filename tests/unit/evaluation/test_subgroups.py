"""Subgroups: what is compared, what counts as one test, and how often chance alone names one."""

import math

import numpy as np
import pytest
from scipy import stats

from covid_core.evaluation import subgroups as subgrouping
from covid_core.evaluation.metrics import Answers
from covid_core.evaluation.subgroups import PERMUTATIONS, Subgroups, subgroups

NOBODY = np.array([""])


def answers(labels, right) -> Answers:
    """A run's answers: of each image its class and whether it is predicted correctly."""
    labels, classes = np.asarray(labels), int(max(labels)) + 2
    scores = np.eye(classes)[np.where(right, labels, (labels + 1) % classes)]
    return Answers(tuple("ABCDE"[:classes]), np.arange(len(labels)).astype(object), labels, scores)


def of_sex(labels, right, values, groups=None) -> Subgroups:
    return subgroups(answers(labels, right), {"sex": np.asarray(values)}, groups, np.repeat(NOBODY, len(labels)))


def in_cells(*cells: tuple[int, str, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, whether they are right, and values of images: of each cell class, value, right and wrong images."""
    labels = np.concatenate([np.full(right + wrong, label) for label, _, right, wrong in cells])
    hits = np.concatenate([np.repeat([True, False], [right, wrong]) for _, _, right, wrong in cells])
    return labels, hits, np.concatenate([np.full(right + wrong, value) for _, value, right, wrong in cells])


def test_single_images_of_one_class_have_the_p_of_the_hypergeometric_tail():
    rows = of_sex(*in_cells((0, "F", 16, 9), (0, "M", 70, 5))).rows
    expected = 2 * stats.hypergeom(100, 86, 25).cdf(16)
    assert rows[0].p == rows[1].p == pytest.approx(expected, abs=4 * math.sqrt(expected / PERMUTATIONS))


def test_the_difference_is_that_of_mantel_and_haenszel():
    row = of_sex(*in_cells((0, "F", 16, 4), (0, "M", 27, 3), (1, "F", 5, 5), (1, "M", 35, 5))).rows[0]
    weights = np.array([20 * 30 / 50, 10 * 40 / 50])
    assert row.difference == pytest.approx(np.average([16 / 20 - 27 / 30, 5 / 10 - 35 / 40], weights=weights))


def test_a_subgroup_of_difficult_classes_is_not_worse():
    measured = of_sex(*in_cells((0, "F", 95, 5), (0, "M", 19, 1), (1, "F", 10, 10), (1, "M", 50, 50)))
    assert measured.rows[1].accuracy.high < measured.rows[0].accuracy.low
    assert (measured.rows[1].difference, measured.rows[1].p, measured.worse) == (pytest.approx(0), 1, [])


def test_the_worst_is_named_first_where_it_is_worse_than_chance_allows():
    measured = of_sex(*in_cells((0, "F", 20, 30), (0, "M", 190, 10)))
    assert [row.value for row in measured.worse] == ["F"]


def test_the_images_of_a_cluster_are_no_independent_evidence():
    cells = in_cells((0, "F", 20, 30), (0, "M", 190, 10))
    measured = of_sex(
        *cells, groups=np.repeat(np.arange(50), 5)
    )  # 4 patients of F right, 6 wrong; 38 of M right, 2 wrong
    alone = of_sex(*in_cells((0, "F", 4, 6), (0, "M", 38, 2)))
    assert measured.rows[0].p == alone.rows[0].p
    assert (measured.rows[0].images, measured.rows[0].clusters) == (50, 10)


def test_two_values_of_a_fact_are_one_test_and_three_are_three():
    assert of_sex(*in_cells((0, "F", 20, 2), (0, "M", 20, 2))).tests == 1
    assert of_sex(*in_cells((0, "F", 20, 2), (0, "M", 20, 2), (0, "O", 20, 2))).tests == 3


def test_what_has_too_few_images_or_no_class_in_common_is_not_tested():
    few = of_sex(*in_cells((0, "F", 9, 0), (0, "M", 20, 2), (0, "", 5, 0)))
    assert ([row.value for row in few.rows], few.too_few, few.unknown, few.tests) == (["M"], {"sex": 1}, {"sex": 5}, 0)
    apart = of_sex(*in_cells((0, "F", 20, 2), (1, "M", 20, 2)))
    assert [math.isnan(row.p) for row in apart.rows] == [True, True]


def test_balanced_accuracy_is_the_mean_over_the_classes_of_the_subgroup():
    row = of_sex(*in_cells((0, "F", 16, 4), (1, "F", 5, 5), (0, "M", 20, 5))).rows[0]
    assert row.balanced_accuracy.value == pytest.approx((0.8 + 0.5) / 2)
    assert row.balanced_accuracy.low < 0.65 < row.balanced_accuracy.high


def test_without_any_fact_there_is_nothing():
    assert of_sex([0, 0], [True, True], ["", ""]) == Subgroups((), {}, {}, 0)


# Simulations


def simulated(rng: np.random.Generator, effect: float, patients: int = 150) -> Subgroups:
    """Patients of three classes with one to several images, more where their source is s1; images of one patient are
    predicted alike; sources have unlike classes. Of women each image is ``effect`` less likely to be right."""
    label = rng.choice(3, patients, p=[0.2, 0.5, 0.3])
    of_source = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4]])[label]
    source = np.array([rng.choice(["s1", "s2", "s3"], p=shares) for shares in of_source])
    age = rng.choice(["a", "b", "c", "d"], patients, p=[0.1, 0.3, 0.4, 0.2])
    sex = rng.choice(["F", "M"], patients)
    skill = np.array([0.7, 0.9, 0.8])[label]
    chance = np.clip(rng.beta(2 * skill, 2 * (1 - skill)) - effect * (sex == "F"), 0, 1)
    of = np.repeat(np.arange(patients), 1 + rng.poisson(np.where(source == "s1", 2.0, 0.5)))
    view = rng.choice(["AP", "PA"], len(of), p=[0.3, 0.7])
    facts = {"sex": sex[of], "age": age[of], "source": source[of], "view": view}
    return subgroups(answers(label[of], rng.random(len(of)) < chance[of]), facts, of, np.repeat(NOBODY, len(of)))


@pytest.fixture
def few_draws(monkeypatch):
    monkeypatch.setattr(subgrouping, "PERMUTATIONS", 999)
    monkeypatch.setattr(subgrouping, "_balanced_accuracy", lambda *_: None)


@pytest.mark.slow
@pytest.mark.usefixtures("few_draws")
def test_chance_names_a_subgroup_in_at_most_one_of_twenty_trials():
    trials, rng = 400, np.random.default_rng(0)
    named = [bool(simulated(rng, effect=0).worse) for _ in range(trials)]
    assert np.mean(named) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


@pytest.mark.slow
@pytest.mark.usefixtures("few_draws")
def test_a_large_effect_is_named_in_most_trials_and_hardly_anything_else():
    rng = np.random.default_rng(1)
    named = [{row.value for row in simulated(rng, effect=0.3).worse} for _ in range(60)]
    assert np.mean([values == {"F"} for values in named]) > 0.8
