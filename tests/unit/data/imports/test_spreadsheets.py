"""Small XLSX files that would keep a reader busy for minutes, and sound ones."""

import io
import zipfile
from datetime import datetime
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from covid_core.data.imports import archives, importing, metadata, spreadsheets
from covid_core.errors import DataError

SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>'
)
BOMBS = {
    "rows": "<row><c><v>1</v></c></row>" * 3_000_000,
    "empty rows": "<row/>" * (spreadsheets.MOST_CELLS + 1),
    "wide rows": '<row><c r="XFD1"/></row>' * 20,
    "a row far below": '<row r="4000000000"><c><v>1</v></c></row>',
}


def workbook(rows: list[list[object]], sheet: str = "") -> bytes:
    """An XLSX file; with a ``sheet`` in place of the one that belongs in it."""
    made, written = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        made.active.append(row)
    made.save(written)
    if not sheet:
        return written.getvalue()
    other = io.BytesIO()
    with zipfile.ZipFile(written) as sound, zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as packed:
        for member in sound.infolist():
            is_sheet = member.filename == "xl/worksheets/sheet1.xml"
            packed.writestr(member.filename, SHEET.format(sheet) if is_sheet else sound.read(member))
    return other.getvalue()


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_before_it_is_read(bomb):
    content = workbook([], BOMBS[bomb])
    assert len(content) < 700_000
    with pytest.raises(DataError, match="CSV"):
        metadata.read(["t.xlsx"], {"t.xlsx": content}.__getitem__)


def test_a_bomb_among_images_stops_their_import(workspace, tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("COVID/images/a.png", b"?")
        packed.writestr("COVID.metadata.xlsx", workbook([], BOMBS["empty rows"]))
    with pytest.raises(DataError, match="COVID.metadata.xlsx has more than"):
        importing.import_path(workspace, path)


@pytest.mark.parametrize("content", [b"", b"PK", b"text", workbook([], "<row><c t='s'><v>7</v></c></row>")])
def test_a_damaged_file_is_no_table(content):
    with pytest.raises(DataError, match="cannot be read as a table"):
        metadata.read(["t.xlsx"], {"t.xlsx": content}.__getitem__)


def test_cells_are_what_pandas_reads():
    rows = [
        ["File Name", "Label", "Age", "Date", "x"],
        ["a,b.png", 'N"', 62.0, datetime(2020, 1, 2), 0.5],
        ["c.png", "C"],
    ]
    content = workbook(rows)
    own = metadata.read(["t.xlsx"], {"t.xlsx": content}.__getitem__)
    pd.testing.assert_frame_equal(own, pd.read_excel(io.BytesIO(content), dtype=str).fillna(""))


def test_one_column_of_names_with_spaces_stays_one(tmp_path: Path):
    table = metadata.read(["t.xlsx"], {"t.xlsx": workbook([["image name"], ["a b.png"]])}.__getitem__)
    assert list(table) == ["image name"] and table["image name"].tolist() == ["a b.png"]


def test_a_table_that_does_not_fit_into_memory_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_READ", 100)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("t.csv", b"a,b\n" * 100)
    with pytest.raises(DataError, match="larger than 100 B"):
        archives.content_in(tmp_path / "a.zip", "t.csv")
