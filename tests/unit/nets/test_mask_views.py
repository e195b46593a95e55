"""Images and masks changed together: the mask stays on its lungs, and a seed gives the same copy."""

import numpy as np
import pytest
from made_data import lung_mask

from covid_core.nets.segmentation import augmentation
from covid_core.synthetic.phantom import image_at

SIZE = 64


def pair(number: int = 0):
    image = image_at(number, size=SIZE)
    return image.pixels, image.lung_mask > 0


def test_a_seed_gives_the_same_copy_and_another_a_different_one():
    image, mask = pair()
    first, again, other = (augmentation.changed(image, mask, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first[0] == again[0]).all()
    assert (first[1] == again[1]).all()
    assert (first[0] != other[0]).any()


def test_copies_are_images_and_masks_of_the_same_shape():
    image, mask = augmentation.changed(*pair(), np.random.default_rng(0))
    assert image.dtype == np.uint8
    assert mask.dtype == bool
    assert image.shape == mask.shape == (SIZE, SIZE)


@pytest.mark.parametrize("seed", range(5))
def test_the_mask_goes_where_its_lungs_go(monkeypatch, seed):
    """With greys left alone, an image that shows its own mask still shows it afterwards."""
    monkeypatch.setattr(augmentation, "_other_appearance", lambda image, rng: image)
    monkeypatch.setattr(augmentation, "_framed", lambda image, mask, rng: (image, mask))
    monkeypatch.setattr(augmentation, "_empty", lambda rng: 0.0)
    white = lung_mask(SIZE)
    image, mask = augmentation.changed(white, white > 0, np.random.default_rng(seed))
    assert ((image > 127) == mask).all()
    assert (mask != (white > 0)).any()


def test_curves_of_greys_never_fall_so_no_image_is_inverted():
    curves = [augmentation._curve(np.random.default_rng(seed)) for seed in range(50)]
    assert all((np.diff(curve) >= 0).all() for curve in curves)


def test_what_a_frame_hides_is_no_lung():
    full = np.ones((SIZE, SIZE), bool)
    frames = [augmentation._framed(np.full((SIZE, SIZE), 0.5), full, np.random.default_rng(seed)) for seed in range(40)]
    hidden = [(image, mask) for image, mask in frames if not mask.all()]
    assert hidden
    assert all(np.isin(image[~mask], (0.0, 1.0)).all() for image, mask in hidden)
