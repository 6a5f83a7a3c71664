"""`backup ahing to support@`: from the command to the receipt and the check months later, in both languages."""

from __future__ import annotations

import re

from tests.journeys.backup_steps import (
    AHING,
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


def test_the_mail_of_ahing_goes_to_support(bot: Bot) -> None:
    """Consent, preview, Start, Refresh, receipt, file; then a second run, and a check months later."""
    bot.show_everything(AHING)
    job = ask(bot, "backup ahing to support@ because he leaves")
    bot.hear("mei", f"I asked 阿兴 for access to {AHING}")
    consent = bot.hear("ahing", "/pages/")["text"]
    for told in ("美玲 asks to copy all mail", AHING, SUPPORT, "he leaves", "阿兴, 美玲", "Nothing is changed"):
        assert told in consent
    _, _, page = bot.open("ahing")
    for told in ("美玲", "he leaves", SUPPORT, "阿兴, 美玲", "全部", "我的文件夹", "开启IMAP/SMTP服务"):
        assert told in page
    assert not bot.mailbox(AHING)["imap_on"], "IMAP is switched on before the owner agreed"
    assert not box(bot, SUPPORT).passwords, "a password is minted before the owner agreed"
    assert "Thank" in bot.enter("ahing", bot.client_password(AHING))

    ready(bot, job)
    warned = bot.hear("mei", "Before you start")["text"]
    assert "marked for deletion" in warned
    assert f"In {SUPPORT} this mail can be read by: 阿兴, 美玲." in warned
    card = bot.hear("mei", "Nothing is copied yet")["card"]
    rows = {row["name"]: row["value"] for row in card["rows"]}
    assert rows["From"] == AHING
    assert rows["To"] == SUPPORT
    count = sum(box(bot, AHING).counts().values())
    assert rows["Mails"] == f"{count} in {len(box(bot, AHING).folders)} folders"
    assert re.fullmatch(r"\d+\.\d MB", rows["Size"])
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", rows["First"])
    assert re.fullmatch(r"[\d.]+ kB of [\d.]+ GB", rows["Room"])
    assert "阿兴, 美玲" in card["text"]
    assert own_folders(bot, SUPPORT) == set(), "nothing is copied before Start"

    bot.trouble("mail:latency_ms", address=SUPPORT, value=60)
    bot.press("mei", "start:")
    seen = []
    for _ in range(3):
        task_id = bot.press("mei", "refresh:")
        bot.wait("the card is drawn anew", lambda old=task_id: card_about(bot, "mei", job)["card"]["task_id"] != old)
        rows = {row["name"]: row["value"] for row in card_about(bot, "mei", job)["card"]["rows"]}
        seen.append(rows["Done"])
        assert re.fullmatch(r"\d+ of \d+ mails", rows["Done"])
        assert set(rows) == {"Done", "Rate", "Left", "At"}
    bot.trouble("mail:latency_ms", on=False, address=SUPPORT)
    assert seen[-1] != seen[0] or seen[0].startswith("0 "), seen

    receipt = bot.hear("mei", f"{count} mails of {AHING} are now in {SUPPORT}.")["text"]
    assert f"Job {job}: {count} copied, 0 were already there, 0 refused" in receipt
    assert f"Folder: {ROOT}/{AHING}" in receipt
    assert f"- {AHING} still receives mail." in receipt
    bot.hear("ahing", f"{count} mails of {AHING} are now in {SUPPORT}")
    over(bot, job)
    assert copied(bot, AHING, SUPPORT)
    bot.hear("mei", f"backup-{job}-")
    final = card_about(bot, "mei", job)["card"]
    assert final["greyed"]
    assert final["text"] == f"{count} mails of {AHING} are now in {SUPPORT}"

    name, book = last_file(bot, "mei")
    assert re.fullmatch(rf"backup-{job}-\d{{8}}\.xlsx", name)
    sheet = book.worksheets[1]
    columns = {cell.value: number for number, cell in enumerate(sheet[1])}
    lines = [[cell.value for cell in row] for row in sheet.iter_rows(min_row=2)]
    assert sum(line[columns["found"]] for line in lines) == count
    assert sum(line[columns["missing"]] + line[columns["not_copied"]] for line in lines) == 0
    assert {line[0] for line in lines} == set(box(bot, AHING).folders)
    assert all(cell.data_type != "f" for sheet in book.worksheets for row in sheet.iter_rows() for cell in row)
    assert not bot.mailbox(AHING)["imap_on"], "IMAP is not as it was"
    tidy(bot)

    bot.console("receive_mail", address=AHING, subject="last words", text="one more")
    again = ask(bot, "backup ahing to support@ because to be sure")
    give(bot, "ahing", AHING)
    ready(bot, again)
    assert data(bot, again)["plan"]["mails_there"] == count
    bot.hear("mei", ", 1 new")
    bot.press("mei", "start:")
    receipt = bot.hear("mei", f"Job {again}: ")["text"]
    assert f"1 copied, {count} were already there, 0 refused" in receipt
    over(bot, again)
    assert copied(bot, AHING, SUPPORT)
    tidy(bot)

    bot.advance(90 * 86400)
    checked = ask(bot, f"verify {again}")
    bot.hear("mei", f"Backup {again} is still whole in {SUPPORT}: {count + 1} mails, unchanged.")
    over(bot, checked)
    folder = box(bot, SUPPORT).folders[f"{ROOT}/{AHING}/Sent Messages"]
    folder.expunge(next(iter(folder.messages)))
    checked = ask(bot, f"verify {job}")
    told = bot.hear("mei", f"1 of the {count + 1} mails of backup {job} is missing or changed")["text"]
    assert "Sent Messages" in told
    over(bot, checked)
    tidy(bot)

    bot.say("mei", f"job {job}")
    lines = bot.hear("mei", f"{job}: backup {AHING} → {SUPPORT}: done")["text"]
    assert "Asked by 美玲, because: he leaves" in lines
    assert f"{count} copied, 0 refused. This backup is partial" in lines
    assert f"`verify {job}`" in lines
    bot.say("mei", "jobs")
    bot.hear("mei", f"{again}: backup")
    bot.say("ahing", f"job {job}")
    bot.hear("ahing", "done")
    bot.say("tao", f"job {job}")
    bot.hear("tao", f"I know no job {job}")
    assert len([each for each in said_to(bot, "mei") if "are now in" in each]) <= 4, "things are told twice"


def test_what_a_mailbox_hides_is_said_and_shown_after_check_again(bot: Bot) -> None:
    """In Chinese: the 30-day window and hidden folders make it partial, and the exact settings are named."""
    bot.say("ahing", "帮助")
    job = ask(bot, "备份ahing到support@原因离职")
    consent = bot.hear("ahing", "/pages/")["text"]
    for told in ("美玲 申请把您的邮箱", "离职", "阿兴、美玲"):
        assert told in consent
    assert "谢谢" in bot.enter("ahing", bot.client_password(AHING))
    ready(bot, job)
    warned = bot.hear("mei", "开始之前请注意")["text"]
    assert "收取选项" in warned
    assert "全部" in warned
    assert "我的文件夹" in warned
    before = data(bot, job)["plan"]
    assert before["folders"] == 5

    bot.show_everything(AHING)
    bot.press("mei", "check:")
    until(bot, job, "waiting", "ready")
    bot.wait("the mailbox was looked at again", lambda: data(bot, job)["plan"]["mails"] > before["mails"])
    plan = data(bot, job)["plan"]
    assert plan["folders"] == len(box(bot, AHING).folders)
    assert {note["kind"] for note in plan["notes"]} == {"deleted_flag"}
    bot.hear("mei", f"{plan['mails']} 封，{plan['folders']} 个文件夹")

    bot.console("set_window", address=AHING, days=30)
    bot.console("show_folders", address=AHING, on=False)
    bot.say("mei", f"检查 {job}")
    bot.wait("it is hidden again", lambda: data(bot, job)["plan"]["mails"] == before["mails"])
    ready(bot, job)
    bot.say("mei", f"开始 {job}")
    receipt = bot.hear("mei", "此备份不完整")["text"]
    assert f"{before['mails']} 封邮件已在 {SUPPORT} 中" in receipt
    assert "最近 30 天" in receipt
    assert "隐藏了自建文件夹" in receipt
    assert "仍在收信" in receipt
    over(bot, job)
    tidy(bot)

    bot.say("mei", f"任务 {job}")
    bot.hear("mei", "此备份不完整，原因见回执")
    bot.say("mei", "任务")
    bot.hear("mei", f"{job}：备份 {AHING} → {SUPPORT}：已完成")
    bot.say("mei", f"取消 {job}")
    bot.hear("mei", f"任务 {job} 已结束：已完成。")
    bot.say("mei", f"重试 {job}")
    bot.hear("mei", f"任务 {job} 无需重试：已完成。")
    assert stands(bot, job) == ("done", "cleanup")
