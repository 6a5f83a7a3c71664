"""
The whole story of a mailbox that changes hands and of the one that is displaced by it, in both languages.

Asked, rejected with a reason, asked again, agreed to by two approvers at once, falsely said to be done, done, seen;
then the displaced mailbox through the National Day week and a weekend, rescued on its last day, and nobody is reminded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bot.sandbox.player import SHANGHAI, button_of, text_of
from bot.sandbox.run import running
from storage.models import Approval, BinDigest, BinItem, BinSource, BinState, Handover, HandoverState, Job
from tests.journeys.backup_steps import copied
from tests.journeys.conftest import Bot

FANG, CALVIN, SUPPORT = "fang@corp.test", "calvin@corp.test", "support@corp.test"
BEGINS = datetime(2026, 9, 18, 10, tzinfo=SHANGHAI)  # a Friday
LOOK_AGAIN = 61  # seconds: console steps are looked at at most once a minute
EVERYBODY = ("mei", "jun", "ling", "wei", "calvin", "fang", "tao")
APPROVERS = ("ling", "wei")


@dataclass(frozen=True)
class Tongue:
    """What is typed and what is heard in one language."""

    reassign: str
    displaced: str
    why_not: str
    no: str
    approved: str
    already: str
    acknowledged: str
    contradicted: str
    done: str
    yours: str
    soon: str
    soon_list: str
    rescue: str
    ways: str
    way: str
    safe: str
    after: str
    delete: str
    again: str
    deleted: str
    sixty: str


TONGUES = {
    "en": Tongue(
        reassign="reassign fang@ to calvin because she retires without backup",
        displaced=f"{CALVIN} leaves 卡尔文",
        why_not="Why not?",
        no="she is still here this week",
        approved="(Approved)",
        already="has said yes to approval",
        acknowledged="卡尔文 knows of it",
        contradicted="I cannot see",
        done="is done",
        yours=f"{FANG} is yours now",
        soon=f"Soon deleted: {CALVIN}",
        soon_list=f"{CALVIN}: last day 2026-10-17",
        rescue="rescue calvin@ to support@ because his customers write there",
        ways="There are two ways",
        way="way {number} public",
        safe=f"SAFE: everything {CALVIN} held is in {SUPPORT}",
        after=f"{CALVIN} stays a public mailbox",
        delete="after {number} delete",
        again=f"May the public mailbox {CALVIN} “",
        deleted=f"says that the public mailbox {CALVIN} is deleted. I cannot see it",
        sixty="60 days",
    ),
    "zh": Tongue(
        reassign="转移 fang@ 给 calvin 原因 方总退休 不备份",
        displaced=f"{CALVIN}",
        why_not="为什么拒绝",
        no="她这周还在",
        approved="(已同意)",
        already="已由",
        acknowledged="卡尔文 已知悉",
        contradicted="没有查到",
        done="已完成",
        yours=f"{FANG} 及其全部邮件现在归您使用",
        soon=f"即将删除：{CALVIN}",
        soon_list=f"{CALVIN}：最后一天 2026-10-17",
        rescue="抢救 calvin@ 到 support@ 原因 客户还在来信",
        ways="有两种方式",
        way="方式 {number} 公共邮箱",
        safe=f"已保全：{CALVIN} 的全部邮件已在 {SUPPORT} 中",
        after=f"{CALVIN} 仍是公共邮箱",
        delete="善后 {number} 删除",
        again=f"是否同意删除公共邮箱 {CALVIN}“",
        deleted=f"表示公共邮箱 {CALVIN} 已删除。我无法查看",
        sixty="60 天",
    ),
}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_from_the_question_to_the_rescue_on_the_last_day(tmp_path: Path, language: str) -> None:
    """Two admins, of whom one looks after it; two approvers; the manager of who lost the mailbox."""
    tongue = TONGUES[language]
    settings = {"bot_admins": ("mei", "jun"), "bot_approvers": APPROVERS, "bot_language": language}
    with running(tmp_path / "data", begins=BEGINS, **settings) as sandbox, closing(Bot(sandbox)) as bot:
        bot.wait_ready()
        agreed_to(bot, tongue)
        changed_hands(bot, tongue)
        reminded_until_the_last_day(bot, tongue)
        rescued(bot, tongue)
        deleted_after_all(bot, tongue)


# --- agreed to -------------------------------------------------------------------------------------------------------


def agreed_to(bot: Bot, tongue: Tongue) -> None:
    """Rejected with a reason, asked again, and two yeses in the same instant are one."""
    bot.say("mei", tongue.reassign)
    bot.hear("mei", tongue.displaced)
    bot.press("mei", "reassign_ask:")
    bot.press("ling", "reject:")
    bot.hear("ling", tongue.why_not)
    bot.say("ling", tongue.no)
    bot.hear("mei", tongue.no)
    bot.wait("the first one is over", lambda: newest(bot, Job, Job.kind == "reassign").data.get("ending") == "rejected")

    bot.say("mei", tongue.reassign)
    bot.hear("mei", tongue.displaced)
    bot.press("mei", "reassign_ask:")
    for each in APPROVERS:
        bot.card_with(each, "approve:")
        news(bot, each)
    at_once(*(pressing(bot, each, "approve:") for each in APPROVERS))
    bot.wait("somebody decided", lambda: newest(bot, Approval).decided_by is not None)
    winner = newest(bot, Approval).decided_by
    (other,) = set(APPROVERS) - {winner}
    bot.wait("his card says so", lambda: tongue.approved in text_of(bot.entries(str(winner))[-1]))
    assert {"ling": "凌", "wei": "魏强"}[str(winner)] in text_of(bot.hear(other, tongue.already))
    with bot.store.begin() as tx:
        assert len([each for each in tx.audit.entries() if each.what == "approval.approved"]) == 1
    bot.press("calvin", "reassign_ack:")
    bot.hear("mei", tongue.acknowledged)


def pressing(bot: Bot, member: str, key: str) -> Callable[[], Any]:
    """A press that is ready to be made."""
    entry = bot.card_with(member, key)
    button = button_of(entry, key)["key"]
    return lambda: bot.post("click", member=member, task_id=entry["card"]["task_id"], key=button)


def at_once(*acts: Callable[[], Any]) -> None:
    """Do them all in the same instant; what one raises is raised."""
    barrier = threading.Barrier(len(acts))

    def act(one: Callable[[], Any]) -> None:
        barrier.wait(30)
        one()

    with ThreadPoolExecutor(len(acts)) as pool:
        for done in [pool.submit(act, each) for each in acts]:
            done.result(60)


# --- changed hands ---------------------------------------------------------------------------------------------------


def changed_hands(bot: Bot, tongue: Tongue) -> None:
    """Said to be done, and contradicted; then done; what was seen before and after is kept."""
    reclaim = console_step(bot, "owner_is_not")
    bot.wait("a first look", lambda: console_step(bot, "owner_is_not").polls > 0)
    bot.advance(LOOK_AGAIN)
    bot.press("mei", "handover_done:")
    bot.hear("mei", tongue.contradicted)
    assert console_step(bot, "owner_is_not").state is HandoverState.CONTRADICTED
    assert console_step(bot, "owner_is_not").said_by == "mei"
    bot.console("reclaim", member="fang")
    bot.advance(LOOK_AGAIN)
    bot.press("mei", "handover_done:")
    bot.hear("mei", f"{reclaim.id} {tongue.done}")
    assert evidence(console_step(bot, "owner_is_not")) == ("fang", None)

    assign = console_step(bot, "owner_is")
    bot.console("assign", address=FANG, member="calvin")
    bot.advance(LOOK_AGAIN)
    bot.press("mei", "handover_done:")
    bot.hear("mei", f"{assign.id} {tongue.done}")
    assert evidence(console_step(bot, "owner_is"))[1] == "calvin"
    bot.hear("calvin", tongue.yours)
    bot.wait("it is over", lambda: newest(bot, Job, Job.kind == "reassign").data.get("ending") == "done")
    owner = next(each for each in bot.state()["members"] if each["userid"] == "calvin")
    assert owner["address"] == FANG


def console_step(bot: Bot, check: str) -> Handover:
    """The newest console step that is checked so, waited for."""

    def found() -> list[Handover]:
        with bot.store.begin() as tx:
            query = select(Handover).where(Handover.check == check)
            return list(tx.session.scalars(query.order_by(Handover.id.desc())))

    bot.wait(f"a console step checked by {check}", lambda: bool(found()))
    return found()[0]


def evidence(step: Handover) -> tuple[str | None, str | None]:
    """Whose fang@ was seen to be before and after."""
    assert step.state is HandoverState.DONE
    assert step.before is not None
    assert step.after is not None
    return step.before["detail"].get(FANG), step.after["detail"][FANG]


# --- reminded --------------------------------------------------------------------------------------------------------


def reminded_until_the_last_day(bot: Bot, tongue: Tongue) -> None:
    """Only the right people on the right days: 3 October is a holiday, the 10th is worked, the 17th is a Saturday."""
    announced = [datetime.fromisoformat(each["at"]) for each in bot.due() if each["kind"] == "reminder"]
    days = ["09-30", "10-10", "10-14", "10-16", "10-17"]
    everything_is_read(bot)
    assert [f"{each.astimezone(SHANGHAI):%m-%d %H:%M}" for each in announced] == [f"{day} 09:00" for day in days]
    for day, members in zip(
        days,
        (["mei"], ["mei"], ["mei", "ling"], ["mei", "jun", "ling"], ["mei", "jun", "ling"]),
        strict=True,
    ):
        bot.walk("next_reminder")
        assert f"{bot.now():%m-%d %H:%M}" == f"{day} 09:00"
        heard = {member: news(bot, member) for member in EVERYBODY}
        assert [member for member in EVERYBODY if heard[member]] == [m for m in EVERYBODY if m in members], day
        for member in members:
            assert len(heard[member]) == 1, heard[member]
            assert (tongue.soon_list if member == "ling" else tongue.soon) in heard[member][0]


# --- rescued ---------------------------------------------------------------------------------------------------------


def rescued(bot: Bot, tongue: Tongue) -> None:
    """On the last day: made a public mailbox in the console, copied, compared; then the reminders stop for ever."""
    bot.say("mei", tongue.rescue)
    bot.hear("mei", tongue.ways)
    number = newest(bot, Job, Job.kind == "rescue").id
    bot.say("mei", tongue.way.format(number=number))
    bot.press("ling", "approve:")
    step = console_step(bot, "is_public")
    bot.wait("a first look", lambda: console_step(bot, "is_public").polls > 0)
    bot.console("convert_to_public", address=CALVIN, name="calvin", members=["mei"])
    bot.advance(LOOK_AGAIN)
    bot.press("mei", "handover_done:")
    bot.hear("mei", tongue.contradicted)  # the app does not see what the console made: a login proves it
    bot.advance(LOOK_AGAIN)
    bot.hear("mei", "/pages/")
    bot.show_everything(CALVIN)
    bot.enter("mei", bot.client_password(CALVIN))
    bot.wait("the step is seen", lambda: console_step(bot, "is_public").state is HandoverState.DONE)
    assert console_step(bot, "is_public").id == step.id
    bot.press("mei", "start:")
    bot.wait("the copy is over", lambda: newest(bot, Job, Job.kind == "backup").finished_at is not None)
    assert newest(bot, Job, Job.kind == "backup").data["outcome"]["complete"]
    bot.advance(LOOK_AGAIN)
    bot.hear("mei", tongue.safe)
    bot.hear("mei", tongue.after)
    assert copied(bot, CALVIN, SUPPORT)
    assert newest(bot, BinItem, BinItem.address == CALVIN).state is BinState.SAFE
    assert bot.now().day == 17

    bot.wait("the rescue is over", lambda: newest(bot, Job, Job.kind == "rescue").finished_at is not None)
    everything_is_read(bot)
    assert not [each for each in bot.due() if each["kind"] in ("reminder", "last_word")]
    bot.until(datetime(2026, 10, 30, 10, tzinfo=SHANGHAI))
    assert not [line for member in EVERYBODY for line in news(bot, member) if CALVIN in line]
    with bot.store.begin() as tx:
        assert len(list(tx.session.scalars(select(BinDigest).where(BinDigest.member == "mei")))) == 5
        assert tx.audit.broken_at() is None
        what = {each.what for each in tx.audit.entries()}
    assert {
        "handover.contradicted",
        "handover.done",
        "reassign.done",
        "bin.entered",
        "bin.reminded",
        "bin.safe",
    } <= what


def deleted_after_all(bot: Bot, tongue: Tongue) -> None:
    """Two weeks later: the other admin agrees, the copy is compared, it is deleted, and the book has it."""
    bot.say("mei", tongue.delete.format(number=newest(bot, Job, Job.kind == "rescue").id))
    bot.hear("jun", tongue.again)
    assert not [each for each in bot.entries("mei") if tongue.again in text_of(each) and each.get("card")]
    bot.press("jun", "approve:")
    bot.wait("the console is asked", lambda: console_step(bot, "public_is_gone").polls > 0)
    bot.console("delete_public", address=CALVIN)
    bot.advance(LOOK_AGAIN)
    bot.press("mei", "handover_done:")
    for member in ("mei", "jun"):
        assert tongue.sixty in text_of(bot.hear(member, tongue.deleted))
    entry = newest(bot, BinItem, BinItem.address == CALVIN)
    assert (entry.state, entry.source, entry.known_from) == (BinState.WAITING, BinSource.PUBLIC, "console")
    assert f"{entry.deletes_at.astimezone(SHANGHAI):%m-%d}" == "11-29"
    bot.wait("it is over", lambda: newest(bot, Job, Job.kind == "deletion").data.get("ending") == "done")
    with bot.store.begin() as tx:
        assert not tx.handovers.open_ones()
        assert tx.audit.broken_at() is None


def newest(bot: Bot, table: type[Any], *conditions: Any) -> Any:
    """The newest row of a table."""
    with bot.store.begin() as tx:
        return tx.session.scalars(select(table).where(*conditions).order_by(table.id.desc()).limit(1)).one()


def everything_is_read(bot: Bot) -> None:
    """A minute passes, in which the bot says all it has to say; everybody reads it."""
    bot.until(bot.now() + timedelta(minutes=1))
    for member in EVERYBODY:
        news(bot, member)


def news(bot: Bot, member: str) -> list[str]:
    """What a member has not read yet, now read."""
    return [text_of(each) for each in bot.unread(member, 0)]
