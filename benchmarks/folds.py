"""Accuracy and time of 5 folds on a frozen MobileNetV2, by fold seed: ``python -m benchmarks.folds --data FOLDER``.

The settings are those of the study that is repeated here: 224 px, the features of two middle layers, a head of 256
units with dropout 0.5, AdamW, 60 epochs to the end, mirrored copies as augmentation and at test. The study had no
validation part, so ours is the smallest that a split may have and decides nothing; everything else is as
``covid_core train`` chooses it. Every fold seed begins with an empty workspace, so decoding, exporting the network and
its pass over the films are counted; the import is told beside it. ImageNet weights must be in Keras's cache.

Prints one JSON line: per fold seed the seconds, the mean and spread of the test accuracy over the folds, and the mean
sensitivity per class; and the means over the fold seeds. There is no peer.
"""

import statistics
from typing import Any

from benchmarks import course, measuring
from covid_core import presets

FOLDS = 5
SETTINGS = (
    "weights=imagenet",
    "taps=default",
    "image_size=224",
    "head.units=[256]",
    "head.dropout=0.5",
    "optimizer=adamw",
    "epochs=60",
    "patience=0",
    "keep=last",
    "imbalance=none",
    "split.validation=0.02",
    "augmentation.flip=true",
    "test_time_flip=true",
)


def main() -> None:
    parser = course.options(__doc__)
    parser.set_defaults(repeats=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the split into folds")
    given = parser.parse_args()
    with course.bench(given) as bench:
        ours = bench.workspace("folds")
        rows = [row for _ in range(given.repeats) for row in (one_seed(ours, seed) for seed in given.seeds)]
        measuring.show(
            {
                "benchmark": "folds",
                "data": bench.films.name,
                "films": sum(ours.counts.values()),
                "folds": FOLDS,
                "settings": settings(given.epochs),
                "mean_accuracy": mean(row["accuracy"] for row in rows),
                "mean_sensitivity": {label: mean(row["sensitivity"][label] for row in rows) for label in ours.counts},
                "slowest": max(row["seconds"] for row in rows),
                "fold_seeds": rows,
                "machine": measuring.machine(),
            }
        )


def settings(epochs: int | None) -> list[str]:
    """The settings of every fold seed; with another number of epochs for a try."""
    return [*SETTINGS, f"folds={FOLDS}", *([f"epochs={epochs}"] if epochs else [])]


def one_seed(ours: course.Ours, seed: int) -> dict[str, Any]:
    """All folds of one fold seed, from an empty workspace."""
    importing = ours.fresh()
    spec = presets.pretrained_spec(ours.dataset, tuple(ours.counts))
    seconds = ours.train(spec, "folds", *settings(ours.bench.epochs), f"split.seed={seed}")
    told = ours.bench.told["folds"][-1]
    runs = told["runs"]
    return {
        "seed": seed,
        "seconds": round(seconds, 3),
        "import": round(importing, 3),
        "accuracy": round(told["test"]["accuracy"], 4),
        "spread": round(told["test"]["spread"], 4),
        "sensitivity": {label: mean(run["test"]["sensitivity"][label] for run in runs) for label in ours.counts},
        "fold_accuracies": [round(run["test"]["accuracy"], 4) for run in runs],
        "fold_epochs": [run["epochs"] for run in runs],
        "fold_seconds": [run["started_to_completed"] for run in runs],
        "stages": [run["stages"] for run in runs],
    }


def mean(values: Any) -> float:
    return round(statistics.fmean(values), 4)


if __name__ == "__main__":
    main()
