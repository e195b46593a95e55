"""Import against decoding alone: time and peak memory as the data set grows, ``python -m benchmarks.importing``.

Ours is ``importing.import_folder``: decode, hash, check, shrink, write table and pixel cache. The peer reads the files
with Pillow in as many threads and keeps nothing, the least that any import must do. Both run in fresh processes in
turn. By default noise films are made (``--films 5000 21165``); ``--data FOLDER`` takes real ones.

Prints one JSON line per size: seconds of both in every repeat, medians, their ratio, ours' peak memory.
"""

import argparse
import json
import multiprocessing
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.pages import machine, made_films


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, help="a folder of real films, one folder per class")
    options.add_argument("--films", type=int, nargs="+", default=[5000, 21165])
    options.add_argument("--repeats", type=int, default=3)
    given = options.parse_args()
    for films in [0] if given.data else given.films:
        with tempfile.TemporaryDirectory() as folder:
            source = given.data or made_films(Path(folder) / "films", films // 3)
            print(json.dumps(compared(source, Path(folder), given.repeats)), flush=True)


def compared(source: Path, folder: Path, repeats: int) -> dict[str, object]:
    """Both sides in turn, each in a fresh process."""
    ours, peer = [], []
    for _ in range(repeats):
        peer.append(in_fresh_process(decode_all, source, folder))
        ours.append(in_fresh_process(import_all, source, folder))
        shutil.rmtree(folder / "workspace")
    seconds = {"ours": [row["seconds"] for row in ours], "peer": [row["seconds"] for row in peer]}
    medians = {side: statistics.median(times) for side, times in seconds.items()}
    return {
        "benchmark": "importing",
        "films": ours[0]["films"],
        "seconds": seconds,
        "median": medians,
        "ratio": round(medians["ours"] / medians["peer"], 3),
        "peak_megabytes": max(row["megabytes"] for row in ours),
        "machine": machine(),
    }


def in_fresh_process(work: Callable[[Path, Path], int], source: Path, folder: Path) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    process = context.Process(target=measured, args=(work, source, folder, answers))
    process.start()
    answer = answers.get()
    process.join()
    return answer


def measured(work: Callable[[Path, Path], int], source: Path, folder: Path, answers: object) -> None:
    begin = time.perf_counter()
    films = work(source, folder)
    seconds = round(time.perf_counter() - begin, 3)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    answers.put({"films": films, "seconds": seconds, "megabytes": round(megabytes)})


def import_all(source: Path, folder: Path) -> int:
    from covid_core.data import importing
    from covid_core.workspace import Workspace

    return len(importing.import_folder(Workspace(folder / "workspace"), source).films)


def decode_all(source: Path, _folder: Path) -> int:
    from PIL import Image

    from covid_core.work import cores

    def decode(path: Path) -> None:
        with Image.open(path) as image:
            image.load()

    with ThreadPoolExecutor(cores()) as pool:
        return sum(1 for _ in pool.map(decode, sorted(source.rglob("*.png"))))


if __name__ == "__main__":
    main()
