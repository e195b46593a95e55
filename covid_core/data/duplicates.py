"""Images that show the same picture: copies, and copies that were resized or saved anew; and the groups that they form.

Chest images look alike, so it is their detail that decides: greys at FINE pixels, less what is left of them after
blurring. Two images are the same picture when their detail correlates from SAME_DETAIL, and their squares of SIDE
pixels from ALIKE.

Every image is compared with every other, so this is first asked of a sketch: detail projected on SKETCH directions
drawn at random. What correlates by rho in full does so by r in the sketch, where atanh(r) lies around atanh(rho) with a
deviation of 1 / sqrt(SKETCH - 3) (Fisher, Metron 1 (1921) 3-32). A copy at the very border shows less than LIKELY, and
is lost, once in 10^8.

Groups join whatever is the same picture, has equal bytes, or is of one patient: such images must not be trained and
tested on in turn.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from covid_core import derived
from covid_core.data import decisions
from covid_core.data.dataset import Dataset
from covid_core.data.pixels import SUMMARY_SIZE, open_pixels
from covid_core.work import Progress, part_of, silent
from covid_core.workspace import Workspace

SIDE, FINE = 32, 64  # pixels a side; both divide SUMMARY_SIZE
ALIKE = 0.95  # of 9.4 million pairs of real images 0.007 % are above it
BLUR = 3.0  # pixels of FINE, standard deviation: removes the shape that all chests share
REACH = 4  # deviations of a blur that are looked at
SAME_DETAIL = 0.9  # of two real databases' 5,138 images, copies have 0.91 to 1, other pairs at most 0.85
SKETCH, SEED = 192, 0
LIKELY = 0.78  # correlation of sketches from which a pair is looked at in full
BLANK = 1e-3  # length below which an image has no picture
BLOCK = 1024  # images against as many at a time: 4 MB of correlations, and 16 MB of detail on each side
PIECE = 256  # images that are sketched at a time: 4 MB of detail
PIECEMEAL, TOGETHER = 32, 512  # a pair by itself costs so many times its share of a product; pairs at a time: 16 MB
MOST = 4096  # pairs of two blocks that are kept as they are; of more, those that hold their images together
FORMAT = 1  # of the cached groups; a change of what they hold takes the next number


def with_groups(workspace: Workspace, dataset: Dataset, progress: Progress = silent) -> pd.DataFrame:
    """The data set's images with a column ``group``, equal for images that belong together.

    Its values are the image id of the group's first image. Import computes it; where that is gone, or was made by an
    earlier version, it is computed once and kept.
    """
    table = derived.read_table(_path(workspace, dataset), ["first"])
    if table is not None and len(table) == len(dataset.images):
        firsts = table["first"].to_numpy()
    else:
        pixels = open_pixels(workspace, dataset, SUMMARY_SIZE, part_of(progress, 0, 0.5))
        firsts = groups(dataset.images, pairs(pixels, progress=part_of(progress, 0.5, 1)))
        store_groups(workspace, dataset, firsts)
    return dataset.images.assign(group=dataset.images["image_id"].to_numpy()[firsts])


def clusters(images: pd.DataFrame) -> pd.Series:
    """Images of each group that holds several; ``images`` has a column ``group``."""
    sizes = images.groupby("group").size()
    return sizes[sizes > 1]


def store_groups(workspace: Workspace, dataset: Dataset, firsts: np.ndarray) -> None:
    """Store the result of ``groups`` for the next time."""
    derived.write_table(workspace, _path(workspace, dataset), pd.DataFrame({"first": firsts}))


def _path(workspace: Workspace, dataset: Dataset) -> Path:
    return derived.path_of(workspace.tables, dataset.version, "groups", FORMAT)


def pairs(pixels: np.ndarray, others: np.ndarray | None = None, progress: Progress = silent) -> pd.DataFrame:
    """Images that show the same picture.

    Args:
        pixels: uint8 (n, size, size), ``size`` a multiple of FINE.
        others: those of other images; None compares the first among themselves, each pair once.
        progress: told the share done.

    Returns:
        Columns first, second (positions) and detail (correlation of what blurring removes), the most alike first. Where
        two blocks of BLOCK images have more than MOST pairs, as many copies of one picture, only enough of them to hold
        the same images together; each image keeps the one that it is most alike.
    """
    own = sketches(pixels, part_of(progress, 0, 0.4))
    other, other_sketches = (pixels, own) if others is None else (others, sketches(others))
    parts = []
    for row in range(0, len(pixels), BLOCK):
        for column in range(row if others is None else 0, len(other), BLOCK):
            likely = own[row : row + BLOCK] @ other_sketches[column : column + BLOCK].T >= LIKELY
            if others is None and row == column:
                likely = np.triu(likely, 1)
            same = _same_picture(pixels[row : row + BLOCK], other[column : column + BLOCK], likely)
            parts.append(_thinned(same) + [row, column, 0])
        done = min(row + BLOCK, len(pixels))
        progress(0.4 + 0.6 * done / len(pixels), f"Looking for images that show the same picture: {done:,}")
    columns = {"first": int, "second": int, "detail": float}
    table = pd.DataFrame(np.concatenate(parts or [np.empty((0, 3))]), columns=list(columns)).astype(columns)
    return table.sort_values("detail", ascending=False, kind="stable", ignore_index=True)


def most_alike(forms: np.ndarray, others: np.ndarray, rows: np.ndarray, sketched: np.ndarray) -> tuple[int, int] | None:
    """The form of an image and the position in ``rows`` of the image among ``others[rows]`` that shows the same
    picture; None where none does.

    ``forms`` (n, size, size) are the image as it is and otherwise, say mirrored. Of several it is the most alike.
    ``sketched`` are the sketches of ``others[rows]``.
    """
    likely = sketches(forms) @ sketched.T >= LIKELY
    columns = np.flatnonzero(likely.any(axis=0))
    same = _same_picture(forms, others[rows[columns]], likely[:, columns])
    if not len(same):
        return None
    form, column, _ = same[same[:, 2].argmax()]
    return int(form), int(columns[int(column)])


def sketches(pixels: np.ndarray, progress: Progress = silent) -> np.ndarray:
    """The detail of images (n, size, size) on SKETCH random directions, as rows of length 1, float32."""
    directions = _directions()
    rows = np.empty((len(pixels), SKETCH), np.float32)
    for start in range(0, len(pixels), PIECE):
        grey = shrunk(pixels[start : start + PIECE], FINE)
        rows[start : start + PIECE] = (grey - grey.mean(axis=1, keepdims=True)) @ directions.T
        done = min(start + PIECE, len(pixels))
        progress(done / len(pixels), f"Looking at the detail of images: {done:,} of {len(pixels):,}")
    return of_length_one(rows)


@lru_cache(maxsize=1)
def _directions() -> np.ndarray:
    """Random directions (SKETCH, FINE ** 2). Blurring is symmetric, so it is taken from them once instead of from every
    image."""
    directions = np.random.default_rng(SEED).normal(size=(SKETCH, FINE, FINE)).astype(np.float32)
    return (directions - _blurred(directions)).reshape(SKETCH, -1)


def _same_picture(images: np.ndarray, others: np.ndarray, likely: np.ndarray) -> np.ndarray:
    """Of the pairs that are ``likely`` (images, others), those of one picture: both positions and the detail."""
    i, j = np.nonzero(likely)
    if not len(i):
        return np.empty((0, 3))
    (rows, row), (columns, column) = (np.unique(at, return_inverse=True) for at in (i, j))
    images, others = images[rows], others[columns]
    near = _products(miniatures(images, SIDE), row, miniatures(others, SIDE), column) >= ALIKE
    detail = _products(details(images), row, details(others), column)
    same = near & (detail >= SAME_DETAIL)
    return np.column_stack([i[same], j[same], detail[same]])


def _products(first: np.ndarray, row: np.ndarray, second: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Products of some rows of one matrix with as many of another; where they are many, of all with all."""
    if len(row) * PIECEMEAL > len(first) * len(second):
        return (first @ second.T)[row, column]
    parts = (slice(start, start + TOGETHER) for start in range(0, len(row), TOGETHER))
    return np.concatenate([np.einsum("ij,ij->i", first[row[part]], second[column[part]]) for part in parts])


def _thinned(same: np.ndarray) -> np.ndarray:
    """Rows of ``_same_picture``, but of more than MOST only the heaviest forest: what it joins is the same.

    Source: Kruskal, Proceedings of the American Mathematical Society 7 (1956) 48-50.
    """
    if len(same) <= MOST:
        return same
    from scipy.sparse import csgraph, csr_array  # 0.1 s to import, and hardly a data set has that many copies

    i, j = same[:, 0].astype(int), same[:, 1].astype(int)
    apart = csr_array((2 - same[:, 2], (i, BLOCK + j)), shape=(2 * BLOCK, 2 * BLOCK))  # 0 would be no pair
    i, j = csgraph.minimum_spanning_tree(apart).nonzero()
    return np.column_stack([i, j - BLOCK, 2 - apart[i, j]])


def miniatures(pixels: np.ndarray, side: int) -> np.ndarray:
    """Images (n, size, size) as rows of side x side greys of mean 0 and length 1, float32; a blank image is all 0."""
    grey = shrunk(pixels, side)
    return of_length_one(grey - grey.mean(axis=1, keepdims=True))


def details(pixels: np.ndarray) -> np.ndarray:
    """What blurring takes from images at FINE pixels, as rows of mean 0 and length 1, float32."""
    grey = shrunk(pixels, FINE).reshape(-1, FINE, FINE)
    sharp = (grey - _blurred(grey)).reshape(len(grey), -1)
    return of_length_one(sharp - sharp.mean(axis=1, keepdims=True))


def _blurred(images: np.ndarray) -> np.ndarray:
    """Images (n, FINE, FINE), float32, under a Gaussian of BLUR pixels that is reflected at the borders."""
    return _BLURRING @ images @ _BLURRING


def blurring(side: int, deviation: float) -> np.ndarray:
    """What a line of ``side`` pixels is multiplied by to be blurred; symmetric, float32 (side, side)."""
    reach = round(REACH * deviation)
    weights = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / deviation))
    places = np.arange(side)[:, None] + np.arange(-reach, reach + 1)
    places = np.where(places < 0, -1 - places, np.where(places >= side, 2 * side - 1 - places, places))
    matrix = np.zeros((side, side))
    np.add.at(matrix, (np.arange(side)[:, None], places), weights / weights.sum())
    return matrix.astype(np.float32)


_BLURRING = blurring(FINE, BLUR)


def shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    """Images as rows of side x side means, float32. Sums of whole numbers: ten times as fast as ``numpy.mean``."""
    step = pixels.shape[1] // side
    whole = np.uint16 if 255 * step * step < 2**16 else np.uint32
    lines = np.asarray(pixels).reshape(len(pixels), side, step, side * step)
    rows = sum(lines[:, :, k].astype(whole) for k in range(step))
    squares = sum(rows[:, :, k::step] for k in range(step))
    return (squares / np.float32(step * step)).astype(np.float32).reshape(len(pixels), -1)


def of_length_one(rows: np.ndarray) -> np.ndarray:
    """The rows, each divided by its length; one that is shorter than BLANK becomes 0."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > BLANK)


def renumbered(alike: pd.DataFrame, remaining: np.ndarray) -> pd.DataFrame:
    """Pairs by their positions among the ``remaining`` images, bool (n,); pairs of others go."""
    place = np.cumsum(remaining) - 1
    both = alike[remaining[alike["first"]] & remaining[alike["second"]]]
    return both.assign(first=place[both["first"]], second=place[both["second"]])


def groups(images: pd.DataFrame, alike: pd.DataFrame) -> np.ndarray:
    """Of shape (images,): position of the first image of each image's group.

    Args:
        images: columns sha256 and patient_id (empty where unknown), and ``together`` where images were grouped by
            decision.
        alike: columns first, second: positions of images that show the same picture.
    """
    from scipy.sparse import coo_array, csgraph  # 0.1 s to import, and no page needs it

    first, second = [alike["first"].to_numpy()], [alike["second"].to_numpy()]
    for column in ("sha256", "patient_id", *([decisions.TOGETHER] if decisions.TOGETHER in images else [])):
        values = images[column].to_numpy()
        rows = np.flatnonzero(values != "")
        first.append(pd.Series(rows).groupby(values[rows]).transform("first").to_numpy())
        second.append(rows)
    i, j = np.concatenate(first), np.concatenate(second)
    links = coo_array((np.ones(len(i), bool), (i, j)), shape=(len(images), len(images)))
    _, component = csgraph.connected_components(links, directed=False)
    _, firsts, place = np.unique(component, return_index=True, return_inverse=True)
    return firsts[place]
