"""Who does not answer is reminded, at the right times; somebody else can be asked instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.context import Choose, Context
from bot.errors import UserError
from bot.policy import Requirement, Role, Roles
from bot.settings import Settings
from handlers.approvals import approval_reminders, approval_talk, approvals
from handlers.approvals.approval_times import next_reminder
from storage.models import Approval
from storage.store import Store
from tests.handlers.approval_world import ROLES, SHANGHAI, ask, at, cards, marks, send, sweep, texts
from tests.handlers.conftest import FakeClock

Speaking = Callable[..., Context]


def reminded(store: Store, settings: Settings, roles: Roles = ROLES) -> list[Any]:
    """One run of the sweep that reminds."""
    return sweep(store, settings, approval_reminders.remind, roles=roles)


@pytest.mark.parametrize(
    ("asked", "reminders"),
    [
        ("2026-03-02 10:00", ["03-02 11:00", "03-02 14:00", "03-03 09:00", "03-04 09:00"]),
        ("2026-03-02 17:30", ["03-03 09:00", "03-03 12:00", "03-04 09:00"]),  # never in the evening
        ("2026-03-02 03:00", ["03-02 09:00", "03-02 12:00", "03-03 09:00"]),
        ("2026-03-06 16:30", ["03-06 17:30", "03-09 09:00", "03-10 09:00"]),  # a Friday
        ("2026-09-30 15:00", ["09-30 16:00", "10-08 09:00", "10-09 09:00", "10-10 09:00", "10-12 09:00"]),
    ],
)
def test_reminders_back_off_and_come_in_working_hours(asked: str, reminders: list[str]) -> None:
    """Across a weekend, and across the National Day week with its working Saturday."""
    now = datetime.strptime(asked, "%Y-%m-%d %H:%M").replace(tzinfo=SHANGHAI).astimezone(UTC)
    found = []
    for told in range(len(reminders)):
        now = next_reminder(now, told, SHANGHAI)
        found.append(f"{now.astimezone(SHANGHAI):%m-%d %H:%M}")
    assert found == reminders


def test_each_is_said_once_and_in_one_short_message(store: Store, settings: Settings, clock: FakeClock) -> None:
    """Whichever replica sweeps, and however often."""
    at(clock, "2026-03-02 10:00")
    with store.begin() as tx:
        ask(tx, settings, may=("ling", "fang"))
    said = Counter[str]()
    for _ in range(4 * 24):
        clock.advance(minutes=15)
        replies = reminded(store, settings) + reminded(store, settings)
        said[f"{clock.moment.astimezone(SHANGHAI):%m-%d %H:%M}"] += len(texts(replies, "ling"))
    assert +said == {"03-02 11:00": 1, "03-02 14:00": 1, "03-03 09:00": 1}
    at(clock, "2026-03-04 09:00")
    replies = reminded(store, settings)
    assert texts(replies, "ling") == texts(replies, "fang")
    assert texts(replies, "ling") == [
        "Approval 1 still waits for you, asked by 美玲: Your manager is 凌. Type `approve 1`, `reject 1` and why, or "
        "`ask 1` and a question, until 2026-03-09 10:00."
    ]


def test_after_an_outage_it_waits_for_the_morning(store: Store, settings: Settings, clock: FakeClock) -> None:
    """Due at 11:00, the bot comes back at 23:00 on a Friday: Monday morning, once."""
    at(clock, "2026-03-06 10:00")
    with store.begin() as tx:
        ask(tx, settings)
    at(clock, "2026-03-06 23:00")
    assert reminded(store, settings) == []
    at(clock, "2026-03-08 12:00")
    assert reminded(store, settings) == []
    at(clock, "2026-03-09 09:00")
    assert len(texts(reminded(store, settings), "ling")) == 1
    assert reminded(store, settings) == []


def test_who_answered_is_reminded_no_more(
    store: Store, settings: Settings, clock: FakeClock, speaking: Speaking, action: list[Approval]
) -> None:
    with store.begin() as tx:
        for _ in range(3):
            ask(tx, settings)
        approvals.approve(speaking(tx, "ling"), 1)
        approvals.withdraw(speaking(tx, "mei"), 2)
    clock.advance(days=7)  # the third ran out
    assert reminded(store, settings) == []


def test_a_card_comes_anew_with_the_reminder_before_it_can_be_redrawn_no_more(
    store: Store, settings: Settings, clock: FakeClock
) -> None:
    """Never more than 72 hours old while somebody can be disturbed, and never two messages for one reminder."""
    at(clock, "2026-03-02 10:00")
    with store.begin() as tx:
        ask(tx, settings)
    for moment, anew in (
        ("2026-03-02 11:00", False),
        ("2026-03-02 14:00", False),
        ("2026-03-03 09:00", False),  # the next one comes at 47 hours
        ("2026-03-04 09:00", True),  # the next one would come at 71 hours
        ("2026-03-05 09:00", False),
        ("2026-03-06 09:00", True),  # the weekend follows
    ):
        at(clock, moment)
        replies = reminded(store, settings)
        assert len(texts(replies, "ling")) == 1, moment
        assert len(cards(replies, "ling")) == int(anew), moment
        assert [done for to, done in marks(replies) if to == "ling"] == ["See below"] * anew, moment
        with store.begin() as tx:
            assert len(tx.cards.open_about("approval-1", "ling")) == 1
    at(clock, "2026-03-09 06:00")  # Monday, before anybody works: 69 hours
    assert reminded(store, settings) == []
    at(clock, "2026-03-09 07:30")
    replies = reminded(store, settings)
    assert marks(replies) == [("ling", "Type it")]
    assert not texts(replies, "ling")
    assert reminded(store, settings) == []
    at(clock, "2026-03-09 09:00")
    replies = reminded(store, settings)
    assert (len(texts(replies, "ling")), len(cards(replies, "ling")), marks(replies)) == (1, 1, [])


# Somebody else


def test_after_the_second_reminder_who_asked_may_choose_the_next_in_line(
    store: Store, settings: Settings, clock: FakeClock, speaking: Speaking, action: list[Approval]
) -> None:
    at(clock, "2026-03-02 10:00")
    with store.begin() as tx:
        ask(tx, settings)
    at(clock, "2026-03-02 11:00")
    assert not texts(reminded(store, settings), "mei")
    at(clock, "2026-03-02 14:00")
    replies = reminded(store, settings)
    (heard,) = texts(replies, "mei")
    assert heard.startswith("No answer yet from 凌 to approval 1: Your manager is 凌. You can wait")
    (card,) = cards(replies, "mei")
    assert [(choice.id, choice.words) for choice in card.choices] == [("fang", "方敏")]
    assert [button.key for button in card.buttons] == ["ask_else:1", "withdraw:1"]
    with store.begin() as tx:
        ctx = speaking(tx, "mei", task_id="t", selected={"choice": ("fang",)})
        replies = send(tx, approval_reminders.ask_someone_else(ctx, 1), settings)
        assert sorted(marks(replies)) == [("ling", "Passed on"), ("mei", "Passed on")]
        assert "has asked 方敏 instead of you about approval 1" in texts(replies, "ling")[0]
        assert texts(replies, "fang")[0] == "美玲 asks you instead of 凌 about approval 1:"
        assert cards(replies, "fang")[0].buttons[0].key == "approve:1"
        assert "I asked 方敏 instead of 凌" in texts(replies, "mei")[0]
        entry = tx.approvals.get(1)
        assert (entry.approvers, entry.replaced, entry.reminders) == (["fang"], ["ling"], 0)
        with pytest.raises(UserError, match="not_yours") as caught:
            approvals.approve(speaking(tx, "ling"), 1)
        assert "it waits for 方敏" in str(caught.value.words)
    at(clock, "2026-03-02 15:00")
    replies = reminded(store, settings)
    assert (len(texts(replies, "fang")), texts(replies, "ling")) == (1, [])
    with store.begin() as tx:
        approvals.approve(speaking(tx, "fang"), 1)
        audited = [(each.who, each.what) for each in tx.audit.latest(9)]
    assert [each.decided_by for each in action] == ["fang"]
    with store.begin() as tx:
        (replacing,) = [each for each in tx.audit.latest(9) if each.what == "approval.replaced"]
        assert (replacing.who, replacing.detail["before"], replacing.detail["after"]) == ("mei", ["ling"], ["fang"])
    assert audited


def test_the_offer_is_put_away_with_its_question(store: Store, settings: Settings, clock: FakeClock) -> None:
    """Also where the job behind it was cancelled, and no approver has a card any more."""
    at(clock, "2026-03-02 10:00")
    with store.begin() as tx:
        approval = ask(tx, settings)
    for moment in ("2026-03-02 11:00", "2026-03-02 14:00"):
        at(clock, moment)
        reminded(store, settings)
    with store.begin() as tx:
        tx.approvals.void(approval.job_id)
        for card in tx.cards.open_about("approval-1"):
            tx.cards.close(card)
    assert marks(sweep(store, settings, approvals.expire)) == [("mei", "Withdrawn")]
    assert sweep(store, settings, approvals.expire) == []


def test_on_demand_it_is_a_choice_or_a_name(store: Store, settings: Settings, speaking: Speaking) -> None:
    """The managers above, then the configured approvers; never who asks, nor who gains, nor who is asked."""
    held = {Role.APPROVER: frozenset({"lan", "mei", "tao", "gone"})}
    with store.begin() as tx:
        ask(tx, settings, gains=("tao",))
        with pytest.raises(Choose) as choose:
            approval_reminders.ask_someone_else(speaking(tx, "mei", roles=held), 1)
        assert choose.value.choices == [("fang", "方敏"), ("lan", "王兰")]
        for wrong in ("ling", "tao", "mei", "calvin"):
            with pytest.raises(UserError, match="not_in_line") as caught:
                approval_reminders.ask_someone_else(speaking(tx, "mei", roles=held), 1, wrong)
            assert "these can: 方敏, 王兰." in str(caught.value.words)
        with pytest.raises(UserError, match="not_your_question"):
            approval_reminders.ask_someone_else(speaking(tx, "ling", roles=held), 1, "fang")
        with pytest.raises(UserError, match="unknown"):
            approval_reminders.ask_someone_else(speaking(tx, "calvin", roles=held), 1, "fang")
        approval_reminders.ask_someone_else(speaking(tx, "mei", roles=held), 1, "王兰")
        approval_reminders.ask_someone_else(speaking(tx, "mei", roles=held), 1, "fang")
        assert tx.approvals.get(1).replaced == ["ling", "lan"]
        with pytest.raises(UserError, match="nobody_else"):
            approval_reminders.ask_someone_else(speaking(tx, "mei", roles=held), 1)


def test_where_nobody_is_left_who_asked_is_told(store: Store, settings: Settings, clock: FakeClock) -> None:
    at(clock, "2026-03-02 10:00")
    with store.begin() as tx:
        ask(tx, settings, may=("fang",), owner="ling")
        ask(tx, settings, may=("yan",), owner=None, requirement=Requirement.TWO)
    for moment in ("2026-03-02 11:00", "2026-03-02 14:00"):
        at(clock, moment)
        replies = reminded(store, settings)
    assert [each.split(":")[0] for each in texts(replies, "mei")] == [
        "No answer yet from 方敏 to approval 1", "No answer yet from 赵燕 to approval 2",
    ]  # fmt: skip
    assert all("Nobody else is in line" in each for each in texts(replies, "mei"))
    assert cards(replies, "mei") == []


def test_an_approver_who_leaves_is_replaced_by_choice_at_once(
    store: Store, settings: Settings, speaking: Speaking, clock: FakeClock
) -> None:
    with store.begin() as tx:
        ask(tx, settings)
        ask(tx, settings, may=("ling", "fang"))
        ling = tx.members.find("ling")
        assert ling is not None
        tx.members.left(ling)
        replies = send(tx, approval_reminders.approvers_left(tx, ROLES, settings, [ling], "callback"), settings)
        (heard,) = texts(replies, "mei")
        assert heard.startswith("Who was asked for approval 1 has left the organisation")
        assert [choice.id for choice in cards(replies, "mei")[0].choices] == ["fang"]
        assert [tx.approvals.get(number).approvers for number in (1, 2)] == [[], ["fang"]]
        assert not tx.cards.open_about("approval-1")
        with pytest.raises(UserError, match="not_yours"):
            approvals.approve(speaking(tx, "ling"), 1)
        fang = tx.members.find("fang")
        assert fang is not None
        tx.members.left(fang)
        replies = approval_reminders.approvers_left(tx, ROLES, settings, [fang], "directory")
        (nobody,) = texts(replies, "mei")
        assert nobody.startswith("Who was asked for approval 2 has left the organisation, and nobody else is in line")
        approval_reminders.ask_someone_else(speaking(tx, "mei", roles={Role.APPROVER: frozenset({"lan"})}), 2, "lan")
        assert tx.approvals.get(2).approvers == ["lan"]
    clock.advance(days=1)
    assert texts(reminded(store, settings), "ling") == []
    clock.advance(days=6)
    assert "- did not answer" in texts(sweep(store, settings, approvals.expire), "mei")[0]


def test_a_renamed_approver_is_still_asked(store: Store, settings: Settings, speaking: Speaking) -> None:
    with store.begin() as tx:
        approval = ask(tx, settings, gains=("tao",))
        tx.approvals.ask_instead(approval, ["fang"], remind_at=tx.now + timedelta(hours=1))
        tx.approvals.said(approval, by="fang", name="方敏", ask="fang?")
        for old, new in (("fang", "fang2"), ("ling", "ling2"), ("tao", "tao2"), ("ahing", "ahing2")):
            tx.members.renamed(old, new)
    with store.begin() as tx:
        found = tx.approvals.get(1)
        assert (found.approvers, found.replaced, found.gains, found.owner) == (
            ["fang2"], ["ling2"], ["tao2"], "ahing2",
        )  # fmt: skip
        assert [(each["by"], each["ask"]) for each in found.talk] == [("fang2", "fang?")]
        heard = send(tx, approval_talk.answer(speaking(tx, "mei"), 1, "yes"), settings)
        assert texts(heard, "fang2") == ["美玲 answers about approval 1: “yes”"], "who asked is who hears it"


def test_who_is_asked_instead_has_as_long_as_the_first_had(
    store: Store, settings: Settings, clock: FakeClock, speaking: Speaking, action: list[Approval]
) -> None:
    """On the last day somebody else is asked: he has seven days, and the job behind the question waits for him."""
    at(clock, "2026-03-02 10:00")
    with store.begin() as tx:
        approval = ask(tx, settings)
        tx.jobs.wait(tx.jobs.get(approval.job_id), "approval", expires_at=approval.expires_at)
    at(clock, "2026-03-09 09:00")
    with store.begin() as tx:
        approval_reminders.ask_someone_else(speaking(tx, "mei"), 1, "fang")
        expires_at = tx.approvals.get(1).expires_at
        assert (expires_at - tx.now).days == 7
        assert tx.jobs.get(approval.job_id).expires_at == expires_at
    at(clock, "2026-03-15 10:00")
    assert sweep(store, settings, approvals.expire) == []
    with store.begin() as tx:
        approvals.approve(speaking(tx, "fang"), 1)
    assert len(action) == 1
