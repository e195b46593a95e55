"""Mutations of a sound run, some for every day and thousands in tests/soak: cut, flipped, emptied, swapped, gone."""

import shutil

import numpy as np

from covid_core.errors import CovidCoreError
from covid_core.runs import store
from covid_core.runs.store import Run
from covid_core.workspace import Workspace


def damaged(workspace: Workspace, run: Run, times: int, seed: int) -> None:
    """All is read, or refused in words."""
    sound = workspace.root / "sound"
    shutil.copytree(run.path, sound)
    rng = np.random.default_rng(seed)
    names = sorted(path.name for path in sound.iterdir())
    for _ in range(times):
        mutate(run.path / rng.choice(names), rng, sound)
        read_everything(workspace, run.id)
        shutil.rmtree(run.path)
        shutil.copytree(sound, run.path)


def mutate(path, rng, sound) -> None:
    content = bytearray(path.read_bytes())
    match rng.integers(0, 5):
        case 0:
            path.unlink()
        case 1:
            path.write_bytes(content[: rng.integers(0, len(content) + 1)])
        case 2:
            for place in rng.integers(0, max(len(content), 1), 3 * bool(content)):
                content[place] = rng.integers(0, 256)
            path.write_bytes(content)
        case 3:
            path.write_bytes(b"")
        case 4:
            shutil.copy(rng.choice(sorted(sound.iterdir())), path)


def read_everything(workspace, identifier: str) -> None:
    store.list_runs(workspace)
    readers = (lambda r: r.status(), lambda r: r.history(), lambda r: r.result, lambda r: r.split())
    for read in (*readers, lambda r: r.predictions(), lambda r: r.next_attempt()):
        try:
            read(store.open_run(workspace, identifier))
        except CovidCoreError as told:
            assert str(told)
