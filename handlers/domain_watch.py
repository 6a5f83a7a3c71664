"""
After the write: until the zone's own servers have it, until the world sees it, until the console takes the domain,
until the first mail arrives.

The console's button has no interface. What proves it is that WeCom lets the app make a mailbox on the domain, which it
refuses (680032) before; that mailbox then receives the proof, a mail from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.context import Context
from bot.dns.lookup import Question, Reading
from bot.dns.names import full_name
from bot.dns.plan import Plan, SetChange
from bot.dns.wire import Answer
from bot.replies import Reply, Text
from bot.wecom import exmail
from bot.wecom.errcodes import Retry, WeComError
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep
from handlers import addresses, copying, handovers
from handlers.domain import lookup_of, state_of
from handlers.domain_words import name_of
from handlers.handovers import Check, Look
from storage.handovers import OPEN
from storage.models import HandoverState

KIND = "domain"
FOREIGN_DOMAIN, NO_ROOM = 680032, 680046
PROBE = "probe"  # what stands before the @ of the mailbox that proves it
EVERY_FIRST = timedelta(minutes=1)
EVERY_LATER = timedelta(minutes=10)
LOOKS_UNTIL_SLOWER = 45
WATCH_WITHIN = timedelta(days=14)
VERIFY_WITHIN = timedelta(days=14)
PROBE_WITHIN = timedelta(days=14)


@dataclass(frozen=True)
class Sight:
    """How far a change has come: the zone's own servers, and the resolvers."""

    own: bool
    world: bool


# --- watching --------------------------------------------------------------------------------------------------------


def watch(job: JobContext) -> None:
    """One look; the next comes soon at first, then slower."""
    plan, name = Plan.from_json(job.data["plan"]), str(job.params["domain"])
    reading = lookup_of(job.services.settings).read(name, also=questions(plan, name))
    sight = seen(reading, plan.sets)
    with job.begin() as step:
        data, asker = step.job.data, step.job.asked_by
        began = datetime.fromisoformat(data.get("watched_since") or step.now.isoformat())
        looks = int(data.get("looks", 0)) + 1
        step.put(looks=looks, watched_since=began.isoformat())
        if sight.own and sight.world:
            row = step.tx.domains.known(name, added_by=asker)
            row.seen, row.seen_at = {**(row.seen or {}), **state_of(reading, dkim_of(plan))}, step.now
            step.tx.audit.add("bot", "domain.seen", name, job=step.job.id)
            step.say(Text(asker, say("domain_watch.green", domain=name_of(step.job))))
            step.go("domain_verify")
            return
        if sight.own and not data.get("own_since"):
            at = step.now + timedelta(seconds=int(data.get("ttl") or 0))
            step.put(own_since=step.now.isoformat(), world_by=at.isoformat())
            clock = handovers.moment(at, step.services.settings.zone)
            step.say(Text(asker, say("domain_watch.own_right", domain=name_of(step.job), at=clock)))
        if step.now > began + WATCH_WITHIN:
            words = say("domain_watch.never_seen", domain=name_of(step.job), number=step.job.id)
            step.say(Text(asker, words))
            copying.end_with(step, "expired")
            return
        wait = EVERY_FIRST if looks < LOOKS_UNTIL_SLOWER else EVERY_LATER
        step.go("domain_watch", due_at=step.now + wait)


def dkim_of(plan: Plan) -> list[Question]:
    """Where the plan has a DKIM key."""
    return [(full_name(each.host, plan.zone), each.type) for each in plan.sets if "._domainkey" in each.host]


def questions(plan: Plan, name: str) -> list[Question]:
    """What to ask beside MX and TXT of the domain itself."""
    asked = [(full_name(each.host, plan.zone), each.type) for each in plan.sets]
    return [each for each in asked if each not in ((name, "MX"), (name, "TXT"))]


def seen(reading: Reading, sets: Sequence[SetChange]) -> Sight:
    """Whether every server that answers says what was planned; resolvers alone count where no other can be reached."""
    zone = reading.delegation.zone
    own = all(everywhere(reading.own, each, zone) for each in sets)
    world = all(everywhere(reading.resolvers, each, zone) for each in sets)
    return Sight(own or (not reading.by_own() and world), world)


def everywhere(said: dict[str, dict[Question, Answer]], change: SetChange, zone: str) -> bool:
    """Whether all that answered have the set as it should be, and one did."""
    answers = [each.get((full_name(change.host, zone), change.type)) for each in said.values()]
    values = [each.values for each in answers if each is not None and each.answered]
    wanted = tuple(sorted(told(change)))
    return bool(values) and all(each == wanted for each in values)


def told(change: SetChange) -> list[str]:
    """A set as name servers tell it."""
    return [each.value if each.priority is None else f"{each.priority} {each.value}" for each in change.after]


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
                    say("domain_watch.verify_trap"),
                ],
                values=[name_of(step.job)],
                check=Check("domain_accepted", {"domain": name, "userid": step.job.asked_by}),
                deadline_at=step.now + VERIFY_WITHIN,
                stage="domain_verify",
            )
            step.put(handover=asked.id)
        elif handover.state is HandoverState.DONE:
            step.go("domain_probe")
        elif handover.state in OPEN:
            step.tx.jobs.wait(step.job, "domain_verify", expires_at=None)
        else:
            step.say(Text(step.job.asked_by, say("domain_watch.not_verified", domain=name_of(step.job))))
            copying.end_with(step, "expired")


# --- the proof -------------------------------------------------------------------------------------------------------


def probe(job: JobContext) -> None:
    """A mail from outside to the new mailbox is asked for; its arrival ends the wait."""
    address = f"{PROBE}@{job.params['domain']}"
    box = exmail.find_public_mailbox(job.client, address)
    with job.begin() as step:
        if box is None:
            words = say("domain_watch.probe_gone", address=address, number=step.job.id)
            step.say(Text(step.job.asked_by, words))
            copying.end_with(step, "failed")
            return
        addresses.keep_public(step.tx, box)
        step.put(probe_public=box.id, probe_asked_at=step.now.isoformat())
        step.say(
            Text(step.job.asked_by, say("domain_watch.send_mail", days=PROBE_WITHIN.days)),
            Text(step.job.asked_by, address),
        )
        step.tx.jobs.wait(step.job, "domain_probe", expires_at=step.now + PROBE_WITHIN)


def arrived(ctx: Context, public_id: int) -> list[Reply]:
    """A public mailbox got mail: if it is one that proves a domain, the wait is over."""
    for job in ctx.tx.jobs.waiting_or_due(KIND):
        if job.stage == "domain_probe" and job.data.get("probe_public") == public_id:
            ctx.tx.jobs.put(job, arrived_at=ctx.now.isoformat())
            ctx.tx.jobs.wake(job, "domain_proved")
            ctx.start(job)
    return []


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
    address = f"{PROBE}@{name_of(step.job)}"
    return [
        say("domain_watch.connected", domain=name_of(step.job), minutes=minutes, seconds=seconds),
        say("domain_watch.afterwards", domain=name_of(step.job), address=address),
    ]
