"""GoDaddy's two generations from the chat to the zone: shown, agreed to, the key, 409 waited out, read back, undone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bot.dns.api import Key
from bot.dns.godaddy import open_godaddy
from bot.dns.records import Record
from handlers.domain import domain_setup, domain_write
from storage.models import JobState
from tests.dns.test_providers import World as Providers
from tests.handlers.test_domain_setup import BEFORE, MX_AFTER, NAME, DomainWorld, Zone, world

__all__ = ["world"]
SPF_AFTER = "v=spf1 a include:spf.mail.qq.com ~all"


class Live(Zone):
    """The provider's zone as it is now, for what name servers say."""

    def __init__(self, providers: Providers) -> None:
        self.providers = providers

    @property
    def records_held(self) -> list[Record]:  # type: ignore[override]
        """MX and TXT."""
        held = self.providers.org.dns.zones[NAME].records
        return [Record(each.type, each.host, each.value, each.priority, each.ttl) for each in held]


@pytest.fixture(scope="module")
def providers() -> Iterator[Providers]:
    made = Providers()
    yield made
    made.close()


def run(world: DomainWorld, providers: Providers, job: int) -> None:
    """Turns, with the minute that GoDaddy's 409 needs between them."""
    for _ in range(8):
        world.run(job)
        world.clock.advance(seconds=61)
        providers.clock.advance(61)


def give(world: DomainWorld, job: int, key: Key) -> None:
    """The key, as the page gives it."""
    with world.store.begin() as tx:
        tx.passwords.keep(job, "key", given_by="mei", ciphertext=world.services.vault.lock(key.packed()))
        tx.jobs.wake(tx.jobs.get(job), "domain_write")


@pytest.mark.parametrize("generation", ["v1", "v3"])
def test_written_from_the_chat_and_undone(
    world: DomainWorld, providers: Providers, monkeypatch: pytest.MonkeyPatch, generation: str
) -> None:
    """Not before the yes and the key; a refused key is asked for anew; only what has to be is written."""
    org = providers.org
    org.reset()
    org.troubles.set("godaddy_no_api", False)
    zone = org.dns.zone(NAME, "godaddy")
    for each in BEFORE:
        org.dns.put(zone, each.type, each.host, each.value, priority=each.priority, ttl=each.ttl or 600)
    org.dns.put(zone, "TXT", "@", "site=2", ttl=7200)
    world.zone, world.hosts = Live(providers), ("ns01.domaincontrol.com",)
    base = f"{providers.url}/godaddy"
    monkeypatch.setattr(domain_write, "open_api", lambda services, provider, key: open_godaddy(key, base=base))
    accounts = org.providers.accounts
    key = Key(*accounts.godaddy) if generation == "v1" else Key(accounts.godaddy_token)

    job = world.setup()
    run(world, providers, job)
    assert world.state(job) == (JobState.WAITING, "domain_shown")
    world.does("mei", domain_setup.domain_write_it, job)
    run(world, providers, job)
    assert not providers.calls()
    give(world, job, Key("wrong", "wrong" if generation == "v1" else ""))
    run(world, providers, job)
    assert world.state(job) == (JobState.WAITING, "domain_key")
    assert all(each.startswith("GET") for each in providers.calls())
    give(world, job, key)
    run(world, providers, job)
    held = [(each.value, each.priority, each.ttl) for each in world.zone.records_held if each.host == "@"]
    assert {each[:2] for each in held} == {*MX_AFTER, *((text, None) for text in (SPF_AFTER, "site=1", "site=2"))}
    assert ("site=2", None, 7200) in held
    writes = [each for each in providers.calls() if not each.startswith("GET")]
    assert len({each.split("/")[0] for each in writes} & {"PUT v3"}) == 0
    assert world.keys() == 0
    assert any("written at GoDaddy and read back" in each for each in world.told("mei"))
    with world.store.begin() as tx:
        assert tx.answers.of("godaddy_api") == "yes"

    world.does("mei", domain_setup.domain_undo, job)
    undo = world.run_newest()
    world.does("mei", domain_setup.domain_write_it, undo)
    run(world, providers, undo)
    give(world, undo, key)
    run(world, providers, undo)
    assert world.state(undo)[0] is JobState.DONE
    texts: Any = {(each.value, each.priority) for each in world.zone.records_held}
    assert texts == {*((each.value, each.priority) for each in BEFORE), ("site=2", None)}
