"""What DNS says about a mail domain: what works, what breaks mail, what is advice. A job that answers when it knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bot.context import Context
from bot.dns import spf
from bot.dns.lookup import Lookup, Reading
from bot.dns.names import BadName, ascii_name, full_name, shown_name
from bot.dns.providers import provider_of_all
from bot.dns.records import Finding, Level, Wanted, judge, standard
from bot.errors import UserError
from bot.replies import Reply, Text
from bot.router import Router
from bot.settings import Settings
from bot.words import Words, lines, say
from bot.work import JobContext, Work
from storage.models import JobState

if TYPE_CHECKING:
    from storage.store import Transaction

router = Router()
work = Work()

LOOK = "domain-look"
LEVELS = (Level.BREAKS, Level.WORKS, Level.ADVICE)
SERVERS_SHOWN_MAX = 4


def meant(typed: str) -> str:
    """The domain somebody meant; UserError when it cannot be one."""
    try:
        return ascii_name(typed)
    except BadName:
        raise UserError(say("domain.bad_name", typed=typed)) from None


def lookup_of(settings: Settings) -> Lookup:
    """Who is asked about domains; one for an errand."""
    return Lookup(settings.bot_dns_servers, port=settings.bot_dns_port)


@router.command(
    "domain|dns {domain}", "域名 {domain}", role="auditor", topic="domain", example=("domain corp.com", "域名 corp.com")
)
def domain(ctx: Context, domain: str) -> list[Reply]:
    """What a domain's DNS says about mail: what works, what breaks it, what to do."""
    name = meant(domain)
    ctx.start(ctx.tx.jobs.add(LOOK, asked_by=ctx.sender, params={"domain": name}))
    return [Text(ctx.sender, say("domain.looking", domain=shown_name(name)))]


@work.job(LOOK)
def look(job: JobContext) -> None:
    """Everything DNS says, in one message."""
    lookup, name = lookup_of(job.services.settings), str(job.params["domain"])
    with job.services.store.begin() as tx:
        wanted = wanted_of(tx, name)
    dkim = [(full_name(wanted.dkim[0], name), "TXT")] if wanted.dkim is not None else []
    reading = lookup.read(name, also=dkim)
    findings = judge(reading, wanted, fetch_with(lookup))
    with job.begin() as step:
        step.say(Text(step.job.asked_by, lines(*told(reading, findings))))
        step.tx.jobs.end(step.job, JobState.DONE)


def wanted_of(tx: Transaction, name: str) -> Wanted:
    """What a domain should have: the usual, but for what an admin has told."""
    row = tx.domains.find(name)
    return standard() if row is None else standard().with_changes(row.wanted)


def fetch_with(lookup: Lookup) -> spf.Fetch:
    """TXT records of what an SPF record includes; None when nobody answers."""

    def fetch(name: str) -> Sequence[str] | None:
        answer = lookup.texts(name.rstrip(".").lower())
        return answer.values if answer.answered else None

    return fetch


def state_of(reading: Reading, dkim: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """What is compared from day to day, as far as it could be asked now."""
    name, state = reading.domain, {}
    if reading.delegation.parent is not None and reading.delegation.servers:
        state["NS"] = [each.host for each in reading.delegation.servers]
    for label, question in (
        ("MX", (name, "MX")), ("SPF", (name, "TXT")), ("DMARC", (f"_dmarc.{name}", "TXT")), ("CNAME", (name, "CNAME")),
        *(("DKIM", each) for each in dkim),
    ):  # fmt: skip
        answer = reading.answer(*question)
        if answer is not None and reading.by_own():
            values = spf.spf_of(answer.values) if label == "SPF" else answer.values
            state[label] = sorted(values)
    return state


# --- in words --------------------------------------------------------------------------------------------------------


def told(reading: Reading, findings: Sequence[Finding]) -> list[Words]:
    """Who serves it, then what was found, the worst first; the trap where the domain is not at Exmail yet."""
    name = shown_name(reading.domain)
    said = [head(reading)]
    if reading.delegation.zone != reading.domain and reading.by_own():
        said.append(say("domain.within", zone=shown_name(reading.delegation.zone)))
    for level in LEVELS:
        found = [each for each in findings if each.level is level]
        if found:
            said.append(say(f"domain.part_{level}"))
            said += [say(f"domain.line_{level}", finding=in_words(each)) for each in found]
    if not any(each.level is Level.BREAKS for each in findings):
        said.append(say("domain.all_right", domain=name))
        return said
    said.append(say("domain.mend", domain=name))
    if any(each.key.startswith("mx_") for each in findings):
        said.append(say("domain.trap", domain=name))
    return said


def head(reading: Reading) -> Words:
    """The domain and who serves it."""
    name, hosts = shown_name(reading.domain), [each.host for each in reading.delegation.servers]
    if not hosts or not any("." in each for each in [reading.delegation.zone]):
        return say("domain.head_unknown", domain=name)
    provider, shown = provider_of_all(hosts), hosts[:SERVERS_SHOWN_MAX]
    if provider is None:
        return say("domain.head_mixed", domain=name, servers=shown)
    return say("domain.head", domain=name, provider=say(f"dns.provider_{provider}"), servers=shown)


def in_words(finding: Finding) -> Words:
    """A finding as a sentence; names as people read them."""
    values = {**finding.values, "domain": shown_name(str(finding.values["domain"]))}
    return say(f"dns.{finding.key}", **values)
