"""From which likeness on a pair of aligned images is a copy: told by pairs of the same data that certainly are none.

How alike two different images look is a matter of the data: images of one machine and position are more alike than
images of many. IMAGES images are drawn, each is asked for the ASKED that its sketch is most like among OTHERS others
drawn, and these are aligned as candidates are. The Fisher transform of a correlation is nearly normal (Fisher, Metron 1
(1921) 3-32), so the best that each image reaches is the largest of so many normal values. Their law is laid through the
median and the 90 % quantile of these bests, where the tail begins, and read off where EXPECTED pairs among all that are
compared would lie beyond it.
"""

from dataclasses import dataclass

import numpy as np

from covid_core.audit.duplicates import alignment, search
from covid_core.audit.duplicates.search import View

IMAGES, OTHERS, ASKED = 400, 1000, 2
FEWEST = 100  # images from which a law can be laid through: of fewer, a tenth is too few
EXPECTED = 1.0  # pairs of different images that may pass for copies, among all that are compared
LOWEST = 0.93  # two real images of one patient reach 0.92; copies with arrows or a caption have 0.936 and more
HIGHEST = 0.975  # images changed as in ``benchmarks.datasets.copies`` have 0.985 and more, phantom and real ones
USUAL = 0.945  # where the images are too few: no pair of different phantom or real images looked at has more
SIDES = 2  # each pair is compared plainly and mirrored
QUANTILES = (0.5, 0.9)
SEED = 1
TOP = 1 - 1e-6  # correlations are kept below, so that their transform is finite


@dataclass(frozen=True)
class Limits:
    """The limit that was used, and what it rests on.

    ``limit``: detail (correlation once aligned) from which a pair is a copy. ``different``: per image drawn, the
    largest detail it reached with images that are certainly others, ascending; empty where there were too few.
    ``others``: among how many each was sought. ``compared``: pairs that the limit must hold for, mirrored ones counted
    apart. ``read``: what the law gave, nan without it; the limit is that, held between LOWEST and HIGHEST.
    """

    limit: float
    different: np.ndarray
    others: int
    compared: int
    read: float
    expected: float = EXPECTED


def calibrated(pixels: np.ndarray, others: np.ndarray | None = None, patients: np.ndarray | None = None) -> Limits:
    """The limit for copies among images, uint8 (n, 128, 128), or between them and others.

    Images of one known patient (text, empty where unknown) are not certainly different, and are not drawn together.
    Patients of two data sets are numbered apart.
    """
    within = others is None
    others = pixels if within else others
    compared = SIDES * (len(pixels) * (len(pixels) - 1) // 2 if within else len(pixels) * len(others))
    if min(len(pixels), len(others)) < FEWEST:
        return Limits(USUAL, np.empty(0), 0, compared, float("nan"))
    rng = np.random.default_rng(SEED)
    one = np.sort(rng.permutation(len(pixels))[:IMAGES])
    two = np.sort(rng.permutation(len(others))[:OTHERS])
    sketch = search.learnt(pixels, None if within else others)
    alike = sketch.of(pixels[one], View(False, False)) @ sketch.of(others[two], View(False, False)).T
    if within:
        alike[_may_be_same(one, two, patients)] = -np.inf
    best = np.argpartition(-alike, ASKED, axis=1)[:, :ASKED]
    detail = alignment.of_pairs(pixels, others, np.repeat(one, ASKED), two[best.ravel()])
    detail = np.where(detail < HIGHEST, detail, -1).reshape(-1, ASKED)  # beyond it are copies, no different images
    best = detail.max(axis=1)
    different = np.sort(best[best > -1])
    if len(different) < FEWEST / 2:
        return Limits(USUAL, np.empty(0), 0, compared, float("nan"))
    read = _beyond(different, len(two), compared)
    return Limits(float(np.clip(read, LOWEST, HIGHEST)), different, len(two), compared, read)


def _may_be_same(one: np.ndarray, two: np.ndarray, patients: np.ndarray | None) -> np.ndarray:
    """Which of the drawn images (rows, columns) are one image, or of one patient."""
    same = one[:, None] == two
    if patients is None:
        return same
    names = patients[one][:, None]
    return same | ((names == patients[two]) & (names != ""))


def _beyond(largest: np.ndarray, others: int, compared: int) -> float:
    """Where EXPECTED of ``compared`` pairs would lie beyond, if ``largest`` are the largest of ``others`` each."""
    from scipy.special import ndtri  # 0.1 s to import

    low, high = np.arctanh(np.clip(np.quantile(largest, QUANTILES), -TOP, TOP))
    reduced = -ndtri(-np.log(QUANTILES) / others)  # of so many, the largest is below a place with these chances
    scale = (high - low) / (reduced[1] - reduced[0])
    return float(np.tanh(low + scale * (-ndtri(EXPECTED / compared) - reduced[0])))
