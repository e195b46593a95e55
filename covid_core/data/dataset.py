"""A data set: the table of its films and the folder that describes it. Image files are referred to, never changed.

Files of ``datasets/ID/``: ``manifest.parquet`` (written once by import), ``import.json`` (name, origin, what was left
out), and ``files/`` where the films came from an archive or were made here.
"""

import contextlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, FiniteFloat

from covid_core import files
from covid_core.errors import DataError
from covid_core.hashing import hash_of
from covid_core.workspace import Workspace, folder_of, list_folders

KEY_LENGTH = 16  # digits of a hash at the start of a cached file's name: enough never to meet another
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
    "dhash",
    "mask_path",
)


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
    """Films with their labels.

    ``films`` has one row per readable film, in import order, with the columns MANIFEST_COLUMNS; ``path`` and
    ``mask_path`` are relative to ``root``; an unknown source, patient or mask is an empty string.
    """

    id: str
    folder: Path
    info: dict[str, Any]
    films: pd.DataFrame

    @property
    def name(self) -> str:
        return self.info["name"]

    @property
    def root(self) -> Path:
        """The folder that film paths start from."""
        return self.folder / "files" if self.info["root"] is None else Path(self.info["root"])

    @property
    def is_synthetic(self) -> bool:
        """Whether the films were drawn by the phantom and show no patient."""
        return self.info["kind"] == "phantom"

    @property
    def left_out(self) -> pd.DataFrame:
        """Files that import could not read: columns path, reason."""
        return pd.DataFrame(self.info["left_out"], columns=["path", "reason"])

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted."""
        return tuple(sorted(self.films["label"].unique()))

    @cached_property
    def counts(self) -> dict[str, int]:
        """Films per class, in the order of ``classes``."""
        counts = self.films["label"].value_counts()
        return {label: int(counts[label]) for label in self.classes}

    @cached_property
    def version(self) -> str:
        """Hash over (image_id, sha256, label): a run pins it, so a changed data set is noticed."""
        return hash_of(self.films[["image_id", "sha256", "label"]])

    @cached_property
    def pixels_key(self) -> str:
        """Hash over (image_id, sha256): what decoded pixels depend on. Labels may change without decoding again."""
        return hash_of(self.films[["image_id", "sha256"]])

    def path_of(self, row: int) -> Path:
        """Path of the film in row ``row`` of ``films``."""
        return self.root / self.films["path"].iat[row]

    def row_of(self, image_id: str) -> int:
        """Row of the film with that id. Raises DataError when there is none."""
        rows = np.flatnonzero(self.films["image_id"].to_numpy() == image_id)
        if not len(rows):
            raise DataError(f"The data set {self.name!r} has no film {image_id!r}.")
        return int(rows[0])


def open_dataset(workspace: Workspace, identifier: str) -> Dataset:
    """Open a data set by its id. Raises NotFound, or DataError when its files are damaged."""
    folder = folder_of(workspace.datasets, identifier, "data set")
    try:
        info = _info_in(folder)
        films = files.read_table(folder / "manifest.parquet", MANIFEST_COLUMNS)
        return Dataset(identifier, folder, info, films)
    except (OSError, ValueError) as error:
        raise DataError(f"The data set {identifier} is damaged: delete it and import it again.") from error


def _info_in(folder: Path) -> dict[str, Any]:
    info = files.read_json(folder / "import.json")
    _Info.model_validate(info)
    return info


def list_datasets(workspace: Workspace) -> list[dict[str, Any]]:
    """What the folders of all readable data sets say of them (id, name, kind, counts, created), newest first.

    Only import.json is read; a folder without a whole one is listed with the key ``damaged``.
    """
    listed = []
    for folder in list_folders(workspace.datasets):
        try:
            listed.append({**_info_in(folder), "id": folder.name})
        except (OSError, ValueError):
            listed.append({"id": folder.name, "name": folder.name, "damaged": True, "created": 0.0, "counts": {}})
    return sorted(listed, key=lambda info: info["created"], reverse=True)


def delete_dataset(workspace: Workspace, identifier: str) -> None:
    """Remove a data set with the films that were made or unpacked in it, and all that was derived from its films.

    Films elsewhere stay. Another data set of the same films loses nothing but time: its caches are made again.
    """
    folder = folder_of(workspace.datasets, identifier, "data set")
    with contextlib.suppress(DataError):  # a damaged one has no key left to find its caches by
        dataset = open_dataset(workspace, identifier)
        for cache, key in ((workspace.pixels, dataset.pixels_key), (workspace.features, dataset.pixels_key)):
            _remove_all(cache, key[:KEY_LENGTH])
        _remove_all(workspace.tables, f"*{dataset.version[:KEY_LENGTH]}")  # also where another set was compared with it
    files.remove_folder(folder)


def _remove_all(folder: Path, prefix: str) -> None:
    for path in folder.glob(f"{prefix}*"):
        path.unlink(missing_ok=True)
