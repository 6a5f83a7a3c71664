"""
What a look-up says of a mailbox in the bin: an entry is closed because its owner was seen, not because we were told.

"Nobody" is no proof of anything: it is also said of what is out of sight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from bot.context import Context
from bot.directory import Directory
from bot.errors import UserError
from bot.replies import Reply, Text
from bot.router import Router
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, Work
from handlers import addresses
from handlers.bin import recycle_bin
from storage.models import BinItem, BinSource, BinState, Job, JobState, Mailbox, Member

if TYPE_CHECKING:
    from storage.store import Transaction

router = Router()
work = Work()

CHECK_AGAIN = timedelta(minutes=1)  # an answer that young is not asked for again


@router.command(
    "bin done {address} assigned",
    "回收站 完成 {address} 已分配",
    role="admin",
    topic="bin",
    example=("bin done ahing@ assigned", "回收站 完成 ahing@ 已分配"),
)
def bin_done(ctx: Context, address: str) -> list[Reply]:
    """A mailbox of the bin was assigned to somebody: I look whether it is so, and stop reminding."""
    admin = ctx.require_admin()
    item = recycle_bin.entry(ctx, address)
    if item.state not in (BinState.WAITING, BinState.LOST):
        raise UserError(recycle_bin.closed_words(item, ctx.directory))
    if item.address is None:
        raise UserError(say("recycle_bin.left_address_unknown", number=item.id))
    ctx.start(ctx.tx.jobs.add("bin-check", asked_by=admin, params={"item": item.id, "address": item.address}))
    return []


@addresses.when_back
def members_back(tx: Transaction, start: Callable[[Job], None], back: Sequence[Member]) -> None:
    """Who had left is in the directory again: whether the mailbox is, too, is looked up, and all admins hear it."""
    for member in back:
        item = tx.recycle_bin.waiting_left_by(member.userid)
        if item is not None and item.source is BinSource.LEFT and item.address is not None:
            params = {"item": item.id, "address": item.address, "back": member.userid}
            start(tx.jobs.add("bin-check", asked_by="bot", params=params))


@work.job("bin-check")
def check_assigned(job: JobContext) -> None:
    """Whose the address is now; only what is seen closes the entry. A "nobody" is no proof of anything."""
    address = str(job.params["address"])
    public: Mailbox | None = None
    try:
        owner = addresses.look_up(job, address, negative=CHECK_AGAIN)
        if owner is None:
            public = addresses.seen_public(job, address)
    except addresses.NoBudget:
        with job.begin() as step:
            step.say(*told(step, say("addresses.no_budget", address=address)))
            step.tx.jobs.end(step.job, JobState.FAILED, error="no budget")
        return
    with job.begin() as step:
        item = step.tx.recycle_bin.find(int(job.params["item"]))
        if item is not None and (item.state is not BinState.WAITING and job.params.get("back")):
            item = None  # somebody was faster
        if item is not None:
            step.say(*told(step, checked(step.tx, step.directory, item, step.job.asked_by, owner, public)))
        step.tx.jobs.end(step.job, JobState.DONE)


def told(step: JobStep, words: Words) -> list[Reply]:
    """Who asked hears it; of somebody who is back all admins, and that he is."""
    back = step.job.params.get("back")
    if back is None:
        return [Text(step.job.asked_by, words)]
    all_of_it = lines(say("recycle_bin.member_back", name=step.directory.name(str(back))), words)
    return [Text(admin, all_of_it) for admin in step.roles.admins]


def his_again(tx: Transaction, item: BinItem, owner: str) -> bool:
    """Whether the mailbox of who had left is his again: he is back, and nobody is seen with what lies in the bin."""
    member = tx.members.find(owner)
    return item.source is BinSource.LEFT and owner == item.owner and member is not None and member.left_at is None


def checked(
    tx: Transaction, directory: Directory, item: BinItem, asker: str, owner: str | None, public: Mailbox | None
) -> Words:
    """What a look-up means for an entry."""
    what = recycle_bin.named(item)
    if owner is not None and (owner != item.owner or his_again(tx, item, owner)):
        seen: dict[str, object] = {"owner": owner}
    elif owner is None and public is not None and public.id != item.mailbox_id:
        seen = {"public": public.name or public.address}
    elif owner is not None:
        name = directory.name(owner)
        return say("recycle_bin.still_his", what=what, owner=name, typed=recycle_bin.called(item))
    else:
        tx.audit.add(asker, "bin.not_assigned", what, item=item.id, seen="nobody")
        return say("recycle_bin.seen_by_nobody", what=what, moment=recycle_bin.moment_of(item))
    evidence = {**seen, "seen_by": "look-up", "before": item.owner}
    states = (BinState.WAITING, BinState.LOST)
    if tx.recycle_bin.close(item, BinState.ASSIGNED, by=asker, states=states, **evidence):
        tx.audit.add(asker, "bin.assigned", what, item=item.id, **evidence)
    return recycle_bin.closed_words(item, directory)
