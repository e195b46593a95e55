"""Random changes of training images, in NumPy and Pillow: the preview shows what training sees, from the same code.

Every image draws the same seven numbers whatever is switched on: one amount turned up leaves the others as they were.
"""

from math import cos, radians, sin

import numpy as np

from covid_core.images.codec import affine
from covid_core.specs import AugmentationSpec

DRAWS = 7  # rotation, shift_x, shift_y, zoom, flip, contrast, brightness
GREYS = np.arange(256, dtype=np.float32)


def view(
    images: np.ndarray, spec: AugmentationSpec, seed: int, view: int, rows: np.ndarray | None = None
) -> np.ndarray:
    """One changed copy of each image; image ``i`` of view ``v`` is always the same for a seed.

    Args:
        images: uint8 (n, size, size).
        spec: what may change, and how far.
        seed: of the run.
        view: which copy, from 0; a fit usually sees one per epoch.
        rows: the number that each image has in its data set, where ``images`` is only a part; default 0 to n - 1.

    Returns:
        uint8 (n, size, size); ``images`` itself where the spec changes nothing.
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
    return np.array([_is_mirrored(np.random.default_rng((seed, view, row)).random(DRAWS)) for row in rows.tolist()])


def _is_mirrored(draws: np.ndarray) -> bool:
    return bool(draws[4] < 0.5)


def augmented_image(image: np.ndarray, spec: AugmentationSpec, rng: np.random.Generator) -> np.ndarray:
    """One image, uint8 (size, size), mirrored, moved by one affine map with black where nothing was, then
    re-exposed."""
    draws = rng.random(DRAWS)
    rotation, shift_x, shift_y, zoom, _, contrast, brightness = (2 * draws - 1).tolist()  # in [-1, 1)
    if spec.flip and _is_mirrored(draws):
        image = image[:, ::-1]
    if spec.rotation or spec.shift_x or spec.shift_y or spec.zoom:
        moves = (rotation * spec.rotation, shift_x * spec.shift_x, shift_y * spec.shift_y, 1 + zoom * spec.zoom)
        image = affine(image, _inverse_map(len(image), *moves))
    if spec.contrast or spec.brightness:
        image = _exposed(image, 1 + contrast * spec.contrast, 255 * brightness * spec.brightness)
    return image


def _inverse_map(size: int, degrees: float, right: float, down: float, zoom: float) -> tuple[float, ...]:
    """Pillow's six numbers for a turn and a zoom around the middle, then a shift by shares of the image.

    Pillow asks from where each pixel of the result comes, with pixel centres at halves.
    """
    middle = size / 2
    cosine, sine = cos(radians(degrees)) / zoom, sin(radians(degrees)) / zoom
    x, y = middle + right * size, middle + down * size
    return (cosine, sine, middle - cosine * x - sine * y, -sine, cosine, middle + sine * x - cosine * y)


def _exposed(image: np.ndarray, contrast: float, brightness: float) -> np.ndarray:
    """Greys spread around the image's mean, then shifted; a table of 256 greys is quicker than arithmetic on pixels."""
    table = contrast * GREYS + (float(image.mean()) * (1 - contrast) + brightness + 0.5)  # the cast below cuts off
    return np.minimum(np.maximum(table, 0), 255).astype(np.uint8).take(image)
