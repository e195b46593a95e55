"""Do prediction sets keep their promise?

``python -m benchmarks.predicting.coverage --home WORKSPACE --dataset DATASET``

The data set is split ``--splits`` times, a frozen MobileNetV2 (128 px, two middle layers) gets a head on each, and the
sets of each run, limited by its calibrating validation images, are counted on its test images. The network's features
are computed once. To reach at 90 %: 90 +- 2 % in the mean over 20 splits, and at least 85 % in each. Every run goes
through the command line and is deleted afterwards. ImageNet weights must be in Keras's cache.

Prints one JSON line: for each coverage its mean, least and greatest share over the splits, the same within each class,
the sets' size, and how many have one class or none; and the accuracy of the runs, without which these mean little.
There is no peer, and nothing is timed.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import measuring
from covid_core.evaluation.conformal import Evaluated
from covid_core.runs import prediction_sets, store
from covid_core.workspace import Workspace

SETTINGS = ("backbone=mobilenet_v2", "weights=imagenet", "taps=default", "image_size=128")
COVERAGES = (0.8, 0.9, 0.95)
AIM, WITHIN, LEAST = 0.9, 0.02, 0.85


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="the workspace that holds the data set")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--splits", type=int, default=20)
    given = parser.parse_args()
    home = given.home.resolve()
    rows = [one_split(home, given.dataset, seed) for seed in range(given.splits)]
    at_aim = [row["found"][AIM].covered.value for row in rows]
    measuring.show(
        {
            "benchmark": "coverage",
            "data": rows[0]["data"],
            "settings": SETTINGS,
            "splits": given.splits,
            "images": rows[0]["images"],
            "accuracy": spread([row["accuracy"] for row in rows]),
            "reached": abs(statistics.fmean(at_aim) - AIM) <= WITHIN and min(at_aim) >= LEAST,
            "coverages": {str(level): summed([row["found"][level] for row in rows]) for level in COVERAGES},
            "within_each_class": {str(level): all(row["by_class"][level] for row in rows) for level in COVERAGES},
            "machine": measuring.machine(),
        }
    )


def one_split(home: Path, dataset: str, seed: int) -> dict[str, Any]:
    """A run on one split, what its sets come to, and no trace of it."""
    words = [word for setting in (*SETTINGS, f"split.seed={seed}") for word in ("--set", setting)]
    _, answer = measuring.command_line("train", dataset, *words, "--wait", home=home)
    run = store.open_run(Workspace(home), answer["run"])
    sets = prediction_sets.of(run)
    told = {
        "data": run.dataset.name,
        "images": {"calibration": sets.images, "test": int((run.predictions()["part"] == "test").sum())},
        "accuracy": run.accuracy("test"),
        "found": {level: prediction_sets.report(run, level) for level in COVERAGES},
        "by_class": {level: sets.is_by_class(level) for level in COVERAGES},
    }
    measuring.command_line("delete", run.id, home=home)
    measuring.tell(f"split {seed}: {told['found'][AIM].covered.value:.4f} covered at {AIM}")
    return told


def summed(found: Sequence[Evaluated]) -> dict[str, Any]:
    """One coverage over all splits."""
    return {
        "covered": spread([one.covered.value for one in found]),
        "of_class": {label: spread([one.of_class[label].value for one in found]) for label in found[0].of_class},
        "mean_size": spread([one.mean_size for one in found]),
        "single": spread([one.single.value for one in found]),
        "empty": spread([one.empty.value for one in found]),
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, least and greatest, and all values in the order of the splits."""
    listed = [round(value, 4) for value in values]
    return {"mean": round(statistics.fmean(values), 4), "least": min(listed), "greatest": max(listed), "all": listed}


if __name__ == "__main__":
    main()
