"""
`make bench`: the copy engine beside the copiers people use, in turn, in one run, each result compared mail by mail.

Whole processes are timed, start-up included, against a Dovecot of its own on loopback whose mail lies in memory, over
no distance and over a relay that adds 40 ms a round trip. Ratios hold inside one run only. A copier that is not on
this machine is "not measured" (scripts/bench-peers installs what Debian has; IMAPSYNC=/path/to/imapsync names that).
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import shutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import relay
from tests.bench.copiers import versions
from tests.bench.sections import ON_DEMAND, ROUND_TRIP_MS, SECTIONS, Bench
from tests.bench.tables import check_markdown, write_markdown
from tests.servers.dovecot import Dovecot
from tests.servers.running import running

MEMORY = Path("/dev/shm")  # noqa: S108  # a file system in memory, where Linux has one
MEMORY_BYTES_MIN = 3_000_000_000


def machine() -> str:
    """What the numbers depend on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} cores ({model}), {platform.platform()}, Python {platform.python_version()}"


def in_memory() -> Path | None:
    """Where the mail lies: on a disk the file system's work hides what the copiers do."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_BYTES_MIN:
        return MEMORY
    return None


def main() -> int:
    """Print a table for each section; 1 when a copy of ours was not exact."""
    parser = argparse.ArgumentParser("tests.bench", description=__doc__)
    names = [*SECTIONS]
    parser.add_argument("--only", action="append", choices=names, metavar="SECTION", help=f"of {', '.join(names)}")
    parser.add_argument("--mails", type=int, help="in the ordinary mailboxes, instead of 1,000 and 5,000")
    parser.add_argument("--rounds", type=int, default=1, help="of each copier (1); the median counts")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the tables into a document's marked places"
    )
    options = parser.parse_args()
    wanted = [name for name in SECTIONS if name in (options.only or SECTIONS.keys() - ON_DEMAND)]
    if options.markdown:
        check_markdown(options.markdown, (*wanted, "machine"))
    began, load = time.monotonic(), os.getloadavg()[0]
    place = in_memory()
    facts = [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine()}, load before the run {load:.1f}",
        f"{versions()}; its mail {'in memory' if place else 'on a disk (compare with nothing measured in memory)'}",
        relay.measured(ROUND_TRIP_MS).words(),
        "command: make bench" + (f' ARGS="{" ".join(sys.argv[1:])}"' if sys.argv[1:] else ""),
    ]
    print("\n".join(facts), flush=True)
    failed = False
    with running(functools.partial(Dovecot, names=("full", "exmail", "literal_plus")), place=place) as server:
        bench = Bench(server, options)
        for name in wanted:
            table = SECTIONS[name](bench)
            failed = failed or bool(table.failed)
            print(table.text(), flush=True)
            if options.markdown:
                write_markdown(options.markdown, name, table.markdown())
    facts.append(f"the whole run took {time.monotonic() - began:.0f} s, load after it {os.getloadavg()[0]:.1f}")
    print(f"\n{facts[-1]}")
    if options.markdown:
        write_markdown(options.markdown, "machine", "\n".join(f"- {each}" for each in facts))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
