"""Copies between two Dovecot mailboxes, in both profiles, looked at by an independent reader."""

from __future__ import annotations

import asyncio

import pytest

from bot.mail.account import MailAccount
from bot.mail.copy import CopyOutcome, Limits, copy_mail
from bot.mail.plan import Filter
from bot.mail.verify import Verification, verify_copy
from storage.ledger import SqlLedger
from tests.mail.mailboxes import bag, count, fill
from tests.servers.dovecot import PROFILES, Dovecot

ROOT = "其他文件夹/ahing@corp.test"


def copy(source: MailAccount, target: MailAccount, ledger: SqlLedger, into: str = ROOT, **more: object) -> CopyOutcome:
    limits = more.pop("limits", Limits(silence_seconds=10))
    filter = more.pop("filter", Filter())
    return asyncio.run(
        copy_mail(source, target, into=into, filter=filter, ledger=ledger, limits=limits, **more)  # type: ignore[arg-type]
    )


def verify(source: MailAccount | None, target: MailAccount, ledger: SqlLedger) -> Verification:
    return asyncio.run(verify_copy(source, target, ledger=ledger, silence_seconds=10))


@pytest.mark.parametrize("connections", [(1, 1), (2, 3)])
@pytest.mark.parametrize("profile", PROFILES)
def test_every_mail_arrives_as_it_was(
    dovecot: Dovecot, ledger: SqlLedger, profile: str, connections: tuple[int, int]
) -> None:
    """Folders, flags, keywords, dates and bytes are the same, twins are two; a second run finds nothing to do."""
    source, target = dovecot.account(profile=profile), dovecot.account(profile=profile)
    fill(source, seed=1)
    before = bag(source)

    limits = Limits(source_connections=connections[0], connections=connections[1], silence_seconds=10)
    outcome = copy(source, target, ledger, limits=limits)

    assert outcome.finished
    assert not outcome.refused
    assert outcome.stored == count(before)
    assert bag(target, root=ROOT) == before
    assert bag(source) == before, "the source is as it was: nothing seen, nothing gone"

    check = verify(source, target, ledger)
    assert check.ok, check.differences
    assert check.hashed == count(before)
    assert verify(None, target, ledger).ok

    again = copy(source, target, ledger, limits=limits)
    assert (again.stored, again.already, again.finished) == (0, count(before), True)
    assert bag(target, root=ROOT) == before
