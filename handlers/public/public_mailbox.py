"""
Public mailboxes by chat: `public create support@ "Support" for ahing, dept:Sales`, add and remove who can open them.

WeCom replaces lists as a whole and has no version of them, so what is kept is the wish, "add X" or "remove Y": the job
reads the list, changes it and reads it back, one job a mailbox at a time. A mailbox whose creation was never answered
is looked for by its address, and not made twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bot.context import Context
from bot.errors import UserError
from bot.replies import Reply
from bot.router import Router
from bot.wecom import exmail, limits
from bot.wecom.errcodes import WeComError
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, Work
from handlers import addresses, changes, readers
from handlers.address import clash
from handlers.approvals import approvals
from handlers.changes import Question, Refused, Written
from handlers.public import public_shown
from handlers.readers import Lists
from storage.models import Mailbox

if TYPE_CHECKING:
    from storage.store import Transaction

router = Router()
work = Work()

KIND = "public"
TAKEN = 680033
CHINESE_FROM = "\u2e7f"  # from here on a character counts double in a name


# --- asking for it ---------------------------------------------------------------------------------------------------


def asked(ctx: Context, do: str, address: str, title: Words, /, **params: Any) -> list[Reply]:
    """A change of one mailbox, on its way."""
    job = changes.ask_for(ctx, KIND, address, title, do=do, **params)
    ctx.tx.audit.add(ctx.sender, "public.asked", address, job=job.id, do=do)
    return []


@router.command(
    "public create {address} {name} for {people:list}",
    "公共邮箱 创建|新建 {address} {name} 成员|给 {people:list}",
    "新建公共邮箱|创建公共邮箱 {address} {name} 成员|给 {people:list}",
    role="admin",
    topic="public",
    example=(
        'public create support@ "Support" for ahing, dept:Sales, tag:oncall',
        "公共邮箱 创建 support@ “客户支持” 成员 ahing、部门:销售、标签:值班",
    ),
)
def public_create(ctx: Context, address: str, name: str, people: list[str]) -> list[Reply]:
    """Make a public mailbox for members, departments and tags."""
    ctx.require_admin()
    address = ctx.directory.address(address)
    if address.partition("@")[2] not in ctx.directory.domains():
        domain = ctx.settings.exmail_domain
        raise UserError(say("directory.foreign_domain", address=address, domain=domain))
    if len(address) > limits.PUBLIC_MAILBOX_ADDRESS_BYTES_MAX:
        raise UserError(say("public.address_too_long", address=address, max=limits.PUBLIC_MAILBOX_ADDRESS_BYTES_MAX))
    if any(each.params.get("do") == "create" for each in open_changes(ctx.tx, address)):
        raise UserError(say("public.already_asked", address=address))
    title = say("public.title_create", address=address, name=checked_name(name))
    return asked(ctx, "create", address, title, name=name.strip(), people=readers.typed(ctx, people))


def open_changes(tx: Transaction, address: str) -> list[Any]:
    """The changes of a mailbox that have not ended."""
    return [each for each in tx.jobs.waiting_or_due(KIND) if each.params.get("address") == address]


def checked_name(name: str) -> str:
    """A name WeCom takes; UserError for another."""
    name = name.strip()
    width = sum(2 if each > CHINESE_FROM else 1 for each in name)
    if not 0 < width <= limits.PUBLIC_MAILBOX_NAME_CHARACTERS:
        raise UserError(say("public.name_too_long", max=limits.PUBLIC_MAILBOX_NAME_CHARACTERS))
    return name


@router.command(
    "public add {mailbox} {people:list}",
    "public add {people:list} to {mailbox}",
    "公共邮箱 添加成员|增加成员 {mailbox} {people:list}",
    role="admin",
    topic="public",
    example=("public add support@ calvin, dept:Sales", "公共邮箱 添加成员 support@ calvin、部门:销售"),
)
def public_add(ctx: Context, mailbox: str, people: list[str]) -> list[Reply]:
    """Let more people open a public mailbox."""
    ctx.require_admin()
    address = public_shown.meant(ctx, mailbox)
    title = say("public.title_add", address=address, people=people)
    return asked(ctx, "add", address, title, people=readers.typed(ctx, people))


@router.command(
    "public remove {mailbox} {people:list}",
    "public remove {people:list} from {mailbox}",
    "公共邮箱 移除成员|删除成员 {mailbox} {people:list}",
    role="admin",
    topic="public",
    example=("public remove support@ calvin", "公共邮箱 移除成员 support@ calvin"),
)
def public_remove(ctx: Context, mailbox: str, people: list[str]) -> list[Reply]:
    """Let somebody open a public mailbox no longer."""
    ctx.require_admin()
    address = public_shown.meant(ctx, mailbox)
    title = say("public.title_remove", address=address, people=people)
    return asked(ctx, "remove", address, title, people=readers.typed(ctx, people))


# --- making one ------------------------------------------------------------------------------------------------------


def look_create(job: JobContext) -> Question:
    """Who would open it, what stands in the way, and whether there is a place for it."""
    address, name = str(job.params["address"]), str(job.params["name"])
    lists = readers.resolved(job, job.params["people"])
    remember(job, lists)
    if (taken := clash.holder_we_see(job, address)) is not None:
        raise Refused(taken)
    room = public_shown.slots(job)
    tags = readers.tag_names(job, lists)
    with job.begin() as step:
        named = readers.named(step.tx, step.directory, lists, tags)
    words = say("public.ask_create", address=address, name=name, readers=named)
    return Question(words, "create_public_mailbox", facts_of_create(job, lists), hints=(room.words(),))


def facts_of_create(job: JobContext, lists: Lists) -> dict[str, Any]:
    """What is agreed to."""
    return {"mailbox": job.params["address"], "name": job.params["name"], "readers": lists.as_json()}


def create(job: JobContext) -> Written:
    """
    One call, whose answer may be lost: then the mailbox is looked for before it is made again.

    Found at once it is somebody else's, who was faster; found after WeCom was asked it is ours, if it bears our name:
    also when WeCom says that it is taken, because the client asks a busy one again, which may have made it.
    """
    address, name = str(job.params["address"]), str(job.params["name"])
    lists = kept(job)
    with changes.alone(job, f"address {address}") as writing:
        found = exmail.find_public_mailbox(job.client, address)
        if found is None:
            try:
                with writing():
                    made = exmail.publicmail_create(
                        job.client, address, name, userids=lists.userids, departments=lists.departments,
                        tags=lists.tags,
                    )  # fmt: skip
            except WeComError as error:
                late = exmail.find_public_mailbox(job.client, address) if error.errcode == TAKEN else None
                if late is None or late.name != name:
                    raise
                public_id = late.id  # a request before this one came in late
            else:
                public_id = made.id
        elif job.data.get("sent") and found.name == name:
            public_id = found.id
        else:
            raise Refused(say("clash.public", address=address, name=found.name))
        seen = exmail.publicmail_get(job.client, [public_id])

    def written(step: JobStep) -> Words:
        box = addresses.keep_public(step.tx, seen[0]) if seen else None
        step.tx.audit.add(
            step.job.asked_by, "public.created", address, job=step.job.id, id=public_id, readers=lists.as_json()
        )
        count = len(lists.expanded(step.tx))
        local = f"{address.partition('@')[0]}@"
        done = say("public.created", address=address, name=name, number=public_id, count=count)
        unseen = [] if box is not None else [say("public.created_unseen", address=address)]
        off = step.tx.answers.of("minted_login") == "no"
        switch_on = [say("public.switch_on_first")] if off else []
        return lines(done, *unseen, say("public.after_create", local=local), *switch_on)

    return written


# --- who can open it -------------------------------------------------------------------------------------------------


def remember(job: JobContext, lists: Lists) -> None:
    """Who is meant, by id: what is agreed to stays so, whatever is renamed meanwhile."""
    with job.begin() as step:
        step.put(lists=lists.as_json())


def kept(job: JobContext) -> Lists:
    """Who was meant."""
    return Lists(**{name: tuple(each) for name, each in job.data["lists"].items()})


def facts_of(box: Mailbox, seen: exmail.PublicMailbox, do: str, lists: Lists, reads: Sequence[str]) -> dict[str, Any]:
    """What is agreed to; not who else can open it, which another admin may change at the same time."""
    return {"mailbox": box.address, "id": seen.id, do: lists.as_json(), "reads": list(reads)}


def look_add(job: JobContext) -> Question | Words:
    """Who would gain; of a mailbox that holds backups it is another admin's to say, too."""
    box, seen = public_shown.must_be_shown(job, str(job.params["address"]))
    before, wanted = Lists.of(seen), readers.resolved(job, job.params["people"])
    lists = wanted - before
    remember(job, lists)
    tags = readers.tag_names(job, before + lists)
    with job.begin() as step:
        tx, directory = step.tx, step.directory
        if not lists:
            named = readers.named(tx, directory, wanted, tags)
            return say("public.can_already", address=box.address, readers=named)
        reads = tx.mailboxes.backups_in(box)
        gain = sorted(lists.expanded(tx) - before.expanded(tx))
        named, now = readers.named(tx, directory, lists, tags), len(before.expanded(tx))
    words = say("public.ask_add", address=box.address, readers=named, now=now, then=now + len(gain))
    if reads and (gain or lists.departments or lists.tags):
        warning = lines(words, say("public.reads_backups", address=box.address, sources=reads))
        facts = facts_of(box, seen, "add", lists, reads)
        return Question(warning, "add_readers_to_backup", facts, reason=reason_of(job), gains=gain)
    return Question(words, "change_public_mailbox", facts_of(box, seen, "add", lists, reads), reason=reason_of(job))


def reason_of(job: JobContext) -> str:
    """Why it is to be done, as it was typed."""
    return str(job.data.get("reason") or "")[: approvals.REASON_MAX]


def look_remove(job: JobContext) -> Question | Words:
    """Who could not open it any more, and who still could."""
    box, seen = public_shown.must_be_shown(job, str(job.params["address"]))
    before, wanted = Lists.of(seen), readers.resolved(job, job.params["people"])
    lists = wanted & before
    remember(job, lists)
    left = before - lists
    tags = readers.tag_names(job, before + wanted)
    with job.begin() as step:
        tx, directory = step.tx, step.directory
        named = readers.named(tx, directory, lists or wanted, tags)
        by_group = [directory.name(each) for each in sorted(set(wanted.userids) & left.expanded(tx))]
        if not lists and by_group:
            groups = readers.named(tx, directory, Lists((), left.departments, left.tags), tags)
            return say("public.by_group", address=box.address, readers=by_group, groups=groups)
        if not lists:
            return say("public.cannot_anyway", address=box.address, readers=named)
        if not left:
            raise Refused(say("public.nobody_left", address=box.address))
        hints = [say("public.still_can", readers=by_group)] if by_group else []
        words = say("public.ask_remove", address=box.address, readers=named, then=len(left.expanded(tx)))
    facts = facts_of(box, seen, "remove", lists, [])
    return Question(words, "change_public_mailbox", facts, reason=reason_of(job), hints=hints)


def add(job: JobContext) -> Written:
    """Those who are wanted are put to those who are there."""
    return change_readers(job, "add", lambda before, wish: before + wish)


def remove(job: JobContext) -> Written:
    """Those who are not wanted are taken out of those who are there."""
    return change_readers(job, "remove", lambda before, wish: before - wish)


def change_readers(job: JobContext, do: str, changed: Callable[[Lists, Lists], Lists]) -> Written:
    """The wish, carried out on the lists as WeCom has them at that moment; then they are read back."""
    box, seen = public_shown.must_be_shown(job, str(job.params["address"]))
    wish = kept(job)
    with job.services.store.begin() as tx:
        reads = tx.mailboxes.backups_in(box) if do == "add" else []
    changes.still_agreed(job, facts_of(box, seen, do, wish, reads))
    with changes.alone(job, f"public {seen.id}") as writing:
        before = Lists.of(one(job, seen.id, box.address))
        after = changed(before, wish)
        if not after:
            raise Refused(say("public.nobody_left", address=box.address))
        if parts := after.changed_from(before):
            with writing():
                exmail.publicmail_update(job.client, seen.id, **parts)
        found = one(job, seen.id, box.address)
        now = Lists.of(found)
        if (now & wish) != (wish if do == "add" else Lists()):
            raise Refused(say("public.not_kept", address=box.address))
    tags = readers.tag_names(job, wish)

    def written(step: JobStep) -> Words:
        addresses.keep_public(step.tx, found)
        detail: Mapping[str, Any] = {"id": seen.id, do: wish.as_json()}
        step.tx.audit.add(step.job.asked_by, "public.readers", box.address, job=step.job.id, **detail)
        named = readers.named(step.tx, step.directory, wish, tags)
        done = say(f"public.done_{do}", address=box.address, readers=named, count=len(now.expanded(step.tx)))
        return lines(done, *after_words(do, box))

    return written


def one(job: JobContext, public_id: int, address: str) -> exmail.PublicMailbox:
    """The mailbox as WeCom has it at this moment."""
    found = exmail.publicmail_get(job.client, [public_id])
    if not found:
        raise Refused(say("public.gone", address=address))
    return found[0]


def after_words(do: str, box: Mailbox) -> list[Words]:
    """What else there is to know: how to get at it; or that a password somebody knows goes on working."""
    local = f"{box.address.partition('@')[0]}@"
    return [say("public.how_to_open" if do == "add" else "public.passwords_live_on", local=local)]


# --- the job ---------------------------------------------------------------------------------------------------------

LOOKS: Mapping[str, changes.Look] = {"create": look_create, "add": look_add, "remove": look_remove}
ACTS: Mapping[str, changes.Act] = {"create": create, "add": add, "remove": remove}


def look(job: JobContext) -> Question | Words | Written:
    """What was asked for, looked into."""
    return LOOKS[job.params["do"]](job)


def act(job: JobContext) -> Written | None:
    """What was asked for, done."""
    return ACTS[job.params["do"]](job)


changes.kind(work, KIND, look=look, act=act)
