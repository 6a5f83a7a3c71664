"""Console steps a person does: waiting, contradicted, done or past."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import or_, select

from storage.asking import Asking
from storage.models import Handover, HandoverState, Json

OPEN = (HandoverState.WAITING, HandoverState.CONTRADICTED)


class Handovers(Asking):
    """Questions asked of `handovers`."""

    def open(
        self,
        *,
        job_id: int,
        stage: str,
        check_job_id: int,
        asked_of: str,
        title: Json,
        why: Json,
        how: Sequence[Json],
        values: Sequence[str],
        check: str,
        args: Json,
        looks: Sequence[Json],
        before: Json | None,
        remind_at: datetime,
        deadline_at: datetime,
    ) -> Handover:
        """A new one, waiting; `before` is what was seen of it already."""
        return self.added(
            Handover(
                job_id=job_id, stage=stage, check_job_id=check_job_id, asked_of=asked_of, title=title, why=why,
                how=list(how), values=list(values), check=check, args=args, state=HandoverState.WAITING,
                looks=list(looks), before=before, polls=0, reminders=0, remind_at=remind_at, created_at=self.now,
                deadline_at=deadline_at,
            )
        )  # fmt: skip

    def get(self, handover_id: int) -> Handover:
        """The handover, locked until the end of the transaction; it must exist."""
        return self.session.get_one(Handover, handover_id, with_for_update=True, populate_existing=True)

    def find(self, handover_id: int) -> Handover | None:
        """The handover, or None."""
        return self.session.get(Handover, handover_id)

    def peek(self, handover_id: int) -> Handover:
        """The handover, not locked; it must exist."""
        return self.session.get_one(Handover, handover_id)

    def open_ones(self) -> Sequence[Handover]:
        """All that wait for somebody, the most urgent first."""
        return self.session.scalars(
            select(Handover).where(Handover.state.in_(OPEN)).order_by(Handover.deadline_at, Handover.id)
        ).all()

    def of_job(self, job_id: int) -> Sequence[Handover]:
        """All of a job, in order."""
        return self.session.scalars(select(Handover).where(Handover.job_id == job_id).order_by(Handover.id)).all()

    def due(self, *, count_max: int) -> Sequence[int]:
        """Numbers of open ones to be reminded of, or past their deadline."""
        return self.session.scalars(
            select(Handover.id)
            .where(Handover.state.in_(OPEN), or_(Handover.remind_at <= self.now, Handover.deadline_at <= self.now))
            .order_by(Handover.id)
            .limit(count_max)
        ).all()

    def end(self, handover: Handover, state: HandoverState) -> None:
        """Over, one way or another."""
        handover.state, handover.finished_at = state, self.now
