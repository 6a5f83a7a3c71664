"""The composition root: the only file that knows every part."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import structlog
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

import handlers
from bot import tidy
from bot.callback import Callback
from bot.clock import Clock, SystemClock
from bot.delivery import Sender
from bot.dispatcher import Dispatcher, roles
from bot.http import Http
from bot.jobs import Start, Turn, Workflows
from bot.pages.onetime import OneTimePages
from bot.policy import Policy
from bot.router import Router
from bot.scheduler import Scheduler, Sweep
from bot.settings import Settings
from bot.vault import Vault
from bot.wecom.client import WeComClient
from bot.wecom.envelope import Envelope
from bot.work import Runner, Services, Work
from storage.leases import Leases
from storage.store import Store

log = structlog.get_logger()

LOOPBACK = ("127.0.0.1", "::1")


@dataclass
class Parts:
    """What the workflows call: decisions, deliveries, jobs and sweeps."""

    dispatcher: Dispatcher
    sender: Sender
    runner: Runner

    def decide(self, inbox_id: int) -> list[Start]:
        return self.dispatcher.decide(inbox_id)

    def deliver(self, delivery_id: int, attempt: int) -> list[Start]:
        return self.sender.deliver(delivery_id, attempt)

    def turn(self, job_id: int, wakes: int) -> Turn:
        return self.runner.turn(job_id, wakes)

    def sweep(self, name: str, slot: str) -> list[Start]:
        return self.runner.sweep(name, slot)


@dataclass
class Bot:
    """The composed bot. `web` serves it; `start` and `stop` are called by the server's lifespan."""

    settings: Settings
    clock: Clock
    store: Store
    services: Services
    workflows: Workflows
    scheduler: Scheduler
    router: Router
    web: FastAPI
    lock: FolderLock
    ready: bool = False

    def start(self) -> None:
        """Bring the tables up to date and begin to work; AlreadyRunning when another process uses the SQLite files."""
        self.lock.take()
        self.store.migrate()
        self.workflows.launch()
        self.scheduler.start()
        self.ready = True
        log.info("started", replica=self.workflows.replica)

    def stop(self) -> None:
        """End in order; what is under way goes on at the next start."""
        self.ready = False
        self.services.stopping.set()
        self.scheduler.stop()
        self.workflows.stop()
        self.services.client.close()
        self.store.close()
        self.lock.give_back()


class AlreadyRunning(RuntimeError):
    """Another process works on the same SQLite files; two need PostgreSQL."""


class FolderLock:
    """One process for a data directory; the system gives it back when the process dies, however it dies."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Lock the directory; AlreadyRunning when another process has it."""
        if self._folder is None or self._file is not None:
            return
        file = (self._folder / "lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise AlreadyRunning(f"another bot runs on {self._folder}: stop it, or use PostgreSQL") from None
        self._file = file

    def give_back(self) -> None:
        """Let the next one have it."""
        if self._file is not None:
            self._file.close()
            self._file = None


def build(settings: Settings, *, clock: Clock | None = None, replica: str | None = None) -> Bot:
    """
    Compose the bot. Nothing is opened or started yet.

    Raises VaultError, PolicyFileError or ValueError when a setting cannot work.
    """
    clock = clock or SystemClock()
    if not settings.bot_database_url:
        settings.bot_data_dir.mkdir(parents=True, exist_ok=True)
    store = Store(settings.database_url, clock.now)
    policy = Policy.read(settings.bot_policy_file)
    client = WeComClient(
        Http(settings.wecom_api_base),
        clock,
        settings.wecom_corp_id,
        settings.wecom_agent_id,
        settings.wecom_app_secret.get_secret_value(),
        settings.wecom_contacts_secret.get_secret_value() or None,
    )
    replica = replica or replica_name(settings)
    leases = Leases(store.engine)
    vault = Vault(settings.bot_secret_keys.get_secret_value().replace(",", " ").split())
    services = Services(store, client, settings, policy, vault, clock, leases, replica)
    router, work = handlers.router(), handlers.work()
    work.include(tidy.work)
    parts = Parts(
        Dispatcher(store, router, settings, policy),
        Sender(store, client, settings, lambda tx: roles(tx, settings).admins),
        Runner(work, services, lambda tx: roles(tx, settings)),
    )
    workflows = Workflows(
        settings.workflow_database_url,
        parts,
        leases,
        replica=replica,
        poll_seconds=settings.bot_poll_seconds,
        long_jobs=work.long_jobs,
    )
    scheduler = Scheduler(store, workflows, clock, sweeps_of(work), tick_seconds=settings.bot_tick_seconds)
    web = FastAPI(title="exmail-bot", docs_url=None, redoc_url=None, openapi_url=None)
    lock = FolderLock(None if settings.bot_database_url else settings.bot_data_dir)
    bot = Bot(settings, clock, store, services, workflows, scheduler, router, web, lock)
    add_routes(bot)
    return bot


def replica_name(settings: Settings) -> str:
    """
    On SQLite one name for the one process: it goes on with its own work at once.

    On PostgreSQL a new one each time, so that no two processes ever share it: they would take over from each other.
    """
    if not settings.bot_database_url:
        return "single"
    return f"{(settings.bot_replica or os.uname().nodename)[:48]}-{secrets.token_hex(4)}"


def sweeps_of(work: Work) -> Sequence[Sweep]:
    """The rounds of the sweeps every feature declares."""
    return [Sweep(name, every) for name, (every, _) in work.rounds().items()]


def add_routes(bot: Bot) -> None:
    """The callbacks, the one-time pages, and what a supervisor asks."""
    settings, web = bot.settings, bot.web
    for path, source, token, key in (
        ("/wecom/callback", "app", settings.wecom_callback_token, settings.wecom_callback_aes_key),
        (
            "/wecom/contacts-callback",
            "contacts",
            settings.wecom_contacts_callback_token,
            settings.wecom_contacts_callback_aes_key,
        ),
    ):
        configured = bool(token.get_secret_value() and key.get_secret_value())
        envelope = (
            Envelope(token.get_secret_value(), key.get_secret_value(), settings.wecom_corp_id) if configured else None
        )
        callback = Callback(source, envelope, bot.store, bot.router, bot.clock, bot.workflows.start)
        web.add_route(path, callback.answer, methods=["GET", "POST"])
    pages = OneTimePages(
        bot.store,
        bot.services.client,
        handlers.page_host(bot.services),
        public_url=settings.bot_public_url,
        oauth_base=settings.wecom_oauth_base,
        clock=bot.clock,
        start=bot.workflows.start,
        trusted_proxies=settings.bot_trusted_proxies,
    )
    web.router.routes.extend(pages.routes())
    web.add_route("/healthz", healthz, methods=["GET"])

    async def readyz(request: Request) -> Response:
        """Whether callbacks can be stored and workflows run; only for those who may see."""
        if not may_see(request, settings):
            return Response(status_code=404)
        return await run_in_threadpool(readiness, bot)

    async def metrics(request: Request) -> Response:
        """Counters for a dashboard; only for those who may see."""
        if not may_see(request, settings):
            return Response(status_code=404)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    web.add_route("/readyz", readyz, methods=["GET"])
    web.add_route("/metrics", metrics, methods=["GET"])
    web.router.lifespan_context = lifespan_of(bot)


def lifespan_of(bot: Bot):  # type: ignore[no-untyped-def]  # Starlette's own type for it is not exported
    """Starts and stops the bot with the server."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(bot.start)
        try:
            yield
        finally:
            await run_in_threadpool(bot.stop)

    return lifespan


async def healthz(_: Request) -> Response:
    """The process answers."""
    return PlainTextResponse("ok")


def readiness(bot: Bot) -> Response:
    """The database answers and the workflows run, or what is wrong."""
    try:
        with bot.store.begin() as tx:
            tx.session.execute(text("SELECT 1"))
    except Exception as error:
        return JSONResponse({"ready": False, "database": type(error).__name__}, status_code=503)
    return JSONResponse({"ready": bot.ready}, status_code=200 if bot.ready else 503)


def may_see(request: Request, settings: Settings) -> bool:
    """The inner pages are for loopback or the configured address; behind a proxy everybody comes from loopback."""
    peer = request.client.host if request.client is not None else ""
    return peer in (*LOOPBACK, settings.bot_metrics_host) and "x-forwarded-for" not in request.headers
