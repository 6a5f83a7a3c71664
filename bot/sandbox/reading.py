"""A mail opened and read as the page shows it: headers, text and what is attached, as text only, whatever its bytes."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.message import Message as Parsed
from html import unescape
from typing import Any

from bot.sandbox.mailserver import Message
from bot.sandbox.shown import mail_shown, readable_header

SHOWN = ("From", "To", "Cc", "Reply-To", "Date", "Message-ID")
TEXT_MAX = 20_000  # characters
PARTS_MAX = 200
HEADERS_MAX = 60
_UNSEEN = re.compile(r"<(script|style|head|title)\b.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
_BREAKS = re.compile(r"<(?:br|/p|/div|/tr|/li|/h[1-6])\b[^>]*>", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")


def opened(mail: Message) -> dict[str, Any]:
    """A mail as JSON: no more of its text than people read, no attachment's content."""
    whole = message_from_bytes(mail.raw)
    plain, html, attached = parts_of(whole)
    text = plain if plain is not None else without_markup(html or "")
    return {
        **mail_shown(mail),
        "headers": [[name, readable_header(value)] for name in SHOWN for value in whole.get_all(name, [])],
        "all_headers": [[name, readable_header(value)] for name, value in whole.items()[:HEADERS_MAX]],
        "text": text[:TEXT_MAX],
        "cut": len(text) > TEXT_MAX,
        "was_html": plain is None and html is not None,
        "attachments": attached,
    }


def parts_of(whole: Parsed) -> tuple[str | None, str | None, list[dict[str, Any]]]:
    """The first plain text, the first HTML, and every other part by name, type and size."""
    plain: str | None = None
    html: str | None = None
    attached: list[dict[str, Any]] = []
    for number, part in enumerate(whole.walk()):
        if number >= PARTS_MAX:
            break
        if part.is_multipart():
            continue
        kind, name = part.get_content_type(), part.get_filename()
        if name is None and kind == "text/plain" and plain is None:
            plain = text_of(part)
        elif name is None and kind == "text/html" and html is None:
            html = text_of(part)
        elif name is not None or kind not in ("text/plain", "text/html"):
            content = part.get_payload(decode=True)
            size = len(content) if isinstance(content, bytes) else 0
            attached.append({"name": readable_header(name or ""), "type": kind, "size_bytes": size})
    return plain, html, attached


def text_of(part: Parsed) -> str:
    """A part's text; what its charset cannot read comes as replacement characters."""
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes):
        return str(part.get_payload())
    for charset in (part.get_content_charset() or "utf-8", "utf-8", "gb18030"):
        try:
            return content.decode(charset)
        except (LookupError, UnicodeDecodeError):
            continue
    return content.decode("utf-8", "replace")


def without_markup(html: str) -> str:
    """The words of a page, a line for each of its blocks."""
    text = _TAG.sub("", _BREAKS.sub("\n", _UNSEEN.sub("", html)))
    return re.sub(r"\n{3,}", "\n\n", unescape(text)).strip()
