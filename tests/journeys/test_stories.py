"""Stories as files: each comes out as it says; what people do is recorded as one, and plays again."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bot.sandbox.plays import perform
from bot.sandbox.run import running
from bot.sandbox.story import SHIPPED, find, load
from tests.journeys.backup_steps import tidy
from tests.journeys.conftest import Bot

HERE = Path(__file__).parents[1] / "stories"
STORIES = sorted([*SHIPPED.glob("*.json"), *HERE.glob("*.json")])
TOLD = {  # of what is printed
    "reminders": (
        "from a public holiday, to the working day before: 7 days before the last day (2026-10-04)",
        "from a weekend, to the working day before: 7 days before the last day (2026-10-17)",
    ),
    "domain": ("--- what is wrong with newcorp.test ---", "mei> 域名 配置 shop.test"),
}


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_a_story_comes_out_as_it_says(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own expectations hold, 0 is given; no key is left behind."""
    story = load(path)
    with running(tmp_path / "data", begins=story.begins, **story.given()) as sandbox, closing(Bot(sandbox)) as bot:
        came_out = perform(story, bot.url)
        told = capsys.readouterr().out
        assert came_out == 0, told
        assert all(each in told for each in TOLD.get(path.stem, ()))
        tidy(bot)


def test_what_is_done_on_the_page_is_recorded_and_plays_again(bot: Bot) -> None:
    """Typed, pressed, given on pages, done in consoles: the file has it without what only this organisation knows."""
    bot.console("dns_remove", domain="shop.test", record=bot.state()["zones"][2]["records"][0]["id"])
    bot.trouble("busy", times=1, path="media/upload")
    bot.say("mei", "backup ahing to support@ because he leaves")
    bot.hear("ahing", "/pages/")
    bot.enter("ahing", bot.client_password("ahing@corp.test"))
    bot.press("mei", "cancel:")
    bot.hear("mei", "cancelled")
    bot.console("receive_mail", address="ahing@corp.test", text="hello", sender="wang@elsewhere.test")
    bot.advance(60)

    kept = bot.get("story/file", name="mine")
    done = [each for each in kept["steps"] if "do" in each]
    assert {"do": "page", "member": "ahing", "mailbox": "ahing@corp.test"} in done
    assert {"do": "press", "member": "mei", "button": "cancel:"} in done
    assert [each["do"] for each in done] == ["console", "trouble", "say", "page", "press", "console", "clock"]
    assert (done[0]["record_type"], done[0]["text"], "record" in done[0]) == ("MX", "smtp.secureserver.net", False)
    text = json.dumps(kept, ensure_ascii=False)
    for secret in ("task_id", "127.0.0.1", bot.link("ahing").rpartition("/")[2]):
        assert secret not in text
    assert {"expect": "mailbox", "name": "ahing@corp.test", "is": {"mails": 222}} in kept["steps"]

    ended = played(bot, kept)
    assert ended["failed"] is None, "\n".join(ended["told"])
    assert bot.mailbox("ahing@corp.test")["mails"] == 222
    again = bot.get("story/file", name="mine")
    assert [each for each in again["steps"] if "do" in each] == done
    assert datetime.fromisoformat(again["begins"]) == datetime.fromisoformat(kept["begins"])

    kept["steps"][-1]["is"]["mails"] = 223
    kept["steps"] = [kept["steps"][0], kept["steps"][-1]]
    assert "mails is 221, not 223" in played(bot, kept)["failed"]


def played(bot: Bot, story: dict[str, Any]) -> Any:
    """A story played on the page's own sandbox, to its end."""
    bot.post("story/play", story=story)
    bot.wait("it has ended", lambda: bot.get("story")["show"]["ended"])
    return bot.get("story")["show"]


def test_the_stories_that_come_along_are_found_by_name() -> None:
    """As `--play` names them."""
    assert [find(each.stem).story for each in SHIPPED.glob("*.json")]
