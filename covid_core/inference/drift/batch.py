"""A batch of images without labels against a run's training images: a score per aspect, and whether it is too high.

The distance of an aspect is the energy distance between the batch and the training images (Székely and Rizzo, "Energy
statistics: a class of statistics based on distances", J. Stat. Plan. Inference 2013), its root. That other classes are
frequent in a batch is no drift of its images. So training images are weighted by the class mix of the batch, which is
estimated from the predicted classes and the confusion matrix of the validation images (expectation maximisation as in
Saerens, Latinne and Decaestecker, Neural Computation 2002).

Limits come from batches without drift: as many validation images as the batch has, of its class mix, drawn with
replacement by cluster (duplicates and images of one patient stay together). They go the same way, their class mix
estimated as well. An aspect's limit is the quantile of its distances at which ALARMS of these batches are above the
limit of any aspect; a score is distance over limit. Drawing with replacement makes limits larger where a batch is as
large as the validation part. The class mix has a limit of its own, of batches of the training mix.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import spatial

from covid_core.errors import InvalidChoice, RunDamaged
from covid_core.inference.assessment import Assessment
from covid_core.inference.drift.profile import ASPECTS, SEED, Profile, Traits
from covid_core.inference.predictor import Predictor
from covid_core.runs.store import Run

FEWEST = 20  # images of a batch
MOST_NAMED = 3  # images that could not be read, in an error
FEWEST_OWN = 40  # validation images: of fewer, limits would be chance
ALARMS = 0.05  # of batches without drift
DRAWS = 2000  # batches without drift
STEPS = 100  # of expectation maximisation
FLOOR = 0.05  # deviations: the least limit, for what does not vary among the run's own images
SMOOTHING = 0.5  # images added to each cell of the confusion matrix


@dataclass(frozen=True)
class Score:
    """A distance over its limit: above 1 it differs."""

    value: float
    limit: float

    @property
    def differs(self) -> bool:
        return self.value > 1


@dataclass(frozen=True)
class Drift:
    """What a batch of ``images`` images differs in: ``aspects`` by their key, all of them under one limit.

    ``class_mix`` is no drift by itself; ``estimated`` and ``trained`` are shares of classes, ``predicted`` counts.
    ``own`` validation images set the limits.
    """

    images: int
    own: int
    aspects: dict[str, Score]
    class_mix: Score
    estimated: dict[str, float]
    trained: dict[str, float]
    predicted: dict[str, int]

    @property
    def score(self) -> float:
        """The largest score: above 1 in ALARMS of batches without drift."""
        return max(one.value for one in self.aspects.values())

    @property
    def differs(self) -> bool:
        return self.score > 1

    @property
    def different(self) -> tuple[str, ...]:
        """The aspects above the limit, the largest score first; but last the size, whose score is huge where all
        training images are of one size."""
        order = sorted(self.aspects, key=lambda aspect: (aspect == "size", -self.aspects[aspect].value))
        return tuple(aspect for aspect in order if self.aspects[aspect].differs)


def profile_of(run: Run, predictor: Predictor) -> Profile:
    """The run's own images, enough of them to set limits. Raises RunDamaged and InvalidChoice where it has none."""
    profile = predictor.reference.profile if predictor.reference else None
    if profile is None:
        raise RunDamaged(
            f"{run.name} has no figures of its training images. `reference {run.id}` makes them from its data set."
        )
    if len(profile.own) < FEWEST_OWN:
        own = len(profile.own)
        raise InvalidChoice(f"Drift needs a run with at least {FEWEST_OWN} validation images; {run.name} has {own}.")
    return profile


def of_assessments(run: Run, predictor: Predictor, assessments: Sequence[Assessment]) -> Drift:
    """Compare assessed images with the run's own; those that could not be read have no say.

    Raises as ``profile_of`` and ``of``.
    """
    profile = profile_of(run, predictor)
    readable = [one for one in assessments if one.traits]
    refused = [f"{one.name}: {one.error}" for one in assessments if one.error]
    _check(len(readable), refused[:MOST_NAMED])
    predicted = np.array([int(one.logits.argmax()) for one in readable])
    return of(profile, Traits.joined([one.traits for one in readable if one.traits]), predicted, run.classes)


def of(profile: Profile, batch: Traits, predicted: np.ndarray, classes: tuple[str, ...], seed: int = SEED) -> Drift:
    """Compare images with a run's own; ``predicted`` (n,) are the codes of the classes that the run predicts of them.

    Raises InvalidChoice for a batch below FEWEST.
    """
    _check(len(batch))
    rng = np.random.default_rng(seed)
    answers = _answers(profile, len(classes))
    counts = np.bincount(predicted, minlength=len(classes))
    (mix,) = _mix(counts[None], answers)
    weights = _draws(profile, rng.multinomial(len(batch), mix, DRAWS), rng)
    mixes = _mix(_predicted(profile, weights, len(classes)), answers)
    values, null = {}, {}
    for aspect in ASPECTS:
        between = _Distances.of(profile, aspect, batch, len(classes))
        values[aspect], null[aspect] = between.of_batch(mix), between.of_draws(weights / len(batch), mixes)
    limits = np.maximum(_limits(np.stack(list(null.values()), axis=1)), FLOOR)
    usual = _mix(
        _predicted(profile, _draws(profile, rng.multinomial(len(batch), profile.shares, DRAWS), rng), len(classes)),
        answers,
    )
    off = np.abs(usual - profile.shares).sum(axis=1) / 2
    of_mix = max(float(np.quantile(off, 1 - ALARMS)), FLOOR)
    return Drift(
        images=len(batch),
        own=len(profile.own),
        aspects={a: Score(float(values[a] / limit), float(limit)) for a, limit in zip(ASPECTS, limits, strict=True)},
        class_mix=Score(float(np.abs(mix - profile.shares).sum() / 2) / of_mix, of_mix),
        estimated=dict(zip(classes, mix.tolist(), strict=True)),
        trained=dict(zip(classes, profile.shares.tolist(), strict=True)),
        predicted=dict(zip(classes, counts.tolist(), strict=True)),
    )


def class_weights(profile: Profile, drift: Drift) -> np.ndarray:
    """Weights (n,) of the training images, of sum 1, that give them the class mix of a batch."""
    mix = np.array(list(drift.estimated.values()))[profile.labels]
    weights = mix / np.bincount(profile.labels)[profile.labels]
    return weights / weights.sum()


def _check(images: int, refused: Sequence[str] = ()) -> None:
    if images < FEWEST:
        some = f"Drift needs at least {FEWEST} images that can be read; there are {images}."
        raise InvalidChoice(" ".join([some, *refused]))


def _answers(profile: Profile, classes: int) -> np.ndarray:
    """How often images of a class (rows) are predicted to be of each class, of the validation images."""
    table = np.full((classes, classes), SMOOTHING / classes)
    np.add.at(table, (profile.own[:, 0], profile.own[:, 1]), 1)
    return table / table.sum(axis=1, keepdims=True)


def _mix(counts: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """The likeliest shares of classes (b, classes) behind counts of predicted classes (b, classes)."""
    mix = np.full(counts.shape, 1 / counts.shape[1])
    observed = counts / counts.sum(axis=1, keepdims=True)
    for _ in range(STEPS):
        expected = np.maximum(mix @ answers, np.finfo(float).tiny)
        mix = mix * ((observed / expected) @ answers.T)
    return mix / mix.sum(axis=1, keepdims=True)


def _draws(profile: Profile, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How often each validation image is in each draw, float32 (b, m); ``sizes`` (b, classes) are images per class.

    A class without a validation image is drawn from all of them.
    """
    counts = np.zeros((len(sizes), len(profile.own)), np.float32)
    for code in range(sizes.shape[1]):
        rows = np.flatnonzero(profile.own[:, 0] == code)
        rows = rows if len(rows) else np.arange(len(profile.own))
        _, inverse, members = np.unique(profile.own[rows, 2], return_inverse=True, return_counts=True)
        rows = rows[np.argsort(inverse, kind="stable")]
        starts = np.cumsum(members) - members
        for draw, wanted in enumerate(sizes[:, code]):
            chosen = rng.integers(len(members), size=wanted)
            before = np.cumsum(members[chosen]) - members[chosen]
            taken = np.clip(wanted - before, 0, members[chosen])  # of the last cluster only what is missing
            offsets = np.arange(wanted) - np.repeat(before, taken)
            np.add.at(counts[draw], rows[np.repeat(starts[chosen], taken) + offsets], 1)
    return counts


def _predicted(profile: Profile, weights: np.ndarray, classes: int) -> np.ndarray:
    """Counts of predicted classes (b, classes) of draws."""
    return weights @ np.eye(classes, dtype=np.float32)[profile.own[:, 1]]


@dataclass(frozen=True, eq=False)
class _Distances:
    """Mean distances of one aspect: ``within`` among validation images (m, m) and ``classes`` of training images
    (c, c), ``across`` between these (m, c); ``batch`` within the batch, ``batch_across`` (c,)."""

    within: np.ndarray
    across: np.ndarray
    classes: np.ndarray
    batch: float
    batch_across: np.ndarray

    @classmethod
    def of(cls, profile: Profile, aspect: str, batch: Traits, classes: int) -> "_Distances":
        scales = profile.scales
        own, trained, new = (one.of(aspect, scales) for one in (profile.validation, profile.training, batch))
        each = np.eye(classes, dtype=np.float32)[profile.labels]
        sizes = each.sum(axis=0)
        each = np.where(sizes > 0, each, 1) / np.where(sizes > 0, sizes, len(each))  # a class that has none: all
        return cls(
            _apart(own, own),
            _apart(own, trained) @ each,
            each.T @ _apart(trained, trained) @ each,
            float(_apart(new, new).mean()),
            (_apart(new, trained) @ each).mean(axis=0),
        )

    def of_batch(self, mix: np.ndarray) -> float:
        energy = 2 * self.batch_across @ mix - self.batch - mix @ self.classes @ mix
        return float(np.sqrt(max(energy, 0)))

    def of_draws(self, weights: np.ndarray, mixes: np.ndarray) -> np.ndarray:
        """Distances (b,) of draws with weights (b, m) and class mixes (b, c)."""
        between = 2 * ((weights @ self.across) * mixes).sum(axis=1)
        within = ((weights @ self.within) * weights).sum(axis=1)
        return np.sqrt(np.maximum(between - within - ((mixes @ self.classes) * mixes).sum(axis=1), 0))


def _apart(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Euclidean distances (n, m)."""
    return spatial.distance.cdist(some, others).astype(np.float32)


def _limits(null: np.ndarray) -> np.ndarray:
    """A limit for each column of distances (draws, aspects), of one rank for all: the lowest rank at which at most
    ALARMS of the draws have any distance above its limit."""
    ordered = np.sort(null, axis=0)
    low, high = 0, len(null) - 1
    while low < high:
        middle = (low + high) // 2
        if (null > ordered[middle]).any(axis=1).mean() <= ALARMS:
            high = middle
        else:
            low = middle + 1
    return ordered[low]
