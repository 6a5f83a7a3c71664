"""The database: SQLite files by default, PostgreSQL when there are several replicas. Sync throughout."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from storage.answers import Answers
from storage.approvals import Approvals
from storage.audit import Audit
from storage.cards import Cards
from storage.client_passwords import ClientPasswords
from storage.deliveries import Deliveries
from storage.domains import Domains
from storage.freezes import Freezes
from storage.handovers import Handovers
from storage.inbox import Inbox
from storage.jobs import Jobs
from storage.links import Links
from storage.mailboxes import Mailboxes
from storage.members import Members
from storage.moments import Moments
from storage.names import Names
from storage.overrides import Overrides
from storage.passwords import Passwords
from storage.questions import Questions
from storage.recycle_bin import RecycleBin

BUSY_SECONDS = 30
AGAIN_SECONDS = 0.02
MIGRATION_LOCK = 0x65786D61  # any number of ours: the advisory lock that lets one replica migrate


class Transaction:
    """One transaction and the questions it can ask. `now` is the same moment throughout."""

    def __init__(self, session: Session, now: datetime) -> None:
        self.session = session
        self.now = now

    @cached_property
    def inbox(self) -> Inbox:
        return Inbox(self.session, self.now)

    @cached_property
    def answers(self) -> Answers:
        return Answers(self.session, self.now)

    @cached_property
    def jobs(self) -> Jobs:
        return Jobs(self.session, self.now)

    @cached_property
    def deliveries(self) -> Deliveries:
        return Deliveries(self.session, self.now)

    @cached_property
    def cards(self) -> Cards:
        return Cards(self.session, self.now)

    @cached_property
    def members(self) -> Members:
        return Members(self.session, self.now)

    @cached_property
    def names(self) -> Names:
        return Names(self.session, self.now)

    @cached_property
    def mailboxes(self) -> Mailboxes:
        return Mailboxes(self.session, self.now)

    @cached_property
    def approvals(self) -> Approvals:
        return Approvals(self.session, self.now)

    @cached_property
    def overrides(self) -> Overrides:
        return Overrides(self.session, self.now)

    @cached_property
    def handovers(self) -> Handovers:
        return Handovers(self.session, self.now)

    @cached_property
    def questions(self) -> Questions:
        return Questions(self.session, self.now)

    @cached_property
    def links(self) -> Links:
        return Links(self.session, self.now)

    @cached_property
    def passwords(self) -> Passwords:
        return Passwords(self.session, self.now)

    @cached_property
    def client_passwords(self) -> ClientPasswords:
        return ClientPasswords(self.session, self.now)

    @cached_property
    def freezes(self) -> Freezes:
        return Freezes(self.session, self.now)

    @cached_property
    def moments(self) -> Moments:
        return Moments(self.session, self.now)

    @cached_property
    def recycle_bin(self) -> RecycleBin:
        return RecycleBin(self.session, self.now)

    @cached_property
    def domains(self) -> Domains:
        return Domains(self.session, self.now)

    @cached_property
    def audit(self) -> Audit:
        return Audit(self.session, self.now)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What is written inside is undone alone when it raises."""
        with self.audit.undone_with(self.session.begin_nested()):
            yield


class Store:
    """Opens transactions. `now` is called once for each."""

    def __init__(self, url: str, now: Callable[[], datetime]) -> None:
        self.engine = open_engine(url)
        self._now = now

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """A transaction, committed at the end, undone when the block raises."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            tx = Transaction(session, self._now())
            yield tx
            tx.audit.seal()

    def migrate(self) -> None:
        """Bring the tables up to date; one replica at a time."""
        from alembic import command  # 0.4 s to import, needed once a start
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", "storage:migrations")
        with self.engine.begin() as connection:
            if self.engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


def open_engine(url: str) -> Engine:
    """
    An engine whose transactions behave alike on both databases. Its errors never hold values: they reach the log.

    On SQLite: WAL, a full fsync at commit (an acknowledged callback survives a power cut), and `BEGIN IMMEDIATE`, so
    that two writers queue up instead of failing half-way.
    """
    if make_url(url).get_backend_name() == "postgresql":
        return create_engine(url, pool_size=10, max_overflow=20, pool_pre_ping=True, hide_parameters=True)
    engine = create_engine(
        url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # we begin transactions ourselves
        write_ahead(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_SECONDS * 1000}"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def write_ahead(connection: sqlite3.Connection) -> None:
    """WAL. A new file that somebody else uses at this moment is waited for, which SQLite here does not do by itself."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(AGAIN_SECONDS)
        else:
            return
