"""Small affine maps of many images at once."""

import numpy as np


def moved(images: np.ndarray, maps: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images under a map each, bilinear.

    Args:
        images: float32 (n, side, side).
        maps: (n, 6): a place (x, y), from -1 to 1, is looked up at x + m0 x + m1 y + m2 and y + m3 x + m4 y + m5.
        x, y: the places, (m,) each.

    Returns:
        Where each map leads, (2, n, m), in the same units, and the greys there (n, m); beyond the border they are those
        of the border's line, drawn on.
    """
    count, side, _ = images.shape
    places = np.stack([x, y, np.ones_like(x)])
    to = np.stack([x + maps[:, :3] @ places, y + maps[:, 3:] @ places])
    across, down = (np.clip(to, -1, 1) + 1) * np.float32((side - 1) / 2)
    left, top = (np.minimum(at.astype(np.int32), side - 2) for at in (across, down))
    right_part, low_part = across - left, down - top
    at = top * side + left + (np.arange(count, dtype=np.int32) * side * side)[:, None]
    flat = images.reshape(-1)
    upper, lower = flat[at], flat[at + side]
    upper += (flat[at + 1] - upper) * right_part
    lower += (flat[at + side + 1] - lower) * right_part
    return to, upper + (lower - upper) * low_part
