"""What a head sees of kept features: which table, by epoch. tests/test_training.py computes them from images."""

from types import SimpleNamespace

import numpy as np
import pytest
from made_fits import HeadTraining, spec

from covid_core.inference.network import Head
from covid_core.nets import head_fit, training
from covid_core.nets.features import Features
from covid_core.nets.fitting import Fit
from covid_core.specs import TrainingSpec
from covid_core.work import silent

ROWS = np.array([4, 2, 7, 5])  # the run's images among the ten of the data set


def table(offset: float) -> np.ndarray:
    """Two features per image: the image's number and that plus a half, plus ``offset``."""
    return (np.arange(10)[:, None] + np.array([0, 0.5]) + offset).astype(np.float32)


def test_features_are_found_by_the_position_among_the_runs_images():
    known = Features(ROWS, "LiteRT", table(0))
    assert known.plain(np.array([0, 3])).tolist() == [[4, 4.5], [5, 5.5]]


def test_without_augmentation_every_epoch_sees_the_images_as_they_are():
    known = Features(ROWS, "LiteRT", table(0))
    for epoch in range(3):
        assert np.array_equal(known.of_epoch(np.arange(4), epoch), known.plain(np.arange(4)))


def test_views_are_seen_in_turn():
    known = Features(ROWS, "LiteRT", table(0), views=[table(10), table(20)])
    seen = [known.of_epoch(np.array([1]), epoch)[0, 0] for epoch in range(5)]
    assert seen == [12, 22, 12, 22, 12]


def test_an_epoch_mixes_the_originals_and_all_views():
    known = Features(ROWS, "LiteRT", table(0), views=[table(10), table(20)], originals=True)
    assert known.of_epoch(np.arange(4), 0)[:, 0].tolist() == [14, 22, 17, 25]
    assert known.of_epoch(np.arange(4), 1)[:, 0].tolist() == [24, 2, 27, 5]


def test_a_view_of_both_sides_takes_each_image_from_the_side_that_was_drawn():
    asked = []

    def choose(at: np.ndarray, epoch: int) -> np.ndarray:
        asked.append((at.tolist(), epoch))
        return at > 4

    known = Features(ROWS, "LiteRT", table(0), mirror=table(100), choose_side=choose)
    assert known.of_epoch(np.array([0, 1, 2]), 3)[:, 0].tolist() == [4, 2, 107]
    assert asked == [([4, 2, 7], 3)]  # by the number in the data set, as the images themselves would be


def test_activations_at_the_boundary_have_their_shape_back():
    edge = np.arange(10 * 12, dtype=np.float32).reshape(10, 12)
    known = Features(ROWS, "LiteRT", table(0), edge=edge, edge_shape=(2, 3, 2))
    assert known.boundary(np.array([1, 0])).shape == (2, 2, 3, 2)
    assert np.array_equal(known.boundary(np.array([2]))[0].ravel(), edge[7])


HEAD_OF_5 = Head("mean", (np.zeros((5, 3), np.float32),), (np.zeros(3, np.float32),))
HEAD = Head("mean", (np.array([[1, 2, 3], [4, 5, 6]], np.float32),), (np.zeros(3, np.float32),))


@pytest.mark.parametrize("both", [False, True])
def test_logits_of_a_run_are_those_of_one_side_or_the_mean_of_both(both):
    known = Features(ROWS, "LiteRT", table(0), mirror=table(100), at_test_too=both)
    plain, mirrored = HEAD.logits(table(0)[ROWS]), HEAD.logits(table(100)[ROWS])
    assert np.allclose(training._mean_logits(HEAD, known), (plain + mirrored) / 2 if both else plain)


def test_mirrored_images_in_training_alone_do_not_change_the_answer():
    known = Features(ROWS, "LiteRT", table(0), mirror=table(100), choose_side=lambda at, epoch: at > 4)
    assert np.array_equal(training._mean_logits(HEAD, known), HEAD.logits(table(0)[ROWS]))


def plan_of(chosen: TrainingSpec, labels: np.ndarray, path) -> SimpleNamespace:
    """As much of a plan as the head's stage asks for: the first twelve images train, the others validate."""
    validation = np.arange(12, len(labels))
    images = SimpleNamespace(learned=np.arange(12), selection=lambda: validation, labels=labels)
    fit = Fit(chosen, path / "checkpoint.npz", lambda row: None, silent)
    return SimpleNamespace(spec=chosen, images=images, fit=fit)


def fitted(chosen: TrainingSpec, features: np.ndarray, labels: np.ndarray, path) -> Head:
    known = Features(np.arange(len(labels)), "LiteRT", features)
    return training._fit_head(plan_of(chosen, labels, path), known)


@pytest.mark.parametrize("units", [(), (8,)], ids=["no layer", "one"])
def test_a_head_that_learned_on_scaled_features_takes_plain_ones(tmp_path, units):
    made = HeadTraining(tmp_path)
    plain = made.features * np.float32([1, 10, 100, 1, 1]) + np.float32([0, 5, -50, 1, 0])
    mean, deviation = training._scale(plain.__getitem__, np.arange(12))
    choices = {"epochs": 5, "patience": 0, "batch_size": 4, "learning_rate": 0.01}
    scaled_by_hand, scaled_inside = (
        spec(**choices, head={"units": units, "standardize": inside}) for inside in (False, True)
    )
    reference = fitted(scaled_by_hand, (plain - mean) / deviation, made.labels, tmp_path)
    head = fitted(scaled_inside, plain, made.labels, tmp_path)
    assert np.allclose(head.logits(plain), reference.logits((plain - mean) / deviation), atol=1e-4)
    assert [array.dtype for array in (*head.weights, *head.biases)] == [np.float32] * 2 * (1 + len(units))


def test_features_of_many_images_are_scaled_as_those_of_few(monkeypatch):
    values = np.random.default_rng(0).normal(5, 2, (40, 3)).astype(np.float32)
    at_once = training._scale(values.__getitem__, np.arange(40))
    monkeypatch.setattr(training, "BLOCK", 7)
    assert np.allclose(at_once, training._scale(values.__getitem__, np.arange(40)))
    assert np.allclose(at_once[0], values.mean(axis=0))
    assert np.allclose(at_once[1], np.maximum(values.std(axis=0), values.std(axis=0).mean()))


def test_logits_of_many_images_are_those_of_few(monkeypatch):
    known = Features(ROWS, "LiteRT", table(0), mirror=table(100), at_test_too=True)
    at_once = training._mean_logits(HEAD, known)
    monkeypatch.setattr(training, "BLOCK", 3)
    assert np.allclose(training._mean_logits(HEAD, known), at_once)


def test_a_head_gets_the_columns_of_its_pooling():
    known = Features(ROWS, "LiteRT", table(0), np.array([1]), mirror=table(100))
    assert known.plain(np.array([0])).tolist() == [[4.5]]
    assert known.mirrored(np.array([0])).tolist() == [[104.5]]


def test_views_have_the_columns_of_the_pooling_alone():
    known = Features(ROWS, "LiteRT", table(0), np.array([1]), views=[table(10)])
    assert known.of_epoch(np.array([0]), 0).tolist() == [[14, 14.5]]


def test_scaling_looks_at_training_images_alone(tmp_path, monkeypatch):
    made, seen = HeadTraining(tmp_path), []
    monkeypatch.setattr(head_fit, "run", lambda fit, number, stage, pooling: seen.append(stage) or HEAD_OF_5)
    features = made.features.copy()
    features[12:] += 1000
    fitted(spec(), features, made.labels, tmp_path)
    values = seen[0].inputs(np.arange(12), 0)
    assert np.allclose(values.mean(axis=0), 0, atol=1e-5)
    assert seen[0].validation(np.arange(3)).min() > 100
