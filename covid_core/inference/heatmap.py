"""Where the model looked: Grad-CAM (Selvaraju et al. 2017) without a tape.

Between the pooled maps and a logit there is only the head, so the gradient is a closed formula. With several taps each
map is taken along its own direct path to the head (an earlier tap also feeds a later one; that path is left out), as
the density ``gradient . activation``, brought to one size and summed before negative evidence is cut off.
"""

import numpy as np

from covid_core.data.images import resized_map
from covid_core.inference.head import FLATTEN, MEAN_MAX, Head

# Inferno (matplotlib, CC0) at nine points: dark to bright evenly, also for the colour blind and in grey print.
COLOURS = np.array(
    [
        (0, 0, 4),
        (31, 12, 72),
        (85, 15, 109),
        (136, 34, 106),
        (186, 54, 85),
        (227, 89, 51),
        (249, 140, 10),
        (249, 201, 50),
        (252, 255, 164),
    ],
    dtype=np.float64,
)


def grad_cam(head: Head, maps: list[np.ndarray], class_index: int, width: int, height: int) -> np.ndarray:
    """Heat map of one film for one class's logit.

    Args:
        head: the model's head.
        maps: one array (1, h, w, channels) per tap.
        class_index: position of the class in the run's order.
        width, height: size of the result, usually the film's.

    Returns:
        float32 (height, width) in [0, 1]; all 0 where nothing speaks for the class.
    """
    return to_unit(cam(head, maps, class_index, width, height))


def cam(head: Head, maps: list[np.ndarray], class_index: int, width: int, height: int) -> np.ndarray:
    """The map before what speaks against the class is cut off: float32 (height, width), any range. As ``grad_cam``."""
    gradient = head.gradient(head.features(maps), class_index)[0]
    total = np.zeros((height, width), dtype=np.float32)
    start = 0
    for tap in maps:
        channels, start = _channel_weights(gradient, tap[0], start, head.pooling)
        total += resized_map(tap[0] @ channels, width, height)
    return total


def to_unit(evidence: np.ndarray) -> np.ndarray:
    """What speaks for the class, as a share of its highest value."""
    positive = np.maximum(evidence, 0)
    peak = positive.max()
    return positive / peak if peak > 0 else positive


def _channel_weights(gradient: np.ndarray, tap: np.ndarray, start: int, pooling: str) -> tuple[np.ndarray, int]:
    """Weight of each channel of one tap, and where the next tap's features begin."""
    cells, channels = tap.shape[0] * tap.shape[1], tap.shape[2]
    if pooling == FLATTEN:
        end = start + cells * channels
        return gradient[start:end].reshape(cells, channels).sum(axis=0), end
    end = start + channels
    weights = gradient[start:end]
    if pooling == MEAN_MAX:
        weights, end = weights + gradient[end : end + channels], end + channels
    return weights, end


def coloured(heat: np.ndarray) -> np.ndarray:
    """A heat map in [0, 1] as uint8 colours (height, width, 3)."""
    position = np.clip(heat, 0, 1) * (len(COLOURS) - 1)
    low = np.minimum(position.astype(int), len(COLOURS) - 2)
    share = (position - low)[..., None]
    return np.round(COLOURS[low] * (1 - share) + COLOURS[low + 1] * share).astype(np.uint8)


def overlaid(film: np.ndarray, heat: np.ndarray, opacity: float) -> np.ndarray:
    """A uint8 film (height, width) under its heat map, as uint8 (height, width, 3).

    The map covers as much as it is hot, up to ``opacity`` in [0, 1], so cold parts of the film stay as they are.
    """
    cover = (opacity * np.clip(heat, 0, 1))[..., None]
    return np.round(film[..., None] * (1 - cover) + coloured(heat) * cover).astype(np.uint8)
