"""Connections lost, grown and refused; groups in one APPEND; attachments for what is refused; one mailbox twice."""

from __future__ import annotations

import asyncio
import dataclasses
import email
import random
import re
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from typing import Any

import pytest

from bot.mail import pace
from bot.mail.account import MailAccount
from bot.mail.append import Sent
from bot.mail.copy import Limits, RefusalReason, copy_mail
from bot.mail.digest import Digest
from bot.mail.errors import SameMailbox
from bot.mail.flow import Item
from bot.mail.pace import Hours, Throttle
from bot.mail.plan import Filter, make_plan
from bot.mail.pump import Pass, appended
from bot.mail.told import Done
from bot.mail.verify import verify_copy
from bot.mail.wire import uids_of
from bot.mail.wrap import Wrapped, Wrapping
from storage.ledger import SqlLedger
from tests.mail.mailboxes import bag, count, fill, message, opened
from tests.mail.test_exmail import MAILS, NOW, ROOT, world
from tests.mail.test_faults import Scene, once
from tests.servers.dovecot import Dovecot


class Remembered(dict[str, int]):
    """Where it is remembered what hosts like."""

    def connections(self, host: str) -> int | None:
        return self.get(host)

    def learn(self, host: str, connections: int) -> None:
        self[host] = connections


def test_a_lost_connection_costs_only_its_own(dovecot: Dovecot, ledger: SqlLedger) -> None:
    """It is replaced while the others go on: nobody else logs in again."""
    scene = Scene(dovecot, ledger, "exmail")
    scene.fill(per_folder=40)
    scene.target_side.cut_after_sent = [10**9, 40_000]
    outcome = scene.copy(limits=Limits(connections=3, silence_seconds=10))
    assert outcome.finished
    assert outcome.reconnects == 1
    assert scene.target_side.connections == 4
    assert scene.source_side.connections == 1
    fetched = [line.split()[2].decode() for line in scene.source_side.commands if b"BODY.PEEK[]" in line]
    assert sum(len(uids_of(uids)) for uids in fetched) <= outcome.stored + 4, "more than what was under way came twice"
    scene.check()


def test_groups_go_in_one_command(dovecot: Dovecot, ledger: SqlLedger) -> None:
    scene = Scene(dovecot, ledger, "full")
    scene.fill(per_folder=40)
    outcome = scene.copy()
    appends = [line for line in scene.target_side.commands if line.startswith(b"APPEND")]
    assert len(appends) < outcome.stored / 2
    scene.check()


def test_a_refused_group_is_sent_one_by_one() -> None:
    """One of them is the reason: none is refused, each is asked for alone."""

    doubted: list[Item] = []

    class Nobody:
        def doubted(self, items: list[Item]) -> None:
            doubted.extend(items)

        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    async def work() -> None:
        passing = Pass(
            Nobody(), iter(()), {}, budget_bytes=9, throttle=Throttle(None, None), pipelining=True, grouping=True
        )
        line = type("Line", (), {"folder_id": 1})
        items = []
        for uid in (1, 2, 3):
            each: Any = line()
            each.uid = uid
            items.append(Item(None, each, b"x", 0, False))  # type: ignore[arg-type]
        sent = Sent(items, None, None)  # type: ignore[arg-type]
        answer: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        answer.set_result(Done("NO", "Message contains NUL characters", []))
        passing.answered(sent, answer)
        assert passing.error is None
        assert doubted == items, "some may be there all the same"
        assert {key: trouble.alone for key, trouble in passing.troubles.items()} == {
            (1, uid): True for uid in (1, 2, 3)
        }

    asyncio.run(work())


@pytest.mark.parametrize(
    ("text", "number", "places"),
    [
        ("[APPENDUID 7 3:5] done", 3, [(7, 3), (7, 4), (7, 5)]),
        ("[APPENDUID 7 3] done", 1, [(7, 3)]),
        ("[APPENDUID 7 3:5] done", 2, [None, None]),
        ("[APPENDUID 7 5:3] done", 3, [None, None, None]),
        ("[APPENDUID 7 99999999999999999999999] done", 1, [None]),
        ("done", 2, [None, None]),
    ],
)
def test_where_they_are_is_read(text: str, number: int, places: list[tuple[int, int] | None]) -> None:
    assert appended(text, number) == places


def test_connections_grow_and_are_remembered(
    dovecot: Dovecot, ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow server with room for more: one after the other, up to the limit."""
    monkeypatch.setattr(pace, "WINDOW_SECONDS", 0.3)
    monkeypatch.setattr(pace, "GAIN", 0.0)  # what other processes on this machine take must not decide
    scene = Scene(dovecot, ledger, "exmail")
    scene.fill(per_folder=60)
    hosts = Remembered()
    limits = Limits(connections=3, adaptive=True, mails_per_second=60, silence_seconds=10)
    outcome = scene.copy(limits=limits, hosts=hosts)
    assert outcome.finished
    assert (outcome.connections, hosts) == (3, {scene.target.host: 3})
    assert scene.target_side.connections == 3
    scene.check()


def test_too_many_connections_are_fewer_at_once(dovecot: Dovecot, ledger: SqlLedger) -> None:
    """The server says BYE to the third; the copy goes on with what it has and remembers."""
    scene = Scene(dovecot, ledger, "exmail")
    scene.fill(per_folder=30)
    hosts = Remembered({scene.target.host: 4})

    def on_command(line: bytes) -> bytes | None:
        if line.startswith(b"LOGIN") and scene.target_side.connections > 2:
            return b"* BYE Too many connections"
        return None

    scene.target_side.on_command = on_command
    outcome = scene.copy(limits=Limits(connections=4, adaptive=True, silence_seconds=10), hosts=hosts)
    assert outcome.finished
    assert scene.target_side.connections <= 4
    assert hosts[scene.target.host] <= 2
    scene.check()


def test_a_complaint_halves_the_connections(dovecot: Dovecot, ledger: SqlLedger) -> None:
    """In the middle of the work; what was under way there is sent by another."""
    scene = Scene(dovecot, ledger, "exmail")
    scene.fill(per_folder=30)
    scene.target_side.on_command = once(b"APPEND", b"* BYE Too many connections", after=12)
    outcome = scene.copy(limits=Limits(connections=4, silence_seconds=10))
    assert outcome.finished
    assert (outcome.connections, outcome.reconnects) == (2, 1)
    assert scene.target_side.connections == 4
    scene.check()


def test_outside_of_its_hours_nothing_is_copied(dovecot: Dovecot, ledger: SqlLedger) -> None:
    scene = Scene(dovecot, ledger, "exmail")
    scene.fill(per_folder=5)
    now = datetime.now(UTC)
    begin, end = (now + timedelta(hours=2)).time(), (now + timedelta(hours=3)).time()
    hours = Hours(clock(begin.hour, begin.minute), clock(end.hour, end.minute))
    outcome = scene.copy(limits=Limits(hours=hours, zone=UTC, silence_seconds=10))
    assert (outcome.finished, outcome.stored) == (False, 0)
    assert 1.9 < outcome.waits_seconds / 3600 <= 2.1


@pytest.mark.parametrize(
    ("fault", "raw"),
    [
        ("nul_refused", b"Subject: odd one\r\n\r\na\0b\r\n"),
        ("header_refused", b"Subject: odd one\r\nX: \xe4\r\n\r\nb\r\n"),
        ("line_limit", b"Subject: odd one\r\n\r\n" + b"x" * 600_000 + b"\r\n"),  # streamed
    ],
)
@pytest.mark.parametrize("drops", [0, 2])
def test_what_is_refused_goes_as_an_attachment(ledger: SqlLedger, fault: str, raw: bytes, drops: int) -> None:
    """Byte for byte, once, also when the line dies between the store and its answer; the receipt says so."""

    async def work() -> None:
        async with world(ledger) as here:
            here.source.put("INBOX", raw, NOW)
            here.target.faults[fault] = True
            if drops:
                here.target.faults.arm("drop_after_append", times=drops, after=MAILS)
            source, target = here.accounts
            limits = Limits(silence_seconds=2, wrap_refused=True)

            async def copy() -> Any:
                return await copy_mail(
                    source,
                    target,
                    into=ROOT,
                    filter=Filter(),
                    ledger=ledger,
                    limits=limits,
                    pause=lambda _: asyncio.sleep(0),
                )

            outcome = await copy()
            assert outcome.finished
            assert not outcome.refused
            assert [(each.subject, each.reason) for each in outcome.wrapped] == [("odd one", RefusalReason.CONTENT)]
            assert "original.eml" in str(outcome.wrapped[0].kept_words())
            assert (await verify_copy(source, target, ledger=ledger)).ok
            mails = [mail.raw for mail in here.target.folders[f"{ROOT}/INBOX"].messages.values()]
            found = [mail for mail in mails if b"original.eml" in mail]
            assert len(found) == 1
            parts = email.message_from_bytes(found[0]).get_payload()
            assert parts[1].get_payload(decode=True) == raw  # type: ignore[index, union-attr]
            assert (await copy()).stored == 0

    asyncio.run(work())


@pytest.mark.parametrize("size", [0, 1, 56, 57, 58, 1000, 5700])
@pytest.mark.parametrize("subject", ["plain", "发票 " * 30, ""])
def test_the_mail_around_a_mail(size: int, subject: str) -> None:
    """Its size is known before; pieces of any length give the same bytes; every line is short and plain."""
    line: Any = type("Line", (), {"folder_id": 1, "uid": 2, "detail": "NUL", "subject": subject, "internal_date": ""})
    raw = random.Random(size).randbytes(size)
    wrapping = Wrapping(line, size)
    pieces = [
        wrapping.head,
        *(wrapping.encode(raw[place : place + 7]) for place in range(0, size, 7)),
        wrapping.finish(),
    ]
    whole = b"".join(pieces)
    assert len(whole) == wrapping.size
    assert whole.isascii()
    assert max(map(len, whole.split(b"\r\n"))) <= 100
    assert not re.search(rb"[^\r]\n|\0", whole)
    found = email.message_from_bytes(whole)
    assert found.get_payload()[1].get_payload(decode=True) == raw  # type: ignore[index, union-attr]
    wrapped, digest = Wrapped(line, size), Digest()
    wrapped.update(raw)
    digest.update(whole)
    named = wrapped.finish()
    assert (named.sha256, named.identity) == (digest.sha256, digest.identity)


def test_one_mailbox_under_two_names_is_not_copied_into_itself(dovecot: Dovecot, ledger: SqlLedger) -> None:
    """By the plan and by the copy; but two mailboxes are two, whatever they hold, and so are two empty ones."""

    def plan(source: MailAccount, target: MailAccount) -> None:
        asyncio.run(make_plan(source, target, into="Backup/x", filter=Filter(), now=NOW))

    box = dovecot.account(profile="exmail")
    alias = dataclasses.replace(box, host="127.0.0.1")
    plan(box, alias)  # still empty
    fill(box, seed=1, per_folder=3, folders=("INBOX", "Sent"))
    with pytest.raises(SameMailbox) as caught:
        plan(box, alias)
    assert box.user in str(caught.value.words())
    with pytest.raises(SameMailbox):
        asyncio.run(copy_mail(box, alias, into="Backup/x", filter=Filter(), ledger=ledger))
    with opened(box) as client:
        client.append("INBOX", message(9, random.Random(9)), [], NOW)
    with pytest.raises(SameMailbox):
        plan(box, alias)

    other = dovecot.account(profile="exmail")
    plan(box, other)
    fill(other, seed=2, per_folder=3, folders=("INBOX", "Sent"))
    plan(box, other)
    before = count(bag(other))
    asyncio.run(copy_mail(box, other, into="Backup/x", filter=Filter(), ledger=ledger))
    assert count(bag(other)) == before + count(bag(box))
