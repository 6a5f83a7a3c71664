"""
After a domain's records are right: until the console takes the domain, and until the first mail arrives.

The console's button has no interface. A mailbox on the domain that WeCom has shown proves that it was pressed, and a
public one that it shows now receives the proof, a mail from outside. Where there is none, `probe@` is made if the
asker agrees: WeCom lets the app make it once it knows the domain, and refuses (680032) before.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.context import Context
from bot.messages import PublicMailArrived
from bot.replies import Reply, Text
from bot.router import Router
from bot.wecom import exmail
from bot.wecom.errcodes import Retry, WeComError
from bot.words import Words, as_json, lines, say
from bot.work import JobContext, JobStep, Work
from handlers import changes
from handlers.changes import Question
from handlers.copying import copying
from handlers.domain.domain_watch import KIND
from handlers.domain.domain_words import name_of
from handlers.handovers import handovers
from handlers.handovers.handovers import Check, Look
from handlers.public import public_shown
from storage.handovers import OPEN
from storage.models import HandoverState, MailboxKind

router = Router()
work = Work()

FOREIGN_DOMAIN, NO_ROOM = 680032, 680046
PROBE = "probe"  # what stands before the @ of the mailbox that is made to prove it
LOOKED_AT_MAX = 5  # public mailboxes on the domain
VERIFY_WITHIN = timedelta(days=14)
PROBE_WITHIN = timedelta(days=14)

changes.also_confirmed(KIND, "domain_verify")


def probe_of(job: JobContext) -> str:
    """The mailbox that is made where there is none."""
    return f"{PROBE}@{job.params['domain']}"


# --- what is there already -------------------------------------------------------------------------------------------


def on_domain(job: JobContext, *kinds: MailboxKind) -> list[str]:
    """Addresses on the domain that WeCom itself has told us of."""
    with job.services.store.begin() as tx:
        boxes = [each for each in tx.mailboxes.all() if each.kind in kinds and each.confirmed_at is not None]
        return [
            box.address
            for box in boxes
            if (box.kind is MailboxKind.MEMBER or box.public_id is not None)
            and box.address.partition("@")[2] == job.params["domain"]
        ]


def seen_there(job: JobContext) -> str | None:
    """
    The address of a public mailbox on the domain that WeCom shows now: its mail is seen to arrive.

    An alias does not count: WeCom's event does not say by which address a mail came.
    """
    known = on_domain(job, MailboxKind.PUBLIC)[:LOOKED_AT_MAX]
    for address in dict.fromkeys([*known, probe_of(job)]):
        shown = public_shown.shown(job, address)
        if shown is not None and shown[1].address.casefold() == address:
            return address
    return None


# --- the console's button --------------------------------------------------------------------------------------------


@handovers.check("domain_accepted")
def domain_accepted(job: JobContext, domain: str, userid: str) -> Look:
    """Whether WeCom lets the app have a mailbox on the domain: it is made, unless it is there."""
    address = f"{PROBE}@{domain}"
    if exmail.find_public_mailbox(job.client, address) is not None:
        return Look(True, say("domain_watch.saw_mailbox", address=address), {"mailbox": address})
    try:
        exmail.publicmail_create(job.client, address, f"Probe {domain}"[:60], userids=[userid])
    except WeComError as error:
        if error.errcode == FOREIGN_DOMAIN:
            return Look(False, say("domain_watch.saw_not_ours", domain=domain), {"errcode": error.errcode})
        if error.retry is not Retry.NEVER:
            raise
        key = "domain_watch.saw_no_room" if error.errcode == NO_ROOM else "domain_watch.saw_refused"
        return Look(None, say(key, address=address, code=error.errcode), {"errcode": error.errcode})
    return Look(True, say("domain_watch.saw_made", address=address), {"mailbox": address})


def verify(job: JobContext) -> None:
    """
    What is there already proves that the console has the domain; else the asker is asked, then the console.

    Comes again when `confirm` was said, and when the console step has ended.
    """
    if not job.data.get("confirmed"):
        there = seen_there(job)
        if there is not None:
            with job.begin() as step:
                use(step, there, own=there != probe_of(job))
        else:
            ask_for_probe(job)
        return
    if on_domain(job, MailboxKind.MEMBER):
        with job.begin() as step:
            use(step, probe_of(job), own=False)
        return
    hand_over(job)


def use(step: JobStep, address: str, *, own: bool) -> None:
    """This mailbox receives the proof; `own` is one that was not made for it."""
    step.put(proof=address, proof_own=own)
    step.tx.audit.add("bot", "domain.verified", str(step.job.params["domain"]), job=step.job.id, by=address)
    step.go("domain_probe")


def ask_for_probe(job: JobContext) -> None:
    """A public mailbox takes a place: it is made only if the asker agrees."""
    address, members = probe_of(job), on_domain(job, MailboxKind.MEMBER)
    room = public_shown.slots(job)
    with job.begin() as step:
        title = say("domain_watch.probe_title", address=address)
        step.put(title=as_json(title))
        known = [say("domain_watch.known_by", domain=name_of(step.job), address=members[0])] if members else []
        words = lines(*known, say("domain_watch.ask_probe", domain=name_of(step.job), address=address), room.words())
        question = Question(words, "domain", {}, hints=(say("domain_watch.or_your_own", domain=name_of(step.job)),))
        step.tx.jobs.wait(step.job, "confirm", expires_at=step.now + VERIFY_WITHIN)
        step.say(*changes.confirmation(step.job, question))


def hand_over(job: JobContext) -> None:
    """The handover for 完成配置,立即验证; its check, nobody's word, closes it."""
    name = str(job.params["domain"])
    with job.begin() as step:
        number = step.job.data.get("handover")
        handover = step.tx.handovers.get(int(number)) if number is not None else None
        if handover is None:
            asked = handovers.ask_for(
                step,
                title=say("domain_watch.verify_title", domain=name_of(step.job)),
                why=say("domain_watch.verify_why", number=step.job.id, address=f"{PROBE}@{name_of(step.job)}"),
                how=[
                    say("domain_watch.verify_path"),
                    say("domain_watch.verify_press", domain=name_of(step.job)),
                    say("domain_watch.verify_trap", domain=name_of(step.job)),
                ],
                values=[name_of(step.job)],
                check=Check("domain_accepted", {"domain": name, "userid": step.job.asked_by}),
                deadline_at=step.now + VERIFY_WITHIN,
                stage="domain_verify",
            )
            step.put(handover=asked.id)
        elif handover.state is HandoverState.DONE:
            use(step, probe_of(job), own=False)
        elif handover.state in OPEN:
            step.tx.jobs.wait(step.job, "domain_verify", expires_at=None)
        else:
            step.say(Text(step.job.asked_by, say("domain_watch.not_verified", domain=name_of(step.job))))
            copying.end_with(step, "expired")


# --- the proof -------------------------------------------------------------------------------------------------------


def probe(job: JobContext) -> None:
    """A mail from outside is asked for; its arrival ends the wait."""
    address = str(job.data.get("proof") or probe_of(job))
    refused = None
    shown = public_shown.shown(job, address)
    if shown is None and job.data.get("confirmed") and address == probe_of(job):
        with job.services.store.begin() as tx:
            asker = tx.jobs.get(job.job_id).asked_by
        look = domain_accepted(job, str(job.params["domain"]), asker)
        refused = None if look.holds else look.saw
        shown = public_shown.shown(job, address)
    with job.begin() as step:
        to = step.job.asked_by
        if shown is None:
            gone = say("domain_watch.probe_gone", address=address, number=step.job.id)
            step.say(Text(to, refused or gone))
            copying.end_with(step, "failed")
            return
        step.put(probe_public=shown[1].id, probe_asked_at=step.now.isoformat())
        told = say("domain_watch.send_mail", days=PROBE_WITHIN.days)
        if job.data.get("proof_own"):
            told = lines(say("domain_watch.known_by", domain=name_of(step.job), address=address), told)
        step.say(Text(to, told), Text(to, address))
        step.tx.jobs.wait(step.job, "domain_probe", expires_at=step.now + PROBE_WITHIN)


def proved(job: JobContext) -> None:
    """The domain is connected."""
    with job.begin() as step:
        data, name = step.job.data, str(step.job.params["domain"])
        arrived_at = datetime.fromisoformat(data["arrived_at"])
        waited = arrived_at - datetime.fromisoformat(data["probe_asked_at"])
        row = step.tx.domains.known(name, added_by=step.job.asked_by)
        row.connected_at = row.connected_at or arrived_at
        step.tx.audit.add("bot", "domain.connected", name, job=step.job.id)
        step.say(Text(step.job.asked_by, lines(*connected(step, waited))))
        copying.end_with(step, "done")


def connected(step: JobStep, waited: timedelta) -> list[Words]:
    """It works: how long it took, and what comes next."""
    minutes, seconds = divmod(int(waited.total_seconds()), 60)
    domain, address = name_of(step.job), step.job.data.get("proof") or f"{PROBE}@{step.job.params['domain']}"
    afterwards = say("domain_watch.afterwards", domain=domain)
    if step.job.data.get("proof_own"):  # others write to it, too
        return [
            say("domain_watch.arrived_own", domain=domain, address=address, minutes=minutes, seconds=seconds),
            afterwards,
        ]
    return [
        say("domain_watch.connected", domain=domain, minutes=minutes, seconds=seconds),
        afterwards,
        say("domain_watch.stays", address=address),
    ]


# --- the mail that proves it -----------------------------------------------------------------------------------------


@router.event(PublicMailArrived)
def mail_arrived(ctx: Context, message: PublicMailArrived) -> list[Reply]:
    """A public mailbox got mail: it is in use, and if it is one that proves a domain, the wait is over."""
    public_shown.mail_came(ctx, message.public_id)
    for job in ctx.tx.jobs.waiting_or_due(KIND):
        if job.data.get("probe_public") != message.public_id or job.stage not in ("domain_probe", "domain_imap"):
            continue
        ctx.tx.jobs.put(job, arrived_at=ctx.now.isoformat())
        if job.stage == "domain_probe":  # a look by IMAP that is under way goes on by itself
            ctx.tx.jobs.wake(job, "domain_proved")
            ctx.start(job)
    return []
