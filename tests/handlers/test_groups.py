"""Mail groups: made, added to, taken from, who may send, deleted; two at once lose nothing, lost answers are found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bot.errors import UserError
from bot.sandbox.people import MailGroup
from handlers import changes
from handlers.organisation import groups
from storage.store import Store
from tests.handlers.conftest import FakeClock
from tests.handlers.wecom_in_process import World

ALL = "all@corp.test"


@pytest.fixture
def world(store: Store, clock: FakeClock) -> Iterator[World]:
    made = World(store, clock)
    with store.begin() as tx:
        tx.mailboxes.public_is(1, "support@corp.test", name="客户支持", readers={}, aliases=[])
    return made


def yes(world: World, by: str = "mei") -> str:
    return world.does(by, changes.confirm, world.newest("group").id)


def made(world: World, *people: str) -> None:
    world.does("mei", groups.group_create, "all@", "Everybody", list(people or ["ahing"]))
    assert "is made" in yes(world)


def fields(world: World, name: str) -> Any:
    return world.org.groups[ALL].fields.get(name, {}).get("list", [])


def test_made_of_members_departments_tags_and_groups(world: World) -> None:
    """Shown first; an address is a member's or a group's as WeCom says; then listed and shown with its members."""
    world.org.groups["board@corp.test"] = MailGroup(
        "board@corp.test", True, {"groupname": "Board", "email_list": {"list": ["fang@corp.test"]}, "allow_type": 0}
    )
    said = world.does(
        "mei", groups.group_create, "all@", "Everybody", ["阿兴", "dept:销售", "tag:客服值班", "tao@", "board@"]
    )
    for part in ("阿兴 (ahing@corp.test)", "陈涛 (tao@corp.test)", "the group board@corp.test", "客服值班"):
        assert part in said
    assert ALL not in world.org.groups
    yes(world)
    assert fields(world, "email_list") == ["ahing@corp.test", "tao@corp.test"]
    assert (fields(world, "department_list"), fields(world, "tag_list")) == ([2], [3])
    assert fields(world, "group_list") == ["board@corp.test"]
    assert "2 mail groups" in world.does("mei", groups.group_show)
    shown = world.does("mei", groups.group_show, "all@")
    assert "the mail group “Everybody”" in shown
    assert "Who may send to it: everybody in the organisation" in shown
    assert world.audited("group.") == ["group.asked", "group.created"]


def test_added_and_removed_by_two_at_once(world: World) -> None:
    """Each wish is carried out on the list as it is then."""
    made(world, "ahing")
    for by, who in (("mei", "tao"), ("yan", "lan")):
        world.does(by, groups.group_add, "all@", [who])
    with world.store.begin() as tx:
        first, second = tx.jobs.waiting_or_due("group")
        for job in (first, second):
            changes.confirm(world.context(tx, job.asked_by), job.id)
    world.run()
    assert fields(world, "email_list") == ["ahing@corp.test", "tao@corp.test", "lan@corp.test"]
    world.does("mei", groups.group_remove, "all@", ["ahing", "tao"])
    assert "no longer reaches: 阿兴 (ahing@corp.test), 陈涛 (tao@corp.test)" in yes(world)
    assert fields(world, "email_list") == ["lan@corp.test"]
    assert "nobody left" in world.does("mei", groups.group_remove, "all@", ["lan"])
    assert "does not name" in world.does("mei", groups.group_remove, "all@", ["ahing"])
    assert "already" in world.does("mei", groups.group_add, "all@", ["lan"])


def test_who_may_send(world: World) -> None:
    """Each of the four; a list is only sent with the fourth; anyone is warned of."""
    made(world)
    assert "spam from outside" in world.does("mei", groups.group_senders, "all@", "anyone")
    assert "anyone, also from outside" in yes(world)
    assert world.org.groups[ALL].fields["allow_type"] == 1
    world.does("mei", groups.group_senders, "all@", None, ["fang", "dept:销售"])
    assert "only 方敏 (fang@corp.test)" in yes(world)
    assert (fields(world, "allow_emaillist"), fields(world, "allow_departmentlist")) == (["fang@corp.test"], [2])
    assert "It is so already" in world.does("mei", groups.group_senders, "all@", None, ["fang", "dept:销售"])
    world.does("mei", groups.group_senders, "all@", "成员")
    yes(world)
    assert (world.org.groups[ALL].fields["allow_type"], fields(world, "allow_emaillist")) == (2, [])
    assert "is a mail group" in world.does("mei", groups.group_senders, "all@", None, ["all@"])


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("do", ["create", "delete", "add"])
def test_a_lost_answer(world: World, do: str, arrives: bool) -> None:
    """Carried out or not: it is done once, and said so."""
    if do != "create":
        made(world)
    command, args = {
        "create": (groups.group_create, ("all@", "Everybody", ["ahing"])),
        "add": (groups.group_add, ("all@", ["tao"])), "delete": (groups.group_delete, ("all@",)),
    }[do]  # fmt: skip
    world.does("mei", command, *args)
    world.client.lost[f"exmail/group/{'update' if do == 'add' else do}"] = [arrives]
    yes(world)
    for _ in range(3):
        world.later(seconds=60)
    assert {"create": "is made", "add": "reaches these now", "delete": "is deleted"}[do] in world.heard("mei")[-1]
    assert (ALL in world.org.groups) == (do != "delete")


@pytest.mark.parametrize("do", ["create", "delete"])
def test_a_busy_wecom_that_did_it_all_the_same(world: World, do: str) -> None:
    """The client asked it again, and it says that there is one already, or none any more: that was us."""
    if do == "create":
        fields = {"groupname": "Everybody", "email_list": {"list": ["ahing@corp.test"]}, "allow_type": 0}
        world.does("mei", groups.group_create, "all@", "Everybody", ["ahing"])
        world.client.between["exmail/group/create"] = lambda: world.org.groups.update(
            {ALL: MailGroup(ALL, True, fields)}
        )
    else:
        made(world)
        world.does("mei", groups.group_delete, "all@")
        world.client.between["exmail/group/delete"] = lambda: world.org.groups.clear()
    assert {"create": "is made", "delete": "is deleted"}[do] in yes(world)


def test_a_group_somebody_else_made_meanwhile_is_not_ours(world: World) -> None:
    """Between the question and the yes, even with the same name."""
    world.does("mei", groups.group_create, "all@", "Everybody", ["ahing"])
    world.org.groups[ALL] = MailGroup(ALL, True, {"groupname": "Everybody", "allow_type": 0})
    assert "is the mail group “Everybody”" in yes(world)


def test_what_cannot_be(world: World) -> None:
    """Taken addresses, mailboxes, groups of the console, strangers, public mailboxes as members, too long a name."""
    assert "it belongs to 陈涛" in world.does("mei", groups.group_create, "tao@", "T", ["ahing"])
    with pytest.raises(UserError, match=r"groups\.is_mailbox"):
        world.does("mei", groups.group_add, "support@", ["ahing"])
    with pytest.raises(UserError, match=r"groups\.name_too_long"):
        world.does("mei", groups.group_create, "all@", "名" * 67, ["ahing"])
    world.org.groups["hand@corp.test"] = MailGroup("hand@corp.test", False, {"groupname": "Hand", "allow_type": 0})
    assert "made in the console" in world.does("mei", groups.group_add, "hand@", ["ahing"])
    assert "made in the console" in world.does("mei", groups.group_show, "hand@")
    assert "A public mailbox cannot be in a group" in world.does("mei", groups.group_create, "x1@", "X", ["support@"])
    assert "I see no mail group" in world.does("mei", groups.group_show)
    with pytest.raises(UserError):
        world.does("mei", groups.group_create, "all@", "X", ["nobody at all"])


def test_many_come_as_a_file(world: World) -> None:
    for number in range(30):
        address = f"g{number}@corp.test"
        world.org.groups[address] = MailGroup(address, True, {"groupname": f"=1+{number}", "allow_type": 0})
    said = world.does("mei", groups.group_show)
    assert "30 mail groups" in said
    assert "g1@" not in said
    assert world.files("mei") == ["mail-groups-20260302.xlsx"]
    people = {"list": [f"=1+{number}@corp.test" for number in range(14)]}
    world.org.groups[ALL] = MailGroup(ALL, True, {"groupname": "Everybody", "email_list": people, "allow_type": 0})
    assert "and 2 more" in world.does("mei", groups.group_show, "all@")
    world.does("mei", groups.group_show, "all@", "csv")
    assert world.files("mei")[1:] == ["mail-group-all.xlsx", "mail-group-all.csv"]
