"""Prepare a lesson: draw its images, train its runs, test them; and remove all of it again.

Each lesson has a workspace of its own inside the user's (``lessons/KEY``), which is there only while the lesson is
prepared. All is done by one job in one process, so TensorFlow starts once.
"""

import contextlib
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from covid_core import files
from covid_core.audit.model.occlusions import CORNER
from covid_core.data.imports import importing
from covid_core.errors import JobRefused, UnknownId
from covid_core.images.codec import to_square
from covid_core.images.image import GreyImage
from covid_core.inference.heatmap import share_inside, share_over
from covid_core.inference.network import with_scores
from covid_core.inference.predictor import Predictor
from covid_core.jobs import queue
from covid_core.jobs.kinds import LessonRequest
from covid_core.jobs.run_training import train_within
from covid_core.lessons import image_sets
from covid_core.lessons.catalogue import PAIR, TAG, named
from covid_core.runs import store
from covid_core.runs.store import EvaluationRecord, JobFolder, OutsideDataset, Run, Status
from covid_core.synthetic.phantom import CORNER_TAGS
from covid_core.work import Progress, part_of
from covid_core.workspace import Workspace

RECIPE = 1  # of images, runs and their files; a change of it takes the next number
FOLDER = "lessons"
DRAWING = 0.25  # share of the time, on two cores
LAST_TESTS = 0.05
BUSY = 10.0  # seconds that another session may need to start or remove the same lesson
STOPPING = 20.0  # seconds until a job that does not stop is given up
SECONDS = {"shifted-labels": 58.0, "corner-tag": 28.0, "rare-class": 22.0, "twin": 38.0}  # measured on 2 busy cores
WITHOUT_TAG, OTHER_TAG = "without the letter", "with the other letter"


@dataclass(frozen=True)
class Prepared:
    """How far a lesson is: its last job and its status, None where it was never prepared."""

    place: Workspace
    job: JobFolder | None = None
    status: Status | None = None

    @property
    def is_active(self) -> bool:
        return self.status is not None and not self.status.is_final

    @property
    def is_ready(self) -> bool:
        return self.status is not None and self.status.state == store.COMPLETED and not self.is_outdated

    @property
    def is_outdated(self) -> bool:
        """Whether another version of the lesson prepared it, whose images and figures may be others."""
        return self.job is not None and self.job.request().get("recipe") != RECIPE

    @property
    def runs(self) -> dict[str, str]:
        """Ids of the runs by role; empty until all are finished."""
        return dict(self.job.result.get("runs", {})) if self.job is not None else {}

    @property
    def seed(self) -> int:
        """Which images were drawn."""
        return int(self.job.request().get("seed", 0)) if self.job is not None else 0

    @property
    def visitor(self) -> str:
        """Whose browser prepared it; empty where that is not on record."""
        return str(self.job.request().get("visitor", "")) if self.job is not None else ""

    def run(self, role: str) -> Run:
        """The finished run of that role. Raises UnknownId or RunDamaged."""
        if role not in self.runs or not self.job.path.is_dir():  # removed since, perhaps by another session
            raise UnknownId("The lesson is not prepared any more. Prepare it again.")
        return store.open_run(self.place, self.runs[role])


def place_of(workspace: Workspace, key: str) -> Workspace:
    """The lesson's own workspace; nothing is made."""
    return Workspace(workspace.root / FOLDER / key)


def state_of(workspace: Workspace, key: str) -> Prepared:
    """How far a lesson is. Makes no folder."""
    place = place_of(workspace, named(key).key)
    if not (place.root / "jobs").is_dir():
        return Prepared(place)
    last = queue.jobs(place, LessonRequest)[-1:]
    return Prepared(place, last[0].folder, last[0].status) if last else Prepared(place)


def expected_seconds(workspace: Workspace, key: str) -> float:
    """How long preparing a lesson takes, at the pace of the lesson that was last prepared on this machine."""
    ready = [(one.status.updated, other, one) for other in SECONDS if (one := state_of(workspace, other)).is_ready]
    if not ready:
        return SECONDS[key]
    _, last, one = max(ready, key=lambda each: each[0])
    return SECONDS[key] * float(one.job.result["seconds"]) / SECONDS[last]


def prepare(workspace: Workspace, key: str, seed: int = 0, visitor: str = "") -> Prepared:
    """Start preparing a lesson; what an earlier attempt has left is removed. One that is at work is left alone.

    Raises JobRefused where another session holds the lesson.
    """
    with _held(workspace, key):
        now = state_of(workspace, key)
        if now.is_active:
            return now
        _remove(now.place)
        queue.submit(now.place, LessonRequest(lesson=key, seed=seed, recipe=RECIPE, visitor=visitor))
        return state_of(workspace, key)


def stop(workspace: Workspace, key: str) -> None:
    """Stop the job. Raises JobRefused where nothing is at work."""
    now = state_of(workspace, key)
    if now.job is None:
        raise JobRefused("This lesson is not being prepared.")
    queue.stop(now.job)


def reset(workspace: Workspace, key: str) -> None:
    """Stop what is at work and remove the lesson's images, runs and caches. Nothing of the user's own is touched.

    Raises JobRefused where the job does not stop in time; nothing is removed then.
    """
    with _held(workspace, key):
        now = state_of(workspace, key)
        if now.is_active:
            _end(now)
        _remove(now.place)


def _end(now: Prepared) -> None:
    with contextlib.suppress(JobRefused):  # it has ended by itself
        queue.stop(now.job)
    deadline = time.monotonic() + STOPPING
    while not now.job.status().is_final:
        if time.monotonic() > deadline:
            raise JobRefused("The lesson is still stopping. Try again in a moment.")
        time.sleep(0.1)


def _remove(place: Workspace) -> None:
    """Remove the lesson's workspace, and the folder of all lessons with the last of them."""
    if place.root.is_dir():
        files.remove_folder(place.root)
    with contextlib.suppress(OSError):  # another lesson is prepared
        place.root.parent.rmdir()


def _held(workspace: Workspace, key: str) -> contextlib.AbstractContextManager[None]:
    """One session at a time starts or removes a lesson."""
    lock = files.FileLock(workspace.slots / f"lesson-{named(key).key}.lock")
    refused = "Somebody else is starting or resetting this lesson. Try again in a moment."
    return lock.held(BUSY, JobRefused(refused))


# In the worker


def make(place: Workspace, request: LessonRequest, progress: Progress) -> dict[str, Any]:
    """Draw the images of a lesson in its own workspace, train its runs, and measure what it is about.

    Returns the job's result: the ids of data set and runs, and what was measured beside their predictions.
    """
    lesson, seed = named(request.lesson), request.seed
    begin = time.monotonic()
    dataset = importing.import_drawn(
        place,
        lesson.images,
        lambda index: lesson.image_at(index, seed),
        f"Lesson: {lesson.title}",
        f"lesson {lesson.key}, seed {seed}",
        part_of(progress, 0, DRAWING),
    )
    runs = {}
    step = (1 - DRAWING - LAST_TESTS) / len(lesson.trainings)
    for number, training in enumerate(lesson.trainings):
        run = queue.published_run(place, training.spec(dataset.id, seed))
        start = DRAWING + number * step
        train_within(place, run, part_of(progress, start, start + step, f"{training.name}: "))
        runs[training.role] = run.id
    tagged = lesson.key == TAG
    measured = _test_without_tags(place, store.open_run(place, runs["tagged"]), seed, progress) if tagged else {}
    return {"dataset": dataset.id, "runs": runs, "seconds": time.monotonic() - begin, **measured}


def _test_without_tags(place: Workspace, run: Run, seed: int, progress: Progress) -> dict[str, Any]:
    """Test the run on its test images drawn again without their letter, and with the other one; and its heat maps."""
    progress(1 - LAST_TESTS, "The same images without their letter")
    predictor, split = Predictor.open(place, run), run.split()
    test = split[split["part"] == "test"].reset_index(drop=True)
    for what, tag_of in ((WITHOUT_TAG, {}), (OTHER_TAG, dict(zip(PAIR, reversed(PAIR), strict=True)))):
        squares = np.stack(
            [
                to_square(redrawn(name, seed, tag_of.get(label, "")), predictor.size)
                for name, label in zip(test["image_id"], test["label"], strict=True)
            ]
        )
        _write_predictions(run, what, test, predictor.logits(squares))
    progress(1 - LAST_TESTS / 2, "Heat maps")
    heats = [heat_of(predictor, name, label, seed) for name, label in zip(test["image_id"], test["label"], strict=True)]
    in_corners = {}
    for where, whose in (("own", PAIR), ("other", PAIR[::-1])):
        corner_of = dict(zip(PAIR, map(corner, whose), strict=True))
        shares = [share_inside(heat, corner_of[label]) for heat, label in zip(heats, test["label"], strict=True)]
        inside = share_over(shares)
        in_corners[where] = {name: getattr(inside, name) for name in ("share", "low", "high", "chance", "images")}
    return {"heat": in_corners}


def _write_predictions(run: Run, what: str, test: pd.DataFrame, logits: np.ndarray) -> None:
    """The predictions as an evaluation of the run: a prediction table of the part "test"."""
    table = pd.DataFrame({"image_id": test["image_id"], "part": "test", "label": test["label"]})
    record = EvaluationRecord(created=time.time(), dataset=OutsideDataset(name=what))
    run.write_evaluation(record, with_scores(table, run.classes, logits))


def redrawn(image_id: str, seed: int, tag: str = "") -> np.ndarray:
    """The image of that id of the lesson of the corner tag, with another letter or none: uint8 (SIDE, SIDE)."""
    label, _, file = image_id.rpartition("/")
    number = int(file.rpartition("-")[2].partition(".")[0])
    return image_sets.image(label, number, seed, tag=tag).pixels


def heat_of(predictor: Predictor, image_id: str, label: str, seed: int) -> np.ndarray:
    """The heat map for an image's own class, with its letter on it: float32 (SIDE, SIDE)."""
    image = GreyImage(redrawn(image_id, seed, label), "L")
    return predictor.heat_map(image, label, (image_sets.SIDE, image_sets.SIDE))


def corner(label: str) -> np.ndarray:
    """The corner in which a class's letter lies: bool (SIDE, SIDE), as large as ``audit.model.occlusions.CORNER``."""
    height, width = (round(share * image_sets.SIDE) for share in CORNER)
    mask = np.zeros((image_sets.SIDE, image_sets.SIDE), bool)
    mask[:height, slice(None, width) if CORNER_TAGS[label][1] == "left" else slice(-width, None)] = True
    return mask
