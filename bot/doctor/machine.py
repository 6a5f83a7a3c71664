"""This machine: the data directory, the disk, the database, and whether the keys open what is stored."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import SQLAlchemyError

from bot.doctor.findings import Finding, ok, warning, wrong
from bot.settings import Settings
from bot.vault import VaultError
from bot.work import Services

DISK_BYTES_MIN = 200 * 1024 * 1024
DISK_BYTES_LOW = 1024 * 1024 * 1024
DIRECTORY_OLD = timedelta(days=2)
MEBIBYTE = 1024 * 1024


def folder(settings: Settings) -> Iterator[Finding]:
    """Where SQLite and files lie: there, ours, and with room."""
    path = settings.bot_data_dir
    there = existing(path)
    try:
        if path.exists():
            with tempfile.TemporaryFile(dir=path):
                pass
        elif not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError
    except OSError as error:
        yield wrong("doctor.data_not_writable", path=str(path), why=type(error).__name__)
        return
    if path.exists() and hasattr(os, "geteuid") and path.stat().st_uid != os.geteuid():
        yield warning("doctor.data_of_another", path=str(path))
    free = shutil.disk_usage(there).free
    if free < DISK_BYTES_MIN:
        yield wrong("doctor.disk_full", path=str(path), free=free // MEBIBYTE)
    elif free < DISK_BYTES_LOW:
        yield warning("doctor.disk_low", path=str(path), free=free // MEBIBYTE)
    else:
        yield ok("doctor.data_fine", path=str(path), free=free // MEBIBYTE)


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    for each in (path.absolute(), *path.absolute().parents):
        if each.exists():
            return each
    return Path(path.anchor or ".")


def is_new(settings: Settings) -> bool:
    """Whether SQLite files are still to be made."""
    return not settings.bot_database_url and not (settings.bot_data_dir / "bot.sqlite").exists()


def database(services: Services) -> Iterator[Finding]:
    """Reachable, and of this release; it is only read."""
    if is_new(services.settings):
        yield warning("doctor.database_new")
        return
    try:
        at, newest, known = revisions(services)
    except SQLAlchemyError as error:
        yield wrong("doctor.database_unreachable", why=type(error).__name__)
        return
    if at == newest:
        yield ok("doctor.database_fine")
        yield from stored_secrets(services)
        yield from directory_read(services)
    elif at is None or at in known:
        yield warning("doctor.database_old")
    else:
        yield wrong("doctor.database_newer")


def revisions(services: Services) -> tuple[str | None, str | None, set[str]]:
    """At which migration the tables are, which is the last, and all there are."""
    config = Config()
    config.set_main_option("script_location", "storage:migrations")
    scripts = ScriptDirectory.from_config(config)
    with services.store.engine.connect() as connection:
        at = MigrationContext.configure(connection).get_current_revision()
    return at, scripts.get_current_head(), {each.revision for each in scripts.walk_revisions()}


def up_to_date(services: Services) -> bool:
    """Whether rows can be read and written."""
    try:
        at, newest, _ = revisions(services) if not is_new(services.settings) else (None, "", set())
    except SQLAlchemyError:
        return False
    return at == newest


def stored_secrets(services: Services) -> Iterator[Finding]:
    """Whether the keys open every secret that is kept, without looking at what it says."""
    with services.store.begin() as tx:
        ciphertexts = [each.ciphertext for each in tx.passwords.all()]
    closed = 0
    for each in ciphertexts:
        try:
            services.vault.open(each)
        except VaultError:
            closed += 1
    if closed:
        yield wrong("doctor.secret_keys_lost", count=closed)
    elif ciphertexts:
        yield ok("doctor.secret_keys_fine", count=len(ciphertexts))


def directory_read(services: Services) -> Iterator[Finding]:
    """A bot at work reads the directory every night."""
    with services.store.begin() as tx:
        at, now = tx.moments.last("directory"), tx.now
    if at is None:
        yield warning("doctor.directory_never")
    elif now - at > DIRECTORY_OLD:
        yield warning("doctor.directory_old", at=shown(services.settings, at))
    else:
        yield ok("doctor.directory_fine", at=shown(services.settings, at))


def shown(settings: Settings, at: datetime) -> str:
    """A moment as people read it."""
    return f"{at.astimezone(settings.zone):%Y-%m-%d %H:%M}"
