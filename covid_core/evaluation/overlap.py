"""How well outlines agree with masks: Dice and intersection over union of each image."""

import numpy as np


def dice(outlines: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """2 |A ∩ B| / (|A| + |B|) of each image: float (n,); 1 where both are empty.

    Source: Dice, "Measures of the amount of ecologic association between species", Ecology 26 (1945) 297-302.

    Args:
        outlines: bool (n, height, width).
        masks: the same, to compare with.
    """
    common, both = _sizes(outlines, masks)
    return np.divide(2 * common, both, out=np.ones(len(outlines)), where=both > 0)


def iou(outlines: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """|A ∩ B| / |A ∪ B| of each image, the Jaccard index: float (n,); 1 where both are empty."""
    common, both = _sizes(outlines, masks)
    return np.divide(common, both - common, out=np.ones(len(outlines)), where=both > 0)


def _sizes(outlines: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    common = np.count_nonzero(outlines & masks, axis=(1, 2))
    return common, np.count_nonzero(outlines, axis=(1, 2)) + np.count_nonzero(masks, axis=(1, 2))
