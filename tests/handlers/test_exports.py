"""The console's export, as Excel, the console and somebody hostile would write it."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from handlers import exports

TITLE = ["成员导出表（2026年3月）"]
HEADER = ["姓名", "帐号", "别名", "部门", "手机", "个人邮箱", "企业邮箱", "企业邮箱别名"]
PEOPLE = [
    ["阿兴", "ahing", "", "示例公司/销售", "13800138000", "ahing@personal.test", "Ahing@Corp.test", "xing@corp.test"],
    ["卡尔文", "calvin", "", "示例公司/销售", "13800138001", "", "c.wang@corp.test", ""],
    ["无邮箱", "nobox", "", "示例公司", "", "", "", ""],
]


def xlsx(*sheets: Sequence[Sequence[object]]) -> bytes:
    """A workbook with these rows."""
    book = Workbook()
    assert book.active is not None
    for number, rows in enumerate(sheets):
        sheet = book.active if number == 0 else book.create_sheet()
        for row in rows:
            sheet.append(list(row))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def csv(rows: Sequence[Sequence[object]], encoding: str, delimiter: str = ",") -> bytes:
    """A CSV with these rows."""
    return "\r\n".join(delimiter.join(map(str, row)) for row in rows).encode(encoding)


EXPECTED = ["ahing@corp.test", "c.wang@corp.test"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("export.xlsx", xlsx([TITLE, [], HEADER, *PEOPLE])),
        ("EXPORT.XLSX", xlsx([["填写须知", "请勿修改表头"]], [HEADER, *PEOPLE])),
        ("export.csv", csv([TITLE, HEADER, *PEOPLE], "utf-8")),
        ("export.csv", csv([HEADER, *PEOPLE], "utf-8-sig")),
        ("export.csv", csv([HEADER, *PEOPLE], "gb18030")),
        ("export.csv", csv([HEADER, *PEOPLE], "utf-16", "\t")),
        ("export.csv", csv([HEADER, *PEOPLE], "utf-8", ";")),
    ],
)
def test_the_column_of_the_corporate_mailbox(name: str, content: bytes) -> None:
    """Not the private addresses, and not the aliases: a look-up of those finds nobody and counts against us."""
    assert exports.addresses_in(name, content) == EXPECTED


def test_without_a_header_every_cell_counts() -> None:
    rows = [["ahing", "ahing@corp.test"], ["x", "mailto c.wang@corp.test; AHING@corp.test"]]
    assert exports.addresses_in("a.csv", csv(rows, "utf-8")) == EXPECTED
    assert exports.addresses_in("a.xlsx", xlsx(rows)) == EXPECTED
    assert exports.addresses_in("a.csv", b"ahing@corp.test") == EXPECTED[:1]


def test_what_is_no_address_is_passed_over() -> None:
    cells = ["foo@bar", "阿兴@corp.test", "a b", "@corp.test", "x@@corp.test", '=HYPERLINK("http://x")', "ok@corp.test"]
    assert exports.addresses_in("a.csv", csv([["邮箱地址"], *([each] for each in cells)], "utf-8")) == ["ok@corp.test"]


def test_a_formula_is_not_computed() -> None:
    """A file that was never opened in Excel has no value for it; nothing is made up."""
    with pytest.raises(exports.NotAnExport):
        exports.addresses_in("a.xlsx", xlsx([["企业邮箱"], ['=CONCATENATE("evil","@corp.test")']]))


def bomb() -> bytes:
    """A workbook of which one part unpacks to far too much."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(xlsx([HEADER]))) as good, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bad:
        for part in good.infolist():
            bad.writestr(part.filename, good.read(part))
        bad.writestr("xl/media/big.bin", b"\0" * (exports.UNPACKED_BYTES_MAX + 1))
    return out.getvalue()


def laughs() -> bytes:
    """A workbook whose shared strings refer to themselves a billion times."""
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    text = (
        f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">{entities}]><worksheet><sheetData><row>'
        '<c t="inlineStr"><is><t>&a9;</t></is></c></row></sheetData></worksheet>'
    )
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(xlsx([HEADER]))) as good, zipfile.ZipFile(out, "w") as bad:
        for part in good.infolist():
            bad.writestr(part.filename, text if part.filename.endswith("sheet1.xml") else good.read(part))
    return out.getvalue()


def torn() -> bytes:
    """A workbook whose sheet ends in the middle."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(xlsx([HEADER, *PEOPLE]))) as good, zipfile.ZipFile(out, "w") as bad:
        for part in good.infolist():
            content = good.read(part)
            bad.writestr(part.filename, content[:-40] if part.filename.endswith("sheet1.xml") else content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "key"),
    [
        ("a.xlsx", bomb(), "export_too_large"),
        ("a.xlsx", laughs(), "export_not_xlsx"),
        ("a.xlsx", torn(), "export_not_xlsx"),
        ("a.xlsx", b"PK\3\4 and then nothing", "export_not_xlsx"),
        ("a.xlsx", b"\xd0\xcf\x11\xe0 encrypted", "export_not_xlsx"),
        ("a.xlsx", b"", "export_not_xlsx"),
        ("a.csv", b"", "export_without_addresses"),
        ("a.csv", "姓名,部门\n阿兴,销售".encode(), "export_without_addresses"),
        ("a.csv", b"\0\1\2\3" * 100, "export_not_csv"),
        ("a.csv", b'"' + b"x" * 200_000, "export_not_csv"),
        ("a.csv", b"x\n" * (exports.ROWS_MAX + 1), "export_too_large"),
        ("a.csv", b"\n".join(b"m%d@corp.test" % n for n in range(exports.ADDRESSES_MAX + 1)), "export_too_large"),
        ("a.csv", b" " * (exports.FILE_BYTES_MAX + 1), "export_too_large"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_cannot_be_used_says_why(name: str, content: bytes, key: str) -> None:
    with pytest.raises(exports.NotAnExport) as caught:
        exports.addresses_in(name, content)
    assert caught.value.words.key == f"addresses.{key}"


@given(st.binary(max_size=400), st.sampled_from(["a.csv", "a.xlsx"]))
def test_no_bytes_do_more_than_be_refused(content: bytes, name: str) -> None:
    with contextlib.suppress(exports.NotAnExport):
        exports.addresses_in(name, content)
