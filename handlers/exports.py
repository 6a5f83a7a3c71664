"""
The console's member export: the addresses in a file that anybody may have made.

Only text is taken out; formulas are not computed, and what is too large is refused before it is unpacked.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bot.directory import ADDRESS
from bot.words import Words, say

ENDINGS = (".xlsx", ".csv")
FILE_BYTES_MAX = 20 << 20  # what WeCom takes (developer.work.weixin.qq.com 90253)
UNPACKED_BYTES_MAX = 40 << 20
PARTS_MAX = 500
ROWS_MAX = 20_000
COLUMNS_MAX = 100
CELL_CHARACTERS_MAX = 2_000
ADDRESSES_MAX = 5_000
HEADER_WITHIN = 20  # rows: titles and instructions stand above it
HEADERS = ("企业邮箱", "邮箱地址", "成员邮箱", "邮箱账号", "business email", "corporate email", "email address")
ENCODINGS = ("utf-8-sig", "gb18030")
BETWEEN = re.compile(r"[\s,;，；、|<>]+")

Row = Sequence[str]


class NotAnExport(ValueError):
    """Nothing can be taken from the file; the words say why."""

    def __init__(self, words: Words) -> None:
        super().__init__(words.key)
        self.words = words


def addresses_in(name: str, content: bytes) -> list[str]:
    """
    The addresses of an export, folded, each once, in order: of the column that is headed so, else of every cell.

    Raises NotAnExport.
    """
    if len(content) > FILE_BYTES_MAX:
        raise NotAnExport(say("addresses.export_too_large"))
    sheets = xlsx_sheets(content) if name.casefold().endswith(".xlsx") else [csv_rows(content)]
    found: dict[str, None] = {}
    for sheet in sheets:
        for cell in candidates(sheet):
            for word in BETWEEN.split(cell[:CELL_CHARACTERS_MAX].casefold()):
                if ADDRESS.fullmatch(word):
                    found[word] = None
            if len(found) > ADDRESSES_MAX:
                raise NotAnExport(say("addresses.export_too_large"))
    if not found:
        raise NotAnExport(say("addresses.export_without_addresses"))
    return list(found)


def candidates(rows: Iterable[Row]) -> Iterator[str]:
    """The cells below the header, if there is one among the first rows; else all."""
    above: list[Row] = []
    column: int | None = None
    for number, row in enumerate(rows):
        if number >= ROWS_MAX:
            raise NotAnExport(say("addresses.export_too_large"))
        if column is None and number < HEADER_WITHIN:
            column = headed(row)
            if column is not None:
                above = []
                continue
            above.append(row)
            continue
        if column is None:
            yield from (cell for early in above for cell in early)
            above = []
            yield from row
        elif column < len(row):
            yield row[column]
    yield from (cell for early in above for cell in early)


def headed(row: Row) -> int | None:
    """The column whose head says that it holds the organisation's addresses, the surest head first."""
    heads = [cell.strip().casefold() for cell in row]
    return next((heads.index(head) for head in HEADERS if head in heads), None)


def xlsx_sheets(content: bytes) -> Iterator[Iterator[Row]]:
    """The rows of every sheet, as text; formulas as the value they had when the file was saved."""
    from openpyxl import load_workbook  # 0.3 s to import, needed once in a while

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            parts = packed.infolist()
        if len(parts) > PARTS_MAX or sum(part.file_size for part in parts) > UNPACKED_BYTES_MAX:
            raise NotAnExport(say("addresses.export_too_large"))
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
    except NotAnExport:
        raise
    except Exception as error:  # whatever a broken file does to zipfile, ElementTree and openpyxl
        raise NotAnExport(say("addresses.export_not_xlsx")) from error
    yield from (sheet_rows(sheet) for sheet in book.worksheets)


def sheet_rows(sheet: Any) -> Iterator[Row]:
    """The rows of one sheet, unpacked as they are read."""
    rows = iter(sheet.iter_rows(values_only=True, max_row=ROWS_MAX + 1, max_col=COLUMNS_MAX))
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except Exception as error:
            raise NotAnExport(say("addresses.export_not_xlsx")) from error
        yield [str(cell) if cell is not None else "" for cell in row]


def csv_rows(content: bytes) -> Iterator[Row]:
    """The rows of a CSV as Excel and the console write it."""
    text = decoded(content)
    head = text[:4_000]
    delimiter = max(",;\t", key=head.count)
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            yield row[:COLUMNS_MAX]
    except csv.Error as error:
        raise NotAnExport(say("addresses.export_not_csv")) from error


def decoded(content: bytes) -> str:
    """The text of a CSV; NotAnExport when it is none."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings: Sequence[str] = ("utf-16",)
    else:
        encodings = ENCODINGS
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise NotAnExport(say("addresses.export_not_csv"))
