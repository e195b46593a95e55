"""Which part of an image a network is shown: a box, cut out and brought to a square, and maps of it laid back."""

from dataclasses import dataclass

import numpy as np

from covid_core.images.codec import resized_map, to_square

ROUNDING = 1e-6  # of a pixel; shares such as 0.7 are no exact binary numbers


@dataclass(frozen=True)
class Box:
    """A part of an image: where its sides lie, as shares of the image's width and height, 0 at the left and the top."""

    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0

    @classmethod
    def centre(cls, share: float) -> "Box":
        """The middle of an image, ``share`` of its width and height."""
        before = (1 - share) / 2
        return cls(before, before, 1 - before, 1 - before)

    @classmethod
    def around(cls, mask: np.ndarray, margin: float) -> "Box":
        """What encloses the True of a mask, bool (height, width), not empty, and on each side so much more: a share of
        the enclosed width or height. It ends where the image ends."""
        (left, right), (top, bottom) = (_extent(np.asarray(mask.any(axis=axis)), margin) for axis in (0, 1))
        return cls(left, top, right, bottom)

    @property
    def is_whole(self) -> bool:
        return self == WHOLE

    @property
    def shortest(self) -> float:
        """The smaller of its width and its height, as shares of the image's."""
        return min(self.right - self.left, self.bottom - self.top)

    def slices(self, height: int, width: int) -> tuple[slice, slice]:
        """Its rows and columns of an image of that size, in whole pixels."""
        return _pixels(self.top, self.bottom, height), _pixels(self.left, self.right, width)

    def cut(self, pixels: np.ndarray, size: int) -> np.ndarray:
        """Its part of a uint8 image (height, width), stretched to uint8 (size, size)."""
        return to_square(np.ascontiguousarray(pixels[self.slices(*pixels.shape)]), size)

    def cut_mask(self, mask: np.ndarray) -> np.ndarray:
        """Its part of a square bool mask (side, side), stretched to the same side."""
        return self.cut(mask * np.uint8(255), len(mask)) > 127

    def laid_back(self, part: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """A map of what it encloses, float32 of any size, at its place in a map of the whole image (``shape``): 0
        beside it."""
        whole = np.zeros(shape, np.float32)
        rows, columns = self.slices(*shape)
        whole[rows, columns] = resized_map(part, columns.stop - columns.start, rows.stop - rows.start)
        return whole


WHOLE = Box()


def _extent(has_some: np.ndarray, margin: float) -> tuple[float, float]:
    places = np.flatnonzero(has_some)
    first, last = float(places[0]), float(places[-1] + 1)
    more = margin * (last - first)
    return max(0.0, (first - more) / len(has_some)), min(1.0, (last + more) / len(has_some))


def _pixels(start: float, end: float, side: int) -> slice:
    extent = max(1, round((end - start) * side))
    first = int(np.floor((start + end) / 2 * side - extent / 2 + ROUNDING))
    first = min(max(first, 0), side - extent)
    return slice(first, first + extent)
