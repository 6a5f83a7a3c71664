"""kill -9 at any moment, then once more to the end: nothing lost, nothing doubled."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.mail import child
from tests.mail.mailboxes import bag, count, fill, opened
from tests.servers.dovecot import PROFILES, Dovecot

KILLS = 8
SECONDS_MAX = 60.0


@pytest.mark.parametrize("profile", PROFILES)
def test_a_killed_copy_is_finished_by_the_next(dovecot: Dovecot, tmp_path: Path, profile: str) -> None:
    """Kills at seeded random moments after the ledger has begun to grow: that is where the copying is."""
    assert killed_and_finished(dovecot, tmp_path, profile, seed=11, kills=KILLS), "no kill fell into the copy"


def killed_and_finished(server: Dovecot, folder: Path, profile: str, *, seed: int, kills: int) -> int:
    """A copy killed so many times, then run to its end and compared; how many kills fell into it."""
    source, target = server.account(profile=profile), server.account(profile=profile)
    fill(source, seed=7, per_folder=60, folders=("INBOX", "其他文件夹/项目归档", "Sent Messages"))
    before = bag(source)
    ledger, out = folder / f"ledger-{profile}-{seed}.sqlite", folder / "out"
    argv = child.arguments(source, target, f"--ledger={ledger}", "--connections=2")
    rng = random.Random(seed)

    killed = 0
    for _ in range(kills):
        began = changed_at(ledger)
        process = child.start(argv, out)
        until = time.monotonic() + SECONDS_MAX
        while process.is_alive() and changed_at(ledger) == began and time.monotonic() < until:
            process.join(0.002)
        process.join(rng.uniform(0.0, 0.25))
        killed += process.is_alive()
        process.kill()
        process.join(SECONDS_MAX)

    process = child.start(argv, out)
    process.join(SECONDS_MAX)
    assert process.exitcode == 0, out.read_text()
    assert json.loads(out.read_text())["verified"]
    assert bag(target, root="Backup/box") == before
    assert count(bag(target)) == count(before)
    return killed


def changed_at(ledger: Path) -> int:
    """When the ledger's write-ahead log last grew."""
    log = ledger.with_name(ledger.name + "-wal")
    try:
        return log.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def test_the_command_alone(dovecot: Dovecot, tmp_path: Path) -> None:
    """`python -m bot.copy_command` looks only, is killed, run to the end, run again for nothing, and verified later."""
    source, target = dovecot.account(profile="exmail"), dovecot.account(profile="exmail")
    fill(source, seed=8, per_folder=30, folders=("INBOX", "Sent"))
    before = bag(source)
    ledger = tmp_path / "ledger.sqlite"
    line = [sys.executable, "-m", "bot.copy_command", *child.arguments(source, target, f"--ledger={ledger}")]

    def run(*more: str, timeout: float = SECONDS_MAX) -> tuple[int, dict[str, object]]:
        done = subprocess.run(
            [*line, *more],
            env=child.environment(),
            cwd=Path(__file__).parents[2],
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        return done.returncode, json.loads(done.stdout)

    dry_status, plan = run("--dry-run")
    assert (dry_status, plan["messages"]) == (0, count(before))
    assert count(bag(target)) == 0

    process = subprocess.Popen(line, env=child.environment(), cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL)
    until = time.monotonic() + SECONDS_MAX
    while process.poll() is None and changed_at(ledger) == 0 and time.monotonic() < until:
        time.sleep(0.002)
    process.kill()
    process.wait(SECONDS_MAX)

    status, result = run()
    assert (status, result["verified"], result["refused"]) == (0, True, [])
    assert bag(target, root="Backup/box") == before
    status, result = run()
    assert (status, result["stored"], result["already"]) == (0, 0, count(before))

    status, result = run("--verify", "--into=Elsewhere")
    assert (status, result["error"]) == (1, "NothingCopied")
    status, result = run("--verify")
    assert (status, result["verified"], "stored" in result) == (0, True, False)
    with opened(target) as there:
        there.select_folder("Backup/box/Sent")
        there.delete_messages(there.search()[:1])
        there.expunge()
    status, result = run("--verify")
    assert (status, result["verified"]) == (3, False)
    assert [(each["stored"] - each["found"]) for each in result["checks"] if each["missing"]] == [1]

    alone = {name: value for name, value in child.environment().items() if name != "SOURCE_PASSWORD"}
    words = subprocess.run(
        [*(each for each in line if each != "--json"), "--verify"],
        env=alone,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (words.returncode, "NOT as it was copied" in words.stdout) == (3, True), words.stderr
    assert "the source was not looked at" in words.stdout
