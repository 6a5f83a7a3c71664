"""Working days as the State Council arranged them, and the mornings on which a deletion is announced."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, time, timedelta
from importlib import resources
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.workdays import REMIND_DAYS, last_day, may_speak_at, morning, next_step, plan, table, urgency, workdays

SHANGHAI = ZoneInfo("Asia/Shanghai")


def deletion(day: str, zone: ZoneInfo = SHANGHAI) -> datetime:
    """00:00 of a day."""
    return datetime.combine(date.fromisoformat(day), time(), zone)


def planned(day: str, zone: ZoneInfo = SHANGHAI) -> str:
    """The reminders of a deletion at 00:00 of a day in Shanghai: how many days before the last, and on which day."""
    steps = plan(deletion(day), zone, workdays())
    assert all(step.at.astimezone(zone).time() == time(9) for step in steps)
    return " ".join(f"{step.days}@{step.at.astimezone(zone):%m-%d}" for step in steps)


@pytest.mark.parametrize(
    ("day", "works"),
    [
        ("2026-09-18", True),  # Friday
        ("2026-09-19", False),  # Saturday
        ("2026-09-20", True),  # a Sunday that is worked
        ("2026-09-25", False),  # 中秋节, a Friday
        ("2026-09-30", True),
        ("2026-10-01", False),  # National Day week
        ("2026-10-07", False),
        ("2026-10-08", True),
        ("2026-10-10", True),  # a Saturday that is worked
        ("2026-10-11", False),
        ("2026-02-14", True),  # a Saturday before the Spring Festival
        ("2026-02-16", False),
        ("2026-02-23", False),
        ("2026-02-24", True),
        ("2025-01-26", True),
        ("2025-01-28", False),
        ("2025-02-04", False),
        ("2025-02-05", True),
        ("2025-10-08", False),
        ("2025-10-09", True),
        ("2025-12-31", True),
        ("2027-10-01", True),  # not announced: weekends only
        ("2027-10-02", False),
    ],
)
def test_who_works_when(day: str, works: bool) -> None:
    assert workdays().works(date.fromisoformat(day)) is works


def test_a_year_that_is_not_announced_is_known_as_such() -> None:
    assert workdays().knows(2025)
    assert workdays().knows(2026)
    assert not workdays().knows(2027)


def test_the_table_has_as_many_free_days_as_the_notices() -> None:
    """2025 adds up to 28 days in 6 holidays, 2026 to 33 in 7; worked weekend days are 5 and 6."""
    years = tomllib.loads((resources.files("bot") / "data" / "holidays.toml").read_text("utf-8"))
    counts = {
        year: (sum((last - first).days + 1 for first, last in arranged["off"]), len(arranged["on"]))
        for year, arranged in years.items()
    }
    assert counts == {"2025": (28, 5), "2026": (33, 6)}


@pytest.mark.parametrize(
    ("year", "said"),
    [
        ({"off": [[date(2026, 10, 7), date(2026, 10, 1)]]}, "off"),
        ({"off": ["2026-10-01"]}, "off"),
        ({"off": [[date(2026, 1, 1), date(2026, 12, 31)]]}, "off"),
        ({"on": [date(2026, 10, 12)]}, "on"),  # a Monday
        ({"off": [[date(2026, 10, 1), date(2026, 10, 7)]], "on": [date(2026, 10, 3)]}, "on"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused(year: dict[str, list[object]], said: str) -> None:
    with pytest.raises(ValueError, match=rf"\[2026\] {said}"):
        table({"2026": year})


@pytest.mark.parametrize(
    ("deleted", "reminders"),
    [
        # a Thursday deletes; the last day is Wednesday the 23rd; the Sunday is told on Friday
        ("2026-12-24", "14@12-09 7@12-16 3@12-18 1@12-22 0@12-23"),
        # the last day is a Sunday: on Friday, and on both days themselves
        ("2026-11-23", "14@11-06 7@11-13 3@11-19 0@11-20 1@11-21 0@11-22"),
        # the last day lies in the National Day week: all is said on 30 September, the last two again
        ("2026-10-07", "14@09-22 7@09-29 0@09-30 1@10-05 0@10-06"),
        # the deadline is the first day after the holiday
        ("2026-10-08", "14@09-23 0@09-30 1@10-06 0@10-07"),
        # the Saturday before the last day is worked, the Sunday 14 days before it, too
        ("2026-10-12", "14@09-24 7@09-30 3@10-08 0@10-10 0@10-11"),
        ("2026-10-05", "14@09-20 7@09-24 0@09-30 1@10-03 0@10-04"),
        # the Spring Festival swallows three of them
        ("2026-02-24", "14@02-09 0@02-14 1@02-22 0@02-23"),
        # across the turn of the year, into one that is not announced
        ("2027-01-06", "14@12-22 7@12-29 3@01-01 1@01-04 0@01-05"),
    ],
)  # fmt: skip
def test_the_mornings_of_a_deletion(deleted: str, reminders: str) -> None:
    assert planned(deleted) == reminders


def test_another_time_zone_has_its_own_mornings() -> None:
    """00:00 in Shanghai is 17:00 of the day before in Berlin and 08:00 in Los Angeles: too early for a last morning."""
    assert last_day(deletion("2026-12-24"), ZoneInfo("Europe/Berlin")) == date(2026, 12, 23)
    assert last_day(deletion("2026-12-24"), ZoneInfo("America/Los_Angeles")) == date(2026, 12, 22)
    assert planned("2026-12-24", ZoneInfo("America/Los_Angeles")).endswith("0@12-22")
    assert planned("2026-12-24", ZoneInfo("Pacific/Auckland")).endswith("0@12-23")


def test_after_an_outage_the_most_urgent_counts() -> None:
    steps = plan(deletion("2026-12-24"), SHANGHAI, workdays())
    at = {step.days: step.at for step in steps}
    assert urgency(steps, at[14] - timedelta(seconds=1)) is None
    assert urgency(steps, at[14]) == 14
    assert urgency(steps, at[3] + timedelta(hours=1)) == 3
    assert next_step(steps, at[3]) == steps[3]
    assert next_step(steps, at[0]) is None


@pytest.mark.parametrize(
    ("moment", "any_day", "speaks"),
    [
        ("2026-11-20 10:00", False, "2026-11-20 10:00"),  # Friday
        ("2026-11-20 17:59", False, "2026-11-20 17:59"),
        ("2026-11-20 18:00", False, "2026-11-23 09:00"),
        ("2026-11-20 18:00", True, "2026-11-21 09:00"),
        ("2026-11-21 03:00", True, "2026-11-21 09:00"),
        ("2026-11-23 08:59", False, "2026-11-23 09:00"),
        ("2026-09-30 20:00", False, "2026-10-08 09:00"),
        ("2026-10-09 20:00", False, "2026-10-10 09:00"),  # a Saturday that is worked
    ],
)
def test_nobody_is_disturbed_outside_working_hours(moment: str, any_day: bool, speaks: str) -> None:
    local = datetime.fromisoformat(moment).replace(tzinfo=SHANGHAI)
    found = may_speak_at(local.astimezone(UTC), SHANGHAI, workdays(), any_day=any_day)
    assert f"{found.astimezone(SHANGHAI):%Y-%m-%d %H:%M}" == speaks


@given(
    day=st.dates(date(2024, 6, 1), date(2028, 6, 1)),
    zone=st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "America/Los_Angeles", "Pacific/Auckland", "UTC"]),
)
def test_every_plan_is_sound(day: date, zone: str) -> None:
    """At most one a day, before the deletion, each named day told in time, and the last morning always."""
    days, local = workdays(), ZoneInfo(zone)
    end = datetime.combine(day, time(), SHANGHAI)
    steps = plan(end, local, days)
    dates = [step.at.astimezone(local).date() for step in steps]
    last = last_day(end, local)
    assert dates == sorted(set(dates))
    assert all(step.at == morning(date_, local) for step, date_ in zip(steps, dates, strict=True))
    assert steps[-1].days == 0
    assert dates[-1] == last
    assert timedelta(hours=1) <= end - steps[-1].at <= timedelta(hours=26)
    for before in REMIND_DAYS:
        own = last - timedelta(days=before)
        told = [date_ for step, date_ in zip(steps, dates, strict=True) if step.days <= before and date_ <= own]
        assert told, before
        assert any(days.works(date_) for date_ in told)
        if before <= 1:
            assert own in dates
    assert all(days.works(date_) for date_ in dates if date_ < last - timedelta(days=1))
