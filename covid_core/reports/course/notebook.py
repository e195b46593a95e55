"""A course report as a Jupyter notebook that computes its comparison again, from files beside it and without this app.

The text and the tables that rest on more than predictions stand in it as they are; the cells of ``notebook_cells.txt``
stand in the comparison, and take the tables and figures of it from each run's predictions and history.
"""

import base64
import io
import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

import nbformat.v4 as nb
import pandas as pd
from nbformat import NotebookNode, writes

from covid_core.reports.course.document import (
    Block,
    Bullets,
    Chart,
    Discussion,
    Document,
    Paragraph,
    Picture,
    Section,
    Table,
)
from covid_core.reports.course.subject import Subject
from covid_core.runs.store import Run

CELLS = Path(__file__).with_name("notebook_cells.txt")
COMPUTED = "comparison"  # the section whose tables and figures are computed
NOT_COMPUTED = ("hyperparameters", "cost", "repeats")  # its tables that rest on more than predictions
PLACE = 'Path("data")'  # in the cells: where the files are
MARK, TEXT = "# %%", "# %% [markdown]"


def to_notebook(document: Document, subject: Subject, name: str) -> dict[str, bytes]:
    """The notebook and the files that it reads, by name, the notebook first."""
    folder = f"{name}-data"
    head = f"# {document.title}\n\nCourse report, {document.made:%d %B %Y}. Run all cells to compute its numbers again."
    cells = [nb.new_markdown_cell(head)]
    for section in document.sections:
        cells += _section(section, folder)
    facts = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # else drawn by chance: the same report is the same file
    notebook = nb.new_notebook(cells=cells, metadata=facts)
    return {f"{name}.ipynb": writes(notebook).encode(), **data(subject, folder)}


def data(subject: Subject, folder: str) -> dict[str, bytes]:
    """The files that the notebook reads: a table of the runs; each run's predictions, history, and groups of images
    where it has any, as numbers."""
    contents, rows = {}, []
    for number, ranking in enumerate(subject.rankings, start=1):
        for one in ranking.order:
            run = subject.run_of(one)
            rows.append({"name": one.name, "folder": run.id, "test_set": number})
            contents |= {f"{folder}/{run.id}/{name}": content for name, content in _of_run(run).items()}
    return {f"{folder}/runs.csv": _csv(pd.DataFrame(rows)), **contents}


def _of_run(run: Run) -> Mapping[str, bytes]:
    table = io.BytesIO()
    run.predictions().to_parquet(table, index=False)
    files = {run.predictions_path.name: table.getvalue(), run.history_path.name: _csv(run.history())}
    groups = run.groups()
    if groups is not None:
        numbers = pd.factorize(groups)[0]  # a name may be a patient's
        grouped = pd.DataFrame({"image_id": groups.index, "group": numbers})[numbers >= 0]
        files["groups.csv"] = _csv(grouped)
    return files


def _csv(table: pd.DataFrame) -> bytes:
    return bytes(table.to_csv(index=False, lineterminator="\n").encode())


def _section(section: Section, folder: str) -> Iterator[NotebookNode]:
    yield nb.new_markdown_cell(f"## {section.title}")
    is_computed = section.key == COMPUTED
    for block in section.blocks:
        if is_computed and (isinstance(block, Chart) or isinstance(block, Table) and block.key not in NOT_COMPUTED):
            continue
        if is_computed and isinstance(block, Discussion):
            yield from computing(folder)
        yield from _cell(block)


def computing(folder: str) -> Iterator[NotebookNode]:
    """The cells that compute the comparison."""
    lines = CELLS.read_text(encoding="utf-8").splitlines()
    parts = [(mark, list(some)) for mark, some in groupby(lines, lambda line: line.startswith(MARK))]
    marks = [some[-1] for is_mark, some in parts if is_mark]
    texts = ["\n".join(some).strip() for is_mark, some in parts if not is_mark]
    for mark, text in zip(marks, texts, strict=True):
        if mark == TEXT:
            yield nb.new_markdown_cell(text)
        else:
            yield nb.new_code_cell(text.replace(PLACE, f'Path("{folder}")', 1))


def _cell(block: Block) -> Iterator[NotebookNode]:
    match block:
        case Paragraph(text):
            yield nb.new_markdown_cell(_plain(text))
        case Bullets(items):
            yield nb.new_markdown_cell("\n".join(f"- {_plain(item)}" for item in items))
        case Discussion(prompt):
            yield nb.new_markdown_cell(f"> **Your discussion**\n>\n> *{_plain(prompt)}*\n>\n> …")
        case Table():
            yield nb.new_markdown_cell(f"**{_plain(block.caption)}**\n\n{_table(block)}")
        case Picture():
            shown = f"![{_plain(block.alt)}](attachment:{block.key}.png)\n\n*{_plain(block.caption)}*"
            kind = "image/jpeg" if block.content.startswith(b"\xff\xd8") else "image/png"
            attached = {f"{block.key}.png": {kind: _base64(block.content)}}
            yield nb.new_markdown_cell(shown, attachments=attached)
        case Chart():
            yield nb.new_markdown_cell(f"**{_plain(block.title)}.** {_plain(block.alt)}")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _table(block: Table) -> str:
    rows = [
        [f"**{cell}**" if place in block.best and cell else cell for cell in map(_plain, map(str, row))]
        for place, row in enumerate(block.frame.itertuples(index=False))
    ]
    lines = [[_plain(str(name)) for name in block.frame.columns], ["---"] * len(block.frame.columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """Text of which Markdown takes nothing for its own."""
    return re.sub(r"([\\`*_|<>\[\]$])", r"\\\1", text).replace("\n", " ")
