"""The providers' panels: what a person changes in a zone by hand."""

from __future__ import annotations

from typing import Any

from bot.sandbox.console import Console, Order, action
from bot.sandbox.dns.world import Zone, ZoneRecord
from bot.sandbox.organisation import ConsoleError

KINDS = ("MX", "TXT", "CNAME", "A", "AAAA")


def zone_of(console: Console, order: Order) -> Zone:
    """The zone an order names."""
    found = console.org.dns.zones.get((order.domain or "").lower())
    if found is None:
        raise ConsoleError(f"there is no zone {order.domain}")
    return found


def record_of(console: Console, order: Order) -> tuple[Zone, ZoneRecord]:
    """The record an order names: by its id, or by type, host and the beginning of its value."""
    zone = zone_of(console, order)
    for each in zone.records:
        like = (order.record_type, order.host or "@") == (each.type, each.host)
        if each.id == order.record or (order.record is None and like and each.value.startswith(order.text or "")):
            return zone, each
    raise ConsoleError(f"{zone.name} has no record {order.record or f'{order.record_type} {order.host} {order.text}'}")


@action("domain, record_type, host, text; priority, ttl")
async def dns_add(console: Console, order: Order) -> dict[str, Any]:
    """添加记录 in the panel of a zone's DNS provider."""
    zone, kind = zone_of(console, order), (order.record_type or "").upper()
    if kind not in KINDS or not order.text:
        raise ConsoleError(f"a record has one of the types {', '.join(KINDS)}, and a value")
    if kind == "MX" and order.priority is None:
        raise ConsoleError("an MX record has a priority")
    value = order.text.rstrip(".") if kind in ("MX", "CNAME") else order.text
    record = console.org.dns.put(
        zone, kind, (order.host or "@").lower(), value, priority=order.priority, ttl=order.ttl or 600
    )
    return {"record": record.id}


@action("domain, record; or record_type, host, text (how its value begins)")
async def dns_remove(console: Console, order: Order) -> dict[str, Any]:
    """删除记录 in the panel of a zone's DNS provider."""
    zone, record = record_of(console, order)
    console.org.dns.drop(zone, record)
    return {"removed": record.id}


@action("nothing")
async def dns_forget(console: Console, order: Order) -> dict[str, Any]:
    """All resolvers forget what they remember, as if every TTL were over."""
    for each in console.org.dns.resolvers:
        each.forget()
    return {"forgotten": len(console.org.dns.resolvers)}
