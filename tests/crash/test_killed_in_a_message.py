"""Killed between the callback and the answer, at every point: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

from tests.crash.world import World, free_port, world

LINES = ("whoami", "language zh", "language en")
TWO = ("calvin", "tao")  # in turn: one alone would hear more than 25 messages in a minute, and be made to wait
POINTS = (
    "before the row is stored",
    "stored, not acknowledged",
    "acknowledged, not started",
    "started, not decided",
    "decided, not committed",
    "committed, not started",
    "before a text is sent",
    "text sent, answer not stored",
    "sent and stored, next not started",
)

POINTS_OF_THE_TAKER = POINTS[
    :3
]  # who decides and sends is whoever is first: the points after these are in the other test


def typed(world: World, member: str) -> threading.Thread:
    """He types three lines, one after the other, and WeCom sends each until it is taken."""

    def type_all() -> None:
        for line in LINES:
            world.say(member, line)

    thread = threading.Thread(target=type_all)
    thread.start()
    return thread


def answers(world: World, member: str, typing: threading.Thread, since: int) -> list[str]:
    """What he heard when all was settled."""
    typing.join(60)
    assert not typing.is_alive()
    world.wait_settled()
    return world.heard(member)[since:]


def check(point: str, heard: list[str], wanted: list[str]) -> None:
    """In order and once; a text whose answer was lost goes out again, because nobody can know better."""
    if point == "text sent, answer not stored":
        assert heard[0] == heard[1]
        heard = heard[1:]
    assert heard == wanted, point


def test_and_started_again(tmp_path: Path) -> None:
    """One process on SQLite; WeCom sends again what was not acknowledged."""
    with world(tmp_path / "data") as here:
        child = here.start()
        here.wait_ready()
        wanted = {member: answers(here, member, typed(here, member), 0) for member in TWO}
        assert all(len(each) >= len(LINES) for each in wanted.values())
        for member, point in zip(itertools.cycle(TWO), POINTS, strict=False):
            child.kill()
            child = here.start(point)
            since = len(here.heard(member))
            typing = typed(here, member)
            child.wait_killed()
            child = here.start()
            check(point, answers(here, member, typing, since), wanted[member])
        with here.store.begin() as tx:
            assert tx.audit.broken_at() is None


def test_and_another_takes_over(tmp_path: Path, postgres: str) -> None:
    """
    Two processes on PostgreSQL: the one at work is killed, and the other goes on with what it left.

    The other is frozen until then, so that it is certain who is at work.
    """
    with world(tmp_path / "data", postgres) as here:
        living = here.start(port=free_port())
        here.direct(living)
        here.wait_ready()
        wanted = {member: answers(here, member, typed(here, member), 0) for member in TWO}
        for member, point in zip(itertools.cycle(TWO), POINTS, strict=False):
            dying = here.start(port=free_port(), point=point)
            with living.frozen():
                here.direct(dying)
                since = len(here.heard(member))
                typing = typed(here, member)
                dying.wait_killed()
                here.direct(living)
            check(point, answers(here, member, typing, since), wanted[member])
        with here.store.begin() as tx:
            assert tx.audit.broken_at() is None
