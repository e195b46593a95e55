"""Images of several origins in one data set: data sets that are merged, and images that are added to one later.

Either way an image that shows the same picture as another origin's is left out and listed. Such images are found by a
Search: that of ``duplicates``, or one that also finds cropped and turned ones. Files are linked, or copied where the
file system has no links, so that the data set needs no folder but its own.
"""

import contextlib
import itertools
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from covid_core import files
from covid_core.data import decisions, duplicates
from covid_core.data.dataset import MANIFEST_COLUMNS, OF_MEMBER, Dataset, deciding, open_dataset
from covid_core.data.decisions import ADD, BATCH, GROUP, LONGEST_NOTE, TOGETHER, Decision
from covid_core.data.imports import importing
from covid_core.data.pixels import SUMMARY_SIZE, append, open_pixels
from covid_core.errors import DataError
from covid_core.formatting import plural
from covid_core.specs import LayoutSpec, MergeSpec
from covid_core.work import Progress, part_of, silent
from covid_core.workspace import Workspace, new_id

Search = Callable[[np.ndarray, np.ndarray, Progress], pd.DataFrame]
"""Positions ``first`` and ``second`` of images, uint8 (n, SUMMARY_SIZE, SUMMARY_SIZE), and others of one picture."""

KIND = "merged"  # of a data set
HASH = r"[0-9a-f]{16,}"  # of a DICOM PatientID, under the workspace's key: the same patient in every data set
SPELLINGS = {  # classes as letters and digits alone, and what else they are called
    "covid": ("covid19", "covid2019", "sarscov2", "covid19pneumonia"),
    "normal": ("nofinding", "nofindings", "healthy"),
    "viralpneumonia": ("virus", "viral", "pneumoniaviral"),
    "bacterialpneumonia": ("bacteria", "bacterial", "pneumoniabacterial"),
    "lungopacity": ("opacity", "airspaceopacity"),
}
CAUSES = ("covid", "viralpneumonia", "bacterialpneumonia")
BROADER = {  # and the narrower classes that each may hold
    "viralpneumonia": ("covid",),
    "pneumonia": CAUSES,
    **dict.fromkeys(("lungopacity", "infiltration", "consolidation"), ("pneumonia", *CAUSES)),
    "abnormal": ("lungopacity", "pneumonia", *CAUSES),
}
_CALLED = {other: name for name, others in SPELLINGS.items() for other in others}


@dataclass(frozen=True)
class Broader:
    """A class of a member that is merged into a narrower one."""

    member: str
    label: str
    into: str


@dataclass(frozen=True, eq=False)
class Merge:
    """What merging would take, before shared images are looked for: the ``members`` as they are now, and the names that
    their classes get (see ``MergeSpec``)."""

    members: tuple[Dataset, ...]
    classes: Mapping[str, Mapping[str, str]]

    @cached_property
    def names(self) -> list[str]:
        """Of the members; with the id where two have the same."""
        often = Counter(member.name for member in self.members)
        return [one.name if often[one.name] == 1 else f"{one.name} ({one.id})" for one in self.members]

    def into(self, member: Dataset, label: str) -> str:
        """The class that images of a member's class get, "" where they are left out."""
        return self.classes.get(member.id, {}).get(label, label)

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row per member and class: member, label, images, into."""
        rows = [
            (name, label, images, self.into(member, label))
            for name, member in zip(self.names, self.members, strict=True)
            for label, images in member.counts.items()
        ]
        return pd.DataFrame(rows, columns=["member", "label", "images", "into"])

    @cached_property
    def counts(self) -> pd.DataFrame:
        """Images by class (rows) and member."""
        used = self.table[self.table["into"] != ""]
        return used.pivot_table(values="images", index="into", columns="member", aggfunc="sum", fill_value=0)

    @property
    def records(self) -> list[dict[str, Any]]:
        """The members, as import.json holds them."""
        listed = []
        for member in self.members:
            into = self.classes.get(member.id, {})
            named, drop = (
                {label: one for label, one in into.items() if one},
                [label for label in into if not into[label]],
            )
            version = {"id": member.id, "name": member.name, "version": member.version}
            listed.append({**version, "map": named, "drop": drop})
        return listed

    @property
    def broader(self) -> list[Broader]:
        """What is merged into a class that is narrower than its own."""
        rows = self.table.itertuples()
        return [Broader(row.member, row.label, row.into) for row in rows if is_broader(row.label, row.into)]

    @property
    def overlapping(self) -> list[Broader]:
        """Classes that may hold images of a narrower one which stays beside them, and which their member lacks."""
        used = self.table[self.table["into"] != ""]
        into = sorted(set(used["into"]))
        return [
            Broader(member, broad, narrow)
            for member, own in used.groupby("member", sort=False)["into"]
            for broad in sorted(set(own))
            for narrow in into
            if narrow not in set(own) and is_broader(broad, narrow)
        ]

    @property
    def spellings(self) -> list[tuple[str, ...]]:
        """Classes that stay apart although they are the same but for spelling."""
        labels = sorted(set(self.table["into"]) - {""}, key=lambda label: (called(label), label))
        return [alike for _, group in itertools.groupby(labels, key=called) if len(alike := tuple(group)) > 1]


def is_broader(label: str, into: str) -> bool:
    """Whether images of a class may be of other classes than this narrower one."""
    return called(into) in BROADER.get(called(label), ())


def called(label: str) -> str:
    """A class as SPELLINGS calls it, whatever its spelling."""
    letters = re.sub(r"[\W_]+", "", label).casefold() or label
    return _CALLED.get(letters, letters)


def proposed(members: Iterable[Dataset]) -> dict[str, dict[str, str]]:
    """Names for classes that are spelled otherwise in a member before: {member: {class: class}}."""
    names: dict[str, str] = {}
    classes: dict[str, dict[str, str]] = {}
    for member in members:
        for label in member.classes:
            first = names.setdefault(called(label), label)
            if first != label and first not in member.classes:
                classes.setdefault(member.id, {})[label] = first
    return classes


def planned(workspace: Workspace, spec: MergeSpec) -> Merge:
    """What merging would take. Raises DataError where members or classes are none, or too few; UnknownId."""
    if len(set(spec.members)) < max(2, len(spec.members)):
        raise DataError(f"Merging needs two data sets at least, each once; received: {', '.join(spec.members)}.")
    if spec.prefer and spec.prefer not in spec.members:
        raise DataError(f"{spec.prefer} is none of the data sets that are merged: {', '.join(spec.members)}.")
    ordered = sorted(spec.members, key=lambda member: member != spec.prefer)
    merge = Merge(tuple(open_dataset(workspace, member) for member in ordered), spec.classes)
    counts = {member.id: member.counts for member in merge.members}
    for member, classes in spec.classes.items():
        if member not in counts:
            raise DataError(f"{member} is none of the data sets that are merged: {', '.join(counts)}.")
        for label in classes:
            if label not in counts[member]:
                raise DataError(f"{member} has no class {label!r}; there are {', '.join(counts[member])}.")
    left = sorted(set(merge.table["into"]) - {""})
    if len(left) < 2:
        raise DataError(f"Merging would leave {left[0] if left else 'no class'} only; a data set needs two classes.")
    return merge


def merged(
    workspace: Workspace,
    spec: MergeSpec,
    name: str = "",
    progress: Progress = silent,
    search: Search = duplicates.pairs,
) -> Dataset:
    """Make one data set of several as they are now: their decisions count.

    Of images that show the same picture, that of the first member counts; where their classes differ, none does, unless
    one is of the member that the spec prefers.

    Raises:
        DataError: as ``planned``, where a file is gone, or too little is left.
        Stopped: raised by ``progress``; nothing is left behind then.
    """
    merge = planned(workspace, spec)
    images = _images(merge)
    with importing.temporary_pixels(workspace) as pixels:
        for number, member in enumerate(merge.members):
            rows = images["row"][images["member"] == number].to_numpy()
            append(pixels, open_pixels(workspace, member, SUMMARY_SIZE, part_of(progress, 0, 0.3)), rows)
        alike = duplicates.pairs(importing.mapped(pixels), progress=part_of(progress, 0.3, 0.5))
        shared = _shared(pixels, images["member"], search, part_of(progress, 0.5, 0.9))
        reasons = _reasons(images, shared, merge.names, 0 if spec.prefer else None)
        remaining = ~images.index.isin(list(reasons))
        _compact(pixels, remaining)
        left_out = _left_out(images, reasons)
        alike, images = duplicates.renumbered(alike, remaining), images[remaining].reset_index(drop=True)
        if images["label"].nunique() < 2:
            raise DataError("Less than two classes are left: nearly all images of the others are shared.")

        of_members = [images[images["member"] == number] for number in range(len(merge.members))]

        def fill(staging: Path) -> None:
            for member, own in zip(merge.members, of_members, strict=True):
                importing.link(member.root, member.name, own, staging / "files" / member.id, part_of(progress, 0.9, 1))
                _group(member, own, staging)

        information = {
            "kind": KIND,
            "name": name or " + ".join(merge.names)[:80],
            "origin": ", ".join(spec.members),
            "root": None,
            "synthetic": any(member.is_synthetic for member in merge.members),
            "members": merge.records,
            "in_common": int(shared["second"].nunique()),
            "shared": sum(not conflict for _, conflict in reasons.values()),
            "conflicts": sum(conflict for _, conflict in reasons.values()),
            "left_out": left_out,
        }
        moved = [_moved(own, member.id) for member, own in zip(merge.members, of_members, strict=True)]
        manifest = pd.concat(moved)[list(MANIFEST_COLUMNS)]
        return importing.publish(workspace, manifest, information, fill, pixels, alike)


def _images(merge: Merge) -> pd.DataFrame:
    """Rows of all members' images that have a class, with their member's number, their row there, and a new path."""
    parts = []
    for number, (member, name) in enumerate(zip(merge.members, merge.names, strict=True)):
        images = member.images
        label = images["label"].map({label: merge.into(member, label) for label in member.classes})
        with_source = images["source"].where(images["source"] == "", OF_MEMBER + images["source"])
        patient = images["patient_id"]
        is_local = (patient != "") & ~patient.str.fullmatch(HASH)
        part = images.assign(
            label=label,
            member=number,
            row=np.arange(len(images)),
            source=name + with_source,
            patient_id=patient.where(~is_local, f"{member.id}/" + patient),
            new_path=f"{member.id}/" + images["path"],
            **{BATCH: ""},
        )
        parts.append(part[label != ""])
    images = pd.concat(parts, ignore_index=True)
    return images.assign(image_id=_ids(images["label"], images["new_path"]))


def _ids(labels: pd.Series, paths: pd.Series, taken: Iterable[str] = ()) -> pd.Series:
    """Ids of images as an import makes them, longer where several, or one that is ``taken``, would be the same."""
    short = labels + "/" + paths.str.rpartition("/")[2]
    return short.mask(short.duplicated(keep=False) | short.isin(set(taken)), labels + "/" + paths)


def _shared(pixels: Path, members: pd.Series, search: Search, progress: Progress) -> pd.DataFrame:
    """Positions ``first`` and ``second`` of images of two members that show the same picture; ``first`` is of the
    member before."""
    squares = importing.mapped(pixels)
    couples = list(itertools.combinations(members.unique(), 2))
    tables = [pd.DataFrame({"first": [], "second": []}, dtype=int)]
    for done, couple in enumerate(couples):
        ones, others = (np.flatnonzero(members == member) for member in couple)
        step = part_of(progress, done / len(couples), (done + 1) / len(couples))
        table = search(squares[ones[0] : ones[-1] + 1], squares[others[0] : others[-1] + 1], step)
        tables.append(pd.DataFrame({"first": ones[table["first"]], "second": others[table["second"]]}))
    return pd.concat(tables, ignore_index=True)


def _reasons(
    images: pd.DataFrame, shared: pd.DataFrame, names: list[str], preferred: int | None
) -> dict[int, tuple[str, bool]]:
    """Rows of images that show the same picture as one of a member before: why each is left out, and whether their
    classes differ. Then the other is left out too, unless it is of the ``preferred`` member."""
    member, label, image = (images[column].to_numpy() for column in ("member", "label", "new_path"))
    reasons: dict[int, tuple[str, bool]] = {}
    for first, second in shared.to_numpy().tolist():
        if label[first] == label[second]:
            reasons.setdefault(second, (f"{names[member[first]]} has the same image: {image[first]}.", False))
            continue
        both_out = member[first] != preferred
        for row, other in ((second, first), (first, second))[: 1 + both_out]:
            both = f"{label[row]} here, {label[other]} in {names[member[other]]}"
            reasons[row] = (
                f"{both}, which has the same image: {image[other]}.{' Both are left out.' if both_out else ''}",
                True,
            )
    return reasons


def _left_out(images: pd.DataFrame, reasons: Mapping[int, tuple[str, bool]]) -> list[tuple[str, str]]:
    """Path and reason, conflicts first."""
    rows = sorted(reasons, key=lambda row: (not reasons[row][1], row))
    return [(images["new_path"].iat[row], reasons[row][0]) for row in rows]


def _compact(pixels: Path, remaining: np.ndarray) -> None:
    """Take the images that do not remain out of a file of pixels."""
    squares, rows = np.memmap(pixels, np.uint8, "r+").reshape(-1, SUMMARY_SIZE, SUMMARY_SIZE), np.flatnonzero(remaining)
    for place, row in enumerate(rows):
        if place != row:
            squares[place] = squares[row]
    del squares
    with open(pixels, "rb+") as handle:
        handle.truncate(len(rows) * SUMMARY_SIZE**2)


def _group(member: Dataset, images: pd.DataFrame, folder: Path) -> None:
    """Images that were grouped by decision in a member are so in what it is merged into, as a decision of the same
    author."""
    if TOGETHER not in images or not (images[TOGETHER].fillna("") != "").any():
        return
    ids = images[images[TOGETHER].fillna("") != ""].groupby(TOGETHER)["image_id"].apply(list)
    note = f"as in {member.name}"[:LONGEST_NOTE]
    wanted = [one for group in ids if len(group) > 1 for one in decisions.together(group, note)]
    author = [one.author for one in decisions.in_force(member.decisions) if one.action == GROUP][-1]
    decisions.append(folder, wanted, author, dict(zip(images["image_id"], images["label"], strict=True)))


# Later images


def added(
    workspace: Workspace,
    identifier: str,
    source: Path,
    spec: LayoutSpec,
    author: str,
    progress: Progress = silent,
    search: Search = duplicates.pairs,
) -> Dataset:
    """Add the images of a folder or zip archive to a data set, as a decision; every version of before can be opened.

    A data set whose images lie elsewhere has them in its own folder from then on. An image that shows the same picture
    as one that is there is left out.

    Raises:
        DataError: as ``importing.import_path``, or where no image is new.
        Stopped: raised by ``progress``; nothing is left behind then.
    """
    before = open_dataset(workspace, identifier)
    old, manifest = before.imported, before.images if before.manifest is None else before.manifest
    batch = next(name for name in _free_names(before) if not manifest[BATCH].eq(name).any())
    staging = workspace.uploads / new_id(batch)
    with importing.temporary_pixels(workspace) as pixels, contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, staging, ignore_errors=True)
        squares = open_pixels(workspace, old, SUMMARY_SIZE, part_of(progress, 0, 0.2))
        append(pixels, squares, np.arange(len(squares)))
        root, reading = stack.enter_context(
            importing.unpacked(workspace, source, spec.encoding, part_of(progress, 0.2, 0.6))
        )
        layout = importing.proposal(root, spec)
        new, unread = importing.read_all(workspace, root, layout.with_sources(root), staging / batch, pixels, reading)
        both = pd.concat([old.images.assign(member=0), new.assign(member=1)], ignore_index=True)
        both = both.assign(new_path=both["path"])
        alike = duplicates.pairs(importing.mapped(pixels), progress=part_of(progress, 0.6, 0.7))
        shared = _shared(pixels, both["member"], search, part_of(progress, 0.7, 0.9))
        reasons = _reasons(both, shared, [before.name, source.name], 0)
        remaining = ~both.index.isin(list(reasons))
        left_out = [*_left_out(both, reasons), *layout.left_out, *unread]
        new = new[remaining[len(old.images) :]]
        if new.empty:
            raise DataError(f"{source.name} holds no new image. The first: {': '.join(left_out[0])}")
        _discard(staging / batch, {*new["path"], *new["mask_path"]})
        importing.link(root, source.name, new, staging / batch, part_of(progress, 0.9, 0.95))
        if old.info["root"] is not None:
            importing.link(old.root, old.name, old.images, staging, part_of(progress, 0.95, 1))
        _compact(pixels, remaining)
        rows = _moved(new, batch)
        rows = rows.assign(image_id=_ids(rows["label"], rows["path"], manifest["image_id"]), **{BATCH: batch})
        with deciding(workspace, identifier) as present:
            if decisions.batches(present.decisions) != decisions.batches(before.decisions):
                raise DataError("Somebody else has added images meanwhile. Try again.")
            with files.published(present.folder / "manifest.parquet") as temporary:
                pd.concat([manifest, rows])[list(MANIFEST_COLUMNS)].to_parquet(temporary, index=False)
            _move_in(staging, batch, present)
            record = {BATCH: batch, "origin": str(source), "counts": _counts(rows), "left_out": left_out}
            later = [*present.info.get("batches", []), record]
            files.write_json(present.folder / "import.json", {**present.info, "root": None, "batches": later})
            line = Decision(ADD, "", after=batch, note=f"{plural(len(rows), 'image')} of {source.name}"[:LONGEST_NOTE])
            decisions.append(present.folder, [line], decisions.checked_author(author), {})
        made = open_dataset(workspace, identifier)
        importing.store_derived(workspace, made, pixels, duplicates.renumbered(alike, remaining))
        return made


def _free_names(dataset: Dataset) -> Iterator[str]:
    """Folders of batches that a data set does not have yet."""
    names = (f"added-{number}" for number in itertools.count(2))
    return (name for name in names if not (dataset.root / name).exists())


def _discard(folder: Path, remaining: set[str]) -> None:
    """Remove files that were converted for images that are left out."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.relative_to(folder).as_posix() not in remaining:
            path.unlink()


def _moved(images: pd.DataFrame, folder: str) -> pd.DataFrame:
    """Images whose files lie in a folder of that name now."""
    masks = images["mask_path"]
    return images.assign(path=f"{folder}/" + images["path"], mask_path=masks.where(masks == "", f"{folder}/" + masks))


def _move_in(staging: Path, batch: str, dataset: Dataset) -> None:
    """Put the files of a batch, and where the data set had none of its own all its files, into its folder."""
    own = dataset.folder / "files"
    if dataset.info["root"] is None:
        files.move(staging / batch, own / batch)
        return
    shutil.rmtree(own, ignore_errors=True)  # of an addition that the system ended at this line
    files.move(staging, own)


def _counts(images: pd.DataFrame) -> dict[str, int]:
    return {label: int(n) for label, n in images["label"].value_counts().sort_index().items()}
