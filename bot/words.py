"""
What the bot says, in the reader's language.

Every sentence stands in `bot/catalogue/*.toml` under a key, once in English and once in Chinese, so that the two
can be read side by side and checked for completeness. Code passes `Words` around, a key with its values; only who
knows the reader turns them into text. `{count:mail|mails}` shows no number, but the word that goes with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
CATALOGUE = Path(__file__).with_name("catalogue")


@dataclass(frozen=True)
class Words:
    """A sentence of the catalogue with its values; values that are `Words` themselves are rendered with it."""

    key: str
    values: Mapping[str, object] = field(default_factory=dict)

    def text(self, language: Language) -> str:
        """The sentence for a reader of `language`."""
        values = {name: Shown(rendered(value, language)) for name, value in self.values.items()}
        return sentence(self.key)[language].format(**values)

    def __str__(self) -> str:
        return self.text("en")


@dataclass(frozen=True)
class Shown:
    """A value on its way into a sentence, which shows it, or with `{value:one|many}` the word that goes with it."""

    value: object

    def __format__(self, forms: str) -> str:
        one, either, many = forms.partition("|")
        if not either:
            return format(self.value, forms)
        return one if str(self.value) == "1" else many


@dataclass(frozen=True)
class Lines(Words):
    """Several sentences, one a line; a line that is text already stays as it is."""

    parts: tuple[Words | str, ...] = ()

    def text(self, language: Language) -> str:
        """All of them, in `language`."""
        return "\n".join(str(rendered(part, language)) for part in self.parts)


def lines(*parts: Words | str) -> Lines:
    """The sentences as one message: WeCom lets only so many messages through in a minute."""
    return Lines("", {}, parts)


def say(key: str, /, **values: object) -> Words:
    """The sentence under `key`; a key or a value the catalogue does not know is an error here, not at the reader's."""
    if missing := fields(key) - values.keys():
        raise KeyError(f"{key} lacks {', '.join(sorted(missing))}")
    return Words(key, values)


def fields(key: str) -> set[str]:
    """The names a sentence wants values for, in either language."""
    import string  # here, so that a bare copy starts without

    return {name for text in sentence(key).values() for _, name, _, _ in string.Formatter().parse(text) if name}


def rendered(value: object, language: Language) -> object:
    """A value as it stands in a sentence: Words become text, lists are joined the way the language joins them."""
    if isinstance(value, Words):
        return value.text(language)
    if isinstance(value, (list, tuple)):
        return ("、" if language == "zh" else ", ").join(str(rendered(item, language)) for item in value)
    return value


def as_json(words: Words) -> dict[str, Any]:
    """A sentence as JSON, with the sentences inside it: kept in a row, it is read in any language later."""
    if isinstance(words, Lines):
        return {"lines": [stored(each) for each in words.parts]}
    return {"key": words.key, "values": {name: stored(each) for name, each in words.values.items()}}


def from_json(kept: Mapping[str, Any]) -> Words:
    """The sentence that `as_json` wrote down."""
    if "lines" in kept:
        return lines(*(restored(each) for each in kept["lines"]))
    return say(kept["key"], **{name: restored(each) for name, each in kept["values"].items()})


def stored(value: object) -> Any:
    """A value of a sentence as JSON."""
    if isinstance(value, Words):
        return as_json(value)
    return [stored(each) for each in value] if isinstance(value, (list, tuple)) else value


def restored(value: Any) -> Any:
    """A value of a sentence as it was."""
    if isinstance(value, dict):
        return from_json(value)
    return [restored(each) for each in value] if isinstance(value, list) else value


def sentence(key: str) -> dict[str, str]:
    """The sentence under `key` by language. Raises KeyError."""
    return of_feature(key.partition(".")[0])[key]


@cache
def of_feature(feature: str) -> dict[str, dict[str, str]]:
    """The sentences of one file by key: a bare copy says something of mail only, and need not wait for the others."""
    import tomllib  # nor for this when it says nothing

    file = CATALOGUE / f"{feature}.toml"
    found = tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}
    return {f"{feature}.{name}": sentence for name, sentence in found.items()}


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """All sentences by key (`file.name`), each a mapping of language to text."""
    files = sorted(CATALOGUE.glob("*.toml"))
    return {key: sentence for file in files for key, sentence in of_feature(file.stem).items()}
