"""What every test stands on: the servers, how properties are tried, and nothing that leaves this machine."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

SERVERS = [
    "tests.servers.postgres",
    "tests.servers.tables",
    "tests.servers.chromium",
    "tests.servers.dovecot",
    "tests.servers.cyrus",
]
pytest_plugins = [name for name in SERVERS if find_spec(name)]

# A slow machine is no failure, and a property that fails once is found again from its printed blob, not from a file.
settings.register_profile(
    "exmail-bot",
    deadline=None,
    derandomize=False,
    database=None,
    print_blob=True,
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "40")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("exmail-bot")


# Where few tests of a file take long, mostly waiting: they come first, so that the others fill the gaps and no worker
# is left alone with one of them in the end.
LONG = ("journeys", "crash", "soak", "pages", "sandbox/page")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; otherwise the order stays as it was shuffled."""
    folder = Path(__file__).parent
    long = {item.path for item in items if any(item.path.is_relative_to(folder / each) for each in LONG)}
    items.sort(key=lambda item: item.path not in long)


class LeavesTheMachine(AssertionError):
    """A test tried to reach, or to listen to, something that is not loopback."""


_left: list[str] = []


@pytest.fixture(autouse=True)
def only_loopback() -> Iterator[None]:
    """Fails the test whose code reached out of this machine, even where the refusal was swallowed."""
    _left.clear()
    yield
    assert not _left, f"left the machine: {', '.join(_left)}"


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook, so that no library can go around it; processes that a test starts are not watched."""
    if event in ("socket.connect", "socket.sendto", "socket.bind", "socket.sendmsg"):
        opened, address = arguments[0], arguments[1]
        if not isinstance(opened, socket.socket) or not isinstance(address, tuple):
            return  # not the internet: a Unix socket, or sendmsg on a connected one
        if event == "socket.bind" and opened.type != socket.SOCK_STREAM:
            return  # where a datagram comes from; where it goes is seen below
        refuse_unless_loopback(event, str(address[0]))
    elif event == "socket.getaddrinfo" and arguments[0] not in (None, "", b""):
        host = arguments[0]
        refuse_unless_loopback(event, host.decode() if isinstance(host, bytes) else str(host))
    elif event in ("socket.gethostbyname", "socket.gethostbyaddr"):
        refuse_unless_loopback(event, str(arguments[0]))


def refuse_unless_loopback(event: str, host: str) -> None:
    """Raise LeavesTheMachine for an address or a name that is not this machine's own."""
    if host == "localhost" or host == socket.gethostname():
        return
    try:
        if ipaddress.ip_address(host.partition("%")[0]).is_loopback:
            return
    except ValueError:
        pass
    _left.append(f"{event} {host or '(every address)'}")
    raise LeavesTheMachine(_left[-1])


sys.addaudithook(_watch)
