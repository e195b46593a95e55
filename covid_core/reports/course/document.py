"""What a report is made of, before anybody knows whether it becomes HTML, Word, PDF or a notebook."""

from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from covid_core.figures.light import Figure


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
    """

    key: str
    caption: str
    frame: pd.DataFrame
    best: tuple[int, ...] = ()


@dataclass(frozen=True)
class Chart:
    """A figure, light or to be made light by its renderer. ``key`` is unique in the document.

    ``is_small``: two of them stand beside each other where there is room.
    """

    key: str
    title: str
    caption: str
    alt: str
    figure: Figure
    is_small: bool = False


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
