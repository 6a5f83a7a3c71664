"""
People and addresses: what somebody typed becomes a member or a mailbox.

Reads rows only; a sweep keeps them fresh. An app made after June 2022 cannot read a member's address, so an address
may be a guess (`userid@domain`) until a look-up confirms it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rapidfuzz import fuzz, process

from bot.errors import BotError, UserError
from bot.words import say

if TYPE_CHECKING:
    from storage.models import Mailbox, Member
    from storage.store import Transaction

CANDIDATES_MAX = 10  # the options of one selector
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


class Directory:
    """Answers questions about names within one transaction."""

    def __init__(self, tx: Transaction, domain: str) -> None:
        self._tx = tx
        self._domain = domain

    def address(self, typed: str) -> str:
        """`support@` and `support@corp.test` alike as a whole address; UserError when it cannot be one."""
        local, _, domain = typed.strip().casefold().partition("@")
        address = f"{local}@{domain or self._domain}"
        if len(address) > ADDRESS_BYTES_MAX or not ADDRESS.fullmatch(address):
            raise UserError(say("directory.not_an_address", typed=typed, domain=self._domain))
        return address

    def mailbox(self, typed: str) -> Meant:
        """
        The mailbox somebody meant by an address, a short address, a userid or a name.

        Raises Ambiguous for several, UserError with the nearest three for none, or for an address of another domain.
        """
        if "@" in typed and not typed.startswith("@"):
            address = self.address(typed)
            if (known := self._tx.mailboxes.at(address)) is not None:
                return Meant(known.address, known.owner, known)
            if address.partition("@")[2] not in self.domains():
                raise UserError(say("directory.foreign_domain", address=address, domain=self._domain))
            member = self._tx.members.find(address.partition("@")[0])
            guess = member is not None and self._tx.mailboxes.of(member.userid) is None
            return Meant(address, member.userid if guess and member is not None else None)
        if (public := self.public(typed)) is not None:
            return Meant(public.address, None, public)
        member = self.member(typed)
        known = self._tx.mailboxes.of(member.userid)
        return Meant(known.address if known is not None else None, member.userid, known)

    def public(self, typed: str) -> Mailbox | None:
        """The public mailbox called `typed`, or with that before the @, unless a member is called so."""
        wanted = typed.strip().casefold()
        if self._tx.members.find(wanted) is not None:
            return None
        called = [
            box
            for box in self._tx.mailboxes.public()
            if wanted in (box.address.partition("@")[0], (box.name or "").casefold())
        ]
        if len(called) != 1 or any(wanted in names_of(each) for each in self._tx.members.all()):
            return None
        return called[0]

    def member(self, typed: str) -> Member:
        """The member meant by a userid, a name or an alias; those who left count only by their userid."""
        wanted = typed.strip().removeprefix("@").casefold()
        exact = self._tx.members.find(wanted)
        if exact is not None:
            return exact
        everybody = self._tx.members.all()
        if not everybody:
            raise UserError(say("directory.not_read_yet"))
        called = [each for each in everybody if wanted in names_of(each)]
        if not called and len(wanted) >= 2:
            called = [each for each in everybody if any(name.startswith(wanted) for name in names_of(each))]
        if len(called) == 1:
            return called[0]
        if called:
            raise Ambiguous(typed, [self.candidate(each) for each in called[:CANDIDATES_MAX]])
        nearest = self.nearest(typed, everybody)
        if nearest:
            raise UserError(say("directory.unknown_nearest", typed=typed, nearest=nearest))
        raise UserError(say("directory.unknown", typed=typed, domain=self._domain))

    def nearest(self, typed: str, everybody: Iterable[Member]) -> list[str]:
        """The three nearest names and public addresses, the best first."""
        called = [(name, self.candidate(each).label) for each in everybody for name in sorted(names_of(each))]
        called += [(box.address.partition("@")[0], box.address) for box in self._tx.mailboxes.public()]
        found = process.extract(
            typed.strip().removeprefix("@").casefold(), [name for name, _ in called],
            scorer=fuzz.WRatio, limit=len(called),
            score_cutoff=NEAREST_SCORE_MIN if typed.isascii() else NEAREST_SCORE_MIN_CHINESE,
        )  # fmt: skip
        return list(dict.fromkeys(called[position][1] for _, _, position in found))[:NEAREST_MAX]

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


def names_of(member: Member) -> set[str]:
    """What a member may be called by, without case."""
    return {each.casefold() for each in (member.userid, member.name, member.alias) if each}
