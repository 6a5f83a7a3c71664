"""
`what can you do with ahing`: the commands that make sense for that mailbox now, each as a line to type.

Only what our rows say is asked: whether its owner is there, whether it is frozen, in the bin or public, which jobs are
open about it and whom they wait for. What the asker may not do is not shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.context import Context
from bot.errors import UserError
from bot.policy import Role
from bot.replies import Reply, Text
from bot.router import Router
from bot.words import Words, lines, say
from bot.work import Work
from handlers import jobs
from handlers.copying.job_words import line_of, waits_for
from handlers.guide import help
from storage.models import BinItem, Job, Mailbox, MailboxKind, Member
from storage.public_tables import Freeze

router = Router()
work = Work()

JOBS_MAX = 2
WAITS_MAX = 2  # sentences about each
ACTIVE = 1
# What makes sense, the likeliest first, by how it stands with the mailbox. The names are those of the commands.
COMMANDS = {
    "active": (
        "request_backup", "request_reassign", "request_rename", "add_address", "freeze", "imap", "what_can_open",
        "request_convert",
    ),
    "frozen": ("unfreeze", "request_backup", "request_reassign", "what_can_open", "request_convert"),
    "left": ("request_backup", "request_reassign", "request_convert", "bin_add", "freeze"),
    "binned": ("recycle_bin", "request_rescue", "request_reassign", "request_convert", "bin_done", "bin_let_go"),
    "binned_unknown": ("bin_address", "request_rescue", "request_reassign", "bin_done", "bin_let_go"),
    "public": (
        "public", "who_can_open", "public_add", "request_backup", "password_new", "passwords", "smtp_test",
        "public_disable", "public_delete",
    ),
    "disabled": ("public_enable", "public", "who_can_open", "request_backup", "public_delete"),
    "told": ("who_can_open", "request_backup", "public_note"),
    "unseen": ("find", "public_note", "bin_add"),
    "own": ("my_mailbox", "help_login", "help_smtp"),
}  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A mailbox somebody asks about, as far as we know it."""

    address: str | None
    box: Mailbox | None
    member: Member | None
    item: BinItem | None
    freeze: Freeze | None

    @property
    def state(self) -> str:
        """How it stands with it: a key of `COMMANDS`."""
        if self.item is not None:
            return "binned" if self.address is not None else "binned_unknown"
        if self.box is not None and self.box.kind is MailboxKind.PUBLIC:
            if self.box.public_id is None:
                return "told"
            return "disabled" if self.freeze is not None else "public"
        if self.member is None:
            return "unseen"
        if self.member.left_at is not None:
            return "left"
        return "frozen" if self.freeze is not None else "active"


@router.command(
    "what can you do with|for|about {mailbox}",
    "what can i do with|for|about {mailbox}",
    "你能对|我能对|能对 {mailbox} 做什么|做些什么|做哪些",
    "对 {mailbox} 能做什么|可以做什么",
    topic="people",
    example=("what can you do with ahing", "你能对阿兴做什么"),
)
def possible(ctx: Context, mailbox: str) -> list[Reply]:
    """What can be done with a mailbox as it is now, each as a line to type."""
    meant = ctx.directory.mailbox(mailbox)
    owner = meant.userid or (meant.mailbox.owner if meant.mailbox is not None else None)
    sees = ctx.may(Role.SUPER_ADMIN, Role.ADMIN, Role.AUDITOR)
    if not sees and owner != ctx.sender:
        raise UserError(say("possible.only_your_own"))
    about = subject(ctx, meant.address, meant.mailbox, owner)
    told = [heading(ctx, about), *under_way(ctx, about)]
    usable = {each.name for each in help.commands_for(ctx)}
    shown = [each for each in COMMANDS[about.state if sees else "own"] if each in usable]
    values = examples(ctx, about)
    told += [say(f"possible.line_{each}", **{name: values[name] for name in VALUES[each]}) for each in shown]
    return [Text(ctx.sender, lines(*told, say("possible.more")))]


def subject(ctx: Context, address: str | None, box: Mailbox | None, owner: str | None) -> Subject:
    """All our rows say of a mailbox, or of one whose address is still to be looked up."""
    member = ctx.tx.members.find(owner) if owner is not None else None
    item = ctx.tx.recycle_bin.waiting_at(address) if address is not None else None
    if item is None and member is not None:
        item = ctx.tx.recycle_bin.waiting_left_by(member.userid)
    public_id = box.public_id if box is not None else None
    held = ctx.tx.freezes.of(userid=owner, public_id=public_id) if owner is not None or public_id is not None else None
    return Subject(address or (item.address if item is not None else None), box, member, item, held)


def heading(ctx: Context, about: Subject) -> Words:
    """What it is, and how it stands with it."""
    who = ctx.directory.candidate(about.member).label if about.member is not None else ""
    address = about.address or who
    zone = ctx.settings.zone
    if about.item is not None:
        day = f"{about.item.deletes_at.astimezone(zone):%Y-%m-%d}"
        if about.address is None:
            return say("possible.is_binned_unknown", who=who, day=day)
        return say("possible.is_binned", address=address, day=day)
    if about.state in ("frozen", "disabled") and about.freeze is not None:
        by, day = ctx.directory.name(about.freeze.frozen_by), f"{about.freeze.frozen_at.astimezone(zone):%Y-%m-%d}"
        return say("possible.is_frozen", address=address, by=by, day=day)
    if about.state in ("active", "left") and about.address is None:
        return say(f"possible.is_{about.state}_unknown", who=who)
    if about.state in ("active", "left"):
        return say(f"possible.is_{about.state}", address=address, who=who)
    return say(f"possible.is_{about.state}", address=address)


def under_way(ctx: Context, about: Subject) -> list[Words]:
    """The open jobs about it, with what they wait for and what to type."""
    box_id, userid = (about.box.id if about.box is not None else None), about.member.userid if about.member else None
    found: list[Job] = ctx.tx.jobs.open_about(
        jobs.shown_kinds(), mailbox_id=box_id, address=about.address, userid=userid
    )
    told: list[Words] = []
    for job in found[:JOBS_MAX]:
        told += [line_of(job), *waits_for(ctx, job)[:WAITS_MAX]]
    if len(found) > JOBS_MAX:
        told.append(say("possible.more_jobs", count=len(found) - JOBS_MAX))
    return told


VALUES = {
    "request_backup": ("box", "target"), "request_reassign": ("box", "other"), "request_rename": ("box", "new"),
    "add_address": ("box", "new"), "freeze": ("box",), "unfreeze": ("box",), "imap": ("box",),
    "what_can_open": ("name",), "request_convert": ("box",), "bin_add": ("box", "day"), "recycle_bin": ("box",),
    "request_rescue": ("box", "target"), "bin_done": ("box",), "bin_let_go": ("box",),
    "bin_address": ("number", "local"), "public": ("box",),
    "who_can_open": ("box",), "public_add": ("box", "other"), "password_new": ("box",), "passwords": ("box",),
    "smtp_test": ("box", "mine"), "public_disable": ("box",), "public_enable": ("box",), "public_delete": ("box",),
    "public_note": ("box", "other"), "find": ("box",), "my_mailbox": (), "help_login": (), "help_smtp": (),
}  # fmt: skip


def examples(ctx: Context, about: Subject) -> dict[str, str]:
    """What stands in the lines: this mailbox, another one to copy to, somebody else, an address nobody has."""
    everybody = ctx.directory.everybody
    userid = about.member.userid if about.member is not None else None
    others = [each.userid for each in everybody if each.userid not in (userid, ctx.sender) and each.status == ACTIVE]
    department = about.member.main_department if about.member is not None else None
    near = [each.userid for each in everybody if each.userid in others and each.main_department == department]
    public = [box.address for box in ctx.tx.mailboxes.public() if box.address != about.address]
    own = ctx.tx.mailboxes.of(ctx.sender)
    number = str(about.item.id) if about.item is not None else ""  # of the book: it names what has no known address
    local = (about.address or f"{userid}@").partition("@")[0]
    return {
        "box": short(ctx, about.address) if about.address is not None else number or userid or "?",
        "name": userid or local,
        "local": f"{local}@",
        "number": number,
        "target": short(ctx, public[0]) if public else "archive@",
        "other": next(iter((*near, *others)), "calvin"),
        "new": f"{local}.new@",
        "mine": short(ctx, own.address) if own is not None else f"{ctx.sender}@",
        "day": f"{ctx.now.astimezone(ctx.settings.zone):%Y-%m-%d}",
    }


def short(ctx: Context, address: str) -> str:
    """`ahing@` for an address of our domain, unless another domain has the same."""
    local, _, domain = address.partition("@")
    twins = [box for box in ctx.tx.mailboxes.all() if box.address.partition("@")[0] == local]
    return f"{local}@" if domain == ctx.settings.exmail_domain and len(twins) < 2 else address
