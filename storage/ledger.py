"""
The copy ledger: what became of each mail of a source.

One `SqlLedger` per (source incarnation, target, root). Lines are gathered and committed in groups: a mail in the
target whose line was lost by a crash lies at or above its folder's mark and is found again by its bytes.

The statements are plain SQL that SQLite and PostgreSQL both take, over a `Database`: the bot's own through SQLAlchemy
(`ledger_tables.py`), or a file of its own without (`ledger_file.py`), because SQLAlchemy is half of the memory and
most of the start-up time of a bare copy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

GROUP_LINES = 64
GROUP_SECONDS = 0.05
PLAN_LINES = 500
FORGOTTEN_SECONDS = 600  # so long after a death nothing of the dead can land any more

OF_TARGET = "folder_id IN (SELECT id FROM copy_folders WHERE root_id = :root AND target = :target)"
OF_LINE = "WHERE folder_id = :folder AND uid = :uid"
ADD_ROOT = """
    INSERT INTO copy_roots (source_key, target_key, root, altered, under_way)
    VALUES (:source_key, :target_key, :root, false, false) ON CONFLICT DO NOTHING
"""
FIND_ROOT = """
    SELECT id, altered FROM copy_roots WHERE source_key = :source_key AND target_key = :target_key AND root = :root
"""
ADD_FOLDER = """
    INSERT INTO copy_folders (root_id, source, source_uidvalidity, source_uidnext, target, target_uidvalidity,
        target_mark, "current")
    VALUES (:root, :source, :source_uidvalidity, :source_uidnext, :target, :target_uidvalidity, :target_mark, true)
    RETURNING *
"""
COME_BACK = """
    UPDATE copy_folders SET "current" = true, source_uidnext = :source_uidnext, target = :target,
        target_uidvalidity = :target_uidvalidity, target_mark = :target_mark
    WHERE id = :id RETURNING *
"""
ADD_LINE = """
    INSERT INTO copy_ledger (folder_id, uid, size_bytes, internal_date, flags, state, attempts, wrapped)
    VALUES (:folder, :uid, :size_bytes, :internal_date, :flags, 'planned', 0, false) ON CONFLICT DO NOTHING
"""
STORED = f"""
    UPDATE copy_ledger SET state = 'stored', target_uid = :target_uid, sha256 = :sha256, identity = :identity,
        target_flags = :target_flags, reason = CASE WHEN wrapped THEN reason END,
        detail = CASE WHEN wrapped THEN detail END
    {OF_LINE}
"""
REFUSED = f"""
    UPDATE copy_ledger SET state = 'refused', attempts = attempts + 1, reason = :reason, detail = :detail,
        subject = :subject, date = :date
    {OF_LINE}
"""
WRAPPED = f"""
    UPDATE copy_ledger SET wrapped = true, reason = :reason, detail = :detail, subject = :subject, date = :date
    {OF_LINE}
"""
RESIZED = f"UPDATE copy_ledger SET size_bytes = :size_bytes {OF_LINE}"  # by itself: else each line costs an index more
GONE = f"UPDATE copy_ledger SET state = 'gone' {OF_LINE}"
GONE_UIDS = "SELECT uid FROM copy_ledger WHERE folder_id = :folder AND uid BETWEEN :low AND :high AND state = 'gone'"
PLANNED_AGAIN = f"UPDATE copy_ledger SET state = 'planned' {OF_LINE} AND state = 'gone'"
GATHERED = (RESIZED, STORED, REFUSED, WRAPPED, GONE)


class LeaseLost(Exception):
    """Somebody else writes this ledger now: nothing of what was gathered is written."""


class Statements(Protocol):
    """One transaction of a `Database`."""

    def rows(self, sql: str, values: Mapping[str, Any], /) -> Sequence[Any]:
        """What the statement gives, columns as attributes."""

    def run(self, sql: str, values: Mapping[str, Any] | Sequence[Mapping[str, Any]], /) -> None:
        """For one set of values, or for each of several."""


class Database(Protocol):
    """Where a ledger is kept."""

    def begin(self) -> AbstractContextManager[Statements]:
        """A transaction, committed at its end."""

    def read(self) -> AbstractContextManager[Statements]:
        """For questions."""

    def durable(self) -> None:
        """Everything committed is on the disk."""


class SqlLedger:
    """
    A `bot.mail.ledger.Ledger` without knowing it.

    `fence` is asked before each group is committed: False means that the lease is lost, and `flush` raises LeaseLost.
    """

    def __init__(
        self,
        database: Database,
        source_key: str,
        target_key: str,
        root: str,
        *,
        fence: Callable[[], bool] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._fence, self._now = fence, now
        self._died_ago: float | None = None
        self._gathered: dict[str, list[dict[str, Any]]] = {sql: [] for sql in GATHERED}
        self._waiting = 0
        self._since = 0.0
        key = {"source_key": source_key, "target_key": target_key, "root": root}
        with database.begin() as statements:
            statements.run(ADD_ROOT, key)
            row = statements.rows(FIND_ROOT, key)[0]
        self._root_id, self._altered = row.id, bool(row.altered)

    # The root

    @property
    def altered(self) -> bool:
        return self._altered

    def set_altered(self) -> None:
        self._altered = True
        with self._begin() as statements:
            statements.run("UPDATE copy_roots SET altered = true WHERE id = :root", {"root": self._root_id})

    @property
    def unclean(self) -> bool:
        values = {"root": self._root_id}
        with self._database.read() as statements:
            return statements.rows("SELECT died_at FROM copy_roots WHERE id = :root", values)[0].died_at is not None

    def begin_run(self) -> float | None:
        values: dict[str, Any] = {"root": self._root_id}
        with self._begin() as statements:
            before = statements.rows("SELECT under_way, died_at FROM copy_roots WHERE id = :root", values)[0]
            died_at = int(self._now()) if before.under_way else before.died_at
            statements.run(
                "UPDATE copy_roots SET under_way = true, died_at = :died_at WHERE id = :root",
                values | {"died_at": died_at},
            )
        self._died_ago = None if died_at is None else 0.0 if before.under_way else max(0.0, self._now() - died_at)
        return self._died_ago

    def died(self) -> None:
        self._died_ago = 0.0
        values = {"root": self._root_id, "died_at": int(self._now())}
        with self._begin() as statements:
            statements.run("UPDATE copy_roots SET died_at = :died_at WHERE id = :root", values)

    def end_run(self) -> None:
        self.flush()
        forgotten = self._died_ago is not None and self._died_ago >= FORGOTTEN_SECONDS
        with self._begin() as statements:
            statements.run(
                "UPDATE copy_roots SET under_way = false" + ", died_at = NULL" * forgotten + " WHERE id = :root",
                {"root": self._root_id},
            )

    # Folders

    def folders(self) -> Sequence[Any]:
        return self._rows("SELECT * FROM copy_folders WHERE root_id = :root ORDER BY id")

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
        values = {
            "root": self._root_id,
            "source": source,
            "source_uidvalidity": source_uidvalidity,
            "source_uidnext": source_uidnext,
            "target": target,
            "target_uidvalidity": target_uidvalidity,
            "target_mark": target_mark,
        }
        with self._begin() as statements:
            return statements.rows(ADD_FOLDER, values)[0]

    def set_uidnext(self, folder_id: int, source_uidnext: int) -> None:
        with self._begin() as statements:
            statements.run(
                "UPDATE copy_folders SET source_uidnext = :uidnext WHERE id = :id",
                {"id": folder_id, "uidnext": source_uidnext},
            )

    def renumbered(
        self, folder_id: int, *, source_uidvalidity: int, source_uidnext: int, uids: Mapping[int, int]
    ) -> Any:
        self.flush()
        with self._begin() as statements:
            old = statements.rows(
                'UPDATE copy_folders SET "current" = false WHERE id = :id RETURNING *', {"id": folder_id}
            )[0]
            known = statements.rows(
                "SELECT id FROM copy_folders WHERE root_id = :root AND source = :source AND source_uidvalidity = :new",
                {"root": self._root_id, "source": old.source, "new": source_uidvalidity},
            )
            place = {
                "source_uidnext": source_uidnext,
                "target": old.target,
                "target_uidvalidity": old.target_uidvalidity,
                "target_mark": old.target_mark,
            }
            if known:  # an old number has come back (a restored server): what it knew counts again
                new = statements.rows(COME_BACK, place | {"id": known[0].id})[0]
            else:
                more = {"root": self._root_id, "source": old.source, "source_uidvalidity": source_uidvalidity}
                new = statements.rows(ADD_FOLDER, place | more)[0]
            of_new = statements.rows("SELECT uid FROM copy_ledger WHERE folder_id = :id", {"id": new.id})
            there = {row.uid for row in of_new}
            moves = [
                {"folder": folder_id, "uid": old_uid, "to": new.id, "new": new_uid}
                for old_uid, new_uid in uids.items()
                if new_uid not in there
            ]
            if moves:
                statements.run(f"UPDATE copy_ledger SET folder_id = :to, uid = :new {OF_LINE}", moves)
            statements.run("DELETE FROM copy_ledger WHERE folder_id = :id AND state <> 'stored'", {"id": folder_id})
            return new

    def rematched(
        self, target: str, *, target_uidvalidity: int, target_mark: int, owned: Mapping[tuple[int, int], int]
    ) -> int:
        self.flush()
        mine = {"root": self._root_id, "target": target}
        with self._begin() as statements:
            statements.run(
                "UPDATE copy_folders SET target_uidvalidity = :new, target_mark = :mark"
                " WHERE root_id = :root AND target = :target",
                mine | {"new": target_uidvalidity, "mark": target_mark},
            )
            before = statements.rows(
                f"SELECT folder_id, uid FROM copy_ledger WHERE {OF_TARGET} AND state = 'stored'",
                mine,
            )
            statements.run(
                f"UPDATE copy_ledger SET state = 'planned', target_uid = NULL WHERE {OF_TARGET} AND state = 'stored'",
                mine,
            )
            found = [
                {"folder": folder, "uid": uid, "target_uid": target_uid} for (folder, uid), target_uid in owned.items()
            ]
            if found:
                statements.run(
                    f"UPDATE copy_ledger SET state = 'stored', target_uid = :target_uid {OF_LINE}",
                    found,
                )
        return len({(row.folder_id, row.uid) for row in before} - owned.keys())

    def forget_places(self, target: str) -> None:
        self.flush()
        with self._begin() as statements:
            statements.run(
                f"UPDATE copy_ledger SET target_uid = NULL WHERE {OF_TARGET} AND state = 'stored'",
                {"root": self._root_id, "target": target},
            )

    # Lines

    def plan(self, folder_id: int, lines: Iterable[tuple[int, int, str, str]]) -> int:
        rows: list[dict[str, Any]] = [
            {"folder": folder_id, "uid": uid, "size_bytes": size, "internal_date": internal_date, "flags": flags}
            for uid, size, internal_date, flags in lines
        ]
        new = 0
        with self._begin() as statements:
            for start in range(0, len(rows), PLAN_LINES):
                some = rows[start : start + PLAN_LINES]
                uids = [int(row["uid"]) for row in some]
                known = {row.uid for row in self._uids(statements, folder_id, min(uids), max(uids))}
                fresh = [row for row in some if row["uid"] not in known]
                if fresh:
                    statements.run(ADD_LINE, fresh)
                span = {"folder": folder_id, "low": min(uids), "high": max(uids)}
                gone = {row.uid for row in statements.rows(GONE_UIDS, span)}.intersection(uids)
                if gone:  # shown again: it was not gone
                    statements.run(PLANNED_AGAIN, [{"folder": folder_id, "uid": uid} for uid in sorted(gone)])
                new += len(fresh)
        return new

    @staticmethod
    def _uids(statements: Statements, folder_id: int, low: int, high: int) -> Sequence[Any]:
        return statements.rows(
            "SELECT uid FROM copy_ledger WHERE folder_id = :folder AND uid BETWEEN :low AND :high",
            {"folder": folder_id, "low": low, "high": high},
        )

    def lines(
        self, folder_id: int, *, state: str | None = None, after: int = 0, limit: int | None = None
    ) -> Sequence[Any]:
        values: dict[str, Any] = {"folder": folder_id, "after": after}
        sql = "SELECT * FROM copy_ledger WHERE folder_id = :folder AND uid > :after"
        if state is not None:
            sql += " AND state = :state"
            values["state"] = state
        sql += " ORDER BY uid"
        if limit is not None:
            sql += " LIMIT :most"
            values["most"] = limit
        return self._rows(sql, values)

    def _of_target(self, target: str, condition: str, values: Mapping[str, Any] | None = None) -> Sequence[Any]:
        sql = f"SELECT * FROM copy_ledger WHERE {OF_TARGET} AND {condition} ORDER BY folder_id, uid"
        return self._rows(sql, {"target": target, **(values or {})})

    def equal_lines(self, target: str, size_bytes: int, sha256: bytes) -> Sequence[Any]:
        values = {"size_bytes": size_bytes, "sha256": sha256}
        return self._of_target(target, "size_bytes = :size_bytes AND sha256 = :sha256", values)

    def unread_lines(self, target: str, size_bytes: int) -> Sequence[Any]:
        return self._of_target(target, "size_bytes = :size_bytes AND sha256 IS NULL", {"size_bytes": size_bytes})

    def wrapped(self, target: str) -> Sequence[Any]:
        return self._of_target(target, "wrapped")

    def unplaced(self, target: str) -> Sequence[Any]:
        return self._of_target(target, "state = 'stored' AND target_uid IS NULL")

    def has_unplaced(self, target: str) -> bool:
        sql = f"SELECT uid FROM copy_ledger WHERE {OF_TARGET} AND state = 'stored' AND target_uid IS NULL LIMIT 1"
        return bool(self._rows(sql, {"target": target}))

    def owners(self, target: str, low: int, high: int) -> Mapping[int, Any]:
        found = self._of_target(
            target, "state = 'stored' AND target_uid BETWEEN :low AND :high", {"low": low, "high": high}
        )
        return {line.target_uid: line for line in found}

    def owned(self, target: str, low: int, high: int) -> frozenset[int]:
        rows = self._rows(
            f"SELECT target_uid FROM copy_ledger WHERE {OF_TARGET} AND state = 'stored'"
            " AND target_uid BETWEEN :low AND :high",
            {"target": target, "low": low, "high": high},
        )
        return frozenset(row.target_uid for row in rows)

    def known(self, folder_id: int, low: int, high: int) -> frozenset[int]:
        self.flush()
        with self._database.read() as statements:
            return frozenset(row.uid for row in self._uids(statements, folder_id, low, high))

    def stored(
        self,
        folder_id: int,
        uid: int,
        *,
        target_uid: int | None,
        sha256: bytes,
        size_bytes: int | None = None,
        identity: bytes | None = None,
        target_flags: str | None = None,
    ) -> None:
        if size_bytes is not None:
            self._gather(RESIZED, {"folder": folder_id, "uid": uid, "size_bytes": size_bytes})
        line = {
            "folder": folder_id,
            "uid": uid,
            "target_uid": target_uid,
            "sha256": sha256,
            "identity": identity,
            "target_flags": target_flags,
        }
        self._gather(STORED, line)

    def refused(
        self, folder_id: int, uid: int, *, reason: str, detail: str, subject: str | None, date: str | None
    ) -> None:
        line = {"folder": folder_id, "uid": uid, "reason": reason, "detail": detail, "subject": subject, "date": date}
        self._gather(REFUSED, line)

    def wrap(
        self, folder_id: int, uid: int, *, reason: str, detail: str, subject: str | None, date: str | None
    ) -> None:
        line = {"folder": folder_id, "uid": uid, "reason": reason, "detail": detail, "subject": subject, "date": date}
        self._gather(WRAPPED, line)

    def describe(self, folder_id: int, uid: int, *, subject: str, date: str) -> None:
        self.flush()
        with self._begin() as statements:
            statements.run(
                f"UPDATE copy_ledger SET subject = :subject, date = :date {OF_LINE}",
                {"folder": folder_id, "uid": uid, "subject": subject, "date": date},
            )

    def gone(self, folder_id: int, uid: int) -> None:
        self._gather(GONE, {"folder": folder_id, "uid": uid})

    def retry_refused(
        self, *, attempts_max: int | None = None, reasons: Sequence[str] | None = None, wrapped: bool = False
    ) -> int:
        self.flush()
        sql = "UPDATE copy_ledger SET state = 'planned'" + (", wrapped = true" if wrapped else "")
        sql += " WHERE folder_id IN (SELECT id FROM copy_folders WHERE root_id = :root) AND state = 'refused'"
        values: dict[str, Any] = {"root": self._root_id}
        if attempts_max is not None:
            sql += " AND attempts < :attempts_max"
            values["attempts_max"] = attempts_max
        if reasons is not None:
            names = {f"reason_{number}": reason for number, reason in enumerate(reasons)}
            sql += f" AND reason IN ({', '.join(':' + name for name in names)})"
            values |= names
        with self._begin() as statements:
            return len(statements.rows(sql + " RETURNING uid", values))

    def refusals(self) -> Sequence[Any]:
        return self._of_current("state = 'refused'")

    def attached(self) -> Sequence[Any]:
        return self._of_current("state = 'stored' AND wrapped")

    def _of_current(self, condition: str) -> Sequence[Any]:
        return self._rows(
            "SELECT * FROM copy_ledger WHERE folder_id IN"
            ' (SELECT id FROM copy_folders WHERE root_id = :root AND "current")'
            f" AND {condition} ORDER BY folder_id, uid"
        )

    def counts(self, folder_id: int) -> Mapping[str, tuple[int, int]]:
        rows = self._rows(
            "SELECT state, count(*) AS number, sum(size_bytes) AS bytes FROM copy_ledger"
            " WHERE folder_id = :folder GROUP BY state",
            {"folder": folder_id},
        )
        return {row.state: (row.number, int(row.bytes or 0)) for row in rows}

    # Reading and writing

    def _rows(self, sql: str, values: Mapping[str, Any] | None = None) -> Sequence[Any]:
        self.flush()
        values = dict(values or {})
        if ":root" in sql:
            values["root"] = self._root_id
        with self._database.read() as statements:
            return statements.rows(sql, values)

    def _gather(self, sql: str, line: dict[str, Any]) -> None:
        if not self._waiting:
            self._since = time.monotonic()
        self._gathered[sql].append(line)
        self._waiting += 1
        if self._waiting >= GROUP_LINES or time.monotonic() - self._since > GROUP_SECONDS:
            self.flush()

    def flush(self, *, durable: bool = False) -> None:
        """Commit what is gathered. Raises LeaseLost; then nothing of it is written and nothing should be sent on."""
        if self._waiting:
            gathered = self._drop()
            with self._begin() as statements:
                for sql, lines in gathered.items():
                    if lines:
                        statements.run(sql, lines)
        if durable:
            self._database.durable()

    def _drop(self) -> dict[str, list[dict[str, Any]]]:
        gathered, self._gathered, self._waiting = self._gathered, {sql: [] for sql in GATHERED}, 0
        return gathered

    def _begin(self) -> AbstractContextManager[Statements]:
        if self._fence is not None and not self._fence():
            self._drop()
            raise LeaseLost("the lease on this copy belongs to somebody else now")
        return self._database.begin()


class SqlHosts:
    """What was learned about mail servers; a `bot.mail.pace.Hosts`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def connections(self, host: str) -> int | None:
        with self._database.read() as statements:
            rows = statements.rows("SELECT connections FROM mail_hosts WHERE host = :host", {"host": host})
        return rows[0].connections if rows else None

    def learn(self, host: str, connections: int) -> None:
        with self._database.begin() as statements:
            statements.run(
                "INSERT INTO mail_hosts (host, connections) VALUES (:host, :connections)"
                " ON CONFLICT (host) DO UPDATE SET connections = excluded.connections",
                {"host": host, "connections": connections},
            )
