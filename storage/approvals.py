"""Questions that wait for a yes or a no."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, String, cast, exists, literal, select, update

from storage.asking import Asking
from storage.models import Approval, ApprovalStatus, Json, SentCard

EXPIRES_AFTER = timedelta(days=7)
CARD_ABOUT = "approval-"  # with its number: what the cards of a question are about


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
        """The job is over: its open questions are, too; the sweep greys their cards."""
        self.session.execute(
            update(Approval)
            .where(Approval.job_id == job_id, Approval.status == ApprovalStatus.PENDING)
            .values(status=ApprovalStatus.VOID, decided_at=self.now)
        )

    def void_one(self, approval_id: int) -> Approval | None:
        """What was shown has changed: the question is no more; None if it was answered meanwhile."""
        return self.session.scalar(
            update(Approval)
            .where(Approval.id == approval_id, Approval.status == ApprovalStatus.PENDING)
            .values(status=ApprovalStatus.VOID, decided_at=self.now)
            .returning(Approval)
        )

    def void_with_open_cards(self) -> Sequence[Approval]:
        """Questions that were withdrawn while somebody still has a card with buttons."""
        return self.session.scalars(
            select(Approval).where(Approval.status == ApprovalStatus.VOID, self._cards_open()).order_by(Approval.id)
        ).all()

    def cards_older_than(self, age: timedelta) -> Sequence[Approval]:
        """Open questions of which a card is so old that it can soon be redrawn no more."""
        return self.session.scalars(
            select(Approval)
            .where(
                Approval.status == ApprovalStatus.PENDING,
                Approval.expires_at > self.now,
                self._cards_open(SentCard.created_at <= self.now - age),
            )
            .order_by(Approval.id)
            .with_for_update()
        ).all()

    def _cards_open(self, *more: ColumnElement[bool]) -> ColumnElement[bool]:
        about = literal(CARD_ABOUT) + cast(Approval.id, String)
        return exists().where(SentCard.about == about, SentCard.closed_at.is_(None), *more)

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
            .where(
                Approval.status == ApprovalStatus.PENDING,
                Approval.asked_by == userid,
                Approval.expires_at > self.now,
            )
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
