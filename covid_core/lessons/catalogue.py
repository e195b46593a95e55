"""The four lessons: the question of each, which images are drawn for it, and which runs are trained on them.

All of it is chosen so that the effect comes out on any machine within a minute and without a download; the outcome
is computed from the runs' predictions every time (``outcomes``), and the words follow from it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from covid_core.errors import NotFound
from covid_core.lessons import image_sets
from covid_core.specs import HeadSpec, SplitSpec, TrainingSpec, parse
from covid_core.synthetic import phantom
from covid_core.synthetic.phantom import PhantomImage

COVID, NORMAL = PAIR = ("COVID", "Normal")
SHIFTED, TAG, RARE, DUPLICATE = "shifted-labels", "corner-tag", "rare-class", "twin"  # in addresses and folders

# The course's own network and pace, on small images: a second or two per run.
COURSE = {
    "backbone": "baseline_cnn",
    "image_size": 64,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "optimizer": "adam",
    "patience": 0,
    "keep": "last",
    "imbalance": "none",
}
# A network with random filters; only its last layers learn. It needs no download and runs once per image. The effects
# of rare classes and duplicates do not depend on good filters.
UNTRAINED = {
    "backbone": "mobilenet_v2",
    "weights": "random",
    "mode": "frozen",
    "seed": 1,  # of the filters, the same for all images: random filters differ in quality
    "image_size": 96,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "patience": 0,
    "keep": "last",
    "imbalance": "none",
}

# 1: as many images of each class as the database has, a thirteenth of all: 300 are drawn evenly, and 269 of the first
# 300 labels in the list are the first class's, so 43 of 48 test labels: 89.6 %, the course's figure.
SHIFTED_IMAGES, SHIFTED_DRAWN = 1127, 100
TAGGED_IMAGES = 120  # of each class
COMMON_IMAGES, RARE_IMAGES = 540, 60
DUPLICATED_IMAGES, TIMES_SAVED = 120, 3  # patients, and images of each


@dataclass(frozen=True)
class Training:
    """One run of a lesson: ``role`` is its name in the code, ``name`` that on the screen."""

    role: str
    name: str
    choices: dict[str, Any] = field(repr=False)

    def spec(self, dataset: str, seed: int) -> TrainingSpec:
        """The run's spec on the lesson's data set; ``seed`` is the network's where the lesson does not fix it."""
        return parse(TrainingSpec, {"seed": seed, **self.choices, "dataset": dataset, "name": self.name})


@dataclass(frozen=True)
class Lesson:
    """A lesson. ``story`` are paragraphs; ``prediction_question`` asks for the per cent to be predicted.

    ``images`` images are drawn by ``image_at`` of index and seed. ``why`` are the sentences to take home, ``guards``
    are what in Second Look catches the mistake, each with the page that has it (a name without suffix).
    """

    key: str
    title: str
    question: str
    story: tuple[str, ...]
    prediction_question: str
    images: int
    image_at: Callable[[int, int], PhantomImage] = field(repr=False)
    trainings: tuple[Training, ...] = field(repr=False)
    why: tuple[str, ...] = field(repr=False)
    guards: tuple[tuple[str, str], ...] = field(repr=False)


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


def _rare_training(role: str, name: str) -> Training:
    split = SplitSpec(method="stratified", validation=0.1, test=0.5)
    head = HeadSpec(units=(32,))
    return Training(
        role, name, {**UNTRAINED, "classes": PAIR, "split": split, "head": head, "epochs": 20, "imbalance": role}
    )


def _duplicate_training(method: str, name: str) -> Training:
    split, head = SplitSpec(method=method, test=0.3), HeadSpec(units=(128,), dropout=0)
    return Training(method, name, {**UNTRAINED, "classes": PAIR, "split": split, "head": head, "epochs": 40})


def _course_training(role: str, name: str) -> Training:
    split = SplitSpec(method="stratified", images_per_class=SHIFTED_DRAWN)
    labels, head = ("shifted" if role == "shifted" else "folder"), HeadSpec(units=(128,))
    classes = tuple(phantom.DATABASE_COUNTS)
    return Training(
        role, name, {**COURSE, "classes": classes, "split": split, "labels": labels, "head": head, "epochs": 5}
    )


LESSONS: tuple[Lesson, ...] = (
    Lesson(
        SHIFTED,
        "The shifted labels",
        "Can a model that has learned nothing score 89.6 %?",
        (
            "A course trained seven networks on chest images and reported about 89.6 % for each of them. This lesson "
            "makes the same mistake again, at a thirteenth of its size.",
            f"There are {SHIFTED_IMAGES:,} synthetic images in three classes, as uneven as in the real database. "
            f"{SHIFTED_DRAWN} images of each class are drawn, so that the classes are even.",
            "The labels were listed for all images, in class order. The list is cut to as many labels as there are "
            "images left, and put beside them. Nearly all of the first labels in the list are COVID's.",
            "The course's small network learns from these images and these labels.",
        ),
        "On how many of its test images does it predict the label that stands beside the image, in per cent?",
        SHIFTED_IMAGES,
        _shifted_image,
        (_course_training("shifted", "Shifted labels"), _course_training("right", "Right labels")),
        (
            "Compare every accuracy with the majority baseline: always predicting the commonest label reaches that "
            "share, without any image.",
            "Seven networks with the same figure to the last digit are no proof that it is right. They are a reason to "
            "look at the confusion matrix.",
            "Labels must travel with their images, never in a list beside them.",
        ),
        (
            (
                "compare",
                "Compare puts the majority baseline beside every model, marks a run that predicts one class only, and "
                "warns when labels are not those of the images' folders.",
            ),
            (
                "dataset",
                "Here every label belongs to the name of its image. The mistake has to be chosen.",
            ),
        ),
    ),
    Lesson(
        TAG,
        "The corner tag",
        "What does a model use that is right on every image?",
        (
            f"Two hospitals send {TAGGED_IMAGES} synthetic images each, one of COVID patients, the other of healthy "
            "people. Each burns its letter into a corner of its images: C on the left, N on the right.",
            "The course's small network learns on a part of them, and is tested on others of the same hospitals. "
            "It will be right on nearly all.",
            "Then the same test images are drawn once more, the same patients and the same lungs, without the letter; "
            "and a third time with the other hospital's letter.",
        ),
        "On how many of its test images is it still right when the letter is gone, in per cent?",
        2 * TAGGED_IMAGES,
        _tagged_image,
        (
            Training(
                "tagged",
                "Images with a letter",
                {
                    **COURSE,
                    "classes": PAIR,
                    "split": SplitSpec(method="stratified", test=0.3),
                    "head": HeadSpec(units=(64,)),
                    "epochs": 8,
                },
            ),
        ),
        (
            "A network takes whatever tells the classes apart most easily. It does not know that you meant the lungs.",
            "A test part of the same hospitals has the same letters, so it cannot show the mistake.",
            "In the public collections one class often comes from one source. Letters, borders, exposure and posture "
            "then do what this letter does, and nobody sees them at once.",
        ),
        (
            (
                "predict",
                "Predict shows for each image what the prediction rests on, and how much of the heat map lies inside "
                "the lungs.",
            ),
            (
                "compare",
                "The evidence check covers the lungs, everything else, the border and tags, and measures what the "
                "model uses.",
            ),
            ("train", "An external split by source tests on images whose letters are new to the model."),
        ),
    ),
    Lesson(
        RARE,
        "The rare class",
        "Is the model with the highest accuracy the best?",
        (
            f"Of {COMMON_IMAGES + RARE_IMAGES} synthetic images, {RARE_IMAGES} show COVID: one in ten, as in a "
            f"screening.",
            "The same network learns four times on the same images: as they are; with class weights, so that each "
            "class counts as much; with COVID images drawn several times (oversampling); and with as many healthy "
            "images left out as makes the classes even (undersampling).",
            "The network's filters are random and stay so; only its last layers learn. That takes seconds, and needs "
            "no download.",
        ),
        "How many of the COVID images does the model detect that learns on the images as they are, in per cent?",
        COMMON_IMAGES + RARE_IMAGES,
        _rare_image,
        (
            _rare_training("none", "As they are"),
            _rare_training("class_weights", "Class weights"),
            _rare_training("oversample", "Oversampling"),
            _rare_training("undersample", "Undersampling"),
        ),
        (
            "Accuracy counts images, and nearly all images are healthy. A model that overlooks the sick loses "
            "little of it.",
            "Sensitivity asks: of those who have it, how many are detected? Specificity asks: of those who do not, "
            "how many are predicted healthy? Both belong beside accuracy.",
            "Weights and sampling do not make a better eye. They move the balance between overlooking and false alarm, "
            "and you have to say which is worse.",
        ),
        (
            (
                "compare",
                "Compare shows sensitivity and specificity of each class with their intervals, and how each threshold "
                "trades one for the other.",
            ),
            ("train", "Train has four ways to handle class imbalance; they change the training images alone."),
        ),
    ),
    Lesson(
        DUPLICATE,
        "The duplicate",
        "Can a model be right where there is nothing to learn?",
        (
            f"{DUPLICATED_IMAGES} healthy synthetic patients. Half of them are labelled COVID and half Normal, "
            "whatever the image shows: there is nothing to learn, and chance is right on half of them.",
            f"Each image is in the collection {TIMES_SAVED} times, saved again with a slightly different exposure, as "
            "happens when archives are merged.",
            "The same network learns twice. Once with a random split, which separates duplicates; once with a group "
            "split, which keeps them together.",
            "The network's filters are random and stay so; only its last layers learn.",
        ),
        "On how many test images is the model right when duplicates are separated, in per cent?",
        DUPLICATED_IMAGES * TIMES_SAVED,
        _duplicate_image,
        (
            _duplicate_training("stratified", "Random split"),
            _duplicate_training("grouped", "Group split"),
        ),
        (
            "A test image whose duplicate was trained on is no test: the model only recognises it (data leakage).",
            "Public collections copy each other. The same image is in several of them under other names, sometimes "
            "with another label.",
            "Duplicates, and images of one patient, stay in one part.",
        ),
        (
            ("dataset", "The audit detects duplicates, also those that were saved again."),
            ("train", "The group split is the default here. The random split has to be chosen."),
        ),
    ),
)
BY_KEY = {lesson.key: lesson for lesson in LESSONS}


def named(key: str) -> Lesson:
    """The lesson of that key. Raises NotFound."""
    if key not in BY_KEY:
        raise NotFound(f"There is no lesson {key[:40]!r}; there are {', '.join(BY_KEY)}.")
    return BY_KEY[key]


def number_of(lesson: Lesson) -> int:
    """Its place, from 1."""
    return LESSONS.index(lesson) + 1
