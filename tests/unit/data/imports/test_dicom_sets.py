"""Data sets of DICOM and TIFF files: the greys that Predict reads, the facts of the header, and nothing personal."""

import os
import signal
import stat
import zipfile
from io import BytesIO

import numpy as np
import pytest
from made_dicom import as_dicom
from PIL import Image

from covid_core.data import dataset as data
from covid_core.data.imports import conversion, importing
from covid_core.data.pixels import decode_rows
from covid_core.errors import Stopped
from covid_core.images.codec import png_bytes, read_image
from covid_core.images.sandbox import Sandbox
from covid_core.reports import layout_text

TAGS = {
    "BodyPartExamined": "CHEST",
    "PatientSex": "F",
    "PatientAge": "018M",
    "Manufacturer": "Maker",
    "ManufacturerModelName": "Maker 5",
}


def chest(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (40, 48), np.uint8)


def tiff(pixels: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels.astype(np.uint16) * 257).save(buffer, "TIFF")
    return buffer.getvalue()


def put(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.fixture
def hospital(tmp_path):
    """Two classes of DICOM files as archives name them, two images per patient."""
    files = {}
    for number in range(8):
        label = "COVID" if number < 4 else "Normal"
        name = (f"IM00000{number}", f"{number}.dcm", f"1.2.840.113.{number}", f"IMG-0001-0000{number}")[number % 4]
        files[f"{label}/{name}"] = as_dicom(chest(number), PatientID=f"Canary{number // 2}", **TAGS)
    return put(tmp_path / "hospital", files)


@pytest.fixture
def imported(workspace, hospital):
    return importing.import_path(workspace, hospital)


def test_a_data_set_holds_the_greys_that_predict_reads_of_the_same_file(imported, hospital):
    assert imported.counts == {"COVID": 4, "Normal": 4}
    for row, name in enumerate(imported.images["image_id"]):
        expected = read_image((hospital / name).read_bytes()).pixels
        assert np.array_equal(read_image(imported.path_of(row)).pixels, expected)
    assert decode_rows(imported, range(8), 32).shape == (8, 32, 32)


def test_patients_are_keyed_hashes_and_nothing_personal_stays(workspace, imported):
    assert imported.images["patient_id"].nunique() == 4
    assert imported.images["patient_id"].str.fullmatch("[0-9a-f]{16}").all()
    for path in workspace.root.rglob("*"):
        assert path.is_dir() or b"Canary" not in path.read_bytes()
    key = workspace.root / "patients.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_bytes()) == 32


def test_a_patient_has_one_hash_in_a_workspace_and_another_in_another(workspace, imported, hospital, tmp_path):
    from covid_core.workspace import Workspace

    again = importing.import_path(workspace, hospital)
    elsewhere = importing.import_path(Workspace(tmp_path / "elsewhere"), hospital)
    assert again.images["patient_id"].equals(imported.images["patient_id"])
    assert not set(elsewhere.images["patient_id"]) & set(imported.images["patient_id"])


def test_view_sex_age_device_and_spacing_are_columns(imported):
    columns = ["view", "sex", "age", "device", "spacing"]
    assert imported.images[columns].drop_duplicates().to_numpy().tolist() == [["PA", "F", "1.5", "Maker 5", "0.2"]]


def test_an_age_is_computed_from_the_dates_of_birth_and_study(workspace, tmp_path):
    dates = {"PatientBirthDate": "19600615", "StudyDate": "20200614", "PatientID": "1"}
    root = put(tmp_path / "set", {f"{label}/1.dcm": as_dicom(chest(n), **dates) for n, label in enumerate("AB")})
    assert importing.import_path(workspace, root).images["age"].tolist() == ["59", "59"]


@pytest.mark.parametrize("stand_in", ["ANONYMOUS", "0000", "H7"])
def test_one_id_for_all_images_of_several_classes_is_no_patient(workspace, tmp_path, stand_in):
    files = {f"{label}/1.dcm": as_dicom(chest(n), PatientID=stand_in) for n, label in enumerate("AB")}
    assert not importing.import_path(workspace, put(tmp_path / "set", files)).images["patient_id"].any()


def test_a_lateral_view_is_imported_with_its_view_and_other_reasons_leave_out(workspace, hospital):
    refused = {
        "hand.dcm": as_dicom(chest(10), BodyPartExamined="HAND"),
        "ct.dcm": as_dicom(chest(11), Modality="CT"),
        "raw.dcm": as_dicom(chest(12), PresentationIntentType="FOR PROCESSING"),
        "frames.dcm": as_dicom(chest(13), NumberOfFrames=2),
        "cut.dcm": as_dicom(chest(14))[:-400],
    }
    taken = {"lateral.dcm": as_dicom(chest(15), ViewPosition="LL")}
    put(hospital / "COVID", refused | taken)
    imported = importing.import_path(workspace, hospital)
    assert set(imported.left_out["path"]) == {f"COVID/{name}" for name in refused}
    views = imported.images.set_index("image_id")["view"]
    assert views["COVID/lateral.dcm"] == "LATERAL"
    assert imported.left_out["reason"].str.len().min() > 20


def test_other_files_of_a_mixed_tree_are_linked_beside(workspace, hospital):
    put(hospital / "Normal", {"plain.png": png_bytes(chest(20)), "scan.tif": tiff(chest(21))})
    put(
        hospital / "Normal/masks", {"scan.tif": tiff(np.uint8(chest(22) > 90) * 255), "plain.png": png_bytes(chest(23))}
    )
    imported = importing.import_path(workspace, hospital)
    images = imported.images.set_index("image_id")
    assert imported.info["root"] is None
    assert (imported.root / images.at["Normal/plain.png", "path"]).samefile(hospital / "Normal/plain.png")
    scan = images.loc["Normal/scan.tif"]
    assert np.array_equal(read_image(imported.root / scan["path"]).pixels, chest(21))
    assert set(np.unique(read_image(imported.root / scan["mask_path"]).pixels)) == {0, 255}


def test_an_archive_leaves_nothing_of_its_dicom_files(workspace, hospital, imported):
    archive = hospital.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(hospital.rglob("*")):
            packed.write(path, path.relative_to(hospital))
        packed.writestr("DICOMDIR", as_dicom(chest(30)))
    unpacked = importing.import_path(workspace, archive)
    assert unpacked.version == imported.version
    assert {path.suffix for path in unpacked.root.rglob("*") if path.is_file()} == {".png"}
    assert not list(workspace.uploads.iterdir())


def test_a_name_that_says_another_kind_does_not_matter(workspace, image_folder):
    root = image_folder({"A": 2, "B": 2})
    put(root, {"A/film.png": as_dicom(chest(40)), "B/film.dcm": png_bytes(chest(41))})
    imported = importing.import_path(workspace, root)
    assert imported.counts == {"A": 3, "B": 3}
    assert dict(zip(imported.images["image_id"], imported.images["mode"], strict=True))["A/film.png"] == "MONOCHROME1"


def test_a_file_that_holds_its_reader_up_is_left_out_alone(workspace, hospital, monkeypatch):
    """The reader is stopped where it would begin with that file, so that no file has to hold it up by itself."""
    worst, read = as_dicom(chest(50)), Sandbox.read_image

    def read_image(sandbox, content, **choices):
        if content == worst:
            os.kill(sandbox.processes()[0], signal.SIGSTOP)
        return read(sandbox, content, **choices)

    monkeypatch.setattr(Sandbox, "read_image", read_image)
    monkeypatch.setattr(conversion, "SECONDS", 1.5)
    for module in (conversion, importing):
        monkeypatch.setattr(module, "cores", lambda: 1)
    imported = importing.import_path(workspace, put(hospital, {"Normal/worst.dcm": worst}))
    assert imported.left_out["path"].tolist() == ["Normal/worst.dcm"]
    assert imported.counts == {"COVID": 4, "Normal": 4}


def test_a_stop_leaves_nothing_behind(workspace, hospital):
    def stop(_share, message):
        if message.startswith("Reading"):
            raise Stopped

    with pytest.raises(Stopped):
        importing.import_path(workspace, hospital, progress=stop)
    assert not data.list_datasets(workspace)
    assert not list(workspace.uploads.iterdir())
    assert not list(workspace.pixels.iterdir())


def test_what_was_done_to_the_pixels_and_what_speaks_against_an_image_stay_with_it(workspace, hospital):
    burned = as_dicom(chest(20), BurnedInAnnotation="YES", **TAGS)
    put(hospital / "COVID", {"plain.png": png_bytes(chest(21))})
    put(hospital / "Normal", {"burned.dcm": burned, "grey.tif": tiff(chest(22))})
    imported = importing.import_path(workspace, hospital)
    reading = imported.images.set_index("image_id")["reading"].str.split("\n")
    assert "MONOCHROME1" in reading["Normal/burned.dcm"][0]
    assert reading["COVID/plain.png"] == [""]
    assert {name: len(lines) for name, lines in reading.items() if len(lines) > 1} == {"Normal/burned.dcm": 2}
    assert [text.partition(":")[0] for text in layout_text.doubts(imported)] == ["1 image"]
