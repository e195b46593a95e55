"""An image that a person turns before it is read."""

import numpy as np
import pytest

from covid_core.images.image import GreyImage, Turn, turned

IMAGE = GreyImage(np.arange(12, dtype=np.uint8).reshape(3, 4), "L", spacing=(0.1, 0.2))


@pytest.mark.parametrize("first", [Turn(1), Turn(3, True), Turn(2, False, True), Turn(0, True)])
@pytest.mark.parametrize("second", [Turn(1), Turn(2, True), Turn(0, True, True)])
def test_one_turn_after_another_is_their_sum(first, second):
    by_steps = turned(turned(IMAGE, first), second)
    at_once = turned(IMAGE, first.then(second))
    assert np.array_equal(by_steps.pixels, at_once.pixels)
    assert by_steps.spacing == at_once.spacing


@pytest.mark.parametrize("turn", [Turn(1), Turn(3, True), Turn(2, False, True), Turn(0, True)])
def test_a_turn_can_be_undone(turn):
    assert turn.then(turn.undone) == Turn()


def test_a_quarter_clockwise_brings_the_left_column_to_the_top():
    image = turned(IMAGE, Turn(1))
    assert image.pixels[0].tolist() == [8, 4, 0]
    assert image.spacing == (0.2, 0.1)
    assert image.notes == ("turned by 90 degrees to the right by hand",)
