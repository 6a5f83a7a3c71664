"""The connections to one side of a copy: opened, replaced when they are lost, as many as the server likes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bot.mail.account import MailAccount
from bot.mail.errors import ConnectionLost, LoginRefused, MailError
from bot.mail.pace import Governor, complains
from bot.mail.quirks import Refused, why_refused
from bot.mail.session import COMMAND_SECONDS, SILENCE_SECONDS, Session, open_session

RECONNECTS_MAX = 5  # in a row, without a mail stored in between
RECONNECT_PAUSE_MAX_SECONDS = 30.0
ENDINGS_MAX = 2  # sessions that opening a folder may end; then it is let alone
PROBES_MAX = 2  # sessions that a probe for LITERAL+ may end; then nothing goes that way

Result = TypeVar("Result")


class Side:
    """One account and its sessions; `governor` says how many. To some of them mail is written."""

    def __init__(
        self,
        account: MailAccount,
        governor: Governor | None = None,
        *,
        silence_seconds: float = SILENCE_SECONDS,
        command_seconds: float = COMMAND_SECONDS,
        written: bool = False,
    ) -> None:
        self.account, self.written = account, written
        self.governor = governor or Governor(start=1, most=1, adaptive=False)
        self.sessions: list[Session] = []
        self.shut: dict[str, str] = {}  # folders that end every session that opens them, and its last words
        self.logins = 0
        self._ended: dict[str, int] = {}
        self._probes_lost = 0
        self.losses = 0  # in a row, without progress
        self._progress = -1
        self._silence_seconds, self._command_seconds = silence_seconds, command_seconds

    @property
    def live(self) -> list[Session]:
        """Those that can be used."""
        self.sweep()
        return self.sessions

    def sweep(self) -> None:
        """Forget those that are lost, and remember what ended them."""
        for each in self.sessions:
            if each.lost is not None:
                self._blame(each.ended_at, str(each.lost))
                self._probes_lost += each.ended_by_probe
        self.sessions = [each for each in self.sessions if each.lost is None]

    def _blame(self, folder: str | None, text: str) -> None:
        """A folder whose opening ended a session (Zimbra: it is locked); at the second time nobody opens it again."""
        if folder is None or complains(text) or why_refused(text) is Refused.BUSY:
            return
        self._ended[folder] = self._ended.get(folder, 0) + 1
        if self._ended[folder] >= ENDINGS_MAX:
            self.shut[folder] = text

    @property
    def missing(self) -> int:
        return self.governor.wanted - len(self.live)

    async def open(self) -> Session:
        """One more, logged in. Raises NotReachable, LoginRefused, ConnectionLost."""
        session = await open_session(
            self.account, silence_seconds=self._silence_seconds, command_seconds=self._command_seconds
        )
        session.shut = self.shut
        self.sessions.append(session)
        self.logins += 1
        if self.written and self._probes_lost >= PROBES_MAX:
            session.capabilities -= {"LITERAL+"}
        elif self.written:
            session.probe_literals()  # answered long before the first mail
        return session

    @property
    def one(self) -> Session:
        """One that works and is open already. Raises ConnectionLost."""
        if not self.live:
            raise ConnectionLost("no connection is left", mailbox=self.account.user)
        return self.sessions[0]

    async def first(self) -> Session:
        """One that works."""
        return self.live[0] if self.live else await self.open()

    async def fill(self) -> None:
        """As many as wanted; a refusal of one beyond the first only means fewer."""
        if self.missing <= 0 or time.monotonic() < self.governor.not_before:
            return
        results = await asyncio.gather(*(self.open() for _ in range(self.missing)), return_exceptions=True)
        for result in results:
            if isinstance(result, MailError):
                self.governor.no_more(len(self.live))
            elif isinstance(result, BaseException):
                raise result

    def lost(self, error: MailError, progress: int) -> bool:
        """A session is gone, and so much was done by now; False when that happened too often without any progress."""
        self.losses = 1 if progress > self._progress else self.losses + 1
        self._progress = progress
        if complains(error.text):
            self.governor.refused(time.monotonic(), len(self.live) + 1, error.text)
        return self.losses <= RECONNECTS_MAX

    def complained(self, error: MailError) -> float:
        """The seconds this side asks to be left alone, when it said that with its loss; for a side without any left."""
        now = time.monotonic()
        if self.governor.not_before <= now and complains(error.text):
            self.governor.refused(now, 1, error.text)
        return max(0.0, self.governor.not_before - now)

    @property
    def pause_seconds(self) -> float:
        """To wait before the next attempt: nothing after a first loss."""
        back_off = self.governor.not_before - time.monotonic()
        again = min(2.0 ** (self.losses - 2), RECONNECT_PAUSE_MAX_SECONDS) if self.losses > 1 else 0.0
        return max(back_off, again)

    def not_opened(self, error: MailError) -> bool:
        """Another session could not be had; False when there is none at all and no use in trying on."""
        if self.live:
            if complains(error.text):
                self.governor.refused(time.monotonic(), len(self.live), error.text)
            else:
                self.governor.no_more(len(self.live))
            return True
        self.losses += 1
        return not isinstance(error, LoginRefused) and self.losses <= RECONNECTS_MAX

    async def close(self) -> None:
        await asyncio.gather(*(each.close() for each in self.sessions))


async def with_patience(
    side: Side,
    work: Callable[[Session], Awaitable[Result]],
    *,
    progress: Callable[[], object] = lambda: None,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Result:
    """
    Work over a connection; when it breaks again over another, a bounded number of times without any progress.

    What was done is not known then: `work` begins anew. Raises ConnectionLost, LoginRefused, NotReachable; without any
    patience when there never was a connection.
    """
    losses = 0
    while True:
        before = progress(), len(side.shut)
        session: Session | None = None
        try:
            session = await side.first()
            return await work(session)
        except ConnectionLost:
            side.sweep()
            losses = losses + 1 if before == (progress(), len(side.shut)) else 1
            another = session is not None and session.lost is None  # it was not of this side
            if another or not side.logins or losses > RECONNECTS_MAX:
                raise
            await pause(min(2.0 ** (losses - 1), RECONNECT_PAUSE_MAX_SECONDS))
