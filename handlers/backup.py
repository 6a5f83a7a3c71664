"""
`backup ahing to support@ because he leaves`: the mail of one mailbox into another, verified and receipted.

The job's stages, each of which may run twice: start (who is who, confirmed), access (a password for each side),
preview (what would be copied), ready (waits for Start), copy, verify, receipt, cleanup (no key is left behind).
Nothing is copied before Start, nothing is ever deleted at the source, and "complete" is said only when it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from bot.context import Choose, Context, Missing
from bot.directory import Directory, Meant
from bot.errors import UpstreamError, UserError
from bot.mail.copy import CopyOutcome, Limits, Progress, copy_mail
from bot.mail.errors import LoginRefused, QuotaFull
from bot.mail.notes import Note, NoteKind
from bot.mail.plan import Filter, Plan, make_plan
from bot.mail.session import MailAccount
from bot.mail.verify import Verification, verify_copy
from bot.policy import Requirement
from bot.replies import CardUpdate, File, Reply, Text
from bot.router import Router
from bot.words import Words, lines, say
from bot.work import BACKOFF_MAX, JobContext, JobStep, SweepStep, Work, wait_after
from handlers import access, addresses, approvals, receipts
from handlers.access import SIDES, NoPassword, Side, refused_sides
from handlers.backup_card import (
    asked_card,
    closed_card,
    preview_card,
    progress_card,
    put_away,
    readers,
    redrawn,
    sure_card,
)
from handlers.connections import WANTED, Connections, wanted_by_others
from storage.ledger import LeaseLost, SqlLedger
from storage.models import Approval, ApprovalStatus, Job, JobState, Mailbox, MailboxKind

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()
router = Router()
work = Work()

KIND = "backup"
VERIFY_KIND = "verify"
ROOT = "其他文件夹"  # the console's own backup goes there; webmail calls it 我的文件夹
READY_WITHIN = timedelta(hours=24)
ACCESS_WITHIN = timedelta(days=7)
SLICE_SECONDS = 240.0
SLICE_SECONDS_WHEN_WANTED = 30.0  # others wait for connections
PROGRESS_EVERY_SECONDS = 2.0
KEEP_EVERY_SECONDS = 15.0  # leases of WRITER_SECONDS
CONNECTIONS_AGAIN = timedelta(seconds=5)
LET_IN = timedelta(seconds=8)
WRITER_SECONDS = 90.0
CONNECTIONS_MAX = 4  # of one copy: one to the source, the others to the target
WRITER_BUSY = timedelta(seconds=15)
VERIFY_ROUNDS_MAX = 3
PATIENCE = timedelta(hours=24)  # with a network or a server that is away, before a job gives up
PATIENT_STAGES = ("preview", "copy", "verify", "check")
FAILURES_TOLD = 3  # in a row; a short trouble is nobody's business
CONFIRMED_WITHIN = timedelta(hours=24)
CONFIRM_AGAIN = timedelta(hours=1)
LONG_COPY = timedelta(minutes=10)
ROOM_SHARE_MAX = 0.8
TARGETS_OFFERED = 10
PARTIAL_REFUSED = "backup.partial_refused"  # an admin may accept that
TOLD_AT_THE_END = ("cancelled", "expired")  # the other endings were told when they came

Stage = Callable[[JobContext], None]


# --- asking for it ---------------------------------------------------------------------------------------------------


@router.command(
    "backup|copy {source} [to {target}] [because {reason:text}] [since {since:date}] [only {folders:list}]"
    " [without {without:junk|spam}]",
    "备份 {source} [到|给 {target}] [原因|因为 {reason:text}] [自|从 {since:date}] [只要|仅 {folders:list}]"
    " [不要|不含 {without:垃圾邮件|垃圾箱}]",
    role="admin",
    topic="backup",
    example=("backup ahing to support@ because he leaves", "备份 ahing 到 support@ 原因 离职"),
)
def request_backup(
    ctx: Context,
    source: str,
    target: str | None = None,
    reason: str | None = None,
    since: date | None = None,
    folders: list[str] | None = None,
    without: str | None = None,
) -> list[Reply]:
    """Copy a mailbox's mail into another, once the right people agree."""
    admin = ctx.require_admin()
    wanted_source = ctx.directory.mailbox(source)
    if target is None:
        raise Choose("target", say("backup.where_to"), targets(ctx, wanted_source))
    wanted_target = ctx.directory.mailbox(target)
    if same(wanted_source, wanted_target):
        raise UserError(say("backup.same_mailbox", source=str(wanted_source), target=str(wanted_target)))
    if not reason:
        raise Missing("reason", say("backup.why", source=str(wanted_source), target=str(wanted_target)))
    ids = [meant.mailbox.id for meant in (wanted_source, wanted_target) if meant.mailbox is not None]
    for job in ctx.tx.jobs.open_on(ids, kind=KIND):
        if list(pair(job)) == ids:
            raise UserError(say("backup.already_open", number=job.id, source=str(wanted_source)))
    params = {
        "source": {"address": wanted_source.address, "userid": wanted_source.userid},
        "target": {"address": wanted_target.address, "userid": wanted_target.userid},
        "reason": reason,
        "since": since.isoformat() if since is not None else None,
        "folders": folders or [],
        "without_junk": without is not None,
    }
    job = ctx.tx.jobs.add(KIND, asked_by=admin, params=params)
    ctx.tx.jobs.put(job, reason=reason, asker_name=ctx.directory.name(admin))
    ctx.tx.audit.add(admin, "backup.asked", str(wanted_source), target=str(wanted_target), job=job.id, reason=reason)
    ctx.start(job)
    return [Text(admin, say("backup.looking", source=str(wanted_source), target=str(wanted_target), number=job.id))]


def targets(ctx: Context, source: Meant) -> list[tuple[str, str]]:
    """Where mail can go: the archive mailbox first, then support@, then the other public ones."""
    addresses_: list[str] = []
    if ctx.settings.exmail_archive_mailbox:
        addresses_.append(ctx.settings.address(ctx.settings.exmail_archive_mailbox))
    known = [box.address for box in ctx.tx.mailboxes.public()]
    addresses_ += sorted(known, key=lambda each: (not each.startswith("support@"), each))
    offered = [each for each in dict.fromkeys(addresses_) if each != source.address]
    if not offered:
        raise UserError(say("backup.no_target", source=str(source)))
    return [(each, each) for each in offered[:TARGETS_OFFERED]]


def same(one: Meant, other: Meant) -> bool:
    """Whether both are one mailbox, as far as rows tell; the job looks again."""
    if one.mailbox is not None and other.mailbox is not None:
        return one.mailbox.id == other.mailbox.id
    return (one.address is not None and one.address == other.address) or (
        one.userid is not None and one.userid == other.userid
    )


# --- the job ---------------------------------------------------------------------------------------------------------


@work.job(KIND, long=("copy", "verify"))
def turn(job: JobContext) -> None:
    """One turn of a backup, by its stage."""
    stages: dict[str, Stage] = {
        "start": find_both,
        "access": get_access,
        "preview": preview,
        "copy": copy,
        "verify": verify,
        "receipt": give_receipt,
        "cleanup": clean_up,
    }
    one_turn(job, stages[job.stage])


def one_turn(job: JobContext, stage: Stage) -> None:
    """
    One turn of a stage. A wish to cancel is honoured before and after it, also when the stage ends in waiting.

    Trouble with the network or a server is waited out for a day: a ten-hour copy must not end for an outage.
    """
    if job.stage != "cleanup" and cancel_wished(job):
        return
    try:
        stage(job)
    except UpstreamError as error:
        if job.stage not in PATIENT_STAGES or not patient(job, error):
            raise
    with job.services.store.begin() as tx:
        row = tx.jobs.get(job.job_id)
        if row.state is JobState.WAITING and row.cancel_asked_by is not None:
            end_with(JobStep(tx, row, job.services, job.roles(tx)), "cancelled")


def patient(job: JobContext, error: UpstreamError) -> bool:
    """Whether the same is tried again later, in ever longer steps; the asker hears of it once."""
    wait = wait_after(error)
    if wait is None:
        return False
    with job.begin() as step:
        row, done = step.job, int((step.job.data.get("progress") or {}).get("done", 0))
        trouble = dict(row.data.get("trouble") or {})
        if not trouble or done > trouble["done"]:
            trouble = {"since": step.now.isoformat(), "done": done, "told": trouble.get("told", False)}
        until = datetime.fromisoformat(trouble["since"]) + PATIENCE
        if step.now >= until:
            return False
        row.failures += 1
        if row.failures >= FAILURES_TOLD and not trouble["told"]:
            trouble["told"] = True
            why = error.words() or say("work.upstream", error=str(error))
            moment = f"{until.astimezone(job.services.settings.zone):%Y-%m-%d %H:%M}"
            step.say(Text(row.asked_by, say("backup.trouble", number=row.id, why=why, until=moment)))
        step.put(trouble=trouble)
        step.go(row.stage, due_at=step.now + min(BACKOFF_MAX, wait * 2 ** min(row.failures - 1, 10)))
        row.error = str(error)
        log.warning("job_later", job_id=row.id, stage=row.stage, failures=row.failures, error=str(error))
    return True


def cancel_wished(job: JobContext) -> bool:
    """Whether somebody cancelled; then the job goes to its cleanup."""
    with job.begin() as step:
        by = step.job.cancel_asked_by
        if by is None:
            return False
        end_with(step, "cancelled")
        return True


def end_with(step: JobStep, ending: str) -> None:
    """To the cleanup, and then to this ending."""
    step.put(ending=ending)
    step.tx.approvals.void(step.job.id)
    step.go("cleanup")


def find_both(job: JobContext) -> None:
    """Both mailboxes, confirmed now; a pair that cannot be, or is copied already, is refused."""
    found = {side: addresses.find_mailbox(job, **job.params[side]) for side in SIDES}
    source, target = found["source"].mailbox, found["target"].mailbox
    with job.begin() as step:
        if source is None or target is None:
            refuse(step, next(each.problem for each in found.values() if each.problem is not None))
            return
        if one_box(source, target):
            refuse(step, say("backup.same_mailbox", source=source.address, target=target.address))
            return
        for other in step.tx.jobs.open_on([source.id, target.id], kind=KIND):
            if other.id != step.job.id and pair(other) == (source.id, target.id):
                refuse(step, say("backup.already_open", number=other.id, source=source.address))
                return
        facts = facts_of(step, source, target)
        step.put(
            source=source.id, target=target.id, source_address=source.address, target_address=target.address,
            owner=source.owner, facts=facts, reader_names=[step.directory.name(each) for each in facts["readers"]],
            root=step.tx.mailboxes.choose_root(source, target, f"{ROOT}/{source.address}"),
        )  # fmt: skip
        step.tx.audit.add("bot", "backup.found", source.address, job=job.job_id, facts=facts)
        if source.owner is None and (wanted := stricter_public(step)) is not None:
            ask_approval(step, wanted)
            return
        step.go("access")


def stricter_public(step: JobStep) -> Requirement | None:
    """Whose yes the policy file wants for a public mailbox's mail; None: the asker's own Start is enough."""
    wanted = step.services.policy.requirement("backup_public")
    return None if wanted is Requirement.CONFIRM else Requirement.TWO  # a public mailbox has no owner's manager


def ask_approval(step: JobStep, requirement: Requirement) -> None:
    """Somebody else's yes first, as the policy file says; refused at once when nobody can give it."""
    job, facts = step.job, step.job.data["facts"]
    try:
        may = approvals.who_may(
            requirement, step.directory, step.roles, asker=job.asked_by, owner=None, gains=facts["readers"]
        )
    except approvals.NobodyCanAnswer as nobody:
        refuse(step, nobody.words)
        return
    question = say("backup.public_question", source=facts["source"], target=facts["target"], readers=readers(job.data))
    approval, replies = approvals.ask(
        step.tx, action="backup.public", requirement=requirement, may=may, job_id=job.id, question=question,
        facts=facts, reason=str(job.data["reason"]), asked_by=job.asked_by,
        asked_by_name=str(job.data["asker_name"]), settings=step.services.settings,
    )  # fmt: skip
    named = [step.directory.name(userid) for userid in may.userids]
    step.say(*replies, Text(job.asked_by, say("backup.manager_asked", approvers=named, number=job.id)))
    step.tx.jobs.wait(job, "approval", expires_at=approval.expires_at)


@approvals.decided("backup.public")
def public_decided(ctx: Context, approval: Approval) -> list[Reply]:
    """A yes lets it go on as always; a no ends it."""
    job = ctx.tx.jobs.get(approval.job_id)
    if job.state is not JobState.WAITING or job.stage != "approval":
        return []
    if approval.status is ApprovalStatus.APPROVED:
        ctx.tx.jobs.put(job, facts=approval.facts)
        ctx.tx.jobs.wake(job, "access")
    else:
        ctx.tx.jobs.put(job, ending="rejected")
        ctx.tx.jobs.wake(job, "cleanup")
    ctx.start(job)
    return []


def one_box(one: Mailbox, other: Mailbox) -> bool:
    """Whether both are the same mailbox: the same row, one member's, or one the alias of the other."""
    return (
        one.id == other.id
        or (one.owner is not None and one.owner == other.owner)
        or one.address in other.aliases
        or other.address in one.aliases
    )


def refuse(step: JobStep, why: Words) -> None:
    """It cannot be done as it was asked."""
    step.say(Text(step.job.asked_by, why))
    end_with(step, "refused")


def pair(job: Job) -> tuple[int | None, int | None]:
    """The mailboxes of a job, as far as they are known."""
    return job.data.get("source"), job.data.get("target")


def facts_of(step: JobStep, source: Mailbox, target: Mailbox) -> dict[str, Any]:
    """What people agree to: whose mail, into which mailbox, read by whom. No counts."""
    return {
        "source": source.address,
        "owner": source.owner,
        "target": target.address,
        "target_kind": str(target.kind),
        "readers": step.directory.readers(target),
    }


def told(facts: dict[str, Any], directory: Directory) -> Words:
    """Facts in words."""
    owner = facts["owner"]
    return say(
        "backup.facts", source=facts["source"], owner=directory.name(owner) if owner else "-",
        target=facts["target"], readers=[directory.name(each) for each in facts["readers"]] or "-",
    )  # fmt: skip


def boxes(job: JobContext | JobStep, tx: Transaction) -> dict[Side, Mailbox]:
    """Both mailboxes of a job."""
    data = job.data if isinstance(job, JobContext) else job.job.data
    return {side: tx.mailboxes.get(int(data[side])) for side in SIDES if data.get(side) is not None}


# --- access ----------------------------------------------------------------------------------------------------------


def get_access(job: JobContext) -> None:
    """
    A password for each side, then the preview. Pages first: no key is made and nothing switched before people agreed.
    """
    sides = sides_of(job.kind)
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


def sides_of(kind: str) -> list[Side]:
    """The mailboxes a job logs in to: a later check looks at the target only."""
    return list(SIDES) if kind == KIND else ["target"]


def mintable(box: Mailbox) -> bool:
    """Whether the app may make a password for it, as far as we know."""
    return box.kind is MailboxKind.PUBLIC and box.managed


def wait_for_access(step: JobStep) -> None:
    """For somebody's page: a week, but a day only while a minted password lives."""
    within = READY_WITHIN if step.tx.passwords.minted_for(step.job.id) else ACCESS_WITHIN
    step.tx.jobs.wait(step.job, "access", expires_at=step.now + within)


def ask_access(step: JobStep, side: Side, box: Mailbox) -> None:
    """Send the page to who can open the mailbox, and tell the asker whom."""
    who = access.opener(step, box, by_manager=bool(step.job.data.get("by_manager")) and side == "source")
    data, job = step.job.data, step.job
    values = {
        "asker": data["asker_name"], "source": data["source_address"], "target": data["target_address"],
        "reason": data["reason"],
    }  # fmt: skip
    if job.kind == VERIFY_KIND:
        why = say("backup.open_to_check", asker=data["asker_name"], address=box.address, number=job.params["backup"])
    elif who.owner and side == "source":
        why = say("backup.consent", **values, what=what_of(job.params), readers=readers(data))
    elif who.owner:
        why = say("backup.consent_target", **values)
    elif box.owner is not None:
        why = say("backup.open_by_manager", address=box.address, owner=step.directory.name(box.owner), number=job.id)
    elif box.kind is MailboxKind.UNSEEN:
        why = say("backup.open_unseen", address=box.address, number=job.id, asker=data["asker_name"])
    else:
        why = say("backup.open_public", address=box.address, number=job.id, asker=data["asker_name"])
    step.say(*access.ask_for(step, side, box, who, why))
    if who.userid == job.asked_by:
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


@router.command("link {job_id:int}", "链接 {job_id:int}", topic="backup", example=("link 12", "链接 12"))
def new_link(ctx: Context, job_id: int) -> list[Reply]:
    """Send me a new page for a job that waits for my mailbox."""
    job = ctx.tx.jobs.find(job_id)
    links = access.waits_for(job, ctx.sender, ctx.tx) if job is not None else []
    if job is None or not links or job.state is not JobState.WAITING or job.stage != access.WAITING_STAGE:
        raise UserError(say("backup.no_link", number=job_id))
    if ctx.tx.links.made_since(ctx.sender, timedelta(hours=1)) >= access.LINKS_AN_HOUR_MAX:
        raise UserError(say("backup.too_many_links"))
    for link in links:
        ctx.tx.links.end(job.id, link.side)
    asked_anew(ctx, job, *(link.side for link in links))
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
    sides = [side for side in sides_of(job.kind) if ctx.tx.passwords.find(job.id, side) is None]
    both = {side: ctx.tx.mailboxes.get(int(job.data[side])) for side in sides}
    shared = {side: box for side, box in both.items() if box.owner is None and not mintable(box)}
    if not shared:
        raise UserError(say("backup.only_the_owner", number=job_id))
    chosen = ctx.directory.member(member)
    for side, box in shared.items():
        can_open = ctx.directory.readers(box)
        if can_open and chosen.userid not in can_open:
            named = [ctx.directory.name(each) for each in can_open]
            raise UserError(say("backup.cannot_open", name=chosen.name, address=box.address, readers=named))
        if refused_sides(job).get(side) == chosen.userid:
            raise UserError(say("backup.refused_already", name=chosen.name, address=box.address, number=job_id))
        ctx.tx.links.end(job.id, side)
    ctx.tx.jobs.put(job, opener=chosen.userid)
    asked_anew(ctx, job, *shared)
    ctx.tx.jobs.wake(job, "access")
    ctx.start(job)
    return [Text(ctx.sender, say("backup.asking_member", name=chosen.name, number=job.id))]


def waiting_for_access(ctx: Context, job_id: int) -> Job:
    """A job that waits for a page; UserError otherwise."""
    job = ctx.tx.jobs.find(job_id)
    if job is None or job.kind not in (KIND, VERIFY_KIND):
        raise UserError(say("jobs.unknown", number=job_id))
    if job.state not in (JobState.WAITING, JobState.DUE) or job.stage != "access":
        raise UserError(say("backup.not_waiting_for_access", number=job_id))
    return job


@router.command(
    "manager {job_id:int}", "找上级 {job_id:int}", role="admin", topic="backup", example=("manager 12", "找上级 12")
)
@router.action("by_manager", role="admin")
def ask_manager(ctx: Context, job_id: int) -> list[Reply]:
    """Ask the owner's manager to allow a backup that the owner cannot or does not answer."""
    job = waiting_for_access(ctx, job_id)
    owner = job.data.get("owner")
    if owner is None:
        raise UserError(say("backup.no_owner", number=job_id))
    if ctx.tx.passwords.find(job.id, "source") is not None:  # he agreed to what he was shown, and to nothing else
        raise UserError(say("backup.owner_agreed", owner=ctx.directory.name(owner), number=job_id))
    facts = facts_now(ctx, job)
    if any(each.job_id == job.id for each in ctx.tx.approvals.asked_by(job.asked_by)):
        raise UserError(say("backup.manager_asked_already", number=job_id))
    requirement = ctx.policy.requirement("backup_member_without_owner")
    may = approvals.who_may(
        requirement, ctx.directory, ctx.roles, asker=job.asked_by, owner=owner, gains=facts["readers"]
    )
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


# --- preview ---------------------------------------------------------------------------------------------------------


def preview(job: JobContext) -> None:
    """Look at both sides, change nothing, and show what would be copied."""
    with job.services.store.begin() as tx:
        both = boxes(job, tx)
        own_roots = tuple(tx.mailboxes.roots_in(both["source"]))
    try:
        source, target = accounts(job, both)
        with Connections(job, least=2, most=2) as connections:
            if not connections.count:
                wait_for_connections(job)
                return
            plan = asyncio.run(
                make_plan(
                    source, target, into=str(job.data["root"]), filter=filter_of(job.params),
                    now=job.services.clock.now(), exclude_roots=own_roots,
                )
            )  # fmt: skip
    except NoPassword:
        ask_again(job)
        return
    except LoginRefused as error:
        refused(job, error, both)
        return
    there = receipts.stored(ledger_of(job, both), {folder.wire for folder in plan.folders})
    with job.begin() as step:
        step.put(
            plan=summary(plan, there, filter_of(job.params), job.services.settings.exmail_quota_bytes),
            checked_at=step.now.isoformat(),
            trouble=None,
            **{WANTED: False},
        )
        step.tx.jobs.wait(step.job, "ready", expires_at=step.now + READY_WITHIN)
        show_preview(step)


def accounts(job: JobContext, both: dict[Side, Mailbox]) -> tuple[MailAccount, MailAccount]:
    """How to log in to source and target; NoPassword when one is not there any more."""
    return access.account(job, "source", both["source"]), access.account(job, "target", both["target"])


def ask_again(job: JobContext) -> None:
    """A password is not there any more: back to asking for it."""
    with job.begin() as step:
        step.go("access")


def wait_for_connections(job: JobContext) -> None:
    """All connections are in use: others learn that this job waits, and it looks again soon."""
    with job.begin() as step:
        step.put(**{WANTED: True})
        step.go(step.job.stage, due_at=step.now + CONNECTIONS_AGAIN)


def filter_of(params: Any) -> Filter:
    """The filter as it was typed."""
    since = date.fromisoformat(params["since"]) if params.get("since") else None
    return Filter(since, tuple(params.get("folders") or ()), bool(params.get("without_junk")))


def refused(job: JobContext, error: LoginRefused, both: dict[Side, Mailbox]) -> None:
    """A login was refused: never tried again by itself."""
    side: Side = "target" if error.mailbox.casefold() == both["target"].address else "source"
    with job.begin() as step:
        minted = step.tx.passwords.find(job.job_id, side)
        access.login_refused(step, side, both[side], error.words())
        if minted is not None and minted.given_by == "bot":
            step.go("access")
        else:
            wait_for_access(step)


def summary(plan: Plan, there: receipts.Stored, wanted: Filter, quota_bytes: int) -> dict[str, Any]:
    """A plan as JSON. What an earlier run has copied needs no room any more."""
    quota = plan.target_quota_bytes or quota_bytes
    used = plan.target_size_bytes or 0
    if wanted.since is not None:  # the ledger does not say which of its mails are that young
        there = receipts.Stored(0, 0)
    more = max(0, plan.size_bytes - there.size_bytes)
    return {
        "folders": len(plan.folders), "mails": plan.messages, "size_bytes": plan.size_bytes,
        "mails_there": there.mails, "more_bytes": more,
        "oldest": plan.oldest.isoformat() if plan.oldest else None,
        "newest": plan.newest.isoformat() if plan.newest else None,
        "target_bytes": used, "quota_bytes": quota, "tight": bool(more) and used + more > quota * ROOM_SHARE_MAX,
        "notes": [as_json_note(note) for note in plan.notes],
    }  # fmt: skip


def as_json_note(note: Note) -> dict[str, str]:
    """A note as JSON."""
    return {"kind": str(note.kind), "folder": note.folder, "detail": note.detail}


def note_words(note: dict[str, str]) -> Words:
    """A stored note's sentence."""
    return Note(NoteKind(note["kind"]), note["folder"], note["detail"]).words()


def show_preview(step: JobStep) -> None:
    """The card with Start, Check again and Cancel; what must be known before stands in a text above it."""
    job, data, plan = step.job, step.job.data, step.job.data["plan"]
    warnings = [note_words(note) for note in plan["notes"]]
    if plan["tight"]:
        warnings.append(
            say(
                "backup.tight",
                target=data["target_address"],
                used=receipts.size(plan["target_bytes"]),
                more=receipts.size(plan["more_bytes"]),
                quota=receipts.size(plan["quota_bytes"]),
            )
        )
    notices = [say("backup.warning", warning=warning) for warning in warnings]
    notices += [say("backup.can_read", target=data["target_address"], readers=readers(data)), say("backup.not_mail")]
    step.say(
        *put_away(step.tx, job, say("backup.replaced")), Text(job.asked_by, lines(*notices)),
        preview_card(job, len(warnings)),
    )  # fmt: skip


def ready_job(ctx: Context, job_id: int) -> Job:
    """A backup of which a preview was shown; UserError otherwise."""
    job = ctx.tx.jobs.find(job_id)
    if job is None or job.kind != KIND:
        raise UserError(say("jobs.unknown", number=job_id))
    if job.state is not JobState.WAITING or job.stage not in ("ready", "full"):
        raise UserError(say("backup.not_ready", number=job_id))
    return job


@router.command(
    "start {job_id:int} [{anyway:anyway|regardless}]",
    "开始 {job_id:int} [{anyway:仍然|继续}]",
    role="admin",
    topic="backup",
    example=("start 12", "开始 12"),
)
@router.action("start", role="admin")
def start(ctx: Context, job_id: int, anyway: str | None = None) -> list[Reply]:
    """Start copying what the preview showed."""
    job = ready_job(ctx, job_id)
    plan = job.data["plan"]
    if plan["tight"] and anyway is None:
        return [sure_card(job, ctx.sender, ctx.settings.exmail_archive_mailbox)]
    ctx.tx.jobs.put(
        job, started_by=ctx.sender, started_at=ctx.now.isoformat(), before=None, copied=0, copied_bytes=0, already=0,
        rounds=0, half_told=False, facts_checked=False, progress=None, notes=[], outcome=None, trouble=None,
        facts_wait_told=False,
    )  # fmt: skip
    ctx.tx.audit.add(
        ctx.sender, "backup.started", job.data["source_address"], job=job.id, target=job.data["target_address"]
    )
    job.expires_at = None
    ctx.tx.jobs.wake(job, "copy")
    ctx.start(job)
    replies = redrawn(ctx, job, progress_card(job, ctx.sender, ctx.now, ctx.settings.zone))
    owner = job.data.get("owner")
    if owner is not None and owner != ctx.sender:
        words = say(
            "backup.owner_told", asker=job.data["asker_name"], source=job.data["source_address"],
            target=job.data["target_address"], reason=job.data["reason"], readers=readers(job.data),
        )  # fmt: skip
        replies.append(Text(str(owner), words))
    return replies


@router.command(
    "check {job_id:int}", "检查 {job_id:int}", role="admin", topic="backup", example=("check 12", "检查 12")
)
@router.action("check", role="admin")
def check_again(ctx: Context, job_id: int) -> list[Reply]:
    """Look at both mailboxes again, after a setting was changed there."""
    job = ready_job(ctx, job_id)
    ctx.tx.jobs.wake(job, "preview")
    ctx.start(job)
    if ctx.task_id is None:
        return [*put_away(ctx.tx, job, say("backup.checking")), Text(ctx.sender, say("backup.checking"))]
    return redrawn(ctx, job, closed_card(job, ctx.sender, say("backup.checking")))


# --- the copy --------------------------------------------------------------------------------------------------------


def copy(job: JobContext) -> None:
    """One slice of the copy, as the only writer of this target folder."""
    with job.services.store.begin() as tx:
        both = boxes(job, tx)
        own_roots = tuple(tx.mailboxes.roots_in(both["source"]))
    if not job.data.get("facts_checked") and not facts_hold(job):
        return
    lease = f"copy:{both['target'].id}:{job.data['root']}"
    holder = f"{job.services.replica}:{job.job_id}:{job.wakes}"
    fence = job.services.leases.acquire(lease, holder, WRITER_SECONDS)
    if fence is None:
        later(job, WRITER_BUSY)
        return
    ledger = ledger_of(job, both, lambda: job.services.leases.holds(lease, holder, fence))
    try:
        source, target = accounts(job, both)
        with Connections(job, least=2, most=CONNECTIONS_MAX) as connections:
            if not connections.count:
                wait_for_connections(job)
                return
            count_what_is_there(job, both)
            reporter = Reporter(job, lease, holder, connections)
            outcome = asyncio.run(
                copy_mail(
                    source, target, into=str(job.data["root"]), filter=filter_of(job.params), ledger=ledger,
                    limits=Limits(connections=max(1, connections.count - 1), seconds_max=SLICE_SECONDS),
                    on_progress=reporter.progress, should_stop=reporter.should_stop, exclude_roots=own_roots,
                )
            )  # fmt: skip
    except NoPassword:
        ask_again(job)
        return
    except LoginRefused as error:
        refused(job, error, both)
        return
    except QuotaFull as error:
        full(job, error)
        return
    except LeaseLost:  # this machine stood still for long; what was sent and not written down is found again
        later(job, WRITER_BUSY)
        return
    finally:
        job.services.leases.release(lease, holder)
    after_slice(job, outcome)


def later(job: JobContext, wait: timedelta) -> None:
    """The same stage again, in a while."""
    with job.begin() as step:
        step.go(step.job.stage, due_at=step.now + wait)


def count_what_is_there(job: JobContext, both: dict[Side, Mailbox]) -> None:
    """What earlier runs had stored, noted once: the receipt is the difference, whatever crashes in between."""
    if job.data.get("before") is not None:
        return
    stored = receipts.stored(ledger_of(job, both))
    with job.begin() as step:
        step.put(before=[stored.mails, stored.size_bytes])


class Reporter:
    """
    Notes how far a slice is, keeps its leases, and hears within seconds whether the slice is to end.

    It ends for who cancelled, for a process that stops, and after a while for another job that lacks connections.
    """

    def __init__(self, job: JobContext, lease: str, holder: str, connections: Connections) -> None:
        self._job = job
        self._lease = lease
        self._holder = holder
        self._connections = connections
        self._began = self._kept = time.monotonic()
        self._told = self._looked = 0.0
        self._stop = False

    def progress(self, progress: Progress) -> None:
        """Called by the copy twice a second."""
        if self._stop or progress.seconds - self._told < PROGRESS_EVERY_SECONDS:
            return
        self._told = progress.seconds
        with self._job.begin() as step:
            step.put(progress=as_json(progress, step.now), **{WANTED: False})

    def should_stop(self) -> bool:
        """Whether the slice is to end; asked several times a second, looks into the database every other one."""
        now = time.monotonic()
        if self._stop or now - self._looked < PROGRESS_EVERY_SECONDS:
            return self._stop
        self._looked = now
        if now - self._kept >= KEEP_EVERY_SECONDS:
            self._kept = now
            self._job.services.leases.acquire(self._lease, self._holder, WRITER_SECONDS)
            self._connections.keep()
        self._stop = self._job.services.stopping.is_set() or self._job.cancelled()
        if now - self._began >= SLICE_SECONDS_WHEN_WANTED and not self._stop:
            with self._job.services.store.begin() as tx:
                self._stop = wanted_by_others(tx, self._job.job_id)
        return self._stop


def as_json(progress: Progress, now: datetime) -> dict[str, Any]:
    """How far it is, for the card."""
    rate = progress.stored / progress.seconds if progress.seconds else 0.0
    return {
        "done": progress.done, "left": progress.planned, "refused": progress.refused, "bytes": progress.size_bytes,
        "left_bytes": progress.planned_bytes, "folder": progress.folder, "rate": round(rate, 1), "at": now.isoformat(),
    }  # fmt: skip


def ledger_of(job: JobContext, both: dict[Side, Mailbox], fence: Any = None) -> SqlLedger:
    """The ledger of this pair and root; another incarnation of the source is another ledger."""
    source_key, target_key = f"mailbox:{job.data['source']}", f"mailbox:{both['target'].id}"
    return SqlLedger(job.services.store.engine, source_key, target_key, str(job.data["root"]), fence=fence)


def facts_hold(job: JobContext) -> bool:
    """
    What was agreed to is read again; a difference is shown, and nothing is copied.

    Only what was seen to differ is a difference. "Nobody has this address" and "no more look-ups today" are none: then
    what was confirmed within a day holds, else it is asked again until it can be confirmed.
    """
    with job.services.store.begin() as tx:
        agreed = boxes(job, tx)
    found = {side: addresses.find_mailbox(job, str(job.data[f"{side}_address"]), None) for side in SIDES}
    with job.begin() as step:
        before = step.job.data["facts"]
        seen, hidden = dict(agreed), list(SIDES)
        for side in SIDES:
            if (box := found[side].mailbox) is not None and not (hides(box) and not hides(agreed[side])):
                seen[side] = box
                hidden.remove(side)
        now = facts_of(step, seen["source"], seen["target"])
        if (seen["source"].id, seen["target"].id) == pair(step.job) and now == before:
            if all(lately_confirmed(step.tx, agreed[side]) for side in hidden):
                step.put(facts_checked=True)
                return True
            began = datetime.fromisoformat(step.job.data["started_at"])
            problem = found[hidden[0]].problem or say("addresses.no_budget", address=agreed[hidden[0]].address)
            if step.now < began + PATIENCE:
                if not step.job.data.get("facts_wait_told"):
                    step.put(facts_wait_told=True)
                    step.say(Text(step.job.asked_by, say("backup.facts_wait", number=job.job_id, why=problem)))
                step.go("copy", due_at=step.now + CONFIRM_AGAIN)
                return False
            changed = problem
        else:
            changed = told(now, step.directory)
        words = say("backup.facts_changed", number=job.job_id, before=told(before, step.directory), now=changed)
        step.say(Text(step.job.asked_by, words))
        step.tx.audit.add("bot", "backup.facts_changed", str(before["source"]), job=job.job_id, before=before, now=now)
        end_with(step, "void")
        return False


def hides(box: Mailbox) -> bool:
    """Whether WeCom shows nothing of a mailbox; of one that it showed before, that is no news."""
    return box.kind is MailboxKind.UNSEEN


def lately_confirmed(tx: Transaction, box: Mailbox) -> bool:
    """Whether WeCom said within a day that a mailbox is whose it was agreed to be."""
    if box.confirmed_at is not None and box.confirmed_at > tx.now - CONFIRMED_WITHIN:
        return True
    known = tx.mailboxes.last_look_up(box.address, within=CONFIRMED_WITHIN)
    return known is not None and known.userid == box.owner


def full(job: JobContext, error: QuotaFull) -> None:
    """The target is full: stop and say so at once."""
    with job.begin() as step:
        step.say(Text(step.job.asked_by, say("backup.full", why=error.words(), number=job.job_id)))
        step.tx.audit.add("bot", "backup.full", step.job.data["target_address"], job=job.job_id)
        step.tx.jobs.wait(step.job, "full", expires_at=step.now + READY_WITHIN)


def after_slice(job: JobContext, outcome: CopyOutcome) -> None:
    """Write down what a slice did; on to the check when it was the last."""
    with job.begin() as step:
        data = step.job.data
        step.job.failures = 0
        step.put(trouble=None, **{WANTED: False})
        left = sum(folder.planned for folder in outcome.folders)
        done = sum(folder.stored for folder in outcome.folders)
        size_bytes = sum(folder.size_bytes for folder in outcome.folders)
        mails_before, bytes_before = data["before"]
        step.put(
            already=mails_before, copied=max(0, done - mails_before), copied_bytes=max(0, size_bytes - bytes_before),
            progress={**(data.get("progress") or {}), "done": done, "left": left, "at": step.now.isoformat()},
        )  # fmt: skip
        note_down(step, outcome.notes)
        if outcome.finished:
            step.go("verify")
            return
        started = datetime.fromisoformat(data["started_at"])
        if not data.get("half_told") and done >= left and step.now - started > LONG_COPY:
            step.put(half_told=True)
            step.say(Text(step.job.asked_by, say("backup.half", number=job.job_id, done=done, left=left)))
        if job.services.stopping.is_set() or wanted_by_others(step.tx, job.job_id):
            step.go("copy", due_at=step.now + LET_IN)


def note_down(step: JobStep, notes: list[Note]) -> None:
    """What is worth knowing beyond the numbers, for the receipt; the preview has told its own already."""
    known = [*step.job.data["plan"]["notes"], *step.job.data.get("notes", [])]
    new = [note for note in map(as_json_note, notes) if note not in known]
    if new:
        step.put(notes=[*step.job.data.get("notes", []), *new])


# --- the check, the receipt, the end ---------------------------------------------------------------------------------


def verify(job: JobContext) -> None:
    """Compare both sides; what came to the source meanwhile is fetched, too."""
    with job.services.store.begin() as tx:
        both, began = boxes(job, tx), tx.now
        own_roots = tuple(tx.mailboxes.roots_in(both["source"]))
    try:
        source, target = accounts(job, both)
        with Connections(job, least=2, most=2) as connections:
            if not connections.count:
                wait_for_connections(job)
                return
            checked = asyncio.run(
                verify_copy(
                    source, target, ledger=ledger_of(job, both), filter=filter_of(job.params), exclude_roots=own_roots,
                )
            )  # fmt: skip
    except NoPassword:
        ask_again(job)
        return
    except LoginRefused as error:
        refused(job, error, both)
        return
    with job.begin() as step:
        rounds = int(step.job.data.get("rounds", 0)) + 1
        step.put(
            rounds=rounds, verification=verification_json(checked), verified_from=began.isoformat(), trouble=None,
            **{WANTED: False},
        )  # fmt: skip
        note_down(step, checked.notes)
        behind = sum(folder.not_copied + folder.newer for folder in checked.folders)
        step.go("copy" if behind and rounds < VERIFY_ROUNDS_MAX else "receipt")


def verification_json(checked: Verification) -> dict[str, Any]:
    """What the comparison saw, as JSON."""
    return {
        "ok": checked.ok, "refused": checked.refused, "hashed": checked.hashed,
        "differences": list(checked.differences),
        "folders": [
            {
                "name": each.name, "target": each.target, "stored": each.stored, "found": each.found,
                "missing": each.missing, "different": each.different, "not_copied": each.not_copied,
                "refused": each.refused, "newer": each.newer, "foreign": each.foreign, "ok": each.ok,
            }
            for each in checked.folders
        ],
    }  # fmt: skip


def why_partial(step: JobStep, refusals: int) -> list[Words]:
    """Why this backup may not be called complete; empty when it may."""
    data, params = step.job.data, step.job.params
    reasons: list[Words] = []
    if params.get("since") or params.get("folders") or params.get("without_junk"):
        reasons.append(say("backup.partial_filter"))
    if not data["verification"]["ok"]:
        count = len(data["verification"]["differences"])
        reasons.append(say("backup.partial_check", count=count, number=step.job.id))
    if newer := sum(each["newer"] for each in data["verification"]["folders"]):
        reasons.append(say("backup.partial_newer", count=newer))
    if refusals:
        reasons.append(say(PARTIAL_REFUSED, count=refusals, number=step.job.id))
    kinds = {note["kind"] for note in (*data["plan"]["notes"], *data.get("notes", []))}
    if NoteKind.WINDOW in kinds:
        reasons.append(say("backup.partial_window"))
    if NoteKind.HIDDEN_FOLDERS in kinds:
        reasons.append(say("backup.partial_hidden"))
    if kinds & {NoteKind.FOLDER_UNREADABLE, NoteKind.FOLDER_REFUSED}:
        reasons.append(say("backup.partial_folders"))
    source = step.tx.mailboxes.get(int(data["source"]))
    stopped_at = stopped_receiving_at(step.tx, source)
    if stopped_at is None or stopped_at > datetime.fromisoformat(data["verified_from"]):
        reasons.append(say("backup.partial_receiving", source=source.address))
    return reasons


def stopped_receiving_at(tx: Transaction, source: Mailbox) -> datetime | None:
    """
    When a mailbox stopped receiving mail: when the member who owns it left, and nobody else was given the address.

    Never because a look-up found nobody: that has many causes.
    """
    owner = tx.members.find(source.owner) if source.owner is not None else None
    now_there = tx.mailboxes.at(source.address)
    given_on = now_there is not None and now_there.id != source.id and now_there.kind is not MailboxKind.UNSEEN
    return None if owner is None or given_on else owner.left_at


def give_receipt(job: JobContext) -> None:
    """Say what is where now, complete or partial and why, with the list as a file."""
    with job.services.store.begin() as tx:
        both = boxes(job, tx)
    refused = receipts.refusals(ledger_of(job, both))
    with job.begin() as step:
        data = step.job.data
        started = datetime.fromisoformat(data["started_at"])
        partial = why_partial(step, len(refused))
        stored = sum(each["found"] for each in data["verification"]["folders"])
        verified = data["verification"]["ok"]
        title = say(
            "backup.receipt_title" if verified else "backup.receipt_not_verified",
            count=stored, source=data["source_address"], target=data["target_address"],
        )  # fmt: skip
        words = say(
            "backup.receipt", title=title, number=job.job_id, copied=data.get("copied", 0),
            already=data.get("already") or 0, refused=len(refused),
            size=receipts.size(int(data.get("copied_bytes", 0))),
            duration=receipts.duration(step.now - started), root=data["root"],
        )  # fmt: skip
        verdict = say("backup.complete") if not partial else say("backup.partial")
        reasons = [say("backup.partial_because", reason=each) for each in partial]
        notes = [note_words(each) for each in data.get("notes", [])]
        step.say(*put_away(step.tx, step.job, say("backup.finished"), title))
        exceptions = [say("backup.refused_mail", **each.shown()) for each in refused[: receipts.SHOWN_MAX]]
        if len(refused) > receipts.SHOWN_MAX:
            exceptions.append(say("backup.more_refused", count=len(refused) - receipts.SHOWN_MAX))
        step.say(Text(step.job.asked_by, lines(words, verdict, *reasons, *notes, *exceptions)))
        name = f"backup-{job.job_id}-{step.now.astimezone(job.services.settings.zone):%Y%m%d}.xlsx"
        step.say(File(step.job.asked_by, name, receipts.workbook(step.job, refused)))
        if data.get("owner") and data["owner"] != step.job.asked_by:
            step.say(Text(str(data["owner"]), title))
        outcome = {
            "copied": data.get("copied", 0),
            "refused": len(refused),
            "verified": verified,
            "complete": not partial,
            "against": [each.key for each in partial],
        }
        step.put(outcome=outcome)
        step.tx.audit.add("bot", "backup.receipt", data["source_address"], job=job.job_id, root=data["root"], **outcome)
        end_with(step, "done")


def clean_up(job: JobContext) -> None:
    """No key is left behind; then the job has its ending."""
    problems = access.give_back(job.services, job.job_id)
    with job.begin() as step:
        for problem in problems:
            step.say(*(Text(userid, problem) for userid in sorted({step.job.asked_by, *step.roles.admins})))
        if problems:
            step.tx.moments.happened(access.TOLD)
        finish(step)


def finish(step: JobStep) -> None:
    """The job has its ending; who did not hear of it yet does."""
    job, ending = step.job, str(step.job.data.get("ending") or "failed")
    step.say(*put_away(step.tx, job, say(f"jobs.ended_{ending}")))
    by = job.cancel_asked_by
    if ending == "cancelled" and by is not None and by != job.asked_by:
        step.say(Text(job.asked_by, say("backup.ended_cancelled_by", number=job.id, name=step.directory.name(by))))
    elif ending in TOLD_AT_THE_END:
        step.say(Text(job.asked_by, say(f"backup.ended_{ending}", number=job.id)))
    step.tx.audit.add("bot", "backup.ended", str(job.data.get("source_address", "")), job=job.id, ending=ending)
    state = {"done": JobState.DONE, "failed": JobState.FAILED}.get(ending, JobState.CANCELLED)
    step.tx.jobs.end(job, state, error=job.error)


@work.failed(KIND)
def failed(step: JobStep, words: Words) -> None:
    """It cannot go on: say why, keep what was copied, and leave no key behind."""
    if step.job.stage == "cleanup":  # it has its ending all the same; what is left of keys is tried again every hour
        if step.tx.moments.first_within(access.TOLD, access.TOLD_EVERY):
            told_words = say("backup.cleanup_failed", number=step.job.id, why=words)
            step.say(*(Text(userid, told_words) for userid in step.roles.admins))
        finish(step)
        return
    stage = say(f"jobs.stage_{step.job.stage}")
    step.say(Text(step.job.asked_by, say("backup.failed", number=step.job.id, stage=stage, why=words)))
    end_with(step, "failed")
    step.job.error = words.text("en")


@work.sweep("backup-expiry", timedelta(minutes=1))
def expire(sweep: SweepStep) -> None:
    """Backups that waited too long for a person end, without a key left behind."""
    for job in sweep.tx.jobs.expired(count_max=100):
        if job.kind in (KIND, VERIFY_KIND):
            sweep.tx.jobs.put(job, ending="expired")
            sweep.tx.approvals.void(job.id)
            sweep.tx.jobs.wake(job, "cleanup")
            sweep.start(job)


@router.command(
    "accept {job_id:int}", "接受 {job_id:int}", role="admin", topic="backup", example=("accept 12", "接受 12")
)
def accept(ctx: Context, job_id: int) -> list[Reply]:
    """Accept that the mails a backup lists as refused are not copied; then it may count as complete."""
    admin, job = ctx.require_admin(), ctx.tx.jobs.find(job_id)
    if job is None or job.kind != KIND:
        raise UserError(say("jobs.unknown", number=job_id))
    outcome = dict(job.data.get("outcome") or {})
    if job.state is not JobState.DONE or not outcome.get("refused") or outcome.get("accepted_by"):
        raise UserError(say("backup.nothing_to_accept", number=job_id))
    against = [each for each in outcome.get("against", ["?"]) if each != PARTIAL_REFUSED]
    outcome |= {"accepted_by": admin, "against": against, "complete": not against}
    ctx.tx.jobs.put(job, outcome=outcome)
    source, count = str(job.data["source_address"]), outcome["refused"]
    ctx.tx.audit.add(admin, "backup.accepted", source, job=job_id, refused=count, complete=not against)
    key = "backup.accepted_still_partial" if against else "backup.accepted_complete"
    words = say(key, number=job_id, count=count, name=ctx.directory.name(admin), source=source)
    return [Text(each, words) for each in dict.fromkeys((admin, job.asked_by))]


# --- progress --------------------------------------------------------------------------------------------------------


@router.action("refresh")
def refresh(ctx: Context, job_id: int) -> list[Reply]:
    """How far a copy is now, on the same card."""
    job = ctx.tx.jobs.find(job_id)
    if job is None or job.kind != KIND:
        raise UserError(say("jobs.unknown", number=job_id))
    if job.stage not in ("copy", "verify", "receipt", "cleanup") or job.state is not JobState.DUE:
        raise UserError(say("backup.not_copying", number=job_id))
    card = progress_card(job, ctx.sender, ctx.now, ctx.settings.zone)
    return [CardUpdate(ctx.task_id, card)] if ctx.task_id is not None else [card]
