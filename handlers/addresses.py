"""
Who is who, and which address is whose: the directory read every night and after every change, and imports by hand.

An app made after June 2022 cannot read a member's address; only the look-up address → member works, and many failed
look-ups block it for a day. So addresses are rows with their source and age, and look-ups have a budget.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from bot.context import Context
from bot.errors import BotError, UserError
from bot.messages import DirectoryChanged, FileMessage, MemberChanged, MemberJoined, MemberLeft
from bot.replies import Reply, Text
from bot.router import Router
from bot.wecom import cards, contacts, exmail
from bot.wecom.errcodes import WeComError
from bot.words import Words, say
from bot.work import JobContext, SweepStep, Work
from storage.models import JobState, Mailbox

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()
router = Router()
work = Work()

FRESH = timedelta(hours=12)  # a confirmed address that young is not looked up again
NEGATIVE_KEPT = timedelta(hours=1)
FAILED_LOOK_UPS_A_DAY = 40  # WeCom names no number; "出错的次数较多" blocks for a day (95402)
IMPORT_ROWS_MAX = 5_000
IMPORT_A_TURN = 20
DIRECTORY_EVERY = timedelta(days=1)


class NoBudget(BotError):
    """So many look-ups found nobody today that one more could block them all for a day."""


@dataclass(frozen=True)
class Found:
    """A mailbox that was looked for, or the words for why there is none."""

    mailbox: Mailbox | None
    problem: Words | None = None


# --- the directory ---------------------------------------------------------------------------------------------------


@work.sweep("directory", DIRECTORY_EVERY)
def read_nightly(sweep: SweepStep) -> None:
    """Read the directory once a day."""
    refresh(sweep.tx, sweep)


def refresh(tx: Transaction, starter: SweepStep | Context) -> None:
    """Read the directory soon, unless that is under way."""
    if not tx.jobs.running("directory"):
        starter.start(tx.jobs.add("directory", asked_by="bot", params={}))


@work.job("directory")
def read_directory(job: JobContext) -> None:
    """Departments, members, role tags and the public mailboxes the app can see."""
    departments = contacts.departments(job.client)
    people = {each.userid: each for department in departments for each in contacts.members(job.client, department.id)}
    public = public_mailboxes(job)
    wanted = {*job.services.settings.bot_role_tags.values(), *(tag for box in public for tag in box.tags)}
    tags = {tag_id: contacts.tag(job.client, tag_id) for tag_id in sorted(wanted)}
    with job.begin() as step:
        members = step.tx.members
        members.departments_are((each.id, each.name, each.parent, each.leaders) for each in departments)
        for each in people.values():
            members.saw(
                each.userid, name=each.name, alias=each.alias, departments=each.departments,
                main_department=each.main_department, direct_leader=each.direct_leader or "",
                status=int(each.status) if each.status is not None else None,
            )  # fmt: skip
            if each.address:
                step.tx.mailboxes.member_has(each.userid, each.address, "directory")
        seen = {userid.casefold() for userid in people}
        for member in members.all():
            if member.userid not in seen and member.departments:
                members.left(member)
                step.tx.audit.add("bot", "member.left", member.userid, seen="directory")
        for tag_id, tag in tags.items():
            members.tag_is(tag_id, {*tag.userids, *members.in_departments(tag.departments)})
        for box in public:
            keep_public(step.tx, box)
        step.tx.moments.happened("directory")
        step.tx.jobs.end(step.job, JobState.DONE)
    log.info("directory_read", members=len(people), departments=len(departments), public=len(public))


def public_mailboxes(job: JobContext) -> list[exmail.PublicMailbox]:
    """The public mailboxes the app can see; none while it may not use the mail API at all."""
    try:
        found = exmail.publicmail_search(job.client)
        return exmail.publicmail_get(job.client, [each.id for each in found]) if found else []
    except WeComError as error:
        log.warning("mail_api_refused", errcode=error.errcode)
        return []


def keep_public(tx: Transaction, box: exmail.PublicMailbox) -> Mailbox:
    """A public mailbox as WeCom shows it; one the app sees is one it may manage, until minting says otherwise."""
    readers = {"userids": list(box.userids), "departments": list(box.departments), "tags": list(box.tags)}
    return tx.mailboxes.public_is(
        box.id, box.address, name=box.name, readers=readers, aliases=box.aliases, managed=True
    )


@router.event(MemberJoined)
def joined(ctx: Context, message: MemberJoined) -> list[Reply]:
    """A member was created."""
    ctx.tx.members.saw(message.userid)
    refresh(ctx.tx, ctx)
    return []


@router.event(MemberChanged)
def changed(ctx: Context, message: MemberChanged) -> list[Reply]:
    """A member was changed: a hint to read again."""
    refresh(ctx.tx, ctx)
    return []


@router.event(MemberLeft)
def left(ctx: Context, message: MemberLeft) -> list[Reply]:
    """A member was deleted; what is known of him is kept, the event says no more than his userid."""
    member = ctx.tx.members.find(message.userid) or ctx.tx.members.saw(message.userid)
    if member.left_at is None:
        ctx.tx.members.left(member)
        ctx.tx.audit.add("wecom", "member.left", member.userid, seen="callback")
    box = ctx.tx.mailboxes.of(member.userid)
    known = box.address if box is not None else member.userid
    return [
        Text(admin, say("addresses.left", name=member.name, mailbox=known, days=ctx.settings.bot_bin_days))
        for admin in ctx.roles.admins
    ]


@router.event(DirectoryChanged)
def department_changed(ctx: Context, message: DirectoryChanged) -> list[Reply]:
    """A department or a tag changed: read again."""
    refresh(ctx.tx, ctx)
    return []


# --- look-ups --------------------------------------------------------------------------------------------------------


def look_up(job: JobContext, address: str) -> str | None:
    """
    Whose address it is; None when nobody in sight has it. Answers are kept, a "nobody" for an hour.

    Raises NoBudget when too many found nobody today, WeComError, NetworkError.
    """
    with job.services.store.begin() as tx:
        known = tx.mailboxes.last_look_up(address, within=NEGATIVE_KEPT)
        if known is not None and known.userid is None:
            return None
        if tx.mailboxes.failed_look_ups(within=timedelta(days=1)) >= FAILED_LOOK_UPS_A_DAY:
            raise NoBudget(address)
    userid = contacts.userid_by_address(job.client, address)
    with job.services.store.begin() as tx:
        tx.mailboxes.looked_up(address, userid)
        if userid is not None:
            tx.members.saw(userid)
            tx.mailboxes.member_has(userid, address, "look-up")
    return userid and userid.casefold()


def find_mailbox(job: JobContext, address: str | None, userid: str | None) -> Found:
    """
    The mailbox of an address or of a member, confirmed now: by look-up, or by the mail API for a public one.

    Raises WeComError, NetworkError.
    """
    domain = job.services.settings.exmail_domain
    try:
        if address is None:
            guess = f"{userid}@{domain}"
            if userid is None or look_up(job, guess) != userid:
                return Found(None, say("addresses.unknown_of_member", member=userid or "?", domain=domain))
            address = guess
        else:
            public = find_public(job, address)
            if public is not None:
                return Found(public)
            with job.services.store.begin() as tx:
                known = tx.mailboxes.at(address)
                if known is not None and known.address != address:
                    address = known.address  # an alias: the look-up wants the address itself
            if look_up(job, address) is None:
                return unseen(job, address)
    except NoBudget:
        return Found(None, say("addresses.no_budget", address=address or userid or "?"))
    with job.services.store.begin() as tx:
        return Found(tx.mailboxes.at(address))


def find_public(job: JobContext, address: str) -> Mailbox | None:
    """The public mailbox of an address as WeCom shows it now, if the app can see it."""
    try:
        with job.services.store.begin() as tx:
            known = tx.mailboxes.at(address)
            public_id = known.public_id if known is not None else None
        if public_id is None:
            found = exmail.find_public_mailbox(job.client, address)
            if found is None:
                return None
            public_id = found.id
        shown = exmail.publicmail_get(job.client, [public_id])
    except WeComError as error:
        log.warning("mail_api_refused", errcode=error.errcode)
        return None
    if not shown:
        return None
    with job.services.store.begin() as tx:
        managed = known.managed if known is not None and known.public_id == public_id else True
        box = keep_public(tx, shown[0])
        box.managed = managed
        return box


def unseen(job: JobContext, address: str) -> Found:
    """An address of ours that nobody shows: probably a public mailbox made in the console; a member's is gone."""
    with job.services.store.begin() as tx:
        known = tx.mailboxes.at(address)
        if known is not None and known.owner is not None:
            tx.mailboxes.ended(known)
            return Found(None, say("addresses.no_longer", address=address, owner=known.owner))
        return Found(tx.mailboxes.unseen(address))


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
    if not message.name.casefold().endswith((".xlsx", ".csv")):
        raise UserError(say("addresses.not_an_export", name=message.name or "?"))
    job = ctx.tx.jobs.add("addresses", asked_by=ctx.sender, params={"media": message.media_id, "name": message.name})
    ctx.start(job)
    return [Text(ctx.sender, say("addresses.reading", name=message.name))]


@work.job("addresses")
def import_job(job: JobContext) -> None:
    """Read the export, then check its addresses a few a turn; only what a look-up confirms is believed."""
    if job.stage == "start":
        content = cards.download(job.client, str(job.params["media"]))
        try:
            pairs = list(addresses_in(str(job.params["name"]), content))
        except ValueError as error:
            with job.begin() as step:
                step.say(
                    Text(step.job.asked_by, say("addresses.unreadable", name=job.params["name"], error=str(error)))
                )
                step.tx.jobs.end(step.job, JobState.FAILED, error=str(error))
            return
        with job.begin() as step:
            step.put(pairs=pairs[:IMPORT_ROWS_MAX], done=0, confirmed=0, wrong=[])
            step.go("check")
        return
    pairs, done = job.data["pairs"], int(job.data["done"])
    confirmed, wrong = int(job.data["confirmed"]), list(job.data["wrong"])
    for address in pairs[done : done + IMPORT_A_TURN]:
        try:
            owner = look_up(job, address)
        except NoBudget:
            finish_import(job, done, confirmed, wrong, say("addresses.import_stopped", left=len(pairs) - done))
            return
        done += 1
        confirmed += owner is not None
        if owner is None:
            wrong.append(address)
    if done < len(pairs):
        with job.begin() as step:
            step.put(done=done, confirmed=confirmed, wrong=wrong)
        return
    finish_import(job, done, confirmed, wrong, None)


def finish_import(job: JobContext, done: int, confirmed: int, wrong: list[str], stopped: Words | None) -> None:
    """Say what was confirmed and what was not."""
    with job.begin() as step:
        asker = step.job.asked_by
        step.say(Text(asker, say("addresses.imported", confirmed=confirmed, count=done)))
        if wrong:
            step.say(Text(asker, say("addresses.not_confirmed", addresses=wrong[:50])))
        if stopped is not None:
            step.say(Text(asker, stopped))
        step.tx.audit.add(asker, "addresses.imported", str(job.params["name"]), confirmed=confirmed, count=done)
        step.tx.jobs.end(step.job, JobState.DONE)


def addresses_in(name: str, content: bytes) -> Iterator[str]:
    """The addresses of an export, from whatever column holds them; ValueError when none does."""
    rows = xlsx_rows(content) if name.casefold().endswith(".xlsx") else csv_rows(content)
    seen: set[str] = set()
    for row in rows:
        for cell in row:
            address = cell.strip().casefold()
            if address.count("@") == 1 and " " not in address and address.isascii() and address not in seen:
                seen.add(address)
                yield address
    if not seen:
        raise ValueError("no column holds addresses")


def xlsx_rows(content: bytes) -> Iterator[list[str]]:
    """The rows of every sheet, as text."""
    from openpyxl import load_workbook

    try:
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    except Exception as error:
        raise ValueError("not an xlsx file") from error
    for sheet in book.worksheets:
        for row in sheet.iter_rows(values_only=True, max_row=IMPORT_ROWS_MAX + 20):
            yield [str(cell) for cell in row if cell is not None]


def csv_rows(content: bytes) -> Iterator[list[str]]:
    """The rows of a CSV as Excel and the console write it."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            yield from csv.reader(io.StringIO(content.decode(encoding)))
            return
        except UnicodeDecodeError:
            continue
    raise ValueError("neither UTF-8 nor GB18030")
