"""Who must say yes to what. Pure: facts in, a requirement out; a readable file can make each one stricter."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Role(StrEnum):
    """What a member may do; everybody is a member."""

    SUPER_ADMIN = "super_admin"
    ADMIN = "admin"
    APPROVER = "approver"
    AUDITOR = "auditor"  # sees, cannot act
    MEMBER = "member"


class Requirement(StrEnum):
    """Whose yes an action needs, from the weakest to the strictest."""

    CONFIRM = "confirm"  # the asking admin presses once more
    MANAGER = "manager"  # of the mailbox's owner
    TWO = "two"  # the asker and another admin


STRICTNESS = list(Requirement)
TABLE = "require"  # of the policy file

DEFAULTS: Mapping[str, Requirement] = {
    "backup_public": Requirement.CONFIRM,
    "backup_member_without_owner": Requirement.MANAGER,  # without his own consent
    "add_readers_to_backup": Requirement.TWO,
    "rename": Requirement.CONFIRM,
    "alias": Requirement.CONFIRM,
    "domain": Requirement.CONFIRM,
    "reassign": Requirement.MANAGER,
    "create_public_mailbox": Requirement.CONFIRM,
    "change_public_mailbox": Requirement.CONFIRM,
    "delete_public_mailbox": Requirement.TWO,
    "client_password": Requirement.CONFIRM,
    "freeze": Requirement.CONFIRM,
    "mail_switch": Requirement.CONFIRM,
    "change_group": Requirement.CONFIRM,
    "delete_group": Requirement.CONFIRM,
    "seats": Requirement.CONFIRM,
}


class PolicyFileError(ValueError):
    """The policy file says something the bot does not understand, or would make an action easier."""


class Policy:
    """The requirements in force."""

    def __init__(self, stricter: Mapping[str, object] | None = None) -> None:
        self._requirements = dict(DEFAULTS)
        for action, wanted in (stricter or {}).items():
            if action not in DEFAULTS:
                raise PolicyFileError(f"no such action: {action}; there are {', '.join(DEFAULTS)}")
            if not isinstance(wanted, str) or wanted not in STRICTNESS:
                raise PolicyFileError(f"{action}: {wanted} is none of {', '.join(STRICTNESS)}")
            if STRICTNESS.index(Requirement(wanted)) < STRICTNESS.index(DEFAULTS[action]):
                raise PolicyFileError(f"{action}: {wanted} would be easier than {DEFAULTS[action]}")
            self._requirements[action] = Requirement(wanted)

    @classmethod
    def read(cls, file: Path | None) -> Policy:
        """The defaults, made stricter by `[require]` of a TOML file; PolicyFileError names what is wrong with it."""
        if file is None:
            return cls()
        try:
            found = tomllib.loads(file.read_text("utf-8"))
            if unknown := found.keys() - {TABLE}:
                # a table that is misspelt must not leave an action as easy as before
                raise PolicyFileError(f"no such table: {', '.join(sorted(unknown))}; there is only [{TABLE}]")
            stricter = found.get(TABLE, {})
            if not isinstance(stricter, dict):
                raise PolicyFileError(f"{TABLE} must be a table: write [{TABLE}], then a line for each action")
            return cls(stricter)
        except (OSError, ValueError) as error:
            raise PolicyFileError(f"{file}: {error}") from error

    def requirement(self, action: str) -> Requirement:
        """Whose yes an action needs."""
        return self._requirements[action]


@dataclass(frozen=True)
class Roles:
    """Who has which role, from settings and from tags."""

    by_role: Mapping[Role, frozenset[str]]

    def of(self, userid: str) -> frozenset[Role]:
        """All roles of a member. A super admin is an admin, too."""
        held = {role for role, userids in self.by_role.items() if userid.casefold() in userids}
        if Role.SUPER_ADMIN in held:
            held.add(Role.ADMIN)
        return frozenset(held | {Role.MEMBER})

    def with_role(self, *roles: Role) -> list[str]:
        """Everybody with one of the roles, in order."""
        return sorted({userid for role in roles for userid in self.by_role.get(role, frozenset())})

    @property
    def admins(self) -> list[str]:
        """Everybody who may act."""
        return self.with_role(Role.SUPER_ADMIN, Role.ADMIN)


@dataclass(frozen=True)
class Approvers:
    """Who may answer a question; `gains` is None where it cannot be known who gains by a yes."""

    userids: tuple[str, ...]
    ladder: tuple[str, ...] = ()  # who comes next, for an approver who is away
    owner: str | None = None  # of the mailbox
    gains: tuple[str, ...] | None = ()


def approvers(
    requirement: Requirement,
    *,
    asker: str,
    gains: Iterable[str],
    managers: Iterable[str],
    roles: Roles,
) -> Approvers:
    """
    Who may answer, nearest manager first. Empty when nobody can: such a request is refused at once.

    The asker never answers his own `manager` or `two` question, nor does the one who gains by it.
    """
    if requirement is Requirement.CONFIRM:
        return Approvers((asker,))
    barred = {asker, *gains}
    if requirement is Requirement.TWO:
        return Approvers(tuple(userid for userid in roles.admins if userid not in barred))
    ladder = tuple(dict.fromkeys(userid for userid in managers if userid not in barred))
    configured = tuple(userid for userid in roles.with_role(Role.APPROVER) if userid not in barred)
    if not ladder:
        return Approvers(configured)
    return Approvers(
        ladder[:1], tuple(dict.fromkeys([*ladder[1:], *(each for each in configured if each != ladder[0])]))
    )


class NoOverride(StrEnum):
    """Why a super admin may not answer in the place of those who were asked."""

    OWN = "own"  # his own question
    ANSWER = "answer"  # it is his to answer
    GAINS = "gains"  # he gains by it: he can read the mailbox the mail goes to, or becomes its owner
    UNKNOWN = "unknown"  # nobody can see who gains


def why_no_override(
    userid: str, *, asker: str, approvers: Iterable[str], gains: Iterable[str] | None
) -> NoOverride | None:
    """Why break-glass is not for this super admin; None: it is. Two people always stand behind it: he and the asker."""
    if userid == asker:
        return NoOverride.OWN
    if userid in set(approvers):
        return NoOverride.ANSWER
    if gains is None:
        return NoOverride.UNKNOWN
    return NoOverride.GAINS if userid in set(gains) else None
