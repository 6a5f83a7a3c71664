"""How often somebody may ask: a bucket of tokens for each key, in memory."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime

from starlette.requests import Request

KEYS_MAX = 10_000  # the buckets unused longest are forgotten, which fills them

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Buckets:
    """`burst` requests at once for each key, and one more every `seconds`. For one thread."""

    def __init__(self, burst: int, seconds: float) -> None:
        self._burst = burst
        self._seconds = seconds
        self._left: OrderedDict[str, tuple[float, datetime]] = OrderedDict()

    def take(self, key: str, now: datetime) -> bool:
        """Whether one more is allowed now; a refused one costs nothing."""
        left, then = self._left.pop(key, (float(self._burst), now))
        left = min(self._burst, left + max(0.0, (now - then).total_seconds()) / self._seconds)
        allowed = left >= 1
        self._left[key] = (left - 1 if allowed else left, now)
        if len(self._left) > KEYS_MAX:
            self._left.popitem(last=False)
        return allowed


class Clients:
    """Tells clients apart by address; `X-Forwarded-For` counts only as far as proxies we trust wrote it."""

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        """ValueError when a trusted proxy is neither an address nor a network."""
        self._trusted: list[Network] = [ipaddress.ip_network(each, strict=False) for each in trusted_proxies]

    def key(self, request: Request) -> str:
        """The client's address, of IPv6 its /64, which is what one household has."""
        address = request.client.host if request.client is not None else ""
        hops = [hop.strip() for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
        while hops and self._trusts(address):
            address = hops.pop()
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return ""  # a socket file, or rubbish from a proxy: all in one bucket
        if isinstance(parsed, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((parsed, 64), strict=False))
        return address

    def _trusts(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted)
