"""Mail domains that are looked after, and what they held before a change."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from storage.asking import Asking
from storage.models import DomainSnapshot, Json, MailDomain


class Domains(Asking):
    """Questions asked of `domains` and `domain_snapshots`."""

    def find(self, name: str) -> MailDomain | None:
        """The domain, or None."""
        return self.session.scalar(select(MailDomain).where(MailDomain.name == name))

    def known(self, name: str, *, added_by: str) -> MailDomain:
        """The domain, looked after from now on."""
        found = self.find(name)
        if found is not None:
            return found
        return self.added(MailDomain(name=name, wanted={}, added_by=added_by, created_at=self.now))

    def all(self) -> Sequence[MailDomain]:
        """Every domain, by name."""
        return self.session.scalars(select(MailDomain).order_by(MailDomain.name)).all()

    def snapshot(self, domain: MailDomain, job_id: int, plan: Json, records: Sequence[Json]) -> DomainSnapshot:
        """What a job is about to change; the first one counts, whatever a second run sees."""
        found = self.snapshot_of(job_id)
        if found is not None:
            return found
        return self.added(
            DomainSnapshot(domain_id=domain.id, job_id=job_id, plan=plan, records=list(records), taken_at=self.now)
        )

    def snapshot_of(self, job_id: int) -> DomainSnapshot | None:
        """What a job changed, if it came so far."""
        return self.session.scalar(select(DomainSnapshot).where(DomainSnapshot.job_id == job_id))
