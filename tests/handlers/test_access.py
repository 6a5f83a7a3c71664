"""No key is left behind: what is minted and switched on, what WeCom refuses, and the hours after."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.errors import NetworkError
from bot.mail.errors import LoginRefused
from bot.wecom.errcodes import WeComError
from handlers.copying import access, backup_access
from storage.models import ImapSwitch, JobState, MintedPassword
from storage.store import Store
from tests.handlers.backup_world import NOT_ALLOWED, World, raising
from tests.handlers.conftest import FakeClock


@pytest.fixture
def world(store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> World:
    """A bot without network."""
    return World(store, clock, monkeypatch)


def test_a_remark_never_loses_its_number_or_side(world: World) -> None:
    """A long instance is cut; two sides of a job never share a remark."""
    object.__setattr__(world.services.settings, "bot_public_url", "https://" + "漂亮" * 40 + ".corp.test")
    marks = {access.remark(world.services, 1234567, side) for side in access.SIDES}
    assert {each.split()[-2:][0] for each in marks} == {"1234567"}
    assert {each.split()[-1] for each in marks} == {"source", "target"}
    assert all(len(each.encode()) <= access.REMARK_BYTES_MAX for each in marks)


@pytest.mark.parametrize(
    ("error", "open_rows", "managed"),
    [
        (WeComError(NOT_ALLOWED), 0, False),  # there is none, and there will be none
        (WeComError(45009), 0, True),  # not now
        (NetworkError("cut"), 1, True),  # nobody knows
    ],
)
def test_a_refused_password_leaves_a_row_only_when_nobody_knows(
    world: World, error: Exception, open_rows: int, managed: bool
) -> None:
    """By errcode there is none; without an answer there may be one, to be found by its remark."""
    job = world.backup("calvin")
    world.wecom.refusals["mint"] = [error]
    world.give(job, "source")
    world.run(job)
    with world.store.begin() as tx:
        assert len(tx.passwords.minted_for(job)) == open_rows
        assert tx.mailboxes.get(world.support).managed is managed


def test_what_cannot_be_given_back_is_tried_every_hour(world: World) -> None:
    """WeCom refuses for good: rows stay open, the admins hear it once a day, and when it works nothing is left."""
    job = world.ready("calvin")
    world.wecom.imap["calvin"] = True
    world.wecom.refusals["delete"] = [WeComError(NOT_ALLOWED)] * 30
    world.wecom.refusals["imap"] = [WeComError(NOT_ALLOWED)] * 30
    world.cancel(job)
    world.run(job)
    assert world.state(job) == (JobState.CANCELLED, "cleanup")
    assert world.wecom.minted
    assert world.open_rows() == (1, 1)
    told = len(world.told("yan"))
    assert told == 2
    for _ in range(22):
        world.clock.advance(hours=1)
        world.sweep("access-cleanup")
    assert len(world.told("yan")) == told, "told within a day of the first time"
    for _ in range(3):
        world.clock.advance(hours=1)
        world.sweep("access-cleanup")
    assert len(world.told("yan")) == told + 1
    world.wecom.refusals.clear()
    world.clock.advance(hours=1)
    world.sweep("access-cleanup")
    assert not world.wecom.minted
    assert world.wecom.imap["calvin"] is False
    assert world.open_rows() == (0, 0)
    world.clock.advance(hours=1)
    assert world.sweep("access-cleanup") == 0, "there is nothing left to do"


def test_an_outage_at_the_end_changes_no_ending(world: World) -> None:
    """Eight failures of the cleanup: the job ends as it ended, the asker is told, the key is given back later."""
    job = world.ready("calvin")
    world.wecom.refusals["delete"] = [NetworkError("away")] * 8
    world.cancel(job)
    for _ in range(10):
        world.run(job)
        world.clock.advance(minutes=15)
    assert world.state(job) == (JobState.CANCELLED, "cleanup")
    assert any("is cancelled" in each for each in world.told("mei"))
    world.sweep("access-cleanup")
    assert world.open_rows() == (0, 0)
    assert not world.wecom.minted


def test_a_gone_mailbox_counts_as_given_back(world: World) -> None:
    """No such public mailbox, no such member: nobody is bothered."""
    job = world.ready("calvin")
    world.wecom.refusals["delete"] = [WeComError(680035)]
    world.wecom.refusals["imap"] = [WeComError(60111)]
    world.cancel(job)
    world.run(job)
    assert world.open_rows() == (0, 0)
    assert world.told("yan") == []


def test_the_last_job_puts_imap_back(world: World) -> None:
    """A switched it on, B found it on: A's end leaves it on, B's end puts it as it was; the audit says it once."""
    one, two = world.ready("calvin"), world.ready("calvin", target="sales@corp.test")
    assert world.wecom.imap["calvin"]
    world.cancel(one)
    world.run(one)
    assert world.wecom.imap["calvin"], "switched off under the other job"
    world.cancel(two)
    world.run(two)
    assert world.wecom.imap["calvin"] is False
    assert world.open_rows() == (0, 0)
    assert world.audited("imap.restored") == 1


def test_imap_that_was_on_before_stays_on(world: World) -> None:
    """No job of ours switched it on."""
    world.wecom.imap["calvin"] = True
    job = world.ready("calvin")
    world.cancel(job)
    world.run(job)
    assert world.wecom.imap["calvin"]


def test_a_job_that_begins_while_another_ends_keeps_its_imap(world: World) -> None:
    """Between deciding and switching off another job counts on it: it is switched on again."""
    one = world.ready("calvin")
    two = world.backup("calvin", target="sales@corp.test")

    def takes_part() -> None:
        with world.store.begin() as tx:
            tx.passwords.switch(two, "calvin", "0")

    world.wecom.before_imap = takes_part
    world.cancel(one)
    world.run(one)
    assert world.wecom.imap["calvin"]
    with world.store.begin() as tx:
        assert [row.job_id for row in tx.session.query(ImapSwitch) if row.restored_at is None] == [two]


def test_left_over_are_ended_jobs_only(world: World) -> None:
    """A job that runs keeps its keys."""
    job = world.ready("calvin")
    with world.store.begin() as tx:
        assert tx.passwords.left_over() == []
        tx.jobs.end(tx.jobs.get(job), JobState.DONE)
        tx.session.flush()
        assert list(tx.passwords.left_over()) == [job]
        for row in tx.session.query(MintedPassword):
            row.deleted_at = tx.now - timedelta(seconds=1)
        for switch in tx.session.query(ImapSwitch):
            switch.restored_at = tx.now
        tx.session.flush()
        assert tx.passwords.left_over() == []


def refuse(world: World, job: int, member: str = "ahing") -> None:
    """He enters a password, and the server refuses it."""
    world.mail.planning = [raising(LoginRefused("no", mailbox=f"{member}@corp.test"))]
    world.give(job, "source", member)
    world.run(job)
    assert world.state(job) == (JobState.WAITING, "access")


def test_a_quarter_of_an_hour_after_a_refused_login_a_new_page_comes_by_itself(world: World) -> None:
    """Once for a refusal, twice a day for a job; then it has to be asked for. No login is tried by it."""
    job = world.backup("ahing")
    refuse(world, job)
    assert "At 17:15 I will send you a new page" in world.told("ahing")[-1]
    assert "At 17:15 I will send 阿兴 a new page" in world.told("mei")[-1]
    world.clock.advance(minutes=14)
    assert world.sweep("pages-again") == 0
    world.clock.advance(minutes=1)
    assert world.sweep("pages-again") == 1
    assert world.links(job) == [("ahing", "source")] * 2
    world.clock.advance(minutes=20)
    assert world.sweep("pages-again") == 0, "it ran out unused: he asks for another"
    for wanted in (1, 0):
        refuse(world, job)
        world.clock.advance(minutes=15)
        assert world.sweep("pages-again") == wanted
    assert "type `link" in world.told("ahing")[-1], "the third time he is told so at once"
    assert len(world.links(job)) == 3
    world.clock.advance(hours=25)
    refuse(world, job)
    world.clock.advance(minutes=15)
    assert world.sweep("pages-again") == 1, "another day"


def test_no_page_comes_by_itself_to_who_has_another_or_said_no(world: World) -> None:
    """`link` was faster; he refused; another mailbox was refused; the job is over."""
    job, other = world.backup("ahing"), world.backup("calvin")
    refuse(world, job)
    world.clock.advance(minutes=15)
    world.does("ahing", backup_access.new_link, job)
    world.run(job)
    assert world.links(job) == [("ahing", "source")] * 2
    assert world.sweep("pages-again") == 0
    assert world.links(other) == [("calvin", "source")]
    refuse(world, job)
    with world.store.begin() as tx:
        tx.jobs.put(tx.jobs.get(job), refused_sides={"source": "ahing"})
    world.clock.advance(minutes=15)
    assert world.sweep("pages-again") == 0
    world.cancel(job)
    world.run(job)
    assert world.sweep("pages-again") == 0
