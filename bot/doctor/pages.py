"""The one-time pages: whether a member was ever brought back to us by WeCom."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.exc import SQLAlchemyError

from bot.doctor import machine
from bot.doctor.findings import Finding, ok, warning
from bot.work import Services
from storage.links import CAME_BACK


def check(services: Services) -> Iterator[Finding]:
    """A page that a member opened proves the trusted domain, the public address and the app's secret at once."""
    if machine.is_new(services.settings):
        return
    try:
        with services.store.begin() as tx:
            at = tx.moments.last(CAME_BACK)
    except SQLAlchemyError:
        return  # the check of the database says why
    if at is None:
        yield warning("doctor.page_never")
    else:
        yield ok("doctor.page_opened", at=machine.shown(services.settings, at))
