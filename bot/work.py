"""
Jobs as handlers write them: a function a kind, turned until the job's row says that it is over.

A turn may run twice. It reads its stage from the row, does one slice outside any transaction, and writes what came of
it in one; a crash in between repeats the slice.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from sqlalchemy.exc import DBAPIError

from bot import delivery
from bot.clock import Clock
from bot.context import job_start
from bot.directory import Directory
from bot.errors import BotError, NetworkError, UpstreamError
from bot.jobs import Start, Turn
from bot.mail.errors import ConnectionLost, MailError
from bot.policy import Policy, Roles
from bot.replies import Reply, Text
from bot.settings import Settings
from bot.vault import Vault
from bot.wecom.client import WeComClient
from bot.wecom.errcodes import UNKNOWN, Retry, WeComError
from bot.words import Words, say
from storage.leases import Leases
from storage.models import Job, JobState

if TYPE_CHECKING:
    from storage.store import Store, Transaction

log = structlog.get_logger()

FAILURES_MAX = 8
DATABASE_FAILURES_MAX = 5  # workflows of one stage; the database being away is not counted, it cannot be
BACKOFF_FIRST = timedelta(seconds=5)
BACKOFF_MAX = timedelta(minutes=15)
WINDOW = timedelta(seconds=65)
FREQUENT = timedelta(minutes=10)

F = TypeVar("F", bound=Callable[..., Any])


class JobCancelled(BotError):
    """Somebody cancelled it meanwhile: the slice ends, nothing of it is written."""


@dataclass(frozen=True)
class Services:
    """What the outside world is reached through."""

    store: Store
    client: WeComClient
    settings: Settings
    policy: Policy
    vault: Vault
    clock: Clock
    leases: Leases
    replica: str
    stopping: threading.Event = field(default_factory=threading.Event)  # the process ends: slices end soon


@dataclass
class JobStep:
    """One transaction of a job, with its row locked."""

    tx: Transaction
    job: Job
    services: Services
    roles: Roles
    starts: list[Start] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        """The moment of this transaction."""
        return self.tx.now

    @property
    def directory(self) -> Directory:
        """People and addresses."""
        return Directory(self.tx, self.services.settings.exmail_domain)

    def say(self, *replies: Reply) -> None:
        """Replies, on their way when this transaction is committed."""
        for reply in replies:
            self.starts += delivery.add(self.tx, reply, self.services.settings)

    def put(self, **data: object) -> None:
        """Note what is known now."""
        self.tx.jobs.put(self.job, **data)

    def go(self, stage: str, *, due_at: datetime | None = None) -> None:
        """On to a stage, now or later."""
        self.tx.jobs.wake(self.job, stage, due_at=due_at)

    def start(self, job: Job) -> None:
        """Start another job."""
        if job.state is JobState.DUE and job.due_at <= self.now:
            self.starts.append(job_start(job))


@dataclass
class JobContext:
    """What a job is given: services and its row, no sender."""

    services: Services
    job_id: int
    wakes: int
    kind: str
    stage: str
    params: Mapping[str, Any]
    data: Mapping[str, Any]
    failures: int
    roles: Callable[[Transaction], Roles]
    starts: list[Start] = field(default_factory=list)

    @property
    def client(self) -> WeComClient:
        """WeCom."""
        return self.services.client

    @contextmanager
    def begin(self) -> Iterator[JobStep]:
        """A transaction with the job's row locked; JobCancelled when the job was moved on by somebody else."""
        with self.services.store.begin() as tx:
            job = tx.jobs.get(self.job_id)
            if job.state is not JobState.DUE or job.wakes != self.wakes:
                raise JobCancelled(self.kind)
            step = JobStep(tx, job, self.services, self.roles(tx))
            yield step
            tx.session.flush()
            self.data = job.data
        self.starts += step.starts

    def cancelled(self) -> bool:
        """Whether somebody wants it to end; asked between slices and by long ones."""
        with self.services.store.begin() as tx:
            job = tx.jobs.get(self.job_id)
            return job.cancel_asked_by is not None or job.state is not JobState.DUE or job.wakes != self.wakes


JobFunction = Callable[[JobContext], None]
FailFunction = Callable[[JobStep, Words], None]
SweepFunction = Callable[["SweepStep"], None]


@dataclass
class SweepStep:
    """One run of a sweep: a transaction, and what it starts."""

    tx: Transaction
    services: Services
    roles: Roles
    starts: list[Start] = field(default_factory=list)

    def say(self, *replies: Reply) -> None:
        """Replies, on their way when this transaction is committed."""
        for reply in replies:
            self.starts += delivery.add(self.tx, reply, self.services.settings)

    def start(self, job: Job) -> None:
        """Start a job."""
        if job.state is JobState.DUE and job.due_at <= self.tx.now:
            self.starts.append(job_start(job))


class Work:
    """The jobs and sweeps of one feature, or of all once `include`d."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobFunction] = {}
        self.long_jobs: set[str] = set()
        self.failures: dict[str, FailFunction] = {}
        self.sweeps: dict[str, tuple[timedelta, SweepFunction]] = {}

    def job(self, kind: str, *, long: bool | Sequence[str] = False) -> Callable[[F], F]:
        """The function turns jobs of a kind; `long` ones, or `long` stages, of hours, wait in a line of their own."""

        def register(function: F) -> F:
            if kind in self.jobs:
                raise ValueError(f"two functions turn {kind}")
            self.jobs[kind] = function
            if long is True:
                self.long_jobs.add(kind)
            elif long:
                self.long_jobs |= {f"{kind}.{stage}" for stage in long}
            return function

        return register

    def failed(self, kind: str) -> Callable[[F], F]:
        """The function says what becomes of a job of a kind that cannot go on; without one it ends as failed."""

        def register(function: F) -> F:
            self.failures[kind] = function
            return function

        return register

    def sweep(self, name: str, every: timedelta) -> Callable[[F], F]:
        """The function runs once in every period, in one replica."""

        def register(function: F) -> F:
            self.sweeps[name] = (every, function)
            return function

        return register

    def include(self, other: Work) -> None:
        """Take over what another feature declares."""
        if twice := (self.jobs.keys() & other.jobs.keys()) | (self.sweeps.keys() & other.sweeps.keys()):
            raise ValueError(f"declared twice: {', '.join(sorted(twice))}")
        self.jobs |= other.jobs
        self.long_jobs |= other.long_jobs
        self.failures |= other.failures
        self.sweeps |= other.sweeps

    def rounds(self) -> dict[str, tuple[timedelta, list[str]]]:
        """
        What runs as one workflow: frequent sweeps of the same period go together, the others alone.

        Most sweeps find nothing to do, and that costs less than the workflow around it.
        """
        found: dict[str, tuple[timedelta, list[str]]] = {}
        for name, (every, _) in self.sweeps.items():
            together = f"every-{every.total_seconds():.0f}s" if every <= FREQUENT else name
            found.setdefault(together, (every, []))[1].append(name)
        return found


class Runner:
    """Turns jobs and runs sweeps, for the workflows."""

    def __init__(self, work: Work, services: Services, roles: Callable[[Transaction], Roles]) -> None:
        self._work = work
        self._services = services
        self._roles = roles

    def turn(self, job_id: int, wakes: int) -> Turn:
        """One slice of a job; over when its row waits, has ended, or another workflow carries it on."""
        ctx = self.context(job_id, wakes)
        if ctx is None:
            return Turn(True, [])
        try:
            self._work.jobs[ctx.kind](ctx)
        except JobCancelled:
            log.info("job_moved_on", job_id=job_id, kind=ctx.kind)
        except UpstreamError as error:
            self.again_or_fail(ctx, error)
        except Exception as error:
            if isinstance(error, DBAPIError) and ctx.failures < DATABASE_FAILURES_MAX:
                raise  # the database is away or busy: nothing is written, the same again may succeed
            reference = secrets.token_hex(4)
            log.exception("job_failed", job_id=job_id, kind=ctx.kind, stage=ctx.stage, reference=reference)
            self.fail(ctx, say("work.bug", reference=reference))
        return self.turned(ctx)

    def context(self, job_id: int, wakes: int) -> JobContext | None:
        """The job as it stands, or None when this workflow has nothing to do with it any more."""
        with self._services.store.begin() as tx:
            job = tx.jobs.find(job_id)
            if job is None or job.state is not JobState.DUE or job.wakes != wakes or job.due_at > tx.now:
                return None
            return JobContext(
                self._services,
                job.id,
                wakes,
                job.kind,
                job.stage,
                dict(job.params),
                dict(job.data),
                job.failures,
                self._roles,
            )

    def turned(self, ctx: JobContext) -> Turn:
        """What to start now, and whether this workflow goes on."""
        with self._services.store.begin() as tx:
            job = tx.jobs.get(ctx.job_id)
            due = job.state is JobState.DUE and job.due_at <= tx.now
            if due and job.wakes != ctx.wakes:
                ctx.starts.append(job_start(job))
            return Turn(not due or job.wakes != ctx.wakes, ctx.starts)

    def again_or_fail(self, ctx: JobContext, error: UpstreamError) -> None:
        """Upstream refused: later again if that can help, else it is over."""
        wait = wait_after(error)
        with self._services.store.begin() as tx:
            learnt(tx, error)
            job = tx.jobs.get(ctx.job_id)
            if job.state is not JobState.DUE or job.wakes != ctx.wakes:
                return
            job.failures += 1
            if wait is not None and job.failures < FAILURES_MAX:
                later = min(BACKOFF_MAX, wait * 2 ** (job.failures - 1))
                log.warning("job_later", job_id=job.id, stage=job.stage, failures=job.failures, error=str(error))
                tx.jobs.wake(job, job.stage, due_at=tx.now + later)
                job.error = str(error)
                return
        self.fail(ctx, error.words() or say("work.upstream", error=str(error)))

    def fail(self, ctx: JobContext, words: Words) -> None:
        """The job cannot go on: the feature says what becomes of it."""
        with self._services.store.begin() as tx:
            job = tx.jobs.get(ctx.job_id)
            if job.state is not JobState.DUE or job.wakes != ctx.wakes:
                return
            step = JobStep(tx, job, self._services, self._roles(tx))
            self._work.failures.get(ctx.kind, end_failed)(step, words)
        ctx.starts += step.starts

    def sweep(self, name: str, slot: str) -> list[Start]:
        """Run the sweeps of a round for its slot, also when the database was away in one of them."""
        rounds = self._work.rounds()
        starts: list[Start] = []
        away: DBAPIError | None = None
        for each in rounds[name][1] if name in rounds else [name]:
            try:
                starts += self._sweep(each, slot)
            except DBAPIError as error:
                away = error
        if away is not None:
            raise away
        return starts

    def _sweep(self, name: str, slot: str) -> list[Start]:
        """A bug in it is logged, and the next slot is another chance."""
        if name not in self._work.sweeps:  # of a release before this one
            return []
        try:
            with self._services.store.begin() as tx:
                step = SweepStep(tx, self._services, self._roles(tx))
                self._work.sweeps[name][1](step)
        except DBAPIError:
            raise
        except Exception:
            log.exception("sweep_failed", sweep=name, slot=slot)
            return []
        return step.starts


def learnt(tx: Transaction, error: UpstreamError) -> None:
    """What a refusal says of WeCom: a code nobody told us of, or the mail API's limits."""
    if not isinstance(error, WeComError):
        return
    if error.meaning is UNKNOWN:
        tx.answers.saw("errcodes", "yes", f"{error.errcode} {error.errmsg} ({error.path})")
    if error.retry is Retry.AFTER_WINDOW and error.path.startswith("/cgi-bin/exmail/"):
        tx.answers.saw("rate_limits", "yes", f"{error.errcode} ({error.path})")


def end_failed(step: JobStep, words: Words) -> None:
    """What becomes of a job that fails, unless its feature knows better: it ends, and its asker is told."""
    step.tx.jobs.end(step.job, JobState.FAILED, error=words.text("en"))
    if step.job.asked_by != "bot":
        step.say(Text(step.job.asked_by, words))


def wait_after(error: UpstreamError) -> timedelta | None:
    """How long to wait before asking again; None when a person has to do something first."""
    if isinstance(error, WeComError):
        return {Retry.BACKOFF: BACKOFF_FIRST, Retry.AFTER_WINDOW: WINDOW, Retry.NEVER: None}[error.retry]
    if isinstance(error, (NetworkError, ConnectionLost)) or type(error) is MailError:
        return BACKOFF_FIRST
    return None
