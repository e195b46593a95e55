"""What a DICOM header says of an image for a data set: patient (as a keyed hash), sex, age, view, device, spacing."""

import hashlib
import hmac
import re
import warnings

from pydicom import Dataset
from pydicom.tag import Tag

from covid_core.images.dicom.header import TABLES, TAGS, UNREADABLE, parsed, reasons_to_refuse, spacing, view_of

FACT_TAGS = [Tag(keyword) for keyword in TABLES["facts"]["keywords"]]
HASH_LENGTH = 16  # hexadecimal digits
NO_PATIENT = re.compile(r"(?i)(anon|unknown|none|removed|de-?ident|no ?id)[a-z]*|[0\W_]*")  # what stands for an ID
LONGEST = 64  # characters of a device, as PS3.5 has them


def facts_of(content: bytes, key: bytes) -> dict[str, str]:
    """Facts of a DICOM file that ``dicom.read`` has taken: patient, sex, age, view, device, spacing, "" for unknown.

    ``refused`` says why a data set does not take the image; a view that is not frontal is a fact, and no reason.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of what it finds in tags
        header = parsed(content, [*TAGS, *FACT_TAGS])
        maker, model = (_text(header, keyword) for keyword in ("Manufacturer", "ManufacturerModelName"))
        patient, sides = _text(header, "PatientID"), spacing(header)
        return {
            "patient": "" if NO_PATIENT.fullmatch(patient) else hash_of_patient(patient, key),
            "sex": _text(header, "PatientSex"),
            "age": _age(header),
            "view": view_of(header),
            "device": (model if model.lower().startswith(maker.lower()) else f"{maker} {model}".strip())[:LONGEST],
            "spacing": " x ".join(dict.fromkeys(f"{side:.4g}" for side in sides)) if sides else "",
            "refused": " ".join(reasons_to_refuse(header)),
        }


def hash_of_patient(patient: str, key: bytes) -> str:
    return hmac.new(key, patient.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:HASH_LENGTH]


def _text(header: Dataset, keyword: str) -> str:
    """A text in one line; nothing where it is missing or cannot be read, which says nothing about the pixels."""
    try:
        value = header.get(keyword)
    except UNREADABLE:
        return ""
    return " ".join(str(value or "").replace("\0", " ").split())


def _age(header: Dataset) -> str:
    """As DICOM writes it (``062Y``); where it is missing, from the dates of birth and study."""
    age = _text(header, "PatientAge").upper()
    if re.fullmatch(r"\d{1,3}[YMWD]", age):
        return age
    dates = [re.sub(r"\D", "", _text(header, keyword)) for keyword in ("StudyDate", "PatientBirthDate")]
    if any(len(date) != 8 for date in dates):
        return ""
    years = (int(dates[0]) - int(dates[1])) // 10_000
    return f"{years:03d}Y" if years >= 0 else ""
