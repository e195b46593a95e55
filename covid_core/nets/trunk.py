"""The frozen part of a network, once per film: exported once, run once, kept.

Trunks lie in ``workspace.trunks``, one LiteRT file per (backbone, starting weights, size, taps). Features lie in
``workspace.features``, one row per film of a data set; a row that is not computed yet is NaN.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from covid_core import files
from covid_core.inference.head import pooled
from covid_core.inference.lite import BATCH, LiteTrunk
from covid_core.nets import export
from covid_core.specs import TrainingSpec
from covid_core.work import Progress
from covid_core.workspace import Workspace

Maps = Callable[[np.ndarray], list[np.ndarray]]
"""uint8 films (n, size, size) to float32 maps, one array (n, height, width, channels) per tap."""

Films = Callable[[np.ndarray], np.ndarray]
"""Positions in a data set to uint8 films (n, size, size), augmented or not."""

RAW = "raw"  # "pooling" of boundary activations: every cell in a row, nothing pooled
GPU_BATCH = 256


def key_of(spec: TrainingSpec, weights: Path | None, outputs: tuple[str, ...]) -> str:
    """Name of the trunk with these outputs: everything that its numbers depend on."""
    start = f"random, seed {spec.seed}" if weights is None else files.sha256_of(weights)
    text = "|".join([spec.backbone, start, str(spec.image_size), *outputs])
    return f"{spec.backbone.replace('_', '-')}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def exported(workspace: Workspace, key: str, trunk: keras.Model) -> Path:
    """The LiteRT file of that trunk, exported now if it is not there."""
    path = workspace.trunks / f"{key}.tflite"
    if not path.exists():
        export.export_trunk(trunk, path)
    return path


def engine(path: Path, trunk: keras.Model) -> tuple[Maps, str]:
    """The fastest way to run a trunk on this machine, and its name: the GPU where there is one, else LiteRT."""
    if not tf.config.list_physical_devices("GPU"):
        return LiteTrunk(path).maps, "LiteRT"

    def maps(films: np.ndarray) -> list[np.ndarray]:
        answer = trunk.predict(films[..., None], batch_size=GPU_BATCH, verbose=0)
        return answer if isinstance(answer, list) else [answer]

    return maps, "TensorFlow on the GPU"


def cached_features(
    workspace: Workspace,
    name: str,
    count: int,
    rows: np.ndarray,
    films: Films,
    maps: Maps,
    pooling: str,
    progress: Progress,
) -> np.memmap:
    """Features of some films of a data set, computed for those that the cache lacks.

    Args:
        workspace: whose cache.
        name: what the numbers depend on (pixels, trunk, pooling, view); the file's name.
        count: films in the data set.
        rows: positions in the data set that are wanted.
        films: gives the pixels of some positions.
        maps: runs the trunk.
        pooling: as ``inference.head.pooled``, or RAW.
        progress: told the share done.

    Returns:
        float32 memory map (count, d) of all films; only ``rows`` are sure to be computed.
    """
    first = _pooled(maps(films(rows[:1])), pooling)
    table = _open_table(path_of(workspace, name), count, first.shape[1])
    missing = rows[np.isnan(table[rows, 0])]
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        values = _pooled(maps(films(batch)), pooling)
        table[batch, 1:] = values[:, 1:]
        table[batch, 0] = values[:, 0]  # last: a row counts as computed once its first number is there
        done = min(start + BATCH, len(missing))
        progress(done / len(missing), f"{done:,} of {len(missing):,} films")
    table.flush()
    return table


def path_of(workspace: Workspace, name: str) -> Path:
    """Where features of that name lie."""
    return workspace.features / f"{name}.f32"


def _pooled(maps: list[np.ndarray], pooling: str) -> np.ndarray:
    return maps[0].reshape(len(maps[0]), -1) if pooling == RAW else pooled(maps, pooling)


def _open_table(path: Path, rows: int, columns: int) -> np.memmap:
    if not path.exists() or path.stat().st_size != rows * columns * 4:
        with files.published(path) as temporary:
            fresh = np.memmap(temporary, dtype=np.float32, mode="w+", shape=(rows, columns))
            for start in range(0, rows, 1024):
                fresh[start : start + 1024, 0] = np.nan
            fresh.flush()
            del fresh
    return np.memmap(path, dtype=np.float32, mode="r+", shape=(rows, columns))
