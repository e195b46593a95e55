"""Parts of images filled from around them, and the lungs of one image set into the frame of another.

What is filled gets smooth greys from the nearest pixels that stay (a pyramid of means, as in Gortler et al. 1996, "The
Lumigraph", section 3.4, then relaxed). Black, or the image's mean, would draw the outline of what was cut out: an edge
that no image has, which a network answers to, and whose shape still tells the lungs' size.

For ``swapped`` the other image is stretched so that the boxes around both lungs meet, and what lies in the lungs is set
in seamlessly: its own grey levels and, added to them, a smooth sheet of the differences around (Perez et al. 2003,
"Poisson Image Editing", equation 4, from ``pulled``).

All images are squares, uint8 (n, size, size), and all masks bool of the same shape. Lengths are shares of the side.
"""

import numpy as np
import scipy  # loads scipy.ndimage when it is first used: 0.2 s that few need

MARGIN = 0.02  # that the lungs are widened by before they are covered: masks are drawn by hand, and resized
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
    made = np.where(here, values, guess)
    inner = _around(~here)
    for _ in range(RELAXED):
        smooth = scipy.ndimage.uniform_filter(made[inner], (0, 3, 3), mode="nearest")
        made[inner] = np.where(here[inner], made[inner], smooth)
    return np.asarray(made)


def _around(wanted: np.ndarray) -> tuple[slice, slice, slice]:
    """The rows and columns with anything wanted, and one more on each side."""
    ends = []
    for axes in ((0, 2), (0, 1)):
        hits = np.flatnonzero(wanted.any(axis=axes))
        ends.append(slice(max(0, hits[0] - 1), hits[-1] + 2) if len(hits) else slice(0))
    return slice(None), ends[0], ends[1]


def _fours(values: np.ndarray) -> np.ndarray:
    """Sums over squares of two by two pixels."""
    return np.asarray(values[:, ::2, ::2] + values[:, 1::2, ::2] + values[:, ::2, 1::2] + values[:, 1::2, 1::2])


def widened(lungs: np.ndarray) -> np.ndarray:
    """Lung masks with MARGIN around them."""
    reach = max(1, round(MARGIN * lungs.shape[1]))
    return np.asarray(scipy.ndimage.maximum_filter(lungs, (0, 2 * reach + 1, 2 * reach + 1)))


def boxes(lungs: np.ndarray) -> np.ndarray:
    """Of masks (n, size, size), none empty: first and last row and column inside, float64 (n, 4)."""
    hits = [np.asarray(lungs.any(axis=axis)) for axis in (2, 1)]
    ends = [(hit.argmax(1), lungs.shape[1] - 1 - hit[:, ::-1].argmax(1)) for hit in hits]
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
    offset = (top - scale[0] * up, left - scale[1] * near)
    grey = image.astype(np.float64)
    for axis in (0, 1):  # linear between two neighbours, of rows first: a fifth of an affine transform's time
        places = np.clip(np.arange(len(grey)) * scale[axis] + offset[axis], 0, len(grey) - 1)
        before = np.minimum(places.astype(int), len(grey) - 2)
        share = np.expand_dims(places - before, 1 - axis)
        grey = grey.take(before, axis) * (1 - share) + grey.take(before + 1, axis) * share
    return grey.astype(np.float32)
