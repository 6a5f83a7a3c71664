"""Pass after pass until nothing is planned, with connections replaced while one runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime

from bot.mail.answers import BUSY_IN_A_ROW, Answers
from bot.mail.course import Course
from bot.mail.crew import Side
from bot.mail.errors import MailError
from bot.mail.flow import Item
from bot.mail.ledger import Ledger
from bot.mail.outcome import Filter, Limits
from bot.mail.pace import Throttle
from bot.mail.pump import Pass
from bot.mail.quirks import BUSY_PAUSES_SECONDS
from bot.mail.session import Session, both
from bot.mail.settling import Settling
from bot.mail.supply import Supply
from bot.mail.told import Done

IDLE_PASSES_MAX = 3
TICK_SECONDS = 0.05
ASK_SECONDS = 0.2
REST_SECONDS = 30.0  # a connection that rests so long is logged out: others may want its place


class Rounds:
    """The passes of one call, and who they report to (`pump.Owner`)."""

    def __init__(
        self,
        source: Side,
        target: Side,
        ledger: Ledger,
        filter: Filter,
        limits: Limits,
        course: Course,
        settling: Settling,
        *,
        should_stop: Callable[[], bool],
        reconcile: Callable[[], Awaitable[None]],
        pause: Callable[[float], Awaitable[None]],
        on_fewer: Callable[[int], None],
    ) -> None:
        """`reconcile` looks through the doubtful folders; `on_fewer` hears how many connections to the target do."""
        self.source, self.target, self.ledger, self.limits, self.course = source, target, ledger, limits, course
        self.settling = settling
        self.error: BaseException | None = None  # found outside of a pass
        self.waits_seconds = 0.0  # until the hours in which copying is allowed
        self.passing: Pass | None = None
        self.answers = Answers(ledger, course, mailbox=target.account.user, wrap_refused=limits.wrap_refused)
        self.supply = Supply(
            ledger,
            filter,
            course,
            mails_max=limits.mails_max,
            should_stop=self.should_stop,
            too_big=self.answers.too_big,
        )
        self._asked_whether_to_stop, self._reconcile, self._pause = should_stop, reconcile, pause
        self._on_fewer = on_fewer
        self._rests_since: dict[Session, float] = {}
        self._throttle = Throttle(limits.mails_per_second, limits.bytes_per_second)
        self._pipelining = self._grouping = True
        self._asked_at = -ASK_SECONDS
        self._stop = False

    @property
    def progress(self) -> int:
        """Of any kind: as long as it grows, the copy goes on."""
        course = self.course
        return course.stored + course.refused + course.adopted + len(self.source.shut) + len(self.target.shut)

    async def run(self) -> bool:
        """Until nothing is planned (True) or a limit is reached (False)."""
        course, idle = self.course, 0
        while True:
            if self.should_stop():
                return not self.supply.left()
            await both(self.source.first(), self.target.first())
            await self._reconcile()  # what a lost connection had under way, before it is sent again
            before = self._state()
            await self._pass()
            if self.error is not None:
                raise self.error
            if self.should_stop():
                return not self.supply.left()
            if course.waiting:
                if course.busy_in_a_row < BUSY_IN_A_ROW and any(True for _ in self.supply.batches()):
                    continue
                await self._cool_down()
                continue
            if not self.supply.left():
                return True
            idle = idle + 1 if before == self._state() else 0
            if idle > IDLE_PASSES_MAX:
                raise MailError("the copy does not get on", mailbox=self.target.account.user)

    def _state(self) -> object:
        return self.progress, self.course.cooldowns, self.course.reconnects, repr(self.course.troubles)

    async def _cool_down(self) -> None:
        """The target is busy, or was with the mails that wait."""
        course = self.course
        if course.busy_in_a_row >= BUSY_IN_A_ROW:
            course.cooldowns += 1
            if course.cooldowns > len(BUSY_PAUSES_SECONDS):
                raise MailError("the target stays busy", mailbox=self.target.account.user)
        await self._pause(min(course.waiting.values()))
        # The refusal may have been untrue: before a mail is sent again we look whether it is there.
        course.doubtful |= {folder_id for folder_id, _ in course.waiting}
        await self._reconcile()
        course.waiting.clear()
        course.busy_in_a_row = 0

    async def _pass(self) -> None:
        """One pass over everything planned."""
        passing = self.passing = Pass(
            self,
            self.supply.batches(),
            self.course.troubles,
            budget_bytes=self.limits.budget_bytes,
            throttle=self._throttle,
            pipelining=self._pipelining,
            grouping=self._grouping,
            identify=self.ledger.altered,
        )
        for session in self.source.live:
            passing.add_source(session)
        for session in self.target.live:
            passing.add_target(session)
        keeper = asyncio.create_task(self._keep(passing))
        try:
            await passing.run()
            for job, line, text in passing.unread:
                await self.answers.unreadable(self.source.one, job, line, text)
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            self._pipelining = self._pipelining and passing.pipelining
            self._grouping = self._grouping and passing.grouping
            self.passing = None
            self.ledger.flush()

    async def _keep(self, passing: Pass) -> None:
        """While a pass runs: replace what is lost, add what helps, rest what is too much."""
        sides = ((self.source, passing.add_source), (self.target, passing.add_target))
        try:
            while not passing.closed:
                await asyncio.sleep(TICK_SECONDS)
                governor, targets = self.target.governor, self.target.live
                governor.note(time.monotonic(), self.course.stored, len(targets))
                for session in targets[: governor.wanted]:
                    passing.work(session)
                    self._rests_since.pop(session, None)
                await self._rest(passing, targets[governor.wanted :])
                for side, add in sides:
                    if side.missing <= 0 or (side.live and side.pause_seconds > 0):
                        continue
                    if side is self.source and passing.all_read:
                        continue  # it may rest: every login counts
                    if side.pause_seconds > 0:
                        await self._pause(side.pause_seconds)
                        side.governor.not_before = 0.0
                    try:
                        add(await side.open())
                    except MailError as error:
                        if not side.not_opened(error):
                            passing.close(error)
        except Exception as error:
            passing.close(error)

    async def _rest(self, passing: Pass, resting: list[Session]) -> None:
        """These are too much: for a while one that works may be lost and they take its place, then they log out."""
        now = time.monotonic()
        for session in resting:
            passing.rest(session)
            if now - self._rests_since.setdefault(session, now) >= REST_SECONDS and passing.is_idle(session):
                await session.close()
        gone = [each for each in self._rests_since if each.lost is not None]
        for session in gone:
            del self._rests_since[session]
        if gone and self.target.missing >= 0:
            wanted = self.target.governor.wanted
            self.target.governor.no_more(wanted)
            self._on_fewer(wanted)

    # When to end

    def should_stop(self) -> bool:
        """A limit is reached, the hours are over, or we are told to."""
        limits, elapsed = self.limits, time.monotonic() - self.course.began
        done = self.course.stored + self.course.refused
        if limits.mails_max is not None:
            self._stop |= done >= limits.mails_max
        if limits.seconds_max is not None and done:  # however long the listing took: every call gets on
            self._stop |= elapsed >= limits.seconds_max
        if not self._stop and elapsed - self._asked_at >= ASK_SECONDS:
            self._asked_at = elapsed
            if limits.hours is not None:
                now = datetime.now(limits.zone).astimezone(limits.zone)
                self.waits_seconds = limits.hours.wait(now).total_seconds()
            self._stop = self.waits_seconds > 0 or self._asked_whether_to_stop()
        return self._stop

    def close(self, error: BaseException | None = None) -> None:
        """A pass that runs begins nothing more."""
        self.error = self.error or error
        if self.passing is not None and (error is not None or not self.passing.closed):
            self.passing.close(error)

    # What a pass tells, called from the event loop: none of these waits

    def answered(self, passing: Pass, item: Item, done: Done, target: tuple[int, int] | None) -> None:
        self.answers.answered(passing, item, done, target)

    def blamed(self, passing: Pass, item: Item) -> None:
        self.answers.blamed(passing, item)

    def lost(self, passing: Pass, session: Session, error: MailError) -> None:
        self.course.reconnects += 1
        side = self.source if session.account is self.source.account else self.target
        if not side.lost(error, self.progress):
            passing.close(error)

    def unsure(self, items: list[Item]) -> None:
        self.settling.died()
        self.doubted(items)

    def doubted(self, items: list[Item]) -> None:
        self.course.doubtful |= {item.job.record.id for item in items}  # looked through before the next pass sends them
