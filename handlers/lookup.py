"""Who am I, and what is known about a mailbox. What needs WeCom is a job that answers when it knows."""

from __future__ import annotations

from bot.context import Context
from bot.delivery import language_of
from bot.errors import NetworkError
from bot.policy import Role
from bot.replies import Reply, Text
from bot.router import Router
from bot.wecom import exmail
from bot.wecom.errcodes import WeComError
from bot.wecom.exmail import Option
from bot.words import Words, say
from bot.work import JobContext, JobStep, Work
from handlers import addresses
from storage.models import JobState, Mailbox, MailboxKind

router = Router()
work = Work()


@router.command("whoami", "who am i", "我是谁", topic="people", example=("whoami", "我是谁"))
@router.menu("whoami")
def whoami(ctx: Context) -> list[Reply]:
    """Who you are to me, and what you may do."""
    roles = [say(f"lookup.role_{role}") for role in Role if role in ctx.roles.of(ctx.sender)]
    managers = [ctx.directory.name(userid) for userid in ctx.directory.managers(ctx.sender)[:1]]
    words = say("lookup.whoami", name=ctx.directory.name(ctx.sender), userid=ctx.sender, roles=roles)
    replies: list[Reply] = [Text(ctx.sender, words)]
    if managers:
        replies.append(Text(ctx.sender, say("lookup.your_manager", manager=managers[0])))
    return replies


@router.command(
    "language {language:en|zh|english|chinese|中文|英文}",
    "语言 {language:中文|英文|en|zh}",
    topic="people",
    example=("language zh", "语言 英文"),
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
    return look(ctx, None, ctx.sender)


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


@work.job("lookup")
def look_up(job: JobContext) -> None:
    """Everything that can be known about one mailbox, in one message."""
    found = addresses.find_mailbox(job, job.params["address"], job.params["userid"])
    if found.mailbox is None:
        with job.begin() as step:
            step.say(Text(step.job.asked_by, found.problem or say("lookup.nothing")))
            step.tx.jobs.end(step.job, JobState.DONE)
        return
    told = told_by_wecom(job, found.mailbox)
    with job.begin() as step:
        box = step.tx.mailboxes.get(found.mailbox.id)
        lines = [*known(step, box), *told]
        language = language_of(step.tx, step.job.asked_by, step.services.settings)
        step.say(Text(step.job.asked_by, "\n".join(line.text(language) for line in lines)))
        step.tx.jobs.end(step.job, JobState.DONE)


def known(step: JobStep, box: Mailbox) -> list[Words]:
    """What our rows say."""
    directory = step.directory
    confirmed = box.confirmed_at.strftime("%Y-%m-%d") if box.confirmed_at is not None else "-"
    source = say(f"lookup.source_{box.source.replace('-', '_')}")
    lines: list[Words] = []
    if box.kind is MailboxKind.MEMBER and box.owner is not None:
        lines.append(
            say("lookup.member_mailbox", address=box.address, owner=directory.name(box.owner), userid=box.owner)
        )
        opens = [each.address for each in step.tx.mailboxes.public() if box.owner in directory.readers(each)]
        lines.append(say("lookup.can_open", addresses=opens) if opens else say("lookup.opens_none"))
    elif box.kind is MailboxKind.PUBLIC:
        readers = [directory.name(each) for each in directory.readers(box)]
        lines.append(say("lookup.public_mailbox", address=box.address, name=box.name or box.address, readers=readers))
        lines.append(say("lookup.managed" if box.managed else "lookup.not_managed"))
    else:
        lines.append(say("lookup.unseen_mailbox", address=box.address))
    lines.append(say("lookup.how_known", source=source, date=confirmed))
    if box.aliases:
        lines.append(say("lookup.aliases", aliases=list(box.aliases)))
    for job in step.tx.jobs.open_on([box.id]):
        lines.append(say("lookup.open_job", number=job.id))
    return lines


def told_by_wecom(job: JobContext, box: Mailbox) -> list[Words]:
    """IMAP and unread mail of a member's mailbox; a refusal is said, not hidden."""
    if box.owner is None:
        return []
    try:
        imap_on = exmail.useroption_get(job.client, box.owner, [Option.IMAP_SMTP]).get(Option.IMAP_SMTP)
        unread = exmail.mail_get_newcount(job.client, box.owner)
    except NetworkError:
        raise
    except WeComError as error:
        return [say("lookup.not_told", why=error.words())]
    return [say("lookup.imap_on" if imap_on else "lookup.imap_off"), say("lookup.unread", count=unread)]
