"""What holds for every kind of job: it starts, is followed to its end, stops, fails with a reason, and starts again.

Workers work in this process. What starts TensorFlow is replaced at its entry point; a real process of each such kind is
tested with the networks (test_worker, test_segmentation, test_lessons).
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import added_backbones
import kagglehub
import made_lessons
import pytest
from made_images import write_images

from covid_core import files
from covid_core.backbones import BackboneFile
from covid_core.data import dataset as data
from covid_core.data.dataset import Dataset
from covid_core.data.imports import importing
from covid_core.errors import CovidCoreError, InvalidChoice, JobRefused
from covid_core.exchange.bundle import packing
from covid_core.jobs import kinds, queue, worker
from covid_core.jobs.kinds import (
    KINDS,
    AuditRequest,
    BackboneRequest,
    DemonstrationRequest,
    ExportRequest,
    ExternalTestRequest,
    FeaturesRequest,
    HandoutRequest,
    ImportRequest,
    KaggleRequest,
    LessonRequest,
    MapRequest,
    MergeRequest,
    ModelAuditRequest,
    OpenRequest,
    PhantomRequest,
    ReferenceRequest,
    Request,
    RobustnessRequest,
    SegmenterRequest,
)
from covid_core.lessons import preparation
from covid_core.runs import backbone_files, store
from covid_core.runs.store import JobFolder, Run
from covid_core.specs import TrainingSpec
from covid_core.workspace import Workspace


class Place(NamedTuple):
    """What jobs may be about: a folder of images, data sets of 24 and 30 images with masks, and a trained run."""

    workspace: Workspace
    folder: Path
    dataset: Dataset
    elsewhere: Dataset
    run: Run | None


class Case(NamedTuple):
    """A request that succeeds; what fails, with words of the reason; and keys of the result.

    ``stand_in`` takes the place of a function that would start TensorFlow; ``of_run`` needs a run that was trained.
    """

    request: Callable[[Place], Request | TrainingSpec]
    broken: dict[str, Any]
    reason: str
    result: set[str]
    stand_in: Any = None
    of_run: bool = False


def trained(workspace: Workspace, run: Run, progress: Callable[[float, str], None]) -> bool:
    progress(0.5, "Learn")
    data.open_dataset(workspace, run.spec.dataset)
    run.write_result({"epochs_done": 1})
    return True


def segmented(workspace: Workspace, dataset: str, seed: int, progress: Callable[[float, str], None]) -> str:
    progress(0.5, "Learning outlines")
    return f"lungs-of-{data.open_dataset(workspace, dataset).id}"


def computed(workspace: Workspace, run: Run, part: int, parts: int, progress: Callable[[float, str], None]) -> int:
    progress(0.5, "Computing")
    return len(run.split()) // parts


def added(workspace: Workspace, source: Path, file: BackboneFile, progress: Callable[[float, str], None]) -> str:
    progress(0.5, "Trying it")
    backbone_files.check_addition(workspace, file, source)
    return file.name


def backbone(folder: Path) -> BackboneRequest:
    path = added_backbones.small_onnx(folder.parent / "small.onnx")
    return BackboneRequest(source=str(path), description=backbone_files.described(added_backbones.described(path)))


def bundle(place: Place) -> Path:
    """Of the run, made once."""
    target = place.folder.parent / "runs.zip"
    if not target.exists():
        packing.pack(place.workspace, [place.run], target)
    return target


def head(place: Place) -> Run:
    """A head on a frozen network, which waits; made once."""
    runs = [run for run in store.list_runs(place.workspace)[0] if run.spec.mode == "frozen"]
    about = {"dataset": place.dataset.id, "classes": place.dataset.classes[:2], "image_size": 32}
    spec = TrainingSpec(backbone="mobilenet_v2", weights="random", **about)
    return runs[0] if runs else queue.published_run(place.workspace, spec)


def handout(place: Place) -> HandoutRequest:
    """Of a lesson that is prepared, once, with a data set of its own."""
    lesson = preparation.place_of(place.workspace, "rare-class")
    if not lesson.root.exists():
        shutil.copytree(place.workspace.datasets, lesson.root / "datasets")
        made_lessons.rare_class(place.workspace, found=(10, 10, 10, 10), dataset=place.dataset.id)
    job = preparation.state_of(place.workspace, "rare-class").job
    return HandoutRequest(lessons={"rare-class": 40}, prepared=[job.id])


CASES = {
    "training": Case(
        lambda place: TrainingSpec(
            dataset=place.dataset.id,
            classes=place.dataset.classes[:2],
            name="Mine",
            backbone="baseline_cnn",
            image_size=32,
            epochs=1,
        ),
        {},
        "no data set with the id",
        {"epochs_done"},
        trained,
    ),
    "import": Case(
        lambda place: ImportRequest(source=str(place.folder), name="Images"),
        {"source": "/no/such/folder"},
        "There is no folder folder",
        {"dataset"},
    ),
    "merge": Case(
        lambda place: MergeRequest(members=(place.dataset.id, place.elsewhere.id)),
        {"members": ["gone-12345", "gone-67890"]},
        "no data set with the id",
        {"dataset"},
    ),
    "kaggle": Case(lambda place: KaggleRequest(classes=("a", "b")), {"classes": ["none"]}, "none", {"dataset"}),
    "phantom": Case(lambda place: PhantomRequest(images=40), {"images": 6, "plant": ["a bug"]}, "a bug", {"dataset"}),
    "audit": Case(
        lambda place: AuditRequest(dataset=place.dataset.id, against=place.elsewhere.id),
        {"dataset": "gone-12345"},
        "no data set with the id",
        {"dataset", "against"},
    ),
    "map": Case(
        lambda place: MapRequest(dataset=place.dataset.id),
        {"dataset": "gone-12345"},
        "no data set with the id",
        {"dataset"},
    ),
    "segment": Case(
        lambda place: SegmenterRequest(dataset=place.dataset.id, name=place.dataset.name),
        {"dataset": "gone-12345"},
        "no data set with the id",
        {"segmenter"},
        segmented,
    ),
    "evaluate": Case(
        lambda place: ExternalTestRequest(run=place.run.id, dataset=place.elsewhere.id, classes={}),
        {"run": "gone-12345", "dataset": "gone-12345", "classes": {}},
        "no run with the id",
        {"run", "evaluation"},
        of_run=True,
    ),
    "reference": Case(
        lambda place: ReferenceRequest(run=place.run.id),
        {"run": "gone-12345"},
        "no run with the id",
        {"run"},
        of_run=True,
    ),
    "audit-run": Case(
        lambda place: ModelAuditRequest(run=place.run.id),
        {"run": "gone-12345"},
        "no run with the id",
        {"run", "verdict"},
        of_run=True,
    ),
    "robustness": Case(
        lambda place: RobustnessRequest(run=place.run.id),
        {"run": "gone-12345"},
        "no run with the id",
        {"run"},
        of_run=True,
    ),
    "open": Case(
        lambda place: OpenRequest(source=str(bundle(place))),
        {"source": "/no/such/file.zip"},
        "no file",
        {"runs", "studies", "sha256", "licence"},
        of_run=True,
    ),
    "features": Case(
        lambda place: FeaturesRequest(run=head(place).id, part=1, parts=3),
        {"run": "gone-12345"},
        "no run with the id",
        {"run", "images"},
        computed,
    ),
    "export": Case(
        lambda place: ExportRequest(run=place.run.id, format="litert"),
        {"run": "gone-12345", "format": "litert"},
        "no run with the id",
        {"run", "format", "archive"},
        of_run=True,
    ),
    "backbone": Case(
        lambda place: backbone(place.folder),
        {"source": "/no/such/file.onnx", "description": added_backbones.ABOUT},
        "no file",
        {"backbone"},
        added,
    ),
    "lesson": Case(
        lambda place: LessonRequest(lesson="twin"),
        {"lesson": "lunch"},
        "There is no lesson 'lunch'",
        {"dataset", "runs", "seconds"},
        trained,
    ),
    "handout": Case(handout, {"lessons": {"lunch": None}}, "There is no lesson 'lunch'", {"page"}),
    "demonstration": Case(
        lambda place: DemonstrationRequest(images=60),
        {"images": 0},
        "must be at least 3",
        {"dataset", "runs"},
        of_run=True,
    ),
}
EVERY_KIND = [
    pytest.param(kind, id=kind.name, marks=[pytest.mark.slow] if CASES[kind.name].of_run else [])
    for kind in KINDS.values()
]
REQUESTS = [
    # as version 0.2 and earlier wrote them, and what they are now
    (
        {"kind": "phantom", "films": 600, "seed": 0, "plant": ["corner-tag"]},
        PhantomRequest(images=600, plant=["corner-tag"]),
    ),
    ({"kind": "import", "source": "/images"}, ImportRequest(source="/images")),
    ({"kind": "merge", "members": ["x", "y"]}, MergeRequest(members=("x", "y"))),
    ({"kind": "kaggle"}, KaggleRequest()),
    (
        {"kind": "backbone", "source": "/x.onnx", "description": added_backbones.ABOUT},
        BackboneRequest(source="/x.onnx", description=BackboneFile(**added_backbones.ABOUT)),
    ),
    ({"kind": "audit", "dataset": "x", "against": None}, AuditRequest(dataset="x")),
    ({"kind": "map", "dataset": "x"}, MapRequest(dataset="x")),
    ({"kind": "segment", "dataset": "x", "seed": 3, "name": "X"}, SegmenterRequest(dataset="x", seed=3, name="X")),
    (
        {"kind": "evaluate", "run": "r", "dataset": "x", "classes": {"films": "COVID"}},
        ExternalTestRequest(run="r", dataset="x", classes={"films": "COVID"}),
    ),
    ({"kind": "reference", "run": "r"}, ReferenceRequest(run="r")),
    ({"kind": "audit-run", "run": "r"}, ModelAuditRequest(run="r")),
    ({"kind": "robustness", "run": "r"}, RobustnessRequest(run="r")),
    ({"kind": "open", "source": "/runs.zip"}, OpenRequest(source="/runs.zip")),
    ({"kind": "features", "run": "r", "part": 1, "parts": 3}, FeaturesRequest(run="r", part=1, parts=3)),
    ({"kind": "export", "run": "r", "format": "keras"}, ExportRequest(run="r", format="keras")),
    ({"kind": "lesson", "lesson": "twin", "seed": 1, "recipe": 1}, LessonRequest(lesson="twin", seed=1, recipe=1)),
    ({"kind": "handout", "lessons": {"twin": None}}, HandoutRequest(lessons={"twin": None})),
    ({"kind": "demonstration", "images": 240, "seed": 0}, DemonstrationRequest()),
]


@pytest.fixture
def no_process(monkeypatch):
    """A launched job waits: this process stands for its own, with its own priority."""

    def launch(*jobs: JobFolder) -> None:
        for job in jobs:
            job.write_launch(os.getpid(), job.next_attempt())

    return lambda: monkeypatch.setattr(queue, "launch", launch)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> tuple[Workspace, list[Dataset]]:
    made = Workspace(tmp_path_factory.mktemp("drawn"))
    return made, [importing.import_phantom(made, images, images) for images in (24, 30)]


@pytest.fixture
def place(kind, workspace, tmp_path, drawn, copy_of_trained, no_process, monkeypatch) -> Place:
    case = CASES[kind.name]
    run = copy_of_trained(workspace) if case.of_run else None
    no_process()
    folder = write_images(tmp_path / "images", {"a": 12, "b": 12}, 64)
    monkeypatch.setattr(kagglehub, "dataset_download", lambda name: str(folder))
    if case.stand_in is not None:
        real = kinds.entry_point
        monkeypatch.setattr(kinds, "entry_point", lambda name: case.stand_in if ".nets." in name else real(name))
    shutil.copytree(drawn[0].root, workspace.root, dirs_exist_ok=True)
    dataset, elsewhere = (data.open_dataset(workspace, one.id) for one in drawn[1])
    return Place(workspace, folder, dataset, elsewhere, run)


def started(kind: kinds.Kind, place: Place) -> JobFolder:
    request = CASES[kind.name].request(place)
    if isinstance(request, TrainingSpec):
        return queue.submit_training(place.workspace, request)
    return queue.submit(place.workspace, request)


def broken(kind: kinds.Kind, place: Place) -> JobFolder:
    """A job that was queued when all was well, and whose data are gone when its turn comes."""
    if kind.request is not TrainingSpec:
        job = store.create_job(place.workspace, kind.name, CASES[kind.name].broken)
        queue.launch(job)
        return job
    run = started(kind, place)
    data.delete_dataset(place.workspace, place.dataset.id)
    return run


def test_every_kind_has_a_case_and_a_request_of_earlier_versions():
    assert set(CASES) == set(KINDS)
    assert {record["kind"] for record, _ in REQUESTS} == set(KINDS) - {"training"}


@pytest.mark.parametrize(("record", "request_now"), REQUESTS, ids=[record["kind"] for record, _ in REQUESTS])
def test_a_request_of_an_earlier_version_is_read(workspace, tmp_path, record, request_now):
    path = tmp_path / "request.json"
    files.write_json(path, {**record, "created": 1.0})
    assert kinds.request_in(files.read_json(path)) == request_now


@pytest.mark.parametrize(
    "record", [{"kind": "tea"}, {}, {"kind": "training"}, {"kind": "map"}, {"kind": "map", "dataset": "x", "x": 1}]
)
def test_a_request_that_this_version_cannot_read_is_refused_and_in_no_list(workspace, record):
    with pytest.raises((CovidCoreError, InvalidChoice)):
        kinds.request_in(record)
    job = store.create_job(workspace, "tea", {})
    files.write_json(job.path / "request.json", record)
    assert queue.jobs(workspace, Request) == []
    assert worker.do(job.path, 1) == 1
    assert job.status().state == store.FAILED


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_job_starts_waits_and_is_done(kind, place):
    case, folder = CASES[kind.name], started(kind, place)
    assert folder.status().state == store.QUEUED
    if not isinstance(folder, Run):
        (job,) = queue.jobs(place.workspace, Request)
        assert (job.id, job.request, job.is_active) == (folder.id, case.request(place), True)
        assert job.title == kind.title(place.workspace, job.request) != ""
    assert worker.do(folder.path, 1) == 0
    status = folder.status()
    assert (status.state, status.progress, status.reason) == (store.COMPLETED, 1.0, "")
    assert case.result <= set(JobFolder(folder.path).result)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_job_stops_where_it_is_asked_to(kind, place):
    folder = started(kind, place)
    folder.request_stop()
    assert worker.do(folder.path, 1) == 0
    assert (folder.status().state, folder.status().reason) == (store.STOPPED, "Stopped by the user.")
    assert not JobFolder(folder.path).result


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_job_that_waits_is_taken_out_of_the_queue(kind, place):
    folder = started(kind, place)
    queue.stop(folder)
    assert (folder.status().state, folder.status().reason) == (store.STOPPED, queue.OUT_OF_QUEUE)
    assert worker.do(folder.path, 1) == 0 and not JobFolder(folder.path).result


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_job_that_fails_says_why_and_starts_again(kind, place):
    folder = broken(kind, place)
    assert worker.do(folder.path, 1) == 1
    status = folder.status()
    assert status.state == store.FAILED and CASES[kind.name].reason in status.reason
    assert "A bug in" not in status.reason
    if isinstance(folder, Run):
        queue.resume(folder)
        assert (folder.status().state, folder.next_attempt()) == (store.QUEUED, 3)
        return
    (job,) = queue.jobs(place.workspace, Request)
    queue.dismiss(job)
    assert not folder.path.exists()
    assert started(kind, place).status().state == store.QUEUED


@pytest.mark.parametrize("kind", [one for one in EVERY_KIND if one.values[0].single])
def test_a_second_job_about_the_same_is_refused_while_the_first_is_under_way(kind, place):
    first = started(kind, place)
    with pytest.raises(JobRefused, match="is under way already"):
        started(kind, place)
    queue.stop(first)
    started(kind, place)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_an_expected_time_is_a_number_of_seconds(kind, place):
    seconds = kind.seconds(place.workspace, CASES[kind.name].request(place))
    assert seconds is None or 0 < seconds < 600


def test_a_data_set_is_in_use_by_each_job_that_names_it(workspace):
    for kind, request in (("audit", {"dataset": "x", "against": "y"}), ("map", {"dataset": "y"})):
        store.create_job(workspace, kind, request).write_launch(os.getpid(), 1)
    assert [job.kind.name for job in queue.jobs_on(workspace, "y")] == ["audit", "map"]
    assert [job.kind.name for job in queue.jobs_on(workspace, "x")] == ["audit"]
    assert queue.jobs_on(workspace, "z") == []


def test_a_test_elsewhere_is_expected_to_take_as_long_per_image_as_the_last_one(workspace):
    few, many = (importing.import_phantom(workspace, images, images) for images in (24, 48))
    requests = [ExternalTestRequest(run="r", dataset=one.id, classes={}) for one in (few, many)]
    assert kinds.of(requests[0]).seconds(workspace, requests[0]) is None
    job = store.create_job(workspace, "evaluate", requests[0].model_dump(mode="json"))
    job.write_launch(os.getpid(), 1)
    job.write_status(store.Status(store.COMPLETED, started=100.0, updated=112.0, ended=112.0))
    assert [kinds.of(one).seconds(workspace, one) for one in requests] == [12.0, 24.0]
