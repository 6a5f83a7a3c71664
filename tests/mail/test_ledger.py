"""The ledger in both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from bot.copy_command import ledger_engine
from bot.mail.ledger import Ledger
from storage.ledger import LeaseLost, SqlLedger

HASH = b"\1" * 32


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        engine = ledger_engine(tmp_path / "ledger.sqlite")
    else:
        engine = create_engine(request.getfixturevalue("postgres"))
        SqlLedger.create_tables(engine)
    yield engine
    engine.dispose()


def filled(engine: Engine, **more: object) -> tuple[SqlLedger, int]:
    ledger = SqlLedger(engine, "source", "target", "root", **more)  # type: ignore[arg-type]
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


def test_it_is_a_ledger(database: Engine) -> None:
    """For mypy as much as for the reader."""
    ledger: Ledger = filled(database)[0]
    assert ledger.folders()[0].source_uidvalidity == 4_000_000_000


def test_lines_are_kept_by_another_of_the_same_key(database: Engine) -> None:
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
    assert again.owned("b/INBOX", 5) == {5}
    assert {uid: line.uid for uid, line in again.owners("b/INBOX", 1, 9).items()} == {5: 1}
    assert [line.uid for line in again.unplaced("b/INBOX")] == [2]
    assert [line.uid for line in again.lines_of_size("b/INBOX", 600)] == [6]
    assert again.known(folder, 2, 4) == {2, 3, 4}
    assert [(line.uid, line.subject, line.attempts) for line in again.refusals()] == [(3, "s", 1)]
    assert again.retry_refused(attempts_max=1) == 0
    assert again.retry_refused(reasons=["busy"]) == 0
    assert again.retry_refused() == 1
    assert again.counts(folder)["planned"] == (6, 3800)
    assert not SqlLedger(database, "source of another incarnation", "target", "root").folders()


def test_lines_are_committed_in_groups(database: Engine) -> None:
    ledger, folder = filled(database)
    other = SqlLedger(database, "source", "target", "root")
    ledger._since = float("inf")
    ledger.stored(folder, 1, target_uid=5, sha256=HASH)
    ledger.flush()
    assert other.counts(folder)["stored"] == (1, 100)


def test_a_renumbered_source_keeps_what_it_stored(database: Engine) -> None:
    ledger, folder = filled(database)
    for uid in (1, 2, 3):
        ledger.stored(folder, uid, target_uid=uid + 10, sha256=HASH)
    new = ledger.renumbered(folder, source_uidvalidity=77, source_uidnext=20, uids={1: 2, 2: 1})
    assert [(each.current, each.source_uidvalidity) for each in ledger.folders()] == [
        (False, 4_000_000_000),
        (True, 77),
    ]
    assert [(line.uid, line.target_uid) for line in ledger.lines(new.id)] == [(1, 12), (2, 11)]
    assert ledger.owned("b/INBOX", 1) == {11, 12, 13}, "the third still owns its copy"
    back = ledger.renumbered(new.id, source_uidvalidity=4_000_000_000, source_uidnext=9, uids={1: 5})
    assert back.id == folder
    assert [line.uid for line in ledger.lines(folder)] == [3, 5]


def test_a_renumbered_target_is_matched_anew(database: Engine) -> None:
    ledger, folder = filled(database)
    for uid in (1, 2, 3):
        ledger.stored(folder, uid, target_uid=uid + 10, sha256=HASH)
    gone = ledger.rematched("b/INBOX", target_uidvalidity=3, target_mark=9, owned={(folder, 1): 4, (folder, 7): 5})
    assert gone == 2
    assert ledger.owned("b/INBOX", 1) == {4, 5}
    assert ledger.counts(folder)["planned"][0] == 6
    record = ledger.folders()[0]
    assert (record.target_uidvalidity, record.target_mark) == (3, 9)


def test_a_lost_lease_writes_nothing(database: Engine) -> None:
    mine = True
    ledger, folder = filled(database, fence=lambda: mine)
    ledger.stored(folder, 1, target_uid=5, sha256=HASH)
    ledger.flush()
    mine = False
    ledger.stored(folder, 2, target_uid=6, sha256=HASH)
    with pytest.raises(LeaseLost):
        ledger.flush()
    assert SqlLedger(database, "source", "target", "root").counts(folder)["stored"] == (1, 100)


def test_ten_thousand_lines_are_no_matter(database: Engine) -> None:
    ledger, folder = filled(database)
    assert ledger.plan(folder, [(uid, 1, "", "") for uid in range(100, 10_100)]) == 10_000
    assert ledger.plan(folder, [(uid, 1, "", "") for uid in range(100, 10_100)]) == 0
