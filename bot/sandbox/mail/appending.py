"""APPEND: its arguments are checked before the literal is asked for, as RFC 3501 allows and Exmail's limits need."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from bot.sandbox.mail.boxes import SYSTEM_FLAGS, Folder
from bot.sandbox.mail.parsing import LITERAL_AT_END, Arguments, BadSyntax, date_time
from bot.sandbox.mail.session import BUSY, Drop, No, Session

MAIL_BYTES_MAX = 200_000_000
CLOSE_PAUSE_SECONDS = 0.01
HEADER_LINE = re.compile(rb"[!-9;-~]+:[\t\x20-\x7e]*|[\t ][\t\x20-\x7e]*")
BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")


@dataclass
class Waiting:
    """One mail of an APPEND that has arrived."""

    raw: bytes
    flags: list[str]
    when: datetime


def is_mail(line: bytes, position: int) -> bool:
    """Whether the literal a line ends in is the mail, and not a folder name that is sent as one."""
    return line.rindex(b"{") > position


async def append(session: Session, line: bytes, position: int) -> str:
    """
    Take the mail (several, where MULTIAPPEND is announced) and store it: all or none.

    Refusals that need only the size or the folder come instead of the continuation, the others after the mail.
    """
    several = session.trips("literal_plus")
    folder: Folder | None = None
    waiting: list[Waiting] = []
    while True:
        try:
            found = LITERAL_AT_END.search(line)
            if found is None or (folder is not None and not (several and line.startswith(b" "))):
                raise BadSyntax("not an APPEND")
            size, sent_already = int(found.group(1)), bool(found.group(2))
            arguments = Arguments(line[: found.start()], position)
            folder = folder or target(session, arguments)
            flags, when = flags_and_date(session, arguments)
            check_before(session, flags, size, size + sum(len(each.raw) for each in waiting))
            if sent_already and not several:
                raise BadSyntax("LITERAL+ was not announced")
        except (No, BadSyntax):
            await pass_over(session, line)
            raise
        if not sent_already:
            await session.ask_for_more()
        closes = session.size_of("size_closes")
        if (closes and size > closes) or session.trips("drop_in_append"):
            await session.inbound.exactly(size // 2)
            raise Drop
        waiting.append(Waiting(await session.inbound.exactly(size), flags, when))
        line, position = await session.inbound.line(), 1
        if not line:
            break
    if session.trips("pipelining_lost"):
        session.inbound.discard()
    for each in waiting:
        check_after(session, each)
    return await stored(session, folder, waiting)


async def pass_over(session: Session, line: bytes) -> None:
    """Read away what a refused command's client has sent without waiting."""
    while (found := LITERAL_AT_END.search(line)) is not None and found.group(2):
        if int(found.group(1)) > MAIL_BYTES_MAX:
            raise Drop
        await session.inbound.exactly(int(found.group(1)))
        line = await session.inbound.line()


def flags_and_date(session: Session, arguments: Arguments) -> tuple[list[str], datetime]:
    """What stands in front of a mail's literal; the date is now when none is given."""
    flags: list[str] = []
    when = session.house.clock.now()
    if arguments.peek() == b"(":
        flags = arguments.flags()
        arguments.space()
    if arguments.peek() == b'"':
        when = date_time(arguments.string().decode("latin-1"))
        arguments.space()
    arguments.end()
    return flags, when


def target(session: Session, arguments: Arguments) -> Folder:
    wire = arguments.name()
    arguments.space()
    return session.folder(wire, "[TRYCREATE] Folder not exist!")


def check_before(session: Session, flags: list[str], size: int, total: int) -> None:
    limit = session.size_of("size_limit") or session.size_of("appendlimit") or MAIL_BYTES_MAX
    if size > limit:
        raise No("Message is too large")
    if session.box.used_bytes + total > session.box.quota_bytes:
        raise No("[OVERQUOTA] Mailbox is full")
    if flags and session.trips("flags_refused"):
        raise No("APPEND Invalid flag list")
    check_keywords(session, flags)


def check_keywords(session: Session, flags: list[str]) -> None:
    """Raise No when a keyword is refused here; an invented system flag is refused always."""
    for flag in flags:
        if flag.startswith("\\") and flag not in (*SYSTEM_FLAGS, "\\Recent"):
            raise BadSyntax(f"Invalid system flag {flag}")
    if any(not flag.startswith("\\") for flag in flags) and session.trips("keyword_refused"):
        raise No(f"{session.command} Invalid flag list")


def check_after(session: Session, mail: Waiting) -> None:
    """Refuse what only the whole mail shows; nobody looks into it while no such switch is on."""
    if session.trips("busy"):
        raise No(BUSY)
    if session.trips("rate_limited"):
        raise No("[LIMIT] Rate limit exceeded")
    for fault, refused, text in CONTENT:
        if session.armed(fault) and refused(mail.raw) and session.trips(fault):
            raise No(f"Message contains {text}")
    limit = session.size_of("line_limit")
    if limit and any(len(line) > limit for line in mail.raw.split(b"\n")):
        raise No("Message contains a line that is too long")


def broken_header(raw: bytes) -> bool:
    head = re.split(rb"\r?\n\r?\n", raw, maxsplit=1)[0]
    return any(not HEADER_LINE.fullmatch(line) for line in head.splitlines())


CONTENT: tuple[tuple[str, Callable[[bytes], object], str], ...] = (
    ("nul_refused", lambda raw: b"\0" in raw, "NUL characters"),
    ("bare_newlines_refused", BARE.search, "bare newlines"),
    ("header_refused", broken_header, "invalid header"),
)


async def stored(session: Session, folder: Folder, waiting: list[Waiting]) -> str:
    uids = []
    for each in waiting:
        if session.trips("not_stored"):
            uids.append(folder.uidnext)
            folder.uidnext += 1
            continue
        raw, flags, when = each.raw, each.flags, each.when
        if session.armed("twins_thrown_away"):
            twin = next((uid for uid, other in folder.messages.items() if other.raw == raw), None)
            if twin is not None and session.trips("twins_thrown_away"):
                uids.append(twin)
                continue
        if session.trips("header_munged"):
            raw = munged(raw)
        if session.trips("headers_added"):
            raw = added_headers(session, folder) + raw
        if session.trips("keyword_forgotten"):
            flags = [flag for flag in flags if flag.startswith("\\")]
        if session.trips("date_ignored"):
            when = session.house.clock.now()
        uids.append(folder.add(raw, when, flags, appended=True).uid)
    if session.trips("drop_after_append"):
        await asyncio.sleep(CLOSE_PAUSE_SECONDS)
        raise Drop
    if session.trips("refused_after_append"):
        raise No(BUSY)
    if session.trips("no_appenduid"):
        return "APPEND completed"
    if session.trips("wrong_appenduid"):
        uids = [uid - 1 for uid in uids]
    numbers = f"{uids[0]}:{uids[-1]}" if len(uids) > 1 else str(uids[0])
    return f"[APPENDUID {folder.uidvalidity} {numbers}] APPEND completed"


def munged(raw: bytes) -> bytes:
    """The mail with X for every 8-bit byte of its header."""
    head, separator, body = raw.partition(b"\r\n\r\n")
    return bytes(byte if byte < 128 else ord("X") for byte in head) + separator + body


def added_headers(session: Session, folder: Folder) -> bytes:
    now = session.house.clock.now()
    return (
        f"X-QQ-mid: bizesmtp{folder.uidnext:08}t\r\n"
        f"Received: from localhost by bizesmtp.qq.com (ESMTP) with APPEND; {now:%a, %d %b %Y %H:%M:%S} +0000\r\n"
    ).encode()
