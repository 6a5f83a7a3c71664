"""Sessions that died: what the server had read of them it still stores, unasked, and a look too early misses it."""

from __future__ import annotations

import asyncio
import time

from bot.mail.course import Course
from bot.mail.ledger import Ledger
from bot.mail.names import Folder
from bot.mail.session import Session
from bot.mail.survey import statuses

SETTLED_SECONDS = 1.0  # nothing has landed for so long: a dead session's appends are over
SETTLED_ROUND_TRIPS = 8  # the same on a slow server
SETTLING_SECONDS_MAX = 30.0
SETTLING_STEP_SECONDS = 0.1
LAST_LOOK_SECONDS = 5.0  # after a death the last look begins no earlier: a starved server stores late
WAITING_STEP_SECONDS = 0.5


class Settling:
    """Whether there were any, and the wait until they are over."""

    def __init__(self, ledger: Ledger, course: Course) -> None:
        self._ledger, self._course = ledger, course
        self.unclean = False  # a run before this one was killed, or lost connections, not long ago
        self.died_at: float | None = None  # the latest death, until a last look was late enough
        self._dead_since: float | None = None  # the same, until it was waited for

    def begin_run(self) -> None:
        """Before the first append."""
        died_ago = self._ledger.begin_run()
        self.unclean = died_ago is not None
        if died_ago is not None and died_ago < SETTLING_SECONDS_MAX:
            self._dead_since = self.died_at = time.monotonic() - died_ago

    def died(self) -> None:
        """A session with something under way: the server may still be storing what it had read."""
        self._dead_since = self.died_at = time.monotonic()
        self._ledger.died()

    def doubt_again(self) -> None:
        """Appends of an earlier session may have landed since we looked; mails stored without a UID want a place."""
        for job in self._course.jobs or []:
            if self._course.reconnects or self.unclean or self._ledger.has_unplaced(job.target):
                self._course.doubtful.add(job.record.id)

    @property
    def late_enough(self) -> float:
        """The moment from which on a look after the latest death is one to rely on."""
        return 0.0 if self.died_at is None else self.died_at + LAST_LOOK_SECONDS

    async def before_the_last_look(self, target: Session) -> None:
        """Late enough after the latest death, and watched."""
        self._dead_since = self.died_at
        await self.settle(target, not_before=self.late_enough)

    @property
    def needed(self) -> bool:
        """Is there anything to wait for?"""
        return self._dead_since is not None and bool(self._course.doubtful)

    async def settle(self, target: Session, *, not_before: float = 0.0) -> None:
        """
        Wait until the server has let dead sessions go.

        Nobody can be asked whether that is over, so the folders are watched until nothing has landed for a while: two
        looks at least, the first no earlier than `not_before`.
        """
        if not self.needed:
            return
        doubtful = self._course.doubtful
        folders = [
            Folder(each, "", frozenset())
            for each in dict.fromkeys(job.target for job in self._course.jobs or [] if job.record.id in doubtful)
        ]
        while (left := not_before - time.monotonic()) > 0:
            await statuses(target, folders[:1])  # so that it does not hang up
            await asyncio.sleep(min(left, WAITING_STEP_SECONDS))
        seen: object = None
        since = time.monotonic()
        until = since + SETTLING_SECONDS_MAX
        while time.monotonic() < until:
            asked = time.monotonic()
            told = await statuses(target, folders)
            now = time.monotonic()
            if told != seen:
                seen, since = told, now
            elif now - since >= max(SETTLED_SECONDS, SETTLED_ROUND_TRIPS * (now - asked)):
                break
            await asyncio.sleep(SETTLING_STEP_SECONDS)
        self._dead_since = None
