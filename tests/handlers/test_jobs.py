"""What `jobs` and `job 12` say to whom: the next step, whom it waits for, and never a command that is not his."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from bot.errors import UserError
from bot.words import as_json, say
from bot.work import JobStep
from handlers import jobs
from handlers.backup import backup
from handlers.copying import backup_access, copying
from handlers.reassign import reassign_steps
from storage.models import ApprovalStatus, HandoverState, JobState
from storage.store import Store
from tests.handlers.backup_world import World
from tests.handlers.conftest import FakeClock


@pytest.fixture
def world(store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(store, clock, monkeypatch)


def details(world: World, member: str, job: int) -> str:
    """What `job 12` says to a member."""
    return world.does(member, jobs.job_details, job)[0]


def refusal(world: World, member: str, command: Callable[..., Any], *args: Any) -> str:
    """What a command answers that cannot be done."""
    with pytest.raises(UserError) as error:
        world.does(member, command, *args)
    return str(error.value.words)


def listed(world: World, member: str) -> str:
    """What `jobs` says to a member."""
    return world.does(member, jobs.jobs_list)[0]


def test_a_job_that_waits_for_a_page_names_who_has_it(world: World) -> None:
    """The owner is told that it is he; the page that has run out is not said to be open; only admins read `manager`."""
    job = world.backup("ahing")
    told = details(world, "mei", job)
    assert f"who has a page for ahing@corp.test until 17:15. After that 阿兴 can type `link {job}`" in told
    assert f"`manager {job}`" in told
    assert f"`cancel {job}`" in told
    told = details(world, "ahing", job)
    assert "It waits for you: open the page I sent you for ahing@corp.test by 17:15" in told
    assert "`manager" not in told
    assert f"`cancel {job}`" in told
    world.clock.advance(minutes=16)
    assert "It waits for 阿兴 to open ahing@corp.test; the last page has run out." in details(world, "mei", job)
    assert (
        f"It waits for you to open ahing@corp.test; the last page has run out. Type `link {job}` for a new one."
        in details(world, "ahing", job)
    )


def test_a_refused_password_says_from_when_a_new_page_can_be_had(world: World) -> None:
    job = world.backup("ahing")
    with world.store.begin() as tx:
        tx.links.refused(job, "source")
        tx.links.end(job, "source")
    assert f"was refused. 阿兴 gets a new page at 17:15; if not, 阿兴 can type `link {job}`" in details(
        world, "mei", job
    )
    assert f"was refused. A new page comes at 17:15; if it does not, type `link {job}`" in details(world, "ahing", job)


def test_who_is_to_enter_it_after_a_refusal_can_have_a_page(world: World) -> None:
    """The manager says yes while a refused login is a minute old: the asking admin waits, and then gets his page."""
    job = world.backup("ahing")
    with world.store.begin() as tx:
        tx.links.refused(job, "source")
        tx.links.end(job, "source")
        tx.jobs.put(tx.jobs.get(job), by_manager="ling")
        tx.jobs.wake(tx.jobs.get(job), "access")
    world.run(job)
    assert "in 15 minutes I will send you a new page" in world.told("mei")[-1]
    told = details(world, "mei", job)
    assert "It waits for you: the last login at ahing@corp.test was refused. A new page comes at 17:15; if it" in told
    assert "`manager" not in told
    assert "does not wait for a page of yours" in refusal(world, "ahing", backup_access.new_link, job)
    world.clock.advance(minutes=15, seconds=1)
    assert "It waits for you to open ahing@corp.test; the last page has run out." in details(world, "mei", job)
    world.does("mei", backup_access.new_link, job)
    world.run(job)
    assert world.links(job)[-1] == ("mei", "source")
    assert "It waits for you: open the page I sent you for ahing@corp.test by 17:30" in details(world, "mei", job)


def test_a_no_stays_in_sight_with_what_can_be_done(world: World) -> None:
    job = world.backup("ahing")
    world.declines(job, "ahing", "source")
    world.run(job)
    told = details(world, "mei", job)
    assert "阿兴 refused access to ahing@corp.test." in told
    assert f"`manager {job}`" in told
    told = details(world, "ahing", job)
    assert f"You refused access to ahing@corp.test. If you change your mind, type `link {job}`." in told
    assert "`manager" not in told


def test_a_question_that_waits_is_named_with_who_answers(world: World) -> None:
    """The manager sees the job, too, and is told what he can type."""
    job = world.backup("ahing")
    assert "I know no job" in refusal(world, "ling", jobs.job_details, job)
    assert "Nothing is under way that concerns you." in listed(world, "ling")
    world.does("mei", backup_access.ask_manager, job)
    assert "It waits for the answer of 凌 (approval 1), until 03-09 17:00." in details(world, "mei", job)
    assert "`manager" not in details(world, "mei", job), "the manager is asked already"
    assert "It waits for your answer: type `approve 1`, or `reject 1` and why." in details(world, "ling", job)
    assert f"{job}: backup ahing@corp.test → support@corp.test: waits for access" in listed(world, "ling")


def test_who_was_asked_for_a_page_sees_the_job(world: World) -> None:
    """Also long after; others do not."""
    with world.store.begin() as tx:
        tx.mailboxes.get(world.support).managed = False
    job = world.backup("ahing", by="yan")
    assert ("mei", "target") in world.links(job)
    world.does("yan", backup_access.choose_opener, job, "tao")
    world.run(job)
    assert f"{job}: backup" in listed(world, "tao")
    told = details(world, "tao", job)
    assert "It waits for you: open the page I sent you for support@corp.test" in told
    assert "It waits for 阿兴" in told
    assert "`cancel" not in told
    assert "`access" not in told
    assert "Nothing is under way that concerns you." in listed(world, "lan")
    world.declines(job, "tao", "target")
    world.run(job)
    assert f"`access {job} by NAME`" in details(world, "yan", job)
    assert "`access" not in details(world, "tao", job)
    world.cancel(job, "yan")
    world.run(job)
    assert f"{job}: backup" in listed(world, "tao")
    assert f"{job}: backup" in listed(world, "ahing"), "it is about his mailbox"


def test_an_owner_sees_what_an_admin_has_to_do_next(world: World) -> None:
    job = world.ready("ahing")
    assert f"press Start on the card, or type `start {job}`, until 03-03 17:00" in details(world, "mei", job)
    told = details(world, "ahing", job)
    assert "it waits for an admin to press Start" in told
    assert "`start" not in told
    with world.store.begin() as tx:
        tx.jobs.wait(tx.jobs.get(job), "full", expires_at=tx.now + timedelta(days=1))
    assert f"support@corp.test is full. Make room there, then type `retry {job}`" in details(world, "mei", job)
    assert "`retry" not in details(world, "ahing", job)


def test_why_it_stopped_is_said_in_the_readers_language(world: World) -> None:
    """And to a member as to an admin; an error without a sentence is for admins."""
    job = world.started("ahing")
    with world.store.begin() as tx:
        row = tx.jobs.get(job)
        why = say("addresses.no_budget", address="ahing@corp.test")
        tx.jobs.put(row, trouble={"since": tx.now.isoformat(), "done": 0, "told": True, "why": as_json(why)})
        row.due_at = tx.now + timedelta(minutes=5)
    told = details(world, "mei", job)
    assert "Why: I cannot look up ahing@corp.test today" in told
    assert "I will go on by myself at 03-02 17:05." in told
    with world.store.begin() as tx:
        ctx = world.context(tx, "ahing")
        ctx.language = "zh"
        (reply,) = jobs.job_details(ctx, job)
        assert "原因：今天无法再查询 ahing@corp.test" in reply.words.text("zh")  # type: ignore[union-attr]
        row = tx.jobs.get(job)
        tx.jobs.put(row, trouble=None)
        row.error = "boom at line 3"
    assert "Last error: boom" in details(world, "mei", job)
    assert "boom" not in details(world, "ahing", job)


def test_a_failed_backup_keeps_its_reason(world: World) -> None:
    job = world.started("ahing")
    with world.store.begin() as tx:
        step = JobStep(tx, tx.jobs.get(job), world.services, world.context(tx, "mei").roles)
        copying.failed(step, say("mail.same_mailbox", mailbox="ahing@corp.test"))
    world.run(job)
    told = details(world, "mei", job)
    why = "Source and target are the same mailbox, ahing@corp.test: one address may be an alias of the other."
    assert f"Why: {why} Choose another target.\n" in told
    assert f"`retry {job}`" in told
    assert "`retry" not in details(world, "ahing", job)
    world.does("mei", jobs.retry, job)
    assert "Why:" not in details(world, "mei", job)


def test_a_change_of_owner_names_its_console_step_and_what_comes_before(world: World) -> None:
    with world.store.begin() as tx:
        copied = tx.jobs.add("backup", asked_by="mei", params={}, stage="copy")
        tx.jobs.put(copied, source_address="calvin@corp.test", target_address="support@corp.test")
        job = tx.jobs.add(
            reassign_steps.KIND, asked_by="mei", params={"new_owner": "calvin"}, stage="prepare", state=JobState.WAITING
        )
        tx.jobs.put(
            job, source_address="ahing@corp.test", target_address="calvin", owner="ahing", new_name="卡尔文",
            displaced="calvin@corp.test", backup=copied.id, steps=[],
        )  # fmt: skip
        job_id, copied_id = job.id, copied.id
    told = details(world, "mei", job_id)
    assert f"It waits for job {copied_id}, the backup of calvin@corp.test: copying." in told
    assert f"It waits for 卡尔文 to say that they know: `acknowledge {job_id}`" in told
    assert f"It waits for you to say that you know: `acknowledge {job_id}`." in details(world, "calvin", job_id)
    assert f"{job_id}: change of owner" in listed(world, "calvin")
    with world.store.begin() as tx:
        tx.jobs.put(tx.jobs.get(job_id), acknowledged_by="calvin")
        tx.jobs.end(tx.jobs.get(copied_id), JobState.DONE)
        tx.jobs.wait(tx.jobs.get(job_id), "reclaim", expires_at=None)
        title = as_json(say("mail.same_mailbox", mailbox="ahing@corp.test"))
        step = tx.handovers.open(
            job_id=job_id, stage="reclaim", check_job_id=copied_id, asked_of="tao", title=title, why=title, how=[],
            values=[], check="x", args={}, looks=[], before=None, remind_at=tx.now,
            deadline_at=tx.now + timedelta(days=3),
        )  # fmt: skip
        number = step.id
    told = details(world, "mei", job_id)
    assert f"It waits for 陈涛 to do console step {number}: Source and target" in told
    assert f"Until 03-05 17:00; `handover {number}` shows how." in told
    assert f"{job_id}: change of owner" in listed(world, "tao")
    with world.store.begin() as tx:
        tx.handovers.end(tx.handovers.get(number), HandoverState.DONE)
    assert "console step" not in details(world, "mei", job_id)


def test_another_stage_gives_its_own_reason(world: World) -> None:
    """`check` and `start` say where the job is, each in its own words."""
    job = world.backup("ahing")
    assert f"Job {job} cannot be checked again now: waits for access." in refusal(world, "mei", backup.check_again, job)
    assert f"Job {job} cannot be started now: waits for access." in refusal(world, "mei", backup.start, job)


def test_other_backups_of_the_mailbox_are_named_when_asking(world: World) -> None:
    first = world.backup("ahing")
    words = world.does("mei", backup.request_backup, "ahing@", target="sales@", reason="he leaves")
    assert f"Job {first} also copies this mailbox, into support@corp.test: waits for access." in words[0]
    words = world.does("mei", backup.request_backup, "calvin@", target="sales@", reason="he leaves")
    assert "copies this mailbox" not in words[0]


def test_pages_of_other_jobs_are_not_counted(world: World) -> None:
    """Nine pages for one job are too many; they say nothing of another."""
    one, other = world.backup("ahing"), world.backup("ahing", target="sales@corp.test")
    for _ in range(7):
        world.does("ahing", backup_access.new_link, one)
        world.run(one)
    told = refusal(world, "ahing", backup_access.new_link, one)
    assert f"You have had 8 pages for job {one} within the hour." in told
    world.does("ahing", backup_access.new_link, other)
    world.run(other)
    world.clock.advance(minutes=61)
    world.does("ahing", backup_access.new_link, one)


def test_the_asker_is_addressed_himself(world: World) -> None:
    """When he opens the page himself, whether of a public mailbox or of his own."""
    with world.store.begin() as tx:
        tx.mailboxes.get(world.support).managed = False
        tx.mailboxes.member_has("mei", "mei@corp.test", "look-up")
    job = world.backup("mei")
    told = "\n".join(world.told("mei"))
    assert f"Job {job}, asked for by you, needs access to the public mailbox support@corp.test." in told
    assert "You asked to copy all mail of your own mailbox mei@corp.test into support@corp.test" in told
    assert "美玲 asks" not in told
    job = world.backup("calvin", by="yan")
    assert f"Job {job}, asked for by 赵燕, needs access" in "\n".join(world.told("mei"))


def test_a_cancelled_job_claims_no_more_than_it_did(world: World) -> None:
    """The member's own client password lives on in his webmail; what the bot kept is forgotten."""
    job = world.ready("ahing")
    world.cancel(job)
    world.run(job)
    (told,) = [each for each in world.told("mei") if "is cancelled" in each]
    assert "I have forgotten its passwords." in told
    assert "deleted" not in told
    with world.store.begin() as tx:
        assert tx.approvals.pending_of(job) == []
        assert ApprovalStatus.PENDING not in {each.status for each in tx.approvals.asked_by("mei")}
