"""What a copy has to do: both sides looked at, the target's folders made, the source's mail in the ledger."""

from __future__ import annotations

from bot.mail import wire
from bot.mail.errors import CommandRefused
from bot.mail.guard import refuse_same
from bot.mail.ledger import FolderRecord, Ledger
from bot.mail.names import Folder, WireName
from bot.mail.notes import Note, NoteKind
from bot.mail.outcome import Filter
from bot.mail.quirks import Refused, dated_since, is_exmail, why_refused
from bot.mail.reconcile import Reconciler, uidnext_of
from bot.mail.session import Session, both
from bot.mail.survey import choose, list_mails, list_told
from bot.mail.told import Selected, Status
from bot.mail.tree import Branch, Ground, Tree, grow, lay_out, look_at
from bot.mail.work import Job, Renumbered, ServerBusy

PLAN_LINES = 500  # written down at once
HELD_LINES_MAX = 20_000  # until there is a place for them


class Survey:
    """One look at both sides."""

    def __init__(
        self,
        source: Session,
        target: Session,
        ledger: Ledger,
        reconciler: Reconciler,
        *,
        into: str,
        filter: Filter,
        exclude_roots: tuple[str, ...],
    ) -> None:
        self.source, self.target, self.ledger, self.reconciler = source, target, ledger, reconciler
        self.into, self.filter, self.exclude_roots = into, filter, exclude_roots
        self.notes: list[Note] = []
        self.exmail = False

    async def run(self, *, patient: bool) -> list[Job]:
        """
        Both sides' folders, the target's made, the ledger filled with what the source shows.

        Raises ServerBusy if `patient` and a folder was refused only for the moment.
        """
        source, target = self.source, self.target
        records = {each.source: each for each in self.ledger.folders() if each.current}
        (folders, told), ground = await both(list_told(source), look_at(target, counted=not records))
        self.exmail = is_exmail(target.greeting, target.account.host, ground.folders)
        chosen = choose(folders, self.filter.folders, self.filter.without_junk, self.exclude_roots)
        self.notes += [Note(NoteKind.OWN_BACKUP, each.display) for each in chosen.own_backups]
        self.notes += [Note(NoteKind.FOLDER_UNKNOWN, name) for name in chosen.unknown]
        known = {each.wire: WireName(records[each.wire].target) for each in chosen.folders if each.wire in records}
        tree = lay_out(ground, chosen.folders, self.into, known)
        if not records:
            await refuse_same(source, target, told, ground.told)
        meant = {each.wire: told[each.wire] or await self._opened(each) for each in chosen.folders}
        gathered = Gathered(self.ledger, source, self.filter)
        making = self._jobs(ground, tree, meant, records, gathered)
        if records:  # what is known of a folder may have to be matched anew first
            jobs = await making
            opened = await self._list(meant, gathered)
            await self._rematch(jobs, opened)
        else:
            opened, jobs = await both(self._list(meant, gathered), making)
        self.notes += tree.notes + self._judge(jobs, meant, opened, gathered)
        for note in self.notes:
            shut = note.kind in (NoteKind.FOLDER_REFUSED, NoteKind.FOLDER_UNREADABLE)
            if patient and shut and why_refused(note.detail) is Refused.BUSY:
                raise ServerBusy(note.detail)
        return [job for job in jobs if not job.skipped]

    async def _opened(self, folder: Folder) -> Status | None:
        """What a folder tells that does not answer STATUS; None with a note when it cannot be opened either."""
        try:
            seen = await self.source.examine(folder.wire)
        except CommandRefused as error:
            self.notes.append(Note(NoteKind.FOLDER_UNREADABLE, folder.display, error.text))
            return None
        return Status(seen.uidvalidity, seen.uidnext or 0, seen.exists)

    async def _jobs(
        self,
        ground: Ground,
        tree: Tree,
        meant: dict[WireName, Status | None],
        records: dict[str, FolderRecord],
        gathered: Gathered,
    ) -> list[Job]:
        """The target's folders made and their marks written down, before anything is stored there."""
        jobs: list[Job] = []
        try:
            await grow(self.target, ground, tree, self.into)
            for branch in tree.branches.values():
                assert branch.selected is not None  # noqa: S101 - grow leaves out what it could not open
                status = meant[branch.source.wire]
                if status is not None:
                    jobs.append(await self._job(branch, branch.selected, status, records.get(branch.source.wire)))
            self.ledger.flush(durable=True)
        except BaseException:
            jobs.clear()
            raise
        finally:  # also where it failed: nobody may wait for it
            gathered.write_down({job.source: job.record.id for job in jobs})
        return jobs

    async def _list(self, meant: dict[WireName, Status | None], gathered: Gathered) -> dict[WireName, Selected | str]:
        folders = {name: status for name, status in meant.items() if status is not None}
        try:
            return await list_mails(self.source, folders, gathered.on_mail)
        finally:
            gathered.listed()

    async def _job(self, branch: Branch, seen: Selected, status: Status, record: FolderRecord | None) -> Job:
        fresh = record is None
        if record is None:
            record = self.ledger.add_folder(
                branch.source.wire,
                source_uidvalidity=status.uidvalidity,
                source_uidnext=status.uidnext,
                target=branch.target,
                target_uidvalidity=seen.uidvalidity,
                target_mark=seen.uidnext or await uidnext_of(self.target, branch.target),
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
        job.target_uidvalidity, job.target_uidnext = seen.uidvalidity, seen.uidnext
        if record.source_uidvalidity != status.uidvalidity:
            job.record = await self.reconciler.renumber_source(job, status.uidvalidity, status.uidnext)
        return job

    async def _rematch(self, jobs: list[Job], opened: dict[WireName, Selected | str]) -> None:
        """Folders that the target has renumbered; of those that the source does not open another call sees to."""
        for job in jobs:
            if job.record.target_uidvalidity != job.target_uidvalidity and not isinstance(opened[job.source], str):
                await self.reconciler.rematch_target(job, job.target_uidvalidity, job.target_uidnext)
                job.record = self._record(job.source)

    def _record(self, source: str) -> FolderRecord:
        return next(each for each in self.ledger.folders() if each.current and each.source == source)

    def _judge(
        self,
        jobs: list[Job],
        meant: dict[WireName, Status | None],
        opened: dict[WireName, Selected | str],
        gathered: Gathered,
    ) -> list[Note]:
        """Whether the source showed what it had announced."""
        notes = []
        for job in jobs:
            seen = opened[job.source]
            if isinstance(seen, str):
                job.skipped = True
                notes.append(Note(NoteKind.FOLDER_UNREADABLE, job.name, seen))
                continue
            if seen.uidvalidity != job.record.source_uidvalidity:
                raise Renumbered("the source folder has a new UIDVALIDITY", mailbox=self.source.account.user)
            status = meant[job.source]
            if status is not None and status.uidnext != job.record.source_uidnext:
                self.ledger.set_uidnext(job.record.id, status.uidnext)
            if number := gathered.deleted.get(job.source):
                notes.append(Note(NoteKind.DELETED_FLAG, job.name, str(number)))
        return notes


class Gathered:
    """
    What the source shows, on its way into the ledger. The source may be listed while the target's folders are made:
    until they have their records it is held here, and beyond a limit the source is not read on.
    """

    def __init__(self, ledger: Ledger, source: Session, filter: Filter) -> None:
        self._ledger, self._source, self._filter = ledger, source, filter
        self._rows: dict[WireName, list[tuple[int, int, str, str]]] = {}
        self._ids: dict[WireName, int] | None = None
        self._held = 0
        self._ended = False
        self.deleted: dict[WireName, int] = {}

    def on_mail(self, name: WireName, mail: wire.Fetched) -> None:
        """A mail as it is listed."""
        date = mail.internal_date or ""
        if mail.uid is None or not dated_since(date, self._filter.since):
            return
        if "\\deleted" in (mail.flags or "").casefold():
            self.deleted[name] = self.deleted.get(name, 0) + 1
        some = self._rows.setdefault(name, [])
        some.append((mail.uid, mail.size_bytes or 0, date, mail.flags or ""))
        if self._ids is None:
            self._held += 1
            if self._held >= HELD_LINES_MAX:
                self._source.pause_reading()
        elif len(some) >= PLAN_LINES:
            self._write(name)

    def write_down(self, ids: dict[WireName, int]) -> None:
        """The folders have their records; of a folder without one nothing is written."""
        self._ids = ids
        self._source.resume_reading()
        if self._ended:
            self.listed()
        for name in [name for name, some in self._rows.items() if len(some) >= PLAN_LINES]:
            self._write(name)

    def listed(self) -> None:
        """There is no more."""
        self._ended = True
        for name in self._rows if self._ids is not None else ():
            self._write(name)

    def _write(self, name: WireName) -> None:
        some = self._rows[name]
        if some and self._ids is not None and name in self._ids:
            self._ledger.plan(self._ids[name], some)
        some.clear()
