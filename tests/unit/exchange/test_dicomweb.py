"""Images from a PACS and results to it, against a real HTTP server that may answer in odd ways."""

import json
import logging
from collections.abc import Iterator

import numpy as np
import pytest
from dicomweb_server import NAME, PATIENT, STUDY, Service, listed, send, service
from made_dicom import as_dicom
from services import free_port

from covid_core.access import Role, activity
from covid_core.errors import InvalidChoice, NotPermitted, PacsError
from covid_core.exchange.pacs import dicomweb, servers
from covid_core.images.codec import png_bytes

QUERY = {"PatientID": PATIENT}


def image(seed: int = 0) -> bytes:
    return as_dicom(np.random.default_rng(seed).integers(0, 255, (64, 64)).astype(np.uint8), PatientID=PATIENT)


@pytest.fixture
def pacs(monkeypatch) -> Iterator[Service]:
    with service() as made:
        monkeypatch.setenv("COVID_CORE_PACS", f"{NAME}={made.address}")
        made.files = [("DX", image())]
        yield made


def fetched(workspace, query=QUERY, most=9, most_bytes=10**9) -> list[bytes]:
    found = dicomweb.images(workspace, servers.named(NAME), query, most, most_bytes)
    return [one.content for one in found]


def test_plain_radiographs_of_a_query_come_as_they_are_stored_and_each_once(pacs, workspace):
    pacs.files = [("DX", image(1)), ("SR", image(2)), ("CR", image(3)), ("DX", image(1))]
    assert fetched(workspace) == [image(1), image(3)]
    assert pacs.requests[0][1] == f"/studies?PatientID={PATIENT}"


def test_a_wildcard_stays_one(pacs, workspace):
    fetched(workspace, {"PatientID": "CANARY-*", "PatientName": "A B&C"})
    assert pacs.requests[0][1] == "/studies?PatientID=CANARY-*&PatientName=A%20B%26C"


def test_files_are_stored_as_they_are(pacs, workspace):
    dicomweb.store(workspace, servers.named(NAME), [image(1), image(2)])
    assert pacs.stored == [image(1), image(2)]


def test_a_file_that_does_not_come_in_an_envelope_is_taken(pacs, workspace):
    pacs.answers = {"instances/": lambda request: send(request, image(5), "application/dicom")}
    assert fetched(workspace) == [image(5)]


def drip(request) -> None:
    request.send_response(200)
    request.end_headers()
    try:
        while True:
            request.wfile.write(b" " * 100)
    except OSError:  # whoever asked has had enough
        return


def elsewhere(request) -> None:
    request.send_response(302)
    request.send_header("Location", "http://localhost:1/studies")
    request.end_headers()


ODD = {
    "a web page": ("^/studies$", lambda request: send(request, b"<html>", "text/html")),
    "an object": ("^/studies$", lambda request: send(request, b"{}")),
    "numbers": ("^/studies$", lambda request: send(request, b"[1, 2]")),
    "deep nesting": ("^/studies$", lambda request: send(request, b"[" * 100_000)),
    "no identifier": ("^/studies$", lambda request: send(request, b"[{}]")),
    "a path as identifier": ("^/studies$", lambda request: send(request, listed([{"0020000D": "../../admin"}]))),
    "a list that does not end": ("^/studies$", drip),
    "a file that does not end": ("instances/", drip),
    "a redirect": ("^/studies$", elsewhere),
    "no sign-in": ("^/studies$", lambda request: send(request, PATIENT.encode(), status=401)),
    "an error": ("instances/", lambda request: send(request, PATIENT.encode(), status=500)),
    "a PNG file": ("instances/", lambda request: send(request, png_bytes(np.eye(64, dtype=np.uint8)), "image/png")),
    "an envelope without a file": (
        "instances/",
        lambda request: send(request, b"--b--", "multipart/related; boundary=b"),
    ),
    "an envelope without a boundary": ("instances/", lambda request: send(request, image(), "multipart/related")),
    "nothing that matches": ("^/studies$", lambda request: send(request, b"", status=204)),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_answer_is_one_sentence_that_quotes_nothing(pacs, workspace, monkeypatch, caplog, odd):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(dicomweb, "LARGEST_LIST", 10_000)
    monkeypatch.setattr(dicomweb, "LARGEST_FILE", 200_000)
    pacs.answers = dict([ODD[odd]])
    with pytest.raises(PacsError) as error:
        fetched(workspace)
    assert PATIENT not in str(error.value) and "127.0.0.1" not in str(error.value) and STUDY not in str(error.value)
    assert PATIENT not in caplog.text


def test_a_redirect_is_not_followed(pacs, workspace):
    with service() as other:

        def to_other(request) -> None:
            request.send_response(307)
            request.send_header("Location", f"{other.address}/studies")
            request.end_headers()

        pacs.answers = {"^/studies$": to_other}
        with pytest.raises(PacsError):
            fetched(workspace)
        assert other.requests == []


def test_a_pacs_that_sends_nothing_is_given_up(pacs, workspace, monkeypatch):
    monkeypatch.setattr(dicomweb, "WAIT", 0.2)
    pacs.answers = {"^/studies$": lambda request: pacs.ended.wait(60)}
    with pytest.raises(PacsError):
        fetched(workspace)


def test_a_pacs_that_sends_too_slowly_is_given_up(pacs, workspace, monkeypatch):
    def slow(request) -> None:
        request.send_response(200)
        request.end_headers()
        while not pacs.ended.wait(0.02):
            try:
                request.wfile.write(b" ")
            except OSError:  # whoever asked has had enough
                return

    monkeypatch.setattr(dicomweb, "SECONDS", 0.3)
    pacs.answers = {"^/studies$": slow}
    with pytest.raises(PacsError, match=r"0\.3 seconds"):
        fetched(workspace)


def test_a_pacs_that_is_not_there_is_one_sentence(workspace, monkeypatch):
    monkeypatch.setenv("COVID_CORE_PACS", f"{NAME}=http://127.0.0.1:{free_port()}")
    with pytest.raises(PacsError) as error:
        fetched(workspace)
    assert PATIENT not in str(error.value)


def test_a_list_that_is_only_a_part_is_refused(pacs, workspace):
    def part(request) -> None:
        request.send_response(200)
        request.send_header("Warning", '299 made: "There are 7 additional results that can be requested"')
        request.end_headers()
        request.wfile.write(listed([{"0020000D": STUDY}]))

    pacs.answers = {"^/studies$": part}
    with pytest.raises(PacsError):
        fetched(workspace)


@pytest.mark.parametrize(("most", "most_bytes"), [(1, 10**9), (9, 10_000)])
def test_too_many_images_or_bytes_are_refused(pacs, workspace, most, most_bytes):
    pacs.files = [("DX", image(1)), ("DX", image(2))]
    with pytest.raises(PacsError):
        fetched(workspace, most=most, most_bytes=most_bytes)


@pytest.mark.parametrize("query", [{}, {"PatientID": ""}, {"PatientID&x": "1"}], ids=str)
def test_a_query_without_a_key_or_a_value_asks_nobody(pacs, workspace, query):
    with pytest.raises(InvalidChoice):
        fetched(workspace, query)
    assert pacs.requests == []


@pytest.mark.parametrize(("status", "answer"), [(200, {"00081198": {"Value": [{}]}}), (202, {}), (200, [])], ids=str)
def test_a_result_that_was_not_stored_whole_is_an_error(pacs, workspace, status, answer):
    pacs.answers = {"^/studies$": lambda request: send(request, json.dumps(answer).encode(), status=status)}
    with pytest.raises(PacsError):
        dicomweb.store(workspace, servers.named(NAME), [image()])


def test_a_viewer_may_neither_fetch_nor_send_and_the_log_names_no_patient(pacs, workspace, acts):
    fetched(workspace)
    acts(Role.VIEWER)
    for action in (fetched, lambda place: dicomweb.store(place, servers.named(NAME), [image()])):
        with pytest.raises(NotPermitted):
            action(workspace)
    lines = activity.lines(workspace, 9)
    assert [line.what for line in lines] == [NAME] * 3
    assert pacs.stored == []
    assert "CANARY" not in (workspace.root / activity.FILE).read_text()


# The setting


@pytest.mark.parametrize(
    "entry", ["http://pacs.example.org", "made=http://pacs.example.org", "made=file:///etc", "made=https://u:p@host/x"]
)
def test_an_address_that_is_not_safe_is_refused(monkeypatch, entry):
    monkeypatch.setenv("COVID_CORE_PACS", entry)
    with pytest.raises(InvalidChoice):
        servers.configured()


def test_only_a_pacs_of_the_setting_is_asked(pacs):
    with pytest.raises(InvalidChoice):
        servers.named(pacs.address)


@pytest.mark.parametrize(
    ("login", "header"), [("ada:open", "Basic YWRhOm9wZW4="), ("Bearer s3cret", "Bearer s3cret"), ("", "")]
)
def test_a_login_is_sent_and_shown_nowhere(pacs, workspace, monkeypatch, login, header):
    monkeypatch.setenv("COVID_CORE_PACS_LOGIN_MADE", login)
    fetched(workspace)
    assert {request[2] for request in pacs.requests} == {header}
    assert not login or login not in repr(servers.named(NAME))


def test_a_file_of_logins_is_for_its_owner_alone(pacs, monkeypatch, tmp_path):
    path = tmp_path / "logins.toml"
    path.write_text(f'{NAME} = "ada:open"')
    path.chmod(0o644)
    monkeypatch.setenv("COVID_CORE_PACS_LOGINS", str(path))
    with pytest.raises(InvalidChoice):
        servers.named(NAME)
    path.chmod(0o600)
    assert servers.named(NAME).login == "ada:open"


def test_a_damaged_file_of_logins_is_not_quoted(pacs, monkeypatch, tmp_path):
    path = tmp_path / "logins.toml"
    path.write_text("s3cret")
    path.chmod(0o600)
    monkeypatch.setenv("COVID_CORE_PACS_LOGINS", str(path))
    with pytest.raises(InvalidChoice) as error:
        servers.named(NAME)
    assert "s3cret" not in str(error.value)
