"""
What a typed line means: patterns in, a command and its values out, or what was expected instead.

Patterns are declared beside the handlers and compiled with lark (LALR):

    backup|copy {source} [to {target}] [because {reason:text}] [since {since:date}]

A plain word is typed as it stands (any case), `a|b` is either; `{field}` or `{field:type}` takes a value; groups in
`[ ]` may be left out and stand in any order among themselves. Types: `name` (one token, or anything in quotes), `word`
(the same, for things that are no names), `text` (the rest), `int`, `date`, `list` (names between commas), and `a|b|c`
(one of these). A pattern is Chinese when one of its words is.

Lines are matched by a small backtracking matcher instead of a lark grammar: without spaces
(`备份阿兴到support@原因离职`) where a token ends depends on which keywords may still follow, which no lexer can know.
The matcher tries every such end, keeps the reading that uses most keywords, then the one with the longest first values,
and remembers the furthest point it reached, which is what the reply speaks of.

Which reading wins, in words:
- A Chinese keyword ends the token before it and needs no space; a Latin keyword is a word of its own. Only keywords
  that may follow at that place divide a token. What is in quotes is never divided; a name that contains or is a keyword
  wants quotes.
- Inside a `text`, an optional group begins only behind a separator (`,` `;` `.` or a new line), or where its
  value is unmistakable: a date, a number, one of a fixed choice, or a tight list (`Inbox,Sent`, `收件箱、已发送`, or
  quoted). "because he goes to sales since monday" is all reason; "… since 2024-01-01" is a date. Groups after that
  one need no separator.
- A command with more fixed words at its start wins over one with fewer: `bin add …` is never `bin {address}`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from functools import cache, cached_property, lru_cache
from typing import Literal, TypeAlias

from lark import Lark, Token, Transformer
from lark.exceptions import LarkError
from rapidfuzz import fuzz
from rapidfuzz.distance import OSA

from bot.errors import BotError
from bot.words import LANGUAGES, Language, Words, catalogue, say

Value: TypeAlias = "str | int | date | list[str]"
Kind = Literal["unknown", "incomplete", "value"]

STEPS_MAX = 20_000  # of the matcher, for one line: a hostile line costs milliseconds, not minutes
SPLITS_MAX = 12  # places where one value may end
WANTS_SHOWN_MAX = 4  # what a reply lists as expected
CLOSE_MAX = 3  # Chinese verbs a reply offers
TYPED_SHOWN_MAX = 40  # characters of the line a reply repeats
LATER_MAX = 8  # places in a line where a verb is looked for


# -- patterns --------------------------------------------------------------------------------------------------------


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
        """The fixed words it starts with."""
        return tuple(
            element
            for element in itertools.takewhile(lambda each: isinstance(each, Keyword), self.elements)
            if isinstance(element, Keyword)
        )

    @cached_property
    def leads(self) -> tuple[str, ...]:
        """Every spelling of the lead, as one would type it."""
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
    if not pattern.lead:
        raise PatternError(f"{source!r} must begin with a fixed word")
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


# -- the line --------------------------------------------------------------------------------------------------------

_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "「": "」", "『": "』"}
_CARELESS = {'"': "”“", "“": '"“', "”": '”"“', "＂": '＂"'}  # what else people close a quote with
_PLACE = 0xF0000  # a quoted part is one private character while matching; nobody types those
_DROPPED = re.compile("[\u0000-\u0008\u000e-\u001f\u007f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_MAPPED = {"、": ",", "。": ";", "｡": ";", "–": "-", "—": "-", "−": "-", "\uff40": " ", "`": " "}
_SEPARATORS = ",;:"
_BALLAST = " ,;:，；：。、"  # what a piece of a line should not end with when it is shown
_MENTION = re.compile(r"@(?:[a-z0-9_.-]+(?: +|(?=[\u3400-\u9fff]))|[^ ]+ +)")
_POLITE = ("请帮我", "麻烦你", "请", "帮我", "麻烦", "please", "pls")


def is_cjk(char: str) -> bool:
    """A Chinese character."""
    return "\u3400" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff" or "\U00020000" <= char <= "\U0003ffff"


def is_quoted(char: str) -> bool:
    """A character of `Line.norm` that stands for a quoted part."""
    return ord(char) >= _PLACE


def is_latin(char: str) -> bool:
    """A character that sticks to its neighbour: letters, digits and what addresses are made of."""
    return char in "_-@.'&+#/" or (char.isalnum() and not is_cjk(char))


def quoted(value: str) -> str:
    """`value` in quotes that read back as exactly it; ValueError when it is empty or holds every kind of quote."""
    if value:
        for opening, closing in _QUOTES.items():
            if closing not in value and opening != "'":  # which needs a space around it
                return f"{opening}{value}{closing}"
    raise ValueError("cannot be quoted")


class Line:
    """
    A typed line, ready to match.

    `norm` is lower case and half width with one character per quoted part; `shown` is the same in the writer's case;
    `raw` is what he wrote. All three have one entry per character of `norm`, so a position means the same in each.
    The command stands in `start:end`; a text may run on to `text_end`, which keeps a question mark.
    """

    def __init__(self, typed: str) -> None:
        norm: list[str] = []
        self.shown: list[str] = []
        self.raw: list[str] = []
        self.quoted: list[str] = []
        at, unclosed = 0, set[str]()
        while at < len(typed):
            char = typed[at]
            close = -1 if char in unclosed else _closing(typed, at)
            if close > at + 1 and len(self.quoted) < 60_000:
                norm.append(chr(_PLACE + len(self.quoted)))
                self.quoted.append(typed[at + 1 : close])
                self.shown.append(self.quoted[-1])
                self.raw.append(typed[at : close + 1])
                at = close + 1
                continue
            if close < 0 and char not in "'‘":
                unclosed.add(char)
            at += 1
            if _DROPPED.match(char):
                continue
            half = _half_width(char)
            if half == "." and (at == len(typed) or typed[at].isspace()):
                half = ";"
            lower = half.lower()
            norm.append(lower if len(lower) == 1 else half)
            self.shown.append(half)
            self.raw.append(char)
        self.norm = "".join(norm)
        self.start = self._after_greeting()
        self.end = self._trimmed(" ,;:.!?")
        self.text_end = self._trimmed(" ,;:.!")

    def _after_greeting(self) -> int:
        at = 0
        while at < len(self.norm):
            if self.norm[at] in " /" or self.norm[at] in _SEPARATORS:
                at += 1
            elif mention := _MENTION.match(self.norm, at):
                at = mention.end()
            else:
                break
        return at

    def _trimmed(self, ballast: str) -> int:
        end = len(self.norm)
        while end > self.start and self.norm[end - 1] in ballast:
            end -= 1
        return end

    def skip(self, at: int) -> int:
        """The next position that is neither space nor separator."""
        while at < self.end and (self.norm[at] == " " or self.norm[at] in _SEPARATORS):
            at += 1
        return at

    def text(self, start: int, end: int) -> str:
        """What was written there, spaces collapsed; a text that is one quoted part is what the quotes hold."""
        end = self.text_end if end >= self.end else end
        while start < end and (self.norm[start] == " " or self.norm[start] in _SEPARATORS):
            start += 1
        while end > start and (self.norm[end - 1] == " " or self.norm[end - 1] in _SEPARATORS):
            end -= 1
        if end - start == 1 and is_quoted(self.norm[start]):
            return self.shown[start]
        pieces = []
        for at in range(start, end):
            if self.norm[at] != " ":
                pieces.append(self.raw[at])
            elif pieces[-1] != " ":
                pieces.append(" ")
        return "".join(pieces)

    def written(self, start: int, end: int) -> str:
        """The same with its quotes: a piece of a line that can be typed again."""
        return " ".join("".join(self.raw[start:end]).replace("`", " ").split())

    def token(self, at: int) -> str:
        """The word at a position, to repeat in a reply."""
        end = at
        while end < self.end and self.norm[end] != " ":
            end += 1
        return clipped(self.written(at, end))

    def has_word(self, at: int, word: str, *, digits_may_follow: bool = False) -> bool:
        """Whether `word` (lower case) stands there; a Latin one on its own, a Chinese one anywhere."""
        end = at + len(word)
        if end > self.end or not self.norm.startswith(word, at):
            return False
        if at > self.start and is_latin(word[0]) and is_latin(self.norm[at - 1]):
            return False
        if end < self.end and is_latin(word[-1]) and is_latin(self.norm[end]):
            return digits_may_follow and self.norm[end] in "0123456789#" and not word[-1].isdigit()
        return True


@lru_cache(4096)
def _half_width(char: str) -> str:
    if char.isspace():
        return " "
    if "\uff01" <= char <= "\uff5e" and char != "\uff40":
        return chr(ord(char) - 0xFEE0)
    if ord(char) >= _PLACE:
        return "\ufffd"
    return _MAPPED.get(char, char)


def _closing(typed: str, at: int) -> int:
    """Where the quote that opens at `at` closes; -1 when none does."""
    char = typed[at]
    if char not in _QUOTES and char not in _CARELESS:
        return -1
    if char in "'‘" and at > 0 and is_latin(typed[at - 1]):
        return -1  # an apostrophe
    if char == "'":
        close = at
        while (close := typed.find("'", close + 1)) >= 0:
            if close + 1 == len(typed) or not is_latin(typed[close + 1]):
                return close
        return -1
    close = typed.find(_QUOTES[char], at + 1) if char in _QUOTES else -1
    if close >= 0:
        return close
    others = [found for other in _CARELESS.get(char, "") if (found := typed.find(other, at + 1)) >= 0]
    return min(others, default=-1)


# -- one line against one pattern ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Want:
    """Something that was expected: a keyword, a value, or a keyword with its value."""

    keyword: str | None
    field: Field | None
    optional: bool = False

    def __str__(self) -> str:
        name = self.field.name if self.field else None
        return " ".join(part for part in (self.keyword, name) if part)

    def words(self) -> Words:
        """For a reply: "`to` and an address"."""
        if self.field is None:
            return say("grammar.want_keyword", keyword=self.keyword)
        if self.keyword is None:
            return field_words(self.field)
        return say("grammar.want_both", keyword=self.keyword, field=field_words(self.field))


def field_words(wanted: Field) -> Words:
    """What a field takes, as a person would say it; by its name if the catalogue knows it, else by its type."""
    if wanted.type is FieldType.CHOICE:
        return say("grammar.type_choice", choices=list(wanted.choices))
    key = f"grammar.field_{wanted.name}"
    return say(key if key in catalogue() else f"grammar.type_{wanted.type}")


@dataclass(frozen=True)
class _Reading:
    """One way to understand the line with a pattern."""

    args: tuple[tuple[str, Value], ...]
    keywords: int
    lengths: tuple[int, ...]

    @property
    def score(self) -> tuple[int, tuple[int, ...]]:
        return self.keywords, self.lengths


_INT = re.compile(r"(?:#|no\.? ?|第)?([0-9]{1,15})(?:号(?=[ ,;:]|$))?")
_DATE = re.compile(
    r"([0-9]{4})(?:([-/.])([0-9]{1,2})(?:\2([0-9]{1,2}))?|年 ?([0-9]{1,2})月(?: ?([0-9]{1,2})[日号]?)?)"
    r"(?: ?(?:起|以来|开始))?"
)


class _Attempt:
    """One line against one pattern; afterwards `best`, or `stop` and `wants`."""

    def __init__(self, line: Line, pattern: Pattern) -> None:
        self.line = line
        self.pattern = pattern
        self.best: _Reading | None = None
        self.stop = line.start
        self.wants: list[Want] = []
        self.lead_end = -1  # behind the fixed words; -1 while they are not all there
        self.steps = 0
        self._match(pattern.elements, line.start, (), len(pattern.lead), 0, ())

    def _match(
        self,
        rest: tuple[Element, ...],
        at: int,
        args: tuple[tuple[str, Value], ...],
        lead_left: int,
        keywords: int,
        lengths: tuple[int, ...],
    ) -> None:
        self.steps += 1
        if self.steps > STEPS_MAX:
            return
        if lead_left == 0 and self.lead_end < 0:
            self.lead_end = at
        start = self.line.skip(at)
        if not rest:
            if start >= self.line.end:
                reading = _Reading(args, keywords, lengths)
                if self.best is None or reading.score > self.best.score:
                    self.best = reading
            else:
                self._fail(start)
            return
        element, tail = rest[0], rest[1:]
        if isinstance(element, Keyword):
            following = tail[0] if tail and isinstance(tail[0], Field) else None
            number = following is not None and following.type is FieldType.INT
            found = False
            for word in element.alternatives:
                if self.line.has_word(start, word, digits_may_follow=number):
                    found = True
                    self._match(tail, start + len(word), args, max(lead_left - 1, 0), keywords + 1, lengths)
            if not found:
                self._fail(start, Want(element.alternatives[0], following))
        elif isinstance(element, Field):
            found = False
            for end, value in self._values(element, start, at, tail):
                found = True
                self._match(tail, end, (*args, (element.name, value)), lead_left, keywords, (*lengths, end - start))
            if not found:
                self._fail(start, Want(None, element))
        else:
            for number_, group in enumerate(element.groups):
                left = element.groups[:number_] + element.groups[number_ + 1 :]
                after = (Block(left), *tail) if left else tail
                self._match_group(group, after, start, at, args, keywords, lengths)
            self._match(tail, at, args, lead_left, keywords, lengths)

    def _match_group(
        self,
        group: Group,
        after: tuple[Element, ...],
        start: int,
        at: int,
        args: tuple[tuple[str, Value], ...],
        keywords: int,
        lengths: tuple[int, ...],
    ) -> None:
        """Enter a group if it begins here; that it does not is no mistake, only something that could have been."""
        first = group.items[0]
        if isinstance(first, Keyword):
            following = group.items[1] if len(group.items) > 1 else None
            number = isinstance(following, Field) and following.type is FieldType.INT
            begins = any(self.line.has_word(start, word, digits_may_follow=number) for word in first.alternatives)
            want = Want(first.alternatives[0], following if isinstance(following, Field) else None, optional=True)
        else:
            rest = (*group.items[1:], *after)
            begins = any(True for _ in self._values(first, start, at, rest))
            want = Want(None, first, optional=True)
        if begins:
            self._match((*group.items, *after), at, args, 0, keywords, lengths)
        else:
            self._fail(start, want)

    def _fail(self, at: int, *wants: Want) -> None:
        if at > self.stop:
            self.stop, self.wants = at, []
        if at == self.stop:
            self.wants += [want for want in wants if want not in self.wants]

    # values: each gives (end, value) for every place where the value may end

    def _values(self, wanted: Field, start: int, at: int, rest: tuple[Element, ...]) -> Iterator[tuple[int, Value]]:
        if start >= self.line.end:
            return iter(())
        match wanted.type:
            case FieldType.INT:
                return self._number(start)
            case FieldType.DATE:
                return self._date(start)
            case FieldType.CHOICE:
                return self._choice(wanted, start)
            case FieldType.TEXT:
                return self._text(start, rest)
            case FieldType.LIST:
                return self._list(start, at, rest)
            case _:
                return self._name(start, at, rest)

    def _number(self, start: int) -> Iterator[tuple[int, Value]]:
        found = _INT.match(self.line.norm, start, self.line.end)
        if found and self._ends(found.end()):
            yield found.end(), int(found[1])

    def _date(self, start: int) -> Iterator[tuple[int, Value]]:
        found = _DATE.match(self.line.norm, start, self.line.end)
        if found and self._ends(found.end()):
            year, _, month, day, month_zh, day_zh = found.groups()
            try:
                yield found.end(), date(int(year), int(month or month_zh), int(day or day_zh or 1))
            except ValueError:
                return

    def _choice(self, wanted: Field, start: int) -> Iterator[tuple[int, Value]]:
        for choice in sorted(wanted.choices, key=len, reverse=True):
            if self.line.has_word(start, choice.lower()):
                yield start + len(choice), choice
                return

    def _ends(self, at: int) -> bool:
        """A number or a date does not go on into a Latin word."""
        return at >= self.line.end or not is_latin(self.line.norm[at])

    def _name(self, start: int, at: int, rest: tuple[Element, ...]) -> Iterator[tuple[int, Value]]:
        norm, line = self.line.norm, self.line
        if is_quoted(norm[start]):
            yield start + 1, line.shown[start]
            return
        if self._is_keyword(start, at, rest):
            return
        end = start
        while end < line.end and norm[end] not in " ,;" and not is_quoted(norm[end]):
            end += 1
        splits = self._openings(start + 1, end, rest)
        whole = () if splits and self._leaves_nothing(splits, end, rest) else (end,)
        for stop in (*whole, *splits):
            if value := "".join(line.shown[start:stop]).rstrip(":"):
                yield stop, value

    def _leaves_nothing(self, splits: Sequence[int], end: int, rest: tuple[Element, ...]) -> bool:
        """Whether a token taken whole would swallow the only keyword there is: `备份阿兴到`, `登记ahing@删除于明天`."""
        following = rest[0]
        if isinstance(following, Keyword):
            return not any(word in self.line.norm[end : self.line.end] for word in following.alternatives)
        tail = self.line.norm[splits[-1] : end]
        return self.line.skip(end) >= self.line.end and any(tail in kw.alternatives for kw, _, _ in _openers(rest))

    def _list(self, start: int, at: int, rest: tuple[Element, ...]) -> Iterator[tuple[int, Value]]:
        if not is_quoted(self.line.norm[start]) and self._is_keyword(start, at, rest):
            return
        for stop in (self.line.end, *self._openings(start + 1, self.line.end, rest)):
            if items := self._items(start, stop):
                yield stop, items

    def _items(self, start: int, end: int) -> list[str]:
        """The names between commas."""
        items, first = [], start
        for at in range(start, end + 1):
            if at == end or self.line.norm[at] in ",;":
                items.append(self.line.text(first, at))
                first = at + 1
        return [item for item in items if item]

    def _text(self, start: int, rest: tuple[Element, ...]) -> Iterator[tuple[int, Value]]:
        if self._openings(start, start + 1, rest, in_text=True):
            return  # "because, to support@" gives no reason
        for stop in (self.line.end, *self._openings(start + 1, self.line.end, rest, in_text=True)):
            if value := self.line.text(start, stop):
                yield stop, value

    # where a value may end because something else begins

    def _openings(self, start: int, end: int, rest: tuple[Element, ...], *, in_text: bool = False) -> list[int]:
        """Positions in `start:end` where what may follow begins, in order."""
        places = set[int]()
        for keyword, following, optional in _openers(rest):
            for word in keyword.alternatives:
                at = start - 1
                while 0 <= (at := self.line.norm.find(word, at + 1, end + len(word) - 1)) < end:
                    if len(places) >= 4 * SPLITS_MAX:
                        break
                    if self.line.has_word(at, word) and not (
                        in_text and optional and not self._announced(at, at + len(word), following)
                    ):
                        places.add(at)
        return sorted(places)[:SPLITS_MAX]

    def _announced(self, at: int, end: int, following: Field | None) -> bool:
        """Whether a group really begins inside a text: behind a separator, or with a value nobody writes in prose."""
        before = at - 1
        while before > 0 and self.line.norm[before] == " " and self.line.raw[before] != "\n":
            before -= 1
        if self.line.norm[before] in ",;" or self.line.raw[before] == "\n":
            return True
        start = self.line.skip(end)
        if following is None or start >= self.line.end:
            return False
        if following.type is FieldType.LIST:
            norm = self.line.norm
            token_end = next((at for at in range(start, self.line.end) if norm[at] == " "), self.line.end)
            tight = "," in norm[start:token_end].strip(",") and "，" not in self.line.raw[start:token_end]
            return tight or is_quoted(norm[start])
        if following.type in (FieldType.DATE, FieldType.INT, FieldType.CHOICE):
            return any(True for _ in self._values(following, start, end, ()))
        return False

    def _is_keyword(self, start: int, at: int, rest: tuple[Element, ...]) -> bool:
        """
        Whether what follows begins right here, so that the value is missing: `备份到support@`, `backup to support@`.

        Behind a space, Chinese text may begin with a keyword's character: `备份 给力 到 support@`.
        """
        spaced = start > at
        for keyword, _, _ in _openers(rest):
            for word in keyword.alternatives:
                if self.line.has_word(start, word):
                    end = start + len(word)
                    goes_on = end < self.line.end and is_cjk(self.line.norm[end])
                    if not (spaced and is_cjk(word[-1]) and goes_on):
                        return True
        return False


def _openers(rest: tuple[Element, ...]) -> Iterator[tuple[Keyword, Field | None, bool]]:
    """The keywords that may come next, each with the value behind it and whether it may be left out."""
    for number, element in enumerate(rest):
        if isinstance(element, Block):
            for group in element.groups:
                first, *others = group.items
                if isinstance(first, Keyword):
                    following = others[0] if others and isinstance(others[0], Field) else None
                    yield first, following, True
        elif isinstance(element, Keyword):
            after = rest[number + 1] if number + 1 < len(rest) else None
            yield element, after if isinstance(after, Field) else None, False
            return
        else:
            return


def clash(one: Pattern, other: Pattern) -> str | None:
    """A line that both patterns understand with the same fixed words at its start; None when there is none."""
    for first, second in ((one, other), (other, one)):
        for sample in first.samples():
            line = Line(sample)
            attempts = _Attempt(line, first), _Attempt(line, second)
            if all(each.best for each in attempts) and attempts[0].lead_end == attempts[1].lead_end:
                return sample
    return None


# -- the grammar -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CommandSpec:
    """A command: its name (the handler's), its patterns in both languages, one example per language."""

    name: str
    patterns: tuple[str, ...]
    examples: Mapping[Language, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Parsed:
    """A line understood; values are typed as the pattern says, fields left out are absent."""

    command: str
    args: dict[str, Value]
    language: Language


class NotUnderstood(BotError):
    """
    A line that is no command, or almost one.

    `kind`: unknown (no such verb), incomplete (it stops, or goes on with something else, where `expected` should
    stand), value (`rest` is no date, number or choice). `command` is the nearest one or None; `missing` the field that
    lacks when the line just ends; `suggestion` a whole line for "did you mean"; `close` Chinese verbs that look alike;
    `said` what was understood so far.
    """

    def __init__(
        self,
        kind: Kind,
        language: Language,
        *,
        command: str | None = None,
        wants: Sequence[Want] = (),
        missing: str | None = None,
        suggestion: str | None = None,
        close: Sequence[str] = (),
        said: str = "",
        rest: str = "",
        example: str | None = None,
    ) -> None:
        super().__init__(f"{kind}: {command or rest}")
        self.kind: Kind = kind
        self.language: Language = language
        self.command = command
        self.wants = tuple(wants)
        self.missing = missing
        self.suggestion = suggestion
        self.close = tuple(close)
        self.said = said
        self.rest = rest
        self.example = example

    @property
    def expected(self) -> tuple[str, ...]:
        """What could have stood at `rest`: "to target", "reason"."""
        return tuple(str(want) for want in self.wants)

    def words(self) -> Words:
        """The reply: what was understood, what was expected, what to type instead."""
        if self.kind == "unknown":
            if self.suggestion:
                return say("grammar.unknown_suggestion", typed=self.rest, suggestion=self.suggestion)
            if self.close:
                return say("grammar.unknown_close", typed=self.rest, close=list(self.close))
            return say("grammar.unknown", typed=self.rest) if self.rest else say("grammar.empty")
        if self.suggestion:
            return say("grammar.suggestion", said=self.said, rest=self.rest, suggestion=self.suggestion)
        if self.kind == "value":
            first = next(want.field for want in self.wants if want.field is not None)
            return say("grammar.value", rest=self.rest, field=field_words(first), example=self.example)
        if not self.wants:
            return say("grammar.too_much", said=self.said, rest=self.rest, example=self.example)
        shown = [want.words() for want in self.wants[:WANTS_SHOWN_MAX]]
        if len(shown) == 1:
            return say("grammar.incomplete", said=self.said, expected=shown[0], example=self.example)
        either = say("grammar.either", firsts=shown[:-1], last=shown[-1])
        return say("grammar.incomplete", said=self.said, expected=either, example=self.example)


@dataclass(frozen=True)
class _Entry:
    command: CommandSpec
    pattern: Pattern


@dataclass(frozen=True)
class _Outcome:
    """A line against all patterns: understood, or stopped at `stop` for `entry`; neither when no verb fits."""

    line: Line
    parsed: Parsed | None = None
    entry: _Entry | None = None
    stop: int = 0
    wants: tuple[Want, ...] = ()
    lead_end: int = -1  # behind the fixed words of `entry`; -1 when they were not all there


class Grammar:
    """All commands. Pure: made once, then asked line by line."""

    def __init__(self, commands: Sequence[CommandSpec]) -> None:
        """Raises PatternError for a pattern that cannot be compiled."""
        self.commands = tuple(commands)
        self._entries = [
            _Entry(command, compile_pattern(pattern)) for command in commands for pattern in command.patterns
        ]
        self._by_first: dict[str, list[_Entry]] = {}
        for entry in self._entries:
            for first in dict.fromkeys(word[0] for word in entry.pattern.lead[0].alternatives):
                self._by_first.setdefault(first, []).append(entry)
        self._leads = [(lead, entry) for entry in self._entries for lead in entry.pattern.leads]

    def parse(self, line: str) -> Parsed:
        """The command a line means; raises NotUnderstood, and nothing else, for a line that means none."""
        outcome = self._understand(line)
        if outcome.parsed is not None:
            return outcome.parsed
        if outcome.entry is None:
            raise self._unknown(outcome.line)
        raise self._almost(outcome, outcome.entry)

    def example(self, command: CommandSpec, language: Language) -> str:
        """One line that works, in the language if there is one."""
        for each in (language, *LANGUAGES):
            if each in command.examples:
                return command.examples[each]
        patterns = [compile_pattern(source) for source in command.patterns]
        return min(patterns, key=lambda pattern: pattern.language != language).usage()

    # understanding

    def _understand(self, typed: str) -> _Outcome:
        line = Line(typed)
        if line.end - line.start == 1 and is_quoted(line.norm[line.start]):
            line = Line(line.shown[line.start])  # somebody copied a whole command with its quotes
        entries = self._beginning(line)
        if not entries:
            for word in _POLITE:
                if line.has_word(line.start, word):
                    polite, line.start = line.start, line.skip(line.start + len(word))
                    if entries := self._beginning(line):
                        break
                    line.start = polite
        attempts = [(entry, _Attempt(line, entry.pattern)) for entry in entries]
        if not attempts:
            return _Outcome(line)
        understood = [(attempt.lead_end, attempt.best.score, number) for number, (_, attempt) in enumerate(attempts)
                      if attempt.best is not None]  # fmt: skip
        best = max(understood, default=None, key=lambda each: (each[0], each[1], -each[2]))
        lead_end = best[0] if best else -1
        failed = [(entry, attempt) for entry, attempt in attempts if attempt.best is None]
        if best is not None:
            # more fixed words win even when the rest is not right yet; one that has words too many gives way
            failed = [
                (entry, attempt)
                for entry, attempt in failed
                if attempt.lead_end > lead_end and (attempt.stop >= line.end or _bad_value(attempt.wants))
            ]
        if best is not None and not failed:
            entry, attempt = attempts[best[2]]
            assert attempt.best is not None  # noqa: S101 - chosen among those that have one
            return _Outcome(line, Parsed(entry.command.name, dict(attempt.best.args), entry.pattern.language))
        entry, furthest = max(failed, key=lambda each: (each[1].lead_end >= 0, each[1].lead_end, each[1].stop))
        wants = [
            want
            for other, attempt in failed
            if (attempt.lead_end, attempt.stop) == (furthest.lead_end, furthest.stop)
            and other.pattern.language == entry.pattern.language
            for want in attempt.wants
        ]
        return _Outcome(line, None, entry, furthest.stop, tuple(dict.fromkeys(wants)), furthest.lead_end)

    def _beginning(self, line: Line) -> list[_Entry]:
        """The patterns whose first word the line begins with."""
        if line.start >= line.end:
            return []
        found = []
        for entry in self._by_first.get(line.norm[line.start], ()):
            elements = entry.pattern.elements
            following = elements[1] if len(elements) > 1 else None
            number = isinstance(following, Field) and following.type is FieldType.INT
            words = entry.pattern.lead[0].alternatives
            if any(line.has_word(line.start, word, digits_may_follow=number) for word in words):
                found.append(entry)
        return found

    def _works(self, typed: str) -> bool:
        return self._understand(typed).parsed is not None

    # explaining

    def _almost(self, outcome: _Outcome, entry: _Entry) -> NotUnderstood:
        line, stop = outcome.line, outcome.stop
        ended = stop >= line.end
        kind: Kind = "value" if not ended and _bad_value(outcome.wants) else "incomplete"
        wants = outcome.wants
        if kind == "value":
            wants = tuple(want for want in wants if want.keyword is None and not want.optional)
        missing = next((want.field.name for want in wants if want.field and not want.optional), None)
        suggestion = None
        if not ended:
            suggestion = self._repaired(line, stop, outcome.wants, entry.command) or self._other_lead(
                line, outcome.lead_end
            )
        command = entry.command.name
        if suggestion is not None:
            command = self.parse(suggestion).command
        return NotUnderstood(
            kind,
            entry.pattern.language,
            command=command,
            wants=wants,
            missing=missing if ended or kind == "incomplete" else None,
            suggestion=suggestion,
            said=clipped(line.written(line.start, stop).rstrip(_BALLAST)),
            rest="" if ended else line.token(stop),
            example=self.example(entry.command, entry.pattern.language),
        )

    def _repaired(self, line: Line, stop: int, wants: Sequence[Want], command: CommandSpec) -> str | None:
        """The line with a keyword put right that is misspelt or of the other language, or one put in that lacks."""
        before = line.written(line.start, stop).rstrip(_BALLAST)
        rest = line.written(stop, len(line.norm))
        token, _, behind = rest.partition(" ")
        other_words: dict[str, list[str]] = {}
        for source in command.patterns:
            for word, following in compile_pattern(source).announced():
                other_words.setdefault(following.name, []).extend(word.alternatives)
        known = [(want.keyword, want.field) for want in wants if want.keyword]
        for keyword, field_ in sorted(known, key=lambda each: -fuzz.ratio(each[0], token.lower())):
            if _alike(keyword, token.lower()) or (field_ and token.lower() in other_words.get(field_.name, ())):
                repaired = f"{before} {keyword} {behind}".strip()
                if self._works(repaired):
                    return repaired
        for keyword, field_ in known:
            repaired = f"{before} {keyword} {rest}"
            kind = field_.type if field_ else None
            if kind in (FieldType.LIST, FieldType.WORD):
                continue  # anything would fit
            if kind is FieldType.TEXT and any(other in line.norm[stop:] for other, _ in known):
                continue  # it would swallow a keyword that is there
            if self._works(repaired):
                return repaired
        return None

    def _other_lead(self, line: Line, lead_end: int = -1) -> str | None:
        """The line with its first words put right, if that makes it a command; what is right up to `lead_end` stays."""
        right = line.norm[line.start : max(lead_end, line.start)]
        for lead, end in self._near_leads(line):
            if not lead.startswith(right) or len(lead) == len(right):
                continue
            repaired = f"{lead} {line.written(end, len(line.norm))}".strip()
            if self._works(repaired):
                return repaired
        return None

    def _unknown(self, line: Line) -> NotUnderstood:
        language: Language = "zh" if any(map(is_cjk, line.norm[line.start : line.end])) else "en"
        near = self._near_leads(line)
        suggestion, close = self._other_lead(line) or self._later(line), list[str]()
        command = None
        if near:
            command = next((entry.command.name for lead, entry in self._leads if lead == near[0][0]), None)
        scores = [fuzz.ratio(lead, line.norm[line.start : end]) for lead, end in near]
        if language == "zh" and len(near) > 1 and scores[0] - scores[1] < 1:
            close = [lead for lead, _ in near[:CLOSE_MAX]]
            suggestion = None
        elif suggestion is None and near:
            lead, end = near[0]
            suggestion = f"{lead} {line.written(end, len(line.norm))}".strip()
        if suggestion is not None and (parsed := self._understand(suggestion).parsed):
            command = parsed.command
        return NotUnderstood(
            "unknown",
            language,
            command=command,
            suggestion=suggestion,
            close=close,
            rest=clipped(line.written(line.start, line.end)),
        )

    def _near_leads(self, line: Line) -> list[tuple[str, int]]:
        """Leads that look like the line's beginning, nearest first, with where they would end in it."""
        norm, start = line.norm, line.start
        ends = [place.end() for place in itertools.islice(re.finditer(r"[^ ]+", norm[start : line.end]), 6)]
        found: dict[str, tuple[float, int]] = {}
        for lead, entry in self._leads:
            if entry.pattern.language == "zh":
                end, left = start, len(lead)
                while end < line.end and left:
                    left -= norm[end] != " "
                    end += 1
                typed = norm[start:end].replace(" ", "")
                score = fuzz.ratio(lead, typed)
                near = score >= 50 and OSA.distance(lead, typed) <= 1
            else:
                count = lead.count(" ") + 1
                if len(ends) < count:
                    continue
                end = start + ends[count - 1]
                typed = norm[start:end]
                score = fuzz.ratio(lead, typed)
                near = _alike(lead, typed)
            if near and typed != lead:
                found[lead] = max(found.get(lead, (0.0, 0)), (score, end))
        return [(lead, end) for lead, (score, end) in sorted(found.items(), key=lambda each: -each[1][0])]

    def _later(self, line: Line) -> str | None:
        """The rest of the line from the first verb that makes it a command: "hello, could you backup ahing"."""
        places = set[int]()
        for lead, entry in self._leads:
            word = lead.split(" ", 1)[0] if entry.pattern.language == "en" else lead
            at = line.norm.find(word, line.start + 1, line.end)
            if at >= 0 and line.has_word(at, word):
                places.add(at)
        for at in sorted(places)[:LATER_MAX]:
            later = line.written(at, len(line.norm))
            if self._works(later):
                return later
        return None


def _bad_value(wants: Sequence[Want]) -> bool:
    """Whether a number, a date or one of a choice had to stand there."""
    typed = (FieldType.INT, FieldType.DATE, FieldType.CHOICE)
    return any(want.field and want.field.type in typed and not want.keyword and not want.optional for want in wants)


def _alike(word: str, typed: str) -> bool:
    """Whether `typed` is a slip of the finger for `word`; Chinese words are too short to tell."""
    if len(typed) < 2 or typed == word or any(map(is_cjk, word)):
        return False
    if len(word) < 4:
        return len(typed) <= len(word) + 1 and OSA.distance(word, typed) <= 1 and word[0] == typed[0]
    return fuzz.ratio(word, typed) >= 75 or OSA.distance(word, typed) <= 1


def clipped(text: str) -> str:
    """Short enough to repeat in a reply."""
    return text if len(text) <= TYPED_SHOWN_MAX else text[: TYPED_SHOWN_MAX - 1] + "…"
