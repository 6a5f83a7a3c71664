"""`exmail-bot sandbox --play reassign`: the story runs without a page and finds its own faults."""

from __future__ import annotations

import pytest

from bot.sandbox.plays import perform
from tests.journeys.conftest import Bot


def test_the_play_comes_out_as_it_should(bot: Bot, capsys: pytest.CaptureFixture[str]) -> None:
    """It tells the conversation and gives 0."""
    assert perform("reassign", bot.url) == 0
    told = capsys.readouterr().out
    for wanted in ("--- what Calvin loses is saved first ---", "mei> 完成", "[checked] ahing@corp.test is Calvin's"):
        assert wanted in told
