"""
The clock that ticks. APScheduler with a memory job store, in every replica; the database decides what is due.

A tick starts every due row that has no live workflow, takes over what dead replicas left, and starts the sweeps; a
workflow's id holds their slot of time, so they run once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from bot import delivery
from bot.clock import Clock
from bot.context import job_start
from bot.jobs import HISTORY_KEPT, Start, Workflows

if TYPE_CHECKING:
    from storage.store import Store

log = structlog.get_logger()

FORGET_EVERY_SECONDS = 3600.0
ROWS_MAX = 200  # of each kind in one tick; the next tick takes the rest


@dataclass(frozen=True)
class Sweep:
    """Something to be looked at once in every period."""

    name: str
    every: timedelta

    def slot(self, now: datetime) -> str:
        """The number of the period that `now` lies in: the same in every replica."""
        return str(int(now.timestamp() // self.every.total_seconds()))


class Scheduler:
    """Ticks until it is stopped."""

    def __init__(
        self,
        store: Store,
        workflows: Workflows,
        clock: Clock,
        sweeps: Sequence[Sweep],
        *,
        tick_seconds: float,
        beat_seconds: float = 5.0,
    ) -> None:
        self._store = store
        self._workflows = workflows
        self._clock = clock
        if too_long := [sweep.name for sweep in sweeps if sweep.every * 2 > HISTORY_KEPT]:
            raise ValueError(f"slots longer than the history of workflows: {', '.join(too_long)}")
        self._sweeps = sweeps
        self._slots: dict[str, str] = {}  # started by this process: a start is a look-up, too dear for every tick
        self._settled_seconds = min(5.0, tick_seconds)
        self._scheduler = BackgroundScheduler(timezone="UTC")
        for name, run, seconds in (
            ("tick", self.tick, tick_seconds),
            ("beat", self.beat, beat_seconds),
            ("forget", self.forget, FORGET_EVERY_SECONDS),
        ):
            self._scheduler.add_job(
                run, "interval", seconds=seconds, id=name, coalesce=True, max_instances=1, misfire_grace_time=None
            )

    def start(self) -> None:
        """Begin to tick, at once: what became due while nobody ran need not wait for another tick."""
        self._scheduler.start()
        self._scheduler.modify_job("tick", next_run_time=datetime.now(UTC))

    def stop(self) -> None:
        """Stop, after the tick that is under way."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def beat(self) -> None:
        """Say that this replica lives, and take over from those that do not."""
        self._workflows.beat()
        self._workflows.adopt()

    def tick(self) -> None:
        """Start what is due."""
        for start, again in self.due():
            alive = self._workflows.alive(start)
            if alive is None:
                self._workflows.start(start)
            elif not alive and (attempt := again(start)) is not None:
                log.warning("workflow_again", workflow=start.workflow_id, attempt=attempt)
                self._workflows.start(replace(start, attempt=attempt))
        now = self._clock.now()
        for sweep in self._sweeps:
            slot = sweep.slot(now)
            if self._slots.get(sweep.name) != slot:
                self._workflows.start_sweep(sweep.name, slot)
                self._slots[sweep.name] = slot

    def forget(self) -> None:
        """Drop the history of workflows that ended long ago."""
        self._workflows.forget()

    def due(self) -> Iterable[tuple[Start, Callable[[Start], int | None]]]:
        """Rows whose moment has come, and how to give each a new attempt when its workflow ended without it."""
        with self._store.begin() as tx:
            rows = tx.inbox.due(settled_seconds=self._settled_seconds, count_max=ROWS_MAX)
            messages = [Start("message", row.id, row.attempt, row.sender) for row in rows]
            deliveries = list(delivery.due(tx, self._settled_seconds, ROWS_MAX))
            jobs = [job_start(job) for job in tx.jobs.due(settled_seconds=self._settled_seconds, count_max=ROWS_MAX)]
        yield from ((start, self.message_again) for start in messages)
        yield from ((start, self.delivery_again) for start in deliveries)
        yield from ((start, self.job_again) for start in jobs)

    def message_again(self, start: Start) -> int | None:
        """The next attempt of a message."""
        with self._store.begin() as tx:
            return tx.inbox.next_attempt(start.id, start.attempt)

    def delivery_again(self, start: Start) -> int | None:
        """The next attempt of a delivery."""
        with self._store.begin() as tx:
            return tx.deliveries.next_attempt(start.id, start.attempt)

    def job_again(self, start: Start) -> int | None:
        """The next wake of a job."""
        with self._store.begin() as tx:
            return tx.jobs.next_wake(start.id, start.attempt)
