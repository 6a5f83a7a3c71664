"""
The gate of `/cgi-bin`: tokens, troubles, limits and JSON, and the table of the calls behind it.

A call is a function of `Call` that gives the answer's fields or raises `Refused`; WeCom answers a business error with
HTTP 200 and an errcode. Errcodes are those of doc 90313.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import deque
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from bot.sandbox.organisation import Organisation
from bot.sandbox.people import Member

SEEN_IP = "203.0.113.9"
TOKEN_SECONDS = 7200
PER_MINUTE, PER_HOUR = 10_000, 150_000
Caller = Literal["app", "contacts"]
ESCAPED = re.compile(rb"(?<!\\)(?:\\\\)*\\u[0-9a-fA-F]{4}")


class Refused(Exception):
    """WeCom says no."""

    def __init__(self, errcode: int, errmsg: str) -> None:
        super().__init__(f"{errcode} {errmsg}")
        self.errcode = errcode
        self.errmsg = errmsg

    def answer(self) -> dict[str, Any]:
        """The error as WeCom words it; the tail of errmsg changes with every answer, so that nobody parses it."""
        tail = f"hint: [{secrets.token_hex(8)}], from ip: {SEEN_IP}"
        more = f"more info at https://open.work.weixin.qq.com/devtool/query?e={self.errcode}"
        return {"errcode": self.errcode, "errmsg": f"{self.errmsg}, {tail}, {more}"}


@dataclass
class Upload:
    """The file part of a multipart body."""

    name: str
    content_type: str
    content: bytes


@dataclass
class Call:
    """One request that passed the gate."""

    org: Organisation
    path: str
    query: Mapping[str, str]
    caller: Caller
    body: dict[str, Any] = field(default_factory=dict)
    upload: Upload | None = None

    @property
    def now(self) -> datetime:
        return self.org.now()

    def text(self, name: str, *, missing: int = 40058, bytes_max: int | None = None) -> str:
        """A non-empty string of the body; `missing` is the errcode when it is not one, 40058 when it is too long."""
        value = self.body.get(name)
        if not isinstance(value, str) or not value:
            raise Refused(missing, f"missing or invalid {name}")
        if bytes_max is not None and len(value.encode()) > bytes_max:
            raise Refused(40058, f"{name} exceed max length {bytes_max}")
        return value

    def asked(self, name: str, missing: int = 40058) -> str:
        """A non-empty query parameter."""
        value = self.query.get(name, "")
        if not value:
            raise Refused(missing, f"missing {name}")
        return value

    def number(self, name: str, *, default: int | None = None, missing: int = 40058) -> int:
        """A whole number of the body."""
        value = self.body.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise Refused(missing, f"missing or invalid {name}")
        return value

    def asked_number(self, name: str, *, default: int | None = None, missing: int = 40058) -> int:
        """A whole number of the query."""
        value = self.query.get(name)
        if value is None and default is not None:
            return default
        if value is None or not re.fullmatch(r"[0-9]{1,10}", value):
            raise Refused(missing, f"missing or invalid {name}")
        return int(value)

    def seen(self, member: Member) -> bool:
        """Whether this token may know the member: contacts sync knows everybody, the app its visible range."""
        return self.caller == "contacts" or self.org.can_see(member)

    def member(self, userid: str, *, unknown: int = 60111, unseen: int = 60011) -> Member:
        """An existing member in sight."""
        member = self.org.member(userid)
        if member is None:
            raise Refused(unknown, "userid not found")
        if not self.seen(member):
            raise Refused(unseen, "no privilege to access/modify contact/party/agent")
        return member


Handler = Callable[[Call], dict[str, Any]]


@dataclass(frozen=True)
class Endpoint:
    """A call: its method, the secrets whose tokens may make it, and what another secret is answered."""

    method: str
    callers: tuple[Caller, ...]
    handler: Handler
    otherwise: int


ENDPOINTS: dict[str, Endpoint] = {}


def endpoint(method: str, path: str, *allowed: Caller, otherwise: int = 48002) -> Callable[[Handler], Handler]:
    """Register a call; with no secret named, only the app's token may make it."""

    def register(handler: Handler) -> Handler:
        ENDPOINTS[path] = Endpoint(method, allowed or ("app",), handler, otherwise)
        return handler

    return register


class Gate:
    """Answers every request to `/cgi-bin`."""

    def __init__(self, org: Organisation) -> None:
        self.org = org
        self._calls: dict[str, deque[datetime]] = {}

    def answer(
        self, method: str, path: str, query: Mapping[str, str], raw: bytes, upload: Upload | None = None
    ) -> dict[str, Any] | None:
        """The JSON to answer, errcode included; None for a path that does not exist."""
        if path == "gettoken":
            return self._tried(lambda: self._token(method, query))
        found = ENDPOINTS.get(path)
        if found is None:
            return None
        return self._tried(lambda: self._call(found, method, path, query, raw, upload))

    @staticmethod
    def _tried(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return {"errcode": 0, "errmsg": "ok", **work()}
        except Refused as refused:
            return refused.answer()

    def _token(self, method: str, query: Mapping[str, str]) -> dict[str, Any]:
        org = self.org
        self._troubles("gettoken")
        if method != "GET":
            raise Refused(40058, "require GET method")
        if not query.get("corpid"):
            raise Refused(41002, "corpid missing")
        if not query.get("corpsecret"):
            raise Refused(41004, "corpsecret missing")
        if query["corpid"] != org.corp_id:
            raise Refused(40013, "invalid corpid")
        wanted = query["corpsecret"]
        caller: Caller
        if wanted == org.app_secret:
            caller = "app"
        elif wanted == org.contacts_secret:
            caller = "contacts"
        elif len(wanted) == len(org.app_secret):
            raise Refused(40091, "secret is invalid")
        else:
            raise Refused(40001, "invalid credential")
        if caller == "app" and org.troubles.strikes("secret_reset"):
            raise Refused(40001, "invalid credential")
        if caller == "app" and org.troubles.is_on("app_disabled"):
            raise Refused(50003, "app disabled")
        for token, (owner, expires_at) in org.tokens.items():  # the same token again while it is valid
            if owner == caller and expires_at > org.now() and token not in org.expired_tokens:
                left = int((expires_at - org.now()).total_seconds())
                return {"access_token": token, "expires_in": left}
        token = secrets.token_urlsafe(160)
        org.tokens[token] = (caller, org.now() + timedelta(seconds=TOKEN_SECONDS))
        return {"access_token": token, "expires_in": TOKEN_SECONDS}

    def _call(
        self, found: Endpoint, method: str, path: str, query: Mapping[str, str], raw: bytes, upload: Upload | None
    ) -> dict[str, Any]:
        org = self.org
        self._troubles(path)
        caller = self._caller(query)
        if org.troubles.strikes("ip_not_trusted", path):
            raise Refused(60020, "not allow to access from your ip")
        self._count(path)
        if caller not in found.callers:
            raise Refused(found.otherwise, "api forbidden")
        if path.startswith("exmail/") and org.troubles.strikes("mail_not_allowed", path):
            raise Refused(48002, "api forbidden")
        if method != found.method:
            raise Refused(40058, f"require {found.method} method")
        body = parsed(raw) if method == "POST" and upload is None and path != "media/upload" else {}
        org.expire()
        return found.handler(Call(org, path, query, caller, body, upload))

    def _troubles(self, path: str) -> None:
        for name, errcode, errmsg in (
            ("busy", -1, "system busy"),
            ("rate_limited", 45009, "api freq out of limit"),
            ("too_concurrent", 45033, "api concurrent out of limit"),
        ):
            if self.org.troubles.strikes(name, path):
                raise Refused(errcode, errmsg)

    def _caller(self, query: Mapping[str, str]) -> Caller:
        org = self.org
        token = query.get("access_token", "")
        if not token:
            raise Refused(41001, "access_token missing")
        if token not in org.tokens or org.troubles.strikes("tokens_refused"):
            raise Refused(40014, "invalid access_token")
        owner, expires_at = org.tokens[token]
        if expires_at <= org.now() or token in org.expired_tokens:
            raise Refused(42001, "access_token expired")
        if owner == "app":
            if org.troubles.is_on("secret_reset"):
                raise Refused(40014, "invalid access_token")
            if org.troubles.is_on("app_disabled"):
                raise Refused(50003, "app disabled")
            return "app"
        return "contacts"

    def _count(self, path: str) -> None:
        """10,000 calls a minute and 150,000 an hour for each call (doc 90454)."""
        now = self.org.now()
        times = self._calls.setdefault(path, deque())
        while times and times[0] <= now - timedelta(hours=1):
            times.popleft()
        recent = len(times) >= PER_MINUTE and times[-PER_MINUTE] > now - timedelta(minutes=1)
        if len(times) >= PER_HOUR or recent:
            raise Refused(45009, "api freq out of limit")
        times.append(now)


def parsed(raw: bytes) -> dict[str, Any]:
    """The JSON object of a body; empty for an empty one. 40033 for `\\uXXXX`, 40058 for what is no object."""
    if not raw.strip():
        return {}
    if ESCAPED.search(raw):
        raise Refused(40033, "invalid charset, not utf8")
    try:
        body = json.loads(raw.decode())
    except ValueError:
        raise Refused(40058, "invalid json") from None
    if not isinstance(body, dict):
        raise Refused(40058, "invalid json, not an object")
    return body


def listed(value: Any, name: str) -> list[Any]:
    """The list of a wrapped field, `{"list": [...]}`; an empty object is an empty list; anything else is refused."""
    if not isinstance(value, dict) or not isinstance(value.get("list", []), list):
        raise Refused(680000, f"{name} must be an object with a list")
    return list(value.get("list", []))


def known(ids: Any, among: Container[int]) -> bool:
    """Whether `ids` is a list of whole numbers that are all in `among`."""
    return isinstance(ids, list) and all(type(each) is int and each in among for each in ids)


def page(items: list[Any], cursor: str, limit: int) -> tuple[list[Any], str]:
    """A slice of `items` and the cursor of the next one, empty at the end. 50100 for a cursor we did not give."""
    if cursor and not re.fullmatch(r"c[0-9]{1,9}", cursor):
        raise Refused(50100, "invalid cursor")
    start = int(cursor[1:]) if cursor else 0
    end = start + limit
    return items[start:end], f"c{end}" if end < len(items) else ""
