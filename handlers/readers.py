"""
Who can open a public mailbox: members, departments and tags, as people name them and as WeCom counts them.

What is typed (`ahing, dept:Sales, tag:oncall`) is sorted by the handler, which can ask who is meant; the ids of
departments and tags are looked up by the job, which sees WeCom's own lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from bot.context import Context
from bot.directory import Directory
from bot.errors import UserError
from bot.wecom import contacts
from bot.wecom.errcodes import Retry, WeComError
from bot.words import Words, say
from bot.work import JobContext
from handlers.addresses import tag_of
from handlers.changes import Refused

if TYPE_CHECKING:
    from bot.wecom.exmail import PublicMailbox
    from storage.models import Mailbox
    from storage.store import Transaction

DEPARTMENT_SIGNS = ("dept:", "department:", "部门:")
TAG_SIGNS = ("tag:", "标签:")
NAMES_SHOWN = 12
OFFERED_MAX = 8


@dataclass(frozen=True)
class Parts:
    """Some lists of which a thing consists, each replaced as a whole by WeCom; added and taken away list by list."""

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))

    def __add__(self, other: Self) -> Self:
        return type(self)(*(tuple(dict.fromkeys([*mine, *theirs])) for mine, theirs in pairs(self, other)))

    def __sub__(self, other: Self) -> Self:
        return type(self)(*(tuple(each for each in mine if each not in theirs) for mine, theirs in pairs(self, other)))

    def __and__(self, other: Self) -> Self:
        return type(self)(*(tuple(each for each in mine if each in theirs) for mine, theirs in pairs(self, other)))

    def changed_from(self, before: Self) -> dict[str, Any]:
        """The lists that are not as they were: only these are sent, the others stay."""
        named = {each.name: (getattr(before, each.name), getattr(self, each.name)) for each in fields(self)}
        return {name: after for name, (was, after) in named.items() if set(was) != set(after)}

    def as_json(self) -> dict[str, list[Any]]:
        """As it is kept in a row, and compared."""
        return {each.name: sorted(getattr(self, each.name)) for each in fields(self)}


@dataclass(frozen=True)
class Lists(Parts):
    """Who can open a mailbox, as WeCom lists it."""

    userids: tuple[str, ...] = ()
    departments: tuple[int, ...] = ()
    tags: tuple[int, ...] = ()

    @classmethod
    def of(cls, box: PublicMailbox) -> Lists:
        """What WeCom shows; userids have no case."""
        return cls(tuple(each.casefold() for each in box.userids), box.departments, box.tags)

    def expanded(self, tx: Transaction) -> set[str]:
        """Userids of everybody they hold, as far as the directory was read."""
        found = set(self.userids) | tx.members.in_departments(self.departments)
        return found.union(*(tx.members.tagged(each) for each in self.tags))


def pairs(one: Parts, other: Parts) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """The same list of both, for each there is."""
    return [(getattr(one, each.name), getattr(other, each.name)) for each in fields(one)]


def of_row(box: Mailbox) -> Lists:
    """Who can open a mailbox, as our row has it."""
    kept = box.readers
    userids = tuple(str(each).casefold() for each in kept.get("userids", []))
    return Lists(userids, tuple(kept.get("departments", [])), tuple(kept.get("tags", [])))


# --- what was typed --------------------------------------------------------------------------------------------------


def typed(ctx: Context, names: Sequence[str]) -> dict[str, list[str]]:
    """Members by userid, departments and tags still by name; UserError for a member nobody knows."""
    found: dict[str, list[str]] = {"userids": [], "departments": [], "tags": []}
    for each in names:
        name = each.strip().replace("：", ":")
        if (department := after(name, DEPARTMENT_SIGNS)) is not None:
            found["departments"].append(department)
        elif (tag := after(name, TAG_SIGNS)) is not None:
            found["tags"].append(tag)
        else:
            found["userids"].append(member(ctx, name))
    return {name: list(dict.fromkeys(each)) for name, each in found.items()}


def after(name: str, signs: Sequence[str]) -> str | None:
    """What follows one of the signs; None when it begins with none of them."""
    sign = next((sign for sign in signs if name.casefold().startswith(sign)), None)
    return name[len(sign) :].strip() if sign is not None else None


def member(ctx: Context, name: str) -> str:
    """The userid of who is meant, by name, userid or address."""
    if "@" in name.removeprefix("@"):
        meant = ctx.directory.mailbox(name)
        if meant.userid is None:
            raise UserError(say("readers.no_member", name=name))
        return meant.userid
    try:
        return ctx.directory.member(name).userid
    except UserError as error:
        departments = [each.name for each in ctx.tx.members.departments() if each.name.casefold() == name.casefold()]
        if departments:
            raise UserError(say("readers.perhaps_department", name=departments[0])) from error
        raise


def resolved(job: JobContext, people: Mapping[str, Sequence[str]]) -> Lists:
    """What was typed, with the ids WeCom has for it now; Refused for a department or tag that is not in sight."""
    departments: list[int] = []
    tags: list[int] = []
    if people["departments"]:
        known = contacts.departments(job.client)
        called = [(each.id, (each.name, each.name_en)) for each in known]
        departments = [one(name, called, "department") for name in people["departments"]]
    if people["tags"]:
        labelled = [(each.id, (each.name,)) for each in contacts.tags(job.client)]
        tags = [one(name, labelled, "tag") for name in people["tags"]]
        learn(job, tags)
    return Lists(tuple(people["userids"]), tuple(departments), tuple(tags))


def one(name: str, known: Sequence[tuple[int, Sequence[str]]], what: str) -> int:
    """The id of what is called so, or has this number."""
    wanted = name.casefold()
    exact = [number for number, names in known if wanted in {each.casefold() for each in names if each}]
    if not exact and name.isdecimal():
        exact = [number for number, _ in known if number == int(name)]
    if len(exact) == 1:
        return exact[0]
    if exact:
        raise Refused(say(f"readers.several_{what}", name=name, ids=[str(each) for each in exact]))
    offered = [names[0] for _, names in known if names[0]][:OFFERED_MAX]
    raise Refused(say(f"readers.no_{what}", name=name, offered=offered or "-"))


def learn(job: JobContext, tags: Sequence[int]) -> None:
    """Who carries these tags now, as far as WeCom shows it: they are counted and expanded."""
    seen = {tag_id: tag for tag_id in tags if (tag := tag_of(job, tag_id)) is not None}
    if seen:
        with job.services.store.begin() as tx:
            for tag_id, tag in seen.items():
                tx.members.tag_is(tag_id, {*tag.userids, *tx.members.in_departments(tag.departments)})


# --- in words --------------------------------------------------------------------------------------------------------


def tag_names(job: JobContext, lists: Lists) -> dict[int, str]:
    """What the tags are called, if there are any and WeCom shows them."""
    if not lists.tags:
        return {}
    try:
        return {each.id: each.name for each in contacts.tags(job.client)}
    except WeComError as error:
        if error.retry is not Retry.NEVER:
            raise
        return {}


def named(tx: Transaction, directory: Directory, lists: Lists, tags: Mapping[int, str]) -> list[Words | str]:
    """The lists as people read them: names, and how many a department or tag holds."""
    found: list[Words | str] = [directory.name(each) for each in sorted(lists.userids)]
    if len(found) > NAMES_SHOWN:
        found = [*found[:NAMES_SHOWN], say("readers.more", count=len(found) - NAMES_SHOWN)]
    for department_id in lists.departments:
        department = tx.members.department(department_id)
        name = department.name if department is not None else str(department_id)
        count = len(tx.members.in_departments([department_id]))
        found.append(say("readers.department", name=name, count=count))
    for tag_id in lists.tags:
        carriers = len(tx.members.tagged(tag_id))
        key = "readers.tag" if carriers else "readers.tag_unseen"
        found.append(say(key, name=tags.get(tag_id, str(tag_id)), count=carriers))
    return found
