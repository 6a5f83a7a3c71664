"""The README shows the commands there are."""

import importlib.machinery
import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]


def script() -> ModuleType:
    """scripts/commands-table as a module."""
    loader = importlib.machinery.SourceFileLoader("commands_table", str(ROOT / "scripts" / "commands-table"))
    spec = importlib.util.spec_from_loader("commands_table", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_table_of_commands_is_the_handlers_own() -> None:
    """After a change of a command: scripts/commands-table."""
    text = (ROOT / "README.md").read_text("utf-8")
    assert script().table() in text
    assert script().rewritten(text) == text
