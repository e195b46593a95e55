"""What the viewer's test page shows: made images and maps, the same in the page's process and in the test's."""

from functools import cache

import numpy as np

from covid_core.synthetic import phantom
from pages.panels.predict.viewer import Overlay, Picture

IMAGES = 60
WINDOW = (2048.0, 4096.0)  # centre and width of the 12-bit images


def ramp() -> Picture:
    """All 65,536 levels of 16 bits, row by row, each in one pixel."""
    return Picture(np.arange(65536, dtype=np.uint16).reshape(256, 256), "Ramp", "All 65,536 grey levels in order")


def wide() -> Picture:
    """A title that is no HTML, and a pixel that is twice as high as wide."""
    pixels = np.tile(np.arange(256, dtype=np.uint8), (40, 1))
    return Picture(pixels, "<b>Wide</b>", "256 grey levels from left to right", spacing=(0.2, 0.1))


@cache
def large() -> Picture:
    """An image of 4,096 rows and 3,072 columns."""
    image = phantom.image_at(3, IMAGES, size=1024).pixels
    return Picture(np.kron(image, np.ones((4, 3), np.uint8)), "Large", "An image of 4,096 rows", spacing=(0.1, 0.1))


@cache
def twelve_bits(index: int, size: int, title: str) -> tuple[Picture, np.ndarray]:
    """A synthetic image with a detector's depth and noise, and its lungs."""
    image = phantom.image_at(index, IMAGES, size=size)
    noise = np.random.default_rng(index).normal(0, 12, image.pixels.shape)
    pixels = np.clip(image.pixels * 16.0 + noise, 0, 4095).astype(np.uint16)
    return Picture(pixels, title, f"Synthetic image {index}", WINDOW, (400 / size, 400 / size)), image.lung_mask


def spot(row: float, column: float, size: int = 14) -> np.ndarray:
    """A round spot in [0, 1] on a coarse map, at a place in shares of its sides."""
    rows, columns = np.mgrid[:size, :size] / (size - 1)
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 0.03).astype(np.float32)


OVERLAYS = {
    "Upper left": Overlay(spot(0.4, 0.3), "Grad-CAM: what speaks for COVID", "warm over the left upper field"),
    "Lower right": Overlay(spot(0.7, 0.7), "Grad-CAM: what speaks for Normal", "warm over the right lower field"),
    "Both ways": Overlay(spot(0.4, 0.3) - spot(0.65, 0.7), "What moves the score for COVID", "two spots", signed=True),
    "None": None,
}
