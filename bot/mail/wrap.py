"""
A mail the target does not take as it is, as the attachment of a small mail of ours.

The attachment is the original, byte for byte, base64 in an `.eml` file: inside `message/rfc822` no such encoding is
allowed (RFC 2046 5.2.1), and unencoded it would be the very bytes that were refused. Equal input gives equal bytes,
so that what a killed run stored is found again.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from functools import cached_property

from bot.mail.ledger import Line
from bot.mail.quirks import parse_internaldate
from bot.words import LANGUAGES, say

LINE_BYTES = 57  # 76 characters of base64


class Wrapping:
    """The mail around a mail of `size_bytes`: `head`, the encoded original, `tail`."""

    def __init__(self, line: Line, size_bytes: int, *, numbered: bool = False) -> None:
        """`numbered` is how it was done once: it cannot be done again when the folder got other numbers."""
        self._line = line
        self._size_bytes = size_bytes
        self._numbered = numbered
        self._rest = b""

    @cached_property
    def head(self) -> bytes:
        import email.utils  # here: few copies need it

        words = say("mail.wrapped", detail=self._line.detail or "?")
        text = "\r\n".join(words.text(language) for language in LANGUAGES)
        moment = parse_internaldate(self._line.internal_date) or datetime(1970, 1, 1, tzinfo=UTC)
        boundary = self._boundary
        lines = (
            f"Date: {email.utils.format_datetime(moment)}",
            f"Subject: {encoded(self._line.subject or 'mail')}",
            "MIME-Version: 1.0",
            f'Content-Type: multipart/mixed; boundary="{boundary}"',
            "",
            f"--{boundary}",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: base64",
            "",
            base64.encodebytes(text.encode()).decode().strip().replace("\n", "\r\n"),
            f"--{boundary}",
            'Content-Type: application/octet-stream; name="original.eml"',
            'Content-Disposition: attachment; filename="original.eml"',
            "Content-Transfer-Encoding: base64",
            "",
            "",
        )
        return "\r\n".join(lines).encode("ascii")

    @property
    def tail(self) -> bytes:
        return f"--{self._boundary}--\r\n".encode("ascii")

    @cached_property
    def _boundary(self) -> str:
        line = self._line
        mark = f"{line.folder_id}-{line.uid}"
        if not self._numbered:
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


class Wrapped:
    """What the target holds of a mail, by its bytes."""

    def __init__(self, line: Line, size_bytes: int, *, numbered: bool = False) -> None:
        self._wrapping = Wrapping(line, size_bytes, numbered=numbered)
        self._hash = hashlib.sha256(self._wrapping.head)

    def update(self, chunk: bytes) -> None:
        self._hash.update(self._wrapping.encode(chunk))

    def sha256(self) -> bytes:
        self._hash.update(self._wrapping.finish())
        return self._hash.digest()
