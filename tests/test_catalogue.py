"""The sentences themselves: what a machine can hold of how they are written, in both languages."""

from __future__ import annotations

import re
import string

import pytest

import handlers
from bot.grammar import NotUnderstood
from bot.words import Language, catalogue

COUNTED = (
    "address|addresses|alias|aliases|attachments|bytes|changes|characters|days|departments|domains|folders|groups|hours"
    "|jobs|letters|mails|mailboxes|members|minutes|passwords|people|places|records|seconds|tags|tries"
)
BEFORE = r"(?:client|free|further|mail|more|new|old|open|other|possible|public|unread) "
NOT_COUNTED = {"number", "free", "high", "length", "low", "max"}  # names of things, and limits, which are never one


def parts(text: str) -> list[tuple[str, str | None, str | None]]:
    """(text before, name, forms) of a sentence."""
    return [(before, name, forms) for before, name, forms, _ in string.Formatter().parse(text)]


def test_a_number_goes_with_its_word() -> None:
    """No "1 mails": beside a number stands `{count:mail|mails}`."""
    wrong = {
        key: found
        for key, sentence in catalogue().items()
        if (found := [
            shown
            for shown, name in re.findall(rf"(\{{(\w+)\}} (?:{BEFORE})*(?:{COUNTED})\b)", sentence["en"])
            if name not in NOT_COUNTED
        ])
    }  # fmt: skip
    assert not wrong


def test_forms_are_two_words_of_english() -> None:
    """Chinese has one form; a form is told apart by the number it stands with, which the sentence shows."""
    for key, sentence in catalogue().items():
        assert not [forms for _, _, forms in parts(sentence["zh"]) if forms], key
        for _, name, forms in parts(sentence["en"]):
            if forms:
                assert re.fullmatch(r"(?!(.+)\|\1$)[^|]+\|[^|]+", forms), f"{key}: {forms}"
                assert f"{{{name}}}" in sentence["en"], f"{key} does not show {name}"


@pytest.mark.parametrize("mark", ["!", "！"])
def test_nothing_is_shouted(mark: str) -> None:
    """A mark of exclamation makes no mistake smaller."""
    assert not [key for key, sentence in catalogue().items() if any(mark in text for text in sentence.values())]


# What to type

NO_COMMANDS = {
    "@", "none", "quietly", "because", "dept:", "dept:Sales", "dept:{name}", "tag:", "tag:oncall", "without backup",
    "saved into support@", "calvin, dept:Sales, tag:oncall",
}  # fmt: skip
ON_SCREEN = {
    "备份邮件",
    "备份联系人",
    "邮箱别名",
    "DNS only",
    "exmail-bot audit verify",
}  # a button's name that would be a command, too
SAMPLES = {
    "address": "ahing@", "alias": "sales@", "date": "2026-12-15", "displaced": "ahing@", "domain": "corp.com",
    "into": "support@", "lead": "backup", "local": "support", "mailbox": "ahing@", "name": "Sales", "near": "backup",
    "reason": "he leaves", "source": "ahing@", "target": "support@", "topic": "backup", "typed": "ahing@",
    "userid": "calvin", "what": "ahing@",
}  # fmt: skip


def typed(shown: str) -> str:
    """A command as somebody would copy it, with something in its slots."""
    return re.sub(r"\{(\w+)[^}]*\}", lambda slot: SAMPLES.get(slot[1], "12"), shown)


def understood(shown: str, language: Language) -> str | None:
    """The command that a line of this language means, if any."""
    try:
        parsed = handlers.router().grammar.parse(typed(shown))
    except NotUnderstood:
        return None
    return parsed.command if parsed.language == language else None


def test_what_a_sentence_says_to_type_is_understood() -> None:
    """Every piece between backticks is a line of English, and the same commands stand in quotes in Chinese."""
    for key, sentence in catalogue().items():
        if key.startswith("grammar."):  # repeats what somebody typed
            continue
        shown = re.findall(r"`([^`]*)`", sentence["en"])
        meant = [each for each in shown if each not in NO_COMMANDS and not each.startswith("exmail-bot ")]
        english = [(each, understood(each, "en")) for each in meant]
        assert not [each for each, command in english if command is None], key
        quoted = [each for each in re.findall(r"“([^“”]+)”", sentence["zh"]) if each not in ON_SCREEN]
        chinese = [command for each in quoted if (command := understood(each, "zh")) is not None]
        assert sorted(chinese) == sorted(command for _, command in english if command), f"{key}: {quoted}"
