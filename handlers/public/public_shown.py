"""
Public mailboxes as they are: `public`, `public support@`, and how many a plan has room for.

An app sees only the public mailboxes it made itself, so an empty list or an unknown id is no proof that there is none;
that is said wherever it may be the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

import structlog

from bot.context import Context
from bot.errors import UserError
from bot.replies import Reply, Text
from bot.router import Router
from bot.wecom import exmail, limits
from bot.wecom.errcodes import Retry, WeComError
from bot.wecom.exmail import AuthCodeInfo
from bot.words import Words, lines, say
from bot.work import JobContext, Work
from handlers import addresses, readers
from handlers.bin.conversion import SLOTS_FREE
from handlers.changes import Refused
from handlers.copying.access import PUBLIC_GONE
from handlers.lookup import answers, frozen
from handlers.readers import Lists
from handlers.tables import Form, table
from storage.mailboxes import made_in_console
from storage.models import Mailbox, MailboxKind

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()
router = Router()
work = Work()

KIND = "public-look"
LAST_MAIL = "public-mail:"  # with the id: when the last mail came
UNUSED_AFTER = timedelta(days=30)
LISTED_MAX = 15
ASKED_MAX = 100  # mailboxes whose passwords are asked for in one list
PASSWORDS_SHOWN = 10
VIP_PAGES_MAX = 50

COLUMNS = (
    "Id 编号", "Mailbox 邮箱", "Name 名称", "People 人数", "Aliases 别名", "Last mail 最近来信", "Passwords 密码数",
    "Last login 最近登录", "Made by me 由我创建",
)  # fmt: skip


def mail_came(ctx: Context, public_id: int) -> None:
    """A public mailbox got mail: it is in use."""
    if public_id >= 0:
        ctx.tx.moments.happened(f"{LAST_MAIL}{public_id}")


# --- what is there ---------------------------------------------------------------------------------------------------


def shown(job: JobContext, address: str) -> tuple[Mailbox, exmail.PublicMailbox] | None:
    """
    A public mailbox as WeCom shows it now, by its address or an alias, and its row; None when the app sees none.

    Raises WeComError, NetworkError.
    """
    with job.services.store.begin() as tx:
        known = tx.mailboxes.at(address)
    try:
        if known is not None and known.public_id is not None:
            found = exmail.publicmail_get(job.client, [known.public_id])
        else:
            by_address = exmail.find_public_mailbox(job.client, address)
            found = exmail.publicmail_get(job.client, [by_address.id]) if by_address is not None else []
    except WeComError as error:
        if error.errcode not in PUBLIC_GONE:
            raise
        found = []
    if not found:
        return None
    readers.learn(job, found[0].tags)
    with job.services.store.begin() as tx:
        return addresses.keep_public(tx, found[0]), found[0]


def must_be_shown(job: JobContext, address: str) -> tuple[Mailbox, exmail.PublicMailbox]:
    """The same; Refused with the likely reason when the app sees none."""
    found = shown(job, address)
    if found is None:
        with job.services.store.begin() as tx:
            raise Refused(invisible(tx, address))
    return found


def invisible(tx: Transaction, address: str) -> Words:
    """Why the app may not see a public mailbox there."""
    box, item = tx.mailboxes.at(address), tx.recycle_bin.waiting_at(address)
    if item is not None:
        return say("public.in_bin", address=address, number=item.id)
    if box is not None and box.public_id is not None:
        return say("public.gone", address=address)
    return say("public.invisible", address=address)


def meant(ctx: Context, mailbox: str) -> str:
    """The address of a public mailbox somebody means; UserError when it is a member's."""
    found = ctx.directory.mailbox(mailbox)
    kind = found.mailbox.kind if found.mailbox is not None else None
    if found.address is None or kind is MailboxKind.MEMBER or found.userid is not None:
        raise UserError(say("public.members_own", address=found.address or found.userid))
    return found.address


# --- slots -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Slots:
    """How many public mailboxes we know of, and how many advanced seats are given; None: WeCom does not tell."""

    known: int
    seats: int | None

    def words(self) -> Words:
        """How many there can be."""
        if self.seats:
            return say("public.slots_advanced", known=self.known, free=SLOTS_FREE, seats=self.seats)
        full = self.known >= SLOTS_FREE
        return say("public.slots_full" if full else "public.slots", known=self.known, free=SLOTS_FREE)


def slots(job: JobContext) -> Slots:
    """What counts for the limit, as far as it can be seen."""
    seats: int | None = 0
    cursor: str | None = None
    try:
        for _ in range(VIP_PAGES_MAX):
            page = exmail.vip_list(job.client, cursor)
            seats = (seats or 0) + len(page.items)
            cursor = page.cursor
            if cursor is None:
                break
    except WeComError as error:
        if error.retry is not Retry.NEVER:
            raise
        log.warning("vip_list_refused", errcode=error.errcode)
        seats = None
    with job.services.store.begin() as tx:
        return Slots(len(tx.mailboxes.public()), seats)


# --- one mailbox -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Use:
    """When a public mailbox was last used, as far as we see."""

    mail_at: datetime | None  # the last mail that came
    since: datetime | None  # we watch
    passwords: tuple[AuthCodeInfo, ...] | None  # None: not asked, or WeCom does not tell

    @property
    def login_at(self) -> datetime | None:
        """When a client password was last used."""
        used = [each.last_used_at for each in self.passwords or () if each.last_used_at is not None]
        return max(used, default=None)

    def unused(self, now: datetime) -> bool:
        """Whether nobody seems to need it: watched for a month, no mail and no login in it."""
        if self.since is None or self.since > now - UNUSED_AFTER or self.passwords is None:
            return False
        return all(at is None or at <= now - UNUSED_AFTER for at in (self.mail_at, self.login_at))

    def words(self, zone: ZoneInfo) -> list[Words]:
        """Both, in words."""
        return [self.mail_words(zone), *([self.password_words(zone)] if self.passwords is not None else [])]

    def mail_words(self, zone: ZoneInfo) -> Words:
        """The last mail."""
        if self.mail_at is not None:
            return say("public.mail_last", day=day(self.mail_at, zone))
        if self.since is not None:
            return say("public.mail_none", day=day(self.since, zone))
        return say("public.mail_unknown")

    def password_words(self, zone: ZoneInfo) -> Words:
        """The client passwords."""
        count = len(self.passwords or ())
        if not count:
            return say("public.passwords_none")
        if self.login_at is None:
            return say("public.passwords_never", count=count)
        return say("public.passwords_used", count=count, day=day(self.login_at, zone))


def day(at: datetime, zone: ZoneInfo) -> str:
    """A day as people read it."""
    return f"{at.astimezone(zone):%Y-%m-%d}"


def use_of(job: JobContext, public_id: int) -> Use:
    """When it was last used."""
    try:
        passwords: tuple[AuthCodeInfo, ...] | None = tuple(exmail.publicmail_get_auth_code_list(job.client, public_id))
    except WeComError as error:
        if error.retry is not Retry.NEVER:
            raise
        passwords = None
    with job.services.store.begin() as tx:
        moments = tx.moments
        return Use(
            moments.last(f"{LAST_MAIL}{public_id}"), moments.last(f"{addresses.PUBLIC_SEEN}{public_id}"), passwords
        )


@router.command(
    "public [{mailbox}] [as {form:xlsx|csv}]",
    "公共邮箱 [{mailbox}] [导出 {form:xlsx|csv}]",
    role="auditor",
    topic="public",
    example=("public support@", "公共邮箱 support@"),
)
def public(ctx: Context, mailbox: str | None = None, form: Literal["xlsx", "csv"] | None = None) -> list[Reply]:
    """The public mailboxes: who can open them, their use, free places; or all about one of them."""
    address = meant(ctx, mailbox) if mailbox is not None else None
    job = ctx.tx.jobs.add(KIND, asked_by=ctx.sender, params={"address": address, "form": form})
    ctx.start(job)
    return []


@answers(work, KIND)
def look(job: JobContext) -> list[Reply]:
    """One mailbox, or all."""
    try:
        address = job.params["address"]
        return about(job, str(address)) if address is not None else everything(job)
    except Refused as refusal:
        with job.begin() as step:
            return [Text(step.job.asked_by, refusal.words)]


def about(job: JobContext, address: str) -> list[Reply]:
    """Everything about one mailbox."""
    with job.services.store.begin() as tx:
        known = tx.mailboxes.at(address)
    if known is not None and made_in_console(known):
        return by_hand(job, known)
    box, seen = must_be_shown(job, address)
    lists, use = Lists.of(seen), use_of(job, seen.id)
    tags = readers.tag_names(job, lists)
    with job.begin() as step:
        tx, zone = step.tx, step.services.settings.zone
        people = len(lists.expanded(tx))
        told = [
            say("public.about", address=box.address, name=seen.name, number=seen.id),
            say("public.readers", readers=readers.named(tx, step.directory, lists, tags), count=people),
            say("public.aliases", aliases=list(seen.aliases), max=limits.ALIASES_MAX)
            if seen.aliases
            else say("public.no_aliases"),
            say("public.use", use=use.words(zone)),
            *(password_line(each, zone) for each in (use.passwords or ())[:PASSWORDS_SHOWN]),
        ]
        if sources := tx.mailboxes.backups_in(box):
            told.append(say("public.holds_backups", sources=sources))
        if (held := tx.freezes.of(public_id=seen.id)) is not None:
            told.append(frozen(held, step.directory, zone))
        if use.unused(step.now):
            told.append(say("public.looks_unused", days=UNUSED_AFTER.days))
        told.append(say("public.commands", local=f"{box.address.partition('@')[0]}@"))
        return [Text(step.job.asked_by, lines(*told))]


def password_line(password: AuthCodeInfo, zone: ZoneInfo) -> Words:
    """A client password in one line."""
    made = day(password.created_at, zone) if password.created_at is not None else "-"
    if password.last_used_at is None:
        return say("public.password_never", number=password.id, remark=password.remark or "-", made=made)
    used = day(password.last_used_at, zone)
    return say("public.password", number=password.id, remark=password.remark or "-", made=made, used=used)


def by_hand(job: JobContext, box: Mailbox) -> list[Reply]:
    """What we know of a mailbox that the app cannot see: what somebody told us."""
    with job.begin() as step:
        named = readers.named(step.tx, step.directory, readers.of_row(box), {})
        told = [
            say("public.made_in_console", address=box.address, name=box.name or box.address),
            say("public.readers_told", readers=named or "-"),
            say("public.only_own"),
        ]
        return [Text(step.job.asked_by, lines(*told))]


# --- all of them -----------------------------------------------------------------------------------------------------


def only_own(tx: Transaction) -> list[Words]:
    """That those made in the console are missing: certain, supposed, or known not to be so."""
    match tx.answers.of("foreign_public"):
        case "yes":
            return []
        case "no":
            return [say("public.only_own")]
        case _:
            return [say("public.only_own_perhaps")]


def read_all(job: JobContext) -> list[exmail.PublicMailbox]:
    """Every public mailbox as WeCom shows it now; our rows and the tags they use are brought up to date."""
    found = exmail.publicmail_search(job.client)
    seen = exmail.publicmail_get(job.client, [each.id for each in found]) if found else []
    readers.learn(job, sorted({tag for each in seen for tag in each.tags}))
    with job.services.store.begin() as tx:
        for each in seen:
            addresses.keep_public(tx, each)
    return seen


def everything(job: JobContext) -> list[Reply]:
    """Every public mailbox the app sees, those it was told of, and the places left."""
    seen = read_all(job)
    uses = {each.id: use_of(job, each.id) for each in seen[:ASKED_MAX]}
    room = slots(job)
    form: Form | None = job.params["form"]
    with job.begin() as step:
        asker, zone = step.job.asked_by, step.services.settings.zone
        hidden = [each for each in step.tx.mailboxes.public() if made_in_console(each)]
        if hidden:
            step.tx.answers.saw("foreign_public", "no", ", ".join(each.address for each in hidden))
        told: list[Words] = [say("public.heading", count=len(seen)) if seen else say("public.none_seen"), room.words()]
        long = len(seen) > LISTED_MAX or form is not None
        if not long:
            told += [line_of(step.tx, each, uses.get(each.id), step.now, zone) for each in seen]
        if hidden:
            told.append(say("public.told_of", addresses=[each.address for each in hidden]))
        idle = [each.address for each in seen if each.id in uses and uses[each.id].unused(step.now)]
        if idle:
            told.append(say("public.look_unused", addresses=idle, days=UNUSED_AFTER.days))
        told += only_own(step.tx)
        replies: list[Reply] = [Text(asker, lines(*told))]
        if long:
            rows = [row_of(step.tx, each, uses, zone) for each in seen]
            name = f"public-mailboxes-{step.now.astimezone(zone):%Y%m%d}"
            replies.append(table(asker, name, "Public mailboxes 公共邮箱", COLUMNS, rows, form or "xlsx"))
        return replies


def line_of(tx: Transaction, box: exmail.PublicMailbox, use: Use | None, now: datetime, zone: ZoneInfo) -> Words:
    """A mailbox in one line."""
    people = len(Lists.of(box).expanded(tx))
    known = use.words(zone) if use is not None else []
    return say("public.line", address=box.address, name=box.name, count=people, use=known or "-")


def row_of(tx: Transaction, box: exmail.PublicMailbox, uses: Mapping[int, Use], zone: ZoneInfo) -> Sequence[str | int]:
    """A mailbox as a row of the file."""
    use = uses.get(box.id)
    mail, login = (use.mail_at, use.login_at) if use is not None else (None, None)
    return (
        box.id, box.address, box.name, len(Lists.of(box).expanded(tx)), ", ".join(box.aliases),
        day(mail, zone) if mail else "", len(use.passwords or ()) if use is not None else 0,
        day(login, zone) if login else "", "yes 是",
    )  # fmt: skip
