"""Make a data set from a folder, an archive, Kaggle or the phantom. Nothing is published before it is whole.

Two layouts are understood, class by class: ``CLASS/images/*.png`` with ``CLASS/masks`` and ``CLASS.metadata.xlsx`` (the
COVID-19 Radiography Database), and ``CLASS/*.png``.
"""

import contextlib
import hashlib
import os
import shutil
import time
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, BinaryIO

import pandas as pd

from covid_core import files
from covid_core.data import phantom
from covid_core.data.dataset import MANIFEST_COLUMNS, Dataset, open_dataset
from covid_core.data.images import SUFFIXES, content_of, difference_hash, png_bytes, read_film, to_square
from covid_core.data.pixels import pixels_path
from covid_core.errors import DataError, ImageError
from covid_core.formatting import file_size
from covid_core.work import Progress, cores, ordered_map, part_of, silent
from covid_core.workspace import Workspace, new_id

KAGGLE_DATASET = "tawsifurrahman/covid19-radiography-database"
KAGGLE_BYTES = 780_000_000  # size of the archive as Kaggle states it; only for the share shown while it loads
OFF_BY_DEFAULT = frozenset({"Lung_Opacity"})  # a fourth class of the database that the course study left out
LEFTOVER_AGE = 24 * 3600  # seconds
SUMMARY_SIZE = 128  # pixels; decoded at import, for the overview and the course study alike

ARCHIVE_MOST_FILES = 200_000
ARCHIVE_MOST_BYTES = 20 * 10**9
ARCHIVE_LARGEST_RATIO = 200  # packed images hardly shrink; a higher ratio over 1 MB is a bomb
ARCHIVE_CHUNK = 2**20


@dataclass(frozen=True)
class Candidate:
    """A file that may become a film. ``mask_path`` and ``path`` are relative to the root, as POSIX text."""

    path: str
    label: str
    source: str = ""
    mask_path: str = ""


@dataclass(frozen=True)
class _Examined:
    """What decoding one file told: a row of the manifest and its pixels, or the reason why not."""

    candidate: Candidate
    row: dict[str, Any] | None
    square: bytes
    reason: str = ""


def survey(root: Path) -> dict[str, int]:
    """Image files per class below ``root``, in either layout. Raises DataError when there are none."""
    with _opening(root):
        return {label: len(found) for label, found in _class_files(_data_root(root)).items()}


def survey_archive(archive: Path | BinaryIO) -> dict[str, int]:
    """Image files per class in a zip archive, from its list of names alone. Raises DataError when there are none."""
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [PurePosixPath(member.filename) for member in opened.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise DataError(f"The archive cannot be read: {error}.") from error
    labels = Counter(
        _class_in_archive(name) for name in names if name.suffix.lower() in SUFFIXES and not _is_hidden(name)
    )
    found = {label: labels[label] for label in sorted(labels) if label}
    if not found:
        raise DataError("The archive holds no class folders with PNG or JPEG films.")
    return found


def _class_in_archive(name: PurePosixPath) -> str:
    """The class folder of an image in an archive; nothing for masks and for files outside of any folder."""
    folders = name.parts[:-1]
    if not folders or folders[-1] == "masks" or folders[0] == "__MACOSX":
        return ""
    return folders[-1] if folders[-1] != "images" else (folders[-2] if len(folders) > 1 else "")


def sweep(workspace: Workspace) -> None:
    """Remove what imports that were killed left behind: unpacked archives, drawn films, half-written pixels.

    Only what nothing has touched for a day goes; a running import touches its folder all the time.
    """
    oldest = time.time() - LEFTOVER_AGE
    leftovers = [
        *workspace.uploads.iterdir(),
        *(path for folder in (workspace.datasets, workspace.pixels) for path in folder.glob(".*")),
    ]
    for path in leftovers:
        if path.stat().st_mtime < oldest:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def import_folder(
    workspace: Workspace,
    root: Path,
    name: str = "",
    classes: Iterable[str] | None = None,
    progress: Progress = silent,
    copy_from_here: bool = False,
) -> Dataset:
    """Make a data set of the films below ``root``; they are referred to, not copied.

    Args:
        workspace: where the data set is published.
        root: folder with one folder per class.
        name: shown to the user; the folder's name by default.
        classes: class folders to keep; all but ``Lung_Opacity`` by default.
        progress: told the share done.
        copy_from_here: the folder may disappear (an archive's staging folder): move it into the data set.

    Raises:
        DataError: no folder, no class of that name, or no film that can be read.
        Stopped: raised by ``progress``; nothing is left behind then.
    """
    with _opening(root):
        data_root = _data_root(root)
        candidates = find_films(data_root, classes)
        ignored = not_films(data_root, {candidate.label: None for candidate in candidates})
    where = None if copy_from_here else str(data_root.resolve())
    information = {"kind": "folder", "name": name or data_root.name, "origin": str(root), "root": where}
    move = data_root if copy_from_here else None
    return _publish(workspace, data_root, candidates, information, progress, move, ignored)


def import_archive(
    workspace: Workspace,
    archive: Path,
    name: str = "",
    classes: Iterable[str] | None = None,
    progress: Progress = silent,
) -> Dataset:
    """Unpack a zip file into the workspace and import it. Refused before anything is written when it is unsafe."""
    staging = workspace.uploads / new_id("unpacked")
    try:
        extract(archive, staging, part_of(progress, 0, 0.3))
        return import_folder(workspace, staging, name or archive.stem, classes, part_of(progress, 0.3, 1), True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def import_path(
    workspace: Workspace,
    source: Path,
    name: str = "",
    classes: Iterable[str] | None = None,
    progress: Progress = silent,
) -> Dataset:
    """Import a folder, or a zip archive, whichever ``source`` is."""
    with _opening(source):
        is_archive = source.is_file()
    if is_archive:
        return import_archive(workspace, source, name, classes, progress)
    return import_folder(workspace, source, name, classes, progress)


def import_phantom(
    workspace: Workspace,
    images: int = 600,
    seed: int = 0,
    plant: tuple[str, ...] = (),
    name: str = "",
    progress: Progress = silent,
) -> Dataset:
    """Draw synthetic films, write them as PNG files, and import them. See ``data.phantom``."""
    staging = workspace.uploads / new_id("phantom")
    drawing = part_of(progress, 0, 0.7)
    try:
        staging.mkdir()
        candidates = []
        with ThreadPoolExecutor(cores()) as pool:
            written = ordered_map(pool, lambda i: _write_phantom(staging, i, images, seed, plant), range(images))
            for done, candidate in enumerate(written, start=1):
                candidates.append(candidate)
                if done % 20 == 0:
                    drawing(done / images, f"Drawing synthetic films: {done:,} of {images:,}")
        information = {
            "kind": "phantom",
            "name": name or (f"Phantom films, {', '.join(plant)}" if plant else "Phantom films"),
            "origin": f"phantom, {images} films, seed {seed}" + (f", planted: {', '.join(plant)}" if plant else ""),
            "root": None,
        }
        return _publish(workspace, staging, candidates, information, part_of(progress, 0.7, 1), move=staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def find_films(root: Path, classes: Iterable[str] | None = None) -> list[Candidate]:
    """Image files of the wanted classes, sorted by class and number, with source and mask where they are known.

    Raises DataError when a wanted class does not exist.
    """
    by_class = _class_files(root)
    wanted = [c for c in by_class if c not in OFF_BY_DEFAULT] if classes is None else list(classes)
    missing = [label for label in wanted if label not in by_class]
    if missing or not wanted:
        raise DataError(f"There is no class {', '.join(missing) or '(none)'} in {root}; found: {', '.join(by_class)}.")
    candidates = []
    for label in wanted:
        sources = _sources_of(root / f"{label}.metadata.xlsx")
        masks = root / label / "masks"
        for path in by_class[label]:
            mask = masks / path.name
            candidates.append(
                Candidate(
                    path=path.relative_to(root).as_posix(),
                    label=label,
                    source=sources.get(path.stem.lower(), ""),
                    mask_path=mask.relative_to(root).as_posix() if mask.is_file() else "",
                )
            )
    return candidates


def extract(archive: Path, target: Path, progress: Progress = silent) -> None:
    """Unpack a zip archive into the new folder ``target``.

    Checked before anything is written: names that leave the folder, links, encryption, duplicates, number, size and
    packing ratio. Raises DataError naming the member; ``target`` is then gone.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
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
                    written += _copy_at_most(packed, handle, member.file_size, member.filename)
                progress(written / max(total, 1), f"Unpacking: {file_size(written)} of {file_size(total)}")
    except (zipfile.BadZipFile, RuntimeError, OSError, NotImplementedError, EOFError, ValueError) as error:
        shutil.rmtree(target, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error  # the text of an OSError names folders of this machine
        raise DataError(f"The archive {archive.name} cannot be unpacked: {reason}.") from error
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def import_kaggle(
    workspace: Workspace, name: str = "", classes: Iterable[str] | None = None, progress: Progress = silent
) -> Dataset:
    """Download the COVID-19 Radiography Database by kagglehub (public, no account needed) and import it."""
    import kagglehub

    from covid_core.data.downloads import watched

    try:
        with watched(part_of(progress, 0, 0.6), KAGGLE_BYTES, Path(kagglehub.config.get_cache_folder())):
            folder = Path(kagglehub.dataset_download(KAGGLE_DATASET))
    except (OSError, ValueError) as error:
        raise DataError(
            "Kaggle cannot be reached from here. Download the archive of "
            f"kaggle.com/datasets/{KAGGLE_DATASET} with a browser and import the zip file by its path."
        ) from error
    return import_folder(workspace, folder, name or KAGGLE_DATASET.split("/")[1], classes, part_of(progress, 0.6, 1))


@contextlib.contextmanager
def _opening(root: Path) -> Iterator[None]:
    """Tell what the system refuses: no permission, a name that is too long, a drive that is gone."""
    try:
        yield
    except OSError as error:
        raise DataError(f"The folder {root} cannot be opened: {error.strerror}.") from error


def _data_root(root: Path) -> Path:
    """The folder that holds the class folders: ``root``, or what its only folders wrap, as archives do."""
    if not root.is_dir():
        raise DataError(f"There is no folder {root}.")
    current = root
    for _ in range(4):
        if _class_files(current, required=False):
            return current
        folders = [entry for entry in sorted(current.iterdir()) if entry.is_dir() and not _is_hidden(entry)]
        if len(folders) != 1:
            break
        current = folders[0]
    raise DataError(
        f"No class folders with PNG or JPEG films in {root}. Expected CLASS/images/*.png or CLASS/*.png, "
        "one folder per class."
    )


def _class_files(root: Path, required: bool = True) -> dict[str, list[Path]]:
    """Image files per class folder, naturally sorted; classes without any are left out."""
    found = {}
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir() and not _is_hidden(entry)):
        images = folder / "images"
        paths = _images_in(images if images.is_dir() else folder)
        if paths:
            found[folder.name] = paths
    if required and not found:
        raise DataError(f"No class folders with PNG or JPEG films in {root}.")
    return found


def _images_in(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        paths = [
            Path(e.path) for e in entries if Path(e.name).suffix.lower() in SUFFIXES and not e.name.startswith(".")
        ]
    return sorted(paths, key=_natural)


def not_films(root: Path, classes: Iterable[str]) -> list[tuple[str, str]]:
    """What lies in the image folders and is no PNG or JPEG file: (path from ``root``, reason)."""
    found = []
    for label in classes:
        images = root / label / "images"
        folder = images if images.is_dir() else root / label
        for entry in sorted(folder.iterdir()):
            if entry.suffix.lower() in SUFFIXES:
                continue  # a candidate, whatever it is: reading it says more
            if entry.is_dir() and entry.name not in ("images", "masks"):
                found.append((_as_text(entry.relative_to(root).as_posix()), "A folder inside a class is not read."))
            elif entry.is_file() and not _is_hidden(entry):
                found.append((_as_text(entry.relative_to(root).as_posix()), "Not a PNG or JPEG file."))
    return found


def _natural(path: Path) -> tuple[int, str]:
    """COVID-9 before COVID-10: shorter stems first, then by letter."""
    return len(path.stem), path.stem


def _is_hidden(path: PurePath) -> bool:
    return path.name.startswith(".") or path.name == "__MACOSX"


def _sources_of(table: Path) -> dict[str, str]:
    """Film name (without suffix, lower case) to its URL, from the database's metadata table; empty without one."""
    if not table.is_file():
        return {}
    try:
        rows = pd.read_excel(table, dtype=str).fillna("")
        rows.columns = [str(column).strip().upper() for column in rows.columns]
        names = rows["FILE NAME"].str.removesuffix(".png").str.strip().str.lower()
        return dict(zip(names, rows["URL"].str.strip(), strict=True))
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{table.name} is not a table with the columns FILE NAME and URL: {error}.") from error


def _write_phantom(folder: Path, index: int, images: int, seed: int, plant: tuple[str, ...]) -> Candidate:
    film = phantom.film_at(index, images, seed, plant)
    path = f"{film.label}/images/{film.name}.png"
    mask_path = f"{film.label}/masks/{film.name}.png"
    for relative, pixels in ((path, film.pixels), (mask_path, film.lung_mask)):
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        (folder / relative).write_bytes(png_bytes(pixels))
    return Candidate(path, film.label, film.source, mask_path)


def _publish(
    workspace: Workspace,
    root: Path,
    candidates: list[Candidate],
    information: dict[str, Any],
    progress: Progress,
    move: Path | None = None,
    ignored: Iterable[tuple[str, str]] = (),
) -> Dataset:
    """Decode every candidate once, keep its pixels for the overview, and publish manifest and report together."""
    identifier = new_id(information["name"])
    folder = workspace.datasets / identifier
    rows: list[dict[str, Any]] = []
    left_out: list[tuple[str, str]] = list(ignored)
    pixels = workspace.pixels / f".{identifier}.tmp"
    try:
        with open(pixels, "wb") as handle, ThreadPoolExecutor(cores()) as pool:
            examined = ordered_map(pool, lambda candidate: _examine(root, candidate), candidates)
            for done, result in enumerate(examined, start=1):
                if result.row is None:
                    left_out.append((_as_text(result.candidate.path), result.reason))
                else:
                    rows.append(result.row)
                    handle.write(result.square)
                if done % 50 == 0:
                    progress(done / len(candidates), f"Reading films: {done:,} of {len(candidates):,}")
        if not rows:
            raise DataError(f"None of the {len(candidates)} files can be read. The first: {left_out[0][1]}")
        films = pd.DataFrame(rows, columns=list(MANIFEST_COLUMNS))
        counts = films["label"].value_counts().sort_index()
        info = {
            **information,
            "created": time.time(),
            "counts": {label: int(n) for label, n in counts.items()},
            "left_out": left_out,
        }
        with files.published_folder(folder) as staging:
            films.to_parquet(staging / "manifest.parquet", index=False)
            files.write_json(staging / "import.json", info)
            if move is not None:
                shutil.move(move, staging / "files")
        dataset = open_dataset(workspace, identifier)
        os.replace(pixels, pixels_path(workspace, dataset.pixels_key, SUMMARY_SIZE))
        return dataset
    finally:
        pixels.unlink(missing_ok=True)


def _examine(root: Path, candidate: Candidate) -> _Examined:
    path = root / candidate.path
    if not _is_text(candidate.path):
        return _Examined(candidate, None, b"", "Its name is not valid text (UTF-8); rename the file.")
    try:
        content = content_of(path)
        film = read_film(content)
    except ImageError as error:
        return _Examined(candidate, None, b"", str(error))
    height, width = film.pixels.shape
    row = {
        "image_id": f"{candidate.label}/{path.name}",
        "path": candidate.path,
        "label": candidate.label,
        "source": candidate.source,
        "patient_id": "",
        "width": width,
        "height": height,
        "mode": film.mode,
        "sha256": hashlib.sha256(content).hexdigest(),
        "dhash": difference_hash(film.pixels),
        "mask_path": candidate.mask_path,
    }
    return _Examined(candidate, row, to_square(film.pixels, SUMMARY_SIZE).tobytes())


def _is_text(path: str) -> bool:
    """Whether a path can be written to a table; Linux allows names that no encoding explains."""
    return path == _as_text(path)


def _as_text(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()


def _check_members(members: list[zipfile.ZipInfo], target: Path) -> None:
    if len(members) > ARCHIVE_MOST_FILES:
        raise DataError(f"The archive holds {len(members):,} files; at most {ARCHIVE_MOST_FILES:,} are unpacked.")
    total = sum(member.file_size for member in members)
    if total > ARCHIVE_MOST_BYTES:
        raise DataError(f"The archive unpacks to {file_size(total)}; at most {file_size(ARCHIVE_MOST_BYTES)} is.")
    free = shutil.disk_usage(target.parent).free
    if total * 2 > free:
        raise DataError(f"The archive needs {file_size(2 * total)} of free disk space; {file_size(free)} is left.")
    seen: set[str] = set()
    for member in members:
        _check_member(member)
        if member.filename.lower() in seen:
            raise DataError(f"The archive holds the file {member.filename!r} twice.")
        seen.add(member.filename.lower())


def _check_member(member: zipfile.ZipInfo) -> None:
    # orig_filename, since zipfile itself cuts names at a NUL and turns backslashes round on Windows
    name = member.orig_filename
    parts = PurePosixPath(name).parts
    kind = member.external_attr >> 28
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or (parts and parts[0].endswith(":")):
        raise DataError(f"The archive holds a file that would leave its folder: {name!r}. Nothing was unpacked.")
    if kind not in (0, 8):
        raise DataError(f"The archive holds a link or device: {name!r}. Nothing was unpacked.")
    if member.flag_bits & 1:
        raise DataError("The archive is protected by a password.")
    if member.file_size > 2**20 and member.file_size > ARCHIVE_LARGEST_RATIO * max(member.compress_size, 1):
        raise DataError(f"The archive's file {name!r} is packed more than {ARCHIVE_LARGEST_RATIO} to 1.")


def _copy_at_most(packed: Any, handle: BinaryIO, size: int, name: str) -> int:
    """Copy a member, but never more than it declared."""
    copied = 0
    while chunk := packed.read(ARCHIVE_CHUNK):
        copied += len(chunk)
        if copied > size:
            raise DataError(f"The archive's file {name!r} is larger than it says.")
        handle.write(chunk)
    return copied
