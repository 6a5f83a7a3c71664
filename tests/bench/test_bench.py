"""The bench itself: that a copy which differs is noticed, and that the relay holds bytes as long as it says."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from tests.bench import __main__ as bench
from tests.bench import mailbox, relay, tables
from tests.bench.reading import compare, contents
from tests.bench.sections import SECTIONS, Target, cpu_words
from tests.servers.dovecot import Dovecot

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"


def test_what_was_filled_is_what_is_read(dovecot: Dovecot) -> None:
    """Flags, keywords, dates, twins and raw bytes: the reader sees what the writer wrote, by its own way."""
    mails = [mail for mail in islice(mailbox.ordinary(400, 1), 400) if len(mail.raw) < 30_000]
    filled = mailbox.fill("box", dovecot.account(), iter([*mails, mails[0]]))
    found = {name.removeprefix("其他文件夹/"): each for name, each in contents(filled.account, "其他文件夹").items()}
    wanted = {
        name.removeprefix("其他文件夹/"): each
        for name, each in filled.contents.items()
        if name.startswith("其他文件夹/")
    }
    assert compare(wanted, found).exact
    assert sum(each.total() for each in wanted.values()) > 50


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([("a", "", 1), ("b", "x", 2), ("b", "x", 2)], "yes"),
        ([("a", "", 1), ("b", "x", 2)], "no: 1 lost"),
        ([("a", "", 1), ("b", "x", 2), ("b", "x", 2), ("b", "x", 2)], "no: 1 too many"),
        ([("a", "", 1), ("b", "x", 2), ("c", "x", 2)], "no: 1 altered"),
        ([("d", "", 1), ("c", "x", 2), ("c", "x", 2)], "no: every mail is altered"),
        ([("a", "", 1), ("b", "", 2), ("b", "x", 2)], "no: 1 other flags"),
        ([("a", "", 5), ("b", "x", 2), ("b", "x", 2)], "no: 1 other dates"),
    ],
)
def test_a_difference_is_named(found: list[tuple[str, str, int]], words: str) -> None:
    wanted = {"INBOX": Counter({("a", "", 1): 1, ("b", "x", 2): 2})}
    assert compare(wanted, {"INBOX": Counter(found)}).words() == words
    assert not compare(wanted, {"Elsewhere": Counter(found)}).exact


def test_an_absent_copier_is_no_ratio() -> None:
    goal = Target("ours", 10, "imapsync")
    assert goal.words({"ours": 50.0}) == "ours, goal 10x imapsync: not measured"
    assert goal.words({"ours": 50.0, "imapsync": 4.0}).endswith("12.5x imapsync, met")
    assert goal.words({"ours": 50.0, "imapsync": 40.0}).endswith("NOT MET")
    assert goal.words({}) == "ours: not measured"


def test_the_start_is_told_apart_from_what_a_message_costs() -> None:
    words = cpu_words("ours", (5_000, 1_000), (1.2, 0.4), 0.19)
    assert "1,000 messages more 0.20 s, met" in words
    assert "0.24 s for 1,000, NOT MET; the start alone 0.19 s" in words


def test_the_relay_holds_bytes() -> None:
    """As long as it says, and it is no bottleneck: a whole mailbox of the bench (200 MB) passes in seconds."""
    distance = relay.measured(20.0, sample_bytes=20_000_000)
    assert 19.0 <= distance.round_trip_ms <= 60.0
    assert distance.megabytes_per_second > 20


def test_tables_fill_their_places(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(DOCUMENT.read_text("utf-8"), "utf-8")
    number = str(random.Random(1).random())
    for section in (*SECTIONS, "machine"):
        tables.write_markdown(document, section, f"{section} {number}")
    text = document.read_text("utf-8")
    assert text.count(number) == len(SECTIONS) + 1
    assert "| copier |" not in text, "the tables of before are gone"
    with pytest.raises(SystemExit, match="no place"):
        tables.write_markdown(document, "elsewhere", "")


def test_a_document_that_cannot_be_filled_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*_: object, **__: object) -> None:
        raise AssertionError("it was measured")

    monkeypatch.setattr(bench, "running", measured)
    monkeypatch.setattr(bench.relay, "measured", measured)
    page = tmp_path / "page.md"
    for words in ("cannot be filled", "no place for planning"):
        monkeypatch.setattr("sys.argv", ["bench", "--only", "planning", "--markdown", str(page)])
        with pytest.raises(SystemExit, match=words):
            bench.main()
        page.write_text("# Performance", "utf-8")
