"""Leave to redraw cards: codes that work once and die after 72 hours."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select, update

from storage.asking import Asking
from storage.models import CardCode

CODE_LIFE = timedelta(hours=72)  # developer.work.weixin.qq.com 94888


class CardCodes(Asking):
    """Questions asked of `card_codes`."""

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
