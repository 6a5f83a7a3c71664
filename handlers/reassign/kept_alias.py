"""
Keeping a displaced address: calvin@ becomes an alias of the mailbox that took its place, when the bin has given it up.

While a mailbox lies in the recycle bin its address is taken, and no event says when it is free. So the wish is a job
that sleeps until the book's date, looks, and asks the admin: an alias list is replaced as a whole and cannot be read
back, so what would be lost is for a person to say. WeCom may go on refusing: it is tried a few times, then said.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from bot.context import Context
from bot.errors import UserError
from bot.policy import Requirement
from bot.replies import Button, Card, CardUpdate, Reply, Text
from bot.router import Router
from bot.wecom import limits
from bot.wecom.errcodes import WeComError
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, SweepStep, Work
from handlers import addresses, changes
from handlers.address import alias_list
from handlers.approvals import approvals
from handlers.handovers.handovers import name_of, owner_now
from handlers.reassign.reassign_card import day
from storage.jobs import OPEN
from storage.models import Approval, BinState, Job, JobState

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()
router = Router()
work = Work()

KIND = "alias"
ACTION = "alias"  # of the policy and of the approval
AFTER_DELETION = timedelta(hours=10)  # the console deletes at midnight; in the morning somebody reads it
ANSWER_WITHIN = timedelta(days=14)
LOOK_AGAIN = timedelta(hours=1)
TRY_AGAIN = (timedelta(days=1), timedelta(days=2), timedelta(days=4), timedelta(days=8))
TAKEN = frozenset({60143, 60145})  # not an address of the corp, or somebody's: the bin's, too


def keep(step: JobStep, *, address: str, mailbox: str, owner: str, reassign: int) -> Job:
    """A wish: `address`, which lies in the bin now, is to become an alias of the owner's `mailbox`."""
    item = step.tx.recycle_bin.waiting_at(address)
    params = {"address": address, "mailbox": mailbox, "owner": owner, "reassign": reassign}
    job = step.tx.jobs.add(KIND, asked_by=step.job.asked_by, params=params, stage="wait")
    step.tx.jobs.put(
        job, source_address=address, target_address=mailbox, asker_name=step.job.data["asker_name"],
        item=item.id if item is not None else None, tries=0,
    )  # fmt: skip
    job.due_at = (item.deletes_at if item is not None else step.now) + AFTER_DELETION
    step.tx.audit.add(job.asked_by, "alias.wished", address, job=job.id, mailbox=mailbox, reassign=reassign)
    return job


# --- the job ---------------------------------------------------------------------------------------------------------


@work.job(KIND)
def turn(job: JobContext) -> None:
    """One turn, by its stage."""
    with job.begin() as step:
        if step.job.cancel_asked_by is not None and job.stage != "cleanup":
            end_with(step, "cancelled")
            return
    {"wait": look, "try": try_it, "cleanup": clean_up}[job.stage](job)


def end_with(step: JobStep, ending: str, why: Words | None = None) -> None:
    """To the cleanup, and then to this ending, which the asker hears."""
    if why is not None:
        step.say(Text(step.job.asked_by, why))
    step.put(ending=ending)
    step.go("cleanup")


def look(job: JobContext) -> None:
    """Whether the bin has given the address up, as far as the book and a look-up tell; then the admin is asked."""
    with job.begin() as step:
        item = step.tx.recycle_bin.find(int(job.data["item"])) if job.data["item"] is not None else None
        if item is not None and item.state is not BinState.ASSIGNED and item.deletes_at + AFTER_DELETION > step.now:
            step.go("wait", due_at=item.deletes_at + AFTER_DELETION)  # an admin gave another date meanwhile
            return
    try:
        why = in_the_way(job)
    except addresses.NoBudget:
        with job.begin() as step:
            step.go("wait", due_at=step.now + LOOK_AGAIN)
        return
    with job.begin() as step:
        if why is not None:
            end_with(step, "refused", why)
            return
        step.tx.jobs.wait(step.job, "ask", expires_at=step.now + ANSWER_WITHIN)
        step.put(others=known_others(step.tx, step.job))
        step.say(*question(step.job, say("alias.free", **values_of(step.job))))


def in_the_way(job: JobContext) -> Words | None:
    """Why it cannot be: somebody else has the address, or the mailbox. Raises NoBudget, WeComError, NetworkError."""
    address, mailbox, owner = (str(job.params[name]) for name in ("address", "mailbox", "owner"))
    values = {"address": address, "mailbox": mailbox, "number": job.job_id}
    if (has := owner_now(job, mailbox)) not in (owner, None):  # nobody in sight is no evidence: WeCom will say
        return say("alias.mailbox_moved", **values, owner=name_of(job, str(has)))
    if (has := owner_now(job, address)) is not None:
        return say("alias.is_one" if has == owner else "alias.taken", **values, owner=name_of(job, has))
    with job.services.store.begin() as tx:
        box = tx.mailboxes.at(address)
        public = box is not None and box.public_id is not None
    return say("alias.taken", **values, owner=box.name or address) if box is not None and public else None


def known_others(tx: Transaction, job: Job) -> list[str]:
    """The mailbox's other aliases, of now and of when it was somebody else's: a few, or none, may be all we know."""
    mailbox, address = str(job.params["mailbox"]), str(job.params["address"])
    own = tx.mailboxes.of(str(job.params["owner"]))
    if own is not None and own.aliases_known_at is not None:
        return [each for each in own.aliases if each != address][: limits.ALIASES_MAX - 1]
    boxes = [own, *tx.mailboxes.all_at(mailbox)]
    known = dict.fromkeys(each for box in boxes if box is not None for each in box.aliases)
    return [each for each in known if each not in (mailbox, address)][: limits.ALIASES_MAX - 1]


def values_of(job: Job) -> dict[str, Any]:
    """What its sentences name."""
    return {"address": job.params["address"], "mailbox": job.params["mailbox"], "number": job.id}


def question(job: Job, head: Words) -> list[Reply]:
    """What the list would be, in words, then the card with Add."""
    params, others = job.params, list(job.data["others"])
    told = lines(
        head,
        say("alias.whole_list", aliases=[str(params["address"]), *others]),
        say("alias.how", number=job.id),
    )
    card = Card(
        job.asked_by,
        about(job),
        say("alias.card_title", number=job.id),
        note=say("alias.card_note", address=params["address"], mailbox=params["mailbox"]),
        rows=[(say("alias.row_others"), ", ".join(others) or say("alias.no_others"))],
        buttons=[
            Button(f"alias_add:{job.id}", say("alias.button_add")),
            Button(f"cancel:{job.id}", say("jobs.button_cancel"), style=2),
        ],
    )
    return [Text(job.asked_by, told), card]


def about(job: Job) -> str:
    """What the cards of a wish are about."""
    return f"job-{job.id}"


@router.command(
    "alias {job_id:int} [with {others:list}]",
    "别名 {job_id:int} [保留 {others:list}]",
    role="admin",
    topic="reassign",
    example=("alias 17 with sales@, info@", "别名 17 保留 sales@、info@"),
)
@router.action("alias_add", role="admin")
def add_alias(ctx: Context, job_id: int, others: list[str] | None = None) -> list[Reply]:
    """Make a displaced address an alias now; name the mailbox's other aliases, which are replaced with it."""
    admin = ctx.require_admin()
    job = ctx.tx.jobs.find(job_id)
    if job is None or job.kind != KIND:
        raise UserError(say("jobs.unknown", number=job_id))
    given_up = job.state not in OPEN and job.data.get("ending") in ("failed", "expired")
    if not given_up and (job.state not in OPEN or job.stage not in ("wait", "ask", "try")):
        raise UserError(say("alias.over", number=job_id))
    if others is None and "others" not in job.data:
        return ask_first(ctx, job, given_up=given_up)
    typed = None if others is None else alias_list.named(ctx, others)
    kept = typed if typed is not None else list(job.data.get("others") or [])
    whole = list(dict.fromkeys([str(job.params["address"]), *kept]))
    if len(whole) > limits.ALIASES_MAX:
        raise UserError(say("alias.too_many", max=limits.ALIASES_MAX, number=job_id))
    job.finished_at = None
    ctx.tx.jobs.put(job, aliases=whole, others=whole[1:], tries=0, ending=None)
    box = ctx.tx.mailboxes.of(str(job.params["owner"]))
    if box is not None:  # he has seen the list: from now on it is known
        ctx.tx.mailboxes.aliases_are(box, whole[1:])
    ctx.tx.audit.add(admin, "alias.agreed", str(job.params["address"]), job=job.id, aliases=whole)
    closed = put_away(ctx, job, say("alias.mark_asked"))
    requirement = ctx.policy.requirement(ACTION)
    if requirement is Requirement.CONFIRM:
        ctx.tx.jobs.wake(job, "try")
        ctx.start(job)
        return [*closed, Text(admin, say("alias.trying", aliases=whole, mailbox=job.params["mailbox"]))]
    return [*closed, *ask_others(ctx, job, requirement)]


def ask_first(ctx: Context, job: Job, *, given_up: bool) -> list[Reply]:
    """Nobody has seen yet which aliases would be replaced: the list is shown, and WeCom is asked after the next yes."""
    ctx.tx.jobs.put(job, others=known_others(ctx.tx, job))
    if given_up:
        job.finished_at = None
        ctx.tx.jobs.put(job, ending=None)
        ctx.tx.jobs.wait(job, "ask", expires_at=ctx.now + ANSWER_WITHIN)
    return question(job, say("alias.look_first", **values_of(job)))


def ask_others(ctx: Context, job: Job, requirement: Requirement) -> list[Reply]:
    """Somebody else's yes first, as the policy file says."""
    owner = str(job.params["owner"])
    may = approvals.who_may(requirement, ctx.directory, ctx.roles, asker=ctx.sender, owner=owner, gains=[owner])
    mailbox, aliases = str(job.params["mailbox"]), list(job.data["aliases"])
    approval, replies = approvals.ask(
        ctx.tx, action=ACTION, requirement=requirement, may=may, job_id=job.id,
        question=say("alias.question", aliases=aliases, mailbox=mailbox),
        facts={"mailbox": mailbox, "owner": owner, "aliases": aliases},
        reason=str(job.params["address"]), asked_by=ctx.sender, asked_by_name=ctx.directory.name(ctx.sender),
        settings=ctx.settings,
    )  # fmt: skip
    ctx.tx.jobs.wait(job, "approval", expires_at=approval.expires_at)
    named = [ctx.directory.name(userid) for userid in may.userids]
    return [*replies, Text(ctx.sender, say("alias.asked", approvers=named, number=job.id, approval=approval.id))]


@approvals.decided(ACTION)
def decided(ctx: Context, approval: Approval) -> list[Reply]:
    """A yes tries it, a no ends it."""
    return approvals.go_on(ctx, approval, "try")


def put_away(ctx: Context | JobStep, job: Job, done: Words) -> list[Reply]:
    """Every open card of the wish greyed."""
    title = say("alias.card_title", number=job.id)
    return [
        CardUpdate(each.task_id, Card(each.member, about(job), title, done=done))
        for each in ctx.tx.cards.open_about(about(job))
    ]


def try_it(job: JobContext) -> None:
    """One call, which may run twice: the same list again changes nothing. A taken address is tried again in days."""
    owner, address, aliases = str(job.params["owner"]), str(job.params["address"]), list[str](job.data["aliases"])
    try:
        if (why := in_the_way(job)) is None:
            aliases = alias_list.write(job, owner, lambda now: list(dict.fromkeys([address, *now])))
    except changes.Busy:
        with job.begin() as step:
            step.go("try", due_at=step.now + changes.BUSY_AGAIN)
        return
    except addresses.NoBudget:
        with job.begin() as step:
            step.go("try", due_at=step.now + LOOK_AGAIN)
        return
    except changes.Refused as refusal:  # the mailbox is another since then
        with job.begin() as step:
            end_with(step, "failed", refusal.words)
        return
    except WeComError as error:
        if error.errcode not in TAKEN:
            raise
        log.warning("alias_refused", job_id=job.job_id, errcode=error.errcode)
        with job.begin() as step:
            refused(step, error.words())
        return
    with job.begin() as step:
        if why is not None:
            end_with(step, "refused", why)
            return
        mailbox = str(job.params["mailbox"])
        step.tx.audit.add("bot", "alias.added", address, job=job.job_id, mailbox=mailbox, aliases=aliases)
        end_with(step, "done", say("alias.added", address=address, mailbox=mailbox, aliases=aliases))


def refused(step: JobStep, why: Words) -> None:
    """The address is still taken, it seems: told, and tried again, a few times."""
    params, tries = step.job.params, int(step.job.data["tries"]) + 1
    address = str(params["address"])
    values: dict[str, Any] = {"address": address, "why": why, "tries": tries}
    step.tx.audit.add("bot", "alias.refused", address, job=step.job.id, tries=tries, why=why.text("en"))
    step.put(tries=tries)
    if tries > len(TRY_AGAIN):
        by_hand = say("alias.by_hand", address=address, owner=step.directory.name(str(params["owner"])))
        end_with(step, "failed", lines(say("alias.given_up", **values), by_hand))
        return
    again_at = step.now + TRY_AGAIN[tries - 1]
    step.go("try", due_at=again_at)
    words = say("alias.refused", **values, max=len(TRY_AGAIN) + 1, date=day(again_at), number=step.job.id)
    step.say(Text(step.job.asked_by, words))


@work.failed(KIND)
def failed(step: JobStep, words: Words) -> None:
    """WeCom lets us not, or something is broken: how to do it by hand."""
    if step.job.stage == "cleanup":
        step.tx.jobs.end(step.job, JobState.FAILED, error=words.text("en"))
        return
    params = step.job.params
    by_hand = say("alias.by_hand", address=params["address"], owner=step.directory.name(str(params["owner"])))
    end_with(step, "failed", lines(say("alias.failed", address=params["address"], why=words), by_hand))
    step.job.error = words.text("en")


def clean_up(job: JobContext) -> None:
    """No card is left to press; then the job has its ending."""
    with job.begin() as step:
        ending = str(step.job.data.get("ending") or "failed")
        step.tx.approvals.void(step.job.id)
        step.say(*put_away(step, step.job, say(f"jobs.ended_{ending}")))
        if ending in ("cancelled", "expired"):
            words = say(f"alias.ended_{ending}", address=job.params["address"], number=job.job_id)
            step.say(Text(step.job.asked_by, words))
        step.tx.audit.add("bot", "alias.ended", str(job.params["address"]), job=job.job_id, ending=ending)
        step.tx.jobs.end_as(step.job, ending)


@work.sweep("alias", timedelta(minutes=10))
def watch(sweep: SweepStep) -> None:
    """Who was asked and does not answer: the wish ends."""
    for job in sweep.tx.jobs.waiting_or_due(KIND):
        if job.state is JobState.WAITING and job.expires_at is not None and job.expires_at <= sweep.tx.now:
            sweep.tx.jobs.put(job, ending="expired")
            sweep.tx.jobs.wake(job, "cleanup")
            sweep.start(job)
