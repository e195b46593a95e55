"""One file to grey pixels: files and their limits, resizing, thumbnails, writing.

What a file may hold is tried in tests/hostile.
"""

import os

import numpy as np
import pytest
from hostile.make import RAMP, SIDE, png
from PIL import Image, PngImagePlugin

from covid_core.errors import ImageError
from covid_core.images import codec
from covid_core.images.codec import read_image


def test_a_file_over_the_limit_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(codec, "LARGEST_FILE", 2**20)
    (tmp_path / "image.png").write_bytes(b"\0" * (2**20 + 1))
    monkeypatch.setattr(codec.Path, "read_bytes", lambda path: pytest.fail("was read"))
    with pytest.raises(ImageError, match="larger than 1 MiB"):
        read_image(tmp_path / "image.png")


def test_bytes_over_the_limit_are_refused(monkeypatch):
    monkeypatch.setattr(codec, "LARGEST_FILE", 2**20)
    with pytest.raises(ImageError, match="larger than 1 MiB"):
        read_image(b"\0" * (2**20 + 1))


def test_a_missing_file_is_refused_without_its_folder(tmp_path):
    with pytest.raises(ImageError, match="cannot be opened: No such file") as refusal:
        read_image(tmp_path / "image.png")
    assert str(tmp_path) not in str(refusal.value)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_plain_file_is_refused(tmp_path, make):
    make(tmp_path / "image.png")
    with pytest.raises(ImageError, match="folder or a device"):
        read_image(tmp_path / "image.png")


def test_metadata_is_never_written():
    info = PngImagePlugin.PngInfo()
    info.add_text("PatientName", "CANARY")
    image = read_image(png(RAMP, pnginfo=info))
    assert b"CANARY" not in codec.png_bytes(image.pixels) + codec.jpeg_bytes(image.pixels)


def test_a_image_is_squashed_to_a_square():
    square = codec.to_square(np.repeat(RAMP, 2, axis=0), 32)
    assert square.shape == (32, 32)
    assert square.dtype == np.uint8
    assert np.all(np.diff(square[0].astype(int)) >= 0)


def test_a_image_of_the_right_size_is_left_as_it_is():
    assert codec.to_square(RAMP, SIDE) is RAMP


@pytest.mark.parametrize("shape", [(64, 64), (256, 256), (200, 299), (299, 200), (32, 240), (1500, 1700)])
@pytest.mark.parametrize("size", [128, 100])
def test_squares_are_those_of_pillow_to_the_last_grey_level(shape, size):
    images = list(np.random.default_rng(0).choice(np.array([0, 7, 128, 255], np.uint8), (3, *shape)))
    expected = [np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS)) for image in images]
    assert np.array_equal(codec.to_squares(images, size), expected)
    assert np.array_equal(codec.to_square(images[0], size), expected[0])


@pytest.mark.parametrize("level", [0, 1, 9])
def test_a_grey_png_is_read_to_the_last_grey_level(level):
    pixels = np.random.default_rng(0).integers(0, 256, (270, 300), dtype=np.uint8)
    image = read_image(png(pixels, compress_level=level))
    assert np.array_equal(image.pixels, pixels)
    assert (image.mode, image.notes) == ("L", ())


def test_a_mask_is_true_where_it_is_white(tmp_path):
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[10:20, 10:20] = 255
    (tmp_path / "mask.png").write_bytes(png(mask))
    assert np.array_equal(codec.read_mask(tmp_path / "mask.png"), mask == 255)


def drawn_mask(*places: tuple[int, int, int, int]) -> np.ndarray:
    """White boxes (top, bottom, left, right), in shares of 8, on black."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for top, bottom, left, right in (np.array(places) * SIDE) // 8:
        mask[top:bottom, left:right] = 255
    return mask


ONE, TWO = [(2, 6, 1, 3)], [(2, 6, 1, 3), (1, 6, 5, 7)]
LARGE, NEARLY_ALL = [(0, 8, 0, 3), (0, 8, 5, 8)], [(0, 8, 0, 8)]


@pytest.mark.parametrize(
    ("white", "is_inverted"),
    [
        (drawn_mask(*TWO), False),
        (255 - drawn_mask(*TWO), True),
        (255 - drawn_mask(*ONE), True),
        (drawn_mask(*LARGE), False),
    ],
    ids=["white lungs", "black lungs", "one black lung", "white lungs up to the border"],
)
def test_a_mask_is_inverted_where_its_lungs_are_plainly_black(tmp_path, white, is_inverted):
    (tmp_path / "mask.png").write_bytes(png(white))
    assert np.array_equal(codec.read_mask(tmp_path / "mask.png"), (white == 0) == is_inverted)


def test_a_mask_with_a_few_black_specks_is_left_as_it_is(tmp_path):
    mask = drawn_mask(*NEARLY_ALL)
    mask[3, 4:7] = 0
    (tmp_path / "mask.png").write_bytes(png(mask))
    assert np.array_equal(codec.read_mask(tmp_path / "mask.png"), mask == 255)


def test_a_thumbnail_keeps_proportions_on_black():
    small = codec.thumbnail(np.full((40, 80), 200, np.uint8), 20)
    assert small.shape == (20, 20)
    assert small[0].max() == 0
    assert small[10].min() == 200


@pytest.mark.parametrize(("write", "kind"), [(codec.png_bytes, "png"), (codec.jpeg_bytes, "jpeg")])
def test_a_data_url_names_its_kind(write, kind):
    assert codec.data_url(write(RAMP)).startswith(f"data:image/{kind};base64,")


def test_an_affine_shift_brings_black_in():
    moved = codec.affine(np.full((SIDE, SIDE), 200, np.uint8), (1, 0, -8, 0, 1, 0))
    assert moved[:, :7].max() == 0
    assert moved[:, 9:].min() == 200


def test_a_coarse_map_is_brought_to_a_images_size():
    fine = codec.resized_map(np.array([[0.0, 1.0]]), 10, 4)
    assert fine.shape == (4, 10)
    assert fine.dtype == np.float32
    assert np.all(np.diff(fine[0]) >= 0)


@pytest.mark.parametrize("mark", [b"PK\3\4", b"\x1f\x8b"], ids=["zip", "gzip"])
def test_an_archive_is_refused_with_what_to_do(mark):
    with pytest.raises(ImageError, match=r"PNG.* image\. Unpack it first\.$"):
        read_image(mark + bytes(100))
