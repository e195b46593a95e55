"""As many images as NIH ChestX-ray14 has, through to the end once.

``python -m benchmarks.datasets.size --keep FOLDER``

112,120 images of 256 px are made by moving, turning, scaling and brightening a few thousand drawn ones, with a table of
that collection's form (patients, sex, age, view). Each step is one verb of the command line in a process of its own.
Prints one JSON line per step: seconds, those of all processors, and the most memory held at any time. ``own`` is what
all its processes hold that no file can give back (RssAnon of Linux), ``largest`` the most that one of them had of it,
``mapped`` the files that they hold mapped, of which the system frees what it needs. ``--images N`` makes fewer: the
steps of two sizes show whether time grows with the number of images.
"""

import csv
import json
import os
import resource
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks import measuring

IMAGES, DRAWN, PATIENTS = 112_120, 3_000, 30_805
TABLE = "Data_Entry_2017.csv"
HEAD = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
FINDINGS = {"COVID": "Infiltration", "Normal": "No Finding", "Viral Pneumonia": "Pneumonia"}
STEPS = ("import", "summary", "audit", "map", "train", "second", "compare")
FOLDERS = 12  # images_001 to images_012
TOGETHER = 250
INTERVAL = 0.2  # seconds between two looks at the memory


def main() -> None:
    parser = measuring.options(__doc__, repeats=1)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--keep", type=Path, required=True, help="where images and workspace stay; 15 GB")
    parser.add_argument("--steps", nargs="+", default=STEPS)
    parser.add_argument("--set", nargs="+", default=["epochs=3"], help="settings of the training")
    given = parser.parse_args()
    folder = given.keep / f"images-{given.images}"
    if not folder.is_dir():
        begin = time.perf_counter()
        make(folder, given.images)
        measuring.tell(f"made in {time.perf_counter() - begin:.0f} s")
    home = given.keep / f"workspace-{given.images}"
    state_path = given.keep / f"state-{given.images}.json"
    state = json.loads(state_path.read_text()) if state_path.is_file() else {}
    settings = [word for one in given.set for word in ("--set", one)]
    for step in given.steps:
        words = {
            "import": ["import", str(folder), "--table", TABLE, "--name", "NIH form"],
            "summary": ["summary", state.get("import", "")],
            "audit": ["audit", state.get("import", "")],
            "map": ["map", state.get("import", "")],
            "train": ["train", state.get("import", ""), "--backbone", "mobilenet_v2", *settings, "--wait"],
            "second": ["train", state.get("import", ""), "--set", "learning_rate=0.001", *settings, "--wait"],
            "compare": ["compare", state.get("train", ""), state.get("second", "")],
        }[step]
        answer, facts = watched(words, home)
        state[step] = answer.get("run") or answer.get("dataset")
        state_path.write_text(json.dumps(state))
        measuring.show(
            {"benchmark": "size", "images": given.images, "step": step, **facts, "machine": measuring.machine()}
        )


def watched(words: list[str], home: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """One verb's JSON answer, its seconds and the peak memory of its processes in megabytes."""
    peaks = {"own": 0, "mapped": 0, "largest": 0}
    ended = threading.Event()
    begin, worked = time.perf_counter(), _processor_seconds()
    command = [sys.executable, "-m", "covid_core", *words, "--json"]
    environment = {**os.environ, "COVID_CORE_HOME": str(home)}
    with subprocess.Popen(command, cwd=measuring.ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        watcher = threading.Thread(target=_watch, args=(process.pid, peaks, ended))
        watcher.start()
        output = process.communicate()[0]
        ended.set()
        watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}: {output[-2000:]}")
    seconds = {"seconds": time.perf_counter() - begin, "processor_seconds": _processor_seconds() - worked}
    return json.loads(output), {name: round(value, 1) for name, value in seconds.items()} | {"peak_megabytes": peaks}


def _processor_seconds() -> float:
    """What ended child processes, and theirs, have worked so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _watch(pid: int, peaks: dict[str, int], ended: threading.Event) -> None:
    while not ended.wait(INTERVAL):
        own = mapped = largest = 0
        for process in _all_of(pid):
            values = _status(process.pid)
            own += values.get("RssAnon", 0)
            largest = max(largest, values.get("RssAnon", 0))
            mapped += values.get("RssFile", 0) + values.get("RssShmem", 0)
        for name, kilobytes in (("own", own), ("mapped", mapped), ("largest", largest)):
            peaks[name] = max(peaks[name], kilobytes // 1000)


def _all_of(pid: int) -> list[psutil.Process]:
    """The process, its children, and the worker that it started by itself (a worker outlives who asked for it)."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _status(pid: int) -> dict[str, int]:
    """Kilobytes by kind, as Linux counts them; empty for a process that has ended."""
    path = Path(f"/proc/{pid}/status")
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Rss")}


def make(folder: Path, images: int) -> None:
    """The images in FOLDERS folders, and their table; the folder appears when it is whole."""
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    for number in range(FOLDERS):
        (unfinished / f"images_{number + 1:03}" / "images").mkdir(parents=True, exist_ok=True)
    parts = [range(start, min(start + TOGETHER, images)) for start in range(0, images, TOGETHER)]
    with ProcessPoolExecutor() as pool, open(unfinished / TABLE, "w", encoding="utf-8", newline="") as handle:
        handle.write(HEAD + "\n")
        table = csv.writer(handle)
        for number, rows in enumerate(pool.map(_make_some, [unfinished] * len(parts), parts, [images] * len(parts))):
            table.writerows(rows)
            if number % 40 == 0:
                measuring.tell(f"{number * TOGETHER:,} of {images:,} images made")
    unfinished.rename(folder)


def _make_some(folder: Path, numbers: range, images: int) -> list[list[Any]]:
    """Images of some numbers. Those of a patient are one drawn image, each time moved, turned and lit otherwise."""
    from covid_core.images.codec import png_bytes
    from covid_core.synthetic import phantom

    rows, drawn = [], {}
    patients = max(1, images * PATIENTS // IMAGES)
    for number in numbers:
        patient = number * patients // images
        base = patient * 1009 % DRAWN  # 1009 is prime: classes mix
        if base not in drawn:
            drawn[base] = phantom.image_at(base, DRAWN, 0, ())
        rng = np.random.default_rng([1, number])
        name = f"{patient + 1:08}_{number:06}.png"
        path = folder / f"images_{number * FOLDERS // images + 1:03}" / "images" / name
        path.write_bytes(png_bytes(jittered(drawn[base].pixels, rng)))
        who = np.random.default_rng([2, patient])
        sex, age, view = "MF"[who.integers(2)], int(who.integers(1, 95)), ("PA", "AP")[int(rng.random() < 0.4)]
        rows.append([name, FINDINGS[drawn[base].label], 0, patient + 1, age, sex, view, 2500, 2048, 0.143, 0.143])
    return rows


def jittered(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image (size, size) turned by up to 6 degrees, scaled by 8 %, moved by 5 %, in another gamma, with noise."""
    from scipy import ndimage

    size, turn, scale = len(pixels), rng.uniform(-0.1, 0.1), rng.uniform(0.92, 1.08)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = np.full(2, (size - 1) / 2)
    offset = middle - matrix @ middle + rng.uniform(-0.05, 0.05, 2) * size
    moved = ndimage.affine_transform(pixels.astype(np.float32), matrix, offset, order=1, mode="nearest")
    lit = 255 * (moved / 255) ** rng.uniform(0.8, 1.25) + rng.integers(-3, 4, moved.shape)
    return lit.clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
