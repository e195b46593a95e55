"""Whatever is kept only to save time, within a limit: what was not used for longest goes first.

Four folders of the workspace hold it, and all of it can be computed again:

- ``pixels``: decoded images, one file per data set version and size;
- ``features``: what frozen networks answered, one file per data set version, network and view;
- ``tables``: small derived tables and thumbnails;
- ``exports``: models in the formats of others, one archive per run and format.

Nothing holds a cache file against removal but the lock of a worker that fills it right now (``NAME.lock``), and
Windows, which keeps mapped files. On other systems a memory map outlives its file, so a reader whose file is removed
reads on unharmed, and the cost is that the next one computes it again. That is rare: one training runs at a time, it
names what it needs (``needed``), and what it opened a moment ago is the last to go.
"""

import contextlib
import math
import os
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from covid_core import files
from covid_core.errors import InvalidChoice, NoRoom
from covid_core.formatting import file_size
from covid_core.workspace import Workspace

VARIABLE = "COVID_CORE_CACHE_GB"
DEFAULT_GB = 10.0
GB = 1_000_000_000  # bytes; decimal, as sizes are shown
KINDS = ("pixels", "features", "tables", "exports")
SPARE = 256_000_000  # bytes of disk left to the files of a run: a large model, its checkpoint and its tables
LEFTOVER_AGE = 24 * 3600.0  # seconds after which a half-written file has lost its writer
BLOCK = 512  # bytes; the unit of st_blocks, whatever the file system's own is


@dataclass(frozen=True)
class Entry:
    """A file of the cache: its kind (of KINDS), its bytes on disk, and when it was last used (seconds since 1970)."""

    kind: str
    path: Path
    bytes: int
    used: float


@dataclass(frozen=True)
class Cleared:
    """What clearing came to: bytes freed, and the files that stayed because they are in use."""

    freed: int
    in_use: tuple[Path, ...]


def limit() -> int:
    """Bytes that the caches may take: ``COVID_CORE_CACHE_GB``, default 10. Raises InvalidChoice."""
    text = os.environ.get(VARIABLE, "").strip() or str(DEFAULT_GB)
    with contextlib.suppress(ValueError):
        size = float(text) * GB
        if math.isfinite(size) and size >= 1:
            return int(size)
    raise InvalidChoice(f"{VARIABLE} must be a number of gigabytes above 0, received: {text[:40]!r}.")


def entries(workspace: Workspace) -> list[Entry]:
    """All that is kept, least recently used first. No file is opened."""
    listed = [entry for kind in KINDS for entry in files_in(kind, getattr(workspace, kind))]
    return sorted(listed, key=lambda entry: (entry.used, entry.path))


def files_in(kind: str, folder: Path) -> Iterator[Entry]:
    """The files of one folder, but for locks and what is being written."""
    if not folder.is_dir():  # on a disk that takes none
        return
    with os.scandir(folder) as listed:
        for item in listed:
            with contextlib.suppress(FileNotFoundError):  # removed by another process since it was listed
                status = item.stat(follow_symlinks=False)
                is_lock = item.name.endswith(".lock")  # empty, and removing one would let two in
                is_half_written = item.name.startswith(".") and time.time() - status.st_mtime < LEFTOVER_AGE
                if item.is_file(follow_symlinks=False) and not (is_lock or is_half_written):
                    # less than its length while a table is sparse; more that some systems set aside does not count
                    on_disk = min(status.st_size, getattr(status, "st_blocks", math.inf) * BLOCK)
                    yield Entry(kind, Path(item.path), int(on_disk), status.st_mtime)


def touch(path: Path) -> None:
    """Note that a cache file is used now. Whoever opens one calls it; the modification time carries it.

    Access times would not do: most systems note them once a day or never, and every backup changes them.
    """
    with contextlib.suppress(OSError):  # gone already, or on a disk that cannot be written: it can be read all the same
        os.utime(path)


def make_room(workspace: Workspace, wanted: int, needed: Collection[Path] = ()) -> None:
    """Remove what was not used for longest until ``wanted`` more bytes fit the limit and the disk.

    What is in ``needed``, or is being filled by a worker, stays. Raises NoRoom when that cannot be reached, which is
    checked before anything is removed, except where Windows holds on to a file.
    """
    listed = entries(workspace)
    over = total(listed) + wanted - limit()
    missing = max(over, wanted + SPARE - _free(workspace))  # zero or less where it fits now
    removable = [entry for entry in listed if entry.path not in needed and not is_being_filled(entry.path)]
    if missing > total(removable):
        raise NoRoom(_no_room_in_words(workspace, wanted, total(listed) - total(removable)))
    for entry in removable:
        if missing <= 0:
            return
        missing -= _removed(entry)
    if missing > 0:
        raise NoRoom(_no_room_in_words(workspace, wanted, missing))


def total(listed: Iterable[Entry]) -> int:
    """Bytes of some entries."""
    return sum(entry.bytes for entry in listed)


def _free(workspace: Workspace) -> int:
    return shutil.disk_usage(workspace.pixels.parent).free  # the cache may be a link to another disk


def _no_room_in_words(workspace: Workspace, wanted: int, in_use: int) -> str:
    """Names what is too small, the limit or the disk: raising the limit makes no room on a full disk."""
    need = f"{file_size(wanted)} have to be kept for this work"
    smaller = "Try smaller images, fewer layers or fewer augmented views"
    free = _free(workspace)
    if wanted + SPARE > free:
        disk = f"the disk has {file_size(free)} free, of which {file_size(SPARE)} are left to the runs"
        return f"{need}, and {disk}. {smaller}, or delete what you do not need."
    used = f", {file_size(in_use)} of it in use" if wanted <= limit() else ""
    return f"{need}, and the cache may take {file_size(limit())}{used}. {smaller}, or raise {VARIABLE}."


def is_being_filled(path: Path) -> bool:
    """Whether a worker holds the lock of a cache file."""
    return files.FileLock(path.with_suffix(".lock")).is_held()


def clear(workspace: Workspace, kinds: Collection[str] = KINDS, in_use_since: float = math.inf) -> Cleared:
    """Empty the caches of some kinds. Only time is lost.

    Args:
        workspace: whose caches.
        kinds: of KINDS.
        in_use_since: what was used at or after that time (seconds since 1970) stays: a running job uses it.
    """
    chosen = [entry for entry in entries(workspace) if entry.kind in kinds]
    in_use = [entry for entry in chosen if entry.used >= in_use_since or is_being_filled(entry.path)]
    done = remove(entry for entry in chosen if entry not in in_use)
    return Cleared(done.freed, (*(entry.path for entry in in_use), *done.in_use))


def remove(listed: Iterable[Entry]) -> Cleared:
    """Remove files, but for those that the system does not let go of."""
    freed, stayed = 0, []
    for entry in listed:
        freed += _removed(entry)
        stayed += [entry.path] if entry.path.exists() else []
    return Cleared(freed, tuple(stayed))


def _removed(entry: Entry) -> int:
    """Remove a file. Returns its bytes, or 0 where the system does not let go of it."""
    try:
        entry.path.unlink(missing_ok=True)
    except PermissionError:
        return 0
    return entry.bytes
