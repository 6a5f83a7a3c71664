"""What a provider's API is asked for, and what its refusals mean."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import dns.name

from bot.dns.plan import SetChange, replaced_by
from bot.dns.providers import Provider
from bot.dns.records import NULL_MX, Record
from bot.errors import UpstreamError
from bot.http import Answer
from bot.words import Words, say

PAGES_MAX = 40
SHOWN_MAX = 160  # of what a provider wrote
BETWEEN_PARTS = re.compile(r'(?<!\\)"\s*"')  # of a text that is longer than 255 bytes


class Refusal(StrEnum):
    """Why a provider said no, as far as it decides what to do next."""

    BAD_KEY = "bad_key"  # another key
    NOT_ELIGIBLE = "not_eligible"  # the key is right, the account may not use the API: by hand
    NO_RIGHT = "no_right"  # the key may not touch this domain
    NO_ZONE = "no_zone"  # the domain is not in this account
    CLOCK = "clock"  # our clock is wrong
    BUSY = "busy"  # later
    DUPLICATE = "duplicate"  # such a record is there
    CONFLICT = "conflict"  # another record excludes it
    BAD_RECORD = "bad_record"  # it does not like the record
    OTHER = "other"


class ProviderError(UpstreamError):
    """A DNS provider refused. Its text is the provider's, without anything of ours."""

    def __init__(self, provider: Provider, refusal: Refusal, code: str, text: str = "") -> None:
        super().__init__(f"{provider}: {code} {text}"[:SHOWN_MAX])
        self.provider, self.refusal, self.code, self.text = provider, refusal, code, text[:SHOWN_MAX]

    def words(self) -> Words:
        return say(
            f"dns.api_{self.refusal}", provider=say(f"dns.provider_{self.provider}"), code=self.code, text=self.text
        )


@dataclass(frozen=True)
class Key:
    """How a provider knows us. GoDaddy's personal access token has no secret."""

    id: str
    secret: str = ""

    def packed(self) -> str:
        """As one text, to be encrypted."""
        return json.dumps([self.id, self.secret])

    @staticmethod
    def unpacked(text: str) -> Key:
        """As it was."""
        return Key(*json.loads(text))

    def __repr__(self) -> str:
        return "Key(…)"


@dataclass(frozen=True)
class Held:
    """A record as the provider keeps it."""

    record: Record
    id: str = ""
    line: str = ""  # told to some of the world only: another line than the default one


class ZoneApi(Protocol):
    """One provider, with one key. Every method may raise ProviderError, or NetworkError (then nobody knows)."""

    def records(self, zone: str) -> list[Held]:
        """The MX and TXT records of a zone."""

    def write(self, zone: str, change: SetChange, held: Sequence[Held]) -> None:
        """Make a set what it should be, from what is held of it now. What is right already is not touched."""

    def close(self) -> None:
        """Give the connections back."""


@dataclass(frozen=True)
class Steps:
    """From what is held to what should be, record by record: changed in place, added, then removed."""

    change: tuple[tuple[Held, Record], ...]
    add: tuple[Record, ...]
    remove: tuple[Held, ...]


def steps_to(change: SetChange, held: Sequence[Held]) -> Steps:
    """
    The steps of a provider whose records have ids.

    What takes another's place (the same host with another priority, an SPF for an SPF) is changed in place, so that
    there is never a moment with two; new MX come before old ones go, so that there is never one without.
    """
    surplus = [each for each in held if not any(each.record.same(other) for other in change.after)]
    changed: list[tuple[Held, Record]] = []
    added: list[Record] = []
    for record in change.after:
        if any(each.record.same(record) for each in held):
            continue
        replaced = replaced_by(record, [each.record for each in surplus])
        old = next((each for each in surplus if each.record is replaced), None)
        if old is None:
            added.append(record)
        else:
            surplus.remove(old)
            changed.append((old, record))
    return Steps(tuple(changed), tuple(added), tuple(surplus))


def body_of(answer: Answer) -> Any:
    """The answer's JSON, or nothing when it is none: a gateway's page."""
    try:
        return json.loads(answer.body) if answer.body else None
    except ValueError:
        return None


def host_of(name: str) -> str:
    """A host as name servers know it; some providers show other scripts as people read them."""
    bare = name.rstrip(".").lower()
    return bare if bare.isascii() else str(dns.name.from_text(bare, None, dns.name.IDNA_2008_Practical))


def other_line(told: Any, default: str) -> str:
    """The line of a record that only a part of the world is told; nothing for the default one."""
    line = str(told.get("Line") or default)
    return "" if line == default else line


def mx_of(value: str) -> str:
    """Where an MX points to, without the dot at the end; a dot alone says that there is no mail."""
    return host_of(value) or NULL_MX


def plain(value: str) -> str:
    """A value without the last dot that some providers keep, nor the quotes around a text."""
    if len(value) > 1 and value.startswith('"') and value.endswith('"'):
        value = BETWEEN_PARTS.sub("", value[1:-1]).replace('\\"', '"')
    return value
