"""A mailbox is saved out of the bin and the public one deleted after, killed at every boundary: each effect once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
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
    MintedPassword,
)
from tests.crash.world import LOOK_AGAIN, POLL, World, around, twice_told, world

AHING, SUPPORT = "ahing@corp.test", "support@corp.test"

EVERY_POINT = {
    "asked": around("rescue: start"),
    "agreed": ("committed, not started", *around("rescue: convert")),
    "made public": (*around("rescue: convert"), "rescue: saving, not committed"),
    "saved": ("rescue: saving, committed", "rescue: cleanup, not committed"),
    "to be deleted": around("deletion: start"),
    "deleted": (
        "minted, not stored", "deleted, not stored", "deletion: delete, committed", "deletion: cleanup, not committed"
    ),
}  # fmt: skip
A_FEW = {"made public": ("rescue: convert, committed",), "deleted": ("deleted, not stored",)}
ARMED = {"agreed": "made public", "saved": "to be deleted", "to be deleted": "deleted"}  # before, nothing reaches those


def newest(here: World, kind: str) -> Job:
    """The one job of a kind."""
    with here.store.begin() as tx:
        (job,) = tx.session.scalars(select(Job).where(Job.kind == kind))
        return job


@pytest.mark.parametrize("server", ["sqlite", "postgresql"])
def test_a_rescue_outlives_every_kill(tmp_path: Path, server: str, request: pytest.FixtureRequest) -> None:
    """Asked, chosen, agreed to, made public, copied, safe, then deleted by two, by processes that are killed."""
    points = EVERY_POINT if server == "sqlite" else A_FEW
    database_url = "" if server == "sqlite" else str(request.getfixturevalue("postgres"))

    def through(where: str, act: Callable[[], object]) -> None:
        """Something is done in lives that end at the points of a chapter; without such, in the one there is."""
        if where in points:
            here.through(points[where], act, then=points.get(ARMED.get(where, ""), ("never",))[0])
        else:
            act()
            here.wait_settled()

    with world(tmp_path / "data", database_url) as here:
        here.trouble("own_public_mailboxes_only", on=False)
        here.start(points.get("asked", ("never",))[0])
        here.wait_ready()
        here.say("mei", "mailbox ahing")
        here.hear("mei", AHING)
        here.console("delete_member", member="ahing")
        here.hear("mei", "has left the directory")
        here.wait_settled()

        line = "rescue ahing@ to support@ because his customers write there"
        through("asked", lambda: here.say("mei", line))
        here.one_live_card("mei", "rescue_way:")
        rescue = newest(here, "rescue").id
        through("chosen", lambda: here.press("mei", f"rescue_way:{rescue}:public"))
        here.one_live_card("ling", "approve:")
        through("agreed", lambda: here.press("ling", "approve:"))
        here.one_live_card("mei", "handover_done:")
        here.console("convert_to_public", address=AHING, name="ahing", members=["mei"])
        here.show_everything(AHING)
        here.console("set_imap", address=AHING, on=True)
        through("made public", lambda: here.advance(POLL))
        here.one_live_card("mei", "start:")
        here.press("mei", "start:")
        here.hear("mei", f"are now in {SUPPORT}")
        here.wait_settled()
        through("saved", lambda: here.advance(LOOK_AGAIN))
        here.one_live_card("mei", "after_delete:")

        through("to be deleted", lambda: here.press("mei", "after_delete:"))
        here.one_live_card("jun", "approve:")
        assert here.organisation.public_of_address(AHING) is not None
        through("deleted", lambda: here.press("jun", "approve:"))
        here.wait("it is over", lambda: newest(here, "deletion").finished_at is not None)
        here.wait_settled()
        check(here)


def check(here: World) -> None:
    """Each effect once, in the rows, the chain, the book and the chats; no key is left in WeCom."""
    rescue, copy, deletion = (newest(here, each) for each in ("rescue", "backup", "deletion"))
    assert all((each.state, each.data["ending"]) == (JobState.DONE, "done") for each in (rescue, copy, deletion))
    assert (rescue.data["backup"], copy.data["outcome"]["complete"]) == (copy.id, True)
    assert here.organisation.public_of_address(AHING) is None
    with here.store.begin() as tx:
        approvals = tx.session.scalars(select(Approval).order_by(Approval.id)).all()
        assert [(each.action, each.status, each.decided_by) for each in approvals] == [
            ("rescue", ApprovalStatus.APPROVED, "ling"), ("deletion", ApprovalStatus.APPROVED, "jun")
        ]  # fmt: skip
        steps = tx.session.scalars(select(Handover)).all()
        assert [(each.stage, each.state) for each in steps] == [("convert", HandoverState.DONE)]
        book = tx.session.scalars(select(BinItem).order_by(BinItem.id)).all()
        assert [(each.source, each.state, each.known_from) for each in book] == [
            (BinSource.LEFT, BinState.SAFE, "callback"), (BinSource.PUBLIC, BinState.WAITING, "api")
        ]  # fmt: skip
        assert not tx.session.scalars(select(MintedPassword).where(MintedPassword.deleted_at.is_(None))).all()
        whats = Counter(each.what for each in tx.session.scalars(select(AuditEntry)))
        for what in (
            "rescue.asked", "rescue.way", "conversion.done", "backup.asked", "bin.safe", "rescue.safe", "rescue.ended",
            "aftermath.delete", "deletion.asked", "public.deleting", "public.deleted", "deletion.ended",
        ):  # fmt: skip
            assert whats[what] == 1, (what, whats)
        assert (whats["approval.asked"], whats["approval.approved"], whats["bin.entered"]) == (2, 2, 2), whats
        assert tx.audit.broken_at() is None
    assert not [each for mailbox in here.organisation.public.values() for each in mailbox.passwords if each.by_api]
    assert not twice_told(here, besides=AHING)
    for member, wanted in (
        ("mei", f"SAFE: everything {AHING} held is in {SUPPORT}"),
        ("mei", f"The public mailbox {AHING} is deleted"), ("jun", f"The public mailbox {AHING} is deleted"),
    ):  # fmt: skip
        assert any(wanted in each for each in here.heard(member)), (member, here.heard(member))
    for member in ("mei", "ling", "jun"):
        shown = [each for each in here.entries(member) if each.get("card")]
        assert all(each["card"]["greyed"] for each in shown), (member, [text_of(each) for each in shown])
