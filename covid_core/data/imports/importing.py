"""Make a data set from a folder, an archive, Kaggle or the phantom. Nothing is published before it is whole.

Every file is read once: decoded, hashed and shrunk by the same thread while its bytes are at hand. PNG and JPEG files
are taken as they are; TIFF and DICOM files become PNG files of the data set (``conversion``).
"""

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from covid_core import files
from covid_core.data import duplicates
from covid_core.data.dataset import MANIFEST_COLUMNS, Dataset, open_dataset
from covid_core.data.imports import metadata
from covid_core.data.imports.archives import content_in, extract, names_in
from covid_core.data.imports.conversion import Converter
from covid_core.data.imports.layouts import EVERYTHING, Candidate, Layout, as_text, names_below, opening, understood
from covid_core.data.pixels import SUMMARY_SIZE, pixels_path
from covid_core.errors import DataError, ImageError, NoRoom
from covid_core.images.codec import GreyImage, content_of, png_bytes, to_squares
from covid_core.specs import LayoutSpec
from covid_core.synthetic import phantom
from covid_core.work import Progress, blocks, cores, ordered_map, part_of, silent
from covid_core.workspace import Workspace, new_id

KAGGLE_DATASET = "tawsifurrahman/covid19-radiography-database"
KAGGLE_BYTES = 780_000_000  # size of the archive as Kaggle states it; only for the share shown while it loads
LEFTOVER_AGE = 24 * 3600  # seconds
READING = 0.9  # share of the work of an import; the rest is looking for images that belong together
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
    for path in chain(workspace.uploads.iterdir(), *hidden):
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
    may disappear (an archive's staging folder): move it into the data set.

    Raises:
        DataError: no folder, no class of that name, or no image that can be read.
        Stopped: raised by ``progress``; nothing is left behind then.
    """
    layout = proposal(root, spec)
    candidates = layout.with_sources(root)
    where = None if copy_from_here else str(root.resolve())
    information = {"kind": "folder", "name": name or layout.wrapping or root.name, "origin": str(root), "root": where}
    information |= {"patients": layout.patients, "anew": layout.anew}
    return _publish(workspace, root, candidates, information, progress, copy_from_here, layout.left_out)


def proposal(source: Path, spec: LayoutSpec = EVERYTHING) -> Layout:
    """What the import of a folder or zip archive would take, from names alone. Raises DataError."""
    names, content, root = files_of(source)
    return proposed(names, root, spec, content)


def files_of(source: Path) -> tuple[list[str], Callable[[str], bytes], str]:
    """Names of the files of a folder or zip archive, what gives their content, and its path. Raises DataError."""
    with opening(source):
        is_archive = source.is_file()
    if is_archive:
        return names_in(source), lambda name: content_in(source, name), str(source)
    return names_below(source), lambda name: _content(source / name), str(source)


def proposed(names: Sequence[str], root: str, spec: LayoutSpec, content: Callable[[str], bytes]) -> Layout:
    """What the import of files would take; ``content`` gives that of a table among them. Raises DataError."""
    if spec.tables:
        table = metadata.read(spec.tables, lambda name: content(name) if name in names else _content(Path(name)))
        return metadata.labelled(names, table, metadata.columns_of(table, spec.columns), root, spec)
    return understood(names, root, spec)


def _content(path: Path) -> bytes:
    with opening(path):
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
    with opening(source):
        is_archive = source.is_file()
    if not is_archive:
        return import_folder(workspace, source, name, spec, progress)
    staging = workspace.uploads / new_id("unpacked")
    try:
        extract(source, staging, part_of(progress, 0, 0.3))
        return import_folder(workspace, staging, name or source.stem, spec, part_of(progress, 0.3, 1), True)
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
        return _publish(workspace, staging, candidates, information, part_of(progress, 0.7, 1), moves=True)
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
    moves: bool = False,
    ignored: Iterable[tuple[str, str]] = (),
) -> Dataset:
    """Decode every candidate once, keep its pixels for the overview, find the images that belong together, and publish
    manifest and report together. ``moves``: the files are the data set's own, and nobody else's."""
    identifier = new_id(information["name"])
    pixels = workspace.pixels / f".{identifier}.tmp"
    made = workspace.uploads / new_id("made")
    try:
        begin = time.perf_counter()
        with contextlib.closing(Converter(workspace, root, made, candidates)) as converter:
            images, unread = _read_all(converter, candidates, pixels, part_of(progress, 0, READING))
        left_out = [*ignored, *unread]
        if images.empty:
            raise DataError(f"None of the {len(candidates)} files can be read. The first: {left_out[0][1]}")
        if moves or made.exists():
            _gather(root, made, images, os.replace if moves else files.link_or_copy)
            information |= {"root": None}
        read = time.perf_counter()
        squares = np.memmap(pixels, np.uint8, "r", shape=(len(images), SUMMARY_SIZE, SUMMARY_SIZE))
        together = duplicates.groups(images, duplicates.pairs(squares, progress=part_of(progress, READING, 1)))
        del squares  # Windows renames no mapped file
        counts = images["label"].value_counts().sort_index()
        info = {
            **information,
            "created": time.time(),
            "counts": {label: int(n) for label, n in counts.items()},
            "left_out": left_out,
            "seconds": {"images": round(read - begin, 3), "groups": round(time.perf_counter() - read, 3)},
        }
        with files.published_folder(workspace.datasets / identifier) as staging:
            images.to_parquet(staging / "manifest.parquet", index=False)
            files.write_json(staging / "import.json", info)
            if made.exists():
                shutil.move(made, staging / "files")
        dataset = open_dataset(workspace, identifier)
        os.replace(pixels, pixels_path(workspace, dataset.pixels_key, SUMMARY_SIZE))
        with contextlib.suppress(NoRoom):  # they are found again when they are asked for
            duplicates.store_groups(workspace, dataset, together)
        return dataset
    finally:
        pixels.unlink(missing_ok=True)
        shutil.rmtree(made, ignore_errors=True)


def _gather(root: Path, made: Path, images: pd.DataFrame, place: Callable[[Path, Path], None]) -> None:
    """Have all files of a manifest below ``made``, where those that were converted are. Raises DataError."""
    paths = {*images["path"], *images["mask_path"]} - {""}
    try:
        for folder in {os.path.dirname(path) for path in paths}:
            (made / folder).mkdir(parents=True, exist_ok=True)
        for path in paths:
            if not (made / path).exists():
                place((root / path).resolve(), made / path)
    except OSError as error:
        raise DataError(f"The images cannot be copied into the data set: {error.strerror}.") from error


def _read_all(
    converter: Converter, candidates: list[Candidate], pixels: Path, progress: Progress
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """The manifest's table, and what was left out with the reason. The images' pixels are written to ``pixels``."""
    tables, rows, left_out, done = [], [], [], 0
    with open(pixels, "wb") as handle, ThreadPoolExecutor(cores()) as pool:
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
    )
