"""
`domain` on many domains: how long the daily look takes where every name server answers after 20 ms, and how hard it
asks any one of them. The servers are a process of their own that counts.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter, deque

import dns.message
import dns.rdatatype
import dns.rrset

from bot.dns.lookup import Lookup
from bot.dns.records import judge, standard
from handlers.domain.domain import fetch_with
from tests.bench.tables import Table

DOMAINS = 500
ANSWER_MS = 20
SECONDS_MAX = 30.0
AT_ONCE_GOAL = 4
RESOLVERS = ("127.0.0.91", "127.0.0.92", "127.0.0.93")
PARENT = "127.0.0.2"
OWN = tuple(f"127.0.0.{number}" for number in range(3, 11))  # pairs, as providers give them


class Counting(asyncio.DatagramProtocol):
    """Answers everything as a right domain would, late, and counts."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked = self.at_once = self.at_once_max = self.in_a_second_max = 0
        self.lately: deque[float] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.DatagramTransport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        now = time.monotonic()
        self.lately.append(now)
        while self.lately[0] < now - 1:
            self.lately.popleft()
        self.asked += 1
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        self.in_a_second_max = max(self.in_a_second_max, len(self.lately))
        asyncio.get_running_loop().call_later(ANSWER_MS / 1000, self.answer, data, addr)

    def answer(self, data: bytes, addr: tuple[str, int]) -> None:
        self.at_once -= 1
        query = dns.message.from_wire(data)
        self.transport.sendto(reply(query, self.address).to_wire(), addr)


def reply(query: dns.message.Message, address: str) -> dns.message.Message:
    """What the server at an address says."""
    question = query.question[0]
    name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
    message = dns.message.make_response(query, recursion_available=address in RESOLVERS)
    if address not in (*RESOLVERS, PARENT):
        message.flags |= dns.flags.AA
    labels = name.split(".")
    values: list[str] = []
    if address == PARENT and kind == "NS" and labels[-1] == "com" and len(labels) == 2:
        message.authority.append(dns.rrset.from_text_list(question.name, 600, "IN", "NS", hosts_of(name)))
        return message
    if kind == "MX" and len(labels) == 2:
        values = ["5 mxbiz1.qq.com.", "10 mxbiz2.qq.com."]
    elif kind == "TXT" and labels[0] == "_dmarc":
        values = ['"v=DMARC1; p=none"']
    elif kind == "TXT":
        values = ['"v=spf1 include:spf.mail.qq.com ~all"' if len(labels) == 2 else '"v=spf1 ip4:192.0.2.0/24 ~all"']
    elif kind == "NS":
        values = ["a.root."]
    elif kind == "A":
        values = [PARENT if name == "a.root" else OWN[int(labels[0][2:]) % len(OWN)]]
    elif kind == "SOA" and name == "com":
        values = ["a.root. admin.root. 1 3600 600 86400 300"]
    if values:
        message.answer.append(dns.rrset.from_text_list(question.name, 600, "IN", kind, values))
    else:
        zone = ".".join(labels[-2:]) + "."
        soa = "a.root. admin.root. 1 3600 600 86400 300"
        message.authority.append(dns.rrset.from_text_list(zone, 300, "IN", "SOA", [soa]))
    return message


def hosts_of(domain: str) -> list[str]:
    """The two servers of a domain."""
    pair = int("".join(each for each in domain if each.isdigit())) % (len(OWN) // 2)
    return [f"ns{2 * pair}.host.com.", f"ns{2 * pair + 1}.host.com."]


async def serve() -> None:
    """Until the input ends; then what was counted, as JSON."""
    loop = asyncio.get_running_loop()
    _, first = await loop.create_datagram_endpoint(lambda: Counting(PARENT), local_addr=(PARENT, 0))
    port = first.transport.get_extra_info("sockname")[1]
    servers = [first]
    for address in (*RESOLVERS, *OWN):
        _, each = await loop.create_datagram_endpoint(
            lambda address=address: Counting(address), local_addr=(address, port)
        )
        servers.append(each)
    print(port, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    counted = {each.address: [each.asked, each.at_once_max, each.in_a_second_max] for each in servers}
    print(json.dumps(counted))


def table() -> Table:
    """The time, and the hardest-pressed server of each sort."""
    found = Table(
        "domain", f"`domain` on {DOMAINS} domains, every name server answers after {ANSWER_MS} ms",
        ("servers", "questions", "most at once", "most in a second"),
    )  # fmt: skip
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.domains"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    port = int(server.stdout.readline())
    lookup = Lookup([f"{each}:{port}" for each in RESOLVERS], port=port)
    began = time.monotonic()
    levels: Counter[str] = Counter()
    for reading in lookup.read_many([f"d{number}.com" for number in range(DOMAINS)]):
        levels.update({each.key for each in judge(reading, standard(), fetch_with(lookup))})
    seconds = time.monotonic() - began
    counted = json.loads(server.communicate(timeout=10)[0])
    for words, addresses in (
        ("resolvers (3)", RESOLVERS),
        ("the parent's (1)", (PARENT,)),
        ("the domains' own (8)", OWN),
    ):
        rows = [counted[each] for each in addresses]
        found.rows.append(
            (words, f"{sum(each[0] for each in rows):,}", *(str(max(each[at] for each in rows)) for at in (1, 2)))
        )
    worst = max(each[1] for each in counted.values())
    right = levels["mx_right"] == DOMAINS and levels["spf_right"] == DOMAINS and not levels["some_silent"]
    held = seconds < SECONDS_MAX and worst <= AT_ONCE_GOAL and right
    found.remarks.append(
        f"{DOMAINS} domains in {seconds:.1f} s, each asked of two own servers and three resolvers; goal below "
        f"{SECONDS_MAX:g} s and at most {AT_ONCE_GOAL} questions at once to one server: {'met' if held else 'NOT MET'}"
    )
    if not held:
        found.failed.append("the daily look at many domains is slow, or asks a server too hard")
    return found


if __name__ == "__main__":
    asyncio.run(serve())
