"""
The proof of a domain where WeCom's event does not come: after an hour the mailbox is looked into by IMAP, once.

Only with a client password that the bot may mint for it (`access.py`); it lives for that look. Whatever goes wrong,
the job goes on waiting for the event.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import structlog

from bot.errors import UpstreamError
from bot.mail.arrival import first_since
from bot.replies import Text
from bot.router import Router
from bot.words import say
from bot.work import JobContext, SweepStep, Work
from handlers.copying import access
from handlers.domain.domain_proof import probe_of
from handlers.domain.domain_watch import KIND
from storage.models import JobState

log = structlog.get_logger()
router = Router()
work = Work()

LOOK_AFTER = timedelta(hours=1)
SIDE: access.Side = "target"


@work.sweep("domain-imap", timedelta(minutes=10))
def begin(sweep: SweepStep) -> None:
    """Whose mail has not been seen for an hour."""
    for job in sweep.tx.jobs.waiting_or_due(KIND):
        if job.state is not JobState.WAITING or job.stage != "domain_probe" or job.data.get("imap_until"):
            continue
        if job.expires_at is None or datetime.fromisoformat(job.data["probe_asked_at"]) > sweep.tx.now - LOOK_AFTER:
            continue
        sweep.tx.jobs.put(job, imap_until=job.expires_at.isoformat())
        sweep.tx.jobs.wake(job, "domain_imap")
        sweep.start(job)


def look(job: JobContext) -> None:
    """One look; what was minted for it is deleted before anything is said."""
    address = str(job.data.get("proof") or probe_of(job))
    looked, came = False, None
    try:
        looked, came = look_into(job, address)
    except UpstreamError as error:
        log.warning("proof_not_looked_at", job_id=job.job_id, error=str(error))
    try:
        give_back(job)
    except UpstreamError as error:  # the hourly cleanup does it when the job is over
        log.warning("key_left", job_id=job.job_id, error=str(error))
    with job.begin() as step:
        if came is not None and "arrived_at" not in step.job.data:
            step.put(arrived_at=came.isoformat())
            step.tx.audit.add("bot", "domain.seen_by_imap", str(job.params["domain"]), job=step.job.id)
        if "arrived_at" in step.job.data:  # the event may have come meanwhile
            step.go("domain_proved")
            return
        if looked:
            step.say(Text(step.job.asked_by, say("domain_watch.imap_nothing", address=address, number=step.job.id)))
        until = datetime.fromisoformat(step.job.data["imap_until"])
        step.tx.jobs.wait(step.job, "domain_probe", expires_at=until)


def look_into(job: JobContext, address: str) -> tuple[bool, datetime | None]:
    """Whether the mailbox could be opened, and when the first mail came into it."""
    with job.services.store.begin() as tx:
        box = tx.mailboxes.at(address)
    if box is None or not box.managed or not access.mint(job, SIDE, box):
        return False, None
    asked_at = datetime.fromisoformat(job.data["probe_asked_at"])
    return True, asyncio.run(first_since(access.account(job, SIDE, box), asked_at))


def give_back(job: JobContext) -> None:
    """Delete what was minted; a provider's key that is kept on purpose stays."""
    with job.services.store.begin() as tx:
        minted = list(tx.passwords.minted_for(job.job_id))
        tx.passwords.forget(job.job_id, SIDE)
    for row in minted:
        access.delete_by_remark(job.services, row)
