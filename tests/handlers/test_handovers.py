"""A step in the admin console: asked for, looked at gently, closed by what is seen and by nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bot import delivery
from bot.context import Context
from bot.errors import UserError
from bot.policy import Policy, Role, Roles
from bot.replies import Card
from bot.settings import Settings
from bot.wecom import contacts
from bot.wecom.cards import check_card
from bot.wecom.contacts import MemberInfo, MemberStatus
from bot.wecom.errcodes import WeComError
from bot.words import LANGUAGES, say
from bot.work import JobContext, Runner, Services, SweepStep
from handlers import addresses
from handlers.approvals.approvals import as_json
from handlers.handovers import handover_card, handovers
from handlers.handovers.handovers import Check
from storage.models import BinSource, Delivery, Handover, HandoverState, Job, JobState
from storage.store import Store
from tests.handlers.conftest import FakeClock, on_both

AHING, CALVIN = "ahing@corp.test", "calvin@corp.test"
ROLES = Roles({Role.ADMIN: frozenset({"mei", "yan"})})
SHANGHAI = ZoneInfo("Asia/Shanghai")


@dataclass
class World:
    """Who has which address, who is in sight, and how often it was asked."""

    store: Store
    clock: FakeClock
    settings: Settings
    owners: dict[str, str] = field(default_factory=lambda: {AHING: "ahing", CALVIN: "calvin"})
    out_of_sight: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    refused: WeComError | None = None

    def __post_init__(self) -> None:
        self.services = Services(
            self.store, object(), self.settings, Policy(), object(), self.clock, object(), "r",  # type: ignore[arg-type]
        )  # fmt: skip
        self.runner = Runner(handovers.work, self.services, lambda tx: ROLES)

    def userid_by_address(self, _client: object, address: str) -> str | None:
        self.asked.append(address)
        if self.refused is not None:
            raise self.refused
        owner = self.owners.get(address)
        return None if owner in self.out_of_sight else owner

    def member(self, _client: object, userid: str) -> MemberInfo:
        if userid in self.out_of_sight:
            raise WeComError(60111, "userid not found")
        return MemberInfo(userid, status=MemberStatus.ACTIVE)

    def ask(self, check: Check, *, days: float = 14, before: dict[str, Any] | None = None) -> int:
        """A job that asks for a step; the step's number."""
        with self.store.begin() as tx:
            waiting = tx.jobs.add("reassign", asked_by="mei", params={})
        ctx = JobContext(self.services, waiting.id, 1, "reassign", "start", {}, {}, 0, lambda tx: ROLES)
        with ctx.begin() as step:
            handover = handovers.ask_for(
                step, title=say("handovers.none"), why=say("handovers.none"), how=[say("reassign.path")],
                values=[AHING], check=check, deadline_at=step.now + timedelta(days=days), stage="reclaim",
                seen_before=before,
            )  # fmt: skip
            return handover.id

    def poll(self) -> int:
        """Turn every look that is due; how many were."""
        with self.store.begin() as tx:
            due = [each for each in tx.jobs.waiting_or_due(handovers.KIND) if each.due_at <= tx.now]
        for job in due:
            self.runner.turn(job.id, job.wakes)
        return len(due)

    def handover(self, number: int = 1) -> Handover:
        with self.store.begin() as tx:
            return tx.handovers.get(number)

    def waiting(self, number: int = 1) -> Job:
        with self.store.begin() as tx:
            return tx.jobs.get(tx.handovers.get(number).job_id)

    def sweep(self) -> None:
        with self.store.begin() as tx:
            handovers.remind(SweepStep(tx, self.services, ROLES))

    def heard(self, member: str) -> list[str]:
        with self.store.begin() as tx:
            rows = tx.session.query(Delivery).filter_by(receiver=member, kind="text").order_by(Delivery.id)
            return [str(each.body["text"]) for each in rows]


@pytest.fixture
def world(store: Store, clock: FakeClock, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(store, clock, settings)
    monkeypatch.setattr(contacts, "userid_by_address", made.userid_by_address)
    monkeypatch.setattr(contacts, "member", made.member)
    return made


@pytest.fixture
def says(world: World, speaking: Callable[..., Context]) -> Callable[..., None]:
    """A member says or presses something, and the replies are on their way."""

    def run(handler: Callable[..., Any], sender: str = "mei", number: int = 1, **more: Any) -> None:
        with world.store.begin() as tx:
            for reply in handler(speaking(tx, sender, **more), number):
                delivery.add(tx, reply, world.settings)

    return run


SEEN_BEFORE = {"at": "2026-03-02T08:00:00+00:00", "saw": as_json(say("handovers.none")), "detail": {AHING: "ahing"}}
NOT_AHINGS = Check("owner_is_not", {"address": AHING, "userid": "ahing"})
CALVINS = Check("owner_is", {"address": AHING, "userid": "calvin", "instead_of": CALVIN})


@on_both
def test_what_is_seen_closes_it_and_is_kept(world: World) -> None:
    """Before and after with their moments, in the row and in the audit; the job goes on."""
    world.ask(NOT_AHINGS)
    told = world.heard("mei")
    assert AHING in told, "the value to copy has a message of its own"
    assert "1. Open the admin console" in told[0]
    assert world.poll() == 1
    assert world.handover().state is HandoverState.WAITING
    assert (world.waiting().state, world.waiting().stage) == (JobState.WAITING, "reclaim")

    world.owners.pop(AHING)
    world.clock.advance(minutes=15)
    assert world.poll() == 1
    done = world.handover()
    assert done.state is HandoverState.DONE
    assert done.before is not None
    assert done.after is not None
    assert (done.before["detail"], done.before["at"]) == ({AHING: "ahing"}, "2026-03-02T09:00:00+00:00")
    assert done.after["detail"] == {AHING: None, "ahing": "in sight"}
    assert done.after["at"] == "2026-03-02T09:15:00+00:00"
    assert (world.waiting().state, world.waiting().stage) == (JobState.DUE, "reclaim")
    with world.store.begin() as tx:
        entry = next(each for each in tx.audit.entries() if each.what == "handover.done")
        assert entry.detail["before"] == done.before
        assert entry.detail["after"] == done.after
    world.clock.advance(days=1)
    assert world.poll() == 0, "nobody looks any more"


@pytest.mark.parametrize(("before", "hidden"), [(True, True), (False, False)])
def test_nobody_found_is_no_evidence(world: World, before: bool, hidden: bool) -> None:
    """46004 is said of members out of sight, too; and an address that was never seen as his may never have been."""
    world.ask(NOT_AHINGS, before=SEEN_BEFORE if before else None)
    if hidden:
        world.out_of_sight.add("ahing")
    else:
        world.owners.pop(AHING)
    world.poll()
    assert world.handover().state is HandoverState.WAITING
    assert world.handover().looked_at is not None


def test_who_left_needs_no_mailbox_taken_off(world: World) -> None:
    """His leaving is known from the directory: with it "nobody" is enough."""
    world.ask(NOT_AHINGS)
    world.poll()
    with world.store.begin() as tx:
        member = tx.members.find("ahing")
        assert member is not None
        tx.members.left(member)
    world.out_of_sight.add("ahing")
    world.clock.advance(minutes=15)
    world.poll()
    assert world.handover().state is HandoverState.DONE


def test_it_looks_every_quarter_of_an_hour_then_every_hour(world: World) -> None:
    """Gently: never sooner, and slower when it takes long."""
    world.ask(NOT_AHINGS)
    looks = []
    for minute in range(0, 24 * 60, 5):
        if world.poll():
            looks.append(minute)
        world.clock.advance(minutes=5)
    gaps = [later - earlier for earlier, later in pairwise(looks)]
    assert gaps[:4] == [15, 15, 15, 30]
    assert min(gaps) == 15
    assert set(gaps[8:]) == {60}


def test_waiting_for_an_assignment_costs_no_failed_look_up(world: World) -> None:
    """As long as the new owner has his old mailbox it cannot be done, and that is seen without asking for nobody."""
    world.owners.pop(AHING)
    world.ask(CALVINS)
    for _ in range(10):
        world.poll()
        world.clock.advance(hours=1)
    assert set(world.asked) == {CALVIN}
    world.owners = {AHING: "calvin"}
    world.poll()
    assert world.handover().state is HandoverState.DONE


def test_polls_leave_the_budget_to_people(world: World, says: Callable[..., None]) -> None:
    """Half of the day's failed look-ups is for those who ask; when all are used up they are told so."""
    with world.store.begin() as tx:
        for _ in range(handovers.POLLS_FAILED_MAX):
            tx.mailboxes.looked_up("x@corp.test", None)
    world.ask(NOT_AHINGS)
    world.poll()
    assert world.asked == []
    says(handovers.check_now)
    world.poll()
    assert world.asked == [AHING]
    with world.store.begin() as tx:
        for _ in range(addresses.FAILED_LOOK_UPS_A_DAY):
            tx.mailboxes.looked_up("x@corp.test", None)
    world.clock.advance(minutes=2)
    says(handovers.say_done)
    world.poll()
    assert world.asked == [AHING]
    assert "I cannot look at console step 1 now" in world.heard("mei")[-1]


@on_both
def test_nobody_is_believed(world: World, says: Callable[..., None]) -> None:
    """Said to be done, seen not to be: contradicted, with what is seen; then done when it is."""
    world.ask(NOT_AHINGS)
    says(handovers.say_done, "yan")
    world.poll()
    row = world.handover()
    assert (row.state, row.said_by) == (HandoverState.CONTRADICTED, "yan")
    assert "ahing@corp.test belongs to 阿兴" in world.heard("yan")[-1]
    assert "but I cannot see it yet" in world.heard("yan")[-1]
    says(lambda ctx, _: handovers.handovers_list(ctx))
    assert "said to be done, but I cannot see it" in world.heard("mei")[-1]
    world.owners.pop(AHING)
    world.clock.advance(minutes=15)
    world.poll()
    assert world.handover().state is HandoverState.DONE
    with pytest.raises(UserError, match="over_done"):
        says(handovers.say_done)
    with pytest.raises(UserError, match="unknown"):
        says(handovers.say_done, number=9)


def test_check_now_is_throttled_but_never_lost(world: World, says: Callable[..., None]) -> None:
    """Ten presses are one look; it is made when the minute is over."""
    world.ask(NOT_AHINGS)
    world.poll()
    for _ in range(10):
        says(handovers.check_now)
        world.poll()
    assert len(world.asked) == 1
    assert "I will look again at 17:01:00" in world.heard("mei")[-1]
    world.clock.advance(minutes=1)
    world.poll()
    assert len(world.asked) == 2
    assert "is not done yet" in world.heard("mei")[-1]


def test_wecom_refuses_the_look(world: World, says: Callable[..., None]) -> None:
    """Who asked is told why; it goes on looking."""
    world.ask(NOT_AHINGS)
    world.refused = WeComError(48002, "api forbidden")
    says(handovers.check_now)
    world.poll()
    assert "I cannot look whether console step 1 is done" in world.heard("mei")[-1]
    world.refused = None
    world.owners = {AHING: "calvin"}
    world.clock.advance(hours=1)
    world.poll()
    assert world.handover().state is HandoverState.DONE


@on_both
def test_it_is_reminded_of_in_working_hours_and_ends(world: World) -> None:
    """After a day, then every second day, never at night or on a weekend; too late is said to every admin."""
    world.ask(NOT_AHINGS, days=10)
    reminded: list[datetime] = []
    for _ in range(10 * 24 * 2 + 1):
        before = world.handover().reminders
        world.sweep()
        if world.handover().reminders != before:
            reminded.append(world.clock.now().astimezone(SHANGHAI))
        world.clock.advance(minutes=30)
    assert 4 <= len(reminded) <= 6
    assert all(9 <= each.hour < 18 and each.weekday() < 5 for each in reminded), reminded
    assert world.handover().state is HandoverState.EXPIRED
    assert "was not done in time" in world.heard("yan")[-1]
    assert (world.waiting().state, world.waiting().stage) == (JobState.DUE, "reclaim")


@on_both
@pytest.mark.parametrize("how", ["by itself", "said", "asked anew"])
def test_what_is_done_after_its_time_is_seen_once_more(world: World, says: Callable[..., None], how: str) -> None:
    """A day later by itself, or when somebody says so: told with what it means, and the book knows the mailbox."""
    world.ask(NOT_AHINGS, days=2, before={"at": world.clock.now().isoformat(), "saw": {}, "detail": {}})
    world.clock.advance(days=2)
    world.sweep()
    assert world.handover().state is HandoverState.EXPIRED
    if how == "said":
        world.clock.advance(days=1)
        assert world.poll() == 1
        world.clock.advance(days=3)
        assert world.poll() == 0, "once by itself"
        says(handovers.say_done, "yan")
        world.poll()
        assert "was not done in time" in world.heard("yan")[-1], "it is not believed"
        world.clock.advance(minutes=2)
    elif how == "asked anew":
        with world.store.begin() as tx:
            tx.jobs.put(tx.jobs.get(world.handover().job_id), handovers={"reclaim": 99})
    world.owners.pop(AHING)
    told, asked = len(world.heard("mei")), len(world.asked)
    if how == "said":
        says(handovers.say_done, "yan")
    else:
        world.clock.advance(days=1)
    world.poll()
    with world.store.begin() as tx:
        item = tx.recycle_bin.waiting_at(AHING)
    if how == "asked anew":
        assert (len(world.asked), item) == (asked, None), "the new one looks"
        with pytest.raises(UserError, match="over_expired"):
            says(handovers.say_done)
        return
    assert item is not None
    assert (item.owner, item.source, item.known_from) == ("ahing", BinSource.RECLAIMED, "console")
    for member in ("mei", "yan"):
        assert "was done after all, but after its time" in world.heard(member)[-1]
        assert "It is deleted for ever at" in world.heard(member)[-1]
    assert len(world.heard("mei")) > told
    with pytest.raises(UserError, match="over_late"):
        says(handovers.say_done)


def test_a_job_that_ended_wants_nothing_more(world: World) -> None:
    """Withdrawn: the cards are greyed, the polling ends."""
    world.ask(NOT_AHINGS)
    with world.store.begin() as tx:
        assert len(handovers.withdraw(tx, world.handover().job_id)) == 1
    world.poll()
    assert world.asked == []
    with world.store.begin() as tx:
        assert tx.jobs.get(world.handover().check_job_id).state is JobState.DONE


def test_at_work() -> None:
    """Moments by the clock in Shanghai, and when it is said instead."""
    for at, wanted in (
        ("2026-03-03 10:30", "2026-03-03 10:30"),
        ("2026-03-03 07:30", "2026-03-03 09:00"),
        ("2026-03-03 18:00", "2026-03-04 09:00"),
        ("2026-03-06 20:00", "2026-03-09 09:00"),
        ("2026-03-07 12:00", "2026-03-09 09:00"),
        ("2026-10-01 12:00", "2026-10-08 09:00"),
    ):
        moment = datetime.fromisoformat(at).replace(tzinfo=SHANGHAI).astimezone(UTC)
        found = handovers.at_work(moment, SHANGHAI).astimezone(SHANGHAI)
        assert f"{found:%Y-%m-%d %H:%M}" == wanted, at


def test_its_card_fits(world: World) -> None:
    """WeCom takes it, in both languages, with the longest title there is."""
    world.ask(NOT_AHINGS)
    world.poll()
    row = world.handover()
    card = handover_card.card_of(row, "mei", SHANGHAI, handover_card.seen_words(row, SHANGHAI))
    assert isinstance(card, Card)
    for language in LANGUAGES:
        check_card(delivery.rendered(card, "handover-1-x", language))
