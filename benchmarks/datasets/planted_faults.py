"""Faults that an image can have, done to a good one: what the audit must find.

Each takes and gives a uint8 image (height, width) with its generator of random numbers; the strength lies where the
fault is plain to an eye that looks for it.
"""

from collections.abc import Callable

import numpy as np

from benchmarks.datasets import views
from covid_core.images.codec import jpeg_bytes, read_image, to_square
from covid_core.synthetic.phantom import GLYPHS

Fault = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def low_contrast(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A tenth of the greys that it had, around a middle grey."""
    return _grey(rng.uniform(90, 150) + (image.astype(float) - image.mean()) * rng.uniform(0.05, 0.12))


def dark(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hardly exposed: nearly all of it black."""
    return _grey(255 * (image / 255.0) ** rng.uniform(3.5, 5.0) * 0.8)


def bright(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Washed out: nearly all of it white."""
    return _grey(255 * (image / 255.0) ** rng.uniform(0.10, 0.18))


def blurred(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Out of focus, or moved: under a Gaussian of 1.2 to 2 % of the side."""
    from scipy import ndimage  # 0.2 s to import

    return _grey(ndimage.gaussian_filter(image.astype(float), rng.uniform(0.012, 0.02) * min(image.shape)))


def inverted(image: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """Black for white."""
    return 255 - image


def turned(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """By one, two or three quarters."""
    return np.ascontiguousarray(np.rot90(image, rng.integers(1, 4)))


def letterboxed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Between two bands of one grey, black or white, above and below or left and right."""
    band = int(rng.uniform(0.09, 0.2) * min(image.shape))
    framed = np.full_like(image, rng.choice((0, 255)))
    if rng.random() < 0.5:
        framed[band:-band] = image[band:-band]
    else:
        framed[:, band:-band] = image[:, band:-band]
    return framed


def with_text(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A line of letters burned into a corner."""
    dot = max(1, min(image.shape) // rng.integers(85, 130))
    letters = rng.choice(list(GLYPHS), rng.integers(3, 8))
    line = np.concatenate([_glyph(letter, dot) for letter in letters], axis=1)
    rows, columns = line.shape
    margin = min(image.shape) // 20
    top = margin if rng.random() < 0.5 else image.shape[0] - margin - rows
    left = margin if rng.random() < 0.5 else image.shape[1] - margin - columns
    written = image.copy()
    written[top : top + rows, left : left + columns][line] = 250
    return written


def coded(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Saved as JPEG of low quality."""
    return read_image(jpeg_bytes(image, int(rng.integers(15, 45)))).pixels


def scaled_up(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A tiny picture of it, enlarged again to squares of the shorter side."""
    side = min(image.shape)
    return to_square(to_square(image, int(side * rng.uniform(0.2, 0.35))), side)


def cut(image: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """A strip of it, less than half as wide as it is high."""
    width = image.shape[1] // 5
    return np.ascontiguousarray(image[:, 2 * width : 4 * width])


def tiny(image: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """A preview: 80 pixels a side."""
    return to_square(image, 80)


def not_chest(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The trunk from the side, roughly: one dark oval before a bright column, in a body that fills the middle."""
    height, width = image.shape
    v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    facing = rng.choice((-1, 1))
    u = u * facing + rng.uniform(-0.1, 0.1)
    body = 150 * (np.abs(u) < 0.72 + 0.1 * v) + 50.0 * (np.abs(u + 0.5 - 0.15 * v**2) < 0.11)
    lung = np.clip(1.6 - 1.6 * ((u - 0.08 - 0.15 * v) ** 2 / 0.22 + (v + 0.05) ** 2 / 0.5), 0, 1)
    heart = np.clip(2 - 2 * ((u - 0.25) ** 2 + (v - 0.3) ** 2) / 0.09, 0, 1)
    return _grey(20 + body - 95 * lung + 70 * heart * (lung > 0) + rng.normal(0, 3, image.shape))


def lateral(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The chest from the side, drawn in detail."""
    return to_square(views.lateral(rng), min(image.shape))


def mirrored(image: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
    """The heart on the right."""
    return np.ascontiguousarray(image[:, ::-1])


def raw(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As exposure reaches the detector: lungs bright, and what is dense all alike."""
    return _grey(255 * np.exp(-rng.uniform(3.5, 5) * image / 255.0))


def screenshot(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """In a window with a bar and a list beside it, at half its size."""
    side = min(image.shape)
    screen = np.full((side, side), rng.integers(20, 80), np.uint8)
    screen[: side // 12], screen[:, : side // 4] = rng.integers(90, 235, 2)
    top, left = rng.integers(side // 10, side // 3), rng.integers(side // 4, side // 3)
    screen[top : top + side // 2, left : left + side // 2] = to_square(image, side)[::2, ::2][: side // 2, : side // 2]
    return screen


# Keys are the names of the audit's findings.
FAULTS: dict[str, Fault] = {
    "low contrast": low_contrast,
    "dark": dark,
    "bright": bright,
    "blurred": blurred,
    "odd size": tiny,
    "odd shape": cut,
    "inverted": inverted,
    "turned": turned,
    "odd view": not_chest,
    "not frontal": lateral,
    "mirrored": mirrored,
    "raw": raw,
    "screenshot": screenshot,
    "text": with_text,
    "border": letterboxed,
    "blocks": coded,
    "scaled up": scaled_up,
}


def _grey(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _glyph(letter: str, dot: int) -> np.ndarray:
    """bool, seven dots high and six wide: the letter and the gap after it."""
    cells = np.array([[cell == "1" for cell in row] + [False] for row in GLYPHS[letter]])
    return cells.repeat(dot, 0).repeat(dot, 1)
