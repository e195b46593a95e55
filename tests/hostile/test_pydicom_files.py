"""The files that pydicom tests itself with: each gives an image or its one sentence, and twins give the same image.

They lie in the installed package; nothing is downloaded and nothing is kept.
"""

from pathlib import Path

import numpy as np
import pydicom.data
import pytest
from waiting import LONG

from covid_core.errors import ImageError
from covid_core.images.codec import read_image
from covid_core.images.image import FULL_RANGE
from covid_core.images.sandbox import Sandbox

FOLDER = Path(pydicom.data.__file__).parent / "test_files"
FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file())
READ = {  # those that are images of a size and kind that is read; all others get a sentence
    "693_J2KI.dcm",
    "CT_small.dcm",
    "ExplVR_BigEnd.dcm",
    "GDCMJ2K_TextGBR.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "JPEG-lossy.dcm",
    "JPEG2000.dcm",
    "JPGExtended.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_expb.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_padded.dcm",
    "SC_jpeg_no_color_transform.dcm",
    "SC_jpeg_no_color_transform_2.dcm",
    "SC_rgb_dcmtk_+eb+cr.dcm",
    "SC_rgb_dcmtk_+eb+cy+n1.dcm",
    "SC_rgb_dcmtk_+eb+cy+n2.dcm",
    "SC_rgb_dcmtk_+eb+cy+np.dcm",
    "SC_rgb_dcmtk_+eb+cy+s2.dcm",
    "SC_rgb_dcmtk_+eb+cy+s4.dcm",
    "SC_rgb_gdcm_KY.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_jls_lossy_sample.dcm",
    "SC_rgb_jpeg.dcm",
    "SC_rgb_jpeg_app14_dcmd.dcm",
    "SC_rgb_jpeg_dcmd.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_jpeg_lossy_gdcm.dcm",
    "SC_rgb_rle.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "examples_jpeg2k.dcm",
    "examples_overlay.dcm",
    "examples_palette.dcm",
    "examples_rgb_color.dcm",
    "image_dfl.dcm",
    "liver_1frame.dcm",
    "liver_expb_1frame.dcm",
}
TWINS = [  # the same pixels, stored plainly first
    ("MR_small.dcm", "MR_small_RLE.dcm"),
    ("MR_small.dcm", "MR_small_bigendian.dcm"),
    ("MR_small.dcm", "MR_small_expb.dcm"),
    ("MR_small.dcm", "MR_small_implicit.dcm"),
    ("MR_small.dcm", "MR_small_jp2klossless.dcm"),
    ("MR_small.dcm", "MR_small_jpeg_ls_lossless.dcm"),
    ("MR_small.dcm", "MR_small_padded.dcm"),
    ("liver_1frame.dcm", "liver_expb_1frame.dcm"),
    ("JPGExtended.dcm", "JPEG-lossy.dcm"),
]
WORDS = "damaged|no image|not supported|too small|pictures|more than 8 bits|not a readable|transfer syntax"


@pytest.fixture(scope="module")
def usual():
    made = Sandbox(seconds=LONG)
    yield made
    made.close()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_each_gives_a_image_or_one_sentence(path, usual):
    try:
        image = usual.read_image(path.read_bytes())
    except ImageError as refusal:
        assert path.name not in READ, refusal
        assert "\n" not in str(refusal)
        assert any(word in str(refusal) for word in WORDS.split("|")), refusal
    else:
        assert path.name in READ
        assert image.pixels.dtype == np.uint8
        assert image.pixels.min() < image.pixels.max()


@pytest.mark.parametrize(("plain", "other"), TWINS)
def test_twins_give_the_same_image_bit_for_bit(plain, other):
    for window in (0, FULL_RANGE):
        one, two = (read_image(FOLDER / name, window) for name in (plain, other))
        assert np.array_equal(one.pixels, two.pixels)
        assert one.notes == two.notes
        assert (one.deep is None and two.deep is None) or np.array_equal(one.deep, two.deep)


@pytest.mark.parametrize("name", ["SC_rgb_gdcm_KY.dcm", "SC_rgb_jpeg_gdcm.dcm"])
def test_lossless_colours_give_the_same_greys(name):
    """JPEG 2000 and lossless JPEG against RLE."""
    assert np.array_equal(read_image(FOLDER / name).pixels, read_image(FOLDER / "SC_rgb_rle.dcm").pixels)


@pytest.mark.parametrize(
    "name",
    sorted(name for name in READ if name.startswith(("SC_rgb_dcmtk", "SC_rgb_jls", "SC_rgb_jpeg_lossy", "SC_ybr"))),
)
def test_lossy_colours_give_nearly_the_same_greys(name):
    """Colour spaces taken for one another would differ by dozens of levels; lossy compression by 8 at an edge."""
    difference = np.abs(read_image(FOLDER / name).pixels.astype(int) - read_image(FOLDER / "SC_rgb_rle.dcm").pixels)
    assert difference.max() <= 8
    assert difference.mean() < 1


@pytest.mark.filterwarnings("ignore:The pixel data is:UserWarning")
@pytest.mark.parametrize(
    "name",  # all but colours and lossy 12-bit JPEG, which pydicom does not decode
    [name for name in sorted(READ) if not name.startswith(("SC_", "examples_", "GDCM", "ExplVR", "JPG", "JPEG-lossy"))],
)
def test_no_value_differs_from_what_pydicom_decodes(name):
    """The greys that are kept are the decoded values, shifted and, for a negative, turned; nothing is lost."""
    found = pydicom.dcmread(FOLDER / name)
    values, image = found.pixel_array.astype(np.int64), read_image(FOLDER / name, FULL_RANGE)
    greys = image.pixels if image.deep is None else image.deep
    if image.deep is None and found.BitsStored == 1:
        values = values * 255
    inside = values != found.get("PixelPaddingValue", values.min() - 1)
    greys, values = greys[inside].astype(np.int64), values[inside]
    assert np.array_equal(greys - greys.min(), values - values.min())
