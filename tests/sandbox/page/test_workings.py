"""The workings on the page: what is due, the clock, the troubles, the wire log."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.sandbox.page.world import Served, last, turn, visit, wait_for


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


def test_troubles_are_switched(served: Served, english: Page) -> None:
    """A switch stays as the sandbox says; one that acts once goes back and is told; mail faults are armed."""
    visit(english, served)
    served.card("mei")
    english.get_by_role("tab", name="Troubles").click()
    busy = english.locator("[data-switch=busy]")
    turn(busy, on=True)
    wait_for(lambda: [True] if served.do(lambda: served.org.troubles.is_on("busy")) else [])
    english.locator("[data-switch=tokens_expired]").click()
    expect(english.locator("#notice")).to_contain_text("Done, once")
    expect(english.locator("[data-switch=tokens_expired]")).not_to_be_checked()
    drops = english.locator("[data-switch=imap_drops]")
    expect(english.locator("[data-after=imap_drops]")).to_have_value("200")  # the mail at which the line drops
    english.locator("[data-after=imap_drops]").fill("7")
    turn(drops, on=True)
    assert served.do(lambda: served.org.mail.faults["drop_in_append"])
    turn(english.locator("[data-switch=mail_busy]"), on=True)
    assert served.do(lambda: served.org.mail.faults["busy"])
    english.locator("[data-box=mailbox_full]").select_option("calvin@corp.test")
    turn(english.locator("[data-switch=mailbox_full]"), on=True)
    assert served.do(lambda: list(served.org.troubles.full)) == ["calvin@corp.test"]
    english.locator("[data-switch=cards_old]").click()
    expect(english.locator("#notice")).to_contain_text("older than 72 hours")
    assert served.do(lambda: [served.org.chats.code(each, served.clock.now()) for each in served.org.chats.codes]) == [
        None
    ]
    english.locator("[data-switch=bot_killed]").click()
    expect(english.locator("#notice")).to_contain_text("there is no bot")  # in this sandbox; killed in tests/stories
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


def test_the_wire_log_tells_a_refusal_in_words(served: Served, english: Page) -> None:
    """What an errcode means and what to do about it, as the bot itself would say it."""
    served.do(lambda: served.org.troubles.set("ip_not_trusted", on=True))
    visit(english, served, "#mei/wire")
    body = {"touser": "mei", "msgtype": "text", "agentid": served.org.agent_id, "text": {"content": "never heard"}}
    served.run(served.http.post("/cgi-bin/message/send", params={"access_token": served.token}, json=body))
    entry = english.locator(".of-api", has_text="message/send")
    expect(entry.locator(".wire-result")).to_have_text("60020")
    entry.locator("summary").click()
    expect(entry.locator(".wire-whole")).to_contain_text("企业可信IP")
    expect(entry.locator(".wire-whole h4").first).to_have_text("what it means")


def test_what_was_done_is_kept_and_played_again(served: Served, english: Page, tmp_path: Path) -> None:
    """The Stories tab: a file with what was typed; played on a fresh organisation, step by step; what fails is told."""
    visit(english, served, "#mei/story")
    english.locator("#input").fill("hello bot")
    english.locator("#input").press("Enter")
    assert wait_for(served.bot.said) == ["hello bot"]
    keep = english.get_by_role("link", name="Save what was done as story.json")
    expect(keep).to_contain_text("(2 steps)")  # the chat was opened, and that
    with english.expect_download() as download:
        keep.click()
    story = json.loads(Path(download.value.path()).read_text("utf-8"))
    typed = {"do": "say", "member": "mei", "text": "hello bot"}
    assert typed in story["steps"]

    file = tmp_path / "mine.json"
    player = english.get_by_label("Begin anew and play a file:")
    shown = english.locator("#panel-story")
    for more, said in (
        ([], "It came out as it should."),
        (
            [{"expect": "member", "name": "mei", "is": {"name": "美玲"}, "gone": True}],
            "It failed: step 2 (expect member): mei is still there",
        ),
    ):
        file.write_text(json.dumps({**story, "story": "mine", "steps": [typed, *more]}), "utf-8")
        player.set_input_files(file)
        expect(shown.get_by_role("status")).to_have_text(said, timeout=60_000)
        expect(shown.locator("h3")).to_have_text("mine")
        expect(shown.locator(".story-told")).to_contain_text("mei> hello bot")
    assert served.bot.said() == ["hello bot"] * 3
    file.write_text("{", "utf-8")
    player.set_input_files(file)
    expect(english.locator("#notice")).to_contain_text("JSON")
    file.write_text('{"story": "bad", "steps": [{"do": "jump"}]}', "utf-8")
    player.set_input_files(file)
    expect(english.locator("#notice")).to_contain_text("step 1 (do jump): no such step")
