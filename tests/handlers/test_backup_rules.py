"""What a backup may and must not do, turn by turn: consent, patience, facts, connections, and when it is complete."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from bot.context import job_start
from bot.errors import NetworkError, UserError
from bot.mail.errors import ConnectionLost, NotReachable
from bot.mail.outcome import CopyOutcome
from bot.mail.plan import Plan
from bot.policy import Policy
from bot.words import say
from handlers import addresses, jobs
from handlers import work as all_work
from handlers.approvals import approvals
from handlers.backup import backup, backup_receipt
from handlers.copying import backup_access, connections, verification
from handlers.copying.connections import WANTED, Connections
from storage.ledger import LeaseLost, SqlLedger
from storage.ledger_tables import EngineDatabase
from storage.models import Approval, ApprovalStatus, JobState
from storage.store import Store
from tests.handlers.backup_world import World, raising
from tests.handlers.conftest import FakeClock

LOST = ConnectionLost("cut", mailbox="support@corp.test")
NOBODY = addresses.Found(None, say("addresses.no_budget", address="calvin@corp.test"))


@pytest.fixture
def world(store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> World:
    """A bot without network."""
    return World(store, clock, monkeypatch)


# --- who said no, who said yes ---------------------------------------------------------------------------------------


def test_a_no_stays_a_no_whatever_else_happens(world: World) -> None:
    """The other side's password, time, `access by`: the owner is asked again only because he wants it."""
    job = world.backup("calvin", target="ahing@corp.test")
    assert world.links(job) == [("calvin", "source"), ("ahing", "target")]
    world.declines(job, "calvin", "source")
    world.run(job)
    assert sum("refused access to calvin@corp.test" in each for each in world.told("mei")) == 1
    world.clock.advance(minutes=20)
    world.give(job, "target", "ahing")
    world.run(job)
    assert world.links(job) == [("calvin", "source"), ("ahing", "target")]
    assert world.state(job) == (JobState.WAITING, "access")
    world.does("calvin", backup_access.new_link, job)
    world.run(job)
    assert world.links(job)[-1] == ("calvin", "source")
    assert len(world.links(job)) == 3
    assert sum("refused access" in each for each in world.told("mei")) == 1


def test_a_no_that_comes_while_the_job_is_at_work_is_not_lost(world: World) -> None:
    """The other side's password has just woken it."""
    job = world.backup("calvin", target="ahing@corp.test")
    world.give(job, "target", "ahing")
    world.declines(job, "calvin", "source")
    world.clock.advance(minutes=20)
    world.run(job)
    assert any("refused access to calvin@corp.test" in each for each in world.told("mei"))
    assert len(world.links(job)) == 2


def test_the_manager_is_not_asked_over_an_owner_who_agreed(world: World) -> None:
    """He agreed to what he was shown: `manager` for other readers is refused, and asking alone changes no facts."""
    job = world.backup("calvin", target="ahing@corp.test")
    before = world.data(job)["facts"]
    world.give(job, "source")
    world.run(job)
    assert world.state(job) == (JobState.WAITING, "access")
    with pytest.raises(UserError, match="owner_agreed"):
        world.does("mei", backup_access.ask_manager, job)
    assert world.data(job)["facts"] == before


def asked_manager(world: World) -> tuple[int, Approval]:
    """A backup into support@, whose readers changed since, with a question to the manager."""
    job = world.backup("calvin")
    before = world.data(job)["facts"]
    with world.store.begin() as tx:
        tx.mailboxes.get(world.support).readers = {"userids": ["mei", "tao", "solo"], "departments": [], "tags": []}
    world.does("mei", backup_access.ask_manager, job)
    assert world.data(job)["facts"] == before, "asking alone changed what the owner is asked to agree to"
    with world.store.begin() as tx:
        return job, tx.session.query(Approval).filter_by(job_id=job).one()


@pytest.mark.parametrize("at_work", [False, True])
def test_a_managers_yes_counts_also_while_the_job_is_at_work(world: World, at_work: bool) -> None:
    """Written down at once, found by the turn; with what the manager was shown."""
    job, approval = asked_manager(world)
    if at_work:
        with world.store.begin() as tx:
            tx.jobs.wake(tx.jobs.get(job), "access")
    world.does("ling", approvals.approve, approval.id)
    world.run(job)
    assert world.links(job)[-1] == ("mei", "source")
    assert world.data(job)["facts"]["readers"] == ["mei", "solo", "tao"]
    assert world.data(job)["by_manager"] == "ling"


def test_a_managers_yes_after_the_owners_changes_nothing(world: World) -> None:
    """The owner was faster, and was shown other readers."""
    job, approval = asked_manager(world)
    facts = world.data(job)["facts"]
    world.give(job, "source")
    world.does("ling", approvals.approve, approval.id)
    assert world.data(job)["facts"] == facts
    assert not world.data(job).get("by_manager")


def test_the_owner_may_cancel_until_start(world: World) -> None:
    """`job 12` says so to him, and it is so; afterwards neither."""
    job = world.ready("calvin")
    assert f"`cancel {job}`" in "".join(world.does("calvin", jobs.job_details, job))
    world.does("mei", backup.start, job)
    assert f"`cancel {job}`" not in "".join(world.does("calvin", jobs.job_details, job))
    with pytest.raises(UserError, match="only_admins"):
        world.cancel(job, "calvin")
    other = world.ready("ahing")
    with pytest.raises(UserError, match="unknown"):
        world.cancel(other, "calvin")
    world.cancel(other, "ahing")
    world.run(other)
    assert world.state(other) == (JobState.CANCELLED, "cleanup")
    assert any("阿兴 cancelled job" in each or "阿兴 取消" in each for each in world.told("mei"))


def test_a_stricter_policy_wants_another_admin_for_a_public_mailbox(world: World) -> None:
    """`manager` has no meaning without an owner: two. A yes lets it go on, a no ends it; nobody to ask: refused."""
    object.__setattr__(world.services, "policy", Policy({"backup_public": "manager"}))
    job = world.backup("sales")
    assert world.state(job) == (JobState.WAITING, "approval")
    assert not world.wecom.minted
    with world.store.begin() as tx:
        approval = tx.session.query(Approval).filter_by(job_id=job).one()
        assert list(approval.approvers) == ["yan"]
    world.does("yan", approvals.approve, approval.id)
    world.run(job)
    assert world.state(job) == (JobState.WAITING, "ready")

    job = world.backup("support", target="sales@corp.test")
    with world.store.begin() as tx:
        approval = tx.session.query(Approval).filter_by(job_id=job).one()
    world.does("yan", approvals.reject, approval.id, "not now")
    world.run(job)
    assert world.state(job) == (JobState.CANCELLED, "cleanup")
    assert world.data(job)["ending"] == "rejected"

    with world.store.begin() as tx:
        tx.mailboxes.get(world.support).readers = {"userids": ["mei", "yan"], "departments": [], "tags": []}
        sales = tx.mailboxes.at("sales@corp.test")
        assert sales is not None
        sales.address = "shop@corp.test"
        tx.jobs.end(tx.jobs.get(1), JobState.CANCELLED)
    job = world.backup("shop")
    assert world.state(job) == (JobState.CANCELLED, "cleanup"), "who gains by it could say yes"
    assert world.data(job)["ending"] == "refused"


# --- trouble ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [LOST, NotReachable("down"), NetworkError("down")])
def test_an_outage_of_hours_does_not_end_a_copy(world: World, error: Exception) -> None:
    """Twenty hours of trouble: the password is kept, the asker hears of it once, then it goes on to its end."""
    job = world.started("calvin")
    world.mail.copying = [raising(error)] * 1000
    turns = 0
    until = world.clock.now() + timedelta(hours=20)
    while world.clock.now() < until:
        world.run(job)
        turns += 1
        world.clock.advance(minutes=15)
    assert world.state(job) == (JobState.DUE, "copy")
    assert sum("cannot go on just now" in each for each in world.told("mei")) == 1
    assert turns <= 80
    world.mail.copying.clear()
    world.run(job)
    assert world.state(job) == (JobState.DONE, "cleanup")


def test_after_a_day_without_any_progress_it_gives_up(world: World) -> None:
    """It says why, and no key is left."""
    job = world.started("calvin")
    world.mail.copying = [raising(LOST)] * 1000
    for _ in range(120):
        world.run(job)
        world.clock.advance(minutes=15)
    assert world.state(job) == (JobState.FAILED, "cleanup")
    assert any("has stopped while" in each for each in world.told("mei"))
    assert world.open_rows() == (0, 0)


def test_a_comparison_is_as_patient(world: World) -> None:
    """Eleven minutes without the server."""
    job = world.started("calvin")
    world.mail.checking = [raising(LOST)] * 12
    for _ in range(20):
        world.run(job)
        world.clock.advance(minutes=15)
    assert world.state(job) == (JobState.DONE, "cleanup")


def test_a_machine_that_stood_still_goes_on(world: World) -> None:
    """Its lease is somebody else's: later again, no bug, no password forgotten."""
    job = world.started("calvin")
    world.mail.copying = [raising(LeaseLost("gone"))]
    world.run(job)
    assert world.state(job) == (JobState.DUE, "copy")
    world.clock.advance(minutes=1)
    world.run(job)
    assert world.state(job) == (JobState.DONE, "cleanup")


def test_a_bug_is_a_bug_and_no_missing_password(world: World) -> None:
    """A KeyError in the mail engine is told with a reference; a missing password asks for it."""
    job = world.backup("calvin")
    world.mail.planning = [raising(KeyError("x"))]
    world.give(job, "source")
    world.run(job)
    assert world.state(job) == (JobState.FAILED, "cleanup")

    job = world.started("calvin")
    with world.store.begin() as tx:
        tx.passwords.forget(job, "source")
    world.run(job)
    assert world.state(job) == (JobState.WAITING, "access")


def test_a_cancel_during_the_preview_is_not_lost(world: World) -> None:
    """The turn under way ends in waiting for Start; the wish is found after it."""
    job = world.backup("calvin")

    def cancelled() -> Plan:
        world.cancel(job)
        return Plan()

    world.mail.planning = [cancelled]
    world.give(job, "source")
    world.run(job)
    assert world.state(job) == (JobState.CANCELLED, "cleanup")
    assert world.open_rows() == (0, 0)


# --- what was agreed to ----------------------------------------------------------------------------------------------


def test_no_answer_is_no_difference(world: World) -> None:
    """No look-ups left, or nobody found: what was confirmed within a day holds."""
    job = world.started("calvin")
    world.found["calvin@corp.test"] = NOBODY
    world.run(job)
    assert world.state(job) == (JobState.DONE, "cleanup")


def test_what_was_confirmed_long_ago_waits_for_an_answer(world: World) -> None:
    """Told once, tried every hour; it goes on when it is confirmed."""
    job = world.started("calvin")
    with world.store.begin() as tx:
        tx.mailboxes.at("calvin@corp.test").confirmed_at = tx.now - timedelta(hours=25)  # type: ignore[union-attr]
    world.found["calvin@corp.test"] = NOBODY
    for _ in range(3):
        world.run(job)
        assert world.state(job) == (JobState.DUE, "copy")
        world.clock.advance(hours=1)
    assert not world.mail.limits, "something was copied"
    assert sum("cannot confirm" in each for each in world.told("mei")) == 1
    world.found.clear()
    world.run(job)
    assert world.state(job) == (JobState.DONE, "cleanup")


def test_another_owner_is_a_difference(world: World) -> None:
    """Nothing is copied."""
    job = world.started("calvin")
    with world.store.begin() as tx:
        tx.mailboxes.member_has("tao", "calvin@corp.test", "look-up")
    world.run(job)
    assert world.state(job) == (JobState.CANCELLED, "cleanup")
    assert world.data(job)["ending"] == "void"
    assert not world.mail.limits


def test_a_later_check_asks_who_has_the_target_now(world: World) -> None:
    """Months later the page goes to nobody's former mailbox."""
    job = world.backup("calvin", target="ahing@corp.test")
    world.give(job, "source")
    world.give(job, "target", "ahing")
    world.run(job)
    world.does("mei", backup.start, job)
    world.run(job)
    assert world.state(job) == (JobState.DONE, "cleanup")
    world.does("mei", verification.verify_again, job)
    world.run(job + 1)
    assert world.links(job + 1) == [("ahing", "target")]
    with world.store.begin() as tx:
        tx.mailboxes.member_has("tao", "ahing@corp.test", "look-up")
    world.does("mei", verification.verify_again, job)
    world.run(job + 2)
    assert world.links(job + 2) == []
    assert world.state(job + 2) == (JobState.CANCELLED, "cleanup")
    assert any("belongs to somebody else now" in each for each in world.told("mei"))


# --- complete --------------------------------------------------------------------------------------------------------


def left(world: World, userid: str) -> None:
    """A member leaves."""
    with world.store.begin() as tx:
        member = tx.members.find(userid)
        assert member is not None
        tx.members.left(member)


def ended_row(world: World) -> None:
    """What a look-up that found nobody did to the row once."""
    with world.store.begin() as tx:
        tx.mailboxes.at("calvin@corp.test").ended_at = tx.now  # type: ignore[union-attr]


def given_on(world: World) -> None:
    """He left, and somebody else has the address now."""
    left(world, "calvin")
    with world.store.begin() as tx:
        tx.mailboxes.member_has("tao", "calvin@corp.test", "look-up")


@pytest.mark.parametrize(
    ("before_check", "complete"),
    [
        (lambda world: None, False),
        (ended_row, False),
        (lambda world: left(world, "calvin"), True),
        (given_on, False),
    ],
)
def test_complete_only_after_its_owner_left(
    world: World, before_check: Callable[[World], None], complete: bool
) -> None:
    """Never because a row says that the mailbox ended, nor when the address lives on."""
    job = world.started("calvin")
    world.mail.copying = [lambda: before_check(world)]
    world.run(job)
    outcome = world.data(job)["outcome"]
    assert outcome["complete"] is complete, outcome


def test_who_leaves_during_the_check_may_have_had_mail_since(world: World) -> None:
    """The check must begin after he left."""
    job = world.started("calvin")

    def leaves() -> None:
        world.clock.advance(seconds=1)
        left(world, "calvin")

    world.mail.checking = [leaves]
    world.run(job)
    assert world.data(job)["outcome"]["against"] == ["backup.partial_receiving"]


def test_mail_that_keeps_coming_is_a_reason(world: World) -> None:
    """After three rounds it says so."""
    job = world.started("calvin")
    left(world, "calvin")
    world.mail.newer = 2
    world.run(job)
    assert world.data(job)["rounds"] == backup_receipt.VERIFY_ROUNDS_MAX
    assert world.data(job)["outcome"]["against"] == ["backup.partial_newer"]


@pytest.mark.parametrize("others", [[], ["backup.partial_window"]])
def test_an_admin_accepts_the_list_of_refused_mails(world: World, others: list[str]) -> None:
    """Then nothing else may be against it; said once, and in the audit."""
    job = world.started("calvin")
    world.run(job)
    with pytest.raises(UserError, match="nothing_to_accept"):
        world.does("mei", backup_receipt.accept, job)
    outcome = {
        "copied": 3, "refused": 2, "verified": True, "complete": False, "against": [*others, "backup.partial_refused"],
    }  # fmt: skip
    with world.store.begin() as tx:
        tx.jobs.put(tx.jobs.get(job), outcome=outcome)
    with pytest.raises(UserError, match="only_admins"):
        world.does("tao", backup_receipt.accept, job)
    world.does("yan", backup_receipt.accept, job)
    assert world.data(job)["outcome"]["complete"] is not bool(others)
    assert world.audited("backup.accepted") == 1
    with world.store.begin() as tx:
        backups = tx.recycle_bin.backups_of(tx.jobs.get(job).data["source"])
        assert backups[0].data["outcome"]["complete"] is not bool(others)
    with pytest.raises(UserError, match="nothing_to_accept"):
        world.does("mei", backup_receipt.accept, job)


def test_what_the_target_does_not_take_goes_as_attachments_when_an_admin_says_so(world: World) -> None:
    """`wrap`: looked at and started like any other, each such mail planned once more and once only; then it is told."""
    job = world.started("calvin")
    ledgers: list[SqlLedger] = []

    def refuses() -> None:
        """What a copy leaves behind: one mail refused for its bytes, one for its size."""
        with world.store.begin() as tx:
            row = tx.jobs.get(job)
            keys = f"mailbox:{row.data['source']}", f"mailbox:{row.data['target']}", str(row.data["root"])
        ledger = SqlLedger(EngineDatabase(world.store.engine), *keys)
        ledgers.append(ledger)
        folder = ledger.add_folder(
            "INBOX", source_uidvalidity=1, source_uidnext=3, target="x", target_uidvalidity=1, target_mark=1
        )
        ledger.plan(folder.id, [(1, 10, "", ""), (2, 20, "", "")])
        ledger.refused(folder.id, 1, reason="content", detail="NUL", subject="odd", date="d")
        ledger.refused(folder.id, 2, reason="too_big", detail="20", subject="big", date="d")
        ledger.flush()

    world.mail.copying = [refuses]
    world.run(job)
    with pytest.raises(UserError, match="only_admins"):
        world.does("tao", backup_receipt.wrap, job)
    assert f"`wrap {job}` puts it, unchanged" in "\n".join(world.told("mei"))
    assert not world.mail.limits[-1].wrap_refused

    world.does("mei", backup_receipt.wrap, job)
    assert world.audited("backup.wrap_asked") == 1
    with pytest.raises(UserError, match="nothing_to_wrap"):
        world.does("mei", backup_receipt.wrap, job)
    world.run(job)
    world.give(job, "source")
    world.run(job)
    assert world.state(job) == (JobState.WAITING, "ready")
    assert not ledgers[0].wrapped("x"), "nothing before Start"
    world.does("mei", backup.start, job)

    def stores() -> None:
        (line,) = ledgers[0].wrapped("x")
        assert (line.uid, line.state) == (1, "planned")
        assert [each.uid for each in ledgers[0].lines(line.folder_id, state="planned")] == [1, 2], "the other as it is"
        ledgers[0].stored(line.folder_id, 1, target_uid=5, sha256=b"x" * 32)
        ledgers[0].refused(line.folder_id, 2, reason="too_big", detail="20", subject="big", date="d")
        ledgers[0].flush()

    world.mail.copying = [stores]
    world.run(job)
    assert world.mail.limits[-1].wrap_refused
    outcome = world.data(job)["outcome"]
    assert (outcome["refused"], outcome["wrappable"], outcome["attached"]) == (1, 0, 1)
    assert "As an attachment: “odd” of d, 10 B, in INBOX: stored as original.eml" in "\n".join(world.told("mei"))
    with pytest.raises(UserError, match="nothing_to_wrap"):
        world.does("mei", backup_receipt.wrap, job)


# --- connections and lines -------------------------------------------------------------------------------------------


def holding(world: World, job: int, **wanted: int) -> Connections:
    """The connections a job gets now."""
    with world.store.begin() as tx:
        wakes = tx.jobs.get(job).wakes
    context = world.runner.context(job, wakes)
    assert context is not None
    return Connections(context, **wanted)


def test_all_copies_together_keep_to_the_connections_there_are(world: World) -> None:
    """One alone has all four; a second waits, says so, and then each has two; a third waits."""
    one = world.started("calvin")
    first = holding(world, one, least=2, most=4)
    assert first.count == 4
    two = world.backup("ahing")
    world.give(two, "source", "ahing")
    world.run(two)
    assert world.state(two) == (JobState.DUE, "preview")
    assert world.data(two)[WANTED] is True
    first.give_back()
    world.clock.advance(seconds=6)
    world.run(two)
    assert world.state(two) == (JobState.WAITING, "ready")
    assert world.data(two)[WANTED] is False
    world.does("mei", backup.start, two)
    held = [holding(world, job, least=2, most=4) for job in (one, two)]
    assert [each.count for each in held] == [2, 2]
    with held[0], held[1]:
        pass
    assert holding(world, one, least=2, most=4).count == 2


def test_connections_are_held_however_long_a_stage_takes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison says nothing meanwhile: its leases, and the writer's beside them, are renewed."""
    monkeypatch.setattr(connections, "KEEP_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(connections, "LEASE_SECONDS", 2.0)
    job = world.started("calvin")
    with world.store.begin() as tx:
        wakes = tx.jobs.get(job).wakes
    context = world.runner.context(job, wakes)
    assert context is not None
    leases = context.services.leases
    leases.acquire("writer", "me", 2.0)
    with Connections(context, least=4, most=4, beside=("writer", "me", 2.0)):
        time.sleep(2.5)
        names = [*(f"{connections.LEASE}{number}" for number in range(4)), "writer"]
        assert [leases.acquire(name, "other", 1.0) for name in names] == [None] * 5
    assert leases.acquire(names[0], "other", 1.0) is not None


def test_a_copy_that_needs_fewer_gives_the_others_back(world: World) -> None:
    """While it runs: another job may log in with them, and they are not held on to either."""
    one, two = world.started("calvin"), world.started("ahing")
    with world.store.begin() as tx:
        tx.jobs.put(tx.jobs.get(two), **{WANTED: True})
    seen: list[int] = []

    def others() -> None:
        with holding(world, two, least=1, most=4) as held:
            seen.append(held.count)

    def fewer() -> None:
        world.mail.on_fewer(1)  # to the target; one is to the source
        others()

    with holding(world, one, least=4, most=4) as held:
        held.keep_only(3)
        held.keep()
        others()
    world.mail.copying = [fewer]
    world.run(one)
    assert (world.mail.limits[0].connections, seen) == (3, [1, 2])


def test_a_copy_uses_what_it_was_given(world: World) -> None:
    """One connection to the source, the rest to the target; all are given back."""
    job = world.started("calvin")
    world.run(job)
    assert [each.connections for each in world.mail.limits] == [3]
    assert world.mail.limits[0].seconds_max >= 240
    with world.store.begin() as tx:
        tx.jobs.wake(tx.jobs.get(job), "copy")
    assert holding(world, job, least=4, most=4).count == 4


def test_a_slice_that_others_wait_for_lets_them_in(world: World) -> None:
    """It goes on in a while, in a workflow of its own."""
    one, two = world.started("calvin"), world.started("ahing")
    with world.store.begin() as tx:
        tx.jobs.put(tx.jobs.get(two), **{WANTED: True})
    part = CopyOutcome(False, 1, 0, 5, 1.0)
    world.mail.copying = [lambda: part]
    world.run(one)
    with world.store.begin() as tx:
        row = tx.jobs.get(one)
        assert (row.stage, row.state, row.due_at > tx.now) == ("copy", JobState.DUE, True)


def test_outside_of_its_hours_a_copy_waits(world: World) -> None:
    """Until they begin, not for a while."""
    job = world.started("calvin")
    part = CopyOutcome(False, 0, 0, 0, 1.0, waits_seconds=7200)
    world.mail.copying = [lambda: part]
    world.run(job)
    with world.store.begin() as tx:
        row = tx.jobs.get(job)
        assert (row.stage, row.due_at) == ("copy", tx.now + timedelta(hours=2))
    assert world.mail.limits[0].adaptive


def test_a_process_that_stops_ends_its_slice(world: World) -> None:
    """Nothing spins while it stops: the rest is due in a moment, for the next life."""
    job = world.started("calvin")
    part = CopyOutcome(False, 0, 0, 0, 1.0)
    world.mail.copying = [lambda: world.services.stopping.set() or part]
    world.run(job)
    with world.store.begin() as tx:
        assert tx.jobs.get(job).due_at > tx.now
    assert len(world.mail.limits) == 1


def test_only_what_takes_hours_waits_in_the_long_line(world: World) -> None:
    """A preview, an access or a cleanup never waits behind copies."""
    long = all_work().long_jobs
    assert {"backup.copy", "backup.verify", "verify.check"} <= long
    assert not {"backup", "verify", "backup.cleanup", "backup.preview"} & long
    job = world.started("calvin")
    with world.store.begin() as tx:
        assert job_start(tx.jobs.get(job)).stage == "copy"
        assert tx.session.query(Approval).filter_by(status=ApprovalStatus.PENDING).count() == 0
