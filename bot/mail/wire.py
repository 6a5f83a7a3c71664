"""
IMAP as it comes over the wire (RFC 3501 9), without a socket: bytes in, responses out.

Literals may stand anywhere. One over `stream_over` bytes is passed on while it arrives, so that a mail of any size
needs no memory of its size. Whatever a stranger's mail or a broken server sends is a response, ignored bytes or a
`WireError`; never anything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

LINE_BYTES_MAX = 1_000_000
RESPONSE_BYTES_MAX = 16_000_000  # of literals kept whole in one response
LITERAL = re.compile(rb"~?\{(\d{1,12})\+?\}\Z")
STATUS = re.compile(rb"(?:\*|[A-Za-z0-9.]+) (?:OK|NO|BAD|BYE|PREAUTH)(?: |\Z)|\+", re.IGNORECASE)


class WireError(Exception):
    """The bytes are not IMAP, or more than a sane server sends; the connection is of no more use."""


@dataclass(frozen=True, slots=True)
class Big:
    """Stands in a response for a literal that was passed on."""

    size: int


class Response(NamedTuple):
    """A whole response: text, literal, text, literal … text."""

    parts: tuple[bytes | Big, ...]

    @property
    def line(self) -> bytes:
        """Its first line, up to a literal."""
        first = self.parts[0]
        assert isinstance(first, bytes)  # noqa: S101 - the parser starts every response with text
        return first


class BigStart(NamedTuple):
    """A literal of `size` bytes begins; `head` is what the response had before it."""

    head: tuple[bytes | Big, ...]
    size: int


class BigChunk(NamedTuple):
    """Some of it, never empty."""

    data: bytes


@dataclass(frozen=True, slots=True)
class BigEnd:
    """All of it has come; the rest of the response follows."""


@dataclass(slots=True)
class Fetched:
    """What one FETCH response told of one mail; None for what it did not."""

    uid: int | None = None
    flags: str | None = None
    internal_date: str | None = None
    size_bytes: int | None = None
    body: bytes | Big | None = None


Event = Fetched | Response | BigStart | BigChunk | BigEnd


class Parser:
    """Feed it bytes as they come, in any pieces; the events depend on the bytes alone (chunks on the pieces)."""

    def __init__(self, *, stream_over: int = 512 * 1024) -> None:
        self.stream_over = stream_over
        self._rest = b""  # an unfinished line
        self._parts: list[bytes | Big] = []
        self._kept = 0
        self._need = 0  # bytes of the literal still to come
        self._literal: list[bytes] | None = None  # None: it is passed on

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events these bytes complete. Raises WireError."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        position, end = 0, len(data)
        while position < end:
            if self._need:
                chunk = data[position : position + self._need]
                position += len(chunk)
                self._need -= len(chunk)
                if self._literal is None:
                    yield BigChunk(chunk)
                else:
                    self._literal.append(chunk)
                if not self._need and (event := self._literal_end()) is not None:
                    yield event
                continue
            if not self._parts and (usual := AT_ONCE.match(data, position)) is not None:
                uid, size, flags, date, body = usual.groups()
                begin = usual.end()
                stop = begin + int(body or 0)
                if body is None or (stop - begin <= self.stream_over and data.startswith(b")\r\n", stop)):
                    yield Fetched(
                        int(uid),
                        str(flags, "latin-1") if flags is not None else None,
                        str(date, "latin-1") if date is not None else None,
                        int(size) if size is not None else None,
                        data[begin:stop] if body is not None else None,
                    )
                    position = begin if body is None else stop + 3
                    continue
            stop = data.find(b"\r\n", position)
            if stop < 0:
                self._rest = data[position:]
                if len(self._rest) > LINE_BYTES_MAX:
                    raise WireError("a line without an end")
                return
            line = data[position:stop]
            position = stop + 2
            if (event := self._line(line)) is not None:
                yield event

    def _line(self, line: bytes) -> Event | None:
        self._kept += len(line)
        if self._kept > RESPONSE_BYTES_MAX:
            raise WireError("a response without an end")
        match = None
        # The text of a status response is free: it may end in something that only looks like a literal.
        if line.endswith(b"}") and (self._parts or not STATUS.match(line)):
            match = LITERAL.search(line)
        self._parts.append(line)
        if not match:
            parts = tuple(self._parts)
            self._parts, self._kept = [], 0
            return usual(parts) or Response(parts)
        self._need = int(match[1])
        if self._need > self.stream_over:
            self._literal = None
            start = BigStart(tuple(self._parts), self._need)
            self._parts.append(Big(self._need))
            return start
        self._kept += self._need
        self._literal = []
        return None if self._need else self._literal_end()

    def _literal_end(self) -> Event | None:
        if self._literal is None:
            return BigEnd()
        self._parts.append(self._literal[0] if len(self._literal) == 1 else b"".join(self._literal))
        self._literal = None
        return None


# Values

TOKEN = re.compile(rb'\(|\)|"((?:[^"\\]|\\.)*)"|[^\s()"\[\]]*\[[^\]]*\][^\s()"]*|[^\s()"]+', re.DOTALL)
Value = bytes | Big | None | list["Value"]


def values(parts: tuple[bytes | Big, ...]) -> list[Value]:
    """
    The atoms, strings, literals and lists of a response. NIL is None; what does not fit is skipped, not an error.
    """
    top: list[Value] = []
    stack = [top]
    for index, part in enumerate(parts):
        if index % 2:  # a literal
            stack[-1].append(part)
            continue
        assert isinstance(part, bytes)  # noqa: S101 - the parser puts literals at odd places only
        text = LITERAL.sub(b"", part) if index + 1 < len(parts) else part
        for match in TOKEN.finditer(text):
            token = match[0]
            if token == b"(":
                inner: list[Value] = []
                stack[-1].append(inner)
                stack.append(inner)
            elif token == b")":
                if len(stack) > 1:
                    stack.pop()
            elif match[1] is not None:
                stack[-1].append(re.sub(rb"\\(.)", rb"\1", match[1]))
            else:
                stack[-1].append(None if token.upper() == b"NIL" else token)
    return top


# What nearly every answer of nearly every server looks like; whatever does not is read by `values`. A group that is met
# in one turn of the loop keeps its value in the next.
ITEM = rb'UID (\d{1,20})|FLAGS \(([^()"\[\]\r]*)\)|INTERNALDATE "([^"\\\r]*)"|RFC822\.SIZE (\d{1,20})'
USUAL = re.compile(rb"\* \d{1,20} FETCH \((?:(?:" + ITEM + rb")(?: (?=[A-Z])|(?=\))))*(?:\)|(BODY\[\]) \{\d{1,12}\})\Z")


# The same in the order in which we ask, up to the end of the line: a whole answer is read where it lies.
AT_ONCE = re.compile(
    rb'\* \d{1,20} FETCH \(UID (\d{1,20})(?: RFC822\.SIZE (\d{1,20}))?(?: FLAGS \(([^()"\[\]\r]*)\))?'
    rb'(?: INTERNALDATE "([^"\\\r]*)")?(?:\)| BODY\[\] \{(\d{1,12})\})\r\n'
)


def usual(parts: tuple[bytes | Big, ...]) -> Fetched | None:
    """The quick way for a plain answer; None when it is not that plain."""
    line = parts[0]
    if not isinstance(line, bytes) or not line.startswith(b"* ") or (match := USUAL.match(line)) is None:
        return None
    uid, flags, date, size, body = match.groups()
    if len(parts) != (1 if body is None else 3) or (body is not None and parts[2] != b")"):
        return None
    return Fetched(
        int(uid) if uid is not None else None,
        flags.decode("latin-1") if flags is not None else None,
        date.decode("latin-1") if date is not None else None,
        int(size) if size is not None else None,
        parts[1] if body is not None else None,
    )


def fetched(parts: tuple[bytes | Big, ...]) -> Fetched | None:
    """`* n FETCH (…)` read leniently, in any order of items; None when it is something else."""
    return usual(parts) or read(parts)


def read(parts: tuple[bytes | Big, ...]) -> Fetched | None:
    """The thorough way."""
    found = values(parts)
    if len(found) < 4 or not isinstance(found[2], bytes) or found[2].upper() != b"FETCH":
        return None
    return items(found[3]) if isinstance(found[3], list) else None


def is_number(value: bytes) -> bool:
    """Digits, and not so many that nobody could mean them."""
    return value.isdigit() and len(value) <= 20


def items(pairs: list[Value]) -> Fetched:
    """Names and values in turn."""
    result = Fetched()
    for name, value in zip(pairs[::2], pairs[1::2], strict=False):
        if not isinstance(name, bytes):
            continue
        match name.upper():
            case b"UID" if isinstance(value, bytes) and is_number(value):
                result.uid = int(value)
            case b"RFC822.SIZE" if isinstance(value, bytes) and is_number(value):
                result.size_bytes = int(value)
            case b"FLAGS" if isinstance(value, list):
                result.flags = " ".join(flag.decode("latin-1") for flag in value if isinstance(flag, bytes))
            case b"INTERNALDATE" if isinstance(value, bytes):
                result.internal_date = value.decode("latin-1")
            case b"BODY[]" | b"BODY[HEADER]" if isinstance(value, (bytes, Big)):
                result.body = value
            case part if part.startswith(b"BODY[HEADER.FIELDS") and isinstance(value, bytes):
                result.body = value
            case _:
                pass
    return result


def uid_set(uids: list[int]) -> bytes:
    """Ascending UIDs as `1:3,7` (QQ refuses any other order)."""
    out: list[str] = []
    start = previous = uids[0]
    for uid in [*uids[1:], None]:
        if uid is not None and uid == previous + 1:
            previous = uid
            continue
        out.append(str(start) if start == previous else f"{start}:{previous}")
        if uid is not None:
            start = previous = uid
    return ",".join(out).encode("ascii")


def uids_of(text: str) -> list[int]:
    """The UIDs a set like `1:3,7` names; empty for nonsense or absurdly many."""
    result: list[int] = []
    for piece in text.split(","):
        low, _, high = piece.partition(":")
        if not low.isascii() or not is_number(low.encode()) or not is_number((high or low).encode("ascii", "replace")):
            return []
        if int(high or low) - int(low) > 100_000 or len(result) > 1_000_000:
            return []
        result.extend(range(int(low), int(high or low) + 1))
    return result
