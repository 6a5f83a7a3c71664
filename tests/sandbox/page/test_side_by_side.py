"""Several phones at once, help with typing, mails that are read, and the console's steps."""

from __future__ import annotations

import json
import re
from email.message import EmailMessage
from typing import Any

from playwright.sync_api import Page, Route, expect

from tests.sandbox.page.world import HOSTILE, Served, visit, wait_for

STEP = {
    "id": 7, "job": 12, "asked_of": "mei", "contradicted": False, "until": "2026-12-24T10:00:00+00:00",
    "title": {"en": "Take ahing@corp.test off 阿兴.", "zh": "回收 阿兴 的邮箱 ahing@corp.test。"},
    "why": {"en": HOSTILE, "zh": HOSTILE}, "how": [{"en": "Open the console.", "zh": "打开管理后台。"}],
    "values": ["ahing@corp.test"], "seen": {"en": "I have not looked yet.", "zh": "尚未检查。"},
    "order": {"action": "reclaim", "member": "ahing"},
}  # fmt: skip


def test_several_phones_side_by_side(served: Served, english: Page) -> None:
    """One decides and the buttons grey on every phone; each keeps his own draft; fewer where there is no room."""
    visit(english, served, "")
    phones = english.locator(".phone")
    expect(phones).to_have_count(3)  # of four: beside an open panel there is room for no more
    assert [each.get_attribute("data-member") for each in phones.all()] == ["mei", "ahing", "ling"]
    assert (phones.nth(2).bounding_box() or {})["width"] < 250  # the small screen
    english.get_by_role("tab", name="Phones only").click()
    expect(phones).to_have_count(4)
    tops = {(phone.bounding_box() or {})["y"] for phone in phones.all()}
    assert len(tops) == 1, "side by side"
    assert english.evaluate("document.documentElement.scrollWidth <= innerWidth")
    english.get_by_role("tab", name="Mailboxes").click()
    expect(phones).to_have_count(3)
    served.text("tao", "for somebody without a phone here")
    expect(english.locator(".member[data-member=tao] .badge")).to_contain_text("1 new")
    code = served.card("mei|ahing|ling")
    expect(phones.get_by_role("button", name="开始")).to_have_count(3)
    for phone in phones.all():
        assert phone.evaluate("e => e.scrollWidth <= e.clientWidth")
    phones.nth(2).get_by_role("button", name="开始").click()
    expect(phones.nth(2)).to_have_class(re.compile("held"))
    served.update(code, "凌 已同意")
    expect(phones.locator(".card-done")).to_have_text(["凌 已同意"] * 3)
    expect(phones.get_by_role("button", name="开始")).to_have_count(0)

    english.get_by_label("Message to the bot as Ahing").fill("half a sentence")
    english.get_by_label("Message to the bot as Mei").fill("another")
    phones.nth(1).get_by_label("Whose phone this is").select_option("calvin")
    expect(english.get_by_label("Message to the bot as Calvin")).to_have_value("")
    phones.nth(0).get_by_label("Whose phone this is").select_option("ahing")
    expect(english.get_by_label("Message to the bot as Ahing")).to_have_value("half a sentence")
    phones.nth(1).get_by_label("Put Calvin's phone away").click()
    expect(english.locator(".phone[data-member=mei]")).to_have_count(1)  # the fourth, which had no room before
    english.get_by_label("Ling's phone has a small screen").click()
    assert english.url.endswith("#ahing,ling,mei/mailboxes")
    english.get_by_role("tab", name="Phones only").click()
    expect(english.locator(".panel:visible")).to_have_count(0)
    for width, count in ((900, 2), (390, 1)):
        english.set_viewport_size({"width": width, "height": 844})
        expect(phones).to_have_count(count)
    assert english.evaluate("document.querySelector('.tabs').getBoundingClientRect().bottom") == 844


def test_help_with_typing(served: Served, english: Page) -> None:
    """Arrows choose, Tab and Enter take, Escape shuts; Enter without a choice sends; a spelt word is left alone."""
    asked: list[str] = []

    def answer(route: Route) -> None:
        typed = re.sub(r".*typed=", "", route.request.url)
        asked.append(typed)
        offers = [
            {"line": f"{word} ", "shown": f"{word} {HOSTILE}", "about": "what it does"} for word in ("backup", "bin")
        ]
        more = typed.startswith(("backup", "bin"))
        route.fulfill(
            json={"typed": typed, "offers": [] if more else offers, "usage": "backup X" if more else "", "what": ""}
        )

    english.route("**/_sandbox/help?*", answer)
    visit(english, served)
    line, options = (
        english.get_by_role("combobox", name="Message to the bot as Mei"),
        english.locator(".offer[role=option]"),
    )
    line.press("b")
    expect(options).to_have_count(2)
    expect(options.first).to_contain_text("<img src=x")
    expect(line).to_have_attribute("aria-expanded", "true")
    expect(english.get_by_role("listbox", name="What can come next")).to_be_visible()
    line.press("ArrowDown")
    line.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    assert line.get_attribute("aria-activedescendant") == options.nth(1).get_attribute("id")
    line.press("Enter")
    expect(line).to_have_value("bin ")
    expect(english.locator(".offers-form")).to_have_text("backup X")
    line.fill("")
    line.press("b")
    expect(options).to_have_count(2)
    line.press("Escape")
    expect(options).to_have_count(0)
    expect(line).to_have_attribute("aria-expanded", "false")
    line.press("ArrowDown")
    expect(options).to_have_count(2)
    line.press("Tab")
    expect(line).to_have_value("backup ")
    line.fill("b")
    expect(options).to_have_count(2)
    before = len(asked)
    line.evaluate(  # Chinese is being spelt
        "e => e.dispatchEvent(new InputEvent('input', {isComposing: true, bubbles: true}))"
    )
    expect(options).to_have_count(0)
    line.dispatch_event("keydown", {"key": "Tab", "isComposing": True})
    expect(line).to_have_value("b")
    assert len(asked) == before
    line.evaluate("e => e.dispatchEvent(new CompositionEvent('compositionend', {bubbles: true}))")
    expect(options).to_have_count(2)
    line.press("Enter")  # nothing was chosen
    assert wait_for(served.bot.said) == ["b"]


def test_a_mail_is_opened_and_read(served: Served, english: Page) -> None:
    """A folder's mails, one of them as text with its attachments named; back with the keyboard, to where one was."""
    letter = EmailMessage()
    letter["Subject"], letter["From"], letter["To"] = HOSTILE, "阿兴 <ahing@corp.test>", "sales@corp.test"
    letter.set_content(HOSTILE, subtype="html")
    letter.add_attachment(b"x" * 2000, maintype="application", subtype="pdf", filename="合同 <b>.pdf")

    def arrive() -> None:
        served.org.box("ahing@corp.test").put("客户/A", letter.as_bytes(), served.clock.now())
        served.org.changed()

    served.do(arrive)
    visit(english, served)
    expect(english.locator("[data-slots]")).to_have_text("2 of 3 taken")
    english.locator("[id='box-ahing@corp.test'] > summary").click()
    folder = english.get_by_role("button", name="Open 客户/A, 1 mail")
    folder.click()
    expect(english.get_by_role("heading", name="客户/A")).to_be_focused()
    served.do(arrive)
    expect(english.locator(".mail-line")).to_have_count(2)  # what arrives meanwhile is seen
    english.locator(".mail-line").first.click()
    expect(english.locator(".letter")).to_contain_text("阿兴 <ahing@corp.test>")
    expect(english.locator(".reader-title")).to_contain_text("<img src=x")
    expect(english.locator(".attached")).to_have_text("合同 <b>.pdf application/pdf · 2 kB")
    english.get_by_text("All headers").click()
    expect(english.locator(".letter-raw")).to_contain_text("Content-Type: multipart/mixed")
    assert english.locator("main img, main script").count() == 0
    english.keyboard.press("Escape")
    expect(english.locator(".mail-line")).to_have_count(2)
    english.get_by_role("button", name="‹ ahing@corp.test").click()
    expect(folder.or_(english.get_by_role("button", name="Open 客户/A, 2 mails"))).to_be_focused()


def test_a_console_step_is_done_or_only_said_to_be(served: Served, english: Page) -> None:
    """Two buttons: the lie tells the bot and does nothing; the other does it first."""
    steps: list[dict[str, Any]] = [STEP]
    english.route("**/_sandbox/steps", lambda route: route.fulfill(body=json.dumps({"steps": steps})))
    visit(english, served, "#mei/console")
    step = english.locator(".console-step")
    expect(step).to_contain_text("7: Take ahing@corp.test off 阿兴.")
    expect(step).to_contain_text("<img src=x")
    step.get_by_role("button", name="Only say done, as Mei").click()
    assert wait_for(served.bot.said) == ["done 7"]
    assert served.do(lambda: served.org.bin) == []
    steps[0] = STEP | {"contradicted": True}
    served.do(served.org.changed)
    expect(step).to_contain_text("said to be done, not seen")
    step.get_by_role("button", name="Do it, and say done").click()
    expect(english.locator(".line.mine")).to_have_count(2)
    assert wait_for(served.bot.said) == ["done 7", "done 7"]
    assert [each.address for each in served.do(lambda: served.org.bin)] == ["ahing@corp.test"]
    steps.clear()
    served.do(served.org.changed)
    expect(english.locator("#panel-console .empty")).to_be_visible()
    english.get_by_role("button", name="Buy one more").click()
    expect(english.locator(".console-places")).to_contain_text("2 of 4 taken")
