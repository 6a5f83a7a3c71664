"""A mail server of the tests for a while: in a folder of its own, and both gone afterwards, whatever happened."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar


class Server(Protocol):
    """Processes that keep what they have in one folder."""

    def start(self) -> None:
        """Up and greeting."""

    def stop(self) -> None:
        """No process is left, also of one that did not start."""


Some = TypeVar("Some", bound=Server)


@contextmanager
def running(make: Callable[[Path], Some], *, place: Path | None = None) -> Iterator[Some]:
    """What `make` makes in a new folder (below `place`), started."""
    with tempfile.TemporaryDirectory(prefix="exmail-bot-", dir=place, ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the servers give up being root
        server = make(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()
