"""The sandbox put together: a simulated WeCom and Exmail, and the production bot composed with their addresses."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from starlette.concurrency import run_in_threadpool

from bot.app import Bot, build
from bot.clock import ShiftedClock
from bot.commands import configure_logs
from bot.sandbox.death import bury, die
from bot.sandbox.dns.server import DnsServers
from bot.sandbox.mailserver import MailServer
from bot.sandbox.organisation import Organisation
from bot.sandbox.page import page_routes
from bot.sandbox.plays import perform
from bot.sandbox.seed import fill
from bot.sandbox.smtpserver import SmtpServer
from bot.sandbox.story import BadStory, find
from bot.sandbox.tour import SETTINGS as TOUR_SETTINGS
from bot.sandbox.wecom_server import create_sandbox_app
from bot.settings import Settings
from bot.vault import new_key

HOST = "127.0.0.1"
PROVIDERS = {"aliyun_dns": "aliyun", "dnspod": "dnspod", "godaddy": "godaddy"}
TICK_SECONDS = 1.0
POLL_SECONDS = 0.1
START_SECONDS = 60.0
MARKER = "this-is-a-sandbox"  # in a data directory: only such a one, or an empty one, is used


class SandboxSettings(Settings):
    """Settings given in the program only: neither the environment nor `.env` reaches the sandbox."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given."""
        return (init_settings,)


class DataDirectoryInUse(ValueError):
    """The directory holds something that is not a sandbox's."""


class Sandbox:
    """
    One port with everything behind it. `folder` keeps the bot's database; `settings` override the bot's; the clock
    `begins` at another moment than now.

    The bot in it is the production bot: it knows nothing of the sandbox but addresses.
    """

    def __init__(self, folder: Path, *, port: int = 0, begins: datetime | None = None, **settings: Any) -> None:
        claim(folder)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((HOST, port))
        self.socket.listen(
            128
        )  # the bot asks WeCom as soon as it is started, which is a moment before the page is served
        self.port = int(self.socket.getsockname()[1])
        self.url = f"http://{HOST}:{self.port}"
        self.clock = ShiftedClock()
        if begins is not None:
            self.clock.shift = begins - self.clock.base.now()
        self.mail = MailServer(self.clock)
        self.organisation = Organisation(self.clock, self.mail, bot_url=self.url, api_base=self.url, fill=fill)
        self.dns = DnsServers(self.organisation.dns)
        self.folder = folder
        self.settings = settings
        self.web = create_sandbox_app(self.organisation)
        self.smtp = SmtpServer(self.organisation, self.web.state.callbacks)
        self.web.state.hours.bot = lambda: self.bot
        self.web.state.stage.renew, self.web.state.stage.kill = self.begin_anew, self.kill
        self.web.state.stage.knows_people = self.knows_people
        self.story_settings: dict[str, Any] = {}
        self.web.router.routes.extend(page_routes())
        self.web.router.lifespan_context = self.lifespan
        self.bot: Bot | None = None

    def lead(self) -> None:
        """What the guided tour needs, until a story that is played wants it otherwise."""
        stage = self.web.state.stage
        self.story_settings = stage.settings = dict(TOUR_SETTINGS)
        stage.recorder.restart(stage.settings, self.organisation.now())

    def bot_settings(self) -> Settings:
        """The bot's settings: what an engineer would copy out of the simulated console."""
        org = self.organisation
        values: dict[str, Any] = {
            "wecom_corp_id": org.corp_id,
            "wecom_agent_id": org.agent_id,
            "wecom_app_secret": SecretStr(org.app_secret),
            "wecom_contacts_secret": SecretStr(org.contacts_secret),
            "wecom_callback_token": SecretStr(org.callback_token),
            "wecom_callback_aes_key": SecretStr(org.callback_aes_key),
            "wecom_contacts_callback_token": SecretStr(org.contacts_callback_token),
            "wecom_contacts_callback_aes_key": SecretStr(org.contacts_callback_aes_key),
            "wecom_api_base": self.url,
            "wecom_oauth_base": self.url,
            "exmail_domain": org.domain,
            "exmail_imap_host": HOST,
            "exmail_imap_port": self.mail.port,
            "exmail_imap_tls": False,
            "exmail_smtp_host": HOST,
            "exmail_smtp_port": self.smtp.port,
            "exmail_smtp_tls": False,
            "bot_dns_servers": self.dns.resolvers,
            "bot_dns_port": self.dns.port,
            **{f"bot_{name}_base": f"{self.url}/_providers/{path}" for name, path in PROVIDERS.items()},
            "bot_data_dir": self.folder,
            "bot_public_url": self.url,
            "bot_secret_keys": SecretStr(kept_key(self.folder)),
            "bot_admins": ("mei",),
            "bot_tick_seconds": TICK_SECONDS,
            "bot_poll_seconds": POLL_SECONDS,
        }
        return SandboxSettings(**values | self.settings | self.story_settings)

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """The mail servers and the name servers first, then the bot that needs their ports."""
        await self.mail.start()
        await self.dns.start()
        await self.smtp.start()
        await self.begin()
        try:
            yield
        finally:
            self.web.state.stage.stop()
            if self.bot is not None:
                await run_in_threadpool(self.bot.stop)
            await self.smtp.stop()
            await self.dns.stop()
            await self.mail.stop()

    async def begin_anew(self, settings: dict[str, Any], begins: datetime | None) -> None:
        """The organisation as at the start, and a bot that has heard of nothing yet, set as a story wants it."""
        old, self.bot = self.bot, None
        if old is not None:
            await run_in_threadpool(old.stop)
            self.unmount(old)
        for file in self.folder.glob("*.sqlite*"):
            file.unlink()
        self.organisation.reset(begins)
        self.story_settings = settings
        if old is not None:
            await self.begin()

    def knows_people(self) -> bool:
        """Whether the bot is there and has read the directory."""
        if self.bot is None or not self.bot.ready:
            return False
        with self.bot.store.begin() as tx:
            return tx.moments.last("directory") is not None

    async def begin(self) -> None:
        """A bot comes to work."""
        new = build(self.bot_settings(), clock=self.clock)
        self.web.mount("/", new.web)
        await run_in_threadpool(new.start)
        self.bot = new

    def unmount(self, old: Bot) -> None:
        """What a bot served is not there any more."""
        self.web.router.routes[:] = [
            each for each in self.web.router.routes if getattr(each, "app", None) is not old.web
        ]

    async def kill(self) -> None:
        """The bot dies as by `kill -9`, as far as one process allows, and is started again on its files."""
        old, self.bot = self.bot, None
        if old is None:
            return
        self.unmount(old)
        threads = await run_in_threadpool(die, old)
        self.mail.cut()
        await run_in_threadpool(bury, old, threads)
        await self.begin()

    def server(self) -> uvicorn.Server:
        """The server of this sandbox, to be run on its socket."""
        config = uvicorn.Config(
            self.web,
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=1,
            timeout_keep_alive=30,
            server_header=False,
            date_header=False,  # the simulated WeCom tells the time of the sandbox's own clock
        )
        return uvicorn.Server(config)


def claim(folder: Path) -> None:
    """Use a data directory only if it is empty or a sandbox's own; DataDirectoryInUse otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not (folder / MARKER).exists():
        raise DataDirectoryInUse(f"{folder} holds something else: give an empty directory")
    (folder / MARKER).touch()


def kept_key(folder: Path) -> str:
    """The key for secrets at rest, the same as long as the directory lives."""
    file = folder / "secret-key"
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(new_key())
    return file.read_text()


@contextmanager
def running(folder: Path, *, port: int = 0, begins: datetime | None = None, **settings: Any) -> Iterator[Sandbox]:
    """A sandbox at work in a thread of its own; TimeoutError when it does not come up."""
    sandbox = Sandbox(folder, port=port, begins=begins, **settings)
    server = sandbox.server()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sandbox.socket]}, name="sandbox", daemon=True)
    thread.start()
    try:
        waited = threading.Event()
        for _ in range(int(START_SECONDS / 0.02)):
            if server.started or not thread.is_alive():
                break
            waited.wait(0.02)
        if not server.started:
            raise TimeoutError("the sandbox did not start")
        yield sandbox
    finally:
        server.should_exit = True
        thread.join(START_SECONDS)
        sandbox.socket.close()


def run(*, port: int, browser: bool, play: str | None, begins: datetime | None = None) -> int:
    """`exmail-bot sandbox`: the page until it is interrupted, or a play and its verdict."""
    try:
        story = None if play is None else find(play)
    except BadStory as error:
        print(f"This is no story: {error}", file=sys.stderr)
        return 2
    configure_logs()
    given = os.environ.get("BOT_DATA_DIR")
    with tempfile.TemporaryDirectory(prefix=f"exmail-bot-{secrets.token_hex(3)}-") as temporary:
        folder = Path(given) if given else Path(temporary)
        try:
            if story is not None:
                with running(folder, begins=story.begins, **story.given()) as sandbox:
                    return perform(story, sandbox.url)
            sandbox = Sandbox(folder, port=port, begins=begins)
            sandbox.lead()
        except (DataDirectoryInUse, OSError) as error:
            print(f"The sandbox cannot start: {error}", file=sys.stderr)
            return 1
        print(f"The simulated organisation is at {sandbox.url} (stop with Ctrl-C)", flush=True)
        if browser:
            threading.Timer(1.5, webbrowser.open, [sandbox.url]).start()
        sandbox.server().run(sockets=[sandbox.socket])
        return 0
