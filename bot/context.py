"""What a handler is given: one transaction, the sender, the time. No mailbox, no client, no socket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bot.directory import Directory
from bot.errors import BotError, UserError
from bot.jobs import Start
from bot.policy import Policy, Role, Roles
from bot.settings import Settings
from bot.words import Language, Words, say
from storage.models import Job, JobState

if TYPE_CHECKING:
    from storage.store import Transaction

ROLES = tuple(Role)


class Missing(BotError):
    """
    A command lacks a word; the sender is asked, and his next message is taken for it.

    `command` and `known` say which one goes on, and with what, when it is not the one that asks: a button's.
    """

    def __init__(
        self, parameter: str, words: Words, *, command: str | None = None, known: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(parameter)
        self.parameter = parameter
        self.words = words
        self.command, self.known = command, dict(known or {})


class Choose(BotError):
    """A parameter is offered as a list; the chosen value is put in and the command, or another one, goes on."""

    def __init__(
        self,
        parameter: str,
        words: Words,
        choices: list[tuple[str, str]],
        *,
        command: str | None = None,
        known: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(parameter)
        self.parameter = parameter
        self.words = words
        self.choices = choices
        self.command, self.known = command, dict(known or {})


@dataclass
class Context:
    """One message being decided."""

    tx: Transaction
    sender: str
    language: Language
    settings: Settings
    policy: Policy
    roles: Roles
    args: Mapping[str, Any] = field(default_factory=dict)
    task_id: str | None = None  # of the card that was pressed
    selected: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    starts: list[Start] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        """The moment of the decision, the same throughout."""
        return self.tx.now

    @cached_property
    def directory(self) -> Directory:
        """People and addresses, as the sender calls them."""
        return Directory(self.tx, self.settings.exmail_domain, self.sender)

    def may(self, *roles: Role) -> bool:
        """Whether the sender has one of the roles."""
        return bool(self.roles.of(self.sender) & set(roles))

    def require(self, *roles: Role) -> str:
        """The sender, if he has one of the roles; UserError naming those who have."""
        if not self.may(*roles):
            admins = self.roles.with_role(Role.SUPER_ADMIN) if Role.ADMIN not in roles else self.roles.admins
            level = "auditors" if Role.AUDITOR in roles else "admins" if Role.ADMIN in roles else "super_admins"
            named = [self.directory.name(userid) for userid in admins]
            raise UserError(say(f"context.only_{level}" if named else f"context.no_{level}", admins=named))
        return self.sender

    def require_admin(self) -> str:
        """The sender, if he is an admin."""
        return self.require(Role.SUPER_ADMIN, Role.ADMIN)

    def start(self, job: Job) -> None:
        """The job's workflow starts after this transaction, unless its moment is still to come."""
        if job.state is JobState.DUE and job.due_at <= self.now:
            self.starts.append(job_start(job))


def job_start(job: Job) -> Start:
    """What starts a job as it stands now."""
    return Start("job", job.id, job.wakes, str(job.id), job.kind, job.stage)
