"""The audit chain: append-only, each entry's hash covers the one before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.asking import Asking, insert_into
from storage.models import AuditEntry, AuditHead

GENESIS = "0" * 64


class Audit(Asking):
    """
    Questions asked of `audit`.

    `add` only remembers; `seal`, called by the store just before the commit, locks the head row and writes. So the
    lock that serialises replicas is the last one taken and is held for the shortest time.
    """

    def __init__(self, session: Session, now: datetime) -> None:
        super().__init__(session, now)
        self._waiting: list[AuditEntry] = []

    def add(self, who: str, what: str, subject: str, **detail: object) -> None:
        """Who did what to which mailbox; never mail content, never a secret."""
        kept = json.loads(json.dumps(detail))  # as the database gives it back; what is no JSON is refused here
        self._waiting.append(AuditEntry(at=self.now, who=who, what=what, subject=subject, detail=kept))

    @contextmanager
    def undone_with(self, savepoint: AbstractContextManager[object]) -> Iterator[None]:
        """What is added inside is forgotten when the savepoint is undone."""
        before = len(self._waiting)
        try:
            with savepoint:
                yield
        except BaseException:
            del self._waiting[before:]
            raise

    def seal(self) -> None:
        """Write what was added, behind the last entry of the chain."""
        if not self._waiting:
            return
        first = insert_into(self.session, AuditHead).values(id=1, hash=GENESIS)
        self.session.execute(first.on_conflict_do_nothing(index_elements=["id"]))
        head = self.session.get_one(AuditHead, 1, with_for_update=True, populate_existing=True)
        for entry in self._waiting:
            entry.prev_hash = head.hash
            entry.hash = head.hash = entry_hash(entry)
            self.session.add(entry)
            self.session.flush()
        self._waiting = []

    def entries(self) -> Generator[AuditEntry, None, None]:
        """The chain from its beginning."""
        rows = self.session.scalars(select(AuditEntry).order_by(AuditEntry.id).execution_options(yield_per=500))
        with closing(rows):  # a cursor of the server's, also when the reader has seen enough
            yield from rows

    def subjects(self, what: str) -> set[str]:
        """The addresses to which something ever happened."""
        return set(self.session.scalars(select(AuditEntry.subject).where(AuditEntry.what == what)))

    def renames(self) -> dict[str, str]:
        """The userid that somebody has now, by each that he had before."""
        rows = self.session.scalars(
            select(AuditEntry).where(AuditEntry.what == "member.renamed").order_by(AuditEntry.id)
        )
        called: dict[str, str] = {}
        for row in rows:
            then, now = str(row.detail["before"]).casefold(), row.subject.casefold()
            called = {old: now if new == then else new for old, new in called.items()} | {then: now}
            called.pop(now, None)  # he has it again
        return called

    def latest(self, count: int) -> list[AuditEntry]:
        """The last entries, oldest first."""
        rows = self.session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc()).limit(count)).all()
        return list(reversed(rows))

    def broken_at(self) -> int | None:
        """The id of the first entry that does not follow from the one before it; None: the chain holds."""
        head = self.session.get(AuditHead, 1, with_for_update=True, populate_existing=True)  # nobody adds meanwhile
        last = GENESIS
        with closing(self.entries()) as entries:
            for entry in entries:
                if entry.prev_hash != last or entry.hash != entry_hash(entry):
                    return entry.id
                last = entry.hash
        if last != (head.hash if head is not None else GENESIS):
            return 0  # entries are missing at the end
        return None


def entry_hash(entry: AuditEntry) -> str:
    """SHA-256 over the entry and the hash before it."""
    fields: Mapping[str, object] = {
        "at": entry.at.isoformat(timespec="microseconds"), "who": entry.who, "what": entry.what,
        "subject": entry.subject, "detail": entry.detail, "prev": entry.prev_hash,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(fields, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
