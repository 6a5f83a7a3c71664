"""The organisation on the page: mailboxes, the recycle bin and what the console does with them."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.sandbox.page.world import Served, turn, visit


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


def test_the_panels_of_the_dns_providers(served: Served, english: Page) -> None:
    """A record is removed, another added, and the console then verifies the domain."""
    visit(english, served, "#mei/dns")
    box = english.locator(".zone", has_text="newcorp.test")
    old, new = (box.locator("li", has_text=each) for each in ("mail.oldhost.test", "MX @ mxbiz1.qq.com 5"))
    old.get_by_role("button").click()
    expect(old).to_have_count(0)
    box.get_by_label("Value").fill("mxbiz1.qq.com")
    box.get_by_label("Priority").fill("5")
    box.get_by_role("button", name="Add record").click()
    expect(new).to_have_count(1)
    box.get_by_role("button", name="立即验证").click()
    expect(box.get_by_text("in use")).to_be_visible()
