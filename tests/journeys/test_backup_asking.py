"""Asking for a backup: what is missing, who may, what cannot be, what is left out, and what changed meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.sandbox.player import NotHeard, text_of
from bot.sandbox.run import running
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
    newest,
    over,
    own_folders,
    ready,
    stands,
    tidy,
    until,
)
from tests.journeys.conftest import Bot


def test_what_is_missing_is_asked_for(bot: Bot) -> None:
    """The target by a click or a number, the reason by the next message; names nobody bears; strangers; an alias."""
    bot.say("tao", "backup ahing to support@ because I want to")
    bot.hear("tao", "美玲")
    bot.say("mei", "backup ahng to support@ because he leaves")
    assert "ahing" in bot.hear("mei", "ahng")["text"]
    bot.say("mei", "backup ahing to suport@ because he leaves")
    assert newest(bot) == 0 or stands(bot, newest(bot))

    before = newest(bot)
    bot.say("mei", "backup calvin")
    bot.hear("mei", "Back up to which mailbox?")
    bot.hear("mei", f"1. {SUPPORT}")
    bot.press("mei", "choose", {"choice": [SUPPORT]})
    bot.hear("mei", f"Why is calvin to be copied to {SUPPORT}?")
    bot.say("mei", "his contract ends")
    bot.hear("mei", f"Looking into calvin and {SUPPORT}")
    job = newest(bot)
    assert job > before
    assert "his contract ends" in bot.hear("calvin", "/pages/")["text"]

    bot.say("mei", "备份 ahing")
    bot.hear("mei", f"1. {SUPPORT}")
    bot.say("mei", "1")
    bot.hear("mei", f"备份到 {SUPPORT}？您的下一条消息")
    bot.say("mei", "离职")
    bot.hear("ahing", "/pages/")

    bot.say("mei", f"backup {SUPPORT} to support@ because why not")
    bot.hear("mei", f"{SUPPORT} and {SUPPORT} are the same mailbox")
    bot.say("mei", "backup calvin to support@ because I forgot")
    bot.hear("mei", f"Job {job} is doing the same for {CALVIN} already")

    bot.sandbox.organisation.public[1].aliases = ["help@corp.test"]
    job = ask(bot, "backup help@ to support@ because of the alias")
    bot.hear("mei", f"help@corp.test and {SUPPORT} are the same mailbox")
    over(bot, job, "cancelled")
    with bot.store.begin() as tx:
        assert not tx.links.of_job(job)


@pytest.fixture
def two_admins(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A sandbox in which fang is an admin, too."""
    with running(tmp_path / "data", bot_admins=("mei", "fang")) as sandbox:
        player = Bot(sandbox)
        try:
            player.wait_ready()
            yield player
        finally:
            player.close()


def test_two_admins_ask_for_the_same_at_once(two_admins: Bot) -> None:
    """One backup goes on, the other admin is told which; either may start it."""
    bot = two_admins
    bot.show_everything(CALVIN)
    bot.say("mei", "backup calvin to support@ because he leaves")
    bot.say("fang", "backup calvin to support@ because he leaves")
    bot.wait("one backup goes on, every other is refused", lambda: going_on(bot) is not None)
    job = going_on(bot) or 0
    give(bot, "calvin", CALVIN)
    ready(bot, job)
    asker = str(card_owner(bot, job))
    other = "fang" if asker == "mei" else "mei"
    bot.hear(other, f"Job {job} is doing the same for {CALVIN} already")
    bot.say(other, f"start {job}")
    over(bot, job)
    assert copied(bot, CALVIN, SUPPORT)
    bot.wait("the asker's card is greyed", lambda: bool(card_about(bot, asker, job)["card"]["greyed"]))
    bot.hear(asker, f"Job {job}: ")
    tidy(bot)


def going_on(bot: Bot) -> int | None:
    """The one backup that waits for access, when there are no others under way."""
    with bot.store.begin() as tx:
        jobs = [each for each in tx.jobs.recent(("backup",)) if each.state in ("due", "waiting")]
        return jobs[0].id if len(jobs) == 1 and jobs[0].state == "waiting" else None


def card_owner(bot: Bot, job: int) -> str:
    """Who asked for a job."""
    with bot.store.begin() as tx:
        return str(tx.jobs.get(job).asked_by)


def test_a_part_only_is_copied_and_called_partial(bot: Bot) -> None:
    """Only Inbox, since a day, without Junk; a folder that is not there is said; the rest comes with a later run."""
    bot.show_everything(CALVIN)
    job = ask(bot, "backup calvin to support@ because of the audit only Inbox,Nowhere")
    give(bot, "calvin", CALVIN)
    ready(bot, job)
    bot.hear("mei", "There is no folder Nowhere in the source.")
    assert data(bot, job)["plan"]["mails"] == 30
    bot.press("mei", "start:")
    assert "only a part was asked for" in bot.hear("mei", f"Job {job}: 30 copied")["text"]
    over(bot, job)
    assert own_folders(bot, SUPPORT) == {f"{ROOT}/{CALVIN}", f"{ROOT}/{CALVIN}/INBOX"} or own_folders(bot, SUPPORT) == {
        f"{ROOT}/{CALVIN}/INBOX"
    }

    job = ask(bot, "备份 calvin 到 support@ 原因 审计 自 2026-06-01 不含 垃圾邮件")
    give(bot, "calvin", CALVIN)
    ready(bot, job)
    folders = {name: folder for name, folder in box(bot, CALVIN).folders.items() if name != "Junk"}
    young = sum(m.date.isoformat() >= "2026-06-01" for f in folders.values() for m in f.messages.values())
    assert data(bot, job)["plan"]["mails"] == young
    bot.press("mei", "start:")
    assert "只要求备份一部分" in bot.hear("mei", f"任务 {job}：")["text"]
    over(bot, job)

    job = ask(bot, "backup calvin to support@ because of the audit")
    give(bot, "calvin", CALVIN)
    ready(bot, job)
    bot.press("mei", "start:")
    assert "only a part" not in bot.hear("mei", f"Job {job}: ")["text"]
    over(bot, job)
    assert copied(bot, CALVIN, SUPPORT)
    tidy(bot)


def test_what_changed_between_preview_and_start_stops_it(bot: Bot) -> None:
    """A mailbox that changed hands, or readers that changed, are not what was agreed to: nothing is copied."""
    bot.show_everything(CALVIN)
    job = ask(bot, "backup calvin to support@ because he leaves")
    give(bot, "calvin", CALVIN)
    ready(bot, job)
    bot.console("set_public_users", address=SUPPORT, members=["ahing", "mei", "tao"])
    task_id = bot.press("mei", "start:")
    told = bot.hear("mei", f"Job {job} has stopped, because what was agreed to has changed.")["text"]
    assert "read there by 阿兴, 美玲\n" in told
    assert "陈涛" in told
    over(bot, job, "cancelled")
    assert own_folders(bot, SUPPORT) == set()
    tidy(bot)
    with pytest.raises(NotHeard):
        bot.post("click", member="mei", task_id=task_id, key=f"start:{job}", selected={})
    bot.say("mei", f"start {job}")
    bot.hear("mei", f"Job {job} cannot be started now: stopped, what was agreed to has changed.")

    job = ask(bot, "backup ahing to support@ because he leaves")
    give(bot, "ahing", AHING)
    ready(bot, job)
    bot.console("reclaim", member="ahing")
    bot.console("assign", address=AHING, member="jun")
    bot.press("mei", "start:")
    told = bot.hear("mei", f"Job {job} has stopped")["text"]
    assert "owner: 阿兴" in told
    assert "owner: 李军" in told
    over(bot, job, "cancelled")
    assert own_folders(bot, SUPPORT) == set()


def test_old_cards_and_spent_ones_say_how_it_stands(bot: Bot) -> None:
    """A card of three days ago and a second click on a pressed one change nothing, and the reader learns why."""
    bot.show_everything(CALVIN)
    job = ask(bot, "backup calvin to support@ because he leaves")
    until(bot, job, "waiting", "access")
    bot.hear("calvin", "/pages/")
    old = bot.card_with("mei", "by_manager:")["card"]["task_id"]
    bot.advance(73 * 3600)
    bot.press("mei", "by_manager:")
    bot.hear("mei", "I asked 凌 to decide")
    bot.post("click", member="mei", task_id=old, key=f"by_manager:{job}", selected={})
    bot.hear("mei", "was already asked")
    bot.say("calvin", f"link {job}")
    give(bot, "calvin", CALVIN)
    ready(bot, job)
    bot.wait("the manager's card is greyed", lambda: "approve" not in text_of(bot.entries("ling")[-1]))
    bot.press("mei", "start:")
    over(bot, job)
    bot.say("mei", f"refresh {job}")
    bot.wait("the card is greyed", lambda: bool(card_about(bot, "mei", job)["card"]["greyed"]))
    tidy(bot)
