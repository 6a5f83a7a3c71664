"""
`backup ahing to support@ because he leaves`: the mail of one mailbox into another, verified and receipted.

The job's stages, each of which may run twice: start (who is who, confirmed), access (a password for each side),
preview (what would be copied), ready (waits for Start), copy, verify, receipt, cleanup (no key is left behind).
Nothing is copied before Start, nothing is ever deleted at the source, and "complete" is said only when it is.
"""

from __future__ import annotations

import asyncio
import time
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bot.context import Choose, Context, Missing
from bot.directory import Meant
from bot.errors import UserError
from bot.mail.copy import CopyOutcome, Limits, Progress, RefusalReason, copy_mail
from bot.mail.errors import QuotaFull
from bot.mail.plan import Filter, Plan, make_plan
from bot.mail.session import MailAccount
from bot.policy import Requirement
from bot.replies import CardUpdate, Reply, Text
from bot.router import Router
from bot.words import lines, say
from bot.work import JobContext, JobStep, SweepStep, Work
from handlers import addresses
from handlers.approvals import approvals
from handlers.backup.backup_receipt import as_json_note, give_receipt, note_down, note_words, verify
from handlers.copying import copying, receipts
from handlers.copying.access import SIDES, Side
from handlers.copying.backup_access import get_access
from handlers.copying.backup_card import (
    closed_card,
    preview_card,
    progress_card,
    put_away,
    readers,
    redrawn,
    sure_card,
)
from handlers.copying.connections import WANTED, Connections, wanted_by_others
from handlers.copying.copying import (
    KIND,
    LET_IN,
    PATIENCE,
    READY_WITHIN,
    VERIFY_KIND,
    Stage,
    Unwanted,
    add_job,
    boxes,
    clean_up,
    end_with,
    facts_of,
    filter_of,
    later,
    ledger_of,
    one_turn,
    pair,
    readers_known,
    refuse,
    targets,
    told,
    with_both,
)
from handlers.copying.job_words import state_of
from handlers.rescue import rescue
from storage.ledger import LeaseLost, SqlHosts, SqlLedger
from storage.ledger_tables import EngineDatabase
from storage.models import Approval, Job, JobState, Mailbox, MailboxKind

if TYPE_CHECKING:
    from storage.store import Transaction

router = Router()
work = Work()

ROOT = "其他文件夹"  # the console's own backup goes there; webmail calls it 我的文件夹
SLICE_SECONDS = 240.0
SLICE_SECONDS_WHEN_WANTED = 30.0  # others wait for connections
PROGRESS_EVERY_SECONDS = 2.0
WRITER_SECONDS = 90.0
CONNECTIONS_MAX = 4  # of one copy: one to the source, the others to the target
WRITER_BUSY = timedelta(seconds=15)
CONFIRMED_WITHIN = timedelta(hours=24)
CONFIRM_AGAIN = timedelta(hours=1)
LONG_COPY = timedelta(minutes=10)
ROOM_SHARE_MAX = 0.8


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
    if (binned := rescue.in_bin(ctx, source, wanted_source)) is not None and binned.address is not None:
        if since is not None or folders or without is not None:
            raise UserError(say("rescue.whole_only", address=binned.address))
        return rescue.begin(ctx, binned, target, reason)
    if target is None:
        raise Choose("target", say("backup.where_to"), targets(ctx, str(wanted_source)))
    wanted_target = ctx.directory.mailbox(target)
    if same(wanted_source, wanted_target):
        raise UserError(say("backup.same_mailbox", source=str(wanted_source), target=str(wanted_target)))
    if not reason:
        raise Missing("reason", say("backup.why", source=str(wanted_source), target=str(wanted_target)))
    ids = [meant.mailbox.id for meant in (wanted_source, wanted_target) if meant.mailbox is not None]
    for job in ctx.tx.jobs.open_on(ids, kind=KIND):
        if list(pair(job)) == ids:
            raise UserError(say("backup.already_open", number=job.id, source=str(wanted_source)))
    box = wanted_source.mailbox
    others = ctx.tx.jobs.open_on([box.id], kind=KIND) if box is not None else []
    job = add_job(
        ctx.tx, asked_by=admin, asker_name=ctx.directory.name(admin), reason=reason, since=since,
        source={"address": wanted_source.address, "userid": wanted_source.userid},
        target={"address": wanted_target.address, "userid": wanted_target.userid},
        folders=folders or [], without_junk=without is not None,
    )  # fmt: skip
    ctx.start(job)
    told = [say("backup.looking", source=str(wanted_source), target=str(wanted_target), number=job.id)]
    for other in (each for each in others if box is not None and pair(each)[0] == box.id):
        target_there = str(other.data["target_address"])
        told.append(say("backup.also_open", number=other.id, target=target_there, state=state_of(other)))
    return [Text(admin, lines(*told))]


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
            requirement, step.directory, step.roles, asker=job.asked_by, owner=None, gains=facts["readers"],
            gains_known=readers_known(facts),
        )  # fmt: skip
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
    return approvals.go_on(ctx, approval, "access", facts=approval.facts)


def one_box(one: Mailbox, other: Mailbox) -> bool:
    """Whether both are the same mailbox: the same row, one member's, or one the alias of the other."""
    return (
        one.id == other.id
        or (one.owner is not None and one.owner == other.owner)
        or one.address in other.aliases
        or other.address in one.aliases
    )


# --- preview ---------------------------------------------------------------------------------------------------------


def preview(job: JobContext) -> None:
    """Look at both sides, change nothing, and show what would be copied."""
    with job.services.store.begin() as tx:
        both = boxes(job, tx)
        own_roots = tuple(tx.mailboxes.roots_in(both["source"]))
    plan = with_both(
        job,
        both,
        lambda source, target, _: asyncio.run(
            make_plan(
                source, target, into=str(job.data["root"]), filter=filter_of(job.params),
                now=job.services.clock.now(), exclude_roots=own_roots, give_up=Unwanted(job),
            )
        ),
    )  # fmt: skip
    if plan is None:
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


def ready_job(ctx: Context, job_id: int, for_what: str) -> Job:
    """A backup of which a preview was shown; UserError otherwise."""
    job = ctx.tx.jobs.find(job_id)
    if job is None or job.kind != KIND:
        raise UserError(say("jobs.unknown", number=job_id))
    if job.state is not JobState.WAITING or job.stage not in ("ready", "full"):
        raise UserError(say(f"backup.not_ready_{for_what}", number=job_id, state=state_of(job)))
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
    job = ready_job(ctx, job_id, "start")
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
    job = ready_job(ctx, job_id, "check")
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

    def slice_of(source: MailAccount, target: MailAccount, connections: Connections) -> CopyOutcome:
        count_what_is_there(job, both)
        plan_refused_again(job, ledger)
        reporter = Reporter(job)
        return asyncio.run(
            copy_mail(
                source, target, into=str(job.data["root"]), filter=filter_of(job.params), ledger=ledger,
                limits=limits_of(job, connections.count - 1), hosts=SqlHosts(EngineDatabase(job.services.store.engine)),
                on_progress=reporter.progress, should_stop=reporter.should_stop, exclude_roots=own_roots,
                give_up=Unwanted(job), on_fewer=lambda targets: connections.keep_only(1 + targets),
            )
        )  # fmt: skip

    try:
        outcome = with_both(job, both, slice_of, most=CONNECTIONS_MAX, beside=(lease, holder, WRITER_SECONDS))
    except QuotaFull as error:
        full(job, error)
        return
    except LeaseLost:  # this machine stood still for long; what was sent and not written down is found again
        later(job, WRITER_BUSY)
        return
    finally:
        job.services.leases.release(lease, holder)
    if outcome is None:
        return
    after_slice(job, outcome)


def limits_of(job: JobContext, connections: int) -> Limits:
    """How hard a slice may work."""
    settings = job.services.settings
    return Limits(
        connections=max(1, connections), adaptive=True, seconds_max=SLICE_SECONDS,
        mails_per_second=settings.exmail_imap_mails_per_second, bytes_per_second=settings.exmail_imap_bytes_per_second,
        hours=settings.exmail_imap_hours, zone=settings.zone, wrap_refused=bool(job.data.get("wrap")),
    )  # fmt: skip


def plan_refused_again(job: JobContext, ledger: SqlLedger) -> None:
    """Somebody asks once more for what was refused: as it is, or as attachments what was refused for its bytes."""
    if not job.data.get("again"):
        return
    if job.data.get("wrap"):
        ledger.retry_refused(reasons=[RefusalReason.CONTENT], wrapped=True)
    ledger.retry_refused()
    with job.begin() as step:
        step.put(again=False)


def count_what_is_there(job: JobContext, both: dict[Side, Mailbox]) -> None:
    """What earlier runs had stored, noted once: the receipt is the difference, whatever crashes in between."""
    if job.data.get("before") is not None:
        return
    stored = receipts.stored(ledger_of(job, both))
    with job.begin() as step:
        step.put(before=[stored.mails, stored.size_bytes])


class Reporter:
    """
    Notes how far a slice is, and hears within seconds whether the slice is to end.

    It ends for who cancelled, for a process that stops, and after a while for another job that lacks connections.
    """

    def __init__(self, job: JobContext) -> None:
        self._job = job
        self._unwanted = Unwanted(job)
        self._began = time.monotonic()
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
        self._stop = self._unwanted()
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
        if outcome.waits_seconds:  # outside of the hours in which copying is allowed
            step.go("copy", due_at=step.now + timedelta(seconds=outcome.waits_seconds))
        elif job.services.stopping.is_set() or wanted_by_others(step.tx, job.job_id):
            step.go("copy", due_at=step.now + LET_IN)


# --- the end ---------------------------------------------------------------------------------------------------------


work.failed(KIND)(copying.failed)


@work.sweep("backup-expiry", timedelta(minutes=1))
def expire(sweep: SweepStep) -> None:
    """Backups that waited too long for a person end, without a key left behind."""
    for job in sweep.tx.jobs.expired(count_max=100):
        if job.kind in (KIND, VERIFY_KIND):
            sweep.tx.jobs.put(job, ending="expired")
            sweep.tx.approvals.void(job.id)
            sweep.tx.jobs.wake(job, "cleanup")
            sweep.start(job)


# --- progress --------------------------------------------------------------------------------------------------------


@router.action("refresh")
def refresh(ctx: Context, job_id: int) -> list[Reply]:
    """How far a copy is now, on the same card."""
    job = ctx.tx.jobs.find(job_id)
    if job is None or job.kind != KIND:
        raise UserError(say("jobs.unknown", number=job_id))
    if job.stage not in ("copy", "verify", "receipt", "cleanup") or job.state is not JobState.DUE:
        raise UserError(say("backup.not_copying", number=job_id, state=state_of(job)))
    card = progress_card(job, ctx.sender, ctx.now, ctx.settings.zone)
    return [CardUpdate(ctx.task_id, card)] if ctx.task_id is not None else [card]
