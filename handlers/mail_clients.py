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
    "help login|webmail",
    "how do|can i log|sign in [to|into my|the mail|mailbox|email|webmail]",
    "how to log|sign in [to|into my|the mail|mailbox|email|webmail]",
    "log|sign in",
    "login|webmail",
    "帮助 登录|网页",
    "怎么登录|如何登录|怎样登录|怎么登陆|如何登陆|登录 [我的邮箱|企业邮箱|公共邮箱|邮箱]",
    "我的邮箱|企业邮箱|公共邮箱|邮箱 怎么登录|如何登录|怎样登录|怎么登陆|如何登陆",
    topic="people",
    example=("help login", "帮助 登录"),
)
def help_login(ctx: Context) -> list[Reply]:
    """How to open my mail, and a public mailbox: in WeCom, in the browser, in a mail program."""
    told = [
        say("clients.login_personal"),
        say("clients.login_public"),
        say("clients.login_client"),
        say("clients.servers"),
        say("clients.login_more"),
    ]
    return [Text(ctx.sender, lines(*told))]


@router.command(
    "help smtp|client|clients|outlook|foxmail",
    "smtp [settings|server|servers|port|ports|setup]",
    "帮助 smtp|客户端|发信|收信",
    "smtp|客户端|邮件客户端 怎么设置|如何设置|怎样设置|怎么配置|如何配置|怎么用|设置|配置|服务器|端口",
    "怎么设置|如何设置|设置|怎么配置|如何配置 smtp|客户端|邮件客户端",
    topic="people",
    example=("help smtp", "帮助 客户端"),
)
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
    "help personal|compare",
    "compare [personal and|with|to public] [mailboxes|mailbox]",
    "personal and|vs|vs.|versus|or public [mailboxes|mailbox] [compared]",
    "帮助 个人|对比|区别",
    "个人邮箱|成员邮箱|个人 和|与|跟|还是 公共邮箱|业务邮箱|公共 [的区别|有什么区别|有什么不同|的对比|对比|区别]",
    "公共邮箱|业务邮箱 和|与|跟|还是 个人邮箱|成员邮箱 [的区别|有什么区别|有什么不同|的对比|对比|区别]",
    topic="people",
    example=("help personal", "帮助 对比"),
)
def help_personal(ctx: Context) -> list[Reply]:
    """A personal and a public mailbox compared: cost, who opens it, passwords, how many, what becomes of it."""
    rows = ("whose", "made", "cost", "count", "room", "login", "password", "smtp", "leaves", "deleted")
    return [Text(ctx.sender, lines(say("clients.compared"), *(say(f"clients.row_{each}") for each in rows)))]
