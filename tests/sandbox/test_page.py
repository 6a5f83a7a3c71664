"""The sandbox's page in Chromium, on the real simulated WeCom and mail server; a small scripted bot answers."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
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
from bot.sandbox.page import POLICY, page_routes
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


@pytest.fixture
def served() -> Iterator[Served]:
    """A sandbox with empty mailboxes."""
    served = Served()
    yield served
    served.stop()


@pytest.fixture
def seeded() -> Iterator[Served]:
    """A sandbox with the sample mail."""
    served = Served(seeded=True)
    yield served
    served.stop()


@pytest.fixture
def english(chromium: Browser) -> Iterator[Page]:
    """A page of somebody whose browser speaks English; it fails on script errors and on anything the policy stopped."""
    yield from opened(chromium, "en-GB", DESKTOP)


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


def visit(page: Page, served: Served, place: str = "") -> None:
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


def test_a_member_talks_to_the_bot(served: Served, english: Page) -> None:
    """What is typed goes out as a callback and stands in the chat; what the bot says comes by itself."""
    visit(english, served)
    expect(english.locator(".banner")).to_contain_text("Simulated organisation")
    expect(english.locator("#link")).to_have_text("live")
    expect(english.locator(".member[aria-current=true]")).to_contain_text("美玲 mei")
    english.keyboard.press("Tab")
    english.keyboard.press("Enter")  # the skip link leads to the chat
    expect(english.get_by_label("Message to the bot as Mei")).to_be_focused()
    english.keyboard.type("backup ahing to support@ because he leaves")
    english.keyboard.press("Enter")
    expect(last(english)).to_contain_text("backup ahing to support@ because he leaves")
    expect(english.locator("#input")).to_have_value("")
    assert wait_for(served.bot.said) == ["backup ahing to support@ because he leaves"]
    assert served.bot.heard[-1]["FromUserName"] == "mei"
    served.text("mei", "Looking into ahing@corp.test …")
    expect(last(english)).to_contain_text("Looking into ahing@corp.test …")


def test_enter_while_spelling_chinese_sends_nothing(served: Served, english: Page) -> None:
    """The Enter that ends a word of an input method is not the Enter that sends; Shift+Enter makes a line."""
    visit(english, served)
    english.locator("#input").fill("bei")
    english.locator("#input").dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    english.locator("#input").press("Shift+Enter")
    expect(english.locator("#input")).to_have_value("bei\n")
    english.locator("#input").press("Enter")
    expect(english.locator("#input")).to_have_value("")
    assert wait_for(served.bot.said) == ["bei"]


def test_a_message_nobody_took_is_told(served: Served, english: Page) -> None:
    """The bot was down: the page says so and after how many attempts."""
    visit(english, served)
    served.bot.statuses = [502, 502, 502, 502]
    english.locator("#input").fill("help")
    english.locator("#input").press("Enter")
    expect(english.locator("#notice")).to_have_text("The bot did not take it, after 4 attempts.")


def test_a_card_is_pressed_and_greys_out(served: Served, english: Page) -> None:
    """The chosen option goes along with the press; the greyed card shows what was decided and cannot be pressed."""
    visit(english, served)
    served.card("mei")
    card = english.locator(".card")
    expect(card.locator(".card-rows dt")).to_have_count(4)
    card.get_by_label("Into").select_option("archive")
    served.text("mei", "something else arrives meanwhile")
    expect(last(english)).to_contain_text("meanwhile")
    expect(card.get_by_label("Into")).to_have_value("archive")  # and was not lost in redrawing
    card.get_by_role("button", name="开始").click()
    expect(card.get_by_role("button", name="开始")).to_have_attribute("data-pressed", "")
    click = served.bot.events("template_card_event")[-1]
    assert (click["EventKey"], click["TaskId"], click["FromUserName"]) == ("start:12", "job-12@1", "mei")
    assert click["SelectedItems"]["SelectedItem"]["OptionIds"]["OptionId"] == "archive"
    served.update(click["ResponseCode"], "美玲 已开始")
    expect(card.locator(".card-done")).to_have_text("美玲 已开始")
    expect(card.get_by_role("button")).to_have_count(0)
    expect(card.get_by_label("Into")).to_be_disabled()


def test_checkboxes_and_selectors_answer(served: Served, english: Page) -> None:
    """Vote cards send what is ticked, cards of selectors one answer each; the corner menu stays live."""
    visit(english, served)
    options = [{"id": f"f{n}", "text": f"Folder {n}", "is_checked": n == 1} for n in range(3)]
    plain = {"button_selection": None, "button_list": None, "submit_button": {"text": "Send it", "key": "sent:1"}}
    served.card(
        "mei",
        card_type="vote_interaction",
        task_id="vote-1",
        checkbox={"question_key": "folders", "mode": 1, "option_list": options},
        action_menu={"desc": "more", "action_list": [{"text": "Not now", "key": "later:1"}]},
        **plain,
    )
    english.get_by_label("Folder 2").check()
    english.get_by_role("button", name="Send it").click()
    click = wait_for(lambda: served.bot.events("template_card_event"))[0]
    assert click["SelectedItems"]["SelectedItem"]["OptionIds"]["OptionId"] == ["f1", "f2"]
    english.get_by_label("More").click()
    english.get_by_role("button", name="Not now").click()
    assert wait_for(lambda: served.bot.events("template_card_menu_event"))[0]["EventKey"] == "later:1"
    questions = [
        {
            "question_key": f"q{n}",
            "title": f"Question {n}",
            "option_list": [{"id": "a", "text": "A"}, {"id": "b", "text": "B"}],
        }
        for n in range(2)
    ]
    served.card("mei", card_type="multiple_interaction", task_id="many-1", select_list=questions, **plain)
    english.get_by_label("Question 1").select_option("b")
    last(english).get_by_role("button", name="Send it").click()
    answer = wait_for(lambda: served.bot.events("template_card_event")[1:])[0]["SelectedItems"]["SelectedItem"]
    assert answer == {"QuestionKey": "q1", "OptionIds": {"OptionId": "b"}}


def wait_for(look: Callable[[], list[T]]) -> list[T]:
    """What `look` finds, as soon as it finds something."""
    done = threading.Event()
    for _ in range(WAIT_SECONDS * 50):
        if found := look():
            return found
        done.wait(0.02)
    raise AssertionError("nothing came")


def test_links_open_as_the_member_who_reads_them(served: Served, english: Page) -> None:
    """A one-time page knows who opened it; an address of elsewhere, or a script, is only text."""
    visit(english, served, "#ahing/chat")
    served.text(
        "ahing",
        f"Give access: {served.base}/p/abc?x=1&y=2。 Not https://evil.test/a nor javascript:alert(1) "
        f'nor <a href="javascript:alert(1)">this</a>, but <a href="{served.base}/p/def">that one</a>.',
    )
    links = last(english).locator("a")
    expect(links).to_have_count(2)
    expect(links.nth(1)).to_have_text("that one")
    expect(last(english)).to_contain_text("https://evil.test/a")
    with english.context.expect_page() as popup:
        links.nth(0).click()
    expect(popup.value.locator("body")).to_have_text("opened by ahing")
    assert popup.value.url == f"{served.base}/p/abc?x=1&y=2"
    assert popup.value.evaluate("window.opener") is None
    popup.value.close()
    english.locator(".member[data-member=lan]").click()
    served.text("lan", f"{served.base}/p/ghi")
    with english.context.expect_page() as popup:
        last(english).locator("a").click()
    expect(popup.value.locator("body")).to_have_text("opened by lan")


def test_what_others_write_is_never_markup(served: Served, english: Page) -> None:
    """Texts, cards, names of folders and files, wire entries: all of them are shown as they were written."""
    folder, box = f"其他文件夹/{HOSTILE.replace('/', ' ')}", served.org.box("ahing@corp.test")
    served.do(lambda: box.put(folder, b"x", served.clock.now()))
    visit(english, served)
    served.text("mei", HOSTILE)
    expect(last(english)).to_contain_text("<img src=x")
    served.card("mei", main_title={"title": HOSTILE}, sub_title_text=HOSTILE)
    expect(english.locator(".card-title")).to_contain_text("<img src=x")
    served.file("mei", "<b>report</b>.xlsx", b"content")
    expect(last(english).locator(".file-name")).to_have_text("<b>report</b>.xlsx")
    english.locator("summary", has_text="ahing@corp.test").click()
    expect(english.locator("[id='box-ahing@corp.test']")).to_contain_text("<img src=x")
    english.get_by_role("tab", name="Wire log").click()
    english.locator(".wire-entry", has_text="message/send").first.locator("summary").click()
    expect(english.locator(".wire-whole").first).to_contain_text("<img src=x")
    assert english.locator("main img, main script").count() == 0
    assert english.title() == "sandbox · exmail-bot"


def test_the_policy_lets_nothing_else_run(served: Served, english: Page) -> None:
    """Inline scripts and styles are refused, and so is markup from a string."""
    answer = english.goto(served.base)
    assert answer
    assert answer.headers["content-security-policy"] == POLICY
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", answer.text())
    refused = english.evaluate(
        "() => { try { document.body.innerHTML = '<b>x</b>'; return false } catch { return true } }"
    )
    assert refused
    again = english.request.get(f"{served.base}/_sandbox/static/page.css")
    same = english.request.get(
        f"{served.base}/_sandbox/static/page.css", headers={"If-None-Match": again.headers["etag"]}
    )
    assert (again.status, same.status) == (200, 304)
    for path in ("nothing.js", "../__init__.py", "..%2f__init__.py"):
        assert english.request.get(f"{served.base}/_sandbox/static/{path}").status == 404


def test_who_got_something_new_is_marked(served: Served, english: Page) -> None:
    """A mark with a number until the chat is opened; it lasts over a reload."""
    visit(english, served)
    served.text("ling", "Please decide")
    served.text("ling", "Today")
    ling = english.locator(".member[data-member=ling]")
    expect(ling.locator(".badge")).to_contain_text("2 new")
    expect(english).to_have_title("(2) sandbox · exmail-bot")
    english.reload()
    expect(ling.locator(".badge")).to_contain_text("2 new")
    ling.click()
    expect(last(english)).to_contain_text("Today")
    expect(ling.locator(".badge")).to_have_count(0)
    english.reload()
    expect(english.locator(".member[aria-current=true]")).to_contain_text("ling")
    expect(ling.locator(".badge")).to_have_count(0)


def test_each_member_keeps_what_he_has_typed(served: Served, english: Page) -> None:
    """Switching, and everything that arrives, leaves typed text and the scroll position where they were."""
    visit(english, served)
    for number in range(14):
        served.text("mei", f"Line {number}\nand more")
    expect(last(english)).to_contain_text("Line 13")
    english.locator("#input").fill("half a sent")
    log = english.locator(".log")
    assert log.evaluate("e => e.scrollHeight - e.scrollTop - e.clientHeight") < 3  # at the end, where news are
    log.evaluate("e => { e.scrollTop = 40 }")
    served.text("mei", "Line 14")
    expect(last(english)).to_contain_text("Line 14")
    assert log.evaluate("e => e.scrollTop") == 40
    expect(english.locator("#input")).to_have_value("half a sent")
    expect(english.locator("#input")).to_be_focused()
    english.locator(".member[data-member=ahing]").click()
    expect(english.locator("#input")).to_have_value("")
    english.locator(".member[data-member=mei]").click()
    expect(english.locator("#input")).to_have_value("half a sent")


def test_files_go_both_ways(served: Served, english: Page, tmp_path: Path) -> None:
    """The member export dropped into the chat arrives byte for byte; a receipt can be downloaded."""
    visit(english, served)
    export = tmp_path / "成员.csv"
    export.write_bytes(b"\xef\xbb\xbf" + bytes(range(256)) * 50)
    english.locator("input[type=file]").set_input_files(export)
    expect(last(english).locator(".file-name")).to_have_text("成员.csv")
    media = wait_for(lambda: [each for each in served.bot.heard if each["MsgType"] == "file"])[0]["MediaId"]
    assert served.do(lambda: served.org.chats.media[media].content) == export.read_bytes()
    drop = """([name, text]) => {
        const files = new DataTransfer(); files.items.add(new File([text], name));
        const phone = document.querySelector('.phone');
        for (const type of ['dragenter', 'dragover', 'drop'])
            phone.dispatchEvent(new DragEvent(type, {dataTransfer: files, bubbles: true, cancelable: true}));
    }"""
    english.evaluate(drop, ["dropped.csv", "a,b"])
    expect(last(english).locator(".file-name")).to_have_text("dropped.csv")
    served.file("mei", "receipt-12.xlsx", b"PK receipt")
    expect(last(english).locator(".file-name")).to_have_text("receipt-12.xlsx")
    with english.expect_download() as download:
        last(english).locator("a.file").click()
    assert Path(download.value.path()).read_bytes() == b"PK receipt"
    assert download.value.suggested_filename == "receipt-12.xlsx"


def test_the_menu_of_the_bot(served: Served, english: Page) -> None:
    """Entries of the app's menu, also those below another, send a click."""
    menu = [
        {"type": "click", "name": "帮助", "key": "help"},
        {"name": "邮箱", "sub_button": [{"type": "click", "name": "我的邮箱", "key": "my_mailbox"}]},
    ]
    served.do(lambda: setattr(served.org.chats, "menu", menu))
    visit(english, served)
    english.get_by_role("button", name="帮助").click()
    assert wait_for(lambda: served.bot.events("click"))[-1]["EventKey"] == "help"
    english.locator(".menu-group summary").click()
    english.get_by_role("button", name="我的邮箱").click()
    wait_for(lambda: served.bot.events("click")[1:])
    assert served.bot.events("click")[-1]["EventKey"] == "my_mailbox"


def test_mailboxes_grow_and_obey(served: Served, english: Page) -> None:
    """Counts follow a running copy, the switches of the webmail work, a client password is made and logs in."""
    visit(english, served)
    box = english.locator("[id='box-ahing@corp.test']")
    box.locator("summary").click()
    when = served.clock.now()

    def arrive() -> None:
        for number in range(3):
            served.org.box("ahing@corp.test").put("其他文件夹/客户/A 公司", b"Subject: %d\r\n\r\nx" % number, when)
        served.org.changed()

    served.do(arrive)
    expect(box.locator("summary .count")).to_have_text("3 mails")
    expect(box.locator("[data-folder='其他文件夹/客户/A 公司'] .count")).to_have_text("3")
    expect(box.locator("[data-folder='其他文件夹'] > .folder .count")).to_have_text("(3)")
    box.get_by_label("IMAP shows", exact=True).select_option("30")
    expect(box.locator("summary .pill")).to_have_text("the last 30 days")
    turn(box.get_by_label("IMAP shows custom folders"), on=False)
    turn(box.get_by_label("IMAP is on"), on=False)
    expect(box.locator("summary")).to_contain_text("IMAP off")
    kept = served.do(lambda: vars(served.org.box("ahing@corp.test")).copy())
    assert (kept["window_days"], kept["show_custom"], kept["imap_on"]) == (30, False, False)
    served.do(lambda: (setattr(served.org.box("ahing@corp.test"), "imap_on", True), served.org.changed()))
    expect(box.get_by_label("IMAP is on")).to_be_checked()  # the bot switched it on
    box.get_by_role("button", name="Make a client password").click()
    secret = box.locator(".secret")
    expect(secret).to_have_text(re.compile("^[A-Za-z]{16}$"))
    assert secret.inner_text() in served.do(lambda: list(served.org.box("ahing@corp.test").passwords.values()))
    expect(box).to_have_attribute("open", "")


def test_public_mailboxes_and_the_recycle_bin(served: Served, english: Page) -> None:
    """Who can open a public mailbox, and how many days are left of one in the bin; after that it is gone."""
    visit(english, served)
    box = english.locator("[id='box-support@corp.test']")
    box.locator("summary").click()
    expect(box).to_contain_text("made by the app")
    expect(box.locator(".facts .pill")).to_have_text(["阿兴 ahing", "美玲 mei"])
    box.get_by_label("made by").select_option("mei")
    box.get_by_role("button", name="Make a client password").click()
    expect(box.locator(".passwords li")).to_have_count(1)
    assert served.do(lambda: served.org.public[1].passwords[0].member) == "mei"
    box.get_by_role("button", name="Revoke").click()
    expect(box.locator(".passwords li")).to_have_count(0)
    english.get_by_role("tab", name="Recycle bin").click()
    english.locator("#reclaim-who").select_option("calvin")
    english.get_by_role("button", name="Take the mailbox back").click()
    item = english.locator(".bin-item")
    expect(item).to_contain_text("30 days left")
    english.get_by_role("button", name="+1 day").click()
    expect(item).to_contain_text("29 days left")
    assert item.locator("meter").evaluate("e => [e.value, e.max]") == [29, 30]
    item.get_by_role("button", name="Delete for ever").click()
    expect(item).to_contain_text("29 days left")  # it asks once more
    item.get_by_role("button", name="Really").click()
    expect(item).to_contain_text("deleted by hand")


def test_what_is_due_next_and_the_clock_goes_there(served: Served, english: Page) -> None:
    """Each with its reason, in the page's language; the clock is sent there, before it, or past it."""
    served.run(served.http.post("/_sandbox/console", json={"action": "reclaim", "member": "calvin"}))
    visit(english, served, "#mei/due")
    item = english.locator(".due-item")
    expect(item).to_have_count(1)
    expect(item).to_contain_text("calvin@corp.test is deleted for ever")
    expect(item).to_contain_text("The console keeps it for 30 days after it was taken back.")
    english.get_by_role("button", name="中文").click()
    expect(item).to_contain_text("邮箱被回收后，管理后台保留 30 天。")
    english.get_by_role("button", name="到下次提醒").click()
    expect(english.locator("#notice")).to_have_text("没有成功：没有要提醒的人")
    english.get_by_role("button", name="EN", exact=True).click()
    english.get_by_role("button", name="A minute before the next deletion").click()
    expect(english.locator("#clock")).to_contain_text("23:59")
    expect(item).to_have_count(1)
    item.get_by_role("button", name="Go there").click()
    expect(english.locator(".empty")).to_have_text("Nothing is due.")
    expect(english.locator("#clock")).to_contain_text("00:00")
    assert served.do(lambda: served.org.bin[0].state) == "expired"


def test_the_console_s_buttons(served: Served, english: Page) -> None:
    """Backed up once, assigned, made public, renamed; a member and a public mailbox are deleted at the second press."""
    visit(english, served, "#mei/bin")
    for member in ("calvin", "ahing"):
        english.locator("#reclaim-who").select_option(member)
        english.get_by_role("button", name="Delete the member").click()
        english.get_by_role("button", name="Really?").click()
    calvin = english.locator(".bin-item[data-address='calvin@corp.test']")
    ahing = english.locator(".bin-item[data-address='ahing@corp.test']")
    expect(ahing).to_contain_text("the member was deleted")
    calvin.get_by_label("Mailbox").select_option("support@corp.test")
    calvin.get_by_role("button", name="Back up, once").click()
    expect(calvin).to_contain_text("backed up to support@corp.test")
    expect(calvin.get_by_role("button", name="Back up, once")).to_have_count(0)
    calvin.get_by_label("Member").select_option("tao")
    calvin.get_by_role("button", name="Assign").click()
    expect(calvin).to_contain_text("assigned")
    expect(english.locator(".bin-item[data-address='tao@corp.test']")).to_contain_text("replaced by another mailbox")
    ahing.get_by_label("Member").select_option("ling")
    ahing.get_by_role("button", name="Make it public").click()
    expect(ahing).to_contain_text("now a public mailbox")
    assert served.do(lambda: served.org.public_of_address("ahing@corp.test").members) == ["ling"]
    english.get_by_role("tab", name="Mailboxes").click()
    box = english.locator("[id='box-jun@corp.test']")
    box.locator("summary").click()
    box.get_by_label("New address").fill("li.jun")
    box.get_by_role("button", name="Rename").click()
    renamed = english.locator("[id='box-li.jun@corp.test']")
    renamed.locator("summary").click()
    expect(renamed).to_contain_text("Aliases: jun@corp.test")
    gone = english.locator("[id='box-ahing@corp.test']")
    gone.locator("summary").click()
    gone.get_by_role("button", name="Delete this public mailbox").click()
    gone.get_by_role("button", name="Really?").click()
    expect(gone).to_contain_text("♻")


def test_troubles_are_switched(served: Served, english: Page) -> None:
    """A switch stays as the sandbox says; one that acts once goes back and is told; mail faults are armed."""
    visit(english, served)
    english.get_by_role("tab", name="Troubles").click()
    busy = english.locator("[data-switch=busy]")
    turn(busy, on=True)
    wait_for(lambda: [True] if served.do(lambda: served.org.troubles.is_on("busy")) else [])
    english.locator("[data-switch=tokens_expired]").click()
    expect(english.locator("#notice")).to_contain_text("Done, once")
    expect(english.locator("[data-switch=tokens_expired]")).not_to_be_checked()
    english.locator("#fault-name").select_option("drop_in_fetch")
    english.locator("#fault-box").select_option("ahing@corp.test")
    english.locator("#fault-times").fill("2")
    english.get_by_role("button", name="Switch on").click()
    expect(english.locator("#notice")).to_have_text("drop_in_fetch is on.")
    assert served.do(lambda: served.org.box("ahing@corp.test").faults["drop_in_fetch"]) == 2


def test_the_wire_log_shows_both_forms(served: Served, english: Page) -> None:
    """A callback encrypted and plain, an API call with its answer, IMAP lines; filtered, opened by one click."""
    visit(english, served, "#mei/wire")
    english.locator("#input").fill("help me please")
    english.locator("#input").press("Enter")
    entry = english.locator(".wire-entry", has_text="help me please")
    expect(entry.locator(".wire-result")).to_have_text("200")
    entry.locator("summary").click()
    expect(entry).to_contain_text("<MsgType><![CDATA[text]]></MsgType>")
    expect(entry).to_contain_text("<Encrypt>")
    served.do(lambda: served.org.imap_line("ahing@corp.test", "client", "A1 SELECT INBOX"))
    expect(english.locator(".wire-entry", has_text="A1 SELECT INBOX")).to_be_visible()
    served.text("mei", "an answer")
    expect(english.locator(".of-api", has_text="message/send").locator(".wire-result")).to_have_text("0")
    expect(entry.locator(".wire-whole")).to_be_visible()  # it stays open
    english.get_by_label("Kind").select_option("imap")
    expect(english.locator(".wire-entry")).to_have_count(1)
    english.get_by_label("Kind").select_option("")
    english.get_by_label("Contains").fill("an answer")
    expect(english.locator(".wire-entry")).to_have_count(1)
    english.get_by_label("Contains").fill("")
    turn(english.get_by_label("Hold"), on=True)
    served.text("mei", "while it is held")
    expect(last(english)).to_contain_text("while it is held")
    expect(english.locator(".of-api", has_text="message/send")).to_have_count(1)
    turn(english.get_by_label("Hold"), on=False)
    expect(english.locator(".of-api", has_text="message/send")).to_have_count(2)


def test_without_the_stream_it_asks_now_and_then(served: Served, english: Page) -> None:
    """A proxy that swallows server-sent events makes the page slower, not deaf."""
    english.route("**/_sandbox/events", lambda route: route.abort())
    visit(english, served)
    expect(english.locator("#link")).to_have_text("polling")
    served.text("mei", "still heard")
    expect(last(english)).to_contain_text("still heard")


def test_reset_asks_first(served: Served, english: Page) -> None:
    """One press too many must not wipe the table."""
    visit(english, served)
    served.text("mei", "before")
    expect(last(english)).to_contain_text("before")
    english.locator("#reset").click()
    expect(english.locator("#reset")).to_have_text("Really reset?")
    expect(last(english)).to_contain_text("before")
    english.locator("#reset").click()
    expect(english.locator(".lines .line")).to_have_count(0)


def test_it_speaks_the_language_of_the_browser(served: Served, page: Page) -> None:
    """Chinese for a Chinese browser; the switch is remembered; every sentence stands in both."""
    visit(page, served)
    expect(page.locator(".banner")).to_contain_text("模拟企业")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.locator("#steps")).to_contain_text("备份 ahing 到 support@ 原因 离职")
    page.get_by_role("button", name="EN", exact=True).click()
    expect(page.locator(".banner")).to_contain_text("Nothing leaves this machine")
    page.reload()
    expect(page.get_by_role("tab", name="Mailboxes")).to_be_visible()
    words = (Path(__file__).parents[2] / "bot/sandbox/page/static/js/words.js").read_text("utf-8")
    english, chinese = (
        dict(re.findall(r'^  (\w+): "(.*)",$', part, re.MULTILINE))
        for part in re.findall(r"\{\n(  skip.*?)\n\};", words, re.DOTALL)
    )
    assert english.keys() == chinese.keys()
    for key, sentence in english.items():
        assert set(re.findall(r"\{(\w+)\}", sentence)) == set(re.findall(r"\{(\w+)\}", chinese[key])), key


def test_the_panels_of_the_dns_providers(served: Served, english: Page) -> None:
    """A record is removed, another added, and the console then verifies the domain."""
    visit(english, served, "#mei/dns")
    box = english.locator(".box", has_text="newcorp.test")
    old, new = (box.locator("li", has_text=each) for each in ("mail.oldhost.test", "MX @ mxbiz1.qq.com 5"))
    old.get_by_role("button").click()
    expect(old).to_have_count(0)
    box.get_by_label("Value").fill("mxbiz1.qq.com")
    box.get_by_label("Priority").fill("5")
    box.get_by_role("button", name="Add record").click()
    expect(new).to_have_count(1)
    box.get_by_role("button", name="立即验证").click()
    expect(box.get_by_text("in use")).to_be_visible()


def test_the_hint_leads_through_the_demo(served: Served, english: Page) -> None:
    """Its buttons put the command into the line, choose the member, and open his mailbox."""
    visit(english, served)
    steps = english.locator("#steps li")
    expect(steps).to_have_count(3)
    steps.nth(0).get_by_role("button").click()
    expect(english.locator("#input")).to_have_value("backup ahing to support@ because he leaves")
    expect(english.locator("#input")).to_be_focused()
    english.keyboard.press("Enter")
    assert wait_for(served.bot.said) == ["backup ahing to support@ because he leaves"]
    steps.nth(1).get_by_role("button", name="Be Ahing").click()
    expect(english.locator(".phone-role")).to_contain_text("阿兴 ahing")
    steps.nth(1).get_by_role("button", name="Go to ahing@").click()
    expect(english.locator("[id='box-ahing@corp.test']")).to_have_attribute("open", "")
    expect(english.get_by_role("button", name="Make a client password")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_a_phone_is_wide_enough(seeded: Served, chromium: Browser, locale: str, scheme: str) -> None:
    """Nothing sticks out at 390 pixels, in either language; everything has a name for a screen reader."""
    story(seeded, locale)
    for small in opened(chromium, locale, PHONE, color_scheme=scheme, has_touch=True):
        visit(small, seeded, "#mei/chat")
        expect(small.locator(".card")).to_have_count(3)
        for tab in ("chat", "mailboxes", "bin", "due", "switches", "wire"):
            assert small.locator(f"#tab-{tab}").evaluate("e => e.getBoundingClientRect().right") <= PHONE["width"], tab
            assert small.locator(f"#tab-{tab} .short").evaluate("e => e.offsetWidth <= e.parentElement.clientWidth"), (
                tab
            )
            small.locator(f"#tab-{tab}").click()
            expect(small.locator(f"#panel-{tab}")).to_be_visible()
            if tab == "mailboxes":
                small.locator("[id='box-ahing@corp.test'] > summary").click()
                expect(small.locator("[id='box-ahing@corp.test'] .tree").first).to_be_visible()
            if tab == "wire":
                expect(small.locator(".wire-entry").first).to_be_visible()
            assert small.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], tab
            assert nameless(small) == [], tab
            shot(small, f"phone-{tab}-{locale}-{scheme}")
        small.locator("#tab-chat").click()
        assert small.locator(".log").evaluate("e => e.clientHeight") > 250
        small.locator("#input").fill("help")
        small.locator(".send").tap()
        expect(last(small)).to_contain_text("help")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_a_desk_shows_chat_and_organisation(seeded: Served, chromium: Browser, locale: str, scheme: str) -> None:
    """The chat stays beside whatever is open, and the page itself does not scroll."""
    story(seeded, locale)
    for wide in opened(chromium, locale, DESKTOP, color_scheme=scheme):
        visit(wide, seeded)
        expect(wide.locator(".card")).to_have_count(3)
        for tab in ("mailboxes", "bin", "due", "switches", "wire"):
            wide.locator(f"#tab-{tab}").click()
            expect(wide.locator(f"#panel-{tab}")).to_be_visible()
            expect(wide.locator(".phone")).to_be_visible()
            if tab == "mailboxes":
                wide.locator("[id='box-support@corp.test'] > summary").click()
                wide.locator("[id='box-support@corp.test'] [data-do=mint]").click()
                expect(wide.locator(".secret")).to_be_visible()
            if tab == "wire":
                wide.locator(".wire-entry", has_text="text mei").first.locator("summary").click()
                expect(wide.locator(".wire-whole").first).to_be_visible()
            assert wide.evaluate("document.documentElement.scrollHeight") <= DESKTOP["height"], tab
            assert nameless(wide) == [], tab
            shot(wide, f"desk-{tab}-{locale}-{scheme}")


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
