"""Buckets and addresses, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from starlette.requests import Request

from bot.pages import rates
from bot.pages.rates import Buckets, Clients

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_a_burst_then_one_by_one() -> None:
    buckets = Buckets(3, 2.0)
    assert [buckets.take("a", at(0)) for _ in range(4)] == [True, True, True, False]
    assert buckets.take("b", at(0))
    assert not buckets.take("a", at(1.9))
    assert buckets.take("a", at(2))
    assert not buckets.take("a", at(3))
    assert [buckets.take("a", at(1000)) for _ in range(4)] == [True, True, True, False]


def test_a_clock_set_back_gives_nothing_and_takes_nothing() -> None:
    buckets = Buckets(2, 1.0)
    assert buckets.take("a", at(100))
    assert buckets.take("a", at(0))
    assert not buckets.take("a", at(0))
    assert buckets.take("a", at(1))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "KEYS_MAX", 3)
    buckets = Buckets(1, 60.0)
    for key in ("a", "b", "c"):
        assert buckets.take(key, NOON)
    assert not buckets.take("a", NOON)
    assert buckets.take("d", NOON)  # b, unused longest, is forgotten
    assert not buckets.take("a", NOON)
    assert buckets.take("b", NOON)


def request(peer: str | None, *forwarded: str) -> Request:
    headers = [(b"x-forwarded-for", each.encode()) for each in forwarded]
    return Request({"type": "http", "headers": headers, "client": peer and (peer, 1)})


@pytest.mark.parametrize(
    ("peer", "forwarded", "key"),
    [
        ("198.51.100.1", (), "198.51.100.1"),
        ("198.51.100.1", ("203.0.113.9",), "198.51.100.1"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("203.0.113.9",), "203.0.113.9"),
        ("10.0.0.1", ("1.1.1.1, 203.0.113.9, 10.0.0.7",), "203.0.113.9"),
        ("10.0.0.1", ("1.1.1.1", "203.0.113.9"), "203.0.113.9"),
        ("10.0.0.1", ("10.0.0.2, 10.0.0.3",), "10.0.0.2"),
        ("10.0.0.1", ("nonsense",), ""),
        ("fd00::1", ("2001:db8:1:2:3:4:5:6",), "2001:db8:1:2::/64"),
        (None, ("203.0.113.9",), ""),
    ],
)
def test_whose_request_it_is(peer: str | None, forwarded: tuple[str, ...], key: str) -> None:
    assert Clients(["10.0.0.0/24", "fd00::1"]).key(request(peer, *forwarded)) == key


def test_a_proxy_must_be_an_address() -> None:
    with pytest.raises(ValueError, match="proxy"):
        Clients(["proxy.corp.test"])
