"""A DICOM file to its tags and its stored values: what it may hold, its decompression, and reasons to doubt that it
shows a frontal chest X-ray."""

import io
import logging
import math
import re
import struct
import tomllib
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.pixels import get_decoder
from pydicom.tag import BaseTag, Tag
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
from covid_core.formatting import decimals
from covid_core.images.image import LEVELS, MOST_PIXELS, TOO_MUCH_MEMORY, size_refused

logging.getLogger("pydicom").disabled = True  # what it logs of a damaged file may hold a patient's name

TABLES = tomllib.loads(Path(__file__).with_name("tags.toml").read_text(encoding="utf-8"))
KEYWORDS: list[str] = sum(TABLES["keywords"].values(), [])
TAGS: list[BaseTag | int] = [Tag(keyword) for keyword in KEYWORDS]
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing")  # of the image, or else at the detector
SQUARE_WITHIN = 0.01  # of pixels: larger differences between height and width change the proportions of a chest
OTHER_MODALITIES, OTHER_VIEWS = TABLES["other_modalities"], TABLES["other_views"]
FRONTAL_VIEWS: dict[str, str] = {word: view for view, words in TABLES["frontal_views"].items() for word in words}
LATERAL = "LATERAL"
OTHER_PARTS: dict[str, str] = {word: part for part, words in TABLES["other_parts"].items() for word in words}
IMAGE_MODALITIES = frozenset({"CR", "DR", "DX", "RG", "HC", "OT", "SC"})  # the last three do not say what they hold
CHEST_PARTS = (  # beginnings or parts of what hospitals write for a chest, without accents
    *("CHEST", "CXR", "THORA", "TORAX", "TORAC", "LUNG", "PULM", "POITRINE", "PECHO", "PEITO", "BRUSTKORB", "BORSTKAS"),
    *("KLATKA", "ГРУД", "ЛЕГК", "ΘΩΡΑ", "胸", "肺", "흉", "폐"),
)
LATERAL_VIEWS = frozenset({"L", "R", "LL", "RL", "LAT", "LLAT", "RLAT", "PROFIL", "PROFILE", "SEITLICH"})
LATERAL_CODES = frozenset(  # PS3.16 CID 4010: lateral, right lateral, left lateral, sagittal; in SNOMED CT and before
    {"399067008", "399198007", "399173006", "30730003", "R-102CD", "R-10232", "R-10236", "G-A145"}
)
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
UNREADABLE = (  # what pydicom and its plug-ins raise of damaged files; a number out of its range is a ValueError
    *(InvalidDicomError, BytesLengthException, struct.error, zlib.error, OSError, EOFError, LookupError, TypeError),
    *(ValueError, ArithmeticError, AttributeError, RuntimeError, AssertionError, SystemError),
)
DAMAGED = "The DICOM file is damaged or cut off."
NO_IMAGE = "The DICOM file holds no image; it is a report, a plan or a directory, or it was cut off."
CONTRADICTS_BITS = "The DICOM file contradicts itself about the bits of a pixel."
START_OF_EXTENDED = b"\xff\xc1"  # marker of sequential JPEG with Huffman codes, 8 or 12 bits
SEVERAL_FRAMES = "The DICOM file holds {frames} pictures; export the one that is meant as a file of its own."
# One of several frames is never chosen for the user: nothing says which one is meant, and of a cine loop or a
# tomosynthesis none is a chest image.


@contextmanager
def as_sentence(sentence: str) -> Iterator[None]:
    """What goes wrong within becomes one sentence. The errors' texts quote the file, so the cause is dropped."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(TOO_MUCH_MEMORY) from None
    except UNREADABLE:
        raise ImageError(sentence) from None


def parsed(content: bytes, tags: Sequence[BaseTag | int] = TAGS) -> Dataset:
    """Some tags of a file. ``transfer_syntax`` is set on it."""
    has_mark = content[128:132] == b"DICM"
    with as_sentence(DAMAGED):
        syntax, start = _syntax_and_start(content) if has_mark else ("", 0)
        if has_mark and syntax == DeflatedExplicitVRLittleEndian:
            header = read_dataset(io.BytesIO(_inflated(content[start:])), False, True, specific_tags=list(tags))
            header.transfer_syntax = ExplicitVRLittleEndian
            return header
        # Without the mark the caller has seen that the first element is one that files begin with
        header = dcmread(io.BytesIO(content), force=not has_mark, specific_tags=list(tags))
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


def checked(header: Dataset) -> str:
    """The photometric interpretation of a header that describes one image of a size that is read."""
    with as_sentence(DAMAGED):
        if "PixelData" not in header:
            if "FloatPixelData" in header or "DoubleFloatPixelData" in header:
                raise ImageError("The DICOM file holds floating-point numbers, not the greys of an image.")
            raise ImageError(NO_IMAGE)
        height, width = _whole(header, "Rows"), _whole(header, "Columns")
        frames = header.get("NumberOfFrames")
        frames = 1 if frames in (None, "") else int(frames)  # missing or empty in every file of a plain image
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


def decoded(header: Dataset) -> np.ndarray:
    """Pixels as the file has them: integers (height, width), or (height, width, 3) as RGB."""
    syntax = header.transfer_syntax
    uid = UID(syntax)
    try:
        decoder = get_decoder(uid)
    except (NotImplementedError, ValueError):
        decoder = None
    name = uid.name if uid.name != str(uid) and uid.is_transfer_syntax else "of this DICOM file"  # a registered one
    unsupported = f"The compression {name} is not supported; export the image uncompressed."
    if decoder is None or not decoder.is_available:
        raise ImageError(unsupported)
    with as_sentence(DAMAGED):
        if syntax == JPEGExtended12Bit and header.BitsStored > 8:
            return _extended_jpeg(header)
        low_bits = _unused_low_bits(header)
        if low_bits is not None:
            if decoder.is_encapsulated:
                raise ImageError(CONTRADICTS_BITS)
            return _from_high_bits(header, decoder, low_bits)
        pixels, about = decoder.as_array(header, index=0, decoding_plugin=STURDIEST.get(syntax, ""))
    if pixels.ndim == 3 and about["photometric_interpretation"] != "RGB":
        raise ImageError("The image's colours are stored in a way that is not supported; export it in grey.")
    return pixels


def _extended_jpeg(header: Dataset) -> np.ndarray:
    """Greys of lossy 12-bit JPEG, which gdcm reads and pydicom does not let it read."""
    import gdcm

    content = next(generate_frames(header.PixelData, number_of_frames=1))
    start = content.find(START_OF_EXTENDED)
    if header.SamplesPerPixel != 1 or header.BitsAllocated != 16 or header.get("PixelRepresentation"):
        raise ImageError(CONTRADICTS_BITS)
    if start < 0 or struct.unpack(">BHH", content[start + 4 : start + 9]) != (12, header.Rows, header.Columns):
        raise ImageError(DAMAGED)
    fragment, fragments, element = gdcm.Fragment(), gdcm.SequenceOfFragments.New(), gdcm.DataElement()
    fragment.SetByteStringValue(content)
    fragments.AddFragment(fragment)
    element.SetTag(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((header.Columns, header.Rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")  # turned round later, where it is MONOCHROME1
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(JPEGExtended12Bit))))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, 0))
    unpacked = image.GetBuffer().encode("utf-8", "surrogateescape")  # gdcm gives bytes as text
    return np.frombuffer(unpacked, "<u2").reshape(header.Rows, header.Columns)


def _unused_low_bits(header: Dataset) -> int | None:
    """How far the stored bits lie above the lowest ones, by the retired HighBit; None where they do not."""
    high = header.get("HighBit")
    if not isinstance(high, int) or header.SamplesPerPixel != 1 or header.BitsAllocated not in (8, 16):
        return None
    low = high + 1 - header.BitsStored
    if low < 0 or high >= header.BitsAllocated:
        raise ImageError(CONTRADICTS_BITS)
    return low or None


def _from_high_bits(header: Dataset, decoder: Any, low_bits: int) -> np.ndarray:
    raw, _ = decoder.as_array(header, index=0, correct_unused_bits=False)
    bits = int(header.BitsStored)
    grey = (raw.astype(np.int32) >> low_bits) & (2**bits - 1)
    signed: np.ndarray = np.where(grey >= 2 ** (bits - 1), grey - 2**bits, grey)
    return signed if header.get("PixelRepresentation") else grey


def reasons_to_refuse(header: Dataset) -> Iterator[str]:
    """What in the tags says that it is no frontal chest image, a sentence each. A tag that is missing says nothing."""
    modality = _word(header, "Modality")
    if modality in OTHER_MODALITIES:
        yield f"The file says that it comes from {OTHER_MODALITIES[modality]}, not from plain radiography."
    elif modality and modality not in IMAGE_MODALITIES:
        yield "The file says that it comes from something else than plain radiography."
    other = next((OTHER_PARTS[word] for word in _words(header, "BodyPartExamined") if word in OTHER_PARTS), "")
    if other and not _names_chest(header):
        yield f"The file says that it shows {other}, not a chest."
    if _word(header, "PresentationIntentType") == "FOR PROCESSING":
        yield "The file holds the detector's raw image (FOR PROCESSING). Send the processed one (FOR PRESENTATION)."


def reason_of_view(header: Dataset) -> str:
    """Why the view is none that runs know, in a sentence; nothing where it is, or is unknown."""
    view = view_of(header)
    if view == LATERAL:
        return "The file says that it is a lateral view; the runs know frontal images only."
    other = OTHER_VIEWS.get(view, "")
    return f"The file says that the view is {other}; the runs know plain frontal images only." if other else ""


def view_of(header: Dataset) -> str:
    """The view in the field's own spelling: PA, AP, LATERAL, a key of OTHER_VIEWS, or nothing where it is unknown."""
    words, row = _words(header, "ViewPosition"), (*_orientation(header), "")[0]
    if other := next((word for word in words if word in OTHER_VIEWS), ""):
        return other
    if any(word in LATERAL_VIEWS or "LATERAL" in word for word in words):
        return LATERAL
    if words:
        return next((FRONTAL_VIEWS[word] for word in words if word in FRONTAL_VIEWS), "")
    codes = _view_codes(header)
    if row in ("A", "P") or any(
        value in LATERAL_CODES or re.search("(?i)lateral(?!.*decubitus)", meaning) for value, meaning in codes
    ):
        return LATERAL
    return next((FRONTAL_VIEWS[value] for value, _ in codes if value in FRONTAL_VIEWS), "")


def reasons_to_doubt(header: Dataset) -> Iterator[str]:
    """What else in the tags is to be known before an answer is believed, a sentence each."""
    if _word(header, "BurnedInAnnotation") not in ("", "NO"):
        yield "The file says that text is burned into the picture; it may name the patient."
    other = any(word in OTHER_PARTS for word in _words(header, "BodyPartExamined"))
    if _word(header, "BodyPartExamined") and not other and not _names_chest(header):
        yield "The file names its part of the body by a word that is not understood. Check that it shows a chest."
    row, column = (*_orientation(header), "", "")[:2]
    if row == "R":
        yield "The file says that the image is mirrored: the patient's left is on the left. Flip it and read it again."
    if column == "H":
        yield "The file says that the image is upside down. Turn it and read it again."
    if (
        _word(header, "PresentationLUTShape") == "INVERSE"
        and _word(header, "PhotometricInterpretation") == "MONOCHROME2"
    ):
        yield (
            "The file contradicts itself: MONOCHROME2, and yet inverse. It was inverted. Invert it again if it looks "
            "like a negative."
        )
    height, width = _sides(header, *SPACINGS, "PixelAspectRatio") or (1.0, 1.0)
    ratio = height / width
    if abs(ratio - 1) > SQUARE_WITHIN:
        high = f"{decimals(ratio, 2)} times as high as wide"
        yield f"Its pixels are {high}; the image is shown and judged as if they were square."


def _word(header: Dataset, keyword: str) -> str:
    """A code in capital letters; nothing where it is missing or no single text."""
    with as_sentence(DAMAGED):
        value = header.get(keyword)
    return value.strip().upper() if isinstance(value, str) else ""


def _words(header: Dataset, keyword: str) -> list[str]:
    """The letters of a text, first all together, then word by word, in capitals and without accents."""
    text = unicodedata.normalize("NFKD", _word(header, keyword))
    words = re.findall(r"[^\W\d_]+", "".join(filter(lambda sign: not unicodedata.combining(sign), text)))
    return ["".join(words), *words] if words else []


def _names_chest(header: Dataset) -> bool:
    return any(chest in word for chest in CHEST_PARTS for word in _words(header, "BodyPartExamined")[:1])


def _orientation(header: Dataset) -> tuple[str, ...]:
    """The main directions of rows and columns, such as L and F of an upright frontal image; nothing where unknown."""
    with as_sentence(DAMAGED):
        value = header.get("PatientOrientation")
        return tuple(str(one).strip().upper()[:1] for one in value) if isinstance(value, MultiValue) else ()


def _view_codes(header: Dataset) -> list[tuple[str, str]]:
    """Values and meanings of the view's codes."""
    with as_sentence(DAMAGED):
        items = header.get("ViewCodeSequence") or []
        return [(str(item.get("CodeValue", "")).strip(), str(item.get("CodeMeaning", ""))) for item in items]


def spacing(header: Dataset) -> tuple[float, float] | None:
    """Height and width of a pixel in millimetres; None where nothing usable says so."""
    return _sides(header, *SPACINGS)


def _sides(header: Dataset, *keywords: str) -> tuple[float, float] | None:
    """The first of some tags that holds two positive numbers; None where none does."""
    for keyword in keywords:
        try:
            value = header.get(keyword)
            sides = [float(side) for side in value] if isinstance(value, MultiValue) else []
        except UNREADABLE:  # what is written there says nothing about the pixels, which are read all the same
            continue
        if len(sides) == 2 and all(math.isfinite(side) and side > 0 for side in sides):
            return sides[0], sides[1]
    return None
