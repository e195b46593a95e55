"""What a small labelled sample of a new hospital brings: scores are scaled and shifted until they fit it.

Scores move from hospital to hospital while their order mostly holds. One number divides all logits (see
``calibration``) and one per class is added to them; both are fitted on a few labelled images and judged on the others.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from covid_core.errors import DataError, InvalidChoice
from covid_core.evaluation import metrics, resampling
from covid_core.evaluation.calibration import COLDEST, HOTTEST
from covid_core.evaluation.metrics import Measure

FEWEST, USUAL, MOST = 20, 40, 100  # labelled images
SEED = 0
RIDGE = 0.01  # of squared shifts and log temperature, beside the mean log loss: a sample that is told apart has no best


@dataclass(frozen=True)
class Recalibrated:
    """Balanced accuracy ``before`` and ``after`` on the ``rest`` of the images, and the paired ``gain``.

    ``sample`` are the ids of the labelled images, drawn at random within each class by ``seed``.
    """

    sample: tuple[str, ...]
    seed: int
    rest: int
    temperature: float
    shifts: dict[str, float]
    before: Measure
    after: Measure
    gain: Measure


def recalibrated(table: pd.DataFrame, part: str, images: int = USUAL, seed: int = SEED) -> Recalibrated:
    """Fit on ``images`` of a part of a prediction table, as many of each class as can be, and judge on the rest.

    At least half of each class stays for the rest. Raises InvalidChoice, or DataError where that leaves too few.
    """
    if not FEWEST <= images <= MOST:
        raise InvalidChoice(f"The labelled sample must have {FEWEST} to {MOST} images, received: {images}.")
    table = table[(table["part"] == part).to_numpy()]
    answers, logits = metrics.answers(table, part), metrics.logits(table)
    present = np.flatnonzero(answers.images)
    rng = np.random.default_rng(seed)
    of_class = [rng.permutation(np.flatnonzero(answers.y_true == k)) for k in present]
    drawn = [rows[: min(images // len(present), len(rows) // 2)] for rows in of_class]
    chosen = np.sort(np.concatenate([*drawn, np.empty(0, int)]))
    if len(present) < 2 or len(chosen) < FEWEST or not np.isfinite(logits).all():
        raise DataError(f"Recalibration needs {2 * FEWEST} outside images of two classes with finite logits.")
    temperature, shifts = _fitted(logits[chosen], answers.y_true[chosen], present)
    rest = np.setdiff1d(np.arange(answers.n), chosen)
    y_true = answers.y_true[rest]
    right = [(made[rest].argmax(axis=1) == y_true).astype(float) for made in (logits, logits / temperature + shifts)]

    def balanced(times: np.ndarray) -> dict[str, np.ndarray]:
        of = [(y_true == k).astype(float) for k in present]
        before, after = (np.mean([(hits * own) @ times / (own @ times) for own in of], axis=0) for hits in right)
        return {"before": before, "after": after, "gain": after - before}

    by_class = dict(zip(answers.classes, map(float, shifts), strict=True))
    return Recalibrated(
        tuple(answers.image_ids[chosen]),
        seed,
        len(rest),
        temperature,
        by_class,
        **resampling.estimates(balanced, y_true),
    )


def _fitted(logits: np.ndarray, y_true: np.ndarray, present: np.ndarray) -> tuple[float, np.ndarray]:
    """The temperature and the shift of each class with the least log loss, each class of the sample counting alike.

    The shifts of the sample's classes sum to 0, so a class that the sample lacks is neither favoured nor ruled out.
    """
    from scipy import optimize  # 0.1 s to import, and few pages need it

    weights = 1 / np.bincount(y_true, minlength=logits.shape[1])[y_true] / len(present)

    def unpacked(values: np.ndarray) -> tuple[float, np.ndarray]:
        shifts = np.zeros(logits.shape[1])
        shifts[present] = values[1:] - values[1:].mean()
        return float(np.exp(values[0])), shifts

    def loss(values: np.ndarray) -> float:
        temperature, shifts = unpacked(values)
        made = logits / temperature + shifts
        own = made[np.arange(len(made)), y_true]
        return float(weights @ (np.logaddexp.reduce(made, axis=1) - own) + RIDGE * (values @ values))

    bounds = [(np.log(COLDEST), np.log(HOTTEST)), *[(None, None)] * len(present)]
    return unpacked(optimize.minimize(loss, np.zeros(1 + len(present)), method="L-BFGS-B", bounds=bounds).x)
