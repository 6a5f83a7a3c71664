"""Questions that wait for a yes or a no."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, String, cast, exists, literal, or_, select, update

from storage.asking import Asking
from storage.models import Approval, ApprovalStatus, Json, SentCard

EXPIRES_AFTER = timedelta(days=7)
CARD_ABOUT = "approval-"  # with its number: what the cards of a question are about
ASKER_CARD_ABOUT = "asking-"  # the same for the card of who asked


def fingerprint(facts: Mapping[str, Any]) -> str:
    """What was shown, as a hash: at execution the facts are read again and must hash alike."""
    return hashlib.sha256(json.dumps(facts, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


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
        owner: str | None = None,
        gains: Sequence[str] | None = None,
        remind_at: datetime | None = None,
    ) -> Approval:
        """A new question."""
        return self.added(
            Approval(
                action=action, requirement=requirement, job_id=job_id, question=question, facts=facts,
                fingerprint=fingerprint, reason=reason, asked_by=asked_by, approvers=list(approvers), owner=owner,
                gains=list(gains) if gains is not None else None, remind_at=remind_at, reminders=0,
                status=ApprovalStatus.PENDING, created_at=self.now, expires_at=self.now + EXPIRES_AFTER,
                replaced=[], talk=[],
            )
        )  # fmt: skip

    def find(self, approval_id: int) -> Approval | None:
        """The question, or None."""
        return self.session.get(Approval, approval_id)

    def get(self, approval_id: int) -> Approval:
        """The question; it must exist."""
        return self.session.get_one(Approval, approval_id, populate_existing=True)

    def lock(self, approval_id: int) -> Approval | None:
        """The question as it stands, locked until the end of the transaction; None: there is none."""
        return self.session.get(Approval, approval_id, with_for_update=True, populate_existing=True)

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

    def void_one(self, approval_id: int, *, by: str | None = None) -> Approval | None:
        """Taken back by who asked, or what was shown has changed; None if it was answered meanwhile or has run out."""
        return self.session.scalar(
            update(Approval)
            .where(
                Approval.id == approval_id,
                Approval.status == ApprovalStatus.PENDING,
                Approval.expires_at > self.now,
            )
            .values(status=ApprovalStatus.VOID, decided_by=by, decided_at=self.now)
            .returning(Approval)
        )

    def said(self, approval: Approval, **turn: str) -> None:
        """A turn of the talk about a question; its row must be locked."""
        approval.talk = [*approval.talk, {**turn, "at": self.now.isoformat(timespec="seconds")}]

    def ask_instead(self, approval: Approval, approvers: Sequence[str], *, remind_at: datetime) -> None:
        """Others are asked from now on, and have as long as the first had; its row must be locked."""
        approval.expires_at = max(approval.expires_at, self.now + EXPIRES_AFTER)
        approval.replaced = [*approval.replaced, *approval.approvers]
        approval.approvers, approval.remind_at, approval.reminders = list(approvers), remind_at, 0

    def void_with_open_cards(self) -> Sequence[Approval]:
        """Questions that were withdrawn while somebody still has a card with buttons."""
        open_cards = or_(self._cards_open(), self._cards_open(about=ASKER_CARD_ABOUT))
        return self.session.scalars(
            select(Approval).where(Approval.status == ApprovalStatus.VOID, open_cards).order_by(Approval.id)
        ).all()

    def with_old_cards(self, age: timedelta) -> Sequence[Approval]:
        """Open questions of which a card is so old that it can soon be redrawn no more."""
        return self._open(self._cards_open(SentCard.created_at <= self.now - age))

    def to_remind(self) -> Sequence[Approval]:
        """Open questions of which somebody is to be reminded now, locked: in one replica only."""
        return self._open(Approval.remind_at <= self.now)

    def _open(self, *more: ColumnElement[bool]) -> Sequence[Approval]:
        return self.session.scalars(
            select(Approval)
            .where(Approval.status == ApprovalStatus.PENDING, Approval.expires_at > self.now, *more)
            .order_by(Approval.id)
            .with_for_update()
        ).all()

    def _cards_open(self, *more: ColumnElement[bool], about: str = CARD_ABOUT) -> ColumnElement[bool]:
        subject = literal(about) + cast(Approval.id, String)
        return exists().where(SentCard.about == subject, SentCard.closed_at.is_(None), *more)

    def take_out(self, approval: Approval, userids: Sequence[str]) -> None:
        """These are asked no more; its row must be locked."""
        out = [each for each in approval.approvers if each in userids]
        approval.approvers = [each for each in approval.approvers if each not in userids]
        approval.replaced = [*approval.replaced, *out]

    def waiting_for(self, userid: str) -> list[Approval]:
        """Questions this member may answer."""
        rows = self.session.scalars(
            select(Approval)
            .where(Approval.status == ApprovalStatus.PENDING, Approval.expires_at > self.now)
            .order_by(Approval.id)
        )
        return [row for row in rows if userid in row.approvers]

    def waiting_for_one_of(self, userids: Sequence[str]) -> list[Approval]:
        """Open questions asked of one of these members, locked."""
        return [row for row in self._open() if set(userids) & set(row.approvers)]

    def pending_of(self, job_id: int) -> Sequence[Approval]:
        """The open questions of a job."""
        return self.session.scalars(
            select(Approval)
            .where(Approval.job_id == job_id, Approval.status == ApprovalStatus.PENDING, Approval.expires_at > self.now)
            .order_by(Approval.id)
        ).all()

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
