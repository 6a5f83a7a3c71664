"""The same story with other people's servers in place of our own: Dovecot keeps the mail, PostgreSQL the rows."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from imapclient import IMAPClient

from bot.sandbox.arrival import arrived
from bot.sandbox.run import running
from tests.journeys.conftest import Bot
from tests.servers.dovecot import PASSWORD, Dovecot


def backed_up(bot: Bot, source: str, target: str, passwords: dict[str, str]) -> None:
    """Calvin's mail into sales@, each side opened on a page, from the command to the receipt."""
    bot.say("mei", f"backup {source} to {target} because he changes desks")
    bot.hear("calvin", "/pages/")
    bot.enter("calvin", passwords[source])
    bot.hear("mei", "/pages/")
    bot.enter("mei", passwords[target])
    bot.press("mei", "start:")
    bot.hear("mei", f"mails of {source} are now in {target}.")


def test_between_two_dovecot_mailboxes(tmp_path: Path, dovecot: Dovecot) -> None:
    """Mail that Dovecot holds arrives in Dovecot byte for byte, with flags, read by a client none of us wrote."""
    port = dovecot.profiles["exmail"].port
    mails = [
        b"Subject: one\r\n\r\nfirst\r\n",
        b"Subject: =?utf-8?b?5LqM?=\r\n\r\nno end of line",
        b"no header at all\r\n",
    ]
    with IMAPClient("127.0.0.1", port, ssl=False) as client:
        client.login("calvin@corp.test", PASSWORD)
        client.create_folder("项目 & 合同")
        for mail in mails:
            client.append("INBOX", mail, [b"\\Flagged"])
            client.append("项目 & 合同", mail, [b"\\Seen"])
    with running(tmp_path / "data", exmail_imap_port=port) as sandbox, closing(Bot(sandbox)) as bot:
        bot.wait_ready()
        backed_up(
            bot, "calvin@corp.test", "sales@corp.test", dict.fromkeys(("calvin@corp.test", "sales@corp.test"), PASSWORD)
        )
    with IMAPClient("127.0.0.1", port, ssl=False) as client:
        client.login("sales@corp.test", PASSWORD)
        for folder, flag in (("INBOX", b"\\Flagged"), ("项目 & 合同", b"\\Seen")):
            client.select_folder(f"其他文件夹/calvin@corp.test/{folder}", readonly=True)
            fetched = client.fetch(client.search("ALL"), ["BODY.PEEK[]", "FLAGS"])
            assert sorted(each[b"BODY[]"] for each in fetched.values()) == sorted(mails)
            assert all(flag in each[b"FLAGS"] for each in fetched.values())


def test_on_postgresql(tmp_path: Path, postgres: str) -> None:
    """The rows lie in PostgreSQL; nothing else differs."""
    with running(tmp_path / "data", bot_database_url=postgres) as sandbox, closing(Bot(sandbox)) as bot:
        bot.wait_ready()
        addresses = ("calvin@corp.test", "sales@corp.test")
        for address in addresses:
            bot.show_everything(address)
        backed_up(bot, *addresses, {each: bot.client_password(each) for each in addresses})
        arrived(bot, *addresses)
        with bot.store.begin() as tx:
            assert tx.audit.broken_at() is None
            assert tx.passwords.all() == []
