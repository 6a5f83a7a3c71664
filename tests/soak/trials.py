"""One trial: a mailbox copied through trouble, finished, and compared mail by mail with its source."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.process import BaseProcess
from pathlib import Path

from bot.mail.account import MailAccount
from bot.sandbox.mail import utf7
from tests.bench import mailbox, reading, relay
from tests.bench.mailbox import Filled
from tests.mail import child
from tests.mail.test_killed import changed_at
from tests.servers.dovecot import PROFILES, Dovecot
from tests.soak.steps import STORED, Cut, Ear, Heard, Step, step

ROOT = "Backup/box"
MAILS = 120
MAIL_BYTES_MAX = 30_000
ROUND_TRIPS_MS = (0, 40)
KILLS_A_TRIAL = 10
CUTS = 4
LOOK_SECONDS = 0.002
SECONDS_MAX = 120.0
FIRST_LOST = step("answers under way", "target", "server", STORED, 40)


@dataclass
class Tally:
    """What became of the mails in all trials."""

    trials: int = 0
    kills: int = 0
    fell_into_a_copy: int = 0
    cuts: int = 0
    restarts: int = 0
    reconnects: int = 0
    adopted: int = 0
    removed: int = 0
    mails: int = 0
    lost: int = 0
    doubled: int = 0
    flags: int = 0
    dates: int = 0
    unfinished: int = 0
    not_reached: list[str] = field(default_factory=list)

    @property
    def survived(self) -> bool:
        return not (self.lost or self.doubled or self.flags or self.dates or self.unfinished)

    def words(self) -> str:
        text = (
            f"{self.trials} trials, {self.kills} kills ({self.fell_into_a_copy} fell into a copy), {self.cuts} cuts, "
            f"{self.restarts} restarts, {self.reconnects} reconnections; {self.adopted} mails adopted, {self.removed} "
            f"second copies removed; of {self.mails:,} mails {self.lost} lost, {self.doubled} doubled or altered, "
            f"{self.flags} with other flags, {self.dates} with other dates; {self.unfinished} copies did not end well"
        )
        return text + (f"; never heard: {', '.join(self.not_reached)}" if self.not_reached else "")


@dataclass(frozen=True)
class Trial:
    """All of it follows from these, so that it can be repeated."""

    kind: str  # a step's name, kills, cuts, restart
    profile: str
    round_trip_ms: int
    seed: int
    step: Step | None = None

    def words(self) -> str:
        return f"{self.kind}, {self.profile}, {self.round_trip_ms} ms, seed {self.seed}"


class Soak:
    """The server with a mailbox to copy in it, and the tally."""

    def __init__(self, server: Dovecot, scratch: Path) -> None:
        self.server, self.scratch = server, scratch
        self.tally = Tally()
        mails = (mail for mail in mailbox.ordinary(10_000, 7) if len(mail.raw) <= MAIL_BYTES_MAX)
        self.source: Filled = mailbox.fill("source", server.account(), islice(mails, MAILS))

    async def run(self, trial: Trial) -> None:
        """Through trouble, then to the end in peace, then compared. Adds to the tally."""
        source = self.through(self.source.account, trial)
        target = self.server.account(profile=trial.profile)
        run = Run(self, trial, source, target)
        async with asyncio.timeout(SECONDS_MAX * (KILLS_A_TRIAL + 2)), run.listening():
            if trial.step is not None:
                await run.killed_at(trial.step)
            elif trial.kind == "kills":
                await run.killed_at_random()
            elif trial.kind == "cuts":
                await run.with_cuts()
            else:
                await run.with_a_restart()
            await run.check_end(run.start())
        self.compare(trial, target, run)

    def through(self, account: MailAccount, trial: Trial) -> MailAccount:
        return dataclasses.replace(account, port=self.server.profiles[trial.profile].port)

    def compare(self, trial: Trial, target: MailAccount, run: Run) -> None:
        found = reading.compare(self.source.contents, reading.contents(target, ROOT))
        tally = self.tally
        tally.trials += 1
        tally.mails += self.source.mails
        tally.lost += found.lost
        tally.doubled += found.more
        tally.flags += found.flags
        tally.dates += found.dates
        if not found.exact:
            print(f"  FOUND in trial ({trial.words()}): {found.words()}; it noted {run.notes}", flush=True)
        self.server.empty(target)


class Run:
    """The processes of one trial, all with one ledger."""

    def __init__(self, soak: Soak, trial: Trial, source: MailAccount, target: MailAccount) -> None:
        self.soak, self.trial, self.source, self.target = soak, trial, source, target
        self.rng = random.Random(trial.seed)
        self.ledger = soak.scratch / f"ledger-{time.monotonic_ns()}.sqlite"
        self.out = soak.scratch / "out"
        self.delay = trial.round_trip_ms / 2_000
        self.ends: dict[str, relay.Pair] = {}
        self.argv: list[str] = []
        self.notes: list[object] = []

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Both relays, on ports that stay the same: a ledger knows a mailbox by its port too."""
        servers = [
            await relay.listen(self.delay, self.source.port, lambda there, back: self.ends["source"](there, back)),
            await relay.listen(self.delay, self.target.port, lambda there, back: self.ends["target"](there, back)),
        ]
        sides = [
            dataclasses.replace(account, host="127.0.0.1", port=relay.port_of(server))
            for account, server in zip((self.source, self.target), servers, strict=True)
        ]
        self.argv = child.arguments(sides[0], sides[1], f"--ledger={self.ledger}", "--connections=2")
        try:
            yield
        finally:
            for server in servers:
                server.close()

    def start(self, source: relay.Pair = relay.both_ends, target: relay.Pair = relay.both_ends) -> BaseProcess:
        """A copy whose connections go through these ends."""
        self.ends = {"source": source, "target": target}
        return child.start(self.argv, self.out)

    async def ended(self, process: BaseProcess, until: float) -> bool:
        while process.is_alive() and time.monotonic() < until:
            await asyncio.sleep(LOOK_SECONDS)
        return not process.is_alive()

    def kill(self, process: BaseProcess) -> None:
        self.soak.tally.kills += 1
        self.soak.tally.fell_into_a_copy += process.is_alive()
        process.kill()
        process.join(SECONDS_MAX)

    async def killed_at(self, wanted: Step) -> None:
        """Killed where the step is heard; a step of a resumed copy comes after a first kill."""
        if wanted.resumed:
            await self.once_killed_at(FIRST_LOST)
            self.doubled_by_hand()
        if not await self.once_killed_at(wanted):
            name = f"{wanted.name} ({self.trial.profile})"
            if name not in self.soak.tally.not_reached:
                self.soak.tally.not_reached.append(name)

    async def once_killed_at(self, wanted: Step) -> bool:
        now = asyncio.Event()
        loop = asyncio.get_running_loop()
        ear = Ear(wanted, lambda late: void(loop.call_later(late, now.set)))

        def pair(side: str) -> relay.Pair:
            def made(there: relay.Direction, back: relay.Direction) -> tuple[relay.End, relay.End]:
                here = ear if wanted.side == side else None
                return (
                    Heard(there, back, here if wanted.from_client else None),
                    Heard(back, there, None if wanted.from_client else here),
                )

            return made

        process = self.start(pair("source"), pair("target"))
        until = time.monotonic() + SECONDS_MAX
        while process.is_alive() and not now.is_set() and time.monotonic() < until:
            await asyncio.sleep(0.0005)
        if now.is_set():
            self.kill(process)
        process.join(SECONDS_MAX)
        return now.is_set()

    def doubled_by_hand(self) -> None:
        """What a dead session leaves when it had sent a mail twice: a second copy above the mark, in each folder."""
        with mailbox.Raw(self.target) as connection:
            for folder in self.soak.source.contents:
                wire = f'"{ROOT}/{utf7.encode(folder)}"'
                if b"(MESSAGES 0)" not in connection.do(f"STATUS {wire} (MESSAGES)".encode())[0]:
                    connection.do(f"SELECT {wire}".encode())
                    connection.do(f"COPY 1 {wire}".encode())

    async def killed_at_random(self) -> None:
        """Kills a random while after the ledger has begun to grow (one in five: after the start), again and again."""
        span = 0.15 + 40 * self.delay
        for _ in range(KILLS_A_TRIAL):
            began = changed_at(self.ledger)
            process = self.start()
            until = time.monotonic() + SECONDS_MAX
            from_the_start = self.rng.random() < 0.2
            while process.is_alive() and changed_at(self.ledger) == began and time.monotonic() < until:
                await asyncio.sleep(LOOK_SECONDS)
                if from_the_start:
                    break
            await self.ended(process, time.monotonic() + self.rng.uniform(0.0, span))
            self.kill(process)

    async def with_cuts(self) -> None:
        """Connections of either side break after random numbers of bytes; the copy gets on by itself."""
        cuts = {side: [self.rng.randrange(3_000, 200_000) for _ in range(CUTS)] for side in ("source", "target")}
        both = [side for side in cuts if self.rng.random() < 0.7] or ["target"]

        def pair(side: str) -> relay.Pair:
            left = cuts[side] if side in both else []

            def made(there: relay.Direction, back: relay.Direction) -> tuple[relay.End, relay.End]:
                if side == "source":
                    return relay.End(there, back), Cut(back, there, left)
                return Cut(there, back, left), relay.End(back, there)

            return made

        await self.check_end(self.start(pair("source"), pair("target")))
        self.soak.tally.cuts += sum(CUTS - len(cuts[side]) for side in both)

    async def with_a_restart(self) -> None:
        """The server dies in the middle, every connection with it, and comes back."""
        process = self.start()
        until = time.monotonic() + SECONDS_MAX
        while process.is_alive() and changed_at(self.ledger) == 0 and time.monotonic() < until:
            await asyncio.sleep(LOOK_SECONDS)
        await asyncio.sleep(self.rng.uniform(0.0, 0.1 + 40 * self.delay))
        self.soak.tally.restarts += process.is_alive()
        await asyncio.to_thread(self.soak.server.restart, self.trial.profile)
        await self.check_end(process)

    async def check_end(self, process: BaseProcess) -> None:
        """It must end by itself, and say itself that all is there."""
        if not await self.ended(process, time.monotonic() + SECONDS_MAX):
            process.kill()
        process.join(SECONDS_MAX)
        text = self.out.read_text(errors="replace")
        tally = self.soak.tally
        result = next((line for line in reversed(text.splitlines()) if line.startswith("{")), "{}")  # among log lines
        said = json.loads(result)
        if process.exitcode != 0 or not said.get("verified"):
            tally.unfinished += 1
            print(
                f"  FOUND in trial ({self.trial.words()}): exit {process.exitcode}: {text[:300]} … {text[-300:]}",
                flush=True,
            )
        self.notes = said.get("notes", [])
        tally.reconnects += said.get("reconnects", 0)
        tally.adopted += said.get("adopted", 0)
        tally.removed += said.get("removed", 0)


def void(_: object) -> None:
    """For a callback whose result nobody wants."""


def every_combination(seed: int) -> list[tuple[str, int]]:
    """Profiles and distances, in an order that depends on the seed."""
    all_four = [(profile, distance) for profile in PROFILES for distance in ROUND_TRIPS_MS]
    random.Random(seed).shuffle(all_four)
    return all_four
