"""Start, stop, resume and delete long work. The queue is the folders themselves; no server has to live for it."""

import contextlib
import itertools
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from covid_core import access, files, weights
from covid_core.data import duplicates
from covid_core.data.dataset import open_dataset
from covid_core.data.split import make_split
from covid_core.errors import CovidCoreError, DataError, InvalidChoice, JobRefused, RunDamaged, UnknownId
from covid_core.executors import attendant, local
from covid_core.executors.choice import Choice, chosen
from covid_core.jobs import kinds
from covid_core.jobs.kinds import FeaturesRequest, Kind, Request
from covid_core.runs import backbone_files, store
from covid_core.runs.store import JobFolder, Run, Status, Study
from covid_core.specs import StudySpec, TrainingSpec
from covid_core.workspace import Workspace, new_id

Trained = TypeVar("Trained", Run, TrainingSpec)
RequestType = TypeVar("RequestType", bound=Request)

MOST_OF_ONE = 15  # processes of one visitor of a server that wait or work
MOST_WAITING = 30  # processes in the queue, each of about 120 MB; a study of the course has five
OF_DATASETS = ("dataset", "against", "members")  # fields of requests that hold data sets' ids
SUBMIT_PATIENCE = 10.0  # seconds; starting a job takes less than one
OUT_OF_QUEUE = attendant.OUT_OF_QUEUE


def submit_training(workspace: Workspace, spec: TrainingSpec) -> Run:
    """Check a run, publish its folder and start its process.

    Raises InvalidChoice, DataError, WeightsUnavailable, NotPermitted or JobRefused; nothing is left behind then.
    """
    access.check(workspace, access.TRAIN)
    check_training(workspace, spec)
    _check_queue(workspace, 1)
    run = published_run(workspace, spec)
    _launch_runs(workspace, [run])
    access.note(workspace, "start training", run.id)
    return run


def submit_study(workspace: Workspace, spec: StudySpec) -> Study:
    """Queue all runs of a study. All are checked before the first is made: a study starts whole or not at all."""
    owner = access.check(workspace, access.TRAIN).owner
    for run_spec in spec.runs:
        check_training(workspace, run_spec)
    _check_queue(workspace, len(_processes(workspace, spec.runs)))
    identifier = new_id(spec.name)
    runs: list[Run] = []
    try:
        runs.extend(published_run(workspace, run_spec, identifier) for run_spec in spec.runs)
        study = Study(identifier, spec.name, spec.preset, time.time(), tuple(run.id for run in runs), owner)
        store.write_study(workspace, study)
    except BaseException:
        for run in runs:
            files.remove_folder(run.path)
        raise
    _launch_runs(workspace, runs)
    access.note(workspace, "start study", study.id)
    return study


def _launch_runs(workspace: Workspace, runs: Sequence[Run]) -> None:
    """Start the processes of new runs, and with an engine that is to do so, jobs for the features of their images."""
    engine = chosen(workspace)
    parts = 1 if engine.is_local else engine.parts
    heads = {_of_features(run.spec): run for run in runs if run.spec.mode != "full" and parts > 1}
    requests = [FeaturesRequest(run=run.id, part=part, parts=parts) for run in heads.values() for part in range(parts)]
    first = [store.create_job(workspace, kinds.of(one).name, one.model_dump(mode="json")) for one in requests]
    for group in _processes(workspace, runs):
        launch(*group, first=first) if first else launch(*group)


def _of_features(spec: TrainingSpec) -> tuple[object, ...]:
    """What the features of a run's images depend on; runs that differ in more than this compute what they lack."""
    start = (spec.weights, spec.seed if spec.weights == "random" else None)
    cut = spec.fine_tuning.layers if spec.fine_tuning else None
    return spec.dataset, spec.classes, spec.backbone, *start, spec.image_size, spec.taps, spec.input, cut


def _processes(workspace: Workspace, runs: Sequence[Trained]) -> list[list[Trained]]:
    """Groups of neighbours, runs or their specs, that share a process. Raises InvalidChoice.

    An engine gets all at once, and does as many beside each other as it has nodes for. Here, heads on frozen networks
    take little, and what one has started the next can use: they are done in turn. Every other training has a process of
    its own, so that one which runs out of memory takes no other along.
    """
    if not chosen(workspace).is_local:
        return [list(runs)]
    light = [(run.spec if isinstance(run, Run) else run).mode == "frozen" for run in runs]
    groups = itertools.groupby(range(len(runs)), lambda place: -1 if light[place] else place)
    return [[runs[place] for place in places] for _, places in groups]


def check_training(workspace: Workspace, spec: TrainingSpec) -> None:
    """Whatever can be known to fail before a process is started, as an error."""
    if spec.weights.startswith("file:"):  # on this machine: what another account may read is not its visitors'
        access.check(workspace, access.ADMINISTER)
    if spec.is_imported:
        raise InvalidChoice("Imported predictions cannot be trained: choose a backbone.")
    dataset = open_dataset(workspace, spec.dataset)
    unknown = [label for label in spec.classes if label not in dataset.classes]
    if unknown:
        raise DataError(f"{dataset.name} has no class {unknown[0]!r}; it has {', '.join(dataset.classes)}.")
    if spec.backbone_file:
        backbone_files.check(workspace, spec.backbone_file)
    else:
        weights.check(spec, spec.network)


def _check_queue(workspace: Workspace, more: int) -> None:
    chosen(workspace)  # raises where the engine lacks
    queue = training_queue(workspace)
    if len({run.process for run, _ in queue}) + more > MOST_WAITING:
        raise JobRefused(f"{len(queue)} runs are waiting already; no more fit into the queue. Stop some of them first.")
    owner = access.actor().owner
    _check_share(len({run.process for run, _ in queue if run.owner == owner}), more)


def _check_share(own: int, more: int) -> None:
    """Raise JobRefused where one visitor of a server would take the queue from the others."""
    if access.actor().role < access.Role.ADMIN and own + more > MOST_OF_ONE:
        raise JobRefused(
            f"{own} of your jobs wait or work, and one visitor has at most {MOST_OF_ONE}. Stop some first."
        )


def published_run(workspace: Workspace, spec: TrainingSpec, study: str = "") -> Run:
    """The published folder of a run, without a process."""
    dataset = open_dataset(workspace, spec.dataset)
    grouped = spec.split.method != "stratified"
    images = duplicates.with_groups(workspace, dataset) if grouped else dataset.images
    return store.create_run(workspace, spec, dataset, make_split(images, spec.classes, spec.split, spec.labels), study)


def submit(workspace: Workspace, request: Request) -> JobFolder:
    """Check a request and start its job. Raises what the check of its kind does, or JobRefused."""
    return submit_all(workspace, [request])[0]


def submit_all(workspace: Workspace, requests: Sequence[Request]) -> list[JobFolder]:
    """Queue jobs for one process, which does them in turn. All are checked before the first is queued.

    Raises what the checks of their kinds do, or JobRefused.
    """
    another = JobRefused("Another job is just being started. Try again in a moment.")
    with files.FileLock(workspace.slots / "submitting.lock").held(SUBMIT_PATIENCE, another):
        for request in requests:
            access.check(workspace, kinds.of(request).right)
            kinds.of(request).check(workspace, request)
            _check_single(workspace, request)
        if any(kinds.of(request).is_portable for request in requests):
            chosen(workspace)  # raises where the engine lacks
        owner = access.actor().owner
        own = [job for job in jobs(workspace, Request) if job.is_active and job.owner == owner]
        _check_share(sum(not isinstance(job.request, kinds.FeaturesRequest) for job in own), 1)
        unique = [request for place, request in enumerate(requests) if request not in requests[:place]]
        queued = [store.create_job(workspace, kinds.of(one).name, one.model_dump(mode="json")) for one in unique]
        if queued:
            launch(*queued)
        for job in queued:
            access.note(workspace, f"start {job.request()['kind']}", job.id)
        return queued


def _check_single(workspace: Workspace, request: Request) -> None:
    kind = kinds.of(request)
    same = {name: (getattr(request, name),) for name in kind.single}
    if same and any(job.is_active for job in jobs(workspace, type(request), **same)):
        raise JobRefused(f"{kind.title(workspace, request)} is under way already. Wait for it, or stop it.")


@dataclass(frozen=True)
class Job(Generic[RequestType]):
    """A job other than a training, as its folder was at one moment."""

    folder: JobFolder
    request: RequestType
    status: Status
    created: float
    owner: str = ""

    @property
    def id(self) -> str:
        return self.folder.id

    @property
    def kind(self) -> Kind:
        return kinds.of(self.request)

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder.path.parent.parent)

    @property
    def title(self) -> str:
        """What it makes, as plain text."""
        return self.kind.title(self.workspace, self.request)

    @property
    def is_active(self) -> bool:
        """Whether it waits or works."""
        return not self.status.is_final


def jobs(workspace: Workspace, *models: type[RequestType], **fields: str | Collection[str]) -> list[Job[RequestType]]:
    """Jobs with requests of these models, oldest first.

    Each of ``fields`` names a field of the request and its value, or several values of which it has one. Folders that
    cannot be read are left out; a job whose status is damaged counts as failed.
    """
    listed = []
    for folder in store.list_jobs(workspace):
        with contextlib.suppress(CovidCoreError, OSError):  # of another version, damaged, or removed at this moment
            record = folder.request()
            request = kinds.request_in(record)
            if isinstance(request, models) and all(_matches(request, *field) for field in fields.items()):
                listed.append(Job(folder, request, _status(folder), *_origin(record)))
    return sorted(listed, key=lambda job: job.created)


def _origin(record: Mapping[str, Any]) -> tuple[float, str]:
    """When a job was asked for, and by whom."""
    return float(record.get("created", 0)), str(record.get("owner", ""))


def _matches(request: Request, field: str, wanted: str | Collection[str]) -> bool:
    value = getattr(request, field, None)
    return value == wanted if isinstance(wanted, str) else value in wanted


def _status(folder: JobFolder) -> Status:
    try:
        return folder.status()
    except RunDamaged as error:
        return Status(store.FAILED, reason=str(error))


def jobs_on(workspace: Workspace, dataset: str) -> list[Job[Request]]:
    """Jobs that wait or work and need a data set: its audit, its map, a comparison or a test with it."""
    listed = jobs(workspace, Request)
    return [job for job in listed if job.is_active and dataset in _datasets_of(job.request)]


def _datasets_of(request: Request) -> Iterator[str]:
    for field in OF_DATASETS:
        value = getattr(request, field, None) or ()
        yield from (value,) if isinstance(value, str) else value


def dismiss(job: Job[RequestType]) -> None:
    """Remove what is left of a job that has ended, unless somebody else has done so. Raises NotPermitted."""
    access.check(job.workspace, job.kind.right, job.owner, job.id)
    kinds.discard_upload(job.workspace, job.request)
    with contextlib.suppress(FileNotFoundError):
        files.remove_folder(job.folder.path)


def launch(*folders: JobFolder, first: Sequence[JobFolder] = ()) -> None:
    """Start one process for published folders: a worker that does them in turn, or where an engine does such jobs, an
    attendant that hands them all to it, after those that come ``first``."""
    choice, all_folders = _engine_of(*folders), (*first, *folders)
    attempts, logs = [folder.next_attempt() for folder in all_folders], [folder.log_bytes for folder in all_folders]
    pairs = [(str(folder.path), str(attempt)) for folder, attempt in zip(all_folders, attempts, strict=True)]
    words = [word for pair in pairs for word in pair]
    if first:
        words.insert(2 * len(first), attendant.THEN)
    module = local.WORKER
    if not choice.is_local:
        module, words = attendant.__name__, [choice.model_dump_json(), *words]
    pid = local.started(module, words, folders[0].log_path, local.environment(folders[0]))
    for folder, attempt, log_bytes in zip(all_folders, attempts, logs, strict=True):
        folder.write_launch(pid, attempt, log_bytes, "" if choice.is_local else choice.engine)


def _engine_of(*folders: JobFolder) -> Choice:
    """The engine that does these jobs: the workspace's, where all that they need lies in the workspace."""
    if all(kind_of(folder).is_portable for folder in folders):
        return chosen(folders[0].workspace)
    return Choice()


def kind_of(folder: JobFolder) -> Kind:
    """What it does. Raises RunDamaged, or CovidCoreError where this version does not know it."""
    return kinds.of(folder.spec) if isinstance(folder, Run) else kinds.named(folder.request().get("kind"))


def stop(folder: JobFolder) -> None:
    """Ask a job to end at its next step. A training keeps its best weights. Raises JobRefused when it has ended, or
    NotPermitted.

    A run that another one's process has not come to yet is taken out of the queue at once.
    """
    kind = kind_of(folder)
    access.check(folder.workspace, kind.right, folder.owner, folder.id)
    status = folder.status()
    if status.is_final:
        raise JobRefused(f"{folder.id} is not running.")
    folder.request_stop()
    if isinstance(folder, Run):
        for part in jobs(folder.workspace, kinds.FeaturesRequest, run=folder.id):
            if part.is_active:
                part.folder.request_stop()
    lock = folder.lock
    if status.state == store.QUEUED and lock.try_acquire():
        try:
            if not isinstance(folder, Run):
                kinds.discard_upload(folder.workspace, kinds.request_in(folder.request()))
            now = time.time()
            folder.write_status(replace(status, state=store.STOPPED, reason=OUT_OF_QUEUE, updated=now, ended=now))
        finally:
            lock.release()
    access.note(folder.workspace, f"stop {kind.name}", folder.id)


def resume(run: Run, processor: bool = False) -> None:
    """Go on from the last checkpoint, on the ``processor`` from now on where that is asked for.

    Raises JobRefused for a run that is running or complete, or NotPermitted.
    """
    access.check(run.workspace, access.TRAIN, run.owner, run.id)
    if run.bundle:
        raise JobRefused(f"{run.name} came in a bundle, without its checkpoint. Train a variant of it instead.")
    with run.launch_lock.held(0, JobRefused(f"{run.name} is being resumed already.")):
        state = run.status().state
        if state not in store.ENDED_EARLY:
            raise JobRefused(f"{run.name} is {state}; only stopped, interrupted and failed runs can be resumed.")
        run.clear_stop()
        if processor:
            run.request_processor()
        launch(run)
        access.note(run.workspace, "resume training", run.id)


def resume_study(workspace: Workspace, study: Study) -> list[str]:
    """Resume every run of a study that ended early. Returns their ids."""
    resumed = []
    for identifier in study.runs:
        with contextlib.suppress(UnknownId):  # a run that was deleted since
            run = store.open_run(workspace, identifier)
            if run.status().state in store.ENDED_EARLY:
                resume(run)
                resumed.append(identifier)
    return resumed


def delete(run: Run) -> None:
    """Remove a run that has ended. Raises JobRefused while it runs, or NotPermitted."""
    access.check(run.workspace, access.TRAIN, run.owner, run.id)
    if not run.status().is_final:
        raise JobRefused(f"{run.name} is not finished. Stop it first.")
    files.remove_folder(run.path)
    access.note(run.workspace, "delete run", run.id)


def wait(folder: JobFolder, poll: float = 0.3) -> Status:
    """Block until the job has ended, and return how."""
    while not (status := folder.status()).is_final:
        time.sleep(poll)
    return status


def training_queue(workspace: Workspace) -> list[tuple[Run, Status]]:
    """Runs that have not ended, in the order in which they are taken."""
    runs, _ = store.list_runs(workspace)
    waiting = []
    for run in sorted(runs, key=_order):
        with contextlib.suppress(CovidCoreError):  # a damaged run waits for nothing
            status = run.status()
            if not status.is_final:
                waiting.append((run, status))
    return sorted(waiting, key=lambda pair: pair[1].state != store.RUNNING)


def take_slot(workspace: Workspace, folder: JobFolder) -> files.FileLock | None:
    """A free slot for this job, if it is its turn. The caller holds it as long as it works."""
    kind = kinds.of(folder.spec) if isinstance(folder, Run) else kinds.named(folder.request().get("kind"))
    slots = [files.FileLock(workspace.slots / f"{kind.slot.name}-{number}.lock") for number in range(kind.slot.jobs)]
    free = [slot for slot in slots if not slot.is_held()]
    if not free or (isinstance(folder, Run) and _others_go_first(workspace, folder)):
        return None
    return next((slot for slot in free if slot.try_acquire()), None)


def _others_go_first(workspace: Workspace, run: Run) -> bool:
    """Whether an older run waits for a slot. Reads every run: it is asked only when there is a slot to have."""
    return any(
        status.state == store.QUEUED and _order(other) < _order(run) and not other.engine
        for other, status in training_queue(workspace)
        if other.id != run.id
    )


def _order(run: Run) -> tuple[float, str]:
    return run.created, run.id
