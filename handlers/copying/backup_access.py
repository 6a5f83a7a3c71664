"""
Who lets a backup in: the stage that gets a password for each side, and what people answer to it.

A mailbox the app manages is opened by a minted password; a member's by himself on his page, or by an admin with his
manager's yes; any other public mailbox by a member who can open it. No key is made before people agreed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bot.context import Context
from bot.errors import UserError
from bot.replies import Reply, Text
from bot.router import Router
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, SweepStep, Work
from handlers.approvals import approvals
from handlers.copying import access
from handlers.copying.access import SIDES, Side, refused_sides
from handlers.copying.backup_card import asked_card, put_away, readers
from handlers.copying.copying import (
    KIND,
    OPENING_KINDS,
    VERIFY_KIND,
    boxes,
    mintable,
    readers_known,
    sides_of,
    wait_for_access,
)
from handlers.copying.job_words import state_of
from storage.links import LINK_LIFE
from storage.mailboxes import made_in_console
from storage.models import Approval, ApprovalStatus, Job, JobState, Mailbox, MailboxKind

if TYPE_CHECKING:
    from storage.store import Transaction

router = Router()
work = Work()


def get_access(job: JobContext) -> None:
    """
    A password for each side, then the preview. Pages first: no key is made and nothing switched before people agreed.
    """
    sides = sides_of(job)
    with job.services.store.begin() as tx:
        both = boxes(job, tx)
        lacking = [side for side in sides if tx.passwords.find(job.job_id, side) is None]
    if all(mintable(both[side]) for side in lacking):
        for side in lacking:
            access.mint(job, side, both[side])
        for side in sides:
            owner = both[side].owner
            if both[side].kind is MailboxKind.MEMBER and owner is not None:
                access.switch_imap_on(job, owner)
    with job.begin() as step:
        both = boxes(step, step.tx)
        tell_refusals(step, both)
        still = access.needed(step, sides)
        if "source" not in still:
            step.tx.approvals.void(step.job.id)  # the owner has answered himself
        if not still:
            step.go("preview" if job.kind == KIND else "check")
            return
        by_page = [side for side in still if not mintable(both[side])]
        for side in by_page:
            if side in refused_sides(step.job):  # he is not asked again because something else happened
                continue
            latest = step.tx.links.latest(job.job_id, side)
            if latest is None or not step.tx.links.alive(latest):
                ask_access(step, side, both[side])
        if by_page:
            wait_for_access(step)


def ask_access(step: JobStep, side: Side, box: Mailbox) -> None:
    """Send the page to who can open the mailbox, and tell the asker whom."""
    who = access.opener(step, box, by_manager=bool(step.job.data.get("by_manager")) and side == "source")
    data, job = step.job.data, step.job
    own = who.userid == job.asked_by
    asker: Words | str = say("access.you") if own else str(data["asker_name"])
    values = {
        "asker": asker, "source": data["source_address"], "target": data["target_address"],
        "reason": data["reason"],
    }  # fmt: skip
    if job.kind == VERIFY_KIND:
        why = say("backup.open_to_check", asker=asker, address=box.address, number=job.params["backup"])
    elif who.owner and side == "source":
        key = "backup.consent_own" if own else "backup.consent"
        why = say(key, **values, what=what_of(job.params), readers=readers(data))
    elif who.owner:
        why = say("backup.consent_target_own" if own else "backup.consent_target", **values)
    elif box.owner is not None:
        why = say("backup.open_by_manager", address=box.address, owner=step.directory.name(box.owner), number=job.id)
    elif box.kind is MailboxKind.UNSEEN:
        why = say("backup.open_unseen", address=box.address, number=job.id, asker=asker)
    else:
        why = say("backup.open_public", address=box.address, number=job.id, asker=asker)
    step.say(*access.ask_for(step, side, box, who, why))
    if own:
        return
    name = step.directory.name(who.userid)
    if who.owner and side == "source":
        if data.get("asked_of") != who.userid:  # a new page for the same question is no news to the asker
            step.put(asked_of=who.userid)
            step.say(*put_away(step.tx, job, say("backup.replaced")), asked_card(job, name))
    else:
        words = "backup.asked_member" if who.owner else "backup.asked_opener"
        step.say(Text(job.asked_by, say(words, name=name, address=box.address, number=job.id)))


def what_of(params: Mapping[str, Any]) -> Words:
    """What is to be copied: all mail, or the part that the command names."""
    filters: list[Words] = []
    if params.get("since"):
        filters.append(say("backup.filter_since", date=str(params["since"])))
    if params.get("folders"):
        filters.append(say("backup.filter_folders", folders=list(params["folders"])))
    if params.get("without_junk"):
        filters.append(say("backup.filter_no_junk"))
    return say("backup.part_of_mail", filters=filters) if filters else say("backup.all_mail")


def tell_refusals(step: JobStep, both: dict[Side, Mailbox]) -> None:
    """Who said no on his page, told to the asker once, with what can be done."""
    untold, refused_by = list(step.job.data.get("untold") or []), refused_sides(step.job)
    if not untold:
        return
    step.put(untold=[])
    for side in (each for each in SIDES if each in untold and each in refused_by):
        owned = both[side].owner is not None
        own = "backup.declined" if side == "source" else "backup.declined_target"
        name = step.directory.name(refused_by[side])
        words = say(
            own if owned else "backup.declined_public", name=name, address=both[side].address, number=step.job.id
        )
        step.say(Text(step.job.asked_by, words))


@work.sweep("pages-again", timedelta(minutes=1))
def pages_again(sweep: SweepStep) -> None:
    """
    A quarter of an hour after a refused login a new page goes out by itself: one for a refusal, two a job and day.

    No login is tried by it: a person enters another password there.
    """
    for job in [job for kind in OPENING_KINDS for job in sweep.tx.jobs.waiting_or_due(kind)]:
        waits = job.state is JobState.WAITING and job.stage == access.WAITING_STAGE
        if not waits or not access.page_comes_again(job, sweep.tx.now):
            continue
        if any(lost_its_page(sweep.tx, job, side) for side in sides_of(job)):
            sent = access.pages_sent_again(job, sweep.tx.now)
            sweep.tx.jobs.put(job, pages_again=[*sent, sweep.tx.now.isoformat()])
            sweep.tx.jobs.wake(job, access.WAITING_STAGE)
            sweep.start(job)


def lost_its_page(tx: Transaction, job: Job, side: Side) -> bool:
    """Whether a side waits for a page because a login at its mailbox was refused, and may have one again."""
    asked = side in access.page_for(tx, job) and side not in refused_sides(job)
    if not asked or tx.passwords.find(job.id, side) is not None:
        return False
    refusal, latest = tx.links.last_refusal(int(job.data[side])), tx.links.latest(job.id, side)
    if refusal is None or refusal.refused_at is None:
        return False
    if not tx.now - access.DAY < refusal.refused_at <= tx.now - LINK_LIFE:
        return False
    return latest is None or latest.created_at <= refusal.refused_at


@router.command("link {job_id:int}", "链接 {job_id:int}", topic="backup", example=("link 12", "链接 12"))
def new_link(ctx: Context, job_id: int) -> list[Reply]:
    """Send me a new page for a job that waits for my mailbox."""
    job = ctx.tx.jobs.find(job_id)
    sides = access.waits_for(job, ctx.sender, ctx.tx) if job is not None else []
    if job is None or not sides or job.state is not JobState.WAITING or job.stage != access.WAITING_STAGE:
        raise UserError(say("backup.no_link", number=job_id))
    if ctx.tx.links.made_since(ctx.sender, job.id, timedelta(hours=1)) >= access.LINKS_AN_HOUR_MAX:
        raise UserError(say("backup.too_many_links", number=job_id))
    for side in sides:
        ctx.tx.links.end(job.id, side)
    asked_anew(ctx, job, *sides)
    ctx.tx.jobs.wake(job, "access")
    ctx.start(job)
    return []


def asked_anew(ctx: Context, job: Job, *sides: str) -> None:
    """Whoever refused these sides is asked again, or somebody else: he, his manager or an admin wants it so."""
    ctx.tx.jobs.put(job, refused_sides={side: by for side, by in refused_sides(job).items() if side not in sides})


@router.command(
    "access {job_id:int} by {member}",
    "由 {member} 授权 {job_id:int}",
    role="admin",
    topic="backup",
    example=("access 12 by calvin", "由 calvin 授权 12"),
)
def choose_opener(ctx: Context, job_id: int, member: str) -> list[Reply]:
    """Ask another member, who can open the public mailbox, for access."""
    job = waiting_for_access(ctx, job_id)
    sides = [side for side in sides_of(job) if ctx.tx.passwords.find(job.id, side) is None]
    both = {side: ctx.tx.mailboxes.get(int(job.data[side])) for side in sides}
    shared = {side: box for side, box in both.items() if box.owner is None and not mintable(box)}
    if not shared:
        raise UserError(say("backup.only_the_owner", number=job_id))
    chosen = ctx.directory.member(member)
    for side, box in shared.items():
        can_open = ctx.directory.readers(box)
        if can_open and chosen.userid not in can_open and not made_in_console(box):
            named = [ctx.directory.name(each) for each in can_open]
            raise UserError(say("backup.cannot_open", name=chosen.name, address=box.address, readers=named))
        if refused_sides(job).get(side) == chosen.userid:
            raise UserError(say("backup.refused_already", name=chosen.name, address=box.address, number=job_id))
        ctx.tx.links.end(job.id, side)
    ctx.tx.jobs.put(job, opener=chosen.userid)
    asked_anew(ctx, job, *shared)
    ctx.tx.jobs.wake(job, "access")
    ctx.start(job)
    unseen = [box for box in shared.values() if made_in_console(box)]  # the row knows whom we asked, not its members
    notes = [say("backup.members_unseen", address=box.address, name=chosen.name) for box in unseen]
    return [Text(ctx.sender, lines(say("backup.asking_member", name=chosen.name, number=job.id), *notes))]


def waiting_for_access(ctx: Context, job_id: int) -> Job:
    """A job that waits for a page; UserError otherwise."""
    job = ctx.tx.jobs.find(job_id)
    if job is None or job.kind not in OPENING_KINDS:
        raise UserError(say("jobs.unknown", number=job_id))
    if job.state not in (JobState.WAITING, JobState.DUE) or job.stage != "access":
        raise UserError(say("backup.not_waiting_for_access", number=job_id, state=state_of(job)))
    return job


@router.command(
    "manager {job_id:int}", "找上级 {job_id:int}", role="admin", topic="backup", example=("manager 12", "找上级 12")
)
@router.action("by_manager", role="admin")
def ask_manager(ctx: Context, job_id: int) -> list[Reply]:
    """Ask the owner's manager to allow a backup that the owner cannot or does not answer."""
    job = waiting_for_access(ctx, job_id)
    owner = job.data.get("owner") if job.kind == KIND else None
    if owner is None:
        raise UserError(say("backup.no_owner", number=job_id))
    if ctx.tx.passwords.find(job.id, "source") is not None:  # he agreed to what he was shown, and to nothing else
        raise UserError(say("backup.owner_agreed", owner=ctx.directory.name(owner), number=job_id))
    facts = facts_now(ctx, job)
    if any(each.job_id == job.id for each in ctx.tx.approvals.asked_by(job.asked_by)):
        raise UserError(say("backup.manager_asked_already", number=job_id))
    requirement = ctx.policy.requirement("backup_member_without_owner")
    may = approvals.who_may(
        requirement, ctx.directory, ctx.roles, asker=job.asked_by, owner=owner, gains=facts["readers"],
        gains_known=readers_known(facts),
    )  # fmt: skip
    question = say(
        "backup.manager_question", owner=ctx.directory.name(owner), source=facts["source"], target=facts["target"],
        readers=readers({**job.data, "reader_names": names_of(ctx, facts)}),
    )  # fmt: skip
    _, replies = approvals.ask(
        ctx.tx, action="backup.without_owner", requirement=requirement, may=may, job_id=job.id, question=question,
        facts=facts, reason=str(job.data["reason"]), asked_by=job.asked_by,
        asked_by_name=str(job.data["asker_name"]), settings=ctx.settings,
    )  # fmt: skip
    named = [ctx.directory.name(userid) for userid in may.userids]
    return [*replies, Text(ctx.sender, say("backup.manager_asked", approvers=named, number=job.id))]


def names_of(ctx: Context, facts: Mapping[str, Any]) -> list[str]:
    """The readers among the facts, by name."""
    return [ctx.directory.name(each) for each in facts["readers"]]


def facts_now(ctx: Context, job: Job) -> dict[str, Any]:
    """What a yes to a job is about, as far as rows tell; the copy looks again."""
    target = ctx.tx.mailboxes.get(int(job.data["target"]))
    return {**job.data["facts"], "readers": ctx.directory.readers(target)}


@approvals.facts_of("backup.public")
@approvals.facts_of("backup.without_owner")
def facts_again(ctx: Context, approval: Approval) -> dict[str, Any]:
    """What the question showed, read again: if it changed, a yes to it is void."""
    return facts_now(ctx, ctx.tx.jobs.get(approval.job_id))


@approvals.decided("backup.without_owner")
def manager_decided(ctx: Context, approval: Approval) -> list[Reply]:
    """A yes lets the asking admin enter the password; the owner is told who allowed it."""
    job = ctx.tx.jobs.get(approval.job_id)
    open_now = job.state in (JobState.WAITING, JobState.DUE) and job.stage == "access"
    if approval.status is not ApprovalStatus.APPROVED or not open_now:
        return []
    if ctx.tx.passwords.find(job.id, "source") is not None:  # the owner was faster; what he was shown counts
        return []
    ctx.tx.jobs.put(job, by_manager=ctx.sender, facts=approval.facts, reader_names=names_of(ctx, approval.facts))
    ctx.tx.links.end(job.id, "source")
    asked_anew(ctx, job, "source")
    if job.state is JobState.WAITING:  # else it is at work, and finds it
        ctx.tx.jobs.wake(job, "access")
        ctx.start(job)
    words = say(
        "backup.owner_told_manager", manager=ctx.directory.name(ctx.sender), asker=job.data["asker_name"],
        source=job.data["source_address"], target=job.data["target_address"], reason=job.data["reason"],
        readers=readers(job.data),
    )  # fmt: skip
    return [Text(str(job.data["owner"]), words)]


@approvals.withdrawn("backup.without_owner")
def manager_not_asked(ctx: Context, approval: Approval) -> list[Reply]:
    """The manager is asked no more; the owner, who was asked first, still is."""
    job = ctx.tx.jobs.get(approval.job_id)
    if job.state not in (JobState.WAITING, JobState.DUE) or job.stage != "access":
        return []
    words = say("backup.owner_still_asked", owner=ctx.directory.name(str(job.data["owner"])), number=job.id)
    return [Text(ctx.sender, words)]
