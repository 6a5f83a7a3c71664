"""
Databases with our tables in them, one of each kind for a worker, emptied before each test that asks for one.

Making the tables, and composing every statement anew for another engine, would cost more than most tests do.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from storage import ledger_tables, models
from storage.base import Base
from storage.store import Store, open_engine

TABLES = (ledger_tables, models)  # imported so that they are known
OTHERS_OUT = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
EMPTY = """
    DO $$ DECLARE each record; BEGIN
        SET LOCAL session_replication_role = replica;  -- no foreign keys for the moment
        FOR each IN SELECT schemaname, tablename FROM pg_tables
            WHERE schemaname IN ('public', 'dbos') AND tablename <> 'dbos_migrations'
        LOOP EXECUTE format('DELETE FROM %I.%I', each.schemaname, each.tablename); END LOOP;
        FOR each IN SELECT schemaname, sequencename FROM pg_sequences WHERE last_value IS NOT NULL
        LOOP EXECUTE format('ALTER SEQUENCE %I.%I RESTART', each.schemaname, each.sequencename); END LOOP;
    END $$
"""  # what DBOS keeps there is emptied as well; its tables stay


class Kept:
    """A database that is used again and again. `empty` makes it as if nobody had been there."""

    def __init__(self, url: str, empty: Callable[[], None]) -> None:
        self.url = url
        self.empty = empty
        self.engine: Engine = open_engine(url)

    def opened(self, now: Callable[[], datetime]) -> Store:
        """The only one on it until it is closed."""
        self.empty()
        store = Store(self.url, now)
        store.engine = self.engine
        return store


@pytest.fixture(scope="session")
def kept_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A file, replaced each time."""
    folder = tmp_path_factory.mktemp("tables")
    template, file = folder / "template.sqlite", folder / "bot.sqlite"
    made_at(template)

    def empty() -> None:
        for each in folder.glob(f"{file.name}*"):
            each.unlink()
        shutil.copyfile(template, file)

    return Kept(f"sqlite:///{file}", empty)


def made_at(file: Path) -> None:
    """An SQLite file with our tables."""
    engine = open_engine(f"sqlite:///{file}")
    Base.metadata.create_all(engine)
    engine.dispose()


@pytest.fixture(scope="session")
def kept_postgres(postgres_server: str) -> Iterator[Kept]:
    """A database of the worker's server."""
    url = f"{postgres_server}/kept"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE kept")

    def empty() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(OTHERS_OUT)
            connection.execute(EMPTY)

    kept = Kept(url.replace("postgresql:", "postgresql+psycopg:"), empty)
    Base.metadata.create_all(kept.engine)
    yield kept
    kept.engine.dispose()
