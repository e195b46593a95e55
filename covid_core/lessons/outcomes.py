"""The outcome of a lesson: figures from the runs' predictions, with intervals, and the words that follow from them.

Where chance hides an effect, the words report that too.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from covid_core.errors import RunDamaged
from covid_core.evaluation import assessment, comparison, measures, metrics
from covid_core.evaluation.assessment import ALPHA
from covid_core.evaluation.metrics import Answers, Measure
from covid_core.formatting import count, decimals, interval, p_in_words, plural, points, share
from covid_core.lessons.catalogue import COVID, DUPLICATE, NORMAL, RARE, SHIFTED, TAG, Lesson
from covid_core.lessons.preparation import OTHER_TAG, WITHOUT_TAG, Prepared
from covid_core.reports import run_text
from covid_core.reports.comparison_text import in_words
from covid_core.runs import candidates
from covid_core.runs.store import Run

CHANCE = 0.5
AS_TRAINED, WITHOUT, OTHER = "With the letter", "Without it", "With the other letter"


@dataclass(frozen=True, eq=False)
class Row:
    """A line of a lesson's table: a model and its predictions for the images of a test part.

    ``groups`` of shape (images,) holds the cluster of each image (None: each is its own).
    ``accuracy`` has its interval; ``sensitivity`` is by class; ``majority`` is the share of the largest class.
    """

    name: str
    predictions: Answers = field(repr=False)
    accuracy: Measure
    sensitivity: dict[str, Measure]
    majority: Measure
    groups: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out.

    ``result`` is what was to be predicted, ``of`` names what it is a share of. ``came_out``: whether the effect has
    appeared; ``headline`` and ``details`` are for either case.
    """

    result: Measure
    of: str
    rows: tuple[Row, ...]
    came_out: bool
    headline: str
    details: tuple[str, ...]

    def against(self, prediction: float) -> str:
        """The prediction, in per cent, beside what came out."""
        text = f"You predicted {decimals(prediction, 0)} %. It is {in_words(self.result)} {self.of}"
        off = abs(prediction / 100 - self.result.value)
        if off < 0.005:
            return f"{text}: exactly as you predicted."
        inside = self.result.low <= prediction / 100 <= self.result.high
        near = "inside the interval" if inside else "outside the interval"
        return f"{text}: {points(off)} {'less' if self.result.value < prediction / 100 else 'more'}, {near}."


def of(lesson: Lesson, prepared: Prepared) -> Outcome:
    """The outcome of a prepared lesson. Raises UnknownId, RunDamaged or DataError."""
    runs = {training.role: prepared.run(training.role) for training in lesson.trainings}
    if lesson.key == TAG:
        return _tag(runs["tagged"], prepared.job.result["heat"])
    return {SHIFTED: _shifted, RARE: _rare, DUPLICATE: _duplicates}[lesson.key](runs)


def table(outcome: Outcome) -> pd.DataFrame:
    """The rows as texts, for a page and for print: a column per class with its sensitivity."""
    return pd.DataFrame(
        [
            {
                "Model": row.name,
                "Accuracy": in_words(row.accuracy),
                "Majority baseline": share(row.majority.value),
                "Test images": count(row.predictions.n),  # not last: only some rows may have all classes
                **{f"{label} sensitivity": in_words(measure) for label, measure in row.sensitivity.items()},
            }
            for row in outcome.rows
        ]
    ).fillna("–")


def class_points(outcome: Outcome) -> pd.DataFrame:
    """The sensitivity of each row for each class, for ``figures.evaluation.class_measures``."""
    return pd.DataFrame(
        [
            {"run": row.name, "label": label, "value": measure.value, "low": measure.low, "high": measure.high}
            for row in outcome.rows
            for label, measure in row.sensitivity.items()
        ]
    )


def _row(name: str, predictions: Answers, together: pd.Series | None) -> Row:
    """A row; ``together`` is the cluster of each image by image id (None: each is its own)."""
    groups = assessment.groups_of(predictions.image_ids, together)
    classes = [label for label, images in zip(predictions.classes, predictions.images, strict=True) if images]
    return Row(
        name,
        predictions,
        metrics.accuracy(predictions, groups),
        {label: measures.share_of_class("sensitivity", predictions, label, groups) for label in classes},
        assessment.majority_share(predictions, groups),
        groups,
    )


def _test_predictions(run: Run) -> Answers:
    return metrics.answers(run.predictions().sort_values("image_id", kind="stable"), "test")


# 1


def _shifted(runs: dict[str, Run]) -> Outcome:
    wrong, right = runs["shifted"], runs["right"]
    shifted, honest = candidates.assess(wrong, intervals=False), candidates.assess(right, intervals=False)
    predictions, true_predictions = _test_predictions(wrong), _against_folders(wrong)
    came_out = not assessment.beats_majority(shifted)
    largest = f"the majority baseline ({shifted.majority_label}) reaches {share(shifted.majority['test'].value)}"
    if shifted.only_answer:
        headline = (
            f"The network predicts {shifted.only_answer}, and that is the label of {count(predictions.right.sum())} of "
            f"{plural(predictions.n, 'test image')}: {share(shifted.test.value)}. It has learned nothing; {largest}."
        )
    else:
        beaten = "does not beat" if came_out else "beats"
        headline = (
            f"The network predicts the label of {in_words(shifted.test)} of images "
            f"and {beaten} the baseline: {largest}."
        )
    rows = (
        _row("Shifted labels", predictions, wrong.groups()),
        _row("Against the images", true_predictions, wrong.groups()),
        _row("Right labels", _test_predictions(right), right.groups()),
    )
    return Outcome(
        shifted.test,
        f"of {plural(predictions.n, 'test image')}",
        rows,
        came_out,
        headline,
        (
            run_text.labels(candidates.label_check(wrong)),
            f"Against what the images show, the same predictions are right on {in_words(rows[1].accuracy)}.",
            _with_right_labels(honest, rows[2]),
        ),
    )


def _against_folders(run: Run) -> Answers:
    """The run's predictions on its test images, against the class of each image's folder."""
    split = run.split().set_index("image_id")
    if "folder_label" not in split:
        raise RunDamaged(f"{run.name} has no record of what its images show. Prepare the lesson again.")
    predictions = run.predictions()
    relabelled = predictions.assign(label=split.loc[predictions["image_id"], "folder_label"].to_numpy())
    return metrics.answers(relabelled.sort_values("image_id", kind="stable"), "test")


def _with_right_labels(honest: assessment.Assessment, row: Row) -> str:
    beats = "more than" if assessment.beats_majority(honest) else "not significantly more than"
    return (
        f"The same network with the right labels reaches {in_words(row.accuracy)} of "
        f"{plural(row.predictions.n, 'image')}. That is {beats} the majority baseline of {share(row.majority.value)} "
        f"({p_in_words(honest.p_majority)})."
    )


# 2


def _tag(run: Run, heat: dict[str, dict[str, float]]) -> Outcome:
    tables = {one.record.dataset.name: one.table() for one in run.evaluations()}
    if not {WITHOUT_TAG, OTHER_TAG} <= set(tables):
        raise RunDamaged("The predictions without the letter are missing. Prepare the lesson again.")
    inside = _row(AS_TRAINED, _test_predictions(run), run.groups())
    without, other = (
        _row(name, metrics.answers(tables[what].sort_values("image_id", kind="stable"), "test"), run.groups())
        for name, what in ((WITHOUT, WITHOUT_TAG), (OTHER, OTHER_TAG))
    )
    came_out = without.accuracy.high < inside.accuracy.low
    images = plural(inside.predictions.n, "test image")
    headline = (
        f"With its letter on the image the network is right on {in_words(inside.accuracy)} of {images}. Without it, on "
        f"{in_words(without.accuracy)}: {_beside_chance(without.accuracy)}. With the other hospital's letter, on "
        f"{in_words(other.accuracy)}."
    )
    if not came_out:
        headline += " This time the letter has no significant effect: the intervals overlap."
    predicted = ", ".join(
        f"{count(number)} {label}"
        for label, number in zip(without.predictions.classes, without.predictions.counts.sum(axis=0), strict=True)
    )
    return Outcome(
        without.accuracy,
        f"of {images}",
        (inside, without, other),
        came_out,
        headline,
        (f"Without a letter the network predicts: {predicted}.", _heat_in_words(heat)),
    )


def _beside_chance(measure: Measure) -> str:
    if measure.low <= CHANCE <= measure.high:
        return "no better than chance"
    return "better than chance" if measure.value > CHANCE else "worse than chance"


def _heat_in_words(heat: dict[str, dict[str, float]]) -> str:
    own, other = heat["own"], heat["other"]
    if not own["images"]:
        return "All heat maps are empty, so they do not locate the evidence."
    return (
        f"Of the heat, {interval(own['share'], own['low'], own['high'])} lies in the corner of the image's own letter "
        f"(mean of {plural(int(own['images']), 'image')}). The corner is {share(own['chance'])} of the image. Another "
        f"{interval(other['share'], other['low'], other['high'])} lies in the corner of the other hospital's letter. "
        "Its absence is a cue too."
    )


# 3


def _rare(runs: dict[str, Run]) -> Outcome:
    rows = {role: _row(run.name, _test_predictions(run), run.groups()) for role, run in runs.items()}
    plain = rows["none"]
    accurate = max(rows.values(), key=lambda row: row.accuracy.value)
    finder = max(rows.values(), key=lambda row: row.sensitivity[COVID].value)
    others = [row for role, row in rows.items() if role != "none"]
    more = [_gained(plain, row) for row in others]
    corrected = comparison.holm(np.array([p for _, _, p in more]))
    came_out = accurate is not finder and any(
        gained > lost and p <= ALPHA for (gained, lost, _), p in zip(more, corrected, strict=True)
    )
    if accurate is not finder:
        headline = (
            f"“{accurate.name}” has the highest accuracy, {in_words(accurate.accuracy)}, and detects "
            f"{in_words(accurate.sensitivity[COVID])} of the COVID images. “{finder.name}” detects "
            f"{in_words(finder.sensitivity[COVID])} of them, with an accuracy of {in_words(finder.accuracy)}."
        )
    else:
        headline = (
            f"This time “{finder.name}” has both the highest accuracy, {in_words(finder.accuracy)}, and detects the "
            f"most COVID images, {in_words(finder.sensitivity[COVID])}. On so few images that can be chance."
        )
    missed, sick = int((_sick(plain) & ~plain.predictions.right).sum()), plain.sensitivity[COVID].n
    details = [
        f"“{plain.name}” is right on {in_words(plain.accuracy)} of {plural(plain.predictions.n, 'image')} and "
        f"overlooks {count(missed)} of {plural(sick, 'COVID image')}. The majority baseline is "
        f"{share(plain.majority.value)}."
    ]
    details += [_beside_plain(plain, row, float(p)) for row, p in zip(others, corrected, strict=True)]
    details.append(f"(p is corrected for {len(others)} comparisons.)")
    of = f"of {plural(sick, 'COVID image')} of the test part"
    return Outcome(plain.sensitivity[COVID], of, tuple(rows.values()), came_out, headline, tuple(details))


def _sick(row: Row) -> np.ndarray:
    return row.predictions.y_true == row.predictions.classes.index(COVID)


def _gained(plain: Row, row: Row) -> tuple[int, int, float]:
    """COVID images that a remedy alone detects, that the plain run alone detects, and p of the exact McNemar test, in
    which the images of a cluster change sides together."""
    sick = _sick(plain)
    first, second = (one.predictions.right[sick] for one in (row, plain))
    gained, lost = int((first & ~second).sum()), int((second & ~first).sum())
    groups = np.arange(len(sick)) if plain.groups is None else plain.groups
    p = comparison.mcnemar_of_groups(np.array([first, second]), groups[sick])
    return gained, lost, float(p[0, 1])


def _beside_plain(plain: Row, row: Row, p: float) -> str:
    """What a remedy detects more than the plain run, on the same images, and what it costs; ``p`` is corrected."""
    sick = _sick(plain)
    gained, lost, _ = _gained(plain, row)
    chance = "significant" if p <= ALPHA else "not significant"
    alarms = int((~row.predictions.right[~sick]).sum()) - int((~plain.predictions.right[~sick]).sum())
    changed = plural(abs(alarms), f"{'more' if alarms >= 0 else 'fewer'} false alarm")
    return (
        f"“{row.name}” detects {plural(gained, 'COVID image')} that the plain run overlooks and overlooks "
        f"{count(lost)} that it detects ({chance}, exact McNemar {p_in_words(p)}). It has {changed} among "
        f"{plural(int((~sick).sum()), NORMAL + ' image')}."
    )


# 4


def _duplicates(runs: dict[str, Run]) -> Outcome:
    groups = runs["grouped"].split().set_index("image_id")["group"]
    apart, together = (_row(run.name, _test_predictions(run), groups) for run in (runs["stratified"], runs["grouped"]))
    split = runs["stratified"].split()
    tested, leaked = leakage(split, groups)
    came_out = apart.accuracy.low > together.accuracy.high
    headline = (
        f"With a random split, the model is right on {in_words(apart.accuracy)} of "
        f"{plural(apart.predictions.n, 'image')}. With a group split the same model is right on "
        f"{in_words(together.accuracy)}: {_beside_chance(together.accuracy)}."
    )
    if not came_out:
        headline += " This time the two intervals overlap: the difference is not significant."
    return Outcome(
        apart.accuracy,
        f"of {plural(apart.predictions.n, 'test image')}",
        (apart, together),
        came_out,
        headline,
        (
            f"With a random split, {count(leaked)} of {plural(tested, 'test image')} had a duplicate among "
            "the training images. The labels are random, so every accuracy above one half is data leakage.",
            "The intervals are cluster-adjusted: the images of one patient form a cluster.",
        ),
    )


def leakage(split: pd.DataFrame, groups: pd.Series) -> tuple[int, int]:
    """Test images of a split, and how many of them have a duplicate among the training images.

    ``groups`` holds the group of each image by image id.
    """
    group = groups.loc[split["image_id"]].to_numpy()
    tested, trained = (split["part"] == "test").to_numpy(), (split["part"] == "train").to_numpy()
    return int(tested.sum()), int(np.isin(group[tested], group[trained]).sum())
