"""ResNet50's last 10 layers, after its frozen run: ``python -m benchmarks.training.fine_tuning --data FOLDER``.

The frozen run comes first on both sides and is not counted. Ours is the whole process of the second run, which finds
what the first one kept. Of the peer two figures are taken from one program: fine-tuning, evaluating and saving alone
(``same_program``: it still holds the images and the model), and with import, decoding, scaling and building, as a new
program would need them (``new_program``). Prints one JSON line for each.
"""

from typing import Any

from benchmarks import measuring
from benchmarks.training import course

MODEL, BEFORE = "resnet50_last10", "resnet50"
FINE_TUNING = ("fit", "evaluate", "save")
START = ("scale", "build")
OURS, SAME, NEW = "ours", "same_program", "new_program"


def main() -> None:
    given = course.options(__doc__).parse_args()
    with course.bench(given) as bench:
        seconds = measuring.in_turn({course.PEER: lambda: peer(bench), OURS: lambda: ours(bench)}, given.repeats)
        for counted in (SAME, NEW):
            measuring.show(line(bench, seconds[OURS], counted))


def peer(bench: course.Bench) -> float:
    """Both runs in one program. Returns the seconds of what comes after the frozen run."""
    bench.keras([BEFORE, MODEL])
    return peer_seconds(bench.told[course.PEER][-1])[SAME]


def peer_seconds(answer: dict[str, Any]) -> dict[str, float]:
    """What fine-tuning costs the peer in the program that trained the frozen model, and in a new one."""
    frozen, tuned = (course.peer_run(answer, name)["seconds"] for name in (BEFORE, MODEL))
    same = sum(tuned[stage] for stage in FINE_TUNING)
    start = answer["seconds"]["import"] + answer["seconds"]["decode"] + sum(frozen[stage] for stage in START)
    return {SAME: round(same, 3), NEW: round(start + same, 3)}


def ours(bench: course.Bench) -> float:
    """An empty workspace, the import and the frozen run, not counted; then the run that is."""
    workspace = bench.workspace(MODEL)
    workspace.fresh()
    workspace.train(workspace.course_spec(BEFORE), BEFORE)
    return workspace.train(workspace.course_spec(MODEL), OURS)


def line(bench: course.Bench, seconds: list[float], counted: str) -> dict[str, Any]:
    """The JSON object of one way to count the peer."""
    answers, told = bench.told[course.PEER], bench.told[OURS]
    return measuring.result(
        "fine_tuning",
        {counted: [peer_seconds(answer)[counted] for answer in answers], OURS: seconds},
        OURS,
        counted,
        model=MODEL,
        weights=course.weights_of(MODEL),
        images=answers[0]["images"],
        stages=[row["runs"][0]["stages"] for row in told],
        test_accuracy=[row["test"]["accuracy"] for row in told],
        peer_runs=[course.peer_run(answer, MODEL) for answer in answers],
    )


if __name__ == "__main__":
    main()
