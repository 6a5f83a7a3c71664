"""What a handler or a job wants said: values, turned into rows by `bot/delivery.py` and sent from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.words import Words

Said = Words | str


@dataclass(frozen=True)
class Text:
    """A text message to one member. `once` holds a one-time link: it is not kept after it was sent."""

    to: str
    words: Said
    once: bool = False


@dataclass(frozen=True)
class Button:
    """A button: `action:row id`, never data. Style 1 is the main one, 2 warns (developer.work.weixin.qq.com 90236)."""

    key: str
    words: Words
    style: int = 1


@dataclass(frozen=True)
class Choice:
    """One of the options of a selector."""

    id: str
    words: Said


@dataclass(frozen=True)
class Card:
    """
    A card to one member: what it is about (`job-12`), up to 6 rows, up to 6 buttons, at most one selector of 10.

    `done` greys the buttons and says why; a card with neither buttons nor `done` is a notice.
    """

    to: str
    about: str
    title: Words
    note: Words | None = None
    rows: Sequence[tuple[Words, Said]] = ()
    buttons: Sequence[Button] = ()
    choices: Sequence[Choice] = ()
    choices_title: Words | None = None
    done: Words | None = None


@dataclass(frozen=True)
class CardUpdate:
    """
    Redraw a member's card with what `card` says.

    Without a living code for it, `otherwise` is sent as a text, so that nothing is told by a redraw alone. A card that
    still has buttons stays open; with `done` it is closed.
    """

    task_id: str
    card: Card
    otherwise: Words | None = None


@dataclass(frozen=True)
class File:
    """A file to one member; the name is ASCII (WeCom cannot read others)."""

    to: str
    name: str
    content: bytes


Reply = Text | Card | CardUpdate | File
