"""What people are called here beside their names: `ahing is also 阿兴哥`; and what one person meant by a word."""

from __future__ import annotations

from bot.context import Context
from bot.directory import phrase_of
from bot.errors import UserError
from bot.policy import Role
from bot.replies import Reply, Text
from bot.router import Router
from bot.words import Words, lines, say
from bot.work import Work
from handlers.tables import table
from storage.models import Member

router = Router()
work = Work()

NAME_MAX = 32  # characters
LISTED_MAX = 25
NOT_IN_A_NAME = '@,，、;；:：/\\"“”「」<>'
COLUMNS = ("Nickname 昵称", "Member 成员", "Userid 账号", "Given by 登记人")


@router.command(
    "nickname {member} is {nickname:text}",
    "{member} is also {nickname:text}",
    "昵称 {member} 为|是 {nickname:text}",
    "{member} 也叫|又叫|又名 {nickname:text}",
    role="admin",
    topic="people",
    example=("ahing is also 阿兴哥", "阿兴 也叫 阿兴哥"),
)
def nickname(ctx: Context, member: str, nickname: str) -> list[Reply]:
    """Give a member a nickname, which every command understands from then on."""
    admin, name = ctx.require_admin(), " ".join(nickname.split())
    who = ctx.directory.member(member)
    if who.left_at is not None:
        raise UserError(say("nicknames.left", who=ctx.directory.candidate(who).label))
    if (refused := refusal(ctx, who, name)) is not None:
        raise UserError(refused)
    ctx.tx.names.call(who.userid, name, by=admin)
    ctx.tx.audit.add(admin, "nickname.given", name, member=who.userid)
    return [Text(admin, say("nicknames.given", name=name, who=ctx.directory.candidate(who).label))]


def refusal(ctx: Context, who: Member, name: str) -> Words | None:
    """Why somebody cannot be called so; None when he can."""
    key = phrase_of(name)
    if not key or len(name) > NAME_MAX or key.isdecimal() or any(each in name for each in NOT_IN_A_NAME):
        return say("nicknames.odd", name=name[:NAME_MAX], most=NAME_MAX)
    holders = [each for each in ctx.directory.everybody if key in ctx.directory.names(each)]
    if who.userid in [each.userid for each in holders]:
        return say("nicknames.is_so", name=name, who=ctx.directory.candidate(who).label)
    if holders:
        other = holders[0]
        given = ctx.tx.names.nickname(key) is not None
        label = ctx.directory.candidate(other).label
        return say("nicknames.others_nickname" if given else "nicknames.others_name", name=name, who=label)
    if (left := ctx.tx.members.find(key)) is not None:
        return say("nicknames.others_name", name=name, who=ctx.directory.candidate(left).label)
    for box in ctx.tx.mailboxes.all():
        called = {each.partition("@")[0] for each in (box.address, *box.aliases)} | {(box.name or "").casefold()}
        if key in called and box.owner != who.userid:
            return say("nicknames.a_mailbox", name=name, address=box.address)
    return None


@router.command("forget {words:text}", "忘记|忘掉 {words:text}", topic="people", example=("forget li", "忘记 阿兴哥"))
def forget(ctx: Context, words: str) -> list[Reply]:
    """Forget a nickname, or whom you meant by a word: then I ask again."""
    phrase, told = phrase_of(words), list[Words]()
    if (meant := ctx.tx.names.meant(ctx.sender, phrase)) is not None:
        ctx.tx.names.forget_meant(meant)
        told.append(say("nicknames.asks_again", name=phrase))
    row = ctx.tx.names.nickname(phrase)
    if row is not None and not (told and not ctx.may(Role.ADMIN, Role.SUPER_ADMIN)):
        admin, who = ctx.require_admin(), ctx.directory.name(row.userid)
        ctx.tx.audit.add(admin, "nickname.forgotten", row.name, member=row.userid)
        told.append(say("nicknames.forgotten", name=row.name, who=f"{who} ({row.userid})"))
        ctx.tx.names.forget_nickname(row)
    if not told:
        raise UserError(say("nicknames.not_known", name=words))
    return [Text(ctx.sender, lines(*told))]


@router.command(
    "nicknames [{member}]", "昵称 [{member}]", role="auditor", topic="people", example=("nicknames", "昵称")
)
def nicknames(ctx: Context, member: str | None = None) -> list[Reply]:
    """What members are called beside their names, and whom you mean by words that fit several."""
    who = ctx.directory.member(member) if member is not None else None
    rows = [each for each in ctx.tx.names.nicknames() if who is None or each.userid == who.userid]
    mine = [each for each in ctx.tx.names.all_meant(ctx.sender) if who is None or each.meant == who.userid]
    told: list[Words] = []
    replies: list[Reply] = []
    if len(rows) > LISTED_MAX:
        told.append(say("nicknames.many", count=len(rows)))
        cells = [(each.name, ctx.directory.name(each.userid), each.userid, each.added_by) for each in rows]
        replies.append(table(ctx.sender, "nicknames", "Nicknames 昵称", COLUMNS, cells))
    else:
        for userid in dict.fromkeys(each.userid for each in rows):
            names = [each.name for each in rows if each.userid == userid]
            told.append(say("nicknames.line", who=f"{ctx.directory.name(userid)} ({userid})", names=names))
    told += [say("nicknames.meant", name=each.phrase, who=shown(ctx, each.meant)) for each in mine[:LISTED_MAX]]
    if not told:
        told.append(say("nicknames.none"))
    return [Text(ctx.sender, lines(*told)), *replies]


def shown(ctx: Context, meant: str) -> str:
    """A member with his userid, or an address."""
    return meant if "@" in meant else f"{ctx.directory.name(meant)} ({meant})"
