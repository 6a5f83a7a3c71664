"""
`reassign ahing@ to calvin because …`: a mailbox with its history gets another owner, and nothing is lost unseen.

No API does it, so the console's steps are handovers. The job's stages, each of which may run twice: start (who has
what), shown (waits for the asker), approval (waits for the manager); then, in `reassign_steps`, prepare (a verified
backup of what the new owner loses, and his word that he knows), facts (read again), reclaim, assign, finish, cleanup.
A mailbox in the recycle bin needs no reclaim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from bot.context import Context, Missing
from bot.directory import Directory
from bot.errors import UserError
from bot.policy import Approvers, Policy, Roles
from bot.replies import CardUpdate, Reply, Said, Text
from bot.router import Router
from bot.wecom import exmail
from bot.wecom.errcodes import Retry, WeComError
from bot.words import Words, catalogue, lines, say
from bot.work import JobContext, JobStep, Work
from handlers import addresses
from handlers.approvals import approvals
from handlers.bin import recycle_bin
from handlers.handovers import handovers
from handlers.handovers.handovers import Look, evidence
from handlers.reassign import reassign_steps
from handlers.reassign.reassign_card import alias_later, card_rows, day, lost, put_away, shown_card, what
from handlers.reassign.reassign_steps import IN_BIN, IN_USE, KIND, PUBLIC, end_with, facts_of, known_job, still_public
from storage.models import Approval, HandoverState, Job, JobState, Mailbox, MailboxKind, Member

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()
router = Router()
work = Work()

ACTION = "reassign"  # of the policy and of the approval
SHOWN_FOR = timedelta(days=7)


# --- asking for it ---------------------------------------------------------------------------------------------------


@router.command(
    "reassign {source} to {member} [because {reason:text}] [without {without:backup|saving}] [saved into {into}]"
    " [keeping {keeping:alias|address}]",
    "转移|转交 {source} 给|到 {member} [原因|因为 {reason:text}] [不|不做 {without:备份|备份邮件}] [备份到 {into}]"
    " [保留 {keeping:别名|地址}]",
    role="admin",
    topic="reassign",
    example=("reassign ahing@ to calvin because he takes over", "转移 ahing@ 给 calvin 原因 接手客户"),
)
def request_reassign(
    ctx: Context,
    source: str,
    member: str,
    reason: str | None = None,
    without: str | None = None,
    into: str | None = None,
    keeping: str | None = None,
) -> list[Reply]:
    """Give a mailbox with its history to another member, once the manager agrees."""
    admin = ctx.require_admin()
    wanted = ctx.directory.mailbox(source)
    if wanted.mailbox is not None and wanted.mailbox.kind is MailboxKind.PUBLIC:
        raise UserError(say("reassign.public", address=wanted.mailbox.address))
    new_owner = ctx.directory.member(member)
    if new_owner.left_at is not None:
        raise UserError(say("reassign.new_owner_left", name=new_owner.name))
    saved_into = saving_place(ctx, into, str(wanted), new_owner.userid) if without is None else None
    if not reason:
        raise Missing("reason", say("reassign.why", source=str(wanted), name=new_owner.name))
    params = {
        "source": {"address": wanted.address, "userid": wanted.userid}, "new_owner": new_owner.userid,
        "reason": reason[: approvals.REASON_MAX], "without_backup": without is not None, "into": saved_into,
        "keep_alias": keeping is not None,
    }  # fmt: skip
    return begin(ctx, admin, str(wanted), new_owner, params)


def give_public(ctx: Context, box: Mailbox, owner: str | None, new_owner: Member, reason: str) -> list[Reply]:
    """Give a public mailbox that was made of a member's to another member; `owner` had it, and his manager is asked."""
    if new_owner.left_at is not None:
        raise UserError(say("reassign.new_owner_left", name=new_owner.name))
    params = {
        "source": {"address": box.address, "userid": None}, "new_owner": new_owner.userid,
        "reason": reason[: approvals.REASON_MAX], "without_backup": False, "keep_alias": False,
        "into": saving_place(ctx, None, box.address, new_owner.userid), "public": box.id, "owner": owner,
    }  # fmt: skip
    return begin(ctx, ctx.require_admin(), box.address, new_owner, params)


def begin(ctx: Context, admin: str, source: str, new_owner: Member, params: Mapping[str, Any]) -> list[Reply]:
    """The job, which looks before anybody is asked."""
    job = ctx.tx.jobs.add(KIND, asked_by=admin, params=dict(params))
    ctx.tx.jobs.put(
        job, reason=params["reason"], asker_name=ctx.directory.name(admin), source_address=source,
        target_address=new_owner.name, new_name=new_owner.name, steps=[], handovers={},
    )  # fmt: skip
    ctx.tx.audit.add(admin, "reassign.asked", source, job=job.id, to=new_owner.userid, reason=params["reason"])
    ctx.start(job)
    return [Text(admin, say("reassign.looking", source=source, name=new_owner.name, number=job.id))]


def saving_place(ctx: Context, into: str | None, source: str, new_owner: str) -> str | None:
    """Where the displaced mailbox's mail is saved: a public mailbox, the archive first; None when none is known."""
    if into is not None:
        meant = ctx.directory.mailbox(into)
        if meant.userid is not None or meant.address is None or meant.address == source:
            raise UserError(say("reassign.not_public", address=str(meant)))
        return meant.address
    wanted = ctx.settings.exmail_archive_mailbox
    archive = [ctx.settings.address(wanted)] if wanted else []
    known = sorted(
        (box.address for box in ctx.tx.mailboxes.public() if box.address != source),
        key=lambda each: each.partition("@")[0],
    )
    known.sort(key=lambda each: not each.startswith("support@"))
    return next(iter([*archive, *known]), None)


# --- the job ---------------------------------------------------------------------------------------------------------


@work.job(KIND)
def turn(job: JobContext) -> None:
    """One turn, by its stage. A wish to cancel is honoured between turns, after what was done in the console."""
    if job.stage not in ("finish", "cleanup"):  # once it is assigned there is nothing left to cancel
        with job.begin() as step:
            handover = handovers.of_stage(step, job.stage)
            done = handover is not None and handover.state is HandoverState.DONE
            done = done or bool(step.job.data.get("deleting"))  # begun by API: seen through
            if step.job.cancel_asked_by is not None and not done:
                end_with(step, "cancelled")
                return
    stages = {
        "start": find_both,
        "prepare": reassign_steps.prepare,
        "facts": reassign_steps.read_again,
        "reclaim": reassign_steps.reclaim,
        "delete": reassign_steps.delete,
        "assign": reassign_steps.assign,
        "finish": reassign_steps.finish,
        "cleanup": reassign_steps.clean_up,
    }
    stages[job.stage](job)


def refuse(step: JobStep, why: Words) -> None:
    """It cannot be done as it was asked."""
    step.say(Text(step.job.asked_by, why))
    end_with(step, "refused")


# --- who has what ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """The mailbox that gets another owner: a member's, or one in the recycle bin."""

    address: str
    owner: str | None
    living: bool
    box_id: int | None
    look: Look
    public: bool = False

    @property
    def state(self) -> str:
        """Where it is, as people agree to it."""
        return PUBLIC if self.public else IN_USE if self.living else IN_BIN


class Refused(Exception):
    """It cannot be; the words say why."""

    def __init__(self, words: Words) -> None:
        super().__init__(words.key)
        self.words = words


def find_both(job: JobContext) -> None:
    """Who has what now; what cannot be is refused, the rest is shown before anybody is asked."""
    try:
        source = find_source(job)
        displaced, target_look = find_displaced(job)
    except Refused as refused:
        with job.begin() as step:
            refuse(step, refused.words)
        return
    except addresses.NoBudget as error:
        with job.begin() as step:
            refuse(step, say("addresses.no_budget", address=str(error)))
        return
    new_owner = str(job.params["new_owner"])
    unread = {
        "source": unread_of(job, source.owner if source.living else None),
        "target": unread_of(job, new_owner if displaced is not None else None),
    }
    with job.begin() as step:
        if (why := cannot_be(step, source, displaced)) is not None:
            refuse(step, why)
            return
        box = step.tx.mailboxes.at(displaced) if displaced is not None else None
        owner_name = step.directory.name(source.owner) if source.owner else "?"
        saved = displaced is not None and not job.params["without_backup"]
        now = step.now
        step.put(
            source=source.box_id, target=box.id if box is not None else None, source_address=source.address,
            owner=source.owner, owner_name=owner_name, living=source.living, public=source.public,
            displaced=displaced,
            into=job.params["into"] if saved else None, unread=unread,
            keep_alias=displaced is not None and wants_alias(step.job),
            facts=facts_of(source.address, source.owner, source.state, new_owner, displaced),
            before={
                "source": evidence(now, source.look), "target": evidence(now, target_look) if target_look else None
            },
            deletes_on=day(recycle_bin.deletion_of(now, step.services.settings.bot_bin_days)),
        )  # fmt: skip
        step.tx.audit.add("bot", "reassign.found", source.address, job=job.job_id, facts=step.job.data["facts"])
        step.tx.jobs.wait(step.job, "shown", expires_at=now + SHOWN_FOR)
        show(step)


def wants_alias(job: Job) -> bool:
    """Whether the displaced address is to become an alias later: as typed, or as chosen since."""
    return bool(job.data.get("keep_alias", job.params.get("keep_alias")))


def find_source(job: JobContext) -> Source:
    """The mailbox to be given away. Raises Refused, NoBudget, WeComError, NetworkError."""
    if job.params.get("public") is not None:
        return find_made_public(job)
    typed, userid = job.params["source"]["address"], job.params["source"]["userid"]
    domain = job.services.settings.exmail_domain
    with job.services.store.begin() as tx:
        own = tx.mailboxes.of(userid) if typed is None and userid is not None else None
        waiting = tx.recycle_bin.waiting_of(userid) if typed is None and userid is not None else None
    known = own.address if own is not None else waiting.address if waiting is not None else None
    address = str(typed or known or f"{userid}@{domain}")
    if public_one(job, address):
        raise Refused(say("reassign.public", address=address))
    owner = addresses.look_up(job, address)
    if owner is not None:
        with job.services.store.begin() as tx:
            box = tx.mailboxes.of(owner)
        saw = say("handovers.saw_owner", address=address, owner=handovers.name_of(job, owner))
        return Source(address, owner, True, box.id if box is not None else None, Look(True, saw, {address: owner}))
    look = Look(None, say("handovers.saw_nobody", address=address), {address: None})
    with job.services.store.begin() as tx:
        item, former = tx.recycle_bin.waiting_at(address), tx.mailboxes.last_at(address)
        if former is not None and former.kind is MailboxKind.MEMBER:
            return Source(
                address, item.owner if item is not None and item.owner else former.owner, False, former.id, look
            )
        if item is not None:
            return Source(address, item.owner, False, item.mailbox_id, look)
    raise Refused(say("reassign.unknown", address=address))


def find_made_public(job: JobContext) -> Source:
    """A public mailbox that was made of a member's: it is deleted on the way, for only the bin's can be assigned."""
    address, box_id = str(job.params["source"]["address"]), int(job.params["public"])
    shown = addresses.seen_public(job, address)
    with job.services.store.begin() as tx:
        box = tx.mailboxes.get(box_id)
    if not still_public(box) or (shown is not None and shown.id != box_id):
        raise Refused(say("aftermath.not_public", address=address))
    key = "reassign.saw_public" if shown is None else "conversion.saw_public"
    look = Look(
        None if shown is None else True, say(key, address=address, name=box.name or address), {address: "public"}
    )
    return Source(address, job.params["owner"], False, box_id, look, public=True)


def public_one(job: JobContext, address: str) -> bool:
    """Whether the app can see a public mailbox there; what WeCom refuses to show is taken for none."""
    try:
        return addresses.find_public(job, address) is not None
    except WeComError as error:
        if error.retry is not Retry.NEVER:
            raise
        return False


def find_displaced(job: JobContext) -> tuple[str | None, Look | None]:
    """
    The mailbox the new owner has now and would lose. Raises Refused when we cannot know, NoBudget.

    An app made after June 2022 cannot read a member's address: "none" is believed only from the admin's own words.
    """
    new_owner, domain = str(job.params["new_owner"]), job.services.settings.exmail_domain
    with job.services.store.begin() as tx:
        own = tx.mailboxes.of(new_owner)
    address = own.address if own is not None else f"{new_owner}@{domain}"
    owner = addresses.look_up(job, address)
    name = handovers.name_of(job, new_owner)
    if owner == new_owner:
        saw = say("handovers.saw_owner", address=address, owner=name)
        return address, Look(True, saw, {address: new_owner})
    if not job.params["without_backup"]:
        raise Refused(say("reassign.displaced_unknown", name=name, tried=address))
    return None, None


def unread_of(job: JobContext, userid: str | None) -> int | None:
    """How many unread mails a member has; None when nobody has it or WeCom does not tell."""
    if userid is None:
        return None
    try:
        return exmail.mail_get_newcount(job.client, userid)
    except WeComError as error:
        if error.retry is not Retry.NEVER:
            raise
        log.warning("unread_refused", errcode=error.errcode)
        return None


def cannot_be(step: JobStep, source: Source, displaced: str | None) -> Words | None:
    """Why it is refused at once; None when it may be asked for."""
    params = step.job.params
    new_owner = str(params["new_owner"])
    name = step.directory.name(new_owner)
    if source.living and source.owner == new_owner:
        return say("reassign.same_owner", address=source.address, name=name)
    if displaced is not None and not params["without_backup"] and not params["into"]:
        return say("reassign.nowhere_to_save", displaced=displaced)
    for other in step.tx.jobs.waiting_or_due(KIND):
        if other.id != step.job.id and (
            other.data.get("source_address") == source.address or other.params["new_owner"] == new_owner
        ):
            return say("reassign.already_open", number=other.id)
    try:
        who_may(step.services.policy, step.directory, step.roles, step.job.asked_by, source.owner, new_owner)
    except approvals.NobodyCanAnswer as error:
        return error.words if source.owner is not None else say("reassign.owner_unknown", address=source.address)
    return None


def who_may(
    policy: Policy, directory: Directory, roles: Roles, asker: str, owner: str | None, new_owner: str
) -> Approvers:
    """Who may say yes: the manager of the present or former owner, never the asker or who gains by it."""
    requirement = policy.requirement(ACTION)
    return approvals.who_may(requirement, directory, roles, asker=asker, owner=owner, gains=[new_owner])


# --- shown before anybody is asked -----------------------------------------------------------------------------------


def show(step: JobStep) -> None:
    """All of it in words, then the card with Ask."""
    data, job = step.job.data, step.job
    told: list[Words] = [what(data), lost(data)]
    if data["displaced"] is not None:
        told.append(say("reassign.days_counted", days=step.services.settings.bot_bin_days, help=recycle_bin.HELP_DAYS))
        told.append(alias_offer(job))
    for side, address in (("source", data["source_address"]), ("target", data["displaced"])):
        if (count := data["unread"][side]) is not None:
            told.append(say("reassign.unread", address=address, count=count))
    told += others_at_work(step)
    if not data["living"] and not data.get("public"):
        told.append(say("reassign.taken_for_binned", address=data["source_address"], owner=data["owner_name"]))
    told.append(who_is_told(data))
    told.append(say("reassign.how_to_ask", number=job.id))
    step.say(Text(job.asked_by, lines(*told)), shown_card(job))


def alias_offer(job: Job) -> Words:
    """Whether the displaced address is kept as an alias, and how to have it otherwise."""
    data = job.data
    values = {"displaced": data["displaced"], "address": data["source_address"], "number": job.id}
    return say("reassign.alias_kept" if data["keep_alias"] else "reassign.alias_offered", **values)


def others_at_work(step: JobStep) -> list[Words]:
    """What else is under way with one of the two mailboxes."""
    data = step.job.data
    boxes = [each for each in (data["source"], data["target"]) if each is not None]
    both = [each for each in (data["source_address"], data["displaced"]) if each is not None]
    others = [each for each in step.tx.jobs.open_on(boxes, addresses=both) if each.id != step.job.id]
    return [
        say(
            "reassign.open_job", number=other.id, what=known_words(f"jobs.kind_{other.kind}"),
            address=other.data.get("source_address") or (other.params.get("source") or {}).get("address") or "?",
            stage=known_words(f"jobs.stage_{other.stage}"),
        )
        for other in others
    ]  # fmt: skip


def known_words(key: str) -> Said:
    """A sentence, or the end of its key where the catalogue has none: another feature's job is no reason to fail."""
    return say(key) if key in catalogue() else key.rpartition("_")[2]


def who_is_told(data: Mapping[str, Any]) -> Words:
    """Whom a yes tells, before anything is done."""
    if data["living"]:
        return say("reassign.told_both", name=data["new_name"], owner=data["owner_name"])
    return say("reassign.told_new", name=data["new_name"])


@router.command(
    "keep alias {job_id:int}", "保留别名 {job_id:int}", role="admin", topic="reassign",
    example=("keep alias 12", "保留别名 12"),
)  # fmt: skip
@router.action("reassign_alias", role="admin")
def keep_alias(ctx: Context, job_id: int) -> list[Reply]:
    """Keep the displaced address as an alias once the recycle bin gives it up; again: do not."""
    job = known_job(ctx, job_id)
    if job.state is not JobState.WAITING or job.stage != "shown":
        raise UserError(say("reassign.not_shown", number=job_id))
    if job.data["displaced"] is None:
        raise UserError(say("reassign.no_alias", name=job.data["new_name"]))
    ctx.tx.jobs.put(job, keep_alias=not job.data["keep_alias"])
    told = Text(ctx.sender, alias_offer(job))
    if ctx.task_id is not None:
        return [CardUpdate(ctx.task_id, shown_card(job)), told]
    return [*put_away(ctx.tx, job, say("reassign.mark_replaced")), told, shown_card(job)]


# --- the manager's yes -----------------------------------------------------------------------------------------------


@router.command(
    "submit {job_id:int}", "提交 {job_id:int}", role="admin", topic="reassign", example=("submit 12", "提交 12")
)
@router.action("reassign_ask", role="admin")
def submit(ctx: Context, job_id: int) -> list[Reply]:
    """Ask the manager for a change of owner that was shown."""
    job = known_job(ctx, job_id)
    if job.state is not JobState.WAITING or job.stage != "shown":
        raise UserError(say("reassign.not_shown", number=job_id))
    data = job.data
    facts = rows_now(ctx.tx, job)
    if facts != data["facts"]:
        ctx.tx.jobs.wake(job, "start")  # somebody changed it meanwhile: look again, show again
        ctx.start(job)
        return [*put_away(ctx.tx, job, say("reassign.looking_again")), Text(ctx.sender, say("reassign.looking_again"))]
    new_owner = str(job.params["new_owner"])
    may = who_may(ctx.policy, ctx.directory, ctx.roles, job.asked_by, data["owner"], new_owner)
    approval, replies = approvals.ask(
        ctx.tx, action=ACTION, requirement=ctx.policy.requirement(ACTION), may=may, job_id=job.id,
        question=lines(what(data), lost(data), *alias_later(data)), facts=facts, reason=str(data["reason"]),
        asked_by=job.asked_by,
        asked_by_name=str(data["asker_name"]), settings=ctx.settings, rows=card_rows(data),
    )  # fmt: skip
    ctx.tx.jobs.put(job, approval=approval.id)
    ctx.tx.jobs.wait(job, "approval", expires_at=approval.expires_at)
    named = [ctx.directory.name(userid) for userid in may.userids]
    told = say("reassign.manager_asked", approvers=named, number=job.id, approval=approval.id)
    return [*put_away(ctx.tx, job, say("reassign.mark_asked")), *replies, Text(ctx.sender, told)]


def rows_now(tx: Transaction, job: Job) -> dict[str, Any]:
    """What was shown, as far as rows tell now; the job looks again before anything is done."""
    facts, new_owner = job.data["facts"], str(job.params["new_owner"])
    address = str(facts["mailbox"])
    box, own = tx.mailboxes.at(address), tx.mailboxes.of(new_owner)
    living = box is not None and box.owner is not None
    owner = box.owner if box is not None and living else facts["owner"]
    public = job.params.get("public") is not None and still_public(tx.mailboxes.get(int(job.params["public"])))
    state = IN_USE if living else PUBLIC if public else IN_BIN
    return facts_of(address, owner, state, new_owner, own.address if own is not None else None)


@approvals.facts_of(ACTION)
def facts_again(ctx: Context, approval: Approval) -> dict[str, Any]:
    """What the question showed, read again: if it changed, a yes to it is void."""
    return rows_now(ctx.tx, ctx.tx.jobs.get(approval.job_id))


@approvals.decided(ACTION)
def manager_decided(ctx: Context, approval: Approval) -> list[Reply]:
    """A yes begins the preparations, a no ends it."""
    manager = ctx.sender if ctx.sender in approval.approvers else None  # not who answered in his place
    return approvals.go_on(ctx, approval, "prepare", approved_by=ctx.sender, manager=manager, at_step="prepare")
