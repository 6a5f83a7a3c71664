"""Who must say yes to what, as tables; and a file that can only make it stricter."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.policy import (
    DEFAULTS,
    Policy,
    PolicyFileError,
    Requirement,
    Role,
    Roles,
    approvers,
    why_no_override,
)

ROLES = Roles(
    {
        Role.SUPER_ADMIN: frozenset({"fang"}),
        Role.ADMIN: frozenset({"mei", "yan"}),
        Role.APPROVER: frozenset({"wei", "ling"}),
        Role.AUDITOR: frozenset({"tao"}),
    }
)


@pytest.mark.parametrize(
    ("requirement", "asker", "gains", "managers", "may", "ladder"),
    [
        ("confirm", "mei", [], [], ["mei"], []),
        ("confirm", "mei", ["mei"], [], ["mei"], []),
        ("manager", "mei", [], ["ling", "fang"], ["ling"], ["fang", "wei"]),  # the configured ones come last
        ("manager", "ling", [], ["ling", "fang"], ["fang"], ["wei"]),  # never one's own
        ("manager", "mei", ["ling"], ["ling", "fang"], ["fang"], ["wei"]),  # nor of what one gains
        ("manager", "mei", [], ["fang"], ["fang"], ["ling", "wei"]),
        ("manager", "mei", ["ling", "fang"], ["ling", "fang"], ["wei"], []),  # the configured ones then
        ("manager", "mei", [], [], ["ling", "wei"], []),
        ("manager", "wei", ["ling"], [], [], []),
        ("manager", "mei", [], ["ling", "ling", "fang"], ["ling"], ["fang", "wei"]),
        ("two", "mei", [], ["ling"], ["fang", "yan"], []),
        ("two", "mei", ["yan"], [], ["fang"], []),
        ("two", "mei", ["yan", "fang"], [], [], []),
        ("two", "ling", [], [], ["fang", "mei", "yan"], []),
    ],
)
def test_who_may_answer(
    requirement: str, asker: str, gains: list[str], managers: list[str], may: list[str], ladder: list[str]
) -> None:
    """The asker never answers for himself, nor does the one who gains."""
    found = approvers(Requirement(requirement), asker=asker, gains=gains, managers=managers, roles=ROLES)
    assert (list(found.userids), list(found.ladder)) == (may, ladder)


@pytest.mark.parametrize(
    ("asker", "asked", "gains", "why"),
    [
        ("mei", ["ling"], [], None),
        ("mei", ["ling"], ["wei", "yan"], None),
        ("fang", ["ling"], [], "own"),
        ("mei", ["ling", "fang"], [], "answer"),
        ("mei", ["ling"], ["wei", "fang"], "gains"),
        ("mei", ["ling"], None, "unknown"),
    ],
)
def test_break_glass_is_never_for_oneself(asker: str, asked: list[str], gains: list[str] | None, why: str) -> None:
    """Fang is the super admin."""
    assert why_no_override("fang", asker=asker, approvers=asked, gains=gains) == why


@pytest.mark.parametrize(
    ("userid", "held"),
    [
        ("fang", {"super_admin", "admin", "member"}),
        ("MEI", {"admin", "member"}),
        ("ling", {"approver", "member"}),
        ("tao", {"auditor", "member"}),
        ("nobody", {"member"}),
    ],
)
def test_roles(userid: str, held: set[str]) -> None:
    assert {str(each) for each in ROLES.of(userid)} == held


def test_the_defaults_are_those_of_the_design() -> None:
    assert {name: str(each) for name, each in DEFAULTS.items()} == {
        "backup_public": "confirm", "backup_member_without_owner": "manager", "add_readers_to_backup": "two",
        "rename": "confirm", "alias": "confirm", "domain": "confirm", "reassign": "manager",
        "delete_public_mailbox": "two", "create_public_mailbox": "confirm", "change_public_mailbox": "confirm",
        "client_password": "confirm", "freeze": "confirm", "mail_switch": "confirm", "change_group": "confirm",
            "delete_group": "confirm", "seats": "confirm",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("action", "wanted"), [(action, wanted) for action in DEFAULTS for wanted in Requirement if wanted]
)
def test_a_file_can_only_make_it_stricter(tmp_path: Path, action: str, wanted: Requirement) -> None:
    """Every action with every requirement: at least the default, or the file is refused."""
    order = list(Requirement)
    file = tmp_path / "policy.toml"
    file.write_text(f'[require]\n{action} = "{wanted}"\n')
    if order.index(wanted) < order.index(DEFAULTS[action]):
        with pytest.raises(PolicyFileError, match=f"{action}: {wanted} would be easier than {DEFAULTS[action]}"):
            Policy.read(file)
        return
    policy = Policy.read(file)
    assert policy.requirement(action) is wanted
    assert {each: policy.requirement(each) for each in DEFAULTS if each != action} == {
        each: default for each, default in DEFAULTS.items() if each != action
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[require]\nbackup = 'two'", "no such action: backup; there are backup_public, "),
        (b"[require]\nrename = 'three'", "rename: three is none of confirm, manager, two"),
        (b"[require]\nrename = 2", "rename: 2 is none of confirm, manager, two"),
        (b"[require]\nrename = ['two']", "is none of confirm, manager, two"),
        (b"[requires]\nrename = 'two'", r"no such table: requires; there is only \[require\]"),
        (b"rename = 'two'", "no such table: rename"),
        (b"require = 'two'", "require must be a table"),
        (b"[require\n", "policy.toml"),
        (b"[require]\nrename = '\xff'", "policy.toml"),
    ],
)
def test_what_a_policy_file_gets_wrong_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    """With the file's name in front: the engineer has several files."""
    file = tmp_path / "policy.toml"
    file.write_bytes(content)
    with pytest.raises(PolicyFileError, match=said) as caught:
        Policy.read(file)
    assert str(caught.value).startswith(str(file))


def test_a_missing_file_is_an_error_none_is_the_defaults(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match=r"absent\.toml"):
        Policy.read(tmp_path / "absent.toml")
    assert Policy.read(None).requirement("reassign") is Requirement.MANAGER
