"""The small part of a model in NumPy, checked by hand and by finite differences."""

from dataclasses import replace

import numpy as np
import pytest

from covid_core.errors import RunDamaged
from covid_core.inference.network import FLATTEN, MEAN, MEAN_MAX, Head, pooled, softmax

MAP = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)  # channel 0 holds 0, 2, 4, 6; channel 1 holds 1, 3, 5, 7


def head_of(*sizes: int, pooling: str = MEAN, seed: int = 0) -> Head:
    rng = np.random.default_rng(seed)
    pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
    weights = tuple(rng.normal(size=pair).astype(np.float32) for pair in pairs)
    return Head(pooling, weights, tuple(rng.normal(size=outputs).astype(np.float32) for _, outputs in pairs))


@pytest.mark.parametrize(
    ("pooling", "features"),
    [(MEAN, [3, 4]), (MEAN_MAX, [3, 4, 6, 7]), (FLATTEN, [0, 1, 2, 3, 4, 5, 6, 7])],
)
def test_maps_are_pooled_channel_by_channel(pooling, features):
    assert pooled([MAP], pooling).tolist() == [features]


def test_taps_stand_one_after_the_other():
    assert pooled([MAP, MAP + 10], MEAN_MAX).tolist() == [[3, 4, 6, 7, 13, 14, 16, 17]]


def test_a_known_head_gives_known_logits():
    weights = (np.array([[1.0, -1.0]], np.float32), np.array([[2.0, 0.0], [0.0, 3.0]], np.float32))
    head = Head(MEAN, weights, (np.array([0.5, 0.0], np.float32), np.array([1.0, -1.0], np.float32)))
    assert head.logits(np.array([[2.0]], np.float32)).tolist() == [[6.0, -1.0]]  # relu cuts the second unit off


@pytest.mark.parametrize("sizes", [(5, 3), (5, 4, 3), (5, 6, 4, 3)], ids=["no layer", "one", "two"])
def test_the_gradient_is_that_of_finite_differences(sizes):
    head = head_of(*sizes)
    features = np.random.default_rng(1).normal(size=(2, 5))
    step = 1e-6
    for index in range(3):
        moved = [
            (head.logits(features + step * unit)[:, index] - head.logits(features - step * unit)[:, index]) / (2 * step)
            for unit in np.eye(5)
        ]
        assert np.allclose(head.gradient(features, index), np.stack(moved, axis=1), atol=1e-6)


@pytest.mark.parametrize("sizes", [(5, 3), (5, 6, 4, 3)], ids=["no layer", "two"])
def test_the_gradient_of_the_log_odds_is_that_of_finite_differences(sizes):
    head = head_of(*sizes)
    features = np.random.default_rng(1).normal(size=(2, 5))
    step = 1e-6

    def log_odds(at: np.ndarray, index: int) -> np.ndarray:
        scores = softmax(head.logits(at))[:, index]
        return np.log(scores / (1 - scores))

    for index in range(3):
        moved = [
            (log_odds(features + step * unit, index) - log_odds(features - step * unit, index)) / (2 * step)
            for unit in np.eye(5)
        ]
        assert np.allclose(head.log_odds_gradient(features, index), np.stack(moved, axis=1), atol=1e-5)


def test_a_certain_answer_has_log_odds_that_can_be_explained():
    """Scores of 1 and 0 have no logarithm of their odds; their gradient comes from the logits."""
    weights = np.array([[3.0, 1.0, 2.0]], np.float32)
    head = Head(FLATTEN, (weights,), (np.array([0.0, 0.0, -5000.0], np.float32),))
    assert head.log_odds_gradient(np.full((1, 1), 1000, np.float32), 0).tolist() == [[2.0]]


def test_a_saved_head_comes_back(tmp_path):
    head = head_of(5, 4, 3, pooling=MEAN_MAX)
    head.save(tmp_path / "head.npz")
    loaded = Head.load(tmp_path / "head.npz")
    assert loaded.pooling == MEAN_MAX
    assert all(np.array_equal(a, b) for a, b in zip(head.weights + head.biases, loaded.weights + loaded.biases))  # noqa: B905


def test_a_saved_head_keeps_the_usual_maps_and_an_older_one_has_none(tmp_path):
    usual = (np.ones((1, 2, 2, 5), np.float32),)
    replace(head_of(5, 3), usual=usual).save(tmp_path / "new.npz")
    head_of(5, 3).save(tmp_path / "old.npz")
    assert np.array_equal(Head.load(tmp_path / "new.npz").usual[0], usual[0])
    assert Head.load(tmp_path / "old.npz").usual == ()


def test_centred_logits_add_up_to_nothing_and_give_the_same_scores():
    head, features = head_of(5, 4, 3), np.random.default_rng(1).normal(size=(2, 5))
    centred = head.centred.logits(features)
    assert np.allclose(centred.sum(axis=1), 0, atol=1e-6)
    assert np.allclose(softmax(centred), softmax(head.logits(features)), atol=1e-6)


@pytest.mark.parametrize("damage", ["gone", "torn", "text", "empty", "pickle"])
def test_a_damaged_head_is_refused(tmp_path, damage):
    path = tmp_path / "head.npz"
    head_of(5, 3).save(path)
    content = path.read_bytes()
    path.unlink()
    if damage == "pickle":
        np.savez(path, pooling=np.array([{}], dtype=object))
    elif damage != "gone":
        path.write_bytes({"torn": content[: len(content) // 2], "text": b"image", "empty": b""}[damage])
    with pytest.raises(RunDamaged, match="head.npz is missing or damaged"):
        Head.load(path)


def test_scores_add_up_to_one_however_large_the_logits():
    scores = softmax(np.array([[1000.0, 1000.0], [-1000.0, 0.0]]))
    assert scores.tolist() == [[0.5, 0.5], [0.0, 1.0]]
