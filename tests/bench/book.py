"""The recycle bin's book: what a sweep costs with the same entries due beside ever more that are not."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import delete, insert, text, update

from bot.policy import Policy, Role, Roles
from bot.settings import Settings
from bot.work import Services, SweepStep
from handlers.bin.recycle_bin import DUE_MAX
from handlers.rescue import bin_digest
from storage import ledger, models
from storage.base import Base
from storage.models import BinDigest, BinItem, BinSource, BinState, Delivery
from storage.store import Store
from tests.bench.tables import Table
from tests.servers.postgres import serving

TABLES = (ledger, models)  # imported so that they are known
DUE = 100
NOT_DUE = (1_000, 10_000, 100_000)
ROUNDS = 9
SECONDS_MAX, GROWTH_MAX = 1.0, 2.0  # goals; below a millisecond a ratio is noise
ADDED_AT_ONCE = 5_000
NOW = datetime(2026, 3, 3, 2, 0, tzinfo=UTC)  # a working morning in Shanghai
ROLES = Roles({Role.ADMIN: frozenset({"mei", "yan"})})
SETTINGS: dict[str, Any] = {
    "_env_file": None, "wecom_corp_id": "ww1", "wecom_agent_id": 1, "wecom_app_secret": "s",
    "wecom_callback_token": "t", "wecom_callback_aes_key": "k" * 43, "exmail_domain": "corp.test",
    "bot_public_url": "https://bot.corp.test", "bot_secret_keys": "k", "bot_admins": "mei, yan",
}  # fmt: skip


def table() -> Table:
    """One row for each database and size, and how far the cost grew from the smallest to the largest."""
    found = Table(
        "book", f"A sweep of the recycle bin's book, {DUE} entries due",
        ("database, entries not due", "nothing due, ms", "take_due, ms", "whole sweep, ms"),
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="exmail-bot-bench-") as folder, serving() as server:
        for database, urls in (("SQLite", files(Path(folder))), ("PostgreSQL", databases(server))):
            measured = [measure(next(urls), count) for count in NOT_DUE]
            for count, each in zip(NOT_DUE, measured, strict=True):
                found.rows.append((f"{database}, {count:,}", *(f"{1000 * seconds:.2f}" for seconds in each)))
            first, last = measured[0][2], measured[-1][2]
            grown = [f"{b / a:.1f}" for a, b in zip(measured[0], measured[-1], strict=True)]
            held = last <= SECONDS_MAX and last / first <= GROWTH_MAX
            found.remarks.append(
                f"{database}, x {NOT_DUE[-1] // NOT_DUE[0]} entries not due: nothing due x {grown[0]}, take_due x "
                f"{grown[1]}, whole sweep x {grown[2]}; goal below {SECONDS_MAX:g} s and x {GROWTH_MAX:g}: "
                f"{'met' if held else 'NOT MET'}"
            )
    return found


def files(folder: Path) -> Iterator[str]:
    """Fresh SQLite files."""
    for count in NOT_DUE:
        yield f"sqlite:///{folder / f'book-{count}.sqlite'}"


def databases(server: str) -> Iterator[str]:
    """Fresh databases of a server."""
    for count in NOT_DUE:
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE book_{count}")
        yield f"{server.replace('postgresql:', 'postgresql+psycopg:')}/book_{count}"


def measure(url: str, not_due: int) -> tuple[float, float, float]:
    """Seconds, the best of some rounds: of a sweep that finds nothing, of `take_due` alone, of a whole sweep."""
    with closing(Store(url, lambda: NOW)) as store:
        Base.metadata.create_all(store.engine)
        fill(store, not_due)
        with store.begin() as tx:
            tx.session.execute(text("ANALYZE"))  # PostgreSQL does it by itself, some time after so many rows
        services = Services(
            store, object(), Settings(**SETTINGS), Policy(), object(), object(), object(), "r",  # type: ignore[arg-type]
        )  # fmt: skip

        def sweep() -> None:
            with store.begin() as tx:
                bin_digest.remind(SweepStep(tx, services, ROLES))

        def take() -> None:
            with store.begin() as tx:
                assert len(tx.recycle_bin.take_due(count_max=DUE_MAX)) == DUE

        due(store)
        sweep()
        with store.begin() as tx:
            assert tx.session.query(BinDigest).count() == len(ROLES.admins), "the sweep told nobody"
        nothing = best(sweep, lambda: None)
        return nothing, best(take, lambda: due(store)), best(sweep, lambda: due(store))


def fill(store: Store, not_due: int) -> None:
    """Entries whose reminders come tomorrow and later, and those that are to be due."""
    total = not_due + DUE
    for begin in range(0, total, ADDED_AT_ONCE):
        rows = [row(number, due=number < DUE) for number in range(begin, min(begin + ADDED_AT_ONCE, total))]
        with store.begin() as tx:
            tx.session.execute(insert(BinItem), rows)


def row(number: int, *, due: bool) -> dict[str, Any]:
    """An entry; one that is to be due is deleted in a week, the others in ten days to eighty."""
    address, days = f"member{number}@corp.test", 7 if due else 10 + number % 70
    deletes_at = NOW.replace(hour=16) + timedelta(days=days)
    return {
        "address": address, "owner": f"member{number}", "owner_name": f"Member {number}", "manager": None,
        "source": BinSource.LEFT, "known_from": "callback", "state": BinState.WAITING, "claim": address,
        "entered_at": deletes_at - timedelta(days=30), "deletes_at": deletes_at,
        "next_at": NOW + timedelta(days=1 + number % 70), "told_at": NOW - timedelta(days=1), "again_for": [],
        "created_at": NOW, "evidence": {},
    }  # fmt: skip


def due(store: Store) -> None:
    """The same entries are due again, as if nobody had been told."""
    with store.begin() as tx:
        tx.session.execute(
            update(BinItem)
            .where(BinItem.id <= DUE)
            .values(next_at=NOW - timedelta(minutes=1), told_at=NOW - timedelta(days=2), state=BinState.WAITING)
        )
        tx.session.execute(delete(BinDigest))
        tx.session.execute(delete(Delivery))


def best(work: Callable[[], None], before: Callable[[], None]) -> float:
    """Seconds of `work`, without what is done before it; the best, since others work on the machine, too."""
    seconds = []
    for _ in range(ROUNDS):
        before()
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


if __name__ == "__main__":
    print(table().text())
