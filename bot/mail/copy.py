"""Mail from one mailbox into another: byte for byte, with flags and dates, each mail once, whatever happens."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator

from bot.mail import names, wire
from bot.mail.digest import Digest, digest_mails
from bot.mail.errors import (
    CommandRefused,
    ConnectionLost,
    MailError,
    QuotaFull,
    SameMailbox,
    TargetRefusesAll,
)
from bot.mail.ledger import FolderRecord, Ledger, Line, LineState
from bot.mail.names import Folder, WireName
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
from bot.mail.plan import Filter
from bot.mail.pump import BATCH_BYTES, BATCH_MAILS, OVERHEAD_BYTES, Batch, Item, Key, Pass, Sent, Trouble
from bot.mail.quirks import (
    BUSY_PAUSES_SECONDS,
    Refused,
    dated_since,
    flag_set,
    header_of,
    parse_internaldate,
    why_refused,
)
from bot.mail.reconcile import Found, Reconciler, open_source, uidnext_of
from bot.mail.session import (
    STREAM_OVER_BYTES,
    Done,
    MailAccount,
    Selected,
    Session,
    Status,
    append_limit,
    both,
    open_session,
    same_mailbox,
    selected,
)
from bot.mail.survey import choose, list_mails, statuses
from bot.mail.tree import Branch, grow, lay_out, look_at
from bot.mail.work import Job, Renumbered, ServerBusy

__all__ = ["CopyOutcome", "FolderOutcome", "Limits", "Progress", "Refusal", "RefusalReason", "copy_mail"]

RECONNECTS_MAX = 5  # in a row, without a mail stored in between
RECONNECT_PAUSE_MAX_SECONDS = 30.0
RENUMBERINGS_MAX = 3
LOST_MAX = 3  # connections a mail may break before it is given up
BUSY_IN_A_ROW = 5  # then it is the server, not the mail
REFUSED_IN_A_ROW_MAX = 50
CALLS_PER_MAIL_MAX = 3
IDLE_PASSES_MAX = 3
PLAN_LINES = 500
DESCRIBED_MAX = 200
TICK_SECONDS = 0.05
ASK_SECONDS = 0.2
TELL_SECONDS = 0.5
SETTLED_SECONDS = 1.0  # nothing has landed for so long: a dead session's appends are over
SETTLED_ROUND_TRIPS = 20  # the same on a slow server
SETTLING_SECONDS_MAX = 30.0
SETTLING_STEP_SECONDS = 0.1
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
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> CopyOutcome:
    """
    Copy what the ledger lacks: source folder X into `into`/X (display names, "/" between parts).

    Safe to run again after a crash at any point; two runs at once on one ledger are the caller's to prevent. Raises
    QuotaFull, LoginRefused, ConnectionLost (reconnecting was tried), FolderRefused (the root cannot be made),
    MailError; the ledger then holds what was done. A single refused mail is a line in the outcome.
    """
    work = Copy(source, target, into, filter, ledger, limits, on_progress, should_stop, exclude_roots, pause)
    return await work.run()


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
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self.source, self.target = source, target
        self.into, self.filter, self.ledger, self.limits = into, filter, ledger, limits
        self.on_progress, self.should_stop, self.pause = on_progress, should_stop, pause
        self.exclude_roots = exclude_roots
        if same_mailbox(source, target):
            if not names.split_display(into):
                raise SameMailbox("source and target are one mailbox", mailbox=source.user)
            self.exclude_roots = (*exclude_roots, into)
        self.sources: list[Session] = []
        self.targets: list[Session] = []
        self.target_connections = limits.connections
        self.source_connections = limits.source_connections
        self.jobs: list[Job] | None = None
        self.doubtful: set[int] = set()  # folders in whose targets something of ours may lie unknown to the ledger
        self.troubles: dict[Key, Trouble] = {}
        self.waiting: dict[Key, float] = {}
        self.passing: Pass | None = None
        self.pipelining = True
        self.notes: list[Note] = []
        self.stored = self.size_bytes = self.refused = self.adopted = self.removed = self.reconnects = 0
        self.already = 0
        self.refused_in_a_row = self.busy_in_a_row = self.cooldowns = 0
        self.begun = False
        self.unclean = False  # the run before this one was killed
        self.dead_since: float | None = None  # sessions that may still be storing what they were given
        self.first: tuple[Job, int, Line, Digest] | None = None  # the first mail stored: to be looked at
        self.folder = ""
        self.error: BaseException | None = None  # found outside of a pass
        self.began = time.monotonic()
        self.told_at, self.asked_at = 0.0, -ASK_SECONDS
        self.stop = False

    async def run(self) -> CopyOutcome:
        self.ledger.retry_refused(attempts_max=CALLS_PER_MAIL_MAX, reasons=RETRIED)
        self.already = sum(
            self.ledger.counts(each.id).get(LineState.STORED, (0, 0))[0] for each in self.ledger.folders()
        )
        ticker = asyncio.create_task(self._tick())
        try:
            finished = await self._until_done()
            if self.dead_since is None:
                self.ledger.end_run()
            await self._look_at_first()
            await self._describe_refusals()
        finally:
            ticker.cancel()
            await asyncio.gather(*(session.close() for session in (*self.sources, *self.targets)))
            self.ledger.flush()
        self._tell(force=True)
        return self._outcome(finished)

    # The whole

    async def _until_done(self) -> bool:
        """True when nothing is left to copy. Reconnects a bounded number of times without progress."""
        losses = renumberings = busy = 0
        connected = False
        while True:
            before = self.stored + self.refused + self.adopted
            try:
                await self._connect()
                connected = True
                if self.jobs is None:
                    await self._survey(patient=busy < len(BUSY_PAUSES_SECONDS))
                if not self.begun:
                    self.begun, self.unclean = True, self.ledger.begin_run()
                    self.dead_since = self.began if self.unclean else self.dead_since
                await self._reconcile()
                if not await self._passes():
                    return False
                self._doubt_again()
                await self._reconcile()
                return True
            except ServerBusy:
                await self.pause(BUSY_PAUSES_SECONDS[busy])
                busy += 1
            except Renumbered:
                renumberings += 1
                if renumberings > RENUMBERINGS_MAX:
                    raise
                self.jobs = None
            except ConnectionLost:
                if not connected:
                    raise
                losses = 1 if self.stored + self.refused + self.adopted > before else losses + 1
                if losses > RECONNECTS_MAX:
                    raise
                self.reconnects += 1
                self.dead_since = time.monotonic()
                self.doubtful = {job.record.id for job in self.jobs or []}
                await self.pause(min(2.0 ** (losses - 1), RECONNECT_PAUSE_MAX_SECONDS))

    def _doubt_again(self) -> None:
        """Appends of an earlier session may have landed since we looked; mails stored without a UID want a place."""
        for job in self.jobs or []:
            if self.reconnects or self.unclean or self.ledger.unplaced(job.target):
                self.doubtful.add(job.record.id)

    async def _settle(self) -> None:
        """
        Wait until the server has let dead sessions go: what it had read of them it still stores, unasked.

        Nobody can be asked whether that is over, so the folders are watched until nothing has landed for a while.
        """
        if self.dead_since is None or not self.doubtful:
            return
        target, loop = self.targets[0], asyncio.get_running_loop()
        folders = list(dict.fromkeys(job.target for job in self.jobs or [] if job.record.id in self.doubtful))
        began = since = max(loop.time() - (time.monotonic() - self.dead_since), 0)
        seen: object = None
        until = loop.time() + SETTLING_SECONDS_MAX
        while loop.time() < until:
            asked = loop.time()
            told = await statuses(target, [Folder(each, "", frozenset()) for each in folders])
            now = loop.time()
            if told != seen:
                seen, since = told, now if seen is not None else began
            if now - since >= max(SETTLED_SECONDS, SETTLED_ROUND_TRIPS * (now - asked)):
                break
            await asyncio.sleep(SETTLING_STEP_SECONDS)
        self.dead_since = None

    async def _connect(self) -> None:
        """As many connections as wanted. A refusal of one beyond the first only means fewer."""
        self.sources = [each for each in self.sources if each.lost is None]
        self.targets = [each for each in self.targets if each.lost is None]
        await both(
            self._open(self.source, self.sources, self.source_connections),
            self._open(self.target, self.targets, self.target_connections),
        )

    async def _open(self, account: MailAccount, sessions: list[Session], wanted: int) -> None:
        while len(sessions) < wanted:
            try:
                sessions.append(await open_session(account, silence_seconds=self.limits.silence_seconds))
            except MailError:
                if not sessions:
                    raise
                if account is self.source:
                    self.source_connections = len(sessions)
                else:
                    self.target_connections = len(sessions)
                return

    async def _survey(self, *, patient: bool) -> None:
        """
        Both sides' folders, the target's made, the ledger filled with what the source shows.

        Raises ServerBusy if `patient` and a folder was refused only for the moment.
        """
        source, target = self.sources[0], self.targets[0]
        folders, ground = await both(source.list_folders(), look_at(target))
        chosen = choose(folders, self.filter.folders, self.filter.without_junk, self.exclude_roots)
        notes = [Note(NoteKind.OWN_BACKUP, each.display) for each in chosen.own_backups]
        notes += [Note(NoteKind.FOLDER_UNKNOWN, name) for name in chosen.unknown]
        records = {each.source: each for each in self.ledger.folders() if each.current}
        known = {each.wire: WireName(records[each.wire].target) for each in chosen.folders if each.wire in records}
        tree = lay_out(ground, chosen.folders, self.into, known)
        told, _ = await both(statuses(source, chosen.folders), grow(target, ground, tree, self.into))
        jobs = []
        reconciler = self._reconciler()
        for branch in tree.branches.values():
            status = told[branch.source.wire]
            assert branch.selected is not None  # noqa: S101 - grow leaves out what it could not open
            if status is None:
                opened = await source.open_folder(branch.source.wire).done
                try:
                    seen = selected(opened, self.source.user)
                except CommandRefused as error:
                    notes.append(Note(NoteKind.FOLDER_UNREADABLE, branch.source.display, error.text))
                    continue
                status = Status(seen.uidvalidity, seen.uidnext or 0, seen.exists)
                told[branch.source.wire] = status
            jobs.append(await self._job(reconciler, branch, branch.selected, status, records.get(branch.source.wire)))
        self.ledger.flush(durable=True)
        notes += tree.notes + await self._fill(jobs, told)
        for note in notes:
            shut = note.kind in (NoteKind.FOLDER_REFUSED, NoteKind.FOLDER_UNREADABLE)
            if patient and shut and why_refused(note.detail) is Refused.BUSY:
                raise ServerBusy(note.detail)
        self.notes += [note for note in notes if note not in self.notes]
        self.jobs = [job for job in jobs if not job.skipped]
        self.doubtful |= {job.record.id for job in self.jobs if not job.fresh}
        self._took(reconciler.found)

    async def _job(
        self, reconciler: Reconciler, branch: Branch, seen: Selected, status: Status, record: FolderRecord | None
    ) -> Job:
        fresh = record is None
        if record is None:
            record = self.ledger.add_folder(
                branch.source.wire,
                source_uidvalidity=status.uidvalidity,
                source_uidnext=status.uidnext,
                target=branch.target,
                target_uidvalidity=seen.uidvalidity,
                target_mark=seen.uidnext or await uidnext_of(self.targets[0], branch.target),
            )
        job = Job(
            record,
            branch.source.wire,
            branch.target,
            branch.source.display,
            branch.display,
            seen.permanent_flags,
            fresh,
        )
        if record.target_uidvalidity != seen.uidvalidity:
            await reconciler.rematch_target(job, seen.uidvalidity, seen.uidnext)
            job.record = self._record(branch.source.wire)
        if record.source_uidvalidity != status.uidvalidity:
            job.record = await reconciler.renumber_source(job, status.uidvalidity, status.uidnext)
        return job

    def _record(self, source: str) -> FolderRecord:
        return next(each for each in self.ledger.folders() if each.current and each.source == source)

    async def _fill(self, jobs: list[Job], told: dict[WireName, Status | None]) -> list[Note]:
        """Write down what the source shows."""
        rows: dict[WireName, list[tuple[int, int, str, str]]] = {job.source: [] for job in jobs}
        ids = {job.source: job.record.id for job in jobs}
        deleted: dict[WireName, int] = {}

        def on_mail(name: WireName, mail: wire.Fetched) -> None:
            date = mail.internal_date or ""
            if mail.uid is None or not dated_since(date, self.filter.since):
                return
            if "\\deleted" in (mail.flags or "").casefold():
                deleted[name] = deleted.get(name, 0) + 1
            some = rows[name]
            some.append((mail.uid, mail.size_bytes or 0, date, mail.flags or ""))
            if len(some) >= PLAN_LINES:
                self.ledger.plan(ids[name], some)
                some.clear()

        opened = await list_mails(self.sources[0], {job.source: told[job.source] for job in jobs}, on_mail)
        notes = []
        for job in jobs:
            seen = opened[job.source]
            if isinstance(seen, str):
                job.skipped = True
                notes.append(Note(NoteKind.FOLDER_UNREADABLE, job.name, seen))
                continue
            if seen.uidvalidity != job.record.source_uidvalidity:
                raise Renumbered("the source folder has a new UIDVALIDITY", mailbox=self.source.user)
            if rows[job.source]:
                self.ledger.plan(job.record.id, rows[job.source])
            status = told[job.source]
            if status is not None and status.uidnext != job.record.source_uidnext:
                self.ledger.set_uidnext(job.record.id, status.uidnext)
            if job.source in deleted:
                notes.append(Note(NoteKind.DELETED_FLAG, job.name, str(deleted[job.source])))
        return notes

    def _reconciler(self) -> Reconciler:
        may_remove = bool(names.split_display(self.into))
        return Reconciler(self.sources[0], self.targets[0], self.ledger, may_remove=may_remove)

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
            before = (self.stored, self.refused, self.cooldowns, repr(self.troubles))
            self.passing = Pass(
                self.sources,
                self.targets,
                self._batches(),
                self.troubles,
                budget_bytes=self.limits.budget_bytes,
                pipelining=self.pipelining,
                on_answer=self._answered,
                on_lost=self._lost,
            )
            try:
                await self.passing.run()
                for job, line, text in self.passing.unread:
                    await self._unreadable(job, line, text)
            finally:
                self.pipelining = self.pipelining and self.passing.pipelining
                self.passing = None
                self.ledger.flush()
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
            idle = idle + 1 if before == (self.stored, self.refused, self.cooldowns, repr(self.troubles)) else 0
            if idle > IDLE_PASSES_MAX:
                raise MailError("the copy does not get on", mailbox=self.target.user)

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
            self.stop = self.should_stop()
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
                batch.held[line.uid] = OVERHEAD_BYTES + (0 if big else line.size_bytes)
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
        limit = append_limit(self.targets[0])
        if limit is None or line.size_bytes <= limit:
            return False
        self._refuse(job, line, RefusalReason.TOO_BIG, f"APPENDLIMIT={limit}", b"")
        return True

    # Answers, called from the event loop: none of these waits

    def _answered(self, passing: Pass, sent: Sent, done: Done) -> None:
        item = sent.item
        if done.ok:
            self._stored(item, done.text)
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
            self._refuse(item.job, item.line, reason, done.text, item.opening)
            self.refused_in_a_row += 1
            if self.refused_in_a_row >= REFUSED_IN_A_ROW_MAX:
                passing.close(TargetRefusesAll(done.text, mailbox=self.target.user))

    def _stored(self, item: Item, text: str) -> None:
        target_uid: int | None = None
        if match := re.search(r"\[APPENDUID (\d+) (\d+)\]", text, re.IGNORECASE):
            if int(match[1]) != item.job.record.target_uidvalidity:
                raise Renumbered("the target folder has a new UIDVALIDITY", mailbox=self.target.user)
            target_uid = int(match[2])
        changed = flag_set(item.flags) != flag_set(item.line.flags)
        self.ledger.stored(
            item.line.folder_id,
            item.line.uid,
            target_uid=target_uid,
            sha256=item.digest.sha256,
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

    def _lost(self, passing: Pass, item: Item) -> None:
        if passing.trouble(item.key).lost >= LOST_MAX:
            self._refuse(item.job, item.line, RefusalReason.LOST, "three times", item.opening)

    def _refuse(self, job: Job, line: Line, reason: RefusalReason, detail: str, opening: bytes) -> None:
        self.ledger.refused(
            job.record.id,
            line.uid,
            reason=reason,
            detail=detail[:300],
            subject=header_of(opening, "Subject") if opening else None,
            date=(header_of(opening, "Date") or line.internal_date) if opening else None,
        )
        self.refused += 1

    async def _unreadable(self, job: Job, line: Line, text: str) -> None:
        """Asked for alone and not come: gone, or really not to be had."""
        if line.state != LineState.PLANNED:
            return
        source = self.sources[0]
        await open_source(source, job.record)
        there = False

        def take(told: wire.Fetched, _: object) -> bool:
            nonlocal there
            there |= told.uid == line.uid
            return True

        await source.send(b"UID FETCH %d (UID RFC822.SIZE)" % line.uid, on_fetch=take).done
        if there:
            self._refuse(job, line, RefusalReason.UNREADABLE, text, b"")
        else:
            self.ledger.gone(job.record.id, line.uid)

    # Afterwards

    async def _look_at_first(self) -> None:
        """Does the target keep what it is given? Looked at once, on the first mail of this call."""
        if self.first is None or self.targets[0].lost is not None:
            return None
        job, uid, line, digest = self.first
        target = self.targets[0]
        try:
            await target.examine(job.target)
            kept = (await digest_mails(target, [uid])).get(uid)
        except MailError:
            return None  # the verification will say it
        if (kept is None or kept.sha256 != digest.sha256) and await self._uids_lie(target, uid, digest):
            for each in self.jobs or []:
                self.ledger.forget_places(each.target)
                self.doubtful.add(each.record.id)
            return await self._reconcile()
        if kept is None:
            self.notes.append(Note(NoteKind.TARGET_HIDES, job.target_name, line.internal_date))
            return None
        if kept.sha256 != digest.sha256 and not self.ledger.altered:
            self.ledger.set_altered()
            self.notes.append(Note(NoteKind.BYTES_CHANGED))
        moment = parse_internaldate(line.internal_date)
        if moment is not None and parse_internaldate(kept.internal_date) != moment:
            self.notes.append(Note(NoteKind.DATES_IGNORED))
        return None

    async def _uids_lie(self, target: Session, uid: int, digest: Digest) -> bool:
        """Is the mail beside the UID that APPEND told? Then no UID it told is worth anything."""
        beside = await digest_mails(target, [each for each in (uid - 1, uid + 1) if each > 0])
        return any(each.sha256 == digest.sha256 for each in beside.values())

    async def _describe_refusals(self) -> None:
        """Subjects and dates for refused mails of which no byte was read."""
        unknown = [line for line in self.ledger.refusals() if line.subject is None][:DESCRIBED_MAX]
        source = self.sources[0] if self.sources else None
        for line in unknown:
            header: list[bytes] = []

            def take(told: wire.Fetched, _: object, header: list[bytes] = header) -> bool:
                if isinstance(told.body, bytes):
                    header.append(told.body)
                return True

            record = next(each for each in self.ledger.folders() if each.id == line.folder_id)
            try:
                if source is None or source.lost is not None:
                    break
                await open_source(source, record)
                await source.send(b"UID FETCH %d (UID BODY.PEEK[HEADER])" % line.uid, on_fetch=take).done
            except MailError:
                continue
            raw = b"".join(header)
            date = header_of(raw, "Date") or line.internal_date
            self.ledger.describe(line.folder_id, line.uid, subject=header_of(raw, "Subject"), date=date)

    async def _tick(self) -> None:
        """Commits what is gathered, tells the progress, ends the pass when the time is up."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                self.ledger.flush()
                self._tell()
                if self.passing is not None and not self.passing.closed and self._should_stop():
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
        counts = [self.ledger.counts(job.record.id) for job in self.jobs]
        stored = [each.get(LineState.STORED, (0, 0)) for each in counts]
        planned = [each.get(LineState.PLANNED, (0, 0)) for each in counts]
        self.on_progress(
            Progress(
                done=sum(number for number, _ in stored),
                planned=sum(number for number, _ in planned),
                refused=sum(each.get(LineState.REFUSED, (0, 0))[0] for each in counts),
                size_bytes=sum(size for _, size in stored),
                planned_bytes=sum(size for _, size in planned),
                folder=self.folder,
                seconds=elapsed,
                stored=self.stored,
            )
        )

    def _outcome(self, finished: bool) -> CopyOutcome:
        jobs = self.jobs or []
        folders = []
        for job in jobs:
            counts = self.ledger.counts(job.record.id)
            number = {state: counts.get(state, (0, 0))[0] for state in LineState}
            folders.append(
                FolderOutcome(
                    name=job.name,
                    target=job.target_name,
                    stored=number[LineState.STORED],
                    planned=number[LineState.PLANNED],
                    refused=number[LineState.REFUSED],
                    gone=number[LineState.GONE],
                    size_bytes=counts.get(LineState.STORED, (0, 0))[1],
                )
            )
            if job.keywords_dropped:
                self.notes.append(Note(NoteKind.KEYWORDS_DROPPED, job.name, str(job.keywords_dropped)))
        display = {job.record.id: job.name for job in jobs}
        refused = [
            Refusal(
                folder=display.get(line.folder_id, ""),
                uid=line.uid,
                size_bytes=line.size_bytes,
                subject=line.subject or "",
                date=line.date or line.internal_date,
                reason=RefusalReason(line.reason or RefusalReason.OTHER),
                detail=line.detail or "",
            )
            for line in self.ledger.refusals()
        ]
        return CopyOutcome(
            finished=finished,
            stored=self.stored,
            already=self.already,
            size_bytes=self.size_bytes,
            seconds=time.monotonic() - self.began,
            refused=refused,
            folders=folders,
            notes=self.notes,
            adopted=self.adopted,
            removed=self.removed,
            reconnects=self.reconnects,
        )
