"""A store on each database with a clock that tests move, and the bot's parts put together on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot.sandbox.run import SandboxSettings
from bot.settings import Settings
from bot.vault import new_key
from storage.store import Store
from tests.servers.tables import Kept

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class HandClock:
    """Moves only when told to."""

    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> datetime:
        return self.at

    def advance(self, **by: float) -> None:
        """Move on."""
        self.at += timedelta(**by)


@pytest.fixture
def clock() -> HandClock:
    """Noon."""
    return HandClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres"))
    return f"sqlite:///{tmp_path / 'bot.sqlite'}"


@pytest.fixture(params=["sqlite", "postgres"])
def kept(request: pytest.FixtureRequest) -> Kept:
    """A database of each kind with the tables (made from the models; a test holds the migrations to them)."""
    found: Kept = request.getfixturevalue(f"kept_{request.param}")
    return found


@pytest.fixture
def store(kept: Kept, clock: HandClock) -> Iterator[Store]:
    """Empty."""
    with closing(kept.opened(clock.now)) as store:
        yield store


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings that lead nowhere."""
    return settings_of(tmp_path)


def settings_of(folder: Path, **more: Any) -> Settings:
    """Settings that lead nowhere, but for `more`."""
    values: dict[str, Any] = {
        "wecom_corp_id": "wwcorp",
        "wecom_agent_id": 1000002,
        "wecom_app_secret": SecretStr("app-secret"),
        "wecom_callback_token": SecretStr("token"),
        "wecom_callback_aes_key": SecretStr("jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"),
        "wecom_api_base": "http://127.0.0.1:9",
        "exmail_domain": "corp.test",
        "bot_data_dir": folder,
        "bot_public_url": "http://127.0.0.1:9",
        "bot_secret_keys": SecretStr(new_key()),
        "bot_admins": ("mei", "jun"),
    }
    return SandboxSettings(**values | more)


_numbers = count(1)


def text_fields(sender: str, content: str, number: int | None = None) -> dict[str, Any]:
    """A text message as it is after decryption."""
    return {
        "ToUserName": "wwcorp",
        "FromUserName": sender,
        "CreateTime": "1764000000",
        "MsgType": "text",
        "Content": content,
        "MsgId": str(number or 10**18 + next(_numbers)),
        "AgentID": "1000002",
    }


def event_fields(sender: str, event: str, **more: Any) -> dict[str, Any]:
    """An event as it is after decryption."""
    return {
        "ToUserName": "wwcorp",
        "FromUserName": sender,
        "CreateTime": "1764000000",
        "MsgType": "event",
        "Event": event,
        **more,
    }


@dataclass
class FakeWeCom:
    """Takes the place of the client: answers what it was told to, and remembers what was asked."""

    answers: list[Any] = field(default_factory=list)  # dicts or exceptions, used up one by one; then all is well
    sent: list[tuple[str, str, str]] = field(default_factory=list)  # receiver, kind, text
    agent_id: int = 1000002
    task_ids: set[str] = field(default_factory=set)

    def call(self, method: str, path: str, *, body: dict[str, Any] | None = None, **_: Any) -> dict[str, Any]:
        """As `WeComClient.call`."""
        answer = self.answers.pop(0) if self.answers else {}
        if isinstance(answer, Exception):
            raise answer
        assert body is not None
        if path.endswith("message/send"):
            kind = body["msgtype"]
            text = body["text"]["content"] if kind == "text" else body[kind].get("task_id", "")
            self.sent.append((body["touser"], kind, text))
            return {"msgid": "m", **({"response_code": f"code-{text}"} if kind == "template_card" else {}), **answer}
        self.sent.append((body["userids"][0], "update", body["response_code"]))
        return dict(answer)

    def texts(self, receiver: str) -> list[str]:
        """The texts a member was sent."""
        return [text for to, kind, text in self.sent if to == receiver and kind == "text"]
