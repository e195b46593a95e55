"""A round trip with Orthanc: images by DICOMweb to command line and page, and results back into the study of the image.

What names the patient is in Orthanc and in files that somebody asked for, and nowhere in the workspace or a log.
"""

import io
import json
import os
import sys
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
import services
import states
from app_server import ROOT, App
from made_dicom import as_dicom
from playwright.sync_api import Browser, Page, expect

from covid_core.commands import main
from covid_core.images.codec import read_image
from covid_core.runs.store import Run
from covid_core.workspace import Workspace

PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"  # of Debian's package orthanc-dicomweb
IMAGES = 3
PATIENT = {"PatientID": "CANARY-4711", "PatientBirthDate": "19610203", "PatientSex": "F", "StudyDate": "20240131"}
STUDY = "1.2.826.7001"
USER, PASSWORD = "reader", "open-to-nobody"


class Orthanc:
    """The address of one that runs, and what is in it."""

    def __init__(self, port: int):
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, body: bytes | None = None) -> bytes:
        login = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(self.url + path, body, {"Authorization": f"Basic {login}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            content: bytes = answer.read()
        return content

    def results(self) -> list[pydicom.Dataset]:
        """The files of the study that are no radiographs, by modality."""
        names: list[str] = json.loads(self.get("/instances"))
        files = [pydicom.dcmread(io.BytesIO(self.get(f"/instances/{name}/file"))) for name in names]
        return sorted((one for one in files if one.Modality != "DX"), key=lambda one: str(one.Modality))


@pytest.fixture(scope="module")
def run(place: Workspace, copy_of_trained: Any) -> Run:
    trained: Run = copy_of_trained(place)
    return trained


@pytest.fixture
def orthanc(place: Workspace, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Orthanc]:
    """With a study of a few images, each a series."""
    assert Path(PLUGIN).is_file(), "orthanc-dicomweb is not installed; .ci/run --full installs it"
    port = services.free_port()
    settings = {
        "StorageDirectory": str(tmp_path / "db"),
        "IndexDirectory": str(tmp_path / "db"),
        "Plugins": [PLUGIN],
        "HttpPort": port,
        "DicomServerEnabled": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    with services.running([services.program("Orthanc"), str(tmp_path / "orthanc.json")], port, tmp_path / "log"):
        made = Orthanc(port)
        for number, path in enumerate(sorted(place.datasets.glob("*/files/COVID/images/*.png"))[:IMAGES]):
            tags = PATIENT | {"StudyInstanceUID": STUDY, "SeriesInstanceUID": f"{STUDY}.{number}"}
            tags |= {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1", "SOPInstanceUID": f"{STUDY}.{number}.1"}
            made.get("/instances", as_dicom(read_image(path).pixels, **tags))
        monkeypatch.setenv("COVID_CORE_HOME", str(place.root))
        monkeypatch.setenv("COVID_CORE_PACS", f"orthanc={made.url}/dicom-web")
        monkeypatch.setenv("COVID_CORE_PACS_LOGIN_ORTHANC", f"{USER}:{PASSWORD}")
        yield made


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A browser session of its own; the test starts the app, which has to know Orthanc."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        yield context.new_page()


def answered(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main.main([*words, "--json"]) == 0
    printed = capsys.readouterr()
    assert "CANARY" not in printed.out + printed.err
    answer: dict[str, Any] = json.loads(printed.out)
    return answer


def places_that_name(folder: Path, *words: str) -> list[Path]:
    """Files below a folder that hold one of the words."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in paths if any(word.encode() in path.read_bytes() for word in words)]


def test_a_study_is_fetched_predicted_and_its_results_are_in_orthanc(orthanc, run, place, tmp_path, capsys):
    fetched = answered(capsys, "fetch", "orthanc", "--study", STUDY, "--to", str(tmp_path / "images"))
    assert len(fetched["files"]) == IMAGES
    predicted = answered(capsys, "predict", run.id, *fetched["files"])
    answers = [row["file"] for row in predicted["images"] if not row["refused_by"]]
    assert answers
    sent = answered(capsys, "send", run.id, *answers, "--pacs", "orthanc")
    assert all(row["stored"] for row in sent["results"])
    results = orthanc.results()
    assert [one.Modality for one in results] == ["OT"] * len(answers) + ["SR"] * len(answers)
    assert {(one.PatientID, one.StudyInstanceUID) for one in results} == {(PATIENT["PatientID"], STUDY)}
    assert {one.SeriesDescription for one in results} == {"RESEARCH, NOT FOR DIAGNOSIS"}
    again = answered(capsys, "fetch", "orthanc", "--query", "PatientID=CANARY-*", "--to", str(tmp_path / "again"))
    assert len(again["files"]) == IMAGES  # results are no radiographs
    assert not places_that_name(place.root, "CANARY", "Canary", STUDY, PASSWORD)


def test_a_query_becomes_a_data_set_without_what_names_the_patient(orthanc, place, tmp_path, capsys):
    answered(capsys, "fetch", "orthanc", "--query", "StudyDate=20240101-20240229", "--to", str(tmp_path / "set" / "A"))
    made = answered(capsys, "import", str(tmp_path / "set"))
    assert made["counts"] == {"A": IMAGES}
    assert not places_that_name(place.root, "CANARY", "Canary", STUDY)


def test_on_the_page_images_are_fetched_and_a_result_is_sent_by_a_button(orthanc, run, place, page: Page, tmp_path):
    app = App(tmp_path / "app")  # whose name no command of Orthanc holds: what has it is ended with the app
    app.home.mkdir()
    environment = {**os.environ, "COVID_CORE_HOME": str(place.root), "KERAS_HOME": str(app.home)}
    app.start([sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py")], environment=environment)
    try:
        page.goto(f"{app.url}/predict")
        page.get_by_role("button", name="From a PACS").click()
        page.get_by_label("Study Instance UID").fill(STUDY)
        page.get_by_role("button", name="Fetch from orthanc").click()
        expect(page.get_by_text(f"{IMAGES} images", exact=True)).to_be_visible()
        states.idle(page)
        page.keyboard.press("Escape")
        assert orthanc.results() == []
        page.get_by_role("button", name="Send the result to orthanc").click()
        page.get_by_role("button", name="Store them in orthanc").click()
        expect(page.get_by_text("Stored in orthanc.")).to_be_visible()
        expect(page.get_by_role("button", name="Send the result to orthanc")).to_have_count(0)
    finally:
        app.kill()
        app.kill_workers()
    assert [one.Modality for one in orthanc.results()] == ["OT", "SR"]
    assert not places_that_name(place.root, "CANARY", "Canary", STUDY, PASSWORD)
    assert "CANARY" not in app.log.read_text() and PASSWORD not in app.log.read_text()
