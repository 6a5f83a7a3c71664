"""One question, one answer: who is asked, what stands on the card, who decides when two press at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from bot import delivery
from bot.context import Context, Missing
from bot.directory import Directory
from bot.errors import UserError
from bot.policy import Requirement, Role, Roles
from bot.replies import Card, Text
from bot.settings import Settings
from bot.wecom.cards import check_card, cut_on_screen
from bot.words import LANGUAGES, Words, as_json, from_json, lines, say
from handlers.approvals import approval_card, approvals
from storage.models import Approval, ApprovalStatus, JobState, SentCard
from storage.store import Store, Transaction
from tests.handlers import approval_world
from tests.handlers.approval_world import FACTS, QUESTION, ROLES, ask, marks, redrawn, send, texts
from tests.handlers.conftest import SETTINGS, FakeClock, on_both


def sweep(store: Store, settings: Settings) -> list[Any]:
    """One run of the sweep that ends questions."""
    return approval_world.sweep(store, settings, approvals.expire)


# Who


def who(tx: Transaction, requirement: str, asker: str, owner: str | None, gains: list[str], roles: Roles) -> list[str]:
    directory = Directory(tx, "corp.test")
    return list(
        approvals.who_may(Requirement(requirement), directory, roles, asker=asker, owner=owner, gains=gains).userids
    )


@pytest.mark.parametrize(
    ("requirement", "asker", "owner", "gains", "may"),
    [
        ("manager", "mei", "ahing", [], ["ling"]),  # the direct leader
        ("manager", "mei", "calvin", [], ["ling"]),  # the department's leader
        ("manager", "mei", "tao", ["lan"], ["ling"]),  # a department above, because the nearest gains
        ("manager", "ling", "ahing", [], ["fang"]),
        ("two", "mei", None, [], ["yan"]),
        ("confirm", "mei", None, [], ["mei"]),
    ],
)
def test_who_is_asked(
    store: Store, requirement: str, asker: str, owner: str | None, gains: list[str], may: list[str]
) -> None:
    with store.begin() as tx:
        assert who(tx, requirement, asker, owner, gains, ROLES) == may


@pytest.mark.parametrize(
    ("requirement", "owner", "roles", "said"),
    [
        ("manager", "solo", {}, "the manager of 独孤"),
        ("manager", None, {}, "a public mailbox has no owner"),
        ("manager", "solo", {Role.APPROVER: frozenset({"gone", "mei"})}, "the manager of 独孤"),
        ("two", None, {}, "a second admin"),
        (
            "two",
            None,
            {Role.ADMIN: frozenset({"mei", "gone"})},
            "a second admin",
        ),  # named in the settings, but not there
    ],
)
def test_what_nobody_can_answer_is_refused_at_once(
    store: Store, requirement: str, owner: str | None, roles: dict[Role, frozenset[str]], said: str
) -> None:
    held = Roles({Role.ADMIN: frozenset({"mei"})} | roles)
    with store.begin() as tx, pytest.raises(approvals.NobodyCanAnswer) as caught:
        who(tx, requirement, "mei", owner, [], held)
    assert said in caught.value.words.text("en")
    assert caught.value.words.text("zh")


def test_a_configured_approver_stands_in(store: Store) -> None:
    with store.begin() as tx:
        held = Roles({Role.APPROVER: frozenset({"mei", "lan"})})
        assert who(tx, "manager", "mei", "solo", [], held) == ["lan"]


# The card


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_card_can_be_read_on_a_phone(store: Store, settings: Settings, language: Any) -> None:
    """What cannot is said in a text before it; the greyed card can be read in any case."""
    rows = [(say("approvals.row_by"), "x"), (say("approvals.row_by"), "y"), (say("approvals.row_by"), "z")]
    with store.begin() as tx:
        approval = ask(tx, settings, rows=rows)
        replies = approval_card.question_for(tx, approval, "ling", settings)
        assert [type(each) for each in replies] == [Card]
        (card,) = replies
        assert isinstance(card, Card)
        shown = delivery.rendered(card, "approval-1", language)
        check_card(shown)
        assert not cut_on_screen(shown)
        assert len(shown["horizontal_content_list"]) == 6
        values = [row["value"] for row in shown["horizontal_content_list"]]
        assert "2026-03-09 17:00" in values  # the wall clock in Shanghai, not UTC
        for mark in ("approved", "rejected", "expired", "withdrawn", "overridden", "again", "replaced", "sleeping"):
            (update,) = redrawn(
                approval_card.closing(tx, approval, say("approvals.ran_out", number=1), mark=mark, by="凌")
            )
            greyed = delivery.rendered(update.card, "approval-1", language)
            check_card(greyed, update=True)
            assert not cut_on_screen(greyed)


def test_the_end_is_by_the_clock_on_the_wall(store: Store) -> None:
    new_york = Settings(**SETTINGS | {"bot_time_zone": "America/New_York"})
    with store.begin() as tx:
        assert "2026-03-09 05:00" in str(approval_card.in_full(ask(tx, new_york), new_york))


def test_what_a_card_would_cut_is_said_in_words(store: Store, settings: Settings) -> None:
    """Nobody approves what he could not read."""
    reason = "he leaves at the end of the month and nobody else has his customers' mail"
    question = say("lookup.can_open", addresses=[f"mailbox-number-{number}@corp.test" for number in range(20)])
    with store.begin() as tx:
        approval = ask(tx, settings, reason=reason, question=question)
        text, card = approval_card.question_for(tx, approval, "ling", settings)
        assert isinstance(text, Text)
        assert isinstance(card, Card)
        assert reason in str(text.words)
        assert "mailbox-number-19@corp.test" in str(text.words)
        assert "`approve 1`" in str(text.words)
        assert isinstance(text.words, Words)
        assert "“同意 1”" in text.words.text("zh")


def test_a_question_survives_being_stored() -> None:
    """Sentences within sentences, lists of them, and several lines."""
    inner = say("lookup.role_admin")
    words = lines(say("lookup.whoami", name="a", userid="b", roles=[inner, "x"]), "plain", QUESTION)
    assert from_json(as_json(words)).text("zh") == words.text("zh")
    assert "管理员、x" in words.text("zh")


# The answer


def test_a_yes_in_words(
    store: Store, settings: Settings, speaking: Callable[..., Context], action: list[Approval]
) -> None:
    with store.begin() as tx:
        ask(tx, settings, may=("ling", "fang"))
    with store.begin() as tx:
        ctx = speaking(tx, "ling")
        replies = approvals.approve(ctx, 1)
        assert texts(replies, "ling") == ["Approval 1: approved by 凌."]
        assert texts(replies, "mei") == ["凌 said yes: Your manager is 凌.", "The record is unbroken."]
        assert sorted(each.card.to for each in redrawn(replies)) == ["fang", "ling"]
        assert [each.status for each in action] == [ApprovalStatus.APPROVED]
    with store.begin() as tx:
        assert tx.approvals.get(1).decided_by == "ling"
        with pytest.raises(UserError, match="already_approved") as caught:
            approvals.approve(speaking(tx, "fang"), 1)
        assert "凌 has said yes to approval" in str(caught.value.words)
        assert [(entry.who, entry.what) for entry in tx.audit.latest(9)] == [
            ("mei", "approval.asked"), ("ling", "approval.approved"),
        ]  # fmt: skip


def test_a_yes_by_button_is_told_by_the_card(
    store: Store, settings: Settings, speaking: Callable[..., Context], action: list[Approval]
) -> None:
    with store.begin() as tx:
        ask(tx, settings)
        replies = approvals.approve(speaking(tx, "ling", task_id="t"), 1)
        assert texts(replies, "ling") == []
        assert [str(each.card.done) for each in redrawn(replies)] == ["Approved"]


def test_a_no_wants_a_reason(
    store: Store, settings: Settings, speaking: Callable[..., Context], action: list[Approval]
) -> None:
    with store.begin() as tx:
        ask(tx, settings)
        ctx = speaking(tx, "ling")
        for nothing in (None, "", "  "):
            with pytest.raises(Missing) as caught:
                approvals.reject(ctx, 1, nothing)
        assert caught.value.parameter == "reason"
        replies = approvals.reject(ctx, 1, " too early ")
        assert texts(replies, "ling") == ["Approval 1: rejected by 凌. Reason: too early"]
        assert texts(replies, "mei")[0] == "凌 said no: Your manager is 凌. Reason: too early"
        (update,) = redrawn(replies)
        assert ("too early") in [value for _, value in update.card.rows]
        assert [each.status for each in action] == [ApprovalStatus.REJECTED]


@pytest.mark.parametrize(
    ("sender", "said"),
    [
        ("mei", "not yours to answer; it waits for 凌"),  # his own question
        ("yan", "not yours to answer; it waits for 凌"),  # an admin sees it, but does not answer it
        ("ahing", "There is no approval 1 for you"),  # strangers learn nothing
    ],
)
def test_others_cannot_answer(
    store: Store, settings: Settings, speaking: Callable[..., Context], sender: str, said: str
) -> None:
    with store.begin() as tx:
        ask(tx, settings)
        with pytest.raises(UserError) as no_yes:
            approvals.approve(speaking(tx, sender), 1)
        with pytest.raises(UserError) as no_no:
            approvals.reject(speaking(tx, sender), 1, "x")
        assert said in str(no_yes.value.words)
        assert said in str(no_no.value.words)
        assert tx.approvals.get(1).status is ApprovalStatus.PENDING


def test_a_second_admin_who_is_none_any_more_cannot_answer(
    store: Store, settings: Settings, speaking: Callable[..., Context]
) -> None:
    with store.begin() as tx:
        ask(tx, settings, requirement=Requirement.TWO, may=("yan",))
        with pytest.raises(UserError, match="not_yours"):
            approvals.approve(speaking(tx, "yan", roles={Role.ADMIN: frozenset({"mei"})}), 1)


def test_changed_facts_make_a_question_void(
    store: Store, settings: Settings, speaking: Callable[..., Context], action: list[Approval]
) -> None:
    """A yes to what is not so any more is no yes; the difference is shown to both."""
    now = dict(FACTS)
    approvals.facts_of("test")(lambda ctx, approval: now)
    with store.begin() as tx:
        ask(tx, settings)
        ask(tx, settings)
        approvals.approve(speaking(tx, "ling"), 1)
        now["readers"] = ["mei"]
        replies = approvals.approve(speaking(tx, "ling"), 2)
        assert [each.id for each in action] == [1]
        assert tx.approvals.get(2).status is ApprovalStatus.VOID
        for reader in ("ling", "mei"):
            assert "who can read the copy was 美玲, 凌, is now 美玲" in texts(replies, reader)[-1]
        assert [str(each.card.done) for each in redrawn(replies)] == ["Withdrawn"]
        with pytest.raises(UserError, match="withdrawn"):
            approvals.approve(speaking(tx, "ling"), 2)


# Two at once


@on_both
def test_of_two_at_once_one_wins_and_the_other_is_told_who(
    store: Store, settings: Settings, speaking: Callable[..., Context], action: list[Approval]
) -> None:
    """Many rounds of a yes against a no; both saw an open question before they answered."""
    rounds = 12
    with store.begin() as tx:
        numbers = [ask(tx, settings, may=("ling", "fang")).id for _ in range(rounds)]
    barrier = threading.Barrier(2)
    said: dict[str, list[str]] = {"ling": [], "fang": []}

    def answer(sender: str) -> None:
        for number in numbers:
            barrier.wait(30)
            with store.begin() as tx:
                ctx = speaking(tx, sender)
                try:
                    replies = (
                        approvals.approve(ctx, number) if sender == "ling" else approvals.reject(ctx, number, "no")
                    )
                    said[sender].append(texts(replies, sender)[0])
                except UserError as error:
                    said[sender].append(str(error.words))

    threads = [threading.Thread(target=answer, args=(sender,)) for sender in said]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    with store.begin() as tx:
        for position, number in enumerate(numbers):
            approval = tx.approvals.get(number)
            if approval.decided_by == "ling":
                assert said["ling"][position] == f"Approval {number}: approved by 凌."
                assert "凌 has said yes to approval" in said["fang"][position]
            else:
                assert said["fang"][position] == f"Approval {number}: rejected by 方敏. Reason: no"
                assert "方敏 has said no to approval" in said["ling"][position]
        assert len(action) == rounds
        assert tx.audit.broken_at() is None


def test_who_decided_is_asked_again_when_the_statement_finds_nothing(
    store: Store, settings: Settings, speaking: Callable[..., Context], action: list[Approval]
) -> None:
    """The window between the look and the statement: another replica's answer came in it."""
    with store.begin() as tx:
        ask(tx, settings, may=("ling", "fang"))
        ctx = speaking(tx, "fang")
        seen = approvals.answerable(ctx, 1)
        tx.approvals.decide(1, ApprovalStatus.APPROVED, by="ling")
        seen.status = ApprovalStatus.PENDING  # as it was read before
        tx.session.expunge(seen)
        assert tx.approvals.decide(1, ApprovalStatus.REJECTED, by="fang") is None
        assert "凌 has said yes to approval" in str(approvals.told(ctx, tx.approvals.get(1)))


# What runs out


def test_after_seven_days_both_are_told_once(
    store: Store, settings: Settings, clock: FakeClock, speaking: Callable[..., Context]
) -> None:
    with store.begin() as tx:
        ask(tx, settings, may=("ling", "fang"))
    clock.advance(days=7, seconds=-1)
    assert sweep(store, settings) == []
    clock.advance(seconds=1)
    with store.begin() as tx:
        assert not tx.approvals.waiting_for("ling")
        assert not tx.approvals.asked_by("mei")
        with pytest.raises(UserError, match="ran_out"):
            approvals.approve(speaking(tx, "ling"), 1)
    said = sweep(store, settings)
    assert "凌, 方敏 did not answer within 7 days" in texts(said, "mei")[0]
    assert sorted(each.card.to for each in redrawn(said)) == ["fang", "ling"]
    assert all("nobody answered within 7 days" in str(each.otherwise) for each in redrawn(said))
    assert sweep(store, settings) == []
    with store.begin() as tx:
        assert tx.approvals.get(1).status is ApprovalStatus.EXPIRED
        with pytest.raises(UserError, match="ran_out"):
            approvals.reject(speaking(tx, "fang"), 1, "late")


def test_cards_of_a_withdrawn_question_are_greyed(store: Store, settings: Settings) -> None:
    with store.begin() as tx:
        ask(tx, settings)
        other = ask(tx, settings)
        tx.approvals.void(other.job_id)
    said = sweep(store, settings)
    assert [(each.card.about, str(each.card.done)) for each in redrawn(said)] == [("approval-2", "Withdrawn")]
    assert sweep(store, settings) == []
    with store.begin() as tx:
        open_cards = tx.session.query(SentCard).filter(SentCard.closed_at.is_(None)).all()
        assert [each.about for each in open_cards] == ["approval-1"]


# Taken back


def test_who_asked_can_take_it_back(
    store: Store, settings: Settings, speaking: Callable[..., Context], action: list[Approval]
) -> None:
    """Cards greyed, everybody who was asked is told, and the job ends as a cancelled one does."""
    with store.begin() as tx:
        approval = ask(tx, settings, may=("ling", "fang"))
        job = tx.jobs.get(approval.job_id)
        tx.jobs.wait(job, "approval", expires_at=None)
        for stranger in ("ling", "yan"):
            with pytest.raises(UserError, match="not_your_question") as caught:
                approvals.withdraw(speaking(tx, stranger), 1)
            assert "`cancel 1`" in str(caught.value.words)
        with pytest.raises(UserError, match="unknown"):
            approvals.withdraw(speaking(tx, "ahing"), 1)
        ctx = speaking(tx, "mei")
        replies = approvals.withdraw(ctx, 1)
        assert sorted(marks(replies)) == [("fang", "Withdrawn"), ("ling", "Withdrawn")]
        for asked in ("ling", "fang"):
            assert texts(replies, asked) == ["美玲 withdrew approval 1; you need not answer it any more. It was: "
                                             "Your manager is 凌."]  # fmt: skip
        assert texts(replies, "mei") == ["Approval 1 is withdrawn. Nobody has to answer it any more."]
        assert all(each.otherwise is None for each in redrawn(replies)), "nobody is told twice"
        assert (job.state, job.stage, job.data["ending"]) == (JobState.DUE, "cleanup", "cancelled")
        assert [start.id for start in ctx.starts] == [job.id]
        for late in (approvals.approve, approvals.withdraw):
            with pytest.raises(UserError, match="withdrawn_by"):
                late(speaking(tx, "ling" if late is approvals.approve else "mei"), 1)
    assert action == []


def test_a_feature_can_say_what_taking_it_back_means(
    store: Store, settings: Settings, speaking: Callable[..., Context], action: list[Approval]
) -> None:
    approvals.withdrawn("test")(lambda ctx, approval: [Text(ctx.sender, say("audit.holds"))])
    with store.begin() as tx:
        approval = ask(tx, settings)
        tx.jobs.wait(tx.jobs.get(approval.job_id), "access", expires_at=None)
        replies = approvals.withdraw(speaking(tx, "mei"), 1)
        assert texts(replies, "mei")[-1] == "The record is unbroken."
        assert tx.jobs.get(approval.job_id).state is JobState.WAITING


def test_a_click_on_an_old_card_greys_that_one_too(
    store: Store, settings: Settings, speaking: Callable[..., Context], action: list[Approval]
) -> None:
    """Both stand in his chat: the first with the code of the click, the second with that of its sending."""
    with store.begin() as tx:
        approval = ask(tx, settings)
        (old,) = tx.cards.open_about("approval-1")
        tx.cards.close(old)
        send(tx, approval_card.question_for(tx, approval, "ling", settings), settings)
        (new,) = tx.cards.open_about("approval-1")
        replies = approvals.approve(speaking(tx, "ling", task_id=old.task_id), 1)
        assert sorted(each.task_id for each in redrawn(replies)) == sorted([old.task_id, new.task_id])


# The list


def test_the_list_is_one_message(store: Store, settings: Settings, speaking: Callable[..., Context]) -> None:
    with store.begin() as tx:
        (nothing,) = approvals.approvals_list(speaking(tx, "ling"))
        assert isinstance(nothing, Text)
        assert str(nothing.words).startswith("Nothing waits for you")
        for _ in range(3):
            ask(tx, settings)
        ask(tx, settings, by="ling", may=("fang",))
        (text,) = approvals.approvals_list(speaking(tx, "ling"))
        assert isinstance(text, Text)
        assert isinstance(text.words, Words)
        said = text.words.text("en")
        assert said.count("Type `approve") == 3
        assert "Approval 4, asked by you" in said
        assert "It waits for 方敏 until 2026-03-09 17:00." in said
        assert text.words.text("zh").count("“同意") == 3


def test_the_question_expires_after_seven_days(store: Store, settings: Settings, clock: FakeClock) -> None:
    with store.begin() as tx:
        assert ask(tx, settings).expires_at == clock.moment + timedelta(days=7)
