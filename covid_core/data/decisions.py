"""What people decided about images of a data set: leave out, relabel, group, dismiss a finding, add further images.
Files are never changed.

``decisions.csv`` in the data set's folder holds one line per decision, with author and time, and only grows: a decision
is taken back by a further line that names it. What is in force is applied whenever the data set is opened, so its
version changes with it, and every version that it ever had can be opened again: runs pin theirs.

Lines of one call are written at once and share their time; a line torn by a crash is dropped by readers, and mended by
the next writer. A damaged line is an error: images that somebody took out must not come back unnoticed.
"""

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from covid_core import files
from covid_core.errors import DataError, InvalidChoice, cause
from covid_core.formatting import plural

FILE, LOCK = "decisions.csv", "decisions.lock"
LEAVE_OUT, RELABEL, GROUP, DISMISS, TAKE_BACK = "leave out", "relabel", "group", "dismiss", "take back"
ADD = "add"  # a batch of images, which an import wrote; its image_id is empty
ACTIONS = (LEAVE_OUT, RELABEL, GROUP, DISMISS)
COLUMNS = ("number", "when", "author", "action", "image_id", "finding", "before", "after", "note")
BATCH = "batch"  # column of images: that of ADD; empty for those of the first import
TOGETHER = "together"  # column of images: equal for images that were grouped, empty for others
LONGEST_AUTHOR, LONGEST_NOTE = 80, 500  # characters


@dataclass(frozen=True)
class Decision:
    """One line of the table.

    ``after``: the new class of RELABEL, the group's name of GROUP (images of one name belong together), the other image
    of a pair whose finding is dismissed, the batch of ADD, the number of the decision that TAKE_BACK takes back.
    ``finding``: what DISMISS dismisses. ``number`` (from 1), ``when`` (ISO 8601, UTC), ``author`` and ``before`` (the
    image's class until then) are filled in when it is written.
    """

    action: str
    image_id: str
    after: str = ""
    finding: str = ""
    note: str = ""
    number: int = 0
    when: str = ""
    author: str = ""
    before: str = ""

    @property
    def seconds(self) -> float:
        """When it was written, in seconds since 1970."""
        return datetime.fromisoformat(self.when).timestamp()


def together(image_ids: Sequence[str], note: str = "") -> list[Decision]:
    """Decisions by which images belong together: no split parts them."""
    return [Decision(GROUP, name, after=image_ids[0], note=note) for name in image_ids]


# The file


def read(folder: Path) -> tuple[Decision, ...]:
    """All decisions of a data set's folder, those taken back among them, oldest first.

    Raises DataError where a line is damaged, OSError where the file cannot be read.
    """
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except UnicodeDecodeError as error:
        raise DataError(f"{FILE} of the data set {folder.name} is damaged: it is no text.") from error
    lines = text[: text.rfind("\n") + 1]
    return tuple(_of_row(row, number, folder) for number, row in enumerate(csv.reader(io.StringIO(lines)), start=1))


def _of_row(row: list[str], number: int, folder: Path) -> Decision:
    try:
        one = Decision(**{**dict(zip(COLUMNS, row, strict=True)), "number": int(row[0])})
        is_whole = one.number == number and one.action in (*ACTIONS, ADD, TAKE_BACK)
        is_whole &= datetime.fromisoformat(one.when).tzinfo is not None
        if is_whole and (one.action != TAKE_BACK or one.after.isdecimal()):
            return one
        raise ValueError("a field breaks its rule")
    except (ValueError, IndexError) as error:
        raise DataError(
            f"Line {number} of {FILE} of the data set {folder.name} is damaged. Mend it, or remove the file to go back "
            "to the images as they were imported."
        ) from error


def without_authors(folder: Path) -> bytes:
    """The table without who decided and what they noted, for others. Raises as ``read``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([asdict(replace(one, author="", note=""))[column] for column in COLUMNS] for one in read(folder))
    return text.getvalue().encode()


def stamp(folder: Path) -> int:
    """Changes whenever a decision is added."""
    path = folder / FILE
    return path.stat().st_size if path.exists() else 0


def append(folder: Path, wanted: Sequence[Decision], author: str, labels: Mapping[str, str]) -> None:
    """Add decisions, all of one time. ``labels`` holds the present class of each image. The caller holds the lock.

    Raises DataError where the file cannot be written.
    """
    before = len(read(folder))
    when = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for number, one in enumerate(wanted, start=before + 1):
        whole = replace(one, number=number, when=when, author=author, before=labels.get(one.image_id, one.before))
        writer.writerow([asdict(whole)[column] for column in COLUMNS])
    try:
        with open(folder / FILE, "ab+") as handle:
            handle.seek(0)
            handle.truncate(handle.read().rfind(b"\n") + 1)  # a torn line goes
            handle.write(text.getvalue().encode())
            handle.flush()
            os.fsync(handle.fileno())
        files.sync(folder)
    except OSError as error:
        raise DataError(f"The decision cannot be kept: {cause(error)}.") from error


# What is in force


def in_force(decisions: Iterable[Decision]) -> tuple[Decision, ...]:
    """Decisions that nobody has taken back, oldest first."""
    listed = tuple(decisions)
    back = {int(one.after) for one in listed if one.action == TAKE_BACK}
    return tuple(one for one in listed if one.action != TAKE_BACK and one.number not in back)


def changes(decisions: Iterable[Decision]) -> tuple[tuple[str, str, str], ...]:
    """What the decisions in force do to images: equal where they lead to the same images."""
    return tuple((one.action, one.image_id, one.after) for one in in_force(decisions) if one.action != DISMISS)


def left_out(decisions: Iterable[Decision]) -> frozenset[str]:
    """Ids of the images that the decisions in force leave out."""
    return frozenset(one.image_id for one in in_force(decisions) if one.action == LEAVE_OUT)


def batches(decisions: Iterable[Decision]) -> frozenset[str]:
    """The batches of images that are there, "" for those of the first import."""
    return frozenset({"", *(one.after for one in in_force(decisions) if one.action == ADD)})


def latest(decisions: Sequence[Decision]) -> tuple[Decision, ...]:
    """What the last call decided: lines that share the last one's time and author."""
    return tuple(one for one in decisions if (one.when, one.author) == (decisions[-1].when, decisions[-1].author))


def applied(images: pd.DataFrame, decisions: Iterable[Decision]) -> pd.DataFrame:
    """The images after the decisions in force: those of the batches that are there, without those left out, with new
    classes, and, where any were grouped, a column TOGETHER. Images that nobody decided about stay as they are, in their
    order."""
    valid = in_force(decisions)
    images = images[images[BATCH].isin(batches(valid))]
    labels = {one.image_id: one.after for one in valid if one.action == RELABEL}
    groups = _groups(valid)
    remaining = images[~images["image_id"].isin(left_out(valid))].reset_index(drop=True)
    if labels:
        remaining = remaining.assign(label=remaining["image_id"].map(labels).fillna(remaining["label"]))
    if groups:
        remaining = remaining.assign(**{TOGETHER: remaining["image_id"].map(groups).fillna("")})
    return remaining


def _groups(valid: Iterable[Decision]) -> dict[str, str]:
    """The group's name of each image that was grouped. An image that is in two joins them."""
    leader: dict[str, str] = {}

    def first_of(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    grouped = [one for one in valid if one.action == GROUP]
    for one in grouped:
        low, high = sorted((first_of(one.image_id), first_of(one.after)))
        leader[high] = low
    return {name: first_of(name) for name in list(leader)}


def counts(imported: Mapping[str, int], decisions: Iterable[Decision]) -> dict[str, int]:
    """Images per class after the decisions, from those of the import and of the batches that are there: what a list
    shows without opening the images."""
    listed = tuple(decisions)
    valid = [one for one in in_force(listed) if one.action != ADD]
    base: dict[str, str] = {}
    for one in listed:
        base.setdefault(one.image_id, one.before)
    for one in valid:
        if base[one.image_id] not in imported:
            raise DataError(f"Line {one.number} of {FILE} names a class {base[one.image_id]!r} that no image had.")
    label = base | {one.image_id: one.after for one in valid if one.action == RELABEL}
    out = left_out(listed)
    now = Counter(imported)
    for name in {one.image_id for one in valid}:
        now[base[name]] -= 1
        now[label[name]] += name not in out
    return {label: images for label, images in now.items() if images}


def dismissed(decisions: Iterable[Decision]) -> frozenset[tuple[str, str, str]]:
    """Findings that somebody looked at and dismissed: image id, finding, and the other image of a pair or nothing."""
    return frozenset((one.image_id, one.finding, one.after) for one in in_force(decisions) if one.action == DISMISS)


def before_each(decisions: Sequence[Decision]) -> list[int]:
    """How many decisions there were at each moment at which a run may have started, from 0 to all of them."""
    ends = [number for number in range(1, len(decisions)) if decisions[number].when != decisions[number - 1].when]
    return [0, *ends, len(decisions)] if decisions else [0]


# Checks


def checked(wanted: Sequence[Decision], images: pd.DataFrame, classes: Sequence[str], author: str) -> str:
    """Raise InvalidChoice or DataError where decisions break a rule. Returns the author, tidied.

    Args:
        wanted: what is to be decided.
        images: present images, columns image_id and label.
        classes: classes of the images as they were imported.
        author: who decides.
    """
    author = checked_author(author)
    if not wanted:
        raise InvalidChoice("Choose at least one image to decide about.")
    present = dict(zip(images["image_id"], images["label"], strict=True))
    for one in wanted:
        _check(one, present, classes)
    out = {one.image_id for one in wanted if one.action == LEAVE_OUT}
    if len(out) == len(present):
        raise DataError(f"That would leave out all {plural(len(present), 'image')}. Delete the data set instead.")
    return author


def checked_author(author: str) -> str:
    """Who decides, tidied. Raises InvalidChoice."""
    author = " ".join(author.split())
    if not author or len(author) > LONGEST_AUTHOR:
        received = f"it has {len(author)} now" if author else "it is empty now"
        raise InvalidChoice(f"Write the name of who decides, in 1 to {LONGEST_AUTHOR} characters: {received}.")
    return author


def _check(one: Decision, present: Mapping[str, str], classes: Sequence[str]) -> None:
    if one.action not in ACTIONS:
        raise InvalidChoice(f"A decision is one of {', '.join(ACTIONS)}, received: {one.action!r}.")
    if one.image_id not in present:
        raise DataError(f"There is no image {one.image_id!r} among those in use; it may have been left out already.")
    if any(len(text.splitlines()) > 1 for text in (one.note, one.after, one.finding)) or len(one.note) > LONGEST_NOTE:
        raise InvalidChoice(f"A note is one line of at most {LONGEST_NOTE} characters.")
    if one.action == RELABEL and one.after not in classes:
        raise InvalidChoice(f"A new class must be one of {', '.join(classes)}, received: {one.after!r}.")
    if one.action == RELABEL and one.after == present[one.image_id]:
        raise InvalidChoice(f"{one.image_id} is labelled {one.after} already.")
    if one.action == GROUP and one.after not in present:
        raise DataError(
            f"A group is named after one of its images; there is no image {one.after!r} among those in use."
        )
    if one.action == DISMISS and not one.finding:
        raise InvalidChoice(f"Say which finding of {one.image_id} is dismissed.")


def check_take_back(numbers: Sequence[int], decisions: Sequence[Decision], images: pd.DataFrame) -> None:
    """Raise InvalidChoice where one of these is no decision in force, or adds images (columns image_id and BATCH, of
    all batches) that later decisions are about."""
    valid = {one.number: one for one in in_force(decisions)}
    unknown = [number for number in numbers if number not in valid]
    if unknown or not numbers:
        raise InvalidChoice(f"There is no decision {unknown[0] if unknown else ''} in force that could be taken back.")
    back = {valid[number].after for number in numbers if valid[number].action == ADD}
    added = set(images["image_id"][images[BATCH].isin(back)])
    rest = [one for number, one in valid.items() if number not in numbers and one.action != ADD]
    about = [str(one.number) for one in rest if {one.image_id, one.after} & added]
    if about:
        raise InvalidChoice(f"Take back {', '.join(about)} first, or as well: these decide about the added images.")
