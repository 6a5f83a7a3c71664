"""A database, a moment, and contexts for whoever speaks; no WeCom, no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.context import Context
from bot.policy import Policy, Role, Roles
from bot.replies import Reply, Text
from bot.settings import Settings
from bot.words import say
from handlers.approvals import approvals
from storage.models import Approval
from storage.store import Store, Transaction
from tests.servers.tables import Kept

SETTINGS: dict[str, Any] = {
    "_env_file": None, "wecom_corp_id": "ww1", "wecom_agent_id": 1, "wecom_app_secret": "s",
    "wecom_callback_token": "t", "wecom_callback_aes_key": "k" * 43, "exmail_domain": "corp.test", "bot_public_url": "https://bot.corp.test",
    "bot_secret_keys": "k", "bot_admins": "mei, yan",
}  # fmt: skip
DEPARTMENTS = [
    (1, "Corp", None, ["fang"]), (2, "Sales", 1, ["ling"]), (5, "Support", 2, ["lan"]), (9, "Nobody leads", None, []),
]  # fmt: skip
PEOPLE = {
    "mei": ("美玲", 1, "fang"), "yan": ("赵燕", 1, "mei"), "fang": ("方敏", 1, ""), "ling": ("凌", 2, "fang"),
    "ahing": ("阿兴", 2, "ling"), "calvin": ("卡尔文", 2, ""), "lan": ("王兰", 5, ""), "tao": ("陈涛", 5, ""),
    "solo": ("独孤", 9, ""),
}  # fmt: skip


class FakeClock:
    """Stands still until moved."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def advance(self, **amount: float) -> None:
        self.moment += timedelta(**amount)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def settings() -> Settings:
    return Settings(**SETTINGS)


def fill(tx: Transaction) -> None:
    """The sample departments and members."""
    tx.members.departments_are(DEPARTMENTS)
    for userid, (name, department, leader) in PEOPLE.items():
        tx.members.saw(
            userid, name=name, alias=userid.capitalize(), departments=[department], main_department=department,
            direct_leader=leader, status=1,
        )  # fmt: skip


on_both = pytest.mark.parametrize("store", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def store(request: pytest.FixtureRequest, clock: FakeClock) -> Iterator[Store]:
    """The sample people, on SQLite unless a test asks for both databases."""
    kept: Kept = request.getfixturevalue(f"kept_{getattr(request, 'param', 'sqlite')}")
    with closing(kept.opened(clock.now)) as store:
        with store.begin() as tx:
            fill(tx)
        yield store


@pytest.fixture
def speaking(settings: Settings) -> Callable[..., Context]:
    """A context of a member in a transaction."""

    def make(tx: Transaction, sender: str, **more: Any) -> Context:
        held = {Role.ADMIN: frozenset({"mei", "yan"})} | more.pop("roles", {})
        return Context(tx, sender, more.pop("language", "en"), settings, Policy(), Roles(held), **more)

    return make


@pytest.fixture
def action() -> Iterator[list[Approval]]:
    """An action of its own, `test`; the list holds what was decided of it."""
    heard: list[Approval] = []

    def done(ctx: Context, approval: Approval) -> list[Reply]:
        heard.append(approval)
        return [Text(approval.asked_by, say("audit.holds"))]

    approvals.decided("test")(done)
    yield heard
    for known in (approvals._DECIDED, approvals._FACTS, approvals._WITHDRAWN):
        known.pop("test", None)
