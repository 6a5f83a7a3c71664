"""
People and addresses: what somebody typed becomes a member or a mailbox.

Reads rows only; a sweep keeps them fresh. An app made after June 2022 cannot read a member's address, so an address
may be a guess (`userid@domain`) until a look-up confirms it.

What somebody is called stands before what he may be meant by: a userid, then a name, a nickname or an address, and only
when nobody has that, the beginning of one, or pinyin. Of several nobody is taken: the asker is asked, once, and it is
remembered for him. Whom a word does not name exactly is kept in `taken`, so that the answer says who he is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from rapidfuzz import fuzz, process

from bot import pinyin
from bot.errors import BotError, UserError
from bot.pinyin import Fit
from bot.words import Words, say

if TYPE_CHECKING:
    from storage.models import Mailbox, Member
    from storage.store import Transaction

CANDIDATES_MAX = 10  # the options of one selector
PART_MIN = 2  # characters that the beginning of a name must have
NEAREST_MAX = 3
NEAREST_SCORE_MIN = 55
NEAREST_SCORE_MIN_CHINESE = 50  # of a name of two characters one may be wrong
ADDRESS_BYTES_MAX = 254
ADDRESS = re.compile(r"[0-9a-z!#$%&'*+/=?^_`{|}~.-]{1,64}@[0-9a-z-]+(\.[0-9a-z-]+)+")  # what WeCom can have, folded
ACTIVE = 1  # a member's status (developer.work.weixin.qq.com 90196)


@dataclass(frozen=True)
class Candidate:
    """One thing that was perhaps meant."""

    value: str
    label: str


class Ambiguous(BotError):
    """Two or more things bear the name; the sender is asked which, and the command goes on with the answer."""

    def __init__(self, typed: str, candidates: Sequence[Candidate]) -> None:
        super().__init__(typed)
        self.typed = typed
        self.candidates = candidates


@dataclass(frozen=True)
class Meant:
    """A mailbox somebody meant: known, or a member whose address is to be looked up, or an address nobody knows."""

    address: str | None
    userid: str | None = None
    mailbox: Mailbox | None = None

    def __str__(self) -> str:
        return self.address or self.userid or "?"


@dataclass(frozen=True)
class Taken:
    """Whom a word was taken for that does not name him exactly; `label` is short, `known_by` what an answer may say."""

    typed: str
    label: str
    known_by: tuple[str, ...]
    remembered: bool

    def words(self) -> Words:
        """For the answer."""
        return say("directory.remembered" if self.remembered else "directory.taken", typed=self.typed, who=self.label)


class Directory:
    """Answers questions about names within one transaction; of what fits several, `asker` may have chosen already."""

    def __init__(self, tx: Transaction, domain: str, asker: str | None = None) -> None:
        self._tx = tx
        self._domain = domain
        self._asker = asker
        self.taken: list[Taken] = []

    def address(self, typed: str) -> str:
        """`support@` and `support@corp.test` alike as a whole address; UserError when it cannot be one."""
        local, _, domain = typed.strip().casefold().partition("@")
        address = f"{local}@{domain or self._domain}"
        if len(address) > ADDRESS_BYTES_MAX or not ADDRESS.fullmatch(address):
            raise UserError(say("directory.not_an_address", typed=typed, domain=self._domain))
        return address

    def mailbox(self, typed: str) -> Meant:
        """
        The mailbox somebody meant by an address, a short address, a userid or whatever people call its owner.

        Raises Ambiguous for several, UserError with the nearest three for none, or for an address of another domain.
        """
        if "@" in typed and not typed.startswith("@"):
            return self.at(typed)
        if self._tx.members.find(phrase_of(typed)) is None:
            public = self._tx.mailboxes.public()
            if (found := self.one_of(typed, self.members_called(typed), self.public_called(typed, public))) is None:
                found = self.guessed(typed, public)
            if not isinstance(found, Candidate):
                raise self.unknown(typed)
            if "@" in found.value:
                box = self._tx.mailboxes.at(found.value)
                return Meant(found.value, box.owner if box is not None else None, box)
            typed = found.value
        member = self.member(typed)
        known = self._tx.mailboxes.of(member.userid)
        return Meant(known.address if known is not None else None, member.userid, known)

    def at(self, typed: str) -> Meant:
        """A mailbox by its address; `ahing@` alone is that of our one domain in which there is such a mailbox."""
        address = self.address(typed)
        local, _, domain = address.partition("@")
        if typed.strip().endswith("@"):
            address = self.in_which_domain(typed, local, address)
        elif domain not in self.domains():
            raise UserError(say("directory.foreign_domain", address=address, domain=self._domain))
        if (known := self._tx.mailboxes.at(address)) is not None:
            return Meant(known.address, known.owner, known)
        member = self._tx.members.find(local)
        guess = member is not None and self._tx.mailboxes.of(member.userid) is None
        return Meant(address, member.userid if guess and member is not None else None)

    def in_which_domain(self, typed: str, local: str, address: str) -> str:
        """The address meant by its local part; Ambiguous when several domains have it."""
        found = {
            each: box.id
            for box in self._tx.mailboxes.all()
            if box.kind != "unseen"
            for each in (box.address, *box.aliases)
            if each.partition("@")[0] == local
        }
        member = self._tx.members.find(local)
        if member is not None and member.left_at is None and self._tx.mailboxes.of(member.userid) is None:
            found.setdefault(address, 0)  # his, as far as we know
        if len(set(found.values())) > 1:
            first = sorted(found, key=lambda each: (each != address, each))
            return self.chosen(typed, [Candidate(each, each) for each in first]).value
        if not found or address in found:
            return address
        other = next(iter(found))
        self.taken.append(Taken(typed, other, (other,), remembered=False))
        return other

    def public_called(self, typed: str, public: Iterable[Mailbox]) -> list[Candidate]:
        """The public mailboxes with this name, or with this before the @."""
        wanted = phrase_of(typed)
        return [self.of_public(box) for box in public if wanted in self.names_of_public(box)]

    def member(self, typed: str) -> Member:
        """The member meant by a userid or whatever people call him; those who left count only by their userid."""
        exact = self._tx.members.find(phrase_of(typed))
        if exact is not None:
            return exact
        if not self.everybody:
            raise UserError(say("directory.not_read_yet"))
        found = self.one_of(typed, self.members_called(typed), []) or self.guessed(typed, [])
        member = self._tx.members.find(found.value) if found is not None else None
        if member is None:
            raise self.unknown(typed)
        return member

    def members_called(self, typed: str) -> list[Candidate]:
        """The members who are called exactly so, or have this before the @ of an address."""
        wanted = phrase_of(typed)
        return [self.candidate(each) for each in self.everybody if wanted in self.names(each) | self.locals(each)]

    def guessed(self, typed: str, public: Sequence[Mailbox]) -> Candidate | None:
        """Who may be meant by the beginning of a name, a given name, or pinyin, when nobody is called so."""
        wanted = phrase_of(typed)
        if len(wanted) < PART_MIN:
            return None
        called = [(self.candidate(each), self.names(each)) for each in self.everybody]
        called += [(self.of_public(box), self.names_of_public(box)) for box in public]
        fits = {who: max((pinyin.fit(wanted, name) for name in names), default=Fit.NOT) for who, names in called}
        near = [
            who for who, names in called if fits[who] is Fit.USUAL or any(begins(wanted, name) for name in names)
        ] or [who for who, _ in called if fits[who] is Fit.RARE]
        if len(near) == 1:
            self.taken.append(self.as_taken(typed, near[0], remembered=False))
            return near[0]
        return self.one_of(typed, near, [])

    def one_of(self, typed: str, *several: Sequence[Candidate]) -> Candidate | None:
        """The only one there is, or the one the asker chose before; None for none, Ambiguous for the rest."""
        found = [each for candidates in several for each in candidates]
        if len(found) < 2:
            return found[0] if found else None
        return self.chosen(typed, found)

    def chosen(self, typed: str, candidates: Sequence[Candidate]) -> Candidate:
        """What the asker chose of them when he was asked; Ambiguous when he was not."""
        known = self._tx.names.meant(self._asker, phrase_of(typed)) if self._asker is not None else None
        found = next((each for each in candidates if known is not None and each.value == known.meant), None)
        if found is None:
            raise Ambiguous(typed, candidates[:CANDIDATES_MAX])
        self.taken.append(self.as_taken(typed, found, remembered=True))
        return found

    def as_taken(self, typed: str, who: Candidate, *, remembered: bool) -> Taken:
        """For the answer, unless that names him anyway."""
        box = self._tx.mailboxes.of(who.value)
        known_by = (who.label, who.value) if "@" in who.value else (self.name(who.value), box.address if box else "")
        return Taken(typed.strip().removeprefix("@"), who.label, tuple(each for each in known_by if each), remembered)

    def unknown(self, typed: str) -> UserError:
        """Nobody is called so; the nearest are."""
        if not self.everybody:
            return UserError(say("directory.not_read_yet"))
        if nearest := self.nearest(typed):
            return UserError(say("directory.unknown_nearest", typed=typed, nearest=nearest))
        return UserError(say("directory.unknown", typed=typed, domain=self._domain))

    def nearest(self, typed: str) -> list[str]:
        """The three nearest names and public addresses, the best first."""
        called = [
            (spelling, self.candidate(each).label)
            for each in self.everybody
            for name in sorted(self.names(each))
            for spelling in (name, pinyin.spelled(name))
            if spelling is not None
        ]
        called += [(box.address.partition("@")[0], box.address) for box in self._tx.mailboxes.public()]
        found = process.extract(
            phrase_of(typed), [name for name, _ in called],
            scorer=fuzz.WRatio, limit=len(called),
            score_cutoff=NEAREST_SCORE_MIN if typed.isascii() else NEAREST_SCORE_MIN_CHINESE,
        )  # fmt: skip
        return list(dict.fromkeys(called[position][1] for _, _, position in found))[:NEAREST_MAX]

    @cached_property
    def everybody(self) -> Sequence[Member]:
        """All who are there."""
        return self._tx.members.all()

    @cached_property
    def nicknames(self) -> dict[str, set[str]]:
        """Userid to what a member is called, too, without case."""
        found: dict[str, set[str]] = {}
        for each in self._tx.names.nicknames():
            found.setdefault(each.userid, set()).add(each.key)
        return found

    @cached_property
    def addresses(self) -> dict[str, set[str]]:
        """Userid to what stands before the @ of his addresses."""
        return {
            box.owner: {each.partition("@")[0] for each in (box.address, *box.aliases)}
            for box in self._tx.mailboxes.all()
            if box.owner is not None
        }

    def names(self, member: Member) -> set[str]:
        """What a member may be called by, nicknames too, without case."""
        return names_of(member) | self.nicknames.get(member.userid, set())

    def locals(self, member: Member) -> set[str]:
        """What stands before the @ of a member's addresses."""
        return self.addresses.get(member.userid, set())

    def names_of_public(self, box: Mailbox) -> set[str]:
        """What a public mailbox may be called by, without case."""
        before_at = {each.partition("@")[0] for each in (box.address, *box.aliases)}
        return before_at | ({box.name.casefold()} if box.name else set())

    def of_public(self, box: Mailbox) -> Candidate:
        """A public mailbox as one of several to choose from."""
        return Candidate(box.address, box.address)

    def candidate(self, member: Member) -> Candidate:
        """A member as one of several to choose from: short, an option of a card shows 16 characters."""
        return Candidate(member.userid, f"{member.name} ({member.userid})")

    def name(self, userid: str) -> str:
        """What to call a member."""
        member = self._tx.members.find(userid)
        return member.name if member is not None else userid

    def managers(self, userid: str) -> list[str]:
        """
        The member's managers, nearest first: direct leader, leaders of his department, then of those above it.

        Only who is there to answer: not one who left, was disabled or has not joined yet.
        """
        member = self._tx.members.find(userid)
        if member is None:
            return []
        found = [member.direct_leader] if member.direct_leader else []
        department_id, seen = member.main_department, set[int]()
        while department_id is not None and department_id not in seen:
            seen.add(department_id)
            department = self._tx.members.department(department_id)
            if department is None:
                break
            found += department.leaders
            department_id = department.parent_id
        return self.present(each for each in found if each != member.userid)

    def present(self, userids: Iterable[str]) -> list[str]:
        """Those of the userids who can read and press something, each once, in order."""
        there = {each.userid for each in self._tx.members.all() if each.status == ACTIVE}
        return [each for each in dict.fromkeys(userid.casefold() for userid in userids) if each in there]

    def readers(self, box: Mailbox) -> list[str]:
        """Userids of everybody who can open a mailbox, departments and tags expanded."""
        if box.owner is not None:
            return [box.owner]
        userids = {str(each).casefold() for each in box.readers.get("userids", [])}
        userids |= self._tx.members.in_departments(box.readers.get("departments", []))
        for tag_id in box.readers.get("tags", []):
            userids |= self._tx.members.tagged(tag_id)
        return sorted(userids)

    def domains(self) -> set[str]:
        """Our domains, as far as we know them."""
        return {self._domain, *(box.address.partition("@")[2] for box in self._tx.mailboxes.all())}


def phrase_of(typed: str) -> str:
    """What was typed, as it is compared and remembered: without case, `@` and spaces around it."""
    return typed.strip().removeprefix("@").strip().casefold()


def begins(wanted: str, name: str) -> bool:
    """Whether a name begins so, or this is the given name of a Chinese one: 小明 of 陈小明."""
    return name.startswith(wanted) or (not wanted.isascii() and name.endswith(wanted))


def names_of(member: Member) -> set[str]:
    """What a member may be called by, without case."""
    return {each.casefold() for each in (member.userid, member.name, member.alias) if each}
