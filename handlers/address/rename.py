"""
`rename ahing@ to aheng@`: a member's mailbox gets another address, and the old one stays as an alias.

WeCom lets an app change an address once, and only one that WeCom made itself; else it answers 60144, and the console is
asked for. The call is made at most once for a yes: its intent is written first, and after a lost answer a look-up, not
a second try, says whether it was done. Stages: look, confirm or approval, act, call, seen, console, alias, finish.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from bot.context import Context
from bot.errors import NetworkError, UserError
from bot.replies import Reply, Text
from bot.router import Router
from bot.wecom import contacts, limits
from bot.wecom.errcodes import NoContactsSecret, Retry, WeComError
from bot.words import Words, as_json, from_json, lines, say
from bot.work import JobContext, JobStep, Work
from handlers import addresses, changes
from handlers.address import alias_list, aliases, clash, old_address
from handlers.changes import Question, Refused
from handlers.handovers import handovers
from handlers.handovers.handovers import Check, Look, evidence, name_of, owner_now
from storage.handovers import OPEN as STILL_OPEN
from storage.models import Handover, HandoverState, Job, JobState, Mailbox

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()
router = Router()
work = Work()

KIND = "rename"
ACTION = "rename"  # of the policy
FIXED = 60144  # WeCom lets no app change this address (any more)
TAKEN = frozenset({60143, 60145, 81015})
LOOKS = (timedelta(seconds=5), timedelta(seconds=65))  # between looks, before "not done" is believed
CALLS_MAX = 2  # the second only after a look-up has proved that the first was never carried out
CONSOLE_WITHIN = timedelta(days=14)
NO_BUDGET_AGAIN = timedelta(hours=1)
AT_WORK = ("act", "call", "seen", "console", "alias", "finish")  # no second one of the same mailbox meanwhile


# --- what is typed ---------------------------------------------------------------------------------------------------


@router.command(
    "rename {source} to|as {target} [with {others:list}]",
    "改名|重命名 {source} 为|到|成 {target} [已有 {others:list}]",
    role="admin", topic="addresses", example=("rename ahing@ to aheng@", "改名 ahing@ 为 aheng@"),
)  # fmt: skip
def request_rename(ctx: Context, source: str, target: str, others: list[str] | None = None) -> list[Reply]:
    """Give a member's mailbox another address; the old one stays as an alias, nothing is lost."""
    meant, new = aliases.of_a_member(ctx, source), clash.wanted(ctx, target)
    old = meant.address or f"{meant.userid}@{ctx.settings.exmail_domain}"
    if old == new:
        raise UserError(say("rename.same", address=old))
    if (other := under_way(ctx.tx, old)) is not None:
        raise UserError(say("rename.under_way", address=old, number=other.id))
    if others is None and not alias_list.known(meant.mailbox) and not alias_list.shown_by_wecom(ctx.tx):
        raise alias_list.ask_which(old, "request_rename", {"source": source, "target": target})
    listed = alias_list.named(ctx, others) if others is not None else None
    title = say("rename.title", old=old, new=new)
    job = changes.ask_for(ctx, KIND, old, title, userid=meant.userid, target=new, others=listed)
    ctx.tx.audit.add(ctx.sender, "rename.asked", old, job=job.id, to=new)
    return []


def under_way(tx: Transaction, address: str, box: int | None = None, *, besides: int | None = None) -> Job | None:
    """Another rename of the same mailbox that was agreed to and is not over; of two in the same moment the earlier."""
    for job in tx.jobs.waiting_or_due(KIND):
        same = address in (job.params["address"], job.params["target"]) or (box and job.data.get("box") == box)
        later = besides is not None and job.stage == "act" and job.id > besides
        if same and job.stage in AT_WORK and job.id != besides and not later:
            return job
    return None


def only_one(tx: Transaction, job: JobContext, address: str, box: int) -> None:
    """Refused while another rename of the mailbox is at work."""
    other = under_way(tx, address, box, besides=job.job_id)
    if other is not None:
        raise Refused(say("rename.under_way", address=address, number=other.id))


@router.command(
    "undo {job_id:int}", "撤销|改回 {job_id:int}", role="admin", topic="addresses", example=("undo 12", "撤销 12")
)
def undo(ctx: Context, job_id: int) -> list[Reply]:
    """Give a mailbox that was renamed its former address back."""
    job = ctx.tx.jobs.find(job_id)
    if job is None or job.kind != KIND:
        raise UserError(say("rename.unknown", number=job_id))
    if job.state in (JobState.WAITING, JobState.DUE):
        raise UserError(say("rename.not_over", number=job_id))
    if not job.data.get("renamed"):
        raise UserError(say("rename.nothing_to_undo", number=job_id))
    old, new = str(job.params["address"]), str(job.params["target"])
    box = ctx.tx.mailboxes.get(int(job.data["box"]))
    if box.address != new or box.ended_at is not None:
        raise UserError(say("rename.renamed_since", old=old, new=new))
    return request_rename(ctx, new, old)


# --- looked at, asked ------------------------------------------------------------------------------------------------


def look(job: JobContext) -> Question:
    """Whose mailbox it is, whether the new address is free, and what the change means for whom."""
    new = str(job.params["target"])
    box = aliases.found(job)
    if job.params["others"] is not None:  # kept, whatever becomes of this job: nobody is asked twice
        with job.begin() as step:
            aliases.note(step, step.tx.mailboxes.get(box.id), job.params["others"])
    alias_list.learn(job, box)
    if box.address == new:
        raise Refused(say("rename.same", address=new))
    with job.services.store.begin() as tx:
        only_one(tx, job, box.address, box.id)
        alias_list.must_be_known(tx.mailboxes.get(box.id), box.address)
    if (taken := aliases.holder(job, new, box)) is not None:
        raise Refused(taken)
    with job.begin() as step:
        box = step.tx.mailboxes.get(box.id)
        kept = [each for each in box.aliases if each != new]
        if len(kept) >= limits.ALIASES_MAX:
            raise Refused(say("rename.no_room", mailbox=box.address, max=limits.ALIASES_MAX, aliases=kept))
        step.put(box=box.id, source_address=box.address)
        owner = str(box.owner)
        hints = [
            say("rename.by_console" if box.address_fixed else "rename.by_api_first"),
            say("rename.old_stays", old=box.address, count=len(kept) + 1, max=limits.ALIASES_MAX),
            say("rename.member_hears", owner=step.directory.name(owner)),
            *others_at_work(step, box),
        ]
        words = say("rename.question", old=box.address, owner=step.directory.name(owner), new=new)
        return Question(words, ACTION, facts_of(box.address, owner, new), owner=owner, hints=hints)


def facts_of(old: str, owner: str | None, new: str) -> dict[str, Any]:
    """What people agree to."""
    return {"mailbox": old, "owner": owner, "new_address": new}


def others_at_work(step: JobStep, box: Mailbox) -> list[Words]:
    """What else is under way with the mailbox: it may log in with the address that goes."""
    others = [each.id for each in step.tx.jobs.open_on([box.id]) if each.id != step.job.id]
    return [say("rename.others", numbers=others)] if others else []


# --- done, by the API or in the console ------------------------------------------------------------------------------


def act(job: JobContext) -> None:
    """Agreed to: what was shown is read once more, and how it stood before is kept as evidence."""
    old, new, owner = parts(job)
    with job.services.store.begin() as tx:
        only_one(tx, job, old, int(job.data["box"]))
    try:
        now = owner_now(job, old)
    except addresses.NoBudget:
        later(job)
        return
    changes.still_agreed(job, facts_of(old, now, new))
    with job.begin() as step:
        saw = say("handovers.saw_owner", address=old, owner=step.directory.name(owner))
        step.put(before=evidence(step.now, Look(False, saw, {old: owner})))
        box = step.tx.mailboxes.get(int(step.job.data["box"]))
        step.tx.audit.add(step.job.asked_by, "rename.agreed", old, job=job.job_id, to=new, owner=owner)
        step.go("console" if box.address_fixed else "call")


def parts(job: JobContext | Job) -> tuple[str, str, str]:
    """The old address, the new one, and whose mailbox it is."""
    facts = job.data["facts"]
    return str(facts["mailbox"]), str(facts["new_address"]), str(facts["owner"])


def later(job: JobContext) -> None:
    """Too many look-ups found nobody today: the same stage in an hour."""
    with job.begin() as step:
        step.go(step.job.stage, due_at=step.now + NO_BUDGET_AGAIN)


def call(job: JobContext) -> None:
    """The one call. Once its intent is written it is never simply made again: what became of it is looked up."""
    _, new, owner = parts(job)
    if changes.sending(job):
        to_look(job)
        return
    try:
        contacts.update_member(job.client, owner, address=new)
    except NoContactsSecret as error:
        to_console(job, error.words())
    except WeComError as error:
        log.warning("rename_refused", job_id=job.job_id, errcode=error.errcode)
        if not changes.not_done(error):
            to_look(job)
        elif error.errcode == FIXED:  # the client asks a busy WeCom again: this may be said of our own first try
            to_look(job, fixed=as_json(error.words()))
        elif error.errcode in TAKEN:
            to_look(job, taken=as_json(error.words()))
        elif error.retry is Retry.NEVER:
            to_console(job, error.words())
        else:
            with job.begin() as step:
                step.put(sent=False)  # refused before anything was done: the same call once more, later
            raise
    except NetworkError as error:
        log.warning("rename_answer_lost", job_id=job.job_id, error=type(error).__name__)
        to_look(job)
    else:
        to_look(job, accepted=True)


def to_look(job: JobContext, **said: Any) -> None:
    """What became of it is read back; WeCom `accepted` it, or says that this address is `fixed`, that one `taken`."""
    with job.begin() as step:
        step.put(looks=0, **said)
        step.go("seen")


def seen(job: JobContext) -> None:
    """
    Read back by look-up: whose the new address is, not what WeCom answered, says whether it was done.

    Not yet, after three looks: if the old one is still his, the call was never carried out.
    """
    old, new, owner = parts(job)
    try:
        if owner_of(job, new) == owner:
            became(job, Look(True, say("handovers.saw_owner", address=new, owner=name_of(job, owner)), {new: owner}))
            return
        if job.data.get("taken"):
            raise Refused(say("rename.refused", old=old, new=new, why=from_json(job.data["taken"])))
        if job.data.get("fixed"):
            to_console(job, from_json(job.data["fixed"]), fixed=True)
            return
        looks = int(job.data.get("looks") or 0)
        if looks < len(LOOKS):
            with job.begin() as step:
                step.put(looks=looks + 1)
                step.go("seen", due_at=step.now + LOOKS[looks])
            return
        untouched = owner_of(job, old) == owner
    except addresses.NoBudget:
        later(job)
        return
    accepted, calls = bool(job.data.get("accepted")), int(job.data.get("calls") or 1)
    if accepted or not untouched:
        to_console(job, say("rename.not_seen", new=new))
    elif calls < CALLS_MAX:
        with job.begin() as step:
            step.put(sent=False, calls=calls + 1)
            step.go("call")
    else:
        to_console(job, say("rename.no_answer"))


def owner_of(job: JobContext, address: str) -> str | None:
    """Whose an address is now; the rows learn it from `became`, because it is the same mailbox."""
    return addresses.look_up(job, address, negative=timedelta(0), learn=False)


def to_console(job: JobContext, why: Words, *, fixed: bool = False) -> None:
    """No app can do it, or not this one: a person does it in the console."""
    with job.begin() as step:
        box = step.tx.mailboxes.get(int(step.job.data["box"]))
        box.address_fixed = box.address_fixed or fixed
        if fixed:
            step.tx.answers.saw("rename_api", "no", f"{FIXED}: {box.address}")
        old, new, _ = parts(step.job)
        step.tx.audit.add("bot", "rename.by_hand", old, job=job.job_id, to=new, why=why.text("en"))
        step.put(why_console=as_json(why))
        step.go("console")


def console(job: JobContext) -> None:
    """修改企业邮箱 by a person, seen by a look-up; then it goes on as after the call."""
    with job.begin() as step:
        number = step.job.data.get("handover")
        handover = step.tx.handovers.get(int(number)) if number is not None else None
        if step.job.cancel_asked_by is not None and handover is None:
            changes.end_with(step, "cancelled")
        elif handover is None:
            ask_console(step)
        elif handover.state is HandoverState.DONE:
            done_in_console(step, handover)
        elif handover.state in STILL_OPEN:
            step.tx.jobs.wait(step.job, "console", expires_at=None)
        else:
            stop(step, say("rename.console_late", title=from_json(handover.title)))


def ask_console(step: JobStep) -> None:
    """The handover: where, and the exact values, each in a message of its own."""
    data = step.job.data
    old, new, owner = parts(step.job)
    why = from_json(data["why_console"]) if data.get("why_console") else say("rename.fixed")
    handover = handovers.ask_for(
        step,
        title=say("rename.console_title", old=old, new=new),
        why=say("rename.console_why", number=step.job.id, why=why),
        how=[
            say("rename.console_path"),
            say("rename.console_find", old=old, owner=step.directory.name(owner)),
            say("rename.console_enter", prefix=new.partition("@")[0]),
            say("rename.console_alias", old=old),
        ],
        values=[old, new.partition("@")[0]],
        check=Check("renamed", {"address": new, "userid": owner, "instead_of": old}),
        deadline_at=step.now + CONSOLE_WITHIN,
        stage="console",
        seen_before=data.get("before"),
    )
    step.put(handover=handover.id)


@handovers.check("renamed")
def renamed(job: JobContext, address: str, userid: str, instead_of: str) -> Look:
    """
    Whether a member has the new address.

    While the old one is still his it was not done: a look-up that finds somebody, which costs nothing of the budget.
    Should look-ups answer for aliases, too, that says nothing: so when a person asks, the new one is looked up as well.
    """
    has = owner_of(job, instead_of)
    detail: dict[str, Any] = {instead_of: has}
    not_yet = Look(False, say("handovers.saw_owner", address=instead_of, owner=name_of(job, userid)), detail)
    if has == userid and not job.data.get("askers"):
        return not_yet
    detail[address] = owner = owner_of(job, address)
    if owner is None and has == userid:
        return not_yet
    if owner is None:
        return Look(None, say("handovers.saw_nobody", address=address), detail)
    saw = say("handovers.saw_owner", address=address, owner=name_of(job, owner))
    return Look(owner == userid, saw, detail, needs_before=True)


# --- it was done -----------------------------------------------------------------------------------------------------


def became(job: JobContext, look: Look) -> None:
    """The call was carried out: our rows follow, and the alias list is written, so that the old address receives."""
    with job.begin() as step:
        noted(step, evidence(step.now, look), "api")
        step.tx.answers.saw("rename_api", "yes", parts(step.job)[0])
        step.go("alias")


def done_in_console(step: JobStep, handover: Handover) -> None:
    """A person did it: the console keeps the old address as an alias by itself, so the list is left alone."""
    noted(step, handover.after or {}, "console")
    step.go("finish")


def noted(step: JobStep, after: Any, way: str) -> None:
    """It is the same mailbox under another address: backups of it go on where they are."""
    old, new, owner = parts(step.job)
    box = step.tx.mailboxes.get(int(step.job.data["box"]))
    known = alias_list.known(box)
    step.tx.mailboxes.renamed(box, new)
    if known:
        step.tx.mailboxes.aliases_are(box, box.aliases)
    step.put(renamed=True, way=way, after=after)
    step.tx.audit.add(
        "bot", "rename.done", new, job=step.job.id, before=step.job.data.get("before"), after=after, former=old,
        owner=owner, way=way,
    )  # fmt: skip


def keep_old(job: JobContext) -> None:
    """The old address as an alias, with those there were; should WeCom keep it by itself, that changes nothing."""
    old, new, owner = parts(job)
    why: Words | None = None
    try:
        alias_list.write(job, owner, lambda now: list(dict.fromkeys([*(each for each in now if each != new), old])))
    except WeComError as error:
        if error.retry is not Retry.NEVER:
            raise
        why = error.words()
    except Refused as refusal:
        why = refusal.words
    with job.begin() as step:
        if why is not None:
            step.put(no_alias=as_json(why))
            step.tx.audit.add("bot", "alias.refused", old, job=job.job_id, mailbox=new, why=why.text("en"))
        else:
            step.tx.audit.add("bot", "alias.added", old, job=job.job_id, mailbox=new)
        step.go("finish")


def finish(job: JobContext) -> None:
    """Everybody is told what it means, and a reminder is set for the day when nobody writes to the old address."""
    with job.begin() as step:
        old, new, owner = parts(step.job)
        data, asker = step.job.data, step.job.asked_by
        told: list[Words] = [say("rename.done", old=old, new=new, owner=step.directory.name(owner))]
        if data.get("no_alias"):
            told.append(say("rename.no_alias", old=old, why=from_json(data["no_alias"])))
        else:
            until = old_address.remind_later(step, old, int(data["box"]))
            told.append(say("rename.alias_kept", old=old, date=handovers.day(until, step.services.settings.zone)))
            told.append(say("rename.try_it", old=old))
        told.append(say("rename.how_to_undo", number=job.job_id))
        step.say(Text(owner, for_member(step, old, new, receives=not data.get("no_alias"))))
        others = dict.fromkeys([asker, *changes.agreed_by(step.job)])
        step.say(*(Text(each, lines(*told)) for each in others))
        changes.end_with(step, "done")


def for_member(step: JobStep, old: str, new: str, *, receives: bool) -> Words:
    """What changes for him: nothing in WeCom, the user name in every other mail program."""
    settings = step.services.settings
    return lines(
        say("rename.member_new", old=old, new=new),
        say("rename.member_receives" if receives else "rename.member_receives_not", old=old),
        say("rename.member_wecom"),
        say("rename.member_clients", new=new, imap=settings.exmail_imap_host, smtp=settings.exmail_smtp_host),
        say("rename.member_others", new=new),
    )


# --- the end ---------------------------------------------------------------------------------------------------------


def stop(step: JobStep, why: Words) -> None:
    """It was not done: why, and that everything is as it was."""
    old, new, _ = parts(step.job)
    step.say(Text(step.job.asked_by, say("rename.stopped", old=old, new=new, why=why, number=step.job.id)))
    changes.end_with(step, "failed")
    step.job.error = why.text("en")


@work.failed(KIND)
def failed(step: JobStep, words: Words) -> None:
    """It cannot go on. Once the address was changed everybody is told so all the same."""
    if step.job.data.get("renamed") and step.job.stage in ("alias", "finish"):
        if step.job.stage == "alias":
            step.put(no_alias=as_json(words))
            step.go("finish")
            return
        changes.end_with(step, "done")
        return
    changes.failed(step, words)


def clean_up(job: JobContext) -> None:
    """A console step that is still asked for may be done already: a last look; then it goes on instead of ending."""
    number = job.data.get("handover")
    if number is not None and not job.data.get("renamed"):
        seen_last = handovers.last_look(job, int(number))
        with job.begin() as step:
            handover = step.tx.handovers.get(int(number))
            if handovers.seen_done(step, handover, seen_last):
                step.put(ending=None)
                step.job.cancel_asked_by = None
                done_in_console(step, handover)
                return
            step.say(*handovers.withdraw(step.tx, step.job.id))
    changes.clean_up(job)


changes.kind(
    work, KIND, look=look, act=act,
    more={"call": call, "seen": seen, "console": console, "alias": keep_old, "finish": finish, "cleanup": clean_up},
)  # fmt: skip
