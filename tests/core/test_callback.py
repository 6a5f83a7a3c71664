"""HTTP in: what is stored, what is refused, and that no stranger can make it fail."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import xmltodict
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from wechatpy.work.crypto import PrpCrypto, WeChatCrypto

import handlers
from bot import messages
from bot.callback import Callback
from bot.jobs import Start
from bot.wecom.envelope import Envelope
from bot.wecom.limits import ENVELOPE_BYTES
from storage.base import Base
from storage.models import InboxMessage
from storage.store import Store
from tests.core.conftest import HandClock, event_fields, text_fields

FIXTURES = Path(__file__).parent / "fixtures" / "callback"
TOKEN, KEY, CORP = "token", "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C", "wwcorp"
INCOMING = sorted(
    path.name for path in FIXTURES.glob("*.xml") if path.name.startswith(("event.", "message."))
)  # the others are envelopes, and answers we never give


class Front:
    """The callback endpoints of a bot, without its workflows."""

    def __init__(self, store: Store, clock: HandClock, *, start: Callable[[Start], None] | None = None) -> None:
        self.store, self.clock = store, clock
        self.started: list[Start] = []
        envelope = Envelope(TOKEN, KEY, CORP)
        self.web = FastAPI()
        for path, source, used in (
            ("/wecom/callback", "app", envelope),
            ("/wecom/contacts-callback", "contacts", None),
        ):
            endpoint = Callback(source, used, store, handlers.router(), clock, start or self.started.append)
            self.web.add_route(path, endpoint.answer, methods=["GET", "POST"])

    def request(
        self, method: str, query: dict[str, str], body: bytes = b"", *, path: str = "/wecom/callback", **headers: str
    ) -> httpx.Response:
        """An answer; an exception of the endpoint's is raised here."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.web)
            async with httpx.AsyncClient(transport=transport, base_url="http://bot") as client:
                return await client.request(method, path, params=query, content=body, headers=headers)

        return asyncio.run(send())

    def post(self, query: dict[str, str], body: bytes = b"", **more: str) -> int:
        """The status of a POST, with nothing in its body."""
        answer = self.request("POST", query, body, **more)
        assert answer.content == b""
        return answer.status_code

    def sealed(
        self, plain: str, *, key: str = KEY, token: str = TOKEN, corp: str = CORP, at: float | None = None
    ) -> Any:
        """Query and body as WeCom makes them."""
        stamp = str(int(self.clock.now().timestamp() if at is None else at))
        reply = xmltodict.parse(WeChatCrypto(token, key, corp).encrypt_message(plain, "nonce", stamp))["xml"]
        query = {"msg_signature": reply["MsgSignature"], "timestamp": stamp, "nonce": "nonce"}
        return query, f"<xml><ToUserName>{corp}</ToUserName><Encrypt>{reply['Encrypt']}</Encrypt></xml>".encode()

    def rows(self) -> list[InboxMessage]:
        """What was stored."""
        with self.store.begin() as tx:
            return list(tx.session.scalars(select(InboxMessage).order_by(InboxMessage.id)))


def xml(fields: dict[str, Any]) -> str:
    return str(xmltodict.unparse({"xml": fields}, full_document=False))


@pytest.fixture
def front(store: Store, clock: HandClock) -> Front:
    return Front(store, clock)


@pytest.fixture(scope="module")
def one_front(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One for many examples: none of them may store anything."""
    clock = HandClock()
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('front') / 'bot.sqlite'}", clock.now)
    Base.metadata.create_all(store.engine)
    yield Front(store, clock)
    store.close()


# --- what WeCom sends


@pytest.mark.parametrize("name", INCOMING)
def test_everything_the_documentation_shows_is_accepted(front: Front, name: str) -> None:
    """As a row, or counted by its kind; the same again changes nothing."""
    plain = (FIXTURES / name).read_text("utf-8")
    for _ in range(2):
        assert front.post(*front.sealed(plain)) == 200
    rows = front.rows()
    with front.store.begin() as tx:
        counts = tx.inbox.counts()
    parsed = messages.parse(xmltodict.parse(plain)["xml"])
    if rows:
        assert len(rows) == 1
        assert rows[0].kind == type(parsed).__name__
        assert [each.workflow_id for each in front.started] == [f"message-{rows[0].id}-1"]
    else:
        assert list(counts.values()) == [2]


def test_two_deleted_in_one_second_are_two_events(front: Front) -> None:
    """All fields are in the key; WeCom gives events no id."""
    for userid in ("ahing", "calvin", "ahing"):
        fields = event_fields("sys", "change_contact", ChangeType="delete_user", UserID=userid)
        key = messages.key("contacts", fields)
        with front.store.begin() as tx:
            tx.inbox.add(key, "sys", "MemberLeft", fields)
    assert [row.fields["UserID"] for row in front.rows()] == ["ahing", "calvin"]


def test_a_redelivery_is_one_row_also_at_the_same_moment(front: Front) -> None:
    """And with another nonce and stamp, as WeCom makes them anew."""
    plain = xml(text_fields("mei", "whoami"))

    def send(number: int) -> int:
        return front.post(*front.sealed(plain, at=front.clock.now().timestamp() + number))

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(send, range(4))) == {200}
    assert len(front.rows()) == 1
    assert len(front.started) == 1


def test_it_is_stored_though_it_cannot_be_started(store: Store, clock: HandClock) -> None:
    """WeCom is told that we have it: the tick starts it later."""

    def refuse(_: Start) -> None:
        raise RuntimeError("no workflows are running")

    front = Front(store, clock, start=refuse)
    assert front.post(*front.sealed(xml(text_fields("mei", "whoami")))) == 200
    assert len(front.rows()) == 1


@pytest.mark.parametrize("spelling", ["OptionIds", "OpitonIds"])
@pytest.mark.parametrize("count", [1, 2])
def test_both_spellings_and_any_number_of_options(spelling: str, count: int) -> None:
    """The official page once said OpitonIds."""
    item = {"QuestionKey": "choice", spelling: {spelling[:-1]: ["a", "b"][:count] if count > 1 else "a"}}
    items = item if count == 1 else [item, item | {"QuestionKey": "other"}]
    fields = event_fields(
        "Mei", "template_card_event", EventKey="k", TaskId="t", ResponseCode="c", SelectedItems={"SelectedItem": items}
    )
    click = messages.parse(fields)
    assert isinstance(click, messages.CardClick)
    assert click.sender == "mei"
    names = ["choice", "other"][:count]
    assert click.selected == dict.fromkeys(names, ("a", "b")[:count])
    assert "code=" not in repr(click)  # it must not reach a log


def test_kinds_nobody_handles_are_counted(front: Front) -> None:
    """Accepted, no row, no workflow."""
    for kind in ("image", "image", "voice"):
        assert front.post(*front.sealed(xml(text_fields("mei", "a") | {"MsgType": kind}))) == 200
    assert front.post(*front.sealed(xml(event_fields("mei", "no_such_event")))) == 200
    with front.store.begin() as tx:
        assert tx.inbox.counts() == {"app.image": 2, "app.voice": 1, "app.no_such_event": 1}
    assert front.rows() == []


def test_entering_again_ends_in_the_callback(front: Front) -> None:
    """No row and no workflow for it."""
    entered = event_fields("mei", "enter_agent")
    assert front.post(*front.sealed(xml(entered))) == 200
    assert len(front.rows()) == 1
    with front.store.begin() as tx:
        tx.members.saw("mei").greeted_at = tx.now
    front.clock.advance(days=7)
    assert front.post(*front.sealed(xml(entered | {"CreateTime": "1764082800"}))) == 200
    assert len(front.rows()) == 1


def test_the_consoles_check_gets_the_plain_text_alone(front: Front) -> None:
    """200, text, nothing around it."""
    query, body = front.sealed("7842567291038")
    query["echostr"] = xmltodict.parse(body)["xml"]["Encrypt"]
    answer = front.request("GET", query)
    assert (answer.status_code, answer.text) == (200, "7842567291038")
    assert answer.headers["content-type"].startswith("text/plain")
    assert front.request("GET", query | {"msg_signature": "0" * 40}).status_code == 403
    assert front.request("GET", {}).status_code == 400


# --- what strangers send


def test_an_unconfigured_callback_refuses_everything(front: Front) -> None:
    """403, also with what would be right elsewhere."""
    query, body = front.sealed(xml(text_fields("mei", "whoami")))
    assert front.post(query, body, path="/wecom/contacts-callback") == 403
    assert front.request("GET", query, path="/wecom/contacts-callback").status_code == 403
    assert front.rows() == []


def test_what_is_not_authentic_is_refused(front: Front) -> None:
    """Signature, key, receiver and time."""
    plain = xml(text_fields("mei", "whoami"))
    query, body = front.sealed(plain)
    now = front.clock.now().timestamp()
    assert front.post(query | {"msg_signature": "0" * 40}, body) == 403
    assert front.post(query | {"nonce": "another"}, body) == 403
    assert front.post(*front.sealed(plain, token="other")) == 403
    assert front.post(*front.sealed(plain, corp="wwother")) == 403
    assert front.post(*front.sealed(plain, key="A" * 43)) in (400, 403)
    for far in (-601, 601):
        assert front.post(*front.sealed(plain, at=now + far)) == 403
    front.clock.advance(seconds=601)
    assert front.post(query, body) == 403  # an old one, played again
    assert front.rows() == []
    front.clock.advance(seconds=-601)
    assert front.post(query, body) == 200


def test_long_bodies_are_refused_before_they_are_read(front: Front) -> None:
    """By what they declare; what comes without a length is counted as it comes."""
    query, _ = front.sealed("a")
    assert front.post(query, b"a" * (ENVELOPE_BYTES + 1)) == 413
    assert front.rows() == []


def signed(body: str, stamp: float) -> dict[str, str]:
    """The query that makes any `Encrypt` authentic, as if the token had leaked."""
    timestamp = str(int(stamp))
    signature = hashlib.sha1("".join(sorted([TOKEN, timestamp, "n", body])).encode()).hexdigest()  # noqa: S324 -- WeCom's
    return {"msg_signature": signature, "timestamp": timestamp, "nonce": "n"}


REFUSALS = (400, 403, 413)


@given(
    body=st.binary(max_size=400),
    query=st.dictionaries(st.sampled_from(["msg_signature", "timestamp", "nonce"]), st.text(max_size=20)),
)
def test_random_bodies(one_front: Front, body: bytes, query: dict[str, str]) -> None:
    """Never 500, nothing stored."""
    assert one_front.post(query, body) in REFUSALS
    assert one_front.rows() == []


@given(
    encrypted=st.one_of(
        st.text(alphabet="ABCab01+/= \n", max_size=200),
        st.binary(max_size=200).map(lambda raw: base64.b64encode(raw).decode()),
    )
)
def test_random_ciphertexts_with_a_right_signature(one_front: Front, encrypted: str) -> None:
    """Bad base64, bad padding, a length that lies: the decryption copes."""
    query = signed(encrypted, one_front.clock.now().timestamp())
    assert one_front.post(query, f"<xml><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>".encode()) in REFUSALS
    assert one_front.rows() == []


@given(
    plain=st.one_of(
        st.text(max_size=300), st.sampled_from(["<xml/>", "<xml></xml>", "<a><b/></a>", "<xml><MsgType/></xml>"])
    )
)
def test_random_plain_texts_rightly_sealed(one_front: Front, plain: str) -> None:
    """What only somebody with our key can send: an answer, whatever it is, and no failure."""
    try:
        query, body = one_front.sealed(plain)
    except UnicodeEncodeError:
        return
    assert one_front.post(query, body) in (200, *REFUSALS)
    assert one_front.rows() == []


NESTED = st.recursive(
    st.one_of(st.none(), st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12)),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)
NAMES = (
    "MsgType", "Event", "FromUserName", "EventKey", "TaskId", "ResponseCode", "SelectedItems", "SelectedItem",
    "OptionIds", "ChangeType", "UserID", "Id", "Amount", "BatchJob", "MsgId", "Content", "TagId",
)  # fmt: skip


@given(
    fields=st.dictionaries(st.sampled_from(NAMES), NESTED, max_size=8),
    kind=st.sampled_from(["text", "event", "file", "", None]),
    event=st.sampled_from(
        [
            "click",
            "change_contact",
            "template_card_event",
            "batch_job_result",
            "public_email_change",
            "enter_agent",
            None,
        ]
    ),
)
def test_any_fields_are_parsed_and_keyed(fields: dict[str, Any], kind: str | None, event: str | None) -> None:
    """Whatever is odd becomes some message, never an error; its key is stable."""
    made = fields | {"MsgType": kind, "Event": event}
    message = messages.parse(made)
    assert message.sender == message.sender.casefold()
    assert messages.key("app", made) == messages.key("app", json.loads(json.dumps(made)))
    assert messages.key("app", made) != messages.key("contacts", made)


@pytest.mark.parametrize(
    "bomb",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><xml><Encrypt>&b;</Encrypt></xml>',
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><xml><Encrypt>&a;</Encrypt></xml>',
        "<xml>" + "<a>" * 5000 + "</a>" * 5000 + "</xml>",
        "<xml>" + "<a/>" * 12000 + "</xml>",
        "<xml><Encrypt>a</Encrypt><Encrypt>b</Encrypt></xml>",
        "<xml" + " a='1'" * 3000 + "/>",
    ],
    ids=["entities", "file", "deep", "wide", "twice", "attributes"],
)
def test_bombs_are_refused_cheaply(one_front: Front, bomb: str) -> None:
    """As the envelope and, rightly sealed, as the message within."""
    query, _ = one_front.sealed("a")
    begun = time.process_time()
    assert one_front.post(query, bomb.encode()) in REFUSALS
    inner = one_front.post(*one_front.sealed(bomb))
    assert inner in (200, *REFUSALS)
    assert time.process_time() - begun < 5
    assert one_front.rows() == []


def test_a_length_that_lies_inside_the_ciphertext(one_front: Front) -> None:
    """The four bytes that say how long the message is."""
    cipher = PrpCrypto(base64.b64decode(KEY + "=")).cipher
    for length in (0, 5, 2**31, 2**32 - 1):
        plain = b"r" * 16 + struct.pack(">I", length) + b"<xml/>" + CORP.encode()
        pad = 32 - len(plain) % 32
        encrypted = base64.b64encode(cipher.encrypt(plain + bytes([pad]) * pad)).decode()
        query = signed(encrypted, one_front.clock.now().timestamp())
        assert one_front.post(query, f"<xml><Encrypt>{encrypted}</Encrypt></xml>".encode()) in REFUSALS
    assert one_front.rows() == []


# --- what is remembered for `doctor`


def noted(front: Front) -> dict[str, datetime]:
    """The moments of the app's callback."""
    with front.store.begin() as tx:
        kinds = ("verified", "event", "probe", *messages.CALLBACK_REFUSED)
        found = {kind: tx.moments.last(messages.callback_moment("app", kind)) for kind in kinds}
    return {kind: at for kind, at in found.items() if at is not None}


def echo(front: Front, text: str) -> httpx.Response:
    """The console's check of the URL."""
    query, body = front.sealed(text)
    return front.request("GET", {**query, "echostr": xmltodict.parse(body)["xml"]["Encrypt"]})


def test_when_wecom_came_is_remembered_and_a_probe_is_none(front: Front) -> None:
    """The check of the URL and events, at most once a minute each; doctor's own envelopes are told apart."""
    assert echo(front, f"{messages.PROBE}-1").text == f"{messages.PROBE}-1"
    assert front.post(*front.sealed(xml(event_fields("sys", messages.PROBE)))) == 200
    probed = noted(front)
    assert probed.keys() == {"probe"}
    assert front.rows() == []
    with front.store.begin() as tx:
        assert tx.inbox.counts() == {}
    first = front.clock.now()
    for _ in range(2):
        assert echo(front, "1234").text == "1234"
        assert front.post(*front.sealed(xml(text_fields("mei", "help")))) == 200
        front.clock.advance(seconds=40)
    assert noted(front) == {**probed, "verified": first, "event": first}
    assert echo(front, "1234").text == "1234"
    assert noted(front)["verified"] == first + timedelta(seconds=80)


def test_why_a_callback_was_refused_is_remembered(front: Front) -> None:
    """Another token, key, corp or time; what is no callback at all says nothing of the settings."""
    plain = xml(text_fields("mei", "help"))
    assert front.post({}, b"rubbish") == 400
    assert noted(front) == {}
    front.post(*front.sealed(plain, token="another"))
    assert noted(front).keys() == {"token"}
    front.post(*front.sealed(plain, corp="wwother"))
    front.post(*front.sealed(plain, at=0))
    assert noted(front).keys() == {"token", "corp", "clock"}
    for _ in range(20):  # now and then another key makes padding that might be one
        front.post(*front.sealed(plain, key="A" * 43))
    assert noted(front).keys() == {"token", "corp", "clock", "key"}
