"""
A mail the target does not take as it is, as the attachment of a small mail of ours.

The attachment is the original, byte for byte, base64 in an `.eml` file: inside `message/rfc822` no such encoding is
allowed (RFC 2046 5.2.1), and unencoded it would be the very bytes that were refused. Equal input gives equal bytes,
so that what a killed run stored is found again; what we say around it may be said otherwise one day, so a header
tells how many bytes of the body say it, and the mail is known by the others (`Digest.identity`).
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from enum import Enum
from functools import cached_property

from bot.mail.digest import EXPLANATION, Digest
from bot.mail.ledger import Line
from bot.mail.quirks import parse_internaldate
from bot.words import LANGUAGES, say

LINE_BYTES = 57  # 76 characters of base64


# What was said around a mail in the ways of before, letter for letter: never said any more, only known.
FIRST_WORDS = (
    "The mail server did not accept this mail as it is ({detail})."
    " The attached file holds the original, byte for byte.",
    "邮件服务器不接受这封邮件的原始内容（{detail}）。附件是逐字节保留的原邮件。",
)


class Way(Enum):
    """How it is done, and how it was once: such mails lie in mailboxes and must be known."""

    NOW = "now"
    UNTOLD = "untold"  # no header told which bytes are our words
    NUMBERED = "numbered"  # and it held the folder's numbers: it cannot be done again when these have changed


class Wrapping:
    """The mail around a mail of `size_bytes`: `head`, the encoded original, `tail`."""

    def __init__(self, line: Line, size_bytes: int, way: Way = Way.NOW) -> None:
        self._line = line
        self._size_bytes = size_bytes
        self._way = way
        self._rest = b""

    @cached_property
    def head(self) -> bytes:
        import email.utils  # here: few copies need it

        moment = parse_internaldate(self._line.internal_date) or datetime(1970, 1, 1, tzinfo=UTC)
        words = in_lines(
            f"--{self._boundary}",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: base64",
            "",
            base64.encodebytes(self._words.encode()).decode().strip().replace("\n", "\r\n"),
        )
        header = in_lines(
            f"Date: {email.utils.format_datetime(moment)}",
            f"Subject: {encoded(self._line.subject or 'mail')}",
            *([f"{EXPLANATION}: {len(words)}"] if self._way is Way.NOW else []),
            "MIME-Version: 1.0",
            f'Content-Type: multipart/mixed; boundary="{self._boundary}"',
            "",
        )
        attachment = in_lines(
            f"--{self._boundary}",
            'Content-Type: application/octet-stream; name="original.eml"',
            'Content-Disposition: attachment; filename="original.eml"',
            "Content-Transfer-Encoding: base64",
            "",
        )
        return (header + words + attachment).encode("ascii")

    @property
    def _words(self) -> str:
        """For whoever opens it, in each language."""
        detail = self._line.detail or "?"
        if self._way is not Way.NOW:
            return "\r\n".join(each.format(detail=detail) for each in FIRST_WORDS)
        words = say("mail.wrapped", detail=detail)
        return "\r\n".join(words.text(language) for language in LANGUAGES)

    @property
    def tail(self) -> bytes:
        return f"--{self._boundary}--\r\n".encode("ascii")

    @cached_property
    def _boundary(self) -> str:
        line = self._line
        mark = f"{line.folder_id}-{line.uid}"
        if self._way is not Way.NUMBERED:
            facts = (line.internal_date, line.subject, line.detail, self._size_bytes)
            mark = hashlib.sha256(repr(facts).encode("utf-8", "surrogatepass")).hexdigest()[:24]
        return f"=_exmail-bot-{mark}"  # "=_" never stands in base64

    @property
    def size(self) -> int:
        """Of the whole."""
        whole, rest = divmod(self._size_bytes, LINE_BYTES)
        return len(self.head) + whole * 78 + (-(-rest // 3) * 4 + 2 if rest else 0) + len(self.tail)

    def encode(self, chunk: bytes) -> bytes:
        """The next piece; lines are kept whole."""
        data = self._rest + chunk
        end = len(data) - len(data) % LINE_BYTES
        self._rest = data[end:]
        return base64.encodebytes(data[:end]).replace(b"\n", b"\r\n")

    def finish(self) -> bytes:
        """What is left, and the tail."""
        rest, self._rest = self._rest, b""
        return base64.encodebytes(rest).replace(b"\n", b"\r\n") + self.tail


def encoded(text: str) -> str:
    """A header value as encoded words (RFC 2047), folded."""
    if text.isascii() and text.isprintable():
        return text
    words, piece = [], ""
    for char in text:
        if len((piece + char).encode("utf-8", "replace")) > 42:
            words.append(piece)
            piece = ""
        piece += char
    words.append(piece)
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(word.encode('utf-8', 'replace')).decode()}?=" for word in words)


def in_lines(*lines: str) -> str:
    return "".join(f"{line}\r\n" for line in lines)


class Wrapped:
    """What the target would hold of a mail, by its names."""

    def __init__(self, line: Line, size_bytes: int, way: Way = Way.NOW) -> None:
        self._wrapping = Wrapping(line, size_bytes, way)
        self._digest = Digest()
        self._digest.update(self._wrapping.head)

    def update(self, chunk: bytes) -> None:
        self._digest.update(self._wrapping.encode(chunk))

    def finish(self) -> Digest:
        self._digest.update(self._wrapping.finish())
        return self._digest
