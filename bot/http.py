"""HTTP out. The only file that imports httpx, so that its successor can take over in one place."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx

from bot.errors import NetworkError

TIMEOUT_SECONDS = 15.0
KEPT_SECONDS = 2.0  # an idle connection; servers drop theirs after 5 s or more, and a request into that is lost

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # at INFO they log whole URLs, tokens included


@dataclass(frozen=True)
class Answer:
    """A complete HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()  # the Set-Cookie lines

    def json(self) -> Any:
        """The body as JSON; NetworkError when it is something else (a proxy's page, a cut answer)."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise NetworkError(f"not JSON, HTTP status {self.status}") from None


class Http:
    """A pooled client for one service. Its errors never hold a URL: tokens travel there."""

    def __init__(self, base_url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._client = httpx.Client(
            base_url=base_url,
            timeout=timeout_seconds,
            follow_redirects=False,
            limits=httpx.Limits(keepalive_expiry=KEPT_SECONDS),
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        json_body: object | None = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
        form: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """
        Send and wait for the whole answer, whatever its status.

        JSON goes out as raw UTF-8: WeCom answers 40033 to `\\uXXXX`. Raises NetworkError without an answer.
        """
        sent = dict(headers or {})
        if json_body is not None:
            content = json.dumps(json_body, ensure_ascii=False).encode()
            sent["Content-Type"] = "application/json; charset=utf-8"
        if form is not None:
            content = urlencode(form).encode()
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            answer = self._client.request(
                method, path, params=dict(query or {}), content=content, files=files and dict(files), headers=sent
            )
            return Answer(
                answer.status_code, answer.headers, answer.content, tuple(answer.headers.get_list("set-cookie"))
            )
        except httpx.HTTPError as error:
            failure = NetworkError(type(error).__name__)
        raise failure  # out here: inside, the new error would keep the old one, and with it the URL

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()
