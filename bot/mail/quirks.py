"""How real servers differ from the standard, as tables and small pure functions (facts: IMAP quirks in docs)."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from enum import StrEnum
from functools import lru_cache

from bot.mail.names import Folder

COMMAND_BYTES_MAX = 1_900  # a line over about 6 kB is dropped in silence by QQ
EXMAIL_ROOT = "&UXZO1mWHTvZZOQ-"  # 其他文件夹, where Exmail keeps people's own folders
WINDOW_DAYS = 31  # Exmail shows 30 days unless the mailbox is set to 全部
BUSY_PAUSES_SECONDS = (3.0, 9.0, 27.0)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SYSTEM_FLAGS = {"\\seen": "\\Seen", "\\answered": "\\Answered", "\\flagged": "\\Flagged", "\\draft": "\\Draft"}


class FolderKind(StrEnum):
    """What a folder is for; Exmail has no special-use flags, so names decide."""

    INBOX = "inbox"
    SENT = "sent"
    DRAFTS = "drafts"
    TRASH = "trash"
    JUNK = "junk"


SPECIAL_USE = {
    "\\inbox": FolderKind.INBOX,
    "\\sent": FolderKind.SENT,
    "\\drafts": FolderKind.DRAFTS,
    "\\trash": FolderKind.TRASH,
    "\\junk": FolderKind.JUNK,
    "\\spam": FolderKind.JUNK,
}
FOLDER_NAMES = {
    FolderKind.INBOX: ("inbox", "收件箱"),
    FolderKind.SENT: ("sent messages", "sent", "sent items", "sent mail", "已发送", "已发送邮件", "发件箱"),
    FolderKind.DRAFTS: ("drafts", "draft", "草稿", "草稿箱"),
    FolderKind.TRASH: ("deleted messages", "trash", "deleted items", "deleted", "已删除", "已删除邮件"),
    FolderKind.JUNK: ("junk", "spam", "junk e-mail", "junk mail", "垃圾邮件", "垃圾箱"),
}
KIND_BY_NAME = {name: kind for kind, names in FOLDER_NAMES.items() for name in names}


def folder_kind(folder: Folder) -> FolderKind | None:
    """By special-use flag, else by the last part of the name; None for people's own folders."""
    if folder.wire.upper() == "INBOX":
        return FolderKind.INBOX
    for flag in sorted(folder.flags):
        if flag in SPECIAL_USE:
            return SPECIAL_USE[flag]
    kind = KIND_BY_NAME.get(folder.parts[-1].strip().casefold())
    return None if kind is FolderKind.INBOX else kind


def is_exmail(greeting: str, host: str, folders: list[Folder]) -> bool:
    """Does it look like Tencent's software (QQ and Exmail)?"""
    return (
        "QQMail" in greeting
        or host.endswith((".qq.com", ".exmail.com"))
        or any(each.wire == EXMAIL_ROOT for each in folders)
    )


def hides_folders(folders: list[Folder]) -> bool:
    """Only system folders are listed: 收取「我的文件夹」 is probably off."""
    own = [each for each in folders if each.wire != EXMAIL_ROOT and folder_kind(each) is None]
    return bool(folders) and not own


# Dates

INTERNALDATE = re.compile(r"\s*(\d{1,2})-([A-Za-z]{3})-(\d{4})\s+(\d{1,2}):(\d{2}):(\d{2})(?:\s*([+-]\d{4}))?")


STRICT = re.compile(  # every month but February has 30 days
    rf"(?:[ 0][1-9]|1[0-9]|2[0-8]|(?:29|30)(?!-Feb))-(?:{'|'.join(MONTHS)})-(?:19|20)\d\d "
    r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d [+-](?:0\d|1[0-4])[0-5]\d\Z"
)


def parse_internaldate(text: str) -> datetime | None:
    """An aware moment; lenient about the day's padding and a missing zone (taken as UTC). None for nonsense."""
    match = INTERNALDATE.match(text)
    if not match:
        return None
    day, month, year, hour, minute, second, zone = match.groups()
    offset = timedelta()
    if zone:
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:])) * (-1 if zone[0] == "-" else 1)
    try:
        return datetime(
            int(year),
            MONTHS.index(month.title()) + 1,
            int(day),
            int(hour),
            int(minute),
            min(int(second), 59),
            tzinfo=timezone(offset),
        )
    except ValueError:
        return None


def strict_internaldate(text: str) -> str:
    """As APPEND wants it, ` 4-Jan-2015 08:00:00 +0800`; empty for nonsense."""
    if STRICT.match(text):
        return " " + text[1:] if text[0] == "0" else text
    moment = parse_internaldate(text)
    if moment is None:
        return ""
    seconds = int((moment.utcoffset() or timedelta()).total_seconds())
    zone = f"{'-' if seconds < 0 else '+'}{abs(seconds) // 3600:02d}{abs(seconds) // 60 % 60:02d}"
    clock = f"{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d}"
    return f"{moment.day:2d}-{MONTHS[moment.month - 1]}-{moment.year:04d} {clock} {zone}"


def dated_since(internal_date: str, since: date | None) -> bool:
    """Is it of that day or later, in the zone it is written in? What has no date is kept."""
    if since is None:
        return True
    moment = parse_internaldate(internal_date)
    return moment is None or moment.date() >= since


# Flags

KEYWORD = re.compile(r"^[^\x00-\x20\x7f-\xff(){%*\"\\\]\[]+$")


@lru_cache(maxsize=1_024)  # thousands of mails share a handful of combinations
def sendable_flags(flags: str, permanent: frozenset[str] | None) -> tuple[str, bool]:
    """
    The flags to send in APPEND, and whether a keyword had to go.

    System flags are spelled as the standard does; \\Recent, \\Deleted and invented ones are left out. `permanent` is
    the target's PERMANENTFLAGS in lower case, None when it told none.
    """
    kept: list[str] = []
    dropped = False
    for flag in flags.split():
        low = flag.casefold()
        if low in SYSTEM_FLAGS:
            kept.append(SYSTEM_FLAGS[low])
        elif low.startswith("\\"):
            dropped |= low not in ("\\recent", "\\deleted")
        elif KEYWORD.match(flag) and (permanent is None or "\\*" in permanent or low in permanent):
            kept.append(flag)
        else:
            dropped = True
    return " ".join(dict.fromkeys(kept)), dropped


def system_flags(flags: str) -> str:
    """The same without keywords."""
    return " ".join(flag for flag in flags.split() if flag.startswith("\\"))


@lru_cache(maxsize=1_024)
def flag_set(flags: str) -> frozenset[str]:
    """For comparing: without case, \\Recent and \\Deleted."""
    return frozenset(flag.casefold() for flag in flags.split()) - {"\\recent", "\\deleted"}


# What a refusal means


class Refused(StrEnum):
    """What the server's text of a refused APPEND means for what to do next."""

    NO_FOLDER = "no_folder"
    QUOTA = "quota"
    TOO_BIG = "too_big"
    BUSY = "busy"
    FLAGS = "flags"
    CONTENT = "content"
    OTHER = "other"


REFUSED_CODES = {
    "TRYCREATE": Refused.NO_FOLDER,
    "NONEXISTENT": Refused.NO_FOLDER,
    "OVERQUOTA": Refused.QUOTA,
    "TOOBIG": Refused.TOO_BIG,
    "UNAVAILABLE": Refused.BUSY,
    "INUSE": Refused.BUSY,
    "THROTTLED": Refused.BUSY,
    "LIMIT": Refused.BUSY,
}
REFUSED_TEXTS = (
    (Refused.NO_FOLDER, re.compile(r"(folder|mailbox).{0,20}(not exist|doesn't exist|not found)", re.IGNORECASE)),
    (Refused.QUOTA, re.compile(r"quota|mailbox (is )?full|no space|空间不足|容量", re.IGNORECASE)),
    (Refused.TOO_BIG, re.compile(r"too (big|large)|maximum.{0,20}size|size.{0,30}(exceed|limit)", re.IGNORECASE)),
    (Refused.BUSY, re.compile(r"busy|try again|throttl|too many|frequen|temporar|繁忙", re.IGNORECASE)),
    (Refused.FLAGS, re.compile(r"\bflags?\b|keyword", re.IGNORECASE)),
    (
        Refused.CONTENT,
        re.compile(r"\bNULL?\b|invalid header|bare (newline|LF|CR)|line.{0,12}too long|8-?bit|virus", re.IGNORECASE),
    ),
)


def why_refused(text: str) -> Refused:
    """Sorted by response code (RFC 5530) first, by the words real servers use second."""
    code = re.match(r"\s*\[([A-Z0-9-]+)", text.upper())
    if code and code[1] in REFUSED_CODES:
        return REFUSED_CODES[code[1]]
    for meaning, words in REFUSED_TEXTS:
        if words.search(text):
            return meaning
    return Refused.OTHER


# Headers, for people only: nothing here decides what is stored


def header_of(raw: bytes, name: str) -> str:
    """A header's value decoded for display, empty when there is none; never an error, whatever the bytes."""
    import email.errors  # here, like all that few copies need: a copy is quick to start
    import email.header

    block = re.split(rb"\r?\n\r?\n", raw[:65_536], maxsplit=1)[0]
    match = re.search(rb"(?im)^" + name.encode("ascii") + rb":[ \t]*(.*(?:\r?\n[ \t].*)*)", block)
    if not match:
        return ""
    value = re.sub(rb"\r?\n[ \t]+", b" ", match[1]).strip()
    text = lenient_text(value)
    try:
        pieces = email.header.decode_header(text)
        text = "".join(
            piece if isinstance(piece, str) else lenient_text(piece, charset or "ascii") for piece, charset in pieces
        )
    except (email.errors.MessageError, ValueError, LookupError):
        pass
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text).strip()[:300]


def lenient_text(raw: bytes, charset: str = "utf-8") -> str:
    """Declared charset, UTF-8, GB18030, Latin-1: the first that fits."""
    for each in (charset, "utf-8", "gb18030"):
        try:
            return raw.decode(each)
        except (LookupError, UnicodeError):
            continue
    return raw.decode("latin-1")
