"""What a report is made of, before anybody knows whether it becomes HTML, Word, PDF or a notebook."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from covid_core.figures.light import Figure, light

WIDTH, SMALL = 660, 318  # pixels of a figure, and of one of two beside each other: 660 are A4 less its margins
HIGHEST_SMALL = 250  # pixels of a small figure
HIGH, LOWER = 400, 0.8  # a figure higher than that is lower on paper, where it would leave most of a page empty
TIED = re.compile(
    r"(?<=\d) (?=%|px|s\b|ms\b|points)|(?<=\bp) (?=[<=])|(?<=p [<=]) (?=\d)|(?<=,) (?=[^ ]+\])"
)  # spaces that never break
WHOLE_ROWS = 6  # a longer table may go over to the next page
NUMBER = re.compile(r"[<–−\-+]?\s?\d|–$|reference$")


def tied(text: str) -> str:
    """A text whose numbers stay on one line with their units."""
    return TIED.sub("\N{NO-BREAK SPACE}", text)


def call(function: str, *arguments: Any) -> str:
    """How the notebook computes a table or figure again: a call of one of its functions."""
    return f"{function}({', '.join(map(repr, arguments))})"


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """Plain sentences, one per point."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table whose cells are texts, formatted as on screen.

    Attributes:
        key: names it in file names and in the notebook; unique in the document.
        best: positions of the rows that are highlighted.
        recipe: a ``call`` that computes it again; empty where it rests on more than lies beside the notebook.
    """

    key: str
    caption: str
    frame: pd.DataFrame
    best: tuple[int, ...] = ()
    recipe: str = ""

    @property
    def numeric(self) -> list[bool]:
        """Of each column, whether it holds numbers."""
        columns = [[str(cell) for cell in self.frame.iloc[:, k] if str(cell)] for k in range(self.frame.shape[1])]
        return [bool(cells) and all(map(NUMBER.match, cells)) for cells in columns]


@dataclass(frozen=True)
class Chart:
    """A figure, light or to be made light by its renderer. ``key`` is unique in the document.

    ``is_small``: two of them stand beside each other where there is room. ``recipe``: as of a table.
    """

    key: str
    title: str
    caption: str
    alt: str
    figure: Figure
    is_small: bool = False
    recipe: str = ""

    @property
    def on_paper(self) -> dict[str, Any]:
        """The figure as plain values, light and as large as it stands on A4."""
        if self.is_small:
            return light(self.figure, SMALL, HIGHEST_SMALL)
        return light(self.figure, WIDTH, max(HIGH, round(LOWER * (self.figure.layout.height or HIGH))))


@dataclass(frozen=True)
class Picture:
    """Images, as PNG or JPEG. ``key`` is unique in the document."""

    key: str
    caption: str
    alt: str
    content: bytes


@dataclass(frozen=True)
class Discussion:
    """A marked box for the author's own words."""

    prompt: str


Block = Paragraph | Bullets | Table | Chart | Picture | Discussion


@dataclass(frozen=True)
class Section:
    """A part of the report. ``key`` is its anchor."""

    key: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    made: datetime
    sections: tuple[Section, ...]
