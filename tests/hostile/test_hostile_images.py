"""Hostile and unusual pictures: what is read and how, what is refused, and what a reader is told.

I1 to I20 are the rows of the table of image uploads; each has its tests here, except I19 (what is no chest image),
which the gate answers, and what a page does with a file.
"""

import io
import struct
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hostile import fuzzing, make
from hostile.make import LEANING, RAMP, SIDE, alien, chunk, encoded, jpeg, packed, png, raw_png, tiff
from PIL import Image, ImageCms
from waiting import LONG

from covid_core.errors import ImageError
from covid_core.images import codec
from covid_core.images.codec import read_image
from covid_core.images.sandbox import Sandbox

NOT_READABLE = "not a readable"
DAMAGED = "damaged or cut off"
FULL = "shown over its full range, {bits} bits"


@pytest.fixture(scope="module")
def sandbox():
    made = Sandbox(seconds=LONG)
    yield made
    made.close()


def mpo() -> bytes:
    return encoded(Image.fromarray(RAMP), "MPO", save_all=True, append_images=[Image.fromarray(LEANING)])


def pages() -> bytes:
    return encoded(Image.fromarray(RAMP), "TIFF", save_all=True, append_images=[Image.fromarray(LEANING)])


def short_lzw() -> bytes:
    """The strip ends before its last rows."""
    content = bytearray(encoded(LEANING, "TIFF", compression="tiff_lzw"))
    at = content.index(struct.pack("<HHI", 279, 4, 1)) + 8
    content[at : at + 4] = struct.pack("<I", struct.unpack("<I", content[at : at + 4])[0] - 200)
    return bytes(content)


REFUSED = [
    pytest.param(b"", "empty", id="I1-empty"),
    pytest.param(b"\x89", NOT_READABLE, id="I1-one-byte"),
    pytest.param(png(RAMP)[:8], NOT_READABLE, id="I1-signature-only"),
    pytest.param(png(RAMP)[:33], NOT_READABLE, id="I1-header-only"),
    pytest.param(tiff(RAMP)[:8], f"{NOT_READABLE}|{DAMAGED}", id="I1-tiff-header-only"),
    pytest.param(png(LEANING)[:-60], DAMAGED, id="I2-truncated-png"),
    pytest.param(jpeg(make.colour_photo())[:-400], DAMAGED, id="I2-truncated-jpeg"),
    pytest.param(encoded(LEANING, "TIFF", compression="tiff_lzw")[:-200], NOT_READABLE, id="I2-truncated-tiff"),
    pytest.param(tiff(LEANING, bytes=4000), DAMAGED, id="I2-tiff-strip-too-short"),
    pytest.param(tiff(LEANING, strip=900), DAMAGED, id="I2-tiff-strip-beyond-the-end"),
    pytest.param(short_lzw(), DAMAGED, id="I2-tiff-lzw-cut"),
    pytest.param(tiff(LEANING, height=SIDE * 2), DAMAGED, id="I2-tiff-of-half-its-rows"),
    pytest.param(make.broken_checksum(), DAMAGED, id="I2-bad-checksum"),
    pytest.param(raw_png(20_000, 20_000, b""), "million pixels", id="I3-huge-header"),
    pytest.param(raw_png(13_000, 13_000, b"", depth=1), "million pixels", id="I4-huge-one-bit"),
    pytest.param(png(RAMP[:1, :1]), "too small: 1 x 1", id="I5-one-pixel"),
    pytest.param(png(np.zeros((1, 65_000), np.uint8)), "too small: 65000 x 1", id="I5-line"),
    pytest.param(raw_png(0, 5, b""), "too small|readable|damaged", id="I5-no-width"),
    pytest.param(png(np.zeros((40, 40 * 9), np.uint8)), "strip of 360 x 40", id="I5-strip"),
    pytest.param(b"<!doctype html><p>image", NOT_READABLE, id="I6-html"),
    pytest.param(b'<svg xmlns="http://www.w3.org/2000/svg"/>', NOT_READABLE, id="I6-svg"),
    pytest.param(b"image", NOT_READABLE, id="I6-text"),
    pytest.param(alien("EPS"), NOT_READABLE, id="I7-eps"),
    pytest.param(alien("BMP"), NOT_READABLE, id="I7-bmp"),
    pytest.param(alien("WEBP"), NOT_READABLE, id="I7-webp"),
    pytest.param(alien("PPM"), NOT_READABLE, id="I7-ppm"),
    pytest.param(alien("PDF"), NOT_READABLE, id="I7-pdf"),
    pytest.param(b"8BPS\0\1" + bytes(100), NOT_READABLE, id="I7-psd"),
    pytest.param(b"\xd7\xcd\xc6\x9a" + bytes(100), NOT_READABLE, id="I7-wmf"),
    pytest.param(tiff(np.full((SIDE, SIDE), np.nan, np.float32)), "not finite", id="I9-float-nan"),
    pytest.param(tiff(np.where(LEANING > 9, np.float32(np.inf), 0)), "not finite", id="I9-float-infinite"),
    pytest.param(tiff(LEANING.astype(np.int32) * 2**20), "more than 16 bits", id="I9-32-bits"),
    pytest.param(make.sixteen_bit_colours(RAMP.astype(np.uint16)), "lower ones only", id="I9-colours-in-low-bits"),
    pytest.param(jpeg(Image.fromarray(RAMP).convert("CMYK")), "CMYK", id="I12-cmyk"),
    pytest.param(encoded(Image.fromarray(RAMP).convert("CMYK"), "TIFF"), "CMYK", id="I12-cmyk-tiff"),
    pytest.param(make.animation(), "several pictures", id="I15-animated"),
    pytest.param(pages(), "several pictures", id="I15-tiff-pages"),
    pytest.param(alien("GIF"), NOT_READABLE, id="I15-gif"),
    pytest.param(make.text_bomb(), DAMAGED, id="I17-text-bomb"),
    pytest.param(png(np.zeros((SIDE, SIDE), np.uint8)), "no image content", id="I18-black"),
    pytest.param(png(np.full((SIDE, SIDE), 255, np.uint8)), "no image content", id="I18-white"),
    pytest.param(png(np.full((SIDE, SIDE), 77, np.uint8)), "no image content", id="I18-constant"),
    pytest.param(png(np.full((SIDE, SIDE), 40_000, np.uint16)), "no image content", id="I18-constant-16-bit"),
    pytest.param(tiff(np.full((SIDE, SIDE), 0.5, np.float32)), "no image content", id="I18-constant-float"),
]


@pytest.mark.parametrize(("content", "reason"), REFUSED)
def test_what_is_not_a_faithful_image_is_refused_in_a_sentence(content, reason):
    with pytest.raises(ImageError, match=reason) as refusal:
        read_image(content)
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize(("content", "reason"), REFUSED)
def test_the_process_for_strangers_files_refuses_in_the_same_words(content, reason, sandbox):
    with pytest.raises(ImageError, match=reason):
        sandbox.read_image(content)


def test_an_icc_bomb_is_refused_or_ignored():
    """I17"""
    bomb = chunk(b"iCCP", b"a\0\0" + zlib.compress(b"a" * 20_000_000, 9))
    try:
        assert np.array_equal(read_image(raw_png(SIDE, SIDE, packed(RAMP), extra=bomb)).pixels, RAMP)
    except ImageError as refusal:
        assert DAMAGED in str(refusal)


@pytest.mark.parametrize(
    "content",
    [png(RAMP) + b"<script>alert(1)</script>", b"".join([png(RAMP), b"%PDF-1.7\n"])],
    ids=["I8-html", "I8-pdf"],
)
def test_what_follows_a_picture_changes_nothing(content):
    assert np.array_equal(read_image(content).pixels, RAMP)


def test_a_picture_that_is_also_a_zip_gives_its_pixels():
    """I8"""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a", "b")
    assert np.array_equal(read_image(png(RAMP) + archive.getvalue()).pixels, RAMP)


@pytest.mark.parametrize("write", [png, tiff], ids=["png", "tiff"])
@pytest.mark.parametrize("depth", [10, 12, 14, 16])
def test_a_ramp_of_more_than_eight_bits_keeps_its_grey_levels(depth, write):
    """I9: Image.convert would leave 17 of 256."""
    ramp = np.linspace(0, 2**depth - 1, 256 * 256).reshape(256, 256).astype(np.uint16)
    image = read_image(write(ramp))
    assert len(np.unique(image.pixels)) >= 250
    assert image.notes == (FULL.format(bits=depth),)


@pytest.mark.parametrize("write", [png, tiff], ids=["png", "tiff"])
def test_the_depth_of_a_image_is_kept_beside_its_pixels(write):
    """I9"""
    deep = make.image(12)
    image = read_image(write(deep))
    assert np.array_equal(image.deep, deep)
    assert image.deep.dtype == np.uint16
    assert image.window == (2047.5, 4095.0)
    assert [choice.name for choice in image.windows] == ["full range, 12 bits"]
    assert np.array_equal(image.pixels, np.round(deep * (255 / 4095)))


@pytest.mark.parametrize(
    "content",
    [
        png(LEANING.astype(np.uint16) * 257),
        tiff(LEANING.astype(np.int32) * 257),
        encoded(Image.fromarray(LEANING), "TIFF"),
        encoded(Image.fromarray(LEANING), "TIFF", compression="tiff_lzw"),
        encoded(Image.fromarray(LEANING), "TIFF", compression="tiff_adobe_deflate"),
        encoded(Image.fromarray(LEANING).convert("P"), "TIFF"),
        tiff(LEANING),
        tiff(LEANING, ">"),
        tiff(LEANING.astype(np.uint16) * 257),
        tiff(LEANING.astype(np.uint16) * 257, ">"),
        tiff(255 - LEANING, photometric=0),
        tiff((255 - LEANING).astype(np.uint16) * 257, photometric=0),
        tiff(np.repeat(LEANING[..., None], 3, axis=2), bits=8),
        make.twelve_bit_tiff(np.round(LEANING * (4095 / 255)).astype(np.uint16)),
        tiff((LEANING / 255).astype(np.float32)),
        make.sixteen_bit_colours(LEANING.astype(np.uint16) * 257),
        make.interlaced_png(LEANING),
    ],
    ids=[
        "I9-16-bit-png",
        "I9-32-bit-integers",
        "tiff",
        "tiff-lzw",
        "tiff-deflate",
        "I10-tiff-palette",
        "tiff-one-strip",
        "tiff-big-endian",
        "I9-16-bit-tiff",
        "I9-16-bit-tiff-big-endian",
        "tiff-white-is-zero",
        "I9-16-bit-tiff-white-is-zero",
        "tiff-colours",
        "I9-12-bit-tiff",
        "I9-float-tiff",
        "I9-16-bit-colours",
        "I16-interlaced",
    ],
)
def test_the_same_image_in_another_form_gives_the_same_pixels(content):
    """Lossless twins of one image: not one grey level differs, so no score can."""
    brought = LEANING.copy()
    brought[0, 0], brought[-1, -1] = LEANING[0, 0], LEANING[-1, -1]
    assert np.array_equal(read_image(content).pixels, brought)


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32])
def test_signed_greys_reach_from_the_darkest_to_the_brightest_pixel(kind):
    """I9"""
    image = read_image(tiff((LEANING.astype(kind) - 100) * 8))
    stretched = np.round((LEANING - float(LEANING.min())) / np.ptp(LEANING) * 255)
    assert np.abs(image.pixels - stretched).max() <= 1
    assert image.notes == ("shown over its range from the darkest to the brightest pixel",)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_low_bit_depths_are_the_same_picture(depth):
    """I10"""
    content, expected = make.low_depth_png(depth)
    assert np.array_equal(read_image(content).pixels, expected)


def test_a_palette_is_the_same_picture():
    """I10"""
    palette = Image.fromarray(RAMP).convert("P")
    assert np.abs(read_image(png(palette)).pixels.astype(int) - RAMP).max() <= 1


def test_a_transparent_grey_of_a_image_is_kept():
    """I10: tRNS of a grey picture names one grey as transparent; the image's grey stays."""
    assert np.array_equal(read_image(png(Image.fromarray(RAMP), transparency=255)).pixels, RAMP)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparent_white_is_laid_on_black_and_told(mode, kind):
    """I11"""
    image = Image.fromarray(RAMP).convert(mode)
    alpha = np.full((SIDE, SIDE), 255, np.uint8)
    alpha[:, SIDE // 2 :] = 0
    image.putalpha(Image.fromarray(alpha))
    image = read_image(encoded(image, kind))
    assert image.pixels[:, SIDE // 2 :].max() == 0
    assert np.abs(image.pixels[:, : SIDE // 2].astype(int) - RAMP[:, : SIDE // 2]).max() <= 1
    assert image.notes == ("transparent parts laid on black",)
    assert image.warnings[0].startswith("Transparent parts were laid on black")


def test_full_alpha_is_nothing_to_tell():
    """I11"""
    assert read_image(png(Image.fromarray(RAMP).convert("RGBA"))).notes == ()


def test_a_colour_profile_and_gamma_change_nothing():
    """I12"""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = read_image(raw_png(SIDE, SIDE, packed(RAMP), extra=chunk(b"gAMA", struct.pack(">I", 45455))))
    assert np.array_equal(image.pixels, RAMP)
    assert np.array_equal(read_image(png(RAMP, icc_profile=profile)).pixels, RAMP)


def test_a_colour_photo_is_told():
    """I13"""
    image = read_image(png(make.colour_photo()))
    assert "X-ray images are grey" in image.notes[0]
    assert image.warnings[0].startswith("The file holds a colour picture")


def test_grey_saved_as_colour_is_the_same_image_and_nothing_to_tell():
    """I13"""
    image = read_image(png(np.stack([RAMP] * 3, axis=2)))
    assert np.array_equal(image.pixels, RAMP)
    assert image.notes == image.warnings == ()


def test_colours_become_the_grey_that_pillow_makes_of_them():
    photo = make.colour_photo()
    assert np.array_equal(read_image(png(photo)).pixels, np.asarray(Image.fromarray(photo).convert("L")))


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_gives_the_same_image(orientation, depth):
    """I14"""
    stored = LEANING.astype(np.uint16) * 257 if depth == 16 else LEANING
    image = read_image(make.with_orientation(stored, orientation))
    assert np.array_equal(image.pixels, LEANING)
    assert image.deep is None or np.array_equal(image.deep, stored)
    assert ("turned as its EXIF orientation says" in image.notes) == (orientation > 1)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"], ids=["plain", "lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_a_tiff_gives_the_same_image(orientation, compression):
    """I14"""
    for stored in (LEANING, LEANING.astype(np.uint16) * 257):
        content = encoded(
            Image.fromarray(make.turned(stored, orientation)),
            "TIFF",
            compression=compression,
            tiffinfo={make.EXIF_ORIENTATION: orientation},
        )
        assert np.array_equal(read_image(content).pixels, LEANING)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation):
    """I14"""
    exif = Image.Exif()
    exif[make.EXIF_ORIENTATION] = orientation
    assert np.array_equal(read_image(png(LEANING, exif=exif)).pixels, LEANING)


@pytest.mark.parametrize(
    "body", [b"MM\xf8*\0\0\0\x08", b"II*\0\x08\0\0\0\xff\xff", b"\0"], ids=["magic", "short", "one"]
)
def test_damaged_exif_does_not_cost_the_image(body):
    """I14: Pillow raises SyntaxError, TypeError or struct.error here, or warns."""
    assert np.array_equal(read_image(raw_png(SIDE, SIDE, packed(RAMP), extra=chunk(b"eXIf", body))).pixels, RAMP)


def test_a_progressive_jpeg_is_the_same_image():
    """I16"""
    plain, progressive = (read_image(jpeg(LEANING, progressive=progressive)).pixels for progressive in (False, True))
    assert np.array_equal(plain, progressive)


def test_two_hundred_files_at_once_are_all_read_and_their_memory_returns(sandbox):
    """I20"""
    content = [png(np.roll(LEANING, shift, axis=1)) for shift in range(20)] * 10
    with ThreadPoolExecutor(16) as pool:
        images = list(pool.map(sandbox.read_image, content))
    assert all(np.array_equal(image.pixels, np.roll(LEANING, n % 20, axis=1)) for n, image in enumerate(images))
    assert len(sandbox.processes()) <= 2


def test_a_data_sets_reader_takes_pictures_only():
    """A DICOM file that is called image.png does not reach a decoder in the process of an import."""
    with pytest.raises(ImageError, match="not a readable PNG or JPEG image"):
        read_image(make.dicom(make.image()), kinds=codec.PICTURES)
    with pytest.raises(ImageError, match="not a readable PNG or JPEG image"):
        read_image(tiff(LEANING), kinds=codec.PICTURES)


def test_a_window_that_a_picture_does_not_offer_is_refused():
    for content in (png(LEANING), png(make.image(12)), jpeg(LEANING)):
        with pytest.raises(ImageError, match="There is none at place 1"):
            read_image(content, window=1)
        assert np.array_equal(read_image(content, window=-1).pixels, read_image(content).pixels)


def test_mutated_pictures_are_read_or_refused_and_nothing_else():
    fuzzing.pictures(200, seed=0)


def test_a_jpeg_with_a_second_picture_inside_reads_as_its_first():
    """I15: phones and cameras add a preview or a depth map."""
    assert read_image(mpo()).pixels.shape == make.image(8).shape


@pytest.mark.parametrize(
    ("start", "kind"),
    [(b"GIF89a", "GIF"), (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"), (b"\0\0\0\x18ftypheic", "HEIC"), (b"%PDF-1.7", "PDF")],
)
def test_a_file_of_another_kind_is_called_by_its_kind(start, kind):
    with pytest.raises(ImageError, match=f"is a {kind}.*not a readable"):
        read_image(start + bytes(200))
