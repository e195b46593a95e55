"""The pictures of the lessons: their images, and what the runs predicted for them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from covid_core.data.dataset import Dataset, open_dataset
from covid_core.images import codec
from covid_core.inference.heatmap import overlaid
from covid_core.inference.predictor import Predictor
from covid_core.lessons.catalogue import (
    COMMON_IMAGES,
    COVID,
    DUPLICATE,
    PAIR,
    RARE,
    SHIFTED,
    TAG,
    TAGGED_IMAGES,
    Lesson,
)
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
        DUPLICATE: {0: "", 1: ", saved again", 2: ", once more"},
    }
    images = [(lesson.image_at(place, 0), words) for place, words in places[lesson.key].items()]
    return [Picture(image.pixels, f"{image.label}{words}") for image, words in images]


def of_outcome(lesson: Lesson, prepared: Prepared, outcome: Outcome) -> list[Picture]:
    """Test images with their predictions, or duplicates. Raises UnknownId, RunDamaged, DataError, ImageError."""
    if lesson.key == TAG:
        return list(_heat_maps(prepared, outcome))
    dataset = open_dataset(prepared.place, prepared.job.result["dataset"])
    pictures = {
        SHIFTED: lambda: _labels_and_predictions(dataset, prepared, outcome.rows[0]),
        RARE: lambda: _overlooked(dataset, outcome),
        DUPLICATE: lambda: _duplicates(dataset, prepared),
    }
    return list(pictures[lesson.key]())


def _pixels(dataset: Dataset, image_id: str) -> np.ndarray:
    return codec.read_image(dataset.path_of(dataset.row_of(image_id)), kinds=codec.PICTURES).pixels


def _labels_and_predictions(dataset: Dataset, prepared: Prepared, row: Row) -> Iterator[Picture]:
    """Test images whose label is not what they show."""
    split = prepared.run("shifted").split().set_index("image_id")
    shows = split.loc[row.predictions.image_ids, "folder_label"].to_numpy()
    labels = np.array(row.predictions.classes)[row.predictions.y_true]
    predicted = np.array(row.predictions.classes)[row.predictions.y_pred]
    wrong = np.flatnonzero(shows != labels)
    for place in wrong[np.linspace(0, len(wrong) - 1, min(SHOWN, len(wrong))).astype(int)]:
        caption = f"Shows {shows[place]}. Label: {labels[place]}. Predicted: {predicted[place]}"
        yield Picture(_pixels(dataset, row.predictions.image_ids[place]), caption)


def _heat_maps(prepared: Prepared, outcome: Outcome) -> Iterator[Picture]:
    """A test image of each class with its heat map, and its prediction with and without its letter."""
    run = prepared.run("tagged")
    predictor = Predictor.open(prepared.place, run)
    rows = {row.name: row.predictions for row in outcome.rows}
    for code, label in enumerate(PAIR):
        place = int(np.flatnonzero(rows[AS_TRAINED].y_true == code)[0])
        name = rows[AS_TRAINED].image_ids[place]
        predicted = {which: PAIR[predictions.y_pred[place]] for which, predictions in rows.items()}
        heat = heat_of(predictor, name, label, prepared.seed)
        tagged = redrawn(name, prepared.seed, label)
        yield Picture(overlaid(tagged, heat, OPACITY), f"{label} with its letter, predicted {predicted[AS_TRAINED]}")
        yield Picture(redrawn(name, prepared.seed), f"The same image without it, predicted {predicted[WITHOUT]}")
        other = PAIR[1 - code]
        yield Picture(redrawn(name, prepared.seed, other), f"With the other letter, predicted {predicted[OTHER]}")


def _overlooked(dataset: Dataset, outcome: Outcome) -> Iterator[Picture]:
    """COVID images that the plain run predicts Normal, with the runs that detect them."""
    plain, *others = outcome.rows
    sick = plain.predictions.y_true == plain.predictions.classes.index(COVID)
    for place in np.flatnonzero(sick & ~plain.predictions.right)[:SHOWN]:
        finders = [row.name.lower() for row in others if row.predictions.right[place]]
        detected = f"detected with {', '.join(finders)}" if finders else "detected by none"
        yield Picture(_pixels(dataset, plain.predictions.image_ids[place]), f"COVID, overlooked; {detected}")


def _duplicates(dataset: Dataset, prepared: Prepared) -> Iterator[Picture]:
    """Pairs of a test image and its duplicate among the training images, of a random split."""
    groups = prepared.run("grouped").split().set_index("image_id")["group"]
    split = prepared.run("stratified").split().set_index("image_id").assign(group=groups)
    trained = split[split["part"] == "train"].reset_index().drop_duplicates("group").set_index("group")["image_id"]
    tested = split[(split["part"] == "test") & split["group"].isin(trained.index)]
    for name, group in tested["group"].drop_duplicates().head(SHOWN // 2).items():
        yield Picture(_pixels(dataset, str(name)), f"Test image, labelled {split.at[name, 'label']}")
        yield Picture(_pixels(dataset, trained[group]), "Its duplicate among the training images")
