"""How hard a server may be worked: how many connections it likes, and how much an hour we were allowed to take."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import time as clock
from typing import Protocol

WINDOW_SECONDS = 5.0  # throughput is compared over so long
GAIN = 1.10  # another connection stays only if it brings this
STEP_SECONDS = 0.2  # of a wait that may be ended
BACK_OFF_SECONDS = 5.0
BACK_OFF_SECONDS_MAX = 600.0
COMPLAINTS = re.compile(
    r"\[(LIMIT|UNAVAILABLE|INUSE|THROTTLED)\b|too many|frequen|throttl|back-?off|connection limit|busy|频繁|过多|繁忙",
    re.IGNORECASE,
)
BACK_OFF = re.compile(r"back-?off time:?\s*(\d{1,9})\s*(ms|milliseconds|s|seconds)?", re.IGNORECASE)


def complains(text: str) -> bool:
    """Does the server say that it is too much?"""
    return COMPLAINTS.search(text) is not None


def asked_pause(text: str) -> float | None:
    """The seconds a server asks to be left alone ("Suggested Backoff Time: 299961 milliseconds")."""
    if not (match := BACK_OFF.search(text)):
        return None
    seconds = int(match[1]) / (1 if (match[2] or "ms").lower().startswith("s") else 1000)
    return min(seconds, BACK_OFF_SECONDS_MAX)


class Hosts(Protocol):
    """Where it is remembered how many connections a mail server likes."""

    def connections(self, host: str) -> int | None: ...
    def learn(self, host: str, connections: int) -> None: ...


class Governor:
    """
    The number of connections: one more while that brings 10 % and nothing is refused, half after a complaint.

    Knows no clock and no network: it is told the time, what was stored, and what was refused.
    """

    def __init__(self, *, start: int, most: int, adaptive: bool) -> None:
        self.most = most
        self.wanted = min(start, most)
        self.not_before = 0.0
        self._growing = adaptive
        self._back_off = BACK_OFF_SECONDS
        self._began: tuple[float, int] | None = None
        self._rate: float | None = None  # with one connection less

    def note(self, now: float, stored: int, live: int) -> None:
        """So many mails are stored by now."""
        if not self._growing or live != self.wanted:
            self._began = None
            return
        if self._began is None:
            self._began = (now, stored)
        since, before = self._began
        if now - since < WINDOW_SECONDS or now < self.not_before:
            return
        rate = (stored - before) / (now - since)
        self._began = None
        if self._rate is not None and rate < self._rate * GAIN:
            self._growing = False  # the last one brought nothing
            self.wanted = max(1, self.wanted - 1)
        elif self.wanted < self.most:
            self._rate = rate
            self.wanted += 1

    def refused(self, now: float, live: int, text: str = "") -> None:
        """The server complained while `live` connections were open."""
        self.most = max(1, min(self.most, live))
        self.wanted = max(1, min(self.wanted, live) // 2)
        self._growing, self._began = False, None
        pause = asked_pause(text)
        if pause is None:
            import random  # here: few copies need it

            pause = self._back_off * random.uniform(0.8, 1.2)
            self._back_off = min(self._back_off * 2, BACK_OFF_SECONDS_MAX)
        self.not_before = now + pause

    def no_more(self, live: int) -> None:
        """Another connection was refused: these are all there will be."""
        self.most = self.wanted = max(1, live)
        self._growing = False


@dataclass(frozen=True)
class Hours:
    """The hours of a day in which work is allowed, in the zone of the moments asked about; 22:00 to 06:00 wraps."""

    begin: clock
    end: clock

    def wait(self, now: datetime) -> timedelta:
        """How long until they begin; nothing while they last."""
        begin = now.replace(hour=self.begin.hour, minute=self.begin.minute, second=0, microsecond=0)
        at = now.time()
        inside = self.begin <= at < self.end if self.begin < self.end else at >= self.begin or at < self.end
        if inside or self.begin == self.end:
            return timedelta()
        return begin - now if begin > now else begin + timedelta(days=1) - now

    @classmethod
    def parse(cls, text: str) -> Hours:
        """`22:00-06:00`. Raises ValueError."""
        begin, _, end = text.partition("-")
        return cls(clock.fromisoformat(begin.strip()), clock.fromisoformat(end.strip()))


class Throttle:
    """So many mails and bytes a second, evenly; a mail that is larger than a second's worth is paid for afterwards."""

    def __init__(
        self,
        mails_per_second: float | None,
        bytes_per_second: float | None,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._mails, self._bytes = mails_per_second, bytes_per_second
        self._now, self._sleep = now, sleep
        self._free_at = 0.0

    async def take(self, size_bytes: int, *, stop: Callable[[], bool] = lambda: False) -> bool:
        """Wait for the turn of a mail; False when `stop` came first."""
        turn = self._book(size_bytes)
        while (left := turn - self._now()) > 0:
            if stop():
                return False
            await self._sleep(min(left, STEP_SECONDS))
        return True

    def take_now(self, size_bytes: int) -> bool:
        """Take the turn of a mail, if that is now."""
        if not self._mails and not self._bytes:
            return True
        if self._free_at > self._now():
            return False
        self._book(size_bytes)
        return True

    def _book(self, size_bytes: int) -> float:
        """The moment of its turn."""
        costs = max(1 / self._mails if self._mails else 0.0, size_bytes / self._bytes if self._bytes else 0.0)
        turn = max(self._now(), self._free_at)
        self._free_at = turn + costs
        return turn
