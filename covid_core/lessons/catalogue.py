"""The four lessons: which images are drawn for each. Their words and their trainings are in ``catalogue.toml``.

All of it is chosen so that the effect comes out on any machine and without a download; the outcome
is computed from the runs' predictions every time (``outcomes``), and the words follow from it.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from covid_core.errors import UnknownId
from covid_core.lessons import image_sets
from covid_core.specs import TrainingSpec, parse
from covid_core.synthetic import phantom
from covid_core.synthetic.phantom import PhantomImage

COVID, NORMAL = PAIR = ("COVID", "Normal")
SHIFTED, TAG, RARE, DUPLICATE = "shifted-labels", "corner-tag", "rare-class", "twin"  # in addresses and folders

# The stories name these numbers.
# 1: as many images of each class as the database has, a thirteenth of all: 300 are drawn evenly, and 269 of the first
# 300 labels in the list are the first class's, so 43 of 48 test labels: 89.6 %, the course's figure.
SHIFTED_IMAGES = 1127
TAGGED_IMAGES = 120  # of each class
COMMON_IMAGES, RARE_IMAGES = 540, 60
DUPLICATED_IMAGES, TIMES_SAVED = 120, 3  # patients, and images of each


@dataclass(frozen=True)
class Training:
    """One run of a lesson: ``role`` is its name in the code, ``name`` that on the screen."""

    role: str
    name: str
    settings: Mapping[str, Any] = field(repr=False)

    def spec(self, dataset: str, seed: int) -> TrainingSpec:
        """The run's spec on the lesson's data set; ``seed`` is the network's where the lesson does not fix it."""
        return parse(TrainingSpec, {"seed": seed, **self.settings, "dataset": dataset})


@dataclass(frozen=True, eq=False)
class Lesson:
    """A lesson. ``story`` are paragraphs; ``prediction_question`` asks for the per cent to be predicted.

    ``images`` images are drawn by ``image_at`` of index and seed. ``why`` are the sentences to take home, ``guards``
    are what in Second Look catches the mistake, each with the page that has it (a name without suffix).
    """

    key: str
    images: int
    image_at: Callable[[int, int], PhantomImage] = field(repr=False)
    trainings: tuple[Training, ...] = field(repr=False)
    title: str
    question: str
    prediction_question: str
    story: Sequence[str] = field(repr=False)
    why: Sequence[str] = field(repr=False)
    guards: Sequence[tuple[str, str]] = field(repr=False)


def _shifted_image(index: int, seed: int) -> PhantomImage:
    numbered = [
        (label, number)
        for label, count in phantom.class_counts(SHIFTED_IMAGES).items()
        for number in range(1, count + 1)
    ]
    label, number = numbered[index]
    return image_sets.image(label, number, seed, clear=True)


def _tagged_image(index: int, seed: int) -> PhantomImage:
    which, number = divmod(index, TAGGED_IMAGES)
    return image_sets.image(PAIR[which], number + 1, seed, tag=PAIR[which])


def _rare_image(index: int, seed: int) -> PhantomImage:
    if index < COMMON_IMAGES:
        return image_sets.image(NORMAL, index + 1, seed)
    return image_sets.image(COVID, index - COMMON_IMAGES + 1, seed, clear=True)


def _duplicate_image(index: int, seed: int) -> PhantomImage:
    """Healthy patients, each with a label that has nothing to do with the image, saved several times."""
    patient, again = divmod(index, TIMES_SAVED)
    of_class, which = divmod(patient, len(PAIR))
    first = TIMES_SAVED * of_class + 1
    original = image_sets.image(PAIR[which], first, seed, shown=NORMAL)
    return image_sets.saved_again(original, first + again, seed) if again else original


IMAGES: Mapping[str, tuple[int, Callable[[int, int], PhantomImage]]] = {
    SHIFTED: (SHIFTED_IMAGES, _shifted_image),
    TAG: (2 * TAGGED_IMAGES, _tagged_image),
    RARE: (COMMON_IMAGES + RARE_IMAGES, _rare_image),
    DUPLICATE: (DUPLICATED_IMAGES * TIMES_SAVED, _duplicate_image),
}


def _lessons() -> Iterator[Lesson]:
    rows = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    for key, (images, image_at) in IMAGES.items():
        row = rows[key]
        usual = rows["networks"][row.pop("network")] | row.pop("settings")
        trainings = tuple(Training(role, own["name"], usual | own) for role, own in row.pop("trainings").items())
        yield Lesson(key, images, image_at, trainings, **row)


LESSONS = tuple(_lessons())
BY_KEY = {lesson.key: lesson for lesson in LESSONS}


def named(key: str) -> Lesson:
    """The lesson of that key. Raises UnknownId."""
    if key not in BY_KEY:
        raise UnknownId(f"There is no lesson {key[:40]!r}; there are {', '.join(BY_KEY)}.")
    return BY_KEY[key]


def number_of(lesson: Lesson) -> int:
    """Its place, from 1."""
    return LESSONS.index(lesson) + 1
