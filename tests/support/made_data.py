"""Small data sets made from nothing, for tests: PNG class folders in either layout, imported into a workspace."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from covid_core.data.dataset import Dataset
from covid_core.data.imports import importing
from covid_core.images.codec import png_bytes
from covid_core.workspace import Workspace

COUNTS = {"COVID": 4, "Normal": 8, "Viral Pneumonia": 2}
SIDE = 64


def image(number: int, level: int = 100, width: int = SIDE, height: int = SIDE) -> np.ndarray:
    """An image of noise around a grey level, uint8 (height, width); the same number gives the same image."""
    noise = np.random.default_rng(number).integers(-20, 21, (height, width))
    return np.clip(level + noise, 0, 255).astype(np.uint8)


def class_folders(
    root: Path,
    counts: Mapping[str, int] = COUNTS,
    levels: Mapping[str, int] | None = None,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    broken: Iterable[str] = (),
) -> Path:
    """``CLASS/CLASS-N.png`` below ``root``. Returns it.

    Args:
        root: made where it is missing.
        counts: images per class.
        levels: mean grey of each class; 100 by default.
        sizes: width and height of each class's images; 64 x 64 by default.
        broken: files, relative to ``root``, that hold no picture.
    """
    for place, (label, images) in enumerate(counts.items()):
        (root / label).mkdir(parents=True, exist_ok=True)
        width, height = (sizes or {}).get(label, (SIDE, SIDE))
        for number in range(1, images + 1):
            pixels = image(1000 * place + number, (levels or {}).get(label, 100), width, height)
            (root / label / f"{label}-{number}.png").write_bytes(png_bytes(pixels))
    for relative in broken:
        (root / relative).write_bytes(b"no picture")
    return root


def database_folders(
    root: Path, counts: Mapping[str, int] = COUNTS, sources: Mapping[str, str | Sequence[str]] | None = None
) -> Path:
    """The layout of the COVID-19 Radiography Database below ``root``: images, lung masks, and sources per class.

    ``sources`` names the source of all images of a class, or several from which they come in turn; a class without one
    has no table.
    """
    for label, images in counts.items():
        for place in ("images", "masks"):
            (root / label / place).mkdir(parents=True)
        for number in range(1, images + 1):
            name = f"{label}-{number}.png"
            (root / label / "images" / name).write_bytes(png_bytes(image(number)))
            (root / label / "masks" / name).write_bytes(png_bytes(lung_mask()))
        if label in (sources or {}):
            _metadata(label, images, sources[label]).to_excel(root / f"{label}.metadata.xlsx", index=False)
    return root


def lung_mask(side: int = SIDE) -> np.ndarray:
    """Two upright rectangles, uint8 (side, side), 0 or 255."""
    mask = np.zeros((side, side), np.uint8)
    for left in (side // 8, side * 5 // 8):
        mask[side // 8 : side * 7 // 8, left : left + side // 4] = 255
    return mask


def _metadata(label: str, images: int, sources: str | Sequence[str]) -> pd.DataFrame:
    names = [f"{label}-{number}" for number in range(1, images + 1)]
    given = [sources] if isinstance(sources, str) else list(sources)
    in_turn = [given[number % len(given)] for number in range(images)]
    return pd.DataFrame({"FILE NAME": names, "FORMAT": "PNG", "SIZE": "299*299", "URL": in_turn})


def made_dataset(folder: Path, workspace: Workspace | None = None, **options: object) -> tuple[Workspace, Dataset]:
    """A data set of ``class_folders(**options)`` in a workspace below ``folder``."""
    workspace = workspace or Workspace(folder)
    images = class_folders(folder / "images", **options)
    return workspace, importing.import_folder(workspace, images, name="Made images")


def made_database(folder: Path, workspace: Workspace | None = None, **options: object) -> tuple[Workspace, Dataset]:
    """A data set of ``database_folders(**options)`` in a workspace below ``folder``."""
    workspace = workspace or Workspace(folder)
    images = database_folders(folder / "database", **options)
    return workspace, importing.import_folder(workspace, images, name="Made database")
