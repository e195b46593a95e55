"""Boxes: where they lie in pixels, and maps laid back into the whole image."""

import numpy as np
import pytest

from covid_core.images.regions import Box


@pytest.mark.parametrize("side, share", [(373, 0.6), (80, 0.5), (10, 0.7), (7, 0.3)])
def test_the_middle_is_what_the_model_cuts_out(side, share):
    rows, columns = Box.centre(share).slices(side, side)
    size = round(share * side)
    assert rows == columns == slice((side - size) // 2, (side - size) // 2 + size)


def test_a_box_encloses_a_mask_with_its_margin():
    mask = np.zeros((100, 200), bool)
    mask[20:60, 50:150] = True
    box = Box.around(mask, 0.1)
    assert (box.left, box.top, box.right, box.bottom) == pytest.approx((0.2, 0.16, 0.8, 0.64))
    assert box.slices(100, 200) == (slice(16, 64), slice(40, 160))
    assert box.shortest == pytest.approx(0.48)


def test_a_box_ends_where_the_image_ends():
    assert Box.around(np.ones((10, 10), bool), 0.2) == Box()


def test_what_is_cut_out_is_stretched_to_a_square():
    image = np.zeros((100, 200), np.uint8)
    image[16:64, 40:160] = 200
    cut = Box(0.2, 0.16, 0.8, 0.64).cut(image, 32)
    assert cut.shape == (32, 32) and (cut == 200).all()


def test_a_map_is_laid_back_at_its_place_and_is_0_beside_it():
    box = Box(0.25, 0.5, 0.75, 1.0)
    whole = box.laid_back(np.ones((7, 7), np.float32), (40, 80))
    assert whole.shape == (40, 80)
    assert (whole[20:, 20:60] == 1).all()
    assert whole.sum() == 20 * 40
