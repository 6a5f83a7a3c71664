"""The reasons of reminders agree with the reminders."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from bot.sandbox.due import why_reminded
from bot.workdays import DAY, last_day, plan, workdays

SHANGHAI = ZoneInfo("Asia/Shanghai")


def test_every_reminder_has_a_reason_and_no_reason_is_without_a_reminder() -> None:
    """For every last day of three years, one of which is not in the table."""
    for number in range(3 * 365):
        deletes_at = datetime(2025, 2, 1, 16, tzinfo=UTC) + number * DAY
        last = last_day(deletes_at, SHANGHAI)
        days = [step.at.astimezone(SHANGHAI).date() for step in plan(deletes_at, SHANGHAI, workdays())]
        assert sorted(why_reminded(last)) == days, last


def test_the_reasons_name_what_moved_them() -> None:
    """A weekend, a public holiday, the own day nevertheless, a year without a table; several on one day."""

    def said(last: date, day: date, language: str = "en") -> list[str]:
        return [each.text("zh" if language == "zh" else "en") for each in why_reminded(last)[day]]

    assert said(date(2026, 10, 7), date(2026, 9, 30)) == [
        "On its own day: 7 days before the last day.",
        "Moved here from a public holiday, to the working day before: 3 days before the last day (2026-10-04), "
        "the day before the last (2026-10-06), the last morning (2026-10-07).",
    ]
    assert said(date(2026, 10, 7), date(2026, 10, 7), "zh") == [
        "当天提醒：最后一天的早上。虽是法定节假日，但临近删除，仍会提醒。"
    ]
    assert said(date(2026, 11, 29), date(2026, 11, 27)) == [
        "Moved here from a weekend, to the working day before: the day before the last (2026-11-28), "
        "the last morning (2026-11-29).",
    ]
    assert said(date(2027, 10, 6), date(2027, 10, 6))[-1].startswith("The public holidays of 2027 are not in the table")
