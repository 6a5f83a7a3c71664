"""A simulated organisation that outlives the bot: the bot runs in processes that can be killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import timedelta
from functools import cached_property
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import uvicorn
from sqlalchemy import inspect, select

from bot.clock import ShiftedClock
from bot.errors import NetworkError
from bot.http import Http
from bot.sandbox.mailserver import MailServer
from bot.sandbox.organisation import Organisation
from bot.sandbox.player import Browser, Player, text_of
from bot.sandbox.run import HOST, SandboxSettings, kept_key
from bot.sandbox.seed import fill
from bot.sandbox.wecom_server import create_sandbox_app
from storage.models import Delivery, DeliveryState, InboxMessage, InboxState, Job, JobState
from storage.store import Store
from tests.crash.child import SHIFT, run

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.crash.child"])
START_SECONDS = 60.0
SOON = timedelta(minutes=1)
LOOK_AGAIN = 61  # seconds: console steps are looked at, and backups waited for, at most once a minute
POLL = 15 * 60 + 1
IN_THE_CLICK = ("decided, not committed", "committed, not started")
RETRY_DELAYS = (0.3,) * 100  # WeCom's own are not documented; ours outlast a restart, and lose no time after it


class Child:
    """One life of the bot."""

    def __init__(self, process: ForkServerProcess, url: str, log: Path, point: str) -> None:
        self.process = process
        self.point = point
        self.url = url
        self.log = log

    def wait_ready(self) -> None:
        """Until it answers, unless it ends before."""
        with closing(Http(self.url)) as http:
            until = time.monotonic() + START_SECONDS
            while time.monotonic() < until and self.process.is_alive():
                try:
                    if http.request("GET", "/readyz").status == 200:
                        return
                except NetworkError:
                    time.sleep(0.02)
        raise AssertionError(f"the bot did not start:\n{self.told()}")

    def wait_killed(self, *, seconds: float = 40.0) -> None:
        """Until its point was reached."""
        self.process.join(seconds)
        code = self.process.exitcode
        assert code is not None, f"the point was not reached: {self.point}\n{self.told()}"
        assert code == -signal.SIGKILL, f"it ended by itself with {code}:\n{self.told()}"

    def kill(self) -> None:
        """`kill -9`, if it lives."""
        if self.process.is_alive():
            self.process.kill()
        self.process.join(10)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It stands still, as on a machine that swaps, and goes on as if nothing had been."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def told(self) -> str:
        """The end of its log."""
        return self.log.read_text("utf-8", errors="replace")[-6000:] if self.log.exists() else ""


class World(Player):
    """The organisation, somebody who speaks for its members, and the bot's lives."""

    def __init__(self, organisation: Organisation, folder: Path, url: str, bot_port: int, database_url: str) -> None:
        super().__init__(url)
        self.organisation = organisation
        self.folder = folder
        self.bot_port = bot_port
        self.database_url = database_url
        self.children: list[Child] = []

    def direct(self, child: Child) -> None:
        """Callbacks go to this life from now on, as a load balancer would have it."""
        self.organisation.bot_url = child.url

    def start(self, point: str = "never", *, port: int | None = None, wait: bool = True, **settings: Any) -> Child:
        """A new life of the bot, which ends at `point`."""
        port = port or self.bot_port
        log = self.folder / f"log-{len(self.children)}.txt"
        process = FORKS.Process(target=run, args=(self.settings(port) | settings, port, point, str(log)), daemon=True)
        process.start()
        child = Child(process, f"http://{HOST}:{port}", log, point)
        self.children.append(child)
        if wait:
            child.wait_ready()
        return child

    def settings(self, port: int) -> dict[str, Any]:
        """The bot's settings."""
        org = self.organisation
        return {
            "wecom_corp_id": org.corp_id,
            "wecom_agent_id": org.agent_id,
            "wecom_app_secret": org.app_secret,
            "wecom_contacts_secret": org.contacts_secret,
            "wecom_callback_token": org.callback_token,
            "wecom_callback_aes_key": org.callback_aes_key,
            "wecom_contacts_callback_token": org.contacts_callback_token,
            "wecom_contacts_callback_aes_key": org.contacts_callback_aes_key,
            "wecom_api_base": self.url,
            "wecom_oauth_base": self.url,
            "exmail_domain": org.domain,
            "exmail_imap_host": HOST,
            "exmail_imap_port": org.mail.port,
            "exmail_imap_tls": False,
            "bot_data_dir": str(self.folder),
            "bot_database_url": self.database_url,
            "bot_public_url": f"http://{HOST}:{port}",
            "bot_secret_keys": kept_key(self.folder),
            "bot_admins": ["mei", "jun"],
            "bot_tick_seconds": 0.5,
            "bot_poll_seconds": 0.1,
        }

    @cached_property
    def store(self) -> Store:
        """The bot's database, from outside."""
        return Store(SandboxSettings(**self.settings(0)).database_url, self.organisation.clock.now)

    def advance(self, seconds: float) -> None:
        """Move the clock on, also that of every life of the bot."""
        super().advance(seconds)
        told = self.folder / f"{SHIFT}.new"
        told.write_text(str(self.organisation.clock.shift.total_seconds()), "utf-8")
        told.replace(self.folder / SHIFT)

    def browser(self) -> Browser:
        """One that finds WeCom and the bot, which are two places here."""
        return Browser(self.url, f"http://{HOST}:{self.bot_port}")

    def through(self, points: Sequence[str], act: Callable[[], object] = lambda: None, *, then: str = "never") -> None:
        """
        Something is done in the life of the first point; each point ends its life, and the last one lives on.

        That one ends at `then`, which nothing reaches before the next act does: so the next chapter needs no new life.
        """
        self.wait_settled()  # what is still to be decided would reach the point before the act does
        armed = bool(points) and self.children[-1].point == points[0]
        if not armed:
            self.children[-1].kill()
        if points:
            if not armed:
                self.start(points[0])
            acting = threading.Thread(target=act)
            acting.start()
            self.children[-1].wait_killed()
            for point in points[1:]:
                self.start(point, wait=False).wait_killed()
            self.start(then)
            acting.join(60)
            assert not acting.is_alive()
        else:
            self.start(then)
            act()
        self.wait_settled()

    def wait_ready(self) -> None:
        """Until the directory was read: names are known from then on."""

        def read() -> bool:
            if not inspect(self.store.engine).has_table("moments"):
                return False  # the first life is still making the tables
            with self.store.begin() as tx:
                return tx.moments.last("directory") is not None

        self.wait("the directory was read", read)
        self.wait_settled()

    def wait_settled(self, *, seconds: float = 60.0) -> None:
        """Until nothing is on its way any more: messages decided, replies out, jobs waiting, over or for later."""

        def settled() -> bool:
            with self.store.begin() as tx:
                open_ones = (
                    select(InboxMessage.id).where(InboxMessage.state == InboxState.NEW),
                    select(Delivery.id).where(Delivery.state == DeliveryState.WAITING),
                    select(Job.id).where(Job.state == JobState.DUE, Job.due_at <= tx.now + SOON),
                )
                return all(tx.session.scalar(each.limit(1)) is None for each in open_ones)

        self.wait("everything was settled", settled, seconds=seconds)

    def heard(self, member: str) -> list[str]:
        """All the bot ever told a member, a line each."""
        return [text_of(each) for each in self.entries(member)]

    def live_cards(self, member: str, key: str) -> int:
        """How many cards with a live button of this name a member has."""
        cards = [each["card"] for each in self.entries(member) if each.get("card") and not each["card"]["greyed"]]
        return sum(1 for card in cards if any((button["key"] or "").startswith(key) for button in card["buttons"]))

    def one_live_card(self, member: str, key: str) -> None:
        """It comes, for what was killed is tried again only in a while, and never a second one beside it."""
        self.wait(f"{member} has a card with {key}", lambda: self.live_cards(member, key) > 0)
        assert self.live_cards(member, key) == 1, self.heard(member)

    def calls(self, path: str) -> int:
        """How often WeCom was asked something."""
        entries = self.get("wire", kind="api", limit="100000")["entries"]
        return sum(1 for each in entries if path in json.dumps(each))


@contextmanager
def world(folder: Path, database_url: str = "") -> Iterator[World]:
    """A fresh organisation at work in a thread; every life of the bot ends with it."""
    folder.mkdir(parents=True, exist_ok=True)
    listening = socket.socket()
    listening.bind((HOST, 0))
    bot_port = free_port()
    url = f"http://{HOST}:{listening.getsockname()[1]}"
    clock = ShiftedClock()
    mail = MailServer(clock)
    organisation = Organisation(clock, mail, bot_url=f"http://{HOST}:{bot_port}", api_base=url, fill=fill)
    web = create_sandbox_app(organisation, retry_delays=RETRY_DELAYS)

    @asynccontextmanager
    async def lifespan(_: object) -> Any:
        await mail.start()
        yield
        await mail.stop()

    web.router.lifespan_context = lifespan
    server = uvicorn.Server(uvicorn.Config(web, access_log=False, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    until = time.monotonic() + START_SECONDS
    while not server.started and thread.is_alive() and time.monotonic() < until:
        time.sleep(0.02)
    assert server.started
    made = World(organisation, folder, url, bot_port, database_url)
    try:
        yield made
    finally:
        for child in made.children:
            child.kill()
        server.should_exit = True
        thread.join(START_SECONDS)
        listening.close()
        made.store.close()
        made.close()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def around(*stages: str) -> tuple[str, ...]:
    """Before and after the commit that moves a job on."""
    return tuple(f"{stage}, {when}" for stage in stages for when in ("not committed", "committed"))


def twice_told(here: World, *, besides: str = "-") -> list[tuple[str, str]]:
    """Texts that were decided twice for a member; `besides` is a value to copy, which several console steps have."""
    with here.store.begin() as tx:
        texts = tx.session.scalars(select(Delivery).where(Delivery.kind == "text"))
        said = Counter((each.receiver, json.dumps(each.body, ensure_ascii=False)) for each in texts)
    return [each for each, count in said.items() if count > 1 and f'"{besides}"' not in each[1]]
