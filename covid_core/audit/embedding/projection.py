"""Many numbers per image brought to two, so that images which are alike lie side by side.

**Principal components** (``principal``): every number is standardised, then the directions of most variance are found
by the randomised method of Halko, Martinsson and Tropp (2011, SIAM Review 53, 217-288, algorithm 4.4), block by block,
so that features on disk never have to fit the memory. Distances along the first two are true to scale; what varies
little is not seen.

**t-SNE** (``tsne``; van der Maaten and Hinton 2008, JMLR 9, 2579-2605) keeps neighbours together instead: islands mean
something, distances between them and their sizes do not. It starts from the first two components and learns at n / 12,
as Kobak and Berens (2019, Nature Communications 10, 5416) advise, so that the picture follows from the data and not
from chance. Repulsion of all images by all is interpolated on a grid and convolved there (Linderman et al. 2019, Nature
Methods 16, 243-245): its time grows with the number of images, not with its square, so no image has to be left out.
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy import fft, sparse

Progress = Callable[[float, str], None]
"""Called with the share done in [0, 1] and a short text; it may raise to end the work."""

BLOCK = 2048  # images at a time
SPARE, PASSES = 10, 4  # directions beyond those asked for, and passes that sharpen them; as Halko et al. advise
ROUNDING = 1e-6  # of a number's size: what varies by less does not vary
PERPLEXITY = 30.0  # about how many neighbours count; the usual choice, 5 to 50 differ little
REACH = 3  # times the perplexity: neighbours that have any weight (van der Maaten 2014)
TOGETHER, APART = 250, 500  # steps with attraction exaggerated, and without
EXAGGERATION = 12.0
SLOW, FAST = 0.5, 0.8  # momentum in either stage
LEAST_GAIN = 0.01
NODES = 3  # of the grid in an interval, per axis
FEWEST, MOST = 50, 150  # intervals per axis; an interval is 1 wide until there are MOST
LONGEST_STEP = 5.0  # units of the map, so that a few images that lie together are not thrown out of it


# Principal components


def principal(
    features: np.ndarray, width: int, seed: int = 0, progress: Progress = lambda share, message: None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The directions of most variance of standardised features.

    Args:
        features: numbers of shape (images, d), all finite; may be a memory map. Constant ones count for nothing.
        width: directions wanted; there are at most as many as images less one, and as features that vary.
        seed: of the random start.

    Returns:
        float32 coordinates (images, k); the share of all variance along each direction (k,); and the length of what of
        each image lies along none of them (images,).
    """
    table = _Standardised(features)
    width = max(1, min(width, len(features) - 1, table.width))
    drawn = min(width + SPARE, len(features), table.width)
    found = table.times(np.random.default_rng(seed).standard_normal((table.width, drawn)).astype(np.float32))
    for number in range(PASSES):
        progress(number / (PASSES + 1), "Finding the directions in which images differ")
        back = table.transposed_times(np.linalg.qr(found)[0])
        found = table.times(np.linalg.qr(back)[0])
    progress(PASSES / (PASSES + 1), "Finding the directions in which images differ")
    left = np.linalg.qr(found)[0]
    turned, lengths, right = np.linalg.svd(table.transposed_times(left).T, full_matrices=False)
    signs = np.sign(
        right[np.arange(len(right)), np.abs(right).argmax(axis=1)]
    )  # which way is up is no matter of chance
    coordinates = ((left @ turned) * (lengths * signs))[:, :width].astype(np.float32)
    squares = table.squares()
    whole = max(float(squares.sum()), np.finfo(np.float32).tiny)
    beyond = np.sqrt(np.maximum(squares - np.square(coordinates, dtype=np.float64).sum(axis=1), 0))
    return coordinates, np.square(lengths[:width]) / whole, beyond.astype(np.float32)


class _Standardised:
    """Features (n, d) less their means over their deviations, a block of images at a time."""

    def __init__(self, features: np.ndarray):
        self._features = features
        mean = sum(block.sum(axis=0, dtype=np.float64) for _, block in self._raw()) / len(features)
        spread = sum(np.square(block - mean).sum(axis=0) for _, block in self._raw()) / len(features)
        deviation = np.sqrt(spread)
        self._telling = deviation > ROUNDING * np.maximum(1, np.abs(mean))
        self._mean = mean[self._telling].astype(np.float32)
        self._deviation = deviation[self._telling].astype(np.float32)
        if not self._telling.any():  # all images are the same: one number that is 0 for all
            self._telling = np.arange(features.shape[1]) == 0
            self._mean, self._deviation = mean[:1].astype(np.float32), np.ones(1, np.float32)

    @property
    def width(self) -> int:
        return len(self._mean)

    def times(self, directions: np.ndarray) -> np.ndarray:
        return np.concatenate([block @ directions for _, block in self._blocks()])

    def transposed_times(self, columns: np.ndarray) -> np.ndarray:
        return sum(block.T @ columns[start : start + len(block)] for start, block in self._blocks())

    def squares(self) -> np.ndarray:
        return np.concatenate([np.square(block).sum(axis=1, dtype=np.float64) for _, block in self._blocks()])

    def _blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        for start, block in self._raw():
            yield start, (block[:, self._telling] - self._mean) / self._deviation

    def _raw(self) -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, len(self._features), BLOCK):
            yield start, np.asarray(self._features[start : start + BLOCK], np.float32)


# Neighbours


def nearest(
    coordinates: np.ndarray, count: int, progress: Progress = lambda share, message: None
) -> tuple[np.ndarray, np.ndarray]:
    """The other images nearest to each: positions and distances (images, count), the nearest first.

    Exact, every image with every other. With ``count`` images or fewer there are as many as there are others.
    """
    images = len(coordinates)
    count = min(count, images - 1)
    coordinates = np.ascontiguousarray(coordinates, np.float32)
    lengths = np.square(coordinates).sum(axis=1)
    positions, distances = np.empty((images, count), np.int32), np.empty((images, count), np.float32)
    step = max(1, min(BLOCK, 2**25 // images))
    for start in range(0, images, step):
        rows = np.arange(start, min(start + step, images))
        apart = lengths[rows, None] + lengths - 2 * (coordinates[rows] @ coordinates.T)
        apart[np.arange(len(rows)), rows] = np.inf
        some = np.argpartition(apart, count - 1, axis=1)[:, :count] if count < images - 1 else _others(rows, images)
        exact = np.sqrt(np.square(coordinates[some] - coordinates[rows, None]).sum(axis=2))
        order = np.argsort(exact, axis=1, kind="stable")
        positions[rows] = np.take_along_axis(some, order, axis=1)
        distances[rows] = np.take_along_axis(exact, order, axis=1)
        progress((rows[-1] + 1) / images, f"Finding neighbours: {rows[-1] + 1:,} of {images:,}")
    return positions, distances


def _others(rows: np.ndarray, images: int) -> np.ndarray:
    every = np.arange(images)
    return np.stack([np.delete(every, row) for row in rows])


# t-SNE


def tsne(
    start: np.ndarray,
    positions: np.ndarray,
    distances: np.ndarray,
    progress: Progress = lambda share, message: None,
) -> np.ndarray:
    """Two numbers per image so that neighbours stay neighbours.

    Args:
        start: first two principal components, of shape (images, 2).
        positions: each image's nearest others, of shape (images, k), k of REACH times PERPLEXITY or all there are.
        distances: to these, of the same shape.
        progress: told every ten steps.

    Returns:
        float32 (images, 2), centred. With fewer than four images it is ``start``: there is nothing to arrange.
    """
    images = len(start)
    if images < 4:
        return np.asarray(start, np.float32)
    attraction = affinities(positions, distances)
    deviation = float(np.std(start[:, 0]))
    places = (start - start.mean(axis=0)) * (1e-4 / deviation if deviation > 0 else 1.0)
    places = places.astype(np.float64)
    if deviation == 0:
        places = np.random.default_rng(0).normal(0, 1e-4, places.shape)
    moved, gains = np.zeros_like(places), np.ones_like(places)
    rate = max(images / EXAGGERATION, 50.0)
    for step in range(TOGETHER + APART):
        if step % 10 == 0:
            progress(step / (TOGETHER + APART), f"Arranging images (t-SNE): step {step:,} of {TOGETHER + APART:,}")
        early = step < TOGETHER
        slope = gradient(places, attraction, EXAGGERATION if early else 1.0)
        gains = np.maximum(np.where((slope > 0) != (moved > 0), gains + 0.2, gains * 0.8), LEAST_GAIN)
        moved = (SLOW if early else FAST) * moved - rate * gains * slope
        length = np.sqrt(np.square(moved).sum(axis=1, keepdims=True))
        moved *= np.minimum(1, LONGEST_STEP / np.maximum(length, LONGEST_STEP))
        places += moved
        places -= places.mean(axis=0)
    return places.astype(np.float32)


def affinities(positions: np.ndarray, distances: np.ndarray) -> sparse.csr_array:
    """How much images want to be together: one half (above the diagonal) of a symmetric table whose sum is 1.

    Each image's Gaussian is as wide as gives its neighbours the perplexity PERPLEXITY, or a third of the neighbours
    where there are fewer.
    """
    images, count = positions.shape
    squares = np.square(distances, dtype=np.float64)
    squares -= squares.min(axis=1, keepdims=True)
    wanted = np.log(min(PERPLEXITY, max(count / REACH, 1.5)))
    usual = np.maximum(squares.mean(axis=1), np.finfo(float).tiny)
    low, high = (
        np.full(images, -60.0),
        np.full(images, 60.0),
    )  # logarithms of the precision, in units of the usual square
    for _ in range(50):
        middle = (low + high) / 2
        shares = np.exp(-squares * (np.exp(middle) / usual)[:, None])
        shares /= shares.sum(axis=1, keepdims=True)
        entropy = -(shares * np.log(np.maximum(shares, 1e-300))).sum(axis=1)
        low, high = np.where(entropy > wanted, middle, low), np.where(entropy > wanted, high, middle)
    one_way = sparse.csr_array(
        (shares.ravel(), positions.ravel(), np.arange(0, images * count + 1, count)), shape=(images, images)
    )
    both = (one_way + one_way.T) / (2 * images)
    return sparse.csr_array(sparse.triu(both, 1))


def gradient(places: np.ndarray, attraction: sparse.csr_array, exaggeration: float = 1.0) -> np.ndarray:
    """Slope of the Kullback-Leibler divergence, float64 (images, 2); repulsion by interpolation."""
    pulled = _attracted(places, attraction)
    pushed, total = _repelled(places)
    return 4 * (exaggeration * pulled - pushed / total)


def _attracted(places: np.ndarray, attraction: sparse.csr_array) -> np.ndarray:
    first = np.repeat(np.arange(len(places)), np.diff(attraction.indptr))
    x, y = np.ascontiguousarray(places.T)
    apart = np.square(x[first] - x[attraction.indices]) + np.square(y[first] - y[attraction.indices])
    weights = sparse.csr_array((attraction.data / (1 + apart), attraction.indices, attraction.indptr), attraction.shape)
    sums = weights.sum(axis=1) + weights.sum(axis=0)
    return sums[:, None] * places - (weights @ places + weights.T @ places)


def _repelled(places: np.ndarray) -> tuple[np.ndarray, float]:
    """Sums over all others of (y_i - y_j) / (1 + d²)², and the sum of all 1 / (1 + d²)."""
    low, span = places.min(axis=0), max(float(np.ptp(places, axis=0).max()), 1e-6)
    intervals = int(np.clip(np.ceil(span), FEWEST, MOST))
    side = intervals * NODES
    spacing = span / intervals / NODES
    share = _interpolation((places - low) / (span / intervals), intervals)
    charges = share.T @ np.column_stack([np.ones(len(places)), places])  # (side², 3)
    padded = fft.next_fast_len(2 * side - 1, real=True)
    steps = np.minimum(np.arange(padded), padded - np.arange(padded)) * spacing
    near = 1 / (1 + np.square(steps)[:, None] + np.square(steps))
    spectra = fft.rfft2(charges.T.reshape(3, side, side), (padded, padded), workers=-1)
    plain, squared = fft.rfft2(np.stack([near, np.square(near)]), workers=-1)
    answered = fft.irfft2(np.concatenate([spectra[:1] * plain, spectra * squared]), (padded, padded), workers=-1)
    potentials = share @ answered[:, :side, :side].reshape(4, -1).T  # (images, 4)
    total = float(potentials[:, 0].sum()) - len(places)  # no image repels itself
    return potentials[:, 1:2] * places - potentials[:, 2:], total


def _interpolation(at: np.ndarray, intervals: int) -> sparse.csr_array:
    """Share of each node of the grid in each image (Lagrange, NODES per axis): (images, (intervals * NODES)²)."""
    box = np.minimum(at.astype(np.int64), intervals - 1)
    nodes = (np.arange(NODES) + 0.5) / NODES
    weights = np.ones((NODES, *at.shape))
    for one in range(NODES):
        for other in range(NODES):
            if one != other:
                weights[one] *= (at - box - nodes[other]) / (nodes[one] - nodes[other])
    side = intervals * NODES
    rows, columns = (box[:, axis, None] * NODES + np.arange(NODES) for axis in (0, 1))
    places = (rows[:, :, None] * side + columns[:, None, :]).reshape(len(at), -1)
    shares = (weights[:, :, 0].T[:, :, None] * weights[:, :, 1].T[:, None, :]).reshape(len(at), -1)
    ends = np.arange(0, places.size + 1, NODES * NODES)
    return sparse.csr_array((shares.ravel(), places.ravel(), ends), shape=(len(at), side * side))
