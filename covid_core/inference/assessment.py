"""What a run makes of an image: the one result that the Predict page, the work-list, the report and the verb show.

An image that was not read faithfully has no assessment but the reason. The checks come in the order in which they are
made; the first that fails is why there is no answer, unless somebody wants it *anyway*. A check that could not be made
counts as such, never as passed. The sentences are in ``reports.prediction_text``.

A work-list orders the *entries* of many images, one assessment per run each. First what no run could answer for, then
what runs or classes disagree on, then what was called anything but normal, the surest first; last what was called
normal, the least sure first. Within one urgency the order is stable.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np

from covid_core.evaluation.calibration import Calibration
from covid_core.evaluation.conformal import USUAL_COVERAGE, PredictionSet, Sets
from covid_core.images.codec import GreyImage, to_square
from covid_core.images.regions import WHOLE, Box
from covid_core.inference import doubts, hottest_place, lungs, training_match
from covid_core.inference.drift.profile import Traits
from covid_core.inference.gate import CHEST_IMAGE, LIKE_TRAINING, LUNGS_OUTLINED, Check
from covid_core.inference.hottest_place import HottestPlace
from covid_core.inference.lungs import LungOutline
from covid_core.inference.network import softmax
from covid_core.inference.predictor import UNCALIBRATED, Heat, Predictor
from covid_core.inference.reference import Judgement, Neighbour
from covid_core.inference.region.lung_region import Regions
from covid_core.inference.training_match import TrainingMatch
from covid_core.runs.store import Run
from covid_core.workspace import Workspace

UNJUDGED: Judgement = tuple(Check(name, None, has_reference=False) for name in (CHEST_IMAGE, LIKE_TRAINING)), ()


@dataclass(frozen=True, eq=False)
class Assessment:
    """One image and one run.

    ``name`` of the image and ``run`` are what they are called on the page. Where ``error`` says why the image could not
    be read, nothing else is set. ``done`` is of the reading, ``warnings`` are reasons to doubt any answer,
    ``logits`` of shape (classes,).
    ``sets`` gives the prediction set at ``coverage``, None where the run's predictions have no logits. ``anyway`` shows
    the numbers of an image that failed a check. ``image`` is there where one was assessed alone.
    ``box`` is the part of the image that the network was shown.
    ``typicality`` is that of the image for the run (``Neighbourhood.typicality``): below 1, ``numbers`` are lowered.
    ``traits`` is what the image is like, of a run whose reference has a profile.
    ``training`` and ``hottest`` take longer than the scores: None until they are made (``examined``).
    """

    name: str = ""
    run: str = ""
    error: str = ""
    warnings: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    logits: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    calibration: Calibration = UNCALIBRATED
    checks: tuple[Check, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    sets: Sets | None = field(default=None, repr=False)
    coverage: float = USUAL_COVERAGE
    anyway: bool = False
    image: GreyImage | None = field(default=None, repr=False)
    heat: Heat | None = field(default=None, repr=False)
    training: TrainingMatch | None = None
    hottest: HottestPlace | None = None
    box: Box = Box()
    typicality: float = 1.0
    traits: Traits | None = field(default=None, repr=False)
    has_maps: bool = True  # as of the predictor

    @cached_property
    def scores(self) -> np.ndarray:
        """The softmax of the logits (classes,): not probabilities, for they are not calibrated."""
        return softmax(self.logits[None])[0]

    @cached_property
    def probabilities(self) -> np.ndarray | None:
        """The softmax of the logits divided by the run's temperature, lowered; None where it has none."""
        if not self.calibration.is_defined:
            return None
        return self._lowered(softmax(self.logits[None].astype(np.float64) / self.calibration.temperature)[0])

    @property
    def numbers(self) -> np.ndarray:
        """Probabilities where there are some, else scores; ``scale`` says which."""
        return self._lowered(self.scores) if self.probabilities is None else self.probabilities

    def _lowered(self, values: np.ndarray) -> np.ndarray:
        """Between the values and the same for every class, by the typicality; the order of the classes stays."""
        return self.typicality * values + (1 - self.typicality) / len(values)

    @property
    def scale(self) -> str:
        return "probability" if self.calibration.is_defined else "score"

    def by_class(self, values: np.ndarray) -> dict[str, float]:
        """Scores, probabilities or logits by the name of their class."""
        return dict(zip(self.classes, map(float, values), strict=True))

    @property
    def predicted(self) -> str:
        """The class with the highest score, which has the highest probability too."""
        return self.classes[int(self.logits.argmax())]

    @cached_property
    def prediction_set(self) -> PredictionSet | None:
        """The classes that are not ruled out at the coverage. Raises InvalidChoice for one that cannot be had."""
        return self.sets.set_of(self.logits, self.coverage) if self.sets else None

    @property
    def possible(self) -> tuple[str, ...]:
        """The classes that stay possible, the likeliest first; without a set the predicted one alone."""
        return (self.predicted,) if self.prediction_set is None else self.prediction_set.classes

    @property
    def label(self) -> str:
        """The class that the image is taken for: of those that stay possible the likeliest, of all where none does.

        A class can be the likeliest and ruled out all the same, for each has a limit of its own (see ``conformal``).
        """
        return self.possible[0] if self.possible else self.predicted

    @property
    def is_open(self) -> bool:
        """Whether the class stays open: several are possible, or none is, or another than the likeliest."""
        return self.possible != (self.predicted,)

    @property
    def shown_box(self) -> Box:
        """The part of the image that the network was shown, to be drawn: the whole where it should have been the box
        around lungs that have no outline."""
        outlined = all(check.passed for check in self.checks if check.name == LUNGS_OUTLINED)
        return self.box if outlined else WHOLE

    @property
    def refused_by(self) -> Check | None:
        """The first check that failed."""
        return next((check for check in self.checks if check.passed is False), None)

    @property
    def unchecked(self) -> Check | None:
        """The first check that could not be made."""
        return next((check for check in self.checks if check.passed is None), None)

    @property
    def has_answer(self) -> bool:
        """Whether classes and numbers may be shown."""
        return not self.error and (self.anyway or self.refused_by is None)


def assess(predictor: Predictor, image: GreyImage, **more: Any) -> Assessment:
    """One image with all that can be said of it, heat maps on demand, from one pass. ``more`` are fields."""
    return replace(assess_all(predictor, [image])[0], image=image, **more)


def examined(workspace: Workspace, run: Run, assessment: Assessment, image: GreyImage) -> Assessment:
    """The same with what takes longer than the scores: whether the run was trained on the image, and where its heat map
    is highest."""
    (training,) = training_match.of(workspace, run, [image])
    outline = lungs.outline_or_why(workspace, image, run.dataset.id)
    return replace(assessment, training=training, hottest=hottest_place_of(assessment, image, outline))


def hottest_place_of(
    assessment: Assessment, image: GreyImage, outline: LungOutline | None = None
) -> HottestPlace | None:
    """Where the heat map of the image's class is highest; None without an answer or a heat map, or where it would take
    an occlusion."""
    if assessment.heat is None or not (assessment.has_answer and assessment.has_maps):
        return None
    return hottest_place.of(assessment.heat, assessment.label, image, outline.mask if outline else None)


def assess_all(predictor: Predictor, images: Sequence[GreyImage]) -> list[Assessment]:
    """The same of several images at once, without the images themselves."""
    squares = np.stack([to_square(image.pixels, predictor.size) for image in images])
    regions = predictor.regions(squares)
    logits, features, heats = predictor.of_cut.explained(regions.squares)
    reference = predictor.reference
    judgements = reference.judgements(regions.squares, features) if reference else [UNJUDGED] * len(images)
    outlines: Sequence[tuple[Check, ...]] = [()] * len(images)
    cuts: Sequence[tuple[str, ...]] = [()] * len(images)
    if predictor.lungs:
        size, outlines = predictor.lungs.size, _outlined(regions)
        heats = [_laid_back(heat, box) for heat, box in zip(heats, regions.boxes, strict=True)]
        boxes = ["the middle" if refusal else "the box around the lungs" for refusal in regions.refusals]
        cuts = [(f"{box} stretched to {size} x {size}",) for box in boxes]
    traits: Sequence[Traits | None] = [None] * len(images)
    if reference and reference.profile:
        sizes = np.array([image.pixels.shape[::-1] for image in images])
        of_all = reference.traits(regions.squares, features, sizes)
        traits = [of_all[place : place + 1] for place in range(len(images))]
    return [
        Assessment(
            warnings=(*image.warnings, *doubts.of(image.pixels, predictor.size)),
            done=(*_done(image, predictor.size), *cut),
            classes=predictor.classes,
            logits=of_image,
            calibration=predictor.calibration,
            checks=(*_with_file(checks[:1], image), *outlined, *checks[1:]),
            neighbours=neighbours,
            sets=predictor.sets,
            heat=heat,
            box=box,
            typicality=reference.neighbourhood.typicality(checks[1].figure) if reference else 1.0,
            traits=of_traits,
            has_maps=predictor.has_maps,
        )
        for image, of_image, (checks, neighbours), heat, outlined, cut, box, of_traits in zip(
            images, logits, judgements, heats, outlines, cuts, regions.boxes, traits, strict=True
        )
    ]


def _laid_back(heat: Heat, box: Box) -> Heat:
    """Heat maps of the whole image, from those of the box."""

    def whole(label: str, shape: tuple[int, int]) -> np.ndarray:
        rows, columns = box.slices(*shape)
        return box.laid_back(heat(label, (rows.stop - rows.start, columns.stop - columns.start)), shape)

    return whole


def _outlined(regions: Regions) -> list[tuple[Check, ...]]:
    """For each image, the check that its lungs are outlined."""
    return [(Check(LUNGS_OUTLINED, refusal is None, outline=refusal),) for refusal in regions.refusals]


def _done(image: GreyImage, size: int) -> tuple[str, ...]:
    """What was done to the picture before any region of it was cut out."""
    height, width = image.pixels.shape
    resized = f"{width} x {height} pixels {'resized' if width == height else 'squashed'} to {size} x {size}"
    return image.notes if (height, width) == (size, size) else (*image.notes, resized)


def _with_file(checks: tuple[Check, ...], image: GreyImage) -> tuple[Check, ...]:
    """The checks; where the file itself says that it is no frontal chest image, that is the first."""
    return (Check(CHEST_IMAGE, False, reason=" ".join(image.not_chest)), *checks[1:]) if image.not_chest else checks


def with_shared_refusal(assessments: Sequence[Assessment]) -> list[Assessment]:
    """Assessments of one image: a run that could not check it takes over that another run found no chest image.

    That is said of the picture, not of the run: who has not checked it cannot answer all the same.
    """
    for one in assessments:
        if one.refused_by and one.refused_by.name == CHEST_IMAGE:
            taken_over = replace(one.refused_by, run=one.run)
            open_check = (CHEST_IMAGE, None)
            return [
                replace(
                    other, checks=tuple(taken_over if (c.name, c.passed) == open_check else c for c in other.checks)
                )
                for other in assessments
            ]
    return list(assessments)


def warnings_of(entry: Sequence[Assessment]) -> tuple[str, ...]:
    """The reasons to doubt any answer for an image, each once; networks of two sizes may differ in them."""
    return tuple(dict.fromkeys(reason for one in entry for reason in one.warnings))


NORMAL_NAMES = frozenset({"normal", "no finding", "healthy", "negative", "control"})  # of folders, in small letters


class Urgency(IntEnum):
    """Why an image stands where it stands in the list; lower is more urgent."""

    UNREAD = 0
    REFUSED = 1
    DIFFER = 2
    OPEN = 3
    UNCHECKED = 4
    DOUBTED = 5
    FINDING = 6
    NORMAL = 7


def urgency(entry: Sequence[Assessment]) -> Urgency:
    """The most urgent reason that holds."""
    if any(one.error for one in entry):
        return Urgency.UNREAD
    if any(one.refused_by for one in entry):
        return Urgency.REFUSED
    if len({one.label for one in entry}) > 1:
        return Urgency.DIFFER
    if any(one.is_open for one in entry):
        return Urgency.OPEN
    if any(one.unchecked for one in entry):
        return Urgency.UNCHECKED
    if warnings_of(entry):
        return Urgency.DOUBTED
    return Urgency.NORMAL if entry[0].label.lower() in NORMAL_NAMES else Urgency.FINDING


def place(entry: Sequence[Assessment]) -> tuple[Urgency, float]:
    """What entries are sorted by: their urgency, and the mean probability of the class (its score where the run has no
    probabilities)."""
    first = urgency(entry)
    if first == Urgency.UNREAD:
        return first, 0.0
    surest = sum(one.by_class(one.numbers)[one.label] for one in entry) / len(entry)
    return first, -surest if first == Urgency.FINDING else surest
