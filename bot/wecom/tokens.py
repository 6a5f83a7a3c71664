"""Access tokens: one for each secret, fetched by one thread for all, and never more often than WeCom stands."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from bot.clock import Clock
from bot.errors import NetworkError, UpstreamError
from bot.http import Answer, Http
from bot.wecom.errcodes import Retry, Secret, WeComError
from bot.wecom.limits import FREQUENCY_WINDOW_SECONDS, TOKEN_REFRESH_BEFORE_SECONDS, TOKEN_REFRESHES_PER_MINUTE

PATH = "/cgi-bin/gettoken"
HOLD_SECONDS = 10  # after a refusal; doubled each time: thousands of failed gettoken an hour block the corp
HOLD_SECONDS_MAX = 600
NETWORK_HOLD_SECONDS = 2  # long enough for the threads that waited for the same failure


class TokenCache:
    """The access token of one (corp, secret), for any number of threads (page 91039)."""

    def __init__(self, http: Http, corp_id: str, secret: str, clock: Clock, name: Secret = "app") -> None:
        self._http = http
        self._corp_id = corp_id
        self._secret = secret
        self._clock = clock
        self._name: Secret = name
        self._lock = threading.Lock()
        self._token = ""
        self._stale_at: datetime | None = None
        self._failures = 0
        self._refusal: Callable[[], UpstreamError] | None = None
        self._held_until: datetime | None = None
        self._refreshed: deque[datetime] = deque(maxlen=TOKEN_REFRESHES_PER_MINUTE)

    def get(self) -> str:
        """
        A token good for five more minutes.

        Raises WeComError or NetworkError; the same again, without asking, until a while after a refusal has passed.
        """
        with self._lock:
            return self._token if self._fresh() else self._fetch()

    def refresh(self, old: str) -> str:
        """
        Another token than the refused `old`: the one another thread has fetched meanwhile, or a new one.

        After five in a minute `old` comes back: then it is not the token that is wrong. Raises as `get` does.
        """
        with self._lock:
            if self._token != old and self._fresh():
                return self._token
            now = self._clock.now()
            full = len(self._refreshed) == self._refreshed.maxlen
            if full and now - self._refreshed[0] < timedelta(seconds=60):
                return old
            self._refreshed.append(now)
            return self._fetch()

    def _fresh(self) -> bool:
        return self._stale_at is not None and self._clock.now() < self._stale_at

    def _fetch(self) -> str:
        now = self._clock.now()
        if self._refusal is not None and self._held_until is not None and now < self._held_until:
            raise self._refusal()
        self._stale_at = None
        try:
            answer = self._http.request("GET", PATH, query={"corpid": self._corp_id, "corpsecret": self._secret})
            told = read(answer, PATH, self._name)
            token = told.get("access_token")
            lifetime = lifetime_seconds(told.get("expires_in"))
            if not isinstance(token, str) or not token:
                raise NetworkError(f"no access_token in the answer ({PATH})")
        except WeComError as error:
            refused = (error.errcode, error.errmsg, error.path, error.secret)
            self._hold(now, lambda: WeComError(*refused), error.retry)
            raise
        except NetworkError as error:
            text = str(error)
            self._refusal = lambda: NetworkError(text)
            self._held_until = now + timedelta(seconds=NETWORK_HOLD_SECONDS)
            raise
        self._token = token
        self._failures, self._refusal, self._held_until = 0, None, None
        self._stale_at = now + timedelta(seconds=lifetime)
        return self._token

    def _hold(self, now: datetime, refusal: Callable[[], UpstreamError], retry: Retry) -> None:
        if retry is Retry.BACKOFF:  # the client's own three tries are the limit
            return
        first = FREQUENCY_WINDOW_SECONDS if retry is Retry.AFTER_WINDOW else HOLD_SECONDS
        seconds = min(first * 2 ** min(self._failures, 10), HOLD_SECONDS_MAX)
        self._failures += 1
        self._refusal, self._held_until = refusal, now + timedelta(seconds=seconds)


def lifetime_seconds(expires_in: object) -> float:
    """How long to use a token: until five minutes before its end, or half of a life that is shorter than that."""
    try:
        seconds = float(str(expires_in))
    except ValueError:
        return 0.0
    return max(seconds - TOKEN_REFRESH_BEFORE_SECONDS, seconds / 2)


def read(answer: Answer, path: str, secret: Secret) -> dict[str, object]:
    """
    The fields of a complete answer whose errcode is 0 or absent.

    Raises WeComError for any other errcode, NetworkError for what is no answer of WeCom's (a proxy's page).
    """
    fields = answer.json()
    if not isinstance(fields, dict):
        raise NetworkError(f"no JSON object, HTTP status {answer.status} ({path})")
    try:
        errcode = int(fields.get("errcode", 0))
    except (TypeError, ValueError):
        raise NetworkError(f"errcode is no number ({path})") from None
    if errcode:
        raise WeComError(errcode, str(fields.get("errmsg", "")), path, secret)
    if answer.status >= 400:
        raise NetworkError(f"HTTP status {answer.status} ({path})")
    return fields


def read_bytes(answer: Answer, path: str, secret: Secret) -> bytes:
    """A kept file's bytes; a refusal comes as JSON in its place, and is raised as `read` does."""
    said = answer.headers.get("content-type", "").startswith(("application/json", "text/plain"))
    if answer.status >= 400 or (said and answer.body.startswith(b"{") and b'"errcode"' in answer.body[:200]):
        read(answer, path, secret)
    return answer.body
