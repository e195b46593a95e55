"""Which images a folder holds, from its names alone: classes, lung masks, sources, and what is no image.

Two layouts are understood, class by class: ``CLASS/images/*.png`` with ``CLASS/masks`` and ``CLASS.metadata.xlsx`` (the
COVID-19 Radiography Database), and ``CLASS/*.png``. Every folder is listed once.
"""

import contextlib
import os
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

import pandas as pd

from covid_core.errors import DataError
from covid_core.images.codec import SUFFIXES

OFF_BY_DEFAULT = frozenset({"Lung_Opacity"})  # a fourth class of the database that the course study left out
DEEPEST = 4  # folders that an archive may have wrapped around the class folders


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may become an image. ``mask_path`` and ``path`` are relative to the root, as POSIX text."""

    path: str
    label: str
    source: str = ""
    mask_path: str = ""


@dataclass(frozen=True)
class ClassFolder:
    """One class: ``folder`` holds its image files ``names``, naturally sorted, and ``others`` with the reason why not.

    ``folder`` and the paths in ``others`` are relative to the root, as POSIX text.
    """

    label: str
    folder: str
    names: list[str]
    others: list[tuple[str, str]]


@dataclass(frozen=True)
class Layout:
    """The class folders below ``root``, by label; those without any image file are left out."""

    root: Path
    classes: dict[str, ClassFolder]

    def chosen(self, classes: Iterable[str] | None = None) -> list[ClassFolder]:
        """The wanted classes, by default all but OFF_BY_DEFAULT. Raises DataError when one of them does not exist."""
        wanted = [c for c in self.classes if c not in OFF_BY_DEFAULT] if classes is None else list(classes)
        missing = [label for label in wanted if label not in self.classes]
        if missing or not wanted:
            there = ", ".join(self.classes)
            raise DataError(f"There is no class {', '.join(missing) or '(none)'} in {self.root}; found: {there}.")
        return [self.classes[label] for label in wanted]

    def candidates(self, chosen: Iterable[ClassFolder]) -> list[Candidate]:
        """Image files, sorted by class and number, with source and mask where they are known."""
        listed = []
        for folder in chosen:
            sources = _sources_of(self.root / f"{folder.label}.metadata.xlsx")
            masks = _files_in(self.root / folder.label / "masks")
            for name in folder.names:
                mask_path = f"{folder.label}/masks/{name}" if name in masks else ""
                source = sources.get(_stem(name).lower(), "")
                listed.append(Candidate(f"{folder.folder}/{name}", folder.label, source, mask_path))
        return listed


def survey(root: Path) -> dict[str, int]:
    """Image files per class below ``root``, in either layout. Raises DataError when there are none."""
    return {label: len(folder.names) for label, folder in layout_of(root).classes.items()}


def layout_of(root: Path) -> Layout:
    """The class folders in ``root``, or in what its only folders wrap, as archives do. Raises DataError without any."""
    with opening(root):
        if not root.is_dir():
            raise DataError(f"There is no folder {root}.")
        current = root
        for _ in range(DEEPEST):
            folders = sorted(entry for entry in current.iterdir() if entry.is_dir() and not is_hidden(entry))
            classes = {folder.label: folder for folder in map(_class_folder, folders) if folder.names}
            if classes:
                return Layout(current, classes)
            if len(folders) != 1:
                break
            current = folders[0]
    raise DataError(
        f"No class folders with PNG or JPEG images in {root}. Expected CLASS/images/*.png or CLASS/*.png, "
        "one folder per class."
    )


@contextlib.contextmanager
def opening(root: Path) -> Iterator[None]:
    """Tell what the system refuses: no permission, a name that is too long, a drive that is gone."""
    try:
        yield
    except OSError as error:
        raise DataError(f"The folder {root} cannot be opened: {error.strerror}.") from error


def is_hidden(path: PurePath) -> bool:
    """Whether a file or folder is the system's own and none of the user's."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def as_text(path: str) -> str:
    """A path as it can be written to a table; Linux allows names that no encoding explains."""
    return path.encode("utf-8", "backslashreplace").decode()


def _class_folder(folder: Path) -> ClassFolder:
    images = folder / "images"
    inside = images if images.is_dir() else folder
    relative = inside.relative_to(folder.parent).as_posix()
    names, others = [], []
    for name in os.listdir(inside):
        if os.path.splitext(name)[1].lower() not in SUFFIXES:
            others.append(name)
        elif not name.startswith("."):
            names.append(name)  # a candidate, whatever it is: reading it says more
    names.sort(key=lambda name: (len(_stem(name)), _stem(name), name))  # COVID-9 before COVID-10
    reasons = ((name, _why_no_image(inside / name)) for name in sorted(others))
    left_out = [(as_text(f"{relative}/{name}"), reason) for name, reason in reasons if reason]
    return ClassFolder(folder.name, relative, names, left_out)


def _why_no_image(path: Path) -> str:
    """Why a thing without an image's suffix is left out; nothing for what nobody expects to be read."""
    if path.is_dir():
        return "" if path.name in ("images", "masks") else "A folder inside a class is not read."
    return "Not a PNG or JPEG file." if path.is_file() and not is_hidden(path) else ""


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _files_in(folder: Path) -> frozenset[str]:
    if not folder.is_dir():
        return frozenset()
    with os.scandir(folder) as entries:
        return frozenset(entry.name for entry in entries if entry.is_file())


def _sources_of(table: Path) -> dict[str, str]:
    """Image name (without suffix, lower case) to its URL, from the database's metadata table; empty without one."""
    if not table.is_file():
        return {}
    try:
        rows = pd.read_excel(table, dtype=str).fillna("")
        rows.columns = [str(column).strip().upper() for column in rows.columns]
        names = rows["FILE NAME"].str.removesuffix(".png").str.strip().str.lower()
        return dict(zip(names, rows["URL"].str.strip(), strict=True))
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{table.name} is not a table with the columns FILE NAME and URL: {error}.") from error
