"""What a console step looks like: in words, its values to copy, and its card with Done and Check now."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from bot.replies import Button, Card, CardUpdate, Reply, Text
from bot.words import Words, from_json, lines, say
from storage.models import Handover, HandoverState

if TYPE_CHECKING:
    from storage.store import Transaction


def about(handover: Handover) -> str:
    """What the cards of a handover are about."""
    return f"handover-{handover.id}"


def moment(at: datetime, zone: ZoneInfo) -> str:
    """A moment by the clock on the wall."""
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}"


def day(at: datetime, zone: ZoneInfo) -> str:
    """A day by the calendar on the wall."""
    return f"{at.astimezone(zone):%Y-%m-%d}"


def seen_words(handover: Handover, zone: ZoneInfo) -> Words:
    """What the latest look saw, and when; or that there was none yet."""
    if handover.looked_at is None or not handover.looks:
        return say("handovers.not_looked_yet")
    return say("handovers.seen", at=moment(handover.looked_at, zone), saw=from_json(handover.looks[-1]["saw"]))


def before_words(handover: Handover, zone: ZoneInfo) -> Words:
    """What was seen before it was done."""
    if handover.before is None:
        return say("handovers.not_seen_before")
    at = moment(datetime.fromisoformat(handover.before["at"]), zone)
    return say("handovers.seen_before", at=at, saw=from_json(handover.before["saw"]))


def over(handover: Handover, zone: ZoneInfo) -> Words:
    """How a handover ended."""
    how = "late" if handover.state is HandoverState.EXPIRED and handover.after is not None else str(handover.state)
    return say(
        f"handovers.over_{how}", number=handover.id, title=from_json(handover.title),
        seen=seen_words(handover, zone),
    )  # fmt: skip


def shown_in_full(handover: Handover, to: str, zone: ZoneInfo) -> list[Reply]:
    """All of it: what, why and where; then each value in a message of its own, to copy; then the card."""
    numbered = [
        say("handovers.step", number=number, step=from_json(each)) for number, each in enumerate(handover.how, 1)
    ]
    words = say(
        "handovers.in_full", number=handover.id, title=from_json(handover.title), why=from_json(handover.why),
        until=moment(handover.deadline_at, zone),
    )  # fmt: skip
    told = lines(words, *numbered, say("handovers.how_to_close", number=handover.id))
    return [Text(to, told), *(Text(to, value) for value in handover.values), card_of(handover, to, zone)]


def card_of(handover: Handover, to: str, zone: ZoneInfo, seen: Words | None = None) -> Card:
    """The card with Done and Check now."""
    title = from_json(handover.title)
    return Card(
        to,
        about(handover),
        say("handovers.card_title", number=handover.id),
        note=title if seen is None else say("handovers.card_note", title=title, seen=seen),
        rows=[
            (say("handovers.row_until"), moment(handover.deadline_at, zone)),
            (say("handovers.row_job"), str(handover.job_id)),
        ],
        buttons=[
            Button(f"handover_done:{handover.id}", say("handovers.button_done")),
            Button(f"handover_check:{handover.id}", say("handovers.button_check"), style=4),
        ],
    )


def answered(handover: Handover, asker: Mapping[str, Any], words: Words, zone: ZoneInfo) -> list[Reply]:
    """The answer to who asked for a look: in words, and on the card he pressed (a click is leave for one redraw)."""
    to, task = str(asker["by"]), asker["task"]
    if task is None:
        return [Text(to, words)]
    return [CardUpdate(str(task), card_of(handover, to, zone, seen_words(handover, zone))), Text(to, words)]


def put_away(tx: Transaction, handover: Handover, done: Words, *, member: str | None = None) -> list[Reply]:
    """Every open card of a handover (of one member) greyed."""
    title = say("handovers.card_title", number=handover.id)
    return [
        CardUpdate(each.task_id, Card(each.member, about(handover), title, note=from_json(handover.title), done=done))
        for each in tx.cards.open_about(about(handover), member)
    ]
