"""Class folders of small images for tests."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from covid_core.images.codec import png_bytes


def write_images(root: Path, counts: Mapping[str, int], side: int = 40) -> Path:
    """Noise images as PNG files; the classes differ by a bright square, so that a network can learn them."""
    for place, (label, count) in enumerate(counts.items()):
        (root / label).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng((place, number)).integers(0, 120, (side, side)).astype(np.uint8)
            corner = place * side // max(len(counts), 1)
            pixels[corner : corner + side // 4, corner : corner + side // 4] = 240
            (root / label / f"{label}-{number + 1}.png").write_bytes(png_bytes(pixels))
    return root
