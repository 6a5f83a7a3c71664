"""The flow of a copy when something dies, rests, waits or is asked to stop."""

from __future__ import annotations

import asyncio

import pytest

from bot.mail import copy
from storage.ledger import SqlLedger
from tests.mail.test_exmail import ROOT, world


def test_what_a_killed_run_still_stores_is_seen(ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lands when the next run has long looked: the last look comes late enough, and nothing is left double."""
    monkeypatch.setattr(copy, "LAST_LOOK_SECONDS", 2.5)

    async def work() -> None:
        async with world(ledger) as here:
            await here.copy()
            ledger.begin_run()  # and killed

            async def lands() -> None:
                await asyncio.sleep(2.0)
                mail = next(iter(here.target.folders[f"{ROOT}/INBOX"].messages.values()))
                here.target.put(f"{ROOT}/INBOX", mail.raw, mail.date, mail.flags)

            outcome, _ = await asyncio.gather(here.copy(silence=10), lands())
            assert outcome.finished
            assert outcome.removed == 1
            assert here.copied() == here.expected()
            assert not ledger.begin_run(), "the wait is over, also for the next run"

    asyncio.run(work())
