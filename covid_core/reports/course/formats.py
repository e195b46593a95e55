"""The formats of a course report: to add one, add a row."""

import io
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from covid_core import files
from covid_core.errors import InvalidChoice, cause
from covid_core.reports import tables
from covid_core.reports.course.document import Chart, Document, Picture, Table
from covid_core.reports.course.html import to_html
from covid_core.reports.course.pictures import PNG, SVG, charts, pictures, printed
from covid_core.reports.course.subject import Subject
from covid_core.runs.store import Run, Study

JPEG = b"\xff\xd8"  # how a JPEG file begins
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


LATEX = re.compile(r"([%&#_$])")  # what LaTeX obeys, and may stand in a caption


Draw = Callable[[Sequence[Chart], Sequence[str], bool], Mapping[tuple[str, str], bytes]]  # as ``pictures.pictures``


class Format(NamedTuple):
    """What a format is called, its media type, and what makes its files.

    ``files`` takes the report, its runs, the name of its main file without suffix, and what draws its pictures; it
    gives the content of each file by its name, which may hold folders, the main one first. ``is_one_file``: there is
    no other. ``kinds``: of the pictures that it holds; ``is_titled``: with their titles in them. ``is_printed``: a
    browser makes it from the HTML.
    """

    label: str
    media: str
    files: Callable[..., Mapping[str, bytes]]
    is_one_file: bool = True
    kinds: tuple[str, ...] = ()
    is_titled: bool = False
    is_printed: bool = False


def _html(document: Document, _subject: Subject, name: str, _draw: Draw = pictures) -> Mapping[str, bytes]:
    return {f"{name}.html": to_html(document)}


def _notebook(document: Document, subject: Subject, name: str, _draw: Draw = pictures) -> Mapping[str, bytes]:
    from covid_core.reports.course import notebook  # here and below: what only one format needs

    return notebook.to_notebook(document, subject, name)


def _word(document: Document, _subject: Subject, name: str, draw: Draw = pictures) -> Mapping[str, bytes]:
    from covid_core.reports.course import word

    return {f"{name}.docx": word.to_word(document, draw(charts(document), [PNG], False))}


def _pdf(document: Document, _subject: Subject, name: str, _draw: Draw = pictures) -> Mapping[str, bytes]:
    return {f"{name}.pdf": printed(to_html(document))}


def _archive(document: Document, subject: Subject, name: str, draw: Draw = pictures) -> Mapping[str, bytes]:
    """All in one: the page, the notebook with its data, every figure as SVG and PNG, every table as CSV and LaTeX."""
    made = {f"{name}.html": to_html(document), **_notebook(document, subject, name)}
    drawn = draw(charts(document), [SVG, PNG], True)
    made |= {f"figures/{key}.{kind}": content for (key, kind), content in drawn.items()}
    for block in (block for section in document.sections for block in section.blocks):
        if isinstance(block, Table):
            made[f"tables/{block.key}.csv"] = tables.to_csv(block.frame)
            made[f"tables/{block.key}.tex"] = tables.to_latex(
                block.frame, LATEX.sub(r"\\\1", block.caption), block.best
            ).encode()
        elif isinstance(block, Picture):
            made[f"figures/{block.key}.{'jpg' if block.content.startswith(JPEG) else 'png'}"] = block.content
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in made.items():
            archive.writestr(f"{name}/{path}", content)
    return {f"{name}.zip": target.getvalue()}


FORMATS: dict[str, Format] = {
    "html": Format("HTML", "text/html", _html),
    "ipynb": Format("Notebook", "application/x-ipynb+json", _notebook, is_one_file=False),
    "docx": Format("Word", DOCX, _word, kinds=(PNG,)),
    "pdf": Format("PDF", "application/pdf", _pdf, is_printed=True),
    "zip": Format("All in one zip", "application/zip", _archive, kinds=(SVG, PNG), is_titled=True),
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
        raise InvalidChoice(f"No report can be written into {folder}: {cause(error)}.") from error
    return [folder / name for name in made]
