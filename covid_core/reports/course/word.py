"""A course report as a Word document: headings, tables and captions are Word's own, so that one can go on writing."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from docx import Document as new_document
from docx.document import Document as WordDocument
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Cm, Pt, RGBColor

from covid_core.reports.course.document import Block, Bullets, Chart, Discussion, Document, Paragraph, Picture, Table
from covid_core.reports.course.pictures import PNG

WIDTH = Cm(17)  # A4 less its margins
SMALL = Cm(11)  # of a small figure
MARGIN = Cm(2)
WIDE_FROM = 7  # columns from which a table has small letters
INK, TINT = RGBColor(0x1B, 0x21, 0x27), "F0F6FA"
LANGUAGE = "en-GB"


def to_word(document: Document, drawn: Mapping[tuple[str, str], bytes]) -> bytes:
    """The report as DOCX; ``drawn`` has the figures as PNG (see ``pictures``)."""
    word = new_document()
    _set_up(word, document.title)
    word.add_paragraph(document.title, style="Title")
    word.add_paragraph(
        f"{document.made:%d %B %Y} · made by Second Look from the files of the runs · "
        "for research and teaching, not a medical device"
    )
    numbers = {Table: 0, Chart: 0}
    for section in document.sections:
        word.add_heading(section.title, level=1)
        for block in section.blocks:
            _write(word, block, numbers, drawn)
    return _saved(word)


def table_to_word(frame: pd.DataFrame, caption: str, best: Sequence[int] = ()) -> bytes:
    """One table as a Word document, to be pasted into one's own; round or format numbers before."""
    word = new_document()
    _set_up(word, caption)
    word.add_paragraph(caption, style="Caption").paragraph_format.keep_with_next = True
    _table(word, Table("", caption, frame.astype(object).where(frame.notna(), "–"), tuple(best)))
    return _saved(word)


def _saved(word: WordDocument) -> bytes:
    target = io.BytesIO()
    word.save(target)
    return target.getvalue()


def _set_up(word: WordDocument, title: str) -> None:
    page = word.sections[0]
    page.page_width, page.page_height = Cm(21), Cm(29.7)
    page.left_margin = page.right_margin = page.top_margin = page.bottom_margin = MARGIN
    word.core_properties.title, word.core_properties.language = title, LANGUAGE
    word.core_properties.author, word.core_properties.comments = "", ""
    word.styles["Normal"].font.name, word.styles["Normal"].font.size = "Calibri", Pt(10.5)
    for name in ("Title", "Heading 1", "Caption"):
        word.styles[name].font.color.rgb = INK
    word.styles["Title"].font.size, word.styles["Heading 1"].font.size = Pt(24), Pt(16)


def _write(word: WordDocument, block: Block, numbers: dict[type, int], drawn: Mapping[tuple[str, str], bytes]) -> None:
    match block:
        case Paragraph(text):
            word.add_paragraph(text)
        case Bullets(items):
            for item in items:
                word.add_paragraph(item, style="List Bullet")
        case Discussion(prompt):
            _discussion(word, prompt)
        case Table():
            numbers[Table] += 1
            word.add_paragraph(
                f"Table {numbers[Table]}. {block.caption}", style="Caption"
            ).paragraph_format.keep_with_next = True
            _table(word, block)
        case Picture():
            numbers[Chart] += 1
            _picture(word, block.content, block.alt, f"Figure {numbers[Chart]}. {block.caption}", WIDTH)
        case Chart():
            numbers[Chart] += 1
            caption = f"Figure {numbers[Chart]}. {block.title}. {block.caption}"
            _picture(word, drawn[block.key, PNG], block.alt, caption, SMALL if block.is_small else WIDTH)


def _picture(word: WordDocument, content: bytes, alt: str, caption: str, width: int) -> None:
    line = word.add_paragraph()
    line.paragraph_format.keep_with_next, line.alignment = True, WD_ALIGN_PARAGRAPH.CENTER
    shape = line.add_run().add_picture(io.BytesIO(content), width=width)
    shape._inline.docPr.set("descr", alt)  # python-docx has no name for the alternative text
    word.add_paragraph(caption, style="Caption")


def _table(word: WordDocument, block: Table) -> None:
    names, rows = list(map(str, block.frame.columns)), list(block.frame.itertuples(index=False))
    table = word.add_table(rows=0, cols=len(names), style="Table Grid")
    size = Pt(8 if len(names) >= WIDE_FROM else 9)
    for place, texts in enumerate([names, *rows], start=-1):
        row = table.add_row()
        _mark(row._tr.get_or_add_trPr(), "w:cantSplit")
        if place < 0:
            _mark(row._tr.get_or_add_trPr(), "w:tblHeader")  # stands again on the next page
        for cell, text in zip(row.cells, texts, strict=True):
            line = cell.paragraphs[0]
            line.paragraph_format.space_after = Pt(0)
            run = line.add_run(str(text))
            run.font.size, run.bold = size, place < 0 or place in block.best
            if place in block.best:
                _shade(cell._tc.get_or_add_tcPr())
    word.add_paragraph().paragraph_format.space_after = Pt(0)


def _discussion(word: WordDocument, prompt: str) -> None:
    cell = word.add_table(rows=1, cols=1, style="Table Grid").cell(0, 0)
    _shade(cell._tc.get_or_add_tcPr())
    cell.paragraphs[0].add_run("Your discussion").bold = True
    cell.add_paragraph().add_run(prompt).italic = True
    cell.add_paragraph()
    word.add_paragraph().paragraph_format.space_after = Pt(0)


def _mark(properties: Any, name: str) -> None:
    properties.append(OxmlElement(name))


def _shade(properties: Any) -> None:
    shade = OxmlElement("w:shd")
    for name, value in (("w:val", "clear"), ("w:color", "auto"), ("w:fill", TINT)):
        shade.set(qn(name), value)
    properties.append(shade)
