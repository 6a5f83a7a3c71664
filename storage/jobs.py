"""Jobs: work that waits, is due, or has ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update

from storage.asking import Asking
from storage.models import Job, JobState, Json

OPEN = (JobState.WAITING, JobState.DUE)


class Jobs(Asking):
    """Questions asked of `jobs`."""

    def add(
        self,
        kind: str,
        *,
        asked_by: str,
        params: Json,
        stage: str = "start",
        state: JobState = JobState.DUE,
        expires_at: datetime | None = None,
    ) -> Job:
        """A new job, due at once unless it waits for somebody."""
        return self.added(
            Job(
                kind=kind, asked_by=asked_by, params=params, stage=stage, state=state, due_at=self.now,
                created_at=self.now, expires_at=expires_at, data={}, wakes=1, failures=0,
            )
        )  # fmt: skip

    def get(self, job_id: int) -> Job:
        """The job, locked until the end of the transaction; it must exist."""
        return self.session.get_one(Job, job_id, with_for_update=True)

    def find(self, job_id: int) -> Job | None:
        """The job, or None."""
        return self.session.get(Job, job_id, with_for_update=True)

    def wake(self, job: Job, stage: str, *, due_at: datetime | None = None) -> None:
        """Due at `stage`, now or later, as a workflow of its own; failures of the stage before are forgotten."""
        if job.stage != stage:
            job.failures = 0
        job.stage, job.state, job.due_at, job.error = stage, JobState.DUE, due_at or self.now, None
        job.wakes += 1

    def wait(self, job: Job, stage: str, *, expires_at: datetime | None) -> None:
        """Waits for a person at `stage`, until `expires_at`."""
        job.stage, job.state, job.expires_at, job.failures = stage, JobState.WAITING, expires_at, 0

    def end(self, job: Job, state: JobState, *, error: str | None = None) -> None:
        """Over: nothing starts it again but a person."""
        job.state, job.finished_at, job.error, job.expires_at = state, self.now, error, None

    def end_as(self, job: Job, ending: str) -> None:
        """Over, in the state that its ending means; why it failed is kept."""
        states = {"done": JobState.DONE, "failed": JobState.FAILED}
        self.end(job, states.get(ending, JobState.CANCELLED), error=job.error)

    def put(self, job: Job, **data: object) -> None:
        """Note what is known now (a JSON column is written only when it is another object)."""
        job.data = {**job.data, **data}

    def due(self, *, settled_seconds: float, count_max: int) -> Sequence[Job]:
        """Jobs whose moment came longer ago than a live workflow should need to be seen."""
        return self.session.scalars(
            select(Job)
            .where(Job.state == JobState.DUE, Job.due_at <= self.now - timedelta(seconds=settled_seconds))
            .order_by(Job.due_at)
            .limit(count_max)
        ).all()

    def expired(self, *, count_max: int) -> Sequence[Job]:
        """Jobs that waited for somebody longer than they may."""
        return self.session.scalars(
            select(Job)
            .where(Job.state == JobState.WAITING, Job.expires_at <= self.now)
            .with_for_update(skip_locked=True)
            .limit(count_max)
        ).all()

    def open_on(
        self, mailbox_ids: Sequence[int], *, kind: str | None = None, addresses: Sequence[str] = ()
    ) -> list[Job]:
        """Open jobs that read or write one of the mailboxes, or are to, by its address, before it was looked up."""
        wanted, named = set(mailbox_ids), set(addresses)
        rows = self.session.scalars(select(Job).where(Job.state.in_(OPEN)).order_by(Job.id))
        return [
            job
            for job in rows
            if (wanted & {job.data.get("source"), job.data.get("target")} or named & addresses_of(job))
            and kind in (None, job.kind)
        ]

    def open_about(
        self, kinds: Sequence[str], *, mailbox_id: int | None, address: str | None, userid: str | None
    ) -> list[Job]:
        """Open jobs of these kinds about one mailbox or its owner, whatever is known of it."""
        rows = self.session.scalars(select(Job).where(Job.kind.in_(kinds), Job.state.in_(OPEN)).order_by(Job.id))
        found = []
        for job in rows:
            ids = {job.data.get("source"), job.data.get("target")}
            people = {job.params.get("userid"), job.params.get("new_owner"), job.data.get("owner")}
            named = {*addresses_of(job), job.params.get("address"), job.data.get("source_address")}
            if {mailbox_id} & ids - {None} or {address} & named - {None} or {userid} & people - {None}:
                found.append(job)
        return found

    def recent(
        self, kinds: Sequence[str], *, of: str | None = None, also: Collection[int] = (), count_max: int = 10
    ) -> Sequence[Job]:
        """Open jobs first, then the latest: all, or those a member asked for or about him, and `also` these."""
        query = select(Job).where(Job.kind.in_(kinds))
        if of is not None:
            about_him = (Job.data["owner"].as_string() == of, Job.params["new_owner"].as_string() == of)
            query = query.where(or_(Job.asked_by == of, *about_him, Job.id.in_(also)))
        return self.session.scalars(query.order_by(Job.state.in_(OPEN).desc(), Job.id.desc()).limit(count_max)).all()

    def at_work(self, kinds: Sequence[str]) -> Sequence[Job]:
        """The jobs of these kinds that are due, now or soon."""
        return self.session.scalars(select(Job).where(Job.kind.in_(kinds), Job.state == JobState.DUE)).all()

    def running(self, kind: str) -> bool:
        """Whether one of this kind is due or at work."""
        return (
            self.session.scalar(select(Job.id).where(Job.kind == kind, Job.state == JobState.DUE).limit(1)) is not None
        )

    def waiting_or_due(self, kind: str) -> Sequence[Job]:
        """The open jobs of one kind, each locked unless somebody works on it."""
        return self.session.scalars(
            select(Job).where(Job.kind == kind, Job.state.in_(OPEN)).order_by(Job.id).with_for_update(skip_locked=True)
        ).all()

    def next_wake(self, job_id: int, wakes: int) -> int | None:
        """A new try after the workflow of wake `wakes` ended in an error; None when somebody else took it."""
        return self.session.scalar(
            update(Job)
            .where(Job.id == job_id, Job.wakes == wakes, Job.state == JobState.DUE)
            .values(wakes=wakes + 1, failures=Job.failures + 1)
            .returning(Job.wakes)
        )


def addresses_of(job: Job) -> set[str]:
    """The addresses a job was asked about, as typed."""
    sides = (job.params.get("source"), job.params.get("target"))
    return {str(each["address"]) for each in sides if isinstance(each, dict) and each.get("address")}
