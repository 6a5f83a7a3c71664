"""Sentences with their values, in the reader's language."""

from __future__ import annotations

import pytest

from bot import words
from bot.words import LANGUAGES, Lines, Words, catalogue, fields, lines, rendered, say

SENTENCES = {
    "test.plain": {"en": "Done.", "zh": "完成。"},
    "test.who": {"en": "{name} said yes to {what}.", "zh": "{name} 同意了{what}。"},
    "test.list": {"en": "Nearest: {names}.", "zh": "最接近的是：{names}。"},
    "test.count": {
        "en": "{count} {count:mail is|mails are} here, in {folders} {folders:folder|folders}.",
        "zh": "这里有 {count} 封邮件，{folders} 个文件夹。",
    },
    "test.uneven": {"en": "Hello {name}.", "zh": "您好，{title}。"},
}


@pytest.fixture(autouse=True)
def sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue of our own."""
    monkeypatch.setattr(words, "of_feature", lambda feature: SENTENCES)


def made(key: str, **values: object) -> Words:
    """A sentence before there is a catalogue: parameters are collected first."""
    return Words(key, values)


@pytest.mark.parametrize(
    ("said", "en", "zh"),
    [
        (made("test.plain"), "Done.", "完成。"),
        (made("test.who", name="凌", what="it"), "凌 said yes to it.", "凌 同意了it。"),
        (made("test.who", name=7, what=made("test.plain")), "7 said yes to Done..", "7 同意了完成。。"),
        (made("test.list", names=["a", "b", "c"]), "Nearest: a, b, c.", "最接近的是：a、b、c。"),
        (made("test.list", names=("a",)), "Nearest: a.", "最接近的是：a。"),
        (made("test.list", names=[]), "Nearest: .", "最接近的是：。"),
        (made("test.list", names=[made("test.plain"), "x"]), "Nearest: Done., x.", "最接近的是：完成。、x。"),
        (made("test.list", names=[["a", "b"], made("test.plain")]), "Nearest: a, b, Done..",
         "最接近的是：a、b、完成。。"),
        (made("test.who", name="{what}", what="{0.__class__}"), "{what} said yes to {0.__class__}.",
         "{what} 同意了{0.__class__}。"),  # what people typed is never a pattern
    ],
)  # fmt: skip
def test_a_sentence_in_both_languages(said: Words, en: str, zh: str) -> None:
    assert said.text("en") == en
    assert said.text("zh") == zh
    assert str(said) == en


def test_lines_are_one_message() -> None:
    """Lines that are text already stay as they are; lines within lines, too."""
    several = lines(say("test.plain"), "1. ahing", lines("a", say("test.plain")))
    assert isinstance(several, Lines)
    assert several.text("en") == "Done.\n1. ahing\na\nDone."
    assert several.text("zh") == "完成。\n1. ahing\na\n完成。"
    assert lines().text("en") == ""
    assert say("test.who", name="x", what=lines("a", "b")).text("zh") == "x 同意了a\nb。"


def test_an_unknown_key_is_an_error_here() -> None:
    """And not when somebody should read it."""
    with pytest.raises(KeyError, match=r"test\.absent"):
        say("test.absent")


@pytest.mark.parametrize(
    ("key", "given"), [("test.who", {"name": "x"}), ("test.who", {}), ("test.uneven", {"name": 1})]
)
def test_a_missing_value_is_an_error_here(key: str, given: dict[str, object]) -> None:
    """In either language: what only the Chinese sentence wants is missed in English, too."""
    with pytest.raises(KeyError, match=f"{key} lacks"):
        say(key, **given)


def test_what_a_sentence_wants() -> None:
    assert fields("test.who") == {"name", "what"}
    assert fields("test.uneven") == {"name", "title"}
    assert fields("test.plain") == set()


@pytest.mark.parametrize("value", [None, 3, 2.5, "x", {"a": 1}, b"y"])
def test_other_values_are_left_alone(value: object) -> None:
    for language in LANGUAGES:
        assert rendered(value, language) is value


@pytest.mark.parametrize(
    ("count", "folders", "en"),
    [
        (1, 1, "1 mail is here, in 1 folder."),
        (0, 2, "0 mails are here, in 2 folders."),
        (21, "1", "21 mails are here, in 1 folder."),
        ("11", made("test.plain"), "11 mails are here, in Done. folders."),
    ],
)
def test_the_word_goes_with_its_number(count: object, folders: object, en: str) -> None:
    """Chinese needs no second form, and both sentences want the same values."""
    said = say("test.count", count=count, folders=folders)
    assert said.text("en") == en
    assert said.text("zh").startswith(f"这里有 {count} 封邮件")
    assert fields("test.count") == {"count", "folders"}


def test_a_sentence_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        say("test.plain").key = "test.who"  # type: ignore[misc]


def test_the_catalogue_is_read_from_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file of the folder, its name before the key."""
    monkeypatch.undo()
    assert catalogue is not None
    real = catalogue()
    assert {"directory.unknown", "approvals.approve", "help.hello"} <= real.keys()
    assert all(set(each) == set(LANGUAGES) for each in real.values())
    assert words.catalogue() is real  # read once
