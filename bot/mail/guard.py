"""Whether two addresses lead to one mailbox: an alias would have a mailbox copied into itself."""

from __future__ import annotations

from bot.mail import wire
from bot.mail.account import same_mailbox
from bot.mail.digest import digest_mails
from bot.mail.errors import MailError, SameMailbox
from bot.mail.names import WireName
from bot.mail.session import Session, both
from bot.mail.survey import list_mails
from bot.mail.told import Status

PROBED_FOLDERS = 3
PROBED_UIDS = 20

Told = dict[WireName, Status | None]


async def refuse_same(source: Session, target: Session, source_told: Told, target_told: Told) -> None:
    """
    Raises SameMailbox. Looks twice: the numbers of all folders first, which differ between any two mailboxes but by
    chance, then the newest mails themselves, byte for byte. Two empty mailboxes are two.
    """
    if same_mailbox(source.account, target.account):
        return  # said so by name: then only the folder decides
    filled = [name for name, told in source_told.items() if told is not None and told.messages]
    if not filled or not alike(source_told, target_told):
        return
    filled.sort(key=lambda name: -(status.messages if (status := source_told[name]) else 0))
    for name in filled[:PROBED_FOLDERS]:
        one, two = source_told[name], target_told[name]
        assert one is not None  # noqa: S101 - alike saw to it
        assert two is not None  # noqa: S101
        end = min(one.uidnext, two.uidnext)
        here, there = await both(newest(source, name, one, end), newest(target, name, two, end))
        if here != there:
            return
    raise SameMailbox(f"{source.account.user} and {target.account.user} lead to it", mailbox=source.account.user)


def alike(one: Told, two: Told) -> bool:
    """Every folder that holds mail has the same numbers on both sides; new mail may have come in between."""
    for name in one.keys() | two.keys():
        here, there = one.get(name), two.get(name)
        if here is None and there is None:
            continue
        if here is None or there is None:
            return False
        if (here.messages or there.messages) and here.uidvalidity != there.uidvalidity:
            return False
        if abs(here.uidnext - there.uidnext) > PROBED_UIDS // 2:
            return False
    return True


async def newest(session: Session, name: WireName, status: Status, end: int) -> object:
    """The last mails below UID `end`, and what the last one is; something unequal to everything when there is none."""
    seen: dict[int, tuple[int | None, str | None]] = {}

    def on_mail(_: WireName, mail: wire.Fetched) -> None:
        if mail.uid is not None and mail.uid < end:
            seen[mail.uid] = mail.size_bytes, mail.internal_date

    try:
        bounded = Status(status.uidvalidity, end, status.messages)
        await list_mails(session, {name: bounded}, on_mail, first={name: max(1, end - PROBED_UIDS)})
        if not seen:
            return object()
        last = max(seen)
        content = (await digest_mails(session, [last])).get(last)
    except MailError:
        return object()
    return seen, content and (content.sha256, content.internal_date)
