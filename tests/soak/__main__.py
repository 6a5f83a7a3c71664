"""
`make soak`: a copy killed with SIGKILL at random moments and at every named step of the protocol, its connections cut,
its server restarted; each time it is run to its end and compared with its source, mail by mail.

Every trial follows from its seed, its profile and its distance, which are printed with whatever is found, so it can be
repeated: `--only kills --seed 17 --kills 10`. Exit status 1 when anything was lost, doubled or otherwise different.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator

from tests.bench.__main__ import in_memory, machine
from tests.servers.dovecot import Dovecot
from tests.servers.running import running
from tests.soak.steps import STEPS
from tests.soak.trials import KILLS_A_TRIAL, Soak, Trial, every_combination

PARTS = ("steps", "kills", "cuts", "restart")


def trials(options: argparse.Namespace) -> Iterator[Trial]:
    """All that was asked for."""
    parts = options.only or PARTS
    if "steps" in parts:
        for step in STEPS:
            for profile, distance in every_combination(options.seed):
                if options.step is None or options.step in step.name:
                    yield Trial(step.name, profile, distance, options.seed, step)
    if "kills" in parts:
        for number in range(-(-options.kills // KILLS_A_TRIAL)):
            seed = options.seed + number
            profile, distance = every_combination(options.seed)[number % 4]
            yield Trial("kills", profile, distance, seed)
    for part in ("cuts", "restart"):
        if part in parts:
            for number in range(8):
                profile, distance = every_combination(options.seed)[number % 4]
                yield Trial(part, profile, distance, options.seed + number)


async def work(soak: Soak, options: argparse.Namespace) -> None:
    last = time.monotonic()
    for trial in trials(options):
        await soak.run(trial)
        if options.verbose or time.monotonic() - last > 20:
            last = time.monotonic()
            print(f"{trial.words()}: {soak.tally.words()}", flush=True)


def main() -> int:
    """Print the tally."""
    parser = argparse.ArgumentParser("tests.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="at random moments (200), ten to a copy")
    parser.add_argument("--seed", type=int, default=1, help="of the first trial (1); the next has the next")
    parser.add_argument("--only", action="append", choices=PARTS, help="only this part; may be repeated")
    parser.add_argument("--step", help="only the steps whose names hold this")
    parser.add_argument("--verbose", action="store_true", help="the tally after each trial")
    options = parser.parse_args()
    began = time.monotonic()
    print(machine(), flush=True)
    with running(Dovecot, place=in_memory()) as server:
        soak = Soak(server, server.folder)
        asyncio.run(work(soak, options))
    print(f"\n{soak.tally.words()}.\nIt took {time.monotonic() - began:.0f} s, seed {options.seed}.")
    print("SURVIVED" if soak.tally.survived else "NOT SURVIVED")
    return 0 if soak.tally.survived else 1


if __name__ == "__main__":
    raise SystemExit(main())
