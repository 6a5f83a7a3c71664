"""What the engineer runs: the server, and the audit chain."""

from __future__ import annotations

import json
import logging
import sys

import structlog
from pydantic import ValidationError

from bot.app import AlreadyRunning, build
from bot.clock import SystemClock
from bot.policy import PolicyFileError
from bot.settings import Settings
from bot.vault import VaultError
from storage.store import Store

EXIT_FAILED = 1
EXIT_SETTINGS = 2


def read_settings() -> Settings | None:
    """The settings, or None after every wrong one was named; values are not printed, they may be secrets."""
    try:
        return Settings()
    except ValidationError as error:
        for each in error.errors(include_input=False, include_url=False):
            name, *within = (str(part) for part in each["loc"])
            print(": ".join([name.upper(), *within, each["msg"]]), file=sys.stderr)
        return None


def configure_logs() -> None:
    """JSON lines on standard error; third-party logs only from warnings up, and no URL of a request."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a tick that is skipped because one runs is no news
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def serve() -> int:
    """Run the bot until it is told to stop."""
    import uvicorn

    configure_logs()
    settings = read_settings()
    if settings is None:
        return EXIT_SETTINGS
    try:
        bot = build(settings)
        bot.lock.take()
    except (VaultError, PolicyFileError, ValueError) as error:
        print(error, file=sys.stderr)
        return EXIT_SETTINGS
    except AlreadyRunning as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    uvicorn.run(
        bot.web,
        host=settings.bot_host,
        port=settings.bot_port,
        access_log=False,  # a one-time page's path must not reach a log
        proxy_headers=False,
        server_header=False,
        log_level="warning",
    )
    return 0


def audit_verify() -> int:
    """Check that every entry follows from the one before it."""
    store = open_store()
    if store is None:
        return EXIT_SETTINGS
    with store.begin() as tx:
        broken = tx.audit.broken_at()
        count = sum(1 for _ in tx.audit.entries())
    store.close()
    print(f"{count} entries, the chain holds" if broken is None else f"the chain is broken at entry {broken}")
    return 0 if broken is None else EXIT_FAILED


def audit_export() -> int:
    """Print the chain as JSON lines, oldest first."""
    store = open_store()
    if store is None:
        return EXIT_SETTINGS
    with store.begin() as tx:
        for entry in tx.audit.entries():
            line = {
                "id": entry.id, "at": entry.at.isoformat(), "who": entry.who, "what": entry.what,
                "subject": entry.subject, "detail": entry.detail, "prev_hash": entry.prev_hash, "hash": entry.hash,
            }  # fmt: skip
            print(json.dumps(line, ensure_ascii=False))
    store.close()
    return 0


def open_store() -> Store | None:
    """The database of the settings, up to date."""
    settings = read_settings()
    if settings is None:
        return None
    store = Store(settings.database_url, SystemClock().now)
    store.migrate()
    return store
