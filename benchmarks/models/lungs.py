"""The lung segmenter of synthetic images: how good, how long, and what of real ones.

``python -m benchmarks.models.lungs``

A data set of synthetic images is drawn (``--images 600``), and a segmenter trained on it by the job that the app
starts, once for each of ``--seeds 0 1 2``; each seed has its own split. Prints one JSON line per seed: Dice and
intersection over union on images held out, those of one outline for all images, seconds of the whole job and processor
seconds of its process, milliseconds from a decoded image to its outline.

``--data FOLDER`` with real images, one folder per class: of ``--look 400`` of them, the share that is refused by class
and why. Real images without masks have no Dice; ``--sheet FILE.png`` draws the outlines, so that somebody can look. The
sheet shows strangers' images and stays out of the repository.
"""

import math
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks import measuring

COLUMNS, SIDE = 9, 200  # of the sheet: images in a row, pixels of each
LINE = (255, 60, 60)


def main() -> None:
    parser = measuring.options(__doc__)
    parser.add_argument("--images", type=int, default=600, help="synthetic images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--look", type=int, default=400, help="real images to outline")
    parser.add_argument("--sheet", type=Path, help="where a picture of some outlines goes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for seed in given.seeds:
            measuring.show(trained(Path(scratch), given.images, seed, given.data, given.look, given.sheet))


def trained(
    scratch: Path, images: int, seed: int, data: Path | None = None, look: int = 0, sheet: Path | None = None
) -> dict[str, Any]:
    """One segmenter by its job: its figures, and what it does to real images where there are some."""
    from covid_core.data.dataset import list_datasets, open_dataset
    from covid_core.data.imports import importing
    from covid_core.inference.lungs import Lungs
    from covid_core.jobs import queue
    from covid_core.jobs.kinds import SegmenterRequest
    from covid_core.runs import segmenters
    from covid_core.workspace import Workspace

    workspace = Workspace(scratch / "workspace")
    listed = list_datasets(workspace)
    dataset = open_dataset(workspace, listed[0]["id"]) if listed else importing.import_phantom(workspace, images)
    request = SegmenterRequest(dataset=dataset.id, seed=seed, name=dataset.name)
    seconds, processor, job = _followed(queue.submit(workspace, request))
    if "segmenter" not in job.result:
        raise SystemExit(f"The training failed: {job.status().reason}")
    made = segmenters.open_segmenter(workspace, job.result["segmenter"])
    record = made.record.model_dump()
    kept = (
        "images",
        "dice",
        "iou",
        "worst_dice",
        "same_for_all_dice",
        "refused",
        "by_class",
        "threshold",
        "best_epoch",
    )
    return {
        "benchmark": "lungs",
        "seed": seed,
        **{name: record[name] for name in kept},
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "milliseconds_per_image": record["milliseconds_per_image"],
        "network_bytes": record["network_bytes"],
        "real": outlined(Lungs.open(made), data, look, sheet) if data else None,
        "machine": measuring.machine(),
    }


def _followed(job: Any) -> tuple[float, float, Any]:
    """Seconds until a job has ended, the processor seconds of its process, and the job."""
    begin, processor = time.perf_counter(), 0.0
    process = psutil.Process(job.process)
    while not job.status().is_final:
        try:
            times = process.cpu_times()
            processor = times.user + times.system
        except psutil.Error:
            measuring.tell("its process has ended")
        time.sleep(0.2)
    return time.perf_counter() - begin, processor, job


def outlined(lungs: Any, data: Path, look: int, sheet: Path | None) -> dict[str, Any]:
    """How many real images get no outline, by class, and why; evenly chosen from the folder."""
    from covid_core.data.imports import layouts
    from covid_core.errors import ImageError
    from covid_core.images.codec import png_bytes, read_image

    found = [one for folder in layouts.survey(data) for one in _images_in(data, folder)]
    chosen = [found[place] for place in np.unique(np.linspace(0, len(found) - 1, look).astype(int))]
    images, refused, why, tiles, times = Counter(), Counter(), Counter(), [], []
    for label, path in chosen:
        try:
            image = read_image(path)
        except ImageError:
            continue
        begin = time.perf_counter()
        outline = lungs.outline(image)
        times.append(time.perf_counter() - begin)
        images[label] += 1
        if outline.mask is not None:
            tiles.append(_tile(image.pixels, outline.mask))
        else:
            refused[label] += 1
            why[outline.refusal.figure or "nothing"] += 1
    if sheet:
        sheet.write_bytes(png_bytes(_sheet(tiles)))
    return {
        "images": sum(images.values()),
        "refused": round(sum(refused.values()) / sum(images.values()), 3),
        "refused_by_class": {label: round(refused[label] / count, 3) for label, count in images.items()},
        "why": dict(why.most_common()),
        "milliseconds_per_image": round(1000 * float(np.median(times)), 2),
    }


def _images_in(data: Path, label: str) -> list[tuple[str, Path]]:
    folder = data / label / "images" if (data / label / "images").is_dir() else data / label
    return [(label, path) for path in sorted(folder.iterdir()) if path.suffix.lower() in (".png", ".jpg", ".jpeg")]


def _tile(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """An image fitted into a square with the edge of its mask in colour, uint8 (SIDE, SIDE, 3)."""
    from scipy import ndimage

    from covid_core.images.codec import thumbnail

    inside = thumbnail(mask.astype(np.uint8) * 255, SIDE) > 127
    tile = np.repeat(thumbnail(image, SIDE)[..., None], 3, axis=2)
    tile[inside & ~ndimage.binary_erosion(inside)] = LINE
    return tile


def _sheet(tiles: list[np.ndarray]) -> np.ndarray:
    """At most 54 of the tiles, evenly chosen, in rows."""
    chosen = [tiles[place] for place in np.unique(np.linspace(0, len(tiles) - 1, 6 * COLUMNS).astype(int))]
    chosen += [np.zeros_like(chosen[0])] * (COLUMNS * math.ceil(len(chosen) / COLUMNS) - len(chosen))
    return np.vstack([np.hstack(chosen[start : start + COLUMNS]) for start in range(0, len(chosen), COLUMNS)])


if __name__ == "__main__":
    main()
