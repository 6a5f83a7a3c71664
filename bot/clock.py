"""The time, as an argument: every due moment is a row compared with `clock.now()`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Says what time it is; aware and in UTC."""

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class ShiftedClock:
    """The machine's clock moved: the sandbox's time machine."""

    def __init__(self, base: Clock | None = None) -> None:
        self.base = base or SystemClock()
        self.shift = timedelta()

    def now(self) -> datetime:
        return self.base.now() + self.shift

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`; the past cannot be had back."""
        if seconds < 0:
            raise ValueError("the clock only goes forward")
        self.shift += timedelta(seconds=seconds)

    def set_to(self, moment: datetime) -> None:
        """Begin anew at another moment, also an earlier one: nobody may hold anything of before."""
        self.shift = moment - self.base.now()
