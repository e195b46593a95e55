"""What a crash leaves: ``python -m benchmarks.reliability.crashes [--kills N] [--every N]``, on Linux with strace.

- **order**: every file that is published is on the disk before its name is, and its name before the work goes on
  (``benchmarks.reliability.traces``).
- **each call**: one process per system call of each publish, killed at it. Everything in the workspace can be read
  afterwards and is old or new, and the same work done again comes to its end.
- **kills**: real trainings, killed at random. The run is not shown as running, every file can be read, and it goes on
  with at most one epoch lost.

Prints one JSON line for each.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import measuring
from benchmarks.reliability import traces
from covid_core import files
from covid_core.data.dataset import decide, list_datasets, open_dataset
from covid_core.data.decisions import LEAVE_OUT, Decision
from covid_core.data.imports import importing, merging
from covid_core.data.imports.layouts import EVERYTHING
from covid_core.errors import CovidCoreError
from covid_core.jobs import queue
from covid_core.nets.fitting import Fit
from covid_core.runs import store
from covid_core.runs.store import Run, Status, Study
from covid_core.specs import HeadSpec, TrainingSpec
from covid_core.work import silent
from covid_core.workspace import Workspace

IMAGES = 60
EPOCHS = 400  # of a head, each of milliseconds: enough to be caught in the middle
DISK = 320  # megabytes of a disk that is filled; the cache leaves 256 of them to runs


def _dataset(workspace: Workspace) -> str:
    return next(folder.name for folder in sorted(workspace.datasets.iterdir()) if folder.name[0] != ".")


def _spec(workspace: Workspace, **settings: Any) -> TrainingSpec:
    dataset = open_dataset(workspace, _dataset(workspace))
    small: dict[str, Any] = dict(backbone="baseline_cnn", image_size=32, epochs=1, name="Small")
    return TrainingSpec(dataset=dataset.id, classes=dataset.classes, **(small | settings))


def _run(workspace: Workspace) -> Run:
    return store.list_runs(workspace)[0][0]


def _import(workspace: Workspace) -> None:
    importing.import_phantom(workspace, IMAGES, seed=1)


def _add(workspace: Workspace) -> None:
    other = Workspace(workspace.root.with_name(f"{workspace.root.name}-other"))
    shutil.rmtree(other.root, ignore_errors=True)
    images = importing.import_phantom(other, IMAGES, seed=2)
    merging.added(workspace, _dataset(workspace), images.root, EVERYTHING, "nobody")


def _decide(workspace: Workspace) -> None:
    dataset = open_dataset(workspace, _dataset(workspace))
    decide(workspace, dataset.id, [Decision(LEAVE_OUT, dataset.images["image_id"].iat[0])], "nobody")


def _publish_run(workspace: Workspace) -> None:
    queue.published_run(workspace, _spec(workspace))


def _status(workspace: Workspace) -> None:
    _run(workspace).write_launch(os.getpid(), 1)
    _run(workspace).write_status(Status(store.COMPLETED))


def _epoch(workspace: Workspace) -> None:
    run = _run(workspace)
    fit = Fit(run.spec, run.checkpoint_path, run.append_history, lambda share, message: None)
    row = dict.fromkeys(store.HISTORY_COLUMNS, 1.0) | {"stage": "head", "epoch": 1}
    fit.close_epoch(row, lambda: [np.ones(1000, np.float32)])
    fit.save_checkpoint([np.ones(1000, np.float32)], [np.ones(1000, np.float32)])
    run.rewrite_history(1)


def _outcome(workspace: Workspace) -> None:
    run = _run(workspace)
    table = run.split()[["image_id", "part", "label"]]
    table = table.assign(**{f"{kind}_{label}": 0.5 for kind in ("score", "logit") for label in run.classes})
    run.write_predictions(table)
    record = store.EvaluationRecord(created=0.0, dataset=store.OutsideDataset(name="Other"))
    run.write_evaluation(record, pd.DataFrame(table), np.ones((len(table), 8)))
    run.write_audit("audit", {"verdict": "inconclusive"})
    run.note_opening("Compare")
    run.write_result({"best_epoch": 1})


def _annotate(workspace: Workspace) -> None:
    store.annotate(_run(workspace), name="Other", tags=("a",))


def _study(workspace: Workspace) -> None:
    store.write_study(workspace, Study("study-1", "Study", store.REPEATS, 0.0, (_run(workspace).id,)))


def _job(workspace: Workspace) -> None:
    store.create_job(workspace, "audit", {"dataset": _dataset(workspace)})


def _key(workspace: Workspace) -> None:
    workspace.patient_key()


def _delete(workspace: Workspace) -> None:
    files.remove_folder(_run(workspace).path)


STEPS: dict[str, Callable[[Workspace], None]] = {
    "import": _import,
    "add": _add,
    "decide": _decide,
    "run": _publish_run,
    "status": _status,
    "epoch": _epoch,
    "outcome": _outcome,
    "annotate": _annotate,
    "study": _study,
    "job": _job,
    "key": _key,
    "delete": _delete,
}


SWEPT = ("run", "status", "epoch", "annotate", "study", "job", "decide", "outcome", "delete")


def publishing_order(root: Path, *verb: str) -> dict[str, Any]:
    """Publishes of all STEPS, or of a verb of the command line, in the new workspace ``root``, and which were not in
    order."""
    words = ["covid_core", *verb] if verb else ["benchmarks.reliability.crashes", "--do", *STEPS, "--home", str(root)]
    environment = {**os.environ, "COVID_CORE_HOME": str(root)}
    order = traces.order_of(traces.traced([sys.executable, "-m", *words], root, environment), root)
    return {"publishes": len(order.published), "out_of_order": len(order.broken), "broken": order.broken}


def each_call(home: Path, steps: Sequence[str] = SWEPT, every: int = 1, fault: str = "signal=KILL") -> dict[str, Any]:
    """Do steps in copies of the workspace ``home``, one for each (``every``) system call on files, at which the process
    is killed (or gets another ``fault``). Counts what cannot be read afterwards, and steps that then cannot be done."""
    points, torn, stuck = 0, [], []
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "workspace")
        for step in steps:
            shutil.copytree(home, workspace.root)
            calls = traces.numbered(traces.forked(lambda step=step: STEPS[step](workspace)))
            for call, number in calls[::every]:
                shutil.rmtree(workspace.root)
                shutil.copytree(home, workspace.root)
                traces.forked(lambda step=step: STEPS[step](workspace), f"{call}:{fault}:when={number}")
                points += 1
                torn += [f"{step}, {call} {number}: {name}" for name in unreadable(workspace)]
                try:
                    STEPS[step](workspace)
                except Exception as error:
                    stuck += [f"{step}, {call} {number}: {error!r}"] if store.list_runs(workspace)[0] else []
            shutil.rmtree(workspace.root)
    return {"points": points, "torn": len(torn), "stuck": len(stuck), "places": [*torn, *stuck][:10]}


def unreadable(workspace: Workspace) -> list[str]:
    """Files of runs and data sets that readers cannot read, and folders that are listed as damaged."""
    runs, broken = store.list_runs(workspace)
    found = [one.id for one in broken]
    found += [info["id"] for info in list_datasets(workspace) if info.get("damaged")]
    readers: tuple[Callable[[Run], object], ...] = (Run.status, Run.history, Run.split, Run.evaluations, Run.openings)
    readers += (lambda run: run.result, lambda run: run.predictions() if run.predictions_path.exists() else None)
    for run in runs:
        for number, read in enumerate(readers):
            try:
                read(run)
            except CovidCoreError as error:
                found.append(f"{run.id}, reader {number}: {error}")
        checkpoint = Fit(run.spec, run.checkpoint_path, print, silent)
        try:
            checkpoint.load_checkpoint()
        except CovidCoreError as error:
            found.append(f"{run.id}: {error}")
    return found


def kills(home: Path, count: int, seed: int = 0) -> dict[str, Any]:
    """Kill trainings in copies of the workspace ``home`` that ``_trained`` has made, each at a random time of its own,
    until ``count`` kills are done. A run goes on until it is killed after its end."""
    rng, figures, worst = random.Random(seed), Counter({"kills": 0, "shown_running": 0, "unreadable": 0}), 0
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(shutil.copytree(home, Path(folder) / "workspace"))
        began = time.monotonic()
        queue.wait(queue.submit_training(workspace, _frozen(workspace, epochs=EPOCHS, seed=999)), 0.05)
        whole, run = time.monotonic() - began, None
        while figures["kills"] < count:
            if run is None or run.status().state == store.COMPLETED:
                run = queue.submit_training(workspace, _frozen(workspace, seed=figures["kills"] + 1))
            else:
                queue.resume(run)
            time.sleep(rng.random() * whole)
            with contextlib.suppress(ProcessLookupError):
                os.kill(run.process or 0, signal.SIGKILL)
            while run.lock.is_held():
                time.sleep(0.01)
            figures["kills"] += 1
            run = store.open_run(workspace, run.id)
            figures["shown_running"] += not run.status().is_final
            figures["unreadable"] += len(unreadable(workspace))
            stored = Fit(run.spec, run.checkpoint_path, print, silent)
            if run.status().state != store.COMPLETED and (stored.load_checkpoint() or len(run.history())):
                worst = max(worst, len(run.history()) - stored.memory.rows)
    return {**figures, "most_epochs_lost": worst}


def _trained(workspace: Workspace) -> Workspace:
    """A workspace with images and a finished run, on whose frozen network others need no TensorFlow."""
    _import(workspace)
    run = queue.submit_training(workspace, _frozen(workspace, epochs=1))
    _expect(queue.wait(run), store.COMPLETED)
    return workspace


def _frozen(workspace: Workspace, epochs: int = EPOCHS, seed: int = 0) -> TrainingSpec:
    """Another ``seed`` makes a run that no finished one stands for."""
    head = HeadSpec(units=(256,), dropout=0.5)
    settings: dict[str, Any] = dict(backbone="mobilenet_v2", weights="random", head=head, patience=0, batch_size=4)
    return _spec(workspace, epochs=epochs, seed=seed, **settings)


def _expect(status: Status, state: str) -> None:
    if status.state != state:
        raise SystemExit(f"A training of the benchmark is {status.state}: {status.reason}")


def _wait_until(run: Run, is_there: Callable[[Run], bool]) -> None:
    while not is_there(run):
        if (status := run.status()).is_final:
            raise SystemExit(f"A training of the benchmark is {status.state} before its moment: {status.reason}")
        time.sleep(0.02)


def fill(folder: Path) -> Path:
    """Take all the room that a disk has."""
    filler = folder / ".filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as handle:
        for size in (1_000_000, 4096, 1):
            with contextlib.suppress(OSError):
                while handle.write(bytes(size)):
                    pass
    return filler


MOMENTS: dict[str, Callable[[Run], bool]] = {  # at which the disk is full
    "at its start": lambda run: True,
    "in the first epoch": lambda run: run.status().state == store.RUNNING,
    "after some epochs": lambda run: len(run.history()) > 20,
}


def _filled(home: Path, disk: Path) -> dict[str, Any]:
    """What trainings say on a disk that is full at each of MOMENTS, and whether they go on when it no longer is."""
    shutil.copytree(home, disk / "workspace")
    workspace = Workspace(disk / "workspace")
    reasons: dict[str, str] = {}
    resumed = 0
    for seed, (moment, is_there) in enumerate(MOMENTS.items(), start=1):
        run = queue.submit_training(workspace, _frozen(workspace, seed=seed))
        _wait_until(run, is_there)
        filler = fill(disk)
        reasons[moment] = queue.wait(run).reason
        filler.unlink()
        queue.resume(run)
        _expect(queue.wait(run), store.COMPLETED)
        resumed += len(run.history()) == EPOCHS
    said = sum(reason == files.DISK_FULL for reason in reasons.values())
    return {"moments": len(MOMENTS), "said_full": said, "resumed": resumed, "reasons": reasons}


def full_disk(home: Path) -> dict[str, Any]:
    """The same, on a disk of its own, with the workspace ``home`` that ``_trained`` has made. Needs root, or user
    namespaces."""
    with tempfile.TemporaryDirectory() as disk:
        words = ["-m", "benchmarks.reliability.crashes", "--filled", disk, "--home", str(home)]
        mount = f'mount -t tmpfs -o size={DISK}m none {disk} && exec "$@"'
        done = subprocess.run(
            ["unshare", *([] if os.geteuid() == 0 else ["-Ur"]), "-m", "sh", "-c", mount, "sh", sys.executable, *words],
            cwd=measuring.ROOT,
            stdout=subprocess.PIPE,
            check=True,
        )
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--do", nargs="+", choices=STEPS, help="do the work of these steps, and measure nothing")
    parser.add_argument("--home", type=Path, help="the workspace of --do")
    parser.add_argument("--kills", type=int, default=200, help="trainings to kill")
    parser.add_argument("--every", type=int, default=1, help="kill at each so-manieth system call only")
    parser.add_argument("--filled", type=Path, help="the disk that trainings of --home are to find full")
    options = parser.parse_args()
    if options.filled:
        measuring.show(_filled(options.home, options.filled))
        return
    if options.do:
        for name in options.do:
            STEPS[name](Workspace(options.home))
        return
    with tempfile.TemporaryDirectory() as home:
        measuring.show({"crash": "order", **publishing_order(Path(home) / "order")})
        trained = _trained(Workspace(Path(home) / "trained")).root
        measuring.show({"crash": "full disk", **full_disk(trained)})
        measuring.show({"crash": "each call", **each_call(trained, every=options.every)})
        measuring.show({"crash": "kills", **kills(trained, options.kills)})


if __name__ == "__main__":
    main()
