"""
Cyrus as a second, independent mail server: an ordinary process in a temporary directory, stopped for sure at the end.

It differs from Dovecot in what matters to a copier: `.` between the parts of a name, everybody's folders below
`INBOX.`, few characters allowed in names, and mails with NUL bytes, bare line ends or broken headers refused.
"""

from __future__ import annotations

import imaplib
import itertools
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.mail.session import MailAccount
from tests.servers.dovecot import PASSWORD, die_with_the_tests, end_group, free_ports, greets
from tests.servers.running import running

INSTALL = "scripts/test-servers   (cyrus-common installed, cyrus-imapd unpacked: Debian lets in only one IMAP server)"
PROGRAMS = (Path("/usr/lib/cyrus/bin"), Path("/usr/local/lib/exmail-bot-tests/cyrus/usr/lib/cyrus/bin"))
ADMIN = "admin"

SETTINGS = """
configdirectory: {folder}/state
proc_path: {folder}/state/proc
mboxname_lockpath: {folder}/state/lock
idlesocket: {folder}/state/socket/idle
defaultpartition: default
partition-default: {folder}/mail
admins: {admin}
cyrus_user: {user}
unixhierarchysep: no
altnamespace: no
virtdomains: off
allowplaintext: yes
sasl_pwcheck_method: alwaystrue
sasl_mech_list: PLAIN LOGIN
skiplist_unsafe: yes
syslog_prefix: cyrus-test
"""

SERVICES = """
START {{
    recover cmd="{recover} -C {folder}/imapd.conf -r"
}}
SERVICES {{
    imap cmd="{imapd} -C {folder}/imapd.conf -U 30" listen="127.0.0.1:{port}" prefork=1 maxchild=50
}}
EVENTS {{
}}
"""


class Cyrus:
    """Accounts made through `account` are fresh and empty; any password opens them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._number = itertools.count(1)

    def start(self) -> None:
        """Up and greeting. Fails with what to run when Cyrus is not there."""
        master, imapd, recover = (program(name) for name in ("master", "imapd", "ctl_cyrusdb"))
        owner = pwd.getpwnam("cyrus") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        for name in ("mail", "state", "state/proc", "state/lock", "state/db", "state/socket", "state/user"):
            (self.folder / name).mkdir(exist_ok=True)
            os.chown(self.folder / name, owner.pw_uid, owner.pw_gid)
        (self.folder / "imapd.conf").write_text(SETTINGS.format(folder=self.folder, admin=ADMIN, user=owner.pw_name))
        for _ in range(3):  # another process may take the port before Cyrus does
            (self.port,) = free_ports(1)
            text = SERVICES.format(recover=recover, imapd=imapd, folder=self.folder, port=self.port)
            (self.folder / "cyrus.conf").write_text(text)
            arguments = ["-C", "imapd.conf", "-M", "cyrus.conf", "-p", "master.pid"]
            paths = [each if each.startswith("-") else str(self.folder / each) for each in arguments]
            with (self.folder / "output").open("wb") as output:
                self._process = subprocess.Popen(
                    [str(master), *paths, "-D"],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    preexec_fn=die_with_the_tests,
                )
            if greets(self.port, self._process):
                return
            self.stop()
        pytest.fail(f"Cyrus did not start: {(self.folder / 'output').read_text(errors='replace')}", pytrace=False)

    def stop(self) -> None:
        """Every process is gone afterwards."""
        if self._process is not None:
            end_group(self._process)

    def account(self) -> MailAccount:
        """A new mailbox."""
        user = f"box{next(self._number)}"
        with imaplib.IMAP4("127.0.0.1", self.port) as client:
            client.login(ADMIN, PASSWORD)
            assert client.create(f"user.{user}")[0] == "OK"
        return MailAccount("localhost", self.port, user, PASSWORD, tls=False)


def program(name: str) -> Path:
    """Where a program of Cyrus is."""
    found = next((folder / name for folder in PROGRAMS if (folder / name).exists()), None)
    if found is None:
        pytest.fail(f"Cyrus is not there: {INSTALL}", pytrace=False)
    return found


@pytest.fixture(scope="session")
def cyrus() -> Iterator[Cyrus]:
    """A running Cyrus, one for the whole session."""
    with running(Cyrus) as server:
        yield server
