"""Programs of others that tests start on this machine: one that does not start is a failure, never a skip."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from waiting import until


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody does."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def program(name: str) -> str:
    """The path of an installed program."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    assert path, f"{name} is not installed; .ci/run --full installs it"
    return path


@contextlib.contextmanager
def running(
    command: Sequence[str], port: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The program, once it listens at ``port``; ended with the block."""
    with open(log, "ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=log.parent)
    try:
        until(lambda: listens(port) or process.poll() is not None, f"{command[0]} that listens")
        assert process.poll() is None, f"{command[0]} did not start:\n{log.read_text()[-2000:]}"
        yield process
    finally:
        process.terminate()
        process.wait(20)
