"""
Folder names: as they travel, and as people read them.

A wire name is identity: exactly what the server said, modified UTF-7 (RFC 3501 5.1.3), bytes over 127 kept as
Latin-1 characters. A display name is for people: decoded, parts joined by "/" whatever the server's delimiter.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from functools import lru_cache
from typing import NamedTuple, NewType

WireName = NewType("WireName", str)
DisplayName = NewType("DisplayName", str)

PART_BYTES_MAX = 200  # of one part of a wire name; Exmail's own limit is not known, file systems stop at 255
SHORT_PART_BYTES = 60  # the same for a server that has refused the name
SLASH_IN_PART = "∕"  # what a "/" inside a part looks like in a display name


def encode(text: str) -> str:
    """Modified UTF-7."""
    out: list[str] = []
    for run in re.split(r"([^\x20-\x7e]+)", text):
        if run and not " " <= run[0] <= "~":
            packed = base64.b64encode(run.encode("utf-16-be", "surrogatepass")).decode("ascii")
            out.append("&" + packed.rstrip("=").replace("/", ",") + "-")
        else:
            out.append(run.replace("&", "&-"))
    return "".join(out)


def decode(wire: str) -> str:
    """Text of modified UTF-7; a malformed name as it is, never an error."""

    def unpack(match: re.Match[str]) -> str:
        packed = match[1].replace(",", "/")
        if not packed:
            return "&"
        raw = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
        return raw.decode("utf-16-be")

    try:
        text = re.sub(r"&([^-]*)-", unpack, wire)
    except (binascii.Error, ValueError):
        return wire
    return text if encode(text) == wire else as_utf8(wire)


def as_utf8(wire: str) -> str:
    """A name some server sent as raw UTF-8, against the standard; else as it is."""
    try:
        return wire.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return wire


class Folder(NamedTuple):
    """A folder as LIST tells it."""

    wire: WireName
    delimiter: str  # empty: the server has no hierarchy here
    flags: frozenset[str]  # lower case

    @property
    def parts(self) -> tuple[str, ...]:
        """The decoded parts of its path."""
        pieces = self.wire.split(self.delimiter) if self.delimiter else [self.wire]
        return tuple(decode(piece) for piece in pieces)

    @property
    def display(self) -> DisplayName:
        return display(self.parts)

    @property
    def selectable(self) -> bool:
        return not self.flags & {"\\noselect", "\\nonexistent"}


def display(parts: tuple[str, ...]) -> DisplayName:
    """Parts as one name for people."""
    return DisplayName("/".join(part.replace("/", SLASH_IN_PART) for part in parts))


def split_display(name: str) -> tuple[str, ...]:
    """The parts of a name a person gave; empty ones are dropped."""
    return tuple(part for part in name.split("/") if part.strip())


def join(parts: tuple[str, ...], delimiter: str) -> WireName:
    """The wire name of a path whose parts are free of the delimiter."""
    return WireName(delimiter.join(encode(part) for part in parts))


def fold(parts: tuple[str, ...]) -> str:
    """Equal for two paths a server that ignores case would take for one."""
    return "\0".join(part.casefold() for part in parts)


def safe_part(part: str, delimiter: str) -> str:
    """
    A part without what no server takes: its delimiter, control characters, nothing at all, too many bytes.

    The look-alikes (full-width) keep the name readable and can be turned back by hand.
    """
    text = part.replace(delimiter, wide(delimiter)) if delimiter else part
    text = "".join("\N{REPLACEMENT CHARACTER}" if ord(char) < 32 or ord(char) == 127 else char for char in text)
    while len(encode(text)) > PART_BYTES_MAX:
        text = text[:-1]
    return text or "_"


def plain_part(part: str) -> str:
    """A part without the characters strict servers refuse; used only after a refusal."""
    text = "".join(wide(char) if char in '*%"\\#~&/.:<>|?' else char for char in part)
    return text.strip() or "_"


def simple_part(part: str) -> str:
    """A part in which letters, digits, space, - and _ are all that is left of ASCII; the last attempt."""
    return "".join(char if char.isalnum() or char in " -_" else wide(char) for char in part).strip() or "_"


def short_part(part: str) -> str:
    """A part that fits into few bytes: its beginning, and behind it what tells it from another with that beginning."""
    if len(encode(part)) <= SHORT_PART_BYTES:
        return part
    mark = "_" + hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    while len(encode(part)) + len(mark) > SHORT_PART_BYTES:
        part = part[:-1]
    return part.strip() + mark


def wide(char: str) -> str:
    """The full-width twin of an ASCII character."""
    return chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char


def target_parts(parts: tuple[str, ...], delimiter: str, taken: set[str]) -> tuple[str, ...]:
    """
    Where a source path goes below the root: the same parts if they can be, made safe if not, and with a number behind
    the last one if `taken` (folded paths, added to) has it already.
    """
    kept = parts if delimiter else (" - ".join(parts),)
    result = numbered(tuple(safe_part(part, delimiter) for part in kept), taken)
    taken.add(fold(result))
    return result


def numbered(wanted: tuple[str, ...], taken: set[str]) -> tuple[str, ...]:
    """The path, with a number behind its last part if `taken` has it already."""
    result, number = wanted, 1
    while fold(result) in taken:
        number += 1
        result = (*wanted[:-1], f"{wanted[-1]} ({number})")
    return result


@lru_cache(maxsize=1_024)
def quoted(wire: str) -> bytes:
    """A name as a quoted string. Raises ValueError for what cannot be sent (CR, LF, NUL)."""
    if re.search(r"[\r\n\0]", wire):
        raise ValueError("a line end in a folder name")
    return b'"' + wire.encode("latin-1").replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
