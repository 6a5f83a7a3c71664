"""What people made or switched off through the bot, and no API tells again: client passwords, frozen mailboxes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from storage.base import Base, UtcDateTime


class ClientPassword(Base):
    """
    A client password of a public mailbox that somebody asked the bot for. The intent is stored before the call.

    `remark` is how it is found again when the answer was lost. The password itself is here only until its page was
    opened, encrypted, in `secrets`.
    """

    __tablename__ = "client_passwords"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), index=True)
    public_id: Mapped[int] = mapped_column(index=True)
    remark: Mapped[str] = mapped_column(String(128))
    auth_code_id: Mapped[int | None]
    made_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    shown_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Freeze(Base):
    """A mailbox that was switched off through the bot, and why: no API says which ones are."""

    __tablename__ = "freezes"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    address: Mapped[str] = mapped_column(String(254), index=True)
    userid: Mapped[str | None] = mapped_column(String(64), index=True)  # a member's mailbox
    public_id: Mapped[int | None]  # a public one
    reason: Mapped[str] = mapped_column(Text)
    frozen_by: Mapped[str] = mapped_column(String(64))
    frozen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_by: Mapped[str | None] = mapped_column(String(64))
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
