"""Images beside and below each other as one light picture with labels, to print or to hand out."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from covid_core.images.codec import PAPER, to_square, written

TILE, GAP, MARGIN = 240, 10, 24  # pixels of an image, between two, and around all of them
HEADING, LETTERS = 22, 14  # pixels of a heading's letters and of a caption's
PER_LINE = 32  # letters of a caption


class Tile(NamedTuple):
    """A square image, uint8 (size, size), and what stands below it."""

    pixels: np.ndarray
    caption: str = ""


def contact_sheet(
    groups: Mapping[str, Sequence[Tile]], per_row: int = 6, margin: int = MARGIN, heading: int = HEADING
) -> np.ndarray:
    """All images of all groups, uint8 (height, width), each group below its name where it has one.

    ``heading`` is the height of a name's letters, and ``margin`` the room around all, in pixels.
    """
    columns = min(per_row, max(map(len, groups.values())))
    width = columns * (TILE + GAP) - GAP
    parts = []
    for name, tiles in groups.items():
        if name:
            parts.append(written([name], heading, width, heading + GAP))
        rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
        parts += [np.hstack(_row(row, width)) for row in rows]
    sheet = np.vstack(parts)[:-GAP]
    return np.pad(sheet, margin, constant_values=PAPER)


def _row(tiles: Sequence[Tile], width: int) -> list[np.ndarray]:
    """Columns of pixels of the same height, as wide as the sheet together."""
    captions = [textwrap.wrap(tile.caption, PER_LINE) for tile in tiles]
    longest = max(map(len, captions))
    below = longest * (LETTERS + 4) + (4 if longest else 0) + GAP
    columns = []
    for tile, lines in zip(tiles, captions, strict=True):
        image = np.pad(to_square(tile.pixels, TILE), ((0, 0), (0, GAP)), constant_values=PAPER)
        columns.append(np.vstack([image, written(lines, LETTERS, TILE + GAP, below)]))
    whole = np.hstack(columns)[:, :width]
    return [whole, np.full((len(whole), width - whole.shape[1]), PAPER, np.uint8)]
