"""
The encrypted envelope of WeCom's callbacks (pages 90930 and 90968): nothing in here does I/O.

The crypto is wechatpy's. Around it stands what wechatpy lacks: a comparison in constant time, a window for the
timestamp, checked padding, limits on size and depth before anything is parsed, and one exception.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeAlias
from xml.parsers import expat

import xmltodict
from wechatpy.utils import WeChatSigner
from wechatpy.work.crypto import PrpCrypto

from bot.errors import BadEnvelope
from bot.wecom.limits import ENVELOPE_BYTES, ENVELOPE_DEPTH, ENVELOPE_ELEMENTS, TIMESTAMP_WINDOW_SECONDS

# Mappings that can hold a name twice (Starlette's QueryParams) are asked for their pairs.
Query: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

SIGNED = ("msg_signature", "timestamp", "nonce")
PADDING_BYTES_MAX = 32  # WeCom pads to blocks of 32, not of AES's 16
AES_BYTES = 16
PREFIX_BYTES = 16 + 4  # random, then the length of the message

WRONG_SIGNATURE = "the signature does not match"
WRONG_TIME = "the timestamp is too far from now"
WRONG_RECEIVER = "meant for another receiver"
WRONG_PADDING = "the padding is wrong"

# A member can paste what XML 1.0 forbids (a vertical tab from a word processor); section 2.2 of the standard.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Envelope:
    """
    Opens callbacks that carry our token, our key and our receiver id.

    ValueError at once when `aes_key` is not the console's EncodingAESKey (43 characters).
    """

    def __init__(self, token: str, aes_key: str, receive_id: str) -> None:
        try:
            key = base64.b64decode(aes_key + "=", validate=True)
        except ValueError:
            key = b""
        if len(key) != 32:
            raise ValueError("EncodingAESKey must be the console's 43 characters")
        self._token = token
        self._crypto = PrpCrypto(key)
        self._receive_id = receive_id

    def open(self, query: Query, body: bytes, now: datetime) -> dict[str, Any]:
        """
        The fields of the message in `body`, without their `<xml>`: text, None when empty, dict or list when nested.

        Raises BadEnvelope: 413 for a long body, 403 when signature, time or receiver are wrong, 400 for the rest.
        """
        if len(body) > ENVELOPE_BYTES:
            raise BadEnvelope(413, f"the body has {len(body)} bytes")
        signed = parameters(query, SIGNED)
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise BadEnvelope(400, "the body is not UTF-8") from None
        encrypted = fields(text).get("Encrypt")
        if not isinstance(encrypted, str) or not encrypted.isascii():
            raise BadEnvelope(400, "no Encrypt in the body")
        message = self._verified(signed, encrypted, now)
        return fields(FORBIDDEN.sub("", message))

    def echo(self, query: Query, now: datetime) -> str:
        """
        What to answer, as plain text and nothing around it, when the console checks the callback URL.

        Raises BadEnvelope as `open` does.
        """
        asked = parameters(query, (*SIGNED, "echostr"))
        if len(asked["echostr"]) > ENVELOPE_BYTES:
            raise BadEnvelope(413, "echostr is too long")
        return self._verified(asked, asked["echostr"], now)

    def seal(self, message: str, nonce: str, now: datetime) -> tuple[dict[str, str], str]:
        """Query and `Encrypt` with which WeCom would send us `message`: what `open` and `echo` take."""
        encrypted: str = self._crypto.encrypt(message, self._receive_id).decode()
        timestamp = str(int(now.timestamp()))
        signer = WeChatSigner()
        signer.add_data(self._token, timestamp, nonce, encrypted)
        return {"msg_signature": signer.signature, "timestamp": timestamp, "nonce": nonce}, encrypted

    def _verified(self, signed: Mapping[str, str], encrypted: str, now: datetime) -> str:
        signer = WeChatSigner()
        signer.add_data(self._token, signed["timestamp"], signed["nonce"], encrypted)
        if not hmac.compare_digest(signer.signature.encode(), signed["msg_signature"].encode()):
            raise BadEnvelope(403, WRONG_SIGNATURE)
        if not signed["timestamp"].isdigit() or len(signed["timestamp"]) > 12:
            raise BadEnvelope(400, "the timestamp is no number")
        if abs(now.timestamp() - int(signed["timestamp"])) > TIMESTAMP_WINDOW_SECONDS:
            raise BadEnvelope(403, WRONG_TIME)
        message, receive_id = unpack(self._decrypted(encrypted))
        if receive_id != self._receive_id.encode():
            raise BadEnvelope(403, WRONG_RECEIVER)
        try:
            return message.decode()
        except UnicodeDecodeError:
            raise BadEnvelope(400, "the message is not UTF-8") from None

    def _decrypted(self, encrypted: str) -> bytes:
        try:
            sealed = base64.b64decode(encrypted, validate=True)
        except binascii.Error:
            raise BadEnvelope(400, "Encrypt is not base64") from None
        if not sealed or len(sealed) % AES_BYTES:
            raise BadEnvelope(400, "Encrypt is not whole blocks")
        opened: bytes = self._crypto.cipher.decrypt(sealed)
        return opened


def parameters(query: Query, names: Iterable[str]) -> dict[str, str]:
    """Each of `names` exactly once, in ASCII, out of a query; BadEnvelope 400 when one lacks or is doubled."""
    pairs: Callable[[], Iterable[tuple[str, str]]] | None = getattr(query, "multi_items", None)
    single = query.items() if isinstance(query, Mapping) else query
    items = list(pairs() if pairs is not None else single)
    found: dict[str, str] = {}
    for name in names:
        values = [value for key, value in items if key == name]
        if len(values) != 1 or not values[0] or not values[0].isascii():
            raise BadEnvelope(400, f"{name} must be there once, in ASCII")
        found[name] = values[0]
    return found


def unpack(plain: bytes) -> tuple[bytes, bytes]:
    """Message and receiver id of decrypted bytes: 16 random, length, message, id, padding. BadEnvelope 400 if not."""
    padding = plain[-1] if plain else 0
    if not 1 <= padding <= PADDING_BYTES_MAX or plain[-padding:] != bytes([padding]) * padding:
        raise BadEnvelope(400, WRONG_PADDING)
    content = plain[:-padding]
    length = int.from_bytes(content[PREFIX_BYTES - 4 : PREFIX_BYTES], "big")
    if len(content) < PREFIX_BYTES + length:
        raise BadEnvelope(400, "the message is shorter than it says")
    return content[PREFIX_BYTES : PREFIX_BYTES + length], content[PREFIX_BYTES + length :]


def fields(text: str) -> dict[str, Any]:
    """The children of the `<xml>` in `text` as xmltodict gives them; BadEnvelope 400 when it is anything else."""
    raw = text.encode("utf-8", "surrogatepass")
    check_shape(raw)
    try:
        parsed = xmltodict.parse(raw, encoding="utf-8", xml_attribs=False)
    except (expat.ExpatError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise BadEnvelope(400, "not XML") from None
    inside = parsed.get("xml")
    if not isinstance(inside, dict):
        raise BadEnvelope(400, "no fields in <xml>")
    return inside


def check_shape(raw: bytes) -> None:
    """Stop at the first tag too deep or too many, at a DOCTYPE and at what is not XML, before a tree is built."""
    depth = elements = 0

    def opened(_name: str, _attributes: Any) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1
        if depth > ENVELOPE_DEPTH or elements > ENVELOPE_ELEMENTS:
            raise BadEnvelope(400, "too many tags")

    def closed(_name: str) -> None:
        nonlocal depth
        depth -= 1

    def doctype(*_declared: Any) -> None:
        raise BadEnvelope(400, "a DOCTYPE")

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler, parser.EndElementHandler = opened, closed
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(raw, True)
    except (expat.ExpatError, ValueError, LookupError):
        raise BadEnvelope(400, "not XML") from None
