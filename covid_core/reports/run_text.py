"""One run in plain English: its state, its accuracy and what it rests on."""

from covid_core.data.split import HALVED_FROM
from covid_core.evaluation.calibration import Calibration
from covid_core.evaluation.conformal import Evaluated
from covid_core.evaluation.label_check import LabelCheck
from covid_core.evaluation.repeats import ImageChoice
from covid_core.formatting import count, decimals, duration, interval, plural, share
from covid_core.reports import evidence_text
from covid_core.runs import candidates
from covid_core.runs.pinned_dataset import Missing, Version
from covid_core.runs.store import BrokenRun, Run

TRAINING_TIME = "Feature extraction and all epochs. Reused features count with the time that they once took."
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


def epochs(run: Run) -> str:
    """How many epochs a finished run did, and whose weights it has: ``23 of at most 60, weights of epoch 13``."""
    done, chosen = run.result.get("epochs_done"), run.result.get("best_epoch")
    if done is None:
        return "–"
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
