"""The simulated Exmail, seen by clients none of us wrote and by plain bytes."""

from __future__ import annotations

import base64
import contextlib
import imaplib
import random
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
from imapclient import IMAPClient, imap_utf7
from imapclient.exceptions import IMAPClientError

from bot.sandbox.mail import utf7
from bot.sandbox.mailserver import LOGIN_FAIL, ROOT, SYSTEM_FOLDERS, MailServer, Message
from tests.sandbox.harness import ADDRESS, MAIL, NOW, FixedClock, RawClient, Served, serving

ROOT_WIRE = "&UXZO1mWHTvZZOQ-"


@pytest.fixture
def served() -> Iterator[Served]:
    with serving() as running:
        yield running


@pytest.fixture
def client(served: Served) -> Iterator[RawClient]:
    with served.client() as connected:
        yield connected


@pytest.fixture
def independent(served: Served) -> Iterator[IMAPClient]:
    """IMAPClient, logged in."""
    connected = IMAPClient("127.0.0.1", served.port, ssl=False, timeout=20)
    connected.login(ADDRESS, served.password)
    yield connected
    connected.shutdown()


# ------------------------------------------------------------------ greeting and login


def test_greeting_and_capabilities_are_exmails(served: Served) -> None:
    with served.client(log_in=False) as client:
        assert client.greeting == (
            "* OK [CAPABILITY IMAP4 IMAP4rev1 ID AUTH=PLAIN AUTH=LOGIN NAMESPACE] QQMail IMAP4Server ready"
        )
        client.do(f"LOGIN {ADDRESS} {served.password}")
        assert client.do("CAPABILITY")[0] == (
            "* CAPABILITY IMAP4 IMAP4rev1 XLIST MOVE IDLE XAPPLEPUSHSERVICE NAMESPACE CHILDREN ID UIDPLUS"
        )
        assert client.do("NAMESPACE")[0] == '* NAMESPACE (("" "/")) NIL NIL'
        assert client.do('ID ("name" "test")')[-1].startswith("OK")
        assert client.do("NONSENSE") == ["BAD Command!"]
        assert client.do("LOGOUT")[-1].startswith("OK")
        assert client.is_cut()


@pytest.mark.parametrize("cause", ["unknown", "frozen", "imap off", "wrong", "revoked", "removed", "throttled"])
def test_one_text_for_every_refused_login(served: Served, cause: str) -> None:
    """imap-quirks 4: nobody can tell the causes apart."""
    address, password = ADDRESS, served.password
    if cause == "unknown":
        address = "nobody@corp.test"
    elif cause == "frozen":
        served.box.disabled = True
    elif cause == "imap off":
        served.box.imap_on = False
    elif cause == "wrong":
        password = password[::-1]
    elif cause == "revoked":
        assert served.box.revoke(1)
    elif cause == "removed":
        served.server.remove(ADDRESS)
    else:
        served.box.faults["login_throttled"] = 1
    with served.client(log_in=False) as client:
        assert client.do(f"LOGIN {address} {password}") == [f"NO {LOGIN_FAIL}"]
        assert client.do("SELECT INBOX") == ["BAD Command state error!"]
        if cause == "throttled":
            assert client.do(f"LOGIN {address} {password}") == ["OK Success login ok"]


def test_passwords_are_minted_and_revoked_while_it_runs(served: Served) -> None:
    number, second = served.box.mint()
    assert re.fullmatch("[A-Za-z]{16}", second)
    for password in (served.password, second):
        with served.client(log_in=False) as client:
            assert client.do(f'LOGIN "{ADDRESS.upper()}" "{password}"') == ["OK Success login ok"]
    assert served.box.revoke(number)
    assert not served.box.revoke(number)
    with served.client(log_in=False) as client:
        assert client.do(f"LOGIN {ADDRESS} {second}") == [f"NO {LOGIN_FAIL}"]


def test_authenticate_plain_and_login(served: Served) -> None:
    plain = base64.b64encode(f"\0{ADDRESS}\0{served.password}".encode())
    with served.client(log_in=False) as client:
        client.send("A AUTHENTICATE PLAIN\r\n")
        assert client.line() == "+ "
        client.send(plain + b"\r\n")
        assert client.answer("A") == ["OK Success login ok"]
    with served.client(log_in=False) as client:
        assert client.do(b"AUTHENTICATE PLAIN " + plain) == ["OK Success login ok"]
    with served.client(log_in=False) as client:
        client.send("A AUTHENTICATE LOGIN\r\n")
        assert client.line() == "+ VXNlcm5hbWU6"
        client.send(base64.b64encode(ADDRESS.encode()) + b"\r\n")
        assert client.line() == "+ UGFzc3dvcmQ6"
        client.send(base64.b64encode(b"wrong") + b"\r\n")
        assert client.answer("A") == [f"NO {LOGIN_FAIL}"]
        client.send("B AUTHENTICATE PLAIN\r\n")
        client.line()
        client.send("*\r\n")
        assert client.answer("B") == ["BAD AUTHENTICATE cancelled"]


def test_login_by_literals_alias_and_odd_password(served: Served) -> None:
    served.box.aliases.add("alex@corp.test")
    served.box.passwords[99] = 'a "b\\'
    with served.client(log_in=False) as client:
        client.send("A LOGIN {14}\r\n")
        assert client.line().startswith("+")
        client.send("alex@corp.test {5}\r\n")
        assert client.line().startswith("+")
        client.send('a "b\\\r\n'.replace("\r\n", "") + "\r\n")
        assert client.answer("A") == ["OK Success login ok"]
    with served.client(log_in=False) as client:
        assert client.do(f'LOGIN {ADDRESS} "a \\"b\\\\"') == ["OK Success login ok"]


def test_a_frozen_mailbox_ends_its_sessions(served: Served, client: RawClient) -> None:
    served.box.disabled = True
    assert client.do("NOOP") == ["* BYE Connection closed by server", ""]


def test_the_wire_log_never_holds_a_password(served: Served) -> None:
    served.put(MAIL)
    plain = base64.b64encode(f"\0{ADDRESS}\0{served.password}".encode()).decode()
    with served.client() as client:
        client.do("SELECT INBOX")
        client.do("FETCH 1 BODY.PEEK[]")
    with served.client(log_in=False) as client:
        client.do(f"AUTHENTICATE PLAIN {plain}")
    with served.client(log_in=False) as client:
        client.send("A AUTHENTICATE PLAIN\r\n")
        client.line()
        client.send(plain + "\r\n")
        client.answer("A")
    with served.client(log_in=False) as client:
        client.do(f"LOGIN {ADDRESS} {{{len(served.password)}+}}\r\n{served.password}")
        client.do(f"LOGON {ADDRESS} {served.password}")
        client.do(f'LOGIN "{ADDRESS} {served.password}')
    text = "\n".join(map(str, served.lines))
    assert served.password not in text
    assert plain not in text
    assert "Noon?" not in text
    assert (ADDRESS, "client", "T2 SELECT INBOX") in served.lines
    assert ("", "client", "T1 LOGIN ***") in served.lines
    assert (ADDRESS, "server", "* 1 FETCH (BODY[] {108}" + " )") in [
        (user, direction, re.sub(r"\{\d+\}", "{108}", line)) for user, direction, line in served.lines
    ]


# ------------------------------------------------------------------ folders


def test_fresh_mailbox_lists_as_exmail_does(client: RawClient) -> None:
    assert client.do('LIST "" "*"') == [
        f'* LIST (\\NoSelect \\HasNoChildren) "/" "{ROOT_WIRE}"',
        '* LIST (\\HasNoChildren) "/" "INBOX"',
        '* LIST (\\HasNoChildren) "/" "Sent Messages"',
        '* LIST (\\HasNoChildren) "/" "Drafts"',
        '* LIST (\\HasNoChildren) "/" "Deleted Messages"',
        '* LIST (\\HasNoChildren) "/" "Junk"',
        "OK LIST completed",
    ]
    assert client.do('LIST "" ""')[0] == '* LIST (\\NoSelect) "/" ""'


def test_custom_folders_live_under_the_root(served: Served, independent: IMAPClient) -> None:
    with pytest.raises(IMAPClientError, match="Create folder failed"):
        independent.create_folder("Backup")
    with pytest.raises(IMAPClientError, match="Create folder failed"):
        independent.create_folder(f"{ROOT}2")
    name = f'{ROOT}/备份&测试/子 "one" \\ two'
    independent.create_folder(name)
    names = [folder for _, _, folder in independent.list_folders()]
    assert names == [ROOT, *SYSTEM_FOLDERS, f"{ROOT}/备份&测试", name]
    assert [folder for _, _, folder in independent.list_folders("", "%")] == [ROOT, *SYSTEM_FOLDERS]
    flags = {folder: flags for flags, _, folder in independent.list_folders()}
    assert flags[ROOT] == (b"\\NoSelect", b"\\HasChildren")
    with pytest.raises(IMAPClientError, match="already exists"):
        independent.create_folder(name)
    with pytest.raises(IMAPClientError, match="Folder not exist!"):
        independent.select_folder(ROOT)
    with pytest.raises(IMAPClientError, match="only be deleted in webmail"):
        independent.delete_folder(name)
    independent.unsubscribe_folder(name)
    assert name not in [folder for _, _, folder in independent.list_sub_folders()]
    independent.subscribe_folder(name)
    assert name in [folder for _, _, folder in independent.list_sub_folders()]
    served.server.faults["delete_refused"] = False
    with pytest.raises(IMAPClientError, match="children"):
        independent.delete_folder(f"{ROOT}/备份&测试")
    with pytest.raises(IMAPClientError, match="System folder"):
        independent.delete_folder("Junk")
    independent.create_folder(f"{ROOT}/for a moment")
    independent.delete_folder(f"{ROOT}/for a moment")
    assert f"{ROOT}/for a moment" not in served.box.folders
    served.server.faults["top_level_refused"] = False
    independent.create_folder("Archive")
    assert independent.folder_exists("Archive")
    independent.select_folder(name)
    assert set(served.box.counts()) >= {name, f"{ROOT}/备份&测试", "Archive"}


def test_modified_utf7_agrees_with_imapclient() -> None:
    """Written independently of ours (RFC 3501, 5.1.3)."""
    chooser = random.Random(3)
    alphabet = 'ab &-/\\"+,~其他文件夹备份测试é\u00a0😀\t'
    for _ in range(2000):
        name = "".join(chooser.choice(alphabet) for _ in range(chooser.randrange(12)))
        assert utf7.encode(name).encode("ascii") == imap_utf7.encode(name)
        assert utf7.decode(utf7.encode(name)) == name


@pytest.mark.parametrize(
    "wire", ["&", "a&b", "&WQ-", "&AGE-", "&kK4-&VMw-", "&2D0-", "&&-", "&UXZO1mWHTvZZOQ", "\u00e9"]
)
def test_broken_modified_utf7_is_noticed(wire: str) -> None:
    with pytest.raises(ValueError, match="not modified UTF-7"):
        utf7.decode(wire)


def test_names_on_the_wire(served: Served, client: RawClient) -> None:
    """Spaces want quotes, 8-bit names and broken encodings are refused, nothing breaks the connection."""
    assert client.do("SELECT Sent Messages") == ["BAD Select parameters!"]
    assert client.do("EXAMINE Sent Messages") == ["BAD EXAMINE parameters!"]
    assert client.do('SELECT "Sent Messages"')[-1].startswith("OK [READ-WRITE]")
    assert client.do('SELECT "其他文件夹"') == ["BAD Select parameters!"]
    assert client.do(f'CREATE "{ROOT_WIRE}/&WQ-"') == ["NO Folder name is invalid"]
    assert client.do(f'CREATE "{ROOT_WIRE}/R&D"') == ["NO Folder name is invalid"]
    assert client.do(f'CREATE "{ROOT_WIRE}//a"') == ["NO Folder name is invalid"]
    assert client.do(f'CREATE "{ROOT_WIRE}/R&-D/"') == ["OK CREATE completed"]
    assert client.do("SELECT inbox")[-1].startswith("OK")
    client.send("A SELECT {13}\r\n")
    assert client.line().startswith("+")
    client.send("Sent Messages\r\n")
    assert client.answer("A")[-1].startswith("OK")
    served.do(lambda: served.box.add_folder(f"{ROOT}/broken", wire=f"{ROOT_WIRE}/&WQ-").add(MAIL, NOW))
    assert f'* LIST (\\HasNoChildren) "/" "{ROOT_WIRE}/&WQ-"' in client.do('LIST "" "*"')
    assert "* 1 EXISTS" in client.do(f'SELECT "{ROOT_WIRE}/&WQ-"')
    assert client.do(f'SELECT "{ROOT_WIRE}/broken"') == ["NO Folder not exist!"]


def test_hidden_custom_folders_show_after_a_new_login(served: Served) -> None:
    """imap-quirks 16, 17."""
    name = f"{ROOT}/项目"
    wire = utf7.encode(name)
    served.put(MAIL, folder=name)
    served.box.show_custom = False
    with served.client() as client:
        assert [line.split('"')[3] for line in client.do('LIST "" "*"')[:-1]] == list(SYSTEM_FOLDERS)
        assert client.do(f'SELECT "{wire}"') == ["NO Folder not exist!"]
        assert client.do(f'STATUS "{wire}" (MESSAGES)') == ["NO Folder not exist!"]
        assert client.append(wire, MAIL) == "NO [TRYCREATE] Folder not exist!"
        assert client.do(f'CREATE "{wire}"') == ["NO Folder already exists!"]
        served.box.show_custom = True
        assert client.do(f'SELECT "{wire}"') == ["NO Folder not exist!"]
    with served.client() as client:
        assert "* 1 EXISTS" in client.do(f'SELECT "{wire}"')


def test_the_window_of_thirty_days(served: Served) -> None:
    """imap-quirks 15: older mail is not there at all, until the setting changes and somebody logs in again."""
    served.put(MAIL, days_ago=100)
    served.put(MAIL, days_ago=30.1)
    served.put(MAIL, days_ago=29.9, flags=("\\Seen",))
    served.put(MAIL, days_ago=1)
    served.box.window_days = 30
    with served.client() as client:
        assert "* 2 EXISTS" in client.do("EXAMINE INBOX")
        assert re.findall(r"UID (\d+)", str(client.do("UID FETCH 1:* (FLAGS)"))) == ["3", "4"]
        assert client.do("UID FETCH 1 (BODY.PEEK[])") == ["OK FETCH completed"]
        assert client.do("STATUS INBOX (MESSAGES UNSEEN)")[0] == '* STATUS "INBOX" (MESSAGES 2 UNSEEN 1)'
        assert client.do("SEARCH ALL")[0] == "* SEARCH 1 2"
        served.box.window_days = None
        assert "* 2 EXISTS" in client.do("EXAMINE INBOX")
    with served.client() as client:
        assert "* 4 EXISTS" in client.do("EXAMINE INBOX")
        assert client.do("STATUS INBOX (MESSAGES UNSEEN)")[0] == '* STATUS "INBOX" (MESSAGES 4 UNSEEN 3)'
    served.box.window_days = 30
    served.clock.advance(days=1)
    with served.client() as client:
        assert "* 1 EXISTS" in client.do("EXAMINE INBOX")
    assert served.box.counts()["INBOX"] == 4


def test_status_and_select(served: Served, client: RawClient) -> None:
    served.put(MAIL, MAIL)
    served.put(MAIL, flags=("\\Seen", "Work"))
    validity = served.box.folders["INBOX"].uidvalidity
    assert client.do("STATUS INBOX (UIDNEXT MESSAGES UNSEEN UIDVALIDITY RECENT)")[0] == (
        f'* STATUS "INBOX" (UIDNEXT 4 MESSAGES 3 UNSEEN 2 UIDVALIDITY {validity} RECENT 0)'
    )
    assert client.do("STATUS INBOX (SIZE)") == ["BAD STATUS parameters!"]
    assert client.do("SELECT INBOX") == [
        "* 3 EXISTS",
        "* 0 RECENT",
        f"* OK [UIDVALIDITY {validity}] UID validity status",
        "* OK [UIDNEXT 4] Predicted next UID",
        "* FLAGS (\\Answered \\Flagged \\Deleted \\Draft \\Seen)",
        "* OK [PERMANENTFLAGS (\\* \\Answered \\Flagged \\Deleted \\Draft \\Seen)] Permanent flags",
        "OK [READ-WRITE] SELECT complete",
    ]
    assert served.box.unread() == 2
    assert len({folder.uidvalidity for folder in served.box.folders.values()}) == len(SYSTEM_FOLDERS)


# ------------------------------------------------------------------ reading


def test_bodies_come_back_byte_for_byte(served: Served, independent: IMAPClient) -> None:
    chooser = random.Random(5)
    raws = [
        MAIL,
        b"",
        b"no header at all",
        b"\r\nonly a body\r\n",
        b"Subject: no final line end\r\n\r\nx",
        b"Subject: \xc4\xe3\xba\xc3\r\n\r\n\xc4\xe3\0\r\n",
        b"Subject: bare\n\nlines\nof LF\n",
        bytes(chooser.randrange(256) for _ in range(5000)),
        b"Subject: big\r\n\r\n" + b"0123456789abcdef\r\n" * 60_000,
    ]
    uids = served.put(*raws)
    independent.select_folder("INBOX", readonly=True)
    got = independent.fetch(uids, ["BODY.PEEK[]", "RFC822.SIZE"])
    assert [got[uid][b"BODY[]"] for uid in uids] == raws
    assert [got[uid][b"RFC822.SIZE"] for uid in uids] == [len(raw) for raw in raws]
    for uid in uids:
        header, text = (independent.fetch(uid, [f"BODY.PEEK[{name}]"])[uid] for name in ("HEADER", "TEXT"))
        assert header[b"BODY[HEADER]"] + text[b"BODY[TEXT]"] == raws[uids.index(uid)]


def test_flags_dates_and_seen(served: Served, independent: IMAPClient) -> None:
    when = datetime(2015, 1, 4, 3, 2, 1, tzinfo=timezone(timedelta(hours=-5)))
    uid = served.do(lambda: served.box.put("INBOX", MAIL, when, ("Work", "\\Flagged")))
    independent.normalise_times = False
    independent.select_folder("INBOX")
    got = independent.fetch(uid, ["FLAGS", "INTERNALDATE"])[uid]
    assert got[b"INTERNALDATE"] == when
    assert set(got[b"FLAGS"]) == {b"Work", b"\\Flagged"}
    independent.fetch(uid, ["BODY.PEEK[]"])
    assert "\\Seen" not in served.box.message("INBOX", uid).flags
    assert b"\\Seen" in independent.fetch(uid, ["BODY[TEXT]"])[uid][b"FLAGS"]
    assert "\\Seen" in served.box.message("INBOX", uid).flags
    independent.remove_flags(uid, ["\\Seen", "work"])
    independent.select_folder("INBOX", readonly=True)
    independent.fetch(uid, ["RFC822"])
    assert served.box.message("INBOX", uid).flags == {"Work", "\\Flagged"}
    with pytest.raises(IMAPClientError, match="read-only"):
        independent.add_flags(uid, ["\\Seen"])


def test_partials_headers_and_parts(served: Served, client: RawClient) -> None:
    inner = b"Subject: inner\r\n\r\ninside\r\n"
    raw = (
        b"From: a@corp.test\r\nSubject: folded\r\n line\r\nX: 1\r\n"
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\npreamble\r\n'
        b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n\r\n" + inner + b"\r\n--b--\r\nepilogue\r\n"
    )
    served.put(raw, MAIL)
    client.do("EXAMINE INBOX")

    def section(name: str, number: int = 1) -> str:
        line = client.do(f"FETCH {number} (BODY.PEEK[{name}])")[0]
        return re.sub(r"^\* \d+ FETCH \(BODY\[.*?\] ?(<\d+>)? ?(\{\d+\}\r\n)?", "", line, flags=re.DOTALL)[:-1]

    assert section("HEADER.FIELDS (subject from)") == "From: a@corp.test\r\nSubject: folded\r\n line\r\n\r\n"
    assert section("HEADER.FIELDS.NOT (Content-Type FROM X)") == "Subject: folded\r\n line\r\n\r\n"
    assert section("1") == "hello"
    assert section("1.MIME") == "Content-Type: text/plain; charset=utf-8\r\n\r\n"
    assert section("2") == inner.decode()
    assert section("2.HEADER") == "Subject: inner\r\n\r\n"
    assert section("2.TEXT") == "inside\r\n"
    assert section("2.1") == "inside\r\n"
    assert section("3") == "NIL"
    assert section("1", 2) == "Noon?\r\n"
    assert client.do("FETCH 2 (BODY.PEEK[]<6.3>)")[0] == "* 2 FETCH (BODY[]<6> {3}\r\nMei)"
    assert client.do("UID FETCH 2 BODY.PEEK[]<9999.5>")[0] == "* 2 FETCH (UID 2 BODY[]<9999> {0}\r\n)"
    for wrong in ("BODY.PEEK[NONSENSE]", "(UID", "BODY.PEEK[HEADER.FIELDS ()]", "(UID FOO)", "()", "BODY[]<5>"):
        assert client.do(f"FETCH 1 {wrong}") == ["BAD FETCH parameters!"]
    assert client.do("UID FETCH 1 (BODY.PEEK[1") == ["BAD UID parameters!"]


def test_envelope_and_bodystructure_are_read_by_others(served: Served, independent: IMAPClient) -> None:
    raw = (
        b'From: "Ling \\"L\\" (Sales)" <ling@corp.test>\r\nTo: =?utf-8?B?5YeM?= <a@corp.test>, b@corp.test\r\n'
        b"Subject: \xc4\xe3 (8-bit)\r\nDate: Tue, 24 Nov 2026 08:00:00 +0800\r\nMessage-ID: <7@corp.test>\r\n"
        b'Content-Type: multipart/mixed; boundary="b b"\r\n\r\n'
        b"--b b\r\nContent-Type: text/plain; charset=gbk\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xc4\xe3\r\n\r\n"
        b'--b b\r\nContent-Type: application/pdf; name="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n'
        b"--b b--\r\n"
    )
    uids = served.put(raw, MAIL, b"", b"Content-Type: multipart/mixed\r\n\r\nbroken", b"From: <<<a@>\r\n\r\n")
    independent.select_folder("INBOX", readonly=True)
    got = independent.fetch(uids, ["ENVELOPE", "BODYSTRUCTURE", "BODY"])
    envelope = got[1][b"ENVELOPE"]
    assert envelope.from_[0].name == b'Ling "L" (Sales)'
    assert [address.host for address in envelope.to] == [b"corp.test", b"corp.test"]
    assert envelope.subject == b"\xc4\xe3 (8-bit)"
    assert envelope.sender == envelope.from_
    structure = got[1][b"BODYSTRUCTURE"]
    assert structure.is_multipart
    parts, kind = structure
    assert kind == b"MIXED"
    assert parts[0] == (b"TEXT", b"PLAIN", (b"CHARSET", b"gbk"), None, None, b"8BIT", 4, 1)
    assert parts[1][:2] == (b"APPLICATION", b"PDF")
    assert not got[4][b"BODYSTRUCTURE"].is_multipart
    assert got[3][b"ENVELOPE"].subject is None


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ("1:*", [2, 4, 5, 9]),
        ("*", [9]),
        ("100:*", [9]),
        ("3:5", [4, 5]),
        ("1,2,9,5:6", [2, 5, 9]),
        ("3", []),
        ("4:4,4", [4]),
    ],
)
def test_uid_sets(served: Served, client: RawClient, numbers: str, expected: list[int]) -> None:
    served.server.faults["bad_uid_parameters"] = False
    served.put(*[MAIL] * 9)
    for gone in (1, 3, 6, 7, 8):
        served.do(partial(served.box.folders["INBOX"].expunge, gone))
    client.do("EXAMINE INBOX")
    lines = client.do(f"UID FETCH {numbers} (FLAGS)")
    assert [int(uid) for uid in re.findall(r"UID (\d+)", str(lines))] == expected
    assert all(line.startswith(f"* {[2, 4, 5, 9].index(uid) + 1} ") for line, uid in zip(lines, expected, strict=False))


def test_search_ignores_keys_until_told_otherwise(served: Served, client: RawClient) -> None:
    """exmail-behaviour 7.5."""
    served.put(MAIL, days_ago=400)
    served.put(b"From: ling@corp.test\r\nSubject: Plan\r\n\r\n" + b"x" * 500, flags=("\\Seen", "Work"))
    client.do("EXAMINE INBOX")
    assert client.do("UID SEARCH SUBJECT absent-word SINCE 1-Jan-2030")[0] == "* SEARCH 1 2"
    assert client.do("SEARCH CHARSET UTF-8 TEXT x")[0] == "* SEARCH 1 2"
    assert client.do("SEARCH") == ["BAD SEARCH parameters!"]
    served.server.faults["search_ignores_keys"] = False
    for keys, expected in {
        "ALL": "1 2",
        "SEEN": "2",
        "UNSEEN UNDELETED": "1",
        "KEYWORD Work": "2",
        "SUBJECT pla": "2",
        "HEADER Message-ID 1@corp": "1",
        "TEXT noon": "1",
        "BODY lunch": "",
        "LARGER 400": "2",
        "SINCE 1-Nov-2026": "2",
        "BEFORE 1-Nov-2026": "1",
        "NOT FROM ling": "1",
        "OR FROM ling TEXT noon": "1 2",
        "UID 2:*": "2",
        "1 (SEEN)": "",
    }.items():
        assert client.do(f"SEARCH {keys}")[0].removeprefix("* SEARCH").strip() == expected, keys
    assert client.do("SEARCH NONSENSE 1") == ["BAD SEARCH parameters!"]


# ------------------------------------------------------------------ writing


def test_append_by_imapclient(served: Served, independent: IMAPClient) -> None:
    when = datetime(2019, 3, 9, 23, 59, 58, tzinfo=UTC)
    independent.create_folder(f"{ROOT}/备份")
    answer = independent.append(f"{ROOT}/备份", MAIL, ("\\Seen", "Work"), when)
    folder = served.box.folders[f"{ROOT}/备份"]
    assert answer == b"[APPENDUID %d 1] APPEND completed" % folder.uidvalidity
    message = folder.messages[1]
    assert (message.raw, message.flags, message.date) == (MAIL, frozenset({"\\Seen", "Work"}), when)
    assert served.box.used_bytes == folder.size_bytes == len(MAIL)
    assert served.box.unread() == 0


def test_append_by_imaplib(served: Served) -> None:
    client = imaplib.IMAP4("127.0.0.1", served.port, timeout=20)
    client.login(ADDRESS, served.password)
    assert client.append('"Sent Messages"', "(\\Seen)", '" 4-Jan-2015 01:02:03 +0800"', MAIL)[0] == "OK"
    assert client.append("Drafts", "", "", MAIL)[0] == "OK"
    assert client.select('"Sent Messages"') == ("OK", [b"1"])
    kind, data = client.uid("FETCH", "1", "(FLAGS INTERNALDATE BODY.PEEK[])")
    assert kind == "OK"
    assert data[0][1] == MAIL
    assert b'INTERNALDATE " 4-Jan-2015 01:02:03 +0800"' in data[0][0]
    assert client.store("1", "+FLAGS", "\\Deleted")[0] == "OK"
    assert client.expunge() == ("OK", [b"1"])
    assert client.logout()[0] == "BYE"
    assert served.box.counts() == dict.fromkeys(SYSTEM_FOLDERS, 0) | {"Drafts": 1}
    assert served.box.message("Drafts", 1).date == NOW


def test_append_is_refused_instead_of_the_continuation(served: Served, client: RawClient) -> None:
    """imap-quirks 69, 76."""
    served.box.quota_bytes = 2 * len(MAIL)
    assert client.append("Nowhere", MAIL) == "NO [TRYCREATE] Folder not exist!"
    assert client.append(ROOT_WIRE, MAIL) == "NO [TRYCREATE] Folder not exist!"
    assert client.append("INBOX", MAIL, "(\\Forwarded) ") == "BAD Invalid system flag \\Forwarded"
    assert client.append("INBOX", MAIL, '"yesterday" ') == "BAD APPEND parameters!"
    assert client.append("INBOX", MAIL).startswith("OK")
    assert client.append("INBOX", MAIL).startswith("OK")
    assert client.append("INBOX", MAIL) == "NO [OVERQUOTA] Mailbox is full"
    assert served.box.counts()["INBOX"] == 2


def test_non_synchronising_literals_are_refused_until_announced(served: Served, client: RawClient) -> None:
    data = b"APPEND INBOX {%d+}\r\n%b" % (len(MAIL), MAIL)
    assert client.do(data) == ["BAD APPEND parameters!"]
    assert client.do(b"SELECT {5+}\r\nINBOX") == ["BAD Select parameters!"]
    assert client.do("NOOP") == ["OK NOOP completed"]
    served.server.faults["literal_plus"] = True
    assert client.do("CAPABILITY")[0].endswith(" LITERAL+ MULTIAPPEND")
    assert client.do(data)[-1].endswith(" 1] APPEND completed")
    several = b"APPEND INBOX (\\Seen) {%d+}\r\n%b (Work) {%d+}\r\n%b" % (len(MAIL), MAIL, 3, b"two")
    assert client.do(several)[-1].endswith(" 2:3] APPEND completed")
    assert [message.raw for message in served.box.folders["INBOX"].messages.values()] == [MAIL, MAIL, b"two"]
    assert served.box.message("INBOX", 3).flags == {"Work"}
    served.box.quota_bytes = served.box.used_bytes + 4
    several = b"APPEND INBOX {3+}\r\none {3+}\r\ntwo"
    assert client.do(several) == ["NO [OVERQUOTA] Mailbox is full"]
    assert served.box.counts()["INBOX"] == 3


def test_several_mails_in_one_append_are_refused_unless_announced(served: Served, client: RawClient) -> None:
    client.send("A APPEND INBOX {3}\r\n")
    assert client.line().startswith("+")
    client.send("one (Work) {3}\r\n")
    assert client.answer("A") == ["BAD APPEND parameters!"]
    assert client.do("NOOP") == ["OK NOOP completed"]
    assert served.box.counts()["INBOX"] == 0


def test_commands_sent_ahead_are_answered_in_order(served: Served, client: RawClient) -> None:
    served.put(*[MAIL] * 3)
    client.send("A EXAMINE INBOX\r\nB UID FETCH 1:2 (FLAGS)\r\nC NOOP\r\nD UID FETCH 3 (BODY.PEEK[])\r\nE LOGOUT\r\n")
    assert client.answer("A")[-1].startswith("OK [READ-ONLY]")
    assert [line[:9] for line in client.answer("B")] == ["* 1 FETCH", "* 2 FETCH", "OK FETCH "]
    assert client.answer("C") == ["OK NOOP completed"]
    assert len(client.answer("D")) == 2
    assert client.answer("E") == ["* BYE IMAP4Server logging out", "OK LOGOUT completed"]


def test_next_appends_command_line_may_ride_behind_the_literal(served: Served, client: RawClient) -> None:
    """One round trip a mail without LITERAL+ (imap-copy.md)."""
    client.send("A1 APPEND INBOX {3}\r\n")
    for number in range(1, 6):
        assert client.line().startswith("+")
        client.send(f"m{number}\n\r\nA{number + 1} APPEND INBOX {{3}}\r\n")
        assert client.answer(f"A{number}")[-1].endswith(f" {number}] APPEND completed")
    assert [message.raw for message in served.box.folders["INBOX"].messages.values()] == [
        f"m{number}\n".encode() for number in range(1, 6)
    ]


def test_store_expunge_copy_move(served: Served, independent: IMAPClient) -> None:
    served.put(*[MAIL] * 5)
    independent.select_folder("INBOX")
    assert independent.add_flags([1, 2], ["\\Deleted"]) == {1: (b"\\Deleted",), 2: (b"\\Deleted",)}
    independent.set_flags([3], ["\\Flagged", "Work"])
    independent.uid_expunge([2, 3])
    assert list(served.box.folders["INBOX"].messages) == [1, 3, 4, 5]
    independent.expunge()
    assert list(served.box.folders["INBOX"].messages) == [3, 4, 5]
    independent.copy([3, 5], "Junk")
    independent.move([4], "Drafts")
    assert served.box.counts() == {
        "INBOX": 2, "Sent Messages": 0, "Drafts": 1, "Deleted Messages": 0, "Junk": 2,
    }  # fmt: skip
    assert served.box.message("Junk", 1).flags == {"\\Flagged", "Work"}
    independent.add_flags([5], ["\\Deleted"])
    independent.close_folder()
    assert list(served.box.folders["INBOX"].messages) == [3]
    assert served.box.used_bytes == 4 * len(MAIL)


def test_news_of_others_comes_with_the_next_answer(served: Served, client: RawClient) -> None:
    served.put(*[MAIL] * 3)
    client.do("SELECT INBOX")
    with served.client() as other:
        other.do("SELECT INBOX")
        other.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        other.do("EXPUNGE")
        other.do("UID STORE 3 FLAGS (\\Seen)")
        assert other.append("INBOX", MAIL).startswith("OK")
    assert client.do("FETCH 2 (UID)") == [
        "* 2 FETCH (UID 2)",
        "* 3 FETCH (UID 3 FLAGS (\\Seen))",
        "* 4 EXISTS",
        "OK FETCH completed",
    ]
    assert client.do("UID FETCH 1 (FLAGS)") == ["* 1 EXPUNGE", "OK FETCH completed"]
    assert client.do("FETCH 3 (UID)")[0] == "* 3 FETCH (UID 4)"


def test_idle(served: Served, client: RawClient) -> None:
    client.do("SELECT INBOX")
    client.send("A IDLE\r\n")
    assert client.line() == "+ idling"
    served.put(MAIL)
    assert client.line() == "* 1 EXISTS"
    served.do(lambda: served.box.folders["INBOX"].expunge(1))
    assert client.line() == "* 1 EXPUNGE"
    client.send("DONE\r\nB NOOP\r\n")
    assert client.answer("A") == ["OK IDLE completed"]
    assert client.answer("B") == ["OK NOOP completed"]


def test_nothing_is_open_without_select(client: RawClient) -> None:
    assert client.do("FETCH 1 (UID)") == ["NO No folder selected!"]
    client.do("SELECT INBOX")
    assert client.do("SELECT Nowhere") == ["NO Folder not exist!"]
    assert client.do("UID FETCH 1 (UID)") == ["NO No folder selected!"]
    assert client.do("UID NONSENSE 1") == ["BAD UID parameters!"]


# ------------------------------------------------------------------ the server itself


def test_five_thousand_mails_and_commands_that_cost_what_they_ask_for(served: Served, client: RawClient) -> None:
    """What is asked of one mail looks at one mail, however many there are."""
    served.put(*[MAIL] * 5000)
    assert "* 5000 EXISTS" in client.do("SELECT INBOX")
    folder = served.box.folders["INBOX"]
    looks = 0

    class Counting(dict[int, Message]):
        def __getitem__(self, key: int) -> Message:
            nonlocal looks
            looks += 1
            return super().__getitem__(key)

        def items(self) -> NoReturn:
            raise AssertionError("the whole folder was read")

        def values(self) -> NoReturn:
            raise AssertionError("the whole folder was read")

    served.do(lambda: setattr(folder, "messages", Counting(folder.messages)))
    for command in ("UID FETCH 2500 (FLAGS)", "UID STORE 2500 +FLAGS (Work)", "STATUS INBOX (MESSAGES UNSEEN)", "NOOP"):
        assert client.do(command)[-1].startswith("OK")
    client.append("INBOX", MAIL)
    assert client.do("UID FETCH 5001 (UID)")[0] == "* 5001 FETCH (UID 5001)"
    assert looks < 20
    assert len(client.do("UID FETCH 1:5001 (UID FLAGS INTERNALDATE RFC822.SIZE)")) == 5002
    assert len(client.do("UID FETCH 1:500 (BODY.PEEK[])")) == 501


def test_mail_is_held_once(served: Served, client: RawClient) -> None:
    raw = MAIL + b"x"
    served.put(raw)
    client.do("SELECT INBOX")
    validity = served.box.folders["Junk"].uidvalidity
    assert client.do("UID COPY 1 Junk") == [f"OK [COPYUID {validity} 1 1] COPY completed"]
    assert served.box.message("INBOX", 1).raw is raw
    assert served.box.message("Junk", 1).raw is raw


def test_sessions_of_mailboxes_do_not_mix(served: Served) -> None:
    other = served.do(lambda: served.server.add("ling@corp.test"))
    other.mint()
    served.do(lambda: other.put("INBOX", b"Subject: hers\r\n\r\n", NOW))
    served.put(MAIL)
    with served.client() as mine, served.client(box=other) as hers:
        for client, raw in ((mine, MAIL), (hers, b"Subject: hers\r\n\r\n")):
            client.do("SELECT INBOX")
            assert raw.decode() in client.do("UID FETCH 1:* (BODY.PEEK[])")[0]


def test_rename_remove_restore(served: Served) -> None:
    served.put(MAIL)
    with pytest.raises(ValueError, match="taken"):
        served.server.add(ADDRESS.upper())
    box = served.server.rename(ADDRESS, "Alex@corp.test")
    assert served.server.mailbox(ADDRESS) is None
    assert served.server.mailbox("alex@CORP.test") is box
    with served.client() as client:
        assert "* 1 EXISTS" in client.do("SELECT INBOX")
        removed = served.server.remove("alex@corp.test")
        assert client.do("NOOP") == ["* BYE Connection closed by server", ""]
    served.server.restore(removed)
    with pytest.raises(ValueError, match="taken"):
        served.server.restore(removed)
    with served.client() as client:
        assert "* 1 EXISTS" in client.do("SELECT INBOX")


def test_stop_closes_every_line_and_start_listens_again(served: Served) -> None:
    served.put(MAIL)
    client = served.client()
    port = served.port
    served.run(served.server.stop())
    assert client.is_cut()
    client.close()
    with pytest.raises(ConnectionRefusedError):
        RawClient(port)
    served.run(served.server.start())
    with served.client() as again:
        assert "* 1 EXISTS" in again.do("SELECT INBOX")


@pytest.mark.parametrize(
    "hostile",
    [
        b"\r\n",
        b"\0\0\0\r\n",
        b"A\r\n",
        b"A \r\n",
        b"(((\r\n",
        b"A LOGIN {-1}\r\n",
        b"A LOGIN {\r\n",
        b'A LOGIN "\r\n',
        b"A FETCH 99999999999999999999:* (\r\n",
        b"A UID\r\n",
        b"A APPEND\r\n",
        b"A APPEND {0}\r\n\r\n",
        b"A APPEND INBOX\r\n",
        b"A APPEND INBOX ({3}\r\n",
        b"A STORE 0 FLAGS ()\r\n",
        b'A LIST "" {3}\r\n(((\r\n',
        b"A STATUS INBOX ()\r\n",
        b"A SEARCH\r\n",
        b"A UID FETCH 0 (UID)\r\n",
        b"A IDLE x\r\n",
        b"A AUTHENTICATE PLAIN ====\r\n",
    ],
)
@pytest.mark.parametrize("log_in", [True, False])
def test_nonsense_does_not_hurt(served: Served, hostile: bytes, log_in: bool) -> None:
    """Whatever a client writes: an answer, or the line closes; the server goes on."""
    served.server.faults["search_ignores_keys"] = False
    served.put(MAIL)
    with served.client(log_in=log_in) as client:
        if log_in:
            client.do("SELECT INBOX")
        client.send(hostile)
        client.send("Z NOOP\r\n")
        assert client.answer("Z")[-1] in ("OK NOOP completed", "")
    with served.client() as client:
        assert client.do("NOOP") == ["OK NOOP completed"]


def test_a_line_without_end_closes_the_connection(served: Served) -> None:
    with served.client() as client:
        with contextlib.suppress(ConnectionError):
            client.send(b"x" * 10_000_000)
        assert client.is_cut()


def test_nothing_watches_a_folder_that_nobody_has_open(served: Served) -> None:
    folder = served.box.folders["INBOX"]
    with served.client() as client:
        client.do("SELECT INBOX")
        client.do("EXAMINE INBOX")
        assert len(folder.watchers) == 1
        client.do("SELECT Drafts")
        assert folder.watchers == []
        client.do("SELECT INBOX")
        client.do("LOGOUT")
    assert folder.watchers == []
    assert served.box.sessions == 0


def test_dates_are_aware_and_whole_seconds() -> None:
    box = MailServer(FixedClock()).add(ADDRESS)
    with pytest.raises(ValueError, match="time zone"):
        box.put("INBOX", MAIL, datetime(2026, 1, 1))  # noqa: DTZ001 -- that is the point
    uid = box.put("INBOX", MAIL, NOW.replace(microsecond=7))
    assert box.message("INBOX", uid).date == NOW
    with pytest.raises(ValueError, match="no folder"):
        box.put(ROOT, MAIL, NOW)


MBSYNC = """
IMAPAccount sandbox
Host 127.0.0.1
Port {port}
User {user}
Pass {password}
SSLType None
AuthMechs LOGIN

IMAPStore far
Account sandbox

MaildirStore near
Path {folder}/near/
Inbox {folder}/near/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Sync All
CopyArrivalDate yes
SyncState {folder}/state-
"""


def test_mbsync_reads_and_writes(served: Served, tmp_path: Path) -> None:
    """Another client none of us wrote: every folder and mail comes down, and what is new there goes up."""
    folder = "其他文件夹/项目 & 归档"
    served.put(MAIL, b"Subject: two\r\n\r\n" + "二\r\n".encode(), flags=("\\Seen", "\\Flagged"), days_ago=400)
    served.put(b"Subject: three\r\n\r\nx\r\n", folder=folder)
    (tmp_path / "near").mkdir()
    file = tmp_path / "mbsyncrc"
    file.write_text(MBSYNC.format(port=served.port, user=ADDRESS, password=served.password, folder=tmp_path))
    file.chmod(0o600)

    def sync() -> None:
        done = subprocess.run(["mbsync", "-c", file, "-a"], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    def bodies(where: Path) -> list[str]:
        """Without the line that mbsync adds."""
        texts = [each.read_text() for each in sorted(where.rglob("*")) if each.parent.name in ("cur", "new")]
        return sorted(re.sub("X-TUID: .*\n", "", text) for text in texts)

    sync()
    near = tmp_path / "near"
    assert bodies(near / "INBOX") == sorted([MAIL.decode().replace("\r\n", "\n"), "Subject: two\n\n二\n"])
    assert bodies(near / folder) + bodies(near / utf7.encode(folder)) == ["Subject: three\n\nx\n"]
    names = [each.name for each in (near / "INBOX").rglob("*") if each.is_file() and ":2," in each.name]
    assert sorted(name.partition(":2,")[2] for name in names) == ["FS", "FS"]

    (near / "INBOX" / "cur" / "1.new.here:2,S").write_text("Subject: four\n\ny\n")
    sync()
    assert served.box.counts()["INBOX"] == 3
    mail = served.box.message("INBOX", 3)
    assert re.sub(rb"X-TUID: .*\r\n", b"", mail.raw) == b"Subject: four\r\n\r\ny\r\n"
    assert mail.flags == {"\\Seen"}
