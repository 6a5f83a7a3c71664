"""Settings, keys and the lock of a data directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot import commands
from bot.app import AlreadyRunning, FolderLock, build, replica_name
from bot.vault import Vault, VaultError, new_key
from tests.core.conftest import settings_of

ENVIRONMENT = {
    "WECOM_CORP_ID": "wwcorp",
    "WECOM_AGENT_ID": "1000002",
    "WECOM_APP_SECRET": "hush-app",
    "WECOM_CALLBACK_TOKEN": "hush-token",
    "WECOM_CALLBACK_AES_KEY": "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C",
    "EXMAIL_DOMAIN": "Corp.Test",
    "BOT_PUBLIC_URL": "https://bot.corp.test/",
    "BOT_SECRET_KEYS": new_key(),
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A complete environment, and no `.env`."""
    monkeypatch.chdir(tmp_path)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_the_environment_is_read(environment: pytest.MonkeyPatch) -> None:
    """Names are lists of userids without case; what has no case has none."""
    environment.setenv("BOT_ADMINS", "Mei, ling  Jun")
    environment.setenv("BOT_ROLE_TAGS", "admin=12 approver=13")
    environment.setenv("BOT_DATABASE_URL", "postgres://bot:hush-db@db.corp.test/bot")
    settings = commands.read_settings()
    assert settings is not None
    assert settings.bot_admins == ("mei", "ling", "jun")
    assert settings.bot_role_tags == {"admin": 12, "approver": 13}
    assert settings.exmail_domain == "corp.test"
    assert settings.bot_public_url == "https://bot.corp.test"
    assert (
        settings.database_url == settings.workflow_database_url == "postgresql+psycopg://bot:hush-db@db.corp.test/bot"
    )
    assert settings.address("Support@") == "support@corp.test"
    assert settings.address("ahing") == "ahing@corp.test"
    assert "hush" not in repr(settings)


def test_sqlite_files_lie_apart(environment: pytest.MonkeyPatch) -> None:
    """The workflows in a file of their own: two writers would wait for each other."""
    settings = commands.read_settings()
    assert settings is not None
    assert settings.database_url == "sqlite:///data/bot.sqlite"
    assert settings.workflow_database_url == "sqlite:///data/workflows.sqlite"
    assert settings.zone.key == "Asia/Shanghai"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WECOM_AGENT_ID", "hush-number"),
        ("WECOM_CALLBACK_AES_KEY", "hush-too-short"),
        ("EXMAIL_IMAP_PORT", "hush-port"),
        ("EXMAIL_IMAP_CONNECTIONS_MAX", "0"),
        ("EXMAIL_IMAP_HOURS", "at night"),
        ("EXMAIL_IMAP_MAILS_PER_SECOND", "0"),
        ("BOT_TIME_ZONE", "Hush/Nowhere"),
        ("BOT_ROLE_TAGS", "hush"),
        ("BOT_ROLE_TAGS", "emperor=12"),
        ("BOT_ROLE_TAGS", "admin=hush"),
        ("BOT_DATABASE_URL", "mysql://bot:hush@db/bot"),
        ("BOT_DATABASE_URL", "sqlite:///hush"),
        ("BOT_LANGUAGE", "hush"),
        ("BOT_TICK_SECONDS", "0"),
        ("BOT_DATA_KEEP_DAYS", "0"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    """It may be a secret in the wrong place."""
    environment.setenv(name, value)
    assert commands.read_settings() is None
    said = capsys.readouterr().err
    assert said.startswith(f"{name}: ")
    assert "hush" not in said.casefold()


def test_missing_settings_are_named_all_at_once(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One round of mending, not eight."""
    for name in ("WECOM_CORP_ID", "EXMAIL_DOMAIN"):
        environment.delenv(name)
    assert commands.read_settings() is None
    said = capsys.readouterr().err
    assert "WECOM_CORP_ID: " in said
    assert "EXMAIL_DOMAIN: " in said


def test_keys_are_rotated_without_a_gap() -> None:
    """New first; what the old one locked is opened and brought under the new one; then the old one may go."""
    old, new = new_key(), new_key()
    locked = Vault([old]).lock("a password 密码")
    both = Vault([new, old])
    assert both.open(locked) == "a password 密码"
    rotated = both.rotated(locked)
    assert Vault([new]).open(rotated) == "a password 密码"
    with pytest.raises(VaultError):
        Vault([new]).open(locked)
    with pytest.raises(VaultError):
        Vault([new]).rotated(locked)
    assert b"password" not in locked


@pytest.mark.parametrize("keys", [[], ["hush"], [new_key(), "hush"], ["钥匙"]])
def test_wrong_keys_say_how_to_make_one(keys: list[str]) -> None:
    """And do not show what was given."""
    with pytest.raises(VaultError, match="keys new") as caught:
        Vault(keys)
    assert "hush" not in str(caught.value)


def test_one_process_for_a_data_directory(tmp_path: Path) -> None:
    """A second one is told so; afterwards the directory is free."""
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.take()
    first.take()
    with pytest.raises(AlreadyRunning, match="PostgreSQL"):
        second.take()
    first.give_back()
    second.take()
    second.give_back()
    FolderLock(None).take()


def test_no_two_processes_share_a_name(tmp_path: Path) -> None:
    """They would take over from each other, also where an engineer gave both the same."""
    assert replica_name(settings_of(tmp_path)) == "single"
    shared = settings_of(tmp_path, bot_database_url="postgresql://db/bot", bot_replica="one")
    names = {replica_name(shared) for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("one-") and len(name) <= 64 for name in names)


def test_nothing_is_opened_before_the_start(tmp_path: Path) -> None:
    """Composing reads no database."""
    bot = build(settings_of(tmp_path / "data"))
    assert list((tmp_path / "data").iterdir()) == []
    bot.store.close()
