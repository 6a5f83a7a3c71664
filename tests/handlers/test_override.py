"""Break-glass: who may, who is told, who stops it, what it does after half an hour, and who looks at it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import delete

from bot.context import Context, Missing
from bot.delivery import rendered
from bot.errors import UserError
from bot.policy import Requirement, Role, Roles
from bot.replies import Reply, Text
from bot.settings import Settings
from bot.wecom.cards import check_card, cut_on_screen
from bot.words import LANGUAGES
from handlers.approvals import approvals
from handlers.approvals import override as module
from handlers.approvals.override import override, overrides_list, reviewed, stop_override
from storage.models import Approval, ApprovalStatus, JobState, Moment, OverrideState
from storage.store import Store, Transaction
from tests.handlers.approval_world import FACTS, ask, cards, marks, send, sweep, texts
from tests.handlers.conftest import FakeClock

SUPER = {Role.SUPER_ADMIN: frozenset({"fang"})}
HELD = Roles({Role.ADMIN: frozenset({"mei", "yan"})} | SUPER)

Speaking = Callable[..., Context]


pytestmark = pytest.mark.usefixtures("action")  # questions of the action `test` belong to a feature


@pytest.fixture
def speak(speaking: Speaking) -> Speaking:
    """In an organisation where fang is the super admin, mei and yan are admins."""
    return lambda tx, sender, **more: speaking(tx, sender, roles=SUPER | more.pop("roles", {}), **more)


def begun(tx: Transaction, settings: Settings, speak: Speaking, **more: Any) -> list[Reply]:
    """Mei's question to ling, overridden by fang."""
    ask(tx, settings, **more)
    return send(tx, override(speak(tx, "fang"), 1, " ling is in hospital "), settings)


def run(store: Store, settings: Settings, roles: Roles = HELD) -> list[Reply]:
    """One run of the sweep."""
    return sweep(store, settings, module.take_effect, roles=roles)


def test_everybody_is_told_and_after_half_an_hour_it_counts_once(
    store: Store, settings: Settings, speak: Speaking, clock: FakeClock, action: list[Approval]
) -> None:
    with store.begin() as tx:
        replies = begun(tx, settings, speak)
        assert "answers approval 1 in your place" in texts(replies, "ling")[0]
        assert "`reject 1` and why" in texts(replies, "ling")[0]
        for admin in ("mei", "yan"):
            assert "in the place of 凌: Your manager is 凌. Reason: ling is in hospital" in texts(replies, admin)[0]
            (card,) = cards(replies, admin)
            assert [button.key for button in card.buttons] == ["stop_override:1"]
        assert "unless an admin stops it" in texts(replies, "ahing")[0], "whose mailbox it is"
        (noted,) = texts(replies, "fang")
        assert noted.startswith("Noted. Approval 1 counts as a yes at 2026-03-02 17:30, unless an admin stops it, or ")
        assert "an answer from 凌 comes first" in noted
        with pytest.raises(UserError, match="running"):
            override(speak(tx, "fang"), 1, "again")
    clock.advance(minutes=29, seconds=59)
    assert run(store, settings) == []
    assert action == []
    clock.advance(seconds=1)
    replies = run(store, settings) + run(store, settings)
    assert [(each.id, each.status, each.decided_by) for each in action] == [(1, ApprovalStatus.APPROVED, "fang")]
    assert sorted(marks(replies)) == [("ling", "Overridden"), ("mei", "In effect"), ("yan", "In effect")]
    assert "took effect: Your manager is 凌. You need not answer" in texts(replies, "ling")[0]
    assert "nobody stopped it, so it counts as a yes" in texts(replies, "mei")[0]
    assert "type `reviewed 1`" in texts(replies, "yan")[0]
    assert texts(replies, "fang") == ["Approval 1: 方敏 overrode it. Reason: ling is in hospital"]
    with store.begin() as tx:
        whats = [(entry.who, entry.what) for entry in tx.audit.latest(9)]
        assert whats == [("mei", "approval.asked"), ("fang", "override.begun"), ("fang", "approval.overridden")]
        with pytest.raises(UserError, match="already_approved"):
            approvals.reject(speak(tx, "ling"), 1, "no")


@pytest.mark.parametrize(
    ("sender", "more", "error"),
    [
        ("mei", {}, "only_super_admins"),
        ("yan", {}, "only_super_admins"),
        ("ling", {}, "only_super_admins"),
        ("fang", {"by": "fang"}, "not_own"),
        ("fang", {"may": ("ling", "fang")}, "not_answer"),
        ("fang", {"gains": ("tao", "fang")}, "not_gains"),
        ("fang", {"gains": None}, "not_unknown"),
    ],
)
def test_it_is_never_for_oneself(
    store: Store, settings: Settings, speak: Speaking, sender: str, more: dict[str, Any], error: str
) -> None:
    with store.begin() as tx:
        ask(tx, settings, **more)
        with pytest.raises(UserError, match=error):
            override(speak(tx, sender), 1, "because")
        assert tx.overrides.of(1) is None


def test_a_reason_is_wanted_and_time_enough(
    store: Store, settings: Settings, speak: Speaking, clock: FakeClock
) -> None:
    with store.begin() as tx:
        ask(tx, settings)
        for nothing in (None, "  "):
            with pytest.raises(Missing) as missing:
                override(speak(tx, "fang"), 1, nothing)
        assert missing.value.parameter == "reason"
    clock.advance(days=6, hours=23, minutes=30)
    with store.begin() as tx, pytest.raises(UserError, match="too_late"):
        override(speak(tx, "fang"), 1, "because")
    clock.advance(minutes=30)
    with store.begin() as tx, pytest.raises(UserError, match="ran_out"):
        override(speak(tx, "fang"), 1, "because")


def test_an_admin_who_is_skipped_hears_it_once(store: Store, settings: Settings, speak: Speaking) -> None:
    """With the button, and that his own answer counts."""
    with store.begin() as tx:
        replies = begun(tx, settings, speak, may=("yan",), requirement=Requirement.TWO)
        (heard,) = texts(replies, "yan")
        assert "in your place" in heard
        assert len(cards(replies, "yan")) == 1


@pytest.mark.parametrize("by", ["button", "words", "himself"])
def test_any_admin_stops_it(
    store: Store, settings: Settings, speak: Speaking, clock: FakeClock, action: list[Approval], by: str
) -> None:
    """Then the question waits for who was asked, and cannot be overridden again."""
    with store.begin() as tx:
        begun(tx, settings, speak)
        with pytest.raises(UserError, match="only_admins"):
            stop_override(speak(tx, "ling"), 1)
        with pytest.raises(UserError, match="unknown"):
            stop_override(speak(tx, "yan"), 2)
        admin = "fang" if by == "himself" else "yan"
        task = tx.cards.open_about("override-1", "yan")[0].task_id if by == "button" else None
        replies = send(tx, stop_override(speak(tx, admin, task_id=task), 1), settings)
        assert sorted(marks(replies)) == [("mei", "Stopped"), ("yan", "Stopped")]
        for told in ("fang", "mei", "ling", "ahing", "yan"):
            assert len(texts(replies, told)) == (told != "yan" or admin == "yan"), told
        with pytest.raises(UserError, match="stopped_before"):
            stop_override(speak(tx, "mei"), 1)
        with pytest.raises(UserError, match="stopped_before"):
            override(speak(tx, "fang"), 1, "still")
    clock.advance(hours=1)
    assert run(store, settings) == []
    with store.begin() as tx:
        approvals.approve(speak(tx, "ling"), 1)
    assert [each.decided_by for each in action] == ["ling"]


@pytest.mark.parametrize("answer", ["approve", "reject", "withdraw", "expire", "facts"])
def test_another_answer_comes_first(
    store: Store, settings: Settings, speak: Speaking, clock: FakeClock, action: list[Approval], answer: str
) -> None:
    now = dict(FACTS)
    approvals.facts_of("test")(lambda ctx, approval: now)
    with store.begin() as tx:
        ask(tx, settings)
        if answer == "expire":
            clock.advance(days=7, minutes=-31)
    with store.begin() as tx:
        send(tx, override(speak(tx, "fang"), 1, "because"), settings)
        if answer == "approve":
            approvals.approve(speak(tx, "ling"), 1)
        elif answer == "reject":
            approvals.reject(speak(tx, "ling"), 1, "no")
        elif answer == "withdraw":
            approvals.withdraw(speak(tx, "mei"), 1)
        elif answer == "facts":
            now["readers"] = ["mei", "ling", "fang"]  # he can read it now
    clock.advance(minutes=31)
    replies = run(store, settings)
    assert {mark for _, mark in marks(replies)} >= {"Over"}
    if answer == "facts":
        assert "who can read the copy was 美玲, 凌, is now 美玲, 凌, 方敏" in texts(replies, "fang")[0]
    else:
        assert texts(replies, "fang")[0].startswith("Your override of approval 1 ended before it took effect. ")
    assert run(store, settings) == []
    with store.begin() as tx:
        row = tx.overrides.of(1)
        assert row is not None
        assert row.state is OverrideState.VOID
        assert [each.decided_by for each in action] == {"approve": ["ling"], "reject": ["ling"]}.get(answer, [])
        with pytest.raises(UserError):
            stop_override(speak(tx, "yan"), 1)


def test_a_super_admin_who_is_none_any_more_overrides_nothing(
    store: Store, settings: Settings, speak: Speaking, clock: FakeClock, action: list[Approval]
) -> None:
    with store.begin() as tx:
        begun(tx, settings, speak)
    clock.advance(minutes=30)
    replies = run(store, settings, Roles({Role.ADMIN: frozenset({"mei", "yan", "fang"})}))
    assert "you are no super admin any more" in texts(replies, "fang")[0]
    assert action == []


def test_a_bug_in_one_keeps_no_other_waiting(
    store: Store, settings: Settings, speak: Speaking, clock: FakeClock, action: list[Approval]
) -> None:
    """And nothing of the broken one is half done: it is tried again."""

    def broken(ctx: Context, approval: Approval) -> list[Reply]:
        if approval.id == 1:
            raise RuntimeError("a bug")
        return [Text("mei", approvals.say("audit.holds"))]

    approvals.decided("test")(broken)
    with store.begin() as tx:
        for number in (1, 2):
            ask(tx, settings)
            override(speak(tx, "fang"), number, "because")
    clock.advance(minutes=30)
    run(store, settings)
    with store.begin() as tx:
        assert [tx.approvals.get(number).status for number in (1, 2)] == [
            ApprovalStatus.PENDING, ApprovalStatus.APPROVED,
        ]  # fmt: skip
        assert [row.approval_id for row in tx.overrides.running()] == [1]


def test_it_stays_on_the_list_until_another_admin_has_looked_at_it(
    store: Store, settings: Settings, speak: Speaking, clock: FakeClock
) -> None:
    with store.begin() as tx:
        assert "No override is under way" in texts(overrides_list(speak(tx, "yan")), "yan")[0]
        begun(tx, settings, speak)
        (listed,) = texts(overrides_list(speak(tx, "yan")), "yan")
        assert listed.endswith("To stop it: `stop override 1`.")
        with pytest.raises(UserError, match="running"):
            reviewed(speak(tx, "yan"), 1)
        assert "takes effect at 2026-03-02 17:30" in texts(approvals.approvals_list(speak(tx, "ling")), "ling")[0]
        assert "takes effect at 2026-03-02 17:30" in texts(approvals.approvals_list(speak(tx, "mei")), "mei")[0]
    clock.advance(minutes=30)
    run(store, settings)
    with store.begin() as tx:
        (listed,) = texts(overrides_list(speak(tx, "yan")), "yan")
        assert "方敏 overrode it on 2026-03-02 17:30" in listed
        for part in ("fang", "mei"):  # who did it, and who asked for it
            with pytest.raises(UserError, match="not_reviewer") as caught:
                reviewed(speak(tx, part), 1)
            assert "赵燕" in str(caught.value.words)
        with pytest.raises(UserError, match="only_admins"):
            reviewed(speak(tx, "ling"), 1)
        replies = reviewed(speak(tx, "yan"), 1)
        assert [len(texts(replies, each)) for each in ("yan", "fang")] == [1, 1]
        with pytest.raises(UserError, match="reviewed_before"):
            reviewed(speak(tx, "yan"), 1)
        assert "No override is under way" in texts(overrides_list(speak(tx, "yan")), "yan")[0]
    with store.begin() as tx:
        assert tx.audit.latest(1)[0].what == "override.reviewed"


def test_who_asked_may_look_at_it_where_there_is_no_other_admin(
    store: Store, settings: Settings, speaking: Speaking, clock: FakeClock
) -> None:
    few = Roles({Role.ADMIN: frozenset({"mei"})} | SUPER)
    with store.begin() as tx:
        ask(tx, settings)
        ctx = speaking(tx, "fang", roles={Role.ADMIN: frozenset({"mei"})} | SUPER)
        override(ctx, 1, "because")
    clock.advance(minutes=30)
    run(store, settings, few)
    with store.begin() as tx:
        ctx = speaking(tx, "mei", roles={Role.ADMIN: frozenset({"mei"})} | SUPER)
        assert len(texts(reviewed(ctx, 1), "mei")) == 1


def test_its_job_goes_on_as_after_any_yes(store: Store, settings: Settings, speak: Speaking, clock: FakeClock) -> None:
    """What the yes starts is started by the sweep."""

    def goes_on(ctx: Context, approval: Approval) -> list[Reply]:
        job = ctx.tx.jobs.get(approval.job_id)
        ctx.tx.jobs.wake(job, "access")
        ctx.start(job)
        return []

    approvals.decided("test")(goes_on)
    with store.begin() as tx:
        begun(tx, settings, speak)
        tx.jobs.wait(tx.jobs.get(tx.approvals.get(1).job_id), "approval", expires_at=None)
    clock.advance(minutes=30)
    run(store, settings)
    with store.begin() as tx:
        assert tx.jobs.get(tx.approvals.get(1).job_id).state is JobState.DUE


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_card_can_be_read_on_a_phone(store: Store, settings: Settings, speak: Speaking, language: Any) -> None:
    """Its text comes before it in full."""
    with store.begin() as tx:
        replies = begun(tx, settings, speak)
        (card,) = cards(replies, "yan")
        shown = rendered(card, "override-1", language)
        check_card(shown)
        assert cut_on_screen(shown) == []


def test_the_others_are_reminded_to_look_at_it_five_times_at_most(
    store: Store, settings: Settings, speak: Speaking, clock: FakeClock
) -> None:
    """Every working morning, in working hours, one message; after an outage one, not five; nobody after the review."""

    def reminded() -> list[str]:
        return texts(sweep(store, settings, module.remind_to_review, roles=HELD), "yan")

    clock.moment = datetime(2026, 3, 5, 3, tzinfo=UTC)  # Thursday, 11:00 in Shanghai
    with store.begin() as tx:
        begun(tx, settings, speak)
    clock.advance(minutes=31)
    run(store, settings)
    heard = []
    for day in range(6, 20):
        for hour in (0, 1, 5, 11):  # 08:00, 09:00, 13:00, 19:00
            clock.moment = datetime(2026, 3, day, hour, 5, tzinfo=UTC)
            heard += [(day, hour, each) for each in reminded()]
    assert [(day, hour) for day, hour, _ in heard] == [(6, 1), (9, 1), (10, 1), (11, 1), (12, 1)]
    assert "type `reviewed 1`" in heard[0][2]
    assert ["I will not remind you again" in each for _, _, each in heard] == [False] * 4 + [True]
    with store.begin() as tx:
        tx.session.execute(delete(Moment))
        assert len(tx.overrides.to_review()) == 1, "the list keeps it"
    clock.moment = datetime(2026, 3, 20, 2, tzinfo=UTC)
    assert len(reminded()) == 1, "after an outage one"
    with store.begin() as tx:
        reviewed(speak(tx, "yan"), 1)
        tx.session.execute(delete(Moment))
    assert reminded() == []
