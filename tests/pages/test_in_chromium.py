"""The pages as a member sees them: on a phone, in both languages, light and dark, with a real browser's headers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Page, expect

from bot.pages.onetime import PageFacts
from bot.words import LANGUAGES, Language, Words, say
from storage.models import OneTimeLink
from storage.store import Transaction
from tests.pages.conftest import BackupHost, WeCom, World
from tests.servers.tables import Kept

WIDTH, HEIGHT = 390, 844
LONG_ADDRESS = "a.very.long.name.that.somebody.really.has.in.the.sales.department@corp.test"


class Told(Words):
    """Sentences as long as the backup's."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__("pages.refused", {"reason": {"en": en, "zh": zh}})

    def text(self, language: Language) -> str:
        reasons: Any = self.values["reason"]
        return str(reasons[language])


class LongHost(BackupHost):
    """A page as full as it gets."""

    def facts(self, tx: Transaction, link: OneTimeLink) -> PageFacts:
        return PageFacts(
            language=self.language,
            address=LONG_ADDRESS,
            heading=Told("Give access to your mailbox?", "是否授权访问您的邮箱？"),
            lines=[
                Told("Mei (mei) asks for a copy of this mailbox.", "美玲（mei）申请复制此邮箱的邮件。"),
                Told("Reason: he leaves at the end of March", "原因：三月底离职"),
                Told("The mails go to support@corp.test.", "邮件将复制到 support@corp.test。"),
                Told("There, Ling, Calvin and 销售 (4 members) can read them.", "凌、卡尔文、销售部（4 人）可以阅读。"),
            ],
            steps=[
                Told("Open mail in WeCom on a computer, then Settings.", "在电脑端企业微信打开邮件，进入“设置”。"),
                Told(
                    "收发信设置: switch on IMAP/SMTP; range 全部; tick 收取「我的文件夹」.",
                    "收发信设置：开启 IMAP/SMTP 服务；收取范围选“全部”；勾选收取“我的文件夹”。",
                ),
                Told("安全登录: make a client password (客户端专用密码).", "安全登录：生成客户端专用密码。"),
            ],
            warning=Told("Everybody named above will be able to read your mails.", "以上人员都将能阅读您的邮件。"),
        )


@pytest.fixture
def served(kept_sqlite: Kept, wecom: WeCom) -> Iterator[World]:
    """The pages on a port of loopback, in a thread of their own."""
    server = uvicorn.Server(uvicorn.Config(_late, host="127.0.0.1", port=0, access_log=False, log_level="warning"))
    socket = server.config.bind_socket()
    world = World(kept_sqlite, wecom, f"http://127.0.0.1:{socket.getsockname()[1]}")
    world.pages._host = world.host = LongHost()
    server.config.app = world.web
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    yield world
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()
    socket.close()
    world.http.close()
    world.store.close()


async def _late(*_: object) -> None:
    """Stands in for the application until its address is known."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_member_gives_the_password_on_a_phone(served: World, page: Page, language: Language, scheme: Any) -> None:
    """By way of WeCom's login; nothing is wider than the phone, and the password goes in by its label."""
    refused: list[str] = []
    page.on("console", lambda line: refused.append(line.text))  # the browser says there what the policy refused
    served.host.language = language
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    page.emulate_media(color_scheme=scheme)
    token = served.link()

    page.goto(f"{served.public_url}/pages/{token}")
    expect(page.get_by_role("heading")).to_have_text(heading(language))
    expect(page.get_by_text(LONG_ADDRESS)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == WIDTH
    keep(page, f"form-{language}-{scheme}")

    give = page.get_by_role("button", name=say("pages.give").text(language), exact=True)
    decline = page.get_by_role("button", name=say("pages.decline").text(language), exact=True)
    give_box, decline_box = give.bounding_box(), decline.bounding_box()
    assert give_box
    assert decline_box
    assert give_box["y"] + give_box["height"] <= decline_box["y"]
    assert min(give_box["height"], decline_box["height"]) >= 44  # a thumb's width
    assert styles(give, "backgroundColor") != styles(page.locator("main"), "backgroundColor")
    assert styles(decline, "backgroundColor") == "rgba(0, 0, 0, 0)"

    field = page.get_by_label(say("pages.label").text(language))
    field.fill("x" * 200)
    give.click()  # the browser itself says that it is not 16 letters, and sends nothing
    expect(page.get_by_role("alert")).to_have_count(0)
    assert field.evaluate("each => each.validity.patternMismatch")
    page.get_by_role("button", name=say("pages.sure").text(language), exact=True).click()
    expect(page.get_by_role("alert")).to_have_text(say("pages.absurd", length=128).text(language))
    expect(field).to_be_empty()
    keep(page, f"problem-{language}-{scheme}")

    field.fill("abcd efgh ijkl mnop")
    give.click()
    expect(page.get_by_role("heading")).to_have_text(say("pages.thanks_title").text(language))
    keep(page, f"thanks-{language}-{scheme}")
    assert served.kept() == "abcdefghijklmnop"
    assert page.url == f"{served.public_url}/pages/{token}"

    page.goto(f"{served.public_url}/pages/{token}")
    expect(page.get_by_role("heading")).to_have_text(say("pages.spent_title").text("zh"))  # the browser's language
    assert [each for each in refused if "status of" not in each] == []


def test_a_member_declines(served: World, page: Page) -> None:
    """One press, without a password."""
    page.goto(f"{served.public_url}/pages/{served.link()}")
    page.get_by_role("button", name=say("pages.decline").text("en"), exact=True).click()
    expect(page.get_by_role("heading")).to_have_text(say("pages.declined_title").text("en"))
    assert served.job().stage == "declined"
    assert served.kept() is None


def test_somebody_else_opens_it(served: World, page: Page, wecom: WeCom) -> None:
    """And the member after him, in the same browser."""
    token = served.link()
    wecom.looking = "calvin"
    page.goto(f"{served.public_url}/pages/{token}")
    expect(page.get_by_role("heading")).to_have_text(say("pages.foreign_title").text("zh"))
    wecom.looking = "ahing"
    page.goto(f"{served.public_url}/pages/{token}")
    expect(page.get_by_role("heading")).to_have_text(heading("en"))


def heading(language: Language) -> str:
    return {"en": "Give access to your mailbox?", "zh": "是否授权访问您的邮箱？"}[language]


def styles(element: Any, name: str) -> str:
    return str(element.evaluate(f"each => getComputedStyle(each).{name}"))


def keep(page: Page, name: str) -> None:
    """A picture to look at, if a folder for it is named."""
    if folder := os.environ.get("PAGE_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
