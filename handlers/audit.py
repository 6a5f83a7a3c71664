"""The audit chain in the chat: what was decided and done, newest last."""

from __future__ import annotations

from bot.context import Context
from bot.policy import Role
from bot.replies import Reply, Text
from bot.router import Router
from bot.words import lines, say
from bot.work import Work

router = Router()
work = Work()

SHOWN_MAX = 15
COUNT_MAX = 50


@router.command("audit [{count:int}]", "审计 [{count:int}]", role="auditor", topic="help", example=("audit", "审计"))
def audit(ctx: Context, count: int = SHOWN_MAX) -> list[Reply]:
    """What was decided and done last, and whether the record is unbroken."""
    ctx.require(Role.AUDITOR, Role.ADMIN, Role.SUPER_ADMIN)
    broken = ctx.tx.audit.broken_at()
    verdict = say("audit.holds") if broken is None else say("audit.broken", number=broken)
    entries = ctx.tx.audit.latest(min(max(count, 1), COUNT_MAX))
    shown = [
        f"{entry.at.astimezone(ctx.settings.zone):%m-%d %H:%M} {ctx.directory.name(entry.who)}: {entry.what}"
        f" {entry.subject}".rstrip()
        for entry in entries
    ]
    return [Text(ctx.sender, lines(*shown, verdict) if shown else lines(say("audit.empty"), verdict))]
