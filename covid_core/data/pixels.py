"""Decoded images, once per size: grey pixels as uint8 in one memory-mapped file that all processes share.

The file is a plain sequence of images without a header, so import can append to it while it decodes.
"""

import hashlib
import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from covid_core import derived
from covid_core.data.dataset import Dataset
from covid_core.errors import DataError, ImageError
from covid_core.images.codec import content_of, read_image, to_square
from covid_core.images.image import GreyImage
from covid_core.work import Progress, blocks, cores, ordered_map, silent
from covid_core.workspace import Workspace

COPIED_AT_ONCE = 256  # images: 4 MB at 128 px
SUMMARY_SIZE = 128  # pixels; decoded at import, for the overview and the course study alike


def pixels_path(workspace: Workspace, pixels_key: str, size: int) -> Path:
    """Where the decoded images of that key and size lie, whether or not they exist yet."""
    return workspace.pixels / f"{pixels_key[:32]}-{size}.u8"


def open_pixels(workspace: Workspace, dataset: Dataset, size: int, progress: Progress = silent) -> np.ndarray:
    """All images as a read-only uint8 array of shape (n, size, size), in the order of ``dataset.images``.

    Decodes them first where the cache has none of this size; a second process that asks meanwhile decodes too and
    the last one wins, with the same bytes. Raises DataError when an image of the data set has disappeared or was
    changed, and NoRoom when all of them do not fit the cache.
    """
    path = pixels_path(workspace, dataset.pixels_key, size)
    shape = (len(dataset.images), size, size)
    cached = _cached(path, shape)
    if cached is not None:
        return cached

    def writer(temporary: Path) -> None:
        if not _copied_into(temporary, workspace, dataset, size):
            _decode_into(temporary, dataset, size, progress)

    derived.write(workspace, path, math.prod(shape), writer)
    return np.memmap(path, dtype=np.uint8, mode="r", shape=shape)


def _copied_into(path: Path, workspace: Workspace, dataset: Dataset, size: int) -> bool:
    """Where images were left out by decision, those that stay are there already among the images as imported."""
    imported = dataset.imported
    if imported is dataset:
        return False
    whole = _cached(pixels_path(workspace, imported.pixels_key, size), (len(imported.images), size, size))
    if whole is None:
        return False
    rows = np.flatnonzero(imported.images["image_id"].isin(dataset.images["image_id"]))
    append(path, whole, rows)
    return True


def append(path: Path, pixels: np.ndarray, rows: np.ndarray) -> None:
    """Write some images, of shape (n, size, size), behind what a file of pixels holds."""
    with open(path, "ab") as handle:
        for some in blocks(rows, COPIED_AT_ONCE):
            handle.write(pixels[some].tobytes())


def _cached(path: Path, shape: tuple[int, int, int]) -> np.ndarray | None:
    def reader(path: Path) -> np.ndarray:
        if path.stat().st_size != math.prod(shape):
            raise ValueError("torn")
        return np.memmap(path, dtype=np.uint8, mode="r", shape=shape)

    return derived.read(path, reader)


def decode_rows(dataset: Dataset, rows: Iterable[int], size: int) -> np.ndarray:
    """A few images, straight from their files, as uint8 (len(rows), size, size)."""
    return np.stack([_square_of(dataset, int(row), size) for row in rows])


def _decode_into(path: Path, dataset: Dataset, size: int, progress: Progress) -> None:
    total = len(dataset.images)
    with open(path, "wb") as handle, ThreadPoolExecutor(cores()) as pool:
        squares = ordered_map(pool, lambda row: _square_of(dataset, row, size), range(total))
        for done, square in enumerate(squares, start=1):
            handle.write(square.tobytes())
            if done % 50 == 0 or done == total:
                progress(done / total, f"Decoding images at {size} px: {done:,} of {total:,}")


def _square_of(dataset: Dataset, row: int, size: int) -> np.ndarray:
    return to_square(image_of(dataset, row)[0].pixels, size)


def image_of(dataset: Dataset, row: int) -> tuple[GreyImage, bytes]:
    """The image in that row as its file holds it, and the file. Raises DataError when it is gone or was changed."""
    path = dataset.path_of(row)
    try:
        content = content_of(path)
        if hashlib.sha256(content).hexdigest() != dataset.images["sha256"].iat[row]:
            raise ImageError("The file was changed.")
        return read_image(content), content
    except ImageError as error:
        raise DataError(
            f"{dataset.images['image_id'].iat[row]} is no longer what it was at import. {error} "
            f"Is the folder of {dataset.name} still there and unchanged?"
        ) from error
