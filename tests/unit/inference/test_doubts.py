"""What is said of an image that is much smaller, longer or emptier than those that a network was trained on."""

import numpy as np
import pytest
from made_assessments import assessment

from covid_core.inference import doubts
from covid_core.inference.assessment import Urgency, urgency


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width)).astype(np.uint8)


def framed(margin: int) -> np.ndarray:
    """Noise between two flat sides."""
    return np.pad(noise(100, 100), ((0, 0), (margin, margin)))


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (noise(40, 40), "40 x 40 against 128 x 128 pixels"),
        (noise(256, 1200), "The image has 1,200 x 256 pixels"),
        (framed(20), "A flat margin fills 29 % of the image"),
    ],
    ids=["small", "long", "framed"],
)
def test_an_image_that_differs_from_all_others_is_doubted(pixels, words):
    (reason,) = doubts.of(pixels, 128)
    assert words in reason


@pytest.mark.parametrize("pixels", [noise(64, 64), noise(256, 512), framed(8)], ids=["half", "twice", "thin frame"])
def test_an_image_like_others_is_not(pixels):
    assert doubts.of(pixels, 128) == ()


def test_one_grey_is_all_margin():
    assert doubts.flat_margin(np.full((50, 60), 7, np.uint8)) == 1


def test_a_doubt_of_one_run_alone_counts():
    entry = [assessment("One"), assessment("Two", warnings=("The image is small.",))]
    assert urgency(entry) == Urgency.DOUBTED
