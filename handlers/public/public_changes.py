"""
The rest of a public mailbox's life: its name, its aliases, its end, and those that somebody has to tell us of.

Its address cannot be changed, the nearest is an alias. Deleted by two admins it lies in the recycle bin (`into_bin.py`
does it and sees it), where the book counts its days.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

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
from handlers.bin import into_bin
from handlers.bin.deletion import whole
from handlers.changes import Question, Refused, Written
from handlers.copying.access import PUBLIC_GONE
from handlers.public import public_shown
from handlers.public.public_mailbox import checked_name, one
from handlers.readers import Lists
from storage.mailboxes import made_in_console
from storage.models import Mailbox

router = Router()
work = Work()

KIND = "public-change"
DELETE_KIND = "public-delete"
ADOPT_KIND = "public-adopt"
NOTE_KIND = "public-note"


def asked(ctx: Context, kind: str, address: str, title: Words, /, **params: Any) -> list[Reply]:
    """A change of one mailbox, on its way."""
    job = changes.ask_for(ctx, kind, address, title, **params)
    ctx.tx.audit.add(ctx.sender, "public.asked", address, job=job.id, do=params.get("do", kind))
    return []


# --- name and aliases ------------------------------------------------------------------------------------------------


@router.command(
    "public rename {mailbox} {name}",
    "公共邮箱 改名|重命名 {mailbox} {name}",
    role="admin",
    topic="public",
    example=('public rename support@ "Service"', "公共邮箱 改名 support@ “客户服务”"),
)
def public_rename(ctx: Context, mailbox: str, name: str) -> list[Reply]:
    """Give a public mailbox another name; its address stays."""
    ctx.require_admin()
    address, name = public_shown.meant(ctx, mailbox), checked_name(name)
    title = say("public.title_rename", address=address, name=name)
    return asked(ctx, KIND, address, title, do="rename", name=name)


@router.command(
    "public alias add {mailbox} {aliases:list}",
    "公共邮箱 别名 添加|增加 {mailbox} {aliases:list}",
    role="admin",
    topic="public",
    example=("public alias add support@ help@, service@", "公共邮箱 别名 添加 support@ help@、service@"),
)
def public_alias_add(ctx: Context, mailbox: str, aliases: list[str]) -> list[Reply]:
    """Give a public mailbox more addresses, five at most."""
    return alias_wish(ctx, "alias_add", mailbox, aliases)


@router.command(
    "public alias remove {mailbox} {aliases:list}",
    "公共邮箱 别名 移除|删除 {mailbox} {aliases:list}",
    role="admin",
    topic="public",
    example=("public alias remove support@ help@", "公共邮箱 别名 移除 support@ help@"),
)
def public_alias_remove(ctx: Context, mailbox: str, aliases: list[str]) -> list[Reply]:
    """Take addresses from a public mailbox: mail to them comes back then."""
    return alias_wish(ctx, "alias_remove", mailbox, aliases)


def alias_wish(ctx: Context, do: str, mailbox: str, aliases: Sequence[str]) -> list[Reply]:
    """Which addresses, written out."""
    ctx.require_admin()
    address = public_shown.meant(ctx, mailbox)
    wanted = list(dict.fromkeys(ctx.directory.address(each) for each in aliases))
    domains = ctx.directory.domains()
    if do == "alias_add" and (foreign := [each for each in wanted if each.partition("@")[2] not in domains]):
        raise UserError(say("directory.foreign_domain", address=foreign[0], domain=ctx.settings.exmail_domain))
    title = say(f"public.title_{do}", address=address, aliases=wanted)
    return asked(ctx, KIND, address, title, do=do, aliases=wanted)


def look(job: JobContext) -> Question | Words:
    """What it has now, and what would become of it."""
    box, seen = public_shown.must_be_shown(job, str(job.params["address"]))
    facts = facts_of(job, box, seen)
    if job.params["do"] == "rename":
        name = str(job.params["name"])
        if seen.name == name:
            return say("public.called_so", address=box.address, name=name)
        words = say("public.ask_rename", address=box.address, before=seen.name, name=name)
        return Question(words, "change_public_mailbox", facts, hints=[say("public.address_stays", address=box.address)])
    has, wish = folded(seen.aliases), [str(each) for each in job.params["aliases"]]
    if job.params["do"] == "alias_remove":
        gone = [each for each in wish if each in has]
        if not gone:
            return say("public.no_such_alias", address=box.address, aliases=shown(has))
        left = [each for each in has if each not in gone]
        words = say("public.ask_alias_remove", address=box.address, aliases=gone, left=shown(left))
        return Question(words, "change_public_mailbox", facts, hints=[say("public.alias_comes_back")])
    new = [each for each in wish if each not in has]
    if not new:
        return say("public.has_alias", address=box.address, aliases=wish)
    if len(has) + len(new) > limits.ALIASES_MAX:
        raise Refused(say("public.too_many_aliases", address=box.address, max=limits.ALIASES_MAX, aliases=shown(has)))
    for each in new:
        if (taken := clash.holder_we_see(job, each)) is not None:
            raise Refused(taken)
    words = say("public.ask_alias_add", address=box.address, aliases=new, whole=[*has, *new])
    return Question(words, "change_public_mailbox", facts)


def facts_of(job: JobContext, box: Mailbox, seen: exmail.PublicMailbox) -> dict[str, Any]:
    """What is agreed to; of a list only the wish, another admin may change it at the same time."""
    before = {"name": seen.name} if job.params["do"] == "rename" else {}
    return {"mailbox": box.address, "id": seen.id, **before}


def shown(aliases: list[str]) -> list[str] | Words:
    """Them, or the word for none."""
    return aliases or say("public.aliases_none")


def folded(aliases: Sequence[str]) -> list[str]:
    """Addresses have no case."""
    return [each.casefold() for each in aliases]


def act(job: JobContext) -> Written:
    """The wish, carried out on what WeCom has at that moment, and read back."""
    box, seen = public_shown.must_be_shown(job, str(job.params["address"]))
    changes.still_agreed(job, facts_of(job, box, seen))
    do = str(job.params["do"])
    with changes.alone(job, f"public {seen.id}") as writing:
        before = one(job, seen.id, box.address)
        parts, words = wanted(job, before, box.address)
        if parts:
            with writing():
                exmail.publicmail_update(job.client, seen.id, **parts)
        now = one(job, seen.id, box.address)
        if wanted(job, now, box.address)[0]:
            raise Refused(say("public.not_kept", address=box.address))

    def written(step: JobStep) -> Words:
        addresses.keep_public(step.tx, now)
        event = "public.renamed" if do == "rename" else "public.aliases"
        step.tx.audit.add(
            step.job.asked_by, event, box.address, job=step.job.id, id=seen.id, before=before.name,
            after=now.name, aliases=list(now.aliases),
        )  # fmt: skip
        return words

    return written


def wanted(job: JobContext, now: exmail.PublicMailbox, address: str) -> tuple[dict[str, Any], Words]:
    """What is still to be sent, nothing when it is as it should be; and what is said then."""
    if job.params["do"] == "rename":
        name = str(job.params["name"])
        said = say("public.done_rename", address=address, name=name)
        return ({"name": name} if now.name != name else {}), said
    wish, has = [str(each) for each in job.params["aliases"]], folded(now.aliases)
    if job.params["do"] == "alias_add":
        after = list(dict.fromkeys([*has, *wish]))
        if len(after) > limits.ALIASES_MAX:
            raise Refused(say("public.too_many_aliases", address=address, max=limits.ALIASES_MAX, aliases=shown(has)))
    else:
        after = [each for each in has if each not in wish]
    said = say("public.done_aliases", address=address, aliases=shown(after))
    return ({"aliases": after} if after != has else {}), said


changes.kind(work, KIND, look=look, act=act)


# --- deleted ---------------------------------------------------------------------------------------------------------


@router.command(
    "public delete {mailbox} because {reason:text}",
    "公共邮箱 删除 {mailbox} 原因|因为 {reason:text}",
    role="admin",
    topic="public",
    example=("public delete support@ because nobody uses it", "公共邮箱 删除 support@ 原因 无人使用"),
)
def public_delete(ctx: Context, mailbox: str, reason: str) -> list[Reply]:
    """Delete a public mailbox, once another admin agrees; it lies in the recycle bin then."""
    ctx.require_admin()
    address = public_shown.meant(ctx, mailbox)
    title = say("public.title_delete", address=address)
    return asked(ctx, DELETE_KIND, address, title, reason=reason.strip()[: approvals.REASON_MAX])


def look_delete(job: JobContext) -> Question:
    """Who uses it, what it holds, and whether its mail is saved."""
    box, seen = public_shown.must_be_shown(job, str(job.params["address"]))
    facts = facts_of_delete(job, box, seen)
    use, lists = public_shown.use_of(job, seen.id), Lists.of(seen)
    tags = readers.tag_names(job, lists)
    with job.begin() as step:
        step.put(source=box.id)
        named = readers.named(step.tx, step.directory, lists, tags)
        zone = step.services.settings.zone
        parts = [
            *into_bin.question(step, address=box.address, name=seen.name, readers=named),
            say("public.use", use=use.words(zone)),
        ]
        local = f"{box.address.partition('@')[0]}@"
        if facts["reads"]:
            parts.append(say("public.deletes_backups", sources=facts["reads"]))
        if facts["saved"] is not None:
            parts.append(say("public.is_saved", backup=facts["saved"]))
        else:
            parts.append(say("public.not_saved", local=local, number=step.job.id))
    return Question(lines(*parts), "delete_public_mailbox", facts, reason=str(job.data["reason"]))


def facts_of_delete(job: JobContext, box: Mailbox, seen: exmail.PublicMailbox) -> dict[str, Any]:
    """What two people agree to; no counts. Refused while something else is at work on it."""
    with job.services.store.begin() as tx:
        others = [each for each in tx.jobs.open_on([box.id], addresses=[box.address]) if each.id != job.job_id]
        if others:
            raise Refused(say("deletion.busy", address=box.address, other=others[0].id))
        saved = next((each.id for each in tx.recycle_bin.backups_of(box.id) if whole(each)), None)
        return {
            "mailbox": box.address, "id": seen.id, "name": seen.name, "readers": Lists.of(seen).as_json(),
            "aliases": sorted(folded(seen.aliases)), "reads": tx.mailboxes.backups_in(box), "saved": saved,
        }  # fmt: skip


def act_delete(job: JobContext) -> Written | None:
    """The facts once more, then it is deleted and seen to be gone; None while the console is asked to."""
    if not (job.data.get("deleting") or job.data.get("handovers")):
        box, seen = public_shown.must_be_shown(job, str(job.params["address"]))
        changes.still_agreed(job, facts_of_delete(job, box, seen))
        changes.sending(job)
    try:
        seen_gone = into_bin.delete_agreed(job, stage="act")
    except into_bin.TooLate as late:
        raise Refused(late.words()) from None
    if seen_gone is None:
        return None
    return lambda step: into_bin.public_is_deleted(step, seen_gone, owner=None, stage="act")


def last_delete(job: JobContext) -> Callable[[JobStep], tuple[Words, str] | None] | None:
    """It had to stop after WeCom was asked: is it gone all the same?"""
    if not job.data.get("sent") or job.data.get("gone"):
        return None
    look = into_bin.last_look(job, "act")

    def written(step: JobStep) -> tuple[Words, str] | None:
        late = into_bin.done_all_the_same(step, "act", look)
        if late is None:
            return None
        return into_bin.public_is_deleted(step, late, owner=None, stage="act"), "done"

    return written


changes.kind(work, DELETE_KIND, look=look_delete, act=act_delete, last=last_delete)


# --- those we do not see ---------------------------------------------------------------------------------------------


@router.command(
    "public adopt id {number:int}",
    "公共邮箱 认领 编号 {number:int}",
    role="admin",
    topic="public",
    example=("public adopt id 12", "公共邮箱 认领 编号 12"),
)
def public_adopt(ctx: Context, number: int) -> list[Reply]:
    """Look at a public mailbox that is on no list of mine, by its number in WeCom."""
    ctx.require_admin()
    return asked(ctx, ADOPT_KIND, f"id {number}", say("public.title_adopt", number=number), number=number)


def look_adopt(job: JobContext) -> Written:
    """If WeCom shows it, it is known from now on; nothing is changed there."""
    number = int(job.params["number"])
    try:
        found = exmail.publicmail_get(job.client, [number])
    except WeComError as error:
        if error.errcode not in PUBLIC_GONE:
            raise
        found = []
    if not found:
        raise Refused(say("public.adopt_unseen", number=number))

    def written(step: JobStep) -> Words:
        box = addresses.keep_public(step.tx, found[0])
        step.tx.audit.add(step.job.asked_by, "public.adopted", box.address, job=step.job.id, id=number)
        return say("public.adopted", address=box.address, name=found[0].name, local=f"{box.address.partition('@')[0]}@")

    return written


def never(job: JobContext) -> Written:
    """Adopting and noting ask nobody and change nothing."""
    raise AssertionError(job.kind)


changes.kind(work, ADOPT_KIND, look=look_adopt, act=never)


@router.command(
    "public note {address} {name} for {people:list}",
    "公共邮箱 登记 {address} {name} 成员|给 {people:list}",
    role="admin",
    topic="public",
    example=('public note sales@ "Sales" for ling, calvin', "公共邮箱 登记 sales@ “销售” 成员 ling、calvin"),
)
def public_note(ctx: Context, address: str, name: str, people: list[str]) -> list[Reply]:
    """Tell me of a public mailbox made in the console, which I cannot see: its name and who can open it."""
    ctx.require_admin()
    address, name = ctx.directory.address(address), checked_name(name)
    wished = readers.typed(ctx, people)
    if wished["tags"]:
        raise UserError(say("public.note_without_tags"))
    known = {each.name.casefold(): each.id for each in ctx.tx.members.departments()}
    if unknown := [each for each in wished["departments"] if each.casefold() not in known]:
        raise UserError(say("readers.no_department", name=unknown[0], offered=list(known)[: readers.OFFERED_MAX]))
    lists = Lists(tuple(wished["userids"]), tuple(known[each.casefold()] for each in wished["departments"]))
    title = say("public.title_note", address=address)
    return asked(ctx, NOTE_KIND, address, title, name=name, lists=lists.as_json())


def look_note(job: JobContext) -> Written:
    """Kept as it was told, unless the address is seen to be somebody's or something else's."""
    address, name = str(job.params["address"]), str(job.params["name"])
    with job.services.store.begin() as tx:
        box = tx.mailboxes.at(address)
    told_before = box is not None and made_in_console(box)
    if not told_before and (taken := clash.holder_we_see(job, address)) is not None:
        raise Refused(taken)
    lists = Lists(**{part: tuple(each) for part, each in job.params["lists"].items()})

    def written(step: JobStep) -> Words:
        step.tx.mailboxes.told_of(address, name=name, readers=lists.as_json())
        step.tx.audit.add(step.job.asked_by, "public.noted", address, job=step.job.id, readers=lists.as_json())
        named = readers.named(step.tx, step.directory, lists, {})
        return lines(say("public.noted", address=address, readers=named), say("public.only_own"))

    return written


changes.kind(work, NOTE_KIND, look=look_note, act=never)
