"""Reasons to doubt that a DICOM file shows a frontal chest X-ray, and the sides of its pixels."""

import math
from collections.abc import Iterator

from pydicom import Dataset
from pydicom.multival import MultiValue

from covid_core.images.dicom.header import DAMAGED, TABLES, as_sentence

SPACINGS = ("PixelSpacing", "ImagerPixelSpacing")  # of the image, or else at the detector
SQUARE_WITHIN = 0.01  # of pixels: larger differences between height and width change the proportions of a chest
OTHER_MODALITIES, OTHER_PARTS, OTHER_VIEWS = (TABLES[f"other_{name}"] for name in ("modalities", "parts", "views"))
IMAGE_MODALITIES = frozenset({"CR", "DR", "DX", "RG", "HC", "OT", "SC"})  # the last three do not say what they hold
CHEST_PARTS = ("CHEST", "THORA", "TORAX", "LUNG", "PULM")  # beginnings or parts of what hospitals write for a chest
LATERAL_VIEWS = frozenset({"LL", "RL", "LATERAL", "LAT", "LLAT", "RLAT"})
LATERAL_CODES = frozenset(  # PS3.16 CID 4010: lateral, right lateral, left lateral, sagittal; in SNOMED CT and before
    {"399067008", "399198007", "399173006", "30730003", "R-102CD", "R-10232", "R-10236", "G-A145"}
)


def reasons_to_refuse(header: Dataset) -> Iterator[str]:
    """What in the tags says that it is no frontal chest image, a sentence each. A tag that is missing says nothing."""
    yield from _doubts_of_modality(_word(header, "Modality"))
    yield from _doubts_of_part(_word(header, "BodyPartExamined"))
    yield from _doubts_of_view(header)


def reasons_to_doubt(header: Dataset) -> Iterator[str]:
    """What else in the tags is to be known before an answer is believed, a sentence each."""
    if _word(header, "BurnedInAnnotation") not in ("", "NO"):
        yield "The file says that text is burned into the picture; it may name the patient."
    ratio = _height_by_width(header)
    if abs(ratio - 1) > SQUARE_WITHIN:
        yield f"Its pixels are {ratio:.2f} times as high as wide; the image is shown and judged as if they were square."


def _word(header: Dataset, keyword: str) -> str:
    """A code in capital letters; nothing where it is missing or no single text."""
    with as_sentence(DAMAGED):
        value = header.get(keyword)
    return value.strip().upper() if isinstance(value, str) else ""


def _doubts_of_modality(modality: str) -> Iterator[str]:
    if modality in OTHER_MODALITIES:
        yield f"The file says that it comes from {OTHER_MODALITIES[modality]}, not from plain radiography."
    elif modality and modality not in IMAGE_MODALITIES:
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
        yield "The file says that it is a lateral view; the runs know frontal images only."
    elif view in OTHER_VIEWS:
        yield f"The file says that the view is {OTHER_VIEWS[view]}; the runs know plain frontal images only."


def _has_lateral_code(header: Dataset) -> bool:
    with as_sentence(DAMAGED):
        items = header.get("ViewCodeSequence") or []
        return any(str(item.get("CodeValue", "")).strip() in LATERAL_CODES for item in items)


def _height_by_width(header: Dataset) -> float:
    """How high a pixel is by its width; 1 where nothing usable says so."""
    for keyword in (*SPACINGS, "PixelAspectRatio"):
        sides = _sides(header, keyword)
        if sides is not None:
            return sides[0] / sides[1]
    return 1.0


def spacing(header: Dataset) -> tuple[float, float] | None:
    """Height and width of a pixel in millimetres; None where nothing usable says so."""
    return next(filter(None, (_sides(header, keyword) for keyword in SPACINGS)), None)


def _sides(header: Dataset, keyword: str) -> tuple[float, float] | None:
    """Two positive numbers; None where there are none."""
    try:
        value = header.get(keyword)
        if not isinstance(value, MultiValue) or len(value) != 2:
            return None
        sides = float(value[0]), float(value[1])
    except Exception:  # what is written there says nothing about the pixels, which are read all the same
        return None
    return sides if all(math.isfinite(side) and side > 0 for side in sides) else None
