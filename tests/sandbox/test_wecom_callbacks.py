"""Callbacks out: sealed so that wechatpy opens them, retried, in order, lost, doubled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import xmltodict
from wechatpy.exceptions import InvalidSignatureException
from wechatpy.work.crypto import WeChatCrypto
from wechatpy.work.exceptions import InvalidCorpIdException

from bot.sandbox.callbacks import HttpDelivery, to_xml
from tests.sandbox.wecom_world import World


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


def say(world: World, text: str, member: str = "mei") -> dict[str, Any]:
    return world.control("say", {"member": member, "text": text})


def test_a_text_reaches_the_bot_sealed_and_signed(world: World) -> None:
    assert say(world, "备份 ahing ]]> 到 support@ <b>") == {"acknowledged": True, "attempts": 1}
    path, query, body = world.bot.raw[0]
    assert path == "/wecom/callback"
    envelope = xmltodict.parse(body)["xml"]
    assert (envelope["ToUserName"], envelope["AgentID"]) == (world.org.corp_id, str(world.org.agent_id))
    assert int(query["timestamp"]) == world.org.epoch()
    message = world.bot.messages[0]
    assert message["Content"] == "备份 ahing ]]> 到 support@ <b>"
    assert (message["FromUserName"], message["MsgType"], message["ToUserName"]) == ("mei", "text", world.org.corp_id)
    assert message["AgentID"] == str(world.org.agent_id)
    assert int(message["CreateTime"]) == world.org.epoch()
    assert message["MsgId"].isdigit()


def test_another_token_or_corp_cannot_open_it(world: World) -> None:
    say(world, "x")
    _, query, body = world.bot.raw[0]
    org = world.org
    stamp = (query["msg_signature"], query["timestamp"], query["nonce"])
    with pytest.raises(InvalidSignatureException):
        WeChatCrypto("other", org.callback_aes_key, org.corp_id).decrypt_message(body, *stamp)
    with pytest.raises(InvalidCorpIdException):
        WeChatCrypto(org.callback_token, org.callback_aes_key, "wwother").decrypt_message(body, *stamp)


def test_signatures_follow_the_sandbox_clock(world: World) -> None:
    world.advance(days=3)
    say(world, "x")
    assert int(world.bot.raw[0][1]["timestamp"]) == world.org.epoch()


def test_anything_but_200_is_tried_three_times_more(world: World) -> None:
    world.bot.statuses = [500, 403, ConnectionRefusedError(), 200]
    assert say(world, "x") == {"acknowledged": True, "attempts": 4}
    messages = world.bot.messages
    assert {each["MsgId"] for each in messages} == {messages[0]["MsgId"]}
    assert len({query["nonce"] for _, query, _ in world.bot.raw}) == 4
    world.bot.statuses = [204, 500, 500, 500, 500]
    assert say(world, "y") == {"acknowledged": False, "attempts": 4}


def test_wecom_hangs_up_when_the_bot_takes_too_long(world: World) -> None:
    world.bot.busy_seconds = 5
    assert say(world, "x") == {"acknowledged": False, "attempts": 4}
    attempts = [each["status"] for each in world.look("wire", kind="callback")["entries"]]
    assert attempts == ["no answer in time"] * 4


def test_switches_of_the_callbacks(world: World) -> None:
    world.trouble("callback_twice", times=1)
    assert say(world, "twice") == {"acknowledged": True, "attempts": 2}
    assert len({each["MsgId"] for each in world.bot.messages}) == 1
    world.trouble("callback_lost", times=1)
    assert say(world, "lost") == {"acknowledged": False, "attempts": 0}
    assert len(world.bot.raw) == 2
    world.trouble("acknowledgement_lost", times=1)
    assert say(world, "again") == {"acknowledged": True, "attempts": 2}
    assert [each["Content"] for each in world.bot.messages] == ["twice", "twice", "again", "again"]


def test_one_member_is_heard_in_order_and_does_not_hold_up_another(world: World) -> None:
    world.bot.statuses = [500, 500, 500, 200]

    async def talk() -> None:
        first = asyncio.ensure_future(world.http.post("/_sandbox/say", json={"member": "mei", "text": "1"}))
        await asyncio.sleep(0)
        others = [
            world.http.post("/_sandbox/say", json={"member": "mei", "text": str(number)}) for number in range(2, 5)
        ]
        await asyncio.gather(first, *others)

    world.run(talk())
    said = [each["Content"] for each in world.bot.messages]
    assert said == ["1", "1", "1", "1", "2", "3", "4"]


def test_a_slow_callback_of_one_member_lets_others_through(world: World) -> None:
    gate = asyncio.Event()
    order: list[str] = []

    async def deliver(path: str, query: dict[str, str], body: bytes) -> int:
        message = world.bot.opened(path, query, body)
        if message["FromUserName"] == "mei":
            await gate.wait()
        order.append(message["FromUserName"])
        gate.set()
        return 200

    world.app.state.callbacks.deliver = deliver

    async def talk() -> None:
        await asyncio.gather(
            *(world.http.post("/_sandbox/say", json={"member": member, "text": "x"}) for member in ("mei", "ling"))
        )

    world.run(talk())
    assert order == ["ling", "mei"]


# ---------------------------------------------------------------------- clicks
def test_a_click_brings_a_fresh_code_that_updates_the_card_once(world: World) -> None:
    sent = world.card("mei|ling", "t-1")["response_code"]
    assert world.control("click", {"member": "mei", "task_id": "t-1", "key": "approve:1"})["acknowledged"]
    event = world.bot.messages[-1]
    assert (event["Event"], event["EventKey"], event["TaskId"]) == ("template_card_event", "approve:1", "t-1")
    assert (event["CardType"], event["FromUserName"]) == ("button_interaction", "mei")
    code = event["ResponseCode"]
    assert code != sent
    assert world.update(code, button={"replace_name": "已同意"})["errcode"] == 0
    assert world.update(code, button={"replace_name": "x"})["errcode"] == 60140
    answer = world.control("click", {"member": "ling", "task_id": "t-1", "key": "approve:1"}, 409)
    assert "已同意" in answer["detail"]
    assert world.update(sent, button={"replace_name": "最后"})["errcode"] == 0


def test_only_buttons_that_are_there_can_be_pressed(world: World) -> None:
    world.card("mei", "t-1")
    world.control("click", {"member": "mei", "task_id": "t-1", "key": "other"}, 404)
    world.control("click", {"member": "mei", "task_id": "t-2", "key": "approve:1"}, 404)
    world.control("click", {"member": "ling", "task_id": "t-1", "key": "approve:1"}, 404)
    assert world.bot.raw == []


def test_choices_come_with_the_click(world: World) -> None:
    options = [{"id": "a", "text": "甲"}, {"id": "b", "text": "乙"}]
    selector = {"question_key": "q", "title": "哪个", "option_list": options, "selected_id": "a"}
    world.card("mei", "t-1", button_selection=selector)
    click = {"member": "mei", "task_id": "t-1", "key": "approve:1"}
    world.control("click", click)
    item = world.bot.messages[-1]["SelectedItems"]["SelectedItem"]
    assert item == {"QuestionKey": "q", "OptionIds": {"OptionId": "a"}}
    world.control("click", {**click, "selected": {"q": ["b"]}})
    assert world.bot.messages[-1]["SelectedItems"]["SelectedItem"]["OptionIds"]["OptionId"] == "b"
    for wrong in ({"q": ["c"]}, {"other": ["a"]}, {"q": ["a", "b"]}):
        world.control("click", {**click, "selected": wrong}, 422)


def test_several_boxes_can_be_ticked(world: World) -> None:
    card = {
        "card_type": "vote_interaction",
        "main_title": {"title": "哪些"},
        "task_id": "v-1",
        "checkbox": {"question_key": "q", "mode": 1, "option_list": [{"id": n, "text": n} for n in "abc"]},
        "submit_button": {"text": "提交", "key": "go"},
    }
    world.send("mei", "template_card", card)
    assert world.last("mei")["card"]["choices"][0]["multiple"] is True
    click = {"member": "mei", "task_id": "v-1", "key": "go", "selected": {"q": ["a", "c"]}}
    world.control("click", click)
    event = world.bot.messages[-1]
    assert event["SelectedItems"]["SelectedItem"]["OptionIds"]["OptionId"] == ["a", "c"]


def test_the_corner_menu_of_a_card_has_an_event_of_its_own(world: World) -> None:
    menu = {"desc": "m", "action_list": [{"text": "停止提醒", "key": "stop"}]}
    code = world.card("mei", "t-1", action_menu=menu)["response_code"]
    world.update(code, button={"replace_name": "完"})
    world.control("click", {"member": "mei", "task_id": "t-1", "key": "stop"})
    event = world.bot.messages[-1]
    assert (event["Event"], event["EventKey"]) == ("template_card_menu_event", "stop")
    assert "SelectedItems" not in event


# ---------------------------------------------------------------------- the other channel
def test_contact_changes_go_to_a_channel_of_their_own(world: World) -> None:
    answer = world.control("console", {"action": "delete_member", "member": "calvin"})
    assert answer["callbacks"] == [{"acknowledged": True, "attempts": 1}]
    path, _, body = world.bot.raw[0]
    assert path == "/wecom/contacts-callback"
    assert "AgentID" not in xmltodict.parse(body)["xml"]
    event = world.bot.messages[0]
    assert "AgentID" not in event
    assert (event["Event"], event["ChangeType"], event["UserID"]) == ("change_contact", "delete_user", "calvin")
    assert event["FromUserName"] == "sys"
    assert world.org.contacts_callback_token != world.org.callback_token


def test_files_menu_and_entering(world: World) -> None:
    world.control("file", {"member": "mei", "name": "成员.csv", "content_base64": "YSxiLGMsZA=="})
    message = world.bot.messages[-1]
    assert message["MsgType"] == "file"
    params = {"access_token": world.token(), "media_id": message["MediaId"]}
    assert world.run(world.http.get("/cgi-bin/media/get", params=params)).content == b"a,b,c,d"
    world.control("enter", {"member": "mei"})
    assert world.bot.messages[-1]["Event"] == "enter_agent"


def test_mail_for_a_public_mailbox_is_announced(world: World) -> None:
    world.console("receive_mail", address="support@corp.test", subject="坏了", text="help")
    event = world.bot.messages[-1]
    assert (event["Event"], event["ChangeType"], event["Id"], event["Amount"]) == (
        "public_email_change",
        "receive_email",
        "1",
        "1",
    )


def test_xml_holds_what_people_type() -> None:
    fields = {"A": "]]>", "B": "<&>\n", "C": 7, "D": {"E": ["1", "2"]}}
    parsed = xmltodict.parse(to_xml(fields), strip_whitespace=False)["xml"]
    assert parsed == {"A": "]]>", "B": "<&>\n", "C": "7", "D": {"E": ["1", "2"]}}


# ---------------------------------------------------------------------- over TCP
async def answering(reply: bytes, seen: list[bytes]) -> asyncio.Server:
    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        seen.append(head + await reader.readexactly(length))
        writer.write(reply)
        writer.close()

    return await asyncio.start_server(served, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("reply", "attempts"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1),
        (b"HTTP/1.1 503 No\r\n\r\n", 4),
        (b"", 4),
        (b"SSH-2.0\r\n", 4),
    ],
)
def test_without_a_bot_in_the_process_callbacks_go_over_tcp(world: World, reply: bytes, attempts: int) -> None:
    seen: list[bytes] = []

    async def talk() -> dict[str, Any]:
        server = await answering(reply, seen)
        world.org.bot_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        world.app.state.callbacks.deliver = HttpDelivery(world.org)
        answer = await world.http.post("/_sandbox/say", json={"member": "mei", "text": "x"})
        server.close()
        await server.wait_closed()
        result: dict[str, Any] = answer.json()
        return result

    assert world.run(talk()) == {"acknowledged": attempts == 1, "attempts": attempts}
    assert seen[0].startswith(b"POST /wecom/callback?msg_signature=")


@pytest.mark.parametrize(
    ("answers", "right"),
    [("{0}", True), ('"{0}"', False), ("{0}\n", False), ("", False), (None, False)],
)
def test_the_console_checks_a_callback_url_before_it_takes_it(world: World, answers: str | None, right: bool) -> None:
    async def bot(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode()
        query = {name: values[0] for name, values in parse_qs(urlsplit(line.split(" ")[1]).query).items()}
        org = world.org
        crypto = WeChatCrypto(org.callback_token, org.callback_aes_key, org.corp_id)
        if answers is not None and "/wecom/callback?" in line:
            stamp = (query["msg_signature"], query["timestamp"], query["nonce"])
            plain = answers.format(crypto.check_signature(*stamp, query["echostr"])).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + plain)
        writer.close()

    async def check() -> dict[str, Any]:
        server = await asyncio.start_server(bot, "127.0.0.1", 0)
        world.org.bot_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        answer = await world.http.post("/_sandbox/console", json={"action": "verify_callbacks"})
        server.close()
        await server.wait_closed()
        result: dict[str, Any] = answer.json()["result"]
        return result

    found = world.run(check())
    assert (found["app"] is None) == right
    assert found["contacts"] is not None
