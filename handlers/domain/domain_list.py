"""`domain` alone: every domain that is looked after, with its state as it was last seen; long lists as a file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from bot.context import Context
from bot.dns import spf
from bot.dns.names import shown_name
from bot.dns.records import Wanted
from bot.replies import Reply, Text
from bot.router import Router
from bot.words import Words, lines, say
from bot.work import Work
from handlers.domain.domain import wanted_of
from handlers.domain.domain_watch import KIND
from handlers.handovers import handovers
from handlers.tables import table

if TYPE_CHECKING:
    from storage.store import Transaction

router = Router()
work = Work()

LISTED_MAX = 20
COLUMNS = ("Domain 域名", "State 状态", "MX", "Seen 查看时间", "First mail 首封来信", "Job 任务")


@router.command("domain|dns|domains", "域名", role="auditor", topic="domain", example=("domain", "域名"))
def domains(ctx: Context) -> list[Reply]:
    """Every domain I look at daily: green, red, being set up, or not looked at yet."""
    zone, language = ctx.settings.zone, ctx.language
    rows = {each.name: each for each in ctx.tx.domains.all()}
    jobs = {str(each.params["domain"]): each.id for each in ctx.tx.jobs.waiting_or_due(KIND) if each.stage != "cleanup"}
    names = list(dict.fromkeys([ctx.settings.exmail_domain, *rows, *jobs]))
    counted: dict[str, int] = {}
    told: list[Words] = []
    cells: list[list[str | int]] = []
    for name in names:
        row = rows.get(name)
        seen: Mapping[str, Any] | None = row.seen if row is not None else None
        state = state_of(ctx.tx, name, seen, watched=name in jobs)
        counted[state] = counted.get(state, 0) + 1
        seen_at = moment(row.seen_at if row is not None else None, zone)
        told.append(say(f"domain_list.line_{state}", domain=shown_name(name), at=seen_at, number=jobs.get(name, "-")))
        cells.append([
            shown_name(name), say(f"domain_list.{state}").text(language), ", ".join((seen or {}).get("MX") or []),
            seen_at, moment(row.connected_at if row is not None else None, zone), jobs.get(name, ""),
        ])  # fmt: skip
    heading = say("domain_list.heading", count=len(names), **{each: counted.get(each, 0) for each in STATES})
    if len(names) <= LISTED_MAX:
        return [Text(ctx.sender, lines(heading, *told, say("domain_list.more")))]
    return [Text(ctx.sender, heading), table(ctx.sender, "domains", "domains", COLUMNS, cells)]


STATES = ("green", "red", "watched", "unseen")


def moment(at: datetime | None, zone: ZoneInfo) -> str:
    """When, or nothing known."""
    return "-" if at is None else handovers.moment(at, zone)


def state_of(tx: Transaction, name: str, seen: Mapping[str, Any] | None, *, watched: bool) -> str:
    """One of STATES."""
    if watched:
        return "watched"
    if not seen or "MX" not in seen:
        return "unseen"
    return "green" if right(seen, wanted_of(tx, name)) else "red"


def right(seen: Mapping[str, Any], wanted: Wanted) -> bool:
    """Whether mail goes to Exmail alone, may be sent from it, and nothing stands beside it."""
    hosts = {str(each).partition(" ")[2] for each in seen["MX"]}
    sending = seen.get("SPF") or []
    return (
        bool(hosts)
        and hosts <= {each.host for each in wanted.mx}
        and len(sending) == 1
        and bool(spf.includes(sending[0]) & {wanted.spf, *wanted.spf_also})
        and not seen.get("CNAME")
    )
