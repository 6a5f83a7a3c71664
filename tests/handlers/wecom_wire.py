"""Jobs turned by hand on a database, the bot's own WeCom client on the simulated WeCom, no network between them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, cast

from bot import delivery
from bot.clock import ShiftedClock
from bot.context import Context
from bot.errors import NetworkError, UserError
from bot.http import Answer, Http
from bot.policy import Policy, Role, Roles
from bot.sandbox.mailserver import MailServer
from bot.sandbox.organisation import Organisation
from bot.sandbox.wecom.api import Gate
from bot.settings import Settings
from bot.vault import Vault, new_key
from bot.wecom.client import WeComClient
from bot.work import Runner, Services
from handlers import changes
from handlers import work as all_work
from handlers.approvals import approvals
from storage.leases import Leases
from storage.ledger_tables import CopyFolder, CopyRoot, LedgerLine
from storage.models import AuditEntry, Delivery, Job, JobState, StoredFile
from storage.store import Store, Transaction
from tests.handlers.conftest import SETTINGS, FakeClock

ROLES = Roles({Role.ADMIN: frozenset({"mei", "yan"})})


class Wire:
    """
    The simulated WeCom's gate in place of HTTP.

    `lost` answers are lost after the call was carried out, `never_sent` ones before; `busy` ones say -1 though it was,
    `pretended` ones 0 though it was not; `just_before` is done right before a call of a path is, once.
    """

    def __init__(self, org: Organisation) -> None:
        self.gate = Gate(org)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.lost: dict[str, int] = defaultdict(int)
        self.never_sent: dict[str, int] = defaultdict(int)
        self.busy: dict[str, int] = defaultdict(int)
        self.pretended: dict[str, int] = defaultdict(int)
        self.just_before: dict[str, list[Callable[[], object]]] = defaultdict(list)

    def request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, json_body: object = None, **_: object
    ) -> Answer:
        called = path.removeprefix("/cgi-bin/")
        name = called.rpartition("/")[2]
        if self.never_sent[name]:
            self.never_sent[name] -= 1
            raise NetworkError("ConnectTimeout")
        if self.just_before[name]:
            self.just_before[name].pop(0)()
        if self.pretended[name]:
            self.pretended[name] -= 1
            self.calls.append((name, cast(dict[str, Any], json_body or {})))
            return Answer(200, {}, json.dumps({"errcode": 0, "errmsg": "ok"}).encode())
        raw = b"" if json_body is None else json.dumps(json_body, ensure_ascii=False).encode()
        answer = self.gate.answer(method, called, query or {}, raw)
        self.calls.append((name, cast(dict[str, Any], json_body or {})))
        if self.lost[name]:
            self.lost[name] -= 1
            raise NetworkError("ReadTimeout")
        if self.busy[name]:
            self.busy[name] -= 1
            answer = {"errcode": -1, "errmsg": "system busy"}
        return Answer(200, {}, json.dumps(answer).encode())

    def close(self) -> None:
        """Nothing is open."""

    def asked(self, name: str) -> int:
        """How often a call was made."""
        return sum(called == name for called, _ in self.calls)


class Place:
    """A bot whose directory was read; commands by function, turns by hand, the database's own clock for leases."""

    def __init__(self, store: Store, clock: FakeClock, policy: Policy | None = None) -> None:
        self.store, self.clock = store, clock
        self.org = Organisation(ShiftedClock(clock), MailServer(ShiftedClock(clock)))
        self.wire = Wire(self.org)
        settings = Settings(**SETTINGS, wecom_contacts_secret=self.org.contacts_secret)
        client = WeComClient(
            cast(Http, self.wire), clock, self.org.corp_id, self.org.agent_id, self.org.app_secret,
            self.org.contacts_secret, sleep=lambda seconds: None,
        )  # fmt: skip
        self.services = Services(
            store, client, settings, policy or Policy(), Vault([new_key()]), clock, Leases(store.engine), "r"
        )
        self.runner = Runner(all_work(), self.services, lambda _: ROLES)
        with store.begin() as tx:
            directory = tx.jobs.add("directory", asked_by="bot", params={}).id
        self.run(directory)
        self.wire.calls.clear()

    def context(self, tx: Transaction, member: str) -> Context:
        return Context(tx, member, "en", self.services.settings, self.services.policy, ROLES)

    def does(self, member: str, command: Callable[..., Any], *args: Any, run: bool = True, **more: Any) -> int:
        """A member's command and the jobs it starts; the number of the newest job."""
        with self.store.begin() as tx:
            ctx = self.context(tx, member)
            try:
                with tx.savepoint():
                    for reply in command(ctx, *args, **more):
                        delivery.add(tx, reply, self.services.settings)
            except UserError as error:
                tx.deliveries.add(member, "text", {"text": error.words.text("en")})
            starts = [each.id for each in ctx.starts if each.what == "job"]
        for each in starts if run else []:
            self.run(each)
        return self.newest()

    def newest(self) -> int:
        with self.store.begin() as tx:
            return max(each.id for each in tx.session.query(Job))

    def run(self, job: int, turns: int = 30) -> None:
        """Turn a job until nothing of it is due."""
        for _ in range(turns):
            with self.store.begin() as tx:
                row = tx.jobs.get(job)
                due, wakes = row.state is JobState.DUE and row.due_at <= tx.now, row.wakes
            if not due:
                return
            self.runner.turn(job, wakes)

    def later(self, job: int, **amount: float) -> None:
        """Time passes, and the job goes on."""
        self.clock.advance(**amount)
        self.run(job)

    def confirmed(self, member: str, command: Callable[..., Any], *args: Any, **more: Any) -> int:
        """A change, shown and confirmed."""
        job = self.does(member, command, *args, **more)
        assert self.stands(job) == (JobState.WAITING, "confirm"), self.heard(member)[-1]
        self.does(member, changes.confirm, job)
        return job

    def approves(self, member: str, job: int) -> None:
        """Another admin says yes."""
        self.does(member, approvals.approve, self.data(job)["approval"])
        self.run(job)

    def stands(self, job: int) -> tuple[JobState, str]:
        with self.store.begin() as tx:
            row = tx.jobs.get(job)
            return row.state, row.stage

    def data(self, job: int) -> dict[str, Any]:
        with self.store.begin() as tx:
            return dict(tx.jobs.get(job).data)

    def ending(self, job: int) -> str | None:
        return self.data(job).get("ending")

    def heard(self, member: str) -> list[str]:
        """The texts for a member, in order."""
        with self.store.begin() as tx:
            rows = tx.session.query(Delivery).filter_by(receiver=member, kind="text").order_by(Delivery.id)
            return [str(each.body["text"]) for each in rows]

    def last(self, member: str = "mei") -> str:
        return self.heard(member)[-1]

    def files(self) -> list[tuple[str, bytes]]:
        with self.store.begin() as tx:
            return [(each.name, each.content) for each in tx.session.query(StoredFile).order_by(StoredFile.id)]

    def audited(self) -> list[str]:
        with self.store.begin() as tx:
            return [each.what for each in tx.session.query(AuditEntry).order_by(AuditEntry.id)]

    def sweep(self, name: str) -> None:
        """Run a sweep and the jobs it starts."""
        for each in self.runner.sweep(name, "1"):
            if each.what == "job":
                self.run(each.id)

    def public(self, address: str = "support@corp.test") -> Any:
        """A public mailbox as the simulated WeCom has it."""
        return self.org.public_of_address(address)


def backed_up(tx: Transaction, userid: str, target: str, *, stored: bool = True) -> None:
    """A backup of a member's mailbox into another: asked for, or with a mail of it stored there."""
    source, into = tx.mailboxes.member_has(userid, f"{userid}@corp.test", "look-up"), tx.mailboxes.at(target)
    assert into is not None
    root = tx.mailboxes.choose_root(source, into, userid)
    if not stored:
        return
    copied = CopyRoot(source_key=f"mailbox:{source.id}", target_key=f"mailbox:{into.id}", root=root)
    tx.session.add(copied)
    tx.session.flush()
    folder = CopyFolder(
        root_id=copied.id, source="INBOX", source_uidvalidity=1, source_uidnext=2, target=root, target_uidvalidity=1,
        target_mark=1,
    )  # fmt: skip
    tx.session.add(folder)
    tx.session.flush()
    line = LedgerLine(folder_id=folder.id, uid=1, size_bytes=9, internal_date="", flags="", state="stored")
    tx.session.add(line)
