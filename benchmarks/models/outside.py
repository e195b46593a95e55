"""What three models are worth inside and outside their data set.

``python -m benchmarks.models.outside --data A --outside B``

Each model is trained twice on A, once on a split image by image and once with copies and patients kept together, and
each run is then tested on B, without the images that both data sets hold. Only classes of the same name count; the
others are answered and counted by what they are called. The models: MobileNetV2 at 224 px on its two middle layers (the
app's default), the course's MobileNetV2 (128 px, last layer, 5 epochs), and the baseline CNN. ImageNet weights must be
in Keras's cache. Everything goes through the command line.

Prints one JSON line per split: every run's figures with intervals, all pairs, and the outside tests with the drop.
There is no peer, and nothing is timed.
"""

from pathlib import Path
from typing import Any

from benchmarks import measuring
from benchmarks.training import course
from covid_core import presets
from covid_core.specs import TrainingSpec

SPLITS = {"image by image": "stratified", "groups kept together": "grouped"}
OVERALL = ("accuracy", "balanced_accuracy", "macro_auroc", "matthews_correlation", "expected_calibration_error")


def main() -> None:
    parser = course.options(__doc__)
    parser.add_argument("--outside", type=Path, required=True, help="another folder of images, one folder per class")
    given = parser.parse_args()
    with course.bench(given) as bench:
        ours = bench.workspace("outside")
        ours.fresh()
        _, elsewhere = measuring.command_line("import", str(given.outside.resolve()), home=ours.home)
        for words, method in SPLITS.items():
            runs = [trained(ours, spec, method) for spec in specs(ours)]
            measuring.show(
                {
                    "benchmark": "outside",
                    "data": bench.images.name,
                    "outside": given.outside.name,
                    "split": words,
                    **compared(ours, runs),
                    "outside_tests": [evaluated(ours, run, elsewhere["dataset"]) for run in runs],
                    "machine": measuring.machine(),
                }
            )


def specs(ours: course.Ours) -> list[TrainingSpec]:
    """The three models; the course's on all images, not on a balanced subset."""
    classes = tuple(ours.counts)
    found = [
        ("MobileNetV2, two middle layers", presets.suggested_spec(ours.dataset, classes), {"weights": "imagenet"}),
        ("MobileNetV2 of the course", ours.course_spec("mobilenet_v2"), {"split.images_per_class": None}),
        ("Baseline CNN", presets.suggested_spec(ours.dataset, classes, "baseline_cnn"), {}),
    ]
    return [
        presets.with_overrides(spec, {"name": name, **changes, **course.epochs_of(spec, ours.bench.epochs)})
        for name, spec, changes in found
    ]


def trained(ours: course.Ours, spec: TrainingSpec, method: str) -> str:
    """Train on one kind of split. Returns the run's id."""
    ours.train(spec, method, f"split.method={method}")
    return ours.run


def compared(ours: course.Ours, runs: list[str]) -> dict[str, Any]:
    """The figures of the runs' test part and all their pairs, as ``compare`` tells them."""
    _, answer = measuring.command_line("compare", *runs, home=ours.home)
    (group,) = answer["groups"]
    return {
        "images": group["images"],
        "table": group["table"],
        "pairs": group["pairs"],
        "measures": {run: _test_measures(group["runs"][run]["test"]) for run in runs},
        "summary": group["summary"],
    }


def _test_measures(test: dict[str, Any]) -> dict[str, Any]:
    sensitivity = {label: found["sensitivity"] for label, found in test["per_class"].items()}
    return {**{name: test["overall"][name] for name in OVERALL}, "sensitivity": sensitivity}


def evaluated(ours: course.Ours, run: str, dataset: str) -> dict[str, Any]:
    """One run on the other data set, as ``evaluate`` tells it, without the list of shared images."""
    _, answer = measuring.command_line("evaluate", run, dataset, home=ours.home)
    kept = ("run", "classes", "unknown", "shared", "conflicts", "images", "drop", "called")
    figures = {
        side: {
            "accuracy": answer[side]["overall"]["accuracy"],
            "sensitivity": {label: found["sensitivity"] for label, found in answer[side]["per_class"].items()},
        }
        for side in ("inside", "outside")
    }
    return {**{name: answer[name] for name in kept}, "figures": figures}


if __name__ == "__main__":
    main()
