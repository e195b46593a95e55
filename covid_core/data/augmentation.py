"""Random changes of training images, in NumPy and Pillow: the preview shows what training sees, from the same code.

Every image draws one number for each field of the spec, whatever is switched on: one amount turned up leaves the others
as they were.
"""

from collections.abc import Callable, Mapping
from inspect import signature
from math import cos, radians, sin
from typing import Any

import numpy as np

from covid_core.images.codec import affine, blurred, recompressed, to_square
from covid_core.images.inpainting import swapped
from covid_core.specs import AUGMENTATIONS, AugmentationSpec

FRAMES = 1  # names the random numbers of the exchange
Rng = np.random.Generator
REACH = 0.04  # share of the side around what is shown: two standard deviations of the strongest blur
GREYS = np.arange(256, dtype=np.float32)


class FrameExchange:
    """Lungs in the frames of other images (``images.inpainting``), of images whose lungs are known.

    ``pixels`` gives uint8 squares for rows of a data set, ``lungs`` are bool (n, side, side), one for each of ``rows``,
    of any side and none empty; they are held as bits.
    """

    def __init__(self, pixels: np.ndarray, rows: np.ndarray, lungs: np.ndarray):
        self._pixels, self._rows, self._shape = pixels, rows, lungs.shape[1:]
        self._place = {row: place for place, row in enumerate(rows.tolist())}
        self._bits = np.packbits(lungs.reshape(len(lungs), -1), axis=1)

    def of(self, image: np.ndarray, row: int, rng: Rng) -> np.ndarray:
        """The image's lungs in the frame of a random other image; the image itself where its lungs are not known."""
        others = len(self._rows) - 1
        if row not in self._place or others < 1:
            return image
        own = self._place[row]
        other = (own + 1 + int(rng.integers(others))) % len(self._rows)
        frame = np.asarray(self._pixels[self._rows[other]])
        return swapped(frame[None], self._lungs(other, len(image)), image[None], self._lungs(own, len(image)))[0]

    def _lungs(self, place: int, size: int) -> np.ndarray:
        mask = np.unpackbits(self._bits[place], count=self._shape[0] * self._shape[1]).reshape(self._shape)
        return to_square(mask * np.uint8(255), size)[None] > 127


def view(
    images: np.ndarray,
    spec: AugmentationSpec,
    seed: int,
    view: int,
    rows: np.ndarray | None = None,
    exchange: FrameExchange | None = None,
    shown: float = 1,
) -> np.ndarray:
    """One changed copy of each image, uint8 (n, size, size): view ``view``, from 0, of which a fit usually sees one per
    epoch. Image ``i`` of view ``v`` is always the same for a seed; ``images`` itself where the spec changes nothing.

    ``rows`` are the numbers that the images have in their data set, where they are only a part; default 0 to n - 1.
    ``exchange`` is needed where the spec exchanges frames. ``shown`` is the share of width and height, in the middle,
    that the network is shown: greys change there alone, which takes a third of the time for 60 %.
    """
    if spec.is_off:
        return images
    numbers = range(len(images)) if rows is None else rows.tolist()
    changed = np.empty_like(images)
    for place, number in enumerate(numbers):
        image = images[place]
        if spec.frames and (own := np.random.default_rng((seed, view, number, FRAMES))).random() < 0.5:
            if exchange is None:
                raise TypeError("A spec that exchanges frames needs a FrameExchange.")
            image = exchange.of(image, number, own)
        changed[place] = augmented_image(image, spec, np.random.default_rng((seed, view, number)), shown)
    return changed


def mirrored(rows: np.ndarray, seed: int, view: int) -> np.ndarray:
    """Which images ``view`` mirrors where a spec mirrors at all: bool, one per number in ``rows``."""
    flip = AugmentationSpec(flip=True)
    return np.array([_drawn(flip, np.random.default_rng((seed, view, row)))["flip"] for row in rows.tolist()])


def augmented_image(image: np.ndarray, spec: AugmentationSpec, rng: Rng, shown: float = 1) -> np.ndarray:
    """One image, uint8 (size, size), after those STEPS that the spec switches on."""
    drawn = _drawn(spec, rng)
    return applied(image, {name: amount for name, amount in drawn.items() if getattr(spec, name)}, rng, shown)


def applied(image: np.ndarray, amounts: Mapping[str, Any], rng: Rng, shown: float = 1) -> np.ndarray:
    """One image, uint8 (size, size), changed by exactly these ``amounts``: by fields of the spec, with a sign, and of
    the crop one for each side. Greys change only in the middle that is ``shown``, and REACH around it."""
    image = _after(PLACE_STEPS, image, amounts, rng)
    cut = max(0, int(len(image) * ((1 - shown) / 2 - REACH)))
    inner = image[cut : len(image) - cut, cut : len(image) - cut]
    if "blur" in amounts:  # a share of the whole side
        amounts = {**amounts, "blur": amounts["blur"] * len(image) / len(inner)}
    greys = _after(GREY_STEPS, inner, amounts, rng)
    if not cut or greys is inner:
        return greys if greys is not inner else image
    changed = image.copy()
    changed[cut:-cut, cut:-cut] = greys
    return changed


def _after(steps: "Steps", image: np.ndarray, amounts: Mapping[str, Any], rng: Rng) -> np.ndarray:
    for step, names in steps.items():
        if not amounts.keys().isdisjoint(names):
            image = step(image, rng, **{name: amounts.get(name, 0) for name in names})
    return image


def _drawn(spec: AugmentationSpec, rng: np.random.Generator) -> dict[str, Any]:
    """For one image: an amount up to the spec's in either direction, or whether a switch acts on it."""
    amounts = [getattr(spec, name) for name in AUGMENTATIONS]
    draws = zip(AUGMENTATIONS.items(), amounts, rng.random(len(amounts)).tolist(), strict=True)
    drawn = {name: (2 * draw - 1) * most if row.unit else most and draw < 0.5 for (name, row), most, draw in draws}
    return {**drawn, "crop": spec.crop * rng.random(4)}  # a share for each side


# Steps: the names of their arguments are those of the spec's fields


def _flipped(image: np.ndarray, _rng: Rng, *, flip: bool) -> np.ndarray:
    return image[:, ::-1] if flip else image


def _moved(image: np.ndarray, _rng: Rng, *, rotation: float, shift_x: float, shift_y: float, zoom: float) -> np.ndarray:
    """Turned and zoomed around the middle, then shifted by shares of the image, by one affine map; black where nothing
    was.

    Pillow asks from where each pixel of the result comes, with pixel centres at halves.
    """
    size, middle = len(image), len(image) / 2
    cosine, sine = cos(radians(rotation)) / (1 + zoom), sin(radians(rotation)) / (1 + zoom)
    x, y = middle + shift_x * size, middle + shift_y * size
    inverse = (cosine, sine, middle - cosine * x - sine * y, -sine, cosine, middle + sine * x - cosine * y)
    return affine(image, inverse)


def _cropped(image: np.ndarray, _rng: Rng, *, crop: np.ndarray) -> np.ndarray:
    """Shares cut off left, top, right and bottom, and the rest stretched to the image's size."""
    left, top, right, bottom = (len(image) * crop).tolist()
    across, down = 1 - (left + right) / len(image), 1 - (top + bottom) / len(image)
    return affine(image, (across, 0, left, 0, down, top))


def _exposed(image: np.ndarray, _rng: Rng, *, contrast: float, brightness: float) -> np.ndarray:
    """Greys spread around the image's mean, then shifted; a table of 256 greys is quicker than arithmetic on pixels."""
    factor = 1 + contrast
    return _whole(factor * GREYS + (float(image.mean()) * (1 - factor) + 255 * brightness)).take(image)


def _curved(image: np.ndarray, _rng: Rng, *, gamma: float) -> np.ndarray:
    """As far lighter for an amount as darker for its negative: the exponent is (1 + |gamma|) or its inverse."""
    exponent = (1 + abs(gamma)) ** np.sign(gamma)
    return _whole(255 * (GREYS / 255) ** exponent).take(image)


def _blurred(image: np.ndarray, _rng: Rng, *, blur: float) -> np.ndarray:
    return blurred(image, abs(blur) * len(image))


def _noisy(image: np.ndarray, rng: Rng, *, noise: float, speckle: float, poisson: float) -> np.ndarray:
    """One normal draw per pixel serves the three: independent ones add up to it, their variances summed."""
    grey = image / np.float32(255)
    variance = noise**2 + np.square(speckle * grey) + poisson**2 * grey
    return _whole(255 * (grey + np.sqrt(variance) * rng.standard_normal(image.shape, np.float32)))


def _peppered(image: np.ndarray, rng: Rng, *, salt: float) -> np.ndarray:
    draws = rng.random(image.shape, np.float32)
    changed = np.where(draws < abs(salt) / 2, np.uint8(0), image)
    return np.where(draws > 1 - abs(salt) / 2, np.uint8(255), changed)


def _compressed(image: np.ndarray, _rng: Rng, *, jpeg: float) -> np.ndarray:
    return recompressed(image, round(100 * (1 - abs(jpeg))))


def _whole(greys: np.ndarray) -> np.ndarray:
    """Rounded, and cut off at black and white."""
    return np.minimum(np.maximum(greys + 0.5, 0), 255).astype(np.uint8)


Steps = dict[Callable[..., np.ndarray], tuple[str, ...]]


def _with_names(*steps: Callable[..., np.ndarray]) -> Steps:
    return {step: tuple(signature(step).parameters)[2:] for step in steps}  # all but the image and the random numbers


PLACE_STEPS = _with_names(_flipped, _moved, _cropped)
GREY_STEPS = _with_names(_exposed, _curved, _blurred, _noisy, _peppered, _compressed)
STEPS = PLACE_STEPS | GREY_STEPS
if sorted(["frames", *(name for names in STEPS.values() for name in names)]) != sorted(AUGMENTATIONS):
    raise TypeError("Every field of AugmentationSpec but frames must be an argument of exactly one step.")
