"""Images for benchmarks that are made quickly and decode like real ones, so that every machine can repeat a figure.

256 px, grey noise over a gradient, which PNG cannot shrink much: about 60 KB an image, as in the radiography database.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from covid_core.images.codec import png_bytes
from covid_core.work import cores, ordered_map

LABELS = ("COVID", "Normal", "Viral Pneumonia")
IMAGES_PER_CLASS = 1338
SIDE = 256
GRADIENT = np.linspace(40, 180, SIDE, dtype=np.float32)[:, None]


def made_images(folder: Path, per_class: int = IMAGES_PER_CLASS) -> Path:
    """Images of three classes below ``folder``, one folder per class. Images that an earlier call made stay as they
    are.

    The folder appears when it is whole, so one that is there need not be made again.
    """
    if folder.is_dir():
        return folder
    rng = np.random.default_rng(0)
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    for label in LABELS:
        (unfinished / label).mkdir(parents=True, exist_ok=True)
    drawn = (
        (unfinished / label / f"{label}-{number}.png", _drawn(rng)) for label in LABELS for number in range(per_class)
    )
    with ThreadPoolExecutor(cores()) as pool:
        for _ in ordered_map(pool, lambda image: image[0].write_bytes(png_bytes(image[1])), drawn):
            pass
    return unfinished.rename(folder)


def _drawn(rng: np.random.Generator) -> np.ndarray:
    noise = rng.integers(0, 40, (SIDE, SIDE), dtype=np.uint8)
    return (GRADIENT * rng.uniform(0.7, 1.2) + noise).clip(0, 255).astype(np.uint8)
