"""
What goes into the recycle bin by our own doing, and is written into the book with its days.

A member's mailbox is reclaimed in the console. A public one is deleted by API where the mail API shows it to the app,
else in the console. What the API never showed cannot be seen to be gone: then an admin's word enters it into the book,
as with `bin add`, for all that follows from it is that people are reminded.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog

from bot.replies import Text
from bot.wecom import exmail
from bot.wecom.errcodes import Retry, WeComError
from bot.words import Words, from_json, lines, say
from bot.work import JobContext, JobStep
from handlers import addresses
from handlers.bin import recycle_bin
from handlers.copying.access import PUBLIC_GONE
from handlers.handovers import handovers
from handlers.handovers.handovers import Check, Look, check, done_late, evidence, name_of
from storage.handovers import OPEN
from storage.models import BinItem, BinSource, Handover, HandoverState, Mailbox

log = structlog.get_logger()

RECLAIM_WITHIN = timedelta(days=14)
DELETE_WITHIN = timedelta(days=14)
READ_BACKS_MAX = 5
READ_BACK_AGAIN = timedelta(minutes=1)


# --- 回收邮箱 --------------------------------------------------------------------------------------------------------


def ask_to_reclaim(
    step: JobStep, *, address: str, owner: str, owner_name: str, why: Words, seen_before: Mapping[str, Any]
) -> Handover:
    """回收邮箱: the mailbox is to leave its owner, who stays."""
    return handovers.ask_for(
        step,
        title=say("reassign.reclaim_title", address=address, owner=owner_name),
        why=why,
        how=[say("reassign.path"), say("reassign.reclaim_how", owner=owner_name), say("reassign.no_delete")],
        values=[address],
        check=Check("owner_is_not", {"address": address, "userid": owner}),
        deadline_at=step.now + RECLAIM_WITHIN,
        stage="reclaim",
        seen_before=seen_before,
    )


# --- a public mailbox is deleted -------------------------------------------------------------------------------------


class TooLate(Exception):
    """The console step was not seen to be done before its deadline."""

    def __init__(self, handover: Handover) -> None:
        super().__init__(handover.id)
        self.title, self.number = from_json(handover.title), handover.id

    def words(self) -> Words:
        """So nothing was done."""
        return say("convert.not_done", title=self.title)


def question(step: JobStep, *, address: str, name: str, readers: object) -> list[Words]:
    """What two admins are asked: who uses it, and that it lies in the bin for so many days then."""
    return [
        say("into_bin.question", address=address, name=name, readers=readers),
        say("into_bin.days", days=step.services.settings.bot_bin_days, help=recycle_bin.HELP_DAYS),
    ]


def mail_in(job: JobContext | JobStep) -> list[Words]:
    """Where its mail is, when it was copied before."""
    data, params = (job.job.data, job.job.params) if isinstance(job, JobStep) else (job.data, job.params)
    if "backup" not in params:
        return []
    return [say("into_bin.mail_in", target=data["target_address"], backup=params["backup"])]


def delete_agreed(job: JobContext, *, stage: str) -> dict[str, Any] | None:
    """`delete_public` of what two admins agreed to."""
    return delete_public(job, stage=stage, why=lines(say("into_bin.delete_why", number=job.job_id), *mail_in(job)))


def public_is_deleted(step: JobStep, seen: Mapping[str, Any], *, owner: str | None, stage: str) -> Words:
    """It was seen to be gone: into the book; what is told then, until when it can be taken back."""
    item = public_into_book(step, owner=owner, stage=stage)
    step.put(gone=dict(seen), item=item.id)
    step.tx.audit.add(
        step.job.asked_by, "public.deleted", str(item.address), job=step.job.id, item=item.id,
        approved_by=step.job.data.get("approved_by"), evidence=dict(seen),
    )  # fmt: skip
    by = (seen.get("detail") or {}).get("said_by")
    told = say("into_bin.public_deleted", address=item.address)
    if by is not None:
        told = say("into_bin.public_said_deleted", address=item.address, by=step.directory.name(by))
    return lines(
        told,
        *mail_in(step),
        recycle_bin.deleted_words(item, step.services.settings.zone),
        say("recycle_bin.help_says", days=recycle_bin.HELP_DAYS),
        say("into_bin.can_go_back", address=item.address),
    )


def delete_public(job: JobContext, *, stage: str, why: Words) -> dict[str, Any] | None:
    """
    Evidence that the public mailbox `source` of a job is deleted; None while the job waits or tries again.

    The intent is written first, so that a crash leaves no mailbox in the bin unknown. Raises TooLate, NetworkError,
    WeComError where asking again helps.
    """
    with job.services.store.begin() as tx:
        box = tx.mailboxes.get(int(job.data["source"]))
        number = (job.data.get("handovers") or {}).get(stage)
        handover = tx.handovers.peek(int(number)) if number is not None else None
    if handover is not None:
        if handover.state is HandoverState.DONE:
            return handover.after
        if handover.state not in OPEN:
            raise TooLate(handover)
        with job.begin() as step:
            step.tx.jobs.wait(step.job, stage, expires_at=None)
        return None
    if job.data.get("deleting") is None and not intend(job, box, stage, why):
        return None
    return delete_by_api(job, box, stage, why)


def intend(job: JobContext, box: Mailbox, stage: str, why: Words) -> bool:
    """The intent to delete it by API is written down; False when the app does not see it: the console is asked."""
    shown = addresses.seen_public(job, box.address)
    with job.begin() as step:
        if shown is None or shown.id != box.id:
            ask_to_delete(step, box, stage, why, shown=False)
            return False
        step.put(deleting={"id": shown.public_id, "at": step.now.isoformat(), "looks": 0})
        step.tx.audit.add("bot", "public.deleting", box.address, job=step.job.id, public_id=shown.public_id)
    return True


def delete_by_api(job: JobContext, box: Mailbox, stage: str, why: Words) -> dict[str, Any] | None:
    """One call, then it is read back; None when WeCom refuses (the console is asked) or still shows it (later)."""
    public_id = int(job.data["deleting"]["id"])
    try:
        exmail.publicmail_delete(job.client, public_id)
    except WeComError as error:
        if error.errcode not in PUBLIC_GONE:
            if error.retry is not Retry.NEVER:
                raise
            log.warning("public_delete_refused", job_id=job.job_id, errcode=error.errcode)
            with job.begin() as step:
                step.put(deleting=None)
                refused = error.words() or say("work.upstream", error=str(error))
                step.say(Text(step.job.asked_by, say("into_bin.api_refused", address=box.address, why=refused)))
                ask_to_delete(step, box, stage, why)
            return None
    if gone(job, public_id):
        with job.services.store.begin() as tx:
            return evidence(tx.now, Look(True, say("into_bin.saw_gone", address=box.address), {box.address: None}))
    with job.begin() as step:
        looks = int(step.job.data["deleting"]["looks"]) + 1
        step.put(deleting={**step.job.data["deleting"], "looks": looks})
        if looks < READ_BACKS_MAX:
            step.go(stage, due_at=step.now + READ_BACK_AGAIN)
        else:
            step.put(deleting=None)
            ask_to_delete(step, box, stage, why)
    return None


def gone(job: JobContext, public_id: int) -> bool:
    """Whether the mail API, which has shown it, shows it no more. Raises NetworkError, WeComError."""
    try:
        return not exmail.publicmail_get(job.client, [public_id])
    except WeComError as error:
        if error.errcode not in PUBLIC_GONE:
            raise
        return True


def ask_to_delete(step: JobStep, box: Mailbox, stage: str, why: Words, *, shown: bool = True) -> Handover:
    """The handover: delete a public mailbox in the console."""
    address = box.address
    seen = say("conversion.saw_public", address=address, name=box.name or address)
    return handovers.ask_for(
        step,
        title=say("into_bin.delete_title", address=address),
        why=why,
        how=[
            say("into_bin.delete_path"),
            say("into_bin.delete_how", address=address),
            say("into_bin.delete_not_for_ever"),
        ],
        values=[address],
        check=Check("public_is_gone", {"address": address, "public_id": box.public_id if shown else None}),
        deadline_at=step.now + DELETE_WITHIN,
        stage=stage,
        seen_before=evidence(step.now, Look(False, seen, {address: "public"})) if shown else None,
    )


@check("public_is_gone")
def public_is_gone(job: JobContext, address: str, public_id: int | None) -> Look:
    """Whether a public mailbox is deleted: what the mail API has shown is shown no more; else somebody's word."""
    if addresses.seen_public(job, address) is not None:
        return Look(False, say("into_bin.saw_there", address=address), {address: "public"})
    if public_id is not None:
        holds = gone(job, public_id)
        saw = say("into_bin.saw_gone" if holds else "into_bin.saw_there", address=address)
        return Look(holds, saw, {address: None if holds else "public"}, needs_before=True)
    with job.services.store.begin() as tx:
        said_by = tx.handovers.peek(int(job.data["handover"])).said_by
    if said_by is None:
        return Look(None, say("into_bin.saw_nothing", address=address), {address: None})
    saw = say("into_bin.saw_said", address=address, by=name_of(job, said_by))
    return Look(True, saw, {address: None, "said_by": said_by})


def last_look(job: JobContext, stage: str) -> Look | None:
    """A look before a deletion that was begun is given up: it may be done, and nobody has seen it yet."""
    number, begun = (job.data.get("handovers") or {}).get(stage), job.data.get("deleting")
    if number is not None:
        return handovers.last_look(job, int(number))
    if begun is None or job.data.get("gone"):
        return None
    address = str(job.data["source_address"])
    if not gone(job, int(begun["id"])):
        return None
    return Look(True, say("into_bin.saw_gone", address=address), {address: None})


def done_all_the_same(step: JobStep, stage: str, look: Look | None) -> dict[str, Any] | None:
    """Evidence that a deletion is done, also if only this last look says so."""
    handover = handovers.of_stage(step, stage)
    if handover is not None:
        return handover.after if handovers.seen_done(step, handover, look) else None
    return evidence(step.now, look) if look is not None and look.holds else None


def deleted_since(job_data: Mapping[str, Any], handover: Handover | None, now: datetime) -> datetime:
    """The earliest moment at which a public mailbox may have gone into the bin: its days are counted from there."""
    if handover is None:
        return datetime.fromisoformat(job_data["deleting"]["at"]) if job_data.get("deleting") else now
    return datetime.fromisoformat(handover.before["at"]) if handover.before is not None else handover.created_at


def public_into_book(step: JobStep, *, owner: str | None, stage: str) -> BinItem:
    """A public mailbox was deleted: its entry of the book."""
    data = step.job.data
    handover = handovers.of_stage(step, stage)
    return into_book(
        step, address=str(data["source_address"]), mailbox_id=int(data["source"]), owner=owner,
        source=BinSource.PUBLIC, since=deleted_since(data, handover, step.now),
        known_from="api" if handover is None else "console",
    )  # fmt: skip


# --- done after its time ---------------------------------------------------------------------------------------------


@done_late("owner_is_not")
@done_late("public_is_gone")
def lies_there_now(step: JobStep, handover: Handover) -> list[Words]:
    """A mailbox was taken off its owner, or deleted, when nobody waited for it any more: the book must know it."""
    address, owner = str(handover.args["address"]), handover.args.get("userid")
    waiting = step.tx.jobs.get(handover.job_id)
    owner = owner or waiting.data.get("owner_was") or waiting.data.get("owner")
    if (handover.after or {}).get("detail", {}).get(address) is not None:
        return []  # somebody has it already
    box = step.tx.mailboxes.at(address)
    item = recycle_bin.enter(
        step.tx, step.services.settings, known_from="console", box=box, address=address,
        source=BinSource.PUBLIC if handover.check == "public_is_gone" else BinSource.RECLAIMED,
        owner=step.tx.members.find(str(owner)) if owner is not None else None, added_by=handover.asked_of,
        entered_at=last_seen(handover, handover.created_at.isoformat()),
    ) or step.tx.recycle_bin.waiting_at(address)  # fmt: skip
    return [recycle_bin.deleted_words(item, step.services.settings.zone)] if item is not None else []


# --- the book --------------------------------------------------------------------------------------------------------


def into_book(
    step: JobStep,
    *,
    address: str,
    mailbox_id: int | None,
    owner: str | None,
    source: BinSource,
    since: datetime,
    known_from: str | None = None,
) -> BinItem:
    """Its entry of the book: it lies in the bin since it was last seen elsewhere."""
    box = step.tx.mailboxes.get(mailbox_id) if mailbox_id is not None else None
    item = recycle_bin.enter(
        step.tx, step.services.settings, source=source, known_from=known_from or step.job.kind, box=box,
        address=address, owner=step.tx.members.find(owner) if owner is not None else None,
        added_by=step.job.asked_by, entered_at=since,
    ) or step.tx.recycle_bin.waiting_at(address)  # fmt: skip
    assert item is not None  # noqa: S101 (what is not entered waits there already)
    return item


def last_seen(handover: Handover, otherwise: str) -> datetime:
    """When a mailbox was last seen where it was; the days in the bin are counted from then."""
    return datetime.fromisoformat(handover.before["at"] if handover.before is not None else otherwise)
