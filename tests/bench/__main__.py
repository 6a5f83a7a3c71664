"""
`make bench`: the copy beside a plain loop over imaplib, in turn, in one run, each result compared mail by mail.

Whole processes are timed, start-up included, on a Dovecot of its own on loopback. Ratios hold inside one run only.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bot.mail.session import MailAccount
from tests.mail import child
from tests.mail.mailboxes import bag, count, fill
from tests.servers.dovecot import PASSWORD, PROFILES, Dovecot

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 600
Command = Callable[[MailAccount, MailAccount], list[str]]


def ours(connections: int) -> Command:
    """`exmail-bot copy`."""

    def command(source: MailAccount, target: MailAccount) -> list[str]:
        options = (f"--connections={connections}", "--source-connections=1")
        return [sys.executable, "-m", "bot.copy_command", *child.arguments(source, target, *options)]

    return command


def plain(source: MailAccount, target: MailAccount) -> list[str]:
    """The loop."""
    sides = [str(source.port), source.user, str(target.port), target.user]
    return [sys.executable, "-m", "tests.bench.plain", *sides, PASSWORD]


COPIERS: dict[str, Command] = {
    "imaplib, one by one": plain,
    "exmail-bot copy, 1 + 1": ours(1),
    "exmail-bot copy, 1 + 4": ours(4),
}


def timed(command: list[str]) -> float:
    """Seconds of a whole process; it must succeed."""
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=ROOT, env=child.environment(), capture_output=True, timeout=SECONDS_MAX, check=False
    )
    seconds = time.perf_counter() - began
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return seconds


def main() -> int:
    """Print a table for each profile."""
    parser = argparse.ArgumentParser("tests.bench", description=__doc__)
    parser.add_argument("--mails", type=int, default=1000, help="about how many (1000)")
    parser.add_argument("--rounds", type=int, default=3, help="of each copier (3); the median counts")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f}")
    with tempfile.TemporaryDirectory(prefix="exmail-bot-bench-") as folder:
        Path(folder).chmod(0o755)
        server = Dovecot(Path(folder) / "dovecot")
        server.folder.mkdir()
        try:
            server.start()
            for profile in PROFILES:
                measure(server, profile, options.mails, options.rounds)
        finally:
            server.stop()
    return 0


def measure(server: Dovecot, profile: str, mails: int, rounds: int) -> None:
    """One table: seconds, mails a second, and how many times the plain loop."""
    source = server.account(profile=profile)
    fill(source, seed=3, per_folder=max(1, mails // 3), folders=("INBOX", "其他文件夹/项目归档", "Sent Messages"))
    wanted = bag(source)
    seconds: dict[str, list[float]] = {name: [] for name in COPIERS}
    for _ in range(rounds):
        for name, command in COPIERS.items():
            target = server.account(profile=profile)
            seconds[name].append(timed(command(source, target)))
            assert bag(target, root="Backup/box") == wanted, f"{name}: the copy differs"
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    base = next(iter(medians.values()))
    print(f"\n{count(wanted)} mails, Dovecot with the capabilities of: {profile} (every copy compared: equal)")
    for name, median in medians.items():
        print(f"  {name:26} {median:7.2f} s {count(wanted) / median:7.0f} mails/s {base / median:6.1f} x")
    for peer in ("imapsync", "interimap", "mbsync"):
        print(f"  {peer:26} not measured")


if __name__ == "__main__":
    raise SystemExit(main())
