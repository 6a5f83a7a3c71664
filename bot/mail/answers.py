"""What the target's answers mean for a mail: stored, tried again in another way or later, or refused for good."""

from __future__ import annotations

from typing import Any, Protocol

from bot.mail import wire
from bot.mail.course import Course
from bot.mail.errors import QuotaFull, TargetRefusesAll
from bot.mail.flow import Item, Key, Trouble
from bot.mail.ledger import Ledger, Line, LineState
from bot.mail.likeness import open_source
from bot.mail.outcome import RefusalReason
from bot.mail.quirks import BUSY_PAUSES_SECONDS, Refused, flag_set, header_of, why_refused
from bot.mail.session import Session
from bot.mail.told import Done
from bot.mail.work import Job, Renumbered

LOST_MAX = 3  # connections a mail may break before it is given up
BUSY_IN_A_ROW = 5  # then it is the server, not the mail
REFUSED_IN_A_ROW_MAX = 50
REASONS = {Refused.TOO_BIG: RefusalReason.TOO_BIG, Refused.CONTENT: RefusalReason.CONTENT}


class Passing(Protocol):
    """What is asked of the pass the answers come from."""

    def close(self, error: BaseException | None = None) -> None: ...
    def trouble(self, key: Key) -> Trouble: ...


class Answers:
    """Writes down what becomes of each mail. Called from the event loop: but for `unreadable` none of these waits."""

    def __init__(self, ledger: Ledger, course: Course, *, mailbox: str, wrap_refused: bool) -> None:
        """`mailbox` is the target's, for errors."""
        self.ledger, self.course = ledger, course
        self.mailbox, self.wrap_refused = mailbox, wrap_refused

    def answered(self, passing: Passing, item: Item, done: Done, target: tuple[int, int] | None) -> None:
        """The answer to its APPEND; `target` is the UIDVALIDITY and UID it told."""
        if done.ok:
            self._stored(item, target)
            return
        course, trouble = self.course, passing.trouble(item.key)
        meaning = why_refused(done.text)
        if (meaning is Refused.FLAGS or done.status == "BAD") and item.flags and trouble.flags_level < 2:
            trouble.flags_level += 1
        elif meaning is Refused.QUOTA:
            passing.close(QuotaFull(done.text, mailbox=self.mailbox))
        elif meaning is Refused.NO_FOLDER:
            passing.close(Renumbered(done.text, mailbox=self.mailbox))
        elif meaning is Refused.BUSY:
            course.busy_in_a_row += 1
            self._busy(item.job, item.line, trouble, done.text, item.opening)
            if course.busy_in_a_row >= BUSY_IN_A_ROW:
                passing.close()
        else:
            reason = REASONS.get(meaning, RefusalReason.OTHER)
            if reason is RefusalReason.CONTENT and self.wrap_refused and not item.line.wrapped:
                self.ledger.wrap(
                    item.job.record.id, item.line.uid, **described(item.line, reason, done.text, item.opening)
                )
                if self.ledger.unclean:  # a dead session may have sent it so; now it can be known by that
                    course.doubtful.add(item.job.record.id)
                    item.job.strangers.clear()
                return
            self.refuse(item.job, item.line, reason, done.text, item.opening)
            course.refused_in_a_row += 1
            if course.refused_in_a_row >= REFUSED_IN_A_ROW_MAX:
                passing.close(TargetRefusesAll(done.text, mailbox=self.mailbox))

    def _stored(self, item: Item, target: tuple[int, int] | None) -> None:
        if target is not None and target[0] != item.job.record.target_uidvalidity:
            raise Renumbered("the target folder has a new UIDVALIDITY", mailbox=self.mailbox)
        course = self.course
        target_uid = None if target is None else target[1]
        changed = item.flags != item.line.flags and flag_set(item.flags) != flag_set(item.line.flags)
        self.ledger.stored(
            item.line.folder_id,
            item.line.uid,
            target_uid=target_uid,
            sha256=item.digest.sha256,
            size_bytes=None if item.read_bytes == item.line.size_bytes else item.read_bytes,  # the source told no truth
            identity=item.digest.identity if self.ledger.altered or item.line.wrapped else None,
            target_flags=item.flags if changed else None,
        )
        if changed and flag_set(item.line.flags) - flag_set(item.flags):
            item.job.keywords_dropped += 1
        if course.first is None and target_uid is not None:
            course.first = (item.job, target_uid, item.line, item.digest)
        course.stored += 1
        course.size_bytes += item.size
        course.refused_in_a_row = course.busy_in_a_row = course.cooldowns = 0

    def blamed(self, passing: Passing, item: Item) -> None:
        """A connection broke, and this mail was the oldest under way on it."""
        if passing.trouble(item.key).lost >= LOST_MAX:
            self.refuse(item.job, item.line, RefusalReason.LOST, "three times", item.opening)

    def refuse(self, job: Job, line: Line, reason: RefusalReason, detail: str, opening: bytes) -> None:
        """For good, as far as this call goes."""
        self.ledger.refused(job.record.id, line.uid, **described(line, reason, detail, opening))
        self.course.refused += 1

    def too_big(self, job: Job, line: Line, limit: int) -> None:
        """Larger than the target says it takes."""
        self.refuse(job, line, RefusalReason.TOO_BIG, f"APPENDLIMIT={limit}", b"")

    def _busy(self, job: Job, line: Line, trouble: Trouble, text: str, opening: bytes) -> None:
        """Later again, a bounded number of times."""
        trouble.busy += 1
        if trouble.busy > len(BUSY_PAUSES_SECONDS):
            self.refuse(job, line, RefusalReason.BUSY, text, opening)
        else:
            self.course.waiting[line.folder_id, line.uid] = BUSY_PAUSES_SECONDS[trouble.busy - 1]

    async def unreadable(self, source: Session, job: Job, line: Line, text: str) -> None:
        """Asked for alone and not come: gone if the server says so, else to be asked for later, or not to be had."""
        if line.state != LineState.PLANNED:
            return
        await open_source(source, job.record)
        there = False

        def take(told: wire.Fetched, _: object) -> bool:
            nonlocal there
            there |= told.uid == line.uid
            return True

        done = await source.send(b"UID FETCH %d (UID RFC822.SIZE)" % line.uid, on_fetch=take).done
        text = text or ("" if done.ok else done.text)
        if text and why_refused(text) is Refused.BUSY:
            trouble = self.course.troubles.setdefault((line.folder_id, line.uid), Trouble(alone=True))
            self._busy(job, line, trouble, text, b"")
        elif there or not done.ok:
            self.refuse(job, line, RefusalReason.UNREADABLE, text, b"")
        else:
            self.ledger.gone(job.record.id, line.uid)


def described(line: Line, reason: RefusalReason, detail: str, opening: bytes) -> dict[str, Any]:
    """A refused mail for a person; without its first bytes that is found out later."""
    return {
        "reason": reason,
        "detail": detail[:300],
        "subject": header_of(opening, "Subject") if opening else None,
        "date": (header_of(opening, "Date") or line.internal_date) if opening else None,
    }
