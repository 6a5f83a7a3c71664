"""One change of owner, killed at every boundary of its stages and inside the clicks: it ends as if nothing had been."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from bot.sandbox.player import text_of
from storage.models import (
    Approval,
    ApprovalStatus,
    AuditEntry,
    BinItem,
    BinSource,
    BinState,
    Handover,
    HandoverState,
    Job,
    JobState,
)
from tests.crash.world import IN_THE_CLICK, LOOK_AGAIN, POLL, World, around, twice_told, world

AHING, CALVIN, SUPPORT = "ahing@corp.test", "calvin@corp.test", "support@corp.test"


EVERY_POINT = {
    "asked": (*around("reassign: start"), "card sent, answer not stored"),
    "submitted": IN_THE_CLICK,
    "approved": (*IN_THE_CLICK, *around("reassign: prepare")),
    "saved": around("reassign: prepare"),
    "acknowledged": (
        *IN_THE_CLICK, *around("reassign: prepare"), "reassign: facts, committed", *around("reassign: reclaim")
    ),
    "taken off": ("handover: check, committed", *around("reassign: reclaim"), "reassign: assign, committed"),
    "assigned": (
        "committed, not started",
        *around("handover: check", "reassign: assign", "reassign: finish", "reassign: cleanup"),
    ),
}  # fmt: skip
A_FEW = {
    "approved": ("committed, not started",),
    "acknowledged": ("reassign: facts, committed", "reassign: reclaim, not committed"),
    "taken off": ("reassign: assign, not committed",),
    "assigned": ("reassign: assign, committed", "reassign: finish, not committed"),
}


def reassign(here: World) -> Job:
    """The one change of owner there is."""
    with here.store.begin() as tx:
        (job,) = tx.session.scalars(select(Job).where(Job.kind == "reassign"))
        return job


def open_step(here: World) -> Handover:
    """The one console step that waits."""
    with here.store.begin() as tx:
        (step,) = tx.handovers.open_ones()
        return step


@pytest.mark.parametrize("server", ["sqlite", "postgresql"])
def test_a_change_of_owner_outlives_every_kill(tmp_path: Path, server: str, request: pytest.FixtureRequest) -> None:
    """Asked, agreed to, saved, known of, done in the console and seen by some thirty processes, each killed."""
    points = EVERY_POINT if server == "sqlite" else A_FEW
    database_url = "" if server == "sqlite" else str(request.getfixturevalue("postgres"))
    with world(tmp_path / "data", database_url) as here:
        here.trouble("own_public_mailboxes_only", on=False)
        here.start()
        here.wait_ready()
        here.show_everything(CALVIN)

        line = "reassign ahing@ to calvin because he takes over"
        here.through(points.get("asked", ()), lambda: here.say("mei", line))
        here.one_live_card("mei", "reassign_ask:")
        here.through(points.get("submitted", ()), lambda: here.press("mei", "reassign_ask:"))
        here.one_live_card("ling", "approve:")
        assert here.live_cards("mei", "reassign_ask:") == 0

        here.through(points.get("approved", ()), lambda: here.press("ling", "approve:"))
        assert reassign(here).stage == "prepare"
        here.one_live_card("calvin", "reassign_ack:")
        here.hear("calvin", "/pages/")
        here.enter("calvin", here.client_password(CALVIN))
        here.press("mei", "start:")
        here.hear("mei", f"are now in {SUPPORT}")
        here.wait_settled()
        here.through(points.get("saved", ()), lambda: here.advance(LOOK_AGAIN))
        here.wait("the backup is noted", lambda: reassign(here).data.get("backup_noted") is True)
        assert not reassign(here).data["handovers"]

        here.through(points.get("acknowledged", ()), lambda: here.press("calvin", "reassign_ack:"))
        assert (reassign(here).state, reassign(here).stage) == (JobState.WAITING, "reclaim")
        here.console("reclaim", member="ahing")
        here.through(points.get("taken off", ()), lambda: here.advance(POLL))
        here.wait("it goes on", lambda: reassign(here).stage == "assign")
        here.wait_settled()
        assert reassign(here).state is JobState.WAITING
        here.console("assign", address=AHING, member="calvin")
        here.advance(LOOK_AGAIN)
        here.through(points.get("assigned", ()), lambda: here.press("mei", "handover_done:"))
        here.wait("it is over", lambda: reassign(here).finished_at is not None)
        here.wait_settled()
        check(here)


def check(here: World) -> None:
    """Each effect once, in the rows, the chain, the book and the chats."""
    job = reassign(here)
    assert (job.state, job.data["ending"]) == (JobState.DONE, "done")
    with here.store.begin() as tx:
        (approval,) = tx.session.scalars(select(Approval))
        assert (approval.status, approval.decided_by) == (ApprovalStatus.APPROVED, "ling")
        steps = tx.session.scalars(select(Handover).order_by(Handover.id)).all()
        assert [(each.stage, each.state) for each in steps] == [
            ("reclaim", HandoverState.DONE), ("assign", HandoverState.DONE)
        ]  # fmt: skip
        assert all(each.before and each.after for each in steps)
        backups = tx.session.scalars(select(Job).where(Job.kind == "backup")).all()
        assert [(each.id, each.state) for each in backups] == [(job.data["backup"], JobState.DONE)]
        book = {each.address: each for each in tx.session.scalars(select(BinItem))}
        assert {address: (each.state, each.source) for address, each in book.items()} == {
            AHING: (BinState.ASSIGNED, BinSource.RECLAIMED), CALVIN: (BinState.WAITING, BinSource.REPLACED)
        }  # fmt: skip
        whats = Counter(each.what for each in tx.session.scalars(select(AuditEntry)))
        for what in (
            "reassign.asked", "reassign.found", "approval.asked", "approval.approved", "backup.asked",
            "reassign.acknowledged", "reassign.done", "reassign.ended",
        ):  # fmt: skip
            assert whats[what] == 1, (what, whats)
        assert (whats["handover.asked"], whats["handover.done"], whats["bin.entered"]) == (2, 2, 2), whats
        assert tx.audit.broken_at() is None
    assert not twice_told(here, besides=AHING)
    assert len(job.data["steps"]) == 5, job.data["steps"]  # agreed to, known of, saved, taken off, assigned
    for member, wanted in (
        ("calvin", f"{AHING} is yours now"), ("ahing", f"{AHING} now belongs to"),
        ("mei", f"Change of owner {job.id} is done"), ("ling", f"Change of owner {job.id} is done"),
    ):  # fmt: skip
        assert any(wanted in each for each in here.heard(member)), (member, here.heard(member))
    for member in ("mei", "ling", "calvin"):
        shown = [each for each in here.entries(member) if each.get("card")]
        assert all(each["card"]["greyed"] for each in shown), (member, [text_of(each) for each in shown])
