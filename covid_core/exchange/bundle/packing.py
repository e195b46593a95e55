"""Finished runs of this workspace become a bundle."""

import contextlib
import io
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from covid_core import __version__, access, files
from covid_core.data import decisions
from covid_core.data.dataset import Dataset
from covid_core.errors import DataError, InvalidChoice, RunDamaged, RunError, cause
from covid_core.exchange.bundle.manifest import NAME, Manifest
from covid_core.inference.predictor import trunk_path_of
from covid_core.runs import backbone_files, store
from covid_core.runs.pinned_dataset import dataset_of
from covid_core.runs.store import MOST_OF_LICENCE, Run, Study
from covid_core.work import Progress, silent
from covid_core.workspace import Workspace

SUFFIX = ".zip"
NOTE = "bundle"  # in the log of actions
MOMENT = (1980, 1, 1, 0, 0, 0)  # of every file: equal runs make equal bundles, but for when they were made

Content = bytes | Path


@dataclass(frozen=True)
class Packed:
    """A bundle that was made: its size in bytes, its SHA-256, and how many ``images`` it holds."""

    runs: tuple[Run, ...]
    studies: tuple[Study, ...]
    bytes: int
    sha256: str
    images: int
    licence: str


def pack(
    workspace: Workspace,
    runs: Sequence[Run],
    target: Path,
    licence: str = "",
    *,
    images: bool = False,
    progress: Progress = silent,
) -> Packed:
    """Publish finished runs as the bundle ``target``, which is not there yet.

    Args:
        workspace: where the runs are.
        runs: each is there once, finished or stopped with a result.
        target: the file; its folder exists.
        licence: of the data, as the user states it; one line of at most MOST_OF_LICENCE letters, which the runs state
            from then on; where it is empty, what they state already.
        images: whether the runs' data sets go along with their images. Without, the bundle holds no pixels.
        progress: told how much is written.

    Raises InvalidChoice, RunError, RunDamaged or NotPermitted; with images DataError where these are gone.
    """
    ids = ", ".join(run.id for run in runs)
    access.check(workspace, access.TAKE_IMAGES if images else access.TAKE_RUNS, what=ids)
    licence = " ".join(licence.split())
    if len(licence) > MOST_OF_LICENCE:
        raise InvalidChoice(f"A licence has at most {MOST_OF_LICENCE} letters; it has {len(licence)} now.")
    if target.exists():
        raise InvalidChoice(f"There is a file {target.name} already. Choose another name.")
    runs = tuple({run.id: run for run in runs}.values())
    try:
        with files.published(target) as temporary:
            with temporary.open("wb") as handle:
                count = write(workspace, runs, handle, licence, images=images, progress=progress)
            sha256, size = files.sha256_of(temporary), temporary.stat().st_size
    except OSError as error:
        raise RunError(f"The bundle {target.name} cannot be written: {cause(error, target)}.") from error
    note(workspace, runs, licence, images)
    studies = tuple(studies_of(workspace, runs))
    return Packed(runs, studies, size, sha256, count, licence or stated_licence(runs))


def note(workspace: Workspace, runs: Sequence[Run], licence: str, images: bool) -> None:
    """Note that the present actor takes runs away; those that they may annotate state the licence from then on."""
    own = [run for run in runs if access.actor().may(access.TRAIN, run.owner)]
    with contextlib.suppress(RunError, OSError):  # a workspace that is only read gives bundles, and remembers nothing
        store.state_licence(own, licence.strip())
    access.note(workspace, f"{NOTE} with images" if images else NOTE, ", ".join(run.id for run in runs))


def stated_licence(runs: Iterable[Run]) -> str:
    """What runs state of the licence of their data, each statement once, in at most MOST_OF_LICENCE letters."""
    stated = "; ".join(dict.fromkeys(run.licence for run in runs if run.licence))
    return textwrap.shorten(stated, MOST_OF_LICENCE, placeholder=" ...")


def studies_of(workspace: Workspace, runs: Iterable[Run]) -> list[Study]:
    """Studies all of whose runs are among these."""
    ids = {run.id for run in runs}
    return [study for study in store.list_studies(workspace) if study.runs and ids.issuperset(study.runs)]


def write(
    workspace: Workspace,
    runs: Sequence[Run],
    handle: IO[bytes],
    licence: str = "",
    *,
    images: bool = False,
    progress: Progress = silent,
) -> int:
    """Write a bundle into an open file; as ``pack``, which checks who may. Returns how many images it holds."""
    content, count = _content(workspace, runs, licence, images)
    for run in runs:
        network = trunk_path_of(workspace, run)
        if not network.is_file() or files.sha256_of(network) != run.result.get("trunk_sha256"):
            raise RunDamaged(f"{run.name}: {network.name} is missing or was changed after training.")
    licence = licence or stated_licence(runs)
    hashes: dict[str, str] = {}
    with ZipFile(handle, "w", ZIP_STORED) as archive:
        for number, (name, one) in enumerate(content.items()):
            progress(number / len(content), f"Writing {number} of {len(content)} files")
            with archive.open(ZipInfo(name, MOMENT), "w", force_zip64=True) as member, _opened(one) as source:
                hashes[name] = files.copy_hashed(source, member)
        about = Manifest(created=time.time(), version=__version__, licence=licence, images=images, files=hashes)
        archive.writestr(ZipInfo(NAME, MOMENT), files.json_bytes(about.model_dump(mode="json")))
    return count


@dataclass(frozen=True)
class Measured:
    """How many images a bundle would hold, and the bytes of all its files."""

    images: int
    bytes: int


def measured(workspace: Workspace, runs: Sequence[Run], images: bool) -> Measured:
    """How large a bundle of runs would be. Raises RunError, RunDamaged, or DataError where a file is gone."""
    content, count = _content(workspace, runs, images=images)
    try:
        sizes = [len(one) if isinstance(one, bytes) else one.stat().st_size for one in content.values()]
    except OSError as error:
        raise DataError(f"A file of the data set or of a run is not where it was: {cause(error)}.") from error
    return Measured(count, sum(sizes))


def _content(
    workspace: Workspace, runs: Sequence[Run], licence: str = "", images: bool = False
) -> tuple[dict[str, Content], int]:
    """All files of a bundle but its list, each once, by name; and how many images are among them."""
    content: dict[str, Content] = {}
    for run in runs:
        content |= {f"runs/{run.id}/{name}": one for name, one in _of_run(workspace, run, licence).items()}
        if run.result.get("trunk"):
            path = trunk_path_of(workspace, run)
            content[f"trunks/{path.name}"] = path
    content |= backbone_files.carried(workspace, runs)
    for study in studies_of(workspace, runs):
        content |= store.carried_study(study)
    datasets = {run.dataset.id: dataset_of(workspace, run) for run in runs} if images else {}
    for identifier, dataset in datasets.items():
        content |= {f"datasets/{identifier}/{name}": one for name, one in _of_dataset(dataset).items()}
    return content, sum(len(dataset.imported.images) for dataset in datasets.values())


def _of_run(workspace: Workspace, run: Run, licence: str) -> dict[str, Content]:
    if not run.has_network:
        table = f"second-look split {run.id} --scores --to FILE"
        raise RunError(f"{run.name} holds imported predictions. A bundle cannot hold them. Send a table: {table}.")
    if not run.result or not run.status().is_usable:
        raise RunError(f"{run.name} is not finished. Only finished runs go into a bundle.")
    return run.content(licence)


def _of_dataset(dataset: Dataset) -> dict[str, Content]:
    """What the data set is elsewhere: without the place where its images lie, what import left out, and who decided."""
    info = {name: dataset.info[name] for name in ("name", "kind", "created", "counts")}
    info |= {name: dataset.info[name] for name in ("synthetic",) if name in dataset.info}
    batches = [{**batch, "left_out": []} for batch in dataset.info.get("batches", [])]
    info |= {"origin": "bundle", "root": None, "left_out": [], "batches": batches}
    table = dataset.folder / "manifest.parquet"
    content: dict[str, Content] = {"import.json": files.json_bytes(info), table.name: table}
    if dataset.decisions:
        content[decisions.FILE] = decisions.without_authors(dataset.folder)
    manifest = dataset.images if dataset.manifest is None else dataset.manifest
    for column in ("path", "mask_path"):
        for name in sorted(set(manifest[column]) - {""}):
            content[f"files/{name}"] = dataset.root / name
    return content


@contextlib.contextmanager
def _opened(content: Content) -> Iterator[IO[bytes]]:
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as handle:
        yield handle
