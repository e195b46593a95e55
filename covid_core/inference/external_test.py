"""A finished run on images from elsewhere: what is left of its figures, without the images that it was trained on.

The outside images are another data set. Images that show the same picture as one of the run's own (of any part) are
found, counted and left out; where the two data sets disagree on such an image's class, that is a label conflict. The
test is external only if no source of the images takes part in training (see ``Origin``).
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from covid_core.data import duplicates
from covid_core.data.dataset import OF_MEMBER, Dataset
from covid_core.data.imports.importing import SUMMARY_SIZE
from covid_core.data.pixels import open_pixels
from covid_core.data.split import TEST
from covid_core.errors import DataError, InvalidChoice, RunDamaged
from covid_core.evaluation import assessment, calibration, conformal, metrics, recalibration
from covid_core.evaluation.assessment import Measured
from covid_core.evaluation.metrics import Measure
from covid_core.evaluation.recalibration import Recalibrated
from covid_core.inference.network import batch_for, with_scores
from covid_core.inference.predictor import Predictor
from covid_core.inference.region.lung_region import cut_images
from covid_core.runs import prediction_sets, temperature_scaling
from covid_core.runs.pinned_dataset import dataset_of
from covid_core.runs.store import Evaluation, EvaluationRecord, OutsideDataset, Run
from covid_core.work import Progress, blocks, part_of, silent
from covid_core.workspace import Workspace

SHARED_COLUMNS = ("image_id", "own_label", "label", "twin", "twin_label", "twin_part", "detail")
OUTSIDE = "outside"  # the part that outside images are in
SAME, EXTERNAL, UNNAMED = ORIGINS = ("same sources", "external", "not on record")
NO_CHECK = "The images were not checked: the run has no reference, or tested them before checks were kept."


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
    source_match: dict[str, float] | None = None,
) -> Evaluation:
    """Answer for all images of another data set, and keep the answers with the run, and ``source_match`` (see there).

    Raises InvalidChoice (see ``mapped``), RunDamaged, DataError.
    """
    classes = mapped(run, outside.counts, mapping or {})
    if outside.id == run.dataset.id:
        raise InvalidChoice("The run was trained on this data set. Its test part is its inside figure already.")
    predictor = Predictor.open(workspace, run)
    pixels, outlined = _network_images(workspace, run, predictor, outside, part_of(progress, 0.0, 0.2))
    logits, features, refused = _answers(predictor.of_cut, pixels, part_of(progress, 0.2, 0.9))
    refused[~outlined] = True
    shared = _shared(workspace, run, outside, part_of(progress, 0.9, 1.0))
    table = _table(outside, run, classes, logits).assign(refused=refused).merge(shared, on="image_id", how="left")
    record = EvaluationRecord(
        created=time.time(),
        dataset=OutsideDataset(id=outside.id, name=outside.name, version=outside.version),
        classes=classes,
        unknown={label: images for label, images in outside.counts.items() if label not in classes},
        shared=int(table["twin"].notna().sum()),
        conflicts=int((table["twin"].notna() & (table["label"] != table["twin_label"])).sum()),
        method=f"detail at {duplicates.FINE} px correlates from {duplicates.SAME_DETAIL}",
        source_match=source_match,
    )
    run.note_opening(f"outside test: {outside.name}")
    return run.write_evaluation(record, table, features)


def _network_images(
    workspace: Workspace, run: Run, predictor: Predictor, outside: Dataset, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """What the run's network takes of all images, and whether what it needs of each is there: an outline, if any."""
    if predictor.lungs is None:
        return open_pixels(workspace, outside, run.spec.pixels, progress), np.ones(len(outside.images), bool)
    rows = np.arange(len(outside.images))
    cut = cut_images(workspace, outside, predictor.lungs, run.spec.whole, rows, progress)
    return cut.pixels, cut.outlined


def _answers(
    predictor: Predictor, pixels: np.ndarray, progress: Progress
) -> tuple[np.ndarray, np.ndarray, pd.arrays.BooleanArray]:
    """Logits and features of all images, and whether a check refuses each; missing where no check was made."""
    parts, refused = [], list[bool | None]()
    for some in blocks(pixels, 16 * batch_for(predictor.size)):
        logits, features = predictor.outputs(np.asarray(some))
        parts.append((logits, features))
        judged = predictor.reference.judgements(np.asarray(some), features) if predictor.reference else []
        for checks in [{one.passed for one in checks} for checks, _ in judged] or [{None}] * len(some):
            refused.append(None if checks == {None} else False in checks)
        progress(len(refused) / len(pixels), f"Predicting: {len(refused):,} of {len(pixels):,} images")
    of_all, features_of_all = map(np.concatenate, zip(*parts, strict=True))
    return of_all, features_of_all, pd.array(refused, dtype="boolean")


def _table(outside: Dataset, run: Run, classes: Mapping[str, str], logits: np.ndarray) -> pd.DataFrame:
    """A prediction table; images of classes that the run does not know keep their own label."""
    images = outside.images
    table = pd.DataFrame({"image_id": images["image_id"], "part": OUTSIDE, "own_label": images["label"]})
    table["source"] = images["source"]
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
class Origin:
    """Whether outside images come from the sources of the run's training: ``kind`` is one of ORIGINS.

    ``named`` counts the outside images of each shared source, ``images`` those that the training data has as well;
    either makes the sources the same. ``unnamed`` and ``unnamed_inside`` are images outside and of the training data
    without a source on record: where there are any, and nothing is shared, it cannot be known. ``match`` is what a
    classifier of sources makes of the images (``EvaluationRecord.source_match``); it decides nothing.
    """

    kind: str
    named: dict[str, int]
    images: int
    unnamed: int
    unnamed_inside: int
    match: dict[str, float] | None = None


@dataclass(frozen=True)
class Outside:
    """An outside test as it is shown.

    ``figures`` are those of the images of known classes without shared ones; ``inside`` those of the run's test part,
    restricted to the classes that these have. ``drops`` holds, by measure name (``accuracy``) or class, inside less
    outside.
    ``called`` counts, for all images without shared ones, their own class (rows) and the answer (columns).
    ``reliability`` holds, for the images of ``inside`` and ``outside``, what is promised with an answer: the expected
    calibration error of what Predict shows for usual images, the coverage of prediction sets, and outside the share of
    refusals.
    ``tested`` is the table of the images of ``figures``, ``features`` float (n, d) belong to its rows where on record.
    """

    figures: Measured
    inside: Measured
    drops: dict[str, Measure]
    called: pd.DataFrame
    shared: pd.DataFrame
    origin: Origin
    reliability: dict[str, dict[str, Measure]]
    tested: pd.DataFrame
    features: np.ndarray | None = None


def report(run: Run, evaluation: Evaluation) -> Outside:
    """The figures of an evaluation beside the inside ones. Raises RunDamaged."""
    table = evaluation.table()
    fresh = table[table["twin"].isna()]
    remaining = set(evaluation.record.classes.values()) & set(fresh["label"])
    classes = sorted(remaining, key=run.classes.index)
    tested, predictions = fresh[fresh["label"].isin(classes)], run.predictions()
    own_tested = predictions[predictions["label"].isin(classes)]
    inside = metrics.answers(own_tested, "test")
    groups = assessment.groups_of(inside.image_ids, run.groups())
    figures, own = assessment.measured(metrics.answers(tested, OUTSIDE)), assessment.measured(inside, groups)
    answers = fresh[[f"score_{label}" for label in run.classes]].to_numpy().argmax(axis=1)
    called = pd.crosstab(fresh["own_label"], np.asarray(run.classes)[answers]).reindex(
        columns=list(run.classes), fill_value=0
    )
    drops = {"accuracy": difference(own.overall["accuracy"], figures.overall["accuracy"])}
    for label in classes:
        drops[label] = difference(own.per_class[label]["sensitivity"], figures.per_class[label]["sensitivity"])
    reliability = {
        "inside": _reliability(run, own_tested, "test", groups),
        "outside": {**_reliability(run, tested, OUTSIDE), "refused": _refused(tested)},
    }
    shared, features = table[table["twin"].notna()], evaluation.features()
    if features is not None:
        features = features[tested.index]
    sources = replace(origin(run, table), match=evaluation.record.source_match)
    return Outside(figures, own, drops, called, shared, sources, reliability, tested, features)


def origin(run: Run, table: pd.DataFrame) -> Origin:
    """What the images of an outside test share with the run's training data: sources by name, and images."""
    split = run.split()
    held_out = (split["part"] == TEST) & _sources(split).isin(run.spec.split.held_out)
    trained = split[~held_out]
    own, theirs = _sources(trained), _sources(table)
    named = theirs[(theirs != "") & theirs.map(_bare).isin(set(own.map(_bare)))].value_counts().to_dict()
    images = int(table["twin"].isin(trained["image_id"]).sum())
    unnamed, unnamed_inside = (int((one == "").sum()) for one in (theirs, own))
    kind = SAME if named or images else UNNAMED if unnamed or unnamed_inside else EXTERNAL
    return Origin(kind, named, images, unnamed, unnamed_inside)


def _sources(table: pd.DataFrame) -> pd.Series:
    """The source of each image, empty where there is none on record; earlier versions kept none."""
    return table["source"].fillna("") if "source" in table else pd.Series("", index=table.index)


def _bare(source: str) -> str:
    """A source's name without that of the member of a merge that it came with."""
    return source.rpartition(OF_MEMBER)[2].strip().casefold()


def _reliability(run: Run, table: pd.DataFrame, part: str, groups: np.ndarray | None = None) -> dict[str, Measure]:
    """Of a part of a prediction table, restricted to known classes."""

    def calibration_error() -> Measure:
        calibrated = temperature_scaling.of(run)
        shown = calibration.tempered(table, calibrated.temperature) if calibrated.is_defined else table
        return assessment.measured(metrics.answers(shown, part), groups).overall["expected_calibration_error"]

    def coverage() -> Measure:
        return conformal.evaluated(prediction_sets.of(run), table, part=part).covered

    figures = {}
    for name, of in (("expected_calibration_error", calibration_error), ("coverage", coverage)):
        try:
            figures[name] = of()
        except (DataError, RunDamaged) as reason:
            figures[name] = Measure(math.nan, note=str(reason))
    return figures


def _refused(table: pd.DataFrame) -> Measure:
    """The share of images that a check refuses."""
    checked = table["refused"].dropna() if "refused" in table else []
    return metrics.wilson(int(sum(checked)), len(checked)) if len(checked) else Measure(math.nan, note=NO_CHECK)


def recalibrated(one: Outside, images: int = recalibration.USUAL, seed: int = recalibration.SEED) -> Recalibrated:
    """What a small labelled sample of the outside images brings. Raises InvalidChoice or DataError."""
    return recalibration.recalibrated(one.tested, OUTSIDE, images, seed, one.features)


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
