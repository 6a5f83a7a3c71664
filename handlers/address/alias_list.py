"""
The aliases of a member's mailbox: a list that WeCom replaces as a whole and shows to nobody, so the bot owns it.

Nothing is written before somebody has said which aliases there are. One job at a time changes the list of a mailbox,
and what it writes is made of the list as it is then, so that nobody's alias is lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from bot.context import Context, Missing
from bot.errors import UserError
from bot.wecom import contacts, limits
from bot.wecom.errcodes import Retry, WeComError
from bot.words import Words, lines, say
from bot.work import JobContext
from handlers import changes
from handlers.address import clash
from storage.models import Mailbox

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()

NONE = frozenset({"none", "no", "nothing", "无", "没有", "没有别名"})
BETWEEN = re.compile(r"[\s,;，；、]+")


def known(box: Mailbox | None) -> bool:
    """Whether somebody has said which aliases it has."""
    return box is not None and box.aliases_known_at is not None


def shown_by_wecom(tx: Transaction) -> bool:
    """Whether WeCom was seen to show aliases, which no page says: then nobody need be asked."""
    return tx.answers.of("aliases_shown") == "yes"


def shown(job: JobContext, userid: str) -> tuple[str, ...] | None:
    """The aliases as WeCom shows them now; None where it does not, or shows none, which may mean either."""
    with job.services.store.begin() as tx:
        if not shown_by_wecom(tx):
            return None
    try:
        return contacts.aliases_of(job.client, userid)
    except WeComError as error:
        if error.retry is not Retry.NEVER:
            raise
        log.warning("aliases_refused", errcode=error.errcode)
        return None


def learn(job: JobContext, box: Mailbox) -> Mailbox:
    """The mailbox with the aliases that WeCom shows, where it does; else as somebody told."""
    seen = shown(job, box.owner) if box.owner is not None else None
    if seen is None:
        return box
    with job.begin() as step:
        box = step.tx.mailboxes.get(box.id)
        step.tx.mailboxes.aliases_are(box, [each for each in seen if each.casefold() != box.address])
        return box


def must_be_known(box: Mailbox | None, mailbox: str) -> Mailbox:
    """The mailbox; Refused while nobody has said which aliases it has: whatever is written would wipe them."""
    if box is None or not known(box):
        raise changes.Refused(unknown(box.address if box is not None else mailbox))
    return box


def unknown(mailbox: str) -> Words:
    """That nobody has said which aliases there are, and how to."""
    return lines(say("aliases.nothing_known", mailbox=mailbox), say("aliases.how_to_tell", mailbox=mailbox))


def named(ctx: Context, typed: str | Sequence[str]) -> list[str]:
    """The addresses of a list as it was typed, `none` for an empty one; UserError for what cannot be a list."""
    words = [each for part in ([typed] if isinstance(typed, str) else typed) for each in BETWEEN.split(part) if each]
    if words and {each.casefold() for each in words} <= NONE:
        return []
    found = list(dict.fromkeys(clash.wanted(ctx, each) for each in words))
    if len(found) > limits.ALIASES_MAX:
        raise UserError(say("aliases.too_many", max=limits.ALIASES_MAX))
    return found


def ask_which(mailbox: str, command: str, args: Mapping[str, Any]) -> Missing:
    """Which aliases there are is asked for; the answer is the command's `others`."""
    words = say("aliases.which", mailbox=mailbox, max=limits.ALIASES_MAX)
    return Missing("others", words, command=command, known=args)


def write(job: JobContext, userid: str, changed: Callable[[Sequence[str]], Sequence[str]]) -> list[str]:
    """
    Replace the list of a member's mailbox by what `changed` makes of the present one; the list WeCom took.

    May run twice. Raises Busy when another job is at it, Refused when the list is not known (any more), because the
    mailbox is another since the question; WeComError, NetworkError.
    """
    with changes.alone(job, f"aliases:{userid}") as writing:
        seen = shown(job, userid)  # what somebody added in the console meanwhile is kept
        with job.services.store.begin() as tx:
            box = must_be_known(tx.mailboxes.of(userid), userid)
            known = box.aliases if seen is None else [each for each in seen if each.casefold() != box.address]
            whole = list(changed(known))
        if seen is None or whole != known:
            with writing():
                contacts.update_member(job.client, userid, aliases=whole)
        with job.begin() as step:
            his = step.tx.mailboxes.of(userid)
            if his is not None:
                step.tx.mailboxes.aliases_are(his, whole)
    return whole
