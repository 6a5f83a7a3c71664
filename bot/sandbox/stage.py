"""The sandbox as a stage: begun anew, the bot in it killed, what people do recorded, a story played on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bot.sandbox.organisation import Organisation
from bot.sandbox.player import NotHeard, Player
from bot.sandbox.recorder import Recorder
from bot.sandbox.story import Story
from bot.sandbox.teller import Teller

TOLD_MAX = 400  # lines of one story
PACE_MAX_SECONDS = 5.0


class Busy(Exception):
    """A story is being played."""


class Stopped(NotHeard):
    """Somebody at the page has stopped it."""


@dataclass
class Show:
    """A story that is played, or was last."""

    story: Story
    number: int = 0
    ended: bool = False
    failed: str | None = None
    told: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def shown(self) -> dict[str, Any]:
        """For the page."""
        return {
            "story": self.story.story, "step": self.number, "steps": len(self.story.steps), "ended": self.ended,
            "failed": self.failed, "told": self.told[-TOLD_MAX:],
        }  # fmt: skip


class Stage:
    """One organisation, with or without a bot: `renew` and `kill` are the sandbox's, where there is one."""

    def __init__(self, org: Organisation) -> None:
        self.org = org
        self.recorder = Recorder(org)
        self.settings: dict[str, Any] = {}  # of the bot while no story says otherwise
        self.show: Show | None = None
        self.renew: Callable[[dict[str, Any], datetime | None], Awaitable[None]] | None = None
        self.kill: Callable[[], Awaitable[None]] | None = None
        self.knows_people: Callable[[], bool] = lambda: True
        self._killing: asyncio.Task[None] | None = None

    def kill_at(self, mails: int | None) -> None:
        """Kill the bot when so many mails more have been stored over IMAP; None: no longer."""
        left = mails
        loop = asyncio.get_running_loop()

        def one_more() -> None:
            nonlocal left
            if left is None or self.kill is None:
                return
            left -= 1
            if left < 0:
                left = None
                self._killing = loop.create_task(self._killed(self.kill))

        self.org.on_append = one_more

    async def _killed(self, kill: Callable[[], Awaitable[None]]) -> None:
        await kill()
        self.org.record("trouble", switch="bot_killed", on=True)

    async def begin_anew(self, story: Story | None = None) -> None:
        """Everything as at the start; for a story with its settings, at its moment."""
        self.org.on_append = lambda: None
        settings, begins = (story.given(), story.begins) if story else (self.settings, None)
        if self.renew is not None:
            await self.renew(settings, begins)
        else:
            self.org.reset(begins)
        self.recorder.restart(settings, begins)

    async def play(self, story: Story, pace_seconds: float = 0) -> None:
        """Begin anew and play in a thread of its own; Busy while another is played."""
        if self.show is not None and not self.show.ended:
            raise Busy("a story is being played: stop it first")
        self.show = show = Show(story)
        try:
            await self.begin_anew(story)
        except BaseException:
            show.ended = True
            raise
        loop = asyncio.get_running_loop()
        work = threading.Thread(
            target=self._perform, args=(show, loop, min(pace_seconds, PACE_MAX_SECONDS)), name="story", daemon=True
        )
        work.start()

    def _perform(self, show: Show, loop: asyncio.AbstractEventLoop, pace_seconds: float) -> None:
        def before(number: int) -> None:
            if number > 1 and "do" in type(show.story.steps[number - 1]).model_fields:
                show.stop.wait(pace_seconds)
            if show.stop.is_set():
                raise Stopped("stopped")
            show.number = number
            loop.call_soon_threadsafe(self.org.changed)

        with closing(Player(self.org.api_base, show.told.append)) as player:
            try:
                player.wait_ready()
                Teller(player, show.story, show.told.append).play(before)
            except Stopped:
                show.failed = "stopped"
            except NotHeard as error:
                show.failed = str(error)
            except Exception as error:
                show.failed = type(error).__name__
            finally:
                show.ended = True
                if not loop.is_closed():
                    loop.call_soon_threadsafe(self.org.changed)

    def stop(self) -> None:
        """End the story that is played, before its next step."""
        if self.show is not None:
            self.show.stop.set()

    def shown(self) -> dict[str, Any]:
        """Whether the bot knows who is who, how much is recorded, and what is played."""
        return {
            "ready": self.knows_people(),
            "recorded": len(self.recorder.doings),
            "show": None if self.show is None else self.show.shown(),
        }
