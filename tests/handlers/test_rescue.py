"""A mailbox in the bin is saved: what is believed, what ends it, and what is left behind, turn by turn."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from bot.errors import UserError
from bot.mail.errors import LoginRefused
from bot.words import from_json, say
from bot.work import JobStep
from handlers import jobs
from handlers.approvals import approvals
from handlers.backup import backup
from handlers.bin import convert, recycle_bin
from handlers.copying import backup_access
from handlers.rescue import rescue, rescue_choice
from storage.models import BinItem, BinSource, BinState, Handover, HandoverState, JobState, MailboxKind
from storage.store import Store
from tests.handlers.backup_world import ROLES
from tests.handlers.conftest import FakeClock
from tests.handlers.rescue_world import AHING, SUPPORT, Place


@pytest.fixture
def place(store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(store, clock, monkeypatch)


def test_the_consoles_copy_counts_when_no_more_mails_come(place: Place) -> None:
    """None, some, more, then none for ten minutes; no minted key lives between two looks; called partial."""
    place.leaves()
    job = place.approved(place.rescue(), "console")
    assert place.state(job) == (JobState.WAITING, "once")
    assert place.open_rows() == (0, 0)
    assert place.step(job).deadline_at <= place.item().deletes_at
    assert place.says_done(job).state is HandoverState.CONTRADICTED
    place.mails["其他文件夹/邮件备份"] = 5
    assert place.poll(job).looks[-1]["detail"] == {"mails": 5}
    place.mails["其他文件夹/邮件备份/Sent"] = 2  # whatever folders the console makes
    place.poll(job)
    assert place.poll(job, later=timedelta(minutes=9)).state is HandoverState.CONTRADICTED, "too early to say"
    assert place.poll(job).state is HandoverState.DONE
    assert place.data(job)["seen_once"] == 7
    with place.store.begin() as tx:
        seen = tx.answers.find("console_backup")
        assert seen is not None
        assert seen.detail == "其他文件夹/邮件备份"
    assert place.data(job)["ending"] == "partial"
    assert place.data(job)["outcome"]["complete"] is False
    assert place.item().state is BinState.WAITING
    place.nothing_left(job)
    second = place.rescue()
    assert "was probably used in job" in place.told("mei")[-1]
    assert "was probably used in job" in place.does("mei", rescue_choice.choose_way, second, "console")[0], (
        "the console decides"
    )


def test_a_part_of_a_mailbox_in_the_bin_is_not_taken_for_the_whole(place: Place) -> None:
    """`backup ahing@ … since` leads to a rescue, which saves all of it: that is said, not done in silence."""
    place.leaves()
    for part in ({"since": date(2026, 1, 1)}, {"folders": ["INBOX"]}, {"without": "junk"}):
        with pytest.raises(UserError, match="whole_only"):
            place.does("mei", backup.request_backup, "ahing@", SUPPORT, "customers", **part)
    place.does("mei", backup.request_backup, "ahing@", SUPPORT, "customers")
    with place.store.begin() as tx:
        assert [each.kind for each in tx.jobs.recent(["rescue", "backup"])] == ["rescue"]


def test_a_refused_login_is_not_tried_again(place: Place) -> None:
    """While the console copies, the target's password dies: a person is asked, and then it goes on comparing."""
    place.leaves()
    job = place.approved(place.rescue(), "console")
    place.mails["其他文件夹/x"] = 4

    def refuse() -> None:
        raise LoginRefused("no", mailbox=SUPPORT)

    place.looking = refuse
    before = place.looks
    place.poll(job)
    assert place.looks == before + 1
    assert place.state(job) == (JobState.WAITING, "access")
    assert place.links(job)[-1][1] == "target"
    place.poll(job)
    assert place.looks == before + 1, "nobody gave another password"
    place.looking = None
    place.give(job, "target", "mei")
    place.run(job)
    assert place.state(job) == (JobState.WAITING, "once")
    assert place.data(job)["before"] == {"其他文件夹/old": 3}, "it compares with the first look"
    place.looking, before = refuse, place.looks
    place.poll(job)
    place.poll(job)
    assert place.looks == before + 1, "an entered one is not tried again either"
    place.looking = None
    place.clock.advance(hours=1)
    place.give(job, "target", "mei")
    place.run(job)
    place.says_done(job)
    assert place.poll(job).state is HandoverState.DONE
    place.nothing_left(job)


def test_a_public_mailbox_by_the_mail_api(place: Place) -> None:
    """Seen by somebody else first, the entry is not closed by mistake; complete, it is safe."""
    place.leaves()
    job = place.approved(place.rescue(), "public")
    assert place.state(job) == (JobState.WAITING, "convert")
    place.public = AHING
    place.clock.advance(hours=1)
    place.seen(None, AHING)  # the nightly reading is faster
    place.clock.moment = place.item().next_at or place.clock.moment
    place.runner.sweep("bin", "1")
    assert place.item().state is BinState.WAITING
    place.poll(job)
    assert place.state(job) == (JobState.WAITING, "saving")
    with place.store.begin() as tx:
        mailbox = tx.mailboxes.get(int(place.item().mailbox_id or 0))
        assert (mailbox.kind, mailbox.managed, mailbox.address) == (MailboxKind.PUBLIC, True, AHING)
    backup = place.data(job)["backup"]
    place.run(backup)
    assert place.state(backup) == (JobState.WAITING, "ready"), "both keys are minted, nobody is asked"
    from handlers.backup.backup import start

    place.does("mei", start, backup)
    place.run(backup)
    assert place.data(backup)["outcome"]["complete"], place.data(backup)["outcome"]
    place.sweep("rescue")
    assert place.data(job)["ending"] == "done"
    assert (place.item().state, place.item().evidence) == (BinState.SAFE, {"job": backup, "rescue": job})
    place.nothing_left(job)


def test_the_deletion_comes_while_it_runs(place: Place) -> None:
    """Not converted: lost, and said so. Converted: it left the bin in time, and the copy goes on."""
    place.leaves()
    job = place.approved(place.rescue(), "public")
    place.clock.moment = place.item().deletes_at + timedelta(minutes=1)
    place.sweep("rescue")
    assert place.data(job)["ending"] == "too_late"
    assert "ended_too_late" in place.told("mei")[-1] or "came too late" in place.told("mei")[-1]
    place.runner.sweep("bin", "1")
    assert place.item().state is BinState.LOST
    place.nothing_left(job)
    with pytest.raises(UserError, match="lost"):
        place.does("mei", rescue.request_rescue, "ahing@", SUPPORT, "x")


def test_converted_before_the_deletion(place: Place) -> None:
    """The deadline means nothing to a public mailbox: the entry is closed as what it became."""
    job = place.converted()
    place.clock.moment = place.item().deletes_at + timedelta(minutes=1)
    place.sweep("rescue")
    place.runner.sweep("bin", "1")
    assert place.state(job) == (JobState.WAITING, "saving")
    assert (place.item().state, place.item().evidence["public"]) == (BinState.ASSIGNED, AHING)


def test_a_login_proves_what_the_mail_api_hides(place: Place) -> None:
    """Asked for only after somebody said that it is done; a refused one proves nothing; the key goes to the backup."""
    place.leaves()
    job = place.approved(place.rescue(), "public")
    place.poll(job)
    place.sweep("rescue")
    assert place.state(job) == (JobState.WAITING, "convert")
    assert place.says_done(job).state is HandoverState.CONTRADICTED
    place.sweep("rescue")
    assert place.state(job) == (JobState.WAITING, "access")
    assert place.links(job) == [("mei", "source")]

    def refuse() -> None:
        raise LoginRefused("no", mailbox=AHING)

    place.looking = refuse
    place.give(job, "source", "mei")
    place.run(job)
    assert place.state(job) == (JobState.WAITING, "access")
    assert place.poll(job).state is HandoverState.CONTRADICTED
    place.looking = None
    place.give(job, "source", "mei")
    place.run(job)
    step = place.poll(job)
    assert (step.state, step.after and step.after["detail"]) == (HandoverState.DONE, {AHING: "login"})
    assert place.state(job) == (JobState.WAITING, "saving")
    backup = place.data(job)["backup"]
    place.run(backup)
    assert place.state(backup) == (JobState.WAITING, "ready"), "nobody has to enter it twice"
    place.cancel(job)
    place.run(job)
    place.run(backup)
    assert place.state(backup)[0] is JobState.CANCELLED
    assert place.item().state is BinState.ASSIGNED
    place.nothing_left(job)
    place.nothing_left(backup)


@pytest.mark.parametrize("stage", ["shown", "approval", "access", "once", "convert", "saving"])
def test_cancel_leaves_nothing_behind(place: Place, stage: str) -> None:
    """In every stage; the entry waits on, and its reminders with it, unless it left the bin."""
    if stage == "saving":
        job = place.converted()
    else:
        place.leaves()
        job = place.rescue()
    if stage == "approval":
        place.does("mei", rescue_choice.choose_way, job, "console")
    elif stage in ("once", "convert"):
        place.approved(job, {"once": "console", "convert": "public"}[stage])
    elif stage == "access":
        place.approved(job, "public")
        place.says_done(job)
        place.sweep("rescue")
    assert place.state(job) == (JobState.WAITING, stage)
    place.cancel(job)
    place.run(job)
    assert place.data(job)["ending"] == "cancelled"
    if stage == "saving":
        place.run(place.data(job)["backup"])
    place.nothing_left(job)
    assert place.item().state is (BinState.ASSIGNED if stage == "saving" else BinState.WAITING)


def test_ways_can_be_changed_and_clicks_repeated(place: Place) -> None:
    """The console refuses: the other way, without asking the manager again; the same press twice does nothing."""
    place.leaves()
    job = place.rescue()
    with pytest.raises(UserError, match="already_open"):
        place.does("mei", rescue.request_rescue, "ahing@", SUPPORT, "again")
    place.does("mei", rescue_choice.choose_way, job, "public")
    with pytest.raises(UserError, match="no_choice"):
        place.does("mei", rescue_choice.choose_way, job, "public")
    place.approved(job)
    first = place.step(job).id
    with pytest.raises(UserError, match="way_already"):
        place.does("mei", rescue_choice.choose_way, job, "public")
    place.does("mei", rescue_choice.choose_way, job, "console")
    place.run(job)
    assert place.state(job) == (JobState.WAITING, "once")
    with place.store.begin() as tx:
        assert tx.handovers.get(first).state is HandoverState.WITHDRAWN
    assert place.audited("approval.asked") == 1


def test_let_go_ends_it(place: Place) -> None:
    """What somebody decides in the book counts."""
    place.leaves()
    job = place.approved(place.rescue(), "public")
    place.does("mei", recycle_bin.bin_let_go, "ahing@")
    place.sweep("rescue")
    assert place.data(job)["ending"] == "over"
    place.nothing_left(job)


def test_a_living_members_mailbox_becomes_public(place: Place) -> None:
    """His manager's yes, taken off him, made public, seen; whose it was is read again before anything is done."""
    place.owner = "ahing"
    place.does("mei", convert.request_convert, "ahing@", None, "customers write there")
    job = place.newest()
    place.run(job)
    assert place.state(job) == (JobState.WAITING, "approval")
    place.approved(job)
    assert place.state(job) == (JobState.WAITING, "reclaim")
    assert place.says_done(job).state is HandoverState.CONTRADICTED
    place.owner = None
    place.poll(job)
    assert place.state(job) == (JobState.WAITING, "convert")
    assert (place.item().source, place.item().state) == (BinSource.RECLAIMED, BinState.WAITING)
    place.public = AHING
    place.poll(job)
    assert place.data(job)["ending"] == "done"
    assert (place.item().state, place.item().evidence["public"]) == (BinState.ASSIGNED, AHING)
    mailbox = place.mailbox(AHING)
    assert (mailbox.kind, mailbox.owner, mailbox.managed) == (MailboxKind.PUBLIC, None, True)
    place.nothing_left(job)


def test_a_conversion_whose_owner_changed_does_nothing(place: Place) -> None:
    """What was agreed to is not so any more."""
    place.owner = "ahing"
    place.does("mei", convert.request_convert, "ahing@", None, "customers write there")
    job = place.newest()
    place.run(job)
    place.owner = "calvin"
    place.approved(job)
    assert place.data(job)["ending"] == "failed"
    assert not place.data(job)["handovers"]


def test_what_was_agreed_to_is_read_again_before_the_console_copies(place: Place) -> None:
    """More people can read the target since the yes: nothing is asked of the console before another yes."""
    place.leaves()
    job = place.rescue()
    place.does("mei", rescue_choice.choose_way, job, "console")
    place.does("ling", approvals.approve, place.data(job)["approval"])
    place.opens_to("mei", "tao", "calvin")
    place.run(job)
    assert place.state(job) == (JobState.WAITING, "approval")
    assert not place.data(job)["handovers"]
    assert "卡尔文" in place.told("mei")[-2]
    place.approved(job)
    assert place.state(job) == (JobState.WAITING, "once")
    assert place.data(job)["facts"]["readers"] == ["calvin", "mei", "tao"]
    place.opens_to("mei", "tao", "calvin", "lan")
    place.does("mei", rescue_choice.choose_way, job, "public")
    assert place.state(job) == (JobState.WAITING, "approval"), "the way was changed after the readers were"
    place.opens_to("mei")
    place.does("ling", approvals.approve, place.data(job)["approval"])
    place.sweep("rescue")
    assert place.data(job)["ending"] == "void", "a yes to what is not so any more"
    place.nothing_left(job)


def test_what_was_agreed_to_is_read_again_before_the_backup(place: Place) -> None:
    """While the console made it public, the target got readers: no backup before another yes, then it goes on."""
    place.leaves()
    job = place.approved(place.rescue(), "public")
    place.opens_to("mei", "tao", "calvin")
    place.public = AHING
    place.poll(job)
    assert place.state(job) == (JobState.WAITING, "approval")
    with place.store.begin() as tx:
        item = tx.session.get_one(BinItem, 1)
        item.deletes_at = item.next_at = tx.now + timedelta(minutes=30)
    place.clock.advance(hours=1)
    place.runner.sweep("bin", "1")
    assert place.item().state is BinState.ASSIGNED
    place.sweep("rescue")
    assert place.state(job) == (JobState.WAITING, "approval")
    assert place.data(job).get("backup") is None
    place.approved(job)
    assert place.state(job) == (JobState.WAITING, "saving")
    assert place.data(job)["backup"]


def test_a_yes_to_the_consoles_copy_is_none_to_opening_the_mailbox(place: Place) -> None:
    """As a public mailbox the asker can open it: the manager is told, and asked when that comes later."""
    place.leaves()
    job = place.approved(place.rescue(), "console")
    place.does("mei", rescue_choice.choose_way, job, "public")
    assert place.state(job) == (JobState.WAITING, "approval")
    with place.store.begin() as tx:
        approval = tx.approvals.get(place.data(job)["approval"])
        assert (approval.facts["way"], approval.facts["opener"]) == ("public", "mei")
        assert approval.question["values"]["way"]["key"] == "rescue.question_way_public"
    place.approved(job)
    for way, stage in (("console", "once"), ("public", "convert")):  # that yes is one to both
        place.does("mei", rescue_choice.choose_way, job, way)
        place.run(job)
        assert place.state(job) == (JobState.WAITING, stage)
    assert place.audited("approval.asked") == 2


def test_nobody_sees_who_opens_a_target_the_console_made(place: Place) -> None:
    """Its row knows whom we asked, not its members: no break-glass, and the card says that there may be others."""
    with place.store.begin() as tx:
        tx.mailboxes.converted("old@corp.test", readers=["tao"])
    place.leaves()
    place.does("mei", rescue.request_rescue, "ahing@", "old@corp.test", "customers")
    job = place.newest()
    place.run(job)
    assert "perhaps others" in place.told("mei")[-1]
    place.does("mei", rescue_choice.choose_way, job, "public")
    with place.store.begin() as tx:
        assert tx.approvals.get(place.data(job)["approval"]).gains is None


def test_mails_that_somebody_moved_are_no_copy(place: Place) -> None:
    """They rest as long as they like: nobody said that he copied. He does, and they still have to rest."""
    place.leaves()
    job = place.approved(place.rescue(), "console")
    place.mails["Done"] = 1
    for _ in range(3):
        assert place.poll(job).state is HandoverState.WAITING
    assert "moved" in str(catalogued(place.step(job)))
    place.mails["其他文件夹/x"] = 6
    assert place.says_done(job).state is HandoverState.CONTRADICTED
    assert place.poll(job).state is HandoverState.DONE


def catalogued(step: Handover) -> str:
    """What was seen last, in words."""
    return from_json(step.looks[-1]["saw"]).text("en")


def test_a_target_that_never_rests(place: Place) -> None:
    """Customers' mail is sorted into its folders every hour: after half a day it is taken as it is, as partial."""
    place.leaves()
    job = place.approved(place.rescue(), "console")
    place.mails["其他文件夹/x"] = 6
    place.says_done(job)
    hours = 0
    while place.step(job).state is not HandoverState.DONE and hours < 20:
        place.mails["Done"] = hours = hours + 1
        place.poll(job)
    assert 12 <= hours <= 13
    assert place.data(job)["ending"] == "partial"


def test_one_copy_of_the_console_at_a_time_into_a_target(place: Place) -> None:
    """Nobody could tell the mails of two apart; the other way is free, and when the first is over the copy is, too."""
    place.leaves()
    first = place.rescue()
    place.does("mei", rescue_choice.choose_way, first, "console")
    with place.store.begin() as tx:
        member = tx.members.find("calvin")
        assert member is not None
        tx.members.left(member)
        recycle_bin.members_left(tx, ROLES, place.services.settings, [member], "callback")
    place.does("mei", rescue.request_rescue, "calvin@", SUPPORT, "customers")
    second = place.newest()
    place.run(second)
    with pytest.raises(UserError, match="once_at_target"):
        place.does("mei", rescue_choice.choose_way, second, "console")
    place.cancel(first)
    place.run(first)
    place.does("mei", rescue_choice.choose_way, second, "console")


def test_a_backup_that_rescues_can_be_tried_again_until_it_is_complete(place: Place) -> None:
    """Nothing was refused, but newer mail is missing: `retry` goes on, for nobody is safe before."""
    job = place.converted()
    backup_job = place.data(job)["backup"]
    place.run(backup_job)
    place.mail.newer = 2
    place.does("mei", backup.start, backup_job)
    place.run(backup_job)
    outcome = place.data(backup_job)["outcome"]
    assert (outcome["verified"], outcome["refused"], outcome["complete"]) == (True, 0, False)
    assert "retry" in "".join(place.does("mei", jobs.job_details, backup_job))
    place.sweep("rescue")
    place.mail.newer = 0
    place.does("mei", jobs.retry, backup_job)
    place.run(backup_job)
    place.does("mei", backup.start, backup_job)
    place.run(backup_job)
    place.sweep("rescue")
    assert place.item().state is BinState.SAFE
    with pytest.raises(UserError, match="nothing_to_retry"):
        place.does("mei", jobs.retry, backup_job)


@pytest.mark.parametrize("first", ["bin", "rescue", "handovers"])
def test_made_public_in_the_last_hour(place: Place, first: str) -> None:
    """Nobody pressed Done, but the mail API has shown it: it lives, whoever looks at the clock first."""
    place.leaves()
    job = place.approved(place.rescue(), "public")
    place.clock.moment = place.item().deletes_at - timedelta(minutes=5)
    place.public = AHING
    place.seen(None, AHING)
    place.public = None  # and no look comes in time
    place.clock.moment = place.item().deletes_at + timedelta(minutes=1)
    for each in dict.fromkeys([first, "bin", "rescue", "handovers", "rescue "]):
        if each == "bin":
            place.runner.sweep("bin", "1")
        else:
            place.sweep(each.strip())
    assert place.state(job) == (JobState.WAITING, "saving")
    assert place.item().state is BinState.ASSIGNED


def test_a_cleanup_that_fails_leaves_nobody_waiting(place: Place) -> None:
    """What nobody can delete now is tried again every hour; the console step and the backup end all the same."""
    place.leaves()
    job = place.approved(place.rescue(), "public")
    broken(place, job)
    assert place.step(job).state is HandoverState.WITHDRAWN
    place.nothing_left(job)


def test_a_cleanup_that_fails_after_it_became_public(place: Place) -> None:
    """The entry is closed, for it left the bin, and the backup does not go on alone."""
    job = place.converted()
    broken(place, job)
    assert place.item().state is BinState.ASSIGNED
    backup_job = place.data(job)["backup"]
    place.run(backup_job)
    assert place.data(backup_job)["ending"] == "cancelled"


def broken(place: Place, job: int) -> None:
    """It is cancelled, and its cleanup cannot go on."""
    place.cancel(job)
    with place.store.begin() as tx:
        row = tx.jobs.get(job)
        rescue.failed(JobStep(tx, row, place.services, ROLES), say("rescue.saw_busy"))


def test_somebody_else_opens_what_one_refused(place: Place) -> None:
    """Mei said no on her page; yan says that it is done, so yan is asked."""
    place.leaves()
    job = place.approved(place.rescue(), "public")
    place.says_done(job)
    place.sweep("rescue")
    place.declines(job, "mei", "source")
    place.run(job)
    place.sweep("rescue")
    assert place.links(job) == [("mei", "source")]
    place.says_done(job, "yan")
    place.sweep("rescue")
    assert place.links(job) == [("mei", "source"), ("yan", "source")]


def test_the_targets_page_goes_to_who_can_read_it(place: Place) -> None:
    """Yan, who opened the source, may not open support@."""
    place.leaves()
    job = place.approved(place.rescue(), "public")
    place.says_done(job, "yan")
    place.sweep("rescue")
    place.give(job, "source", "yan")
    with place.store.begin() as tx:
        tx.mailboxes.get(place.support).managed = False
    place.run(job)
    place.poll(job)
    backup_job = place.data(job)["backup"]
    place.run(backup_job)
    assert place.links(backup_job) == [("mei", "target")]


def test_who_else_opens_what_the_console_made_nobody_sees(place: Place) -> None:
    """The row knows whom we asked, not the members: somebody else may be named, and it is said what nobody sees."""
    place.leaves()
    job = place.approved(place.rescue(), "public")
    place.says_done(job)
    place.sweep("rescue")
    with place.store.begin() as tx:
        tx.mailboxes.converted(AHING, readers=["mei"])
    told = place.does("mei", backup_access.choose_opener, job, "tao")
    assert "WeCom does not tell me who can open it" in told[0]
    place.run(job)
    assert place.links(job)[-1] == ("tao", "source")
