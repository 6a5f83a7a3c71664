"""
What every job that changes one thing at WeCom has in common: it looks, it asks, it acts.

`look` reads what is there now and says what would become of it, or that there is nothing to do. Then the asker says
yes once more (`confirm 12`), or others do, as the policy wants; then `act` reads again, changes, and says what it did.
Each may run twice. A list that WeCom replaces as a whole is changed by one job at a time (`alone`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from bot.context import Context
from bot.errors import BotError, NetworkError, UpstreamError, UserError
from bot.policy import Requirement
from bot.replies import Button, Card, CardUpdate, Reply, Text
from bot.router import Router
from bot.wecom.errcodes import Retry, WeComError
from bot.words import Words, as_json, from_json, lines, say
from bot.work import JobContext, JobStep, SweepStep, Work, wait_after
from handlers.approvals import approvals
from handlers.approvals.facts import in_words
from handlers.copying.job_words import state_of
from handlers.handovers import handovers
from storage.approvals import fingerprint
from storage.models import Approval, Job, JobState

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()
router = Router()
work = Work()

CONFIRM_WITHIN = timedelta(days=1)
BUSY_AGAIN = timedelta(seconds=5)
BUSY_TOLD_AFTER = timedelta(seconds=10)
# Longer than a read and a write may take, each with its time-out; and longer than a request that was given up can be
# under way: the kernel drops what an orphaned connection has not delivered after 100 s, servers in between sooner.
LEASE_SECONDS = 120.0


class Refused(BotError):
    """It cannot be done as it was asked; the words say why, and what can be done instead."""

    def __init__(self, words: Words) -> None:
        super().__init__(words.key)
        self.words = words


class Busy(BotError):
    """Another job changes the same thing just now: this one looks again soon."""


@dataclass(frozen=True)
class Question:
    """
    What is to be agreed to.

    `facts` are read again before anything is done, `gains` are the members who gain by it, `owner` has the manager
    whose yes may be wanted, `hints` are told to the asker alone.
    """

    words: Words
    action: str  # of the policy
    facts: Mapping[str, Any]
    reason: str = ""
    gains: Sequence[str] = ()
    owner: str | None = None
    hints: Sequence[Words] = field(default_factory=tuple)


Written = Callable[[JobStep], Words]  # writes down what was done, in the transaction that ends the job; what is said
Look = Callable[[JobContext], "Question | Words | Written"]
Act = Callable[[JobContext], "Written | None"]  # None: the job waits for somebody, or goes on elsewhere
Last = Callable[[JobContext], "Callable[[JobStep], tuple[Words, str] | None] | None"]  # and the ending it has
Stage = Callable[[JobContext], None]
Writing = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Kind:
    """
    What one kind of job looks at, and what it does.

    `more` are further stages, by name, or others for ours; `last` says what became of it when it had to stop.
    """

    look: Look
    act: Act
    more: Mapping[str, Stage]
    last: Last | None


_KINDS: dict[str, Kind] = {}
_CONFIRMED: dict[str, str] = {}  # kinds that are no change of one thing but ask for a `confirm`: the stage after it


def kind(
    into: Work,
    name: str,
    *,
    look: Look,
    act: Act,
    more: Mapping[str, Stage] | None = None,
    last: Last | None = None,
) -> None:
    """Jobs of this kind look and act so; `act` may go on to one of `more` stages itself, and then says nothing."""
    _KINDS[name] = Kind(look, act, dict(more or {}), last)
    into.job(name)(turn)
    into.failed(name)(failed)
    approvals.decided(action_of(name))(decided)


def also_confirmed(name: str, stage: str) -> None:
    """A job of another kind that waits in `confirm` goes on to this stage after a yes, with `confirmed` in its data."""
    _CONFIRMED[name] = stage


def action_of(name: str) -> str:
    """The action of the questions that a kind asks of others."""
    return f"change.{name}"


def kinds() -> tuple[str, ...]:
    """Every kind there is."""
    return tuple(_KINDS)


def ask_for(ctx: Context, name: str, address: str, title: Words, /, **params: Any) -> Job:
    """A job of a kind, on its way: `title` is what the list of jobs calls it."""
    job = ctx.tx.jobs.add(name, asked_by=ctx.sender, params={"address": address, **params}, stage="look")
    ctx.tx.jobs.put(
        job, title=as_json(title), source_address=address, reason=str(params.get("reason") or ""),
        asker_name=ctx.directory.name(ctx.sender), language=ctx.language,
    )  # fmt: skip
    ctx.start(job)
    return job


def again(ctx: Context, job: Job) -> list[Reply]:
    """`retry 12`: the same asked for once more, with another number."""
    if job.state in (JobState.WAITING, JobState.DUE, JobState.DONE):
        raise UserError(say("jobs.nothing_to_retry", number=job.id, state=state_of(job)))
    params = {name: value for name, value in job.params.items() if name != "address"}
    anew = ask_for(ctx, job.kind, str(job.params["address"]), title_of(job), **params)
    ctx.tx.audit.add(ctx.sender, "job.retried", str(job.params["address"]), job=anew.id, before=job.id)
    return []


# --- the job ---------------------------------------------------------------------------------------------------------


def turn(job: JobContext) -> None:
    """One turn, by its stage. What WeCom lets wait is waited for; the asker hears of it once."""
    try:
        if job.stage != "cleanup" and cancelled(job):
            return
        stages: dict[str, Stage] = {"look": look, "act": act, "cleanup": clean_up, **_KINDS[job.kind].more}
        stages[job.stage](job)
    except Refused as refusal:
        with job.begin() as step:
            step.say(Text(step.job.asked_by, refusal.words))
            end_with(step, "refused")
    except Busy:
        with job.begin() as step:
            wait_for_turn(step)
    except UpstreamError as error:
        if wait_after(error) is not None and not job.data.get("waiting_told"):
            with job.begin() as step:
                step.put(waiting_told=True)
                words = say("changes.takes_time", title=title_of(step.job), number=step.job.id)
                step.say(Text(step.job.asked_by, words))
        raise


def wait_for_turn(step: JobStep) -> None:
    """Another job changes the same thing: soon again; the asker hears once why it takes so long."""
    since = datetime.fromisoformat(step.job.data.get("busy_since") or step.now.isoformat())
    if step.now - since >= BUSY_TOLD_AFTER and not step.job.data.get("busy_told"):
        step.put(busy_told=True)
        words = say("changes.waits_its_turn", title=title_of(step.job), number=step.job.id)
        step.say(Text(step.job.asked_by, words))
    step.put(busy_since=since.isoformat())
    step.go(step.job.stage, due_at=step.now + BUSY_AGAIN)


def cancelled(job: JobContext) -> bool:
    """Whether somebody cancelled it in time: before WeCom was asked."""
    with job.begin() as step:
        if step.job.cancel_asked_by is None or step.job.data.get("sent"):
            return False
        end_with(step, "cancelled")
        return True


def look(job: JobContext) -> None:
    """What is there now, and what would become of it."""
    found = _KINDS[job.kind].look(job)
    with job.begin() as step:
        if isinstance(found, Question):
            ask(step, found)
        else:
            step.say(Text(step.job.asked_by, found if isinstance(found, Words) else found(step)))
            end_with(step, "done")


def ask(step: JobStep, question: Question) -> None:
    """The asker's own yes, or others', as the policy says."""
    job, data = step.job, step.job.data
    requirement = step.services.policy.requirement(question.action)
    if requirement is Requirement.MANAGER and question.owner is None:
        requirement = Requirement.TWO  # a public mailbox has no owner's manager
    step.put(facts=dict(question.facts), agreed=fingerprint(question.facts), action=question.action)
    if requirement is Requirement.CONFIRM:
        step.tx.jobs.wait(job, "confirm", expires_at=step.now + CONFIRM_WITHIN)
        step.say(*confirmation(job, question))
        return
    try:
        may = approvals.who_may(
            requirement, step.directory, step.roles, asker=job.asked_by, owner=question.owner, gains=question.gains
        )
    except approvals.NobodyCanAnswer as nobody:
        raise Refused(nobody.words) from None
    approval, replies = approvals.ask(
        step.tx, action=action_of(job.kind), requirement=requirement, may=may, job_id=job.id, question=question.words,
        facts=question.facts, reason=question.reason or "-", asked_by=job.asked_by,
        asked_by_name=str(data["asker_name"]), settings=step.services.settings,
    )  # fmt: skip
    step.put(approval=approval.id)
    step.tx.jobs.wait(job, "approval", expires_at=approval.expires_at)
    named = [step.directory.name(userid) for userid in may.userids]
    asked = say("changes.others_asked", approvers=named, approval=approval.id, number=job.id)
    step.say(*replies, Text(job.asked_by, lines(question.words, *question.hints, asked)))


def confirmation(job: Job, question: Question) -> list[Reply]:
    """The question in words, then the card with its two buttons."""
    told = lines(question.words, *question.hints, say("changes.how_to_confirm", number=job.id))
    return [
        Text(job.asked_by, told),
        Card(
            job.asked_by,
            about(job),
            say("changes.card_title", number=job.id),
            note=title_of(job),
            buttons=[
                Button(f"confirm:{job.id}", say("changes.button_confirm")),
                Button(f"cancel:{job.id}", say("jobs.button_cancel"), style=2),
            ],
        ),
    ]


def about(job: Job) -> str:
    """What the card of a change is about."""
    return f"job-{job.id}"


def title_of(job: Job | JobContext) -> Words:
    """What the change is called."""
    return from_json(job.data["title"])


@router.command(
    "confirm {job_id:int}", "确认 {job_id:int}", role="admin", topic="jobs", example=("confirm 12", "确认 12")
)
@router.action("confirm", role="admin")
def confirm(ctx: Context, job_id: int) -> list[Reply]:
    """Say yes to a change that I have shown you: then it is done."""
    ctx.require_admin()
    job = ctx.tx.jobs.find(job_id)
    if job is None or job.kind not in {*_KINDS, *_CONFIRMED}:
        raise UserError(say("jobs.unknown", number=job_id))
    if job.state is not JobState.WAITING or job.stage != "confirm":
        raise UserError(say("changes.not_waiting", number=job_id, state=state_of(job)))
    if ctx.sender != job.asked_by:
        raise UserError(say("changes.not_yours", number=job_id, name=ctx.directory.name(job.asked_by)))
    ctx.tx.audit.add(ctx.sender, "change.confirmed", str(job.data["source_address"]), job=job.id)
    ctx.tx.jobs.put(job, confirmed=True)
    ctx.tx.jobs.wake(job, _CONFIRMED.get(job.kind, "act"))
    ctx.start(job)
    return put_away(ctx.tx, job, say("changes.mark_confirmed"))


def put_away(tx: Transaction, job: Job, done: Words) -> list[Reply]:
    """Every open card of the change greyed."""
    title = say("changes.card_title", number=job.id)
    return [
        CardUpdate(each.task_id, Card(each.member, about(job), title, note=title_of(job), done=done))
        for each in tx.cards.open_about(about(job))
    ]


def decided(ctx: Context, approval: Approval) -> list[Reply]:
    """A yes does it, a no ends it."""
    return approvals.go_on(ctx, approval, "act", approved_by=ctx.sender)


def act(job: JobContext) -> None:
    """It is done; then written down, told and over in one transaction: a kill makes nothing of it happen twice."""
    written = _KINDS[job.kind].act(job)
    if written is not None:
        with job.begin() as step:
            tell(step, written(step))
            end_with(step, "done")


def tell(step: JobStep, words: Words) -> None:
    """What came of it, to the asker and to who else said yes."""
    step.say(*(Text(each, words) for each in dict.fromkeys([step.job.asked_by, *agreed_by(step.job)])))


def agreed_by(job: Job) -> list[str]:
    """Who else said yes, and hears what came of it."""
    return [str(job.data["approved_by"])] if job.data.get("approved_by") else []


# --- what a kind uses when it acts -----------------------------------------------------------------------------------


def still_agreed(job: JobContext, facts: Mapping[str, Any]) -> None:
    """Refused when what was agreed to is not so any more; when WeCom was asked already it may be our own doing."""
    if job.data.get("sent") or fingerprint(facts) == job.data["agreed"]:
        return
    shown: Mapping[str, Any] = job.data["facts"]
    changed = sorted(name for name in {*facts, *shown} if facts.get(name) != shown.get(name))
    with job.begin() as step:
        differences = [
            say(
                "changes.difference",
                fact=say(f"changes.fact_{name}"),
                before=in_words(step.tx, step.directory, name, shown.get(name)),
                after=in_words(step.tx, step.directory, name, facts.get(name)),
            )
            for name in changed
        ]
    raise Refused(lines(say("changes.facts_changed", title=title_of(job), number=job.job_id), *differences))


@contextmanager
def asking(job: JobContext) -> Iterator[None]:
    """
    WeCom is asked within; once it has said for certain that it did nothing, it counts as not asked.

    Then the facts are read again before the next try, and who changes his mind can still cancel. Only where what is
    asked for changes none of the facts.
    """
    before = sending(job)
    try:
        yield
    except WeComError as error:
        if not before and not_done(error):
            with job.begin() as step:
                step.put(sent=False)
        raise


def sending(job: JobContext) -> bool:
    """WeCom will be asked now; whether it was asked before, and the answer never came. Written before the call."""
    with job.begin() as step:
        before = bool(step.job.data.get("sent"))
        step.put(sent=True)
        return before


def not_done(error: WeComError) -> bool:
    """Whether WeCom certainly did nothing: -1 may have."""
    return error.retry is not Retry.BACKOFF


@contextmanager
def alone(job: JobContext, subject: str) -> Iterator[Writing]:
    """
    No other job changes `subject` meanwhile, and those asked for earlier go first; Busy when it is not our turn.

    Gives what WeCom is asked to write within: Busy when too much time has passed. A request whose answer was lost may
    still arrive and replace what others wrote since: so nobody else goes on before it cannot any more, or was seen to
    have arrived, because nothing is left to be written.
    """
    with job.begin() as step:
        step.put(subject=subject)
        waiting = step.tx.jobs.at_work(kinds())
        if any(each.id < job.job_id and is_next(each, subject) and each.due_at <= step.now for each in waiting):
            raise Busy(subject)
    leases, name, holder = job.services.leases, f"change:{subject}", f"{job.services.replica}:{job.job_id}"
    fence = leases.acquire(name, holder, LEASE_SECONDS)
    if fence is None:
        raise Busy(subject)
    wrote = False

    @contextmanager
    def writing() -> Iterator[None]:
        nonlocal wrote
        if not leases.holds(name, holder, fence):
            raise Busy(subject)
        sending(job)
        wrote = True
        try:
            yield
        except NetworkError:
            with job.begin() as step:
                step.put(lost_at=step.now.isoformat())
            raise

    try:
        yield writing
        if not wrote and job.data.get("lost_at"):
            with job.begin() as step:
                step.put(lost_at=None)
    finally:
        if (left := may_still_arrive(job)) > 0:
            leases.acquire(name, holder, left)
        else:
            leases.release(name, holder)


def may_still_arrive(job: JobContext) -> float:
    """For how many seconds a request of ours whose answer was lost may still reach WeCom."""
    lost_at = job.data.get("lost_at")
    if lost_at is None:
        return 0.0
    return LEASE_SECONDS - (job.services.clock.now() - datetime.fromisoformat(lost_at)).total_seconds()


def is_next(job: Job, subject: str) -> bool:
    """Whether a job is about to change the same thing."""
    return job.stage == "act" and job.data.get("subject") == subject


# --- the end ---------------------------------------------------------------------------------------------------------


def end_with(step: JobStep, ending: str) -> None:
    """To the cleanup, and then to this ending."""
    step.put(ending=ending)
    step.tx.approvals.void(step.job.id)
    step.go("cleanup")


def failed(step: JobStep, words: Words) -> None:
    """It cannot go on; whether WeCom did it all the same may not be known."""
    job = step.job
    if job.stage == "cleanup":
        step.tx.jobs.end(job, JobState.FAILED, error=words.text("en"))
        return
    said = say("changes.failed", title=title_of(job), number=job.id, why=words)
    unknown = [say("changes.perhaps_done")] if job.data.get("lost_at") else []
    step.say(Text(job.asked_by, lines(said, *unknown)))
    end_with(step, "failed")
    job.error = words.text("en")


def clean_up(job: JobContext) -> None:
    """No card and no question is left open; then the job has its ending."""
    last = _KINDS[job.kind].last
    found = last(job) if last is not None and job.data.get("ending") != "done" else None
    with job.begin() as step:
        row, ending = step.job, str(step.job.data.get("ending") or "failed")
        late = found(step) if found is not None else None
        if late is not None:
            words, ending = late
            tell(step, words)
            step.put(ending=ending)
            row.error = None if ending == "done" else row.error
        step.tx.approvals.void(row.id)
        step.say(*handovers.withdraw(step.tx, row.id))
        step.say(*put_away(step.tx, row, say(f"jobs.ended_{ending}")))
        if late is None and ending in ("cancelled", "expired", "rejected", "void"):
            step.say(Text(row.asked_by, say(f"changes.ended_{ending}", title=title_of(row), number=row.id)))
        if ending != "done":
            step.tx.audit.add("bot", "change.ended", str(row.params["address"]), job=row.id, ending=ending)
        step.tx.jobs.end_as(row, ending)


@work.sweep("changes", timedelta(minutes=1))
def watch(sweep: SweepStep) -> None:
    """Nobody said yes in time, or the question is void: nothing is changed."""
    tx = sweep.tx
    for name in kinds():
        for job in tx.jobs.waiting_or_due(name):
            if job.state is not JobState.WAITING:
                continue
            ending = approvals.ran_out(tx, job)
            if ending is not None:
                tx.jobs.put(job, ending=ending)
                tx.approvals.void(job.id)
                tx.jobs.wake(job, "cleanup")
                sweep.start(job)
