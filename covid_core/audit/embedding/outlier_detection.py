"""Which images stand out: those unlike all others, those whose label is disputed; and who the neighbours of images are.

**Outliers** (``outlying``): the distance of an image to its BY-th nearest other (Ramaswamy, Rastogi and Shim 2000,
SIGMOD Record 29, 427-438), as a logarithm, in robust deviations (1.4826 times the median absolute deviation) from the
median of its class. The BY-th and not the very nearest, so that an image which is there a few times is still one of a
kind.

**Suspicious labels** (``scored`` and ``suspected``): every image gets a score per class from a classifier that learned
from the other folds. A label is suspicious by the rule of confident learning (Northcutt, Jiang and Chuang 2021, Journal
of Artificial Intelligence Research 70, 1373-1411, equation 1): another class scores at least as high as that class does
on average where it is the label, and highest of all those. The lower the score of the given label, the earlier in the
list: a classifier is wrong, too, and it is these that hold most labels that are. Scores are no probabilities.

The classifier is multinomial logistic regression on principal components, with a penalty (LABEL_PENALTY). On synthetic
images of which 4 % had their labels exchanged it found more of these than kernel ridge regression, or than a vote of
neighbours, did (see the figures beside ``suspected``).

**Neighbours** (``purity``): how many of an image's BY_CLASS nearest are of its class, and how many by chance would be.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from covid_core.audit.embedding.projection import nearest
from covid_core.evaluation import resampling

Progress = Callable[[float, str], None]

BY = 5  # neighbours that have to be far; an image that is there up to five times is seen
FAR = 5.0  # robust deviations. Of 4,800 synthetic images without fault 1 is beyond, drawings and noise are 7.7 and more
LEAST_OF_CLASS = 20  # images; the spread of fewer is not known, so all images stand for them
NORMAL = 1.4826  # times the median absolute deviation is the standard deviation of normal values
LEAST_SPREAD = 0.05  # of the logarithm: where images are all alike, 5 % farther is no oddity in itself
FOLDS = 5
LEAST_IN_CLASS = 2 * FOLDS  # images; a fold of fewer would have one of the class to answer
LABEL_PENALTY = 0.01  # on squared weights, for standardised components; 0.1 finds as many
STEPS = 200  # of the optimiser, at most
BY_CLASS = 10  # nearest images that are looked at


# Outliers


def outlying(
    coordinates: np.ndarray, codes: np.ndarray, progress: Progress = lambda share, message: None
) -> np.ndarray:
    """How far each image lies from all others, in robust deviations from what is usual in its class; see FAR.

    Args:
        coordinates: of shape (images, d).
        codes: class of each image, of shape (images,), from 0; of classes with fewer than LEAST_OF_CLASS images all
        images
            say what is usual.
        progress: told while neighbours are looked for.

    Returns:
        float64 (images,); nan for all where there are no more than BY images.
    """
    if len(coordinates) <= BY:
        return np.full(len(coordinates), np.nan)
    _, distances = nearest(coordinates, BY, progress)
    far = np.log(np.maximum(distances[:, -1].astype(np.float64), 1e-9))
    scores = _in_deviations(far, far)
    for code in np.unique(codes):
        of_class = codes == code
        if of_class.sum() >= LEAST_OF_CLASS:
            scores[of_class] = _in_deviations(far[of_class], far[of_class])
    return scores


def _in_deviations(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    middle = np.median(among)
    return (values - middle) / max(NORMAL * float(np.median(np.abs(among - middle))), LEAST_SPREAD)


# Labels


def scored(
    coordinates: np.ndarray, codes: np.ndarray, folds: np.ndarray, progress: Progress = lambda share, message: None
) -> np.ndarray:
    """Score of every class for every image, from a classifier that learned from the other folds.

    Args:
        coordinates: numbers of shape (images, d).
        codes: class of each image, of shape (images,), from 0.
        folds: fold of each image, of shape (images,); images that belong together in one.
        progress: told after every fold.

    Returns:
        float64 (images, classes); each row is above 0 and sums to 1.
    """
    scores = np.empty((len(codes), codes.max() + 1))
    every = np.unique(folds)
    for number, fold in enumerate(every):
        progress(number / len(every), f"Asking whether labels fit: part {number + 1} of {len(every)}")
        tested = folds == fold
        learned = coordinates[~tested]
        mean, deviation = learned.mean(axis=0), max(float(learned.std()), 1e-9)
        weights = _fitted((learned - mean) / deviation, codes[~tested], scores.shape[1])
        scores[tested] = _softmax(_with_one((coordinates[tested] - mean) / deviation) @ weights)
    return scores


def _fitted(features: np.ndarray, codes: np.ndarray, classes: int) -> np.ndarray:
    """Weights (d + 1, classes) of least mean log loss with the penalty; the last row, the offsets, goes free."""
    from scipy.optimize import minimize  # 0.2 s to import, and no page asks for it

    given, wanted = _with_one(features), np.eye(classes)[codes]
    shape = (given.shape[1], classes)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(shape)
        answer = _softmax(given @ weights)
        penalised = np.vstack([weights[:-1], np.zeros((1, classes))])
        missed = -np.log(np.maximum(answer[wanted > 0], 1e-300)).mean()
        slope = given.T @ (answer - wanted) / len(given) + LABEL_PENALTY * penalised
        return missed + LABEL_PENALTY / 2 * np.square(penalised).sum(), slope.ravel()

    found = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    return found.x.reshape(shape)


def _with_one(features: np.ndarray) -> np.ndarray:
    return np.column_stack([features, np.ones(len(features))]).astype(np.float64)


def _softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def suspected(scores: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which labels are suspicious, and which class speaks most against each.

    On 600 synthetic images of which 24 had their labels exchanged, means of four seeds: of the 24 with the lowest score
    of the given label 0.64 were exchanged where lesions are clear, and 0.26 where they are the usual, faint ones (0.04
    by chance). Kernel ridge regression: 0.47 and 0.21; a vote of 15 neighbours: 0.29 and 0.10. The rule of confident
    learning called 33 and 141 images suspicious, of which 0.54 and 0.10 were exchanged: 0.74 and 0.59 of all that were.

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
    ``images``; ``chance`` is what it would be if neighbours were drawn at random from the images that were looked
    among, those of an image's own group aside.
    """

    share: float
    low: float
    high: float
    chance: float
    images: int


UNKNOWN = Purity(math.nan, math.nan, math.nan, math.nan, 0)


def purity(coordinates: np.ndarray, codes: np.ndarray, groups: np.ndarray, within: np.ndarray | None = None) -> Purity:
    """Share of each image's nearest others that have its code.

    Args:
        coordinates: of shape (images, d).
        codes: what is asked for (class, or source), of shape (images,).
        groups: of shape (images,): an image's neighbours are looked for outside of its own group, since copies say
            nothing, and groups are drawn together for the interval.
        within: of shape (images,): neighbours are looked for among images of the same value only (of one source, of one
            class), and values whose images all have one code are left out: there nothing is to be told.

    Returns:
        UNKNOWN where no image is left that could have neighbours of another code.
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
        return UNKNOWN
    values, of_groups = alike[used], np.unique(groups[used], return_inverse=True)[1]
    low, high = _interval(values, of_groups)
    return Purity(float(values.mean()), low, high, float(by_chance[used].mean()), int(used.sum()))


def _chance_alike(codes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Of all images outside of each image's group, how many share its code; nan where there are none."""
    group = np.unique(groups, return_inverse=True)[1]
    both = np.unique(np.column_stack([codes, group]), axis=0, return_inverse=True)[1].ravel()
    alike = np.bincount(codes)[codes] - np.bincount(both)[both]
    others = len(codes) - np.bincount(group)[group]
    return np.divide(alike, others, out=np.full(len(codes), np.nan), where=others > 0)


def _share_alike(coordinates: np.ndarray, codes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Of each image's BY_CLASS nearest outside of its group, how many share its code; nan where there are none."""
    positions, _ = nearest(coordinates, 2 * BY_CLASS)
    foreign = groups[positions] != groups[:, None]
    counted = foreign & (np.cumsum(foreign, axis=1) <= BY_CLASS)
    same, counts = ((codes[positions] == codes[:, None]) & counted).sum(axis=1), counted.sum(axis=1)
    lacking = np.flatnonzero(counts < BY_CLASS)  # their own group fills the place around them
    for group in np.unique(groups[lacking]):
        rows, others = lacking[groups[lacking] == group], np.flatnonzero(groups != group)
        if len(others):
            found = others[_nearest_of(coordinates[rows], coordinates[others])]
            same[rows], counts[rows] = (codes[found] == codes[rows, None]).sum(axis=1), found.shape[1]
    return np.divide(same, counts, out=np.full(len(codes), np.nan), where=counts > 0)


def _nearest_of(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Positions (n, BY_CLASS) of those of ``others`` (m, d) that are nearest to each of ``images`` (n, d), in no order;
    of fewer others all."""
    wanted = min(BY_CLASS, len(others))
    found, lengths = np.empty((len(images), wanted), int), np.square(others).sum(axis=1)
    step = max(1, 2**24 // len(others))
    for start in range(0, len(images), step):
        apart = lengths - 2 * (images[start : start + step] @ others.T)  # less the image's own length, the same for all
        found[start : start + step] = np.argpartition(apart, wanted - 1, axis=1)[:, :wanted]
    return found


def _interval(values: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Percentiles of the mean when groups of images are drawn again."""
    sums, sizes = np.bincount(groups, values), np.bincount(groups)
    rng = np.random.default_rng(resampling.SEED)
    means = []
    for _ in range(resampling.REPLICATES):
        drawn = rng.integers(0, len(sums), len(sums))
        means.append(sums[drawn].sum() / sizes[drawn].sum())
    low, high = np.percentile(means, resampling.OUTSIDE)
    return float(low), float(high)
