"""
The last part of a backup: both sides compared, the receipt, and whether it may be called complete.

"Complete" is said only with no filter, nothing that differs, nothing refused or the refusals accepted, and a source
that had stopped receiving.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bot.context import Context
from bot.errors import UserError
from bot.mail.notes import Note, NoteKind
from bot.mail.verify import Verification, verify_copy
from bot.replies import File, Reply, Text
from bot.router import Router
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, Work
from handlers.copying import copying, receipts
from handlers.copying.backup_card import put_away
from handlers.copying.connections import WANTED
from handlers.copying.copying import KIND, Unwanted, boxes, end_with, filter_of, ledger_of, with_both
from storage.models import JobState, Mailbox, MailboxKind

if TYPE_CHECKING:
    from storage.store import Transaction

router = Router()
work = Work()

VERIFY_ROUNDS_MAX = 3
PARTIAL_REFUSED = "backup.partial_refused"  # an admin may accept that


# --- notes -----------------------------------------------------------------------------------------------------------


def as_json_note(note: Note) -> dict[str, str]:
    """A note as JSON."""
    return {"kind": str(note.kind), "folder": note.folder, "detail": note.detail}


def note_words(note: dict[str, str]) -> Words:
    """A stored note's sentence."""
    return Note(NoteKind(note["kind"]), note["folder"], note["detail"]).words()


def note_down(step: JobStep, notes: list[Note]) -> None:
    """What is worth knowing beyond the numbers, for the receipt; the preview has told its own already."""
    known = [*step.job.data["plan"]["notes"], *step.job.data.get("notes", [])]
    new = [note for note in map(as_json_note, notes) if note not in known]
    if new:
        step.put(notes=[*step.job.data.get("notes", []), *new])


# --- both sides compared, and the receipt ----------------------------------------------------------------------------


def verify(job: JobContext) -> None:
    """Compare both sides; what came to the source meanwhile is fetched, too."""
    with job.services.store.begin() as tx:
        both, began = boxes(job, tx), tx.now
        own_roots = tuple(tx.mailboxes.roots_in(both["source"]))
    checked = with_both(
        job,
        both,
        lambda source, target, _: asyncio.run(
            verify_copy(
                source, target, ledger=ledger_of(job, both), filter=filter_of(job.params), exclude_roots=own_roots,
                give_up=Unwanted(job),
            )
        ),
    )  # fmt: skip
    if checked is None:
        return
    with job.begin() as step:
        rounds = int(step.job.data.get("rounds", 0)) + 1
        step.put(
            rounds=rounds, verification=verification_json(checked), verified_from=began.isoformat(), trouble=None,
            **{WANTED: False},
        )  # fmt: skip
        note_down(step, checked.notes)
        behind = checked.unsettled + sum(folder.not_copied + folder.newer for folder in checked.folders)
        step.go("copy" if behind and rounds < VERIFY_ROUNDS_MAX else "receipt")


def verification_json(checked: Verification) -> dict[str, Any]:
    """What the comparison saw, as JSON."""
    return {
        "ok": checked.ok, "refused": checked.refused, "hashed": checked.hashed,
        "differences": list(checked.differences),
        "folders": [
            {
                "name": each.name, "target": each.target, "stored": each.stored, "found": each.found,
                "missing": each.missing, "different": each.different, "not_copied": each.not_copied,
                "refused": each.refused, "newer": each.newer, "foreign": each.foreign, "ok": each.ok,
            }
            for each in checked.folders
        ],
    }  # fmt: skip


def why_partial(step: JobStep, refusals: int) -> list[Words]:
    """Why this backup may not be called complete; empty when it may."""
    data, params = step.job.data, step.job.params
    reasons: list[Words] = []
    if params.get("since") or params.get("folders") or params.get("without_junk"):
        reasons.append(say("backup.partial_filter"))
    if not data["verification"]["ok"]:
        count = len(data["verification"]["differences"])
        reasons.append(say("backup.partial_check", count=count, number=step.job.id))
    if newer := sum(each["newer"] for each in data["verification"]["folders"]):
        reasons.append(say("backup.partial_newer", count=newer))
    if refusals:
        reasons.append(say(PARTIAL_REFUSED, count=refusals, number=step.job.id))
    kinds = {note["kind"] for note in (*data["plan"]["notes"], *data.get("notes", []))}
    if NoteKind.WINDOW in kinds:
        reasons.append(say("backup.partial_window"))
    if NoteKind.HIDDEN_FOLDERS in kinds:
        reasons.append(say("backup.partial_hidden"))
    if kinds & {NoteKind.FOLDER_UNREADABLE, NoteKind.FOLDER_REFUSED}:
        reasons.append(say("backup.partial_folders"))
    source = step.tx.mailboxes.get(int(data["source"]))
    in_bin_since = data.get("in_bin_since")  # a rescue: what it held then is meant; what comes later lies there, alive
    stopped_at = datetime.fromisoformat(in_bin_since) if in_bin_since else stopped_receiving_at(step.tx, source)
    if stopped_at is None or stopped_at > datetime.fromisoformat(data["verified_from"]):
        reasons.append(say("backup.partial_receiving", source=source.address))
    return reasons


def stopped_receiving_at(tx: Transaction, source: Mailbox) -> datetime | None:
    """
    When a mailbox stopped receiving mail: when the member who owns it left, and nobody else was given the address.

    Never because a look-up found nobody: that has many causes.
    """
    owner = tx.members.find(source.owner) if source.owner is not None else None
    now_there = tx.mailboxes.at(source.address)
    given_on = now_there is not None and now_there.id != source.id and now_there.kind is not MailboxKind.UNSEEN
    return None if owner is None or given_on else owner.left_at


def give_receipt(job: JobContext) -> None:
    """Say what is where now, complete or partial and why, with the list as a file."""
    with job.services.store.begin() as tx:
        both = boxes(job, tx)
    ledger = ledger_of(job, both)
    refused, attached = receipts.refusals(ledger), receipts.attached(ledger)
    wrappable = len(receipts.refusals(ledger, content_only=True))
    with job.begin() as step:
        data = step.job.data
        started = datetime.fromisoformat(data["started_at"])
        partial = why_partial(step, len(refused))
        stored = sum(each["found"] for each in data["verification"]["folders"])
        verified = data["verification"]["ok"]
        title = say(
            "backup.receipt_title" if verified else "backup.receipt_not_verified",
            count=stored, source=data["source_address"], target=data["target_address"],
        )  # fmt: skip
        words = say(
            "backup.receipt", title=title, number=job.job_id, copied=data.get("copied", 0),
            already=data.get("already") or 0, refused=len(refused),
            size=receipts.size(int(data.get("copied_bytes", 0))),
            duration=receipts.duration(step.now - started), root=data["root"],
        )  # fmt: skip
        verdict = say("backup.complete") if not partial else say("backup.partial")
        reasons = [say("backup.partial_because", reason=each) for each in partial]
        if wrappable and not data.get("wrap"):
            reasons.append(say("backup.can_wrap", count=wrappable, number=job.job_id))
        notes = [note_words(each) for each in data.get("notes", [])]
        step.say(*put_away(step.tx, step.job, say("backup.finished"), title))
        exceptions = [say("backup.refused_mail", **each.shown()) for each in refused[: receipts.SHOWN_MAX]]
        if len(refused) > receipts.SHOWN_MAX:
            exceptions.append(say("backup.more_refused", count=len(refused) - receipts.SHOWN_MAX))
        exceptions += [say("backup.attached_mail", **each.shown()) for each in attached[: receipts.SHOWN_MAX]]
        if len(attached) > receipts.SHOWN_MAX:
            exceptions.append(say("backup.more_attached", count=len(attached) - receipts.SHOWN_MAX))
        step.say(Text(step.job.asked_by, lines(words, verdict, *reasons, *notes, *exceptions)))
        name = f"backup-{job.job_id}-{step.now.astimezone(job.services.settings.zone):%Y%m%d}.xlsx"
        step.say(File(step.job.asked_by, name, receipts.workbook(step.job, [*refused, *attached])))
        if data.get("owner") and data["owner"] != step.job.asked_by:
            step.say(Text(str(data["owner"]), title))
        outcome = {
            "copied": data.get("copied", 0),
            "refused": len(refused),
            "wrappable": wrappable,
            "attached": len(attached),
            "verified": verified,
            "complete": not partial,
            "against": [each.key for each in partial],
        }
        step.put(outcome=outcome)
        step.tx.audit.add("bot", "backup.receipt", data["source_address"], job=job.job_id, root=data["root"], **outcome)
        end_with(step, "done")


@router.command(
    "accept {job_id:int}", "接受 {job_id:int}", role="admin", topic="backup", example=("accept 12", "接受 12")
)
def accept(ctx: Context, job_id: int) -> list[Reply]:
    """Accept that the mails a backup lists as refused are not copied; then it may count as complete."""
    admin, job = ctx.require_admin(), ctx.tx.jobs.find(job_id)
    if job is None or job.kind != KIND:
        raise UserError(say("jobs.unknown", number=job_id))
    outcome = dict(job.data.get("outcome") or {})
    if job.state is not JobState.DONE or not outcome.get("refused") or outcome.get("accepted_by"):
        raise UserError(say("backup.nothing_to_accept", number=job_id))
    against = [each for each in outcome.get("against", ["?"]) if each != PARTIAL_REFUSED]
    outcome |= {"accepted_by": admin, "against": against, "complete": not against}
    ctx.tx.jobs.put(job, outcome=outcome)
    source, count = str(job.data["source_address"]), outcome["refused"]
    ctx.tx.audit.add(admin, "backup.accepted", source, job=job_id, refused=count, complete=not against)
    key = "backup.accepted_still_partial" if against else "backup.accepted_complete"
    words = say(key, number=job_id, count=count, name=ctx.directory.name(admin), source=source)
    return [Text(each, words) for each in dict.fromkeys((admin, job.asked_by))]


@router.command(
    "wrap {job_id:int}", "附件方式重发 {job_id:int}", role="admin", topic="backup",
    example=("wrap 12", "附件方式重发 12"),
)  # fmt: skip
def wrap(ctx: Context, job_id: int) -> list[Reply]:
    """Copy what the target does not take as it is as attachments of small mails."""
    admin, job = ctx.require_admin(), ctx.tx.jobs.find(job_id)
    if job is None or job.kind != KIND:
        raise UserError(say("jobs.unknown", number=job_id))
    outcome = job.data.get("outcome") or {}
    if job.state is not JobState.DONE or not outcome.get("wrappable"):
        raise UserError(say("backup.nothing_to_wrap", number=job_id))
    count = int(outcome["wrappable"])
    ctx.tx.audit.add(admin, "backup.wrap_asked", str(job.data["source_address"]), job=job_id, mails=count)
    copying.begin_again(ctx, job, wrap=True)
    return [Text(admin, say("backup.wrapping", number=job_id, count=count))]
