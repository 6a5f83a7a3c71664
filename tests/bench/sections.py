"""What is measured: each section fills a table, compares every copy with its source, holds our numbers to goals."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot.mail.account import MailAccount
from tests.bench import book, domains, mailbox, process, reading
from tests.bench.copiers import IMAPSYNC, INTERIMAP_COPIER, MBSYNC_COPIER, PLAIN, ROOT, Copier, ours
from tests.bench.mailbox import Filled
from tests.bench.relay import relayed
from tests.bench.tables import NOT_MEASURED, Table
from tests.servers.dovecot import PASSWORD, Dovecot

ROUND_TRIP_MS = 40.0
SECONDS_MAX = 600.0
STARTS = 5
CPU_SECONDS = 0.2  # for 1,000 messages
HUGE = 500_000
HUGE_SECONDS_MAX = 3_600.0
SIZES = {"small": 1_000, "large": 5_000}
COLUMNS = ("copier", "wall s", "msg/s")
COSTS = ("CPU s", "server CPU s", "peak MB", "exact copy?")


@dataclass
class Measured:
    """A copier's runs in one section."""

    runs: list[process.Run] = field(default_factory=list)
    server_cpu: list[float] = field(default_factory=list)
    comparison: reading.Comparison | None = None  # the worst

    @property
    def seconds(self) -> float:
        return statistics.median(run.seconds for run in self.runs)

    @property
    def cpu_seconds(self) -> float:
        return statistics.median(run.cpu_seconds for run in self.runs)

    @property
    def peak_megabytes(self) -> float:
        return max(run.peak_bytes for run in self.runs) / 1e6


class Bench:
    """The server, the mailboxes made so far, and how hard to work."""

    def __init__(self, server: Dovecot, options: argparse.Namespace) -> None:
        self.server, self.options = server, options
        self.filled: dict[str, Filled] = {}

    def source(self, name: str) -> Filled:
        """The mailbox `small`, `large` or `big`, made when it is first asked for."""
        if name not in self.filled:
            count = self.options.mails or SIZES.get(name, 0)
            mails = mailbox.big() if name == "big" else mailbox.ordinary(count, 20260 + (name == "small"))
            self.filled[name] = mailbox.fill(name, self.server.account(name, profile="full"), mails)
        return self.filled[name]

    @contextlib.contextmanager
    def way(self, profile: str, round_trip_ms: float) -> Iterator[Callable[[MailAccount], MailAccount]]:
        """How to reach an account through a profile, over a distance."""
        port = self.server.profiles[profile].port
        if not round_trip_ms:
            yield lambda account: dataclasses.replace(account, port=port)
            return
        with relayed([port], round_trip_ms) as ports:
            yield lambda account: dataclasses.replace(account, port=ports[0])

    def measure(
        self, copiers: Iterable[Copier], source: Filled, profile: str, round_trip_ms: float = 0.0
    ) -> dict[str, Measured | None]:
        """Each copier in turn into an empty mailbox, round after round; None for one that is not here."""
        found: dict[str, Measured | None] = {}
        with self.way(profile, round_trip_ms) as reach:
            for number in range(self.options.rounds):
                for copier in copiers:
                    if number == 0:
                        found[copier.name] = None
                    elif found[copier.name] is None or (copier.slow and round_trip_ms):
                        continue
                    self.once(copier, source, profile, reach, found)
        return found

    def once(
        self,
        copier: Copier,
        source: Filled,
        profile: str,
        reach: Callable[[MailAccount], MailAccount],
        found: dict[str, Measured | None],
    ) -> None:
        target = self.server.account(profile=profile)
        with tempfile.TemporaryDirectory(prefix="exmail-bot-bench-") as scratch:
            command = copier.make(reach(source.account), reach(target), Path(scratch))
            if command is None:
                return
            pid = self.server.profiles[profile].pid
            before = process.tree_cpu(pid)
            run = process.run(
                command.argv,
                env={**process.environment(), **command.env},
                scratch=Path(scratch),
                seconds_max=SECONDS_MAX,
            )
        measured = found[copier.name] or Measured()
        found[copier.name] = measured
        measured.runs.append(run)
        measured.server_cpu.append(process.tree_cpu(pid) - before)
        direct = dataclasses.replace(target, port=self.server.profiles["full"].port)
        comparison = reading.compare(source.contents, reading.contents(direct, ROOT))
        if measured.comparison is None or not comparison.exact:
            measured.comparison = comparison
        print(
            f"    {copier.name}: {run.seconds:.2f} s, exit {run.status}, exact: {comparison.words()}",
            file=sys.stderr,
            flush=True,
        )
        self.server.empty(target)


@dataclass(frozen=True)
class Target:
    """What must be reached: so many times another copier, or so many messages a second."""

    copier: str
    at_least: float
    than: str = ""

    def words(self, rates: dict[str, float]) -> str:
        if self.copier not in rates:
            return f"{self.copier}: {NOT_MEASURED}"
        unit = f"x {self.than}" if self.than else " messages/s"
        goal = f"{self.copier}, goal {self.at_least:g}{unit}"
        if self.than and self.than not in rates:
            return f"{goal}: {NOT_MEASURED}"
        value = rates[self.copier] / (rates[self.than] if self.than else 1)
        return f"{goal}: {value:.1f}{unit}, {'met' if value >= self.at_least else 'NOT MET'}"


def table_of(
    name: str,
    title: str,
    source: Filled,
    found: dict[str, Measured | None],
    references: Sequence[str],
    targets: Sequence[Target],
) -> Table:
    """Speed, cost and truth of each copier, with ratios to the reference copiers of this very run."""
    table = Table(name, title, (*COLUMNS, *(f"x {each}" for each in references), *COSTS))
    rates = {name: source.mails / each.seconds for name, each in found.items() if each is not None and well(each)}
    for copier, each in found.items():
        if each is None:
            table.rows.append((copier, NOT_MEASURED, *("" for _ in table.columns[2:])))
            continue
        if each.comparison is None or not well(each):
            table.rows.append((copier, f"failed, exit {each.runs[-1].status}", *("" for _ in table.columns[2:])))
            table.remarks.append(f"{copier}: {' '.join(each.runs[-1].output.split())[-200:]}")
        else:
            ratios = [f"{rates[copier] / rates[than]:.1f}" if than in rates else NOT_MEASURED for than in references]
            table.rows.append(
                (
                    copier,
                    f"{each.seconds:.2f}",
                    f"{rates[copier]:,.0f}" if rates[copier] >= 100 else f"{rates[copier]:.1f}",
                    *ratios,
                    f"{each.cpu_seconds:.2f}",
                    f"{statistics.median(each.server_cpu):.2f}",
                    f"{each.peak_megabytes:.0f}",
                    each.comparison.words(),
                )
            )
        if copier.startswith("exmail-bot") and not (well(each) and each.comparison and each.comparison.exact):
            table.failed.append(f"FAILED: {copier} did not copy exactly")
    table.remarks += [each.words(rates) for each in targets]
    return table


def well(measured: Measured) -> bool:
    """imapsync counts what it skips as errors (exit 111 or 116): its copies still count."""
    return all(run.status in (0, 111, 116) for run in measured.runs)


# The sections


def exmail_far(bench: Bench) -> Table:
    """What Exmail announces, 40 ms away: only connections multiply."""
    source = bench.source("small")
    four, eight = ours(1, 4), ours(1, 8)
    copiers = [IMAPSYNC, PLAIN, dataclasses.replace(MBSYNC_COPIER, slow=True), ours(1, 1), four, eight]
    found = bench.measure(copiers, source, "exmail", ROUND_TRIP_MS)
    title = f"40 ms round trip, Exmail's capabilities (no LITERAL+, no MULTIAPPEND): {source.words()}"
    goals = [Target(four.name, 10, "imapsync"), Target(eight.name, 18, "imapsync")]
    return table_of("exmail-40ms", title, source, found, ("imapsync", "mbsync"), goals)


def literal_far(bench: Bench) -> Table:
    """The others with all they can use (interimap: MULTIAPPEND), ours with LITERAL+ alone, and with everything."""
    return literal("literal-40ms", bench, bench.source("small"))


def literal_far_large(bench: Bench) -> Table:
    """The same with five times the mail: what a copy costs once, its start and end, is a smaller part of it."""
    return literal("literal-40ms-large", bench, bench.source("large"))


def literal(name: str, bench: Bench, source: Filled) -> Table:
    plus = [ours(1, 1, ", LITERAL+"), ours(2, 4, ", LITERAL+")]
    whole = ours(2, 4, ", everything")
    found = bench.measure([MBSYNC_COPIER, INTERIMAP_COPIER], source, "full", ROUND_TRIP_MS)
    found |= bench.measure(plus, source, "literal_plus", ROUND_TRIP_MS)
    found |= bench.measure([whole], source, "full", ROUND_TRIP_MS)
    title = f"40 ms round trip, everything Dovecot offers; ours also without MULTIAPPEND: {source.words()}"
    goals = [Target(plus[1].name, 4, "interimap"), Target(plus[1].name, 700)]
    return table_of(name, title, source, found, ("interimap", "mbsync"), goals)


def near(bench: Bench) -> Table:
    """No distance: what the copiers themselves cost."""
    source = bench.source("large")
    techniques = {
        "exmail": ours(1, 4, ", Exmail's"),
        "literal_plus": ours(1, 4, ", LITERAL+"),
        "full": ours(1, 2, ", everything"),
    }
    found = bench.measure([IMAPSYNC, PLAIN, MBSYNC_COPIER, INTERIMAP_COPIER], source, "full")
    fewer: dict[str, Measured | None] = {}
    for profile, copier in techniques.items():
        found |= bench.measure([copier], source, profile)
        fewer |= bench.measure([copier], bench.source("small"), profile)
    goals = [Target(copier.name, goal, "imapsync") for copier, goal in zip(techniques.values(), (4, 6, 9), strict=True)]
    table = table_of("loopback", f"No distance: {source.words()}", source, found, ("imapsync", "interimap"), goals)
    start = start_cpu()
    for copier in techniques.values():
        many, few = found[copier.name], fewer[copier.name]
        if many is None or few is None:
            continue
        mails = source.mails, bench.source("small").mails
        table.remarks.append(cpu_words(copier.name, mails, (many.cpu_seconds, few.cpu_seconds), start))
        if not (well(few) and few.comparison and few.comparison.exact):
            table.failed.append(f"FAILED: {copier.name} did not copy exactly")
    return table


def start_cpu() -> float:
    """The CPU seconds of the command that copies nothing: Python and all that is loaded before the first connection."""
    with tempfile.TemporaryDirectory(prefix="exmail-bot-bench-") as scratch:
        argv = [sys.executable, "-m", "bot", "copy", "--help"]
        runs = [
            process.run(argv, env=process.environment(), scratch=Path(scratch), seconds_max=SECONDS_MAX)
            for _ in range(STARTS)
        ]
    return statistics.median(run.cpu_seconds for run in runs)


def cpu_words(name: str, mails: tuple[int, int], cpu_seconds: tuple[float, float], start: float) -> str:
    """
    What 1,000 messages cost of CPU: each 1,000 more (from the difference of a large and a small copy), and all together
    in the large one. The goal does not say which it means, so it is held to both.
    """
    (many, few), (large, small) = mails, cpu_seconds
    more, whole = 1_000 * (large - small) / (many - few), 1_000 * large / many
    return (
        f"{name}, CPU, goal 0.2 s: each 1,000 messages more {more:.2f} s, {met(more, CPU_SECONDS)}; of {many:,} all in "
        f"all {whole:.2f} s for 1,000, {met(whole, CPU_SECONDS)}; the start alone {start:.2f} s"
    )


def met(value: float, at_most: float) -> str:
    return "met" if value <= at_most else "NOT MET"


def memory(bench: Bench) -> Table:
    """Mails of up to 48 MB: what is held at once."""
    source, small = bench.source("big"), bench.source("small")
    mine = ours(1, 1)
    found = bench.measure([IMAPSYNC, PLAIN, MBSYNC_COPIER, INTERIMAP_COPIER, mine], source, "full")
    title = f"Memory, no distance: {source.words()}, four of 24 to 48 MB"
    table = table_of("memory", title, source, found, (), ())
    other = bench.measure([mine], small, "full")[mine.name]
    here = found[mine.name]
    if here is not None and other is not None:
        peaks = here.peak_megabytes, other.peak_megabytes
        table.remarks.append(
            f"our peak with these {peaks[0]:.0f} MB, with {small.words()} {peaks[1]:.0f} MB; "
            f"goal 64 MB: {met(max(peaks), 64)}; goal within 10 MB: {met(abs(peaks[0] - peaks[1]), 10)}"
        )
    return table


def planning(bench: Bench) -> Table:
    """What `--dry-run` does, without the start of the process: folders, counts, sizes, dates, notes."""
    source = bench.source("large")
    table = Table("planning", "Planning (as --dry-run)", ("mailbox", "seconds", "peak MB", "messages planned"))
    with bench.way("exmail", ROUND_TRIP_MS) as reach:
        result = plan(reach(source.account), reach(bench.server.account(profile="exmail")))
    row = (f"{source.words()}, 40 ms", f"{result['seconds']:.2f}", f"{result['peak_bytes'] / 1e6:.0f}")
    table.rows.append((*row, f"{result['messages']:,}"))
    seconds = float(result["seconds"])
    table.remarks.append(f"goal 0.5 s at 40 ms: {seconds:.2f} s, {met(seconds, 0.5)}")
    if result["messages"] != source.mails:
        table.failed.append(f"FAILED: planned {result['messages']} of {source.mails}")
    for count in (5_000, HUGE):
        with scripted(count) as account:
            result = plan(account, bench.server.account(profile="exmail"))
        row = (f"{count:,} messages, scripted server", f"{result['seconds']:.2f}", f"{result['peak_bytes'] / 1e6:.0f}")
        table.rows.append((*row, f"{result['messages']:,}"))
        if result["messages"] != count:
            table.failed.append(f"FAILED: planned {result['messages']} of {count}")
    return table


def plan(source: MailAccount, target: MailAccount) -> dict[str, float]:
    """`tests.bench.planning` in a process of its own."""
    argv = [sys.executable, "-m", "tests.bench.planning"]
    argv += [str(source.port), source.user, str(target.port), target.user, PASSWORD]
    done = subprocess.run(
        argv,
        cwd=process.ROOT,
        env=process.environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    values: dict[str, float] = json.loads(done.stdout)
    return values


@contextlib.contextmanager
def scripted(count: int) -> Iterator[MailAccount]:
    """A mailbox of so many mails that no server has to store (Dovecot takes minutes to fill that far)."""
    argv = [sys.executable, "-m", "tests.bench.endless", str(count)]
    server = subprocess.Popen(argv, cwd=process.ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield MailAccount("127.0.0.1", int(server.stdout.readline()), "many", "not-a-secret", tls=False)
    finally:
        server.terminate()
        server.wait(10)
        if server.stdout is not None:
            server.stdout.close()


def huge(bench: Bench) -> Table:
    """Copies of 5,000 and of 500,000 mails between scripted servers: does memory grow with their number?"""
    columns = ("messages", "wall s", "msg/s", "peak MB", "ledger MB", "said")
    table = Table("huge", "Copying between two scripted servers, no distance", columns)
    peaks = []
    for count in (SIZES["large"], bench.options.mails or HUGE):
        with scripted(count) as source, scripted(0) as target, tempfile.TemporaryDirectory() as scratch:
            command = ours(1, 2).make(source, target, Path(scratch))
            assert command is not None
            env = {**process.environment(), **command.env}
            run = process.run(command.argv, env=env, scratch=Path(scratch), seconds_max=HUGE_SECONDS_MAX)
            ledger = (Path(scratch) / "ledger.sqlite").stat().st_size
        said = re.search(r'"verified": (\w+), "stored": (\d+)', run.whole)
        words = f"verified {said[1]}, {int(said[2]):,} stored" if said else f"exit {run.status}"
        peaks.append(run.peak_bytes / 1e6)
        rate = f"{count / run.seconds:,.0f}"
        row = (f"{count:,}", f"{run.seconds:.1f}", rate, f"{peaks[-1]:.0f}", f"{ledger / 1e6:.0f}", words)
        table.rows.append(row)
        if run.status or not said or (said[1], int(said[2])) != ("true", count):
            table.failed.append(f"FAILED: {count:,} messages: {run.output[-200:]}")
    table.remarks.append(
        f"goal within 10 MB of each other: {peaks[0]:.0f} and {peaks[1]:.0f} MB, {met(abs(peaks[1] - peaks[0]), 10)}"
    )
    return table


SECTIONS: dict[str, Callable[[Bench], Table]] = {
    "exmail-40ms": exmail_far,
    "literal-40ms": literal_far,
    "literal-40ms-large": literal_far_large,
    "loopback": near,
    "memory": memory,
    "planning": planning,
    "book": lambda bench: book.table(),
    "domain": lambda bench: domains.table(),
    "huge": huge,
}
"""What `make bench` runs, in this order; a module of its own adds a line here."""

ON_DEMAND = frozenset({"huge"})
"""Sections that take longer than all others together: they run only when `--only` names them."""
