"""Whether a mail has come into a mailbox since a moment. Looks, changes nothing."""

from __future__ import annotations

from datetime import datetime

from bot.mail import wire
from bot.mail.account import MailAccount
from bot.mail.names import WireName
from bot.mail.quirks import FolderKind, folder_kind, parse_internaldate
from bot.mail.session import SILENCE_SECONDS, open_session
from bot.mail.survey import list_mails, statuses

OWN = (FolderKind.SENT, FolderKind.DRAFTS)  # what lies there did not come


async def first_since(
    account: MailAccount, since: datetime, *, silence_seconds: float = SILENCE_SECONDS
) -> datetime | None:
    """
    When the first mail came, in whatever folder it lies; to the second, as servers date it.

    Raises LoginRefused, NotReachable, ConnectionLost, MailError.
    """
    came: list[datetime] = []

    def note(_: WireName, mail: wire.Fetched) -> None:
        at = parse_internaldate(mail.internal_date or "")
        if at is not None and at >= since.replace(microsecond=0):
            came.append(at)

    session = await open_session(account, silence_seconds=silence_seconds)
    try:
        folders = [each for each in await session.list_folders() if folder_kind(each) not in OWN]
        await list_mails(session, await statuses(session, folders), note)
        return min(came, default=None)
    finally:
        await session.close()
