"""A network of others, run in a process of its own that ends with this one or with the last who uses it: an added
backbone, or the exported network of a run that was opened from a bundle."""

import contextlib
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any
from weakref import WeakValueDictionary

import numpy as np

from covid_core.backbones import BackboneFile
from covid_core.errors import RunDamaged, RunError
from covid_core.images.sandbox import ROOT, detached, killed_after
from covid_core.images.sandbox_worker import Broken
from covid_core.inference.apart.worker import receive_message, send_message
from covid_core.runs import backbone_files
from covid_core.work import cores, lower_session
from covid_core.workspace import Workspace

OPEN_SECONDS = 180.0  # on a machine that is busy with everything else; 300 MB take 5
RUN_SECONDS = 60.0  # for an image; one of 518 px takes 2


@dataclass(frozen=True)
class Chain:
    """Networks that run one after the other: the app's own export, and behind it the file where it runs apart."""

    exported: Path
    file: Path | None
    about: BackboneFile

    def order(self, check: bool) -> dict[str, Any]:
        """The first request to the process."""
        chain = [{"path": str(self.exported), "kind": "litert"}]
        if self.file:
            chain.append({"path": str(self.file), "kind": self.about.kind, "output": self.about.output})
        layout = self.about.layout if self.file else "NHWC"  # within a Keras model it is turned there
        return {"chain": chain, "layout": layout, "threads": cores(), "check": check}


@dataclass(frozen=True)
class Opened:
    """The exported network of a run that was opened from a bundle; it has the outputs of ``LiteNetwork``."""

    exported: Path

    def order(self, check: bool) -> dict[str, Any]:
        """The first request to the process; there is nothing else to ``check``."""
        return {"network": str(self.exported), "threads": cores()}


class NetworkApart:
    """Runs uint8 images (n, size, size, 1) through a chain. Calls of several threads wait for each other.

    ``parameters`` are those of the file, where its format tells them and ``check`` asks for them.

    Raises RunError with the reason where the process refuses the file, or takes too long.
    """

    def __init__(self, chain: Chain | Opened, check: bool = False):
        self._name = "added backbone" if isinstance(chain, Chain) else "network of the opened run"
        self._guard = threading.Lock()
        self._order = partial(send_message, about=chain.order(check))
        about = self._start()
        self.parameters: int | None = about["parameters"]

    def run(self, batch: np.ndarray) -> list[np.ndarray]:
        """float32 maps (n, height, width, channels) of every output; a chain has one."""
        send = partial(send_message, about={}, values=batch)
        with self._guard:
            if self._process.poll() is not None:  # the last batch ended it
                self._start()
            return self._request(send, RUN_SECONDS * max(1, len(batch)))[1]

    def close(self) -> None:
        """End the process."""
        self._end()

    def _start(self) -> dict[str, Any]:
        self._process = _started()
        self._end = weakref.finalize(self, _end, self._process)
        return self._request(self._order, OPEN_SECONDS)[0]

    def _request(self, send: Callable[[IO[bytes]], None], seconds: float) -> tuple[dict[str, Any], list[Any]]:
        requests, answers = self._process.stdin, self._process.stdout
        with killed_after(self._process, seconds) as late:
            try:
                send(requests)
                about, _ = receive_message(answers)
                values = [receive_message(answers)[1] for _ in range(about.get("outputs", 0))]
            except (Broken, OSError, ValueError) as error:
                self.close()
                reason = f"takes longer than {seconds:g} seconds" if late.is_set() else "ended its process"
                raise RunError(f"The {self._name} {reason}; the log tells more.") from error
        if about["error"]:
            raise RunError(about["error"])
        return about, values


def _started() -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-m", "covid_core.inference.apart.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        cwd=ROOT,
        env={**os.environ, "MALLOC_ARENA_MAX": "2", "ORT_DISABLE_TELEMETRY": "1"},
        **detached(),
    )
    lower_session(process.pid)
    return process


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    for handle in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            handle.close()
    process.wait()


_together: WeakValueDictionary[tuple[Chain | Opened, int], NetworkApart] = WeakValueDictionary()
_opening = threading.Lock()


def shared(chain: Chain | Opened) -> NetworkApart:
    """The network of a chain, opened once for all who ask. Raises RunDamaged where the app's own export is gone."""
    if not chain.exported.is_file():
        raise RunDamaged(f"The exported network {chain.exported.name} is missing.")
    key = (chain, chain.exported.stat().st_mtime_ns)
    with _opening:
        network = _together.get(key) or NetworkApart(chain)
        _together[key] = network
        return network


def opened(exported: Path) -> NetworkApart:
    """The exported network of a run that was opened from a bundle. Raises RunError or RunDamaged."""
    return shared(Opened(exported))


def opener(workspace: Workspace, file: BackboneFile) -> Callable[[Path], NetworkApart]:
    """What opens the app's own export of a run on an added backbone, with the file behind it where it runs apart.

    Raises RunDamaged where the file is gone or was changed, JobRefused where what runs it is not installed.
    """
    backbone_files.check_runtime(file)
    behind = backbone_files.path_of(workspace, file) if file.runs_apart else None
    return lambda exported: shared(Chain(exported, behind, file))
