"""
Mail groups by chat: `group`, `group create all@ "Everybody" with dept:Sales, mei`, members, who may send, delete.

As with public mailboxes WeCom replaces lists as a whole: what is kept is the wish, and the job reads the list, changes
it and reads it back, one job a group at a time. The app sees only groups that it made itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bot.context import Context
from bot.errors import UserError
from bot.replies import Reply, Text
from bot.router import Router
from bot.wecom import exmail, limits
from bot.wecom.errcodes import WeComError
from bot.wecom.exmail import AllowType, Group
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, Work
from handlers import addresses, changes, readers
from handlers.address import clash
from handlers.changes import Question, Refused, Written
from handlers.lookup import answers
from handlers.readers import Lists, Parts
from handlers.tables import Form, table
from storage.models import MailboxKind

router = Router()
work = Work()

KIND = "group"
SHOW_KIND = "group_shown"
CHANGE, DELETE = "change_group", "delete_group"  # of the policy
TAKEN = 680011
LISTED_MAX = 25
NAMES_SHOWN = 12
COLUMNS = ("Group 群组", "Name 名称")
MEMBER_COLUMNS = ("Address 地址", "Member 成员")

Who = Literal["corp", "anyone", "members", "企业", "任何人", "成员"]
WHO: Mapping[str, AllowType] = {
    "corp": AllowType.CORP, "企业": AllowType.CORP, "anyone": AllowType.ANYONE, "任何人": AllowType.ANYONE,
    "members": AllowType.GROUP, "成员": AllowType.GROUP,
}  # fmt: skip


@dataclass(frozen=True)
class Members(Parts):
    """Of whom a group consists, or who may send to it: addresses, departments, tags, groups in it."""

    addresses: tuple[str, ...] = ()
    departments: tuple[int, ...] = ()
    tags: tuple[int, ...] = ()
    groups: tuple[str, ...] = ()

    @classmethod
    def of(cls, group: Group) -> Members:
        """As WeCom shows them; addresses have no case."""
        return cls(folded(group.members), group.departments, group.tags, folded(group.groups))

    @classmethod
    def senders(cls, group: Group) -> Members:
        """Who may send, where they are named."""
        return cls(folded(group.allow_addresses), group.allow_departments, group.allow_tags)

    @classmethod
    def kept(cls, row: Mapping[str, Sequence[Any]]) -> Members:
        """As `as_json` wrote them down."""
        return cls(**{name: tuple(each) for name, each in row.items()})


def folded(listed: Sequence[str]) -> tuple[str, ...]:
    """Addresses without case."""
    return tuple(each.casefold() for each in listed)


# --- what is typed ---------------------------------------------------------------------------------------------------


def typed(ctx: Context, names: Sequence[str]) -> dict[str, list[str]]:
    """Members by userid, addresses as they are (a member's or a group's), departments and tags still by name."""
    plain = [each for each in names if "@" not in each.removeprefix("@")]
    found = readers.typed(ctx, plain)
    found["addresses"] = [ctx.directory.address(each) for each in names if each not in plain]
    return found


def asked(ctx: Context, do: str, group: str, title: Words, /, **params: Any) -> list[Reply]:
    """A change of one group, on its way."""
    job = changes.ask_for(ctx, KIND, group, title, do=do, **params)
    ctx.tx.audit.add(ctx.sender, "group.asked", group, job=job.id, do=do)
    return []


def address_of(ctx: Context, typed: str) -> str:
    """A group's address; a mailbox that we know is none."""
    address = ctx.directory.address(typed)
    box = ctx.tx.mailboxes.at(address)
    if box is not None and box.kind is not MailboxKind.UNSEEN and box.address == address:
        raise UserError(say("groups.is_mailbox", address=address))
    return address


@router.command(
    "group|groups [{group}] [as {form:xlsx|csv}]", "邮件群组|群组 [{group}] [导出 {form:xlsx|csv}]", role="auditor",
    topic="groups",
    example=("group all@", "邮件群组 all@"),
)  # fmt: skip
def group_show(ctx: Context, group: str | None = None, form: Form | None = None) -> list[Reply]:
    """The mail groups that I made, or all about one: its members, and who may send to it."""
    address = ctx.directory.address(group) if group is not None else None
    ctx.start(ctx.tx.jobs.add(SHOW_KIND, asked_by=ctx.sender, params={"address": address, "form": form}))
    return []


@router.command(
    "group create {group} {name} with|for {people:list}",
    "邮件群组|群组 创建|新建 {group} {name} 成员|给 {people:list}",
    role="admin", topic="groups",
    example=('group create all@ "Everybody" with dept:Sales, mei', "邮件群组 创建 all@ “全体” 成员 部门:销售、mei"),
)  # fmt: skip
def group_create(ctx: Context, group: str, name: str, people: list[str]) -> list[Reply]:
    """Make a mail group of members, departments, tags and other groups."""
    address, name = clash.wanted(ctx, group), name.strip()
    if not 0 < len(name.encode()) <= limits.GROUP_NAME_BYTES:
        raise UserError(say("groups.name_too_long", max=limits.GROUP_NAME_BYTES))
    title = say("groups.title_create", address=address, name=name)
    return asked(ctx, "create", address, title, name=name, people=typed(ctx, people))


@router.command(
    "group add {group} {people:list}",
    "group add {people:list} to {group}",
    "邮件群组|群组 添加成员|增加成员 {group} {people:list}",
    role="admin", topic="groups",
    example=("group add all@ calvin, tag:oncall", "邮件群组 添加成员 all@ calvin、标签:值班"),
)  # fmt: skip
def group_add(ctx: Context, group: str, people: list[str]) -> list[Reply]:
    """Let a mail group reach more people."""
    address = address_of(ctx, group)
    title = say("groups.title_add", address=address, people=people)
    return asked(ctx, "add", address, title, people=typed(ctx, people))


@router.command(
    "group remove {group} {people:list}",
    "group remove {people:list} from {group}",
    "邮件群组|群组 移除成员 {group} {people:list}",
    role="admin", topic="groups",
    example=("group remove all@ calvin", "邮件群组 移除成员 all@ calvin"),
)  # fmt: skip
def group_remove(ctx: Context, group: str, people: list[str]) -> list[Reply]:
    """Take people out of a mail group."""
    address = address_of(ctx, group)
    title = say("groups.title_remove", address=address, people=people)
    return asked(ctx, "remove", address, title, people=typed(ctx, people))


@router.command(
    "group senders {group} {who:corp|anyone|members}", "group senders {group} only {people:list}",
    "邮件群组|群组 发件人 {group} {who:企业|任何人|成员}", "邮件群组|群组 发件人 {group} 仅限 {people:list}",
    role="admin", topic="groups", example=("group senders all@ corp", "邮件群组 发件人 all@ 企业"),
)  # fmt: skip
def group_senders(ctx: Context, group: str, who: Who | None = None, people: list[str] | None = None) -> list[Reply]:
    """Who may send to a mail group: the organisation, anyone, its members, or only those you name."""
    address = address_of(ctx, group)
    if who is not None:
        title = say("groups.title_senders", address=address, who=who_words(WHO[who], []))
        return asked(ctx, "senders", address, title, who=int(WHO[who]), people=None)
    named = list(people or [])
    title = say("groups.title_senders", address=address, who=who_words(AllowType.CUSTOM, named))
    return asked(ctx, "senders", address, title, who=int(AllowType.CUSTOM), people=typed(ctx, named))


@router.command(
    "group delete {group}", "邮件群组|群组 删除 {group}", role="admin", topic="groups",
    example=("group delete all@", "邮件群组 删除 all@"),
)  # fmt: skip
def group_delete(ctx: Context, group: str) -> list[Reply]:
    """Delete a mail group; nobody's mailbox is touched."""
    address = address_of(ctx, group)
    return asked(ctx, "delete", address, say("groups.title_delete", address=address))


# --- shown -----------------------------------------------------------------------------------------------------------


@answers(work, SHOW_KIND)
def shown(job: JobContext) -> list[Reply]:
    """One group, or all that the app sees."""
    address = job.params["address"]
    if address is None:
        return everything(job)
    group = seen(job, str(address))
    tags = tag_names(job, Members.of(group) + Members.senders(group)) if group is not None else {}
    with job.begin() as step:
        if group is None:
            return [Text(step.job.asked_by, say("groups.unseen", address=address))]
        told = [
            say("groups.about", address=group.address, name=group.name),
            say("groups.members", members=named(step, Members.of(group), tags)),
            say("groups.senders", who=senders_words(step, group, tags)),
            say("groups.commands", address=group.address),
        ]
        to, form = step.job.asked_by, step.job.params.get("form")
        rows = rows_of(step, group)
        if form is None and len(rows) <= NAMES_SHOWN:
            return [Text(to, lines(*told))]
        name = f"mail-group-{group.address.partition('@')[0]}"
        return [Text(to, lines(*told)), table(to, name, "Members 成员", MEMBER_COLUMNS, rows, form or "xlsx")]


def rows_of(step: JobStep, group: Group) -> list[tuple[str, str]]:
    """Every address in a group, and whose it is, as far as we know; departments and tags are few enough for words."""
    members = Members.of(group)
    boxes = {each: step.tx.mailboxes.at(each) for each in (*members.addresses, *members.groups)}
    return [
        (each, step.directory.name(box.owner) if box is not None and box.owner is not None else "")
        for each, box in boxes.items()
    ]


def everything(job: JobContext) -> list[Reply]:
    """Every group in sight; a long list as a file."""
    found = sorted(exmail.group_search(job.client), key=lambda each: each.address)
    with job.begin() as step:
        to = step.job.asked_by
        told: list[Words] = [say("groups.heading", count=len(found)) if found else say("groups.none")]
        form = step.job.params.get("form")
        long = form is not None or len(found) > LISTED_MAX
        if not long:
            told += [say("groups.line", address=each.address, name=each.name) for each in found]
        told.append(say("groups.only_own"))
        replies: list[Reply] = [Text(to, lines(*told))]
        if long:
            rows = [(each.address, each.name) for each in found]
            replies.append(table(to, f"mail-groups-{step.now:%Y%m%d}", "Mail groups", COLUMNS, rows, form or "xlsx"))
        return replies


def seen(job: JobContext, address: str) -> Group | None:
    """A group as WeCom shows it now; None when the app sees none."""
    try:
        return exmail.group_get(job.client, address)
    except WeComError as error:
        if error.errcode != clash.GROUP_UNKNOWN:
            raise
        return None


def must_be_seen(job: JobContext) -> Group:
    """The group of a job; Refused with the likely reason when the app sees none."""
    found = seen(job, str(job.params["address"]))
    if found is None:
        raise Refused(say("groups.unseen", address=job.params["address"]))
    return found


def tag_names(job: JobContext, members: Members) -> dict[int, str]:
    """What the tags are called."""
    return readers.tag_names(job, Lists((), members.departments, members.tags))


def named(step: JobStep, members: Members, tags: Mapping[int, str]) -> list[Words | str]:
    """Members as people read them: names where we know whose an address is, groups, departments and tags."""
    known = {each: step.tx.mailboxes.at(each) for each in members.addresses}
    people: list[Words | str] = [
        f"{step.directory.name(box.owner)} ({each})" if box is not None and box.owner is not None else each
        for each, box in known.items()
    ]
    if len(people) > NAMES_SHOWN:
        people = [*people[:NAMES_SHOWN], say("readers.more", count=len(people) - NAMES_SHOWN)]
    people += [say("groups.a_group", address=each) for each in members.groups]
    people += readers.named(step.tx, step.directory, Lists((), members.departments, members.tags), tags)
    return people or [say("groups.nobody")]


def senders_words(step: JobStep, group: Group, tags: Mapping[int, str]) -> Words:
    """Who may send to a group as it is."""
    kind = group.allow_type if group.allow_type is not None else AllowType.CORP
    return who_words(kind, named(step, Members.senders(group), tags) if kind is AllowType.CUSTOM else [])


def who_words(kind: AllowType, people: Sequence[Words | str]) -> Words:
    """Who may send, in words."""
    if kind is AllowType.CUSTOM:
        return say("groups.who_custom", people=list(people))
    return say(f"groups.who_{kind.name.lower()}")


# --- looked into -----------------------------------------------------------------------------------------------------


def resolved(job: JobContext, people: Mapping[str, Sequence[str]]) -> Members:
    """What was typed, as WeCom counts it: a member's own address, a group's, and ids. Refused for what is neither."""
    lists = readers.resolved(job, people)
    found: list[str] = []
    groups: list[str] = []
    for userid in lists.userids:
        it = addresses.find_mailbox(job, None, userid)
        if it.mailbox is None:
            raise Refused(it.problem or say("lookup.nothing"))
        found.append(it.mailbox.address)
    for address in people["addresses"]:
        if seen(job, address) is not None:
            groups.append(address)
            continue
        it = addresses.find_mailbox(job, address, None)
        if it.mailbox is None or it.mailbox.owner is None:
            raise Refused(say("groups.no_member", address=address))
        found.append(it.mailbox.address)
    return Members(tuple(dict.fromkeys(found)), lists.departments, lists.tags, tuple(dict.fromkeys(groups)))


def remember(job: JobContext, members: Members) -> None:
    """Who is meant, by address and id: what is agreed to stays so."""
    with job.begin() as step:
        step.put(members=members.as_json())


def wish(job: JobContext) -> Members:
    """Who was meant."""
    return Members.kept(job.data["members"])


def facts_of(job: JobContext, **more: Any) -> dict[str, Any]:
    """What is agreed to."""
    return {"mailbox": job.params["address"], **more}


def look_create(job: JobContext) -> Question:
    """Whether the address is free, and whom it would reach."""
    address, name = str(job.params["address"]), str(job.params["name"])
    try:
        taken = clash.holder(job, address)
    except addresses.NoBudget:
        taken = None  # WeCom itself refuses what is taken
    if taken is not None:
        raise Refused(taken)
    members = resolved(job, job.params["people"])
    remember(job, members)
    tags = tag_names(job, members)
    with job.begin() as step:
        words = say("groups.ask_create", address=address, name=name, members=named(step, members, tags))
        return Question(words, CHANGE, facts_of(job, name=name, readers=members.as_json()))


def look_members(job: JobContext, do: str) -> Question | Words:
    """Who is new in it, or who leaves it."""
    group = must_be_seen(job)
    before, wanted = Members.of(group), resolved(job, job.params["people"])
    members = wanted - before if do == "add" else wanted & before
    remember(job, members)
    tags = tag_names(job, before + wanted)
    with job.begin() as step:
        listed = named(step, members or wanted, tags)
        if not members:
            return say(f"groups.nothing_to_{do}", address=group.address, members=listed)
        if do == "remove" and not before - members:
            raise Refused(say("groups.nobody_left", address=group.address))
        words = say(f"groups.ask_{do}", address=group.address, members=listed)
        return Question(words, CHANGE, facts_of(job, **{do: members.as_json()}))


def look_senders(job: JobContext) -> Question | Words:
    """Who may send now, and who could then."""
    group, kind = must_be_seen(job), AllowType(job.params["who"])
    people = resolved(job, job.params["people"]) if job.params["people"] is not None else Members()
    if people.groups:
        raise Refused(say("groups.no_group_as_sender", address=people.groups[0]))
    remember(job, people)
    tags = tag_names(job, people + Members.senders(group))
    with job.begin() as step:
        now = senders_words(step, group, tags)
        then = who_words(kind, named(step, people, tags) if kind is AllowType.CUSTOM else [])
        if may_send_already(group, kind, people):
            return say("groups.senders_already", address=group.address, who=now)
        hints = [say("groups.anyone_warning")] if kind is AllowType.ANYONE else []
        words = say("groups.ask_senders", address=group.address, now=now, then=then)
        return Question(words, CHANGE, facts_of(job, senders=[int(kind), people.as_json()]), hints=hints)


def may_send_already(group: Group, kind: AllowType, people: Members) -> bool:
    """Whether just these may send to it."""
    return (group.allow_type or AllowType.CORP) == kind and Members.senders(group).as_json() == people.as_json()


def look_delete(job: JobContext) -> Question:
    """What stops reaching whom."""
    group = must_be_seen(job)
    tags = tag_names(job, Members.of(group))
    with job.begin() as step:
        members = named(step, Members.of(group), tags)
        words = say("groups.ask_delete", address=group.address, name=group.name, members=members)
        return Question(words, DELETE, facts_of(job))


# --- done ------------------------------------------------------------------------------------------------------------


def create(job: JobContext) -> Written:
    """
    One call; if its answer was lost, a group of that name at that address is ours.

    So it is when WeCom says right after that it is taken: the client asks a busy one again, which may have made it.
    """
    address, name, members = str(job.params["address"]), str(job.params["name"]), wish(job)
    wanted = Group(address, name, members.addresses, members.tags, members.departments, members.groups)
    with changes.alone(job, f"group {address}") as writing:
        found = seen(job, address)
        if found is not None and not (job.data.get("sent") and found.name == name):
            raise Refused(say("clash.group", address=address, name=found.name))
        if found is None:
            try:
                with writing():
                    exmail.group_create(job.client, wanted)
            except WeComError as error:
                found = seen(job, address) if error.errcode == TAKEN else None
                if found is None or found.name != name:
                    raise

    def written(step: JobStep) -> Words:
        step.tx.audit.add(step.job.asked_by, "group.created", address, job=job.job_id, members=members.as_json())
        return lines(say("groups.created", address=address, name=name), say("groups.after_create", address=address))

    return written


def change_members(job: JobContext, do: str) -> Written:
    """The wish, carried out on the lists as WeCom has them at that moment; then they are read back."""
    address, members = str(job.params["address"]), wish(job)
    with changes.alone(job, f"group {address}") as writing:
        before = Members.of(must_be_seen(job))
        after = before + members if do == "add" else before - members
        if not after:
            raise Refused(say("groups.nobody_left", address=address))
        if parts := after.changed_from(before):
            if "addresses" in parts:
                parts["members"] = parts.pop("addresses")
            with writing():
                exmail.group_update(job.client, address, **parts)
        now = Members.of(must_be_seen(job))
        if (now & members) != (members if do == "add" else Members()):
            raise Refused(say("groups.not_kept", address=address))
    tags = tag_names(job, members)

    def written(step: JobStep) -> Words:
        detail = {do: members.as_json()}
        step.tx.audit.add(step.job.asked_by, "group.changed", address, job=job.job_id, **detail)
        return say(f"groups.done_{do}", address=address, members=named(step, members, tags))

    return written


def set_senders(job: JobContext) -> Written:
    """Who may send, replaced as a whole."""
    address, kind, people = str(job.params["address"]), AllowType(job.params["who"]), wish(job)
    with changes.alone(job, f"group {address}") as writing:
        group = must_be_seen(job)
        if not may_send_already(group, kind, people):
            with writing():
                exmail.group_update(
                    job.client, address, allow_type=kind, allow_addresses=people.addresses,
                    allow_departments=people.departments, allow_tags=people.tags,
                )  # fmt: skip
    tags = tag_names(job, people)

    def written(step: JobStep) -> Words:
        step.tx.audit.add(step.job.asked_by, "group.senders", address, job=job.job_id, senders=kind.name.lower())
        return say("groups.done_senders", address=address, who=who_words(kind, named(step, people, tags)))

    return written


def delete(job: JobContext) -> Written:
    """Gone; if the answer was lost, a group that is not there any more was deleted by us."""
    address = str(job.params["address"])
    with changes.alone(job, f"group {address}") as writing:
        if (seen(job, address) if job.data.get("sent") else must_be_seen(job)) is not None:
            try:
                with writing():
                    exmail.group_delete(job.client, address)
            except WeComError as error:
                if error.errcode != clash.GROUP_UNKNOWN:  # it was there: a busy WeCom did it when it was asked first
                    raise

    def written(step: JobStep) -> Words:
        step.tx.audit.add(step.job.asked_by, "group.deleted", address, job=job.job_id)
        return say("groups.deleted", address=address)

    return written


LOOKS: Mapping[str, Callable[[JobContext], Question | Words]] = {
    "create": look_create,
    "add": lambda job: look_members(job, "add"),
    "remove": lambda job: look_members(job, "remove"),
    "senders": look_senders,
    "delete": look_delete,
}
ACTS: Mapping[str, Callable[[JobContext], Written]] = {
    "create": create,
    "add": lambda job: change_members(job, "add"),
    "remove": lambda job: change_members(job, "remove"),
    "senders": set_senders,
    "delete": delete,
}


def look(job: JobContext) -> Question | Words:
    """What was asked for, looked into."""
    return LOOKS[job.params["do"]](job)


def act(job: JobContext) -> Written:
    """What was asked for, done."""
    return ACTS[job.params["do"]](job)


changes.kind(work, KIND, look=look, act=act)
