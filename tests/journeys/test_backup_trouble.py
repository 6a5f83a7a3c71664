"""When something goes wrong in the middle: a full target, a cancel, a line that breaks, a mail nobody takes."""

from __future__ import annotations

from bot.sandbox.player import text_of
from storage.models import MintedPassword
from tests.journeys.backup_steps import (
    AHING,
    CALVIN,
    ROOT,
    SUPPORT,
    ask,
    box,
    card_about,
    copied,
    data,
    give,
    last_file,
    over,
    own_folders,
    ready,
    said_to,
    stands,
    tidy,
    until,
)
from tests.journeys.conftest import Bot

DAY = 86400


def prepared(bot: Bot, line: str = "backup calvin to support@ because he leaves") -> int:
    """A backup of Calvin's mailbox of which the preview is there."""
    bot.show_everything(CALVIN)
    job = ask(bot, line)
    give(bot, "calvin", CALVIN)
    ready(bot, job)
    return job


def test_a_full_target_is_asked_about_and_stops_the_copy_at_once(bot: Bot) -> None:
    """Over 80 % a second question; full in the middle: it says so, and goes on with the rest after making room."""
    used = box(bot, SUPPORT).used_bytes
    source = box(bot, CALVIN).used_bytes
    bot.console("set_quota", address=SUPPORT, quota_bytes=used + source // 2)
    bot.sandbox.bot.services.settings.__dict__["exmail_quota_bytes"] = used + source // 2
    job = prepared(bot)
    assert "A full mailbox stops receiving mail: an archive mailbox would be safer." in bot.hear("mei", "80 %")["text"]
    bot.press("mei", "start:")
    bot.hear("mei", "Start anyway?")
    assert stands(bot, job) == ("waiting", "ready")
    assert own_folders(bot, SUPPORT) == set()
    bot.press("mei", f"start:{job}:anyway")
    told = bot.hear("mei", f"{SUPPORT} is full")["text"]
    assert f"`retry {job}`" in told
    until(bot, job, "waiting", "full")
    already = sum(count for name, count in box(bot, SUPPORT).counts().items() if name.startswith(ROOT))
    assert 0 < already < 60
    bot.say("mei", "jobs")
    bot.hear("mei", "stopped, the target is full")

    bot.console("set_quota", address=SUPPORT, quota_bytes=1 << 30)
    bot.say("mei", f"retry {job}")
    receipt = bot.hear("mei", f"Job {job}: ")["text"]
    assert f"{60 - already} copied, {already} were already there, 0 refused" in receipt
    over(bot, job)
    assert copied(bot, CALVIN, SUPPORT)
    tidy(bot)


def test_a_cancelled_or_forgotten_backup_leaves_no_key(bot: Bot) -> None:
    """Cancel while waiting and while copying; nobody presses Start; WeCom does not delete what it minted."""
    job = ask(bot, "backup ahing to support@ because he leaves")
    bot.hear("ahing", "/pages/")
    bot.press("mei", "cancel:")
    bot.hear("mei", f"Job {job} is cancelled")
    over(bot, job, "cancelled")
    bot.say("mei", f"job {job}")
    bot.hear("mei", f"To go on: `retry {job}`.")
    assert card_about(bot, "mei", job)["card"]["greyed"]

    job = prepared(bot)
    bot.trouble("mail:latency_ms", address=SUPPORT, value=400)
    bot.press("mei", "start:")
    bot.wait("something is copied", lambda: own_folders(bot, SUPPORT) != set())
    bot.press("mei", "cancel:")
    bot.hear("mei", f"Cancelling job {job}")
    bot.hear("mei", f"Job {job} is cancelled")
    over(bot, job, "cancelled")
    assert not copied(bot, CALVIN, SUPPORT), "it was too fast to be cancelled"
    bot.trouble("mail:latency_ms", on=False, address=SUPPORT)
    tidy(bot)
    bot.say("mei", f"retry {job}")
    give(bot, "calvin", CALVIN)
    ready(bot, job)
    bot.press("mei", "start:")
    bot.hear("mei", f"Job {job}: ")
    over(bot, job)
    assert copied(bot, CALVIN, SUPPORT)

    job = ask(bot, "备份 ahing 到 support@ 原因 离职")
    give(bot, "ahing", AHING)
    ready(bot, job)
    assert bot.mailbox(AHING)["imap_on"]
    bot.advance(25 * 3600)
    assert f"重试 {job}" in bot.hear("mei", f"任务 {job} 已过期")["text"]
    over(bot, job, "cancelled")
    assert not bot.mailbox(AHING)["imap_on"]
    tidy(bot)

    job = prepared(bot, "backup calvin to support@ because of the audit")
    bot.trouble("mail_not_allowed", path="exmail/publicmail/delete_auth_code")
    bot.say("mei", f"cancel {job}")
    told = bot.hear("mei", "I could not delete the client password with the remark")["text"]
    assert "exmail-bot" in told
    over(bot, job, "cancelled")
    assert [each for each in public_passwords(bot) if each["by_api"]]
    bot.trouble("mail_not_allowed", on=False)
    bot.advance(3600)
    bot.wait("it is tried again", lambda: not [each for each in public_passwords(bot) if each["by_api"]])
    bot.wait("nothing is left", lambda: not left_over(bot))
    tidy(bot)


def left_over(bot: Bot) -> list[int]:
    """Ended jobs that left a key behind."""
    with bot.store.begin() as tx:
        return list(tx.passwords.left_over())


def test_one_refused_mail_is_listed_and_the_others_are_copied(bot: Bot) -> None:
    """
    Too big for the target, a NUL in it: subject, date, reason in the receipt and the file. Then again, the limit gone;
    and as an attachment what the target still does not take.
    """
    bot.show_everything(CALVIN)
    bot.console("receive_mail", address=CALVIN, subject="=the plans", text="x" * 300_000)
    bot.trouble("mail:size_limit", address=SUPPORT, value=250_000)
    bot.console("receive_mail", address=CALVIN, subject="=the list", text="a\0b")
    bot.trouble("mail:nul_refused", address=SUPPORT)
    job = prepared(bot)
    bot.press("mei", "start:")
    receipt = bot.hear("mei", f"Job {job}: ")["text"]
    assert "60 copied, 0 were already there, 2 refused" in receipt
    assert f"2 mails were refused (see below and the file). `retry {job}` tries them again; `accept {job}`" in receipt
    assert "Not copied: “=the plans” of " in receipt
    assert "in INBOX: too big for the target" in receipt
    over(bot, job)
    bot.hear("mei", ".xlsx")
    _, book = last_file(bot, "mei")
    rows = [[cell.value for cell in row] for row in book.worksheets[2].iter_rows(min_row=2)]
    assert len(rows) == 2
    assert rows[0][:2] == ["INBOX", "=the plans"]
    assert rows[0][3] > 300_000
    assert all(cell.data_type != "f" for row in book.worksheets[2].iter_rows() for cell in row)
    assert sum(box(bot, SUPPORT).counts()[f"{ROOT}/{CALVIN}/{name}"] for name in box(bot, CALVIN).folders) == 60

    bot.say("mei", f"accept {job}")
    bot.hear("mei", "The backup stays partial for the other reasons")
    bot.say("mei", f"接受 {job}")
    bot.hear("mei", f"任务 {job} 没有等待您接受的未复制邮件")
    with bot.store.begin() as tx:
        assert [each.who for each in tx.audit.latest(5) if each.what == "backup.accepted"] == ["mei"]

    bot.trouble("mail:size_limit", on=False, address=SUPPORT)
    bot.say("mei", f"retry {job}")
    give(bot, "calvin", CALVIN)
    ready(bot, job)
    bot.press("mei", "start:")
    over(bot, job)
    assert f"`wrap {job}` puts it, unchanged" in text_of(bot.hear("mei", f"Job {job}: 1 copied, 60 were"))

    bot.say("mei", f"附件方式重发 {job}")
    bot.hear("mei", f"任务 {job} 继续：")
    give(bot, "calvin", CALVIN)
    ready(bot, job)
    bot.press("mei", "start:")
    over(bot, job)
    receipt = text_of(bot.hear("mei", f"任务 {job}：复制 1 封，原已存在 61 封，被拒绝 0 封"))
    assert "作为附件：“=the list”，" in receipt
    bot.trouble("mail:nul_refused", on=False, address=SUPPORT)
    tidy(bot)


def test_a_line_that_breaks_loses_and_doubles_nothing(bot: Bot) -> None:
    """The server drops connections while it is given mail, after it took mail, and while it gives mail."""
    bot.show_everything(AHING)
    job = ask(bot, "backup ahing to support@ because he leaves")
    give(bot, "ahing", AHING)
    ready(bot, job)
    bot.trouble("mail:drop_in_append", address=SUPPORT, times=2, after=20)
    bot.trouble("mail:drop_after_append", address=SUPPORT, times=2, after=40)
    bot.trouble("mail:drop_in_fetch", address=AHING, times=2, after=5)
    bot.press("mei", "start:")
    count = sum(box(bot, AHING).counts().values())
    bot.hear("mei", f"Job {job}: {count} copied, 0 were already there, 0 refused")
    over(bot, job)
    assert data(bot, job)["outcome"]["verified"]
    assert copied(bot, AHING, SUPPORT)
    assert len([each for each in said_to(bot, "mei") if "stopped" in each]) == 0
    tidy(bot)


def test_a_minted_password_whose_answer_was_lost_is_found_by_its_remark(bot: Bot) -> None:
    """WeCom loses the answer to the minting: no second password lives; and what the bot did not make is not touched."""
    bot.console("mint_password", address=SUPPORT, name="办公PC")
    bot.trouble("answer_lost", times=1, path="exmail/publicmail/update")
    job = prepared(bot)
    mine = [each for each in public_passwords(bot) if each["by_api"]]
    assert len(mine) == 1
    assert mine[0]["remark"].startswith("exmail-bot ")
    bot.press("mei", "start:")
    over(bot, job)
    tidy(bot)
    assert [each["remark"] for each in public_passwords(bot)] == ["办公PC"]
    with bot.store.begin() as tx:
        assert all(row.deleted_at is not None for row in tx.session.query(MintedPassword))


def public_passwords(bot: Bot) -> list[dict[str, object]]:
    """The client passwords of support@."""
    return next(each["passwords"] for each in bot.state()["public_mailboxes"] if each["address"] == SUPPORT)
