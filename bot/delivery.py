"""
Replies on their way: written as rows by the decision, sent by a workflow of their own, within WeCom's limits.

A text goes out at least once, a card with the same task id every time, so that WeCom itself refuses the second.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy.exc import DBAPIError

from bot.errors import BotError, NetworkError, UpstreamError
from bot.jobs import Start
from bot.replies import Card, CardUpdate, Reply, Said, Text
from bot.settings import Settings
from bot.wecom import cards
from bot.wecom.client import WeComClient
from bot.wecom.errcodes import Retry, WeComError
from bot.wecom.limits import MESSAGES_PER_ACCOUNT_PER_DAY
from bot.words import LANGUAGES, Language, Words, say
from storage.models import Delivery, DeliveryState

if TYPE_CHECKING:
    from storage.store import Store, Transaction

log = structlog.get_logger()

PER_MINUTE_MAX = 25  # WeCom drops the 31st of a minute in silence; a margin for clocks that differ
PER_HOUR_MAX = 1000
ATTEMPTS_MAX = 500  # three days, at ten minutes each
BACKOFF_MAX = timedelta(minutes=10)
WINDOW = timedelta(seconds=65)  # a limit of a minute, and a little
CLOSED_KEY = "closed"  # a greyed card must still have a button


def add(tx: Transaction, reply: Reply, settings: Settings) -> list[Start]:
    """Write a reply as a row, in the receiver's language; gives what to start."""
    language = language_of(tx, reply.card.to if isinstance(reply, CardUpdate) else reply.to, settings)
    if isinstance(reply, Text):
        row = tx.deliveries.add(reply.to, "text", {"text": said(reply.words, language)}, once=reply.once)
    elif isinstance(reply, Card):
        row = add_card(tx, reply, language)
    elif isinstance(reply, CardUpdate):
        row = add_update(tx, reply, language)
    else:
        file = tx.deliveries.add_file(reply.name, reply.content)
        row = tx.deliveries.add(reply.to, "file", {"file": file.id})
    return [start_of(row)]  # if its turn is still to come, it waits; nothing is locked here, so nobody waits for us


def add_card(tx: Transaction, card: Card, language: Language) -> Delivery:
    """A card, under a task id of its own that is decided now: a second sending uses the same."""
    task_id = new_task_id(card.about)
    tx.cards.add(task_id, card.about, card.to)
    return tx.deliveries.add(card.to, "card", {"task_id": task_id, "card": rendered(card, task_id, language)})


def add_update(tx: Transaction, update: CardUpdate, language: Language) -> Delivery:
    """A redrawing. A card that stays alive gets a new task id, which WeCom wants; the old one is answered no more."""
    old = tx.cards.find(update.task_id)
    if old is not None:
        tx.cards.close(old)
    task_id = new_task_id(update.card.about)
    if update.card.done is None:
        tx.cards.add(task_id, update.card.about, update.card.to)
    body = {
        "old_task_id": update.task_id,
        "task_id": task_id,
        "card": rendered(update.card, task_id, language),
        "otherwise": said(update.otherwise, language) if update.otherwise is not None else None,
    }
    return tx.deliveries.add(update.card.to, "card_update", body)


def new_task_id(about: str) -> str:
    """A task id that names the card's subject and is used by nobody else, ever."""
    return cards.make_task_id(about, random.SystemRandom())


def rendered(card: Card, task_id: str, language: Language) -> dict[str, Any]:
    """The card as WeCom's JSON (developer.work.weixin.qq.com 90236), in one language."""
    body: dict[str, Any] = {
        "card_type": "button_interaction",
        "task_id": task_id,
        "main_title": {"title": card.title.text(language)},
        "horizontal_content_list": [
            {"keyname": name.text(language), "value": said(value, language)} for name, value in card.rows
        ],
        "button_list": [
            {"text": button.words.text(language), "style": button.style, "key": button.key} for button in card.buttons
        ],
    }
    if card.note is not None:
        body["sub_title_text"] = card.note.text(language)
    if card.choices:
        body["button_selection"] = {
            "question_key": "choice",
            "title": (card.choices_title or say("delivery.choose")).text(language),
            "option_list": [{"id": each.id, "text": said(each.words, language)} for each in card.choices],
            "selected_id": card.choices[0].id,
        }
    if card.done is not None:
        body["replace_text"] = card.done.text(language)
        if not card.buttons:
            body["button_list"] = [{"text": card.done.text(language), "style": 1, "key": CLOSED_KEY}]
    return body


def said(words: Said, language: Language) -> str:
    """Text in one language; what is text already stays as it is."""
    return words.text(language) if isinstance(words, Words) else words


def language_of(tx: Transaction, userid: str, settings: Settings) -> Language:
    """The language a member last used."""
    member = tx.members.find(userid)
    for language in LANGUAGES:
        if member is not None and member.language == language:
            return language
    return settings.bot_language


def start_of(row: Delivery) -> Start:
    """What sends the row."""
    return Start("deliver", row.id, row.attempt, row.receiver)


class Sender:
    """
    Sends rows. One call is one short step of a workflow.

    A row whose turn has not come gets a new attempt, and whoever sends the one before it starts that. The look at the
    earlier row locks it: either its sender is done, or he finds ours when he is.
    """

    def __init__(
        self,
        store: Store,
        client: WeComClient,
        settings: Settings,
        admins: Callable[[Transaction], Sequence[str]] = lambda _: (),
    ) -> None:
        self._store = store
        self._client = client
        self._settings = settings
        self._admins = admins

    def deliver(self, delivery_id: int, attempt: int) -> list[Start]:
        """Send a row if its turn has come and no later attempt took over; gives the member's next one to start."""
        with self._store.begin() as tx:
            row = tx.deliveries.get(delivery_id)
            if row.state is not DeliveryState.WAITING:  # a crash came between its end and this answer
                return next_start(tx, row.receiver)
            if row.attempt != attempt or row.due_at > tx.now:
                return []
            if tx.deliveries.earlier_waiting(row):
                tx.deliveries.again(row)
                return []
            receiver, kind, body = row.receiver, row.kind, row.body
        try:
            if kind == "text":
                self.send_text(delivery_id, receiver, str(body["text"]))
            elif kind == "card":
                self.send_card(receiver, body)
            elif kind == "card_update":
                self.update_card(delivery_id, receiver, body)
            else:
                self.send_file(receiver, int(body["file"]))
        except Held as held:
            with self._store.begin() as tx:
                tx.deliveries.later(tx.deliveries.get(delivery_id), held.until, "limit")
            return []
        except BotError as error:
            return self.failed(delivery_id, attempt, error)
        except DBAPIError:
            raise  # the database is away or busy: tried again
        except Exception:
            reference = secrets.token_hex(4)
            log.exception("deliver_failed", delivery_id=delivery_id, kind=kind, reference=reference)
            return self.over(delivery_id, f"bug {reference}")  # what comes after it must not wait for ever
        return self.over(delivery_id, None)

    def send_text(self, delivery_id: int, receiver: str, text: str) -> None:
        """All parts of a text, from the first that is not known to be out."""
        parts = cards.split_text(text)
        with self._store.begin() as tx:
            begin = tx.deliveries.get(delivery_id).parts_sent
        for number, part in enumerate(parts[begin:], begin + 1):
            self.count(receiver)
            unreachable(receiver, *cards.send_text(self._client, receiver, part))
            with self._store.begin() as tx:
                tx.deliveries.get(delivery_id).parts_sent = number

    def send_card(self, receiver: str, body: Mapping[str, Any]) -> None:
        """
        A card; its leave to be redrawn is kept. One that WeCom has already is not sent again.

        What WeCom will never take as a card is said in words, which do all that buttons do.
        """
        self.count(receiver)
        try:
            sent = cards.send_card(self._client, receiver, body["card"])
        except (cards.CardRefused, WeComError) as error:
            if not content_refused(error):
                raise
            log.error("card_refused", task_id=body["task_id"], error=str(error))
            self.count(receiver)
            unreachable(receiver, *cards.send_text(self._client, receiver, in_words(body["card"])))
            return
        unreachable(receiver, sent)
        if sent.already_sent:
            with self._store.begin() as tx:
                tx.answers.saw("resent_card", "yes")
        if sent.response_code:
            with self._store.begin() as tx:
                tx.cards.keep(body["task_id"], receiver, sent.response_code, clicked=False)

    def update_card(self, delivery_id: int, receiver: str, body: Mapping[str, Any]) -> None:
        """
        Redraw a card; without a living code for it, say it in a text.

        The code is noted in the row before it is used. When what became of that use was lost, the same one is tried
        again: spent now means that the card was redrawn then, for nobody else has it.
        """
        with self._store.begin() as tx:
            code, again = body.get("code"), "code" in body
            if code is None and (code := tx.cards.take(body["old_task_id"], receiver)) is not None:
                tx.deliveries.get(delivery_id).body = {**body, "code": code}
        if code is not None and self.redrawn(code, receiver, body, again=again):
            return
        if body["otherwise"]:
            self.count(receiver)
            unreachable(receiver, *cards.send_text(self._client, receiver, body["otherwise"]))

    def redrawn(self, code: str, receiver: str, body: Mapping[str, Any], *, again: bool) -> bool:
        """Redraw with a code; False when it was dead, or WeCom never takes the card: then it lives on."""
        try:
            updated = cards.update_card(self._client, code, receiver, card=body["card"])
        except BotError as error:
            if not content_refused(error):
                raise
            with self._store.begin() as tx:
                tx.cards.give_back(body["old_task_id"], code)
            log.error("card_refused", task_id=body["task_id"], error=str(error))
            return False
        if updated.invalid:
            raise Unreachable(f"{receiver} is not reachable for the app")
        if updated.code_spent and not again:
            return False
        with self._store.begin() as tx:
            tx.cards.follow(body["old_task_id"], body["task_id"], receiver)
        return True

    def send_file(self, receiver: str, file_id: int) -> None:
        """A kept file."""
        with self._store.begin() as tx:
            file = tx.deliveries.file(file_id)
            name, content = file.name, file.content
        self.count(receiver)
        unreachable(receiver, cards.send_file(self._client, receiver, name, content))

    def count(self, receiver: str) -> None:
        """Every attempt counts, also one that fails: written before it is made. Held when a limit is reached."""
        with self._store.begin() as tx:
            if (free_at := self.held_until(tx, receiver)) is not None:
                raise Held(free_at)
            tx.deliveries.count_attempt(receiver)

    def held_until(self, tx: Transaction, receiver: str) -> datetime | None:
        """When the next message to a member may go out; None: now."""
        for period, most in ((timedelta(minutes=1), PER_MINUTE_MAX), (timedelta(hours=1), PER_HOUR_MAX)):
            since = tx.now - period
            if tx.deliveries.attempts_since(since, receiver) >= most:
                first = tx.deliveries.first_attempt_since(since, receiver)
                return (first or tx.now) + period + timedelta(seconds=1)
        midnight = tx.now.astimezone(self._settings.zone).replace(hour=0, minute=0, second=0, microsecond=0)
        budget = MESSAGES_PER_ACCOUNT_PER_DAY * max(1, tx.deliveries.members_count())
        if tx.deliveries.attempts_since(midnight) >= budget:
            return midnight + timedelta(days=1)
        return None

    def failed(self, delivery_id: int, attempt: int, error: BotError) -> list[Start]:
        """Try again later, or give up and let the next one of the member pass."""
        hopeless = error.errcode in FOR_GOOD if isinstance(error, WeComError) else not isinstance(error, NetworkError)
        if hopeless or attempt >= ATTEMPTS_MAX:
            return self.over(delivery_id, str(error), lost=is_unreachable(error))
        after_window = isinstance(error, WeComError) and error.retry is Retry.AFTER_WINDOW
        wait = WINDOW if after_window else min(BACKOFF_MAX, timedelta(seconds=2 ** min(attempt, 12)))
        log.warning("delivery_later", delivery_id=delivery_id, attempt=attempt, error=str(error))
        with self._store.begin() as tx:
            tx.deliveries.later(tx.deliveries.get(delivery_id), tx.now + wait, str(error))
        return []

    def over(self, delivery_id: int, error: str | None, *, lost: bool = False) -> list[Start]:
        """Sent, or refused for good; the member's next reply may go. Of a member who cannot be reached admins hear."""
        with self._store.begin() as tx:
            row = tx.deliveries.get(delivery_id)
            if row.state is DeliveryState.WAITING:
                if error is None:
                    tx.deliveries.sent(row)
                else:
                    tx.deliveries.refused(row, error)
                    tx.audit.add("bot", "delivery.refused", row.receiver, delivery=delivery_id, error=error)
                    log.error("delivery_refused", delivery_id=delivery_id, error=error)
                tx.session.flush()
            starts = self.tell_lost(tx, row.receiver) if lost else []
            return [*next_start(tx, row.receiver), *starts]

    def tell_lost(self, tx: Transaction, receiver: str) -> list[Start]:
        """Whoever asked him something would wait in vain: the admins hear it, once an hour for each such member."""
        if not tx.moments.first_within(f"unreachable:{receiver}", TELL_LOST_EVERY):
            return []
        member = tx.members.find(receiver)
        words = say("delivery.unreachable", name=member.name if member is not None else receiver, userid=receiver)
        admins = [each for each in self._admins(tx) if each != receiver]
        return [start for admin in admins for start in add(tx, Text(admin, words), self._settings)]


def next_start(tx: Transaction, receiver: str) -> list[Start]:
    """The member's next reply, if it is due."""
    following = tx.deliveries.next_of(receiver)
    return [] if following is None else [start_of(following)]


class Held(Exception):
    """A limit is reached: nothing more to this member until then."""

    def __init__(self, until: datetime) -> None:
        super().__init__(until.isoformat())
        self.until = until


def is_unreachable(error: BotError) -> bool:
    """Whether the member cannot be reached at all, whatever is sent."""
    return isinstance(error, Unreachable) or (isinstance(error, WeComError) and error.errcode == ALL_INVALID)


class Unreachable(UpstreamError):
    """WeCom took the message and named its receiver as invalid: outside the app's visible range, or gone."""


# 81013: all receivers invalid; 44004, 45002, 4203x-4205x: content; 40007: the file. Others may be mended meanwhile.
ALL_INVALID = 81013
TELL_LOST_EVERY = timedelta(hours=1)
FOR_GOOD = frozenset({ALL_INVALID, 82001, 44004, 45001, 45002, 40006, 40007, *range(42017, 42056)})


CONTENT_REFUSED = frozenset({45001, 45002, *range(42017, 42056)})


def content_refused(error: BotError) -> bool:
    """Whether a card was refused for what is in it, by us or by WeCom."""
    return isinstance(error, cards.CardRefused) or (isinstance(error, WeComError) and error.errcode in CONTENT_REFUSED)


def in_words(card: Mapping[str, Any]) -> str:
    """What a card says, without its buttons."""
    rows = [f"{each['keyname']}: {each['value']}" for each in card["horizontal_content_list"]]
    parts = [card["main_title"]["title"], card.get("sub_title_text"), *rows, card.get("replace_text")]
    return "\n".join(part for part in parts if part)


def unreachable(receiver: str, *sent: cards.Sent) -> None:
    """errcode 0 can still name invalid receivers."""
    if any(each.invalid for each in sent):
        raise Unreachable(f"{receiver} is not reachable for the app")


def due(tx: Transaction, settled_seconds: float, count_max: int) -> Iterable[Start]:
    """Rows that should have been sent by now."""
    return [start_of(row) for row in tx.deliveries.due(settled_seconds=settled_seconds, count_max=count_max)]
