"""
From a stored callback to what is decided: one transaction, no network.

The handler runs in a savepoint. What it raises on purpose becomes the reply; a bug marks the row failed, answers with
a reference that is in the log, and tells the admins once.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy.exc import DBAPIError

from bot import delivery, messages
from bot.context import Choose, Context, Missing
from bot.directory import Ambiguous, phrase_of
from bot.errors import UserError
from bot.grammar import NotUnderstood
from bot.jobs import Start
from bot.messages import CardClick, EnteredChat, MenuClick, Message, TextMessage
from bot.policy import Policy, Role, Roles
from bot.replies import Button, Card, CardUpdate, Choice, Reply, Text
from bot.router import Match, Router
from bot.settings import Settings
from bot.words import Language, Words, lines, say
from storage.models import InboxMessage, InboxState, PendingQuestion
from storage.names import PHRASE_MAX

if TYPE_CHECKING:
    from storage.store import Store, Transaction

log = structlog.get_logger()

CHINESE = re.compile(r"[\u4e00-\u9fff]")
LATIN = re.compile(r"[A-Za-z]{3}")
FOUR_BY_FOUR = r"(?:[A-Za-z0-9]{4}[ \t-]){3}[A-Za-z0-9]{4}(?![A-Za-z0-9])"  # as webmail shows a client password
SPACED_PASSWORD = re.compile(rf"(?<![A-Za-z0-9]){FOUR_BY_FOUR}")
NAMED_PASSWORD = re.compile(
    rf"(?:password|passwd|pwd|密码|授权码)\s*(?:is|是)?\s*[:：=]?\s*({FOUR_BY_FOUR}|[A-Za-z0-9]{{16}}(?![A-Za-z0-9]))",
    re.IGNORECASE,
)
CLIENT_PASSWORD = re.compile(r"(?<![A-Za-z0-9@._-])[A-Za-z0-9]{16}(?![A-Za-z0-9@._-])")
SAID_PASSWORD = re.compile(r"(?:password|passwd|pwd|密码|授权码)\s*(?:is|[:：=是])\s*[:：=]?\s*(\S{6,})", re.IGNORECASE)
SCRUBBED = "********"
NO_SUCH = frozenset({"directory.unknown", "directory.unknown_nearest", "context.only_auditors"})
ASKED = re.compile(r"怎么|怎样|如何|为什么|吗$|[?？]$")  # 邮箱满了怎么办 asks about no mailbox that is called so
CHOICES_MAX = 10
TELL_ADMINS_EVERY = timedelta(hours=1)
ATTEMPTS_MAX = 5  # workflows of one message that met the database away or busy; then it counts as a bug
CHOOSE = "choose"  # the button of a card with a choice
CHOICE = "choice"  # what such a card is about
IN_LIST = "#"  # between an argument that is a list and the place in it that is asked about


def interesting(router: Router, message: Message, tx: Transaction) -> bool:
    """Whether anybody handles it; what nobody does is counted and ends in the callback."""
    if isinstance(message, EnteredChat):
        member = tx.members.find(message.sender)
        return member is None or member.greeted_at is None
    if isinstance(message, (TextMessage, CardClick, MenuClick)):
        return True
    return router.event_for(message) is not None


class Dispatcher:
    """Decides stored callbacks."""

    def __init__(self, store: Store, router: Router, settings: Settings, policy: Policy) -> None:
        self._store = store
        self._router = router
        self._settings = settings
        self._policy = policy

    def decide(self, inbox_id: int) -> list[Start]:
        """Decide a message, and before it any earlier one of its sender; what to start, also when asked again."""
        starts: list[Start] = []
        while True:
            with self._store.begin() as tx:
                row = tx.inbox.get(inbox_id)
                earlier = tx.inbox.earlier_open(row) if row.state is InboxState.NEW else None
                done = self.decide_row(tx, earlier or row)
                starts += done
                if earlier is None:
                    return starts

    def decide_row(self, tx: Transaction, row: InboxMessage) -> list[Start]:
        """One row, in the transaction it is decided in."""
        if row.state is not InboxState.NEW:
            return [Start(**each) for each in row.outcome]
        message = messages.parse(row.fields)
        ctx = self.context(tx, message)
        if isinstance(message, CardClick):
            self.keep_code(tx, message)
        reference = None
        try:
            with tx.savepoint():
                starts = self.written(ctx, self.handle(ctx, row, message))
        except Exception as error:
            if isinstance(error, DBAPIError) and row.attempt < ATTEMPTS_MAX:
                raise  # the database is away or busy: nothing is decided, the row is tried again
            ctx.starts = []
            spoken = self.perhaps_meant(ctx, message, error) or self.spoken(ctx, error)
            if spoken is None:
                reference = secrets.token_hex(4)
                log.exception("decide_failed", message_key=row.key, kind=row.kind, reference=reference)
                spoken = self.apology(ctx, row, reference)
            starts = self.written(ctx, spoken)
        outcome = [asdict(start) for start in starts]
        if reference is None:
            tx.inbox.handled(row, outcome)
        else:
            tx.inbox.failed(row, reference, outcome)
        return starts

    def written(self, ctx: Context, replies: list[Reply]) -> list[Start]:
        """The replies as rows, and all that is to be started."""
        starts = [start for reply in replies for start in delivery.add(ctx.tx, reply, self._settings)]
        ctx.tx.session.flush()
        return [*ctx.starts, *starts]

    def keep_code(self, tx: Transaction, click: CardClick) -> None:
        """The code that came with a click is kept whatever becomes of the click."""
        card = tx.cards.find(click.task_id)
        if click.code and card is not None and card.member == click.sender:
            tx.cards.keep(click.task_id, click.sender, click.code, clicked=True)

    def context(self, tx: Transaction, message: Message) -> Context:
        """What the handler gets; the language is the one the sender types in."""
        member = tx.members.find(message.sender)
        language: Language = delivery.language_of(tx, message.sender, self._settings)
        if isinstance(message, TextMessage) and (typed := self.language_meant(tx, message)) is not None:
            language = typed
            if member is None and message.sender:
                member = tx.members.saw(message.sender)
            if member is not None:
                member.language = typed
        return Context(tx, message.sender, language, self._settings, self._policy, roles(tx, self._settings))

    def language_meant(self, tx: Transaction, message: TextMessage) -> Language | None:
        """
        The language a line is typed in; None when that cannot be told.

        Of a command it is the command's: a Chinese name in an English line is no change, nor is an answer by name.
        """
        question = tx.questions.find(message.sender)
        if question is not None and self.answer_to(question, message.content) is not None:
            return None
        try:
            return self._router.dispatch_line(message.content).language
        except NotUnderstood:
            free = question is not None and not question.choices
            return None if free else language_typed(message.content)

    def handle(self, ctx: Context, row: InboxMessage, message: Message) -> list[Reply]:
        """Whom the message is for, and what he says."""
        if isinstance(message, TextMessage):
            return self.handle_text(ctx, row, message.content)
        if isinstance(message, CardClick):
            return self.handle_click(ctx, message)
        if isinstance(message, MenuClick):
            return self.run(ctx, self._router.menu_for(message.key))
        if isinstance(message, EnteredChat) and not interesting(self._router, message, ctx.tx):
            return []  # he came twice before the first greeting was decided
        match = self._router.event_for(message)
        return self.run(ctx, match) if match is not None else []

    def handle_text(self, ctx: Context, row: InboxMessage, content: str) -> list[Reply]:
        """A typed line: a pasted password, an answer to a question, or a command."""
        if (scrubbed := without_password(content)) != content:
            ctx.tx.inbox.scrub(row, "Content", scrubbed)
            ctx.tx.audit.add(ctx.sender, "password.pasted", ctx.sender)
            return [Text(ctx.sender, say("dispatcher.password_pasted"))]
        if not content.strip():
            return []
        question = ctx.tx.questions.find(ctx.sender)
        if question is not None:
            answer = self.answer_to(question, content)
            if answer is not None:
                return self.resume(ctx, question, answer)
        try:
            match = self._router.dispatch_line(content)
        except NotUnderstood:
            if question is not None and not question.choices:
                return self.resume(ctx, question, content.strip())
            raise
        return self.settled(ctx) + self.run(ctx, match)

    def settled(self, ctx: Context) -> list[Reply]:
        """No question is open any more: its card is greyed, so that it cannot answer the next one."""
        ctx.tx.questions.drop(ctx.sender)
        done = say("dispatcher.chosen")
        return [
            CardUpdate(card.task_id, Card(ctx.sender, CHOICE, say("dispatcher.choose"), done=done))
            for card in ctx.tx.cards.open_about(CHOICE, ctx.sender)
        ]

    def handle_click(self, ctx: Context, click: CardClick) -> list[Reply]:
        """A pressed button."""
        card = ctx.tx.cards.find(click.task_id)
        if card is None or card.member != ctx.sender:
            raise UserError(say("dispatcher.card_unknown"))
        ctx.task_id, ctx.selected = click.task_id, click.selected
        if click.key == CHOOSE:
            question = ctx.tx.questions.find(ctx.sender)
            chosen = next((each for options in click.selected.values() for each in options), None)
            offered = [each["value"] for each in question.choices] if question is not None else []
            if question is None or card.closed_at is not None or chosen not in offered:
                raise UserError(say("dispatcher.choice_gone"))
            return self.resume(ctx, question, str(chosen))
        return self.run(ctx, self._router.action_for(click.key))

    def answer_to(self, question: PendingQuestion, content: str) -> str | None:
        """The choice a line names, by number, value or label; None when it is something else."""
        typed = content.strip().casefold()
        for number, choice in enumerate(question.choices, 1):
            if typed in (str(number), str(choice["value"]).casefold(), str(choice["label"]).casefold()):
                return str(choice["value"])
        named = [each for each in question.choices if typed == str(each["label"]).rpartition(" (")[0].casefold() != ""]
        return str(named[0]["value"]) if len(named) == 1 else None

    def resume(self, ctx: Context, question: PendingQuestion, answer: str) -> list[Reply]:
        """Go on with a command whose missing word is there now."""
        settled = self.settled(ctx)
        command = self._router.get(question.command)
        args = {name: revived(value) for name, value in question.args.items()}
        name, _, position = question.missing.partition(IN_LIST)
        args[name] = [*args[name][: int(position)], answer, *args[name][int(position) + 1 :]] if position else answer
        replies = self.run(ctx, Match(command.handler, args, ctx.language, command.role, command))
        if question.typed is not None and ctx.tx.names.choose(ctx.sender, phrase_of(question.typed), answer):
            label = next((each["label"] for each in question.choices if each["value"] == answer), answer)
            replies = led_by(say("directory.chosen", typed=phrase_of(question.typed), who=label), replies, ctx.sender)
        return settled + replies

    def run(self, ctx: Context, match: Match) -> list[Reply]:
        """Call the handler; what it misses is asked for."""
        wanted = Role(match.role)
        if wanted in (Role.ADMIN, Role.SUPER_ADMIN):
            ctx.require(wanted, Role.SUPER_ADMIN)
        elif wanted is not Role.MEMBER:
            ctx.require(wanted, Role.ADMIN, Role.SUPER_ADMIN)
        ctx.args = match.args
        name = match.command.name if match.command is not None else None
        try:
            return self.naming(ctx, match, list(match.call(ctx)))
        except Missing as missing:
            goes_on, args = (missing.command, missing.known) if missing.command is not None else (name, match.args)
            if goes_on is None:
                raise UserError(missing.words) from None
            ctx.tx.questions.ask(ctx.sender, goes_on, stored(args), missing.parameter)
            return [Text(ctx.sender, missing.words)]
        except Ambiguous as ambiguous:
            parameter = place_of(ambiguous.typed, match.args)
            if name is None or parameter is None:
                raise
            labels = [(each.value, each.label) for each in ambiguous.candidates]
            which = say("dispatcher.which", typed=ambiguous.typed)
            return self.ask_choice(ctx, name, match.args, parameter, which, labels, typed=ambiguous.typed)
        except Choose as choose:
            goes_on, args = (choose.command, choose.known) if choose.command is not None else (name, match.args)
            if goes_on is None:
                raise UserError(choose.words) from None
            return self.ask_choice(ctx, goes_on, args, choose.parameter, choose.words, choose.choices)

    def naming(self, ctx: Context, match: Match, replies: list[Reply]) -> list[Reply]:
        """What an admin's command does, it says for whom: one who was only guessed, or chosen once, is named."""
        if Role(match.role) not in (Role.ADMIN, Role.SUPER_ADMIN):
            return replies  # who only looks sees whom he looks at
        said = "\n".join(
            each.words.text(ctx.language) if isinstance(each.words, Words) else each.words
            for each in replies
            if isinstance(each, Text) and each.to == ctx.sender
        )
        unsaid = [
            each for each in dict.fromkeys(ctx.directory.taken) if not any(name in said for name in each.known_by)
        ]
        return led_by(lines(*(each.words() for each in unsaid)), replies, ctx.sender) if unsaid else replies

    def ask_choice(
        self,
        ctx: Context,
        command: str,
        args: Mapping[str, Any],
        parameter: str,
        words: Words,
        labels: list[tuple[str, str]],
        *,
        typed: str | None = None,
    ) -> list[Reply]:
        """A card with a selector, and the same as words: a number does, too. What is `typed` fits them all."""
        choices = [{"value": value, "label": label} for value, label in labels[:CHOICES_MAX]]
        kept = typed if typed is None or len(typed) <= PHRASE_MAX else None
        ctx.tx.questions.ask(ctx.sender, command, stored(args), parameter, choices, typed=kept)
        numbered = "\n".join(f"{number}. {each['label']}" for number, each in enumerate(choices, 1))
        card = Card(
            ctx.sender,
            CHOICE,
            words,
            buttons=[Button(CHOOSE, say("dispatcher.choose"))],
            choices=[Choice(each["value"], each["label"]) for each in choices],
        )
        return [card, Text(ctx.sender, say("dispatcher.or_type_number", list=numbered))]

    def perhaps_meant(self, ctx: Context, message: Message, error: Exception) -> list[Reply]:
        """To what somebody asked in words of his own: the commands that come near; nothing when there is better."""
        if not isinstance(message, TextMessage):
            return []
        no_command = isinstance(error, NotUnderstood) and error.kind == "unknown" and not error.suggestion
        a_question = isinstance(error, UserError) and error.words.key in NO_SUCH and ASKED.search(message.content)
        return self._router.about(ctx, message.content) if no_command or a_question else []

    def spoken(self, ctx: Context, error: Exception) -> list[Reply] | None:
        """What an error on purpose says; None for a bug."""
        if isinstance(error, UserError):
            return [Text(ctx.sender, error.words)]
        if isinstance(error, NotUnderstood):
            return [Text(ctx.sender, error.words())]
        if isinstance(error, Ambiguous):
            named = [each.label for each in error.candidates]
            return [Text(ctx.sender, say("dispatcher.several", typed=error.typed, candidates=named))]
        return None

    def apology(self, ctx: Context, row: InboxMessage, reference: str) -> list[Reply]:
        """A bug: the sender gets a reference, the admins are told once an hour."""
        told: list[Reply] = []
        if row.sender and row.sender != "sys":
            told.append(Text(row.sender, say("dispatcher.bug", reference=reference)))
        if ctx.tx.moments.first_within("bug-told", TELL_ADMINS_EVERY):
            for admin in ctx.roles.admins:
                if admin != row.sender:
                    told.append(Text(admin, say("dispatcher.bug_for_admins", reference=reference)))
        return told


def led_by(words: Words, replies: list[Reply], sender: str) -> list[Reply]:
    """The replies, with something said first: at the head of the first text, which saves a message."""
    first = next((each for each in replies if isinstance(each, Text) and each.to == sender), None)
    if first is None or first is not replies[0]:
        return [Text(sender, words), *replies]
    return [replace(first, words=lines(words, first.words)), *replies[1:]]


def place_of(typed: str, args: Mapping[str, Any]) -> str | None:
    """The argument that was typed so; `people#1` in a list of them."""
    for name, value in args.items():
        if value == typed:
            return name
        if isinstance(value, list) and typed in (each.strip() for each in value):
            return f"{name}{IN_LIST}{[each.strip() for each in value].index(typed)}"
    return None


def roles(tx: Transaction, settings: Settings) -> Roles:
    """Who has which role now: settings, and the tags as last read."""
    held: dict[Role, set[str]] = {
        Role.SUPER_ADMIN: set(settings.bot_super_admins),
        Role.ADMIN: set(settings.bot_admins),
        Role.APPROVER: set(settings.bot_approvers),
        Role.AUDITOR: set(settings.bot_auditors),
    }
    for name, tag_id in settings.bot_role_tags.items():
        held[Role(name)] |= tx.members.tagged(tag_id)
    return Roles({role: frozenset(userids) for role, userids in held.items()})


def language_typed(content: str) -> Language | None:
    """The language of a line, when it can be told."""
    if CHINESE.search(content):
        return "zh"
    return "en" if LATIN.search(content) else None


def without_password(content: str) -> str:
    """
    The line with what looks like a mail password blacked out.

    A client password has 16 letters, shown in four groups of four: as the whole message, or mixed as no words are. Or
    it is what follows the word.
    """
    if CLIENT_PASSWORD.fullmatch(content.strip()):
        return SCRUBBED
    content = NAMED_PASSWORD.sub(lambda found: found[0].replace(found[1], SCRUBBED), content)
    content = SPACED_PASSWORD.sub(lambda found: SCRUBBED if is_shuffled(found[0]) else found[0], content)
    content = SAID_PASSWORD.sub(lambda found: found[0].replace(found[1], SCRUBBED), content)
    return CLIENT_PASSWORD.sub(lambda found: SCRUBBED if is_mixed(found[0]) else found[0], content)


def is_shuffled(groups: str) -> bool:
    """Whether four groups are no four words: a capital inside one, or letters and digits in one."""
    return any(is_mixed(each) for each in re.split(r"[ \t-]", groups))


def is_mixed(token: str) -> bool:
    """Whether a token mixes cases, or letters and digits, as no word does."""
    inner = token[1:]
    return (inner.lower() != inner and inner.upper() != inner) or (not token.isalpha() and not token.isdigit())


def stored(args: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as JSON."""
    return {name: {"date": value.isoformat()} if isinstance(value, date) else value for name, value in args.items()}


def revived(value: Any) -> Any:
    """An argument as it was before it was stored."""
    return date.fromisoformat(value["date"]) if isinstance(value, dict) else value
