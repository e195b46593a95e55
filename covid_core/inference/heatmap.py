"""Where the model looked: Grad-CAM (Selvaraju et al. 2017) without a tape, against the usual image.

Between the pooled maps and a logit there is only the head, so the gradient is a closed formula. With several taps each
map is taken along its own direct path to the head (an earlier tap also feeds a later one; that path is left out), as
the density ``gradient . activation``, brought to one size and summed before negative evidence is cut off.

Four choices go beyond the paper. They were made in the pointing game, on made images whose lesions are known; the
shares of hits that decide are those on images that had no part in the choice (``benchmarks/models/pointing.py``):

- *Which logit*: the class's less the mean of all classes'. Scores depend on differences of logits alone, so what speaks
  for every class alike speaks for none. Where maps are flattened, it is less the mean of the other classes', each
  weighted by its share of the scores that are left to them: the gradient of the class's log-odds, log(p / (1 - p)). A
  network that knows places sees for itself where another disease would be and is not. Against all classes alike that
  counts even on images on which nothing else suggests it: clear hila, where viral pneumonia would be, spoke for COVID.
  Ten baseline CNNs hit 68 to 94 % with equal weights and 70 to 94 % with these, none fewer, 3.4 points more in the
  mean. Four MobileNetV2s, which pool, hit 0 to 2 points fewer with them on the images of the choice: there equal
  weights stay. With two classes both are the same map.
- *Against what*: the activations less their mean over training images, cell by cell (``Head.usual``). For a head of one
  layer that is the Shapley value of each activation (linear SHAP: Lundberg and Lee 2017; with log-odds of more than two
  classes, of their line through this image); plain ``gradient .
  activation`` also shows what every image has. The zeros with which convolutions pad an image light up its corners, and
  many a map for viral pneumonia was highest there. MobileNetV2s hit 68 to 80 % without this choice and 84 to 96 % with
  it. A run from before the mean was kept has maps without it. The usual image is nobody's own: against the same image
  drawn without its lesion, which only made images have, the same ten baseline CNNs would hit 96 to 100 %. What they
  miss are places where this body differs from the usual one, mostly the angles between dome, heart and ribs.
- *Which cells*: after mean or maximum pooling each channel has one weight, the sum of its gradient over the cells, as
  in the paper. After flattening each cell has its own (HiResCAM: Draelos and Carin 2020), which adds up to the logit
  exactly if the head has one layer; averaged over the cells, what the head learned of places is lost (65 % of hits
  against 47 %). For maxima it is the other way round (77 % against 97 %): a maximum's own cell is one of many that are
  nearly as high.
- *How fine*: the evidence of flattened maps is smoothed. Both sides of an edge, one for and one against, lie beside
  each other there and are higher than any lesion (five baseline CNNs hit 56 to 74 % without and 67 to 77 % with it).

``share_inside`` is how much of a map lies inside the lungs, ``share_over`` the mean of many.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from covid_core.evaluation import resampling
from covid_core.images.codec import resized_map
from covid_core.inference.network import FLATTEN, MEAN_MAX, Head

# Inferno (matplotlib, CC0) at nine points: dark to bright evenly, also for the colour blind and in grey print.
INFERNO = "000004 1f0c48 550f6d 88226a ba3655 e35933 f98c0a f9c932 fcffa4"
COLOURS = np.frombuffer(bytes.fromhex(INFERNO), np.uint8).reshape(-1, 3).astype(np.float64)
SMOOTHING = 0.05  # of the map's longer side, for flattened maps: about a cell of the maps of other networks


def cam(
    head: Head,
    maps: Sequence[np.ndarray],
    class_index: int,
    width: int,
    height: int,
    usual: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """Heat map of one image for one class, before what speaks against the class is cut off (``to_unit``).

    Args:
        head, maps: of the model, one array (1, h, w, channels) per tap.
        class_index: position of the class in the run's order.
        width, height: size of the result, usually the image's.
        usual: the maps of the usual image, (h, w, channels) per tap; none: the image's are taken as they are.

    Returns:
        float32 (height, width), any range. The maps of all classes add up to 0 everywhere, unless the head flattens.
    """
    features = head.features(maps)  # the module's first choice names the logit whose gradient a map is made from
    of_logit = head.log_odds_gradient if head.pooling == FLATTEN else head.centred.gradient
    gradient = of_logit(features, class_index)[0]
    total = np.zeros((height, width), dtype=np.float32)
    start = 0
    for number, tap in enumerate(maps):
        weights, start = _weights(gradient, tap[0], start, head.pooling)
        activation = tap[0] - usual[number] if usual else tap[0]
        evidence = (activation * weights).sum(axis=2)
        if head.pooling == FLATTEN:  # the two sides of an edge, one for and one against, cancel each other
            from scipy import ndimage  # 0.2 s to import, and only the baseline CNN needs it

            evidence = ndimage.gaussian_filter(evidence, SMOOTHING * max(evidence.shape), mode="nearest")
        total += resized_map(evidence, width, height)
    return total


def to_unit(evidence: np.ndarray) -> np.ndarray:
    """What speaks for the class, as a share of its highest value."""
    positive = np.maximum(evidence, 0)
    peak = positive.max()
    return positive / peak if peak > 0 else positive


def _weights(gradient: np.ndarray, tap: np.ndarray, start: int, pooling: str) -> tuple[np.ndarray, int]:
    """Weights of one tap's activations, by cell and channel or by channel, and where the next tap's features begin."""
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


def overlaid(image: np.ndarray, heat: np.ndarray, opacity: float) -> np.ndarray:
    """A uint8 image (height, width) under its heat map, as uint8 (height, width, 3).

    The map covers as much as it is hot, up to ``opacity`` in [0, 1], so cold parts of the image stay as they are.
    """
    cover = (opacity * np.clip(heat, 0, 1))[..., None]
    return np.round(image[..., None] * (1 - cover) + coloured(heat) * cover).astype(np.uint8)


@dataclass(frozen=True)
class LungShare:
    """How much of a heat map lies inside the lungs, and how much of the picture they fill; nan where undefined.

    ``why`` says why it is undefined.
    """

    share: float
    chance: float
    why: Literal["", "no lung", "no heat"] = ""

    @property
    def is_defined(self) -> bool:
        return not self.why

    @property
    def ratio(self) -> float:
        """How many times as much as a map that is the same everywhere would have there."""
        return self.share / self.chance


def share_inside(heat: np.ndarray, lungs: np.ndarray) -> LungShare:
    """The share of a heat map (height, width) inside a lung mask, against the mask's share of the picture.

    What is not above 0 is no heat. ``lungs`` are bool, of the same picture at any resolution; at another one each place
    counts as much as it is lung.
    """
    height, width = heat.shape
    inside = lungs.astype(np.float32)
    if lungs.shape != heat.shape:
        inside = np.clip(resized_map(inside, width, height), 0, 1)
    positive = np.maximum(heat, 0).astype(np.float64)
    total, chance = float(positive.sum()), float(inside.mean())
    if chance == 0:
        return LungShare(np.nan, np.nan, "no lung")
    if total == 0:
        return LungShare(np.nan, chance, "no heat")
    return LungShare(float((positive * inside).sum()) / total, chance)


@dataclass(frozen=True)
class LungShares:
    """The shares of many images: their mean with its 95 % interval, and their mean chance.

    ``images`` counts those with a share and ``undefined`` those without. All numbers are nan without images.
    """

    share: float
    low: float
    high: float
    chance: float
    images: int
    undefined: int


def share_over(shares_of_images: Sequence[LungShare], groups: np.ndarray | None = None) -> LungShares:
    """The mean share of a test part, with its interval from images drawn again (``evaluation.resampling``).

    ``groups`` of shape (images,), where images belong together.
    """
    defined = np.array([one.is_defined for one in shares_of_images], dtype=bool)
    undefined = int((~defined).sum())
    if not defined.any():
        return LungShares(np.nan, np.nan, np.nan, np.nan, 0, undefined)
    shares, chances = np.array([(one.share, one.chance) for one in shares_of_images])[defined].T
    mean = resampling.mean(shares, None if groups is None else np.asarray(groups)[defined])
    return LungShares(mean.value, mean.low, mean.high, float(chances.mean()), len(shares), undefined)
