"""Which mail a copy is, when bytes, places or numbers do not tell: nothing twice, nothing lost, and no work squared."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from bot import words
from bot.mail import likeness, pump, settling
from bot.mail.notes import NoteKind
from bot.mail.wrap import Way, Wrapped, Wrapping
from bot.sandbox.mail.boxes import Folder, Message
from storage.ledger import SqlLedger
from storage.ledger_file import LedgerFile
from tests.mail.mailboxes import message
from tests.mail.middle import Middle
from tests.mail.test_exmail import MAILS, NOW, ROOT, World
from tests.mail.test_mended import copied_through, tried

ODD = b"Subject: odd\r\n\r\na\0b\r\n"
MUNGED = b"Message-ID: <munged@corp.test>\r\nSubject: \xbf\xcd\xbb\xa7\r\n\r\n\xbf\xcd\r\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is this process: what a dead session left is stored at once."""
    monkeypatch.setattr(settling, "LAST_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(settling, "SETTLED_SECONDS", 0.1)


def forgotten(here: World, uid: int) -> None:
    """As a killed run leaves it: the mail is in the target's inbox, the ledger does not know."""
    folder = next(each for each in here.ledger.folders() if each.source == "INBOX" and each.current)
    with here.ledger._database.begin() as statements:
        statements.run(
            "UPDATE copy_ledger SET state = 'planned', target_uid = NULL, sha256 = NULL, identity = NULL"
            " WHERE folder_id = :folder AND uid = :uid",
            {"folder": folder.id, "uid": uid},
        )
    here.ledger.begin_run()


async def wrapped_copy(here: World) -> int:
    """A copy that may wrap; how many it has stored."""
    outcome = await copied_through(here, Middle(here.server.port), "source", wrap=True, silence=5)
    assert outcome.finished
    return outcome.stored


def inbox(here: World) -> Folder:
    return here.target.folders[f"{ROOT}/INBOX"]


def attachments(here: World) -> int:
    return sum(b"original.eml" in mail.raw for mail in inbox(here).messages.values())


def new_numbers(here: World, side: str) -> None:
    for box, name in ((here.source, "source"), (here.target, "target")):
        if side in (name, "both"):
            box.faults["uidvalidity_change"] = 1


@pytest.mark.parametrize("dates", ["different", "equal"])
@pytest.mark.parametrize("added", [False, True])
def test_matching_takes_no_work_squared(
    ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch, dates: str, added: bool
) -> None:
    """A target that tells no UIDs, and one that also changes what it is given: all of it is matched afterwards."""
    mails, given, read = 250, 0, 0
    rows = LedgerFile.rows
    usual = likeness.digest_mails

    def counted(self: LedgerFile, sql: str, values: Mapping[str, Any]) -> Sequence[Any]:
        nonlocal given
        found = rows(self, sql, values)
        given += len(found)
        return found

    async def reading(session: Any, uids: list[int], **more: Any) -> Any:
        nonlocal read
        read += len(uids)
        return await usual(session, uids, **more)

    async def story(here: World) -> None:
        for number in range(mails):
            date = NOW - timedelta(hours=number + 2 if dates == "different" else 2)
            here.source.put("INBOX", b"Subject: %06d\r\n\r\nof one size\r\n" % number, date)
        here.target.faults["no_appenduid"] = True
        here.target.faults["headers_added"] = added
        monkeypatch.setattr(LedgerFile, "rows", counted)
        monkeypatch.setattr(likeness, "digest_mails", reading)
        assert (await here.copy(silence=10)).stored == MAILS + mails
        assert given < 40 * mails, "rows read of the ledger"
        assert read <= 2 * mails, "mails read once more"
        assert await here.verified()
        assert (await here.copy(silence=10)).stored == 0

    tried(ledger, story)


@pytest.mark.parametrize("sides", [["source", "source"], ["target", "target"], ["both"], ["source", "both", "target"]])
def test_an_attached_mail_is_known_however_often_its_folder_is_renumbered(ledger: SqlLedger, sides: list[str]) -> None:
    async def story(here: World) -> None:
        here.target.faults["nul_refused"] = True
        here.source.put("INBOX", ODD, NOW)
        here.source.put("INBOX", ODD, NOW)  # its twin
        assert await wrapped_copy(here) == MAILS + 2
        for side in sides:
            new_numbers(here, side)
            assert await wrapped_copy(here) == 0
            assert attachments(here) == 2
            assert await here.verified()

    tried(ledger, story)


@pytest.mark.parametrize("renumbered", ["neither", "source", "target", "both"])
@pytest.mark.parametrize("untrue", [False, True])
def test_an_attached_mail_that_a_killed_run_stored_is_not_sent_again(
    ledger: SqlLedger, renumbered: str, untrue: bool
) -> None:
    """Its line was not written down, and then the folder got other numbers; or the source tells an untrue size."""

    async def story(here: World) -> None:
        here.target.faults["nul_refused"] = True
        uid = here.source.put("INBOX", ODD, NOW)
        if untrue:
            here.source.message("INBOX", uid).trouble = "size"
        assert await wrapped_copy(here) == MAILS + 1
        forgotten(here, uid)
        new_numbers(here, renumbered)
        assert await wrapped_copy(here) == 0
        assert attachments(here) == 1
        assert await here.verified()

    tried(ledger, story)


@pytest.mark.parametrize("killed", [True, False])
@pytest.mark.parametrize("renumbered", ["neither", "source", "target", "both"])
@pytest.mark.parametrize("way", [Way.NOW, Way.UNTOLD])
def test_an_attached_mail_is_known_whatever_is_said_around_it(
    ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch, killed: bool, renumbered: str, way: Way
) -> None:
    """The sentence has been edited since; also of mails that were wrapped before a header told which bytes it is."""

    async def story(here: World) -> None:
        here.target.faults["nul_refused"] = True
        uid = here.source.put("INBOX", ODD, NOW)
        with monkeypatch.context() as patch:
            patch.setattr(pump, "Wrapping", functools.partial(Wrapping, way=way))
            assert await wrapped_copy(here) == MAILS + 1
        if killed:
            forgotten(here, uid)
        edited = {"en": "It lies in the file: {detail}.", "zh": "原邮件在附件中：{detail}。"}
        monkeypatch.setitem(words.of_feature("mail"), "mail.wrapped", edited)
        new_numbers(here, renumbered)
        assert await wrapped_copy(here) == 0
        assert attachments(here) == 1
        assert await here.verified()

    tried(ledger, story)


def test_the_ways_of_before_are_known_letter_for_letter() -> None:
    """What lies in mailboxes: byte for byte as the code of then has made it."""
    line: Any = type("Line", (), {"folder_id": 1, "uid": 2, "detail": "NUL", "subject": "发票", "internal_date": ""})
    made = {}
    for way in Way:
        wrapped = Wrapped(line, len(ODD), way)
        wrapped.update(ODD)
        made[way] = wrapped.finish().sha256.hex()[:16]
    assert (made[Way.UNTOLD], made[Way.NUMBERED]) == ("49ae1bb58ae17a69", "1ec3965993d9c2f6")


@pytest.mark.parametrize("then", ["source", "target", "both"])
@pytest.mark.parametrize("first", ["target", "both"])
def test_a_mail_found_again_by_its_bytes_is_known_by_them_later(ledger: SqlLedger, first: str, then: str) -> None:
    """A killed run has stored it; both sides may have been restored since, and again."""

    async def story(here: World) -> None:
        await here.copy(silence=5)
        for uid in (2, 5):
            forgotten(here, uid)
        for side in (first, then):
            new_numbers(here, side)
            assert (await here.copy(silence=5)).stored == 0
            assert here.copied() == here.expected()
            assert await here.verified()

    tried(ledger, story)


def second(here: World, raw: bytes) -> None:
    """Another copy of this mail in the target, equal in all, as a dead session leaves it."""
    mail = next(each for each in inbox(here).messages.values() if each.raw == raw)
    here.target.put(f"{ROOT}/INBOX", mail.raw, mail.date, list(mail.flags))


@pytest.mark.parametrize("killed", [True, False])
def test_a_second_munged_copy_is_removed_or_listed(ledger: SqlLedger, killed: bool) -> None:
    """Its bytes are none that were ever sent, but those of the first copy; twins keep theirs."""

    async def story(here: World) -> None:
        here.target.faults["header_munged"] = True
        for _ in range(2):
            here.source.put("INBOX", MUNGED, NOW - timedelta(hours=2))
        await here.copy(silence=5)
        raw = next(mail.raw for mail in inbox(here).messages.values() if b"munged@" in mail.raw)
        assert raw != MUNGED
        second(here, raw)
        if killed:
            here.ledger.begin_run()
        outcome = await here.copy(silence=5)
        assert (outcome.stored, outcome.removed) == (0, int(killed))
        assert sum(mail.raw == raw for mail in inbox(here).messages.values()) == 3 - killed
        assert (NoteKind.DOUBLE_LISTED in {each.kind for each in outcome.notes}) != killed

    tried(ledger, story)


@pytest.mark.parametrize("side", ["source", "target", "both"])
@pytest.mark.parametrize("told", [True, False])
def test_munged_mails_are_known_after_a_renumbering(ledger: SqlLedger, side: str, told: bool) -> None:
    """Also where the target does not tell their places."""

    async def story(here: World) -> None:
        here.target.faults["header_munged"] = True
        if not told:
            here.target.faults["no_appenduid"] = True
        for _ in range(2):
            here.source.put("INBOX", MUNGED, NOW - timedelta(hours=2))
        await here.copy(silence=5)
        assert not here.ledger.has_unplaced(f"{here.ledger.folders()[0].target}")
        new_numbers(here, side)
        assert (await here.copy(silence=5)).stored == 0
        assert sum(b"munged@" in mail.raw for mail in inbox(here).messages.values()) == 2

    tried(ledger, story)


def test_twins_are_counted_where_nothing_can_be_removed(ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """No UIDPLUS at all: two of three equal mails are the source's, the third is listed, and nothing is sent again."""

    async def story(here: World) -> None:
        here.target.faults["no_appenduid"] = True
        middle = Middle(here.server.port)
        middle.on_answer = lambda data: data.replace(b" UIDPLUS", b"")
        twin = message(70, random.Random(7))
        for _ in range(2):
            here.source.put("INBOX", twin, NOW - timedelta(hours=2))
        assert (await copied_through(here, middle, "target", silence=5)).stored == MAILS + 2
        assert here.copied() == here.expected()
        second(here, twin)
        here.ledger.begin_run()  # and it was killed
        outcome = await copied_through(here, middle, "target", silence=5)
        assert (outcome.stored, outcome.adopted, outcome.removed) == (0, 0, 0)
        assert [each.kind for each in outcome.notes] == [NoteKind.DOUBLE_LISTED]
        assert sum(mail.raw == twin for mail in inbox(here).messages.values()) == 3
        assert await here.verified()

    tried(ledger, story)


def test_a_second_copy_that_the_target_has_added_to_is_listed(
    ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each gets a header of its own, so no two are equal in every byte: never removed, but said."""
    add = Folder.add
    number = 0

    def adding(folder: Folder, raw: bytes, *args: Any, **more: Any) -> Message:
        nonlocal number
        number += 1
        return add(folder, b"X-Trace: %d\r\n%s" % (number, raw) if more.get("appended") else raw, *args, **more)

    monkeypatch.setattr(Folder, "add", adding)

    async def story(here: World) -> None:
        await here.copy(silence=5)
        mail = next(iter(inbox(here).messages.values()))
        raw = mail.raw.replace(b"X-Trace: ", b"X-Trace: 9")
        here.target.put(f"{ROOT}/INBOX", raw, mail.date, list(mail.flags))
        here.ledger.begin_run()
        outcome = await here.copy(silence=5)
        assert (outcome.stored, outcome.removed) == (0, 0)
        assert NoteKind.DOUBLE_LISTED in {each.kind for each in outcome.notes}

    tried(ledger, story)


@pytest.mark.parametrize("why", ["no UIDPLUS", "headers added"])
def test_where_nothing_can_be_taken_away_the_wait_comes_first(
    ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """What a dead session stores late is not sent again, when the second copy would stay for good."""
    monkeypatch.setattr(settling, "LAST_LOOK_SECONDS", 2.0)

    async def story(here: World) -> None:
        here.target.faults["headers_added"] = why == "headers added"
        middle = Middle(here.server.port)
        if why == "no UIDPLUS":
            middle.on_answer = lambda data: data.replace(b" UIDPLUS", b"")
        await copied_through(here, middle, "target", silence=10)
        forgotten(here, 3)
        mails = inbox(here)
        mail = mails.messages[3]
        mails.expunge(3)

        async def lands() -> None:
            await asyncio.sleep(1.0)
            mails.add(mail.raw, mail.date, mail.flags)

        outcome, _ = await asyncio.gather(copied_through(here, middle, "target", silence=10), lands())
        assert (outcome.stored, outcome.adopted) == (0, 1)
        assert len(mails.messages) == MAILS // 2

    tried(ledger, story)
