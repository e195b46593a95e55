"""Images and their lung masks, changed together at random, so that a segmenter learns lungs and not one site's images.

What varies is far wider than between the images of one data set: build and position (a turn, shifts, unequal zoom, a
smooth warp), and appearance (a random rising curve of greys, a smooth veil, blur or sharpening, noise, bright and dark
spots, a marker, a frame). A segmenter has to work on images of sites that it has never seen, and only what all of these
leave alone is worth learning ("domain randomisation": Tobin et al., IROS 2017, 23-30; for segmentation of medical
pictures Billot et al., Medical Image Analysis 86 (2023) 102789). Images are never inverted and never mirrored: such
images are not read as chest images elsewhere.
"""

from functools import lru_cache

import numpy as np
from scipy import ndimage

TURN = 12.0  # degrees, at most in either direction, as all below
SHIFT = 0.10  # of the image
ZOOM = 0.25  # of both sides together
ASPECT = 0.15  # of one side against the other
WARP = 0.025  # of the image, standard deviation of the warp's nodes
NODES = 5  # a side, of the warp and of the veil
KNOTS = 6  # of the curve of greys
GREYS = np.linspace(0, 1, 256)


def changed(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One changed copy of an image, uint8 (size, size), and of its mask, bool (size, size)."""
    places = _places(len(image), rng)
    empty = _empty(rng)
    image = ndimage.map_coordinates(image.astype(np.float32), places, order=1, mode="constant", cval=empty)
    mask = ndimage.map_coordinates(mask.astype(np.float32), places, order=1, mode="constant", cval=0.0) > 0.5
    image = _other_appearance(image / 255, rng)
    image, mask = _framed(image, mask, rng)
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8), mask


def _empty(rng: np.random.Generator) -> float:
    """The grey of what lies outside of the image: mostly black."""
    return float(rng.choice((0, 0, 0, 255, rng.integers(256))))


def _places(size: int, rng: np.random.Generator) -> np.ndarray:
    """From which row and column of the image each pixel of the copy comes, float (2, size, size)."""
    angle = np.radians(rng.uniform(-TURN, TURN))
    zoom, aspect = np.exp(rng.uniform(-ZOOM, ZOOM)), np.exp(rng.uniform(-ASPECT, ASPECT) / 2)
    shift = rng.uniform(-SHIFT, SHIFT, 2) * size
    middle = (size - 1) / 2
    rows, columns = np.meshgrid(np.arange(size) - middle, np.arange(size) - middle, indexing="ij")
    rows, columns = rows / (zoom * aspect), columns / (zoom / aspect)
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = np.stack([cosine * rows - sine * columns, sine * rows + cosine * columns])
    warp = np.stack([_smooth(size, rng), _smooth(size, rng)]) * WARP * size
    return turned + warp + middle + shift[:, None, None]


def _other_appearance(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image of greys in [0, 1] as another machine might have shown it."""
    size = len(image)
    image = np.interp(image, GREYS, _curve(rng))
    if rng.random() < 0.7:
        image = image + rng.uniform(0, 0.2) * _smooth(size, rng)
    if rng.random() < 0.5:
        image = image + _spots(size, rng)
    if rng.random() < 0.4:
        image = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.5))
    elif rng.random() < 0.4:
        image = image + rng.uniform(0.3, 1.5) * (image - ndimage.gaussian_filter(image, rng.uniform(1, 4)))
    if rng.random() < 0.6:
        image = image + rng.uniform(0, 0.05) * rng.standard_normal(image.shape)
    return image


def _curve(rng: np.random.Generator) -> np.ndarray:
    """A rising curve of 256 greys in [0, 1]: a gamma, steps of random height, and a random darkest and brightest."""
    steps = np.concatenate([[0], np.cumsum(rng.dirichlet(np.full(KNOTS, 3.0)))])
    curve = np.interp(GREYS ** np.exp(rng.uniform(-0.6, 0.6)), np.linspace(0, 1, KNOTS + 1), steps)
    dark, bright = rng.uniform(-0.1, 0.3), rng.uniform(0.6, 1.1)
    return dark + (bright - dark) * curve


def _spots(size: int, rng: np.random.Generator) -> np.ndarray:
    """One to four soft spots anywhere, bright as a shadow in a lung or dark as air, float (size, size)."""
    line = (np.arange(size) + 0.5) / size
    spots = np.zeros((size, size))
    for _ in range(rng.integers(1, 5)):
        (row, column), (tall, wide) = rng.random(2), rng.uniform(0.04, 0.22, 2)
        height = rng.uniform(-0.3, 0.35)
        spots += height * np.exp(-(((line - row) / tall) ** 2))[:, None] * np.exp(-(((line - column) / wide) ** 2))
    return spots


def _framed(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Now and then a bright marker, and a plain frame that hides what lies under it."""
    size = len(image)
    image, mask = image.copy(), mask.copy()
    if rng.random() < 0.4:
        top, left = rng.integers(0, size, 2)
        image[top : top + rng.integers(2, size // 8), left : left + rng.integers(2, size // 5)] = rng.uniform(0.7, 1)
    if rng.random() < 0.3:
        top, bottom, left, right = np.round(size * rng.uniform(0, 0.1, 4)).astype(int)
        hidden = np.ones((size, size), bool)
        hidden[top : size - bottom, left : size - right] = False
        image[hidden], mask[hidden] = rng.choice((0.0, 0.0, 1.0)), False
    return image, mask


def _smooth(size: int, rng: np.random.Generator) -> np.ndarray:
    """A smooth field of mean 0 and standard deviation about 1, float (size, size)."""
    bells = _bells(size)
    return bells @ rng.standard_normal((NODES, NODES)) @ bells.T


@lru_cache(maxsize=4)
def _bells(size: int) -> np.ndarray:
    """How much each of NODES nodes counts for each place of a line, (size, NODES); the squares of a place sum to 1."""
    distance = (np.arange(size)[:, None] + 0.5) / size * (NODES - 1) - np.arange(NODES)
    bells = np.exp(-np.square(distance))
    return bells / np.linalg.norm(bells, axis=1, keepdims=True)
