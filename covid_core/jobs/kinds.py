"""Every kind of job: a row of KINDS. A new kind is a request, a row, and the function that the row names.

The function is imported when a job begins, so that a worker waits in the queue with as little as possible. It takes the
workspace, the request and the progress to report to, publishes its result where that belongs, and returns where that
is: the job's result.json. A training's function takes the run itself (see ``run_training``).
"""

import contextlib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from covid_core import access
from covid_core.backbones import BackboneFile
from covid_core.data import masks
from covid_core.data.dataset import list_datasets, open_dataset
from covid_core.errors import CovidCoreError, JobRefused
from covid_core.formatting import plural
from covid_core.runs import backbone_files, segmenters, store
from covid_core.runs.pinned_dataset import dataset_of
from covid_core.specs import LayoutSpec, MergeSpec, Spec, TrainingSpec, parse
from covid_core.workspace import Workspace

NOT_OF_REQUEST = ("kind", "created", "owner")  # keys of request.json beside those of the request


class Slot(NamedTuple):
    """Which jobs work beside each other: at most that many ``jobs`` of those that share the slot's name."""

    name: str
    jobs: int


TRAINING_SLOT = Slot("training", 1)  # a training uses every core that it gets
DATA_SLOT = Slot("data", 2)  # imports wait for the disk more than for the processor
HANDOUT_SLOT = Slot("handout", 2)  # of seconds: it waits behind no import
EXPORT_SLOT = Slot("export", 1)  # TensorFlow in one process, and in that of the example


class Request(Spec):
    """What a job is to do, as request.json holds it. A field that earlier versions did not write has a default."""

    @property
    def is_repeatable(self) -> bool:
        """Whether the same request can be made again once a job has ended."""
        return True


class ImportRequest(Request, LayoutSpec):
    """Import a folder or an archive, or add its images to the ``dataset`` with that id; ``remove_source`` removes an
    upload afterwards, whatever came of it."""

    source: str
    name: str = ""
    dataset: str = ""
    remove_source: bool = False

    @property
    def is_repeatable(self) -> bool:
        return not self.remove_source


class KaggleRequest(Request, LayoutSpec):
    """Download the COVID-19 Radiography Database and import it; ``classes`` None leaves Lung_Opacity out."""

    name: str = ""


class MergeRequest(Request, MergeSpec):
    """Make one data set of several."""

    name: str = ""


class PhantomRequest(Request):
    """Draw synthetic images, with faults planted on purpose."""

    images: int
    seed: int = 0
    plant: tuple[str, ...] = ()
    name: str = ""


class AuditRequest(Request):
    """Audit a data set (by id), and compare it with another one that is named."""

    dataset: str
    against: str | None = None


class MapRequest(Request):
    """Make the map of a data set."""

    dataset: str


class SegmenterRequest(Request):
    """Train a lung segmenter on a data set's masks; ``name`` is the data set's."""

    dataset: str
    seed: int = 0
    name: str = ""


class ExternalTestRequest(Request):
    """Test a run on another data set; ``classes`` maps its classes to the run's."""

    run: str
    dataset: str
    classes: dict[str, str]


class ReferenceRequest(Request):
    """Make the reference of a finished run that has none, or make it again."""

    run: str


class ModelAuditRequest(Request):
    """Audit the model of a finished run, or audit it again."""

    run: str


class RobustnessRequest(Request):
    """Measure the robustness curve of a finished run, or measure it again."""

    run: str


class ExportRequest(Request):
    """Write the model of a finished run in another format: one of ``exchange.forms.formats.FORMATS``."""

    run: str
    format: str


class FeaturesRequest(Request):
    """Compute features of the ``part``-th of several parts of a run's images, before its training takes them."""

    run: str
    part: int = 0
    parts: int = 1


class BackboneRequest(Request):
    """Check the file at the path ``source`` and add it as a backbone."""

    source: str
    description: BackboneFile


class OpenRequest(Request):
    """Open the bundle of runs at the path ``source``, which was handed in as ``name``; ``remove_source`` as of an
    import."""

    source: str
    name: str = ""
    remove_source: bool = False

    @property
    def is_repeatable(self) -> bool:
        return not self.remove_source


class LessonRequest(Request):
    """Prepare a lesson; ``recipe`` is the version of its images and runs, ``visitor`` whose browser asked for it."""

    lesson: str
    seed: int = 0
    recipe: int = 0
    visitor: str = ""


class HandoutRequest(Request):
    """Make the page of lessons to print.

    ``lessons`` holds what was predicted of each, in per cent (None: nothing), ``prepared`` the jobs that prepared them.
    """

    lessons: dict[str, float | None]
    prepared: tuple[str, ...] = ()


class DemonstrationRequest(Request):
    """Draw synthetic images, train models on them, and audit all."""

    images: int = 240
    seed: int = 0


def _nothing(_workspace: Workspace, _request: Any) -> None:
    return None


@dataclass(frozen=True)
class Kind:
    """A row of KINDS.

    Attributes:
        name: of the kind in request.json and at the head of a job's id. Never changed.
        request: model of its request.
        entry: its function, "module:function".
        title: what it makes, as plain text for the screen.
        on_stop: what a stop keeps, in a sentence.
        single: fields of the request; a second job with the same values is refused while the first waits or works.
            Without any, every job may wait.
        check: raises what can be known to fail before a process is started.
        seconds: expected time of work on an idle machine of two cores; None where it is not known: an import counts its
            images itself, and the connection sets the pace of Kaggle's download, whose form gives the bytes.
        slot: which jobs work beside it.
        right: who may start it (``covid_core.access``).
        is_portable: whether an engine may do it on another computer: all that it reads lies in the workspace.
    """

    name: str
    request: type[Spec]
    entry: str
    title: Callable[[Workspace, Any], str]
    on_stop: str = "Nothing is kept."
    single: tuple[str, ...] = ()
    check: Callable[[Workspace, Any], object] = _nothing
    seconds: Callable[[Workspace, Any], float | None] = _nothing
    slot: Slot = DATA_SLOT
    right: str = access.COMPUTE
    is_portable: bool = False

    def work(self, workspace: Workspace, request: Any, progress: Any) -> Any:
        """Import the kind's function and call it."""
        return entry_point(self.entry)(workspace, request, progress)


def entry_point(name: str) -> Callable[..., Any]:
    """The function that is named "module:function"."""
    module, _, function = name.partition(":")
    entry: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return entry


def named(name: object) -> Kind:
    """The kind of that name. Raises CovidCoreError where this version has none."""
    if not isinstance(name, str) or name not in KINDS:
        raise CovidCoreError(f"This version does not know the job {name!r}.")
    return KINDS[name]


def of(request: Spec) -> Kind:
    """The kind of a request."""
    return next(kind for kind in KINDS.values() if kind.request is type(request))


def request_in(record: Mapping[str, Any]) -> Request:
    """The request in a job's request.json. Raises CovidCoreError or InvalidChoice."""
    model = named(record.get("kind")).request
    if not issubclass(model, Request):
        raise CovidCoreError(f"A {record['kind']} is a run, and no job beside it.")
    return parse(model, {name: value for name, value in record.items() if name not in NOT_OF_REQUEST})


# Titles


def _dataset_name(workspace: Workspace, identifier: str) -> str:
    return next((str(info["name"]) for info in list_datasets(workspace) if info["id"] == identifier), identifier)


def _import_title(workspace: Workspace, request: ImportRequest) -> str:
    name = request.name or Path(request.source).name
    into = f" into {_dataset_name(workspace, request.dataset)}" if request.dataset else ""
    return f"Importing {name}{into}"


def _run_name(workspace: Workspace, identifier: str) -> str:
    try:
        return store.open_run(workspace, identifier).name
    except CovidCoreError:
        return identifier


def _audit_title(workspace: Workspace, request: AuditRequest) -> str:
    audit = f"Audit of {_dataset_name(workspace, request.dataset)}"
    return f"{audit}, compared with {_dataset_name(workspace, request.against)}" if request.against else audit


# Checks


def _finished_run(workspace: Workspace, request: ReferenceRequest | ModelAuditRequest | RobustnessRequest) -> None:
    run = store.open_run(workspace, request.run)
    run.check_network()
    if not run.result or not run.status().is_usable:
        raise JobRefused(f"{run.name} is not finished. Wait until it is.")
    dataset_of(workspace, run)


def _export_check(workspace: Workspace, request: ExportRequest) -> None:
    from covid_core.exchange.forms import exported, formats  # with all that predicts

    exported.check(workspace, store.open_run(workspace, request.run), formats.named(request.format))


def _has_frozen_part(workspace: Workspace, request: FeaturesRequest) -> None:
    if store.open_run(workspace, request.run).spec.mode == "full":
        raise JobRefused("A training of all layers uses no features of a frozen network.")


def _merge_check(workspace: Workspace, request: MergeRequest) -> None:
    from covid_core.data.imports import merging  # with all that reads images

    merging.planned(workspace, request)


def _audit_check(workspace: Workspace, request: AuditRequest) -> None:
    opened = open_dataset(workspace, request.dataset)
    if request.against == request.dataset:
        raise JobRefused(f"{opened.name} cannot be compared with itself. Choose another data set.")
    if request.against is not None:
        open_dataset(workspace, request.against)


def _enough_masks(workspace: Workspace, request: SegmenterRequest) -> None:
    opened = open_dataset(workspace, request.dataset)
    segmenters.check(opened.name, int(masks.has_mask(opened).sum()))


def _external_check(workspace: Workspace, request: ExternalTestRequest) -> None:
    run = store.open_run(workspace, request.run)
    run.check_network()
    if run.bundle:
        dataset_of(workspace, run)  # raises where it came without its images
    open_dataset(workspace, request.dataset)


# Expected seconds

DRAWN_PER_SECOND = 40
AUDIT_PER_IMAGE = 0.03  # seconds, measured on 600 to 1,124 images
COMPARISON_PER_IMAGE = 0.005  # seconds, per image of both data sets, measured on 4,014 and 1,124 images
HANDOUT_PER_LESSON = 0.5  # seconds, and as many as HANDOUT_START before the first
HANDOUT_START = 2.0
DEMONSTRATION_SECONDS = 55.0  # with MobileNetV2, 30 without


EXPORT_SECONDS = 30.0  # of a MobileNetV2; TensorFlow's start is half of it


def _images(workspace: Workspace, *datasets: str) -> int:
    return sum(sum(info["counts"].values()) for info in list_datasets(workspace) if info["id"] in datasets)


def _training_seconds(workspace: Workspace, spec: TrainingSpec) -> float:
    from covid_core.runs import training_time

    return training_time.expected_seconds(workspace, [spec])


def _audit_seconds(workspace: Workspace, request: AuditRequest) -> float:
    """A comparison makes the audit as well where there is none."""
    from covid_core.audit import dataset_audit

    own = AUDIT_PER_IMAGE * _images(workspace, request.dataset)
    if request.against is None:
        return own
    is_audited = dataset_audit.stored(workspace, open_dataset(workspace, request.dataset)) is not None
    both = _images(workspace, request.dataset, request.against)
    return COMPARISON_PER_IMAGE * both + (0 if is_audited else own)


def _map_seconds(workspace: Workspace, request: MapRequest) -> float:
    from covid_core.audit.embedding import embedding_map

    return embedding_map.expected_seconds(_images(workspace, request.dataset))


def _as_last_time(workspace: Workspace, request: Any) -> float | None:
    """For as many images, at the pace of the last finished job of the same kind; None before the first."""
    paces: dict[float, float] = {}
    for folder in store.list_jobs(workspace):
        with contextlib.suppress(CovidCoreError, OSError):  # of another version, damaged, or removed at this moment
            status, earlier = folder.status(), request_in(folder.request())
            if isinstance(earlier, type(request)) and status.state == store.COMPLETED and status.ended:
                paces[status.ended] = (status.elapsed or 0) / max(1, _images_of(workspace, earlier))
    return paces[max(paces)] * _images_of(workspace, request) if paces else None


def _images_of(workspace: Workspace, request: Any) -> int:
    with contextlib.suppress(CovidCoreError):  # the run has been deleted
        return _images(workspace, getattr(request, "dataset", "") or store.open_run(workspace, request.run).dataset.id)
    return 0


def discard_upload(workspace: Workspace, request: Spec) -> None:
    """Remove the uploaded archive of an import, or the bundle, unless that is done already."""
    if isinstance(request, ImportRequest | OpenRequest) and request.remove_source:
        source = Path(request.source)
        if source.parent == workspace.uploads:
            source.unlink(missing_ok=True)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "training",
            TrainingSpec,
            "covid_core.nets.training:train",
            lambda workspace, spec: f"Training of {spec.name or 'a run'}",
            "The best weights of the finished epochs are kept.",
            seconds=_training_seconds,
            slot=TRAINING_SLOT,
            right=access.TRAIN,
            is_portable=True,
        ),
        Kind(
            "import",
            ImportRequest,
            "covid_core.jobs.tasks:import_source",
            _import_title,
            check=lambda workspace, request: request.dataset and open_dataset(workspace, request.dataset),
            right=access.IMPORT,
        ),
        Kind(
            "merge",
            MergeRequest,
            "covid_core.jobs.tasks:merge_datasets",
            lambda workspace, request: (
                f"Merging {' and '.join(_dataset_name(workspace, member) for member in request.members)}"
            ),
            check=_merge_check,
            right=access.IMPORT,
        ),
        Kind(
            "kaggle",
            KaggleRequest,
            "covid_core.jobs.tasks:import_kaggle",
            lambda workspace, request: "Importing the COVID-19 Radiography Database from Kaggle",
            right=access.IMPORT,
        ),
        Kind(
            "phantom",
            PhantomRequest,
            "covid_core.jobs.tasks:draw_phantom",
            lambda workspace, request: f"Drawing {plural(request.images, 'synthetic image')}",
            seconds=lambda workspace, request: request.images / DRAWN_PER_SECOND,
            right=access.IMPORT,
        ),
        Kind(
            "audit",
            AuditRequest,
            "covid_core.jobs.tasks:audit_dataset",
            _audit_title,
            "What has been measured until then is kept.",
            single=("dataset",),
            check=_audit_check,
            seconds=_audit_seconds,
            is_portable=True,
        ),
        Kind(
            "map",
            MapRequest,
            "covid_core.jobs.tasks:make_map",
            lambda workspace, request: f"Map of {_dataset_name(workspace, request.dataset)}",
            single=("dataset",),
            check=lambda workspace, request: open_dataset(workspace, request.dataset),
            seconds=_map_seconds,
            is_portable=True,
        ),
        Kind(
            "segment",
            SegmenterRequest,
            "covid_core.jobs.tasks:train_segmenter",
            lambda workspace, request: f"Learning to outline lungs from {request.name or request.dataset}",
            single=("dataset",),
            check=_enough_masks,
            seconds=_as_last_time,
            is_portable=True,
        ),
        Kind(
            "evaluate",
            ExternalTestRequest,
            "covid_core.jobs.tasks:evaluate",
            lambda workspace, request: (
                f"Test of {_run_name(workspace, request.run)} on {_dataset_name(workspace, request.dataset)}"
            ),
            check=_external_check,
            seconds=_as_last_time,
            is_portable=True,
        ),
        Kind(
            "reference",
            ReferenceRequest,
            "covid_core.jobs.tasks:make_reference",
            lambda workspace, request: f"Reference of {_run_name(workspace, request.run)}",
            single=("run",),
            check=_finished_run,
            seconds=_as_last_time,
            is_portable=True,
        ),
        Kind(
            "audit-run",
            ModelAuditRequest,
            "covid_core.jobs.tasks:audit_model",
            lambda workspace, request: f"Audit of {_run_name(workspace, request.run)}",
            "Nothing of this audit is kept; an earlier one stays.",
            single=("run",),
            check=_finished_run,
            seconds=_as_last_time,
            is_portable=True,
        ),
        Kind(
            "robustness",
            RobustnessRequest,
            "covid_core.jobs.tasks:measure_robustness",
            lambda workspace, request: f"Robustness curve of {_run_name(workspace, request.run)}",
            "Nothing of this curve is kept; an earlier one stays.",
            single=("run",),
            check=_finished_run,
            seconds=_as_last_time,
            is_portable=True,
        ),
        Kind(
            "export",
            ExportRequest,
            "covid_core.jobs.tasks:export_model",
            lambda workspace, request: f"Export of {_run_name(workspace, request.run)} as {request.format}",
            single=("run", "format"),
            check=_export_check,
            seconds=lambda workspace, request: EXPORT_SECONDS,
            slot=EXPORT_SLOT,
            right=access.TAKE_RUNS,
        ),
        Kind(
            "features",
            FeaturesRequest,
            "covid_core.jobs.tasks:compute_features",
            lambda workspace, request: (
                f"Features for {_run_name(workspace, request.run)}, part {request.part + 1} of {request.parts}"
            ),
            "What has been computed until then is kept.",
            check=_has_frozen_part,
            is_portable=True,
        ),
        Kind(
            "backbone",
            BackboneRequest,
            "covid_core.jobs.tasks:add_backbone",
            lambda workspace, request: f"Adding the backbone {request.description.label}",
            check=lambda workspace, request: backbone_files.check_addition(
                workspace, request.description, Path(request.source)
            ),
            right=access.ADMINISTER,
        ),
        Kind(
            "open",
            OpenRequest,
            "covid_core.jobs.tasks:open_bundle",
            lambda workspace, request: f"Opening {request.name or Path(request.source).name}",
            right=access.OPEN,
        ),
        Kind(
            "lesson",
            LessonRequest,
            "covid_core.lessons.preparation:make",
            lambda workspace, request: "Preparation of the lesson",
            right=access.LESSON,
        ),
        Kind(
            "handout",
            HandoutRequest,
            "covid_core.lessons.summary:make",
            lambda workspace, request: f"Summary of {plural(len(request.lessons), 'lesson')} to print",
            single=("lessons", "prepared"),
            seconds=lambda workspace, request: HANDOUT_START + HANDOUT_PER_LESSON * len(request.lessons),
            slot=HANDOUT_SLOT,
            right=access.LESSON,
        ),
        Kind(
            "demonstration",
            DemonstrationRequest,
            "covid_core.jobs.demonstration:make",
            lambda workspace, request: "Demonstration: images, models and audits",
            "Its finished parts are kept, and it goes on from there.",
            single=("seed",),
            seconds=lambda workspace, request: DEMONSTRATION_SECONDS,
            slot=TRAINING_SLOT,
            right=access.IMPORT,
        ),
    )
}
