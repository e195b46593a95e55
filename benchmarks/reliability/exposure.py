"""What a running server shows to strangers: figures for the score card, by sockets and not by a library's client.

Each function takes a port or a process of a server on this machine, and returns what was seen.
"""

import http.client
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import psutil

from pages.server.guard import HEADERS

ROOT = Path(__file__).resolve().parents[2]
STREAM = "/_stcore/stream"
PATIENCE = 10.0  # seconds
OPENED, REFUSED = 101, 403
PATHS = ("/", "/train", "/nothing/there", "/_stcore/health", "/_stcore/host-config", "/media/none", "/favicon.png")
ROLES = "tests/unit/core/test_rights.py"


def websocket_matrix(port: int, path: str = STREAM) -> dict[str, tuple[int, int]]:
    """Of each kind of Host and Origin, the status of a handshake and the status that it must have."""
    own = f"localhost:{port}"
    cases = {
        "own page": (own, f"http://{own}", OPENED),
        "no origin, as programs send": (own, None, OPENED),
        "another port of this machine": (own, f"http://localhost:{port + 1}", REFUSED),
        "another name of this machine": (own, f"http://127.0.0.1:{port}", REFUSED),
        "foreign origin": (own, "https://evil.test", REFUSED),
        "opaque origin": (own, "null", REFUSED),
        "DNS rebinding": (f"evil.test:{port}", f"http://evil.test:{port}", REFUSED),
        "DNS rebinding without origin": (f"evil.test:{port}", None, REFUSED),
    }
    return {name: (_handshake(port, path, host, origin), must) for name, (host, origin, must) in cases.items()}


def _handshake(port: int, path: str, host: str, origin: str | None) -> int:
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *([f"Origin: {origin}"] if origin else []),
    ]
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return int(connection.recv(4096).split()[1])


def sockets_off_loopback(pid: int) -> list[str]:
    """Addresses beyond this machine at which a process and its children listen."""
    process = psutil.Process(pid)
    seen = [one for each in (process, *process.children(recursive=True)) for one in each.net_connections("inet")]
    listening = {one.laddr for one in seen if one.status == psutil.CONN_LISTEN}
    return sorted(f"{ip}:{port}" for ip, port in listening if not ip.startswith("127.") and ip != "::1")


def missing_headers(port: int, paths: Sequence[str] = PATHS) -> dict[str, list[str]]:
    """Of each path, the protective headers that its answer lacks; with a refused host and a refused origin as well."""
    asked: dict[str, tuple[str, dict[str, str]]] = {path: (path, {}) for path in paths}
    asked |= {"foreign host": ("/", {"Host": "evil.test"}), "foreign origin": ("/", {"Origin": "https://evil.test"})}
    lacking = {}
    for name, (path, headers) in asked.items():
        connection = http.client.HTTPConnection("localhost", port, timeout=PATIENCE)
        connection.request("GET", path, headers={"Accept": "text/html", **headers})
        answer = connection.getresponse()
        lacking[name] = [header for header, value in HEADERS.items() if answer.headers.get(header) != value]
        connection.close()
    return lacking


def role_matrix() -> tuple[int, int]:
    """Cases of the matrix of roles and actions: how many hold, of how many."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        words = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:xdist",
            ROLES,
            "-o",
            "addopts=",
            f"--junit-xml={report}",
        ]
        subprocess.run(words, cwd=ROOT, check=False, capture_output=True)
        suite = ElementTree.parse(report).getroot()[0]
    failed = sum(int(suite.get(name, 0)) for name in ("failures", "errors", "skipped"))
    return int(suite.get("tests", 0)) - failed, int(suite.get("tests", 0))
