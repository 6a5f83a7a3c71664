"""wechatpy, a client none of us wrote, talks to the simulated WeCom over TCP."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from wechatpy.exceptions import WeChatClientException
from wechatpy.work import WeChatClient

from bot.clock import ShiftedClock
from bot.http import Http
from bot.sandbox.mailserver import MailServer
from bot.sandbox.organisation import Organisation
from bot.sandbox.wecom_server import create_sandbox_app
from bot.wecom import exmail
from bot.wecom.client import WeComClient

WAIT_SECONDS = 20


class Served:
    """The sandbox behind uvicorn in a thread of its own."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        clock = ShiftedClock()
        self.org = Organisation(clock, MailServer(clock), bot_url=self.base, api_base=self.base)
        app = create_sandbox_app(self.org, deliver=self.deliver, retry_delays=())
        config = uvicorn.Config(app, lifespan="off", ws="none", log_level="critical", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    async def deliver(self, path: str, query: dict[str, str], body: bytes) -> int:
        return 200

    def serve(self) -> None:
        asyncio.run(self.server.serve(sockets=[self.socket]))

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(WAIT_SECONDS)
        assert not self.thread.is_alive()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.stop()


class Client(WeChatClient):  # type: ignore[misc]
    """wechatpy's client; only the address of its token call is written into its code and must be said here."""

    def fetch_access_token(self) -> Any:
        url = f"{self.API_BASE_URL}gettoken"
        return self._fetch_access_token(url, {"corpid": self.corp_id, "corpsecret": self.secret})


@pytest.fixture
def client(served: Served) -> Iterator[Any]:
    client = Client(served.org.corp_id, served.org.app_secret, timeout=WAIT_SECONDS)
    client.API_BASE_URL = f"{served.base}/cgi-bin/"
    yield client
    client._http.close()


def look(served: Served, path: str) -> Any:
    with urllib.request.urlopen(f"{served.base}/_sandbox/{path}", timeout=WAIT_SECONDS) as answer:  # noqa: S310
        return json.load(answer)


def test_messages(served: Served, client: Any) -> None:
    answer = client.message.send_text(served.org.agent_id, ["mei", "nobody"], "你好，世界")
    assert answer["invaliduser"] == "nobody"
    assert look(served, "chat?member=mei")["entries"][-1]["text"] == "你好，世界"
    card = {
        "card_type": "text_notice",
        "main_title": {"title": "好了"},
        "card_action": {"type": 1, "url": served.base},
    }
    client.message.send(served.org.agent_id, "ling", msg={"msgtype": "template_card", "template_card": card})
    assert look(served, "chat?member=ling")["entries"][-1]["card"]["title"] == "好了"


def test_people(client: Any) -> None:
    assert client.user.get("ahing")["name"] == "阿兴"
    assert {each["userid"] for each in client.user.list(2, simple=True)} == {"ling", "ahing", "calvin"}
    assert len(client.department.list()) == 5
    assert client.tag.get_users(1)["tagname"] == "mail-admin"
    with pytest.raises(WeChatClientException) as raised:
        client.user.get("nobody")
    assert raised.value.errcode == 60111


def test_files_and_menu(served: Served, client: Any) -> None:
    file = io.BytesIO(b"a,b,c,d")
    file.name = "report.csv"
    media = client.media.upload("file", file)
    client.message.send_file(served.org.agent_id, ["mei"], media["media_id"])
    assert look(served, "chat?member=mei")["entries"][-1]["file"]["name"] == "report.csv"
    menu = {"button": [{"type": "click", "name": "帮助", "key": "help"}]}
    client.menu.create(served.org.agent_id, menu)
    assert client.menu.get(served.org.agent_id)["button"] == menu["button"]


def test_public_mailboxes(client: Any) -> None:
    number = client.email.create_public_email("wechatpy@corp.test", "wechatpy", userid_list=["mei"])
    client.email.update_public_email(number, name="新名字", department_list=[2])
    mailbox = client.email.get_public_email(number)
    assert (mailbox["name"], mailbox["userid_list"]["list"]) == ("新名字", ["mei"])
    assert [each["id"] for each in client.email.search_public_email(1, "wechatpy")] == [number]
    client.email.delete_public_email(number)
    assert client.email.search_public_email(1, "wechatpy") == []


def test_two_clients_see_the_same(served: Served, client: Any) -> None:
    """What the bot's own client writes wechatpy reads, and the other way round; neither loses what the other set."""
    http = Http(served.base)
    ours = WeComClient(http, ShiftedClock(), served.org.corp_id, served.org.agent_id, served.org.app_secret)
    try:
        number = exmail.publicmail_create(ours, "both@corp.test", "both", userids=["mei"], tags=[3]).id
        seen = client.email.get_public_email(number)
        assert (seen["email"], seen["userid_list"]["list"], seen["tag_list"]["list"]) == (
            "both@corp.test", ["mei"], [3],
        )  # fmt: skip
        client.email.update_public_email(number, userid_list=["mei", "tao"])
        exmail.publicmail_update(ours, number, aliases=["two@corp.test"])
        client.email.update_public_email(number, name="beide")
        (box,) = exmail.publicmail_get(ours, [number])
        assert (box.name, box.userids, box.tags, box.aliases) == ("beide", ("mei", "tao"), (3,), ("two@corp.test",))
        assert [each["id"] for each in client.email.search_public_email(1, "both")] == [number]
        exmail.account_act_email(ours, on=False, userid="ahing")
        with pytest.raises(WeChatClientException) as raised:
            client.email.inactive_email(user_id="ahing")
        assert raised.value.errcode == 680045
        client.email.active_email(user_id="ahing")
        client.email.update_user_option("ahing", [{"type": 2, "value": "0"}])
        assert exmail.useroption_get(ours, "ahing")[exmail.Option.IMAP_SMTP] is False
        client.email.delete_public_email(number)
        assert exmail.find_public_mailbox(ours, "both@corp.test") is None
    finally:
        http.close()


def test_groups_options_and_accounts(client: Any) -> None:
    client.email.create_group("team@corp.test", "team", email_list=["mei@corp.test"])
    assert client.email.get_group("team@corp.test")["email_list"]["list"] == ["mei@corp.test"]
    assert [each["groupid"] for each in client.email.search_group(1, "team")] == ["team@corp.test"]
    client.email.update_group("team@corp.test", department_list=[2])
    client.email.delete_group("team@corp.test")
    client.email.update_user_option("ahing", [{"type": 2, "value": "0"}])
    assert client.email.get_user_option("ahing", [2]) == [{"type": 2, "value": "0"}]
    client.email.inactive_email(user_id="ahing")
    client.email.active_email(user_id="ahing")
    assert client.email.get_new_email_count("ahing") == 0


def test_it_fetches_a_new_token_when_the_old_one_dies(served: Served, client: Any) -> None:
    client.user.get("mei")
    order = json.dumps({"switch": "tokens_expired", "on": True}).encode()
    request = urllib.request.Request(  # noqa: S310
        f"{served.base}/_sandbox/trouble", order, {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=WAIT_SECONDS).close()  # noqa: S310
    assert client.user.get("mei")["userid"] == "mei"


def test_the_page_is_told_of_changes(served: Served, client: Any) -> None:
    with urllib.request.urlopen(f"{served.base}/_sandbox/events", timeout=WAIT_SECONDS) as stream:  # noqa: S310
        assert stream.headers["content-type"].startswith("text/event-stream")
        first = int(stream.readline().removeprefix(b"data: "))
        assert stream.readline() == b"\n"
        started = time.monotonic()
        client.message.send_text(served.org.agent_id, ["mei"], "x")
        assert int(stream.readline().removeprefix(b"data: ")) > first
        assert time.monotonic() - started < 5
