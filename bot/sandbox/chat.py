"""What stands in the members' chats with the bot: messages, cards with their present state, and the codes of cards."""

from __future__ import annotations

import copy
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

CODE_HOURS = 72
MEDIA_DAYS = 3
PER_MINUTE, PER_HOUR = 30, 1000
INTERACTIVE = ("button_interaction", "vote_interaction", "multiple_interaction")


@dataclass
class View:
    """One member's sight of a card: what it shows now, and the words its buttons were replaced with."""

    card: dict[str, Any]
    task_id: str | None
    replaced: str | None = None
    clicked: str | None = None

    @property
    def greyed(self) -> bool:
        """Whether its buttons can no longer be pressed."""
        return self.replaced is not None


@dataclass
class SentCard:
    """A card that went out; every receiver has his own view of it."""

    msgid: str
    views: dict[str, View]


@dataclass
class Code:
    """A response_code: leave to update one card once, within 72 hours."""

    card: SentCard
    issued_at: datetime


@dataclass
class Media:
    """An uploaded file; any app of the corp can use it for three days."""

    id: str
    kind: str
    name: str
    content_type: str
    content: bytes
    created_at: datetime


@dataclass
class Entry:
    """A line of a chat, newest last; `sender` is member or bot."""

    id: int
    at: datetime
    sender: str
    kind: str
    msgid: str | None = None
    text: str = ""
    card: SentCard | None = None
    media: Media | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    recalled: bool = False


class Chats:
    """All chats with the bot, its media, card codes and menu."""

    def __init__(self) -> None:
        self.entries: dict[str, list[Entry]] = {}
        self.task_ids: set[str] = set()
        self.codes: dict[str, Code] = {}
        self.media: dict[str, Media] = {}
        self.sent_at: dict[str, list[datetime]] = {}
        self.dropped: dict[str, int] = {}
        self.duplicates: dict[str, datetime] = {}
        self.sent: dict[str, tuple[datetime, list[Entry]]] = {}
        self.menu: list[dict[str, Any]] | None = None
        self._count = 0

    def add(self, member: str, entry: Entry) -> Entry:
        """Put a line into a member's chat."""
        self.entries.setdefault(member.lower(), []).append(entry)
        return entry

    def entry(self, now: datetime, sender: str, kind: str, **more: Any) -> Entry:
        """A new line with the next id."""
        self._count += 1
        return Entry(self._count, now, sender, kind, **more)

    def allows(self, member: str, now: datetime) -> bool:
        """Count a message to a member; False when it is one too many and is silently dropped (30/min, 1000/h)."""
        times = [each for each in self.sent_at.get(member, []) if each > now - timedelta(hours=1)]
        lately = sum(each > now - timedelta(minutes=1) for each in times)
        if lately >= PER_MINUTE or len(times) >= PER_HOUR:
            self.dropped[member] = self.dropped.get(member, 0) + 1
            self.sent_at[member] = times
            return False
        self.sent_at[member] = [*times, now]
        return True

    def new_code(self, card: SentCard, now: datetime) -> str:
        """Leave to update `card` once."""
        code = secrets.token_urlsafe(32)
        self.codes[code] = Code(card, now)
        return code

    def code(self, code: str, now: datetime) -> Code | None:
        """A code that can still be spent; None when it is unknown, spent or older than 72 hours."""
        found = self.codes.get(code)
        return found if found and now < found.issued_at + timedelta(hours=CODE_HOURS) else None

    def age_codes(self) -> None:
        """Every card of now counts as older than 72 hours: no code of it can be spent."""
        for code in self.codes.values():
            code.issued_at -= timedelta(hours=CODE_HOURS)

    def keep(self, kind: str, name: str, content_type: str, content: bytes, now: datetime) -> Media:
        """Store an uploaded file."""
        media = Media(secrets.token_urlsafe(33), kind, name, content_type, content, now)
        self.media[media.id] = media
        return media

    def find_media(self, media_id: str, now: datetime) -> Media | None:
        """A file that has not run out (3 days)."""
        found = self.media.get(media_id)
        return found if found and now < found.created_at + timedelta(days=MEDIA_DAYS) else None

    def view(self, member: str, task_id: str) -> tuple[SentCard, View] | None:
        """The card with this task id as the member sees it now."""
        for entry in reversed(self.entries.get(member.lower(), [])):
            if entry.card and not entry.recalled:
                view = entry.card.views.get(member.lower())
                if view and view.task_id == task_id:
                    return entry.card, view
        return None

    def said(self, member: str) -> int:
        """How much the bot has said to a member."""
        return sum(entry.sender == "bot" for entry in self.entries.get(member.lower(), []))

    def shown(self, member: str) -> list[dict[str, Any]]:
        """A member's chat as JSON for the control API."""
        return [shown(entry, member.lower()) for entry in self.entries.get(member.lower(), [])]


def shown(entry: Entry, member: str) -> dict[str, Any]:
    """A line of a chat as JSON."""
    line: dict[str, Any] = {
        "id": entry.id,
        "at": entry.at.isoformat(),
        "from": entry.sender,
        "kind": entry.kind,
        "text": entry.text,
        "recalled": entry.recalled,
        **entry.extra,
    }
    if entry.recalled:
        line["text"] = ""
    elif entry.card:
        line["card"] = card_shown(entry.card.views[member])
    elif entry.media:
        line["file"] = {
            "name": entry.media.name,
            "size_bytes": len(entry.media.content),
            "url": f"/_sandbox/files/{entry.media.id}",
        }
    return line


def card_shown(view: View) -> dict[str, Any]:
    """
    A card as the member sees it: its texts, what can be pressed, and whether it is greyed.

    `buttons` holds the buttons of button cards and the submit button of vote and multiple cards; `choices` the
    questions whose answers `selected` brings along; `menu` the actions of the corner menu, which stay live.
    """
    card = view.card
    title = card.get("main_title") or {}
    buttons = [
        {"text": each.get("text", ""), "key": each.get("key"), "style": each.get("style", 1), "url": each.get("url")}
        for each in card.get("button_list") or []
    ]
    if card.get("submit_button"):
        submit = card["submit_button"]
        buttons.append({"text": submit.get("text") or "提交", "key": submit.get("key"), "style": 1, "url": None})
    return {
        "task_id": view.task_id,
        "card_type": card.get("card_type"),
        "source": (card.get("source") or {}).get("desc", ""),
        "title": title.get("title", ""),
        "description": title.get("desc", ""),
        "text": card.get("sub_title_text", ""),
        "quote": (card.get("quote_area") or {}).get("quote_text", ""),
        "emphasis": card.get("emphasis_content"),
        "rows": [
            {"name": row.get("keyname", ""), "value": row.get("value", ""), "url": row.get("url")}
            for row in card.get("horizontal_content_list") or []
        ],
        "vertical": card.get("vertical_content_list") or [],
        "links": [{"title": each.get("title"), "url": each.get("url")} for each in card.get("jump_list") or []],
        "url": (card.get("card_action") or {}).get("url"),
        "choices": choices(card),
        "buttons": buttons,
        "menu": [dict(each) for each in (card.get("action_menu") or {}).get("action_list") or []],
        "greyed": view.greyed,
        "replaced_text": view.replaced,
        "clicked": view.clicked,
        "raw": copy.deepcopy(card),
    }


def choices(card: dict[str, Any]) -> list[dict[str, Any]]:
    """The questions of a card: selector of a button card, checkbox, selectors of a multiple card."""
    found: list[dict[str, Any]] = []
    selectors = [card.get("button_selection"), *(card.get("select_list") or [])]
    for each in selectors:
        if each:
            found.append(
                {
                    "question_key": each.get("question_key"),
                    "title": each.get("title", ""),
                    "multiple": False,
                    "options": [{"id": o.get("id"), "text": o.get("text")} for o in each.get("option_list") or []],
                    "selected": [each["selected_id"]] if each.get("selected_id") else [],
                }
            )
    box = card.get("checkbox")
    if box:
        options = box.get("option_list") or []
        found.append(
            {
                "question_key": box.get("question_key"),
                "title": "",
                "multiple": box.get("mode", 0) == 1,
                "options": [{"id": o.get("id"), "text": o.get("text")} for o in options],
                "selected": [o.get("id") for o in options if o.get("is_checked")],
            }
        )
    return found
