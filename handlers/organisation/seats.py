"""
`vip`: who has the advanced functions (邮件高级功能), and giving and taking them, a hundred members a call.

Each call says for whom it worked: those it did not are told by name. A seat that a member has is one that makes no
place for a public mailbox.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bot.context import Context
from bot.replies import Reply, Text
from bot.router import Router
from bot.wecom import exmail, limits
from bot.wecom.client import WeComClient
from bot.wecom.errcodes import Retry, WeComError
from bot.wecom.exmail import VipOutcome
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, Work
from handlers import changes, readers
from handlers.changes import Question, Written
from handlers.lookup import answers
from handlers.tables import Form, table

router = Router()
work = Work()

KIND = "seats"
SHOW_KIND = "seats_shown"
ACTION = "seats"  # of the policy
ABOUT = "邮件高级功能"
NAMES_SHOWN = 30
COLUMNS = ("Member 成员", "Userid 账号")

Call = Callable[[WeComClient, Sequence[str]], VipOutcome]


@router.command(
    "vip|seats [as {form:xlsx|csv}]",
    "高级功能|高级席位|vip席位 [导出 {form:xlsx|csv}]",
    role="auditor",
    topic="people",
    example=("vip", "高级功能"),
)
def seats_show(ctx: Context, form: Form | None = None) -> list[Reply]:
    """Who has the advanced mail functions (邮件高级功能)."""
    ctx.start(ctx.tx.jobs.add(SHOW_KIND, asked_by=ctx.sender, params={"form": form}))
    return []


@router.command(
    "vip|seats add {people:list}", "高级功能|高级席位 添加|分配|开通 {people:list}", role="admin", topic="people",
    example=("vip add ahing, dept:Sales", "高级功能 添加 ahing、部门:销售"),
)  # fmt: skip
def seats_add(ctx: Context, people: list[str]) -> list[Reply]:
    """Give members, departments or tags the advanced mail functions."""
    return asked(ctx, "add", people)


@router.command(
    "vip|seats remove {people:list}", "高级功能|高级席位 移除|取消|收回 {people:list}", role="admin", topic="people",
    example=("vip remove ahing", "高级功能 移除 ahing"),
)  # fmt: skip
def seats_remove(ctx: Context, people: list[str]) -> list[Reply]:
    """Take the advanced mail functions back; the seats are free for others."""
    return asked(ctx, "remove", people)


def asked(ctx: Context, do: str, people: list[str]) -> list[Reply]:
    """A change of seats, on its way."""
    title = say(f"seats.title_{do}", people=people)
    changes.ask_for(ctx, KIND, ABOUT, title, do=do, people=readers.typed(ctx, people))
    return []


# --- shown -----------------------------------------------------------------------------------------------------------


@answers(work, SHOW_KIND)
def shown(job: JobContext) -> list[Reply]:
    """Everybody with a seat; a long list as a file."""
    having = seated(job)
    with job.begin() as step:
        to, form = step.job.asked_by, step.job.params.get("form")
        if not having:
            return [Text(to, lines(say("seats.none"), say("seats.how")))]
        told = [say("seats.heading", count=len(having))]
        replies: list[Reply] = []
        if form is None and len(having) <= NAMES_SHOWN:
            told.append(say("seats.names", names=names_of(step, having)))
        else:
            rows = [(step.directory.name(each), each) for each in having]
            replies.append(table(to, f"advanced-seats-{step.now:%Y%m%d}", "Seats", COLUMNS, rows, form or "xlsx"))
        told += [say("seats.meaning"), say("seats.how")]
        return [Text(to, lines(*told)), *replies]


def seated(job: JobContext) -> list[str]:
    """Userids with a seat, of those in sight."""
    found: list[str] = []
    cursor: str | None = None
    for _ in range(limits.PAGES_MAX):
        page = exmail.vip_list(job.client, cursor)
        found += [each.casefold() for each in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    return sorted(dict.fromkeys(found))


def names_of(step: JobStep, userids: Sequence[str]) -> list[Words | str]:
    """Names, not too many."""
    named: list[Words | str] = [step.directory.name(each) for each in userids[:NAMES_SHOWN]]
    if len(userids) > NAMES_SHOWN:
        named.append(say("readers.more", count=len(userids) - NAMES_SHOWN))
    return named


# --- changed ---------------------------------------------------------------------------------------------------------


def look(job: JobContext) -> Question | Words:
    """For whom it changes something."""
    do, having = str(job.params["do"]), set(seated(job))
    lists = readers.resolved(job, job.params["people"])
    with job.begin() as step:
        wanted = lists.expanded(step.tx)
        changing = sorted(wanted - having if do == "add" else wanted & having)
        if not changing:
            return say(f"seats.nothing_to_{do}", count=len(wanted))
        step.put(userids=changing)
        then = len(having) + len(changing) * (1 if do == "add" else -1)
        words = say(f"seats.ask_{do}", names=names_of(step, changing), count=len(changing), now=len(having), then=then)
        hints = [say("seats.meaning")]
        return Question(words, ACTION, {"mailbox": ABOUT, do: {"userids": changing}}, hints=hints)


def act(job: JobContext) -> Written:
    """A hundred a call, which may all be made twice; who was refused is told by name, and who was not asked about."""
    do, userids = str(job.params["do"]), [str(each) for each in job.data["userids"]]
    call = CALLS[do]
    done: list[str] = []
    failed: list[str] = []
    left, why = list(userids), None
    with changes.alone(job, "seats") as writing:
        while left:
            try:
                with writing():
                    outcome = call(job.client, left[: limits.VIP_BATCH_MAX])
            except WeComError as error:
                if error.retry is not Retry.NEVER or not (done or failed):
                    raise
                why = error.words()
                break
            failed += [each.casefold() for each in outcome.failed]
            done += [each for each in left[: limits.VIP_BATCH_MAX] if each not in failed]
            left = left[limits.VIP_BATCH_MAX :]

    def written(step: JobStep) -> Words:
        detail: Mapping[str, Any] = {"do": do, "done": done, "failed": failed, "not_asked": left}
        step.tx.audit.add(step.job.asked_by, "seats.changed", ABOUT, job=job.job_id, **detail)
        told = [say(f"seats.done_{do}", names=names_of(step, done), count=len(done))] if done else []
        if failed:
            told.append(say("seats.failed", names=names_of(step, failed), count=len(failed)))
        if why is not None:
            told.append(say("seats.stopped", names=names_of(step, left), count=len(left), why=why))
        return lines(*told)

    return written


CALLS: Mapping[str, Call] = {
    "add": lambda client, userids: exmail.vip_batch_add(client, userids),
    "remove": lambda client, userids: exmail.vip_batch_del(client, userids),
}

changes.kind(work, KIND, look=look, act=act)
