"""When an approver is reminded: pure, by the clock on the wall and the working days."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from bot.workdays import DAY, may_speak_at, morning, workdays

FIRST = timedelta(hours=1)
SECOND = timedelta(hours=3)  # after the first: four hours after the question


def next_reminder(now: datetime, told: int, zone: ZoneInfo) -> datetime:
    """After an hour, after four, then every working morning; never outside working hours."""
    if told == 0:
        return may_speak_at(now + FIRST, zone, workdays())
    if told == 1:
        return may_speak_at(now + SECOND, zone, workdays())
    return next_morning(now, zone)


def next_morning(now: datetime, zone: ZoneInfo) -> datetime:
    """The next working morning after today."""
    return may_speak_at(morning(now.astimezone(zone).date() + DAY, zone), zone, workdays())
