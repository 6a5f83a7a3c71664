"""Getting at a mailbox: the owner's page in every state, his manager, and the two kinds of public mailbox."""

from __future__ import annotations

import re

from bot.sandbox.player import CSRF, text_of
from tests.journeys.backup_steps import (
    AHING,
    CALVIN,
    SALES,
    SUPPORT,
    ask,
    box,
    copied,
    data,
    give,
    logins,
    over,
    own_folders,
    ready,
    said_to,
    stands,
    tidy,
    until,
)
from tests.journeys.conftest import Bot

WRONG = "abcdefghijklmnop"


def test_a_page_is_for_one_member_once_for_a_quarter_of_an_hour(bot: Bot) -> None:
    """Somebody else, a second time, too late, a wrong password: each is told what to do, nothing is tried again."""
    bot.show_everything(AHING)
    job = ask(bot, "backup ahing to support@ because he leaves")
    bot.hear("ahing", "/pages/")
    first = bot.link("ahing")
    _, _, page = bot.open("mei", first)
    assert "for somebody else" in page or "not for you" in page or "another" in page, page
    assert CSRF.search(page) is None

    bot.advance(16 * 60)
    _, _, page = bot.open("ahing", first)
    assert CSRF.search(page) is None, "an old link still shows the form"
    bot.say("ahing", f"link {job}")
    bot.hear("ahing", "/pages/")
    second = bot.link("ahing")
    assert second != first
    bot.say("tao", f"link {job}")
    bot.hear("tao", f"Job {job} does not wait for a page of yours.")

    bot.enter("ahing", WRONG)
    for member in ("ahing", "mei"):
        told = bot.hear(member, "did not let me into")["text"]
        for cause in ("client password", "IMAP is off", "locked", "too many logins", "busy", "15 minutes"):
            assert cause in told
        assert ("I will send you a new page" if member == "ahing" else "I will send 阿兴 a new page") in told
    until(bot, job, "waiting", "access")
    tried = logins(bot, AHING)
    assert tried == 1
    _, _, page = bot.open("ahing", second)
    assert CSRF.search(page) is None, "a spent link still shows the form"

    bot.say("ahing", f"链接 {job}")
    assert re.search(r"\d+ 分钟后给您发送新页面", bot.hear("ahing", "上一次登录被拒绝")["text"])
    assert logins(bot, AHING) == 1, "it was tried again by itself"
    bot.advance(16 * 60)
    bot.hear("ahing", "/pages/")  # by itself
    assert logins(bot, AHING) == 1, "a page tries nothing"
    bot.enter("ahing", bot.client_password(AHING))
    ready(bot, job)
    bot.say("ahing", f"link {job}")
    bot.hear("ahing", f"Job {job} does not wait for a page of yours.")
    bot.press("mei", "cancel:")
    bot.hear("mei", f"Job {job} is cancelled")
    over(bot, job, "cancelled")
    assert own_folders(bot, SUPPORT) == set()
    tidy(bot)


def test_the_owner_declines_and_his_manager_decides(bot: Bot) -> None:
    """A no of the owner, a no with a reason of the manager, then a yes: the admin enters the password, all are told."""
    bot.show_everything(AHING)
    job = ask(bot, "backup ahing to support@ because he leaves")
    bot.hear("ahing", "/pages/")
    assert "<form" not in bot.decline("ahing")
    told = bot.hear("mei", f"阿兴 refused access to {AHING}")["text"]
    assert f"`manager {job}`" in told
    assert stands(bot, job) == ("waiting", "access")
    assert not bot.mailbox(AHING)["imap_on"]

    bot.press("mei", "by_manager:")
    bot.hear("mei", "I asked 凌 to decide")
    question = bot.hear("ling", "May the mail of 阿兴")
    number = int(bot.card_with("ling", "approve:")["card"]["buttons"][0]["key"].partition(":")[2])
    assert question
    bot.say("mei", f"approve {number}")
    bot.hear("mei", "凌")
    assert stands(bot, job) == ("waiting", "access"), "the asker approved himself"
    bot.say("mei", f"manager {job}")
    bot.hear("mei", "was already asked")
    bot.say("ling", f"reject {number} because he is on holiday")
    assert "he is on holiday" in bot.hear("mei", "凌")["text"]
    assert not any("/pages/" in each for each in said_to(bot, "mei"))

    bot.say("mei", f"找上级 {job}")
    bot.hear("ling", f"May the mail of 阿兴 ({AHING})")
    bot.press("ling", "approve:")
    told = bot.hear("ahing", f"凌 allowed 美玲 to copy the mail of {AHING} into {SUPPORT}")["text"]
    assert "he leaves" in told
    assert "阿兴, 美玲" in told
    page = bot.hear("mei", "/pages/")["text"]
    assert "上级已同意" in page
    _, _, shown = bot.open("mei")
    assert "he leaves" in shown
    bot.enter("mei", bot.client_password(AHING))
    ready(bot, job)
    bot.press("mei", "start:")
    over(bot, job)
    assert copied(bot, AHING, SUPPORT)
    bot.hear("ahing", f"are now in {SUPPORT}")
    tidy(bot)


def test_a_yes_of_before_does_not_count_for_a_later_try_or_other_readers(bot: Bot) -> None:
    """The manager answers what he was shown: a retry asks anew, other readers void a yes, who gains has none."""
    job = ask(bot, "backup ahing to support@ because he leaves")
    bot.press("mei", "by_manager:")
    bot.hear("ling", "May the mail of 阿兴")
    bot.console("set_public_users", address=SUPPORT, members=["mei", "tao"])
    with bot.store.begin() as tx:
        support = tx.mailboxes.at(SUPPORT)
        support.readers = {"userids": ["mei", "tao"], "departments": [], "tags": []}
    bot.press("ling", "approve:")
    bot.hear("ling", "changed")
    assert stands(bot, job) == ("waiting", "access")
    assert not any("/pages/" in each for each in said_to(bot, "mei"))
    bot.say("mei", f"manager {job}")
    assert "陈涛" in text_of(bot.hear("ling", "May the mail of 阿兴"))
    bot.press("ling", "approve:")
    bot.hear("mei", "/pages/")
    bot.say("mei", f"cancel {job}")
    over(bot, job, "cancelled")
    bot.say("mei", f"retry {job}")
    until(bot, job, "waiting", "access")
    assert bot.hear("ahing", "/pages/")
    bot.say("mei", f"link {job}")
    bot.hear("mei", f"Job {job} does not wait for a page of yours.")
    bot.say("mei", f"cancel {job}")
    over(bot, job, "cancelled")
    with bot.store.begin() as tx:
        tx.mailboxes.at(SUPPORT).readers = {"userids": ["mei", "ling"], "departments": [], "tags": []}
    bot.console("set_public_users", address=SUPPORT, members=["mei", "ling"])
    job = ask(bot, "backup ahing to support@ because he leaves")
    until(bot, job, "waiting", "access")
    bot.say("mei", f"manager {job}")
    bot.hear("mei", "I asked 方敏 to decide")
    tidy(bot)


def test_a_public_mailbox_made_in_the_console_is_opened_by_a_member(bot: Bot) -> None:
    """sales@ is invisible to the app: a page to the asker, or to whom he names; as target and as source."""
    bot.show_everything(SALES)
    bot.show_everything(CALVIN)
    job = ask(bot, "backup calvin to sales@ because he changes desks")
    assert "WeCom does not tell me who" in bot.hear("calvin", "/pages/")["text"]
    bot.enter("calvin", bot.client_password(CALVIN))
    assert "refuse" in bot.hear("mei", "/pages/")["text"]
    bot.say("mei", f"access {job} by ling")
    bot.hear("mei", "Asking 凌 for access")
    bot.hear("ling", "/pages/")
    assert f"`access {job} by NAME`" in bot.hear("mei", "I asked 凌 for access")["text"]
    bot.decline("ling")
    assert f"`access {job} by NAME`" in bot.hear("mei", f"凌 refused access to {SALES}")["text"]
    bot.say("mei", f"由 卡尔文 授权 {job}")
    bot.hear("calvin", "/pages/")
    bot.enter("calvin", bot.client_password(SALES))
    ready(bot, job)
    bot.press("mei", "start:")
    over(bot, job)
    assert copied(bot, CALVIN, SALES)
    tidy(bot)

    job = ask(bot, "backup sales@ to support@ because the team closes")
    bot.hear("mei", "/pages/")
    bot.say("mei", f"manager {job}")
    bot.hear("mei", "there is no manager to ask")
    bot.enter("mei", bot.client_password(SALES))
    ready(bot, job)
    assert "own_backup" in {note["kind"] for note in data(bot, job)["plan"]["notes"]}
    bot.press("mei", "start:")
    over(bot, job)
    assert data(bot, job)["outcome"]["verified"]
    assert copied(bot, SALES, SUPPORT, ["INBOX", "Sent Messages"])
    assert not [each for each in own_folders(bot, SUPPORT) if CALVIN in each], "a backup was backed up"
    tidy(bot)


def test_when_a_password_cannot_be_minted_the_page_takes_over(bot: Bot) -> None:
    """WeCom refuses to mint, or the mail server refuses what was minted: a member who can open it is asked."""
    bot.show_everything(CALVIN)
    bot.trouble("mail_not_allowed", path="exmail/publicmail/update")
    job = ask(bot, "backup calvin to support@ because he changes desks")
    give(bot, "calvin", CALVIN)
    assert "does not let me make a client password" in bot.hear("mei", "/pages/")["text"]
    bot.say("mei", f"cancel {job}")
    over(bot, job, "cancelled")
    tidy(bot)
    assert not [each for each in said_to(bot, "mei") if "could not delete" in each]
    bot.trouble("mail_not_allowed", on=False)
    with bot.store.begin() as tx:
        tx.mailboxes.at(SUPPORT).managed = True

    bot.console("set_imap", address=SUPPORT, on=False)
    job = ask(bot, "backup calvin to support@ because he changes desks")
    give(bot, "calvin", CALVIN)
    bot.hear("mei", "the mail server refuses it: IMAP is probably off")
    assert "does not let me make a client password" in bot.hear("mei", "/pages/")["text"]
    assert stands(bot, job) == ("waiting", "access")
    bot.say("mei", f"access {job} by tao")
    bot.hear("mei", f"陈涛 cannot open {SUPPORT}. These can: 阿兴, 美玲.")
    bot.say("mei", f"access {job} by ahing")
    bot.hear("ahing", "/pages/")
    bot.console("set_imap", address=SUPPORT, on=True)
    bot.enter("ahing", bot.client_password(SUPPORT))
    ready(bot, job)
    bot.press("mei", "start:")
    over(bot, job)
    assert copied(bot, CALVIN, SUPPORT)
    tidy(bot)
    assert len(box(bot, SUPPORT).passwords) == 1, "the member's own password is his to delete"


def test_a_members_mailbox_as_target_wants_its_owner(bot: Bot) -> None:
    """Mail into Calvin's own mailbox: he is asked; without him there is no way."""
    bot.show_everything(SALES)
    bot.show_everything(CALVIN)
    job = ask(bot, "backup support@ to calvin because he answers it now")
    asked = bot.hear("calvin", "/pages/")["text"]
    assert f"美玲 asks to copy the mail of {SUPPORT} into your mailbox {CALVIN}" in asked
    bot.say("mei", f"access {job} by ling")
    bot.hear("mei", f"Job {job} waits for nobody but the owner")
    bot.enter("calvin", bot.client_password(CALVIN))
    ready(bot, job)
    assert bot.hear("mei", "this mail can be read by: 卡尔文")
    bot.press("mei", "start:")
    over(bot, job)
    assert copied(bot, SUPPORT, CALVIN)
    tidy(bot)
