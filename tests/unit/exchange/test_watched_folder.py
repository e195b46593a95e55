"""A folder in which images arrive, assessed by a trained run."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_dicom import as_dicom

from covid_core.commands import main
from covid_core.errors import DataError, InvalidChoice
from covid_core.exchange import watched_folder
from covid_core.exchange.watched_folder import WatchedFolder
from covid_core.images.codec import read_image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(place, copy_of_trained):
    return copy_of_trained(place)


@pytest.fixture
def image(place) -> bytes:
    """A DICOM file that names a patient."""
    (path, *_) = sorted(place.datasets.glob("*/files/COVID/images/*.png"))
    return as_dicom(read_image(path).pixels, PatientID="CANARY-4711")


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "arrivals"
    made.mkdir()
    return made


@pytest.fixture
def watched(place, run, folder) -> Iterator[WatchedFolder]:
    made = WatchedFolder(place, run, folder)
    yield made
    made.close()


def arrived(watched: WatchedFolder) -> list[str]:
    return [answer["file"] for answer in watched.arrivals()]


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]


def test_a_file_is_answered_once_and_only_when_it_no_longer_grows(watched, folder, image):
    path = folder / "a.dcm"
    path.write_bytes(image[:50_000])
    assert arrived(watched) == []
    path.write_bytes(image)
    assert arrived(watched) == []
    assert [arrived(watched), arrived(watched)] == [["a.dcm"], []]
    (line,) = lines(folder)
    assert line["predicted"] in line["probabilities"] and line["run"] == watched.run.id


def test_files_in_folders_below_are_answered_and_others_are_left(watched, folder, image):
    (folder / "ward").mkdir()
    (folder / "ward" / "IM000001").write_bytes(image)
    (folder / "notes.txt").write_text("no image")
    (folder / ".a.dcm").write_bytes(image)
    assert [arrived(watched), arrived(watched)] == [[], ["ward/IM000001"]]


def test_a_restart_does_nothing_twice_but_for_a_file_that_was_replaced(watched, place, run, folder, image):
    for name in ("a.dcm", "b.dcm"):
        (folder / name).write_bytes(image)
    assert [arrived(watched), len(arrived(watched))] == [[], 2]
    watched.close()
    (folder / "b.dcm").write_bytes(image + b"\0\0")
    again = WatchedFolder(place, run, folder)
    assert [arrived(again), arrived(again)] == [[], ["b.dcm"]]
    again.close()


def test_after_a_crash_in_a_line_that_file_is_answered_again(watched, place, run, folder, image):
    (folder / "a.dcm").write_bytes(image)
    assert [arrived(watched), len(arrived(watched))] == [[], 1]
    watched.close()
    watched.answers.write_bytes(watched.answers.read_bytes()[:-40])
    again = WatchedFolder(place, run, folder)
    assert [arrived(again), arrived(again)] == [[], ["a.dcm"]]
    again.close()
    assert json.loads(again.answers.read_bytes().splitlines()[-1])["file"] == "a.dcm"


def test_a_file_that_cannot_be_read_gets_its_reason_and_no_numbers(watched, folder, image):
    (folder / "a.dcm").write_bytes(image[:50_000])
    assert [arrived(watched), len(arrived(watched))] == [[], 1]
    (line,) = lines(folder)
    assert line["error"] and "scores" not in line


def test_two_do_not_watch_for_the_same_answers(watched, place, run, folder):
    with pytest.raises(InvalidChoice):
        WatchedFolder(place, run, folder)


def test_a_folder_that_is_not_there_is_refused(place, run, tmp_path):
    with pytest.raises(DataError):
        WatchedFolder(place, run, tmp_path / "nowhere")


def test_the_verb_answers_elsewhere_until_it_is_interrupted_and_names_no_patient(
    place, run, folder, image, tmp_path, monkeypatch, capsys
):
    (folder / "a.dcm").write_bytes(image)
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setenv("COVID_CORE_HOME", str(place.root))
    monkeypatch.setattr(watched_folder, "pause", pause)
    assert main.main(["watch", run.id, str(folder), "--to", str(tmp_path / "answers"), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["images"] == 1
    assert [line["file"] for line in lines(tmp_path / "answers")] == ["a.dcm"] and lines(folder) == []
    written = [path.read_bytes() for path in [*(tmp_path / "answers").iterdir(), place.root / "activity.jsonl"]]
    assert not [text for text in (printed.out.encode(), printed.err.encode(), *written) if b"canary" in text.lower()]
