"""What a client wrote: arguments, sets, flags, dates, FETCH items. No I/O."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SHANGHAI = timezone(timedelta(hours=8))

LITERAL_AT_END = re.compile(rb"\{(\d{1,12})(\+?)\}$")
ATOM = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
ASTRING = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\]+')
LIST_NAME = re.compile(rb'[^\x00-\x20\x7f-\xff(){"\\]+')
QUOTED = re.compile(rb'"((?:[^"\\\r\n]|\\["\\])*)"')
FLAG = re.compile(rb"\\?[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
LITERAL = re.compile(rb"\{(\d{1,12})\+?\}\r\n")
NUMBER = rb"(?:\d{1,10}|\*)"
SET = re.compile(rb"%b(?::%b)?(?:,%b(?::%b)?)*(?![\d:,*])" % (NUMBER, NUMBER, NUMBER, NUMBER))
DATE_TIME = re.compile(r"([ \d]?\d)-(\w{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
SECTION = re.compile(rb"(BODY(?:\.PEEK)?)\[", re.IGNORECASE)
PART = re.compile(r"(\d+(?:\.\d+)*)(?:\.(HEADER|TEXT|MIME|HEADER\.FIELDS(?:\.NOT)?))?")
PARTIAL = re.compile(rb"<(\d{1,10})\.(\d{1,10})>")


class BadSyntax(Exception):
    """Not what the command's grammar allows."""


class Arguments:
    """A cursor over what follows a command's name; literals stand in the buffer as they came."""

    def __init__(self, buffer: bytes, position: int = 0) -> None:
        self.buffer = buffer
        self.position = position

    def match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        found = pattern.match(self.buffer, self.position)
        if found:
            self.position = found.end()
        return found

    def peek(self) -> bytes:
        return self.buffer[self.position : self.position + 1]

    def take(self, expected: bytes) -> None:
        if not self.buffer.startswith(expected, self.position):
            raise BadSyntax(f"expected {expected!r}")
        self.position += len(expected)

    def space(self) -> None:
        self.take(b" ")

    def end(self) -> None:
        if self.position != len(self.buffer):
            raise BadSyntax("more than the command takes")

    @property
    def at_end(self) -> bool:
        return self.position == len(self.buffer)

    def atom(self) -> str:
        found = self.match(ATOM)
        if not found:
            raise BadSyntax("expected an atom")
        return found.group().decode("ascii")

    def string(self, bare: re.Pattern[bytes] = ASTRING) -> bytes:
        """A quoted string, a literal, or a bare word."""
        if self.peek() == b'"':
            found = self.match(QUOTED)
            if not found:
                raise BadSyntax("a quote that does not end")
            return re.sub(rb'\\(["\\])', rb"\1", found.group(1))
        if self.peek() == b"{":
            found = self.match(LITERAL)
            if not found:
                raise BadSyntax("a broken literal")
            start, self.position = self.position, self.position + int(found.group(1))
            if self.position > len(self.buffer):
                raise BadSyntax("a short literal")
            return self.buffer[start : self.position]
        found = self.match(bare)
        if not found:
            raise BadSyntax("expected a string")
        return found.group()

    def name(self, bare: re.Pattern[bytes] = ASTRING) -> str:
        """A folder's wire name: ASCII, or it is refused."""
        try:
            return self.string(bare).decode("ascii")
        except UnicodeDecodeError:
            raise BadSyntax("a folder name that is not ASCII") from None

    def words(self) -> list[str]:
        """A parenthesised list of atoms or strings, upper case."""
        self.take(b"(")
        words: list[str] = []
        while self.peek() != b")":
            if words:
                self.space()
            words.append(self.string().decode("latin-1").upper())
        self.take(b")")
        return words

    def flags(self) -> list[str]:
        """A flag list in parentheses, or bare flags up to the end; system flags in their usual spelling."""
        listed = self.peek() == b"("
        if listed:
            self.take(b"(")
        flags: list[str] = []
        while not self.at_end and self.peek() != b")":
            if flags:
                self.space()
            found = self.match(FLAG)
            if not found:
                raise BadSyntax("expected a flag")
            flag = found.group().decode("ascii")
            flags.append(flag[:2].upper() + flag[2:].lower() if flag.startswith("\\") else flag)
        if listed:
            self.take(b")")
        return flags

    def numbers(self) -> str:
        """A sequence set, as written."""
        found = self.match(SET)
        if not found:
            raise BadSyntax("expected a sequence set")
        return found.group().decode("ascii")


def ranges(numbers: str, last: int) -> list[tuple[int, int]]:
    """The set's ranges, each lower end first, merged and rising; `*` is `last`."""
    found = []
    for part in numbers.split(","):
        low, _, high = part.partition(":")
        ends = [last if end == "*" else int(end) for end in (low, high or low)]
        found.append((min(ends), max(ends)))
    found.sort()
    merged: list[tuple[int, int]] = []
    for start, stop in found:
        if merged and start <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def rises(numbers: str) -> bool:
    """Whether a set is written low to high throughout; `*` is higher than everything."""
    ends = [end for part in numbers.split(",") for end in part.split(":")]
    values = [float("inf") if end == "*" else int(end) for end in ends]
    return values == sorted(values)


def highest(numbers: str) -> int:
    """The largest number a set names, `*` left out."""
    return max((int(end) for part in numbers.split(",") for end in part.split(":") if end != "*"), default=0)


def select_uids(view: Sequence[int], numbers: str) -> list[range]:
    """Index ranges of `view` (rising UIDs) that a UID set names."""
    last = view[-1] if view else 0
    return [range(bisect_left(view, low), bisect_right(view, high)) for low, high in ranges(numbers, last)]


def select_numbers(view: Sequence[int], numbers: str) -> list[range]:
    """Index ranges of `view` that a set of sequence numbers names."""
    return [range(max(low, 1) - 1, min(high, len(view))) for low, high in ranges(numbers, len(view))]


def date_time(text: str) -> datetime:
    """An IMAP date-time; ValueError or BadSyntax when it is none."""
    found = DATE_TIME.fullmatch(text)
    if not found or found.group(2).title() not in MONTHS:
        raise BadSyntax("not a date-time")
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
    zone = timezone(-offset if sign == "-" else offset)
    try:
        return datetime(
            int(year), MONTHS.index(month.title()) + 1, int(day), int(hour), int(minute), int(second), tzinfo=zone
        )
    except ValueError:
        raise BadSyntax("not a date-time") from None


def written(moment: datetime, *, padded: bool = True) -> str:
    """A moment as INTERNALDATE, in China's time as Tencent's servers write it."""
    local = moment.astimezone(SHANGHAI)
    day = f"{local.day:2}" if padded else str(local.day)
    return f"{day}-{MONTHS[local.month - 1]}-{local.year:04} {local:%H:%M:%S} +0800"


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True)
class Item:
    """One thing a FETCH asks for: its name in the answer, and for a body which section and which bytes."""

    name: str
    section: str | None = None
    fields: tuple[str, ...] = ()
    peek: bool = True
    start: int | None = None
    length: int = 0


MACROS = {
    b"ALL": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE"),
    b"FAST": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE"),
    b"FULL": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE", b"BODY"),
}
PLAIN = {"UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE", "BODY"}
OLD = {
    "RFC822": Item("RFC822", "", peek=False),
    "RFC822.HEADER": Item("RFC822.HEADER", "HEADER"),
    "RFC822.TEXT": Item("RFC822.TEXT", "TEXT", peek=False),
}


def fetch_items(arguments: Arguments) -> list[Item]:
    """What a FETCH asks for, in its order; BadSyntax for anything RFC 3501 does not know."""
    if arguments.peek() != b"(":
        macro = MACROS.get(arguments.buffer[arguments.position :].upper())
        if macro:
            arguments.position = len(arguments.buffer)
            return [Item(name.decode()) for name in macro]
        return [fetch_item(arguments)]
    arguments.take(b"(")
    items = [fetch_item(arguments)]
    while arguments.peek() != b")":
        arguments.space()
        items.append(fetch_item(arguments))
    arguments.take(b")")
    return items


def fetch_item(arguments: Arguments) -> Item:
    found = arguments.match(SECTION)
    if not found:
        name = arguments.atom().upper()
        if name in OLD:
            return OLD[name]
        if name not in PLAIN:
            raise BadSyntax(f"no such item {name}")
        return Item(name)
    peek = found.group(1).upper().endswith(b"PEEK")
    section = ""
    fields: tuple[str, ...] = ()
    if arguments.peek() != b"]":
        section = arguments.atom().upper()
        if section.endswith((".FIELDS", ".FIELDS.NOT")):
            arguments.space()
            fields = tuple(arguments.words())
        known = section in ("HEADER", "TEXT", "HEADER.FIELDS", "HEADER.FIELDS.NOT") or PART.fullmatch(section)
        if not known or (section.endswith((".FIELDS", ".NOT")) and not fields):
            raise BadSyntax(f"no such section {section}")
    arguments.take(b"]")
    label = section + (f" ({' '.join(fields)})" if fields else "")
    partial = arguments.match(PARTIAL)
    if not partial:
        return Item(f"BODY[{label}]", section, fields, peek)
    start, length = int(partial.group(1)), int(partial.group(2))
    return Item(f"BODY[{label}]<{start}>", section, fields, peek, start, length)
