"""The limit from which an aligned pair is a copy, as the data itself gives it."""

import numpy as np
import pytest

from covid_core.audit.duplicates import threshold
from covid_core.figures.audit import duplicate_histogram, duplicate_histogram_in_words
from covid_core.reports.audit_text import limit_of_duplicates
from covid_core.synthetic.phantom import image_at

IMAGES = 160


@pytest.fixture(scope="module")
def squares() -> np.ndarray:
    return np.stack([image_at(index, IMAGES, seed=3, size=128).pixels for index in range(IMAGES)])


def test_look_alikes_have_a_higher_limit_than_images_of_many_kinds():
    """Bests of 1,000 values of a normal law; the limit is where one of all compared is expected."""
    rng = np.random.default_rng(0)
    apart = np.tanh(0.1 * rng.normal(size=(400, 1000)).max(axis=1))
    alike = np.tanh(0.7 + 0.1 * rng.normal(size=(400, 1000)).max(axis=1))
    of_apart, of_alike = (threshold._beyond(np.sort(some), 1000, 10**6) for some in (apart, alike))
    # one in a million is beyond 4.75 deviations
    assert np.arctanh([of_apart, of_alike]) == pytest.approx([0.475, 1.175], abs=0.03)


def test_the_limit_rests_on_images_that_are_not_the_same_and_is_told_in_words(squares):
    found = threshold.calibrated(squares)
    assert threshold.LOWEST <= found.limit <= threshold.HIGHEST
    assert found.different.max() < threshold.HIGHEST
    assert found.compared == IMAGES * (IMAGES - 1)
    words = limit_of_duplicates(found)
    assert f"{found.read:.3f}" in words and f"{found.limit:.3f}" in words


def test_images_that_are_all_there_twice_keep_the_limit_of_images_that_are_not(squares):
    twice = np.concatenate([squares, squares])
    assert threshold.calibrated(twice).read == pytest.approx(threshold.calibrated(squares).read, abs=0.04)


def test_images_of_one_patient_are_not_drawn_as_different_ones(squares):
    noise = np.random.default_rng(0).normal(0, 14, squares.shape)
    again = np.clip(squares + noise, 0, 255).astype(np.uint8)
    both = np.concatenate([squares, again])
    patients = np.array([str(image % IMAGES) for image in range(2 * IMAGES)])
    known, unknown = threshold.calibrated(both, patients=patients), threshold.calibrated(both)
    assert known.read < unknown.read


def test_few_images_have_the_usual_limit_and_say_so(squares):
    found = threshold.calibrated(squares[:40])
    assert found.limit == threshold.USUAL
    assert "too few" in limit_of_duplicates(found)
    assert not len(found.different)


def test_the_figure_draws_the_different_pairs_and_the_limit(squares):
    found = threshold.calibrated(squares)
    figure = duplicate_histogram(found, np.array([0.99, 0.98]))
    assert sum(sum(bar.y) for bar in figure.data if bar.type == "bar") == len(found.different) + 2
    assert figure.layout.shapes[0].x0 == pytest.approx(found.limit)
    assert f"{found.limit:.3f}" in duplicate_histogram_in_words(found, np.array([0.99, 0.98]))
