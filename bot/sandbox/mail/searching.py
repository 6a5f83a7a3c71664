"""SEARCH as RFC 3501 means it, for the day `search_ignores_keys` is switched off."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

from bot.sandbox.mail import parts
from bot.sandbox.mail.boxes import Message
from bot.sandbox.mail.parsing import MONTHS, SET, SHANGHAI, Arguments, BadSyntax, ranges

Test = Callable[[int, Message], bool]

FLAG_KEYS = {"ANSWERED": "\\Answered", "DELETED": "\\Deleted", "DRAFT": "\\Draft", "FLAGGED": "\\Flagged"}
FLAG_KEYS |= {"SEEN": "\\Seen"}
FIELD_KEYS = ("FROM", "TO", "CC", "BCC", "SUBJECT")


def conditions(arguments: Arguments, last_number: int, last_uid: int) -> Test:
    """What a message and its number must meet; BadSyntax for a key that is unknown here."""
    if arguments.buffer[arguments.position :].upper().startswith(b"CHARSET "):
        arguments.position += len(b"CHARSET ")
        arguments.string()
        arguments.space()
    tests = [condition(arguments, last_number, last_uid)]
    while not arguments.at_end and arguments.peek() != b")":
        arguments.space()
        tests.append(condition(arguments, last_number, last_uid))
    return lambda number, message: all(test(number, message) for test in tests)


def condition(arguments: Arguments, last_number: int, last_uid: int) -> Test:
    if arguments.peek() == b"(":
        arguments.take(b"(")
        inside = conditions(arguments, last_number, last_uid)
        arguments.take(b")")
        return inside
    if numbers := arguments.match(SET):
        spans = ranges(numbers.group().decode(), last_number)
        return lambda number, message: within(number, spans)
    key = arguments.atom().upper()
    if key == "ALL":
        return lambda number, message: True
    if key in ("NEW", "RECENT", "OLD"):
        return lambda number, message: key == "OLD"
    if key in FLAG_KEYS or key.removeprefix("UN") in FLAG_KEYS:
        flag, wanted = FLAG_KEYS.get(key) or FLAG_KEYS[key.removeprefix("UN")], key in FLAG_KEYS
        return lambda number, message: (flag in message.flags) is wanted
    arguments.space()
    return valued(key, arguments, last_number, last_uid)


def valued(key: str, arguments: Arguments, last_number: int, last_uid: int) -> Test:
    """The keys that take a value."""
    if key == "NOT":
        inner = condition(arguments, last_number, last_uid)
        return lambda number, message: not inner(number, message)
    if key == "OR":
        one = condition(arguments, last_number, last_uid)
        arguments.space()
        other = condition(arguments, last_number, last_uid)
        return lambda number, message: one(number, message) or other(number, message)
    if key == "UID":
        spans = ranges(arguments.numbers(), last_uid)
        return lambda number, message: within(message.uid, spans)
    value = arguments.string().decode("utf-8", "replace")
    if key in ("KEYWORD", "UNKEYWORD"):
        return lambda number, message: (value in message.flags) is (key == "KEYWORD")
    if key in ("LARGER", "SMALLER") and value.isdigit():
        return lambda number, message: (
            (len(message.raw) > int(value)) if key == "LARGER" else len(message.raw) < int(value)
        )
    if key in ("SINCE", "BEFORE", "ON"):
        day = day_of(value)
        return lambda number, message: on(key, message.date.astimezone(SHANGHAI).date(), day)
    if key in ("TEXT", "BODY"):
        return lambda number, message: value.lower() in content(message.raw, key).lower()
    if key == "HEADER":
        arguments.space()
        wanted = arguments.string().decode("utf-8", "replace")
        return lambda number, message: wanted.lower() in head(message.raw, value).lower()
    if key in FIELD_KEYS:
        return lambda number, message: value.lower() in head(message.raw, key).lower()
    raise BadSyntax(f"no such key {key}")


def within(number: int, spans: list[tuple[int, int]]) -> bool:
    return any(low <= number <= high for low, high in spans)


def on(key: str, actual: date, day: date) -> bool:
    return actual >= day if key == "SINCE" else actual < day if key == "BEFORE" else timedelta(0) == actual - day


def day_of(value: str) -> date:
    try:
        day, month, year = value.split("-")
        return date(int(year), MONTHS.index(month.title()) + 1, int(day))
    except ValueError:
        raise BadSyntax("not a date") from None


def content(raw: bytes, key: str) -> str:
    return (raw if key == "TEXT" else parts.split(raw)[1]).decode("utf-8", "replace")


def head(raw: bytes, name: str) -> str:
    return parts.header_fields(parts.split(raw)[0], (name.upper(),)).decode("utf-8", "replace")
