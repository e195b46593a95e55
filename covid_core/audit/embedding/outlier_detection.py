"""Which images stand out: images far from all others, and images whose label is suspicious; and who neighbours are.

**Outliers** (``outlier_scores``): the distance of an image to its BY-th nearest other (Ramaswamy, Rastogi and Shim
2000, SIGMOD Record 29, 427-438), as a logarithm, in robust deviations (1.4826 times the median absolute deviation) from
the median of its class. The BY-th and not the very nearest, so that an image with a few duplicates is still an outlier.

**Suspicious labels** (``label_scores`` and ``suspicious_labels``): every image gets a score per class from a classifier
that was fitted on the other folds. A label is suspicious by the rule of confident learning (Northcutt, Jiang and Chuang
2021, Journal of Artificial Intelligence Research 70, 1373-1411, equation 1): another class scores at least as high as
that class does on average where it is the label, and highest of all those. The lower the score of the given label, the
earlier in the list: a classifier is wrong, too, and most wrong labels have the lowest scores. Scores are no
probabilities.

The classifier is multinomial logistic regression on principal components, with a penalty (LABEL_PENALTY). On synthetic
images of which 4 % had their labels exchanged it ranked more of these first than kernel ridge regression, or than a
vote of neighbours, did (figures: ``suspicious_labels``).

**Neighbours** (``purity``): how many of an image's BY_CLASS nearest are of its class, and how many by chance would be.
"""

import math
from dataclasses import dataclass

import numpy as np

from covid_core.audit.embedding.projection import nearest_neighbours
from covid_core.evaluation import resampling
from covid_core.work import Progress, silent

BY = 5  # neighbours that have to be far; an image that is there up to five times is an outlier
FAR = 5.0  # robust deviations. Of 4,800 synthetic images without fault 1 is beyond, drawings and noise are 7.7 and more
LEAST_OF_CLASS = 20  # images; the deviation of fewer is uncertain, so all images stand for them
NORMAL = 1.4826  # times the median absolute deviation is the standard deviation of normal values
LEAST_SPREAD = 0.05  # of the logarithm: where images are all alike, 5 % farther is no outlier
ROUNDING = 1e-6  # of the longest coordinates: distances below it are 0
FOLDS = 5
LEAST_IN_CLASS = 2 * FOLDS  # images; a test fold of fewer would have one of the class
LABEL_PENALTY = 0.01  # on squared weights beside the mean log loss, for standardised components; 0.1 ranks as many
STEPS = 200  # of the optimiser, at most
BY_CLASS = 10  # nearest images that count


# Outliers


def outlier_scores(coordinates: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """How far each image lies from all others, in robust deviations from the median of its class; see FAR.

    Args:
        coordinates: of shape (images, d).
        codes: class of each image, of shape (images,), from 0; classes with fewer than LEAST_OF_CLASS images use the
            median of all images.

    Returns:
        float64 (images,); nan for all where there are no more than BY images.
    """
    if len(coordinates) <= BY:
        return np.full(len(coordinates), np.nan)
    _, distances = nearest_neighbours(coordinates, BY)
    least = max(ROUNDING * float(np.linalg.norm(coordinates, axis=1).max()), 1e-9)
    far = np.log(np.maximum(distances[:, -1].astype(np.float64), least))
    scores = _in_deviations(far)
    for code in np.unique(codes):
        of_class = codes == code
        if of_class.sum() >= LEAST_OF_CLASS:
            scores[of_class] = _in_deviations(far[of_class])
    return scores


def _in_deviations(values: np.ndarray) -> np.ndarray:
    middle = np.median(values)
    return (values - middle) / max(NORMAL * float(np.median(np.abs(values - middle))), LEAST_SPREAD)


# Labels


def label_scores(
    coordinates: np.ndarray, codes: np.ndarray, folds: np.ndarray, progress: Progress = silent
) -> np.ndarray:
    """Score of every class for every image, from a classifier that was fitted on the other folds.

    Args:
        coordinates: principal components of shape (images, d).
        codes: class of each image, of shape (images,), from 0.
        folds: fold of each image, of shape (images,); all images of a group in one.
        progress: receives the share done before every fold.

    Returns:
        float64 (images, classes); each row sums to 1. A class that the other folds lack scores 0.
    """
    from sklearn.linear_model import LogisticRegression  # 1 s to import, and no page needs it

    scores = np.zeros((len(codes), codes.max() + 1))
    every = np.unique(folds)
    for number, fold in enumerate(every):
        progress(number / len(every), f"Cross-validating labels: fold {number + 1} of {len(every)}")
        tested = folds == fold
        fitted, wanted = coordinates[~tested], codes[~tested]
        if len(np.unique(wanted)) < 2:
            scores[tested, wanted[0]] = 1
            continue
        deviation = max(float(fitted.std()), 1e-9)
        model = LogisticRegression(C=1 / (LABEL_PENALTY * len(fitted)), max_iter=STEPS)
        model.fit(fitted / deviation, wanted)
        scores[np.ix_(tested, model.classes_)] = model.predict_proba(coordinates[tested] / deviation)
    return scores


def suspicious_labels(scores: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which labels are suspicious, and which class speaks most against each.

    On 600 synthetic images of which 24 had their labels exchanged, means of four seeds: of the 24 with the lowest score
    of the given label 0.65 were exchanged where lesions are clear, and 0.28 where they are the usual, faint ones (0.04
    by chance); on an earlier version of these images kernel ridge regression reached 0.47 and 0.21, a vote of 15
    neighbours 0.29 and 0.10. The rule of confident learning called 43 and 174 images suspicious, of which 0.45 and 0.10
    were exchanged: 0.79 and 0.74 of all that were.

    Args:
        scores: of shape (images, classes), from classifiers that had not seen the image.
        codes: the given label of each image, of shape (images,), from 0.

    Returns:
        bool (images,) by the rule at the head of this module, and the best other class of each image, int (images,).
    """
    images = np.arange(len(codes))
    usual = np.array(
        [scores[codes == code, code].mean() if (codes == code).any() else math.inf for code in range(scores.shape[1])]
    )
    confident = np.where(scores >= usual, scores, -1.0)
    best = confident.argmax(axis=1)
    others = scores.copy()
    others[images, codes] = -1.0
    return (confident[images, best] >= 0) & (best != codes), others.argmax(axis=1)


# Neighbours


@dataclass(frozen=True)
class Purity:
    """How many of an image's nearest are like it.

    ``share`` of the BY_CLASS nearest, with its interval (``low``, ``high``: groups of images drawn again), over
    ``images``; ``chance`` is what it would be if neighbours were drawn at random from the images outside of an image's
    own group.
    """

    share: float
    low: float
    high: float
    chance: float
    images: int


UNDEFINED = Purity(math.nan, math.nan, math.nan, math.nan, 0)


def purity(coordinates: np.ndarray, codes: np.ndarray, groups: np.ndarray, within: np.ndarray | None = None) -> Purity:
    """Share of each image's nearest others that have its code.

    Args:
        coordinates: of shape (images, d).
        codes: the class, or the source, of shape (images,).
        groups: of shape (images,): an image's neighbours are those outside of its own group, since duplicates are no
            evidence, and groups are drawn together for the interval.
        within: of shape (images,): neighbours are those of the same value only (of one source, of one class), and
            values whose images all have one code are left out.

    Returns:
        UNDEFINED where no image is left that could have neighbours of another code.
    """
    within = np.zeros(len(codes), int) if within is None else within
    alike, by_chance, used = np.zeros(len(codes)), np.zeros(len(codes)), np.zeros(len(codes), bool)
    for value in np.unique(within):
        rows = np.flatnonzero(within == value)
        of_code = codes[rows]
        if len(rows) <= BY_CLASS or len(np.unique(of_code)) < 2:
            continue
        alike[rows] = _share_alike(coordinates[rows], of_code, groups[rows])
        by_chance[rows] = _chance_alike(of_code, groups[rows])
        used[rows] = True
    used &= ~np.isnan(alike)
    if not used.any():
        return UNDEFINED
    values = alike[used]
    mean = resampling.mean(values, groups[used])
    return Purity(mean.value, mean.low, mean.high, float(by_chance[used].mean()), int(used.sum()))


def _chance_alike(codes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Of all images outside of each image's group, how many share its code; nan where there are none."""
    group = np.unique(groups, return_inverse=True)[1]
    both = np.unique(np.column_stack([codes, group]), axis=0, return_inverse=True)[1].ravel()
    alike = np.bincount(codes)[codes] - np.bincount(both)[both]
    others = len(codes) - np.bincount(group)[group]
    return np.divide(alike, others, out=np.full(len(codes), np.nan), where=others > 0)


def _share_alike(coordinates: np.ndarray, codes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Of each image's BY_CLASS nearest outside of its group, how many share its code; nan where there are none."""
    positions, _ = nearest_neighbours(coordinates, 2 * BY_CLASS)
    foreign = groups[positions] != groups[:, None]
    counted = foreign & (np.cumsum(foreign, axis=1) <= BY_CLASS)
    same, counts = ((codes[positions] == codes[:, None]) & counted).sum(axis=1), counted.sum(axis=1)
    lacking = np.flatnonzero(counts < BY_CLASS)  # their own group fills the place around them
    for group in np.unique(groups[lacking]):
        rows, others = lacking[groups[lacking] == group], np.flatnonzero(groups != group)
        if len(others):
            near = others[nearest_neighbours(coordinates[others], BY_CLASS, coordinates[rows])[0]]
            same[rows], counts[rows] = (codes[near] == codes[rows, None]).sum(axis=1), near.shape[1]
    return np.divide(same, counts, out=np.full(len(codes), np.nan), where=counts > 0)
