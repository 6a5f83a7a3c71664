"""Runs a copier as a process of its own and says what it cost."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOOK_SECONDS = 0.02
TEXT_MAX = 2_000


@dataclass(frozen=True)
class Run:
    """One process from start to end, start-up included."""

    status: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int  # the kernel's own high-water marks, of the process and its children
    whole: str  # what it printed

    @property
    def output(self) -> str:
        """The end of it."""
        return self.whole[-TEXT_MAX:]


@functools.cache
def environment() -> dict[str, str]:
    """
    Ours, with byte code ready for every Python that is measured, as an installed command has it.

    Some machines forbid Python to write it beside the sources: then each start would compile all of them again.
    """
    prefix = tempfile.mkdtemp(prefix="exmail-bot-bytecode-")
    atexit.register(shutil.rmtree, prefix, ignore_errors=True)
    found = {**os.environ, "PYTHONPYCACHEPREFIX": prefix, "PYTHONDONTWRITEBYTECODE": ""}
    for module in ("bot.cli, bot.copy_command", "tests.bench.plain", "tests.bench.planning", "tests.bench.endless"):
        subprocess.run([sys.executable, "-c", f"import {module}"], cwd=ROOT, env=found, check=True, timeout=60)
    return found


def run(command: Sequence[str], *, env: Mapping[str, str], scratch: Path, seconds_max: float) -> Run:
    """Run it to its end, or kill it after `seconds_max`."""
    log = scratch / "output"
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        done = threading.Event()
        peaks: dict[int, int] = {}

        def watch() -> None:
            while not done.wait(LOOK_SECONDS):
                look(process.pid, peaks)
                if time.perf_counter() - began > seconds_max:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        done.set()
        watcher.join()
    return Run(
        process.returncode,
        seconds,
        usage.ru_utime + usage.ru_stime,
        sum(peaks.values()),
        log.read_text(errors="replace"),
    )


def look(pid: int, peaks: dict[int, int]) -> None:
    """Note the memory marks of a process and of its children."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peaks[pid] = int(line.split()[1]) * 1024
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            look(int(child), peaks)


def tree_cpu(pid: int) -> float:
    """CPU seconds of a server: its first process, the children it has, and those it had."""
    total = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rsplit(") ", 1)[1].split()
            if int(entry.name) == pid:
                total += sum(int(field) for field in fields[11:15])
            elif int(fields[1]) == pid:
                total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")
