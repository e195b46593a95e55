"""What the command line says of files: the checks, the answer, the reports; what needs a look first on top."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_dicom import PATIENT, as_dicom
from made_runs import COURSE_SIZES, all_parts, made_run

from covid_core.commands import main
from covid_core.images.codec import GreyImage, png_bytes
from covid_core.inference.assessment import _done
from covid_core.inference.network import Head
from covid_core.inference.predictor import Predictor, _sets_of
from covid_core.runs import temperature_scaling

IMAGE = np.random.default_rng(3).integers(0, 255, (64, 80)).astype(np.uint8)


class Trunk:
    """A network that finds the same in every image."""

    def maps(self, images: np.ndarray) -> list[np.ndarray]:
        return [np.ones((len(images), 2, 2, 1), np.float32)]


@pytest.fixture
def run(workspace, monkeypatch):
    head = Head("mean", (np.array([[3.0, 1.0, 0.0]], np.float32),), (np.zeros(3, np.float32),))

    def opened(_workspace, run) -> Predictor:
        return Predictor(run.classes, 32, Trunk(), head, calibration=temperature_scaling.of(run), sets=_sets_of(run))

    monkeypatch.setattr(Predictor, "open", opened)
    return made_run(workspace, all_parts(COURSE_SIZES, 2), halved=True)


@pytest.fixture
def files(tmp_path):
    """An image, a DICOM image, a hand, and no image at all, by name."""
    content = {
        "image.png": png_bytes(IMAGE),
        "IM0001": as_dicom(IMAGE),
        "hand": as_dicom(IMAGE, BodyPartExamined="HAND"),
        "letter.png": b"Dear colleague",
    }
    for name, bytes_ in content.items():
        (tmp_path / name).write_bytes(bytes_)
    return {name: str(tmp_path / name) for name in content}


@pytest.fixture
def asked(run, capsys):
    def ask(*words: str) -> dict:
        main.main(["predict", run.id, *words, "--json"])
        return json.loads(capsys.readouterr().out)

    return ask


def test_a_dicom_image_is_answered_with_the_classes_that_stay_possible(asked, files):
    (row,) = asked(files["IM0001"])["images"]
    assert row["answer"] == "COVID, not Normal or Viral Pneumonia."
    assert row["possible"] == ["COVID"]
    assert row["predicted"] == "COVID"
    assert any("MONOCHROME1" in note for note in row["done"])


def test_what_the_file_says_is_no_chest_gets_its_reason_and_no_numbers(asked, files):
    (row,) = asked(files["hand"])["images"]
    assert row["answer"] == "I do not know."
    assert row["refused_by"] == "frontal chest image"
    assert row["figures"] == "The file says that it shows a hand, not a chest."
    assert [row[name] for name in ("predicted", "possible", "probabilities", "scores", "logits")] == [None] * 5


def test_who_asks_for_numbers_anyway_gets_them_with_the_failed_check(asked, files):
    (row,) = asked(files["hand"], "--anyway")["images"]
    assert row["refused_by"] == "frontal chest image"
    assert row["scores"]["COVID"] > 0.8
    assert row["although"].startswith("Shown although a check failed: The file says that it shows a hand")


def test_the_failed_check_stands_beside_the_numbers_on_the_terminal_too(run, files, capsys):
    main.main(["predict", run.id, files["hand"], "--anyway"])
    assert "Shown although a check failed: The file says that it shows a hand" in capsys.readouterr().out


def test_every_check_is_told_in_words(asked, files):
    (row,) = asked(files["hand"])["images"]
    assert [check["in_words"] for check in row["checks"]][0] == row["figures"]
    assert all(check["in_words"] for check in row["checks"])


def test_reports_that_cannot_be_written_are_refused_in_a_sentence(run, files, capsys):
    assert main.main(["predict", run.id, files["image.png"], "--report", files["letter.png"]]) == 1
    assert "No report can be written into" in capsys.readouterr().err


def test_a_file_that_was_not_read_has_no_numbers_anyway(asked, files):
    told = asked(files["letter.png"], "--anyway")
    (row,) = told["images"]
    assert set(row) == {"file", "error"}
    assert told["failed"]


def test_what_needs_a_look_first_stands_first(asked, files):
    rows = asked(*files.values())["images"]
    assert [row["file"].rpartition("/")[2] for row in rows][:2] == ["letter.png", "hand"]


def test_checks_that_could_not_be_made_are_told_as_such(asked, files):
    (row,) = asked(files["image.png"])["images"]
    assert {check["outcome"] for check in row["checks"]} == {"Not checked"}


def test_on_the_terminal_an_answer_without_checks_says_so_once(run, files, capsys):
    main.main(["predict", run.id, files["image.png"]])
    printed = capsys.readouterr().out
    assert "Frontal chest image and like the training images? This could not be checked: the run keeps no" in printed
    assert printed.count("could not be checked") == 1


def test_more_coverage_keeps_more_classes(asked, files):
    few, many = (asked(files["image.png"], "--coverage", share)["images"][0]["possible"] for share in ("0.7", "0.99"))
    assert set(few) <= set(many)


def test_a_coverage_that_cannot_be_had_is_refused(run, files, capsys):
    assert main.main(["predict", run.id, files["image.png"], "--coverage", "1.5"]) == 1
    assert "The coverage must be 70 % to 99 %" in capsys.readouterr().err


def test_each_image_gets_a_report_that_names_neither_file_nor_patient(asked, files, tmp_path):
    rows = asked(files["IM0001"], "--report", str(tmp_path / "reports"))["images"]
    text = Path(rows[0]["report"]).read_text(encoding="utf-8")
    assert "COVID, not Normal or Viral Pneumonia." in text
    assert PATIENT.partition("^")[0] not in text and "IM0001" not in text
    assert "IM0001" not in rows[0]["report"]


def test_a_report_says_whether_its_heat_map_means_anything(asked, files, tmp_path):
    rows = asked(files["image.png"], "--report", str(tmp_path))["images"]
    text = Path(rows[0]["report"]).read_text(encoding="utf-8")
    assert "The test of the heat map is inconclusive: the images that it needs cannot be read" in text


def test_no_tag_of_the_patient_is_in_the_answer(asked, files):
    assert PATIENT.partition("^")[0] not in json.dumps(asked(files["IM0001"]))


def test_a_square_image_is_resized_and_any_other_squashed():
    done = [_done(GreyImage(np.zeros(shape, np.uint8), "L"), 32) for shape in ((64, 64), (64, 80))]
    assert done == [("64 x 64 pixels resized to 32 x 32",), ("80 x 64 pixels squashed to 32 x 32",)]
