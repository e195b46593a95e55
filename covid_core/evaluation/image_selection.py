"""Which images stand behind a figure: of a cell, a bin, a difference; the hardest ones, and labels that look wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from covid_core.evaluation import metrics
from covid_core.evaluation.measures import bin_of

DOUBTED = 0.05  # mean score of its own class below which a label is worth a second look
BARS = 10  # of a score histogram: wide enough for a finger on a phone
DOUBTERS = 2  # runs that must agree on another class: one alone may simply be wrong


@dataclass(frozen=True)
class ImageAnswers:
    """What several runs say of the same images, in the order of the image ids.

    ``image_ids`` and ``labels`` are of shape (images,); ``called`` (class names), ``score`` (of what was called) and
    ``own`` (score of the label) of shape (images, runs), ``scores`` of all classes of shape (images, runs, classes). An
    image without an answer is called nothing and scored nan.
    """

    runs: tuple[str, ...]
    classes: tuple[str, ...]
    image_ids: np.ndarray
    labels: np.ndarray
    called: np.ndarray
    score: np.ndarray
    own: np.ndarray
    scores: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Of shape (images, runs)."""
        return self.called == self.labels[:, None]


def image_answers(tables: Mapping[str, pd.DataFrame]) -> ImageAnswers:
    """The answers of runs on test images, from their prediction tables by name. All must hold the same images."""
    of_runs = [metrics.answers(table.sort_values("image_id", kind="stable"), "test") for table in tables.values()]
    first = of_runs[0]
    rows = np.arange(first.n)
    top = [np.where(one.answered, one.y_prob.max(axis=1, initial=0), np.nan) for one in of_runs]
    return ImageAnswers(
        tuple(tables),
        first.classes,
        first.image_ids,
        np.array(first.classes, dtype=object)[first.y_true],
        np.stack([np.array([*one.classes, ""], dtype=object)[one.y_pred] for one in of_runs], axis=1),
        np.stack(top, axis=1),
        np.stack([one.y_prob[rows, one.y_true] for one in of_runs], axis=1),
        np.stack([one.y_prob for one in of_runs], axis=1),
    )


def on_scale(images: ImageAnswers, run: int, scaled: ImageAnswers, name: str) -> ImageAnswers:
    """The same with one run's scores on another scale, such as calibrated ones, and with ``name`` for that run.

    ``scaled`` holds that run alone, on the same images and with the same answers.
    """
    changed = {}
    for field in ("score", "own", "scores"):
        changed[field] = getattr(images, field).copy()
        changed[field][:, run] = getattr(scaled, field)[:, 0]
    return replace(images, runs=(*images.runs[:run], name, *images.runs[run + 1 :]), **changed)


def in_cell(images: ImageAnswers, run: int, label: str, called: str) -> np.ndarray:
    """Positions of the images of a confusion matrix's cell, the surest answers first."""
    return _by((images.labels == label) & (images.called[:, run] == called), -images.score[:, run])


def in_bin(images: ImageAnswers, run: int, number: int) -> np.ndarray:
    """Positions of the images of a bin of the reliability diagram, wrong answers first."""
    inside = np.isfinite(images.score[:, run]) & (bin_of(images.score[:, run]) == number)
    return _by(inside, images.right[:, run])


def bar_of(scores: np.ndarray) -> np.ndarray:
    """The bar [low, high) of the score histogram that each score lies in, from 0; the last one holds its upper end."""
    return np.clip((np.nan_to_num(scores) * BARS).astype(int), 0, BARS - 1)


def score_counts(images: ImageAnswers, run: int, scored: str) -> pd.DataFrame:
    """Images by the score that a run gives the class ``scored``: a row per bar from 0, a column per label.

    Images without a finite score are in no bar.
    """
    counts = {}
    scores = images.scores[:, run, images.classes.index(scored)]
    for label in images.classes:
        chosen = (images.labels == label) & np.isfinite(scores)
        counts[label] = np.bincount(bar_of(scores[chosen]), minlength=BARS)
    return pd.DataFrame(counts)


def in_bar(images: ImageAnswers, run: int, scored: str, label: str, bar: int) -> np.ndarray:
    """Positions of the images of one label in a bar of the score histogram of the class ``scored``, wrong answers
    first."""
    scores = images.scores[:, run, images.classes.index(scored)]
    inside = (images.labels == label) & np.isfinite(scores) & (bar_of(scores) == bar)
    return _by(inside, images.right[:, run])


def right_in_one(images: ImageAnswers, right: int, wrong: int) -> np.ndarray:
    """Positions of the images that one run has right and another wrong, the surest errors first."""
    return _by(images.right[:, right] & ~images.right[:, wrong], -images.score[:, wrong])


def hardest(images: ImageAnswers) -> np.ndarray:
    """Positions of the images that some run has wrong, those with the lowest mean score of their own class first."""
    return _by(np.asarray(~images.right.all(axis=1)), images.own.mean(axis=1))


def confident_errors(images: ImageAnswers, run: int) -> np.ndarray:
    """Positions of the images that a run has wrong, the surest first."""
    wrong = ~images.right[:, run] & np.isfinite(images.score[:, run])
    return _by(wrong, -images.score[:, run])


def doubtful_labels(images: ImageAnswers) -> np.ndarray:
    """Positions of images whose label may be wrong: DOUBTERS runs or more all agree on another class, and give the
    label less than DOUBTED on average. Runs of one kind may share a mistake, so this is a list to look at, not a
    verdict."""
    if len(images.runs) < DOUBTERS:
        return np.empty(0, dtype=int)
    agree = (images.called == images.called[:, :1]).all(axis=1) & ~images.right[:, 0] & (images.called[:, 0] != "")
    return _by(agree & (images.own.mean(axis=1) < DOUBTED), images.own.mean(axis=1))


def _by(chosen: np.ndarray, order: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero(chosen)
    return rows[np.argsort(order[rows], kind="stable")]
