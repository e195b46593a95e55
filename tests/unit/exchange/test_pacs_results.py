"""The structured report and the picture of a result, read back as a PACS would."""

import io
from typing import Any

import numpy as np
import pydicom
import pytest
from made_assessments import REFUSED, assessment, grey
from made_dicom import as_dicom
from made_runs import all_parts, made_run

from covid_core.errors import ImageError, InvalidChoice
from covid_core.exchange.pacs import results
from covid_core.images.codec import png_bytes, read_image

SIZES = {"train": 12, "validation": 6, "test": 6}
HASH = "ab" * 32
REFERENCES = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1",
    "SOPInstanceUID": "1.2.826.7001.1.1",
    "SeriesInstanceUID": "1.2.826.7001.1",
    "StudyInstanceUID": "1.2.826.7001",
}
PATIENT = {
    "PatientName": "Canary^Patient",
    "PatientID": "CANARY-4711",
    "PatientBirthDate": "19610203",
    "PatientSex": "F",
    "AccessionNumber": "CANARY-ACC",
    "StudyID": "CANARY-7",
    "StudyDate": "20240131",
    "StudyTime": "101500",
    "ReferringPhysicianName": "Canary^Doctor",
}


@pytest.fixture
def run(workspace):
    return made_run(workspace, all_parts(SIZES, 1), "One", result={"model_sha256": HASH, "head_sha256": HASH})


def source(**tags: Any) -> bytes:
    return as_dicom(grey().pixels, **REFERENCES, **PATIENT | tags)


def heat(_label: str, shape: tuple[int, int]) -> np.ndarray:
    return np.eye(*shape, dtype=np.float32)


def result(run, content: bytes | None = None, **more: Any) -> results.Result:
    return results.of(run, assessment(image=grey(), heat=heat, **more), source() if content is None else content)


def read(content: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(content))


def items(node: pydicom.Dataset, meaning: str) -> list[pydicom.Dataset]:
    """All content items of a concept, at any depth."""
    found = []
    for item in node.get("ContentSequence", []):
        found += [item] if item.ConceptNameCodeSequence[0].CodeMeaning == meaning else []
        found += items(item, meaning)
    return found


def test_the_report_is_one_of_measurements_with_a_group_per_class(run):
    report = read(result(run).report)
    assert (report.Modality, report.ContentTemplateSequence[0].TemplateIdentifier) == ("SR", "1500")
    groups = items(report, "Measurement Group")
    assert [items(one, "Finding")[0].ConceptCodeSequence[0].CodeMeaning for one in groups] == [
        "COVID",
        "Normal",
        "Viral Pneumonia",
    ]
    images = [items(one, "Source of Measurement")[0].ReferencedSOPSequence[0] for one in groups]
    assert {one.ReferencedSOPInstanceUID for one in images} == {REFERENCES["SOPInstanceUID"]}


@pytest.mark.parametrize(
    ("calibrated", "name", "other"),
    [
        (True, "Calibrated probability", "Uncalibrated score"),
        (False, "Uncalibrated score", "Calibrated probability"),
    ],
)
def test_a_number_is_called_a_probability_only_where_it_is_calibrated(run, calibrated, name, other):
    report = read(result(run, calibrated=calibrated).report)
    values = [float(one.MeasuredValueSequence[0].NumericValue) for one in items(report, name)]
    expected = assessment(calibrated=calibrated).numbers
    assert values == pytest.approx([float(value) for value in expected])
    assert items(report, other) == []


def test_the_report_says_which_classes_are_in_the_prediction_set(run):
    report = read(result(run, possible=("COVID", "Normal")).report)
    told = items(report, "In the prediction set at 90 % coverage")
    assert [one.ConceptCodeSequence[0].CodeMeaning for one in told] == ["Yes", "Yes", "No"]
    assert items(read(result(run, possible=None).report), "In the prediction set at 90 % coverage") == []


def test_the_report_names_the_run_and_the_hash_of_its_model(run):
    told = {one.TextValue for one in items(read(result(run).report), "Algorithm Parameters")}
    assert told == {f"run {run.id}", f"model SHA-256 {HASH}"}


@pytest.mark.parametrize("kind", ["report", "capture"])
def test_both_are_of_the_study_and_the_patient_of_the_image_in_a_series_of_their_own(run, kind):
    file = read(getattr(result(run), kind))
    assert {name: str(file[name].value) for name in PATIENT} == PATIENT
    assert file.StudyInstanceUID == REFERENCES["StudyInstanceUID"]
    assert file.SeriesInstanceUID not in REFERENCES.values() and file.SOPInstanceUID not in REFERENCES.values()


@pytest.mark.parametrize("kind", ["report", "capture"])
def test_both_are_marked_as_research_in_their_header(run, kind):
    file = read(getattr(result(run), kind))
    assert file.SeriesDescription == "RESEARCH, NOT FOR DIAGNOSIS"
    assert (file.ContentQualification, file.get("VerificationFlag", "UNVERIFIED")) == ("RESEARCH", "UNVERIFIED")
    texts = [one.TextValue for one in items(file, "Comment")] or [file.ImageComments]
    assert all(text.startswith("Research, not for diagnosis") for text in texts)


def test_the_picture_holds_image_map_and_the_mark_in_its_pixels(run):
    file = read(result(run).capture)
    picture = file.pixel_array
    band = results._band(["RESEARCH, NOT FOR DIAGNOSIS"], results.LARGE, picture.shape[1])
    assert np.array_equal(picture[: len(band)], band) and np.array_equal(picture[-len(band) :], band)
    assert band.max() > 200
    pixels, rows = grey().pixels, slice(len(band), len(band) + 60)
    assert np.array_equal(picture[rows, :80, 0], pixels)
    assert not np.array_equal(picture[rows, 320:400, 0], pixels)
    assert file.SourceImageSequence[0].ReferencedSOPInstanceUID == REFERENCES["SOPInstanceUID"]


def test_the_picture_is_read_by_this_reader_too(run):
    assert read_image(result(run).capture).pixels.shape[1] == 2 * results.NARROWEST


def test_a_name_in_other_letters_is_the_same_name_afterwards(run):
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    content = source(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName=name)
    assert {str(read(one).PatientName) for one in result(run, content).files.values()} == {name}


def test_what_is_missing_or_not_valid_in_the_image_is_empty(run):
    with pytest.warns(UserWarning):
        content = source(PatientSex="?", PatientBirthDate="long ago", StudyDate=None, PatientID=["a", "b"])
    for one in map(read, result(run, content).files.values()):
        assert not any(one[name].value for name in ("PatientSex", "PatientBirthDate", "StudyDate", "PatientID"))
        assert one.PatientName == "Canary^Patient"


@pytest.mark.parametrize("label", ["Пневмония", "a\\b", "x" * 90], ids=["letters", "backslash", "long"])
def test_any_name_of_a_class_can_be_written(run, label):
    made = result(run, classes=(label, "Normal", "Other"), possible=(label,))
    code = items(read(made.report), "Finding")[0].ConceptCodeSequence[0]
    assert code.CodeMeaning == label.replace("\\", "/")[:64]


def test_nobody_is_named_by_text_or_file_names(run):
    made = result(run, name="Canary^Patient.dcm")
    comment = items(read(made.report), "Comment")[0].TextValue
    assert not any("CANARY" in text.upper() for text in (comment, *made.files))


@pytest.mark.parametrize(
    "refused", [{"checks": REFUSED}, {"checks": REFUSED, "anyway": True}, {"error": "It is torn."}]
)
def test_an_image_without_an_answer_gets_no_result(run, refused):
    with pytest.raises(ImageError):
        result(run, **refused)


@pytest.mark.parametrize("missing", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_an_image_of_no_study_gets_no_result(run, missing):
    with pytest.raises(ImageError):
        result(run, as_dicom(grey().pixels, **{**REFERENCES, **PATIENT, missing: None}))


def test_a_picture_that_is_no_dicom_file_gets_no_result(run):
    with pytest.raises(ImageError):
        result(run, png_bytes(grey().pixels))


def test_results_are_written_outside_the_workspace_alone(run, workspace, tmp_path):
    written = results.write(workspace, result(run), tmp_path / "results")
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == sorted(path.name for path in written)
    with pytest.raises(InvalidChoice):
        results.write(workspace, result(run), workspace.root / "results")
    assert not [path for path in workspace.root.rglob("*.dcm")]


def test_without_the_library_there_is_one_command(run, monkeypatch):
    monkeypatch.setattr(results.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidChoice, match=r"second-look\[dicom-net\]"):
        result(run)
