"""A change of owner that is cancelled or saved badly: what was done in the console is never forgotten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from bot.context import Context
from bot.policy import Policy, Role, Roles
from bot.settings import Settings
from bot.wecom import contacts
from bot.wecom.contacts import MemberInfo, MemberStatus
from bot.wecom.errcodes import WeComError
from bot.words import say
from bot.work import JobStep, Runner, Services
from handlers import jobs
from handlers.handovers import handovers
from handlers.handovers.handovers import Look, evidence
from handlers.reassign import reassign, reassign_steps
from storage.models import BinSource, BinState, Delivery, HandoverState, Job, JobState
from storage.store import Store, Transaction
from tests.handlers.conftest import FakeClock

AHING, CALVIN, SUPPORT = "ahing@corp.test", "calvin@corp.test", "support@corp.test"
ROLES = Roles({Role.ADMIN: frozenset({"mei", "yan"})})


@dataclass
class World:
    """Whose address is whose, and one change of owner after the manager's yes."""

    store: Store
    clock: FakeClock
    settings: Settings
    speaking: Callable[..., Context]
    owners: dict[str, str] = field(default_factory=lambda: {AHING: "ahing", CALVIN: "calvin"})
    refused: WeComError | None = None
    number: int = 0

    def __post_init__(self) -> None:
        self.services = Services(
            self.store, object(), self.settings, Policy(), object(), self.clock, object(), "r",  # type: ignore[arg-type]
        )  # fmt: skip
        self.runners = {
            "reassign": Runner(reassign.work, self.services, lambda tx: ROLES),
            "handover": Runner(handovers.work, self.services, lambda tx: ROLES),
        }

    def begin(self, stage: str) -> None:
        """A change of owner at a stage behind the manager's yes; at `assign` the mailbox lies in the bin already."""
        with self.store.begin() as tx:
            source = tx.mailboxes.member_has("ahing", AHING, "look-up")
            target = tx.mailboxes.member_has("calvin", CALVIN, "look-up")
            seen = Look(True, say("audit.holds"), {})
            job = tx.jobs.add("reassign", asked_by="mei", params={"new_owner": "calvin"}, stage=stage)
            tx.jobs.put(
                job, steps=[], handovers={}, at_step=stage, source=source.id, target=target.id, source_address=AHING,
                owner="ahing", owner_name="阿兴", new_name="卡尔文", reason="r", approved_by="ling", living=True,
                displaced=CALVIN, into=SUPPORT, deletes_on="2026-04-01", asker_name="美玲", acknowledged_by="calvin",
                approved_noted=True, facts={"owner": "ahing"},
                before={side: evidence(tx.now, seen) for side in ("source", "target")},
            )  # fmt: skip
            self.number = job.id
            if stage == "assign":
                tx.mailboxes.ended(source)
                tx.recycle_bin.enter(
                    address=AHING, mailbox_id=source.id, owner="ahing", owner_name="阿兴", manager="ling",
                    source=BinSource.RECLAIMED, known_from="reassign", added_by="mei", entered_at=tx.now,
                    deletes_at=self.clock.moment.replace(month=4),
                )  # fmt: skip
                self.owners.pop(AHING)

    def job(self) -> Job:
        with self.store.begin() as tx:
            return tx.jobs.get(self.number)

    def turn(self, kind: str = "reassign") -> None:
        """Whatever of a kind is due."""
        for _ in range(6):
            with self.store.begin() as tx:
                due = [each for each in tx.jobs.waiting_or_due(kind) if each.state is JobState.DUE]
            for each in due:
                if each.due_at <= self.clock.now():
                    self.runners[kind].turn(each.id, each.wakes)

    def cancel(self) -> None:
        with self.store.begin() as tx:
            jobs.cancel(self.speaking(tx, "mei"), self.number)

    def heard(self, member: str = "mei") -> list[str]:
        with self.store.begin() as tx:
            rows = tx.session.query(Delivery).filter_by(receiver=member, kind="text").order_by(Delivery.id)
            return [str(each.body["text"]) for each in rows]

    def book(self, address: str) -> Any:
        """The entry that waits, or None."""
        with self.store.begin() as tx:
            return tx.recycle_bin.waiting_at(address)

    def userid_by_address(self, _client: object, address: str) -> str | None:
        if self.refused is not None:
            raise self.refused
        return self.owners.get(address)

    def step(self, tx: Transaction) -> JobStep:
        return JobStep(tx, tx.jobs.get(self.number), self.services, ROLES)


@pytest.fixture
def world(
    store: Store, clock: FakeClock, settings: Settings, speaking: Callable[..., Context],
    monkeypatch: pytest.MonkeyPatch,
) -> World:  # fmt: skip
    made = World(store, clock, settings, speaking)
    monkeypatch.setattr(contacts, "userid_by_address", made.userid_by_address)
    monkeypatch.setattr(contacts, "member", lambda _client, userid: MemberInfo(userid, status=MemberStatus.ACTIVE))
    return made


def test_a_cancel_between_the_check_and_the_next_turn_forgets_nothing(world: World) -> None:
    """It was seen to be taken off: it is in the book and said, then the job is cancelled; all admins hear it."""
    world.begin("reclaim")
    world.turn()
    world.owners.pop(AHING)
    world.turn("handover")
    assert (world.job().state, world.job().stage) == (JobState.DUE, "reclaim")
    world.cancel()
    world.turn()
    assert (world.job().state, world.job().data["ending"]) == (JobState.CANCELLED, "cancelled")
    assert world.book(AHING).source is BinSource.RECLAIMED
    for admin in ("mei", "yan"):
        assert "ahing@corp.test is in the recycle bin" in world.heard(admin)[-1], world.heard(admin)


def test_a_cancel_of_what_was_done_and_not_seen_yet_looks_first(world: World) -> None:
    """Done in the console within the hour of the last look; `resume` goes on with the next step."""
    world.begin("reclaim")
    world.turn()
    world.turn("handover")
    world.owners.pop(AHING)
    world.cancel()
    world.turn()
    assert world.job().state is JobState.CANCELLED
    assert world.book(AHING).source is BinSource.RECLAIMED
    assert "ahing@corp.test is in the recycle bin" in world.heard()[-1]
    with world.store.begin() as tx:
        assert [each.state for each in tx.handovers.of_job(world.number)] == [HandoverState.DONE]
        reassign_steps.resume(world.speaking(tx, "mei"), world.number)
    assert world.job().stage == "assign"


def test_a_cancel_of_what_was_not_done_withdraws_it(world: World) -> None:
    """It is seen to be his still: nothing is in the book, and nothing is to be typed."""
    world.begin("reclaim")
    world.turn()
    world.cancel()
    world.turn()
    assert (world.job().state, world.book(AHING)) == (JobState.CANCELLED, None)
    assert "bin date" not in world.heard()[-1]
    with world.store.begin() as tx:
        assert [each.state for each in tx.handovers.of_job(world.number)] == [HandoverState.WITHDRAWN]


def test_a_cancel_that_cannot_look_says_what_to_type(world: World) -> None:
    """WeCom shows nothing: whoever did it already knows how to have it in the book."""
    world.begin("reclaim")
    world.turn()
    world.refused = WeComError(48002, "api forbidden")
    world.cancel()
    world.turn()
    assert world.job().state is JobState.CANCELLED
    assert "bin date ahing@corp.test 2026-04-01" in world.heard()[-1]


@pytest.mark.parametrize("seen", [True, False])
def test_a_cancel_after_it_was_assigned_ends_as_done(world: World, seen: bool) -> None:
    """Nothing is left to stop; the displaced mailbox is in the book, the other one is out of it."""
    world.begin("assign")
    world.turn()
    world.owners = {AHING: "calvin"}
    if seen:
        world.turn("handover")
    world.cancel()
    world.turn()
    assert (world.job().state, world.job().data["ending"]) == (JobState.DONE, "done")
    assert world.book(CALVIN).source is BinSource.REPLACED
    with world.store.begin() as tx:
        assert [each.state for each in tx.recycle_bin.known_at(AHING)] == [BinState.ASSIGNED]
    assert any("nothing is left to stop" in each for each in world.heard()) is not seen
    assert any("Change of owner" in each and "is done" in each for each in world.heard())


@pytest.mark.parametrize(
    "part", [{"since": "2026-02-25"}, {"folders": ["INBOX"]}, {"without_junk": True}], ids=["since", "only", "junk"]
)
def test_a_backup_of_a_part_does_not_save_what_is_displaced(world: World, part: dict[str, object]) -> None:
    """One that is under way is not taken for the whole, and one that was taken stops the change of owner."""
    world.begin("prepare")
    with world.store.begin() as tx:
        into = tx.mailboxes.public_is(7, SUPPORT, name="S", readers={}, aliases=[])
        both = {"source": {"address": CALVIN, "userid": None}, "target": {"address": SUPPORT, "userid": None}}
        other = tx.jobs.add("backup", asked_by="yan", params={**both, **part})
        tx.jobs.put(other, source=tx.jobs.get(world.number).data["target"], target=into.id)
    world.turn()
    assert (world.job().state, world.job().data["ending"]) == (JobState.FAILED, "failed")
    assert any("only a part of calvin@corp.test" in each for each in world.heard())
    with world.store.begin() as tx:
        tx.jobs.put(tx.jobs.get(other.id), outcome={"verified": True, "complete": False, "refused": 0, "copied": 1})
        tx.jobs.end(tx.jobs.get(other.id), JobState.DONE)
        tx.jobs.put(tx.jobs.get(world.number), backup=other.id)
        assert reassign_steps.saved_now(world.step(tx)) is None
    world.turn()
    with world.store.begin() as tx:
        reassign_steps.resume(world.speaking(tx, "mei"), world.number)
    world.turn()
    assert world.job().data["backup"] not in (None, other.id), "a whole one now"
    assert world.job().state is JobState.WAITING
