"""The card of a backup: preview, question, progress, receipt. Values of the job's row in, a card out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from bot.context import Context
from bot.replies import Button, Card, CardUpdate, Reply
from bot.wecom.limits import SHOWN_CHARACTERS
from bot.words import LANGUAGES, Words, say
from handlers.copying import receipts
from storage.models import Job

if TYPE_CHECKING:
    from storage.store import Transaction

MADE_IN_CONSOLE = "public, made in the console"  # among the facts: WeCom shows nobody who can open it
NOTE_CHARACTERS = SHOWN_CHARACTERS["sub_title_text"]


def about(job_id: int) -> str:
    """What the cards of a job are about."""
    return f"job-{job_id}"


def title(job: Job) -> Words:
    """The first line of every card of a job."""
    return say("backup.card_title", number=job.id)


def readers(data: Mapping[str, Any]) -> Words:
    """Who can read the mail in its target, or that WeCom does not tell."""
    named = list(data.get("reader_names", []))
    if named and (data.get("facts") or {}).get("target_kind") == MADE_IN_CONSOLE:
        return say("backup.readers_perhaps_more", names=named, target=data["target_address"])
    return say("backup.readers", names=named) if named else say("backup.readers_unknown", target=data["target_address"])


def fitting(*notes: Words) -> Words:
    """The first of several notes, the longest first, that a phone shows whole in every language; else the last."""
    return next(
        (note for note in notes if all(len(note.text(each)) <= NOTE_CHARACTERS for each in LANGUAGES)), notes[-1]
    )


def asked_card(job: Job, owner: str) -> Card:
    """Waits for the owner's consent; the manager can be asked instead."""
    return Card(
        job.asked_by,
        about(job.id),
        title(job),
        note=say("backup.asked_owner", owner=owner, source=job.data["source_address"]),
        buttons=[
            Button(f"by_manager:{job.id}", say("backup.button_manager"), style=2),
            Button(f"cancel:{job.id}", say("jobs.button_cancel"), style=2),
        ],
    )


def preview_card(job: Job, warnings: int) -> Card:
    """What would be copied, with Start, Check again and Cancel."""
    data, plan = job.data, job.data["plan"]
    begin = say("backup.preview_warned", count=warnings) if warnings else say("backup.preview_plain")
    named = list(data.get("reader_names", []))
    known = say("backup.note_readers", begin=begin, names=named)
    counted = say("backup.note_readers_counted", begin=begin, count=len(named))
    size = receipts.size(plan["size_bytes"])
    if plan["mails_there"]:
        size_row: Words | str = say("backup.size_new", size=size, mails=max(0, plan["mails"] - plan["mails_there"]))
    else:
        size_row = size
    return Card(
        job.asked_by,
        about(job.id),
        title(job),
        note=fitting(known, counted) if named else say("backup.note_readers_unknown", begin=begin),
        rows=[
            (say("backup.row_from"), data["source_address"]),
            (say("backup.row_to"), data["target_address"]),
            (say("backup.row_mails"), say("backup.mails_in_folders", mails=plan["mails"], folders=plan["folders"])),
            (say("backup.row_size"), size_row),
            (say("backup.row_oldest"), (plan["oldest"] or "-")[:10]),
            (say("backup.row_room"), room(plan)),
        ],
        buttons=[
            Button(f"start:{job.id}", say("backup.button_start")),
            Button(f"check:{job.id}", say("backup.button_check"), style=4),
            Button(f"cancel:{job.id}", say("jobs.button_cancel"), style=2),
        ],
    )


def room(plan: Mapping[str, Any]) -> Words:
    """How full the target is now and how large it may be."""
    return say("backup.room", used=receipts.size(plan["target_bytes"]), quota=receipts.size(plan["quota_bytes"]))


def sure_card(job: Job, to: str, archive: str) -> Card:
    """The second question, for a target that would be nearly full."""
    return Card(
        to,
        about(job.id),
        title(job),
        note=say("backup.tight_sure", target=job.data["target_address"], archive=archive or "archive@"),
        buttons=[
            Button(f"start:{job.id}:anyway", say("backup.button_anyway"), style=2),
            Button(f"cancel:{job.id}", say("jobs.button_cancel")),
        ],
    )


def progress_card(job: Job, to: str, now: datetime, zone: ZoneInfo) -> Card:
    """How far it is, with Refresh."""
    progress = job.data.get("progress") or {}
    done, left = int(progress.get("done", 0)), int(progress.get("left", job.data["plan"]["mails"]))
    rate = float(progress.get("rate", 0))
    remaining: Words | str
    if not left:
        remaining = say("backup.comparing")
    elif rate:
        remaining = receipts.duration(timedelta(seconds=left / rate))
    else:
        remaining = say("backup.unknown_time")
    return Card(
        to,
        about(job.id),
        title(job),
        note=say("backup.copying", source=job.data["source_address"], target=job.data["target_address"]),
        rows=[
            (say("backup.row_done"), say("backup.done_of", done=done, all=done + left)),
            (say("backup.row_rate"), say("backup.a_second", rate=f"{rate:.1f}")),
            (say("backup.row_left"), remaining),
            (say("backup.row_at"), f"{now.astimezone(zone):%H:%M:%S}"),
        ],
        buttons=[
            Button(f"refresh:{job.id}", say("backup.button_refresh")),
            Button(f"cancel:{job.id}", say("jobs.button_cancel"), style=2),
        ],
    )


def closed_card(job: Job, to: str, done: Words, note: Words | None = None) -> Card:
    """A card that can be pressed no more, and why."""
    return Card(to, about(job.id), title(job), note=note, done=done)


def redrawn(ctx: Context, job: Job, card: Card) -> list[Reply]:
    """
    The card that was pressed drawn anew, every other card of the job greyed; a new card when words were typed.

    So a redraw uses up the code of a click, and the code of the sending is left for the last one.
    """
    first: Reply = card if ctx.task_id is None else CardUpdate(ctx.task_id, card, otherwise=card.note)
    return [*put_away(ctx.tx, job, say("backup.replaced"), but=ctx.task_id), first]


def put_away(
    tx: Transaction, job: Job, done: Words, note: Words | None = None, *, but: str | None = None
) -> list[Reply]:
    """Every open card of a job greyed, to be pressed no more."""
    return [
        CardUpdate(each.task_id, closed_card(job, each.member, done, note))
        for each in tx.cards.open_about(about(job.id))
        if each.task_id != but
    ]
