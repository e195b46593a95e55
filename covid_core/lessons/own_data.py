"""The check that each lesson teaches, of a data set of the user's own. No network is trained."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from covid_core.audit import dataset_audit
from covid_core.audit.shortcuts import probes
from covid_core.audit.shortcuts.probe_ladder import Ladder
from covid_core.data import duplicates
from covid_core.data.dataset import Dataset
from covid_core.data.split import make_split
from covid_core.data.summary import resampling_table
from covid_core.errors import CovidCoreError, DataError
from covid_core.evaluation import label_check as labelling
from covid_core.formatting import count, decimals, plural, share
from covid_core.lessons import outcomes
from covid_core.lessons.catalogue import DUPLICATE, RARE, SHIFTED, TAG, Lesson
from covid_core.presets import COURSE_IMAGES_PER_CLASS
from covid_core.reports import audit_text
from covid_core.runs import candidates
from covid_core.runs.store import Run
from covid_core.specs import SplitSpec
from covid_core.work import Progress, silent
from covid_core.workspace import Workspace

QUICK_PROBES = ("file", "border", "thumbnail", "full")
LEAST_IMAGES = 3  # of a class, for an image in each part


@dataclass(frozen=True, eq=False)
class Check:
    """The result of a lesson's check: sentences with figures, a table and a ladder where there are any, and the page (a
    name without suffix) that goes on from there."""

    sentences: tuple[str, ...]
    table: pd.DataFrame | None = None
    ladder: Ladder | None = None
    page: str = "dataset"


def check(
    lesson: Lesson, workspace: Workspace, dataset: Dataset, runs: Sequence[Run] = (), progress: Progress = silent
) -> Check:
    """The lesson's check of a data set; ``runs`` are the user's finished ones.

    Raises DataError where the data set is too small for it, or has one class only.
    """
    if len(dataset.classes) < 2:
        raise DataError(f"{dataset.name} has one class only, so there is nothing to classify.")
    checks = {
        SHIFTED: lambda: _shifted(dataset),
        TAG: lambda: _ladder(workspace, dataset, progress),
        RARE: lambda: _imbalance(dataset, runs),
        DUPLICATE: lambda: _duplicates(workspace, dataset, progress),
    }
    return checks[lesson.key]()


def _shifted(dataset: Dataset) -> Check:
    made, drawn = _shifted_split(dataset)
    test = made[made["part"] == "test"]
    counts = test["label"].value_counts()
    checked = labelling.check(made, dataset.classes, dataset.counts)
    table = pd.DataFrame(
        [
            {
                "Class": label,
                "Images drawn": count((made["folder_label"] == label).sum()),
                "Labels beside them": count((made["label"] == label).sum()),
            }
            for label in dataset.classes
        ]
    )
    sentences = (
        f"Had the course's mistake been made here, with {plural(drawn, 'image')} of each class, {count(checked.wrong)} "
        f"of {plural(checked.images, 'label')} ({share(checked.wrong / checked.images)}) would be another image's.",
        f"A model that always predicts {counts.index[0]} would score {share(counts.iloc[0] / len(test))} on the "
        f"{plural(len(test), 'test image')}, and nothing in its accuracy would show it.",
        _labels_now(dataset),
    )
    return Check(sentences, table, page="compare")


def _labels_now(dataset: Dataset) -> str:
    before = dataset.imported.images.set_index("image_id")["label"].loc[dataset.images["image_id"]]
    changed = int((before.to_numpy() != dataset.images["label"].to_numpy()).sum())
    if not changed:
        return "It has not been made: here every label is that of the image's own folder."
    others = plural(changed, "image whose class was", "images whose classes were")
    return (
        f"It has not been made: but for {others} changed on the Audit page, every label is that of the image's folder."
    )


def _shifted_split(dataset: Dataset) -> tuple[pd.DataFrame, int]:
    """The split with the course's mistake, and how many images of each class were drawn for it."""
    smallest = min(dataset.counts.values())
    for drawn in (min(COURSE_IMAGES_PER_CLASS, smallest), smallest // 2):  # drawing all of even classes shifts nothing
        if drawn < LEAST_IMAGES:
            raise DataError(
                f"The smallest class of {dataset.name} has {plural(smallest, 'image')}, too few to draw from."
            )
        split = SplitSpec(method="stratified", images_per_class=drawn)
        try:
            return make_split(dataset.images, dataset.classes, split, "shifted"), drawn
        except DataError as error:
            refused = error
    raise refused


def _ladder(workspace: Workspace, dataset: Dataset, progress: Progress) -> Check:
    """The ladder of the data set's audit where one was made; else its quick probes, climbed now."""
    climbed = audited_ladder(workspace, dataset)
    if climbed is None:
        climbed = probes.ladder(workspace, dataset, probes=QUICK_PROBES, progress=progress)
    return Check(tuple(audit_text.ladder(climbed).sentences), ladder=climbed, page="audit")


def audited_ladder(workspace: Workspace, dataset: Dataset) -> Ladder | None:
    """The ladder of an audit of these very images and classes; None where there is none. That of images from before a
    decision belongs to another data set, so it is climbed anew."""
    audit = dataset_audit.stored(workspace, dataset)
    return audit.ladder if audit is not None and audit.of_now else None


def _imbalance(dataset: Dataset, runs: Sequence[Run]) -> Check:
    balance = resampling_table(dataset.counts)
    total = int(balance["images"].sum())
    rare, common = (balance.loc[balance["images"].agg(which)] for which in ("idxmin", "idxmax"))
    table = pd.DataFrame(
        {
            "Class": balance["label"],
            "Images": balance["images"].map(count),
            "Share": (balance["images"] / total).map(share),
            "Class weight": balance["weight"].map(lambda value: decimals(value, 2)),
            "Oversampling uses each": balance["times"].map(lambda value: f"{decimals(value, 1)} times"),
            "Undersampling uses": balance["kept"].map(count),
        }
    )
    sentences = [
        f"The majority baseline ({common['label']}) is right on {share(common['images'] / total)} of "
        f"{plural(total, 'image')}. The rarest class, {rare['label']}, has {plural(int(rare['images']), 'image')}: "
        f"{share(rare['images'] / total)}.",
        f"With class weights, an image of {rare['label']} counts as {decimals(rare['weight'] / common['weight'], 1)} "
        f"of {common['label']}. Undersampling would leave out {share(balance['thrown_away'].sum() / total)} of all "
        "images.",
    ]
    of_it = [run for run in runs if run.dataset.id == dataset.id]
    sentences += [_sensitivity_of(run, str(rare["label"])) for run in of_it]
    if not of_it:
        sentences.append("No model has been trained on these images yet, so there is no sensitivity to report.")
    return Check(tuple(sentences), table, page="compare" if of_it else "train")


def _sensitivity_of(run: Run, rare: str) -> str:
    try:
        right, sensitivities = share(run.accuracy("test")), candidates.sensitivities(run)
        if rare not in sensitivities:
            return f"{run.name} is right on {right} of its test images; {rare} is none of its classes."
        return f"{run.name} is right on {right} of its test images and detects {share(sensitivities[rare])} of {rare}."
    except CovidCoreError as error:
        return f"{run.name} cannot be read: {error}"


def _duplicates(workspace: Workspace, dataset: Dataset, progress: Progress) -> Check:
    images = duplicates.with_groups(workspace, dataset, progress)
    together = images.groupby("group")
    several = together.filter(lambda rows: len(rows) > 1)
    if several.empty:
        return Check(
            (
                f"No two of {plural(len(images), 'image')} are duplicates or have the same patient on record, so a "
                "random split separates none here. Without patient ids, other images of one patient stay undetected.",
            )
        )
    conflicts = int((several.groupby("group")["label"].nunique() > 1).sum())
    groups = images.set_index("image_id")["group"]
    plain, grouped = (
        outcomes.leakage(make_split(images, dataset.classes, SplitSpec(method=method)), groups)
        for method in ("stratified", "grouped")
    )
    table = pd.DataFrame(
        [
            {"Split": name, "Test images": count(tested), "Of them with a duplicate in training": count(leaked)}
            for name, (tested, leaked) in (("Random split", plain), ("Group split", grouped))
        ]
    )
    sentences = (
        f"{plural(len(several), 'image')} of {count(len(images))} have a duplicate or the same patient here, in "
        f"{plural(several['group'].nunique(), 'group')}. In {count(conflicts)} of them the labels differ.",
        f"With a random split, {count(plain[1])} of {plural(plain[0], 'test image')} would have a duplicate among the "
        f"training images (data leakage). With a group split it is {count(grouped[1])} of {count(grouped[0])}.",
    )
    return Check(sentences, table, page="audit")
