"""The pictures of the lessons: what is asked about, and what the runs made of it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from covid_core.data.dataset import Dataset, open_dataset
from covid_core.images import codec
from covid_core.inference.heatmap import overlaid
from covid_core.inference.predictor import Predictor
from covid_core.lessons.catalogue import COMMON_IMAGES, COVID, PAIR, RARE, SHIFTED, TAG, TAGGED_IMAGES, TWIN, Lesson
from covid_core.lessons.outcomes import AS_TRAINED, OTHER, WITHOUT, Outcome, Row
from covid_core.lessons.preparation import Prepared, heat_of, redrawn

SHOWN = 6
OPACITY = 0.6  # of a heat map


@dataclass(frozen=True, eq=False)
class Picture:
    """uint8 (height, width) or (height, width, 3), and what it is."""

    pixels: np.ndarray
    caption: str


def of_story(lesson: Lesson) -> list[Picture]:
    """Images as the lesson has them, before anything is prepared: those of seed 0."""
    places = {
        SHIFTED: {0: "", 269: "", 1027: ""},
        TAG: {0: "", TAGGED_IMAGES: ""},
        RARE: {0: "", 1: "", COMMON_IMAGES: ""},
        TWIN: {0: "", 1: ", saved again", 2: ", once more"},
    }
    images = [(lesson.image_at(place, 0), words) for place, words in places[lesson.key].items()]
    return [Picture(image.pixels, f"{image.label}{words}") for image, words in images]


def of_outcome(lesson: Lesson, prepared: Prepared, outcome: Outcome) -> list[Picture]:
    """What the runs made of some test images, or how twins look. Raises NotFound, RunDamaged, DataError, ImageError."""
    if lesson.key == TAG:
        return list(_where_it_looks(prepared, outcome))
    dataset = open_dataset(prepared.place, prepared.job.result["dataset"])
    pictures = {
        SHIFTED: lambda: _labels_and_answers(dataset, prepared, outcome.rows[0]),
        RARE: lambda: _overlooked(dataset, outcome),
        TWIN: lambda: _twins(dataset, prepared),
    }
    return list(pictures[lesson.key]())


def _pixels(dataset: Dataset, image_id: str) -> np.ndarray:
    return codec.read_image(dataset.path_of(dataset.row_of(image_id)), kinds=codec.PICTURES).pixels


def _labels_and_answers(dataset: Dataset, prepared: Prepared, row: Row) -> Iterator[Picture]:
    """Test images whose label is not what they show."""
    split = prepared.run("shifted").split().set_index("image_id")
    shows = split.loc[row.answers.image_ids, "folder_label"].to_numpy()
    labels = np.array(row.answers.classes)[row.answers.y_true]
    called = np.array(row.answers.classes)[row.answers.y_pred]
    wrong = np.flatnonzero(shows != labels)
    for place in wrong[np.linspace(0, len(wrong) - 1, min(SHOWN, len(wrong))).astype(int)]:
        caption = f"Shows {shows[place]}. Label: {labels[place]}. Answer: {called[place]}"
        yield Picture(_pixels(dataset, row.answers.image_ids[place]), caption)


def _where_it_looks(prepared: Prepared, outcome: Outcome) -> Iterator[Picture]:
    """A test image of each class with its heat map, and what it is called with and without its letter."""
    run = prepared.run("tagged")
    predictor = Predictor.open(prepared.place, run)
    rows = {row.name: row.answers for row in outcome.rows}
    for code, label in enumerate(PAIR):
        place = int(np.flatnonzero(rows[AS_TRAINED].y_true == code)[0])
        name = rows[AS_TRAINED].image_ids[place]
        called = {which: PAIR[given.y_pred[place]] for which, given in rows.items()}
        heat = heat_of(predictor, name, label, prepared.seed)
        tagged = redrawn(name, prepared.seed, label)
        yield Picture(overlaid(tagged, heat, OPACITY), f"{label} with its letter, called {called[AS_TRAINED]}")
        yield Picture(redrawn(name, prepared.seed), f"The same image without it, called {called[WITHOUT]}")
        other = PAIR[1 - code]
        yield Picture(redrawn(name, prepared.seed, other), f"With the other letter, called {called[OTHER]}")


def _overlooked(dataset: Dataset, outcome: Outcome) -> Iterator[Picture]:
    """COVID images that the plain run calls Normal, with who finds them."""
    plain, *others = outcome.rows
    sick = plain.answers.y_true == plain.answers.classes.index(COVID)
    for place in np.flatnonzero(sick & ~plain.answers.right)[:SHOWN]:
        finders = [row.name.lower() for row in others if row.answers.right[place]]
        told = f"found with {', '.join(finders)}" if finders else "found by none"
        yield Picture(_pixels(dataset, plain.answers.image_ids[place]), f"COVID, overlooked; {told}")


def _twins(dataset: Dataset, prepared: Prepared) -> Iterator[Picture]:
    """Pairs of a test image and its twin among the training images, dealt image by image."""
    groups = prepared.run("grouped").split().set_index("image_id")["group"]
    split = prepared.run("stratified").split().set_index("image_id").assign(group=groups)
    trained = split[split["part"] == "train"].reset_index().drop_duplicates("group").set_index("group")["image_id"]
    tested = split[(split["part"] == "test") & split["group"].isin(trained.index)]
    for name, group in tested["group"].drop_duplicates().head(SHOWN // 2).items():
        yield Picture(_pixels(dataset, str(name)), f"Test image, labelled {split.at[name, 'label']}")
        yield Picture(_pixels(dataset, trained[group]), "Its twin among the training images")
