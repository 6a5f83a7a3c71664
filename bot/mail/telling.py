"""How far a copy is, told now and then."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from bot.mail.aftermath import progress_of
from bot.mail.course import Course
from bot.mail.ledger import Ledger
from bot.mail.outcome import Progress
from bot.mail.work import Job

TELL_SECONDS = 0.5
COUNTING_SHARE = 0.02  # of the time, at most: between two countings of the ledger the numbers are added up


class Telling:
    """Tells `on_progress`, if there is somebody to tell."""

    def __init__(self, ledger: Ledger, course: Course, on_progress: Callable[[Progress], None] | None) -> None:
        self._ledger, self._course, self._on_progress = ledger, course, on_progress
        self._told_at = 0.0
        self._counted: Progress | None = None  # by the ledger
        self._counted_then = (0, 0, 0)  # done, bytes and refused of this call at that moment
        self._count_at = 0.0  # not before

    def tell(self, *, force: bool = False) -> None:
        """If it is time."""
        elapsed, jobs = time.monotonic() - self._course.began, self._course.jobs
        if self._on_progress is None or jobs is None or (not force and elapsed - self._told_at < TELL_SECONDS):
            return
        self._told_at = elapsed
        self._on_progress(self._now(jobs, elapsed, force))

    def _now(self, jobs: list[Job], elapsed: float, force: bool) -> Progress:
        course = self._course
        then = (course.stored + course.adopted, course.size_bytes, course.refused)
        if self._counted is None or force or elapsed >= self._count_at:
            began = time.monotonic()
            self._counted = progress_of(self._ledger, jobs, course.folder, elapsed, course.stored)
            self._counted_then = then
            self._count_at = elapsed + (time.monotonic() - began) / COUNTING_SHARE
            return self._counted
        done, size_bytes, refused = (now - before for now, before in zip(then, self._counted_then, strict=True))
        return dataclasses.replace(
            self._counted,
            done=self._counted.done + done,
            planned=max(0, self._counted.planned - done - refused),
            refused=self._counted.refused + refused,
            size_bytes=self._counted.size_bytes + size_bytes,
            planned_bytes=max(0, self._counted.planned_bytes - size_bytes),
            folder=course.folder,
            seconds=elapsed,
            stored=course.stored,
        )
