"""A mailbox in the bin is saved, turn by turn: the target and the mail API are what a test says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from bot.mail.counts import OwnFolders
from bot.wecom import exmail
from bot.wecom.errcodes import WeComError
from bot.wecom.exmail import PublicMailbox
from handlers import addresses
from handlers.approvals import approvals
from handlers.backup import backup
from handlers.bin import conversion, convert, recycle_bin
from handlers.handovers import handovers
from handlers.rescue import rescue, rescue_choice, rescue_once
from storage.models import BinItem, Handover, JobState, Mailbox, MailboxKind
from storage.store import Store
from tests.handlers.backup_world import ROLES, World
from tests.handlers.conftest import FakeClock

AHING, SUPPORT = "ahing@corp.test", "support@corp.test"


class Place(World):
    """Ahing has left; the target's folders, and what the mail API shows, are what a test says."""

    def __init__(self, store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(store, clock, monkeypatch)
        self.mails: dict[str, int] = {"其他文件夹/old": 3}
        self.looking: Callable[[], None] | None = None
        self.looks = 0
        self.public: str | None = None
        self.shown_to = ["mei"]  # who can open it, as the mail API shows
        self.owner: str | None = None
        monkeypatch.setattr(rescue_once, "own_folders", self.folders)
        monkeypatch.setattr(conversion, "own_folders", self.folders)
        monkeypatch.setattr(addresses, "seen_public", self.seen)
        monkeypatch.setattr(convert, "owner_now", lambda job, address: self.owner)
        monkeypatch.setattr(handovers, "owner_now", lambda job, address: self.owner)
        monkeypatch.setattr(handovers, "in_sight", lambda job, userid: True)
        self.deleting: list[Exception] = []  # what the next calls that delete raise
        self.deletions = 0
        monkeypatch.setattr(exmail, "publicmail_delete", self.delete)
        monkeypatch.setattr(exmail, "publicmail_get", self.get)

    async def folders(self, *args: Any, **more: Any) -> OwnFolders:
        self.looks += 1
        if self.looking is not None:
            self.looking()
        return OwnFolders(dict(self.mails), False)

    def seen(self, job: object, address: str) -> Mailbox | None:
        if self.public != address:
            return None
        with self.store.begin() as tx:
            return tx.mailboxes.public_is(9, address, name="ahing", readers={"userids": self.shown_to}, aliases=[])

    def delete(self, client: object, mailbox_id: int) -> None:
        self.deletions += 1
        if self.deleting:
            raise self.deleting.pop(0)
        if self.public is None:
            raise WeComError(680035, "publicmail id not found")
        self.public = None

    def get(self, client: object, mailbox_ids: list[int]) -> list[PublicMailbox]:
        if self.public is None:
            raise WeComError(680035, "publicmail id not found")
        return [PublicMailbox(mailbox_ids[0], self.public, "ahing")]

    def leaves(self) -> None:
        with self.store.begin() as tx:
            member = tx.members.find("ahing")
            assert member is not None
            tx.members.left(member)
            recycle_bin.members_left(tx, ROLES, self.services.settings, [member], "callback")

    def rescue(self) -> int:
        """Asked for and looked into: the two ways are shown."""
        self.does("mei", rescue.request_rescue, "ahing@", SUPPORT, "customers")
        job = self.newest()
        self.run(job)
        assert self.state(job) == (JobState.WAITING, "shown")
        return job

    def newest(self) -> int:
        with self.store.begin() as tx:
            return max(each.id for each in tx.jobs.recent(["rescue", "convert", "backup"]))

    def approved(self, job: int, way: str | None = None) -> int:
        """The way is chosen, ling says yes, and the job runs on."""
        if way is not None:
            self.does("mei", rescue_choice.choose_way, job, way)
        self.does("ling", approvals.approve, self.data(job)["approval"])
        self.run(job)
        return job

    def item(self) -> BinItem:
        with self.store.begin() as tx:
            return tx.session.get_one(BinItem, 1)

    def step(self, job: int) -> Handover:
        with self.store.begin() as tx:
            return tx.handovers.of_job(job)[-1]

    def poll(self, job: int, *, later: timedelta = timedelta(hours=1)) -> Handover:
        """The console step is looked at by itself, that much later; what waited for it runs on."""
        self.clock.moment += later
        self.run(self.step(job).check_job_id)
        self.run(job)
        return self.step(job)

    def says_done(self, job: int, by: str = "mei") -> Handover:
        self.does(by, handovers.say_done, self.step(job).id)
        return self.poll(job, later=timedelta(minutes=2))

    def opens_to(self, *readers: str) -> None:
        """Other people can open the target from now on."""
        with self.store.begin() as tx:
            tx.mailboxes.public_is(1, SUPPORT, name="support", readers={"userids": [*readers]}, aliases=[])

    def nothing_left(self, job: int) -> None:
        """No key, no page, no question, no console step."""
        assert self.state(job)[0] not in (JobState.WAITING, JobState.DUE)
        assert self.open_rows() == (0, 0)
        assert not self.wecom.minted
        with self.store.begin() as tx:
            assert not tx.handovers.open_ones()
            assert tx.passwords.find(job, "source") is tx.passwords.find(job, "target") is None
            assert not tx.approvals.waiting_for("ling")
            assert not [each for each in tx.links.of_job(job) if tx.links.alive(each)]
            assert tx.mailboxes.at(AHING) is None or tx.mailboxes.at(AHING).kind is MailboxKind.PUBLIC  # type: ignore[union-attr]

    def converted(self) -> int:
        """A rescue whose mailbox became public and is not copied yet."""
        self.leaves()
        job = self.approved(self.rescue(), "public")
        self.public = AHING
        self.poll(job)
        return job

    def saved(self) -> int:
        """A rescue whose backup is complete: it asks what becomes of the public mailbox."""
        job = self.converted()
        copy = self.data(job)["backup"]
        self.run(copy)
        self.does("mei", backup.start, copy)
        self.run(copy)
        self.sweep("rescue")
        assert self.data(job)["ending"] == "done"
        return job
