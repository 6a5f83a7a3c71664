"""A line against all patterns: a command with its values, or what to type instead."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rapidfuzz import fuzz
from rapidfuzz.distance import OSA

from bot.errors import BotError
from bot.grammar.attempt import Attempt, Want, field_words
from bot.grammar.line import BALLAST, POLITE, Line, clipped, is_cjk, is_quoted
from bot.grammar.pattern import Field, FieldType, Pattern, Value, compile_pattern
from bot.words import LANGUAGES, Language, Words, say

Kind = Literal["unknown", "incomplete", "value"]

WANTS_SHOWN_MAX = 4  # what a reply lists as expected
CLOSE_MAX = 3  # Chinese verbs a reply offers
LATER_MAX = 8  # places in a line where a verb is looked for


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
        self._leadless = [entry for entry in self._entries if not entry.pattern.lead]
        for entry in self._entries:
            if not entry.pattern.lead:
                continue
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
            for word in POLITE:
                if line.has_word(line.start, word):
                    polite, line.start = line.start, line.skip(line.start + len(word))
                    if entries := self._beginning(line):
                        break
                    line.start = polite
        attempts = [(entry, Attempt(line, entry.pattern)) for entry in entries]
        if not any(attempt.best for _, attempt in attempts) and (parsed := self._leaderless(line)) is not None:
            return _Outcome(line, parsed)
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

    def _leaderless(self, line: Line) -> Parsed | None:
        """The line as one that begins with a value, perhaps with somebody who is mentioned."""
        start = line.start
        for begins in dict.fromkeys((line.first, start)):
            line.start = begins
            for entry in self._leadless if line.start < line.end else ():
                if (best := Attempt(line, entry.pattern).best) is not None:
                    return Parsed(entry.command.name, dict(best.args), entry.pattern.language)
        line.start = start
        return None

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
            said=clipped(line.written(line.start, stop).rstrip(BALLAST)),
            rest="" if ended else line.token(stop),
            example=self.example(entry.command, entry.pattern.language),
        )

    def _repaired(self, line: Line, stop: int, wants: Sequence[Want], command: CommandSpec) -> str | None:
        """The line with a keyword put right that is misspelt or of the other language, or one put in that lacks."""
        before = line.written(line.start, stop).rstrip(BALLAST)
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
