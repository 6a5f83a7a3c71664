"""Fixtures for the mail engine's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.ledger import SqlLedger
from storage.ledger_file import LedgerFile


@pytest.fixture
def ledger_file(tmp_path: Path) -> Iterator[LedgerFile]:
    """A ledger file."""
    made = LedgerFile(tmp_path / "ledger.sqlite")
    yield made
    made.close()


@pytest.fixture
def ledger(ledger_file: LedgerFile) -> SqlLedger:
    """A fresh ledger."""
    return SqlLedger(ledger_file, "source", "target", "root")
