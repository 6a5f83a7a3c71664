"""The page in Chromium on the real simulated WeCom and mail server; a small scripted bot answers."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvicorn
import xmltodict
from fastapi import Request
from playwright.sync_api import Browser, Locator, Page, expect
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from wechatpy.work.crypto import WeChatCrypto

from bot.clock import ShiftedClock
from bot.sandbox.mailserver import MailServer
from bot.sandbox.organisation import Organisation
from bot.sandbox.page import page_routes
from bot.sandbox.seed import fill
from bot.sandbox.wecom_server import create_sandbox_app

T = TypeVar("T")
WAIT_SECONDS = 20
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1440, "height": 900}
SHOTS = os.environ.get("PAGE_SCREENSHOTS")  # a folder to put pictures into, for people to look at
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'


class Bot:
    """Opens callbacks, keeps them, and answers what a test told it to."""

    def __init__(self, org: Organisation) -> None:
        self.org = org
        self.heard: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        self.answer: Callable[[dict[str, Any]], Coroutine[Any, Any, None]] | None = None

    async def __call__(self, path: str, query: dict[str, str], body: bytes) -> int:
        if self.statuses:
            return self.statuses.pop(0)
        org = self.org
        keys = {
            "/wecom/callback": (org.callback_token, org.callback_aes_key),
            "/wecom/contacts-callback": (org.contacts_callback_token, org.contacts_callback_aes_key),
        }
        crypto = WeChatCrypto(*keys[path], org.corp_id)
        plain = crypto.decrypt_message(body, query["msg_signature"], query["timestamp"], query["nonce"])
        message = xmltodict.parse(plain)["xml"]
        self.heard.append(message)
        if self.answer:
            await self.answer(message)
        return 200

    def said(self) -> list[str]:
        """The texts members typed."""
        return [each["Content"] for each in self.heard if each["MsgType"] == "text"]

    def events(self, event: str) -> list[dict[str, Any]]:
        return [each for each in self.heard if each.get("Event") == event]


class Served:
    """The sandbox on a port of its own, in a loop of its own thread; its state is touched in that loop only."""

    def __init__(self, *, seeded: bool = False) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        listening = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.run(self.start(listening, seeded))

    async def start(self, listening: socket.socket, seeded: bool) -> None:
        self.clock = ShiftedClock()
        self.mail = MailServer(self.clock)
        self.org = Organisation(
            self.clock, self.mail, bot_url=self.base, api_base=self.base, fill=fill if seeded else None
        )
        self.bot = Bot(self.org)
        app = create_sandbox_app(self.org, deliver=self.bot, retry_delays=(0.01, 0.01, 0.01), timeout_seconds=2)
        if not any(getattr(each, "path", None) == "/" for each in app.router.routes):
            app.router.routes.extend(page_routes())
        app.router.routes.append(Route("/p/{rest}", self.one_time_page))
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=self.base)
        query = {"corpid": self.org.corp_id, "corpsecret": self.org.app_secret}
        self.token = (await self.http.get("/cgi-bin/gettoken", params=query)).json()["access_token"]
        config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.serving = asyncio.create_task(self.server.serve([listening]))

    async def one_time_page(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"opened by {request.cookies.get('sandbox_member')}")

    def stop(self) -> None:
        self.server.should_exit = True
        self.run(asyncio.wait_for(asyncio.shield(self.serving), WAIT_SECONDS))
        self.run(self.http.aclose())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(WAIT_SECONDS)
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT_SECONDS)

    def do(self, work: Callable[[], T]) -> T:
        """Call `work` in the sandbox's loop."""

        async def call() -> T:
            return work()

        return self.run(call())

    # the bot's side
    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.http.post(f"/cgi-bin/{path}", params={"access_token": self.token}, json=body)
        found: dict[str, Any] = answer.json()
        assert found["errcode"] == 0, found
        return found

    async def send(self, to: str, kind: str, part: dict[str, Any]) -> dict[str, Any]:
        body = {"touser": to, "msgtype": kind, "agentid": self.org.agent_id, kind: part}
        return await self.post("message/send", body)

    def text(self, to: str, text: str) -> None:
        self.run(self.send(to, "text", {"content": text}))

    def card(self, to: str, **more: Any) -> str:
        """Send a card; its response code."""
        return str(self.run(self.send(to, "template_card", {**CARD, **more}))["response_code"])

    def update(self, code: str, words: str) -> None:
        body = {"agentid": self.org.agent_id, "response_code": code, "atall": 1, "button": {"replace_name": words}}
        self.run(self.post("message/update_template_card", body))

    def file(self, to: str, name: str, content: bytes) -> None:
        async def work() -> None:
            query = {"access_token": self.token, "type": "file"}
            sent = await self.http.post("/cgi-bin/media/upload", params=query, files={"media": (name, content)})
            await self.send(to, "file", {"media_id": sent.json()["media_id"]})

        self.run(work())


CARD: dict[str, Any] = {
    "card_type": "button_interaction",
    "task_id": "job-12@1",
    "source": {"desc": "邮箱助手"},
    "main_title": {"title": "备份 ahing@corp.test", "desc": "到 support@corp.test 的 其他文件夹"},
    "sub_title_text": "可以打开 support@ 的人：阿兴、美玲",
    "horizontal_content_list": [
        {"keyname": "文件夹", "value": "9"},
        {"keyname": "邮件", "value": "318 封，24 MB"},
        {"keyname": "最早", "value": "2019-03-04"},
        {"keyname": "原因", "value": "离职"},
    ],
    "button_selection": {
        "question_key": "into",
        "title": "Into",
        "option_list": [{"id": "support", "text": "support@"}, {"id": "archive", "text": "archive@"}],
        "selected_id": "support",
    },
    "button_list": [
        {"text": "开始", "style": 1, "key": "start:12"},
        {"text": "再检查一次", "style": 3, "key": "check:12"},
        {"text": "取消", "style": 2, "key": "cancel:12"},
    ],
}


def opened(browser: Browser, locale: str, size: dict[str, int], **more: Any) -> Iterator[Page]:
    context = browser.new_context(
        locale=locale, viewport={"width": size["width"], "height": size["height"]}, timezone_id="Europe/Berlin", **more
    )
    page = context.new_page()
    page.set_default_timeout(WAIT_SECONDS * 1000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if "Content Security Policy" in line.text else None)
    page.on("request", lambda request: errors.append(request.url) if "//127.0.0.1" not in request.url else None)
    yield page
    context.close()
    assert not errors, "; ".join(errors)


def visit(page: Page, served: Served, place: str = "#mei/mailboxes") -> None:
    """The page with one phone, unless `place` says more: `""` is the page as it is at first, with several."""
    page.goto(f"{served.base}/{place}")
    expect(page.locator("#members .member")).to_have_count(10)


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png")


def turn(switch: Locator, *, on: bool) -> None:
    """Press a switch. Drawn again for what was done before, it may show the old state a moment: `check` would mind."""
    switch.click()
    expect(switch).to_be_checked(checked=on)


def last(page: Page) -> Any:
    """The newest line of the open chat."""
    return page.locator(".lines > .line").last


def wait_for(look: Callable[[], list[T]]) -> list[T]:
    """What `look` finds, as soon as it finds something."""
    done = threading.Event()
    for _ in range(WAIT_SECONDS * 50):
        if found := look():
            return found
        done.wait(0.02)
    raise AssertionError("nothing came")


def nameless(page: Page) -> list[str]:
    """Controls that a screen reader could not name."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('button, a, input, select, textarea, meter, summary')]
            .filter((e) => e.checkVisibility() && !e.matches('[aria-hidden=true]'))
            .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() && !e.matches('select, textarea')
                             || [...(e.labels ?? [])].some((l) => l.textContent.trim())))
            .map((e) => e.outerHTML.slice(0, 120))"""
    )
    return found


def story(served: Served, locale: str) -> None:
    """Enough in the chats, the bin and on the wire to look at."""
    chinese = locale.startswith("zh")
    said = "备份 ahing 到 support@ 原因 离职" if chinese else "backup ahing to support@ because he leaves"

    async def work() -> None:
        await served.http.post("/_sandbox/say", json={"member": "mei", "text": said})
        await served.http.post("/_sandbox/console", json={"action": "reclaim", "member": "yan"})

    menu = [
        {"type": "click", "name": "帮助", "key": "help"},
        {"name": "邮箱", "sub_button": [{"type": "click", "name": "我的邮箱", "key": "my_mailbox"}]},
        {"type": "click", "name": "任务", "key": "jobs"},
    ]
    served.do(lambda: setattr(served.org.chats, "menu", menu))
    served.run(work())
    served.text("mei", "正在查看 ahing@corp.test …" if chinese else "Looking into ahing@corp.test …")
    served.text("ahing", f"{served.base}/p/abc")
    served.card("mei")
    served.update(served.card("mei", task_id="job-11@1", main_title={"title": "job 11"}), "done")
    served.file("mei", "receipt-11.xlsx", b"PK" * 4000)
    served.card("mei", task_id="job-12@2")
    served.do(lambda: served.org.imap_line("ahing@corp.test", "client", "A1 SELECT INBOX"))
