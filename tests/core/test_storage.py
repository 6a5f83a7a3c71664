"""The questions asked of the tables, on both databases, also by several at once."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from bot.clock import SystemClock
from storage.base import Base
from storage.leases import Leases
from storage.models import AuditEntry, Delivery, Moment
from storage.store import Store
from tests.core.conftest import HandClock
from tests.core.migrating import migrate

AT_ONCE = 6


def together(*functions: Callable[[], Any]) -> list[Any]:
    """Call all of them at the same moment; what they gave."""
    barrier = threading.Barrier(len(functions))

    def call(function: Callable[[], Any]) -> Any:
        barrier.wait(10)
        return function()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(call, functions))


# --- migrations


def test_models_and_migrations_agree(database_url: str, clock: HandClock) -> None:
    """A model that was changed without a migration is found here; a second run changes nothing."""
    store = Store(database_url, clock.now)
    store.migrate()
    store.migrate()
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    store.close()


def test_four_processes_migrate_at_once(database_url: str) -> None:
    """Whoever comes first does it, the others find it done."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload([migrate.__module__, "alembic.command", "alembic.config"])
    children = [forks.Process(target=migrate, args=(database_url,)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(90)
        assert child.exitcode == 0


def test_a_new_file_in_use_is_waited_for(tmp_path: Path) -> None:
    """SQLite refuses to turn a file that is being written into WAL, at once and whatever its time limit says."""
    file = tmp_path / "new.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as first:
        first.execute("CREATE TABLE begun (id)")
        first.execute("BEGIN IMMEDIATE")
        first.execute("INSERT INTO begun VALUES (1)")
        with ThreadPoolExecutor(1) as pool:
            opened = pool.submit(open_and_count, f"sqlite:///{file}")
            with pytest.raises(TimeoutError):
                opened.result(0.2)
            first.execute("COMMIT")
            assert opened.result(10) == 1


def open_and_count(url: str) -> int | None:
    """How many rows a second one finds, as soon as it may look."""
    store = Store(url, SystemClock().now)
    with closing(store), store.begin() as tx:
        return tx.session.scalar(text("SELECT count(*) FROM begun"))


# --- the audit chain


def audited(store: Store, count: int) -> None:
    for number in range(count):
        with store.begin() as tx:
            tx.audit.add("mei", "tried", "ahing@corp.test", number=number, words=("a", "阿"))


def test_the_chain_cannot_fork(store: Store) -> None:
    """Several replicas write at once, on an empty chain too: one line comes of it."""
    together(*[lambda: audited(store, 5)] * AT_ONCE)
    with store.begin() as tx:
        assert tx.audit.broken_at() is None
        assert len(list(tx.audit.entries())) == 5 * AT_ONCE


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET who = 'ling' WHERE id = 2",
        "UPDATE audit SET detail = '{}' WHERE id = 2",
        "UPDATE audit SET at = '2026-11-24 12:00:01+00' WHERE id = 2",
        "DELETE FROM audit WHERE id = 2",
        "DELETE FROM audit WHERE id = 3",
        "DELETE FROM audit",
    ],
)
def test_tampering_is_found(store: Store, change: str) -> None:
    """A changed, a missing, and a cut-off entry."""
    audited(store, 3)
    with store.begin() as tx:
        assert tx.audit.broken_at() is None
    with store.engine.begin() as connection:
        connection.execute(text(change))
    with store.begin() as tx:
        assert tx.audit.broken_at() is not None


def test_what_is_undone_is_not_audited(store: Store) -> None:
    """An entry of an undone savepoint would tell of what never happened."""
    with store.begin() as tx:
        tx.audit.add("mei", "kept", "a")
        with suppress(ZeroDivisionError), tx.savepoint():
            tx.audit.add("mei", "undone", "a")
            raise ZeroDivisionError
    with store.begin() as tx:
        assert [each.what for each in tx.audit.entries()] == ["kept"]


def test_a_detail_that_is_no_json_is_refused_where_it_is_given(store: Store) -> None:
    """Not at the commit, where nobody could be told."""
    with store.begin() as tx:
        with pytest.raises(TypeError):
            tx.audit.add("mei", "tried", "a", when=tx.now)
        assert tx.session.scalar(select(AuditEntry.id)) is None


# --- the inbox


def test_one_row_for_a_callback_that_comes_again(store: Store) -> None:
    """Also when it comes to several replicas at the same moment."""

    def add() -> bool:
        with store.begin() as tx:
            return tx.inbox.add("key", "mei", "TextMessage", {}) is not None

    assert sorted(together(*[add] * AT_ONCE)) == [False] * (AT_ONCE - 1) + [True]


def test_counts_of_unhandled_kinds_add_up(store: Store) -> None:
    """Several at once lose none."""

    def count() -> None:
        for _ in range(5):
            with store.begin() as tx:
                tx.inbox.count("app.image")

    together(*[count] * AT_ONCE)
    with store.begin() as tx:
        assert tx.inbox.counts() == {"app.image": 5 * AT_ONCE}


def test_a_new_attempt_is_given_once(store: Store) -> None:
    """Of two replicas that see an ended workflow, one starts the next."""
    with store.begin() as tx:
        row = tx.inbox.add("key", "mei", "TextMessage", {})
        assert row is not None
        message_id = row.id
        delivery_id = tx.deliveries.add("mei", "text", {"text": "a"}).id
        job_id = tx.jobs.add("lookup", asked_by="mei", params={}).id

    def again() -> tuple[int | None, int | None, int | None]:
        with store.begin() as tx:
            return (
                tx.inbox.next_attempt(message_id, 1),
                tx.deliveries.next_attempt(delivery_id, 1),
                tx.jobs.next_wake(job_id, 1),
            )

    given = together(*[again] * AT_ONCE)
    for each in range(3):
        assert sorted(one[each] or 0 for one in given) == [0] * (AT_ONCE - 1) + [2]


# --- moments


def test_the_first_within_a_period_is_one(store: Store, clock: HandClock) -> None:
    """The admins are told of a bug once an hour, whichever replica meets it."""

    def first() -> bool:
        with store.begin() as tx:
            return tx.moments.first_within("bug-told", timedelta(hours=1))

    assert sum(together(*[first] * AT_ONCE)) == 1
    clock.advance(minutes=59)
    assert not first()
    clock.advance(minutes=1)
    assert sum(together(*[first] * AT_ONCE)) == 1
    with store.begin() as tx:
        tx.moments.happened("directory")
        assert tx.moments.last("directory") == clock.now()
        assert tx.moments.last("never") is None
        assert len(tx.session.scalars(select(Moment)).all()) == 2


# --- leases


def test_a_lease_has_one_holder(store: Store) -> None:
    """It runs out on the database's clock, and whoever comes after has a higher number."""
    leases = Leases(store.engine)
    got = together(*[lambda name=f"replica-{number}": leases.acquire("copy", name, 30) for number in range(AT_ONCE)])
    assert sorted(each or 0 for each in got) == [0] * (AT_ONCE - 1) + [1]
    holder = f"replica-{got.index(1)}"
    assert leases.acquire("copy", holder, 30) == 1
    assert leases.holds("copy", holder, 1)
    leases.release("copy", "somebody else")
    assert leases.holds("copy", holder, 1)
    leases.release("copy", holder)
    assert not leases.holds("copy", holder, 1)
    assert leases.acquire("copy", "next", -1) == 2
    assert not leases.holds("copy", "next", 2)  # has run out already
    assert leases.acquire("copy", holder, 30) == 3
    assert not leases.holds("copy", "next", 2)


def test_live_holders_are_those_that_beat(store: Store) -> None:
    """And the long dead ones are forgotten."""
    leases = Leases(store.engine)
    leases.acquire("executor:a", "a", 30)
    leases.acquire("executor:b", "b", -100)
    leases.acquire("other", "c", 30)
    assert leases.live_holders("executor:") == {"a"}
    leases.forget("executor:", 50)
    with store.engine.begin() as connection:
        assert set(connection.scalars(text("SELECT name FROM leases"))) == {"executor:a", "other"}


# --- cards


def test_a_card_code_is_taken_once_and_a_clicks_first(store: Store, clock: HandClock) -> None:
    """The code of the sending is saved for the last redraw; all die after 72 hours."""
    with store.begin() as tx:
        tx.cards.add("t1", "job-1", "mei")
        tx.cards.keep("t1", "mei", "sent", clicked=False)
        tx.cards.keep("t1", "mei", "click", clicked=True)

    def take() -> str | None:
        with store.begin() as tx:
            return tx.cards.take("t1", "mei")

    assert take() == "click"
    assert sorted(each or "" for each in together(*[take] * AT_ONCE)) == [""] * (AT_ONCE - 1) + ["sent"]
    with store.begin() as tx:
        tx.cards.give_back("t1", "sent")
    assert take() == "sent"
    with store.begin() as tx:
        tx.cards.keep("t1", "mei", "late", clicked=True)
    clock.advance(hours=72)
    assert take() is None


# --- what is forgotten


def test_what_is_over_is_forgotten_and_what_waits_is_not(store: Store, clock: HandClock) -> None:
    """BOT_DATA_KEEP_DAYS."""
    with store.begin() as tx:
        for name in ("old", "open"):
            row = tx.inbox.add(name, "mei", "TextMessage", {})
            assert row is not None
            delivery = tx.deliveries.add("mei", "text", {"text": name})
            if name == "old":
                tx.inbox.handled(row, [])
                tx.deliveries.sent(delivery)
        tx.deliveries.count_attempt("mei")
        tx.cards.add("t1", "job-1", "mei")
        tx.cards.keep("t1", "mei", "sent", clicked=False)
        tx.questions.ask("mei", "backup", {}, "reason")
    clock.advance(days=40)
    with store.begin() as tx:
        keep = timedelta(days=30)
        tx.inbox.forget(keep=keep)
        tx.deliveries.forget(keep=keep)
        tx.cards.forget(keep=keep)
        tx.questions.forget()
    with store.begin() as tx:
        assert [each.key for each in tx.inbox.due(settled_seconds=0, count_max=9)] == ["open"]
        assert [each.body["text"] for each in tx.session.scalars(select(Delivery))] == ["open"]
        assert tx.cards.find("t1") is None
        for table in ("inbox", "deliveries"):
            assert tx.session.scalar(text(f"SELECT count(*) FROM {table}")) == 1  # noqa: S608 -- a name of ours
        for table in ("send_attempts", "card_codes", "pending_questions"):
            assert tx.session.scalar(text(f"SELECT count(*) FROM {table}")) == 0  # noqa: S608 -- a name of ours


def test_errors_of_the_database_hold_no_values(store: Store) -> None:
    """They reach the log: neither what somebody typed nor a secret may be in them."""
    with pytest.raises(DBAPIError) as caught, store.begin() as tx:
        tx.session.execute(text("SELECT nothing FROM nowhere WHERE a = :a"), {"a": "typed-secret"})
    assert "typed-secret" not in str(caught.value)
