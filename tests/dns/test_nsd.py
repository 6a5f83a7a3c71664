"""The same answers from a name server that none of us wrote: NSD."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.dns.wire import Outcome, Server, Wire
from tests.dns.net import free_port

KEY = "A" * 900
ZONE = f"""$ORIGIN corp.com.
@ 300 IN SOA ns1.corp.com. admin.corp.com. 1 3600 600 86400 120
@ 3600 IN NS ns1.corp.com.
ns1 3600 IN A 127.0.0.1
@ 600 IN MX 5 mxbiz1.qq.com.
@ 600 IN MX 10 mxbiz2.qq.com.
@ 600 IN TXT "v=spf1 include:spf." "mail.qq.com ~all"
big 600 IN TXT {" ".join(f'"{KEY[at : at + 255]}"' for at in range(0, len(KEY), 255))} "second half"
many 600 IN TXT {'"' + "x" * 250 + '" ' + " ".join('"' + str(n) * 250 + '"' for n in range(6))}
null 600 IN MX 0 .
*.wild 600 IN MX 1 mx.corp.com.
alias 600 IN CNAME www.example.com.
sub 600 IN NS ns1.sub.corp.com.
ns1.sub 600 IN A 127.0.0.9
"""


@pytest.fixture(scope="module")
def nsd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An NSD that serves corp.com on loopback."""
    binary = shutil.which("nsd") or shutil.which("/usr/sbin/nsd")
    if binary is None:
        pytest.fail("nsd is missing. On Debian or Ubuntu: sudo apt-get install nsd", pytrace=False)
    folder: Path = tmp_path_factory.mktemp("nsd")
    port = free_port()
    (folder / "corp.zone").write_text(ZONE)
    (folder / "nsd.conf").write_text(
        f'server:\n  ip-address: 127.0.0.1@{port}\n  username: ""\n  zonesdir: "{folder}"\n  database: ""\n'
        f'  pidfile: "{folder}/pid"\n  xfrdfile: "{folder}/xfrd"\n  xfrdir: "{folder}"\n'
        f'  zonelistfile: "{folder}/list"\n'
        f"  server-count: 1\n  rrl-ratelimit: 0\nremote-control:\n  control-enable: no\n"
        f'zone:\n  name: corp.com\n  zonefile: "{folder}/corp.zone"\n'
    )
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([binary, "-d", "-c", folder / "nsd.conf"], stdout=log, stderr=log)
    try:
        at, pause = Server("127.0.0.1", port), threading.Event()
        for _ in range(200):
            if (
                server.poll() is not None
                or Wire(timeout_seconds=0.2, tries=1).ask(at, "corp.com", "SOA", recurse=False).answered
            ):
                break
            pause.wait(0.05)
        assert server.poll() is None, (folder / "log").read_text()
        yield at
    finally:
        server.terminate()
        server.wait(10)


def test_every_kind_of_answer(nsd: Server) -> None:
    """Records, texts joined, null MX, wildcards, aliases, none, no such name, a referral with glue, not its zone."""
    wire = Wire()

    def ask(name: str, kind: str) -> tuple[Outcome, tuple[str, ...]]:
        answer = wire.ask(nsd, name, kind, recurse=False)
        return answer.outcome, answer.values

    assert ask("corp.com", "MX") == (Outcome.FOUND, ("10 mxbiz2.qq.com", "5 mxbiz1.qq.com"))
    assert ask("corp.com", "TXT") == (Outcome.FOUND, ("v=spf1 include:spf.mail.qq.com ~all",))
    assert ask("null.corp.com", "MX") == (Outcome.FOUND, ("0 .",))
    assert ask("anything.wild.corp.com", "MX") == (Outcome.FOUND, ("1 mx.corp.com",))
    assert ask("alias.corp.com", "CNAME") == (Outcome.FOUND, ("www.example.com",))
    assert ask("corp.com", "CNAME") == (Outcome.NO_DATA, ())
    assert ask("gone.corp.com", "MX") == (Outcome.NO_NAME, ())
    assert ask("mail.sub.corp.com", "NS") == (Outcome.REFERRAL, ("ns1.sub.corp.com",))
    assert ask("corp.org", "MX")[0] in (Outcome.REFUSED, Outcome.LAME, Outcome.FAILED)
    none = wire.ask(nsd, "corp.com", "CNAME", recurse=False)
    assert (none.zone, none.ttl) == ("corp.com", 120)
    sent = wire.ask(nsd, "mail.sub.corp.com", "NS", recurse=False)
    assert (sent.zone, sent.glue) == ("sub.corp.com", (("ns1.sub.corp.com", "127.0.0.9"),))


def test_what_does_not_fit_into_a_datagram(nsd: Server) -> None:
    """Cut over UDP, fetched over TCP, its strings joined."""
    assert Wire().ask(nsd, "big.corp.com", "TXT", recurse=False).values == (KEY + "second half",)
    assert len(Wire().ask(nsd, "many.corp.com", "TXT", recurse=False).values[0]) == 1750
