"""A member is deleted in the console, and nobody forgets his mailbox: through a weekend and the National Day week."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from bot.clock import ShiftedClock
from bot.sandbox.player import text_of
from bot.sandbox.run import running
from storage.models import AuditEntry, BinDigest, BinItem, BinState
from tests.journeys.conftest import Bot

SHANGHAI = ZoneInfo("Asia/Shanghai")


def local(moment: str) -> datetime:
    """A moment in Shanghai."""
    return datetime.fromisoformat(moment).replace(tzinfo=SHANGHAI)


Starting = Callable[[str], AbstractContextManager[Bot]]


@pytest.fixture
def starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Starting:
    """A sandbox whose clock begins at a moment in Shanghai, whatever the day of the test."""

    @contextmanager
    def start(moment: str) -> Iterator[Bot]:
        clock = ShiftedClock()
        clock.shift = local(moment) - clock.base.now()
        monkeypatch.setattr("bot.sandbox.run.ShiftedClock", lambda: clock)
        with running(tmp_path / "data") as sandbox, closing(Bot(sandbox)) as player:
            player.wait_ready()
            yield player

    return start


def until(bot: Bot, moment: str) -> None:
    """Move the clock on to a moment in Shanghai."""
    bot.advance((local(moment) - bot.sandbox.clock.now()).total_seconds())


def days(bot: Bot, member: str) -> list[str]:
    """On which days a member had a digest."""
    with bot.store.begin() as tx:
        return list(tx.session.scalars(select(BinDigest.day).where(BinDigest.member == member).order_by(BinDigest.id)))


def stands(bot: Bot, number: int) -> BinState | None:
    """Where an entry stands."""
    with bot.store.begin() as tx:
        state: BinState | None = tx.session.scalar(select(BinItem.state).where(BinItem.id == number))
        return state


def quiet(bot: Bot, moment: str) -> None:
    """A moment passes on which nobody is reminded: what was said before and after a command is the same."""
    until(bot, moment)
    before = len(bot.entries("mei"))
    bot.advance(90)
    bot.say("mei", "whoami")
    bot.hear("mei", "美玲")
    said = [text_of(each) for each in bot.entries("mei")[before:]]
    assert not [each for each in said if "Let go" in each], said


def test_two_leave_and_one_is_let_go_the_other_assigned(starting: Starting) -> None:
    """The days of the reminders, the manager at the end, and an assignment that is believed only when it is seen."""
    with starting("2026-09-08 15:00") as bot:
        bot.say("mei", "mailbox ahing")
        bot.hear("mei", "ahing@corp.test")
        bot.console("delete_member", member="ahing")
        told = text_of(bot.hear("mei", "阿兴 has left the directory"))
        assert "ahing@corp.test is in the recycle bin" in told
        assert "at 2026-10-08 00:00 (Shanghai); the last day is 2026-10-07" in told
        bot.console("delete_member", member="calvin")  # nobody ever looked his address up
        bot.hear("mei", "Please tell me: `bin address 2 x@`")
        bot.say("mei", "bin address 2 calvin@")
        bot.hear("mei", "number 2 is calvin@corp.test")
        bot.say("mei", "bin")
        listed = text_of(bot.hear("mei", "In the recycle bin: 2"))
        assert "1. ahing@corp.test: last day 2026-10-07, in 29 days" in listed
        bot.say("mei", "bin ahing@")
        assert "I count 30 days" in text_of(bot.hear("mei", "It belonged to 阿兴"))
        bot.say("mei", "mailbox ahing@")
        bot.hear("mei", "As far as I know, ahing@corp.test is in the recycle bin. Type `bin 1`")
        bot.say("ling", "bin")
        bot.hear("ling", "美玲")  # only who may see it: she is told whom to ask

        quiet(bot, "2026-09-22 10:00")
        until(bot, "2026-09-23 09:00")
        card = text_of(bot.hear("mei", "2 mailboxes soon deleted"))
        assert "10-07: ahing@corp.test, in 14 days" in card
        bot.press("mei", "bin_let_go:", {"choice": ["2"]})
        bot.hear("mei", "calvin@corp.test is let go")
        bot.wait("the card is redrawn", lambda: "calvin@" not in text_of(bot.card_with("mei", "bin_let_go:")))
        bot.press("mei", "bin_later:", {"choice": ["1"]})
        bot.hear("mei", "remind you of ahing@corp.test again at 2026-09-24 09:00")
        until(bot, "2026-09-24 09:00")
        bot.hear("mei", "Soon deleted: ahing@corp.test")

        quiet(bot, "2026-09-25 10:00")  # 中秋节
        until(bot, "2026-09-30 09:00")  # the last working day before the holiday
        bot.hear("mei", "Soon deleted: ahing@corp.test")
        warned = text_of(bot.hear("ling", "ahing@corp.test: last day 2026-10-07, in 7 days"))
        assert "please tell an admin: 美玲" in warned
        quiet(bot, "2026-10-02 10:00")

        bot.say("mei", "bin done ahing@ assigned")
        bot.hear("mei", "I find nobody in WeCom with ahing@corp.test")
        until(bot, "2026-10-06 09:00")  # a holiday, but the day before the last
        bot.hear("mei", "Soon deleted: ahing@corp.test")
        bot.hear("ling", "ahing@corp.test: last day 2026-10-07, tomorrow")
        bot.console("assign", address="ahing@corp.test", member="tao")
        bot.say("mei", "bin done ahing@ assigned")
        bot.hear("mei", "ahing@corp.test is safe: it belongs to 陈涛 now")
        quiet(bot, "2026-10-07 09:00")

        assert days(bot, "mei") == ["2026-09-23", "2026-09-24", "2026-09-30", "2026-10-06"]
        assert days(bot, "ling") == ["2026-09-30", "2026-10-06"]
        assert (stands(bot, 1), stands(bot, 2)) == (BinState.ASSIGNED, BinState.LET_GO)
        with bot.store.begin() as tx:
            what = set(tx.session.scalars(select(AuditEntry.what)))
            assert {
                "bin.entered", "bin.address", "bin.reminded", "bin.let_go", "bin.later", "bin.not_assigned",
                "bin.assigned",
            } <= what  # fmt: skip
            assert tx.audit.broken_at() is None


def test_one_is_lost_and_it_is_said_in_chinese(starting: Starting) -> None:
    """The console's own date counts; a week without the bot costs no reminder but those that fell into it."""
    with starting("2026-11-02 10:00") as bot:
        bot.say("mei", "邮箱 ahing")
        bot.hear("mei", "ahing@corp.test")
        bot.console("delete_member", member="ahing")
        told = text_of(bot.hear("mei", "阿兴 已离开通讯录"))
        assert "将于 2026-12-02 00:00（北京时间）被永久删除，最后一天是 2026-12-01" in told
        bot.say("mei", "回收站 日期 ahing@ 2026-11-28")
        bot.hear("mei", "ahing@corp.test 现在以管理后台的日期为准")
        bot.say("mei", "回收站 ahing@")
        shown = text_of(bot.hear("mei", "日期由 美玲 提供，以管理后台显示的为准"))
        assert "下次提醒：2026-11-13 09:00" in shown
        assert "我没有它的备份记录" in shown

        until(bot, "2026-11-13 09:00")
        card = text_of(bot.hear("mei", "即将删除：ahing@corp.test"))
        assert "11-27: ahing@corp.test，还有 14 天 | ahing@ 11-27 | [备份] | [转移] | [放弃] | [明天再说]" in card
        until(bot, "2026-11-25 20:00")  # as after an outage: the 20th and the 24th are past
        until(bot, "2026-11-26 09:00")
        bot.hear("mei", "ahing@corp.test，就是明天")
        bot.hear("ling", "ahing@corp.test")
        until(bot, "2026-11-27 09:00")
        bot.hear("mei", "ahing@corp.test，就是今天")
        until(bot, "2026-11-28 00:00")  # a Saturday
        bot.wait("the entry is closed", lambda: stands(bot, 1) is BinState.LOST)
        until(bot, "2026-11-30 09:00")
        last = text_of(bot.hear("mei", "据我所知，ahing@corp.test 已于 2026-11-28 00:00 被永久删除"))
        assert "非常抱歉" in last
        assert days(bot, "mei") == ["2026-11-13", "2026-11-26", "2026-11-27"]
