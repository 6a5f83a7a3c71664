"""What the conversations about people have in common: saying a line and taking the answer, dropping files, waiting."""

from __future__ import annotations

import base64
from typing import Any

from bot.sandbox.player import Entry, text_of
from storage.models import Member
from tests.journeys.conftest import Bot


def answer(bot: Bot, member: str, line: str, wanted: str = "") -> str:
    """Type a line; the text of the next thing the bot says that holds `wanted`."""
    read_all(bot, member)
    bot.say(member, line)
    return text_of(bot.hear(member, wanted))


def read_all(bot: Bot, member: str) -> None:
    """What stands in the chat so far is read."""
    bot._read[member] = len(bot.entries(member))


def check(bot: Bot, member: str, *said: tuple[str, str]) -> None:
    """Every line gets an answer that holds these words."""
    for line, wanted in said:
        heard = answer(bot, member, line)
        assert wanted in heard, f"{member} typed “{line}” and heard “{heard}”, not “{wanted}”"


def drop(bot: Bot, member: str, name: str, content: bytes) -> None:
    """Drop a file into the chat."""
    read_all(bot, member)
    bot.post("file", member=member, name=name, content_base64=base64.b64encode(content).decode())


def enter(bot: Bot, member: str) -> None:
    """Open the chat."""
    bot.post("enter", member=member)


def menu(bot: Bot, member: str, key: str, wanted: str) -> Entry:
    """Press an entry of the menu; what is said to it."""
    read_all(bot, member)
    bot.post("menu", member=member, key=key)
    return bot.hear(member, wanted)


def member(bot: Bot, userid: str) -> Member | None:
    """A member as our rows know him."""
    with bot.store.begin() as tx:
        found: Member | None = tx.members.find(userid)
        return found


def calls(bot: Bot, path: str) -> list[Any]:
    """The API calls of a path so far."""
    entries = bot.get("wire", kind="api", limit="100000")["entries"]
    return [each for each in entries if str(each.get("path", "")).endswith(path)]


def last_bytes(bot: Bot, member: str) -> tuple[str, bytes]:
    """The newest file of a member: its name and what is in it."""
    found = next(each["file"] for each in reversed(bot.entries(member)) if each.get("file"))
    return str(found["name"]), bot._http.request("GET", str(found["url"])).body
