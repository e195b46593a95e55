"""A frozen MobileNetV2 against PyTorch.

``python -m benchmarks.training.pytorch --data FOLDER --python VENV/bin/python``

The peer is ``benchmarks/peers/pytorch_frozen.py``, torchvision's MobileNetV2 with the same head, whole process. Ours is
counted as in ``benchmarks.training.course``, in its four states. PyTorch is not needed by this project: ``--python``
names an interpreter that has it. ``--weights imagenet`` lets torchvision use its own ImageNet weights (downloaded where
they are not cached); by default it starts at random, which takes the same time. Prints one JSON line per state.
"""

import json
import sys

from benchmarks import measuring
from benchmarks.training import course

MODEL, PEER = "mobilenet_v2", "pytorch"
SCRIPT = measuring.ROOT / "benchmarks" / "peers" / "pytorch_frozen.py"


def main() -> None:
    parser = course.options(__doc__)
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has torch and torchvision")
    parser.add_argument("--weights", choices=("imagenet", "random"), default="random", help="of the peer")
    given = parser.parse_args()
    with course.bench(given) as bench:
        ours = course.in_states(bench.workspace(MODEL), MODEL, course.STATES)
        sides = {PEER: lambda: peer(bench, given.python, given.weights), **ours}
        seconds = measuring.in_turn(sides, given.repeats)
        for state in course.STATES:
            both = {PEER: seconds[PEER], state: seconds[state]}
            told = bench.told[state]
            measuring.show(
                measuring.result(
                    "pytorch",
                    both,
                    state,
                    PEER,
                    state=state,
                    weights=course.weights_of(MODEL),
                    images=bench.told[PEER][0]["images"],
                    submitted_to_completed=[row["submitted_to_completed"] for row in told],
                    test_accuracy=[row["test"]["accuracy"] for row in told],
                    peer_runs=bench.told[PEER],
                )
            )


def peer(bench: course.Bench, python: str, weights: str) -> float:
    """The PyTorch program. Returns the seconds of its whole process."""
    words = ["--data", str(bench.images), "--weights", weights, "--images-per-class", str(course.MOST_PER_CLASS)]
    words += ["--epochs", str(bench.epochs)] if bench.epochs else []
    seconds, output = measuring.seconds_of([python, str(SCRIPT), *words])
    bench.told[PEER].append(json.loads(output.splitlines()[-1]))
    return seconds


if __name__ == "__main__":
    main()
