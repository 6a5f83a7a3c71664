"""
What may come next in a line that is being typed, read from the bot's own grammar: a command, a fixed word, a value.

Only what the role of the writer allows is offered, in the language of the line, or in his own while it has none.
Nothing here understands a line: the bot's grammar does that when it is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from bot.delivery import language_of
from bot.dispatcher import roles
from bot.grammar.line import is_cjk
from bot.grammar.pattern import Block, Element, Field, FieldType, Keyword, Pattern
from bot.policy import Role
from bot.router import Command
from bot.sandbox.organisation import Organisation
from bot.words import Language, catalogue, from_json, say
from handlers import jobs
from handlers.approvals.approval_card import question_of
from handlers.copying import job_words
from handlers.guide.help import SMALL_TALK
from storage.models import Approval, ApprovalStatus, Job, JobState, OneTimeLink

if TYPE_CHECKING:
    from bot.app import Bot
    from storage.store import Transaction

OFFERED_MAX = 8
WORD_MIN = 2  # letters from which on commands are also found by what they do
ROWS_MAX = 8  # numbers of jobs, console steps, questions
GAP = " ,;，；、"
MAILBOXES = frozenset({"source", "target", "mailbox", "address", "into"})
MEMBERS = frozenset({"member", "people"})


@dataclass(frozen=True)
class Value:
    """Something a value may be, with what a person should know of it."""

    text: str
    about: str = ""


@dataclass(frozen=True)
class Offer:
    """The line as it would be; `shown` is the piece, or the command, that is offered."""

    line: str
    shown: str
    about: str = ""


@dataclass(frozen=True)
class Help:
    """What is offered, and of the command that is being typed its form and what it does."""

    offers: list[Offer]
    usage: str = ""
    what: str = ""


Values = Callable[[Field], Sequence[Value]]


# --- one pattern -----------------------------------------------------------------------------------------------------


def continued(pattern: Pattern, typed: str, values: Values) -> Iterator[Offer]:
    """Every way to go on with a line that this pattern could mean."""
    yield from _walk(pattern.elements, typed, len(typed) - len(typed.lstrip()), values)


def _walk(todo: Sequence[Element], typed: str, at: int, values: Values) -> Iterator[Offer]:
    if not todo:
        return
    head, *rest = todo
    if isinstance(head, Block):
        for group in head.groups:
            others = tuple(each for each in head.groups if each is not group)
            yield from _walk([*group.items, *([Block(others)] if others else []), *rest], typed, at, values)
        yield from _walk(rest, typed, at, values)
        return
    at += len(typed[at:]) - len(typed[at:].lstrip(GAP))
    if isinstance(head, Keyword):
        yield from _keyword(head, rest, typed, at, values)
    else:
        yield from _field(head, rest, typed, at, values)


def _keyword(head: Keyword, rest: Sequence[Element], typed: str, at: int, values: Values) -> Iterator[Offer]:
    begun = typed[at:].lower()
    for word in head.alternatives if begun else head.alternatives[:1]:
        after = begun[len(word) :]
        if begun.startswith(word) and (not after or after[0] in GAP or is_cjk(word[-1])):
            yield from _walk(rest, typed, at + len(word), values)
        elif word.startswith(begun):
            yield _offer(typed[:at], word, bool(rest))


def _field(head: Field, rest: Sequence[Element], typed: str, at: int, values: Values) -> Iterator[Offer]:
    begun = typed[at:]
    known = [Value(each) for each in head.choices] or values(head)
    if begun.strip() == "":
        yield from (_offer(typed[:at], each.text, bool(rest), each.about) for each in known)
        return
    if head.type is FieldType.TEXT:
        ends = [found.end() for found in re.finditer(r"[,;.，；。]\s*", begun)]
    else:
        ends = [found.start() for found in re.finditer(r"\s", begun)][:1]
    for word in _next_words(rest):
        if is_cjk(word[0]):
            ends += [found.start() for found in re.finditer(re.escape(word), begun) if found.start() > 0]
    for end in dict.fromkeys(ends):
        yield from _walk(rest, typed, at + end, values)
    if any(each.text.lower() == begun.lower() for each in known):
        yield from _walk(rest, typed, len(typed), values)
    elif head.type is not FieldType.TEXT:
        for each in known:
            if each.text.lower().startswith(begun.lower()) or begun.lower() in each.about.lower():
                yield _offer(typed[:at], each.text, bool(rest), each.about)


def _next_words(rest: Sequence[Element]) -> Iterator[str]:
    """The fixed words that may stand next."""
    for element in rest:
        if isinstance(element, Block):
            for group in element.groups:
                yield from _next_words(group.items[:1])
            continue
        if isinstance(element, Keyword):
            yield from element.alternatives
        return


def _offer(before: str, piece: str, more: bool, about: str = "") -> Offer:
    gap = " " if before and before[-1] not in GAP else ""
    return Offer(f"{before}{gap}{piece}{' ' if more else ''}", piece, about)


# --- all commands ----------------------------------------------------------------------------------------------------


def squeezed(text: str, language: Language) -> str:
    """What two spellings are compared by: case and repeated spaces do not count, in Chinese no space does."""
    words = text.lower().split()
    return "".join(words) if language == "zh" else " ".join(words) + (" " if words and text.endswith(" ") else "")


def offered(
    commands: Sequence[Command], typed: str, language: Language, values: Values, usage: Callable[[Pattern], str]
) -> Help:
    """Commands that begin like the line, then how to go on with the one it names, then those that speak of the word."""
    begun = squeezed(typed, language)
    starts: list[Offer] = []
    further: list[Offer] = []
    named: tuple[int, Command, Pattern] | None = None
    for command in commands:
        pattern = command.patterns[language][0]
        about = catalogue()[command.help_key][language]
        leads = [(each, one) for each in command.patterns[language] for one in each.leads]
        longer = next((lead for _, lead in leads if squeezed(lead, language).startswith(begun.rstrip())), None)
        if longer is not None and squeezed(longer, language) != begun.rstrip():
            starts.append(
                Offer(longer + (" " if len(pattern.elements) > len(pattern.lead) else ""), usage(pattern), about)
            )
        for each, lead in leads:
            key = squeezed(lead, language)
            if begun and (begun == key or begun.startswith(key if language == "zh" else f"{key} ")):
                further += continued(each, typed, values)
                if named is None or len(key) > named[0]:
                    named = len(key), command, each
    offers = [*starts, *further] if named is None else [*further, *starts]
    if not offers and named is None and len(begun) >= WORD_MIN:
        for command in commands:
            pattern, about = command.patterns[language][0], catalogue()[command.help_key][language]
            if begun.strip() in about.lower() or any(begun.strip() in lead for lead in pattern.leads):
                offers.append(Offer(f"{pattern.leads[0]} ", usage(pattern), about))
    unique = list({each.line: each for each in reversed(offers)}.values())[::-1]
    if named is None:
        return Help(unique[:OFFERED_MAX])
    return Help(unique[:OFFERED_MAX], usage(named[2]), catalogue()[named[1].help_key][language])


def helped(bot: Bot | None, org: Organisation, member: str, typed: str) -> Help:
    """What to offer a member who has typed so much; nothing while there is no bot."""
    if bot is None:
        return Help([])
    with bot.store.begin() as tx:
        held = roles(tx, bot.settings).of(member)
        admin = Role.ADMIN in held
        mine = [each for each in bot.router.commands if each.topic != SMALL_TALK and (admin or Role(each.role) in held)]
        language = language_meant(typed) or language_of(tx, member, bot.settings)
        known = Known(tx, org, member, admin, language)
        return offered(mine, typed, language, known.values, lambda each: each.usage(lambda name: slot(name, language)))


def language_meant(typed: str) -> Language | None:
    """The language of a line, from its first letter on; None while there is none."""
    if any(map(is_cjk, typed)):
        return "zh"
    return "en" if any(map(str.isalpha, typed)) else None


def slot(name: str, language: Language) -> str:
    """What a value is called in the form of a command."""
    return say(f"help.slot_{name}").text(language)


@dataclass(frozen=True)
class Known:
    """What values may be: who and what there is in the organisation, and the numbers of what waits."""

    tx: Transaction
    org: Organisation
    member: str
    admin: bool
    language: Language

    def values(self, field: Field) -> list[Value]:
        """What a value may be, as far as that is known."""
        if field.name in MEMBERS:
            return [Value(each.userid, each.name) for each in self.org.members.values()]
        if field.name in MAILBOXES:
            return self.mailboxes()
        numbers = {"job_id": self.jobs, "handover_id": self.handovers, "approval_id": self.approvals}
        return numbers[field.name]() if field.name in numbers else []

    def mailboxes(self) -> list[Value]:
        """Short addresses: members' first, then public ones, then those in the recycle bin."""
        own = [Value(self.short(each.address), each.name) for each in self.org.members.values() if each.address]
        public = [Value(self.short(each.address), each.name) for each in self.org.public.values()]
        waiting = say("sandbox.in_bin").text(self.language)
        return [
            *own,
            *public,
            *(Value(self.short(each.address), waiting) for each in self.org.bin if each.state == "waiting"),
        ]

    def short(self, address: str) -> str:
        return address.removesuffix(self.org.domain)

    def jobs(self) -> list[Value]:
        """Jobs that are not over: all for admins, for others those that wait for a page of theirs."""
        query = select(Job).where(Job.state.in_((JobState.WAITING, JobState.DUE)), Job.kind.in_(jobs.shown_kinds()))
        if not self.admin:
            query = query.join(OneTimeLink, OneTimeLink.job_id == Job.id).where(OneTimeLink.member == self.member)
        rows = self.tx.session.scalars(query.order_by(Job.id.desc()).limit(ROWS_MAX))
        return [Value(f"{each.id}", job_words.line_of(each).text(self.language)) for each in rows]

    def handovers(self) -> list[Value]:
        rows = self.tx.handovers.open_ones()[:ROWS_MAX]
        return [Value(f"{each.id}", from_json(each.title).text(self.language)) for each in rows]

    def approvals(self) -> list[Value]:
        """Questions that wait for an answer of the member."""
        query = select(Approval).where(Approval.status == ApprovalStatus.PENDING).order_by(Approval.id.desc())
        rows = [each for each in self.tx.session.scalars(query.limit(ROWS_MAX)) if self.member in each.approvers]
        return [Value(f"{each.id}", question_of(each).text(self.language)) for each in rows]
