"""The search of all pairs for images that look alike."""

import numpy as np
import pytest

from covid_core.audit.duplicates import search
from covid_core.images.codec import to_squares
from covid_core.synthetic.phantom import image_at

IMAGES = 200


@pytest.fixture(scope="module")
def squares() -> np.ndarray:
    return np.stack([image_at(index, IMAGES, seed=3, size=128).pixels for index in range(IMAGES)])


def named(pixels, others=None):
    """The pairs that are named, each with the view that named it."""
    return {
        (int(a), int(b)): view for view, i, j, _ in search.candidates(pixels, others) for a, b in zip(i, j, strict=True)
    }


def test_few_of_all_pairs_are_named_and_no_image_with_itself(squares):
    found = named(squares)
    assert len(found) < 0.01 * IMAGES * (IMAGES - 1)
    assert all(one != other for one, other in found)


def test_a_cropped_image_names_the_one_that_it_was_cropped_from(squares):
    cropped = to_squares([np.ascontiguousarray(image[4:-4, 4:-4]) for image in squares[:20]], 128)
    found = named(squares, cropped)
    assert {(k, k) for k in range(20)} <= set(found)


def test_a_mirrored_copy_is_named_by_the_mirrored_view(squares):
    found = named(np.concatenate([squares, squares[:10, :, ::-1]]))
    assert all(found[k, IMAGES + k].mirrored for k in range(10))


def test_blocks_name_what_one_block_names(squares, monkeypatch):
    whole = named(squares)
    monkeypatch.setattr(search, "BLOCK", 64)
    monkeypatch.setattr(search, "PIECE", 30)
    assert {frozenset(pair) for pair in named(squares)} == {frozenset(pair) for pair in whole}


def test_a_cropped_view_shows_what_cropping_leaves(squares):
    """Of an image that rises evenly, cropping at both ends takes as much off the range."""
    slope = np.broadcast_to(np.arange(128, dtype=np.uint8), (1, 128, 128))
    plain, inner = (search._sized(slope, cropped)[0, 0] for cropped in (False, True))
    share = 1 - 2 * search.CROP
    assert inner[-1] - inner[0] == pytest.approx(share * (plain[-1] - plain[0]), rel=0.01)
