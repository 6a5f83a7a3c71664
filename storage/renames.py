"""A member got another userid: every row that names him, or waits for him, follows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import String, cast, delete, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from storage.approvals import fingerprint
from storage.handovers import OPEN as OPEN_HANDOVERS
from storage.models import (
    Approval,
    ApprovalStatus,
    BinDigest,
    BinItem,
    CardCode,
    Delivery,
    Handover,
    Job,
    JobState,
    LookUp,
    Mailbox,
    Member,
    OneTimeLink,
    Override,
    PendingQuestion,
    Secret,
    SentCard,
    TagMember,
)
from storage.name_tables import ChosenName, Nickname
from storage.public_tables import ClientPassword, Freeze

COLUMNS: tuple[InstrumentedAttribute[Any], ...] = (
    Member.direct_leader, Mailbox.owner, LookUp.userid, SentCard.member, CardCode.member, Handover.asked_of,
    Handover.said_by, Delivery.receiver, Job.asked_by, Job.cancel_asked_by, Approval.asked_by, Approval.decided_by,
    Approval.owner, Override.made_by, Override.stopped_by, Override.reviewed_by, OneTimeLink.member, Secret.given_by,
    BinItem.owner, BinItem.manager, BinItem.added_by, BinItem.date_from, BinItem.closed_by,
    ClientPassword.made_by, Freeze.userid, Freeze.frozen_by, Freeze.ended_by,
    Nickname.userid, Nickname.added_by, ChosenName.meant,
)  # fmt: skip
ONE_EACH = (  # the new one's give way
    (TagMember, TagMember.userid), (PendingQuestion, PendingQuestion.member), (ChosenName, ChosenName.member),
)  # fmt: skip
# Under these names JSON holds userids (one, a list, or one for each side of a copy); elsewhere the same letters may
# be a folder, a name or a reason.
USERIDS = frozenset({
    "userid", "userids", "owner", "new_owner", "approved_by", "manager", "acknowledged_by", "by_manager", "opener",
    "asked_of", "by", "readers", "refused_sides", "page_for",
})  # fmt: skip


def follow(session: Session, old: str, new: str) -> None:
    """Everything that named the old userid names the new one; what was seen and audited stays as it was seen."""
    for column in COLUMNS:
        rename(session, column, old, new)
    for table, column in ONE_EACH:
        session.execute(delete(table).where(column == new))
        rename(session, column, old, new)
    waits = select(BinItem.id).where(BinItem.claim == f"member:{new}").scalar_subquery()
    session.execute(
        update(BinItem).where(BinItem.claim == f"member:{old}", waits.is_(None)).values(claim=f"member:{new}")
    )
    had = select(BinDigest.day).where(BinDigest.member == new)
    session.execute(update(BinDigest).where(BinDigest.member == old, BinDigest.day.not_in(had)).values(member=new))
    for box in session.scalars(select(Mailbox).where(Mailbox.ended_at.is_(None), naming(old, Mailbox.readers))):
        box.readers = with_new(box.readers, old, new)
    for item in session.scalars(select(BinItem).where(naming(old, BinItem.again_for))):
        item.again_for = sorted(with_new(item.again_for, old, new, here=True))
    for handover in session.scalars(
        select(Handover).where(Handover.state.in_(OPEN_HANDOVERS), naming(old, Handover.args))
    ):
        handover.args = with_new(handover.args, old, new)
    for approval in session.scalars(
        select(Approval).where(
            Approval.status == ApprovalStatus.PENDING,
            naming(old, Approval.approvers, Approval.replaced, Approval.gains, Approval.facts, Approval.talk),
        )
    ):
        approval.approvers = with_new(approval.approvers, old, new, here=True)
        approval.replaced = with_new(approval.replaced, old, new, here=True)
        approval.gains = with_new(approval.gains, old, new, here=True)
        approval.facts = with_new(approval.facts, old, new)
        approval.talk = with_new(approval.talk, old, new)
        approval.fingerprint = fingerprint(approval.facts)
    for job in session.scalars(select(Job).where(naming(old, Job.params, Job.data)).with_for_update()):
        job.params, job.data = with_new(job.params, old, new), with_new(job.data, old, new)
        if job.state is JobState.DUE:
            job.wakes += 1  # a turn that is under way has read the old one: nothing of it is written, it begins anew
    session.flush()


def rename(session: Session, column: InstrumentedAttribute[Any], old: str, new: str) -> None:
    """One column of a table."""
    session.execute(update(column.class_).where(column == old).values({column.key: new}))


def naming(userid: str, *columns: InstrumentedAttribute[Any]) -> Any:
    """JSON in which a userid stands somewhere, in whatever case."""
    return or_(*(cast(column, String).icontains(f'"{userid}"', autoescape=True) for column in columns))


def with_new(value: Any, old: str, new: str, *, here: bool = False) -> Any:
    """JSON with another userid wherever it is one; `here`: under a name that says so."""
    if isinstance(value, dict):
        return {
            name: in_order(each, with_new(each, old, new, here=here or name in USERIDS)) for name, each in value.items()
        }
    if isinstance(value, list):
        return [with_new(each, old, new, here=here) for each in value]
    return new if here and isinstance(value, str) and value.casefold() == old else value


def in_order(before: Any, after: Any) -> Any:
    """Facts are compared as they are listed: what was sorted still is."""
    sortable = isinstance(before, list) and all(isinstance(each, str) for each in before)
    return sorted(after) if sortable and before == sorted(before) else after
