"""How much of a heat map lies inside the lungs: held against their area, of one image and of many."""

import numpy as np
import pytest

from covid_core.inference.heatmap import LungShare, share_inside, share_over


def left_half(side: int = 4) -> np.ndarray:
    return np.repeat(np.arange(side)[None] < side // 2, side, axis=0)


def test_the_share_inside_the_lungs_is_held_against_their_area():
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0], heat[0, 3] = 3, 1
    found = share_inside(heat, left_half())
    assert (found.share, found.chance, found.ratio) == (0.75, 0.5, 1.5)


def test_a_map_that_is_the_same_everywhere_is_at_chance():
    assert share_inside(np.ones((4, 4)), left_half()).ratio == pytest.approx(1)


@pytest.mark.parametrize("side", [2, 3, 8, 64])
def test_a_mask_of_another_resolution_counts_each_place_as_much_as_it_is_lung(side):
    found = share_inside(np.ones((5, 7), np.float32), np.ones((side, side), bool))
    assert (found.share, found.chance) == (pytest.approx(1), pytest.approx(1))
    halves = share_inside(np.ones((8, 8), np.float32), left_half(2 * side))
    assert halves.share == halves.chance == pytest.approx(0.5, abs=0.05)


def test_evidence_against_a_class_is_no_heat():
    heat = np.array([[1.0, -9.0]])
    assert share_inside(heat, np.array([[True, False]])).share == 1


def test_without_heat_or_without_lungs_the_share_is_undefined_and_says_why():
    empty, blind = share_inside(np.zeros((4, 4)), left_half()), share_inside(np.ones((4, 4)), np.zeros((4, 4), bool))
    assert not empty.is_defined and not blind.is_defined
    assert np.isnan([empty.share, empty.ratio, blind.share, blind.chance]).all()
    assert (empty.why, blind.why) == ("no heat", "no lung")


def test_the_mean_share_of_many_images_has_an_interval_and_leaves_out_what_is_undefined():
    images = [LungShare(value, 0.25) for value in (0.4, 0.6) * 20] + [LungShare(np.nan, 0.3, "no heat")]
    found = share_over(images)
    assert found.share == pytest.approx(0.5)
    assert found.chance == pytest.approx(0.25)
    assert 0.45 < found.low < 0.5 < found.high < 0.55
    assert (found.images, found.undefined) == (40, 1)


def test_images_that_belong_together_widen_the_interval():
    images = [LungShare(value, 0.25) for value in (0.2,) * 20 + (0.8,) * 20]
    alone, together = share_over(images), share_over(images, np.arange(40) // 10)
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_no_image_with_a_share_is_told_as_none():
    found = share_over([LungShare(np.nan, np.nan, "no lung")])
    assert np.isnan([found.share, found.low, found.chance]).all() and found.images == 0
