"""The simulated WeCom called as a function: its limits and refusals, without a port, a thread or a real clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from bot import delivery
from bot.context import Context
from bot.errors import NetworkError
from bot.policy import Policy, Role, Roles
from bot.sandbox.mailserver import MailServer
from bot.sandbox.organisation import Organisation
from bot.sandbox.wecom.api import Gate
from bot.settings import Settings
from bot.vault import Vault, new_key
from bot.wecom.client import WeComClient
from bot.wecom.errcodes import APP, WeComError
from bot.words import Words
from bot.work import Runner, Services
from handlers import work as all_work
from storage.leases import Leases
from storage.models import AuditEntry, Delivery, Job, JobState
from storage.store import Store, Transaction
from tests.handlers.conftest import SETTINGS, FakeClock

ROLES = Roles({Role.ADMIN: frozenset({"mei", "yan"})})


class Client:
    """
    What a job calls WeCom with; every call is kept. `lost` of a path: the next answer is lost, carried out or not.

    `between` is called before a call of a path, once: another admin, a crash.
    """

    def __init__(self, org: Organisation) -> None:
        self.org, self.gate = org, Gate(org)
        self.corp_id, self.agent_id = org.corp_id, org.agent_id
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.lost: dict[str, list[bool]] = {}
        self.between: dict[str, Callable[[], None]] = {}

    def call(
        self,
        method: str,
        path: str,
        *,
        secret: str = APP,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        files: object = None,
    ) -> dict[str, Any]:
        name = path.removeprefix("/cgi-bin/")
        self.calls.append((name, dict(body or query or {})))
        if (first := self.between.pop(name, None)) is not None:
            first()
        lost = self.lost.get(name) or []
        arrives = lost.pop(0) if lost else None
        if arrives is False:
            raise NetworkError(name)
        asked = {key: str(value) for key, value in (query or {}).items()}
        asked["access_token"] = self.token(secret)
        raw = json.dumps(body, ensure_ascii=False).encode() if body is not None else b""
        answer = self.gate.answer(method, name, asked, raw)
        assert answer is not None, f"there is no {path}"
        if arrives:
            raise NetworkError(name)
        if answer["errcode"]:
            raise WeComError(answer["errcode"], answer["errmsg"], path, cast(Any, secret))
        return answer

    def token(self, secret: str) -> str:
        corpsecret = self.org.app_secret if secret == "app" else self.org.contacts_secret
        answer = self.gate.answer("GET", "gettoken", {"corpid": self.corp_id, "corpsecret": corpsecret}, b"")
        assert answer is not None
        return str(answer["access_token"])

    def made(self, path: str) -> list[dict[str, Any]]:
        """The bodies of all calls of a path."""
        return [body for name, body in self.calls if name == path]


class World:
    """A database, the simulated organisation, and everybody who types."""

    def __init__(self, store: Store, clock: FakeClock, *, policy: Policy | None = None) -> None:
        self.store, self.clock = store, clock
        self.org = Organisation(cast(Any, clock), MailServer(clock))
        self.client = Client(self.org)
        self.services = Services(
            store, cast(WeComClient, self.client), Settings(**SETTINGS), policy or Policy(), Vault([new_key()]), clock,
            Leases(store.engine), "r",
        )  # fmt: skip
        self.runner = Runner(all_work(), self.services, lambda _: ROLES)

    def context(self, tx: Transaction, member: str) -> Context:
        return Context(tx, member, "en", self.services.settings, self.services.policy, ROLES)

    def does(self, member: str, command: Callable[..., Any], *args: Any, **more: Any) -> str:
        """A member's command, and every job it starts; what is said to him then, as text."""
        before = len(self.heard(member))
        with self.store.begin() as tx:
            for reply in command(self.context(tx, member), *args, **more):
                delivery.add(tx, reply, self.services.settings)
        self.run()
        return "\n".join(self.heard(member)[before:])

    def run(self, turns: int = 60) -> None:
        """Turn whatever is due."""
        for _ in range(turns):
            with self.store.begin() as tx:
                due = tx.session.query(Job).filter(Job.state == JobState.DUE, Job.due_at <= tx.now).order_by(Job.id)
                job = due.first()
            if job is None:
                return
            self.runner.turn(job.id, job.wakes)
        raise AssertionError(f"it goes on and on: {job.kind} {job.stage}")

    def later(self, **amount: float) -> None:
        """Time passes, and what is due is done."""
        self.clock.advance(**amount)
        self.run()

    def sweep(self, name: str) -> None:
        self.runner.sweep(name, "1")
        self.run()

    def heard(self, member: str) -> list[str]:
        """The texts on their way to a member."""
        with self.store.begin() as tx:
            rows = tx.session.query(Delivery).filter_by(receiver=member, kind="text").order_by(Delivery.id)
            return [str(each.body["text"]) for each in rows]

    def files(self, member: str) -> list[str]:
        """The names of the files on their way to a member."""
        with self.store.begin() as tx:
            rows = tx.session.query(Delivery).filter_by(receiver=member, kind="file").order_by(Delivery.id)
            return [tx.deliveries.file(int(each.body["file"])).name for each in rows]

    def newest(self, kind: str) -> Job:
        with self.store.begin() as tx:
            found = tx.session.query(Job).filter_by(kind=kind).order_by(Job.id.desc()).first()
            assert found is not None
            return found

    def job(self, number: int) -> Job:
        with self.store.begin() as tx:
            return tx.jobs.get(number)

    def audited(self, *beginnings: str) -> list[str]:
        with self.store.begin() as tx:
            rows = tx.session.query(AuditEntry).order_by(AuditEntry.id)
            return [each.what for each in rows if each.what.startswith(beginnings)]


def english(words: Words) -> str:
    return words.text("en")
