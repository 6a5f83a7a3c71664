"""Mailboxes, who owns them, how we know, and what a look-up said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from sqlalchemy import String, cast, exists, func, literal, or_, select

from storage.asking import Asking
from storage.ledger_tables import CopyFolder, CopyRoot, LedgerLine
from storage.models import BackupRoot, Json, LookUp, Mailbox, MailboxKind


class Mailboxes(Asking):
    """Questions asked of `mailboxes`, `look_ups`, `backup_roots`, and of the ledger whose mail lies where."""

    def get(self, mailbox_id: int) -> Mailbox:
        """The mailbox; it must exist."""
        return self.session.get_one(Mailbox, mailbox_id)

    def at(self, address: str) -> Mailbox | None:
        """The mailbox that has this address now, as its own or as an alias."""
        wanted = address.casefold()
        row = self.session.scalar(select(Mailbox).where(Mailbox.address == wanted, Mailbox.ended_at.is_(None)))
        if row is not None:
            return row
        return next((box for box in self.all() if wanted in box.aliases), None)

    def of(self, userid: str) -> Mailbox | None:
        """A member's mailbox, if its address is known."""
        return self.session.scalar(
            select(Mailbox).where(
                Mailbox.owner == userid.casefold(), Mailbox.kind == MailboxKind.MEMBER, Mailbox.ended_at.is_(None)
            )
        )

    def all(self) -> Sequence[Mailbox]:
        """Every mailbox that still is one."""
        return self.session.scalars(select(Mailbox).where(Mailbox.ended_at.is_(None)).order_by(Mailbox.address)).all()

    def public(self) -> Sequence[Mailbox]:
        """The public mailboxes that are known."""
        return [box for box in self.all() if box.kind == MailboxKind.PUBLIC]

    def member_has(self, userid: str, address: str, source: str) -> Mailbox:
        """
        A look-up or an import says that the address is the member's.

        The same owner: the same mailbox, confirmed anew, also one that was thought to be gone. Another owner: the old
        one ended, this is a new incarnation. Nobody has two: his other mailbox, if any, is not his any more.
        """
        address, owner = address.casefold(), userid.casefold()
        box = self.at(address)
        if box is not None and (box.kind, box.owner) != (MailboxKind.MEMBER, owner):
            box.ended_at, box = self.now, None
        if box is None and (last := self.last_at(address)) is not None and last.owner == owner:
            box, last.ended_at = last, None
        for other in self.session.scalars(
            select(Mailbox).where(
                Mailbox.owner == owner, Mailbox.kind == MailboxKind.MEMBER, Mailbox.ended_at.is_(None)
            )
        ):
            if box is None or other.id != box.id:
                other.ended_at = self.now
        if box is not None:
            box.confirmed_at, box.source = self.now, source
            return box
        return self.added(
            Mailbox(
                address=address, kind=MailboxKind.MEMBER, owner=owner, source=source,
                confirmed_at=self.now, readers={}, aliases=[], managed=False,
            )
        )  # fmt: skip

    def alias_of(self, mailbox_id: int, address: str) -> None:
        """Another address of a mailbox that is known."""
        box = self.get(mailbox_id)
        if address.casefold() not in box.aliases:
            box.aliases = [*box.aliases, address.casefold()]
        box.confirmed_at = self.now

    def last_at(self, address: str) -> Mailbox | None:
        """The latest mailbox that had this address and was somebody's, also when it has ended."""
        return self.session.scalar(
            select(Mailbox)
            .where(Mailbox.address == address.casefold(), Mailbox.kind != MailboxKind.UNSEEN)
            .order_by(Mailbox.id.desc())
            .limit(1)
        )

    def all_at(self, address: str) -> Sequence[Mailbox]:
        """Every mailbox that ever had this address, the newest first."""
        query = select(Mailbox).where(Mailbox.address == address.casefold())
        return self.session.scalars(query.order_by(Mailbox.id.desc())).all()

    def public_is(self, public_id: int, address: str, *, name: str, readers: Json, aliases: Sequence[str]) -> Mailbox:
        """A public mailbox as WeCom just showed it; a new one counts as one the app may mint passwords for."""
        box = self.session.scalar(select(Mailbox).where(Mailbox.public_id == public_id, Mailbox.ended_at.is_(None)))
        if box is None:
            box = self.at(address)
            known = box is not None and (box.kind is MailboxKind.UNSEEN or made_in_console(box))
            if box is not None and not known:
                box.ended_at, box = self.now, None
        if box is None:
            box = self.added(
                Mailbox(
                    address=address.casefold(), kind=MailboxKind.PUBLIC, public_id=public_id, source="api", readers={},
                    aliases=[], managed=True,
                )
            )  # fmt: skip
        if box.kind is MailboxKind.UNSEEN or made_in_console(box):
            box.managed = True
        box.kind, box.public_id, box.address, box.name = MailboxKind.PUBLIC, public_id, address.casefold(), name
        box.readers = readers
        self.aliases_are(box, aliases)
        box.confirmed_at, box.source = self.now, "api"
        return box

    def aliases_are(self, box: Mailbox, aliases: Iterable[str]) -> None:
        """These are all its aliases: WeCom showed or took them, or somebody read them in the console."""
        box.aliases, box.aliases_known_at = [each.casefold() for each in aliases], self.now

    def renamed(self, box: Mailbox, address: str) -> None:
        """
        A mailbox has another address, as was seen; its former one is an alias now.

        Whoever asked about the new address meanwhile made another mailbox of it: that one never was.
        """
        old, new = box.address, address.casefold()
        for other in self.all_at(new):
            if other.id != box.id and other.ended_at is None:
                other.ended_at = self.now
        box.address, box.ended_at, box.confirmed_at, box.address_fixed = new, None, self.now, True
        box.aliases = list(dict.fromkeys([*(each for each in box.aliases if each != new), old]))

    def unseen(self, address: str) -> Mailbox:
        """An address of our domain that neither a look-up nor the mail API shows."""
        return self.at(address) or self.added(
            Mailbox(
                address=address.casefold(),
                kind=MailboxKind.UNSEEN,
                source="typed",
                readers={},
                aliases=[],
                managed=False,
            )
        )

    def told_of(self, address: str, *, name: str, readers: Json) -> Mailbox:
        """A public mailbox made in the console, as somebody tells it; what the mail API shows counts more."""
        box = self.unseen(address)
        box.kind, box.name, box.readers, box.source, box.confirmed_at = (
            MailboxKind.PUBLIC, name, readers, "typed", self.now,
        )  # fmt: skip
        return box

    def converted(self, address: str, *, readers: Sequence[str]) -> Mailbox:
        """
        A mailbox was seen to be a public one by now, which the console made of it; `readers` are those we know of.

        Another incarnation than the member's. If the mail API shows it, what that says counts more.
        """
        box = self.at(address)
        if box is not None and box.kind is MailboxKind.MEMBER:
            box.ended_at = self.now
        box = self.unseen(address)
        if box.kind is MailboxKind.UNSEEN:
            box.kind, box.source, box.confirmed_at = MailboxKind.PUBLIC, "console", self.now
            box.readers = {"userids": list(readers)}
        return box

    def ended(self, box: Mailbox) -> None:
        """It is no mailbox any more; backups made of it keep pointing here."""
        box.ended_at = self.now

    def looked_up(self, address: str, userid: str | None) -> None:
        """What a look-up said."""
        self.session.add(LookUp(address=address.casefold(), at=self.now, userid=userid and userid.casefold()))

    def last_look_up(self, address: str, *, within: timedelta) -> LookUp | None:
        """The latest answer about an address that is not older than `within`."""
        return self.session.scalar(
            select(LookUp)
            .where(LookUp.address == address.casefold(), LookUp.at > self.now - within)
            .order_by(LookUp.id.desc())
            .limit(1)
        )

    def failed_look_ups(self, *, within: timedelta) -> int:
        """How many look-ups found nobody: too many block the API for a day."""
        return (
            self.session.scalar(
                select(func.count()).select_from(LookUp).where(LookUp.userid.is_(None), LookUp.at > self.now - within)
            )
            or 0
        )

    def root(self, source: Mailbox, target: Mailbox) -> str | None:
        """Where mail of this source lies in the target, if it was ever copied there."""
        return self.session.scalar(
            select(BackupRoot.root).where(BackupRoot.source_id == source.id, BackupRoot.target_id == target.id)
        )

    def choose_root(self, source: Mailbox, target: Mailbox, wanted: str) -> str:
        """The root for this pair, chosen now if it never was; another incarnation's root is never shared."""
        if (known := self.root(source, target)) is not None:
            return known
        taken = set(self.session.scalars(select(BackupRoot.root).where(BackupRoot.target_id == target.id)))
        root, number = wanted, 2
        while root in taken:
            root, number = f"{wanted} ({number})", number + 1
        self.added(BackupRoot(source_id=source.id, target_id=target.id, root=root))
        return root

    def backups_in(self, target: Mailbox) -> list[str]:
        """Whose mail lies in a mailbox, by address: some was stored there, or a run that does is under way."""
        stored = exists().where(
            CopyFolder.root_id == CopyRoot.id, LedgerLine.folder_id == CopyFolder.id, LedgerLine.state == "stored"
        )
        source = literal("mailbox:") + cast(Mailbox.id, String)
        query = select(Mailbox.address).join(CopyRoot, CopyRoot.source_key == source)
        into = query.where(CopyRoot.target_key == f"mailbox:{target.id}", or_(CopyRoot.under_way, stored))
        return sorted(set(self.session.scalars(into)))

    def roots_in(self, target: Mailbox) -> list[str]:
        """All our roots in a mailbox: an earlier backup is not backed up again."""
        return list(self.session.scalars(select(BackupRoot.root).where(BackupRoot.target_id == target.id)))


def made_in_console(box: Mailbox) -> bool:
    """A public mailbox that the mail API has never shown."""
    return box.kind is MailboxKind.PUBLIC and box.public_id is None
