"""Passwords: entered by members (encrypted), minted by the bot (found again by their remark), and IMAP switches."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select, union, update

from storage.asking import Asking
from storage.models import ImapSwitch, Job, JobState, MintedPassword, Secret

ENDED = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


class Passwords(Asking):
    """Questions asked of `secrets`, `minted_passwords` and `imap_switches`."""

    def keep(self, job_id: int, side: str, *, given_by: str, ciphertext: bytes) -> None:
        """The password for one side of a job, in place of an earlier one."""
        self.forget(job_id, side)
        self.session.add(
            Secret(job_id=job_id, side=side, given_by=given_by, ciphertext=ciphertext, created_at=self.now)
        )
        self.session.flush()

    def find(self, job_id: int, side: str) -> Secret | None:
        """The password of one side, encrypted."""
        return self.session.scalar(select(Secret).where(Secret.job_id == job_id, Secret.side == side))

    def forget(self, job_id: int, side: str | None = None) -> None:
        """Drop what was entered for a job."""
        statement = delete(Secret).where(Secret.job_id == job_id)
        if side is not None:
            statement = statement.where(Secret.side == side)
        self.session.execute(statement)

    def all(self) -> Sequence[Secret]:
        """Every kept password, for the rotation of keys."""
        return self.session.scalars(select(Secret)).all()

    def intend(self, job_id: int, public_id: int, remark: str) -> MintedPassword:
        """A password will be minted; written before WeCom is asked."""
        return self.added(MintedPassword(job_id=job_id, public_id=public_id, remark=remark, created_at=self.now))

    def minted(self, row_id: int, auth_code_id: int) -> None:
        """It was."""
        self.session.get_one(MintedPassword, row_id).auth_code_id = auth_code_id

    def minted_for(self, job_id: int) -> Sequence[MintedPassword]:
        """Passwords of a job that still live, or may."""
        return self.session.scalars(
            select(MintedPassword).where(MintedPassword.job_id == job_id, MintedPassword.deleted_at.is_(None))
        ).all()

    def deleted(self, row_id: int) -> None:
        """A minted password is gone at WeCom."""
        self.session.get_one(MintedPassword, row_id).deleted_at = self.now

    def switch(self, job_id: int, userid: str, before: str) -> ImapSwitch:
        """IMAP will be switched on for a member; written before WeCom is asked."""
        return self.added(ImapSwitch(job_id=job_id, userid=userid, before=before, created_at=self.now))

    def switches_of(self, job_id: int) -> Sequence[ImapSwitch]:
        """Switches of a job that are to be put back."""
        return self.session.scalars(
            select(ImapSwitch).where(ImapSwitch.job_id == job_id, ImapSwitch.restored_at.is_(None))
        ).all()

    def switched_by_others(self, userid: str, job_id: int) -> ImapSwitch | None:
        """The open switch of another job that needs the member's IMAP."""
        return self.session.scalar(
            select(ImapSwitch)
            .where(ImapSwitch.userid == userid, ImapSwitch.job_id != job_id, ImapSwitch.restored_at.is_(None))
            .limit(1)
        )

    def stays_on(self, userid: str) -> None:
        """Somebody wants the member's IMAP on: whoever was to put it back leaves it so."""
        self.session.execute(
            update(ImapSwitch).where(ImapSwitch.userid == userid, ImapSwitch.restored_at.is_(None)).values(before="1")
        )

    def left_to_others(self, row_id: int) -> bool:
        """
        Whether another job will put it back, whose row is open; then this row is closed.

        The rows are locked: of two jobs that end at once, one is the last.
        """
        row = self.session.get_one(ImapSwitch, row_id)
        statement = select(ImapSwitch).where(ImapSwitch.userid == row.userid, ImapSwitch.restored_at.is_(None))
        rows = self.session.scalars(
            statement.order_by(ImapSwitch.id).with_for_update().execution_options(populate_existing=True)
        ).all()
        if row not in rows:
            return True
        if len(rows) == 1:
            return False
        row.restored_at = self.now
        return True

    def restored(self, row_id: int) -> None:
        """It is as it was before."""
        self.session.get_one(ImapSwitch, row_id).restored_at = self.now

    def left_over(self) -> Sequence[int]:
        """Ended jobs that left a key behind: a minted password or a switch that could not be undone."""
        open_rows = union(
            select(MintedPassword.job_id).where(MintedPassword.deleted_at.is_(None)),
            select(ImapSwitch.job_id).where(ImapSwitch.restored_at.is_(None)),
        )
        query = select(Job.id).where(Job.id.in_(open_rows), Job.state.in_(ENDED)).order_by(Job.id)
        return self.session.scalars(query).all()
