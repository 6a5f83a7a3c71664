"""
Dovecot as the tests' mail server: own processes on loopback, stopped for sure at the end.

Two profiles over accounts made on demand: `full` offers everything Dovecot can (LITERAL+, MULTIAPPEND, CONDSTORE …),
`exmail` announces exactly the capability line Exmail sends after login. Both listen plain and with TLS. The bench adds
`literal_plus`: everything but MULTIAPPEND.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import datetime
import ipaddress
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bot.mail.session import MailAccount
from tests.servers.running import running

INSTALL = "apt-get install --no-install-recommends dovecot-imapd   (with a policy-rc.d that starts no service)"
EXMAIL_CAPABILITIES = "IMAP4 IMAP4rev1 XLIST MOVE IDLE XAPPLEPUSHSERVICE NAMESPACE CHILDREN ID UIDPLUS"
LITERAL_PLUS_CAPABILITIES = (
    "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES THREAD=REFS "
    "THREAD=ORDEREDSUBJECT URL-PARTIAL CATENATE UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED I18NLEVEL=1 "
    "CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE SNIPPET=FUZZY "
    "PREVIEW=FUZZY PREVIEW STATUS=SIZE SAVEDATE LITERAL+ NOTIFY SPECIAL-USE"
)
ANNOUNCED = {"exmail": EXMAIL_CAPABILITIES, "literal_plus": LITERAL_PLUS_CAPABILITIES}
PROFILES = ("full", "exmail")
PASSWORD = "not-a-secret"
START_SECONDS = 20.0

CONFIGURATION = """
base_dir = {base}
instance_name = test-{profile}-{port}
log_path = {folder}/{profile}.log
protocols = imap
listen = 127.0.0.1
default_internal_user = {internal}
default_login_user = {login}
default_internal_group = {group}
first_valid_uid = 1
first_valid_gid = 0
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_fsync = never
mail_max_userip_connections = 64
mail_location = sdbox:{folder}/mail/%u/sdbox
ssl = yes
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
namespace inbox {{
  inbox = yes
  separator = /
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u quota_rule=*:bytes=%{{if;%d;*;*.*;0;%d}}
}}
plugin {{
  quota = count:User quota
  quota_vsizes = yes
}}
mail_plugins = {plugins}
service imap-login {{
  chroot =
  service_count = 0
  process_limit = 2
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service imap {{
  process_limit = 128
}}
service anvil {{
  chroot =
  client_limit = 1000
}}
service stats {{
  chroot =
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
protocol imap {{
  mail_max_userip_connections = 64
  mail_plugins = {plugins} imap_quota
{capabilities}
}}
"""


@dataclass(frozen=True)
class Profile:
    """Where one set of capabilities listens."""

    port: int
    tls_port: int
    pid: int = 0


class Dovecot:
    """Both profiles over the same accounts. Accounts made through `account` are fresh and empty."""

    def __init__(self, folder: Path, names: tuple[str, ...] = PROFILES) -> None:
        self.folder = folder
        self.names = names
        self.ca_file = folder / "cert.pem"
        self.profiles: dict[str, Profile] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._number = itertools.count(1)

    def start(self) -> None:
        """Both profiles up and greeting. Fails with the command to run when Dovecot is not installed."""
        if shutil.which("dovecot") is None:
            pytest.fail(f"Dovecot is not installed: {INSTALL}", pytrace=False)
        mail = self.folder / "mail"
        mail.mkdir()
        owner = self._owner()
        os.chown(mail, owner.pw_uid, owner.pw_gid)
        write_certificate(self.folder)
        for profile in self.names:
            self._start(profile)

    def _owner(self) -> pwd.struct_passwd:
        """Who owns the mail: nobody's account as root, else whoever runs the tests."""
        if os.geteuid() != 0:
            return pwd.getpwuid(os.geteuid())
        return pwd.getpwnam("mail")

    def _start(self, name: str) -> None:
        # Another process may take a port between finding and using it: then once more with others.
        for _ in range(3):
            profile = Profile(*free_ports(2))
            root = os.geteuid() == 0
            me = pwd.getpwuid(os.geteuid()).pw_name
            base = self.folder / f"run-{name}-{profile.port}"
            base.mkdir()
            text = CONFIGURATION.format(
                base=base,
                password=PASSWORD,
                uid=self._owner().pw_uid,
                gid=self._owner().pw_gid,
                folder=self.folder,
                profile=name,
                port=profile.port,
                tls_port=profile.tls_port,
                internal="dovecot" if root else me,
                login="dovenull" if root else me,
                group="dovecot" if root else me,
                plugins="quota" if self._has_plugin("lib10_quota_plugin.so") else "",
                capabilities=f"  imap_capability = {ANNOUNCED[name]}" if name in ANNOUNCED else "",
            )
            if "quota" not in text.split("mail_plugins = ", 1)[1].split("\n", 1)[0]:
                text = text.replace("imap_quota", "")
            (self.folder / f"{name}.conf").write_text(text)
            process = self._run(name)
            if greets(profile.port, process):
                self.profiles[name] = dataclasses.replace(profile, pid=process.pid)
                return
        pytest.fail(f"Dovecot did not start: {self.log(name)}", pytrace=False)

    def _run(self, name: str) -> subprocess.Popen[bytes]:
        """A profile's server with the configuration it has."""
        with (self.folder / f"{name}.stderr").open("wb") as errors:
            process = subprocess.Popen(
                ["dovecot", "-F", "-c", str(self.folder / f"{name}.conf")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
                preexec_fn=die_with_the_tests,
            )
        self._processes.append(process)
        return process

    def restart(self, name: str) -> None:
        """One profile killed, every connection with it, and back on the same port."""
        port = self.profiles[name].port
        old = next(each for each in self._processes if each.pid == self.profiles[name].pid)
        self._processes.remove(old)
        end_group(old)
        process = self._run(name)
        if not greets(port, process):
            pytest.fail(f"Dovecot did not start again: {self.log(name)}", pytrace=False)
        self.profiles[name] = dataclasses.replace(self.profiles[name], pid=process.pid)

    @staticmethod
    def _has_plugin(name: str) -> bool:
        return any(Path("/usr/lib/dovecot").rglob(name)) or any(Path("/usr/lib64/dovecot").rglob(name))

    def log(self, name: str) -> str:
        """The end of what the server has to say."""
        texts = [self.folder / f"{name}.stderr", self.folder / f"{name}.log"]
        return "\n".join(each.read_text(errors="replace")[-2000:] for each in texts if each.exists())

    def stop(self) -> None:
        """Every process is gone afterwards, whatever it takes."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self._processes:
            end_group(process)

    def account(
        self, prefix: str = "box", *, profile: str = "full", tls: bool = False, quota_bytes: int | None = None
    ) -> MailAccount:
        """A new mailbox, reachable through `profile`. Dovecot reads the quota from the domain; 0 is none."""
        user = f"{prefix}{next(self._number)}@{quota_bytes or 0}"
        return self.through(MailAccount("localhost", 0, user, PASSWORD), profile, tls=tls)

    def empty(self, account: MailAccount) -> None:
        """Give back what a mailbox takes; nobody may be logged in."""
        shutil.rmtree(self.folder / "mail" / account.user, ignore_errors=True)

    def through(self, account: MailAccount, profile: str, *, tls: bool = False) -> MailAccount:
        """The same mailbox through another profile."""
        ports = self.profiles[profile]
        return MailAccount(
            "localhost",
            ports.tls_port if tls else ports.port,
            account.user,
            account.password,
            tls=tls,
            ca_file=str(self.ca_file) if tls else None,
        )


def end_group(process: subprocess.Popen[bytes]) -> None:
    """The server and all it has started are gone afterwards."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(5)


def die_with_the_tests() -> None:
    """In the child: the kernel ends it when the tests are killed and cannot (PR_SET_PDEATHSIG of Linux's prctl)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def greets(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Does the server greet within its time?"""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 2) as connection:
                if connection.recv(100).startswith(b"* OK"):
                    return True
        except OSError:
            pass
        time.sleep(0.05)
    return False


def write_certificate(folder: Path) -> None:
    """A certificate for localhost that clients can be told to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    """A running Dovecot, one for the whole session."""
    with running(Dovecot) as server:
        yield server
