"""
Lists too long for a message, as a file: xlsx for people, CSV for machines.

What stands in a cell came from somebody: nothing of it is ever a formula or a link.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Literal

import xlsxwriter

from bot.replies import File

Form = Literal["xlsx", "csv"]
Cell = str | int
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a spreadsheet computes when it opens a CSV
COLUMN_WIDTH = 22
SHEET_NAME_MAX = 31  # Excel's


def table(
    to: str, name: str, sheet: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], form: Form = "xlsx"
) -> File:
    """Rows under their headings as a file called `name`, with its ending."""
    content = as_csv(columns, rows) if form == "csv" else as_xlsx(sheet, columns, rows)
    return File(to, f"{name}.{form}", content)


def as_xlsx(sheet: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> bytes:
    """A workbook of one sheet; text stays text."""
    buffer = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(buffer, options) as book:
        page = book.add_worksheet(sheet[:SHEET_NAME_MAX])
        page.write_row(0, 0, columns, book.add_format({"bold": True}))
        for number, row in enumerate(rows, 1):
            page.write_row(number, 0, row)
        page.freeze_panes(1, 0)
        page.set_column(0, len(columns) - 1, COLUMN_WIDTH)
    return buffer.getvalue()


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> bytes:
    """UTF-8 with a mark, which Excel needs for Chinese; a cell that looks like a formula begins with an apostrophe."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([harmless(each) for each in row] for row in rows)
    return out.getvalue().encode("utf-8-sig")


def harmless(cell: Cell) -> Cell:
    """A cell no spreadsheet computes."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell
