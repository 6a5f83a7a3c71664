"""Numbers as people read them, and a workbook in which nothing is a formula."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from openpyxl import load_workbook

from bot.words import say
from handlers.copying import receipts
from handlers.copying.backup_card import fitting
from storage.models import Job


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (12_340_000, "12.3 MB"),
        (1 << 30, "1.1 GB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_a_size_is_short(size_bytes: int, shown: str) -> None:
    assert receipts.size(size_bytes) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00:00"), (-5, "0:00:00"), (59.6, "0:01:00"), (3_909, "1:05:09"), (90_000, "25:00:00")],
)
def test_a_duration_is_hours_minutes_seconds(seconds: float, shown: str) -> None:
    assert receipts.duration(timedelta(seconds=seconds)) == shown


def test_a_note_too_long_for_a_phone_counts_instead_of_naming() -> None:
    """112 characters are shown of a card's note."""
    begin = say("backup.preview_plain")
    few = say("backup.note_readers", begin=begin, names=["阿兴", "美玲"])
    many = say("backup.note_readers", begin=begin, names=[f"Member {number}" for number in range(40)])
    counted = say("backup.note_readers_counted", begin=begin, count=40)
    assert fitting(few, counted) is few
    assert fitting(many, counted) is counted


def test_what_somebody_typed_is_no_formula() -> None:
    """A reason, a name, a subject that begin with = stay text; the sums are those of the check."""
    folder = {
        "name": "=1+1", "target": "其他文件夹/x/=1+1", "stored": 3, "found": 2, "missing": 1, "different": 0,
        "not_copied": 0, "refused": 1, "newer": 0, "foreign": 0,
    }  # fmt: skip
    job = Job(
        id=7,
        data={
            "source_address": "a@corp.test", "target_address": "b@corp.test", "root": "其他文件夹/a@corp.test",
            "reason": '=HYPERLINK("http://x.test")', "asker_name": "=mei", "reader_names": ["阿兴", "+1"],
            "verification": {"ok": False, "folders": [folder]}, "copied": 2, "already": 0,
        },
    )  # fmt: skip
    refused = [receipts.RefusedMail("INBOX", "=cmd|' /C calc'!A0", "-", 12, say("mail.refusal_other", detail="=1"))]
    book = load_workbook(io.BytesIO(receipts.workbook(job, refused)))
    cells = [cell for sheet in book.worksheets for row in sheet.iter_rows() for cell in row]
    assert {cell.data_type for cell in cells} <= {"s", "n"}
    assert not [cell for cell in cells if cell.hyperlink]
    assert [cell.value for cell in book.worksheets[1][2]][:4] == ["=1+1", "其他文件夹/x/=1+1", 3, 2]
    assert [cell.value for cell in book.worksheets[2][2]][1] == "=cmd|' /C calc'!A0"
