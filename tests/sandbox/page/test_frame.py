"""The page itself: its policy, its languages, its sizes, and what it does when it is cut off."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from bot.sandbox.page import POLICY
from bot.words import CATALOGUE
from tests.sandbox.page.world import DESKTOP, HOSTILE, PHONE, Served, last, nameless, opened, shot, story, visit

FIRST_BYTES_MAX = 40_000  # of the one answer the first paint waits for
MODULE_BYTES_MAX = 200_000  # uncompressed: loopback has no other cost


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
    """Inline scripts and other styles than the page's own are refused, and so is markup from a string."""
    answer = english.goto(served.base)
    assert answer
    assert answer.headers["content-security-policy"] == POLICY
    assert not re.search(r"<script(?![^>]* src=)|\sstyle=|\son\w+=", answer.text())
    assert answer.text().count("<style>") == 1
    refused = english.evaluate(
        "() => { try { document.body.innerHTML = '<b>x</b>'; return false } catch { return true } }"
    )
    assert refused
    again = english.request.get(f"{served.base}/_sandbox/static/js/main.js")
    same = english.request.get(
        f"{served.base}/_sandbox/static/js/main.js", headers={"If-None-Match": again.headers["etag"]}
    )
    assert (again.status, same.status) == (200, 304)
    for path in ("nothing.js", "../__init__.py", "..%2f__init__.py"):
        assert english.request.get(f"{served.base}/_sandbox/static/{path}").status == 404


def test_the_first_answer_is_all_that_painting_needs(served: Served, english: Page) -> None:
    """Without any other answer, not one, the page is painted with its style, and says what it is; it is not large."""
    held: list[str] = []
    english.route(
        lambda url: not url.endswith(":" + served.base.rpartition(":")[2] + "/"),
        lambda route: held.append(route.request.url),
    )
    answer = english.goto(served.base, wait_until="commit")
    painted = "() => performance.getEntriesByName('first-contentful-paint').length === 1"
    english.wait_for_function(painted, polling=50)
    expect(english.locator(".banner strong")).to_have_text("Simulated organisation")
    assert english.locator(".banner").evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(255, 243, 214)"
    assert held, "nothing was asked for beside the markup"
    assert answer
    assert len(answer.body()) < FIRST_BYTES_MAX
    links = re.findall(r'href="(/_sandbox/static/[^"]+\.js)"', answer.text())
    english.unroute_all(behavior="ignoreErrors")
    english.goto(served.base)
    expect(english.locator("#members .member")).to_have_count(10)
    own = english.evaluate('() => performance.getEntriesByType("resource").map((each) => each.name)')
    modules = {name.removeprefix(served.base) for name in own if name.endswith(".js")}
    assert modules - {"/_sandbox/static/js/main.js"} == set(links), "a module is found late, in another"
    assert sum(len(english.request.get(f"{served.base}{name}").body()) for name in modules) < MODULE_BYTES_MAX


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


def test_every_sentence_stands_in_both_languages() -> None:
    """With the same values in it, and once: `teach` refuses a name that two features use."""
    for words in sorted((Path(__file__).parents[3] / "bot/sandbox/page/static/js/words").glob("*.js")):
        found = re.search(r"\n  en: \{\n(.*?)\n  \},\n  zh: \{\n(.*?)\n  \},\n", words.read_text("utf-8"), re.DOTALL)
        assert found, words.name
        english, chinese = (dict(re.findall(r'^    (\w+): "(.*)",$', part, re.MULTILINE)) for part in found.groups())
        assert len(english) == len(found.group(1).splitlines()), f"{words.name}: one sentence a line"
        assert english.keys() == chinese.keys(), words.name
        for key, sentence in english.items():
            assert set(re.findall(r"\{(\w+)\}", sentence)) == set(re.findall(r"\{(\w+)\}", chinese[key])), key


def test_what_the_tour_says_to_press_is_there() -> None:
    """Every label that a step of the tour quotes is a word of the page, or a button or page of the bot's."""
    words = {}
    for file in (Path(__file__).parents[3] / "bot/sandbox/page/static/js/words").glob("*.js"):
        parts = re.search(r"\n  en: \{\n(.*?)\n  \},\n  zh: \{\n(.*?)\n  \},\n", file.read_text("utf-8"), re.DOTALL)
        assert parts, file.name
        for language, part in zip(("en", "zh"), parts.groups(), strict=True):
            words.update(
                {(language, key): text for key, text in re.findall(r'^    (\w+): "(.*)",$', part, re.MULTILINE)}
            )
    said = [each for file in CATALOGUE.glob("*.toml") for each in tomllib.loads(file.read_text("utf-8")).values()]
    quotes = {"en": r"“([^“”]+)”", "zh": r"「((?:[^「」]|「[^「」]*」)+)」"}
    for language, quote in quotes.items():
        known = {text for (spoken, _), text in words.items() if spoken == language} | {
            each[language] for each in said if "{" not in each[language]
        }
        patterns = [re.sub(r"\\{\w+\\}", ".+", re.escape(each)) for each in known if re.sub(r"\{\w+\}|\W", "", each)]
        steps = [text for (spoken, key), text in words.items() if spoken == language and key.endswith("_how")]
        assert len(steps) == 15
        for label in (each for step in steps for each in re.findall(quote, step)):
            assert any(re.fullmatch(each, label) for each in patterns), f"there is nothing to press called {label}"


@pytest.mark.parametrize(("locale", "scheme"), [("en-GB", "dark"), ("zh-CN", "light")])
def test_a_phone_is_wide_enough(seeded: Served, chromium: Browser, locale: str, scheme: str) -> None:
    """Nothing sticks out at 390 pixels, in either language; everything has a name for a screen reader."""
    story(seeded, locale)
    for small in opened(chromium, locale, PHONE, color_scheme=scheme, has_touch=True):
        visit(small, seeded, "#mei/chat")
        expect(small.locator(".card")).to_have_count(3)
        for tab in ("chat", "mailboxes", "console", "bin", "dns", "due", "switches", "wire", "story"):
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


@pytest.mark.parametrize(("locale", "scheme"), [("en-GB", "light"), ("zh-CN", "dark")])
def test_a_desk_shows_chat_and_organisation(seeded: Served, chromium: Browser, locale: str, scheme: str) -> None:
    """The chat stays beside whatever is open, and the page itself does not scroll."""
    story(seeded, locale)
    for wide in opened(chromium, locale, DESKTOP, color_scheme=scheme):
        visit(wide, seeded, "")
        expect(wide.locator(".card")).to_have_count(3)
        for tab in ("mailboxes", "console", "bin", "dns", "due", "switches", "wire", "story"):
            wide.locator(f"#tab-{tab}").click()
            expect(wide.locator(f"#panel-{tab}")).to_be_visible()
            expect(wide.locator(".phone:visible")).to_have_count(3)
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
