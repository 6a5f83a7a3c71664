"""
Everybody at once: whoever may say anything about a question says it in the same moment, on both databases.

A machine asks questions, lets time pass, and has several people and sweeps act together, each in a thread with a
transaction of its own. Whatever they do, in whatever order the database lets them: a question has one ending, its
effect comes once and only after a yes, everybody who came too late is told who was first, and nobody waits for ever.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from bot.context import Context
from bot.errors import UserError
from bot.policy import Policy, Requirement, Role, Roles
from bot.replies import Reply
from bot.settings import Settings
from bot.words import Words
from bot.work import SweepStep
from handlers.approvals import approval_reminders, approval_talk, approvals, override
from storage.models import Approval, ApprovalStatus, AuditEntry, OverrideState
from storage.store import Store, Transaction
from tests.handlers.approval_world import FACTS, ask, send, sweep
from tests.handlers.conftest import SETTINGS, FakeClock, on_both

HELD = Roles({Role.ADMIN: frozenset({"mei", "yan"}), Role.SUPER_ADMIN: frozenset({"fang"})})
WAIT_SECONDS = 60
EXAMPLES, STEPS = 22, 8
ENDINGS = {
    "approval.approved": ApprovalStatus.APPROVED,
    "approval.overridden": ApprovalStatus.APPROVED,
    "approval.rejected": ApprovalStatus.REJECTED,
    "approval.withdrawn": ApprovalStatus.VOID,
    "approval.void": ApprovalStatus.VOID,
    "approval.expired": ApprovalStatus.EXPIRED,
}
FIRST = {  # what who comes too late is told
    "approvals.already_approved": ApprovalStatus.APPROVED,
    "approvals.already_rejected": ApprovalStatus.REJECTED,
    "approvals.withdrawn_by": ApprovalStatus.VOID,
    "approvals.withdrawn": ApprovalStatus.VOID,
}
SETTINGS_ = Settings(**SETTINGS)

Ready = Callable[[], None]  # waits for the others
Act = Callable[["Machine", int, Ready], Words | None]


def said(sender: str, what: Callable[[Context, int], list[Reply]]) -> Act:
    """Somebody types; what he is told if it is too late."""

    def act(machine: Machine, number: int, ready: Ready) -> Words | None:
        if not machine.several_at_once:
            ready()
        with machine.store.begin() as tx:
            tx.members.find(sender)  # the database knows of this transaction now
            if machine.several_at_once:
                ready()
            ctx = Context(tx, sender, "en", SETTINGS_, Policy(), HELD)
            try:
                with tx.savepoint():
                    send(tx, what(ctx, number), SETTINGS_)
            except UserError as error:
                return error.words
        return None

    return act


def swept(*functions: Callable[[SweepStep], None]) -> Act:
    """A replica sweeps."""

    def act(machine: Machine, number: int, ready: Ready) -> Words | None:
        ready()
        sweep(machine.store, SETTINGS_, *functions, roles=HELD)
        return None

    return act


def changed(machine: Machine, number: int, ready: Ready) -> Words | None:
    """What the question showed is not so any more."""
    ready()
    machine.facts["readers"] = [*machine.facts["readers"], "tao"]
    return None


ACTS: dict[str, Act] = {
    "ling approves": said("ling", approvals.approve),
    "lan approves": said("lan", approvals.approve),
    "lan rejects": said("lan", lambda ctx, number: approvals.reject(ctx, number, "no")),
    "ling rejects": said("ling", lambda ctx, number: approvals.reject(ctx, number, "not now")),
    "ling asks": said("ling", lambda ctx, number: approval_talk.ask_back(ctx, number, "why?")),
    "mei answers": said("mei", lambda ctx, number: approval_talk.answer(ctx, number, "because")),
    "mei withdraws": said("mei", approvals.withdraw),
    "mei asks the next": said("mei", lambda ctx, number: approval_reminders.ask_someone_else(ctx, number, "yan")),
    "yan approves": said("yan", approvals.approve),
    "fang overrides": said("fang", lambda ctx, number: override.override(ctx, number, "at once")),
    "yan stops": said("yan", override.stop_override),
    "one replica": swept(approvals.expire, approval_reminders.remind, override.take_effect),
    "another": swept(override.take_effect, approvals.expire),
    "facts change": changed,
}


class Machine(RuleBasedStateMachine):
    """A question and those who have a say in it; `store` is set for each database."""

    store: Store
    several_at_once: bool  # whether the database lets two transactions write
    clock: FakeClock
    facts: dict[str, Any]
    number: int

    @initialize()
    def begins(self) -> None:
        """With a question."""
        self.asked()

    @rule()
    def asked(self) -> None:
        """A fresh question; the one before bothers nobody any more. Yan, who leads the department here, comes next."""
        self.teardown()
        self.facts.clear()
        self.facts.update(FACTS)
        with self.store.begin() as tx:
            self.number = ask(tx, SETTINGS_, may=("ling", "lan"), owner="tao", requirement=Requirement.MANAGER).id

    @rule(minutes=some.sampled_from([1, 29, 31, 60, 24 * 60, 7 * 24 * 60 - 35]))
    def time_passes(self, minutes: int) -> None:
        """Half an hour ends an override, a week the question."""
        self.clock.advance(minutes=minutes)

    @rule(names=some.lists(some.sampled_from(sorted(ACTS)), min_size=3, max_size=6))
    def together(self, names: list[str]) -> None:
        """Several in the same moment; then each of them hears the truth."""
        barrier, told, broken = threading.Barrier(len(names)), list[Words](), list[BaseException]()

        def ready() -> None:
            barrier.wait(WAIT_SECONDS)

        def act(name: str) -> None:
            try:
                if (words := ACTS[name](self, self.number, ready)) is not None:
                    told.append(words)
            except BaseException as error:  # also a deadlock, which the database would break
                broken.append(error)

        threads = [threading.Thread(target=act, args=(name,)) for name in names]
        for each in threads:
            each.start()
        for each in threads:
            each.join(WAIT_SECONDS)
        assert not any(each.is_alive() for each in threads), names
        assert broken == [], names
        with self.store.begin() as tx:
            approval = tx.approvals.get(self.number)
            by = tx.members.find(approval.decided_by).name if approval.decided_by else None  # type: ignore[union-attr]
        for words in told:
            if words.key in FIRST:
                assert FIRST[words.key] is approval.status, (names, words)
                assert words.values.get("by") == by or words.key == "approvals.withdrawn", (names, words)

    @invariant()
    def one_ending(self) -> None:
        """The audit chain, the row and what was done agree."""
        with self.store.begin() as tx:
            approval, row = tx.approvals.get(self.number), tx.overrides.of(self.number)
            whats = Counter(what_of(tx, f"approval {self.number}"))
        endings = Counter({what: whats[what] for what in ENDINGS if whats[what]})
        assert endings.total() == (approval.status is not ApprovalStatus.PENDING), endings
        assert all(ENDINGS[what] is approval.status for what in endings), (endings, approval.status)
        yes = approval.status is ApprovalStatus.APPROVED
        assert whats["test.effect"] == yes, whats
        assert whats["override.begun"] == (row is not None)
        done = row is not None and row.state is OverrideState.DONE
        assert done == (whats["approval.overridden"] == 1), (row, endings)
        assert whats["override.stopped"] == (row is not None and row.state is OverrideState.STOPPED)

    def teardown(self) -> None:
        """No sweep looks at this question again."""
        if hasattr(self, "number"):
            with self.store.begin() as tx:
                tx.approvals.void(tx.approvals.get(self.number).job_id)
                for card in tx.cards.open_about(f"approval-{self.number}"):
                    tx.cards.close(card)


def what_of(tx: Transaction, subject: str) -> Iterator[str]:
    """What the audit chain says of a subject."""
    return iter(tx.session.scalars(select(AuditEntry.what).where(AuditEntry.subject == subject)).all())


@pytest.mark.usefixtures("action")
@on_both
def test_whatever_everybody_does_at_once(store: Store, clock: FakeClock) -> None:
    """Some hundred acts on each database."""
    facts = dict[str, Any]()
    with store.begin() as tx:
        tx.members.departments_are([(1, "Corp", None, ["fang"]), (5, "Support", 1, ["lan", "yan"])])

    def effect(ctx: Context, approval: Approval) -> list[Reply]:
        if approval.status is ApprovalStatus.APPROVED:
            ctx.tx.audit.add(ctx.sender, "test.effect", f"approval {approval.id}")
        return []

    approvals.decided("test")(effect)
    approvals.facts_of("test")(lambda ctx, approval: dict(facts))
    given = {"store": store, "clock": clock, "facts": facts, "several_at_once": store.engine.name == "postgresql"}
    machine = type("Here", (Machine,), given)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
    with store.begin() as tx:
        assert tx.audit.broken_at() is None
