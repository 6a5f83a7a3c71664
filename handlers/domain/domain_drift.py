"""
The daily look at every known domain: what changed since yesterday is told to the admins, once, with before and after.

What could not be asked does not count as changed, and a domain that is being set up is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from bot.dns.names import full_name, shown_name
from bot.replies import Text
from bot.router import Router
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, SweepStep, Work
from handlers.domain.domain import lookup_of, state_of, wanted_of
from handlers.domain.domain_watch import KIND as SETUP_KIND
from storage.models import JobState

router = Router()
work = Work()

KIND = "domain-drift"
DOMAINS_MAX = 2000
SHOWN_MAX = 20
NOTHING = "-"


@work.sweep(KIND, timedelta(days=1))
def every_day(sweep: SweepStep) -> None:
    """One look at all of them."""
    if not sweep.tx.jobs.running(KIND):
        sweep.start(sweep.tx.jobs.add(KIND, asked_by="bot", params={}))


@work.job(KIND)
def look(job: JobContext) -> None:
    """Read them all, then compare in one transaction."""
    settings = job.services.settings
    with job.services.store.begin() as tx:
        names = list(dict.fromkeys([settings.exmail_domain, *(each.name for each in tx.domains.all())]))[:DOMAINS_MAX]
        busy = {each.params["domain"] for each in tx.jobs.waiting_or_due(SETUP_KIND)}
        dkim = {each: wanted_of(tx, each).dkim for each in names}
    lookup = lookup_of(settings)
    also = {name: [(full_name(each[0], name), "TXT")] for name, each in dkim.items() if each is not None}
    seen = {
        reading.domain: state_of(reading, also.get(reading.domain, []))
        for reading in lookup.read_many([each for each in names if each not in busy], also)
    }
    with job.begin() as step:
        told = [words for name, state in seen.items() for words in compare(step, name, state)]
        if told:
            more = [say("domain_drift.more", count=len(told) - SHOWN_MAX)] if len(told) > SHOWN_MAX else []
            words = lines(say("domain_drift.head"), *told[:SHOWN_MAX], *more)
            step.say(*(Text(each, words) for each in step.roles.admins))
        step.tx.jobs.end(step.job, JobState.DONE)


def compare(step: JobStep, name: str, state: Mapping[str, list[str]]) -> list[Words]:
    """What differs from what was seen last; it is what the next look compares with."""
    row = step.tx.domains.known(name, added_by="bot")
    before: dict[str, Any] = dict(row.seen or {})
    changed = [each for each in state if each in before and before[each] != state[each]]
    row.seen, row.seen_at = {**before, **state}, step.now
    if not changed:
        return []
    step.tx.audit.add(
        "bot", "domain.changed", name, before={each: before[each] for each in changed},
        after={each: state[each] for each in changed},
    )  # fmt: skip
    domain = shown_name(name)
    return [
        say(
            "domain_drift.line",
            domain=domain,
            what=each,
            before=before[each] or [NOTHING],
            after=state[each] or [NOTHING],
        )
        for each in changed
    ]
