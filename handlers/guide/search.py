"""Which command does what somebody asks about: by its own words, its help, and what people call it (`help leaver`)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from rapidfuzz import fuzz

import bot
from bot.grammar.line import is_cjk
from bot.router import Command
from bot.words import catalogue

WORDS = Path(bot.__file__).parent / "data" / "help_words.toml"
FOUND_MAX = 6
CLOSE_BY = 12  # points below the best that are shown, too
SCORE_MIN = 60
SLIP_MIN = 82  # of a word misspelt
WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?|[\u3400-\u9fff]+")
FILLERS = frozenset(
    re.findall(
        r"\w+",
        "a an the to of for in on at is are be i me my you we can could how do does what please want need with and or",
    )
)
FILLERS_CHINESE = re.compile("怎么|怎样|如何|请问|请|我想|我要|想要|想|要|把|给|的|了|吗|呢|啊|一下|一个|个")


def search(commands: Sequence[Command], asked: str) -> list[Command]:
    """The commands that do it, the best first; none when nothing comes near."""
    wanted = words_of(asked)
    if not wanted:
        return []
    scored = [(score(each, wanted), each) for each in commands]
    best = max((points for points, _ in scored), default=0)
    if best < SCORE_MIN:
        return []
    found = sorted((each for each in scored if each[0] >= max(best - CLOSE_BY, SCORE_MIN)), key=lambda each: -each[0])
    return [command for _, command in found[:FOUND_MAX]]


def score(command: Command, wanted: Sequence[str]) -> float:
    """How well a command is what was asked about: 100 for what people call it, less for a part of its words."""
    points = max((alike(wanted, phrase) for phrase in phrases(command.name)), default=0.0)
    leads = [words_of(lead) for patterns in command.patterns.values() for each in patterns for lead in each.leads]
    points = max([points, *(alike(wanted, tuple(lead)) - 1 for lead in leads)])
    help_words = {stem(word) for text in catalogue()[command.help_key].values() for word in words_of(text)}
    if points < SCORE_MIN and all(
        stem(word) in help_words or (is_cjk(word[0]) and len(word) > 1 and any(word in each for each in help_words))
        for word in wanted
    ):
        return SCORE_MIN + 5
    return points


def alike(wanted: Sequence[str], phrase: Sequence[str]) -> float:
    """The same words: 100; one side holds the other: less, the more is left over; slips of the finger less still."""
    if tuple(wanted) == tuple(phrase):
        return 100
    mine, theirs = {stem(each) for each in wanted}, {stem(each) for each in phrase}
    if not theirs:
        return 0
    if mine == theirs:
        return 98
    if any(is_cjk(each[0]) for each in mine | theirs):
        one, other = "".join(wanted), "".join(phrase)
        if len(one) > 1 and len(other) > 1 and (one in other or other in one):
            return 95 - 4 * abs(len(one) - len(other))
        return 0
    if mine < theirs:
        return 90 - 8 * len(theirs - mine)
    if theirs < mine:
        return 88 - 8 * len(mine - theirs)
    likeness = fuzz.ratio(" ".join(wanted), " ".join(phrase))
    return likeness - 10 if likeness >= SLIP_MIN else 0


def words_of(text: str) -> tuple[str, ...]:
    """The words that mean something: no fillers, no signs, no case."""
    found = WORD.findall(FILLERS_CHINESE.sub(" ", text.casefold()))
    return tuple(each for each in found if each not in FILLERS) or tuple(found)


def stem(word: str) -> str:
    """A word without its endings: mailboxes, deleted and deleting are mailbox and delet."""
    for ending in ("ing", "es", "ed", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) > 2:
            return word[: -len(ending)]
    return word


@cache
def phrases(command: str) -> tuple[tuple[str, ...], ...]:
    """What people call what a command does, each as its words."""
    return tuple(words_of(each) for each in what_people_say().get(command, "").split(","))


@cache
def what_people_say() -> dict[str, str]:
    """The file of words, by command."""
    return {str(name): str(words) for name, words in tomllib.loads(WORDS.read_text("utf-8")).items()}
