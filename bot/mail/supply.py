"""What a pass has to copy: the planned mails in batches, troubled and big ones by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bot.mail.connection import STREAM_OVER_BYTES
from bot.mail.course import Course
from bot.mail.flow import Batch, held_for
from bot.mail.ledger import Ledger, Line, LineState
from bot.mail.outcome import Filter
from bot.mail.quirks import dated_since
from bot.mail.work import Job

PLAN_LINES = 500
BATCH_MAILS = 64
BATCH_BYTES = 512 * 1024


class Supply:
    """Reads the ledger; `too_big` is told of mails larger than the target takes (RFC 7889): these are not tried."""

    def __init__(
        self,
        ledger: Ledger,
        filter: Filter,
        course: Course,
        *,
        mails_max: int | None,
        should_stop: Callable[[], bool],
        too_big: Callable[[Job, Line, int], None],
    ) -> None:
        self._ledger, self._filter, self._course = ledger, filter, course
        self._mails_max, self._should_stop, self._too_big = mails_max, should_stop, too_big
        self.append_limit: int | None = None  # of one mail, as the target says

    def left(self) -> bool:
        """Is anything planned?"""
        return any(True for job in self._course.jobs or [] for _ in self._lines(job, waiting_too=True))

    def batches(self) -> Iterator[Batch]:
        """As long as nothing says stop."""
        room = None if self._mails_max is None else self._mails_max - self._course.stored - self._course.refused
        for job in self._course.jobs or []:
            batch, size_bytes = Batch(job, {}, False, {}), 0
            for line in self._lines(job):
                if self._should_stop() or (room is not None and room <= 0):
                    break
                if self.append_limit is not None and line.size_bytes > self.append_limit:
                    self._too_big(job, line, self.append_limit)
                    continue
                if room is not None:
                    room -= 1
                self._course.folder = job.name
                trouble = self._course.troubles.get((line.folder_id, line.uid))
                alone = trouble is not None and trouble.alone
                big = line.size_bytes > STREAM_OVER_BYTES
                full = len(batch.lines) >= BATCH_MAILS or size_bytes + line.size_bytes > BATCH_BYTES
                if batch.lines and (alone or big or full):
                    yield batch
                    batch, size_bytes = Batch(job, {}, False, {}), 0
                batch.lines[line.uid] = line
                batch.held[line.uid] = held = held_for(line.size_bytes)
                size_bytes += held
                if alone or big:
                    batch.alone = alone
                    yield batch
                    batch, size_bytes = Batch(job, {}, False, {}), 0
            if batch.lines:
                yield batch

    def _lines(self, job: Job, *, waiting_too: bool = False) -> Iterator[Line]:
        """What is planned and meant: an earlier call may have planned more than this one's filter."""
        after = 0
        while not job.skipped:
            page = self._ledger.lines(job.record.id, state=LineState.PLANNED, after=after, limit=PLAN_LINES)
            for line in page:
                waits = (line.folder_id, line.uid) in self._course.waiting
                if (waiting_too or not waits) and dated_since(line.internal_date, self._filter.since):
                    yield line
            if len(page) < PLAN_LINES:
                return
            after = page[-1].uid
