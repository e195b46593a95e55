"""The box around the lungs, by the built-in segmenter, of synthetic images and of noise."""

import numpy as np
import pytest

from covid_core.data.imports.importing import import_phantom
from covid_core.images.codec import to_square
from covid_core.inference.region import lung_region
from covid_core.inference.region.lung_region import FALLBACK, LungRegion, cut_images
from covid_core.runs import segmenters
from covid_core.synthetic.phantom import image_at
from covid_core.workspace import Workspace

SIZE = 48


@pytest.fixture(scope="module")
def region() -> LungRegion:
    return LungRegion.open(segmenters.BUILT_IN_FOLDER, SIZE)


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2 * SIZE, 2 * SIZE), np.uint8)


def test_the_box_encloses_the_lungs(region):
    for number in range(4):
        image = image_at(number, 8, size=192)
        regions = region.of(to_square(image.pixels, 2 * SIZE)[None])
        assert regions.refusals == (None,)
        rows, columns = regions.boxes[0].slices(*image.lung_mask.shape)
        assert (image.lung_mask[rows, columns] > 0).sum() > 0.95 * (image.lung_mask > 0).sum()
        assert regions.squares.shape == (1, SIZE, SIZE)


def test_an_image_without_an_outline_takes_the_middle_and_has_a_reason(region, noise):
    regions = region.of(noise[None])
    assert regions.boxes == (FALLBACK,)
    assert regions.refusals[0] is not None


def test_a_box_that_is_too_small_is_refused(region, monkeypatch):
    square = to_square(image_at(0, 8, size=192).pixels, 2 * SIZE)[None]
    shortest = region.of(square).boxes[0].shortest
    monkeypatch.setattr(lung_region, "LEAST", shortest + 0.01)
    (refusal,) = region.of(square).refusals
    assert (refusal.figure, refusal.value) == (lung_region.SMALL, shortest)


def test_a_held_region_stays_where_it_is(region, noise):
    square = to_square(image_at(0, 8, size=192).pixels, 2 * SIZE)
    assert region.held(square).of(noise[None]).boxes == region.of(square[None]).boxes


def test_kept_squares_are_those_of_the_one_function_and_are_cut_once(region, tmp_path, monkeypatch):
    workspace = Workspace(tmp_path)
    dataset = import_phantom(workspace, 9)
    first = cut_images(workspace, dataset, region, 2 * SIZE, np.array([1, 4]))
    (wanted,) = [lung_region.decode_rows(dataset, [4], 2 * SIZE)]
    assert np.array_equal(first.pixels[4], region.of(wanted).squares[0])
    assert not first.pixels[0].any() and not first.outlined[0]
    monkeypatch.setattr(LungRegion, "of", None)
    again = cut_images(workspace, dataset, region, 2 * SIZE, np.array([4]))
    assert np.array_equal(again.pixels[4], first.pixels[4])
    assert again.box(4) == first.box(4)
