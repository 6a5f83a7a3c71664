"""Decisions: one transaction, no network, in order, once; and what becomes of a bug."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

import handlers
from bot.context import Context
from bot.dispatcher import ATTEMPTS_MAX, Dispatcher
from bot.errors import UserError
from bot.messages import TextMessage, parse
from bot.messages import key as message_key
from bot.policy import Policy
from bot.replies import Reply, Text
from bot.router import Router
from bot.settings import Settings
from bot.words import Words, say
from storage.models import AuditEntry, Delivery, InboxMessage, InboxState
from storage.store import Store
from tests.core.conftest import HandClock, event_fields, text_fields

LINE = "whoami"


class NoSockets(OSError):
    """Somebody reached for the network inside a decision."""


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Nobody may open a socket from Python any more (the database driver does without); who tried, though refused."""
    tried: list[str] = []
    for name in ("connect", "connect_ex", "sendto"):

        def refuse(*_: object, name: str = name) -> None:
            tried.append(name)
            raise NoSockets

        monkeypatch.setattr(socket.socket, name, refuse)
    return tried


def received(store: Store, fields: dict[str, Any], key: str | None = None) -> int:
    """A stored callback."""
    with store.begin() as tx:
        row = tx.inbox.add(
            key or message_key("app", fields),
            str(fields["FromUserName"]).casefold(),
            type(parse(fields)).__name__,
            fields,
        )
        assert row is not None
        return row.id


def told(store: Store) -> list[tuple[str, str]]:
    """Receiver and text of every reply, in order."""
    with store.begin() as tx:
        return [
            (row.receiver, str(row.body.get("text")))
            for row in tx.session.scalars(select(Delivery).order_by(Delivery.id))
        ]


def state_of(store: Store, inbox_id: int) -> InboxMessage:
    with store.begin() as tx:
        return tx.inbox.get(inbox_id)


def production(store: Store, settings: Settings) -> Dispatcher:
    """Every real handler."""
    return Dispatcher(store, handlers.router(), settings, Policy())


def scripted(store: Store, settings: Settings, handler: Callable[[Context], list[Reply]]) -> Dispatcher:
    """The real dispatcher with one command, `whoami`."""
    router = Router()

    @router.command("whoami", "我是谁", topic="people", example=("whoami", "我是谁"))
    def whoami(ctx: Context) -> list[Reply]:
        """Who you are to me, and what you may do."""
        return handler(ctx)

    return Dispatcher(store, router, settings, Policy())


def test_every_command_is_decided_without_network(store: Store, settings: Settings, sockets: list[str]) -> None:
    """An open write transaction over a network call would hold up every acknowledgement."""
    dispatcher = production(store, settings)
    commands = [each.example[language] for each in handlers.router().commands for language in each.example]
    assert len(commands) > 20
    for number, line in enumerate(commands):
        inbox_id = received(store, text_fields("mei", line), f"key-{number}")
        dispatcher.decide(inbox_id)
        assert state_of(store, inbox_id).state is InboxState.HANDLED, line
    for number, fields in enumerate(
        [
            event_fields("mei", "enter_agent"),
            event_fields("mei", "click", EventKey="help"),
            event_fields("sys", "change_contact", ChangeType="delete_user", UserID="ahing"),
            event_fields("sys", "change_contact", ChangeType="create_user", UserID="new"),
        ]
    ):
        inbox_id = received(store, fields, f"event-{number}")
        dispatcher.decide(inbox_id)
        assert state_of(store, inbox_id).state is InboxState.HANDLED, fields
    assert sockets == []


def test_a_handler_that_reaches_for_the_network_is_caught(store: Store, settings: Settings, sockets: list[str]) -> None:
    """The test above can fail."""

    def reach(ctx: Context) -> list[Reply]:
        socket.create_connection(("127.0.0.1", 9), 1)
        return []

    inbox_id = received(store, text_fields("mei", LINE))
    scripted(store, settings, reach).decide(inbox_id)
    assert state_of(store, inbox_id).state is InboxState.FAILED
    assert sockets == ["connect"]


def test_deciding_twice_is_deciding_once(store: Store, settings: Settings) -> None:
    """The second gives the same starts, read back from the row; also when both come at the same moment."""
    calls: list[str] = []

    def handler(ctx: Context) -> list[Reply]:
        calls.append(ctx.sender)
        ctx.start(ctx.tx.jobs.add("lookup", asked_by=ctx.sender, params={}))
        return [Text(ctx.sender, "done")]

    dispatcher = scripted(store, settings, handler)
    inbox_id = received(store, text_fields("mei", LINE))
    with ThreadPoolExecutor(4) as pool:
        barrier = threading.Barrier(4)

        def decide() -> Any:
            barrier.wait(10)
            return dispatcher.decide(inbox_id)

        starts = [each.result(30) for each in [pool.submit(decide) for _ in range(4)]]
    assert calls == ["mei"]
    assert all(each == starts[0] for each in starts)
    assert [each.workflow_id for each in starts[0]] == ["lookup-1-1", "deliver-1-1"]
    assert told(store) == [("mei", "done")]


def test_twenty_messages_of_five_at_once_are_decided_in_order(store: Store, settings: Settings) -> None:
    """Whatever the order of the workflows: each sender's messages in the order they came."""
    decided: dict[str, list[int]] = {}

    def handler(ctx: Context) -> list[Reply]:
        number = len(decided.setdefault(ctx.sender, []))
        decided[ctx.sender].append(number)
        return [Text(ctx.sender, f"{ctx.sender} {number}")]

    dispatcher = scripted(store, settings, handler)
    senders = [f"member{number % 5}" for number in range(20)]
    ids = [received(store, text_fields(sender, LINE), f"key-{n}") for n, sender in enumerate(senders)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(dispatcher.decide, reversed(ids)))
    with store.begin() as tx:
        rows = tx.session.scalars(select(InboxMessage).order_by(InboxMessage.id)).all()
        assert all(row.state is InboxState.HANDLED for row in rows)
        for sender in set(senders):
            replies = [tx.deliveries.get(row.outcome[0]["id"]) for row in rows if row.sender == sender]
            assert [each.body["text"] for each in replies] == [f"{sender} {number}" for number in range(4)]


def test_what_a_refused_command_wrote_is_undone(store: Store, settings: Settings) -> None:
    """The savepoint takes rows, audit entries and starts back; the reply and `handled` stay."""

    def refuse(ctx: Context) -> list[Reply]:
        ctx.start(ctx.tx.jobs.add("lookup", asked_by=ctx.sender, params={}))
        ctx.tx.audit.add(ctx.sender, "tried", "a")
        raise UserError(say("dispatcher.card_unknown"))

    inbox_id = received(store, text_fields("mei", LINE))
    starts = scripted(store, settings, refuse).decide(inbox_id)
    assert [each.what for each in starts] == ["deliver"]
    assert state_of(store, inbox_id).state is InboxState.HANDLED
    with store.begin() as tx:
        assert tx.jobs.find(1) is None
        assert tx.session.scalar(select(AuditEntry.id)) is None


@pytest.mark.parametrize("where", ["handler", "words"])
def test_a_bug_is_told_with_its_reference(
    store: Store, settings: Settings, clock: HandClock, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    """The sender each time, the other admins once an hour; also when the bug is in the words of the reply."""

    def bug(ctx: Context) -> list[Reply]:
        ctx.tx.jobs.add("lookup", asked_by=ctx.sender, params={})
        if where == "words":
            return [Text(ctx.sender, Words("no.such_sentence", {}))]
        raise KeyError("a bug")

    dispatcher = scripted(store, settings, bug)
    references = []
    for number in range(2):
        inbox_id = received(store, text_fields("mei", LINE), f"key-{number}")
        dispatcher.decide(inbox_id)
        row = state_of(store, inbox_id)
        assert row.state is InboxState.FAILED
        assert row.reference is not None
        references.append(row.reference)
    logged = capsys.readouterr()
    assert all(each in logged.out + logged.err for each in references)
    heard = told(store)
    assert [receiver for receiver, _ in heard] == ["mei", "jun", "mei"]
    assert references[0] in heard[0][1]
    assert references[0] in heard[1][1]
    assert references[1] in heard[2][1]
    clock.advance(hours=1)
    dispatcher.decide(received(store, text_fields("mei", LINE), "later"))
    assert [receiver for receiver, _ in told(store)][3:] == ["mei", "jun"]
    with store.begin() as tx:
        assert tx.jobs.find(1) is None


def test_a_busy_database_decides_nothing(store: Store, settings: Settings) -> None:
    """The message stays new and is tried again; one that never passes is reported in the end, and blocks nobody."""

    def busy(ctx: Context) -> list[Reply]:
        raise OperationalError("SELECT 1", {}, Exception("database is locked"))

    dispatcher = scripted(store, settings, busy)
    inbox_id = received(store, text_fields("mei", LINE))
    for attempt in range(1, ATTEMPTS_MAX):
        with pytest.raises(OperationalError):
            dispatcher.decide(inbox_id)
        assert state_of(store, inbox_id).state is InboxState.NEW
        with store.begin() as tx:
            assert tx.inbox.next_attempt(inbox_id, attempt) == attempt + 1
    dispatcher.decide(inbox_id)
    assert state_of(store, inbox_id).state is InboxState.FAILED


def test_greeted_once_though_he_came_twice(store: Store, settings: Settings, clock: HandClock) -> None:
    """Two openings can be stored before the first is decided."""
    dispatcher = production(store, settings)
    ids = [received(store, event_fields("ahing", "enter_agent", CreateTime=str(n))) for n in range(2)]
    for each in ids:
        dispatcher.decide(each)
    assert len(told(store)) == 1
    clock.advance(days=1)
    dispatcher.decide(received(store, event_fields("ahing", "enter_agent", CreateTime="9")))
    assert len(told(store)) == 1


def test_the_code_of_a_click_outlives_a_refusal(store: Store, settings: Settings) -> None:
    """WeCom gave it for this click alone; the redraw of the card needs it later."""
    with store.begin() as tx:
        tx.cards.add("t1", "job-1", "mei")
    fields = event_fields("mei", "template_card_event", TaskId="t1", EventKey="nothing:1", ResponseCode="code")
    production(store, settings).decide(received(store, fields))
    stranger = fields | {"FromUserName": "ling", "ResponseCode": "stolen"}
    production(store, settings).decide(received(store, stranger))
    with store.begin() as tx:
        assert tx.cards.take("t1") == "code"
        assert tx.cards.take("t1") is None


def test_a_pasted_password_is_not_kept(store: Store, settings: Settings) -> None:
    """Scrubbed from the row, and said so."""
    inbox_id = received(store, text_fields("mei", "abcdEFGHijklMNOP"))
    production(store, settings).decide(inbox_id)
    with store.begin() as tx:
        everything = str(tx.session.execute(text("SELECT fields, outcome FROM inbox")).all())
        assert "abcdEFGHijklMNOP" not in everything
    assert len(told(store)) == 1


def test_parsed_as_text() -> None:
    """The helper of these tests is right about the kind."""
    assert parse(text_fields("Mei", "a")) == TextMessage("mei", "a")
