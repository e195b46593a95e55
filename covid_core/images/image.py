"""An image as it was read, and the rules that every reader keeps: sizes, bit depths, windows, grey from colours.

``images.codec`` opens pictures, ``images.dicom`` DICOM files; both make a ``GreyImage``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from covid_core.errors import ImageError

SMALLEST_SIDE = 32  # pixels; below it no lung field is left to see
MOST_PIXELS = 64_000_000
LARGEST_ASPECT = 8
COLOUR_SPREAD = 12  # grey levels between channels, mean over the image; scanned grey images stay far below it
BIT_DEPTHS = (8, 10, 12, 14, 16)  # depths that detectors deliver inside 16-bit files
LEVELS = 2**16  # greys that Image.deep can hold
PIXELS_AT_ONCE = 2**20  # looked up in a table in one go: NumPy makes eight bytes of every index
LUMA = np.array([19595, 38470, 7471], np.uint32)  # ITU-R 601 in 1/65536, as Pillow has it
COLOUR_NOTE = "a colour picture, turned to grey; X-ray images are grey"
TRANSPARENT_NOTE = "transparent parts laid on black"
DOUBTED_NOTES = {  # what changes the picture itself, as a reason to doubt any answer
    COLOUR_NOTE: "The file holds a colour picture, perhaps a photo of a screen. Upload the original X-ray file.",
    TRANSPARENT_NOTE: "Transparent parts were laid on black. That may change the picture: save it without them.",
}
QUARTERS = ("0 degrees", "90 degrees to the right", "180 degrees", "90 degrees to the left")
FULL_RANGE = -1  # the window that every image with depth offers last
INVALID_WINDOW = "The image's stored window is invalid; read it over its full range, or export it again."
TOO_MUCH_MEMORY = "The image needs too much memory to be read; export it smaller or uncompressed and try that."


class WindowChoice(NamedTuple):
    """A range of ``Image.deep`` that is shown as black to white; ``name`` is in words and in the file's units."""

    name: str
    centre: float
    width: float


@dataclass(frozen=True)
class GreyImage:
    """An image as it was read.

    ``pixels``: uint8 of shape (height, width), black is 0: all that a model sees. ``mode`` is the kind of pixel in the
    file ("L", "RGB", "MONOCHROME2" ...), ``notes`` says in words what was changed on the way to grey. ``warnings`` are
    reasons to doubt any answer (a lateral view, a hand, a name burned in), each one sentence; ``not_chest`` are those
    of them that say it is no frontal chest image: no run answers for it. ``spacing`` is a pixel's height and width in
    millimetres, where the file has it. ``deep`` holds the greys before they were brought to 8 bits, uint16 of the same
    shape, black is 0, where the file has more; ``window`` is its (centre, width) that became ``pixels`` by ``shown``.

    ``windows`` are the choices that the file offers, the full range last, and ``chosen`` is the place of the one that
    was used; reading the file again with another place shows the image so. Both are empty for an 8-bit picture.
    A stored curve (a VOI LUT, a sigmoid) has been applied to ``deep`` already where it was chosen, so that its window
    is all of what the curve gives. Centre and width are nan of a choice that ``deep`` cannot show, a curve that was not
    chosen or anything else than the one that was: it takes another reading.

    ``facts`` are those of a DICOM header for a data set (see ``dicom.facts_of``); empty of an image to predict.
    """

    pixels: np.ndarray
    mode: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    deep: np.ndarray | None = None
    window: tuple[float, float] | None = None
    windows: tuple[WindowChoice, ...] = ()
    chosen: int = 0
    not_chest: tuple[str, ...] = ()
    spacing: tuple[float, float] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def with_depth(
    deep: np.ndarray,
    mode: str,
    windows: tuple[WindowChoice, ...],
    chosen: int,
    notes: tuple[str, ...] = (),
    warnings: tuple[str, ...] = (),
) -> GreyImage:
    """An image from uint16 greys, shown in the chosen window. Raises ImageError where that leaves nothing to see."""
    with_content(deep)
    choice = windows[chosen]
    pixels = shown(deep, choice.centre, choice.width)
    if pixels.min() == pixels.max():
        raise ImageError(f"The image's {choice.name} leaves a single grey; export the image with another window.")
    return GreyImage(pixels, mode, notes, warnings, deep, (choice.centre, choice.width), windows, chosen)


def shown(deep: np.ndarray, centre: float, width: float) -> np.ndarray:
    """uint16 greys as uint8: ``centre - width / 2`` and what is darker black, ``centre + width / 2`` white.

    That is the linear exact window of DICOM PS3.3 C.11.2.1.3.2; one of no width parts black from white at ``centre``.
    """
    levels = np.arange(LEVELS)
    if width == 0:
        return mapped(np.where(levels > centre, 255, 0).astype(np.uint8), deep)
    scaled = np.round((levels - (centre - width / 2)) * (255 / width))
    return mapped(np.clip(scaled, 0, 255).astype(np.uint8), deep)


def mapped(table: np.ndarray, places: np.ndarray, first: int = 0) -> np.ndarray:
    """``table[places - first]`` of a picture (height, width), some rows at a time, which keeps memory small."""
    values = np.empty(places.shape, table.dtype)
    step = max(1, PIXELS_AT_ONCE // places.shape[1])
    for top in range(0, len(places), step):
        rows = places[top : top + step]
        values[top : top + step] = table[rows.astype(np.int64) - first] if first else table[rows]
    return values


def full_range(brightest: int, most: int = 16) -> WindowChoice:
    """All greys of the bit depth in use: the smallest usual one, up to ``most``, that holds the brightest pixel.

    Files of 16 bits often hold 10 or 12, and no header says so.
    """
    depth = next((bits for bits in BIT_DEPTHS if bits < most and brightest < 2**bits), most)
    top = 2**depth - 1
    return WindowChoice(f"full range, {depth} bits", top / 2, float(top))


def darkest_to_brightest(width: int) -> WindowChoice:
    """All greys of an image whose darkest pixel is 0 and whose brightest is ``width``."""
    return WindowChoice("range from the darkest to the brightest pixel", width / 2, float(width))


def chosen_place(window: int, offered: int) -> int:
    """``window`` as a place among so many, counted from the end where negative. Raises ImageError for no such."""
    if not -offered <= window < offered:
        raise ImageError(
            f"There is none at place {window} of the image's windows; places begin at 0, and it has {offered}."
        )
    return window % offered


def with_content(pixels: np.ndarray) -> np.ndarray:
    """The pixels themselves. Raises ImageError when they are all equal."""
    if pixels.min() == pixels.max():
        raise ImageError("The image has no image content: all its pixels are equal.")
    return pixels


def size_refused(width: int, height: int) -> str:
    """Why a picture of that size is no image; nothing when it may be one."""
    if min(width, height) < SMALLEST_SIDE:
        return f"The image is too small: {width} x {height} pixels, at least {SMALLEST_SIDE} are needed."
    if width * height > MOST_PIXELS:
        return f"The image has more than {MOST_PIXELS // 10**6} million pixels."
    if max(width, height) > LARGEST_ASPECT * min(width, height):
        return f"The image is a strip of {width} x {height} pixels."
    return ""


def grey_of_colours(rgb: np.ndarray, notes: list[str]) -> np.ndarray:
    """uint8 colours (height, width, 3) as uint8 grey, to the last level what Pillow makes of them."""
    grey = np.empty(rgb.shape[:2], np.uint8)
    spread = 0
    step = max(1, PIXELS_AT_ONCE // rgb.shape[1])
    for top in range(0, len(rgb), step):
        rows = rgb[top : top + step]
        grey[top : top + step] = (rows.astype(np.uint32) @ LUMA + 0x8000) >> 16
        spread += int(np.ptp(rows, axis=2).sum(dtype=np.int64))
    if spread / grey.size > COLOUR_SPREAD:
        notes.append(COLOUR_NOTE)
    return grey


def doubts_about(notes: list[str]) -> tuple[str, ...]:
    """The warnings that follow from what was done on the way to grey."""
    return tuple(DOUBTED_NOTES[note] for note in notes if note in DOUBTED_NOTES)


class Turn(NamedTuple):
    """How a person turns an image before it is read: quarters clockwise, then mirrored left to right, then inverted."""

    quarters: int = 0
    mirrored: bool = False
    inverted: bool = False

    def then(self, other: "Turn") -> "Turn":
        """This turn and another after it."""
        quarters = self.quarters + (-other.quarters if self.mirrored else other.quarters)
        return Turn(quarters % 4, self.mirrored != other.mirrored, self.inverted != other.inverted)

    @property
    def undone(self) -> "Turn":
        """The turn that brings an image back."""
        return self if self.mirrored else self._replace(quarters=-self.quarters % 4)  # a mirror image undoes itself

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (height, width, ...) turned and mirrored, in memory of their own."""
        rotated = np.rot90(pixels, -self.quarters)
        return np.ascontiguousarray(rotated[:, ::-1] if self.mirrored else rotated)

    @property
    def in_words(self) -> str:
        parts = [f"turned by {QUARTERS[self.quarters]}"] if self.quarters else []
        parts += ["mirrored"] if self.mirrored else []
        return ", ".join([*parts, *(["inverted"] if self.inverted else [])])


def turned(image: GreyImage, turn: Turn) -> GreyImage:
    """The image as a person turned it, with a note of that. Its deep greys go with it unless it is inverted."""
    if turn == Turn():
        return image
    pixels, deep = turn.of(image.pixels), None if image.deep is None else turn.of(image.deep)
    return replace(
        image,
        pixels=255 - pixels if turn.inverted else pixels,
        deep=None if turn.inverted else deep,
        window=None if turn.inverted else image.window,
        spacing=image.spacing[::-1] if image.spacing and turn.quarters % 2 else image.spacing,
        notes=(*image.notes, f"{turn.in_words} by hand"),
    )
