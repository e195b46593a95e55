"""The pointing game, by hand; tests/test_sanity.py plays it with a run that was trained."""

import numpy as np
import pytest

from benchmarks.models.pointing_game import TOLERANCE, Point, played, point

SIDE = 224


def lesion() -> np.ndarray:
    marked = np.zeros((SIDE, SIDE), bool)
    marked[100:120, 100:120] = True
    return marked


def peak(row: int, column: int) -> np.ndarray:
    heat = np.zeros((SIDE, SIDE))
    heat[row, column] = 1
    return heat


@pytest.mark.parametrize(
    ("row", "column", "hit"),
    [(110, 110, True), (110, 134, True), (110, 135, False), (85, 110, True), (84, 110, False), (0, 0, False)],
    ids=["on it", "15 pixels beside", "16 beside", "15 above", "16 above", "in the corner"],
)
def test_the_highest_point_hits_within_fifteen_pixels_of_224(row, column, hit):
    assert point(peak(row, column), lesion()).hit == hit


def test_chance_is_the_area_around_the_lesion():
    reach = TOLERANCE * SIDE
    area = 20 * 20 + 4 * 20 * reach + np.pi * reach**2
    assert point(peak(0, 0), lesion()).chance == pytest.approx(area / SIDE**2, rel=0.05)


def test_an_empty_map_hits_nothing():
    assert not point(np.zeros((SIDE, SIDE)), np.ones((SIDE, SIDE), bool)).hit


def test_a_game_is_the_mean_of_its_images():
    game = played([Point(True, 0.1), Point(False, 0.3)])
    assert (game.hits, game.chance, game.images) == (0.5, pytest.approx(0.2), 2)
    assert np.isnan(played([]).hits)
