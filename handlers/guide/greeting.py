"""Hello: once per person, by what he is here for; the menu; small talk."""

from __future__ import annotations

from datetime import timedelta

from bot.context import Context
from bot.messages import EnteredChat
from bot.policy import Role
from bot.replies import Reply, Text
from bot.router import Router
from bot.wecom import cards
from bot.words import Words, say
from bot.work import JobContext, SweepStep, Work
from handlers.guide.help import SMALL_TALK
from storage.models import JobState

router = Router()
work = Work()

MENU = (
    (
        "help.menu_mine",
        (("help.menu_me", "my_mailbox"), ("help.menu_approvals", "approvals"), ("help.menu_jobs", "jobs")),
    ),
    (
        "help.menu_admin",
        (("help.menu_handovers", "handovers"), ("help.menu_bin", "bin"), ("help.menu_public", "public")),
    ),
    (
        "help.menu_help",
        (("help.menu_commands", "help"), ("help.menu_hello", "hello"), ("help.menu_login", "help_login")),
    ),
)
MENU_EVERY = timedelta(days=1)


@router.command("hello|hi|hey", "你好|您好", topic=SMALL_TALK, example=("hello", "你好"))
@router.menu("hello")
def say_hello(ctx: Context) -> list[Reply]:
    """Say hello."""
    return [Text(ctx.sender, greeting(ctx, ctx.directory.name(ctx.sender)))]


def greeting(ctx: Context, name: str) -> Words:
    """Two or three things that this person would do first."""
    if ctx.may(Role.ADMIN, Role.SUPER_ADMIN):
        return say("help.greeting_admin", name=name)
    if ctx.may(Role.AUDITOR):
        return say("help.greeting_auditor", name=name)
    if ctx.may(Role.APPROVER) or manages(ctx):
        return say("help.greeting_manager", name=name)
    return say("help.greeting", name=name)


def manages(ctx: Context) -> bool:
    """Whether the sender is somebody's direct leader, or leads a department."""
    return any(each.direct_leader == ctx.sender for each in ctx.directory.everybody) or any(
        ctx.sender in each.leaders for each in ctx.tx.members.departments()
    )


@router.command("thanks", "thank you", "谢谢|多谢", topic=SMALL_TALK, example=("thanks", "谢谢"))
def say_thanks(ctx: Context) -> list[Reply]:
    """Say thank you."""
    return [Text(ctx.sender, say("help.welcome"))]


@router.event(EnteredChat)
def greet(ctx: Context, message: EnteredChat) -> list[Reply]:
    """Greet who opens the chat for the first time; later he says `hello`."""
    member = ctx.tx.members.find(message.sender) or ctx.tx.members.saw(message.sender)
    member.greeted_at = ctx.now
    return [Text(ctx.sender, greeting(ctx, member.name))]


@work.sweep("menu", MENU_EVERY)
def set_menu_daily(sweep: SweepStep) -> None:
    """Set the menu once a day: somebody may have changed it in the console."""
    sweep.start(sweep.tx.jobs.add("menu", asked_by="bot", params={}))


@work.job("menu")
def set_menu(job: JobContext) -> None:
    """The bot's menu, in the language of the organisation; an entry does what its words do."""
    language = job.services.settings.bot_language
    buttons = [
        {
            "name": say(key).text(language),
            "sub_button": [{"type": "click", "name": say(each).text(language), "key": name} for each, name in entries],
        }
        for key, entries in MENU
    ]
    cards.create_menu(job.client, buttons)
    with job.begin() as step:
        step.tx.jobs.end(step.job, JobState.DONE)
