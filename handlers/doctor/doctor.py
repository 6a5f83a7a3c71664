"""
`doctor` in the chat: what the engineer sees on the machine, for the admins, and a link that proves the trusted domain.

A handler has no network, so it is a job: it looks, and says what is not fine.
"""

from __future__ import annotations

from bot.context import Context
from bot.delivery import language_of
from bot.doctor import checkup, report, settings
from bot.doctor.findings import Finding, Level
from bot.doctor.scrub import scrubbed, secrets_of
from bot.replies import File, Reply, Text
from bot.router import Router
from bot.wecom.limits import TEXT_BYTES
from bot.words import Language, Words, say
from bot.work import JobContext, JobStep, Work
from handlers.guide.help import packed
from storage.links import TEST_SIDE
from storage.models import JobState

router = Router()
work = Work()

KIND = "doctor"
SHOWN_MAX = 15
PAGE_NEVER = "page_never"


@router.command(
    "doctor [{form:report|file}]", "体检 [{form:报告|文件}]", role="admin", topic="help", example=("doctor", "体检")
)
def doctor(ctx: Context, form: str | None = None) -> list[Reply]:
    """Look at my own set-up, at WeCom and at the mail hosts, and say what to mend; `doctor report` makes a file."""
    admin = ctx.require_admin()
    job = ctx.tx.jobs.add(KIND, asked_by=admin, params={"report": form is not None})
    ctx.start(job)
    return [Text(admin, say("doctor.looking"))]


@work.job(KIND)
def look(job: JobContext) -> None:
    """Every check, outside any transaction; then what came of it."""
    findings = checkup.examine(job.services)
    with job.begin() as step:
        admin = step.job.asked_by
        language = language_of(step.tx, admin, step.services.settings)
        secrets = list(secrets_of(step.services.settings))
        step.say(*(Text(admin, scrubbed(each, secrets)) for each in told(findings, language)))
        if step.job.params["report"]:
            presence = settings.presence(step.services.settings)
            ticket = scrubbed(report.ticket(findings, presence), secrets)
            step.say(File(admin, "doctor.txt", ticket.encode("utf-8-sig")))
        step.say(test_link(step))
        step.tx.jobs.end(step.job, JobState.DONE)


def told(findings: list[Finding], language: Language) -> list[str]:
    """The sum, then what is wrong, then what deserves a look, in as few messages as it needs."""
    here = [each for each in findings if each.check != PAGE_NEVER]  # the link comes with this
    bad = [each for level in (Level.WRONG, Level.WARNING) for each in here if each.level is level]
    parts: list[Words] = [report.summary(here)]
    parts += [say(f"doctor.chat_{each.level}", what=each.words) for each in bad[:SHOWN_MAX]]
    if len(bad) > SHOWN_MAX:
        parts.append(say("doctor.chat_more", count=len(bad) - SHOWN_MAX))
    return packed([shortened(each.text(language)) for each in parts])


def shortened(text: str) -> str:
    """A finding as long as one message can be."""
    return text if len(text.encode()) <= TEXT_BYTES else text.encode()[: TEXT_BYTES - 3].decode("utf-8", "ignore") + "…"


def test_link(step: JobStep) -> Text:
    """A page of the admin's own that asks for nothing: that it opens is what is to be seen."""
    admin = step.job.asked_by
    token = step.tx.links.make(member=admin, job_id=step.job.id, mailbox_id=None, side=TEST_SIDE)
    return Text(admin, say("doctor.test_link", url=f"{step.services.settings.bot_public_url}/pages/{token}"), once=True)
