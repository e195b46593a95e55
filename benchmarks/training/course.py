"""What the training benchmarks share: the course's runs on both sides, in the states that the claims name.

Ours goes through the command line in a workspace of its own, and whole processes are counted: ``import`` where the
state says that nothing is cached, then ``train --wait`` until it has printed its answer. The peer is
``benchmarks/peers/keras_course.py``, from the start of its process to its end.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import measuring
from benchmarks.images import IMAGES_PER_CLASS, made_images
from covid_core import presets, weights
from covid_core.backbones import backbone_named
from covid_core.runs import store
from covid_core.specs import TrainingSpec
from covid_core.workspace import Workspace

RUNS = {
    "baseline": "Baseline CNN",
    "resnet50": "ResNet50, frozen",
    "resnet50_last10": "ResNet50, last 10 layers",
    "vgg16": "VGG16",
    "densenet121": "DenseNet121",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v2_augmented": "MobileNetV2, augmented",
}  # the peer's name and ours, in the study's order
FROZEN = ("mobilenet_v2", "densenet121", "resnet50", "vgg16")
NOTHING, TRUNK, FEATURES, AGAIN = "nothing_cached", "trunk_exported", "features_cached", "same_spec_again"
STATES = (NOTHING, TRUNK, FEATURES, AGAIN)
PEER = "keras"
MOST_PER_CLASS = presets.COURSE_IMAGES_PER_CLASS
KERAS_COURSE = measuring.ROOT / "benchmarks" / "peers" / "keras_course.py"


def options(description: str) -> argparse.ArgumentParser:
    """What every training benchmark takes."""
    parser = measuring.options(description)
    parser.add_argument("--images-per-class", type=int, help="only so many images of each class, for a try")
    parser.add_argument("--epochs", type=int, help="other than the claim's number, on both sides, for a try")
    parser.add_argument("--scratch", type=Path, help="where workspaces are made and removed again")
    return parser


@contextmanager
def bench(given: argparse.Namespace) -> Iterator["Bench"]:
    """The images that were asked for, each file read once so that no side pays for the disk, and a place to work."""
    with tempfile.TemporaryDirectory(dir=given.scratch, ignore_cleanup_errors=True) as scratch:
        images = _images(given.data, given.images_per_class, Path(scratch) / "images")
        for path in images.rglob("*.png"):
            path.read_bytes()
        yield Bench(images, Path(scratch), given.epochs)


def _images(data: Path | None, per_class: int | None, folder: Path) -> Path:
    """The folder of images; a copy of its first ones where a number is given; made ones where there is none."""
    if data is None:
        return made_images(folder, per_class or IMAGES_PER_CLASS)
    if per_class is None:
        return data.resolve()
    for label in (path for path in data.iterdir() if path.is_dir()):
        (folder / label.name).mkdir(parents=True)
        for path in sorted(label.rglob("*.png"))[:per_class]:
            shutil.copy(path, folder / label.name)
    return folder


class Bench:
    """Images, a scratch folder, and what each side told beside its seconds."""

    def __init__(self, images: Path, scratch: Path, epochs: int | None):
        self.images = images
        self.scratch = scratch
        self.epochs = epochs
        self.told: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def workspace(self, name: str) -> "Ours":
        """Our side in a workspace of that name."""
        return Ours(self, self.scratch / name)

    def keras(self, models: Sequence[str]) -> float:
        """The plain Keras program with some models in turn. Returns the seconds of its whole process."""
        words = ["--data", self.images, "--model", *models, "--weights", *map(weights_of, models)]
        words += ["--images-per-class", MOST_PER_CLASS]
        words += ["--epochs", self.epochs] if self.epochs else []
        seconds, output = measuring.seconds_of([sys.executable, str(KERAS_COURSE), *map(str, words)])
        self.told[PEER].append(json.loads(output.splitlines()[-1]))
        return seconds


class Ours:
    """Our side: a workspace, the data set in it, and the run that was trained last."""

    def __init__(self, bench: Bench, home: Path):
        self.bench = bench
        self.home = home
        self.dataset = ""
        self.counts: dict[str, int] = {}
        self.run = ""

    def fresh(self) -> float:
        """Begin anew with an empty workspace and import the images. Returns the seconds of the import's process."""
        shutil.rmtree(self.home, ignore_errors=True)
        seconds, answer = measuring.command_line("import", str(self.bench.images), home=self.home)
        self.dataset, self.counts = answer["dataset"], answer["counts"]
        return seconds

    def forget_run(self) -> None:
        """Delete the run that was trained last; what it left in caches stays."""
        measuring.command_line("delete", self.run, home=self.home)

    def empty_cache(self) -> None:
        """Remove decoded images, features and tables; exported networks stay."""
        measuring.command_line("cache", "--clear", home=self.home)

    def course_spec(self, name: str) -> TrainingSpec:
        """One run of the course, by the peer's name of it."""
        study = presets.study("course", self.dataset, tuple(self.counts), self.counts)
        spec = next(run for run in study.runs if run.name == RUNS[name])
        changes: dict[str, Any] = {} if name == "baseline" else {"weights": weights_of(name)}
        return presets.with_overrides(spec, changes | epochs_of(spec, self.bench.epochs))

    def train(self, spec: TrainingSpec, side: str, *settings: str) -> float:
        """Train with a spec and further ``key=value`` settings. Returns the seconds of the whole process."""
        path = self.home / "spec.json"
        path.write_text(spec.model_dump_json(), encoding="utf-8")
        words = [word for setting in settings for word in ("--set", setting)]
        seconds, answer = measuring.command_line(
            "train", self.dataset, "--spec", str(path), *words, "--wait", home=self.home
        )
        self.note(side, answer)
        return seconds

    def note(self, side: str, answer: Mapping[str, Any]) -> None:
        """Keep what a run or a study told under the side's name. Ends the benchmark where a run is not completed."""
        runs = [row["run"] for row in answer["runs"]] if "runs" in answer else [answer["run"]]
        self.run = runs[-1]
        opened = [store.open_run(Workspace(self.home), run) for run in runs]
        for run in opened:
            if run.status().state != store.COMPLETED:
                raise SystemExit(f"{run.name} {run.status().state}: {run.status().reason} {run.log_tail()}")
        shown = [measuring.command_line("show", run, home=self.home)[1] for run in runs]
        self.bench.told[side].append(
            {
                "submitted_to_completed": round(max(run.status().ended for run in opened) - opened[0].created, 3),
                "test": answer.get("test"),
                "runs": [_of_run(run, row) for run, row in zip(opened, shown, strict=True)],
            }
        )


def _of_run(run: store.Run, shown: Mapping[str, Any]) -> dict[str, Any]:
    status = run.status()
    return {
        "run": shown["name"],
        "weights": shown["spec"]["weights"],
        "started_to_completed": round(status.ended - status.started, 3),
        "stages": shown["result"].get("seconds", {}),
        "trunk": shown["result"].get("trunk", ""),
        "epochs": len(shown["history"]),
        "test": shown["test"],
    }


def weights_of(model: str) -> str:
    """What a model of the course starts from: ImageNet where Keras has the file already, else chance, on both sides."""
    if model == "baseline":
        return "random"
    backbone = backbone_named("resnet50" if model.startswith("resnet50") else model.removesuffix("_augmented"))
    return "imagenet" if weights.is_cached(backbone, presets.COURSE["image_size"]) else "random"


def epochs_of(spec: TrainingSpec, epochs: int | None) -> dict[str, int]:
    """Overrides that give every stage of a spec another number of epochs; none for None."""
    if epochs is None:
        return {}
    return {"epochs": epochs} | ({"fine_tuning.epochs": epochs} if spec.fine_tuning else {})


def in_states(ours: Ours, name: str, states: Sequence[str]) -> dict[str, Callable[[], float]]:
    """Our sides of one run of the course, one per state; the clock leaves out preparing.

    They are called in the order of STATES, of which ``states`` are the first few: each builds on the one before.

    - nothing_cached: an empty workspace; the import counts.
    - trunk_exported: the network was exported by an earlier run, which is deleted; the cache is empty.
    - features_cached: only the run is deleted.
    - same_spec_again: nothing is deleted.
    """

    def side(state: str) -> Callable[[], float]:
        def run() -> float:
            importing = ours.fresh() if state == NOTHING else 0.0
            if state in (TRUNK, FEATURES):
                ours.forget_run()
            if state == TRUNK:
                ours.empty_cache()
            return importing + ours.train(ours.course_spec(name), state)

        return run

    return {state: side(state) for state in states}


def state_line(bench: Bench, name: str, seconds: Mapping[str, Sequence[float]], state: str) -> dict[str, Any]:
    """The JSON object of one run of the course in one state against the peer's seconds in ``seconds[PEER]``."""
    told = bench.told[state]
    return measuring.result(
        "frozen" if name in FROZEN else name,
        {PEER: seconds[PEER], state: seconds[state]},
        state,
        PEER,
        model=name,
        state=state,
        weights=weights_of(name),
        images=bench.told[PEER][0]["images"],
        submitted_to_completed=[row["submitted_to_completed"] for row in told],
        stages=[row["runs"][0]["stages"] for row in told],
        test_accuracy=[row["test"]["accuracy"] for row in told],
        peer_runs=[_peer_of(answer, name) for answer in bench.told[PEER]],
    )


def _peer_of(answer: Mapping[str, Any], name: str) -> dict[str, Any]:
    run = peer_run(answer, name)
    return {"stages": answer["seconds"] | run["seconds"], "accuracy": run["accuracy"]}


def peer_run(answer: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the peer told of one of its models."""
    return next(run for run in answer["runs"] if run["model"] == name)


def compare_states(bench: Bench, name: str, states: Sequence[str], repeats: int) -> None:
    """The peer and our states of one run in turn; one JSON line per state."""
    bench.told.clear()
    sides = {PEER: lambda: bench.keras([name]), **in_states(bench.workspace(name), name, states)}
    seconds = measuring.in_turn(sides, repeats)
    for state in states:
        measuring.show(state_line(bench, name, seconds, state))
