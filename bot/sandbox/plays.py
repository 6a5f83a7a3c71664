"""Stories played headless against a running sandbox: the conversation is printed, the outcome is checked."""

from __future__ import annotations

from contextlib import closing

from bot.sandbox.player import NotHeard, Player
from bot.sandbox.story import Story
from bot.sandbox.teller import Teller


def perform(story: Story, url: str) -> int:
    """Play a story; 0 only if it came out as it should."""
    with closing(Player(url, print)) as player:
        try:
            player.wait_ready()
            Teller(player, story, print).play()
        except NotHeard as error:
            print(f"\nThe play “{story.story}” failed: {error}")
            return 1
    print(f"\nThe play “{story.story}” came out as it should.")
    return 0
