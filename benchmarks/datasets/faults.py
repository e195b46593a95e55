"""Are planted faults found, and good images left alone? ``python -m benchmarks.datasets.faults``.

Draws 2,000 phantom images, gives each kind of fault (``planted_faults``) to 25 of them, and audits all; then audits
the same images without any fault. To reach: 90 % of the faults of each kind, and findings in at most 1 % of clean
images, beside faults and in a set without them. Prints one JSON line. There is no peer.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import measuring
from benchmarks.datasets import planted_faults
from covid_core.audit.quality import findings
from covid_core.data.imports import importing
from covid_core.images.codec import png_bytes
from covid_core.synthetic.phantom import image_at
from covid_core.workspace import Workspace

IMAGES, PLANTED, SIZE, SEED = 2000, 25, 256, 0


def main() -> None:
    measuring.options(__doc__).parse_args()
    images = [image_at(number, IMAGES, seed=SEED, size=SIZE).pixels for number in range(IMAGES)]
    rng, which, changed = np.random.default_rng(SEED), {}, list(images)
    for place, (name, fault) in enumerate(planted_faults.FAULTS.items()):
        for number in range(place * PLANTED, (place + 1) * PLANTED):
            changed[number] = fault(images[number], rng)
            which[number] = name
    begin = time.perf_counter()
    clean = flagged(images)
    planted = flagged(changed)
    found = {
        name: sum(name in planted.get(number, ()) for number, of in which.items() if of == name) / PLANTED
        for name in planted_faults.FAULTS
    }
    measuring.show(
        {
            "benchmark": "faults",
            "images": IMAGES,
            "planted_of_each": PLANTED,
            "found": found,
            "least_found": min(found.values()),
            "false_beside_faults": len(set(planted) - set(which)) / (IMAGES - len(which)),
            "false_in_a_clean_set": len(clean) / IMAGES,
            "seconds": round(time.perf_counter() - begin, 1),
            "machine": measuring.machine(),
        }
    )


def flagged(images: list[np.ndarray]) -> dict[int, set[str]]:
    """The findings of each image that has any, by its number."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for number, image in enumerate(images):
            label = folder / "images" / ("A" if number % 2 else "B")
            label.mkdir(parents=True, exist_ok=True)
            (label / f"{number:04d}.png").write_bytes(png_bytes(image))
        workspace = Workspace(folder / "workspace")
        found = findings.audit(workspace, importing.import_folder(workspace, folder / "images")).findings
    told: dict[int, set[str]] = {}
    for name, finding in zip(found["image_id"], found["finding"], strict=True):
        told.setdefault(int(Path(name).stem), set()).add(finding)
    return told


if __name__ == "__main__":
    main()
