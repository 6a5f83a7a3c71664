"""One line against one pattern: the best reading, or where it stopped and what was expected there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from bot.grammar.line import Line, is_cjk, is_latin, is_quoted
from bot.grammar.pattern import Block, Element, Field, FieldType, Group, Keyword, Pattern, Value
from bot.words import Words, catalogue, say

STEPS_MAX = 20_000  # of the matcher, for one line: a hostile line costs milliseconds, not minutes
SPLITS_MAX = 12  # places where one value may end


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


class Attempt:
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
            attempts = Attempt(line, first), Attempt(line, second)
            if all(each.best for each in attempts) and attempts[0].lead_end == attempts[1].lead_end:
                return sample
    return None
