"""
What `doctor --live` tries in a mailbox: one that the bot made itself, with a client password that lives for a minute.

Asked for in the chat (`doctor live`) or on the machine, which waits for this job. What was seen is kept as answers;
the folder and the mail that it takes are the bot's own and are removed again (`bot/mail/probe.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from bot.context import Context
from bot.delivery import language_of
from bot.doctor import checkup, live
from bot.mail.errors import MailError
from bot.mail.probe import Tried, probe
from bot.replies import Reply, Text
from bot.router import Router
from bot.words import Words, say
from bot.work import JobContext, JobStep, Work
from handlers import addresses
from handlers.copying import access
from handlers.copying.connections import Connections
from handlers.guide.help import packed
from storage.models import JobState, Mailbox

router = Router()
work = Work()

KIND = live.JOB
SIDE: access.Side = "target"
PROBE_NAME = "probe@"
TRIES_MAX = 6  # for a connection
AGAIN = timedelta(seconds=5)
NOT_ASKED = ("live.watched", "live.left")
ON_THE_MACHINE = live.ASKED_BY


@router.command("doctor live", "体检 实测", role="admin", topic="help", example=("doctor live", "体检 实测"))
def doctor_live(ctx: Context) -> list[Reply]:
    """Ask what only your organisation can tell: what WeCom lets me see, how the mail server behaves."""
    admin = ctx.require_admin()
    ctx.start(ctx.tx.jobs.add(KIND, asked_by=admin, params={}))
    return [Text(admin, say("live.looking"))]


@work.job(KIND)
def look(job: JobContext) -> None:
    """Tried in a mailbox, if there is one, then everything is told to who asked; no key is left behind."""
    if job.stage == "start":
        box = mailbox_of_ours(job)
        if box is None:
            note(job, no_mailbox=True)
        else:
            try_in(job, box)
        return
    problems = access.give_back(job.services, job.job_id)
    told = findings(job) if job.stage == "tell" else []
    with job.begin() as step:
        for problem in problems:
            step.say(*(Text(admin, problem) for admin in step.roles.admins))
        if told and step.job.asked_by != ON_THE_MACHINE:
            asker = step.job.asked_by
            language = language_of(step.tx, asker, step.services.settings)
            step.say(*(Text(asker, each) for each in packed([each.text(language) for each in told])))
        step.tx.jobs.end(step.job, JobState.DONE)


def mailbox_of_ours(job: JobContext) -> Mailbox | None:
    """A public mailbox that the bot made, that made for probes first; the archive, where there is none."""
    seen = addresses.public_mailboxes(job)
    archive = job.services.settings.exmail_archive_mailbox.casefold()
    with job.services.store.begin() as tx:
        made = tx.audit.subjects("public.created")
        shown = [box for each in seen if (box := addresses.keep_public(tx, each)).managed]
    ours = [each for each in shown if each.address in made or each.address.startswith(PROBE_NAME)]
    ours += [each for each in shown if each.address == archive]
    return next(iter(sorted(ours, key=lambda each: not each.address.startswith(PROBE_NAME))), None)


def try_in(job: JobContext, box: Mailbox) -> None:
    """With a password for this alone; what was seen is kept in the same transaction that goes on."""
    if not access.mint(job, SIDE, box):
        note(job, no_mailbox=True)
        return
    with Connections(job, least=1, most=job.services.settings.exmail_imap_connections_max) as connections:
        if not connections.count:
            wait(job)
            return
        try:
            tried = asyncio.run(probe(access.account(job, SIDE, box), connections=connections.count))
        except MailError as error:
            note(job, address=box.address, why=error.text)
            return
    with job.begin() as step:
        keep(step, tried)
        step.tx.audit.add("bot", "live.tried", box.address, job=step.job.id, left=tried.left)
        step.put(address=box.address, left=tried.left)
        step.go("tell")


def keep(step: JobStep, tried: Tried) -> None:
    """The answers; that all connections are allowed only when all were tried."""
    wanted = str(step.services.settings.exmail_imap_connections_max)
    for question, (yes, detail) in tried.answers.items():
        if question != "connections" or not yes or detail == wanted:
            step.tx.answers.saw(question, "yes" if yes else "no", detail, by="doctor")


def wait(job: JobContext) -> None:
    """Copies have every connection; a little later, and not for ever."""
    with job.begin() as step:
        tries = int(step.job.data.get("tries") or 0) + 1
        step.put(tries=tries, busy=tries >= TRIES_MAX)
        if tries >= TRIES_MAX:
            step.go("tell")
        else:
            step.go("start", due_at=step.now + AGAIN)


def note(job: JobContext, **why: object) -> None:
    """It was not tried, and why."""
    with job.begin() as step:
        step.put(**why)
        step.go("tell")


def findings(job: JobContext) -> Sequence[Words]:
    """What came of trying, then every question that has an answer, or might have; of the others how many there are."""
    found = [*live.outcome(dict(job.data)), *checkup.safely("live", lambda: live.ask(job.services))]
    told = [each.words for each in found if each.words.key not in NOT_ASKED]
    return [*told, say("live.not_asked", count=len(found) - len(told))]


@work.failed(KIND)
def failed(step: JobStep, words: Words) -> None:
    """It cannot go on; no key is left behind, and what is left is tried again every hour."""
    if step.job.stage == "cleanup":
        step.tx.jobs.end(step.job, JobState.FAILED, error=words.text("en"))
        return
    if step.job.asked_by != ON_THE_MACHINE:
        step.say(Text(step.job.asked_by, words))
    step.put(why=words.text("en"))
    step.go("cleanup")
