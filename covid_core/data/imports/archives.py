"""Zip archives of images, from strangers: what is in them, and unpacking that a hostile one cannot misuse."""

import lzma
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from covid_core.data.imports.layouts import is_hidden
from covid_core.errors import DataError
from covid_core.formatting import file_size
from covid_core.work import Progress, silent

UNREADABLE = (  # what zipfile raises of damaged, protected and unknown archives; NotImplementedError is a RuntimeError
    zipfile.BadZipFile,
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    lzma.LZMAError,
)
MOST_FILES = 200_000
MOST_BYTES = 20 * 10**9
LARGEST_RATIO = 200  # packed images hardly shrink; a higher ratio over 1 MB is a bomb
CHUNK = 2**20


def names_in(archive: Path | BinaryIO) -> list[str]:
    """All files in a zip archive but hidden ones, as POSIX paths. Raises DataError when it cannot be read."""
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [str(PurePosixPath(_name_of(member))) for member in _files_in(opened)]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise DataError(f"The archive cannot be read: {error}.") from error
    return [name for name in names if not any(is_hidden(PurePosixPath(part)) for part in PurePosixPath(name).parts)]


def content_in(archive: Path | BinaryIO, name: str) -> bytes:
    """Content of a file in a zip archive, by its name as ``names_in`` gives it. Raises DataError."""
    try:
        with zipfile.ZipFile(archive) as opened:
            member = next(one for one in _files_in(opened) if str(PurePosixPath(_name_of(one))) == name)
            _check_member(member)
            return opened.read(member)
    except UNREADABLE as error:
        raise DataError(f"The file {name} of the archive cannot be read: {error}.") from error


def extract(archive: Path, target: Path, progress: Progress = silent) -> None:
    """Unpack a zip archive into the new folder ``target``.

    Checked before anything is written: names that leave the folder, links, encryption, duplicates, number, size and
    packing ratio. Raises DataError naming the member; ``target`` is then gone.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _files_in(opened)
            _check_members(members, target)
            if sum(member.compress_size for member in members) > archive.stat().st_size:
                raise DataError("The archive's files overlap, as in a zip bomb. Nothing was unpacked.")
            target.mkdir(parents=True)
            total = sum(member.file_size for member in members)
            written = 0
            for member in members:
                path = target / PurePosixPath(_name_of(member))
                path.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as packed, open(path, "xb") as handle:
                    shutil.copyfileobj(packed, handle, CHUNK)  # zipfile gives no more than the declared size
                written += member.file_size
                progress(written / max(total, 1), f"Unpacking: {file_size(written)} of {file_size(total)}")
    except UNREADABLE as error:
        shutil.rmtree(target, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error  # the text of an OSError names folders of this machine
        raise DataError(f"The archive {archive.name} cannot be unpacked: {reason}.") from error
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _files_in(opened: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """All but folders. ``ZipInfo.is_dir`` would say it too, but breaks at an empty name."""
    return [member for member in opened.infolist() if not _name_of(member).endswith("/")]


def _name_of(member: zipfile.ZipInfo) -> str:
    """A member's path with slashes, where a program wrote those of Windows."""
    # orig_filename, since zipfile itself cuts names at a NUL and turns backslashes round on Windows
    return member.orig_filename.replace("\\", "/")


def _check_members(members: list[zipfile.ZipInfo], target: Path) -> None:
    if len(members) > MOST_FILES:
        raise DataError(f"The archive holds {len(members):,} files; at most {MOST_FILES:,} are unpacked.")
    total = sum(member.file_size for member in members)
    if total > MOST_BYTES:
        raise DataError(f"The archive unpacks to {file_size(total)}; at most {file_size(MOST_BYTES)} is.")
    free = shutil.disk_usage(target.parent).free
    if total * 2 > free:
        raise DataError(f"The archive needs {file_size(2 * total)} of free disk space; {file_size(free)} is left.")
    places: set[str] = set()
    for member in members:
        _check_member(member)
        place = str(PurePosixPath(_name_of(member))).lower()
        if place in places:
            raise DataError(f"The archive holds the file {member.filename!r} twice.")
        places.add(place)


def _check_member(member: zipfile.ZipInfo) -> None:
    name = _name_of(member)
    parts = PurePosixPath(name).parts
    kind = member.external_attr >> 28
    if name.startswith("/") or ".." in parts or "\0" in name or (parts and parts[0].endswith(":")):
        raise DataError(
            f"The archive holds a file that would leave its folder: {member.orig_filename!r}. Nothing was unpacked."
        )
    if name.rpartition("/")[2] in ("", "."):
        raise DataError(f"The archive holds a file without a name: {name!r}. Nothing was unpacked.")
    if kind not in (0, 8):
        raise DataError(f"The archive holds a link or device: {name!r}. Nothing was unpacked.")
    if member.flag_bits & 1:
        raise DataError("The archive is protected by a password.")
    if member.file_size > 2**20 and member.file_size > LARGEST_RATIO * max(member.compress_size, 1):
        raise DataError(f"The archive's file {name!r} is packed more than {LARGEST_RATIO} to 1.")
