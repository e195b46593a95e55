"""XLSX tables of strangers: the first sheet as text, with a bound on what a small file can make a reader do."""

import csv
import io
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

from covid_core.errors import DataError, cause
from covid_core.formatting import count, file_size

MOST_CELLS = 200_000  # 4 s; the largest of the radiography database has 40,768
UNREADABLE = (  # what openpyxl raises of damaged files; what is no XML is a SyntaxError
    *(zipfile.BadZipFile, zlib.error, OSError, EOFError, LookupError, SyntaxError),
    *(TypeError, ValueError, AttributeError, NotImplementedError, OverflowError),
)
MOST_UNPACKED = 16 * 10**6  # bytes; a bomb of 631 kB has 300 MB


def as_csv(name: str, content: bytes) -> str:
    """The first sheet of an XLSX file as CSV, whole numbers without a decimal point.

    Raises DataError: it is damaged, or larger than MOST_CELLS or MOST_UNPACKED.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            unpacked = sum(member.file_size for member in packed.infolist())
        if unpacked > MOST_UNPACKED:
            raise DataError(f"{name} unpacks to more than {file_size(MOST_UNPACKED)}. Save it as CSV.")
        return _written(_rows(name, content))
    except UNREADABLE as error:
        raise DataError(f"{name} cannot be read as a table: {cause(error)}.") from error


def _rows(name: str, content: bytes) -> list[list[str]]:
    """All but empty rows, each as long as the file has it."""
    import openpyxl

    sheet = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True).worksheets[0]
    sheet.reset_dimensions()  # what the file says of its own size
    rows, cells = [], 0
    for row in sheet.iter_rows(values_only=True):
        cells += max(1, len(row))
        if cells > MOST_CELLS:
            raise DataError(f"{name} has more than {count(MOST_CELLS)} cells. Save it as CSV.")
        rows.append([_text(cell) for cell in row])
    return [row for row in rows if any(row)]


def _written(rows: Sequence[Sequence[str]]) -> str:
    width = max(map(len, rows), default=0)
    text = io.StringIO()
    csv.writer(text).writerows([*row, *[""] * (width - len(row))] for row in rows)
    return text.getvalue()


def _text(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return "" if cell is None else str(cell)
