"""Help with typing on the page: what it offers comes from the commands themselves, and only what one may do."""

from __future__ import annotations

import pytest

import handlers
from bot.grammar import Field, compile_pattern
from bot.router import Command
from bot.sandbox.console_steps import ORDERS
from bot.sandbox.typing_help import Value, continued, language_meant, offered
from bot.words import Language
from handlers.guide.help import SMALL_TALK
from handlers.handovers.handovers import CHECKS

PATTERN = compile_pattern("backup|copy {source} [to {target}] [because {reason:text}] [without {without:junk|spam}]")
CHINESE = compile_pattern("备份 {source} [到|给 {target}] [原因|因为 {reason:text}]")


def values(field: Field) -> list[Value]:
    """Three mailboxes, as the organisation has them."""
    known = [Value("ahing@", "阿兴"), Value("support@", "客户支持"), Value("sales@", "销售")]
    return known if field.name in ("source", "target") else []


@pytest.mark.parametrize(
    ("typed", "lines"),
    [
        ("backup ", ["backup ahing@ ", "backup support@ ", "backup sales@ "]),
        ("backup s", ["backup support@ ", "backup sales@ "]),
        ("copy 阿", ["copy ahing@ "]),
        ("backup ahing@", ["backup ahing@ to ", "backup ahing@ because ", "backup ahing@ without "]),
        ("backup ahing t", ["backup ahing to "]),
        ("backup ahing to", ["backup ahing to ahing@ ", "backup ahing to support@ ", "backup ahing to sales@ "]),
        ("backup ahing to su", ["backup ahing to support@ "]),
        ("backup ahing without j", ["backup ahing without junk "]),
        ("backup ahing because he leaves to", []),
        ("backup ahing because he leaves, to ", ["backup ahing because he leaves, to ahing@ "]),
        ("frobnicate", []),
    ],
)
def test_a_line_goes_on_as_its_pattern_does(typed: str, lines: list[str]) -> None:
    """The next word, or the values that begin like what is typed; a reason runs on until a separator."""
    found = [each.line for each in continued(PATTERN, typed, values)]
    assert found[: len(lines)] == lines
    assert bool(found) == bool(lines)


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("备份", "备份 ahing@ "),
        ("备份客户", "备份 support@ "),
        ("备份ahing@", "备份ahing@ 到 "),
        ("备份 ahing 到", "备份 ahing 到 ahing@ "),
        ("备份ahing到su", "备份ahing到 support@ "),
        ("备份 ahing 到 support@ 原", "备份 ahing 到 support@ 原因 "),
    ],
)
def test_chinese_needs_no_spaces(typed: str, line: str) -> None:
    """A fixed word ends the value before it."""
    assert line in [each.line for each in continued(CHINESE, typed, values)]


def commands(*roles: str) -> list[Command]:
    """The bot's own commands of these roles."""
    return [each for each in handlers.router().commands if each.role in roles and each.topic != SMALL_TALK]


def lines(mine: list[Command], typed: str, language: Language = "en") -> list[str]:
    """What is offered."""
    return [each.line for each in offered(mine, typed, language, values, lambda each: each.usage()).offers]


def test_only_what_the_role_may_do_is_offered_and_every_offer_leads_on() -> None:
    """A member is not offered a backup; whatever is offered and taken is offered something, or is a whole line."""
    admin, member = commands("admin", "auditor", "approver", "member"), commands("member")
    assert "backup " in lines(admin, "b")
    assert "backup " not in lines(member, "b")
    assert "rescue " in lines(admin, "two ways")  # found by what it does
    for language in ("en", "zh"):
        for command in admin:
            for pattern in command.patterns[language]:
                for lead in pattern.leads:
                    if len(pattern.elements) == len(pattern.lead):
                        continue
                    found = offered(admin, f"{lead} ", language, values, lambda each: each.usage())
                    assert found.usage, lead


def test_the_language_is_that_of_the_line() -> None:
    """From the first letter on; a number says nothing."""
    assert [language_meant(each) for each in ("b", "备", "备份 ahing", " 12", "")] == ["en", "zh", "zh", None, None]


def test_every_console_step_has_the_order_that_does_it() -> None:
    """A check that nobody can bring about on the page would be a step nobody can do there."""
    handlers.router()
    assert CHECKS.keys() == ORDERS.keys()
