"""The demo as a newcomer does it: everything through the page in a browser, as its guided tour says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from bot.sandbox.arrival import arrived
from bot.sandbox.run import running
from bot.sandbox.tour import SETTINGS
from tests.journeys.conftest import Bot

PICTURES = os.environ.get("STORY_PICTURES")  # a folder that keeps what the page looked like
SLOW_MS = 60_000


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Bot]:
    """What `make demo` starts: an organisation with two admins."""
    with running(tmp_path / "data", **SETTINGS) as sandbox, closing(Bot(sandbox)) as player:
        player.wait_ready()
        yield player


def pictured(page: Page, name: str) -> None:
    """Keep a picture, if somebody wants to look."""
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))


def pictures(page: Page) -> None:
    """The README's: the card and the receipt, what came of it beside three phones, and on a phone; light and dark."""
    page.locator("#hint > summary").click()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        for name, width, height, place in (
            ("sandbox", 1440, 900, "#mei,ahing,ling~/mailboxes"),
            ("sandbox-phone", 390, 844, "#mei,ahing,ling~/chat"),
        ):
            page.set_viewport_size({"width": width, "height": height})
            page.goto(f"{page.url.partition('#')[0]}{place}")
            expect(page.locator(".phone")).to_have_count(3 if width > height else 1)
            receipt = page.locator(".phone .line", has_text="are now in support@corp.test.").first
            expect(receipt).to_be_visible()
            for phone in page.locator(".phone").all():
                expect(phone.locator(".line").first).to_be_visible()
            receipt.evaluate(  # its card stands above it
                """e => { const log = e.closest(".log"), card = e.previousElementSibling;
                          log.scrollTop += card.getBoundingClientRect().top - log.getBoundingClientRect().top - 8 }"""
            )
            pictured(page, f"{name}-{scheme}")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{page.url.partition('#')[0]}#mei,ahing,ling~/mailboxes")
    page.locator("#hint > summary").click()


def test_from_the_command_to_the_receipt(demo: Bot, page: Page) -> None:
    """Mei asks, ahing gives access, mei starts; the mail is there. Then what needs a second admin, and a manager."""
    bot = demo
    page.set_default_timeout(SLOW_MS)
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{bot.url}/#mei/mailboxes")
    page.get_by_role("button", name="EN").click()
    expect(page.locator(".member")).to_have_count(10)

    page.locator(".member[data-member=mei]").click()
    page.locator("#input").press_sequentially("backu")
    expect(page.locator(".offer").first).to_contain_text("backup ")
    page.keyboard.press("Tab")  # the bot's own commands, words and mailboxes are offered
    page.keyboard.type("ahing to sup")
    expect(page.locator(".offer").first).to_contain_text("support@")
    page.keyboard.press("Tab")
    page.keyboard.type("because he leaves")
    expect(page.locator("#input")).to_have_value("backup ahing to support@ because he leaves")
    page.keyboard.press("Enter")
    expect(page.locator(".member[data-member=ahing] .badge")).to_be_visible(timeout=SLOW_MS)

    steps = page.locator("#steps .tour-step")
    steps.nth(1).get_by_role("button", name="Go to ahing@").click()
    box = page.locator("[id='box-ahing@corp.test']")
    box.locator("select").select_option(label="all mail")
    switch = box.get_by_role("switch", name="IMAP shows custom folders")
    switch.click()  # drawn again for the choice before it, it may show the old state for a moment: `check` would mind
    expect(switch).to_be_checked()
    box.locator("[data-do=mint]").click()
    password = box.locator(".secret").inner_text()

    page.locator(".member[data-member=ahing]").click()
    with page.context.expect_page() as opened:
        page.locator(".lines a").last.click()
    form = opened.value
    form.set_viewport_size({"width": 390, "height": 844})
    expect(form.locator("input[type=password]")).to_be_visible()
    pictured(form, "access-page")
    form.locator("input[type=password]").fill(password)
    form.locator("input[type=password]").press("Enter")
    expect(form.locator("input[type=password]")).to_have_count(0)
    form.close()

    page.locator(".member[data-member=mei]").click()
    start = page.get_by_role("button", name="Start", exact=True)
    expect(start).to_be_visible(timeout=SLOW_MS)
    pictured(page, "preview")
    start.click()
    expect(page.locator(".lines")).to_contain_text(
        "mails of ahing@corp.test are now in support@corp.test.", timeout=SLOW_MS
    )
    expect(page.locator(".lines")).to_contain_text(".xlsx", timeout=SLOW_MS)
    page.locator("[id='box-support@corp.test'] > summary").click()
    expect(page.locator("[id='box-support@corp.test']")).to_contain_text("ahing@corp.test")
    if PICTURES:
        pictures(page)
    arrived(bot, "ahing@corp.test", "support@corp.test")
    goes_on(page)


def goes_on(page: Page) -> None:
    """Three steps more of the tour, by its own buttons and the cards: each is ticked, and leads to the next."""
    step = page.locator("#steps [aria-current=step]")

    def press(name: str) -> None:
        step.get_by_role("button", name=name, exact=True).click()

    def on_phone(member: str, name: str) -> None:
        page.locator(f".phone[data-member={member}]").get_by_role("button", name=name, exact=True).click()

    for name, pressed, then in (
        ("opened", ("Type it for me", ("mei", "Send"), "Be Yan", ("yan", "Approve")), "manager_asked"),
        ("manager_asked", ("Type it for me", ("mei", "Send"), ("mei", "Ask")), "agreed"),
        ("agreed", ("Be Ling", ("ling", "Approve")), "handed_over"),
    ):
        expect(step).to_have_attribute("data-step", name)
        for each in pressed:
            press(each) if isinstance(each, str) else on_phone(*each)
        expect(step).to_have_attribute("data-step", then, timeout=SLOW_MS)
    expect(page.locator("#tour-count")).to_have_text("6 of 15 done")
