"""
Durable workflows. DBOS lives here and nowhere else.

Our own rows are the truth; a workflow only carries one of them over a crash. Its id is made of the row's id and the
number of the attempt, so that starting it twice is one workflow, and a new attempt is another. What a workflow does
stands in `Worker`; each call of it is one step, runs at least once, and must bear running twice.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol, TypedDict

import structlog
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetEnqueueOptions, SetWorkflowID
from sqlalchemy import bindparam, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

log = structlog.get_logger()

APPLICATION_VERSION = "1"  # constant: a hash of the source would strand every job at an upgrade
SLICES_MAX = 5_000  # turns of one job in one workflow; then a new workflow goes on
LEASE_SECONDS = 15.0
LEASE_PREFIX = "executor:"
ADOPTING = "adopting"  # the lease of who takes over from dead replicas
QUEUE_THREAD = "queue-worker-"  # how DBOS names the thread of a queue
LIVE = ("PENDING", "ENQUEUED", "DELAYED")
ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
HISTORY_KEPT = timedelta(days=14)  # longer than the slot of any sweep, which must not run again in it
FORGET_AT_ONCE = 500
FORGET_ROUNDS_MAX = 40


@dataclass(frozen=True)
class Start:
    """A row whose workflow is to be started: its kind, id, attempt, and the line it waits in."""

    what: Literal["message", "deliver", "job"]
    id: int
    attempt: int
    lane: str = ""
    name: str = ""  # of a job: its kind
    stage: str = ""  # of a job

    @property
    def workflow_id(self) -> str:
        """`message-7-1`, `deliver-9-1`, `backup-3-2`."""
        return f"{self.name or self.what}-{self.id}-{self.attempt}"


@dataclass(frozen=True)
class Turn:
    """What one turn of a job came to."""

    over: bool  # nothing more for this workflow
    starts: list[Start]


class Worker(Protocol):
    """What the workflows call. Every method opens its own transactions and may be called again after a crash."""

    def decide(self, inbox_id: int) -> list[Start]: ...

    def deliver(self, delivery_id: int, attempt: int) -> list[Start]: ...

    def turn(self, job_id: int, wakes: int) -> Turn: ...

    def sweep(self, name: str, slot: str) -> list[Start]: ...


class Leases(Protocol):
    """The part of `storage.leases` that tells live replicas from dead ones."""

    def acquire(self, name: str, holder: str, seconds: float) -> int | None: ...

    def release(self, name: str, holder: str) -> None: ...

    def live_holders(self, prefix: str) -> set[str]: ...

    def forget(self, prefix: str, seconds: float) -> None: ...


class Bell(list[threading.Event]):
    """
    Wakes the thread that looks after a queue as soon as something stands in it, so that nobody waits for its watch.

    DBOS has no setting for this, but keeps the events that end its threads in a list, and each thread waits on its own
    event between two looks: this list lets that wait end early.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rings: Counter[str] = Counter()
        self._rung = threading.Condition()
        self._heard = threading.local()

    def append(self, event: threading.Event) -> None:
        """Take an event in before its thread begins to wait on it."""

        def wait(timeout: float | None = None) -> bool:
            name = threading.current_thread().name
            line = name.removeprefix(QUEUE_THREAD) if name.startswith(QUEUE_THREAD) else ""
            with self._rung:
                heard = getattr(self._heard, "rings", 0)
                self._rung.wait_for(lambda: event.is_set() or self._rings[line] > heard, timeout)
                self._heard.rings = self._rings[line]
            return event.is_set()

        event.wait = wait  # type: ignore[method-assign]
        super().append(event)

    def ring(self, queue: str = "") -> None:
        """Something stands in a queue; without a name, there are queues."""
        with self._rung:
            self._rings[queue] += 1
            self._rung.notify_all()

    def stop(self) -> None:
        """Have every thread end."""
        for event in self:
            event.set()
        with self._rung:
            self._rung.notify_all()


@dataclass
class _Running:
    """What the workflow functions, which DBOS registers once a process, work for now."""

    worker: Worker | None = None
    long_jobs: frozenset[str] = frozenset()
    bell: Bell = field(default_factory=Bell)

    def get(self) -> Worker:
        if self.worker is None:
            raise RuntimeError("no workflows are running")
        return self.worker


_running = _Running()


def transient(error: BaseException) -> bool:
    """Whether the database was away or two transactions met: the same again may succeed."""
    return isinstance(error, (DBAPIError, PoolTimeout))


class Retries(TypedDict):
    """How often a step is tried again at once; after that its workflow ends, and the tick gives it another."""

    retries_allowed: bool
    max_attempts: int
    interval_seconds: float
    backoff_rate: float
    should_retry: Callable[[BaseException], bool]


RETRIES: Retries = {
    "retries_allowed": True,
    "max_attempts": 4,
    "interval_seconds": 0.5,
    "backoff_rate": 2,
    "should_retry": transient,
}


@DBOS.step(**RETRIES)
def decide_step(inbox_id: int) -> list[dict[str, Any]]:
    return packed(_running.get().decide(inbox_id))


@DBOS.step(**RETRIES)
def deliver_step(delivery_id: int, attempt: int) -> list[dict[str, Any]]:
    return packed(_running.get().deliver(delivery_id, attempt))


@DBOS.step(**RETRIES)
def turn_step(job_id: int, wakes: int) -> dict[str, Any]:
    turn = _running.get().turn(job_id, wakes)
    return {"over": turn.over, "starts": packed(turn.starts)}


@DBOS.step(**RETRIES)
def sweep_step(name: str, slot: str) -> list[dict[str, Any]]:
    return packed(_running.get().sweep(name, slot))


@DBOS.workflow(max_recovery_attempts=None)
def message_workflow(inbox_id: int) -> None:
    enqueue_all(decide_step(inbox_id))


@DBOS.workflow(max_recovery_attempts=None)
def deliver_workflow(delivery_id: int, attempt: int) -> None:
    enqueue_all(deliver_step(delivery_id, attempt))


@DBOS.workflow(max_recovery_attempts=None)
def job_workflow(job_id: int, wakes: int) -> None:
    for _ in range(SLICES_MAX):
        turn = turn_step(job_id, wakes)
        enqueue_all(turn["starts"])
        if turn["over"]:
            return


@DBOS.workflow(max_recovery_attempts=None)
def sweep_workflow(name: str, slot: str) -> None:
    enqueue_all(sweep_step(name, slot))


def packed(starts: Iterable[Start]) -> list[dict[str, Any]]:
    """Starts as JSON, which is all the workflow database may hold."""
    return [asdict(start) for start in starts]


def enqueue_all(starts: Iterable[dict[str, Any]]) -> None:
    """Start what was named; twice is once."""
    for each in starts:
        enqueue(Start(**each))


def enqueue(start: Start) -> None:
    """Start a row's workflow, unless it was started before."""
    queue = queue_of(start)
    with SetWorkflowID(start.workflow_id), SetEnqueueOptions(queue_partition_key=start.lane or str(start.id)):
        if start.what == "message":
            DBOS.enqueue_workflow(queue, message_workflow, start.id)
        elif start.what == "deliver":
            DBOS.enqueue_workflow(queue, deliver_workflow, start.id, start.attempt)
        else:
            DBOS.enqueue_workflow(queue, job_workflow, start.id, start.attempt)
    _running.bell.ring(queue)


def queue_of(start: Start) -> str:
    """Where a row's workflow waits for its turn."""
    if start.what == "job":
        return "long_jobs" if {start.name, f"{start.name}.{start.stage}"} & _running.long_jobs else "jobs"
    return "messages" if start.what == "message" else "deliveries"


class Workflows:
    """Starts and stops DBOS, and starts workflows. One at a time in a process."""

    def __init__(
        self,
        database_url: str,
        worker: Worker,
        leases: Leases,
        *,
        replica: str,
        poll_seconds: float = 0.25,
        long_jobs: Iterable[str] = (),
        long_jobs_max: int = 4,
    ) -> None:
        self.replica = replica
        self._url = database_url
        self._worker = worker
        self._leases = leases
        self._poll_seconds = poll_seconds
        self._long_jobs = frozenset(long_jobs)
        self._long_jobs_max = long_jobs_max
        self._dbos: DBOS | None = None

    def launch(self) -> None:
        """Begin to work, first of all on what an earlier life of this replica left unfinished."""
        os.environ.setdefault("DBOS__APPVERSION", APPLICATION_VERSION)
        self.beat()
        _running.worker, _running.long_jobs = self._worker, self._long_jobs
        write_ahead(self._url)
        config: DBOSConfig = {
            "name": "exmail-bot",
            "system_database_url": self._url,
            "executor_id": self.replica,
            "application_version": APPLICATION_VERSION,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "WARNING",
            "notification_listener_polling_interval_sec": 0.1,  # of a thread that asks nothing, but a stop waits for it
        }
        logger = logging.getLogger("dbos")
        logger.handlers.clear()  # else it writes to the stream of the first start, which may be closed
        dbos = DBOS(config=config)
        logger.setLevel(logging.WARNING)
        self._dbos = dbos
        _running.bell = bell = Bell()
        dbos.background_thread_stop_events = bell
        DBOS.launch()
        look_before_asking(dbos)
        for queue, at_once in (("messages", 8), ("deliveries", 8), ("jobs", 8), ("long_jobs", self._long_jobs_max)):
            DBOS.register_queue(
                queue,
                partition_concurrency=1,
                worker_concurrency=at_once,
                polling_interval_sec=self._poll_seconds,
                on_conflict="always_update",
            )
        remember_queues(dbos)
        bell.ring()

    def stop(self, *, wait_seconds: float = 5.0) -> None:
        """End; what is under way goes on at the next start."""
        _running.bell.stop()
        if self._dbos is not None:
            until = time.monotonic() + wait_seconds  # DBOS itself would look once a second, the first time after one
            while self._dbos._active_workflows_set.activeList() and time.monotonic() < until:
                time.sleep(0.02)
        self._dbos = None
        DBOS.destroy()
        _running.worker = None
        self._leases.release(LEASE_PREFIX + self.replica, self.replica)

    def start(self, start: Start) -> None:
        """Start a row's workflow, unless it was started before."""
        enqueue(start)

    def start_sweep(self, name: str, slot: str) -> None:
        """Run a sweep once for a slot of time, whichever replica asks first."""
        with SetWorkflowID(f"{name}-{slot}"):
            DBOS.start_workflow(sweep_workflow, name, slot)

    def alive(self, start: Start) -> bool | None:
        """Whether the row's workflow is under way; None when it was never started."""
        status = DBOS.get_workflow_status(start.workflow_id)
        return None if status is None else status.status in LIVE

    def at_work(self) -> bool:
        """Whether any workflow is under way, of whatever kind."""
        return bool(DBOS.list_workflows(status=list(LIVE), limit=1, load_input=False, load_output=False))

    def beat(self) -> None:
        """Say that this replica lives."""
        self._leases.acquire(LEASE_PREFIX + self.replica, self.replica, LEASE_SECONDS)

    def adopt(self) -> int:
        """
        Take over what dead replicas left, which DBOS by itself does for its own id only; gives the count.

        One replica at a time: of two that saw the same dead one, the second would take the work from the first.
        """
        if self._leases.acquire(ADOPTING, self.replica, LEASE_SECONDS) is None:
            return 0
        try:
            return self._adopt()
        finally:
            self._leases.release(ADOPTING, self.replica)

    def _adopt(self) -> int:
        live = self._leases.live_holders(LEASE_PREFIX) | {self.replica}  # whose lease may have run out in a stall
        dead = [
            each
            for each in DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
            if each.executor_id not in live
        ]
        by_queue: dict[str | None, list[str]] = {}  # a sweep waits in no queue: DBOS's own, which has no partitions
        for each in dead:
            by_queue.setdefault(each.queue_name, []).append(each.workflow_id)
        for queue, ids in by_queue.items():
            log.warning("workflows_adopted", queue=queue, count=len(ids))
            DBOS.resume_workflows(ids, queue_name=queue)
        return len(dead)

    def forget(self) -> int:
        """Drop the history of workflows that ended long ago, and leases of replicas long gone; gives the count."""
        before = (datetime.now(UTC) - HISTORY_KEPT).isoformat()
        count = 0
        for _ in range(FORGET_ROUNDS_MAX):
            old = DBOS.list_workflows(
                status=ENDED, completed_before=before, limit=FORGET_AT_ONCE, load_input=False, load_output=False
            )
            if old:
                DBOS.delete_workflows([each.workflow_id for each in old])
            count += len(old)
            if len(old) < FORGET_AT_ONCE:
                break
        self._leases.forget(LEASE_PREFIX, HISTORY_KEPT.total_seconds())
        return count


def remember_queues(dbos: DBOS) -> None:
    """Have a queue's settings, which stay as they are while we run, read once instead of at every look."""
    system = dbos._sys_db
    ask, known = system.get_queue, dict[str, Any]()

    def get_queue(name: str, **more: Any) -> Any:
        if known.get(name) is None:
            known[name] = ask(name, **more)
        return known[name]

    system.get_queue = get_queue  # type: ignore[method-assign]


def look_before_asking(dbos: DBOS) -> None:
    """
    Have a queue asked for work only when something stands in it.

    DBOS composes and runs a long statement for each queue at each poll, which is nearly all that an idle bot would do;
    the look costs a tenth. Both queries mean the same rows, so nothing starts later than it did. (DBOS has no setting
    for this, but asks where to look for work at each poll: nowhere is an answer.)
    """
    system = dbos._sys_db
    where_to_look = system.dequeue_scopes
    rows = system.tables.workflow_status
    enqueued = text("status = 'ENQUEUED' AND status IN ('ENQUEUED', 'PENDING')")  # the second half names the index
    waiting = select(1).where(rows.c.queue_name == bindparam("queue"), enqueued).limit(1)

    def scopes(queue_name: str) -> list[str | None]:
        with system.engine.connect() as connection:
            found = connection.execute(waiting, {"queue": queue_name}).first()
        return where_to_look(queue_name) if found else []

    system.dequeue_scopes = scopes  # type: ignore[method-assign]


def write_ahead(url: str) -> None:
    """WAL for an SQLite file, which DBOS leaves as it finds it: half the cost of a step."""
    address = make_url(url)
    if address.get_backend_name() == "sqlite" and address.database:
        with closing(sqlite3.connect(address.database, timeout=30)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
