"""What is asked, of whom, and what every kind of trouble is called."""

from __future__ import annotations

import ast
import inspect
import time
from collections.abc import Iterator

import pytest

from bot.dns import records
from bot.dns.lookup import Lookup, Reading
from bot.dns.names import BadName, ascii_name, shown_name
from bot.dns.records import judge, standard
from bot.dns.wire import Wire
from bot.words import catalogue
from tests.dns import net as nets
from tests.dns.net import Net

SOA = "@ 300 IN SOA ns1.host.net. admin.host.net. 1 3600 600 86400 300\n"
RIGHT = (
    "@ 600 IN MX 5 mxbiz1.qq.com.\n@ 600 IN MX 10 mxbiz2.qq.com.\n"
    '@ 600 IN TXT "v=spf1 include:spf.mail.qq.com ~all"\n_dmarc 600 IN TXT "v=DMARC1; p=none"\n'
)
NS = "@ 3600 IN NS ns1.host.net.\n@ 3600 IN NS ns2.host.net.\n"


@pytest.fixture
def net() -> Iterator[Net]:
    """The root and top levels at .2, two servers of host.net at .3 and .4, mail.qq.com at .5."""
    with nets.running() as made:
        top = made.server("127.0.0.2")
        top.serve(".", SOA + "@ 3600 IN NS a.root.\na.root. 3600 IN A 127.0.0.2\n")
        for name in ("com", "net"):
            top.serve(name, SOA + "@ 3600 IN NS a.root.\n")
        made.server("127.0.0.3")
        made.server("127.0.0.4")
        for each in ("127.0.0.3", "127.0.0.4"):
            made.servers[each].serve(
                "host.net", SOA + NS + "ns1 3600 IN A 127.0.0.3\nns2 3600 IN A 127.0.0.4\ndead 3600 IN A 127.0.0.7\n"
            )
        qq = made.server("127.0.0.5")
        qq.serve("qq.com", SOA + '@ 3600 IN NS ns1.host.net.\nspf.mail 600 IN TXT "v=spf1 ip4:192.0.2.0/24 ~all"\n')
        yield made


def delegate(net: Net, domain: str, hosts: tuple[str, ...] = ("ns1.host.net.", "ns2.host.net.")) -> None:
    """What the parent says about a domain."""
    net.servers["127.0.0.2"].serve(
        domain.partition(".")[2],
        SOA + "@ 3600 IN NS a.root.\n" + "".join(f"{domain}. 3600 IN NS {each}\n" for each in hosts),
    )


def corp(net: Net, text: str, domain: str = "corp.com", *, at: tuple[str, ...] = ("127.0.0.3", "127.0.0.4")) -> None:
    """A domain that both servers serve."""
    delegate(net, domain)
    for each in at:
        net.servers[each].serve(domain, SOA + NS + text)


def found(reading: Reading, lookup: Lookup) -> dict[str, dict[str, object]]:
    """The findings by key."""

    def fetch(name: str) -> object:
        answer = lookup.texts(name)
        return answer.values if answer.answered else None

    return {each.key: dict(each.values) for each in judge(reading, standard(), fetch)}


def looked(net: Net, domain: str = "corp.com") -> dict[str, dict[str, object]]:
    """What is found about a domain."""
    lookup = net.lookup()
    return found(lookup.read(domain), lookup)


def test_a_right_domain(net: Net) -> None:
    """Its own servers, found from the parent, and three resolvers say the same."""
    corp(net, RIGHT)
    lookup = net.lookup()
    reading = lookup.read("corp.com")
    assert (reading.delegation.zone, reading.delegation.parent) == ("corp.com", "com")
    assert [each.host for each in reading.delegation.servers] == ["ns1.host.net", "ns2.host.net"]
    assert set(reading.own) == {"ns1.host.net", "ns2.host.net"}
    assert len(reading.resolvers) == 3
    assert set(found(reading, lookup)) == {"mx_right", "spf_right", "dmarc_right", "dkim_unknown"}


def test_the_parent_is_believed_not_the_zone(net: Net) -> None:
    """A domain moved to another provider: the old one still answers, and is not asked."""
    delegate(net, "corp.com", ("ns2.host.net.",))
    net.servers["127.0.0.3"].serve("corp.com", SOA + NS + "@ 600 IN MX 1 old.example.\n")
    net.servers["127.0.0.4"].serve("corp.com", SOA + "@ 3600 IN NS ns1.host.net.\n" + RIGHT)
    reading = net.lookup().read("corp.com")
    assert list(reading.own) == ["ns2.host.net"]
    assert reading.values("corp.com", "MX") == ("10 mxbiz2.qq.com", "5 mxbiz1.qq.com")


def test_what_does_not_fit_comes_over_tcp(net: Net) -> None:
    """A cut answer is asked for again."""
    corp(net, RIGHT)
    net.servers["127.0.0.3"].cut = net.servers["127.0.0.4"].cut = True
    assert "mx_right" in looked(net)
    assert ("corp.com.", "MX", True) in net.servers["127.0.0.3"].asked


@pytest.mark.parametrize(
    ("zone", "wanted"),
    [
        ("", {"mx_none", "spf_none", "dmarc_none"}),
        ("@ 600 IN MX 0 .\n", {"mx_null"}),
        ("@ 600 IN MX 5 mxbiz1.qq.com.\n@ 600 IN MX 20 mail.old.example.\n", {"mx_left_over", "mx_missing"}),
        ("@ 600 IN MX 20 mail.old.example.\n", {"mx_foreign"}),
        ("@ 600 IN MX 10 mxbiz1.qq.com.\n@ 600 IN MX 5 mxbiz2.qq.com.\n", {"mx_priority"}),
        ("@ 600 IN MX 5 mxbiz1.qq.com.corp.com.\n", {"mx_appended"}),
        (RIGHT + "* 600 IN MX 5 mxbiz1.qq.com.\n", {"mx_right", "mx_wildcard"}),
        ('@ 600 IN TXT "v=spf1 -all"\n@ 600 IN TXT "v=spf1 include:spf.mail.qq.com ~all"\n', {"spf_two"}),
        ('@ 600 IN TXT "v=spf1 a mx ~all"\n@ 600 IN TXT "v=spf10 not one"\n', {"spf_lacks"}),
        ('@ 600 IN TXT "v=spf1 include:spf.mail.qq.com include:gone.example.com ~all"\n', {"spf_dead"}),
        ('@ 600 IN TXT "v=spf1 include:spf.mail.qq.com a mx a:a.b a:b.b a:c.b a:d.b a:e.b a:f.b a:g.b a:h.b +all"\n',
         {"spf_too_many", "spf_everybody"}),
        ('@ 600 IN TXT "v=spf1 include:spf." "mail.qq.com"\n', {"spf_right", "spf_open"}),
    ],
)  # fmt: skip
def test_records_are_judged(net: Net, zone: str, wanted: set[str]) -> None:
    """Each trouble by its name."""
    corp(net, zone)
    assert wanted <= set(looked(net))


def test_a_cname_at_the_domain_itself(net: Net) -> None:
    """It hides what stands beside it."""
    corp(net, RIGHT)
    for each in ("127.0.0.3", "127.0.0.4"):
        net.servers[each].aliases["corp.com."] = "www.example.com."
    assert looked(net)["apex_cname"]["target"] == "www.example.com"


def test_nobody_registered_it(net: Net) -> None:
    """The parent does not know it."""
    assert looked(net, "gone.com") == {"no_name": {"domain": "gone.com", "zone": "com"}}


def test_a_subdomain_as_mail_domain(net: Net) -> None:
    """Its records lie in the zone above; the zone's servers are asked."""
    corp(net, RIGHT.replace("@ ", "mail ").replace("_dmarc", "_dmarc.mail"))
    lookup = net.lookup()
    reading = lookup.read("mail.corp.com")
    assert reading.delegation.zone == "corp.com"
    assert reading.delegation.parent == "com"
    assert "mx_right" in found(reading, lookup)


def test_an_internationalised_domain(net: Net) -> None:
    """Asked as xn--, shown as it is written."""
    name = ascii_name("例子.com")
    assert name == "xn--fsqu00a.com"
    assert shown_name(name) == "例子.com"
    corp(net, RIGHT, name)
    assert "mx_right" in looked(net, name)


def test_lame_servers(net: Net) -> None:
    """One of two does not serve it; then neither."""
    corp(net, RIGHT, at=("127.0.0.3",))
    assert looked(net)["some_lame"]["servers"] == ["ns2.host.net"]
    del net.servers["127.0.0.3"].zones[next(each for each in net.servers["127.0.0.3"].zones if b"corp" in each.labels)]
    assert set(looked(net)) == {"all_lame"}


def test_silent_servers_cost_little_time(net: Net) -> None:
    """One of two is silent: said. Both: said, and soon."""
    corp(net, RIGHT)
    net.servers["127.0.0.4"].silent = True
    assert looked(net)["some_silent"]["servers"] == ["ns2.host.net"]
    net.servers["127.0.0.3"].silent = True
    net.failing.add("corp.com")
    began = time.monotonic()
    assert set(looked(net)) == {"all_silent"}
    assert time.monotonic() - began < 5


def test_a_server_without_address(net: Net) -> None:
    """A delegation to a host that does not exist."""
    corp(net, RIGHT)
    delegate(net, "corp.com", ("ns1.host.net.", "gone.host.net."))
    assert looked(net)["no_address"]["servers"] == ["gone.host.net"]


def test_dnssec_that_does_not_hold(net: Net) -> None:
    """The zone's own servers are right, the resolvers refuse it, with checking disabled they do not."""
    corp(net, RIGHT)
    net.bogus.add("corp.com")
    assert {"bogus", "mx_right"} <= set(looked(net))


def test_servfail_of_the_resolvers(net: Net) -> None:
    """Not DNSSEC: they fail either way."""
    corp(net, RIGHT)
    net.failing.add("corp.com")
    said = looked(net)
    assert "bogus" not in said
    assert "resolvers_fail" in said
    assert "mx_right" in said


def test_servers_that_disagree(net: Net) -> None:
    """A provider that has not brought a change to all of its servers."""
    corp(net, RIGHT)
    net.servers["127.0.0.4"].serve("corp.com", SOA + NS + "@ 600 IN MX 10 old.example.\n")
    assert looked(net)["servers_differ"]["kind"] in ("MX", "TXT")


def test_the_world_still_sees_the_old(net: Net) -> None:
    """Resolvers remember: for how long at worst."""
    corp(net, RIGHT)
    net.old["corp.com", "MX"] = ["10 old.example."]
    assert looked(net)["resolvers_old"]["minutes"] == 30


def test_only_resolvers_can_be_reached(net: Net) -> None:
    """A network that lets nothing else through: what they say counts, and that is said."""
    corp(net, RIGHT)
    for each in net.servers.values():
        each.silent = False
    lookup = Lookup([f"{each}:{net.port}" for each in nets.RESOLVERS], port=9, wire=Wire(timeout_seconds=0.2))
    said = found(lookup.read("corp.com"), lookup)
    assert {"only_resolvers", "mx_right"} <= set(said)


def test_nobody_answers_at_all(net: Net) -> None:
    """Resolvers that are silent are given up on soon."""
    net.silent_resolvers |= set(nets.RESOLVERS)
    began = time.monotonic()
    assert set(looked(net)) == {"nobody_answers"}
    assert time.monotonic() - began < 5


def test_one_of_three_resolvers_is_enough(net: Net) -> None:
    """Two are silent."""
    corp(net, RIGHT)
    net.silent_resolvers |= set(nets.RESOLVERS[:2])
    assert "mx_right" in looked(net)


def test_no_server_is_hammered(net: Net) -> None:
    """Many domains at once: what they have in common is asked once, and each server only so much at a time."""
    domains = [f"d{number}.com" for number in range(20)]
    net.servers["127.0.0.2"].serve(
        "com", SOA + "@ 3600 IN NS a.root.\n" + "".join(f"{each}. 3600 IN NS ns1.host.net.\n" for each in domains)
    )
    for each in domains:
        net.servers["127.0.0.3"].serve(each, SOA + NS + RIGHT)
    top = net.servers["127.0.0.2"]
    top.asked.clear()
    assert all(each.values(each.domain, "MX") for each in net.lookup().read_many(domains))
    assert len(top.asked) == len(domains)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Corp.COM.", "corp.com"),
        ("https://www.corp.com/mail", "www.corp.com"),
        ("mei@corp.com", "corp.com"),
        ("例子。中国", "xn--fsqu00a.xn--fiqs8s"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_names_as_people_type_them(typed: str, name: str) -> None:
    """Tidied, in lower case, `xn--` where needed."""
    assert ascii_name(typed) == name


@pytest.mark.parametrize("typed", ["corp", "", "a..b", "-a.com", "1.2.3.4", "corp com", "x" * 64 + ".com", "a" * 260])
def test_what_is_no_name(typed: str) -> None:
    """Refused before anybody is asked."""
    with pytest.raises(BadName):
        ascii_name(typed)


def test_outcomes_have_their_words() -> None:
    """Every finding of the judge has its sentence, and every one of these is found somewhere above or below."""
    keys = {
        node.value
        for call in ast.walk(ast.parse(inspect.getsource(records)))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "self.say"
        for node in ast.walk(call.args[1])
        if isinstance(node, ast.Constant)
    }
    known = {each.removeprefix("dns.") for each in catalogue() if each.startswith("dns.")}
    assert keys <= known
    assert {each for each in known - keys if not each.startswith(("provider_", "api_"))} == set()
