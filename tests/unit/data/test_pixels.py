"""Decoded images: once per size, in the data set's order, and never of a changed file."""

import os

import numpy as np
import pytest

from covid_core import cache
from covid_core.data import pixels
from covid_core.data.imports.importing import import_folder
from covid_core.errors import DataError, NoRoom, Stopped
from covid_core.images.codec import png_bytes, read_image, to_square


@pytest.fixture
def dataset(workspace, image_folder):
    return import_folder(workspace, image_folder({"a": 3, "b": 2}))


def test_images_come_in_the_order_of_the_table(workspace, dataset):
    images = pixels.open_pixels(workspace, dataset, 32)
    assert images.shape == (5, 32, 32)
    for row in range(5):
        assert np.array_equal(images[row], to_square(read_image(dataset.path_of(row)).pixels, 32))


def test_pixels_kept_at_import_are_what_decoding_gives(workspace, dataset):
    kept = np.array(pixels.open_pixels(workspace, dataset, 128))
    pixels.pixels_path(workspace, dataset.pixels_key, 128).unlink()
    assert np.array_equal(kept, pixels.open_pixels(workspace, dataset, 128))


def test_images_are_decoded_once(workspace, dataset, monkeypatch):
    pixels.open_pixels(workspace, dataset, 32)
    monkeypatch.setattr(pixels, "read_image", lambda path: pytest.fail("decoded again"))
    pixels.open_pixels(workspace, dataset, 32)


def test_a_cache_of_the_wrong_size_is_made_again(workspace, dataset):
    pixels.pixels_path(workspace, dataset.pixels_key, 32).write_bytes(b"torn")
    assert pixels.open_pixels(workspace, dataset, 32).shape == (5, 32, 32)


def test_cached_images_cannot_be_changed(workspace, dataset):
    with pytest.raises(ValueError, match="read-only"):
        pixels.open_pixels(workspace, dataset, 32)[0, 0, 0] = 1


def test_some_images_come_straight_from_their_files(workspace, dataset):
    images = pixels.open_pixels(workspace, dataset, 32)
    assert np.array_equal(pixels.decode_rows(dataset, [4, 1], 32), images[[4, 1]])


def test_a_image_that_has_disappeared_is_named(workspace, dataset):
    dataset.path_of(3).unlink()
    with pytest.raises(DataError, match="b/b-1.png is no longer what it was at import.*No such file.*still there"):
        pixels.open_pixels(workspace, dataset, 32)
    assert not pixels.pixels_path(workspace, dataset.pixels_key, 32).exists()


def test_stopped_decoding_leaves_no_half_cache(workspace, dataset):
    def stop(share, message):
        raise Stopped("Stopped by the user.")

    with pytest.raises(Stopped):
        pixels.open_pixels(workspace, dataset, 32, stop)
    assert [path.name for path in workspace.pixels.iterdir()] == [f"{dataset.pixels_key[:32]}-128.u8"]


def test_a_image_that_was_replaced_is_noticed(workspace, dataset):
    """Reading it would train on pixels that the data set's version does not stand for."""
    dataset.path_of(0).write_bytes(png_bytes(np.eye(40, dtype=np.uint8) * 255))
    with pytest.raises(DataError, match="a/a-1.png is no longer what it was at import. The file was changed"):
        pixels.open_pixels(workspace, dataset, 32)


def test_opening_images_notes_that_they_are_used(workspace, dataset):
    path = pixels.pixels_path(workspace, dataset.pixels_key, 128)
    os.utime(path, (0, 0))
    pixels.open_pixels(workspace, dataset, 128)
    assert path.stat().st_mtime > 0


def test_new_images_push_out_what_was_not_used_for_longest(workspace, dataset, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(5 * 128 * 128 / cache.GB))
    pixels.open_pixels(workspace, dataset, 32)
    assert [path.name for path in workspace.pixels.iterdir()] == [f"{dataset.pixels_key[:32]}-32.u8"]


def test_images_that_do_not_fit_the_cache_are_refused_before_they_are_decoded(workspace, dataset, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, "0.00001")
    monkeypatch.setattr(pixels, "read_image", lambda path: pytest.fail("decoded"))
    with pytest.raises(
        NoRoom, match="20.5 kB have to be kept for this work, and the cache may take 10.0 kB. Try smaller"
    ):
        pixels.open_pixels(workspace, dataset, 64)
