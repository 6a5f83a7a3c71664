"""An approver asks back, who asked answers; the question stays open."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bot.context import Context, Missing
from bot.errors import UserError
from bot.settings import Settings
from handlers.approvals import approval_card, approval_talk, approvals
from storage.models import Approval, ApprovalStatus
from storage.store import Store, Transaction
from tests.handlers.approval_world import ask, cards, marks, send, texts

Speaking = Callable[..., Context]


def test_a_question_goes_to_who_asked_and_the_answer_back(
    store: Store, settings: Settings, speaking: Speaking, action: list[Approval]
) -> None:
    with store.begin() as tx:
        ask(tx, settings)
        replies = approval_talk.ask_back(speaking(tx, "ling"), 1, " why now? ")
        (heard,) = texts(replies, "mei")
        assert "凌 asks about your approval 1 (Your manager is 凌.): “why now?” I pass your next message back" in heard
        assert texts(replies, "ling") == ["I passed that on to 美玲. The answer comes here; approval 1 stays open."]
        waiting = tx.questions.find("mei")
        assert waiting is not None
        assert (waiting.command, waiting.args, waiting.missing) == ("answer", {"approval_id": 1}, "words")
        replies = send(tx, approval_talk.answer(speaking(tx, "mei"), 1, "he leaves on Friday"), settings)
        assert texts(replies, "ling") == ["美玲 answers about approval 1: “he leaves on Friday”"]
        assert marks(replies) == [("ling", "See below")]
        assert [button.key for button in cards(replies, "ling")[0].buttons] == ["approve:1", "reject:1", "ask_back:1"]
        assert "凌" in texts(replies, "mei")[0]
        assert len(tx.cards.open_about("approval-1")) == 1
        approval = tx.approvals.get(1)
        assert approval.status is ApprovalStatus.PENDING
        full = approval_card.in_full(approval, settings)
        assert "凌 asked: “why now?”\n美玲 answered: “he leaves on Friday”" in full.text("en")
        assert "凌 问：“why now?”" in full.text("zh")
        approvals.approve(speaking(tx, "ling"), 1)
    assert len(action) == 1
    with store.begin() as tx:
        whats = [entry.what for entry in tx.audit.latest(9)]
        assert whats == ["approval.asked", "approval.asked_back", "approval.answered", "approval.approved"]
        for late in (approval_talk.ask_back, approval_talk.answer):
            with pytest.raises(UserError, match="already_approved"):
                late(speaking(tx, "ling" if late is approval_talk.ask_back else "mei"), 1, "x")


def test_words_that_are_missing_are_asked_for(store: Store, settings: Settings, speaking: Speaking) -> None:
    """By button, the next message is the question, and the answer."""
    with store.begin() as tx:
        ask(tx, settings)
        for nothing in (None, "  "):
            with pytest.raises(Missing) as asked:
                approval_talk.ask_back(speaking(tx, "ling"), 1, nothing)
        assert asked.value.parameter == "words"
        with pytest.raises(UserError, match="nothing_asked"):
            approval_talk.answer(speaking(tx, "mei"), 1, "x")
        approval_talk.ask_back(speaking(tx, "ling"), 1, "why now?")
        with pytest.raises(Missing) as missing:
            approval_talk.answer(speaking(tx, "mei"), 1)
        assert (missing.value.parameter, "“why now?”" in str(missing.value.words)) == ("words", True)


def test_who_is_saying_something_else_is_not_interrupted(store: Store, settings: Settings, speaking: Speaking) -> None:
    """The reason for another backup must not be carried to the manager as an answer."""
    with store.begin() as tx:
        ask(tx, settings)
        tx.questions.ask("mei", "request_backup", {"source": "calvin"}, "reason")
        (heard,) = texts(approval_talk.ask_back(speaking(tx, "ling"), 1, "why now?"), "mei")
        assert heard.endswith("Type `answer 1` and your answer.")
        assert "next message" not in heard
        waiting = tx.questions.find("mei")
        assert waiting is not None
        assert waiting.command == "request_backup"


@pytest.mark.parametrize(
    ("sender", "says", "error"),
    [
        ("mei", "ask", "not_yours"),
        ("yan", "ask", "not_yours"),
        ("tao", "ask", "unknown"),
        ("ling", "answer", "not_your_question"),
        ("yan", "answer", "not_your_question"),
        ("tao", "answer", "unknown"),
    ],
)
def test_others_have_no_part_in_it(
    store: Store, settings: Settings, speaking: Speaking, sender: str, says: str, error: str
) -> None:
    with store.begin() as tx:
        ask(tx, settings)
        approval_talk.ask_back(speaking(tx, "ling"), 1, "why now?")
        function = approval_talk.ask_back if says == "ask" else approval_talk.answer
        with pytest.raises(UserError, match=error):
            function(speaking(tx, sender), 1, "x")
        assert len(tx.approvals.get(1).talk) == 1


def test_of_several_only_who_asked_hears_the_answer(store: Store, settings: Settings, speaking: Speaking) -> None:
    """Once he is asked no more, those who are asked now do."""
    with store.begin() as tx:
        approval = ask(tx, settings, may=("ling", "fang"))
        approval_talk.ask_back(speaking(tx, "fang"), 1, "why now?")
        replies = approval_talk.answer(speaking(tx, "mei"), 1, "because")
        assert (len(texts(replies, "fang")), len(texts(replies, "ling"))) == (1, 0)
        tx.approvals.ask_instead(approval, ["lan"], remind_at=tx.now)
        assert len(texts(approval_talk.answer(speaking(tx, "mei"), 1, "because"), "lan")) == 1


def test_talk_has_an_end(store: Store, settings: Settings, speaking: Speaking) -> None:
    with store.begin() as tx:
        ask(tx, settings)

        def turns(tx: Transaction) -> None:
            for _ in range(approval_talk.TURNS_MAX + 1):
                approval_talk.ask_back(speaking(tx, "ling"), 1, "x" * 900)

        with pytest.raises(UserError, match="talked_enough"):
            turns(tx)
        assert {len(turn["ask"]) for turn in tx.approvals.get(1).talk} == {approval_talk.WORDS_MAX}
        approval_talk.answer(speaking(tx, "mei"), 1, "the last word")
        with pytest.raises(UserError, match="talked_enough"):
            approval_talk.answer(speaking(tx, "mei"), 1, "one more")
