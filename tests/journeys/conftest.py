"""Conversations through the front door: the production bot in the sandbox, spoken to as people do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bot.sandbox.player import Player
from bot.sandbox.run import Sandbox, running


class Bot(Player):
    """A player who also sees behind the scenes: `sandbox.organisation`, and the bot's own rows."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox.url)
        self.sandbox = sandbox

    @property
    def store(self) -> Any:
        """The bot's database."""
        assert self.sandbox.bot is not None
        return self.sandbox.bot.store


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    """A fresh organisation with the bot in it."""
    with running(tmp_path / "data") as sandbox, closing(Bot(sandbox)) as player:
        player.wait_ready()
        yield player
