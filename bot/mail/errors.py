"""What a mail server can do to a copy, as types; each carries what a person can do about it."""

from __future__ import annotations

from bot.errors import UpstreamError
from bot.words import Words, say


class MailError(UpstreamError):
    """A mail server refused or failed; `text` is what it said, for the log and for who asks why."""

    def __init__(self, text: str, *, mailbox: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.mailbox = mailbox

    def words(self) -> Words:
        return say("mail.failed", mailbox=self.mailbox, text=self.text)


class LoginRefused(MailError):
    """The login was refused. One text has five causes and a retry makes it worse: only a human tries again."""

    def words(self) -> Words:
        return say("mail.login_refused", mailbox=self.mailbox, text=self.text)


class QuotaFull(MailError):
    """The target has no room left: nothing more can be stored until somebody makes some."""

    def words(self) -> Words:
        return say("mail.quota_full", mailbox=self.mailbox, text=self.text)


class ConnectionLost(MailError):
    """Cut, silent past its deadline, or not to be understood any more; what was under way is unknown."""

    def words(self) -> Words:
        return say("mail.connection_lost", mailbox=self.mailbox, text=self.text)


class NotReachable(ConnectionLost):
    """No connection: name, network, or a certificate that does not belong to the host."""

    def words(self) -> Words:
        return say("mail.not_reachable", mailbox=self.mailbox, text=self.text)


class FolderRefused(MailError):
    """A folder could not be opened or made; `folder` is its name for people."""

    def __init__(self, folder: str, text: str, *, mailbox: str = "") -> None:
        super().__init__(text, mailbox=mailbox)
        self.folder = folder

    def words(self) -> Words:
        return say("mail.folder_refused", mailbox=self.mailbox, folder=self.folder, text=self.text)


class SameMailbox(MailError):
    """Source and target are one mailbox and the target folder is the whole of it."""

    def words(self) -> Words:
        return say("mail.same_mailbox", mailbox=self.mailbox)


class CommandRefused(MailError):
    """A tagged NO or BAD to a command; whoever sent the command knows what it means."""

    def __init__(self, status: str, text: str, *, mailbox: str = "") -> None:
        super().__init__(text, mailbox=mailbox)
        self.status = status


class TargetRefusesAll(MailError):
    """So many mails in a row were refused that going on would only annoy the server."""

    def words(self) -> Words:
        return say("mail.target_refuses_all", mailbox=self.mailbox, text=self.text)
