"""A member's chat on the page: what is typed, pressed, dropped and read."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.sandbox.page.world import Served, last, visit, wait_for


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


def test_the_tour_leads_through_the_demo_and_is_ticked_by_what_happens(served: Served, english: Page) -> None:
    """Its buttons type, choose the member and open his mailbox; a step is done when the organisation shows it."""
    visit(english, served)
    steps = english.locator("#steps .tour-step")
    expect(steps).to_have_count(15)
    steps.nth(0).get_by_role("button", name="Type it for me").click()
    expect(english.locator("#input")).to_have_value("backup ahing to support@ because he leaves")
    expect(english.locator("#input")).to_be_focused()
    english.keyboard.press("Enter")
    assert wait_for(served.bot.said) == ["backup ahing to support@ because he leaves"]
    expect(steps.nth(0)).not_to_contain_text("done")  # it was typed, but nobody was asked yet
    served.text("ahing", "Open this page: http://127.0.0.1/pages/abc")
    expect(steps.nth(0)).to_contain_text("✓ done")
    english.reload()
    expect(english.locator("#tour-count")).to_have_text("1 of 15 done")
    steps.nth(1).get_by_role("button", name="Be Ahing").click()
    expect(english.locator(".phone-role:visible")).to_have_value("ahing")
    steps.nth(1).get_by_role("button", name="Go to ahing@").click()
    expect(english.locator("[id='box-ahing@corp.test']")).to_have_attribute("open", "")
    expect(english.get_by_role("button", name="Make a client password")).to_be_focused()
