"""What an import or a merge would take, and what a data set lacks since, in sentences and as tables."""

from collections import Counter
from collections.abc import Iterator

import pandas as pd

from covid_core.data.dataset import Dataset
from covid_core.data.imports.archives import ENCODINGS
from covid_core.data.imports.layouts import Layout, is_plain
from covid_core.data.imports.merging import Merge
from covid_core.data.imports.metadata import is_table
from covid_core.data.split import PARTS
from covid_core.formatting import count, plural


def layout_table(layout: Layout) -> pd.DataFrame:
    """One row per class: Class, Images, the parts, patients and masks that there are, First image."""
    table = layout.table()
    unused = [name for name in (*PARTS, "patients", "masks") if not table[name].any()]
    table = table.drop(columns=unused).rename(columns={"first": "first image"})
    return table.rename(columns=str.capitalize)


def layout_lines(layout: Layout) -> list[str]:
    """One line per class, then what is special, then each file that is left out."""
    table = layout_table(layout).drop(columns="First image")
    lines = [
        ", ".join([f"{row['Class']}: {plural(row['Images'], 'image')}"] + _others(row))
        for row in table.to_dict("records")
    ]
    return [*lines, *layout_notes(layout), *(f"left out: {path}: {reason}" for path, reason in layout.left_out)]


def _others(row: dict[str, int]) -> list[str]:
    return [f"{name.lower()} {count(number)}" for name, number in row.items() if name not in ("Class", "Images")]


def layout_notes(layout: Layout) -> Iterator[str]:
    """What a person should check before the import."""
    if layout.encoding:
        yield f"Names in the archive are read as {layout.encoding} ({ENCODINGS[layout.encoding]})."
    if len(layout.chosen) == 1:
        yield f"Only one class: {layout.chosen[0]}. A model needs two at least."
        for path in filter(is_table, (path for path, _ in layout.left_out)):
            yield f"{path} may hold the labels: choose it as a table (--table)."
    if converted := sum(not is_plain(image.path) for image in layout.images):
        stored = plural(converted, "TIFF or DICOM file is", "TIFF or DICOM files are")
        yield f"{stored} stored as PNG in the data set."
        yield (
            "Patient (as a keyed hash), sex, age, view and device come from DICOM headers that hold them. A table or a "
            "name comes first."
        )
    if layout.patients:
        example = next(image for image in layout.images if image.patient)
        anew = " Their numbers start anew in each class." if layout.anew else ""
        yield f"Patients are read from the names: {example.path} is of patient {example.patient}.{anew}"
    if layout.crossing:
        yield f"{plural(layout.crossing, 'patient')} have images in several of the authors' parts."


def merge_table(merge: Merge) -> pd.DataFrame:
    """One row per class: Class, the images of each member, Images."""
    table = merge.counts.assign(Images=merge.counts.sum(axis=1)).rename_axis("Class").reset_index()
    return table.rename_axis(columns=None)


def merge_notes(merge: Merge) -> Iterator[str]:
    """What becomes of classes that do not stay as they are."""
    for row in merge.table.itertuples():
        if row.into != row.label:
            what = f"become {row.into}" if row.into else "are left out"
            yield f"{plural(row.images, 'image')} of {row.member}, labelled {row.label}, {what}."


def merge_warnings(merge: Merge) -> Iterator[str]:
    """What a person should check before the merge."""
    for one in merge.broader:
        yield f"{one.label} of {one.member} may have other causes than {one.into}: their labels may be wrong."
    for one in merge.overlapping:
        yield (
            f"{one.label} of {one.member} may hold images of {one.into}, which stays apart. Give both one name, or "
            "leave one out."
        )
    for labels in merge.spellings:
        yield f"{' and '.join(labels)} stay apart, although they seem to be one class. Give them one name."
    drawn = [name for name, one in zip(merge.names, merge.members, strict=True) if one.is_synthetic]
    if 0 < len(drawn) < len(merge.members):
        yield f"{' and '.join(drawn)} holds synthetic images: the whole data set counts as synthetic."


def left_out(dataset: Dataset) -> str:
    """What import or merge left out, in a sentence; nothing where that is nothing."""
    shared, conflicts = (dataset.info.get(name, 0) for name in ("shared", "conflicts"))
    rest = len(dataset.left_out) - shared - conflicts
    parts = [
        f"{plural(shared, 'shared image is', 'shared images are')} counted once" if shared else "",
        f"{plural(conflicts, 'image')} with contradicting classes {'is' if conflicts == 1 else 'are'} left out"
        if conflicts
        else "",
        f"the import left out {plural(rest, 'file')}" if rest else "",
    ]
    text = "; ".join(filter(None, parts))
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def doubts(dataset: Dataset) -> list[str]:
    """Reasons to doubt converted images, by how many have them: a sentence each."""
    reasons = Counter(reason for text in dataset.images["reading"] for reason in text.split("\n")[1:])
    return [f"{plural(images, 'image')}: {reason}" for reason, images in reasons.most_common()]


def shared_sources(dataset: Dataset) -> str:
    """That members of a merged data set share sources, since they share images; nothing where they do not."""
    before = dataset.info.get("shared", 0) + dataset.info.get("conflicts", 0) // 2  # in data sets of before
    shared = dataset.info.get("in_common", before)
    if not shared:
        return ""
    return (
        f"The merged data sets had {plural(shared, 'image')} in common, so they share sources. A test on one of them, "
        "trained on the others, is not fully external."
    )
