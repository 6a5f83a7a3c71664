"""The tables, but for the copy ledger (`storage/ledger_tables.py`). A row that is waited for says when it is due."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Enum, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from storage.base import Base, UtcDateTime

Json = dict[str, Any]


def one_of(kind: type[StrEnum]) -> Enum:
    """A column of one of the enum's values, stored as its text."""
    return Enum(kind, native_enum=False, length=20, values_callable=lambda each: [value.value for value in each])


class InboxState(StrEnum):
    """What became of an accepted callback."""

    NEW = "new"
    HANDLED = "handled"
    FAILED = "failed"  # a bug; the sender and the admins were told


class InboxMessage(Base):
    """
    A callback WeCom was told we have.

    The unique key makes a redelivery the same row; `outcome` is what was decided, read back when the decision is
    asked for again after a crash.
    """

    __tablename__ = "inbox"
    __table_args__ = (Index("ix_inbox_due", "state", "due_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(64), unique=True)
    sender: Mapped[str] = mapped_column(String(64))  # case-folded userid; "sys" for events of the directory
    kind: Mapped[str] = mapped_column(String(40))
    fields: Mapped[Json] = mapped_column(JSON)
    state: Mapped[InboxState] = mapped_column(one_of(InboxState), default=InboxState.NEW)
    attempt: Mapped[int] = mapped_column(default=1)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    handled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[list[Json]] = mapped_column(JSON, default=list)  # what to start
    reference: Mapped[str | None] = mapped_column(String(16))  # of a failure, also in the log


class JobState(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"  # for a person
    DUE = "due"  # runs now, or at due_at
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(Base):
    """
    Work that touches mail, WeCom's API or DNS. It may run twice; its stage says where to go on.

    `wakes` counts how often it was made due: a workflow that has ended never runs again under the same id.
    """

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_due", "state", "due_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    stage: Mapped[str] = mapped_column(String(40), default="start")
    state: Mapped[JobState] = mapped_column(one_of(JobState), default=JobState.DUE)
    wakes: Mapped[int] = mapped_column(default=1)
    failures: Mapped[int] = mapped_column(default=0)  # in a row, at this stage
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    asked_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cancel_asked_by: Mapped[str | None] = mapped_column(String(64))
    params: Mapped[Json] = mapped_column(JSON)  # what was asked
    data: Mapped[Json] = mapped_column(JSON, default=dict)  # what is known so far
    error: Mapped[str | None] = mapped_column(Text)


class DeliveryState(StrEnum):
    """Where a reply stands on its way."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"  # WeCom refuses it for good


class Delivery(Base):
    """A reply on its way to one member; the rows of a member go out in order of their id."""

    __tablename__ = "deliveries"
    __table_args__ = (Index("ix_deliveries_due", "state", "due_at"), Index("ix_deliveries_line", "receiver", "state"))

    id: Mapped[int] = mapped_column(primary_key=True)
    receiver: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(20))  # text, card, card_update, file
    body: Mapped[Json] = mapped_column(JSON)
    once: Mapped[bool] = mapped_column(default=False)  # holds a one-time link: emptied once sent
    state: Mapped[DeliveryState] = mapped_column(one_of(DeliveryState), default=DeliveryState.WAITING)
    attempt: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    parts_sent: Mapped[int] = mapped_column(default=0)  # of a text of several messages
    error: Mapped[str | None] = mapped_column(Text)


class SendAttempt(Base):
    """One call of message/send: WeCom counts attempts, and drops the 31st of a minute in silence."""

    __tablename__ = "send_attempts"
    __table_args__ = (Index("ix_send_attempts_receiver_at", "receiver", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    receiver: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class CardCode(Base):
    """Leave to redraw a card once (`response_code`), valid 72 h: from the sending, and from every click."""

    __tablename__ = "card_codes"

    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[str] = mapped_column(String(128), index=True)
    member: Mapped[str] = mapped_column(String(64))
    code: Mapped[str] = mapped_column(Text)
    clicked: Mapped[bool]  # brought by a click, not by the sending
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    spent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SentCard(Base):
    """A card a member was sent: what it is about, so that it can be redrawn."""

    __tablename__ = "cards"
    __table_args__ = (Index("ix_cards_about", "about", "member"),)

    task_id: Mapped[str] = mapped_column(String(128), primary_key=True)  # unique for ever, WeCom's rule
    about: Mapped[str] = mapped_column(String(60))
    member: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # redrawn for the last time


class StoredFile(Base):
    """A file on its way to somebody."""

    __tablename__ = "files"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    content: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Member(Base):
    """A member of the directory as last seen; kept after he left, because the event carries only his userid."""

    __tablename__ = "members"

    userid: Mapped[str] = mapped_column(String(64), primary_key=True)  # case-folded
    name: Mapped[str] = mapped_column(String(128))
    alias: Mapped[str | None] = mapped_column(String(128))
    departments: Mapped[list[int]] = mapped_column(JSON, default=list)
    main_department: Mapped[int | None]
    direct_leader: Mapped[str | None] = mapped_column(String(64))
    status: Mapped[int] = mapped_column(default=1)
    language: Mapped[str | None] = mapped_column(String(2))
    greeted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    left_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Department(Base):
    """A department, with its leaders where WeCom shows them."""

    __tablename__ = "departments"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(128))
    parent_id: Mapped[int | None]
    leaders: Mapped[list[str]] = mapped_column(JSON, default=list)


class TagMember(Base):
    """Who carries a tag that gives a role."""

    __tablename__ = "tag_members"

    tag_id: Mapped[int] = mapped_column(primary_key=True)
    userid: Mapped[str] = mapped_column(String(64), primary_key=True)


class MailboxKind(StrEnum):
    """Whose mailbox it is."""

    MEMBER = "member"
    PUBLIC = "public"
    UNSEEN = "unseen"  # in our domain, but WeCom shows it to nobody: a public mailbox made in the console, probably


class Mailbox(Base):
    """
    One incarnation of a mailbox. An address that gets another owner is another mailbox.

    `managed` says that the app may mint passwords for it: a public mailbox it created itself. The aliases of a
    member's mailbox cannot be read: until somebody said which it has, `aliases` may lack some.
    """

    __tablename__ = "mailboxes"

    id: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(String(254), index=True)  # case-folded, primary
    kind: Mapped[MailboxKind] = mapped_column(one_of(MailboxKind))
    owner: Mapped[str | None] = mapped_column(String(64), index=True)
    public_id: Mapped[int | None] = mapped_column(index=True)
    name: Mapped[str | None] = mapped_column(String(128))
    managed: Mapped[bool] = mapped_column(default=False)
    readers: Mapped[Json] = mapped_column(JSON, default=dict)  # userids, departments, tags as WeCom lists them
    aliases: Mapped[list[str]] = mapped_column(JSON, default=list)
    aliases_known_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # that `aliases` are all of them
    address_fixed: Mapped[bool] = mapped_column(default=False, server_default=false())  # no app can rename it any more
    source: Mapped[str] = mapped_column(String(20))  # import, look-up, callback, api: how we know it
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class LookUp(Base):
    """An asked address look-up: many that fail can block the API for a day, so they have a budget."""

    __tablename__ = "look_ups"

    id: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(String(254), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    userid: Mapped[str | None] = mapped_column(String(64))  # None: nobody


class ApprovalStatus(StrEnum):
    """How a question was answered."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    VOID = "void"  # withdrawn, or the facts changed


class Approval(Base):
    """
    One question, one answer.

    `gains` is NULL when it cannot be known who gains. `talk` is what approvers asked back and heard, in order.
    """

    __tablename__ = "approvals"
    __table_args__ = (Index("ix_approvals_due", "status", "expires_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    action: Mapped[str] = mapped_column(String(40))  # who asked decides what a yes does
    requirement: Mapped[str] = mapped_column(String(20))
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    question: Mapped[Json] = mapped_column(JSON)  # key and values of the catalogue
    facts: Mapped[Json] = mapped_column(JSON)  # what was shown: owners, readers, states; no counts
    fingerprint: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text)
    asked_by: Mapped[str] = mapped_column(String(64))
    approvers: Mapped[list[str]] = mapped_column(JSON)
    replaced: Mapped[list[str]] = mapped_column(JSON, default=list)  # who was asked before them
    owner: Mapped[str | None] = mapped_column(String(64))  # of the mailbox: his managers are asked
    gains: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    talk: Mapped[list[Json]] = mapped_column(JSON, default=list)
    remind_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    reminders: Mapped[int] = mapped_column(default=0)  # of the approvers that are asked now
    status: Mapped[ApprovalStatus] = mapped_column(one_of(ApprovalStatus), default=ApprovalStatus.PENDING)
    decided_by: Mapped[str | None] = mapped_column(String(64))
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    answer_reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class OverrideState(StrEnum):
    """Where a break-glass stands."""

    RUNNING = "running"  # any admin can stop it
    STOPPED = "stopped"
    DONE = "done"  # the question was approved by it; another admin still has to look at it, or has
    VOID = "void"  # the question was answered otherwise, or what it showed has changed


class Override(Base):
    """A super admin's yes in the place of those who were asked; one a question, ever."""

    __tablename__ = "overrides"
    __table_args__ = (Index("ix_overrides_due", "state", "due_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    approval_id: Mapped[int] = mapped_column(ForeignKey("approvals.id"), unique=True)
    made_by: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text)
    state: Mapped[OverrideState] = mapped_column(one_of(OverrideState), default=OverrideState.RUNNING)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    stopped_by: Mapped[str | None] = mapped_column(String(64))
    reviewed_by: Mapped[str | None] = mapped_column(String(64))
    reviewed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class PendingQuestion(Base):
    """What the bot waits to hear from a member: a choice, or a missing word. One a member."""

    __tablename__ = "pending_questions"

    member: Mapped[str] = mapped_column(String(64), primary_key=True)
    command: Mapped[str] = mapped_column(String(60))
    args: Mapped[Json] = mapped_column(JSON)
    missing: Mapped[str] = mapped_column(String(40))  # the parameter the next message gives
    choices: Mapped[list[Json]] = mapped_column(JSON, default=list)  # value and label; empty: free text
    typed: Mapped[str | None] = mapped_column(String(64))  # fits several: what is chosen is remembered for the member
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class OneTimeLink(Base):
    """
    A page for one member, once, for 15 minutes. Only the token's hash is kept.

    A GET spends nothing; the POST of the bound session does.
    """

    __tablename__ = "one_time_links"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    member: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), index=True)
    mailbox_id: Mapped[int | None] = mapped_column(ForeignKey("mailboxes.id"))  # None: it asks for no password
    side: Mapped[str] = mapped_column(String(6))  # source, target; key: of a DNS provider; test
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    session_hash: Mapped[str | None] = mapped_column(String(64))
    state_hash: Mapped[str | None] = mapped_column(String(64))
    spent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    refused_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Secret(Base):
    """
    A password or a provider's key that a member entered for one job, encrypted; deleted when the job ends.

    A key that is kept on purpose stays with its job, which its domain names.
    """

    __tablename__ = "secrets"
    __table_args__ = (UniqueConstraint("job_id", "side"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    side: Mapped[str] = mapped_column(String(6))
    given_by: Mapped[str] = mapped_column(String(64))
    ciphertext: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class MintedPassword(Base):
    """
    A client password of a public mailbox that the bot made for one job. The intent is stored before the call.

    `remark` is how it is found again when the answer was lost; codes without our remark are never touched.
    """

    __tablename__ = "minted_passwords"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), index=True)
    public_id: Mapped[int]
    remark: Mapped[str] = mapped_column(String(128))
    auth_code_id: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


class ImapSwitch(Base):
    """A member's IMAP service that the bot switched on; stored before the call, so that it is put back for sure."""

    __tablename__ = "imap_switches"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), index=True)
    userid: Mapped[str] = mapped_column(String(64))
    before: Mapped[str] = mapped_column(String(1))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    restored_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


class BackupRoot(Base):
    """Where the mail of one source lies in one target: chosen once, so that a later run adds only what is new."""

    __tablename__ = "backup_roots"
    __table_args__ = (UniqueConstraint("source_id", "target_id"), UniqueConstraint("target_id", "root"))

    id: Mapped[int] = mapped_column(primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("mailboxes.id"))
    target_id: Mapped[int] = mapped_column(ForeignKey("mailboxes.id"))
    root: Mapped[str] = mapped_column(String(400))


class Lease(Base):
    """Who may do a thing now, on the database's clock; `fence` grows with every new holder."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    holder: Mapped[str] = mapped_column(String(64))
    fence: Mapped[int]
    expires_at: Mapped[float]  # seconds since 1970 on the database's clock


class Counter(Base):
    """How many callbacks of a kind were accepted and had no one to handle them."""

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    count: Mapped[int] = mapped_column(default=0)


class Moment(Base):
    """When something last happened: the directory was read, the admins were told of a fault."""

    __tablename__ = "moments"

    name: Mapped[str] = mapped_column(String(120), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class LiveAnswer(Base):
    """What was seen of a question that only a real organisation answers, by `doctor --live` or in use."""

    __tablename__ = "live_answers"

    question: Mapped[str] = mapped_column(String(60), primary_key=True)
    answer: Mapped[str] = mapped_column(String(10))  # yes, no
    detail: Mapped[str] = mapped_column(String(400))
    seen_by: Mapped[str] = mapped_column(String(10))  # doctor, use
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    before: Mapped[str | None] = mapped_column(String(10))  # the other answer, if it was ever seen
    changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AuditEntry(Base):
    """One decision or effect; each row's hash covers the row before, so nothing can be changed unseen."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    who: Mapped[str] = mapped_column(String(64))
    what: Mapped[str] = mapped_column(String(60))
    subject: Mapped[str] = mapped_column(String(254))
    detail: Mapped[Json] = mapped_column(JSON)
    prev_hash: Mapped[str] = mapped_column(String(64), unique=True)
    hash: Mapped[str] = mapped_column(String(64))


class AuditHead(Base):
    """The end of the audit chain: one row, locked last, so that replicas cannot fork it."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True)
    hash: Mapped[str] = mapped_column(String(64))


class HandoverState(StrEnum):
    """Where a console step stands; `contradicted` is still open: somebody says done, the check says no."""

    WAITING = "waiting"
    CONTRADICTED = "contradicted"
    DONE = "done"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"  # its job ended for another reason


class Handover(Base):
    """
    A step only the admin console can do. Its check, never anybody's word, closes it; then its job goes on at `stage`.

    `looks` holds what the check saw, a line for every change; `before` and `after` are the evidence. The polling is
    the job `check_job_id`, whose row says when the next look is due.
    """

    __tablename__ = "handovers"
    __table_args__ = (Index("ix_handovers_due", "state", "remind_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), index=True)
    stage: Mapped[str] = mapped_column(String(40))
    check_job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    asked_of: Mapped[str] = mapped_column(String(64))  # an admin
    title: Mapped[Json] = mapped_column(JSON)  # key and values of the catalogue, as the next two
    why: Mapped[Json] = mapped_column(JSON)
    how: Mapped[list[Json]] = mapped_column(JSON)  # the path in the console, step by step
    values: Mapped[list[str]] = mapped_column(JSON)  # to copy, each exactly as it is typed there
    check: Mapped[str] = mapped_column(String(40))  # a registered function
    args: Mapped[Json] = mapped_column(JSON)
    state: Mapped[HandoverState] = mapped_column(one_of(HandoverState), default=HandoverState.WAITING)
    looks: Mapped[list[Json]] = mapped_column(JSON, default=list)
    polls: Mapped[int] = mapped_column(default=0)
    looked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    before: Mapped[Json | None] = mapped_column(JSON)
    after: Mapped[Json | None] = mapped_column(JSON)
    said_by: Mapped[str | None] = mapped_column(String(64))  # who last said that it is done
    said_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    remind_at: Mapped[datetime] = mapped_column(UtcDateTime)
    reminders: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deadline_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class BinSource(StrEnum):
    """How a mailbox came into the recycle bin."""

    LEFT = "left"  # its owner was deleted
    RECLAIMED = "reclaimed"  # 回收邮箱: taken off a member who stays
    REPLACED = "replaced"  # its owner was given another one
    PUBLIC = "public"  # a public mailbox was deleted
    BY_HAND = "by_hand"  # somebody told us


class BinState(StrEnum):
    """What became of a mailbox in the recycle bin; only while it waits is anybody reminded."""

    WAITING = "waiting"
    ASSIGNED = "assigned"  # seen: somebody else owns the address
    LET_GO = "let_go"  # a named admin wants it deleted
    SAFE = "safe"  # a complete, verified backup exists
    LOST = "lost"  # deleted, as far as we know


class BinItem(Base):
    """
    A mailbox in the recycle bin, as far as we know: no API lists it, so the bot keeps a book.

    `next_at` is the moment somebody is to be told something, NULL when there is nothing more to say. `claim` is the
    address, or the owner while the address is unknown, as long as it waits: one entry for each.
    """

    __tablename__ = "recycle_bin"
    __table_args__ = (Index("ix_recycle_bin_state", "state", "deletes_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[str | None] = mapped_column(String(254), index=True)
    mailbox_id: Mapped[int | None] = mapped_column(ForeignKey("mailboxes.id"), index=True)
    owner: Mapped[str | None] = mapped_column(String(64), index=True)  # who had it
    owner_name: Mapped[str | None] = mapped_column(String(128))
    manager: Mapped[str | None] = mapped_column(String(64))  # his, when it came into the bin
    source: Mapped[BinSource] = mapped_column(one_of(BinSource))
    known_from: Mapped[str] = mapped_column(String(20))  # callback, directory, typed, reassign, api
    added_by: Mapped[str | None] = mapped_column(String(64))  # the admin who looks after it; None: all of them
    state: Mapped[BinState] = mapped_column(one_of(BinState), default=BinState.WAITING)
    claim: Mapped[str | None] = mapped_column(String(254), unique=True)
    entered_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deletes_at: Mapped[datetime] = mapped_column(UtcDateTime)
    date_from: Mapped[str | None] = mapped_column(String(64))  # the admin who gave the console's date
    next_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    told_at: Mapped[datetime] = mapped_column(UtcDateTime)  # what was due before this moment is said
    again_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # for those who pressed Tomorrow
    again_for: Mapped[list[str]] = mapped_column(JSON, default=list)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    closed_by: Mapped[str | None] = mapped_column(String(64))
    evidence: Mapped[Json] = mapped_column(JSON, default=dict)  # what was seen when it was closed


class BinDigest(Base):
    """What a member was reminded of on a day: one message a day, however many mailboxes and replicas there are."""

    __tablename__ = "bin_digests"
    __table_args__ = (UniqueConstraint("member", "day"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    member: Mapped[str] = mapped_column(String(64))
    day: Mapped[str] = mapped_column(String(10))  # in the bot's time zone
    items: Mapped[list[int]] = mapped_column(JSON)  # still to be answered on the card


class MailDomain(Base):
    """
    A domain that was set up, or is looked after: what it should have where that is not the usual, and how it was seen.

    `seen` is what the daily look compares with.
    """

    __tablename__ = "domains"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(253), unique=True)  # as name servers know it
    wanted: Mapped[Json] = mapped_column(JSON, default=dict)  # what an admin told instead of the usual
    seen: Mapped[Json | None] = mapped_column(JSON)
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    key_job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"))  # whose key is kept on purpose
    added_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    connected_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # the first mail arrived


class DomainSnapshot(Base):
    """What the sets that a job changes held before its first write; written before it, so that it can be undone."""

    __tablename__ = "domain_snapshots"

    id: Mapped[int] = mapped_column(primary_key=True)
    domain_id: Mapped[int] = mapped_column(ForeignKey("domains.id"))
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), unique=True)
    plan: Mapped[Json] = mapped_column(JSON)  # with every set before and after
    records: Mapped[list[Json]] = mapped_column(JSON)  # all MX and TXT records the provider showed
    taken_at: Mapped[datetime] = mapped_column(UtcDateTime)
