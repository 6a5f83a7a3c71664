"""Client passwords that people asked for: by whom, for what, and whether they were shown."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import select

from storage.asking import Asking
from storage.public_tables import ClientPassword


class ClientPasswords(Asking):
    """Questions asked of `client_passwords`."""

    def intend(self, job_id: int, public_id: int, remark: str, made_by: str) -> ClientPassword:
        """A password will be made; written before WeCom is asked."""
        return self.added(
            ClientPassword(job_id=job_id, public_id=public_id, remark=remark, made_by=made_by, created_at=self.now)
        )

    def get(self, row_id: int) -> ClientPassword:
        """The row; it must exist."""
        return self.session.get_one(ClientPassword, row_id, populate_existing=True)

    def of_job(self, job_id: int) -> ClientPassword | None:
        """What a job is to make or has made, the latest, unless it has ended."""
        return self.session.scalar(
            select(ClientPassword)
            .where(ClientPassword.job_id == job_id, ClientPassword.ended_at.is_(None))
            .order_by(ClientPassword.id.desc())
            .limit(1)
        )

    def of_mailbox(self, public_id: int) -> Sequence[ClientPassword]:
        """Those of a mailbox that have not ended, the oldest first."""
        return self.session.scalars(
            select(ClientPassword)
            .where(ClientPassword.public_id == public_id, ClientPassword.ended_at.is_(None))
            .order_by(ClientPassword.id)
        ).all()

    def only_these_live(self, public_id: int, auth_code_ids: Collection[int]) -> None:
        """WeCom's list of a mailbox: what is not in it any more has ended."""
        for row in self.of_mailbox(public_id):
            if row.auth_code_id is not None and row.auth_code_id not in auth_code_ids:
                row.ended_at = self.now
