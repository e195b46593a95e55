"""A course report as one HTML page that needs no other file, and prints to clean pages of A4."""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from covid_core.figures.light import INK, LINE, MUTED, WIDTH, light, plotly_script, script_json
from covid_core.images.codec import data_url
from covid_core.reports.course.document import Block, Bullets, Chart, Discussion, Document, Paragraph, Picture, Table

TEMPLATE = Path(__file__).with_name("report.html")
HIGHEST_SMALL = 250  # pixels of a small figure
SMALL = 318  # pixels of one of two figures beside each other
WIDE_FROM = 7  # columns from which a table has small letters
WHOLE_ROWS = 12  # a longer table may go over to the next page
LONGEST_CELL = 21  # characters that stay on one line: "98.4 % [97.2, 99.2]"
TIED = re.compile(
    r"(?<=\d) (?=%|px|s\b|ms\b|points)|(?<=\bp) (?=[<=])|(?<=p [<=]) (?=\d)|(?<=,) (?=[^ ]+\])"
)  # spaces that never break
NUMBER = re.compile(r"[<–\-+]?\s?\d|–$")


def to_html(document: Document) -> bytes:
    """The report as HTML in UTF-8, with all of its figures and Plotly within it."""
    numbers = {Table: 0, Chart: 0}
    sections = [
        {"key": one.key, "title": one.title, "groups": list(_groups(one.blocks, numbers))} for one in document.sections
    ]
    page = _template().render(
        title=document.title,
        made=f"{document.made:%d %B %Y}",
        sections=sections,
        plotly=plotly_script(),
        ink=INK,
        muted=MUTED,
        line=LINE,
    )
    return page.encode()


@lru_cache
def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["tied"] = lambda text: TIED.sub("\u00a0", text)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def _groups(blocks: tuple[Block, ...], numbers: dict[type, int]) -> Iterator[dict[str, Any]]:
    """The blocks of a section as the template takes them; small figures that follow each other are one group."""
    for small, some in groupby(blocks, lambda block: isinstance(block, Chart) and block.is_small):
        rows = [_row(block, numbers) for block in some]
        if small:
            yield {"kind": "pair", "items": rows}
        else:
            yield from rows


def _row(block: Block, numbers: dict[type, int]) -> dict[str, Any]:
    match block:
        case Paragraph(text):
            return {"kind": "paragraph", "text": text}
        case Bullets(items):
            return {"kind": "bullets", "items": items}
        case Discussion(prompt):
            return {"kind": "discussion", "prompt": prompt}
        case Table():
            numbers[Table] += 1
            return {"kind": "table", "number": numbers[Table], **_table(block)}
        case Picture():
            numbers[Chart] += 1
            facts = {"caption": block.caption, "alt": block.alt, "url": data_url(block.content)}
            return {"kind": "picture", "key": block.key, "number": numbers[Chart], **facts}
        case Chart():
            numbers[Chart] += 1
            facts = {"title": block.title, "caption": block.caption, "alt": block.alt}
            return {"kind": "chart", "key": block.key, "number": numbers[Chart], **facts, "data": _figure(block)}


def _table(block: Table) -> dict[str, Any]:
    frame = block.frame
    numeric = [_is_numeric(frame.iloc[:, place]) for place in range(len(frame.columns))]
    rows = [
        {"best": number in block.best, "cells": [_cell(*pair) for pair in zip(map(str, row), numeric, strict=True)]}
        for number, row in enumerate(frame.itertuples(index=False))
    ]
    return {
        "key": block.key,
        "caption": block.caption,
        "head": list(zip(map(str, frame.columns), numeric, strict=True)),
        "rows": rows,
        "wide": len(frame.columns) >= WIDE_FROM,
        "whole": len(rows) <= WHOLE_ROWS,
    }


def _cell(text: str, is_numeric: bool) -> tuple[str, str]:
    """A cell with its class in the style sheet."""
    return TIED.sub("\u00a0", text), ("n short" if len(text) <= LONGEST_CELL else "n") if is_numeric else ""


def _is_numeric(column: pd.Series) -> bool:
    cells = [str(cell) for cell in column if str(cell)]
    return bool(cells) and all(NUMBER.match(cell) for cell in cells)


def _figure(block: Chart) -> str:
    """The figure in light colours, as JSON that may stand in a script."""
    values = light(block.figure, SMALL, HIGHEST_SMALL) if block.is_small else light(block.figure, WIDTH)
    return script_json(values)
