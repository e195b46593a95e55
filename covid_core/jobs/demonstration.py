"""The demonstration: synthetic images, two models, and the audits of all three, in one job and one process.

It is a chain of the other kinds of jobs. A part that is there already is left as it is, so a demonstration that was
stopped goes on where it ended.
"""

import contextlib
import itertools
from collections.abc import Callable
from typing import Any

from covid_core import presets, weights
from covid_core.audit import dataset_audit
from covid_core.audit.model import model_audit
from covid_core.backbones import backbone_named
from covid_core.data.dataset import Dataset, list_datasets, open_dataset
from covid_core.data.imports import importing
from covid_core.errors import RunDamaged
from covid_core.jobs import kinds, queue
from covid_core.jobs.kinds import AuditRequest, DemonstrationRequest, ModelAuditRequest
from covid_core.jobs.run_training import train_within
from covid_core.runs import store
from covid_core.runs.store import Run
from covid_core.specs import TrainingSpec
from covid_core.synthetic import phantom
from covid_core.synthetic.phantom import PhantomImage
from covid_core.work import Progress, part_of
from covid_core.workspace import Workspace

NAME = "Demonstration images"
SHARES = {"COVID": 0.3, "Normal": 0.4, "Viral Pneumonia": 0.3}  # so that each class has the test images of a verdict
DRAWN_FROM = 4  # times as many: the phantom's rarest class is a twelfth of its set
STEP = "Step"  # at the head of each message: "Step 2 of 6: ..."
BASELINE_EPOCHS, BASELINE_SIZE = 10, 96  # a third of the time of the suggested ones, as good on so few images
Part = tuple[float, Callable[[Progress], object]]  # expected seconds, on two cores; what is done


def make(workspace: Workspace, request: DemonstrationRequest, progress: Progress) -> dict[str, Any]:
    """Draw the images, train the models, audit the images and the models. Returns the ids of data set and runs."""
    made: list[Dataset] = []
    runs: list[Run] = []

    backbones = backbones_here()
    parts: list[Part] = [
        (5, lambda report: made.append(_images(workspace, request, report))),
        (17, lambda report: runs.append(_trained(workspace, made[0], backbones[0], report))),
    ]
    if len(backbones) > 1:
        parts.append((9, lambda report: runs.append(_trained(workspace, made[0], backbones[1], report))))
    parts += [
        (3, lambda report: _audit_of_images(workspace, made[0], report)),  # it uses what the trainings have computed
        (4, lambda report: _audit_of_model(workspace, runs[0], report)),
    ]
    if len(backbones) > 1:
        parts.append((15, lambda report: _audit_of_model(workspace, runs[1], report)))
    total = sum(seconds for seconds, _ in parts)
    done = 0.0
    for number, (seconds, work) in enumerate(parts, start=1):
        step = part_of(progress, done / total, (done + seconds) / total, f"{STEP} {number} of {len(parts)}: ")
        step(0.0, "starting")
        work(step)
        done += seconds
    return {"dataset": made[0].id, "runs": [run.id for run in runs]}


def backbones_here() -> tuple[str, ...]:
    """The baseline CNN, and MobileNetV2 where its ImageNet weights are on this machine: nothing is downloaded."""
    pretrained = backbone_named(presets.DEFAULT_BACKBONE)
    return (
        ("baseline_cnn", pretrained.name) if weights.is_cached(pretrained, presets.DEFAULT_SIZE) else ("baseline_cnn",)
    )


def _images(workspace: Workspace, request: DemonstrationRequest, progress: Progress) -> Dataset:
    """The images of that number and seed: of a larger set of the phantom, as many of each class as SHARES says."""
    origin = f"demonstration, {request.images} images, seed {request.seed}"
    for info in list_datasets(workspace):
        if info.get("origin") == origin and not info.get("damaged"):
            return open_dataset(workspace, info["id"])
    importing.sweep(workspace)
    whole = DRAWN_FROM * request.images
    starts = dict(zip(SHARES, itertools.accumulate(phantom.class_counts(whole).values(), initial=0), strict=False))
    chosen = [
        start + place for label, start in starts.items() for place in range(round(request.images * SHARES[label]))
    ]

    def image_at(place: int) -> PhantomImage:
        return phantom.image_at(chosen[place], whole, request.seed, (phantom.CLEAR_LESIONS,))

    return importing.import_drawn(workspace, len(chosen), image_at, NAME, origin, progress)


def _trained(workspace: Workspace, dataset: Dataset, backbone: str, progress: Progress) -> Run:
    """The finished run; one that ended early goes on."""
    spec = _spec(dataset, backbone)
    runs, _ = store.list_runs(workspace)
    run = next((run for run in runs if run.spec == spec), None) or queue.published_run(workspace, spec)
    if run.status().state != store.COMPLETED:
        run.clear_stop()
        train_within(workspace, run, progress)
    return store.open_run(workspace, run.id)


def _spec(dataset: Dataset, backbone: str) -> TrainingSpec:
    kind = backbone_named(backbone)
    fewer: dict[str, Any] = {} if kind.pretrained else {"epochs": BASELINE_EPOCHS, "image_size": BASELINE_SIZE}
    return presets.suggested_spec(dataset.id, dataset.classes, backbone, name=kind.label, **fewer)


def _audit_of_images(workspace: Workspace, dataset: Dataset, progress: Progress) -> None:
    if dataset_audit.stored(workspace, dataset) is None:
        request = AuditRequest(dataset=dataset.id)
        kinds.of(request).work(workspace, request, progress)


def _audit_of_model(workspace: Workspace, run: Run, progress: Progress) -> None:
    with contextlib.suppress(RunDamaged):  # a damaged audit is made again
        if model_audit.stored(run) is not None:
            return
    request = ModelAuditRequest(run=run.id)
    kinds.of(request).work(workspace, request, progress)
