"""
Callbacks out: sealed by wechatpy's own crypto, sent as WeCom sends them.

WeCom hangs up after five seconds and tries three more times; anything but HTTP 200 counts as a failure. What one
member does goes out in order, one at a time.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import xmltodict
from wechatpy.work.crypto import WeChatCrypto

from bot.sandbox.organisation import Organisation

Deliver = Callable[[str, dict[str, str], bytes], Awaitable[int]]
Channel = Literal["app", "contacts"]
TIMEOUT_SECONDS = 5.0
VERIFY_SECONDS = 1.0
RETRY_DELAYS = (0.2, 0.5, 1.0)
PATHS: dict[Channel, str] = {"app": "/wecom/callback", "contacts": "/wecom/contacts-callback"}
HEAD_BYTES_MAX = 1 << 16


@dataclass(frozen=True)
class Outcome:
    """What became of a callback."""

    acknowledged: bool
    attempts: int

    def shown(self) -> dict[str, object]:
        """As the control API answers it."""
        return {"acknowledged": self.acknowledged, "attempts": self.attempts}


def cdata(text: str) -> str:
    """A text as XML; a CDATA section cannot hold its own end."""
    return "<![CDATA[" + text.replace("]]>", "]]]]><![CDATA[>") + "]]>"


def to_xml(fields: Mapping[str, Any], root: str = "xml") -> str:
    """Fields as WeCom writes them: numbers plain, texts in CDATA, a list repeats its element."""
    parts = [f"<{root}>"]
    for name, value in fields.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Mapping):
                parts.append(to_xml(each, name))
            else:
                inner = str(each) if isinstance(each, int) else cdata(str(each))
                parts.append(f"<{name}>{inner}</{name}>")
    parts.append(f"</{root}>")
    return "".join(parts)


class Callbacks:
    """Seals and delivers; every attempt is on the wire log in both forms."""

    def __init__(
        self,
        org: Organisation,
        deliver: Deliver | None = None,
        *,
        retry_delays: Sequence[float] = RETRY_DELAYS,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self.org = org
        self.deliver = deliver or HttpDelivery(org)
        self.retry_delays = tuple(retry_delays)
        self.timeout_seconds = timeout_seconds
        self._locks: dict[str, asyncio.Lock] = {}

    async def from_member(self, userid: str, kind: str, **fields: Any) -> Outcome:
        """What a member did in the app's chat: `kind` is the MsgType, or `event:<Event>`."""
        return await self._queue("app", userid, self._message(userid, kind, fields, agent=True))

    async def from_system(self, channel: Channel, event: str, **fields: Any) -> Outcome:
        """An event nobody in particular caused (FromUserName is sys); without AgentID."""
        return await self._queue(channel, "sys", self._message("sys", f"event:{event}", fields, agent=False))

    def _message(self, sender: str, kind: str, fields: dict[str, Any], *, agent: bool) -> dict[str, Any]:
        kind, _, event = kind.partition(":")
        message: dict[str, Any] = {
            "ToUserName": self.org.corp_id,
            "FromUserName": sender,
            "CreateTime": self.org.epoch(),
            "MsgType": kind,
        }
        if event:
            message["Event"] = event
        message |= fields
        if kind != "event":
            message["MsgId"] = secrets.randbelow(9 * 10**18) + 10**18
        if agent:
            message["AgentID"] = self.org.agent_id
        return message

    async def _queue(self, channel: Channel, sender: str, message: dict[str, Any]) -> Outcome:
        lock = self._locks.setdefault(f"{channel} {sender.lower()}", asyncio.Lock())
        async with lock:  # waiters get it in the order they came
            if self.org.troubles.strikes("callback_lost"):
                self.org.record("callback", channel=channel, plain=to_xml(message), lost=True)
                return Outcome(False, 0)
            outcome = await self._send(channel, message)
            if self.org.troubles.strikes("callback_twice"):
                again = await self._send(channel, message)
                outcome = Outcome(outcome.acknowledged or again.acknowledged, outcome.attempts + again.attempts)
            return outcome

    async def _send(self, channel: Channel, message: dict[str, Any]) -> Outcome:
        attempts = 0
        forgotten = self.org.troubles.strikes("acknowledgement_lost")
        for delay in (0.0, *self.retry_delays):
            if delay:
                await asyncio.sleep(delay)
            attempts += 1
            query, body = self.sealed(channel, to_xml(message))
            entry = self.org.record(
                "callback", channel=channel, attempt=attempts, plain=to_xml(message), query=query, sealed=body.decode()
            )
            entry["status"] = await self._attempt(PATHS[channel], query, body)
            self.org.changed()
            if entry["status"] == 200 and not (forgotten and attempts == 1):
                return Outcome(True, attempts)
        return Outcome(False, attempts)

    async def _attempt(self, path: str, query: dict[str, str], body: bytes) -> int | str:
        try:
            return await asyncio.wait_for(self.deliver(path, query, body), self.timeout_seconds)
        except TimeoutError:
            return "no answer in time"
        except (OSError, ValueError, EOFError) as error:
            return type(error).__name__

    async def verify(self, channel: Channel) -> str | None:
        """
        Check a callback URL as the console does when it is saved (doc 90930): None when it is right, else why not.

        GET with a sealed echostr; the answer must be 200 and the plain text alone, within a second.
        """
        wanted = str(secrets.randbelow(9 * 10**18) + 10**18)
        query, body = self.sealed(channel, wanted)
        query["echostr"] = xmltodict.parse(body)["xml"]["Encrypt"]
        check = HttpDelivery(self.org).request("GET", PATHS[channel], query, b"")
        try:
            status, answer = await asyncio.wait_for(check, VERIFY_SECONDS)
        except TimeoutError:
            return "no answer within a second"
        except (OSError, ValueError, EOFError) as error:
            return type(error).__name__
        return None if (status, answer) == (200, wanted.encode()) else f"HTTP {status}, not the plain text alone"

    def crypto(self, channel: Channel) -> WeChatCrypto:
        """The token and key of a channel."""
        org = self.org
        if channel == "contacts":
            return WeChatCrypto(org.contacts_callback_token, org.contacts_callback_aes_key, org.corp_id)
        return WeChatCrypto(org.callback_token, org.callback_aes_key, org.corp_id)

    def sealed(self, channel: Channel, plain: str) -> tuple[dict[str, str], bytes]:
        """The query and body of a POST: signed and stamped by the sandbox clock."""
        timestamp, nonce = str(self.org.epoch()), str(secrets.randbelow(10**10))
        reply = xmltodict.parse(self.crypto(channel).encrypt_message(plain, nonce, timestamp))["xml"]
        query = {"msg_signature": reply["MsgSignature"], "timestamp": timestamp, "nonce": nonce}
        envelope: dict[str, Any] = {"ToUserName": self.org.corp_id}
        if channel == "app":
            envelope["AgentID"] = str(self.org.agent_id)
        return query, to_xml({**envelope, "Encrypt": reply["Encrypt"]}).encode()


class HttpDelivery:
    """Requests over a fresh connection to the bot's URL: POST for callbacks, GET to check the URL."""

    def __init__(self, org: Organisation) -> None:
        self.org = org

    async def __call__(self, path: str, query: dict[str, str], body: bytes) -> int:
        """The HTTP status; raises OSError, ValueError or EOFError when there is no proper answer."""
        return (await self.request("POST", path, query, body))[0]

    async def request(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Status and body, the body as it came over the wire (HTTP/1.0: nothing chunked)."""
        url = urlsplit(self.org.bot_url)
        port = url.port or (443 if url.scheme == "https" else 80)
        reader, writer = await asyncio.open_connection(
            url.hostname, port, ssl=url.scheme == "https" or None, limit=HEAD_BYTES_MAX
        )
        try:
            head = (
                f"{method} {url.path.rstrip('/')}{path}?{urlencode(query)} HTTP/1.0\r\nHost: {url.netloc}\r\n"
                f"Content-Type: text/xml\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + body)
            await writer.drain()
            line = await reader.readuntil(b"\r\n")
            version, status = line.split(b" ", 2)[:2]
            if not version.startswith(b"HTTP/1."):
                raise ValueError("not HTTP")
            await reader.readuntil(b"\r\n\r\n")
            return int(status), b"" if method == "POST" else await reader.read(HEAD_BYTES_MAX)
        finally:
            writer.close()
