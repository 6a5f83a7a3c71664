"""What the bot waits to hear from a member."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete

from storage.asking import Asking
from storage.models import Json, PendingQuestion

ANSWER_WITHIN = timedelta(minutes=15)


class Questions(Asking):
    """Questions asked of `pending_questions`: one a member, the latest counts."""

    def ask(
        self,
        member: str,
        command: str,
        args: Json,
        missing: str,
        choices: Sequence[Json] = (),
        *,
        typed: str | None = None,
    ) -> None:
        """Wait for `missing` of a command: one of the choices, or free text; what was `typed` fits them all."""
        self.drop(member)
        self.session.add(
            PendingQuestion(
                member=member, command=command, args=args, missing=missing, choices=list(choices),
                typed=typed, expires_at=self.now + ANSWER_WITHIN,
            )
        )  # fmt: skip
        self.session.flush()

    def find(self, member: str) -> PendingQuestion | None:
        """The open question, unless it has run out."""
        row = self.session.get(PendingQuestion, member)
        return row if row is not None and row.expires_at > self.now else None

    def drop(self, member: str) -> None:
        """Answered, or something else was said."""
        self.session.execute(delete(PendingQuestion).where(PendingQuestion.member == member))

    def forget(self) -> None:
        """Drop what nobody answered in time."""
        self.session.execute(delete(PendingQuestion).where(PendingQuestion.expires_at < self.now))
