"""
`smtp test support@ to mei@`: a real mail through the real server, with a client password that lives for seconds.

The password is minted as for a backup (`access.py`: found again by its remark, revoked in any case). What the server
said is told in its own words; that the mail arrived is told only when something was seen: WeCom's event of a public
mailbox, or a member's unread mails. It is sent at most once: after a crash while sending nobody knows
whether it went out, and that is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP

import structlog

from bot.context import Context
from bot.delivery import language_of
from bot.errors import UserError
from bot.mail.smtp import Sent, SmtpAccount, send
from bot.replies import Reply, Text
from bot.router import Router
from bot.wecom import exmail
from bot.wecom.errcodes import Retry, WeComError
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, Work
from handlers import addresses
from handlers.copying import access
from handlers.public import public_shown
from storage.models import JobState, Mailbox, MailboxKind

log = structlog.get_logger()
router = Router()
work = Work()

KIND = "smtp_test"
LOOK_EVERY = timedelta(seconds=10)
ARRIVES_WITHIN = timedelta(minutes=2)


@router.command(
    "smtp test {source} to {target}", "测试发信|smtp测试 {source} 到|给|至 {target}", role="admin", topic="people",
    example=("smtp test support@ to mei@", "测试发信 support@ 到 mei@"),
)  # fmt: skip
def smtp_test(ctx: Context, source: str, target: str) -> list[Reply]:
    """Send a test mail from a public mailbox through SMTP, and tell what the server said and whether it arrived."""
    meant = ctx.directory.mailbox(source)
    box, to = meant.mailbox, ctx.directory.address(target) if "@" in target else str(ctx.directory.mailbox(target))
    if box is None or box.kind is not MailboxKind.PUBLIC:
        raise UserError(say("smtp_test.not_public", address=str(meant)))
    if to.partition("@")[2] not in ctx.directory.domains():
        raise UserError(say("directory.foreign_domain", address=to, domain=ctx.settings.exmail_domain))
    job = ctx.tx.jobs.add(KIND, asked_by=ctx.sender, params={"source": box.address, "target": to})
    ctx.tx.jobs.put(job, asker_name=ctx.directory.name(ctx.sender))
    ctx.tx.audit.add(ctx.sender, "smtp.asked", box.address, job=job.id, to=to)
    ctx.start(job)
    return [Text(ctx.sender, say("smtp_test.begins", source=box.address, target=to))]


# --- the job ---------------------------------------------------------------------------------------------------------


@work.job(KIND)
def turn(job: JobContext) -> None:
    """One turn, by its stage."""
    {"start": begin, "send": send_it, "arrive": watch, "cleanup": clean_up}[job.stage](job)


def begin(job: JobContext) -> None:
    """The mailbox as WeCom shows it, a password for it, and how things stand at the other end before."""
    box: Mailbox | None = None
    try:
        box = addresses.find_public(job, str(job.params["source"]))
    except WeComError as error:
        if error.retry is not Retry.NEVER:
            raise
        log.warning("public_mailbox_refused", errcode=error.errcode)
    if box is None or not access.mint(job, "source", box):
        end(job, say("smtp_test.not_managed", address=str(job.params["source"])))
        return
    before = unread_of(job, str(job.params["target"]))
    with job.begin() as step:
        step.put(box=box.id, unread=before)
        step.go("send")


def unread_of(job: JobContext, address: str) -> int | None:
    """How many unread mails the member of an address has; None when it is nobody's, or WeCom does not tell."""
    with job.services.store.begin() as tx:
        there = tx.mailboxes.at(address)
        owner = there.owner if there is not None else None
        public = there is not None and there.kind is MailboxKind.PUBLIC
    try:
        if owner is None and not public:
            owner = addresses.look_up(job, address)
        return exmail.mail_get_newcount(job.client, owner) if owner is not None else None
    except addresses.NoBudget:
        return None
    except WeComError as error:
        if error.retry is not Retry.NEVER:
            raise
        log.warning("unread_refused", errcode=error.errcode)
        return None


def send_it(job: JobContext) -> None:
    """
    Sent, the password revoked at once, and what the server said is told.

    The intent is written first; one that is there already was a try whose outcome is lost: no second one is made.
    """
    if job.data.get("sent_at"):
        lost(job)
        return
    settings = job.services.settings
    with job.services.store.begin() as tx:
        box = tx.mailboxes.get(int(job.data["box"]))
        secret = tx.passwords.find(job.job_id, "source")
        sent_at = tx.now.isoformat()
    if secret is None:  # given back meanwhile, before anything was sent
        end(job, say("smtp_test.interrupted", source=box.address, target=job.params["target"]))
        return
    with job.begin() as step:
        step.put(sent_at=sent_at)
    account = SmtpAccount(
        settings.exmail_smtp_host, settings.exmail_smtp_port, box.address, job.services.vault.open(secret.ciphertext),
        settings.exmail_smtp_tls,
    )  # fmt: skip
    outcome = send(account, str(job.params["target"]), letter(job, box, datetime.fromisoformat(sent_at)))
    problems = access.give_back(job.services, job.job_id)
    with job.begin() as step:
        tell_problems(step, problems)
        told = told_by_server(step, box, outcome)
        step.tx.audit.add(
            "bot", "smtp.sent" if outcome.stopped_at is None else "smtp.refused", box.address, job=job.job_id,
            to=job.params["target"], step=outcome.stopped_at, code=outcome.code, text=outcome.text,
        )  # fmt: skip
        step.say(Text(step.job.asked_by, told))
        step.go("arrive" if outcome.stopped_at is None else "cleanup")


def lost(job: JobContext) -> None:
    """Whether it went out is not known. The password is revoked, and whether it arrives is looked at all the same."""
    problems = access.give_back(job.services, job.job_id)
    with job.begin() as step:
        tell_problems(step, problems)
        source, target = str(step.job.params["source"]), str(step.job.params["target"])
        step.tx.audit.add("bot", "smtp.unknown", source, job=step.job.id, to=target)
        step.say(Text(step.job.asked_by, say("smtp_test.unknown", source=source, target=target)))
        step.go("arrive")


def tell_problems(step: JobStep, problems: Sequence[Words]) -> None:
    """A password that WeCom does not let us revoke is every admin's to know."""
    for problem in problems:
        step.say(*(Text(userid, problem) for userid in sorted({step.job.asked_by, *step.roles.admins})))


def letter(job: JobContext, box: Mailbox, at: datetime) -> bytes:
    """A mail that says what it is; the same one whenever it is built."""
    source, target = str(job.params["source"]), str(job.params["target"])
    with job.services.store.begin() as tx:
        language = language_of(tx, tx.jobs.get(job.job_id).asked_by, job.services.settings)
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"], mail["Date"] = source, target, at
    mail["Subject"] = subject(job.job_id).text(language)
    mail["Message-ID"] = f"<smtp-test-{job.job_id}.{int(at.timestamp())}@{box.address.partition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(say("smtp_test.body", source=source, name=str(job.data["asker_name"])).text(language))
    return mail.as_bytes()


def subject(number: int) -> Words:
    """What to look for."""
    return say("smtp_test.subject", number=number)


def told_by_server(step: JobStep, box: Mailbox, outcome: Sent) -> Words:
    """What the server said, in its words; where it stopped, why that may be and what to do."""
    settings, target = step.services.settings, str(step.job.params["target"])
    server = f"{settings.exmail_smtp_host}:{settings.exmail_smtp_port}"
    answer = f"{outcome.code} {outcome.text}" if outcome.code is not None else outcome.text
    if outcome.stopped_at is None:
        return say("smtp_test.taken", server=server, source=box.address, target=target, answer=answer)
    if outcome.trouble is not None:
        return say(f"smtp_test.trouble_{outcome.trouble}", server=server, answer=answer)
    told = [
        say(f"smtp_test.refused_{outcome.stopped_at}", server=server, address=box.address, target=target, answer=answer)
    ]
    if outcome.stopped_at == "login":
        told.append(say("smtp_test.switches", address=box.address))
    return lines(*told)


def watch(job: JobContext) -> None:
    """Whether it arrived, as far as that can be seen; for two minutes."""
    target, sent_at = str(job.params["target"]), datetime.fromisoformat(job.data["sent_at"])
    with job.services.store.begin() as tx:
        there = tx.mailboxes.at(target)
        public_id = there.public_id if there is not None else None
        heard = tx.moments.last(f"{public_shown.LAST_MAIL}{public_id}") if public_id is not None else None
        over = tx.now >= sent_at + ARRIVES_WITHIN
    before = job.data["unread"]
    now = unread_of(job, target) if before is not None else None
    if heard is not None and heard >= sent_at.replace(microsecond=0):
        end(job, say("smtp_test.arrived_public", target=target))
    elif now is not None and now > before:
        end(job, say("smtp_test.arrived_member", target=target, before=before, after=now))
    elif over or (public_id is None and before is None):
        key = "smtp_test.cannot_see" if public_id is None and before is None else "smtp_test.not_seen"
        end(job, say(key, target=target, subject=subject(job.job_id)))
    else:
        with job.begin() as step:
            step.go("arrive", due_at=step.now + LOOK_EVERY)


def end(job: JobContext, words: Words) -> None:
    """Said, and then no key is left behind."""
    with job.begin() as step:
        step.say(Text(step.job.asked_by, words))
        step.go("cleanup")


@work.failed(KIND)
def failed(step: JobStep, words: Words) -> None:
    """It cannot go on; what is left of keys is tried again every hour."""
    if step.job.stage == "cleanup":
        step.tx.jobs.end(step.job, JobState.FAILED, error=words.text("en"))
        return
    step.say(Text(step.job.asked_by, words))
    step.go("cleanup")
    step.job.error = words.text("en")


def clean_up(job: JobContext) -> None:
    """The password is revoked, if it was not yet."""
    problems = access.give_back(job.services, job.job_id)
    with job.begin() as step:
        tell_problems(step, problems)
        step.tx.jobs.end(step.job, JobState.FAILED if step.job.error else JobState.DONE, error=step.job.error)
