"""What a backup hands over as proof: numbers people can read, and a workbook of folders and exceptions."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

import xlsxwriter

from bot.mail.copy import RefusalReason
from bot.mail.ledger import Line, LineState
from bot.mail.names import decode
from bot.words import Words, say
from storage.ledger import SqlLedger
from storage.models import Job

SHOWN_MAX = 5  # in the chat; the workbook holds all
UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class RefusedMail:
    """A mail that is not in the target, so that a person can find it."""

    folder: str
    subject: str
    date: str
    size_bytes: int
    reason: Words

    def shown(self) -> dict[str, object]:
        """The values of its sentence."""
        return {
            "folder": self.folder, "subject": self.subject or "-", "date": self.date or "-", "why": self.reason,
            "size": size(self.size_bytes),
        }  # fmt: skip


def refusals(ledger: SqlLedger, *, content_only: bool = False) -> list[RefusedMail]:
    """What the ledger says was refused, with the reason; or only what was refused for its bytes."""
    lines = [line for line in ledger.refusals() if not content_only or line.reason == RefusalReason.CONTENT]
    return listed(ledger, lines, lambda line: f"mail.refusal_{RefusalReason(line.reason or RefusalReason.OTHER)}")


def attached(ledger: SqlLedger) -> list[RefusedMail]:
    """What lies in the target as an attachment, and why."""
    return listed(ledger, ledger.attached(), lambda line: "mail.kept_wrapped")


def listed(ledger: SqlLedger, lines: Sequence[Line], key: Callable[[Line], str]) -> list[RefusedMail]:
    """Lines of the ledger for people."""
    folders = {folder.id: decode(folder.source) for folder in ledger.folders()}
    return [
        RefusedMail(
            folders.get(line.folder_id, "?"),
            line.subject or "",
            line.date or "",
            line.size_bytes,
            say(key(line), detail=line.detail or ""),
        )
        for line in lines
    ]


@dataclass(frozen=True)
class Stored:
    """What the target holds of a source, by the ledger."""

    mails: int
    size_bytes: int


def stored(ledger: SqlLedger, folders: Collection[str] | None = None) -> Stored:
    """What was copied so far: of all folders, or of those with these names as the server spells them."""
    counts = [
        ledger.counts(folder.id).get(LineState.STORED, (0, 0))
        for folder in ledger.folders()
        if folders is None or folder.source in folders
    ]
    return Stored(sum(mails for mails, _ in counts), sum(size_bytes for _, size_bytes in counts))


def size(size_bytes: int) -> str:
    """Bytes for people: `12.3 MB`."""
    value = float(size_bytes)
    for unit in UNITS:
        if value < 1000 or unit == UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def duration(span: timedelta) -> str:
    """A time span for people: `1:05:09`, hours, minutes and seconds."""
    seconds = max(0, round(span.total_seconds()))
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def workbook(job: Job, refused: Sequence[RefusedMail]) -> bytes:
    """The receipt as xlsx: what was asked, each folder's counts on both sides, and every exception."""
    buffer = io.BytesIO()
    data = job.data
    with xlsxwriter.Workbook(
        buffer, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    ) as book:
        bold = book.add_format({"bold": True})
        sheet = book.add_worksheet("Backup 备份")
        for row, (name, value) in enumerate(
            (
                ("Job 任务", job.id),
                ("From 来源", data["source_address"]),
                ("To 目标", data["target_address"]),
                ("Folder 位置", data["root"]),
                ("Reason 原因", data["reason"]),
                ("Asked by 申请人", data["asker_name"]),
                ("Can be read by 可阅读者", ", ".join(data.get("reader_names", []))),
                ("Copied 已复制", data.get("copied", 0)),
                ("Already there 原已存在", data.get("already") or 0),
                ("Refused 被拒绝", len(refused)),
                ("Both sides compared 两侧核对", "ok" if data["verification"]["ok"] else "differs 不一致"),
            )
        ):
            sheet.write(row, 0, name, bold)
            sheet.write(row, 1, value)
        sheet.set_column(0, 1, 36)
        columns = (
            "name",
            "target",
            "stored",
            "found",
            "missing",
            "different",
            "not_copied",
            "refused",
            "newer",
            "foreign",
        )
        folders = book.add_worksheet("Folders 文件夹")
        folders.write_row(0, 0, columns, bold)
        for row, folder in enumerate(data["verification"]["folders"], 1):
            folders.write_row(row, 0, [folder[column] for column in columns])
        folders.set_column(0, 1, 44)
        exceptions = book.add_worksheet("Exceptions 例外")
        exceptions.write_row(0, 0, ("folder", "subject", "date", "bytes", "reason", "原因"), bold)
        for row, line in enumerate(refused, 1):
            exceptions.write_row(
                row,
                0,
                (line.folder, line.subject, line.date, line.size_bytes, line.reason.text("en"), line.reason.text("zh")),
            )
        exceptions.set_column(0, 1, 44)
    return buffer.getvalue()
