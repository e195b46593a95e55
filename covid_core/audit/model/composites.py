"""Images with the lungs of another image: what does a model follow, the lungs or all around them?

A cue conflict, as Geirhos et al. 2019 ("ImageNet-trained CNNs are biased towards texture") put texture against shape.
Covering a part changes an image so much that many a network answers anything; an image with other lungs is still an
image. The other image is stretched so that the boxes around both lungs meet, and what lies in the lungs is set in
seamlessly: its own grey levels and, added to them, a smooth sheet of the differences around (Perez et al. 2003,
"Poisson Image Editing", equation 4, from ``occlusions.pulled``).
"""

import numpy as np
from scipy import ndimage

from covid_core.audit.model.occlusions import pulled, widened


def boxes(lungs: np.ndarray) -> np.ndarray:
    """Of masks (n, size, size), none empty: first and last row and column inside, float64 (n, 4)."""
    rows, columns = lungs.any(axis=2), lungs.any(axis=1)
    size = lungs.shape[1]
    return np.stack(
        [rows.argmax(1), size - 1 - rows[:, ::-1].argmax(1), columns.argmax(1), size - 1 - columns[:, ::-1].argmax(1)],
        1,
    ).astype(np.float64)


def swapped(frames: np.ndarray, frame_lungs: np.ndarray, donors: np.ndarray, donor_lungs: np.ndarray) -> np.ndarray:
    """Images uint8 (n, size, size) with the lungs of ``donors`` in place of their own; masks are bool, none empty."""
    moved = np.stack(
        [
            _moved(donor, source, target)
            for donor, source, target in zip(donors, boxes(donor_lungs), boxes(frame_lungs), strict=True)
        ]
    )
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
