"""A mail taken apart for FETCH: header, header fields, MIME parts, ENVELOPE, BODYSTRUCTURE. Nothing here may raise."""

from __future__ import annotations

import email.parser
import email.utils
import re
from dataclasses import dataclass, field
from email.message import Message as Header

DEPTH_MAX = 20
PARTS_MAX = 500
HEADER_END = re.compile(rb"\r?\n\r?\n")
FOLD = re.compile(rb"\r?\n[ \t]+")
ADDRESS_FIELDS = ("From", "Sender", "Reply-To", "To", "Cc", "Bcc")
HEADERS = email.parser.BytesHeaderParser()


def split(raw: bytes) -> tuple[bytes, bytes]:
    """Header with its empty line, and body; without an empty line all is header."""
    for start in (b"\r\n", b"\n"):
        if raw.startswith(start):
            return start, raw[len(start) :]
    found = HEADER_END.search(raw)
    return (raw, b"") if found is None else (raw[: found.end()], raw[found.end() :])


def header_fields(header: bytes, names: tuple[str, ...], *, negate: bool = False) -> bytes:
    """The header's lines of these fields (or of all others) with folded lines as they stand, and an empty line."""
    chosen, keep = [], False
    for line in header.splitlines(keepends=True):
        if not line.strip(b"\r\n"):
            break
        if not line.startswith((b" ", b"\t")):
            name = line.partition(b":")[0].strip().decode("latin-1").upper()
            keep = (name in names) is not negate
        if keep:
            chosen.append(line)
    return b"".join(chosen) + b"\r\n"


@dataclass
class Part:
    """A MIME part: its header and body as they stand, and the parts inside."""

    header: bytes
    body: bytes
    type: str = "TEXT"
    subtype: str = "PLAIN"
    parameters: list[tuple[str, str]] = field(default_factory=list)
    encoding: str = "7BIT"
    identity: str | None = None
    description: str | None = None
    inside: list[Part] = field(default_factory=list)


def parse(raw: bytes, depth: int = 0) -> Part:
    """The tree of a mail's parts; what is broken becomes text/plain."""
    header, body = split(raw)
    fields = HEADERS.parsebytes(header)
    part = Part(header, body)
    try:
        part.type, part.subtype = fields.get_content_type().upper().split("/", 1)
        part.parameters = [(name.upper(), str(value)) for name, value in (fields.get_params() or [])[1:]]
    except Exception:  # noqa: S110 -- the email package raises many things on broken headers
        pass
    part.encoding = (text(fields, "Content-Transfer-Encoding") or "7BIT").strip().upper()
    part.identity, part.description = text(fields, "Content-ID"), text(fields, "Content-Description")
    boundary = dict(part.parameters).get("BOUNDARY", "")
    if part.type == "MULTIPART" and depth < DEPTH_MAX:
        part.inside = [parse(each, depth + 1) for each in pieces(body, boundary.encode("latin-1", "replace"))]
    elif (part.type, part.subtype) == ("MESSAGE", "RFC822") and depth < DEPTH_MAX:
        part.inside = [parse(body, depth + 1)]
    if part.type == "MULTIPART" and not part.inside:
        part.type, part.subtype, part.parameters = "TEXT", "PLAIN", []
    return part


def pieces(body: bytes, boundary: bytes) -> list[bytes]:
    if not boundary:
        return []
    found = re.split(rb"(?:^|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r?\n|$)", body)
    kept: list[bytes] = []
    for index in range(2, len(found), 2):
        if found[index - 1] is not None:
            break
        kept.append(found[index])
    return kept[:PARTS_MAX]


def text(fields: Header, name: str) -> str | None:
    """A field's value unfolded, 8-bit bytes one character each; None when it is not there."""
    for key, value in fields.raw_items():
        if key.lower() == name.lower():
            return FOLD.sub(b" ", str(value).encode("ascii", "surrogateescape")).decode("latin-1")
    return None


def section(raw: bytes, name: str, fields: tuple[str, ...]) -> bytes | None:
    """The bytes BODY[name] stands for; None when the mail has no such part."""
    numbers, what = re.fullmatch(r"([\d.]*\d)?\.?(.*)", name).groups()  # type: ignore[union-attr]
    if numbers is None:
        header, body = split(raw) if name else (b"", raw)
        return chosen(header, body, what, fields) if name else raw
    part: Part | None = find(parse(raw), [int(number) for number in numbers.split(".")])
    if part is None:
        return None
    if what in ("", "MIME"):
        return part.header if what else part.body
    return chosen(part.inside[0].header, part.inside[0].body, what, fields) if part.inside else None


def chosen(header: bytes, body: bytes, what: str, fields: tuple[str, ...]) -> bytes:
    if what == "HEADER":
        return header
    if what == "TEXT":
        return body
    return header_fields(header, fields, negate=what.endswith("NOT"))


def find(part: Part, path: list[int]) -> Part | None:
    """The part of that number: 1 of a mail with one part is the mail's own body."""
    for number in path:
        if part.type == "MESSAGE" and part.inside:
            part = part.inside[0]
        if part.type == "MULTIPART":
            if not 1 <= number <= len(part.inside):
                return None
            part = part.inside[number - 1]
        elif number != 1:
            return None
    return part


def nstring(value: str | None) -> bytes:
    """NIL, a quoted string, or a literal where quotes cannot hold it; `value` is one character a byte."""
    if value is None:
        return b"NIL"
    data = value.encode("latin-1", "replace")
    if data.isascii() and not re.search(rb"[\r\n\0]", data):
        return b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return b"{%d}\r\n%b" % (len(data), data)


def envelope(header: bytes, *, malformed: bool = False) -> bytes:
    """ENVELOPE (RFC 3501, 7.4.2); malformed: nine fields of ten, and a host with a stray backslash, as QQ writes it."""
    fields = HEADERS.parsebytes(header)
    lists = {name: addresses(text(fields, name), malformed=malformed) for name in ADDRESS_FIELDS}
    for name in ("Sender", "Reply-To"):
        if lists[name] == b"NIL":
            lists[name] = lists["From"]
    if malformed:
        del lists["Bcc"]
    parts = [nstring(text(fields, "Date")), nstring(text(fields, "Subject")), *lists.values()]
    parts += [nstring(text(fields, "In-Reply-To")), nstring(text(fields, "Message-ID"))]
    return b"(" + b" ".join(parts) + b")"


def addresses(value: str | None, *, malformed: bool = False) -> bytes:
    if value is None:
        return b"NIL"
    rows = []
    for name, address in email.utils.getaddresses([value]):
        local, _, host = address.rpartition("@")
        if not local:
            local, host = address, ""
        end = nstring(host)[:-1] + b'\\"' if malformed else nstring(host)
        rows.append(b"(%b NIL %b %b)" % (nstring(name or None), nstring(local), end))
    return b"(" + b"".join(rows) + b")" if rows else b"NIL"


def structure(part: Part) -> bytes:
    """BODYSTRUCTURE without extension data, which RFC 3501 lets a server leave out."""
    if part.type == "MULTIPART":
        return b"(" + b"".join(structure(each) for each in part.inside) + b" " + nstring(part.subtype) + b")"
    parameters = b" ".join(nstring(each) for pair in part.parameters for each in pair)
    values = [
        nstring(part.type),
        nstring(part.subtype),
        b"(" + parameters + b")" if parameters else b"NIL",
        nstring(part.identity),
        nstring(part.description),
        nstring(part.encoding),
        b"%d" % len(part.body),
    ]
    if part.type == "MESSAGE" and part.inside:
        values += [envelope(part.inside[0].header), structure(part.inside[0])]
    if part.type == "TEXT" or (part.type == "MESSAGE" and part.inside):
        values.append(b"%d" % part.body.count(b"\n"))
    return b"(" + b" ".join(values) + b")"


MALFORMED_STRUCTURE = b'(("TEXT" "PLAIN" ("NAME" "a\r\nb.txt") NIL NIL "7BIT" 5 1)() "MIXED")'
