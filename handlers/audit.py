"""The audit chain in the chat: what was decided and done, newest last."""

from __future__ import annotations

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
    entries = ctx.tx.audit.latest(min(max(count, 1), COUNT_MAX))
    shown = [line_of(ctx, entry) for entry in entries]
    return [Text(ctx.sender, lines(*shown, verdict) if shown else lines(say("audit.empty"), verdict))]


def line_of(ctx: Context, entry: AuditEntry) -> Words:
    """An entry in one line: when, who, what, in which job."""
    who = say(f"audit.who_{entry.who}") if entry.who in NOBODY else ctx.directory.name(entry.who)
    at = f"{entry.at.astimezone(ctx.settings.zone):%m-%d %H:%M}"
    job = entry.detail.get("job")
    if job is None:
        return say("audit.line", at=at, who=who, what=event(ctx, entry))
    return say("audit.line_of_job", at=at, who=who, what=event(ctx, entry), job=job)


def event(ctx: Context, entry: AuditEntry) -> Words:
    """What happened, as a sentence; the event's own name where there is none."""
    key = f"audit.{entry.what.replace('.', '_')}"
    if key not in catalogue():
        return say("audit.unknown", what=entry.what, subject=entry.subject)
    member = ctx.directory.name(str(entry.detail.get("member") or entry.subject))
    return say(key, subject=entry.subject, number=entry.subject.rpartition(" ")[2], member=member)
