"""What the workflow library must do for us, tried on it: order, retries, adoption, lines of their own, forgetting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dbos._queue import Queue
from dbos._sys_db import SystemDatabase
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from bot.jobs import ADOPTING, HISTORY_KEPT, Start, Turn, Workflows
from storage.leases import Leases
from storage.store import Store, open_engine
from tests.servers.tables import Kept

SECONDS_MAX = 20.0


class Scripted:
    """A worker that remembers what it was asked, and does what a test tells it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.begun: list[str] = []
        self.faults = 0
        self.at_work: list[int] = []
        self.most_at_once = 0
        self.gate = threading.Event()
        self.gate.set()

    def decide(self, inbox_id: int) -> list[Start]:
        if self.faults:
            self.faults -= 1
            raise OperationalError("SELECT", {}, Exception("database is locked"))
        sender = inbox_id % 5
        self.at_work.append(sender)
        self.most_at_once = max(self.most_at_once, self.at_work.count(sender))
        self.seen.append(f"message {inbox_id}")
        time.sleep(0.01)
        self.at_work.remove(sender)
        return [Start("deliver", inbox_id, 1, "mei")]

    def deliver(self, delivery_id: int, attempt: int) -> list[Start]:
        self.seen.append(f"deliver {delivery_id} {attempt}")
        return []

    def turn(self, job_id: int, wakes: int) -> Turn:
        self.begun.append(f"job {job_id}")
        if job_id < 10:
            assert self.gate.wait(SECONDS_MAX)
        self.seen.append(f"job {job_id}")
        return Turn(True, [])

    def sweep(self, name: str, slot: str) -> list[Start]:
        self.seen.append(f"{name} {slot}")
        return []

    def wait_for(self, *wanted: str) -> None:
        """Until all of it was seen."""
        wait_until(lambda: set(wanted) <= set(self.seen), f"{wanted} in {self.seen}")


def wait_until(check: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + SECONDS_MAX
    while not check():
        assert time.monotonic() < until, what
        time.sleep(0.02)


@pytest.fixture
def worker() -> Scripted:
    return Scripted()


@pytest.fixture
def workflow_url(kept: Kept, tmp_path: Path) -> str:
    """The same PostgreSQL, or a file of its own."""
    return kept.url if kept.url.startswith("postgresql") else f"sqlite:///{tmp_path / 'workflows.sqlite'}"


@pytest.fixture
def workflows(store: Store, workflow_url: str, worker: Scripted) -> Iterator[Workflows]:
    """At work as replica `one`."""
    made = Workflows(
        workflow_url,
        worker,
        Leases(store.engine),
        replica="one",
        poll_seconds=0.05,
        long_jobs={"backup"},
        long_jobs_max=1,
    )
    made.launch()
    yield made
    worker.gate.set()
    made.stop()


def change(url: str, *statements: str) -> None:
    """Something only a test does to the tables of the library."""
    engine = open_engine(url)
    schema = "dbos." if engine.dialect.name == "postgresql" else ""
    with engine.begin() as connection:
        for each in statements:
            connection.execute(text(each.replace("@", schema)))
    engine.dispose()


def test_a_message_is_decided_once_and_starts_what_it_names(workflows: Workflows, worker: Scripted) -> None:
    """Starting twice is once; a busy database is tried again at once, in the same workflow."""
    start = Start("message", 1, 1, "mei")
    assert workflows.alive(start) is None
    worker.faults = 2
    for _ in range(3):
        workflows.start(start)
    worker.wait_for("message 1", "deliver 1 1")
    wait_until(lambda: workflows.alive(start) is False, "ended")
    workflows.start(start)
    assert worker.seen == ["message 1", "deliver 1 1"]


def test_the_messages_of_a_sender_are_taken_one_at_a_time(workflows: Workflows, worker: Scripted) -> None:
    """Twenty at once from five. In which order is ours to see to: those of one moment come by the text of their id."""
    for number in range(20):
        workflows.start(Start("message", number, 1, f"member{number % 5}"))
    worker.wait_for(*[f"message {number}" for number in range(20)])
    assert len([each for each in worker.seen if each.startswith("message")]) == 20
    assert worker.most_at_once == 1


def test_what_is_started_waits_for_no_watch(
    store: Store, workflow_url: str, worker: Scripted, workflows: Workflows
) -> None:
    """A queue that is looked at once a minute is looked at when something comes; a stop waits for what is under way."""
    workflows.stop()
    slow = Workflows(workflow_url, worker, Leases(store.engine), replica="one", poll_seconds=60.0)
    slow.launch()
    slow.start(Start("message", 1, 1, "mei"))
    worker.wait_for("message 1", "deliver 1 1")
    worker.gate.clear()
    slow.start(Start("job", 7, 1, "7", "lookup"))
    wait_until(lambda: "job 7" in worker.begun, "begun")
    threading.Timer(0.3, worker.gate.set).start()
    slow.stop()
    assert worker.seen[-1] == "job 7"


def test_an_empty_queue_is_looked_at_and_not_asked(
    workflows: Workflows, worker: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's own question costs ten times a look; an idle bot would spend a twentieth of a core on it."""
    asked: list[str] = []
    ask = SystemDatabase.start_queued_partitioned_workflows

    def noted(self: SystemDatabase, queue: Queue, *more: Any, **options: Any) -> list[str]:
        asked.append(queue.name)
        return ask(self, queue, *more, **options)

    monkeypatch.setattr(SystemDatabase, "start_queued_partitioned_workflows", noted)
    for number in range(3):  # each is more than a look apart: so the queues were looked at in between
        workflows.start(Start("job", 10 + number, 1, "10", "lookup"))
        worker.wait_for(f"job {10 + number}")
    assert set(asked) == {"jobs"}


def test_short_jobs_do_not_wait_behind_long_ones(workflows: Workflows, worker: Scripted) -> None:
    """A copy of hours must not hold up a look-up."""
    worker.gate.clear()
    for number in range(3):
        workflows.start(Start("job", number, 1, str(number), "backup"))
    workflows.start(Start("job", 10, 1, "10", "lookup"))
    worker.wait_for("job 10")
    assert worker.seen == ["job 10"]
    worker.gate.set()
    worker.wait_for("job 0", "job 1", "job 2")


def test_what_a_dead_replica_left_is_taken_over(
    store: Store, workflows: Workflows, worker: Scripted, workflow_url: str
) -> None:
    """Of a line with partitions, and a sweep, which waits in no line; by one replica at a time."""
    workflows.start_sweep("night", "7")
    workflows.start_sweep("night", "7")
    workflows.start(Start("deliver", 5, 1, "mei"))
    worker.wait_for("night 7", "deliver 5 1")
    wait_until(lambda: workflows.alive(Start("deliver", 5, 1)) is False, "ended")
    wait_until(lambda: workflows.alive(Start("job", 7, 0, "", "night")) is None, "the sweep has an id of its own")
    assert workflows.adopt() == 0
    change(
        workflow_url,
        "DELETE FROM @operation_outputs",
        "UPDATE @workflow_status SET status = 'PENDING', executor_id = 'dead', output = NULL, completed_at = NULL",
    )
    worker.seen.clear()
    other = Leases(store.engine)
    assert other.acquire(ADOPTING, "another", 30) is not None
    assert workflows.adopt() == 0
    other.release(ADOPTING, "another")
    assert workflows.adopt() == 2
    worker.wait_for("night 7", "deliver 5 1")
    assert sorted(worker.seen) == ["deliver 5 1", "night 7"]


def test_a_replica_takes_nothing_from_itself(store: Store, workflows: Workflows, worker: Scripted) -> None:
    """On a machine that stands still for a while its own lease may run out between a beat and the look at all."""
    worker.gate.clear()
    workflows.start(Start("job", 1, 1, "1", "lookup"))
    wait_until(lambda: worker.begun == ["job 1"], "begun")
    Leases(store.engine).release("executor:one", "one")
    assert workflows.adopt() == 0


def test_history_is_forgotten_after_a_while(workflows: Workflows, worker: Scripted, workflow_url: str) -> None:
    """What ended long ago; what ended yesterday is still there."""
    for number in (1, 2):
        workflows.start(Start("deliver", number, 1, "mei"))
    worker.wait_for("deliver 1 1", "deliver 2 1")
    wait_until(lambda: workflows.alive(Start("deliver", 2, 1)) is False, "ended")
    wait_until(lambda: workflows.alive(Start("deliver", 1, 1)) is False, "ended")
    old = int((datetime.now(UTC) - HISTORY_KEPT - timedelta(hours=1)).timestamp() * 1000)
    change(
        workflow_url,
        f"UPDATE @workflow_status SET completed_at = {old} WHERE workflow_uuid = 'deliver-1-1'",  # noqa: S608 -- a number of ours
    )
    assert workflows.forget() == 1
    assert workflows.alive(Start("deliver", 1, 1)) is None
    assert workflows.alive(Start("deliver", 2, 1)) is False
