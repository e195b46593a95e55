"""Random changes of training images, in NumPy and Pillow: the preview shows what training sees, from the same code.

Every image draws one number for each field of the spec, whatever is switched on: one amount turned up leaves the others
as they were.
"""

from collections.abc import Callable
from inspect import signature
from math import cos, radians, sin
from typing import Any

import numpy as np

from covid_core.images.codec import affine
from covid_core.specs import AUGMENTATIONS, AugmentationSpec

GREYS = np.arange(256, dtype=np.float32)


def view(
    images: np.ndarray, spec: AugmentationSpec, seed: int, view: int, rows: np.ndarray | None = None
) -> np.ndarray:
    """One changed copy of each image, uint8 (n, size, size): view ``view``, from 0, of which a fit usually sees one per
    epoch. Image ``i`` of view ``v`` is always the same for a seed; ``images`` itself where the spec changes nothing.

    ``rows`` are the numbers that the images have in their data set, where they are only a part; default 0 to n - 1.
    """
    if spec.is_off:
        return images
    numbers = range(len(images)) if rows is None else rows.tolist()
    changed = np.empty_like(images)
    for place, number in enumerate(numbers):
        changed[place] = augmented_image(images[place], spec, np.random.default_rng((seed, view, number)))
    return changed


def mirrored(rows: np.ndarray, seed: int, view: int) -> np.ndarray:
    """Which images ``view`` mirrors where a spec mirrors at all: bool, one per number in ``rows``."""
    flip = AugmentationSpec(flip=True)
    return np.array([_drawn(flip, np.random.default_rng((seed, view, row)))["flip"] for row in rows.tolist()])


def augmented_image(image: np.ndarray, spec: AugmentationSpec, rng: np.random.Generator) -> np.ndarray:
    """One image, uint8 (size, size), after those STEPS that the spec switches on."""
    drawn = _drawn(spec, rng)
    for step, names in STEPS.items():
        if any(getattr(spec, name) for name in names):
            image = step(image, **{name: drawn[name] for name in names})
    return image


def _drawn(spec: AugmentationSpec, rng: np.random.Generator) -> dict[str, Any]:
    """For one image: an amount up to the spec's in either direction, or whether a switch acts on it."""
    amounts = [getattr(spec, name) for name in AUGMENTATIONS]
    draws = zip(AUGMENTATIONS.items(), amounts, rng.random(len(amounts)).tolist(), strict=True)
    return {name: (2 * draw - 1) * most if row.unit else most and draw < 0.5 for (name, row), most, draw in draws}


# Steps: the names of their arguments are those of the spec's fields


def _flipped(image: np.ndarray, *, flip: bool) -> np.ndarray:
    return image[:, ::-1] if flip else image


def _moved(image: np.ndarray, *, rotation: float, shift_x: float, shift_y: float, zoom: float) -> np.ndarray:
    """Turned and zoomed around the middle, then shifted by shares of the image, by one affine map; black where nothing
    was.

    Pillow asks from where each pixel of the result comes, with pixel centres at halves.
    """
    size, middle = len(image), len(image) / 2
    cosine, sine = cos(radians(rotation)) / (1 + zoom), sin(radians(rotation)) / (1 + zoom)
    x, y = middle + shift_x * size, middle + shift_y * size
    inverse = (cosine, sine, middle - cosine * x - sine * y, -sine, cosine, middle + sine * x - cosine * y)
    return affine(image, inverse)


def _exposed(image: np.ndarray, *, contrast: float, brightness: float) -> np.ndarray:
    """Greys spread around the image's mean, then shifted; a table of 256 greys is quicker than arithmetic on pixels."""
    factor = 1 + contrast
    table = factor * GREYS + (float(image.mean()) * (1 - factor) + 255 * brightness + 0.5)  # the cast below cuts off
    return np.minimum(np.maximum(table, 0), 255).astype(np.uint8).take(image)


STEPS: dict[Callable[..., np.ndarray], tuple[str, ...]] = {
    step: tuple(signature(step).parameters)[1:]  # all but the image
    for step in (_flipped, _moved, _exposed)
}
if sorted(name for names in STEPS.values() for name in names) != sorted(AUGMENTATIONS):
    raise TypeError("Every field of AugmentationSpec must be an argument of exactly one step.")
