"""
Mails and folder names that break copiers, between two independent servers in every direction.

Nothing is ever silent: each mail arrives byte for byte with its flags and date, or is listed as refused with the
server's reason. What a server does not take in the first place cannot be copied from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone

import pytest
from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError

from bot.mail.account import MailAccount
from bot.mail.copy import CopyOutcome, Limits, RefusalReason, copy_mail
from bot.mail.notes import NoteKind
from bot.mail.plan import Filter
from bot.mail.verify import verify_copy
from storage.ledger import SqlLedger
from tests.mail.mailboxes import message, opened
from tests.servers.cyrus import Cyrus
from tests.servers.dovecot import Dovecot

WAYS = ("dovecot to dovecot", "dovecot to cyrus", "cyrus to dovecot", "cyrus to cyrus")
HEAD = b"From: a@example.com\r\nDate: Mon, 5 Jan 2015 08:00:00 +0800\r\nSubject: %b\r\n\r\n"
TWIN = HEAD % b"twin" + b"equal in every byte\r\n"

# name -> bytes; what a server does not store is in REFUSES
MAILS = {
    "no_message_id": HEAD % b"no id" + b"text\r\n",
    "twin_one": TWIN,
    "twin_two": TWIN,
    "eight_bit_header": HEAD % "合同 报价".encode("gb18030") + b"text\r\n",
    "unknown_charset": HEAD % b"=?unknown-8bit?B?xeTWtA==?=" + b"text\r\n",
    "nul": HEAD % b"nul" + b"before\0after\r\n",
    "bare_lf": HEAD % b"bare lf" + b"one\ntwo\r\n",
    "bare_cr": HEAD % b"bare cr" + b"one\rtwo\r\n",
    "lf_only": (HEAD % b"lf only" + b"one\r\ntwo\r\n").replace(b"\r\n", b"\n"),
    "no_last_line_end": HEAD % b"no end" + b"text",
    "long_line": HEAD % b"long line" + b"x" * 100_000 + b"\r\n",
    "long_header": b"Subject: long header\r\nX-Long: " + b"y" * 20_000 + b"\r\n\r\ntext\r\n",
    "header_only": b"Subject: header only\r\n\r\n",
    "header_without_end": b"Subject: header without end\r\n",
    "one_byte": b"x",
    "empty": b"",
    "no_header": b"just text, no header at all\r\n",
    "dots_and_literals": HEAD % b"looks like IMAP" + b".\r\nA1 OK done\r\n* BYE\r\n)\r\n{5+}\r\nA2 LOGOUT\r\n",
    "raw_bytes": HEAD % b"raw" + bytes(byte for byte in range(1, 256) if byte not in (10, 13)) + b"\r\n",
}
REFUSES = {"dovecot": {"empty"}, "cyrus": {"nul", "one_byte", "empty", "no_header"}}
DATES = (
    datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
    datetime(2001, 9, 9, 1, 46, 40, tzinfo=timezone(-timedelta(hours=12))),
    datetime(2000, 2, 29, 12, tzinfo=timezone(timedelta(hours=14))),
    datetime(1999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    datetime(2026, 1, 1, tzinfo=UTC),
)
ODD = "tilde ~ #hash (round) [square] {curly}"
NAMES = (
    "客户往来 & 合同",
    "A & B && C",
    "with  two spaces ",
    'say "hello"',
    "back\\slash",
    "100% * sure",
    "emoji 😀👨‍👩‍👧",
    ODD,
    "&not-utf7-",
    "Sent.Items.2019",
    "十二层/" + "/".join(f"层{number}" for number in range(2, 13)),
    "长" * 66,
    "x" * 200,
    "Case",
    "case",
    "INBOX-like",
)


class Scene:
    """A source on one server and a target on another."""

    def __init__(self, way: str, dovecot: Dovecot, cyrus: Cyrus, ledger: SqlLedger) -> None:
        source, target = way.split(" to ")
        make = {"dovecot": dovecot.account, "cyrus": cyrus.account}
        self.source, self.target, self.ledger = make[source](), make[target](), ledger
        self.from_cyrus, self.to_cyrus = source == "cyrus", target == "cyrus"

    def copy(self, **limits: int) -> CopyOutcome:
        work = copy_mail(
            self.source,
            self.target,
            into="Backup/box",
            filter=Filter(),
            ledger=self.ledger,
            limits=Limits(silence_seconds=20, **limits),
        )
        return asyncio.run(work)

    def check(self, outcome: CopyOutcome, *, altered: int = 0) -> int:
        """
        Every folder of the source has its copy, mail for mail, less what is listed; how many mails were there.

        `altered` mails have other bytes than at the source, and the verification says so.
        """
        source, target = mails(self.source, self.from_cyrus), mails(self.target, self.to_cyrus)
        refused = {(each.folder, each.uid) for each in outcome.refused}
        there = 0
        refused_folders = {each.folder for each in outcome.notes if each.kind is NoteKind.FOLDER_REFUSED}
        copied = {each.name for each in outcome.folders}
        assert copied | refused_folders >= {name for name, found in source.items() if found}
        assert len({each.target for each in outcome.folders}) == len(outcome.folders), "two folders became one"
        for folder in outcome.folders:
            wanted = Counter(mail for uid, mail in source[folder.name].items() if (folder.name, uid) not in refused)
            copy = Counter(target[folder.target].values())
            assert (wanted - copy).total() == (copy - wanted).total() == altered, folder.name
            there += wanted.total()
        found = asyncio.run(verify_copy(self.source, self.target, ledger=self.ledger))
        assert len(found.differences) == altered + len(refused_folders), found.differences
        assert found.ok == (not found.differences)
        assert self.copy().stored == 0, "a second run copies nothing"
        return there


@pytest.fixture
def scene(request: pytest.FixtureRequest, dovecot: Dovecot, cyrus: Cyrus, ledger: SqlLedger) -> Scene:
    return Scene(request.param, dovecot, cyrus, ledger)


def mails(account: MailAccount, is_cyrus: bool) -> dict[str, dict[int, tuple[str, frozenset[bytes], int]]]:
    """Folder -> UID -> (sha256, flags, date), with `/` in the names, as an independent reader sees them."""
    result = {}
    with opened(account) as client:
        for flags, _, name in client.list_folders():
            if b"\\Noselect" in flags:
                continue
            client.select_folder(name, readonly=True)
            data = client.fetch(client.search("ALL"), ["BODY.PEEK[]", "FLAGS", "INTERNALDATE"])
            display = name.replace("/", "\0").replace(".", "/").replace("\0", ".") if is_cyrus else name
            result[display] = {uid: seen(each) for uid, each in data.items()}
    return result


def seen(data: dict[bytes, object]) -> tuple[str, frozenset[bytes], int]:
    raw, flags, date = data[b"BODY[]"], data[b"FLAGS"], data[b"INTERNALDATE"]
    assert isinstance(raw, bytes)
    assert isinstance(flags, tuple)
    assert isinstance(date, datetime)
    kept = frozenset(flag.lower() for flag in flags) - {b"\\recent"}
    return hashlib.sha256(raw).hexdigest(), kept, int(date.timestamp())


def put(client: IMAPClient, folder: str, raw: bytes, flags: list[bytes], date: datetime) -> bool:
    """Whether the server took it."""
    try:
        client.append(folder, raw, flags, date)
    except IMAPClientError:
        return False
    return True


@pytest.mark.parametrize("scene", WAYS, indirect=True)
def test_nasty_mails_arrive_or_are_listed(scene: Scene) -> None:
    """With flags and absurd dates; of what Cyrus does not take the receipt says which and why."""
    taken = set()
    with opened(scene.source) as client:
        for number, (name, raw) in enumerate(MAILS.items()):
            date = DATES[number % len(DATES)]
            if put(client, "INBOX", raw, [b"\\Seen", b"todo"] if number % 3 else [b"\\Flagged"], date):
                taken.add(name)
    assert taken == MAILS.keys() - REFUSES["cyrus" if scene.from_cyrus else "dovecot"]

    outcome = scene.copy(connections=2)

    assert outcome.finished
    expected = taken & REFUSES["cyrus" if scene.to_cyrus else "dovecot"]
    if not scene.from_cyrus:
        expected.discard("nul")  # Dovecot stores another byte in its place
    assert len(outcome.refused) == len(expected), [each.detail for each in outcome.refused]
    assert all(each.detail and each.reason is not RefusalReason.LOST for each in outcome.refused)
    munged = int(scene.to_cyrus and not scene.from_cyrus)  # Cyrus writes X for 8-bit bytes in a header
    assert scene.check(outcome, altered=munged) == len(taken) - len(expected)


@pytest.mark.parametrize("scene", WAYS, indirect=True)
def test_nasty_folder_names_stay_apart(scene: Scene) -> None:
    """Every folder has a copy of its own; a name that had to be changed is reported."""
    made = set()
    with opened(scene.source) as client:
        for number, name in enumerate(NAMES):
            wire = "INBOX." + name.replace(".", "-").replace("/", ".") if scene.from_cyrus else name
            with contextlib.suppress(IMAPClientError):  # Cyrus knows fewer names
                client.create_folder(wire)
                client.append(wire, message(number, random.Random(number)), [], DATES[4])
                made.add(name)
    assert scene.from_cyrus or made == set(NAMES), set(NAMES) - made
    assert len(made) >= 8

    outcome = scene.copy()

    assert outcome.finished
    assert not outcome.refused
    assert not [note.folder for note in outcome.notes if note.kind is NoteKind.FOLDER_REFUSED]
    assert scene.check(outcome) == len(made)
    told = {note.folder for note in outcome.notes if note.kind is NoteKind.NAME_CHANGED}
    changed = {each.name for each in outcome.folders if not each.target.endswith(f"Backup/box/{each.name}")}
    assert changed <= told, "a changed name is said"
    assert scene.to_cyrus or {name.rpartition("/")[2] for name in changed} <= {"Case", "case"}


@pytest.mark.parametrize("scene", ["dovecot to cyrus"], indirect=True)
def test_48_megabytes(scene: Scene) -> None:
    """Streamed past the budget, in between small ones."""
    big = HEAD % b"big" + (b"0123456789abcde\r\n" * 2_823_530)[:48_000_000]
    with opened(scene.source) as client:
        for raw in (MAILS["no_message_id"], big, MAILS["no_last_line_end"]):
            client.append("INBOX", raw, [], DATES[2])
    outcome = scene.copy(budget_bytes=1_000_000)
    assert outcome.stored == 3
    assert scene.check(outcome) == 3


@pytest.mark.parametrize("scene", ["cyrus to dovecot"], indirect=True)
def test_a_date_the_target_does_not_keep_is_said(scene: Scene) -> None:
    """Dovecot replaces a date in the future by the moment of the APPEND."""
    with opened(scene.source) as client:
        client.append("INBOX", MAILS["no_message_id"], [], datetime(2099, 1, 1, tzinfo=UTC))
    outcome = scene.copy()
    assert outcome.stored == 1
    assert NoteKind.DATES_IGNORED in {note.kind for note in outcome.notes}
    assert scene.copy().stored == 0
