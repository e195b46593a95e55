"""Images with parts covered, and with the lungs of other images."""

import numpy as np
import pytest
from scipy import ndimage

from covid_core.audit.model.occlusions import COVERS, ring, tags
from covid_core.images import inpainting
from covid_core.images.inpainting import filled, swapped, widened

SIZE = 64


def slope(low: int = 40, high: int = 160) -> np.ndarray:
    """An image that brightens from left to right: (1, SIZE, SIZE)."""
    return np.linspace(low, high, SIZE).round().astype(np.uint8)[None, None, :].repeat(SIZE, 1)


def box(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros((1, SIZE, SIZE), bool)
    mask[:, top:bottom, left:right] = True
    return mask


def test_what_is_not_covered_stays_as_it_is():
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE), np.uint8)
    hole = box(20, 40, 10, 50).repeat(2, 0)
    assert (filled(images, hole)[~hole] == images[~hole]).all()


def test_a_hole_in_a_smooth_image_is_filled_almost_as_it_was():
    image, hole = slope(), box(20, 44, 20, 44)
    change = filled(image, hole).astype(int) - image
    assert np.abs(change).max() <= 12  # of the 46 grey levels across the hole


def test_nothing_of_what_was_covered_is_left():
    plain = slope()
    marked = np.where(box(28, 36, 28, 36), 255, plain).astype(np.uint8)
    hole = box(24, 40, 24, 40)
    assert (filled(marked, hole) == filled(plain, hole)).all()


def test_a_image_that_is_covered_whole_is_grey():
    assert np.unique(filled(slope(), np.ones((1, SIZE, SIZE), bool))).tolist() == [128]


@pytest.mark.parametrize("cover", COVERS, ids=lambda cover: cover.name)
def test_a_cover_changes_images_and_keeps_their_form(cover):
    images = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE), np.uint8)
    changed = cover.of(images, box(20, 44, 20, 44).repeat(3, 0))
    assert changed.shape == images.shape and changed.dtype == np.uint8
    assert (changed != images).any()


def test_border_and_centre_share_out_the_image():
    images = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE), np.uint8)
    of = {cover.name: cover.of(images, np.zeros((1, SIZE, SIZE), bool))[0] for cover in COVERS if not cover.needs_lungs}
    border = ring(SIZE)
    assert (of["border only"][border] == images[0][border]).all()
    assert (of["centre only"][~border] == images[0][~border]).all()


def test_tags_are_corners_and_thin_bright_marks_but_never_lungs():
    image = np.full((1, SIZE, SIZE), 60, np.uint8)
    image[0, 30, 10:14] = image[0, 30, 40:44] = 240
    lungs = box(20, 44, 30, 60)
    found = tags(image, lungs)[0]
    assert found[0, 0] and found[-1, -1] and found[30, 10:14].all()
    assert not found[widened(lungs)[0]].any()
    assert not found[15, 20]


def test_a_image_with_its_own_lungs_stays_as_it_is():
    images = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE), np.uint8)
    lungs = box(20, 44, 12, 52)
    assert (swapped(images, lungs, images, lungs) == images).all()


def test_the_frame_stays_and_the_lungs_are_those_of_the_other_image_at_their_place():
    frame, donor = np.full((1, SIZE, SIZE), 100, np.uint8), np.full((1, SIZE, SIZE), 160, np.uint8)
    here, there = box(16, 48, 10, 54), box(20, 40, 20, 44)
    donor[there] = 110  # 50 darker than what is around them
    made = swapped(frame, here, donor, there)
    assert (made[~widened(here)] == 100).all()
    inner = box(20, 44, 14, 50)
    assert np.abs(made[inner].astype(int) - 50).max() <= 1  # as much darker than what is around them now


def test_an_image_is_stretched_as_an_affine_transform_would():
    image = np.random.default_rng(3).integers(0, 256, (40, 40), np.uint8)
    source, target = np.array([5.0, 30, 8, 33]), np.array([2.0, 36, 10, 29])
    scale = (source[1] - source[0]) / (target[1] - target[0]), (source[3] - source[2]) / (target[3] - target[2])
    offset = source[0] - scale[0] * target[0], source[2] - scale[1] * target[2]
    expected = ndimage.affine_transform(image.astype(np.float64), scale, offset, order=1, mode="nearest")
    assert np.allclose(inpainting._moved(image, source, target), expected, atol=1e-3)
