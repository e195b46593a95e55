"""What moves the score: each place of the image is covered in turn, and the run asked again (Zeiler and Fergus 2014).

What it can tell: how far this run's answer hangs on what is to be seen at a place, through the whole network and
without a gradient; it knows nothing of how the network is built, so it is a second witness for a heat map.

What it cannot tell: what would be seen there in a healthy image. A covered place is itself something new, though the
cover is as quiet as can be: the image's own grey in the wider surroundings, faded in, so that no box, no edge and no
black hole appears (a black square in a lung looks like air, a white one like consolidation). A finding that is seen in
two places loses little when one of them is covered; a finding much larger than the patch leaves its haze in the cover;
and one smaller than the patch is not placed more finely than PATCH.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from covid_core.evaluation.calibration import Calibration
from covid_core.images.codec import GreyImage, resized_map, to_square
from covid_core.inference.network import BATCH, softmax
from covid_core.work import Progress, silent

GRID = 12  # places along a side
PATCH = 1 / 6  # of the image's side: twice the distance of two places, so each point is covered well at least once
AT_ONCE = 4 * BATCH  # covered images between two looks at the progress


class Answering(Protocol):
    """What is asked again: a ``Predictor``."""

    classes: tuple[str, ...]
    size: int
    calibration: Calibration

    def logits(self, squares: np.ndarray) -> np.ndarray:
        """Logits (n, classes) of uint8 images (n, size, size)."""

    def held(self, square: np.ndarray) -> "Answering":
        """The same with the region of one image, uint8 (size, size), whatever changes in it."""


@dataclass(frozen=True)
class Occlusion:
    """What covering each place of an image does to the answer for one class.

    ``change``, float32 (GRID, GRID), is how far the class's logit, less the mean of all classes', falls: above 0 the
    place speaks for the class, below 0 against it. ``answer`` is the class's probability (its score where the run has
    none) for the whole image, ``covered``, (GRID, GRID), that with the place covered.
    """

    change: np.ndarray
    answer: float
    covered: np.ndarray

    def map(self, shape: tuple[int, int]) -> np.ndarray:
        """The change as a share of the largest, brought to ``shape`` (height, width): float32 in [-1, 1]."""
        largest = np.abs(self.change).max()
        change = self.change / largest if largest > 0 else self.change
        return resized_map(change, shape[1], shape[0])

    @property
    def most(self) -> tuple[float, float, float]:
        """The place that speaks most for the class: its x and y, from 0 to 1 of the picture, and the answer without."""
        row, column = np.unravel_index(self.change.argmax(), self.change.shape)
        return (column + 0.5) / GRID, (row + 0.5) / GRID, float(self.covered[row, column])


def occluded(predictor: Answering, image: GreyImage, label: str, progress: Progress = silent) -> Occlusion:
    """Cover the image at GRID x GRID places, one after the other; ``label`` is the class that is asked about.

    Progress is told after every AT_ONCE covered images; what it raises ends the work.
    """
    from scipy import ndimage  # 0.2 s to import, and only this needs it

    square = to_square(image.pixels, predictor.size)
    predictor = predictor.held(square)  # a covered place must not move the region
    index, places = predictor.classes.index(label), GRID * GRID
    # so blurred that what fits under the patch is gone
    covers = ndimage.gaussian_filter(square.astype(np.float32), PATCH * len(square), mode="nearest")
    logits = [predictor.logits(square[None])]
    for start in range(0, places, AT_ONCE):
        progress(start / places, f"Covering places of the image: {start} of {places}")
        some = range(start, min(start + AT_ONCE, places))
        logits.append(predictor.logits(np.stack([_covered(square, covers, place) for place in some])))
    progress(1.0, f"Covering places of the image: {places} of {places}")
    every = np.concatenate(logits)
    contrast = every[:, index] - every.mean(axis=1)
    temperature = predictor.calibration.temperature if predictor.calibration.is_defined else 1.0
    answers = softmax(every.astype(np.float64) / temperature)[:, index]
    change = (contrast[0] - contrast[1:]).reshape(GRID, GRID)
    return Occlusion(change.astype(np.float32), float(answers[0]), answers[1:].reshape(GRID, GRID))


def _covered(square: np.ndarray, covers: np.ndarray, place: int) -> np.ndarray:
    """The image with one place covered: in full within a quarter of the patch of its middle, not at all beyond three
    quarters, and by a straight line between."""
    centres = (np.arange(len(square)) + 0.5) / len(square)
    distances = [np.abs(centres - (number + 0.5) / GRID) for number in divmod(place, GRID)]
    down, across = (np.clip(1.5 - distance / (PATCH / 2), 0, 1).astype(np.float32) for distance in distances)
    cover = down[:, None] * across[None, :]
    return np.round(square * (1 - cover) + covers * cover).astype(np.uint8)
