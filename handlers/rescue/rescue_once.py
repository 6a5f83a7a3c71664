"""
A rescue by the console's own 备份邮件, which works once and cannot be compared with its source.

Seen to arrive at the target it counts as partial, and the reminders go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from bot.mail.counts import OwnFolders, own_folders
from bot.mail.errors import LoginRefused
from bot.mail.session import MailAccount
from bot.replies import Text
from bot.words import from_json, lines, say
from bot.work import JobContext, JobStep
from handlers.bin import conversion, recycle_bin
from handlers.copying import access, copying
from handlers.copying.access import NoPassword
from handlers.copying.connections import Connections
from handlers.handovers import handovers
from handlers.handovers.handovers import Check, Look, check, evidence
from handlers.rescue.rescue_choice import (
    entry_of,
    not_in_time,
    still_agreed,
)
from storage.handovers import OPEN as STILL_OPEN
from storage.models import (
    BinItem,
    Handover,
    HandoverState,
    JobState,
    Mailbox,
)

if TYPE_CHECKING:
    pass

SETTLED_AFTER = timedelta(minutes=10)  # the console copies in the background: that long without another mail
STEADY_AFTER = timedelta(hours=12)  # a target that gets mail all the time never rests


def look(job: JobContext) -> None:
    """What lies in the target before the console copies; no minted key is kept while a person has to do something."""
    with job.services.store.begin() as tx:
        box = tx.mailboxes.get(int(job.data["target"]))
        own_roots = tuple(tx.mailboxes.roots_in(box))

    def count(accounts: Sequence[MailAccount], _: object) -> OwnFolders:
        return asyncio.run(own_folders(accounts[0], exclude_roots=own_roots))

    refused_at = conversion.refused_at("target")
    seen = copying.logged_in(job, {"target": box}, count, sides=("target",), most=1, on_refusal=refused_at)
    if seen is None:
        return
    if copying.mintable(box):
        access.give_back(job.services, job.job_id)
    with job.begin() as step:
        before = step.job.data.get("before")  # a second look, after access was lost, compares with the first
        step.put(before=before if before is not None else dict(seen.mails), trouble=None)
        if seen.hidden:
            step.say(Text(step.job.asked_by, say("rescue.target_hides", target=box.address)))
        step.go("once")


def once(job: JobContext) -> None:
    """备份邮件, the console's own: asked for, seen at the target, and called what it is."""
    with job.begin() as step:
        item = entry_of(step.tx, step.job.data)
        handover = handovers.of_stage(step, "once")
        if handover is None:
            if still_agreed(step, item):
                ask_for_copy(step, item)
        elif handover.state is HandoverState.DONE:
            seen_once(step, item, handover)
        elif handover.state in STILL_OPEN:
            step.tx.jobs.wait(step.job, "once", expires_at=None)
        else:
            not_in_time(step, item, handover)


def ask_for_copy(step: JobStep, item: BinItem) -> None:
    """The handover with its exact values."""
    data = step.job.data
    address, target = str(item.address), str(data["target_address"])
    mails = sum(data["before"].values())
    handovers.ask_for(
        step,
        title=say("rescue.once_title", address=address, target=target),
        why=say("rescue.once_why", number=step.job.id, moment=recycle_bin.moment_of(item)),
        how=[
            say("rescue.once_path"),
            say("rescue.once_how", address=address),
            say("rescue.once_target", target=target),
            say("rescue.once_refused", number=step.job.id),
        ],
        values=[address, target],
        check=Check("copied_once", {"rescue": step.job.id, "target": data["target"]}),
        deadline_at=conversion.deadline(step, item),
        stage="once",
        seen_before=evidence(step.now, Look(False, say("rescue.saw_before", target=target, count=mails), {"mails": 0})),
    )


@check("copied_once")
def copied_once(job: JobContext, rescue: int, target: int) -> Look:
    """
    Whether mails came into folders of the target that are not ours, and no more are coming.

    People move mails, too: what came counts only after somebody said that he copied.
    """
    with job.services.store.begin() as tx:
        box, row = tx.mailboxes.get(target), tx.jobs.get(rescue)
        before = dict(row.data["before"])
        handover = tx.handovers.peek(int(job.data["handover"]))
        looks, said_at, number = list(handover.looks), handover.said_at, handover.id
        own_roots = tuple(tx.mailboxes.roots_in(box))
        kept, now = tx.passwords.find(rescue, "target") is not None, tx.now
    try:
        seen = seen_at(job, box, rescue if kept else None, own_roots)
    except (NoPassword, LoginRefused) as error:
        lost_access(job, rescue, refused=isinstance(error, LoginRefused))
        return Look(None, say("rescue.saw_no_access", target=box.address), {"mails": None})
    if seen is None:
        return Look(None, say("rescue.saw_busy"), {"mails": None})
    grown = {name: more for name, count in seen.mails.items() if (more := count - before.get(name, 0)) > 0}
    count = sum(grown.values())
    if not count:
        return Look(False, say("rescue.saw_none", target=box.address), {"mails": 0})
    folders = sorted(grown, key=lambda each: -grown[each])
    values = {"target": box.address, "count": count, "folder": folders[0], "folders": len(folders)}
    if said_at is None:
        return Look(None, say("rescue.saw_mails_unsaid", **values, number=number), {"mails": count})
    same_since, since = now, now
    for each in reversed(looks):
        if not each["detail"].get("mails"):
            break
        since = datetime.fromisoformat(each["at"])
        same_since = since if each is looks[-1] and each["detail"]["mails"] == count else same_since
    settled = now - max(same_since, said_at) >= SETTLED_AFTER
    steady = now - max(since, said_at) >= STEADY_AFTER
    if settled or steady:
        with job.services.store.begin() as tx:
            tx.answers.saw("console_backup", "yes", folders[0])
    key = "rescue.saw_mails" if settled else "rescue.saw_mails_steady" if steady else "rescue.saw_mails_coming"
    return Look(True if settled or steady else None, say(key, **values), {"mails": count})


def seen_at(job: JobContext, box: Mailbox, of: int | None, own_roots: tuple[str, ...]) -> OwnFolders | None:
    """
    The folders of the target; None when no connection is free. Raises NoPassword, LoginRefused.

    Without a password that was entered for the rescue one is minted for this look alone, and deleted behind it.
    """
    try:
        if of is None and not (copying.mintable(box) and access.mint(job, "target", box)):
            raise NoPassword("target")
        account = access.account(job, "target", box, of=of)
        with Connections(job, least=1, most=1) as connections:
            return asyncio.run(own_folders(account, exclude_roots=own_roots)) if connections.count else None
    finally:
        if of is None:
            access.give_back(job.services, job.job_id)


def lost_access(job: JobContext, rescue: int, *, refused: bool) -> None:
    """The target cannot be looked at any more: the rescue asks for access again, and never tries a refused login."""
    with job.services.store.begin() as tx:
        row = tx.jobs.get(rescue)
        if refused:
            tx.passwords.forget(rescue, "target")
            tx.links.refused(rescue, "target")
            tx.mailboxes.get(int(row.data["target"])).managed = False
        if row.state is JobState.WAITING and row.stage == "once":
            tx.jobs.wake(row, "access")  # the tick starts it


def seen_once(step: JobStep, item: BinItem, handover: Handover) -> None:
    """The console's copy arrived. It cannot be compared with its source, so the reminders go on."""
    data = step.job.data
    assert handover.after is not None  # noqa: S101 (it is done)
    count = handover.after["detail"]["mails"]
    step.put(seen_once=count, outcome={"copied": count, "refused": 0, "verified": False, "complete": False})
    step.tx.audit.add(
        "bot", "rescue.once_seen", str(item.address), job=step.job.id, target=data["target_address"], mails=count,
        evidence=handover.after,
    )  # fmt: skip
    words = say(
        "rescue.once_done", count=count, address=item.address, target=data["target_address"], number=step.job.id,
        saw=from_json(handover.after["saw"]),
    )  # fmt: skip
    step.say(Text(step.job.asked_by, lines(words, say("rescue.once_partial", address=item.address))))
    copying.end_with(step, "partial")
