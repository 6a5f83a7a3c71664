"""What can be typed: made from the handlers themselves, filtered by role. `help` fits one screen of a phone."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from rapidfuzz import fuzz, process

from bot.context import Context
from bot.errors import UserError
from bot.grammar import Pattern
from bot.policy import Role
from bot.replies import Reply, Text
from bot.router import Command, Router
from bot.wecom.limits import TEXT_BYTES
from bot.words import catalogue, say
from bot.work import Work
from handlers.guide.search import search

router = Router()
work = Work()

TOPICS = ("backup", "reassign", "addresses", "bin", "public", "groups", "jobs", "approvals", "people", "domain", "help")
SMALL_TALK = "small talk"  # understood, but not worth a line of help
NEAR_SCORE_MIN = 60
SCREEN_LINES = 15  # of a phone, between the title and the keyboard
LINE_COLUMNS = 30  # Latin letters in a bubble 390 px wide; a Chinese character takes two
PERHAPS_MAX = 4  # commands offered for words that are none
TYPED_SHOWN = 60  # characters
EXAMPLES_MAX = 3  # of a topic, where there is room
FIRST = ("my_mailbox", "approvals_list")  # the examples of their topics that everybody wants first

_all_commands: list[Callable[[], list[Command]]] = []


def knows(commands: Callable[[], list[Command]]) -> None:
    """Where to find every command, once all features are put together."""
    _all_commands[:] = [commands]


def commands_for(ctx: Context) -> list[Command]:
    """The commands the sender may use."""
    held = ctx.roles.of(ctx.sender)
    admin = bool(held & {Role.ADMIN, Role.SUPER_ADMIN})
    commands = _all_commands[0]() if _all_commands else []
    return [each for each in commands if each.topic != SMALL_TALK and (admin or Role(each.role) in held)]


def example_of(ctx: Context, command: Command) -> str:
    """What to type, for example."""
    return command.example.get(ctx.language) or usage(ctx, command.patterns[ctx.language][0])


def line_of(ctx: Context, command: Command) -> str:
    """A command in two lines: what to type, and what it does."""
    return f"{example_of(ctx, command)}\n   {what_it_does(ctx, command)}"


def usage(ctx: Context, pattern: Pattern) -> str:
    """A pattern with the names of its values in the reader's language."""
    return pattern.usage(lambda name: say(f"help.slot_{name}").text(ctx.language))


def what_it_does(ctx: Context, command: Command) -> str:
    """A command's help, in the reader's language."""
    return catalogue()[command.help_key][ctx.language]


@router.command(
    "help|commands [{topic:text}]",
    "what can you do",
    "帮助|指令|命令 [{topic:text}]",
    "你能做什么|你会什么|你能干什么",
    topic="help",
    example=("help backup", "帮助 备份"),
)
@router.menu("help")
def help_(ctx: Context, topic: str | None = None) -> list[Reply]:
    """What you can type here, or more about one word."""
    mine = commands_for(ctx)
    if topic is not None:
        return [Text(ctx.sender, each) for each in packed(details(ctx, mine, topic))]
    return [Text(ctx.sender, "\n".join(screen(ctx, mine)))]


@router.otherwise
def perhaps(ctx: Context, line: str) -> list[Reply]:
    """The commands that come near what was asked in other words, whoever it was about; nothing when none does."""
    words = [each for each in line.split() if ctx.tx.members.find(each.casefold().removesuffix("'s")) is None]
    about = " ".join(words)
    for name in sorted((each.name for each in ctx.directory.everybody), key=len, reverse=True):
        about = about.replace(name, " ")
    found = search(commands_for(ctx), about)[:PERHAPS_MAX]
    lines = "\n".join(f"· {example_of(ctx, each)}" for each in found)
    return [Text(ctx.sender, say("help.perhaps", typed=line[:TYPED_SHOWN], lines=lines))] if found else []


def screen(ctx: Context, mine: list[Command]) -> list[str]:
    """Every topic in a line, with as many examples as one screen has room for, and how to find anything else."""
    language = ctx.language
    head = say("help.hello", name=ctx.directory.name(ctx.sender)).text(language)
    end = say("help.in_your_words").text(language)
    topics: list[tuple[str, list[str]]] = []
    for name in dict.fromkeys((*TOPICS, *(each.topic for each in mine))):
        of_topic = sorted((each for each in mine if each.topic == name), key=lambda each: each.name not in FIRST)
        if of_topic:
            word = name if language == "en" and name != "help" else topic_word(ctx, of_topic[0])
            brief = say(f"help.brief_{name}")
            examples = [f"· {example_of(ctx, each)}" for each in of_topic]
            topics.append(
                (
                    say("help.topic_line", topic=word, brief=brief).text(language),
                    [each for each in examples if height(each) == 1],
                )
            )
    for count in range(EXAMPLES_MAX, -1, -1):
        shown = [head, *(line for topic, examples in topics for line in (topic, *examples[:count])), end]
        if sum(map(height, shown)) <= SCREEN_LINES:
            break
    return shown


def height(line: str) -> int:
    """How many lines it takes on a phone, broken anywhere, as Chinese is."""
    return max(1, -(-sum(2 if unicodedata.east_asian_width(each) in "WFA" else 1 for each in line) // LINE_COLUMNS))


def packed(parts: Sequence[str]) -> list[str]:
    """Parts that belong together, put into as few messages as their length needs (2048 bytes each)."""
    messages: list[str] = []
    for part in parts:
        joined = f"{messages[-1]}\n\n{part}" if messages else part
        if messages and len(joined.encode()) <= TEXT_BYTES:
            messages[-1] = joined
        else:
            messages.append(part)
    return messages


def details(ctx: Context, mine: list[Command], topic: str) -> list[str]:
    """Every command that has the word as its topic or in its first words, else those that do what it says."""
    word = " ".join(topic.split()).strip("`?？“”").casefold()
    found = [each for each in mine if word == each.topic or word in leads(each) or word == topic_word(ctx, each)]
    found = found or search(mine, word)
    if not found:
        near = nearest(mine, word)
        if near is None:
            raise UserError(say("help.nothing_about", topic=topic))
        raise UserError(say("help.nothing_but", topic=topic, near=near))
    whole = [in_full(ctx, each) for each in found]
    if len(found) > 1 and len(packed(whole)) > 1:  # one line for each; `help public add` says more about one
        lead = next(
            pattern.leads[0] for each in reversed(found) for pattern in each.patterns[ctx.language] if pattern.leads
        )
        return [*(line_of(ctx, each) for each in found), say("help.more_about", lead=lead).text(ctx.language)]
    return whole


def in_full(ctx: Context, command: Command) -> str:
    """What a command does, every way to type it, and an example."""
    return "\n".join(
        [
            what_it_does(ctx, command),
            *(f"· {usage(ctx, pattern)}" for pattern in command.patterns[ctx.language]),
            say("help.for_example", example=command.example.get(ctx.language, "")).text(ctx.language),
        ]
    )


def leads(command: Command) -> set[str]:
    """The words a command begins with, in both languages: whole, and the first alone."""
    wholes = {lead for patterns in command.patterns.values() for pattern in patterns for lead in pattern.leads}
    return {each.casefold() for each in wholes} | {each.split(" ", 1)[0].casefold() for each in wholes}


def topic_word(ctx: Context, command: Command) -> str:
    """The heading of a command's topic, without its dashes."""
    return say(f"help.topic_{command.topic}").text(ctx.language).strip("— ").casefold()


def nearest(mine: list[Command], word: str) -> str | None:
    """The beginning of a command that looks like the word."""
    found = process.extractOne(
        word, sorted({lead for each in mine for lead in leads(each)}), scorer=fuzz.ratio, score_cutoff=NEAR_SCORE_MIN
    )
    return None if found is None else str(found[0])
