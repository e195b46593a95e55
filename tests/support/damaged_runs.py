"""Mutations of a sound run, some for every day and thousands in tests/soak: cut, flipped, emptied, swapped, gone."""

import json
import shutil

import numpy as np
from made_runs import all_parts, made_run

from covid_core.errors import CovidCoreError
from covid_core.inference.predictor import Predictor
from covid_core.jobs import queue
from covid_core.reports import run_text
from covid_core.reports.encode import encode
from covid_core.runs import candidates, storage, store
from covid_core.runs.store import Run
from covid_core.workspace import Workspace

READERS = (
    lambda workspace, run: run.status(),
    lambda workspace, run: run.history(),
    lambda workspace, run: run.result,
    lambda workspace, run: run.split(),
    lambda workspace, run: run.predictions(),
    lambda workspace, run: run.next_attempt(),
    lambda workspace, run: run.log_tail(),
    lambda workspace, run: run.openings(),
    lambda workspace, run: run.evaluations(),
    lambda workspace, run: run.number,
    lambda workspace, run: encode(run),
    lambda workspace, run: run_text.line(run),
    lambda workspace, run: candidates.candidate(run),
    lambda workspace, run: queue.training_queue(workspace),
    lambda workspace, run: storage.unused_trunks(workspace),
    lambda workspace, run: store.size_of(run),
    lambda workspace, run: Predictor.open(workspace, run),
)


def damaged(workspace: Workspace, run: Run, times: int, seed: int) -> None:
    """All is read, or refused in words."""
    sound = workspace.root / "sound"
    shutil.copytree(run.path, sound)
    rng = np.random.default_rng(seed)
    names = sorted(path.name for path in sound.iterdir())
    whole = made_run(workspace, all_parts({"train": 12, "validation": 6, "test": 6}, skill=1), "Whole")
    for _ in range(times):
        mutate(run.path / rng.choice(names), rng, sound)
        read_everything(workspace, run.id)
        assert whole.id in {one.id for one in store.list_runs(workspace)[0]}
        shutil.rmtree(run.path)
        shutil.copytree(sound, run.path)


def mutate(path, rng, sound) -> None:
    content = bytearray(path.read_bytes())
    match rng.integers(0, 7):
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
        case 5:
            path.unlink()
            path.mkdir()
        case 6:
            change_setting(path.with_name("spec.json"), rng)
        case 4:
            shutil.copy(rng.choice(sorted(sound.iterdir())), path)


def change_setting(path, rng) -> None:
    """Another value, of the same kind, somewhere in a file of settings that stays whole."""
    content = json.loads(path.read_text())
    name = rng.choice(sorted(content["spec"]))
    match content["spec"][name]:
        case bool(value):
            changed = not value
        case int() | float():
            changed = 3
        case list(value):
            changed = ["Other", *value[1:]]
        case _:
            changed = "Other"
    content["spec"][name] = changed
    path.write_text(json.dumps(content))


def read_everything(workspace, identifier: str) -> None:
    for read in READERS:
        try:
            read(workspace, store.open_run(workspace, identifier))
        except CovidCoreError as told:
            assert str(told)
