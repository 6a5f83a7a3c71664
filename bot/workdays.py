"""
When people work in China, and when they are reminded of a mailbox that is about to be deleted. Pure.

Days are counted to the last day, the last one on which something can still be done: a mailbox that is deleted at 00:00
on the 24th has the 23rd as its last day, and its reminder of 3 days goes out on the morning of the 20th, with three
whole days to come. The console, which counts to the deletion, shows one more.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache, lru_cache
from importlib import resources

BEGIN, END = time(9), time(18)  # working hours
REMIND_DAYS = (14, 7, 3, 1, 0)  # before the last day
ON_ITS_OWN_DAY = 1  # this reminder and the later ones go out on their day, working day or not
ROOM_MIN = timedelta(hours=1)  # a morning with less than that before the deletion is too late to do anything
DAY = timedelta(days=1)
LOOK_BACK_DAYS_MAX = 30  # no holiday is longer


@dataclass(frozen=True)
class Step:
    """One reminder: `days` before the last day, and the moment it is sent."""

    days: int
    at: datetime


class Workdays:
    """The working days as the State Council arranges them; a year it does not know has weekends only."""

    def __init__(self, off: Iterable[date], on: Iterable[date], years: Iterable[int]) -> None:
        self._off = frozenset(off)
        self._on = frozenset(on)
        self._years = frozenset(years)

    def knows(self, year: int) -> bool:
        """Whether the holidays of a year are in the table."""
        return year in self._years

    def works(self, day: date) -> bool:
        """Whether it is a working day."""
        if day in self._on:
            return True
        return day not in self._off and day.weekday() < 5

    def is_holiday(self, day: date) -> bool:
        """Whether it is a day off because of a public holiday, be it a Sunday or a Tuesday."""
        return day in self._off

    def at_or_before(self, day: date) -> date:
        """The day itself if it is a working day, else the last one before it."""
        for back in range(LOOK_BACK_DAYS_MAX):
            if self.works(day - back * DAY):
                return day - back * DAY
        return day


def table(years: Mapping[str, Mapping[str, list[object]]]) -> Workdays:
    """Working days from `[year]` tables of `off` (pairs: from, to) and `on`; ValueError names a date that is wrong."""
    off, on = set[date](), set[date]()
    for year, arranged in years.items():
        for pair in arranged.get("off", []):
            first, last = pair if isinstance(pair, list) and len(pair) == 2 else (pair, pair)
            if not isinstance(first, date) or not isinstance(last, date) or not first <= last < first + 15 * DAY:
                raise ValueError(f"[{year}] off: {pair} is no pair of dates, from and to")
            off |= {first + number * DAY for number in range((last - first).days + 1)}
        for day in arranged.get("on", []):
            if not isinstance(day, date) or day.weekday() < 5 or day in off:
                raise ValueError(f"[{year}] on: {day} is no Saturday or Sunday that is worked")
            on.add(day)
    return Workdays(off, on, (int(year) for year in years))


@cache
def workdays() -> Workdays:
    """What `bot/data/holidays.toml` says."""
    return table(tomllib.loads((resources.files("bot") / "data" / "holidays.toml").read_text("utf-8")))


def morning(day: date, zone: tzinfo) -> datetime:
    """When work begins on a day, in UTC."""
    return datetime.combine(day, BEGIN, zone).astimezone(UTC)


def last_day(deletes_at: datetime, zone: tzinfo) -> date:
    """The last day whose morning leaves time to do something."""
    day = deletes_at.astimezone(zone).date()
    return day if morning(day, zone) + ROOM_MIN <= deletes_at else day - DAY


@lru_cache(maxsize=1024)  # a sweep asks for the same few deletions again and again
def plan(deletes_at: datetime, zone: tzinfo, days: Workdays) -> tuple[Step, ...]:
    """
    Every reminder of a deletion, in order, at most one a day: of several that fall together the most urgent.

    One that falls on a day without work goes out on the working day before; the last two also on their own day.
    """
    last = last_day(deletes_at, zone)
    steps: dict[date, int] = {}
    for before in REMIND_DAYS:
        own = last - before * DAY
        for day in {days.at_or_before(own)} | ({own} if before <= ON_ITS_OWN_DAY else set()):
            steps[day] = min(before, steps.get(day, before))
    return tuple(Step(steps[day], morning(day, zone)) for day in sorted(steps))


def next_step(steps: Iterable[Step], after: datetime) -> Step | None:
    """The first reminder after a moment; None when there is none left."""
    return next((step for step in steps if step.at > after), None)


def urgency(steps: Iterable[Step], now: datetime) -> int | None:
    """The most urgent reminder whose moment has come, as its days; None before the first."""
    return min((step.days for step in steps if step.at <= now), default=None)


def may_speak_at(moment: datetime, zone: tzinfo, days: Workdays, *, any_day: bool = False) -> datetime:
    """The first moment from this one on in working hours, on a working day or on `any_day`."""
    local = moment.astimezone(zone)
    day = local.date()
    if local.time() >= END:
        day += DAY
    for _ in range(LOOK_BACK_DAYS_MAX):
        if any_day or days.works(day):
            break
        day += DAY
    return max(moment, morning(day, zone))
