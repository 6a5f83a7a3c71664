"""One backup, killed again and again at every stage: it ends as if nothing had been."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import select

from bot.sandbox.arrival import arrived
from storage.models import MintedPassword
from tests.crash.world import World, world

BEFORE_THE_YES = (
    "in start, not committed",
    "minted, not stored",
    "in preview, not committed",
    "before a card is sent",
    "card sent, answer not stored",
)
AFTER_THE_YES = (
    "in copy, not committed",
    "in copy, committed",
    "in verify, not committed",
    "in verify, committed",
    "in receipt, not committed",
    "in receipt, committed",
    "in cleanup, not committed",
)
SOURCE, TARGET = "sales@corp.test", "support@corp.test"


def through(here: World, points: tuple[str, ...]) -> None:
    """A life for each point, each ended by it; then one that lives on."""
    for point in points:
        here.start(point, wait=False).wait_killed()
    here.start()


@pytest.mark.parametrize("server", ["sqlite", "postgresql"])
def test_a_backup_outlives_every_kill(tmp_path: Path, server: str, request: pytest.FixtureRequest) -> None:
    """Both sides are minted, previewed, copied, verified and receipted by a dozen processes."""
    database_url = "" if server == "sqlite" else str(request.getfixturevalue("postgres"))
    with world(tmp_path / "data", database_url) as here:
        here.trouble("own_public_mailboxes_only", on=False)
        first = here.start()
        here.wait_ready()
        for address in (SOURCE, TARGET):
            here.show_everything(address)
        passwords = {each: here.mailbox(each)["passwords"] for each in (SOURCE, TARGET)}
        first.kill()
        asking = threading.Thread(target=here.say, args=("mei", f"backup {SOURCE} to {TARGET} because of a test"))
        asking.start()
        through(here, BEFORE_THE_YES)
        asking.join(60)
        here.wait_settled()
        cards = [each for each in here.entries("mei") if each.get("card") and not each["card"]["greyed"]]
        starts = [each for each in cards if any(b["key"].startswith("start:") for b in each["card"]["buttons"])]
        assert len(starts) == 1, here.heard("mei")
        here.children[-1].kill()
        pressing = threading.Thread(target=here.press, args=("mei", "start:"))
        pressing.start()
        through(here, AFTER_THE_YES)
        pressing.join(60)
        here.wait_settled(seconds=120)
        receipts = [each for each in here.heard("mei") if f"are now in {TARGET}" in each]
        assert len(receipts) == 1, here.heard("mei")
        arrived(here, SOURCE, TARGET)
        assert {each: here.mailbox(each)["passwords"] for each in (SOURCE, TARGET)} == passwords
        with here.store.begin() as tx:
            assert tx.audit.broken_at() is None
            assert tx.passwords.all() == []
            assert tx.session.scalar(select(MintedPassword.id).where(MintedPassword.deleted_at.is_(None))) is None
