"""The functions that KINDS names, but for those of trainings and lessons. Each imports what it needs when it starts."""

import getpass
from pathlib import Path
from typing import Any

from covid_core.data.dataset import open_dataset
from covid_core.jobs import kinds
from covid_core.runs import store, stored_weights
from covid_core.work import Progress
from covid_core.workspace import Workspace

SEGMENTATION = "covid_core.nets.segmentation.training:train"
PART_OF_FEATURES = "covid_core.nets.training:part_of_features"
ADDITION = "covid_core.nets.added.addition:add"
WRITING = "covid_core.nets.forms.writing:write"

Result = dict[str, Any]


def import_source(workspace: Workspace, request: kinds.ImportRequest, progress: Progress) -> Result:
    from covid_core.audit.duplicates.duplicate_pairs import pairs
    from covid_core.data.imports import importing, merging

    importing.sweep(workspace)
    source = Path(request.source)
    if request.dataset:
        made = merging.added(workspace, request.dataset, source, request, getpass.getuser(), progress, pairs)
    else:
        made = importing.import_path(workspace, source, request.name, request, progress)
    return {"dataset": made.id}


def import_kaggle(workspace: Workspace, request: kinds.KaggleRequest, progress: Progress) -> Result:
    from covid_core.data.imports import importing

    importing.sweep(workspace)
    return {"dataset": importing.import_kaggle(workspace, request.name, request, progress).id}


def merge_datasets(workspace: Workspace, request: kinds.MergeRequest, progress: Progress) -> Result:
    from covid_core.audit.duplicates.duplicate_pairs import pairs
    from covid_core.data.imports import importing, merging

    importing.sweep(workspace)
    return {"dataset": merging.merged(workspace, request, request.name, progress, pairs).id}


def draw_phantom(workspace: Workspace, request: kinds.PhantomRequest, progress: Progress) -> Result:
    from covid_core.data.imports import importing

    importing.sweep(workspace)
    of = (request.images, request.seed, request.plant, request.name)
    return {"dataset": importing.import_phantom(workspace, *of, progress=progress).id}


def audit_dataset(workspace: Workspace, request: kinds.AuditRequest, progress: Progress) -> Result:
    from covid_core.audit import dataset_audit

    other = open_dataset(workspace, request.against) if request.against else None
    dataset_audit.make(workspace, open_dataset(workspace, request.dataset), other, progress)
    return {"dataset": request.dataset, "against": request.against}


def make_map(workspace: Workspace, request: kinds.MapRequest, progress: Progress) -> Result:
    from covid_core.audit.embedding import embedding_map
    from covid_core.runs import frozen_features

    dataset = open_dataset(workspace, request.dataset)
    embedding_map.make(workspace, dataset, progress, frozen=frozen_features.best(workspace, dataset))
    return {"dataset": request.dataset}


def train_segmenter(workspace: Workspace, request: kinds.SegmenterRequest, progress: Progress) -> Result:
    progress(0.0, "Reading images")
    return {"segmenter": kinds.entry_point(SEGMENTATION)(workspace, request.dataset, request.seed, progress)}


def compute_features(workspace: Workspace, request: kinds.FeaturesRequest, progress: Progress) -> Result:
    run = store.open_run(workspace, request.run)
    images = kinds.entry_point(PART_OF_FEATURES)(workspace, run, request.part, request.parts, progress)
    return {"run": run.id, "images": images}


def evaluate(workspace: Workspace, request: kinds.ExternalTestRequest, progress: Progress) -> Result:
    from covid_core.audit.shortcuts import source_match
    from covid_core.inference import external_test

    run, images = store.open_run(workspace, request.run), open_dataset(workspace, request.dataset)
    match = source_match.of(workspace, run, images)
    done = external_test.evaluate(workspace, run, images, request.classes, progress, match)
    return {"run": run.id, "evaluation": done.id}


def make_reference(workspace: Workspace, request: kinds.ReferenceRequest, progress: Progress) -> Result:
    from covid_core.inference import reference_fit

    reference_fit.make(workspace, store.open_run(workspace, request.run), progress)
    return {"run": request.run}


def audit_model(workspace: Workspace, request: kinds.ModelAuditRequest, progress: Progress) -> Result:
    from covid_core.audit.model import model_audit

    run = store.open_run(workspace, request.run)
    return {"run": run.id, "verdict": model_audit.make(workspace, run, progress)["verdict"]}


def measure_robustness(workspace: Workspace, request: kinds.RobustnessRequest, progress: Progress) -> Result:
    from covid_core.inference import robustness

    robustness.make(workspace, store.open_run(workspace, request.run), progress)
    return {"run": request.run}


def open_bundle(workspace: Workspace, request: kinds.OpenRequest, progress: Progress) -> Result:
    from covid_core.exchange.bundle import opening

    opened = opening.open_bundle(workspace, Path(request.source), progress)
    runs = [{"run": one.run.id, "state": one.state} for one in opened.runs]
    about = {"sha256": opened.about.sha256, "licence": opened.about.licence}
    return {"runs": runs, "studies": opened.studies, **about}


def add_backbone(workspace: Workspace, request: kinds.BackboneRequest, progress: Progress) -> Result:
    of = (Path(request.source), request.description)
    if request.description.kind == "keras":
        stored_weights.check_keras(of[0])  # before TensorFlow starts
    return {"backbone": kinds.entry_point(ADDITION)(workspace, *of, progress)}


def export_model(workspace: Workspace, request: kinds.ExportRequest, progress: Progress) -> Result:
    from covid_core.exchange.forms import exported

    run, write = store.open_run(workspace, request.run), kinds.entry_point(WRITING)
    archive = exported.make(workspace, run, request.format, write, progress)
    return {"run": run.id, "format": request.format, "archive": archive.name}
