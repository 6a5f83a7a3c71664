"""A mailbox gets another address: at most one call, read back, the console where no program may, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.context import Missing
from bot.errors import UserError
from handlers import changes, jobs
from handlers.address import old_address, rename
from handlers.handovers import handovers
from storage.handovers import OPEN
from storage.models import Handover, HandoverState, Job, JobState, Mailbox
from storage.store import Store
from tests.handlers.conftest import FakeClock, fill
from tests.handlers.wecom_in_process import World

JUN, NEW = "jun@corp.test", "lijun@corp.test"
UPDATE = "user/update"


@pytest.fixture
def world(store: Store, clock: FakeClock) -> Iterator[World]:
    made = World(store, clock)
    with store.begin() as tx:
        fill(tx)
        tx.members.saw("jun", name="李军", departments=[3], main_department=3, direct_leader="wei", status=1)
        tx.mailboxes.aliases_are(tx.mailboxes.member_has("jun", JUN, "look-up"), [])
    return made


def asked(world: World, source: str = JUN, target: str = "lijun@", by: str = "mei") -> Job:
    """`rename …`, shown and not yet agreed to."""
    world.does(by, rename.request_rename, source, target)
    return world.newest("rename")


def box(world: World) -> Mailbox:
    with world.store.begin() as tx:
        found = tx.mailboxes.of("jun")
        assert found is not None
        return found


def renames(world: World) -> int:
    """How often WeCom was asked for another address."""
    return sum("biz_mail" in body for body in world.client.made(UPDATE))


def step_of(world: World, job: Job) -> Handover:
    with world.store.begin() as tx:
        (found,) = tx.handovers.of_job(job.id)
        return found


def test_by_the_api_once_and_read_back(world: World) -> None:
    """Shown first; then one call, a look-up, the alias list with the old address; it stays the same mailbox."""
    was = box(world)
    said = world.does("mei", rename.request_rename, "jun@", "lijun@")
    job = world.newest("rename")
    for part in (
        f"{JUN} (李军) gets the new address {NEW}",
        "1 of 5 aliases",
        f"confirm {job.id}",
        "I ask WeCom first",
    ):
        assert part in said
    assert renames(world) == 0
    said = world.does("mei", changes.confirm, job.id)
    assert (renames(world), world.org.members["jun"].address) == (1, NEW)
    assert world.client.made(UPDATE)[-1] == {"userid": "jun", "biz_mail_alias": {"item": [JUN]}}
    assert f"{JUN} is {NEW} now (李军): a look-up confirms it" in said
    assert f"undo {job.id}" in said
    told = world.heard("jun")[-1]
    for part in ("In WeCom, on the phone and on the computer, you need not do anything", f"user name to {NEW}"):
        assert part in told
    now = box(world)
    assert (now.id, now.address, now.aliases, now.address_fixed) == (was.id, NEW, [JUN], True)
    assert now.aliases_known_at is not None
    assert world.job(job.id).state is JobState.DONE
    assert world.audited("rename.", "alias.") == ["rename.asked", "rename.agreed", "rename.done", "alias.added"]
    with world.store.begin() as tx:
        assert tx.answers.of("rename_api") == "yes"


def test_which_aliases_there_are_is_asked_before_anything(world: World) -> None:
    """The list is replaced with the old address: what nobody named would be lost."""
    with world.store.begin() as tx:
        mine = tx.mailboxes.of("jun")
        assert mine is not None
        mine.aliases_known_at = None
    with pytest.raises(Missing) as caught:
        world.does("mei", rename.request_rename, "jun@", "lijun@")
    assert (caught.value.parameter, caught.value.command) == ("others", "request_rename")
    world.org.members["jun"].aliases = ["it@corp.test"]
    world.does("mei", rename.request_rename, "jun@", "lijun@", "it@")
    world.does("mei", changes.confirm, world.newest("rename").id)
    assert world.org.members["jun"].aliases == ["it@corp.test", JUN]
    assert box(world).aliases == ["it@corp.test", JUN]


@pytest.mark.parametrize("arrives", [True, False], ids=["carried out", "never arrived"])
def test_a_lost_answer_is_looked_up_not_asked_again(world: World, arrives: bool) -> None:
    """Carried out: one call in all. Never arrived: a second one, once the old address is proved to be his still."""
    job = asked(world)
    world.client.lost[UPDATE] = [arrives]
    world.does("mei", changes.confirm, job.id)
    if not arrives:
        assert (renames(world), world.job(job.id).stage) == (1, "seen")
        world.later(seconds=6)
        assert renames(world) == 1
        world.later(seconds=66)
    assert renames(world) == (1 if arrives else 2)
    assert world.job(job.id).state is JobState.DONE
    assert world.org.members["jun"].address == NEW


def test_two_admins_want_two_addresses(world: World) -> None:
    """Both questions were open: whoever says yes first has it, the other is told which number is at work."""
    first, second = asked(world), asked(world, target="jun.li@", by="yan")
    world.org.members["jun"].system_made = False
    world.does("mei", changes.confirm, first.id)
    assert world.job(first.id).stage == "console"
    said = world.does("yan", changes.confirm, second.id)
    assert f"{first.id}" in said
    assert world.job(second.id).state is JobState.CANCELLED
    with world.store.begin() as tx:
        assert tx.handovers.of_job(second.id) == []


def test_lost_twice_it_becomes_a_step_in_the_console(world: World) -> None:
    job = asked(world)
    world.client.lost[UPDATE] = [False, False]
    world.does("mei", changes.confirm, job.id)
    for _ in range(2):
        world.later(seconds=6)
        world.later(seconds=66)
    assert (renames(world), world.job(job.id).stage) == (2, "console")
    assert "lost twice" in "\n".join(world.heard("mei"))


def test_killed_between_the_intent_and_the_call(world: World) -> None:
    """The turn is repeated: it looks, and calls only when nothing was done."""
    job = asked(world)

    def killed() -> None:
        raise SystemExit

    world.client.between[UPDATE] = killed
    with pytest.raises(SystemExit):
        world.does("mei", changes.confirm, job.id)
    assert world.job(job.id).data["sent"] is True
    world.run()
    assert world.job(job.id).stage == "seen"
    world.later(seconds=6)
    world.later(seconds=66)
    assert world.job(job.id).state is JobState.DONE
    assert world.org.members["jun"].address == NEW


def test_killed_after_the_call(world: World) -> None:
    """WeCom did it, nobody knows: the look-up does."""
    job = asked(world)
    world.client.between["user/get_userid_by_email"] = lambda: None
    done = world.client.call

    def call(method: str, path: str, **more: object) -> dict[str, object]:
        answer = done(method, path, **more)  # type: ignore[arg-type]
        if path.endswith(UPDATE) and "biz_mail" in (more.get("body") or {}):  # type: ignore[operator]
            world.client.call = done  # type: ignore[method-assign]
            raise SystemExit
        return answer

    world.client.call = call  # type: ignore[method-assign, assignment]
    with pytest.raises(SystemExit):
        world.does("mei", changes.confirm, job.id)
    world.run()
    assert (renames(world), world.job(job.id).state) == (1, JobState.DONE)
    assert box(world).address == NEW


def test_what_no_program_may_is_done_in_the_console(world: World) -> None:
    """60144: the values to copy in messages of their own; "done" is looked at, a look-up closes it, nothing wiped."""
    world.org.members["jun"].system_made = False
    world.org.members["jun"].aliases = ["it@corp.test"]
    with world.store.begin() as tx:
        mine = tx.mailboxes.of("jun")
        assert mine is not None
        tx.mailboxes.aliases_are(mine, ["it@corp.test"])
    job = asked(world)
    world.does("mei", changes.confirm, job.id)
    heard = world.heard("mei")
    assert heard[-2:] == [JUN, "lijun"]
    assert "成员邮箱" in heard[-3]
    step = step_of(world, job)
    world.later(minutes=2)
    said = world.does("mei", handovers.say_done, step.id)
    assert f"{JUN} belongs to 李军" in said
    assert step_of(world, job).state in OPEN
    world.org.rename(world.org.members["jun"], NEW)
    world.later(minutes=2)
    said = world.does("mei", handovers.say_done, step.id)
    assert f"{JUN} is {NEW} now" in said
    assert step_of(world, job).state is HandoverState.DONE
    assert [each for each in world.client.made(UPDATE) if "biz_mail_alias" in each] == [], "the console keeps them"
    assert (box(world).aliases, box(world).address_fixed) == (["it@corp.test", JUN], True)
    with world.store.begin() as tx:
        assert tx.answers.of("rename_api") == "no"


def test_a_step_that_is_done_is_seen_though_it_was_cancelled(world: World) -> None:
    """Cancelled a minute too late: it goes on to the end, because the address has changed."""
    world.org.members["jun"].system_made = False
    job = asked(world)
    world.does("mei", changes.confirm, job.id)
    world.org.rename(world.org.members["jun"], NEW)
    said = world.does("mei", jobs.cancel, job.id)
    assert f"{JUN} is {NEW} now" in said
    assert box(world).address == NEW


def test_a_step_that_is_cancelled_or_too_late_leaves_all_as_it_was(world: World) -> None:
    world.org.members["jun"].system_made = False
    job = asked(world)
    world.does("mei", changes.confirm, job.id)
    assert "cancelled, nothing was changed" in world.does("mei", jobs.cancel, job.id)
    assert step_of(world, job).state is HandoverState.WITHDRAWN
    job = asked(world)
    world.does("mei", changes.confirm, job.id)
    world.clock.advance(days=15)
    world.sweep("handovers")
    assert "was not renamed to lijun@corp.test" in world.heard("mei")[-1]
    assert (box(world).address, world.job(job.id).state) == (JUN, JobState.FAILED)
    assert "I tell you exactly what to do in the console" in world.does("mei", jobs.retry, job.id)


@pytest.mark.parametrize(
    ("switch", "said"), [("contacts_sync_off", "48002"), ("busy", ""), ("rate_limited", "")],
)  # fmt: skip
def test_what_wecom_refuses_otherwise(world: World, switch: str, said: str) -> None:
    """Not allowed to at all: the console. Busy, which may have done it: looked at. A limit: the same, later."""
    job = asked(world)
    world.org.troubles.set(switch, True, times=1, path=UPDATE)
    world.does("mei", changes.confirm, job.id)
    if said:
        assert world.job(job.id).stage == "console"
        return
    for _ in range(3):
        world.later(seconds=66)
    assert (world.job(job.id).state, renames(world)) == (JobState.DONE, 2)


@pytest.mark.parametrize("target", ["tao@corp.test", "sales@", "all@", "bot@", "ming@", "old@"])
def test_an_address_that_is_taken_is_refused_before_anything(world: World, target: str) -> None:
    """A member's, a public mailbox's, a group's, the app's own, an alias, one in the recycle bin: each by its name."""
    from tests.handlers.test_aliases import everything_taken

    wanted = everything_taken(world)[target.partition("@")[0]]
    said = world.does("mei", rename.request_rename, "jun@", target)
    assert wanted in said
    assert (renames(world), world.newest("rename").state) == (0, JobState.CANCELLED)


def test_taken_meanwhile_it_is_told_as_wecom_says(world: World) -> None:
    job = asked(world)
    world.org.members["tao"].address = NEW
    said = world.does("mei", changes.confirm, job.id)
    assert "WeCom does not take lijun@corp.test" in said
    assert (box(world).address, box(world).address_fixed) == (JUN, False)


def test_another_owner_by_the_time_of_the_yes(world: World) -> None:
    """What was agreed to is read once more."""
    job = asked(world)
    world.org.members["jun"].address, world.org.members["tao"].address = None, JUN
    assert "things are not as they were" in world.does("mei", changes.confirm, job.id)
    assert renames(world) == 0


def test_what_cannot_be_typed(world: World) -> None:
    """Public mailboxes, five aliases, foreign domains, the same address, two at once, members."""
    with world.store.begin() as tx:
        tx.mailboxes.public_is(1, "support@corp.test", name="s", readers={}, aliases=[])
    for source, target, key in (
        ("support@", "help@", "aliases.public"), ("jun@", "jun@", "rename.same"), ("jun@", "a@b.example", ""),
        ("jun@", f"{'x' * 60}@corp.test", "clash.length"),
    ):  # fmt: skip
        with pytest.raises(UserError) as caught:
            world.does("mei", rename.request_rename, source, target)
        assert key in caught.value.words.key
    job = asked(world)
    with world.store.begin() as tx:
        tx.jobs.wake(tx.jobs.get(job.id), "call")
        tx.jobs.get(job.id).due_at = tx.now + (tx.now - tx.now.replace(year=2020))
    with pytest.raises(UserError, match=r"rename\.under_way"):
        world.does("mei", rename.request_rename, "jun@", "other@")


def test_five_aliases_leave_no_room_for_the_old_address(world: World) -> None:
    with world.store.begin() as tx:
        mine = tx.mailboxes.of("jun")
        assert mine is not None
        tx.mailboxes.aliases_are(mine, [f"a{number}@corp.test" for number in range(5)])
    assert "its old address could not stay" in world.does("mei", rename.request_rename, "jun@", "lijun@")


def test_an_alias_that_cannot_be_written_is_said_to_both(world: World) -> None:
    """The address has changed all the same: nobody is left to find out."""
    job = asked(world)
    world.org.troubles.set("contacts_sync_off", False)
    done = world.client.call

    def call(method: str, path: str, **more: object) -> dict[str, object]:
        if "biz_mail_alias" in (more.get("body") or {}):  # type: ignore[operator]
            world.org.troubles.set("contacts_sync_off", True)
        return done(method, path, **more)  # type: ignore[arg-type]

    world.client.call = call  # type: ignore[method-assign, assignment]
    said = world.does("mei", changes.confirm, job.id)
    assert "could not be kept as an alias" in said
    assert "may not reach you for now" in world.heard("jun")[-1]
    assert world.job(job.id).state is JobState.DONE


def test_undo_goes_back_through_the_console(world: World) -> None:
    """The address was changed once: no program may again, and the old one is an alias of the same mailbox."""
    job = asked(world)
    with pytest.raises(UserError, match=r"rename\.not_over"):
        world.does("mei", rename.undo, job.id)
    world.does("mei", changes.confirm, job.id)
    said = world.does("mei", rename.undo, job.id)
    assert f"{NEW} (李军) gets the new address {JUN}" in said
    assert "No program can change this address" in said
    back = world.newest("rename")
    world.does("mei", changes.confirm, back.id)
    assert renames(world) == 1
    member = world.org.members["jun"]
    member.aliases = []
    world.org.rename(member, JUN)
    world.later(minutes=2)
    world.does("mei", handovers.say_done, step_of(world, back).id)
    assert (box(world).address, box(world).aliases) == (JUN, [NEW])
    with pytest.raises(UserError, match=r"rename\.renamed_since"):
        world.does("mei", rename.undo, job.id)
    world.later(days=91)
    assert sum("Does anybody still write there" in each for each in world.heard("mei")) == 1, "of the former alone"


def test_after_ninety_days_the_old_address_is_asked_about(world: World) -> None:
    """Kept: asked again. Dropped: after one more yes the list is written without it."""
    job = asked(world)
    world.does("mei", changes.confirm, job.id)
    world.later(days=89)
    assert not any("still write there" in each for each in world.heard("mei"))
    world.later(days=4)
    assert f"{NEW} was called {JUN} until 2026-03-02" in world.heard("mei")[-1]
    reminder = world.newest("old_address").id
    assert "I will ask again on" in world.does("mei", old_address.keep, reminder)
    with pytest.raises(UserError, match=r"old_address\.over"):
        world.does("mei", old_address.drop, reminder)
    world.later(days=93)
    world.does("mei", old_address.drop, reminder)
    said = world.does("mei", changes.confirm, world.newest("aliases").id)
    assert "is no longer an alias" in said
    assert world.org.members["jun"].aliases == []
    with pytest.raises(UserError, match=r"old_address\.over"):
        world.does("mei", old_address.keep, reminder)
