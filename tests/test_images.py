"""One file to grey pixels: what is read, what is refused, and what a reader is told.

I1 to I18 number the kinds of hostile and unusual files that are tried.
"""

import io
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from covid_core.data import images
from covid_core.data.images import read_film
from covid_core.errors import ImageError

SIDE = 64
RAMP = np.tile(np.linspace(0, 255, SIDE).round().astype(np.uint8), (SIDE, 1))
LEANING = np.add.outer(np.arange(SIDE) * 3, np.arange(SIDE)).astype(np.uint8)  # differs in all eight orientations


def png(image: Image.Image | np.ndarray, **options) -> bytes:
    return encoded(image, "PNG", **options)


def jpeg(image: Image.Image | np.ndarray, **options) -> bytes:
    return encoded(image, "JPEG", **{"quality": 95, **options})


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def raw_png(width: int, height: int, rows: bytes, depth: int = 8, colour: int = 0, extra: bytes = b"") -> bytes:
    """A PNG from its parts: ``rows`` are scan lines, each after its filter byte; ``extra`` are chunks before them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def low_depth_png(depth: int) -> tuple[bytes, np.ndarray]:
    """A grey PNG of 1, 2 or 4 bits, and the same film in 8 bits."""
    levels = np.tile(np.arange(SIDE) % 2**depth, (SIDE, 1))
    bits = np.unpackbits(levels.astype(np.uint8)[..., None], axis=2)[..., -depth:].reshape(SIDE, -1)
    rows = np.packbits(bits, axis=1)
    content = raw_png(SIDE, SIDE, b"".join(b"\0" + row.tobytes() for row in rows), depth)
    return content, (levels * (255 // (2**depth - 1))).astype(np.uint8)


def with_orientation(pixels: np.ndarray, orientation: int) -> bytes:
    """The film stored turned, with the EXIF entry that turns it back."""
    stored = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.T,
        6: np.rot90(pixels, 1),
        7: pixels[::-1, ::-1].T,
        8: np.rot90(pixels, -1),
    }[orientation]
    exif = Image.Exif()
    exif[images.EXIF_ORIENTATION] = orientation
    return png(np.ascontiguousarray(stored), exif=exif)


def text_bomb() -> bytes:
    return raw_png(SIDE, SIDE, packed(RAMP), extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(b"a" * 20_000_000, 9)))


def packed(pixels: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def broken_checksum() -> bytes:
    content = bytearray(png(RAMP))
    content[content.index(b"IDAT") + 10] ^= 0xFF
    return bytes(content)


def animation() -> bytes:
    return png(RAMP, save_all=True, append_images=[Image.fromarray(LEANING)])


def colour_photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)


def alien(kind: str) -> bytes:
    return encoded(Image.fromarray(RAMP).convert("RGB"), kind)


NOT_READABLE = "not a readable PNG or JPEG"
DAMAGED = "damaged or cut off"

REFUSED = [
    pytest.param(b"", "empty", id="I1-empty"),
    pytest.param(b"\x89", NOT_READABLE, id="I1-one-byte"),
    pytest.param(png(RAMP)[:8], NOT_READABLE, id="I1-signature-only"),
    pytest.param(png(RAMP)[:33], NOT_READABLE, id="I1-header-only"),
    pytest.param(png(LEANING)[:-60], DAMAGED, id="I2-truncated-png"),
    pytest.param(jpeg(colour_photo())[:-400], DAMAGED, id="I2-truncated-jpeg"),
    pytest.param(broken_checksum(), DAMAGED, id="I2-bad-checksum"),
    pytest.param(raw_png(20_000, 20_000, b""), "million pixels", id="I3-huge-header"),
    pytest.param(raw_png(13_000, 13_000, b"", depth=1), "million pixels", id="I4-huge-one-bit"),
    pytest.param(png(RAMP[:1, :1]), "too small: 1 x 1", id="I5-one-pixel"),
    pytest.param(png(np.zeros((1, 65_000), np.uint8)), "too small: 65000 x 1", id="I5-line"),
    pytest.param(raw_png(0, 5, b""), "too small|readable|damaged", id="I5-no-width"),
    pytest.param(png(np.zeros((40, 40 * 9), np.uint8)), "strip of 360 x 40", id="I5-strip"),
    pytest.param(b"<!doctype html><p>film", NOT_READABLE, id="I6-html"),
    pytest.param(b'<svg xmlns="http://www.w3.org/2000/svg"/>', NOT_READABLE, id="I6-svg"),
    pytest.param(b"film", NOT_READABLE, id="I6-text"),
    pytest.param(alien("EPS"), NOT_READABLE, id="I7-eps"),
    pytest.param(alien("TIFF"), NOT_READABLE, id="I7-tiff"),
    pytest.param(alien("BMP"), NOT_READABLE, id="I7-bmp"),
    pytest.param(alien("WEBP"), NOT_READABLE, id="I7-webp"),
    pytest.param(jpeg(Image.fromarray(RAMP).convert("CMYK")), "CMYK", id="I12-cmyk"),
    pytest.param(animation(), "several pictures", id="I15-animated"),
    pytest.param(alien("GIF"), NOT_READABLE, id="I15-gif"),
    pytest.param(text_bomb(), DAMAGED, id="I17-text-bomb"),
    pytest.param(png(np.zeros((SIDE, SIDE), np.uint8)), "no image content", id="I18-black"),
    pytest.param(png(np.full((SIDE, SIDE), 255, np.uint8)), "no image content", id="I18-white"),
    pytest.param(png(np.full((SIDE, SIDE), 77, np.uint8)), "no image content", id="I18-constant"),
]


@pytest.mark.parametrize(("content", "reason"), REFUSED)
def test_what_is_not_a_faithful_film_is_refused_in_a_sentence(content, reason):
    with pytest.raises(ImageError, match=reason) as refusal:
        read_film(content)
    assert "\n" not in str(refusal.value)


def test_an_icc_bomb_is_refused_or_ignored():
    """I17"""
    bomb = chunk(b"iCCP", b"a\0\0" + zlib.compress(b"a" * 20_000_000, 9))
    try:
        assert np.array_equal(read_film(raw_png(SIDE, SIDE, packed(RAMP), extra=bomb)).pixels, RAMP)
    except ImageError as refusal:
        assert DAMAGED in str(refusal)


def test_a_file_over_the_limit_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "LARGEST_FILE", 2**20)
    (tmp_path / "film.png").write_bytes(b"\0" * (2**20 + 1))
    monkeypatch.setattr(images.Path, "read_bytes", lambda path: pytest.fail("was read"))
    with pytest.raises(ImageError, match="larger than 1 MiB"):
        read_film(tmp_path / "film.png")


def test_bytes_over_the_limit_are_refused(monkeypatch):
    monkeypatch.setattr(images, "LARGEST_FILE", 2**20)
    with pytest.raises(ImageError, match="larger than 1 MiB"):
        read_film(b"\0" * (2**20 + 1))


def test_a_missing_file_is_refused_without_its_folder(tmp_path):
    with pytest.raises(ImageError, match="cannot be opened: No such file") as refusal:
        read_film(tmp_path / "film.png")
    assert str(tmp_path) not in str(refusal.value)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_plain_file_is_refused(tmp_path, make):
    make(tmp_path / "film.png")
    with pytest.raises(ImageError, match="folder or a device"):
        read_film(tmp_path / "film.png")


@pytest.mark.parametrize(
    "content",
    [png(RAMP) + b"<script>alert(1)</script>", b"".join([png(RAMP), b"%PDF-1.7\n"])],
    ids=["I8-html", "I8-pdf"],
)
def test_what_follows_a_picture_changes_nothing(content):
    assert np.array_equal(read_film(content).pixels, RAMP)


def test_a_picture_that_is_also_a_zip_gives_its_pixels():
    """I8"""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a", "b")
    assert np.array_equal(read_film(png(RAMP) + archive.getvalue()).pixels, RAMP)


@pytest.mark.parametrize("depth", [10, 12, 14, 16])
def test_a_ramp_of_more_than_eight_bits_keeps_its_grey_levels(depth):
    """I9"""
    ramp = np.linspace(0, 2**depth - 1, 256 * 256).reshape(256, 256).astype(np.uint16)
    film = read_film(png(ramp))
    assert len(np.unique(film.pixels)) >= 250
    assert film.notes == (f"read as {depth}-bit greys, by its brightest pixel, and scaled to 8 bits",)


def test_sixteen_bits_say_the_same_as_eight():
    """I9"""
    assert np.abs(read_film(png(RAMP.astype(np.uint16) * 257)).pixels.astype(int) - RAMP).max() <= 1


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_low_bit_depths_are_the_same_picture(depth):
    """I10"""
    content, expected = low_depth_png(depth)
    assert np.array_equal(read_film(content).pixels, expected)


def test_a_palette_is_the_same_picture():
    """I10"""
    palette = Image.fromarray(RAMP).convert("P")
    assert np.abs(read_film(png(palette)).pixels.astype(int) - RAMP).max() <= 1


def test_a_transparent_grey_of_a_film_is_kept():
    """I10: tRNS of a grey picture names one grey as transparent; the film's grey stays."""
    assert np.array_equal(read_film(png(Image.fromarray(RAMP), transparency=255)).pixels, RAMP)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparent_white_is_laid_on_black_and_told(mode):
    """I11"""
    image = Image.fromarray(RAMP).convert(mode)
    alpha = np.full((SIDE, SIDE), 255, np.uint8)
    alpha[:, SIDE // 2 :] = 0
    image.putalpha(Image.fromarray(alpha))
    film = read_film(png(image))
    assert film.pixels[:, SIDE // 2 :].max() == 0
    assert np.abs(film.pixels[:, : SIDE // 2].astype(int) - RAMP[:, : SIDE // 2]).max() <= 1
    assert film.notes == ("transparent parts laid on black",)


def test_full_alpha_is_nothing_to_tell():
    """I11"""
    assert read_film(png(Image.fromarray(RAMP).convert("RGBA"))).notes == ()


def test_a_colour_profile_and_gamma_change_nothing():
    """I12"""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    film = read_film(raw_png(SIDE, SIDE, packed(RAMP), extra=chunk(b"gAMA", struct.pack(">I", 45455))))
    assert np.array_equal(film.pixels, RAMP)
    assert np.array_equal(read_film(png(RAMP, icc_profile=profile)).pixels, RAMP)


def test_a_colour_photo_is_told():
    """I13"""
    assert "X-ray films are grey" in read_film(png(colour_photo())).notes[0]


def test_grey_saved_as_colour_is_the_same_film_and_nothing_to_tell():
    """I13"""
    film = read_film(png(np.stack([RAMP] * 3, axis=2)))
    assert np.array_equal(film.pixels, RAMP)
    assert film.notes == ()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_gives_the_same_film(orientation):
    """I14"""
    film = read_film(with_orientation(LEANING, orientation))
    assert np.array_equal(film.pixels, LEANING)
    assert film.notes == (() if orientation == 1 else ("turned as its EXIF orientation says",))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation):
    """I14"""
    exif = Image.Exif()
    exif[images.EXIF_ORIENTATION] = orientation
    assert np.array_equal(read_film(png(LEANING, exif=exif)).pixels, LEANING)


@pytest.mark.parametrize(
    "body", [b"MM\xf8*\0\0\0\x08", b"II*\0\x08\0\0\0\xff\xff", b"\0"], ids=["magic", "short", "one"]
)
def test_damaged_exif_does_not_cost_the_film(body):
    """I14: Pillow raises SyntaxError, TypeError or struct.error here, or warns."""
    assert np.array_equal(read_film(raw_png(SIDE, SIDE, packed(RAMP), extra=chunk(b"eXIf", body))).pixels, RAMP)


def test_a_progressive_jpeg_is_the_same_film():
    """I16"""
    plain, progressive = (read_film(jpeg(LEANING, progressive=progressive)).pixels for progressive in (False, True))
    assert np.array_equal(plain, progressive)


def test_an_interlaced_png_is_the_same_film():
    """I16: Adam7, packed by hand since Pillow does not write it."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(packed(LEANING[top::down, left::right]) for top, left, down, right in passes)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 1))
    content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert np.array_equal(read_film(content).pixels, LEANING)


def test_a_mutated_file_is_read_or_refused_and_nothing_else():
    rng = np.random.default_rng(0)
    seeds = [with_orientation(LEANING, 6), jpeg(LEANING, exif=Image.Exif()), png(RAMP.astype(np.uint16) * 257)]
    for number in range(2000):
        content = bytearray(seeds[number % len(seeds)])
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            content[place] = rng.integers(0, 256)
        read_or_refuse(bytes(content))


def read_or_refuse(content: bytes) -> None:
    try:
        read_film(content)
    except ImageError:
        return


def test_metadata_is_never_written():
    info = PngImagePlugin.PngInfo()
    info.add_text("PatientName", "CANARY")
    film = read_film(png(RAMP, pnginfo=info))
    assert b"CANARY" not in images.png_bytes(film.pixels) + images.jpeg_bytes(film.pixels)


def test_a_film_is_squashed_to_a_square():
    square = images.to_square(np.repeat(RAMP, 2, axis=0), 32)
    assert square.shape == (32, 32)
    assert square.dtype == np.uint8
    assert np.all(np.diff(square[0].astype(int)) >= 0)


def test_a_film_of_the_right_size_is_left_as_it_is():
    assert images.to_square(RAMP, SIDE) is RAMP


def hash_of(square: np.ndarray) -> str:
    return images.difference_hashes(square[None])[0]


def test_the_difference_hash_sees_the_picture_and_not_its_size():
    large = images.to_square(LEANING, 200)
    assert hash_of(LEANING) == hash_of(large)
    assert hash_of(LEANING) != hash_of(LEANING[:, ::-1])


def test_the_difference_hash_of_a_falling_ramp_is_all_zeros():
    assert hash_of(RAMP[:, ::-1]) == "0" * 16
    assert hash_of(RAMP) == "f" * 16


def test_noise_in_a_black_margin_leaves_the_difference_hash_alone():
    noisy = np.where(np.random.default_rng(0).random((SIDE, SIDE)) < 0.2, 1, 0).astype(np.uint8)
    assert hash_of(noisy) == "0" * 16


def test_films_hashed_together_get_the_hashes_that_they_get_alone():
    films = np.stack([RAMP, LEANING, RAMP[::-1]])
    assert images.difference_hashes(films) == [hash_of(film) for film in films]


@pytest.mark.parametrize("shape", [(64, 64), (256, 256), (200, 299), (299, 200), (32, 240), (1500, 1700)])
@pytest.mark.parametrize("size", [128, 100])
def test_squares_are_those_of_pillow_to_the_last_grey_level(shape, size):
    films = list(np.random.default_rng(0).choice(np.array([0, 7, 128, 255], np.uint8), (3, *shape)))
    expected = [np.asarray(Image.fromarray(film).resize((size, size), Image.Resampling.LANCZOS)) for film in films]
    assert np.array_equal(images.to_squares(films, size), expected)
    assert np.array_equal(images.to_square(films[0], size), expected[0])


@pytest.mark.parametrize("level", [0, 1, 9])
def test_the_quick_reader_gives_the_pixels_of_the_full_one(level, monkeypatch):
    content = png(np.random.default_rng(0).integers(0, 256, (270, 300), dtype=np.uint8), compress_level=level)
    quick = read_film(content)
    monkeypatch.setattr(images, "_plain_png", lambda content: None)
    assert np.array_equal(read_film(content).pixels, quick.pixels)
    assert (quick.mode, quick.notes) == ("L", ())


@pytest.mark.parametrize(
    "content",
    [
        png(RAMP)[:-30],
        raw_png(SIDE, SIDE, packed(RAMP) + b"more"),
        raw_png(SIDE, SIDE, packed(RAMP)[:-1]),
        raw_png(SIDE, SIDE + 1, packed(RAMP)),
        raw_png(SIDE, SIDE, b"\x09" + packed(RAMP)[1:]),
        raw_png(SIDE, SIDE, packed(RAMP), extra=chunk(b"gAMA", struct.pack(">I", 45455))),
        png(RAMP)[:29] + b"\0\0\0\0" + png(RAMP)[33:],
        raw_png(SIDE, SIDE, bytes(SIDE * (SIDE + 1) * 1000)),
        jpeg(RAMP),
    ],
    ids=["cut", "too long", "too short", "a row less", "filter", "other chunk", "header checksum", "bomb", "jpeg"],
)
def test_the_quick_reader_leaves_all_but_the_plainest_files_to_the_full_one(content):
    assert images._plain_png(content) is None


def test_a_mask_is_true_where_it_is_white(tmp_path):
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[10:20, 10:20] = 255
    (tmp_path / "mask.png").write_bytes(png(mask))
    assert np.array_equal(images.read_mask(tmp_path / "mask.png"), mask == 255)


def test_a_thumbnail_keeps_proportions_on_black():
    small = images.thumbnail(np.full((40, 80), 200, np.uint8), 20)
    assert small.shape == (20, 20)
    assert small[0].max() == 0
    assert small[10].min() == 200


@pytest.mark.parametrize(("write", "kind"), [(images.png_bytes, "png"), (images.jpeg_bytes, "jpeg")])
def test_a_data_url_names_its_kind(write, kind):
    assert images.data_url(write(RAMP)).startswith(f"data:image/{kind};base64,")


def test_an_affine_shift_brings_black_in():
    moved = images.affine(np.full((SIDE, SIDE), 200, np.uint8), (1, 0, -8, 0, 1, 0))
    assert moved[:, :7].max() == 0
    assert moved[:, 9:].min() == 200


def test_a_coarse_map_is_brought_to_a_films_size():
    fine = images.resized_map(np.array([[0.0, 1.0]]), 10, 4)
    assert fine.shape == (4, 10)
    assert fine.dtype == np.float32
    assert np.all(np.diff(fine[0]) >= 0)
