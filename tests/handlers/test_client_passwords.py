"""Client passwords: listed, made and shown once, revoked; what is lost, full, old, or left behind by who went."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.errors import UserError
from handlers import changes, jobs
from handlers.public import client_passwords
from storage.models import JobState, Secret
from storage.store import Store
from tests.handlers.conftest import FakeClock
from tests.handlers.wecom_wire import Place, backed_up

SUPPORT = "support@corp.test"


@pytest.fixture
def place(store: Store, clock: FakeClock) -> Place:
    return Place(store, clock)


def made(place: Place, what: str = "office printer", by: str = "mei") -> int:
    """A password that waits to be looked at."""
    job = place.confirmed(by, client_passwords.password_new, SUPPORT, what)
    assert place.stands(job) == (JobState.WAITING, "show"), place.last(by)
    return job


def looks(place: Place, job: int) -> str:
    """The page's button is pressed."""
    with place.store.begin() as tx:
        link = tx.links.latest(job, "show")
        assert link is not None
        link.spent_at = tx.now
        password, starts = client_passwords.PageHost(place.services).reveal(tx, link)
    for each in starts:
        place.run(each.id)
    return password


def secrets(place: Place) -> int:
    with place.store.begin() as tx:
        return tx.session.query(Secret).count()


def test_made_shown_once_and_forgotten(place: Place) -> None:
    """What WeCom told is on the page, once, and nowhere else; then it is in the list with who asked for it."""
    job = made(place)
    (password,) = place.public().passwords
    assert password.remark == f"office printer (mei #{job})"
    assert "/pages/" in place.last()
    assert secrets(place) == 1
    shown = looks(place, job)
    assert shown in place.org.box(SUPPORT).passwords.values()
    assert secrets(place) == 0
    assert place.ending(job) == "done"
    for member in ("mei", "yan"):
        assert shown not in "\n".join(place.heard(member))
    assert f"To end it: `password revoke support@ {password.id}`." in place.last()
    with pytest.raises(UserError):
        looks(place, job)
    place.does("mei", client_passwords.password_show, job)
    assert "has no password to show" in place.last()
    place.does("mei", client_passwords.passwords, SUPPORT)
    assert f"{password.id} “office printer (mei #{job})”: made 2026-03-02, never used" in place.last()
    assert {"client_password.made", "client_password.shown"} <= set(place.audited())


def test_the_page_says_what_it_is_and_only_its_member_has_a_new_one(place: Place) -> None:
    """A page that ran out is sent anew to who asked, to nobody else."""
    job = made(place)
    with place.store.begin() as tx:
        link = tx.links.latest(job, "show")
        assert link is not None
        facts = client_passwords.PageHost(place.services).facts(tx, link)
        assert facts.shows
        assert [str(each) for each in facts.lines] == ["For: office printer"]
        assert not client_passwords.PageHost(place.services).given(tx, link, "x" * 16)
    place.clock.advance(minutes=16)
    place.does("yan", client_passwords.password_show, job)
    assert "I know no job" in place.last("yan")
    place.does("mei", client_passwords.password_show, job)
    assert place.last().count("/pages/") == 1
    looks(place, job)


@pytest.mark.parametrize("how", ["a day", "cancel"])
def test_one_nobody_looked_at_is_revoked(place: Place, how: str) -> None:
    """No password that nobody knows lies about."""
    job = made(place)
    if how == "cancel":
        place.does("mei", jobs.cancel, job)
        place.run(job)
    else:
        place.clock.advance(days=1, minutes=1)
        place.sweep("changes")
    assert place.public().passwords == []
    assert secrets(place) == 0
    assert "Nobody looked at the client password of support@corp.test" in place.last()
    assert place.ending(job) in ("expired", "cancelled")


def test_a_lost_answer_leaves_no_second_password(place: Place) -> None:
    """What bears our remark is deleted, a new one made: the first nobody knows."""
    place.wire.lost["update"] = 1
    job = place.confirmed("mei", client_passwords.password_new, SUPPORT, "printer")
    assert len(place.public().passwords) == 1
    place.later(job, seconds=30)
    assert place.stands(job) == (JobState.WAITING, "show")
    (password,) = place.public().passwords
    shown = looks(place, job)
    assert place.org.box(SUPPORT).passwords[password.id] == shown


def test_a_busy_wecom_leaves_no_second_password(place: Place) -> None:
    """It answered -1 and had made one, whose code nobody knows: that one is revoked."""
    place.wire.busy["update"] = 1
    job = made(place)
    assert len(place.public().passwords) == 1
    assert looks(place, job) in place.org.box(SUPPORT).passwords.values()


def test_a_busy_wecom_that_revoked_it_all_the_same(place: Place) -> None:
    """The client asks it again, and there is no such password any more."""
    job = made(place)
    looks(place, job)
    (password,) = place.public().passwords
    place.wire.busy["delete_auth_code"] = 1
    revoked = place.confirmed("mei", client_passwords.password_revoke, SUPPORT, password.id)
    assert place.ending(revoked) == "done"
    assert place.public().passwords == []


def test_ten_are_the_limit(place: Place) -> None:
    """Said before WeCom is asked, with those that could go."""
    for number in range(10):
        place.org.mint(place.public(), f"p{number}", by_api=True)
    place.does("mei", client_passwords.password_new, SUPPORT, "one more")
    assert "has 10 client passwords, and WeCom allows no more" in place.last()
    assert "“p0”" in place.last()
    place.does("mei", client_passwords.passwords)
    assert "support@corp.test has 10 of 10 client passwords" in place.last()
    place.does("mei", client_passwords.passwords, form="csv")
    place.does("mei", client_passwords.passwords, SUPPORT, "csv")
    (_, full), (name, content) = place.files()
    assert "10" in full.decode("utf-8-sig").splitlines()[1]
    assert name == "client-passwords-20260302.csv"
    assert len(content.decode("utf-8-sig").splitlines()) == 11


def test_backups_in_it_want_a_second_admin(place: Place) -> None:
    """Who cannot open the mailbox would read them with the password; who can already needs no other yes."""
    with place.store.begin() as tx:
        backed_up(tx, "ahing", SUPPORT)
    job = place.does("yan", client_passwords.password_new, SUPPORT, "printer")
    assert place.stands(job) == (JobState.WAITING, "approval")
    assert "holds backups of ahing@corp.test" in place.last("yan")
    place.approves("mei", job)
    assert place.stands(job) == (JobState.WAITING, "show")
    assert place.stands(place.does("mei", client_passwords.password_new, SUPPORT, "x"))[1] == "confirm"


def test_revoked(place: Place) -> None:
    """Shown which one; gone; unknown ones and those a job of ours uses are refused."""
    number, _ = place.org.mint(place.public(), "printer", by_api=True)
    own, _ = place.org.mint(place.public(), "exmail-bot x 3 source", by_api=True)
    place.wire.lost["delete_auth_code"] = 1
    job = place.confirmed("mei", client_passwords.password_revoke, SUPPORT, number)
    assert "“printer”" in "\n".join(place.heard("mei"))
    place.later(job, seconds=30)
    assert f"Client password {number} of support@corp.test is revoked" in place.last()
    assert [each.id for each in place.public().passwords] == [own]
    place.does("mei", client_passwords.password_revoke, SUPPORT, own)
    assert "One of my jobs is using" in place.last()
    place.does("mei", client_passwords.password_revoke, SUPPORT, 99)
    assert f"has no client password 99. It has: {own}" in place.last()


def test_looked_after_once_a_month(place: Place) -> None:
    """The first working morning of a month: never used, old, made by who left; nothing to say, nothing said."""
    place.sweep("password-hygiene")
    job = made(place, by="yan")
    looks(place, job)
    used, _ = place.org.mint(place.public(), "used", by_api=True)
    place.org.box(SUPPORT).last_used[used] = place.clock.now()
    place.clock.moment = datetime(2026, 3, 9, 2, tzinfo=UTC)
    place.sweep("password-hygiene")
    before = len(place.heard("mei"))
    place.clock.moment = datetime(2026, 4, 1, 22, tzinfo=UTC)  # Thursday, six in the morning in Shanghai
    place.sweep("password-hygiene")
    assert len(place.heard("mei")) == before
    with place.store.begin() as tx:
        yan = tx.members.find("yan")
        assert yan is not None
        tx.members.left(yan)
    place.clock.moment = datetime(2026, 4, 2, 2, tzinfo=UTC)
    place.sweep("password-hygiene")
    told = place.last()
    assert "Client passwords to look at (1):" in told
    assert "Look at it: nobody has used it, 赵燕, who asked for it, has left and may know it" in told
    place.sweep("password-hygiene")
    assert place.last() == told
    assert len([each for each in place.heard("mei") if "to look at" in each]) == 1
    place.clock.moment = datetime(2026, 7, 1, 2, tzinfo=UTC)
    place.sweep("password-hygiene")
    assert "it is 120 days old" in place.last()
    assert "“used”" in place.last()
    for each in list(place.public().passwords):
        place.org.revoke(place.public(), each)
    said = len(place.heard("mei"))
    place.clock.moment = datetime(2026, 8, 3, 2, tzinfo=UTC)
    place.sweep("password-hygiene")
    assert len(place.heard("mei")) == said
    place.does("mei", client_passwords.passwords)
    assert "Nothing is wrong with the client passwords of the public mailboxes that I see (1)" in place.last()


def test_changed_before_it_was_made(place: Place) -> None:
    """The mailbox is gone between question and yes."""
    job = place.does("mei", client_passwords.password_new, SUPPORT, "x")
    del place.org.public[1]
    place.does("mei", changes.confirm, job)
    assert "WeCom does not show me support@corp.test any more" in place.last()
    assert secrets(place) == 0
