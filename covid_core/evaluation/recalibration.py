"""What a small labelled sample of a new hospital brings: scores are scaled and shifted until they fit it.

Scores move from hospital to hospital while their order mostly holds. One number divides all logits (see
``calibration``) and one per class is added to them; both are fitted on a few labelled images and judged on the others.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from covid_core.errors import DataError, InvalidChoice
from covid_core.evaluation import metrics, resampling
from covid_core.evaluation.calibration import COLDEST, HOTTEST
from covid_core.evaluation.metrics import Measure

FEWEST, USUAL, MOST = 20, 40, 100  # labelled images
SEED = 0
GAINS = {"after": "gain", "refitted": "refitted_gain"}
HEAD_RIDGE = 0.01  # of squared weights, beside the mean log loss; a hundred times more or a tenth moved 0.93 to 0.90
RIDGE = 0.01  # of squared shifts and log temperature, beside the mean log loss: a sample that is told apart has no best


@dataclass(frozen=True)
class Recalibrated:
    """Balanced accuracy ``before`` and ``after`` on the ``rest`` of the images, and the paired ``gain``.

    ``sample`` are the ids of the labelled images, drawn at random within each class by ``seed``. ``refitted`` is the
    balanced accuracy of a new head that learned from the sample alone, where features are on record.
    """

    sample: tuple[str, ...]
    seed: int
    rest: int
    temperature: float
    shifts: dict[str, float]
    before: Measure
    after: Measure
    gain: Measure
    refitted: Measure | None = None
    refitted_gain: Measure | None = None


def recalibrated(
    table: pd.DataFrame, part: str, images: int = USUAL, seed: int = SEED, features: np.ndarray | None = None
) -> Recalibrated:
    """Fit on ``images`` of a part of a prediction table, as many of each class as can be, and judge on the rest.

    At least half of each class stays for the rest. ``features`` float (n, d) belong to the rows of the table: of them,
    a new head is fitted to the same sample. Raises InvalidChoice, or DataError where that leaves too few.
    """
    if not FEWEST <= images <= MOST:
        raise InvalidChoice(f"The labelled sample must have {FEWEST} to {MOST} images, received: {images}.")
    in_part = (table["part"] == part).to_numpy()
    table = table[in_part]
    answers, logits = metrics.answers(table, part), metrics.logits(table)
    present = np.flatnonzero(answers.images)
    rng = np.random.default_rng(seed)
    of_class = [rng.permutation(np.flatnonzero(answers.y_true == k)) for k in present]
    drawn = [rows[: min(images // len(present), len(rows) // 2)] for rows in of_class]
    chosen = np.sort(np.concatenate([*drawn, np.empty(0, int)]))
    if len(present) < 2 or len(chosen) < FEWEST or not np.isfinite(logits).all():
        raise DataError(f"Recalibration needs at least {2 * FEWEST} outside images, of two classes or more.")
    temperature, shifts = _fitted(logits[chosen], answers.y_true[chosen], present)
    rest = np.setdiff1d(np.arange(answers.n), chosen)
    y_true = answers.y_true[rest]
    predicted = {"before": logits.argmax(axis=1), "after": (logits / temperature + shifts).argmax(axis=1)}
    if features is not None:
        predicted["refitted"] = _refitted(features[in_part], answers.y_true, chosen)
    right = {name: (classes[rest] == y_true).astype(float) for name, classes in predicted.items()}

    def balanced(times: np.ndarray) -> dict[str, np.ndarray]:
        of = [(y_true == k).astype(float) for k in present]
        means = {
            name: np.mean([(hits * own) @ times / (own @ times) for own in of], axis=0) for name, hits in right.items()
        }
        gains = {GAINS[name]: mean - means["before"] for name, mean in means.items() if name in GAINS}
        return means | gains

    by_class = dict(zip(answers.classes, map(float, shifts), strict=True))
    return Recalibrated(
        tuple(answers.image_ids[chosen]),
        seed,
        len(rest),
        temperature,
        by_class,
        **resampling.estimates(balanced, y_true),
    )


def _refitted(features: np.ndarray, y_true: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Classes (n,) by a linear head of its own, learned from the chosen images alone: logistic regression on features
    that vary alike there, each class counting alike."""
    from sklearn.linear_model import LogisticRegression  # 1 s to import

    sample = features[chosen].astype(np.float64)
    mean, deviation = sample.mean(axis=0), sample.std(axis=0)
    scale = np.where(deviation > 0, 1 / np.maximum(deviation, np.finfo(np.float32).tiny), 0) / math.sqrt(
        sample.shape[1]
    )
    head = LogisticRegression(C=1 / (HEAD_RIDGE * len(chosen)), class_weight="balanced", max_iter=1000)
    head.fit((sample - mean) * scale, y_true[chosen])
    return np.asarray(head.predict((features - mean) * scale))


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
