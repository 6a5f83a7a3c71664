"""Mail from one mailbox into another: byte for byte, with flags and dates, each mail once, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import Any

from bot.mail import names, wire
from bot.mail.aftermath import describe_refusals, folder_outcome, kept, progress_of, refusals_of
from bot.mail.crew import Side
from bot.mail.digest import Digest
from bot.mail.errors import (
    ConnectionLost,
    MailError,
    NotReachable,
    QuotaFull,
    SameMailbox,
    TargetRefusesAll,
)
from bot.mail.flow import OVERHEAD_BYTES, Batch, Item, Key, Trouble
from bot.mail.ledger import Ledger, Line, LineState
from bot.mail.names import Folder
from bot.mail.notes import Note, NoteKind
from bot.mail.outcome import (
    RETRIED,
    CopyOutcome,
    FolderOutcome,
    Limits,
    Progress,
    Refusal,
    RefusalReason,
)
from bot.mail.pace import Governor, Hosts, Throttle
from bot.mail.plan import Filter
from bot.mail.prepare import Survey
from bot.mail.pump import Pass
from bot.mail.quirks import (
    BUSY_PAUSES_SECONDS,
    Refused,
    dated_since,
    flag_set,
    header_of,
    why_refused,
)
from bot.mail.reconcile import Found, Reconciler, open_source
from bot.mail.session import (
    STREAM_HELD_BYTES,
    STREAM_OVER_BYTES,
    Done,
    MailAccount,
    Session,
    append_limit,
    both,
    same_mailbox,
)
from bot.mail.survey import statuses
from bot.mail.verify import Check, Verification, check_over, verify_copy
from bot.mail.work import GivenUp, Job, Renumbered, ServerBusy, never, unless

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
LOST_MAX = 3  # connections a mail may break before it is given up
BUSY_IN_A_ROW = 5  # then it is the server, not the mail
REFUSED_IN_A_ROW_MAX = 50
CALLS_PER_MAIL_MAX = 3
IDLE_PASSES_MAX = 3
PLAN_LINES = 500
BATCH_MAILS = 64
BATCH_BYTES = 512 * 1024
DESCRIBED_MAX = 200
TICK_SECONDS = 0.05
ASK_SECONDS = 0.2
TELL_SECONDS = 0.5
COUNTING_SHARE = 0.02  # of the time, at most: between two countings of the ledger the numbers are added up
SETTLED_SECONDS = 1.0  # nothing has landed for so long: a dead session's appends are over
SETTLED_ROUND_TRIPS = 8  # the same on a slow server
SETTLING_SECONDS_MAX = 30.0
SETTLING_STEP_SECONDS = 0.1
LATE_LOOKS_MAX = 3  # at what a comparison saw land after the last look
LAST_LOOK_SECONDS = 5.0  # after a death the last look begins no earlier: a starved server stores late
WAITING_STEP_SECONDS = 0.5
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
) -> CopyOutcome:
    """
    Copy what the ledger lacks: source folder X into `into`/X (display names, "/" between parts).

    `should_stop` ends it where mail is copied; `give_up` (then GivenUp is raised) also while both sides are looked at.
    Safe to run again after a crash at any point; two runs at once on one ledger are the caller's to prevent. Raises
    QuotaFull, LoginRefused, ConnectionLost (reconnecting was tried), FolderRefused (the root cannot be made),
    MailError; the ledger then holds what was done. A single refused mail is a line in the outcome.
    """
    work = Copy(
        source, target, into, filter, ledger, limits, on_progress, should_stop, exclude_roots, hosts, pause, give_up
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
    ) -> None:
        self.source, self.target, self.hosts = source, target, hosts
        self.give_up = give_up
        self.into, self.filter, self.ledger, self.limits = into, filter, ledger, limits
        self.on_progress, self.should_stop, self.pause = on_progress, should_stop, pause
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
        self.throttle = Throttle(limits.mails_per_second, limits.bytes_per_second)
        self.waits_seconds = 0.0
        self.jobs: list[Job] | None = None
        self.doubtful: set[int] = set()  # folders in whose targets something of ours may lie unknown to the ledger
        self.troubles: dict[Key, Trouble] = {}
        self.waiting: dict[Key, float] = {}
        self.passing: Pass | None = None
        self.pipelining = self.grouping = True
        self.append_limit: int | None = None  # of one mail, as the target says
        self.notes: list[Note] = []
        self.stored = self.size_bytes = self.refused = self.adopted = self.removed = self.reconnects = 0
        self.already = 0
        self.refused_in_a_row = self.busy_in_a_row = self.cooldowns = 0
        self.begun = self.given_up = False
        self.unclean = False  # a run before this one was killed, or lost connections, not long ago
        self.dead_since: float | None = None  # sessions that may still be storing what they were given
        self.died_at: float | None = None  # the latest, until a last look was late enough
        self.first: tuple[Job, int, Line, Digest] | None = None  # the first mail stored: to be looked at
        self.folder = ""
        self.error: BaseException | None = None  # found outside of a pass
        self.began = time.monotonic()
        self.told_at, self.asked_at = 0.0, -ASK_SECONDS
        self.counted: Progress | None = None  # by the ledger
        self.counted_then = (0, 0, 0)  # done, bytes and refused of this call at that moment
        self.count_at = 0.0  # not before
        self.stop = False

    async def run(self, *, verify: bool = False) -> tuple[CopyOutcome, Verification | None]:
        """The outcome; with `verify` also the comparison, unless the connections did not last that long."""
        self.ledger.retry_refused(attempts_max=CALLS_PER_MAIL_MAX, reasons=RETRIED)
        self.already = sum(
            self.ledger.counts(each.id).get(LineState.STORED, (0, 0))[0] for each in self.ledger.folders()
        )
        ticker = asyncio.create_task(self._tick())
        found: Verification | None = None
        try:
            finished = await self._unless_given_up()
            if self.died_at is None and not self.given_up:
                self.ledger.end_run()
            if not self.given_up:
                await self._describe_refusals()
                found = await self._look_back(verify=verify)
        finally:
            ticker.cancel()
            await asyncio.gather(self.source_side.close(), self.target_side.close())
            self.ledger.flush()
            self._remember()
        self._tell(force=True)
        return self._outcome(finished), found

    @property
    def sources(self) -> list[Session]:
        return self.source_side.live

    @property
    def targets(self) -> list[Session]:
        return self.target_side.live

    @property
    def source_session(self) -> Session:
        return one_of(self.sources, self.source)

    @property
    def target_session(self) -> Session:
        return one_of(self.targets, self.target)

    @property
    def progress(self) -> int:
        """Of any kind: as long as it grows, the copy goes on."""
        return self.stored + self.refused + self.adopted + len(self.source_side.shut) + len(self.target_side.shut)

    def _remember(self) -> None:
        """How many connections the host likes, for the next copy."""
        wanted = self.target_side.governor.wanted
        if self.hosts is not None and self.limits.adaptive and self.begun and wanted != self.remembered:
            self.hosts.learn(self.target.host, wanted)

    # The whole

    async def _unless_given_up(self) -> bool:
        """A pass that runs is closed and its answers awaited; what only looks is left where it is."""
        try:
            return await unless(lambda: self.passing is None and self.give_up(), self._until_done())
        except GivenUp:
            self.given_up = True
            return False

    async def _until_done(self) -> bool:
        """True when nothing is left to copy. Reconnects a bounded number of times without progress."""
        losses = renumberings = busy = 0
        connected = False
        while True:
            before = self.progress
            try:
                await both(self.source_side.first(), self.target_side.first())
                connected = True
                await self._prepare(patient=busy < len(BUSY_PAUSES_SECONDS))
                if not await self._passes():
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
                self.jobs = None
            except ConnectionLost as error:
                if not connected and not losses and isinstance(error, NotReachable):
                    raise  # a wrong name or port: nobody waits for that
                sides = [each for each in (self.source_side, self.target_side) if not each.live]
                losses = 1 if self.progress > before else losses + 1
                if losses > LOSSES_MAX:
                    raise
                self.reconnects += 1
                self.doubtful |= {job.record.id for job in self.jobs or []}
                asked = max((each.complained(error) for each in sides), default=0.0)
                await self.pause(max(asked, min(2.0 ** (losses - 1), LOSS_PAUSE_SECONDS_MAX)))
                for each in sides:
                    each.governor.not_before = 0.0

    async def _prepare(self, *, patient: bool) -> None:
        """Look at both sides while the other connections are opened."""
        filling = asyncio.gather(self.source_side.fill(), self.target_side.fill(), return_exceptions=True)
        try:
            if self.jobs is None:
                await self._survey(patient=patient)
            if not self.begun:
                self.begun, died_ago = True, self.ledger.begin_run()
                self.unclean = died_ago is not None
                if died_ago is not None and died_ago < SETTLING_SECONDS_MAX:
                    self.dead_since = self.died_at = time.monotonic() - died_ago
            await self._reconcile()
        finally:
            await filling

    def _line_is_dead(self) -> None:
        """The server may still be storing what it had read."""
        self.dead_since = self.died_at = time.monotonic()
        self.ledger.died()

    def _doubt_again(self) -> None:
        """Appends of an earlier session may have landed since we looked; mails stored without a UID want a place."""
        for job in self.jobs or []:
            if self.reconnects or self.unclean or self.ledger.has_unplaced(job.target):
                self.doubtful.add(job.record.id)

    async def _look_last(self) -> None:
        """Once more over everything that was doubtful: late enough after a death, and watched."""
        self._doubt_again()
        died_at = self.dead_since = self.died_at
        if died_at is not None:
            await self._settle(not_before=died_at + LAST_LOOK_SECONDS)
            await both(self.source_side.first(), self.target_side.first())
        await self._reconcile()
        if died_at == self.died_at:
            self.died_at = None

    async def _settle(self, *, not_before: float = 0.0) -> None:
        """
        Wait until the server has let dead sessions go: what it had read of them it still stores, unasked.

        Nobody can be asked whether that is over, so the folders are watched until nothing has landed for a while: two
        looks at least, the first no earlier than `not_before`.
        """
        if self.dead_since is None or not self.doubtful:
            return
        target = self.target_session
        folders = [
            Folder(each, "", frozenset())
            for each in dict.fromkeys(job.target for job in self.jobs or [] if job.record.id in self.doubtful)
        ]
        while (left := not_before - time.monotonic()) > 0:
            await statuses(target, folders[:1])  # so that it does not hang up
            await asyncio.sleep(min(left, WAITING_STEP_SECONDS))
        seen: object = None
        since = time.monotonic()
        until = since + SETTLING_SECONDS_MAX
        while time.monotonic() < until:
            asked = time.monotonic()
            told = await statuses(target, folders)
            now = time.monotonic()
            if told != seen:
                seen, since = told, now
            elif now - since >= max(SETTLED_SECONDS, SETTLED_ROUND_TRIPS * (now - asked)):
                break
            await asyncio.sleep(SETTLING_STEP_SECONDS)
        self.dead_since = None

    async def _survey(self, *, patient: bool) -> None:
        """What is to do. Raises ServerBusy if `patient` and a folder was refused only for the moment."""
        survey = Survey(
            self.source_session,
            self.target_session,
            self.ledger,
            self._reconciler(),
            into=self.into,
            filter=self.filter,
            exclude_roots=self.exclude_roots,
        )
        jobs = await survey.run(patient=patient)
        self.append_limit = append_limit(survey.target)
        governor = self.target_side.governor
        if self.limits.adaptive and not survey.exmail:
            governor.wanted = min(max(2, governor.wanted), governor.most)
        self.notes += [note for note in survey.notes if note not in self.notes]
        self.jobs = jobs
        self.doubtful |= {job.record.id for job in jobs if not job.fresh}
        self._took(survey.reconciler.found)

    def _reconciler(self) -> Reconciler:
        # Without a killed run or a lost connection a second copy is a person's own.
        may_remove = bool(names.split_display(self.into)) and (self.unclean or self.reconnects > 0)
        return Reconciler(self.source_session, self.target_session, self.ledger, may_remove=may_remove)

    async def _reconcile(self) -> None:
        """Look through the doubtful folders, if there are any."""
        await self._settle()
        reconciler = self._reconciler()
        try:
            for job in self.jobs or []:
                if job.record.id in self.doubtful:
                    await reconciler.reconcile(job)
                    self.doubtful.discard(job.record.id)
        finally:
            self._took(reconciler.found)

    def _took(self, found: Found) -> None:
        self.adopted += found.adopted
        self.removed += found.removed
        self.notes += [note for note in found.notes if note not in self.notes]

    # Passes

    async def _passes(self) -> bool:
        """Pass after pass until nothing is planned (True) or a limit is reached (False)."""
        idle = 0
        while True:
            if self._should_stop():
                return not self._planned()
            await both(self.source_side.first(), self.target_side.first())
            await self._reconcile()  # what a lost connection had under way, before it is sent again
            before = self._state()
            await self._pass()
            if self.error is not None:
                raise self.error
            if self._should_stop():
                return not self._planned()
            if self.waiting:
                if self.busy_in_a_row < BUSY_IN_A_ROW and any(True for _ in self._batches()):
                    continue
                if self.busy_in_a_row >= BUSY_IN_A_ROW:
                    self.cooldowns += 1
                    if self.cooldowns > len(BUSY_PAUSES_SECONDS):
                        raise MailError("the target stays busy", mailbox=self.target.user)
                await self.pause(min(self.waiting.values()))
                # The refusal may have been untrue: before a mail is sent again we look whether it is there.
                self.doubtful |= {folder_id for folder_id, _ in self.waiting}
                await self._reconcile()
                self.waiting.clear()
                self.busy_in_a_row = 0
                continue
            if not self._planned():
                return True
            idle = idle + 1 if before == self._state() else 0
            if idle > IDLE_PASSES_MAX:
                raise MailError("the copy does not get on", mailbox=self.target.user)

    def _state(self) -> object:
        return self.progress, self.cooldowns, self.reconnects, repr(self.troubles)

    async def _pass(self) -> None:
        """One pass over everything planned, with connections replaced while it runs."""
        passing = self.passing = Pass(
            self,
            self._batches(),
            self.troubles,
            budget_bytes=self.limits.budget_bytes,
            throttle=self.throttle,
            pipelining=self.pipelining,
            grouping=self.grouping,
            identify=self.ledger.altered,
        )
        for source in self.sources:
            passing.add_source(source)
        for target in self.targets:
            passing.add_target(target)
        keeper = asyncio.create_task(self._keep(passing))
        try:
            await passing.run()
            for job, line, text in passing.unread:
                await self._unreadable(job, line, text)
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            self.pipelining = self.pipelining and passing.pipelining
            self.grouping = self.grouping and passing.grouping
            self.passing = None
            self.ledger.flush()

    async def _keep(self, passing: Pass) -> None:
        """While a pass runs: replace what is lost, add what helps, rest what is too much."""
        sides = ((self.source_side, passing.add_source), (self.target_side, passing.add_target))
        try:
            while not passing.closed:
                await asyncio.sleep(TICK_SECONDS)
                self.target_side.governor.note(time.monotonic(), self.stored, len(self.targets))
                for number, session in enumerate(self.targets):
                    (passing.work if number < self.target_side.governor.wanted else passing.rest)(session)
                for side, add in sides:
                    if side.missing <= 0 or (side.live and side.pause_seconds > 0):
                        continue
                    if side is self.source_side and passing.all_read:
                        continue  # it may rest: every login counts
                    if side.pause_seconds > 0:
                        await self.pause(side.pause_seconds)
                        side.governor.not_before = 0.0
                    try:
                        add(await side.open())
                    except MailError as error:
                        if not side.not_opened(error):
                            passing.close(error)
        except Exception as error:
            passing.close(error)

    def _planned(self) -> bool:
        return any(True for job in self.jobs or [] for _ in self._lines(job, waiting_too=True))

    def _should_stop(self) -> bool:
        limits, elapsed = self.limits, time.monotonic() - self.began
        done = self.stored + self.refused
        if limits.mails_max is not None:
            self.stop |= done >= limits.mails_max
        if limits.seconds_max is not None and done:  # however long the listing took: every call gets on
            self.stop |= elapsed >= limits.seconds_max
        if not self.stop and elapsed - self.asked_at >= ASK_SECONDS:
            self.asked_at = elapsed
            if limits.hours is not None:
                self.waits_seconds = limits.hours.wait(
                    datetime.now(limits.zone).astimezone(limits.zone)
                ).total_seconds()
            self.stop = self.waits_seconds > 0 or self.should_stop()
        return self.stop

    def _batches(self) -> Iterator[Batch]:
        """The planned mails in batches; troubled and big ones by themselves."""
        room = None if self.limits.mails_max is None else self.limits.mails_max - self.stored - self.refused
        for job in self.jobs or []:
            batch = Batch(job, {}, False, {})
            for line in self._lines(job):
                if self._should_stop() or (room is not None and room <= 0):
                    break
                if self._too_big(job, line):
                    continue
                if room is not None:
                    room -= 1
                self.folder = job.name
                trouble = self.troubles.get((line.folder_id, line.uid))
                alone = trouble is not None and trouble.alone
                big = line.size_bytes > STREAM_OVER_BYTES
                full = len(batch.lines) >= BATCH_MAILS or batch.size_bytes + line.size_bytes > BATCH_BYTES
                if batch.lines and (alone or big or full):
                    yield batch
                    batch = Batch(job, {}, False, {})
                batch.lines[line.uid] = line
                batch.held[line.uid] = OVERHEAD_BYTES + min(line.size_bytes, STREAM_HELD_BYTES)
                if alone or big:
                    batch.alone = alone
                    yield batch
                    batch = Batch(job, {}, False, {})
            if batch.lines:
                yield batch

    def _lines(self, job: Job, *, waiting_too: bool = False) -> Iterator[Line]:
        """What is planned and meant: an earlier call may have planned more than this one's filter."""
        after = 0
        while not job.skipped:
            page = self.ledger.lines(job.record.id, state=LineState.PLANNED, after=after, limit=PLAN_LINES)
            for line in page:
                waits = (line.folder_id, line.uid) in self.waiting
                if (waiting_too or not waits) and dated_since(line.internal_date, self.filter.since):
                    yield line
            if len(page) < PLAN_LINES:
                return
            after = page[-1].uid

    def _too_big(self, job: Job, line: Line) -> bool:
        """Larger than the target says it takes (RFC 7889): not even tried."""
        limit = self.append_limit
        if limit is None or line.size_bytes <= limit:
            return False
        self._refuse(job, line, RefusalReason.TOO_BIG, f"APPENDLIMIT={limit}", b"")
        return True

    # What a pass tells, called from the event loop: none of these waits

    def lost(self, passing: Pass, session: Session, error: MailError) -> None:
        self.reconnects += 1
        side = self.source_side if session.account is self.source else self.target_side
        if not side.lost(error, self.progress):
            passing.close(error)

    def unsure(self, items: list[Item]) -> None:
        self._line_is_dead()
        self.doubtful |= {item.job.record.id for item in items}

    def doubted(self, items: list[Item]) -> None:
        self.doubtful |= {item.job.record.id for item in items}  # looked through before the next pass sends them

    def answered(self, passing: Pass, item: Item, done: Done, target: tuple[int, int] | None) -> None:
        if done.ok:
            self._stored(item, target)
            return
        trouble = passing.trouble(item.key)
        meaning = why_refused(done.text)
        if (meaning is Refused.FLAGS or done.status == "BAD") and item.flags and trouble.flags_level < 2:
            trouble.flags_level += 1
        elif meaning is Refused.QUOTA:
            passing.close(QuotaFull(done.text, mailbox=self.target.user))
        elif meaning is Refused.NO_FOLDER:
            passing.close(Renumbered(done.text, mailbox=self.target.user))
        elif meaning is Refused.BUSY:
            self.busy_in_a_row += 1
            trouble.busy += 1
            if trouble.busy > len(BUSY_PAUSES_SECONDS):
                self._refuse(item.job, item.line, RefusalReason.BUSY, done.text, item.opening)
            else:
                self.waiting[item.key] = BUSY_PAUSES_SECONDS[trouble.busy - 1]
            if self.busy_in_a_row >= BUSY_IN_A_ROW:
                passing.close()
        else:
            reason = {Refused.TOO_BIG: RefusalReason.TOO_BIG, Refused.CONTENT: RefusalReason.CONTENT}.get(
                meaning, RefusalReason.OTHER
            )
            if reason is RefusalReason.CONTENT and self.limits.wrap_refused and not item.line.wrapped:
                self.ledger.wrap(
                    item.job.record.id, item.line.uid, **described(item.line, reason, done.text, item.opening)
                )
                return
            self._refuse(item.job, item.line, reason, done.text, item.opening)
            self.refused_in_a_row += 1
            if self.refused_in_a_row >= REFUSED_IN_A_ROW_MAX:
                passing.close(TargetRefusesAll(done.text, mailbox=self.target.user))

    def _stored(self, item: Item, target: tuple[int, int] | None) -> None:
        if target is not None and target[0] != item.job.record.target_uidvalidity:
            raise Renumbered("the target folder has a new UIDVALIDITY", mailbox=self.target.user)
        target_uid = None if target is None else target[1]
        changed = item.flags != item.line.flags and flag_set(item.flags) != flag_set(item.line.flags)
        self.ledger.stored(
            item.line.folder_id,
            item.line.uid,
            target_uid=target_uid,
            sha256=item.digest.sha256,
            size_bytes=item.read_bytes,  # what the source told may be untrue
            identity=item.digest.identity if self.ledger.altered else None,
            target_flags=item.flags if changed else None,
        )
        if changed and flag_set(item.line.flags) - flag_set(item.flags):
            item.job.keywords_dropped += 1
        if self.first is None and target_uid is not None:
            self.first = (item.job, target_uid, item.line, item.digest)
        self.stored += 1
        self.size_bytes += item.size
        self.refused_in_a_row = self.busy_in_a_row = self.cooldowns = 0

    def blamed(self, passing: Pass, item: Item) -> None:
        if passing.trouble(item.key).lost >= LOST_MAX:
            self._refuse(item.job, item.line, RefusalReason.LOST, "three times", item.opening)

    def _refuse(self, job: Job, line: Line, reason: RefusalReason, detail: str, opening: bytes) -> None:
        self.ledger.refused(job.record.id, line.uid, **described(line, reason, detail, opening))
        self.refused += 1

    async def _unreadable(self, job: Job, line: Line, text: str) -> None:
        """Asked for alone and not come: gone if the server says so, else to be asked for later, or not to be had."""
        if line.state != LineState.PLANNED:
            return
        source = self.source_session
        await open_source(source, job.record)
        there = False

        def take(told: wire.Fetched, _: object) -> bool:
            nonlocal there
            there |= told.uid == line.uid
            return True

        done = await source.send(b"UID FETCH %d (UID RFC822.SIZE)" % line.uid, on_fetch=take).done
        text = text or ("" if done.ok else done.text)
        if text and why_refused(text) is Refused.BUSY:
            key = (line.folder_id, line.uid)
            trouble = self.troubles.setdefault(key, Trouble(alone=True))
            trouble.busy += 1
            if trouble.busy > len(BUSY_PAUSES_SECONDS):
                self._refuse(job, line, RefusalReason.BUSY, text, b"")
            else:
                self.waiting[key] = BUSY_PAUSES_SECONDS[trouble.busy - 1]
        elif there or not done.ok:
            self._refuse(job, line, RefusalReason.UNREADABLE, text, b"")
        else:
            self.ledger.gone(job.record.id, line.uid)

    # Afterwards

    async def _look_back(self, *, verify: bool) -> Verification | None:
        """
        The first mail looked at and everything compared, as far as the connections have lasted; what landed after the
        last look is looked at, and all compared once more.
        """
        found: Verification | None = None
        for number in range(LATE_LOOKS_MAX if verify and self.sources and self.targets else 0):
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
            if found.unsettled <= sum(len(job.strangers) for job in self.jobs or []):
                break
            with contextlib.suppress(ConnectionLost, Renumbered, ServerBusy):  # then the next run looks
                await both(self.source_side.first(), self.target_side.first())
                self._doubt_again()
                await self._reconcile()
        if found is None:
            await self._look_at_first(None)
        return found

    async def _look_at_first(self, check: Check | None) -> None:
        """Does the target keep what it is given? Looked at once, on the first mail of this call."""
        if self.first is None or not self.targets:
            return
        notes, lying = await kept(self.target_session, self.ledger, *self.first)
        self.notes += notes
        if lying:
            if check is not None:
                await check.settled()  # it asks on the same connections
            for each in self.jobs or []:
                self.ledger.forget_places(each.target)
                self.doubtful.add(each.record.id)
            await self._reconcile()

    async def _describe_refusals(self) -> None:
        if self.sources:
            await describe_refusals(self.source_session, self.ledger)

    async def _tick(self) -> None:
        """Commits what is gathered, tells the progress, ends the pass when the time is up."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                self.ledger.flush()
                self._tell()
                stop = self._should_stop()  # asked also while nothing is sent: who is asked keeps the leases
                if stop and self.passing is not None and not self.passing.closed:
                    self.passing.close()
            except Exception as error:
                self.error = error
                if self.passing is not None:
                    self.passing.close(error)
                return

    def _tell(self, *, force: bool = False) -> None:
        elapsed = time.monotonic() - self.began
        if self.on_progress is None or self.jobs is None or (not force and elapsed - self.told_at < TELL_SECONDS):
            return
        self.told_at = elapsed
        self.on_progress(self._progress_now(self.jobs, elapsed, force))

    def _progress_now(self, jobs: list[Job], elapsed: float, force: bool) -> Progress:
        then = (self.stored + self.adopted, self.size_bytes, self.refused)
        if self.counted is None or force or elapsed >= self.count_at:
            began = time.monotonic()
            self.counted = progress_of(self.ledger, jobs, self.folder, elapsed, self.stored)
            self.counted_then = then
            self.count_at = elapsed + (time.monotonic() - began) / COUNTING_SHARE
            return self.counted
        done, size_bytes, refused = (now - before for now, before in zip(then, self.counted_then, strict=True))
        return dataclasses.replace(
            self.counted,
            done=self.counted.done + done,
            planned=max(0, self.counted.planned - done - refused),
            refused=self.counted.refused + refused,
            size_bytes=self.counted.size_bytes + size_bytes,
            planned_bytes=max(0, self.counted.planned_bytes - size_bytes),
            folder=self.folder,
            seconds=elapsed,
            stored=self.stored,
        )

    def _outcome(self, finished: bool) -> CopyOutcome:
        jobs = self.jobs or []
        dropped = [Note(NoteKind.KEYWORDS_DROPPED, each.name, str(each.keywords_dropped)) for each in jobs]
        refused, wrapped = refusals_of(self.ledger, jobs)
        return CopyOutcome(
            finished=finished,
            stored=self.stored,
            already=self.already,
            size_bytes=self.size_bytes,
            seconds=time.monotonic() - self.began,
            refused=refused,
            wrapped=wrapped,
            folders=[folder_outcome(self.ledger, job) for job in jobs],
            notes=self.notes + [note for note in dropped if note.detail != "0"],
            adopted=self.adopted,
            removed=self.removed,
            reconnects=self.reconnects,
            waits_seconds=self.waits_seconds,
            connections=self.target_side.governor.wanted,
        )


def described(line: Line, reason: RefusalReason, detail: str, opening: bytes) -> dict[str, Any]:
    """A refused mail for a person; without its first bytes that is found out later."""
    return {
        "reason": reason,
        "detail": detail[:300],
        "subject": header_of(opening, "Subject") if opening else None,
        "date": (header_of(opening, "Date") or line.internal_date) if opening else None,
    }


def one_of(sessions: list[Session], account: MailAccount) -> Session:
    """The first. Raises ConnectionLost."""
    if not sessions:
        raise ConnectionLost("no connection is left", mailbox=account.user)
    return sessions[0]
