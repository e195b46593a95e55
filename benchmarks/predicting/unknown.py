"""A disease that is no class.

``python -m benchmarks.predicting.unknown --home WORKSPACE --run RUN --unknown DATASET [...]``

The runs were trained without a disease, and a data set of the workspace holds its images. Counted are those that are
called one of the run's classes, not refused, with a probability (a score where the run is not calibrated) of SURE and
more: as a run answers now (``now``), and without lowering it by the distance (``before``).

To reach: at most a third of the images before, with at most 5 % of the test images refused. ``reference.TAIL`` is 0.1
for all runs: the least of four values that were tried on these images (0.1, 0.2, 0.3, 0.5), because each costs
calibration; so the figures are no proof for another disease. No image of the disease sets a limit. What it costs is
shown of the test images that are not refused: calibration error, and how many still have SURE and more.

References that keep no distances for it are made again. Prints one JSON line per run and data set; nothing is timed.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measuring
from covid_core.data.dataset import Dataset, open_dataset
from covid_core.data.pixels import open_pixels
from covid_core.evaluation.measures import bin_of
from covid_core.evaluation.metrics import wilson
from covid_core.images.codec import GreyImage
from covid_core.inference import reference_fit
from covid_core.inference.assessment import Assessment, assess_all
from covid_core.inference.predictor import Predictor
from covid_core.runs import store
from covid_core.runs.pinned_dataset import dataset_of
from covid_core.runs.store import Run
from covid_core.workspace import Workspace

SURE = 0.95
AT_ONCE = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="the workspace that holds the runs and the data sets")
    parser.add_argument("--run", action="append", required=True, help="id of a finished run")
    parser.add_argument("--unknown", action="append", required=True, help="id of a data set of a disease it was not in")
    given = parser.parse_args()
    workspace = Workspace(given.home.resolve())
    for name in given.run:
        predictor = opened(workspace, name)
        run = store.open_run(workspace, name)
        usual = tested(workspace, run, predictor)
        for identifier in given.unknown:
            other = open_dataset(workspace, identifier)
            unknown = assessed(workspace, predictor, other, np.arange(len(other.images)))
            measuring.show(
                {
                    "benchmark": "unknown",
                    "run": run.id,
                    "data": run.dataset.name,
                    "classes": run.classes,
                    "input": run.spec.input.model_dump(),
                    "calibrated": predictor.calibration.is_defined,
                    "unknown": {"data": other.name, **counted(predictor, unknown)},
                    "test": {**refused([one for one, _ in usual]), **costs(usual)},
                    "machine": measuring.machine(),
                }
            )


def opened(workspace: Workspace, name: str) -> Predictor:
    run = store.open_run(workspace, name)
    predictor = Predictor.open(workspace, run)
    if predictor.reference is not None and len(predictor.reference.neighbourhood.farthest):
        return predictor
    reference_fit.make(workspace, run)
    return Predictor.open(workspace, store.open_run(workspace, name))


def tested(workspace: Workspace, run: Run, predictor: Predictor) -> list[tuple[Assessment, str]]:
    """The run's test images with their classes."""
    split, dataset = run.split(), dataset_of(workspace, run)
    test = split[split["part"] == "test"]
    rows = dataset.images.set_index("image_id").index.get_indexer(test["image_id"])
    return list(zip(assessed(workspace, predictor, dataset, rows), test["label"], strict=True))


def assessed(workspace: Workspace, predictor: Predictor, dataset: Dataset, rows: np.ndarray) -> list[Assessment]:
    pixels = open_pixels(workspace, dataset, predictor.size)
    made = []
    for start in range(0, len(rows), AT_ONCE):
        some = [GreyImage(np.ascontiguousarray(pixels[row]), "L") for row in rows[start : start + AT_ONCE]]
        made += [replace(one, heat=None) for one in assess_all(predictor, some)]
    measuring.tell(f"{dataset.name}: {len(made)} images")
    return made


def refused(assessments: Sequence[Assessment]) -> dict[str, Any]:
    share = wilson(sum(one.refused_by is not None for one in assessments), len(assessments))
    return {"images": share.n, "refused": share.value, "refused_low": share.low, "refused_high": share.high}


def counted(predictor: Predictor, assessments: Sequence[Assessment]) -> dict[str, Any]:
    """How many are called a class surely, before and now."""
    answered = [one for one in assessments if one.refused_by is None]
    before = [replace(one, typicality=1.0) for one in answered]
    by_class = {label: sum(one.predicted == label for one in filter(is_sure, answered)) for label in predictor.classes}
    numbers = {"before": sum(map(is_sure, before)), "now": sum(map(is_sure, answered))}
    return {**refused(assessments), **numbers, "now_by_class": by_class}


def is_sure(one: Assessment) -> bool:
    return float(one.numbers.max()) >= SURE


def costs(usual: Sequence[tuple[Assessment, str]]) -> dict[str, Any]:
    answered = [(one, label) for one, label in usual if one.refused_by is None]
    before = [(replace(one, typicality=1.0), label) for one, label in answered]
    return {
        name: {
            "calibration_error": round(calibration_error(side), 4),
            "sure": round(float(np.mean([is_sure(one) for one, _ in side])), 4),
        }
        for name, side in (("before", before), ("now", answered))
    }


def calibration_error(pairs: Sequence[tuple[Assessment, str]]) -> float:
    top = np.array([one.numbers.max() for one, _ in pairs])
    right = np.array([one.predicted == label for one, label in pairs])
    bins = bin_of(top)
    return sum(
        abs(float(top[bins == place].mean() - right[bins == place].mean())) * float((bins == place).mean())
        for place in np.unique(bins)
    )


if __name__ == "__main__":
    main()
