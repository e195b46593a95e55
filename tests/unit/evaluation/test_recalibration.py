"""A small labelled sample of a new hospital."""

import numpy as np
import pytest
from made_runs import scored

from covid_core.errors import DataError, InvalidChoice
from covid_core.evaluation import recalibration

CLASSES = ("COVID", "Normal", "Viral Pneumonia")


def moved(images: int = 300, shift: float = 4.0):
    """Scores of two classes that are told apart well, but moved towards the first; the third has no image."""
    rng = np.random.default_rng(0)
    y_true = np.arange(images) % 2
    logits = rng.normal(size=(images, 3)) - [0, 0, 8]
    logits[np.arange(images), y_true] += 3
    logits[:, 0] += shift
    scores = np.exp(logits)
    return scored([CLASSES[k] for k in y_true], scores / scores.sum(axis=1, keepdims=True), CLASSES, "outside")


def test_moved_scores_are_moved_back_and_judged_on_other_images():
    found = recalibration.recalibrated(moved(), "outside")
    assert (len(found.sample), found.rest) == (40, 260)
    assert found.before.value < 0.7 < 0.9 < found.after.value
    assert found.gain.low > 0.1 and found.gain.value == pytest.approx(found.after.value - found.before.value)
    assert found.shifts["Viral Pneumonia"] == 0 and sum(found.shifts.values()) == pytest.approx(0)


def test_a_sample_is_named_by_its_seed():
    first, again, other = (recalibration.recalibrated(moved(), "outside", 20, seed).sample for seed in (1, 1, 2))
    assert first == again != other


def test_where_nothing_has_moved_little_changes():
    found = recalibration.recalibrated(moved(shift=0), "outside")
    assert abs(found.gain.value) < 0.05


@pytest.mark.parametrize("images", [19, 101])
def test_a_sample_of_another_size_is_refused(images):
    with pytest.raises(InvalidChoice):
        recalibration.recalibrated(moved(), "outside", images)


def test_too_few_outside_images_are_refused():
    with pytest.raises(DataError):
        recalibration.recalibrated(moved(30), "outside")
