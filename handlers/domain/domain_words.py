"""A domain's plan in words and on a card, and the exact fields of each provider's form."""

from __future__ import annotations

from collections.abc import Sequence

from bot.dns.names import shown_name
from bot.dns.plan import Kind, Plan
from bot.dns.providers import WITH_API, Provider
from bot.dns.records import Record, txt_parts
from bot.replies import Button, Card, Reply, Text
from bot.words import Words, lines, say
from storage.models import Job

VALUE_SHOWN_MAX = 90
FORMS = ("aliyun", "dnspod", "godaddy", "cloudflare", "other")


def about(job_id: int) -> str:
    """What the cards of a domain's job are about."""
    return f"domain-{job_id}"


def name_of(job: Job) -> str:
    """The domain as people read it."""
    return shown_name(str(job.params["domain"]))


def provider_words(provider: str) -> Words:
    """A provider's name."""
    return say(f"dns.provider_{provider}")


def difference(plan: Plan) -> list[Words]:
    """Every record of the plan, a line each: what comes, what goes, what stays."""
    told = []
    for change in plan.sets:
        for line in change.lines():
            if line.kind is Kind.KEEP and not (change.changes and change.type == "MX"):
                continue
            before = line.before
            if before is not None:
                told.append(say("domain_setup.line_replace", record=record_words(line.record), before=value_of(before)))
            else:
                told.append(say(f"domain_setup.line_{line.kind}", record=record_words(line.record)))
    return told


def record_words(record: Record) -> str:
    """A record in one line, the same in every language."""
    return f"{record.type} {record.host} {value_of(record)}"


def value_of(record: Record) -> str:
    """A value, with its priority, not too long for a phone."""
    value = record.value if len(record.value) <= VALUE_SHOWN_MAX else f"{record.value[:VALUE_SHOWN_MAX]}…"
    return value if record.priority is None else f"{value} ({record.priority})"


def plan_card(job: Job, to: str, provider: str, foreign: Sequence[str]) -> Card:
    """The card to agree with: through the provider's API, or by hand; other services' MX only by its own button."""
    number, buttons = job.id, []
    if provider in WITH_API:
        if foreign:
            buttons.append(Button(f"domain_write:{number}", say("domain_setup.button_write_remove"), style=2))
            buttons.append(Button(f"domain_keep:{number}", say("domain_setup.button_keep"), style=4))
        else:
            buttons.append(Button(f"domain_write:{number}", say("domain_setup.button_write")))
    buttons.append(Button(f"domain_hand:{number}", say("domain_setup.button_hand"), style=4))
    buttons.append(Button(f"cancel:{number}", say("domain_setup.button_cancel"), style=4))
    return Card(
        to,
        about(number),
        say("domain_setup.card_title", domain=name_of(job)),
        note=say("domain_setup.card_note", provider=provider_words(provider)),
        buttons=buttons,
    )


# --- by hand ---------------------------------------------------------------------------------------------------------


def by_hand(job: Job, plan: Plan, provider: str, to: str) -> list[Reply]:
    """Where to click, what to remove, then for each record its fields and the value to copy in a text of its own."""
    form = provider if provider in FORMS else Provider.OTHER
    lines_ = [line for change in plan.changes for line in change.lines()]
    gone = [each.record for each in lines_ if each.kind is Kind.REMOVE]
    gone += [each.before for each in lines_ if each.before is not None]
    told = [
        say("domain_form.head", domain=name_of(job), number=job.id),
        say(f"domain_form.path_{form}", zone=plan.zone),
    ]
    told += [say("domain_form.remove", record=record_words(each)) for each in gone]
    replies: list[Reply] = [Text(to, lines(*told))]
    for each in (line.record for line in lines_ if line.kind in (Kind.ADD, Kind.REPLACE)):
        minutes = max(10, (each.ttl or 600) // 60)
        if each.type == "MX":
            fields = say(f"domain_form.mx_{form}", host=each.host, minutes=minutes, priority=each.priority)
        else:
            fields = say(f"domain_form.txt_{form}", host=each.host, minutes=minutes)
        replies.append(Text(to, fields))
        replies.append(Text(to, each.value))
        if len(txt_parts(each.value)) > 1 and form == Provider.OTHER:
            replies.append(Text(to, say("domain_form.long")))
    replies.append(Text(to, say("domain_form.then", number=job.id)))
    return replies
