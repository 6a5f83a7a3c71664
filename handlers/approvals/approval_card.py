"""What a question looks like: the card of who may answer it, the same in words, and the card greyed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from bot.delivery import rendered
from bot.replies import Button, Card, CardUpdate, Reply, Said, Text
from bot.settings import Settings
from bot.wecom.cards import cut_on_screen
from bot.words import LANGUAGES, Lines, Words, from_json, lines, restored, say
from storage.approvals import ASKER_CARD_ABOUT, CARD_ABOUT
from storage.models import Approval, SentCard

if TYPE_CHECKING:
    from storage.store import Transaction

EXTRA_ROWS_MAX = 3  # of six: the asker, the reason and the end are always shown


def question_for(tx: Transaction, approval: Approval, userid: str, settings: Settings | None) -> list[Reply]:
    """The card of one approver; before it, whatever his phone would cut off the card."""
    card = question_card(approval, userid, settings)
    cut = any(cut_on_screen(rendered(card, about(approval), language)) for language in LANGUAGES)
    return [Text(userid, in_full(approval, settings)), card] if cut or approval.talk else [card]


def question_card(approval: Approval, userid: str, settings: Settings | None) -> Card:
    """The card of one approver."""
    return Card(
        userid,
        about(approval),
        say("approvals.card_title", number=approval.id),
        note=question_of(approval),
        rows=[
            *extra_rows(approval),
            (say("approvals.row_asker"), asker_of(approval)),
            (say("approvals.row_reason"), approval.reason),
            (say("approvals.row_expires"), until(approval, settings)),
        ],
        buttons=[
            Button(f"approve:{approval.id}", say("approvals.approve")),
            Button(f"reject:{approval.id}", say("approvals.reject"), style=2),
            Button(f"ask_back:{approval.id}", say("approvals.ask_back"), style=4),
        ],
    )


def in_full(approval: Approval, settings: Settings | None) -> Words:
    """A question in words, with all that the card may cut, what was said about it, and how to answer it."""
    asked = say(
        "approvals.in_full", number=approval.id, question=question_of(approval), by=asker_of(approval),
        reason=approval.reason,
    )  # fmt: skip
    named = [say("approvals.row_in_full", name=name, value=value) for name, value in extra_rows(approval)]
    how = say("approvals.how_to_answer", number=approval.id, until=until(approval, settings))
    return lines(asked, *named, *talk_of(approval), how)


def talk_of(approval: Approval) -> list[Words]:
    """What approvers asked back and were answered, a line each."""
    return [
        say("approvals.talk_asked" if "ask" in turn else "approvals.talk_answered", name=turn["name"], words=words)
        for turn in approval.talk
        if (words := turn.get("ask") or turn.get("answer"))
    ]


def about(approval: Approval) -> str:
    """What the cards of who may answer a question are about."""
    return f"{CARD_ABOUT}{approval.id}"


def about_asker(approval: Approval) -> str:
    """What the cards of who asked a question are about."""
    return f"{ASKER_CARD_ABOUT}{approval.id}"


def zone_of(settings: Settings | None) -> ZoneInfo:
    """The time zone of the clock on the wall."""
    return settings.zone if settings is not None else ZoneInfo(str(Settings.model_fields["bot_time_zone"].default))


def moment(at: datetime, settings: Settings | None) -> str:
    """A moment by the clock on the wall."""
    return f"{at.astimezone(zone_of(settings)):%Y-%m-%d %H:%M}"


def until(approval: Approval, settings: Settings | None) -> str:
    """When a question ends."""
    return moment(approval.expires_at, settings)


def question_of(approval: Approval) -> Words:
    """The question, in whatever language."""
    return from_json(approval.question)


def headline(approval: Approval) -> Words | str:
    """The question in short: of several lines the first."""
    question = question_of(approval)
    return question.parts[0] if isinstance(question, Lines) else question


def asker_of(approval: Approval) -> str:
    """The name of who asked, as it was then."""
    return str(approval.question.get("asker") or approval.asked_by)


def extra_rows(approval: Approval) -> list[tuple[Words, Said]]:
    """The rows of the card that the feature gave."""
    found = []
    for name, value in approval.question.get("rows", [])[:EXTRA_ROWS_MAX]:
        found.append((from_json(name), restored(value)))
    return found


def closing(
    tx: Transaction,
    approval: Approval,
    otherwise: Words | None,
    *,
    mark: str = "withdrawn",
    by: str | None = None,
    pressed: str | None = None,
) -> list[Reply]:
    """
    Every card of a question greyed, with a short `mark` on it, also an old one that was `pressed` just now.

    Who has a card that can be redrawn no more is told `otherwise`.
    """
    rows: list[tuple[Words, Said]] = []
    if by is not None:
        rows.append((say("approvals.row_by"), by))
    if approval.answer_reason:
        rows.append((say("approvals.row_reason"), approval.answer_reason))
    mine = [*tx.cards.open_about(about(approval))]
    if pressed is not None and pressed not in {each.task_id for each in mine}:
        old = tx.cards.find(pressed)
        if old is not None and old.about == about(approval):
            mine.append(old)
    return [
        *greyed(approval, mine, mark, rows=rows, otherwise=otherwise),
        *greyed(approval, tx.cards.open_about(about_asker(approval)), mark, rows=rows),
    ]


def greyed(
    approval: Approval,
    cards: Iterable[SentCard],
    mark: str,
    *,
    note: Words | None = None,
    rows: Sequence[tuple[Words, Said]] = (),
    otherwise: Words | None = None,
) -> list[Reply]:
    """Cards of a question without their buttons, and what is told where that cannot be drawn."""
    title, done = say("approvals.card_title", number=approval.id), say(f"approvals.mark_{mark}")
    note = note or question_of(approval)
    return [
        CardUpdate(
            each.task_id, Card(each.member, each.about, title, note=note, rows=rows, done=done), otherwise=otherwise
        )
        for each in cards
    ]
