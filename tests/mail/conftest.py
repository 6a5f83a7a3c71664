"""Fixtures for the mail engine's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from bot.copy_command import ledger_engine
from storage.ledger import SqlLedger


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A ledger file."""
    made = ledger_engine(tmp_path / "ledger.sqlite")
    yield made
    made.dispose()


@pytest.fixture
def ledger(engine: Engine) -> SqlLedger:
    """A fresh ledger."""
    return SqlLedger(engine, "source", "target", "root")
