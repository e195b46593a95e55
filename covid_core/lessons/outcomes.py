"""What came of a lesson: figures from the runs' predictions, with intervals, and the words that follow from them.

Nothing is taken for granted: where chance makes an effect fail to appear, the words say so.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from covid_core.errors import RunDamaged
from covid_core.evaluation import assessment, comparison, measures, metrics, resampling
from covid_core.evaluation.assessment import ALPHA
from covid_core.evaluation.metrics import Answers, Measure
from covid_core.formatting import count, interval, p_in_words, plural, points, share
from covid_core.lessons.catalogue import COVID, NORMAL, RARE, SHIFTED, TAG, TWIN, Lesson
from covid_core.lessons.preparation import OTHER_TAG, WITHOUT_TAG, Prepared
from covid_core.reports.comparison_text import in_words
from covid_core.runs import candidates
from covid_core.runs.store import Run

COIN = 0.5
AS_TRAINED, WITHOUT, OTHER = "With the letter", "Without it", "With the other letter"


@dataclass(frozen=True, eq=False)
class Row:
    """A line of a lesson's table: who answered, and its answers for the images of a test part.

    ``groups`` of shape (images,) says which images belong together (None: none do), and these count for fewer.
    ``accuracy`` has its interval; ``found`` is the sensitivity of each class; ``majority`` the share of the largest.
    """

    name: str
    answers: Answers = field(repr=False)
    accuracy: Measure
    found: dict[str, Measure]
    majority: Measure
    groups: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out.

    ``asked`` is what was to be predicted and ``of`` says in words what it is a share of. ``came_out`` says whether the
    effect that the lesson is about has appeared; ``headline`` and ``details`` say what happened either way.
    """

    asked: Measure
    of: str
    rows: tuple[Row, ...]
    came_out: bool
    headline: str
    details: tuple[str, ...]

    def against(self, prediction: float) -> str:
        """The prediction, in per cent, beside what came out."""
        said = f"You predicted {prediction:.0f} %. It is {in_words(self.asked)} {self.of}"
        off = abs(prediction / 100 - self.asked.value)
        if off < 0.005:
            return f"{said}: exactly as you said."
        inside = self.asked.low <= prediction / 100 <= self.asked.high
        near = "inside the interval" if inside else "outside the interval"
        return f"{said}: {points(off)} {'less' if self.asked.value < prediction / 100 else 'more'}, {near}."


def of(lesson: Lesson, prepared: Prepared) -> Outcome:
    """The outcome of a prepared lesson. Raises NotFound, RunDamaged or DataError."""
    runs = {training.role: prepared.run(training.role) for training in lesson.trainings}
    if lesson.key == TAG:
        return _tag(runs["tagged"], prepared.job.result["heat"])
    return {SHIFTED: _shifted, RARE: _rare, TWIN: _twin}[lesson.key](runs)


def table(outcome: Outcome) -> pd.DataFrame:
    """The rows as texts, for a page and for print: a column per class with the share of its images that are found."""
    return pd.DataFrame(
        [
            {
                "Model": row.name,
                "Right": in_words(row.accuracy),
                "Always the largest class": share(row.majority.value),
                **{f"{label} found": in_words(found) for label, found in row.found.items()},
                "Test images": count(row.answers.n),
            }
            for row in outcome.rows
        ]
    ).fillna("–")


def class_points(outcome: Outcome) -> pd.DataFrame:
    """What ``figures.evaluation.class_measures`` takes: the share of each class that each row finds."""
    return pd.DataFrame(
        [
            {"run": row.name, "label": label, "value": found.value, "low": found.low, "high": found.high}
            for row in outcome.rows
            for label, found in row.found.items()
        ]
    )


def confusion(row: Row) -> pd.DataFrame:
    """The row's answers by label, as ``figures.evaluation.confusion_matrix`` takes them."""
    return metrics.confusion(row.answers)


def _row(name: str, answers: Answers, together: pd.Series | None, accuracy: Measure | None = None) -> Row:
    """A row; ``together`` is the group of each image by image id (None: none do)."""
    groups = assessment.groups_of(answers, together)
    classes = [label for label, images in zip(answers.classes, answers.images, strict=True) if images]
    return Row(
        name,
        answers,
        accuracy or metrics.accuracy(answers, groups),
        {label: measures.share_of_class("sensitivity", answers, label, groups) for label in classes},
        assessment.majority_share(answers, groups),
        groups,
    )


def _tested(run: Run) -> Answers:
    return metrics.answers(run.predictions().sort_values("image_id", kind="stable"), "test")


# 1


def _shifted(runs: dict[str, Run]) -> Outcome:
    wrong, right = runs["shifted"], runs["right"]
    found, honest = candidates.assess(wrong, intervals=False), candidates.assess(right, intervals=False)
    answers, true_answers = _tested(wrong), _against_folders(wrong)
    came_out = not assessment.beats_majority(found)
    largest = f"always answering {found.majority_label} reaches {share(found.majority['test'].value)}"
    if found.only_answer:
        headline = (
            f"It calls every image {found.only_answer}, and that is the label of {count(answers.right.sum())} of "
            f"{plural(answers.n, 'test image')}: {share(found.test.value)}. It has learned nothing; {largest}."
        )
    else:
        beaten = "does not beat" if came_out else "beats"
        headline = f"It gives the label of {in_words(found.test)} of images and {beaten} the largest class: {largest}."
    rows = (
        _row("Shifted labels", answers, wrong.groups()),
        _row("Against the images", true_answers, wrong.groups()),
        _row("Right labels", _tested(right), right.groups()),
    )
    return Outcome(
        found.test,
        f"of {plural(answers.n, 'test image')}",
        rows,
        came_out,
        headline,
        (
            candidates.label_check(wrong).in_words,
            f"Against what the images show, the same answers are right on {in_words(rows[1].accuracy)}.",
            _with_right_labels(honest, rows[2]),
        ),
    )


def _against_folders(run: Run) -> Answers:
    """The run's answers on its test images, held against the class of each image's folder."""
    split = run.split().set_index("image_id")
    if "folder_label" not in split:
        raise RunDamaged(f"{run.name} does not say what its images show. Prepare the lesson again.")
    predictions = run.predictions()
    told = predictions.assign(label=split.loc[predictions["image_id"], "folder_label"].to_numpy())
    return metrics.answers(told.sort_values("image_id", kind="stable"), "test")


def _with_right_labels(honest: assessment.Assessment, row: Row) -> str:
    beats = "more than" if assessment.beats_majority(honest) else "not certainly more than"
    return (
        f"The same network with the right labels reaches {in_words(row.accuracy)} of {plural(row.answers.n, 'image')}, "
        f"{beats} the {share(row.majority.value)} of the largest class ({p_in_words(honest.p_majority)})."
    )


# 2


def _tag(run: Run, heat: dict[str, dict[str, float]]) -> Outcome:
    kept = {one.information["dataset"]["name"]: one.table() for one in run.evaluations()}
    if not {WITHOUT_TAG, OTHER_TAG} <= set(kept):
        raise RunDamaged("The answers without the letter are missing. Prepare the lesson again.")
    inside = _row(AS_TRAINED, _tested(run), run.groups())
    without, other = (
        _row(name, metrics.answers(kept[what].sort_values("image_id", kind="stable"), "test"), run.groups())
        for name, what in ((WITHOUT, WITHOUT_TAG), (OTHER, OTHER_TAG))
    )
    came_out = without.accuracy.high < inside.accuracy.low
    images = plural(inside.answers.n, "test image")
    headline = (
        f"With its letter on the image it is right on {in_words(inside.accuracy)} of {images}. Without it, on "
        f"{in_words(without.accuracy)}: {_beside_a_coin(without.accuracy)}. With the other hospital's letter, on "
        f"{in_words(other.accuracy)}."
    )
    if not came_out:
        headline += " This time the letter cannot be shown to decide: the intervals meet."
    called = ", ".join(
        f"{count(number)} {label}"
        for label, number in zip(without.answers.classes, without.answers.counts.sum(axis=0), strict=True)
    )
    return Outcome(
        without.accuracy,
        f"of {images}",
        (inside, without, other),
        came_out,
        headline,
        (f"Without a letter it calls these images: {called}.", _heat_in_words(heat)),
    )


def _beside_a_coin(measure: Measure) -> str:
    if measure.low <= COIN <= measure.high:
        return "not to be told from a coin"
    return "better than a coin" if measure.value > COIN else "worse than a coin"


def _heat_in_words(heat: dict[str, dict[str, float]]) -> str:
    own, other = heat["own"], heat["other"]
    if not own["images"]:
        return "No heat map has anything above 0, so it cannot be said where the network looks."
    return (
        f"Of the heat, {interval(own['share'], own['low'], own['high'])} lies in the corner of the image's own letter, "
        f"which is {share(own['chance'])} of the picture (mean of {plural(int(own['images']), 'image')}). Another "
        f"{interval(other['share'], other['low'], other['high'])} lies where the other hospital's letter would "
        "be: that there is none tells the network something too."
    )


# 3


def _rare(runs: dict[str, Run]) -> Outcome:
    rows = {role: _row(run.name, _tested(run), run.groups()) for role, run in runs.items()}
    plain = rows["none"]
    accurate = max(rows.values(), key=lambda row: row.accuracy.value)
    finder = max(rows.values(), key=lambda row: row.found[COVID].value)
    others = [row for role, row in rows.items() if role != "none"]
    more = [_gained(plain, row) for row in others]
    corrected = comparison.holm(np.array([p for _, _, p in more]))
    came_out = accurate is not finder and any(
        gained > lost and p <= ALPHA for (gained, lost, _), p in zip(more, corrected, strict=True)
    )
    if accurate is not finder:
        headline = (
            f"“{accurate.name}” has the highest accuracy, {in_words(accurate.accuracy)}, and finds "
            f"{in_words(accurate.found[COVID])} of the COVID images. “{finder.name}” finds "
            f"{in_words(finder.found[COVID])} of them, with an accuracy of {in_words(finder.accuracy)}."
        )
    else:
        headline = (
            f"This time “{finder.name}” has both the highest accuracy, {in_words(finder.accuracy)}, and finds the most "
            f"COVID images, {in_words(finder.found[COVID])}. On so few images that can be chance."
        )
    details = [
        f"“{plain.name}” is right on {in_words(plain.accuracy)} of {plural(plain.answers.n, 'image')} and overlooks "
        f"{count(_missed(plain))} of {plural(plain.found[COVID].n, 'COVID image')}. Calling everybody healthy is right "
        f"on {share(plain.majority.value)}."
    ]
    details += [_beside_plain(plain, row, float(p)) for row, p in zip(others, corrected, strict=True)]
    details.append(f"(p is corrected for {len(others)} comparisons.)")
    of = f"of {plural(plain.found[COVID].n, 'COVID image')} of the test part"
    return Outcome(plain.found[COVID], of, tuple(rows.values()), came_out, headline, tuple(details))


def _missed(row: Row) -> int:
    place = row.answers.classes.index(COVID)
    return int(row.answers.images[place] - row.answers.counts[place, place])


def _sick(row: Row) -> np.ndarray:
    return row.answers.y_true == row.answers.classes.index(COVID)


def _gained(plain: Row, row: Row) -> tuple[int, int, float]:
    """COVID images that a way out alone finds, that the plain run alone finds, and p of the exact McNemar test, in
    which images that belong together change sides together."""
    sick = _sick(plain)
    first, second = (one.answers.right[sick] for one in (row, plain))
    gained, lost = int((first & ~second).sum()), int((second & ~first).sum())
    if plain.groups is None:
        return gained, lost, float(comparison.mcnemar(np.array(gained), np.array(lost)))
    p = comparison.mcnemar_of_groups(np.array([first, second]), plain.groups[sick])
    return gained, lost, float(p[0, 1])


def _beside_plain(plain: Row, row: Row, p: float) -> str:
    """What a way out finds more than the plain run, on the same images, and what it costs; ``p`` is corrected."""
    sick = _sick(plain)
    gained, lost, _ = _gained(plain, row)
    chance = "more than chance" if p <= ALPHA else "that could be chance"
    alarms = int((~row.answers.right[~sick]).sum()) - int((~plain.answers.right[~sick]).sum())
    changed = f"{plural(abs(alarms), 'false alarm')} {'more' if alarms >= 0 else 'fewer'}"
    return (
        f"“{row.name}” finds {plural(gained, 'COVID image')} that the plain run overlooks and overlooks {count(lost)} "
        f"that it finds ({chance}, exact McNemar {p_in_words(p)}), for {changed} among "
        f"{plural(int((~sick).sum()), NORMAL + ' image')}."
    )


# 4


def _twin(runs: dict[str, Run]) -> Outcome:
    groups = runs["grouped"].split().set_index("image_id")["group"]
    apart, together = (_clustered(runs[role], groups) for role in ("stratified", "grouped"))
    split = runs["stratified"].split()
    group = groups.loc[split["image_id"]].to_numpy()
    trained, tested = (split["part"] == "train").to_numpy(), (split["part"] == "test").to_numpy()
    known = int(np.isin(group[tested], group[trained]).sum())
    came_out = apart.accuracy.low > together.accuracy.high
    headline = (
        f"With a random split, the model is right on {in_words(apart.accuracy)} of {plural(apart.answers.n, 'image')}. "
        f"With twins kept together the same model is right on {in_words(together.accuracy)}: "
        f"{_beside_a_coin(together.accuracy)}."
    )
    if not came_out:
        headline += " This time the two intervals meet, so chance may have made the difference."
    return Outcome(
        apart.accuracy,
        f"of {plural(apart.answers.n, 'test image')}",
        (apart, together),
        came_out,
        headline,
        (
            f"Image by image, {count(known)} of {plural(int(tested.sum()), 'test image')} had a twin among the "
            f"training "
            "images. The labels were dealt without a look at the images, so all above one half is images known again.",
            "The intervals draw patients again, not images: images of one patient are answered alike.",
        ),
    )


def _clustered(run: Run, groups: pd.Series) -> Row:
    """A row whose accuracy has an interval that takes twins together."""
    answers = _tested(run)
    codes = assessment.groups_of(answers, groups)
    right = answers.right.astype(np.float32)
    drawn = resampling.replicates(
        lambda times: {"accuracy": right @ times.astype(np.float32) / times.sum(axis=0)}, answers.y_true, codes
    )
    low, high = map(float, resampling.interval(drawn["accuracy"]))
    value = float(right.mean()) if answers.n else math.nan
    return _row(run.name, answers, groups, Measure(value, low, high, answers.n))
