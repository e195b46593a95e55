"""A comparison of 20 runs on 3,000 test images, all intervals and pairs: ``python -m benchmarks.models.comparison``.

Finished runs are made as files (records, splits, histories and prediction tables; no models): 3 classes, as many
training and validation images as TRAINING and VALIDATION say, once with every image by itself and once with images in
pairs that belong together (``grouped``: there whole groups are drawn, and runs cannot share as much). Every repeat is a
fresh process; libraries are imported before the clock starts.

- ``cold``: read every run's prediction table, every measure of test and validation with its interval, marks, ranking,
  all pairs with intervals and Holm's correction, the table of pairs, every run's calibration.
- ``page_cold_measures``, ``page_cold_pairs``, then ``page_warm_...``: the Compare page with all runs chosen and that
  tab open, as the server runs it; the first time in a process (Pairs after Measures), and again. Drawing in the browser
  is not in it. The page shows the measures of a few runs at a time, so its first answer is less than ``cold``.

The peer (``peers/bootstrap.py``) has the same figures by scikit-learn's and SciPy's own functions, one call per measure
and draw. It takes PEER_REPLICATES draws of one run and of one pair; its seconds are what that comes to for all draws,
runs and pairs: read and calibrate + (draws / PEER_REPLICATES) x seconds of these draws, times runs or pairs.

Prints one JSON line: raw seconds and processor seconds of each repeat, medians, the ratio, the machine's facts.
"""

import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import measuring

RUNS, TEST, VALIDATION, TRAINING = 20, 3_000, 600, 2_400
PEER_REPLICATES = 200
ALONE, GROUPED = "alone", "grouped"
PARTS = ("validation", "test")
VIEWS = ("Measures", "Pairs")  # tabs of the Compare page
OURS, PEER = "cold", "peer"
Times = dict[str, dict[str, float]]


def main() -> None:
    parser = measuring.options(__doc__, repeats=5)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--images", type=int, default=TEST, help="test images; the other parts keep their shares")
    parser.add_argument("--peer-replicates", type=int, default=PEER_REPLICATES)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        homes = {kind: Path(folder) / kind for kind in (ALONE, GROUPED)}
        for kind, home in homes.items():
            fill(home, given.runs, given.images, kind == GROUPED)
        measuring.show(compared(homes, given.repeats, given.peer_replicates))


def compared(homes: dict[str, Path], repeats: int, peer_replicates: int) -> dict[str, Any]:
    """All sides in turn: the figures, the page, both again for groups, and the peer."""
    processor: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {}
    for repeat in range(repeats):
        for name, home in homes.items():
            prefix = "" if name == ALONE else f"{name}_"
            measured = {**measuring.in_fresh_process(cold, home), **measuring.in_fresh_process(page, home)}
            if name == ALONE:
                measured |= measuring.in_fresh_process(peer, home, peer_replicates)
            for side, spent in measured.items():
                times.setdefault(prefix + side, []).append(spent["seconds"])
                processor.setdefault(prefix + side, []).append(spent["processor"])
        measuring.tell(f"turn {repeat + 1} of {repeats}: { ({side: row[-1] for side, row in times.items()}) }")
    return measuring.result(
        "comparison",
        times,
        OURS,
        PEER,
        processor_seconds=processor,
        processor_median={side: round(statistics.median(row), 3) for side, row in processor.items()},
        **measuring.in_fresh_process(facts, homes[ALONE]),
        peer_replicates=peer_replicates,
    )


# What is there


def fill(home: Path, runs: int, images: int, in_pairs: bool) -> None:
    """Finished runs on one split, from poor to good, as files of a workspace."""
    import pandas as pd

    from benchmarks.images import LABELS
    from benchmarks.screens.pages import made_run
    from covid_core.data.dataset import Dataset
    from covid_core.workspace import Workspace

    workspace = Workspace(home)
    sizes = {"train": TRAINING, "validation": VALIDATION, "test": TEST}
    parts = [part for part, size in sizes.items() for _ in range(size * images // TEST)]
    rows = range(len(parts))
    ids = [f"image-{row:06d}" for row in rows]
    per_pair = 2 * len(LABELS)  # labels take turns, so the next image of a class is the twin
    first = [row // per_pair * per_pair + row % len(LABELS) if in_pairs else row for row in rows]
    split = pd.DataFrame(
        {
            "image_id": ids,
            "label": [LABELS[row % len(LABELS)] for row in rows],
            "source": "",
            "group": [ids[row] for row in first],
            "part": parts,
        }
    )
    table = split[["image_id", "label"]].assign(sha256="")
    dataset = Dataset("made", workspace.datasets / "made", {"name": "Made", "kind": "folder"}, table)
    for number in range(runs):
        made_run(workspace, dataset, split, number, study="")


def facts(home: Path) -> dict[str, int]:
    """What is compared, as the files say it."""
    runs = _runs(home)
    parts = runs[0].predictions()["part"].value_counts()
    return {"runs": len(runs), **{f"{part}_images": int(parts[part]) for part in PARTS}}


def _runs(home: Path) -> list[Any]:
    from covid_core.runs import store
    from covid_core.workspace import Workspace

    return store.list_runs(Workspace(home))[0]


# What is measured, each in a process of its own


def _timed(work: Callable[[], Any]) -> dict[str, float]:
    gc.collect()
    begin, processor = time.perf_counter(), time.process_time()
    work()
    return {
        "seconds": round(time.perf_counter() - begin, 3),
        "processor": round(time.process_time() - processor, 3),
    }


def cold(home: Path) -> Times:
    """Every figure of every run, and every pair."""
    import pyarrow.parquet  # noqa: F401  pandas loads it with the first table
    import scipy.sparse
    import scipy.special  # noqa: F401  loaded where they are used

    runs = _runs(home)
    return {OURS: _timed(lambda: every_figure(runs))}


def every_figure(runs: list[Any]) -> dict[str, Any]:
    """What the comparison has to say, from the runs' files."""
    from covid_core.evaluation import comparison
    from covid_core.runs import candidates, temperature_scaling

    loaded = [candidates.candidate(run) for run in runs]
    ranking = comparison.ranking(loaded)
    return {
        "test": {one.id: one.assessment.tested for one in loaded},
        "validation": {run.id: candidates.measured(run, "validation") for run in runs},
        "table": comparison.performance_table(ranking.order),
        "pairs": comparison.pair_table(ranking),
        "calibration": {run.id: temperature_scaling.of(run) for run in runs},
    }


def page(home: Path) -> Times:
    """The Compare page with its tabs Measures and Pairs, first and again."""
    from streamlit.testing.v1 import AppTest

    os.environ["COVID_CORE_HOME"] = str(home)
    from pages.server import startup

    startup.import_everything()
    chosen = ",".join(run.id for run in _runs(home))
    dashboard = str(measuring.ROOT / "pages/dashboard.py")
    sessions = {view: AppTest.from_file(dashboard, default_timeout=600) for view in VIEWS}
    for app in sessions.values():
        app.run()

    def visit(view: str) -> None:
        app = sessions[view]
        app.switch_page("compare.py")
        app.query_params["runs"], app.query_params["view"] = chosen, view
        app.run()
        if app.exception:
            raise SystemExit(f"{view}: {app.exception[0].value}")

    visits = [(f"page_{state}_{view.lower()}", view) for state in ("cold", "warm") for view in VIEWS]
    return {name: _timed(lambda view=view: visit(view)) for name, view in visits}


def peer(home: Path, replicates: int) -> Times:
    """The same figures by scikit-learn and SciPy, from one run and one pair to all (see the module's text)."""
    import numpy as np

    from benchmarks.peers import bootstrap
    from covid_core.evaluation.resampling import REPLICATES

    runs = _runs(home)
    tables = [run.predictions() for run in runs[:2]]
    classes = runs[0].classes

    def arrays(table: Any, part: str, prefix: str = "score_") -> tuple[Any, Any]:
        images = table[table["part"] == part]
        values = images[[prefix + label for label in classes]].to_numpy()
        return np.searchsorted(classes, images["label"].to_numpy(dtype=str)), values

    def read_and_calibrate() -> None:
        table = runs[0].predictions()
        bootstrap.temperature(*reversed(arrays(table, "validation", "logit_")))
        for part in PARTS:
            bootstrap.figures(*arrays(table, part))

    def draw() -> None:
        for part in PARTS:
            bootstrap.intervals(*arrays(tables[0], part), replicates)

    y_true = arrays(tables[0], "test")[0]
    right = [scores.argmax(axis=1) == y_true for _, scores in (arrays(table, "test") for table in tables)]
    once, drawn = _timed(read_and_calibrate), _timed(draw)
    paired = _timed(lambda: bootstrap.pair(right[0], right[-1], y_true, replicates))
    more, pairs = REPLICATES / replicates, len(runs) * (len(runs) - 1) / 2
    in_all = {
        clock: round(len(runs) * (once[clock] + more * drawn[clock]) + pairs * more * paired[clock], 1)
        for clock in ("seconds", "processor")
    }
    return {PEER: in_all, "peer_one_run_drawn": drawn, "peer_one_pair_drawn": paired}


if __name__ == "__main__":
    main()
