"""SPF (RFC 7208): one record read, counted and merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

LOOK_UPS_MAX = 10  # RFC 7208, 4.6.4
COUNTED_MAX = 30  # after so many it does not matter any more
ASKS = ("include", "a", "mx", "ptr", "exists")
QUALIFIERS = "+-~?"

Fetch = Callable[[str], Sequence[str] | None]  # the TXT records of a name; None: could not be asked


def is_spf(text: str) -> bool:
    """Whether a TXT is an SPF record: `v=spf1`, then a blank or nothing."""
    return text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")


def spf_of(texts: Sequence[str]) -> list[str]:
    """The SPF records among a name's TXT records."""
    return [each for each in texts if is_spf(each)]


def terms(record: str) -> list[str]:
    """What follows the version."""
    return record.split()[1:]


def mechanism(term: str) -> tuple[str, str]:
    """`~include:x` as include and x; `redirect=x` as redirect and x; a macro's dots stay."""
    bare = term.lstrip(QUALIFIERS)
    for mark in ":=":
        name, found, value = bare.partition(mark)
        if found and name.isalnum():
            return name.lower(), value
    return bare.partition("/")[0].lower(), ""


def includes(record: str) -> set[str]:
    """`include:…` and `redirect=…`, in lower case, as wanted records name them."""
    found = set()
    for each in terms(record):
        name, value = mechanism(each)
        if name in ("include", "redirect") and value:
            found.add(f"include:{value.lower().rstrip('.')}")
    return found


def end_of(record: str) -> str | None:
    """`~all`, `-all`, …; None when it ends open or with a redirect."""
    return next((each.lower() for each in terms(record) if mechanism(each)[0] == "all"), None)


@dataclass(frozen=True)
class Count:
    """How many look-ups a receiver makes, and the includes that lead nowhere."""

    look_ups: int
    dead: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()  # could not be asked now

    @property
    def too_many(self) -> bool:
        """Whether receivers give up on the record."""
        return self.look_ups > LOOK_UPS_MAX


def count(record: str, fetch: Fetch) -> Count:
    """Follow a record as a receiver would; bounded, and a circle ends it."""
    waiting, seen = [record], set[str]()
    number, dead, unknown = 0, [], []
    while waiting and number <= COUNTED_MAX:
        for term in terms(waiting.pop()):
            name, value = mechanism(term)
            if name in ASKS or name == "redirect":
                number += 1
            if name not in ("include", "redirect") or not value or "%" in value or value in seen:
                continue
            seen.add(value)
            texts = fetch(value)
            if texts is None:
                unknown.append(value)
            elif len(found := spf_of(texts)) == 1:
                waiting.append(found[0])
            else:
                dead.append(value)
    return Count(number, tuple(dead), tuple(unknown))


def merged(records: Sequence[str], include: str, end: str) -> str:
    """
    One record that allows what all of these allow, and `include`; never two.

    The first record's end stays: an admin may have chosen it. A redirect counts only without an end, so it becomes an
    include where there is one.
    """
    kept: list[str] = []
    redirect = None
    closing = next((found for each in records if (found := end_of(each)) is not None), None)
    for record in records:
        for term in terms(record):
            name, value = mechanism(term)
            if name == "redirect":
                redirect = redirect or value
            elif name != "all" and term.lower() not in {each.lower() for each in kept}:
                kept.append(term)
    if redirect is not None:
        kept.append(f"include:{redirect}")
    if include.lower() not in {each.lower().lstrip(QUALIFIERS) for each in kept}:
        kept.append(include)
    return " ".join(["v=spf1", *kept, closing or end])
