"""Handlers and their words fit each other, or the import fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import pytest

from bot.errors import UserError
from bot.grammar import NotUnderstood, PatternError
from bot.router import Match, Router, UnknownAction

BACKUP = (
    "backup {source} [to {target}] [because {reason:text}] [since {since:date}] [only {folders:list}]",
    "备份 {source} [到 {target}] [原因 {reason:text}] [自 {since:date}] [只要 {folders:list}]",
)


@dataclass
class TextMessage:
    text: str


@dataclass
class UrgentMessage(TextMessage):
    pass


def sample() -> Router:
    """A router with one handler of each kind."""
    router = Router()

    @router.command(
        *BACKUP,
        topic="backup",
        role="admin",
        example=("backup ahing to support@ because he leaves", "备份 阿兴 到 support@ 原因 离职"),
    )
    def request_backup(
        ctx: object,
        source: str,
        target: str | None = None,
        reason: str | None = None,
        since: date | None = None,
        folders: list[str] | None = None,
    ) -> Any:
        """Copy a mailbox's mail into another.

        Not before somebody agreed.
        """
        return ctx, source, target, reason, since, folders

    @router.command("approve {approval_id:int}", "同意 {approval_id:int}", topic="approvals", role="approver")
    @router.action("approve")
    def approve(ctx: object, approval_id: int) -> Any:
        """Say yes to a question."""
        return ctx, approval_id

    @router.action("choose")
    def choose(ctx: object, question: int, choice: str, note: str = "") -> Any:
        return ctx, question, choice, note

    @router.action("refresh", role="auditor")
    def refresh(ctx: object, job_id: int, slice_: int = 0) -> Any:
        return ctx, job_id, slice_

    @router.command("help [{topic:text}]", "帮助 [{topic:text}]", topic="help")
    @router.menu("help")
    def help_(ctx: object, topic: str = "") -> Any:
        """What I can do."""
        return ctx, topic

    @router.event(TextMessage)
    def said(ctx: object, message: TextMessage) -> Any:
        return ctx, message.text

    return router


def test_a_line_finds_its_handler():
    router = sample()
    match = router.dispatch_line("备份ahing到support@自2024-01-01")
    assert match.call("ctx") == ("ctx", "ahing", "support@", None, date(2024, 1, 1), None)
    assert (match.language, match.role) == ("zh", "admin")
    assert router.dispatch_line("approve 42").call("ctx") == ("ctx", 42)
    assert router.dispatch_line("approve 42").language == "en"
    with pytest.raises(NotUnderstood):
        router.dispatch_line("bakup ahing")


def test_what_help_is_made_of():
    command = sample().get("request_backup")
    assert (command.topic, command.role, command.help_key) == ("backup", "admin", "help.request_backup")
    assert command.doc == "Copy a mailbox's mail into another."
    assert [pattern.source for pattern in command.patterns["en"]] == [BACKUP[0]]
    assert command.patterns["zh"][0].usage().startswith("备份 SOURCE [到 TARGET]")
    assert command.example["zh"] == "备份 阿兴 到 support@ 原因 离职"
    assert [each.name for each in sample().commands] == ["request_backup", "approve", "help_"]


CLICKS = [
    ("approve:42", ("ctx", 42), "approver"),
    ("choose:7:mei", ("ctx", 7, "mei", ""), "member"),
    ("choose:7:mei:a:b:c", ("ctx", 7, "mei", "a:b:c"), "member"),
    ("refresh:12", ("ctx", 12, 0), "auditor"),
    ("refresh:12:3", ("ctx", 12, 3), "auditor"),
]


@pytest.mark.parametrize(("key", "called", "role"), CLICKS)
def test_a_button_finds_its_handler(key, called, role):
    match = sample().action_for(key)
    assert match.call("ctx") == called
    assert (match.role, match.language) == (role, None)


@pytest.mark.parametrize(
    "key",
    [
        "",
        ":",
        "approve",
        "approve:",
        "approve:x",
        "approve:-1",
        "approve:４２",
        "approve:42:43",
        "approve:" + "9" * 30,
        "choose:7",
        "refresh:1:2:3",
        "help",
        "nothing:1",
    ],
)
def test_a_button_of_another_time_gets_an_answer(key):
    with pytest.raises(UnknownAction) as caught:
        sample().action_for(key)
    assert isinstance(caught.value, UserError)
    assert "no longer works" in str(caught.value.words)


def test_menus_and_events():
    router = sample()
    assert router.menu_for("help").call("ctx") == ("ctx", "")
    assert router.menu_for("help:backup").call("ctx") == ("ctx", "backup")
    with pytest.raises(UnknownAction):
        router.menu_for("approve:1")
    for message in (TextMessage("hi"), UrgentMessage("hi")):
        match = router.event_for(message)
        assert isinstance(match, Match)
        assert match.call("ctx") == ("ctx", "hi")
    assert router.event_for("something else") is None


def test_routers_are_put_together():
    whole = Router()
    whole.include(sample())
    assert whole.dispatch_line("approve 1").call("ctx") == ("ctx", 1)
    assert whole.action_for("approve:1").role == "approver"
    assert whole.menu_for("help")
    assert whole.event_for(TextMessage("hi"))
    with pytest.raises(PatternError, match="called request_backup"):
        whole.include(sample())


@pytest.mark.parametrize("kind", ["action", "menu", "event"])
def test_routers_that_overlap_are_refused(kind):
    def handler(ctx: object, message: str) -> None:
        """Something."""

    one, other = Router(), Router()
    for router in (one, other):
        getattr(router, kind)(TextMessage if kind == "event" else "same")(handler)
    with pytest.raises(PatternError, match="two handlers"):
        one.include(other)


def test_a_new_command_is_known_at_once():
    router = sample()
    with pytest.raises(NotUnderstood):
        router.dispatch_line("whoami")

    @router.command("whoami", "who am i", "我是谁", topic="lookup")
    def whoami(ctx: object) -> None:
        """Who you are to me."""

    assert router.dispatch_line("who am I?").handler is whoami
    assert router.dispatch_line("我是谁？").language == "zh"


# what does not fit; each handler with what is wrong with it


def needs_target(ctx: object, source: str, target: str) -> None:
    """Help."""


def lacks_source(ctx: object, target: str | None = None) -> None:
    """Help."""


def default_though_required(ctx: object, source: str = "", target: str | None = None) -> None:
    """Help."""


def wrong_type(ctx: object, source: int, target: str | None = None) -> None:
    """Help."""


def untyped(ctx: object, source, target=None) -> None:  # type: ignore[no-untyped-def]
    """Help."""


def one_more(ctx: object, source: str, target: str | None = None, reason: str | None = None) -> None:
    """Help."""


def unknown_type(ctx: object, source: Nowhere, target: str | None = None) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Help."""


def no_docstring(ctx: object, source: str, target: str | None = None) -> None:
    pass


def no_context() -> None:
    """Help."""


def keyword_only(ctx: object, *, source: str, target: str | None = None) -> None:
    """Help."""


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (needs_target, "wants a default"),
        (lacks_source, "no parameter for {source}"),
        (default_though_required, "every pattern demands it"),
        (wrong_type, "is name"),
        (untyped, "is name"),
        (one_more, "no pattern in en gives reason"),
        (unknown_type, "Nowhere"),
        (no_docstring, "docstring"),
        (no_context, "must take a context"),
        (keyword_only, "must take a context"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_handler_that_does_not_fit(handler: Callable[..., None], reason: str):
    register = Router().command("backup {source} [to {target}]", "备份 {source} [到 {target}]", topic="backup")
    with pytest.raises(PatternError, match=reason):
        register(handler)


def number(ctx: object, value: int) -> None:
    """Help."""


def day(ctx: object, value: date) -> None:
    """Help."""


def names(ctx: object, value: list[str]) -> None:
    """Help."""


def text(ctx: object, value: str) -> None:
    """Help."""


def choice(ctx: object, value: Literal["en", "zh"]) -> None:
    """Help."""


@pytest.mark.parametrize("handler", [number, day, names, text, choice], ids=lambda each: each.__name__)
@pytest.mark.parametrize("kind", ["int", "date", "list", "text", "name", "word", "en|zh", "en|fr"])
def test_types_agree(handler: Callable[..., None], kind: str):
    fits = {
        "number": {"int"},
        "day": {"date"},
        "names": {"list"},
        "text": {"text", "name", "word", "en|zh", "en|fr"},
        "choice": {"en|zh"},
    }
    register = Router().command(f"show {{value:{kind}}}", f"看 {{value:{kind}}}", topic="test")
    if kind in fits[handler.__name__]:
        assert register(handler) is handler
    else:
        with pytest.raises(PatternError, match=r"but \{value\}"):
            register(handler)


def test_both_languages_are_wanted():
    with pytest.raises(PatternError, match="no pattern in zh"):
        Router().command("show {value}", topic="test")(text)
    with pytest.raises(PatternError, match="'看' does not give it"):
        Router().command("show {value}", "看", topic="test")(text)


def test_an_example_works_in_its_language():
    for example, reason in [
        (("show", "看 甲"), "does not work"),
        (("看 甲", "看 甲"), "is not in en"),
        (("show a", "看 甲"), None),
    ]:
        register = Router().command("show {value}", "看 {value}", topic="test", example=example)
        if reason is None:
            register(text)
        else:
            with pytest.raises(PatternError, match=reason):
                register(text)


def test_a_role_is_one_of_ours():
    with pytest.raises(PatternError, match="no role boss"):
        Router().command("show {value}", "看 {value}", topic="test", role="boss")(text)  # type: ignore[arg-type]
    with pytest.raises(PatternError, match="no role boss"):
        Router().action("show", role="boss")(text)  # type: ignore[arg-type]


def test_commands_that_mean_the_same_line_are_refused():
    router = Router()
    router.command("show {value}", "看 {value}", topic="test")(text)
    with pytest.raises(PatternError, match="'show 7' could be number or text"):
        router.command("show {value:int}", "数 {value:int}", topic="test")(number)
    with pytest.raises(PatternError, match="'看 7' could be number or text"):
        router.command("count {value:int}", "看 {value:int}", topic="test")(number)
    router.command("show number {value:int}", "看 数字 {value:int}", topic="test")(number)
    assert router.dispatch_line("show number 7").handler is number
    assert router.dispatch_line("show 7").handler is text


def test_clicks_give_numbers_and_words_only():
    with pytest.raises(PatternError, match="a button cannot give value"):
        Router().action("day")(day)
    for name in ("", "a:b"):
        with pytest.raises(PatternError):
            Router().action(name)(number)
    router = Router()
    router.action("number")(number)
    with pytest.raises(PatternError):
        router.action("number")(text)


def test_events_have_one_handler():
    router = Router()
    with pytest.raises(PatternError, match="must take a context and a message"):
        router.event(TextMessage)(no_context)
    router.event(TextMessage)(text)
    with pytest.raises(PatternError, match="TextMessage has a handler"):
        router.event(TextMessage)(text)
