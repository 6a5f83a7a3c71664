"""What an approver asks back before he answers, and what he hears; the question itself stays open."""

from __future__ import annotations

from bot.context import Context, Missing
from bot.errors import UserError
from bot.replies import Reply, Text
from bot.router import Router
from bot.words import say
from bot.work import Work
from handlers.approvals import approvals
from handlers.approvals.approval_card import about, asker_of, greyed, headline, question_card

router = Router()
work = Work()

WORDS_MAX = 500
TURNS_MAX = 40  # then they may as well telephone
ANSWER_COMMAND = "answer"


@router.command(
    "ask {approval_id:int} [{words:text}]",
    "询问|问 {approval_id:int} [{words:text}]",
    topic="approvals",
    example=("ask 42 why now?", "询问 42 为什么是现在？"),
)
@router.action("ask_back")
def ask_back(ctx: Context, approval_id: int, words: str | None = None) -> list[Reply]:
    """Ask back before I answer; the question stays open."""
    approval = approvals.answerable(ctx, approval_id)
    if len(approval.talk) >= TURNS_MAX:
        raise UserError(say("approvals.talked_enough", number=approval_id, by=asker_of(approval)))
    if not words or not words.strip():
        raise Missing("words", say("approvals.ask_what", number=approval_id, by=asker_of(approval)))
    asked, name = words.strip()[:WORDS_MAX], ctx.directory.name(ctx.sender)
    ctx.tx.approvals.said(approval, by=ctx.sender, name=name, ask=asked)
    ctx.tx.audit.add(
        ctx.sender, "approval.asked_back", f"approval {approval_id}", job=approval.job_id, words=asked
    )  # fmt: skip
    key = "approvals.asked_you"
    if ctx.tx.questions.find(approval.asked_by) is None:  # he is not in the middle of saying something else
        ctx.tx.questions.ask(approval.asked_by, ANSWER_COMMAND, {"approval_id": approval_id}, "words")
        key = "approvals.asked_you_now"
    heard = say(key, number=approval_id, by=name, question=headline(approval), words=asked)
    carried = say("approvals.carried", number=approval_id, by=asker_of(approval))
    return [Text(approval.asked_by, heard), Text(ctx.sender, carried)]


@router.command(
    "answer {approval_id:int} [{words:text}]",
    "回答|答复 {approval_id:int} [{words:text}]",
    topic="approvals",
    example=("answer 42 he leaves on Friday", "回答 42 他周五离职"),
)
def answer(ctx: Context, approval_id: int, words: str | None = None) -> list[Reply]:
    """Answer what an approver asked back about my question."""
    approval = approvals.asked_by_sender(ctx, approval_id)
    asked = [turn for turn in approval.talk if "ask" in turn]
    if not asked:
        raise UserError(say("approvals.nothing_asked", number=approval_id))
    if len(approval.talk) > TURNS_MAX:
        raise UserError(say("approvals.talked_enough", number=approval_id, by=asked[-1]["name"]))
    if not words or not words.strip():
        raise Missing("words", say("approvals.answer_what", by=asked[-1]["name"], words=asked[-1]["ask"]))
    said, name = words.strip()[:WORDS_MAX], asker_of(approval)
    heard_by = [each for each in approval.approvers if each in {turn["by"] for turn in asked}] or approval.approvers
    ctx.tx.approvals.said(approval, by=ctx.sender, name=name, answer=said)
    ctx.tx.audit.add(ctx.sender, "approval.answered", f"approval {approval_id}", job=approval.job_id, words=said)
    replies: list[Reply] = []
    for each in heard_by:  # with a fresh card: the first one is far up by now
        replies += greyed(approval, ctx.tx.cards.open_about(about(approval), each), "again")
        replies.append(Text(each, say("approvals.answered_you", number=approval_id, by=name, words=said)))
        replies.append(question_card(approval, each, ctx.settings))
    named = [ctx.directory.name(each) for each in heard_by]
    return [*replies, Text(ctx.sender, say("approvals.answer_carried", number=approval_id, approvers=named))]
