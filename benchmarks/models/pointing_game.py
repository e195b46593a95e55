"""The pointing game: does a heat map's highest point lie on the lesion?

After Zhang et al. 2018, "Top-Down Neural Attention by Excitation Backprop" (IJCV 126), who count a hit when the point
lies within 15 pixels of the object on a picture of 224: a map is coarser than an outline.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TOLERANCE = 15 / 224  # of the picture's longer side


@dataclass(frozen=True)
class Point:
    """One image's turn: whether the highest point hit, and how likely a point at random would have."""

    hit: bool
    chance: float


@dataclass(frozen=True)
class Game:
    """Hits and chance in the mean of all images; nan without images."""

    hits: float
    chance: float
    images: int


def point(heat: np.ndarray, lesion: np.ndarray) -> Point:
    """Play one image's turn.

    Args:
        heat: (height, width); of several highest points the first counts. An empty map (nothing above 0) is no hit.
        lesion: bool, the same shape, True somewhere.
    """
    from scipy import ndimage  # 0.2 s to import

    near = ndimage.distance_transform_edt(~lesion) <= TOLERANCE * max(lesion.shape)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    return Point(bool(near[row, column] and heat[row, column] > 0), float(near.mean()))


def played(points: Sequence[Point]) -> Game:
    """All turns together."""
    if not points:
        return Game(np.nan, np.nan, 0)
    return Game(
        float(np.mean([one.hit for one in points])), float(np.mean([one.chance for one in points])), len(points)
    )
