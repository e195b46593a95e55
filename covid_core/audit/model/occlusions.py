"""Images with parts covered, to see what a model needs: the lungs, everything else, the border, the middle, fine
detail, tags.

What is covered is filled from around it: smoothly, from the nearest pixels that stay (a pyramid of means, as in
Gortler et al. 1996, "The Lumigraph", section 3.4, then relaxed). Black, or the image's mean, would draw the outline of
what was cut out: an edge that no image has, which a network answers to, and whose shape still tells the lungs' size. A
smooth fill leaves grey levels that the image has and nothing to see. It is still no image: a network may answer oddly
to it, so figures on covered images say what is lost, and a few points more or less mean nothing.

With the lungs of another image (``swapped``) a model can follow either the lungs or all around them: a cue conflict, as
Geirhos et al. 2019 ("ImageNet-trained CNNs are biased towards texture") put texture against shape. It is still an
image, where a network may answer anything to a covered one. The other image is stretched so that the boxes around both
lungs meet, and what lies in the lungs is set in seamlessly: its own grey levels and, added to them, a smooth sheet of
the differences around (Perez et al. 2003, "Poisson Image Editing", equation 4, from ``pulled``).

All images are squares, uint8 (n, size, size), and all masks bool of the same shape. Lengths are shares of the side.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

MARGIN = 0.02  # that the lungs are widened by before they are covered: masks are drawn by hand, and resized
RING = 0.15  # width of the border: letters and markers lie there, and little of the lungs
CORNER = (0.20, 0.25)  # height and width of a corner in which hospitals put their letters
MARK_WIDTH = 0.06  # strokes of letters and wires are thinner
MARK_STEP = 70  # grey levels by which a burned-in mark is brighter than its surroundings; ribs stay below 50
OVAL = (0.45, 0.43)  # half the height and half the width of the oval that stands for lungs which nothing outlines
BLUR = 1 / 32  # standard deviation of the low pass: what is left has details of about a twelfth of the side
RELAXED = 4  # sweeps after each step of the pyramid; steps of more would be no smoother to the eye


def filled(images: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """The images with what is covered filled from what stays; an image of which nothing stays is grey all over."""
    smooth = pulled(np.where(covered, 0, images).astype(np.float32), (~covered).astype(np.float32))
    return np.where(covered, np.clip(np.rint(smooth), 0, 255), images).astype(np.uint8)


def pulled(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Values where they are known, else smooth ones from around: from coarse to fine, relaxed at each size."""
    side = values.shape[1]
    if side <= 2:
        count = valid.sum(axis=(1, 2), keepdims=True)
        mean = (values * valid).sum(axis=(1, 2), keepdims=True) / np.maximum(count, 1)
        return np.where(valid > 0, values, np.where(count > 0, mean, 128))
    odd = ((0, 0), (0, side % 2), (0, side % 2))
    total, count = _fours(np.pad(values * valid, odd)), _fours(np.pad(valid, odd))
    coarse = pulled(total / np.maximum(count, 1), (count > 0).astype(np.float32))
    guess = coarse.repeat(2, 1).repeat(2, 2)[:, :side, :side]
    here = valid > 0
    pulled_values = np.where(here, values, guess)
    for _ in range(RELAXED):
        pulled_values = np.where(here, values, ndimage.uniform_filter(pulled_values, (0, 3, 3), mode="nearest"))
    return pulled_values


def _fours(values: np.ndarray) -> np.ndarray:
    """Sums over squares of two by two pixels."""
    return values[:, ::2, ::2] + values[:, 1::2, ::2] + values[:, ::2, 1::2] + values[:, 1::2, 1::2]


def widened(lungs: np.ndarray) -> np.ndarray:
    """Lung masks with MARGIN around them."""
    reach = max(1, round(MARGIN * lungs.shape[1]))
    return ndimage.maximum_filter(lungs, (0, 2 * reach + 1, 2 * reach + 1))


def ring(size: int) -> np.ndarray:
    """The border of an image, bool (size, size)."""
    width = round(RING * size)
    inner = np.ones((size, size), bool)
    inner[width : size - width, width : size - width] = False
    return inner


def oval(size: int) -> np.ndarray:
    """An upright oval around the place of the lungs, bool (size, size)."""
    rows, columns = (np.indices((size, size)) + 0.5) / size - 0.5
    return (rows / OVAL[0]) ** 2 + (columns / OVAL[1]) ** 2 < 1


def tags(images: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """Where tags are or may be: the four corners, and thin marks much brighter than what is around them. Lungs are left
    alone, so far as they are known: an empty mask protects nothing."""
    size = images.shape[1]
    height, width = (round(share * size) for share in CORNER)
    covered = np.zeros(images.shape, bool)
    for rows in (slice(None, height), slice(size - height, None)):
        for columns in (slice(None, width), slice(size - width, None)):
            covered[:, rows, columns] = True
    wide = max(3, round(MARK_WIDTH * size))
    raised = images.astype(np.int16) - ndimage.grey_opening(images, (1, wide, wide)) > MARK_STEP
    covered |= ndimage.maximum_filter(raised, (0, 3, 3))
    return covered & ~widened(lungs)


NOTHING, LUNGS_GONE, FRAME_GONE, DETAIL_GONE = "nothing covered", "lungs gone", "frame gone", "detail gone"
AS_THEY_ARE = "as they are"


@dataclass(frozen=True)
class Cover:
    """A way to cover images: its name, what is gone (LUNGS_GONE, FRAME_GONE, DETAIL_GONE) and that in words, whether it
    needs lung masks, and the function of images and their lungs that does it."""

    name: str
    gone: str
    destroys: str
    needs_lungs: bool
    of: Callable[[np.ndarray, np.ndarray], np.ndarray]


def _without_detail(images: np.ndarray) -> np.ndarray:
    deviation = BLUR * images.shape[1]
    smooth = ndimage.gaussian_filter(images.astype(np.float32), (0, deviation, deviation), mode="nearest")
    return np.rint(smooth).astype(np.uint8)


FILLINGS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "without the lungs": lambda images, lungs: filled(images, widened(lungs)),
    "border only": lambda images, _lungs: filled(images, np.broadcast_to(~ring(images.shape[1]), images.shape)),
    "tags covered": lambda images, lungs: filled(images, tags(images, lungs)),
    "centre only": lambda images, _lungs: filled(images, np.broadcast_to(ring(images.shape[1]), images.shape)),
    "lungs only": lambda images, lungs: filled(images, ~lungs),
    "low-pass": lambda images, _lungs: _without_detail(images),
}
_ROWS = tomllib.loads(Path(__file__).with_name("covers.toml").read_text(encoding="utf-8"))
COVERS = tuple(Cover(name, of=FILLINGS[name], **row) for name, row in _ROWS.items())  # in the order drawn


# The lungs of another image


def boxes(lungs: np.ndarray) -> np.ndarray:
    """Of masks (n, size, size), none empty: first and last row and column inside, float64 (n, 4)."""
    ends = [(hit.argmax(1), lungs.shape[1] - 1 - hit[:, ::-1].argmax(1)) for hit in (lungs.any(2), lungs.any(1))]
    return np.stack([*ends[0], *ends[1]], 1).astype(np.float64)


def swapped(frames: np.ndarray, frame_lungs: np.ndarray, donors: np.ndarray, donor_lungs: np.ndarray) -> np.ndarray:
    """Images uint8 (n, size, size) with the lungs of ``donors`` in place of their own; masks are bool, none empty."""
    moved = np.stack(list(map(_moved, donors, boxes(donor_lungs), boxes(frame_lungs))))
    inside = widened(frame_lungs)
    difference = frames.astype(np.float32) - moved
    sheet = pulled(np.where(inside, 0, difference), (~inside).astype(np.float32))
    return np.clip(np.rint(np.where(inside, moved + sheet, frames)), 0, 255).astype(np.uint8)


def _moved(image: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """An image stretched so that one box comes to lie on another: float32, edges repeated."""
    top, bottom, left, right = source
    up, down, near, far = target
    scale = (bottom - top) / max(1.0, down - up), (right - left) / max(1.0, far - near)
    return ndimage.affine_transform(
        image.astype(np.float32), scale, (top - scale[0] * up, left - scale[1] * near), order=1, mode="nearest"
    )
