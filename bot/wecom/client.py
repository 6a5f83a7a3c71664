"""One call of WeCom's server API: the right secret's token, a refused token renewed once, a busy WeCom asked again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from bot.clock import Clock
from bot.http import Answer, Http
from bot.wecom import tokens
from bot.wecom.errcodes import APP, TOKEN_REFUSED, NoContactsSecret, Retry, Secret, WeComError
from bot.wecom.limits import TRIES_MAX
from bot.wecom.tokens import TokenCache

T = TypeVar("T")

BACKOFF_SECONDS = 0.5  # then twice that; nothing sleeps for longer than seconds


class WeComClient:
    """
    The API of one corp for one app. Threads may share it.

    `app_secret` is the app's own (it has `agent_id`), `contacts_secret` the contacts-sync one, if there is
    one. `sleep` and `jitter` (0 to 1) are for tests.
    """

    def __init__(
        self,
        http: Http,
        clock: Clock,
        corp_id: str,
        agent_id: int,
        app_secret: str,
        contacts_secret: str | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.corp_id = corp_id
        self.agent_id = agent_id
        self.clock = clock
        self._http = http
        self._sleep = sleep
        self._jitter = jitter
        self._tokens: dict[Secret, TokenCache] = {"app": TokenCache(http, corp_id, app_secret, clock, "app")}
        if contacts_secret:
            self._tokens["contacts"] = TokenCache(http, corp_id, contacts_secret, clock, "contacts")

    def call(
        self,
        method: str,
        path: str,
        *,
        secret: Secret = APP,
        query: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
    ) -> dict[str, Any]:
        """
        What WeCom answers at `path` (`/cgi-bin/…`) with errcode 0.

        Raises WeComError for another errcode, NetworkError when there is no answer (the call may have arrived: it is
        not repeated here), NoContactsSecret. At most three tries, and one more when the token was refused.
        """
        return self._ask(tokens.read, method, path, secret, query, body, files)

    def fetch(self, path: str, *, query: Mapping[str, str | int] | None = None, secret: Secret = APP) -> bytes:
        """The bytes WeCom keeps at `path` (page 90254); raises as `call` does."""
        return self._ask(tokens.read_bytes, "GET", path, secret, query, None, None)

    def _ask(
        self,
        read: Callable[[Answer, str, Secret], T],
        method: str,
        path: str,
        secret: Secret,
        query: Mapping[str, str | int] | None,
        body: Mapping[str, Any] | None,
        files: Mapping[str, tuple[str, bytes, str]] | None,
    ) -> T:
        cache = self._tokens.get(secret)
        if cache is None:
            raise NoContactsSecret(path)
        asked = {name: str(value) for name, value in (query or {}).items()}
        refused, renewed, tries = "", False, 0
        while True:
            token = ""
            try:
                token = cache.refresh(refused) if refused else cache.get()
                refused = ""
                answer = self._http.request(
                    method, path, query={**asked, "access_token": token}, json_body=body, files=files
                )
                return read(answer, path, secret)
            except WeComError as error:
                if token and error.errcode in TOKEN_REFUSED and not renewed:
                    refused, renewed = token, True
                    continue
                tries += 1
                if error.retry is not Retry.BACKOFF or tries >= TRIES_MAX:
                    raise
            self._sleep(BACKOFF_SECONDS * 2 ** (tries - 1) * (1 + self._jitter()))

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()
