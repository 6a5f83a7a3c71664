"""What is said before anything is copied."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from bot.mail.account import MailAccount
from bot.mail.copy import copy_mail
from bot.mail.errors import FolderRefused, SameMailbox
from bot.mail.names import Folder, WireName
from bot.mail.notes import Note, NoteKind
from bot.mail.plan import Filter, Plan, make_plan
from bot.mail.tree import Ground, lay_out
from bot.mail.verify import verify_copy
from storage.ledger import SqlLedger
from tests.mail.mailboxes import bag, count, fill, message, opened
from tests.mail.middle import Middle
from tests.servers.dovecot import Dovecot

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ROOT = "其他文件夹/ahing@corp.test"


def plan(source: MailAccount, target: MailAccount | None, *, into: str = ROOT, **more: Any) -> Plan:
    filter = more.pop("filter", Filter())
    return asyncio.run(make_plan(source, target, into=into, filter=filter, now=NOW, **more))


def kinds(found: Plan) -> set[NoteKind]:
    return {note.kind for note in found.notes}


def put(account: MailAccount, folder: str, *moments: datetime) -> None:
    with opened(account) as client:
        if folder != "INBOX" and not client.folder_exists(folder):
            client.create_folder(folder)
        for number, moment in enumerate(moments):
            client.append(folder, message(number, random.Random(number)), [], moment)


def test_the_plan_is_what_the_copy_does(dovecot: Dovecot, ledger: SqlLedger) -> None:
    source, target = dovecot.account(profile="exmail"), dovecot.account(profile="exmail")
    fill(source, seed=5, per_folder=8)
    put(target, "INBOX", NOW)
    found = plan(source, target)

    with opened(source) as client:
        sizes = 0
        for _, _, name in client.list_folders():
            if name == "其他文件夹" or name == "其他文件夹/2019年":
                continue
            client.select_folder(name, readonly=True)
            sizes += sum(data[b"RFC822.SIZE"] for data in client.fetch(client.search("ALL"), ["RFC822.SIZE"]).values())
    assert found.messages == count(bag(source))
    assert found.size_bytes == sizes
    assert found.target_size_bytes
    assert found.oldest
    assert found.oldest.year < 2026
    assert {each.target for each in found.folders} == {f"{ROOT}/{each.name}" for each in found.folders}
    assert NoteKind.WINDOW not in kinds(found)
    assert count(bag(target)) == 1, "a plan changes nothing"

    outcome = asyncio.run(copy_mail(source, target, into=ROOT, filter=Filter(), ledger=ledger))
    assert outcome.stored == found.messages
    assert outcome.size_bytes == found.size_bytes
    assert {each.target for each in outcome.folders} == {each.target for each in found.folders}


def test_a_window_of_thirty_days_is_noticed(dovecot: Dovecot) -> None:
    source = dovecot.account()
    put(source, "INBOX", NOW - timedelta(days=29), NOW)
    assert NoteKind.WINDOW in kinds(plan(source, None))
    put(source, "Sent", NOW - timedelta(days=60))
    assert NoteKind.WINDOW not in kinds(plan(source, None))


def test_hidden_folders_are_noticed_where_the_server_has_such_a_switch(dovecot: Dovecot) -> None:
    source = dovecot.account(profile="exmail")
    put(source, "INBOX", NOW)
    put(source, "Sent Messages", NOW)
    side = Middle(source.port)
    side.on_answer = lambda data: data.replace(b"Dovecot", b"QQMail IMAP4Server")

    async def look() -> Plan:
        async with side.running():
            through = dataclasses.replace(source, port=side.port)
            return await make_plan(through, None, into=ROOT, filter=Filter(), now=NOW)

    assert NoteKind.HIDDEN_FOLDERS in kinds(asyncio.run(look()))
    assert NoteKind.HIDDEN_FOLDERS not in kinds(plan(source, None)), "this server hides nothing"
    put(source, "其他文件夹/x", NOW)
    assert NoteKind.HIDDEN_FOLDERS not in kinds(asyncio.run(look()))


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (Filter(), {"INBOX": 2, "Sent Messages": 1, "Junk": 1, "Projects": 1, "Projects/2019": 1}),
        (Filter(folders=("Inbox", "Sent")), {"INBOX": 2, "Sent Messages": 1}),
        (Filter(folders=("projects",)), {"Projects": 1, "Projects/2019": 1}),
        (Filter(folders=("2019",)), {"Projects/2019": 1}),
        (Filter(without_junk=True), {"INBOX": 2, "Sent Messages": 1, "Projects": 1, "Projects/2019": 1}),
        (Filter(since=date(2026, 1, 1), folders=("INBOX",)), {"INBOX": 1}),
    ],
)
def test_a_filter_is_understood(dovecot: Dovecot, ledger: SqlLedger, filter: Filter, expected: dict[str, int]) -> None:
    source, target = dovecot.account(profile="exmail"), dovecot.account(profile="exmail")
    put(source, "INBOX", datetime(2025, 12, 31, 12, tzinfo=UTC), datetime(2026, 1, 1, 12, tzinfo=UTC))
    for name in ("Sent Messages", "Junk", "Projects", "Projects/2019"):
        put(source, name, NOW)
    found = plan(source, target, filter=filter)
    assert {each.name: each.messages for each in found.folders} == expected
    outcome = asyncio.run(copy_mail(source, target, into=ROOT, filter=filter, ledger=ledger))
    assert {each.name: each.stored for each in outcome.folders} == expected
    assert asyncio.run(verify_copy(source, target, ledger=ledger, filter=filter)).ok
    if filter != Filter():
        assert not asyncio.run(verify_copy(source, target, ledger=ledger)).ok, "less than everything"


def test_a_narrower_filter_copies_less_than_was_planned_before(dovecot: Dovecot, ledger: SqlLedger) -> None:
    source, target = dovecot.account(profile="exmail"), dovecot.account(profile="exmail")
    put(source, "INBOX", NOW - timedelta(days=700), NOW)
    put(source, "Sent", NOW)
    assert not asyncio.run(
        copy_mail(source, target, into=ROOT, filter=Filter(), ledger=ledger, should_stop=lambda: True)
    ).finished
    narrow = Filter(since=date(2026, 1, 1), folders=("INBOX",))
    outcome = asyncio.run(copy_mail(source, target, into=ROOT, filter=narrow, ledger=ledger))
    assert (outcome.finished, outcome.stored) == (True, 1)
    assert asyncio.run(verify_copy(source, target, ledger=ledger, filter=narrow)).ok
    assert not asyncio.run(verify_copy(source, target, ledger=ledger)).ok
    assert asyncio.run(copy_mail(source, target, into=ROOT, filter=Filter(), ledger=ledger)).stored == 2


def test_a_folder_nobody_has_is_named(dovecot: Dovecot) -> None:
    found = plan(dovecot.account(), None, filter=Filter(folders=("INBOX", "Nowhere")))
    assert Note(NoteKind.FOLDER_UNKNOWN, "Nowhere") in found.notes


def test_own_backups_are_left_out(dovecot: Dovecot, ledger: SqlLedger) -> None:
    """Else a mailbox that is source and target would be copied into itself without end."""
    box = dovecot.account()
    put(box, "INBOX", NOW)
    put(box, f"{ROOT}/INBOX", NOW)
    put(box, "其他文件夹/ahing@corp.test2", NOW)
    found = plan(box, None, exclude_roots=(ROOT,))
    assert {each.name for each in found.folders} == {"INBOX", "其他文件夹/ahing@corp.test2"}
    assert NoteKind.OWN_BACKUP in kinds(found)

    outcome = asyncio.run(copy_mail(box, box, into="Self", filter=Filter(), ledger=ledger, exclude_roots=(ROOT,)))
    assert outcome.stored == 2
    again = asyncio.run(copy_mail(box, box, into="Self", filter=Filter(), ledger=ledger, exclude_roots=(ROOT,)))
    assert (again.stored, again.already) == (0, 2)
    assert asyncio.run(verify_copy(box, box, ledger=ledger, exclude_roots=(ROOT,))).ok
    with pytest.raises(SameMailbox):
        asyncio.run(copy_mail(box, box, into="/", filter=Filter(), ledger=ledger))


def folders(*names: str, delimiter: str = "/") -> list[Folder]:
    return [Folder(WireName(name), delimiter, frozenset()) for name in names]


def test_names_are_translated_and_reported() -> None:
    """Another delimiter, a prefix, names that differ by case only; where a folder went before it goes again."""
    ground = Ground([], ".", "INBOX.")
    sources = folders("INBOX", "A/b.c", "Lists", "lists", "Kept")
    tree = lay_out(ground, sources, "Backup/ahing", {WireName("Kept"): WireName("INBOX.Backup.ahing.Old")})
    assert [branch.target for branch in tree.branches.values()] == [
        "INBOX.Backup.ahing.INBOX",
        "INBOX.Backup.ahing.A.b&,w4-c",
        "INBOX.Backup.ahing.Lists",
        "INBOX.Backup.ahing.lists (2)",
        "INBOX.Backup.ahing.Old",
    ]
    assert [(note.folder, note.detail) for note in tree.notes] == [
        ("Backup/ahing", "INBOX/Backup/ahing"),
        ("A/b.c", "INBOX/Backup/ahing/A/b．c"),
        ("lists", "INBOX/Backup/ahing/lists (2)"),
    ]


class Strict:
    """A target that refuses some folders."""

    def __init__(self, dovecot: Dovecot) -> None:
        self.source, self.target = dovecot.account(profile="exmail"), dovecot.account(profile="exmail")
        self.side = Middle(self.target.port)

    def copy(self, ledger: SqlLedger) -> Any:
        async def work() -> Any:
            async with self.side.running():
                target = dataclasses.replace(self.target, port=self.side.port)
                return await copy_mail(self.source, target, into="Backup/box", filter=Filter(), ledger=ledger)

        return asyncio.run(work())


def test_a_folder_that_is_refused_is_made_another_way(dovecot: Dovecot, ledger: SqlLedger) -> None:
    """Level by level, without odd characters, flat; each change is reported, a second run goes to the same place."""
    strict = Strict(dovecot)
    for name in ("a*b", "Deep/er/est"):
        put(strict.source, name, NOW)
    made: list[bytes] = []

    def on_command(line: bytes) -> bytes | None:
        if not line.startswith(b"CREATE"):
            return None
        if b"*" in line or line.count(b"/") > 3 or (line.count(b"/") > 1 and not made):
            made.append(line)
            return b"tag NO not such a folder"
        return None

    strict.side.on_command = on_command
    outcome = strict.copy(ledger)
    assert outcome.stored == 2
    assert {(note.folder, note.detail) for note in outcome.notes if note.kind is NoteKind.NAME_CHANGED} == {
        ("a*b", "Backup/box/a＊b"),
        ("Deep/er/est", "Backup/box/Deep - er - est"),
    }
    assert strict.copy(ledger).stored == 0
    assert asyncio.run(verify_copy(strict.source, strict.target, ledger=ledger)).ok


def test_a_root_that_cannot_be_made_is_an_error(dovecot: Dovecot, ledger: SqlLedger) -> None:
    strict = Strict(dovecot)
    put(strict.source, "INBOX", NOW)
    strict.side.on_command = lambda line: b"tag NO never" if line.startswith(b"CREATE") else None
    with pytest.raises(FolderRefused, match="never"):
        strict.copy(ledger)


def test_one_folder_that_cannot_be_made_does_not_stop_the_others(dovecot: Dovecot, ledger: SqlLedger) -> None:
    strict = Strict(dovecot)
    put(strict.source, "INBOX", NOW)
    put(strict.source, "Cursed", NOW)
    strict.side.on_command = lambda line: b"tag NO never" if line.startswith(b"CREATE") and b"Cursed" in line else None
    outcome = strict.copy(ledger)
    assert outcome.stored == 1
    assert Note(NoteKind.FOLDER_REFUSED, "Cursed", "never") in outcome.notes
    check = asyncio.run(verify_copy(strict.source, strict.target, ledger=ledger))
    assert not check.ok
    assert check.differences == ["Cursed: 1 mails were not copied"]
