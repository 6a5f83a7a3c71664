"""Jobs turned by hand on a database; WeCom answers from a table, the mail engine does what a test says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, cast

import pytest

from bot.context import Context
from bot.mail.outcome import CopyOutcome
from bot.mail.plan import Plan
from bot.mail.verify import FolderCheck, Verification
from bot.policy import Policy, Role, Roles
from bot.settings import Settings
from bot.vault import Vault, new_key
from bot.wecom import exmail
from bot.wecom.client import WeComClient
from bot.wecom.exmail import AuthCode, AuthCodeInfo, Option
from bot.words import Words
from bot.work import JobContext, Runner, Services
from handlers import addresses, jobs
from handlers import work as all_work
from handlers.backup import backup, backup_receipt
from handlers.copying import access, verification
from storage.leases import Leases
from storage.models import AuditEntry, Delivery, ImapSwitch, Job, JobState, Mailbox, MintedPassword, OneTimeLink
from storage.store import Store, Transaction
from tests.handlers.conftest import SETTINGS, FakeClock

NOT_ALLOWED = 48002
ROLES = Roles({Role.ADMIN: frozenset({"mei", "yan"})})


class FakeWecom:
    """Client passwords and IMAP services; `refusals` holds what the next calls of a kind raise."""

    def __init__(self) -> None:
        self.imap: dict[str, bool] = {}
        self.minted: dict[int, str] = {}
        self.refusals: dict[str, list[Exception]] = defaultdict(list)
        self.before_imap: Callable[[], None] | None = None
        self._last = 0

    def refuse(self, what: str) -> None:
        """Raise what is due."""
        if self.refusals[what]:
            raise self.refusals[what].pop(0)

    def mint(self, client: object, mailbox_id: int, remark: str) -> AuthCode:
        self.refuse("mint")
        self._last += 1
        self.minted[self._last] = remark
        return AuthCode(self._last, "abcdefghijklmnop")

    def codes(self, client: object, mailbox_id: int) -> list[AuthCodeInfo]:
        return [AuthCodeInfo(each, remark, None, None) for each, remark in self.minted.items()]

    def delete(self, client: object, mailbox_id: int, auth_code_id: int) -> None:
        self.refuse("delete")
        self.minted.pop(auth_code_id, None)

    def options(self, client: object, userid: str, options: list[Option]) -> dict[Option, bool]:
        return {Option.IMAP_SMTP: self.imap.get(userid, False)}

    def switch(self, client: object, userid: str, options: dict[Option, bool]) -> None:
        if not options[Option.IMAP_SMTP]:
            self.refuse("imap")
            if self.before_imap is not None:
                self.before_imap()
        self.imap[userid] = options[Option.IMAP_SMTP]


class Mail:
    """The mail engine: each call does what is next in its list, then all is well."""

    def __init__(self) -> None:
        self.planning: list[Callable[[], Any]] = []
        self.copying: list[Callable[[], Any]] = []
        self.checking: list[Callable[[], Any]] = []
        self.limits: list[Any] = []
        self.on_fewer: Callable[[int], None] = lambda connections: None
        self.newer = 0
        self.broken = False  # a copy that is not whole

    async def plan(self, *args: Any, **more: Any) -> Plan:
        return self.planning.pop(0)() if self.planning else Plan()

    async def copy(self, *args: Any, **more: Any) -> CopyOutcome:
        self.limits.append(more["limits"])
        self.on_fewer = more["on_fewer"]
        done = CopyOutcome(True, 0, 0, 0, 0.0)
        return cast(CopyOutcome, self.copying.pop(0)() or done) if self.copying else done

    async def verify(self, *args: Any, **more: Any) -> Verification:
        if self.checking:
            self.checking.pop(0)()
        folder = FolderCheck("INBOX", "x/INBOX", 3, 3, 3, 0, 0, 0, 0, self.newer, 0)
        return Verification(not self.broken, [folder])


def raising(error: BaseException) -> Callable[[], Any]:
    """What raises."""

    def act() -> None:
        raise error

    return act


class World:
    """A bot without network: commands by function, turns by hand."""

    def __init__(self, store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store, self.clock, self.wecom, self.mail = store, clock, FakeWecom(), Mail()
        self.found: dict[str, addresses.Found] = {}
        settings = Settings(**SETTINGS)
        self.services = Services(
            store, cast(WeComClient, None), settings, Policy(), Vault([new_key()]), clock, Leases(store.engine), "r"
        )
        self.runner = Runner(all_work(), self.services, lambda _: ROLES)
        for name, function in (
            ("mint_auth_code", self.wecom.mint), ("publicmail_get_auth_code_list", self.wecom.codes),
            ("publicmail_delete_auth_code", self.wecom.delete), ("useroption_get", self.wecom.options),
            ("useroption_update", self.wecom.switch),
        ):  # fmt: skip
            monkeypatch.setattr(exmail, name, function)
        monkeypatch.setattr(backup, "make_plan", self.mail.plan)
        monkeypatch.setattr(backup, "copy_mail", self.mail.copy)
        monkeypatch.setattr(backup_receipt, "verify_copy", self.mail.verify)
        monkeypatch.setattr(verification, "verify_copy", self.mail.verify)
        monkeypatch.setattr(addresses, "find_mailbox", self.find)
        with store.begin() as tx:
            for userid in ("ahing", "calvin"):
                tx.mailboxes.member_has(userid, f"{userid}@corp.test", "look-up")
            readers = {"userids": ["mei", "tao"], "departments": [], "tags": []}
            self.support = tx.mailboxes.public_is(
                1, "support@corp.test", name="support", readers=readers, aliases=[]
            ).id
            tx.mailboxes.public_is(2, "sales@corp.test", name="sales", readers=readers, aliases=[])

    def find(self, job: JobContext, address: str | None, userid: str | None) -> addresses.Found:
        """What a look-up says: what a test put there, else what the rows say."""
        address = address or f"{userid}@corp.test"
        with self.store.begin() as tx:
            return self.found.get(address) or addresses.Found(tx.mailboxes.at(address))

    def context(self, tx: Transaction, member: str) -> Context:
        return Context(tx, member, "en", self.services.settings, self.services.policy, ROLES)

    def does(self, member: str, command: Callable[..., Any], *args: Any, **more: Any) -> list[str]:
        """A member's command; what is said to him, as text."""
        with self.store.begin() as tx:
            ctx = self.context(tx, member)
            replies = command(ctx, *args, **more)
            return [str(each.words) for each in replies if isinstance(getattr(each, "words", None), (Words, str))]

    def backup(self, source: str, *, target: str = "support@corp.test", by: str = "mei") -> int:
        """A backup that was asked for and looked into: it waits for a page."""
        self.does(by, backup.request_backup, f"{source}@", target=target, reason="he leaves")
        with self.store.begin() as tx:
            job = max(each.id for each in tx.session.query(Job))
        self.run(job)
        return job

    def give(self, job: int, side: str, member: str = "calvin") -> None:
        """A password, as a page gives it; the job is due."""
        with self.store.begin() as tx:
            row = tx.jobs.get(job)
            tx.passwords.keep(job, side, given_by=member, ciphertext=self.services.vault.lock("p" * 16))
            if row.state is JobState.WAITING:
                tx.jobs.wake(row, "access")

    def ready(self, source: str, *, target: str = "support@corp.test") -> int:
        """A backup whose preview was shown."""
        job = self.backup(source, target=target)
        self.give(job, "source", source)
        self.run(job)
        assert self.state(job) == (JobState.WAITING, "ready")
        return job

    def started(self, source: str) -> int:
        """A backup of which Start was pressed; nothing is copied yet."""
        job = self.ready(source)
        self.does("mei", backup.start, job)
        return job

    def cancel(self, job: int, by: str = "mei") -> None:
        """`cancel`."""
        self.does(by, jobs.cancel, job)

    def declines(self, job: int, member: str, side: str) -> None:
        """No, on his page."""
        with self.store.begin() as tx:
            link = tx.links.latest(job, side)
            assert link is not None
            assert link.member == member
            link.spent_at = tx.now
            access.PageHost(self.services).declined(tx, link)

    def run(self, job: int, turns: int = 20) -> None:
        """Turn a job until nothing of it is due."""
        for _ in range(turns):
            with self.store.begin() as tx:
                row = tx.jobs.get(job)
                due, wakes = row.state is JobState.DUE and row.due_at <= tx.now, row.wakes
            if not due:
                return
            self.runner.turn(job, wakes)

    def sweep(self, name: str) -> int:
        """Run a sweep and the jobs it starts; how many these are."""
        starts = [each for each in self.runner.sweep(name, "1") if each.what == "job"]
        for each in starts:
            self.run(each.id)
        return len(starts)

    def state(self, job: int) -> tuple[JobState, str]:
        with self.store.begin() as tx:
            row = tx.jobs.get(job)
            return row.state, row.stage

    def data(self, job: int) -> dict[str, Any]:
        with self.store.begin() as tx:
            return dict(tx.jobs.get(job).data)

    def told(self, member: str) -> list[str]:
        """The texts on their way to a member."""
        with self.store.begin() as tx:
            rows = tx.session.query(Delivery).filter_by(receiver=member, kind="text").order_by(Delivery.id)
            return [str(row.body) for row in rows]

    def links(self, job: int) -> list[tuple[str, str]]:
        """The pages that were sent for a job: to whom, for which side."""
        with self.store.begin() as tx:
            rows = tx.session.query(OneTimeLink).filter_by(job_id=job).order_by(OneTimeLink.id)
            return [(each.member, each.side) for each in rows]

    def open_rows(self) -> tuple[int, int]:
        """Minted passwords and switches that are not undone."""
        with self.store.begin() as tx:
            minted = tx.session.query(MintedPassword).filter(MintedPassword.deleted_at.is_(None)).count()
            return minted, tx.session.query(ImapSwitch).filter(ImapSwitch.restored_at.is_(None)).count()

    def audited(self, what: str) -> int:
        with self.store.begin() as tx:
            return tx.session.query(AuditEntry).filter_by(what=what).count()

    def mailbox(self, address: str) -> Mailbox:
        with self.store.begin() as tx:
            found = tx.mailboxes.at(address)
            assert found is not None
            return found
