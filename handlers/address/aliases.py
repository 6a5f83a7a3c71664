"""
`aliases ahing@`: the further addresses of a member's mailbox, up to five; shown, told to me, added, removed.

WeCom takes the whole list and shows it to nobody (`alias_list.py`), so the first change asks which aliases there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bot.context import Context
from bot.directory import Meant
from bot.errors import UserError
from bot.replies import Reply, Text
from bot.router import Router
from bot.wecom import limits
from bot.wecom.errcodes import WeComError
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, Work
from handlers import addresses, changes
from handlers.address import alias_list, clash
from handlers.changes import Question, Refused, Written
from handlers.handovers.handover_card import day
from handlers.handovers.handovers import owner_now
from storage.models import Mailbox, MailboxKind

router = Router()
work = Work()

KIND = "aliases"
ACTION = "alias"  # of the policy


# --- what is typed ---------------------------------------------------------------------------------------------------


@router.command(
    "aliases {mailbox}", "查看别名|别名列表 {mailbox}", role="auditor", topic="addresses",
    example=("aliases ahing@", "查看别名 ahing@"),
)  # fmt: skip
def aliases_of(ctx: Context, mailbox: str) -> list[Reply]:
    """The further addresses of a mailbox, as far as I know them."""
    meant = ctx.directory.mailbox(mailbox)
    box, named = meant.mailbox, str(meant)
    if box is None or (box.kind is not MailboxKind.PUBLIC and not alias_list.known(box)):
        told = [say("aliases.not_known", mailbox=named, guess=list(box.aliases) if box is not None else [])]
        if box is None or not box.aliases:
            told = [say("aliases.nothing_known", mailbox=named)]
        return [Text(ctx.sender, lines(*told, say("aliases.how_to_tell", mailbox=named)))]
    if not box.aliases:
        return [Text(ctx.sender, lines(say("aliases.none", mailbox=named), say("aliases.how_to_add", mailbox=named)))]
    listed = say(
        "aliases.list", mailbox=named, aliases=list(box.aliases), count=len(box.aliases), max=limits.ALIASES_MAX
    )
    told = [listed]
    if box.aliases_known_at is not None:
        told.append(say("aliases.known_since", date=day(box.aliases_known_at, ctx.settings.zone), mailbox=box.address))
    return [Text(ctx.sender, lines(*told, say("aliases.how_to_remove", alias=box.aliases[0])))]


@router.command(
    "aliases {mailbox} are|is {others:list}", "登记别名 {mailbox} 为|是 {others:list}", role="admin", topic="addresses",
    example=("aliases ahing@ are sales@, info@", "登记别名 ahing@ 为 sales@、info@"),
)  # fmt: skip
def tell_aliases(ctx: Context, mailbox: str, others: list[str]) -> list[Reply]:
    """Tell me which aliases a mailbox has, as the console shows them, or `none`; nothing is changed."""
    meant = of_a_member(ctx, mailbox)
    listed = alias_list.named(ctx, others)
    title = say("aliases.title_told", mailbox=str(meant))
    changes.ask_for(ctx, KIND, str(meant), title, what="are", userid=meant.userid, others=listed)
    return []


@router.command(
    "alias add {alias} to {mailbox} [with {others:list}]",
    "aliases {mailbox} add {alias}",
    "添加别名 {alias} 到|给|至 {mailbox} [已有 {others:list}]",
    role="admin", topic="addresses",
    example=("alias add sales@ to ahing@", "添加别名 sales@ 到 ahing@"),
)  # fmt: skip
def add_address(ctx: Context, mailbox: str, alias: str, others: list[str] | None = None) -> list[Reply]:
    """Give a member's mailbox one more address; mail to it arrives there, too."""
    meant, new = of_a_member(ctx, mailbox), clash.wanted(ctx, alias)
    title = say("aliases.title_add", alias=new, mailbox=str(meant))
    return change(ctx, meant, title, others, "add_address", {"mailbox": mailbox, "alias": alias}, what="add", alias=new)


@router.command(
    "alias remove|delete|drop {alias} [from {mailbox}] [with {others:list}]",
    "aliases {mailbox} remove|delete|drop {alias}",
    "删除别名|移除别名 {alias} [从 {mailbox}] [已有 {others:list}]",
    role="admin", topic="addresses",
    example=("alias remove sales@", "删除别名 sales@"),
)  # fmt: skip
def remove_address(
    ctx: Context, alias: str, mailbox: str | None = None, others: list[str] | None = None
) -> list[Reply]:
    """Take an alias off a mailbox; mail to it comes back to its sender from then on."""
    gone = ctx.directory.address(alias)
    if mailbox is None:
        box = ctx.tx.mailboxes.at(gone)
        if box is None or box.address == gone:
            raise UserError(say("aliases.whose", alias=gone))
        mailbox = box.address
    meant = of_a_member(ctx, mailbox)
    title = say("aliases.title_remove", alias=gone, mailbox=str(meant))
    args = {"mailbox": mailbox, "alias": alias}
    return change(ctx, meant, title, others, "remove_address", args, what="remove", alias=gone)


def of_a_member(ctx: Context, typed: str) -> Meant:
    """A member's mailbox; a public one has commands of its own."""
    meant = ctx.directory.mailbox(typed)
    if meant.mailbox is not None and meant.mailbox.kind is MailboxKind.PUBLIC:
        raise UserError(say("aliases.public", address=meant.mailbox.address))
    return meant


def change(
    ctx: Context,
    meant: Meant,
    title: Words,
    others: list[str] | None,
    command: str,
    args: dict[str, Any],
    **params: Any,
) -> list[Reply]:
    """A change of a list; which aliases there are is asked first when nobody has said so yet."""
    if others is None and not alias_list.known(meant.mailbox) and not alias_list.shown_by_wecom(ctx.tx):
        raise alias_list.ask_which(str(meant), command, args)
    listed = alias_list.named(ctx, others) if others is not None else None
    changes.ask_for(ctx, KIND, str(meant), title, userid=meant.userid, others=listed, **params)
    return []


# --- the job ---------------------------------------------------------------------------------------------------------


def look(job: JobContext) -> Question | Words:
    """Whose mailbox it is, what the list would be, and whether the new address is free."""
    params = job.params
    box = found(job)
    if params["others"] is not None:
        with job.begin() as step:
            box = step.tx.mailboxes.get(box.id)
            note(step, box, params["others"])
    box = alias_list.learn(job, box)
    if params["what"] == "are":
        if not box.aliases:
            return say("aliases.noted_none", mailbox=box.address)
        return say("aliases.noted", mailbox=box.address, aliases=list(box.aliases))
    alias_list.must_be_known(box, box.address)
    alias = str(params["alias"])
    whole = changed(box.address, box.aliases, params)
    if whole == box.aliases:
        key = "aliases.is_one" if params["what"] == "add" else "aliases.is_none"
        return say(key, alias=alias, mailbox=box.address)
    if params["what"] == "add" and (taken := holder(job, alias, box)) is not None:
        raise Refused(taken)
    values = {"alias": alias, "mailbox": box.address, "owner": name_of(job, box)}
    listed: list[str] | Words = whole or say("aliases.empty")
    return Question(
        lines(say(f"aliases.question_{params['what']}", **values), say("aliases.whole_list", aliases=listed)),
        ACTION,
        {"mailbox": box.address, "owner": box.owner},
        gains=[str(box.owner)] if params["what"] == "add" else [],
        owner=box.owner,
    )


def note(step: JobStep, box: Mailbox, told: Sequence[str]) -> None:
    """Somebody has read in the console which aliases a mailbox has; written down once, however often that runs."""
    if step.job.data.get("noted"):
        return
    step.put(noted=True)
    before, after = list(box.aliases), [each for each in told if each != box.address]
    step.tx.mailboxes.aliases_are(box, after)
    step.tx.audit.add(step.job.asked_by, "aliases.told", box.address, before=before, after=after)


def found(job: JobContext) -> Mailbox:
    """The member's mailbox, confirmed now; Refused when there is none, or it is a public one."""
    userid = job.params["userid"]
    with job.services.store.begin() as tx:
        own = tx.mailboxes.of(userid) if userid is not None else None
    address = None if own is None and userid is not None else str(job.params["address"])
    it = addresses.find_mailbox(job, address, userid)
    if it.mailbox is None:
        raise Refused(it.problem or say("lookup.nothing"))
    if it.mailbox.kind is MailboxKind.PUBLIC:
        raise Refused(say("aliases.public", address=it.mailbox.address))
    if it.mailbox.owner is None:
        raise Refused(say("aliases.nobodys", address=it.mailbox.address))
    return it.mailbox


def holder(job: JobContext, alias: str, box: Mailbox) -> Words | None:
    """Who has the new address already."""
    try:
        return clash.holder(job, alias, box)
    except addresses.NoBudget:
        return say("addresses.no_budget", address=alias)


def name_of(job: JobContext, box: Mailbox) -> str:
    """What to call its owner."""
    with job.services.store.begin() as tx:
        owner = tx.members.find(str(box.owner))
        return owner.name if owner is not None else str(box.owner)


def changed(address: str, aliases: Sequence[str], params: Any) -> list[str]:
    """The list with the alias, or without it. Refused when it would be too long."""
    alias = str(params["alias"])
    if params["what"] == "remove":
        return [each for each in aliases if each != alias]
    if alias in (address, *aliases):
        return list(aliases)
    if len(aliases) >= limits.ALIASES_MAX:
        raise Refused(say("aliases.full", mailbox=address, max=limits.ALIASES_MAX, aliases=list(aliases)))
    return [*aliases, alias]


def act(job: JobContext) -> Written:
    """Written, as a change of the list there is now: another admin's alias of a moment ago stays."""
    mailbox, owner = str(job.data["facts"]["mailbox"]), str(job.data["facts"]["owner"])
    try:
        now = owner_now(job, mailbox)
    except addresses.NoBudget:
        now = owner  # WeCom itself knows whose list it is asked to write
    if now is not None:  # nobody in sight is no evidence
        changes.still_agreed(job, {"mailbox": mailbox, "owner": now})
    alias, what = str(job.params["alias"]), str(job.params["what"])
    try:
        whole = alias_list.write(job, owner, lambda aliases: changed(mailbox, aliases, job.params))
    except WeComError as error:
        if error.errcode in REFUSED:
            raise Refused(say("aliases.refused", mailbox=mailbox, alias=alias, why=error.words())) from error
        raise

    def written(step: JobStep) -> Words:
        seen = {"job": job.job_id, "mailbox": mailbox, "aliases": whole}
        if what == "add":
            step.tx.audit.add(step.job.asked_by, "alias.added", alias, **seen)
        else:
            step.tx.audit.add(step.job.asked_by, "alias.removed", alias, **seen)
        listed: list[str] | Words = whole or say("aliases.empty")
        if what == "add":
            return say("alias.added", address=alias, mailbox=mailbox, aliases=listed)
        return say("aliases.removed", alias=alias, mailbox=mailbox, aliases=listed)

    return written


REFUSED = frozenset({60143, 60145, 60148, 81015})  # the address is no good, or somebody's; there is no mailbox

changes.kind(work, KIND, look=look, act=act)
