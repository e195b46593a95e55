"""An engine of processes on this machine, of which a test can lose one: what attendants need of any engine."""

import os
import subprocess
import sys
from collections.abc import Mapping

from covid_core import __version__
from covid_core.executors.engines import End, Node
from covid_core.runs.store import JobFolder

WORK = "import sys; from covid_core.executors import node; print(node.work('Made', *sys.argv[1:]), end='')"


class MadeTask:
    """A process, or a place in the queue of an engine that has no room."""

    def __init__(self, process: subprocess.Popen | None):
        self.process = process
        self.is_cancelled = False

    def end(self) -> End | None:
        if self.is_cancelled:
            return End()
        if self.process is None or self.process.poll() is None:
            return None
        reason = self.process.communicate()[0].decode()
        return End(self.process.returncode != 0, reason or f"exit code {self.process.returncode}" * self.is_killed)

    @property
    def is_killed(self) -> bool:
        return self.process.returncode < 0

    def cancel(self) -> None:
        self.is_cancelled = True


class MadeEngine:
    """``rooms``: how many tasks it starts; later ones wait for good."""

    def __init__(self, rooms: int = 8):
        self.rooms = rooms
        self.tasks: list[MadeTask] = []

    def submit(self, folder: JobFolder, attempt: int, environment: Mapping[str, str]) -> MadeTask:
        process = None
        if len(self.tasks) < self.rooms:
            words = [sys.executable, "-c", WORK, str(folder.path), str(attempt), __version__]
            process = subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, **environment})
        self.tasks.append(MadeTask(process))
        return self.tasks[-1]

    def nodes(self) -> list[Node]:
        return [Node("here", 1, 0)]
