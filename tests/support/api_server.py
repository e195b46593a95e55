"""A prediction server that tests start on this machine, and requests to it."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waiting import LONG, until

from covid_core.exchange.serve import tokens
from covid_core.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Answer:
    """Status, headers by their small names, and the JSON of the body; its text where it is none."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Api:
    """A running server, its address and its log."""

    workspace: Workspace
    port: int
    log: Path
    process: "subprocess.Popen[bytes]"

    @property
    def token(self) -> str:
        return tokens.path_of(self.workspace).read_text().split()[2]

    def ask(self, path: str, content: bytes | None = None, kind: str = "image/png", **headers: str) -> Answer:
        """Ask with the first token, by GET, or by POST where there is content. ``headers`` replace those of the
        request; without a value they are left out."""
        usual = {"Authorization": f"Bearer {self.token}", "Host": f"127.0.0.1:{self.port}"}
        usual |= {"Content-Type": kind, "Content-Length": str(len(content))} if content is not None else {}
        sent = usual | {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG)
        with contextlib.closing(connection):
            connection.putrequest("GET" if content is None else "POST", path, skip_host=True)
            for name, value in sent.items():
                if value:
                    connection.putheader(name, value)
            connection.endheaders()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may answer before all is sent
                connection.send(content or b"")
            answer = connection.getresponse()
            text = answer.read().decode()
        with contextlib.suppress(ValueError):
            text = json.loads(text)
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text)


def form(*files: tuple[str, bytes], name: str = "files") -> tuple[bytes, str]:
    """The body of a form with these files, and its content type."""
    parts = [
        f'--end\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for file, content in files
    ]
    return b"".join([*parts, b"--end--\r\n"]), "multipart/form-data; boundary=end"


@contextlib.contextmanager
def serving(workspace: Workspace, run: str, *words: str) -> Iterator[Api]:
    """The server of a run, once it listens; ended with the block."""
    log = workspace.root.parent / "api.log"
    command = [sys.executable, "-m", "covid_core", "serve", run, "--port", "0", *words]
    environment = {**os.environ, "COVID_CORE_HOME": str(workspace.root)}
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT, env=environment)
    try:
        until(lambda: "tokens: " in log.read_text() or process.poll() is not None, "a prediction server that listens")
        assert process.poll() is None, log.read_text()[-2000:]
        (line,) = [line for line in log.read_text().splitlines() if line.startswith("http://")]
        yield Api(workspace, int(line.split("/")[2].rpartition(":")[2]), log, process)
    finally:
        process.terminate()
        process.wait(LONG)
