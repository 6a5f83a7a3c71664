"""
Run a command and leave none of its processes behind.

    python3 scripts/contained.py make test

Whatever the command's processes started, daemons included, becomes our child when its parent dies (Linux: we are a
"child subreaper"), so what still runs at the end can be found, named and ended, and no other process is touched.
Exits with the command's code, or 1 when it succeeded and left something running.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
GRACE_SECONDS = 10.0


def main(command: list[str]) -> int:
    """Run `command`, end what it left, tell about it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    process = subprocess.Popen(command)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: process.send_signal(received))
    code = process.wait()
    left = end_descendants()
    for line in left:
        print(f"left running, and ended now: {line}", file=sys.stderr)
    return code if code > 0 else 128 - code if code < 0 else int(bool(left))


def end_descendants() -> list[str]:
    """Ask every descendant to stop, insist after a while; a line for each that was running."""
    time.sleep(0.2)  # what is just ending is not left over
    reap()
    left = [f"{pid} {command_line(pid)}" for pid in descendants()]
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_SECONDS
        for pid in descendants():
            try_kill(pid, number)
        while descendants() and time.monotonic() < deadline:
            time.sleep(0.05)
            reap()
    reap()
    return left


def descendants() -> list[int]:
    """The running processes below us; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it has just ended
        if state != "Z":
            children.setdefault(int(parent), []).append(int(stat.parent.name))
    found, waiting = [], [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def reap() -> None:
    """Collect the ended children."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def try_kill(pid: int, number: signal.Signals) -> None:
    """Signal a process that may have ended meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def command_line(pid: int) -> str:
    """What a process was started as."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()[:200]
    except OSError:
        return "(ended)"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
