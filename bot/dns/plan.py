"""
What would change in a zone: the same object is shown, agreed to, carried out, and turned round to undo it.

A change is about one set: all records of one type at one host. Other sets are not touched, and of a set only what has
to change: a TXT that is no SPF stays beside the SPF.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bot.dns import spf
from bot.dns.names import host_in
from bot.dns.records import NULL_MX, Record, Wanted, same_dkim


class Kind(StrEnum):
    """What happens to one record."""

    ADD = "add"
    REPLACE = "replace"
    REMOVE = "remove"
    KEEP = "keep"


@dataclass(frozen=True)
class Line:
    """One record of the difference, for people."""

    kind: Kind
    record: Record
    before: Record | None = None


@dataclass(frozen=True)
class SetChange:
    """One set as it is and as it will be; alike when nothing changes."""

    type: str
    host: str
    before: tuple[Record, ...]
    after: tuple[Record, ...]

    @property
    def key(self) -> tuple[str, str]:
        """Type and host, as a record has them."""
        return self.type, self.host

    @property
    def changes(self) -> bool:
        """Whether anything does."""
        return not same_sets(self.before, self.after)

    def turned(self) -> SetChange:
        """The way back."""
        return SetChange(self.type, self.host, self.after, self.before)

    def lines(self) -> list[Line]:
        """The difference, record by record; a record that takes another's place is one line."""
        gone = [each for each in self.before if not any(each.same(other) for other in self.after)]
        out = []
        for each in self.after:
            if any(each.same(other) for other in self.before):
                out.append(Line(Kind.KEEP, each))
                continue
            replaced = replaced_by(each, gone)
            if replaced is not None:
                gone.remove(replaced)
            out.append(Line(Kind.ADD if replaced is None else Kind.REPLACE, each, replaced))
        return [*out, *(Line(Kind.REMOVE, each) for each in gone)]


def replaced_by(record: Record, gone: Sequence[Record]) -> Record | None:
    """Which of the records that go a new one takes the place of: the same value, an SPF for an SPF, a key for a key."""
    for each in gone:
        if each.value == record.value:
            return each
    if record.type == "TXT":
        for each in gone:
            if spf.is_spf(each.value) == spf.is_spf(record.value):
                return each
    return None


@dataclass(frozen=True)
class Plan:
    """Everything that would be done in a zone."""

    zone: str
    sets: tuple[SetChange, ...]

    @property
    def changes(self) -> tuple[SetChange, ...]:
        """The sets in which something changes."""
        return tuple(each for each in self.sets if each.changes)

    def undo(self) -> Plan:
        """The way back, in the opposite order."""
        return Plan(self.zone, tuple(each.turned() for each in reversed(self.changes)))

    def removed_mx(self) -> list[Record]:
        """MX records of other services that would go: only with consent."""
        return [
            line.record for each in self.sets if each.type == "MX" for line in each.lines() if line.kind is Kind.REMOVE
        ]

    def as_json(self) -> dict[str, Any]:
        """For a row."""
        sets = [
            {
                "type": each.type, "host": each.host, "before": [one.as_json() for one in each.before],
                "after": [one.as_json() for one in each.after],
            }
            for each in self.sets
        ]  # fmt: skip
        return {"zone": self.zone, "sets": sets}

    @staticmethod
    def from_json(kept: Mapping[str, Any]) -> Plan:
        """As it was."""
        sets = tuple(
            SetChange(
                each["type"], each["host"], tuple(map(Record.from_json, each["before"])),
                tuple(map(Record.from_json, each["after"])),
            )
            for each in kept["sets"]
        )  # fmt: skip
        return Plan(str(kept["zone"]), sets)


def same_sets(one: Sequence[Record], other: Sequence[Record]) -> bool:
    """Whether two sets say the same, in any order."""
    return said_by(one) == said_by(other)


def said_by(records: Iterable[Record]) -> list[tuple[str, int]]:
    """What a set says, comparable."""
    return sorted((each.value, each.priority if each.priority is not None else -1) for each in records)


def make_plan(
    domain: str,
    zone: str,
    present: Sequence[Record],
    wanted: Wanted,
    *,
    remove_foreign: bool,
    aliased: Collection[str] = (),
) -> Plan:
    """
    The difference between what a zone holds and what mail needs.

    Other services' MX records go only with `remove_foreign`. SPF records are merged into one. A DMARC record that is
    there stays as it is. A host in `aliased` is a CNAME, which bears no other record: nothing is planned there.
    """
    here = host_in(domain, zone)

    def below(host: str) -> str:
        return host if here == "@" else f"{host}.{here}"

    sets = [
        mx_set(at(present, "MX", here), here, wanted, remove_foreign=remove_foreign),
        spf_set(at(present, "TXT", here), here, wanted),
    ]
    if wanted.dkim is not None:
        sets.append(dkim_set(at(present, "TXT", below(wanted.dkim[0])), below(wanted.dkim[0]), wanted))
    sets.append(dmarc_set(at(present, "TXT", below("_dmarc")), below("_dmarc"), wanted))
    return Plan(zone, tuple(each for each in sets if each.host not in aliased))


def at(present: Iterable[Record], kind: str, host: str) -> tuple[Record, ...]:
    """The set of a type at a host."""
    return tuple(each for each in present if each.key == (kind, host))


def mx_set(before: tuple[Record, ...], host: str, wanted: Wanted, *, remove_foreign: bool) -> SetChange:
    """Exmail's records, with what is right already as it is."""
    after = []
    for mx in wanted.mx:
        new = Record("MX", host, mx.host, mx.priority, wanted.ttl)
        after.append(next((each for each in before if each.same(new)), new))
    ours = {each.host for each in wanted.mx}
    if not remove_foreign:
        after += [each for each in before if each.value not in ours and each.value != NULL_MX]
    return SetChange("MX", host, before, tuple(after))


def spf_set(before: tuple[Record, ...], host: str, wanted: Wanted) -> SetChange:
    """One SPF record that allows Exmail too; other texts stay."""
    found = [each for each in before if spf.is_spf(each.value)]
    others = tuple(each for each in before if not spf.is_spf(each.value))
    if len(found) == 1 and spf.includes(found[0].value) & {wanted.spf, *wanted.spf_also}:
        return SetChange("TXT", host, before, before)
    value = spf.merged([each.value for each in found], wanted.spf, wanted.spf_end)
    ttl = found[0].ttl if found else wanted.ttl
    return SetChange("TXT", host, before, (*others, Record("TXT", host, value, None, ttl)))


def dkim_set(before: tuple[Record, ...], host: str, wanted: Wanted) -> SetChange:
    """One key."""
    assert wanted.dkim is not None  # noqa: S101 - the caller looked
    value = wanted.dkim[1]
    if len(before) == 1 and same_dkim(before[0].value, value):
        return SetChange("TXT", host, before, before)
    return SetChange("TXT", host, before, (Record("TXT", host, value, None, wanted.ttl),))


def dmarc_set(before: tuple[Record, ...], host: str, wanted: Wanted) -> SetChange:
    """A mild one where there is none."""
    if any(is_dmarc(each.value) for each in before):
        return SetChange("TXT", host, before, before)
    return SetChange("TXT", host, before, (*before, Record("TXT", host, wanted.dmarc, None, wanted.ttl)))


def is_dmarc(text: str) -> bool:
    """Whether a TXT is a DMARC record."""
    return text.lower().replace(" ", "").startswith("v=dmarc1")


# --- carrying it out -------------------------------------------------------------------------------------------------


def settled(plan: Plan, held: Sequence[Record]) -> Plan:
    """
    The plan as the provider's own records have it, before the first write.

    It was made from what DNS shows, which may come from a wildcard, or be older. What is not there is not brought back
    by keeping it, what is there already is not undone later, and a text that has come meanwhile and says nothing
    about mail stays, also when all is undone. A set that holds anything else unknown is left as it was planned.
    """
    return Plan(plan.zone, tuple(settled_set(each, at(held, *each.key)) for each in plan.sets))


def settled_set(change: SetChange, here: tuple[Record, ...]) -> SetChange:
    """One set of it."""
    known = (*change.before, *change.after)
    strangers = [each for each in here if not any(each.same(other) for other in known)]
    if any(each.type == "MX" or about_mail(each.value) for each in strangers):
        return change
    lost = [each for each in change.before if not any(each.same(other) for other in here)]
    after = [each for each in change.after if not any(each.same(other) for other in lost)]
    return SetChange(change.type, change.host, here, (*after, *strangers))


def about_mail(text: str) -> bool:
    """Whether a TXT is one of those that mail servers read."""
    bare = text.lower().replace(" ", "")
    return spf.is_spf(text) or bare.startswith(("v=dkim1", "v=dmarc1", "k=", "p="))


class Standing(StrEnum):
    """How far a change has come, by what is there now."""

    DONE = "done"
    TO_DO = "to_do"  # untouched, or left half-way
    FOREIGN = "foreign"  # somebody else changed it meanwhile


def standing(change: SetChange, now: Sequence[Record]) -> Standing:
    """
    Read before every write: what a killed run has done is not done again, and nobody's own change is overwritten.

    Half-way is anything made of records of before and after only.
    """
    if same_sets(now, change.after):
        return Standing.DONE
    known = set(said_by(change.before)) | set(said_by(change.after))
    return Standing.TO_DO if set(said_by(now)) <= known else Standing.FOREIGN
