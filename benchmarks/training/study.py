"""The course's seven runs, plain Keras, and the floor: ``python -m benchmarks.training.study --data FOLDER``.

- keras: the seven models in turn in one process, which is the faster way for it: libraries and images are read once,
  and ResNet50's frozen model is trained once and goes on to its last 10 layers.
- ours: ``import`` into an empty workspace, then ``study --preset course --wait``, both whole processes. With ``--only``
  or ``--skip`` the chosen runs are trained by one ``train --wait`` after the other instead.
- floor: see ``benchmarks.training.floor``; the baseline CNN's part of it is the quicker of both sides' own fits in that
  repeat.

Weights are ImageNet's where Keras has the file already, else random, on both sides. Prints a JSON line for the study,
with every run's own seconds on both sides, and one for the floor; with ``--no-peer`` the floor's line alone, in a third
of the time. Single backbones by themselves: ``benchmarks.training.frozen``.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import measuring
from benchmarks.training import course

OURS, FLOOR = "ours", "floor"


def main() -> None:
    parser = course.options(__doc__)
    parser.add_argument("--only", nargs="+", choices=course.RUNS, metavar="NAME", default=list(course.RUNS))
    parser.add_argument("--skip", nargs="+", choices=course.RUNS, metavar="NAME", default=[])
    parser.add_argument("--no-floor", action="store_true", help="leave the floor out")
    parser.add_argument("--no-peer", action="store_true", help="leave the peer out: ours against the floor alone")
    given = parser.parse_args()
    if given.no_peer and given.no_floor:
        parser.error("--no-peer compares ours with the floor: it does not go with --no-floor")
    names = [name for name in course.RUNS if name in given.only and name not in given.skip]
    with course.bench(given) as bench:
        seconds = measuring.in_turn(sides(bench, names, given), given.repeats)
        if not given.no_peer:
            measuring.show(study_line(bench, names, seconds))
        if not given.no_floor:
            measuring.show(floor_line(bench, names, seconds))


def sides(bench: course.Bench, names: list[str], given: argparse.Namespace) -> dict[str, Any]:
    """What runs in turn."""
    workspace = bench.workspace("study")
    chosen: dict[str, Any] = {} if given.no_peer else {course.PEER: lambda: bench.keras(names)}
    chosen[OURS] = lambda: ours(workspace, names)
    if not given.no_floor:
        chosen[FLOOR] = lambda: floor(workspace, names)
    return chosen


def ours(workspace: course.Ours, names: list[str]) -> float:
    """Import and all chosen runs. Returns the seconds of all processes."""
    seconds = workspace.fresh()
    if names == list(course.RUNS):
        words = ["study", workspace.dataset, "--preset", "course", "--random-where-missing"]
        taken, answer = measuring.command_line(*words, *epoch_words(workspace), "--wait", home=workspace.home)
        workspace.note(OURS, answer)
        return seconds + taken
    for name in names:
        seconds += workspace.train(workspace.course_spec(name), name)
    told = [workspace.bench.told[name][-1] for name in names]
    submitted = round(sum(row["submitted_to_completed"] for row in told), 3)
    workspace.bench.told[OURS].append(
        {"submitted_to_completed": submitted, "runs": [row["runs"][0] for row in told], "test": None}
    )
    return seconds


def epoch_words(workspace: course.Ours) -> list[str]:
    """The setting of a try; a whole study has no setting for the fine-tuning stage alone, which keeps its 5 epochs."""
    epochs = workspace.bench.epochs
    return ["--set", f"epochs={epochs}"] if epochs else []


def floor(workspace: course.Ours, names: list[str]) -> float:
    """Measure the floor on what our side has just left. Returns its seconds."""
    bench = workspace.bench
    runs = dict(zip(names, bench.told[OURS][-1]["runs"], strict=True))
    trunks = {backbone: runs[name]["trunk"] for backbone, name in needed_trunks(names).items()}
    words = ["--home", str(workspace.home), "--dataset", workspace.dataset, "--trunks", json.dumps(trunks)]
    words += ["--tail"] if "resnet50_last10" in names else []
    words += ["--epochs", str(bench.epochs)] if bench.epochs else []
    _, output = measuring.seconds_of([sys.executable, "-m", "benchmarks.training.floor", *words])
    told = json.loads(output.splitlines()[-1])
    if "baseline" in names:
        peers = [course.peer_run(answer, "baseline") for answer in bench.told[course.PEER][-1:]]
        told["baseline"] = min([*(peer["seconds"]["fit"] for peer in peers), runs["baseline"]["stages"]["fit"]])
    bench.told[FLOOR].append(told)
    passes = sum(found["seconds"] for found in told["passes"].values())
    return passes + told.get("tail", 0) + told.get("baseline", 0)


def needed_trunks(names: Sequence[str]) -> dict[str, str]:
    """Backbones that must see every image once, each with a run that has its exported network."""
    backbones = {name: name.removesuffix("_last10").removesuffix("_augmented") for name in names if name != "baseline"}
    return {backbone: name for name, backbone in reversed(backbones.items())}


def study_line(bench: course.Bench, names: list[str], seconds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """The JSON object of the study, with every run's median seconds and accuracies."""
    peers, told = bench.told[course.PEER], bench.told[OURS]
    return measuring.result(
        "study",
        {course.PEER: seconds[course.PEER], OURS: seconds[OURS]},
        OURS,
        course.PEER,
        models=names,
        images=peers[0]["images"],
        submitted_to_completed=[row["submitted_to_completed"] for row in told],
        runs={name: one_run(bench, names, name) for name in names},
        peer_start=[answer["seconds"] for answer in peers],
    )


def one_run(bench: course.Bench, names: list[str], name: str) -> dict[str, Any]:
    """One run's part on both sides: medians of its own seconds, stages and accuracies."""
    peers = [course.peer_run(answer, name) for answer in bench.told[course.PEER]]
    own = [row["runs"][names.index(name)] for row in bench.told[OURS]]
    return {
        "weights": own[0]["weights"],
        "keras": round(statistics.median(sum(row["seconds"].values()) for row in peers), 3),
        "ours": statistics.median(row["started_to_completed"] for row in own),
        "keras_stages": [row["seconds"] for row in peers],
        "our_stages": [row["stages"] for row in own],
        "keras_test_accuracy": [row["accuracy"]["test"] for row in peers],
        "our_test_accuracy": [row["test"]["accuracy"] for row in own],
    }


def floor_line(bench: course.Bench, names: list[str], seconds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """The JSON object of ours against the floor; ``over_the_floor`` is how many times the floor ours takes."""
    both = {OURS: seconds[OURS], FLOOR: seconds[FLOOR]}
    own = [{name: run["stages"] for name, run in zip(names, row["runs"], strict=True)} for row in bench.told[OURS]]
    line = measuring.result("study_floor", both, FLOOR, OURS, models=names, parts=bench.told[FLOOR], our_stages=own)
    return {"over_the_floor" if key == "times_faster" else key: value for key, value in line.items()}


if __name__ == "__main__":
    main()
