"""Advanced seats: a hundred a call, whom WeCom refuses is named, and what was done is not forgotten when it stops."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.sandbox.people import Member
from handlers import changes
from handlers.organisation import seats
from storage.models import JobState
from storage.store import Store
from tests.handlers.conftest import FakeClock
from tests.handlers.wecom_in_process import World

ADD = "exmail/vip/batch_add"


@pytest.fixture
def world(store: Store, clock: FakeClock) -> Iterator[World]:
    return World(store, clock)


def yes(world: World) -> str:
    return world.does("mei", changes.confirm, world.newest("seats").id)


def crowd(world: World, count: int) -> None:
    """So many more members of a department, both there and in our rows."""
    with world.store.begin() as tx:
        for number in range(count):
            userid = f"u{number:03}"
            world.org.members[userid] = Member(userid, userid, [5], f"{userid}@corp.test")
            tx.members.saw(userid, name=userid, departments=[5], main_department=5, status=1)


def test_given_shown_and_taken_back(world: World) -> None:
    assert "Nobody in my sight" in world.does("mei", seats.seats_show)
    said = world.does("mei", seats.seats_add, ["阿兴", "calvin"])
    assert "Now 0 have them, then 2" in said
    assert world.org.vip == []
    assert "These have the advanced functions now (2): 阿兴, 卡尔文" in yes(world)
    assert world.org.vip == ["ahing", "calvin"]
    assert "They are: 阿兴, 卡尔文" in world.does("mei", seats.seats_show)
    assert "There is nothing to do" in world.does("mei", seats.seats_add, ["ahing"])
    assert "may take no more mail" in world.does("mei", seats.seats_remove, ["ahing", "mei"])
    assert "taken back from these (1): 阿兴" in yes(world)
    assert world.org.vip == ["calvin"]
    assert world.audited("seats.") == ["seats.changed", "seats.changed"]


def test_a_hundred_a_call_and_who_is_refused_is_named(world: World) -> None:
    """A department of 250, one of whom has no mailbox: three calls, one name."""
    crowd(world, 250)
    world.org.members["u120"].address = None
    world.does("mei", seats.seats_add, ["dept:客服"])
    said = yes(world)
    assert [len(body["userid_list"]) for body in world.client.made(ADD)] == [100, 100, 52]
    assert "These have the advanced functions now (251)" in said
    assert "WeCom refused these (1) without a reason: u120" in said
    assert len(world.org.vip) == 251
    world.does("mei", seats.seats_show)
    assert world.files("mei") == ["advanced-seats-20260302.xlsx"]
    world.does("mei", seats.seats_show, "csv")
    assert world.files("mei")[1:] == ["advanced-seats-20260302.csv"]


def test_stopped_half_way_it_says_what_was_done(world: World) -> None:
    """The second call is refused for good: the first hundred have theirs, the rest are told."""
    crowd(world, 150)
    world.does("mei", seats.seats_add, ["dept:客服"])
    first = world.client.between

    def forbid() -> None:
        first[ADD] = lambda: world.org.troubles.set("mail_not_allowed", True, path=ADD)

    first[ADD] = forbid
    said = yes(world)
    assert "These have the advanced functions now (100)" in said
    assert "these were not asked about (52)" in said
    assert world.newest("seats").state is JobState.DONE


def test_a_lost_answer_is_asked_again(world: World) -> None:
    world.does("mei", seats.seats_add, ["ahing"])
    world.client.lost[ADD] = [True]
    yes(world)
    world.later(seconds=30)
    assert "These have the advanced functions now (1): 阿兴" in world.heard("mei")[-1]
    assert world.org.vip == ["ahing"]
