"""A folder in which images arrive: each is assessed once, as soon as it is whole, and its answer appended as a line.

A file is whole when the folder is read a second time and it is as long and as old as before. What was answered is read
from the answers themselves, so that nothing is done twice after a restart; a file that was replaced is answered again.
"""

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import sleep as pause
from typing import Any, NamedTuple

from covid_core import files
from covid_core.data.imports.layouts import pictures_below
from covid_core.errors import InvalidChoice, cause
from covid_core.evaluation.conformal import USUAL_COVERAGE
from covid_core.images.codec import content_of
from covid_core.inference.predictor import Predictor
from covid_core.reports import image_report
from covid_core.reports.encode import encode
from covid_core.runs.store import Run
from covid_core.workspace import Workspace

EVERY = 2.0  # seconds between two readings of the folder
ANSWERS = "second-look-{run}.jsonl"
LOCK = ".second-look-{run}.lock"


class State(NamedTuple):
    """A file as it lies there: its path below the folder, bytes, and nanoseconds of its last change."""

    file: str
    bytes: int
    modified: int


class WatchedFolder:
    """A folder, a run, and the answers so far. ``arrivals`` assesses what has become whole since it was last called."""

    def __init__(
        self, workspace: Workspace, run: Run, folder: Path, to: Path | None = None, coverage: float = USUAL_COVERAGE
    ):
        """Args:
            workspace, run: who assesses.
            folder: with the images, in it or in folders below.
            to: where the answers are written; beside the images by default.
            coverage: of the prediction sets.

        Raises DataError where there is no folder, InvalidChoice where no answer can be written.
        """
        pictures_below(folder)
        self.workspace, self.run, self.folder, self.coverage = workspace, run, folder, coverage
        self.answers = (to or folder) / ANSWERS.format(run=run.id)
        self._lock = files.FileLock(self.answers.with_name(LOCK.format(run=run.id)))
        try:
            self.answers.parent.mkdir(parents=True, exist_ok=True)
            is_free = self._lock.try_acquire()
            self._done = set(_answered(self.answers))
        except OSError as error:
            raise InvalidChoice(f"No prediction can be written into {self.answers.parent}: {cause(error)}.") from error
        if not is_free:
            raise InvalidChoice(f"Another watch of {run.id} writes these predictions already. End it first.")
        self._predictor = Predictor.open(workspace, run)
        self._before: set[State] = set()

    def arrivals(self) -> Iterator[dict[str, Any]]:
        """An answer for each file that is new, or another than before, and as it was at the last call."""
        present = set(_states(self.folder))
        whole = sorted((present & self._before) - self._done)
        self._before = present
        for state in whole:
            path = str(self.folder / state.file)
            content = [(path, partial(content_of, path))]
            made = image_report.of_files(self.workspace, self.run, self._predictor, content, coverage=self.coverage)
            (row,) = made["images"]
            answer = {**encode(row), **state._asdict(), "run": self.run.id, "coverage": self.coverage}
            try:
                files.append_line(self.answers, json.dumps(answer, ensure_ascii=False))
            except OSError as error:
                raise InvalidChoice(f"No prediction can be written into {self.answers}: {cause(error)}.") from error
            self._done.add(state)
            yield answer

    def follow(self, show: Callable[[dict[str, Any]], None]) -> int:
        """Answer what arrives until Ctrl-C. Returns how many were answered."""
        answered = 0
        try:
            while True:
                for answer in self.arrivals():
                    show(answer)
                    answered += 1
                pause(EVERY)
        except KeyboardInterrupt:
            return answered
        finally:
            self.close()

    def close(self) -> None:
        """Let another process watch."""
        self._lock.release()


def _states(folder: Path) -> Iterator[State]:
    """The images below a folder, lung masks aside. One that goes meanwhile is not among them."""
    for name in pictures_below(folder):
        try:
            status = os.stat(folder / name)
        except FileNotFoundError:
            continue
        yield State(name, status.st_size, status.st_mtime_ns)


def _answered(path: Path) -> Iterator[State]:
    """The files that have an answer; a line that a crash tore is no answer."""
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            answer = json.loads(line)
            yield State(answer["file"], answer["bytes"], answer["modified"])
        except (ValueError, KeyError, TypeError):
            continue
