"""
Who can open which mailbox, and what an address is: `who can open support@`, `what can ahing open`, `find sal`.

Departments and tags are expanded, as far as the directory shows them. What an app cannot see (mailboxes and groups made
in the console) it cannot find: an address that looks free is free as far as we see.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.context import Context
from bot.directory import phrase_of
from bot.pinyin import Fit, fit
from bot.replies import Reply, Text
from bot.router import Router
from bot.wecom import exmail
from bot.wecom.errcodes import Retry, WeComError
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, Work
from handlers import addresses, readers
from handlers.address import clash
from handlers.lookup import answers
from handlers.public import public_shown
from handlers.readers import Lists
from handlers.tables import Cell, Form, table
from storage.mailboxes import made_in_console
from storage.models import Mailbox, MailboxKind, Member

router = Router()
work = Work()

LISTED_MAX = 25
WHO_COLUMNS = ("Member 成员", "Userid 账号", "Mailbox 邮箱", "By 途径")
WHAT_COLUMNS = ("Mailbox 邮箱", "Name 名称", "How we know 来源")
KINDS = {
    "member": "Member 成员", "left": "Left 已离职", "public": "Public mailbox 公共邮箱", "group": "Mail group 邮件群组",
    "alias": "Alias 别名", "bin": "Recycle bin 邮箱回收站",
}  # fmt: skip
FOUND_COLUMNS = ("What 类型", "Address 地址", "Name 名称", "More 说明")


# --- who can open it -------------------------------------------------------------------------------------------------


@router.command(
    "who can open {mailbox} [as {form:xlsx|csv}]",
    "谁能打开|谁可以打开 {mailbox} [导出 {form:xlsx|csv}]",
    "{mailbox} 谁能打开|谁可以打开 [导出 {form:xlsx|csv}]",
    role="auditor",
    topic="people",
    example=("who can open support@", "谁能打开 support@"),
)
def who_can_open(ctx: Context, mailbox: str, form: Form | None = None) -> list[Reply]:
    """Everybody who can open a mailbox, departments and tags written out."""
    meant = ctx.directory.mailbox(mailbox)
    params = {"address": meant.address, "userid": meant.userid, "form": form}
    ctx.start(ctx.tx.jobs.add("who-can-open", asked_by=ctx.sender, params=params))
    return []


@answers(work, "who-can-open")
def who(job: JobContext) -> list[Reply]:
    """A member's mailbox is his own; of a public one every person, with how he comes to it."""
    found = addresses.find_mailbox(job, job.params["address"], job.params["userid"])
    box = found.mailbox
    with job.begin() as step:
        asker = step.job.asked_by
        if box is None:
            return [Text(asker, found.problem or say("lookup.nothing"))]
        if box.owner is not None:
            owner = step.directory.name(box.owner)
            return [Text(asker, say("who.only_owner", address=box.address, owner=owner, userid=box.owner))]
        if box.kind is MailboxKind.UNSEEN:
            return [Text(asker, public_shown.invisible(step.tx, box.address))]
    lists = readers.of_row(box)
    tags = readers.tag_names(job, lists)
    with job.begin() as step:
        rows = [row_of(step, userid, box, lists, tags) for userid in sorted(lists.expanded(step.tx))]
        heading = "who.heading_told" if made_in_console(box) else "who.heading"
        told: list[Words | str] = [say(heading, address=box.address, count=len(rows))]
        form = job.params["form"]
        if form is None and len(rows) <= LISTED_MAX:
            told += [say("who.line", name=str(name), userid=str(userid), by=by) for name, userid, _, by in rows]
        unseen = [tags.get(each, str(each)) for each in lists.tags if not step.tx.members.tagged(each)]
        if unseen:
            told.append(say("who.tags_unseen", tags=unseen))
        told.append(say("who.passwords_too", local=f"{box.address.partition('@')[0]}@"))
        replies: list[Reply] = [Text(asker, lines(*told))]
        if form is not None or len(rows) > LISTED_MAX:
            name = f"who-can-open-{box.address.partition('@')[0]}"
            cells = [(*row[:3], row[3].text("zh")) for row in rows]
            replies.append(table(asker, name, "Who can open 谁能打开", WHO_COLUMNS, cells, form or "xlsx"))
        return replies


def row_of(
    step: JobStep, userid: str, box: Mailbox, lists: Lists, tags: dict[int, str]
) -> tuple[Cell, Cell, Cell, Words]:
    """A person and how he comes to it."""
    tx = step.tx
    if userid in lists.userids:
        by = say("who.by_name")
    else:
        departments = tuple(each for each in lists.departments if userid in tx.members.in_departments([each]))
        carried = tuple(each for each in lists.tags if userid in tx.members.tagged(each))
        groups = readers.named(tx, step.directory, Lists((), departments, carried), tags)
        by = say("who.by_groups", groups=groups)
    return step.directory.name(userid), userid, box.address, by


# --- what can he open ------------------------------------------------------------------------------------------------


@router.command(
    "what can {member} open [as {form:xlsx|csv}]",
    "哪些邮箱 {member} 能打开|可以打开 [导出 {form:xlsx|csv}]",
    "能打开哪些邮箱 {member} [导出 {form:xlsx|csv}]",
    "{member} 能打开哪些邮箱|可以打开哪些邮箱 [导出 {form:xlsx|csv}]",
    role="auditor",
    topic="people",
    example=("what can ahing open", "哪些邮箱 ahing 能打开"),
)
def what_can_open(ctx: Context, member: str, form: Form | None = None) -> list[Reply]:
    """Every mailbox a member can open: his own, and the public ones."""
    userid = ctx.directory.member(member).userid
    ctx.start(ctx.tx.jobs.add("what-can-open", asked_by=ctx.sender, params={"userid": userid, "form": form}))
    return []


@answers(work, "what-can-open")
def what(job: JobContext) -> list[Reply]:
    """His own mailbox, and every public one whose lists hold him."""
    userid = str(job.params["userid"])
    own = addresses.find_mailbox(job, None, userid)
    public_shown.read_all(job)
    with job.begin() as step:
        name = step.directory.name(userid)
        told = [say("who.opens_own", name=name, address=own.mailbox.address)] if own.mailbox is not None else []
        if own.mailbox is None:
            told.append(own.problem or say("lookup.nothing"))
        opens = [each for each in step.tx.mailboxes.public() if userid in readers.of_row(each).expanded(step.tx)]
        form = job.params.get("form")
        long = form is not None or len(opens) > LISTED_MAX
        if opens and long:
            told.append(say("who.opens_many", name=name, count=len(opens)))
        for box in [] if long else opens:
            key = "who.opens_told" if made_in_console(box) else "who.opens"
            told.append(say(key, address=box.address, name=box.name or box.address))
        if not opens:
            told.append(say("who.opens_no_public", name=name))
        told += public_shown.only_own(step.tx)
        asker = step.job.asked_by
        if not long:
            return [Text(asker, lines(*told))]
        cells = [(box.address, box.name or "", "told 据告知" if made_in_console(box) else "seen 可见") for box in opens]
        sheet = table(asker, f"what-{userid}-can-open", "Can open 能打开", WHAT_COLUMNS, cells, form or "xlsx")
        return [Text(asker, lines(*told)), sheet]


# --- find ------------------------------------------------------------------------------------------------------------


@router.command(
    "find|search {words:text} [as {form:xlsx|csv}]",
    "查找|搜索 {words:text} [导出 {form:xlsx|csv}]",
    role="auditor",
    topic="people",
    example=("find sal", "查找 sal"),
)
def find(ctx: Context, words: str, form: Form | None = None) -> list[Reply]:
    """Members, mailboxes, groups and aliases with this in name or address; whether an address is free."""
    wanted = phrase_of(words)
    address = ctx.directory.address(wanted) if "@" in wanted and " " not in wanted else None
    params = {"words": wanted, "address": address, "form": form}
    ctx.start(ctx.tx.jobs.add("find", asked_by=ctx.sender, params=params))
    return []


Hit = tuple[str, str, str, Words | str]  # what kind of thing, address, name, more


@answers(work, "find")
def found(job: JobContext) -> list[Reply]:
    """What is called so, and for a whole address what it is."""
    wanted, address = str(job.params["words"]), job.params["address"]
    exact = [kind_of(job, str(address))] if address is not None else []
    part = wanted.partition("@")[0] or wanted
    seen = exmail.publicmail_search(job.client, part)
    if seen:
        shown = exmail.publicmail_get(job.client, [each.id for each in seen])
        with job.services.store.begin() as tx:
            for each in shown:
                addresses.keep_public(tx, each)
    groups = groups_called(job, part)
    with job.begin() as step:
        hits = [*members_called(step, part), *mailboxes_called(step, part), *groups]
        asker = step.job.asked_by
        if not hits and not exact:
            return [Text(asker, lines(say("who.nothing_found", words=wanted), say("who.not_all_seen")))]
        told: list[Words | str] = [*exact]
        form = job.params.get("form")
        if form is None and len(hits) <= LISTED_MAX:
            unknown = say("who.address_unknown")
            told += [
                say(f"who.hit_{kind}", address=at or unknown, name=name, more=more) for kind, at, name, more in hits
            ]
            return [Text(asker, lines(*told))]
        told.append(say("who.found_many", count=len(hits)))
        cells = [
            (KINDS[kind], at, name, more if isinstance(more, str) else more.text("zh")) for kind, at, name, more in hits
        ]
        return [
            Text(asker, lines(*told)),
            table(asker, "found", "Found 查找结果", FOUND_COLUMNS, cells, form or "xlsx"),
        ]


def kind_of(job: JobContext, address: str) -> Words:
    """What an address is: a member's, public, a group, an alias, held by the bin, or free as far as we see."""
    try:
        return clash.holder(job, address) or say("who.free", address=address)
    except addresses.NoBudget:
        return say("addresses.no_budget", address=address)


def members_called(step: JobStep, part: str) -> list[Hit]:
    """Members by name, userid, alias, nickname or the whole in pinyin, also those who left."""
    everybody: Sequence[Member] = step.tx.members.all(left=True)
    names = [(each, step.directory.names(each)) for each in everybody]
    called = [who for who, every in names if any(part in name or fit(part, name) is Fit.USUAL for name in every)]
    hits: list[Hit] = []
    for member in called:
        box = step.tx.mailboxes.of(member.userid)
        kind = "member" if member.left_at is None else "left"
        hits.append((kind, box.address if box is not None else "", member.name, member.userid))
    return hits


def mailboxes_called(step: JobStep, part: str) -> list[Hit]:
    """Mailboxes and aliases by address, public ones also by name, and what lies in the bin."""
    tx, hits = step.tx, list[Hit]()
    for box in tx.mailboxes.all():
        owner = step.directory.name(box.owner) if box.owner is not None else ""
        if box.kind is MailboxKind.PUBLIC and (part in box.address or part in (box.name or "").casefold()):
            more = say("who.made_in_console") if made_in_console(box) else str(box.public_id)
            hits.append(("public", box.address, box.name or "", more))
        elif box.kind is MailboxKind.MEMBER and part in box.address and part not in (box.owner or ""):
            hits.append(("member", box.address, owner, box.owner or ""))
        hits += [("alias", each, owner or box.name or "", box.address) for each in box.aliases if part in each]
    for item in tx.recycle_bin.waiting(count_max=10 * LISTED_MAX):
        if item.address is not None and part in item.address:
            hits.append(("bin", item.address, item.owner_name or "", str(item.id)))
    return hits


def groups_called(job: JobContext, part: str) -> list[Hit]:
    """Mail groups that the app sees, by address or name."""
    try:
        groups = exmail.group_search(job.client)
    except WeComError as error:
        if error.retry is not Retry.NEVER:
            raise
        return []
    return [
        ("group", each.address, each.name, "")
        for each in groups
        if part in each.address.casefold() or part in each.name.casefold()
    ]
