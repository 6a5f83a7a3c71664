"""When a thing last happened."""

from __future__ import annotations

from datetime import datetime, timedelta

from storage.asking import Asking
from storage.models import Moment


class Moments(Asking):
    """Questions asked of `moments`."""

    def last(self, name: str) -> datetime | None:
        """When it last happened; None: never."""
        row = self.session.get(Moment, name)
        return row.at if row is not None else None

    def happened(self, name: str) -> None:
        """It happened now."""
        row = self.session.get(Moment, name, with_for_update=True)
        if row is None:
            self.added(Moment(name=name, at=self.now))
        else:
            row.at = self.now

    def first_within(self, name: str, period: timedelta) -> bool:
        """Whether it did not happen within `period`; it counts as happened now if so."""
        last = self.last(name)
        if last is not None and last > self.now - period:
            return False
        self.happened(name)
        return True
