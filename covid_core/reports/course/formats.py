"""The formats of a course report: to add one, add a row."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from covid_core import files
from covid_core.errors import InvalidChoice
from covid_core.reports.course.document import Document
from covid_core.reports.course.html import to_html
from covid_core.reports.course.subject import Subject
from covid_core.runs.store import Run, Study


class Format(NamedTuple):
    """What a format is called, its media type, and what makes its files.

    ``files`` takes the report, its runs, and the name of its main file without suffix; it gives the content of each
    file by its name, which may hold folders, the main one first. ``is_one_file``: there is no other.
    """

    label: str
    media: str
    files: Callable[[Document, Subject, str], Mapping[str, bytes]]
    is_one_file: bool = True


def _notebook(document: Document, subject: Subject, name: str) -> Mapping[str, bytes]:
    from covid_core.reports.course import notebook  # here and below: what only one format needs

    return notebook.to_notebook(document, subject, name)


FORMATS: dict[str, Format] = {
    "html": Format("HTML", "text/html", lambda document, _subject, name: {f"{name}.html": to_html(document)}),
    "ipynb": Format("Notebook", "application/x-ipynb+json", _notebook, is_one_file=False),
}


def checked(format: str) -> Format:
    """The format of that name. Raises InvalidChoice."""
    if format not in FORMATS:
        raise InvalidChoice(f"The format must be one of {', '.join(FORMATS)}, received: {format!r}.")
    return FORMATS[format]


def file_name(runs: Sequence[Run], study: Study | None) -> str:
    """The name of a report's main file, without suffix."""
    return f"report-{study.id if study else runs[0].id if len(runs) == 1 else runs[0].dataset.id}"


def write(document: Document, subject: Subject, format: str, folder: Path) -> list[Path]:
    """Write a report into a folder, which is made where it is not there. Returns its files, the main one first.

    Raises InvalidChoice for a format that does not exist, and a folder that cannot be written into.
    """
    made = checked(format).files(document, subject, file_name(subject.runs, subject.study))
    try:
        for name, content in made.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            files.write_bytes(folder / name, content)
    except OSError as error:
        raise InvalidChoice(f"No report can be written into {folder}: {error.strerror or error}.") from error
    return [folder / name for name in made]
