"""
A rescue as a public mailbox: the console makes it one, then an ordinary backup copies and compares it.

Only that can be complete, and ends the reminders.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from bot.replies import Text
from bot.words import say
from bot.work import JobContext, JobStep
from handlers.bin import conversion, recycle_bin
from handlers.copying import copying
from handlers.handovers import handovers
from handlers.rescue import aftermath
from handlers.rescue.rescue_choice import (
    entry_of,
    not_in_time,
    still_agreed,
)
from storage.jobs import OPEN
from storage.models import (
    BinState,
    Job,
)

if TYPE_CHECKING:
    pass

SAVING_WITHIN = timedelta(days=30)  # of a mailbox that is public by now: nothing deletes it


def convert(job: JobContext) -> None:
    """转为公共邮箱, seen by the mail API or by a login; from then on nothing deletes it."""
    with job.begin() as step:
        item = entry_of(step.tx, step.job.data)
        handover = handovers.of_stage(step, "convert")
        if handover is None:
            if not still_agreed(step, item):
                return
            why = say("rescue.convert_why", number=step.job.id, moment=recycle_bin.moment_of(item))
            conversion.ask_for_it(step, item, why)
            return
        done = conversion.is_done(step, item, handover)
        if done:
            box = conversion.became_public(step, item, handover)
            step.say(Text(step.job.asked_by, say("rescue.converted", address=box.address, number=step.job.id)))
            step.go("saving")
        elif done is None:
            not_in_time(step, item, handover)


def save(job: JobContext) -> None:
    """The ordinary backup of the public mailbox it became: complete and verified, or it is waited for."""
    with job.begin() as step:
        data = step.job.data
        if data.get("backup") is None:
            if not still_agreed(step, entry_of(step.tx, data)):
                return
            step.put(backup=start_backup(step))
            step.tx.jobs.wait(step.job, "saving", expires_at=step.now + SAVING_WITHIN)
            return
        child = step.tx.jobs.get(int(data["backup"]))
        if child.state not in OPEN and (child.data.get("outcome") or {}).get("complete") is True:
            safe(step, child)
            return
        if child.state not in OPEN and data.get("noted") != ending_of(child):
            step.put(noted=ending_of(child))
            step.say(
                Text(step.job.asked_by, say("rescue.not_complete", backup=child.id, address=data["source_address"]))
            )
        step.tx.jobs.wait(step.job, "saving", expires_at=step.now + SAVING_WITHIN)


def ending_of(child: Job) -> str:
    """How a backup ended, so that the same ending is told once."""
    outcome = child.data.get("outcome") or {}
    return f"{child.finished_at} {outcome.get('complete')} {outcome.get('accepted_by')}"


def start_backup(step: JobStep) -> int:
    """The backup; a password that was entered to prove the conversion opens its source, too."""
    data, job, item = step.job.data, step.job, entry_of(step.tx, step.job.data)
    reason = say("rescue.backup_reason", number=job.id, reason=data["reason"])
    target = step.tx.mailboxes.get(int(data["target"]))
    child = copying.add_job(
        step.tx, asked_by=job.asked_by, asker_name=str(data["asker_name"]),
        reason=reason.text(step.services.settings.bot_language), rescue=job.id,
        source={"address": data["source_address"], "userid": None},
        target={"address": target.address, "userid": None},
    )  # fmt: skip
    step.tx.jobs.put(child, rescue=job.id, in_bin_since=item.entered_at.isoformat())
    entered = step.tx.passwords.find(job.id, "source")
    if entered is not None:
        step.tx.passwords.keep(child.id, "source", given_by=entered.given_by, ciphertext=entered.ciphertext)
        step.tx.passwords.forget(job.id, "source")
    step.start(child)
    words = say("rescue.backup_started", address=data["source_address"], target=target.address, backup=child.id)
    step.say(Text(job.asked_by, words))
    return child.id


def safe(step: JobStep, child: Job) -> None:
    """Complete and verified: the entry is closed, nobody is reminded any more; then what becomes of the mailbox?"""
    data, item = step.job.data, entry_of(step.tx, step.job.data)
    if step.tx.recycle_bin.close(item, BinState.SAFE, by="bot", job=child.id, rescue=step.job.id):
        step.tx.audit.add("bot", "bin.safe", str(item.address), item=item.id, job=child.id, rescue=step.job.id)
    step.put(outcome=child.data["outcome"])
    step.tx.audit.add("bot", "rescue.safe", str(item.address), job=step.job.id, backup=child.id)
    words = say("rescue.safe", address=item.address, target=data["target_address"], backup=child.id)
    step.say(Text(step.job.asked_by, words), *aftermath.offer(step))
    copying.end_with(step, "done")
