"""After a rescue: the public mailbox that was made for it is left, given on or deleted, and never deleted unseen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from bot.errors import NetworkError, UserError
from bot.wecom.errcodes import WeComError
from handlers import jobs
from handlers.approvals import approvals
from handlers.bin import deletion
from handlers.handovers import handovers
from handlers.reassign import reassign, reassign_steps
from handlers.rescue import aftermath
from storage.models import BinItem, BinSource, BinState, HandoverState, JobState, MailboxKind
from storage.store import Store
from tests.handlers.conftest import FakeClock
from tests.handlers.rescue_world import AHING, SUPPORT, Place

NOT_ALLOWED = WeComError(48002, "api forbidden")


@pytest.fixture
def place(store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(store, clock, monkeypatch)


def deletion_of(place: Place, rescue: int) -> int:
    """A deletion that was asked for; yan is asked."""
    place.does("mei", aftermath.after_delete, rescue)
    with place.store.begin() as tx:
        job = max(each.id for each in tx.jobs.recent([deletion.KIND]))
    place.run(job)
    return job


def agreed(place: Place, job: int) -> None:
    """Yan says yes; the copy is compared again, and it is deleted if it may."""
    place.does("yan", approvals.approve, place.data(job)["approval"])
    place.run(job)


def book(place: Place) -> list[tuple[BinSource, BinState, str]]:
    """The entries of the book."""
    with place.store.begin() as tx:
        return [(each.source, each.state, each.known_from) for each in tx.session.query(BinItem).order_by(BinItem.id)]


def hidden(place: Place) -> None:
    """From now on the mail API does not show what the console made, and it never did."""
    place.public = None
    with place.store.begin() as tx:
        box = tx.mailboxes.at(AHING)
        assert box is not None
        box.public_id, box.managed = None, False


def test_the_choice_comes_when_everything_is_safe(place: Place) -> None:
    """Not before; in words with what to type, and on a card, and `job` says it as long as nobody has chosen."""
    job = place.converted()
    with pytest.raises(UserError, match="not_safe_yet"):
        place.does("mei", aftermath.after_delete, job)
    place.cancel(job)
    place.run(job)
    with pytest.raises(UserError, match="not_safe_yet"):
        place.does("mei", aftermath.after_leave, job)


def test_left_as_it_is(place: Place) -> None:
    """It is written down; the card is greyed; it can be decided anew."""
    job = place.saved()
    assert "after" in place.does("mei", jobs.job_details, job)[0]
    told = place.does("mei", aftermath.after_leave, job)
    assert "stays a public mailbox" in told[0]
    assert place.data(job)["after"] == {"choice": "leave", "by": "mei"}
    assert "`after" not in place.does("mei", jobs.job_details, job)[0]
    assert place.mailbox(AHING).kind is MailboxKind.PUBLIC
    assert place.deletions == 0
    with pytest.raises(UserError, match="unknown"):
        place.does("mei", aftermath.after_leave, 999)


def test_two_admins_delete_it_by_the_mail_api(place: Place) -> None:
    """Asked of another admin, the copy compared again, deleted, read back, and in the book with its days."""
    rescue = place.saved()
    checks = len(place.told("mei"))
    job = deletion_of(place, rescue)
    assert place.state(job) == (JobState.WAITING, "approval")
    assert "is NOT in it" in place.told("mei")[checks]
    with pytest.raises(UserError, match="not_yours"):
        place.does("mei", approvals.approve, place.data(job)["approval"])
    with pytest.raises(UserError, match="under_way"):
        place.does("mei", aftermath.after_leave, rescue)
    agreed(place, job)
    assert place.deletions == 1
    assert (place.state(job)[0], place.data(job)["ending"]) == (JobState.DONE, "done")
    assert book(place) == [(BinSource.LEFT, BinState.SAFE, "callback"), (BinSource.PUBLIC, BinState.WAITING, "api")]
    with place.store.begin() as tx:
        item = tx.recycle_bin.waiting_at(AHING)
        assert item is not None
        assert item.owner == "ahing"
        assert timedelta(days=28) < item.deletes_at - tx.now <= timedelta(days=30)
    assert "60 days" in place.told("mei")[-1]
    assert "60 days" in place.told("yan")[-1]
    place.nothing_left(job)
    with pytest.raises(UserError, match="not_public"):
        place.does("mei", aftermath.after_delete, rescue)


@pytest.mark.parametrize("gone", ["copy", "backup", "readers", "mailbox"])
def test_what_was_agreed_to_is_read_again_before_anything_is_deleted(place: Place, gone: str) -> None:
    """A copy that lost mails, a backup that is not whole, other users, another mailbox: nothing is deleted."""
    rescue = place.saved()
    job = deletion_of(place, rescue)
    if gone == "copy":
        place.mail.broken = True
    elif gone == "backup":
        with place.store.begin() as tx:
            copy = tx.jobs.get(place.data(rescue)["backup"])
            tx.jobs.put(copy, outcome={**copy.data["outcome"], "complete": False})
    place.does("yan", approvals.approve, place.data(job)["approval"])
    with place.store.begin() as tx:
        box = tx.mailboxes.at(AHING)
        assert box is not None
        if gone == "readers":
            place.shown_to = ["mei", "tao"]
        elif gone == "mailbox":
            place.public = None
            tx.mailboxes.ended(box)
    place.run(job)
    assert place.deletions == 0
    assert place.data(job)["ending"] == "failed"
    assert place.told("mei")[-1] == place.told("yan")[-1]
    assert len(book(place)) == 1
    place.nothing_left(job)


def test_a_backup_that_is_not_whole_lets_nobody_ask(place: Place) -> None:
    """Deleted or assigned on: both need the copy."""
    rescue = place.saved()
    with place.store.begin() as tx:
        copy = tx.jobs.get(place.data(rescue)["backup"])
        tx.jobs.put(copy, outcome={**copy.data["outcome"], "verified": False})
    with pytest.raises(UserError, match="not_saved"):
        place.does("mei", aftermath.after_delete, rescue)
    with pytest.raises(UserError, match="not_saved"):
        place.does("mei", aftermath.after_assign, rescue, "calvin")


def test_an_answer_that_is_lost_deletes_once_and_is_booked(place: Place) -> None:
    """The intent stands in the row: the next turn finds that it is gone, whatever anybody cancels meanwhile."""
    rescue = place.saved()
    job = deletion_of(place, rescue)
    place.deleting = [NetworkError("cut")]
    agreed(place, job)
    assert place.data(job)["deleting"]["id"] == 9
    place.public = None  # it was heard all the same
    place.cancel(job)
    place.clock.advance(hours=1)
    place.run(job)
    assert place.data(job)["ending"] == "done"
    assert book(place)[-1] == (BinSource.PUBLIC, BinState.WAITING, "api")
    place.nothing_left(job)


def test_what_the_api_refuses_is_done_in_the_console_and_seen(place: Place) -> None:
    """Refused for good: a handover; "done" is contradicted while it is shown, and holds when it is not."""
    rescue = place.saved()
    job = deletion_of(place, rescue)
    place.deleting = [NOT_ALLOWED]
    agreed(place, job)
    assert place.state(job) == (JobState.WAITING, "delete")
    assert place.says_done(job).state is HandoverState.CONTRADICTED
    place.public = None
    step = place.poll(job)
    assert step.state is HandoverState.DONE
    assert place.data(job)["ending"] == "done"
    assert book(place)[-1] == (BinSource.PUBLIC, BinState.WAITING, "console")
    place.nothing_left(job)


def test_what_the_api_never_showed_is_entered_on_somebodys_word(place: Place) -> None:
    """Nobody can see it: nothing is said to be done before a person says so, and then only the book follows."""
    rescue = place.saved()
    hidden(place)
    job = deletion_of(place, rescue)
    agreed(place, job)
    assert place.deletions == 0
    asked_at = place.clock.moment
    assert place.state(job) == (JobState.WAITING, "delete")
    assert place.poll(job).state is HandoverState.WAITING
    assert place.says_done(job).state is HandoverState.DONE
    assert place.step(job).after["detail"] == {AHING: None, "said_by": "mei"}  # type: ignore[index]
    told = "\n".join(place.told("mei"))
    assert f"美玲 says that the public mailbox {AHING} is deleted" in told
    assert f"The public mailbox {AHING} is deleted" not in told
    with place.store.begin() as tx:
        item = tx.recycle_bin.waiting_at(AHING)
        assert item is not None
        assert item.entered_at <= asked_at, "the earliest it can have been"
    place.nothing_left(job)


@pytest.mark.parametrize("how", ["rejected", "expired", "cancelled", "too late"])
def test_nothing_is_deleted_when_it_ends_before(place: Place, how: str) -> None:
    """Each ending leaves the mailbox, no key, no console step, and says so."""
    rescue = place.saved()
    job = deletion_of(place, rescue)
    if how == "rejected":
        place.does("yan", approvals.reject, place.data(job)["approval"], "not yet")
        place.run(job)
    elif how == "expired":
        place.clock.advance(hours=24 * 8)
        place.runner.sweep("approvals-expiry", "1")
        place.sweep("deletion")
    elif how == "cancelled":
        place.cancel(job)
        place.run(job)
    else:
        place.deleting = [NOT_ALLOWED]
        agreed(place, job)
        place.clock.advance(hours=24 * 15)
        place.sweep("handovers")
        place.run(job)
    assert place.data(job)["ending"] == ("failed" if how == "too late" else how)
    assert place.public == AHING
    assert AHING in place.told("mei")[-1]
    assert len(book(place)) == 1
    place.nothing_left(job)
    again = deletion_of(place, rescue)
    assert place.state(again) == (JobState.WAITING, "approval"), "it may be asked for again"


def given_to_calvin(place: Place, rescue: int) -> int:
    """Assigned on: shown, submitted, agreed to by ling, known to calvin; nothing has been done yet."""
    place.owner = "calvin"  # what a look-up of calvin@ says
    place.does("mei", aftermath.after_assign, rescue, "calvin")
    with place.store.begin() as tx:
        job = max(each.id for each in tx.jobs.recent([reassign.KIND]))
    place.run(job)
    assert place.state(job) == (JobState.WAITING, "shown")
    return job


def test_assigned_on_by_the_ways_of_a_change_of_owner(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ling, who led ahing, agrees; deleted on the way; what calvin loses is in the book, by a look-up."""
    rescue = place.saved()
    owners: dict[str, str | None] = {"calvin@corp.test": "calvin"}
    look: Callable[..., str | None] = lambda job, address, **more: owners.get(address)  # noqa: E731
    monkeypatch.setattr("handlers.addresses.look_up", look)
    monkeypatch.setattr(handovers, "owner_now", look)
    monkeypatch.setattr(reassign_steps, "owner_now", look)
    monkeypatch.setattr(reassign, "unread_of", lambda job, userid: None)
    job = given_to_calvin(place, rescue)
    assert place.data(job)["facts"]["state"] == "public mailbox"
    assert place.data(job)["into"] == SUPPORT
    place.does("mei", reassign.submit, job)
    place.does("ling", approvals.approve, place.data(job)["approval"])
    with place.store.begin() as tx:
        tx.jobs.put(tx.jobs.get(job), into=None)  # its backup is another story
    place.run(job)
    place.does("calvin", reassign_steps.acknowledge, job)
    place.run(job)
    assert place.deletions == 1
    assert place.state(job) == (JobState.WAITING, "assign")
    assert book(place)[-1] == (BinSource.PUBLIC, BinState.WAITING, "api")
    owners |= {AHING: "calvin", "calvin@corp.test": None}
    assert place.poll(job).state is HandoverState.DONE
    assert place.data(job)["ending"] == "done"
    assert [(source, state) for source, state, _ in book(place)] == [
        (BinSource.LEFT, BinState.SAFE), (BinSource.PUBLIC, BinState.ASSIGNED), (BinSource.REPLACED, BinState.WAITING),
    ]  # fmt: skip
    place.nothing_left(job)
