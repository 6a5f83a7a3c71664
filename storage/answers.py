"""What real organisations answer: seen once, remembered, and told apart from what is only assumed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from sqlalchemy import select

from storage.asking import Asking, insert_into
from storage.models import LiveAnswer

Seen = Literal["yes", "no"]
SeenBy = Literal["doctor", "use"]
DETAIL_CHARS_MAX = 400
WRITTEN_EVERY = timedelta(hours=1)


class Answers(Asking):
    """Questions asked of `live_answers`; the questions themselves stand in `bot/doctor/questions.py`."""

    def saw(self, question: str, answer: Seen, detail: str = "", *, by: SeenBy = "use") -> bool:
        """
        It is so now; whether it was otherwise when it was last seen.

        What was seen within the hour is not written again: it may be seen at every message.
        """
        detail = detail[:DETAIL_CHARS_MAX]
        known = self.session.get(LiveAnswer, question, populate_existing=True)
        same = known is not None and (known.answer, known.detail, known.seen_by) == (answer, detail, by)
        if same and known is not None and known.seen_at > self.now - WRITTEN_EVERY:
            return False
        values = {"answer": answer, "detail": detail, "seen_by": by, "seen_at": self.now}
        insert = insert_into(self.session, LiveAnswer).values(question=question, **values)
        self.session.execute(insert.on_conflict_do_nothing(index_elements=["question"]))
        row = self.session.get_one(LiveAnswer, question, with_for_update=True, populate_existing=True)
        changed = row.answer != answer
        if changed:
            row.before, row.changed_at = row.answer, self.now
        row.answer, row.detail, row.seen_by, row.seen_at = answer, detail, by, self.now
        self.session.flush()
        return changed

    def find(self, question: str) -> LiveAnswer | None:
        """What was seen last."""
        return self.session.get(LiveAnswer, question)

    def of(self, question: str) -> Seen | None:
        """The answer seen last; None while nobody knows."""
        row = self.find(question)
        if row is None:
            return None
        return "yes" if row.answer == "yes" else "no"

    def all(self) -> Sequence[LiveAnswer]:
        """Everything that was seen."""
        return self.session.scalars(select(LiveAnswer).order_by(LiveAnswer.question)).all()
