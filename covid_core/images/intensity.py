"""Greys as a network is shown them, for pictures: what ``nets.model`` does in layers of the model, in NumPy.

A test holds both against each other.
"""

import numpy as np

from covid_core.specs import Intensity

GREY_MEAN, GREY_DEVIATION = 127.5, 64  # of an image after standardisation: two deviations reach black and white
BANDS = 16


def adapted(image: np.ndarray, intensity: Intensity) -> np.ndarray:
    """A uint8 image (height, width) as the network is shown it; what falls outside 0..255 is cut off."""
    greys: np.ndarray = {"as_is": _unchanged, "per_image": _standardised, "equalised": _equalised}[intensity](image)
    whole: np.ndarray = np.clip(np.rint(greys), 0, 255).astype(np.uint8)
    return whole


def _unchanged(image: np.ndarray) -> np.ndarray:
    return image


def _standardised(image: np.ndarray) -> np.ndarray:
    greys = image.astype(np.float32)
    unit: np.ndarray = (greys - greys.mean()) / np.sqrt(greys.var() + 1)
    return unit * GREY_DEVIATION + GREY_MEAN


def _equalised(image: np.ndarray) -> np.ndarray:
    """The distribution function of every second pixel of every second row, linear within each band."""
    ends = np.arange(BANDS + 1) * (256 / BANDS) - 0.5
    below = [_climbed(image[::2, ::2], start, 1).mean() for start in ends]
    shares = -np.diff(below)
    spread = np.zeros(image.shape, np.float32)
    for start, share in zip(ends[:-1], shares, strict=True):
        spread += 255 * share * _climbed(image, start, 256 / BANDS)
    return spread


def _climbed(image: np.ndarray, start: float, height: float) -> np.ndarray:
    climbed: np.ndarray = np.clip((image.astype(np.float32) - start) / height, 0, 1)
    return climbed
