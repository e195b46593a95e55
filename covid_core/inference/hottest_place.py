"""Where a heat map is highest: on the margin or on letters, where no disease can be; else, beside known lungs."""

from dataclasses import dataclass

import numpy as np

from covid_core.images import lettering
from covid_core.images.codec import GreyImage
from covid_core.inference.predictor import Heat

MARGIN, LETTERS, ELSEWHERE, NOWHERE = "margin", "letters", "elsewhere", "nowhere"
INSIDE, BETWEEN, OUTSIDE = "inside the lungs", "between the lungs", "outside the lungs"  # in place of ELSEWHERE
EDGE = 5 / 64  # of each side, as the probe of border pixels has it (``audit.shortcuts.probes``)
REACH = 0.04  # of the longer side: letters so near are what a map of coarse cells can mean


@dataclass(frozen=True)
class HottestPlace:
    """``on`` is MARGIN, LETTERS, INSIDE, BETWEEN, OUTSIDE, ELSEWHERE without known lungs, or NOWHERE for an empty
    map; ``across`` and ``down`` in [0, 1]."""

    on: str
    across: float = 0.0
    down: float = 0.0


def of(heat: Heat, label: str, image: GreyImage, lungs: np.ndarray | None = None) -> HottestPlace:
    """The highest place of an image's heat map for a class. Letters at the margin count as letters.

    ``lungs``: bool (h, w), the outline of the whole image at any size.
    """
    lettered = lettering.lettered(image.pixels)
    values = heat(label, lettered.shape)
    if not values.any():
        return HottestPlace(NOWHERE)
    height, width = lettered.shape
    row, column = map(int, np.unravel_index(int(values.argmax()), values.shape))
    down, across = (row + 0.5) / height, (column + 0.5) / width
    reach = round(REACH * max(height, width))
    around = lettered[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
    beside = MARGIN if min(down, across, 1 - down, 1 - across) < EDGE else _beside(lungs, across, down)
    return HottestPlace(LETTERS if around.any() else beside, across, down)


def _beside(lungs: np.ndarray | None, across: float, down: float) -> str:
    if lungs is None:
        return ELSEWHERE
    row, column = lungs[int(down * len(lungs))], int(across * lungs.shape[1])
    if row[column]:
        return INSIDE
    return BETWEEN if row[:column].any() and row[column:].any() else OUTSIDE
