"""Mutated files, a few each day and thousands in tests/soak: each is read or refused in a sentence, nothing else."""

from collections.abc import Callable

import numpy as np
from hostile import make
from hostile.make import DEFLATED, IMPLICIT, bits_of, dicom
from PIL import Image

from covid_core.errors import ImageError
from covid_core.images.codec import read_image
from covid_core.images.sandbox import Sandbox

CANARY = "CANARY^JANE"


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
    sandbox = Sandbox()
    try:
        _read_or_refused(sandbox.read_image, make.fuzz_seeds(), files, seed)
    finally:
        sandbox.close()


def _read_or_refused(read: Callable[[bytes], object], seeds: list[bytes], files: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for number in range(files):
        try:
            read(make.mutated(seeds[number % len(seeds)], rng))
        except ImageError as refusal:
            assert str(refusal).endswith(".")
            assert "CANARY" not in str(refusal)
