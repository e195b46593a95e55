"""What a run makes of a DICOM image, as two DICOM files of the same study: a structured report and a picture.

The report follows TID 1500 (PS3.16), one measurement group per class: its calibrated probability, or its score where
the run is not calibrated, which is then what the report calls it, and whether it is in the prediction set. Run, model
file and image are named. The picture is a secondary capture of image, heat map and prediction. Both are marked as
research, not for diagnosis, in the header and, of the picture, in the pixels too. An image without a
prediction gets neither.
"""

import importlib.util
import io
import textwrap
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from covid_core import __version__, files
from covid_core.errors import ImageError, InvalidChoice, cause
from covid_core.formatting import share
from covid_core.images.codec import DICOM, fitted, kind_of, written
from covid_core.inference.assessment import Assessment, warnings_of
from covid_core.inference.heatmap import overlaid
from covid_core.reports import evidence_text, image_report, prediction_text
from covid_core.runs.store import Run
from covid_core.workspace import Workspace

MARK = "Research, not for diagnosis"
SYNTHETIC = "Trained on synthetic images: a prediction for a real image means nothing."
LACKING = 'A result for a PACS needs highdicom: python -m pip install "second-look[dicom-net]"'
NO_DICOM = "A result for a PACS needs a DICOM image; this file is not one."
SCHEME = "99SECLOOK"  # of codes that are ours: names of classes, probability and score
REPORT_SERIES, CAPTURE_SERIES = 9901, 9902  # numbers of series that hospitals hardly use
LONGEST_CODE, LONGEST_MEANING = 16, 64  # characters of a code's value (SH) and meaning (LO)
EXPLICIT = "1.2.840.10008.1.2.1"  # transfer syntax: uncompressed, with types
SIDE = 640  # pixels of a panel of the picture, at most
NARROWEST = 320  # pixels of a panel, so that its letters have room
LARGE, SMALL = 22, 15  # pixels of letters
PER_LETTER = 0.55  # of their height, at most, on the average of a line


class Result(NamedTuple):
    """Two DICOM files as bytes, and the beginning of their names, which names nobody."""

    report: bytes
    capture: bytes
    mark: str

    @property
    def files(self) -> dict[str, bytes]:
        return {f"{self.mark}-report.dcm": self.report, f"{self.mark}-capture.dcm": self.capture}


def check_available() -> None:
    """Raise InvalidChoice, with the way out, where the library that writes results is not installed."""
    if importlib.util.find_spec("highdicom") is None:
        raise InvalidChoice(LACKING)


def of(run: Run, assessment: Assessment, content: bytes) -> Result:
    """The result of an image that a run has predicted.

    Args:
        run: the run.
        assessment: of the image, with the image and its heat maps.
        content: the DICOM file that the image was read from.

    Raises ImageError where there is no prediction, or the file is no DICOM image or names no study; InvalidChoice as
    ``check_available``.
    """
    check_available()
    if assessment.error or assessment.refused_by:
        why = assessment.error or prediction_text.check(assessment.refused_by)
        raise ImageError(f"No result was written: the image has no prediction. {why}")
    if kind_of(content[:256]) != DICOM:
        raise ImageError(NO_DICOM)
    from covid_core.images.dicom.source import source_of  # pydicom takes a second to import

    source = source_of(content)
    sentences = _sentences(run, assessment)
    return Result(
        _bytes(_report(run, assessment, source, sentences)),
        _bytes(_capture(_picture(assessment, sentences), source)),
        image_report.mark_of(assessment.image),
    )


def write(workspace: Workspace, result: Result, folder: Path) -> list[Path]:
    """Write both files into a folder outside the workspace, for they name the patient. Raises InvalidChoice."""
    check_outside(workspace, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in result.files.items():
            files.write_bytes(folder / name, content)
    except OSError as error:
        raise InvalidChoice(f"No result can be written into {folder}: {cause(error)}.") from error
    return [folder / name for name in result.files]


def check_outside(workspace: Workspace, folder: Path) -> None:
    """Raise InvalidChoice for a folder in the workspace, which holds nothing that names a patient."""
    if folder.resolve().is_relative_to(workspace.root.resolve()):
        raise InvalidChoice("DICOM files name patients: none is written into the workspace. Name another folder.")


def _sentences(run: Run, assessment: Assessment) -> list[str]:
    """Prediction, figures and all that has to stand beside them; nothing of them names anybody."""
    notes = prediction_text.notes([assessment], [evidence_text.of(run)], with_names=False)
    return [
        *filter(None, prediction_text.verdict([assessment])),
        *([SYNTHETIC] if run.dataset.synthetic else []),
        *warnings_of([assessment]),
        *(text for text, passed in prediction_text.checks([assessment]) if passed is None),
        *(note.text for note in notes),
        f"Read: {'; '.join(assessment.done) or 'as it is'}.",
        f"Second Look {__version__}, run {run.id}.",
    ]


def _report(run: Run, one: Assessment, source: Any, sentences: Sequence[str]) -> Any:
    from highdicom import UID, sr

    numeral = sr.CodedConcept("1", "UCUM", "no units")
    name = {"probability": "Calibrated probability", "score": "Uncalibrated score"}[one.scale]
    algorithm = sr.AlgorithmIdentification(
        "Second Look",
        __version__,
        [f"run {run.id}", f"model SHA-256 {run.result.get('model_sha256') or run.result['head_sha256']}"],
        manufacturer="Second Look",
    )
    image = sr.SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID)
    groups = [
        sr.MeasurementsAndQualitativeEvaluations(
            sr.TrackingIdentifier(UID(), label[:LONGEST_MEANING]),
            finding_type=_code(label),
            algorithm_id=algorithm,
            measurements=[sr.Measurement(_code(name), value, numeral)],
            qualitative_evaluations=_membership(one, label),
            source_images=[image],
        )
        for label, value in one.by_class(one.numbers).items()
    ]
    device = sr.DeviceObserverIdentifyingAttributes(
        UID.from_uuid(str(uuid.uuid5(uuid.NAMESPACE_URL, f"second-look:{run.id}"))),
        name="Second Look",
        model_name=run.id,
    )
    observer = sr.ObserverContext(sr.CodedConcept("121007", "DCM", "Device"), device)
    content = sr.MeasurementReport(
        sr.ObservationContext(observer_device_context=observer),
        sr.CodedConcept("399208008", "SCT", "Plain chest X-ray"),
        groups,
    )
    comment = sr.TextContentItem(
        sr.CodedConcept("121106", "DCM", "Comment"),
        " ".join([f"{MARK}.", *sentences]),
        sr.RelationshipTypeValues.CONTAINS,
    )
    content[0].ContentSequence.append(comment)  # TID 1500 is extensible
    return sr.EnhancedSR([source], content[0], series_number=REPORT_SERIES, is_complete=True, **_equipment())


def _membership(one: Assessment, label: str) -> list[Any] | None:
    """Whether a class is in the prediction set; None where the run has no sets."""
    from highdicom import sr

    if one.prediction_set is None:
        return None
    is_in = label in one.possible
    answer = sr.CodedConcept("373066001", "SCT", "Yes") if is_in else sr.CodedConcept("373067005", "SCT", "No")
    name = f"In the prediction set at {share(one.coverage, 0)} coverage"
    return [sr.QualitativeEvaluation(_code(name, "PREDICTION-SET"), answer)]


def _code(meaning: str, value: str = "") -> Any:
    """A code of our own scheme. A long value goes where DICOM has long ones; a backslash would part values."""
    from highdicom import sr

    meaning = meaning.replace("\\", "/")
    return sr.CodedConcept(value or meaning, SCHEME, meaning[:LONGEST_MEANING])


def _equipment() -> dict[str, Any]:
    """What both files have: new identifiers of their own, who made them, and the mark."""
    from highdicom import UID

    return {
        "series_instance_uid": UID(),
        "sop_instance_uid": UID(),
        "instance_number": 1,
        "manufacturer": "Second Look",
        "manufacturer_model_name": "Second Look",
        "software_versions": __version__,
        "series_description": MARK.upper(),
        "content_qualification": "RESEARCH",
        "specific_character_set": "ISO_IR 192",  # Unicode, whatever the source has
    }


def _capture(picture: np.ndarray, source: Any) -> Any:
    from highdicom import sc

    made = sc.SCImage.from_ref_dataset(
        source,
        picture,
        "RGB",
        8,
        "PATIENT",
        patient_orientation=("L", "F"),
        series_number=CAPTURE_SERIES,
        transfer_syntax_uid=EXPLICIT,
        **_equipment(),
    )
    made.PatientOrientation = None  # of image, map and letters together; highdicom wants one
    made.BodyPartExamined = "CHEST"
    made.ImageComments = MARK
    made.DerivationDescription = f"{MARK}: image, heat map and prediction"
    made.BurnedInAnnotation = source.BurnedInAnnotation or None  # as in the image, which the picture holds
    made.SourceImageSequence = [type(source)()]
    made.SourceImageSequence[0].ReferencedSOPClassUID = source.SOPClassUID
    made.SourceImageSequence[0].ReferencedSOPInstanceUID = source.SOPInstanceUID
    return made


def _picture(one: Assessment, sentences: Sequence[str]) -> np.ndarray:
    """The image beside its heat map, the mark above and below, and the sentences: uint8 (height, width, 3)."""
    shown = fitted(one.image.pixels, SIDE)
    heat = overlaid(shown, one.heat(one.label, shown.shape), image_report.OPACITY)
    missing = max(NARROWEST - shown.shape[1], 0)
    panels = [np.pad(panel, ((0, 0), (0, missing), (0, 0))) for panel in (np.dstack([shown] * 3), heat)]
    both = np.hstack(panels)
    width = both.shape[1]
    texts = [f"Right: heat map for {one.label}, what raised its {one.scale}.", *sentences]
    bands = [_band([MARK.upper()], LARGE, width), both, _band(texts, SMALL, width), _band([MARK.upper()], LARGE, width)]
    return np.vstack(bands)


def _band(texts: Sequence[str], letters: int, width: int) -> np.ndarray:
    """Lines of text over the whole width, bright on black as in a reading room."""
    lines = [line for text in texts for line in textwrap.wrap(text, int(width / (letters * PER_LETTER)))]
    band = written(lines, letters, width, (letters + 4) * len(lines) + 4)
    return np.dstack([255 - band] * 3)


def _bytes(dataset: Any) -> bytes:
    """A DICOM file."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
