"""
Who handles what: typed commands, card buttons, menu entries and events, each declared beside its handler.

A handler takes a context and the pattern's fields as parameters. What does not fit (a field without a parameter, an
optional field without a default, another type, two commands that mean the same line) is refused when the module is
imported.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, TypeVar

from bot.errors import UserError
from bot.grammar import CommandSpec, Field, FieldType, Grammar, NotUnderstood, Pattern, PatternError, clash
from bot.grammar import compile_pattern as compiled
from bot.words import LANGUAGES, Language, say

Handler = Callable[..., Any]
F = TypeVar("F", bound=Handler)

Role = Literal["member", "auditor", "approver", "admin", "super_admin"]
ROLES: tuple[Role, ...] = typing.get_args(Role)


class UnknownAction(UserError):
    """A button or menu entry of another time, or a forged one."""

    def __init__(self) -> None:
        super().__init__(say("grammar.unknown_action"))


@dataclass(frozen=True)
class Command:
    """A command as `help` shows it; `doc` is the docstring's first line, its Chinese stands under `help_key`."""

    name: str
    handler: Handler
    patterns: Mapping[Language, tuple[Pattern, ...]]
    role: Role
    topic: str
    example: Mapping[Language, str]
    doc: str

    @property
    def help_key(self) -> str:
        """The catalogue's key of its help."""
        return f"help.{self.name}"

    @property
    def spec(self) -> CommandSpec:
        """What the grammar needs of it."""
        sources = tuple(pattern.source for each in self.patterns.values() for pattern in each)
        return CommandSpec(self.name, sources, self.example)


@dataclass(frozen=True)
class Match:
    """Whom to call: `match.handler(ctx, **match.args)`, if the sender has `role`; `language` only of typed lines."""

    handler: Handler
    args: Mapping[str, Any] = field(default_factory=dict)
    language: Language | None = None
    role: Role = "member"
    command: Command | None = None

    def call(self, ctx: object) -> Any:
        """What the handler returns."""
        return self.handler(ctx, **self.args)


class Router:
    """The handlers of one module, or of all once `include`d."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self._actions: dict[str, tuple[Handler, Role | None]] = {}
        self._menus: dict[str, tuple[Handler, Role | None]] = {}
        self._events: dict[type, Handler] = {}
        self._otherwise: Handler | None = None
        self._grammar: Grammar | None = None

    # declaring

    def command(
        self, *patterns: str, topic: str, role: Role = "member", example: tuple[str, str] | None = None
    ) -> Callable[[F], F]:
        """
        The handler answers lines of these patterns, in both languages.

        `example` is an English and a Chinese line that work. Raises PatternError when patterns, parameters, docstring
        or example do not fit, or a command that is there already means the same line.
        """

        def register(handler: F) -> F:
            by_language: dict[Language, tuple[Pattern, ...]] = {
                language: tuple(each for each in map(compiled, patterns) if each.language == language)
                for language in LANGUAGES
            }
            name = handler.__name__
            doc = (inspect.getdoc(handler) or "").partition("\n")[0].strip()
            if not doc:
                raise PatternError(f"{name}: the docstring's first line is the help, and there is none")
            if role not in ROLES:
                raise PatternError(f"{name}: there is no role {role}")
            _check_parameters(handler, by_language, also_clicked=handler in self._clicked())
            examples = dict(zip(LANGUAGES, example, strict=True)) if example else {}
            command = Command(name, handler, by_language, role, topic, examples, doc)
            own = Grammar([command.spec])
            for language, line in examples.items():
                try:
                    understood = own.parse(line).language
                except NotUnderstood as error:
                    raise PatternError(f"{name}: its example {line!r} does not work: {error}") from None
                if understood != language:
                    raise PatternError(f"{name}: its example {line!r} is not in {language}")
            self._add(command)
            return handler

        return register

    def action(self, name: str, *, role: Role | None = None) -> Callable[[F], F]:
        """
        The handler answers card buttons whose key is `name:rowid[:extra]`.

        The parts are given to the int and str parameters, in order; the last str takes what is left.
        Without `role` it is that of the handler's command, else everybody's.
        """
        return self._clickable(self._actions, name, role)

    def menu(self, name: str, *, role: Role | None = None) -> Callable[[F], F]:
        """The handler answers the menu entry whose key is `name[:part …]`."""
        return self._clickable(self._menus, name, role)

    def event(self, message_type: type) -> Callable[[F], F]:
        """The handler, `f(ctx, message)`, answers messages of this type."""

        def register(handler: F) -> F:
            if message_type in self._events:
                raise PatternError(f"{message_type.__name__} has a handler already")
            if len(inspect.signature(handler).parameters) != 2:
                raise PatternError(f"{handler.__name__} must take a context and a message")
            self._events[message_type] = handler
            return handler

        return register

    def otherwise(self, handler: F) -> F:
        """The handler, `f(ctx, line)`, is asked about a line that is no command; what it returns may be nothing."""
        if self._otherwise is not None:
            raise PatternError("two handlers for what is no command")
        self._otherwise = handler
        return handler

    def include(self, other: Router) -> None:
        """Take over everything another router knows; raises PatternError on a clash."""
        for command in other.commands:
            self._add(command)
        for mine, theirs in ((self._actions, other._actions), (self._menus, other._menus)):
            if twice := mine.keys() & theirs.keys():
                raise PatternError(f"two handlers for {', '.join(sorted(twice))}")
            mine.update(theirs)
        if known := self._events.keys() & other._events.keys():
            raise PatternError(f"two handlers for {', '.join(sorted(each.__name__ for each in known))}")
        self._events.update(other._events)
        if other._otherwise is not None:
            self.otherwise(other._otherwise)

    # asking

    def about(self, ctx: object, line: str) -> list[Any]:
        """What there is to say to a line that is no command; nothing when nobody knows."""
        return list(self._otherwise(ctx, line)) if self._otherwise is not None else []

    @property
    def grammar(self) -> Grammar:
        """All commands, compiled once."""
        if self._grammar is None:
            self._grammar = Grammar([command.spec for command in self.commands])
        return self._grammar

    def dispatch_line(self, line: str) -> Match:
        """Whom a typed line is for; raises NotUnderstood."""
        parsed = self.grammar.parse(line)
        command = self.get(parsed.command)
        return Match(command.handler, parsed.args, parsed.language, command.role, command)

    def action_for(self, key: str) -> Match:
        """Whom a card button is for; raises UnknownAction for a key nobody handles."""
        return self._clicked_match(self._actions, key)

    def menu_for(self, key: str) -> Match:
        """Whom a menu entry is for; raises UnknownAction for a key nobody handles."""
        return self._clicked_match(self._menus, key)

    def event_for(self, message: object) -> Match | None:
        """Whom a message is for, by its type or a parent of it; None when nobody wants it."""
        for kind in type(message).__mro__:
            if handler := self._events.get(kind):
                name = list(inspect.signature(handler).parameters)[1]
                return Match(handler, {name: message})
        return None

    def get(self, name: str) -> Command:
        """The command of that name, which must exist."""
        return next(command for command in self.commands if command.name == name)

    # inside

    def _add(self, command: Command) -> None:
        for other in self.commands:
            if other.name == command.name:
                raise PatternError(f"two commands are called {command.name}")
            for language in LANGUAGES:
                for mine in command.patterns[language]:
                    for theirs in other.patterns[language]:
                        if line := _share_first_word(mine, theirs) and clash(mine, theirs):
                            raise PatternError(f"{line!r} could be {command.name} or {other.name}")
        self.commands.append(command)
        self._grammar = None

    def _clicked(self) -> set[Handler]:
        return {handler for handler, _ in (*self._actions.values(), *self._menus.values())}

    def _clickable(
        self, table: dict[str, tuple[Handler, Role | None]], name: str, role: Role | None
    ) -> Callable[[F], F]:
        def register(handler: F) -> F:
            if name in table or ":" in name or not name:
                raise PatternError(f"{name!r} is taken, empty or holds a colon")
            if role is not None and role not in ROLES:
                raise PatternError(f"{name}: there is no role {role}")
            for parameter in _parameters(handler):
                if parameter.default is parameter.empty and _bare(handler, parameter) not in (int, str):
                    raise PatternError(f"{handler.__name__}: a button cannot give {parameter.name}, only int and str")
            table[name] = (handler, role)
            return handler

        return register

    def _clicked_match(self, table: dict[str, tuple[Handler, Role | None]], key: str) -> Match:
        name, *parts = key.split(":")
        if name not in table:
            raise UnknownAction
        handler, role = table[name]
        command = next((each for each in self.commands if each.handler is handler), None)
        parameters = [each for each in _parameters(handler) if _bare(handler, each) in (int, str)]
        if len(parts) > len(parameters) > 0 and _bare(handler, parameters[-1]) is str:
            kept = len(parameters) - 1
            parts = [*parts[:kept], ":".join(parts[kept:])]
        needed = [each for each in parameters if each.default is each.empty]
        if not len(needed) <= len(parts) <= len(parameters):
            raise UnknownAction
        args: dict[str, int | str] = {}
        for parameter, part in zip(parameters, parts, strict=False):
            if _bare(handler, parameter) is str:
                args[parameter.name] = part
            elif part.isascii() and part.isdecimal() and len(part) <= 18:
                args[parameter.name] = int(part)
            else:
                raise UnknownAction
        return Match(handler, args, None, role or (command.role if command else "member"), command)


def _share_first_word(one: Pattern, other: Pattern) -> bool:
    if not one.lead or not other.lead:
        return not one.lead and not other.lead
    return not set(one.lead[0].alternatives).isdisjoint(other.lead[0].alternatives)


def _parameters(handler: Handler) -> list[inspect.Parameter]:
    """What a handler takes behind its context."""
    parameters = list(inspect.signature(handler).parameters.values())
    if not parameters or any(each.kind is not each.POSITIONAL_OR_KEYWORD for each in parameters):
        raise PatternError(f"{handler.__name__} must take a context, then plain parameters")
    return parameters[1:]


def _bare(handler: Handler, parameter: inspect.Parameter) -> Any:
    """A parameter's type without `| None`."""
    holder = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        # only this parameter: the context's type may be known to the type checker alone
        hint = typing.get_type_hints(holder, getattr(handler, "__globals__", {})).get(parameter.name)
    except NameError as error:
        raise PatternError(f"{handler.__name__}({parameter.name}): {error}") from None
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [each for each in typing.get_args(hint) if each is not type(None)]
        return options[0] if len(options) == 1 else hint
    return hint


def _fits(kind: Field, hint: Any) -> bool:
    """Whether a parameter's type is what the field gives."""
    if kind.type is FieldType.INT:
        return hint is int
    if kind.type is FieldType.DATE:
        return hint is date
    if kind.type is FieldType.LIST:
        return bool(hint == list[str])
    if kind.type is FieldType.CHOICE and typing.get_origin(hint) is Literal:
        return set(typing.get_args(hint)) >= set(kind.choices)
    return hint is str


def _check_parameters(handler: Handler, patterns: Mapping[Language, Iterable[Pattern]], *, also_clicked: bool) -> None:
    """Raises PatternError unless the fields of the patterns are the parameters of the handler, in each language."""
    name = handler.__name__
    parameters = {each.name: each for each in _parameters(handler)}
    every = [pattern.fields() for each in patterns.values() for pattern in each]
    for key, parameter in parameters.items():
        demanded = all(key in fields and not fields[key][1] for fields in every)
        if demanded and parameter.default is not parameter.empty and not also_clicked:
            raise PatternError(f"{name}({key}) has a default, but every pattern demands it")
    for language, each in patterns.items():
        if not each:
            raise PatternError(f"{name} has no pattern in {language}")
        seen = set[str]()
        for pattern in each:
            fields = pattern.fields()
            seen |= fields.keys()
            for key, (kind, optional) in fields.items():
                if key not in parameters:
                    raise PatternError(f"{name} has no parameter for {{{key}}} of {pattern.source!r}")
                if optional and parameters[key].default is inspect.Parameter.empty:
                    raise PatternError(f"{name}({key}) wants a default: {pattern.source!r} can leave it out")
                if not _fits(kind, hint := _bare(handler, parameters[key])):
                    raise PatternError(f"{name}({key}) is {hint}, but {{{key}}} of {pattern.source!r} is {kind.type}")
            for key, parameter in parameters.items():
                if key not in fields and parameter.default is inspect.Parameter.empty:
                    raise PatternError(f"{name}({key}) is needed, but {pattern.source!r} does not give it")
        if (lost := parameters.keys() - seen) and not also_clicked:
            raise PatternError(f"{name}: no pattern in {language} gives {', '.join(sorted(lost))}")
