"""Zip archives of images, from strangers: what is in them, and unpacking that a hostile one cannot misuse."""

import lzma
import shutil
import zipfile
import zlib
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from covid_core.data.layouts import is_hidden
from covid_core.errors import DataError
from covid_core.formatting import file_size
from covid_core.images.codec import SUFFIXES
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


def survey_archive(archive: Path | BinaryIO) -> dict[str, int]:
    """Image files per class in a zip archive, from its list of names alone. Raises DataError when there are none."""
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [PurePosixPath(member.filename) for member in _files_in(opened)]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise DataError(f"The archive cannot be read: {error}.") from error
    labels = Counter(
        _class_in_archive(name) for name in names if name.suffix.lower() in SUFFIXES and not is_hidden(name)
    )
    del labels[""]
    if not labels:
        raise DataError("The archive holds no class folders with PNG or JPEG images.")
    return dict(sorted(labels.items()))


def _class_in_archive(name: PurePosixPath) -> str:
    """The class folder of an image in an archive; nothing for masks and for files outside of any folder."""
    folders = name.parts[:-1]
    if not folders or folders[-1] == "masks" or folders[0] == "__MACOSX":
        return ""
    return folders[-1] if folders[-1] != "images" else (folders[-2] if len(folders) > 1 else "")


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
                path = target / PurePosixPath(member.filename)
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
    return [member for member in opened.infolist() if not member.filename.endswith("/")]


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
        place = str(PurePosixPath(member.filename)).lower()
        if place in places:
            raise DataError(f"The archive holds the file {member.filename!r} twice.")
        places.add(place)


def _check_member(member: zipfile.ZipInfo) -> None:
    # orig_filename, since zipfile itself cuts names at a NUL and turns backslashes round on Windows
    name = member.orig_filename
    parts = PurePosixPath(name).parts
    kind = member.external_attr >> 28
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or (parts and parts[0].endswith(":")):
        raise DataError(f"The archive holds a file that would leave its folder: {name!r}. Nothing was unpacked.")
    if name.rpartition("/")[2] in ("", "."):
        raise DataError(f"The archive holds a file without a name: {name!r}. Nothing was unpacked.")
    if kind not in (0, 8):
        raise DataError(f"The archive holds a link or device: {name!r}. Nothing was unpacked.")
    if member.flag_bits & 1:
        raise DataError("The archive is protected by a password.")
    if member.file_size > 2**20 and member.file_size > LARGEST_RATIO * max(member.compress_size, 1):
        raise DataError(f"The archive's file {name!r} is packed more than {LARGEST_RATIO} to 1.")
