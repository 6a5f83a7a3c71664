"""The copy ledger's tables in the bot's own database, and how the ledger asks it (`storage/ledger.py`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    ForeignKey,
    Index,
    LargeBinary,
    TextClause,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import BigInteger

from storage.base import Base


class CopyRoot(Base):
    """Where mail of one source incarnation goes in one target; chosen once, so a later run adds only what is new."""

    __tablename__ = "copy_roots"
    __table_args__ = (UniqueConstraint("source_key", "target_key", "root"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    source_key: Mapped[str]
    target_key: Mapped[str]
    root: Mapped[str]
    altered: Mapped[bool] = mapped_column(default=False)  # the target changes the bytes of what it stores
    under_way: Mapped[bool] = mapped_column(default=False, server_default=false())  # true for long: a run was killed
    died_at: Mapped[int | None] = mapped_column(BigInteger)  # when sessions died with mail under way; seconds of 1970


class CopyFolder(Base):
    """
    One incarnation of a source folder: its UIDVALIDITY (RFC 3501), and the target folder with the mark, the target's
    UIDNEXT before our first append. A superseded one (`current` false) still owns what it stored.
    """

    __tablename__ = "copy_folders"
    __table_args__ = (UniqueConstraint("root_id", "source", "source_uidvalidity"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    root_id: Mapped[int] = mapped_column(ForeignKey("copy_roots.id"))
    source: Mapped[str]  # names as the servers spell them
    source_uidvalidity: Mapped[int] = mapped_column(BigInteger)  # 32 bits without a sign
    source_uidnext: Mapped[int] = mapped_column(BigInteger)
    target: Mapped[str]
    target_uidvalidity: Mapped[int] = mapped_column(BigInteger)
    target_mark: Mapped[int] = mapped_column(BigInteger)
    current: Mapped[bool] = mapped_column(default=True)


class LedgerLine(Base):
    """
    One mail of the source and what became of it.

    `stored` is written only after the target has confirmed the append. The key is (folder, UID): there is no row id,
    one index less for the busiest table.
    """

    __tablename__ = "copy_ledger"
    __table_args__ = (
        Index("ix_copy_ledger_state", "folder_id", "state", "uid"),
        Index("ix_copy_ledger_target_uid", "folder_id", "target_uid"),
        Index("ix_copy_ledger_size", "folder_id", "size_bytes"),
    )

    folder_id: Mapped[int] = mapped_column(ForeignKey("copy_folders.id"), primary_key=True)
    uid: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    internal_date: Mapped[str]
    flags: Mapped[str]
    state: Mapped[str]  # planned, stored, refused, gone
    target_uid: Mapped[int | None] = mapped_column(BigInteger)
    target_flags: Mapped[str | None]  # what was sent, when it is less than flags
    sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    identity: Mapped[bytes | None] = mapped_column(LargeBinary)  # for targets that change bytes
    attempts: Mapped[int] = mapped_column(default=0)
    reason: Mapped[str | None]  # of a refusal
    detail: Mapped[str | None]
    subject: Mapped[str | None]
    date: Mapped[str | None]
    wrapped: Mapped[bool] = mapped_column(default=False, server_default=false())  # goes as an attachment


class MailHost(Base):
    """What was learned about a mail server: how many connections it likes."""

    __tablename__ = "mail_hosts"

    host: Mapped[str] = mapped_column(primary_key=True)
    connections: Mapped[int]


class EngineDatabase:
    """The ledger's way into SQLite or PostgreSQL through SQLAlchemy."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def begin(self) -> Iterator[ConnectionStatements]:
        with self._engine.begin() as connection:
            yield ConnectionStatements(connection)

    @contextmanager
    def read(self) -> Iterator[ConnectionStatements]:
        with self._engine.connect() as connection:
            yield ConnectionStatements(connection)

    def durable(self) -> None:
        if self._engine.dialect.name == "sqlite":
            connection = self._engine.raw_connection()  # a checkpoint is refused inside a transaction
            try:
                connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
            finally:
                connection.close()


class ConnectionStatements:
    """Statements on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, values: Mapping[str, Any]) -> Sequence[Any]:
        return self._connection.execute(parsed(sql), values).all()

    def run(self, sql: str, values: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        self._connection.execute(parsed(sql), values)


@cache
def parsed(sql: str) -> TextClause:
    return text(sql)
