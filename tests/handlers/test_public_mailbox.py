"""Public mailboxes by command: what is shown, agreed to and done; two admins at once, lost answers, refusals."""

from __future__ import annotations

import io

import pytest
from openpyxl import load_workbook

from bot.sandbox.people import MailGroup
from handlers import changes, jobs
from handlers.bin import recycle_bin
from handlers.public import public_mailbox, public_shown
from storage.ledger_tables import CopyRoot
from storage.models import BinSource, JobState
from storage.store import Store
from tests.handlers.conftest import FakeClock
from tests.handlers.wecom_wire import Place, backed_up

SUPPORT, HELP = "support@corp.test", "help@corp.test"


@pytest.fixture
def place(store: Store, clock: FakeClock) -> Place:
    return Place(store, clock)


def creates(place: Place, *people: str, by: str = "mei", address: str = "help@", name: str = "Help") -> int:
    """Asked for; what it would be is shown."""
    return place.does(by, public_mailbox.public_create, address, name, list(people or ["ahing"]))


# --- shown -----------------------------------------------------------------------------------------------------------


def test_all_of_them_with_their_use_and_the_places_left(place: Place) -> None:
    """What the app sees is listed; what it cannot see, and why, is said."""
    place.does("mei", public_shown.public)
    told = place.last()
    assert "Public mailboxes that I see: 1" in told
    assert "support@corp.test “客户支持”: 2 people; no mail seen since 2026-03-02, no client password" in told
    assert "I know of 1; a free plan has places for 3" in told
    assert "WeCom shows me only public mailboxes that I made myself" in told
    assert "sales@" not in told
    assert "unused" not in told
    place.org.vip = ["ahing", "calvin"]
    place.clock.advance(days=31)
    place.does("mei", public_shown.public)
    assert "Looks unused for 30 days: support@corp.test" in place.last()
    assert "2 members have a seat" in place.last()
    with place.store.begin() as tx:
        public_shown.mail_came(place.context(tx, "sys"), 1)
    place.does("mei", public_shown.public)
    assert "last mail on 2026-04-02" in place.last()
    assert "unused" not in place.last()


def test_with_the_other_rule_the_app_sees_all(place: Place) -> None:
    """Whether an app sees what the console made is not settled: both work."""
    place.org.troubles.set("own_public_mailboxes_only", False)
    place.does("mei", public_shown.public)
    assert "that I see: 2" in place.last()
    assert "sales@corp.test “销售”: 2 people" in place.last()


def test_an_empty_list_is_no_proof(place: Place) -> None:
    """Nothing is seen, and the likely reason is said."""
    del place.org.public[1]
    place.does("mei", public_shown.public)
    assert "I see no public mailbox" in place.last()
    assert "WeCom shows me only public mailboxes that I made myself" in place.last()


def test_one_of_them_in_full(place: Place) -> None:
    """Members, departments and tags by name with their numbers, aliases, passwords with age and last use."""
    box = place.public()
    box.departments, box.tags, box.aliases = [5], [3], ["service@corp.test"]
    number, _ = place.org.mint(box, "office printer", by_api=True)
    place.clock.advance(days=3)
    place.does("mei", public_shown.public, SUPPORT)
    told = place.last()
    assert "support@corp.test “客户支持”, public mailbox 1" in told
    assert "4 people can open it: 阿兴, 美玲, department 客服 (2 people), tag 客服值班 (2 people)." in told
    assert "Aliases (5 at most): service@corp.test" in told
    assert f"password {number} “office printer”: made 2026-03-02, never used" in told
    place.does("mei", public_shown.public, "sales@corp.test")
    assert "WeCom shows me no public mailbox sales@corp.test" in place.last()
    assert "made in the admin console" in place.last()
    place.does("mei", public_shown.public, "ahing@corp.test")
    assert "a member's own mailbox" in place.last()


@pytest.mark.parametrize("form", ["xlsx", "csv"])
def test_a_list_as_a_file_computes_nothing(place: Place, form: str) -> None:
    """Sixteen do not fit into a message; a name that is a formula stays text."""
    place.public().name = "=HYPERLINK(1)"
    for number in range(20):
        place.org.new_public(f"box{number}@corp.test", f"@box{number}", {"members": ["ahing"]}, by_app=True)
    place.does("mei", public_shown.public, form=form if form == "csv" else None)
    ((name, content),) = place.files()
    assert name == f"public-mailboxes-20260302.{form}"
    if form == "csv":
        rows = content.decode("utf-8-sig").splitlines()
        assert len(rows) == 22
        assert "'=HYPERLINK(1)" in rows[1]
        assert "'@box0" in rows[2]
    else:
        sheet = load_workbook(io.BytesIO(content)).active
        assert sheet is not None
        assert (sheet["C2"].value, sheet["C2"].data_type) == ("=HYPERLINK(1)", "s")
    assert "that I see: 21" in place.last()


# --- made ------------------------------------------------------------------------------------------------------------


def test_made_after_a_yes_and_only_then(place: Place) -> None:
    """Who would open it and the places left are shown first; a second press changes nothing."""
    job = creates(place, "ahing", "dept:Sales", "标签：客服值班")
    assert place.public(HELP) is None
    asked = place.last()
    assert "I would make the public mailbox help@corp.test “Help”, for: 阿兴, department 销售 (5 people)" in asked
    assert "tag 客服值班 (2 people)" in asked
    assert "I know of 1; a free plan has places for 3" in asked
    assert f"`confirm {job}`" in asked
    place.does("yan", changes.confirm, job)
    assert "only 美玲 can confirm it" in place.last("yan")
    place.does("mei", changes.confirm, job)
    made = place.public(HELP)
    assert (made.name, made.members, made.departments, made.tags) == ("Help", ["ahing"], [2], [3])
    assert "help@corp.test “Help” is there (id 3); 5 people can open it" in place.last()
    place.does("mei", changes.confirm, job)
    assert f"Job {job} does not wait for your yes: done." in place.last()
    assert place.wire.asked("create") == 1
    assert {"public.asked", "change.confirmed", "public.created"} <= set(place.audited())


def test_a_lost_answer_makes_no_second_mailbox(place: Place) -> None:
    """The request arrived, its answer did not: the mailbox is found again by its address."""
    place.wire.lost["create"] = 1
    job = creates(place)
    place.does("mei", changes.confirm, job)
    assert "WeCom does not answer just now" in place.last()
    place.later(job, seconds=30)
    assert "help@corp.test “Help” is there (id 3)" in place.last()
    assert place.wire.asked("create") == 1
    assert len(place.org.public) == 3


def test_a_request_that_comes_in_late_makes_no_second_mailbox(place: Place) -> None:
    """Not there when looked for, there when made again: WeCom says taken, and it is ours."""
    place.wire.never_sent["create"] = 1
    job = creates(place)
    place.does("mei", changes.confirm, job)
    place.wire.just_before["create"].append(
        lambda: place.org.new_public(HELP, "Help", {"members": ["ahing"]}, by_app=True)
    )
    place.later(job, seconds=30)
    assert "help@corp.test “Help” is there (id 3)" in place.last()
    assert len(place.org.public) == 3


def test_a_busy_wecom_that_made_it_all_the_same(place: Place) -> None:
    """The client asks a busy WeCom again, which then says taken: by us, if it was not there right before."""
    place.wire.busy["create"] = 1
    job = creates(place)
    place.does("mei", changes.confirm, job)
    assert "help@corp.test “Help” is there (id 3)" in place.last()
    assert (place.ending(job), len(place.org.public)) == ("done", 3)


def test_what_somebody_else_made_meanwhile_is_not_ours(place: Place) -> None:
    """Between the question and the yes."""
    job = creates(place)
    place.org.new_public(HELP, "Other", {"members": ["wei"]}, by_app=True)
    place.does("mei", changes.confirm, job)
    assert "help@corp.test is taken: it is the public mailbox “Other”" in place.last()
    assert place.ending(job) == "refused"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ahing@", "it belongs to 阿兴"), ("support@", "it is the public mailbox “客户支持”"),
        ("gone@", "is held by the recycle bin"), ("team@", "it is the mail group “Team”"),
        ("service@", "it is an alias of support@corp.test"),
    ],
)  # fmt: skip
def test_an_address_that_is_not_free(place: Place, address: str, said: str) -> None:
    """Whatever holds it is named before WeCom is asked to make anything."""
    fields = {"groupname": "Team", "email_list": {"list": ["ahing@corp.test"]}, "allow_type": 0}
    place.org.groups["team@corp.test"] = MailGroup("team@corp.test", True, fields)
    with place.store.begin() as tx:
        tx.mailboxes.member_has("ahing", "ahing@corp.test", "look-up")
        box = tx.mailboxes.at(SUPPORT)
        assert box is not None
        box.aliases = ["service@corp.test"]
        recycle_bin.enter(
            tx, place.services.settings, source=BinSource.BY_HAND, known_from="typed", address="gone@corp.test"
        )
    creates(place, address=address)
    assert said in place.last()
    assert place.wire.asked("create") == 0


@pytest.mark.parametrize(
    ("people", "said"),
    [
        (["dept:Nowhere"], "I see no department “Nowhere”. There are: 示例公司, 销售"),
        (["tag:nothing"], "I see no tag “nothing”. I see: mail-admin"),
        (["客服"], "客服 is a department. Write `dept:客服`"), (["support@"], "is no member's mailbox"),
    ],
)  # fmt: skip
def test_people_nobody_knows(place: Place, people: list[str], said: str) -> None:
    """What there is is offered."""
    creates(place, *people)
    assert said in place.last()
    assert place.wire.asked("create") == 0


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("public_mailboxes_full", "680046"), ("ip_not_trusted", "60020"), ("mail_not_allowed", "48002"),
    ],
)  # fmt: skip
def test_what_wecom_refuses_is_said_with_what_to_do(place: Place, trouble: str, said: str) -> None:
    """Nothing is left waiting; asked again by `retry`, it works once the trouble is over."""
    job = creates(place)
    place.org.troubles.set(trouble, True)
    place.does("mei", changes.confirm, job)
    assert "Make public mailbox help@corp.test “Help”: it could not be done" in place.last()
    assert said in place.last()
    assert place.stands(job)[0] is JobState.FAILED
    place.org.troubles.set(trouble, False)
    second = place.does("mei", jobs.retry, job)
    place.does("mei", changes.confirm, second)
    assert place.public(HELP) is not None


def test_a_limit_of_wecoms_is_waited_out(place: Place) -> None:
    """45009: said once, gone on with by itself."""
    job = creates(place)
    place.org.troubles.set("rate_limited", True, times=1, path="exmail/publicmail/create")
    place.does("mei", changes.confirm, job)
    assert "wants me to wait" in place.last()
    place.later(job, seconds=60)
    assert place.public(HELP) is None
    place.later(job, seconds=6)
    assert place.public(HELP) is not None


def test_nobody_says_yes(place: Place) -> None:
    """A day, then it is over; cancelled, it is over at once."""
    job = creates(place)
    place.clock.advance(days=1, minutes=1)
    place.sweep("changes")
    assert "nobody said yes in time" in place.last()
    second = creates(place)
    place.does("mei", jobs.cancel, second)
    assert "cancelled, nothing was changed" in place.last()
    assert (place.ending(job), place.ending(second)) == ("expired", "cancelled")
    assert place.public(HELP) is None


def test_asked_for_twice(place: Place) -> None:
    """The same line again while the first waits."""
    creates(place)
    creates(place, by="yan")
    assert "is being made already" in place.last("yan")


# --- who can open it -------------------------------------------------------------------------------------------------


def test_two_admins_at_once_lose_nothing(place: Place) -> None:
    """Both looked before either changed; the lists are read anew under each change."""
    first = place.does("mei", public_mailbox.public_add, SUPPORT, ["calvin"])
    second = place.does("yan", public_mailbox.public_remove, SUPPORT, ["ahing"])
    third = place.does("yan", public_mailbox.public_add, SUPPORT, ["dept:技术"])
    for member, job in (("mei", first), ("yan", second), ("yan", third)):
        place.does(member, changes.confirm, job)
    box = place.public()
    assert (set(box.members), box.departments) == ({"mei", "calvin"}, [3])
    assert "Done: 卡尔文 can open support@corp.test. 3 people can now." in place.heard("mei")[-1]


def test_one_waits_while_another_is_at_work(place: Place) -> None:
    """Between the reading and the writing of one, another's turn comes: it waits, and both are there at the end."""
    first = place.does("mei", public_mailbox.public_add, SUPPORT, ["calvin"])
    second = place.does("yan", public_mailbox.public_add, SUPPORT, ["lan"])
    place.wire.just_before["update"].append(lambda: place.does("yan", changes.confirm, second))
    place.does("mei", changes.confirm, first)
    assert set(place.public().members) == {"ahing", "mei", "calvin"}
    assert place.stands(second) == (JobState.DUE, "act")
    place.later(second, seconds=6)
    assert set(place.public().members) == {"ahing", "mei", "calvin", "lan"}


def test_a_lost_answer_is_not_overtaken(place: Place) -> None:
    """The request may still be on its way: nobody else goes on; once it is seen to have arrived the next does."""
    place.wire.lost["update"] = 1
    first = place.confirmed("mei", public_mailbox.public_add, SUPPORT, ["calvin"])
    second = place.confirmed("yan", public_mailbox.public_add, SUPPORT, ["lan"])
    for _ in range(3):
        place.later(second, seconds=6)
    assert place.stands(second) == (JobState.DUE, "act")
    (told,) = [each for each in place.heard("yan") if "waits its turn" in each]
    assert f"`cancel {second}`" in told
    place.later(first, seconds=10)
    assert "Done: 卡尔文 can open" in place.last()
    assert place.wire.asked("update") == 1
    place.later(second, seconds=6)
    assert place.ending(second) == "done"
    assert set(place.public().members) == {"ahing", "mei", "calvin", "lan"}


def test_a_request_that_may_still_come_keeps_others_out(place: Place) -> None:
    """It was not there, so it was made again; the first may still arrive, and would wipe what others wrote since."""
    place.wire.never_sent["update"] = 1
    first = place.confirmed("mei", public_mailbox.public_add, SUPPORT, ["calvin"])
    second = place.confirmed("yan", public_mailbox.public_add, SUPPORT, ["lan"])
    place.later(first, seconds=10)
    assert place.ending(first) == "done"
    place.later(second, seconds=6)
    assert place.stands(second) == (JobState.DUE, "act"), "two minutes have not passed since"
    place.does("yan", jobs.cancel, second)
    place.run(second)
    assert place.ending(second) == "cancelled", "who waits for another can still change his mind"


def test_a_read_that_was_lost_keeps_nobody_out(place: Place) -> None:
    """Nothing is on its way that could change anything."""
    first = place.does("mei", public_mailbox.public_add, SUPPORT, ["calvin"])
    second = place.does("yan", public_mailbox.public_add, SUPPORT, ["lan"])
    place.wire.just_before["get"] += [lambda: None, lambda: place.wire.never_sent.update(get=1)]
    place.does("mei", changes.confirm, first)
    assert place.stands(first) == (JobState.DUE, "act")
    place.does("yan", changes.confirm, second)
    assert place.ending(second) == "done"


def test_backups_in_it_want_a_second_admin(place: Place) -> None:
    """Whoever can open it reads them; who gains does not agree to it himself."""
    with place.store.begin() as tx:
        backed_up(tx, "ahing", SUPPORT)
    job = place.does("mei", public_mailbox.public_add, SUPPORT, ["calvin"])
    assert "holds backups of ahing@corp.test" in place.last()
    assert place.stands(job) == (JobState.WAITING, "approval")
    place.does("mei", changes.confirm, job)
    assert "does not wait for your yes" in place.last()
    place.approves("yan", job)
    assert "calvin" in place.public().members
    place.does("mei", public_mailbox.public_add, SUPPORT, ["yan"])
    assert "yan" not in place.public().members
    assert "needs a second admin" in place.last(), "she is the only other one, and would gain by it"


def test_a_backup_that_waits_for_access_lies_nowhere_yet(place: Place) -> None:
    """What was only asked for is no copy: nothing is said of it, and one admin decides."""
    with place.store.begin() as tx:
        backed_up(tx, "ahing", SUPPORT, stored=False)
    place.does("mei", public_shown.public, SUPPORT)
    assert "backups of" not in place.last()
    assert place.stands(place.does("mei", public_mailbox.public_add, SUPPORT, ["calvin"]))[1] == "confirm"
    with place.store.begin() as tx:
        tx.session.add(CopyRoot(source_key="mailbox:99", target_key="mailbox:1", root="x", under_way=True))
        backed_up(tx, "ahing", SUPPORT)
    place.does("mei", public_shown.public, SUPPORT)
    assert "It holds backups of ahing@corp.test:" in place.last()


def test_backups_that_came_after_the_question(place: Place) -> None:
    """What was agreed to is not so any more: asked again, by the stricter rule."""
    job = place.does("mei", public_mailbox.public_add, SUPPORT, ["calvin"])
    with place.store.begin() as tx:
        backed_up(tx, "ahing", SUPPORT)
    place.does("mei", changes.confirm, job)
    assert "things are not as they were when you agreed" in place.last()
    assert "Whose backups it holds: then -, now ahing@corp.test." in place.last()
    assert "calvin" not in place.public().members


def test_what_needs_no_change(place: Place) -> None:
    """He can already; he cannot anyway; he can by his department; nobody would be left."""
    place.public().departments = [5]
    for command, people, said in (
        (public_mailbox.public_add, ["ahing"], "阿兴 can open support@corp.test already"),
        (public_mailbox.public_remove, ["wei"], "魏强 cannot open support@corp.test"),
        (public_mailbox.public_remove, ["tao"], "陈涛 can open support@corp.test by department 客服 (2 people)"),
        (public_mailbox.public_remove, ["ahing", "mei", "dept:客服"], "Then nobody could open"),
    ):
        job = place.does("mei", command, SUPPORT, people)
        assert said in place.last()
        assert place.stands(job)[0] in (JobState.DONE, JobState.CANCELLED)
    place.public().members.append("tao")
    place.does("mei", public_mailbox.public_remove, SUPPORT, ["tao"])
    assert "陈涛 could still open it" in place.last()
    assert place.wire.asked("update") == 0


def test_gone_meanwhile(place: Place) -> None:
    """Deleted in the console between the question and the yes."""
    job = place.does("mei", public_mailbox.public_add, SUPPORT, ["calvin"])
    del place.org.public[1]
    place.does("mei", changes.confirm, job)
    assert "WeCom does not show me support@corp.test any more" in place.last()
    assert place.ending(job) == "refused"
