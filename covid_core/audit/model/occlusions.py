"""Images with parts covered, to see what a model needs: the lungs, everything else, the border, the middle, fine
detail, tags.

What is covered is filled from around it (``images.inpainting``). It is still no image: a network may answer oddly to
it, so figures on covered images say what is lost, and a few points more or less mean nothing. With the lungs of another
image (``inpainting.swapped``) a model can follow either the lungs or all around them: a cue conflict, as Geirhos et al.
2019 ("ImageNet-trained CNNs are biased towards texture") put texture against shape. It is still an image, where a
network may answer anything to a covered one.

All images are squares, uint8 (n, size, size), and all masks bool of the same shape. Lengths are shares of the side.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy  # loads scipy.ndimage when it is first used: 0.2 s that few need

from covid_core.images.inpainting import filled, widened

RING = 0.15  # width of the border: letters and markers lie there, and little of the lungs
CORNER = (0.20, 0.25)  # height and width of a corner in which hospitals put their letters
MARK_WIDTH = 0.06  # strokes of letters and wires are thinner
MARK_STEP = 70  # grey levels by which a burned-in mark is brighter than its surroundings; ribs stay below 50
OVAL = (0.45, 0.43)  # half the height and half the width of the oval that stands for lungs which nothing outlines
BLUR = 1 / 32  # standard deviation of the low pass: what is left has details of about a twelfth of the side


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
    raised = images.astype(np.int16) - scipy.ndimage.grey_opening(images, (1, wide, wide)) > MARK_STEP
    covered |= scipy.ndimage.maximum_filter(raised, (0, 3, 3))
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
    smooth = scipy.ndimage.gaussian_filter(images.astype(np.float32), (0, deviation, deviation), mode="nearest")
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
