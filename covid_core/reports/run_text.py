"""One run in plain English: its state, its accuracy and what it rests on."""

from collections import Counter

import pandas as pd

from covid_core.data.split import HALVED_FROM, PARTS
from covid_core.data.summary import RECORDED
from covid_core.evaluation.calibration import Calibration
from covid_core.evaluation.conformal import Evaluated
from covid_core.evaluation.label_check import LabelCheck
from covid_core.evaluation.metrics import Measure
from covid_core.evaluation.repeats import ImageChoice
from covid_core.evaluation.subgroups import FEWEST, Subgroups
from covid_core.formatting import count, decimals, duration, interval, p_in_words, p_value, plural, points, share
from covid_core.inference.robustness import CHANGES, Robustness
from covid_core.reports import evidence_text
from covid_core.runs import candidates
from covid_core.runs.pinned_dataset import Missing, Version
from covid_core.runs.store import BrokenRun, Run

LONGEST_NUMBER = 4  # digits of a number of graphics cards
TRAINING_TIME = "Feature extraction and all epochs. Reused features count with the time that they once took."
NO_FACTS = (
    "Sex, age, view and source of the test images are unknown. They come with a table on import, or with DICOM files."
)
SUBGROUPS = (
    "Each subgroup is tested against the other images of the same fact, within classes: a permutation test that keeps "
    "images of one cluster (duplicates, one patient) together, with Holm's correction for all tests."
)
BALANCED = {"images": "Images", "patients": "Patients", "label": "Class", **RECORDED}
FEW_FOR_A_DROP = 100  # test images; of 29, Holm's p over all changes was 0.07 where accuracy had halved
MOST_VALUES = 12  # of a fact in a table; sources may be hundreds
MISSING: dict[Missing, str] = {
    "gone": "its data set is not here any more",
    "replaced": "another data set has its place",
}


def training_time(run: Run) -> str:
    """The one training time of a run: ``20 s, of which feature extraction 18 s (reused)``; a dash where unknown."""
    seconds, features = candidates.training_seconds(run), candidates.feature_seconds(run)
    if not features > 0:
        return duration(seconds)
    reused = " (reused)" if candidates.FEATURES in (run.result.get("reused") or {}) else ""
    return f"{duration(seconds)}, of which feature extraction {duration(features)}{reused}"


def device(recorded: str) -> str:
    """What trained a run, from its record: ``CPU``, or a number of ``GPU``."""
    number, _, kind = recorded.partition(" ")
    if kind == "GPU" and number.isdecimal() and len(number) <= LONGEST_NUMBER:
        return plural(int(number), "graphics card")
    return "processor" if recorded == "CPU" else recorded


def region(run: Run) -> str:
    """What the saved model takes, and how many images had no box around the lungs; empty for other regions."""
    without = run.result.get("without_outline")
    if without is None:
        return ""
    by_class = Counter[str]()
    for counts in without.values():
        by_class.update(counts)
    total, images = by_class.total(), sum(len(run.split()[run.split()["part"] == part]) for part in without)
    classes = ", ".join(f"{label} {count(number)}" for label, number in by_class.items())
    note = (
        f" ({classes}). Training left them out. In tests they took their middle, and Predict refuses such"
        if total
        else ""
    )
    return (
        "The saved model takes the box around the lungs, not the whole image. "
        f"Images without a lung outline: {count(total)} of {count(images)}{note}."
    )


def epochs(run: Run) -> str:
    """How many epochs a finished run did, and whose weights it has: ``23 of at most 60, weights of epoch 13``."""
    done, chosen = run.result.get("epochs_done"), run.result.get("best_epoch")
    if done is None:
        return "–"
    if chosen:  # it counts within the last stage, a curve over all
        stages = run.history()["stage"].astype(str).to_numpy()
        chosen += int((stages != stages[-1]).sum()) if len(stages) else 0
    weights = f", weights of epoch {count(chosen)}" if chosen else ""
    return f"{count(done)} of at most {count(run.spec.total_epochs)}{weights}"


def line(run: Run) -> str:
    """A run in one line: id, state with its reason, accuracy. Raises RunDamaged."""
    status = run.status()
    earlier = run.result.get("taken_over_from")
    reused = f"  (result of {earlier}, which has the same settings and images)" if earlier else ""
    return f"{run.id}  {status.state} {status.reason}  {accuracy(run)}{reused}".rstrip()


def damaged(entry: BrokenRun) -> str:
    """What cannot be opened, in one line."""
    return f"{entry.id}  damaged: {entry.reason}"


def accuracy(run: Run) -> str:
    """The accuracy of a finished run with the verdict of its audit; empty before. Raises RunDamaged."""
    if not run.result:
        return ""
    return f"test accuracy {share(run.accuracy('test'))}, {evidence_text.of(run).in_passing}"


def balance(parts: pd.DataFrame) -> str:
    """In what training and test images differ most; of a ``summary.part_balance``."""
    images = parts.iloc[0]
    shares = parts[~parts["fact"].isin(["images", "patients"])].assign(
        of_train=lambda rows: rows["train"] / images["train"], of_test=lambda rows: rows["test"] / images["test"]
    )
    row = shares.loc[(shares["of_train"] - shares["of_test"]).abs().idxmax()]
    return (
        f"Training and test images differ most in {BALANCED[row['fact']].lower()} {row['value']}: "
        f"{share(row['of_train'])} against {share(row['of_test'])}."
    )


def balance_table(parts: pd.DataFrame) -> pd.DataFrame:
    """A ``summary.part_balance`` in words: numbers with their share of the part, of each fact MOST_VALUES values."""
    counts, images = parts[list(PARTS)], parts.loc[0, list(PARTS)]
    words = {
        part.capitalize(): [
            count(value) if fact in ("images", "patients") else f"{count(value)} ({share(value / images[part])})"
            for fact, value in zip(parts["fact"], counts[part], strict=True)
        ]
        for part in PARTS
    }
    table = pd.DataFrame({"On record": parts["fact"].map(BALANCED), "Value": parts["value"], **words})
    return table[parts.groupby("fact").cumcount() < MOST_VALUES]


def subgroups(measured: Subgroups) -> list[str]:
    """Whether the run is worse in a subgroup, the conclusion first."""
    if not measured.unknown:
        return [NO_FACTS]
    if not measured.tests:
        return [
            f"No subgroup can be tested: it and the others need {plural(FEWEST, 'independent image')} each, and a "
            "class in common."
        ]
    corrected = f"Holm's correction for {plural(measured.tests, 'test')}"
    if not measured.worse:
        return [
            f"No subgroup is worse than chance allows ({corrected}).",
            "In a small subgroup only a large difference can be detected: compare the intervals.",
        ]
    worst, *further = measured.worse
    reached = interval(worst.accuracy.value, worst.accuracy.low, worst.accuracy.high)
    return [
        f"{RECORDED[worst.fact]} {worst.value} is worse than chance allows: {reached} of "
        f"{plural(worst.images, 'test image')} are correct.",
        f"At equal classes that is {points(-worst.difference)} below the others ({p_in_words(worst.p_holm)}, "
        f"{corrected}).",
        *([f"Worse as well: {', '.join(f'{RECORDED[one.fact]} {one.value}' for one in further)}."] if further else []),
    ]


def subgroup_table(measured: Subgroups) -> pd.DataFrame:
    """One row per subgroup, in words."""
    return pd.DataFrame(
        {
            "On record": [RECORDED[row.fact] for row in measured.rows],
            "Value": [row.value for row in measured.rows],
            "Images": [count(row.images) for row in measured.rows],
            "Patients": ["–" if row.patients is None else count(row.patients) for row in measured.rows],
            "Accuracy [95 % interval]": [_bounded(row.accuracy) for row in measured.rows],
            "Difference at equal classes": [points(row.difference) for row in measured.rows],
            "p (Holm)": [p_value(row.p_holm) for row in measured.rows],
            "p": [p_value(row.p) for row in measured.rows],
            "Balanced accuracy [95 % interval]": [_bounded(row.balanced_accuracy) for row in measured.rows],
        }
    )


def subgroups_in_words(measured: Subgroups) -> str:
    """The accuracy of each subgroup, for who cannot view the figure."""
    words = (f"{RECORDED[row.fact]} {row.value} {share(row.accuracy.value)}" for row in measured.rows)
    return f"Test accuracy of each subgroup: {'; '.join(words)}"


def _bounded(measure: Measure) -> str:
    return interval(measure.value, measure.low, measure.high)


def subgroups_left_out(measured: Subgroups) -> str:
    """What of the facts has no row of its own."""
    few = [f"{RECORDED[fact]}: {plural(values, 'value')}" for fact, values in measured.too_few.items() if values]
    unknown = [f"{RECORDED[fact]}: {plural(images, 'image')}" for fact, images in measured.unknown.items() if images]
    sentences = [f"Fewer than {FEWEST} independent images, not shown: {', '.join(few)}."] if few else []
    return " ".join([*sentences, *([f"Unknown: {', '.join(unknown)}."] if unknown else [])])


def calibration_images(run: Run, calibration: Calibration) -> str:
    """Which images a temperature was fitted on, and what else they did: ``322 validation images, which chose ...``."""
    images = plural(calibration.images, "validation image")
    if run.is_halved:
        return f"{images}, which chose nothing else"
    why = (
        f"validation has fewer than {HALVED_FROM} images"
        if calibration.images < HALVED_FROM
        else "they were not halved"
    )
    fixed = run.spec.keep == "last" and not run.spec.patience  # how many epochs, and which, was known before
    return f"{images}, which also chose {'between runs' if fixed else 'the epoch'} ({why})"


def scale(run: Run, calibration: Calibration) -> str:
    """Whether the run's scores are probabilities, and by what."""
    if not calibration.is_defined:
        return f"Scores are not probabilities: this run is not calibrated. {calibration.note}"
    images = calibration_images(run, calibration)
    return f"Probabilities: scores at temperature {decimals(calibration.temperature, 2)}, calibrated on {images}."


def prediction_sets(sets: Evaluated) -> str:
    """For a report: ``At 90 % target coverage, 89.6 % [87.0, 91.7] of 643 prediction sets contain the true class.``"""
    covered = interval(sets.covered.value, sets.covered.low, sets.covered.high)
    return (
        f"At {share(sets.coverage, 0)} target coverage, {covered} of {plural(sets.covered.n, 'prediction set')} "
        f"contain the true class. They hold {decimals(sets.mean_size, 2)} classes on average: one class for "
        f"{share(sets.single.value)} of the test images, none for {share(sets.empty.value)}."
    )


def labels(made: LabelCheck) -> str:
    """All that is wrong with the labels; empty where nothing is, or nothing is known."""
    if not made.wrong:
        return ""
    how_many = (
        f"{count(made.wrong)} of {plural(made.images, 'image')} ({share(made.wrong / made.images)}) have a label that "
        "is not the class of their folder"
    )
    sentences = [f"{label_cause(made)}: {how_many}" if made.cause else how_many]
    if made.unused:
        sentences.append(f"None has the label {' or '.join(made.unused)}")
    if made.cause and made.by_place > made.by_folder:
        sentences.append(
            f"Labels go with the place in the list (Cramér's V {decimals(made.by_place, 2)}) more than with the folder "
            f"({decimals(made.by_folder, 2)})"
        )
    return ". ".join(sentences) + "."


def images(chosen: ImageChoice) -> str:
    """Which images were tested: ``Drawn, 50 per class: 20 % of the images, groups kept together, seed 0``."""
    drawn = f", {count(chosen.per_class)} per class" if chosen.per_class else ""
    if chosen.held_out:
        how = f"held-out {plural(len(chosen.held_out), 'source')} {', '.join(chosen.held_out)}"
    elif chosen.by_authors:
        how = "the authors' test images"
    elif chosen.folds > 1:
        how = f"{chosen.folds} folds" if chosen.fold is None else f"fold {chosen.fold + 1} of {chosen.folds}"
    else:
        how = f"{share(chosen.share, 0)} of the images"
    together = ", groups kept together" if chosen.grouped else ""
    shifted = ", with labels of other images" if chosen.shifted else ""
    return f"{chosen.dataset}{drawn}: {how}{together}, seed {chosen.seed}{shifted}"


def left_out(run: Run) -> str:
    """Which test images a comparison goes without, for all runs; empty where it has all."""
    images = plural(len(run.apart), "test image")
    return f"Left out for all runs: {images} that imported predictions lack." if run.apart else ""


def version(used: Version) -> str:
    """Which version of its data set a run used: ``before 3 of 5 decisions``."""
    if used.before is None:
        return MISSING[used.missing]
    if not used.decided:
        return "as imported"
    if used.is_present:
        return "after its decision" if used.decided == 1 else f"after all {plural(used.decided, 'decision')}"
    if used.decided == 1:
        return "before its decision"
    later = f"{count(used.decided - used.before)} of" if used.before else "all"
    return f"before {later} {plural(used.decided, 'decision')}"


def model_file(run: Run) -> str:
    """Why a finished run has no model.keras, and what predicts in its place; empty where it has one."""
    if run.has_model or not run.result:
        return ""
    if not run.has_network:
        return "Imported predictions, without a model: the run can be compared. It cannot predict or be audited."
    return (
        f"No model.keras: Keras cannot hold the file of {run.spec.network.label}. The app and the command line predict."
    )


def label_cause(made: LabelCheck) -> str:
    """Whose labels they are, where an explanation fits every image; else empty."""
    match made.cause:
        case "cut":
            return (
                f"The labels belong to the first {count(made.images)} of {plural(made.number, 'image')} in class "
                "order, not to the training images"
            )
        case "exchanged":
            pairs = ", ".join(f"{folder} is labelled {label}" for folder, label in made.pairs)
            return f"All images of a folder have the label of another class: {pairs}"
        case "moved":
            where = "down" if made.number > 0 else "up"
            return f"The labels are those of the images {plural(abs(made.number), 'row')} further {where} in the list"
        case "blocks":
            return (
                f"In class order the labels form {plural(made.number, 'block')} that differ from the folders, as if "
                "taken from another list of images"
            )
    return ""


# Robustness


ROBUSTNESS = (
    "Test images get worse in seven ways, at five strengths each, and the run predicts them again. "
    "Nothing is trained. It counts as a view of the test images."
)
ROBUSTNESS_WAYS = (
    "Half of the images become lighter, the other half darker; shifts and rotations go either way. Intervals are 95 %."
)
LIMIT = (
    "The mildest strength at which accuracy is lower than chance explains: paired test against the unchanged images, "
    "corrected for all strengths (Holm). A dash: at none."
)


def robustness(curve: Robustness) -> list[str]:
    """Where a run loses most, if it loses more than chance allows, and what the curve rests on."""
    before = share(curve.unchanged.accuracy.value)
    if curve.worst is None:
        few = f"; {plural(curve.images, 'image')} can show large drops only" if curve.images < FEW_FOR_A_DROP else ""
        headline = f"No change lowers the accuracy of {before} by more than chance explains{few}."
    else:
        key, point = curve.worst
        change = CHANGES[key].in_words.format(point.amount)
        tested = p_in_words(point.p_holm)
        headline = (
            f"Largest drop of accuracy: with {change}, from {before} to {share(point.accuracy.value)} ({tested})."
        )
    of_class = ", ".join(f"{label} {count(images)}" for label, images in curve.of_class.items())
    notes = " Images of one cluster count for fewer." * curve.grouped
    notes += " Scores are not calibrated." * (not curve.calibrated)
    of_all = plural(curve.of_all, "test image")
    return [headline, f"{count(curve.images)} of {of_all}, as evenly by class as possible: {of_class}.{notes}"]


def robustness_limits(curve: Robustness) -> dict[str, str]:
    """For each change, by title, the mildest amount at which the run is worse (see LIMIT)."""
    limits = ((change, curve.limit(key)) for key, change in CHANGES.items())
    return {change.title: "–" if limit is None else change.amount(limit) for change, limit in limits}


def robustness_table(curve: Robustness) -> pd.DataFrame:
    """A row for the unchanged images and for each amount of each change, with every measure and its interval."""
    rows = [("Unchanged", "", curve.unchanged)]
    rows += [
        (CHANGES[key].title, CHANGES[key].amount(one.amount), one) for key, of in curve.changes.items() for one in of
    ]
    return pd.DataFrame(
        {
            "Change": title,
            "Amount": amount,
            **{name: interval(one.value, one.low, one.high) for name, one in point.measures.items()},
            "p (Holm)": p_value(point.p_holm),
            "n": point.accuracy.n,
        }
        for title, amount, point in rows
    )


def robustness_lines(curve: Robustness) -> list[str]:
    """Accuracy at every amount, a line for each change."""
    return [
        f"{CHANGES[key].title}: "
        + ", ".join(f"{CHANGES[key].amount(one.amount)} {share(one.accuracy.value)}" for one in points)
        for key, points in curve.changes.items()
    ]


def robustness_in_words(name: str, curve: Robustness, measure: str) -> str:
    """A measure as it is unchanged and at the strongest of each change: the alternative text of its curves."""
    ends = ", ".join(
        f"{CHANGES[key].in_words.format(points[-1].amount)} {share(points[-1].measures[measure].value)}"
        for key, points in curve.changes.items()
    )
    return f"{name} unchanged {share(curve.unchanged.measures[measure].value)}, {ends}"
