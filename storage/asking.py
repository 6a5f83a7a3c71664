"""What every file of questions has: the session, and what time it is."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

Row = TypeVar("Row")


def insert_into(session: Session, table: Any) -> Any:
    """An INSERT that knows ON CONFLICT, in the dialect of the database."""
    return (postgresql if session.get_bind().dialect.name == "postgresql" else sqlite).insert(table)


class Asking:
    """Questions asked of one table, or of a few that belong together."""

    def __init__(self, session: Session, now: datetime) -> None:
        self.session = session
        self.now = now

    def added(self, row: Row) -> Row:
        """The row, written and with its id."""
        self.session.add(row)
        self.session.flush()
        return row
