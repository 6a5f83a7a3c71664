"""The sandbox's clock walks: the bot does on the way what it would have done, and what is due is known beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from bot.sandbox.player import SHANGHAI, NotHeard
from bot.sandbox.run import running
from storage.models import BinDigest, Handover, HandoverState, Job
from tests.journeys.conftest import Bot


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    """An organisation on the morning of a Tuesday in September 2026."""
    begins = datetime(2026, 9, 8, 10, tzinfo=SHANGHAI)
    with running(tmp_path / "data", begins=begins) as sandbox, closing(Bot(sandbox)) as player:
        player.wait_ready()
        yield player


def due(bot: Bot, kind: str, word: str = "") -> list[str]:
    """When things of a kind are due, in order; those whose name holds a word."""
    moments = [each["at"] for each in bot.due() if each["kind"] == kind and word in each["what"]["en"]]
    return [f"{datetime.fromisoformat(each).astimezone(SHANGHAI):%m-%d %H:%M}" for each in moments]


def step(bot: Bot, number: int) -> Handover:
    """A console step."""
    with bot.store.begin() as tx:
        found: Handover = tx.session.get_one(Handover, number)
        return found


def newest(bot: Bot, kind: str) -> Job:
    """The newest job of a kind."""
    with bot.store.begin() as tx:
        found: Job = tx.session.scalars(select(Job).where(Job.kind == kind).order_by(Job.id.desc())).first()
        return found


def test_whatever_waits_is_due_and_comes_when_it_is(bot: Bot) -> None:
    """A question, a page, console steps, the bin: each is announced, and the clock lands exactly on it."""
    bot.say("mei", "reassign ahing@ to calvin because he takes over without backup")
    bot.press("mei", "reassign_ask:")
    bot.card_with("ling", "approve:")
    job = newest(bot, "reassign").id
    assert due(bot, "approval", "to 凌") == ["09-08 11:00"]
    assert due(bot, "approval", "runs out") == ["09-15 10:00"]
    bot.until(datetime(2026, 9, 10, 22, 30, tzinfo=SHANGHAI))
    assert due(bot, "approval", "to 凌") == ["09-11 09:00"]  # after an hour, four, and two mornings
    bot.press("ling", "approve:")
    bot.press("calvin", "reassign_ack:")
    bot.hear("mei", "回收邮箱")

    number = newest(bot, "handover").data["handover"]
    bot.wait("a first look", lambda: step(bot, number).polls == 1)
    assert due(bot, "look", f"step {number} is done") == ["09-10 22:45"]
    reminder = step(bot, number).remind_at
    stops = bot.walk("next_reminder")
    assert datetime.fromisoformat(stops[-1]) == reminder
    assert reminder <= bot.now() < reminder + timedelta(seconds=15)
    assert step(bot, number).polls > 1
    assert (step(bot, number).reminders, step(bot, number).state) == (1, HandoverState.WAITING)
    bot.hear("mei", f"Console step {number} still waits")

    bot.console("reclaim", member="ahing")
    bot.walk("hour")  # nobody presses anything
    bot.hear("mei", f"Console step {number} is done")
    number = newest(bot, "handover").data["handover"]
    deadline = step(bot, number).deadline_at
    bot.console("assign", address="ahing@corp.test", member="calvin")
    bot.until(deadline + timedelta(hours=1))  # it is looked at before it can run out
    assert step(bot, number).state is HandoverState.DONE
    assert newest(bot, "reassign").data["ending"] == "done"
    assert newest(bot, "reassign").id == job


def test_a_walk_reminds_every_day_and_a_leap_is_an_outage(bot: Bot) -> None:
    """Two months at once: every reminder on its day; a page and its job run out; the rest is for people."""
    bot.say("mei", "mailbox ahing@")
    bot.hear("mei", "ahing@corp.test")
    bot.say("mei", "backup lan to support@ because she leaves")
    bot.hear("lan", "/pages/")
    assert due(bot, "link", "王兰") == ["09-08 10:15"]
    assert len(due(bot, "job", "lan@corp.test")) == 1
    bot.console("delete_member", member="ahing")
    bot.hear("mei", "recycle bin")
    assert due(bot, "deletion", "ahing@") == ["10-08 00:00"]
    assert due(bot, "reminder") == ["09-23 09:00", "09-30 09:00", "10-06 09:00", "10-07 09:00"]
    stops = bot.until(datetime(2026, 10, 9, 10, tzinfo=SHANGHAI))
    assert len(stops) > 6
    with bot.store.begin() as tx:
        days = list(tx.session.scalars(select(BinDigest.day).where(BinDigest.member == "mei").order_by(BinDigest.id)))
    assert days == ["2026-09-23", "2026-09-30", "2026-10-06", "2026-10-07"]
    bot.hear("mei", "ahing@corp.test was deleted for ever")
    assert due(bot, "link") == due(bot, "job") == []
    for goal in ("next_reminder", "before_deletion"):
        with pytest.raises(NotHeard, match="409"):
            bot.walk(goal)

    bot.console("delete_member", member="yan")
    bot.hear("mei", "赵燕")
    bot.advance(31 * 24 * 3600)  # the bot was off: on a Monday it says one thing, the right one
    bot.hear("mei", "deleted for ever")
    with bot.store.begin() as tx:
        assert len(list(tx.session.scalars(select(BinDigest).where(BinDigest.member == "mei")))) == len(days)

    bot.post("reset")
    assert not [each for each in bot.due() if "ahing" in str(each) or "yan" in str(each)], (
        "the bot has forgotten it, too"
    )
    bot.say("mei", "bin")
    bot.wait("it answers", lambda: "is empty" in str(bot.entries("mei")))
