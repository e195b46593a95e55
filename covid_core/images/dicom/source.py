"""What a result refers to and whom it is about, from the DICOM file of its image. It is for that result alone."""

import warnings
from collections.abc import Callable
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.uid import UID
from pydicom.valuerep import DA, TM

from covid_core.errors import ImageError
from covid_core.images.dicom.header import DAMAGED, TABLES, UNREADABLE, as_sentence, parsed

REFERENCES: list[str] = TABLES["source"]["references"]
IDENTIFIERS: list[str] = TABLES["source"]["identifiers"]
SEXES = ("M", "F", "O")
VALID: dict[str, Callable[[Any], object]] = {
    "DA": DA,
    "TM": TM,
    "PN": lambda name: "=".join(name.components),  # as text, not in the bytes of the file
}
NO_REFERENCE = "The DICOM file does not say which image of which study it is, so that no result can refer to it."


def source_of(content: bytes) -> Dataset:
    """Identifiers of patient, study, series and image, as text of Unicode, of a file that ``dicom.read`` has taken.

    What is missing or not valid is empty. Raises ImageError where image, series or study have no identifier.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of what it finds in tags
        header = parsed(content, [Tag(keyword) for keyword in (*REFERENCES, *IDENTIFIERS)])
        source = Dataset()
        for keyword in REFERENCES:
            with as_sentence(DAMAGED):
                value = header.get(keyword)
            if not isinstance(value, UID) or not value.is_valid:
                raise ImageError(NO_REFERENCE)
            setattr(source, keyword, value)
        for keyword in IDENTIFIERS:
            setattr(source, keyword, _valid(header, keyword))
        if source.PatientSex not in SEXES:
            source.PatientSex = ""
    return source


def _valid(header: Dataset, keyword: str) -> object:
    """A single value as text; "" where there is none, or none that may be written."""
    try:
        value = header.get(keyword)
        return VALID.get(dictionary_VR(keyword), str)(value) if value and not isinstance(value, MultiValue) else ""
    except UNREADABLE:
        return ""
