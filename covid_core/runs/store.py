"""The files of jobs, runs and studies: all that knows their names and their content.

Every long work has a folder with the same skeleton (a run's is ``runs/ID``, the others' ``jobs/ID``):

=============  ======  =====================================================================
request.json   jobs    what to do; for a run ``spec.json`` takes its place
launch.json    jobs    the process last started for it: pid, start time, attempt, computer, engine
launch.lock    jobs    held while a process is started, so that two readers do not resume at once
status.json    worker  state, progress, message, times
worker.log     jobs    what the process printed; for people, never parsed; attendant.log, what an engine did
lock           worker  held for the process's whole life, so "running" with a free lock means dead; where an engine
                       does the job, its attendant on the computer that started it holds it
node.lock      worker  held by a worker on a node of an engine, so that a job which was lost is not done twice
stop.request   jobs    a polite stop
=============  ======  =====================================================================

``processor.request`` beside them has the processes of a run leave the graphics cards alone.
What a run adds is listed in ``docs/architecture.md``.
"""

import contextlib
import io
import json
import math
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, cast

import numpy as np
import pandas as pd
import psutil
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat
from pydantic.dataclasses import dataclass as checked_dataclass

from covid_core import access, files
from covid_core.data.dataset import Dataset
from covid_core.data.split import TEST, split_hash
from covid_core.errors import CovidCoreError, InvalidChoice, RunDamaged, RunError, UnknownId, cause
from covid_core.formatting import duration
from covid_core.specs import TrainingSpec, parse
from covid_core.workspace import Workspace, folder_of, list_folders, new_id

SCHEMA = 1
TRAINING = 2  # in a result; one more where the same spec and images no longer give the same numbers
State = Literal["queued", "running", "completed", "failed", "stopped", "interrupted"]
Fault = Literal["", "disk", "memory", "device", "stalled", "diverged"]  # why, where something is offered against it
QUEUED: Final = "queued"
RUNNING: Final = "running"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
STOPPED: Final = "stopped"
INTERRUPTED: Final = "interrupted"  # derived: the status says running and the lock is free
FINAL = frozenset({COMPLETED, FAILED, STOPPED, INTERRUPTED})
ENDED_EARLY = FINAL - {COMPLETED}  # states from which a run can be resumed
USABLE = frozenset({COMPLETED, STOPPED})  # states in which a run can be compared and predict
ANNOTATION = "annotation.json"  # says nothing of figures: no reason to measure a run anew
MOST_OF_LICENCE = 200  # letters
ANNOTATING = 10.0  # seconds to wait for another process that writes an annotation
OPENINGS = "openings.csv"  # grows with every look and is read for nothing else: no reason to read a run anew
UNREADABLE = "a line that cannot be read"
SOURCES = "sources"  # the preset of a study that holds out each source in turn
REPEATS = "repeats"  # the preset of a study that repeats one training
OUTCOME = (
    *("history.csv", "model.keras", "head.npz", "trunk.tflite", "predictions.parquet", "reference.npz"),
    *("lungs.tflite", "segmenter.json"),
)
CARRIED = ("split.parquet", "result.json", *OUTCOME, OPENINGS)  # into another workspace, as they are
WRITTEN_ANEW = ("spec.json", "status.json", ANNOTATION)  # without what is of one workspace
PARTS_CARRIED = re.compile(r"evaluations/[a-z0-9-]+\.(json|parquet|npy)|audits/[a-z-]+\.json")
SILENT_AFTER = 60.0  # seconds; a worker gives a sign of life every ten
KILLED = "Its process ended: it was killed, the computer stopped, or memory ran out."
ENDED_WAITING = "Its process ended while it waited to start."
BOOT = Path("/proc/sys/kernel/random/boot_id")
START_PATIENCE = 30.0  # seconds that a process may need before it holds its lock
_HISTORY_FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds")
HISTORY_TYPES: dict[str, type] = {"stage": str, "epoch": int, **dict.fromkeys(_HISTORY_FIGURES, float)}
HISTORY_COLUMNS = tuple(HISTORY_TYPES)

Opened = TypeVar("Opened")


@checked_dataclass(frozen=True)
class Status:
    """How far a job is. Times are seconds since 1970; ``progress`` is in [0, 1]; ``seconds_left`` is an estimate.

    ``seconds`` is how long it had worked when this was written, at ``clock`` of the machine's monotonic clock; statuses
    of earlier versions have neither. ``place`` is where an engine does it, in words; empty on this computer.
    """

    state: State
    stage: str = ""
    epoch: int = 0
    progress: Annotated[float, Field(ge=0, le=1)] = 0.0
    message: str = ""
    reason: str = ""
    attempt: int = 1
    started: FiniteFloat | None = None
    updated: FiniteFloat | None = None
    ended: FiniteFloat | None = None
    seconds_left: FiniteFloat | None = None
    seconds: FiniteFloat | None = None
    clock: FiniteFloat | None = None
    fault: Fault = ""
    place: str = ""

    @property
    def is_final(self) -> bool:
        """Whether it will not change by itself any more."""
        return self.state in FINAL

    @property
    def is_usable(self) -> bool:
        """Whether what it came to can be compared and predict, where it has a result."""
        return self.state in USABLE or self.fault == "diverged"

    @property
    def elapsed(self) -> float | None:
        """Seconds of work so far, or in all. Setting the machine's clock changes nothing."""
        if self.seconds is None or self.clock is None:
            end = self.ended or (time.time() if self.state == RUNNING else self.updated or 0)
            return None if self.started is None else max(0.0, end - self.started)
        return self.seconds + (self.age if self.state == RUNNING else 0.0)

    @property
    def age(self) -> float:
        """Seconds since it was written; 0 of earlier versions. The monotonic clock is another one on another machine,
        and the wall clock may be set: whichever says less is right, or not absurd."""
        if self.clock is None:
            return 0.0
        return max(0.0, min(time.monotonic() - self.clock, time.time() - (self.updated or 0)))


@checked_dataclass(frozen=True)
class Launch:
    """The process last started for a folder, and how much of the folder's log was there before it.

    Its start time tells it from a later one with the same pid: on Linux in seconds since the boot called ``boot``, so
    that setting the clock changes nothing; elsewhere, and of earlier versions, since 1970. ``computer`` is where it
    was started, ``engine`` what does the job there.
    """

    pid: int
    process_started: FiniteFloat | None
    attempt: int
    boot: str = ""
    log_bytes: int = 0
    computer: str = ""
    engine: str = ""

    @property
    def is_elsewhere(self) -> bool:
        """Whether another computer that shares the workspace has started it."""
        return self.computer not in ("", platform.node())

    def is_alive(self) -> bool:
        """Whether that very process still exists, and is not a zombie."""
        try:
            process = psutil.Process(self.pid)
            boot, started = _start_of(self.pid) if self.boot else ("", process.create_time())
            same = self.process_started is not None and abs(started - self.process_started) < 1
            return same and boot == self.boot and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, OSError, ValueError):
            return False


class _File:
    """The path of a file in a folder."""

    def __init__(self, name: str):
        self._name = name

    def __get__(self, folder: "JobFolder", owner: object = None) -> Path:
        return folder.path / self._name


@dataclass(frozen=True)
class JobFolder:
    """The skeleton that every long work shares. See the module's text."""

    path: Path

    log_path = _File("worker.log")
    attendant_path = _File("attendant.log")  # of the first of several jobs that an engine got at once

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.path.parent.parent)

    @property
    def owner(self) -> str:
        """Who started it on a server with a sign-in; else empty. Raises RunDamaged."""
        return str(self.request().get("owner", ""))

    @property
    def lock(self) -> files.FileLock:
        return files.FileLock(self.path / "lock")

    @property
    def node_lock(self) -> files.FileLock:
        return files.FileLock(self.path / "node.lock")

    @property
    def launch_lock(self) -> files.FileLock:
        return files.FileLock(self.path / "launch.lock")

    def status(self) -> Status:
        """The state as a reader may believe it: "running" only while the process lives.

        Raises RunDamaged, or UnknownId when the folder was removed since.
        """
        written = self._written_status()
        launch = self._launch()
        if written is None or (launch is not None and written.attempt < launch.attempt):
            return self._status_before_start(launch)
        if written.state in (QUEUED, RUNNING) and not self.lock.is_held() and not self._beats_elsewhere(launch):
            written = self._written_status() or written  # it may have ended between the two readings
            if written.state in (QUEUED, RUNNING):
                return replace(written, state=INTERRUPTED, reason=self._reason(KILLED))
        if written.state == RUNNING and written.age > SILENT_AFTER:
            return replace(written, message=f"Not responding for {duration(written.age)}")
        return written

    def _beats_elsewhere(self, launch: Launch | None) -> bool:
        """Whether another computer started it and has just given a sign of life: not every file system shows the lock
        of another computer, and a job that lives there must not be started a second time."""
        paths = [path for path in (self.path / "status.json", self.path / "launch.json") if path.exists()]
        changed = max((path.stat().st_mtime for path in paths), default=0.0)
        return launch is not None and launch.is_elsewhere and abs(time.time() - changed) < SILENT_AFTER

    def is_superseded(self, attempt: int) -> bool:
        """Whether a later attempt has been started, or the one who attends to this one has gone."""
        launch = self._launch()
        return launch is not None and (launch.attempt > attempt or not self.lock.is_held())

    def is_ended(self, attempt: int) -> bool:
        """Whether that attempt, or a later one, has had its last word."""
        written = self._written_status()
        return written is not None and written.is_final and written.attempt >= attempt

    @property
    def progress_written(self) -> float:
        """How far its last worker has come, whatever became of it; 0 where its status is damaged."""
        with contextlib.suppress(RunDamaged):
            written = self._written_status()
            return written.progress if written else 0.0
        return 0.0

    def write_status(self, status: Status) -> None:
        files.write_json(self.path / "status.json", asdict(status))

    def request_stop(self) -> None:
        (self.path / "stop.request").touch()

    def clear_stop(self) -> None:
        (self.path / "stop.request").unlink(missing_ok=True)

    def stop_requested(self) -> bool:
        return (self.path / "stop.request").exists()

    def request_processor(self) -> None:
        """Have each process that is started for it leave the graphics cards alone."""
        (self.path / "processor.request").touch()

    def processor_requested(self) -> bool:
        return (self.path / "processor.request").exists()

    def sweep(self) -> None:
        """Remove what a killed worker had half written. Only for who holds the lock: nobody else writes these files."""
        for path in self.path.glob(".*"):
            if not path.name.startswith(".launch"):  # written by whoever starts the process, at this very time
                path.unlink(missing_ok=True)

    @property
    def log_bytes(self) -> int:
        return self.log_path.stat().st_size if self.log_path.is_file() else 0

    def write_launch(self, pid: int, attempt: int, log_bytes: int = 0, engine: str = "") -> None:
        """Remember the process that was started: see ``Launch``."""
        try:
            boot, started = _start_of(pid)
        except (psutil.Error, OSError):  # it has ended
            boot, started = "", None
        launch = Launch(pid, started, attempt, boot, log_bytes, platform.node(), engine)
        files.write_json(self.path / "launch.json", asdict(launch))

    @property
    def process(self) -> int | None:
        """The process last started for it; one may do several runs in turn."""
        launch = self._launch()
        return launch.pid if launch else None

    @property
    def engine(self) -> str:
        """The engine that does it; empty for this computer."""
        launch = self._launch()
        return launch.engine if launch else ""

    def next_attempt(self) -> int:
        launch = self._launch()
        return launch.attempt + 1 if launch else 1

    def log_tail(self, characters: int = 4000, begin: int = 0) -> str:
        """The end of the log, of what stands behind ``begin`` bytes; nothing where there is none."""
        if not self.log_path.is_file():
            return ""
        with open(self.log_path, "rb") as handle:
            handle.seek(max(begin, handle.seek(0, io.SEEK_END) - characters))
            return handle.read().decode("utf-8", "replace")

    def request(self) -> dict[str, Any]:
        """What a job was asked to do. Raises RunDamaged."""
        return cast(dict[str, Any], _read(files.read_json, self.path / "request.json"))

    @cached_property
    def result(self) -> dict[str, Any]:
        """What the worker wrote last; empty until then."""
        path = self.path / "result.json"
        return cast(dict[str, Any], _read(files.read_json, path)) if path.exists() else {}

    def write_result(self, result: Mapping[str, Any]) -> None:
        files.write_json(self.path / "result.json", dict(result))

    def _reason(self, usual: str) -> str:
        """Why its process has ended: it finds no word for a disk that is full from the start."""
        return files.DISK_FULL if files.is_full(self.path) else usual

    def _written_status(self) -> Status | None:
        try:
            return Status(**files.read_json(self.path / "status.json"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise RunDamaged(f"The status of {self.id} cannot be read: {cause(error)}.") from error

    def _launch(self) -> Launch | None:
        try:
            return Launch(**files.read_json(self.path / "launch.json"))
        except (OSError, ValueError, TypeError):
            return None

    def _status_before_start(self, launch: Launch | None) -> Status:
        attempt = launch.attempt if launch else 1
        try:
            age = time.time() - self.path.stat().st_mtime
        except FileNotFoundError as error:
            raise UnknownId(f"{self.id} has been deleted.") from error
        alive = launch.is_alive() or self._beats_elsewhere(launch) if launch else abs(age) < START_PATIENCE
        if self.lock.is_held() or alive:
            return Status(QUEUED, message="Waiting to start", attempt=attempt)
        log = self.log_tail(600, launch.log_bytes if launch else 0).strip()
        if log:
            return Status(FAILED, reason=f"The process did not start. {log}", attempt=attempt)
        return Status(INTERRUPTED, reason=self._reason(ENDED_WAITING), attempt=attempt)


def _start_of(pid: int) -> tuple[str, float]:
    """The boot in which a process was started, and when: see ``Launch``. Raises psutil.Error or OSError."""
    if sys.platform != "linux":
        return "", float(psutil.Process(pid).create_time())
    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return BOOT.read_text().strip(), int(fields[19]) / os.sysconf("SC_CLK_TCK")


class DatasetRecord(BaseModel):
    """A data set as it was when something was trained on it."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    version: str
    synthetic: bool
    counts: dict[str, int] | None = None  # images per class; earlier versions did not keep it


class BundleRecord(BaseModel):
    """The bundle that a run was opened from: its SHA-256, what its sender wrote of the licence of the run's data, and
    when it was made, in seconds since 1970, by which ``version`` of this program."""

    model_config = ConfigDict(frozen=True)

    sha256: str = Field(pattern="[0-9a-f]{64}")
    licence: str = Field(default="", max_length=MOST_OF_LICENCE)
    created: FiniteFloat
    version: str = Field(max_length=40)


class RunRecord(BaseModel):
    """What a run's spec.json holds beside the spec itself. ``created`` is in seconds since 1970."""

    model_config = ConfigDict(frozen=True)

    created: FiniteFloat
    dataset: DatasetRecord
    split_hash: str
    grouped: bool = False  # whether images of its split share a group
    halved: bool = False  # earlier versions had no halves
    study: str = ""
    owner: str = ""  # who started it on a server with a sign-in
    bundle: BundleRecord | None = None  # of a run that was opened, and not trained here


class Annotation(BaseModel):
    """What people wrote on a run, and its ``number`` in the workspace, which gives it its colour for good.

    ``reference``: other runs are compared with it. ``archived``: lists leave it out. ``licence``: of the data,
    as people of this workspace state it.
    """

    model_config = ConfigDict(frozen=True)

    name: str = Field(default="", max_length=80)
    group: str = Field(default="", max_length=40)
    tags: tuple[Annotated[str, Field(min_length=1, max_length=40)], ...] = Field(default=(), max_length=20)
    reference: bool = False
    archived: bool = False
    licence: str = Field(default="", max_length=MOST_OF_LICENCE)
    number: int | None = Field(default=None, ge=0)


_OF_WORKSPACE = {"reference", "archived", "licence", "number"}  # fields of an annotation that say nothing elsewhere


@dataclass(frozen=True)
class Run(JobFolder):
    """A training run as its folder tells it. Raises RunDamaged where a file is missing or torn."""

    record: RunRecord = field(repr=False)
    spec: TrainingSpec = field(repr=False)
    apart: frozenset[str] = field(default=frozenset(), repr=False)  # test images that ``predictions`` leaves out

    model_path = _File("model.keras")
    head_path = _File("head.npz")
    trunk_path = _File("trunk.tflite")  # where the trunk was trained; else result["trunk"] names a shared one
    reference_path = _File("reference.npz")  # what new images are judged by, where has_reference
    segmenter_path = _File("segmenter.json")  # of a run whose region is the lungs, beside the segmenter's network
    checkpoint_path = _File("checkpoint.npz")
    predictions_path = _File("predictions.parquet")
    history_path = _File("history.csv")

    @property
    def name(self) -> str:
        return self.annotation.name or self.spec.name or self.id

    @property
    def owner(self) -> str:
        return self.record.owner

    @property
    def bundle(self) -> BundleRecord | None:
        """The bundle that it was opened from: its files are then a stranger's. None where it was trained here."""
        return self.record.bundle

    @property
    def licence(self) -> str:
        """The licence of its data: as somebody stated it here, or else as the sender of its bundle did."""
        return self.annotation.licence or (self.bundle.licence if self.bundle else "")

    @property
    def has_model(self) -> bool:
        """Whether its result includes model.keras: not where the backbone is a file that Keras cannot hold."""
        return self.has_network and not (self.spec.backbone_file and self.spec.backbone_file.runs_apart)

    @property
    def has_network(self) -> bool:
        """Whether it can predict: not where its predictions are from a file."""
        return not self.spec.is_imported

    def check_network(self) -> None:
        """Raise RunError where it cannot predict."""
        if not self.has_network:
            raise RunError(f"{self.name} holds imported predictions and no model. It can be compared, nothing else.")

    @cached_property
    def annotation(self) -> Annotation:
        """What people wrote on it; nothing where that is damaged, which hides no figure."""
        return _annotation_in(self.path)

    @cached_property
    def number(self) -> int:
        """Its number in the workspace, from 0. Runs get theirs, the oldest first, when one is first asked for its."""
        for written in (self.annotation, _annotation_in(self.path)):  # another run may have asked since
            if written.number is not None:
                return written.number
        return _numbered(self.path.parent)[self.id]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class order of scores everywhere in this run."""
        return self.spec.classes

    @property
    def split_hash(self) -> str:
        return self.record.split_hash

    @property
    def dataset(self) -> DatasetRecord:
        """The data set as it was when the run was started."""
        return self.record.dataset

    @property
    def is_halved(self) -> bool:
        """Whether one half of its validation images chose the epoch and the other calibrates; else all did both."""
        return self.record.halved

    @property
    def study(self) -> str:
        """Id of the study it belongs to, or nothing."""
        return self.record.study

    @property
    def created(self) -> float:
        return self.record.created

    def accuracy(self, part: str) -> float:
        """Share of a part's images that are answered rightly, as the worker counted it; nan where unknown."""
        return float(self.result.get("accuracy", {}).get(part, math.nan))

    @property
    def selection_accuracy(self) -> float:
        """The same for the validation images that may choose between runs; nan where unknown."""
        return float(self.result.get("selection_accuracy", self.accuracy("validation")))

    @property
    def has_reference(self) -> bool:
        """Whether its result tells of a reference; runs of earlier versions have none until one is made."""
        return "reference_sha256" in self.result

    def split(self) -> pd.DataFrame:
        """Columns image_id, label, group, part, and half where the run is halved (see ``data.split.halves``); of later
        versions also source and folder_label, the class of the image's folder.

        Raises RunDamaged when it is not the one that the run recorded.
        """
        split, digest = _read(lambda path: _split_in(path.read_bytes()), self.path / "split.parquet")
        if digest != self.split_hash:
            raise RunDamaged(f"The split of {self.name} was changed after the run was started.")
        return split.copy(deep=False)  # what a caller changes, pandas copies

    def groups(self) -> pd.Series | None:
        """The group of each image by image id; None where no two images of the split share one."""
        return self.split().set_index("image_id")["group"] if self.record.grouped else None

    def predictions(self) -> pd.DataFrame:
        """Columns image_id, part, label, score_<class> and logit_<class> for every class."""
        table = _read(files.read_table, self.predictions_path)
        return table[~((table["part"] == TEST) & table["image_id"].isin(self.apart))] if self.apart else table

    def history(self) -> pd.DataFrame:
        """One row per finished epoch, columns HISTORY_COLUMNS; empty before the first."""
        path = self.history_path
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            whole = text[: text.rfind("\n") + 1]  # a line without its end was torn by a crash
            if not whole:
                return pd.DataFrame(columns=list(HISTORY_COLUMNS))
            return pd.read_csv(io.StringIO(whole), names=list(HISTORY_COLUMNS), index_col=False, dtype=HISTORY_TYPES)
        except (OSError, ValueError) as error:
            raise RunDamaged(f"The history of {self.name} cannot be read: {cause(error)}.") from error

    def note_opening(self, what: str) -> None:
        """Append to openings.csv that somebody looked at test images: each look makes a later choice less honest.

        One write of a whole line at the file's end, so two processes do not mix theirs. Raises RunError where the
        folder cannot be written.
        """
        line = f"{time.time():.0f},{json.dumps(what, ensure_ascii=False)}\n"
        try:
            with open(self.path / OPENINGS, "ab", buffering=0) as handle:
                handle.write(line.encode())
        except OSError as error:
            raise RunError(f"A look at {self.name} cannot be noted: {error.strerror or error}.") from error

    def note_view(self, what: str) -> None:
        """``note_opening``, once per calendar day: a page that is drawn again is no other look.

        Two processes that look for the first time in the same moment may both note it. Raises RunError.
        """
        today = date.today()
        if not any(one.what == what and one.day == today for one in self.openings()):
            self.note_opening(what)

    def openings(self) -> list["Opening"]:
        """Every opening of test images, as noted, the oldest first. A line that cannot be read counts as one.

        Raises RunDamaged.
        """
        path = self.path / OPENINGS
        try:
            text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        except OSError as error:
            raise RunDamaged(f"The looks at {self.name} cannot be read: {error.strerror or error}.") from error
        return [Opening.of_line(line) for line in text.split("\n") if line]

    def write_evaluation(
        self, record: "EvaluationRecord", table: pd.DataFrame, features: np.ndarray | None = None
    ) -> "Evaluation":
        """Keep an outside test: what it was, the answers for its images, and their features (n, d)."""
        identifier = new_id(record.dataset.name)
        folder = self.path / "evaluations"
        folder.mkdir(exist_ok=True)
        with files.published(folder / f"{identifier}.parquet") as temporary:
            table.to_parquet(temporary, index=False)
        if features is not None:
            with files.published(folder / f"{identifier}.npy") as temporary, temporary.open("wb") as file:
                np.save(file, features.astype(np.float16))
        files.write_json(folder / f"{identifier}.json", {**record.as_written, "schema": SCHEMA})
        return Evaluation(identifier, folder, record)

    def evaluations(self) -> list["Evaluation"]:
        """All outside tests of the run, newest first. Raises RunDamaged."""
        tests = [
            Evaluation(
                path.stem, path.parent, _read(lambda it: EvaluationRecord.model_validate(files.read_json(it)), path)
            )
            for path in (self.path / "evaluations").glob("[!.]*.json")  # a hidden one is half written
        ]
        return sorted(tests, key=lambda one: one.record.created, reverse=True)

    def write_audit(self, name: str, record: Mapping[str, Any]) -> None:
        """Keep what a check of the run found. Raises RunError where the folder cannot be written."""
        folder = self.path / "audits"
        try:
            folder.mkdir(exist_ok=True)
            files.write_json(folder / f"{name}.json", {**record, "schema": SCHEMA})
        except OSError as error:
            raise RunError(f"A check of {self.name} cannot be kept: {error.strerror or error}.") from error

    def audit(self, name: str) -> dict[str, Any] | None:
        """What a check of that name found; None where it was not made. Raises RunDamaged."""
        path = self.path / "audits" / f"{name}.json"
        record = _read(files.read_json, path) if path.exists() else None
        if record is not None and not isinstance(record, dict):
            raise RunDamaged(f"{self.name}: {path.name} is damaged.")
        return record

    def take_over(self, other: "Run") -> None:
        """Copy the outcome of a run of equal settings on equal images; the result is left to be written last."""
        for name in OUTCOME:
            if (other.path / name).exists():
                with files.published(self.path / name) as temporary:
                    shutil.copyfile(other.path / name, temporary)

    def content(self, licence: str = "") -> dict[str, bytes | Path]:
        """What another workspace needs of a finished run, by name in its folder: bytes, or the file that holds them.

        ``licence`` is stated in place of what the run states of its data. Left out: who started it, the study and
        number that it has here, its log, its checkpoint, where a file of starting weights lies on this machine, and why
        it was stopped. Raises RunDamaged.
        """
        record = self.record.model_copy(update={"owner": "", "study": "", "bundle": None})
        spec = self.spec.without_folders()
        annotation = self.annotation.model_dump(mode="json", exclude=_OF_WORKSPACE)
        annotation["licence"] = licence or self.licence
        status = asdict(replace(self.status(), message="", reason="", place=""))
        anew = (_as_written(record, spec), status, annotation)
        written = {name: files.json_bytes(one) for name, one in zip(WRITTEN_ANEW, anew, strict=True)}
        places = [self.path / name for name in CARRIED]
        places += [path for folder in ("audits", "evaluations") for path in (self.path / folder).glob("[!.]*")]
        there = {path.relative_to(self.path).as_posix(): path for path in places if path.is_file()}
        return {**written, **{name: path for name, path in there.items() if is_carried(name)}}

    def append_history(self, row: Mapping[str, Any]) -> None:
        with open(self.history_path, "a", encoding="utf-8") as handle:
            handle.write(",".join(str(row[column]) for column in HISTORY_COLUMNS) + "\n")

    def rewrite_history(self, epochs: int) -> None:
        """Keep the first ``epochs`` rows: what came after the checkpoint is trained again."""
        remaining = self.history().head(epochs)
        text = remaining.to_csv(index=False, header=False)
        files.write_bytes(self.history_path, text.encode())

    def write_predictions(self, predictions: pd.DataFrame) -> None:
        with files.published(self.predictions_path) as temporary:
            predictions.to_parquet(temporary, index=False)


@dataclass(frozen=True)
class Opening:
    """A look at a run's test images: when, in seconds since 1970 (nan where that cannot be read), and at what."""

    time: float
    what: str

    @classmethod
    def of_line(cls, line: str) -> "Opening":
        """From a line of openings.csv; one that was torn is still a look."""
        at, _, what = line.partition(",")
        try:
            return cls(int(at), str(json.loads(what)))
        except ValueError:
            return cls(math.nan, UNREADABLE)

    @property
    def day(self) -> date | None:
        """The calendar day on this machine; None where the time is unknown."""
        return None if math.isnan(self.time) else date.fromtimestamp(self.time)


class OutsideDataset(BaseModel):
    """The data set of an outside test as it was; a lesson's has a name only."""

    model_config = ConfigDict(frozen=True)

    id: str = ""
    name: str
    version: str = ""


class EvaluationRecord(BaseModel):
    """On which images a run was tested: its class for each of theirs, images of ``unknown`` classes, and how many are
    ``shared`` with its own data set by ``method``, in ``conflicts`` under another class.
    ``source_match`` is what ``audit.shortcuts.source_match`` made of them, None where it could not."""

    model_config = ConfigDict(frozen=True, extra="allow")

    created: FiniteFloat
    dataset: OutsideDataset
    classes: dict[str, str] = {}
    unknown: dict[str, int] = {}
    shared: int = 0
    conflicts: int = 0
    method: str = ""
    source_match: dict[str, float] | None = None

    @property
    def as_written(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


@dataclass(frozen=True)
class Evaluation:
    """An outside test of a run."""

    id: str
    folder: Path
    record: EvaluationRecord = field(repr=False)

    def table(self) -> pd.DataFrame:
        """A prediction table of the outside images, with own_label; where the run's own data set holds the same
        picture, also twin (its id), twin_label, twin_part and detail."""
        return _read(files.read_table, self.folder / f"{self.id}.parquet")

    def features(self) -> np.ndarray | None:
        """float16 (n, d) for the rows of the table; None where an earlier version made the test. Raises RunDamaged."""
        path = self.folder / f"{self.id}.npy"
        return _read(np.load, path) if path.exists() else None  # which refuses pickled objects


@dataclass(frozen=True)
class BrokenRun:
    """A folder of a run, or of another ``kind``, that cannot be opened, with the reason in a sentence."""

    id: str
    reason: str
    kind: str = "run"


@lru_cache(maxsize=16)
def _split_in(content: bytes) -> tuple[pd.DataFrame, str]:
    """The split in a file's content, with its hash: runs that are compared share one, and each reads it three times."""
    split = files.read_table(io.BytesIO(content))
    return split, split_hash(split)


def _read(read: Callable[[Path], Opened], path: Path) -> Opened:
    try:
        return read(path)
    except (OSError, ValueError, EOFError, KeyError) as error:  # the last: a column is missing
        raise RunDamaged(f"{path.parent.name}: {path.name} is missing or damaged.") from error


def readable(parent: Path, opened: Callable[[Path], Opened], kind: str = "run") -> tuple[list[Opened], list[BrokenRun]]:
    """What ``opened`` makes of each folder in ``parent``, and the folders that it refuses, with the reason."""
    whole, broken = [], []
    for folder in list_folders(parent):
        try:
            whole.append(opened(folder))
        except CovidCoreError as error:
            broken.append(BrokenRun(folder.name, str(error), kind))
    return whole, broken


def create_run(
    workspace: Workspace,
    spec: TrainingSpec,
    dataset: Dataset,
    split: pd.DataFrame,
    study: str = "",
    outcome: Callable[[Run], None] | None = None,
) -> Run:
    """Publish the folder of a new run with its spec and split. No process is started.

    ``outcome`` writes what else a run that is complete already has; nobody sees the run before.
    """
    identifier = new_id(spec.name or spec.backbone)
    record = RunRecord(
        created=time.time(),
        dataset=DatasetRecord(
            id=dataset.id,
            name=dataset.name,
            version=dataset.version,
            synthetic=dataset.is_synthetic,
            counts=dataset.counts,
        ),
        split_hash=split_hash(split),
        grouped=bool(split["group"].duplicated().any()),
        halved="half" in split and bool((split["half"] != "").any()),
        study=study,
        owner=access.actor().owner,
    )
    with files.published_folder(workspace.runs / identifier) as staging:
        files.write_json(staging / "spec.json", _as_written(record, spec))
        split.to_parquet(staging / "split.parquet", index=False)
        if outcome:
            outcome(Run(staging, record, spec))
    return Run(workspace.runs / identifier, record, spec)


def _as_written(record: RunRecord, spec: TrainingSpec) -> dict[str, Any]:
    return {"schema": SCHEMA, **record.model_dump(exclude_none=True), "spec": spec.model_dump(mode="json")}


def is_carried(name: str) -> bool:
    """Whether a run's file of that name goes into another workspace."""
    return name in CARRIED or name in WRITTEN_ANEW or PARTS_CARRIED.fullmatch(name) is not None


def adopt(staging: Path, bundle: BundleRecord, study: str = "") -> Run:
    """Make the files of a stranger's run, in a folder that is not published yet, those of a run of this workspace.

    ``study`` is the id of the one that comes along. The tables are written anew, so that nobody but this call reads a
    stranger's Parquet. Raises RunDamaged.
    """
    run = run_in(staging)
    bundle = bundle.model_copy(update={"licence": run.annotation.licence or bundle.licence})
    record = run.record.model_copy(update={"owner": access.actor().owner, "study": study, "bundle": bundle})
    files.write_json(staging / "spec.json", _as_written(record, run.spec))
    _write_annotation(staging, {**Annotation().model_dump(include=_OF_WORKSPACE), "number": 0})
    run.write_status(replace(run.status(), message="", reason="", place="", attempt=1))
    for path in staging.rglob("*.parquet"):
        table = _read(files.read_table, path)
        with files.published(path) as temporary:
            table.to_parquet(temporary, index=False)
    return run_in(staging)


def renamed_trunk(run: Run, key: str) -> Run:
    """The run, its result naming its shared network ``key``."""
    run.write_result({**run.result, "trunk": key})
    return run_in(run.path)


def publish(workspace: Workspace, run: Run) -> None:
    """Have an adopted run in the workspace, which gives it a number when it is first asked for one."""
    _write_annotation(run.path, {"number": None})
    files.move(run.path, workspace.runs / run.id)


def _annotation_in(folder: Path) -> Annotation:
    path = folder / ANNOTATION
    try:
        return Annotation.model_validate(files.read_json(path)) if path.exists() else Annotation()
    except (OSError, ValueError):
        return Annotation()


def annotate(run: Run, **changes: Any) -> None:
    """Change what is written on a run: fields of ``Annotation``. Raises InvalidChoice or RunError."""
    workspace = run.workspace
    access.check(workspace, access.TRAIN, run.owner, run.id)
    with _annotating(run.path.parent):
        _write_annotation(run.path, changes)
    access.note(workspace, "annotate", run.id)


@contextlib.contextmanager
def _annotating(runs: Path) -> Iterator[None]:
    with files.FileLock(runs / ".annotating").held(ANNOTATING, RunError("Another program is writing on runs.")):
        yield


def state_licence(runs: Iterable[Run], licence: str) -> None:
    """Have runs state the licence of their data. Who may, the caller has checked. Raises InvalidChoice or RunError."""
    for run in runs:
        if licence not in ("", run.licence):
            with _annotating(run.path.parent):
                _write_annotation(run.path, {"licence": licence})


def _write_annotation(folder: Path, changes: Mapping[str, Any]) -> None:
    try:
        written = run_in(folder).annotation
        changed = Annotation.model_validate({**written.model_dump(), **changes})
        files.write_json(folder / ANNOTATION, changed.model_dump(mode="json"))
    except ValueError as error:
        rule = "A name has at most 80 letters, a group or a tag 40, a licence 200; a run has at most 20 tags."
        raise InvalidChoice(rule) from error
    except OSError as error:
        raise RunError(f"{folder.name} cannot be annotated: {error.strerror or error}.") from error


def _numbered(runs: Path) -> dict[str, int]:
    """The number of every run. Those without get the lowest free ones, for good where the folder can be written."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(RunError, OSError):
            stack.enter_context(_annotating(runs))
        listed = sorted(readable(runs, run_in)[0], key=lambda run: (run.created, run.id))
        numbers = {run.id: run.annotation.number for run in listed}
        free = iter(sorted(set(range(2 * len(listed) + 1)) - set(numbers.values())))
        for run in listed:
            if numbers[run.id] is None:
                numbers[run.id] = next(free)
                with contextlib.suppress(RunError):  # in a workspace that is only read, the same order gives the same
                    _write_annotation(run.path, {"number": numbers[run.id]})
    return {name: number or 0 for name, number in numbers.items()}


def open_run(workspace: Workspace, identifier: str) -> Run:
    """The run of that id. Raises UnknownId or RunDamaged."""
    return run_in(folder_of(workspace.runs, identifier, "run"))


def run_in(folder: Path) -> Run:
    """The run in a folder, of the workspace or one that is not published yet. Raises RunDamaged."""
    content = _read(files.read_json, folder / "spec.json")
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise RunDamaged(f"{folder.name} was written by another version (schema {schema!r}).")
    try:
        return Run(folder, RunRecord.model_validate(content), parse(TrainingSpec, content.get("spec")))
    except InvalidChoice as error:
        raise RunDamaged(f"{folder.name}: its settings are damaged ({error})") from error
    except ValueError as error:
        raise RunDamaged(f"{folder.name}: spec.json is damaged.") from error


def list_runs(workspace: Workspace) -> tuple[list[Run], list[BrokenRun]]:
    """All runs, newest first, and the folders that cannot be opened as one."""
    runs, broken = readable(workspace.runs, run_in)
    return sorted(runs, key=lambda run: run.created, reverse=True), broken


def create_job(workspace: Workspace, kind: str, request: Mapping[str, Any]) -> JobFolder:
    """Publish the folder of a job other than training. No process is started."""
    identifier = new_id(kind)
    with files.published_folder(workspace.jobs / identifier) as staging:
        record = {**request, "kind": kind, "created": time.time(), "owner": access.actor().owner}
        files.write_json(staging / "request.json", record)
    return JobFolder(workspace.jobs / identifier)


def open_job(workspace: Workspace, identifier: str) -> JobFolder:
    """The job of that id. Raises UnknownId."""
    return JobFolder(folder_of(workspace.jobs, identifier, "job"))


def list_jobs(workspace: Workspace) -> list[JobFolder]:
    """All jobs other than runs, in no particular order."""
    return [JobFolder(folder) for folder in list_folders(workspace.jobs)]


@checked_dataclass(frozen=True)
class Study:
    """Runs that belong together, in the order in which they were queued."""

    id: str
    name: str
    preset: str
    created: FiniteFloat
    runs: tuple[str, ...]
    owner: str = ""

    @property
    def is_repeats(self) -> bool:
        """Whether its runs are one training on several folds or with several seeds."""
        return self.preset == REPEATS

    @property
    def is_by_source(self) -> bool:
        """Whether each of its runs was trained without another source of the images."""
        return self.preset == SOURCES


def write_study(workspace: Workspace, study: Study) -> None:
    """Publish a study; a first write makes its folder."""
    folder, content = workspace.studies / study.id, {**asdict(study), "schema": SCHEMA}
    if folder.exists():
        files.write_json(folder / "study.json", content)
        return
    with files.published_folder(folder) as staging:
        files.write_json(staging / "study.json", content)


def carried_study(study: Study) -> dict[str, bytes]:
    """Its record for another workspace, by name there: without who started it."""
    record = files.json_bytes({**asdict(replace(study, owner="")), "schema": SCHEMA})
    return {f"studies/{study.id}/study.json": record}


def open_study(workspace: Workspace, identifier: str) -> Study:
    """The study of that id. Raises UnknownId or RunDamaged."""
    record = _read(files.read_json, folder_of(workspace.studies, identifier, "study") / "study.json")
    try:
        return Study(**{**record, "id": identifier})
    except (ValueError, TypeError) as error:
        raise RunDamaged(f"The study {identifier} is damaged.") from error


def list_studies(workspace: Workspace) -> list[Study]:
    """All readable studies, newest first. A damaged one hides nothing: its runs are listed by themselves."""
    studies, _ = readable(workspace.studies, lambda folder: open_study(workspace, folder.name))
    return sorted(studies, key=lambda study: study.created, reverse=True)


def delete_study(workspace: Workspace, identifier: str) -> None:
    """Remove a study's record; its runs stay. Raises UnknownId or NotPermitted."""
    folder = folder_of(workspace.studies, identifier, "study")
    try:
        owner = open_study(workspace, identifier).owner
    except RunDamaged:
        owner = ""
    access.check(workspace, access.TRAIN, owner, identifier)
    files.remove_folder(folder)
    access.note(workspace, "delete study", identifier)


def size_of(run: Run) -> int:
    """Bytes of all files of a run."""
    return sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
