"""Hostile and unusual DICOM files: what is read and how, what is refused, and what is said of them.

D1 to D17 are the rows of the table of DICOM uploads; the bombs and what hangs are in test_sandbox.py.
"""

import io
import struct
import traceback

import numpy as np
import pydicom
import pytest
from hostile import fuzzing, make
from hostile.make import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, bits_of, dicom
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from covid_core.errors import ImageError
from covid_core.images.codec import read_image
from covid_core.images.image import FULL_RANGE

TWELVE = make.image(12)
EIGHT = np.round(TWELVE * (255 / 4095)).astype(np.uint8)
RIGHT = {**bits_of(12)}
DAMAGED = "damaged or cut off"
CANARY = "CANARY^JANE"


def refused(content: bytes, **options) -> str:
    with pytest.raises(ImageError) as refusal:
        read_image(content, **options)
    sentence = str(refusal.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def lut(values, first: int = 0, bits: int = 16) -> dict:
    return {"LUTDescriptor": [len(values) % 65536, first, bits], "LUTData": np.asarray(values, "<u2").tobytes()}


def of_pydicom(content: bytes, index: int = 0, prefer_lut: bool = True) -> np.ndarray:
    """What pydicom's own functions make of an image: 0 to 255 over the range that it says the values have."""
    found = pydicom.dcmread(io.BytesIO(content))
    values = apply_modality_lut(found.pixel_array, found)
    bits, slope, intercept = found.BitsStored, found.get("RescaleSlope", 1), found.get("RescaleIntercept", 0)
    low = -(2 ** (bits - 1)) if found.PixelRepresentation else 0
    ends = [value * slope + intercept for value in (low, low + 2**bits - 1)]
    shown = apply_voi_lut(values, found, index, prefer_lut)
    return (shown - ends[0]) / (ends[1] - ends[0]) * 255


# D1 ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"WindowCenter": 1500, "WindowWidth": 1800},
        {"WindowCenter": [1500, 900], "WindowWidth": [1800, 300]},
        {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 2000, "WindowWidth": 3600},
        {"RescaleSlope": -1, "RescaleIntercept": 4095, "WindowCenter": 2000, "WindowWidth": 3000},
        {"WindowCenter": 1500, "WindowWidth": 1800, "VOILUTFunction": "SIGMOID"},
        {"VOILUTSequence": [lut(np.arange(4096) ** 2 // 256, bits=16)]},
        {"ModalityLUTSequence": [lut(np.arange(4096) * 16)]},
    ],
    ids=["plain", "window", "windows", "rescale", "falling", "sigmoid", "voi-lut", "modality-lut"],
)
def test_a_negative_is_the_image_turned_round(tags):
    """D1: pixel_array of pydicom leaves MONOCHROME1 as it is stored."""
    positive = read_image(dicom(TWELVE, **RIGHT, **tags))
    negative = read_image(dicom(TWELVE, **RIGHT, **tags, PhotometricInterpretation="MONOCHROME1"))
    assert np.abs(negative.pixels - (255.0 - positive.pixels)).max() <= 1
    assert negative.notes[0] == "stored as a negative (MONOCHROME1), so that dark and bright were exchanged"


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_negative_and_its_positive_give_the_same_pixels(bits):
    """D1: the twins that detectors write, without a window and with one."""
    image = make.image(bits)
    twin = (2**bits - 1 - image.astype(int)).astype(image.dtype)
    for tags in ({}, {"WindowCenter": 2**bits // 2, "WindowWidth": 2**bits // 3}):
        one = read_image(dicom(image, **bits_of(bits), **tags))
        other = read_image(dicom(twin, **bits_of(bits), **tags, PhotometricInterpretation="MONOCHROME1"))
        assert np.array_equal(one.pixels, other.pixels)
    assert np.array_equal(read_image(dicom(image, **bits_of(bits))).pixels, read_image(make.png(image)).pixels)


# D2 ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": 1500, "WindowWidth": 1800},
        {"WindowCenter": 1500.5, "WindowWidth": 700.25},
        {"WindowCenter": [1500, 900], "WindowWidth": [1800, 300]},
        {"WindowCenter": 1500, "WindowWidth": 1800, "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": 1500, "WindowWidth": 1},
        {"WindowCenter": 1500, "WindowWidth": 1800, "VOILUTFunction": "SIGMOID"},
        {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 2000, "WindowWidth": 3600},
        {"RescaleSlope": "0.5", "RescaleIntercept": "7.5", "WindowCenter": 700, "WindowWidth": 900},
    ],
    ids=["linear", "fractions", "several", "exact", "step", "sigmoid", "rescale", "halves"],
)
def test_a_stored_window_is_shown_as_pydicom_shows_it(tags):
    """D2"""
    content = dicom(TWELVE, **RIGHT, **tags)
    image = read_image(content)
    assert np.abs(image.pixels - of_pydicom(content)).max() <= 1
    assert image.notes[-1].startswith("shown in its stored ")


def test_a_table_of_grey_values_is_applied():
    """D2"""
    curve = (np.arange(4096.0) ** 2 / 4095**2 * 65535).round()
    image = read_image(dicom(TWELVE, **RIGHT, VOILUTSequence=[lut(curve)]))
    assert np.array_equal(image.deep, curve[TWELVE])
    assert np.array_equal(image.pixels, np.round(curve[TWELVE] * (255 / 65535)))
    assert image.notes == ("shown in its stored curve 1",)


def test_a_table_of_eight_bits_is_applied_to_values_beyond_eight_bits():
    """D2: pydicom 3.0.2 brings the places to the entries' type first, so that the 300th value gets the 44th entry."""
    curve = np.arange(4096) // 16
    image = read_image(dicom(TWELVE, **RIGHT, VOILUTSequence=[lut(curve, bits=8)]))
    assert np.array_equal(image.pixels, curve[TWELVE])


@pytest.mark.parametrize("first", [-500, 0, 900])
def test_values_outside_a_table_get_its_ends(first):
    """D2"""
    signed = TWELVE.astype(np.int16) - 1000
    image = read_image(dicom(signed, VOILUTSequence=[lut(np.arange(1000) * 60, first)]))
    assert np.array_equal(image.deep, np.clip(signed.astype(int) - first, 0, 999) * 60)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_table_of_twelve_bits_that_is_called_sixteen_is_shown_in_full(photometric):
    """D2: the commonest quirk of stored tables."""
    tags = {**RIGHT, "PhotometricInterpretation": photometric, "VOILUTSequence": [lut(np.arange(4096))]}
    image = read_image(dicom(TWELVE, **tags))
    assert np.array_equal(image.pixels, EIGHT if photometric == "MONOCHROME2" else 255 - EIGHT)


def test_a_table_of_bytes_is_read():
    """D2: entries of 8 bits, one byte each."""
    curve = (np.arange(256)[::-1] // 2).astype(np.uint8)
    item = {"LUTDescriptor": [256, 0, 8], "LUTData": curve.tobytes()}
    assert np.array_equal(read_image(dicom(EIGHT, VOILUTSequence=[item])).pixels, curve[EIGHT])


def test_a_modality_table_comes_before_the_window():
    """D2"""
    table = np.arange(4096)[::-1] * 16
    image = read_image(dicom(TWELVE, **RIGHT, ModalityLUTSequence=[lut(table)], WindowCenter=32768, WindowWidth=30000))
    low = 32768 - 0.5 - 29999 / 2
    assert np.array_equal(image.pixels, np.clip(np.round((table[TWELVE] - low) * (255 / 29999)), 0, 255))


def test_all_stored_windows_are_offered_and_any_of_them_can_be_chosen():
    """D2: shown and changeable."""
    tags = {**RIGHT, "WindowCenter": [1500, 900], "WindowWidth": [1800, 300], "VOILUTSequence": [lut(np.arange(4096))]}
    content = dicom(TWELVE, **tags)
    assert [np.isnan(choice.centre) for choice in read_image(content, window=1).windows] == [True, False, False, False]
    assert [np.isnan(choice.centre) for choice in read_image(content).windows] == [False, True, True, True]
    names = [
        "stored curve 1",
        "stored window, centre 1500, width 1800",
        "stored window, centre 900, width 300",
        "full range, 12 bits",
    ]
    images = [read_image(content, window=place) for place in range(4)]
    for place, image in enumerate(images):
        assert [choice.name for choice in image.windows[:3]] == names[:3]
        assert image.windows[3].name.startswith("full range")
        assert image.chosen == place
        assert names[place] in image.notes[-1]
    assert np.array_equal(
        images[2].pixels, read_image(dicom(TWELVE, **RIGHT, WindowCenter=900, WindowWidth=300)).pixels
    )
    assert np.array_equal(read_image(content, window=FULL_RANGE).pixels, EIGHT)
    assert refused(content, window=4) == (
        "There is none at place 4 of the image's windows; places begin at 0, and it has 4."
    )


def test_windows_are_given_in_the_greys_that_are_kept():
    """D2: a viewer that applies ``window`` to ``deep`` shows ``pixels``, whatever the units of the file."""
    signed = TWELVE.astype(np.int16) - 2000
    content = dicom(signed, **RIGHT, RescaleSlope=2, RescaleIntercept=100, WindowCenter=500, WindowWidth=3000)
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        image = read_image(content.replace(b"MONOCHROME2", photometric.encode()))
        centre, width = image.window
        again = np.clip(np.round((image.deep - (centre - width / 2)) * (255 / width)), 0, 255)
        assert np.array_equal(image.pixels, again)
    assert np.abs(read_image(content).pixels - of_pydicom(content)).max() <= 1


# D3 ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 9, 10, 12, 14, 15, 16])
def test_every_number_of_stored_bits_keeps_its_levels(bits):
    """D3, and I9 for DICOM: a ramp keeps its 256 levels, and the image its depth."""
    ramp = np.linspace(0, 2**bits - 1, 256 * 256).round().reshape(256, 256)
    image = read_image(dicom(ramp.astype(np.uint8 if bits == 8 else np.uint16), **bits_of(bits)))
    assert len(np.unique(image.pixels)) == 256
    if bits > 8:
        assert np.array_equal(image.deep, ramp)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED])
def test_signed_values_are_read_as_signed(bits, syntax):
    """D3: stored in the lower bits, sign-extended or not."""
    image = make.image(bits).astype(np.int32) - 2 ** (bits - 1)
    stored = (image & (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    tags = {**bits_of(bits), "PixelRepresentation": 1}
    for pixels in (stored, image.astype(np.int8 if bits == 8 else np.int16)):
        deep = read_image(dicom(pixels, syntax, **tags), window=FULL_RANGE).deep
        assert np.array_equal(deep, image - image.min())


def test_values_in_the_upper_bits_are_brought_down():
    """D3: HighBit 15 with 12 bits stored, as old writers did."""
    image = read_image(dicom(TWELVE << 4, BitsStored=12, HighBit=15))
    assert np.array_equal(image.deep, TWELVE)


def test_an_overlay_in_the_unused_bits_is_not_part_of_the_image():
    """D3 and D14: bits above the stored ones."""
    image = read_image(dicom(TWELVE | (np.uint16(1) << 14), **RIGHT))
    assert np.array_equal(image.deep, TWELVE)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED])
def test_the_same_image_as_a_picture_and_as_dicom_gives_the_same_pixels(syntax):
    """D3 and D6"""
    assert np.array_equal(read_image(dicom(TWELVE, syntax, **RIGHT)).pixels, read_image(make.png(TWELVE)).pixels)
    assert np.array_equal(read_image(dicom(EIGHT, syntax)).pixels, EIGHT)


def test_twelve_bits_that_are_called_sixteen_are_seen_by_their_brightest_pixel():
    """D3"""
    assert np.array_equal(read_image(dicom(TWELVE)).pixels, EIGHT)
    turned = read_image(dicom(65535 - TWELVE, PhotometricInterpretation="MONOCHROME1"))
    assert np.array_equal(turned.pixels, EIGHT)


def test_thirty_two_bits_are_read_where_the_image_has_no_more_than_sixteen():
    """D3"""
    image = read_image(dicom(TWELVE.astype(np.uint32)))
    assert np.array_equal(image.deep, TWELVE - TWELVE.min())
    assert "more than 16 bits" in refused(dicom(TWELVE.astype(np.uint32) * 2**16))


# D4 ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["nan", "inf", "-inf", "1e99", "0", "-0.0", "1e-99", CANARY, ["1", "2"], "1e400", "0x1"]
)
@pytest.mark.parametrize("windowed", [False, True], ids=["no-window", "window"])
def test_an_invalid_slope_is_refused(value, windowed):
    """D4: pydicom accepts nan, inf, 1e99 and 0."""
    tags = {"WindowCenter": 1500, "WindowWidth": 1800} if windowed else {}
    assert "rescale values are invalid" in refused(dicom(TWELVE, RescaleSlope=value, RescaleIntercept=0, **tags))


@pytest.mark.parametrize("value", ["nan", "inf", "1e99", CANARY, ["1", "2"]])
def test_an_invalid_intercept_is_refused(value):
    """D4"""
    assert "rescale values are invalid" in refused(dicom(TWELVE, RescaleSlope=1, RescaleIntercept=value))


@pytest.mark.parametrize("value", ["nan", "inf", "0", "-1", "0.5", "1e99", CANARY, ["100", "0"], ["1", "2", "3"]])
def test_an_invalid_width_is_refused_and_the_full_range_can_still_be_asked_for(value):
    """D4"""
    content = dicom(TWELVE, **RIGHT, WindowCenter=[1500, 900] if isinstance(value, list) else 1500, WindowWidth=value)
    assert "stored window is invalid" in refused(content)
    image = read_image(content, window=FULL_RANGE)
    assert np.array_equal(image.pixels, EIGHT)
    assert image.notes[0] == "the stored window is invalid and was left out"


@pytest.mark.parametrize("value", ["nan", "inf", "1e99", CANARY, ["1", "2"]])
def test_an_invalid_centre_is_refused(value):
    """D4"""
    assert "stored window is invalid" in refused(dicom(TWELVE, WindowCenter=value, WindowWidth=100))


@pytest.mark.parametrize(
    "tags",
    [{"WindowCenter": 1500}, {"WindowWidth": 100}, {"VOILUTFunction": CANARY}],
    ids=["no-width", "no-centre", "f"],
)
def test_half_a_window_is_refused(tags):
    """D4"""
    tags = {"WindowCenter": 1500, "WindowWidth": 100, **tags} if "VOILUTFunction" in tags else tags
    assert "stored window is invalid" in refused(dicom(TWELVE, **tags))


def test_a_window_beside_the_image_is_refused():
    """D4 and I18: it would leave one grey."""
    said = refused(dicom(TWELVE, **RIGHT, WindowCenter=60_000, WindowWidth=100))
    assert said.startswith("The image's stored window, centre 60000, width 100 leaves a single grey")


@pytest.mark.parametrize("tag", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize(
    "item",
    [
        {"LUTDescriptor": [4096, 0, 16], "LUTData": b"\1\2" * 9},
        {"LUTDescriptor": [4096, 0, 99], "LUTData": bytes(8192)},
        {"LUTDescriptor": [4096, 0, 8], "LUTData": b"\xff\xff" * 4096},
        {"LUTDescriptor": [4096, 0], "LUTData": bytes(8192)},
        {"LUTData": bytes(8192)},
        {"LUTDescriptor": [4096, 0, 16]},
        {},
    ],
    ids=["short", "bits", "beyond-its-bits", "descriptor", "no-descriptor", "no-data", "empty"],
)
def test_an_invalid_table_is_refused(tag, item):
    """D4"""
    assert "invalid" in refused(dicom(TWELVE, **{tag: [item]}))


def test_a_constant_image_is_refused():
    """I18 for DICOM, also where only a table makes it so."""
    assert "no image content" in refused(dicom(np.full((64, 64), 900, np.uint16)))
    assert "no image content" in refused(dicom(TWELVE, ModalityLUTSequence=[lut(np.full(4096, 7))]))
    assert "no image content" in refused(dicom(TWELVE, VOILUTSequence=[lut(np.full(4096, 7))]))


# D5 ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [0, 2, 30, 10**9, -1])
def test_several_frames_are_refused_and_none_is_chosen_for_the_user(frames):
    """D5: pydicom takes 0 for 1."""
    assert refused(dicom(TWELVE, NumberOfFrames=frames)) == (
        f"The DICOM file holds {frames:,} pictures; export the one that is meant as a file of its own."
    )


@pytest.mark.parametrize("frames", [None, "", 1])
def test_one_frame_is_a_image_whether_it_is_said_or_not(frames):
    """D5"""
    assert np.array_equal(read_image(dicom(TWELVE, **RIGHT, NumberOfFrames=frames)).pixels, EIGHT)


def test_a_number_of_frames_that_is_none_is_refused():
    """D5"""
    assert DAMAGED in refused(dicom(TWELVE, NumberOfFrames=CANARY))


# D6 ------------------------------------------------------------------------------------------------------------------


def compressed(syntax: str, pixels: np.ndarray, **tags) -> bytes:
    """An image compressed by the encoders that pydicom finds."""
    found = pydicom.dcmread(io.BytesIO(dicom(pixels, **tags)))
    found.compress(syntax, generate_instance_uid=False)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, found)
    return buffer.getvalue()


LOSSLESS = {
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG-2000-lossless": "1.2.840.10008.1.2.4.90",
}


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("name", LOSSLESS)
def test_a_lossless_compression_gives_every_pixel_back(name, bits):
    """D6"""
    image = make.image(bits)
    read = read_image(compressed(LOSSLESS[name], image, **bits_of(bits)))
    assert np.array_equal(read.pixels if bits == 8 else read.deep, image)


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_lossless_compression_gives_signed_pixels_back(name):
    """D6"""
    image = make.image(16).astype(np.int32) - 2**15
    read = read_image(compressed(LOSSLESS[name], image.astype(np.int16)))
    assert np.array_equal(read.deep, image - image.min())


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"])
def test_lossless_jpeg_gives_every_pixel_back(syntax, bits):
    """D6"""
    image = make.image(bits)
    read = read_image(dicom(image, syntax, frames=[make.lossless_jpeg(image, bits)], **bits_of(bits)))
    assert np.array_equal(read.pixels if bits == 8 else read.deep, image)


def test_baseline_and_extended_jpeg_of_eight_bits_are_read():
    """D6"""
    frame = make.jpeg(EIGHT, quality=100)
    decoded = np.asarray(Image.open(io.BytesIO(frame)))
    for syntax in (make.JPEG_BASELINE, make.JPEG_EXTENDED):
        assert np.array_equal(read_image(dicom(EIGHT, syntax, frames=[frame])).pixels, decoded)


def test_extended_jpeg_of_twelve_bits_is_read_to_the_last_grey():
    """D6: pydicom's own file; libjpeg-turbo 3.1 decodes it to the same greys, of which these are some."""
    file = pydicom.dcmread(get_testdata_file("JPGExtended.dcm", download=False))
    frame = next(pydicom.encaps.generate_frames(file.PixelData, number_of_frames=1))
    size = {"Rows": file.Rows, "Columns": file.Columns}
    deep = read_image(dicom(TWELVE, make.JPEG_EXTENDED, frames=[frame], **RIGHT | size)).deep
    assert deep[[143, 144, 144, 420], [136, 136, 137, 80]].tolist() == [153, 156, 153, 23]
    assert int(deep.sum()) == 3_767_007


def test_extended_jpeg_that_is_not_what_its_header_says_is_refused():
    """D6"""
    frame = make.jpeg(EIGHT, quality=100)
    assert DAMAGED in refused(dicom(TWELVE, make.JPEG_EXTENDED, frames=[frame], **RIGHT))


def test_a_high_throughput_stream_goes_to_its_decoder():
    """D6: no encoder at hand writes HTJ2K; its decoder reads plain JPEG 2000 as well, which shows that it is found."""
    plain = compressed(LOSSLESS["JPEG-2000-lossless"], TWELVE, **RIGHT)
    found = pydicom.dcmread(io.BytesIO(plain))
    frame = next(pydicom.encaps.generate_frames(found.PixelData, number_of_frames=1))
    for number in (201, 202, 203):
        content = dicom(TWELVE, f"1.2.840.10008.1.2.4.{number}", frames=[frame], **RIGHT)
        assert np.array_equal(read_image(content).deep, TWELVE)


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        ("1.2.840.10008.1.2.4.100", "MPEG2 Main Profile / Main Level"),
        ("1.2.840.10008.1.2.4.107", "HEVC/H.265 Main Profile / Level 5.1"),
        ("1.2.840.10008.1.2.4.94", "JPIP Referenced"),
        ("1.2.3.4.5", "of this DICOM file"),
        (CANARY, "of this DICOM file"),
        ("1.2.840.10008.5.1.4.1.1.2", "of this DICOM file"),
    ],
)
def test_a_compression_that_is_not_supported_is_named(syntax, name):
    """D6"""
    said = refused(dicom(TWELVE, syntax, frames=[b"image"]))
    assert said == f"The compression {name} is not supported; export the image uncompressed."


def test_every_registered_transfer_syntax_is_decoded_or_refused_in_a_sentence():
    """D6: a frame that is none, under each of them."""
    for syntax in pydicom.uid.AllTransferSyntaxes:
        said = refused(dicom(TWELVE, syntax, frames=[b"image" * 9]))
        assert DAMAGED in said or "not supported" in said or "no image" in said, syntax


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_compressed_image_that_is_cut_off_is_refused_wherever_it_is_cut(name):
    """D6 and D9: JPEG 2000 decoders draw what they have; a file without its end is not read."""
    content = compressed(LOSSLESS[name], TWELVE, **RIGHT)
    for length in range(200, len(content), 97):
        try:
            image = read_image(content[:length])
        except ImageError:
            continue
        pytest.fail(f"read {image.pixels.shape} from {length} of {len(content)} bytes")


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_compressed_frame_that_is_cut_off_is_refused(name):
    """D6: the file is whole, the picture in it is not."""
    found = pydicom.dcmread(io.BytesIO(compressed(LOSSLESS[name], TWELVE, **RIGHT)))
    frame = next(pydicom.encaps.generate_frames(found.PixelData, number_of_frames=1))
    for share in (0.8 if name == "JPEG-LS" else 0.5, 0.95):  # its decoder takes seconds for half of a picture
        assert refused(dicom(TWELVE, LOSSLESS[name], frames=[frame[: int(len(frame) * share)]], **RIGHT))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("kind", ["baseline", "lossless"])
def test_a_jpeg_frame_that_is_cut_off_is_refused(kind, share):
    """D6"""
    frame = make.jpeg(EIGHT) if kind == "baseline" else make.lossless_jpeg(EIGHT, 8)
    syntax = make.JPEG_BASELINE if kind == "baseline" else "1.2.840.10008.1.2.4.70"
    assert refused(dicom(EIGHT, syntax, frames=[frame[: int(len(frame) * share)]]))


def test_values_beyond_the_stored_bits_are_refused():
    """D6 and D7: a compressed picture of more bits than its header says."""
    content = compressed(LOSSLESS["JPEG-2000-lossless"], make.image(16))
    at = content.index(struct.pack("<HH2sH", 0x0028, 0x0101, b"US", 2)) + 8
    twelve = content[:at] + struct.pack("<H", 12) + content[at + 2 :]
    at = twelve.index(struct.pack("<HH2sH", 0x0028, 0x0102, b"US", 2)) + 8
    assert "contradicts itself" in refused(twelve[:at] + struct.pack("<H", 11) + twelve[at + 2 :])


# D7 ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"Rows": 65535}, DAMAGED + "|strip"),
        ({"Rows": 65535, "Columns": 65535}, "million pixels"),
        ({"Rows": 0}, "too small"),
        ({"Columns": 0}, "too small"),
        ({"Rows": 65}, DAMAGED),
        ({"Rows": None}, DAMAGED),
        ({"Columns": None}, DAMAGED),
        ({"BitsStored": 17}, "contradicts itself"),
        ({"BitsStored": 0}, "contradicts itself"),
        ({"BitsStored": None}, DAMAGED),
        ({"BitsAllocated": 12, "BitsStored": 12}, "contradicts itself"),
        ({"BitsAllocated": 64}, "contradicts itself"),
        ({"BitsAllocated": None}, DAMAGED),
        ({"BitsStored": 12, "HighBit": 3}, "contradicts itself"),
        ({"BitsStored": 12, "HighBit": 16}, "contradicts itself"),
        ({"SamplesPerPixel": 3}, "contradicts itself"),
        ({"SamplesPerPixel": 0}, "contradicts itself"),
        ({"SamplesPerPixel": None}, DAMAGED),
        ({"PixelRepresentation": None}, DAMAGED),
        ({"PixelRepresentation": 7}, DAMAGED),
        ({"PhotometricInterpretation": None}, "photometric"),
        ({"PhotometricInterpretation": CANARY}, "photometric"),
        ({"PixelData": b""}, DAMAGED),
        ({"PixelData": bytes(64)}, DAMAGED),
    ],
    ids=str,
)
def test_a_header_that_does_not_fit_the_pixels_is_refused(tags, reason):
    """D7"""
    with pytest.raises(ImageError, match=reason):
        read_image(dicom(TWELVE, **tags))


# D8 ------------------------------------------------------------------------------------------------------------------


def test_a_file_without_pixels_holds_no_image():
    """D8"""
    assert "holds no image" in refused(dicom(None, Modality="SR"))
    assert "floating-point" in refused(dicom(TWELVE, PixelData=None, raw={0x7FE00008: ("OF", bytes(64 * 64 * 4))}))


# D9 ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
def test_a_file_without_mark_is_read_where_its_first_element_is_one_that_files_begin_with(syntax):
    """D9"""
    assert np.array_equal(read_image(dicom(TWELVE, syntax, preamble=None, **RIGHT)).deep, TWELVE)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_a_file_without_mark_but_with_its_meta_group_is_read(syntax):
    """D9"""
    assert np.array_equal(read_image(dicom(TWELVE, syntax, **RIGHT)[132:]).deep, TWELVE)


@pytest.mark.parametrize(
    "content",
    [
        bytes(200),
        b"\x08\0\5\0" + b"\xff" * 60,
        b"\x08\0",
        b"\x28\0\x10\0US\2\0\1\0" + bytes(64),
        struct.pack("<HHI", 8, 5, 10**9) + bytes(64),
    ],
    ids=["zeros", "length", "two-bytes", "other-group", "long"],
)
def test_what_only_might_be_dicom_is_not_forced_to_be(content):
    """D9"""
    said = refused(content)
    assert "not a readable" in said or DAMAGED in said or "no image" in said


def test_a_file_that_does_not_name_its_transfer_syntax_is_refused():
    """D9"""
    said = refused(dicom(TWELVE, meta={2: ("UI", make.text_of(make.DX_STORAGE, "UI"))}))
    assert "transfer syntax" in said


def test_a_value_of_the_wrong_type_is_refused():
    """D9: pydicom raises ValueError for '1A' where a number has to stand."""
    content = dicom(TWELVE, **RIGHT, NumberOfFrames="1A")
    assert DAMAGED in refused(content)
    assert refused(dicom(TWELVE, raw={0x00280010: ("XX", b"\x40\0")}))
    assert refused(dicom(TWELVE, raw={0x00280010: ("LO", b"Smith ")}))


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED])
def test_a_file_that_is_cut_off_is_refused_wherever_it_is_cut(syntax):
    """D9"""
    content = dicom(TWELVE, syntax, **RIGHT)
    for length in [*range(0, 600, 7), *range(600, len(content), 211), len(content) - 2, len(content) - 1]:
        refused(content[:length])


# D10, D11 (bombs: test_sandbox.py) -----------------------------------------------------------------------------------


def test_three_thousand_nested_sequences_are_refused_or_passed_over():
    """D11: RecursionError in pydicom."""
    try:
        assert np.array_equal(read_image(make.nested_sequences()).deep, make.image())
    except ImageError as refusal:
        assert DAMAGED in str(refusal)


# D12, D14 ------------------------------------------------------------------------------------------------------------


TEXT_TYPES = ("PN", "LO", "SH", "LT", "ST", "UT", "UC", "AE", "CS")
PERSONAL = sorted(
    tag for tag, (kind, *_) in DicomDictionary.items() if kind in TEXT_TYPES and 0x0008 <= tag >> 16 <= 0x0040
)
READ_AS_TEXT = {"Modality", "BodyPartExamined", "ViewPosition", "BurnedInAnnotation"}
NEEDED = {"PhotometricInterpretation", "SpecificCharacterSet", "VOILUTFunction", "PixelPresentation"}


def everything_said(content: bytes, caplog, capfd) -> str:
    """All that an image, or its refusal, lets out: texts, representation, traceback, log, standard output and error."""
    try:
        image = read_image(content)
        said = repr(image) + image.mode + "".join((*image.notes, *image.warnings, *(w.name for w in image.windows)))
    except ImageError as refusal:
        said = "".join(traceback.format_exception(refusal)) + repr(refusal)
    out = capfd.readouterr()
    return said + caplog.text + out.out + out.err


def test_nothing_personal_leaves_the_reading(caplog, capfd):
    """D12 and D14: the canary stands in every text of the patient's, visit's, device's and study's groups."""
    canary = CANARY.encode() + b" " * (len(CANARY) % 2)
    raw = {tag: (DicomDictionary[tag][0], canary) for tag in PERSONAL if keyword_for_tag(tag) not in NEEDED}
    raw |= {0x00091010: ("LO", canary), 0x60004000: ("LT", canary), 0x00880200: ("LO", canary)}
    assert len(raw) > 800
    said = everything_said(dicom(TWELVE, **RIGHT, raw=raw, preamble=canary.ljust(128, b"\0")), caplog, capfd)
    assert "CANARY" not in said
    assert "JANE" not in said
    assert "a word that is not understood" in said


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_nothing_personal_leaves_the_reading_whatever_tag_it_was_written_into(caplog, capfd, syntax):
    """D14: each tag that is read, in turn, holds the canary as bytes of its own type and as text."""
    from covid_core.images.dicom.header import KEYWORDS, TAGS

    for keyword, tag in zip(KEYWORDS, TAGS, strict=True):
        for kind in {DicomDictionary[tag][0].split(" ")[0], "LO", "PN", "SQ"}:
            content = dicom(TWELVE, syntax, **RIGHT, raw={int(tag): (kind, b"CANARY^JANE ")})
            said = everything_said(content, caplog, capfd)
            assert "CANARY" not in said, keyword


def test_a_file_that_says_that_text_is_burned_in_is_warned_of():
    """D14"""
    (warning,) = read_image(dicom(TWELVE, **RIGHT, BurnedInAnnotation="YES")).warnings
    assert warning == "The file says that text is burned into the picture; it may name the patient."
    assert read_image(dicom(TWELVE, **RIGHT, BurnedInAnnotation="NO")).warnings == ()


@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO 2022 IR 87", "GB18030", "nonsense", ["", "ISO 2022 IR 149"]])
def test_no_character_set_keeps_a_image_from_being_read(charset):
    """D12"""
    tags = {
        "SpecificCharacterSet": charset,
        "PatientName": "x" * 65_000,
        "PatientComments": "<script>alert(1)</script>",
    }
    assert np.array_equal(read_image(dicom(TWELVE, **RIGHT, **tags)).deep, TWELVE)


# D13 -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start", [b"MZ\x90\0", b"\x7fELF", b"<html><script>", b"II*\0", b"MM\0*", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"]
)
def test_what_stands_before_the_mark_changes_nothing(start):
    """D13: CVE-2019-11687; the preamble is read by nobody and kept by nobody."""
    image = read_image(dicom(TWELVE, **RIGHT, preamble=start.ljust(128, b"\0")))
    assert np.array_equal(image.deep, TWELVE)


# D15 -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"Modality": "CT"}, "comes from computed tomography (CT), not from plain radiography"),
        ({"Modality": "MR"}, "comes from magnetic resonance imaging (MR)"),
        ({"Modality": "US"}, "comes from ultrasound"),
        ({"Modality": "XYZ"}, "comes from something else than plain radiography"),
        ({"BodyPartExamined": "HAND"}, "shows a hand, not a chest"),
        ({"BodyPartExamined": "L-SPINE"}, "shows a lumbar spine"),
        ({"BodyPartExamined": "SPLEEN"}, "shows a spleen"),
        ({"ViewPosition": "LL"}, "lateral view"),
        ({"ViewPosition": "RL"}, "lateral view"),
        ({"ViewPosition": "LATERAL"}, "lateral view"),
        ({"BodyPartExamined": "Schädel"}, "shows a skull"),
        ({"BodyPartExamined": "LEFT HAND"}, "shows a hand"),
        ({"BodyPartExamined": "UNKNOWN"}, "a word that is not understood"),
        ({"ViewPosition": "L"}, "lateral view"),
        ({"ViewPosition": "LEFT LATERAL"}, "lateral view"),
        ({"ViewPosition": "R LAT"}, "lateral view"),
        ({"ViewPosition": "LEFT LATERAL DECUBITUS"}, "lying on the left side"),
        ({"ViewCodeSequence": [{"CodeValue": "1", "CodeMeaning": "Left Lateral"}]}, "lateral view"),
        ({"PatientOrientation": ["A", "F"]}, "lateral view"),
        ({"PatientOrientation": ["R", "F"]}, "is mirrored"),
        ({"PatientOrientation": ["L", "H"]}, "upside down"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "raw image"),
        ({"PresentationLUTShape": "INVERSE"}, "contradicts itself"),
        ({"ViewPosition": "LLD"}, "lying on the left side"),
        ({"ViewPosition": "RAO"}, "oblique"),
        ({"ViewCodeSequence": [{"CodeValue": "R-10236", "CodeMeaning": "left lateral"}]}, "lateral view"),
        ({"ViewCodeSequence": [{"CodeValue": "399198007"}]}, "lateral view"),
    ],
    ids=str,
)
def test_what_is_no_frontal_chest_image_by_its_tags_is_warned_of(tags, said):
    """D15"""
    (warning,) = read_image(dicom(TWELVE, **RIGHT, **tags)).warnings
    assert said in warning
    assert warning.endswith(".")


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"Modality": "DX", "BodyPartExamined": "CHEST", "ViewPosition": "PA", "BurnedInAnnotation": "NO"},
        {"Modality": "CR", "ViewPosition": "AP", "BodyPartExamined": "Thorax"},
        {"Modality": "dx ", "BodyPartExamined": "", "ViewPosition": ""},
        {"BodyPartExamined": "TORAX", "ViewPosition": "postero-anterior"},
        {"BodyPartExamined": "CXR", "PatientOrientation": ["L", "F"]},
        {"BodyPartExamined": "CHEST ABDOMEN", "PresentationIntentType": "FOR PRESENTATION"},
        {"Modality": "OT"},
        {"ViewCodeSequence": [{"CodeValue": "R-10214", "CodeMeaning": "postero-anterior"}]},
        {"PixelSpacing": ["0.143", "0.143"]},
    ],
    ids=str,
)
def test_a_chest_image_and_a_image_without_these_tags_are_warned_of_nothing(tags):
    """D15"""
    assert read_image(dicom(TWELVE, **RIGHT, **tags)).warnings == ()


@pytest.mark.parametrize(
    ("photometric", "shape", "is_turned"),
    [
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", None, True),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME2", "IDENTITY", False),
    ],
)
def test_an_image_is_turned_once_whatever_says_so(photometric, shape, is_turned):
    """A10"""
    tags = {} if shape is None else {"PresentationLUTShape": shape}
    plain = read_image(dicom(TWELVE, **RIGHT)).pixels.astype(int)
    pixels = read_image(dicom(TWELVE, **RIGHT, PhotometricInterpretation=photometric, **tags)).pixels.astype(int)
    assert np.corrcoef(pixels.ravel(), plain.ravel())[0, 1] == pytest.approx(-1 if is_turned else 1, abs=1e-4)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_takes_no_part_in_the_greys(photometric):
    """A12"""
    padded = TWELVE.copy()
    padded[:5] = 4095 if photometric == "MONOCHROME2" else 0
    value = int(padded[0, 0])
    inside = np.clip(padded, 1, 4094)
    inside[:5] = value
    image = read_image(dicom(inside, **RIGHT, PhotometricInterpretation=photometric, PixelPaddingValue=value))
    assert (image.pixels[:5] == 0).all()
    assert "padding" in " ".join(image.notes)


def test_a_rescale_without_a_slope_has_a_slope_of_one():
    with_both = read_image(dicom(TWELVE, **RIGHT, RescaleSlope="1", RescaleIntercept="-100"))
    assert (read_image(dicom(TWELVE, **RIGHT, RescaleIntercept="-100")).pixels == with_both.pixels).all()


# D16 -----------------------------------------------------------------------------------------------------------------


def palette(entries: np.ndarray, first: int = 0) -> dict:
    return {
        "PhotometricInterpretation": "PALETTE COLOR",
        **{
            f"{colour}PaletteColorLookupTableDescriptor": [len(entries), first, 16]
            for colour in ("Red", "Green", "Blue")
        },
        **{
            f"{colour}PaletteColorLookupTableData": entries.astype("<u2").tobytes()
            for colour in ("Red", "Green", "Blue")
        },
    }


def test_a_palette_of_greys_gives_the_same_pixels():
    """D16"""
    image = read_image(dicom(EIGHT, **palette(np.arange(256) * 257)))
    assert np.array_equal(image.pixels, EIGHT)
    assert image.mode == "PALETTE COLOR"


@pytest.mark.parametrize(
    "wrong",
    [
        {"RedPaletteColorLookupTableData": bytes(20)},
        {"RedPaletteColorLookupTableData": None},
        {"RedPaletteColorLookupTableDescriptor": None},
        {"RedPaletteColorLookupTableDescriptor": [0, 0, 99]},
        {"BluePaletteColorLookupTableData": bytes(4)},
    ],
    ids=["short", "no-data", "no-descriptor", "bits", "unequal"],
)
def test_a_damaged_palette_is_refused(wrong):
    """D16: the kind of Orthanc's CVE-2026-5443 and -5445."""
    assert "palette" in refused(dicom(EIGHT, **{**palette(np.arange(256) * 257), **wrong}))


@pytest.mark.parametrize("planar", [0, 1])
def test_grey_stored_as_colours_is_the_same_image(planar):
    """D16"""
    rgb = np.repeat(EIGHT[..., None], 3, axis=2)
    stored = rgb if planar == 0 else rgb.transpose(2, 0, 1).reshape(64, 64, 3)
    assert np.array_equal(read_image(dicom(stored, PlanarConfiguration=planar)).pixels, EIGHT)


def test_luminance_and_colour_differences_become_the_same_grey():
    """D16"""
    ycc = np.stack([EIGHT, np.full_like(EIGHT, 128), np.full_like(EIGHT, 128)], axis=2)
    image = read_image(dicom(ycc, PhotometricInterpretation="YBR_FULL"))
    assert np.abs(image.pixels.astype(int) - EIGHT).max() <= 1


def test_a_colour_picture_is_told_and_deep_colours_are_refused():
    """D16 and I13"""
    image = read_image(dicom(make.colour_photo()))
    assert "X-ray images are grey" in image.notes[0]
    assert image.warnings[-1].startswith("The file holds a colour picture")
    assert "more than 8 bits per colour" in refused(dicom(make.colour_photo().astype(np.uint16)))


@pytest.mark.parametrize("photometric", ["YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"])
def test_colours_that_pydicom_would_leave_as_they_are_are_refused(photometric):
    """D16: stored plainly, none of these is brought to RGB."""
    assert refused(dicom(make.colour_photo(), PhotometricInterpretation=photometric))


# D17 -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keyword", ["PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"])
def test_pixels_that_are_not_square_are_told(keyword):
    """D17"""
    values = [4, 3] if keyword == "PixelAspectRatio" else ["0.4", "0.3"]
    (warning,) = read_image(dicom(TWELVE, **RIGHT, **{keyword: values})).warnings
    assert warning.startswith("Its pixels are 1.33 times as high as wide")


@pytest.mark.parametrize("value", ["nan", ["0", "1"], ["-1", "1"], ["1"], ["a", "b"], ["inf", "inf"]])
def test_a_spacing_that_makes_no_sense_says_nothing(value):
    """D17"""
    assert read_image(dicom(TWELVE, **RIGHT, PixelSpacing=value)).warnings == ()


def test_mutated_dicom_files_are_read_or_refused_and_nothing_of_the_patient_is_told(caplog, capfd):
    fuzzing.dicom_files(200, seed=0)
    out = capfd.readouterr()
    assert "CANARY" not in out.out + out.err + caplog.text
