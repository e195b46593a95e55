"""One run in plain English: its state, its accuracy and what it rests on."""

from covid_core.data.split import HALVED_FROM
from covid_core.evaluation.calibration import Calibration
from covid_core.evaluation.conformal import Evaluated
from covid_core.evaluation.label_check import LabelCheck
from covid_core.formatting import count, interval, plural, share
from covid_core.reports import evidence_text
from covid_core.runs.store import Run


def line(run: Run) -> str:
    """A run in one line: id, state with its reason, accuracy. Raises RunDamaged."""
    status = run.status()
    return f"{run.id}  {status.state} {status.reason}  {accuracy(run)}".rstrip()


def accuracy(run: Run) -> str:
    """The accuracy of a finished run with the verdict of its audit; empty before. Raises RunDamaged."""
    if not run.result:
        return ""
    return f"test accuracy {share(run.accuracy('test'))}, {evidence_text.of(run).in_passing}"


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
    return f"{images}, which also chose {'between runs' if fixed else 'the epoch'}: {why}"


def prediction_sets(sets: Evaluated) -> str:
    """A sentence for a report: ``At 90 % target coverage, 89.6 % [87.0, 91.7] of prediction sets contain ...``."""
    covered = interval(sets.covered.value, sets.covered.low, sets.covered.high)
    return (
        f"At {share(sets.coverage, 0)} target coverage, {covered} of {sets.covered.n:,} prediction sets of test images "
        f"contain the true class. A set has {sets.mean_size:.2f} classes on average: one for "
        f"{share(sets.single.value)}, none for {share(sets.empty.value)}."
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
            f"The label goes with the place in the list (Cramér's V {made.by_place:.2f}) more than with the folder "
            f"({made.by_folder:.2f})"
        )
    return ". ".join(sentences) + "."


def label_cause(made: LabelCheck) -> str:
    """Whose labels they are, where an explanation fits every image; else empty."""
    match made.cause:
        case "cut":
            return (
                f"The labels are those of the first {count(made.images)} of {plural(made.number, 'image')} in class "
                "order, not of the images that were trained on"
            )
        case "exchanged":
            pairs = ", ".join(f"{folder} is called {label}" for folder, label in made.pairs)
            return f"All images of a folder have one label, but another class's: {pairs}"
        case "moved":
            where = "down" if made.number > 0 else "up"
            return f"The labels are those of the images {plural(abs(made.number), 'row')} further {where} in the list"
        case "blocks":
            return (
                f"In class order the labels lie in {plural(made.number, 'whole block')} that are not the folders', as "
                "if they were those of another list of images"
            )
    return ""
