"""What once let a mail be lost or doubled and yet verified: a NO at the wrong moment, a folder restored, and kin."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from bot.mail import compare, prepare, session, survey
from bot.mail.copy import CopyOutcome, Limits, copy_and_verify, copy_mail
from bot.mail.notes import NoteKind
from bot.mail.plan import Filter, make_plan
from bot.mail.verify import verify_copy
from bot.sandbox.mail.boxes import Folder, Message
from storage.ledger import LeaseLost, SqlLedger
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


@pytest.mark.parametrize("page", [2, 5_000])
def test_a_target_renumbered_while_it_is_verified_is_not_verified(
    ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """It tells the old number when asked for all folders, and another when one is opened; the mails look the same."""
    monkeypatch.setattr(compare, "PAGE_UIDS", page)

    async def story(here: World) -> None:
        await here.copy()
        middle = Middle(here.server.port)
        middle.on_answer = lambda data: re.sub(rb"\[UIDVALIDITY \d+\]", b"[UIDVALIDITY 7]", data)
        source, target = here.accounts
        async with middle.running():
            check = await verify_copy(source, dataclasses.replace(target, port=middle.port), ledger=here.ledger)
        assert not check.ok
        assert {each.found for each in check.folders} == {0}
        assert sum("has renumbered the folder" in each for each in check.differences) == len(check.folders)
        assert await here.verified()

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


def planned_again(here: World, uid: int) -> None:
    """As a killed run leaves it: the mail is in the target, the ledger does not know."""
    folder = next(each for each in here.ledger.folders() if each.source == "INBOX")
    with here.ledger._database.begin() as statements:
        statements.run(
            "UPDATE copy_ledger SET state = 'planned', target_uid = NULL, sha256 = NULL"
            " WHERE folder_id = :folder AND uid = :uid",
            {"folder": folder.id, "uid": uid},
        )


def test_a_target_that_cuts_mails_is_not_verified(ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other bytes are forgiven only to a server that adds to a mail; without the source it is said."""

    async def story(here: World) -> None:
        add = Folder.add

        def cutting(folder: Folder, raw: bytes, *args: Any, **more: Any) -> Message:
            return add(folder, raw[:200] + b"\r\n" if more.get("appended") and len(raw) > 200 else raw, *args, **more)

        monkeypatch.setattr(Folder, "add", cutting)
        await here.copy()
        source, target = here.accounts
        check = await verify_copy(source, target, ledger=here.ledger)
        assert not check.ok
        assert any("other bytes" in each for each in check.differences)
        check = await verify_copy(None, target, ledger=here.ledger)
        assert check.hashed < MAILS
        assert NoteKind.NOT_COMPARED in {each.kind for each in check.notes}

    tried(ledger, story)


def test_a_likeness_of_somebody_elses_does_not_blind_the_verification(ledger: SqlLedger) -> None:
    """Beside mails that are kept byte for byte, one mail that only looks like ours is not ours."""

    async def story(here: World) -> None:
        await here.copy()
        folder = here.target.folders[ROOT + "/INBOX"]
        uid = max(folder.messages)
        mail = folder.messages[uid]
        folder.add(b"X-Seen: elsewhere\r\n" + mail.raw, mail.date, mail.flags)
        folder.expunge(uid)
        planned_again(here, max(here.source.folders["INBOX"].messages))
        outcome = await here.copy()
        assert (outcome.stored, outcome.adopted) == (1, 0)
        assert not here.ledger.altered
        assert await here.verified()

    tried(ledger, story)


@pytest.mark.parametrize("lasting", [False, True])
def test_a_mail_without_a_size_is_a_mail(ledger: SqlLedger, lasting: bool) -> None:
    """RFC822.SIZE lacks in one listing, or in all."""

    async def story(here: World) -> None:
        middle = Middle(here.server.port)
        left = [2]

        def on_answer(data: bytes) -> bytes:
            if not (lasting or left[0]):
                return data
            found, count = re.subn(rb"(\* 3 FETCH \([^\r]*?)RFC822\.SIZE \d+ ?", rb"\1", data)
            left[0] -= bool(count)
            return found

        middle.on_answer = on_answer
        outcome = await copied_through(here, middle, "source")
        assert outcome.stored == MAILS
        assert here.copied() == here.expected()
        assert await here.verified()

    tried(ledger, story)


def test_an_untrue_size_doubles_nothing(ledger: SqlLedger) -> None:
    """The source tells sizes too large by one; the line dies after appends; later the source is renumbered."""

    async def story(here: World) -> None:
        def on_answer(data: bytes) -> bytes:
            return re.sub(rb"RFC822\.SIZE (\d+)", lambda found: b"RFC822.SIZE %d" % (int(found[1]) + 1), data)

        middle = Middle(here.server.port)
        middle.on_answer = on_answer
        here.target.faults.arm("drop_after_append", times=2, after=3)
        outcome = await copied_through(here, middle, "source")
        assert outcome.finished
        assert here.copied() == here.expected()
        assert await here.verified()
        here.source.faults["uidvalidity_change"] = 1
        again = Middle(here.server.port)
        again.on_answer = on_answer
        assert (await copied_through(here, again, "source")).stored == 0
        assert here.copied() == here.expected()

    tried(ledger, story)


def second_copy(here: World) -> None:
    """Of the first mail of the inbox, equal in all."""
    mail = next(iter(here.target.folders[ROOT + "/INBOX"].messages.values()))
    here.target.put(ROOT + "/INBOX", mail.raw, mail.date, list(mail.flags))


def test_a_persons_own_copy_stays_when_no_run_was_killed(ledger: SqlLedger) -> None:
    async def story(here: World) -> None:
        await here.copy()
        second_copy(here)
        outcome = await here.copy()
        assert outcome.removed == 0
        assert NoteKind.DOUBLE_LISTED in {each.kind for each in outcome.notes}
        here.ledger.begin_run()  # and it was killed
        assert (await here.copy()).removed == 1
        assert here.copied() == here.expected()

    tried(ledger, story)


@pytest.mark.parametrize("refused", [b"UID STORE", b"UID EXPUNGE"])
def test_a_refused_removal_is_listed_and_ends_nothing(ledger: SqlLedger, refused: bytes) -> None:
    async def story(here: World) -> None:
        await here.copy()
        second_copy(here)
        here.ledger.begin_run()
        here.source.put("INBOX", message(62, random.Random(8)), NOW)
        outcome = await copied_through(here, refusing(here, 1, lambda line: line.startswith(refused)), "target")
        assert outcome.stored == 1
        assert outcome.removed == 0
        assert NoteKind.DOUBLE_LISTED in {each.kind for each in outcome.notes}
        folder = here.target.folders[ROOT + "/INBOX"]
        assert not any("\\Deleted" in mail.flags for mail in folder.messages.values())

    tried(ledger, story)


@pytest.mark.parametrize("side", ["source", "target"])
def test_an_attached_mail_is_found_again_after_a_renumbering(ledger: SqlLedger, side: str) -> None:
    async def story(here: World) -> None:
        here.target.faults["nul_refused"] = True
        here.source.put("INBOX", b"Subject: odd\r\n\r\na\0b\r\n", NOW)
        outcome = await copied_through(here, Middle(here.server.port), "source", wrap=True)
        assert (outcome.stored, len(outcome.wrapped)) == (MAILS + 1, 1)
        (here.source if side == "source" else here.target).faults["uidvalidity_change"] = 1
        assert (await copied_through(here, Middle(here.server.port), "source", wrap=True)).stored == 0
        assert await here.verified()

    tried(ledger, story)


def test_a_mail_whose_header_the_target_has_munged_is_not_sent_again(ledger: SqlLedger) -> None:
    """Cyrus writes X for 8-bit bytes of a header. The line is dead before the OK: the mail is found all the same."""

    async def story(here: World) -> None:
        raw = b"Message-ID: <munged@corp.test>\r\nSubject: \xbf\xcd\xbb\xa7\r\n\r\n\xbf\xcd\r\n"
        here.source.put("INBOX", raw, NOW - timedelta(hours=2), ["\\Seen"])
        await here.copy()
        stored = here.target.folders[ROOT + "/INBOX"].messages.values()
        mail = next(each for each in stored if each.raw == raw)
        mail.raw = raw.replace(b"\xbf\xcd\xbb\xa7", b"XXXX")
        record = next(each for each in ledger.folders() if each.source == "INBOX")
        line = next(each for each in ledger.lines(record.id) if each.size_bytes == len(raw))
        with ledger._begin() as statements:
            statements.run(
                "UPDATE copy_ledger SET state = 'planned', target_uid = NULL, sha256 = NULL"
                " WHERE folder_id = :folder AND uid = :uid",
                {"folder": line.folder_id, "uid": line.uid},
            )
        ledger.begin_run()  # and that run was killed
        outcome = await here.copy()
        assert (outcome.stored, outcome.adopted) == (0, 1)
        assert sum(b"munged@corp.test" in each.raw for each in stored) == 1
        assert not await here.verified(), "its bytes are not those of the source"

    tried(ledger, story)


def test_news_of_a_mail_that_was_told_of_is_no_other_mail(ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes while the next page is told, and would make up for the one that the folder does not show."""
    monkeypatch.setattr(survey, "PAGE_UIDS", 3)

    async def story(here: World) -> None:
        await here.copy()
        middle = Middle(here.server.port)
        middle.on_answer = lambda data: data.replace(b"* 4 FETCH", b"* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n* 4 FETCH")
        source, target = here.accounts
        here.source.faults["exists_larger"] = 1
        async with middle.running():
            source = dataclasses.replace(source, port=middle.port)
            plan = await make_plan(source, None, into=ROOT, filter=Filter(), now=NOW)
            check = await verify_copy(source, target, ledger=here.ledger)
        assert plan.messages == MAILS
        assert {(each.kind, each.detail) for each in check.notes} == {(NoteKind.FEWER_SHOWN, "1")}
        assert not check.ok

    tried(ledger, story)


@pytest.mark.parametrize("when", ["while the source is listed", "while mail is copied"])
def test_a_lost_lease_ends_as_what_it_is(ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Somebody else writes this ledger now: no other connection is opened, and nothing more is sent."""
    monkeypatch.setattr(prepare, "PLAN_LINES", 1)

    async def story(here: World) -> None:
        await here.copy()
        before = len(here.source.logins), len(here.target.logins)
        here.source.put("INBOX", message(80, random.Random(8)), NOW)
        usual = {name: getattr(SqlLedger, name) for name in ("plan", "stored")}
        name = "plan" if "listed" in when else "stored"

        def lost(self: SqlLedger, *args: Any, **more: Any) -> Any:
            self._fence = lambda: False
            return usual[name](self, *args, **more)

        monkeypatch.setattr(SqlLedger, name, lost)
        with pytest.raises(LeaseLost, match="somebody else"):
            await here.copy(silence=5)
        assert (len(here.source.logins), len(here.target.logins)) == (before[0] + 1, before[1] + 1)
        assert not here.pauses

    tried(ledger, story)


def test_what_goes_wrong_in_who_is_told_is_no_lost_connection(ledger: SqlLedger) -> None:
    """A mail is told in the event loop's callback: what that raises reaches who waits, as what it is."""

    async def story(here: World) -> None:
        def on_mail(*_: object) -> None:
            raise LeaseLost("somebody else")

        one = await session.open_session(here.accounts[0])
        with pytest.raises(LeaseLost):
            await survey.list_mails(one, await survey.statuses(one, await one.list_folders()), on_mail)
        with pytest.raises(LeaseLost):
            one.send(b"NOOP")

    tried(ledger, story)


def hasty(port: int) -> Middle:
    """Answers BAD to whatever reads a folder that is not open yet."""
    middle = Middle(port)
    opening = 0

    def on_command(line: bytes) -> bytes | None:
        nonlocal opening
        opening += line.startswith((b"EXAMINE", b"SELECT"))
        return b"tag BAD No mailbox is selected" if opening and line.startswith(b"UID FETCH") else None

    def on_answer(data: bytes) -> bytes:
        nonlocal opening
        opening = max(0, opening - len(re.findall(rb"(?m)^A\d+ [^\r]*\[READ-(?:ONLY|WRITE)\]", data)))
        return data

    middle.on_command, middle.on_answer = on_command, on_answer
    return middle


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_server_that_refuses_what_is_sent_ahead_is_asked_in_turn(
    ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    """A FETCH behind an EXAMINE is BAD: asked once more, and never ahead again, also on other connections to it."""
    monkeypatch.setattr(session, "IN_TURN", set())

    async def story(here: World) -> None:
        middle = hasty(here.server.port)
        source, target = here.accounts
        async with middle.running():
            if side == "source":
                source = dataclasses.replace(source, port=middle.port)
            else:
                target = dataclasses.replace(target, port=middle.port)
            outcome, check = await copy_and_verify(source, target, into=ROOT, filter=Filter(), ledger=here.ledger)
            assert outcome.finished
            assert not outcome.refused
            assert not outcome.notes
            assert check.ok, check.differences
            assert here.copied() == here.expected()
            assert {("127.0.0.1", middle.port)} == session.IN_TURN
            plan = await make_plan(source, target, into=ROOT, filter=Filter(), now=NOW)
            assert plan.messages == MAILS
            assert (await verify_copy(source, target, ledger=here.ledger)).ok

    tried(ledger, story)
