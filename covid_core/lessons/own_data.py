"""The look that each lesson teaches, at a data set of the user's own. Nothing is trained."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
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
from covid_core.formatting import count, plural, share
from covid_core.lessons.catalogue import RARE, SHIFTED, TAG, TWIN, Lesson
from covid_core.presets import COURSE_IMAGES_PER_CLASS
from covid_core.reports import audit_text
from covid_core.runs import candidates
from covid_core.runs.store import Run
from covid_core.specs import SplitSpec
from covid_core.work import Progress, silent
from covid_core.workspace import Workspace

QUICK_PROBES = (probes.FILE, probes.BORDER_PIXELS, probes.THUMB, probes.FULL)
LEAST_IMAGES = 3  # of a class, for an image in each part


@dataclass(frozen=True, eq=False)
class Look:
    """What a lesson finds in a data set: sentences with their figures, a table and a ladder where there are any, and
    the page (a name without suffix) that goes on from there."""

    sentences: tuple[str, ...]
    table: pd.DataFrame | None = None
    ladder: Ladder | None = None
    page: str = "dataset"


def look(
    lesson: Lesson, workspace: Workspace, dataset: Dataset, runs: Sequence[Run] = (), progress: Progress = silent
) -> Look:
    """The lesson's look at a data set; ``runs`` are the user's finished ones.

    Raises DataError where the data set is too small for it, or has one class only.
    """
    if len(dataset.classes) < 2:
        raise DataError(f"{dataset.name} has one class only, so there is nothing to tell apart.")
    looks = {
        SHIFTED: lambda: _shifted(dataset),
        TAG: lambda: _ladder(workspace, dataset, progress),
        RARE: lambda: _imbalance(dataset, runs),
        TWIN: lambda: _twins(workspace, dataset, progress),
    }
    return looks[lesson.key]()


def _shifted(dataset: Dataset) -> Look:
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
        f"A model that always answers {counts.index[0]} would score {share(counts.iloc[0] / len(test))} on the "
        f"{plural(len(test), 'test image')}, and nothing in its accuracy would show it.",
        _labels_now(dataset),
    )
    return Look(sentences, table, page="compare")


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


def _ladder(workspace: Workspace, dataset: Dataset, progress: Progress) -> Look:
    """The ladder of the data set's audit where one was made; else its quick probes, climbed now."""
    climbed = kept_ladder(workspace, dataset)
    if climbed is None:
        climbed = probes.ladder(workspace, dataset, probes=QUICK_PROBES, progress=progress)
    return Look(tuple(audit_text.ladder(climbed).sentences), ladder=climbed, page="audit")


def kept_ladder(workspace: Workspace, dataset: Dataset) -> Ladder | None:
    """The ladder that an audit has kept of these very images and classes; None where there is none. That of images from
    before a decision would be another data set's answer, so it is climbed anew."""
    found = dataset_audit.known(workspace, dataset)
    return found.ladder if found is not None and found.of_now else None


def _imbalance(dataset: Dataset, runs: Sequence[Run]) -> Look:
    found = resampling_table(dataset.counts)
    total = int(found["images"].sum())
    rare, common = (found.loc[found["images"].agg(which)] for which in ("idxmin", "idxmax"))
    table = pd.DataFrame(
        {
            "Class": found["label"],
            "Images": found["images"].map(count),
            "Share": (found["images"] / total).map(share),
            "Class weight": found["weight"].map("{:.2f}".format),
            "Oversampling sees each": found["times"].map("{:.1f} times".format),
            "Undersampling keeps": found["kept"].map(count),
        }
    )
    sentences = [
        f"Always answering {common['label']} is right on {share(common['images'] / total)} of "
        f"{plural(total, 'image')}. The rarest class, {rare['label']}, has {plural(int(rare['images']), 'image')}: "
        f"{share(rare['images'] / total)}.",
        f"With class weights, an image of {rare['label']} counts as {rare['weight'] / common['weight']:.1f} of "
        f"{common['label']}. Undersampling would throw {share(found['thrown_away'].sum() / total)} of all images away.",
    ]
    of_it = [run for run in runs if run.record["dataset"]["id"] == dataset.id]
    sentences += [_found_by(run, str(rare["label"])) for run in of_it]
    if not of_it:
        sentences.append("No model has been trained on these images yet, so it cannot be said which class it finds.")
    return Look(tuple(sentences), table, page="compare" if of_it else "train")


def _found_by(run: Run, rare: str) -> str:
    try:
        right, found = share(run.accuracy("test")), candidates.sensitivities(run)
        if rare not in found:
            return f"{run.name} is right on {right} of its test images; {rare} is none of its classes."
        return f"{run.name} is right on {right} of its test images and finds {share(found[rare])} of {rare}."
    except CovidCoreError as error:
        return f"{run.name} cannot be read: {error}"


def _twins(workspace: Workspace, dataset: Dataset, progress: Progress) -> Look:
    images = duplicates.with_groups(workspace, dataset, progress)
    together = images.groupby("group")
    several = together.filter(lambda rows: len(rows) > 1)
    if several.empty:
        return Look(
            (
                f"No two of {plural(len(images), 'image')} show the same picture or are known to be of one patient, "
                f"so a "
                "plain split separates no twins here. Images of one patient can only be known where the patient is.",
            )
        )
    conflicts = int((several.groupby("group")["label"].nunique() > 1).sum())
    plain, grouped = (_known_again(images, dataset.classes, method) for method in ("stratified", "grouped"))
    table = pd.DataFrame(
        [
            {"Split": name, "Test images": count(tested), "Of them with a twin in training": count(known)}
            for name, (tested, known) in (("Image by image", plain), ("Twins kept together", grouped))
        ]
    )
    groups = plural(several["group"].nunique(), "group")
    sentences = (
        f"{plural(len(several), 'image')} of {count(len(images))} have a twin here: {groups} show the same picture or "
        f"were kept together. In {count(conflicts)} of them the labels differ.",
        f"Dealt image by image, {count(plain[1])} of {plural(plain[0], 'test image')} would have a twin among the "
        f"training images. With twins kept together it is {count(grouped[1])} of {count(grouped[0])}.",
    )
    return Look(sentences, table, page="audit")


def _known_again(images: pd.DataFrame, classes: tuple[str, ...], method: str) -> tuple[int, int]:
    """Test images of a usual split, and how many of them have a twin among the training images."""
    made = make_split(images, classes, SplitSpec(method=method))
    group = images.set_index("image_id")["group"].loc[made["image_id"]].to_numpy()
    tested, trained = (made["part"] == "test").to_numpy(), (made["part"] == "train").to_numpy()
    return int(tested.sum()), int(np.isin(group[tested], group[trained]).sum())
