"""Replies on their way, and how much may still be said to whom."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update

from storage.asking import Asking
from storage.models import Delivery, DeliveryState, Json, Member, SendAttempt, StoredFile


class Deliveries(Asking):
    """Questions asked of `deliveries`, `send_attempts` and `files`."""

    def add(self, receiver: str, kind: str, body: Json, *, once: bool = False) -> Delivery:
        """A reply to send as soon as the earlier ones of this member are out."""
        return self.added(
            Delivery(
                receiver=receiver, kind=kind, body=body, once=once, created_at=self.now, due_at=self.now,
                state=DeliveryState.WAITING, attempt=1, parts_sent=0,
            )
        )  # fmt: skip

    def get(self, delivery_id: int) -> Delivery:
        """The row, locked until the end of the transaction."""
        return self.session.get_one(Delivery, delivery_id, with_for_update=True)

    def earlier_waiting(self, delivery: Delivery) -> bool:
        """
        Whether an earlier reply to the same member is still to go out.

        Locks the first of them: who sends it has either told us here that it is out, or finds this row as next.
        """
        return (
            self.session.scalar(
                select(Delivery.id)
                .where(
                    Delivery.receiver == delivery.receiver,
                    Delivery.state == DeliveryState.WAITING,
                    Delivery.id < delivery.id,
                )
                .order_by(Delivery.id)
                .limit(1)
                .with_for_update()
            )
            is not None
        )

    def next_of(self, receiver: str) -> Delivery | None:
        """The member's next reply, if it is due."""
        row = self.session.scalar(
            select(Delivery)
            .where(Delivery.receiver == receiver, Delivery.state == DeliveryState.WAITING)
            .order_by(Delivery.id)
            .limit(1)
        )
        return row if row is not None and row.due_at <= self.now else None

    def due(self, *, settled_seconds: float, count_max: int) -> Sequence[Delivery]:
        """For every member the reply that is next, where its moment came."""
        first = select(func.min(Delivery.id)).where(Delivery.state == DeliveryState.WAITING).group_by(Delivery.receiver)
        return self.session.scalars(
            select(Delivery)
            .where(Delivery.id.in_(first), Delivery.due_at <= self.now - timedelta(seconds=settled_seconds))
            .order_by(Delivery.id)
            .limit(count_max)
        ).all()

    def sent(self, delivery: Delivery) -> None:
        """Out; a one-time link is not kept."""
        delivery.state, delivery.sent_at = DeliveryState.SENT, self.now
        if delivery.once:
            delivery.body = {}

    def later(self, delivery: Delivery, due_at: datetime, error: str) -> None:
        """Not out: try again at `due_at`, as a workflow of its own."""
        delivery.due_at, delivery.error = due_at, error
        delivery.attempt += 1

    def again(self, delivery: Delivery) -> None:
        """Its turn is still to come: when it has, a workflow of its own sends it."""
        delivery.attempt += 1

    def refused(self, delivery: Delivery, error: str) -> None:
        """WeCom will never take it."""
        delivery.state, delivery.error = DeliveryState.FAILED, error
        if delivery.once:
            delivery.body = {}

    def next_attempt(self, delivery_id: int, attempt: int) -> int | None:
        """A new try after the workflow of `attempt` ended in an error; None when somebody else took it."""
        return self.session.scalar(
            update(Delivery)
            .where(Delivery.id == delivery_id, Delivery.attempt == attempt, Delivery.state == DeliveryState.WAITING)
            .values(attempt=attempt + 1)
            .returning(Delivery.attempt)
        )

    def count_attempt(self, receiver: str) -> None:
        """One more call of message/send, written before it is made."""
        self.session.add(SendAttempt(receiver=receiver, at=self.now))

    def attempts_since(self, moment: datetime, receiver: str | None = None) -> int:
        """How many calls were made since `moment`, to one member or to all."""
        query = select(func.count()).select_from(SendAttempt).where(SendAttempt.at > moment)
        if receiver is not None:
            query = query.where(SendAttempt.receiver == receiver)
        return self.session.scalar(query) or 0

    def first_attempt_since(self, moment: datetime, receiver: str) -> datetime | None:
        """When the oldest call that still counts was made."""
        return self.session.scalar(
            select(func.min(SendAttempt.at)).where(SendAttempt.at > moment, SendAttempt.receiver == receiver)
        )

    def add_file(self, name: str, content: bytes) -> StoredFile:
        """Keep a file until it is sent."""
        return self.added(StoredFile(name=name, content=content, created_at=self.now))

    def file(self, file_id: int) -> StoredFile:
        """A kept file."""
        return self.session.get_one(StoredFile, file_id)

    def members_count(self) -> int:
        """How many members the account has, as far as we know: the daily budget grows with them."""
        return self.session.scalar(select(func.count()).select_from(Member).where(Member.left_at.is_(None))) or 0

    def forget(self, *, keep: timedelta) -> None:
        """Drop what was sent longer ago than `keep`, and attempts that no limit counts any more."""
        self.session.execute(
            delete(Delivery).where(Delivery.state != DeliveryState.WAITING, Delivery.created_at < self.now - keep)
        )
        self.session.execute(delete(StoredFile).where(StoredFile.created_at < self.now - keep))
        self.session.execute(delete(SendAttempt).where(SendAttempt.at < self.now - timedelta(days=2)))
