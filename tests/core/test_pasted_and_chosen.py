"""What must not be kept, and what must not be mistaken: pasted passwords, choices of an older question."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text

from bot.dispatcher import CHOOSE, SCRUBBED, without_password
from bot.settings import Settings
from storage.models import Job, SentCard
from storage.store import Store
from tests.core.conftest import event_fields, text_fields
from tests.core.test_dispatcher import production, received, told


@pytest.mark.parametrize(
    "pasted",
    [
        "abcdefghijklmnop",
        "AbCdEfGhIjKlMnOp",
        "AbCd EfGh IjKl MnOp",
        "AbCd-EfGh-IjKl-MnOp",
        "密码 abcdefghijklmnop",
        "密码是 AbCd EfGh IjKl MnOp",
        "授权码:abcd efgh ijkl mnop",
        "my password abcdefghijklmnop",
        "the password is hunter2-hunter2",
        "here it is: xYz1aBcDeFgHiJkL thanks",
    ],
)
def test_passwords_are_blacked_out(pasted: str) -> None:
    """However a member pastes one."""
    kept = without_password(pasted)
    assert SCRUBBED in kept
    assert not any(part in kept for part in ("efgh", "EfGh", "hunter2", "aBcD"))


@pytest.mark.parametrize(
    "said",
    [
        "backup ahing to support@ because they left last year",
        "because of his responsibilities",
        "he forgot his password and leaves",
        "密码忘了",
        "backup ahing to administrators1@corp.test because he leaves",
        "bin add ahing@ deleted 2026-11-01",
    ],
)
def test_ordinary_words_stay(said: str) -> None:
    """A reason is a reason."""
    assert without_password(said) == said


def test_a_password_does_not_become_the_reason(store: Store, settings: Settings) -> None:
    """The bot waits for a reason; what comes is a password: it is nowhere, and the question stays."""
    people(store)
    dispatcher = production(store, settings)
    dispatcher.decide(received(store, text_fields("mei", "backup ahing to support@")))
    dispatcher.decide(received(store, text_fields("mei", "AbCd EfGh IjKl MnOp")))
    with store.begin() as tx:
        for table in ("inbox", "jobs", "audit", "deliveries", "pending_questions"):
            assert "EfGh" not in str(tx.session.execute(text(f"SELECT * FROM {table}")).all())  # noqa: S608 -- our own names
        assert tx.session.scalars(select(Job)).all() == []
        assert tx.questions.find("mei") is not None


def test_an_old_choice_answers_nothing_else(store: Store, settings: Settings) -> None:
    """`backup ahing` offers targets; another command asks something else; the old card must not answer that."""
    people(store)
    dispatcher = production(store, settings)
    dispatcher.decide(received(store, text_fields("mei", "backup ahing")))
    with store.begin() as tx:
        card = tx.session.scalars(select(SentCard).where(SentCard.about == "choice")).one()
    dispatcher.decide(received(store, text_fields("mei", "backup calvin to support@")))
    click = event_fields("mei", "template_card_event", TaskId=card.task_id, EventKey=CHOOSE, ResponseCode="code")
    click["SelectedItems"] = {"SelectedItem": {"QuestionKey": "choice", "OptionIds": {"OptionId": "support@corp.test"}}}
    dispatcher.decide(received(store, click))
    with store.begin() as tx:
        assert tx.session.scalars(select(Job)).all() == []
        question = tx.questions.find("mei")
        assert question is not None
        assert question.missing == "reason"
    assert "run out" in told(store)[-1][1]


def people(store: Store) -> None:
    """Two members with mailboxes, and a public one."""
    with store.begin() as tx:
        for userid in ("mei", "ahing", "calvin"):
            tx.members.saw(userid, name=userid.title(), departments=[1])
            tx.mailboxes.member_has(userid, f"{userid}@corp.test", "look-up")
        tx.mailboxes.public_is(1, "support@corp.test", name="Support", readers={}, aliases=[])
