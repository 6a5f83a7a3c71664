"""The sample mail: as much as was promised, of every kind that was promised, and the same at every start."""

from __future__ import annotations

import email
import email.policy
from collections import Counter
from datetime import timedelta
from hashlib import sha256

import pytest
from imapclient import IMAPClient

from bot.sandbox.mailserver import ROOT, SYSTEM_FOLDERS, Mailbox, MailServer
from bot.sandbox.sample import sample
from bot.sandbox.seed import DOMAIN, MEMBERS, PUBLIC, fill
from tests.sandbox.harness import NOW, FixedClock, serving


@pytest.fixture(scope="module")
def server() -> MailServer:
    filled = MailServer(FixedClock())
    fill(filled)
    return filled


def box_of(server: MailServer, name: str) -> Mailbox:
    box = server.mailbox(f"{name}@{DOMAIN}")
    assert box is not None
    return box


def raws(box: Mailbox) -> list[bytes]:
    return [message.raw for folder in box.folders.values() for message in folder.messages.values()]


def fingerprint(server: MailServer) -> str:
    digest = sha256()
    for box in server.mailboxes.values():
        for name, folder in box.folders.items():
            for message in folder.messages.values():
                digest.update(repr((box.address, name, message.date, sorted(message.flags), message.raw)).encode())
    return digest.hexdigest()


def test_same_clock_same_bytes(server: MailServer) -> None:
    again = MailServer(FixedClock())
    fill(again)
    assert fingerprint(again) == fingerprint(server)


def test_members_are_those_of_the_sample_organisation() -> None:
    organisation = sample()
    departments = {each.id: each.name for each in organisation.departments}
    assert [(each.userid, each.name, each.department, each.leader, each.direct_leader) for each in MEMBERS] == [
        (
            each.userid,
            each.name,
            departments[each.main_department],
            each.main_department in each.leads,
            each.leaders[0] if each.leaders else None,
        )
        for each in organisation.members
    ]
    assert {each.address for each in organisation.members} == {each.address for each in MEMBERS}
    assert {each.address for each in organisation.public} == {address for _, address in PUBLIC}


def test_how_much_there_is(server: MailServer) -> None:
    totals = {address.partition("@")[0]: sum(box.counts().values()) for address, box in server.mailboxes.items()}
    assert len(totals) == 12
    assert 210 <= totals["ahing"] <= 230
    assert 55 <= totals["calvin"] <= 65
    assert totals["support"] == 40
    assert min(totals.values()) >= 10
    assert 400 <= sum(totals.values()) <= 700
    assert box_of(server, "ahing").used_bytes > 1_000_000


def test_webmail_settings_hide_what_the_product_must_ask_about(server: MailServer) -> None:
    ahing = box_of(server, "ahing")
    assert (ahing.window_days, ahing.show_custom, ahing.imap_on) == (30, False, False)
    assert all(box.imap_on for box in server.mailboxes.values() if box is not ahing)
    assert {(box.window_days, box.show_custom) for box in server.mailboxes.values()} == {
        (30, False),
        (30, True),
        (None, False),
        (None, True),
    }
    support = box_of(server, "support")
    assert (support.window_days, support.show_custom) == (None, True)
    for box in server.mailboxes.values():
        assert not box.passwords


def test_dates_reach_back_years_and_never_ahead(server: MailServer) -> None:
    dates = [
        message.date for folder in box_of(server, "ahing").folders.values() for message in folder.messages.values()
    ]
    assert min(dates) < NOW - timedelta(days=3 * 365)
    recent = sum(date > NOW - timedelta(days=30) for date in dates)
    assert 5 <= recent <= len(dates) / 3
    for box in server.mailboxes.values():
        assert all(each.date <= NOW for folder in box.folders.values() for each in folder.messages.values())


def test_every_odd_kind_is_there(server: MailServer) -> None:
    ahing = box_of(server, "ahing")
    mail = raws(ahing)
    assert max(Counter(mail).values()) == 3
    assert any(count == 2 for count in Counter(each.raw for each in ahing.folders["INBOX"].messages.values()).values())
    parsed = [email.message_from_bytes(raw) for raw in mail]
    ids = Counter(str(each["Message-ID"]) for raw, each in zip(mail, parsed, strict=True) if each["Message-ID"])
    assert ids["<quota@corp.test>"] == 4
    assert sum(each["Message-ID"] is None for each in parsed) >= 4
    assert any(not raw.endswith(b"\n") for raw in mail)
    assert any(raw.startswith(b"\r\n") for raw in mail)
    assert any(b"\0" in raw for raw in mail)
    assert any(b"\r" not in raw and b"\n" not in raw for raw in mail)
    assert any("关于付款的说明".encode("gbk") in raw.partition(b"\r\n\r\n")[0] for raw in mail)
    assert sum(b"=?gbk?B?" in raw for raw in mail) >= 10
    assert any(max(map(len, raw.split(b"\n"))) > 9_900 for raw in mail)
    assert any(each.get_content_type() == "message/rfc822" for each in parsed)
    big = [raw for raw in mail if b"Content-Disposition: attachment" in raw and len(raw) > 20_000]
    assert len(big) >= 15
    flags = {flag for folder in ahing.folders.values() for each in folder.messages.values() for flag in each.flags}
    assert flags >= {"\\Seen", "\\Answered", "\\Flagged", "\\Draft", "\\Deleted", "$Forwarded", "NonJunk"}
    custom = [name for name in ahing.folders if name not in SYSTEM_FOLDERS]
    assert all(name.startswith(f"{ROOT}/") for name in custom)
    assert {name.count("/") for name in custom} == {1, 2}
    assert any("&" in name for name in custom)
    assert any('"' in name for name in custom)


def test_ordinary_mail_reads_well(server: MailServer) -> None:
    """Headers, bodies and attachments come out of a MIME parser whole, in either character set."""
    box = box_of(server, "calvin")
    names = set()
    for raw in raws(box):
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert message["From"].addresses[0].addr_spec
        assert message["Message-ID"]
        assert message["Date"].datetime.utcoffset() == timedelta(hours=8)
        assert not message.defects
        body = message.get_body(("plain",))
        assert body is not None
        assert "{" not in body.get_content() + message["Subject"]
        names |= {part.get_filename() or "" for part in message.iter_attachments()}
    assert names
    assert "" not in names
    assert any(not name.isascii() for name in names)


def test_a_client_sees_what_the_settings_let_it(server: MailServer) -> None:
    """The preview of a backup of ahing's would copy a month of system folders, until he changes two settings."""
    with serving() as served:
        served.do(lambda: served.server.remove("ahing@corp.test"))
        served.do(lambda: fill(served.server))
        box = box_of(served.server, "ahing")
        box.imap_on = True
        password = box.mint()[1]

        def seen() -> dict[str, int]:
            with IMAPClient("127.0.0.1", served.port, ssl=False, timeout=20) as client:
                client.login(box.address, password)
                names = [name for flags, _, name in client.list_folders() if b"\\NoSelect" not in flags]
                return {name: client.select_folder(name, readonly=True)[b"EXISTS"] for name in names}

        hidden = seen()
        assert set(hidden) == set(SYSTEM_FOLDERS)
        assert 0 < hidden["INBOX"] < 20
        box.show_custom, box.window_days = True, None
        assert seen() == box.counts()
