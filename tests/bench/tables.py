"""What was measured, for a terminal and for docs/performance.md."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

NOT_MEASURED = "not measured"


@dataclass
class Table:
    """One section's result."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # what makes the run a failure: our copy is not exact

    def text(self) -> str:
        """With columns under each other."""
        rows = [self.columns, *self.rows]
        widths = [max(width(row[place]) for row in rows) for place in range(len(self.columns))]
        lines = [
            "  ".join(padded(cell, widths[place], place) for place, cell in enumerate(row)).rstrip() for row in rows
        ]
        return "\n".join(
            [f"\n{self.name}: {self.title}", *lines, *(f"  {each}" for each in self.remarks + self.failed)]
        )

    def markdown(self) -> str:
        """A heading, the table, the remarks."""
        rule = "| --- |" + " ---: |" * (len(self.columns) - 1)
        lines = ["| " + " | ".join(row) + " |" for row in [self.columns, *self.rows]]
        remarks = [f"- {each}" for each in self.remarks + self.failed]
        return "\n".join([f"**{self.title}**", "", lines[0], rule, *lines[1:], "", *remarks])


def width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def padded(text: str, wanted: int, place: int) -> str:
    space = " " * (wanted - width(text))
    return text + space if place == 0 else space + text


def check_markdown(file: Path, sections: Iterable[str]) -> None:
    """Before anything is measured: the document has a place for each. Raises SystemExit with what is to be mended."""
    for section in sections:
        place_in(file, section)


def write_markdown(file: Path, section: str, text: str) -> None:
    """Put `text` between `<!-- bench: SECTION -->` and `<!-- end of SECTION -->`; the marks must be there."""
    before, after = place_in(file, section)
    file.write_text(f"{before}\n{text.strip()}\n{after}", "utf-8")


def place_in(file: Path, section: str) -> tuple[str, str]:
    """What stands before and after a section's place. Raises SystemExit when there is none."""
    try:
        whole = file.read_text("utf-8")
    except OSError as error:
        raise SystemExit(f"{file} cannot be filled ({error.strerror}): name a copy of docs/performance.md.") from None
    begin, end = f"<!-- bench: {section} -->", f"<!-- end of {section} -->"
    found = re.search(f"{re.escape(begin)}\n.*?{re.escape(end)}", whole, re.DOTALL)
    if found is None:
        raise SystemExit(f"{file} has no place for {section}: write {begin} and {end} where it shall stand.")
    return whole[: found.start()] + begin, end + whole[found.end() :]
