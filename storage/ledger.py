"""
The copy ledger: what became of each mail of a source.

One `SqlLedger` per (source incarnation, target, root). Lines are gathered and committed in groups: a mail in the
target whose line was lost by a crash lies at or above its folder's mark and is found again by its bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import (
    Connection,
    Engine,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    UniqueConstraint,
    bindparam,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import BigInteger

from storage.base import Base

GROUP_LINES = 64
GROUP_SECONDS = 0.05
PLAN_LINES = 500


class LeaseLost(Exception):
    """Somebody else writes this ledger now: nothing of what was gathered is written."""


class CopyRoot(Base):
    """Where mail of one source incarnation goes in one target; chosen once, so a later run adds only what is new."""

    __tablename__ = "copy_roots"
    __table_args__ = (UniqueConstraint("source_key", "target_key", "root"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    source_key: Mapped[str]
    target_key: Mapped[str]
    root: Mapped[str]
    altered: Mapped[bool] = mapped_column(default=False)  # the target changes the bytes of what it stores


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


ROOTS = cast(Table, CopyRoot.__table__)
FOLDERS = cast(Table, CopyFolder.__table__)
LINES = cast(Table, LedgerLine.__table__)

STORED = (
    update(LINES)
    .where(LINES.c.folder_id == bindparam("in_folder"), LINES.c.uid == bindparam("of_uid"))
    .values(
        state="stored",
        target_uid=bindparam("at_uid"),
        sha256=bindparam("hash"),
        identity=bindparam("who"),
        target_flags=bindparam("sent_flags"),
        reason=None,
        detail=None,
    )
)
REFUSED = (
    update(LINES)
    .where(LINES.c.folder_id == bindparam("in_folder"), LINES.c.uid == bindparam("of_uid"))
    .values(
        state="refused",
        attempts=LINES.c.attempts + 1,
        reason=bindparam("why"),
        detail=bindparam("said"),
        subject=bindparam("about"),
        date=bindparam("dated"),
    )
)
GONE = (
    update(LINES)
    .where(LINES.c.folder_id == bindparam("in_folder"), LINES.c.uid == bindparam("of_uid"))
    .values(state="gone")
)


class SqlLedger:
    """
    The ledger in SQLite or PostgreSQL; a `bot.mail.ledger.Ledger` without knowing it.

    `fence` is asked before each group is committed: False means that the lease is lost, and `flush` raises LeaseLost.
    """

    def __init__(
        self, engine: Engine, source_key: str, target_key: str, root: str, *, fence: Callable[[], bool] | None = None
    ) -> None:
        self._engine = engine
        self._fence = fence
        self._stored: list[dict[str, Any]] = []
        self._refused: list[dict[str, Any]] = []
        self._gone: list[dict[str, Any]] = []
        self._since = 0.0
        key = {"source_key": source_key, "target_key": target_key, "root": root}
        with engine.begin() as connection:
            connection.execute(self._insert_or_ignore(ROOTS), [key | {"altered": False}])
            row = connection.execute(select(CopyRoot.id, CopyRoot.altered).filter_by(**key)).one()
        self._root_id, self._altered = row

    @staticmethod
    def create_tables(engine: Engine) -> None:
        """The ledger's own tables, for a file of its own (`exmail-bot copy --ledger`)."""
        Base.metadata.create_all(engine, tables=[ROOTS, FOLDERS, LINES])

    def _insert_or_ignore(self, table: Any) -> Any:
        if self._engine.dialect.name == "postgresql":
            from sqlalchemy.dialects import postgresql  # slow to import, and the command line never needs it

            return postgresql.insert(table).on_conflict_do_nothing()
        return sqlite.insert(table).on_conflict_do_nothing()

    # The root

    @property
    def altered(self) -> bool:
        return self._altered

    def set_altered(self) -> None:
        self._altered = True
        with self._begin() as connection:
            connection.execute(update(CopyRoot).where(CopyRoot.id == self._root_id).values(altered=True))

    # Folders

    def folders(self) -> Sequence[Any]:
        self.flush()
        with self._engine.connect() as connection:
            return connection.execute(
                select(FOLDERS).where(FOLDERS.c.root_id == self._root_id).order_by(FOLDERS.c.id)
            ).all()

    def add_folder(
        self,
        source: str,
        *,
        source_uidvalidity: int,
        source_uidnext: int,
        target: str,
        target_uidvalidity: int,
        target_mark: int,
    ) -> Any:
        with self._begin() as connection:
            return self._add_folder(
                connection,
                source=source,
                source_uidvalidity=source_uidvalidity,
                source_uidnext=source_uidnext,
                target=target,
                target_uidvalidity=target_uidvalidity,
                target_mark=target_mark,
            )

    def _add_folder(self, connection: Connection, **columns: Any) -> Any:
        return connection.execute(
            insert(FOLDERS).values(root_id=self._root_id, current=True, **columns).returning(FOLDERS)
        ).one()

    def set_uidnext(self, folder_id: int, source_uidnext: int) -> None:
        with self._begin() as connection:
            connection.execute(update(FOLDERS).where(FOLDERS.c.id == folder_id).values(source_uidnext=source_uidnext))

    def renumbered(
        self, folder_id: int, *, source_uidvalidity: int, source_uidnext: int, uids: Mapping[int, int]
    ) -> Any:
        self.flush()
        with self._begin() as connection:
            old = connection.execute(
                update(FOLDERS).where(FOLDERS.c.id == folder_id).values(current=False).returning(FOLDERS)
            ).one()
            known = connection.execute(
                select(FOLDERS).where(
                    FOLDERS.c.root_id == self._root_id,
                    FOLDERS.c.source == old.source,
                    FOLDERS.c.source_uidvalidity == source_uidvalidity,
                )
            ).one_or_none()
            if known is None:
                new = self._add_folder(
                    connection,
                    source=old.source,
                    source_uidvalidity=source_uidvalidity,
                    source_uidnext=source_uidnext,
                    target=old.target,
                    target_uidvalidity=old.target_uidvalidity,
                    target_mark=old.target_mark,
                )
            else:  # an old number has come back (a restored server): what it knew counts again
                new = connection.execute(
                    update(FOLDERS)
                    .where(FOLDERS.c.id == known.id)
                    .values(
                        current=True,
                        source_uidnext=source_uidnext,
                        target=old.target,
                        target_uidvalidity=old.target_uidvalidity,
                        target_mark=old.target_mark,
                    )
                    .returning(FOLDERS)
                ).one()
            there = set(connection.scalars(select(LINES.c.uid).where(LINES.c.folder_id == new.id)))
            moves = [{"old": old_uid, "new": new_uid} for old_uid, new_uid in uids.items() if new_uid not in there]
            if moves:
                connection.execute(
                    update(LINES)
                    .where(LINES.c.folder_id == folder_id, LINES.c.uid == bindparam("old"))
                    .values(folder_id=new.id, uid=bindparam("new")),
                    moves,
                )
            connection.execute(LINES.delete().where(LINES.c.folder_id == folder_id, LINES.c.state != "stored"))
            return new

    def rematched(
        self, target: str, *, target_uidvalidity: int, target_mark: int, owned: Mapping[tuple[int, int], int]
    ) -> int:
        self.flush()
        with self._begin() as connection:
            ids = self._ids_of(connection, target)
            connection.execute(
                update(FOLDERS)
                .where(FOLDERS.c.id.in_(ids))
                .values(target_uidvalidity=target_uidvalidity, target_mark=target_mark)
            )
            mine = LINES.c.folder_id.in_(ids)
            before = set(
                connection.execute(select(LINES.c.folder_id, LINES.c.uid).where(mine, LINES.c.state == "stored")).all()
            )
            connection.execute(
                update(LINES).where(mine, LINES.c.state == "stored").values(state="planned", target_uid=None)
            )
            found = [
                {"in_folder": folder_id, "of_uid": uid, "at_uid": target_uid}
                for (folder_id, uid), target_uid in owned.items()
            ]
            if found:
                connection.execute(
                    update(LINES)
                    .where(LINES.c.folder_id == bindparam("in_folder"), LINES.c.uid == bindparam("of_uid"))
                    .values(state="stored", target_uid=bindparam("at_uid")),
                    found,
                )
            return len(before - owned.keys())

    def _ids_of(self, connection: Connection, target: str) -> list[int]:
        query = select(FOLDERS.c.id).where(FOLDERS.c.root_id == self._root_id, FOLDERS.c.target == target)
        return list(connection.scalars(query))

    def forget_places(self, target: str) -> None:
        self.flush()
        with self._begin() as connection:
            ids = self._ids_of(connection, target)
            connection.execute(
                update(LINES).where(LINES.c.folder_id.in_(ids), LINES.c.state == "stored").values(target_uid=None)
            )

    # Lines

    def plan(self, folder_id: int, lines: Iterable[tuple[int, int, str, str]]) -> int:
        rows: list[dict[str, Any]] = [
            {
                "folder_id": folder_id,
                "uid": uid,
                "size_bytes": size_bytes,
                "internal_date": internal_date,
                "flags": flags,
                "state": "planned",
                "attempts": 0,
            }
            for uid, size_bytes, internal_date, flags in lines
        ]
        new = 0
        with self._begin() as connection:
            for start in range(0, len(rows), PLAN_LINES):
                some = rows[start : start + PLAN_LINES]
                known = set(
                    connection.scalars(
                        select(LINES.c.uid).where(
                            LINES.c.folder_id == folder_id,
                            LINES.c.uid.between(min(row["uid"] for row in some), max(row["uid"] for row in some)),
                        )
                    )
                )
                fresh = [row for row in some if row["uid"] not in known]
                if fresh:
                    connection.execute(self._insert_or_ignore(LINES), fresh)
                new += len(fresh)
        return new

    def lines(
        self, folder_id: int, *, state: str | None = None, after: int = 0, limit: int | None = None
    ) -> Sequence[Any]:
        self.flush()
        query = select(LINES).where(LINES.c.folder_id == folder_id, LINES.c.uid > after).order_by(LINES.c.uid)
        if state is not None:
            query = query.where(LINES.c.state == state)
        if limit is not None:
            query = query.limit(limit)
        with self._engine.connect() as connection:
            return connection.execute(query).all()

    def _lines_where(self, target: str, *conditions: Any) -> Sequence[Any]:
        self.flush()
        with self._engine.connect() as connection:
            ids = self._ids_of(connection, target)
            return connection.execute(
                select(LINES).where(LINES.c.folder_id.in_(ids), *conditions).order_by(LINES.c.folder_id, LINES.c.uid)
            ).all()

    def lines_of_size(self, target: str, size_bytes: int) -> Sequence[Any]:
        return self._lines_where(target, LINES.c.size_bytes == size_bytes)

    def unplaced(self, target: str) -> Sequence[Any]:
        return self._lines_where(target, LINES.c.state == "stored", LINES.c.target_uid.is_(None))

    def owners(self, target: str, low: int, high: int) -> Mapping[int, Any]:
        found = self._lines_where(target, LINES.c.state == "stored", LINES.c.target_uid.between(low, high))
        return {line.target_uid: line for line in found}

    def owned(self, target: str, low: int) -> frozenset[int]:
        self.flush()
        with self._engine.connect() as connection:
            ids = self._ids_of(connection, target)
            query = select(LINES.c.target_uid).where(
                LINES.c.folder_id.in_(ids), LINES.c.state == "stored", LINES.c.target_uid >= low
            )
            return frozenset(connection.scalars(query))

    def known(self, folder_id: int, low: int, high: int) -> frozenset[int]:
        self.flush()
        query = select(LINES.c.uid).where(LINES.c.folder_id == folder_id, LINES.c.uid.between(low, high))
        with self._engine.connect() as connection:
            return frozenset(connection.scalars(query))

    def stored(
        self,
        folder_id: int,
        uid: int,
        *,
        target_uid: int | None,
        sha256: bytes,
        identity: bytes | None = None,
        target_flags: str | None = None,
    ) -> None:
        self._gather(
            self._stored,
            {
                "in_folder": folder_id,
                "of_uid": uid,
                "at_uid": target_uid,
                "hash": sha256,
                "who": identity,
                "sent_flags": target_flags,
            },
        )

    def refused(
        self, folder_id: int, uid: int, *, reason: str, detail: str, subject: str | None, date: str | None
    ) -> None:
        self._gather(
            self._refused,
            {"in_folder": folder_id, "of_uid": uid, "why": reason, "said": detail, "about": subject, "dated": date},
        )

    def describe(self, folder_id: int, uid: int, *, subject: str, date: str) -> None:
        self.flush()
        with self._begin() as connection:
            connection.execute(
                update(LINES)
                .where(LINES.c.folder_id == folder_id, LINES.c.uid == uid)
                .values(subject=subject, date=date)
            )

    def gone(self, folder_id: int, uid: int) -> None:
        self._gather(self._gone, {"in_folder": folder_id, "of_uid": uid})

    def retry_refused(self, *, attempts_max: int | None = None, reasons: Sequence[str] | None = None) -> int:
        self.flush()
        statement = update(LINES).where(
            LINES.c.folder_id.in_(select(FOLDERS.c.id).where(FOLDERS.c.root_id == self._root_id)),
            LINES.c.state == "refused",
        )
        if attempts_max is not None:
            statement = statement.where(LINES.c.attempts < attempts_max)
        if reasons is not None:
            statement = statement.where(LINES.c.reason.in_(reasons))
        with self._begin() as connection:
            return len(connection.execute(statement.values(state="planned").returning(LINES.c.uid)).all())

    def refusals(self) -> Sequence[Any]:
        self.flush()
        with self._engine.connect() as connection:
            return connection.execute(
                select(LINES)
                .join(FOLDERS, FOLDERS.c.id == LINES.c.folder_id)
                .where(FOLDERS.c.root_id == self._root_id, FOLDERS.c.current, LINES.c.state == "refused")
                .order_by(LINES.c.folder_id, LINES.c.uid)
            ).all()

    def counts(self, folder_id: int) -> Mapping[str, tuple[int, int]]:
        self.flush()
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(LINES.c.state, func.count(), func.sum(LINES.c.size_bytes))
                .where(LINES.c.folder_id == folder_id)
                .group_by(LINES.c.state)
            )
            return {state: (count, int(size or 0)) for state, count, size in rows}

    # Writing

    def _gather(self, lines: list[dict[str, Any]], line: dict[str, Any]) -> None:
        if not self._waiting:
            self._since = time.monotonic()
        lines.append(line)
        if self._waiting >= GROUP_LINES or time.monotonic() - self._since > GROUP_SECONDS:
            self.flush()

    @property
    def _waiting(self) -> int:
        return len(self._stored) + len(self._refused) + len(self._gone)

    def flush(self, *, durable: bool = False) -> None:
        """Commit what is gathered. Raises LeaseLost; then nothing of it is written and nothing should be sent on."""
        if self._waiting:
            stored, refused, gone = self._stored, self._refused, self._gone
            self._stored, self._refused, self._gone = [], [], []
            with self._begin() as connection:
                for statement, lines in ((STORED, stored), (REFUSED, refused), (GONE, gone)):
                    if lines:
                        connection.execute(statement, lines)
        if durable and self._engine.dialect.name == "sqlite":
            connection = self._engine.raw_connection()  # a checkpoint is refused inside a transaction
            try:
                connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
            finally:
                connection.close()

    def _begin(self) -> Any:
        if self._fence is not None and not self._fence():
            self._stored, self._refused, self._gone = [], [], []
            raise LeaseLost("the lease on this copy belongs to somebody else now")
        return self._engine.begin()
