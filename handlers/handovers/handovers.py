"""
Steps only the admin console can do: asked for with exact values, checked by the bot, never believed.

A job opens one with `ask_for` and waits at a stage; when the check holds, or the deadline has passed, it is woken.
The polling is a job of its own whose row says when the next look is due, so a restart forgets nothing. Look-ups that
find nobody are few in a day for the whole corp: polls leave most of them to people, and "nobody" alone proves nothing,
because WeCom says the same of what is only out of sight (errcode 46004).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

import structlog

from bot.context import Context
from bot.directory import Directory
from bot.errors import UpstreamError, UserError
from bot.policy import Role
from bot.replies import Reply, Text
from bot.router import Router
from bot.wecom import contacts
from bot.wecom.errcodes import Retry, WeComError
from bot.words import Words, as_json, from_json, lines, say
from bot.work import JobContext, JobStep, SweepStep, Work
from bot.workdays import BEGIN, DAY, END, LOOK_BACK_DAYS_MAX, workdays
from handlers import addresses
from handlers.handovers.handover_card import (
    answered,
    before_words,
    card_of,
    over,
    put_away,
    seen_words,
    shown_in_full,
)
from handlers.handovers.handover_card import (
    day as day,
)
from handlers.handovers.handover_card import (
    moment as moment,
)
from storage.handovers import OPEN
from storage.models import Handover, HandoverState, Job, JobState

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()
router = Router()
work = Work()

KIND = "handover"  # the job that polls
POLL_FIRST = timedelta(minutes=15)
POLL_MAX = timedelta(hours=1)
POLLS_UNTIL_SLOWER = 4  # so many looks at one pace, then at half of it
POLLS_FAILED_MAX = 20  # of the corp's failed look-ups in a day; the rest is for people who ask
CHECK_NOW_EVERY = timedelta(minutes=1)
UPSTREAM_AGAIN = timedelta(hours=1)
REMIND_FIRST = timedelta(days=1)
REMIND_EVERY = timedelta(days=2)  # a card can be redrawn for 72 hours: each reminder brings a new one before
LOOKS_KEPT = 50
SWEPT_MAX = 100
LAST_LOOK_AFTER = timedelta(days=1)  # of a step that was not done in time: it may have been done since


# --- checks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """
    What a check saw. `holds` is None when that proves nothing either way.

    `needs_before` says that it is evidence only after the opposite was seen once.
    """

    holds: bool | None
    saw: Words
    detail: Mapping[str, Any] = field(default_factory=dict)
    needs_before: bool = False


CheckFunction = Callable[..., Look]
F = TypeVar("F", bound=CheckFunction)
CHECKS: dict[str, CheckFunction] = {}


def check(name: str) -> Callable[[F], F]:
    """The function `f(job, **args) -> Look` looks whether a step was done; NoBudget, WeComError, NetworkError."""

    def register(function: F) -> F:
        CHECKS[name] = function
        return function

    return register


LateFunction = Callable[[JobStep, Handover], list[Words]]
L = TypeVar("L", bound=LateFunction)
LATE: dict[str, LateFunction] = {}


def done_late(name: str) -> Callable[[L], L]:
    """The function does, and says, what it means that a step of this check was done after its time."""

    def register(function: L) -> L:
        LATE[name] = function
        return function

    return register


@dataclass(frozen=True)
class Check:
    """A registered check with its arguments, as JSON can hold them."""

    name: str
    args: Mapping[str, Any]


def owner_now(job: JobContext, address: str) -> str | None:
    """Whose an address is now, not as it was asked an hour ago; counts against the budget of all look-ups."""
    return addresses.look_up(job, address, negative=timedelta(0))


def name_of(job: JobContext, userid: str) -> str:
    """What to call a member."""
    with job.services.store.begin() as tx:
        return Directory(tx, job.services.settings.exmail_domain).name(userid)


@check("owner_is")
def owner_is(job: JobContext, address: str, userid: str, instead_of: str | None = None) -> Look:
    """
    Whether an address is a member's.

    While he still has the address it replaces, `instead_of`, it cannot be: that is a look-up that finds somebody, so
    waiting costs nothing of the budget.
    """
    detail: dict[str, Any] = {}
    if instead_of is not None:
        detail[instead_of] = has = owner_now(job, instead_of)
        if has == userid:
            return Look(False, say("handovers.saw_owner", address=instead_of, owner=name_of(job, userid)), detail)
    detail[address] = owner = owner_now(job, address)
    if owner is None:
        return Look(None, say("handovers.saw_nobody", address=address), detail)
    return Look(owner == userid, say("handovers.saw_owner", address=address, owner=name_of(job, owner)), detail)


@check("owner_is_not")
def owner_is_not(job: JobContext, address: str, userid: str) -> Look:
    """
    Whether an address is no more a member's: somebody else has it, or nobody while the member himself is in sight.

    "Nobody" (46004) is also said of a member out of sight; so it counts only with his own record seen, or with his
    leaving, and only after the address was seen as his.
    """
    owner = owner_now(job, address)
    if owner is not None:
        saw = say("handovers.saw_owner", address=address, owner=name_of(job, owner))
        return Look(owner != userid, saw, {address: owner})
    member = name_of(job, userid)
    if in_sight(job, userid):
        saw, detail = say("handovers.saw_freed", address=address, member=member), {userid: "in sight"}
    elif has_left(job, userid):
        saw, detail = say("handovers.saw_left", address=address, member=member), {userid: "left"}
    else:
        return Look(None, say("handovers.saw_nobody", address=address), {address: None, userid: "out of sight"})
    return Look(True, saw, {address: None, **detail}, needs_before=True)


def in_sight(job: JobContext, userid: str) -> bool:
    """Whether the app can see a member now. Raises NetworkError, or WeComError where asking again helps."""
    try:
        return contacts.member(job.client, userid).status != contacts.MemberStatus.LEFT
    except WeComError as error:
        if error.retry is not Retry.NEVER:
            raise
        return False


def has_left(job: JobContext, userid: str) -> bool:
    """Whether a member is known to have left the directory."""
    with job.services.store.begin() as tx:
        member = tx.members.find(userid)
        return member is not None and member.left_at is not None


# --- asking for it ---------------------------------------------------------------------------------------------------


def ask_for(
    step: JobStep,
    *,
    title: Words,
    why: Words,
    how: Sequence[Words],
    values: Sequence[str],
    check: Check,
    deadline_at: datetime,
    stage: str,
    seen_before: Mapping[str, Any] | None = None,
    asked_of: str | None = None,
) -> Handover:
    """
    Ask an admin (the job's asker) for a console step; the job waits, and is woken at `stage` when that is over.
    It is kept under its stage, see `of_stage`.

    `seen_before` is evidence of how things stood, with its time, as `evidence` writes it. The caller looks at
    `handover.state` when woken: done, or expired.
    """
    admin = asked_of or step.job.asked_by
    poll = step.tx.jobs.add(KIND, asked_by="bot", params={}, stage="check")
    handover = step.tx.handovers.open(
        job_id=step.job.id, stage=stage, check_job_id=poll.id, asked_of=admin, title=as_json(title), why=as_json(why),
        how=[as_json(each) for each in how], values=values, check=check.name, args=dict(check.args), looks=[],
        before=dict(seen_before) if seen_before is not None else None,
        remind_at=step.now + REMIND_FIRST, deadline_at=deadline_at,
    )  # fmt: skip
    handover.remind_at = next_reminder(handover, step.now, step.services.settings.zone)
    step.tx.jobs.put(poll, handover=handover.id, askers=[])
    step.tx.audit.add(
        "bot", "handover.asked", f"handover {handover.id}", job=step.job.id, of=admin, title=title.text("en"),
        check=check.name, args=dict(check.args),
    )  # fmt: skip
    step.put(handovers={**(step.job.data.get("handovers") or {}), stage: handover.id})
    step.tx.jobs.wait(step.job, stage, expires_at=None)
    step.say(*shown_in_full(handover, admin, step.services.settings.zone))
    step.start(poll)
    return handover


def of_stage(step: JobStep, stage: str) -> Handover | None:
    """The handover that the job asked for at a stage, if it did."""
    handover_id = (step.job.data.get("handovers") or {}).get(stage)
    return step.tx.handovers.get(int(handover_id)) if handover_id is not None else None


def evidence(now: datetime, look: Look) -> dict[str, Any]:
    """What was seen, with the moment, as it is kept."""
    return {"at": now.isoformat(timespec="seconds"), "saw": as_json(look.saw), "detail": dict(look.detail)}


def withdraw(tx: Transaction, job_id: int) -> list[Reply]:
    """The job is over: what it still asked for is not wanted any more."""
    replies: list[Reply] = []
    for handover in tx.handovers.of_job(job_id):
        if handover.state in OPEN:
            tx.handovers.end(handover, HandoverState.WITHDRAWN)
            replies += put_away(tx, handover, say("handovers.mark_withdrawn"))
    return replies


def last_look(job: JobContext, handover_id: int) -> Look | None:
    """A look before a step is withdrawn: it may be done, and nobody has looked since. None when it cannot be made."""
    with job.services.store.begin() as tx:
        handover = tx.handovers.peek(handover_id)
        wanted, args, still = handover.check, dict(handover.args), handover.state in OPEN
    if not still:
        return None
    try:
        return CHECKS[wanted](job, **args)
    except (addresses.NoBudget, UpstreamError) as error:
        log.warning("handover_not_looked", handover_id=handover_id, why=type(error).__name__)
        return None


def seen_done(step: JobStep, handover: Handover, look: Look | None) -> bool:
    """Whether a step is done, also if only this last look says so; then it is kept like any other."""
    if handover.state is HandoverState.DONE:
        return True
    if handover.state not in OPEN or look is None or not look.holds or (look.needs_before and handover.before is None):
        return False
    handover.after = evidence(step.now, look)
    step.tx.handovers.end(handover, HandoverState.DONE)
    step.tx.audit.add(
        "bot", "handover.done", f"handover {handover.id}", job=handover.job_id, said_by=handover.said_by,
        before=handover.before, after=handover.after,
    )  # fmt: skip
    step.say(*put_away(step.tx, handover, say("handovers.mark_done")))
    return True


# --- looking ---------------------------------------------------------------------------------------------------------


@work.job(KIND)
def poll(job: JobContext) -> None:
    """One look. People who asked are answered; without them the next look is a quarter of an hour to an hour away."""
    with job.services.store.begin() as tx:
        handover = tx.handovers.peek(int(job.data["handover"]))
        wanted, args = handover.check, dict(handover.args)
        still = handover.state in OPEN or wanted_late(tx, handover)
        failed_today = tx.mailboxes.failed_look_ups(within=timedelta(days=1))
    look = None
    if still and (job.data["askers"] or failed_today < POLLS_FAILED_MAX):
        try:
            look = CHECKS[wanted](job, **args)
        except addresses.NoBudget:
            log.warning("handover_not_looked", handover_id=handover.id)
    with job.begin() as step:
        waiting, handover = locked(step.tx, handover.id)
        if handover.state not in OPEN:
            if look is not None and wanted_late(step.tx, handover):
                looked_late(step, handover, look)
            step.put(askers=[])
            step.tx.jobs.end(step.job, JobState.DONE)
        elif look is None:
            not_looked(step, handover)
        else:
            looked(step, waiting, handover, look)


def locked(tx: Transaction, handover_id: int) -> tuple[Job, Handover]:
    """The waiting job, then the handover, locked always in this order."""
    waiting = tx.jobs.get(tx.handovers.peek(handover_id).job_id)
    return waiting, tx.handovers.get(handover_id)


def looked(step: JobStep, waiting: Job, handover: Handover, look: Look) -> None:
    """Write down what was seen; done only when that is evidence."""
    seen = evidence(step.now, look)
    if not handover.looks or handover.looks[-1]["detail"] != seen["detail"]:
        handover.looks = [*handover.looks[-LOOKS_KEPT:], seen]
    handover.polls, handover.looked_at = handover.polls + 1, step.now
    if look.holds is False:
        handover.before = seen
    if look.holds and (handover.before is not None or not look.needs_before):
        finish(step, waiting, handover, seen)
        return
    askers = step.job.data["askers"]
    if any(each["said"] for each in askers):
        handover.state = HandoverState.CONTRADICTED
        step.tx.audit.add(
            "bot", "handover.contradicted", f"handover {handover.id}", job=handover.job_id,
            said_by=handover.said_by, seen=seen,
        )  # fmt: skip
    zone = step.services.settings.zone
    for asker in askers:
        key = "handovers.contradicted" if asker["said"] else "handovers.not_yet"
        words = say(key, number=handover.id, seen=seen_words(handover, zone), title=from_json(handover.title))
        step.say(*answered(handover, asker, words, zone))
    again(step, handover, pace(handover.polls))


def wanted_late(tx: Transaction, handover: Handover) -> bool:
    """Whether a step that was not done in time is looked at once more: nobody has seen it done or asked for it anew."""
    waiting = tx.jobs.get(handover.job_id)
    latest = (waiting.data.get("handovers") or {}).get(handover.stage)
    return handover.state is HandoverState.EXPIRED and handover.after is None and latest == handover.id


def looked_late(step: JobStep, handover: Handover, look: Look) -> None:
    """Done after its time: kept as evidence, and everybody hears it, with what that means. Else only who asked does."""
    seen = evidence(step.now, look)
    handover.looks, handover.looked_at = [*handover.looks[-LOOKS_KEPT:], seen], step.now
    zone, askers = step.services.settings.zone, [str(each["by"]) for each in step.job.data["askers"]]
    if not look.holds or (look.needs_before and handover.before is None):
        step.say(*(Text(each, over(handover, zone)) for each in dict.fromkeys(askers)))
        return
    handover.after = seen
    step.tx.audit.add(
        "bot", "handover.done_late", f"handover {handover.id}", job=handover.job_id, said_by=handover.said_by,
        before=handover.before, after=seen,
    )  # fmt: skip
    words = say(
        "handovers.done_late", number=handover.id, title=from_json(handover.title), seen=seen_words(handover, zone),
        job=handover.job_id,
    )  # fmt: skip
    means = LATE[handover.check](step, handover) if handover.check in LATE else []
    told = dict.fromkeys([handover.asked_of, *askers, *step.roles.admins])
    step.say(*(Text(each, lines(words, *means)) for each in told))


def not_looked(step: JobStep, handover: Handover) -> None:
    """So many look-ups found nobody today that there was none to spare: in an hour again."""
    again_at = (step.now + POLL_MAX).astimezone(step.services.settings.zone)
    for asker in step.job.data["askers"]:
        words = say("handovers.no_look_ups", number=handover.id, at=f"{again_at:%H:%M}")
        step.say(*answered(handover, asker, words, step.services.settings.zone))
    again(step, handover, POLL_MAX)


def again(step: JobStep, handover: Handover, wait: timedelta) -> None:
    """The next look."""
    step.put(askers=[])
    step.job.failures = 0
    step.go("check", due_at=min(step.now + wait, max(handover.deadline_at, step.now + POLL_FIRST)))


def pace(polls: int) -> timedelta:
    """How long until the next look, after so many."""
    return min(POLL_MAX, POLL_FIRST * (1 << min(8, polls // POLLS_UNTIL_SLOWER)))


def finish(step: JobStep, waiting: Job, handover: Handover, seen: dict[str, Any]) -> None:
    """The check holds: the evidence is kept, and the job that waited goes on."""
    handover.after = seen
    step.tx.handovers.end(handover, HandoverState.DONE)
    step.tx.audit.add(
        "bot", "handover.done", f"handover {handover.id}", job=handover.job_id, said_by=handover.said_by,
        before=handover.before, after=seen,
    )  # fmt: skip
    zone = step.services.settings.zone
    words = say(
        "handovers.done", number=handover.id, title=from_json(handover.title), seen=seen_words(handover, zone),
        before=before_words(handover, zone),
    )  # fmt: skip
    step.say(*put_away(step.tx, handover, say("handovers.mark_done")))
    told = dict.fromkeys([handover.asked_of, *(str(each["by"]) for each in step.job.data["askers"])])
    step.say(*(Text(each, words) for each in told))
    step.tx.jobs.end(step.job, JobState.DONE)
    wake(step, waiting, handover)


def wake(step: JobStep | SweepStep, waiting: Job, handover: Handover) -> None:
    """The job that waited for a handover goes on, unless it is elsewhere by now."""
    if waiting.state is JobState.WAITING and waiting.stage == handover.stage:
        step.tx.jobs.wake(waiting, handover.stage)
        step.start(waiting)


@work.failed(KIND)
def cannot_look(step: JobStep, words: Words) -> None:
    """WeCom refuses the look-up for good, or something is broken: who asked is told, and it is tried again later."""
    _, handover = locked(step.tx, int(step.job.data["handover"]))
    log.error("handover_check_failed", handover_id=handover.id, why=words.text("en"))
    for asker in step.job.data["askers"]:
        step.say(Text(str(asker["by"]), say("handovers.cannot_look", number=handover.id, why=words)))
    step.put(askers=[])
    step.job.failures = 0
    step.go("check", due_at=step.now + UPSTREAM_AGAIN)


# --- what people type and press --------------------------------------------------------------------------------------


@router.command(
    "handovers", "待办|待办事项", role="auditor", topic="reassign", example=("handovers", "待办")
)  # fmt: skip
def handovers_list(ctx: Context) -> list[Reply]:
    """Console steps that wait for an admin, and what I see of each."""
    found = ctx.tx.handovers.open_ones()
    if not found:
        return [Text(ctx.sender, say("handovers.none"))]
    zone = ctx.settings.zone
    parts = [
        say(
            "handovers.line", number=each.id, title=from_json(each.title), until=day(each.deadline_at, zone),
            job=each.job_id, name=ctx.directory.name(each.asked_of), state=say(f"handovers.state_{each.state}"),
            seen=seen_words(each, zone),
        )
        for each in found
    ]  # fmt: skip
    return [Text(ctx.sender, lines(*parts, say("handovers.how_to_close", number=found[0].id)))]


@router.command(
    "handover {handover_id:int}", "待办 {handover_id:int}", role="auditor", topic="reassign",
    example=("handover 7", "待办 7"),
)  # fmt: skip
def handover_details(ctx: Context, handover_id: int) -> list[Reply]:
    """One console step in full: where to click, what to enter, what I see."""
    handover = ctx.tx.handovers.find(handover_id)
    if handover is None:
        raise UserError(say("handovers.unknown", number=handover_id))
    zone = ctx.settings.zone
    if handover.state not in OPEN:
        return [Text(ctx.sender, over(handover, zone))]
    shown = shown_in_full(handover, ctx.sender, zone)
    if not ctx.may(Role.SUPER_ADMIN, Role.ADMIN):
        return shown[:1]
    return [*put_away(ctx.tx, handover, say("handovers.mark_again"), member=ctx.sender), *shown]


@router.command(
    "done {handover_id:int}", "完成 {handover_id:int}", role="admin", topic="reassign",
    example=("done 7", "完成 7"),
)  # fmt: skip
@router.action("handover_done", role="admin")
def say_done(ctx: Context, handover_id: int) -> list[Reply]:
    """Say that a console step is done; I look, and only what I see counts."""
    return look_now(ctx, handover_id, said=True)


@router.action("handover_check", role="admin")
def check_now(ctx: Context, handover_id: int) -> list[Reply]:
    """Look now instead of at the next turn."""
    return look_now(ctx, handover_id, said=False)


def look_now(ctx: Context, handover_id: int, *, said: bool) -> list[Reply]:
    """A look at once, but not more than one a minute; the answer comes when it was made."""
    if ctx.tx.handovers.find(handover_id) is None:
        raise UserError(say("handovers.unknown", number=handover_id))
    poll_row = ctx.tx.jobs.get(ctx.tx.handovers.peek(handover_id).check_job_id)
    _, handover = locked(ctx.tx, handover_id)
    zone = ctx.settings.zone
    if handover.state not in OPEN and not wanted_late(ctx.tx, handover):
        raise UserError(over(handover, zone))
    if said:
        handover.said_by, handover.said_at = ctx.sender, ctx.now
        ctx.tx.audit.add(ctx.sender, "handover.said_done", f"handover {handover.id}", job=handover.job_id)
    earlier = [each for each in poll_row.data["askers"] if each["by"] != ctx.sender or each["task"] != ctx.task_id]
    ctx.tx.jobs.put(poll_row, askers=[*earlier, {"by": ctx.sender, "task": ctx.task_id, "said": said}])
    free_at = handover.looked_at + CHECK_NOW_EVERY if handover.looked_at is not None else ctx.now
    ctx.tx.jobs.wake(poll_row, "check", due_at=max(ctx.now, free_at))
    ctx.start(poll_row)
    if free_at <= ctx.now:
        return [] if ctx.task_id is not None else [Text(ctx.sender, say("handovers.looking", number=handover_id))]
    at = f"{free_at.astimezone(zone):%H:%M:%S}"
    return [Text(ctx.sender, say("handovers.just_looked", seen=seen_words(handover, zone), at=at))]


# --- time passes -----------------------------------------------------------------------------------------------------


@work.sweep("handovers", timedelta(minutes=1))
def remind(sweep: SweepStep) -> None:
    """Reminders, and the end of what was not done in time."""
    zone = sweep.services.settings.zone
    for handover_id in sweep.tx.handovers.due(count_max=SWEPT_MAX):
        poll_row = sweep.tx.jobs.get(sweep.tx.handovers.peek(handover_id).check_job_id)  # locked first, as by a look
        waiting, handover = locked(sweep.tx, handover_id)
        if handover.state not in OPEN:
            continue
        if handover.deadline_at <= sweep.tx.now:
            expire(sweep, waiting, handover)
            sweep.tx.jobs.put(poll_row, askers=[])
            sweep.tx.jobs.wake(poll_row, "check", due_at=sweep.tx.now + LAST_LOOK_AFTER)
            continue
        handover.reminders += 1
        handover.remind_at = next_reminder(handover, sweep.tx.now, zone)
        words = say(
            "handovers.reminder", number=handover.id, title=from_json(handover.title), seen=seen_words(handover, zone),
            until=moment(handover.deadline_at, zone),
        )  # fmt: skip
        sweep.say(*put_away(sweep.tx, handover, say("handovers.mark_again")))
        sweep.say(Text(handover.asked_of, words), card_of(handover, handover.asked_of, zone))


def expire(sweep: SweepStep, waiting: Job, handover: Handover) -> None:
    """Too late: everybody who could have done it is told, and the job says what that means."""
    zone = sweep.services.settings.zone
    sweep.tx.handovers.end(handover, HandoverState.EXPIRED)
    sweep.tx.audit.add(
        "bot", "handover.expired", f"handover {handover.id}", job=handover.job_id, looks=handover.looks[-1:]
    )
    sweep.say(*put_away(sweep.tx, handover, say("handovers.mark_expired")))
    words = say(
        "handovers.expired", number=handover.id, title=from_json(handover.title), seen=seen_words(handover, zone)
    )
    sweep.say(*(Text(each, words) for each in dict.fromkeys([handover.asked_of, *sweep.roles.admins])))
    wake(sweep, waiting, handover)


def next_reminder(handover: Handover, now: datetime, zone: ZoneInfo) -> datetime:
    """A day after it was asked, then every second day, once more a day before its end; when people are at work."""
    after = now + (REMIND_EVERY if handover.reminders else REMIND_FIRST)
    last = handover.deadline_at - REMIND_FIRST
    wanted = last if now < last < after else after
    at = at_work(wanted, zone)
    return at if at < handover.deadline_at else wanted


def at_work(at: datetime, zone: ZoneInfo) -> datetime:
    """That moment, or the next beginning of work."""
    local = at.astimezone(zone)
    if local.time() >= END or not workdays().works(local.date()):
        local = local.replace(hour=0, minute=0) + DAY
    elif local.time() >= BEGIN:
        return at
    for _ in range(LOOK_BACK_DAYS_MAX):
        if workdays().works(local.date()):
            break
        local += DAY
    return local.replace(hour=BEGIN.hour, minute=BEGIN.minute, second=0, microsecond=0)
