"""The errors that cross a border between parts; what the sender can mend carries the words for it."""

from __future__ import annotations

from bot.words import Words


class BotError(Exception):
    """Anything the bot raises on purpose."""


class UserError(BotError):
    """The sender can mend it; its words are the reply, nothing else is written."""

    def __init__(self, words: Words) -> None:
        super().__init__(words.key)
        self.words = words


class UpstreamError(BotError):
    """WeCom, the mail server or a DNS provider refused, or could not be reached."""

    def words(self) -> Words | None:
        """What a person can do about it; None when the catalogue has nothing better than the text."""
        return None


class NetworkError(UpstreamError):
    """No answer: refused, timed out, cut. The request may or may not have arrived."""


class BadEnvelope(BotError):
    """Not a callback of WeCom's: answered with `status` (400 malformed, 403 not authentic), never with words."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
