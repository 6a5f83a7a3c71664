"""How to log in and to set up a mail program: `help login`, `help smtp`, `help personal`. Only words, for everybody."""

from __future__ import annotations

from bot.context import Context
from bot.replies import Reply, Text
from bot.router import Router
from bot.words import lines, say
from bot.work import Work

router = Router()
work = Work()


@router.command(
    "help login|webmail", "帮助 登录|网页", "怎么登录|如何登录", topic="people", example=("help login", "帮助 登录"),
)  # fmt: skip
def help_login(ctx: Context) -> list[Reply]:
    """How to open my mail, and a public mailbox: in WeCom, in the browser, in a mail program."""
    told = [
        say("clients.login_personal"),
        say("clients.login_public"),
        say("clients.login_client"),
        say("clients.login_more"),
    ]
    return [Text(ctx.sender, lines(*told))]


@router.command(
    "help smtp|client|clients|outlook|foxmail", "帮助 smtp|客户端|发信|收信", topic="people",
    example=("help smtp", "帮助 客户端"),
)  # fmt: skip
def help_smtp(ctx: Context) -> list[Reply]:
    """Servers, ports, user name and password for a mail program, and what to switch on first."""
    settings = ctx.settings
    told = [
        say("clients.servers"),
        say("clients.ours", imap=settings.exmail_imap_host, smtp=settings.exmail_smtp_host),
        say("clients.user"),
        say("clients.switch_on"),
        say("clients.range"),
        say("clients.password"),
        say("clients.test"),
    ]
    return [Text(ctx.sender, lines(*told))]


@router.command(
    "help personal|compare", "compare", "帮助 个人|对比|区别", topic="people", example=("help personal", "帮助 对比"),
)  # fmt: skip
def help_personal(ctx: Context) -> list[Reply]:
    """A personal and a public mailbox compared."""
    rows = ("whose", "made", "login", "password", "count", "room", "leaves", "smtp")
    return [Text(ctx.sender, lines(say("clients.compared"), *(say(f"clients.row_{each}") for each in rows)))]
