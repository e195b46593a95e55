"""What a tree of files means as a data set, from names alone: classes, parts, patients, masks, and what is no image.

The name of every folder on the way to an image says its role (PARTS, ROLES); of those that are left, the first that
images do not all share is the class. A folder is listed once, and an archive is what it would unpack to.
"""

import contextlib
import functools
import io
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from covid_core.data.imports import patterns, spreadsheets
from covid_core.errors import DataError, cause
from covid_core.images.codec import NAME_WITHOUT_SUFFIX, PICTURE_SUFFIXES, SUFFIXES
from covid_core.specs import LayoutSpec

OFF_BY_DEFAULT = frozenset({"Lung_Opacity"})  # a fourth class of the database that the course study left out
PARTS = {  # names of folders that hold a part of a data set that its authors split, without digits and signs
    "train": "train",
    "training": "train",
    "trainset": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "validate": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "testset": "test",
    "trainval": "train",
}
NEUTRAL, MASKS, INSIDE = "neutral", "masks", "inside"
ROLES = (  # the first whose pattern is the whole name of a folder, without regard to case; any other may be a class
    (NEUTRAL, r"(images?|imgs?|png|jpe?g|dicoms?|dcm|tiff?|files)([ _-]?\d+)?"),
    (MASKS, r"(lungs?[ _-]?)?(masks?|segmentations?)"),
    (INSIDE, r"(patient|subject|person|case|study|series|session|visit|exam)[ _-]?\d+|[ps]\d{4,}|p\d\d"),
)
MASK_NAME = re.compile(r"[ _-](lung)?(mask|seg(mentation)?)$", re.IGNORECASE)
PATIENTS = {  # how paths name patients, likeliest first: as in CheXpert, MIMIC-CXR, Kermany's set and ChestX-ray14
    "Folders such as patient00012 or p10000032": r"(?i)(?:^|/)((?:patient|subject|person|case)[ _-]?\d+|p\d{4,})/",
    "File names such as person12_virus_6 or IM-0115-0001": (
        r"(?i)(?:^|/)(?:((?:patient|subject|person|case)[ _-]?\d+)[ _-][^/]*"
        r"|((?:NORMAL2-)?IM-\d{4})-\d{4}[^/]*\.(?:jpe?g|png))$"  # of DICOM files, the first number is the series
    ),
    "File names such as 00000013_005": r"(?:^|/)(\d{8})_\d{3}[^/]*$",
}
MOST_IN_CLASSES = 0.5  # share of patients' numbers in several classes from which numbers start anew in each class
TABLE = ".metadata.xlsx"  # beside a class folder: a table of sources, as in the COVID-19 Radiography Database
EVERYTHING = LayoutSpec()
NO_CLASSES = (
    "No class folders with PNG, JPEG, TIFF or DICOM images in {root}. Expected CLASS/*.png or CLASS/images/*.png, "
    "one folder per class."
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may become an image. ``mask_path`` and ``path`` are relative to the root, as POSIX text; ``part`` is
    that of its authors ("train", "validation", "test"); ``sex`` is M or F, ``age`` in years, ``spacing`` a pixel's side
    in mm; ``reading`` as in a manifest; the unknown is empty."""

    path: str
    label: str
    source: str = ""
    mask_path: str = ""
    patient: str = ""
    part: str = ""
    sex: str = ""
    age: str = ""
    view: str = ""
    device: str = ""
    spacing: str = ""
    reading: str = ""
    has_namesakes: bool = False

    @property
    def image_id(self) -> str:
        """Class and name of the file; where the class has several of that name, class and path."""
        return f"{self.label}/{self.path if self.has_namesakes else self.path.rpartition('/')[2]}"


@dataclass(frozen=True)
class Layout:
    """What a tree holds: ``listed`` by class, naturally sorted; ``others``, path and reason, by class, "" for none.

    ``tables`` are the metadata tables beside the classes. ``patients`` is the regular expression by which patients are
    known, "" where nothing names them; ``anew`` says whether their numbers start anew in each class. ``wrapping`` is
    the innermost folder that holds all classes, "" for the root itself; ``below`` are folders that every class has
    inside, so that they may be the classes, and the classes hospitals. ``encoding`` is how names in an archive were
    read that do not say it.
    """

    root: str
    listed: dict[str, list[Candidate]]
    others: dict[str, list[tuple[str, str]]]
    tables: tuple[str, ...] = ()
    patients: str = ""
    anew: bool = False
    wanted: tuple[str, ...] | None = None
    wrapping: str = ""
    below: tuple[str, ...] = ()
    collection: str = ""
    encoding: str = ""

    @cached_property
    def counts(self) -> dict[str, int]:
        """Images per class."""
        return {label: len(images) for label, images in self.listed.items()}

    @property
    def chosen(self) -> list[str]:
        """The wanted classes, by default all but OFF_BY_DEFAULT. Raises DataError when one of them does not exist."""
        wanted = [label for label in self.listed if label not in OFF_BY_DEFAULT] if self.wanted is None else self.wanted
        missing = [label for label in wanted if label not in self.listed]
        if missing or not wanted:
            there = ", ".join(self.listed)
            raise DataError(f"There is no class {', '.join(missing) or '(none)'} in {self.root}; found: {there}.")
        return list(wanted)

    @property
    def images(self) -> list[Candidate]:
        """Of the wanted classes, class by class."""
        return [image for label in self.chosen for image in self.listed[label]]

    @property
    def left_out(self) -> list[tuple[str, str]]:
        """Path and reason of what is no image, of the wanted classes and of no class."""
        return [other for label in ("", *self.chosen) for other in self.others.get(label, [])]

    @property
    def crossing(self) -> int:
        """Patients whose images lie in several parts of the authors' split."""
        parts = defaultdict(set)
        for image in self.images:
            parts[image.patient].add(image.part)
        return sum(len(those - {""}) > 1 for patient, those in parts.items() if patient)

    def table(self) -> pd.DataFrame:
        """One row per wanted class: class, images, those of each part, patients, masks, and a first image's path."""
        rows = []
        for label in self.chosen:
            images = self.listed[label]
            parts = Counter(image.part for image in images)
            rows.append(
                {
                    "class": label,
                    "images": len(images),
                    **{part: parts[part] for part in dict.fromkeys(PARTS.values())},
                    "patients": len({image.patient for image in images} - {""}),
                    "masks": sum(image.mask_path != "" for image in images),
                    "first": images[0].path,
                }
            )
        return pd.DataFrame(rows)

    def with_sources(self, folder: Path) -> list[Candidate]:
        """``images`` with the sources that metadata tables in the unpacked ``folder`` name: the table that is called
        after the class, or else any that is called after none."""
        tables = {PurePath(table).name.removesuffix(TABLE): _sources_in(folder / table) for table in self.tables}
        strangers = {stem: source for name in tables.keys() - self.listed for stem, source in tables[name].items()}
        images = []
        for image in self.images:
            sources = tables.get(image.label, strangers)
            images.append(replace(image, source=image.source or sources.get(_stem(image.path).lower(), "")))
        return images


@dataclass(slots=True)
class _Folder:
    """A folder by the roles of those on its way: ``way`` may hold the class, ``key`` is what image and mask share. The
    names of its files are those of ``pictures`` and of other ``files``."""

    way: list[str] = field(default_factory=list)
    key: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    part: str = ""
    has_part_inside: bool = False
    is_masks: bool = False
    label: str = ""


def names_below(root: Path) -> list[str]:
    """All files below a folder but hidden ones, as POSIX paths relative to it. A folder is entered once.

    Raises DataError where there is no folder, or the system refuses it.
    """
    with opening(root):
        if not root.is_dir():
            raise DataError(f"There is no folder {called(root)}.")
        names, entered = [], set()
        for folder, inside, files in os.walk(root, onerror=_refused, followlinks=True):
            inside[:] = sorted(name for name in inside if not is_hidden(PurePath(name)))
            place = os.stat(folder)
            if (place.st_dev, place.st_ino) in entered:  # by a link to a folder above
                inside.clear()
                continue
            entered.add((place.st_dev, place.st_ino))
            relative = PurePath(folder).relative_to(root)
            names += [(relative / name).as_posix() for name in sorted(files) if not is_hidden(PurePath(name))]
        return names


def pictures_below(root: Path) -> list[str]:
    """The images below a folder, lung masks aside, in the order of names. Raises DataError as ``names_below``."""
    names = list(filter(is_picture, names_below(root)))
    return sorted(set(names) - masks_among(names).keys())


def understood(names: Iterable[str], root: str, spec: LayoutSpec = EVERYTHING) -> Layout:
    """What files mean.

    Args:
        names: POSIX paths relative to the root, none of them hidden.
        root: what the tree is called in errors.
        spec: what a person knows better.

    Raises:
        DataError: no class can be named; the text says what to do.
    """
    folders, masks = _read_names(names, spec)
    of_images = [folder for folder in folders.values() if folder.pictures and not folder.is_masks]
    wrapping, below = _name_classes(folders, of_images, root, spec)
    images, tables, others = [], [], defaultdict(list)
    for way, folder in folders.items():
        paths = [f"{way}/{file}".lstrip("/") for file in folder.pictures]
        if folder.label:  # outside of classes nobody expects a file to be an image
            images += [Candidate(path, folder.label, part=folder.part) for path in paths if path not in masks]
            rest = [as_text(f"{way}/{file}".lstrip("/")) for file in folder.files if not file.endswith(TABLE)]
            others[folder.label] += [(path, "Not a PNG, JPEG, TIFF or DICOM file.") for path in rest]
        else:
            others[""] += [(as_text(path), "It lies in no class folder.") for path in paths if path not in masks]
        tables += [f"{way}/{file}".lstrip("/") for file in folder.files if file.endswith(TABLE)]
    images.sort(key=lambda one: (one.label, len(_stem(one.path)), _stem(one.path), one.path))  # COVID-9 before COVID-10
    return completed(images, others, masks, root, spec, tables=tuple(tables), wrapping=wrapping, below=below)


def masks_among(names: Iterable[str], spec: LayoutSpec = EVERYTHING) -> dict[str, str]:
    """Files that are lung masks by their folders or names, each with the image that it is of, "" for none."""
    return _read_names(names, spec)[1]


def _read_names(names: Iterable[str], spec: LayoutSpec) -> tuple[dict[str, _Folder], dict[str, str]]:
    """Folders by their way, and masks with their images."""
    folders: dict[str, _Folder] = {}
    for name in names:
        way, _, file = name.rpartition("/")
        if way not in folders:
            folders[way] = _folder(way, spec)
        (folders[way].pictures if is_picture(file) else folders[way].files).append(file)
    masks, images = {}, defaultdict(list)
    for way, folder in folders.items():
        stems = {_stem(file) for file in folder.pictures}
        for file in folder.pictures:
            path, stem = f"{way}/{file}".lstrip("/"), _stem(file)
            bare = MASK_NAME.sub("", stem)
            if folder.is_masks or (bare != stem and bare in stems):
                masks[path] = (*folder.key, bare)
            else:
                images[(*folder.key, stem)].append(path)
    return folders, {mask: images[key].pop(0) if images[key] else "" for mask, key in masks.items()}


def completed(
    images: list[Candidate],
    others: dict[str, list[tuple[str, str]]],
    masks: Mapping[str, str],
    root: str,
    spec: LayoutSpec,
    **more: Any,
) -> Layout:
    """The layout of images, with their masks, and with patients from their paths where no table named any."""
    of_image = {image: mask for mask, image in masks.items()}
    paths = {image.path for image in images}
    others[""] += [(as_text(mask), "A mask without an image.") for mask, image in masks.items() if image not in paths]
    pattern = "" if any(image.patient for image in images) else _pattern_of(images, spec)
    named = _named(pattern, images)
    anew = bool(pattern) and (_starts_anew(images, named) if spec.anew is None else spec.anew)
    namesakes = Counter(image.image_id for image in images)
    listed = defaultdict(list)
    for image, from_path in zip(images, named, strict=True):
        patient = image.patient or from_path
        patient = f"{image.label}/{patient}" if patient and anew else patient
        has_namesakes = namesakes[image.image_id] > 1
        mask = of_image.get(image.path, "")
        listed[image.label].append(replace(image, mask_path=mask, patient=patient, has_namesakes=has_namesakes))
    return Layout(root, dict(listed), dict(others), patients=pattern, anew=anew, wanted=spec.classes, **more)


def called(root: Path) -> str:
    """What a folder or archive is called in sentences: its name alone, which tells nobody where this machine has it."""
    return root.resolve().name or str(root)


@contextlib.contextmanager
def opening(root: Path) -> Iterator[None]:
    """Tell what the system refuses: no permission, a name that is too long, a drive that is gone."""
    try:
        yield
    except OSError as error:
        raise DataError(f"The folder {called(root)} cannot be opened: {cause(error)}.") from error


def is_hidden(path: PurePath) -> bool:
    """Whether a file or folder is the system's own and none of the user's."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def as_text(path: str) -> str:
    """A path as it can be written to a table; Linux allows names that no encoding explains."""
    return path.encode("utf-8", "backslashreplace").decode()


def _folder(name: str, spec: LayoutSpec) -> _Folder:
    made = _Folder()
    for part in name.split("/") if name else ():
        role = next((role for role, pattern in ROLES if re.fullmatch(pattern, part, re.IGNORECASE)), "")
        of_authors = part_of_name(part, spec.parts)
        if of_authors:
            made.part, made.has_part_inside = of_authors, bool(made.way)
        if role == MASKS and part not in (spec.classes or ()):
            made.is_masks = True
        elif role != NEUTRAL:
            made.key.append(part)
        if not role and not of_authors:
            made.way.append(part)
    return made


def part_of_name(name: str, parts: Mapping[str, str] | None = None) -> str:
    """The part that a name says, "" for none: ``parts`` by name, or else the usual names."""
    return _usual_part(name) if parts is None else parts.get(name, "")


@functools.lru_cache(maxsize=1024)
def _usual_part(name: str) -> str:
    return PARTS.get(re.sub(r"[\W\d_]|list|split", "", name.lower()), "")


def _name_classes(
    folders: Mapping[str, _Folder], of_images: list[_Folder], root: str, spec: LayoutSpec
) -> tuple[str, tuple[str, ...]]:
    """Give every folder its class. Returns the innermost folder that holds all, and what may be the classes as well:
    the same folders inside each. Raises DataError where none can be named."""
    depth = _wrapping([folder.way for folder in of_images])
    for folder in folders.values():
        folder.label = folder.way[depth] if len(folder.way) > depth else ""
    labels = {folder.label for folder in of_images} - {""}
    wanted = spec.classes or ()
    if not labels.issuperset(wanted):  # folders that are called as a person says, whatever else they may mean
        for name, folder in folders.items():
            named = next((part for part in name.split("/") if part in wanted), "")
            folder.label = named or folder.label
    elif len(labels) < 2 and (not labels or all(folder.has_part_inside for folder in of_images)):
        parts = sorted({folder.part for folder in of_images} - {""})
        raise DataError(
            f"The folders of {root} are parts of a data set ({', '.join(parts)}), not classes. Where are the labels? "
            "Expected one folder per class, above or below them, or a table with the label of each file."
            if parts
            else NO_CLASSES.format(root=root)
        )
    inside = defaultdict(set)
    for folder in of_images:
        inside[folder.label].update(folder.way[depth + 1 : depth + 2])
    sites = list(inside.values())
    below = sorted(sites[0]) if len(sites) > 1 and len(sites[0]) > 1 and all(one == sites[0] for one in sites) else []
    return next((one.way[depth - 1] for one in of_images if len(one.way) >= depth > 0), ""), tuple(below)


def _wrapping(ways: list[list[str]]) -> int:
    """How many folders wrap those of the classes: all images share them, and below them a choice is left."""
    depth = 0
    while len({way[depth] for way in ways if len(way) > depth}) == 1:
        below = {tuple(way[depth + 1 : depth + 2]) for way in ways}
        if below == {()} or (() in below and len(below) == 2):  # the only class, with or without a folder inside
            break
        depth += 1
    return depth


def _pattern_of(images: list[Candidate], spec: LayoutSpec) -> str:
    """The regular expression by which paths name patients; empty where none does."""
    if spec.patients is not None:
        return spec.patients
    in_class = Counter(image.label for image in images)
    for pattern in PATIENTS.values():
        fitting = Counter(image.label for image in images if re.search(pattern, image.path))
        if any(2 * fitting[label] >= in_class[label] for label in in_class):
            return pattern
    return ""


def _named(pattern: str, images: list[Candidate]) -> list[str]:
    """The patient that each path names: the pattern's groups, or else the whole. Raises DataError."""
    paths = [image.path for image in images]
    if pattern in PATIENTS.values():
        own = (re.search(pattern, path) for path in paths)
        matches = [one and [one.group(), *one.groups()] for one in own]
    else:
        matches = patterns.searched(pattern, paths) if pattern else [None] * len(paths)
    return ["/".join(filter(None, one[1:])) or one[0] if one else "" for one in matches]


def _starts_anew(images: list[Candidate], named: list[str]) -> bool:
    """Whether patients' numbers start anew in each class."""
    labels = defaultdict(set)
    for image, patient in zip(images, named, strict=True):
        labels[patient].add(image.label)
    labels.pop("", None)
    several = [of for of in labels.values() if len(of) > 1]
    numbered_alike = set().union(*several)  # classes whose patients are named otherwise say nothing about it
    return len(several) > MOST_IN_CLASSES * sum(bool(of & numbered_alike) for of in labels.values())


def has_image_suffix(file: str) -> bool:
    return os.path.splitext(file)[1].lower() in SUFFIXES


def is_plain(path: str) -> bool:
    """Whether the name is that of a PNG or JPEG file, which is taken as it is; others have to be converted."""
    return path.lower().endswith(PICTURE_SUFFIXES)


def is_picture(file: str) -> bool:
    """Whether a name or path is that of an image, or of a DICOM file that archives write without a suffix."""
    return has_image_suffix(file) or NAME_WITHOUT_SUFFIX.fullmatch(file.rpartition("/")[2]) is not None


def _stem(path: str) -> str:
    return os.path.splitext(path.rpartition("/")[2])[0]


def _refused(error: OSError) -> None:
    raise error


def _sources_in(table: Path) -> dict[str, str]:
    """Image name (without suffix, lower case) to its URL, from a metadata table of the database."""
    try:
        text = spreadsheets.as_csv(table.name, table.read_bytes())
        rows = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        rows.columns = [str(column).strip().upper() for column in rows.columns]
        names = rows["FILE NAME"].str.removesuffix(".png").str.strip().str.lower()
        return dict(zip(names, rows["URL"].str.strip(), strict=True))
    except (KeyError, ValueError, OSError) as error:
        raise DataError(f"{table.name} is not a table with the columns FILE NAME and URL: {cause(error)}.") from error
