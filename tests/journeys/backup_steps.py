"""What the journeys of a backup have in common: asking, giving access, looking at both sides and behind the scenes."""

from __future__ import annotations

import io
import re
from collections import Counter
from typing import Any

from openpyxl import load_workbook
from sqlalchemy import func, select

from bot.sandbox.arrival import kept, mails
from bot.sandbox.mail.boxes import SYSTEM_FOLDERS, Mailbox
from bot.sandbox.player import Entry, NotHeard, text_of
from storage.models import ImapSwitch, Job, MintedPassword, Secret
from tests.journeys.conftest import Bot
from tests.journeys.people_steps import last_bytes

AHING, CALVIN, MEI = "ahing@corp.test", "calvin@corp.test", "mei@corp.test"
SUPPORT, SALES = "support@corp.test", "sales@corp.test"
ROOT = "其他文件夹"


def ask(bot: Bot, line: str, member: str = "mei") -> int:
    """Type a command that makes a job; its number."""
    before = newest(bot)
    bot.say(member, line)
    bot.wait(f"a job for “{line}”", lambda: newest(bot) > before)
    return newest(bot)


def newest(bot: Bot) -> int:
    """The number of the newest backup or later check."""
    with bot.store.begin() as tx:
        return tx.session.scalar(select(func.max(Job.id)).where(Job.kind.in_(("backup", "verify")))) or 0


def stands(bot: Bot, job: int) -> tuple[str, str]:
    """State and stage of a job."""
    with bot.store.begin() as tx:
        row = tx.session.get_one(Job, job)
        return str(row.state), str(row.stage)


def data(bot: Bot, job: int) -> dict[str, Any]:
    """What a job knows."""
    with bot.store.begin() as tx:
        return dict(tx.session.get_one(Job, job).data)


def until(bot: Bot, job: int, state: str, stage: str) -> None:
    """Until a job stands so."""
    try:
        bot.wait(f"job {job} is {state} at {stage}", lambda: stands(bot, job) == (state, stage))
    except NotHeard as error:
        raise NotHeard(f"{error}, but {stands(bot, job)}") from None


def ready(bot: Bot, job: int) -> None:
    """Until the preview is there and nothing is copied yet."""
    until(bot, job, "waiting", "ready")


def over(bot: Bot, job: int, state: str = "done") -> None:
    """Until a job has ended so."""
    until(bot, job, state, "cleanup")


def give(bot: Bot, member: str, address: str) -> str:
    """A member's page with the client password of a mailbox; the text of what follows."""
    bot.hear(member, "/pages/")
    return bot.enter(member, bot.client_password(address))


def box(bot: Bot, address: str) -> Mailbox:
    """A mailbox behind the scenes."""
    found = bot.sandbox.mail.mailbox(address)
    assert found is not None
    return found


def own_folders(bot: Bot, address: str) -> set[str]:
    """The folders of a mailbox beside the system's."""
    return set(box(bot, address).folders) - set(SYSTEM_FOLDERS)


def copied(bot: Bot, source: str, target: str, folders: list[str] | None = None) -> bool:
    """Whether the target holds what the source does, byte for byte, with flags and dates, each mail once."""
    for folder in folders or list(box(bot, source).folders):
        into = f"{ROOT}/{source}/{folder}"
        found = mails(bot, target, into) if into in box(bot, target).folders else Counter()
        wanted = mails(bot, source, folder)
        if kept(found) != kept(wanted):
            print(f"{folder}: lacking {wanted - found}, in place of it {found - wanted}")
            return False
    return True


def said_to(bot: Bot, member: str) -> list[str]:
    """Everything in a member's chat from the bot, as text."""
    return [text_of(each) for each in bot.entries(member)]


def last_file(bot: Bot, member: str) -> tuple[str, Any]:
    """The newest file of a member: its name and the workbook."""
    name, content = last_bytes(bot, member)
    return name, load_workbook(io.BytesIO(content))


def card_about(bot: Bot, member: str, job: int) -> Entry:
    """The newest card of a job, as the member sees it now."""
    return next(
        each
        for each in reversed(bot.entries(member))
        if each.get("card") and re.search(rf"\b{job}\b", each["card"]["title"])
    )


def tidy(bot: Bot) -> None:
    """No key is left behind, and the audit chain holds."""
    with bot.store.begin() as tx:
        assert tx.session.scalar(select(func.count()).select_from(Secret)) == 0
        assert not tx.session.scalars(select(MintedPassword).where(MintedPassword.deleted_at.is_(None))).all()
        assert not tx.session.scalars(select(ImapSwitch).where(ImapSwitch.restored_at.is_(None))).all()
        assert tx.audit.broken_at() is None
    for mailbox in bot.state()["public_mailboxes"]:
        assert not [each for each in mailbox["passwords"] if each["by_api"]], mailbox["address"]


def logins(bot: Bot, address: str) -> int:
    """How often anybody tried to log in to a mailbox within the last minute."""
    return len(box(bot, address).logins)
