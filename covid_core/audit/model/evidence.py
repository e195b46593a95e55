"""What does a model read: the lungs, or the frame around them? The rule, and the figures that it rests on.

**The figures.** Images are put together from two: the frame of one, the lungs of another (``audit.model.occlusions``),
in all combinations of classes. Both effects are differences between images that differ in one thing alone:

- *lung effect*: how much more often a class is answered when the lungs are of it, in the same kind of frame (of another
  class, b): P(a | lungs a, frame b) - P(a | lungs b, frame b);
- *frame effect*: the same the other way round: P(a | frame a, lungs b) - P(a | frame b, lungs b);

each in the mean of all ordered pairs of classes, so that a rare class counts as much as a frequent one. A model that
always answers the same, or guesses, has 0 in both; what it gets wrong by itself counts for neither. Intervals come from
drawing images again; a composite counts as often as its frame times its lungs were drawn ("pigeonhole bootstrap": Owen,
Annals of Applied Statistics 1 (2007) 386-411; it is conservative).

**Why not the images with the lungs covered.** Those are told beside, but decide nothing: a network that reads nothing
but the lungs may answer anything to an image without any. On made images with clear lesions, where no other cue exists,
images of lungs alone kept between 4 and 63 % of the skill, so that figure cannot tell lungs from frame.

**The rule** (``verdict``), in this order:

1. The rule without outlines, below, where too few images of a class have known lungs.
2. "inconclusive" where the model does not answer its own images better than chance: balanced accuracy whose interval is
   not above 1 / classes. Nothing was read.
3. "inconclusive" where images put together within a class keep less than half (LEAST_KEPT) of the skill that the model
   has on images as they are: the composing itself then decides the answers.
4. "reads the frame" where the whole interval of the frame effect is above FRAME_FROM. The frame alone then turns more
   than one answer in ten, and no figure of this model is about lungs only, whatever else it reads. A model that reads
   both is told so in its words, and still has this verdict: it is a warning.
5. "reads the lungs" where the whole interval of the frame effect is below FRAME_BELOW and that of the lung effect above
   LUNGS_FROM: most answers follow the lungs, and fewer than one in five the frame.
6. "inconclusive" otherwise: too few images, or something between.

**Without outlines** of the lungs (``verdict_without_outlines``), where neither masks nor a segmenter gave five of each
class, one fixed oval takes their place. It holds more than the lungs: heart, spine, most tubes. So it may convict a
model, and never acquit one:

1. "inconclusive" where a class has too few test images, or by rule 2.
2. "reads the frame" where the border alone is enough: the whole interval of the balanced accuracy on it keeps more than
   half (BORDER_KEPT) of the skill. An image of which all else is covered is odd, and a network may answer anything to
   it; but what says nothing about the class cannot raise a balanced accuracy above chance. Half, since the flanks of
   wide lungs reach into the border.
3. "reads the frame" where the whole interval of the frame effect is above OVAL_FRAME_FROM. Twice FRAME_FROM, since the
   tips of some lungs lie outside of the oval: on images drawn for the built-in segmenter, 4 % of the lungs' area,
   and 19 % or less in 95 % of images.
4. "inconclusive" otherwise.

How wide a band around the lungs goes with them (``images.inpainting.MARGIN``) moves the figures: on 4,014 real
images, with outlines by a segmenter of synthetic images, a MobileNetV2's frame effect was 0.75 at 2 % of the side, 0.64
at 5 % and 0.43 [0.35, 0.50] at 8 %. The verdict was the same.

What the rule does not see: signs of disease outside the masks (heart size, fluid behind the diaphragm) count as frame;
a cue inside the lungs that is no disease (brightness of the source, coding) counts as lungs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from covid_core.evaluation import resampling
from covid_core.evaluation.assessment import whole_counts
from covid_core.evaluation.comparison import holm
from covid_core.evaluation.metrics import NO_IMAGES, Measure, undefined, wilson_of_groups

LUNGS, FRAME, UNKNOWN = "reads the lungs", "reads the frame", "inconclusive"
FRAME_FROM = 0.10
OVAL_FRAME_FROM = 0.20
BORDER_KEPT = 0.5
FRAME_BELOW = 0.20
LUNGS_FROM = 0.50
LEAST_KEPT = 0.5
LEAST_IMAGES = 5  # of each class, with known lungs: a cell of composites has 25 different pairs then
NO_LUNGS, FEW_IMAGES, NO_SKILL = "no lungs", "few images", "no skill"  # why it is inconclusive
COMPOSING, BETWEEN, NO_OUTLINES = "composing", "between", "no outlines"


@dataclass(frozen=True)
class Conflict:
    """Answers to composites: positions of the image that gave the frame and of that which gave the lungs, among images
    with ``labels`` (positions of their class, of ``classes`` classes), and the class ``answered``."""

    labels: np.ndarray
    frames: np.ndarray
    lungs: np.ndarray
    answered: np.ndarray
    classes: int


@dataclass(frozen=True)
class Effects:
    """What follows the lungs and what follows the frame, in [-1, 1], and the balanced accuracy within classes."""

    lungs: Measure
    frame: Measure
    within: Measure


def pairs(labels: np.ndarray, classes: int, cells: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Which image gives the frame and which the lungs: positions, ``cells`` of each combination of two classes.

    Every image is used about equally often, and none with itself. Each class needs two images.
    """
    frames, lungs = [], []
    for of_frame in range(classes):
        for of_lungs in range(classes):
            some, others = (_in_turn(np.flatnonzero(labels == one), cells, rng) for one in (of_frame, of_lungs))
            same = np.flatnonzero(some == others)
            for at in same:
                choices = np.flatnonzero(labels == of_lungs)
                others[at] = rng.choice(choices[choices != some[at]])
            frames.append(some)
            lungs.append(others)
    return np.concatenate(frames), np.concatenate(lungs)


def _in_turn(members: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` of the members, each about equally often, in random order."""
    rounds = -(-count // len(members))
    return np.concatenate([rng.permutation(members) for _ in range(rounds)])[:count]


def effects(conflict: Conflict, groups: np.ndarray | None = None) -> Effects:
    """Both effects with their intervals; ``groups`` of shape (images,), where images belong together."""
    of_frame, of_lungs = conflict.labels[conflict.frames], conflict.labels[conflict.lungs]

    def of(times: np.ndarray) -> dict[str, np.ndarray]:
        weights = times[conflict.frames].astype(np.float64) * times[conflict.lungs]  # (composites, draws)
        hits = np.zeros((conflict.classes, conflict.classes, conflict.classes, weights.shape[1]))
        np.add.at(hits, (of_frame, of_lungs, conflict.answered), weights)
        with np.errstate(invalid="ignore"):
            return _effects(hits / hits.sum(axis=2, keepdims=True))

    return Effects(**resampling.estimates(of, conflict.labels, groups))


def _effects(rates: np.ndarray) -> dict[str, np.ndarray]:
    """The three figures of some draws; ``rates`` by class of frame, of lungs, and answered: (k, k, k, draws)."""
    k = len(rates)
    unequal = [(a, b) for a in range(k) for b in range(k) if a != b]
    return {
        "lungs": np.mean([rates[b, a, a] - rates[b, b, a] for a, b in unequal], axis=0),
        "frame": np.mean([rates[a, b, a] - rates[b, b, a] for a, b in unequal], axis=0),
        "within": np.mean([rates[a, a, a] for a in range(k)], axis=0),
    }


def balanced(labels: np.ndarray, answered: np.ndarray, classes: int, groups: np.ndarray | None = None) -> Measure:
    """Mean sensitivity of the classes that have images, with its interval; nan without images."""
    if not len(labels):
        return undefined(NO_IMAGES)
    right = answered == labels
    here = [np.flatnonzero(labels == k) for k in range(classes) if (labels == k).any()]

    def of(times: np.ndarray) -> dict[str, np.ndarray]:
        with np.errstate(invalid="ignore"):
            return {"value": np.mean([right[at] @ times[at] / times[at].sum(axis=0) for at in here], axis=0)}

    return resampling.estimates(of, labels, groups)["value"]


def skill(accuracy: float, classes: int) -> float:
    """Balanced accuracy above chance, 1 for no mistake."""
    return (accuracy - 1 / classes) / (1 - 1 / classes)


def verdict(measured: Effects | None, as_it_is: Measure, classes: int, why: str = NO_LUNGS) -> tuple[str, str]:
    """LUNGS, FRAME or UNKNOWN by the rule of the module's text, and why it is UNKNOWN, else nothing.

    ``measured`` is None where there are no composites, for the reason ``why``; ``as_it_is`` is the balanced accuracy on
    the same images as they are.
    """
    if measured is None:
        return UNKNOWN, why
    if not as_it_is.low > 1 / classes:
        return UNKNOWN, NO_SKILL
    if not skill(measured.within.value, classes) / skill(as_it_is.value, classes) >= LEAST_KEPT:
        return UNKNOWN, COMPOSING
    if measured.frame.low > FRAME_FROM:
        return FRAME, ""
    if measured.frame.high < FRAME_BELOW and measured.lungs.low > LUNGS_FROM:
        return LUNGS, ""
    return UNKNOWN, BETWEEN


def verdict_without_outlines(
    measured: Effects | None, as_it_is: Measure, border: Measure, classes: int
) -> tuple[str, str]:
    """As ``verdict``, where a fixed oval stood for the lungs: FRAME or UNKNOWN. ``border`` is the balanced accuracy on
    images of which only the border is left."""
    if measured is None:
        return UNKNOWN, FEW_IMAGES
    if not as_it_is.low > 1 / classes:
        return UNKNOWN, NO_SKILL
    border_is_enough = skill(border.low, classes) / skill(as_it_is.value, classes) > BORDER_KEPT
    if border_is_enough or measured.frame.low > OVAL_FRAME_FROM:
        return FRAME, ""
    return UNKNOWN, NO_OUTLINES


# Subgroups

LEAST_SUBGROUP = 20  # images; of fewer an accuracy says little: at 20 its interval is about 35 points wide


@dataclass(frozen=True)
class Subgroup:
    """Accuracy on the images that share something, against all others: ``p`` is Fisher's exact, two-sided, corrected
    (Holm) for all subgroups that were looked at. Images that belong together count for fewer in intervals and ``p``."""

    by: str
    name: str
    accuracy: Measure
    others: Measure
    p: float

    @property
    def is_worse(self) -> bool:
        """Whether it is worse than the others by more than chance would explain."""
        return self.accuracy.value < self.others.value and self.p < 0.05


def subgroups(right: np.ndarray, by: dict[str, np.ndarray], groups: np.ndarray | None = None) -> list[Subgroup]:
    """All subgroups of LEAST_SUBGROUP images or more, whose others are as many too, the worst first.

    Args:
        right: bool (images,), whether the image was answered rightly.
        by: for each property, its value per image as words of shape (images,); an empty one is unknown.
        groups: of shape (images,), equal for images that belong together; None: each is by itself.
    """
    compared = [
        _against_others(name, str(value), right, values == value, (values != "") & (values != value), groups)
        for name, values in by.items()
        for value in np.unique(values[values != ""])
        if min((values == value).sum(), ((values != "") & (values != value)).sum()) >= LEAST_SUBGROUP
    ]
    corrected = holm(np.array([one.p for one in compared])) if compared else []
    compared = [replace(one, p=float(p)) for one, p in zip(compared, corrected, strict=True)]
    return sorted(compared, key=lambda one: one.accuracy.value)


def _against_others(
    by: str, name: str, right: np.ndarray, inside: np.ndarray, outside: np.ndarray, groups: np.ndarray | None
) -> Subgroup:
    """One subgroup with its p as it is before any correction; both sides are bool (images,)."""
    from scipy import stats  # slow to import, and only this needs it

    sides = [(right[one], None if groups is None else groups[one]) for one in (inside, outside)]
    either = inside | outside
    hits, images, other_hits, others = whole_counts(
        right[either], inside[either], None if groups is None else groups[either]
    )
    p = float(stats.fisher_exact([[hits, images - hits], [other_hits, others - other_hits]]).pvalue)
    here, elsewhere = (wilson_of_groups(*side)[0] for side in sides)
    return Subgroup(by, name, here, elsewhere, p)


def thirds(values: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Each image's third of a property by its name, lowest first; empty words where all images have the same value."""
    if not len(values) or values.min() == values.max():
        return np.full(len(values), "", object)
    return np.array(names, object)[np.searchsorted(np.quantile(values, (1 / 3, 2 / 3)), values, side="left")]
