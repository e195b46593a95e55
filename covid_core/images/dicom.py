"""DICOM files to grey pixels. Nothing else in the package knows pydicom.

Stored values go through the modality LUT or rescale, then through a window or VOI LUT, then MONOCHROME1 is turned
round; every step is checked. A film has at most 65,536 levels, so steps are computed once per level, not per pixel.

Only the tags in KEYWORDS are read. Their values never stand in a text that leaves this module, except numbers: what is
said comes from the tables below, so nothing personal can be in it, whatever field a hospital wrote it into.
"""

import io
import logging
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.pixels import apply_color_lut, get_decoder
from pydicom.tag import Tag
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from covid_core.errors import ImageError
from covid_core.images.image import (
    FULL_RANGE,
    INVALID_WINDOW,
    LEVELS,
    MOST_PIXELS,
    TOO_MUCH_MEMORY,
    Film,
    WindowChoice,
    chosen_place,
    full_range,
    grey_of_colours,
    looked_up,
    size_refused,
    with_content,
    with_depth,
)

logging.getLogger("pydicom").disabled = True  # what it logs of a damaged file may hold a patient's name

KEYWORDS = [
    # how the pixels are stored
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "PixelAspectRatio",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
    "FloatPixelData",
    "DoubleFloatPixelData",
    # how they become greys
    "ModalityLUTSequence",
    "RescaleIntercept",
    "RescaleSlope",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData",
    # reasons to doubt any answer
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "ViewCodeSequence",
    "BurnedInAnnotation",
]
TAGS = [Tag(tag_for_keyword(keyword)) for keyword in KEYWORDS]
STURDIEST = {  # of several decoders: damaged files crash gdcm, the first choice of pydicom, about once in a hundred
    JPEGBaseline8Bit: "pillow",
    JPEG2000: "pylibjpeg",
    JPEG2000Lossless: "pylibjpeg",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
}
GREYS = ("MONOCHROME1", "MONOCHROME2")
PALETTE = "PALETTE COLOR"
UNPACKED_MOST = 2 * MOST_PIXELS + LEVELS  # bytes of a deflated file
MOST_BITS = 16
LARGEST_VALUE = 2.0**31  # after rescaling; no X-ray film comes near it, a damaged number does
SLOPES = (1e-6, 1e6)  # of rescaling, apart from the sign
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing")  # of the film, or else at the detector
SQUARE_WITHIN = 0.01  # of pixels: larger differences between height and width change the proportions of a chest
LINEAR, LINEAR_EXACT, SIGMOID = "LINEAR", "LINEAR_EXACT", "SIGMOID"

DAMAGED = "The DICOM file is damaged or cut off."
NO_IMAGE = "The DICOM file holds no image; it is a report, a plan or a directory, or it was cut off."
CONTRADICTS_BITS = "The DICOM file contradicts itself about the bits of a pixel."
INVALID_RESCALE = "The film's rescale values are invalid, so its greys cannot be trusted; export it again."
INVALID_MODALITY_LUT = "The film's modality table is invalid, so its greys cannot be trusted; export it again."
INVALID_PALETTE = "The film's palette is invalid or unusual, so its greys cannot be trusted; export it in grey."
SEVERAL_FRAMES = "The DICOM file holds {frames} pictures; export the one that is meant as a file of its own."
# One of several frames is never chosen for the user: nothing says which one is meant, and of a cine loop or a
# tomosynthesis none is a chest film.

OTHER_MODALITIES = {
    "BI": "biomagnetic imaging",
    "BMD": "bone densitometry",
    "CT": "computed tomography (CT)",
    "ECG": "electrocardiography",
    "ES": "endoscopy",
    "GM": "microscopy",
    "IO": "dental radiography",
    "IVUS": "intravascular ultrasound",
    "MG": "mammography",
    "MR": "magnetic resonance imaging (MR)",
    "NM": "nuclear medicine",
    "OP": "ophthalmic photography",
    "PT": "positron emission tomography (PET)",
    "PX": "dental radiography",
    "RF": "fluoroscopy",
    "RTDOSE": "the planning of radiotherapy",
    "RTIMAGE": "radiotherapy",
    "SEG": "the segmentation of other images",
    "SM": "slide microscopy",
    "US": "ultrasound",
    "XA": "angiography",
    "XC": "photography",
}
FILM_MODALITIES = frozenset({"CR", "DR", "DX", "RG", "HC", "OT", "SC"})  # the last three do not say what they hold
OTHER_PARTS = {
    "ABDOMEN": "an abdomen",
    "ANKLE": "an ankle",
    "ARM": "an arm",
    "BREAST": "a breast",
    "CLAVICLE": "a clavicle",
    "CSPINE": "a cervical spine",
    "ELBOW": "an elbow",
    "FINGER": "a finger",
    "FOOT": "a foot",
    "HAND": "a hand",
    "HEAD": "a head",
    "HIP": "a hip",
    "JAW": "a jaw",
    "KNEE": "a knee",
    "LEG": "a leg",
    "LSPINE": "a lumbar spine",
    "NECK": "a neck",
    "PELVIS": "a pelvis",
    "SHOULDER": "a shoulder",
    "SKULL": "a skull",
    "SPINE": "a spine",
    "TSPINE": "a thoracic spine",
    "WRIST": "a wrist",
}
CHEST_PARTS = ("CHEST", "THORA", "TORAX", "LUNG", "PULM")  # beginnings or parts of what hospitals write for a chest
LATERAL_VIEWS = frozenset({"LL", "RL", "LATERAL", "LAT", "LLAT", "RLAT"})
OTHER_VIEWS = {
    "LLD": "lying on the left side",
    "RLD": "lying on the right side",
    "LLO": "oblique",
    "RLO": "oblique",
    "LAO": "oblique",
    "RAO": "oblique",
}
LATERAL_CODES = frozenset(  # PS3.16 CID 4010: lateral, right lateral, left lateral, sagittal; in SNOMED CT and before
    {"399067008", "399198007", "399173006", "30730003", "R-102CD", "R-10232", "R-10236", "G-A145"}
)


@dataclass(frozen=True)
class _Stored:
    """Pixels on their way to greys: integers (height, width) whose whole range is ``bottom`` to ``top``.

    ``slope`` and ``intercept`` make the values of the modality of them, in which windows are given. ``is_counted`` says
    that the range begins at 0, so that the bit depth in use can be told from the brightest pixel.
    """

    values: np.ndarray
    bottom: int
    top: int
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def is_counted(self) -> bool:
        return self.bottom == 0 and self.top < LEVELS

    def levels(self) -> np.ndarray:
        """Every integer from the darkest to the brightest stored value."""
        return np.arange(int(self.values.min()), int(self.values.max()) + 1)

    def through(self, table: np.ndarray, bits: int) -> "_Stored":
        """The same picture with each of ``levels`` replaced by its entry in ``table``, of ``bits`` bits."""
        return _Stored(looked_up(table, self.values, int(self.values.min())), 0, 2**bits - 1)


@dataclass(frozen=True)
class _Window:
    """A stored window in the modality's values; of a VOI LUT ``lut`` is its place among them, else None."""

    name: str
    centre: float = 0.0
    width: float = 0.0
    function: str = LINEAR
    lut: int | None = None

    @property
    def is_curve(self) -> bool:
        return self.lut is not None or self.function == SIGMOID


def read(content: bytes, window: int = 0) -> Film:
    """A film from the bytes of a DICOM file. Raises ImageError with the reason in one sentence.

    ``window`` is the place of a stored VOI LUT or window, in the order in which the file has them, LUTs first; the last
    place is the full range, which is also used where none is stored.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of what it finds in tags
        header = _parsed(content)
        photometric = _checked(header)
        pixels = _decoded(header)
        notes: list[str] = []
        unfit = tuple(_unfit(header))
        doubts = unfit + tuple(_doubts(header))
        if photometric not in GREYS:
            grey = _colours(header, photometric, pixels, notes)
            film = Film(with_content(grey), photometric, tuple(notes), doubts)
        else:
            film = _grey_film(header, photometric, pixels, window, notes, doubts)
        return replace(film, not_chest=unfit, spacing=_spacing(header))


def load_decoders() -> None:
    """Import what decompression needs, so that the first film does not wait for it."""
    for syntax in (ExplicitVRLittleEndian, JPEG2000Lossless):
        _ = get_decoder(syntax).is_available


@contextmanager
def _told(sentence: str) -> Iterator[None]:
    """Whatever goes wrong within becomes one sentence. pydicom and its plug-ins answer damaged files with a dozen kinds
    of error, whose texts quote the file; so the cause is dropped."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(TOO_MUCH_MEMORY) from None
    except Exception:
        raise ImageError(sentence) from None


# Reading the file ----------------------------------------------------------------------------------------------------


def _parsed(content: bytes) -> Dataset:
    """The tags of a file. ``transfer_syntax`` is set on it."""
    has_mark = content[128:132] == b"DICM"
    with _told(DAMAGED):
        syntax, start = _syntax_and_start(content) if has_mark else ("", 0)
        if has_mark and syntax == DeflatedExplicitVRLittleEndian:
            header = read_dataset(io.BytesIO(_inflated(content[start:])), False, True, specific_tags=TAGS)
            header.transfer_syntax = ExplicitVRLittleEndian
            return header
        # Without the mark the caller has seen that the first element is one that files begin with
        header = dcmread(io.BytesIO(content), force=not has_mark, specific_tags=TAGS)
        header.transfer_syntax = header.file_meta.get("TransferSyntaxUID") or _bare_syntax(header)
    return header


def _syntax_and_start(content: bytes) -> tuple[str, int]:
    """Transfer syntax and where the data set begins, from the group of file meta elements after the mark."""
    at, syntax = 132, ""
    while content[at : at + 2] == b"\x02\x00":
        element, kind = struct.unpack("<H2s", content[at + 2 : at + 6])
        is_long = kind in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"UR")
        length = (
            struct.unpack("<I", content[at + 8 : at + 12])[0]
            if is_long
            else struct.unpack("<H", content[at + 6 : at + 8])[0]
        )
        value = at + (12 if is_long else 8)
        if element == 0x0010:
            syntax = content[value : value + length].rstrip(b"\0 ").decode("ascii")
        at = value + length
    return syntax, at


def _inflated(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    unpacked = unpacker.decompress(packed, UNPACKED_MOST)
    if unpacker.unconsumed_tail:
        raise ImageError(f"The DICOM file unpacks to more than {UNPACKED_MOST // 10**6} MB.")
    if not unpacker.eof:
        raise ImageError(DAMAGED)
    return unpacked


def _bare_syntax(header: Dataset) -> UID:
    """The encoding that was seen in a file without a mark; with one the file has to name it."""
    if header.file_meta or header.preamble:
        raise ImageError("The DICOM file does not say how it is encoded (its transfer syntax); export it again.")
    is_implicit, is_little = header.original_encoding
    if is_implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian


def _checked(header: Dataset) -> str:
    """The photometric interpretation of a header that describes one film of a size that is read."""
    with _told(DAMAGED):
        if "PixelData" not in header:
            if "FloatPixelData" in header or "DoubleFloatPixelData" in header:
                raise ImageError("The DICOM file holds floating-point numbers, not the greys of a film.")
            raise ImageError(NO_IMAGE)
        height, width = _whole(header, "Rows"), _whole(header, "Columns")
        frames = _frames(header)
        samples, allocated = _whole(header, "SamplesPerPixel"), _whole(header, "BitsAllocated")
        stored = _whole(header, "BitsStored")
        photometric = header.get("PhotometricInterpretation")
    if frames != 1:
        raise ImageError(SEVERAL_FRAMES.format(frames=f"{frames:,}"))
    refused = size_refused(width, height)
    if refused:
        raise ImageError(refused)
    if not 1 <= stored <= allocated or allocated not in (1, 8, 16, 32):
        raise ImageError(CONTRADICTS_BITS)
    if photometric not in (*GREYS, PALETTE, "RGB") and not str(photometric).startswith("YBR_"):
        raise ImageError("The DICOM file does not say how its pixels are to be shown (its photometric interpretation).")
    if samples != (1 if photometric in (*GREYS, PALETTE) else 3):
        raise ImageError("The DICOM file contradicts itself about the colours of a pixel.")
    return str(photometric)


def _whole(header: Dataset, keyword: str) -> int:
    value = header.get(keyword)
    if not isinstance(value, int):
        raise ImageError(DAMAGED)
    return int(value)


def _frames(header: Dataset) -> int:
    """1 where the number is missing or empty, as in every file of a plain film."""
    value = header.get("NumberOfFrames")
    return 1 if value in (None, "") else int(value)


def _decoded(header: Dataset) -> np.ndarray:
    """Pixels as the file has them: integers (height, width), or (height, width, 3) as RGB."""
    syntax = header.transfer_syntax
    try:
        decoder = get_decoder(UID(syntax))
    except (NotImplementedError, ValueError):
        decoder = None
    unsupported = f"The compression {_compression(syntax)} is not supported; export the film uncompressed."
    if decoder is None or not decoder.is_available:
        raise ImageError(unsupported)
    with _told(unsupported if syntax == JPEGExtended12Bit and header.BitsStored > 8 else DAMAGED):
        low_bits = _unused_low_bits(header)
        if low_bits is not None:
            if decoder.is_encapsulated:
                raise ImageError(CONTRADICTS_BITS)
            return _from_high_bits(header, decoder, low_bits)
        pixels, found = decoder.as_array(header, index=0, decoding_plugin=STURDIEST.get(syntax, ""))
    if pixels.ndim == 3 and found["photometric_interpretation"] != "RGB":
        raise ImageError("The film's colours are stored in a way that is not supported; export it in grey.")
    return pixels


def _compression(syntax: str) -> str:
    """The registered name of a transfer syntax; of one that is not registered nothing is repeated."""
    known = UID(syntax)
    return known.name if known.name != str(known) and known.is_transfer_syntax else "of this DICOM file"


def _unused_low_bits(header: Dataset) -> int | None:
    """How far the stored bits lie above the lowest ones, by the retired HighBit; None where they do not."""
    high = header.get("HighBit")
    if not isinstance(high, int) or header.SamplesPerPixel != 1 or header.BitsAllocated not in (8, 16):
        return None
    low = high + 1 - header.BitsStored
    if low < 0 or high >= header.BitsAllocated:
        raise ImageError(CONTRADICTS_BITS)
    return low or None


def _from_high_bits(header: Dataset, decoder: object, low_bits: int) -> np.ndarray:
    raw, _ = decoder.as_array(header, index=0, correct_unused_bits=False)
    bits = int(header.BitsStored)
    found = (raw.astype(np.int32) >> low_bits) & (2**bits - 1)
    return np.where(found >= 2 ** (bits - 1), found - 2**bits, found) if header.get("PixelRepresentation") else found


# From stored values to greys -----------------------------------------------------------------------------------------


def _grey_film(
    header: Dataset, photometric: str, pixels: np.ndarray, window: int, notes: list[str], doubts: tuple[str, ...]
) -> Film:
    with_content(pixels)
    if int(pixels.max()) - int(pixels.min()) >= LEVELS:
        raise ImageError("The film has more than 16 bits per pixel.")
    stored = _modality(header, pixels)
    offered = _offered(header, window, notes)
    place = chosen_place(window, len(offered) + 1)
    chosen = offered[place] if place < len(offered) else None
    if chosen is not None and chosen.is_curve:
        stored = _curved(header, stored, chosen)
    with_content(stored.values)
    is_turned = (stored.slope < 0) != (photometric == "MONOCHROME1")
    if photometric == "MONOCHROME1":
        notes.append("stored as a negative (MONOCHROME1), so that dark and bright were exchanged")
    deep, shift = _levelled(stored, is_turned)
    choices = (
        *(_choice(one, chosen, stored, is_turned, shift) for one in offered),
        _whole_range(chosen, stored, deep),
    )
    film = with_depth(deep, photometric, choices, place, warnings=doubts)
    notes.append(f"shown in its {choices[film.chosen].name}" if chosen else f"shown over its {choices[-1].name}")
    if len(choices) == 1 and stored.top < 256 and stored.is_counted:
        return Film(film.pixels, photometric, tuple(notes[:-1]), doubts)  # 8 bits, shown as they are
    return Film(film.pixels, photometric, tuple(notes), doubts, deep, film.window, choices, film.chosen)


def _modality(header: Dataset, pixels: np.ndarray) -> _Stored:
    """The stored values with what makes the modality's values of them: a table, which is applied, or slope and
    intercept, which windows are brought to instead."""
    bits = int(header.BitsStored)
    is_signed = bool(header.get("PixelRepresentation"))
    bottom, top = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
    if pixels.min() < bottom or pixels.max() > top:
        raise ImageError(CONTRADICTS_BITS)
    stored = _Stored(pixels, bottom, top)
    if header.get("ModalityLUTSequence"):
        with _told(INVALID_MODALITY_LUT):
            return stored.through(*_entries(header, header.ModalityLUTSequence[0], stored.levels()))
    slope, intercept = (_number(header, name) for name in ("RescaleSlope", "RescaleIntercept"))
    if slope is None and intercept is None:
        return stored
    if slope is None or intercept is None or not SLOPES[0] <= abs(slope) <= SLOPES[1]:
        raise ImageError(INVALID_RESCALE)
    if not max(abs(slope * value + intercept) for value in (bottom, top)) < LARGEST_VALUE:
        raise ImageError(INVALID_RESCALE)
    return _Stored(pixels, bottom, top, slope, intercept)


def _number(header: Dataset, keyword: str) -> float | None:
    """A single finite number; None where the file has none."""
    with _told(INVALID_RESCALE):
        value = header.get(keyword)
        if value in (None, ""):
            return None
        number = float(value)
    if isinstance(value, MultiValue) or not math.isfinite(number):
        raise ImageError(INVALID_RESCALE)
    return number


def _entries(header: Dataset, item: Dataset, values: np.ndarray) -> tuple[np.ndarray, int]:
    """Entries of a look-up table for ``values``, as uint16, and their number of bits (PS3.3 C.11.1.1, C.11.2.1.1).

    Values outside the table get its first or last entry. pydicom's own functions are not used: they bring the places to
    the entries' type first, so that from a table of 8 bits the 300th value gets the 44th entry.
    """
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    entries = entries or LEVELS
    if first >= LEVELS // 2 and values.min() < 0:
        first -= LEVELS  # read as unsigned, though the values are signed
    data = item.LUTData
    if isinstance(data, bytes):
        order = ">" if header.transfer_syntax == ExplicitVRBigEndian else "<"
        data = np.frombuffer(data, np.uint8 if len(data) < 2 * entries else f"{order}u2")[:entries]
    table = np.asarray(data, np.int64)
    if len(table) != entries or not 1 <= bits <= MOST_BITS or table.min() < 0 or table.max() >= 2**bits:
        raise ImageError("The film's look-up table is invalid, so its greys cannot be trusted; export it again.")
    used = int(full_range(int(table.max()), bits).width).bit_length()  # many say 16 bits of tables that hold 12
    return table[np.clip(values - first, 0, entries - 1)].astype(np.uint16), used


def _offered(header: Dataset, window: int, notes: list[str]) -> list[_Window]:
    """The stored VOI LUTs and windows. Raises ImageError if they are invalid and one of them is asked for."""
    try:
        return _curves(header) + _windows(header)
    except ImageError:
        if window != FULL_RANGE:
            raise
        notes.append("the stored window is invalid and was left out")
        return []


def _curves(header: Dataset) -> list[_Window]:
    with _told(INVALID_WINDOW):
        items = header.get("VOILUTSequence") or []
        return [_Window(f"stored curve {place + 1}", lut=place) for place in range(len(items))]


def _windows(header: Dataset) -> list[_Window]:
    centres, widths = (_numbers(header, name) for name in ("WindowCenter", "WindowWidth"))
    with _told(INVALID_WINDOW):
        function = str(header.get("VOILUTFunction") or LINEAR).upper()
    if len(centres) != len(widths) or function not in (LINEAR, LINEAR_EXACT, SIGMOID):
        raise ImageError(INVALID_WINDOW)
    for centre, width in zip(centres, widths, strict=True):
        is_wide = width >= 1 if function == LINEAR else width > 0
        if not is_wide or not abs(centre) < LARGEST_VALUE or not width < LARGEST_VALUE:
            raise ImageError(INVALID_WINDOW)
    kind = "sigmoid window" if function == SIGMOID else "window"
    return [
        _Window(f"stored {kind}, centre {centre:g}, width {width:g}", centre, width, function)
        for centre, width in zip(centres, widths, strict=True)
    ]


def _numbers(header: Dataset, keyword: str) -> list[float]:
    with _told(INVALID_WINDOW):
        value = header.get(keyword)
        if value in (None, ""):
            return []
        return [float(one) for one in (value if isinstance(value, MultiValue) else [value])]


def _curved(header: Dataset, stored: _Stored, chosen: _Window) -> _Stored:
    """The picture after a curve, which is not undone by any later window."""
    values = stored.slope * stored.levels() + stored.intercept
    with _told(INVALID_WINDOW):
        if chosen.lut is None:
            curve = 65535 / (1 + np.exp(np.clip(-4 * (values - chosen.centre) / chosen.width, -700, 700)))
            return stored.through(np.round(curve).astype(np.uint16), MOST_BITS)
        return stored.through(*_entries(header, header.VOILUTSequence[chosen.lut], np.round(values).astype(np.int64)))


def _levelled(stored: _Stored, is_turned: bool) -> tuple[np.ndarray, int]:
    """uint16 greys, bright is high, and the shift: grey = shift + value, or shift - value where they are turned.

    Values that count from 0 keep their 0, so that the bit depth in use stays visible; others begin at the darkest.
    """
    darkest, brightest = int(stored.values.min()), int(stored.values.max())
    kept, begun = (stored.top, brightest) if is_turned else (0, -darkest)
    shift = kept if stored.is_counted else begun
    turn, values = (np.subtract, (shift, stored.values)) if is_turned else (np.add, (stored.values, shift))
    return turn(*values, out=np.empty(stored.values.shape, np.uint16), dtype=np.int64, casting="unsafe"), shift


def _whole_range(chosen: _Window | None, stored: _Stored, deep: np.ndarray) -> WindowChoice:
    """What is shown where no stored window is. After a curve it needs another reading, so that it is not a number."""
    if stored.is_counted:
        whole = full_range(int(deep.max()), int(stored.top).bit_length())
    else:
        width = int(deep.max())
        whole = WindowChoice("range from the darkest to the brightest pixel", width / 2, float(width))
    if chosen is not None and chosen.is_curve:
        return WindowChoice("full range", math.nan, math.nan)
    return whole


def _choice(one: _Window, chosen: _Window | None, stored: _Stored, is_turned: bool, shift: int) -> WindowChoice:
    """A stored window in the greys of ``Film.deep``: the chosen curve as all that it gives, which is in them already;
    not a number where only another reading can show it."""
    if one.is_curve and one is chosen:
        return WindowChoice(one.name, stored.top / 2, float(stored.top))
    if one.is_curve or (chosen is not None and chosen.is_curve):
        return WindowChoice(one.name, math.nan, math.nan)
    # PS3.3 C.11.2.1.2: LINEAR runs from centre - 0.5 - (width - 1) / 2 to centre - 0.5 + (width - 1) / 2
    centre, width = (one.centre - 0.5, one.width - 1) if one.function == LINEAR else (one.centre, one.width)
    value = (centre - stored.intercept) / stored.slope
    return WindowChoice(one.name, shift - value if is_turned else shift + value, width / abs(stored.slope))


def _colours(header: Dataset, photometric: str, pixels: np.ndarray, notes: list[str]) -> np.ndarray:
    """Grey of a picture in colours or with a palette."""
    if photometric == PALETTE:
        with _told(INVALID_PALETTE):
            pixels = _through_palette(header, pixels)
    if pixels.dtype != np.uint8:
        raise ImageError("The film has more than 8 bits per colour; export it in grey.")
    return grey_of_colours(pixels, notes)


def _through_palette(header: Dataset, places: np.ndarray) -> np.ndarray:
    """Colours as uint8. Palettes whose entries pydicom would mix up (see ``_entries``) are refused."""
    if header.transfer_syntax == ExplicitVRBigEndian:
        raise ImageError(INVALID_PALETTE)
    colours = apply_color_lut(places, header)[..., :3]
    if int(places.max()) > np.iinfo(colours.dtype).max:
        raise ImageError(INVALID_PALETTE)
    if colours.dtype == np.uint8 or colours.max() < 256:
        return colours.astype(np.uint8)
    return looked_up(np.round(np.arange(LEVELS) * (255 / 65535)).astype(np.uint8), colours)


# Reasons to doubt ----------------------------------------------------------------------------------------------------


def _unfit(header: Dataset) -> Iterator[str]:
    """What in the tags says that it is no frontal chest film, a sentence each. A tag that is missing says nothing."""
    yield from _doubts_of_modality(_word(header, "Modality"))
    yield from _doubts_of_part(_word(header, "BodyPartExamined"))
    yield from _doubts_of_view(header)


def _doubts(header: Dataset) -> Iterator[str]:
    """What else in the tags is to be known before an answer is believed, a sentence each."""
    if _word(header, "BurnedInAnnotation") not in ("", "NO"):
        yield "The file says that text is burned into the picture; it may name the patient."
    ratio = _height_by_width(header)
    if abs(ratio - 1) > SQUARE_WITHIN:
        yield f"Its pixels are {ratio:.2f} times as high as wide; the film is shown and judged as if they were square."


def _word(header: Dataset, keyword: str) -> str:
    """A code in capital letters; nothing where it is missing or no single text."""
    with _told(DAMAGED):
        value = header.get(keyword)
    return value.strip().upper() if isinstance(value, str) else ""


def _doubts_of_modality(modality: str) -> Iterator[str]:
    if modality in OTHER_MODALITIES:
        yield f"The file says that it comes from {OTHER_MODALITIES[modality]}, not from plain radiography."
    elif modality and modality not in FILM_MODALITIES:
        yield "The file says that it comes from something else than plain radiography."


def _doubts_of_part(part: str) -> Iterator[str]:
    name = "".join(letter for letter in part if letter.isalpha())
    if name in OTHER_PARTS:
        yield f"The file says that it shows {OTHER_PARTS[name]}, not a chest."
    elif name and not any(chest in name for chest in CHEST_PARTS):
        yield "The file says that it shows another part of the body than the chest."


def _doubts_of_view(header: Dataset) -> Iterator[str]:
    view = _word(header, "ViewPosition")
    if view in LATERAL_VIEWS or (not view and _has_lateral_code(header)):
        yield "The file says that it is a lateral view; the runs know frontal films only."
    elif view in OTHER_VIEWS:
        yield f"The file says that the view is {OTHER_VIEWS[view]}; the runs know plain frontal films only."


def _has_lateral_code(header: Dataset) -> bool:
    with _told(DAMAGED):
        items = header.get("ViewCodeSequence") or []
        return any(str(item.get("CodeValue", "")).strip() in LATERAL_CODES for item in items)


def _height_by_width(header: Dataset) -> float:
    """How high a pixel is by its width; 1 where nothing usable says so."""
    for keyword in (*SPACINGS, "PixelAspectRatio"):
        sides = _sides(header, keyword)
        if sides is not None:
            return sides[0] / sides[1]
    return 1.0


def _spacing(header: Dataset) -> tuple[float, float] | None:
    """Height and width of a pixel in millimetres; None where nothing usable says so."""
    return next(filter(None, (_sides(header, keyword) for keyword in SPACINGS)), None)


def _sides(header: Dataset, keyword: str) -> tuple[float, float] | None:
    """Two positive numbers; None where there are none."""
    try:
        value = header.get(keyword)
        sides = tuple(float(side) for side in value) if isinstance(value, MultiValue) and len(value) == 2 else ()
    except Exception:  # what is written there says nothing about the pixels, which are read all the same
        return None
    return sides if sides and all(math.isfinite(side) and side > 0 for side in sides) else None
