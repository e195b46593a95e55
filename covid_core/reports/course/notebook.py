"""A course report as a Jupyter notebook that computes its numbers again, from files beside it and without this app.

The cells of ``notebook_cells.txt`` stand after the summary: functions that make tables and figures from each run's
predictions and history, and from tables of what was recorded. Where a table or figure has a recipe, its call stands in
its place; everything else stands there as it is.
"""

import base64
import io
from collections.abc import Iterator, Mapping
from dataclasses import astuple
from itertools import groupby
from pathlib import Path
from typing import Any

import nbformat.v4 as nb
import pandas as pd
from nbformat import NotebookNode, writes

from covid_core.audit import dataset_audit
from covid_core.audit.model import model_audit
from covid_core.data.dataset import Dataset
from covid_core.reports import evidence_text, tables
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
from covid_core.reports.tables import in_markdown
from covid_core.runs import candidates
from covid_core.runs.store import Run

CELLS = Path(__file__).with_name("notebook_cells.txt")
PLACE = 'Path("data")'  # in the cells: where the files are
NOT_COMPUTED = "*From the records of the runs and data sets: predictions and history do not hold it.*"
MARK, TEXT = "# %%", "# %% [markdown]"


def to_notebook(document: Document, subject: Subject, name: str) -> dict[str, bytes]:
    """The notebook and the files that it reads, by name, the notebook first."""
    folder = f"{name}-data"
    head = f"# {document.title}\n\nCourse report, {document.made:%d %B %Y}. Run all cells to compute its numbers again."
    cells = [nb.new_markdown_cell(head)]
    for section in document.sections:
        cells += _section(section)
        cells += computing(folder) if section is document.sections[0] else []
    facts = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # else drawn by chance: the same report is the same file
    notebook = nb.new_notebook(cells=cells, metadata=facts)
    return {f"{name}.ipynb": writes(notebook).encode(), **data(subject, folder)}


def data(subject: Subject, folder: str) -> dict[str, bytes]:
    """The files that the notebook reads: a table of the runs with what they recorded; each run's predictions, history,
    and groups of images where it has any, as numbers; what the audits of runs and of data sets measured."""
    contents, rows, effects = {}, [], []
    for number, ranking in enumerate(subject.rankings, start=1):
        for one in ranking.order:
            run = subject.run_of(one)
            rows.append({"name": one.name, "folder": run.id, "test_set": number, "split": run.split_hash[:8]})
            contents |= {f"{folder}/{run.id}/{name}": content for name, content in _of_run(run).items()}
            effects += list(_effects(one.name, run))
    order = [one for ranking in subject.rankings for one in ranking.order]
    names, runs = [one.name for one in order], [subject.run_of(one) for one in order]
    settings = tables.hyperparameters(names, [run.spec for run in runs]).drop(columns="Model")
    recorded = [pd.DataFrame(rows), settings, candidates.costs(runs, names).drop(columns="name")]
    made = {"runs": pd.concat(recorded, axis="columns"), "effects": pd.DataFrame(effects), "probes": _probes(subject)}
    return {f"{folder}/{name}.csv": _csv(table) for name, table in made.items() if len(table)} | contents


def _effects(name: str, run: Run) -> Iterator[dict[str, Any]]:
    """What an evidence check measured of a run, where its outcome can be read."""
    audit = None if evidence_text.of(run).verdict == evidence_text.DAMAGED else model_audit.stored(run)
    for part in ("frame", "lungs"):
        effect = ((audit or {}).get("effects") or {}).get(part)
        if effect:
            yield {"name": name, "part": part, **{key: effect[key] for key in ("value", "low", "high")}}


def _probes(subject: Subject) -> pd.DataFrame:
    """What the audits of the data sets measured by their probes."""
    opened = [one for _, one in subject.datasets if isinstance(one, Dataset)]
    audits = {one.id: dataset_audit.stored(subject.workspace, one) for one in opened}
    rows = [
        (name, rung.probe.name, rung.probe.holds, *astuple(rung.accuracy)[:3], rung.majority)
        for name, audit in audits.items()
        for rung in (audit.ladder.rungs if audit and audit.ladder else ())
        if rung.was_run
    ]
    return pd.DataFrame(rows, columns=["dataset", "probe", "shows", "value", "low", "high", "majority"])


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


def _section(section: Section) -> Iterator[NotebookNode]:
    yield nb.new_markdown_cell(f"## {section.title}")
    for block in section.blocks:
        if isinstance(block, Table | Chart) and block.recipe:
            title = block.caption if isinstance(block, Table) else block.title
            caption = "" if isinstance(block, Table) else f" {in_markdown(block.caption)}"
            yield nb.new_markdown_cell(f"**{in_markdown(title)}**{caption}")
            yield nb.new_code_cell(block.recipe)
        else:
            yield from _cell(block)


def computing(folder: str) -> Iterator[NotebookNode]:
    """The cells that the others call."""
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
            yield nb.new_markdown_cell(in_markdown(text))
        case Bullets(items):
            yield nb.new_markdown_cell("\n".join(f"- {in_markdown(item)}" for item in items))
        case Discussion(prompt):
            yield nb.new_markdown_cell(f"> **Your discussion**\n>\n> *{in_markdown(prompt)}*\n>\n> …")
        case Table():
            yield nb.new_markdown_cell(f"**{in_markdown(block.caption)}**\n\n{_table(block)}\n\n{NOT_COMPUTED}")
        case Picture():
            shown = f"![{in_markdown(block.alt)}](attachment:{block.key}.png)\n\n*{in_markdown(block.caption)}*"
            kind = "image/jpeg" if block.content.startswith(b"\xff\xd8") else "image/png"
            attached = {f"{block.key}.png": {kind: base64.b64encode(block.content).decode()}}
            yield nb.new_markdown_cell(shown, attachments=attached)
        case Chart():
            yield nb.new_markdown_cell(f"**{in_markdown(block.title)}.** {in_markdown(block.alt)}")


def _table(block: Table) -> str:
    rows = [
        [f"**{cell}**" if place in block.best and cell else cell for cell in map(in_markdown, row)]
        for place, row in enumerate(block.frame.itertuples(index=False))
    ]
    lines = [[in_markdown(name) for name in block.frame.columns], ["---"] * len(block.frame.columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
