"""How many connections, how many a second, which hours: tried without a clock and without a network."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from datetime import time as clock

import pytest

from bot.mail import pace
from bot.mail.pace import Governor, Hours, Throttle, asked_pause, complains


def driven(rates: dict[int, float], *, most: int, seconds: int = 200) -> Governor:
    """A governor on a server that stores so many mails a second with so many connections."""
    governor = Governor(start=1, most=most, adaptive=True)
    stored = 0.0
    for tick in range(seconds * 10):
        governor.note(tick / 10, int(stored), governor.wanted)
        stored += rates[governor.wanted] / 10
    return governor


@pytest.mark.parametrize(
    ("rates", "most", "wanted"),
    [
        ({1: 23, 2: 45, 3: 66, 4: 86}, 4, 4),
        ({1: 23, 2: 45, 3: 46, 4: 86}, 4, 2),
        ({1: 23, 2: 23}, 4, 1),
        ({1: 23, 2: 45}, 1, 1),
    ],
)
def test_connections_grow_while_they_help(rates: dict[int, float], most: int, wanted: int) -> None:
    assert driven(rates, most=most).wanted == wanted


def test_a_complaint_halves_them_and_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: 1.0)
    governor = Governor(start=8, most=8, adaptive=True)
    pauses = []
    for live in (8, 4, 2, 1, 1, 1, 1, 1, 1, 1, 1):
        governor.refused(100.0, live)
        pauses.append(governor.not_before - 100.0)
    assert governor.wanted == 1
    assert pauses[:4] == [5.0, 10.0, 20.0, 40.0]
    assert pauses[-1] == pace.BACK_OFF_SECONDS_MAX
    for now in range(200, 400):
        governor.note(now, now * 100, 1)
    assert governor.wanted == 1, "what was refused is not tried again in this copy"


def test_a_fixed_number_stays() -> None:
    governor = Governor(start=3, most=3, adaptive=False)
    governor.note(0, 0, 3)
    governor.note(100, 100_000, 3)
    assert governor.wanted == 3


@pytest.mark.parametrize(
    ("text", "is_complaint", "pause"),
    [
        ("[UNAVAILABLE] Temporary authentication failure", True, None),
        ("BYE Too many connections", True, None),
        ("login frequency limited, or system is busy", True, None),
        ("Request is throttled. Suggested Backoff Time: 299961 milliseconds", True, 299.961),
        ("Backoff Time: 30 seconds", True, 30.0),
        ("Backoff time: 999999999", True, 600.0),
        ("登录过于频繁", True, None),
        ("the server closed the connection", False, None),
        ("BYE Session expired", False, None),
    ],
)
def test_complaints_are_heard(text: str, is_complaint: bool, pause: float | None) -> None:
    assert complains(text) is is_complaint
    assert asked_pause(text) == pause


@pytest.mark.parametrize(
    ("hours", "at", "wait"),
    [
        ("22:00-06:00", clock(23, 0), timedelta()),
        ("22:00-06:00", clock(5, 59), timedelta()),
        ("22:00-06:00", clock(6, 0), timedelta(hours=16)),
        ("22:00-06:00", clock(21, 30), timedelta(minutes=30)),
        ("01:00-05:00", clock(4, 0), timedelta()),
        ("01:00-05:00", clock(5, 0), timedelta(hours=20)),
        ("01:00-05:00", clock(0, 30), timedelta(minutes=30)),
        ("00:00-00:00", clock(12, 0), timedelta()),
    ],
)
def test_hours_of_the_day(hours: str, at: clock, wait: timedelta) -> None:
    assert Hours.parse(hours).wait(datetime.combine(datetime(2026, 11, 24, tzinfo=UTC), at, UTC)) == wait


def test_hours_that_are_none() -> None:
    with pytest.raises(ValueError, match="isoformat"):
        Hours.parse("night")


@pytest.mark.parametrize(("mails", "size", "seconds"), [(2.0, None, 4.5), (None, 100.0, 9.0), (10.0, 100.0, 9.0)])
def test_a_throttle_spreads_them_evenly(mails: float | None, size: float | None, seconds: float) -> None:
    now = 0.0

    async def sleep(pause: float) -> None:
        nonlocal now
        now += pause

    async def work() -> None:
        throttle = Throttle(mails, size, now=lambda: now, sleep=sleep)
        for _ in range(10):
            await throttle.take(100)

    asyncio.run(work())
    assert now == pytest.approx(seconds)
