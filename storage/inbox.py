"""Callbacks accepted and not yet, or already, decided."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, select, update

from storage.asking import Asking, insert_into
from storage.models import Counter, InboxMessage, InboxState, Json


class Inbox(Asking):
    """Questions asked of `inbox` and its counters."""

    def add(self, key: str, sender: str, kind: str, fields: Json) -> InboxMessage | None:
        """The accepted callback; None when it was here before."""
        values = {
            "key": key, "sender": sender, "kind": kind, "fields": fields, "state": InboxState.NEW, "attempt": 1,
            "received_at": self.now, "due_at": self.now, "outcome": [],
        }  # fmt: skip
        # rowcount is -1 on PostgreSQL for ON CONFLICT (SQLAlchemy 2.1): only RETURNING tells
        statement = (
            insert_into(self.session, InboxMessage).values(**values).on_conflict_do_nothing(index_elements=["key"])
        )
        row: InboxMessage | None = self.session.scalar(statement.returning(InboxMessage))
        return row

    def get(self, inbox_id: int) -> InboxMessage:
        """The row, locked until the end of the transaction."""
        return self.session.get_one(InboxMessage, inbox_id, with_for_update=True)

    def earlier_open(self, message: InboxMessage) -> InboxMessage | None:
        """The sender's oldest message that came before and is still to be decided, locked."""
        return self.session.scalar(
            select(InboxMessage)
            .where(
                InboxMessage.sender == message.sender,
                InboxMessage.state == InboxState.NEW,
                InboxMessage.id < message.id,
            )
            .order_by(InboxMessage.id)
            .limit(1)
            .with_for_update()
        )

    def handled(self, message: InboxMessage, outcome: list[Json]) -> None:
        """Decided: this is what it started."""
        message.state, message.handled_at, message.outcome = InboxState.HANDLED, self.now, outcome

    def failed(self, message: InboxMessage, reference: str, outcome: list[Json]) -> None:
        """A bug met it; the reference is in the log and was told to the sender."""
        message.state, message.handled_at, message.outcome = InboxState.FAILED, self.now, outcome
        message.reference = reference

    def scrub(self, message: InboxMessage, field: str, replacement: str) -> None:
        """Take a secret out of a stored callback."""
        message.fields = {**message.fields, field: replacement}

    def due(self, *, settled_seconds: float, count_max: int) -> Sequence[InboxMessage]:
        """Rows that wait longer than a live workflow should need, oldest first."""
        return self.session.scalars(
            select(InboxMessage)
            .where(
                InboxMessage.state == InboxState.NEW,
                InboxMessage.due_at <= self.now - timedelta(seconds=settled_seconds),
            )
            .order_by(InboxMessage.id)
            .limit(count_max)
        ).all()

    def next_attempt(self, inbox_id: int, attempt: int) -> int | None:
        """The number of the next try after `attempt` ended in an error; None when somebody else took it."""
        return self.session.scalar(
            update(InboxMessage)
            .where(InboxMessage.id == inbox_id, InboxMessage.attempt == attempt, InboxMessage.state == InboxState.NEW)
            .values(attempt=attempt + 1)
            .returning(InboxMessage.attempt)
        )

    def count(self, name: str) -> None:
        """One more callback of a kind that nobody handles."""
        statement = insert_into(self.session, Counter).values(name=name, count=1)
        self.session.execute(
            statement.on_conflict_do_update(index_elements=["name"], set_={"count": Counter.count + 1})
        )

    def counts(self) -> dict[str, int]:
        """How many callbacks were accepted without a handler, by kind."""
        return {row.name: row.count for row in self.session.scalars(select(Counter))}

    def forget(self, *, keep: timedelta) -> None:
        """Drop what was decided longer ago than `keep`."""
        self.session.execute(
            delete(InboxMessage).where(InboxMessage.state != InboxState.NEW, InboxMessage.received_at < self.now - keep)
        )
