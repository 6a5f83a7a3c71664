"""How to log in, mail programs, the two kinds of mailboxes compared: asked in whatever words and order, answered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.replies import Text
from bot.wecom.limits import TEXT_BYTES
from bot.words import LANGUAGES, Words
from handlers import mail_clients
from storage.store import Store
from tests.handlers.conftest import FakeClock
from tests.handlers.test_help import everything
from tests.handlers.wecom_in_process import World

HOSTS = (
    "imap.exmail.qq.com, port 993", "smtp.exmail.qq.com, port 465", "pop.exmail.qq.com, port 995",
    "hwimap.exmail.qq.com", "hwsmtp.exmail.qq.com", "hwpop.exmail.qq.com", "outside mainland China",
)  # fmt: skip


@pytest.fixture
def office(store: Store, clock: FakeClock) -> Iterator[World]:
    return World(store, clock)


def test_how_to_log_in(office: World) -> None:
    """For everybody, whatever his role: where, the hosts of the mainland and overseas, what to switch on, passwords."""
    for said in (office.does("ahing", mail_clients.help_login), office.does("ahing", mail_clients.help_smtp)):
        for part in ("https://en.exmail.qq.com/", "WeCom", *HOSTS):
            assert part in said, part
    for part in ("客户端访问权限", "开启IMAP/SMTP服务", "收取选项", "16 letters", "smtp test support@"):
        assert part in said, part


def test_personal_and_public_compared(office: World) -> None:
    """What each costs, who opens it, passwords, how many there are, and what becomes of it; in one message."""
    said = office.does("ahing", mail_clients.help_personal)
    for part in (
        "3 on the free plan", "bought by the seat", "departments and tags are let in", "10 at most", "about 30 days",
        "by two admins", "1 GB",
    ):  # fmt: skip
        assert part in said, part
    for language in LANGUAGES:
        with office.store.begin() as tx:
            ctx = office.context(tx, "ahing")
            ctx.language = language
            (reply,) = mail_clients.help_personal(ctx)
            assert isinstance(reply, Text)
            assert isinstance(reply.words, Words)
            assert len(reply.words.text(language).encode()) <= TEXT_BYTES, language


ASKED = {
    "help_login": (
        "how do I log in", "How can I sign in to my mailbox?", "login", "help login", "怎么登录邮箱",
        "如何登录公共邮箱？", "怎么登陆", "邮箱怎么登录", "帮助 登录",
    ),
    "help_smtp": (
        "SMTP", "smtp settings", "help smtp", "SMTP 怎么设置", "smtp怎么设置？", "怎么设置客户端", "帮助 客户端",
    ),
    "help_personal": (
        "personal and public compared", "personal vs public", "Personal vs. public mailboxes", "compare",
        "compare personal and public", "个人邮箱和公共邮箱的区别", "成员邮箱与公共邮箱有什么区别？",
        "公共邮箱和个人邮箱对比", "帮助 对比",
    ),
    "smtp_test": ("smtp test support@ to mei@",), "public": ("公共邮箱 support@", "公共邮箱", "public support@"),
}  # fmt: skip


OTHER_ORDER = {
    "public_add": ("public add calvin, dept:Sales to support@", "public add support@ calvin, dept:Sales"),
    "public_remove": ("public remove calvin from support@",),
    "public_create": ("新建公共邮箱 help@ 帮助 给 阿兴", "公共邮箱 新建 help@ 帮助 给 阿兴"),
    "group_add": ("group add calvin to all@", "group add all@ calvin"),
    "group_remove": ("group remove calvin from all@",),
    "who_can_open": ("support@谁能打开", "谁能打开support@"), "what_can_open": ("阿兴能打开哪些邮箱",),
}  # fmt: skip


@pytest.mark.parametrize(("wanted", "lines"), [*ASKED.items(), *OTHER_ORDER.items()])
def test_asked_in_whatever_words(wanted: str, lines: tuple[str, ...]) -> None:
    """As people type it, and no other command is taken for it."""
    router = everything()
    for line in lines:
        command = router.dispatch_line(line).command
        assert command is not None
        assert command.name == wanted, line
