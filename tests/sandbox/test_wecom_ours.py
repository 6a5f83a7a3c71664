"""The bot's own client and envelope against the simulated WeCom: two readings of one contract must agree."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from bot.errors import BadEnvelope
from bot.http import Http
from bot.wecom import cards, contacts, exmail
from bot.wecom.client import WeComClient
from bot.wecom.envelope import Envelope
from bot.wecom.errcodes import WeComError
from tests.sandbox.test_wecom_wechatpy import Served
from tests.sandbox.wecom_world import World, button_card


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.stop()


@pytest.fixture
def client(served: Served) -> Iterator[WeComClient]:
    org = served.org
    http = Http(served.base)
    slept: list[float] = []
    client = WeComClient(
        http, org.clock, org.corp_id, org.agent_id, org.app_secret, org.contacts_secret, sleep=slept.append
    )
    yield client
    client.close()


def control(served: Served, path: str, body: dict[str, Any]) -> Any:
    answer = httpx.post(f"{served.base}/_sandbox/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def last(served: Served, member: str) -> Any:
    return httpx.get(f"{served.base}/_sandbox/chat", params={"member": member}).json()["entries"][-1]


def test_texts_cards_and_files(served: Served, client: WeComClient) -> None:
    long = "\n".join("第" + str(number) + "行：" + "邮件" * 30 for number in range(40))
    assert len(cards.send_text(client, ["lan", "Nobody"], long)) > 1
    lines = httpx.get(f"{served.base}/_sandbox/chat", params={"member": "lan"}).json()["entries"]
    assert "\n".join(each["text"] for each in lines) == long
    sent = cards.send_card(client, ["yan", "Nobody"], button_card("ours-1"))
    assert (sent.invalid, sent.already_sent) == (["Nobody"], False)
    assert cards.send_card(client, "yan", button_card("ours-1")).already_sent
    assert sent.response_code
    assert not cards.update_card(client, sent.response_code, "yan", replace_name="已同意").code_spent
    assert cards.update_card(client, sent.response_code, "yan", replace_name="again").code_spent
    assert last(served, "yan")["card"]["greyed"]
    cards.send_file(client, "yan", "receipt.xlsx", b"x" * 100)
    assert last(served, "yan")["file"] | {"url": ""} == {"name": "receipt.xlsx", "size_bytes": 100, "url": ""}
    cards.create_menu(client, [{"name": "帮助", "type": "click", "key": "help"}])


def test_people(served: Served, client: WeComClient) -> None:
    assert contacts.member(client, "ahing").name == "阿兴"
    assert {each.userid for each in contacts.members(client, 2)} == {"ling", "ahing", "calvin"}
    assert {each.userid for each in contacts.names(client, 2)} == {"ling", "ahing", "calvin"}
    assert len({each.userid for each in contacts.list_ids(client)}) == 10
    assert len(contacts.departments(client)) == len(contacts.department_ids(client)) == 5
    assert contacts.department(client, 2).leaders == ("ling",)
    assert [each.name for each in contacts.tags(client)][:2] == ["mail-admin", "mail-approver"]
    assert contacts.tag(client, 1).userids == ("mei",)
    assert contacts.userid_by_address(client, "ahing@corp.test") == "ahing"
    assert contacts.userid_by_address(client, "nobody@corp.test") is None
    contacts.update_member(client, "tao", aliases=["chen.tao@corp.test"])
    with pytest.raises(WeComError) as refused:
        contacts.update_member(client, "tao", address="tao2@corp.test")
    assert refused.value.errcode == 60144
    assert contacts.callback_ips(client)
    contacts.app_info(client)
    now = client.clock.now()
    assert contacts.admin_log(client, now - timedelta(days=1), now) == []


def test_the_24_mail_calls(client: WeComClient) -> None:
    made = exmail.publicmail_create(client, "ours@corp.test", "ours", userids=["mei"], auth_code_remark="exmail-bot 1")
    assert made.auth_code is not None
    exmail.publicmail_update(client, made.id, name="我们的", aliases=["ours2@corp.test"])
    minted = exmail.mint_auth_code(client, made.id, "exmail-bot 2")
    codes = exmail.publicmail_get_auth_code_list(client, made.id)
    assert [each.remark for each in codes] == ["exmail-bot 1", "exmail-bot 2"]
    exmail.publicmail_delete_auth_code(client, made.id, minted.id)
    (mailbox,) = exmail.publicmail_get(client, [made.id])
    assert (mailbox.name, mailbox.aliases) == ("我们的", ("ours2@corp.test",))
    found = exmail.find_public_mailbox(client, "ours@corp.test")
    assert found is not None
    assert exmail.find_public_mailbox(client, "sales@corp.test") is None
    exmail.publicmail_delete(client, made.id)
    group = exmail.Group("team2@corp.test", "team2", members=("mei@corp.test",))
    exmail.group_create(client, group)
    exmail.group_update(client, group.address, departments=[2])
    assert exmail.group_get(client, group.address).departments == (2,)
    assert [each.address for each in exmail.group_search(client, "team2")] == [group.address]
    exmail.group_delete(client, group.address)
    exmail.account_act_email(client, on=False, userid="jun")
    exmail.account_act_email(client, on=True, userid="jun")
    exmail.useroption_update(client, "jun", {exmail.Option.IMAP_SMTP: True})
    assert exmail.useroption_get(client, "jun")[exmail.Option.IMAP_SMTP] is True
    assert exmail.mail_get_newcount(client, "jun") == 0
    assert exmail.vip_batch_add(client, ["jun", "nobody"]) == exmail.VipOutcome(("jun",), ("nobody",))
    assert exmail.vip_list(client) == exmail.Page(("jun",), None)
    exmail.vip_batch_del(client, ["jun"])
    exmail.app_compose_send(client, subject="报告", content="好了", to_addresses=["bot@corp.test"], to_userids=["jun"])
    now = client.clock.now()
    (mail_id,) = exmail.app_get_mail_list(client, now - timedelta(hours=1), now + timedelta(hours=1)).items
    assert "To: bot@corp.test" in exmail.app_read_mail(client, mail_id)
    exmail.app_update_email_alias(client, "keeper@corp.test")
    assert exmail.app_get_email_alias(client).aliases == ("bot@corp.test",)


def test_the_way_through_oauth2(served: Served, client: WeComClient) -> None:
    with httpx.Client() as browser:
        url = f"{served.base}/page/1"
        browser.get(f"{served.base}/_sandbox/open", params={"member": "ahing", "url": url})
        sent = browser.get(contacts.authorize_url(client, url, "state7", base=served.base))
    query = parse_qs(urlsplit(sent.headers["location"]).query)
    assert query["state"] == ["state7"]
    assert contacts.userinfo(client, query["code"][0]).userid == "ahing"
    with pytest.raises(WeComError) as refused:
        contacts.userinfo(client, query["code"][0])
    assert refused.value.errcode == 40029


@pytest.mark.parametrize("trouble", ["tokens_expired", "tokens_invalid"])
def test_a_token_that_dies_is_fetched_again_once(served: Served, client: WeComClient, trouble: str) -> None:
    contacts.tags(client)
    control(served, "trouble", {"switch": trouble, "on": True})
    assert contacts.tags(client)


def test_a_busy_wecom_is_asked_again(served: Served, client: WeComClient) -> None:
    contacts.tags(client)
    control(served, "trouble", {"switch": "busy", "on": True, "times": 2})
    assert contacts.tags(client)
    control(served, "trouble", {"switch": "tokens_refused", "on": True})
    with pytest.raises(WeComError):
        contacts.tags(client)
    control(served, "trouble", {"switch": "tokens_refused", "on": False})


def test_the_envelope_opens_what_the_sandbox_sealed() -> None:
    world = World()
    world.control("say", {"member": "mei", "text": "备份 ]]> 到 support@"})
    world.console("delete_member", member="calvin")
    org, now = world.org, world.clock.now()
    (_, query, body), (_, other_query, other_body) = world.bot.raw
    envelope = Envelope(org.callback_token, org.callback_aes_key, org.corp_id)
    message = envelope.open(query, body, now)
    assert (message["FromUserName"], message["Content"]) == ("mei", "备份 ]]> 到 support@")
    channel = Envelope(org.contacts_callback_token, org.contacts_callback_aes_key, org.corp_id)
    assert channel.open(other_query, other_body, now)["UserID"] == "calvin"
    with pytest.raises(BadEnvelope):
        envelope.open(query, body, now + timedelta(hours=1))
    with pytest.raises(BadEnvelope):
        envelope.open(other_query, other_body, now)
    world.close()
