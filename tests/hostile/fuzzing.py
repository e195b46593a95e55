"""Mutated files, a few each day and thousands in tests/soak: each is read or refused in a sentence, nothing else."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from hostile import make
from hostile.make import DEFLATED, IMPLICIT, bits_of, dicom
from PIL import Image

from covid_core.errors import ImageError
from covid_core.images.codec import read_image
from covid_core.images.image import TOO_MUCH_MEMORY
from covid_core.images.sandbox import STOPPED_EARLY, Sandbox

CANARY = "CANARY^JANE"
ENDED = {STOPPED_EARLY, TOO_MUCH_MEMORY}
LATE = 5.0  # seconds


def dicom_files(files: int, seed: int) -> None:
    curve = {"LUTDescriptor": [4096, 0, 16], "LUTData": np.arange(4096, dtype="<u2").tobytes()}
    window = {"WindowCenter": 1500, "WindowWidth": 1800, "VOILUTSequence": [curve]}
    tags, image = {**bits_of(12), "PatientName": CANARY, **window}, make.image(12, 32)
    seeds = [dicom(image, **tags), dicom(image, IMPLICIT, **tags), dicom(image, DEFLATED, **tags)]
    _read_or_refused(read_image, [*seeds, dicom(image, preamble=None)], files, seed)


def pictures(files: int, seed: int) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint16) * 257, (256, 1))
    seeds = [
        make.with_orientation(make.LEANING, 6),
        make.encoded(make.LEANING, "JPEG", quality=95, subsampling=0, exif=Image.Exif()),
        make.png(ramp),
        make.encoded(make.LEANING.astype(np.uint16), "TIFF"),
        make.encoded(make.LEANING, "TIFF", compression="tiff_lzw"),
    ]
    _read_or_refused(read_image, seeds, files, seed)


def strangers_files(files: int, seed: int) -> None:
    """In the process that is made for them, with its own limits."""
    done = measured(files, seed)
    assert done["files"] == files
    assert not done["unmapped"]
    assert not done["late"]


def measured(files: int, seed: int, seconds: float = math.inf) -> dict[str, Any]:
    """So many mutated files, or as many as there is time for, in the process for strangers' files.

    ``unmapped`` are errors that nobody foresaw, by their place; ``late`` answers that took longer than 5 seconds;
    ``ended`` files over which a decoder ended, which costs its user a sentence. Whatever else happens is raised.
    """
    sandbox, unmapped, slowest, done = Sandbox(), Unmapped(), 0.0, Counter[str]()
    seeds, rng = make.fuzz_seeds(), np.random.default_rng(seed)
    logging.getLogger("covid_core.images.sandbox").addHandler(unmapped)
    end = time.monotonic() + seconds
    try:
        sandbox.read_image(seeds[0])
        while done["files"] < files and time.monotonic() < end:
            content, start = make.mutated(seeds[done["files"] % len(seeds)], rng), time.monotonic()
            outcome = _outcome(sandbox.read_image, content)
            took = time.monotonic() - start
            slowest = max(slowest, took)
            done.update(files=1, read=not outcome, ended=outcome in ENDED, late=took > LATE)
    finally:
        logging.getLogger("covid_core.images.sandbox").removeHandler(unmapped)
        sandbox.close()
    return {**done, "slowest": slowest, "unmapped": sorted(unmapped.places)}


class Unmapped(logging.Handler):
    """Collects where decoders failed unforeseen."""

    def __init__(self) -> None:
        super().__init__()
        self.places: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.places.add(record.getMessage())


def _outcome(read: Callable[[bytes], object], content: bytes) -> str:
    """Nothing for a file that is read, else the sentence that refuses it."""
    try:
        read(content)
    except ImageError as refusal:
        assert str(refusal).endswith(".")
        assert "CANARY" not in str(refusal)
        return str(refusal)
    return ""


def _read_or_refused(read: Callable[[bytes], object], seeds: list[bytes], files: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for number in range(files):
        _outcome(read, make.mutated(seeds[number % len(seeds)], rng))
