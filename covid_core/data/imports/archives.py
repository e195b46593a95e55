"""Zip archives of images, from strangers: what is in them, and unpacking that a hostile one cannot misuse."""

import lzma
import shutil
import unicodedata
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import charset_normalizer

from covid_core.data.imports.layouts import is_hidden
from covid_core.errors import DataError, cause
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
LARGEST_RATIO = 200  # packed images hardly shrink; a higher ratio over 1 MB, of a file or of all, is a bomb
LARGEST_READ = 128 * 10**6  # bytes of a table, which is read into memory; MIMIC-CXR's largest has 64 MB
CHUNK = 2**20
ENCODINGS = {  # of names, as programs write them where they write no UTF-8; of equals, the earlier is taken
    "utf_8": "any language",
    "cp437": "Western Europe, DOS",
    "cp850": "Western Europe, Windows archives",
    "cp866": "Russian, DOS",
    "cp1252": "Western Europe, Windows",
    "cp1251": "Russian, Windows",
    "cp932": "Japanese",
    "cp949": "Korean",
    "gbk": "Chinese, simplified",
    "big5": "Chinese, traditional",
    "cp852": "Central Europe, DOS",
    "cp1250": "Central Europe, Windows",
    "cp737": "Greek, DOS",
    "cp1253": "Greek, Windows",
    "cp857": "Turkish, DOS",
    "cp862": "Hebrew, DOS",
}
USUAL = "cp437"  # what the format of zip archives says of names without a mark for UTF-8
MESS = 0.4  # share of characters that may be odd in a text, for charset_normalizer
ODD, ALIKE = 0.1, 0.05  # what a second alphabet, or anything but letters, adds to it; texts as good as each other
ONE_ALPHABET = {"HIRAGANA": "CJK", "KATAKANA": "CJK"}  # Japanese is written with all three


def encodings_of(archive: Path | BinaryIO) -> dict[str, str]:
    """ENCODINGS, that in which the names of an archive are likeliest written first, each with a name as it then is.

    Empty where no name needs it: they are plain, or marked as UTF-8. Raises DataError when it cannot be read.
    """
    with _opened(archive, USUAL) as opened:
        unmarked = [member.orig_filename for member in _files_in(opened) if not member.flag_bits & 0x800]
    names = [name.encode(USUAL) for name in unmarked if not name.isascii()]
    if not names:
        return {}
    matches = charset_normalizer.from_bytes(b"\n".join(names), cp_isolation=list(ENCODINGS), threshold=MESS)
    oddness = {match.encoding: match.chaos - ODD * match.coherence + ODD * _alphabets(str(match)) for match in matches}
    order = list(ENCODINGS)
    likely = sorted(oddness, key=lambda encoding: (round(oddness[encoding] / ALIKE), order.index(encoding)))
    return {encoding: names[0].decode(encoding, "replace") for encoding in dict.fromkeys([*likely, *order])}


def _alphabets(text: str) -> int:
    """How many alphabets the letters of a text beyond ASCII have, and what is no letter or half a letter as well."""
    signs = [sign for sign in text if not sign.isascii()]
    alphabets = {unicodedata.name(sign, "-").split()[0] if sign.isalpha() else "-" for sign in signs}
    return len({ONE_ALPHABET.get(name, name) for name in alphabets}) + len(alphabets & {"-", "HALFWIDTH"})


def _opened(archive: Path | BinaryIO, encoding: str = "") -> zipfile.ZipFile:
    """A zip archive whose unmarked names are read in an encoding; "" takes the likeliest. Raises DataError."""
    encoding = encoding or next(iter(encodings_of(archive)), USUAL)
    try:
        return zipfile.ZipFile(archive, metadata_encoding=encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"The names in the archive are not written in {error.encoding}: choose another.") from error
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        if isinstance(archive, Path) and archive.is_file() and archive.suffix.lower() != ".zip":
            raise DataError(f"{archive.name} is no zip archive. Use the folder that holds it.") from error
        raise DataError(f"The archive cannot be read: {cause(error)}.") from error


def names_in(archive: Path | BinaryIO, encoding: str = "") -> list[str]:
    """All files in a zip archive but hidden ones, as POSIX paths; ``encoding`` is one of ENCODINGS, or "" for the
    likeliest. Raises DataError when it cannot be read."""
    with _opened(archive, encoding) as opened:
        names = [str(PurePosixPath(_name_of(member))) for member in _files_in(opened)]
    return [name for name in names if not any(is_hidden(PurePosixPath(part)) for part in PurePosixPath(name).parts)]


def content_in(archive: Path | BinaryIO, name: str, encoding: str = "") -> bytes:
    """Content of a file in a zip archive, by its name as ``names_in`` gives it. Raises DataError."""
    try:
        with _opened(archive, encoding) as opened:
            member = next(one for one in _files_in(opened) if str(PurePosixPath(_name_of(one))) == name)
            _check_member(member)
            if member.file_size > LARGEST_READ:
                raise DataError(f"The file {name} of the archive is larger than {file_size(LARGEST_READ)}.")
            return opened.read(member)
    except UNREADABLE as error:
        raise DataError(f"The file {name} of the archive cannot be read: {cause(error)}.") from error


def extract(
    archive: Path, target: Path, encoding: str = "", progress: Progress = silent, ratio: int = LARGEST_RATIO
) -> None:
    """Unpack a zip archive into the new folder ``target``; ``encoding`` as for ``names_in``.

    Checked before anything is written: names that leave the folder, links, encryption, duplicates, number, size and
    packing ratio (``ratio`` to 1 at most). Raises DataError naming the member; ``target`` is then gone.
    """
    try:
        with _opened(archive, encoding) as opened:
            members = _files_in(opened)
            _check_members(members, target, ratio)
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
        raise DataError(f"The archive {archive.name} cannot be unpacked: {cause(error)}.") from error
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


def _check_members(members: list[zipfile.ZipInfo], target: Path, ratio: int) -> None:
    if len(members) > MOST_FILES:
        raise DataError(f"The archive holds {len(members):,} files; at most {MOST_FILES:,} are unpacked.")
    total = sum(member.file_size for member in members)
    if total > MOST_BYTES:
        raise DataError(f"The archive unpacks to {file_size(total)}; at most {file_size(MOST_BYTES)} is.")
    free = shutil.disk_usage(target.parent).free
    if total * 2 > free:
        raise DataError(f"The archive needs {file_size(2 * total)} of free disk space; {file_size(free)} is left.")
    _check_ratio("The archive's files are", *members, ratio=ratio)
    places: set[str] = set()
    for member in members:
        _check_member(member, ratio)
        place = str(PurePosixPath(_name_of(member))).lower()
        if place in places:
            raise DataError(f"The archive holds the file {member.filename!r} twice.")
        places.add(place)


def _check_member(member: zipfile.ZipInfo, ratio: int = LARGEST_RATIO) -> None:
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
    _check_ratio(f"The archive's file {name!r} is", member, ratio=ratio)


def _check_ratio(what: str, *members: zipfile.ZipInfo, ratio: int) -> None:
    unpacked, packed = sum(one.file_size for one in members), sum(one.compress_size for one in members)
    if unpacked > 2**20 and unpacked > ratio * max(packed, 1):
        raise DataError(f"{what} packed more than {ratio} to 1.")
