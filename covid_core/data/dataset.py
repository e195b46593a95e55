"""A data set: the table of its images and the folder that describes it. Image files are referred to, never changed.

Files of ``datasets/ID/``: ``manifest.parquet`` (written by import, and longer when images are added), ``import.json``
(name, origin, what was left out), ``decisions.csv`` (what people decided since; see ``decisions``), and ``files/``
where the images came from an archive or another data set, or were made here.
"""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, FiniteFloat

from covid_core import access, files
from covid_core.data import decisions
from covid_core.data.decisions import BATCH, TAKE_BACK, TOGETHER, Decision
from covid_core.derived import KEY_LENGTH
from covid_core.errors import DataError
from covid_core.formatting import plural
from covid_core.hashing import hash_of
from covid_core.workspace import Workspace, folder_of, list_folders

_VERSIONS: dict[str, str] = {}  # by hash of the images as imported and of what was decided; 200 bytes each
OF_MEMBER = " · "  # between the name of a merged data set's member and that of a source of its own
PATIENCE = 5.0  # seconds; another decision takes milliseconds
MANIFEST_COLUMNS = (
    "image_id",
    "path",
    "label",
    "source",
    "patient_id",
    "width",
    "height",
    "mode",
    "sha256",
    "mask_path",
    "given_part",
    "sex",
    "age",
    "view",
    "device",
    "spacing",
    "reading",
    BATCH,
)
LATER_COLUMNS = MANIFEST_COLUMNS[MANIFEST_COLUMNS.index("given_part") :]  # empty in the manifests of before


class _Info(BaseModel):
    """What every import.json holds."""

    name: str
    kind: str
    origin: str
    root: str | None
    created: FiniteFloat
    counts: dict[str, int]
    left_out: list[tuple[str, str]]


@dataclass(frozen=True)
class Dataset:
    """Images with their labels.

    ``images`` has one row per readable image that is in use, in import order, with the columns MANIFEST_COLUMNS, and
    ``together`` where images were grouped by decision; ``path`` and ``mask_path`` are relative to ``root``; an unknown
    source, patient, mask or part (``given_part``, that of the authors' split) is an empty string. ``reading`` is of
    DICOM and TIFF files: in its first line what was done to the pixels, in each other one a reason to doubt the image.
    ``decisions`` are all that led to these images; ``manifest`` holds the images as they were imported, also those that
    were added later.
    """

    id: str
    folder: Path
    info: dict[str, Any]
    images: pd.DataFrame
    decisions: tuple[Decision, ...] = ()
    manifest: pd.DataFrame | None = None

    @property
    def name(self) -> str:
        return self.info["name"]

    @property
    def root(self) -> Path:
        """The folder that image paths start from."""
        return self.folder / "files" if self.info["root"] is None else Path(self.info["root"])

    @property
    def is_synthetic(self) -> bool:
        """Whether images were drawn by the phantom and show no patient; of a merged data set, some of them."""
        return self.info["kind"] == "phantom" or bool(self.info.get("synthetic"))

    @property
    def left_out(self) -> pd.DataFrame:
        """Files that import left out: columns path, reason."""
        later = [row for batch in _batches(self.info, self.decisions) for row in batch["left_out"]]
        return pd.DataFrame([*self.info["left_out"], *later], columns=["path", "reason"])

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted."""
        return tuple(sorted(self.images["label"].unique()))

    @cached_property
    def counts(self) -> dict[str, int]:
        """Images per class, in the order of ``classes``."""
        counts = self.images["label"].value_counts()
        return {label: int(counts[label]) for label in self.classes}

    @cached_property
    def imported(self) -> "Dataset":
        """The data set as it was imported, with the images added since, without any decision on one of them."""
        if self.manifest is None:
            return self
        there = self.manifest[BATCH].isin(decisions.batches(self.decisions))
        return Dataset(self.id, self.folder, self.info, self.manifest[there].reset_index(drop=True))

    @cached_property
    def taken_out(self) -> pd.DataFrame:
        """Images that were left out by decision: rows of the manifest."""
        return self.imported.images[~self.imported.images["image_id"].isin(self.images["image_id"])]

    @cached_property
    def version(self) -> str:
        """Hash over (image_id, sha256, label), and the groups where images were grouped: a run pins it, so a changed
        data set is noticed."""
        grouped = [TOGETHER] if TOGETHER in self.images else []
        return hash_of(self.images[["image_id", "sha256", "label", *grouped]])

    @cached_property
    def versions(self) -> dict[str, int]:
        """Every version that the data set has had, oldest first, with the number of decisions until then; where
        decisions were taken back, the version that came of it keeps its latest number."""
        return {self._version_after(number): number for number in decisions.before_each(self.decisions)}

    def holding(self, is_stored: Callable[[str], bool]) -> Iterator["Dataset"]:
        """The data set as it is, then at those of its earlier versions that held all its images, latest first: results
        of each image then hold for these. Only versions with something stored (``is_stored``): after hundreds of
        decisions, most tables of images would be made for nothing."""
        if is_stored(self.version):
            yield self
        out = decisions.left_out(self.decisions)
        for version, number in sorted(self.versions.items(), key=lambda one: -one[1]):
            made = self.decisions[:number]
            is_earlier = version != self.version and decisions.left_out(made) <= out
            if is_earlier and decisions.batches(made) >= decisions.batches(self.decisions) and is_stored(version):
                yield self._after(number)

    def at(self, version: str) -> "Dataset":
        """The data set as it was at an earlier version. Raises DataError where it has never had that version."""
        if version == self.version:
            return self
        if version not in self.versions:
            raise DataError(f"The data set {self.name} has never had the images or classes that are asked for.")
        return self._after(self.versions[version])

    def _version_after(self, number: int) -> str:
        """The version after the first decisions; hashed once per process, since pages ask at every turn."""
        changes = decisions.changes(self.decisions[:number])
        if not changes:
            return self._first_version
        key = hashlib.sha256(repr((self._first_version, changes)).encode("utf-8", "surrogatepass")).hexdigest()
        if key not in _VERSIONS:
            _VERSIONS[key] = self._after(number).version
        return _VERSIONS[key]

    def _after(self, number: int) -> "Dataset":
        """As it was after its first decisions."""
        return self.decided(self.decisions[:number])

    @cached_property
    def _first_version(self) -> str:
        return self.decided(()).version

    def decided(self, made: tuple[Decision, ...]) -> "Dataset":
        """The data set as it was first imported, after decisions."""
        manifest = self.images if self.manifest is None else self.manifest
        if not made and not manifest[BATCH].any():
            return self if self.manifest is None else Dataset(self.id, self.folder, self.info, manifest)
        return Dataset(self.id, self.folder, self.info, decisions.applied(manifest, made), made, manifest)

    @cached_property
    def pixels_key(self) -> str:
        """Hash over (image_id, sha256): what decoded pixels depend on. Labels may change without decoding again."""
        return hash_of(self.images[["image_id", "sha256"]])

    @cached_property
    def facts_key(self) -> str:
        """Hash over what import found beside the images: sources, patients and masks. Two imports of the same images
        have the same version and may differ in these, so what depends on them is kept under both."""
        later = [column for column in LATER_COLUMNS if column != BATCH and self.imported.images[column].any()]
        return hash_of(self.imported.images[["source", "patient_id", "mask_path", *later]])[:KEY_LENGTH]

    def path_of(self, row: int) -> Path:
        """Path of the image in row ``row`` of ``images``."""
        return self.root / self.images["path"].iat[row]

    def row_of(self, image_id: str) -> int:
        """Row of the image with that id. Raises DataError when there is none."""
        rows = np.flatnonzero(self.images["image_id"].to_numpy() == image_id)
        if not len(rows):
            raise DataError(f"The data set {self.name!r} has no image {image_id!r}.")
        return int(rows[0])


def open_dataset(workspace: Workspace, identifier: str) -> Dataset:
    """Open a data set by its id, after all decisions on its images.

    Raises UnknownId, or DataError when its files are damaged.
    """
    folder = folder_of(workspace.datasets, identifier, "data set")
    try:
        info = _info_in(folder)
        images = files.read_table(folder / "manifest.parquet")
        later = {column: "" for column in LATER_COLUMNS if column not in images}
        images = images.assign(**later)[list(MANIFEST_COLUMNS)]
        return Dataset(identifier, folder, info, images).decided(decisions.read(folder))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"The data set {identifier} is damaged: delete it and import it again.") from error


def decide(workspace: Workspace, identifier: str, wanted: Sequence[Decision], author: str) -> Dataset:
    """Add decisions on images of a data set, and return it as it is then.

    ``wanted`` leave number, when, author and before empty. Raises InvalidChoice or DataError where one breaks a rule or
    its image is not in use; none is written then.
    """
    access.check(workspace, access.DECIDE, what=identifier)
    wanted = list(dict.fromkeys(wanted))  # the same twice would have to be taken back twice
    with deciding(workspace, identifier) as opened:
        author = decisions.checked(wanted, opened.images, opened.imported.classes, author)
        labels = dict(zip(opened.images["image_id"], opened.images["label"], strict=True))
        decisions.append(opened.folder, wanted, author, labels)
        access.note(workspace, f"decide: {wanted[0].action}, {plural(len(wanted), 'line')}", identifier)
        return open_dataset(workspace, identifier)


def take_back(workspace: Workspace, identifier: str, numbers: Sequence[int], author: str, note: str = "") -> Dataset:
    """Take decisions back by their numbers, and return the data set as it is then. Raises InvalidChoice, DataError."""
    access.check(workspace, access.DECIDE, what=identifier)
    with deciding(workspace, identifier) as opened:
        manifest = opened.images if opened.manifest is None else opened.manifest
        decisions.check_take_back(numbers, opened.decisions, manifest)
        of = {one.number: one for one in opened.decisions}
        wanted = [
            Decision(TAKE_BACK, of[number].image_id, str(number), note=note, before=of[number].before)
            for number in numbers
        ]
        decisions.append(opened.folder, wanted, decisions.checked_author(author), {})
        access.note(workspace, f"take back {plural(len(wanted), 'decision')}", identifier)
        return open_dataset(workspace, identifier)


@contextlib.contextmanager
def deciding(workspace: Workspace, identifier: str) -> Iterator[Dataset]:
    """The data set, while nobody else decides about it."""
    busy = DataError("Somebody else is deciding about these images right now. Try again in a moment.")
    lock = files.FileLock(folder_of(workspace.datasets, identifier, "data set") / decisions.LOCK)
    with lock.held(PATIENCE, busy):
        yield open_dataset(workspace, identifier)


def _info_in(folder: Path) -> dict[str, Any]:
    info = files.read_json(folder / "import.json")
    _Info.model_validate(info)
    return info


def _batches(info: Mapping[str, Any], made: Sequence[Decision]) -> list[dict[str, Any]]:
    """The batches of images that were added and are there."""
    there = decisions.batches(made)
    return [batch for batch in info.get("batches", []) if batch[BATCH] in there]


def list_datasets(workspace: Workspace) -> list[dict[str, Any]]:
    """What the folders of all readable data sets say of them (id, name, kind, counts, created), newest first.

    Only import.json and the decisions are read; a folder without whole ones is listed with the key ``damaged``.
    """
    listed = []
    for folder in list_folders(workspace.datasets):
        try:
            info = _info_in(folder)
            made = decisions.read(folder)
            imported = sum((Counter(batch["counts"]) for batch in _batches(info, made)), Counter(info["counts"]))
            listed.append({**info, "counts": decisions.counts(imported, made), "id": folder.name})
        except (OSError, ValueError, DataError):
            listed.append({"id": folder.name, "name": folder.name, "damaged": True, "created": 0.0, "counts": {}})
    return sorted(listed, key=lambda info: info["created"], reverse=True)


def delete_dataset(workspace: Workspace, identifier: str) -> None:
    """Remove a data set with the images that were made or unpacked in it, and all that was derived from its images.

    Images elsewhere stay. Another data set of the same images loses nothing but time: its caches are made again.
    """
    access.check(workspace, access.IMPORT, what=identifier)
    folder = folder_of(workspace.datasets, identifier, "data set")
    with contextlib.suppress(DataError):  # a damaged one has no key left to find its caches by
        dataset = open_dataset(workspace, identifier)
        for one in (dataset._after(number) for number in dataset.versions.values()):
            for cache in (workspace.pixels, workspace.features):
                _remove_all(cache, one.pixels_key[:KEY_LENGTH])
                _remove_all(cache, one.imported.pixels_key[:KEY_LENGTH])
            _remove_all(workspace.tables, f"*{one.version[:KEY_LENGTH]}")  # also where another was compared with it
    files.remove_folder(folder)
    access.note(workspace, "delete data set", identifier)


def _remove_all(folder: Path, prefix: str) -> None:
    for path in folder.glob(f"{prefix}*"):
        path.unlink(missing_ok=True)
