"""What once let a mail be lost or doubled and yet verified: a NO at the wrong moment, a folder restored, and kin."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Awaitable, Callable

import pytest

from bot.mail.copy import CopyOutcome, Limits, copy_mail
from bot.mail.plan import Filter
from bot.mail.verify import verify_copy
from storage.ledger import SqlLedger
from tests.mail.mailboxes import message
from tests.mail.middle import Middle
from tests.mail.test_exmail import MAILS, NOW, ROOT, World, world

BUSY = b"tag NO System busy!"


def tried(ledger: SqlLedger, story: Callable[[World], Awaitable[None]]) -> None:
    """Run a story in a world of its own."""

    async def work() -> None:
        async with world(ledger) as here:
            await story(here)

    asyncio.run(work())


async def copied_through(
    here: World, middle: Middle, side: str, *, wrap: bool = False, silence: float = 2.0
) -> CopyOutcome:
    """A copy of which one side has somebody in the middle."""

    async def pause(seconds: float) -> None:
        here.pauses.append(seconds)

    source, target = here.accounts
    async with middle.running():
        if side == "source":
            source = dataclasses.replace(source, port=middle.port)
        else:
            target = dataclasses.replace(target, port=middle.port)
        limits = Limits(silence_seconds=silence, wrap_refused=wrap)
        return await copy_mail(
            source, target, into=ROOT, filter=Filter(), ledger=here.ledger, limits=limits, pause=pause
        )


def refusing(here: World, times: int, about: Callable[[bytes], bool]) -> Middle:
    """Answers NO so many times to the commands it is about."""
    middle = Middle(here.server.port)
    left = [times]

    def on_command(line: bytes) -> bytes | None:
        if left[0] and about(line):
            left[0] -= 1
            return BUSY
        return None

    middle.on_command = on_command
    return middle


def is_listing(line: bytes) -> bool:
    return line.startswith(b"UID FETCH") and b"FLAGS" in line and b"BODY" not in line


def is_reading(line: bytes) -> bool:
    return line.startswith(b"UID FETCH") and (b"BODY.PEEK[]" in line or line.endswith(b"(UID RFC822.SIZE)"))


@pytest.mark.parametrize("times", [3, 40, 400])
def test_a_busy_source_makes_no_mail_gone(ledger: SqlLedger, times: int) -> None:
    """Busy for a while: waited for. Busy for good: listed as refused, and copied by a later call."""

    async def story(here: World) -> None:
        outcome = await copied_through(here, refusing(here, times, is_reading), "source")
        assert here.pauses
        assert outcome.stored + len(outcome.refused) == MAILS
        assert (times == 3) <= (not outcome.refused)
        assert not any(each.gone for each in outcome.folders)
        await here.copy()
        assert here.copied() == here.expected()
        assert await here.verified()

    tried(ledger, story)


def test_a_mail_called_gone_and_listed_is_missed_and_planned_again(ledger: SqlLedger) -> None:
    async def story(here: World) -> None:
        await here.copy()
        folder = next(each for each in here.ledger.folders() if each.source == "INBOX")
        raw = message(60, random.Random(6))
        uid = here.source.put("INBOX", raw, NOW)
        here.ledger.plan(folder.id, [(uid, len(raw), "", "")])
        here.ledger.gone(folder.id, uid)
        here.ledger.set_uidnext(folder.id, uid + 1)
        assert not await here.verified()
        assert (await here.copy()).stored == 1
        assert await here.verified()

    tried(ledger, story)


def test_a_folder_restored_to_an_older_state_is_not_verified(ledger: SqlLedger) -> None:
    """Emptied, with the same UIDVALIDITY and a lower UIDNEXT: what was stored lies beyond it."""

    async def story(here: World) -> None:
        await here.copy()
        for name, folder in here.target.folders.items():
            if name.startswith(ROOT + "/"):
                folder.messages.clear()
                folder.uidnext = 1
        check = await verify_copy(*here.accounts, ledger=here.ledger)
        assert not check.ok
        assert sum(each.missing for each in check.folders) == MAILS

    tried(ledger, story)


def test_two_mails_at_one_place_are_not_verified(ledger: SqlLedger) -> None:
    async def story(here: World) -> None:
        here.source.put("INBOX", message(61, random.Random(7)), NOW)
        here.source.put("INBOX", message(61, random.Random(7)), NOW)
        here.target.faults["twins_thrown_away"] = True
        await here.copy()
        check = await verify_copy(*here.accounts, ledger=here.ledger)
        assert not check.ok
        assert sum(each.missing for each in check.folders) > 0

    tried(ledger, story)


@pytest.mark.parametrize("about", [is_listing, is_reading])
@pytest.mark.parametrize("side", ["source", "target"])
def test_renumbered_and_busy_doubles_nothing(ledger: SqlLedger, side: str, about: Callable[[bytes], bool]) -> None:
    """One NO while the folders are matched anew is not taken for "nothing there"."""

    async def story(here: World) -> None:
        await here.copy()
        (here.source if side == "source" else here.target).faults["uidvalidity_change"] = 1
        outcome = await copied_through(here, refusing(here, 1, about), side)
        assert outcome.stored == 0
        assert here.copied() == here.expected()
        assert await here.verified()

    tried(ledger, story)
