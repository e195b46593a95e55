"""What a crash leaves: ``python -m benchmarks.crashes [--kills N] [--each-call]``, on Linux with strace.

- **order**: every file that is published is on the disk before its name is, and its name before the work goes on
  (``benchmarks.traces``).
- **each call**: one process per system call of each publish, killed at it. Everything in the workspace can be read
  afterwards and is old or new, and the same work done again comes to its end.
- **kills**: real trainings, killed at random. The run is not shown as running, every file can be read, and it goes on
  with at most one epoch lost.

Prints one JSON line for each.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import measuring, traces
from covid_core import files
from covid_core.data.dataset import decide, open_dataset
from covid_core.data.decisions import LEAVE_OUT, Decision
from covid_core.data.imports import importing, merging
from covid_core.data.imports.layouts import EVERYTHING
from covid_core.jobs import queue
from covid_core.runs import store
from covid_core.runs.store import Run, Status, Study
from covid_core.specs import TrainingSpec
from covid_core.workspace import Workspace

IMAGES = 24
BEGIN = "begin"  # a file that is made where the work of a step begins


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
    from covid_core.nets.fitting import Fit  # it imports no TensorFlow, but stands among what does

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


def publishing_order(root: Path, *verb: str) -> dict[str, Any]:
    """Publishes of all STEPS, or of a verb of the command line, in the new workspace ``root``, and which were not in
    order."""
    words = ["-m", "covid_core", *verb] if verb else ["-m", "benchmarks.crashes", "--do", *STEPS, "--home", str(root)]
    environment = {**os.environ, "COVID_CORE_HOME": str(root)}
    order = traces.order_of(traces.traced([sys.executable, *words], root, environment), root)
    return {"publishes": len(order.published), "out_of_order": len(order.broken), "broken": order.broken}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--do", nargs="+", choices=STEPS, help="do the work of these steps, and measure nothing")
    parser.add_argument("--home", type=Path, help="the workspace of --do")
    options = parser.parse_args()
    if options.do:
        for name in options.do:
            (options.home / BEGIN).touch()
            STEPS[name](Workspace(options.home))
        return
    measuring.show(publishing_order(Path(os.environ["COVID_CORE_HOME"])))


if __name__ == "__main__":
    main()
