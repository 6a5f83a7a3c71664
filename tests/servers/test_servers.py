"""The ground the other tests stand on is tried too."""

from __future__ import annotations

import asyncio
import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests import conftest
from tests.servers.chromium import browsing, looking
from tests.servers.running import running
from tests.servers.tables import Kept

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("_time", ["first", "second"])
def test_every_test_has_a_database_of_its_own(postgres: str, _time: str) -> None:
    """Tables of one test are not seen by the next, and a connection left open does not stop the clean-up."""
    engine = create_engine(postgres)
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE there (id int)"))
        connection.commit()
        assert connection.scalar(text("SHOW server_encoding")) == "UTF8"
    engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_kept_database_is_as_new_each_time(kind: str, request: pytest.FixtureRequest) -> None:
    """No rows, numbers from one, no settings; and a transaction left open does not stop the clean-up."""
    kept: Kept = request.getfixturevalue(f"kept_{kind}")
    for _ in range(2):
        with closing(kept.opened(lambda: datetime.now(UTC))) as store:
            left = create_engine(kept.url).connect()
            left.execute(text("SELECT count(*) FROM jobs"))
            with store.begin() as tx:
                assert tx.jobs.add("lookup", asked_by="mei", params={}).id == 1
                tx.audit.add("mei", "tried", "a")
            with store.begin() as tx:
                assert [each.what for each in tx.audit.entries()] == ["tried"]
        left.invalidate()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A small web site on loopback."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path), **options)  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "index.html").write_text("<meta charset=utf-8><link rel=icon href=data:,><h1>其他文件夹</h1>", "utf-8")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join(10)


def test_a_page_is_seen_and_leaves_no_event_loop(site: str) -> None:
    """Chromium shows a page of ours, with Chinese text; a later test of the same worker can run a loop of its own."""
    with browsing() as browser, looking(browser) as page:
        page.goto(site)
        assert page.inner_text("h1") == "其他文件夹"
        assert page.screenshot()[:4] == b"\x89PNG"
    asyncio.run(asyncio.sleep(0))


@pytest.mark.parametrize(
    "reach",
    [
        lambda: socket.create_connection(("192.0.2.1", 993), 0.1),
        lambda: socket.getaddrinfo("imap.example.org", 993),
        lambda: socket.socket().bind(("0.0.0.0", 0)),  # noqa: S104 # this is what must be refused
        lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"", ("192.0.2.1", 53)),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the socket is dropped where it was refused
def test_a_test_cannot_leave_the_machine(reach: object) -> None:
    """Connecting, resolving, sending and listening are refused, and remembered should the code swallow the refusal."""
    with pytest.raises(conftest.LeavesTheMachine):
        reach()  # type: ignore[operator]
    assert conftest._left
    conftest._left.clear()


def test_loopback_is_free() -> None:
    """What tests are for goes through."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), 5):
        pass


@pytest.mark.parametrize("fails", ["start", "use", ""])
def test_a_server_is_stopped_and_its_folder_gone(fails: str) -> None:
    """Also when it did not start, or what used it failed."""
    stopped: list[Path] = []

    class Server:
        def __init__(self, folder: Path) -> None:
            self.folder = folder

        def start(self) -> None:
            (self.folder / "mail").touch()
            if fails == "start":
                raise OSError(fails)

        def stop(self) -> None:
            assert (self.folder / "mail").exists(), "its processes are ended first"
            stopped.append(self.folder)

    with suppress(OSError), running(Server):
        if fails == "use":
            raise OSError(fails)
    assert len(stopped) == 1
    assert not stopped[0].exists()


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's child subreapers")
def test_a_contained_command_leaves_nothing() -> None:
    """A daemon that a command left behind is named, ended, and makes the command fail."""
    daemon = (
        "import subprocess, sys; subprocess.Popen(['sleep', '313'], start_new_session=True, stderr=-3); print('done')"
    )
    contained = [sys.executable, ROOT / "scripts" / "contained.py", sys.executable, "-c"]
    done = subprocess.run([*contained, daemon], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "done\n")
    assert "sleep 313" in done.stderr
    pid = int(done.stderr.partition("now: ")[2].split()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert subprocess.run([*contained, "exit(3)"], timeout=60).returncode == 3
