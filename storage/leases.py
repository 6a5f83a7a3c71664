"""Leases on the database's clock: who may do a thing now, and who comes too late."""

from __future__ import annotations

from sqlalchemy import Engine, text

_EPOCH = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "EXTRACT(EPOCH FROM clock_timestamp())",
}


class Leases:
    """Acquire, renew, give back; each call is a transaction of its own."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._now = _EPOCH[engine.dialect.name]

    def acquire(self, name: str, holder: str, seconds: float) -> int | None:
        """The fencing number if the lease is free, run out, or already ours; else None."""
        statement = text(
            f"""
            INSERT INTO leases (name, holder, fence, expires_at)
            VALUES (:name, :holder, 1, {self._now} + :seconds)
            ON CONFLICT (name) DO UPDATE SET
              fence = CASE WHEN leases.holder = :holder THEN leases.fence ELSE leases.fence + 1 END,
              holder = :holder, expires_at = {self._now} + :seconds
            WHERE leases.holder = :holder OR leases.expires_at < {self._now}
            RETURNING fence
            """  # noqa: S608 -- the only part put in is one of the two constants above
        )
        with self.engine.begin() as connection:
            fence: int | None = connection.scalar(statement, {"name": name, "holder": holder, "seconds": seconds})
            return fence

    def holds(self, name: str, holder: str, fence: int) -> bool:
        """Whether the lease is still this holder's, under the same number."""
        mine = "SELECT 1 FROM leases WHERE name = :name AND holder = :holder AND fence = :fence"
        statement = text(f"{mine} AND expires_at >= {self._now}")
        with self.engine.begin() as connection:
            return connection.scalar(statement, {"name": name, "holder": holder, "fence": fence}) is not None

    def release(self, name: str, holder: str) -> None:
        """Give it back; somebody else's is left alone."""
        with self.engine.begin() as connection:
            connection.execute(
                text("UPDATE leases SET expires_at = 0 WHERE name = :name AND holder = :holder"),
                {"name": name, "holder": holder},
            )

    def forget(self, prefix: str, seconds: float) -> None:
        """Drop leases whose name begins with `prefix` and that ran out more than `seconds` ago."""
        statement = text(f"DELETE FROM leases WHERE name LIKE :prefix AND expires_at < {self._now} - :seconds")  # noqa: S608 -- as above
        with self.engine.begin() as connection:
            connection.execute(statement, {"prefix": prefix + "%", "seconds": seconds})

    def live_holders(self, prefix: str) -> set[str]:
        """Holders of leases whose name begins with `prefix` and that have not run out."""
        statement = text(f"SELECT holder FROM leases WHERE name LIKE :prefix AND expires_at >= {self._now}")  # noqa: S608 -- as above
        with self.engine.begin() as connection:
            return set(connection.scalars(statement, {"prefix": prefix + "%"}))
