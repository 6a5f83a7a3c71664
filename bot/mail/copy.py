"""Mail from one mailbox into another: byte for byte, with flags and dates, each mail once, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from bot.mail import names
from bot.mail.account import MailAccount, same_mailbox
from bot.mail.aftermath import describe_refusals, folder_outcome, kept, refusals_of
from bot.mail.course import Course
from bot.mail.crew import Side
from bot.mail.errors import (
    ConnectionLost,
    NotReachable,
    SameMailbox,
)
from bot.mail.ledger import Ledger, LineState
from bot.mail.notes import Note, NoteKind
from bot.mail.outcome import (
    RETRIED,
    CopyOutcome,
    Filter,
    FolderOutcome,
    Limits,
    Progress,
    Refusal,
    RefusalReason,
)
from bot.mail.pace import Governor, Hosts
from bot.mail.prepare import Survey
from bot.mail.quirks import (
    BUSY_PAUSES_SECONDS,
)
from bot.mail.reconcile import Reconciler
from bot.mail.rounds import TICK_SECONDS, Rounds
from bot.mail.session import append_limit, both
from bot.mail.settling import Settling
from bot.mail.telling import Telling
from bot.mail.verify import Check, Verification, check_over, verify_copy
from bot.mail.work import GivenUp, Renumbered, ServerBusy, never, unless

__all__ = [
    "CopyOutcome",
    "FolderOutcome",
    "Limits",
    "Progress",
    "Refusal",
    "RefusalReason",
    "copy_and_verify",
    "copy_mail",
]

LOSSES_MAX = 5  # outside of a pass, in a row
LOSS_PAUSE_SECONDS_MAX = 30.0
RENUMBERINGS_MAX = 3
CALLS_PER_MAIL_MAX = 3
LATE_LOOKS_MAX = 3  # at what a comparison saw land after the last look
LIMITS = Limits()


async def copy_mail(
    source: MailAccount,
    target: MailAccount,
    *,
    into: str,
    filter: Filter,
    ledger: Ledger,
    limits: Limits = LIMITS,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    exclude_roots: tuple[str, ...] = (),
    hosts: Hosts | None = None,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    give_up: Callable[[], bool] = never,
    on_fewer: Callable[[int], None] = lambda connections: None,
) -> CopyOutcome:
    """
    Copy what the ledger lacks: source folder X into `into`/X (display names, "/" between parts).

    `should_stop` ends it where mail is copied; `give_up` (then GivenUp is raised) also while both sides are looked at.
    `on_fewer` hears, in the event loop, with how many connections to the target it will do from now on.
    Safe to run again after a crash at any point; two runs at once on one ledger are the caller's to prevent. Raises
    QuotaFull, LoginRefused, ConnectionLost (reconnecting was tried), FolderRefused (the root cannot be made),
    MailError; the ledger then holds what was done. A single refused mail is a line in the outcome.
    """
    work = Copy(
        source,
        target,
        into,
        filter,
        ledger,
        limits,
        on_progress,
        should_stop,
        exclude_roots,
        hosts,
        pause,
        give_up,
        on_fewer,
    )
    outcome, _ = await work.run()
    if work.given_up:
        raise GivenUp
    return outcome


async def copy_and_verify(
    source: MailAccount,
    target: MailAccount,
    *,
    into: str,
    filter: Filter,
    ledger: Ledger,
    limits: Limits = LIMITS,
    on_progress: Callable[[Progress], None] | None = None,
    hosts: Hosts | None = None,
) -> tuple[CopyOutcome, Verification]:
    """`copy_mail`, then `verify_copy` over the same connections."""
    work = Copy(source, target, into, filter, ledger, limits, on_progress, lambda: False, (), hosts, asyncio.sleep)
    outcome, found = await work.run(verify=True)
    if found is None:
        found = await verify_copy(source, target, ledger=ledger, filter=filter)
    return outcome, found


class Copy:
    """One call of `copy_mail`."""

    def __init__(
        self,
        source: MailAccount,
        target: MailAccount,
        into: str,
        filter: Filter,
        ledger: Ledger,
        limits: Limits,
        on_progress: Callable[[Progress], None] | None,
        should_stop: Callable[[], bool],
        exclude_roots: tuple[str, ...],
        hosts: Hosts | None,
        pause: Callable[[float], Awaitable[None]],
        give_up: Callable[[], bool] = never,
        on_fewer: Callable[[int], None] = lambda connections: None,
    ) -> None:
        self.source, self.target, self.hosts = source, target, hosts
        self.give_up = give_up
        self.into, self.filter, self.ledger, self.limits = into, filter, ledger, limits
        self.pause = pause
        self.exclude_roots = exclude_roots
        if same_mailbox(source, target):
            if not names.split_display(into):
                raise SameMailbox("source and target are one mailbox", mailbox=source.user)
            self.exclude_roots = (*exclude_roots, into)
        start = limits.connections
        if limits.adaptive:
            start = (hosts.connections(target.host) if hosts else None) or 1
        self.remembered = start
        governors = (
            Governor(start=limits.source_connections, most=limits.source_connections, adaptive=False),
            Governor(start=start, most=limits.connections, adaptive=limits.adaptive),
        )
        self.source_side, self.target_side = (
            Side(
                each,
                governor,
                silence_seconds=limits.silence_seconds,
                command_seconds=limits.command_seconds,
                written=each is target,
            )
            for each, governor in zip((source, target), governors, strict=True)
        )
        self.course = Course()
        self.settling = Settling(ledger, self.course)
        self.telling = Telling(ledger, self.course, on_progress)
        self.rounds = Rounds(
            self.source_side,
            self.target_side,
            ledger,
            filter,
            limits,
            self.course,
            self.settling,
            should_stop=should_stop,
            reconcile=self._reconcile,
            pause=lambda seconds: self.pause(seconds),
            on_fewer=on_fewer,
        )
        self.begun = self.given_up = False

    async def run(self, *, verify: bool = False) -> tuple[CopyOutcome, Verification | None]:
        """The outcome; with `verify` also the comparison, unless the connections did not last that long."""
        self.ledger.retry_refused(attempts_max=CALLS_PER_MAIL_MAX, reasons=RETRIED)
        self.course.already = sum(
            self.ledger.counts(each.id).get(LineState.STORED, (0, 0))[0] for each in self.ledger.folders()
        )
        ticker = asyncio.create_task(self._tick())
        found: Verification | None = None
        try:
            finished = await self._unless_given_up()
            if self.settling.died_at is None and not self.given_up:
                self.ledger.end_run()
            if not self.given_up:
                await self._describe_refusals()
                found = await self._look_back(verify=verify)
        finally:
            ticker.cancel()
            await asyncio.gather(self.source_side.close(), self.target_side.close())
            self.ledger.flush()
            self._remember()
        self.telling.tell(force=True)
        return self._outcome(finished), found

    def _remember(self) -> None:
        """How many connections the host likes, for the next copy."""
        wanted = self.target_side.governor.wanted
        if self.hosts is not None and self.limits.adaptive and self.begun and wanted != self.remembered:
            self.hosts.learn(self.target.host, wanted)

    # The whole

    async def _unless_given_up(self) -> bool:
        """A pass that runs is closed and its answers awaited; what only looks is left where it is."""
        try:
            return await unless(lambda: self.rounds.passing is None and self.give_up(), self._until_done())
        except GivenUp:
            self.given_up = True
            return False

    async def _until_done(self) -> bool:
        """True when nothing is left to copy. Reconnects a bounded number of times without progress."""
        losses = renumberings = busy = 0
        connected = False
        while True:
            before = self.rounds.progress
            try:
                await both(self.source_side.first(), self.target_side.first())
                connected = True
                await self._prepare(patient=busy < len(BUSY_PAUSES_SECONDS))
                if not await self.rounds.run():
                    return False
                await self._look_last()
                return True
            except ServerBusy:
                if busy >= len(BUSY_PAUSES_SECONDS):
                    raise
                await self.pause(BUSY_PAUSES_SECONDS[busy])
                busy += 1
            except Renumbered:
                renumberings += 1
                if renumberings > RENUMBERINGS_MAX:
                    raise
                self.course.jobs = None
            except ConnectionLost as error:
                if not connected and not losses and isinstance(error, NotReachable):
                    raise  # a wrong name or port: nobody waits for that
                sides = [each for each in (self.source_side, self.target_side) if not each.live]
                losses = 1 if self.rounds.progress > before else losses + 1
                if losses > LOSSES_MAX:
                    raise
                self.course.reconnects += 1
                self.course.doubt_all()
                asked = max((each.complained(error) for each in sides), default=0.0)
                await self.pause(max(asked, min(2.0 ** (losses - 1), LOSS_PAUSE_SECONDS_MAX)))
                for each in sides:
                    each.governor.not_before = 0.0

    async def _prepare(self, *, patient: bool) -> None:
        """Look at both sides while the other connections are opened."""
        filling = asyncio.gather(self.source_side.fill(), self.target_side.fill(), return_exceptions=True)
        try:
            if self.course.jobs is None:
                await self._survey(patient=patient)
            if not self.begun:
                self.begun = True
                self.settling.begin_run()
            await self._reconcile()
        finally:
            await filling

    async def _look_last(self) -> None:
        """Once more over everything that was doubtful: late enough after a death, and watched."""
        settling = self.settling
        settling.doubt_again()
        died_at = settling.died_at
        await settling.before_the_last_look(self.target_side.one)
        if died_at is not None:
            await both(self.source_side.first(), self.target_side.first())
        await self._reconcile()
        if died_at == settling.died_at:
            settling.died_at = None

    async def _survey(self, *, patient: bool) -> None:
        """What is to do. Raises ServerBusy if `patient` and a folder was refused only for the moment."""
        survey = Survey(
            self.source_side.one,
            self.target_side.one,
            self.ledger,
            self._reconciler(),
            into=self.into,
            filter=self.filter,
            exclude_roots=self.exclude_roots,
        )
        jobs = await survey.run(patient=patient)
        self.rounds.supply.append_limit = append_limit(survey.target)
        governor = self.target_side.governor
        if self.limits.adaptive and not survey.exmail:
            governor.wanted = min(max(2, governor.wanted), governor.most)
        self.course.add_notes(survey.notes)
        self.course.jobs = jobs
        self.course.doubtful |= {job.record.id for job in jobs if not job.fresh}
        self.course.took(survey.reconciler.found)

    def _reconciler(self) -> Reconciler:
        # Without a killed run or a lost connection a second copy is a person's own.
        may_remove = bool(names.split_display(self.into)) and (self.settling.unclean or self.course.reconnects > 0)
        return Reconciler(self.source_side.one, self.target_side.one, self.ledger, may_remove=may_remove)

    async def _reconcile(self) -> None:
        """
        Look through the doubtful folders, if there are any.

        A mail that a dead session still stores after this look is sent once more, and the last look takes one of the
        two away. Where nothing can be taken away the wait comes first: there this look is the one to rely on.
        """
        reconciler = self._reconciler()
        removes = reconciler.may_remove and not self.ledger.altered
        await self.settling.settle(self.target_side.one, not_before=0.0 if removes else self.settling.late_enough)
        try:
            for job in self.course.jobs or []:
                if job.record.id in self.course.doubtful:
                    await reconciler.reconcile(job)
                    self.course.doubtful.discard(job.record.id)
        finally:
            self.course.took(reconciler.found)

    # Afterwards

    async def _look_back(self, *, verify: bool) -> Verification | None:
        """
        The first mail looked at and everything compared, as far as the connections have lasted; what landed after the
        last look is looked at, and all compared once more.
        """
        found: Verification | None = None
        for number in range(LATE_LOOKS_MAX if verify and self.source_side.live and self.target_side.live else 0):
            check = check_over(
                self.source_side, self.target_side, ledger=self.ledger, filter=self.filter, pause=self.pause
            )
            check.begin()
            try:
                if not number:
                    await self._look_at_first(check)
                found = await check.run()
            finally:
                check.stop()
            if found.unsettled <= sum(len(job.strangers) for job in self.course.jobs or []):
                break
            with contextlib.suppress(ConnectionLost, Renumbered, ServerBusy):  # then the next run looks
                await both(self.source_side.first(), self.target_side.first())
                self.settling.doubt_again()
                await self._reconcile()
        if found is None:
            await self._look_at_first(None)
        return found

    async def _look_at_first(self, check: Check | None) -> None:
        """Does the target keep what it is given? Looked at once, on the first mail of this call."""
        if self.course.first is None or not self.target_side.live:
            return
        notes, lying = await kept(self.target_side.one, self.ledger, *self.course.first)
        self.course.notes += notes
        if lying:
            if check is not None:
                await check.settled()  # it asks on the same connections
            for each in self.course.jobs or []:
                self.ledger.forget_places(each.target)
                self.course.doubtful.add(each.record.id)
            await self._reconcile()

    async def _describe_refusals(self) -> None:
        if self.source_side.live:
            await describe_refusals(self.source_side.one, self.ledger)

    async def _tick(self) -> None:
        """Commits what is gathered, tells the progress, ends the pass when the time is up."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                self.ledger.flush()
                self.telling.tell()
                if self.rounds.should_stop():  # asked also while nothing is sent: who is asked keeps the leases
                    self.rounds.close()
            except Exception as error:
                self.rounds.close(error)
                return

    def _outcome(self, finished: bool) -> CopyOutcome:
        jobs = self.course.jobs or []
        dropped = [Note(NoteKind.KEYWORDS_DROPPED, each.name, str(each.keywords_dropped)) for each in jobs]
        refused, wrapped = refusals_of(self.ledger, jobs)
        return CopyOutcome(
            finished=finished,
            stored=self.course.stored,
            already=self.course.already,
            size_bytes=self.course.size_bytes,
            seconds=time.monotonic() - self.course.began,
            refused=refused,
            wrapped=wrapped,
            folders=[folder_outcome(self.ledger, job) for job in jobs],
            notes=self.course.notes + [note for note in dropped if note.detail != "0"],
            adopted=self.course.adopted,
            removed=self.course.removed,
            reconnects=self.course.reconnects,
            waits_seconds=self.rounds.waits_seconds,
            connections=self.target_side.governor.wanted,
        )
