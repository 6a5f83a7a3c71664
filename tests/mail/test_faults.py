"""What servers do to a copy: cut lines, refusals of every kind, silence, renumbering. The copy survives or says so."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from bot.mail import prepare
from bot.mail.account import MailAccount
from bot.mail.copy import CopyOutcome, Limits, RefusalReason, copy_mail
from bot.mail.errors import ConnectionLost, FolderRefused, LoginRefused, MailError, NotReachable, QuotaFull
from bot.mail.notes import NoteKind
from bot.mail.plan import Filter
from bot.mail.session import Session, open_session
from bot.mail.verify import verify_copy
from storage.ledger import SqlLedger
from tests.mail.mailboxes import bag, count, fill, message, opened
from tests.mail.middle import CUT, Middle
from tests.servers.dovecot import PROFILES, Dovecot

FOLDERS = ("INBOX", "其他文件夹/项目归档")
ROOT = "Backup/box"


class Scene:
    """A filled source, an empty target, a man in the middle of each."""

    def __init__(self, dovecot: Dovecot, ledger: SqlLedger, profile: str) -> None:
        self.ledger = ledger
        self.source, self.target = dovecot.account(profile=profile), dovecot.account(profile=profile)
        self.source_side = Middle(self.source.port)
        self.target_side = Middle(self.target.port)
        self.pauses: list[float] = []

    def fill(self, per_folder: int = 20) -> None:
        fill(self.source, seed=3, per_folder=per_folder, folders=FOLDERS)

    def copy(self, *, limits: Limits | None = None, **more: Any) -> CopyOutcome:
        async def pause(seconds: float) -> None:
            self.pauses.append(seconds)

        async def work() -> CopyOutcome:
            async with asyncio.timeout(60), self.source_side.running(), self.target_side.running():
                return await copy_mail(
                    dataclasses.replace(self.source, port=self.source_side.port),
                    dataclasses.replace(self.target, port=self.target_side.port),
                    into=ROOT,
                    filter=Filter(),
                    ledger=self.ledger,
                    limits=limits or Limits(silence_seconds=10),
                    pause=pause,
                    **more,
                )

        return asyncio.run(work())

    def check(self) -> None:
        """Everything is there once."""
        assert bag(self.target, root=ROOT) == bag(self.source)
        found = asyncio.run(verify_copy(self.source, self.target, ledger=self.ledger))
        assert found.ok, found.differences


@pytest.fixture(params=PROFILES)
def scene(dovecot: Dovecot, ledger: SqlLedger, request: pytest.FixtureRequest) -> Scene:
    """In both profiles."""
    return Scene(dovecot, ledger, request.param)


@pytest.fixture
def exmail(dovecot: Dovecot, ledger: SqlLedger) -> Scene:
    """With Exmail's capabilities: a refusal comes instead of the "+"."""
    return Scene(dovecot, ledger, "exmail")


def once(word: bytes, answer: bytes, *, times: int = 1, after: int = 0) -> Callable[[bytes], bytes | None]:
    """Answers the next `times` commands that begin with `word`, after letting some pass."""
    seen = 0

    def on_command(line: bytes) -> bytes | None:
        nonlocal seen
        if not line.upper().startswith(word):
            return None
        seen += 1
        return answer if after < seen <= after + times else None

    return on_command


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_cut_line_costs_nothing(scene: Scene, side: str, seed: int) -> None:
    """Connections are cut after random amounts of bytes; the run goes on by itself."""
    scene.fill()
    rng = random.Random(seed)
    cuts = [rng.randrange(25_000, 60_000) for _ in range(4)]  # no mail is larger, and all of it is
    if side == "source":
        scene.source_side.cut_after_received = cuts
    else:
        scene.target_side.cut_after_sent = cuts

    outcome = scene.copy(limits=Limits(connections=2, silence_seconds=10))

    assert outcome.finished
    assert not outcome.refused
    assert outcome.reconnects
    scene.check()  # also what a cut line still delivered after the others had ended


@pytest.mark.parametrize("after", [0, 1])
def test_an_answer_that_never_comes_doubles_nothing(scene: Scene, after: int) -> None:
    """The mail is stored, then the line is dead before the OK."""
    scene.fill(per_folder=40)
    seen = 0

    def on_answer(data: bytes) -> bytes:
        nonlocal seen
        if b"APPENDUID" in data:
            seen += 1
            if seen == after + 1:
                scene.target_side.silent = True
                return b""
        return data

    scene.target_side.on_answer = on_answer

    def connected(line: bytes) -> bytes | None:
        if line.upper().startswith(b"LOGIN"):
            scene.target_side.silent = False
        return None

    scene.target_side.on_command = connected
    # The login of the next connection ends the silence, so its greeting must come through before.
    original = scene.target_side._serve

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        scene.target_side.silent = False
        await original(reader, writer)

    scene.target_side._serve = serve  # type: ignore[method-assign]
    outcome = scene.copy(limits=Limits(silence_seconds=1))

    assert outcome.finished
    assert outcome.adopted
    assert not outcome.refused
    scene.check()


def test_busy_is_waited_for(exmail: Scene) -> None:
    """3, 9, 27 s; and the others do not wait."""
    exmail.fill(per_folder=5)
    first: list[bytes] = []

    def on_command(line: bytes) -> bytes | None:
        if (
            line.startswith(b"APPEND")
            and (not first or line == first[0])
            and exmail.target_side.commands.count(line) <= 3
        ):
            first[:] = [line]
            return b"tag NO System busy"
        return None

    exmail.target_side.on_command = on_command
    outcome = exmail.copy()

    assert outcome.finished
    assert not outcome.refused
    assert exmail.pauses == [3.0, 9.0, 27.0]
    exmail.check()


def test_a_server_that_stays_busy_ends_the_copy(exmail: Scene) -> None:
    exmail.fill(per_folder=8)
    exmail.target_side.on_command = once(b"APPEND", b"tag NO System busy", times=1000)
    with pytest.raises(MailError, match="busy"):
        exmail.copy()
    exmail.target_side.on_command = lambda line: None
    assert exmail.copy().finished
    exmail.check()


def test_a_full_target_stops_the_copy(dovecot: Dovecot, ledger: SqlLedger) -> None:
    """Dovecot's own quota; with more room the same ledger goes on."""
    scene = Scene(dovecot, ledger, "full")
    scene.fill()
    scene.target = dovecot.account(profile="full", quota_bytes=40_000)
    with pytest.raises(QuotaFull) as caught:
        scene.copy()
    assert scene.target.user in str(caught.value.words())
    stored = count(bag(scene.target))
    assert stored
    assert not asyncio.run(verify_copy(scene.source, scene.target, ledger=ledger)).ok


def test_a_refused_mail_is_a_line_with_subject_date_and_reason(exmail: Scene) -> None:
    exmail.fill(per_folder=5)
    exmail.target_side.on_command = once(b"APPEND", b"tag NO Message contains NUL characters", after=2)
    outcome = exmail.copy()

    assert outcome.finished
    assert len(outcome.refused) == 1
    refusal = outcome.refused[0]
    assert refusal.reason is RefusalReason.CONTENT
    assert refusal.detail == "Message contains NUL characters"
    assert refusal.subject == "mail 2"
    assert refusal.date.startswith("Mon, 5 Jan 2015")
    assert "NUL" in str(refusal.words())
    assert count(bag(exmail.target)) == count(bag(exmail.source)) - 1

    assert exmail.copy().stored == 0, "what is refused for good is not tried again by itself"
    exmail.ledger.retry_refused()
    assert exmail.copy().stored == 1
    exmail.check()


def test_keywords_the_target_does_not_take_are_left_out(exmail: Scene) -> None:
    with opened(exmail.source) as client:
        client.append("INBOX", message(1, random.Random(1)), [b"\\Seen", b"todo"], datetime.now(UTC))

    def on_command(line: bytes) -> bytes | None:
        return b"tag BAD Invalid flag" if line.startswith(b"APPEND") and b"todo" in line else None

    exmail.target_side.on_command = on_command
    outcome = exmail.copy()
    assert outcome.stored == 1
    assert NoteKind.KEYWORDS_DROPPED in {note.kind for note in outcome.notes}
    assert asyncio.run(verify_copy(exmail.source, exmail.target, ledger=exmail.ledger)).ok


def test_a_mail_the_source_does_not_give_is_listed(scene: Scene) -> None:
    """Asked for in a batch, then alone, then given up; the rest arrives."""
    scene.fill(per_folder=5)

    def on_command(line: bytes) -> bytes | None:
        if line.startswith(b"UID FETCH") and b"BODY.PEEK[]" in line:
            uids = line.split()[2]
            if uids in (b"1:5", b"2"):
                return b"tag NO Some messages could not be FETCHed"
        return None

    scene.source_side.on_command = on_command
    outcome = scene.copy()
    assert outcome.finished
    assert {refusal.reason for refusal in outcome.refused} <= {RefusalReason.UNREADABLE}
    assert len(outcome.refused) == 2, "UID 2 of both folders"
    assert outcome.refused[0].subject
    assert count(bag(scene.target)) == count(bag(scene.source)) - 2

    scene.source_side.on_command = lambda line: None
    assert scene.copy().stored == 2
    scene.check()


def test_a_big_mail_streams_through(scene: Scene) -> None:
    """And one that the target refuses does not stop the source behind it."""
    big = message(1, random.Random(1), size=3_000_000)
    with opened(scene.source) as client:
        for raw in (message(0, random.Random(0)), big, big, message(2, random.Random(2))):
            client.append("INBOX", raw, [], datetime(2015, 1, 4, tzinfo=UTC))
    size = str(len(big)).encode()

    def on_command(line: bytes) -> bytes | None:
        return b"tag NO [TOOBIG] too big" if size in line and scene.target_side.commands.count(line) == 1 else None

    scene.target_side.on_command = on_command
    outcome = scene.copy(limits=Limits(silence_seconds=10, budget_bytes=100_000))
    assert outcome.stored == 3
    assert [refusal.reason for refusal in outcome.refused] == [RefusalReason.TOO_BIG]
    assert outcome.refused[0].subject == "mail 1"
    scene.ledger.retry_refused()
    assert scene.copy().stored == 1
    scene.check()


def test_an_untagged_bad_is_a_dead_connection(exmail: Scene) -> None:
    """QQ answers so and then never sends the tagged line."""
    exmail.fill(per_folder=5)
    exmail.source_side.on_command = once(b"UID FETCH", b"* BAD Command!", after=3)
    outcome = exmail.copy()
    assert outcome.finished
    assert outcome.reconnects == 1
    exmail.check()


def test_silence_is_a_lost_connection(exmail: Scene) -> None:
    exmail.fill(per_folder=5)

    def on_command(line: bytes) -> bytes | None:
        if line.startswith(b"UID FETCH") and b"BODY" in line:
            exmail.source_side.silent = True
        return None

    exmail.source_side.on_command = on_command
    with pytest.raises(ConnectionLost):
        exmail.copy(limits=Limits(silence_seconds=0.4))
    exmail.source_side.on_command = lambda line: None
    exmail.source_side.silent = False
    assert exmail.copy().finished
    exmail.check()


def test_a_refused_login_is_not_tried_again(exmail: Scene) -> None:
    exmail.target = dataclasses.replace(exmail.target, password="wrong")
    with pytest.raises(LoginRefused):
        exmail.copy()
    assert exmail.target_side.connections == 1
    assert "wrong" not in repr(exmail.target)


def test_nobody_listens() -> None:
    with pytest.raises(NotReachable):
        asyncio.run(open_session(MailAccount("127.0.0.1", 1, "a", "b", tls=False)))


def test_tls_is_verified(dovecot: Dovecot) -> None:
    account = dovecot.account(tls=True)

    async def get_in(account: MailAccount) -> None:
        await (await open_session(account)).close()

    asyncio.run(get_in(account))
    with pytest.raises(NotReachable, match="certificate"):
        asyncio.run(get_in(dataclasses.replace(account, ca_file=None)))


def test_a_folder_that_vanishes_is_made_again(exmail: Scene) -> None:
    exmail.fill(per_folder=5)
    exmail.target_side.on_command = once(b"APPEND", b"tag NO [TRYCREATE] no such mailbox", after=2)
    outcome = exmail.copy()
    assert outcome.finished
    exmail.check()


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_renumbered_folder_is_matched_by_its_bytes(scene: Scene, side: str) -> None:
    """The folder is replaced by an equal one with another UIDVALIDITY; only what is new is copied."""
    scene.fill(per_folder=10)
    folder = FOLDERS[1]
    total = count(bag(scene.source))
    assert scene.copy(limits=Limits(mails_max=total - 3, silence_seconds=10)).finished is False
    account, name = (scene.source, folder) if side == "source" else (scene.target, f"{ROOT}/{folder}")
    with opened(account) as client:
        before = client.folder_status(name, ["UIDVALIDITY"])
        client.create_folder("elsewhere")
        client.select_folder(name)
        client.copy(client.search("ALL"), "elsewhere")
        client.select_folder("INBOX", readonly=True)
        client.delete_folder(name)
        client.rename_folder("elsewhere", name)
        assert client.folder_status(name, ["UIDVALIDITY"]) != before

    outcome = scene.copy()
    assert outcome.finished
    assert outcome.stored == 3
    scene.check()
    assert scene.copy().stored == 0


def test_a_server_that_adds_headers_is_noticed(exmail: Scene) -> None:
    """What it stores is found again by identity after a lost answer: nothing doubled."""
    exmail.fill(per_folder=6)
    total = count(bag(exmail.source))
    assert exmail.copy(limits=Limits(mails_max=4, silence_seconds=10)).stored == 4
    # A dead session stored one more, and the server put a line on top of it.
    with opened(exmail.source) as client:
        client.select_folder("INBOX", readonly=True)
        uid = client.search("ALL")[4]
        data = client.fetch([uid], ["BODY.PEEK[]", "FLAGS", "INTERNALDATE"])[uid]
    flags = [flag for flag in data[b"FLAGS"] if flag != b"\\Recent"]
    with opened(exmail.target) as client:
        raw = b"X-Added: by the server\r\n" + data[b"BODY[]"]
        client.append(f"{ROOT}/INBOX", raw, flags, data[b"INTERNALDATE"])

    outcome = exmail.copy()
    assert outcome.adopted == 1
    assert NoteKind.BYTES_CHANGED in {note.kind for note in outcome.notes}
    assert count(bag(exmail.target)) == total


def test_only_a_sure_second_copy_is_removed(exmail: Scene) -> None:
    """Equal in every byte, date and flag to a recorded one, above the mark; a likeness is listed and kept."""
    exmail.fill(per_folder=5)
    exmail.copy()
    folder = f"{ROOT}/INBOX"
    with opened(exmail.target) as client:
        client.select_folder(folder, readonly=True)
        uid, other = client.search("ALL")[:2]
        data = client.fetch([uid, other], ["BODY.PEEK[]", "FLAGS", "INTERNALDATE"])
        for each, date in ((uid, data[uid][b"INTERNALDATE"]), (other, datetime(2001, 1, 1, tzinfo=UTC))):
            flags = [flag for flag in data[each][b"FLAGS"] if flag != b"\\Recent"]
            client.append(folder, data[each][b"BODY[]"], flags, date)
        client.append(folder, b"Subject: not ours\r\n\r\nleft alone\r\n")

    exmail.ledger.begin_run()  # and that run was killed
    outcome = exmail.copy()
    assert outcome.removed == 1
    assert [note.kind for note in outcome.notes] == [NoteKind.DOUBLE_LISTED]
    assert count(bag(exmail.target)) == count(bag(exmail.source)) + 2


def test_a_slice_ends_where_it_is_told(scene: Scene) -> None:
    scene.fill(per_folder=10)
    total = count(bag(scene.source))
    first = scene.copy(limits=Limits(mails_max=7, connections=2, silence_seconds=10))
    assert (first.finished, first.stored) == (False, 7)
    assert scene.copy(should_stop=lambda: True).finished is False
    second = scene.copy()
    assert (second.finished, second.stored, second.already) == (True, total - 7, 7)
    scene.check()


def test_every_call_gets_on_however_short(scene: Scene) -> None:
    """Listing both sides may take longer than a call has: it copies something all the same, and ends."""
    scene.fill(per_folder=4)
    total = count(bag(scene.source))
    calls = 0
    while not (outcome := scene.copy(limits=Limits(seconds_max=0.0, silence_seconds=10))).finished:
        assert outcome.stored >= 1
        calls += 1
        assert calls <= total
    scene.check()


def test_nothing_dangerous_is_ever_sent(scene: Scene) -> None:
    """No SEARCH, no structure, nothing that marks as read, short lines, no deletion in an ordinary copy."""
    scene.fill()
    scene.copy()
    source, target = scene.source_side.commands, scene.target_side.commands
    assert all(len(line) < 2048 for line in source + target)
    text = b"\n".join(source + target).upper()
    for word in (b"SEARCH", b"ENVELOPE", b"BODYSTRUCTURE", b"BODY[", b"RFC822 ", b"EXPUNGE", b"STORE", b"DELETE"):
        assert word not in text, word
    assert not any(line.upper().startswith((b"SELECT", b"APPEND", b"CREATE")) for line in source)
    assert source[0].startswith(b"LOGIN")
    assert any(line.startswith(b"ID ") for line in source)


@pytest.mark.parametrize("refused", [False, True])
def test_a_source_that_is_listed_before_there_is_a_place_waits_no_longer_than_needed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    """Its mails are listed while the target's folders are made; it is read on also when none could be made."""
    held: list[bool] = []
    for name, now in (("pause_reading", True), ("resume_reading", False)):
        usual = getattr(Session, name)
        monkeypatch.setattr(
            Session, name, lambda self, *whose, usual=usual, now=now: (held.append(now), usual(self, *whose))[1]
        )
    monkeypatch.setattr(prepare, "HELD_LINES_MAX", 1)
    scene.fill(4)
    if refused:
        scene.target_side.on_command = lambda line: b"tag NO no" if line.startswith((b"CREATE", b"SELECT")) else None
        with pytest.raises(FolderRefused):
            scene.copy()
    else:
        assert scene.copy().finished
        assert bag(scene.target, root=ROOT) == bag(scene.source)
    assert held[0]
    assert not held[-1]


@pytest.mark.parametrize("answer", [b"* BAD Command!", CUT])
def test_a_probe_that_ends_the_session_is_not_made_again(dovecot: Dovecot, ledger: SqlLedger, answer: bytes) -> None:
    """LITERAL+ is announced, and whoever uses it is thrown out: then the mail goes without."""
    scene = Scene(dovecot, ledger, "full")
    scene.fill(per_folder=4)
    scene.target_side.on_command = lambda line: answer if line.startswith(b"STATUS {") else None
    outcome = scene.copy(limits=Limits(connections=2, silence_seconds=10))
    assert outcome.finished
    assert not outcome.refused
    assert not any(line.endswith(b"+}") for line in scene.target_side.commands if line.startswith(b"APPEND"))
    scene.check()
