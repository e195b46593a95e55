"""Files that survive a crash: written whole or not at all, and locks that a dead process lets go of.

A file is published by writing a temporary file in the same folder, flushing it to the disk and renaming it over the old
one, so a reader sees the old content or the new, never half of it.
"""

import contextlib
import ctypes
import errno
import functools
import hashlib
import json
import math
import mmap
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

if TYPE_CHECKING:
    import pandas as pd

LOCK_POLL = 0.02  # seconds between two tries of a lock that others hold
SYNCED_AT_ONCE = 8  # files of a folder that is published
REPLACE_PATIENCE = 1.0  # seconds; readers hold these files open for milliseconds

FULL = 64_000  # bytes; the smallest disk that a status fits on with its copy
DISK_FULL = "The disk is full. Delete what you do not need, then start this again."
OUT_OF_MEMORY = "Out of memory. Try a smaller batch size or smaller images."
READ_ONLY = "The workspace cannot be written: it is read-only, or another user's."
NOT_MAPPED = "failed to map segment from shared object"  # a library, where memory ends; else the system adds why
REASONS = {  # by what the system calls them
    errno.ENOSPC: DISK_FULL,
    errno.EDQUOT: DISK_FULL,
    errno.ENOMEM: OUT_OF_MEMORY,
    errno.EROFS: READ_ONLY,
    errno.EACCES: READ_ONLY,
    errno.EPERM: READ_ONLY,
    errno.EIO: "The disk failed to read or write (input/output error). Check it before you go on.",
}


def refusal_of(error: BaseException) -> str:
    """Why the system refused a file or memory, in a sentence without a path; "" where the error is another one."""
    numbers, text = set(), ""
    for one in _with_causes(error):
        numbers |= {one.errno} if isinstance(one, OSError) else set()
        text += str(one)  # libraries may hand on the system's words only
    for number, reason in REASONS.items():
        if number in numbers or os.strerror(number) in text:
            return reason
    return OUT_OF_MEMORY if NOT_MAPPED in text else ""


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_full(folder: Path) -> bool:
    """Whether the disk of a folder takes no further file: no room, or no number for one."""
    numbers = os.statvfs(folder) if hasattr(os, "statvfs") else None
    return shutil.disk_usage(folder).free < FULL or (numbers is not None and 0 == numbers.f_favail < numbers.f_files)


def allocate(path: Path, size: int) -> None:
    """Make a file of zeros that has its place on the disk. One that takes it as it is mapped and filled would end the
    process on a full disk. Raises OSError."""
    with open(path, "wb") as handle:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle.fileno(), 0, size)
        handle.truncate(size)


def sync(path: Path) -> None:
    """Make what a file holds, or the names in a folder, survive a power cut. Windows needs nothing for folders."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def published(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it over ``path`` when the block ends without an error."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}")
    try:
        yield temporary
        move(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def move(source: Path, target: Path) -> None:
    """Rename a file, or a folder with all that is in it, to ``target``, which a power cut leaves old or new."""
    with ThreadPoolExecutor(SYNCED_AT_ONCE) as pool:  # the disk takes many at once: a third of the time one by one
        list(pool.map(sync, source.rglob("*")))
    sync(source)
    _replace(source, target)
    sync(target.parent)


def _replace(source: Path, target: Path) -> None:
    """``os.replace``, but patient on Windows, where a reader that has ``target`` open for an instant forbids it."""
    deadline = time.monotonic() + REPLACE_PATIENCE
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if os.name != "nt" or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def write_bytes(path: Path, content: bytes) -> None:
    """Publish ``content`` as ``path``."""
    with published(path) as temporary:
        temporary.write_bytes(content)


def json_bytes(content: Any) -> bytes:
    """Indented JSON in UTF-8. Not-a-number is refused: JSON has none."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode()


def write_json(path: Path, content: Any) -> None:
    """Publish ``content`` as ``json_bytes`` of it."""
    write_bytes(path, json_bytes(content))


def without_nan(value: Any) -> Any:
    """Records and arrays as JSON takes them; nan is None."""
    if isinstance(value, Mapping):
        return {name: without_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


def append_line(path: Path, line: str, mode: int = 0o666) -> None:
    """Add a line to a file by one write, on a line of its own also where a crash tore the last. Raises OSError.

    ``mode`` is of a file that is made; the umask counts too.
    """
    with open(path, "ab+", buffering=0, opener=functools.partial(os.open, mode=mode)) as handle:
        handle.seek(-min(1, handle.seek(0, os.SEEK_END)), os.SEEK_END)
        is_torn = handle.read(1) not in (b"", b"\n")
        handle.write(b"\n" * is_torn + line.encode("utf-8", "replace") + b"\n")
        os.fsync(handle.fileno())


FORMER_KEYS = {  # of files that version 0.2 and earlier wrote, and what they are called now
    "films": "images",
    "films_per_class": "images_per_class",
    "milliseconds_per_film": "milliseconds_per_image",
    "usual film": "usual image",
}
BY_CLASS = ("classes", "counts", "unknown", "sensitivity")  # objects whose keys are names of classes, and stay


def read_json(path: Path) -> Any:
    """Content of a JSON file, keys of earlier versions as they are called now. Raises OSError or ValueError as ``open``
    and ``json`` do."""
    return with_present_keys(json.loads(path.read_text(encoding="utf-8")))


def with_present_keys(value: Any) -> Any:
    """A JSON value with its FORMER_KEYS replaced, at any depth."""
    if isinstance(value, list):
        return [with_present_keys(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        FORMER_KEYS.get(name, name): one if name in BY_CLASS else with_present_keys(one) for name, one in value.items()
    }


def read_table(path: Path | BinaryIO, columns: Sequence[str] | None = None) -> "pd.DataFrame":
    """Content of a Parquet file, by default all columns. Raises OSError or ValueError as pandas does.

    In the calling thread: tables here are small, and Arrow's own threads each keep memory for good.
    """
    import pandas as pd  # here, because it takes longer than all else that this module is for

    return pd.read_parquet(path, columns=None if columns is None else list(columns), use_threads=False)


def release_mapped(path: Path) -> int:
    """Let the system have the memory back that a file mapped for reading takes; what is looked at again is read again.

    Returns bytes of the mappings. Only Linux tells where a file is mapped; elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return 0
    madvise = ctypes.CDLL(None).madvise
    released, ending = 0, f" {path.resolve()}"
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as mappings:
        for mapping in mappings:
            place, _, name = mapping.rstrip("\n").partition(" ")
            if not name.endswith(ending):
                continue
            start, end = (int(address, 16) for address in place.split("-"))
            if madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED) == 0:
                released += end - start
    return released


@contextlib.contextmanager
def published_folder(folder: Path) -> Iterator[Path]:
    """Give a staging folder beside ``folder``; rename it to ``folder`` at the end, or remove it after an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    staging.mkdir()
    try:
        yield staging
        move(staging, folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def remove_folder(folder: Path) -> None:
    """Remove a folder so that a crash in between leaves only hidden rubbish, never half a data set or run."""
    trash = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.trash")
    os.replace(folder, trash)
    shutil.rmtree(trash, ignore_errors=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Have a file, which nobody changes, at the new path ``target`` too, in folders that are made: by a hard link, or
    by a copy where the file system has none. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)  # of a symbolic link, what it leads to
    except FileExistsError:
        raise
    except OSError:  # another drive, or no such links there
        shutil.copyfile(source, target)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def copy_hashed(source: IO[bytes], target: IO[bytes]) -> str:
    """Copy an open file, a piece at a time. Returns the SHA-256 of its bytes, in hexadecimal."""
    digest = hashlib.sha256()
    while piece := source.read(2**20):
        digest.update(piece)
        target.write(piece)
    return digest.hexdigest()


class FileLock:
    """An exclusive lock on a file that the operating system releases when its process dies, however it dies.

    ``is_held`` probes with a shared lock where the platform has one, so that two readers do not disturb each other;
    filelock has none, so it serves on Windows only.
    """

    def __init__(self, path: Path):
        self.path = path
        self._release: Callable[[], None] | None = None

    def try_acquire(self) -> bool:
        """Take the lock if it is free. Returns whether this call took it."""
        release = self._take()
        self._release = release or self._release
        return release is not None

    def acquire(self, patience: float) -> bool:
        """Take the lock, waiting for so many seconds at most. Returns whether it is ours now."""
        deadline = time.monotonic() + patience
        while not self.try_acquire():
            if time.monotonic() > deadline:
                return False
            time.sleep(LOCK_POLL)
        return True

    @contextlib.contextmanager
    def held(self, patience: float, refused: Exception) -> Iterator[None]:
        """Hold the lock for a block. Raises ``refused`` where it is not ours within so many seconds."""
        if not self.acquire(patience):
            raise refused
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Let the lock go. Nothing happens when it is not ours."""
        if self._release is not None:
            self._release()
        self._release = None

    def is_held(self) -> bool:
        """Whether some process holds the lock now."""
        if not self.path.exists():
            return False
        release = self._take(shared=True)
        if release is not None:
            release()
        return release is None

    def _take(self, shared: bool = False) -> Callable[[], None] | None:
        """What releases the lock that was taken; None where another holds it."""
        if fcntl is None:
            import filelock

            lock = filelock.FileLock(self.path)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                return None
            return lock.release
        handle = open(self.path, "rb" if shared else "a+b")  # noqa: SIM115  open for as long as the lock is held
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            return None
        return handle.close
