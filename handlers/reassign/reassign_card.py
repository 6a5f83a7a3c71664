"""What a change of owner says and shows: values of the job's row in, sentences and cards out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bot.replies import Button, Card, CardUpdate, Reply, Said
from bot.words import Words, from_json, say
from handlers.bin import recycle_bin
from storage.models import Job

if TYPE_CHECKING:
    from storage.store import Transaction


# --- in words --------------------------------------------------------------------------------------------------------


def what(data: Mapping[str, Any]) -> Words:
    """What would change hands, in one sentence."""
    key = (
        "reassign.what" if data["living"] else "reassign.what_public" if data.get("public") else "reassign.what_binned"
    )
    return say(key, address=data["source_address"], owner=data["owner_name"], name=data["new_name"])


def lost(data: Mapping[str, Any]) -> Words:
    """What the new owner loses, until when it can be saved, and where its mail goes before."""
    displaced = data["displaced"]
    if displaced is None:
        return say("reassign.nothing_lost", name=data["new_name"])
    values = {"displaced": displaced, "name": data["new_name"], "date": data["deletes_on"]}
    if data["into"] is None:
        return say("reassign.lost_without_backup", **values)
    return say("reassign.lost", **values, into=data["into"])


def alias_later(data: Mapping[str, Any]) -> list[Words]:
    """That the displaced address is to become an alias later, if that was chosen."""
    if not data.get("keep_alias"):
        return []
    return [say("reassign.alias_later", displaced=data["displaced"], address=data["source_address"])]


def gone(data: Mapping[str, Any]) -> Words:
    """Where the displaced mailbox lies now, until when, and where its mail is saved."""
    values = {"displaced": data["displaced"], "date": data["deletes_on"]}
    if data["into"] is None:
        return say("reassign.gone_unsaved", **values)
    return say("reassign.gone_saved", **values, into=data["into"])


def so_far(data: Mapping[str, Any]) -> list[Words]:
    """What was done before it stopped, and what that leaves in the bin."""
    steps = [from_json(each) for each in data.get("steps", [])]
    told = [say("reassign.so_far"), *steps] if steps else [say("reassign.nothing_done")]
    if data.get("source_deletes_at") and data.get("at_step") != "finish":
        date = day(datetime.fromisoformat(data["source_deletes_at"]))
        told.append(say("reassign.lies_in_bin", address=data["source_address"], date=date))
    return told


def details(job: Job) -> list[Words]:
    """What `job 12` says of it beside where it stands: the steps done, and which mailbox lies in the bin."""
    return so_far(job.data) if job.data.get("steps") else []


def day(at: datetime) -> str:
    """A day by the console's calendar."""
    return f"{at.astimezone(recycle_bin.SHANGHAI):%Y-%m-%d}"


# --- cards -----------------------------------------------------------------------------------------------------------


def about(job_id: int) -> str:
    """What the cards of a reassign are about."""
    return f"job-{job_id}"


def card_rows(data: Mapping[str, Any]) -> list[tuple[Words, Said]]:
    """The rows that every card of a reassign has."""
    whence = say("reassign.from_public" if data.get("public") else "reassign.from_bin")
    rows: list[tuple[Words, Said]] = [
        (say("reassign.row_from"), data["owner_name"] if data["living"] else whence),
        (say("reassign.row_to"), str(data["new_name"])),
    ]
    if data["displaced"] is not None:
        rows.append((say("reassign.row_lost"), str(data["displaced"])))
    return rows


def shown_card(job: Job) -> Card:
    """The card with Ask and Cancel, and the choice of an alias."""
    data = job.data
    rows = card_rows(data)
    kept = "on" if data["keep_alias"] else "off"
    buttons = [
        Button(f"reassign_ask:{job.id}", say("reassign.button_ask")),
        Button(f"cancel:{job.id}", say("jobs.button_cancel"), style=2),
    ]
    if data["displaced"] is not None:
        rows.append((say("reassign.row_dies"), str(data["deletes_on"])))
        rows.append((say("reassign.row_saved"), str(data["into"]) if data["into"] else say("reassign.not_saved")))
        buttons.insert(1, Button(f"reassign_alias:{job.id}", say(f"reassign.button_alias_{kept}"), style=2))
        rows.append((say("reassign.row_alias"), say(f"reassign.alias_{kept}")))
    return Card(
        job.asked_by,
        about(job.id),
        say("reassign.card_title", number=job.id),
        note=say("reassign.card_note", address=data["source_address"], name=data["new_name"]),
        rows=rows,
        buttons=buttons,
    )


def known_card(job: Job) -> Card:
    """The new owner's card with Acknowledge."""
    data, to = job.data, str(job.params["new_owner"])
    return Card(
        to,
        about(job.id),
        say("reassign.card_title", number=job.id),
        note=say("reassign.card_note", address=data["source_address"], name=data["new_name"]),
        rows=card_rows(data),
        buttons=[Button(f"reassign_ack:{job.id}", say("reassign.button_ack"))],
    )


def put_away(tx: Transaction, job: Job, done: Words, *, member: str | None = None) -> list[Reply]:
    """Every open card of the job (of one member) greyed."""
    title = say("reassign.card_title", number=job.id)
    return [
        CardUpdate(each.task_id, Card(each.member, about(job.id), title, done=done))
        for each in tx.cards.open_about(about(job.id), member)
    ]
