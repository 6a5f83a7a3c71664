"""The book of the recycle bin: who comes in, who is reminded on which morning, and what ends it."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from openpyxl import load_workbook
from sqlalchemy import String, cast, insert, literal, select, text

from bot.context import Context
from bot.errors import UserError
from bot.messages import MemberJoined
from bot.policy import Policy, Role, Roles
from bot.replies import Card, CardUpdate, File, Reply, Text
from bot.settings import Settings
from bot.wecom.cards import check_card, cut_on_screen
from bot.words import LANGUAGES, Words
from bot.work import SweepStep
from handlers import addresses
from handlers.bin import bin_check
from handlers.bin import recycle_bin as bin_
from handlers.rescue import bin_digest
from storage.models import AuditEntry, BinDigest, BinItem, BinSource, BinState, JobState
from storage.store import Store, Transaction
from tests.handlers.backup_world import World
from tests.handlers.conftest import SETTINGS, FakeClock, on_both

SHANGHAI = ZoneInfo("Asia/Shanghai")
ROLES = Roles({Role.ADMIN: frozenset({"mei", "yan"})})


def local(moment: str) -> datetime:
    """A moment in Shanghai."""
    return datetime.fromisoformat(moment).replace(tzinfo=SHANGHAI).astimezone(UTC)


@pytest.fixture
def settings() -> Settings:
    return Settings(**SETTINGS)


class Desk:
    """The feature with a clock to move: admins type and press, the sweep runs, and everything said is kept."""

    def __init__(self, store: Store, clock: FakeClock, settings: Settings) -> None:
        self.store, self.clock, self.settings = store, clock, settings
        self.said: list[tuple[str, Reply]] = []  # the local moment, and what was said

    def at(self, moment: str) -> Desk:
        self.clock.moment = local(moment)
        return self

    def context(self, tx: Transaction, sender: str, **more: Any) -> Context:
        return Context(tx, sender, "en", self.settings, Policy(), ROLES, **more)

    def does(self, sender: str, handler: Callable[..., list[Reply]], *args: object, **more: Any) -> list[Reply]:
        """Somebody types or presses; what is said to it."""
        with self.store.begin() as tx:
            return handler(self.context(tx, sender, **more), *args)

    def leaves(self, userid: str, address: str | None = None, seen: str = "callback") -> list[Reply]:
        with self.store.begin() as tx:
            if address is not None:
                tx.mailboxes.member_has(userid, address, "look-up")
            member = tx.members.find(userid)
            assert member is not None
            tx.members.left(member)
            return bin_.members_left(tx, ROLES, self.settings, [member], seen)

    def sweep(self) -> list[Reply]:
        """One run of the sweep."""
        said: list[Reply] = []
        services: Any = type("Services", (), {"settings": self.settings})()
        with self.store.begin() as tx:
            step = SweepStep(tx, services, ROLES)
            step.say = lambda *replies: said.extend(replies)  # type: ignore[method-assign]
            bin_digest.remind(step)
        self.said += [(f"{self.clock.moment.astimezone(SHANGHAI):%m-%d %H:%M}", each) for each in said]
        return said

    def until(self, moment: str) -> dict[str, list[str]]:
        """Let the clock run, the sweep with it, at moments of every day; when whom something was said to."""
        begin = len(self.said)
        day = self.clock.moment.astimezone(SHANGHAI).date()
        while self.clock.moment < local(moment):
            for hour in (3, 9, 20):
                now = datetime.combine(day, time(hour), SHANGHAI)
                if self.clock.moment < now <= local(moment):
                    self.clock.moment = now.astimezone(UTC)
                    self.sweep()
            day += timedelta(days=1)
            if day > local(moment).astimezone(SHANGHAI).date():
                self.clock.moment = local(moment)
        heard: dict[str, list[str]] = {}
        for when, reply in self.said[begin:]:
            assert isinstance(reply, (Text, Card, File))
            if not isinstance(reply, File) and "public holidays of" not in words_of([reply], reply.to):
                heard.setdefault(reply.to, []).append(when)
        return heard

    def items(self) -> list[BinItem]:
        with self.store.begin() as tx:
            return list(tx.session.scalars(select(BinItem).order_by(BinItem.id)))

    def digests(self, member: str) -> list[BinDigest]:
        with self.store.begin() as tx:
            return list(tx.session.scalars(select(BinDigest).where(BinDigest.member == member).order_by(BinDigest.id)))


@pytest.fixture
def desk(store: Store, clock: FakeClock, settings: Settings) -> Desk:
    return Desk(store, clock, settings).at("2026-11-24 10:00")


def words_of(replies: list[Reply], to: str, language: str = "en") -> str:
    """All texts to a member."""
    said = [each.words for each in replies if isinstance(each, Text) and each.to == to]
    return "\n".join(each.text(language) if isinstance(each, Words) else each for each in said)  # type: ignore[arg-type]


# Coming in


@on_both
def test_who_leaves_is_entered_and_told_of_once(desk: Desk) -> None:
    """Both admins hear it, with the day; the same departure seen again is no second entry."""
    said = desk.leaves("ahing", "a.xing@corp.test")
    for admin in ("mei", "yan"):
        assert "阿兴 has left the directory." in words_of(said, admin)
        assert "a.xing@corp.test is in the recycle bin" in words_of(said, admin)
        assert "at 2026-12-24 00:00 (Shanghai); the last day is 2026-12-23" in words_of(said, admin)
    assert desk.leaves("ahing", seen="directory") == []  # its mailbox is ended, its address no longer known as his
    (item,) = desk.items()
    assert (item.address, item.owner, item.manager, item.source) == (
        "a.xing@corp.test",
        "ahing",
        "ling",
        BinSource.LEFT,
    )
    assert item.next_at == local("2026-12-09 09:00")
    with desk.store.begin() as tx:
        assert tx.mailboxes.of("ahing") is None  # it is no mailbox any more


def test_who_vanished_between_two_readings_may_have_left_right_after_the_first(desk: Desk) -> None:
    """The days are counted from the first of them; the words say that it may be the visible range."""
    with desk.store.begin() as tx:
        tx.moments.happened("directory")
    desk.at("2026-11-26 02:00")
    said = desk.leaves("ahing", "ahing@corp.test", seen="directory")
    assert "no longer in the directory I can see" in words_of(said, "mei")
    assert "2026-12-24 00:00" in words_of(said, "mei")


@on_both
def test_an_address_never_learnt_is_asked_for(desk: Desk) -> None:
    said = desk.leaves("ahing")
    assert "Please tell me: `bin address 1 x@`" in words_of(said, "mei")
    assert "回收站 地址 1 x@" in words_of(said, "mei", "zh")
    told = desk.does("mei", bin_.bin_address, 1, "a.xing@")
    assert "number 1 is a.xing@corp.test" in words_of(told, "mei")
    assert desk.items()[0].address == "a.xing@corp.test"
    desk.leaves("calvin")
    with pytest.raises(UserError, match="busy"):
        desk.does("mei", bin_.bin_address, 2, "a.xing@")


@pytest.mark.parametrize("seen", ["callback", "directory"])
def test_who_came_back_and_leaves_again_is_entered_anew(desk: Desk, seen: str) -> None:
    """The days are counted from the second time; a look-up that was right behind the first is no return."""
    desk.leaves("ahing", "ahing@corp.test")
    with desk.store.begin() as tx:
        tx.moments.happened("directory")
    desk.at("2026-11-24 11:00")
    if seen == "directory":
        back(desk)  # WeCom's answer was old, or he came for an hour: the first reading that misses him is no proof
        desk.at("2026-11-25 02:00")
        assert desk.leaves("ahing", seen=seen) == []
        assert len(desk.items()) == 1
    desk.at("2026-12-04 10:00")
    back(desk)
    with desk.store.begin() as tx:
        tx.moments.happened("directory")
    desk.at("2026-12-10 10:00")
    said = desk.leaves("ahing", seen=seen)
    last = "2027-01-08" if seen == "callback" else "2027-01-02"
    assert f"the last day is {last}" in words_of(said, "mei")
    first, second = desk.items()
    assert (first.state, second.state) == (BinState.ASSIGNED, BinState.WAITING)
    assert first.evidence == {"owner": "ahing", "seen_by": "look-up"}
    with desk.store.begin() as tx:
        assert tx.mailboxes.of("ahing") is None
    assert desk.until("2026-12-26 12:00")["mei"], "reminded of the new date"
    assert desk.items()[1].state is BinState.WAITING


def back(desk: Desk) -> None:
    """He is in the directory again, and a look-up shows his mailbox as his."""
    with desk.store.begin() as tx:
        tx.members.saw("ahing")
        tx.mailboxes.member_has("ahing", "ahing@corp.test", "look-up")


def test_many_at_once_are_one_message(desk: Desk) -> None:
    with desk.store.begin() as tx:
        tx.mailboxes.member_has("ahing", "ahing@corp.test", "look-up")
        gone = [tx.members.find("ahing"), tx.members.find("calvin")]
        said = bin_.members_left(tx, ROLES, desk.settings, [each for each in gone if each is not None], "directory")
    assert sorted(each.to for each in said if isinstance(each, Text)) == ["mei", "yan"]
    assert "2 members are no longer in the directory" in words_of(said, "mei")
    assert "1. ahing@corp.test: last day" in words_of(said, "mei")
    assert "the addresses of number 2" in words_of(said, "mei")


def test_by_hand(desk: Desk) -> None:
    """Added with the day of the deletion, dated by the console, refused with a remedy when it cannot be."""
    told = desk.does("mei", bin_.bin_add, "old@", date(2026, 11, 1))
    assert "2026-12-01 00:00" in words_of(told, "mei")
    for handler, args, wrong in (
        (bin_.bin_add, ("old@", date(2026, 11, 2)), "there_already"),
        (bin_.bin_add, ("new@", date(2026, 11, 25)), "in_future"),
        (bin_.bin_add, ("new@", date(2026, 10, 1)), "gone_already"),
        (bin_.bin_date, ("old@", date(2026, 11, 24)), "date_wrong"),
        (bin_.bin_date, ("old@", date(2028, 1, 1)), "date_wrong"),
        (bin_.bin_date, ("99", date(2026, 12, 15)), "unknown"),
        (bin_.bin_let_go, ("nobody@",), "unknown"),
        (bin_check.bin_done, ("nobody@",), "unknown"),
        (bin_.recycle_bin, ("nobody@",), "unknown"),
    ):
        with pytest.raises(UserError, match=wrong):
            desk.does("mei", handler, *args)
    told = desk.does("mei", bin_.bin_date, "old@", date(2026, 12, 15))
    assert "at 2026-12-15 00:00" in words_of(told, "mei")
    told = desk.does("mei", bin_.bin_date, "other@", date(2026, 12, 15))  # not known before: the console shows it
    assert "other@corp.test" in words_of(told, "mei")
    assert [item.deletes_at for item in desk.items()] == [local("2026-12-15 00:00")] * 2
    shown = words_of(desk.does("mei", bin_.recycle_bin, "old@"), "mei")
    assert "美玲 told me the day, as the console shows it" in shown
    assert "I know of no backup" in shown
    assert "Entered by hand; in the bin since" in shown, "nobody knows whose it was"


def test_what_the_help_says_is_shown_and_not_relied_on(desk: Desk) -> None:
    with desk.store.begin() as tx:
        box = tx.mailboxes.member_has("ahing", "ahing@corp.test", "look-up")
        bin_.enter(tx, desk.settings, source=BinSource.REPLACED, known_from="reassign", box=box, added_by="mei")
    shown = words_of(desk.does("mei", bin_.recycle_bin, "ahing@"), "mei")
    assert "I count 30 days" in shown
    assert "says 60 days for these. Please do not count on it" in shown
    assert "at 2026-12-24 00:00" in shown


def test_a_new_userid_is_the_same_person(desk: Desk) -> None:
    """The manager and the admin of an entry hear of it under whatever userid they have now."""
    desk.leaves("ahing", "ahing@corp.test")
    desk.does("yan", bin_.bin_date, "ahing@", date(2026, 12, 24))
    with desk.store.begin() as tx:
        tx.members.renamed("ling", "ling.wu")
        tx.members.renamed("yan", "yan.zhao")
    (item,) = desk.items()
    assert (item.manager, item.date_from) == ("ling.wu", "yan.zhao")


# On which mornings


@on_both
def test_the_right_mornings_with_escalation(desk: Desk) -> None:
    """An entry of one admin: hers alone, then the manager's, at last every admin's. Never at night, never twice."""
    desk.does("mei", bin_.bin_add, "ahing@", date(2026, 11, 24))
    with desk.store.begin() as tx:
        item = tx.recycle_bin.find(1)
        assert item is not None
        item.owner, item.manager = "ahing", "ling"
    heard = desk.until("2026-12-23 23:00")
    assert heard == {
        "mei": ["12-09 09:00", "12-16 09:00", "12-18 09:00", "12-22 09:00", "12-23 09:00"],
        "ling": ["12-18 09:00", "12-22 09:00", "12-23 09:00"],  # Friday for Sunday the 20th
        "yan": ["12-22 09:00", "12-23 09:00"],
    }


@pytest.mark.parametrize(
    ("deleted", "days"),
    [
        ("2026-09-08", ["09-23", "09-30", "10-06", "10-07"]),  # the deadline ends the National Day week
        ("2026-09-12", ["09-24", "09-30", "10-08", "10-10", "10-11"]),  # Saturday the 10th is worked
        ("2026-10-24", ["11-06", "11-13", "11-19", "11-20", "11-21", "11-22"]),  # a weekend
    ],
)
def test_weekends_and_holidays(desk: Desk, deleted: str, days: list[str]) -> None:
    """Who left is every admin's affair from the beginning."""
    desk.at(f"{deleted} 15:00").leaves("ahing", "ahing@corp.test")
    assert desk.until(f"2026-{days[-1]} 23:00")["mei"] == [f"{day} 09:00" for day in days]


def test_after_an_outage_of_a_week_the_right_one_goes_out(desk: Desk) -> None:
    """Of the reminders that fell into it one is left, the most urgent, in working hours; the rest go on as planned."""
    desk.leaves("ahing", "ahing@corp.test")
    desk.until("2026-12-10 00:00")
    desk.at("2026-12-19 03:00")  # a Saturday night; the 16th and the 18th are past
    assert desk.sweep() == []
    heard = desk.until("2026-12-23 23:00")
    assert heard["mei"] == ["12-21 09:00", "12-22 09:00", "12-23 09:00"]
    assert heard["ling"] == heard["mei"]


def test_when_it_would_be_too_late_it_is_said_at_once(desk: Desk) -> None:
    """The bot comes back on the last evening: working hours count less than the mail."""
    desk.leaves("ahing", "ahing@corp.test")
    desk.at("2026-12-23 21:30")
    said = desk.sweep()
    assert {each.to for each in said if isinstance(each, Card)} == {"mei", "yan"}
    assert "ahing@corp.test: last day 2026-12-23, today" in words_of(said, "ling")


def test_a_new_date_moves_the_reminders(desk: Desk) -> None:
    desk.leaves("ahing", "ahing@corp.test")
    desk.until("2026-12-10 00:00")
    desk.does("mei", bin_.bin_date, "ahing@", date(2027, 1, 15))
    assert desk.until("2027-01-14 23:00")["mei"] == [
        "12-31 09:00", "01-07 09:00", "01-11 09:00", "01-13 09:00", "01-14 09:00",
    ]  # fmt: skip


def test_one_digest_a_day_for_all_of_them(desk: Desk) -> None:
    """Mailboxes of different days meet on one card; a row each, an option each."""
    for number, day in enumerate((1, 1, 2), 1):
        desk.at(f"2026-12-0{day} 10:00")
        desk.does("mei", bin_.bin_add, f"box{number}@", date(2026, 12, day))
    desk.at("2026-12-15 20:00")
    desk.until("2026-12-16 12:00")
    (said,) = [reply for when, reply in desk.said if when.startswith("12-16")]
    assert isinstance(said, Card)
    assert said.title.text("en") == "2 mailboxes soon deleted"
    assert [str(row[1]) for row in said.rows] == ["box1@corp.test, in 14 days", "box2@corp.test, in 14 days"]
    assert [each.words for each in said.choices] == ["box1@ 12-30", "box2@ 12-30"]


def test_more_than_ten_are_a_file(desk: Desk) -> None:
    for number in range(23):
        desk.does("mei", bin_.bin_add, f"box{number:02}@", date(2026, 11, 24))
    desk.at("2026-12-09 09:00")
    said = desk.sweep()
    assert len(said) == 2
    assert "deleted soon: 23" in words_of(said, "mei")
    assert "box00@corp.test: last day 2026-12-23, in 14 days" in words_of(said, "mei")
    (file,) = [each for each in said if isinstance(each, File)]
    rows = list(load_workbook(io.BytesIO(file.content)).active.values)  # type: ignore[union-attr]
    assert len(rows) == 24
    assert rows[1][1:6] == ("box00@corp.test", None, "2026-12-23", "2026-12-24 00:00", 14)
    listed = desk.does("mei", bin_.recycle_bin)
    assert "In the recycle bin: 23" in words_of(listed, "mei")
    assert any(isinstance(each, File) for each in listed)


def test_a_year_without_table_is_said_once(desk: Desk) -> None:
    desk.leaves("ahing", "ahing@corp.test")
    desk.leaves("calvin", "calvin@corp.test")
    desk.until("2026-12-24 12:00")
    assert sum("public holidays of 2027" in words_of([each], "mei") for _, each in desk.said) == 1


# The card


def card(desk: Desk, member: str = "mei") -> Card:
    """The newest card of a member."""
    return next(reply for _, reply in reversed(desk.said) if isinstance(reply, Card) and reply.to == member)


def presses(desk: Desk, member: str, button: str, item: int | None) -> list[Reply]:
    """Somebody chooses an entry on the card and presses."""
    digest = desk.digests(member)[-1]
    selected = {"choice": (str(item),)} if item is not None else {}
    handler = {"let_go": bin_digest.let_go_chosen, "later": bin_digest.later_chosen}[button]
    return desk.does(member, handler, digest.id, task_id="t-1", selected=selected)


def test_the_card_can_be_sent_in_both_languages(desk: Desk) -> None:
    """WeCom takes it, and nothing on it is cut."""
    from bot.delivery import rendered

    for number in range(10):
        desk.does("mei", bin_.bin_add, f"box{number}@", date(2026, 11, 24))
    desk.at("2026-12-09 09:00").sweep()
    for language in LANGUAGES:
        body = rendered(card(desk), "bin-1-0", language)
        check_card(body)
        assert not [each for each in cut_on_screen(body) if "value" not in str(each)], cut_on_screen(body)


@on_both
def test_let_go_ends_it_and_redraws_the_card(desk: Desk) -> None:
    desk.leaves("ahing", "ahing@corp.test")
    desk.leaves("calvin", "calvin@corp.test")
    desk.at("2026-12-09 09:00").sweep()
    said = presses(desk, "mei", "let_go", 1)
    assert "ahing@corp.test is let go" in words_of(said, "mei")
    (update,) = [each for each in said if isinstance(each, CardUpdate)]
    assert [each.id for each in update.card.choices] == ["2"]
    with pytest.raises(UserError, match="choice_gone"):
        presses(desk, "mei", "let_go", 1)
    said = presses(desk, "yan", "let_go", 1)  # her card still shows it
    assert "ahing@corp.test: 美玲 let it go on 2026-12-09" in words_of(said, "yan")
    (update,) = [each for each in presses(desk, "mei", "let_go", None) if isinstance(each, CardUpdate)]
    assert update.card.done is not None
    assert desk.until("2026-12-30 12:00") == {}
    assert [item.state for item in desk.items()] == [BinState.LET_GO] * 2
    with pytest.raises(UserError, match="is_let_go"):
        desk.does("yan", bin_.bin_let_go, "ahing@")
    with desk.store.begin() as tx:
        entries = tx.session.execute(select(AuditEntry.who, AuditEntry.what, AuditEntry.subject)).all()
        assert ("mei", "bin.let_go", "ahing@corp.test") in [tuple(each) for each in entries]
        assert tx.audit.broken_at() is None


def test_tomorrow_tells_only_who_asked_for_it(desk: Desk) -> None:
    """On a Friday tomorrow is Monday. The planned reminders stay."""
    desk.leaves("ahing", "ahing@corp.test")
    desk.at("2026-12-18 09:00").sweep()
    said = presses(desk, "mei", "later", 1)
    assert "remind you of ahing@corp.test again at 2026-12-21 09:00" in words_of(said, "mei")
    heard = desk.until("2026-12-22 12:00")
    assert heard == {
        "mei": ["12-21 09:00", "12-22 09:00"],
        "yan": ["12-22 09:00"],
        "ling": ["12-22 09:00"],
    }
    desk.at("2026-12-23 09:00").sweep()
    with pytest.raises(UserError, match="no_tomorrow"):
        presses(desk, "mei", "later", 1)


def test_a_card_of_somebody_else_does_nothing(desk: Desk) -> None:
    desk.leaves("ahing", "ahing@corp.test")
    desk.at("2026-12-09 09:00").sweep()
    (digest,) = desk.digests("mei")
    with pytest.raises(UserError, match="choice_gone"):
        desk.does("yan", bin_digest.let_go_chosen, digest.id, task_id="t", selected={"choice": ("1",)})
    assert desk.items()[0].state is BinState.WAITING


# How it ends


def backup(desk: Desk, mailbox_id: int, *, complete: bool, **data: object) -> int:
    """A backup that came to its end, compared just now; its number."""
    with desk.store.begin() as tx:
        job = tx.jobs.add("backup", asked_by="mei", params={})
        outcome = {"complete": complete, "verified": True}
        tx.jobs.put(job, **{"source": mailbox_id, "outcome": outcome, "verified_from": tx.now.isoformat()} | data)
        tx.jobs.end(job, JobState.DONE)
        return job.id


def safe_by(desk: Desk, address: str) -> int | None:
    """The backup that makes an entry that waits safe, if there is one."""
    with desk.store.begin() as tx:
        item = tx.recycle_bin.waiting_at(address)
        assert item is not None
        return tx.recycle_bin.complete_backups([item]).get(item.id)


@on_both
def test_only_a_complete_backup_ends_it(desk: Desk) -> None:
    desk.leaves("ahing", "ahing@corp.test")
    mailbox_id = desk.items()[0].mailbox_id
    assert mailbox_id is not None
    backup(desk, mailbox_id, complete=False)
    assert safe_by(desk, "ahing@corp.test") is None
    assert "but not a complete one" in words_of(desk.does("mei", bin_.recycle_bin, "ahing@"), "mei")
    assert desk.until("2026-12-16 12:00")["mei"] == ["12-09 09:00", "12-16 09:00"]
    backup(desk, mailbox_id, complete=True)
    assert safe_by(desk, "ahing@corp.test") == 2
    assert "Job 2 is a complete, verified backup" in words_of(desk.does("mei", bin_.recycle_bin, "ahing@"), "mei")
    assert desk.until("2026-12-30 12:00")["mei"] == ["12-18 09:00"]
    assert "ahing@corp.test is safe: job 2" in words_of([each for _, each in desk.said], "mei")
    assert desk.items()[0].state is BinState.SAFE


def test_a_backup_of_an_earlier_stay_makes_nothing_safe(desk: Desk) -> None:
    """A rescued mailbox lived on for months as a public one: what came then is in no backup; somebody is reminded."""
    desk.at("2026-03-02 10:00")
    with desk.store.begin() as tx:
        box = tx.mailboxes.converted("ahing@corp.test", readers=["mei"])
    entered = desk.clock.moment.isoformat()
    backup(desk, box.id, complete=True, in_bin_since=entered)
    desk.at("2026-06-01 10:00")
    desk.does("mei", bin_.bin_add, "ahing@", date(2026, 6, 1))
    assert "but not a complete one" in words_of(desk.does("mei", bin_.recycle_bin, "ahing@"), "mei")
    assert desk.until("2026-06-16 12:00")["mei"] == ["06-16 09:00"]
    assert desk.items()[0].state is BinState.WAITING
    backup(desk, box.id, complete=True, verified_from=None)  # nobody knows how old that is
    backup(desk, box.id, complete=True, in_bin_since=entered)  # compared again, but only what it held in March counts
    assert safe_by(desk, "ahing@corp.test") is None
    job = backup(desk, box.id, complete=True, in_bin_since=desk.items()[0].entered_at.isoformat())
    assert safe_by(desk, "ahing@corp.test") == job


def test_a_digest_of_today_skips_no_reminder_before_the_next_morning(desk: Desk) -> None:
    """On a Friday one was told already; what is due on the Sunday itself comes on the Sunday, not on the Monday."""
    desk.at("2026-11-20 10:00")
    desk.does("mei", bin_.bin_add, "old@", date(2026, 11, 20))
    desk.does("mei", bin_.bin_date, "old@", date(2026, 12, 15))  # its last day is a Monday
    friday = local("2026-12-11 09:30")
    desk.until("2026-12-11 09:00")
    with desk.store.begin() as tx:
        item = tx.recycle_bin.waiting_at("old@corp.test")
        assert item is not None
        item.again_at, item.again_for, item.next_at = friday, ["mei"], friday
        tx.recycle_bin.digest("mei", "2026-12-11", [])
    desk.at("2026-12-11 09:30").sweep()
    assert desk.items()[0].next_at == local("2026-12-13 09:00")


def test_lost_is_said_honestly_and_once_in_working_hours(desk: Desk) -> None:
    desk.at("2026-11-26 10:00").leaves("ahing", "ahing@corp.test")  # deleted on a Saturday
    desk.until("2026-12-25 23:00")
    heard = desk.until("2027-01-10 23:00")
    assert desk.items()[0].state is BinState.LOST
    assert {member: [each for each in when if each != "12-25"] for member, when in heard.items()} == {
        "mei": ["12-28 09:00"],
        "yan": ["12-28 09:00"],
        "ling": ["12-28 09:00"],
    }
    last = words_of([desk.said[-1][1]], "yan")
    assert "ahing@corp.test was deleted for ever at 2026-12-26 00:00. Nobody let it go" in last
    assert "bin done" in last
    hers = words_of([each for _, each in desk.said], "ling")  # she is no admin: nothing that she may not type
    assert "please tell an admin" in hers.splitlines()[-1]
    assert "bin done" not in hers
    with pytest.raises(UserError, match="is_lost"):
        desk.does("mei", bin_.bin_let_go, "ahing@")
    desk.does("mei", bin_.bin_date, "ahing@", date(2027, 1, 20))  # the console still shows it
    assert desk.items()[0].state is BinState.WAITING


@on_both
def test_an_owner_that_a_look_up_saw_ends_it(desk: Desk) -> None:
    desk.leaves("ahing", "ahing@corp.test")
    desk.at("2026-12-01 10:00")
    with desk.store.begin() as tx:
        tx.mailboxes.member_has("calvin", "ahing@corp.test", "look-up")  # somebody typed `mailbox ahing@`
    heard = desk.until("2026-12-24 12:00")
    assert heard["mei"] == ["12-09 09:00"]
    assert "ahing@corp.test is safe: it belongs to 卡尔文 now" in words_of([desk.said[0][1]], "mei")


@pytest.mark.parametrize(
    ("owner", "said", "state"),
    [
        ("calvin", "it belongs to 卡尔文 now", BinState.ASSIGNED),
        ("ahing", "shows ahing@corp.test as 阿兴's, who had it before", BinState.WAITING),
        (None, "I find nobody in WeCom with ahing@corp.test", BinState.WAITING),
    ],
)
def test_assigned_is_believed_only_when_seen(desk: Desk, owner: str | None, said: str, state: BinState) -> None:
    desk.leaves("ahing", "ahing@corp.test")
    with desk.store.begin() as tx:
        item = tx.recycle_bin.find(1)
        assert item is not None
        directory = desk.context(tx, "mei").directory
        words = bin_check.checked(tx, directory, item, "mei", owner, None)
        assert said in words.text("en")
        assert words.text("zh")
        assert item.state is state


@pytest.mark.parametrize("owner", ["ahing", "calvin", None])
def test_who_had_left_and_is_back_is_looked_up(
    store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, owner: str | None
) -> None:
    """By the event or by a reading of the directory: his again, somebody's, or nobody's, and all admins hear it."""
    world = World(store, clock, monkeypatch)
    monkeypatch.setattr(addresses, "look_up", lambda job, address, **more: owner)
    monkeypatch.setattr(addresses, "seen_public", lambda job, address: None)
    with store.begin() as tx:
        member = tx.members.find("ahing")
        assert member is not None
        tx.members.left(member)
        bin_.members_left(tx, ROLES, world.services.settings, [member], "callback")
    with store.begin() as tx:
        ctx = world.context(tx, "sys")
        addresses.joined(ctx, MemberJoined("sys", "ahing"))
        (job,) = (each.id for each in ctx.starts if tx.jobs.get(each.id).kind == "bin-check")
        addresses.joined(ctx, MemberJoined("sys", "ahing"))
        assert len([each for each in ctx.starts if tx.jobs.get(each.id).kind == "bin-check"]) == 1, "he is back already"
    world.run(job)
    with store.begin() as tx:
        item = tx.session.get_one(BinItem, 1)
        assert item.state is (BinState.WAITING if owner is None else BinState.ASSIGNED)
        assert item.evidence.get("owner") == owner
    for admin in ("mei", "yan"):
        last = world.told(admin)[-1]
        assert "阿兴 had left and is in the directory again" in last
        assert ("I find nobody in WeCom with" if owner is None else "is safe: it belongs to") in last


# In several replicas, and at scale


@on_both
def test_two_replicas_remind_once(desk: Desk) -> None:
    """Both sweep in the same instant: one of them says it."""
    for userid in ("ahing", "calvin", "tao"):
        desk.leaves(userid, f"{userid}@corp.test")
    desk.at("2026-12-09 09:00")
    barrier = threading.Barrier(4)

    def run() -> list[Reply]:
        barrier.wait(10)
        return Desk(desk.store, desk.clock, desk.settings).sweep()

    with ThreadPoolExecutor(4) as pool:
        said = [each for found in pool.map(lambda _: run(), range(4)) for each in found]
    assert sorted(each.to for each in said if isinstance(each, Card)) == ["mei", "yan"]
    assert all(len(each.choices) == 3 for each in said if isinstance(each, Card))


@on_both
def test_two_admins_let_it_go_and_one_was_first(desk: Desk) -> None:
    desk.leaves("ahing", "ahing@corp.test")
    barrier = threading.Barrier(2)

    def run(admin: str) -> str:
        barrier.wait(10)
        try:
            return words_of(desk.does(admin, bin_.bin_let_go, "ahing@"), admin)
        except UserError as error:
            return error.words.text("en")

    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(run, ("mei", "yan")))
    assert sum("is let go" in each for each in said) == 1
    assert sum("let it go on" in each for each in said) == 1


@on_both
def test_what_is_not_due_is_not_looked_at(desk: Desk) -> None:
    """The database finds the due ones by their index: it reads them, not the book, however thick that is."""
    fill(desk, 100_000)
    with desk.store.begin() as tx:
        sqlite = tx.session.get_bind().dialect.name == "sqlite"
        if not sqlite:
            tx.session.execute(text("ANALYZE recycle_bin"))
        found = tx.recycle_bin.take_due(count_max=bin_.DUE_MAX)
        assert sorted(str(item.address) for item in found) == [f"due{number}@corp.test" for number in range(5)]
        tx.session.rollback()
    with desk.store.begin() as tx:
        if sqlite:
            plan = [
                str(row[3]) for row in tx.session.execute(text("EXPLAIN QUERY PLAN " + due_query()), {"now": later()})
            ]
            assert any("USING COVERING INDEX ix_recycle_bin_next_at (next_at<?)" in step for step in plan), plan
            assert not any(step.startswith("SCAN") for step in plan), plan
        else:
            steps = tx.session.scalars(
                text("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) " + due_query()), {"now": later()}
            ).all()
            (scan,) = [step for step in steps if "Scan" in step]
            assert "ix_recycle_bin_next_at" in scan, steps
            assert "rows=5" in scan, steps


def due_query() -> str:
    """What `take_due` asks first."""
    return "SELECT id FROM recycle_bin WHERE next_at <= :now ORDER BY next_at LIMIT 20000"


def later() -> datetime:
    """The moment of the sweep, as a column holds it."""
    return local("2026-12-01 09:00").replace(tzinfo=None)


def fill(desk: Desk, size: int) -> None:
    """Many entries of which five are due."""
    desk.at("2026-12-01 09:00")
    now = desk.clock.moment
    numbers = select(literal(1).label("number")).cte(recursive=True)
    numbers = numbers.union_all(select(numbers.c.number + 1).where(numbers.c.number < size))
    everywhere: dict[Any, object] = {
        BinItem.source: BinSource.LEFT, BinItem.known_from: "callback", BinItem.state: BinState.WAITING,
        BinItem.entered_at: now, BinItem.deletes_at: now + timedelta(days=30), BinItem.told_at: now,
        BinItem.created_at: now, BinItem.again_for: [], BinItem.evidence: {},
    }  # fmt: skip
    values = [literal(value, column.type).label(column.key) for column, value in everywhere.items()]
    address = ("box" + cast(numbers.c.number, String) + "@corp.test").label("address")
    not_due = literal(now + timedelta(days=8), BinItem.next_at.type)
    names = [column.key for column in everywhere]
    rows = select(*values, address, address, not_due).select_from(numbers)
    with desk.store.begin() as tx:
        tx.session.execute(insert(BinItem).from_select([*names, "address", "claim", "next_at"], rows))
        for number in range(5):
            same = {column.key: value for column, value in everywhere.items()}
            name = f"due{number}@corp.test"
            tx.session.add(BinItem(**same, address=name, claim=name, next_at=now - timedelta(hours=number)))
