"""
转为公共邮箱: a mailbox in the recycle bin becomes a public one, with its mail; only the admin console can do it.

The proof is the mail API showing it, or, because an app may see only the public mailboxes it made itself, a login: who
can open it enters a client password on his page, and nobody can log in to a mailbox that lies in the bin.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from bot.context import job_start
from bot.mail.counts import OwnFolders, own_folders
from bot.mail.errors import LoginRefused
from bot.mail.session import MailAccount
from bot.replies import Text
from bot.words import Words, say
from bot.work import JobContext, JobStep
from handlers import addresses
from handlers.copying import access, copying
from handlers.copying.access import Side, refused_sides
from handlers.handovers import handovers
from handlers.handovers.handover_card import moment
from handlers.handovers.handovers import Check, Look, check, evidence
from storage.handovers import OPEN as STILL_OPEN
from storage.models import BinItem, BinState, Handover, HandoverState, Job, JobState, Mailbox, MailboxKind

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()

SLOTS_FREE = 3  # public mailboxes of a plan without advanced seats
TRIAL_DOMAINS = (".wecom.work", ".onexmail.com")
WATCH_EVERY = timedelta(minutes=1)
WITHIN = timedelta(days=14)  # if nothing is deleted before


def trial(address: str) -> bool:
    """Whether an address is of a trial domain, where the console makes no public mailbox of it."""
    return address.endswith(TRIAL_DOMAINS)


def needs(tx: Transaction) -> Words:
    """What the console wants for it: a free slot, as far as we see how many are taken."""
    known = len(tx.mailboxes.public())
    key = "conversion.needs_slot" if known < SLOTS_FREE else "conversion.needs_slot_probably_none"
    return say(key, known=known, free=SLOTS_FREE)


# --- looking ---------------------------------------------------------------------------------------------------------


@check("is_public")
def is_public(job: JobContext, address: str, wanted_by: int) -> Look:
    """Whether an address is a public mailbox's now: the mail API shows it, or a login to it worked."""
    found = addresses.seen_public(job, address)
    if found is not None:
        saw = say("conversion.saw_public", address=address, name=found.name or address)
        return Look(True, saw, {address: "public", "id": found.public_id})
    with job.services.store.begin() as tx:
        proof = tx.jobs.get(wanted_by).data.get("proof")
    if proof is None:
        return Look(None, say("conversion.saw_nothing", address=address), {address: None})
    at = moment(datetime.fromisoformat(proof), job.services.settings.zone)
    return Look(True, say("conversion.saw_login", address=address, at=at), {address: "login"})


def prove(job: JobContext) -> None:
    """Log in with what was entered on the page; then the handover is looked at again."""
    with job.services.store.begin() as tx:
        box = tx.mailboxes.get(int(job.data["source"]))
    if not logged_in(job, "source", box):
        return
    with job.begin() as step:
        step.put(proof=step.now.isoformat())
        step.tx.audit.add("bot", "conversion.login", box.address, job=job.job_id)
        handover_id = int(step.job.data["handovers"]["convert"])
        step.tx.jobs.wait(step.job, "convert", expires_at=None)
        asker = step.job.asked_by
    with job.services.store.begin() as tx:  # of its own: a look locks itself first, then who waits for it
        poll = tx.jobs.get(tx.handovers.peek(handover_id).check_job_id)
        if poll.state is JobState.DUE:
            tx.jobs.put(poll, askers=[{"by": asker, "task": None, "said": False}])
            tx.jobs.wake(poll, "check")
            job.starts.append(job_start(poll))


def logged_in(job: JobContext, side: Side, box: Mailbox) -> bool:
    """Whether a login to one side worked; if not, what has to follow is written down."""

    def look(accounts: Sequence[MailAccount], _: object) -> OwnFolders:
        return asyncio.run(own_folders(accounts[0]))

    return copying.logged_in(job, {side: box}, look, sides=(side,), most=1, on_refusal=refused_at(side)) is not None


def refused_at(side: Side) -> Callable[[JobContext, LoginRefused, Mapping[Side, Mailbox]], None]:
    """What follows a refused login to this side."""
    return lambda job, error, boxes: login_refused(job, side, boxes[side], error)


def login_refused(job: JobContext, side: Side, box: Mailbox, error: LoginRefused) -> None:
    """A login was refused: the password is forgotten, and a person asked for another."""
    with job.begin() as step:
        minted = step.tx.passwords.find(job.job_id, side)
        access.login_refused(step, side, box, error.words())
        if minted is not None and minted.given_by == "bot":
            step.go("access")
        else:
            copying.wait_for_access(step)


# --- the console's step ----------------------------------------------------------------------------------------------


def deadline(step: JobStep, item: BinItem | None) -> datetime:
    """Until when a console step makes sense: never longer than the mailbox is there."""
    wanted = step.now + WITHIN
    return wanted if item is None else max(step.now, min(wanted, item.deletes_at))


def ask_for_it(step: JobStep, item: BinItem | None, why: Words) -> None:
    """The handover: path, exact values, and that who asks must be able to open it."""
    data, asker = step.job.data, step.job.asked_by
    address, name = str(data["source_address"]), public_name(data)
    member = step.directory.name(asker)
    handovers.ask_for(
        step,
        title=say("conversion.title", address=address),
        why=why,
        how=[
            say("conversion.path"),
            say("conversion.how", address=address),
            say("conversion.name_and_members", name=name, member=member),
            say("conversion.refused", number=step.job.id),
        ],
        values=[address, name, member],
        check=Check("is_public", {"address": address, "wanted_by": step.job.id}),
        deadline_at=deadline(step, item),
        stage="convert",
        seen_before=evidence(step.now, Look(False, say("conversion.saw_bin", address=address), {address: "bin"})),
    )


def public_name(data: dict[str, Any]) -> str:
    """What the public mailbox is to be called."""
    return str(data.get("public_name") or str(data["source_address"]).partition("@")[0])


def living(tx: Transaction, item: BinItem | None) -> bool:
    """Whether the mail API showed it as a public mailbox since it came into the bin: it is there, whatever the date."""
    box = tx.recycle_bin.owners_since([item]).get(item.id) if item is not None else None
    return box is not None and box.kind is MailboxKind.PUBLIC


def is_done(step: JobStep, item: BinItem | None, handover: Handover) -> bool | None:
    """
    Whether it became public; None when the deadline has passed.

    Not yet: the job waits, or, when somebody says that it is done and the mail API does not show it, asks for a login.
    """
    if handover.state is HandoverState.DONE:
        return True
    if handover.state not in STILL_OPEN:
        return True if living(step.tx, item) else None
    if wants_proof(step.job.data, handover):
        said = handover.said_at.isoformat() if handover.said_at is not None else None
        box = step.tx.mailboxes.unseen(str(step.job.data["source_address"]))
        step.put(source=box.id, sides=["source"], proof_for=said, opener=handover.said_by, refused_sides={})
        step.go("access")
    else:
        step.tx.jobs.wait(step.job, "convert", expires_at=None)
    return False


def wants_proof(data: dict[str, Any], handover: Handover) -> bool:
    """Whether somebody said that it is done, I looked, and did not see it; once for each time he says so."""
    if handover.said_at is None or handover.looked_at is None or data.get("proof"):
        return False
    return handover.looked_at >= handover.said_at and data.get("proof_for") != handover.said_at.isoformat()


def became_public(step: JobStep, item: BinItem | None, handover: Handover) -> Mailbox:
    """It is another mailbox now, as our rows have it; the entry of the book follows it."""
    data = step.job.data
    opener = data.get("opener") or step.job.asked_by
    box = step.tx.mailboxes.converted(str(data["source_address"]), readers=[str(opener)])
    step.put(source=box.id, converted_at=step.now.isoformat())
    if item is not None and item.state is BinState.WAITING:
        item.mailbox_id = box.id
    step.tx.audit.add(
        "bot", "conversion.done", box.address, job=step.job.id, handover=handover.id, evidence=handover.after,
        managed=box.managed, item=item.id if item is not None else None,
    )  # fmt: skip
    return box


def not_seen(tx: Transaction, data: dict[str, Any]) -> None:
    """It never was: the row that was made to log in to it ends."""
    box = tx.mailboxes.at(str(data.get("source_address") or ""))
    if box is not None and box.kind is MailboxKind.UNSEEN and not data.get("converted_at"):
        tx.mailboxes.ended(box)


def out_of_bin(step: JobStep, item: BinItem | None, seen_by: str) -> None:
    """An entry whose mailbox was seen to be public has left the bin: nobody is reminded that it dies."""
    data = step.job.data
    if item is None or item.state is not BinState.WAITING or not data.get("converted_at"):
        return
    seen = {"public": data["source_address"], "seen_by": seen_by, "job": step.job.id}
    if step.tx.recycle_bin.close(item, BinState.ASSIGNED, by="bot", **seen):
        step.tx.audit.add("bot", "bin.assigned", str(item.address), item=item.id, **seen)
        if data.get("ending") != "done":
            step.say(Text(step.job.asked_by, say("conversion.left_the_bin", address=item.address)))


def next_stage(tx: Transaction, job: Job, stage: str) -> str | None:
    """Where a job that waits at the handover of `stage` goes now; None while it waits on."""
    number = (job.data.get("handovers") or {}).get(stage)
    if number is None:
        return None
    handover = tx.handovers.peek(int(number))
    if handover.state not in STILL_OPEN:
        return stage
    proof = job.stage == "convert" or (job.stage == "access" and refused_sides(job))  # somebody else can open it now
    return "convert" if proof and wants_proof(job.data, handover) else None


# --- what a rescue and a conversion have in common -------------------------------------------------------------------


def entry_of(tx: Transaction, data: Mapping[str, Any]) -> BinItem | None:
    """The entry of the book that a job is about, once the mailbox lies in the bin."""
    return tx.recycle_bin.find(int(data["item"])) if data.get("item") is not None else None


def clean_up(job: JobContext, finish: Callable[[JobStep], None]) -> None:
    """No key is left behind; what could not be deleted is told to the asker and to all admins. Then it ends."""
    problems = access.give_back(job.services, job.job_id)
    with job.begin() as step:
        for problem in problems:
            step.say(*(Text(userid, problem) for userid in sorted({step.job.asked_by, *step.roles.admins})))
        finish(step)


def failed(
    step: JobStep, words: Words, stop: Callable[[JobStep, Words], None], finish: Callable[[JobStep], None]
) -> None:
    """It cannot go on; in its cleanup it just ends, and what is left of keys is tried again every hour."""
    if step.job.stage != "cleanup":
        stop(step, words)
        return
    finish(step)
    step.job.error = step.job.error or words.text("en")


def nobody_waits(step: JobStep) -> None:
    """No question and no console step is open any more, and the book is told where the mailbox is."""
    step.tx.approvals.void(step.job.id)
    step.say(*handovers.withdraw(step.tx, step.job.id))
    not_seen(step.tx, step.job.data)
    out_of_bin(step, entry_of(step.tx, step.job.data), step.job.kind)
