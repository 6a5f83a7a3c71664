"""The ledger in both databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from bot.mail.ledger import Ledger
from storage.base import Base
from storage.ledger import FORGOTTEN_SECONDS, Database, LeaseLost, SqlHosts, SqlLedger
from storage.ledger_file import SCHEMA, LedgerFile
from storage.ledger_tables import CopyFolder, CopyRoot, EngineDatabase, LedgerLine, MailHost
from storage.store import open_engine

HASH = b"\1" * 32


TABLES = [each.__table__ for each in (CopyRoot, CopyFolder, LedgerLine, MailHost)]


@pytest.fixture(params=["file", "sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """The command line's file, and the bot's two databases."""
    if request.param == "file":
        file = LedgerFile(tmp_path / "ledger.sqlite")
        yield file
        file.close()
        return
    sqlite = request.param == "sqlite"
    engine = (
        open_engine(f"sqlite:///{tmp_path / 'bot.sqlite'}")
        if sqlite
        else create_engine(request.getfixturevalue("postgres"))
    )
    Base.metadata.create_all(engine, tables=TABLES)  # type: ignore[arg-type]
    yield EngineDatabase(engine)
    engine.dispose()


def filled(database: Database, **more: object) -> tuple[SqlLedger, int]:
    ledger = SqlLedger(database, "source", "target", "root", **more)  # type: ignore[arg-type]
    record = ledger.add_folder(
        "INBOX",
        source_uidvalidity=4_000_000_000,
        source_uidnext=9,
        target="b/INBOX",
        target_uidvalidity=2,
        target_mark=5,
    )
    ledger.plan(record.id, [(uid, 100 * uid, "", "\\Seen") for uid in range(1, 9)])
    return ledger, record.id


def test_it_is_a_ledger(database: Database) -> None:
    """For mypy as much as for the reader."""
    ledger: Ledger = filled(database)[0]
    assert ledger.folders()[0].source_uidvalidity == 4_000_000_000


def test_lines_are_kept_by_another_of_the_same_key(database: Database) -> None:
    ledger, folder = filled(database)
    assert ledger.plan(folder, [(8, 1, "", ""), (9, 900, "", "")]) == 1, "only what is new"
    ledger.stored(folder, 1, target_uid=5, sha256=HASH)
    ledger.stored(folder, 2, target_uid=None, sha256=HASH)
    ledger.refused(folder, 3, reason="content", detail="NUL", subject="s", date="d")
    ledger.gone(folder, 4)
    ledger.flush(durable=True)

    again = SqlLedger(database, "source", "target", "root")
    assert again.counts(folder) == {"stored": (2, 300), "refused": (1, 300), "gone": (1, 400), "planned": (5, 3500)}
    assert [line.uid for line in again.lines(folder, state="planned", after=5, limit=2)] == [6, 7]
    assert again.owned("b/INBOX", 5, 99) == {5}
    assert {uid: line.uid for uid, line in again.owners("b/INBOX", 1, 9).items()} == {5: 1}
    assert [line.uid for line in again.unplaced("b/INBOX")] == [2]
    assert again.has_unplaced("b/INBOX")
    assert not again.has_unplaced("b/Sent")
    assert [line.uid for line in again.unread_lines("b/INBOX", 600)] == [6]
    assert not again.unread_lines("b/INBOX", 100)
    assert [line.uid for line in again.equal_lines("b/INBOX", 100, HASH)] == [1]
    assert not again.equal_lines("b/INBOX", 100, HASH[:-1])
    assert again.known(folder, 2, 4) == {2, 3, 4}
    assert [(line.uid, line.subject, line.attempts) for line in again.refusals()] == [(3, "s", 1)]
    assert again.retry_refused(attempts_max=1) == 0
    assert again.retry_refused(reasons=["busy"]) == 0
    assert again.retry_refused() == 1
    assert again.counts(folder)["planned"] == (6, 3800)
    assert not SqlLedger(database, "source of another incarnation", "target", "root").folders()


def test_lines_are_committed_in_groups(database: Database) -> None:
    ledger, folder = filled(database)
    other = SqlLedger(database, "source", "target", "root")
    ledger._since = float("inf")
    ledger.stored(folder, 1, target_uid=5, sha256=HASH)
    ledger.flush()
    assert other.counts(folder)["stored"] == (1, 100)


def test_a_renumbered_source_keeps_what_it_stored(database: Database) -> None:
    ledger, folder = filled(database)
    for uid in (1, 2, 3):
        ledger.stored(folder, uid, target_uid=uid + 10, sha256=HASH)
    new = ledger.renumbered(folder, source_uidvalidity=77, source_uidnext=20, uids={1: 2, 2: 1})
    assert [(each.current, each.source_uidvalidity) for each in ledger.folders()] == [
        (False, 4_000_000_000),
        (True, 77),
    ]
    assert [(line.uid, line.target_uid) for line in ledger.lines(new.id)] == [(1, 12), (2, 11)]
    assert ledger.owned("b/INBOX", 1, 99) == {11, 12, 13}, "the third still owns its copy"
    back = ledger.renumbered(new.id, source_uidvalidity=4_000_000_000, source_uidnext=9, uids={1: 5})
    assert back.id == folder
    assert [line.uid for line in ledger.lines(folder)] == [3, 5]


def test_a_renumbered_target_is_matched_anew(database: Database) -> None:
    ledger, folder = filled(database)
    for uid in (1, 2, 3):
        ledger.stored(folder, uid, target_uid=uid + 10, sha256=HASH)
    gone = ledger.rematched("b/INBOX", target_uidvalidity=3, target_mark=9, owned={(folder, 1): 4, (folder, 7): 5})
    assert gone == 2
    assert ledger.owned("b/INBOX", 1, 99) == {4, 5}
    assert ledger.counts(folder)["planned"][0] == 6
    record = ledger.folders()[0]
    assert (record.target_uidvalidity, record.target_mark) == (3, 9)


def test_a_lost_lease_writes_nothing(database: Database) -> None:
    mine = True
    ledger, folder = filled(database, fence=lambda: mine)
    ledger.stored(folder, 1, target_uid=5, sha256=HASH)
    ledger.flush()
    mine = False
    ledger.stored(folder, 2, target_uid=6, sha256=HASH)
    with pytest.raises(LeaseLost):
        ledger.flush()
    assert SqlLedger(database, "source", "target", "root").counts(folder)["stored"] == (1, 100)


def test_ten_thousand_lines_are_no_matter(database: Database) -> None:
    ledger, folder = filled(database)
    assert ledger.plan(folder, [(uid, 1, "", "") for uid in range(100, 10_100)]) == 10_000
    assert ledger.plan(folder, [(uid, 1, "", "") for uid in range(100, 10_100)]) == 0


def test_a_run_that_did_not_end_is_known(database: Database) -> None:
    """Also when a connection died in one that did; until a run that began long after has ended."""
    filled(database)
    now = [1_000_000.0]

    def ledger() -> SqlLedger:
        return SqlLedger(database, "source", "target", "root", now=lambda: now[0])

    assert ledger().begin_run() is None
    second = ledger()
    assert (second.begin_run(), second.unclean) == (0.0, True)
    second.end_run()
    now[0] += 100
    third = ledger()
    assert third.begin_run() == 100.0
    third.died()
    third.end_run()
    now[0] += FORGOTTEN_SECONDS
    fourth = ledger()
    assert fourth.begin_run() == FORGOTTEN_SECONDS
    assert fourth.unclean
    fourth.end_run()
    assert not fourth.unclean
    assert ledger().begin_run() is None


def test_a_mail_may_go_as_an_attachment(database: Database) -> None:
    ledger, folder = filled(database)
    assert not ledger.attached()
    ledger.wrap(folder, 1, reason="content", detail="NUL", subject="s", date="d")
    ledger.refused(folder, 2, reason="content", detail="NUL", subject="s", date="d")
    assert ledger.retry_refused(reasons=["content"], wrapped=True) == 1
    assert [line.uid for line in ledger.wrapped("b/INBOX")] == [1, 2]
    assert ledger.counts(folder)["planned"] == (8, 3600)
    ledger.stored(folder, 1, target_uid=5, sha256=HASH)
    ledger.stored(folder, 3, target_uid=6, sha256=HASH)
    assert [(line.uid, line.detail) for line in ledger.attached()] == [(1, "NUL")]


def test_what_a_host_likes_is_remembered(database: Database) -> None:
    hosts = SqlHosts(database)
    assert hosts.connections("imap.corp.test") is None
    hosts.learn("imap.corp.test", 3)
    hosts.learn("imap.corp.test", 2)
    assert hosts.connections("imap.corp.test") == 2


def test_the_file_has_the_tables_of_the_database(tmp_path: Path) -> None:
    """Column by column, index by index; also one made by the first release."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine, tables=TABLES)  # type: ignore[arg-type]
    old = sqlite3.connect(tmp_path / "old.sqlite")
    old.executescript(
        SCHEMA.replace("    under_way BOOLEAN DEFAULT 0 NOT NULL,\n", "")
        .replace("    died_at BIGINT,\n", "")
        .replace("    wrapped BOOLEAN DEFAULT 0 NOT NULL,\n", "")
    )
    old.close()
    with engine.connect() as connection:
        wanted = described(lambda sql: connection.exec_driver_sql(sql).all())
    for name in ("new", "old"):
        file = LedgerFile(tmp_path / f"{name}.sqlite")
        found = described(lambda sql, file=file: [tuple(row) for row in file.rows(sql, {})])  # type: ignore[misc]
        file.close()
        assert found == wanted
    engine.dispose()


def described(ask: Callable[[str], Sequence[Any]]) -> dict[str, object]:
    """Columns with type, NOT NULL and key, and the columns of each index."""
    result: dict[str, object] = {}
    for table in TABLES:
        columns = {row[1]: (row[2], row[3], row[5]) for row in ask(f"PRAGMA table_info({table.name})")}
        indexes = {
            (row[2], tuple(part[2] for part in ask(f"PRAGMA index_info({row[1]})")))
            for row in ask(f"PRAGMA index_list({table.name})")
        }
        result[table.name] = (columns, indexes)
    return result
