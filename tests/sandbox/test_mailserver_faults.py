"""Every fault of the simulated mail server strikes as its line in FAULTS says, and only then."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from imapclient import IMAPClient

from bot.sandbox.mailserver import FACE, FAULTS, LOGIN_FAIL, NUMBERS, TROUBLES, Faults
from tests.sandbox.harness import ADDRESS, MAIL, NOW, RawClient, Served, serving

ROOT_WIRE = "&UXZO1mWHTvZZOQ-"
BUSY = "NO System busy!"
BYE = "* BYE System busy!"


@pytest.fixture
def served() -> Iterator[Served]:
    with serving() as running:
        running.put(MAIL, MAIL, MAIL)
        yield running


@pytest.fixture
def client(served: Served) -> Iterator[RawClient]:
    """A client with INBOX open and three mails in it."""
    with served.client() as connected:
        connected.do("SELECT INBOX")
        yield connected


def log_in(served: Served) -> str:
    with served.client(log_in=False) as client:
        return client.do(f"LOGIN {ADDRESS} {served.password}")[-1]


# ------------------------------------------------------------------ the switches themselves


def test_switches_count_down_wait_and_choose() -> None:
    faults = Faults()
    faults["busy"] = 2
    assert [faults.trips("busy") for _ in range(3)] == [True, True, None]
    faults["busy"] = True
    assert all(faults.trips("busy") for _ in range(5))
    faults["busy"] = False
    assert [faults.trips("busy") for _ in range(2)] == [False, False]
    faults.arm("hang", times=1, after=2, command="UID FETCH")
    assert faults.trips("hang", "NOOP") is None
    assert [faults.trips("hang", "UID FETCH") for _ in range(4)] == [False, False, True, None]
    faults["size_limit"] = True
    assert faults.value("size_limit") == NUMBERS["size_limit"]
    faults["size_limit"] = 77
    assert faults["size_limit"] == faults.value("size_limit") == 77
    faults["size_limit"] = 0
    assert faults.value("size_limit") == 0
    assert faults["size_limit"] is False
    assert faults.value("slow") is None
    with pytest.raises(KeyError):
        faults["no_such_fault"] = True


def test_face_is_on_for_a_server_and_comes_back() -> None:
    faults = Faults(FACE)
    assert dict(faults) == dict.fromkeys(FACE, True)
    faults["busy"] = 3
    del faults[FACE[0]]
    faults.clear()
    assert dict(faults) == dict.fromkeys(FACE, True)


def test_a_mailbox_has_the_last_word(served: Served, client: RawClient) -> None:
    served.server.faults["busy"] = True
    served.box.faults["busy"] = False
    assert client.append("INBOX", MAIL).startswith("OK")
    del served.box.faults["busy"]
    assert client.append("INBOX", MAIL) == BUSY


def test_every_fault_and_trouble_has_a_test() -> None:
    text = Path(__file__).read_text("utf-8") + Path(__file__).with_name("test_mailserver.py").read_text("utf-8")
    assert [name for name in [*FAULTS, *TROUBLES] if f'"{name}"' not in text] == []
    assert set(FACE) | set(NUMBERS) <= set(FAULTS)


# ------------------------------------------------------------------ commands in general


def test_busy(served: Served, client: RawClient) -> None:
    served.box.faults["busy"] = 4
    assert client.append("INBOX", MAIL) == BUSY
    assert client.do("UID STORE 1 +FLAGS (\\Seen)") == [BUSY]
    assert client.do("UID COPY 1 Junk") == [BUSY]
    assert client.do("EXPUNGE") == [BUSY]
    assert client.append("INBOX", MAIL).startswith("OK")
    assert served.box.counts()["INBOX"] == 4


def test_hang(served: Served, client: RawClient) -> None:
    served.box.faults.arm("hang", times=1, after=1, command="UID FETCH")
    assert client.do("UID FETCH 1 (FLAGS)")[-1] == "OK FETCH completed"
    assert client.do("NOOP") == ["OK NOOP completed"]
    client.send("A UID FETCH 1 (FLAGS)\r\nB NOOP\r\n")
    assert client.is_silent()
    with served.client() as other:
        assert other.do("NOOP") == ["OK NOOP completed"]


def test_bad_untagged(served: Served, client: RawClient) -> None:
    served.box.faults["bad_untagged"] = 1
    client.send("A NOOP\r\nB NOOP\r\n")
    assert client.answer("B") == ["* BAD Command!", "OK NOOP completed"]


def test_bye(served: Served, client: RawClient) -> None:
    served.box.faults["bye"] = 1
    assert client.do("NOOP") == [BYE, ""]
    assert log_in(served).startswith("OK")


def test_drop_on_command_and_after(served: Served) -> None:
    for fault, left in (("drop_on_command", frozenset()), ("drop_after_command", {"\\Seen"})):
        served.box.faults.arm(fault, times=1, after=2)
        with served.client() as client:  # the login is the first occasion once the mailbox is known
            while client.do("SELECT INBOX")[-1]:
                pass
        served.box.faults.arm(fault, times=1, command="UID STORE")
        with served.client() as client:
            client.do("SELECT INBOX")
            assert client.do("UID STORE 1 FLAGS (\\Seen)") == [""]
        assert served.box.message("INBOX", 1).flags == left


def test_long_line_dropped(served: Served, client: RawClient) -> None:
    served.box.faults["long_line_dropped"] = True
    uids = ",".join(str(uid) for uid in range(10_000, 11_000))
    client.send(f"A UID FETCH {uids} (FLAGS)\r\n")
    assert client.is_silent()
    assert client.do("NOOP") == ["OK NOOP completed"]
    assert client.do(f"UID FETCH {uids[:4_999].rpartition(',')[0]} (FLAGS)")[-1].startswith("OK")


def test_pipelining_lost(served: Served, client: RawClient) -> None:
    served.box.faults["pipelining_lost"] = True
    client.send("A APPEND INBOX {3}\r\n")
    assert client.line().startswith("+")
    client.send("one\r\nB APPEND INBOX {3}\r\n")
    assert client.answer("A")[-1].startswith("OK")
    assert client.is_silent()
    assert client.append("INBOX", b"two").startswith("OK")


def test_latency_and_slow(served: Served, client: RawClient) -> None:
    served.box.faults["latency_ms"] = 60
    start = time.monotonic()
    client.do("NOOP")
    assert time.monotonic() - start >= 0.06
    del served.box.faults["latency_ms"]
    served.put(b"x" * 20_000)
    served.box.faults["slow"] = 100_000
    client.do("NOOP")
    start = time.monotonic()
    assert "x" * 20_000 in client.do("UID FETCH 4 (BODY.PEEK[])")[0]
    assert time.monotonic() - start >= 0.2


# ------------------------------------------------------------------ login


def test_login_throttled(served: Served) -> None:
    served.box.faults["login_throttled"] = 2
    assert [log_in(served) for _ in range(3)] == [f"NO {LOGIN_FAIL}", f"NO {LOGIN_FAIL}", "OK Success login ok"]


def test_login_limit_counts_on_the_servers_clock(served: Served) -> None:
    served.server.faults["login_limit"] = 2
    assert [log_in(served)[:2] for _ in range(4)] == ["OK", "OK", "NO", "NO"]
    served.clock.advance(seconds=61)
    assert log_in(served).startswith("OK")


def test_connections_max(served: Served) -> None:
    served.server.faults["connections_max"] = 2
    with served.client(), served.client() as second:
        assert log_in(served) == f"NO {LOGIN_FAIL}"
        second.do("LOGOUT")
        with served.client():
            pass


# ------------------------------------------------------------------ folders


def test_top_level_refused_of_one_mailbox(served: Served, client: RawClient) -> None:
    assert client.do("CREATE Archive") == ["NO Create folder failed"]
    served.box.faults["top_level_refused"] = False
    assert client.do("CREATE Archive") == ["OK CREATE completed"]


def test_uidvalidity_change(served: Served, client: RawClient) -> None:
    served.do(lambda: served.box.folders["INBOX"].expunge(1))
    before = served.box.folders["INBOX"].uidvalidity
    served.box.faults["uidvalidity_change"] = 1
    with served.client() as other:
        lines = other.do("SELECT INBOX")
        assert f"* OK [UIDVALIDITY {before + 1}] UID validity status" in lines
        assert "* OK [UIDNEXT 3] Predicted next UID" in lines
        assert client.do("NOOP") == ["* BYE Connection closed by server", ""]
        assert len(other.do("UID FETCH 1:2 (BODY.PEEK[])")) == 3
    with served.client() as other:
        assert f"* OK [UIDVALIDITY {before + 1}] UID validity status" in other.do("SELECT INBOX")


def test_select_refused(served: Served, client: RawClient) -> None:
    served.box.faults["select_refused"] = 1
    assert client.do("EXAMINE INBOX") == [BUSY]
    assert client.do("EXAMINE INBOX")[-1].startswith("OK")


def test_exists_larger(served: Served, client: RawClient) -> None:
    served.box.faults["exists_larger"] = 2
    assert "* 5 EXISTS" in client.do("SELECT INBOX")
    assert client.do("STATUS INBOX (MESSAGES)")[0] == '* STATUS "INBOX" (MESSAGES 5)'
    assert len(client.do("FETCH 1:5 (UID)")) == 4


def test_keywords(served: Served, client: RawClient) -> None:
    """imap-quirks 86, 87: not announced; refused although announced; taken and forgotten."""
    faults = served.box.faults
    faults["keywords_not_announced"] = True
    announced = "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Draft \\Seen)] Permanent flags"
    assert announced in client.do("SELECT INBOX")
    faults["keyword_refused"] = True
    assert client.append("INBOX", MAIL, "(\\Seen Work) ") == "NO APPEND Invalid flag list"
    assert client.do("UID STORE 1 +FLAGS (Work)") == ["NO UID STORE Invalid flag list"]
    assert client.append("INBOX", MAIL, "(\\Seen) ").startswith("OK")
    faults["keyword_refused"] = False
    faults["keyword_forgotten"] = True
    assert client.append("INBOX", MAIL, "(\\Seen Work) ").startswith("OK")
    assert client.do("UID STORE 1 +FLAGS (Work)")[0] == "* 1 FETCH (UID 1 FLAGS ())"
    assert served.box.message("INBOX", 5).flags == {"\\Seen"}
    faults["flags_refused"] = True
    assert client.append("INBOX", MAIL, "(\\Seen) ") == "NO APPEND Invalid flag list"
    assert client.append("INBOX", MAIL, "() ").startswith("OK")


# ------------------------------------------------------------------ reading


def test_drop_in_fetch(served: Served, client: RawClient) -> None:
    served.box.faults.arm("drop_in_fetch", times=1, after=1)
    client.send("A UID FETCH 1:* (FLAGS)\r\nB UID FETCH 1:* (BODY.PEEK[])\r\n")
    assert len(client.answer("A")) == 4
    rest = client.file.read()
    assert rest.startswith(b"* 1 FETCH (UID 1 BODY[] {%d}\r\n%b)\r\n* 2 FETCH (" % (len(MAIL), MAIL))
    assert not rest.endswith(b")\r\n")
    with served.client() as again:
        again.do("SELECT INBOX")
        assert len(again.do("UID FETCH 1:* (BODY.PEEK[])")) == 4


@pytest.mark.parametrize("numbers", ["3:1", "3,1", "2:3,1:2", "*:1"])
def test_bad_uid_parameters(served: Served, client: RawClient, numbers: str) -> None:
    """Exmail's way with sets that do not rise (imap-quirks 43), on by default."""
    assert client.do(f"UID FETCH {numbers} (FLAGS)") == ["BAD UID parameters!"]
    assert client.do(f"UID STORE {numbers} +FLAGS (x)") == ["BAD UID parameters!"]
    assert client.do("UID FETCH 1:2,3,4:* (FLAGS)")[-1].startswith("OK")
    served.box.faults["bad_uid_parameters"] = False
    assert client.do(f"UID FETCH {numbers} (FLAGS)")[-1].startswith("OK")


def test_unbounded_refused(served: Served, client: RawClient) -> None:
    served.box.faults["unbounded_refused"] = True
    assert client.do("UID FETCH 1:999999 (FLAGS)") == ["BAD UID parameters!"]
    assert len(client.do("UID FETCH 1:3 (FLAGS)")) == 4


def test_malformed_envelope_and_structure(served: Served, client: RawClient) -> None:
    well = client.do("FETCH 1 (ENVELOPE BODYSTRUCTURE)")[0]
    served.box.faults["malformed_envelope"] = True
    served.box.faults["malformed_bodystructure"] = True
    ill = client.do("FETCH 1 (ENVELOPE)")[0]
    assert '"corp.test")' in well
    assert '"corp.test\\")' in ill
    assert well.count("NIL") > ill.count("NIL")
    assert "()" in "".join(client.do("FETCH 1 (BODYSTRUCTURE)"))


def test_empty_header_fields(served: Served, client: RawClient) -> None:
    served.box.faults["empty_header_fields"] = True
    line = client.do("FETCH 1 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[0]
    assert line == "* 1 FETCH (BODY[HEADER.FIELDS (SUBJECT)] {0}\r\n)"
    assert "Subject: Lunch" in client.do("FETCH 1 (BODY.PEEK[HEADER])")[0]


def test_date_unpadded_and_flags_upper(served: Served, client: RawClient) -> None:
    served.do(lambda: served.box.put("INBOX", MAIL, NOW.replace(day=4), ("\\Seen", "work")))
    client.do("NOOP")
    assert client.do("FETCH 4 (FLAGS INTERNALDATE)")[0] == (
        '* 4 FETCH (FLAGS (\\Seen work) INTERNALDATE " 4-Nov-2026 16:00:00 +0800")'
    )
    served.box.faults["date_unpadded"] = True
    served.box.faults["flags_upper"] = True
    assert client.do("FETCH 4 (FLAGS INTERNALDATE)")[0] == (
        '* 4 FETCH (FLAGS (\\SEEN WORK) INTERNALDATE "4-Nov-2026 16:00:00 +0800")'
    )


def test_search_blind_and_literal_hang(served: Served, client: RawClient) -> None:
    """imap-quirks 51, 53."""
    served.box.faults["search_blind"] = True
    assert client.append("INBOX", MAIL).startswith("OK")
    assert client.do("UID SEARCH ALL")[0] == "* SEARCH 1 2 3"
    assert client.do("UID FETCH 4 (UID)")[0] == "* 4 FETCH (UID 4)"
    served.box.faults["search_literal_hang"] = True
    client.send("A UID SEARCH CHARSET UTF-8 SUBJECT {6}\r\n")
    assert client.is_silent()


@pytest.mark.parametrize("trouble", list(TROUBLES))
def test_one_mail_in_trouble(served: Served, client: RawClient, trouble: str) -> None:
    served.box.message("INBOX", 2).trouble = trouble
    listed = client.do("UID FETCH 1:* (RFC822.SIZE)")
    client.send("A UID FETCH 1:* (BODY.PEEK[])\r\n")
    if trouble == "hang":
        assert "UID 1 " in client.line()
        assert client.is_silent()
        return
    *lines, last = client.answer("A")
    uids = re.findall(r"\(UID (\d+)", "".join(lines))
    if trouble == "ghost":
        assert len(listed) == 3
        assert (uids, last) == (["1", "3"], "OK FETCH completed")
    elif trouble == "refuse":
        assert (uids, last[:2]) == (["1", "3"], "NO")
    elif trouble == "empty":
        assert lines[1] == "* 2 FETCH (UID 2 BODY[] {0}\r\n)"
    elif trouble == "size":
        assert f"RFC822.SIZE {len(MAIL) + 7})" in listed[1]
        assert last.startswith("OK")
    else:
        assert trouble == "drop"
        assert (uids, last) == (["1"], "")


# ------------------------------------------------------------------ writing


def test_drop_in_append_stores_nothing(served: Served, client: RawClient) -> None:
    served.box.faults["drop_in_append"] = 1
    client.send("A APPEND INBOX {10}\r\n")
    assert client.line().startswith("+")
    client.send("1234")
    assert client.is_silent()
    client.send("5")
    assert client.is_cut()
    assert served.box.counts()["INBOX"] == 3
    with served.client() as again:
        assert again.append("INBOX", MAIL).startswith("OK")


def test_drop_after_append_has_stored(served: Served, client: RawClient) -> None:
    served.box.faults.arm("drop_after_append", times=1, after=1)
    assert client.append("INBOX", MAIL).startswith("OK")
    assert client.append("INBOX", MAIL) == ""
    assert served.box.counts()["INBOX"] == 5


def test_refused_after_append_has_stored(served: Served, client: RawClient) -> None:
    served.box.faults["refused_after_append"] = 1
    assert client.append("INBOX", MAIL) == BUSY
    assert served.box.counts()["INBOX"] == 4


def test_appenduid_missing_wrong_and_lying(served: Served, client: RawClient) -> None:
    """imap-quirks 73, 74, 83."""
    faults = served.box.faults
    faults["no_appenduid"] = True
    assert client.append("INBOX", MAIL) == "OK APPEND completed"
    assert client.do("UID COPY 1 Junk") == ["OK COPY completed"]
    faults["no_appenduid"] = False
    faults["wrong_appenduid"] = True
    assert re.fullmatch(r"OK \[APPENDUID \d+ 4\] APPEND completed", client.append("INBOX", MAIL))
    faults["wrong_appenduid"] = False
    faults["not_stored"] = 1
    assert re.fullmatch(r"OK \[APPENDUID \d+ 6\] APPEND completed", client.append("INBOX", MAIL))
    assert list(served.box.folders["INBOX"].messages) == [1, 2, 3, 4, 5]
    assert client.append("INBOX", MAIL).startswith("OK")
    assert 7 in served.box.folders["INBOX"].messages


def test_sizes(served: Served, client: RawClient) -> None:
    served.box.faults["size_limit"] = 10
    assert client.append("INBOX", b"x" * 11) == "NO Message is too large"
    assert client.append("INBOX", b"x" * 10).startswith("OK")
    del served.box.faults["size_limit"]
    served.box.faults["appendlimit"] = 20
    assert client.do("CAPABILITY")[0].endswith(" UIDPLUS APPENDLIMIT=20")
    assert client.append("INBOX", b"x" * 21) == "NO Message is too large"


@pytest.mark.parametrize(
    ("fault", "raw", "words"),
    [
        ("nul_refused", MAIL + b"\0\r\n", "NUL characters"),
        ("bare_newlines_refused", MAIL + b"\n", "bare newlines"),
        ("bare_newlines_refused", MAIL + b"\r", "bare newlines"),
        ("header_refused", b"Subject: \xc4\xe3\r\n\r\n", "invalid header"),
        ("header_refused", b"no header\r\n\r\n", "invalid header"),
        ("line_limit", MAIL + b"x" * 9_901, "too long"),
    ],
)
def test_content_refused(served: Served, client: RawClient, fault: str, raw: bytes, words: str) -> None:
    """imap-quirks 77-79: after the literal, the connection stays."""
    assert client.append("INBOX", raw).startswith("OK")
    served.box.faults[fault] = True
    answer = client.append("INBOX", raw)
    assert answer.startswith("NO Message contains ")
    assert words in answer
    assert client.append("INBOX", MAIL).startswith("OK")


def test_date_ignored_and_headers_added(served: Served, client: RawClient) -> None:
    served.box.faults["date_ignored"] = True
    served.box.faults["headers_added"] = True
    assert client.append("INBOX", MAIL, '" 4-Jan-2015 01:02:03 +0800" ').startswith("OK")
    message = served.box.message("INBOX", 4)
    assert message.date == NOW
    assert message.raw.endswith(MAIL)
    assert message.raw.startswith(b"X-QQ-mid: ")
    assert message.raw.count(b"\r\n") == MAIL.count(b"\r\n") + 2
    assert served.box.used_bytes == 3 * len(MAIL) + len(message.raw)


def test_imapclient_lives_through_the_face(served: Served) -> None:
    """With Exmail's everyday habits on, an ordinary client copies a mailbox."""
    with IMAPClient("127.0.0.1", served.port, ssl=False, timeout=20) as client:
        client.login(ADDRESS, served.password)
        client.create_folder("其他文件夹/备份")
        client.select_folder("INBOX", readonly=True)
        for data in client.fetch(client.search(), ["BODY.PEEK[]", "FLAGS", "INTERNALDATE"]).values():
            client.append("其他文件夹/备份", data[b"BODY[]"], data[b"FLAGS"], data[b"INTERNALDATE"])
    assert served.box.counts()["其他文件夹/备份"] == 3


# ------------------------------------------------------------------ what other servers do


def test_throttled(served: Served, client: RawClient) -> None:
    """imap-quirks 103; what a client sent without waiting is passed over."""
    served.box.faults["throttled"] = 2
    assert client.do("NOOP") == ["BAD Request is throttled. Suggested Backoff Time: 1500 milliseconds"]
    assert client.do(b"APPEND INBOX {3+}\r\none")[0].startswith("BAD Request is throttled")
    assert client.do("NOOP") == ["OK NOOP completed"]


def test_idle_and_utf8_close(served: Served) -> None:
    served.box.faults["idle_ms"] = 50
    with served.client() as client:
        client.do("NOOP")
        assert client.line() == "* BYE Autologout, idle for too long"
        assert client.is_cut()
    del served.box.faults["idle_ms"]
    served.box.faults["utf8_closes"] = True
    with served.client() as client:
        assert client.do("SELECT INBOX")[-1].startswith("OK")
        assert client.do("SELECT 其他".encode()) == [""]


def test_login_wants_code_and_id_required(served: Served) -> None:
    served.box.faults["login_wants_code"] = 1
    assert log_in(served) == "NO Please using authorized code to login"
    served.box.faults["id_required"] = True
    with served.client() as client:
        assert client.do("EXAMINE INBOX") == ["NO Unsafe Login. Please send ID first"]
        client.do('ID ("name" "test")')
        assert client.do("EXAMINE INBOX")[-1].startswith("OK")


def test_literal_plus_lie(served: Served) -> None:
    served.box.faults["literal_plus_lie"] = True
    with served.client() as client:
        assert client.do("CAPABILITY")[0].endswith(" UIDPLUS LITERAL+")
        assert client.do(b"APPEND INBOX {3+}\r\none") == ["BAD APPEND parameters!"]
        assert client.append("INBOX", b"one").startswith("OK")


def test_names(served: Served, client: RawClient) -> None:
    """imap-quirks 31 to 35."""
    faults = served.box.faults
    create = f'CREATE "{ROOT_WIRE}/'
    assert client.do(f'{create}Case"')[0].startswith("OK")
    cases = (
        ("names_strict", "a.b", "Folder name is invalid"),
        ("names_strict", "a ", "Folder name is invalid"),
        ("names_fold_case", "case", "Folder already exists!"),
        ("name_bytes_max", "x" * 61, "Folder name is too long"),
        ("depth_max", "1/2/3/4", "Mailbox doesn't allow inferior mailboxes"),
    )
    for number, (fault, name, text) in enumerate(cases):
        faults[fault] = True
        assert client.do(f'{create}{name}"') == [f"NO {text}"]
        assert client.do(f'{create}fine {number}/below"')[0].startswith("OK")
        del faults[fault]
        assert client.do(f'{create}{name}"')[0].startswith("OK")
    faults["no_namespace"] = True
    assert client.do("NAMESPACE") == ["BAD Command!"]


def test_subscribe_needed_and_a_locked_folder(served: Served, client: RawClient) -> None:
    served.box.faults["subscribe_needed"] = True
    name = f'"{ROOT_WIRE}/new"'
    assert client.do(f"CREATE {name}")[0].startswith("OK")
    assert not [line for line in client.do('LIST "" "*"') if "new" in line]
    client.do(f"SUBSCRIBE {name}")
    assert [line for line in client.do('LIST "" "*"') if "new" in line]
    served.do(lambda: setattr(served.box.folders["其他文件夹/new"], "locked", True))
    assert client.do(f"EXAMINE {name}") == ["* BYE Folder is locked", ""]


def test_literals_everywhere_and_literal8(served: Served, client: RawClient) -> None:
    served.box.faults["literals_everywhere"] = True
    assert client.do('LIST "" INBOX')[0] == '* LIST (\\HasNoChildren) "/" {5}\r\nINBOX'
    assert client.do("STATUS INBOX (UIDNEXT)")[0] == "* STATUS {5}\r\nINBOX (UIDNEXT 4)"
    served.box.faults["literal8"] = True
    assert f"BODY[] ~{{{len(MAIL)}}}" in client.do("UID FETCH 1 (BODY.PEEK[])")[0]


def test_fetch_in_other_ways(served: Served, client: RawClient) -> None:
    """imap-quirks 61, 117."""
    faults = served.box.faults
    faults["fetch_truncated"] = 1
    assert len(client.do("UID FETCH 1:3 (BODY.PEEK[])")) == 2
    assert len(client.do("UID FETCH 1:3 (BODY.PEEK[])")) == 4
    faults["fetch_split"] = True
    lines = client.do("UID FETCH 2 (FLAGS RFC822.SIZE)")
    assert lines[:2] == [f"* 2 FETCH (RFC822.SIZE {len(MAIL)} UID 2)", "* 2 FETCH (UID 2 FLAGS ())"]
    del faults["fetch_split"]
    faults["unsolicited_fetch"] = True
    lines = client.do("UID FETCH 2 (RFC822.SIZE)")
    assert lines[:2] == ["* 2 FETCH (FLAGS ())", "* 1 FETCH (FLAGS () UID 1)"]
    faults["date_nonsense"] = True
    assert '"00-Jan-0000 25:00:00 +9900"' in client.do("FETCH 1 (INTERNALDATE)")[-2]


def test_append_in_other_ways(served: Served, client: RawClient) -> None:
    faults = served.box.faults
    faults["rate_limited"] = 1
    assert client.append("INBOX", b"one") == "NO [LIMIT] Rate limit exceeded"
    faults["twins_thrown_away"] = True
    assert " 1] APPEND completed" in client.append("INBOX", MAIL)
    assert served.box.counts()["INBOX"] == 3
    faults["header_munged"] = True
    assert client.append("INBOX", b"A: \xe4\r\n\r\n\xe4").startswith("OK")
    assert served.box.message("INBOX", 4).raw == b"A: X\r\n\r\n\xe4"
    faults["size_closes"] = 10
    assert client.append("INBOX", b"x" * 10).startswith("OK")
    client.send("A APPEND INBOX {11}\r\n")
    assert client.line().startswith("+")
    client.send(b"x" * 5)
    assert client.is_cut()
