"""What can be computed again and is kept to save time, in one way: by name and format, whole or not at all.

A change of what a file holds takes the next format number: files of another are left to the cache, which removes what
is not used. A file that is torn counts as not there.
"""

import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from zipfile import BadZipFile

import numpy as np

from covid_core import cache, files
from covid_core.errors import NoRoom
from covid_core.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

KEY_LENGTH = 16  # digits of a hash at the start of a file's name: enough never to meet another
TORN = (OSError, EOFError, ValueError, KeyError, BadZipFile, zlib.error)

Content = TypeVar("Content")


def path_of(folder: Path, key: str, what: str, number: int, suffix: str = "parquet") -> Path:
    """Where a file of a kind and format ``number`` lies; ``key`` is the hash of what it is computed from."""
    return folder / f"{key[:KEY_LENGTH]}-{what}-{number}.{suffix}"


def read(path: Path, reader: Callable[[Path], Content]) -> Content | None:
    """What a reader makes of a file, noted as used now; None where the file is not there, or torn (one of TORN)."""
    try:
        content = reader(path)
    except TORN:
        return None
    cache.touch(path)
    return content


def read_table(path: Path, columns: Sequence[str]) -> "pd.DataFrame | None":
    """These columns of a table; as ``read``."""
    return read(path, lambda path: files.read_table(path, columns))


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray] | None:
    """These arrays by name; as ``read``."""

    def reader(path: Path) -> dict[str, np.ndarray]:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}

    return read(path, reader)


def write(
    workspace: Workspace,
    path: Path,
    size: int,
    writer: Callable[[Path], object],
    *,
    optional: bool = False,
    protected: Collection[Path] = (),
) -> None:
    """Make room for ``size`` bytes and publish what ``writer`` writes to a path, whole.

    ``optional``: what does not fit is not kept, and computed again the next time; else NoRoom is raised.
    ``protected``: files that do not make way.
    """
    try:
        cache.make_room(workspace, size, protected)
    except NoRoom:
        if optional:
            return
        raise
    with files.published(path) as temporary:
        writer(temporary)


def write_table(workspace: Workspace, path: Path, table: "pd.DataFrame", *, optional: bool = False) -> None:
    """Keep a table; as ``write``."""
    size = int(table.memory_usage(deep=True).sum())
    write(workspace, path, size, lambda temporary: table.to_parquet(temporary, index=False), optional=optional)


def write_arrays(workspace: Workspace, path: Path, arrays: Mapping[str, np.ndarray], *, optional: bool = False) -> None:
    """Keep arrays by name, as a .npz; as ``write``."""
    size = sum(array.nbytes for array in arrays.values())

    def writer(temporary: Path) -> None:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)

    write(workspace, path, size, writer, optional=optional, protected=[path])
