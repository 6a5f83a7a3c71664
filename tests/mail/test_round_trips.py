"""How often a copy waits for the other end of the line: at 40 ms that is most of what it costs."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from datetime import UTC, datetime

import pytest

from bot.mail.account import MailAccount
from bot.mail.copy import Limits, copy_and_verify, copy_mail
from bot.mail.outcome import CopyOutcome
from bot.mail.plan import Filter, make_plan
from bot.mail.verify import Verification
from storage.ledger import SqlLedger
from tests.mail.lockstep import Lockstep
from tests.mail.mailboxes import FOLDERS, bag, count, fill, message, opened
from tests.servers.dovecot import Dovecot

SECONDS_MAX = 60.0


def through(account: MailAccount, line: Lockstep) -> MailAccount:
    return dataclasses.replace(account, port=line.port)


@pytest.mark.parametrize(("profile", "most"), [("full", 3), ("exmail", 4)])
def test_planning_takes_few_round_trips(dovecot: Dovecot, profile: str, most: int) -> None:
    """However many folders: the login, the folders with their numbers (in two without LIST-STATUS), their mails."""
    source, target = dovecot.account(profile=profile), dovecot.account(profile=profile)
    fill(source, seed=1, per_folder=4)

    async def planned() -> Lockstep:
        async with asyncio.timeout(SECONDS_MAX), Lockstep(source.port).running() as line:
            plan = await make_plan(
                through(source, line), through(target, line), into="Backup", filter=Filter(), now=datetime.now(UTC)
            )
            assert (len(plan.folders), plan.messages) == (len(FOLDERS), count(bag(source)))
            return line

    line = asyncio.run(planned())
    rounds = [each for each in line.rounds if any(command != b"LOGOUT" for command in each)]
    assert len(rounds) <= most, rounds


@pytest.mark.parametrize(("profile", "begins", "ends"), [("full", 4, 2), ("exmail", 5, 3)])
def test_a_copy_begins_and_ends_in_few_round_trips(
    dovecot: Dovecot, ledger: SqlLedger, profile: str, begins: int, ends: int
) -> None:
    """
    Before the first APPEND: the login, both sides' folders, the source's mails listed while the target's folders are
    made, the first FETCH. After the last: the target asked for its numbers, then everything compared.
    """
    source, target = dovecot.account(profile=profile), dovecot.account(profile=profile)
    fill(source, seed=1, per_folder=4)

    async def copied() -> tuple[Lockstep, CopyOutcome, Verification]:
        async with asyncio.timeout(SECONDS_MAX), Lockstep(source.port).running() as line:
            outcome, check = await copy_and_verify(
                through(source, line),
                through(target, line),
                into="Backup/box",
                filter=Filter(),
                ledger=ledger,
                limits=Limits(connections=2),
            )
            return line, outcome, check

    line, outcome, check = asyncio.run(copied())
    assert outcome.finished
    assert check.ok
    assert bag(target, root="Backup/box") == bag(source)
    assert line.before(b"APPEND") <= begins, line.rounds
    assert line.after(b"APPEND") <= ends, line.rounds


def test_a_big_mail_holds_nobody_up(dovecot: Dovecot, ledger: SqlLedger) -> None:
    """
    Without LITERAL+ each mail costs a connection one round trip; a big one among them costs no other connection any.
    """
    source, target = dovecot.account(profile="exmail"), dovecot.account(profile="exmail")
    rng = random.Random(1)
    with opened(source) as client:
        for number in range(66):
            client.append("INBOX", message(number, rng, size=700_000 if number % 11 == 5 else 600))

    async def copied() -> Lockstep:
        async with asyncio.timeout(SECONDS_MAX), Lockstep(source.port).running() as line:
            await copy_mail(
                through(source, line), through(target, line), into="Backup", filter=Filter(), ledger=ledger,
                limits=Limits(connections=4),
            )  # fmt: skip
            return line

    line = asyncio.run(copied())
    sending = [number for number, each in enumerate(line.rounds) if any(one.startswith(b"APPEND") for one in each)]
    assert sending[-1] - sending[0] <= 66 / 4 + 2
