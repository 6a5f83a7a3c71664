"""The named steps of the protocol: where a copy can be when it is killed, as an ear on the line hears them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from tests.bench.relay import Direction, End


class Then(Enum):
    """What becomes of the bytes in which the step was heard; the copy is killed at once, or when they have arrived."""

    LOST = "killed before they arrive"
    ARRIVED = "killed when they have arrived"
    HALF = "killed when half of them have arrived"


@dataclass(frozen=True)
class Step:
    """The `nth` time that `heard` comes from the client (or the server) of one side; a group in it is a set of UIDs."""

    name: str
    side: str  # source, target
    from_client: bool
    heard: re.Pattern[bytes]
    nth: int = 1
    then: Then = Then.LOST
    resumed: bool = False  # in the second run, after a first one was killed with answers under way


def step(name: str, side: str, speaker: str, heard: bytes, nth: int = 1, then: Then = Then.LOST) -> Step:
    return Step(name, side, speaker == "client", re.compile(heard), nth, then)


def resumed(name: str, side: str, speaker: str, heard: bytes, nth: int = 1, then: Then = Then.LOST) -> Step:
    return Step(name, side, speaker == "client", re.compile(heard), nth, then, resumed=True)


STORED = rb"\[APPENDUID \d+ ([\d:,]+)\]"  # each mail counts: one answer may be for several
APPEND = rb"(?:^|\n)\S+ APPEND "

STEPS = (
    step("source login", "source", "client", rb" LOGIN "),
    step("target login answered", "target", "server", rb"Logged in|CAPABILITY", then=Then.ARRIVED),
    step("target listed", "target", "server", rb"\* LIST "),
    step("root about to be made", "target", "client", rb" CREATE "),
    step("root made, answer lost", "target", "client", rb" CREATE ", then=Then.ARRIVED),
    step("a later folder made", "target", "client", rb" CREATE ", 4, Then.ARRIVED),
    step("mark asked for", "target", "client", rb" (?:SELECT|EXAMINE|STATUS) "),
    step("mark told", "target", "server", rb"\[UIDNEXT ", then=Then.ARRIVED),
    step("source listing asked for", "source", "client", rb"RFC822\.SIZE"),
    step("source listing half told", "source", "server", rb"RFC822\.SIZE", 20, Then.HALF),
    step("first mail asked for", "source", "client", rb"BODY\.PEEK\[\]"),
    step("first mail half read", "source", "server", rb"BODY\[\]", 1, Then.HALF),
    step("first APPEND sent", "target", "client", APPEND),
    step("first APPEND's line arrived", "target", "client", APPEND, then=Then.ARRIVED),
    step("go-ahead for a literal lost", "target", "server", rb"(?:^|\n)\+ ?"),
    step("go-ahead for a later literal told", "target", "server", rb"(?:^|\n)\+ ?", 9, Then.ARRIVED),
    step("a literal half sent", "target", "client", rb"Return-Path: ", 3, Then.HALF),
    step("a later literal half sent", "target", "client", rb"Return-Path: ", 90, Then.HALF),
    step("first stored, answer lost", "target", "server", STORED),
    step("first stored, answer told", "target", "server", STORED, then=Then.ARRIVED),
    step("stored, answer lost, in the middle", "target", "server", STORED, 50),
    step("a group of lines about to be committed", "target", "server", STORED, 64, Then.ARRIVED),
    step("all but the last stored", "target", "server", STORED, 119),
    step("last stored, answer lost", "target", "server", STORED, 120),
    step("last stored, answer told", "target", "server", STORED, 120, Then.ARRIVED),
    step("first stored mail looked at", "target", "client", rb"UID FETCH "),
    step("verification under way", "target", "server", rb"RFC822\.SIZE", 30, Then.HALF),
    step("leaving", "target", "client", rb" LOGOUT"),
    resumed("target looked through again", "target", "client", rb"UID FETCH [^\r]*RFC822\.SIZE"),
    resumed("unknown mail's bytes compared", "target", "client", rb"UID FETCH [^\r]*BODY\.PEEK\[\]"),
    resumed("unknown mail adopted, copying on", "target", "client", APPEND),
    resumed("stored again after a resume, answer lost", "target", "server", STORED, 5),
    resumed("second copy marked", "target", "client", rb"UID STORE ", then=Then.ARRIVED),
    resumed("second copy about to be removed", "target", "client", rb"UID EXPUNGE "),
    resumed("second copy removed, answer lost", "target", "client", rb"UID EXPUNGE ", then=Then.ARRIVED),
)


def mails_in(uids: bytes) -> int:
    """How many a set such as `3:5,9` names."""
    ends = [[int(end) for end in each.split(b":")] for each in uids.split(b",")]
    return sum(each[-1] - each[0] + 1 for each in ends)


class Ear:
    """Counts what is heard on all connections of a side; calls `kill` when the step is there."""

    def __init__(self, step: Step, kill: Callable[[float], None]) -> None:
        self.step, self.kill = step, kill
        self.times = 0
        self.done = False

    def hear(self, data: bytes, tail: bytes) -> int | None:
        """How many bytes of `data` may pass, None for all; `tail` is what came before, for words cut in two."""
        for match in self.step.heard.finditer(tail + data):
            if match.end() <= len(tail):
                continue  # counted before
            self.times += mails_in(match[1]) if match.lastindex else 1
            if self.times >= self.step.nth:
                self.done = True
                at = max(0, match.start() - len(tail))
                if self.step.then is Then.LOST:
                    return at
                return at + (len(data) - at) // 2 if self.step.then is Then.HALF else None
        return None


class Heard(End):
    """An end of a relay with an ear. Where a step takes bytes away, none follow: a stream has no holes."""

    def __init__(self, outward: Direction, inward: Direction, ear: Ear | None) -> None:
        super().__init__(outward, inward)
        self.ear = ear
        self.tail = b""
        self.ended = False

    def data_received(self, data: bytes) -> None:
        ear = self.ear
        if self.ended:
            return
        if ear is None or ear.done:
            super().data_received(data)
            return
        pass_on = ear.hear(data, self.tail)
        self.tail = (self.tail + data)[-200:]
        if not ear.done:
            super().data_received(data)
            return
        self.ended = pass_on is not None
        if pass_on is None or pass_on > 0:
            super().data_received(data[:pass_on])
        late = self.outward.delay + 0.005 if ear.step.then is not Then.LOST else 0.0
        ear.kill(late)


class Cut(End):
    """An end that breaks the connection after so many bytes."""

    def __init__(self, outward: Direction, inward: Direction, left: list[int]) -> None:
        super().__init__(outward, inward)
        self.left = left.pop(0) if left else None

    def data_received(self, data: bytes) -> None:
        if self.left is None:
            super().data_received(data)
            return
        super().data_received(data[: self.left])
        self.left -= min(len(data), self.left)
        if self.left == 0 and self.outward.came is not None:
            self.outward.came.abort()
