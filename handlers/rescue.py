"""
`rescue ahing@ to support@ because …`: the mail of a mailbox that lies in the recycle bin, before it is deleted.

Nobody can log in to a mailbox in the bin, so there are two ways. The console's own 备份邮件 works once and cannot be
compared with its source: seen at the target it counts as partial, and the reminders go on. Or the mailbox is made a
public one in the console, then an ordinary backup copies and compares it: that may be complete, and ends the reminders.
Stages: start, shown (which way?), approval, then access, check and once; or convert and saving; after, cleanup.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from bot.context import Choose, Context, Missing
from bot.directory import Meant
from bot.errors import UserError
from bot.mail.counts import OwnFolders, own_folders
from bot.mail.errors import LoginRefused
from bot.policy import Approvers, Requirement
from bot.replies import Button, Card, CardUpdate, Reply, Text
from bot.router import Router
from bot.words import Words, from_json, lines, say
from bot.work import JobContext, JobStep, SweepStep, Work
from handlers import access, addresses, approvals, conversion, copying, handovers, recycle_bin
from handlers.access import NoPassword
from handlers.backup_access import get_access
from handlers.backup_card import readers
from handlers.connections import Connections
from handlers.handovers import Check, Look, check, evidence
from storage.handovers import OPEN as STILL_OPEN
from storage.models import (
    Approval,
    ApprovalStatus,
    BinItem,
    BinSource,
    BinState,
    Handover,
    HandoverState,
    Job,
    JobState,
    Mailbox,
)

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()
router = Router()
work = Work()

KIND = "rescue"
ACTION = "rescue"  # of the approval
OPEN = (JobState.WAITING, JobState.DUE)
WAYS = {"console": "once", "后台": "once", "public": "public", "公共邮箱": "public"}
CHOOSING = ("shown", "access", "once", "convert")  # here another way can be chosen
SHOWN_FOR = timedelta(days=7)
SAVING_WITHIN = timedelta(days=30)  # of a mailbox that is public by now: nothing deletes it
AFTER_WITHIN = timedelta(days=14)
HURRY = timedelta(days=1)  # nearer to the deletion than that, the console's copy may come too late
SETTLED_AFTER = timedelta(minutes=10)  # the console copies in the background: that long without another mail
STEADY_AFTER = timedelta(hours=12)  # a target that gets mail all the time never rests


# --- asking for it ---------------------------------------------------------------------------------------------------


@router.command(
    "rescue|save {source} [to|into {target}] [because {reason:text}]",
    "抢救|救出 {source} [到|给 {target}] [原因|因为 {reason:text}]",
    role="admin",
    topic="bin",
    example=("rescue ahing@ to support@ because his customers write there", "抢救 ahing@ 到 support@ 原因 客户邮件"),
)
def request_rescue(ctx: Context, source: str, target: str | None = None, reason: str | None = None) -> list[Reply]:
    """Save the mail of a mailbox in the recycle bin before it is deleted, in one of two ways."""
    item = in_bin(ctx, source) or recycle_bin.waiting_entry(ctx, source)
    if item.address is None:
        raise UserError(say("recycle_bin.left_address_unknown", number=item.id))
    return begin(ctx, item, target, reason)


def begin(ctx: Context, item: BinItem, target: str | None, reason: str | None) -> list[Reply]:
    """A rescue of an entry whose address is known; what is missing is asked for."""
    admin, address = ctx.require_admin(), str(item.address)
    if item.deletes_at <= ctx.now:
        raise UserError(say("recycle_bin.is_lost", what=address, moment=recycle_bin.moment_of(item), typed=address))
    if (under_way := ctx.tx.recycle_bin.rescues().get(item.id)) is not None:
        raise UserError(say("rescue.already_open", number=under_way.id, address=address))
    if target is None:
        words, offered = say("rescue.where_to", address=address), copying.targets(ctx, address)
        raise Choose("target", words, offered, command="request_rescue", known={"source": address, "reason": reason})
    wanted = ctx.directory.mailbox(target)
    if wanted.address == address:
        raise UserError(say("backup.same_mailbox", source=address, target=address))
    if not reason:
        words = say("rescue.why", address=address, target=str(wanted))
        raise Missing("reason", words, command="request_rescue", known={"source": address, "target": target})
    params = {
        "item": item.id, "target": {"address": wanted.address, "userid": wanted.userid},
        "reason": reason[: approvals.REASON_MAX],
    }  # fmt: skip
    job = ctx.tx.jobs.add(KIND, asked_by=admin, params=params)
    ctx.tx.jobs.put(
        job, item=item.id, reason=params["reason"], asker_name=ctx.directory.name(admin), source_address=address,
        source=item.mailbox_id, target_address=str(wanted), owner_was=item.owner, steps=[], handovers={},
    )  # fmt: skip
    ctx.tx.audit.add(admin, "rescue.asked", address, job=job.id, item=item.id, target=str(wanted), reason=reason)
    ctx.start(job)
    return [Text(admin, say("rescue.looking", address=address, target=str(wanted), number=job.id))]


def in_bin(ctx: Context, typed: str, meant: Meant | None = None) -> BinItem | None:
    """The entry that waits and is meant by an address, or by who had it."""
    word = typed.strip()
    if "@" in word and not word.startswith("@"):
        return ctx.tx.recycle_bin.waiting_at(ctx.directory.address(word))
    if meant is not None and meant.mailbox is None and meant.userid is not None:
        return ctx.tx.recycle_bin.waiting_left_by(meant.userid)
    return None


# --- the job ---------------------------------------------------------------------------------------------------------


@work.job(KIND)
def turn(job: JobContext) -> None:
    """One turn, by its stage."""
    stages: dict[str, copying.Stage] = {
        "start": find_target,
        "access": get_access,
        "check": look if job.data.get("way") == "once" else conversion.prove,
        "once": once,
        "convert": convert,
        "saving": save,
        "cleanup": clean_up,
    }
    copying.one_turn(job, stages[job.stage])


def entry_of(tx: Transaction, data: Mapping[str, Any]) -> BinItem:
    """The entry of the book that is rescued."""
    item = tx.recycle_bin.find(int(data["item"]))
    assert item is not None  # noqa: S101 (entries are never deleted)
    return item


def find_target(job: JobContext) -> None:
    """Where it goes, and who could read it there; then the two ways are shown."""
    found = addresses.find_mailbox(job, **job.params["target"])
    with job.begin() as step:
        item, target = entry_of(step.tx, step.job.data), found.mailbox
        if target is None:
            assert found.problem is not None  # noqa: S101 (one of the two)
            copying.refuse(step, found.problem)
            return
        if item.state is not BinState.WAITING:
            copying.refuse(step, recycle_bin.closed_words(item, step.directory))
            return
        if target.address == item.address:
            copying.refuse(step, say("backup.same_mailbox", source=target.address, target=target.address))
            return
        facts = facts_of(step.directory.readers(target), item, target, None, step.job.asked_by)
        named = [step.directory.name(each) for each in facts["readers"]]
        step.put(target=target.id, target_address=target.address, facts=facts, reader_names=named, sides=["target"])
        try:
            who_may(step, step.job, item, facts)
        except approvals.NobodyCanAnswer as nobody:
            copying.refuse(step, nobody.words)
            return
        step.tx.jobs.wait(step.job, "shown", expires_at=step.now + SHOWN_FOR)
        show(step, item)


def facts_of(can_read: list[str], item: BinItem, target: Mailbox, way: str | None, asker: str) -> dict[str, Any]:
    """What people agree to: whose mail, into which mailbox, read by whom, and who opens the mailbox itself for it."""
    return {
        "source": item.address, "owner": item.owner, "state": "recycle bin", "target": target.address,
        "target_kind": copying.kind_of(target), "readers": can_read, "way": way,
        "opener": asker if way == "public" else None,
    }  # fmt: skip


def covers(agreed: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a yes to some facts is one to these: the console's own copy lets nobody into the mailbox itself."""
    if now["way"] == "once":
        agreed = {**agreed, "way": "once", "opener": None}
    return dict(agreed) == dict(now)


def requirement_of(source: Context | JobStep, item: BinItem) -> Requirement:
    """Whose yes it needs: of a member's mailbox the manager's, for the member is not there to be asked."""
    policy = source.policy if isinstance(source, Context) else source.services.policy
    if item.source is not BinSource.PUBLIC:
        return policy.requirement("backup_member_without_owner")
    wanted = policy.requirement("backup_public")
    return wanted if wanted is Requirement.CONFIRM else Requirement.TWO


def who_may(source: Context | JobStep, job: Job, item: BinItem, facts: Mapping[str, Any]) -> Approvers:
    """Who may say yes: the manager of who had it, never the asker or who can read the target; NobodyCanAnswer."""
    return approvals.who_may(
        requirement_of(source, item), source.directory, source.roles, asker=job.asked_by, owner=item.owner,
        gains=facts["readers"], gains_known=copying.readers_known(facts),
    )  # fmt: skip


# --- the two ways, shown ---------------------------------------------------------------------------------------------


def show(step: JobStep, item: BinItem) -> None:
    """Both ways, what each needs and costs, and who could read it; then the card to choose from."""
    data, zone = step.job.data, step.services.settings.zone
    number, address, target = step.job.id, str(item.address), str(data["target_address"])
    told: list[Words] = [say("rescue.what", address=address, target=target)]
    told.append(recycle_bin.deleted_words(item, zone))
    if item.deletes_at - step.now < HURRY:
        told.append(say("rescue.hurry", moment=recycle_bin.moment_of(item)))
    told.append(say("rescue.way_console", address=address, target=target, number=number))
    if (used := once_used(step.tx, item)) is not None:
        told.append(say("rescue.console_used", number=used.id))
    if conversion.trial(address):
        told.append(say("conversion.trial", address=address))
    else:
        told.append(say("rescue.way_public", address=address, target=target, number=number))
        told.append(conversion.needs(step.tx))
    told.append(say("rescue.can_read", readers=readers(data)))
    step.say(Text(step.job.asked_by, lines(*told)), ways_card(step.job, item))


def about(job_id: int) -> str:
    """What the cards of a rescue are about."""
    return f"job-{job_id}"


def ways_card(job: Job, item: BinItem) -> Card:
    """The card with a button for each way."""
    buttons = [Button(f"rescue_way:{job.id}:console", say("rescue.button_console"))]
    if not conversion.trial(str(item.address)):
        buttons.append(Button(f"rescue_way:{job.id}:public", say("rescue.button_public")))
    return Card(
        job.asked_by,
        about(job.id),
        say("rescue.card_title", number=job.id),
        note=say("rescue.card_note", address=item.address),
        rows=[
            (say("rescue.row_into"), str(job.data["target_address"])),
            (say("rescue.row_deleted"), recycle_bin.moment_of(item)),
        ],
        buttons=[*buttons, Button(f"cancel:{job.id}", say("jobs.button_cancel"), style=2)],
    )


def put_away(tx: Transaction, job: Job, done: Words) -> list[Reply]:
    """Every open card of the job greyed."""
    title = say("rescue.card_title", number=job.id)
    return [
        CardUpdate(each.task_id, Card(each.member, about(job.id), title, done=done))
        for each in tx.cards.open_about(about(job.id))
    ]


def once_used(tx: Transaction, item: BinItem) -> Job | None:
    """The rescue that used up the console's one copy of this mailbox, as far as we saw."""
    return next((each for each in tx.recycle_bin.rescues_of(item.id) if each.data.get("seen_once")), None)


def copying_into(tx: Transaction, job: Job) -> Job | None:
    """Another rescue that waits for the console's copy into the same target: nobody could tell their mails apart."""
    return next(
        (
            each for each in tx.jobs.waiting_or_due(KIND)
            if each.id != job.id and each.data.get("way") == "once" and each.data.get("target") == job.data["target"]
        ),
        None,
    )  # fmt: skip


def details(job: Job) -> list[Words]:
    """What `job 12` says beside where it stands: which other way there is."""
    return [say("rescue.other_way", number=job.id)] if job.state in OPEN and job.stage in CHOOSING else []


def known_job(ctx: Context, job_id: int) -> Job:
    """A rescue; UserError otherwise."""
    job = ctx.tx.jobs.find(job_id)
    if job is None or job.kind != KIND:
        raise UserError(say("jobs.unknown", number=job_id))
    return job


def again(ctx: Context, job_id: int) -> list[Reply]:
    """`retry 12`: the same once more, with another number."""
    job = known_job(ctx, job_id)
    item = entry_of(ctx.tx, job.data)
    if job.state in OPEN or item.state is not BinState.WAITING:
        raise UserError(say("rescue.nothing_to_retry", number=job_id, address=job.data["source_address"]))
    return begin(ctx, item, str(job.data["target_address"]), str(job.data["reason"]))


@router.command(
    "way {job_id:int} {way:console|public}", "方式 {job_id:int} {way:后台|公共邮箱}", role="admin", topic="bin",
    example=("way 12 public", "方式 12 公共邮箱"),
)  # fmt: skip
@router.action("rescue_way", role="admin")
def choose_way(ctx: Context, job_id: int, way: str) -> list[Reply]:
    """Choose how a mailbox in the bin is rescued: the console's own copy, or as a public mailbox."""
    job, chosen = known_job(ctx, job_id), WAYS.get(way)
    if chosen is None or job.state is not JobState.WAITING or job.stage not in CHOOSING:
        raise UserError(say("rescue.no_choice", number=job_id, state=say(f"jobs.stage_{job.stage}")))
    item = entry_of(ctx.tx, job.data)
    if item.state is not BinState.WAITING or item.deletes_at <= ctx.now:
        raise UserError(recycle_bin.closed_words(item, ctx.directory))
    if chosen == job.data.get("way"):
        raise UserError(say("rescue.way_already", number=job_id))
    if chosen == "public" and conversion.trial(str(item.address)):
        raise UserError(say("conversion.trial", address=item.address))
    if chosen == "once" and (other := copying_into(ctx.tx, job)) is not None:
        raise UserError(say("rescue.once_at_target", number=other.id, target=job.data["target_address"]))
    used = once_used(ctx.tx, item) if chosen == "once" else None
    warned = [Text(ctx.sender, say("rescue.console_used", number=used.id))] if used is not None else []
    replies = warned + put_away(ctx.tx, job, say("rescue.mark_chosen")) + handovers.withdraw(ctx.tx, job.id)
    ctx.tx.links.end(job.id)
    sides = ["target"] if chosen == "once" else ["source"]
    ctx.tx.jobs.put(
        job, way=chosen, handovers={}, sides=sides, opener=None, proof_for=None, refused_sides={}, untold=[]
    )
    ctx.tx.audit.add(ctx.sender, "rescue.way", str(item.address), job=job.id, way=chosen)
    if job.data.get("approved_by") and covers(job.data["facts"], facts_now(ctx, job)):
        go_on(ctx, job)
        return replies
    if requirement_of(ctx, item) is Requirement.CONFIRM:  # it needs no more than the asker's own press
        ctx.tx.jobs.put(job, approved_by=ctx.sender, facts=facts_now(ctx, job))
        go_on(ctx, job)
        return replies
    return replies + ask_manager(ctx, job, item)


def go_on(ctx: Context, job: Job) -> None:
    """The chosen way begins, or goes on."""
    stage = "saving" if job.data.get("converted_at") else "convert"
    ctx.tx.jobs.wake(job, "access" if job.data["way"] == "once" else stage)
    ctx.start(job)


# --- somebody's yes --------------------------------------------------------------------------------------------------


def ask_manager(source: Context | JobStep, job: Job, item: BinItem) -> list[Reply]:
    """Whoever must agree is asked, and the job waits; NobodyCanAnswer."""
    settings = source.settings if isinstance(source, Context) else source.services.settings
    requirement, facts = requirement_of(source, item), facts_now(source, job)
    may = who_may(source, job, item, facts)
    named = [source.directory.name(each) for each in facts["readers"]]
    asker = str(job.data["asker_name"])
    question = say(
        "rescue.question_public_by_now" if job.data.get("converted_at") else "rescue.question",
        owner=item.owner_name or item.owner or "?", address=item.address, target=facts["target"],
        readers=readers({**job.data, "reader_names": named, "facts": facts}), moment=recycle_bin.moment_of(item),
        way=say(f"rescue.question_way_{facts['way']}", address=item.address, asker=asker),
    )  # fmt: skip
    approval, replies = approvals.ask(
        source.tx, action=ACTION, requirement=requirement, may=may, job_id=job.id, question=question, facts=facts,
        reason=str(job.data["reason"]), asked_by=job.asked_by, asked_by_name=asker, settings=settings,
    )  # fmt: skip
    source.tx.jobs.put(job, approval=approval.id, approved_by=None, reader_names=named)
    source.tx.jobs.wait(job, "approval", expires_at=approval.expires_at)
    asked = [source.directory.name(userid) for userid in may.userids]
    told = source.sender if isinstance(source, Context) else job.asked_by
    return [*replies, Text(told, say("backup.manager_asked", approvers=asked, number=job.id))]


def facts_now(source: Context | JobStep, job: Job) -> dict[str, Any]:
    """What a yes is about, as rows tell it now."""
    item, target = entry_of(source.tx, job.data), source.tx.mailboxes.get(int(job.data["target"]))
    facts = facts_of(source.directory.readers(target), item, target, job.data.get("way"), job.asked_by)
    as_agreed = item.state is BinState.WAITING or job.data.get("converted_at")  # the latter is what was agreed to
    return facts if as_agreed else {**facts, "state": str(item.state)}


def still_agreed(step: JobStep, item: BinItem) -> bool:
    """Whether it is now as people agreed to it; else they are asked again before anything more is done."""
    job, agreed, now = step.job, step.job.data["facts"], facts_now(step, step.job)
    if covers(agreed, now):
        return True
    step.tx.audit.add("bot", "rescue.facts_changed", str(item.address), job=job.id, before=agreed, now=now)
    named = [step.directory.name(each) for each in now["readers"]]
    can_read = readers({**job.data, "reader_names": named, "facts": now})
    words = say("rescue.facts_changed", number=job.id, address=item.address, target=now["target"], readers=can_read)
    step.say(Text(job.asked_by, words))
    if requirement_of(step, item) is Requirement.CONFIRM:  # he is told, and what comes next is his own press
        step.put(facts=now, reader_names=named)
        return True
    try:
        step.say(*ask_manager(step, job, item))
    except approvals.NobodyCanAnswer as nobody:
        stop(step, nobody.words)
    return False


@approvals.facts_of(ACTION)
def facts_again(ctx: Context, approval: Approval) -> dict[str, Any]:
    """What the question showed, read again: if it changed, a yes to it is void."""
    return facts_now(ctx, ctx.tx.jobs.get(approval.job_id))


@approvals.decided(ACTION)
def manager_decided(ctx: Context, approval: Approval) -> list[Reply]:
    """A yes begins the chosen way, a no ends it."""
    job = ctx.tx.jobs.get(approval.job_id)
    if job.state is not JobState.WAITING or job.stage != "approval":
        return []
    if approval.status is ApprovalStatus.APPROVED:
        ctx.tx.jobs.put(job, approved_by=ctx.sender, facts=approval.facts)
        go_on(ctx, job)
    else:
        ctx.tx.jobs.put(job, ending="rejected")
        ctx.tx.jobs.wake(job, "cleanup")
        ctx.start(job)
    return []


# --- the console's own copy, once ------------------------------------------------------------------------------------


def look(job: JobContext) -> None:
    """What lies in the target before the console copies; no minted key is kept while a person has to do something."""
    with job.services.store.begin() as tx:
        box = tx.mailboxes.get(int(job.data["target"]))
        own_roots = tuple(tx.mailboxes.roots_in(box))
    try:
        account = access.account(job, "target", box)
        with Connections(job, least=1, most=1) as connections:
            if not connections.count:
                copying.wait_for_connections(job)
                return
            seen = asyncio.run(own_folders(account, exclude_roots=own_roots))
    except NoPassword:
        copying.ask_again(job)
        return
    except LoginRefused as error:
        conversion.login_refused(job, "target", box, error)
        return
    if copying.mintable(box):
        access.give_back(job.services, job.job_id)
    with job.begin() as step:
        before = step.job.data.get("before")  # a second look, after access was lost, compares with the first
        step.put(before=before if before is not None else dict(seen.mails), trouble=None)
        if seen.hidden:
            step.say(Text(step.job.asked_by, say("rescue.target_hides", target=box.address)))
        step.go("once")


def once(job: JobContext) -> None:
    """备份邮件, the console's own: asked for, seen at the target, and called what it is."""
    with job.begin() as step:
        item = entry_of(step.tx, step.job.data)
        handover = conversion.current(step, "once")
        if handover is None:
            if still_agreed(step, item):
                ask_for_copy(step, item)
        elif handover.state is HandoverState.DONE:
            seen_once(step, item, handover)
        elif handover.state in STILL_OPEN:
            step.tx.jobs.wait(step.job, "once", expires_at=None)
        else:
            not_in_time(step, item, handover)


def ask_for_copy(step: JobStep, item: BinItem) -> None:
    """The handover with its exact values."""
    data = step.job.data
    address, target = str(item.address), str(data["target_address"])
    mails = sum(data["before"].values())
    handover = handovers.ask_for(
        step,
        title=say("rescue.once_title", address=address, target=target),
        why=say("rescue.once_why", number=step.job.id, moment=recycle_bin.moment_of(item)),
        how=[
            say("rescue.once_path"),
            say("rescue.once_how", address=address),
            say("rescue.once_target", target=target),
            say("rescue.once_refused", number=step.job.id),
        ],
        values=[address, target],
        check=Check("copied_once", {"rescue": step.job.id, "target": data["target"]}),
        deadline_at=conversion.deadline(step, item),
        stage="once",
        seen_before=evidence(step.now, Look(False, say("rescue.saw_before", target=target, count=mails), {"mails": 0})),
    )
    conversion.remember(step, "once", handover)


@check("copied_once")
def copied_once(job: JobContext, rescue: int, target: int) -> Look:
    """
    Whether mails came into folders of the target that are not ours, and no more are coming.

    People move mails, too: what came counts only after somebody said that he copied.
    """
    with job.services.store.begin() as tx:
        box, row = tx.mailboxes.get(target), tx.jobs.get(rescue)
        before = dict(row.data["before"])
        handover = tx.handovers.peek(int(job.data["handover"]))
        looks, said_at, number = list(handover.looks), handover.said_at, handover.id
        own_roots = tuple(tx.mailboxes.roots_in(box))
        kept, now = tx.passwords.find(rescue, "target") is not None, tx.now
    try:
        seen = seen_at(job, box, rescue if kept else None, own_roots)
    except (NoPassword, LoginRefused) as error:
        lost_access(job, rescue, refused=isinstance(error, LoginRefused))
        return Look(None, say("rescue.saw_no_access", target=box.address), {"mails": None})
    if seen is None:
        return Look(None, say("rescue.saw_busy"), {"mails": None})
    grown = {name: more for name, count in seen.mails.items() if (more := count - before.get(name, 0)) > 0}
    count = sum(grown.values())
    if not count:
        return Look(False, say("rescue.saw_none", target=box.address), {"mails": 0})
    folders = sorted(grown, key=lambda each: -grown[each])
    values = {"target": box.address, "count": count, "folder": folders[0], "folders": len(folders)}
    if said_at is None:
        return Look(None, say("rescue.saw_mails_unsaid", **values, number=number), {"mails": count})
    same_since, since = now, now
    for each in reversed(looks):
        if not each["detail"].get("mails"):
            break
        since = datetime.fromisoformat(each["at"])
        same_since = since if each is looks[-1] and each["detail"]["mails"] == count else same_since
    settled = now - max(same_since, said_at) >= SETTLED_AFTER
    steady = now - max(since, said_at) >= STEADY_AFTER
    key = "rescue.saw_mails" if settled else "rescue.saw_mails_steady" if steady else "rescue.saw_mails_coming"
    return Look(True if settled or steady else None, say(key, **values), {"mails": count})


def seen_at(job: JobContext, box: Mailbox, of: int | None, own_roots: tuple[str, ...]) -> OwnFolders | None:
    """
    The folders of the target; None when no connection is free. Raises NoPassword, LoginRefused.

    Without a password that was entered for the rescue one is minted for this look alone, and deleted behind it.
    """
    try:
        if of is None and not (copying.mintable(box) and access.mint(job, "target", box)):
            raise NoPassword("target")
        account = access.account(job, "target", box, of=of)
        with Connections(job, least=1, most=1) as connections:
            return asyncio.run(own_folders(account, exclude_roots=own_roots)) if connections.count else None
    finally:
        if of is None:
            access.give_back(job.services, job.job_id)


def lost_access(job: JobContext, rescue: int, *, refused: bool) -> None:
    """The target cannot be looked at any more: the rescue asks for access again, and never tries a refused login."""
    with job.services.store.begin() as tx:
        row = tx.jobs.get(rescue)
        if refused:
            tx.passwords.forget(rescue, "target")
            tx.links.refused(rescue, "target")
            tx.mailboxes.get(int(row.data["target"])).managed = False
        if row.state is JobState.WAITING and row.stage == "once":
            tx.jobs.wake(row, "access")  # the tick starts it


def seen_once(step: JobStep, item: BinItem, handover: Handover) -> None:
    """The console's copy arrived. It cannot be compared with its source, so the reminders go on."""
    data = step.job.data
    assert handover.after is not None  # noqa: S101 (it is done)
    count = handover.after["detail"]["mails"]
    step.put(seen_once=count, outcome={"copied": count, "refused": 0, "verified": False, "complete": False})
    step.tx.audit.add(
        "bot", "rescue.once_seen", str(item.address), job=step.job.id, target=data["target_address"], mails=count,
        evidence=handover.after,
    )  # fmt: skip
    words = say(
        "rescue.once_done", count=count, address=item.address, target=data["target_address"], number=step.job.id,
        saw=from_json(handover.after["saw"]),
    )  # fmt: skip
    step.say(Text(step.job.asked_by, lines(words, say("rescue.once_partial", address=item.address))))
    copying.end_with(step, "partial")


# --- as a public mailbox ---------------------------------------------------------------------------------------------


def convert(job: JobContext) -> None:
    """转为公共邮箱, seen by the mail API or by a login; from then on nothing deletes it."""
    with job.begin() as step:
        item = entry_of(step.tx, step.job.data)
        handover = conversion.current(step, "convert")
        if handover is None:
            if not still_agreed(step, item):
                return
            why = say("rescue.convert_why", number=step.job.id, moment=recycle_bin.moment_of(item))
            conversion.ask_for_it(step, item, why)
            return
        done = conversion.is_done(step, item, handover)
        if done:
            box = conversion.became_public(step, item, handover)
            step.say(Text(step.job.asked_by, say("rescue.converted", address=box.address, number=step.job.id)))
            step.go("saving")
        elif done is None:
            not_in_time(step, item, handover)


def save(job: JobContext) -> None:
    """The ordinary backup of the public mailbox it became: complete and verified, or it is waited for."""
    with job.begin() as step:
        data = step.job.data
        if data.get("backup") is None:
            if not still_agreed(step, entry_of(step.tx, data)):
                return
            step.put(backup=start_backup(step))
            step.tx.jobs.wait(step.job, "saving", expires_at=step.now + SAVING_WITHIN)
            return
        child = step.tx.jobs.get(int(data["backup"]))
        if child.state not in OPEN and (child.data.get("outcome") or {}).get("complete") is True:
            safe(step, child)
            return
        if child.state not in OPEN and data.get("noted") != ending_of(child):
            step.put(noted=ending_of(child))
            step.say(
                Text(step.job.asked_by, say("rescue.not_complete", backup=child.id, address=data["source_address"]))
            )
        step.tx.jobs.wait(step.job, "saving", expires_at=step.now + SAVING_WITHIN)


def ending_of(child: Job) -> str:
    """How a backup ended, so that the same ending is told once."""
    outcome = child.data.get("outcome") or {}
    return f"{child.finished_at} {outcome.get('complete')} {outcome.get('accepted_by')}"


def start_backup(step: JobStep) -> int:
    """The backup; a password that was entered to prove the conversion opens its source, too."""
    data, job, item = step.job.data, step.job, entry_of(step.tx, step.job.data)
    reason = say("rescue.backup_reason", number=job.id, reason=data["reason"])
    target = step.tx.mailboxes.get(int(data["target"]))
    child = copying.add_job(
        step.tx, asked_by=job.asked_by, asker_name=str(data["asker_name"]),
        reason=reason.text(step.services.settings.bot_language), rescue=job.id,
        source={"address": data["source_address"], "userid": None},
        target={"address": target.address, "userid": None},
    )  # fmt: skip
    step.tx.jobs.put(child, rescue=job.id, in_bin_since=item.entered_at.isoformat())
    entered = step.tx.passwords.find(job.id, "source")
    if entered is not None:
        step.tx.passwords.keep(child.id, "source", given_by=entered.given_by, ciphertext=entered.ciphertext)
        step.tx.passwords.forget(job.id, "source")
    step.start(child)
    words = say("rescue.backup_started", address=data["source_address"], target=target.address, backup=child.id)
    step.say(Text(job.asked_by, words))
    return child.id


def safe(step: JobStep, child: Job) -> None:
    """Complete and verified: the entry is closed, nobody is reminded any more; then what becomes of the mailbox?"""
    data, item = step.job.data, entry_of(step.tx, step.job.data)
    if step.tx.recycle_bin.close(item, BinState.SAFE, by="bot", job=child.id, rescue=step.job.id):
        step.tx.audit.add("bot", "bin.safe", str(item.address), item=item.id, job=child.id, rescue=step.job.id)
    step.put(outcome=child.data["outcome"])
    step.tx.audit.add("bot", "rescue.safe", str(item.address), job=step.job.id, backup=child.id)
    words = say("rescue.safe", address=item.address, target=data["target_address"], backup=child.id)
    step.say(Text(step.job.asked_by, words))
    copying.end_with(step, "done")


# --- the end ---------------------------------------------------------------------------------------------------------


def stop(step: JobStep, why: Words) -> None:
    """It cannot go on: why, and that the mailbox still waits to be deleted."""
    words = say("rescue.stopped", number=step.job.id, address=step.job.data["source_address"], why=why)
    step.say(Text(step.job.asked_by, words))
    copying.end_with(step, "failed")
    step.job.error = why.text("en")


def not_in_time(step: JobStep, item: BinItem, handover: Handover) -> None:
    """A console step was not seen to be done before its deadline, which is perhaps the deletion itself."""
    if item.state is BinState.LOST or item.deletes_at <= step.now:
        copying.end_with(step, "too_late")
        return
    stop(step, say("rescue.not_done", title=from_json(handover.title), number=item.id))


@work.failed(KIND)
def failed(step: JobStep, words: Words) -> None:
    """It cannot go on; in its cleanup it just ends, and what is left of keys is tried again every hour."""
    if step.job.stage == "cleanup":
        finish(step)
        step.job.error = step.job.error or words.text("en")
        return
    stop(step, words)


def clean_up(job: JobContext) -> None:
    """No key and no open console step is left behind; then it has its ending, and the book is told the truth."""
    problems = access.give_back(job.services, job.job_id)
    with job.begin() as step:
        for problem in problems:
            step.say(*(Text(userid, problem) for userid in sorted({step.job.asked_by, *step.roles.admins})))
        finish(step)


def finish(step: JobStep) -> None:
    """Nothing waits for anybody any more, the book is told the truth, and the job has its ending."""
    data, ending = step.job.data, str(step.job.data.get("ending") or "failed")
    step.tx.approvals.void(step.job.id)
    step.say(*handovers.withdraw(step.tx, step.job.id))
    step.say(*put_away(step.tx, step.job, say(f"jobs.ended_{ending}")))
    end_child(step)
    conversion.not_seen(step.tx, data)
    item = entry_of(step.tx, data)
    conversion.out_of_bin(step, item, KIND)
    if ending in ("cancelled", "expired", "rejected", "too_late", "over"):
        words = say(f"rescue.ended_{ending}", number=step.job.id, address=data["source_address"])
        still = [recycle_bin.deleted_words(item, step.services.settings.zone)]
        told = [words, *(still if item.state is BinState.WAITING and item.deletes_at > step.now else [])]
        step.say(Text(step.job.asked_by, lines(*told)))
    step.tx.audit.add("bot", "rescue.ended", str(data["source_address"]), job=step.job.id, ending=ending)
    good = ending in ("done", "partial")
    state = JobState.DONE if good else JobState.FAILED if ending == "failed" else JobState.CANCELLED
    step.tx.jobs.end(step.job, state, error=step.job.error)


def end_child(step: JobStep) -> None:
    """The backup of a rescue that is over ends with it; what it copied stays."""
    child_id = step.job.data.get("backup")
    child = step.tx.jobs.find(int(child_id)) if child_id is not None else None
    if child is None or child.state not in OPEN or child.stage == "cleanup":
        return
    child.cancel_asked_by = step.job.cancel_asked_by or step.job.asked_by
    if child.state is JobState.WAITING or child.due_at > step.now:
        step.tx.jobs.put(child, ending="cancelled")
        step.tx.approvals.void(child.id)
        step.tx.jobs.wake(child, "cleanup")
        step.start(child)


@work.sweep("rescue", conversion.WATCH_EVERY)
def watch(sweep: SweepStep) -> None:
    """What the waiting ones wait for: a backup that ended, a console step somebody says is done, the deletion."""
    for job in sweep.tx.jobs.waiting_or_due(KIND):
        if job.state is JobState.WAITING and (stage := next_stage(sweep.tx, job)) is not None:
            sweep.tx.jobs.wake(job, stage)
            sweep.start(job)


def next_stage(tx: Transaction, job: Job) -> str | None:
    """Where a waiting rescue goes now; None while it waits on."""
    data, item = job.data, entry_of(tx, job.data)
    ending = over(tx, job, item)
    if ending is not None:
        tx.jobs.put(job, ending=ending)
        tx.approvals.void(job.id)
        return "cleanup"
    if job.stage == "saving":
        child = tx.jobs.find(int(data["backup"]))
        news = child is not None and child.state not in OPEN and data.get("noted") != ending_of(child)
        return "saving" if news else None
    if job.stage == "approval":
        return None
    stage = {"once": "once", "public": "convert"}.get(str(data.get("way")))
    return conversion.next_stage(tx, job, stage) if stage is not None else None


def over(tx: Transaction, job: Job, item: BinItem) -> str | None:
    """Why a rescue ends by itself: deleted, closed in the book by somebody, or waited for too long."""
    converted = bool(job.data.get("converted_at"))
    converted = converted or (job.data.get("way") == "public" and conversion.living(tx, item))
    if not converted and item.state is BinState.WAITING and item.deletes_at <= tx.now:
        return "too_late"
    if not converted and item.state is not BinState.WAITING:
        return "too_late" if item.state is BinState.LOST else "over"
    if job.expires_at is not None and job.expires_at <= tx.now:
        return "expired"
    if job.stage == "approval" and tx.approvals.get(int(job.data["approval"])).status is ApprovalStatus.VOID:
        return "void"
    return None
