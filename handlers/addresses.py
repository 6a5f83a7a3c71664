"""
Who is who, and which address is whose: the directory read every night and after every change, and imports by hand.

An app made after June 2022 cannot read a member's address; only the look-up address → member works, and many failed
look-ups block it for a day. So addresses are rows with their source and age, and look-ups have a budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from bot.context import Context, job_start
from bot.directory import Directory
from bot.errors import BotError, UserError
from bot.messages import DirectoryChanged, FileMessage, MemberChanged, MemberJoined, MemberLeft
from bot.policy import Roles
from bot.replies import Reply, Text
from bot.router import Router
from bot.settings import Settings
from bot.wecom import cards, contacts, exmail
from bot.wecom.errcodes import Retry, WeComError
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, SweepStep, Work
from handlers import exports
from storage.mailboxes import made_in_console
from storage.models import Job, JobState, Mailbox, Member

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()
router = Router()
work = Work()

PUBLIC_SEEN = "public-seen:"  # with the id: since when a public mailbox is known
FOR_EVER = timedelta(days=36500)
NOT_MANAGED_FOR = timedelta(days=1)
FRESH = timedelta(days=1)  # a confirmed address that young is not looked up again by an import
NEGATIVE_KEPT = timedelta(hours=1)
IMPORT_NEGATIVE_KEPT = timedelta(days=14)  # else the same wrong ones would use up every day's budget
FAILED_LOOK_UPS_A_DAY = 40  # WeCom names no number; "出错的次数较多" blocks for a day (95402)
BLOCK = timedelta(days=1)
BLOCKED = "look-ups-blocked"  # the moment WeCom said so
RATE_LIMITED = 45009
WANTED = "directory-wanted"  # the moment of the latest change
AGAIN_AFTER = timedelta(seconds=5)
FAILED_AGAIN_AFTER = timedelta(minutes=15)
IMPORT_A_TURN = 20
WRONG_SHOWN = 40
NAME_SHOWN = 60
DIRECTORY_EVERY = timedelta(days=1)


class NoBudget(BotError):
    """So many look-ups found nobody today that one more could block them all for a day."""


@dataclass(frozen=True)
class Found:
    """A mailbox that was looked for; why there is none, or why what is known of it may not be all."""

    mailbox: Mailbox | None
    problem: Words | None = None


# --- the directory ---------------------------------------------------------------------------------------------------


@work.sweep("directory", DIRECTORY_EVERY)
def read_nightly(sweep: SweepStep) -> None:
    """Read the directory once a day."""
    refresh(sweep.tx, sweep)


def refresh(tx: Transaction, starter: SweepStep | Context) -> None:
    """Read the directory soon; what changes while it is being read makes it read again."""
    tx.moments.happened(WANTED)
    if not tx.jobs.running("directory"):
        starter.start(tx.jobs.add("directory", asked_by="bot", params={}))


@work.job("directory")
def read_directory(job: JobContext) -> None:
    """Departments, members, role tags and the public mailboxes the app can see."""
    begun = job.services.clock.now()
    departments = contacts.departments(job.client)
    people = {each.userid: each for department in departments for each in contacts.members(job.client, department.id)}
    public = public_mailboxes(job)
    wanted = {*job.services.settings.bot_role_tags.values(), *(tag for box in public for tag in box.tags)}
    tags = {tag_id: tag for tag_id in sorted(wanted) if (tag := tag_of(job, tag_id)) is not None}
    with job.begin() as step:
        members = step.tx.members
        back = had_left(step.tx, people)
        members.departments_are((each.id, each.name, each.parent, each.leaders) for each in departments)
        for each in people.values():
            members.saw(
                each.userid, name=each.name, alias=each.alias, departments=each.departments,
                main_department=each.main_department, direct_leader=each.direct_leader or "",
                status=int(each.status) if each.status is not None else None,
            )  # fmt: skip
            if each.address:
                member_has(step.tx, step.start, each.userid, each.address, "directory")
        seen = {userid.casefold() for userid in people}
        gone = [each for each in members.all() if each.userid not in seen and each.departments]
        for member in gone:
            members.left(member)
            step.tx.audit.add("bot", "member.left", member.userid, seen="directory")
        step.say(*told_left(step.tx, step.roles, step.services.settings, gone, "directory"))
        told_back(step.tx, step.start, back)
        for tag_id, tag in tags.items():
            members.tag_is(tag_id, {*tag.userids, *members.in_departments(tag.departments)})
        for box in public:
            keep_public(step.tx, box)
        step.tx.moments.happened("directory")
        changed_at = step.tx.moments.last(WANTED)
        if changed_at is not None and changed_at > begun:
            step.go("start", due_at=step.now + AGAIN_AFTER)
        else:
            step.tx.jobs.end(step.job, JobState.DONE)
    log.info("directory_read", members=len(people), departments=len(departments), public=len(public))


@work.failed("directory")
def directory_failed(step: JobStep, words: Words) -> None:
    """The admins are told once a day what to mend; it is tried again until it works."""
    step.job.failures = 0
    step.tx.jobs.wake(step.job, step.job.stage, due_at=step.now + FAILED_AGAIN_AFTER)
    step.job.error = words.text("en")
    if step.tx.moments.first_within("directory-failed-told", timedelta(days=1)):
        step.say(*(Text(admin, say("addresses.directory_failed", why=words)) for admin in step.roles.admins))


def tag_of(job: JobContext, tag_id: int) -> contacts.Tag | None:
    """A tag; None for one the app cannot see: who carries it stays as last read."""
    try:
        return contacts.tag(job.client, tag_id)
    except WeComError as error:
        if error.retry is not Retry.NEVER:
            raise
        log.warning("tag_refused", tag_id=tag_id, errcode=error.errcode)
        return None


def public_mailboxes(job: JobContext) -> list[exmail.PublicMailbox]:
    """The public mailboxes the app can see; none while it may not use the mail API at all."""
    try:
        found = exmail.publicmail_search(job.client)
        return exmail.publicmail_get(job.client, [each.id for each in found]) if found else []
    except WeComError as error:
        if error.retry is not Retry.NEVER:
            raise
        log.warning("mail_api_refused", errcode=error.errcode)
        return []


def keep_public(tx: Transaction, box: exmail.PublicMailbox) -> Mailbox:
    """
    A public mailbox as WeCom shows it.

    One the app sees is one it may manage, until minting says otherwise; then it is tried again after a day.
    """
    readers = {"userids": list(box.userids), "departments": list(box.departments), "tags": list(box.tags)}
    before = tx.mailboxes.at(box.address)
    if before is not None and made_in_console(before):
        tx.answers.saw("foreign_public", "yes", box.address)
    shown = tx.mailboxes.public_is(box.id, box.address, name=box.name, readers=readers, aliases=box.aliases)
    tx.moments.first_within(f"{PUBLIC_SEEN}{box.id}", FOR_EVER)
    if not shown.managed:
        refused_at = tx.moments.last(f"not-managed:{shown.id}")
        shown.managed = refused_at is not None and refused_at <= tx.now - NOT_MANAGED_FOR
        if refused_at is None or shown.managed:
            tx.moments.happened(f"not-managed:{shown.id}")
    return shown


LeftListener = Callable[["Transaction", Roles, Settings, Sequence[Member], str], list[Reply]]
_left_listeners: list[LeftListener] = []


def when_left(listener: LeftListener) -> LeftListener:
    """The function hears of members who left, and how we know (`callback`, `directory`); it says what is to be said."""
    _left_listeners.append(listener)
    return listener


def told_left(tx: Transaction, roles: Roles, settings: Settings, gone: Sequence[Member], seen: str) -> list[Reply]:
    """What is said of members who left."""
    if not gone:
        return []
    return [reply for listener in _left_listeners for reply in listener(tx, roles, settings, gone, seen)]


def had_left(tx: Transaction, userids: Iterable[str]) -> list[Member]:
    """Those of the members who are known to have left."""
    known = [tx.members.find(userid) for userid in userids]
    return [member for member in known if member is not None and member.left_at is not None]


BackListener = Callable[["Transaction", Callable[[Job], None], Sequence[Member]], None]
_back_listeners: list[BackListener] = []


def when_back(listener: BackListener) -> BackListener:
    """The function hears of members who had left and are seen again; it starts the jobs that look what that means."""
    _back_listeners.append(listener)
    return listener


def told_back(tx: Transaction, start: Callable[[Job], None], back: Sequence[Member]) -> None:
    """Whoever wants to know hears of members who are seen again."""
    for listener in _back_listeners if back else []:
        listener(tx, start, back)


MovedListener = Callable[["Transaction", Callable[[Job], None], Mailbox, Mailbox], None]
_moved_listeners: list[MovedListener] = []


def when_moved(listener: MovedListener) -> MovedListener:
    """The function hears of members who have another mailbox than before, as it seems: the old one and the new."""
    _moved_listeners.append(listener)
    return listener


def member_has(tx: Transaction, start: Callable[[Job], None], userid: str, address: str, source: str) -> None:
    """An address was seen to be a member's; whoever wants to know hears when he had another one."""
    before = tx.mailboxes.of(userid)
    box = tx.mailboxes.member_has(userid, address, source)
    if before is not None and before.id != box.id:
        for listener in _moved_listeners:
            listener(tx, start, before, box)


@router.event(MemberJoined)
def joined(ctx: Context, message: MemberJoined) -> list[Reply]:
    """A member was created, perhaps one who had left."""
    back = had_left(ctx.tx, [message.userid])
    ctx.tx.members.saw(message.userid)
    told_back(ctx.tx, ctx.start, back)
    refresh(ctx.tx, ctx)
    return []


@router.event(MemberChanged)
def changed(ctx: Context, message: MemberChanged) -> list[Reply]:
    """A member was changed: a hint to read again. A new userid is the same member."""
    if message.address is not None:
        ctx.tx.answers.saw("address_told", "yes")
    if message.new_userid is not None and ctx.tx.members.renamed(message.userid, message.new_userid) is not None:
        ctx.tx.audit.add("wecom", "member.renamed", message.new_userid, before=message.userid)
    refresh(ctx.tx, ctx)
    return []


@router.event(MemberLeft)
def left(ctx: Context, message: MemberLeft) -> list[Reply]:
    """A member was deleted; what is known of him is kept, the event says no more than his userid."""
    member = ctx.tx.members.find(message.userid) or ctx.tx.members.saw(message.userid)
    if member.left_at is not None:
        return []
    ctx.tx.members.left(member)
    ctx.tx.audit.add("wecom", "member.left", member.userid, seen="callback")
    return told_left(ctx.tx, ctx.roles, ctx.settings, [member], "callback")


@router.event(DirectoryChanged)
def department_changed(ctx: Context, message: DirectoryChanged) -> list[Reply]:
    """A department or a tag changed: read again."""
    refresh(ctx.tx, ctx)
    return []


# --- look-ups --------------------------------------------------------------------------------------------------------


def look_up(
    job: JobContext,
    address: str,
    *,
    fresh: timedelta | None = None,
    negative: timedelta = NEGATIVE_KEPT,
    learn: bool = True,
) -> str | None:
    """
    Whose address it is; None when nobody in sight has it. A "nobody" is kept for `negative`, an owner for `fresh`.

    The rows learn whose mailbox it is, unless who asks knows better what that means.
    Raises NoBudget when too many found nobody today or WeCom blocks look-ups, WeComError, NetworkError.
    """
    if not contacts.ADDRESS.fullmatch(address):
        return None  # nobody can have it: it is not asked, and does not count against us
    with job.services.store.begin() as tx:
        known = tx.mailboxes.last_look_up(address, within=max(negative, fresh or negative))
        if known is not None and known.userid is None and known.at > tx.now - negative:
            return None
        if known is not None and known.userid is not None and fresh is not None and known.at > tx.now - fresh:
            return known.userid
        if tx.mailboxes.failed_look_ups(within=BLOCK) >= FAILED_LOOK_UPS_A_DAY:
            raise NoBudget(address)
        blocked_at = tx.moments.last(BLOCKED)
        if blocked_at is not None and blocked_at > tx.now - BLOCK:
            raise NoBudget(address)
    try:
        userid = contacts.userid_by_address(job.client, address)
    except WeComError as error:
        if error.errcode == RATE_LIMITED and recently_failed(job):
            with job.services.store.begin() as tx:
                tx.moments.happened(BLOCKED)
            raise NoBudget(address) from error
        raise
    also = other_address(job, address, userid) if userid is not None and learn else None
    with job.services.store.begin() as tx:
        tx.mailboxes.looked_up(address, userid)
        if userid is not None and learn:
            tx.members.saw(userid)
            if also is None:
                member_has(tx, lambda row: job.starts.append(job_start(row)), userid, address, "look-up")
            else:
                tx.mailboxes.alias_of(also, address)
    return userid and userid.casefold()


def other_address(job: JobContext, address: str, userid: str) -> int | None:
    """
    The member's known mailbox when both its address and the asked one are his: then the asked one is an alias.

    Whether the look-up resolves aliases is not documented; a second mailbox would mean a second copy of everything.
    """
    with job.services.store.begin() as tx:
        box, there = tx.mailboxes.of(userid), tx.mailboxes.at(address)
    if box is None or box.address == address.casefold() or there is not None:
        return None
    return box.id if contacts.userid_by_address(job.client, box.address) == userid else None


def recently_failed(job: JobContext) -> bool:
    """Whether so many look-ups found nobody that a frequency limit is likely to be the block of a day."""
    with job.services.store.begin() as tx:
        return tx.mailboxes.failed_look_ups(within=BLOCK) >= FAILED_LOOK_UPS_A_DAY // 2


def find_mailbox(job: JobContext, address: str | None, userid: str | None) -> Found:
    """
    The mailbox of an address or of a member, confirmed now: by look-up, or by the mail API for a public one.

    Raises WeComError, NetworkError.
    """
    domain = job.services.settings.exmail_domain
    refused: Words | None = None
    try:
        if address is None:
            with job.services.store.begin() as tx:
                own = tx.mailboxes.of(userid) if userid is not None else None
            guess = own.address if own is not None else f"{userid}@{domain}"
            if userid is None or look_up(job, guess) != userid:
                with job.services.store.begin() as tx:
                    member = tx.members.find(userid) if userid is not None else None
                if member is not None and member.left_at is not None:
                    return Found(None, say("addresses.owner_left", name=member.name, userid=member.userid))
                return Found(None, say("addresses.unknown_of_member", member=userid or "?", tried=guess))
            address = guess
        else:
            try:
                public = find_public(job, address)
            except WeComError as error:
                if error.retry is not Retry.NEVER:
                    raise
                log.warning("mail_api_refused", errcode=error.errcode)
                public, refused = None, error.words()
            if public is not None:
                return Found(public)
            with job.services.store.begin() as tx:
                known = tx.mailboxes.at(address)
                if known is not None and known.address != address:
                    address = known.address  # an alias: the look-up wants the address itself
            if look_up(job, address) is None:
                return unseen(job, address, refused)
    except NoBudget:
        return Found(None, say("addresses.no_budget", address=address or userid or "?"))
    with job.services.store.begin() as tx:
        return Found(tx.mailboxes.at(address))


def find_public(job: JobContext, address: str) -> Mailbox | None:
    """
    The public mailbox of an address as WeCom shows it now; None when the app cannot see one.

    Raises WeComError, NetworkError.
    """
    with job.services.store.begin() as tx:
        known = tx.mailboxes.at(address)
        public_id = known.public_id if known is not None else None
    if public_id is None:
        found = exmail.find_public_mailbox(job.client, address)
        if found is None:
            return None
        public_id = found.id
    shown = exmail.publicmail_get(job.client, [public_id])
    if not shown:
        return None
    tags = {tag_id: tag for tag_id in shown[0].tags if (tag := tag_of(job, tag_id)) is not None}
    with job.services.store.begin() as tx:
        for tag_id, tag in tags.items():  # who can open it is asked now, not when the directory was read
            tx.members.tag_is(tag_id, {*tag.userids, *tx.members.in_departments(tag.departments)})
        return keep_public(tx, shown[0])


def seen_public(job: JobContext, address: str) -> Mailbox | None:
    """The public mailbox it may have become, if the app can see it."""
    try:
        return find_public(job, address)
    except WeComError as error:
        log.warning("mail_api_refused", errcode=error.errcode)
        return None


def unseen(job: JobContext, address: str, refused: Words | None = None) -> Found:
    """
    An address of ours that nobody shows: probably a public mailbox made in the console; a member's is gone.

    `refused` says why WeCom may hide a public mailbox that is there.
    """
    with job.services.store.begin() as tx:
        known = tx.mailboxes.at(address)
        somebodys = known if known is not None and known.owner is not None else tx.mailboxes.last_at(address)
        if known is None and (binned := tx.recycle_bin.waiting_at(address)) is not None:
            return Found(None, say("addresses.in_bin", address=address, number=binned.id))
        if somebodys is not None and somebodys.owner is not None:  # 46004 proves nothing: it may be out of sight
            owner = tx.members.find(somebodys.owner)
            named = owner.name if owner is not None else somebodys.owner
            return Found(None, say("addresses.no_longer", address=address, owner=named))
        return Found(tx.mailboxes.unseen(address), refused)


# --- import ----------------------------------------------------------------------------------------------------------


@router.command(
    "addresses import",
    "导入地址|地址导入",
    role="admin",
    topic="people",
    example=("addresses import", "导入地址"),
)
def import_addresses(ctx: Context) -> list[Reply]:
    """How to give me everybody's address: drop the console's member export into this chat."""
    return [Text(ctx.sender, say("addresses.how_to_import"))]


@router.event(FileMessage)
def file_dropped(ctx: Context, message: FileMessage) -> list[Reply]:
    """A file in the chat: an admin's is taken for the member export."""
    ctx.require_admin()
    if not message.name.casefold().endswith(exports.ENDINGS):
        raise UserError(say("addresses.not_an_export", name=message.name[:NAME_SHOWN] or "?"))
    job = ctx.tx.jobs.add(
        "addresses", asked_by=ctx.sender, params={"media": message.media_id, "name": message.name[-NAME_SHOWN:]}
    )
    ctx.start(job)
    return [Text(ctx.sender, say("addresses.reading", name=message.name[:NAME_SHOWN]))]


@work.job("addresses")
def import_job(job: JobContext) -> None:
    """Read the export, then check its addresses a few a turn; only what a look-up confirms is believed."""
    if job.stage == "start":
        read_export(job)
        return
    pairs, done = list(job.data["pairs"]), int(job.data["done"])
    confirmed, wrong = int(job.data["confirmed"]), list(job.data["wrong"])
    for address in pairs[done : done + IMPORT_A_TURN]:
        try:
            owner = look_up(job, address, fresh=FRESH, negative=IMPORT_NEGATIVE_KEPT)
        except NoBudget:
            finish_import(job, done, confirmed, wrong, stopped=True)
            return
        done += 1
        confirmed += owner is not None
        if owner is None:
            wrong.append(address)
    if done < len(pairs):
        with job.begin() as step:
            step.put(done=done, confirmed=confirmed, wrong=wrong)
        return
    finish_import(job, done, confirmed, wrong)


def read_export(job: JobContext) -> None:
    """Fetch the file and take the addresses out of it, or say what is wrong with it."""
    name, problem, ours = str(job.params["name"]), None, list[str]()
    content = cards.download(job.client, str(job.params["media"]))
    with job.services.store.begin() as tx:
        domains = Directory(tx, job.services.settings.exmail_domain).domains()
    try:
        ours = [each for each in exports.addresses_in(name, content) if each.partition("@")[2] in domains]
        if not ours:
            problem = say("addresses.no_own_addresses", name=name, domains=sorted(domains))
    except exports.NotAnExport as error:
        problem = say("addresses.unreadable", name=name, why=error.words)
    with job.begin() as step:
        if problem is not None:
            step.say(Text(step.job.asked_by, problem))
            step.tx.jobs.end(step.job, JobState.FAILED, error=problem.text("en"))
            return
        step.put(pairs=ours, done=0, confirmed=0, wrong=[])
        if len(ours) > IMPORT_A_TURN:
            step.say(Text(step.job.asked_by, say("addresses.checking", count=len(ours))))
        step.go("check")


def finish_import(job: JobContext, done: int, confirmed: int, wrong: list[str], *, stopped: bool = False) -> None:
    """Say what was confirmed and what was not, in one message."""
    with job.begin() as step:
        asker, left = step.job.asked_by, len(job.data["pairs"]) - done
        said = [say("addresses.imported", confirmed=confirmed, count=done)]
        if wrong:
            shown = [*wrong[:WRONG_SHOWN], "…"] if len(wrong) > WRONG_SHOWN else wrong
            said.append(say("addresses.not_confirmed", addresses=shown))
        if stopped:
            said.append(say("addresses.import_stopped", left=left))
        step.say(Text(asker, lines(*said)))
        step.tx.audit.add(asker, "addresses.imported", str(job.params["name"]), confirmed=confirmed, count=done)
        step.tx.jobs.end(step.job, JobState.DONE)
