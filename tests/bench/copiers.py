"""The command line of each copier; all copy the whole source below one folder of the target."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bot.mail.account import MailAccount
from tests.servers.dovecot import PASSWORD

ROOT = "Backup/box"
OURS = "exmail-bot copy"


@dataclass(frozen=True)
class Command:
    """What to run, and with what in the environment."""

    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)


Make = Callable[[MailAccount, MailAccount, Path], Command | None]
"""(source, target, a folder of its own) -> its command; None when it is not on this machine."""


@dataclass(frozen=True)
class Copier:
    """Something that copies."""

    name: str
    make: Make
    slow: bool = False  # over a distance: run once, whatever the rounds

    @property
    def is_ours(self) -> bool:
        return self.name.startswith(OURS)


def ours(sources: int, targets: int, note: str = "") -> Copier:
    """The real command, with a ledger on the disk; so many connections to each side."""

    def make(source: MailAccount, target: MailAccount, scratch: Path) -> Command:
        sides = [
            f"--{side}-{what}={getattr(account, what)}"
            for side, account in (("source", source), ("target", target))
            for what in ("host", "port", "user")
        ]
        argv = [sys.executable, "-m", "bot", "copy", *sides, f"--into={ROOT}", "--no-tls", "--json"]
        argv += [f"--ledger={scratch / 'ledger.sqlite'}"]
        argv += [f"--connections={targets}", f"--source-connections={sources}"]
        return Command(argv, {"SOURCE_PASSWORD": PASSWORD, "TARGET_PASSWORD": PASSWORD})

    return Copier(f"{OURS}, {sources} + {targets}{note}", make)


def plain(source: MailAccount, target: MailAccount, scratch: Path) -> Command:
    """A loop over imaplib."""
    argv = [sys.executable, "-m", "tests.bench.plain", str(source.port), source.user, str(target.port), target.user]
    return Command([*argv, ROOT, PASSWORD])


def imapsync_file() -> str | None:
    """Debian does not have it: `IMAPSYNC` names the file, or it is on the PATH."""
    return os.environ.get("IMAPSYNC") or shutil.which("imapsync")


def imapsync(source: MailAccount, target: MailAccount, scratch: Path) -> Command | None:
    """With its ordinary options."""
    file = imapsync_file()
    if file is None:
        return None
    argv = ["perl", file, "--subfolder2", ROOT, "--nolog", "--noreleasecheck", "--tmpdir", str(scratch)]
    argv += ["--pidfile", str(scratch / "pid")]
    for number, account in ((1, source), (2, target)):
        argv += [f"--host{number}", "127.0.0.1", f"--port{number}", str(account.port), f"--user{number}", account.user]
        argv += [f"--password{number}", PASSWORD, f"--nossl{number}", f"--notls{number}"]
    return Command(argv)


MBSYNC = """
IMAPAccount s
Host 127.0.0.1
Port {source.port}
User {source.user}
Pass {password}
SSLType None
AuthMechs LOGIN
Timeout 120

IMAPAccount t
Host 127.0.0.1
Port {target.port}
User {target.user}
Pass {password}
SSLType None
AuthMechs LOGIN
Timeout 120

IMAPStore source
Account s

IMAPStore below
Account t
Path {root}/

IMAPStore target
Account t

Channel inbox
Far :source:INBOX
Near :target:{root}/INBOX
Sync Pull New Flags
Create Near
CopyArrivalDate yes
SyncState {scratch}/state-

Channel others
Far :source:
Near :below:
Patterns * !INBOX
Sync Pull New Flags
Create Near
CopyArrivalDate yes
SyncState {scratch}/state-
"""

INTERIMAP = """
database = {scratch}/interimap.db
list-mailbox = *
list-select-opts =
ignore-mailbox = ^virtual/
[local]
type = imap
host = 127.0.0.1
port = {target.port}
STARTTLS = NO
username = {target.user}
password = {password}
auth = LOGIN
list-reference = {root}/
[remote]
type = imap
host = 127.0.0.1
port = {source.port}
STARTTLS = NO
username = {source.user}
password = {password}
auth = LOGIN
"""


def configured(text: str, source: MailAccount, target: MailAccount, scratch: Path) -> str:
    """The path of a configuration file."""
    file = scratch / "configuration"
    file.write_text(text.format(source=source, target=target, scratch=scratch, root=ROOT, password=PASSWORD))
    file.chmod(0o600)
    return str(file)


def mbsync(source: MailAccount, target: MailAccount, scratch: Path) -> Command | None:
    """isync's; one connection to each side."""
    if shutil.which("mbsync") is None:
        return None
    return Command(["mbsync", "-c", configured(MBSYNC, source, target, scratch), "-a", "-q"])


def interimap(source: MailAccount, target: MailAccount, scratch: Path) -> Command | None:
    """It needs QRESYNC on both sides."""
    if shutil.which("interimap") is None:
        return None
    return Command(["interimap", f"--config={configured(INTERIMAP, source, target, scratch)}", "--quiet"])


IMAPSYNC = Copier("imapsync", imapsync, slow=True)
MBSYNC_COPIER = Copier("mbsync", mbsync)
INTERIMAP_COPIER = Copier("interimap", interimap)
PLAIN = Copier("imaplib, one by one", plain, slow=True)


def versions() -> str:
    """Of everything that is measured, as far as it is there."""
    asked = {
        "imapsync": ["perl", imapsync_file() or "", "--version"] if imapsync_file() else None,
        "mbsync": ["mbsync", "--version"] if shutil.which("mbsync") else None,
        "interimap": ["dpkg-query", "-W", "-f", "${Version}", "interimap"] if shutil.which("interimap") else None,
        "Dovecot": ["dovecot", "--version"],
    }
    said = []
    for name, argv in asked.items():
        if argv is None:
            said.append(f"no {name}")
            continue
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        words = done.stdout.strip().splitlines()
        said.append(f"{name} {words[0].removeprefix('isync ').split(' ')[0]}" if words else name)
    return ", ".join(said)
