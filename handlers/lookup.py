"""Who am I, and what is known about a mailbox. What needs WeCom is a job that answers when it knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

from bot.context import Context
from bot.directory import Directory
from bot.errors import UpstreamError
from bot.policy import Role
from bot.replies import Reply, Text
from bot.router import Router
from bot.wecom import exmail
from bot.wecom.errcodes import WeComError
from bot.wecom.exmail import Option
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, Work, wait_after
from handlers import addresses
from storage.models import JobState, Mailbox, MailboxKind
from storage.public_tables import Freeze

router = Router()
work = Work()

TELL_ADMINS_EVERY = timedelta(hours=1)


@router.command("whoami", "who am i", "我是谁", topic="people", example=("whoami", "我是谁"))
@router.menu("whoami")
def whoami(ctx: Context) -> list[Reply]:
    """Who you are to me, and what you may do."""
    held = ctx.roles.of(ctx.sender)
    roles = [say(f"lookup.role_{role}") for role in Role if role in held]
    parts = [say("lookup.whoami", name=ctx.directory.name(ctx.sender), userid=ctx.sender, roles=roles)]
    may = Role.ADMIN if Role.ADMIN in held else Role.AUDITOR if Role.AUDITOR in held else Role.MEMBER
    parts.append(say(f"lookup.may_{may}"))
    if managers := ctx.directory.managers(ctx.sender)[:1]:
        parts.append(say("lookup.your_manager", manager=ctx.directory.name(managers[0])))
    return [Text(ctx.sender, lines(*parts))]


@router.command(
    "language {language:en|zh|english|chinese|中文|英文}",
    "语言 {language:中文|英文|en|zh}",
    topic="people",
    example=("language zh", "语言 中文"),
)
def set_language(ctx: Context, language: str) -> list[Reply]:
    """Speak English or Chinese with me."""
    member = ctx.tx.members.find(ctx.sender) or ctx.tx.members.saw(ctx.sender)
    member.language = "en" if language in ("en", "english", "英文") else "zh"
    return [Text(ctx.sender, say("lookup.language_set"))]


@router.command("my mailbox", "我的邮箱", topic="people", example=("my mailbox", "我的邮箱"))
@router.menu("my_mailbox")
def my_mailbox(ctx: Context) -> list[Reply]:
    """What I know about your own mailbox."""
    known = ctx.tx.mailboxes.of(ctx.sender)
    return look(ctx, known.address if known is not None else None, ctx.sender)


@router.command(
    "mailbox {mailbox}", "邮箱 {mailbox}", role="auditor", topic="people", example=("mailbox ahing", "邮箱 ahing")
)
def mailbox(ctx: Context, mailbox: str) -> list[Reply]:
    """What I know about a mailbox: owner, address, who can open it, IMAP, unread, open jobs."""
    meant = ctx.directory.mailbox(mailbox)
    return look(ctx, meant.address, meant.userid)


def look(ctx: Context, address: str | None, userid: str | None) -> list[Reply]:
    """Ask WeCom, and answer when it is known."""
    job = ctx.tx.jobs.add("lookup", asked_by=ctx.sender, params={"address": address, "userid": userid})
    ctx.start(job)
    return []


def look_up_failed(step: JobStep, words: Words) -> None:
    """What an admin can mend is told to admins; a member hears that they know."""
    asker, admins = step.job.asked_by, step.roles.admins
    step.tx.jobs.end(step.job, JobState.FAILED, error=words.text("en"))
    if asker in admins:
        step.say(Text(asker, words))
        return
    step.say(Text(asker, say("lookup.refused", admins=[step.directory.name(each) for each in admins])))
    if step.tx.moments.first_within("lookup-failed-told", TELL_ADMINS_EVERY):
        for admin in admins:
            step.say(Text(admin, say("lookup.refused_for_admins", name=step.directory.name(asker), why=words)))


def say_once_that_it_takes_time(job: JobContext) -> None:
    """WeCom is busy or not to be reached: the asker hears so once, the answer comes when it can."""
    if job.data.get("waiting_told"):
        return
    with job.begin() as step:
        step.put(waiting_told=True)
        step.say(Text(step.job.asked_by, say("lookup.takes_time")))


Answer = Callable[[JobContext], Sequence[Reply]]


def answers(into: Work, name: str) -> Callable[[Answer], Answer]:
    """The function answers questions of a kind: a busy WeCom is waited for, a refusal told to who can mend it."""

    def register(function: Answer) -> Answer:
        def answer(job: JobContext) -> None:
            try:
                replies = function(job)
            except UpstreamError as error:
                if wait_after(error) is not None:
                    say_once_that_it_takes_time(job)
                raise
            with job.begin() as step:
                step.say(*replies)
                step.tx.jobs.end(step.job, JobState.DONE)

        into.job(name)(answer)
        into.failed(name)(look_up_failed)
        return function

    return register


@answers(work, "lookup")
def look_up(job: JobContext) -> list[Reply]:
    """Everything that can be known about one mailbox, in one message."""
    found = addresses.find_mailbox(job, job.params["address"], job.params["userid"])
    told = told_by_wecom(job, found.mailbox) if found.mailbox is not None else []
    with job.begin() as step:
        asker = step.job.asked_by
        if found.mailbox is None:
            return [Text(asker, found.problem or say("lookup.nothing"))]
        said = [*known(step, step.tx.mailboxes.get(found.mailbox.id)), *told]
        if found.problem is not None:
            said.append(say("lookup.not_all", why=found.problem))
        return [Text(asker, lines(*said))]


def known(step: JobStep, box: Mailbox) -> list[Words]:
    """What our rows say."""
    directory = step.directory
    lines_: list[Words] = []
    if box.kind is MailboxKind.MEMBER and box.owner is not None:
        lines_.append(
            say("lookup.member_mailbox", address=box.address, owner=directory.name(box.owner), userid=box.owner)
        )
        opens = [each.address for each in step.tx.mailboxes.public() if box.owner in directory.readers(each)]
        lines_.append(say("lookup.can_open", addresses=opens) if opens else say("lookup.opens_none"))
    elif box.kind is MailboxKind.PUBLIC:
        readers = [directory.name(each) for each in directory.readers(box)]
        lines_.append(say("lookup.public_mailbox", address=box.address, name=box.name or box.address))
        lines_.append(say("lookup.readers", readers=readers) if readers else say("lookup.readers_none"))
        lines_.append(say("lookup.managed" if box.managed else "lookup.not_managed"))
    else:
        lines_.append(say("lookup.unseen_mailbox", address=box.address))
    if (held := step.tx.freezes.of(userid=box.owner, public_id=box.public_id)) is not None:
        lines_.append(frozen(held, step.directory, step.services.settings.zone))
    if box.confirmed_at is not None:
        source = say(f"lookup.source_{box.source.replace('-', '_')}")
        at = box.confirmed_at.astimezone(step.services.settings.zone)
        lines_.append(say("lookup.how_known", source=source, at=f"{at:%Y-%m-%d %H:%M}"))
    if box.aliases:
        lines_.append(say("lookup.aliases", aliases=list(box.aliases)))
    if jobs := step.tx.jobs.open_on([box.id]):
        lines_.append(say("lookup.open_jobs", numbers=[job.id for job in jobs], first=jobs[0].id))
    return lines_


def frozen(held: Freeze, directory: Directory, zone: ZoneInfo) -> Words:
    """That a mailbox was switched off through us, by whom, when and why."""
    return say(
        "lookup.frozen", by=directory.name(held.frozen_by), day=f"{held.frozen_at.astimezone(zone):%Y-%m-%d}",
        reason=held.reason or say("freeze.no_reason"),
    )  # fmt: skip


def told_by_wecom(job: JobContext, box: Mailbox) -> list[Words]:
    """IMAP and unread mail of a member's mailbox; a refusal is said, not hidden."""
    if box.owner is None:
        return []
    try:
        imap_on = exmail.useroption_get(job.client, box.owner, [Option.IMAP_SMTP]).get(Option.IMAP_SMTP)
        unread = exmail.mail_get_newcount(job.client, box.owner)
    except WeComError as error:
        with job.services.store.begin() as tx:
            admin = tx.jobs.get(job.job_id).asked_by in job.roles(tx).admins
        return [say("lookup.not_told", why=error.words()) if admin else say("lookup.not_told_member")]
    return [say("lookup.imap_on" if imap_on else "lookup.imap_off"), say("lookup.unread", count=unread)]
