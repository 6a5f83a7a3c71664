"""
The IMAP connections of all jobs, of every replica, within EXMAIL_IMAP_CONNECTIONS_MAX: a lease for each.

A job that gets too few waits and says so in its row; a copy that runs then ends its slice early and lets it in.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import SQLAlchemyError

from bot.work import JobContext

if TYPE_CHECKING:
    from storage.store import Transaction

KINDS = ("backup", "verify")
LEASE = "imap:"
LEASE_SECONDS = 90.0
KEEP_EVERY_SECONDS = 15.0
WANTED = "wants_connections"  # in a job's data, while it waits for some
COPYING = "copy"

log = structlog.get_logger()


class Connections:
    """
    What a job holds of them, as a context; `count` is 0 when there were too few, and then the job is to wait.

    Inside of the context a thread holds them for longer, however long a listing or a comparison takes; and with them
    `beside`, another lease of the job's: (name, holder, seconds).
    """

    def __init__(self, job: JobContext, *, least: int, most: int, beside: tuple[str, str, float] | None = None) -> None:
        self._job = job
        self._leases = job.services.leases
        self._holder = f"{job.services.replica}:{job.job_id}"
        self._total = job.services.settings.exmail_imap_connections_max
        self._names: list[str] = []
        self._changing = threading.Lock()  # nobody holds for longer what is being given back
        self._beside = beside
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep_on, name=f"connections of {job.job_id}", daemon=True)
        self._take(min(least, self._total), min(most, self._total))

    @property
    def count(self) -> int:
        """How many there are for this job."""
        return len(self._names)

    def _take(self, least: int, most: int) -> None:
        with self._job.services.store.begin() as tx:
            copying = sum(each.stage == COPYING and not each.data.get(WANTED) for each in tx.jobs.at_work(KINDS))
        wanted = min(most, max(least, self._total // max(1, copying)))
        for number in range(self._total):
            if len(self._names) < wanted and self._acquire(f"{LEASE}{number}"):
                self._names.append(f"{LEASE}{number}")
        if len(self._names) < least:
            self.give_back()

    def _acquire(self, name: str) -> bool:
        return self._leases.acquire(name, self._holder, LEASE_SECONDS) is not None

    def keep(self) -> None:
        """Hold them for longer."""
        with self._changing:
            for name in self._names:
                self._acquire(name)
        if self._beside is not None:
            self._leases.acquire(*self._beside)

    def _keep_on(self) -> None:
        while not self._over.wait(KEEP_EVERY_SECONDS):
            try:
                self.keep()
            except SQLAlchemyError:  # the next time is early enough
                log.warning("connections_not_kept", job_id=self._job.job_id, exc_info=True)

    def keep_only(self, count: int) -> None:
        """So many do for the rest of the work: others may have the others."""
        with self._changing:
            self._names, others = self._names[:count], self._names[count:]
            for name in others:
                self._leases.release(name, self._holder)

    def give_back(self) -> None:
        """Others may have them."""
        self._over.set()
        with contextlib.suppress(RuntimeError):  # it was not begun
            self._keeper.join()
        self.keep_only(0)

    def __enter__(self) -> Connections:
        if self._names:
            self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()


def wanted_by_others(tx: Transaction, job_id: int) -> bool:
    """Whether another job waits for connections."""
    return any(each.id != job_id and each.data.get(WANTED) for each in tx.jobs.at_work(KINDS))
