"""Places covered one after the other, asked of a made network whose answer is known."""

import numpy as np
import pytest

from covid_core.errors import Stopped
from covid_core.evaluation.calibration import Calibration
from covid_core.images.codec import GreyImage
from covid_core.inference.assessment import assess
from covid_core.inference.network import Head
from covid_core.inference.occlusion import GRID, occluded
from covid_core.inference.predictor import Predictor

SIZE = 48
BRIGHT = Head("mean_max", (np.array([[0.0, 0.0], [8.0, -8.0]], np.float32),), (np.array([-4, 4], np.float32),))


class GreyTrunk:
    """One channel: the image itself, in [0, 1]."""

    def maps(self, images: np.ndarray) -> list[np.ndarray]:
        return [images.astype(np.float32)[..., None] / 255]


def predictor(**more) -> Predictor:
    """Says "a" where the image has one bright place."""
    return Predictor(("a", "b"), SIZE, GreyTrunk(), BRIGHT, **more)


def spotted(row: int = 14, column: int = 34) -> GreyImage:
    pixels = np.full((SIZE, SIZE), 60, np.uint8)
    pixels[row - 2 : row + 2, column - 2 : column + 2] = 250
    return GreyImage(pixels, "L")


def test_covering_what_speaks_for_a_class_lowers_its_answer():
    found = occluded(predictor(), spotted(), "a")
    x, y, without = found.most
    assert (x * SIZE, y * SIZE) == (pytest.approx(34, abs=4), pytest.approx(14, abs=4))
    assert without < 0.5 < found.answer
    assert found.change.shape == found.covered.shape == (GRID, GRID)


def test_the_same_place_speaks_as_much_against_the_other_class():
    one, other = (occluded(predictor(), spotted(), label) for label in ("a", "b"))
    assert np.allclose(one.change, -other.change, atol=1e-5)
    assert np.allclose(one.covered + other.covered, 1, atol=1e-6)


def test_places_that_do_not_matter_change_nothing():
    change = occluded(predictor(), spotted(), "a").change
    assert np.abs(change[6:, :6]).max() < 0.02 * change.max()


def test_a_image_without_content_of_its_own_is_moved_by_nothing():
    """The cover is the image's own grey: no box and no edge appear."""
    found = occluded(predictor(), GreyImage(np.full((SIZE, SIZE), 90, np.uint8), "L"), "a")
    assert not found.change.any()
    assert not found.map((20, 30)).any()


def test_the_map_lies_over_the_image_and_is_signed():
    shown = occluded(predictor(), spotted(), "b").map((96, 144))
    assert shown.shape == (96, 144)
    assert -1 <= shown.min() < -0.9
    row, column = np.unravel_index(shown.argmin(), shown.shape)
    assert (row, column) == (pytest.approx(28, abs=8), pytest.approx(102, abs=12))


def test_the_answer_is_a_probability_where_the_run_is_calibrated():
    warm = predictor(calibration=Calibration(temperature=2.0, images=300))
    assert occluded(warm, spotted(), "a").answer == pytest.approx(assess(warm, spotted()).probabilities[0])
    plain = assess(predictor(), spotted())
    assert occluded(predictor(), spotted(), "a").answer == pytest.approx(plain.scores[0])


def test_progress_is_told_and_may_stop_the_work():
    told = []
    occluded(predictor(), spotted(), "a", lambda share, text: told.append(share))
    assert told[0] == 0 and told[-1] == 1 and told == sorted(told)

    def stop(share: float, _text: str) -> None:
        if share > 0.4:
            raise Stopped("Stopped by the user.")

    with pytest.raises(Stopped):
        occluded(predictor(), spotted(), "a", stop)
