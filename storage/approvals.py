"""Questions that wait for a yes or a no."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select, update

from storage.asking import Asking
from storage.models import Approval, ApprovalStatus, Json

EXPIRES_AFTER = timedelta(days=7)


class Approvals(Asking):
    """Questions asked of `approvals`."""

    def open(
        self,
        *,
        action: str,
        requirement: str,
        job_id: int,
        question: Json,
        facts: Json,
        fingerprint: str,
        reason: str,
        asked_by: str,
        approvers: Sequence[str],
    ) -> Approval:
        """A new question."""
        return self.added(
            Approval(
                action=action, requirement=requirement, job_id=job_id, question=question, facts=facts,
                fingerprint=fingerprint, reason=reason, asked_by=asked_by, approvers=list(approvers),
                status=ApprovalStatus.PENDING, created_at=self.now, expires_at=self.now + EXPIRES_AFTER,
            )
        )  # fmt: skip

    def find(self, approval_id: int) -> Approval | None:
        """The question, or None."""
        return self.session.get(Approval, approval_id)

    def get(self, approval_id: int) -> Approval:
        """The question; it must exist."""
        return self.session.get_one(Approval, approval_id, populate_existing=True)

    def decide(
        self, approval_id: int, status: ApprovalStatus, *, by: str, reason: str | None = None
    ) -> Approval | None:
        """Answer; None if it was answered already or has run out. One statement checks and writes."""
        return self.session.scalar(
            update(Approval)
            .where(
                Approval.id == approval_id,
                Approval.status == ApprovalStatus.PENDING,
                Approval.expires_at > self.now,
            )
            .values(status=status, decided_by=by, decided_at=self.now, answer_reason=reason)
            .returning(Approval)
        )

    def void(self, job_id: int) -> None:
        """The job is over: its open questions are, too."""
        self.session.execute(
            update(Approval)
            .where(Approval.job_id == job_id, Approval.status == ApprovalStatus.PENDING)
            .values(status=ApprovalStatus.VOID, decided_at=self.now)
        )

    def waiting_for(self, userid: str) -> list[Approval]:
        """Questions this member may answer."""
        rows = self.session.scalars(
            select(Approval)
            .where(Approval.status == ApprovalStatus.PENDING, Approval.expires_at > self.now)
            .order_by(Approval.id)
        )
        return [row for row in rows if userid in row.approvers]

    def asked_by(self, userid: str) -> Sequence[Approval]:
        """Open questions this member asked."""
        return self.session.scalars(
            select(Approval)
            .where(Approval.status == ApprovalStatus.PENDING, Approval.asked_by == userid)
            .order_by(Approval.id)
        ).all()

    def expire(self) -> Sequence[Approval]:
        """Questions that ran out now; each is given to one caller only."""
        return self.session.scalars(
            update(Approval)
            .where(Approval.status == ApprovalStatus.PENDING, Approval.expires_at <= self.now)
            .values(status=ApprovalStatus.EXPIRED, decided_at=self.now)
            .returning(Approval)
        ).all()
