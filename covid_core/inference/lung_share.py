"""How much of a heat map lies inside the lungs: of one image, and in the mean of many."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from covid_core.evaluation import resampling
from covid_core.formatting import interval, plural, share
from covid_core.images.codec import resized_map


@dataclass(frozen=True)
class LungShare:
    """How much of a heat map lies inside the lungs, and how much of the picture they fill; nan where undefined.

    ``why`` says why it is undefined.
    """

    share: float
    chance: float
    why: str = ""

    @property
    def is_defined(self) -> bool:
        return not self.why

    @property
    def ratio(self) -> float:
        """How many times as much as a map that is the same everywhere would have there."""
        return self.share / self.chance


def share_inside(heat: np.ndarray, lungs: np.ndarray) -> LungShare:
    """The share of a heat map inside a lung mask, against the mask's share of the picture.

    Args:
        heat: (height, width), as a heat map has it: what is not above 0 is no heat.
        lungs: bool, of the same picture at any resolution; at another one each place counts as much as it is lung.
    """
    height, width = heat.shape
    inside = lungs.astype(np.float32)
    if lungs.shape != heat.shape:
        inside = np.clip(resized_map(inside, width, height), 0, 1)
    positive = np.maximum(heat, 0).astype(np.float64)
    total, chance = float(positive.sum()), float(inside.mean())
    if chance == 0:
        return LungShare(np.nan, np.nan, "no lung is marked on the image")
    if total == 0:
        return LungShare(np.nan, chance, "the heat map is empty")
    return LungShare(float((positive * inside).sum()) / total, chance)


@dataclass(frozen=True)
class LungShares:
    """The shares of many images: their mean with its 95 % interval, their mean chance, and the ratio of the two.

    ``images`` counts those with a share and ``undefined`` those without. All numbers are nan without images.
    """

    share: float
    low: float
    high: float
    chance: float
    images: int
    undefined: int

    @property
    def ratio(self) -> float:
        return self.share / self.chance

    @property
    def in_words(self) -> str:
        """All of it in one sentence."""
        if not self.images:
            return "No image has both a heat map and lungs that are marked."
        return (
            f"{interval(self.share, self.low, self.high)} of the heat lies inside the lungs in the mean of "
            f"{plural(self.images, 'image')}; the lungs fill {share(self.chance)} of the picture: "
            f"{self.ratio:.1f} times chance."
        )


def share_over(found: Sequence[LungShare], groups: np.ndarray | None = None) -> LungShares:
    """The mean share of a test part, with its interval from images drawn again (``evaluation.resampling``).

    ``groups`` of shape (images,), where images belong together.
    """
    kept = np.array([one.is_defined for one in found], dtype=bool)
    undefined = int((~kept).sum())
    if not kept.any():
        return LungShares(np.nan, np.nan, np.nan, np.nan, 0, undefined)
    shares = np.array([one.share for one in found])[kept]
    chance = float(np.mean([one.chance for one, is_kept in zip(found, kept, strict=True) if is_kept]))
    together = None if groups is None else np.asarray(groups)[kept]
    mean = resampling.mean(shares, together)
    return LungShares(mean.value, mean.low, mean.high, chance, len(shares), undefined)
