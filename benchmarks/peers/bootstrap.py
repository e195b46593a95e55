"""A run's figures and a pair's test as one writes them with scikit-learn and SciPy: one call per measure and draw.

Images of each class are drawn again with replacement, every measure is computed anew on each draw by the library's own
function, and percentiles bound the interval. It uses nothing of this project.
"""

import numpy as np
from scipy import optimize, special, stats
from sklearn import metrics

BINS = 15  # of the calibration error, which scikit-learn does not have for several classes
PERCENTILES = (2.5, 97.5)


def figures(y_true: np.ndarray, y_prob: np.ndarray) -> dict[str, np.ndarray]:
    """Every measure of one part that has a bootstrap interval; those of the classes are arrays of one value each.

    ``y_true`` (images,) are positions of classes, ``y_prob`` (images, classes) scores that sum to 1.
    """
    classes = np.arange(y_prob.shape[1])
    y_pred, truth = y_prob.argmax(axis=1), np.eye(len(classes))[y_true]
    cells = metrics.multilabel_confusion_matrix(y_true, y_pred, labels=classes)
    auroc = metrics.roc_auc_score(truth, y_prob, average=None)
    auprc = metrics.average_precision_score(truth, y_prob, average=None)
    f1 = metrics.f1_score(y_true, y_pred, labels=classes, average=None)
    return {
        "balanced_accuracy": metrics.balanced_accuracy_score(y_true, y_pred),
        "macro_specificity": (cells[:, 0, 0] / cells[:, 0].sum(axis=1)).mean(),
        "macro_ppv": metrics.precision_score(y_true, y_pred, labels=classes, average="macro"),
        "macro_npv": (cells[:, 0, 0] / cells[:, :, 0].sum(axis=1)).mean(),
        "f1": f1,
        "macro_f1": f1.mean(),
        "auroc": auroc,
        "macro_auroc": auroc.mean(),
        "auprc": auprc,
        "macro_auprc": auprc.mean(),
        "matthews_correlation": metrics.matthews_corrcoef(y_true, y_pred),
        "log_loss": metrics.log_loss(y_true, y_prob, labels=classes),
        "brier_score": np.square(y_prob - truth).sum(axis=1).mean(),
        "expected_calibration_error": calibration_error(y_prob.max(axis=1), y_pred == y_true),
    }


def calibration_error(top: np.ndarray, right: np.ndarray) -> float:
    """Distance of mean score and share answered rightly, over bins of equal width, weighted by their images."""
    inside = np.digitize(top, np.linspace(0, 1, BINS + 1)[1:-1], right=True)
    gaps = [abs((top[inside == i] - right[inside == i]).sum()) for i in range(BINS)]
    return float(np.sum(gaps) / len(top))


def intervals(y_true: np.ndarray, y_prob: np.ndarray, replicates: int, seed: int = 0) -> dict[str, np.ndarray]:
    """95 % intervals of ``figures``, of shape (2,) or (2, classes): stratified percentile bootstrap."""
    rng = np.random.default_rng(seed)
    of_class = [np.flatnonzero(y_true == k) for k in np.unique(y_true)]
    found = []
    for _ in range(replicates):
        drawn = np.concatenate([rng.choice(images, len(images)) for images in of_class])
        found.append(figures(y_true[drawn], y_prob[drawn]))
    return {name: np.percentile([one[name] for one in found], PERCENTILES, axis=0) for name in found[0]}


def pair(right: np.ndarray, other: np.ndarray, y_true: np.ndarray, replicates: int, seed: int = 0) -> dict[str, object]:
    """Two runs on the same images: exact McNemar test, and the paired bootstrap's interval of the difference.

    ``right`` and ``other`` (images,) say which images each answered rightly.
    """
    rng = np.random.default_rng(seed)
    of_class = [np.flatnonzero(y_true == k) for k in np.unique(y_true)]
    only_first, only_second = int((right & ~other).sum()), int((~right & other).sum())
    p = stats.binomtest(only_first, only_first + only_second).pvalue if only_first + only_second else 1.0
    differences = []
    for _ in range(replicates):
        drawn = np.concatenate([rng.choice(images, len(images)) for images in of_class])
        differences.append(right[drawn].mean() - other[drawn].mean())
    return {"p": p, "interval": np.percentile(differences, PERCENTILES)}


def temperature(logits: np.ndarray, y_true: np.ndarray) -> float:
    """What logits (images, classes) have to be divided by for the least log loss."""
    classes = np.arange(logits.shape[1])

    def loss(log_temperature: float) -> float:
        return metrics.log_loss(y_true, special.softmax(logits / np.exp(log_temperature), axis=1), labels=classes)

    return float(np.exp(optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))
