"""A manager presses Approve while the bot is killed: one yes, told once, and his card is closed."""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import select

from storage.models import Approval, ApprovalStatus, AuditEntry, Delivery, SendAttempt
from tests.crash.world import World, twice_told, world

BEFORE_THE_YES = ("decided, not committed", "committed, not started", "card sent, answer not stored")
AFTER_THE_YES = (
    "stored, not acknowledged",
    "decided, not committed",
    "before the card is redrawn",
    "card redrawn, not stored",
)


def through(here: World, points: tuple[str, ...], key: str, member: str) -> None:
    """A member presses a button that is heard in one of many lives."""
    pressing = threading.Thread(target=here.press, args=(member, key))
    here.children[-1].kill()
    here.start(points[0])
    pressing.start()
    here.children[-1].wait_killed()
    for point in points[1:]:
        here.start(point, wait=False).wait_killed()
    here.start()
    pressing.join(60)
    here.wait_settled()


def test_a_yes_outlives_every_kill(tmp_path: Path) -> None:
    """One approval, one decision in the audit chain, one card for each, none left to press."""
    with world(tmp_path / "data") as here:
        here.start()
        here.wait_ready()
        here.say("mei", "backup ahing to support@ because he leaves")
        here.card_with("mei", "by_manager:")
        here.wait_settled()
        through(here, BEFORE_THE_YES, "by_manager:", "mei")
        cards = [each for each in here.entries("ling") if each.get("card")]
        assert len(cards) == 1, here.heard("ling")
        told = len(here.heard("mei"))
        through(here, AFTER_THE_YES, "approve:", "ling")
        with here.store.begin() as tx:
            (approval,) = tx.session.scalars(select(Approval))
            assert (approval.status, approval.decided_by) == (ApprovalStatus.APPROVED, "ling")
            whats = [each.what for each in tx.session.scalars(select(AuditEntry))]
            assert whats.count("approval.approved") == 1, whats
            assert tx.audit.broken_at() is None
        cards = [each for each in here.entries("ling") if each.get("card")]
        assert len(cards) == 1
        assert cards[0]["card"]["greyed"], here.heard("ling")
        assert here.heard("mei")[told:]
        assert not twice_told(here), "each text was decided once"
        for member in ("mei", "ling", "ahing"):
            heard, again = here.heard(member), sent_again(here, member)
            assert len(heard) - len(set(heard)) <= again, (member, heard)  # only what was on its way at a kill
            assert again <= len(BEFORE_THE_YES) + len(AFTER_THE_YES)


def sent_again(here: World, member: str) -> int:
    """How many sendings to a member were made once more, because nobody knew whether the first arrived."""
    with here.store.begin() as tx:
        rows = tx.session.scalars(select(Delivery).where(Delivery.receiver == member, Delivery.kind != "card_update"))
        attempts = tx.session.scalars(select(SendAttempt).where(SendAttempt.receiver == member)).all()
        return len(attempts) - len(rows.all())
