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


def test_a_new_head_learns_from_the_sample_what_the_scores_lack():
    table = moved(shift=0)
    blind = table.assign(**{name: 1 / 3 for name in table if name.startswith("score_")})
    features = np.random.default_rng(1).normal(size=(300, 30))
    features[:, 0] += 8 * (np.arange(300) % 2)
    features[:, 1] = 7  # the same in all images
    blind = blind.assign(**{name: 0.0 for name in blind if name.startswith("logit_")})
    fitted = recalibration.recalibrated(blind, "outside", features=features)
    assert fitted.refitted.value > 0.9 and fitted.refitted_gain.low > 0.3
    assert abs(fitted.after.value - 0.5) < 0.1


def test_without_features_no_head_is_fitted():
    fitted = recalibration.recalibrated(moved(), "outside")
    assert fitted.refitted is None and fitted.refitted_gain is None
