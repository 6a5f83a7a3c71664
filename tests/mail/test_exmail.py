"""Every fault the simulated Exmail knows, at the source and at the target: nothing lost, nothing doubled, or said."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from bot.mail import settling
from bot.mail.account import MailAccount
from bot.mail.arrival import first_since
from bot.mail.copy import CopyOutcome, Limits, RefusalReason, copy_mail
from bot.mail.errors import MailError, QuotaFull
from bot.mail.notes import NoteKind
from bot.mail.plan import Filter, make_plan
from bot.mail.verify import verify_copy
from bot.sandbox.mailserver import Mailbox, MailServer
from storage.ledger import SqlLedger
from tests.mail.mailboxes import message

ROOT = "其他文件夹/ahing@corp.test"
MAILS = 12
NOW = datetime.now(UTC)

# What happens once or a few times: everything must be there once in the end, by itself.
PASSING = {
    "busy": 2,
    "hang": 1,
    "bad_untagged": 1,
    "bye": 2,
    "drop_on_command": 2,
    "drop_after_command": 2,
    "select_refused": 2,
    "drop_in_fetch": 2,
    "drop_in_append": 2,
    "drop_after_append": 2,
    "refused_after_append": 2,
}
# What lasts and does no harm.
LASTING = [
    "long_line_dropped",
    "pipelining_lost",
    "literal_plus",
    "exists_larger",
    "bad_uid_parameters",
    "unbounded_refused",
    "malformed_envelope",
    "malformed_bodystructure",
    "empty_header_fields",
    "date_unpadded",
    "flags_upper",
    "search_ignores_keys",
    "search_blind",
    "search_literal_hang",
    "no_appenduid",
    "wrong_appenduid",
    "connections_max",
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is this process: what a dead session left is stored at once."""
    monkeypatch.setattr(settling, "LAST_LOOK_SECONDS", 0.2)


class World:
    """Two mailboxes of one simulated Exmail."""

    def __init__(self, server: MailServer, ledger: SqlLedger) -> None:
        self.server, self.ledger = server, ledger
        self.source, self.target = server.add("ahing@corp.test"), server.add("support@corp.test")
        for box in (self.source, self.target):
            box.imap_on, box.window_days, box.show_custom = True, None, True
        self.accounts = [self.account(box) for box in (self.source, self.target)]
        rng = random.Random(4)
        self.source.add_folder("其他文件夹/项目 & 归档")
        for folder in ("INBOX", "其他文件夹/项目 & 归档"):
            for number in range(MAILS // 2):
                raw = message(number // 2, random.Random(number // 2), size=rng.choice((100, 3000)))  # twins
                flags = ["\\Seen", "todo"] if number % 3 else ["\\Flagged"]
                self.source.put(folder, raw, NOW - timedelta(days=100 * number, hours=1), flags)
        self.pauses: list[float] = []

    def account(self, box: Mailbox) -> MailAccount:
        return MailAccount("127.0.0.1", self.server.port, box.address, box.mint()[1], tls=False)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def copy(self, *, connections: int = 1, silence: float = 0.5) -> CopyOutcome:
        limits = Limits(connections=connections, silence_seconds=silence)
        source, target = self.accounts
        return await copy_mail(
            source, target, into=ROOT, filter=Filter(), ledger=self.ledger, limits=limits, pause=self.pause
        )

    async def verified(self) -> bool:
        source, target = self.accounts
        return (await verify_copy(source, target, ledger=self.ledger)).ok

    def copied(self, *, body_only: bool = False) -> dict[str, Counter[tuple[object, ...]]]:
        return self.contents(self.target, ROOT + "/", body_only)

    def expected(self, *, body_only: bool = False) -> dict[str, Counter[tuple[object, ...]]]:
        return self.contents(self.source, "", body_only)

    @staticmethod
    def contents(box: Mailbox, root: str, body_only: bool) -> dict[str, Counter[tuple[object, ...]]]:
        """Folder -> mails, straight from the server's memory."""
        result: dict[str, Counter[tuple[object, ...]]] = {}
        for name, folder in box.folders.items():
            if not name.startswith(root) or not folder.messages:
                continue
            result[name.removeprefix(root)] = Counter(
                (mail.raw,) if body_only else (mail.raw, frozenset(map(str.casefold, mail.flags)), mail.date)
                for mail in folder.messages.values()
            )
        return result


@contextlib.asynccontextmanager
async def world(ledger: SqlLedger) -> AsyncIterator[World]:
    server = MailServer()
    await server.start()
    try:
        async with asyncio.timeout(60):
            yield World(server, ledger)
    finally:
        await server.stop()


def test_the_first_mail_since_a_moment(ledger: SqlLedger) -> None:
    """In whatever folder it lies, but for those where one's own mails are; to the second."""

    async def run() -> None:
        async with world(ledger) as here:
            box, account = here.source, here.accounts[0]
            since = NOW - timedelta(minutes=5)
            assert await first_since(account, since) is None
            box.put("Drafts", b"Subject: own\r\n\r\n", since + timedelta(minutes=1), [])
            assert await first_since(account, since) is None
            for folder, minutes in (("INBOX", 4), ("Junk", 2), ("INBOX", -1)):
                box.put(folder, b"Subject: x\r\n\r\n", since + timedelta(minutes=minutes), [])
            assert await first_since(account, since) == (since + timedelta(minutes=2)).replace(microsecond=0)

    asyncio.run(run())


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("after", [0, 7])
@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_survived(ledger: SqlLedger, fault: str, after: int, side: str) -> None:
    async def work() -> None:
        async with world(ledger) as here:
            box = here.source if side == "source" else here.target
            box.faults.arm(fault, times=PASSING[fault], after=after)
            outcome = None
            for _ in range(3):
                with contextlib.suppress(MailError):  # a fault at the first login is told, not survived
                    outcome = await here.copy()
                    break
            assert outcome is not None
            assert outcome.finished
            assert not outcome.refused
            assert here.copied() == here.expected()
            box.faults.clear()
            assert await here.verified()

    asyncio.run(work())


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("fault", LASTING)
def test_what_lasts_does_no_harm(ledger: SqlLedger, fault: str, side: str) -> None:
    async def work() -> None:
        async with world(ledger) as here:
            (here.source if side == "source" else here.target).faults[fault] = True
            outcome = await here.copy(connections=2)
            assert outcome.finished
            assert here.copied() == here.expected()
            assert await here.verified() == ((fault, side) != ("exists_larger", "source"))
            assert (await here.copy()).stored == 0
            assert here.copied() == here.expected()

    asyncio.run(work())


@pytest.mark.parametrize("side", ["source", "target"])
def test_renumbered_at_every_login(ledger: SqlLedger, side: str) -> None:
    async def work() -> None:
        async with world(ledger) as here:
            await here.copy()
            (here.source if side == "source" else here.target).faults["uidvalidity_change"] = 1
            assert (await here.copy()).stored == 0
            assert here.copied() == here.expected()
            assert await here.verified()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("fault", "note"),
    [
        ("keywords_not_announced", NoteKind.KEYWORDS_DROPPED),
        ("keyword_refused", NoteKind.KEYWORDS_DROPPED),
        ("flags_refused", NoteKind.KEYWORDS_DROPPED),
        ("keyword_forgotten", None),
        ("date_ignored", NoteKind.DATES_IGNORED),
    ],
)
def test_what_a_target_does_not_keep_is_said(ledger: SqlLedger, fault: str, note: NoteKind | None) -> None:
    async def work() -> None:
        async with world(ledger) as here:
            here.target.faults[fault] = True
            outcome = await here.copy()
            assert note is None or note in {each.kind for each in outcome.notes}
            assert here.copied(body_only=True) == here.expected(body_only=True)
            assert await here.verified()

    asyncio.run(work())


def test_added_headers_are_no_second_mail(ledger: SqlLedger) -> None:
    """Also when the line dies between the store and its answer."""

    async def work() -> None:
        async with world(ledger) as here:
            here.target.faults["headers_added"] = True
            here.target.faults.arm("drop_after_append", times=3, after=2)
            outcome = await here.copy()
            assert outcome.finished
            assert NoteKind.BYTES_CHANGED in {each.kind for each in outcome.notes}
            copied = here.copied(body_only=True)
            assert {name: sum(mails.values()) for name, mails in copied.items()} == {
                name: sum(mails.values()) for name, mails in here.expected().items()
            }
            assert await here.verified()

    asyncio.run(work())


@pytest.mark.parametrize("fault", ["size_limit", "appendlimit"])
def test_what_is_too_big_is_listed(ledger: SqlLedger, fault: str) -> None:
    async def work() -> None:
        async with world(ledger) as here:
            here.source.put("INBOX", message(50, random.Random(5), size=60_000), NOW)
            here.target.faults[fault] = True
            outcome = await here.copy()
            assert [(each.reason, each.subject) for each in outcome.refused] == [(RefusalReason.TOO_BIG, "mail 50")]
            assert outcome.stored == MAILS

    asyncio.run(work())


@pytest.mark.parametrize(
    ("fault", "raw"),
    [
        ("nul_refused", b"Subject: odd one\r\n\r\na\0b\r\n"),
        ("bare_newlines_refused", b"Subject: odd one\r\n\r\na\nb\r\n"),
        ("header_refused", b"Subject: odd one\r\nX: \xe4\r\n\r\nb\r\n"),
        ("line_limit", b"Subject: odd one\r\n\r\n" + b"x" * 10_000 + b"\r\n"),
    ],
)
def test_what_the_target_does_not_take_is_listed(ledger: SqlLedger, fault: str, raw: bytes) -> None:
    async def work() -> None:
        async with world(ledger) as here:
            here.source.put("INBOX", raw, NOW)
            here.target.faults[fault] = True
            outcome = await here.copy()
            assert [each.subject for each in outcome.refused] == ["odd one"]
            assert outcome.stored == MAILS
            assert outcome.finished

    asyncio.run(work())


def test_a_mail_thrown_away_is_not_verified(ledger: SqlLedger) -> None:
    async def work() -> None:
        async with world(ledger) as here:
            here.target.faults.arm("not_stored", times=1, after=4)
            assert (await here.copy()).finished
            assert not await here.verified()

    asyncio.run(work())


def test_a_full_mailbox_stops_the_copy(ledger: SqlLedger) -> None:
    async def work() -> None:
        async with world(ledger) as here:
            here.target.quota_bytes = 6_000
            with pytest.raises(QuotaFull):
                await here.copy()
            here.target.quota_bytes = 10_000_000
            assert (await here.copy()).finished
            assert here.copied() == here.expected()

    asyncio.run(work())


def test_the_window_and_the_hidden_folders_are_noticed(ledger: SqlLedger) -> None:
    async def work() -> None:
        async with world(ledger) as here:
            here.source.window_days, here.source.show_custom = 30, False
            source, target = here.accounts
            plan = await make_plan(source, target, into=ROOT, filter=Filter(), now=NOW)
            assert {NoteKind.WINDOW, NoteKind.HIDDEN_FOLDERS} <= {note.kind for note in plan.notes}
            assert plan.messages == 1
            here.source.window_days = 0  # nothing came within the window: an empty mailbox is as suspicious
            plan = await make_plan(source, target, into=ROOT, filter=Filter(), now=NOW)
            assert (plan.messages, NoteKind.WINDOW in {note.kind for note in plan.notes}) == (0, True)
            here.source.window_days, here.source.show_custom = None, True
            plan = await make_plan(source, target, into=ROOT, filter=Filter(), now=NOW)
            assert not plan.notes
            assert plan.messages == MAILS

    asyncio.run(work())
