"""
A relay on loopback that holds every byte for a while, both ways, as a distant server would.

One request and its answer cost twice the delay; at most a window of bytes is under way in each direction of a
connection, as TCP's own window would have it. No loss, no thin line: it models the distance, nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
WINDOW_BYTES = 4 << 20
TICK_SECONDS = 0.0005  # the selector rounds up to whole milliseconds: half of one too early is right on average
SAMPLE_BYTES = 256_000_000
EXCHANGES = 25


class Direction:
    """Bytes on their way from one end to the other."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.loop = asyncio.get_running_loop()
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.held = 0
        self.paused = self.blocked = self.ended = False
        self.came: asyncio.Transport | None = None
        self.goes: asyncio.Transport | None = None
        self.timer: asyncio.TimerHandle | None = None

    def put(self, data: bytes) -> None:
        """An empty piece is the end."""
        self.waiting.append((self.loop.time() + self.delay, data))
        self.held += len(data)
        if self.held >= WINDOW_BYTES and not self.paused and self.came is not None:
            self.paused = True
            self.came.pause_reading()
        self.arm()

    def arm(self) -> None:
        if self.timer is None and self.waiting and self.goes is not None and not self.blocked:
            self.timer = self.loop.call_at(self.waiting[0][0] - TICK_SECONDS, self.pass_on)

    def pass_on(self) -> None:
        self.timer = None
        now = self.loop.time() + TICK_SECONDS
        assert self.goes is not None
        while self.waiting and self.waiting[0][0] <= now and not self.blocked:
            data = self.waiting.popleft()[1]
            self.held -= len(data)
            if data:
                self.goes.write(data)
            else:
                self.goes.close()
        if self.paused and self.held < WINDOW_BYTES and self.came is not None and not self.came.is_closing():
            self.paused = False
            self.came.resume_reading()
        self.arm()


class End(asyncio.Protocol):
    """One side of a relayed connection: reads into `outward`, is written to by `inward`."""

    def __init__(self, outward: Direction, inward: Direction) -> None:
        self.outward, self.inward = outward, inward

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.set_write_buffer_limits(high=WINDOW_BYTES)
        self.outward.came = self.inward.goes = transport
        self.inward.arm()

    def data_received(self, data: bytes) -> None:
        self.outward.put(data)

    def pause_writing(self) -> None:
        self.inward.blocked = True

    def resume_writing(self) -> None:
        self.inward.blocked = False
        self.inward.arm()

    def connection_lost(self, error: Exception | None) -> None:
        self.outward.put(b"")
        self.inward.waiting.clear()


Pair = Callable[[Direction, Direction], tuple[End, End]]
"""(bytes there, bytes back) -> the client's end and the server's."""


def both_ends(there: Direction, back: Direction) -> tuple[End, End]:
    """Ends that only pass on."""
    return End(there, back), End(back, there)


async def listen(delay: float, target: int, pair: Pair = both_ends) -> asyncio.Server:
    """A port that leads to `target`, on which nobody may listen for the moment."""
    loop = asyncio.get_running_loop()
    tasks = set()

    def accepted() -> End:
        client, server = pair(Direction(delay), Direction(delay))

        async def connect() -> None:
            await asyncio.sleep(delay)
            try:
                await loop.create_connection(lambda: server, "127.0.0.1", target)
            except OSError:
                if client.inward.goes is not None:
                    client.inward.goes.abort()

        task = loop.create_task(connect())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return client

    return await loop.create_server(accepted, "127.0.0.1", 0, backlog=200)


def port_of(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


async def serve(delay: float, targets: list[int]) -> None:
    """Print a line of ports, one for each target, and relay until killed."""
    servers = [await listen(delay, target) for target in targets]
    print(*map(port_of, servers), flush=True)
    await asyncio.get_running_loop().create_future()


@contextlib.contextmanager
def relayed(targets: Sequence[int], round_trip_ms: float) -> Iterator[list[int]]:
    """Ports that lead to `targets` through a relay in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.relay", str(round_trip_ms / 2_000), *map(str, targets)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield [int(port) for port in process.stdout.readline().split()]
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


@dataclass(frozen=True)
class Distance:
    """What the relay is like on this machine."""

    round_trip_ms: float
    megabytes_per_second: float
    cpu_seconds_per_gigabyte: float

    def words(self) -> str:
        return (
            f"relay: {self.round_trip_ms:.1f} ms a round trip, carries {self.megabytes_per_second:.0f} MB/s "
            f"on one connection, {self.cpu_seconds_per_gigabyte:.1f} s of CPU a gigabyte"
        )


def measured(round_trip_ms: float, sample_bytes: int = SAMPLE_BYTES) -> Distance:
    """Bounce single bytes for the round trip, then pour many for the speed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=bounce_and_pour, args=(server, sample_bytes), daemon=True)
        thread.start()
        with (
            relayed([server.getsockname()[1]], round_trip_ms) as (port,),
            socket.create_connection(("127.0.0.1", port), 60) as connection,
        ):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            trips = []
            for _ in range(EXCHANGES):
                began = time.perf_counter()
                connection.sendall(b"?")
                connection.recv(1)
                trips.append(time.perf_counter() - began)
            cpu_before, began, got = children_cpu(), time.perf_counter(), 0
            connection.sendall(b"!")
            while got < sample_bytes:
                got += len(connection.recv(1 << 20))
            seconds = time.perf_counter() - began - round_trip_ms / 1_000
            cpu = children_cpu() - cpu_before
        thread.join(10)
    return Distance(1_000 * statistics.median(trips), sample_bytes / 1e6 / seconds, cpu / sample_bytes * 1e9)


def bounce_and_pour(server: socket.socket, sample_bytes: int) -> None:
    connection, _ = server.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while connection.recv(1) == b"?":
            connection.sendall(b"?")
        block = bytes(1 << 20)
        for _ in range(sample_bytes // len(block) + 1):
            try:
                connection.sendall(block)
            except OSError:
                return


def children_cpu() -> float:
    """CPU seconds of the processes this one has started and that still run (the relay is the only one then)."""
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rsplit(") ", 1)[1].split()
                if int(fields[1]) == os.getpid():
                    total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(float(sys.argv[1]), [int(each) for each in sys.argv[2:]]))
