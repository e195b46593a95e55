"""Labels and facts from tables beside the images: CSV, TSV or XLSX, of public collections or of one's own.

One row is one image, or one finding of it; rows of one image are merged. Tables with the same columns follow each
other, others are joined by the columns that they share, and a list of file names says which part these are of.
"""

import ast
import csv
import gzip
import io
import os
import re
import tomllib
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath

import pandas as pd

from covid_core.data.imports import spreadsheets
from covid_core.data.imports.archives import LARGEST_READ
from covid_core.data.imports.layouts import (
    Candidate,
    Layout,
    as_text,
    completed,
    has_image_suffix,
    is_picture,
    masks_among,
    part_of_name,
)
from covid_core.errors import DataError, cause
from covid_core.formatting import count, decimals, file_size
from covid_core.specs import LayoutSpec

KINDS = (".csv", ".tsv", ".txt", ".xlsx", ".csv.gz")
MOST_ROWS = 2_000_000  # MIMIC-CXR, the largest public collection of chest images, has 377,110
LISTED, LISTED_PART = "listed name", "part that lists it"  # columns of files that only list names
ROLES = (
    *("path", "label", "patient", "source", "part", "sex", "age", "birth", "date"),
    *("view", "device", "spacing", "reader"),
)
GUESSES = {  # names that tables of one's own give to columns, without case, spaces and signs
    "path": "path file filename filepath image imagepath imageid imageindex imagename name",
    "label": "label labels class classname finding findings diagnosis target",
    "patient": "patient patientid subject subjectid pid",
    "source": "source origin hospital site dataset url",
    "part": "part split fold set subset",
    "sex": "sex gender patientsex patientgender",
    "age": "age patientage",
    "birth": "birth birthyear yearofbirth birthdate dateofbirth patientbirth patientbirthdate",
    "date": "studydate studydatedicom",
    "view": "view viewposition projection",
    "device": "device scanner model manufacturermodelname",
    "spacing": "spacing pixelspacing",
    "reader": "reader readerid radid radiologist annotator",
}
POSITIVE, UNCERTAIN = {"1", "1.0", "true", "yes"}, {"-1", "-1.0"}
YEARS = {"Y": 1, "M": 12, "W": 52.18, "D": 365.25}  # units of a DICOM age, in a year
DATE = r"((?:18|19|20)\d\d)((?:0[1-9]|1[0-2])[0-3]\d)?"  # digits alone: year, then month and day where they are there
OLDEST = 120  # years; ChestX-ray14 has ages of 155 to 414, which are errors


@dataclass(frozen=True)
class Columns:
    """Which column says what; ``label`` may be several columns of 1, 0, -1 or blank. ``collection`` if it is known."""

    path: str
    label: tuple[str, ...]
    facts: Mapping[str, str]
    collection: str = ""


def is_table(name: str) -> bool:
    return name.lower().endswith(KINDS)


def read(names: Sequence[str], opened: Callable[[str], bytes]) -> pd.DataFrame:
    """Tables as one, all values as text, missing ones "".

    Args:
        names: of the files.
        opened: gives a file's content.

    Raises:
        DataError: a file is no table, or is too large; two tables share no column.
    """
    together: list[pd.DataFrame] = []
    for name in names:
        table = _read_one(name, opened(name))
        alike = next((place for place, one in enumerate(together) if list(one) == list(table)), None)
        if alike is None:
            together.append(table)
        else:
            together[alike] = pd.concat([together[alike], table], ignore_index=True)
    lists = [table for table in together if LISTED in table]
    tables = sorted((table for table in together if LISTED not in table), key=len, reverse=True)
    if not tables:
        raise DataError(f"{', '.join(names)}: no table with labels among them.")
    joined = tables[0]
    for table in tables[1:]:
        shared = [column for column in joined if column in table]
        if not shared:
            raise DataError(f"The tables {', '.join(names)} share no column by which they could be joined.")
        joined = joined.merge(table.drop_duplicates(), how="left", on=shared)
        if len(joined) > MOST_ROWS:
            raise DataError(f"The tables {', '.join(names)} have more than {count(MOST_ROWS)} rows if joined.")
    joined = joined.fillna("")
    if lists:
        columns = columns_of(joined, {})
        parts = {row[LISTED]: row["part"] for table in lists for row in table.to_dict("records")}
        joined[LISTED_PART] = joined[columns.path].map(parts).fillna("")
    return joined


def likely(names: Sequence[str], opened: Callable[[str], bytes]) -> list[str]:
    """The tables among files that are taken unasked: of text files, which may be anything, those of a known collection,
    and lists of images beside another table. ``opened`` as for ``read``."""
    tables, lists = [name for name in names if is_table(name) and not name.lower().endswith(".txt")], []
    for name in (name for name in names if name.lower().endswith(".txt")):
        try:
            table = _read_one(name, opened(name))
        except DataError:
            continue  # a text that is no table is no fault: nobody has chosen it
        if LISTED in table:
            lists.append(name)
        elif _collection(table):
            tables.append(name)
    return [*tables, *lists] if tables else []


def _read_one(name: str, content: bytes) -> pd.DataFrame:
    try:
        if name.lower().endswith(".gz"):
            with gzip.open(io.BytesIO(content)) as packed:
                content = packed.read(LARGEST_READ + 1)
        if len(content) > LARGEST_READ:
            raise DataError(f"{name} is larger than {file_size(LARGEST_READ)}.")
        if name.lower().endswith(".xlsx"):
            table = _separated(name, spreadsheets.as_csv(name, content), ",")
        else:
            table = _separated(name, _decoded(content))
    except (OSError, ValueError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(f"{name} cannot be read as a table: {cause(error)}.") from error
    if len(table) > MOST_ROWS:
        raise DataError(f"{name} has more than {count(MOST_ROWS)} rows.")
    table.columns = [str(column).strip() for column in table.columns]
    if table.columns.has_duplicates:
        raise DataError(f"{name} has two columns of one name: {table.columns[table.columns.duplicated()][0]}.")
    return table.fillna("").map(str.strip)


def _decoded(content: bytes) -> str:
    """UTF-8 or UTF-16 with its mark, else Windows' western code page, in which spreadsheets save."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _separated(name: str, text: str, separator: str = "") -> pd.DataFrame:
    if "\0" in text:
        raise DataError(f"{name} is no text, so it is no table.")
    head = text.lstrip().splitlines()[:1]
    if not head:
        raise DataError(f"{name} is empty.")
    separator = separator or (max("\t;, ", key=head[0].count) if head[0].count(",") == 0 else ",")
    first = next(csv.reader(head, delimiter=separator))
    options = {"sep": separator, "dtype": str, "keep_default_na": False, "nrows": MOST_ROWS + 1, "engine": "c"}
    if len(first) == 1 and has_image_suffix(first[0]):
        listed = pd.read_csv(io.StringIO(text), header=None, names=[LISTED], **options)
        return listed.assign(part=part_of_name(PurePath(name).stem))
    without_head = next((one["columns"] for one in _collections().values() if "columns" in one), [])
    if len(first) == len(without_head) and has_image_suffix(first[1]):
        return pd.read_csv(io.StringIO(text), header=None, names=without_head, **options)
    return pd.read_csv(io.StringIO(text), **options)


@cache
def _collections() -> dict[str, dict]:
    return tomllib.loads(Path(__file__).with_name("metadata_tables.toml").read_text(encoding="utf-8"))


def columns_of(table: pd.DataFrame, chosen: Mapping[str, str]) -> Columns:
    """Which column says what: as chosen, of a known collection, or by the columns' names.

    Args:
        table: as ``read`` gives it.
        chosen: column by role of ROLES; labels in several columns are joined by "|".

    Raises:
        DataError: a chosen column does not exist, or none names the images or their labels.
    """
    for role, column in chosen.items():
        for one in column.split("|") if role == "label" else [column]:
            if one not in table:
                raise DataError(f"The table has no column {one!r}; it has {', '.join(table.columns)}.")
    facts = {**guessed(table), **chosen}
    for role, question in (("path", "names the images"), ("label", "holds the labels")):
        if not facts[role]:
            raise DataError(f"No column of the table {question}; it has {', '.join(table.columns)}. Choose one.")
    path, label = facts.pop("path"), tuple(facts.pop("label").split("|"))
    return Columns(path, label, {role: column for role, column in facts.items() if column in table}, _collection(table))


def guessed(table: pd.DataFrame) -> dict[str, str]:
    """The column of each of ROLES, "" for none: of a known collection, or by the columns' names; ``label`` may be
    several columns, joined by "|"."""
    of_collection = _collections().get(_collection(table), {})
    plain = {re.sub(r"[\W_]", "", column.lower()): column for column in table}
    facts = {role: next((plain[name] for name in GUESSES[role].split() if name in plain), "") for role in ROLES}
    if of_collection:
        facts = {role: of_collection.get(role, "") for role in ROLES}
        facts["label"] = "|".join(column for column in of_collection["label"] if column in table)
    return {**facts, "part": LISTED_PART} if LISTED_PART in table else facts


def _collection(table: pd.DataFrame) -> str:
    """The public collection whose table it is, "" for none."""
    return next((name for name, one in _collections().items() if set(one["has"]) <= set(table)), "")


def labelled(names: Sequence[str], table: pd.DataFrame, columns: Columns, root: str, spec: LayoutSpec) -> Layout:
    """The images of a table, found among files by their path, or by their name where only one file has it.

    Args:
        names: POSIX paths relative to the root.
        table: one row per image, or per finding of one.
        columns: which column says what.
        root: what the tree is called in errors.
        spec: ``classes`` to tell apart, by default every label; ``several`` says what becomes of images with several
            labels; parts and patients that the table does not name are read from the paths.

    Raises:
        DataError: no row is of a file in the tree.
    """
    masks = masks_among(names, spec)
    files = Names(name for name in names if name not in masks and is_picture(name))
    rows: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    without_file = 0
    for row in table.to_dict("records"):
        path = files.named(row[columns.path])
        rows[path].append(row)
        without_file += not path
    rows.pop("", None)
    if not rows:
        first = table[columns.path].iat[0] if len(table) else ""
        raise DataError(f"None of the {count(len(table))} rows names an image below {root}. The first names {first!r}.")
    images = []
    left_out = [(as_text(path), "No row of the table names it.") for path in files.pictures if path not in rows]
    if without_file:
        left_out.append((f"{count(without_file)} rows of the table", "No image has that name."))
    labels = {path: _labels(of_image, columns) for path, of_image in rows.items()}
    wanted = None if spec.classes is None else set(spec.classes)
    facts = columns.facts
    for path, of_image in sorted(rows.items(), key=lambda one: (len(one[0]), one[0])):
        label, reason = _one_label(*labels[path], wanted, spec.several)
        if not label:
            left_out.append((as_text(path), reason))
            continue
        first = of_image[0]
        value = {role: first[column] for role, column in facts.items()}
        folder = next(filter(None, (part_of_name(part, spec.parts) for part in path.split("/")[:-1])), "")
        images.append(
            Candidate(
                path,
                label,
                source=value.get("source", ""),
                patient=value.get("patient", ""),
                part=part_of_name(value.get("part", "")) or folder,
                sex=sex_of(value.get("sex", "")),
                age=age_of(value.get("age", "")) or _age_between(value.get("birth", ""), value.get("date", "")),
                view=value.get("view", "").upper(),
                device=value.get("device", ""),
                spacing=value.get("spacing", ""),
            )
        )
    images.sort(key=lambda image: image.label)
    return completed(images, {"": left_out}, masks, root, spec, collection=columns.collection)


class Names:
    """Pictures by what a table may call them: the path, its end, the name, each with or without suffix. What may mean
    several of them stands in ``ambiguous``."""

    def __init__(self, pictures: Iterable[str]):
        self.pictures = list(pictures)
        self._called: dict[str, str] = {}
        self.ambiguous = set[str]()
        for path in self.pictures:
            parts = path.split("/")
            for start in range(len(parts)):
                for called in ("/".join(parts[start:]), os.path.splitext("/".join(parts[start:]))[0]):
                    if self._called.setdefault(called, path) != path:
                        self.ambiguous.add(called)
        self.ambiguous.difference_update(self.pictures)
        for called in self.ambiguous:
            del self._called[called]

    def named(self, text: str) -> str:
        """The path of the file that a table calls so; "" for none, or where several may be meant."""
        parts = text.replace("\\", "/").strip("/").split("/")
        if ".." in parts:
            return ""
        ends = ("/".join(parts[start:]) for start in range(len(parts)))  # a table's paths may start further above
        return next((self._called[end] for end in ends if end in self._called), "")


def _labels(rows: list[dict[str, str]], columns: Columns) -> tuple[set[str], set[str]]:
    """Labels of an image that hold, and those that are uncertain; of several readers, what most of them say."""
    readers = columns.facts.get("reader", "")
    certain: Counter[str] = Counter()
    doubtful: Counter[str] = Counter()
    by_reader: defaultdict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for row in rows:
        held, doubted = by_reader[row[readers] if readers else ""]
        if len(columns.label) == 1:
            held.update(_split(row[columns.label[0]]))
        else:
            held.update(column for column in columns.label if row[column].lower() in POSITIVE)
            doubted.update(column for column in columns.label if row[column] in UNCERTAIN)
    for held, doubted in by_reader.values():
        certain.update(held)
        doubtful.update(doubted)
    most = len(by_reader) / 2
    return {label for label, n in certain.items() if n > most}, {label for label, n in doubtful.items() if n > most}


def _split(text: str) -> list[str]:
    """Labels in one cell: ``A``, ``A|B``, ``A;B`` or ``['A', 'B']``."""
    if text.startswith("["):
        try:
            return [str(label).strip() for label in ast.literal_eval(text) if str(label).strip()]
        except (ValueError, SyntaxError):
            return []
    return [label.strip() for label in re.split(r"[|;]", text) if label.strip()]


def _one_label(held: set[str], doubted: set[str], wanted: set[str] | None, several: str) -> tuple[str, str]:
    """The one label of an image, or why it has none."""
    if not held and not doubted:
        return "", "It has no label."
    fitting = held if wanted is None else held & wanted
    if doubted and (wanted is None or doubted & wanted):
        return "", "Its label is uncertain."
    if not fitting:
        return "", "None of the chosen classes is its label."
    if len(fitting) > 1 or (several == "leave_out" and len(held) > 1):
        return "", "It has several labels."
    return fitting.pop(), ""


def sex_of(text: str) -> str:
    """``M``, ``F`` or "" of any spelling."""
    first = text[:1].upper()
    return "F" if first in ("F", "W") else "M" if first == "M" else ""


def age_of(text: str) -> str:
    """Age in years as text, of ``62``, ``62.0`` or DICOM's ``062Y`` and ``018M``; "" where that is none."""
    form = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)\s*([YMWD]?)", text.strip().upper())
    years = float(form[1]) / YEARS[form[2] or "Y"] if form else -1.0
    return decimals(years, 1).removesuffix(".0") if 0 <= years <= OLDEST else ""


def _age_between(birth: str, date: str) -> str:
    """Whole years from birth to date, of ``1950`` or ``19500131``, with or without signs between; one too many at most
    where only years are given. "" where one of them is none."""
    born, taken = (re.fullmatch(DATE, re.sub(r"\.0$|\D", "", text)) for text in (birth, date))
    if not born or not taken:
        return ""
    if born[2] and taken[2]:
        return age_of(str((int(taken[0]) - int(born[0])) // 10_000))
    return age_of(str(int(taken[1]) - int(born[1])))
