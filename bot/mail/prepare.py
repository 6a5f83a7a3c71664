"""What a copy has to do: both sides looked at, the target's folders made, the source's mail in the ledger."""

from __future__ import annotations

from bot.mail import wire
from bot.mail.errors import CommandRefused
from bot.mail.guard import refuse_same
from bot.mail.ledger import FolderRecord, Ledger
from bot.mail.names import WireName
from bot.mail.notes import Note, NoteKind
from bot.mail.plan import Filter
from bot.mail.quirks import Refused, dated_since, is_exmail, why_refused
from bot.mail.reconcile import Reconciler, uidnext_of
from bot.mail.session import Selected, Session, Status, both, selected
from bot.mail.survey import choose, list_mails, statuses
from bot.mail.tree import Branch, grow, lay_out, look_at
from bot.mail.work import Job, Renumbered, ServerBusy

PLAN_LINES = 500  # written down at once


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
        folders, ground = await both(source.list_folders(), look_at(target))
        self.exmail = is_exmail(target.greeting, target.account.host, ground.folders)
        chosen = choose(folders, self.filter.folders, self.filter.without_junk, self.exclude_roots)
        notes = [Note(NoteKind.OWN_BACKUP, each.display) for each in chosen.own_backups]
        notes += [Note(NoteKind.FOLDER_UNKNOWN, name) for name in chosen.unknown]
        records = {each.source: each for each in self.ledger.folders() if each.current}
        known = {each.wire: WireName(records[each.wire].target) for each in chosen.folders if each.wire in records}
        tree = lay_out(ground, chosen.folders, self.into, known)
        if not records:
            all_told = await both(
                statuses(source, [each for each in folders if each.selectable]),
                statuses(target, [each for each in ground.folders if each.selectable]),
            )
            await refuse_same(source, target, *all_told)
        told, _ = await both(statuses(source, chosen.folders), grow(target, ground, tree, self.into))
        jobs = []
        for branch in tree.branches.values():
            status = told[branch.source.wire]
            assert branch.selected is not None  # noqa: S101 - grow leaves out what it could not open
            if status is None:
                opened = await source.open_folder(branch.source.wire).done
                try:
                    seen = selected(opened, self.source.account.user)
                except CommandRefused as error:
                    notes.append(Note(NoteKind.FOLDER_UNREADABLE, branch.source.display, error.text))
                    continue
                status = Status(seen.uidvalidity, seen.uidnext or 0, seen.exists)
                told[branch.source.wire] = status
            jobs.append(await self._job(branch, branch.selected, status, records.get(branch.source.wire)))
        self.ledger.flush(durable=True)
        notes += tree.notes + await self._fill(jobs, told)
        for note in notes:
            shut = note.kind in (NoteKind.FOLDER_REFUSED, NoteKind.FOLDER_UNREADABLE)
            if patient and shut and why_refused(note.detail) is Refused.BUSY:
                raise ServerBusy(note.detail)
        self.notes = notes
        return [job for job in jobs if not job.skipped]

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
        if record.target_uidvalidity != seen.uidvalidity:
            await self.reconciler.rematch_target(job, seen.uidvalidity, seen.uidnext)
            job.record = self._record(branch.source.wire)
        if record.source_uidvalidity != status.uidvalidity:
            job.record = await self.reconciler.renumber_source(job, status.uidvalidity, status.uidnext)
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

        opened = await list_mails(self.source, {job.source: told[job.source] for job in jobs}, on_mail)
        notes = []
        for job in jobs:
            seen = opened[job.source]
            if isinstance(seen, str):
                job.skipped = True
                notes.append(Note(NoteKind.FOLDER_UNREADABLE, job.name, seen))
                continue
            if seen.uidvalidity != job.record.source_uidvalidity:
                raise Renumbered("the source folder has a new UIDVALIDITY", mailbox=self.source.account.user)
            if rows[job.source]:
                self.ledger.plan(job.record.id, rows[job.source])
            status = told[job.source]
            if status is not None and status.uidnext != job.record.source_uidnext:
                self.ledger.set_uidnext(job.record.id, status.uidnext)
            if job.source in deleted:
                notes.append(Note(NoteKind.DELETED_FLAG, job.name, str(deleted[job.source])))
        return notes
