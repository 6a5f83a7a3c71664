"""The book of the recycle bin: what waits there, what became of it, and whom to tell when."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import func, or_, select, update

from storage.asking import Asking, insert_into
from storage.models import (
    BinDigest,
    BinItem,
    BinSource,
    BinState,
    Job,
    JobState,
    Json,
    Mailbox,
    MailboxKind,
)

T = TypeVar("T")

IDS_A_QUERY = 500  # SQLite binds 32766 values at most, and long lists are slow on both


class RecycleBin(Asking):
    """Questions asked of `recycle_bin` and `bin_digests`."""

    def enter(
        self,
        *,
        address: str | None,
        mailbox_id: int | None,
        owner: str | None,
        owner_name: str | None,
        manager: str | None,
        source: BinSource,
        known_from: str,
        added_by: str | None,
        entered_at: datetime,
        deletes_at: datetime,
    ) -> BinItem | None:
        """A new entry, which the next sweep schedules; None when the same mailbox waits already."""
        claim = claim_of(address, owner)
        if claim is None:
            raise ValueError("an entry has an address or an owner")
        statement = (
            insert_into(self.session, BinItem)
            .values(
                address=address, mailbox_id=mailbox_id, owner=owner, owner_name=owner_name, manager=manager,
                source=source, known_from=known_from, added_by=added_by, state=BinState.WAITING, claim=claim,
                entered_at=entered_at, deletes_at=deletes_at, next_at=self.now, told_at=self.now, created_at=self.now,
                again_for=[], evidence={},
            )
            .on_conflict_do_nothing(index_elements=["claim"])
            .returning(BinItem.id)
        )  # fmt: skip
        item_id = self.session.scalar(statement)
        return None if item_id is None else self.session.get_one(BinItem, item_id)

    def find(self, item_id: int) -> BinItem | None:
        """The entry, locked until the end of the transaction, or None."""
        return self.session.get(BinItem, item_id, with_for_update=True)

    def waiting_at(self, address: str) -> BinItem | None:
        """The entry of an address that waits now, locked."""
        return self.session.scalar(select(BinItem).where(BinItem.claim == address.casefold()).with_for_update())

    def waiting_of(self, owner: str) -> BinItem | None:
        """The entry of a former owner whose address is not known, locked."""
        return self.session.scalar(select(BinItem).where(BinItem.claim == claim_of(None, owner)).with_for_update())

    def left_by(self, owner: str) -> bool:
        """Whether the mailbox of a member who left waits already, under whatever address."""
        query = select(BinItem.id).where(
            BinItem.owner == owner.casefold(), BinItem.source == BinSource.LEFT, BinItem.state == BinState.WAITING
        )
        return self.session.scalar(query.limit(1)) is not None

    def waiting_left_by(self, owner: str) -> BinItem | None:
        """The entry that waits and was this member's, under whatever address, locked; the first to be deleted."""
        query = select(BinItem).where(BinItem.owner == owner.casefold(), BinItem.state == BinState.WAITING)
        return self.session.scalar(query.order_by(BinItem.deletes_at, BinItem.id).limit(1).with_for_update())

    def known_at(self, address: str) -> Sequence[BinItem]:
        """Every entry an address ever had, the newest first."""
        return self.session.scalars(
            select(BinItem).where(BinItem.address == address.casefold()).order_by(BinItem.id.desc())
        ).all()

    def waiting(self, *, count_max: int) -> Sequence[BinItem]:
        """What waits, the first to be deleted first."""
        return self.session.scalars(
            select(BinItem)
            .where(BinItem.state == BinState.WAITING)
            .order_by(BinItem.deletes_at, BinItem.id)
            .limit(count_max)
        ).all()

    def waiting_count(self) -> int:
        """How many wait."""
        query = select(func.count()).select_from(BinItem).where(BinItem.state == BinState.WAITING)
        return self.session.scalar(query) or 0

    def still_waiting(self, item_ids: Iterable[int]) -> list[BinItem]:
        """Those of the entries that wait, the first to be deleted first."""
        found: list[BinItem] = []
        for ids in portions(item_ids):
            query = select(BinItem).where(BinItem.id.in_(ids), BinItem.state == BinState.WAITING)
            found += self.session.scalars(query)
        return sorted(found, key=lambda item: (item.deletes_at, item.id))

    def take_due(self, *, count_max: int) -> list[BinItem]:
        """
        The entries whose moment has come; nobody else gets them, whoever asks at the same time.

        The caller says in `next_at` when each is due again; it is NULL now.
        """
        due = select(BinItem.id).where(BinItem.next_at <= self.now).order_by(BinItem.next_at).limit(count_max)
        return list(
            self.session.scalars(
                update(BinItem)
                .where(BinItem.id.in_(due), BinItem.next_at <= self.now)
                .values(next_at=None)
                .returning(BinItem)
                .execution_options(populate_existing=True)
            )
        )

    def close(
        self,
        item: BinItem,
        state: BinState,
        *,
        by: str,
        states: Collection[BinState] = (BinState.WAITING,),
        **evidence: object,
    ) -> bool:
        """Close an entry that is in one of `states`, with what was seen; False when it is in none any more."""
        closed = self.session.scalar(
            update(BinItem)
            .where(BinItem.id == item.id, BinItem.state.in_(states))
            .values(
                state=state, claim=None, next_at=None, again_at=None, again_for=[], closed_at=self.now,
                closed_by=by, evidence=evidence,
            )
            .returning(BinItem.id)
        )  # fmt: skip
        self.session.refresh(item)
        return closed is not None

    def reopen(self, item: BinItem) -> bool:
        """It waits again after all; False when another entry of the address does."""
        claim = claim_of(item.address, item.owner)
        if self.session.scalar(select(BinItem.id).where(BinItem.claim == claim)) is not None:
            return False
        item.state, item.claim, item.closed_at, item.closed_by, item.evidence = BinState.WAITING, claim, None, None, {}
        self.session.flush()
        return True

    def has_address(self, item: BinItem, address: str, mailbox_id: int | None) -> bool:
        """The address of an entry is known now; False when another entry of it waits."""
        if self.waiting_at(address) is not None:
            return False
        item.address, item.mailbox_id, item.claim = address, mailbox_id, claim_of(address, None)
        self.session.flush()
        return True

    def backups_of(self, mailbox_id: int) -> Sequence[Job]:
        """Every backup of the mailbox that came to its end, the newest first."""
        source = Job.data["source"].as_integer()
        query = select(Job).where(Job.kind == "backup", Job.state == JobState.DONE, source == mailbox_id)
        return self.session.scalars(query.order_by(Job.id.desc())).all()

    def complete_backups(self, items: Collection[BinItem]) -> dict[int, int]:
        """The jobs that made complete, verified backups of entries, by the entry's id."""
        wanted: dict[int, list[BinItem]] = {}
        for item in items:
            if item.mailbox_id is not None:
                wanted.setdefault(item.mailbox_id, []).append(item)
        found: dict[int, int] = {}
        source = Job.data["source"].as_integer()
        for ids in portions(wanted):
            rows = self.session.execute(
                select(Job.id, source, Job.data)
                .where(Job.kind == "backup", Job.state == JobState.DONE, source.in_(ids))
                .order_by(Job.id)
            )
            for job, box, data in rows:
                found |= {item.id: job for item in wanted[box] if holds_all_of(data, item)}
        return found

    def owners_since(self, items: Collection[BinItem]) -> dict[int, Mailbox]:
        """Whoever was seen to own an entry's address after it came into the bin, by the entry's id."""
        wanted = {item.address: item for item in items if item.address is not None}
        found: dict[int, Mailbox] = {}
        for addresses in portions(wanted):
            boxes = self.session.scalars(
                select(Mailbox).where(
                    Mailbox.address.in_(addresses), Mailbox.ended_at.is_(None),
                    or_(Mailbox.kind == MailboxKind.MEMBER, Mailbox.kind == MailboxKind.PUBLIC),
                )
            )  # fmt: skip
            for box in boxes:
                item = wanted[box.address]
                another = box.id != item.mailbox_id and (box.owner is None or box.owner != item.owner)
                if another and box.confirmed_at is not None and box.confirmed_at > item.entered_at:
                    found[item.id] = box
        return found

    def rescues(self) -> dict[int, Job]:
        """What is being rescued now, or turned into a public mailbox: the open jobs, by the entry's id."""
        query = select(Job).where(Job.kind.in_(("rescue", "convert")), Job.state.in_((JobState.DUE, JobState.WAITING)))
        rows = self.session.scalars(query.order_by(Job.id)).all()
        return {int(job.data["item"]): job for job in rows if job.data.get("item") is not None}

    def rescues_of(self, item_id: int) -> Sequence[Job]:
        """Every rescue of an entry there ever was, the newest first."""
        wanted = Job.data["item"].as_integer() == item_id
        return self.session.scalars(select(Job).where(Job.kind == "rescue", wanted).order_by(Job.id.desc())).all()

    def digest(self, member: str, day: str, item_ids: Sequence[int]) -> BinDigest | None:
        """The member's one digest of the day; None when he had it."""
        statement = insert_into(self.session, BinDigest).values(member=member, day=day, items=list(item_ids))
        digest_id = self.session.scalar(
            statement.on_conflict_do_nothing(index_elements=["member", "day"]).returning(BinDigest.id)
        )
        return None if digest_id is None else self.session.get_one(BinDigest, digest_id)

    def had_digest(self, members: Collection[str], day: str) -> set[str]:
        """Those of the members who had their digest of the day."""
        query = select(BinDigest.member).where(BinDigest.day == day)
        return set(self.session.scalars(query)) & set(members)

    def digest_of(self, digest_id: int) -> BinDigest | None:
        """A digest, locked."""
        return self.session.get(BinDigest, digest_id, with_for_update=True)


def holds_all_of(data: Json, item: BinItem) -> bool:
    """
    Whether a backup with this data holds all that an entry's mailbox held when it came into the bin.

    The same mailbox may have lived on after an earlier backup, or after an earlier stay in the bin.
    """
    if (data.get("outcome") or {}).get("complete") is not True or not data.get("verified_from"):
        return False
    meant = data.get("in_bin_since")  # of a rescue: complete as far as that stay goes
    if meant and datetime.fromisoformat(meant) != item.entered_at:
        return False
    return datetime.fromisoformat(data["verified_from"]) >= item.entered_at


def claim_of(address: str | None, owner: str | None) -> str | None:
    """What an entry that waits holds alone: its address, else the member it belonged to."""
    if address is not None:
        return address.casefold()
    return None if owner is None else f"member:{owner.casefold()}"


def portions(values: Iterable[T]) -> Iterable[list[T]]:
    """The values in lists that fit a query."""
    every = list(values)
    return (every[begin : begin + IDS_A_QUERY] for begin in range(0, len(every), IDS_A_QUERY))
