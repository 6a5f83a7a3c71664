"""What a command looks like: `backup|copy {source} [to {target}]` compiled into keywords, fields and groups."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache, cached_property
from typing import TypeAlias

from lark import Lark, Token, Transformer
from lark.exceptions import LarkError

from bot.grammar.line import is_cjk
from bot.words import Language

Value: TypeAlias = "str | int | date | list[str]"


class PatternError(ValueError):
    """A pattern that cannot be compiled, or a handler that does not fit it: the programmer's mistake, at import."""


class FieldType(StrEnum):
    """How a value is read."""

    NAME = "name"
    WORD = "word"
    TEXT = "text"
    INT = "int"
    DATE = "date"
    LIST = "list"
    CHOICE = "choice"


@dataclass(frozen=True)
class Keyword:
    """A fixed word; the first alternative is the one shown."""

    alternatives: tuple[str, ...]


@dataclass(frozen=True)
class Field:
    """A value; `choices` only for `FieldType.CHOICE`, spelled as they are given back."""

    name: str
    type: FieldType
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """Items that may be left out together."""

    items: tuple[Keyword | Field, ...]


@dataclass(frozen=True)
class Block:
    """Neighbouring groups: any of them, in any order, each once."""

    groups: tuple[Group, ...]


Element: TypeAlias = "Keyword | Field | Block"


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern; `source` is what the programmer wrote."""

    source: str
    elements: tuple[Element, ...]

    @cached_property
    def language(self) -> Language:
        """Chinese when a word of it is."""
        return "zh" if any(is_cjk(char) for word in self.keywords() for char in word) else "en"

    @cached_property
    def lead(self) -> tuple[Keyword, ...]:
        """The fixed words it starts with; none for one that starts with a value: `{member} is also {nickname}`."""
        return tuple(
            element
            for element in itertools.takewhile(lambda each: isinstance(each, Keyword), self.elements)
            if isinstance(element, Keyword)
        )

    @cached_property
    def leads(self) -> tuple[str, ...]:
        """Every spelling of the lead, as one would type it."""
        if not self.lead:
            return ()
        space = "" if self.language == "zh" else " "
        spellings = itertools.product(*(keyword.alternatives for keyword in self.lead))
        return tuple(space.join(words) for words in itertools.islice(spellings, 32))

    def items(self) -> Iterator[tuple[Keyword | Field, bool]]:
        """Every keyword and field, in order, and whether it may be left out."""
        for element in self.elements:
            if isinstance(element, Block):
                for group in element.groups:
                    yield from ((item, True) for item in group.items)
            else:
                yield element, False

    def fields(self) -> dict[str, tuple[Field, bool]]:
        """Field name to the field and whether it may be left out."""
        return {item.name: (item, optional) for item, optional in self.items() if isinstance(item, Field)}

    def keywords(self) -> Iterator[str]:
        """Every fixed word, all alternatives."""
        for item, _ in self.items():
            if isinstance(item, Keyword):
                yield from item.alternatives

    def announced(self) -> Iterator[tuple[Keyword, Field]]:
        """The keywords that stand right before a value, with it."""
        for (first, _), (second, _) in itertools.pairwise(self.items()):
            if isinstance(first, Keyword) and isinstance(second, Field):
                yield first, second

    def usage(self, named: Callable[[str], str] = str.upper) -> str:
        """The pattern for people, in its first spelling: `backup SOURCE [to TARGET]`; `named` names its values."""

        def shown(item: Keyword | Field) -> str:
            if isinstance(item, Keyword):
                return item.alternatives[0]
            return "|".join(item.choices) or named(item.name)

        parts = []
        for element in self.elements:
            if isinstance(element, Block):
                parts += [f"[{' '.join(map(shown, group.items))}]" for group in element.groups]
            else:
                parts.append(shown(element))
        return " ".join(parts)

    def samples(self) -> Iterator[str]:
        """Lines this pattern was made for, one per spelling of a word and per group: what a clash is found with."""
        values = {
            FieldType.NAME: "x1", FieldType.WORD: "x1", FieldType.TEXT: "x1 x2", FieldType.INT: "7",
            FieldType.DATE: "2024-01-01", FieldType.LIST: "x1, x2",
        }  # fmt: skip

        def typed(items: Sequence[Keyword | Field]) -> Iterator[str]:
            spellings = [
                item.alternatives if isinstance(item, Keyword) else item.choices or (values[item.type],)
                for item in items
            ]
            return (" ".join(words) for words in itertools.islice(itertools.product(*spellings), 32))

        groups = [group for each in self.elements if isinstance(each, Block) for group in each.groups]
        for chosen in (None, *groups):
            items: list[Keyword | Field] = []
            for element in self.elements:
                if not isinstance(element, Block):
                    items.append(element)
                elif chosen in element.groups and chosen is not None:
                    items += chosen.items
            yield from typed(items)


_PATTERN = Lark(
    r"""
    pattern: (keyword | field | group)+
    group: "[" (keyword | field)+ "]"
    keyword: WORD ("|" WORD)*
    field: "{" NAME [":" TYPE ("|" TYPE)*] "}"
    WORD: /[^\s\[\]{}|]+/
    NAME: /[a-z_][a-z0-9_]*/
    TYPE: /[^\s\[\]{}|:]+/
    %import common.WS
    %ignore WS
    """,
    start="pattern",
    parser="lalr",
)


class _Reader(Transformer[Token, Pattern]):
    """Turns lark's tree into our items."""

    def keyword(self, words: list[Token]) -> Keyword:
        return Keyword(tuple(str(word).lower() for word in words))

    def field(self, parts: list[Token | None]) -> Field:
        name, *types = [str(part) for part in parts if part is not None]
        if len(types) > 1:
            return Field(name, FieldType.CHOICE, tuple(types))
        kind = types[0] if types else FieldType.NAME
        if kind not in set(FieldType) - {FieldType.CHOICE}:
            raise PatternError(f"{{{name}:{kind}}}: there is no type {kind}")
        return Field(name, FieldType(kind))

    def group(self, items: list[Keyword | Field]) -> Group:
        return Group(tuple(items))


@cache
def compile_pattern(source: str) -> Pattern:
    """The pattern behind `source`; raises PatternError with what is wrong with it."""
    try:
        parts = _Reader().transform(_PATTERN.parse(source)).children  # type: ignore[attr-defined]
    except LarkError as error:
        cause = error.__context__ if isinstance(error.__context__, PatternError) else error
        raise PatternError(f"{source!r}: {cause}") from None
    elements: list[Element] = []
    for part in parts:
        if not isinstance(part, Group):
            elements.append(part)
        elif elements and isinstance(elements[-1], Block):
            elements[-1] = Block((*elements[-1].groups, part))
        else:
            elements.append(Block((part,)))
    pattern = Pattern(source, tuple(elements))
    if not pattern.lead and not (len(elements) > 1 and isinstance(elements[1], Keyword)):
        raise PatternError(f"{source!r} must begin with a fixed word, or have one as its second")
    names = [item.name for item, _ in pattern.items() if isinstance(item, Field)]
    if len(names) != len(set(names)):
        raise PatternError(f"{source!r} names a field twice")
    sequences: list[Sequence[Element]] = [pattern.elements]
    sequences += [group.items for each in elements if isinstance(each, Block) for group in each.groups]
    for before, after in itertools.chain.from_iterable(itertools.pairwise(each) for each in sequences):
        endless = isinstance(before, Field) and before.type in (FieldType.TEXT, FieldType.LIST)
        firsts = [group.items[0] for group in after.groups] if isinstance(after, Block) else [after]
        if endless and any(isinstance(first, Field) for first in firsts):
            raise PatternError(f"{source!r}: nothing tells where {{{before.name}}} ends")  # type: ignore[union-attr]
    return pattern
