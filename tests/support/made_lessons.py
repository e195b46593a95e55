"""Lessons as if they had been prepared, made from nothing, for tests. Nothing here trains."""

import time
from collections.abc import Mapping, Sequence

import pandas as pd
from made_runs import answered, made_run

from covid_core.lessons import preparation
from covid_core.lessons.catalogue import PAIR
from covid_core.runs import store
from covid_core.runs.store import EvaluationRecord, JobFolder, OutsideDataset, Status
from covid_core.workspace import Workspace

COMMON, RARE = 90, 10  # test images


def job(
    workspace: Workspace, key: str, state: str, seed: int = 0, recipe: int = preparation.RECIPE, **status: object
) -> JobFolder:
    """A lesson's job in a state. One that waits or runs is held by nobody, so it counts as interrupted."""
    made = store.create_job(
        preparation.place_of(workspace, key), "lesson", {"lesson": key, "seed": seed, "recipe": recipe}
    )
    made.write_launch(pid=1, attempt=1)
    now = time.time()
    made.write_status(Status(state, started=now - 20, updated=now, ended=now, **status))
    return made


def test_part(right: int, wrong_sick: int = 0, common: int = COMMON, rare: int = RARE) -> pd.DataFrame:
    """Answers for images of COVID (``rare``) and Normal: ``right`` COVID images are found, ``wrong_sick`` Normal images
    are called COVID."""
    labels = ["COVID"] * rare + ["Normal"] * common
    given = ["COVID"] * right + ["Normal"] * (rare - right) + ["COVID"] * wrong_sick
    return answered(labels, given + ["Normal"] * (common - wrong_sick))


def ready(
    workspace: Workspace,
    key: str,
    tables: Mapping[str, pd.DataFrame],
    patients: Sequence[str] | None = None,
    **result: object,
) -> None:
    """A lesson with one finished run per role, whose predictions are these tables. ``patients`` says whose each image
    is; without, each is by itself."""
    place = preparation.place_of(workspace, key)
    runs = {}
    for role, table in tables.items():
        groups = table["image_id"] if patients is None else list(patients)
        parts = table[["image_id", "label", "part"]].assign(group=groups)
        runs[role] = made_run(place, table, role, parts=parts).id
    job(workspace, key, store.COMPLETED, progress=1.0).write_result(
        {"dataset": "made", "runs": runs, "seconds": 21.0, **result}
    )


def rare_class(
    workspace: Workspace,
    found: Sequence[int] = (1, 6, 5, 8),
    alarms: Sequence[int] = (0, 9, 8, 30),
    patients: Sequence[str] | None = None,
    **result: object,
) -> None:
    """The lesson of the rare class: for each way, how many of 10 COVID images it finds and how many false alarms;
    ``patients`` and ``result`` as of ``ready``."""
    roles = ("none", "class_weights", "oversample", "undersample")
    tables = {role: test_part(*given) for role, given in zip(roles, zip(found, alarms, strict=True), strict=True)}
    ready(workspace, "rare-class", tables, patients, **result)


def corner_tag(workspace: Workspace, without: int) -> None:
    """The lesson of the corner tag, in which so many of 40 images are answered rightly without their letter."""
    place, labels = preparation.place_of(workspace, "corner-tag"), [*PAIR] * 20
    other = [PAIR[1 - PAIR.index(label)] for label in labels]
    run = made_run(place, answered(labels, labels), "tagged")
    some = labels[:without] + other[without:]
    for name, given in ((preparation.WITHOUT_TAG, some), (preparation.OTHER_TAG, other)):
        record = EvaluationRecord(created=time.time(), dataset=OutsideDataset(name=name))
        run.write_evaluation(record, answered(labels, given))
    heat = {"share": 0.5, "low": 0.45, "high": 0.55, "chance": 0.05, "images": 40}
    job(workspace, "corner-tag", store.COMPLETED, progress=1.0).write_result(
        {"dataset": "made", "runs": {"tagged": run.id}, "seconds": 20.0, "heat": {"own": heat, "other": heat}}
    )
