"""The sentences themselves: what a machine can hold of how they are written, in both languages."""

from __future__ import annotations

import re
import string

import pytest

from bot.words import catalogue

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
