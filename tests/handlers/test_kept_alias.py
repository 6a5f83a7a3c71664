"""A displaced address becomes an alias when the bin gives it up: asked first, tried a few times, never a list wiped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from bot import delivery
from bot.context import Context
from bot.errors import UserError
from bot.policy import Policy, Role, Roles
from bot.settings import Settings
from bot.wecom import contacts
from bot.wecom.errcodes import NoContactsSecret, WeComError
from bot.words import LANGUAGES
from bot.work import JobContext, Runner, Services
from handlers import jobs
from handlers.approvals import approvals
from handlers.reassign import kept_alias
from storage.leases import Leases
from storage.models import ApprovalStatus, BinSource, BinState, Delivery, Job, JobState
from storage.store import Store
from tests.handlers.conftest import FakeClock

AHING, CALVIN = "ahing@corp.test", "calvin@corp.test"
ROLES = Roles({Role.ADMIN: frozenset({"mei", "yan"})})


@dataclass
class World:
    """Whose address is whose, what WeCom was told, and what it refuses."""

    store: Store
    clock: FakeClock
    settings: Settings
    speaking: Callable[..., Context]
    owners: dict[str, str] = field(default_factory=lambda: {AHING: "calvin"})
    set_to: list[tuple[str, list[str]]] = field(default_factory=list)
    refuses: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        services = Services(
            self.store, object(), self.settings, Policy(), object(), self.clock, Leases(self.store.engine), "r",  # type: ignore[arg-type]
        )  # fmt: skip
        self.runner = Runner(kept_alias.work, services, lambda tx: ROLES)
        with self.store.begin() as tx:
            former = tx.mailboxes.member_has("ahing", AHING, "look-up")
            former.aliases = ["sales@corp.test"]
            displaced = tx.mailboxes.member_has("calvin", CALVIN, "look-up")
            tx.recycle_bin.enter(
                address=CALVIN, mailbox_id=displaced.id, owner="calvin", owner_name="卡尔文", manager="ling",
                source=BinSource.REPLACED, known_from="reassign", added_by="mei", entered_at=tx.now,
                deletes_at=tx.now + timedelta(days=30),
            )  # fmt: skip
            tx.mailboxes.member_has("calvin", AHING, "look-up")
            waiting = tx.jobs.add("reassign", asked_by="mei", params={})
            tx.jobs.put(waiting, asker_name="美玲")
        ctx = JobContext(services, waiting.id, 1, "reassign", "finish", {}, {}, 0, lambda tx: ROLES)
        with ctx.begin() as step:
            self.number = kept_alias.keep(step, address=CALVIN, mailbox=AHING, owner="calvin", reassign=waiting.id).id

    def update_member(self, _client: object, userid: str, *, aliases: Sequence[str]) -> None:
        if self.refuses:
            raise self.refuses.pop(0)
        self.set_to.append((userid, list(aliases)))

    def turn(self) -> None:
        """Whatever of the wish is due."""
        for _ in range(5):
            job = self.job()
            if job.state is not JobState.DUE or job.due_at > self.clock.now():
                return
            self.runner.turn(job.id, job.wakes)

    def job(self) -> Job:
        with self.store.begin() as tx:
            return tx.jobs.get(self.number)

    def says(self, handler: Callable[..., Any], sender: str = "mei", *args: Any, **more: Any) -> None:
        with self.store.begin() as tx:
            for reply in handler(self.speaking(tx, sender, **more), *(args or (self.number,))):
                delivery.add(tx, reply, self.settings)

    def heard(self, member: str = "mei") -> list[str]:
        with self.store.begin() as tx:
            rows = tx.session.query(Delivery).filter_by(receiver=member, kind="text").order_by(Delivery.id)
            return [str(each.body["text"]) for each in rows]

    def whats(self) -> list[str]:
        with self.store.begin() as tx:
            return [each.what for each in tx.audit.entries() if each.what.startswith("alias.")]


@pytest.fixture
def world(
    store: Store, clock: FakeClock, settings: Settings, speaking: Callable[..., Context],
    monkeypatch: pytest.MonkeyPatch,
) -> World:  # fmt: skip
    made = World(store, clock, settings, speaking)
    monkeypatch.setattr(contacts, "userid_by_address", lambda _client, address: made.owners.get(address))
    monkeypatch.setattr(contacts, "update_member", made.update_member)
    return made


def test_it_sleeps_until_the_bin_is_through_then_asks_with_the_whole_list(world: World) -> None:
    """Another date of the console is waited for, too; nothing is sent to WeCom before the admin has seen the list."""
    world.clock.advance(days=29)
    world.turn()
    assert world.heard() == []
    with world.store.begin() as tx:
        item = tx.recycle_bin.waiting_at(CALVIN)
        assert item is not None
        item.deletes_at += timedelta(days=10)
    world.clock.advance(days=2)
    world.turn()
    assert world.heard() == []
    assert world.job().stage == "wait"
    world.clock.advance(days=10)
    world.turn()
    (asked,) = world.heard()
    assert f"They would be: {CALVIN}, sales@corp.test." in asked, "the mailbox's former life had one"
    assert world.set_to == []
    world.says(kept_alias.add_alias)
    world.turn()
    assert world.set_to == [("calvin", [CALVIN, "sales@corp.test"])]
    assert "please send a mail to calvin@corp.test" in world.heard()[-1]
    assert (world.job().state, world.job().data["ending"]) == (JobState.DONE, "done")
    assert world.whats() == ["alias.wished", "alias.agreed", "alias.added", "alias.ended"]
    with world.store.begin() as tx:
        box = tx.mailboxes.of("calvin")
        assert box is not None
        assert box.aliases == [CALVIN, "sales@corp.test"], "the bot owns the list from now on"
    with pytest.raises(UserError, match=r"alias\.over"):
        world.says(kept_alias.add_alias)


@pytest.mark.parametrize(
    ("others", "wanted"),
    [(["info", "sales@"], [CALVIN, "info@corp.test", "sales@corp.test"]), (["none"], [CALVIN]), (["无"], [CALVIN])],
)
def test_the_admin_names_the_others_and_need_not_wait(world: World, others: list[str], wanted: list[str]) -> None:
    """Purged by hand on the second day: `alias 17 with …` asks WeCom at once, with what was typed and nothing else."""
    world.clock.advance(days=1)
    world.says(kept_alias.add_alias, "mei", world.number, others)
    world.turn()
    assert world.set_to == [("calvin", wanted)]


@pytest.mark.parametrize("handler", [kept_alias.add_alias, jobs.retry], ids=["alias", "retry"])
def test_before_anybody_saw_the_list_it_is_shown(world: World, handler: Callable[..., Any]) -> None:
    """`alias 17` or `retry 17` the day after: the aliases it has are wiped only after somebody saw which."""
    world.clock.advance(days=1)
    world.says(handler)
    world.turn()
    assert world.set_to == []
    (asked,) = world.heard()
    assert "Nothing is changed yet" in asked
    assert f"They would be: {CALVIN}, sales@corp.test." in asked
    assert world.job().stage == "wait", "it is still asked for at the book's date"
    world.says(handler)
    world.turn()
    assert world.set_to == [("calvin", [CALVIN, "sales@corp.test"])]


def test_one_that_failed_unasked_is_shown_before_it_is_tried_again(world: World) -> None:
    """It stopped before anybody saw the list; then it waits for the answer, not for ever."""
    with world.store.begin() as tx:
        tx.jobs.put(tx.jobs.get(world.number), ending="failed")
        tx.jobs.end(tx.jobs.get(world.number), JobState.FAILED)
    world.says(jobs.retry)
    assert (world.job().state, world.job().stage, world.set_to) == (JobState.WAITING, "ask", [])
    world.says(kept_alias.add_alias)
    world.turn()
    assert world.set_to == [("calvin", [CALVIN, "sales@corp.test"])]


def test_what_wecom_refuses_is_tried_a_few_times_and_then_given_up(world: World) -> None:
    """Each refusal says why and when next; the last one how to do it by hand; `retry` begins anew."""
    world.refuses = [WeComError(60143, "invalid alias") for _ in range(5)]
    world.says(kept_alias.add_alias, "mei", world.number, ["none"])
    for tries, days in enumerate((1, 2, 4, 8), 1):
        world.turn()
        assert f"try {tries} of 5" in world.heard()[-1]
        world.clock.advance(days=days, minutes=-1)
        world.turn()
        assert len(world.refuses) == 5 - tries, "not before its day"
        world.clock.advance(minutes=1)
    world.turn()
    assert "I give calvin@corp.test up as an alias after 5 tries" in world.heard()[-1]
    assert "邮箱别名" in world.heard()[-1]
    assert world.job().state is JobState.FAILED
    world.says(jobs.retry)
    world.turn()
    assert [userid for userid, _ in world.set_to] == ["calvin"]


@pytest.mark.parametrize("error", [WeComError(48002, "api forbidden"), NoContactsSecret()])
def test_what_can_never_work_is_said_at_once(world: World, error: Exception) -> None:
    """Without leave, or without the contacts-sync secret, no day will help."""
    world.refuses = [error]
    world.says(kept_alias.add_alias, "mei", world.number, ["none"])
    world.turn()
    assert "I cannot make calvin@corp.test an alias" in world.heard()[-1]
    assert world.job().state is JobState.FAILED


@pytest.mark.parametrize(
    ("owners", "said"),
    [
        ({AHING: "calvin", CALVIN: "tao"}, "it belongs to 陈涛 now"),
        ({AHING: "tao"}, "ahing@corp.test has another owner by now (陈涛)"),
        ({AHING: "calvin", CALVIN: "calvin"}, "leads to 卡尔文 already"),
    ],
)
def test_what_has_become_of_both_meanwhile_ends_it(world: World, owners: dict[str, str], said: str) -> None:
    """Rescued, given away again, or an alias already: nobody is asked for nothing."""
    world.owners = owners
    world.clock.advance(days=31)
    world.turn()
    assert said in world.heard()[-1]
    assert (world.job().state, world.set_to) == (JobState.CANCELLED, [])


def test_a_mailbox_rescued_from_the_bin_is_noticed_before_its_date(world: World) -> None:
    """The book knows that somebody has it: the wish does not wait for a day that will not come."""
    with world.store.begin() as tx:
        item = tx.recycle_bin.waiting_at(CALVIN)
        assert item is not None
        tx.recycle_bin.close(item, BinState.ASSIGNED, by="mei", owner="tao")
    world.owners[CALVIN] = "tao"
    world.clock.advance(days=31)
    world.turn()
    assert "it belongs to 陈涛 now" in world.heard()[-1]


def test_nobody_answers_and_who_may_not(world: World) -> None:
    """It runs out after two weeks; members are told who may; too many and odd addresses are refused."""
    for others, key in ((["a", "b", "c", "d", "e"], "alias.too_many"), (["a@elsewhere"], "directory.not_an_address")):
        with pytest.raises(UserError) as caught:
            world.says(kept_alias.add_alias, "mei", world.number, others)
        assert caught.value.words.key == key
        assert all(caught.value.words.text(language) for language in LANGUAGES)
    with pytest.raises(UserError):
        world.says(kept_alias.add_alias, "calvin")
    with pytest.raises(UserError):
        world.says(kept_alias.add_alias, "mei", 9999)
    world.clock.advance(days=31)
    world.turn()
    assert world.job().stage == "ask"
    world.clock.advance(days=15)
    with world.store.begin() as tx:
        kept_alias.watch(kept_alias.SweepStep(tx, world.runner._services, ROLES))
    world.turn()
    assert "nobody answered" in world.heard()[-1]
    assert world.job().data["ending"] == "expired"


def test_a_stricter_policy_wants_another_admin(world: World) -> None:
    """`alias = "two"` in the policy file: WeCom is asked only after the other admin's yes."""
    with world.store.begin() as tx:
        ctx = world.speaking(tx, "mei")
        ctx.policy = Policy({"alias": "two"})
        for reply in kept_alias.add_alias(ctx, world.number, ["none"]):
            delivery.add(tx, reply, world.settings)
    world.turn()
    assert (world.job().stage, world.set_to) == ("approval", [])
    with world.store.begin() as tx:
        (question,) = tx.approvals.waiting_for("yan")
        assert question.status is ApprovalStatus.PENDING
    world.says(approvals.approve, "yan", question.id)
    world.turn()
    assert [userid for userid, _ in world.set_to] == ["calvin"]
