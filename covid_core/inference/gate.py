"""Does a picture look like a frontal chest image, as the run's own training images do?

The picture is brought to 32 x 32 pixels, and each of 4 x 4 cells is told by how strongly its greys rise in each of
eight directions (a histogram of oriented gradients: Dalal and Triggs, CVPR 2005). Brightness and contrast drop out;
where lungs, spine, diaphragm and shoulders lie stays. A linear classifier has learned to tell the training images from
themselves turned by 90, 180 and 270 degrees and inverted (black for white): five *readings* of each image. Whoever can
say what is up in a chest image knows what one looks like, so the *lead* of the upright reading over the best other one
is high for chest images and for nothing else. Source of the idea: Golan and El-Yaniv, "Deep Anomaly Detection Using
Geometric Transformations", NeurIPS 2018. No network is needed, and no picture of anything but the training images.

What no turning makes, such as a lateral view, needs a second judge, and so do runs and data sets of few images:
``against`` is the evidence of a classifier of the same histograms that has learned from images drawn by this project
alone (``benchmarks.datasets.views``).

Half of what it learns from are the same images slightly tilted, moved, enlarged or shrunk: positioning is no refusal.
The limit is what all but a share of SHARE of the validation images reach (see ``Limit``), and never above ENOUGH.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from covid_core.evaluation import conformal
from covid_core.images.codec import to_squares
from covid_core.work import blocks

if TYPE_CHECKING:
    from covid_core.inference.lungs import Refusal

CHEST_IMAGE, LIKE_TRAINING = "frontal chest image", "like the training images"  # the checks of an image's content
LUNGS_OUTLINED = "lungs outlined"
SIDE, CELLS, DIRECTIONS = 32, 4, 8  # pixels, cells per side, directions of a rising grey; 8 x 8 cells did no better
UPRIGHT, LEFT, DOWN, RIGHT, INVERTED = READINGS = ("upright", "left", "down", "right", "inverted")
QUARTERS = {UPRIGHT: 0, LEFT: 1, DOWN: 2, RIGHT: 3}  # anticlockwise quarter turns
SHARE = 0.02  # of good images refused here. Not less: among a hundred real images one may be stored inverted, and must
# not set the limit. ``reference.SHARE`` takes 1 % more, so that 3 % are refused in all and 5 % hardly ever.
ENOUGH = 0.5  # lead that always passes: half of what an image can have. Of some forty validation images that are alike
# by chance the lowest lead can be 0.88, which 6 of 39 other good images missed; limits of real images are lower (0.40).
LEAST = 19  # validation images; of fewer even the largest value would refuse more than 5 % of good images
PIECE = 4096  # images at a time: 150 MB at SIDE pixels
AT_ONCE = 128  # images of full size: 6 MB at 224 px
IMAGES = 2000  # training images that the classifier sees; twice as many took twice the time and refused the same
RIDGE = 0.02  # of the number of examples, on standardized values; ten times more or less changed nothing
TILT, SHIFT, ZOOM = 15, 3, 0.15  # at most: degrees, pixels of 32, share
AGAINST = 2.75  # log odds against a frontal image: 0.6 % of every second of 4,014 real ones have more, see ``against``
FLAT = 1e-3  # grey levels: below, a picture has no contrast


@dataclass(frozen=True)
class Limit:
    """A border that validation images keep.

    ``value`` is kept by a further good image with a probability of at least ``share``: the ceil((n + 1) * share)-th of
    the ``images`` values. Fewer images than that needs all keep it, and ``share`` is n / (n + 1). Below LEAST images it
    is nan: there is no limit.
    """

    value: float
    images: int
    share: float

    @classmethod
    def above(cls, values: np.ndarray, refused: float) -> "Limit":
        """The border that values stay below or at, but for a share ``refused``."""
        images = len(values)
        if images < LEAST:
            return cls(math.nan, images, math.nan)
        share = min(1 - refused, images / (images + 1))
        return cls(conformal.quantile(values, share), images, share)

    @property
    def is_defined(self) -> bool:
        return not math.isnan(self.value)


@dataclass(frozen=True)
class Check:
    """One question about an image before an answer, in the order of ``CHEST_IMAGE``, ``LUNGS_OUTLINED`` (of runs that
    are shown the box around the lungs), ``LIKE_TRAINING``.

    ``passed`` is None where it was not made: without ``limit``, or without a reference of the run. ``figure`` is what
    was measured, nan where nothing was, ``limit`` what it is compared with. ``reading``: under which a refused image
    would pass. ``against``: the evidence against a frontal image, where that alone refuses it. Where the image's own
    file says what it shows, ``reason`` does. ``outline``: why the lungs have none. ``run`` names the run that made the
    check, where it is not the one that answers. ``reports.prediction_text.check`` puts it into words.
    """

    name: str
    passed: bool | None
    figure: float = math.nan
    limit: Limit = Limit(math.nan, 0, math.nan)
    reading: str = ""
    reason: str = ""
    run: str = ""
    has_reference: bool = True
    against: float = math.nan
    outline: "Refusal | None" = None


def histograms(squares: np.ndarray) -> np.ndarray:
    """Of uint8 images (n, size, size): float32 (n, CELLS, CELLS, DIRECTIONS), the square roots of shares of all change.

    Direction 0 is a grey that rises to the right, 2 one that rises downwards.
    """
    values = np.empty((len(squares), CELLS, CELLS, DIRECTIONS), np.float32)
    for start in range(0, len(squares), PIECE):
        some = squares[start : start + PIECE]
        values[start : start + PIECE] = _histograms(to_squares(list(some), SIDE).astype(np.float32))
    return values


def _histograms(images: np.ndarray) -> np.ndarray:
    spread = np.maximum(images.std(axis=(1, 2), keepdims=True), FLAT)
    images = images / spread
    down, right = np.zeros_like(images), np.zeros_like(images)
    down[:, 1:-1] = images[:, 2:] - images[:, :-2]
    right[:, :, 1:-1] = images[:, :, 2:] - images[:, :, :-2]
    strength = np.hypot(down, right)
    angle = np.arctan2(down, right) * (DIRECTIONS / (2 * np.pi)) % DIRECTIONS
    below = np.floor(angle).astype(np.int8) % DIRECTIONS
    beyond = angle - np.floor(angle)
    cell = SIDE // CELLS
    strengths = np.zeros((len(images), CELLS, CELLS, DIRECTIONS), np.float32)
    for direction in range(DIRECTIONS):  # a change between two directions counts for both, by its nearness
        part = np.where(below == direction, strength * (1 - beyond), 0)
        part += np.where((below + 1) % DIRECTIONS == direction, strength * beyond, 0)
        strengths[..., direction] = part.reshape(-1, CELLS, cell, CELLS, cell).sum(axis=(2, 4))
    total = strengths.sum(axis=(1, 2, 3), keepdims=True)
    return np.sqrt(strengths / np.maximum(total, FLAT))


def changed(values: np.ndarray, reading: str) -> np.ndarray:
    """The histograms of the same images turned to the left, down or right, or inverted, without their pixels."""
    if reading == INVERTED:
        return np.roll(values, DIRECTIONS // 2, axis=3)
    quarters = QUARTERS[reading]
    return np.roll(np.rot90(values, quarters, axes=(1, 2)), -quarters * DIRECTIONS // 4, axis=3)


def undone(values: np.ndarray, reading: str) -> np.ndarray:
    """The histograms of images that are so, made upright again."""
    return changed(values, {LEFT: RIGHT, RIGHT: LEFT}.get(reading, reading))


def mirrored(values: np.ndarray) -> np.ndarray:
    """The histograms of the mirror images."""
    return values[:, :, ::-1, (DIRECTIONS // 2 - np.arange(DIRECTIONS)) % DIRECTIONS]


def against(values: np.ndarray) -> np.ndarray:
    """Log odds (n,) that images with these histograms are no upright frontal chest images but lateral views, CT
    slices, turned or inverted ones. Mirrored images count as frontal."""
    return _with_one(values.reshape(len(values), -1)) @ _drawn_weights()


@lru_cache(maxsize=1)
def _drawn_weights() -> np.ndarray:
    with np.load(Path(__file__).with_name("drawn_views.npz"), allow_pickle=False) as stored:
        return stored["weights"]


@dataclass(frozen=True)
class Gate:
    """The classifier of readings: ``weights`` of shape (values + 1, readings) for values (CELLS * CELLS * DIRECTIONS)
    less ``mean`` by ``deviation``, and the least lead of a good image."""

    mean: np.ndarray
    deviation: np.ndarray
    weights: np.ndarray
    limit: Limit

    @classmethod
    def fit(cls, pixels: Callable[[np.ndarray], np.ndarray], training: np.ndarray, validation: np.ndarray) -> "Gate":
        """From the images at the positions ``training``, to learn from; those at ``validation`` set the limit.

        ``pixels`` gives uint8 squares (n, size, size) of some positions.
        """
        rng = np.random.default_rng(0)
        chosen = training[np.sort(rng.permutation(len(training))[:IMAGES])]
        small = _small(pixels, chosen).astype(np.float32)
        plain = _histograms(np.concatenate([small, _jittered(small, rng)]))
        values = np.concatenate([changed(plain, reading).reshape(len(plain), -1) for reading in READINGS])
        mean, deviation = values.mean(axis=0), values.std(axis=0) + FLAT
        inputs = _with_one((values - mean) / deviation)
        wanted = np.repeat(np.eye(len(READINGS), dtype=np.float32), len(plain), axis=0)
        ridge = RIDGE * len(inputs) * np.eye(inputs.shape[1])
        weights = np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ wanted).astype(np.float32)
        unset = cls(mean, deviation, weights, Limit(math.nan, 0, math.nan))
        leads = unset.leads(histograms(_small(pixels, validation))) if len(validation) else np.zeros(0)
        limit = Limit.above(-leads, SHARE)
        value = min(-limit.value, ENOUGH) if limit.is_defined else math.nan
        return cls(mean, deviation, weights, Limit(value, limit.images, limit.share))

    def leads(self, values: np.ndarray) -> np.ndarray:
        """Of shape (n,): how far the upright reading of images with these histograms is ahead of the best other one."""
        scores = _with_one((values.reshape(len(values), -1) - self.mean) / self.deviation) @ self.weights
        return scores[:, 0] - scores[:, 1:].max(axis=1)

    def checks(self, squares: np.ndarray) -> list[Check]:
        """Of uint8 images (n, size, size); the figure is the lead of the upright reading, in about [-1, 1]."""
        grads = histograms(squares)
        leads = np.stack([self.leads(undone(grads, reading)) for reading in READINGS], axis=1)
        return [self._check(*of_image) for of_image in zip(leads, against(grads).tolist(), strict=True)]

    def _check(self, leads: np.ndarray, evidence: float) -> Check:
        """``leads`` (readings,) are the image's as it is, and when each other reading is undone; ``evidence`` is that
        against a frontal image."""
        lead, limit = float(leads[0]), self.limit
        if limit.is_defined and lead < limit.value:
            best = int(leads.argmax())
            return Check(CHEST_IMAGE, False, lead, limit, READINGS[best] if leads[best] >= limit.value else "")
        figure = lead if limit.is_defined else math.nan
        if evidence > AGAINST:
            return Check(CHEST_IMAGE, False, figure, limit, against=evidence)
        return Check(CHEST_IMAGE, True if limit.is_defined else None, figure, limit)


def _small(pixels: Callable[[np.ndarray], np.ndarray], positions: np.ndarray) -> np.ndarray:
    """The images at some positions in SIDE pixels, uint8; of their full size only a few are held at once."""
    return np.concatenate([to_squares(list(pixels(some)), SIDE) for some in blocks(positions, AT_ONCE)])


def _with_one(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, np.ones((len(values), 1), values.dtype)], axis=1)


def _jittered(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float32 images (n, side, side), each tilted, moved and zoomed a little; what comes in is black or continued."""
    from scipy import ndimage  # 0.2 s to import, and only fitting needs it

    moved, middle = np.empty_like(images), np.full(2, (SIDE - 1) / 2)
    for number, image in enumerate(images):
        angle = np.deg2rad(rng.uniform(-TILT, TILT))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turn *= 1 + rng.uniform(-ZOOM, ZOOM)
        offset = middle - turn @ middle + rng.uniform(-SHIFT, SHIFT, 2)
        mode = "nearest" if number % 2 else "constant"
        moved[number] = ndimage.affine_transform(image, turn, offset, order=1, mode=mode)
    return moved
