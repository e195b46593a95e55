"""Accuracy and time of 5 folds on a frozen MobileNetV2, by fold seed.

``python -m benchmarks.training.folds --data FOLDER``

The settings are those of the study that is repeated here: 224 px, the features of two middle layers, a head of 256
units with dropout 0.5, AdamW, 60 epochs of the images and their mirrored copies to the end, the mean of both sides at
test. The study had no validation part, so ours is the smallest that a split may have and decides nothing, and it dealt
image by image; everything else is as ``covid_core train`` chooses it. ``--epochs 60`` reads the study in another way:
one side of an image in each of 60 epochs.

Every fold seed begins with an empty workspace, so decoding, exporting the network and its pass over the images are
counted; the import is told beside it. ImageNet weights must be in Keras's cache.

A head's own seed (its start, dropout, order) moves the mean by as much as the fold seeds do, and so does any change in
the rounding of a sum. So every fold seed is repeated with several head seeds, on features that are there by then.

Prints one JSON line: per fold seed the seconds of the first head seed, the test accuracy over the folds for each head
seed, and the mean sensitivity per class; the mean over everything, and the means by head seed. There is no peer.
"""

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks import measuring
from benchmarks.training import course
from covid_core import presets

FOLDS = 5
STUDY_EPOCHS = 60
SETTINGS = (
    "weights=imagenet",
    "taps=default",
    "image_size=224",
    "head.units=[256]",
    "head.dropout=0.5",
    "optimizer=adamw",
    f"epochs={2 * STUDY_EPOCHS}",  # an image shows one of its sides per epoch; the study learned from both in each
    "patience=0",
    "keep=last",
    "imbalance=none",
    "split.method=stratified",
    "split.validation=0.02",
    "augmentation.flip=true",
    "test_time_flip=true",
)


def main() -> None:
    parser = course.options(__doc__)
    parser.set_defaults(repeats=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the split into folds")
    parser.add_argument("--head-seeds", type=int, nargs="+", default=[0, 1, 2], help="of the heads")
    given = parser.parse_args()
    with course.bench(given) as bench:
        ours = bench.workspace("folds")
        rows = [one_seed(ours, seed, given.head_seeds) for _ in range(given.repeats) for seed in given.seeds]
        by_head = [mean(row["accuracies"][at] for row in rows) for at in range(len(given.head_seeds))]
        measuring.show(
            {
                "benchmark": "folds",
                "data": bench.images.name,
                "images": sum(ours.counts.values()),
                "folds": FOLDS,
                "settings": settings(given.epochs),
                "mean_accuracy": mean(by_head),
                "mean_accuracy_by_head_seed": dict(zip(map(str, given.head_seeds), by_head, strict=True)),
                "mean_sensitivity": {label: mean(row["sensitivity"][label] for row in rows) for label in ours.counts},
                "slowest": max(row["seconds"] for row in rows),
                "fold_seeds": rows,
                "machine": measuring.machine(),
            }
        )


def settings(epochs: int | None) -> list[str]:
    """The settings of every fold seed; with another number of epochs for a try."""
    return [*SETTINGS, f"folds={FOLDS}", *([f"epochs={epochs}"] if epochs else [])]


def one_seed(ours: course.Ours, seed: int, head_seeds: Sequence[int]) -> dict[str, Any]:
    """All folds of one fold seed, from an empty workspace for the first head seed."""
    importing = ours.fresh()
    spec = presets.suggested_spec(ours.dataset, tuple(ours.counts))
    chosen = [*settings(ours.bench.epochs), f"split.seed={seed}"]
    seconds = [ours.train(spec, "folds", *chosen, f"seed={head_seed}") for head_seed in head_seeds]
    told = ours.bench.told["folds"][-len(head_seeds) :]
    first, runs = told[0]["runs"], [run for answer in told for run in answer["runs"]]
    return {
        "seed": seed,
        "seconds": round(seconds[0], 3),
        "seconds_of_further_head_seeds": [round(one, 3) for one in seconds[1:]],
        "import": round(importing, 3),
        "accuracies": [round(answer["test"]["accuracy"], 4) for answer in told],
        "spreads": [round(answer["test"]["spread"], 4) for answer in told],
        "sensitivity": {label: mean(run["test"]["sensitivity"][label] for run in runs) for label in ours.counts},
        "fold_accuracies": [[round(run["test"]["accuracy"], 4) for run in answer["runs"]] for answer in told],
        "fold_seconds": [run["started_to_completed"] for run in first],
        "stages": [run["stages"] for run in first],
    }


def mean(values: Any) -> float:
    return round(statistics.fmean(values), 4)


if __name__ == "__main__":
    main()
