"""Are planted copies found among images that look alike, and how long does it take?

``python -m benchmarks.datasets.copies`` draws 2,000 phantom images, makes copies of 100 of them in each way (cropped by
3 %, JPEG of quality 60, gamma 0.8 and 1.25, turned by 2 degrees either way, resized, mirrored), and looks for each copy
among all images, as ``audit --thorough`` does, from the limit that the images themselves give. To reach: 95 % of the
copies of each kind, and at most 20 pairs among the 2,000 images themselves, of which none is a copy. With ``--images
21165`` the same among as many; the search of these with themselves, limit included, is to take less than 60 s
(``--times`` repeats it). Prints one JSON line.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from scipy import ndimage

from benchmarks import measuring
from covid_core.audit.duplicates import duplicate_pairs, threshold
from covid_core.data.pixels import SUMMARY_SIZE
from covid_core.images.codec import jpeg_bytes, read_image, to_square
from covid_core.reports.audit_text import limit_of_duplicates
from covid_core.synthetic.phantom import image_at
from covid_core.work import cores

EDGE = 0.03  # of the side


def cropped(image: np.ndarray) -> np.ndarray:
    """Without 3 % on every side."""
    edge = round(EDGE * len(image))
    return np.ascontiguousarray(image[edge:-edge, edge:-edge])


def cropped_at_a_corner(image: np.ndarray) -> np.ndarray:
    """Without 3 % of its height and width, below and on the right."""
    edge = round(EDGE * len(image))
    return np.ascontiguousarray(image[:-edge, :-edge])


def coded(image: np.ndarray) -> np.ndarray:
    return read_image(jpeg_bytes(image, 60)).pixels


def exposed(image: np.ndarray, gamma: float) -> np.ndarray:
    return np.round(255 * (image / 255) ** gamma).astype(np.uint8)


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    return ndimage.rotate(image, degrees, reshape=False, order=1, mode="nearest")


def resized(image: np.ndarray) -> np.ndarray:
    return to_square(to_square(image, 150), 300)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cropped 3 % on every side": cropped,
    "cropped 3 % at a corner": cropped_at_a_corner,
    "JPEG 60": coded,
    "gamma 0.8": partial(exposed, gamma=0.8),
    "gamma 1.25": partial(exposed, gamma=1.25),
    "turned by 2 degrees": partial(turned, degrees=2),
    "turned by -2 degrees": partial(turned, degrees=-2),
    "resized": resized,
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
}


def drawn(index: int, images: int) -> np.ndarray:
    return image_at(index, images, seed=21).pixels


def square(index: int, images: int) -> np.ndarray:
    return to_square(drawn(index, images), SUMMARY_SIZE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--copies", type=int, default=100, help="of each kind")
    parser.add_argument("--times", type=int, default=3, help="that the images are searched")
    given = parser.parse_args()
    with ProcessPoolExecutor(cores()) as pool:
        squares = np.stack(list(pool.map(partial(square, images=given.images), range(given.images), chunksize=20)))
    before = measuring.peak_megabytes()
    chosen = np.random.default_rng(0).permutation(given.images)[: given.copies]
    seconds, processor = [], []
    for _ in range(given.times):
        begin, begin_processor = time.perf_counter(), time.process_time()
        limit = threshold.calibrated(squares)
        false = duplicate_pairs.pairs(squares, limit=limit.limit)
        seconds.append(round(time.perf_counter() - begin, 1))
        processor.append(round(time.process_time() - begin_processor, 1))
        measuring.tell(f"{len(false)} pairs among {given.images} images, {seconds[-1]} s")
    measuring.tell(limit_of_duplicates(limit))
    peak = measuring.peak_megabytes()
    recall = {}
    originals = [drawn(row, given.images) for row in chosen]
    for name, change in CHANGES.items():
        changed = np.stack([to_square(change(image), SUMMARY_SIZE) for image in originals])
        found = duplicate_pairs.pairs(changed, squares, limit=limit.limit)
        right = found[chosen[found["first"]] == found["second"]]
        recall[name] = right["first"].nunique() / len(chosen)
        measuring.tell(f"{name}: {recall[name]:.3f} found, {len(found) - len(right)} wrong pairs")
    measuring.show(
        {
            "benchmark": "copies",
            "images": given.images,
            "copies": given.copies,
            "recall": recall,
            "false_pairs": len(false),
            "limit": round(limit.limit, 4),
            "limit_read": round(limit.read, 4),
            "seconds": seconds,
            "processor_seconds": processor,
            "median": statistics.median(seconds),
            "peak_megabytes": peak,
            "megabytes_before": before,
            "machine": measuring.machine(),
        }
    )


if __name__ == "__main__":
    main()
