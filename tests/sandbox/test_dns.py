"""The simulated DNS answers like name servers do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from bot.dns.lookup import Lookup
from bot.sandbox.dns.server import DnsServers
from bot.sandbox.dns.world import DnsWorld


class Clock:
    """Stands still until moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 2, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def served() -> Iterator[tuple[DnsWorld, DnsServers, Clock]]:
    """Servers in a loop of their own."""
    clock = Clock()
    world = DnsWorld(clock.now, lambda: None)
    servers = DnsServers(world)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(servers.start(), loop).result(5)
    yield world, servers, clock
    asyncio.run_coroutine_threadsafe(servers.stop(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


def test_a_change_is_seen_late_by_resolvers(served: tuple[DnsWorld, DnsServers, Clock]) -> None:
    """The zone's own server knows it at once; a resolver when its TTL is over."""
    world, servers, clock = served
    zone = world.zones["newcorp.test"]

    def read() -> tuple[tuple[str, ...], set[tuple[str, ...]]]:
        reading = Lookup(servers.resolvers, port=servers.port).read("newcorp.test")
        seen = {said["newcorp.test", "MX"].values for said in reading.resolvers.values()}
        return reading.values("newcorp.test", "MX"), seen

    assert read() == (("10 mail.oldhost.test",), {("10 mail.oldhost.test",)})
    zone.records[0].value, zone.records[0].priority = "mxbiz1.qq.com", 5
    clock.at += timedelta(seconds=599)
    assert read() == (("5 mxbiz1.qq.com",), {("10 mail.oldhost.test",)})
    clock.at += timedelta(seconds=1)
    assert read() == (("5 mxbiz1.qq.com",), {("5 mxbiz1.qq.com",)})


def test_a_long_text_comes_whole(served: tuple[DnsWorld, DnsServers, Clock]) -> None:
    """Cut over UDP, fetched over TCP, joined from its strings."""
    world, servers, _ = served
    value = "v=DKIM1; k=rsa; p=" + "Ab+/" * 500
    world.put(world.zones["corp.test"], "TXT", "s1._domainkey", value)
    reading = Lookup(servers.resolvers, port=servers.port).read("corp.test", also=[("s1._domainkey.corp.test", "TXT")])
    assert reading.values("s1._domainkey.corp.test", "TXT") == (value,)


def test_names_that_nobody_has(served: tuple[DnsWorld, DnsServers, Clock]) -> None:
    """NXDOMAIN, with whose zone it would be in."""
    _, servers, _ = served
    found = Lookup(servers.resolvers, port=servers.port).delegation("nobody.test")
    assert (found.zone, str(found.outcome)) == ("test", "no_name")
