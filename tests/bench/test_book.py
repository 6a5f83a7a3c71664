"""The bench of the book measures what it says: a sweep that reminds, with the same entries due each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import book


def test_every_round_has_the_same_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLite, small; each figure is of work that was done (`take` and the first sweep check it themselves)."""
    monkeypatch.setattr(book, "ROUNDS", 2)
    nothing, taken, whole = book.measure(f"sqlite:///{tmp_path / 'book.sqlite'}", 300)
    assert 0 < nothing < whole
    assert 0 < taken < whole
