"""A PostgreSQL server for each worker, and a new database in it for each test that asks for `postgres`."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

START_SECONDS_MAX = 30.0
START_ATTEMPTS_MAX = 3  # a port seen free may be taken before the server binds it
QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}

_numbers = itertools.count(1)


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database (`postgresql+psycopg://…`), dropped afterwards with whatever is still connected."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield f"{postgres_server.replace('postgresql:', 'postgresql+psycopg:')}/{name}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """`postgresql://postgres@127.0.0.1:PORT` of a server that lives as long as the test session."""
    with serving() as url:
        yield url


@contextmanager
def serving() -> Iterator[str]:
    """A server of its own, with the superuser's URL; it is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="exmail-bot-postgres-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        log = folder / "initdb.log"
        with log.open("wb") as output:
            initdb = [binary("initdb"), "--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8"]
            made = subprocess.run([*initdb, "-D", folder / "data"], stdout=output, stderr=output, **as_postgres())
        assert made.returncode == 0, log.read_text()
        for attempt in range(START_ATTEMPTS_MAX):
            server, port = start(folder)
            try:
                if answers(server, port):
                    yield f"postgresql://postgres@127.0.0.1:{port}"
                    return
            finally:
                stop(server)
            assert attempt + 1 < START_ATTEMPTS_MAX, (folder / "server.log").read_text()
    finally:
        shutil.rmtree(folder)


def start(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start the server on a free port; it goes when we go, even by kill -9 (where there is `setpriv`)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [binary("postgres"), "-D", folder / "data", "-p", str(port), "-k", folder, "-h", "127.0.0.1"]
    command += [part for name, value in QUICK.items() for part in ("-c", f"{name}={value}")]
    if shutil.which("setpriv"):
        command = ["setpriv", "--pdeathsig", "INT", *command]
    with (folder / "server.log").open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, **as_postgres()), port


def answers(server: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the server came up; False when it ended instead (the port was taken)."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while server.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", connect_timeout=5).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return server.poll() is None
    return False


def stop(server: subprocess.Popen[bytes]) -> None:
    """Stop it: a fast shutdown first, then without asking."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if server.poll() is None:
            server.send_signal(number)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            continue
        return


def binary(name: str) -> str:
    """The newest installed `name`; Debian keeps the servers off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda each: int(each.parts[4]))
    path = str(found[-1]) if found else shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is missing. On Debian or Ubuntu: sudo apt-get install postgresql", pytrace=False)
    return path


def as_postgres() -> dict[str, object]:
    """PostgreSQL refuses to run as root: options for subprocess that make it user postgres then."""
    if os.geteuid() != 0:
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": "/"}
