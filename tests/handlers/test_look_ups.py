"""What a look-up proves, and what it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bot.work import JobContext
from handlers import addresses
from storage.models import MailboxKind
from tests.servers.tables import Kept

START = datetime(2026, 11, 24, 2, tzinfo=UTC)


class World:
    """A store, a clock, and who has which address at WeCom."""

    def __init__(self, kept: Kept) -> None:
        self.now = START
        self.store = kept.opened(lambda: self.now)
        self.owners: dict[str, str] = {}

    def job(self) -> JobContext:
        settings = SimpleNamespace(exmail_domain="corp.test", bot_language="en")
        services = SimpleNamespace(store=self.store, settings=settings)
        return cast(JobContext, SimpleNamespace(services=services, client=None, data={}, job_id=1, starts=[]))


@pytest.fixture
def world(kept_sqlite: Kept, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(kept_sqlite)
    monkeypatch.setattr(addresses.contacts, "userid_by_address", lambda _, address: world.owners.get(address))
    monkeypatch.setattr(addresses, "find_public", lambda *_: None)
    yield world
    world.store.close()


def found(world: World, address: str, after: timedelta = timedelta(hours=2)) -> Any:
    """What a job finds at an address, later than any answer that is kept."""
    world.now += after
    return addresses.find_mailbox(world.job(), address, None)


def test_nobody_in_sight_is_no_evidence(world: World) -> None:
    """Typed a second time, a member's mailbox does not turn into one that needs nobody's consent."""
    world.owners["ahing@corp.test"] = "ahing"
    assert found(world, "ahing@corp.test").mailbox.owner == "ahing"
    world.owners.clear()
    for _ in range(3):
        answer = found(world, "ahing@corp.test")
        assert answer.mailbox is None
        assert answer.problem.key == "addresses.no_longer"
    with world.store.begin() as tx:
        assert tx.mailboxes.of("ahing") is not None  # still his: out of sight is not gone
    world.owners["ahing@corp.test"] = "ahing"
    assert found(world, "ahing@corp.test").mailbox.owner == "ahing"


def test_an_address_nobody_ever_had_may_be_a_public_mailbox(world: World) -> None:
    """Made in the console: asked for on a page."""
    assert found(world, "sales@corp.test").mailbox.kind is MailboxKind.UNSEEN


def test_an_alias_is_no_second_mailbox(world: World) -> None:
    """A second mailbox would be a second copy of everything."""
    world.owners |= {"ahing@corp.test": "ahing", "xing@corp.test": "ahing"}
    first = found(world, "ahing@corp.test").mailbox
    assert found(world, "xing@corp.test").mailbox.id == first.id
    with world.store.begin() as tx:
        assert tx.mailboxes.get(first.id).aliases == ["xing@corp.test"]
        assert tx.mailboxes.get(first.id).ended_at is None


def test_another_owner_is_another_mailbox(world: World) -> None:
    """The former owner's mail is never mixed with what comes now."""
    world.owners |= {"ahing@corp.test": "ahing", "calvin@corp.test": "calvin"}
    first = found(world, "ahing@corp.test").mailbox
    found(world, "calvin@corp.test")
    world.owners = {"ahing@corp.test": "calvin"}
    second = found(world, "ahing@corp.test").mailbox
    assert (second.owner, second.id == first.id) == ("calvin", False)


def test_a_mailbox_that_refused_us_is_tried_again_after_a_day(world: World) -> None:
    """Reading the directory does not forget it."""
    shown = addresses.exmail.PublicMailbox(7, "support@corp.test", "Support")
    keep: Callable[[], bool] = lambda: kept(world, shown)  # noqa: E731 -- one line, used four times
    assert keep()
    with world.store.begin() as tx:
        box = tx.mailboxes.at("support@corp.test")
        assert box is not None
        box.managed = False
    assert not keep()
    world.now += timedelta(hours=23)
    assert not keep()
    world.now += timedelta(hours=2)
    assert keep()


def kept(world: World, shown: Any) -> bool:
    """Whether the app may manage the mailbox, as WeCom has just shown it."""
    with world.store.begin() as tx:
        return addresses.keep_public(tx, shown).managed
