"""
Durable workflows. DBOS lives here and nowhere else.

Our own rows are the truth; a workflow only carries one of them over a crash. Its id is made of the row's id and the
number of the attempt, so that starting it twice is one workflow, and a new attempt is another. What a workflow does
stands in `Worker`; each call of it is one step, runs at least once, and must bear running twice.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import structlog
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetEnqueueOptions, SetWorkflowID

log = structlog.get_logger()

APPLICATION_VERSION = "1"  # constant: a hash of the source would strand every job at an upgrade
SLICES_MAX = 5_000  # turns of one job in one workflow; then a new workflow goes on
LEASE_SECONDS = 15.0
LEASE_PREFIX = "executor:"
LIVE = ("PENDING", "ENQUEUED", "DELAYED")


@dataclass(frozen=True)
class Start:
    """A row whose workflow is to be started: its kind, id, attempt, and the line it waits in."""

    what: Literal["message", "deliver", "job"]
    id: int
    attempt: int
    lane: str = ""
    name: str = ""  # of a job: its kind

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


@dataclass
class _Running:
    """What the workflow functions, which DBOS registers once a process, work for now."""

    worker: Worker | None = None

    def get(self) -> Worker:
        if self.worker is None:
            raise RuntimeError("no workflows are running")
        return self.worker


_running = _Running()


@DBOS.step()
def decide_step(inbox_id: int) -> list[dict[str, Any]]:
    return packed(_running.get().decide(inbox_id))


@DBOS.step()
def deliver_step(delivery_id: int, attempt: int) -> list[dict[str, Any]]:
    return packed(_running.get().deliver(delivery_id, attempt))


@DBOS.step()
def turn_step(job_id: int, wakes: int) -> dict[str, Any]:
    turn = _running.get().turn(job_id, wakes)
    return {"over": turn.over, "starts": packed(turn.starts)}


@DBOS.step()
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
    with SetWorkflowID(start.workflow_id), SetEnqueueOptions(queue_partition_key=start.lane or str(start.id)):
        if start.what == "message":
            DBOS.enqueue_workflow("messages", message_workflow, start.id)
        elif start.what == "deliver":
            DBOS.enqueue_workflow("deliveries", deliver_workflow, start.id, start.attempt)
        else:
            DBOS.enqueue_workflow("jobs", job_workflow, start.id, start.attempt)


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
        jobs_max: int = 4,
    ) -> None:
        self.replica = replica
        self._url = database_url
        self._worker = worker
        self._leases = leases
        self._poll_seconds = poll_seconds
        self._jobs_max = jobs_max

    def launch(self) -> None:
        """Begin to work, first of all on what an earlier life of this replica left unfinished."""
        os.environ.setdefault("DBOS__APPVERSION", APPLICATION_VERSION)
        self.beat()
        _running.worker = self._worker
        config: DBOSConfig = {
            "name": "exmail-bot",
            "system_database_url": self._url,
            "executor_id": self.replica,
            "application_version": APPLICATION_VERSION,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "WARNING",
        }
        DBOS(config=config)
        logging.getLogger("dbos").setLevel(logging.WARNING)
        DBOS.launch()
        for queue, at_once in (("messages", 8), ("deliveries", 8), ("jobs", self._jobs_max)):
            DBOS.register_queue(
                queue,
                partition_concurrency=1,
                worker_concurrency=at_once,
                polling_interval_sec=self._poll_seconds,
                on_conflict="always_update",
            )

    def stop(self, *, wait_seconds: int = 5) -> None:
        """End; what is under way goes on at the next start."""
        DBOS.destroy(workflow_completion_timeout_sec=wait_seconds)
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

    def beat(self) -> None:
        """Say that this replica lives."""
        self._leases.acquire(LEASE_PREFIX + self.replica, self.replica, LEASE_SECONDS)

    def adopt(self) -> int:
        """Take over what dead replicas left, which DBOS by itself does for its own id only; gives the count."""
        live = self._leases.live_holders(LEASE_PREFIX)
        dead = [
            each
            for each in DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
            if each.executor_id not in live
        ]
        by_queue: dict[str, list[str]] = {}
        for each in dead:
            by_queue.setdefault(each.queue_name or "jobs", []).append(each.workflow_id)
        for queue, ids in by_queue.items():
            log.warning("workflows_adopted", queue=queue, count=len(ids))
            DBOS.resume_workflows(ids, queue_name=queue)
        return len(dead)
