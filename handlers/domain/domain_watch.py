"""
After the write: until the zone's own servers have it, and until the world sees it; then comes the proof
(`domain_proof.py`), whose mail arrives here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.dns import spf
from bot.dns.lookup import Question, Reading
from bot.dns.names import full_name
from bot.dns.plan import Plan, SetChange, is_dmarc
from bot.dns.records import same_dkim
from bot.dns.wire import Answer
from bot.replies import Text
from bot.words import say
from bot.work import JobContext, JobStep
from bot.workdays import may_speak_at, workdays
from handlers.copying import copying
from handlers.domain.domain import lookup_of, state_of
from handlers.domain.domain_words import name_of, record_words
from handlers.handovers import handovers

KIND = "domain"
EVERY_FIRST = timedelta(minutes=1)
EVERY_LATER = timedelta(minutes=10)
LOOKS_UNTIL_SLOWER = 45
WATCH_WITHIN = timedelta(days=14)
REMIND_AFTER_DAYS = (1, 3, 7)


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
        remind(step, began, sight, lacking(reading, plan))
        if step.now > began + WATCH_WITHIN:
            words = say("domain_watch.never_seen", domain=name_of(step.job), number=step.job.id)
            step.say(Text(asker, words))
            copying.end_with(step, "expired")
            return
        wait = EVERY_FIRST if looks < LOOKS_UNTIL_SLOWER else EVERY_LATER
        step.go("domain_watch", due_at=step.now + wait)


def lacking(reading: Reading, plan: Plan) -> list[str]:
    """What the zone's own servers do not say yet."""
    sets = [each for each in plan.changes if not everywhere(reading.own, each, reading.delegation.zone)]
    known = {(each.key, each.value, each.priority) for change in sets for each in change.before}
    return [
        record_words(each) for change in sets for each in change.after
        if (each.key, each.value, each.priority) not in known
    ]  # fmt: skip


def remind(step: JobStep, began: datetime, sight: Sight, lacking: Sequence[str]) -> None:
    """Nobody enters by hand what is to be entered: said again after some days, when people are at work."""
    data, now, zone = step.job.data, step.now, step.services.settings.zone
    due = sum(now >= began + timedelta(days=each) for each in REMIND_AFTER_DAYS)
    if not data.get("by_hand") or sight.own or due <= int(data.get("reminded") or 0):
        return
    if may_speak_at(now, zone, workdays()) > now:
        return
    step.put(reminded=due)
    words = say(
        "domain_watch.by_hand_waits", domain=name_of(step.job), number=step.job.id, records=list(lacking) or ["-"],
        until=handovers.moment(began + WATCH_WITHIN, zone),
    )  # fmt: skip
    step.say(Text(step.job.asked_by, words))


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
    return bool(values) and all(right(change, each) for each in values)


def right(change: SetChange, values: Sequence[str]) -> bool:
    """Whether a set does what was planned: MX exactly; of texts only those that mail servers read, however worded."""
    wanted = told(change)
    if change.type == "MX":
        return sorted(values) == sorted(wanted)
    planned, found = spf.spf_of(wanted), spf.spf_of(values)
    if planned and not (len(found) == 1 and spf.includes(planned[0]) <= spf.includes(found[0])):
        return False
    for each in wanted:
        if "._domainkey" in change.host and not any(same_dkim(each, other) for other in values):
            return False
        if is_dmarc(each) and sum(map(is_dmarc, values)) != 1:
            return False
    return True


def told(change: SetChange) -> list[str]:
    """A set as name servers tell it."""
    return [each.value if each.priority is None else f"{each.priority} {each.value}" for each in change.after]
