"""Mailboxes that were switched off through the bot."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from storage.asking import Asking
from storage.public_tables import Freeze


class Freezes(Asking):
    """Questions asked of `freezes`."""

    def of(self, *, userid: str | None = None, public_id: int | None = None) -> Freeze | None:
        """The freeze of a member's or a public mailbox that holds."""
        whose = Freeze.public_id == public_id if userid is None else Freeze.userid == userid
        return self.session.scalar(select(Freeze).where(whose, Freeze.ended_at.is_(None)).order_by(Freeze.id.desc()))

    def all(self) -> Sequence[Freeze]:
        """Those that hold, the oldest first."""
        return self.session.scalars(select(Freeze).where(Freeze.ended_at.is_(None)).order_by(Freeze.id)).all()

    def begin(
        self, *, job_id: int, address: str, userid: str | None, public_id: int | None, reason: str, by: str
    ) -> None:
        """It is switched off now; one that is so already stays as it was written."""
        if self.of(userid=userid, public_id=public_id) is None:
            self.added(
                Freeze(
                    job_id=job_id, address=address, userid=userid, public_id=public_id, reason=reason, frozen_by=by,
                    frozen_at=self.now,
                )
            )  # fmt: skip

    def end(self, *, userid: str | None, public_id: int | None, by: str) -> None:
        """It is switched on again."""
        row = self.of(userid=userid, public_id=public_id)
        if row is not None:
            row.ended_by, row.ended_at = by, self.now
