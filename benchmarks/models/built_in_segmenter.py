"""Makes the built-in lung segmenter: ``python -m benchmarks.models.built_in_segmenter --masked FOLDER --to FOLDER``.

It learns from images that this project draws, and from nothing else. What is drawn here varies far more than the data
sets that the app draws: build, breath, heart, position, how much of the abdomen shows; opacities, wires, letters, gas,
histogram equalisation. The training is that of the app (``nets.segmentation.segmenter``), with its own augmentation;
threshold and limits come from drawn images as well. On one thread the same weights come out each time.

``--masked FOLDER`` has real images with masks (``images/NAME.png``, ``masks/NAME_mask.png``) to measure it on, never to
learn from: every second one in the order of names, from the first, is for development, so that one can change what is
drawn here and try again; the others are for the figures in ``segmenter.json``. The folder that ``--to`` names goes to
``covid_core/runs/built_in_segmenter``.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from benchmarks import measuring
from covid_core.synthetic import anatomy

SIZE = 128
FIRST = {"train": 0, "validation": 100_000}  # index of the first image that is drawn for a part
DRAWN = {"train": 2400, "validation": 240}
EPOCHS = 6
SEED = 18


def main() -> None:
    import tensorflow as tf

    from covid_core.nets.segmentation import segmenter

    tf.config.threading.set_intra_op_parallelism_threads(1)  # sums in one order: the same weights each time
    tf.config.threading.set_inter_op_parallelism_threads(1)
    parser = measuring.options(__doc__)
    parser.add_argument("--masked", type=Path, required=True, help="real images with masks, to measure on")
    parser.add_argument("--to", type=Path, required=True, help="where the segmenter's files go")
    given = parser.parse_args()
    begin = time.monotonic()
    validation = pairs("validation").with_changed(SEED)
    network = segmenter.fit(pairs("train"), validation, SEED, lambda _share, text: measuring.tell(text), EPOCHS)
    measuring.show(written(network, validation, given.masked, given.to, time.monotonic() - begin))


def pairs(part: str) -> Any:
    """The images that are drawn for a part, with their lungs."""
    from covid_core.nets.segmentation.segmenter import Pairs

    images, lungs = zip(*(drawn(FIRST[part] + number) for number in range(DRAWN[part])), strict=True)
    return Pairs(np.stack(images), np.stack(lungs))


def real(folder: Path, first: int) -> Any:
    """Every second real image with its mask, from the one with this number."""
    from covid_core.images.codec import read_image, read_mask, to_square
    from covid_core.nets.segmentation.segmenter import Pairs

    images, masks = [], []
    for path in sorted((folder / "images").iterdir())[first::2]:
        mask = read_mask(folder / "masks" / f"{path.stem}_mask.png")
        images.append(to_square(read_image(path).pixels, SIZE))
        masks.append(to_square(mask.astype(np.uint8) * 255, SIZE) > 127)
    return Pairs(np.stack(images), np.stack(masks))


def written(learned: Any, validation: Any, masked: Path, folder: Path, seconds: float) -> dict[str, Any]:
    """Write the segmenter's files; its record, with what it reaches on the images for development."""
    from covid_core.images.codec import GreyImage
    from covid_core.inference.lungs import Lungs
    from covid_core.inference.network import LiteNetwork
    from covid_core.nets import publishing
    from covid_core.nets.segmentation import training
    from covid_core.runs import segmenters

    folder.mkdir(parents=True, exist_ok=True)
    parity = training.exported(learned, folder / segmenters.NETWORK, validation.images[: training.PARITY_IMAGES])
    network = LiteNetwork(folder / segmenters.NETWORK)
    chosen = training.chosen(network, validation)
    opened = Lungs(network, SIZE, chosen["threshold"], chosen["limits"])
    parts = {name: real(masked, first) for first, name in enumerate(("development", "test"))}
    figures = {
        name: training.figures(
            opened,
            chosen["threshold"],
            images,
            pd.DataFrame({"group": range(len(images)), "own_label": "real"}),
        )
        for name, images in parts.items()
    }
    record = {
        "dataset": {"id": "", "name": "images drawn for it", "version": "1", "synthetic": True},
        "images": dict(DRAWN),
        "left_out": 0,
        "seed": SEED,
        "size": SIZE,
        **chosen,
        **figures["test"],
        "same_for_all_dice": training.same_for_all(validation, parts["test"]),
        "milliseconds_per_image": publishing.median_milliseconds(
            lambda: opened.outline(GreyImage(validation.images[0], "L"))
        ),
        "validation_dices": [round(value, 4) for value in learned.dices],
        "best_epoch": learned.best_epoch,
        "parameters": int(learned.network.count_params()),
        "network_bytes": (folder / segmenters.NETWORK).stat().st_size,
        "parity": parity,
        "versions": publishing.versions(),
        "seconds": round(seconds, 1),
    }
    segmenters.write_record(folder, record)
    return {**record, "development": figures["development"]}


class VariedPatient(anatomy.Patient):
    """A body from far wider ranges than those of the app's synthetic data sets."""

    def __init__(self, rng: np.random.Generator):
        super().__init__(rng)
        self.tilt = rng.normal(0, 0.05)
        self.shift = (rng.normal(0, 0.07), rng.normal(0, 0.10))
        self.zoom = rng.uniform(0.68, 1.25)
        self.chest = rng.uniform(0.66, 0.90)
        self.apex = rng.uniform(-0.88, -0.62)
        self.breath = rng.uniform(0.0, 0.50)
        self.heart = rng.uniform(0.7, 1.6)
        self.build = rng.uniform(0.7, 1.5)
        self.turn = rng.normal(0, 0.05)
        self.aeration = rng.uniform(0.55, 1.2)
        self.rib_slope = rng.normal(0.27, 0.07)


def drawn(index: int, seed: int = SEED) -> tuple[np.ndarray, np.ndarray]:
    """One image, uint8 (SIZE, SIZE), and its lungs, bool; the same for an index and a seed."""
    rng = np.random.default_rng((seed, index))
    label = anatomy.PHANTOM_CLASSES[rng.integers(3)]
    made = anatomy.make_image(label, rng.spawn(1)[0], SIZE, bool(rng.random() < 0.3), VariedPatient)
    lungs = made.lung_mask > 0
    grey = made.pixels / 255.0
    if rng.random() < 0.6:
        grey = _opacities(grey, lungs, rng)
    if rng.random() < 0.4:
        grey = _bowel_gas(grey, lungs, rng)
    if rng.random() < 0.3:
        grey = _wires(grey, rng)
    if rng.random() < 0.5:
        grey = _letters(grey, rng)
    if rng.random() < 0.3:
        grey = _equalised(grey, int(rng.choice((1, 2, 4))))
    return np.round(255 * np.clip(grey, 0, 1)).astype(np.uint8), lungs


def _blob(rng: np.random.Generator, centre: np.ndarray, widths: tuple[float, float]) -> np.ndarray:
    """A soft turned ellipse of height 1 around a pixel, its widths as shares of the side."""
    rows, columns = np.indices((SIZE, SIZE)) - centre[:, None, None]
    angle, (tall, wide) = rng.uniform(0, np.pi), SIZE * rng.uniform(*widths, 2)
    along, across = np.cos(angle) * rows + np.sin(angle) * columns, np.cos(angle) * columns - np.sin(angle) * rows
    return np.exp(-((along / tall) ** 2) - (across / wide) ** 2)


def _opacities(grey: np.ndarray, lungs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Consolidations, and a haze over one lung: air replaced, until the lung is as bright as what surrounds it."""
    inside = np.argwhere(lungs)
    if not len(inside):
        return grey
    clear = np.ones((SIZE, SIZE))
    for _ in range(rng.integers(1, 7)):
        clear *= 1 - rng.uniform(0.2, 0.95) * _blob(rng, inside[rng.integers(len(inside))], (0.04, 0.22))
    if rng.random() < 0.3:
        side = np.arange(SIZE) < inside[:, 1].mean()
        clear *= 1 - rng.uniform(0.1, 0.6) * (side if rng.random() < 0.5 else ~side)
    mottle = 1 + 0.25 * ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), 1.5) * 5
    share = np.clip((1 - clear) * mottle, 0, 1) * ndimage.gaussian_filter(lungs.astype(float), 1.0)
    bright = np.percentile(grey, 85)
    return grey + share * np.maximum(bright - grey, 0)


def _bowel_gas(grey: np.ndarray, lungs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stomach and bowel: dark round patches below the lungs."""
    lowest = np.argwhere(lungs)[:, 0].max(initial=SIZE // 2)
    for _ in range(rng.integers(1, 6)):
        centre = np.array([rng.uniform(lowest - 0.05 * SIZE, 1.05 * SIZE), rng.uniform(0.15, 0.85) * SIZE])
        hidden = _blob(rng, centre, (0.02, 0.09)) * ~ndimage.binary_dilation(lungs, iterations=2)
        grey = grey * (1 - rng.uniform(0.2, 0.8) * ndimage.gaussian_filter(hidden, 0.7))
    return grey


def _wires(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Tubes and leads: bright thin curves."""
    lines = np.zeros((SIZE, SIZE))
    for _ in range(rng.integers(1, 5)):
        ends = rng.uniform(0, SIZE, (3, 2))
        t = np.linspace(0, 1, 4 * SIZE)[:, None]
        places = ((1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * ends[1] + t**2 * ends[2]).astype(int)
        lines[places[:, 0], places[:, 1]] = rng.uniform(0.2, 0.8)
    return grey + 1.5 * ndimage.gaussian_filter(lines, rng.uniform(0.4, 0.9))


def _letters(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Letters near the border: small blocks of bright and dark strokes, sometimes on a plate."""
    grey = grey.copy()
    for _ in range(rng.integers(1, 4)):
        tall, wide = rng.integers(3, 11), rng.integers(3, 26)
        top = rng.integers(0, SIZE - tall) if rng.random() < 0.4 else rng.choice((2, SIZE - tall - 2))
        left = rng.choice((2, SIZE - wide - 2)) if rng.random() < 0.7 else rng.integers(0, SIZE - wide)
        strokes = rng.random((tall, wide)) < 0.5
        place = (slice(top, top + tall), slice(left, left + wide))
        bright = rng.uniform(0.7, 1.0)
        grey[place] = np.where(strokes, bright, rng.uniform(0, 1) if rng.random() < 0.3 else grey[place])
    return grey


def _equalised(grey: np.ndarray, tiles: int) -> np.ndarray:
    """Histogram equalisation over the whole image, or a square grid of tiles with smooth passages."""
    step, places = SIZE // tiles, np.clip(np.round(255 * grey), 0, 255).astype(int)
    curves = np.empty((tiles, tiles, 256))
    for row in range(tiles):
        for column in range(tiles):
            tile = places[row * step : (row + 1) * step, column * step : (column + 1) * step]
            counts = np.bincount(tile.ravel(), minlength=256).astype(float)
            curves[row, column] = np.cumsum(np.minimum(counts, 4 * counts.mean() + 1))
    curves /= curves[..., -1:]
    if tiles == 1:
        return curves[0, 0][places]
    at = np.clip((np.arange(SIZE) + 0.5) / step - 0.5, 0, tiles - 1)
    rows, columns = np.meshgrid(at, at, indexing="ij")
    return ndimage.map_coordinates(curves, [rows, columns, places], order=1, mode="nearest")


if __name__ == "__main__":
    main()
