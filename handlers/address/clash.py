"""Whether an address is free: not a member's, an alias, a group's, public, the app's own, or held by the bin."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog

from bot.context import Context
from bot.errors import UserError
from bot.wecom import contacts, exmail, limits
from bot.wecom.errcodes import Retry, WeComError
from bot.words import Words, say
from bot.work import JobContext
from handlers import addresses
from handlers.handovers.handovers import day, name_of
from storage.models import Mailbox, MailboxKind

log = structlog.get_logger()

T = TypeVar("T")
GROUP_UNKNOWN = 680012


def wanted(ctx: Context, typed: str) -> str:
    """An address that a member's mailbox could have, in one of our domains; UserError says why another could not."""
    address = ctx.directory.address(typed)
    if address.partition("@")[2] not in ctx.directory.domains():
        raise UserError(say("directory.foreign_domain", address=address, domain=ctx.settings.exmail_domain))
    try:
        return contacts.checked_address(address)
    except ValueError:
        low, high = limits.ADDRESS_BYTES_MIN, limits.ADDRESS_BYTES_MAX
        raise UserError(say("clash.length", address=address, low=low, high=high)) from None


def holder(job: JobContext, address: str, own: Mailbox | None = None) -> Words | None:
    """
    Who or what holds an address already; None when it is free as far as the app can see, or an alias of `own`.

    Raises NoBudget, NetworkError, and WeComError where asking again helps.
    """
    with job.services.store.begin() as tx:
        box, item = tx.mailboxes.at(address), tx.recycle_bin.waiting_at(address)
        if item is not None:
            until = day(item.deletes_at, job.services.settings.zone)
            return say("clash.bin", address=address, until=until, number=item.id)
        alias = box is not None and box.address != address
    if box is not None and own is not None and box.id == own.id:
        return None
    if box is not None and alias:
        return say("clash.alias", address=address, mailbox=box.address)
    public = addresses.seen_public(job, address) or box
    if public is not None and public.kind is MailboxKind.PUBLIC:
        return say("clash.public", address=address, name=public.name or public.address)
    owner = addresses.look_up(job, address)
    if owner is not None:
        return say("clash.member", address=address, owner=name_of(job, owner))
    group = told(lambda: exmail.group_get(job.client, address), GROUP_UNKNOWN)
    if group is not None:
        return say("clash.group", address=address, name=group.name)
    app = told(lambda: exmail.app_get_email_alias(job.client))
    if app is not None and address in {each.casefold() for each in (app.address, *app.aliases)}:
        return say("clash.app", address=address)
    return None


def holder_we_see(job: JobContext, address: str) -> Words | None:
    """The same where WeCom itself refuses what is taken: with too many look-ups today that is left to it."""
    try:
        return holder(job, address)
    except addresses.NoBudget:
        return None


def told(question: Callable[[], T], *nothing: int) -> T | None:
    """An answer; None where there is none, or WeCom does not let this app ask: then it refuses the address itself."""
    try:
        return question()
    except WeComError as error:
        if error.retry is not Retry.NEVER:
            raise
        if error.errcode not in nothing:
            log.warning("clash_not_told", errcode=error.errcode, path=error.path)
        return None
