"""What a check found: fine, a warning, or wrong, in words that hold the remedy."""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from bot.errors import UpstreamError
from bot.words import Words, say


class Level(enum.StrEnum):
    """How bad it is. A warning: something works less well, or may be so on purpose."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `check` is its name for programs; it stays the same in later releases."""

    level: Level
    check: str
    words: Words


def ok(key: str, **values: object) -> Finding:
    """Fine; the key of the sentence is the check's name."""
    return Finding(Level.OK, name_of(key), say(key, **values))


def warning(key: str, **values: object) -> Finding:
    """Works less well than it could."""
    return Finding(Level.WARNING, name_of(key), say(key, **values))


def wrong(key: str, **values: object) -> Finding:
    """Does not work."""
    return Finding(Level.WRONG, name_of(key), say(key, **values))


def refused(key: str, error: UpstreamError, **values: object) -> Finding:
    """A call that WeCom refused, or that did not get through; `key` says what was tried and takes `why`."""
    return wrong(key, why=error.words() or str(error), **values)


def name_of(key: str) -> str:
    """`app_seen` of `doctor.app_seen`."""
    return key.partition(".")[2]


def host_of(url: str) -> str:
    """The host in a URL; empty when there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_address(host: str) -> bool:
    """Whether a host is a bare IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_here(host: str) -> bool:
    """Whether a host is this very machine: what goes there leaves it by no wire, so it needs no TLS."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
