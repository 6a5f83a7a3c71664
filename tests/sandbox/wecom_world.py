"""The simulated WeCom in a loop of its own, seen over raw HTTP, and a bot that only writes down what it is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx
import xmltodict
from wechatpy.work.crypto import WeChatCrypto

from bot.clock import ShiftedClock
from bot.sandbox.mailserver import MailServer
from bot.sandbox.organisation import Organisation
from bot.sandbox.wecom_server import create_sandbox_app

T = TypeVar("T")
BASE = "http://127.0.0.1:8000"
START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


class StillClock:
    """Stands still; ShiftedClock moves it."""

    def now(self) -> datetime:
        return START


class RecordingBot:
    """Takes callbacks; answers with the statuses given, then 200. It opens them with wechatpy's own crypto."""

    def __init__(self, org: Organisation) -> None:
        self.org = org
        self.statuses: list[int | Exception] = []
        self.raw: list[tuple[str, dict[str, str], bytes]] = []
        self.busy_seconds = 0.0

    async def __call__(self, path: str, query: dict[str, str], body: bytes) -> int:
        self.raw.append((path, query, body))
        if self.busy_seconds:
            await asyncio.sleep(self.busy_seconds)
        status = self.statuses.pop(0) if self.statuses else 200
        if isinstance(status, Exception):
            raise status
        return status

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The decrypted callbacks, in the order of their arrival."""
        return [self.opened(*each) for each in self.raw]

    def opened(self, path: str, query: dict[str, str], body: bytes) -> dict[str, Any]:
        org = self.org
        keys = {
            "/wecom/callback": (org.callback_token, org.callback_aes_key),
            "/wecom/contacts-callback": (org.contacts_callback_token, org.contacts_callback_aes_key),
        }
        crypto = WeChatCrypto(*keys[path], org.corp_id)
        plain = crypto.decrypt_message(body, query["msg_signature"], query["timestamp"], query["nonce"])
        message: dict[str, Any] = xmltodict.parse(plain)["xml"]
        return message


class World:
    """Everything a test needs, called without await."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.clock = ShiftedClock(StillClock())
        self.mail = MailServer(self.clock)
        self.org = Organisation(self.clock, self.mail, bot_url=BASE, api_base=BASE)
        self.bot = RecordingBot(self.org)
        self.app = create_sandbox_app(
            self.org, deliver=self.bot, retry_delays=(0.001, 0.001, 0.001), timeout_seconds=0.2
        )
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=BASE)
        self._tokens: dict[str, str] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def close(self) -> None:
        self.run(self.http.aclose())
        self.runner.close()

    # the simulated WeCom
    def token(self, caller: str = "app") -> str:
        if caller not in self._tokens:
            self._tokens[caller] = self.fresh_token(caller)["access_token"]
        return self._tokens[caller]

    def fresh_token(self, caller: str = "app", **change: str) -> dict[str, Any]:
        corpsecret = self.org.app_secret if caller == "app" else self.org.contacts_secret
        params = {"corpid": self.org.corp_id, "corpsecret": corpsecret, **change}
        answer: dict[str, Any] = self.run(self.http.get("/cgi-bin/gettoken", params=params)).json()
        return answer

    def get(self, path: str, *, caller: str = "app", **params: Any) -> dict[str, Any]:
        params = {"access_token": self.token(caller), **params}
        answer: dict[str, Any] = self.run(self.http.get(f"/cgi-bin/{path}", params=params)).json()
        return answer

    def post(self, path: str, body: Any = None, *, caller: str = "app", **params: Any) -> dict[str, Any]:
        content = json.dumps(body or {}, ensure_ascii=False).encode()
        params = {"access_token": self.token(caller), **params}
        response = self.run(self.http.post(f"/cgi-bin/{path}", params=params, content=content))
        answer: dict[str, Any] = response.json()
        return answer

    def code(self, path: str, body: Any = None, *, caller: str = "app") -> int:
        errcode: int = self.post(path, body, caller=caller)["errcode"]
        return errcode

    def send(self, to: str, kind: str, part: dict[str, Any], **more: Any) -> dict[str, Any]:
        body = {"touser": to, "msgtype": kind, "agentid": self.org.agent_id, kind: part, **more}
        return self.post("message/send", body)

    def text(self, to: str, text: str, **more: Any) -> dict[str, Any]:
        return self.send(to, "text", {"content": text}, **more)

    def card(self, to: str, task_id: str, **more: Any) -> dict[str, Any]:
        return self.send(to, "template_card", button_card(task_id, **more))

    def update(self, code: str, **more: Any) -> dict[str, Any]:
        body = {"agentid": self.org.agent_id, "response_code": code, "atall": 1, **more}
        return self.post("message/update_template_card", body)

    # the control API
    def control(self, path: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
        response = self.run(self.http.post(f"/_sandbox/{path}", json=body))
        assert response.status_code == status, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def look(self, path: str, **params: Any) -> dict[str, Any]:
        response = self.run(self.http.get(f"/_sandbox/{path}", params=params))
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def console(self, action: str, status: int = 200, **fields: Any) -> dict[str, Any]:
        answer = self.control("console", {"action": action, **fields}, status)
        result: dict[str, Any] = answer["result"] if status == 200 else answer
        return result

    def trouble(self, switch: str, on: bool = True, **more: Any) -> None:
        self.control("trouble", {"switch": switch, "on": on, **more})

    def advance(self, **units: float) -> None:
        seconds = units.get("days", 0) * 86400 + units.get("hours", 0) * 3600 + units.get("seconds", 0)
        self.control("clock", {"advance_seconds": seconds + units.get("minutes", 0) * 60})
        self._tokens.clear()

    def entries(self, member: str) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = self.look("chat", member=member)["entries"]
        return lines

    def last(self, member: str) -> dict[str, Any]:
        return self.entries(member)[-1]


def button_card(task_id: str | None, **more: Any) -> dict[str, Any]:
    """A small approval card."""
    card: dict[str, Any] = {
        "card_type": "button_interaction",
        "main_title": {"title": "备份 ahing@corp.test", "desc": "到 support@corp.test"},
        "sub_title_text": "他的全部邮件",
        "horizontal_content_list": [{"keyname": "原因", "value": "离职"}],
        "button_list": [
            {"text": "同意", "style": 1, "key": "approve:1"},
            {"text": "拒绝", "style": 2, "key": "reject:1"},
        ],
    }
    if task_id is not None:
        card["task_id"] = task_id
    return {**card, **more}
