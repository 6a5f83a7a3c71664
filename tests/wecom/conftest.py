"""A WeCom on loopback that answers what the test tells it to and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from bot.http import Http
from bot.wecom.client import WeComClient

FIXTURES = Path(__file__).parent / "fixtures"
GETTOKEN = "/cgi-bin/gettoken"


def fixture(name: str) -> Any:
    """A payload of `fixtures/api`."""
    return json.loads((FIXTURES / "api" / name).read_text("utf-8"))


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    target: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class FakeClock:
    """Stands still until moved."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class Cut:
    """Instead of an answer: the line goes dead after the request has arrived."""


CUT = Cut()
Answering = dict[str, Any] | bytes | Cut | Callable[[Asked], dict[str, Any] | bytes]


class WeCom:
    """Tokens are token-1, token-2 …; a path without a script answers `ok` and nothing else."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.forget()
        wecom = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = urlsplit(self.path)
                query = dict(parse_qsl(parts.query, keep_blank_values=True))
                told = wecom.answering(
                    Asked(self.command, parts.path, self.path, query, dict(self.headers.items()), body)
                )
                if isinstance(told, Cut):
                    self.close_connection = True
                    return
                content = told if isinstance(told, bytes) else json.dumps(told).encode()
                self.send_response(wecom.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _answer  # noqa: N815 (http.server's names)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def forget(self) -> None:
        """Be as new."""
        self.asked: list[Asked] = []
        self.status = 200
        self._scripts: dict[str, deque[Answering]] = defaultdict(deque)
        self._always: dict[str, Answering] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, path: str, *told: Answering) -> None:
        """The next answers at `path`, one each."""
        self._scripts[path].extend(told)

    def always(self, path: str, told: Answering) -> None:
        """The answer at `path` when no other is left."""
        self._always[path] = told

    def answering(self, asked: Asked) -> dict[str, Any] | bytes | Cut:
        with self._lock:
            self.asked.append(asked)
            script = self._scripts[asked.path]
            told = script.popleft() if script else self._always.get(asked.path)
            if told is None and asked.path == GETTOKEN:
                count = len(self.calls(GETTOKEN))
                told = {"errcode": 0, "errmsg": "ok", "access_token": f"token-{count}", "expires_in": 7200}
        if callable(told):
            return told(asked)
        return {"errcode": 0, "errmsg": "ok"} if told is None else told

    def calls(self, path: str) -> list[Asked]:
        return [each for each in self.asked if each.path == path]

    @property
    def last(self) -> Asked:
        return self.asked[-1]

    def stop(self) -> None:
        """Finished requests, closed port."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


@pytest.fixture(scope="session")
def wecom_server() -> Iterator[WeCom]:
    server = WeCom()
    yield server
    server.stop()


@pytest.fixture
def wecom(wecom_server: WeCom) -> WeCom:
    wecom_server.forget()
    return wecom_server


@pytest.fixture(scope="session")
def wecom_http(wecom_server: WeCom) -> Iterator[Http]:
    http = Http(wecom_server.url, timeout_seconds=5)
    yield http
    http.close()


@pytest.fixture
def http(wecom: WeCom, wecom_http: Http) -> Http:
    """To the server of `wecom`, which has forgotten the test before."""
    return wecom_http


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def slept() -> list[float]:
    """The back-offs the client asked for, instead of sleeping."""
    return []


@pytest.fixture
def client(http: Http, clock: FakeClock, slept: list[float]) -> WeComClient:
    return WeComClient(
        http, clock, "wwtestcorpid", 1000002, "app-secret", "contacts-secret", sleep=slept.append, jitter=lambda: 0.0
    )
