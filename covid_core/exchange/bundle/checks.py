"""A stranger's files, checked before the app reads them as its own: nothing here trusts a length, a type or a name."""

import contextlib
import hashlib
import json
import math
import re
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from covid_core import access, files
from covid_core.audit.model import heatmap_sanity, model_audit
from covid_core.data.dataset import open_dataset
from covid_core.data.imports import archives
from covid_core.errors import CovidCoreError, DataError, ImageError
from covid_core.evaluation import comparison
from covid_core.exchange.bundle.manifest import LARGEST
from covid_core.exchange.cards import card
from covid_core.images import sandbox
from covid_core.images.codec import GreyImage
from covid_core.inference import assessment, robustness
from covid_core.inference.apart.network import Chain, NetworkApart
from covid_core.inference.predictor import Predictor, trunk_path_of
from covid_core.reports import comparison_text, evidence_text, run_figures, run_text, study_text
from covid_core.reports.encode import encode
from covid_core.runs import backbone_files, candidates, store, stored_weights
from covid_core.runs.store import BundleRecord, Run, Study
from covid_core.synthetic.phantom import MIN_SIZE, image_at
from covid_core.work import Progress
from covid_core.workspace import Workspace

MOST_ROWS = 1_000_000  # of a table, one per image; MIMIC-CXR has 377,110
MOST_COLUMNS = 400  # of predictions there are two per class
LONGEST = 1000  # letters of a text in a table
MOST_OF_NAME = 80  # letters of a study's name
AT_ONCE = 4096  # rows
PROBES = 3  # drawn images that a run answers before it is published
MAP = (8, 8)  # cells of a heat map that is tried
LAST_MOMENT = 2**33  # seconds since 1970: the year 2242
SAMPLE = (40, 0)  # of an outside test, to recalibrate on, and its seed

PLAIN = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_null)  # of columns beside texts
Stated = Annotated[str, Field(max_length=LONGEST)]
Count = Annotated[int, Field(ge=0, lt=10**15)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, lt=10**9, allow_inf_nan=False)]


class _Parity(BaseModel):
    largest_difference: FiniteFloat
    images: Count
    by: Stated = ""


class _FineTuning(BaseModel):
    model_config = ConfigDict(extra="allow")

    layers_trained: Count
    layers_asked: Count


class _Result(BaseModel):
    """Those keys of a result.json that something reads; other keys are ignored."""

    model_config = ConfigDict(extra="ignore")

    finished: FiniteFloat | None = None
    accuracy: dict[Stated, Share] = {}
    selection_accuracy: Share | None = None
    calibration: dict[Stated, Any] | None = None
    best_epoch: Count | None = None
    epochs_done: Count | None = None
    stopped: bool = False
    seconds: dict[Stated, Seconds] = {}
    weights: dict[Stated, Stated] = {}
    trunk: Annotated[str, Field(pattern="^[a-z0-9-]{1,100}$")] | None = None
    trunk_outputs: list[Annotated[int, Field(ge=0, lt=100)]] | None = None
    parity: _Parity | None = None
    without_outline: dict[Stated, dict[Stated, Count]] | None = None
    parameters: Count | None = None
    parameters_trained: Count | None = None
    model_bytes: Count | None = None
    milliseconds_per_image: Seconds | None = None
    engine: Stated | None = None
    device: Stated | None = None
    reused: dict[Stated, Seconds | None] | list[Stated] | None = None
    versions: dict[Stated, Stated] = {}
    training: Count | None = None
    taken_over_from: Stated | None = None
    fine_tuning: _FineTuning | None = None
    head_sha256: str
    trunk_sha256: str
    tail_sha256: str | None = None
    model_sha256: str | None = None
    reference_sha256: str | None = None
    segmenter_sha256: str | None = None


MALFORMED = (  # what a file of wrong content may raise in code that expects our own
    *(KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RecursionError, OSError, EOFError),
    *(zipfile.BadZipFile, pa.ArrowException),
)


def checked_files(run: Path) -> None:
    """Raise DataError where a file of a run's folder, or of a data set's, is not what its name says, or would take
    more memory than its bytes let expect."""
    for path in sorted(one for one in run.rglob("*") if one.is_file()):
        check = KINDS.get(path.suffix)
        if check is None:
            continue  # a network, which runs in a process of its own
        try:
            check(path)
        except (*MALFORMED, MemoryError) as error:
            reason = f": {error}" if isinstance(error, CovidCoreError) else ""
            raise DataError(f"The bundle's {run.name}/{path.relative_to(run).as_posix()} is damaged{reason}") from error


def _check_json(path: Path) -> None:
    _check_size(path)

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no number")

    _check_texts(json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse))


def _check_texts(value: Any) -> None:
    if isinstance(value, dict):
        _check_texts([*value, *value.values()])
    elif isinstance(value, list):
        for one in value:
            _check_texts(one)
    elif isinstance(value, str) and len(value) > LONGEST:
        raise ValueError("a text is too long")


def _check_lines(path: Path) -> None:
    _check_size(path)
    if any(len(line) > 10 * LONGEST for line in path.read_text(encoding="utf-8").splitlines()):
        raise ValueError("a line is too long")


def _check_size(path: Path) -> None:
    if path.stat().st_size > LARGEST:
        raise ValueError("too large")


def _check_table(path: Path) -> None:
    """Texts are read by their dictionary: a page of a kilobyte may stand for gigabytes of equal texts."""
    with pq.ParquetFile(path) as opened:
        about, schema = opened.metadata, opened.schema_arrow
    is_text = [pa.types.is_string(field.type) or pa.types.is_large_string(field.type) for field in schema]
    is_plain = [any(is_kind(field.type) for is_kind in PLAIN) for field in schema]
    unpacked = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    if not all(map(max, is_text, is_plain)) or len(schema) > MOST_COLUMNS or about.num_rows > MOST_ROWS:
        raise ValueError("other columns or more rows than a table of images has")
    if unpacked > max(archives.LARGEST_RATIO * path.stat().st_size, 2**20) or max(map(len, schema.names)) > LONGEST:
        raise ValueError("it unpacks to more than it holds")
    texts = [name for name, of_text in zip(schema.names, is_text, strict=True) if of_text]
    with pq.ParquetFile(path, read_dictionary=texts) as opened:
        for batch in opened.iter_batches(AT_ONCE):
            for name in texts:
                values = batch.column(name)
                distinct = values.dictionary if isinstance(values, pa.DictionaryArray) else values
                if max(map(len, distinct.drop_null().to_pylist()), default=0) > LONGEST:
                    raise ValueError("a text is too long")


def _check_arrays(path: Path) -> None:
    """NumPy makes room for what an array's head states, and only then reads it."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > MOST_COLUMNS or not all(re.fullmatch(r"\w+\.npy", one.filename) for one in members):
            raise ValueError("it holds other files than arrays")
        for member in members:
            if member.file_size > archives.LARGEST_RATIO * max(member.compress_size, 2**20):
                raise ValueError("it unpacks to more than it holds")
            with archive.open(member) as handle:
                _check_head(handle, member.file_size)


def _check_array(path: Path) -> None:
    with path.open("rb") as handle:
        _check_head(handle, path.stat().st_size)


def _check_head(handle: IO[bytes], size: int) -> None:
    version = np.lib.format.read_magic(handle)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(handle)
    if kind.hasobject or kind.kind not in "biufU" or handle.tell() + math.prod(shape) * kind.itemsize != size:
        raise ValueError("an array differs from its header")


KINDS: dict[str, Callable[[Path], None]] = {
    ".json": _check_json,
    ".csv": _check_lines,
    ".parquet": _check_table,
    ".npz": _check_arrays,
    ".npy": _check_array,
    ".keras": stored_weights.check_keras,
}


@contextlib.contextmanager
def _damaged(what: str) -> Iterator[None]:
    """Raise DataError, which names what is damaged, for all that files of wrong content may raise."""
    try:
        yield
    except (CovidCoreError, *MALFORMED) as error:
        reason = f": {error}" if isinstance(error, CovidCoreError) else "."
        raise DataError(f"The {what} in the bundle is damaged{reason}") from error


def parsed(folder: Path, about: BundleRecord, study: str = "") -> Run:
    """The run in an unpacked folder whose files were checked, made one of this workspace. Raises DataError."""
    with _damaged(f"run {folder.name}"):
        run = store.adopt(folder, about, study)
        if not run.status().is_usable:
            raise DataError("it is not finished.")
        _check_result(run)
        return store.run_in(folder)


def _check_result(run: Run) -> None:
    """Bring a run's result to the keys that something reads, each of its type, and refuse files that are not the ones
    it names. Raises DataError."""
    try:
        made = _Result.model_validate(run.result)
    except ValueError as error:
        raise DataError("its result lacks something, or has it in another form.") from error
    run.write_result(made.model_dump(mode="json", exclude_unset=True))
    parts = {
        made.head_sha256: run.head_path,
        made.trunk_sha256: trunk_path_of(run.workspace, run),
        made.tail_sha256: run.trunk_path if made.tail_sha256 else None,
        made.model_sha256: run.model_path if run.has_model else None,
        made.reference_sha256: run.reference_path if made.reference_sha256 else None,
        made.segmenter_sha256: run.segmenter_path if made.segmenter_sha256 else None,
    }
    for sha256, path in parts.items():
        if path and (not path.is_file() or files.sha256_of(path) != sha256):
            raise DataError(f"{path.name} is missing, or not the file that its result names.")


def checked_run(workspace: Workspace, run: Run) -> None:
    """Read an opened run that is not published yet, as pages and verbs do, and have it answer for drawn images, its
    networks in a process of their own. Raises DataError where any of this fails."""
    with _damaged(f"run {run.id}"):
        _check_predictions(run)
        for evaluation in run.evaluations():
            encode(run_figures.external_test_of(run, evaluation, *SAMPLE))
        _check_times(run)
        figures = run_figures.of_group(comparison.ranking([candidates.candidate(run)]), {run.id: run})
        comparison_text.line(figures["table"][0])
        encode([run, run.spec, run.history(), run.openings(), run_text.line(run), robustness.stored(run)])
        for write in (run_text.training_time, run_text.region, run_text.epochs, run_text.model_file):
            write(run)
        run_text.device(run.result.get("device", ""))
        card.to_markdown(card.of_run(workspace, run))
        audit = model_audit.stored(run)
        if audit:
            evidence_text.lines(audit)
            encode(evidence_text.with_words(audit))
        heatmap_sanity.stored(run)
        if _has_all(workspace, run):
            _check_answers(workspace, run)


def _check_times(run: Run) -> None:
    """Moments that a calendar has."""
    status, audit = run.status(), model_audit.stored(run) or {}
    moments = [run.created, status.started, status.updated, status.ended, run.result.get("finished"), audit.get("made")]
    moments += [one.record.created for one in run.evaluations()]
    moments += [one.time for one in run.openings() if one.day is not None]  # which raises what no calendar has
    if not all(0 <= moment < LAST_MOMENT for moment in moments if moment is not None):
        raise DataError("it has an impossible date.")


def _check_predictions(run: Run) -> None:
    table, split = run.predictions(), run.split().set_index("image_id")
    numbers = [name for name in table if name.startswith(("score_", "logit_"))]
    wanted = {f"score_{label}" for label in run.classes}
    if not wanted <= set(numbers) <= wanted | {f"logit_{label}" for label in run.classes}:
        raise DataError("its predictions are of other classes.")
    own = split.loc[table["image_id"], ["label", "part"]].to_numpy()  # KeyError of an image that it never had
    if table["image_id"].duplicated().any() or (own != table[["label", "part"]].to_numpy()).any():
        raise DataError("its predictions are of other images than its split.")
    if not np.isfinite(table[numbers].to_numpy(float)).all():
        raise DataError("its predictions hold values that are no numbers.")


def _has_all(workspace: Workspace, run: Run) -> bool:
    """Whether what the run predicts with is in the bundle, and installed here; ``opening.lacks`` names what is not."""
    file = run.spec.backbone_file
    if file is None or not file.runs_apart:
        return True
    if not backbone_files.same_file(workspace, file):
        return False  # a bundle of an earlier version
    path = backbone_files.path_of(workspace, file)
    if not backbone_files.has_runtime(file):
        return False
    NetworkApart(Chain(trunk_path_of(workspace, run), path, file), check=True).close()
    return True


def checked_backbones(workspace: Workspace, folders: Collection[str], runs: Sequence[Run]) -> None:
    """Every added backbone of an unpacked bundle is described as a run describes it, and is that file and no other.
    Runs may describe one file each in their own words. Raises DataError."""
    of_runs = [file for run in runs if (file := run.spec.backbone_file) and file.runs_apart]
    needed = [backbone_files.for_bundle(file) for file in of_runs]
    described = {backbone_files.folder_of(workspace, one.name).name: one for one in backbone_files.listed(workspace)}
    for folder in folders:
        one, there = described.get(folder), {path.name: path for path in (workspace.backbones / folder).iterdir()}
        is_one = one is not None and one in needed and there.keys() == {backbone_files.RECORD, one.file_name}
        if one is None or not is_one or files.sha256_of(there[one.file_name]) != one.sha256:
            raise DataError("The bundle holds an added backbone that is damaged, or that none of its runs needs.")


def checked_studies(workspace: Workspace, folders: Collection[str], runs: Collection[str]) -> list[Study]:
    """The studies of an unpacked bundle, all of whose runs are in it, made those of who opens it. Raises DataError."""
    studies = []
    for folder in folders:
        checked_files(workspace.studies / folder)
        with _damaged(f"study {folder}"):
            study = store.open_study(workspace, folder)
            if len(study.name) > MOST_OF_NAME or len(study.preset) > MOST_OF_NAME:
                raise DataError("its name is too long.")
            if not study.runs or not {*study.runs}.issubset(runs):
                raise DataError("it has runs that are not in the bundle.")
            if len({*study.runs}) < len(study.runs):
                raise DataError("it has a run twice.")
            if not 0 <= study.created < LAST_MOMENT:
                raise DataError("it has a time that no calendar has.")
            study = replace(study, owner=access.actor().owner)
            store.write_study(workspace, study)
        studies.append(study)
    return studies


def checked_outcomes(studies: Sequence[Study], runs: Sequence[Run]) -> None:
    """Work out what studies show, as pages and verbs do. Raises DataError."""
    by_id = {run.id: run for run in runs}
    for study in studies:
        with _damaged(f"study {study.id}"):
            encode(study_text.outcome(study, [by_id[name] for name in study.runs]))


def _check_answers(workspace: Workspace, run: Run) -> None:
    predictor = Predictor.open(workspace, run)
    for number in range(PROBES):
        drawn = image_at(number, PROBES, size=max(predictor.size, MIN_SIZE))
        (answer,) = assessment.assess_all(predictor, [GreyImage(drawn.pixels, "L")])
        if answer.logits.shape != (len(run.classes),) or not np.isfinite(answer.logits).all():
            raise DataError("its network does not give a number for each class.")
        if answer.heat and not np.isfinite(answer.heat(answer.predicted, MAP)).all():
            raise DataError("its heat map holds values that are no numbers.")


def checked_images(workspace: Workspace, identifier: str, names: Collection[str], progress: Progress) -> None:
    """Every image of an opened data set is there, is the one that its table names, and can be decoded; ``names`` are
    the bundle's files of the data set. Raises DataError."""
    dataset = open_dataset(workspace, identifier)
    manifest = dataset.images if dataset.manifest is None else dataset.manifest
    listed = {*manifest["path"], *manifest["mask_path"]} - {""}
    if dataset.info["root"] is not None or listed != {name.removeprefix("files/") for name in names}:
        raise DataError(f"The data set {identifier} in the bundle has other images than its table.")
    for number, row in enumerate(manifest[["path", "sha256", "width", "height"]].itertuples(index=False)):
        progress(number / len(manifest), f"Reading {number:,} of {len(manifest):,} images")
        content = (dataset.root / row.path).read_bytes()
        try:
            height, width = sandbox.read_image(content).pixels.shape
        except ImageError as error:
            raise DataError(f"An image in the bundle cannot be read: {error}") from error
        if hashlib.sha256(content).hexdigest() != row.sha256 or (width, height) != (row.width, row.height):
            raise DataError("An image in the bundle is not the one that its table names.")
