"""A bundle becomes runs of this workspace, under their own ids. It is a stranger's file until all of it is checked.

Unpacked, it is laid out as a workspace of its own, in which every check is made; only then is anything published, each
run whole. Networks are kept under the hash of their bytes, never under the key by which trainings of this workspace
would take them for their own.
"""

import shutil
import zipfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from covid_core import access, files
from covid_core.data.dataset import open_dataset
from covid_core.data.imports import archives
from covid_core.errors import DataError, JobRefused, RunDamaged
from covid_core.exchange.bundle import checks, manifest
from covid_core.exchange.bundle.manifest import Manifest
from covid_core.inference.predictor import trunk_path_of
from covid_core.runs import backbone_files, pinned_dataset, store
from covid_core.runs.store import BundleRecord, Run
from covid_core.work import Progress, part_of, silent
from covid_core.workspace import Workspace, list_folders, new_id

NO_PATIENTS = (
    "Two bundles may hold the same patient. Nobody can notice it: each workspace hashes patients with its own key."
)
NUMERIC = ("ai-edge-litert", "numpy")  # libraries that a prediction is computed with
PATIENCE = 60.0  # seconds that an opening waits for another, to publish
PREFIX = "bundle-"  # of the networks' names here

State = Literal["opened", "here"]


@dataclass(frozen=True)
class OpenedRun:
    """A run of a bundle as it is in the workspace now: ``opened``, or ``here`` since before. ``lacks`` says in
    sentences what cannot be done with it, or what may differ."""

    run: Run
    state: State
    lacks: tuple[str, ...]


@dataclass(frozen=True)
class Opening:
    """A bundle that was opened: its runs, ids of its studies, and what it says of itself."""

    runs: tuple[OpenedRun, ...]
    studies: tuple[str, ...]
    about: BundleRecord


def open_bundle(workspace: Workspace, file: Path, progress: Progress = silent) -> Opening:
    """Publish the runs of a bundle, their studies and added backbones, and the data sets whose images it holds, unless
    they are there already.

    Raises DataError where it is no bundle, torn, changed, damaged or made to do harm, and where another run, study or
    data set has one of its ids; nothing is published then. Raises NotPermitted.
    """
    access.check(workspace, access.OPEN, what=file.name)
    if not file.is_file():
        raise DataError(f"There is no file {file.name}.")
    if not zipfile.is_zipfile(file):
        raise DataError(f"The file is not a bundle, or is damaged. {manifest.AGAIN}")
    sha256 = files.sha256_of(file)
    with _unpacked(workspace, file, part_of(progress, 0.0, 0.2)) as folder:
        made = manifest.read(folder)
        about = BundleRecord(sha256=sha256, licence=made.licence, created=made.created, version=made.version)
        inside = Workspace(folder)
        runs = _checked_runs(inside, made, about, part_of(progress, 0.2, 0.6))
        _check_datasets(inside, made, runs, part_of(progress, 0.6, 0.95))
        progress(0.95, "Publishing the runs")
        another = DataError("Another bundle is being opened. Wait until it is open, then open this one again.")
        with files.FileLock(workspace.slots / "opening.lock").held(PATIENCE, another):
            there = {run.id for run in runs if _is_here(workspace, run)}
            _check_dataset_ids(workspace, inside, made)
            _check_study_ids(workspace, inside, made)
            _publish(workspace, inside, made, [run for run in runs if run.id not in there])
    opened = [store.open_run(workspace, run.id) for run in runs]
    access.note(workspace, "open bundle", ", ".join(run.id for run in opened))
    states: dict[bool, State] = {True: "here", False: "opened"}
    of_runs = tuple(OpenedRun(run, states[run.id in there], lacks(workspace, run)) for run in opened)
    return Opening(of_runs, tuple(made.studies), about)


def lacks(workspace: Workspace, run: Run) -> tuple[str, ...]:
    """What an opened run cannot do in this workspace, or may do otherwise, each a sentence."""
    sentences = []
    if not pinned_dataset.used_by(workspace, run).is_present:
        sentences.append(
            f"Its images (data set {run.dataset.name}) are not here: "
            "no galleries, subgroups, audits or tests that need them."
        )
    if file := run.spec.backbone_file:
        try:
            backbone_files.check(workspace, file)
        except (RunDamaged, JobRefused) as error:
            what = "It cannot predict" if file.runs_apart else "No variant of it can be trained"
            again = ", then open the bundle again." if isinstance(error, JobRefused) else ""
            sentences.append(f"{what}. {error}{again}")
    if not run.has_reference:
        sentences.append("It has no reference: new images are not checked before it predicts.")
    theirs = run.result.get("versions", {})
    unlike = [f"{name} {theirs[name]}" for name in NUMERIC if theirs.get(name, own := metadata.version(name)) != own]
    if unlike:
        sentences.append(f"It was trained with {' and '.join(unlike)}: scores here may differ by 0.00001.")
    return tuple(sentences)


@contextmanager
def _unpacked(workspace: Workspace, file: Path, progress: Progress) -> Iterator[Path]:
    """The content of a bundle in a folder that goes at the end. Members are stored, so none is larger than its part
    of the file."""
    folder = workspace.uploads / new_id("bundle")
    try:
        archives.extract(file, folder, progress=progress, ratio=1)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _checked_runs(inside: Workspace, made: Manifest, about: BundleRecord, progress: Progress) -> list[Run]:
    """The runs in an unpacked bundle, made those of a run of this workspace and checked."""
    runs = []
    for name in made.backbones:
        checks.checked_files(inside.backbones / name)
    studies = checks.checked_studies(inside, made.studies, made.runs)
    of_study = {run: study.id for study in studies for run in study.runs}
    for number, identifier in enumerate(made.runs):
        progress(number / len(made.runs), f"Checking run {number + 1} of {len(made.runs)}")
        folder = inside.runs / identifier
        checks.checked_files(folder)
        run = checks.parsed(folder, about, of_study.get(identifier, ""))
        network = trunk_path_of(inside, run)
        if run.result.get("trunk"):
            name = f"{PREFIX}{run.result['trunk_sha256']}"
            if not (inside.trunks / f"{name}.tflite").exists():
                shutil.copyfile(network, inside.trunks / f"{name}.tflite")
            run = store.renamed_trunk(run, name)
        checks.checked_run(inside, run)
        runs.append(run)
    checks.checked_backbones(inside, made.backbones, runs)
    checks.checked_outcomes(studies, runs)
    return runs


def _check_datasets(inside: Workspace, made: Manifest, runs: list[Run], progress: Progress) -> None:
    """Raise DataError where images that come along are not those of the bundle's runs."""
    for identifier in made.datasets:
        folder = inside.datasets / identifier
        checks.checked_files(folder)
        names = [path.relative_to(folder).as_posix() for path in (folder / "files").rglob("*") if path.is_file()]
        checks.checked_images(inside, identifier, names, progress)
        own = [run for run in runs if run.dataset.id == identifier]
        if not own:
            raise DataError(f"The bundle holds images of {identifier}, but none of its runs was trained on them.")
        for run in own:
            pinned_dataset.dataset_of(inside, run)


def _is_here(workspace: Workspace, run: Run) -> bool:
    """Whether the workspace has that very run. Raises DataError where it has another of that id."""
    if not _here(workspace.runs, [run.id]):
        return False
    own = store.open_run(workspace, run.id)
    if _identity(own) != _identity(run):
        raise DataError(f"There is another run with the id {run.id} here. To open the bundle, delete that run first.")
    return True


def _identity(run: Run) -> tuple[object, ...]:
    return run.created, run.split_hash, run.result.get("finished"), run.result.get("head_sha256")


def _check_dataset_ids(workspace: Workspace, inside: Workspace, made: Manifest) -> None:
    for identifier in _here(workspace.datasets, made.datasets):
        if open_dataset(workspace, identifier).imported.version != open_dataset(inside, identifier).imported.version:
            raise DataError(f"There is another data set with the id {identifier} here. Delete that one first.")


def _check_study_ids(workspace: Workspace, inside: Workspace, made: Manifest) -> None:
    readable = {study.id: (study.created, study.runs) for study in store.list_studies(workspace)}
    for identifier in _here(workspace.studies, made.studies):
        study = store.open_study(inside, identifier)
        if readable.get(identifier) != (study.created, study.runs):
            raise DataError(f"There is another study with the id {identifier} here. Delete that one first.")


def _here(parent: Path, names: Collection[str]) -> set[str]:
    """Those names that a folder has already, also one that is damaged."""
    return {folder.name for folder in list_folders(parent)}.intersection(names)


def _publish(workspace: Workspace, inside: Workspace, made: Manifest, runs: list[Run]) -> None:
    """Networks first, then data sets, runs and studies; after an error all that was published goes again."""
    with ExitStack() as undo:
        for key in {run.result["trunk"] for run in runs if run.result.get("trunk")}:
            target = workspace.trunks / f"{key}.tflite"
            if not target.exists():
                with files.published(target) as temporary:
                    shutil.copyfile(inside.trunks / target.name, temporary)
                undo.callback(target.unlink, missing_ok=True)
        for name in _lacking_backbones(workspace, inside):
            _move(inside.backbones / name, workspace.backbones, undo)
        for identifier in set(made.datasets) - _here(workspace.datasets, made.datasets):
            _move(inside.datasets / identifier, workspace.datasets, undo)
        for run in runs:
            store.publish(workspace, run)
            undo.callback(files.remove_folder, workspace.runs / run.id)
        for identifier in set(made.studies) - _here(workspace.studies, made.studies):
            _move(inside.studies / identifier, workspace.studies, undo)
        undo.pop_all()


def _lacking_backbones(workspace: Workspace, inside: Workspace) -> list[str]:
    """Folders of added backbones whose file, whatever its name, is not here, each file once. One whose runtime is not
    installed could not be checked, so it stays out. Raises DataError where another backbone has the name of one."""
    lacking: dict[tuple[str, str], str] = {}
    for one in backbone_files.listed(inside):
        if backbone_files.has_runtime(one) and not backbone_files.same_file(workspace, one):
            lacking.setdefault(one.identity, backbone_files.folder_of(inside, one.name).name)
    if taken := sorted(_here(workspace.backbones, lacking.values())):
        raise DataError(f"There is another backbone in the folder {taken[0]} here, or a damaged one. Remove it first.")
    return [*lacking.values()]


def _move(folder: Path, parent: Path, undo: ExitStack) -> None:
    """Publish a folder, which goes again after an error."""
    files.move(folder, parent / folder.name)
    undo.callback(files.remove_folder, parent / folder.name)
