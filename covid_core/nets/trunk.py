"""The frozen part of a network, once per image: exported once, run once, kept.

Exported networks lie in ``workspace.trunks``, one group of files per key: ``KEY.tflite``, ``KEY.json`` (its outputs)
and ``KEY.npz`` (Keras's own outputs for some synthetic images). Features lie in ``workspace.features``, one row
per image of a data set; a row that is not computed yet is NaN. Beside both stands what they took (``NAME.took``): a
run that reuses them can report what they would have cost.
"""

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from covid_core import cache, files
from covid_core.errors import RunDamaged
from covid_core.inference.network import MEAN, MEAN_MAX, batch_for, one_per_thread, pooled
from covid_core.specs import TrainingSpec
from covid_core.work import Progress, blocks, cores, ordered_map
from covid_core.workspace import Workspace

Maps = Callable[[np.ndarray], list[np.ndarray]]
"""uint8 images (n, size, size) to float32 maps, one array (n, height, width, channels) per output."""

Images = Callable[[np.ndarray], np.ndarray]
"""Positions in a data set to uint8 images (n, size, size), augmented or not."""

RAW = "raw"  # "pooling" of boundary activations: every cell in a row, nothing pooled
FORMAT = "2"  # of the files of a trunk
LITE = "LiteRT"  # an engine
APART = {"onnx": "ONNX Runtime", "litert": LITE, "keras": LITE}  # engines of added backbones, by kind
TOOK = ".took"  # JSON: seconds, and for how many exports or images
PART = "-part-"  # in the name of features that are to be joined
JOINED_AT_ONCE = 1024  # rows
LOCK_POLL = 0.3  # seconds between checks for features that another worker computes


@dataclass(frozen=True)
class FrozenTrunk:
    """An exported frozen network.

    ``layers`` names the layer of each output, ``shapes`` its (height, width, channels). The first ``taps`` outputs are
    what the head pools; one more, where there is one, is the boundary before the last ``layers_behind`` layers.
    """

    key: str
    path: Path
    layers: tuple[str, ...]
    shapes: tuple[tuple[int, int, int], ...]
    taps: int
    layers_behind: int = 0

    @property
    def tap_shapes(self) -> tuple[tuple[int, int, int], ...]:
        return self.shapes[: self.taps]

    def width(self, pooling: str) -> int:
        """Features per image."""
        return sum(channels for _, _, channels in self.tap_shapes) * {MEAN: 1, MEAN_MAX: 2}[pooling]

    def columns(self, pooling: str) -> slice | np.ndarray:
        """Which of the kept features (means and maxima of a tap's channels, tap after tap) a head takes."""
        if pooling == MEAN_MAX:
            return slice(None)
        channels = [channels for _, _, channels in self.tap_shapes]
        if len(channels) == 1:
            return slice(channels[0])
        starts = 2 * np.cumsum([0, *channels[:-1]])
        return np.concatenate([np.arange(start, start + n) for start, n in zip(starts, channels, strict=True)])

    def probe(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Synthetic uint8 images (n, size, size), and Keras's own outputs: float32 (n, 2, channels) per tap.

        The two rows hold the mean and the maximum of each channel's map, which is all that a head can pool of it.
        """
        try:
            with np.load(self.path.with_suffix(".npz"), allow_pickle=False) as stored:
                images = stored["films" if "films" in stored else "images"]  # the first: of version 0.2 and earlier
                return images, [stored[f"tap_{number}"] for number in range(self.taps)]
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
            raise _damaged(self.path.with_suffix(".npz")) from error


def key_of(spec: TrainingSpec, weights: Path | None, outputs: tuple[str, ...]) -> str:
    """Name of the trunk with these outputs: everything that its numbers depend on."""
    start = f"random, seed {spec.seed}" if weights is None else files.sha256_of(weights)
    added = [json.dumps(spec.backbone_file.facts, sort_keys=True)] if spec.backbone_file else []
    text = "|".join([FORMAT, spec.backbone, start, str(spec.image_size), *_shown(spec), *outputs, *added])
    return f"{spec.backbone.replace('_', '-')}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def _shown(spec: TrainingSpec) -> list[str]:
    """What a key names of the spec's input: nothing for squares that are taken as they are, as in earlier versions. A
    box around the lungs is cut before the network; the names of features have it (``plan.Images.cut``)."""
    is_plain = spec.pixels == spec.image_size and spec.input.intensity == "as_is"
    return [] if is_plain else [f"{spec.pixels} px, {spec.input.intensity}"]


def load(workspace: Workspace, key: str) -> FrozenTrunk | None:
    """The exported trunk of that key, if it is there."""
    path = workspace.trunks / f"{key}.tflite"
    if not (path.exists() and path.with_suffix(".npz").exists() and path.with_suffix(".json").exists()):
        return None
    try:
        facts = files.read_json(path.with_suffix(".json"))
        shapes = tuple(tuple(shape) for shape in facts["shapes"])
        return FrozenTrunk(key, path, tuple(facts["layers"]), shapes, facts["taps"], facts["layers_behind"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path.with_suffix(".json")) from error


def _damaged(path: Path) -> RunDamaged:
    return RunDamaged(
        f"{path.name}, kept of a frozen network, is damaged. Remove it from {path.parent} and start again."
    )


def publish(trunk: FrozenTrunk, images: np.ndarray, outputs: Sequence[np.ndarray]) -> None:
    """Publish an exported trunk's facts: its outputs, and Keras's own maps for some images."""
    taps = {
        f"tap_{number}": np.stack([maps.mean(axis=(1, 2), dtype=np.float32), maps.max(axis=(1, 2))], axis=1)
        for number, maps in enumerate(outputs[: trunk.taps])
    }
    with files.published(trunk.path.with_suffix(".npz")) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, images=images, **taps)
    facts = asdict(trunk)
    files.write_json(trunk.path.with_suffix(".json"), {name: facts[name] for name in facts if name != "path"})


@dataclass(frozen=True)
class Engine:
    """A way to run a trunk: ``batch`` images per call, ``parallel`` calls at once."""

    maps: Maps
    batch: int
    parallel: int


def lite_engine(trunk: FrozenTrunk, size: int) -> Engine:
    """LiteRT on all cores."""
    run = one_per_thread(trunk.path)
    return Engine(lambda images: run(np.ascontiguousarray(images)[..., None]), batch_for(size), cores())


def engine_apart(run: Maps, size: int) -> Engine:
    """An added backbone in its one process, which itself uses all cores; the next call is prepared meanwhile."""
    return Engine(lambda images: run(np.ascontiguousarray(images)[..., None]), batch_for(size), 2)


@dataclass(frozen=True)
class Wanted:
    """Features to have: the file's ``name``, how maps become numbers, of which outputs, and how many numbers."""

    name: str
    pooling: str
    outputs: tuple[int, ...]
    width: int

    def values(self, maps: list[np.ndarray]) -> np.ndarray:
        """float32 (n, width) of the trunk's maps."""
        chosen = [maps[number] for number in self.outputs]
        return chosen[0].reshape(len(chosen[0]), -1) if self.pooling == RAW else pooled(chosen, self.pooling)


def pooled_features(trunk: FrozenTrunk, name: str, pooling: str = MEAN_MAX) -> Wanted:
    """What heads learn from: by default mean and maximum of every tap's maps, whichever of them this head takes."""
    return Wanted(name, pooling, tuple(range(trunk.taps)), trunk.width(pooling))


def boundary_activations(trunk: FrozenTrunk, name: str) -> Wanted:
    """Where fine-tuning starts: the map at the boundary, whole. float32, so that they are the saved model's own."""
    return Wanted(name, RAW, (trunk.taps,), int(np.prod(trunk.shapes[trunk.taps])))


def cached_features(
    workspace: Workspace,
    wanted: Sequence[Wanted],
    count: int,
    rows: np.ndarray,
    images: Images,
    engine: Callable[[], Engine],
    progress: Progress,
    by_the_way: Sequence[Wanted] = (),
) -> list[np.memmap]:
    """Features of the images at ``rows`` of a data set of ``count``, computed in one pass where the cache lacks them.

    Args:
        workspace: whose cache.
        wanted: what to have; names hold all that the numbers depend on (pixels, trunk, view).
        count, rows: images in the data set, and positions in it that are wanted.
        images: gives the pixels of some positions.
        engine: gives what runs the trunk; not called when nothing is missing.
        progress: a second worker waits meanwhile and reports that.
        by_the_way: kept as well for images that are computed anyway.

    Returns:
        float32 memory maps (count, width) of all images, one per ``wanted``; only ``rows`` are sure to be computed.
    """
    with alone(workspace, wanted[0].name, progress):
        tables = [_open_table(path_of(workspace, one.name), count, one.width) for one in wanted]
        for one, table in zip(wanted, tables, strict=True):
            _join_parts(workspace, one, table)
        missing = rows[np.any([np.isnan(table[rows, 0]) for table in tables], axis=0)]
        if len(missing):
            everything = [*wanted, *by_the_way]
            paths = [path_of(workspace, one.name) for one in everything]
            cache.make_room(workspace, sum(one.width for one in everything) * 4 * len(missing), needed=paths)
            more = [_open_table(path_of(workspace, one.name), count, one.width) for one in by_the_way]
            _compute(
                list(zip(everything, [*tables, *more], strict=True)), missing, images, engine(), progress, paths[0]
            )
    for one in wanted:
        cache.touch(path_of(workspace, one.name))
    cache.touch(path_of(workspace, wanted[0].name).with_suffix(TOOK))
    return tables


def part_of_features(
    workspace: Workspace,
    wanted: Wanted,
    part: int,
    rows: np.ndarray,
    images: Images,
    engine: Callable[[], Engine],
    progress: Progress,
) -> None:
    """Features of the images at ``rows`` of a data set in a file of their own, which ``cached_features`` joins: several
    computers cannot map the same file for writing. One that was left in the middle is gone on with.

    Each row has the features, and behind them its position in the data set, which float32 holds up to 16,777,216.
    """
    name = f"{wanted.name}{PART}{part}"
    path = path_of(workspace, name)
    with alone(workspace, name, progress):
        cache.make_room(workspace, (wanted.width + 1) * 4 * len(rows), needed=[path])
        table = _open_table(path, len(rows), wanted.width + 1)
        table[table[:, -1] != rows, 0] = np.nan  # left by a training on other images
        table[:, -1] = rows
        missing = np.flatnonzero(np.isnan(table[:, 0]))
        if len(missing):
            _compute([(wanted, table[:, :-1])], missing, lambda at: images(rows[at]), engine(), progress, path)
        table.flush()


def _join_parts(workspace: Workspace, wanted: Wanted, table: np.memmap) -> None:
    """Move what others have computed in parts into the table; a part that is still being filled stays."""
    for path in sorted(workspace.features.glob(f"{wanted.name}{PART}*.f32")):
        if cache.is_being_filled(path):
            continue
        part = np.memmap(path, np.float32, "r").reshape(-1, wanted.width + 1)
        for at in blocks(np.flatnonzero(~np.isnan(part[:, 0])), JOINED_AT_ONCE):
            rows = part[at, -1].astype(int)
            table[rows, 1:] = part[at, 1:-1]
            table[rows, 0] = part[at, 0]  # last, as where they are computed
        table.flush()
        if noted := _noted(path):
            note_seconds(path_of(workspace, wanted.name), noted["seconds"], int(noted["times"]))
        path.with_suffix(TOOK).unlink(missing_ok=True)
        path.unlink()


def are_cached(workspace: Workspace, wanted: Wanted, count: int, rows: np.ndarray) -> np.ndarray:
    """Of shape (rows,): whether features of each of ``rows`` are there already."""
    path = path_of(workspace, wanted.name)
    if not path.exists() or path.stat().st_size != count * wanted.width * 4:
        return np.zeros(len(rows), bool)
    return ~np.isnan(np.memmap(path, dtype=np.float32, mode="r", shape=(count, wanted.width))[rows, 0])


def path_of(workspace: Workspace, name: str) -> Path:
    """Where features of that name lie."""
    return workspace.features / f"{name}.f32"


def note_seconds(path: Path, seconds: float, times: int = 1) -> None:
    """Add to what stands beside a kept file: seconds that computing took, so many times (or for so many images)."""
    before = _noted(path) or {"seconds": 0.0, "times": 0}
    now = {"seconds": round(before["seconds"] + seconds, 3), "times": before["times"] + times}
    with contextlib.suppress(OSError):  # only a note; the features are safe
        files.write_json(path.with_suffix(TOOK), now)


def seconds_it_took(path: Path, times: int = 1) -> float:
    """Seconds that computing what is kept took, for once (or for so many images); nan where nobody noted it."""
    noted = _noted(path)
    return noted["seconds"] / noted["times"] * times if noted else math.nan


def _noted(path: Path) -> dict[str, float] | None:
    """What was noted; None where an earlier version kept the file, or the note is gone or damaged."""
    try:
        noted = files.read_json(path.with_suffix(TOOK))
        return {"seconds": float(noted["seconds"]), "times": int(noted["times"])} if noted["times"] > 0 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def alone(workspace: Workspace, name: str, progress: Progress) -> Iterator[None]:
    """Hold the lock of some features, or of an exported network: of two workers that want them, one computes and the
    other waits."""
    lock = files.FileLock(workspace.features / f"{name}.lock")
    while not lock.try_acquire():
        progress(0.0, "another run computes the same features, waiting for it")
        time.sleep(LOCK_POLL)
    try:
        yield
    finally:
        lock.release()


def _compute(
    tables: Sequence[tuple[Wanted, np.memmap]],
    rows: np.ndarray,
    images: Images,
    engine: Engine,
    progress: Progress,
    note_path: Path,
) -> None:
    """Fill rows of several tables in one pass, batch by batch on all cores, and note what it took, stopped or not."""

    def batch_done(batch: np.ndarray) -> int:
        maps = engine.maps(images(batch))
        for wanted, table in tables:
            values = wanted.values(maps)
            table[batch, 1:] = values[:, 1:]
            table[batch, 0] = values[:, 0]  # last: a row counts as computed once its first number is there
        return len(batch)

    done, began = 0, time.monotonic()
    try:
        with ThreadPoolExecutor(engine.parallel) as pool:
            for count in ordered_map(pool, batch_done, blocks(rows, engine.batch), ahead=4 * engine.parallel):
                done += count
                progress(done / len(rows), f"{done:,} of {len(rows):,} images")
    finally:
        if done:
            note_seconds(note_path, time.monotonic() - began, done)
    for _, table in tables:
        table.flush()


def _open_table(path: Path, rows: int, columns: int) -> np.memmap:
    if not path.exists() or path.stat().st_size != rows * columns * 4:
        with files.published(path) as temporary:
            files.allocate(temporary, rows * columns * 4)
            fresh = np.memmap(temporary, dtype=np.float32, mode="r+", shape=(rows, columns))
            for start in range(0, rows, 1024):
                fresh[start : start + 1024, 0] = np.nan
            fresh.flush()
            del fresh
    return np.memmap(path, dtype=np.float32, mode="r+", shape=(rows, columns))


def relative_difference(values: np.ndarray, reference: np.ndarray) -> float:
    """Largest difference as a share of the reference's largest value."""
    return float(np.abs(values - reference).max() / max(np.abs(reference).max(), np.finfo(np.float32).tiny))
