"""What `doctor --live` tries in a mailbox of our own: either answer to each question, and nothing stays behind."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from bot.clock import SystemClock
from bot.mail import probe
from bot.mail.account import MailAccount
from bot.sandbox.mailserver import Mailbox, MailServer
from tests.mail.mailboxes import bag, opened
from tests.servers.dovecot import PASSWORD, Dovecot

ADDRESS = "support@corp.test"
FOLDER = f"其他文件夹/{probe.NAME}"
USUAL = {  # what the simulated server answers with nothing switched but that folders can be deleted
    "minted_login": True, "literal_plus": False, "connections": True, "create_root": True, "created_listed": True,
    "appenduid": True, "fetched_at_once": True, "search_sees": True, "search_dates": False, "header_fields": True,
    "append_size": True, "create_top": False,
}  # fmt: skip


def tried(prepare: Any = None, *, connections: int = 2, **faults: int | bool) -> tuple[probe.Tried, Mailbox]:
    """What comes of a probe on the simulated server with these switches, and the mailbox afterwards."""

    async def run() -> tuple[probe.Tried, Mailbox]:
        async with MailServer(SystemClock()) as server:
            box = server.add(ADDRESS)
            box.put("INBOX", b"Subject: a person's\r\n\r\n", datetime(2026, 1, 1, tzinfo=UTC))
            _, password = box.mint()
            for name, value in ({"delete_refused": False} | faults).items():
                box.faults[name] = value
            if prepare is not None:
                prepare(box)
            account = MailAccount("127.0.0.1", server.port, ADDRESS, password, tls=False)
            return await probe.probe(account, connections=connections), box

    return asyncio.run(run())


def test_everything_is_tried_and_nothing_stays() -> None:
    """Every answer, and the mailbox is as it was, but for nothing."""
    told, box = tried()
    assert {name: answer for name, (answer, _) in told.answers.items()} == USUAL
    assert told.left == []
    assert box.counts() == {"INBOX": 1, "Sent Messages": 0, "Drafts": 0, "Deleted Messages": 0, "Junk": 0}
    assert "UIDPLUS" in told.answers["literal_plus"][1]
    assert "APPENDUID" in told.answers["appenduid"][1]
    assert told.answers["connections"][1] == "2"


@pytest.mark.parametrize(
    ("faults", "question", "answer"),
    [
        ({"literal_plus": True}, "literal_plus", True),
        ({"no_appenduid": True}, "appenduid", False),
        ({"search_blind": True}, "search_sees", False),
        ({"search_ignores_keys": False}, "search_dates", True),
        ({"empty_header_fields": True}, "header_fields", False),
        ({"size_limit": 50_000}, "append_size", False),
        ({"appendlimit": 50_000}, "append_size", False),
        ({"connections_max": 1}, "connections", False),
        ({"top_level_refused": False}, "create_top", True),
        ({"names_strict": True}, "create_root", True),
        ({"depth_max": 1}, "create_root", True),
        ({"login_wants_code": True}, "minted_login", False),
    ],
)
def test_the_other_answer(faults: dict[str, int | bool], question: str, answer: bool) -> None:
    """At the turn of a switch; and nothing of ours is in the mailbox afterwards."""
    told, box = tried(**faults)
    assert told.answers[question][0] is answer
    assert FOLDER not in box.folders
    assert probe.NAME not in box.folders


def test_a_root_that_takes_no_folder_and_one_that_hides_it() -> None:
    """Refused, or made and not shown (收取「我的文件夹」 is off): what is behind it is not asked."""
    told, box = tried(name_bytes_max=5)
    assert told.answers["create_root"] == (False, "Folder name is too long")
    assert "appenduid" not in told.answers

    def hide(box: Mailbox) -> None:
        box.show_custom = False

    told, box = tried(hide)
    assert told.answers["created_listed"][0] is False
    assert told.answers["create_root"][0] is True
    assert len(told.left) == 1
    assert box.folders[FOLDER].messages == {}


def test_a_folder_that_cannot_be_deleted_is_told_emptied_and_used_again() -> None:
    """None at the top is tried then: it would stay, too. What a killed run left in ours is taken away."""

    def killed(box: Mailbox) -> None:
        box.put(FOLDER, probe.MAIL, datetime(2026, 1, 1, tzinfo=UTC))

    told, box = tried(killed, delete_refused=True)
    assert told.answers["create_root"][0] is True
    assert "create_top" not in told.answers
    assert told.left == [f"{FOLDER}: Folders can only be deleted in webmail"]
    assert box.folders[FOLDER].messages == {}


def test_what_somebody_else_put_into_our_folder_stays() -> None:
    """Nothing is deleted that is not ours to the last byte, nor the folder around it."""

    def somebody(box: Mailbox) -> None:
        box.put(FOLDER, b"Subject: mine\r\n\r\n", datetime(2026, 1, 1, tzinfo=UTC))

    told, box = tried(somebody)
    assert told.left == [f"{FOLDER} (2)"]
    assert b"Subject: mine\r\n\r\n" in [each.raw for each in box.folders[FOLDER].messages.values()]


def test_one_connection_is_all_there_is() -> None:
    """Then nothing is said of several, and no large mail is announced: that costs one."""
    told, _ = tried(connections=1)
    assert "connections" not in told.answers
    assert "append_size" not in told.answers


def test_at_a_server_that_none_of_us_wrote(dovecot: Dovecot) -> None:
    """Dovecot has no 其他文件夹 and makes it; nothing of ours stays."""
    account = MailAccount("127.0.0.1", dovecot.profiles["exmail"].port, "probed@corp.test", PASSWORD, tls=False)
    with opened(account) as client:
        client.append("INBOX", b"Subject: a person's\r\n\r\n")
    before = bag(account)
    told = asyncio.run(probe.probe(account, connections=2))
    wanted = USUAL | {"search_dates": True, "create_top": True}
    assert {name: answer for name, (answer, _) in told.answers.items()} == wanted
    assert told.left == []
    assert bag(account) == before
