"""
The IMAP connections of all jobs, of every replica, within EXMAIL_IMAP_CONNECTIONS_MAX: a lease for each.

A job that gets too few waits and says so in its row; a copy that runs then ends its slice early and lets it in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.work import JobContext

if TYPE_CHECKING:
    from storage.store import Transaction

KINDS = ("backup", "verify")
LEASE = "imap:"
LEASE_SECONDS = 90.0
WANTED = "wants_connections"  # in a job's data, while it waits for some
COPYING = "copy"


class Connections:
    """What a job holds of them, as a context; `count` is 0 when there were too few, and then the job is to wait."""

    def __init__(self, job: JobContext, *, least: int, most: int) -> None:
        self._job = job
        self._leases = job.services.leases
        self._holder = f"{job.services.replica}:{job.job_id}"
        self._total = job.services.settings.exmail_imap_connections_max
        self._names: list[str] = []
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
        for name in self._names:
            self._acquire(name)

    def give_back(self) -> None:
        """Others may have them."""
        for name in self._names:
            self._leases.release(name, self._holder)
        self._names = []

    def __enter__(self) -> Connections:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()


def wanted_by_others(tx: Transaction, job_id: int) -> bool:
    """Whether another job waits for connections."""
    return any(each.id != job_id and each.data.get(WANTED) for each in tx.jobs.at_work(KINDS))
