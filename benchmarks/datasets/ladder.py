"""The ladder of probes on a folder of images, beside published figures.

``python -m benchmarks.datasets.ladder --data FOLDER``

Imports the folder, climbs the ladder as the app does, and prints one JSON line: accuracy with its interval of every
probe, the verdict, and the seconds that it took beyond decoding. ``--study database`` or ``--study darkcovidnet`` adds
the figures of the course study on that set and by how many points each differs; to reach: at most 3. Those come from a
support vector machine and other folds. ``--home WORKSPACE --dataset ID`` takes a data set that is imported already.
Features of a frozen network and a
segmenter are used where that workspace has them. There is no peer.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import measuring
from covid_core.audit.shortcuts import probe_ladder, probes
from covid_core.data.dataset import Dataset, open_dataset
from covid_core.data.imports import importing
from covid_core.inference import lungs
from covid_core.reports import audit_text
from covid_core.runs import frozen_features
from covid_core.workspace import Workspace

STUDY = {  # accuracy in per cent by probe: "What is known about the data" of the course study, 5 folds
    "database": {"six": 83.0, "histogram": 84.9, "border": 87.4, "thumbnail": 91.9},
    "darkcovidnet": {"six": 71.8, "histogram": 74.7, "border": 71.7, "thumbnail": 78.6},
}


def main() -> None:
    parser = measuring.options(__doc__)
    parser.add_argument("--study", choices=list(STUDY), help="the figures to compare with")
    parser.add_argument("--home", type=Path, help="a workspace that holds the data set")
    parser.add_argument("--dataset", help="its id")
    given = parser.parse_args()
    if bool(given.data) == bool(given.home and given.dataset):
        parser.error("give --data FOLDER, or --home WORKSPACE with --dataset ID")
    if given.home:
        workspace = Workspace(given.home.resolve())
        measuring.show(climbed(workspace, open_dataset(workspace, given.dataset), given.study))
        return
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(Path(scratch))
        measuring.show(climbed(workspace, importing.import_folder(workspace, given.data, name="Images"), given.study))


def climbed(workspace: Workspace, dataset: Dataset, study: str | None = None) -> dict[str, Any]:
    """The ladder of one data set, its seconds, and how far it is from published figures."""

    def told(_share: float, message: str) -> None:
        measuring.tell(message)

    begin, processor = time.perf_counter(), time.process_time()
    frozen = frozen_features.best(workspace, dataset)
    ladder = probes.ladder(workspace, dataset, lungs.of_images, progress=told, frozen=frozen)
    seconds, processor = time.perf_counter() - begin, time.process_time() - processor
    rungs = {
        rung.probe.key: {
            "accuracy": round(100 * rung.accuracy.value, 1),
            "images": rung.images,
            "interval": [round(100 * bound, 1) for bound in (rung.accuracy.low, rung.accuracy.high)],
            "kept": round(ladder.share_of_gain(rung), 3),
        }
        for rung in ladder.rungs
        if rung.was_run
    }
    published = STUDY.get(study or "", {})
    return {
        "benchmark": "ladder",
        "images": ladder.images,
        "counts": dataset.counts,
        "majority": round(100 * ladder.rungs[0].majority, 1),
        "full_picture": ladder.full.probe.name,
        "rungs": rungs,
        "not_run": {rung.probe.key: rung.reason for rung in ladder.rungs if not rung.was_run},
        "verdict": probe_ladder.verdict(ladder).level,
        "headline": audit_text.ladder(ladder).headline,
        "study": published,
        "off_by_points": {key: round(rungs[key]["accuracy"] - figure, 1) for key, figure in published.items()},
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "machine": measuring.machine(),
    }


if __name__ == "__main__":
    main()
