"""When a thing last happened."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, select

from storage.asking import Asking, insert_into
from storage.models import Moment


class Moments(Asking):
    """Questions asked of `moments`."""

    def last(self, name: str) -> datetime | None:
        """When it last happened; None: never."""
        return self.session.scalar(select(Moment.at).where(Moment.name == name))

    def happened(self, name: str) -> None:
        """It happened now."""
        self.session.execute(self._happened(name))

    def first_within(self, name: str, period: timedelta) -> bool:
        """Whether it did not happen within `period`; it counts as happened now if so."""
        statement = self._happened(name, Moment.at <= self.now - period)
        return self.session.scalar(statement.returning(Moment.name)) is not None

    def _happened(self, name: str, condition: ColumnElement[bool] | None = None) -> Any:
        """One statement, so that of two replicas one is the first."""
        statement = insert_into(self.session, Moment).values(name=name, at=self.now)
        return statement.on_conflict_do_update(index_elements=["name"], set_={"at": self.now}, where=condition)
