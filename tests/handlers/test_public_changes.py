"""A public mailbox's name, aliases and end, those the app does not see, and what is frozen."""

from __future__ import annotations

from typing import Any

import pytest

from handlers import changes, jobs, lookup
from handlers.approvals import approvals
from handlers.bin import into_bin
from handlers.changes import confirm
from handlers.organisation import freeze
from handlers.public import public_changes, public_shown
from storage.models import BinSource, BinState, JobState
from storage.store import Store
from tests.handlers.conftest import FakeClock
from tests.handlers.wecom_wire import Place

SUPPORT, FRONT = "support@corp.test", "front@corp.test"


@pytest.fixture
def place(store: Store, clock: FakeClock) -> Place:
    return Place(store, clock)


def member(place: Place, userid: str) -> Any:
    """A member as the simulated WeCom has him."""
    found = place.org.member(userid)
    assert found is not None
    return found


# --- name and aliases ------------------------------------------------------------------------------------------------


def test_another_name(place: Place) -> None:
    """Shown with the old one; the address stays, and that is said; a name that is taken is refused by WeCom."""
    job = place.does("mei", public_changes.public_rename, SUPPORT, "Service")
    assert "from “客户支持” to “Service”" in place.last()
    assert "The address stays" in place.last()
    place.does("mei", confirm, job)
    assert place.public().name == "Service"
    assert "is called “Service” now" in place.last()
    place.does("mei", public_changes.public_rename, SUPPORT, "Service")
    assert "is called “Service” already" in place.last()
    place.confirmed("mei", public_changes.public_rename, SUPPORT, "销售")
    assert "680040" in place.last()
    place.does("mei", public_changes.public_rename, SUPPORT, "字" * 33)
    assert "A name has 1 to 64 characters" in place.last()


def test_somebody_renamed_it_meanwhile(place: Place) -> None:
    """What was agreed to is not so any more."""
    job = place.does("mei", public_changes.public_rename, SUPPORT, "Service")
    place.public().name = "Other"
    place.does("mei", confirm, job)
    assert "Its name: then 客户支持, now Other." in place.last()
    assert place.public().name == "Other"


def test_aliases_of_two_admins(place: Place) -> None:
    """The list is replaced as a whole: each wish is carried out on the list of that moment."""
    first = place.does("mei", public_changes.public_alias_add, SUPPORT, ["help@", "service@"])
    second = place.does("yan", public_changes.public_alias_add, SUPPORT, ["info@"])
    place.does("mei", confirm, first)
    place.does("yan", confirm, second)
    assert place.public().aliases == ["help@corp.test", "service@corp.test", "info@corp.test"]
    place.confirmed("mei", public_changes.public_alias_remove, SUPPORT, ["help@"])
    assert place.public().aliases == ["service@corp.test", "info@corp.test"]
    with place.store.begin() as tx:
        box = tx.mailboxes.at("info@corp.test")
        assert box is not None
        assert box.address == SUPPORT
    for command, aliases, said in (
        (public_changes.public_alias_remove, ["help@"], "has no such alias. It has: service@corp.test, info@corp.test"),
        (public_changes.public_alias_add, ["info@"], "has info@corp.test already"),
        (
            public_changes.public_alias_add,
            ["a1@", "a2@", "a3@", "a4@"],
            "Name fewer, or remove one first, for example `public alias remove",
        ),
        (public_changes.public_alias_add, ["info@other.test"], "other.test"),
        (public_changes.public_alias_add, ["support@"], "support@corp.test is taken"),
    ):
        place.does("mei", command, SUPPORT, aliases)
        assert said in place.last()
    place.does("mei", public_changes.public_alias_add, SUPPORT, ["ahing@"])
    assert "ahing@corp.test is taken: it belongs to 阿兴" in place.last()
    place.confirmed("mei", public_changes.public_alias_add, SUPPORT, ["sales@"])
    assert "680033" in place.last(), "what only WeCom knows it says itself"


# --- deleted ---------------------------------------------------------------------------------------------------------


def deletes(place: Place) -> int:
    job = place.does("mei", public_changes.public_delete, SUPPORT, "nobody uses it")
    assert place.stands(job) == (JobState.WAITING, "approval")
    return job


def test_two_admins_then_the_book(place: Place) -> None:
    """Who uses it, what it holds and that nothing is saved is shown to both; then 30 days, and 60 as the help says."""
    job = deletes(place)
    for admin in ("mei", "yan"):
        told = "\n".join(place.heard(admin))
        assert "May the public mailbox support@corp.test “客户支持” be deleted?" in told
        assert "There is NO complete backup of its mail" in told
        assert "I count 30 days" in told
        assert "says 60" in told
    place.approves("yan", job)
    assert place.public() is None
    with place.store.begin() as tx:
        item = tx.recycle_bin.waiting_at(SUPPORT)
        assert item is not None
        assert (item.source, item.known_from, item.added_by) == (BinSource.PUBLIC, "api", "mei")
        assert (item.deletes_at - tx.now).days == 29
        assert tx.mailboxes.at(SUPPORT) is None
    for admin in ("mei", "yan"):
        assert "is deleted and in the recycle bin" in place.heard(admin)[-1]
        assert "60 days" in place.heard(admin)[-1]
    assert "public.deleted" in place.audited()


def test_what_changed_after_the_question_stops_it(place: Place) -> None:
    """Read again right before: somebody else can open it now."""
    job = deletes(place)
    place.public().members.append("wei")
    place.approves("yan", job)
    assert place.public() is not None
    assert "Who can open it: then 阿兴, 美玲, now 阿兴, 美玲, 魏强." in place.last()
    assert place.ending(job) == "refused"


def test_a_lost_answer_of_the_deletion(place: Place) -> None:
    """It was deleted; the next turn sees it, and the book has it once."""
    job = deletes(place)
    place.wire.lost["delete"] = 1
    place.approves("yan", job)
    place.later(job, seconds=30)
    assert "is deleted and in the recycle bin" in place.last()
    with place.store.begin() as tx:
        assert tx.recycle_bin.waiting_count() >= 1
        assert [each.state for each in tx.recycle_bin.known_at(SUPPORT)] == [BinState.WAITING]


def test_what_wecom_never_lets_us_delete_is_handed_over(place: Place) -> None:
    """Refused by API: the console is asked, and cancelled it is looked at once more."""
    job = deletes(place)
    place.org.troubles.set("ip_not_trusted", True, path="exmail/publicmail/delete")
    place.approves("yan", job)
    assert place.stands(job)[0] is JobState.WAITING
    with place.store.begin() as tx:
        (handover,) = tx.handovers.of_job(job)
        assert handover.values == [SUPPORT]
    del place.org.public[1]  # somebody did it in the console, and nobody said so
    place.does("mei", jobs.cancel, job)
    place.run(job)
    assert "is deleted and in the recycle bin" in place.last()
    assert place.ending(job) == "done"


def test_deleted_as_wecom_says_but_still_shown(place: Place) -> None:
    """Its yes is not believed: asked again and looked at every minute, five times; then the console is to do it."""
    job = deletes(place)
    place.wire.pretended["delete"] = 99
    place.approves("yan", job)
    for minute in range(1, into_bin.READ_BACKS_MAX):
        assert place.stands(job) == (JobState.DUE, "act")
        assert place.data(job)["deleting"]["looks"] == minute
        assert "approved" in place.last("yan"), "nobody is told before it is seen"
        place.later(job, minutes=1)
    assert place.stands(job)[0] is JobState.WAITING
    with place.store.begin() as tx:
        (handover,) = tx.handovers.of_job(job)
        assert handover.values == [SUPPORT]
        assert tx.recycle_bin.waiting_at(SUPPORT) is None
    assert place.public() is not None


def test_deleted_a_moment_after_wecom_said_so(place: Place) -> None:
    """Seen at the second look: into the book, with the moment of the first request."""
    job = deletes(place)
    place.wire.pretended["delete"] = 1
    place.approves("yan", job)
    asked_at = place.clock.now()
    place.later(job, minutes=1)
    assert "is deleted and in the recycle bin" in place.last()
    with place.store.begin() as tx:
        item = tx.recycle_bin.waiting_at(SUPPORT)
        assert item is not None
        assert item.entered_at == asked_at


def in_book(place: Place) -> bool:
    with place.store.begin() as tx:
        return tx.recycle_bin.waiting_at(SUPPORT) is not None


def test_a_look_that_is_refused_proves_nothing(place: Place) -> None:
    """Deleted, says WeCom, and then it lets nobody look: that is no sign that the mailbox is gone."""
    job = deletes(place)
    place.wire.pretended["delete"] = 99
    place.wire.just_before["delete"].append(
        lambda: place.org.troubles.set("ip_not_trusted", True, path="exmail/publicmail/get")
    )
    place.approves("yan", job)
    assert not in_book(place)
    assert place.ending(job) != "done"
    assert not any("is deleted and in the recycle bin" in each for each in place.heard("mei"))


def test_a_busy_wecom_is_asked_again_and_nobody_is_sent_to_the_console(place: Place) -> None:
    """It may delete it a moment later."""
    job = deletes(place)
    place.org.troubles.set("busy", True, path="exmail/publicmail/delete")
    place.approves("yan", job)
    assert place.stands(job) == (JobState.DUE, "act")
    place.org.troubles.set("busy", False)
    place.later(job, minutes=1)
    assert in_book(place)
    with place.store.begin() as tx:
        assert list(tx.handovers.of_job(job)) == []


@pytest.mark.parametrize("gone", [True, False])
def test_cancelled_between_two_looks_it_is_looked_at_once_more(place: Place, gone: bool) -> None:
    """What is gone by then is in the book; what is still shown is not."""
    job = deletes(place)
    place.wire.pretended["delete"] = 99
    place.approves("yan", job)
    assert place.data(job)["deleting"]["looks"] == 1
    if gone:
        del place.org.public[1]
    place.does("mei", jobs.cancel, job)
    place.run(job)
    assert in_book(place) is gone
    assert (place.ending(job) == "done") is gone


def test_a_no_or_work_on_it(place: Place) -> None:
    """Another admin says no; or a backup is under way."""
    job = deletes(place)
    place.does("yan", approvals.reject, place.data(job)["approval"], "we need it")
    assert "the answer was no, nothing was changed" in place.last()
    with place.store.begin() as tx:
        box = tx.mailboxes.at(SUPPORT)
        assert box is not None
        other = tx.jobs.add("backup", asked_by="mei", params={}, state=JobState.WAITING)
        tx.jobs.put(other, target=box.id)
    place.does("mei", public_changes.public_delete, SUPPORT, "x")
    assert f"Job {other.id} is at work on support@corp.test" in place.last()


# --- those we do not see ---------------------------------------------------------------------------------------------


def test_adopted_by_number(place: Place) -> None:
    """Hidden by the rule: said plainly; without the rule it is known from then on."""
    place.does("mei", public_changes.public_adopt, 2)
    assert "WeCom shows me no public mailbox with the number 2" in place.last()
    assert "I see only those that I made" in place.last()
    place.org.troubles.set("own_public_mailboxes_only", False)
    place.does("mei", public_changes.public_adopt, 2)
    assert "sales@corp.test “销售”: I know it from now on" in place.last()
    place.does("mei", public_shown.public, "sales@")
    assert "public mailbox 2" in place.last()


def test_told_of_by_hand(place: Place) -> None:
    """It counts for the places, and is shown as somebody's word; what the API shows later counts more."""
    place.does("mei", public_changes.public_note, "sales@", "销售", ["ling", "dept:技术"])
    assert "these can open it: 凌, department 技术 (2 people)" in place.last()
    place.does("mei", public_shown.public)
    assert "Made in the admin console, as I was told: sales@corp.test" in place.last()
    assert "I know of 2" in place.last()
    place.does("mei", public_shown.public, "sales@")
    assert "As I was told, these can open it" in place.last()
    place.does("mei", public_changes.public_note, "support@", "x", ["ling"])
    assert "support@corp.test is taken: it is the public mailbox" in place.last()
    place.does("mei", public_changes.public_note, "ahing@", "Ahing", ["ling"])
    assert "ahing@corp.test is taken: it belongs to 阿兴" in place.last(), "of whom nothing was known before"
    place.does("mei", public_changes.public_note, "x@", "x", ["tag:客服值班"])
    assert "Please name members or departments" in place.last()
    place.org.troubles.set("own_public_mailboxes_only", False)
    place.does("mei", public_changes.public_adopt, 2)
    place.does("mei", public_shown.public, "sales@")
    assert "2 people can open it: 卡尔文, 凌" in place.last()


# --- frozen ----------------------------------------------------------------------------------------------------------


def test_frozen_and_unfrozen(place: Place) -> None:
    """Who, when and why is kept, because no API tells; the second freeze says so."""
    place.confirmed("mei", freeze.freeze, "ahing@", "his phone was stolen")
    assert member(place, "ahing").frozen
    place.does("yan", freeze.freeze, "ahing", "again")
    assert "is frozen already, by 美玲, because: his phone was stolen" in place.last("yan")
    place.does("mei", freeze.frozen)
    assert "ahing@corp.test: frozen by 美玲 on 2026-03-02, because: his phone was stolen" in place.last()
    place.does("mei", lookup.mailbox, "ahing")
    assert "美玲 switched it off on 2026-03-02" in place.last()
    place.confirmed("yan", freeze.unfreeze, "ahing@")
    assert not member(place, "ahing").frozen
    place.does("mei", freeze.frozen)
    assert "I have frozen no mailbox" in place.last()
    assert {"freeze.frozen", "freeze.unfrozen"} <= set(place.audited())


def test_who_hears_of_a_freeze(place: Place) -> None:
    """The owner hears that, and whom to ask, never why; his manager why, too; each of them when it is over."""
    place.confirmed("mei", freeze.freeze, "ahing@", "his phone was stolen")
    owner, manager = place.heard("ahing")[-1], place.heard("ling")[-1]
    assert "Your mailbox ahing@corp.test is switched off" in owner
    assert "ask 美玲" in owner
    assert "stolen" not in owner
    assert "阿兴’s mailbox ahing@corp.test" in manager
    assert "his phone was stolen" in manager
    place.confirmed("yan", freeze.unfreeze, "ahing@")
    assert "Your mailbox ahing@corp.test is switched on again" in place.heard("ahing")[-1]
    assert "ahing@corp.test is switched on again" in place.heard("ling")[-1]


def test_a_freeze_nobody_but_the_manager_hears_of(place: Place) -> None:
    """`quietly`: the owner is not told; whoever froze it is told who was."""
    job = place.does("mei", freeze.freeze, "ahing@", "he sells our list of customers", how="quietly")
    assert "阿兴 is not told" in place.heard("mei")[-1]
    place.does("mei", changes.confirm, job)
    assert place.heard("ahing") == []
    assert "Please do not tell 阿兴" in place.heard("ling")[-1]


def test_many_frozen_ones_come_as_a_file(place: Place) -> None:
    """Reasons are typed by people: in the file nothing is computed."""
    with place.store.begin() as tx:
        job = tx.jobs.add("freeze", asked_by="mei", params={})
        for number in range(30):
            at = f"m{number}@corp.test"
            tx.freezes.begin(job_id=job.id, address=at, userid=f"m{number}", public_id=None, reason="=1+1", by="mei")
    place.does("mei", freeze.frozen)
    assert "30 mailboxes" in place.last()
    assert "m7@" not in place.last()
    place.does("mei", freeze.frozen, "csv")
    assert [name for name, _ in place.files()] == ["frozen-20260302.xlsx", "frozen-20260302.csv"]
    assert "'=1+1" in place.files()[-1][1].decode("utf-8-sig")


def test_who_cannot_be_frozen(place: Place) -> None:
    """The creator by WeCom's rule, oneself by ours, a mailbox the app does not see."""
    place.confirmed("yan", freeze.freeze, "mei@", "x")
    assert "cannot be frozen: it belongs to a super admin or to the creator" in place.last("yan")
    assert not member(place, "mei").frozen
    place.does("yan", freeze.freeze, "yan", "x")
    assert "your own mailbox" in place.last("yan")
    place.does("yan", freeze.freeze, "sales@", "x")
    assert "WeCom shows me no public mailbox sales@corp.test" in place.last("yan")


def front_is(place: Place, userid: str) -> None:
    """The address front@, of which no name tells whose it is, is this member's alone from now on."""
    for each in ("ahing", "calvin"):
        if each != userid and (known := member(place, each)).address == FRONT:
            place.org.rename(known, f"{each}2@corp.test")
            known.aliases.clear()
            place.org.sync(known.address)
    place.org.rename(member(place, userid), FRONT)


def test_the_address_is_somebody_elses_by_the_time_wecom_answers(place: Place) -> None:
    """Told to wait, and meanwhile the address was given on: whose it is is read again, and nobody's is switched off."""
    front_is(place, "ahing")
    job = place.does("mei", freeze.freeze, FRONT, "his phone was stolen")
    place.org.troubles.set("rate_limited", True, path="exmail/account/act_email")
    place.does("mei", changes.confirm, job)
    assert place.stands(job) == (JobState.DUE, "act")
    front_is(place, "calvin")
    place.org.troubles.set("rate_limited", False)
    place.later(job, minutes=3)
    assert not member(place, "calvin").frozen
    assert not member(place, "ahing").frozen
    assert "Its owner: then 阿兴, now 卡尔文" in place.last()
    assert place.ending(job) == "refused"


def test_an_answer_that_was_lost_never_hits_somebody_else(place: Place) -> None:
    """Whether WeCom did it is not known, so it is asked again, for the member who was shown, not for the address."""
    front_is(place, "ahing")
    job = place.does("mei", freeze.freeze, FRONT, "his phone was stolen")
    place.wire.never_sent["act_email"] = 1
    place.does("mei", changes.confirm, job)
    front_is(place, "calvin")
    place.later(job, minutes=3)
    assert not member(place, "calvin").frozen
    assert member(place, "ahing").frozen


def test_off_already_and_a_lost_answer(place: Place) -> None:
    """Switched off in the console before; or by us, and the answer was lost: it is off, and that is said."""
    member(place, "ahing").frozen = True
    place.confirmed("mei", freeze.freeze, "ahing@", "x")
    assert "ahing@corp.test is switched off" in place.last()
    place.wire.lost["act_email"] = 1
    job = place.confirmed("mei", freeze.freeze, "calvin@", "x")
    place.later(job, seconds=30)
    assert "calvin@corp.test is switched off" in place.last()


def test_a_public_one(place: Place) -> None:
    """`public disable` and `public enable` are the same for public mailboxes."""
    place.confirmed("mei", freeze.public_disable, SUPPORT)
    assert place.public().frozen
    place.does("mei", public_shown.public, SUPPORT)
    assert "美玲 switched it off" in place.last()
    place.confirmed("mei", freeze.public_enable, SUPPORT)
    assert not place.public().frozen


def test_mail_switches(place: Place) -> None:
    """Shown, switched, and kept from a copy that needs them."""
    place.org.box("ahing@corp.test").imap_on = False
    place.does("mei", freeze.imap, "ahing@")
    assert "IMAP and SMTP: off" in place.last()
    place.confirmed("mei", freeze.imap, "ahing@", "on")
    assert place.org.box("ahing@corp.test").imap_on
    assert "ahing@corp.test: IMAP and SMTP is on now" in place.last()
    place.does("mei", freeze.imap, "ahing@", "打开")
    assert "is on already" in place.last()
    with place.store.begin() as tx:
        backup = tx.jobs.add("backup", asked_by="mei", params={}, state=JobState.WAITING)
        tx.passwords.switch(backup.id, "ahing", "0")
    place.does("mei", freeze.imap, "ahing@", "off")
    assert f"Job {backup.id} is copying this mailbox" in place.last()
    place.org.box("ahing@corp.test").imap_on = False
    place.confirmed("mei", freeze.imap, "ahing@", "on")
    with place.store.begin() as tx:
        assert [each.before for each in tx.passwords.switches_of(backup.id)] == ["1"], "it stays on after the backup"
    place.confirmed("mei", freeze.secure_login, "ahing@", "on")
    assert member(place, "ahing").secure_login_forced
    place.does("mei", freeze.imap, "support@", "on")
    assert "is a public mailbox, which has no such switch" in place.last()
