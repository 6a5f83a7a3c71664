"""The format of stories: a bad file is told where and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.cli import main
from bot.sandbox.story import BadStory, find, read

SAY = {"do": "say", "member": "mei", "text": "help"}


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([SAY, {"do": "jump"}], "step 2 (do jump): no such step; there are: do say, do press"),
        ([{"member": "mei"}], "step 1 (neither do, expect nor tell): no such step"),
        ([SAY, SAY, {"do": "press", "member": "mei"}], "step 3 (do press): button is missing"),
        ([{**SAY, "txet": "help"}], "step 1 (do say): txet is not known here"),
        ([{"do": "clock"}], "step 1 (do clock): give one of advance_seconds, to, until"),
        ([{"do": "page", "member": "mei"}], "(do page): give one of mailbox, password, account, fields, decline"),
        ([{"expect": "heard", "member": "mei"}], "give text, exactly, matches or buttons"),
        ([{"expect": "heard", "member": "mei", "matches": "("}], "( is no regular expression"),
        ([{"expect": "heard", "member": "mei", "text": "x", "keep": {"n": "abc"}}], "abc needs one group"),
        ([{"do": "trouble", "switch": "busy", "on": "often"}], "(do trouble): on: Input should be a valid boolean"),
        ([], "steps: List should have at least 1 item"),
        ("many", "steps: Input should be a valid list"),
        ([SAY | {"x": 1}] * 7, "and 2 more"),
    ],
)  # fmt: skip
def test_a_bad_story_is_told(steps: Any, said: str) -> None:
    """In words, with the number of the step."""
    with pytest.raises(BadStory) as refused:
        read({"story": "bad", "steps": steps})
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "is not JSON: line 1, column 2"),
        (b"\xff", "is not UTF-8 text"),
        (b"[]", "Input should be a valid dictionary"),
        (b'{"story": "x", "steps": [], "settings": {"bot_data_dir": "/"}}', "settings.bot_data_dir"),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_on_the_command_line(
    content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is started; a wrong name lists what there is."""
    file = tmp_path / "story.json"
    file.write_bytes(content)
    assert main(["sandbox", "--play", str(file)]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert str(file) in told
    with pytest.raises(BadStory, match=r"cannot be read: No such file"):
        find(str(tmp_path / "nothing.json"))
    with pytest.raises(BadStory, match=r"no story reasign; there are: backup, domain, reassign, reminders"):
        find("reasign")
