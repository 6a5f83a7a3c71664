"""How many mails lie in the folders that people make: enough to see whether somebody copied something there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bot.mail.account import MailAccount
from bot.mail.names import Folder
from bot.mail.quirks import folder_kind, hides_folders, is_exmail
from bot.mail.session import SILENCE_SECONDS, open_session
from bot.mail.survey import choose, statuses


@dataclass(frozen=True)
class OwnFolders:
    """Mails by the display name of each folder beside the system's; `hidden` when the server seems to show none."""

    mails: Mapping[str, int]
    hidden: bool


async def own_folders(
    account: MailAccount, *, exclude_roots: tuple[str, ...] = (), silence_seconds: float = SILENCE_SECONDS
) -> OwnFolders:
    """
    Look, change nothing; what lies below `exclude_roots` is left out.

    Raises LoginRefused, NotReachable, ConnectionLost, MailError.
    """
    session = await open_session(account, silence_seconds=silence_seconds)
    try:
        folders = await session.list_folders()
        chosen = [each for each in choose(folders, (), False, exclude_roots).folders if not of_the_system(each)]
        told = await statuses(session, chosen)
        counted: dict[str, int] = {
            each.display: status.messages for each in chosen if (status := told[each.wire]) is not None
        }
        return OwnFolders(counted, is_exmail(session.greeting, account.host, folders) and hides_folders(folders))
    finally:
        await session.close()


def of_the_system(folder: Folder) -> bool:
    """A folder every mailbox has; one of the same name below another folder is somebody's own."""
    return len(folder.parts) == 1 and folder_kind(folder) is not None
