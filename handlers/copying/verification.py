"""
`verify 12`: months after a backup, whether everything it copied still lies in its target, unchanged.

A job of its own kind: start (the target is still the same mailbox), access (a password for it), check, cleanup.
"""

from __future__ import annotations

import asyncio

from bot.context import Context
from bot.errors import UserError
from bot.mail.verify import Verification, verify_copy
from bot.replies import Reply, Text
from bot.router import Router
from bot.words import lines, say
from bot.work import JobContext, Work
from handlers import addresses
from handlers.copying import copying, receipts
from handlers.copying.backup_access import get_access
from handlers.copying.connections import WANTED
from handlers.copying.copying import KIND, VERIFY_KIND

router = Router()
work = Work()


@router.command(
    "verify {job_id:int}", "核对 {job_id:int}", role="admin", topic="backup", example=("verify 12", "核对 12")
)
def verify_again(ctx: Context, job_id: int) -> list[Reply]:
    """Check an earlier backup again: is everything still there?"""
    old = ctx.tx.jobs.find(job_id)
    if old is None or old.kind != KIND or not old.data.get("outcome"):
        raise UserError(say("backup.nothing_to_verify", number=job_id))
    kept = ("source", "target", "source_address", "target_address", "root", "reason", "reader_names")
    job = ctx.tx.jobs.add(VERIFY_KIND, asked_by=ctx.sender, params={"backup": job_id})
    ctx.tx.jobs.put(job, asker_name=ctx.directory.name(ctx.sender), **{name: old.data[name] for name in kept})
    ctx.tx.audit.add(ctx.sender, "backup.verify_asked", old.data["target_address"], job=job.id, backup=job_id)
    ctx.start(job)
    return [Text(ctx.sender, say("backup.verifying", number=job_id, target=old.data["target_address"], job=job.id))]


@work.job(VERIFY_KIND, long=("check",))
def turn(job: JobContext) -> None:
    """One turn of a later check, by its stage."""
    stages: dict[str, copying.Stage] = {
        "start": find_target, "access": get_access, "check": check_ledger, "cleanup": copying.clean_up,
    }  # fmt: skip
    copying.one_turn(job, stages[job.stage])


work.failed(VERIFY_KIND)(copying.failed)


def find_target(job: JobContext) -> None:
    """The target, confirmed now: whoever opens it must be who has it today, and it must be the mailbox of then."""
    address = str(job.data["target_address"])
    found = addresses.find_mailbox(job, address, None)
    with job.begin() as step:
        if found.mailbox is not None and found.mailbox.id == step.job.data["target"]:
            step.go("access")
            return
        why = found.problem if found.mailbox is None else None
        copying.refuse(step, why or say("backup.target_changed", address=address, number=job.params["backup"]))


def compared(job: JobContext) -> Verification | None:
    """The target against the ledger of what was copied; None while the job waits for a password or a connection."""
    with job.services.store.begin() as tx:
        both = copying.boxes(job, tx)
    checked = copying.with_target(
        job,
        both,
        lambda target: asyncio.run(
            verify_copy(None, target, ledger=copying.ledger_of(job, both), give_up=copying.Unwanted(job))
        ),
    )
    if checked is None:
        return None
    with job.begin() as step:
        step.put(**{WANTED: False})
    return checked


def check_ledger(job: JobContext) -> None:
    """Whether it is all still there, and what differs."""
    checked = compared(job)
    if checked is None:
        return
    with job.begin() as step:
        target = str(step.job.data["target_address"])
        stored = sum(each.stored for each in checked.folders)
        missing = sum(each.missing + each.different for each in checked.folders)
        words = say(
            "backup.still_there" if checked.ok else "backup.not_all_there", number=job.params["backup"], count=stored,
            missing=missing, target=target,
        )  # fmt: skip
        step.say(Text(step.job.asked_by, lines(words, *checked.differences[: receipts.SHOWN_MAX])))
        step.tx.audit.add("bot", "backup.verified", target, backup=job.params["backup"], ok=checked.ok)
        copying.end_with(step, "done")
