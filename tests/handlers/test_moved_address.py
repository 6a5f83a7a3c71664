"""A member has another address than I knew: the admins are asked whether it is the same mailbox."""

from __future__ import annotations

import pytest

from bot.errors import UserError
from handlers import addresses
from handlers.address import old_address, rename
from handlers.bin import convert, recycle_bin
from handlers.organisation import moved_address
from handlers.reassign import reassign_steps
from handlers.rescue import rescue_choice
from storage.models import BinSource, Job, JobState
from storage.store import Store
from tests.handlers.conftest import FakeClock
from tests.handlers.wecom_in_process import World

AHING, AHENG = "ahing@corp.test", "aheng@corp.test"


@pytest.fixture
def world(store: Store, clock: FakeClock) -> World:
    return World(store, clock)


def seen_elsewhere(world: World, address: str = AHENG) -> int:
    """Ahing's mailbox is known, then the directory shows him under another address; the number of the question."""
    with world.store.begin() as tx:
        if tx.mailboxes.of("ahing") is None:
            tx.mailboxes.member_has("ahing", AHING, "look-up")
    with world.store.begin() as tx:
        starts: list[Job] = []
        addresses.member_has(tx, starts.append, "ahing", address, "directory")
    world.run()
    job = world.newest(moved_address.KIND).id
    assert [each.id for each in starts] == [job], "at once, not at the next tick"
    return job


def test_renamed_in_the_console_it_is_the_same_mailbox(world: World) -> None:
    """Every admin is asked; a yes keeps the row with its backups and aliases, and the old address is asked about."""
    with world.store.begin() as tx:
        box = tx.mailboxes.member_has("ahing", AHING, "look-up")
        tx.mailboxes.aliases_are(box, ["ah@corp.test"])
        target = tx.mailboxes.unseen("support@corp.test")
        tx.mailboxes.choose_root(box, target, "ahing@corp.test")
        number = box.id
    job = seen_elsewhere(world)
    for admin in ("mei", "yan"):
        assert f"阿兴 had the address {AHING}, and has {AHENG} now" in world.heard(admin)[-1]
    said = world.does("yan", moved_address.answer_same, job)
    assert f"{AHENG} is the mailbox that was {AHING}" in said
    assert f"{AHENG} is the mailbox that was {AHING}" in world.heard("mei")[-1]
    with world.store.begin() as tx:
        now = tx.mailboxes.of("ahing")
        assert now is not None
        assert (now.id, now.address, now.aliases) == (number, AHENG, ["ah@corp.test", AHING])
        assert tx.mailboxes.root(now, tx.mailboxes.unseen("support@corp.test")) == "ahing@corp.test"
        assert tx.recycle_bin.waiting_at(AHING) is None
        assert tx.jobs.waiting_or_due(old_address.KIND)
    with pytest.raises(UserError, match="over"):
        world.does("mei", moved_address.answer_other, job)
    assert world.audited("mailbox") == ["mailbox.moved", "mailbox.same"]
    assert cards_open(world, job) == []
    with world.store.begin() as tx:
        moved, renamed = (each for each in tx.audit.entries() if each.what in ("mailbox.moved", "mailbox.same"))
        assert (moved.who, moved.subject, moved.detail["former"]) == ("bot", AHENG, AHING)
        assert (renamed.who, renamed.subject, renamed.detail["former"]) == ("yan", AHENG, AHING)


@pytest.mark.parametrize("answer", ["other", "none"])
def test_another_mailbox_leaves_one_in_the_bin(world: World, answer: str) -> None:
    """An admin says so, or nobody says anything for three days: what may be deleted is in the book."""
    job = seen_elsewhere(world)
    if answer == "other":
        assert "is in my book" in world.does("mei", moved_address.answer_other, job)
    else:
        world.clock.advance(days=2, hours=23)
        world.sweep("moved-address")
        assert world.job(job).state is JobState.WAITING
        world.clock.advance(hours=2)
        world.sweep("moved-address")
        assert "Nobody told me whether" in world.heard("mei")[-1]
    with world.store.begin() as tx:
        item = tx.recycle_bin.waiting_at(AHING)
        assert item is not None
        assert (item.source, item.owner, item.known_from) == (BinSource.REPLACED, "ahing", "moved")
        assert item.added_by == ("mei" if answer == "other" else None)
        assert (item.deletes_at - item.entered_at).days == 29
        now = tx.mailboxes.of("ahing")
        assert now is not None
        assert now.address == AHENG


def test_it_moves_on_or_back_before_anybody_answers(world: World) -> None:
    """One question, about where it is now; and none when he has his mailbox again."""
    job = seen_elsewhere(world)
    assert seen_elsewhere(world, "axing@corp.test") == job
    assert "and has axing@corp.test now" in world.heard("mei")[-1]
    assert cards_open(world, job) == ["mei", "yan"], "the first two are greyed"
    assert seen_elsewhere(world, AHING) == job
    assert f"阿兴 has {AHING} again" in world.heard("mei")[-1]
    assert world.job(job).state is JobState.DONE
    assert cards_open(world, job) == []


def cards_open(world: World, job: int) -> list[str]:
    """Whose cards of a question can be pressed."""
    with world.store.begin() as tx:
        return sorted(each.member for each in tx.cards.open_about(f"moved-address-{job}"))


def test_two_who_moved_are_two_questions(world: World) -> None:
    """What becomes of the one says nothing of the other."""
    first = seen_elsewhere(world)
    with world.store.begin() as tx:
        tx.mailboxes.member_has("calvin", "calvin@corp.test", "look-up")
        addresses.member_has(tx, lambda job: None, "calvin", "kalvin@corp.test", "directory")
    world.run()
    second = world.newest(moved_address.KIND).id
    assert second != first
    assert world.job(first).data["source_address"] == AHING
    assert "is the mailbox that was calvin@corp.test" in world.does("mei", moved_address.answer_same, second)
    assert world.job(first).state is JobState.WAITING


def asked_when_moved(world: World) -> bool:
    """Whether anybody is asked when Ahing's other address is seen."""
    with world.store.begin() as tx:
        starts: list[Job] = []
        addresses.member_has(tx, starts.append, "ahing", AHENG, "directory")
        return bool(starts)


def test_what_we_do_ourselves_is_not_asked_about(world: World) -> None:
    """A rename that waits for the console."""
    world.does("mei", rename.request_rename, "ahing@", "aheng@", ["none"])
    assert not asked_when_moved(world)


def test_what_the_book_has_already_is_not_asked_about(world: World) -> None:
    """It is known to lie in the recycle bin."""
    with world.store.begin() as tx:
        tx.mailboxes.member_has("ahing", AHING, "look-up")
        recycle_bin.enter(
            tx, world.services.settings, source=BinSource.RECLAIMED, known_from="command", address=AHING, added_by="mei"
        )
    assert not asked_when_moved(world)


@pytest.mark.parametrize(
    ("kind", "params", "asked"),
    [
        (rename.KIND, {"address": AHING}, False),
        (convert.KIND, {"address": AHENG}, False),
        (rescue_choice.KIND, {"target": AHENG}, False),
        (reassign_steps.KIND, {"source": {"address": AHENG}}, False),
        (reassign_steps.KIND, {"source": {"address": "support@corp.test"}, "new_owner": "ahing"}, False),
        (reassign_steps.KIND, {"source": {"address": "support@corp.test"}, "new_owner": "calvin"}, True),
        (rename.KIND, {"address": "support@corp.test"}, True),
        ("backup", {"address": AHING}, True),
    ],
)
def test_whatever_of_ours_is_at_work_on_one_of_the_two(
    world: World, kind: str, params: dict[str, object], asked: bool
) -> None:
    """Each of our jobs that moves mailboxes sees to it itself, and only for those that it moves."""
    with world.store.begin() as tx:
        tx.mailboxes.member_has("ahing", AHING, "look-up")
        tx.jobs.add(kind, asked_by="mei", params=params)
    assert asked_when_moved(world) is asked
