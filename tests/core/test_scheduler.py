"""The tick: what is due is started, what ended in an error again, each sweep once a slot; and jobs' turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from bot import tidy
from bot.errors import NetworkError
from bot.jobs import HISTORY_KEPT, Start
from bot.mail.errors import LoginRefused
from bot.policy import Policy, Roles
from bot.scheduler import Scheduler, Sweep
from bot.settings import Settings
from bot.vault import Vault, new_key
from bot.wecom.errcodes import WeComError
from bot.work import DATABASE_FAILURES_MAX, FAILURES_MAX, JobContext, Runner, Services, SweepStep, Work
from storage.leases import Leases
from storage.models import Delivery, JobState
from storage.store import Store
from tests.core.conftest import FakeWeCom, HandClock


@dataclass
class Started:
    """In place of the workflows: remembers, and knows what is alive."""

    ids: list[str] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    sweeps: list[str] = field(default_factory=list)
    failing: bool = False

    def start(self, start: Start) -> None:
        self.ids.append(start.workflow_id)

    def start_sweep(self, name: str, slot: str) -> None:
        if self.failing:
            raise OperationalError("INSERT", {}, Exception("away"))
        self.sweeps.append(f"{name}-{slot}")

    def alive(self, start: Start) -> bool | None:
        if start.workflow_id in self.ended:
            return False
        return True if start.workflow_id in self.ids else None


@pytest.fixture
def started() -> Started:
    return Started()


@pytest.fixture
def scheduler(store: Store, started: Started, clock: HandClock) -> Scheduler:
    sweeps = [Sweep("hourly", timedelta(hours=1)), Sweep("daily", timedelta(days=1))]
    return Scheduler(store, started, clock, sweeps, tick_seconds=30)  # type: ignore[arg-type]


# --- the tick


def test_a_lost_start_is_healed_and_an_error_gets_another_attempt(
    store: Store, scheduler: Scheduler, started: Started, clock: HandClock
) -> None:
    """A row that has no workflow gets one; one whose workflow ended gets another id; a living one is left alone."""
    with store.begin() as tx:
        assert tx.inbox.add("key", "mei", "TextMessage", {}) is not None
        tx.deliveries.add("mei", "text", {"text": "a"})
        tx.jobs.add("lookup", asked_by="mei", params={})
        tx.jobs.wake(tx.jobs.add("lookup", asked_by="mei", params={}), "start", due_at=clock.now() + timedelta(hours=1))
    scheduler.tick()
    assert started.ids == []  # as young as this, the workflow that brought it is probably on its way
    clock.advance(seconds=5)
    scheduler.tick()
    assert started.ids == ["message-1-1", "deliver-1-1", "lookup-1-1"]
    scheduler.tick()
    assert len(started.ids) == 3
    started.ended.update(started.ids)
    scheduler.tick()
    assert started.ids[3:] == ["message-1-2", "deliver-1-2", "lookup-1-2"]
    clock.advance(hours=1)
    scheduler.tick()
    assert started.ids[6:] == ["lookup-2-2"]


def test_only_a_members_next_reply_is_started(
    store: Store, scheduler: Scheduler, started: Started, clock: HandClock
) -> None:
    """The ones behind it follow by themselves."""
    with store.begin() as tx:
        for receiver in ("mei", "mei", "ling"):
            tx.deliveries.add(receiver, "text", {"text": "a"})
    clock.advance(seconds=5)
    scheduler.tick()
    assert started.ids == ["deliver-1-1", "deliver-3-1"]


def test_a_sweep_is_started_once_a_slot(store: Store, scheduler: Scheduler, started: Started, clock: HandClock) -> None:
    """By this process: the look-up is dear. Another replica starts the same id, which is one workflow."""
    for _ in range(3):
        scheduler.tick()
    assert len(started.sweeps) == 2
    clock.advance(hours=1)
    started.failing = True
    with pytest.raises(OperationalError):
        scheduler.tick()
    started.failing = False
    scheduler.tick()
    scheduler.tick()
    assert [each.partition("-")[0] for each in started.sweeps] == ["hourly", "daily", "hourly"]
    assert len(set(started.sweeps)) == 3


def test_a_slot_outlives_no_history(store: Store, started: Started, clock: HandClock) -> None:
    """Once its workflow is forgotten, a slot would be run again."""
    with pytest.raises(ValueError, match="monthly"):
        Scheduler(store, started, clock, [Sweep("monthly", HISTORY_KEPT)], tick_seconds=30)  # type: ignore[arg-type]


# --- turns of jobs


@pytest.fixture
def services(store: Store, settings: Settings, clock: HandClock) -> Services:
    vault = Vault([new_key()])
    return Services(store, FakeWeCom(), settings, Policy(), vault, clock, Leases(store.engine), "one")  # type: ignore[arg-type]


def runner_of(services: Services, function: Callable[[JobContext], None]) -> Runner:
    work = Work()
    work.job("lookup")(function)
    return Runner(work, services, lambda tx: Roles({}))


def new_job(store: Store) -> int:
    with store.begin() as tx:
        return tx.jobs.add("lookup", asked_by="mei", params={}).id


def told(store: Store) -> int:
    with store.begin() as tx:
        return len(tx.session.scalars(select(Delivery)).all())


@pytest.mark.parametrize(
    ("error", "seconds"), [(NetworkError("cut"), 5), (WeComError(-1, "busy"), 5), (WeComError(45009, "freq"), 65)]
)
def test_a_job_waits_longer_each_time_and_then_gives_up(
    store: Store, services: Services, clock: HandClock, error: Exception, seconds: int
) -> None:
    """The asker is told once, in the end."""

    def fail(job: JobContext) -> None:
        raise error

    runner, job_id = runner_of(services, fail), new_job(store)
    waits = []
    for wakes in range(1, FAILURES_MAX + 1):
        turn = runner.turn(job_id, wakes)
        assert turn.over
        with store.begin() as tx:
            job = tx.jobs.get(job_id)
            if job.state is not JobState.DUE:
                break
            waits.append((job.due_at - clock.now()).total_seconds())
            clock.at = job.due_at
    assert waits[:2] == [seconds, seconds * 2]
    assert len(waits) == FAILURES_MAX - 1
    assert max(waits) <= 900
    with store.begin() as tx:
        assert tx.jobs.get(job_id).state is JobState.FAILED
    assert told(store) == 1


@pytest.mark.parametrize("error", [WeComError(60020, "not allow"), LoginRefused("no"), KeyError("a bug")])
def test_what_only_a_person_can_mend_ends_at_once(store: Store, services: Services, error: Exception) -> None:
    """Told with the remedy, or with a reference."""

    def fail(job: JobContext) -> None:
        raise error

    job_id = new_job(store)
    turn = runner_of(services, fail).turn(job_id, 1)
    assert turn.over
    assert [each.what for each in turn.starts] == ["deliver"]
    with store.begin() as tx:
        assert tx.jobs.get(job_id).state is JobState.FAILED


@pytest.mark.parametrize(
    "error", [OperationalError("", {}, Exception("locked")), IntegrityError("", {}, Exception("twice"))]
)
def test_a_busy_database_is_tried_again_but_not_for_ever(store: Store, services: Services, error: Exception) -> None:
    """The workflow ends in an error and the tick gives another; a bug that looks the same ends after a few."""

    def fail(job: JobContext) -> None:
        raise error

    runner, job_id = runner_of(services, fail), new_job(store)
    for wakes in range(1, DATABASE_FAILURES_MAX + 1):
        with pytest.raises(type(error)):
            runner.turn(job_id, wakes)
        with store.begin() as tx:
            assert tx.jobs.next_wake(job_id, wakes) == wakes + 1
    runner.turn(job_id, DATABASE_FAILURES_MAX + 1)
    with store.begin() as tx:
        assert tx.jobs.get(job_id).state is JobState.FAILED


def test_a_job_moved_on_by_somebody_else_writes_nothing(store: Store, services: Services) -> None:
    """Cancelled, or woken anew while a slice was under way."""

    def slice_(job: JobContext) -> None:
        with store.begin() as tx:
            tx.jobs.end(tx.jobs.get(job.job_id), JobState.CANCELLED)
        assert job.cancelled()
        with job.begin() as step:
            step.put(written=True)

    job_id = new_job(store)
    turn = runner_of(services, slice_).turn(job_id, 1)
    assert (turn.over, turn.starts) == (True, [])
    with store.begin() as tx:
        job = tx.jobs.get(job_id)
        assert (job.state, job.data) == (JobState.CANCELLED, {})
    assert runner_of(services, slice_).turn(job_id, 1).over


def test_a_turn_goes_on_until_the_row_waits_or_wakes(store: Store, services: Services) -> None:
    """The same workflow for slices of a stage, another for the next stage."""

    def slices(job: JobContext) -> None:
        with job.begin() as step:
            done = job.data.get("done", 0) + 1
            step.put(done=done)
            if done == 2:
                step.go("next")

    runner, job_id = runner_of(services, slices), new_job(store)
    assert not runner.turn(job_id, 1).over
    turn = runner.turn(job_id, 1)
    assert turn.over
    assert [each.workflow_id for each in turn.starts] == ["lookup-1-2"]
    assert runner.turn(job_id, 1).over  # the old workflow, recovered after a crash
    with store.begin() as tx:
        assert tx.jobs.get(job_id).data == {"done": 2}


# --- sweeps


def test_a_bug_in_a_sweep_ends_the_sweep_alone(
    store: Store, services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    """Logged; what it wrote is undone; one that is gone with a release does nothing."""
    work = Work()

    @work.sweep("bad", timedelta(hours=1))
    def bad(sweep: SweepStep) -> None:
        sweep.tx.jobs.add("lookup", asked_by="bot", params={})
        raise KeyError("a bug")

    runner = Runner(work, services, lambda tx: Roles({}))
    assert runner.sweep("bad", "1") == []
    assert "sweep_failed" in "".join(capsys.readouterr())
    with store.begin() as tx:
        assert tx.jobs.find(1) is None
    assert runner.sweep("gone", "1") == []


def test_frequent_sweeps_of_a_period_go_together(store: Store, services: Services) -> None:
    """In one workflow, which costs more than what they do; a database that is away in one of them stops no other."""
    work, ran = Work(), list[str]()
    minute = timedelta(minutes=1)
    for name, every in (("first", minute), ("away", minute), ("last", minute), ("daily", timedelta(days=1))):

        def sweep(sweep: SweepStep, name: str = name) -> None:
            ran.append(name)
            if name == "away":
                raise OperationalError("", {}, Exception("locked"))
            sweep.tx.moments.happened(name)

        work.sweep(name, every)(sweep)
    assert work.rounds() == {
        "every-60s": (minute, ["first", "away", "last"]),
        "daily": (timedelta(days=1), ["daily"]),
    }
    runner = Runner(work, services, lambda tx: Roles({}))
    with pytest.raises(OperationalError):
        runner.sweep("every-60s", "1")
    assert ran == ["first", "away", "last"]
    runner.sweep("daily", "1")
    with store.begin() as tx:
        assert all(tx.moments.last(each) for each in ("first", "last", "daily"))
        assert tx.moments.last("away") is None
    assert runner.sweep("first", "1") == []  # begun by a release before this one
    assert ran[-1] == "first"


@pytest.fixture
def old_and_new(store: Store, services: Services) -> tuple[Vault, str]:
    """A secret under an old key, with the new one in front."""
    old, new = new_key(), new_key()
    with store.begin() as tx:
        job = tx.jobs.add("backup", asked_by="mei", params={})
        tx.passwords.keep(job.id, "source", given_by="ahing", ciphertext=Vault([old]).lock("hush"))
        tx.passwords.keep(job.id, "target", given_by="mei", ciphertext=Vault([new_key()]).lock("lost"))
    return Vault([new, old]), new


def test_the_night_forgets_and_rotates(
    store: Store,
    services: Services,
    clock: HandClock,
    old_and_new: tuple[Vault, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """BOT_DATA_KEEP_DAYS; a secret whose key is gone is named in the log and stops nothing."""
    both, new = old_and_new
    with store.begin() as tx:
        row = tx.inbox.add("key", "mei", "TextMessage", {})
        assert row is not None
        tx.inbox.handled(row, [])
        tx.audit.add("mei", "tried", "a")
    clock.advance(days=services.settings.bot_data_keep_days + 1)
    night = Services(
        store, services.client, services.settings, services.policy, both, clock, services.leases, services.replica
    )
    assert Runner(tidy.work, night, lambda tx: Roles({})).sweep("tidy", "1") == []
    with store.begin() as tx:
        assert tx.session.scalar(text("SELECT count(*) FROM inbox")) == 0
        assert tx.audit.broken_at() is None
        secret = tx.passwords.find(1, "source")
        assert secret is not None
        assert Vault([new]).open(secret.ciphertext) == "hush"
    assert "secret_not_rotated" in "".join(capsys.readouterr())
