"""What a crash leaves: ``python -m benchmarks.reliability.crashes [PART ...] [--home FOLDER]``, on Linux with strace.

- **order**: every file that is published is on the disk before its name is, and its name before the work goes on
  (``benchmarks.reliability.traces``).
- **full disk**: real trainings on a disk of their own that is filled at three moments.
- **each call**: one process per system call of each publish. At it the process is killed, or from it on the disk has no
  room, or fails. Everything in the workspace can be read afterwards and is old or new, and the same work done again
  comes to its end.
- **kills**: real trainings, killed at random. The run is not shown as running, every file can be read, and it goes on
  with at most one epoch lost, to the numbers of one that nobody killed.
- **twice**: two processes do the same 100 queued runs, and two resume the same run 100 times.

Prints JSON lines. With ``--home`` the trained workspace stays for another call. On a disk in memory (``TMPDIR``) all is
ten times as fast, as every epoch waits for the disk; the calls are the same.
"""

import argparse
import contextlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
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
from covid_core.jobs import queue, run_training, worker
from covid_core.nets.fitting import Fit
from covid_core.runs import store
from covid_core.runs.store import Run, Status, Study
from covid_core.specs import HeadSpec, TrainingSpec
from covid_core.work import silent
from covid_core.workspace import Workspace

IMAGES = 60
FEW = 6  # of a second import, and of an addition
EPOCHS = 150  # of a head, each of milliseconds: enough for a disk to be filled in the middle
KILLED_EPOCHS = 60  # the same, for a kill
PATIENCE = 10.0  # seconds within which a killed run is shown as interrupted
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
    is_first = not list_datasets(workspace)
    importing.import_phantom(workspace, IMAGES if is_first else FEW, seed=1)


def _add(workspace: Workspace) -> None:
    if len(open_dataset(workspace, _dataset(workspace)).images) > IMAGES:
        return  # done, before the fault
    other = Workspace(workspace.root.with_name(f"{workspace.root.name}-other"))
    shutil.rmtree(other.root, ignore_errors=True)
    images = importing.import_phantom(other, FEW, seed=2)
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


PUBLISHED = ("runs", "datasets", "studies", "jobs")  # folders of a workspace whose files nobody may lose
KILL = "signal=KILL"
REFUSED = ("error=ENOSPC", "error=EIO")  # from a call on: a disk that is full or broken stays so
REFUSABLE = frozenset(traces.CALLS) - {"close", "unlink", "unlinkat", "rmdir"}


BEFORE = ("import", "run", "status", "epoch", "annotate")  # what there is before each of these faults


def publishing_order(root: Path, *verb: str) -> dict[str, Any]:
    """Publishes of all STEPS, or of a verb of the command line, in the new workspace ``root``, and which were not in
    order."""
    words = ["covid_core", *verb] if verb else ["benchmarks.reliability.crashes", "--do", *STEPS, "--home", str(root)]
    environment = {**os.environ, "COVID_CORE_HOME": str(root)}
    order = traces.order_of(traces.traced([sys.executable, "-m", *words], root, environment), root)
    return {"publishes": len(order.published), "out_of_order": len(order.broken), "broken": order.broken}


def each_call(step: str, every: int = 1, fault: str = KILL, first: int = 0) -> dict[str, Any]:
    """Do a step in copies of a small workspace, one for each (``every``, from ``first``) system call on files, at which
    the process is killed (or from which on such calls get another ``fault``). Counts what is torn or gone afterwards,
    steps that then cannot be done, and those that say nothing of the fault."""
    found: dict[str, list[str]] = {"torn": [], "stuck": [], "silent": []}
    points = 0
    with tempfile.TemporaryDirectory() as folder:
        home, workspace = Workspace(Path(folder) / "home"), Workspace(Path(folder) / "workspace")
        for before in BEFORE:
            STEPS[before](home)
        shutil.copytree(home.root, workspace.root)
        calls = traces.numbered(traces.forked(lambda: STEPS[step](workspace)).calls)
        for call, number in [one for one in calls if fault == KILL or one[0] in REFUSABLE][first::every]:
            shutil.rmtree(workspace.root)
            shutil.copytree(home.root, workspace.root)
            end = "" if fault == KILL else "+"
            done = traces.forked(lambda: STEPS[step](workspace), f"{call}:{fault}:when={number}{end}")
            points += done.struck
            place = f"{step}, {call} {number}"
            found["torn"] += [f"{place}: {name}" for name in (*unreadable(workspace), *_gone(home, workspace, step))]
            found["silent"] += [place] if done.struck and not done.failed else []
            try:
                STEPS[step](workspace)
            except Exception as error:
                found["stuck"] += [f"{place}: {error!r}"] if store.list_runs(workspace)[0] else []
    counts = {name: len(places) for name, places in found.items()}
    return {"step": step, "fault": fault, "points": points, **counts, "places": sum(found.values(), [])[:10]}


def _gone(before: Workspace, after: Workspace, step: str) -> list[str]:
    """Published files that are no longer there, but by a deletion."""
    if step == "delete":
        return []
    was, now = (
        {str(path.relative_to(one.root)) for kind in PUBLISHED for path in (one.root / kind).rglob("[!.]*")}
        for one in (before, after)
    )
    return [f"{name} is gone" for name in sorted(was - now)]


def unreadable(workspace: Workspace) -> list[str]:
    """Files of runs, data sets, studies and jobs that readers cannot read, and folders that are listed as damaged."""
    runs, broken = store.list_runs(workspace)
    folders: dict[Path, Callable[[Path], object]] = {
        workspace.datasets: lambda folder: open_dataset(workspace, folder.name),
        workspace.studies: lambda folder: store.open_study(workspace, folder.name),
        workspace.jobs: lambda folder: store.JobFolder(folder).request(),
    }
    broken += [one for parent, opened in folders.items() for one in store.readable(parent, opened)[1]]
    found = [f"{one.id}: {one.reason}" for one in broken]
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


def kills(home: Path, count: int, seed: int = 0, seconds: float = math.inf) -> dict[str, Any]:
    """Kill trainings in copies of the workspace ``home`` that ``trained`` has made, each at a random time of its own,
    until ``count`` kills are done or the time is up. A run goes on until it is killed after its end."""
    rng, figures, end = random.Random(seed), Counter(kills=0, shown_running=0, unreadable=0), time.monotonic() + seconds
    states, slowest, lost, ended = Counter[str](), [0.0], [0], list[Run]()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(shutil.copytree(home, Path(folder) / "workspace"))
        whole, run = _seconds_of_a_training(workspace), None
        while figures["kills"] < count and time.monotonic() < end:
            if run is None:
                number = 1000 * seed + figures["kills"]
                run = queue.submit_training(workspace, _frozen(workspace, number, KILLED_EPOCHS))
            else:
                queue.resume(run)
            time.sleep(rng.random() * whole)
            states[run.status().state] += 1
            slowest.append(_killed(run))
            figures["kills"] += 1
            run = store.open_run(workspace, run.id)
            state = run.status().state
            figures["shown_running"] += state not in store.FINAL
            figures["unreadable"] += len(unreadable(workspace))
            stored = Fit(run.spec, run.checkpoint_path, print, silent)
            if state != store.COMPLETED and (stored.load_checkpoint() or len(run.history())):
                lost.append(len(run.history()) - stored.memory.rows)
            ended, run = ([*ended, run], None) if state == store.COMPLETED else (ended, run)
        if run is not None:
            queue.resume(run)
            _expect(queue.wait(run, 0.05), store.COMPLETED)
            ended.append(store.open_run(workspace, run.id))
        whole_histories = sum(one.history()["epoch"].tolist() == [*range(1, KILLED_EPOCHS + 1)] for one in ended)
        difference = _difference(home, ended[-1])
    return {
        **figures,
        "killed_when": dict(states),
        "slowest_seconds": round(max(slowest), 3),
        "most_epochs_lost": max(lost),
        "completed": len(ended),
        "histories_whole": whole_histories,
        "largest_difference": difference,
    }


def _seconds_of_a_training(workspace: Workspace) -> float:
    began = time.monotonic()
    run = queue.submit_training(workspace, _frozen(workspace, 999_999, KILLED_EPOCHS))
    _expect(queue.wait(run, 0.05), store.COMPLETED)
    return time.monotonic() - began


def _killed(run: Run) -> float:
    """Kill a run's process. Returns the seconds after which the run is no longer shown as waiting or working, or those
    that were waited for that."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(run.process or 0, signal.SIGKILL)
    began = time.monotonic()
    while not run.status().is_final and time.monotonic() - began < PATIENCE:
        time.sleep(0.01)
    return time.monotonic() - began


def _difference(home: Path, killed: Run) -> float:
    """The largest difference of a score between a run that was killed and went on, and one that was left alone."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(shutil.copytree(home, Path(folder) / "workspace"))
        alone = queue.submit_training(workspace, killed.spec)
        _expect(queue.wait(alone, 0.05), store.COMPLETED)
        scores = [run.predictions().filter(like="score_").to_numpy() for run in (killed, alone)]
    return float(np.abs(scores[0] - scores[1]).max())


def trained(workspace: Workspace) -> Workspace:
    """The workspace with images and a finished run, on whose frozen network others need no TensorFlow; made where it is
    new."""
    if store.list_runs(workspace)[0]:
        return workspace
    _import(workspace)
    run = queue.submit_training(workspace, _frozen(workspace, epochs=1))
    _expect(queue.wait(run), store.COMPLETED)
    return workspace


def _frozen(workspace: Workspace, number: int = 0, epochs: int = EPOCHS) -> TrainingSpec:
    """Each ``number`` makes a run that no finished one stands for, of the same network: its rate is another. Another
    seed would have TensorFlow make another network, for half a minute."""
    head = HeadSpec(units=(256,), dropout=0.5)
    settings: dict[str, Any] = dict(backbone="mobilenet_v2", weights="random", head=head, patience=0, batch_size=4)
    return _spec(workspace, epochs=epochs, learning_rate=1e-3 + 1e-7 * number, **settings)


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
    for number, (moment, is_there) in enumerate(MOMENTS.items(), start=1):
        run = queue.submit_training(workspace, _frozen(workspace, number))
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
    """The same, on a disk of its own, with the workspace ``home`` that ``trained`` has made. Needs root, or user
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


def claims(home: Path, count: int = 100) -> dict[str, Any]:
    """Two processes are told to do the same queued runs, in the same order. How often each run was begun."""
    with tempfile.TemporaryDirectory() as folder:
        workspace, log = Workspace(shutil.copytree(home, Path(folder) / "workspace")), Path(folder) / "begun"
        equal = _run(workspace).spec  # to one that is finished, so each takes over what that came to
        runs = [queue.published_run(workspace, equal) for _ in range(count)]
        for run in runs:
            run.write_launch(os.getpid(), 1)
        words = [word for run in runs for word in (str(run.path), "1")]
        _both(lambda: worker.main(words), log)
        begun = Counter(log.read_text().split())
        states = Counter(run.status().state for run in runs)
    return {
        "jobs": count,
        "begun": sum(begun.values()),
        "begun_twice": sum(times > 1 for times in begun.values()),
        "states": dict(states),
    }


def resumptions(home: Path, count: int = 100) -> dict[str, Any]:
    """Two processes resume the same run at once, so many times. How often both, or none, came to start it."""
    twice = none = 0
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(shutil.copytree(home, Path(folder) / "workspace"))
        run = queue.published_run(workspace, _frozen(workspace, 1))
        for attempt in range(1, count + 1):
            run.write_status(Status(store.STOPPED, attempt=run.next_attempt() - 1))
            before = run.next_attempt()
            _both(lambda: queue.resume(run), Path(folder) / "begun")
            started = run.next_attempt() - before
            twice, none = twice + (started > 1), none + (started < 1)
            _killed(run)
            measuring.tell(f"Resumed {attempt} of {count} times")
    return {"resumed": count, "started_twice": twice, "not_started": none}


def _both(work: Callable[[], object], log: Path) -> None:
    """Do some work in two forks of this process, which begin at the same moment. What trainings they begin stands in
    the log, a line each."""
    train = run_training.train

    def noted(workspace: Workspace, run: Run, reporter: Any) -> bool:
        with open(log, "ab", buffering=0) as handle:
            handle.write(f"{run.id}\n".encode())
        return train(workspace, run, reporter)

    ready, go = os.pipe()
    children = []
    for _ in range(2):
        if (pid := os.fork()) == 0:
            os.close(go)
            worker.train = noted
            os.read(ready, 1)  # ends where the last who could write has closed
            try:
                work()
            except CovidCoreError as error:
                measuring.tell(str(error))
            finally:
                os._exit(0)
        children.append(pid)
    os.close(go)
    for pid in children:
        os.waitpid(pid, 0)
    os.close(ready)


PARTS: dict[str, Callable[[Workspace, argparse.Namespace], Iterator[dict[str, Any]]]] = {
    "order": lambda home, chosen: iter([publishing_order(chosen.scratch / "order")]),
    "disk": lambda home, chosen: iter([full_disk(trained(home).root)]),
    "calls": lambda home, chosen: (
        each_call(step, chosen.every, fault, chosen.first) for fault in chosen.faults for step in chosen.steps
    ),
    "kills": lambda home, chosen: iter(
        [{"seed": chosen.seed, **kills(trained(home).root, chosen.kills, chosen.seed, chosen.seconds)}]
    ),
    "twice": lambda home, chosen: iter([claims(trained(home).root), resumptions(trained(home).root)]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; by default all")
    parser.add_argument("--do", nargs="+", choices=STEPS, help="do the work of these steps, and measure nothing")
    parser.add_argument("--home", type=Path, help="the trained workspace, or that of --do")
    parser.add_argument("--kills", type=int, default=200, help="trainings to kill")
    parser.add_argument("--seconds", type=float, default=math.inf, help="end the kills when so much time is up")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), help="publishes to end at each call")
    parser.add_argument("--faults", nargs="+", default=[KILL, *REFUSED], help="what strace injects at each call")
    parser.add_argument("--every", type=int, default=1, help="a fault at each so-manieth system call only")
    parser.add_argument("--first", type=int, default=0, help="the system call, from 0, to begin with")
    parser.add_argument("--filled", type=Path, help="the disk that trainings of --home are to find full")
    options = parser.parse_args()
    if options.filled:
        measuring.show(_filled(options.home, options.filled))
        return
    if options.do:
        for name in options.do:
            STEPS[name](Workspace(options.home))
        return
    with tempfile.TemporaryDirectory() as folder:
        options.scratch = Path(folder)
        home = Workspace(options.home or options.scratch / "trained")
        for part in options.parts or PARTS:
            for figures in PARTS[part](home, options):
                measuring.show({"crash": part, **figures})


if __name__ == "__main__":
    main()
