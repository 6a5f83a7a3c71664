"""The facts of a question, said to people: by the names of members, not by what WeCom calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bot.directory import Directory
from bot.words import Words, say

if TYPE_CHECKING:
    from storage.store import Transaction

PEOPLE = frozenset({"owner", "new_owner", "opener", "readers"})  # facts that hold userids
PLACES = {"in use": "in_use", "recycle bin": "bin", "public mailbox": "public"}  # what `state` may be


def in_words(tx: Transaction, directory: Directory, name: str, fact: Any) -> object:
    """A fact as people read it; lists of members, departments and tags by what they are called."""
    if isinstance(fact, Mapping):
        return named(tx, directory, fact) or "-"
    if name in PEOPLE and isinstance(fact, str):
        return directory.name(fact)
    if name in PEOPLE and isinstance(fact, list):
        return [directory.name(each) for each in fact] or "-"
    if name == "state" and fact in PLACES:
        return say(f"approvals.place_{PLACES[fact]}")
    return fact if fact not in (None, [], "") else "-"


def named(tx: Transaction, directory: Directory, lists: Mapping[str, Any]) -> list[Words | str]:
    """Who stands in the lists that WeCom keeps of a mailbox."""
    found: list[Words | str] = [directory.name(each) for each in lists.get("userids", ())]
    for number in lists.get("departments", ()):
        department, count = tx.members.department(number), len(tx.members.in_departments([number]))
        called = department.name if department is not None else str(number)
        found.append(say("readers.department", name=called, count=count))
    for number in lists.get("tags", ()):
        found.append(say("readers.tag", name=str(number), count=len(tx.members.tagged(number))))
    return found


def differences(
    tx: Transaction, directory: Directory, before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[Words]:
    """What is not as it was, a fact a sentence."""
    return [
        say(
            "approvals.difference",
            name=say(f"approvals.fact_{name}"),
            before=in_words(tx, directory, name, before.get(name)),
            after=in_words(tx, directory, name, after.get(name)),
        )
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
