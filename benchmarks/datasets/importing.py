"""Import against decoding alone, and how soon the data set's page has its figures.

``python -m benchmarks.datasets.importing``

Ours is ``importing.import_folder``: list, read, hash, decode, check, shrink, write table and pixels. The
peer is the least that anybody must do who wants the images' pixels with Pillow: the bytes of every file are read,
opened and decoded to 8-bit grey; nothing is kept, and listing the files is not counted. It works on all cores, in
threads and in processes, 64 files at a time; the faster of the two counts. Every side runs in a fresh process, in turn;
libraries are imported, and a pool's processes started, before the clock starts.

By default images are made (see ``benchmarks.images``): ``--images 5000 21165 50000``, kept for the next time with
``--keep FOLDER``; ``--data FOLDER`` takes real ones. Prints one JSON line per size: seconds and processor seconds of
all sides, medians, the ratio of ours to the peer, peak memory, and of the imported data set: seconds to open it again,
and to make all tables of its page, cold (first opening after the import) and from the cache.
"""

import gc
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import measuring

IMAGES = (5_000, 21_165, 50_000)
ONCE_FROM = 40_000  # images from which one repeat says enough
CHUNK = 64  # files that the peer hands to a thread or process in one go
OURS, THREADS, PROCESSES = "ours", "pillow_threads", "pillow_processes"


def main() -> None:
    parser = measuring.options(__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=IMAGES)
    parser.add_argument("--keep", type=Path, help="where made images stay for the next time")
    parser.add_argument("--scratch", type=Path, help="where the data sets are made and removed again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        for source in [given.data] if given.data else _made(given.keep or Path(scratch), given.images):
            measuring.show(compared(source, Path(scratch), given.repeats))


def _made(folder: Path, sizes: list[int]) -> Iterator[Path]:
    from benchmarks.images import LABELS, made_images

    folder.mkdir(parents=True, exist_ok=True)
    for images in sizes:
        yield made_images(folder / f"images-{images}", images // len(LABELS))


def compared(source: Path, scratch: Path, repeats: int) -> dict[str, Any]:
    """All sides in turn, then the page's figures of the data set that the last import made."""
    facts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    work = {OURS: import_all, THREADS: decode_in_threads, PROCESSES: decode_in_processes}
    sides = {name: _side(work[name], source, scratch, facts[name]) for name in work}
    seconds = measuring.in_turn(sides, repeats if _read_once(source) < ONCE_FROM else 1)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    peer = min((THREADS, PROCESSES), key=medians.__getitem__)
    page = {name: measuring.in_fresh_process(page_tables, source, scratch) for name in ("cold", "cached")}
    shutil.rmtree(scratch / "workspace")
    return measuring.result(
        "importing",
        seconds,
        OURS,
        peer,
        faster_peer=peer,
        ratio=round(medians[OURS] / medians[peer], 3),
        images=facts[OURS][0]["images"],
        processor_seconds={name: [row["processor"] for row in rows] for name, rows in facts.items()},
        peak_megabytes=max(row["megabytes"] for row in facts[OURS]),
        megabytes_before=max(row["megabytes_before"] for row in facts[OURS]),
        import_of_libraries=statistics.median(row["libraries"] for row in facts[OURS]),
        open_again=page["cached"]["open"],
        page_cold=page["cold"]["seconds"],
        page_cached=page["cached"]["seconds"],
    )


def _side(work: Callable[..., Any], source: Path, scratch: Path, facts: list[dict[str, Any]]) -> Callable[[], float]:
    def run() -> float:
        if work is import_all:
            shutil.rmtree(scratch / "workspace", ignore_errors=True)
        facts.append(measuring.in_fresh_process(work, source, scratch))
        return facts[-1]["seconds"]

    return run


def _read_once(source: Path) -> int:
    """Bring the files into the system's cache, so that the first side does not pay for the disk. Gives their number."""
    return sum(1 for path in _images_in(source) if path.read_bytes())


def _images_in(source: Path) -> list[Path]:
    return sorted(source.rglob("*.png"))


def _timed(work: Callable[[], Any]) -> dict[str, Any]:
    """Seconds, processor seconds of this process and of its children that have ended, and peak memory."""
    gc.collect()
    before = measuring.peak_megabytes()
    begin, processor = time.perf_counter(), time.process_time()
    images = work()
    return {
        "images": images,
        "seconds": round(time.perf_counter() - begin, 3),
        "processor": round(time.process_time() - processor, 3),
        "megabytes": measuring.peak_megabytes(),
        "megabytes_before": before,
    }


def import_all(source: Path, scratch: Path) -> dict[str, Any]:
    begin = time.perf_counter()
    import pyarrow.parquet  # noqa: F401  pandas loads it with the first table

    from covid_core.data.imports import importing
    from covid_core.workspace import Workspace

    libraries = round(time.perf_counter() - begin, 3)
    done = _timed(lambda: len(importing.import_folder(Workspace(scratch / "workspace"), source).images))
    return {**done, "libraries": libraries}


def decode_in_threads(source: Path, _scratch: Path) -> dict[str, Any]:
    from covid_core.work import cores

    with ThreadPoolExecutor(cores()) as pool:
        return _decoded_by(pool, source)


def decode_in_processes(source: Path, _scratch: Path) -> dict[str, Any]:
    """The same in processes; the processor seconds are this one's alone, the children's are not in them."""
    from covid_core.work import cores

    with ProcessPoolExecutor(cores(), multiprocessing.get_context("spawn")) as pool:
        return _decoded_by(pool, source)


def _decoded_by(pool: Executor, source: Path) -> dict[str, Any]:
    paths = [str(path) for path in _images_in(source)]
    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    list(pool.map(decode, chunks[:8]))  # starts the processes and imports Pillow
    return _timed(lambda: sum(pool.map(decode, chunks)))


def decode(paths: list[str]) -> int:
    """Read and decode some files to 8-bit grey, and forget them. Returns their number."""
    import io

    from PIL import Image

    for path in paths:
        with open(path, "rb") as handle:
            content = handle.read()
        image = Image.open(io.BytesIO(content))
        image.load() if image.mode == "L" else image.convert("L")
    return len(paths)


def page_tables(_source: Path, scratch: Path) -> dict[str, Any]:
    """Open the only data set of the workspace and make all tables that the pages of its tabs draw."""
    from covid_core.data import dataset as data
    from covid_core.data import summary
    from covid_core.workspace import Workspace

    workspace = Workspace(scratch / "workspace")
    begin = time.perf_counter()
    opened = data.open_dataset(workspace, data.list_datasets(workspace)[0]["id"])
    sources = summary.source_table(opened.images, opened.classes)
    opening = time.perf_counter() - begin
    summary.resampling_table(opened.counts)
    summary.source_summary(sources)
    summary.format_table(opened.images, "width", "height")
    summary.format_table(opened.images, "mode")
    pixels = summary.pixel_summary(workspace, opened)
    summary.exposure_table(pixels, "image_means")
    summary.exposure_table(pixels, "image_deviations")
    summary.histogram_shares(pixels)
    summary.difference_table(pixels)
    return {"open": round(opening, 3), "seconds": round(time.perf_counter() - begin, 3)}


if __name__ == "__main__":
    main()
