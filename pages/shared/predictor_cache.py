"""Opened models, shared by all sessions: each is opened and checked once, and may be opened before it is asked."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import streamlit as st

from covid_core.errors import CovidCoreError
from covid_core.inference.predictor import Predictor, trunk_path_of
from covid_core.runs.store import Run
from covid_core.workspace import Workspace

MOST_BYTES = 60_000_000  # of networks that stay open beside the last one; in use they take two to three times as much
WORKSPACE_BYTES = 15_000_000  # what even a small network needs beside its weights
WARMED = 2  # runs whose models are opened before an image is there


def of(run: Run) -> Predictor:
    """The run's predictor. Raises RunDamaged."""
    return _shared().of(run)


def warm_up(runs: Iterable[Run]) -> None:
    """Open models in the background, so that the first image need not wait for that."""
    for run in list(runs)[:WARMED]:
        _shared().start(run)


@st.cache_resource(show_spinner=False)
def _shared() -> "Predictors":
    return Predictors()


class Predictors:
    """The models that were used last. They hold nothing of any user."""

    def __init__(self, most_bytes: int = MOST_BYTES):
        self._most_bytes = most_bytes
        self._guard = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], tuple[dict[Path, int], Future[Predictor]]] = OrderedDict()
        self._opener = ThreadPoolExecutor(1, "open-model")

    def of(self, run: Run) -> Predictor:
        """The run's predictor, opened now or before. Raises RunDamaged; the next call tries again then."""
        future = self.start(run)
        try:
            return future.result()
        except CovidCoreError:
            with self._guard:
                self._kept.pop(_key(run), None)
            raise

    def start(self, run: Run) -> "Future[Predictor]":
        """Have it opened, where it is not, and let go of those that were not used for longest."""
        key = _key(run)
        with self._guard:
            if key not in self._kept:
                self._kept[key] = _sizes(run), self._opener.submit(_opened, run)
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and self._bytes() > self._most_bytes:
                self._kept.popitem(last=False)
            return self._kept[key][1]

    def _bytes(self) -> int:
        """What the open models take; runs on one network share it."""
        return sum({path: size for sizes, _ in self._kept.values() for path, size in sizes.items()}.values())


def _key(run: Run) -> tuple[str, str]:
    return str(run.path), mark(run)


def mark(run: Run) -> str:
    """The state of a run in which it answers: another one when it was resumed, or was given a reference."""
    return f"{run.result.get('finished', 0.0)} {run.result.get('reference_sha256', '')}"


def _sizes(run: Run) -> dict[Path, int]:
    """Bytes of each file that the run's model holds open, with what a network needs beside its weights."""
    tail = [run.trunk_path] if "tail_sha256" in run.result else []
    networks = {path: WORKSPACE_BYTES + _size(path) for path in (trunk_path_of(Workspace.default(), run), *tail)}
    return networks | {run.head_path: _size(run.head_path)}


def _size(path: Path) -> int:
    """Bytes of a file; 0 for one that is gone, which opening it will tell."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _opened(run: Run) -> Predictor:
    """Open it, and ask once: the first answer takes several times as long as the next."""
    predictor = Predictor.open(Workspace.default(), run)
    predictor.logits(np.zeros((1, predictor.size, predictor.size), np.uint8))
    return predictor
