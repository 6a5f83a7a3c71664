"""
What every job that logs in to two mailboxes has in common: its pair, its turns, its passwords, its ending.

The backup and the later check are such jobs, and so is what saves a mailbox before it is given away. A stage may run
twice; trouble with a network or a server is waited out, a refused login never tried again by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from bot.context import Context
from bot.directory import Directory
from bot.errors import UpstreamError, UserError
from bot.mail.errors import LoginRefused
from bot.mail.plan import Filter
from bot.mail.session import MailAccount
from bot.mail.work import GivenUp
from bot.replies import Text
from bot.words import Words, as_json, say
from bot.work import BACKOFF_MAX, JobContext, JobStep, wait_after
from handlers.copying import access
from handlers.copying.access import SIDES, NoPassword, Side
from handlers.copying.backup_card import MADE_IN_CONSOLE, put_away
from handlers.copying.connections import WANTED, Connections
from storage.ledger import SqlLedger
from storage.ledger_tables import EngineDatabase
from storage.mailboxes import made_in_console
from storage.models import Job, JobState, LiveAnswer, Mailbox, MailboxKind

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()

KIND = "backup"
VERIFY_KIND = "verify"
RESCUE_KINDS = ("rescue", "convert")
OPENING_KINDS = (KIND, VERIFY_KIND, *RESCUE_KINDS, "deletion")  # these ask for access
READY_WITHIN = timedelta(hours=24)
ACCESS_WITHIN = timedelta(days=7)
CONNECTIONS_AGAIN = timedelta(seconds=5)
PATIENCE = timedelta(hours=24)  # with a network or a server that is away, before a job gives up
PATIENT_STAGES = ("preview", "copy", "verify", "check")
LET_IN = timedelta(seconds=8)  # for another process, or another job that lacks connections
LOOK_EVERY_SECONDS = 2.0  # into the database, for a wish to cancel
TARGETS_OFFERED = 10
FAILURES_TOLD = 3  # in a row; a short trouble is nobody's business
TOLD_AT_THE_END = ("cancelled", "expired")  # the other endings were told when they came

Result = TypeVar("Result")
Stage = Callable[[JobContext], None]


def add_job(
    tx: Transaction,
    *,
    asked_by: str,
    asker_name: str,
    source: Mapping[str, str | None],
    target: Mapping[str, str | None],
    reason: str,
    since: date | None = None,
    folders: Sequence[str] = (),
    without_junk: bool = False,
    **because: Any,
) -> Job:
    """
    A backup, asked for and written down; the caller starts it.

    `source` and `target` are `{"address": …, "userid": …}`, either may be None. `because` names what asked for it in
    the audit, when that was not a person.
    """
    params = {
        "source": dict(source), "target": dict(target), "reason": reason,
        "since": since.isoformat() if since is not None else None, "folders": list(folders),
        "without_junk": without_junk,
    }  # fmt: skip
    job = tx.jobs.add(KIND, asked_by=asked_by, params=params)
    tx.jobs.put(job, reason=reason, asker_name=asker_name)
    named = {side: each["address"] or each["userid"] for side, each in (("source", source), ("target", target))}
    tx.audit.add(
        asked_by, "backup.asked", str(named["source"]), target=named["target"], job=job.id, reason=reason, **because
    )
    return job


def begin_again(ctx: Context, job: Job, *, wrap: bool) -> None:
    """
    An ended job from its first stage on; what was copied stays where it is, what was refused is tried once more.

    `wrap`: what the target does not take as it is goes as an attachment.
    """
    job.cancel_asked_by, job.finished_at = None, None
    ctx.tx.jobs.put(
        job, ending=None, asked_of=None, refused_sides={}, untold=[], by_manager=None, opener=None, outcome=None,
        trouble=None, why=None, again=True, wrap=wrap,
    )  # fmt: skip
    ctx.tx.jobs.wake(job, "start")
    ctx.start(job)


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
        why = error.words() or say("work.upstream", error=str(error))
        trouble["why"] = as_json(why)
        until = datetime.fromisoformat(trouble["since"]) + PATIENCE
        if step.now >= until:
            return False
        row.failures += 1
        if row.failures >= FAILURES_TOLD and not trouble["told"]:
            trouble["told"] = True
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


def refuse(step: JobStep, why: Words) -> None:
    """It cannot be done as it was asked."""
    step.say(Text(step.job.asked_by, why))
    end_with(step, "refused")


def boxes(job: JobContext | JobStep, tx: Transaction) -> dict[Side, Mailbox]:
    """Both mailboxes of a job."""
    data = job.data if isinstance(job, JobContext) else job.job.data
    return {side: tx.mailboxes.get(int(data[side])) for side in SIDES if data.get(side) is not None}


def pair(job: Job) -> tuple[int | None, int | None]:
    """The mailboxes of a job, as far as they are known."""
    return job.data.get("source"), job.data.get("target")


def facts_of(step: JobStep, source: Mailbox, target: Mailbox) -> dict[str, Any]:
    """What people agree to: whose mail, into which mailbox, read by whom. No counts."""
    return {
        "source": source.address,
        "owner": source.owner,
        "target": target.address,
        "target_kind": kind_of(target),
        "readers": step.directory.readers(target),
    }


def told(facts: dict[str, Any], directory: Directory) -> Words:
    """Facts in words."""
    owner = facts["owner"]
    return say(
        "backup.facts", source=facts["source"], owner=directory.name(owner) if owner else "-",
        target=facts["target"], readers=[directory.name(each) for each in facts["readers"]] or "-",
    )  # fmt: skip


def sides_of(job: Job | JobContext) -> list[Side]:
    """The mailboxes a job logs in to: a backup to both, a later check to the target, a rescue as it says itself."""
    wanted = job.data.get("sides") or (SIDES if job.kind == KIND else ["target"])
    return [side for side in SIDES if side in wanted]


def targets(ctx: Context, source: str) -> list[tuple[str, str]]:
    """Where mail of an address can go: the archive mailbox first, then support@, then the other public ones."""
    addresses_: list[str] = []
    if ctx.settings.exmail_archive_mailbox:
        addresses_.append(ctx.settings.address(ctx.settings.exmail_archive_mailbox))
    known = [box.address for box in ctx.tx.mailboxes.public()]
    addresses_ += sorted(known, key=lambda each: (not each.startswith("support@"), each))
    offered = [each for each in dict.fromkeys(addresses_) if each != source]
    if not offered:
        raise UserError(say("backup.no_target", source=source))
    return [(each, each) for each in offered[:TARGETS_OFFERED]]


def mintable(box: Mailbox) -> bool:
    """Whether the app may make a password for it, as far as we know."""
    return box.kind is MailboxKind.PUBLIC and box.managed


def kind_of(box: Mailbox) -> str:
    """What kind a target is, as people agree to it."""
    return MADE_IN_CONSOLE if made_in_console(box) else str(box.kind)


def readers_known(facts: Mapping[str, Any]) -> bool:
    """Whether WeCom shows who can open the target; of a public mailbox made in the console it does not."""
    return facts["target_kind"] not in (MailboxKind.UNSEEN, MADE_IN_CONSOLE)


def with_both(
    job: JobContext,
    both: dict[Side, Mailbox],
    act: Callable[[MailAccount, MailAccount, Connections], Result],
    *,
    most: int = 2,
    beside: tuple[str, str, float] | None = None,
) -> Result | None:
    """
    What comes of logging in to both mailboxes, over those connections; None when that has to wait.

    Then the job's row says for what: a connection, a password, somebody who enters another, or its cleanup.
    """

    def enter(accounts: Sequence[MailAccount], connections: Connections) -> Result:
        source, target = accounts
        return act(source, target, connections)

    return logged_in(job, both, enter, sides=SIDES, most=most, beside=beside)


def with_target(job: JobContext, both: dict[Side, Mailbox], act: Callable[[MailAccount], Result]) -> Result | None:
    """The same with the target alone."""
    return logged_in(job, both, lambda accounts, _: act(accounts[0]), sides=("target",), most=1)


def logged_in(
    job: JobContext,
    boxes: Mapping[Side, Mailbox],
    act: Callable[[Sequence[MailAccount], Connections], Result],
    *,
    sides: Sequence[Side],
    most: int,
    beside: tuple[str, str, float] | None = None,
    on_refusal: Callable[[JobContext, LoginRefused, Mapping[Side, Mailbox]], None] | None = None,
) -> Result | None:
    """What comes of logging in to these sides; None when the job has to wait, as its row says then."""
    with job.services.store.begin() as tx:
        most = min(most, one_mailbox_takes(tx.answers.find("connections"), most) + len(sides) - 1)
    try:
        accounts = [access.account(job, side, boxes[side]) for side in sides]
        with Connections(job, least=len(sides), most=most, beside=beside) as connections:
            if connections.count:
                came = act(accounts, connections)
                let_in(job, boxes)
                return came
        wait_for_connections(job)
    except NoPassword:
        ask_again(job)
    except LoginRefused as error:
        (on_refusal or refused)(job, error, boxes)
    except GivenUp:  # cancelled, which the turn honours, or the process stops
        if job.services.stopping.is_set():
            later(job, LET_IN)
    return None


def one_mailbox_takes(seen: LiveAnswer | None, most: int) -> int:
    """How many connections a mailbox takes, as `doctor --live` saw it (`3: why the fourth was refused`)."""
    number = seen.detail.partition(":")[0] if seen is not None and seen.answer == "no" else ""
    return max(1, int(number)) if number.isdecimal() else most


def let_in(job: JobContext, boxes: Mapping[Side, Mailbox]) -> None:
    """A member's mailbox was entered after the bot had switched its IMAP on by the mail API."""
    owners = {each.owner for each in boxes.values() if each.owner is not None}
    with job.services.store.begin() as tx:
        switched = {each.userid for each in tx.passwords.switches_of(job.job_id) if each.before == "0"}
        if owners & switched:
            tx.answers.saw("imap_by_api", "yes", ", ".join(sorted(owners & switched)))


class Unwanted:
    """Whether a stage is to be left, because somebody cancelled or the process stops; asked as often as one likes."""

    def __init__(self, job: JobContext) -> None:
        self._job = job
        self._looked = -LOOK_EVERY_SECONDS
        self._unwanted = False

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._unwanted and now - self._looked >= LOOK_EVERY_SECONDS:
            self._looked = now
            self._unwanted = self._job.services.stopping.is_set() or self._job.cancelled()
        return self._unwanted


def ask_again(job: JobContext) -> None:
    """A password is not there any more: back to asking for it."""
    with job.begin() as step:
        step.go("access")


def wait_for_access(step: JobStep) -> None:
    """For somebody's page: a week, but a day only while a minted password lives."""
    within = READY_WITHIN if step.tx.passwords.minted_for(step.job.id) else ACCESS_WITHIN
    step.tx.jobs.wait(step.job, "access", expires_at=step.now + within)


def wait_for_connections(job: JobContext) -> None:
    """All connections are in use: others learn that this job waits, and it looks again soon."""
    with job.begin() as step:
        step.put(**{WANTED: True})
        step.go(step.job.stage, due_at=step.now + CONNECTIONS_AGAIN)


def later(job: JobContext, wait: timedelta) -> None:
    """The same stage again, in a while."""
    with job.begin() as step:
        step.go(step.job.stage, due_at=step.now + wait)


def refused(job: JobContext, error: LoginRefused, both: Mapping[Side, Mailbox]) -> None:
    """A login was refused: never tried again by itself."""
    side: Side = "target" if error.mailbox.casefold() == both["target"].address else "source"
    with job.begin() as step:
        minted = step.tx.passwords.find(job.job_id, side)
        access.login_refused(step, side, both[side], error.words())
        if minted is not None and minted.given_by == "bot":
            step.go("access")
        else:
            wait_for_access(step)


def filter_of(params: Any) -> Filter:
    """The filter as it was typed."""
    since = date.fromisoformat(params["since"]) if params.get("since") else None
    return Filter(since, tuple(params.get("folders") or ()), bool(params.get("without_junk")))


def ledger_of(job: JobContext, both: dict[Side, Mailbox], fence: Any = None) -> SqlLedger:
    """The ledger of this pair and root; another incarnation of the source is another ledger."""
    source_key, target_key = f"mailbox:{job.data['source']}", f"mailbox:{both['target'].id}"
    database = EngineDatabase(job.services.store.engine)
    return SqlLedger(database, source_key, target_key, str(job.data["root"]), fence=fence)


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
    step.tx.jobs.end_as(job, ending)


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
    step.put(why=as_json(words))
    end_with(step, "failed")
    step.job.error = words.text("en")
