"""A DICOMweb client: images that a query finds (QIDO-RS, WADO-RS), and files stored (STOW-RS); DICOM PS3.18.

The client of the library dicomweb-client 0.61 was tried. It reads every file with pydicom in this process, asks in a
way that Orthanc refuses for the plain bytes, repeats requests, has no limit of bytes, and quotes addresses, which name
patients, in its errors. Here bytes stay as they are until ``images.sandbox`` reads them, and every answer has a limit
of bytes and of time. No redirect is followed: it could lead to any host. No text quotes an address or an answer.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from email.message import Message
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from covid_core import access
from covid_core.errors import InvalidChoice, PacsError
from covid_core.exchange.pacs.servers import Server
from covid_core.formatting import count, file_size, plural
from covid_core.images.codec import DICOM, LARGEST_FILE, kind_of
from covid_core.work import Progress, silent
from covid_core.workspace import Workspace

logging.getLogger("urllib3.connectionpool").disabled = True  # what it logs of an odd answer holds the query

WAIT = 10.0  # seconds without a byte
SECONDS = 60.0  # for one answer
LARGEST_LIST = 16 * 2**20  # bytes; 10,000 series with their tags take half of it
CHUNK = 2**16
MODALITIES = frozenset({"CR", "DX", "DR", "RG"})  # of series that hold plain radiographs; results come back as others
UID = re.compile(r"[0-9.]{1,64}")
KEYWORD = re.compile(r"[A-Za-z]{2,64}")
STUDY, SERIES, INSTANCE, MODALITY = "0020000D", "0020000E", "00080018", "00080060"  # tags in DICOM JSON
STUDY_QUERY = "StudyInstanceUID"
FAILED = "00081198"
LISTS = "application/dicom+json"
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
REFUSALS = {
    400: "does not understand the query; check its keys and values",
    401: "refuses the sign-in; check COVID_CORE_PACS_LOGIN_NAME, or the file of COVID_CORE_PACS_LOGINS",
    403: "does not allow this",
    404: "has nothing there; check its address and the study",
    409: "did not take the files",
    413: "does not take files of that size",
}


class Fetched(NamedTuple):
    """A file as a PACS sent it. ``name`` is made of a hash of its bytes, and names nobody."""

    name: str
    content: bytes


def images(
    workspace: Workspace,
    server: Server,
    query: Mapping[str, str],
    most: int,
    most_bytes: int,
    progress: Progress = silent,
) -> Iterator[Fetched]:
    """The plain radiographs of all studies that a query matches, one after the other, each once.

    Args:
        workspace: in whose log it is noted, without the query.
        server: the PACS.
        query: values by keyword of DICOM, as QIDO-RS takes them (PS3.18 10.6): StudyInstanceUID, PatientID,
            StudyDate=20240101-20240131 and others.
        most, most_bytes: the most images and bytes.

    Raises PacsError where the PACS or an answer of it is at fault, or there is no image or too many; InvalidChoice for
    no query; NotPermitted.
    """
    access.check(workspace, access.PACS, what=server.name)
    if not query or not all(KEYWORD.fullmatch(key) and value for key, value in query.items()):
        raise InvalidChoice("A query needs one key or more, each with a value, such as PatientID=VALUE.")
    done, size, hashes = 0, 0, set[str]()
    with _session(server) as session:
        places = list(islice(_places(session, server, query), most + 1))
        if not places:
            raise PacsError(f"The PACS {server.name} has no plain radiograph (CR or DX) that matches. Check the query.")
        if len(places) > most:
            raise PacsError(f"The query matches more than {plural(most, 'image')}. Narrow it.")
        for done, place in enumerate(places, 1):
            content = _file(session, server, place)
            size += len(content)
            if size > most_bytes:
                raise PacsError(f"The images have more than {file_size(most_bytes)}. Narrow the query.")
            digest = hashlib.sha256(content).hexdigest()
            progress(done / len(places), f"Fetching: {count(done)} of {plural(len(places), 'image')}")
            if digest not in hashes:
                hashes.add(digest)
                yield Fetched(f"{digest[:16]}.dcm", content)
    access.note(workspace, f"fetch {plural(done, 'image')} from a PACS", server.name)


def store(workspace: Workspace, server: Server, contents: Sequence[bytes]) -> None:
    """Have a PACS store DICOM files, all of them. Raises PacsError, NotPermitted."""
    access.check(workspace, access.PACS, what=server.name)
    mark = uuid.uuid4().hex
    parts = [f"--{mark}\r\nContent-Type: application/dicom\r\n\r\n".encode() + one + b"\r\n" for one in contents]
    headers = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={mark}', "Accept": LISTS}
    with _session(server) as session:
        body = b"".join([*parts, f"--{mark}--\r\n".encode()])
        status, _, answer = _answer(session, server, "/studies", LARGEST_LIST, headers, body=body)
    failed = _json(server, answer, dict).get(FAILED) if answer else None
    if status != 200 or (isinstance(failed, dict) and failed.get("Value")):  # 202: some were not stored
        raise PacsError(f"The PACS {server.name} did not store the whole result.")
    access.note(workspace, "send a result to a PACS", server.name)


def _places(session: requests.Session, server: Server, query: Mapping[str, str]) -> Iterator[str]:
    """Paths of the instances of all series with plain radiographs."""
    for study in _list(session, server, "/studies", query):
        of_study = f"/studies/{_uid(server, study, STUDY)}"
        for series in _list(session, server, f"{of_study}/series", {}):
            if _value(series, MODALITY) in MODALITIES:
                of_series = f"{of_study}/series/{_uid(server, series, SERIES)}"
                for instance in _list(session, server, f"{of_series}/instances", {}):
                    yield f"{of_series}/instances/{_uid(server, instance, INSTANCE)}"


def _list(session: requests.Session, server: Server, path: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
    status, headers, answer = _answer(session, server, path, LARGEST_LIST, {"Accept": LISTS}, query)
    if "299" in headers.get("Warning", ""):  # PS3.18 8.3.4.4: there are more than it lists
        raise PacsError(f"The PACS {server.name} lists only a part of the matches. Narrow the query.")
    entries = [] if status == 204 or not answer else _json(server, answer, list)
    if not all(isinstance(entry, dict) for entry in entries):
        raise _garbage(server)
    return entries


def _json(server: Server, content: bytes, kind: type) -> Any:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):  # nothing of an answer is quoted
        value = None
    if not isinstance(value, kind):
        raise _garbage(server)
    return value


def _garbage(server: Server) -> PacsError:
    return PacsError(f"The PACS {server.name} does not answer in DICOMweb. Check its address.")


def _value(entry: Mapping[str, Any], tag: str) -> str:
    values = entry[tag].get("Value") if isinstance(entry.get(tag), dict) else None
    return values[0] if isinstance(values, list) and values and isinstance(values[0], str) else ""


def _uid(server: Server, entry: Mapping[str, Any], tag: str) -> str:
    """An identifier that becomes part of a path: digits and dots alone."""
    value = _value(entry, tag)
    if not UID.fullmatch(value):
        raise _garbage(server)
    return value


def _file(session: requests.Session, server: Server, path: str) -> bytes:
    """The one file of an answer, which may come in an envelope of one part."""
    _, headers, content = _answer(session, server, path, LARGEST_FILE + CHUNK, {"Accept": AS_STORED})
    header = Message()
    header["Content-Type"] = headers.get("Content-Type", "")
    if header.get_content_maintype() == "multipart":
        mark = f"--{header.get_boundary('')}".encode()
        _, _, content = content.partition(mark)[2].partition(b"\r\n\r\n")
        content = content[: max(content.rfind(b"\r\n" + mark), 0)]
        if b"\r\n" + mark in content:
            raise _garbage(server)
    if kind_of(content) != DICOM:
        raise PacsError(f"The PACS {server.name} sent a file that is no DICOM file.")
    return content


@contextlib.contextmanager
def _session(server: Server) -> Iterator[requests.Session]:
    """A connection that signs in by what is set for this PACS, and by nothing that other programs have set."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True  # of a hospital that signs its own certificates
        session.headers["Accept-Encoding"] = "identity"  # so that bytes on the wire are the bytes that are counted
        if server.login.startswith("Bearer "):
            session.headers["Authorization"] = server.login
        elif server.login:
            user, _, password = server.login.partition(":")
            session.auth = user.encode(), password.encode()
        yield session


def _answer(
    session: requests.Session,
    server: Server,
    path: str,
    most: int,
    headers: Mapping[str, str],
    query: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and content of an answer of at most so many bytes. Raises PacsError."""
    name, begin = f"The PACS {server.name}", time.monotonic()
    options = {"timeout": WAIT, "allow_redirects": False, "stream": True, "headers": headers}
    method = "GET" if body is None else "POST"
    try:
        # Orthanc takes no wildcard that is written as %2A
        asked = urlencode(query or {}, quote_via=quote, safe="*?,")
        with session.request(method, server.address + path, params=asked, data=body, **options) as response:
            if response.is_redirect:
                raise PacsError(f"{name} redirects to another address. Set that address in COVID_CORE_PACS.")
            if response.status_code >= 300:
                why = REFUSALS.get(response.status_code, f"answers with the error {response.status_code}")
                raise PacsError(f"{name} {why}.")
            content = bytearray()
            while chunk := response.raw.read1(CHUNK, decode_content=False):
                content += chunk
                if len(content) > most:
                    raise PacsError(f"{name} sends more than {file_size(most)} in one answer.")
                if time.monotonic() - begin > SECONDS:
                    raise PacsError(f"{name} took longer than {SECONDS:g} seconds for one answer.")
            return response.status_code, response.headers, bytes(content)
    except requests.exceptions.SSLError:
        raise PacsError(
            f"{name} has a certificate that is not trusted. Set REQUESTS_CA_BUNDLE to your certificates."
        ) from None
    except (requests.Timeout, ReadTimeoutError):
        raise PacsError(f"{name} sent nothing for {WAIT:g} seconds. Try again later.") from None
    except (requests.RequestException, HTTPError, OSError):  # their texts quote the address
        raise PacsError(
            f"{name} cannot be reached, or closed the connection. Check its address and the network."
        ) from None
