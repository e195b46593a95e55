"""A finished run on images from elsewhere: what is left of its figures, without the images that it was trained on.

The outside images are another data set. Images that show the same picture as one of the run's own (of any part) are
found, counted and left out; where the two data sets disagree on such an image's class, that is a label conflict.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from covid_core.data import duplicates
from covid_core.data.dataset import Dataset
from covid_core.data.imports.importing import SUMMARY_SIZE
from covid_core.data.pixels import open_pixels
from covid_core.errors import DataError, InvalidChoice
from covid_core.evaluation import assessment, metrics
from covid_core.evaluation.assessment import Measured
from covid_core.evaluation.metrics import Measure
from covid_core.inference.network import batch_for, with_scores
from covid_core.inference.predictor import Predictor
from covid_core.runs.pinned_dataset import dataset_of
from covid_core.runs.store import Evaluation, EvaluationRecord, OutsideDataset, Run
from covid_core.work import Progress, blocks, part_of, silent
from covid_core.workspace import Workspace

SHARED_COLUMNS = ("image_id", "own_label", "label", "twin", "twin_label", "twin_part", "detail")
OUTSIDE = "outside"  # the part that outside images are in


def mapped(run: Run, labels: Mapping[str, int], mapping: Mapping[str, str]) -> dict[str, str]:
    """The run's class for each class of an outside data set (keys of ``labels``); one that the run does not know is
    left out.

    ``mapping`` is what the user says, outside class to the run's; the others are matched by name, in any case. Raises
    InvalidChoice for a mapping from or to a class that there is none of, and where nothing matches.
    """
    by_name = {label.casefold(): label for label in run.classes}
    for outside, inside in mapping.items():
        if outside not in labels:
            raise InvalidChoice(f"The outside images have no class {outside!r}; there are {', '.join(labels)}.")
        if inside not in run.classes:
            raise InvalidChoice(f"{run.name} knows no class {inside!r}; it knows {', '.join(run.classes)}.")
    wanted = {label: mapping.get(label) or by_name.get(label.casefold()) for label in labels}
    classes = {label: inside for label, inside in wanted.items() if inside}
    if not classes:
        theirs, own = ", ".join(labels), ", ".join(run.classes)
        raise InvalidChoice(f"None of the outside classes ({theirs}) is one of the run's ({own}). Say which is which.")
    return classes


def evaluate(
    workspace: Workspace,
    run: Run,
    outside: Dataset,
    mapping: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Answer for all images of another data set, and keep the answers with the run.

    Raises InvalidChoice (see ``mapped``), RunDamaged, DataError.
    """
    classes = mapped(run, outside.counts, mapping or {})
    if outside.id == run.dataset.id:
        raise InvalidChoice("The run was trained on this data set. Its test part is its inside figure already.")
    predictor = Predictor.open(workspace, run)
    pixels = open_pixels(workspace, outside, run.spec.pixels, part_of(progress, 0.0, 0.2))
    logits = _logits(predictor, pixels, part_of(progress, 0.2, 0.9))
    shared = _shared(workspace, run, outside, part_of(progress, 0.9, 1.0))
    table = _table(outside, run, classes, logits).merge(shared, on="image_id", how="left")
    record = EvaluationRecord(
        created=time.time(),
        dataset=OutsideDataset(id=outside.id, name=outside.name, version=outside.version),
        classes=classes,
        unknown={label: images for label, images in outside.counts.items() if label not in classes},
        shared=int(table["twin"].notna().sum()),
        conflicts=int((table["twin"].notna() & (table["label"] != table["twin_label"])).sum()),
        method=f"detail at {duplicates.FINE} px correlates from {duplicates.SAME_DETAIL}",
    )
    run.note_opening(f"outside test: {outside.name}")
    return run.write_evaluation(record, table)


def _logits(predictor: Predictor, pixels: np.ndarray, progress: Progress) -> np.ndarray:
    parts, done = [], 0
    for some in blocks(pixels, 16 * batch_for(predictor.size)):
        parts.append(predictor.logits(np.asarray(some)))
        done += len(some)
        progress(done / len(pixels), f"Answering: {done:,} of {len(pixels):,} images")
    return np.concatenate(parts)


def _table(outside: Dataset, run: Run, classes: Mapping[str, str], logits: np.ndarray) -> pd.DataFrame:
    """A prediction table; images of classes that the run does not know keep their own label."""
    images = outside.images
    table = pd.DataFrame({"image_id": images["image_id"], "part": OUTSIDE, "own_label": images["label"]})
    table["label"] = images["label"].map(classes).fillna(images["label"])
    return with_scores(table, run.classes, logits)


def _shared(workspace: Workspace, run: Run, outside: Dataset, progress: Progress) -> pd.DataFrame:
    """Outside images that the run's data set has as well: columns image_id, twin, twin_label, twin_part, detail."""
    own = dataset_of(workspace, run)
    rows = own.images.set_index("image_id").index.get_indexer(run.split()["image_id"])
    if (rows < 0).any():
        raise DataError(f"The data set {own.name!r} has changed since {run.name} was trained.")
    inside = open_pixels(workspace, own, SUMMARY_SIZE, part_of(progress, 0.0, 0.5))[rows]
    foreign = open_pixels(workspace, outside, SUMMARY_SIZE, part_of(progress, 0.5, 1.0))
    pairs = duplicates.pairs(foreign, inside).drop_duplicates("first")  # the most alike of several
    split = run.split().iloc[pairs["second"]]
    return pd.DataFrame(
        {
            "image_id": outside.images["image_id"].to_numpy()[pairs["first"]],
            "twin": split["image_id"].to_numpy(),
            "twin_label": split["label"].to_numpy(),
            "twin_part": split["part"].to_numpy(),
            "detail": pairs["detail"].to_numpy(),
        }
    )


@dataclass(frozen=True)
class Outside:
    """An outside test as it is shown.

    ``figures`` are those of the images of known classes without shared ones; ``inside`` those of the run's test part,
    restricted to the classes that these have. ``drops`` holds, by measure name (``accuracy``) or class, inside less
    outside.
    ``called`` counts, for all images without shared ones, their own class (rows) and the answer (columns).
    """

    figures: Measured
    inside: Measured
    drops: dict[str, Measure]
    called: pd.DataFrame
    shared: pd.DataFrame


def report(run: Run, evaluation: Evaluation) -> Outside:
    """The figures of an evaluation beside the inside ones. Raises RunDamaged."""
    table = evaluation.table()
    fresh = table[table["twin"].isna()]
    remaining = set(evaluation.record.classes.values()) & set(fresh["label"])
    classes = sorted(remaining, key=run.classes.index)
    outside = metrics.answers(fresh[fresh["label"].isin(classes)], OUTSIDE)
    predictions = run.predictions()
    inside = metrics.answers(predictions[predictions["label"].isin(classes)], "test")
    figures = assessment.measured(outside)
    own = assessment.measured(inside, assessment.groups_of(inside.image_ids, run.groups()))
    answers = fresh[[f"score_{label}" for label in run.classes]].to_numpy().argmax(axis=1)
    called = pd.crosstab(fresh["own_label"], np.asarray(run.classes)[answers]).reindex(
        columns=list(run.classes), fill_value=0
    )
    drops = {"accuracy": difference(own.overall["accuracy"], figures.overall["accuracy"])}
    for label in classes:
        drops[label] = difference(own.per_class[label]["sensitivity"], figures.per_class[label]["sensitivity"])
    return Outside(figures, own, drops, called, table[table["twin"].notna()])


def difference(first: Measure, second: Measure) -> Measure:
    """First less second, two shares of different images, with a 95 % interval from their Wilson intervals.

    Source: method 10 of Newcombe, Statistics in Medicine 17 (1998) 873-890. Undefined where one of them is.
    """
    if not (first.is_defined and second.is_defined):
        return Measure(math.nan, note=first.note or second.note)
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Measure(value, value - below, value + above, first.n + second.n)
