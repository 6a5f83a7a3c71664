"""Questions asked on a database, the sweeps run by hand, and what was said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from bot import delivery
from bot.policy import Approvers, Policy, Requirement, Role, Roles
from bot.replies import Card, CardUpdate, Reply, Text
from bot.settings import Settings
from bot.words import say
from bot.work import SweepStep
from handlers.approvals import approvals
from storage.models import Approval
from storage.store import Store, Transaction
from tests.handlers.conftest import FakeClock

ROLES = Roles({Role.ADMIN: frozenset({"mei", "yan"})})
FACTS = {"owner": "ahing", "readers": ["mei", "ling"]}
QUESTION = say("lookup.your_manager", manager="凌")  # any sentence of the catalogue
SHANGHAI = ZoneInfo("Asia/Shanghai")


def ask(
    tx: Transaction,
    settings: Settings,
    *,
    by: str = "mei",
    may: tuple[str, ...] = ("ling",),
    owner: str | None = "ahing",
    gains: tuple[str, ...] | None = (),
    **more: Any,
) -> Approval:
    """A question with its cards sent, as far as our rows tell."""
    given: dict[str, Any] = {
        "action": "test", "requirement": Requirement.MANAGER, "question": QUESTION, "facts": FACTS,
        "reason": "he leaves",
    }  # fmt: skip
    job = tx.jobs.add("backup", asked_by=by, params={})
    approval, replies = approvals.ask(
        tx, may=Approvers(may, (), owner, gains), job_id=job.id, asked_by=by, asked_by_name="美玲", settings=settings,
        **given | more,
    )  # fmt: skip
    send(tx, replies, settings)
    return approval


def send(tx: Transaction, replies: list[Reply], settings: Settings) -> list[Reply]:
    """Written as rows, as the dispatcher does; gives them back."""
    for reply in replies:
        delivery.add(tx, reply, settings)
    return replies


def texts(replies: list[Reply], to: str) -> list[str]:
    """What a member is told."""
    return [str(each.words) for each in replies if isinstance(each, Text) and each.to == to]


def redrawn(replies: list[Reply]) -> list[CardUpdate]:
    """The cards that are drawn anew."""
    return [each for each in replies if isinstance(each, CardUpdate)]


def marks(replies: list[Reply]) -> list[tuple[str, str]]:
    """Whose cards are greyed, with what on them."""
    return [(each.card.to, str(each.card.done)) for each in redrawn(replies)]


def cards(replies: list[Reply], to: str) -> list[Card]:
    """The new cards a member gets."""
    return [each for each in replies if isinstance(each, Card) and each.to == to]


def sweep(
    store: Store, settings: Settings, *functions: Callable[[SweepStep], None], roles: Roles = ROLES
) -> list[Reply]:
    """One run of sweeps, each in a transaction: what they say."""
    said: list[Reply] = []
    services: Any = type("Services", (), {"settings": settings, "policy": Policy()})()
    for function in functions:
        with store.begin() as tx:
            step, now = SweepStep(tx, services, roles), list[Reply]()
            step.say = lambda *replies, now=now: now.extend(replies)  # type: ignore[method-assign, misc]
            function(step)
            said += send(tx, now, settings)
    return said


def at(clock: FakeClock, local: str) -> None:
    """The clock on a moment in Shanghai, `2026-03-06 09:00`."""
    clock.moment = datetime.strptime(local, "%Y-%m-%d %H:%M").replace(tzinfo=SHANGHAI).astimezone(clock.moment.tzinfo)
