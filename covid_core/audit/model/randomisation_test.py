"""Do heat maps depend on what was learned? Maps of a network against those of the same network with shuffled weights.

After Adebayo et al. 2018, "Sanity Checks for Saliency Maps". How alike two maps are is the size of the rank correlation
(Spearman) of all their places, before what speaks against the class is cut off. Its sign is left out, as in the paper's
comparison of absolute maps: a map that shows the same places the other way round shows the image and no lesson either.

What maps of known kinds give (4 shuffles of 16 images): one that is the image's edges, or the same blob on every image,
is like itself with 1.00. Seventeen runs that had learned (MobileNetV2 and baseline CNN at 64 to 224 pixels, frozen,
fine-tuned and fully trained, on made images and on real ones) gave 0.06 to 0.21 with the whole network shuffled and
0.11 to 0.34 with the head alone. The coarser a map, the more it is like another by chance: the highest has 4 x 4
places.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DEPENDS, MEANINGLESS, UNKNOWN = "depends on the weights", "means nothing", "inconclusive"

# Of the size of the rank correlation; its square is the part of the ranks' variance that is there without the weights.
SAME_FROM = 0.70  # half of it: the map is more the image's or the network's build than what was learned
OTHER_BELOW = 0.50  # a quarter; good runs stay below 0.35, so what lies between the two is strange and told as neither
LEAST_DEFINED = 0.5  # share of pairs of maps that have to be comparable: a map that is the same everywhere has no ranks


@dataclass(frozen=True)
class Likeness:
    """How alike maps before and after a shuffle are, in the mean of the pairs that can be compared; nan without any."""

    correlation: float
    defined: float

    @property
    def is_defined(self) -> bool:
        return self.defined >= LEAST_DEFINED


@dataclass(frozen=True)
class MapCheck:
    """The weight-randomisation check of one run.

    ``whole`` is the likeness when all kernels of the network are shuffled, ``head`` when only those of the head are.
    ``why`` is the reason where the check could not be made at all.
    """

    whole: Likeness
    head: Likeness
    images: int
    shuffles: int
    why: str = ""

    @property
    def verdict(self) -> str:
        """DEPENDS, MEANINGLESS or UNKNOWN, by the higher of the two correlations."""
        if self.why or not (self.whole.is_defined and self.head.is_defined):
            return UNKNOWN
        if self.correlation >= SAME_FROM:
            return MEANINGLESS
        return DEPENDS if self.correlation < OTHER_BELOW else UNKNOWN

    @property
    def correlation(self) -> float:
        """The higher of the two correlations."""
        return max(self.whole.correlation, self.head.correlation)


def unknown(why: str) -> MapCheck:
    """A check that could not be made."""
    nothing = Likeness(np.nan, 0.0)
    return MapCheck(nothing, nothing, 0, 0, why)


def likeness(maps: np.ndarray, shuffled: Sequence[np.ndarray]) -> Likeness:
    """How alike maps (images, height, width) are to those of each shuffle, image by image; all before the cut at 0."""
    pairs = [(one, other) for others in shuffled for one, other in zip(maps, others, strict=True)]
    comparable = [(one, other) for one, other in pairs if _varies(one) and _varies(other)]
    if not comparable:
        return Likeness(np.nan, 0.0)
    return Likeness(
        float(np.mean([abs(rank_correlation(one, other)) for one, other in comparable])),
        len(comparable) / len(pairs),
    )


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's correlation of two maps' places, ties with their mean rank."""
    from scipy import stats

    ranks = [stats.rankdata(values.ravel()) for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def _varies(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).all() and values.min() < values.max())
