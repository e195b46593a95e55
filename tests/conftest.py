"""What every test may ask for: an empty workspace of its own, and a folder of made films."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from covid_core.data.images import png_bytes
from covid_core.workspace import Workspace

MadeFolder = Callable[..., Path]


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Workspace:
    """An empty workspace that is also the default one."""
    monkeypatch.setenv("COVID_CORE_HOME", str(tmp_path / "workspace"))
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def film_folder(tmp_path) -> MadeFolder:
    """Make a folder ``CLASS/*.png`` of small films that differ: counts per class, and their side in pixels."""

    def make(counts: Mapping[str, int], side: int = 40, name: str = "films") -> Path:
        return write_films(tmp_path / name, counts, side)

    return make


def write_films(root: Path, counts: Mapping[str, int], side: int = 40) -> Path:
    """Noise films as PNG files; the classes differ by a bright square, so that a network can learn them."""
    for place, (label, count) in enumerate(counts.items()):
        (root / label).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng((place, number)).integers(0, 120, (side, side)).astype(np.uint8)
            corner = place * side // max(len(counts), 1)
            pixels[corner : corner + side // 4, corner : corner + side // 4] = 240
            (root / label / f"{label}-{number + 1}.png").write_bytes(png_bytes(pixels))
    return root
