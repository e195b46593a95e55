"""Runs as they are now. A run is opened once and read again only when one of its files has changed."""

import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import streamlit as st

from covid_core.errors import CovidCoreError, UnknownId
from covid_core.evaluation.comparison import Candidate
from covid_core.evaluation.repeats import Comparison, Repeat
from covid_core.reports import evidence_text
from covid_core.reports.evidence_text import EvidenceCheck
from covid_core.runs import candidates, store
from covid_core.runs.store import BrokenRun, Run, Status, Study
from covid_core.workspace import Workspace, list_folders

ACTIVE = (store.QUEUED, store.RUNNING)
FRESH = 0.5  # seconds for which a process that was seen is believed to live: all sessions of the server look once
MOST_REPEATS = 2000  # about 10 KB each
MOST_COMPARISONS = 64


@dataclass(frozen=True)
class CachedRun:
    """A run, its state when it was read, and its result, empty until there is one.

    ``stamp`` is another one whenever a file of the run was written. ``place`` counts the runs that the queue takes
    before this one. ``checked`` is when its process was last seen, on the monotonic clock.
    """

    run: Run
    status: Status
    result: dict[str, Any]
    stamp: str = field(default="", repr=False)
    place: int = 0
    checked: float = field(default=-FRESH, repr=False, compare=False)

    @property
    def is_active(self) -> bool:
        return self.status.state in ACTIVE

    @property
    def is_usable(self) -> bool:
        """Whether it can be compared and can predict."""
        return self.status.is_usable and bool(self.result)

    @property
    def accuracy(self) -> float | None:
        """Its test accuracy, a share in [0, 1]; None where there is none."""
        return self.result.get("accuracy", {}).get("test")

    @cached_property
    def verdict(self) -> EvidenceCheck:
        """The verdict of its evidence check; read once, as all of a run, until a file of it changes."""
        return evidence_text.of(self.run)


def listed() -> tuple[list[CachedRun], list[BrokenRun]]:
    """All runs with their states, newest first, and those that cannot be opened."""
    workspace = Workspace.default()
    folders = list_folders(workspace.runs)
    cached = _cached_runs(str(workspace.root))
    for name in set(cached) - {folder.name for folder in folders}:
        cached.pop(name, None)
    runs, broken = [], []
    for folder in folders:
        try:
            runs.append(_current(workspace, folder, cached))
        except UnknownId:
            continue  # deleted at this moment
        except CovidCoreError as error:
            broken.append(BrokenRun(folder.name, str(error)))
    return _placed(sorted(runs, key=lambda one: one.run.created, reverse=True)), broken


def stamp_of(folder: Path, apart_from: Collection[str] = (store.OPENINGS,)) -> str:
    """Name, time of change in ns, size and inode of each file of a folder but the notes of its openings.

    Raises UnknownId when it was removed.
    """
    try:
        with os.scandir(folder) as entries:
            return "\n".join(sorted(_stamp_of_file(entry) for entry in entries if entry.name not in apart_from))
    except FileNotFoundError as error:
        raise UnknownId(f"{folder.name} has been deleted.") from error


def _stamp_of_file(entry: os.DirEntry[str]) -> str:
    try:
        status = entry.stat()
    except FileNotFoundError:  # a temporary file that has just got its name
        return ""
    return f"{entry.name} {status.st_mtime_ns} {status.st_size} {status.st_ino}"


def verdicts_of(runs: Iterable[Run]) -> list[EvidenceCheck]:
    """The evidence verdicts of some runs. Of runs that ``listed`` has returned, nothing is read twice."""
    cached = _cached_runs(str(Workspace.default().root))
    pairs = [(run, cached.get(run.id)) for run in runs]
    return [
        current.verdict if current is not None and current.run is run else evidence_text.of(run)
        for run, current in pairs
    ]


def named(identifier: str) -> CachedRun:
    """The run of that id. Raises UnknownId or RunDamaged."""
    one = next((one for one in listed()[0] if one.run.id == identifier), None)
    if one is not None:
        return one
    run = store.open_run(Workspace.default(), identifier)  # raises for what cannot be opened, with the reason
    return CachedRun(run, run.status(), run.result)


@st.cache_resource(max_entries=2, show_spinner=False)
def _cached_runs(root: str) -> dict[str, CachedRun]:
    """The runs of a workspace by id, as they were last read: as many as it has, for all sessions of the server."""
    return {}


def _current(workspace: Workspace, folder: Path, cached: dict[str, CachedRun]) -> CachedRun:
    stamp = stamp_of(folder)  # before anything is read: what changes meanwhile is read again next time
    last = cached.get(folder.name)
    if last is not None and last.stamp == stamp:
        now = time.monotonic()
        if not last.status.is_usable and now - last.checked >= FRESH:  # it may have died without writing a word
            last = cached[folder.name] = replace(last, status=last.run.status(), checked=now)
        return last
    run = store.open_run(workspace, folder.name)
    cached[folder.name] = CachedRun(run, run.status(), run.result, stamp)
    return cached[folder.name]


def _placed(runs: list[CachedRun]) -> list[CachedRun]:
    """The runs with their places in the queue: those at work first, then the oldest, as jobs takes them."""
    queue = queue_of(runs)
    places = {one.run.id: place for place, one in enumerate(queue)}
    return [replace(one, place=places[one.run.id]) if places.get(one.run.id) else one for one in runs]


def queue_of(runs: list[CachedRun]) -> list[CachedRun]:
    """Runs that have not ended, in the order in which they are taken."""
    active = [one for one in runs if one.is_active]
    return sorted(active, key=lambda one: (one.status.state != store.RUNNING, one.run.created, one.run.id))


def _version(run: Run) -> str:
    """Changes with every file of the run that is written but its annotation, which changes no figure, and with the
    images that it is compared without.

    Of a deleted run, whatever reads it then says so.
    """
    try:
        return f"{run.path}\n{hash(run.apart)}\n{stamp_of(run.path, (store.OPENINGS, store.ANNOTATION))}"
    except UnknownId:
        return str(run.path)


@dataclass(frozen=True, kw_only=True)
class RunCandidate(Candidate):
    """A run in a comparison, under a name that no other has."""

    run: Run = field(repr=False)


BY_FILES: dict[str | type, Callable[[Any], Any]] = {
    Run: _version,
    RunCandidate: lambda one: (one.name, one.number, _version(one.run)),
}  # for ``hash_funcs`` of caches that take runs


@st.cache_resource(max_entries=MOST_COMPARISONS, show_spinner=False, hash_funcs=BY_FILES)
def compared(studies: Sequence[tuple[Study, Sequence[Run]]]) -> Comparison:
    """Studies with those of their runs that can be opened, side by side; kept until a run's files change."""
    return candidates.repeats(studies, _repeat)


@st.cache_resource(max_entries=MOST_REPEATS, show_spinner=False, hash_funcs=BY_FILES)
def _repeat(run: Run) -> Repeat:
    return candidates.repeat(run)
