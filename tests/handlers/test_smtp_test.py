"""A test mail: minted, sent, revoked, told in the server's words; arrived only when something was seen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.errors import UserError
from bot.mail.smtp import Sent, SmtpAccount
from handlers.public import public_shown, smtp_test
from storage.models import MintedPassword
from storage.store import Store
from tests.handlers.conftest import FakeClock
from tests.handlers.wecom_in_process import World

SUPPORT, MEI = "support@corp.test", "mei@corp.test"
TAKEN = Sent(None, 250, "OK: queued as 7")


class Office(World):
    """With a mail server that answers as it is told, and notes who came with which password."""

    def __init__(self, store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(store, clock)
        self.answers: list[Sent | BaseException] = []
        self.came: list[tuple[SmtpAccount, str, bytes]] = []
        self.lived: list[bool] = []
        monkeypatch.setattr(smtp_test, "send", self.send)
        with store.begin() as tx:
            for public_id, address in ((1, SUPPORT), (2, "sales@corp.test")):
                tx.mailboxes.public_is(public_id, address, name=address, readers={}, aliases=[])
            tx.mailboxes.member_has("mei", MEI, "look-up")

    def send(self, account: SmtpAccount, receiver: str, raw: bytes) -> Sent:
        self.came.append((account, receiver, raw))
        self.lived.append(account.password in self.org.box(SUPPORT).passwords.values())
        answer = self.answers.pop(0) if self.answers else TAKEN
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def keys(self) -> int:
        """Passwords of ours that still work, here or by our rows."""
        with self.store.begin() as tx:
            rows = tx.session.query(MintedPassword).filter(MintedPassword.deleted_at.is_(None)).count()
        return rows + len(self.org.box(SUPPORT).passwords)


@pytest.fixture
def office(store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    return Office(store, clock, monkeypatch)


def test_taken_and_seen_to_arrive_at_a_member(office: Office) -> None:
    """The unread mails say so; the password worked while it was needed, and not a second longer."""
    said = office.does("mei", smtp_test.smtp_test, "support@", "mei@")
    assert (
        "accepted the login and took the mail from support@corp.test to mei@corp.test. It said: 250 OK: queued as 7"
        in said
    )
    assert (office.lived, office.keys()) == ([True], 0)
    ((account, to, raw),) = office.came
    assert (account.host, account.port, account.tls, account.user, to) == (
        "smtp.exmail.qq.com",
        465,
        True,
        SUPPORT,
        MEI,
    )
    assert b"Message-ID: <smtp-test-" in raw
    assert b"because =?utf-8?" in raw or b"because" in raw
    office.org.box(MEI).put("INBOX", raw, office.clock.now())
    office.later(seconds=11)
    assert f"{MEI} had 0 unread mails, and has 1 now" in office.heard("mei")[-1]
    assert account.password not in str(office.audited("")) + "".join(office.heard("mei"))


def test_a_public_mailbox_is_told_of_by_wecom(office: Office) -> None:
    office.does("mei", smtp_test.smtp_test, "support@", "sales@")
    with office.store.begin() as tx:
        public_shown.mail_came(office.context(tx, "mei"), 2)
    office.later(seconds=11)
    assert "WeCom told me that sales@corp.test got mail" in office.heard("mei")[-1]


def test_not_seen_is_not_believed(office: Office) -> None:
    """Two minutes, then the subject to look for; where nothing can be seen, at once."""
    office.does("mei", smtp_test.smtp_test, "support@", "mei@")
    for _ in range(13):
        office.later(seconds=10)
    assert "I did not see it arrive in mei@corp.test within two minutes" in office.heard("mei")[-1]
    said = office.does("mei", smtp_test.smtp_test, "support@", "group@corp.test")
    assert "I cannot see into group@corp.test" in said


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Sent("login", 535, "Login fail."), "refuses the login of support@corp.test. It said: 535 Login fail."),
        (Sent("receiver", 550, "no such user"), "but not mei@corp.test as the receiver. It said: 550 no such user"),
        (Sent("sender", 501, "same as login"), "as the sender. It said: 501 same as login"),
        (Sent("mail", 552, "too large"), "but not the mail"),
        (Sent("connect", 421, "busy"), "refuses the connection"),
        (Sent("connect", None, "gaierror", "name"), "cannot be found"),
        (Sent("connect", None, "SSLCertVerificationError", "certificate"), "I sent no password"),
        (Sent("mail", None, "TimeoutError", "silent"), "does not answer"),
        (Sent("login", None, "SMTPServerDisconnected", "cut"), "refused or cut"),
        (Sent("login", None, "SMTPNotSupportedError", "no_login"), "offers no login"),
    ],
    ids=lambda value: value.stopped_at + (value.trouble or "") if isinstance(value, Sent) else "",
)
def test_what_the_server_said(office: Office, answer: Sent, said: str) -> None:
    office.answers = [answer]
    heard = office.does("mei", smtp_test.smtp_test, "support@", "mei@")
    assert said in heard
    assert ("客户端访问权限" in heard) == (answer.stopped_at == "login" and answer.trouble is None)
    assert (office.keys(), len(office.came)) == (0, 1)


def test_killed_while_sending_leaves_no_key(office: Office) -> None:
    """Sent or not is not known: never again, the password is revoked, and whether it arrives is looked at."""
    office.answers = [SystemExit()]
    with pytest.raises(SystemExit):
        office.does("mei", smtp_test.smtp_test, "support@", "mei@")
    assert office.keys() > 0
    office.run()
    assert (office.keys(), len(office.came)) == (0, 1)
    assert "do not know whether the test mail went out" in office.heard("mei")[-1]
    office.org.box(MEI).put("INBOX", office.came[0][2], office.clock.now())
    office.later(seconds=11)
    assert f"{MEI} had 0 unread mails, and has 1 now" in office.heard("mei")[-1]


def test_a_busy_wecom_that_revoked_it_leaves_nobody_alarmed(office: Office) -> None:
    """The client asks a busy one again, which says that there is no such password: it is revoked."""
    office.client.between["exmail/publicmail/delete_auth_code"] = lambda: office.org.public[1].passwords.clear()
    said = office.does("mei", smtp_test.smtp_test, "support@", "mei@")
    assert "accepted the login" in said.splitlines()[-1]
    assert len(said.splitlines()) == 2
    with office.store.begin() as tx:
        assert tx.session.query(MintedPassword).filter(MintedPassword.deleted_at.is_(None)).count() == 0


def test_a_mint_whose_answer_was_lost_leaves_no_key(office: Office) -> None:
    office.client.lost["exmail/publicmail/update"] = [True]
    office.does("mei", smtp_test.smtp_test, "support@", "mei@")
    office.later(seconds=30)
    assert (office.keys(), len(office.came)) == (0, 1)


def test_what_cannot_be_sent_from(office: Office) -> None:
    """A member's, one that the app did not make, and to elsewhere."""
    with pytest.raises(UserError, match=r"smtp_test\.not_public"):
        office.does("mei", smtp_test.smtp_test, "mei@", "support@")
    with pytest.raises(UserError, match=r"directory\.foreign_domain"):
        office.does("mei", smtp_test.smtp_test, "support@", "somebody@elsewhere.example")
    assert "I cannot make a password for sales@" in office.does("mei", smtp_test.smtp_test, "sales@", "mei@")
    assert office.came == []
