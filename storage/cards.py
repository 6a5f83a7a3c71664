"""Cards that were sent, and leave to redraw them: codes that work once and die after 72 hours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, select, update

from storage.asking import Asking
from storage.models import CardCode, SentCard

CODE_LIFE = timedelta(hours=72)  # developer.work.weixin.qq.com 94888


class Cards(Asking):
    """Questions asked of `cards` and `card_codes`."""

    def add(self, task_id: str, about: str, member: str) -> SentCard:
        """A card that will be sent."""
        return self.added(SentCard(task_id=task_id, about=about, member=member, created_at=self.now))

    def find(self, task_id: str) -> SentCard | None:
        """The card of a task id, or None: not ours."""
        return self.session.get(SentCard, task_id)

    def open_about(self, about: str, member: str | None = None) -> Sequence[SentCard]:
        """Cards about a thing that can still be pressed, newest last."""
        query = select(SentCard).where(SentCard.about == about, SentCard.closed_at.is_(None))
        if member is not None:
            query = query.where(SentCard.member == member)
        return self.session.scalars(query.order_by(SentCard.created_at, SentCard.task_id)).all()

    def close(self, card: SentCard) -> None:
        """Its buttons are answered: a later click is told so."""
        card.closed_at = self.now

    def keep(self, task_id: str, member: str, code: str, *, clicked: bool) -> None:
        """A code WeCom gave: at the sending, or with a click."""
        self.session.add(
            CardCode(task_id=task_id, member=member, code=code, clicked=clicked, expires_at=self.now + CODE_LIFE)
        )
        self.session.flush()

    def take(self, task_id: str, member: str | None = None) -> str | None:
        """
        A code that still lives, now spent; None when there is none.

        A click's code is taken before the one of the sending, which is saved for the last redraw.
        """
        wanted = select(CardCode.id).where(
            CardCode.task_id == task_id, CardCode.spent_at.is_(None), CardCode.expires_at > self.now
        )
        if member is not None:
            wanted = wanted.where(CardCode.member == member)
        first = wanted.order_by(CardCode.clicked.desc(), CardCode.id.desc()).limit(1).scalar_subquery()
        return self.session.scalar(
            update(CardCode)
            .where(CardCode.id == first, CardCode.spent_at.is_(None))
            .values(spent_at=self.now)
            .returning(CardCode.code)
        )

    def follow(self, old: str, new: str, member: str) -> None:
        """The card has a new task id; unspent codes of the old one are leave to redraw the same message."""
        self.session.execute(
            update(CardCode)
            .where(CardCode.task_id == old, CardCode.member == member, CardCode.spent_at.is_(None))
            .values(task_id=new)
        )

    def give_back(self, task_id: str, code: str) -> None:
        """A taken code that WeCom did not use lives again."""
        self.session.execute(
            update(CardCode).where(CardCode.task_id == task_id, CardCode.code == code).values(spent_at=None)
        )

    def forget(self, *, keep: timedelta) -> None:
        """Drop dead codes, and cards sent longer ago than `keep`."""
        self.session.execute(delete(CardCode).where(CardCode.expires_at < self.now))
        self.session.execute(delete(SentCard).where(SentCard.created_at < self.now - keep))
