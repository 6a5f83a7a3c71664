"""A super admin's yes in the place of those who were asked: waiting to take effect, and waiting to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import or_, select, update

from storage.asking import Asking
from storage.models import Override, OverrideState

STOPPABLE_FOR = timedelta(minutes=30)


class Overrides(Asking):
    """Questions asked of `overrides`."""

    def begin(self, approval_id: int, *, made_by: str, reason: str) -> Override:
        """A new one; the caller has locked the question, so there is no other."""
        return self.added(
            Override(
                approval_id=approval_id, made_by=made_by, reason=reason, state=OverrideState.RUNNING,
                created_at=self.now, due_at=self.now + STOPPABLE_FOR,
            )
        )  # fmt: skip

    def of(self, approval_id: int) -> Override | None:
        """The one of a question, or None."""
        query = select(Override).where(Override.approval_id == approval_id)
        return self.session.scalar(query.execution_options(populate_existing=True))

    def end(self, override_id: int, state: OverrideState, *, stopped_by: str | None = None) -> Override | None:
        """It runs no more; None if it had ended before. One statement checks and writes."""
        return self.session.scalar(
            update(Override)
            .where(Override.id == override_id, Override.state == OverrideState.RUNNING)
            .values(state=state, ended_at=self.now, stopped_by=stopped_by)
            .returning(Override)
        )

    def review(self, override_id: int, by: str) -> Override | None:
        """Somebody looked at it; None if somebody had before."""
        return self.session.scalar(
            update(Override)
            .where(
                Override.id == override_id, Override.state == OverrideState.DONE, Override.reviewed_by.is_(None),
            )
            .values(reviewed_by=by, reviewed_at=self.now)
            .returning(Override)
        )  # fmt: skip

    def running(self) -> Sequence[Override]:
        """Those that can still be stopped, or whose moment has come."""
        query = select(Override).where(Override.state == OverrideState.RUNNING).order_by(Override.id)
        return self.session.scalars(query).all()

    def to_review(self) -> Sequence[Override]:
        """Those that run, and those that took effect and that nobody looked at yet."""
        unseen = (Override.state == OverrideState.DONE) & Override.reviewed_by.is_(None)
        query = select(Override).where(or_(Override.state == OverrideState.RUNNING, unseen))
        return self.session.scalars(query.order_by(Override.id)).all()
