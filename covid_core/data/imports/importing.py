"""Make a data set from a folder, an archive, Kaggle or the phantom. Nothing is published before it is whole.

Every file is read once: decoded, hashed and shrunk by the same thread while its bytes are at hand. PNG and JPEG files
are taken as they are; TIFF and DICOM files become PNG files of the data set (``conversion``).
"""

import contextlib
import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from covid_core import files
from covid_core.data import duplicates
from covid_core.data.dataset import MANIFEST_COLUMNS, Dataset, list_datasets, open_dataset
from covid_core.data.imports import metadata
from covid_core.data.imports.archives import LARGEST_READ, content_in, encodings_of, extract, names_in
from covid_core.data.imports.conversion import Converter
from covid_core.data.imports.layouts import (
    EVERYTHING,
    Candidate,
    Layout,
    as_text,
    called,
    names_below,
    opening,
    understood,
)
from covid_core.data.pixels import SUMMARY_SIZE, pixels_path
from covid_core.errors import DataError, ImageError, NoRoom, cause
from covid_core.formatting import file_size
from covid_core.images.codec import GreyImage, content_of, png_bytes, to_squares
from covid_core.specs import LayoutSpec
from covid_core.synthetic import phantom
from covid_core.work import Progress, blocks, cores, ordered_map, part_of, silent
from covid_core.workspace import Workspace, new_id

KAGGLE_DATASET = "tawsifurrahman/covid19-radiography-database"
KAGGLE_BYTES = 780_000_000  # size of the archive as Kaggle states it; only for the share shown while it loads
LEFTOVER_AGE = 24 * 3600  # seconds
READING, LINKING = 0.9, 0.98  # share of the work of an import that is done when images are read, and groups found
TOGETHER = 16  # files that a thread examines in one go, for fewer hand-overs between threads
TOGETHER_CONVERTED = 4  # of those that take long, so that a stop does not wait
ROWS_TOGETHER = 4096  # of the manifest, until they become a table: as Python's own texts they take five times as much
SHRUNK_TOGETHER = 2**20  # pixels, 16 images of 256 px: threads wait for each other less in a few long calls


@dataclass(frozen=True, slots=True)
class _Read:
    """What reading one file told: the image, its bytes' hash and what is stored of it, or why it is left out."""

    candidate: Candidate
    image: GreyImage | None
    sha256: str = ""
    reason: str = ""
    stored: Candidate | None = None  # where it is another: the path of what was made of it, and facts of its header


def sweep(workspace: Workspace) -> None:
    """Remove what killed imports and trainings of segmenters left behind: archives, drawn images, half-written files.

    Only what nothing has touched for a day goes; a running import touches its folder all the time.
    """
    oldest = time.time() - LEFTOVER_AGE
    hidden = (folder.glob(".*") for folder in (workspace.datasets, workspace.segmenters, workspace.pixels))
    for path in chain(workspace.uploads.glob("*"), *hidden):
        if path.stat().st_mtime < oldest:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def import_folder(
    workspace: Workspace,
    root: Path,
    name: str = "",
    spec: LayoutSpec = EVERYTHING,
    progress: Progress = silent,
    copy_from_here: bool = False,
) -> Dataset:
    """Make a data set of the images below ``root``, one folder per class at any depth; they are not copied.

    ``spec`` says what the names do not; the data set's name is the folder's by default. ``copy_from_here``: the folder
    may disappear (an archive's staging folder): have its images in the data set.

    Raises:
        DataError: no folder, no class of that name, or no image that can be read.
        Stopped: raised by ``progress``; nothing is left behind then.
    """
    layout = proposal(root, spec)
    candidates = layout.with_sources(root)
    where = None if copy_from_here else str(root.resolve())
    information = {"kind": "folder", "name": name or layout.wrapping or root.name, "origin": str(root), "root": where}
    information |= {"patients": layout.patients, "anew": layout.anew}
    return _publish(workspace, root, candidates, information, progress, layout.left_out)


def proposal(source: Path, spec: LayoutSpec = EVERYTHING) -> Layout:
    """What the import of a folder or zip archive would take, from names alone. Raises DataError."""
    names, content, root = files_of(source, spec.encoding)
    encoding = spec.encoding or next(iter(encodings_of(source) if source.is_file() else ()), "")
    return replace(proposed(names, root, spec, content), encoding=encoding)


def files_of(source: Path, encoding: str = "") -> tuple[list[str], Callable[[str], bytes], str]:
    """Names of the files of a folder or zip archive, what gives their content, and its name. Raises DataError."""
    with opening(source):
        is_archive = source.is_file()
    if is_archive:
        return names_in(source, encoding), lambda name: content_in(source, name, encoding), source.name
    return names_below(source), lambda name: _content(source / name), called(source)


def proposed(names: Sequence[str], root: str, spec: LayoutSpec, content: Callable[[str], bytes]) -> Layout:
    """What the import of files would take; ``content`` gives that of a table among them. Raises DataError."""
    if spec.tables:
        table = metadata.read(spec.tables, lambda name: content(name) if name in names else _content(Path(name)))
        return metadata.labelled(names, table, metadata.columns_of(table, spec.columns), root, spec)
    return understood(names, root, spec)


def _content(path: Path) -> bytes:
    with opening(path):
        if path.stat().st_size > LARGEST_READ:
            raise DataError(f"{path.name} is larger than {file_size(LARGEST_READ)}.")
        return path.read_bytes()


def import_path(
    workspace: Workspace,
    source: Path,
    name: str = "",
    spec: LayoutSpec = EVERYTHING,
    progress: Progress = silent,
) -> Dataset:
    """Import a folder, or a zip archive, which is unpacked into the workspace.

    An unsafe archive is refused before anything is written. Raises DataError; Stopped as ``import_folder``.
    """
    with unpacked(workspace, source, spec.encoding, progress) as (root, rest):
        is_archive = root != source
        return import_folder(workspace, root, name or (source.stem if is_archive else ""), spec, rest, is_archive)


def reused(workspace: Workspace, made: Dataset) -> Dataset:
    """An earlier data set of the same name, folder, images and facts in place of one just imported, which is removed
    then; its caches stay, for they are those of the earlier one too."""
    same = made.info["root"], made.version, made.facts_key
    for info in list_datasets(workspace):
        if info["id"] == made.id or info.get("damaged") or info["name"] != made.name:
            continue
        with contextlib.suppress(DataError):  # a damaged one cannot serve
            earlier = open_dataset(workspace, info["id"])
            if (earlier.info["root"], earlier.version, earlier.facts_key) == same:
                files.remove_folder(made.folder)
                return earlier
    return made


@contextlib.contextmanager
def unpacked(workspace: Workspace, source: Path, encoding: str, progress: Progress) -> Iterator[tuple[Path, Progress]]:
    """A folder as it is, or the one that a zip archive, whose names may have an ``encoding``, lies unpacked in for a
    block; and the progress that is left.

    Raises DataError as ``import_path``.
    """
    with opening(source):
        is_archive = source.is_file()
    if not is_archive:
        yield source, progress
        return
    staging = workspace.uploads / new_id("unpacked")
    try:
        extract(source, staging, encoding, part_of(progress, 0, 0.3))
        yield staging, part_of(progress, 0.3, 1)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def import_phantom(
    workspace: Workspace,
    images: int = 600,
    seed: int = 0,
    plant: tuple[str, ...] = (),
    name: str = "",
    progress: Progress = silent,
) -> Dataset:
    """Draw synthetic images, write them as PNG files, and import them. See ``synthetic.phantom``."""
    return import_drawn(
        workspace,
        images,
        lambda index: phantom.image_at(index, images, seed, plant),
        name or (f"Phantom images, {', '.join(plant)}" if plant else "Phantom images"),
        f"phantom, {images} images, seed {seed}" + (f", planted: {', '.join(plant)}" if plant else ""),
        progress,
    )


def import_drawn(
    workspace: Workspace,
    images: int,
    image_at: Callable[[int], phantom.PhantomImage],
    name: str,
    origin: str,
    progress: Progress = silent,
) -> Dataset:
    """Write synthetic images as PNG files, and import them; ``origin`` tells how they can be drawn again.

    ``image_at`` draws the image of an index from 0, whatever was drawn before; it is called by several threads at once.
    No two images of a label may have the same name.
    """
    staging = workspace.uploads / new_id("phantom")
    drawing = part_of(progress, 0, 0.7)
    try:
        staging.mkdir()
        candidates = []
        with ThreadPoolExecutor(cores()) as pool:
            written = ordered_map(pool, lambda index: _write_phantom(staging, image_at(index)), range(images))
            for done, candidate in enumerate(written, start=1):
                candidates.append(candidate)
                if done % 20 == 0:
                    drawing(done / images, f"Drawing synthetic images: {done:,} of {images:,}")
        information = {"kind": "phantom", "name": name, "origin": origin, "root": None}
        return _publish(workspace, staging, candidates, information, part_of(progress, 0.7, 1))
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def import_kaggle(
    workspace: Workspace, name: str = "", spec: LayoutSpec = EVERYTHING, progress: Progress = silent
) -> Dataset:
    """Download the COVID-19 Radiography Database by kagglehub (public, no account needed) and import it."""
    import kagglehub

    from covid_core.data.imports.downloads import watched

    try:
        with watched(part_of(progress, 0, 0.6), KAGGLE_BYTES, Path(kagglehub.config.get_cache_folder())):
            folder = Path(kagglehub.dataset_download(KAGGLE_DATASET))
    except (OSError, ValueError) as error:
        raise DataError(
            "Kaggle cannot be reached from here. Download the archive of "
            f"kaggle.com/datasets/{KAGGLE_DATASET} with a browser and import the zip file by its path."
        ) from error
    return import_folder(workspace, folder, name or KAGGLE_DATASET.split("/")[1], spec, part_of(progress, 0.6, 1))


def _write_phantom(folder: Path, image: phantom.PhantomImage) -> Candidate:
    path = f"{image.label}/images/{image.name}.png"
    mask_path = f"{image.label}/masks/{image.name}.png"
    for relative, pixels in ((path, image.pixels), (mask_path, image.lung_mask)):
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        (folder / relative).write_bytes(png_bytes(pixels))
    return Candidate(path, image.label, image.source, mask_path)


def _publish(
    workspace: Workspace,
    root: Path,
    candidates: list[Candidate],
    information: dict[str, Any],
    progress: Progress,
    ignored: Iterable[tuple[str, str]] = (),
) -> Dataset:
    """Decode every candidate once, keep its pixels for the overview, find the images that belong together, and publish
    manifest and report together. The files are linked into it where ``information`` has no root."""
    made = workspace.uploads / new_id("made")
    with temporary_pixels(workspace) as pixels, contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, made, ignore_errors=True)
        begin = time.perf_counter()
        images, unread = read_all(workspace, root, candidates, made, pixels, part_of(progress, 0, READING))
        left_out = [*ignored, *unread]
        if images.empty:
            raise DataError(f"None of the {len(candidates)} files can be read. The first: {left_out[0][1]}")
        read = time.perf_counter()
        alike = duplicates.pairs(mapped(pixels), progress=part_of(progress, READING, LINKING))
        seconds = {"images": round(read - begin, 3), "groups": round(time.perf_counter() - read, 3)}
        info = {**information, "left_out": left_out, "seconds": seconds}
        if made.exists():  # some files had to be converted, so that the others join them
            info["root"] = None

        rest = part_of(progress, LINKING, 1)

        def fill(staging: Path) -> None:
            if made.exists():
                shutil.move(made, staging / "files")
            if info["root"] is None:
                link(root, info["name"], images, staging / "files", rest)
            rest(1, "Writing the list of images")

        return publish(workspace, images, info, fill, pixels, alike)


@contextlib.contextmanager
def temporary_pixels(workspace: Workspace) -> Iterator[Path]:
    """A path for pixels that are not of a data set yet; what lies there at the end of the block goes."""
    path = workspace.pixels / f".{new_id('import')}.tmp"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def mapped(pixels: Path) -> np.ndarray:
    """Squares of SUMMARY_SIZE pixels as their file holds them. Windows renames no file that is mapped."""
    return np.memmap(pixels, np.uint8, "r").reshape(-1, SUMMARY_SIZE, SUMMARY_SIZE)


def publish(
    workspace: Workspace,
    images: pd.DataFrame,
    information: dict[str, Any],
    fill: Callable[[Path], object],
    pixels: Path,
    alike: pd.DataFrame,
) -> Dataset:
    """Publish manifest, report and what ``fill`` puts beside them, whole; then pixels and groups of the images.

    ``information`` is that of import.json but for time and counts; ``alike`` are pairs of rows of ``images``.
    """
    counts = images["label"].value_counts().sort_index()
    info = {**information, "created": time.time(), "counts": {label: int(n) for label, n in counts.items()}}
    identifier = new_id(info["name"])
    with files.published_folder(workspace.datasets / identifier) as staging:
        images.to_parquet(staging / "manifest.parquet", index=False)
        files.write_json(staging / "import.json", info)
        fill(staging)
    dataset = open_dataset(workspace, identifier)
    store_derived(workspace, dataset, pixels, alike)
    return dataset


def store_derived(workspace: Workspace, dataset: Dataset, pixels: Path, alike: pd.DataFrame) -> None:
    """Store what was made of a data set's images as imported: their pixels, and the groups of those in use."""
    files.move(pixels, pixels_path(workspace, dataset.imported.pixels_key, SUMMARY_SIZE))
    in_use = dataset.imported.images["image_id"].isin(dataset.images["image_id"]).to_numpy()
    with contextlib.suppress(NoRoom):  # they are found again when they are asked for
        together = duplicates.groups(dataset.images, duplicates.renumbered(alike, in_use))
        duplicates.store_groups(workspace, dataset, together)


def link(root: Path, name: str, images: pd.DataFrame, folder: Path, progress: Progress) -> None:
    """Have the files of some images, and their masks, in a folder too, by the paths that they have; those that lie
    there already stay. Raises DataError."""
    paths = dict.fromkeys(path for column in ("path", "mask_path") for path in images[column] if path)
    for done, path in enumerate(paths):
        if done % 100 == 0:
            progress(done / len(paths), f"Linking files of {name}: {done:,} of {len(paths):,}")
        try:
            if not (folder / path).exists():
                files.link_or_copy(root / path, folder / path)
        except OSError as error:
            raise DataError(f"{path} of {name} cannot be linked or copied: {cause(error)}.") from error


def read_all(
    workspace: Workspace, root: Path, candidates: list[Candidate], made: Path, pixels: Path, progress: Progress
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """The manifest's table, and what was left out with the reason. Pixels are added to the file ``pixels``."""
    tables, rows, left_out, done = [], [], [], 0
    with (
        contextlib.closing(Converter(workspace, root, made, candidates)) as converter,
        open(pixels, "ab") as handle,
        ThreadPoolExecutor(cores()) as pool,
    ):
        parts = blocks(candidates, TOGETHER_CONVERTED if converter.is_expected else TOGETHER)
        examined = ordered_map(pool, lambda part: _examine(converter, part), parts, ahead=4 * cores())
        with contextlib.closing(examined):
            for part_rows, squares, part_left_out in examined:
                rows += part_rows
                left_out += part_left_out
                handle.write(squares)
                if len(rows) >= ROWS_TOGETHER:
                    tables.append(pd.DataFrame(rows, columns=list(MANIFEST_COLUMNS)))
                    rows = []
                done += len(part_rows) + len(part_left_out)
                progress(done / len(candidates), f"Reading images: {done:,} of {len(candidates):,}")
    images = pd.concat([*tables, pd.DataFrame(rows, columns=list(MANIFEST_COLUMNS))], ignore_index=True)
    if images["patient_id"].nunique() == 1 and images["label"].nunique() > 1:
        images["patient_id"] = ""  # one ID on every image is a stand-in, and no patient
    return images, left_out


def _examine(
    converter: Converter, candidates: list[Candidate]
) -> tuple[list[tuple[Any, ...]], bytes, list[tuple[str, str]]]:
    """Read, hash and shrink some files; images of one shape that follow each other are shrunk in one go.

    Returns rows of the manifest, the pixels of these images, and what was left out with the reason.
    """
    rows, squares, left_out = [], [], []
    read = (_read(converter, candidate) for candidate in candidates)
    for shape, alike in groupby(read, key=lambda one: one.image and one.image.pixels.shape):
        if shape is None:
            left_out += [(as_text(read.candidate.path), read.reason) for read in alike]
            continue
        at_once = max(1, SHRUNK_TOGETHER // (shape[0] * shape[1]))
        while batch := list(islice(alike, at_once)):
            rows += [_row(read) for read in batch]
            squares.append(to_squares([read.image.pixels for read in batch], SUMMARY_SIZE).tobytes())
    return rows, b"".join(squares), left_out


def _read(converter: Converter, candidate: Candidate) -> _Read:
    if as_text(candidate.path) != candidate.path:
        return _Read(candidate, None, reason="Its name is not valid text (UTF-8); rename the file.")
    try:
        content = content_of(f"{converter.root}/{candidate.path}")
        image, content, stored = converter.converted(candidate, content)
        return _Read(candidate, image, hashlib.sha256(content).hexdigest(), stored=stored)
    except ImageError as error:
        return _Read(candidate, None, reason=str(error))


def _row(read: _Read) -> tuple[Any, ...]:
    """One row of the manifest, in the order of MANIFEST_COLUMNS."""
    candidate, image = read.stored or read.candidate, read.image
    height, width = image.pixels.shape
    return (
        read.candidate.image_id,
        candidate.path,
        candidate.label,
        candidate.source,
        candidate.patient,
        width,
        height,
        image.mode,
        read.sha256,
        candidate.mask_path,
        candidate.part,
        candidate.sex,
        candidate.age,
        candidate.view,
        candidate.device,
        candidate.spacing,
        candidate.reading,
        "",  # the batch of later images
    )
