"""What people are called here beside their names: nicknames the organisation agreed on, and what one person meant."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from storage.base import Base, UtcDateTime


class Nickname(Base):
    """
    What a member is called, too. It counts while he is there: of who left it is free for another.

    `key` is the name without case, `name` as it was typed.
    """

    __tablename__ = "nicknames"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    userid: Mapped[str] = mapped_column(String(64), index=True)
    added_by: Mapped[str] = mapped_column(String(64))
    added_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ChosenName(Base):
    """What somebody meant by a word that fits several: asked once, and remembered for him alone."""

    __tablename__ = "chosen_names"

    member: Mapped[str] = mapped_column(String(64), primary_key=True)
    phrase: Mapped[str] = mapped_column(String(64), primary_key=True)  # without case
    meant: Mapped[str] = mapped_column(String(254))  # a userid, or a whole address
    chosen_at: Mapped[datetime] = mapped_column(UtcDateTime)
