"""Folder names on the wire: modified UTF-7 (RFC 3501, 5.1.3)."""

from __future__ import annotations

import base64
import re

NOT_PLAIN = re.compile(r"[^\x20-\x7e]+")
SHIFTED = re.compile(r"&([A-Za-z0-9+,]*)-")


def encode(name: str) -> str:
    """The wire form of a display name: pure ASCII."""
    return NOT_PLAIN.sub(lambda run: f"&{base64_of(run.group())}-", name.replace("&", "&-"))


def decode(wire: str) -> str:
    """The display form of a wire name; ValueError when it is not modified UTF-7 in its one correct form."""
    try:
        name = SHIFTED.sub(lambda shifted: text_of(shifted.group(1)), wire)
        if encode(name) == wire:
            return name
    except ValueError:
        pass
    raise ValueError(f"not modified UTF-7: {wire!r}")


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode("utf-16-be")).decode().rstrip("=").replace("/", ",")


def text_of(shifted: str) -> str:
    if not shifted:
        return "&"
    return base64.b64decode(shifted.replace(",", "/") + "=" * (-len(shifted) % 4)).decode("utf-16-be")
