"""What can be typed: made from the handlers themselves, filtered by role; the menu, and the first greeting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from rapidfuzz import fuzz, process

from bot.context import Context
from bot.errors import UserError
from bot.grammar import Pattern
from bot.messages import EnteredChat
from bot.policy import Role
from bot.replies import Reply, Text
from bot.router import Command, Router
from bot.wecom import cards
from bot.wecom.limits import TEXT_BYTES
from bot.words import Words, catalogue, say
from bot.work import JobContext, SweepStep, Work
from storage.models import JobState

router = Router()
work = Work()

TOPICS = ("backup", "reassign", "addresses", "bin", "public", "groups", "jobs", "approvals", "people", "domain", "help")
SMALL_TALK = "small talk"  # understood, but not worth a line of help
MENU = (
    ("help.menu_jobs", "jobs"),
    ("help.menu_me", "my_mailbox"),
    ("help.menu_help", "help"),
)
MENU_EVERY = timedelta(days=1)
NEAR_SCORE_MIN = 60
EXAMPLES_SHOWN = 3  # of a topic, in the list of topics

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
    "help|commands [{topic:text}]", "帮助|指令|命令 [{topic:text}]", topic="help", example=("help backup", "帮助 备份")
)
@router.menu("help")
def help_(ctx: Context, topic: str | None = None) -> list[Reply]:
    """What you can type here, or more about one word."""
    mine = commands_for(ctx)
    if topic is not None:
        return [Text(ctx.sender, each) for each in packed(details(ctx, mine, topic))]
    whole = packed(by_topic(ctx, mine, line_of, say("help.more")))
    if len(whole) > 1:  # an admin can do much: what each line does is told topic by topic
        whole = packed(by_topic(ctx, mine, example_of, say("help.more_by_topic")))
    if len(whole) > 1:
        whole = packed(topics(ctx, mine))
    return [Text(ctx.sender, each) for each in whole]


def by_topic(ctx: Context, mine: list[Command], line: Callable[[Context, Command], str], end: Words) -> list[str]:
    """A greeting, the commands under their headings, and a last sentence."""
    parts = [say("help.hello", name=ctx.directory.name(ctx.sender)).text(ctx.language)]
    for name in dict.fromkeys((*TOPICS, *(each.topic for each in mine))):
        of_topic = [line(ctx, each) for each in mine if each.topic == name]
        if of_topic:
            parts.append("\n".join([say(f"help.topic_{name}").text(ctx.language), *of_topic]))
    return [*parts, end.text(ctx.language)]


def topics(ctx: Context, mine: list[Command]) -> list[str]:
    """Every heading, how to read on there, and what one can type there for example."""
    parts = [say("help.hello_topics", name=ctx.directory.name(ctx.sender)).text(ctx.language)]
    for name in dict.fromkeys((*TOPICS, *(each.topic for each in mine))):
        of_topic = [each for each in mine if each.topic == name]
        if of_topic:
            word = name if ctx.language == "en" else topic_word(ctx, of_topic[0])
            heading = say(f"help.topic_{name}").text(ctx.language)
            how = say("help.read_on", heading=heading, count=len(of_topic), topic=word).text(ctx.language)
            parts.append("\n".join([how, *(example_of(ctx, each) for each in of_topic[:EXAMPLES_SHOWN])]))
    return [*parts, say("help.more_topics").text(ctx.language)]


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
    """Every command that has the word as its topic or in its first words, else in its patterns or its help."""
    word = " ".join(topic.split()).strip("`?？").casefold()
    found = [each for each in mine if word == each.topic or word in leads(each) or word == topic_word(ctx, each)]
    if not found:
        found = [
            each
            for each in mine
            if len(word) > 1
            and (
                any(word in pattern.source.casefold() for patterns in each.patterns.values() for pattern in patterns)
                or word in what_it_does(ctx, each).casefold()
            )
        ]
    if not found:
        near = nearest(mine, word)
        if near is None:
            raise UserError(say("help.nothing_about", topic=topic))
        raise UserError(say("help.nothing_but", topic=topic, near=near))
    whole = [in_full(ctx, each) for each in found]
    if len(found) > 1 and len(packed(whole)) > 1:  # one line for each; `help public add` says more about one
        lead = found[-1].patterns[ctx.language][-1].leads[0]
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


@router.command("hello|hi|hey", "你好|您好", topic=SMALL_TALK, example=("hello", "你好"))
def say_hello(ctx: Context) -> list[Reply]:
    """Say hello."""
    return [Text(ctx.sender, greeting(ctx, ctx.directory.name(ctx.sender)))]


def greeting(ctx: Context, name: str) -> Words:
    """What the bot is for, and what to type first."""
    admin = ctx.may(Role.ADMIN, Role.SUPER_ADMIN)
    return say("help.greeting_admin" if admin else "help.greeting", name=name)


@router.command("thanks", "thank you", "谢谢|多谢", topic=SMALL_TALK, example=("thanks", "谢谢"))
def say_thanks(ctx: Context) -> list[Reply]:
    """Say thank you."""
    return [Text(ctx.sender, say("help.welcome"))]


@router.event(EnteredChat)
def greet(ctx: Context, message: EnteredChat) -> list[Reply]:
    """Greet who opens the chat, at most once a day."""
    member = ctx.tx.members.find(message.sender) or ctx.tx.members.saw(message.sender)
    member.greeted_at = ctx.now
    return [Text(ctx.sender, greeting(ctx, member.name))]


@work.sweep("menu", MENU_EVERY)
def set_menu_daily(sweep: SweepStep) -> None:
    """Set the menu once a day: somebody may have changed it in the console."""
    sweep.start(sweep.tx.jobs.add("menu", asked_by="bot", params={}))


@work.job("menu")
def set_menu(job: JobContext) -> None:
    """The bot's menu, in the language of the organisation."""
    language = job.services.settings.bot_language
    buttons = [{"type": "click", "name": say(key).text(language), "key": name} for key, name in MENU]
    cards.create_menu(job.client, buttons)
    with job.begin() as step:
        step.tx.jobs.end(step.job, JobState.DONE)
