"""
A copy to and from servers with the habits of imap-quirks, one at a time, beyond those of test_exmail.

The table that says which test belongs to which quirk is quirks.toml; test_quirks.py keeps it true.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from bot.mail import settling
from bot.mail.copy import RefusalReason
from bot.mail.crew import Side, with_patience
from bot.mail.errors import ConnectionLost, LoginRefused, MailError
from bot.mail.notes import NoteKind
from bot.mail.pace import Governor
from bot.mail.session import Session
from bot.mail.verify import verify_copy
from bot.sandbox.mailserver import TROUBLES
from storage.ledger import SqlLedger
from tests.mail.mailboxes import message
from tests.mail.test_exmail import MAILS, NOW, ROOT, World, world


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is this process: what a dead session left is stored at once."""
    monkeypatch.setattr(settling, "LAST_LOOK_SECONDS", 0.2)


# Habits that last and do no harm, at the side where a server can have them.
HARMLESS = (
    "id_required",
    "no_namespace",
    "utf8_closes",
    "literals_everywhere",
    "fetch_split",
    "unsolicited_fetch",
    "literal8",
    "subscribe_needed",
)


def tried(ledger: SqlLedger, story: Callable[[World], Awaitable[None]]) -> None:
    """Run a story in a world of its own."""

    async def work() -> None:
        async with world(ledger) as here:
            await story(here)

    asyncio.run(work())


async def all_there(here: World) -> None:
    """Everything once, verified, and a second run finds nothing to do."""
    assert here.copied() == here.expected()
    assert await here.verified()
    assert (await here.copy()).stored == 0
    assert here.copied() == here.expected()


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("fault", HARMLESS)
def test_a_habit_does_no_harm(ledger: SqlLedger, side: str, fault: str) -> None:
    async def story(here: World) -> None:
        (here.source if side == "source" else here.target).faults[fault] = True
        outcome = await here.copy(connections=2)
        assert outcome.finished
        assert not outcome.refused
        assert all(folder.subscribed for folder in here.target.folders.values()), "a folder nobody would see"
        await all_there(here)

    tried(ledger, story)


def test_an_idle_session_may_end(ledger: SqlLedger) -> None:
    """The source ends sessions that wait while the target is slow; the copy gets on (104)."""

    async def story(here: World) -> None:
        for number in range(30):
            here.source.put("INBOX", message(100 + number, random.Random(number)), NOW - timedelta(days=number))
        here.source.faults["idle_ms"] = 2_000
        here.target.faults["latency_ms"] = 100
        outcome = await here.copy(silence=5)
        assert outcome.finished
        assert not outcome.refused
        here.source.faults.clear()
        here.target.faults.clear()
        await all_there(here)

    tried(ledger, story)


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("after", [0, 5, 9])
def test_throttling_is_waited_for(ledger: SqlLedger, side: str, after: int) -> None:
    """BAD Request is throttled: later, not never (103)."""

    async def story(here: World) -> None:
        (here.source if side == "source" else here.target).faults.arm("throttled", times=2, after=after)
        for _ in range(3):
            try:
                outcome = await here.copy()
                break
            except MailError:  # at the login it is told
                continue
        assert outcome.finished
        assert not outcome.refused
        await all_there(here)

    tried(ledger, story)


def test_a_rate_limit_is_waited_for(ledger: SqlLedger) -> None:
    async def story(here: World) -> None:
        here.target.faults.arm("rate_limited", times=2, after=3)
        outcome = await here.copy()
        assert outcome.finished
        assert not outcome.refused, [each.detail for each in outcome.refused]
        assert here.pauses
        await all_there(here)

    tried(ledger, story)


def test_a_wanted_code_is_a_refused_login(ledger: SqlLedger) -> None:
    async def story(here: World) -> None:
        here.source.faults["login_wants_code"] = True
        with pytest.raises(LoginRefused, match="authorized code"):
            await here.copy()
        assert len(here.source.logins) <= 1, "a refused login is not tried again"

    tried(ledger, story)


@pytest.mark.parametrize("lie", [False, True])
def test_a_lie_about_literals_is_found_out_before_any_mail(ledger: SqlLedger, lie: bool) -> None:
    """LITERAL+ announced and refused (11): the bytes of no mail are run as commands, and all of it arrives."""

    async def story(here: World) -> None:
        heard: list[str] = []
        here.server.on_line = lambda user, direction, line: heard.append(line if direction == "client" else "")
        here.target.faults["literal_plus_lie" if lie else "literal_plus"] = True
        outcome = await here.copy(connections=2)
        assert outcome.finished
        assert not outcome.refused, [each.detail for each in outcome.refused]
        appends = [line for line in heard if " APPEND " in line]
        assert appends
        assert all(("+}" in line) != lie for line in appends)
        await all_there(here)

    tried(ledger, story)


def test_half_an_answer_is_not_a_whole_one(ledger: SqlLedger) -> None:
    """A FETCH that gives half of what was asked and says OK: the rest is asked for again (48, 117)."""

    async def story(here: World) -> None:
        here.source.faults.arm("fetch_truncated", times=3)
        outcome = await here.copy()
        assert outcome.finished
        assert not outcome.refused
        await all_there(here)

    tried(ledger, story)


@pytest.mark.parametrize(
    "fault",
    [
        "names_strict",
        "names_fold_case",
        "name_bytes_max",
        "depth_max",
    ],
)
def test_names_a_target_does_not_take(ledger: SqlLedger, fault: str) -> None:
    """Every folder arrives under a name of its own, and a changed one is said (31 to 35)."""

    async def story(here: World) -> None:
        names = ["a.b 100% *", 'say "x" #1', "Case", "case", "长" * 30, "1/2/3/4/5"]
        for number, name in enumerate(names):
            raw = message(100 + number, random.Random(number))
            here.source.put(f"其他文件夹/{name}", raw, NOW - timedelta(days=number))
        here.target.faults[fault] = True
        outcome = await here.copy()
        assert outcome.finished
        assert {each.kind for each in outcome.notes} <= {NoteKind.NAME_CHANGED}
        assert len({each.target for each in outcome.folders}) == len(outcome.folders)
        told = {each.target for each in outcome.folders}
        copied = sum(len(folder.messages) for name, folder in here.target.folders.items() if name in told)
        assert copied == MAILS + len(names), "where the outcome says"
        assert await here.verified()
        again = await here.copy()
        assert (again.stored, {each.target for each in again.folders}) == (0, told), "and there the next run finds it"

    tried(ledger, story)


def test_malformed_names_are_copied(ledger: SqlLedger) -> None:
    """A wire name that is no modified UTF-7 is shown as it is (24); UIDs have gaps (42)."""

    async def story(here: World) -> None:
        folder = here.source.add_folder("其他文件夹/broken", wire="&UXZO1mWHTvZZOQ-/&broken")
        for number in range(6):
            folder.add(message(number, random.Random(number)), NOW - timedelta(days=number))
        for uid in (1, 3, 4):
            folder.expunge(uid)
        outcome = await here.copy()
        assert outcome.finished
        assert not outcome.refused
        assert sum(mails.total() for mails in here.copied().values()) == MAILS + 3
        assert await here.verified()

    tried(ledger, story)


@pytest.mark.parametrize("fault", ["twins_thrown_away", "header_munged"])
def test_what_a_target_makes_of_a_mail_is_noticed(ledger: SqlLedger, fault: str) -> None:
    """Twins thrown away, header bytes replaced: never called verified as if nothing had happened (83, 96)."""

    async def story(here: World) -> None:
        here.source.put("INBOX", message(60, random.Random(6), kind="eight_bit"), NOW)
        here.target.faults[fault] = True
        outcome = await here.copy()
        assert outcome.finished
        told = {each.kind for each in outcome.notes} & {NoteKind.BYTES_CHANGED}
        assert told or not await here.verified()

    tried(ledger, story)


def test_a_mail_that_breaks_the_line_is_given_up(ledger: SqlLedger) -> None:
    """The line closes in its middle each time: listed, and the others arrive (70)."""

    async def story(here: World) -> None:
        here.source.put("INBOX", message(50, random.Random(5), size=60_000), NOW)
        here.target.faults["size_closes"] = True
        outcome = await here.copy()
        assert [(each.reason, each.subject) for each in outcome.refused] == [(RefusalReason.LOST, "mail 50")]
        assert outcome.stored == MAILS

    tried(ledger, story)


def test_a_folder_that_ends_the_session_does_not_end_the_copy(ledger: SqlLedger) -> None:
    """A locked folder answers BYE (39): tried twice, it is named and let alone; the others are copied, not verified."""

    async def story(here: World) -> None:
        locked = "其他文件夹/locked"
        here.source.add_folder(locked).locked = True
        here.source.put(locked, message(1, random.Random(1)), NOW)
        opened: list[str] = []

        def on_line(user: str, direction: str, line: str) -> None:
            if direction == "client" and "EXAMINE" in line and "/locked" in line:
                opened.append(line)

        here.server.on_line = on_line
        outcome = await here.copy()
        assert outcome.finished
        assert (outcome.stored, len(opened)) == (MAILS, 2)
        assert [each.folder for each in outcome.notes if each.kind is NoteKind.FOLDER_UNREADABLE] == [locked]
        check = await verify_copy(*here.accounts, ledger=here.ledger, pause=here.pause)
        assert not check.ok
        assert [each.partition(":")[0] for each in check.differences] == [locked]
        here.source.folders[locked].locked = False
        assert (await here.copy()).stored == 1
        await all_there(here)

    tried(ledger, story)


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_comparison_outlives_its_connections(ledger: SqlLedger, side: str) -> None:
    """Closed in the middle, again and again, as long as it gets on; for ever is too long."""

    async def story(here: World) -> None:
        await here.copy()
        box = here.source if side == "source" else here.target
        box.faults.arm("drop_on_command", times=2, after=6)
        assert (await verify_copy(*here.accounts, ledger=here.ledger, pause=here.pause)).ok
        assert here.pauses
        box.faults.arm("drop_on_command", times=None, after=6)
        with pytest.raises(ConnectionLost):
            await verify_copy(*here.accounts, ledger=here.ledger, pause=here.pause)

    tried(ledger, story)


def test_a_comparison_outlives_a_restart(ledger: SqlLedger) -> None:
    """All connections end, but not in the same moment: one that still looks alive is no reason to give up."""

    async def story(here: World) -> None:
        target = Side(here.accounts[1], Governor(start=2, most=2, adaptive=False))
        one = await target.first()
        await target.fill()
        calls = 0

        async def work(session: Session) -> int:
            nonlocal calls
            calls += 1
            if calls == 1:
                assert session is one
                one.fail(ConnectionLost("restarted"))
                raise ConnectionLost("restarted")
            return calls

        assert await with_patience(target, work, pause=here.pause) == 2
        with pytest.raises(ConnectionLost):
            await with_patience(target, lambda _: another_side(), pause=here.pause)
        await target.close()

    async def another_side() -> None:
        raise ConnectionLost("of the other side: whoever holds that one has to try again")

    tried(ledger, story)


def test_what_a_source_counts_and_does_not_show_is_said(ledger: SqlLedger) -> None:
    """EXISTS says more than is listed (48): asked for once more, then noted, and not verified."""

    async def story(here: World) -> None:
        here.source.faults["exists_larger"] = 2
        assert (await here.copy()).finished
        assert here.copied() == here.expected()
        check = await verify_copy(*here.accounts, ledger=here.ledger)
        assert not check.ok
        told = {(each.kind, each.detail) for each in check.notes}
        assert told == {(NoteKind.FEWER_SHOWN, "2")}

        def on_line(user: str, direction: str, line: str) -> None:
            if direction == "client" and "FETCH" in line and user == here.source.address:
                here.source.faults.clear()

        here.server.on_line = on_line
        assert (await verify_copy(*here.accounts, ledger=here.ledger)).ok, "it was right when it was asked again"

    tried(ledger, story)


def test_no_date_is_no_reason_to_lose_a_mail(ledger: SqlLedger) -> None:
    async def story(here: World) -> None:
        here.source.faults["date_nonsense"] = True
        outcome = await here.copy()
        assert outcome.finished
        assert not outcome.refused
        assert here.copied(body_only=True) == here.expected(body_only=True)
        assert (await here.copy()).stored == 0

    tried(ledger, story)


def test_the_source_goes_on_living(ledger: SqlLedger) -> None:
    """Mail that comes and mail that goes while the copy runs: what came is told, what went is no error (46, 47)."""

    async def story(here: World) -> None:
        inbox = here.source.folders["INBOX"]

        def on_line(user: str, direction: str, line: str) -> None:
            if user == here.source.address and direction == "client" and "BODY.PEEK[]" in line and 6 in inbox.messages:
                inbox.expunge(6)
                inbox.add(message(70, random.Random(7)), NOW)

        here.server.on_line = on_line
        outcome = await here.copy()
        assert outcome.finished
        assert not outcome.refused
        source, target = here.accounts
        check = await verify_copy(source, target, ledger=here.ledger)
        assert sum(each.newer for each in check.folders) == 1
        assert (await here.copy()).stored == 1
        kept = sum(mails.total() for mails in here.copied().values())
        assert kept in (MAILS, MAILS + 1), "the one that went may have been read before"

    tried(ledger, story)


def test_the_whole_mailbox_again_copies_nothing(ledger: SqlLedger) -> None:
    """Also into a target that has mail of its own, which is left alone (100)."""

    async def story(here: World) -> None:
        here.target.put(f"{ROOT}/INBOX", b"Subject: not ours\r\n\r\nstays\r\n", NOW)
        assert (await here.copy()).stored == MAILS
        assert (await here.copy()).stored == 0
        assert here.copied()["INBOX"].total() == here.expected()["INBOX"].total() + 1

    tried(ledger, story)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_one_mail_in_trouble_costs_nothing_else(ledger: SqlLedger, trouble: str) -> None:
    """Counted and not given, refused, empty, of another size, hanging, breaking the line: listed or copied whole."""

    async def story(here: World) -> None:
        sick = here.source.put("INBOX", message(50, random.Random(5), size=3_000), NOW)
        here.source.message("INBOX", sick).trouble = trouble
        outcome = await here.copy()
        assert outcome.finished
        if trouble == "size":
            assert not outcome.refused
            await all_there(here)
            return
        assert outcome.stored == MAILS
        assert sum(mails.total() for mails in here.copied().values()) == MAILS
        listed = {(each.uid, each.reason) for each in outcome.refused}
        assert listed <= {(sick, RefusalReason.UNREADABLE), (sick, RefusalReason.LOST)}
        assert listed or trouble == "ghost", "what was never told of is not missed"
        here.source.message("INBOX", sick).trouble = ""
        here.ledger.retry_refused()
        assert (await here.copy()).stored == 1
        await all_there(here)

    tried(ledger, story)


def test_a_slow_drip_is_no_silence(ledger: SqlLedger) -> None:
    """Bytes that come slowly renew the deadline: the copy takes several of them (2, 108)."""

    async def story(here: World) -> None:
        here.source.put("INBOX", message(51, random.Random(5), size=9_000), NOW)
        here.source.faults["slow"] = 12_000
        outcome = await here.copy(silence=0.5)
        assert outcome.seconds > 1.0
        assert outcome.finished
        assert outcome.reconnects == 0
        here.source.faults.clear()
        await all_there(here)

    tried(ledger, story)
