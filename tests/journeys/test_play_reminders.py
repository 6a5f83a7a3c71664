"""`exmail-bot sandbox --play reminders`: through a weekend and the National Day week, and it finds its own faults."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from bot.sandbox.plays import PLAYS, perform
from bot.sandbox.run import running
from tests.journeys.conftest import Bot


def test_the_play_comes_out_as_it_should(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It tells the conversation with the reasons and gives 0; played again, when nothing is as it begins, it fails."""
    play = PLAYS["reminders"]
    with running(tmp_path / "data", begins=play.begins, **play.settings) as sandbox, closing(Bot(sandbox)) as bot:
        bot.wait_ready()
        assert perform("reminders", bot.url) == 0
        told = capsys.readouterr().out
        for wanted in (
            "from a public holiday, to the working day before: 7 days before the last day (2026-10-04)",
            "from a weekend, to the working day before: 7 days before the last day (2026-10-17)",
            "bot to ling: Mailboxes in the recycle bin",
            "[checked] ahing@corp.test was lost",
        ):
            assert wanted in told
        assert perform("reminders", bot.url) == 1
        assert "failed" in capsys.readouterr().out
