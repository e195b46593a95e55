"""A DICOMweb service on this machine, of images in memory; it can answer in odd ways."""

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

STUDY, PATIENT = "1.2.826.7001", "CANARY-4711"
NAME = "made"


class Service:
    """What is there, and what was asked. ``answers`` replaces the answer to paths that match a pattern."""

    def __init__(self) -> None:
        self.files: list[tuple[str, bytes]] = []  # modality of the series, and its one image
        self.requests: list[tuple[str, str, str]] = []  # method, path with query, Authorization
        self.stored: list[bytes] = []
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.ended = threading.Event()
        self.address = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        self.requests.append((request.command, request.path, request.headers.get("Authorization", "")))
        odd = next((odd for pattern, odd in self.answers.items() if re.search(pattern, path)), None)
        length = int(request.headers.get("Content-Length") or 0)
        body = request.rfile.read(length)
        if odd:
            odd(request)
        elif request.command == "POST":
            mark = re.search(r"boundary=(\w+)", request.headers["Content-Type"])[1].encode()
            self.stored += [part.partition(b"\r\n\r\n")[2][:-2] for part in body.split(b"--" + mark)[1:-1]]
            send(request, json.dumps({"00081198": {"vr": "SQ"}}).encode())
        elif path == "/studies":
            send(request, listed([{"0020000D": STUDY}]))
        elif path.endswith("/series"):
            series = [{"0020000E": f"{STUDY}.{n}", "00080060": kind} for n, (kind, _) in enumerate(self.files)]
            send(request, listed(series))
        elif path.endswith("/instances"):
            send(request, listed([{"00080018": f"{path.split('/')[-2]}.1"}]))
        else:
            content = self.files[int(path.rpartition("/")[2].split(".")[-2])][1]
            part = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n--b--\r\n"
            send(request, part, 'multipart/related; type="application/dicom"; boundary=b')


def listed(rows: list[dict[str, str]]) -> bytes:
    """Rows as DICOM JSON."""
    return json.dumps([{tag: {"vr": "UI", "Value": [value]} for tag, value in row.items()} for row in rows]).encode()


def send(request: BaseHTTPRequestHandler, body: bytes, kind: str = "application/dicom+json", status: int = 200) -> None:
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    with contextlib.suppress(OSError):  # whoever asked has had enough
        request.wfile.write(body)


@contextlib.contextmanager
def service() -> Iterator[Service]:
    """A service for a block; its address has no path."""
    made = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.answer(self)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        made.ended.set()
        server.shutdown()
        server.server_close()
