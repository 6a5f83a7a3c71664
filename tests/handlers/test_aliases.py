"""The alias list of a member's mailbox: shown to nobody by WeCom, so told first, never wiped, one writer at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.context import Missing
from bot.errors import UserError
from bot.policy import Policy
from bot.sandbox.people import MailGroup
from handlers import changes
from handlers.address import aliases
from handlers.approvals import approvals
from storage.models import BinSource, JobState
from storage.store import Store
from tests.handlers.conftest import FakeClock
from tests.handlers.wecom_in_process import World

AHING = "ahing@corp.test"
UPDATE = "user/update"


@pytest.fixture
def world(store: Store, clock: FakeClock) -> Iterator[World]:
    made = World(store, clock)
    with store.begin() as tx:
        tx.mailboxes.member_has("ahing", AHING, "look-up")
    return made


def everything_taken(world: World) -> dict[str, str]:
    """An address of each kind, and what is said of it."""
    world.org.groups["all@corp.test"] = MailGroup("all@corp.test", True, {"groupname": "Everybody", "allow_type": 0})
    world.org.public[2].by_app = True
    with world.store.begin() as tx:
        tx.mailboxes.aliases_are(tx.mailboxes.member_has("calvin", "calvin@corp.test", "look-up"), ["ming@corp.test"])
        tx.recycle_bin.enter(
            address="old@corp.test", mailbox_id=None, owner="old", owner_name="老王", manager=None,
            source=BinSource.LEFT, known_from="by-hand", added_by="mei", entered_at=tx.now,
            deletes_at=tx.now.replace(month=4, day=1),
        )  # fmt: skip
    return {
        "tao": "it belongs to 陈涛", "sales": "public mailbox “销售”", "all": "mail group “Everybody”",
        "bot": "mailbox of this app itself", "ming": "an alias of calvin@corp.test",
        "old": "recycle bin until 2026-04-01",
    }  # fmt: skip


def told(world: World, *listed: str) -> str:
    return world.does("mei", aliases.tell_aliases, "ahing@", list(listed))


def written(world: World) -> list[list[str]]:
    return [body["biz_mail_alias"]["item"] for body in world.client.made(UPDATE)]


def yes(world: World, by: str = "mei") -> str:
    return world.does(by, changes.confirm, world.newest("aliases").id)


def test_unknown_until_somebody_tells(world: World) -> None:
    """Shown as unknown; told, it is kept and nothing is written; told otherwise, the newest word counts."""
    assert "I do not know which aliases" in world.does("mei", aliases.aliases_of, "ahing@")
    assert "Noted: the aliases of ahing@corp.test are sales2@corp.test, info@corp.test" in told(
        world, "sales2@", "info@"
    )
    said = world.does("mei", aliases.aliases_of, "阿兴")
    assert "2 of 5 possible aliases: sales2@corp.test, info@corp.test" in said
    assert "As of 2026-03-02" in said
    assert "has no alias" in told(world, "none")
    assert "has no alias" in world.does("mei", aliases.aliases_of, "ahing@")
    assert written(world) == []
    assert world.audited("aliases.") == ["aliases.told", "aliases.told"]


def test_the_first_write_asks_which_there_are(world: World) -> None:
    """Then the answer and the new one are written together, after a yes."""
    for command, name in ((aliases.add_address, "add_address"), (aliases.remove_address, "remove_address")):
        with pytest.raises(Missing) as caught:
            world.does("mei", command, mailbox="ahing@", alias="info@")
        assert (caught.value.parameter, caught.value.command) == ("others", name)
    world.org.members["ahing"].aliases = ["ah@corp.test"]
    said = world.does("mei", aliases.add_address, "ahing@", "info@", "ah@, and@")  # type: ignore[arg-type]
    assert "The whole list at WeCom is replaced. It will be: ah@corp.test, and@corp.test, info@corp.test" in said
    assert written(world) == []
    said = yes(world)
    assert written(world) == [["ah@corp.test", "and@corp.test", "info@corp.test"]]
    assert "please send a mail to info@corp.test" in said
    assert world.org.members["ahing"].aliases == ["ah@corp.test", "and@corp.test", "info@corp.test"]


def test_two_admins_at_once_lose_nothing(world: World) -> None:
    """Both saw the list without the other's: both are in it in the end."""
    told(world, "none")
    world.does("mei", aliases.add_address, "ahing@", "one@")
    first = world.newest("aliases").id
    world.does("yan", aliases.add_address, "ahing@", "two@")
    second = world.newest("aliases").id
    with world.store.begin() as tx:
        for number, member in ((first, "mei"), (second, "yan")):
            changes.confirm(world.context(tx, member), number)
    world.run()
    assert written(world) == [["one@corp.test"], ["one@corp.test", "two@corp.test"]]
    assert "one@corp.test, two@corp.test" in world.heard("yan")[-1]


def test_a_lost_answer_writes_the_same_list_again(world: World) -> None:
    told(world, "ah@")
    world.does("mei", aliases.add_address, "ahing@", "info@")
    world.client.lost[UPDATE] = [True, False]
    yes(world)
    for _ in range(3):
        world.later(seconds=30)
    assert {tuple(each) for each in written(world)} == {("ah@corp.test", "info@corp.test")}
    assert "WeCom accepted it" in world.heard("mei")[-1]


def test_a_list_that_nobody_told_is_never_written(world: World) -> None:
    """Between the question and the yes the console renamed the mailbox: what it has now nobody has said."""
    told(world, "ah@")
    world.does("mei", aliases.add_address, "ahing@", "info@")
    world.org.members["ahing"].address, world.org.members["ahing"].aliases = "xing@corp.test", ["ah@corp.test", AHING]
    with world.store.begin() as tx:
        tx.mailboxes.member_has("ahing", "xing@corp.test", "look-up")
    said = yes(world)
    assert written(world) == []
    assert "xing@corp.test" in said
    assert world.newest("aliases").state is JobState.CANCELLED


def test_removed_by_its_name_alone(world: World) -> None:
    told(world, "ah@", "info@")
    said = world.does("mei", aliases.remove_address, "info@")
    assert "mail to it goes back to its sender" in said
    yes(world)
    assert written(world) == [["ah@corp.test"]]
    world.does("mei", aliases.remove_address, "ah@")
    assert "What is left: no alias" in yes(world)
    assert written(world)[-1] == []
    with pytest.raises(UserError, match=r"aliases\.whose"):
        world.does("mei", aliases.remove_address, "ah@")
    assert "there is nothing to do" in world.does("mei", aliases.remove_address, "ah@", "ahing@")


@pytest.mark.parametrize("taken", ["tao", "sales", "all", "bot", "ming", "old"])
def test_what_is_taken_is_named(world: World, taken: str) -> None:
    told(world, "none")
    wanted = everything_taken(world)[taken]
    assert wanted in world.does("mei", aliases.add_address, "ahing@", f"{taken}@")
    assert (written(world), world.newest("aliases").state) == ([], JobState.CANCELLED)


def test_what_wecom_refuses_changes_nothing(world: World) -> None:
    """Taken by what the app cannot see: the list we own stays true."""
    told(world, "ah@")
    world.does("mei", aliases.add_address, "ahing@", "hidden@")
    world.org.members["wei"].aliases = ["hidden@corp.test"]
    assert "its aliases are as they were" in yes(world)
    assert "1 of 5 possible aliases: ah@corp.test" in world.does("mei", aliases.aliases_of, "ahing@")


def test_five_is_the_limit(world: World) -> None:
    told(world, "a1@", "a2@", "a3@", "a4@", "a5@")
    assert "has 5 aliases already" in world.does("mei", aliases.add_address, "ahing@", "a6@")
    with pytest.raises(UserError, match=r"aliases\.too_many"):
        told(world, *(f"a{number}@" for number in range(6)))
    assert "is an address of ahing@corp.test already" in world.does("mei", aliases.add_address, "ahing@", "a5@")


def test_public_mailboxes_and_strangers(world: World) -> None:
    with world.store.begin() as tx:
        tx.mailboxes.public_is(1, "support@corp.test", name="s", readers={}, aliases=["help@corp.test"])
    with pytest.raises(UserError, match=r"aliases\.public"):
        world.does("mei", aliases.add_address, "support@", "info@")
    assert "1 of 5 possible aliases: help@corp.test" in world.does("mei", aliases.aliases_of, "support@")
    with pytest.raises(UserError, match=r"directory\.foreign_domain"):
        told(world, "a@elsewhere.example")


def test_a_stricter_policy_wants_another_admin(store: Store, clock: FakeClock) -> None:
    world = World(store, clock, policy=Policy({"alias": "two"}))
    with store.begin() as tx:
        tx.mailboxes.aliases_are(tx.mailboxes.member_has("ahing", AHING, "look-up"), [])
    world.does("mei", aliases.add_address, "ahing@", "info@")
    assert written(world) == []
    with store.begin() as tx:
        (question,) = tx.approvals.waiting_for("yan")
    world.does("yan", approvals.approve, question.id)
    assert written(world) == [["info@corp.test"]]
    assert "WeCom accepted it" in world.heard("yan")[-1], "who agreed hears what came of it"
