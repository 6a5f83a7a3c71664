"""Replies on their way: in order, within the limits, once where WeCom helps, and never stuck."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from bot import delivery
from bot.delivery import PER_MINUTE_MAX, Sender
from bot.errors import NetworkError
from bot.jobs import Start
from bot.replies import Button, Card, CardUpdate, Reply, Text
from bot.settings import Settings
from bot.wecom.errcodes import WeComError
from bot.words import say
from storage.models import Delivery, DeliveryState
from storage.store import Store
from tests.core.conftest import FakeWeCom, HandClock


@pytest.fixture
def wecom() -> FakeWeCom:
    """Takes everything."""
    return FakeWeCom()


@pytest.fixture
def sender(store: Store, wecom: FakeWeCom, settings: Settings) -> Sender:
    """The real one."""
    return Sender(store, wecom, settings)  # type: ignore[arg-type]


def said(store: Store, settings: Settings, *replies: Reply) -> list[Start]:
    with store.begin() as tx:
        return [start for reply in replies for start in delivery.add(tx, reply, settings)]


def run(sender: Sender, starts: list[Start], store: Store) -> None:
    """What the workflows do: everything that is started, once, and what that starts."""
    done: set[str] = set()
    waiting = list(starts)
    while waiting:
        start = waiting.pop(0)
        if start.workflow_id not in done:
            done.add(start.workflow_id)
            waiting += sender.deliver(start.id, start.attempt)


def tick(sender: Sender, store: Store) -> None:
    """What the clock does."""
    with store.begin() as tx:
        starts = list(delivery.due(tx, 0, 100))
    run(sender, starts, store)


def row(store: Store, delivery_id: int) -> Delivery:
    with store.begin() as tx:
        return tx.deliveries.get(delivery_id)


def card(to: str = "mei") -> Card:
    return Card(to, "job-1", say("dispatcher.choose"), buttons=[Button("start:1", say("dispatcher.choose"))])


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_of_a_member_is_kept(
    store: Store, settings: Settings, sender: Sender, wecom: FakeWeCom, order: tuple[int, ...]
) -> None:
    """However the workflows are run."""
    starts = said(store, settings, *[Text("mei", str(number)) for number in range(3)], Text("ling", "other"))
    run(sender, [starts[3], *[starts[each] for each in order]], store)
    assert wecom.texts("mei") == ["0", "1", "2"]
    assert wecom.texts("ling") == ["other"]


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (WeComError(45009, "freq"), 65),
        (WeComError(60020, "not allow from ip: 203.0.113.9"), 2),
        (WeComError(-1, "busy"), 2),
        (NetworkError("ConnectTimeout"), 2),
    ],
)
def test_later_with_the_order_kept(
    store: Store,
    settings: Settings,
    sender: Sender,
    wecom: FakeWeCom,
    clock: HandClock,
    error: Exception,
    seconds: int,
) -> None:
    """What can pass is waited for, longer each time; nobody overtakes."""
    wecom.answers = [error, error]
    run(sender, said(store, settings, Text("mei", "one"), Text("mei", "two")), store)
    assert wecom.sent == []
    clock.advance(seconds=seconds - 1)
    tick(sender, store)
    assert wecom.sent == []
    clock.advance(seconds=1)
    tick(sender, store)  # the second time, twice as long unless the window is fixed
    assert wecom.sent == []
    clock.advance(seconds=max(seconds, 4))
    tick(sender, store)
    assert wecom.texts("mei") == ["one", "two"]


@pytest.mark.parametrize(
    "answer", [{"invaliduser": "mei"}, WeComError(81013, "all invalid"), WeComError(44004, "empty"), KeyError("a bug")]
)
def test_what_can_never_go_out_lets_the_next_one_pass(
    store: Store, settings: Settings, sender: Sender, wecom: FakeWeCom, answer: object
) -> None:
    """Noted and audited; a bug in the sending, too, does not hold up a member for ever."""
    wecom.answers = [answer]
    run(sender, said(store, settings, Text("mei", "one"), Text("mei", "two")), store)
    assert wecom.texts("mei")[-1] == "two"
    failed = row(store, 1)
    assert failed.state is DeliveryState.FAILED
    assert failed.error
    with store.begin() as tx:
        assert [each.what for each in tx.audit.entries()] == ["delivery.refused"]


def test_limits_of_a_minute_outlive_a_restart(
    store: Store, settings: Settings, wecom: FakeWeCom, clock: HandClock
) -> None:
    """WeCom drops the 31st in silence. Attempts are rows, so a new process knows of them; others are not held up."""
    wecom.answers = [NetworkError("lost")] * 2  # attempts that failed count, too
    total = PER_MINUTE_MAX + 10
    starts = said(store, settings, *[Text("mei", str(number)) for number in range(total)])
    run(Sender(store, wecom, settings), starts, store)  # type: ignore[arg-type]
    for _ in range(2):
        clock.advance(seconds=5)
        tick(Sender(store, wecom, settings), store)  # type: ignore[arg-type]
    assert len(wecom.sent) == PER_MINUTE_MAX - 2
    run(Sender(store, wecom, settings), said(store, settings, Text("ling", "other")), store)  # type: ignore[arg-type]
    assert wecom.texts("ling") == ["other"]
    clock.advance(seconds=45)
    tick(Sender(store, wecom, settings), store)  # type: ignore[arg-type]
    assert len(wecom.texts("mei")) == PER_MINUTE_MAX - 2
    for _ in range(3):
        clock.advance(seconds=20)
        tick(Sender(store, wecom, settings), store)  # type: ignore[arg-type]
    assert wecom.texts("mei") == [str(number) for number in range(total)]


def test_a_long_text_stops_at_the_limit_and_goes_on_where_it_was(
    store: Store, settings: Settings, sender: Sender, wecom: FakeWeCom, clock: HandClock
) -> None:
    """Its parts count one by one; the 31st of a minute would be dropped."""
    lines = "\n".join(f"{number:04}" + "x" * 1900 for number in range(PER_MINUTE_MAX + 5))
    run(sender, said(store, settings, Text("mei", lines), Text("mei", "after")), store)
    assert len(wecom.sent) == PER_MINUTE_MAX
    clock.advance(seconds=62)
    tick(sender, store)
    texts = wecom.texts("mei")
    assert [each[:4] for each in texts[:-1]] == [f"{number:04}" for number in range(PER_MINUTE_MAX + 5)]
    assert texts[-1] == "after"
    assert all(len(each.encode()) <= 2048 for each in texts)


def test_a_card_whose_answer_was_lost_is_not_doubled(
    store: Store, settings: Settings, sender: Sender, wecom: FakeWeCom, clock: HandClock
) -> None:
    """The same task id again, which WeCom knows already."""
    wecom.answers = [NetworkError("cut"), WeComError(42014, "task id used")]
    run(sender, said(store, settings, card(), Text("mei", "after")), store)
    clock.advance(seconds=2)
    tick(sender, store)
    assert row(store, 1).state is DeliveryState.SENT
    assert wecom.sent == [("mei", "text", "after")]


def test_a_card_wecom_never_takes_is_said_in_words(
    store: Store, settings: Settings, sender: Sender, wecom: FakeWeCom
) -> None:
    """Words do what buttons do: nobody waits for a card that cannot come."""
    wecom.answers = [WeComError(42023, "a block of the card")]
    run(sender, said(store, settings, card()), store)
    assert wecom.texts("mei") == [say("dispatcher.choose").text("en")]
    assert row(store, 1).state is DeliveryState.SENT


def test_a_redraw_without_a_living_code_is_a_text(
    store: Store, settings: Settings, sender: Sender, wecom: FakeWeCom, clock: HandClock
) -> None:
    """Spent, run out, or unknown after a fault: what is to be known is said."""
    run(sender, said(store, settings, card()), store)
    with store.begin() as tx:
        task_id = tx.cards.open_about("job-1")[0].task_id
    code = f"code-{task_id}"
    done = Card("mei", "job-1", say("dispatcher.choose"), done=say("dispatcher.choose"))
    update = CardUpdate(task_id, done, otherwise=say("dispatcher.card_unknown"))
    otherwise = say("dispatcher.card_unknown").text("en")
    wecom.answers = [WeComError(-1, "busy")]
    run(sender, said(store, settings, update), store)
    clock.advance(seconds=2)
    tick(sender, store)
    assert wecom.sent[1:] == [("mei", "update", code)]  # with the same code after the fault
    run(sender, said(store, settings, update), store)
    assert wecom.sent[2:] == [("mei", "text", otherwise)]
    with store.begin() as tx:
        tx.cards.keep(task_id, "mei", "another", clicked=True)
    wecom.answers = [WeComError(60140, "spent")]
    run(sender, said(store, settings, update), store)
    assert wecom.sent[3:] == [("mei", "text", otherwise)]
    with store.begin() as tx:
        tx.cards.keep(task_id, "mei", "old", clicked=True)
    clock.advance(hours=73)
    run(sender, said(store, settings, update), store)
    assert wecom.sent[4:] == [("mei", "text", otherwise)]


def test_a_redraw_whose_answer_was_lost_is_not_said_again(
    store: Store, settings: Settings, sender: Sender, wecom: FakeWeCom, clock: HandClock
) -> None:
    """The code is spent because we spent it."""
    run(sender, said(store, settings, card()), store)
    with store.begin() as tx:
        task_id = tx.cards.open_about("job-1")[0].task_id
    done = Card("mei", "job-1", say("dispatcher.choose"), done=say("dispatcher.choose"))
    wecom.answers = [NetworkError("cut"), WeComError(60140, "spent")]
    run(sender, said(store, settings, CardUpdate(task_id, done, otherwise=say("dispatcher.card_unknown"))), store)
    clock.advance(seconds=2)
    tick(sender, store)
    assert row(store, 2).state is DeliveryState.SENT
    assert len(wecom.sent) == 1


def test_a_one_time_link_is_not_kept(store: Store, settings: Settings, sender: Sender, wecom: FakeWeCom) -> None:
    """Neither once it is out, nor when it can never go out."""
    wecom.answers = [{}, WeComError(81013, "invalid")]
    run(sender, said(store, settings, *[Text("mei", f"link {number}", once=True) for number in range(2)]), store)
    with store.begin() as tx:
        rows = tx.session.scalars(select(Delivery).order_by(Delivery.id)).all()
        assert [each.body for each in rows] == [{}, {}]
        assert [each.state for each in rows] == [DeliveryState.SENT, DeliveryState.FAILED]


def test_two_sendings_of_a_member_never_overtake_each_other(
    store: Store, settings: Settings, wecom: FakeWeCom, clock: HandClock
) -> None:
    """Every row by several workers at once, attempts old and new: each goes out once, in order, and none is left."""
    total = 12
    texts = [Text(receiver, f"{number}") for number in range(total) for receiver in ("mei", "ling")]
    starts = said(store, settings, *texts)
    started: set[str] = set()
    lock = threading.Lock()
    sender = Sender(store, wecom, settings)  # type: ignore[arg-type]

    def work(start: Start) -> None:
        with lock:
            if start.workflow_id in started:
                return
            started.add(start.workflow_id)
        for following in sender.deliver(start.id, start.attempt):
            work(following)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, [*reversed(starts), *starts]))
    clock.advance(minutes=2)
    tick(sender, store)
    for receiver in ("mei", "ling"):
        assert wecom.texts(receiver) == [str(number) for number in range(total)]


def test_an_old_attempt_does_nothing(store: Store, settings: Settings, sender: Sender, wecom: FakeWeCom) -> None:
    """Its workflow was recovered after a new one had been given the row."""
    (start,) = said(store, settings, Text("mei", "one"))
    with store.begin() as tx:
        assert tx.deliveries.next_attempt(start.id, 1) == 2
    assert sender.deliver(start.id, 1) == []
    assert wecom.sent == []
    sender.deliver(start.id, 2)
    assert wecom.texts("mei") == ["one"]


def test_what_was_sent_names_the_next_again(store: Store, settings: Settings, sender: Sender, wecom: FakeWeCom) -> None:
    """A crash between the end of one and the start of the next does not wait for the clock."""
    starts = said(store, settings, Text("mei", "one"), Text("mei", "two"))
    assert sender.deliver(starts[0].id, 1) == [starts[1]]
    assert sender.deliver(starts[0].id, 1) == [starts[1]]
    assert wecom.texts("mei") == ["one"]


def test_replies_to_two_members_in_either_order_wait_for_nobody(store: Store, settings: Settings) -> None:
    """Two decisions that answer the same two members, the other way round, must not lock each other out."""
    said(store, settings, Text("mei", "first"), Text("ling", "first"))
    barrier = threading.Barrier(2)

    def answer(*receivers: str) -> None:
        with store.begin() as tx:
            delivery.add(tx, Text(receivers[0], "a"), settings)
            if store.engine.dialect.name == "postgresql":  # SQLite has one writer at a time
                barrier.wait(10)
            delivery.add(tx, Text(receivers[1], "b"), settings)

    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(answer, "mei", "ling"), pool.submit(answer, "ling", "mei")]:
            each.result(30)
    with store.begin() as tx:
        assert len(tx.session.scalars(select(Delivery.id)).all()) == 6


def test_admins_hear_of_a_member_who_cannot_be_reached(store: Store, wecom: FakeWeCom, settings: Settings) -> None:
    """Who asked him something would wait in vain. Once an hour, and not the member himself."""
    sender = Sender(store, wecom, settings, lambda _: ["ling", "mei"])  # type: ignore[arg-type]
    for number in range(2):
        wecom.answers = [{"invaliduser": "mei"}]
        run(sender, said(store, settings, Text("mei", f"open this page {number}")), store)
    with store.begin() as tx:
        told = [each for each in tx.session.scalars(select(Delivery)) if each.receiver == "ling"]
    assert ["cannot reach" in each.body["text"] for each in told] == [True]
