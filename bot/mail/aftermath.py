"""What a copy looks at when it is done, and what it tells."""

from __future__ import annotations

from bot.mail import wire
from bot.mail.digest import Digest, digest_mails
from bot.mail.errors import MailError
from bot.mail.ledger import Ledger, Line, LineState
from bot.mail.likeness import open_source
from bot.mail.notes import Note, NoteKind
from bot.mail.outcome import FolderOutcome, Progress, Refusal, RefusalReason
from bot.mail.quirks import header_of, parse_internaldate
from bot.mail.session import Session
from bot.mail.told import selected
from bot.mail.work import Job

DESCRIBED_MAX = 200


async def kept(
    target: Session, ledger: Ledger, job: Job, uid: int, line: Line, digest: Digest
) -> tuple[list[Note], bool]:
    """Whether the target keeps a mail as it was given; True beside it when the UIDs it tells are not to be believed."""
    try:
        opening = target.open_folder(job.target)
        found = (await digest_mails(target, [uid])).get(uid)
        selected(await opening.done, target.account.user)
    except MailError:
        return [], False  # the verification will say it
    if (found is None or found.sha256 != digest.sha256) and await uids_lie(target, uid, digest):
        return [], True
    if found is None:
        return [Note(NoteKind.TARGET_HIDES, job.target_name, line.internal_date)], False
    notes = []
    if found.sha256 != digest.sha256 and not ledger.altered:
        ledger.set_altered()
        notes.append(Note(NoteKind.BYTES_CHANGED))
    moment = parse_internaldate(line.internal_date)
    if moment is not None and parse_internaldate(found.internal_date) != moment:
        notes.append(Note(NoteKind.DATES_IGNORED))
    return notes, False


async def uids_lie(target: Session, uid: int, digest: Digest) -> bool:
    """Is the mail beside the UID that APPEND told? Then no UID it told is worth anything."""
    beside = await digest_mails(target, [each for each in (uid - 1, uid + 1) if each > 0])
    return any(each.sha256 == digest.sha256 for each in beside.values())


async def describe_refusals(source: Session, ledger: Ledger) -> None:
    """Subjects and dates for refused mails of which no byte was read."""
    unknown = [line for line in ledger.refusals() if line.subject is None][:DESCRIBED_MAX]
    records = {each.id: each for each in ledger.folders()} if unknown else {}
    for line in unknown:
        header: list[bytes] = []

        def take(told: wire.Fetched, _: object, header: list[bytes] = header) -> bool:
            if isinstance(told.body, bytes):
                header.append(told.body)
            return True

        try:
            if source.lost is not None:
                return
            await open_source(source, records[line.folder_id])
            await source.send(b"UID FETCH %d (UID BODY.PEEK[HEADER])" % line.uid, on_fetch=take).done
        except MailError:
            continue
        raw = b"".join(header)
        date = header_of(raw, "Date") or line.internal_date
        ledger.describe(line.folder_id, line.uid, subject=header_of(raw, "Subject"), date=date)


def progress_of(ledger: Ledger, jobs: list[Job], folder: str, seconds: float, stored_now: int) -> Progress:
    """How far it is, by the ledger."""
    counts = [ledger.counts(job.record.id) for job in jobs]
    stored = [each.get(LineState.STORED, (0, 0)) for each in counts]
    planned = [each.get(LineState.PLANNED, (0, 0)) for each in counts]
    return Progress(
        done=sum(number for number, _ in stored),
        planned=sum(number for number, _ in planned),
        refused=sum(each.get(LineState.REFUSED, (0, 0))[0] for each in counts),
        size_bytes=sum(size for _, size in stored),
        planned_bytes=sum(size for _, size in planned),
        folder=folder,
        seconds=seconds,
        stored=stored_now,
    )


def folder_outcome(ledger: Ledger, job: Job) -> FolderOutcome:
    """What the ledger says about a folder."""
    counts = ledger.counts(job.record.id)
    number = {state: counts.get(state, (0, 0))[0] for state in LineState}
    return FolderOutcome(
        name=job.name,
        target=job.target_name,
        stored=number[LineState.STORED],
        planned=number[LineState.PLANNED],
        refused=number[LineState.REFUSED],
        gone=number[LineState.GONE],
        size_bytes=counts.get(LineState.STORED, (0, 0))[1],
    )


def refusals_of(ledger: Ledger, jobs: list[Job]) -> tuple[list[Refusal], list[Refusal]]:
    """The mails that were refused, and those that are stored as attachments instead."""
    display = {job.record.id: job.name for job in jobs}

    def listed(line: Line) -> Refusal:
        return Refusal(
            folder=display.get(line.folder_id, ""),
            uid=line.uid,
            size_bytes=line.size_bytes,
            subject=line.subject or "",
            date=line.date or line.internal_date,
            reason=RefusalReason(line.reason or RefusalReason.OTHER),
            detail=line.detail or "",
        )

    return [listed(line) for line in ledger.refusals()], [listed(line) for line in ledger.attached()]
