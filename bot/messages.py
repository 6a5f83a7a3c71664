"""
What WeCom calls us for, as values.

Cards, contact changes and files parse to `UnknownMessage` in wechatpy, so the decrypted fields are read here.
Formats: developer.work.weixin.qq.com 90239 (messages), 90240 (events), 90970 (contacts), 100180 (public mailboxes).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Message:
    """Any callback; `sender` is the case-folded userid, or `sys`."""

    sender: str


@dataclass(frozen=True)
class TextMessage(Message):
    """A member typed something."""

    content: str


@dataclass(frozen=True)
class FileMessage(Message):
    """A member dropped a file into the chat; it can be fetched for three days."""

    media_id: str
    name: str


@dataclass(frozen=True)
class MenuClick(Message):
    """A member pressed an entry of the bot's menu."""

    key: str


@dataclass(frozen=True)
class EnteredChat(Message):
    """A member opened the chat."""


@dataclass(frozen=True)
class CardClick(Message):
    """A member pressed a button of a card, or of its menu. The code redraws the card once, within 72 hours."""

    key: str
    task_id: str
    code: str = field(repr=False)
    selected: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class MemberJoined(Message):
    """A member was created."""

    userid: str


@dataclass(frozen=True)
class MemberChanged(Message):
    """A member was changed; a hint to look again, never the truth."""

    userid: str
    new_userid: str | None = None
    address: str | None = None


@dataclass(frozen=True)
class MemberLeft(Message):
    """A member was deleted, and his mailbox with him."""

    userid: str


@dataclass(frozen=True)
class DirectoryChanged(Message):
    """A department or a tag changed."""

    change: str
    subject_id: int


@dataclass(frozen=True)
class PublicMailArrived(Message):
    """A public mailbox of the app received mail."""

    public_id: int
    count: int


@dataclass(frozen=True)
class BatchJobDone(Message):
    """An asynchronous contacts job ended."""

    job_id: str
    job_type: str
    errcode: int


@dataclass(frozen=True)
class OtherMessage(Message):
    """A kind nobody here handles: accepted and counted."""

    kind: str


PROBE = "exmail_bot_doctor"  # an event that `exmail-bot doctor` sends to its own bot; WeCom has none of this name
CALLBACK_REFUSED = ("token", "key", "corp", "clock")  # what a refused callback says about the settings


def callback_moment(source: str, what: str) -> str:
    """
    The name under which `moments` knows when something last happened at a callback URL.

    `verified`: the console checked it; `event`: something came; `probe`: `doctor`; one of CALLBACK_REFUSED.
    """
    return f"callback:{source}:{what}"


def parse(fields: Fields) -> Message:
    """The callback as a value; whatever is odd in it becomes an `OtherMessage`, never an error."""
    sender = text(fields, "FromUserName").casefold()
    kind = text(fields, "MsgType").casefold()
    if kind == "text":
        return TextMessage(sender, text(fields, "Content"))
    if kind == "file":
        return FileMessage(sender, text(fields, "MediaId"), text(fields, "FileName") or text(fields, "Title"))
    if kind != "event":
        return OtherMessage(sender, kind or "nameless")
    return parse_event(sender, text(fields, "Event").casefold(), fields)


def parse_event(sender: str, event: str, fields: Fields) -> Message:
    """An event by its name, which has no case."""
    if event == "click":
        return MenuClick(sender, text(fields, "EventKey"))
    if event == "enter_agent":
        return EnteredChat(sender)
    if event in ("template_card_event", "template_card_menu_event"):
        return CardClick(
            sender,
            text(fields, "EventKey"),
            text(fields, "TaskId"),
            text(fields, "ResponseCode"),
            dict(selections(fields)),
        )
    if event == "change_contact":
        return parse_contact(sender, text(fields, "ChangeType").casefold(), fields)
    if event == "public_email_change":
        return PublicMailArrived(sender, number(fields, "Id"), number(fields, "Amount"))
    if event == "batch_job_result" and isinstance(job := fields.get("BatchJob"), Mapping):
        return BatchJobDone(sender, text(job, "JobId"), text(job, "JobType"), number(job, "ErrCode"))
    return OtherMessage(sender, event or "nameless")


def parse_contact(sender: str, change: str, fields: Fields) -> Message:
    """A change of the directory."""
    userid = text(fields, "UserID").casefold()
    if change == "create_user" and userid:
        return MemberJoined(sender, userid)
    if change == "update_user" and userid:
        return MemberChanged(
            sender, userid, text(fields, "NewUserID").casefold() or None, text(fields, "BizMail").casefold() or None
        )
    if change == "delete_user" and userid:
        return MemberLeft(sender, userid)
    if change in ("create_party", "update_party", "delete_party"):
        return DirectoryChanged(sender, change, number(fields, "Id"))
    if change == "update_tag":
        return DirectoryChanged(sender, change, number(fields, "TagId"))
    return OtherMessage(sender, f"change_contact.{change}")


def selections(fields: Fields) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What was chosen on a card. One item is a mapping, several are a list; the official page once said OpitonIds."""
    items = fields.get("SelectedItems")
    for item in as_list(items.get("SelectedItem") if isinstance(items, Mapping) else None):
        if isinstance(item, Mapping):
            options = item.get("OptionIds") or item.get("OpitonIds")
            chosen = (options.get("OptionId") or options.get("OpitonId")) if isinstance(options, Mapping) else None
            yield text(item, "QuestionKey"), tuple(str(each) for each in as_list(chosen))


def as_list(value: object) -> list[Any]:
    """xmltodict gives nothing, one thing or a list, by how many there are."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def text(fields: Fields, name: str) -> str:
    """A field as text; absent, empty or nested: an empty text."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def number(fields: Fields, name: str) -> int:
    """A field as a number; -1 when it is none."""
    value = text(fields, name).strip()
    return int(value) if value.isascii() and value.removeprefix("-").isdigit() and len(value) < 19 else -1


def key(source: str, fields: Fields) -> str:
    """
    What tells a redelivery from a new callback.

    A message has its MsgId. An event has none, and one second can hold two of one sender: a hash over all fields, so
    that two members deleted at once stay two events.
    """
    message_id = text(fields, "MsgId")
    if message_id and text(fields, "MsgType").casefold() != "event":
        return hashlib.sha256(f"{source}:message:{message_id}".encode()).hexdigest()
    canonical = json.dumps(fields, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(f"{source}:event:{canonical}".encode()).hexdigest()
