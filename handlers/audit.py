"""The audit chain in the chat: what was decided and done, newest last."""

from __future__ import annotations

from collections.abc import Mapping

from bot.context import Context
from bot.policy import Role
from bot.replies import Reply, Text
from bot.router import Router
from bot.words import Words, catalogue, lines, say
from bot.work import Work
from storage.models import AuditEntry

router = Router()
work = Work()

SHOWN_MAX = 15
COUNT_MAX = 50
NOBODY = ("bot", "wecom")  # no member


@router.command("audit [{count:int}]", "审计 [{count:int}]", role="auditor", topic="help", example=("audit", "审计"))
def audit(ctx: Context, count: int = SHOWN_MAX) -> list[Reply]:
    """What was decided and done last, and whether the record is unbroken."""
    ctx.require(Role.AUDITOR, Role.ADMIN, Role.SUPER_ADMIN)
    broken = ctx.tx.audit.broken_at()
    verdict = say("audit.holds") if broken is None else say("audit.broken", number=broken)
    entries, called = ctx.tx.audit.latest(min(max(count, 1), COUNT_MAX)), ctx.tx.audit.renames()
    shown = [line_of(ctx, entry, called) for entry in entries]
    return [Text(ctx.sender, lines(*shown, verdict) if shown else lines(say("audit.empty"), verdict))]


def name_of(ctx: Context, userid: str, called: Mapping[str, str]) -> Words | str:
    """What to call a member; who has another userid by now, with both: the record keeps the one of then."""
    now = called.get(userid.casefold())
    if now is None:
        return ctx.directory.name(userid)
    return say("audit.renamed", name=ctx.directory.name(now), now=now, then=userid)


def line_of(ctx: Context, entry: AuditEntry, called: Mapping[str, str]) -> Words:
    """An entry in one line: when, who, what, in which job."""
    who = say(f"audit.who_{entry.who}") if entry.who in NOBODY else name_of(ctx, entry.who, called)
    at = f"{entry.at.astimezone(ctx.settings.zone):%m-%d %H:%M}"
    job = entry.detail.get("job")
    if job is None:
        return say("audit.line", at=at, who=who, what=event(ctx, entry, called))
    return say("audit.line_of_job", at=at, who=who, what=event(ctx, entry, called), job=job)


def event(ctx: Context, entry: AuditEntry, called: Mapping[str, str]) -> Words:
    """What happened, as a sentence; the event's own name where there is none."""
    key = f"audit.{entry.what.replace('.', '_')}"
    if key not in catalogue():
        return say("audit.unknown", what=entry.what, subject=entry.subject)
    member = name_of(ctx, str(entry.detail.get("member") or entry.subject), called)
    return say(key, subject=entry.subject, number=entry.subject.rpartition(" ")[2], member=member)
