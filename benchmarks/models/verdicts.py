"""Is a model's verdict right? ``python -m benchmarks.models.verdicts [--seeds 20] [--first 0]``.

For each seed two runs are trained on synthetic images, and audited on their own test images as the app audits them
(``covid_core.audit.model.model_audit``): one where each class has its letter in a corner, beside the lesions as usual,
which has to be told "reads the frame", and one whose lesions are plain to see and where nothing else differs, which has
to be told "reads the lungs". Each is right in LEAST of 20 seeds or the benchmark fails. The rule
(``covid_core.audit.model.evidence``) was made on seeds from 1000 on; seeds from 0 on had no part in it.

MobileNetV2 starts from ImageNet weights, which have to be cached (KERAS_HOME); without them the benchmark fails. Prints
one JSON line per run, then one that counts.
"""

import math
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from benchmarks.measuring import machine, options, show, tell

LEAST = 19  # of 20
IMAGES = 300
TEST, VALIDATION = 0.3, 0.2  # shares: 90 test images, 8 of the rarest class
SIZE = 128
EXPECTED = {"corner-tag": "reads the frame", "clear-lesions": "reads the lungs"}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=2, help="that share the seeds")
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.seeds)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as the workers have it: a head's matrices are small
    with ProcessPoolExecutor(given.processes, multiprocessing.get_context("spawn")) as pool:
        shares = pool.map(of_seeds, [seeds[start :: given.processes] for start in range(given.processes)])
        rows = sorted((row for share in shares for row in share), key=lambda row: (row["plant"], row["seed"]))
    for row in rows:
        show(row)
    right = {plant: sum(row["right"] for row in rows if row["plant"] == plant) for plant in EXPECTED}
    show({"benchmark": "verdicts", "seeds": list(seeds), "right": right, "of": len(seeds), "machine": machine()})
    if min(right.values()) < math.ceil(LEAST / 20 * len(seeds)):
        raise SystemExit("Too many verdicts are wrong.")


def of_seeds(seeds: range) -> list[dict[str, Any]]:
    """Two runs per seed, trained and audited in a workspace of their own."""
    from covid_core.jobs import queue
    from covid_core.runs import store
    from covid_core.specs import StudySpec
    from covid_core.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        os.environ["COVID_CORE_HOME"] = folder
        workspace = Workspace.default()
        asked = [(seed, plant) for seed in seeds for plant in EXPECTED]
        study = queue.submit_study(workspace, StudySpec(name="Verdicts", runs=[spec(workspace, *one) for one in asked]))
        found = []
        for (seed, plant), name in zip(asked, study.runs, strict=True):
            run = store.open_run(workspace, name)
            if queue.wait(run).state != store.COMPLETED:
                raise SystemExit(run.log_tail())
            found.append({"benchmark": "verdicts", "plant": plant, "seed": seed, **audited(workspace, name)})
            found[-1]["right"] = found[-1]["verdict"] == EXPECTED[plant]
            tell(f"seed {seed}, {plant}: {found[-1]['verdict']}")
        return found


def spec(workspace: Any, seed: int, plant: str) -> Any:
    """A run on a set of its own."""
    from covid_core.data.imports import importing
    from covid_core.specs import SplitSpec, TrainingSpec

    images = importing.import_phantom(workspace, IMAGES, seed, (plant,), f"{plant}, seed {seed}")
    tell(f"seed {seed}, {plant}: images drawn")
    return TrainingSpec(
        dataset=images.id,
        classes=images.classes,
        name=images.name,
        backbone="mobilenet_v2",
        image_size=SIZE,
        seed=seed,
        split=SplitSpec(method="stratified", test=TEST, validation=VALIDATION),
    )


def audited(workspace: Any, name: str) -> dict[str, Any]:
    """The verdict and what it rests on."""
    from covid_core.audit.model import model_audit
    from covid_core.runs import store

    run = store.open_run(workspace, name)
    found = model_audit.make(workspace, run)
    effects = found["effects"]
    accuracies = {row["name"]: round(row["accuracy"]["value"], 3) for row in found["covers"]}
    return {
        "verdict": found["verdict"],
        "test_accuracy": round(run.accuracy("test"), 3),
        **{f"{part}_effect": _figures(effects[part]) for part in ("frame", "lungs")},
        "within": _figures(effects["within"]),
        "accuracy_covered": accuracies,
        "heat_inside_lungs": round(found["heat"]["share"], 3),
    }


def _figures(one: dict[str, float]) -> list[float]:
    """A value with the ends of its interval."""
    return [round(one[name], 3) for name in ("value", "low", "high")]


if __name__ == "__main__":
    main()
