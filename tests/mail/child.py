"""The copy command in a process of its own that is quick to start: forked from one that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

from bot import copy_command
from bot.mail.account import MailAccount
from tests.servers.dovecot import PASSWORD


def arguments(source: MailAccount, target: MailAccount, *more: str) -> list[str]:
    """The command line of a copy into Backup/box."""
    sides = [("source", source), ("target", target)]
    accounts = [
        f"--{name}-{what}={value}"
        for name, account in sides
        for what, value in (("host", account.host), ("port", account.port), ("user", account.user))
    ]
    return [*accounts, "--into=Backup/box", "--no-tls", "--json", *more]


def environment() -> dict[str, str]:
    """With the passwords."""
    return {**os.environ, "SOURCE_PASSWORD": PASSWORD, "TARGET_PASSWORD": PASSWORD}


def work(argv: list[str], out: str) -> None:
    """In the child."""
    os.environ.update(environment())
    with Path(out).open("w") as file:
        sys.stdout = sys.stderr = file
        status = copy_command.main(argv)
        file.flush()
    os._exit(status)


def start(argv: list[str], out: Path) -> multiprocessing.process.BaseProcess:
    """Runs `exmail-bot copy` with these arguments; what it prints goes to `out`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.mail.child"])
    process = context.Process(target=work, args=(argv, str(out)), daemon=True)
    process.start()
    return process
