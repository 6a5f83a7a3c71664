"""
A mailbox switched off and on again (`freeze`, `unfreeze`), and a member's mail switches (`imap ahing@ on`).

WeCom has one call that switches a mailbox off, and none that says which are: so what was frozen through me, by whom
and why, is written down here. It refuses for the organisation's creator and super admins.

The owner cannot read his mail then, but messages: he hears that it is off and whom to ask, never why, unless the admin
said `quietly`; his manager hears why, too. Both hear when it is over.
"""

from __future__ import annotations

from typing import Any

from bot.context import Context
from bot.errors import UserError
from bot.policy import Role
from bot.replies import Reply, Text
from bot.router import Router
from bot.wecom import exmail
from bot.wecom.errcodes import WeComError
from bot.wecom.exmail import Option
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, Work
from handlers import addresses, changes
from handlers.approvals import approvals
from handlers.changes import Question, Refused, Written
from handlers.public import public_shown
from handlers.tables import Form, table
from storage.models import MailboxKind

router = Router()
work = Work()

KIND = "freeze"
SWITCH_KIND = "mail-switch"
OFF_ALREADY = 680045
PROTECTED = 680044
LISTED_MAX = 20
COLUMNS = ("Mailbox 邮箱", "By 操作人", "Since 日期", "Reason 原因")
ON_WORDS = ("on", "开", "打开", "开启")


# --- freeze ----------------------------------------------------------------------------------------------------------


@router.command(
    "freeze {mailbox} [{how:quietly|silently}] because {reason:text}",
    "冻结 {mailbox} [{how:不通知本人|不通知}] 原因|因为 {reason:text}",
    role="admin",
    topic="people",
    example=("freeze ahing@ because his phone was stolen", "冻结 ahing@ 原因 手机被盗"),
)
def freeze(ctx: Context, mailbox: str, reason: str, how: str | None = None) -> list[Reply]:
    """Switch a mailbox off at once: nobody gets into it until it is unfrozen; who hears of it is shown first."""
    return asked(ctx, mailbox, off=True, reason=reason, quiet=how is not None)


@router.command(
    "unfreeze {mailbox}", "解冻 {mailbox}", role="admin", topic="people", example=("unfreeze ahing@", "解冻 ahing@")
)
def unfreeze(ctx: Context, mailbox: str) -> list[Reply]:
    """Switch a frozen mailbox on again."""
    return asked(ctx, mailbox, off=False)


@router.command(
    "frozen [as {form:xlsx|csv}]", "已冻结|冻结列表 [导出 {form:xlsx|csv}]", role="auditor", topic="people",
    example=("frozen", "已冻结"),
)  # fmt: skip
def frozen(ctx: Context, form: Form | None = None) -> list[Reply]:
    """Which mailboxes are frozen, by whom and why."""
    ctx.require(Role.AUDITOR, Role.ADMIN, Role.SUPER_ADMIN)
    zone = ctx.settings.zone
    rows = [
        (each.address, ctx.directory.name(each.frozen_by), public_shown.day(each.frozen_at, zone), each.reason)
        for each in ctx.tx.freezes.all()
    ]
    if not rows:
        return [Text(ctx.sender, say("freeze.none"))]
    if form is None and len(rows) <= LISTED_MAX:
        told = [
            say("freeze.line", address=at, by=by, day=day, reason=reason or say("freeze.no_reason"))
            for at, by, day, reason in rows
        ]
        return [Text(ctx.sender, lines(*told, say("freeze.only_mine")))]
    name = f"frozen-{ctx.now.astimezone(zone):%Y%m%d}"
    return [
        Text(ctx.sender, lines(say("freeze.in_file", count=len(rows)), say("freeze.only_mine"))),
        table(ctx.sender, name, "Frozen 已冻结", COLUMNS, rows, form or "xlsx"),
    ]


@router.command(
    "public disable {mailbox} [because {reason:text}]",
    "公共邮箱 停用 {mailbox} [原因|因为 {reason:text}]",
    role="admin",
    topic="public",
    example=("public disable support@", "公共邮箱 停用 support@"),
)
def public_disable(ctx: Context, mailbox: str, reason: str | None = None) -> list[Reply]:
    """Switch a public mailbox off; its mail and its settings stay."""
    return asked(ctx, public_shown.meant(ctx, mailbox), off=True, reason=reason or "")


@router.command(
    "public enable {mailbox}",
    "公共邮箱 启用 {mailbox}",
    role="admin",
    topic="public",
    example=("public enable support@", "公共邮箱 启用 support@"),
)
def public_enable(ctx: Context, mailbox: str) -> list[Reply]:
    """Switch a public mailbox on again."""
    return asked(ctx, public_shown.meant(ctx, mailbox), off=False)


def asked(ctx: Context, mailbox: str, *, off: bool, reason: str = "", quiet: bool = False) -> list[Reply]:
    """The wish, on its way: whose mailbox it is now, is looked up."""
    ctx.require_admin()
    meant = ctx.directory.mailbox(mailbox)
    if off and meant.userid == ctx.sender:
        raise UserError(say("freeze.not_yourself"))
    called = meant.address or f"{meant.userid}@{ctx.settings.exmail_domain}"
    title = say("freeze.title_off" if off else "freeze.title_on", address=called)
    kept = reason.strip()[: approvals.REASON_MAX]
    job = changes.ask_for(ctx, KIND, called, title, userid=meant.userid, off=off, reason=kept, quiet=quiet)
    ctx.tx.audit.add(ctx.sender, "freeze.asked", called, job=job.id, off=off, reason=kept)
    return []


def look(job: JobContext) -> Question | Words:
    """Whose it is, and what it means for whom."""
    address, off = str(job.params["address"]), bool(job.params["off"])
    whose = subject(job, address)
    with job.begin() as step:
        step.put(**whose)
        held = step.tx.freezes.of(userid=whose["userid"], public_id=whose["public_id"])
        by = step.directory.name(held.frozen_by) if held is not None else ""
        if off and held is not None:
            return say("freeze.already", address=address, by=by, reason=held.reason or say("freeze.no_reason"))
        hints = [say("freeze.not_by_me", address=address)] if not off and held is None else []
        who = step.directory.name(whose["userid"]) if whose["userid"] else whose["name"]
        reason = str(step.job.data["reason"])
        hears = who_hears(step, whose["userid"]) if off else []
    words = say("freeze.ask_off" if off else "freeze.ask_on", address=address, who=who)
    if off:
        hints += [say("freeze.what_it_does" if whose["userid"] else "freeze.what_it_does_public"), *hears]
    facts = {"mailbox": address, "owner": whose["userid"], "id": whose["public_id"]}
    return Question(words, "freeze", facts, reason=reason, owner=whose["userid"], hints=hints)


def who_hears(step: JobStep, userid: str | None) -> list[Words]:
    """Who is told, for the admin to know before."""
    owner, manager = to_be_told(step, userid)
    said = []
    if owner is not None:
        name, job = step.directory.name(owner), step.job
        if job.params.get("quiet"):
            said.append(say("freeze.owner_not_told", owner=name))
        else:
            address, reason = str(job.params["address"]), str(job.data["reason"])
            said.append(say("freeze.owner_hears", owner=name, number=job.id, address=address, reason=reason))
    if manager is not None:
        said.append(say("freeze.manager_hears", manager=step.directory.name(manager)))
    return said


def to_be_told(step: JobStep, userid: str | None) -> tuple[str | None, str | None]:
    """The owner and his manager, where there are such, and they do not know by themselves."""
    member = step.tx.members.find(userid) if userid is not None else None
    if member is None or member.left_at is not None:
        return None, None
    know = {step.job.asked_by, *changes.agreed_by(step.job)}
    manager = next((each for each in step.directory.managers(member.userid) if each != member.userid), None)
    return member.userid if member.userid not in know else None, manager if manager not in know else None


def tell(step: JobStep, address: str, userid: str | None, *, off: bool) -> None:
    """The owner hears what is so and whom to ask; his manager why, too."""
    owner, manager = to_be_told(step, userid)
    by, quiet = step.directory.name(step.job.asked_by), bool(step.job.params.get("quiet"))
    if owner is not None and not quiet:
        step.say(Text(owner, say("freeze.owner_off" if off else "freeze.owner_on", address=address, by=by)))
    if manager is not None:
        named = {"owner": step.directory.name(str(userid)), "address": address, "by": by}
        why = [say("freeze.manager_why", reason=str(step.job.data["reason"]) or say("freeze.no_reason"))] if off else []
        secret = [say("freeze.manager_quiet", owner=named["owner"])] if off and quiet else []
        step.say(
            Text(manager, lines(say("freeze.manager_off" if off else "freeze.manager_on", **named), *why, *secret))
        )


def subject(job: JobContext, address: str) -> dict[str, Any]:
    """Whose mailbox it is now: a member's or a public one; Refused for what neither is."""
    userid = job.params.get("userid")
    found = addresses.find_mailbox(job, None if userid else address, userid)
    box = found.mailbox
    if box is None:
        raise Refused(found.problem or say("lookup.nothing"))
    if box.kind is MailboxKind.UNSEEN or (box.kind is MailboxKind.PUBLIC and box.public_id is None):
        with job.services.store.begin() as tx:
            raise Refused(public_shown.invisible(tx, box.address))
    return {"userid": box.owner, "public_id": box.public_id, "name": box.name, "at": box.address}


def act(job: JobContext) -> Written:
    """
    One call, about whose mailbox it was when it was agreed to; the same again changes nothing.

    Whose it is now is looked up before WeCom is asked, and again after it has refused for the moment: an address may
    have been given on by then. After an answer that was lost it is asked again about the same member, nobody else.
    """
    address, off = str(job.params["address"]), bool(job.params["off"])
    userid, public_id = job.data["userid"], job.data["public_id"]
    if not job.data.get("sent"):
        whose = subject(job, address)
        changes.still_agreed(job, {"mailbox": address, "owner": whose["userid"], "id": whose["public_id"]})
    try:
        with changes.asking(job):
            exmail.account_act_email(
                job.client, on=not off, userid=userid, public_mailbox_id=None if userid else public_id
            )
    except WeComError as error:
        if error.errcode == PROTECTED:
            raise Refused(say("freeze.protected", address=address)) from None
        if error.errcode != OFF_ALREADY:
            raise

    def written(step: JobStep) -> Words:
        tx, by, reason, at = step.tx, step.job.asked_by, str(step.job.data["reason"]), str(step.job.data["at"])
        held = tx.freezes.of(userid=userid, public_id=public_id) is not None
        if off != held:
            tell(step, at, userid, off=off)
        if off:
            tx.freezes.begin(job_id=step.job.id, address=at, userid=userid, public_id=public_id, reason=reason, by=by)
        else:
            tx.freezes.end(userid=userid, public_id=public_id, by=by)
        tx.audit.add(by, "freeze.frozen" if off else "freeze.unfrozen", at, job=step.job.id, reason=reason)
        local = f"{address.partition('@')[0]}@"
        return say("freeze.done_off" if off else "freeze.done_on", address=address, local=local)

    return written


changes.kind(work, KIND, look=look, act=act)


# --- mail switches ---------------------------------------------------------------------------------------------------


@router.command(
    "imap {mailbox} [{switch:on|off}]",
    "imap|客户端收发 {mailbox} [{switch:开|关|打开|关闭|开启}]",
    role="admin",
    topic="people",
    example=("imap ahing@ on", "imap ahing@ 打开"),
)
def imap(ctx: Context, mailbox: str, switch: str | None = None) -> list[Reply]:
    """Whether mail programs may use a member's mailbox (IMAP and SMTP); switch it on or off."""
    return switched(ctx, mailbox, Option.IMAP_SMTP, switch)


@router.command(
    "secure login {mailbox} [{switch:on|off}]",
    "安全登录 {mailbox} [{switch:开|关|打开|关闭|开启}]",
    role="admin",
    topic="people",
    example=("secure login ahing@ on", "安全登录 ahing@ 打开"),
)
def secure_login(ctx: Context, mailbox: str, switch: str | None = None) -> list[Reply]:
    """Whether a member must use secure login, with client passwords for mail programs; switch it on or off."""
    return switched(ctx, mailbox, Option.FORCE_SECURE_LOGIN, switch)


def switched(ctx: Context, mailbox: str, option: Option, switch: str | None) -> list[Reply]:
    """The wish, on its way; without a wish how it is."""
    ctx.require_admin()
    meant = ctx.directory.mailbox(mailbox)
    if meant.mailbox is not None and meant.mailbox.kind is MailboxKind.PUBLIC:
        raise UserError(say("freeze.switch_public", address=meant.mailbox.address))
    called = meant.address or f"{meant.userid}@{ctx.settings.exmail_domain}"
    on = None if switch is None else switch in ON_WORDS
    name = say(f"freeze.option_{option.name.lower()}")
    title = say("freeze.title_switch", address=called, option=name, state=state(on))
    changes.ask_for(ctx, SWITCH_KIND, called, title, userid=meant.userid, option=int(option), on=on)
    return []


def state(on: bool | None) -> Words:
    """On, off, or as it is."""
    return say("freeze.state_unknown" if on is None else "freeze.state_on" if on else "freeze.state_off")


def look_switch(job: JobContext) -> Question | Words:
    """How all of them are, and what would change."""
    address, option = str(job.params["address"]), Option(job.params["option"])
    whose = subject(job, address)
    userid, on = whose["userid"], job.params["on"]
    if userid is None:
        raise Refused(say("freeze.switch_public", address=address))
    now = exmail.useroption_get(job.client, userid)
    told = [
        say("freeze.option_is", option=say(f"freeze.option_{each.name.lower()}"), state=state(now.get(each)))
        for each in Option
    ]
    if on is None:
        return lines(say("freeze.options_of", address=address), *told)
    name = say(f"freeze.option_{option.name.lower()}")
    if now.get(option) == on:
        return say("freeze.is_so", address=address, option=name, state=state(on))
    if option is Option.IMAP_SMTP and not on:
        in_use(job, userid)
    with job.begin() as step:
        step.put(userid=userid)
        who = step.directory.name(userid)
    words = say("freeze.ask_switch", who=who, address=address, option=name, state=state(on))
    hints = [say(f"freeze.hint_{option.name.lower()}_{'on' if on else 'off'}")]
    facts = {"mailbox": address, "owner": userid, "option": int(option), "on": on}
    return Question(words, "mail_switch", facts, owner=userid, hints=hints)


def in_use(job: JobContext, userid: str) -> None:
    """Refused while a copy of ours needs the IMAP service: it is put back by that job."""
    with job.services.store.begin() as tx:
        needed = tx.passwords.switched_by_others(userid, job.job_id)
    if needed is not None:
        raise Refused(say("freeze.needed", number=needed.job_id))


def act_switch(job: JobContext) -> Written:
    """One call, read back; what a copy of ours would put back later is left as it is wanted now."""
    address, option, on = str(job.params["address"]), Option(job.params["option"]), bool(job.params["on"])
    userid = str(job.data["userid"])
    if option is Option.IMAP_SMTP and not on:
        in_use(job, userid)
    changes.sending(job)
    exmail.useroption_update(job.client, userid, {option: on})
    seen = exmail.useroption_get(job.client, userid, [option]).get(option)
    name = say(f"freeze.option_{option.name.lower()}")
    if seen is not on:
        raise Refused(say("freeze.not_kept", address=address, option=name))

    def written(step: JobStep) -> Words:
        if option is Option.IMAP_SMTP:
            step.tx.passwords.stays_on(userid)
        step.tx.audit.add(
            step.job.asked_by, "mail_switch.set", address, job=step.job.id, option=option.name, on=on, member=userid
        )
        return say("freeze.done_switch", address=address, option=name, state=state(on))

    return written


changes.kind(work, SWITCH_KIND, look=look_switch, act=act_switch)
