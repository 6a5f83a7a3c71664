"""One plan, in a process of its own: prints its seconds, the process's peak, and what it planned."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from bot import copy_command  # noqa: F401  # the memory of the command is what counts
from bot.mail.account import MailAccount
from bot.mail.plan import Filter, make_plan


async def main(source_port: str, source: str, target_port: str, target: str, password: str) -> None:
    """Ports on loopback."""
    sides = [
        MailAccount("127.0.0.1", int(port), user, password, tls=False)
        for port, user in ((source_port, source), (target_port, target))
    ]
    began = time.perf_counter()
    plan = await make_plan(*sides, into="Backup/box", filter=Filter(), now=datetime.now(UTC))
    seconds = time.perf_counter() - began
    marks = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()
    print(json.dumps({"seconds": seconds, "peak_bytes": int(marks[0]) * 1024, "messages": plan.messages}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
