"""A course report as a Word document: headings, tables and captions are Word's own, so that one can go on writing."""

import io
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import pandas as pd
from docx import Document as new_document
from docx.document import Document as WordDocument
from docx.enum.table import WD_TABLE_ALIGNMENT
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Cm, Pt, RGBColor

from covid_core.reports.course.document import (
    WHOLE_ROWS,
    Block,
    Bullets,
    Chart,
    Discussion,
    Document,
    Paragraph,
    Picture,
    Table,
    tied,
)
from covid_core.reports.course.pictures import PNG

WIDTH = Cm(17)  # A4 less its margins
SMALL = Cm(8.2)  # of one of two small figures beside each other
LONGEST_CELL = 24  # letters of a table's cell that stand on one line where there is room
MARGIN = Cm(2)
WIDE_FROM = 7  # columns from which a table has small letters
PADDING = 3  # letters for which the margins of a cell would have room
LETTERS = (94, 106)  # in a line of a table, and of one with small letters
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
        for small, some in groupby(section.blocks, lambda block: isinstance(block, Chart) and block.is_small):
            if small:
                _beside(word, list(some), numbers, drawn)
                continue
            for block in some:
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
    word.styles["Normal"].element.rPr.rFonts.set(qn("w:cs"), "Calibri")
    for name in ("Title", "Heading 1", "Caption"):
        word.styles[name].font.color.rgb = INK
    word.styles["Caption"].font.bold = False
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
            _caption(word, f"Table {numbers[Table]}.", block.caption).paragraph_format.keep_with_next = True
            _table(word, block)
        case Picture():
            numbers[Chart] += 1
            _picture(word.add_paragraph(), block.content, block.alt, WIDTH)
            _caption(word, f"Figure {numbers[Chart]}.", block.caption)
        case Chart():
            numbers[Chart] += 1
            _picture(word.add_paragraph(), drawn[block.key, PNG], block.alt, WIDTH)
            _caption(word, f"Figure {numbers[Chart]}.", f"{block.title}. {block.caption}")


def _beside(
    word: WordDocument, charts: list[Any], numbers: dict[type, int], drawn: Mapping[tuple[str, str], bytes]
) -> None:
    """Small figures, two in a row of a table without lines."""
    table = word.add_table(rows=-(-len(charts) // 2), cols=2)
    for place, chart in enumerate(charts):
        numbers[Chart] += 1
        row = table.rows[place // 2]
        if not place % 2:
            _mark(row._tr.get_or_add_trPr(), "w:cantSplit")
        cell = row.cells[place % 2]
        _picture(cell.paragraphs[0], drawn[chart.key, PNG], chart.alt, SMALL)
        _caption(cell, f"Figure {numbers[Chart]}.", f"{chart.title}. {chart.caption}")


def _caption(place: Any, number: str, text: str) -> Any:
    line = place.add_paragraph(style="Caption")
    line.add_run(number).bold = True
    line.add_run(f" {tied(text)}")
    return line


def _picture(line: Any, content: bytes, alt: str, width: int) -> None:
    line.paragraph_format.keep_with_next, line.alignment = True, WD_ALIGN_PARAGRAPH.CENTER
    shape = line.add_run().add_picture(io.BytesIO(content), width=width)
    shape._inline.docPr.set("descr", alt)  # python-docx has no name for the alternative text


def _table(word: WordDocument, block: Table) -> None:
    names, rows = list(map(str, block.frame.columns)), list(block.frame.itertuples(index=False))
    table = word.add_table(rows=0, cols=len(names))
    table.alignment, table.autofit = WD_TABLE_ALIGNMENT.CENTER, False
    _lines(table._tbl.tblPr, {"top": 8, "bottom": 8, "insideH": 2})
    widths = _widths(block)
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
    size = Pt(8 if len(names) >= WIDE_FROM else 9)
    for place, texts in enumerate([names, *rows], start=-1):
        row = table.add_row()
        _mark(row._tr.get_or_add_trPr(), "w:cantSplit")
        if place < 0:
            _mark(row._tr.get_or_add_trPr(), "w:tblHeader")  # stands again on the next page
        for cell, text, width, is_number in zip(row.cells, texts, widths, block.numeric, strict=True):
            cell.width, line = width, cell.paragraphs[0]
            line.paragraph_format.space_after, line.paragraph_format.line_spacing = Pt(1), 1.0
            line.paragraph_format.keep_with_next = len(rows) <= WHOLE_ROWS and place < len(rows) - 1
            line.alignment = WD_ALIGN_PARAGRAPH.RIGHT if is_number else WD_ALIGN_PARAGRAPH.LEFT
            run = line.add_run(tied(str(text)))
            run.font.size, run.bold = size, place < 0 or place in block.best
            if place in block.best:
                _shade(cell._tc.get_or_add_tcPr())
    word.add_paragraph().paragraph_format.space_after = Pt(0)


def _widths(block: Table) -> list[int]:
    """The width of each column: room for its longest word, and of the rest as much as its longest cell can use."""
    cells = [[tied(str(cell)) for cell in (name, *block.frame.iloc[:, k])] for k, name in enumerate(block.frame)]
    words = [max(len(word) for cell in column for word in cell.split(" ")) + PADDING for column in cells]
    whole = [
        min(max(map(len, column)) + PADDING, max(least, LONGEST_CELL))
        for column, least in zip(cells, words, strict=True)
    ]
    room = max(0.0, min(1.0, (LETTERS[len(words) >= WIDE_FROM] - sum(words)) / max(1, sum(whole) - sum(words))))
    wanted = [least + room * (most - least) for least, most in zip(words, whole, strict=True)]
    return [round(WIDTH * one / sum(wanted)) for one in wanted]


def _discussion(word: WordDocument, prompt: str) -> None:
    cell = word.add_table(rows=1, cols=1, style="Table Grid").cell(0, 0)
    _shade(cell._tc.get_or_add_tcPr())
    cell.paragraphs[0].add_run("Your discussion").bold = True
    cell.add_paragraph().add_run(prompt).italic = True
    cell.add_paragraph()
    word.add_paragraph().paragraph_format.space_after = Pt(0)


def _lines(properties: Any, sizes: Mapping[str, int]) -> None:
    """A table's rules, their widths in eighths of a point."""
    rules = OxmlElement("w:tblBorders")
    for name, size in sizes.items():
        rule = OxmlElement(f"w:{name}")
        for key, value in (("w:val", "single"), ("w:sz", str(size)), ("w:color", "808890")):
            rule.set(qn(key), value)
        rules.append(rule)
    properties.append(rules)


def _mark(properties: Any, name: str) -> None:
    properties.append(OxmlElement(name))


def _shade(properties: Any) -> None:
    shade = OxmlElement("w:shd")
    for name, value in (("w:val", "clear"), ("w:color", "auto"), ("w:fill", TINT)):
        shade.set(qn(name), value)
    properties.append(shade)
