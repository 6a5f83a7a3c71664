"""
The sandbox's time machine: moves the clock, and lets the bot do on the way what it would have done.

A leap is what an outage looks like: the bot wakes up at the new time and finds what is due then. A walk stops at every
moment at which the bot speaks or something ends, and waits there until the bot has done it, as in reality.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from bot.sandbox.due import Due, behind, everything
from bot.sandbox.organisation import Organisation

if TYPE_CHECKING:
    from bot.app import Bot

MINUTE = timedelta(minutes=1)
STOPS_MAX = 400  # of one walk
WALK_SECONDS = 45.0  # of our own time: the page and the player wait for a minute
SETTLE_SECONDS = 15.0  # at one stop: a copy that is under way may take longer, then the clock goes on
LOOK_EVERY_SECONDS = 0.05


class Goal(StrEnum):
    """Where the clock may be sent."""

    HOUR = "hour"
    DAY = "day"
    NEXT_REMINDER = "next_reminder"
    BEFORE_DELETION = "before_deletion"  # a minute
    AFTER_DELETION = "after_deletion"  # a minute


class NothingAhead(Exception):
    """There is no such moment; the text is for the person at the page."""


@dataclass
class Walked:
    """Where a walk ended, and where it stopped on the way."""

    stops: list[datetime]
    arrived: bool  # False: it took too long; the clock stands at the last stop


class Hours:
    """Moves the clock of one sandbox. `bot` gives the bot in it, or None while there is none."""

    def __init__(self, org: Organisation, bot: Callable[[], Bot | None] = lambda: None) -> None:
        self.org = org
        self.bot = bot
        self._walking = asyncio.Lock()

    async def due(self) -> list[Due]:
        """What is to come, the next first."""
        self.org.expire()
        waiting = [item for item in self.org.bin if item.state == "waiting"]
        return await run_in_threadpool(everything, self.bot(), waiting)

    def leap(self, seconds: float) -> None:
        """Move on at once; what was due meanwhile is found at the new time."""
        self.org.clock.advance(seconds)
        self.org.expire()
        self.org.changed()

    async def moment_of(self, goal: Goal) -> datetime:
        """Where a goal lies now; NothingAhead when there is no such moment."""
        now = self.org.now()
        if goal in (Goal.HOUR, Goal.DAY):
            return now + timedelta(hours=1 if goal is Goal.HOUR else 24)
        if goal is Goal.NEXT_REMINDER:
            ahead = [due.at for due in await self.due() if due.reminds and due.at is not None and due.at > now]
            if not ahead:
                raise NothingAhead("nobody is to be reminded of anything")
            return min(ahead)
        self.org.expire()
        waiting = [item.deletes_at for item in self.org.bin if item.state == "waiting"]
        if goal is Goal.BEFORE_DELETION:
            waiting = [each for each in waiting if each - MINUTE > now]
        if not waiting:
            raise NothingAhead("nothing in the recycle bin is still to be deleted")
        return min(waiting) + (MINUTE if goal is Goal.AFTER_DELETION else -MINUTE)

    async def walk(self, goal: Goal | datetime) -> Walked:
        """Go there step by step; ends exactly there, once the bot has done what is due then."""
        async with self._walking:
            until = time.monotonic() + WALK_SECONDS
            await self._settle(until)
            target = await self.moment_of(goal) if isinstance(goal, Goal) else goal
            stops: list[datetime] = []
            for _ in range(STOPS_MAX):
                if time.monotonic() > until:
                    return Walked(stops, arrived=False)
                stop = await self._next_stop(target)
                self._move_to(stop)
                stops.append(stop)
                await self._settle(until)
                if stop >= target:
                    return Walked(stops, arrived=True)
            return Walked(stops, arrived=False)

    async def _next_stop(self, target: datetime) -> datetime:
        """
        The next moment to stand still at, no later than `target`.

        What the bot would have looked at by itself meanwhile, as often as it may be, it looks at once, a minute before.
        """
        now, ahead = self.org.now(), [due for due in await self.due() if due.at is not None]
        stop = min((due.at for due in ahead if due.stops and due.at and due.at > now), default=target)
        stop = min(stop, target)
        before = stop - MINUTE
        if before > now and any(due.at and due.at < before and not due.stops for due in ahead):
            return before
        if stop < target and minute_of(stop) == minute_of(now):  # the sweeps of this minute have been made
            return min(target, stop.replace(second=0, microsecond=0) + MINUTE)
        return stop

    def _move_to(self, moment: datetime) -> None:
        self.leap(max(0.0, (moment - self.org.now()).total_seconds()))

    async def _settle(self, until: float) -> None:
        """Until the bot has done what is due, or for as long as one may wait at a stop."""
        bot = self.bot()
        if bot is None or not bot.ready:
            return
        until = min(until, time.monotonic() + SETTLE_SECONDS)
        await run_in_threadpool(bot.scheduler.tick)
        while await run_in_threadpool(behind, bot) and time.monotonic() < until:
            await asyncio.sleep(LOOK_EVERY_SECONDS)


def minute_of(moment: datetime) -> datetime:
    """The minute a moment lies in."""
    return moment.replace(second=0, microsecond=0)
