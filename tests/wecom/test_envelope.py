"""What is not WeCom's never gets in, and never as anything but BadEnvelope."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import xmltodict
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st
from wechatpy.work.crypto import WeChatCrypto

from bot.errors import BadEnvelope
from bot.wecom.envelope import Envelope
from bot.wecom.limits import ENVELOPE_BYTES

from .conftest import FIXTURES

VECTORS = json.loads((FIXTURES / "crypto" / "vectors.json").read_text("utf-8"))
TOKEN, AES_KEY, CORP_ID = VECTORS["token"], VECTORS["encoding_aes_key"], VECTORS["corp_id"]
KEY = base64.b64decode(AES_KEY + "=")
STAMP = 1409659813
NOW = datetime.fromtimestamp(STAMP, UTC)
ENVELOPE = Envelope(TOKEN, AES_KEY, CORP_ID)


def sign(encrypted: str, stamp: str = str(STAMP), nonce: str = "1372623149") -> dict[str, str]:
    joined = "".join(sorted([TOKEN, stamp, nonce, encrypted]))
    return {"msg_signature": hashlib.sha1(joined.encode()).hexdigest(), "timestamp": stamp, "nonce": nonce}  # noqa: S324 (WeCom's)


def encrypt(plain: bytes) -> str:
    """AES only: prefix, length, id and padding are the caller's, right or wrong."""
    encryptor = Cipher(algorithms.AES(KEY), modes.CBC(KEY[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain) + encryptor.finalize()).decode()


def plain(message: bytes, receive_id: str = CORP_ID) -> bytes:
    content = b"0123456789abcdef" + struct.pack(">I", len(message)) + message + receive_id.encode()
    padding = 32 - len(content) % 32
    return content + bytes([padding]) * padding


def seal(message: str) -> tuple[dict[str, str], bytes]:
    encrypted = encrypt(plain(message.encode()))
    return sign(encrypted), f"<xml><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>".encode()


def refused(query: Any, body: bytes, now: datetime = NOW) -> int:
    with pytest.raises(BadEnvelope) as caught:
        ENVELOPE.open(query, body, now)
    return caught.value.status


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_vectors(case: dict[str, Any]) -> None:
    """The published scheme, as an independent implementation sealed it."""

    def opened() -> Any:
        if "echostr" in case["query"]:
            return ENVELOPE.echo(case["query"], NOW)
        return ENVELOPE.open(case["query"], case["post_body"].encode(), NOW)

    if case["expect"] == "ok":
        expected = case["plaintext"]
        assert opened() == (expected if "echostr" in case["query"] else xmltodict.parse(expected)["xml"])
    else:
        with pytest.raises(BadEnvelope) as caught:
            opened()
        assert caught.value.status == 403


@pytest.mark.parametrize("file", sorted((FIXTURES / "callback").glob("[em]*.xml")), ids=lambda file: file.stem)
def test_every_known_callback_opens(file: Path) -> None:
    """Sealed by wechatpy, opened by us, field for field."""
    text = file.read_text("utf-8")
    envelope = WeChatCrypto(TOKEN, AES_KEY, CORP_ID).encrypt_message(text, "1372623149", str(STAMP))
    sealed = xmltodict.parse(envelope)["xml"]
    query = {"msg_signature": sealed["MsgSignature"], "timestamp": sealed["TimeStamp"], "nonce": sealed["Nonce"]}
    assert ENVELOPE.open(query, envelope.encode(), NOW) == xmltodict.parse(text)["xml"]


@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=200))
def test_round_trip(content: str) -> None:
    """What a member typed arrives, minus what XML cannot hold and the space around it."""
    query, body = seal(f"<xml><Content><![CDATA[{content.replace(']]>', '')}]]></Content><A>1</A></xml>")
    opened = ENVELOPE.open(query, body, NOW)
    kept = "".join(each for each in content.replace("]]>", "") if each >= " " or each in "\t\n\r")
    kept = kept.replace("\ufffe", "").replace("\uffff", "").replace("\r\n", "\n").replace("\r", "\n")
    assert opened == {"Content": kept.strip() or None, "A": "1"}


def test_a_pasted_control_character_does_not_lose_the_message() -> None:
    """Word processors paste vertical tabs, which XML forbids."""
    query, body = seal("<xml><Content><![CDATA[backup\x0b ahing]]></Content><A>1</A></xml>")
    assert ENVELOPE.open(query, body, NOW)["Content"] == "backup ahing"


def test_repeated_and_nested_elements() -> None:
    """One option is a value, two are a list: the reader of the fields must take both."""
    query, body = seal("<xml><S><I><K>a</K></I><I><K>b</K></I></S><E></E></xml>")
    assert ENVELOPE.open(query, body, NOW) == {"S": {"I": [{"K": "a"}, {"K": "b"}]}, "E": None}


@given(st.binary(max_size=300))
def test_any_body_is_a_bad_envelope(body: bytes) -> None:
    """Nothing but BadEnvelope leaves `open`, whatever comes in."""
    assert refused(sign("AAAA"), body) in (400, 403)


@given(
    st.dictionaries(
        st.sampled_from(["msg_signature", "timestamp", "nonce", "echostr", "x"]),
        st.one_of(st.text(max_size=50), st.just(str(STAMP))),
    )
)
def test_any_query_is_a_bad_envelope(query: dict[str, str]) -> None:
    _, body = seal("<xml><A>1</A></xml>")
    assert refused(query, body) in (400, 403)
    with pytest.raises(BadEnvelope):
        ENVELOPE.echo(query, NOW)


@given(st.binary(max_size=200))
def test_any_signed_ciphertext_is_a_bad_envelope(noise: bytes) -> None:
    """Also from somebody who knows the token but not the key."""
    encrypted = base64.b64encode(noise).decode()
    assert refused(sign(encrypted), f"<xml><Encrypt>{encrypted}</Encrypt></xml>".encode()) in (400, 403)


@given(st.binary(max_size=200))
def test_any_plaintext_is_a_bad_envelope(noise: bytes) -> None:
    """Also from somebody who knows the key."""
    encrypted = encrypt(noise + bytes(-len(noise) % 16))
    assert refused(sign(encrypted), f"<xml><Encrypt>{encrypted}</Encrypt></xml>".encode()) in (400, 403)


@given(st.text(st.sampled_from("<>/xml?![]&;a邮 \x00\x0b"), max_size=60))
def test_any_message_inside_is_a_bad_envelope(message: str) -> None:
    query, body = seal(message)
    try:
        opened = ENVELOPE.open(query, body, NOW)
    except BadEnvelope as refusal:
        opened = {"status": refusal.status}
    assert opened["status"] == 400


@given(st.data())
def test_one_changed_byte_is_refused(data: st.DataObject) -> None:
    """Of what is signed, every character counts."""
    query, body = seal("<xml><A>1</A></xml>")
    encrypted = body.decode().removeprefix("<xml><Encrypt><![CDATA[").removesuffix("]]></Encrypt></xml>")
    at = data.draw(st.integers(0, len(encrypted) - 1))
    other = data.draw(st.sampled_from("ABCDabcd0123+/").filter(lambda each: each != encrypted[at]))
    changed = encrypted[:at] + other + encrypted[at + 1 :]
    assert refused(query, body.replace(encrypted.encode(), changed.encode())) == 403


BODIES_400 = {
    "empty": b"",
    "not xml": b"hello",
    "not utf-8": b"\xff\xfe",
    "no root xml": b"<x><Encrypt>AAAA</Encrypt></x>",
    "empty xml": b"<xml/>",
    "text in xml": b"<xml>AAAA</xml>",
    "no encrypt": b"<xml><A>1</A></xml>",
    "empty encrypt": b"<xml><Encrypt/></xml>",
    "two encrypts": b"<xml><Encrypt>AAAA</Encrypt><Encrypt>AAAA</Encrypt></xml>",
    "nested encrypt": b"<xml><Encrypt><A>AAAA</A></Encrypt></xml>",
    "chinese encrypt": "<xml><Encrypt>邮箱</Encrypt></xml>".encode(),
    "entity": b'<!DOCTYPE x [<!ENTITY a "b">]><xml><Encrypt>&a;</Encrypt></xml>',
    "doctype": b"<!DOCTYPE x><xml><Encrypt>AAAA</Encrypt></xml>",
    "external": b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><xml><Encrypt>AAAA</Encrypt></xml>',
    "unknown encoding": b'<?xml version="1.0" encoding="nonsense"?><xml',
    "cut off": b"<xml><Encrypt>AAAA</Encr",
    "too deep": b"<xml>" + b"<a>" * 20 + b"</a>" * 20 + b"</xml>",
    "endlessly deep": b"<xml>" + b"<a>" * 20_000,
    "too many": b"<xml>" + b"<a/>" * 3000 + b"</xml>",
}


@pytest.mark.parametrize("body", BODIES_400.values(), ids=BODIES_400.keys())
def test_malformed_bodies(body: bytes) -> None:
    assert refused(sign("AAAA"), body) == 400


@pytest.mark.parametrize(
    "inside",
    ["<a>" * 12 + "</a>" * 12, "<a/>" * 2000],
    ids=["too deep", "too many"],
)
def test_too_many_tags_even_from_wecom(inside: str) -> None:
    """In the envelope and in the message, with everything else right."""
    query, body = seal("<xml><A>1</A></xml>")
    assert refused(query, body.replace(b"</xml>", f"{inside}</xml>".encode())) == 400
    assert refused(*seal(f"<xml><A>1</A>{inside}</xml>")) == 400


def test_no_doctype_even_from_wecom() -> None:
    """With one, XML can name files and entities."""
    query, body = seal("<xml><A>1</A></xml>")
    assert refused(query, b"<!DOCTYPE xml>" + body) == 400
    assert refused(*seal("<!DOCTYPE xml><xml><A>1</A></xml>")) == 400


def test_hostile_bodies_are_cheap() -> None:
    """The worst 64 KiB cost milliseconds, before any signature."""
    worst = [b"<xml>" + b"<a>" * 21_000, b"<xml>" + b"<a/>" * 16_000, b"<xml><Encrypt>" + b"A" * 65_000]
    started = time.process_time()
    for body in worst:
        refused(sign("AAAA"), body[:ENVELOPE_BYTES])
    assert time.process_time() - started < 0.5


def test_too_long() -> None:
    assert refused(sign("AAAA"), b" " * (ENVELOPE_BYTES + 1)) == 413
    with pytest.raises(BadEnvelope) as caught:
        ENVELOPE.echo({**sign("AAAA"), "echostr": "A" * (ENVELOPE_BYTES + 1)}, NOW)
    assert caught.value.status == 413


def test_parameters_once_each() -> None:
    query, body = seal("<xml><A>1</A></xml>")
    assert ENVELOPE.open(list(query.items()), body, NOW) == {"A": "1"}
    for name in query:
        assert refused({key: value for key, value in query.items() if key != name}, body) == 400
        assert refused({**query, name: ""}, body) == 400
        assert refused([*query.items(), (name, query[name])], body) == 400


def test_doubled_parameters_of_a_multi_dict() -> None:
    """Starlette's QueryParams shows the last of two; both are looked at."""

    class Multi(dict[str, str]):
        def multi_items(self) -> list[tuple[str, str]]:
            return [*self.items(), ("nonce", "2")]

    query, body = seal("<xml><A>1</A></xml>")
    assert refused(Multi(query), body) == 400


@pytest.mark.parametrize(("seconds", "status"), [(0, None), (600, None), (-600, None), (601, 403), (-601, 403)])
def test_the_timestamp_window(seconds: int, status: int | None) -> None:
    query, body = seal("<xml><A>1</A></xml>")
    now = NOW + timedelta(seconds=seconds)
    if status is None:
        assert ENVELOPE.open(query, body, now) == {"A": "1"}
    else:
        assert refused(query, body, now) == status


@pytest.mark.parametrize("stamp", ["12a", "-5", "1e9", " 1409659813", "9" * 13, "9" * 5000])
def test_a_timestamp_that_is_no_number(stamp: str) -> None:
    encrypted = encrypt(plain(b"<xml><A>1</A></xml>"))
    assert refused(sign(encrypted, stamp), f"<xml><Encrypt>{encrypted}</Encrypt></xml>".encode()) == 400


def paddings() -> Iterator[tuple[str, bytes]]:
    good = plain(b"<xml><A>1</A></xml>")
    yield "zero", good[:-1] + b"\0"
    yield "over 32", good + bytes([48]) * 48
    yield "not all equal", good[:-2] + bytes([good[-1] ^ 1, good[-1]])
    yield "longer than everything", bytes([32]) * 16
    yield "length beyond the end", b"0123456789abcdef" + struct.pack(">I", 2**32 - 1) + b"x" * 11 + b"\x01"
    yield "no room for a length", bytes(15) + b"\x01"


@pytest.mark.parametrize("case", list(paddings()), ids=lambda case: case[0])
def test_padding_and_length(case: tuple[str, bytes]) -> None:
    """wechatpy checks neither."""
    encrypted = encrypt(case[1])
    assert refused(sign(encrypted), f"<xml><Encrypt>{encrypted}</Encrypt></xml>".encode()) == 400


@pytest.mark.parametrize("receive_id", ["", "wwother", CORP_ID + "x", CORP_ID[:-1], CORP_ID.upper()])
def test_another_receiver(receive_id: str) -> None:
    encrypted = encrypt(plain(b"<xml><A>1</A></xml>", receive_id))
    assert refused(sign(encrypted), f"<xml><Encrypt>{encrypted}</Encrypt></xml>".encode()) == 403


def test_echo_is_the_plain_text() -> None:
    encrypted = encrypt(plain("邮".encode()))
    assert ENVELOPE.echo({**sign(encrypted), "echostr": encrypted}, NOW) == "邮"
    with pytest.raises(BadEnvelope) as caught:
        ENVELOPE.echo({**sign(encrypted), "echostr": encrypted.replace("+", " ") + "A"}, NOW)
    assert caught.value.status == 403


@pytest.mark.parametrize("key", ["", "short", AES_KEY + "A", AES_KEY[:-1], "邮" * 43, "*" * 43])
def test_a_wrong_key_is_said_at_once(key: str) -> None:
    with pytest.raises(ValueError, match="43 characters"):
        Envelope(TOKEN, key, CORP_ID)
