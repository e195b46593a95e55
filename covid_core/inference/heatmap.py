"""Where the model looked: Grad-CAM (Selvaraju et al. 2017) without a tape, against the usual film.

Between the pooled maps and a logit there is only the head, so the gradient is a closed formula. With several taps each
map is taken along its own direct path to the head (an earlier tap also feeds a later one; that path is left out), as
the density ``gradient . activation``, brought to one size and summed before negative evidence is cut off.

Three choices go beyond the paper. Each was made in the pointing game on films whose lesions are known
(``benchmarks/pointing.py``; figures there and below are hits on 181 to 196 films):

- *Which logit*: the class's less the mean of all classes'. Scores depend on differences of logits alone, so what speaks
  for every class alike speaks for none.
- *Against what*: the activations less their mean over training films, cell by cell (``Head.usual``). For a head of one
  layer that is the Shapley value of each activation (linear SHAP: Lundberg and Lee 2017); plain ``gradient .
  activation`` also shows what every film has. The zeros with which convolutions pad a film light up its corners, and
  in a MobileNetV2 the highest point of 90 % of the maps for viral pneumonia was such a corner: 68 to 80 % hits
  without this, 86 to 92 % with it. A run from before the mean was kept has maps without it.
- *Which cells*: after mean or maximum pooling each channel has one weight, the sum of its gradient over the cells, as
  in the paper. After flattening each cell has its own (HiResCAM: Draelos and Carin 2020), which adds up to the logit
  exactly if the head has one layer; averaged over the cells, what the head learned of places would be lost (65 % of
  hits against 47 %). For maxima it is the other way round (77 % against 97 %): a maximum's own cell is one of many that
  are nearly as high.
"""

from collections.abc import Sequence

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


def grad_cam(
    head: Head,
    maps: Sequence[np.ndarray],
    class_index: int,
    width: int,
    height: int,
    usual: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """Heat map of one film for one class.

    Args:
        head: the model's head.
        maps: one array (1, h, w, channels) per tap.
        class_index: position of the class in the run's order.
        width, height: size of the result, usually the film's.
        usual: the maps of the usual film, (h, w, channels) per tap; none: the film's are taken as they are.

    Returns:
        float32 (height, width) in [0, 1]; all 0 where nothing speaks for the class.
    """
    return to_unit(cam(head, maps, class_index, width, height, usual))


def cam(
    head: Head,
    maps: Sequence[np.ndarray],
    class_index: int,
    width: int,
    height: int,
    usual: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """The map before what speaks against the class is cut off: float32 (height, width), any range. As ``grad_cam``.

    The maps of all classes add up to 0 everywhere.
    """
    gradient = head.centred.gradient(head.features(maps), class_index)[0]
    total = np.zeros((height, width), dtype=np.float32)
    start = 0
    for number, tap in enumerate(maps):
        weights, start = _weights(gradient, tap[0], start, head.pooling)
        activation = tap[0] - usual[number] if usual else tap[0]
        total += resized_map((activation * weights).sum(axis=2), width, height)
    return total


def to_unit(evidence: np.ndarray) -> np.ndarray:
    """What speaks for the class, as a share of its highest value."""
    positive = np.maximum(evidence, 0)
    peak = positive.max()
    return positive / peak if peak > 0 else positive


def _weights(gradient: np.ndarray, tap: np.ndarray, start: int, pooling: str) -> tuple[np.ndarray, int]:
    """Weights of one tap's activations, per cell and channel or per channel, and where the next tap's features begin."""
    if pooling == FLATTEN:
        end = start + tap.size
        return gradient[start:end].reshape(tap.shape), end
    channels = tap.shape[2]
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
