"""Pairs of images laid over each other: a copy that was cropped, turned a little, mirrored or re-exposed stays a copy.

``search`` names the pairs that may be copies. Each of them is aligned by an affine map, first at COARSE pixels, then at
FINE, and what counts is how far their detail correlates where both images are, but for a MARGIN: at its border a
cropped image has been blurred differently, which is the largest difference that it has.

Alignment takes the steps of Lucas and Kanade (IJCAI 1981) with the gradient of the first image only, as in Baker and
Matthews, International Journal of Computer Vision 56 (2004) 221-255.

How alike two different images can be is a matter of the data set: see ``threshold``.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas as pd

from covid_core.audit.duplicates import search
from covid_core.audit.duplicates.search import View, moved
from covid_core.data.duplicates import blurring, shrunk
from covid_core.work import Progress, cores, ordered_map, part_of, silent

COARSE, FINE = 32, 64  # pixels a side; both divide the 128 of the pixel cache
ROUNDS = {COARSE: 4, FINE: 4}
BROAD = {COARSE: 3.0, FINE: 2.0}  # pixels: what is broader is the shape that all chests share
MARGIN = 1 / 16  # of the side, at each border of either image
FAINT = 4  # grey levels: contrast below which a place has no detail
LEAST_OVERLAP = 0.6  # share of the image that must be on both
PROMISING = 0.88  # coarse correlation once aligned; copies have 0.94 and more
TOGETHER = 128  # pairs at a time: 2 MB a picture of detail
STEADY = 1e-3
WORTH = 0.005  # correlation; less is interpolation
COLUMNS = {"first": int, "second": int, "detail": float, "mirrored": bool}

Pairs = tuple[View, np.ndarray, np.ndarray]


def near(pixels: np.ndarray, others: np.ndarray | None = None, progress: Progress = silent) -> pd.DataFrame:
    """Pairs that look most alike, aligned, with how alike they are then. Not all are copies: see ``copies``.

    Args:
        pixels: uint8 (n, 128, 128).
        others: those of other images; None compares the first among themselves.
        progress: told the share done.

    Returns:
        Columns first, second (positions), detail (correlation of fine detail once aligned, -1 to 1) and mirrored; each
        pair once, the most alike first.
    """
    if others is None:
        table = _laid(pixels, pixels, _pieces(pixels, None, progress))
        low, high = table[["first", "second"]].min(axis=1), table[["first", "second"]].max(axis=1)
        table = table.assign(first=low, second=high)
    else:  # either may be the cropped one
        there = _laid(pixels, others, _pieces(pixels, others, part_of(progress, 0, 0.5)))
        back = _laid(others, pixels, _pieces(others, pixels, part_of(progress, 0.5, 1)))
        table = pd.concat([there, back.rename(columns={"first": "second", "second": "first"})[list(COLUMNS)]])
    table = table.sort_values("detail", ascending=False, kind="stable")
    return table.drop_duplicates(["first", "second"], ignore_index=True)


def _pieces(pixels: np.ndarray, others: np.ndarray | None, progress: Progress) -> Iterator[Pairs]:
    """The candidates, TOGETHER at a time."""
    for view, i, j, share in search.candidates(pixels, others):
        for start in range(0, len(i), TOGETHER):
            yield view, i[start : start + TOGETHER], j[start : start + TOGETHER]
        progress(share, f"Laying images over each other: {share:.0%}")


def _laid(
    pixels: np.ndarray, others: np.ndarray, pieces: Iterator[Pairs], promising: float = PROMISING
) -> pd.DataFrame:
    """The pairs that still look alike once they are aligned, with their detail; columns as COLUMNS."""
    with ThreadPoolExecutor(cores()) as pool:
        aligned = list(ordered_map(pool, partial(_aligned, pixels, others, promising), pieces, ahead=8))
    rows = [np.column_stack([i, j, detail, np.full(len(i), view.mirrored)]) for view, i, j, detail in aligned]
    return pd.DataFrame(np.concatenate(rows or [np.empty((0, 4))]), columns=list(COLUMNS)).astype(COLUMNS)


def _aligned(
    pixels: np.ndarray, others: np.ndarray, promising: float, pairs: Pairs
) -> tuple[View, np.ndarray, np.ndarray, np.ndarray]:
    """The promising ones of some pairs, and their detail."""
    view, i, j = pairs
    maps = np.zeros((len(i), 6), np.float32)
    maps[:, [0, 4]] = 1 / (1 - 2 * search.CROP) - 1 if view.cropped else 0.0
    alike = np.empty(0, np.float32)
    for side, least in ((COARSE, promising), (FINE, -np.inf)):
        if not len(i):
            break
        images = banded(pixels[i], side)
        images = images[:, :, ::-1] if view.mirrored else images
        maps, alike = align(images, banded(others[j], side), maps, ROUNDS[side])
        good = alike >= least
        i, j, maps, alike = i[good], j[good], maps[good], alike[good]
    return view, i, j, alike


def of_pairs(pixels: np.ndarray, others: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """How far the detail of given pairs correlates once aligned, whether or not they look alike: float (n,)."""
    plain = View(False, False)
    pieces = ((plain, i[at : at + TOGETHER], j[at : at + TOGETHER]) for at in range(0, len(i), TOGETHER))
    return _laid(pixels, others, pieces, promising=-np.inf)["detail"].to_numpy()


def laid_over(image: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One image moved so that it lies over another one.

    Args:
        image: uint8 (size, size), ``size`` a multiple of FINE.
        other: the same; it is moved.

    Returns:
        The moved image, float32 (size, size), and where it shows something, bool (size, size). It stays where it is
        unless moving it makes the two agree better by WORTH at least.
    """
    size, crop = len(image), 1 / (1 - 2 * search.CROP) - 1
    begin = np.zeros((3, 6), np.float32)  # as it is, and either one cropped
    begin[1:, [0, 4]] = [[crop, crop], [-crop, -crop]]
    images, others = (np.repeat(banded(one[None], FINE), len(begin), axis=0) for one in (image, other))
    _, unmoved = align(images[:1], others[:1], begin[:1], 0)
    maps, alike = align(images, others, begin, 2 * ROUNDS[FINE])
    best = maps[[alike.argmax()]] if alike.max() > unmoved[0] + WORTH else begin[:1]
    line = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = (grid.ravel() for grid in np.meshgrid(line, line))
    to, there = moved(other[None].astype(np.float32), best, x, y)
    return there.reshape(size, size), (np.abs(to) <= 1 + STEADY).all(axis=0).reshape(size, size)


def banded(pixels: np.ndarray, side: int) -> np.ndarray:
    """Images (n, size, size) at ``side`` pixels: what is neither broad nor noise, by its local contrast; float32."""
    grey = shrunk(np.asarray(pixels), side).reshape(-1, side, side)
    sharp, broad = _BLURS[side]
    band = sharp @ grey @ sharp - broad @ grey @ broad
    return band / (np.sqrt(np.maximum(broad @ np.square(band) @ broad, 0)) + FAINT)


_BLURS = {side: (blurring(side, 0.7), blurring(side, BROAD[side])) for side in (COARSE, FINE)}


def align(images: np.ndarray, others: np.ndarray, begin: np.ndarray, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Lay each of the others over its image.

    Args:
        images: float32 (n, side, side).
        others: the same.
        begin: (n, 6): where a pixel (x, y), from -1 to 1, of the image lies in the other: at x + m0 x + m1 y + m2 and
            y + m3 x + m4 y + m5.
        rounds: steps to take.

    Returns:
        The maps (n, 6), and the correlation over what both show; -1 where that is less than LEAST_OVERLAP of the image.
    """
    count, side, _ = images.shape
    edge = round(MARGIN * side)
    line = np.linspace(-1, 1, side, dtype=np.float32)
    x, y = (grid[edge:-edge, edge:-edge].ravel() for grid in np.meshgrid(line, line))
    flat = images[:, edge:-edge, edge:-edge].reshape(count, -1)
    deviation = flat.std(axis=1, keepdims=True) + STEADY
    rise = np.gradient(images, line[1] - line[0], axis=(1, 2))
    rise_y, rise_x = (grade[:, edge:-edge, edge:-edge].reshape(count, -1) / deviation for grade in rise)
    slopes = np.stack([rise_x * x, rise_x * y, rise_x, rise_y * x, rise_y * y, rise_y], axis=1)
    inverse = np.linalg.inv(slopes @ slopes.transpose(0, 2, 1) + STEADY * np.eye(6, dtype=np.float32))
    maps, best = begin.astype(np.float32), np.full(count, -1.0, np.float32)
    best_maps, inner = maps.copy(), np.float32(1 - 2 * MARGIN)
    for left in range(rounds, -1, -1):
        to, there = moved(others, maps, x, y)
        overlap = (np.abs(to) <= inner).all(axis=0).astype(np.float32)
        one, two = _standard(flat, overlap), _standard(there, overlap)
        share = overlap.mean(axis=1)
        alike = np.einsum("ij,ij->i", one, two) / np.maximum(overlap.sum(axis=1), 1)
        alike = np.where(share >= LEAST_OVERLAP, alike, -1)
        better = alike > best
        best[better], best_maps[better] = alike[better], maps[better]
        if left:
            step = inverse @ (slopes @ (one - two)[:, :, None])
            maps = maps + np.clip(step[:, :, 0], -0.05, 0.05)
    return best_maps, best


def _standard(values: np.ndarray, overlap: np.ndarray) -> np.ndarray:
    """Rows with mean 0 and deviation 1 over the overlap, and 0 elsewhere."""
    count = np.maximum(overlap.sum(axis=1, keepdims=True), 1)
    values = (values - np.einsum("ij,ij->i", values, overlap)[:, None] / count) * overlap
    return values / (np.sqrt(np.einsum("ij,ij->i", values, values)[:, None] / count) + STEADY)
