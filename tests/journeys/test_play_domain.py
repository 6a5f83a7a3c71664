"""`exmail-bot sandbox --play domain`: the story runs without a page and finds its own faults."""

from __future__ import annotations

import pytest

from bot.sandbox.plays import perform
from tests.journeys.conftest import Bot


def test_the_play_comes_out_as_it_should(bot: Bot, capsys: pytest.CaptureFixture[str]) -> None:
    """It tells the conversation and gives 0; no key is left behind."""
    assert perform("domain", bot.url) == 0
    told = capsys.readouterr().out
    for wanted in (
        "--- what is wrong with newcorp.test ---",
        "mei> 域名 配置 shop.test",
        "[checked] both domains are right",
    ):
        assert wanted in told
    with bot.store.begin() as tx:
        assert not tx.passwords.all()
        assert tx.audit.broken_at() is None
