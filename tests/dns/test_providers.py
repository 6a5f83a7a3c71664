"""Plans carried out through the simulated providers: the right calls, the traps, the refusals."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from bot.clock import ShiftedClock
from bot.dns import aliyun, dnspod
from bot.dns.aliyun import Aliyun, signature
from bot.dns.api import Key, ProviderError, Refusal, ZoneApi, other_line, plain
from bot.dns.dnspod import DnsPod
from bot.dns.godaddy import GoDaddyV1, GoDaddyV3, open_godaddy
from bot.dns.plan import Plan, Standing, at, make_plan, standing
from bot.dns.records import Record, standard
from bot.http import Answer, Http
from bot.sandbox.mailserver import MailServer
from bot.sandbox.organisation import Organisation
from bot.sandbox.wecom_server import create_sandbox_app

ZONES = {"aliyun": "newcorp.test", "dnspod": "studio.test", "godaddy": "shop.test", "godaddy_v3": "shop.test"}


class World:
    """The organisation's accounts, served."""

    def __init__(self) -> None:
        self.clock = ShiftedClock()
        self.org = Organisation(self.clock, MailServer(self.clock))
        self.org.troubles.set("godaddy_no_api", False)
        self.server = uvicorn.Server(
            uvicorn.Config(create_sandbox_app(self.org), port=0, log_level="error", access_log=False, lifespan="off")
        )
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        pause = threading.Event()
        for _ in range(500):
            if self.server.started:
                break
            pause.wait(0.01)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/_providers"
        self.opened: list[ZoneApi] = []

    def api(self, name: str, key: Key | None = None, clock: ShiftedClock | None = None) -> ZoneApi:
        """A client, closed at the end of the test."""
        self.opened.append(self._api(name, key, clock or self.clock))
        return self.opened[-1]

    def _api(self, name: str, key: Key | None, clock: ShiftedClock) -> ZoneApi:
        accounts = self.org.providers.accounts
        if name == "aliyun":
            return Aliyun(key or Key(*accounts.aliyun), clock, base=f"{self.url}/aliyun")
        if name == "dnspod":
            return DnsPod(key or Key(*accounts.dnspod), clock, base=f"{self.url}/dnspod")
        own = Key(*accounts.godaddy) if name == "godaddy" else Key(accounts.godaddy_token)
        return open_godaddy(key or own, base=f"{self.url}/godaddy")

    def zone(self, name: str) -> list[tuple[str, str, str, int | None]]:
        """What the panel shows."""
        return sorted(
            (each.type, each.host, each.value, each.priority) for each in self.org.dns.zones[ZONES[name]].records
        )

    def calls(self) -> list[str]:
        """What the providers were asked."""
        return [str(each["call"]) for each in self.org.wire if each["kind"] == "dns_api"]

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(5)


@pytest.fixture(scope="module")
def served() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture
def world(served: World) -> Iterator[World]:
    """As at the start."""
    served.org.reset()
    served.org.troubles.set("godaddy_no_api", False)
    served.org.providers.busy_until.clear()
    yield served
    for each in served.opened:
        each.close()
    served.opened.clear()


def carry_out(world: World, api: ZoneApi, plan: Plan) -> None:
    """Each change, once; GoDaddy's moment after an edit is waited for."""
    for change in plan.changes:
        held = [each for each in api.records(plan.zone) if each.record.key == (change.type, change.host)]
        if standing(change, [each.record for each in held]) is Standing.TO_DO:
            api.write(plan.zone, change, held)
        world.clock.advance(2)


def planned(api: ZoneApi, name: str, *, remove_foreign: bool = True) -> Plan:
    present = [each.record for each in api.records(ZONES[name])]
    return make_plan(ZONES[name], ZONES[name], present, standard(), remove_foreign=remove_foreign)


RIGHT_MX = [("MX", "@", "mxbiz1.qq.com", 5), ("MX", "@", "mxbiz2.qq.com", 10)]


@pytest.mark.parametrize("name", ZONES)
def test_a_plan_is_carried_out_and_undone(world: World, name: str) -> None:
    """The old MX gone, SPF merged, other records as they were; then everything as before; twice changes nothing."""
    api, before = world.api(name), world.zone(name)
    plan = planned(api, name)
    carry_out(world, api, plan)
    after = world.zone(name)
    assert [each for each in after if each[0] == "MX"] == RIGHT_MX
    assert ("TXT", "@", "v=spf1 a mx include:spf.mail.qq.com ~all", None) in after
    assert ("TXT", "_dmarc", "v=DMARC1; p=none", None) in after
    kept = [each for each in before if each[0] != "MX" and not each[2].startswith("v=spf1")]
    assert [each for each in after if each in kept] == kept
    assert len([each for each in after if each[2].startswith("v=spf1")]) == 1

    count = len(world.calls())
    carry_out(world, api, plan)
    assert all(call.startswith(("GET", "Describe")) for call in world.calls()[count:])
    assert not planned(api, name).changes

    carry_out(world, api, plan.undo())
    assert world.zone(name) == before


@pytest.mark.parametrize("name", ["aliyun", "dnspod", "godaddy_v3"])
def test_a_wrong_priority_is_mended(world: World, name: str) -> None:
    """The provider calls the same host with another priority a duplicate."""
    zone = world.org.dns.zones[ZONES[name]]
    world.org.dns.drop(zone, zone.records[0])
    world.org.dns.put(zone, "MX", "@", "mxbiz1.qq.com", priority=10)
    api = world.api(name)
    carry_out(world, api, planned(api, name))
    assert [each for each in world.zone(name) if each[0] == "MX"] == RIGHT_MX


def test_other_services_stay_without_consent(world: World) -> None:
    """And they are named."""
    api = world.api("aliyun")
    plan = planned(api, "aliyun", remove_foreign=False)
    assert planned(api, "aliyun").removed_mx()[0].value == "mail.oldhost.test"
    carry_out(world, api, plan)
    assert ("MX", "@", "mail.oldhost.test", 10) in world.zone("aliyun")


def test_godaddy_v1_puts_exactly_the_mx_set(world: World) -> None:
    """Never the zone, never a whole type; a text in addition is patched, not put."""
    api = world.api("godaddy")
    carry_out(world, api, planned(api, "godaddy"))
    writes = [each.replace("v1/domains/shop.test/", "") for each in world.calls() if not each.startswith("GET")]
    assert writes == ["PUT records/MX/@", "PUT records/TXT/@", "PATCH records"]


def test_godaddy_v3_never_puts(world: World) -> None:
    """The server would take it for the whole zone."""
    api = world.api("godaddy_v3")
    carry_out(world, api, planned(api, "godaddy_v3"))
    assert not [each for each in world.calls() if each.startswith("PUT")]
    assert ("A", "www", "192.0.2.20", None) in world.zone("godaddy_v3")


def test_godaddy_v1_keeps_what_it_puts_again(world: World) -> None:
    """A text beside the SPF keeps its TTL: what DNS showed of it may have been a resolver's rest."""
    zone, api = world.org.dns.zones["shop.test"], world.api("godaddy")
    world.org.dns.put(zone, "TXT", "@", "site=1", ttl=7200)
    held = [each.record for each in api.records("shop.test")]
    shown = [Record(each.type, each.host, each.value, each.priority, 42) for each in held]
    carry_out(world, api, make_plan("shop.test", "shop.test", shown, standard(), remove_foreign=True))
    assert [each.ttl for each in zone.records if each.value == "site=1"] == [7200]


@pytest.mark.parametrize("name", ZONES)
def test_a_domain_that_took_no_mail(world: World, name: str) -> None:
    """A null MX (RFC 7505) goes, with or without consent to remove others: beside another it has no meaning."""
    zone, api = world.org.dns.zones[ZONES[name]], world.api(name)
    world.org.dns.drop(zone, next(each for each in zone.records if each.type == "MX"))
    world.org.dns.put(zone, "MX", "@", ".", priority=1)
    assert [each.record.value for each in api.records(zone.name) if each.record.type == "MX"] == ["."]
    carry_out(world, api, planned(api, name, remove_foreign=False))
    assert [each for each in world.zone(name) if each[0] == "MX"] == RIGHT_MX


def test_rows_as_providers_write_them() -> None:
    """Hosts in other scripts, values with a dot, another line, a signature's text without the key's id."""
    row = {
        "RecordId": "1", "RR": "邮件", "Type": "MX", "Value": "MX1.qq.com.", "Priority": 5, "TTL": 600,
        "Line": "oversea",
    }  # fmt: skip
    assert aliyun.record_of(row) == Record("MX", "xn--5nq051n", "mx1.qq.com", 5, 600)
    assert other_line(row, aliyun.LINE) == "oversea"
    assert other_line({"Line": "默认"}, dnspod.LINE) == ""


@pytest.mark.parametrize("name", ZONES)
def test_a_text_longer_than_one_string(world: World, name: str) -> None:
    """A DKIM key goes out as one value, which providers split themselves; shown in parts it is the same record."""
    api, value = world.api(name), f"v=DKIM1; k=rsa; p={'Ab+/' * 98}"
    wanted = standard().with_changes({"dkim": ["abc._domainkey", value]})
    present = [each.record for each in api.records(ZONES[name])]
    carry_out(world, api, make_plan(ZONES[name], ZONES[name], present, wanted, remove_foreign=True))
    assert ("TXT", "abc._domainkey", value, None) in world.zone(name)
    present = [each.record for each in api.records(ZONES[name])]
    assert not make_plan(ZONES[name], ZONES[name], present, wanted, remove_foreign=True).changes
    for between in ('" "', '""'):
        assert plain(f'"{value[:255]}{between}{value[255:]}"') == value


def test_a_refused_signature_does_not_tell_the_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Aliyun sends back what was signed, the key's id in it."""
    text = "Specified signature is not matched. server string to sign is:GET&%2F&AccessKeyId%3DLTAIx"
    body = json.dumps({"Code": "SignatureDoesNotMatch", "Message": text}).encode()
    monkeypatch.setattr(Http, "request", lambda *args, **more: Answer(400, {}, body))
    with pytest.raises(ProviderError) as raised:
        world.api("aliyun").records("newcorp.test")
    assert "LTAI" not in str(raised.value)
    assert "LTAI" not in raised.value.text


def test_more_records_than_a_page(world: World) -> None:
    """Aliyun shows 500 at most, GoDaddy 100."""
    for name, count in (("aliyun", 1203), ("godaddy_v3", 230), ("dnspod", 1100)):
        zone = world.org.dns.zones[ZONES[name]]
        for number in range(count):
            world.org.dns.put(zone, "TXT", f"t{number}", "x")
        there = len([each for each in zone.records if each.type in ("MX", "TXT")])
        assert len(world.api(name).records(zone.name)) == there


@pytest.mark.parametrize("name", ZONES)
def test_a_change_left_half_way_is_finished(world: World, name: str) -> None:
    """Killed after every record in turn: the next run makes the same of it."""
    api = world.api(name)
    plan = planned(api, name)
    zone = world.org.dns.zones[ZONES[name]]
    world.org.dns.put(zone, "MX", "@", "mxbiz2.qq.com", priority=10)  # one of two was written
    change = plan.changes[0]
    now = at([each.record for each in api.records(zone.name)], "MX", "@")
    assert standing(change, now) is Standing.TO_DO
    carry_out(world, api, plan)
    assert [each for each in world.zone(name) if each[0] == "MX"] == RIGHT_MX


def test_somebody_else_changed_it_meanwhile(world: World) -> None:
    """His record is not overwritten."""
    api = world.api("aliyun")
    plan = planned(api, "aliyun")
    world.org.dns.put(world.org.dns.zones["newcorp.test"], "MX", "@", "other.test", priority=1)
    now = at([each.record for each in api.records("newcorp.test")], "MX", "@")
    assert standing(plan.changes[0], now) is Standing.FOREIGN


def refused(act: Callable[[], Any]) -> Refusal:
    """Why it was."""
    with pytest.raises(ProviderError) as raised:
        act()
    assert raised.value.words().text("en")
    assert raised.value.words().text("zh")
    return raised.value.refusal


def test_refusals_are_told_apart(world: World) -> None:
    """Another key, no API for this account, another account, a wrong clock, later."""
    wrong = Key("x" * 20, "y" * 20)
    for name in ("aliyun", "dnspod", "godaddy"):
        assert refused(lambda name=name: world.api(name, wrong).records(ZONES[name])) is Refusal.BAD_KEY
        assert refused(lambda name=name: world.api(name).records("corp2.test")) is Refusal.NO_ZONE
        world.org.troubles.set("dns_api_busy", True, times=1)
        assert refused(lambda name=name: world.api(name).records(ZONES[name])) is Refusal.BUSY
    half = Key(world.org.providers.accounts.aliyun[0], "wrong")
    assert refused(lambda: world.api("aliyun", half).records("newcorp.test")) is Refusal.BAD_KEY
    half = Key(world.org.providers.accounts.dnspod[0], "wrong")
    assert refused(lambda: world.api("dnspod", half).records("studio.test")) is Refusal.BAD_KEY
    world.org.troubles.set("godaddy_no_api", True)
    assert refused(lambda: world.api("godaddy").records("shop.test")) is Refusal.NOT_ELIGIBLE
    assert refused(lambda: world.api("godaddy_v3").records("shop.test")) is Refusal.NOT_ELIGIBLE

    late = ShiftedClock()
    late.advance(3600)
    for name in ("aliyun", "dnspod"):
        assert refused(lambda name=name: world.api(name, None, late).records(ZONES[name])) is Refusal.CLOCK


def test_godaddy_is_busy_after_an_edit(world: World) -> None:
    """409 for a moment: later, not never."""
    api = world.api("godaddy")
    plan = planned(api, "godaddy")
    held = api.records("shop.test")
    api.write("shop.test", plan.changes[0], [each for each in held if each.record.type == "MX"])
    assert refused(lambda: api.write("shop.test", plan.changes[2], [])) is Refusal.BUSY


def test_the_simulated_godaddy_has_its_traps(world: World) -> None:
    """An empty PUT is ignored; a PUT of one v3 record wipes the zone. So our client must not do either."""
    providers, before = world.org.providers, world.zone("godaddy")
    key = f"sso-key {':'.join(providers.accounts.godaddy)}"
    providers.godaddy_v1("PUT", ["shop.test", "records", "MX", "@"], key, [])
    assert world.zone("godaddy") == before
    providers.godaddy_v3("PUT", ["shop.test", "dns-records", "1"], f"Bearer {providers.accounts.godaddy_token}", {}, {})
    assert world.zone("godaddy") == []


def test_aliyun_signature_as_documented() -> None:
    """The example of help.aliyun.com: the key `testsecret`, DescribeRegions of ECS."""
    params = {
        "Timestamp": "2016-02-23T12:46:24Z", "Format": "XML", "AccessKeyId": "testid", "Action": "DescribeRegions",
        "SignatureMethod": "HMAC-SHA1", "SignatureNonce": "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf",
        "Version": "2014-05-26", "SignatureVersion": "1.0",
    }  # fmt: skip
    assert signature("GET", params, "testsecret") == "OLeaidS1JvxuMvnyHOwuJ+uX5qY="


def test_a_key_is_never_shown() -> None:
    """Not in a traceback, not in a log."""
    assert "geheim" not in repr(Key("geheim", "geheim"))
    for key, kind in ((Key("a", "b"), GoDaddyV1), (Key("a"), GoDaddyV3)):
        api = open_godaddy(key, base="http://127.0.0.1:1")
        assert isinstance(api, kind)
        api.close()
