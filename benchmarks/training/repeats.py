"""What folds and seeds cost beside one run: ``python -m benchmarks.training.repeats --data FOLDER``.

One run, 5 folds and 10 seeds of a frozen MobileNetV2, each from a workspace that holds nothing but the imported images;
the whole process of ``train --wait`` counts. In two settings: the course's (128 px, 5 epochs) and those that
``covid_core train`` chooses (224 px, two middle layers, up to 60 epochs). ImageNet weights must be in Keras's cache: a
random start would give every seed another network. Prints one JSON line per setting and kind of repeat; ``cost`` is
how many times one run's seconds the repeats take.
"""

from collections.abc import Callable

from benchmarks import measuring
from benchmarks.training import course
from covid_core import presets
from covid_core.specs import TrainingSpec

ONE, KINDS = "one_run", {"folds": "folds=5", "seeds": "seeds=10"}
SETTINGS = ("course", "default")


def main() -> None:
    parser = course.options(__doc__)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=SETTINGS)
    given = parser.parse_args()
    with course.bench(given) as bench:
        for name in given.settings:
            compare(bench, name, given.repeats)


def compare(bench: course.Bench, name: str, repeats: int) -> None:
    """One run and both kinds of repeats in turn, in one setting."""
    bench.told.clear()
    ours = bench.workspace(name)

    def side(kind: str) -> Callable[[], float]:
        def run() -> float:
            ours.fresh()
            return ours.train(spec_of(ours, name), kind, *([KINDS[kind]] if kind in KINDS else []))

        return run

    seconds = measuring.in_turn({kind: side(kind) for kind in (ONE, *KINDS)}, repeats)
    for kind in KINDS:
        line = measuring.result(
            "repeats",
            {ONE: seconds[ONE], kind: seconds[kind]},
            ONE,
            kind,
            setting=name,
            repeats=KINDS[kind],
            images=sum(ours.counts.values()),
            stages={side: [row["stages"] for row in bench.told[side][-1]["runs"]] for side in (ONE, kind)},
            test=bench.told[kind][-1]["test"],
        )
        measuring.show({"cost" if key == "times_faster" else key: value for key, value in line.items()})


def spec_of(ours: course.Ours, name: str) -> TrainingSpec:
    """A frozen MobileNetV2 in one of the settings, from ImageNet weights."""
    spec = (
        ours.course_spec("mobilenet_v2")
        if name == "course"
        else presets.suggested_spec(ours.dataset, tuple(ours.counts))
    )
    return presets.with_overrides(spec, {"weights": "imagenet"} | course.epochs_of(spec, ours.bench.epochs))


if __name__ == "__main__":
    main()
