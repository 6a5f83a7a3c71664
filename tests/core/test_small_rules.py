"""Small things that people stumbled over, each through the real dispatcher and handlers."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.settings import Settings
from handlers.copying.backup_access import what_of
from storage.store import Store
from tests.core.conftest import HandClock, text_fields
from tests.core.test_dispatcher import production, received, told


def say(store: Store, settings: Settings, line: str) -> str:
    """What mei hears when she types a line."""
    production(store, settings).decide(received(store, text_fields("mei", line)))
    return told(store)[-1][1]


@pytest.mark.parametrize(
    ("line", "heard"), [("hello", "I look after"), ("你好", "我负责管理"), ("thanks", "welcome"), ("谢谢", "不客气")]
)
def test_politeness_is_understood(store: Store, settings: Settings, line: str, heard: str) -> None:
    """And is no line of help."""
    assert heard in say(store, settings, line)
    assert "thanks" not in say(store, settings, "help")


def test_the_book_takes_no_living_mailbox(store: Store, settings: Settings, clock: HandClock) -> None:
    """A slip of the pen would set reminders running for a mailbox that is in use."""
    with store.begin() as tx:
        tx.members.saw("ahing", name="Ahing", departments=[1])
        tx.mailboxes.member_has("ahing", "ahing@corp.test", "look-up")
    yesterday = (clock.now() - timedelta(days=1)).date()
    assert "belongs to Ahing" in say(store, settings, f"bin add ahing@ deleted {yesterday}")
    with store.begin() as tx:
        assert tx.recycle_bin.waiting_at("ahing@corp.test") is None


def test_a_known_address_of_an_entry_stays(store: Store, settings: Settings, clock: HandClock) -> None:
    """Another address would put another mailbox's name on this one's reminders."""
    yesterday = (clock.now() - timedelta(days=1)).date()
    say(store, settings, f"bin add oldie@ deleted {yesterday}")
    with store.begin() as tx:
        item = tx.recycle_bin.waiting_at("oldie@corp.test")
        assert item is not None
    assert "is oldie@corp.test already" in say(store, settings, f"bin address {item.id} other@")
    with store.begin() as tx:
        assert tx.recycle_bin.waiting_at("oldie@corp.test") is not None
        assert tx.recycle_bin.waiting_at("other@corp.test") is None


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "all mail"),
        ({"since": None, "folders": [], "without_junk": False}, "all mail"),
        ({"since": "2024-01-01"}, "a part of the mail (since 2024-01-01)"),
        ({"folders": ["Inbox", "Sent"], "without_junk": True}, "a part of the mail (only Inbox, Sent, without junk)"),
    ],
)
def test_the_owner_reads_what_is_asked_for(params: dict[str, object], said: str) -> None:
    """A yes to all is no yes to something else, and the other way round."""
    assert what_of(params).text("en") == said
