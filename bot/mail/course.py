"""What one call of a copy has come to so far: every part of it writes down here what the others must know."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from bot.mail.digest import Digest
from bot.mail.flow import Key, Trouble
from bot.mail.ledger import Line
from bot.mail.notes import Note
from bot.mail.reconcile import Found
from bot.mail.work import Job


@dataclass(eq=False)
class Course:
    """Numbers are of this call, but for `already`."""

    jobs: list[Job] | None = None  # None: both sides are to be looked at
    notes: list[Note] = field(default_factory=list)
    doubtful: set[int] = field(default_factory=set)  # folders in whose targets something of ours may lie unknown
    troubles: dict[Key, Trouble] = field(default_factory=dict)
    waiting: dict[Key, float] = field(default_factory=dict)  # seconds until a mail that was refused as busy goes again
    already: int = 0  # stored by earlier calls
    stored: int = 0
    size_bytes: int = 0
    refused: int = 0
    adopted: int = 0
    removed: int = 0
    reconnects: int = 0
    refused_in_a_row: int = 0
    busy_in_a_row: int = 0
    cooldowns: int = 0
    first: tuple[Job, int, Line, Digest] | None = None  # the first mail stored: to be looked at
    folder: str = ""  # display, where the copy is
    began: float = field(default_factory=time.monotonic)

    def add_notes(self, notes: list[Note]) -> None:
        """Each once."""
        self.notes += [note for note in notes if note not in self.notes]

    def took(self, found: Found) -> None:
        """What a look through the target has found."""
        self.adopted += found.adopted
        self.removed += found.removed
        self.add_notes(found.notes)

    def doubt_all(self) -> None:
        """Every folder is to be looked through."""
        self.doubtful |= {job.record.id for job in self.jobs or []}
