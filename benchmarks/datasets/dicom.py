"""What becomes of the files that pydicom tests itself with, and what the process for strangers' files costs.

    python -m benchmarks.datasets.dicom

Prints one JSON line per file in pydicom's installed package: its name, ``read`` or ``refused``, the sentence or what is
told of the image, and seconds. The last line compares the process for strangers' files with decoding here, for a PNG
of 1 megapixel and a DICOM file of 12 megapixels and 16 bits: starting it, each file, its memory, and an image that
hangs. ``--mutations N`` adds a line for N mutated files, made by tests/hostile/make.py: outcomes, the slowest,
processes lost.
"""

import os
import signal
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pydicom.data

from benchmarks import measuring
from covid_core.errors import ImageError
from covid_core.images import codec
from covid_core.images.sandbox import Sandbox
from tests.hostile import make

FILES = Path(pydicom.data.__file__).parent / "test_files"
TURNS = 9


def main() -> None:
    parser = measuring.options(__doc__)
    parser.add_argument("--mutations", type=int, default=0, help="mutated files to try besides")
    given = parser.parse_args()
    made = Sandbox()
    try:
        made.read_image(_png(64))
        for path in sorted(path for path in FILES.rglob("*") if path.is_file()):
            measuring.show({"benchmark": "dicom", "file": path.relative_to(FILES).as_posix(), **outcome(made, path)})
        if given.mutations:
            measuring.show({"benchmark": "mutations", **mutations(made, given.mutations)})
    finally:
        made.close()
    measuring.show({"benchmark": "sandbox", **cost(), "machine": measuring.machine()})


def outcome(made: Sandbox, path: Path) -> dict[str, Any]:
    """What is said of one file, and how long it takes."""
    content = path.read_bytes()
    begin = time.perf_counter()
    try:
        image = made.read_image(content)
        said = {"outcome": "read", "told": [image.mode, *image.notes, *image.warnings]}
    except ImageError as refusal:
        said = {"outcome": "refused", "told": [str(refusal)]}
    return {**said, "seconds": round(time.perf_counter() - begin, 3)}


def mutations(made: Sandbox, files: int) -> dict[str, Any]:
    """Mutated pictures and DICOM files, in turn from each seed file; what becomes of them by the first words."""
    rng, seeds = np.random.default_rng(0), make.fuzz_seeds()
    said: Counter[str] = Counter()
    slowest, processes = 0.0, set(made.processes())
    for number in range(files):
        content = make.mutated(seeds[number % len(seeds)], rng)
        begin = time.perf_counter()
        try:
            made.read_image(content)
            said["read"] += 1
        except ImageError as refusal:
            said[" ".join(str(refusal).split()[:6])] += 1
        slowest = max(slowest, time.perf_counter() - begin)
        processes.update(made.processes())
        if number % 1000 == 999:
            measuring.tell(f"{number + 1:,} of {files:,} mutated files")
    return {
        "files": files,
        "said": dict(said.most_common()),
        "slowest_seconds": round(slowest, 3),
        "processes_lost": len(processes) - len(made.processes()),
    }


def cost() -> dict[str, Any]:
    """The process for strangers' files against decoding in this process: medians, milliseconds and megabytes."""
    made = Sandbox(decoders=1)
    try:
        begin = time.perf_counter()
        made.read_image(_png(64))
        found: dict[str, Any] = {"start_ms": _milliseconds(time.perf_counter() - begin)}
        found["warm_megabytes"] = _megabytes(made)
        for name, content in (("png_1_megapixel", _png(1024)), ("dicom_12_megapixels", _dicom(3000, 4000))):
            found[name] = {
                "bytes": len(content),
                "here_ms": _median(codec.read_image, content),
                "sandbox_ms": _median(made.read_image, content),
            }
        found["megabytes_after"] = _megabytes(made)
        os.kill(made.processes()[0], signal.SIGSTOP)
        begin = time.perf_counter()
        try:
            made.read_image(_png(64))
        except ImageError as refusal:
            found["hanging"] = {"told": str(refusal), "seconds": round(time.perf_counter() - begin, 3)}
        begin = time.perf_counter()
        made.read_image(_png(64))
        found["next_image_ms"] = _milliseconds(time.perf_counter() - begin)
        return found
    finally:
        made.close()


def _median(read: Any, content: bytes) -> float:
    seconds = []
    for _ in range(TURNS):
        begin = time.perf_counter()
        read(content)
        seconds.append(time.perf_counter() - begin)
    return _milliseconds(statistics.median(seconds[1:]))


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _megabytes(made: Sandbox) -> int:
    return round(psutil.Process(made.processes()[0]).memory_info().rss / 1e6)


def _png(side: int) -> bytes:
    return codec.png_bytes(np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8))


def _dicom(height: int, width: int) -> bytes:
    noise = np.random.default_rng(0).integers(0, 2**16, (height, width), dtype=np.uint16)
    return make.dicom(noise, WindowCenter=30_000, WindowWidth=40_000)


if __name__ == "__main__":
    main()
