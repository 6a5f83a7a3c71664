"""
A change of owner after the manager's yes: saved, known of, done in the console, seen, told; and what becomes of it.

Each stage may run twice. What was done is kept step by step, so a failure can name it and `resume` goes on from there.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from bot.context import Context
from bot.errors import UserError
from bot.mail.plan import Filter
from bot.replies import Reply, Text
from bot.router import Router
from bot.words import Words, as_json, from_json, lines, say
from bot.work import JobContext, JobStep, SweepStep, Work
from handlers import addresses
from handlers.approvals import approvals
from handlers.approvals.facts import in_words
from handlers.bin import into_bin, recycle_bin
from handlers.copying import copying
from handlers.handovers import handovers
from handlers.handovers.handover_card import moment
from handlers.handovers.handovers import Check, Look, evidence, owner_now
from handlers.reassign import kept_alias
from handlers.reassign.reassign_card import alias_later, day, gone, known_card, lost, put_away, so_far, what
from storage.handovers import OPEN as STILL_OPEN
from storage.jobs import OPEN
from storage.models import (
    BinSource,
    BinState,
    Handover,
    HandoverState,
    Job,
    JobState,
    Mailbox,
    MailboxKind,
)

router = Router()
work = Work()

KIND = "reassign"
IN_USE, IN_BIN, PUBLIC = "in use", "recycle bin", "public mailbox"  # where a mailbox is, among the facts
PREPARE_WITHIN = timedelta(days=14)
ASSIGN_WITHIN = timedelta(days=14)  # if we do not know when the bin deletes it
STEPS = ("prepare", "facts", "reclaim", "delete", "assign", "finish")  # behind the manager's yes: here `resume` goes on


def known_job(ctx: Context, job_id: int) -> Job:
    """A reassign; UserError otherwise."""
    job = ctx.tx.jobs.find(job_id)
    if job is None or job.kind != KIND:
        raise UserError(say("jobs.unknown", number=job_id))
    return job


def facts_of(address: str, owner: str | None, state: str, new_owner: str, displaced: str | None) -> dict[str, Any]:
    """What people agree to. No counts."""
    return {
        "mailbox": address, "owner": owner, "state": state, "new_owner": new_owner,
        "displaced": displaced,
    }  # fmt: skip


def still_public(box: Mailbox) -> bool:
    """Whether it is the public mailbox of then."""
    return box.kind is MailboxKind.PUBLIC and box.ended_at is None


def end_with(step: JobStep, ending: str) -> None:
    """To the cleanup, and then to this ending."""
    step.put(ending=ending)
    step.go("cleanup")


def enter(step: JobStep, stage: str) -> None:
    """On to a stage from which `resume` can go on."""
    step.put(at_step=stage)
    step.go(stage)


def did(step: JobStep, words: Words) -> None:
    """Something is done that a failure has to name."""
    at = moment(step.now, step.services.settings.zone)
    step.put(steps=[*step.job.data["steps"], as_json(say("reassign.step_done", at=at, what=words))])


# --- the backup of what is displaced, and the new owner's word -------------------------------------------------------


def prepare(job: JobContext) -> None:
    """Waits for a verified backup of the displaced mailbox and for the new owner to acknowledge, in any order."""
    with job.begin() as step:
        data = step.job.data
        if not data.get("approved_noted"):
            by = step.directory.name(str(data["approved_by"]))
            did(step, say("reassign.did_approve", name=by, number=data["approval"]))
            step.put(approved_noted=True)
        if not data.get("acknowledged_by") and not data.get("acknowledgement_asked"):
            step.put(acknowledgement_asked=True)
            step.say(*ask_new_owner(step))
        if data["into"] is not None and data.get("backup") is None:
            if (backup_id := start_backup(step)) is None:
                return
            step.put(backup=backup_id)
        saved = saved_now(step)
        if saved is None:
            return
        if saved and step.job.data.get("acknowledged_by"):
            enter(step, "facts")
        else:
            step.tx.jobs.wait(step.job, "prepare", expires_at=step.now + PREPARE_WITHIN)


def start_backup(step: JobStep) -> int | None:
    """
    The backup of the displaced mailbox, an ordinary job; one that is under way already is waited for.

    None when what is under way copies only a part of it: told, stopped.
    """
    data, job = step.job.data, step.job
    into = step.directory.mailbox(str(data["into"]))
    ids = (data["target"], into.mailbox.id if into.mailbox is not None else None)
    for other in step.tx.jobs.open_on([data["target"]], kind=copying.KIND):
        if copying.pair(other) == ids and copying.filter_of(other.params) == Filter():
            return other.id
        if copying.pair(other) == ids:
            fail(step, say("reassign.backup_in_part", backup=other.id, displaced=data["displaced"]))
            return None
    reason = say("reassign.backup_reason", number=job.id, address=data["source_address"], reason=data["reason"])
    why = reason.text(step.services.settings.bot_language)
    started = copying.add_job(
        step.tx, asked_by=job.asked_by, asker_name=str(data["asker_name"]), reason=why, reassign=job.id,
        source={"address": data["displaced"], "userid": str(job.params["new_owner"])},
        target={"address": into.address, "userid": None},
    )  # fmt: skip
    step.start(started)
    words = say(
        "reassign.backup_started", displaced=data["displaced"], into=data["into"], backup=started.id, number=job.id
    )
    step.say(Text(job.asked_by, words))
    return started.id


def saved_now(step: JobStep) -> bool | None:
    """Whether the displaced mailbox is saved, or nothing is to be; None when its backup ended badly: told, stopped."""
    backup_id = step.job.data.get("backup")
    if backup_id is None or step.job.data.get("backup_noted"):
        return True
    done = step.tx.jobs.get(int(backup_id))
    if done.state in OPEN:
        return False
    outcome = done.data.get("outcome") or {}
    if done.state is not JobState.DONE or not outcome.get("verified"):
        fail(step, say("reassign.backup_failed", backup=done.id, displaced=step.job.data["displaced"]))
        return None
    if copying.filter_of(done.params) != Filter():
        fail(step, say("reassign.backup_in_part", backup=done.id, displaced=step.job.data["displaced"]))
        return None
    step.put(backup_noted=True)
    words = say("reassign.did_backup", displaced=step.job.data["displaced"], into=step.job.data["into"], backup=done.id)
    did(step, words)
    key = "reassign.saved_goes_on" if step.job.data.get("acknowledged_by") else "reassign.saved_waits"
    values = {"displaced": step.job.data["displaced"], "backup": done.id, "number": step.job.id}
    if key == "reassign.saved_waits":
        values["name"] = step.job.data["new_name"]
    step.say(Text(step.job.asked_by, say(key, **values)))
    return True


def ask_new_owner(step: JobStep) -> list[Reply]:
    """What he gets and loses, in words and as a card with Acknowledge."""
    data, to = step.job.data, str(step.job.params["new_owner"])
    by = step.directory.name(str(data["approved_by"]))
    told = say(
        "reassign.to_new_owner",
        what=what(data),
        lost=lines(lost(data), *alias_later(data)),
        by=by,
        reason=data["reason"],
        number=step.job.id,
    )
    return [Text(to, told), known_card(step.job)]


@router.command(
    "acknowledge {job_id:int} [for {member}]", "知悉 {job_id:int} [代 {member}]", topic="reassign",
    example=("acknowledge 12", "知悉 12"),
)  # fmt: skip
@router.action("reassign_ack")
def acknowledge(ctx: Context, job_id: int, member: str | None = None) -> list[Reply]:
    """Say that I know what I get and what I lose; a manager can say it for a member by name."""
    job = ctx.tx.jobs.find(job_id)
    new_owner = str(job.params["new_owner"]) if job is not None and job.kind == KIND else None
    managers = ctx.directory.managers(new_owner) if new_owner is not None else []
    by_manager = job is not None and ctx.sender in (*managers, job.data.get("manager"))
    if job is None or new_owner is None or not (ctx.sender == new_owner or by_manager):
        raise UserError(say("jobs.unknown", number=job_id))
    name = str(job.data["new_name"])
    if ctx.sender != new_owner:
        if ctx.sender == job.asked_by:
            raise UserError(say("reassign.not_the_asker", name=name, number=job_id))
        if member is None or ctx.directory.member(member).userid != new_owner:
            raise UserError(say("reassign.by_name", name=name, userid=new_owner, number=job_id))
    if job.data.get("acknowledged_by"):
        raise UserError(say("reassign.acknowledged_already", name=name, number=job_id))
    if job.state is not JobState.WAITING or job.stage != "prepare":
        raise UserError(say("reassign.nothing_to_acknowledge", number=job_id))
    ctx.tx.jobs.put(job, acknowledged_by=ctx.sender)
    who = ctx.directory.name(ctx.sender)
    own = ctx.sender == new_owner
    note = say("reassign.did_know", name=name) if own else say("reassign.did_acknowledge", name=who, member=name)
    at = moment(ctx.now, ctx.settings.zone)
    ctx.tx.jobs.put(job, steps=[*job.data["steps"], as_json(say("reassign.step_done", at=at, what=note))])
    ctx.tx.audit.add(ctx.sender, "reassign.acknowledged", str(job.data["source_address"]), job=job.id, of=new_owner)
    ctx.tx.jobs.wake(job, "prepare")
    ctx.start(job)
    replies = put_away(ctx.tx, job, say("reassign.mark_acknowledged"), member=new_owner)
    if ctx.task_id is None:
        replies.append(Text(ctx.sender, say("reassign.thanks", number=job_id)))
    return [*replies, Text(job.asked_by, say("reassign.told_acknowledged", what=note, number=job_id))]


# --- the console's steps ---------------------------------------------------------------------------------------------


def read_again(job: JobContext) -> None:
    """The facts again, now by look-up: on a difference nothing is done."""
    data = job.data
    address, displaced, new_owner = str(data["source_address"]), data["displaced"], str(job.params["new_owner"])
    try:
        owner = owner_now(job, address)
        has = owner_now(job, str(displaced)) if displaced is not None else None
    except addresses.NoBudget:
        with job.begin() as step:
            step.go("facts", due_at=step.now + handovers.UPSTREAM_AGAIN)
        return
    living, public = owner is not None, made_public_still(job, address)
    state = IN_USE if living else PUBLIC if public else IN_BIN
    kept = displaced if displaced is not None and has == new_owner else None
    now = facts_of(address, owner if living else data["owner"], state, new_owner, kept)
    looks = {
        "source": seen(job, address, owner),
        "target": seen(job, str(displaced), has) if displaced is not None else None,
    }
    with job.begin() as step:
        if now != data["facts"]:
            void(step, now)
            return
        step.put(before={side: evidence(step.now, look) if look is not None else None for side, look in looks.items()})
        enter(step, {IN_USE: "reclaim", PUBLIC: "delete"}.get(state, "assign"))


def made_public_still(job: JobContext, address: str) -> bool:
    """Whether it is the public mailbox that a rescue made, as WeCom shows it now, or as the rows say where it hides."""
    if job.params.get("public") is None:
        return False
    shown = addresses.seen_public(job, address)
    with job.services.store.begin() as tx:
        box = tx.mailboxes.get(int(job.params["public"]))
    return still_public(box) and (shown is None or shown.id == box.id)


def seen(job: JobContext, address: str, owner: str | None) -> Look:
    """A look-up as evidence."""
    if owner is None:
        return Look(None, say("handovers.saw_nobody", address=address), {address: None})
    saw = say("handovers.saw_owner", address=address, owner=handovers.name_of(job, owner))
    return Look(True, saw, {address: owner})


def void(step: JobStep, now: dict[str, Any]) -> None:
    """What was agreed to is not so any more: the difference is shown, nothing is done."""
    before = step.job.data["facts"]
    names = [name for name in before if before[name] != now[name]]
    differences = [
        say(
            "approvals.difference",
            name=say(f"reassign.fact_{name}"),
            before=in_words(step.tx, step.directory, name, before[name]),
            after=in_words(step.tx, step.directory, name, now[name]),
        )
        for name in names
    ]
    step.tx.audit.add("bot", "reassign.facts_changed", str(before["mailbox"]), job=step.job.id, before=before, now=now)
    words = say("reassign.facts_changed", number=step.job.id, differences=differences)
    told = dict.fromkeys([step.job.asked_by, str(step.job.data["approved_by"])])
    step.say(*(Text(each, words) for each in told))
    end_with(step, "void")


def still_open(step: JobStep, stage: str, handover: Handover) -> bool:
    """Whether a handover is not done: then the job waits on, or it was too late and that is said."""
    if handover.state is HandoverState.DONE:
        return False
    if handover.state in STILL_OPEN:
        step.tx.jobs.wait(step.job, stage, expires_at=None)
    else:
        fail(step, say("reassign.too_late", title=from_json(handover.title), handover=handover.id))
    return True


def reclaim(job: JobContext) -> None:
    """回收邮箱: the mailbox leaves its owner, who stays; from then on it lies in the bin and its days are counted."""
    with job.begin() as step:
        data = step.job.data
        address, owner = str(data["source_address"]), str(data["owner"])
        handover = handovers.of_stage(step, "reclaim")
        if handover is None:
            words = say(
                "reassign.to_owner", address=address, name=data["new_name"], reason=data["reason"],
                by=step.directory.name(str(data["approved_by"])),
            )  # fmt: skip
            step.say(Text(owner, words))
            into_bin.ask_to_reclaim(
                step, address=address, owner=owner, owner_name=str(data["owner_name"]),
                why=say("reassign.reclaim_why", number=job.job_id, name=data["new_name"]),
                seen_before=data["before"]["source"],
            )  # fmt: skip
            return
        if still_open(step, "reclaim", handover):
            return
        deletes_at = reclaimed(step, handover)
        step.say(Text(step.job.asked_by, say("reassign.half", address=address, date=day(deletes_at))))
        enter(step, "assign")


def reclaimed(step: JobStep, handover: Handover) -> datetime:
    """It was seen to be taken off its owner: into the book; when it is deleted."""
    data = step.job.data
    address, owner = str(data["source_address"]), str(data["owner"])
    deletes_at = into_bin.into_book(
        step, address=address, mailbox_id=data["source"], owner=owner, source=BinSource.RECLAIMED,
        since=into_bin.last_seen(handover, data["before"]["source"]["at"]),
    ).deletes_at  # fmt: skip
    step.put(source_deletes_at=deletes_at.isoformat())
    did(step, say("reassign.did_reclaim", address=address, owner=data["owner_name"], handover=handover.id))
    return deletes_at


def delete(job: JobContext) -> None:
    """A public mailbox is deleted, by API or in the console: from then on it lies in the bin and can be assigned."""
    data = job.data
    why = say("reassign.delete_why", number=job.job_id, name=data["new_name"])
    try:
        seen = into_bin.delete_public(job, stage="delete", why=why)
    except into_bin.TooLate as late:
        with job.begin() as step:
            fail(step, say("reassign.too_late", title=late.title, handover=late.number))
        return
    if seen is None:
        return
    with job.begin() as step:
        date = day(deleted(step))
        step.say(Text(step.job.asked_by, say("reassign.half", address=data["source_address"], date=date)))
        enter(step, "assign")


def deleted(step: JobStep) -> datetime:
    """The public mailbox was seen to be deleted: into the book; when it is deleted for ever."""
    data = step.job.data
    item = into_bin.public_into_book(step, owner=data["owner"], stage="delete")
    step.put(source_deletes_at=item.deletes_at.isoformat(), deleting=None)
    did(step, say("reassign.did_delete", address=data["source_address"]))
    return item.deletes_at


def assign(job: JobContext) -> None:
    """分配给成员: the mailbox in the bin becomes the new owner's; the one he had goes there."""
    with job.begin() as step:
        data, params = step.job.data, step.job.params
        address, displaced = str(data["source_address"]), data["displaced"]
        handover = handovers.of_stage(step, "assign")
        if handover is None:
            item = step.tx.recycle_bin.waiting_at(address)
            deadline = item.deletes_at if item is not None else step.now + ASSIGN_WITHIN
            values = [address, str(data["new_name"])]
            handovers.ask_for(
                step,
                title=say("reassign.assign_title", address=address, name=data["new_name"]),
                why=say("reassign.assign_why", number=job.job_id, lost=lost(data)),
                how=[say("reassign.bin_path"), say("reassign.assign_how", address=address, name=data["new_name"])],
                values=values,
                check=Check("owner_is", {"address": address, "userid": params["new_owner"], "instead_of": displaced}),
                deadline_at=max(deadline, step.now + timedelta(hours=1)),
                stage="assign",
                seen_before=data["before"]["target"],
            )
            return
        if still_open(step, "assign", handover):
            return
        assigned(step, handover)
        enter(step, "finish")


def assigned(step: JobStep, handover: Handover) -> None:
    """It was seen to be the new owner's: out of the book, and what he had before into it."""
    data = step.job.data
    address, displaced = str(data["source_address"]), data["displaced"]
    did(step, say("reassign.did_assign", address=address, name=data["new_name"], handover=handover.id))
    out_of_book(step, address, by=step.job.asked_by, handover=handover)
    if displaced is not None:
        item = into_bin.into_book(
            step, address=str(displaced), mailbox_id=data["target"], owner=str(step.job.params["new_owner"]),
            source=BinSource.REPLACED, since=into_bin.last_seen(handover, data["before"]["target"]["at"]),
        )  # fmt: skip
        step.put(deletes_on=day(item.deletes_at))


def out_of_book(step: JobStep, address: str, *, by: str, handover: Handover) -> None:
    """The mailbox left the bin: it was seen to be somebody's."""
    item = step.tx.recycle_bin.waiting_at(address)
    if item is not None:
        step.tx.recycle_bin.close(item, BinState.ASSIGNED, by=by, seen=handover.after, handover=handover.id)


def finish(job: JobContext) -> None:
    """Everybody is told what is whose now, and what to do next."""
    with job.begin() as step:
        data = step.job.data
        address, displaced = str(data["source_address"]), data["displaced"]
        new_owner, asker = str(job.params["new_owner"]), step.job.asked_by
        welcome: list[Words] = [
            say("reassign.welcome", address=address),
            say("reassign.log_in", address=address),
            say("reassign.renew"),
        ]
        if displaced is not None:
            welcome.append(gone(data))
        step.say(Text(new_owner, lines(*welcome)))
        report = [say("reassign.done", address=address, name=data["new_name"], number=job.job_id)]
        report += [from_json(each) for each in data["steps"]]
        if displaced is not None:
            report.append(gone(data))
        if displaced is not None and data.get("keep_alias"):
            wish = kept_alias.keep(step, address=str(displaced), mailbox=address, owner=new_owner, reassign=job.job_id)
            report.append(say("reassign.alias_wish", displaced=displaced, date=data["deletes_on"], number=wish.id))
        told = dict.fromkeys([asker, str(data["approved_by"])])
        step.say(*(Text(each, lines(*report)) for each in told if each != new_owner))
        if data["living"] and data["owner"] not in told:
            step.say(Text(str(data["owner"]), say("reassign.owner_done", address=address, name=data["new_name"])))
        step.tx.audit.add(
            "bot", "reassign.done", address, job=job.job_id, before=data["facts"]["owner"], after=new_owner,
            displaced=displaced, handovers=data["handovers"], backup=data.get("backup"),
        )  # fmt: skip
        end_with(step, "done")


# --- when it stops ---------------------------------------------------------------------------------------------------


def fail(step: JobStep, why: Words) -> None:
    """It stops: which step, why, what was done already, and how to go on."""
    data, number = step.job.data, step.job.id
    words = say("reassign.failed", number=number, step=say(f"jobs.stage_{step.job.stage}"), why=why)
    step.say(*(Text(each, lines(words, *so_far(data))) for each in told_of_failure(step)))
    if data.get("approved_by"):
        step.say(Text(step.job.asked_by, say("reassign.how_to_resume", number=number)))
    step.tx.audit.add(
        "bot", "reassign.failed", str(data["source_address"]), job=number, stage=step.job.stage, why=why.text("en")
    )
    end_with(step, "failed")
    step.job.error = why.text("en")


def told_of_failure(step: JobStep) -> list[str]:
    """The asker; all admins, when a mailbox already lies in the bin."""
    admins = step.roles.admins if step.job.data.get("source_deletes_at") else []
    return list(dict.fromkeys([step.job.asked_by, *admins]))


@work.failed(KIND)
def failed(step: JobStep, words: Words) -> None:
    """It cannot go on: in its cleanup it just ends."""
    if step.job.stage == "cleanup":
        step.tx.jobs.end(step.job, JobState.FAILED, error=words.text("en"))
        return
    fail(step, words)


def clean_up(job: JobContext) -> None:
    """
    Nobody is asked for anything any more; then the job has its ending.

    A console step that is still asked for may be done already: a last look, so that no mailbox lies in the bin unknown.
    """
    wanted = (job.data.get("handovers") or {}).get(job.data.get("at_step"))
    look = handovers.last_look(job, int(wanted)) if wanted is not None else None
    begun = into_bin.last_look(job, "delete") if job.data.get("deleting") else None
    with job.begin() as step:
        told = late(step, step.tx.handovers.get(int(wanted)), look) if wanted is not None else []
        if step.job.stage != "cleanup":
            return
        if begun is not None and into_bin.done_all_the_same(step, "delete", begun) is not None:
            deleted(step)
            step.put(at_step="assign")
        data = step.job.data
        ending = str(data.get("ending", "failed"))
        step.tx.approvals.void(step.job.id)
        step.say(*handovers.withdraw(step.tx, step.job.id))
        step.say(*put_away(step.tx, step.job, say(f"jobs.ended_{ending}")))
        if ending in ("cancelled", "expired"):
            words = say(f"reassign.ended_{ending}", number=job.job_id)
            step.say(*(Text(each, lines(words, *so_far(data), *told)) for each in told_of_failure(step)))
        elif told:
            step.say(*(Text(each, lines(*told)) for each in told_of_failure(step)))
        step.tx.audit.add("bot", "reassign.ended", str(data["source_address"]), job=job.job_id, ending=ending)
        step.tx.jobs.end_as(step.job, ending)


def late(step: JobStep, handover: Handover, look: Look | None) -> list[Words]:
    """What is to be said of the console step at which it stops: done all the same, or perhaps. If assigned: on."""
    data = step.job.data
    address, displaced = str(data["source_address"]), data["displaced"]
    still_asked = handover.state in STILL_OPEN
    if handovers.seen_done(step, handover, look):
        if handover.stage == "assign":
            assigned(step, handover)
            words = say("reassign.assigned_already", address=address, name=data["new_name"], number=step.job.id)
            step.say(Text(step.job.asked_by, words))
            step.put(ending=None)
            step.job.error = None
            enter(step, "finish")
            return []
        deletes_at = deleted(step) if handover.stage == "delete" else reclaimed(step, handover)
        step.put(at_step="assign")
        return [] if data.get("ending") != "failed" else [
            say("reassign.lies_in_bin", address=address, date=day(deletes_at))
        ]  # fmt: skip
    if not still_asked or (look is not None and look.holds is not None):
        return []
    date = day(recycle_bin.deletion_of(step.now, step.services.settings.bot_bin_days))
    if handover.stage == "delete":
        return [say("reassign.perhaps_deleted", address=address, date=date)]
    if handover.stage == "reclaim":
        return [say("reassign.perhaps_reclaimed", address=address, date=date)]
    told = [say("reassign.perhaps_assigned", address=address, name=data["new_name"])]
    return told if displaced is None else [*told, say("reassign.perhaps_displaced", displaced=displaced, date=date)]


@router.command(
    "resume {job_id:int}", "恢复|继续 {job_id:int}", role="admin", topic="reassign", example=("resume 12", "恢复 12")
)
def resume(ctx: Context, job_id: int) -> list[Reply]:
    """Go on with a change of owner that stopped, at the step where it did."""
    job = known_job(ctx, job_id)
    data = job.data
    stopped = job.state in (JobState.FAILED, JobState.CANCELLED) and data.get("ending") in (
        "failed", "expired", "cancelled"
    )  # fmt: skip
    if not stopped or data.get("at_step") not in STEPS or not data.get("approved_by"):
        raise UserError(say("reassign.nothing_to_resume", number=job_id))
    at_step = str(data["at_step"])
    job.cancel_asked_by, job.finished_at = None, None
    backup_id = data.get("backup") if data.get("backup_noted") else None
    handed = {stage: number for stage, number in data["handovers"].items() if stage != at_step}
    ctx.tx.jobs.put(job, ending=None, backup=backup_id, acknowledgement_asked=False, handovers=handed)
    ctx.tx.audit.add(ctx.sender, "reassign.resumed", str(data["source_address"]), job=job.id, at=at_step)
    ctx.tx.jobs.wake(job, at_step)
    ctx.start(job)
    return [Text(ctx.sender, say("reassign.resuming", number=job_id, step=say(f"jobs.stage_{at_step}")))]


@work.sweep("reassign", timedelta(minutes=1))
def watch(sweep: SweepStep) -> None:
    """What the waiting ones wait for: a backup that ended, a question that is void, or too long."""
    tx = sweep.tx
    for job in tx.jobs.waiting_or_due(KIND):
        if job.state is not JobState.WAITING:
            continue
        ended = False
        if job.stage == "prepare":
            copied = tx.jobs.find(int(job.data["backup"])) if job.data.get("backup") is not None else None
            ended = copied is not None and copied.state not in OPEN and not job.data.get("backup_noted")
        if (ending := approvals.ran_out(tx, job)) is not None:
            tx.jobs.put(job, ending=ending)
            tx.jobs.wake(job, "cleanup")
        elif ended:
            tx.jobs.wake(job, "prepare")
        else:
            continue
        sweep.start(job)
