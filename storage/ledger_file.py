"""A copy ledger in a SQLite file of its own, for `exmail-bot copy`: the tables of `ledger_tables.py`, no SQLAlchemy."""

from __future__ import annotations

import fcntl
import sqlite3
from collections import namedtuple
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS copy_roots (
    id INTEGER NOT NULL,
    source_key VARCHAR NOT NULL,
    target_key VARCHAR NOT NULL,
    root VARCHAR NOT NULL,
    altered BOOLEAN NOT NULL,
    under_way BOOLEAN DEFAULT 0 NOT NULL,
    died_at BIGINT,
    CONSTRAINT pk_copy_roots PRIMARY KEY (id),
    CONSTRAINT uq_copy_roots_source_key_target_key_root UNIQUE (source_key, target_key, root)
);
CREATE TABLE IF NOT EXISTS copy_folders (
    id INTEGER NOT NULL,
    root_id INTEGER NOT NULL,
    source VARCHAR NOT NULL,
    source_uidvalidity BIGINT NOT NULL,
    source_uidnext BIGINT NOT NULL,
    target VARCHAR NOT NULL,
    target_uidvalidity BIGINT NOT NULL,
    target_mark BIGINT NOT NULL,
    current BOOLEAN NOT NULL,
    CONSTRAINT pk_copy_folders PRIMARY KEY (id),
    CONSTRAINT uq_copy_folders_root_id_source_source_uidvalidity UNIQUE (root_id, source, source_uidvalidity),
    CONSTRAINT fk_copy_folders_root_id_copy_roots FOREIGN KEY(root_id) REFERENCES copy_roots (id)
);
CREATE TABLE IF NOT EXISTS copy_ledger (
    folder_id INTEGER NOT NULL,
    uid BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    internal_date VARCHAR NOT NULL,
    flags VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    target_uid BIGINT,
    target_flags VARCHAR,
    sha256 BLOB,
    identity BLOB,
    attempts INTEGER NOT NULL,
    reason VARCHAR,
    detail VARCHAR,
    subject VARCHAR,
    date VARCHAR,
    wrapped BOOLEAN DEFAULT 0 NOT NULL,
    CONSTRAINT pk_copy_ledger PRIMARY KEY (folder_id, uid),
    CONSTRAINT fk_copy_ledger_folder_id_copy_folders FOREIGN KEY(folder_id) REFERENCES copy_folders (id)
);
CREATE INDEX IF NOT EXISTS ix_copy_ledger_state ON copy_ledger (folder_id, state, uid);
CREATE INDEX IF NOT EXISTS ix_copy_ledger_target_uid ON copy_ledger (folder_id, target_uid);
CREATE INDEX IF NOT EXISTS ix_copy_ledger_size ON copy_ledger (folder_id, size_bytes);
CREATE TABLE IF NOT EXISTS mail_hosts (
    host VARCHAR NOT NULL,
    connections INTEGER NOT NULL,
    CONSTRAINT pk_mail_hosts PRIMARY KEY (host)
);
"""
ADDED = (  # since the first release
    ("copy_roots", "under_way", "BOOLEAN DEFAULT 0 NOT NULL"),
    ("copy_roots", "died_at", "BIGINT"),
    ("copy_ledger", "wrapped", "BOOLEAN DEFAULT 0 NOT NULL"),
)


class LedgerFile:
    """A `storage.ledger.Database`; in memory when nothing is to be remembered. Close it at the end."""

    def __init__(self, file: Path | None) -> None:
        self._connection = sqlite3.connect(":memory:" if file is None else file, isolation_level=None)
        if file is not None and file.stat().st_size == 0:  # nothing to lose yet: `durable` waits for the disk
            self._connection.execute("PRAGMA synchronous=OFF")
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000", "foreign_keys=ON"):
            self._connection.execute(f"PRAGMA {pragma}").fetchall()
        self._connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")
        for table, column, kind in ADDED:
            if column not in {row.name for row in self.rows(f"PRAGMA table_info({table})", {})}:
                self._connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")

    @contextmanager
    def begin(self) -> Iterator[LedgerFile]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    @contextmanager
    def read(self) -> Iterator[LedgerFile]:
        yield self

    def durable(self) -> None:
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def rows(self, sql: str, values: Mapping[str, Any]) -> Sequence[Any]:
        cursor = self._connection.execute(sql, dict(values))
        if cursor.description is None:
            return []
        make = partial(tuple.__new__, row_type(tuple(column[0] for column in cursor.description)))
        return [*map(make, cursor)]

    def run(self, sql: str, values: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        if isinstance(values, Mapping):
            self._connection.execute(sql, dict(values))
        else:
            self._connection.executemany(sql, values)

    def close(self) -> None:
        self._connection.close()


@contextmanager
def alone(file: Path | None) -> Iterator[bool]:
    """
    Whether nobody else works with this ledger; while the context lasts nobody else may: two runs would copy all twice.

    The lock is the kernel's, on a file beside: a killed run leaves none behind.
    """
    if file is None:
        yield True
        return
    with file.with_name(file.name + ".lock").open("w") as lock:
        free = False
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        yield free


@cache
def row_type(columns: tuple[str, ...]) -> Any:
    return namedtuple("Row", columns)
