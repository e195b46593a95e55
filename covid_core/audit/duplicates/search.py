"""Which images look alike, even where one was cropped, turned a little, mirrored or exposed anew: a search of all
pairs.

An image is told by few numbers, its sketch: its band (greys at SIDE pixels, less what is broad, by the local contrast
of what is left, so that exposure drops out) along the AXES directions in which the images of this search differ most,
measured by how much an image differs from itself when it is moved a little. These are the axes of Fisher's discriminant
(Annals of Eugenics 7 (1936) 179-188), each image being a class, and its moved selves the members of the class.

An image is shown to the others as it is and without CROP on every side, plain and mirrored. What correlates from LIKE
is a candidate and no more: ``alignment`` decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from covid_core.data.duplicates import blurring, of_length_one, shrunk

SIDE, HALF = 32, 64  # pixels a side; the second is what views are made of
MARGIN = 3  # pixels of SIDE at the border that are not looked at: a crop changes what blurring finds there
CROP = 0.03  # of the side, on every side: half way to 6 %, which aligning reaches from there
AXES = 128
LIKE = 0.68  # sketches of changed copies correlate from 0.71, worst of 400 phantom and 400 real images in each way
MOST = 6  # others that an image is laid over per view, the most alike; plain copies are found without this
FEW = 150  # images below which there are no axes to be had: their bands are compared, which tells less
FEW_LIKE, FEW_MOST = 0.8, 2  # then; bands of changed copies correlate from 0.87
LEARNT_FROM, TIMES, SEED = 1500, 3, 0  # images that the axes are learnt from, and how often each is moved
ZOOM, TURN, SHIFT = 0.035, 0.035, 0.03  # up to so much, as shares of half the side and radian: half way between views
RIDGE = 0.05  # of the mean spread of an image about itself is added in all directions: noise has no axis of its own
BLOCK, PIECE = 1024, 512  # images against as many at a time: 4 MB; images that are sketched at a time
STEADY = 1e-3


@dataclass(frozen=True)
class View:
    """A way of looking at an image: without ``CROP`` on every side, as in a mirror."""

    cropped: bool
    mirrored: bool


VIEWS = tuple(View(cropped, mirrored) for cropped in (False, True) for mirrored in (False, True))


def candidates(
    pixels: np.ndarray, others: np.ndarray | None = None
) -> Iterator[tuple[View, np.ndarray, np.ndarray, float]]:
    """Pairs that may be copies: view of the first image, positions in ``pixels`` and in ``others``, and the share done.

    Args:
        pixels: uint8 (n, 128, 128).
        others: those of other images; None compares the first among themselves, where a pair may be told twice.
    """
    sketch = learnt(pixels, others)
    target = sketch.of(pixels if others is None else others, View(False, False))
    views = {view: sketch.of(pixels, view) for view in VIEWS}
    starts = range(0, len(pixels), BLOCK)
    for number, (view, rows) in enumerate(views.items()):
        for step, start in enumerate(starts):
            # what is not cropped looks at a pair from either side alike
            first = start if others is None and not view.cropped else 0
            i, j = _most_similar(rows[start : start + BLOCK], target[first:], sketch.axes is not None)
            i, j = start + i, first + j
            apart = (i != j) if others is None else np.ones(len(i), bool)
            yield view, i[apart], j[apart], (number + (step + 1) / len(starts)) / len(views)


def _most_similar(rows: np.ndarray, target: np.ndarray, has_axes: bool) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the few most alike of each row, one more than is wanted, since an image finds itself."""
    least, most = (LIKE, MOST) if has_axes else (FEW_LIKE, FEW_MOST)
    candidates = []
    for start in range(0, len(target), BLOCK):
        alike = rows @ target[start : start + BLOCK].T
        at = np.flatnonzero(alike >= least)
        candidates.append((at // alike.shape[1], start + at % alike.shape[1], alike.ravel()[at]))
    i, j, alike = (np.concatenate(part) for part in zip(*candidates, strict=True))
    order = np.lexsort((-alike, i))
    i, j = i[order], j[order]
    place = np.arange(len(i)) - np.searchsorted(i, i)
    return i[place <= most], j[place <= most]


@dataclass(frozen=True)
class Sketch:
    """How images are sketched: the mean of their bands, and the axes, None where the images are too few for any."""

    mean: np.ndarray
    axes: np.ndarray | None

    def of(self, pixels: np.ndarray, view: View) -> np.ndarray:
        """Sketches of images (n, 128, 128) as rows of length 1, float32."""
        rows = []
        for start in range(0, len(pixels), PIECE):
            band = _banded(_sized(pixels[start : start + PIECE], view.cropped))
            flat = _flat(band[:, :, ::-1] if view.mirrored else band)
            rows.append(flat if self.axes is None else of_length_one((flat - self.mean) @ self.axes))
        return np.concatenate(rows)


def learnt(pixels: np.ndarray, others: np.ndarray | None = None) -> Sketch:
    """The sketch for images, and others where there are any: from LEARNT_FROM of them, drawn with SEED."""
    rng = np.random.default_rng(SEED)
    sets = [pixels] if others is None else [pixels, others]
    share = min(1.0, LEARNT_FROM / sum(len(images) for images in sets))
    drawn = [images[np.sort(rng.permutation(len(images))[: round(share * len(images))])] for images in sets]
    band = _banded(_sized(np.concatenate(drawn), False))
    flat = _flat(band)
    mean = flat.mean(axis=0)
    if len(flat) < FEW:
        return Sketch(mean, None)
    from scipy import linalg  # 0.2 s to import

    itself = np.concatenate([_flat(_shaken(band, rng)) - flat for _ in range(TIMES)])
    within = itself.T @ itself / len(itself)
    total = (flat - mean).T @ (flat - mean) / len(flat)
    size = len(within)
    within += RIDGE * np.trace(within) / size * np.eye(size, dtype=np.float32)
    _, axes = linalg.eigh(total, within, subset_by_index=(size - AXES, size - 1))
    return Sketch(mean, np.ascontiguousarray(axes, np.float32))


def _shaken(band: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Images that are zoomed, turned and shifted a little, each in its own way."""
    count = len(band)
    zoom, turn = rng.uniform(-ZOOM, ZOOM, count), rng.uniform(-TURN, TURN, count)
    right, down = rng.uniform(-SHIFT, SHIFT, (2, count))
    maps = np.stack([zoom, -turn, right, turn, zoom, down], axis=1).astype(np.float32)
    line = np.linspace(-1, 1, band.shape[1], dtype=np.float32)
    x, y = (grid.ravel() for grid in np.meshgrid(line, line))
    return moved(band, maps, x, y)[1].reshape(band.shape)


def moved(images: np.ndarray, maps: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images under a map each, bilinear.

    Args:
        images: float32 (n, side, side).
        maps: (n, 6): a place (x, y), from -1 to 1, is looked up at x + m0 x + m1 y + m2 and y + m3 x + m4 y + m5.
        x, y: the places, (m,) each.

    Returns:
        Where each map leads, (2, n, m), in the same units, and the greys there (n, m); beyond the border they are those
        of the border's line, drawn on.
    """
    count, side, _ = images.shape
    places = np.stack([x, y, np.ones_like(x)])
    to = np.stack([x + maps[:, :3] @ places, y + maps[:, 3:] @ places])
    across, down = (np.clip(to, -1, 1) + 1) * np.float32((side - 1) / 2)
    left, top = (np.minimum(at.astype(np.int32), side - 2) for at in (across, down))
    right_part, low_part = across - left, down - top
    at = top * side + left + (np.arange(count, dtype=np.int32) * side * side)[:, None]
    flat = images.reshape(-1)
    upper, lower = flat[at], flat[at + side]
    upper += (flat[at + 1] - upper) * right_part
    lower += (flat[at + side + 1] - lower) * right_part
    return to, upper + (lower - upper) * low_part


def _sized(pixels: np.ndarray, cropped: bool) -> np.ndarray:
    """Images at SIDE pixels, with or without CROP on every side; float32."""
    if not cropped:
        return shrunk(np.asarray(pixels), SIDE).reshape(-1, SIDE, SIDE)
    return _CROPPING @ shrunk(np.asarray(pixels), HALF).reshape(-1, HALF, HALF) @ _CROPPING.T


def _cropping() -> np.ndarray:
    """What a line of HALF pixels is multiplied by to lose CROP at both ends and become SIDE pixels: means."""
    edges = np.linspace(CROP * HALF, (1 - CROP) * HALF, SIDE + 1)
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(HALF)
    shared = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0, None)
    return (shared / (high - low)).astype(np.float32)


def _banded(grey: np.ndarray) -> np.ndarray:
    """Images (n, SIDE, SIDE): what is neither broader than 3 pixels nor noise, by its local contrast."""
    band = _SHARP @ grey @ _SHARP - _BROAD @ grey @ _BROAD
    return band / (np.sqrt(np.maximum(_BROAD @ np.square(band) @ _BROAD, 0)) + 2)


def _flat(band: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and length 1, without the MARGIN."""
    rows = band[:, MARGIN:-MARGIN, MARGIN:-MARGIN].reshape(len(band), -1)
    return of_length_one(rows - rows.mean(axis=1, keepdims=True))


_CROPPING, _SHARP, _BROAD = _cropping(), blurring(SIDE, 0.7), blurring(SIDE, 3.0)
