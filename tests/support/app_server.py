"""A server of the real app that tests start, kill and start again."""

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
from waiting import until

ROOT = Path(__file__).resolve().parents[2]


class App:
    """A running server that can be killed and started again on the same port and workspace.

    ``script``: what it serves, the app by default; from the repository's root. ``path``: its baseUrlPath.
    """

    def __init__(self, home: Path, script: str = "app.py", path: str = ""):
        self.home = home
        self.script = script
        self.path = path
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = home / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def pid(self) -> int:
        """Of the server, which was started."""
        assert self._process is not None
        return self._process.pid

    def start(
        self,
        command: Sequence[str] = (),
        folder: Path = ROOT,
        environment: Mapping[str, str] | None = None,
        headless: bool = True,
    ) -> None:
        """Start it; by default the script, by Streamlit, in the checkout, with a workspace of its own."""
        own = {**os.environ, "COVID_CORE_HOME": str(self.home / "workspace"), "KERAS_HOME": str(self.home)}
        started = command or [sys.executable, "-m", "streamlit", "run", self.script]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [*started, "--server.headless", str(headless).lower(), "--server.port", str(self.port)],
                cwd=folder,
                env=environment or own,
                stdout=log,
                stderr=log,
            )
        until(lambda: self._answers() or self._process.poll() is not None, "a server that answers")
        assert self._process.poll() is None, f"The server did not start:\n{self.log.read_text()[-2000:]}"

    def kill(self) -> None:
        """End the server as a crash would, without its children's knowledge."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def kill_workers(self) -> None:
        """End what the server started and left running."""
        for process in psutil.process_iter(["cmdline"]):
            if any(str(self.home) in part for part in process.info["cmdline"] or []):
                process.kill()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}{self.path}/_stcore/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False
