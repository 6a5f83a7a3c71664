"""Dates, flags, refusals and headers as real servers write them."""

from __future__ import annotations

import ast
import tomllib
from datetime import date
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.mail import quirks
from bot.mail.digest import Digest
from bot.mail.quirks import Refused
from bot.sandbox.mailserver import FAULTS, TROUBLES

HERE = Path(__file__).parent
QUIRKS = tomllib.loads((HERE / "quirks.toml").read_text("utf-8"))
NOT_OF_A_COPY = {
    "login_throttled": "a login that is refused is never tried again: login_wants_code shows the same",
    "login_limit": "the same",
}
"""Switches of the simulated server that no test of the copy turns, and why."""


@cache
def functions(file: Path) -> frozenset[str]:
    """The tests a file has."""
    nodes = ast.walk(ast.parse(file.read_text("utf-8")))
    return frozenset(each.name for each in nodes if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_quirk_has_its_row() -> None:
    """118 of them, each with tests or with the reason why there is none."""
    assert sorted(map(int, QUIRKS)) == list(range(1, 119))
    for number, row in QUIRKS.items():
        assert row["quirk"], number
        assert ("tests" in row) != ("not_applicable" in row), number


@pytest.mark.parametrize("number", [number for number, row in QUIRKS.items() if "tests" in row])
def test_the_tests_of_a_quirk_are_there(number: str) -> None:
    for name in QUIRKS[number]["tests"]:
        path, _, function = name.partition("::")
        file = HERE.parents[1] / path if "/" in path else HERE / path
        assert function in functions(file), f"quirk {number}: {name} is not there"


def test_every_switch_is_turned_by_a_test_of_the_copy() -> None:
    """A fault that the simulated server can show and nobody copies through is a promise not kept."""
    others = [each for each in HERE.glob("test_*.py") if each != Path(__file__)]
    text = "\n".join(each.read_text("utf-8") for each in others)
    turned = {name for name in FAULTS if f'"{name}"' in text}
    assert set(FAULTS) - turned == set(NOT_OF_A_COPY)
    assert "TROUBLES" in text or all(f'"{name}"' in text for name in TROUBLES)


@pytest.mark.parametrize(
    ("text", "strict"),
    [
        (" 4-Jan-2015 08:00:00 +0800", " 4-Jan-2015 08:00:00 +0800"),
        ("4-Jan-2015 08:00:00 +0800", " 4-Jan-2015 08:00:00 +0800"),
        ("14-feb-2020 23:59:60 -0330", "14-Feb-2020 23:59:59 -0330"),
        ("04-Jan-2015 8:00:00", " 4-Jan-2015 08:00:00 +0000"),
        ("nonsense", ""),
        ("", ""),
        ("31-Feb-2015 08:00:00 +0800", ""),
        ("30-Feb-2015 08:00:00 +0800", ""),
        ("30-Jan-2015 08:00:00 +0800", "30-Jan-2015 08:00:00 +0800"),
        ("04-Jan-2015 08:00:00 +0800", " 4-Jan-2015 08:00:00 +0800"),
        ("00-Jan-2015 08:00:00 +0800", ""),
    ],
)
def test_dates_are_read_leniently_and_written_strictly(text: str, strict: str) -> None:
    assert quirks.strict_internaldate(text) == strict


def test_since_goes_by_the_date_as_it_is_written() -> None:
    assert quirks.dated_since("04-Jan-2015 00:30:00 +0800", date(2015, 1, 4))
    assert not quirks.dated_since("03-Jan-2015 23:30:00 -0800", date(2015, 1, 4))
    assert quirks.dated_since("nonsense", date(2015, 1, 4)), "what has no date is kept"


@pytest.mark.parametrize(
    ("flags", "permanent", "sent", "dropped"),
    [
        ("\\SEEN \\Recent todo", None, "\\Seen todo", False),
        ("\\Seen \\Deleted", None, "\\Seen", False),
        ("\\Seen todo", frozenset({"\\seen"}), "\\Seen", True),
        ("todo", frozenset({"\\*"}), "todo", False),
        ("Todo", frozenset({"todo"}), "Todo", False),
        ("\\Forwarded \\Junk", None, "", True),
        ("bad{key", None, "", True),
        ("\\Seen \\seen", None, "\\Seen", False),
    ],
)
def test_flags_are_what_a_target_takes(flags: str, permanent: frozenset[str] | None, sent: str, dropped: bool) -> None:
    assert quirks.sendable_flags(flags, permanent) == (sent, dropped)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("[TRYCREATE] Mailbox doesn't exist: x", Refused.NO_FOLDER),
        ("Folder not exist!", Refused.NO_FOLDER),
        ("[OVERQUOTA] Quota exceeded", Refused.QUOTA),
        ("Mailbox full", Refused.QUOTA),
        ("[TOOBIG] Message too large", Refused.TOO_BIG),
        ("Message size exceeds fixed limit", Refused.TOO_BIG),
        ("System busy", Refused.BUSY),
        ("[UNAVAILABLE] later", Refused.BUSY),
        ("Message contains NUL characters", Refused.CONTENT),
        ("Message contains invalid header", Refused.CONTENT),
        ("APPEND Invalid flag list", Refused.FLAGS),
        ("Invalid system flag \\FORWARDED", Refused.FLAGS),
        ("no", Refused.OTHER),
    ],
)
def test_refusals_are_sorted(text: str, meaning: Refused) -> None:
    assert quirks.why_refused(text) is meaning


@pytest.mark.parametrize(
    ("raw", "subject"),
    [
        (b"Subject: plain\r\n\r\n", "plain"),
        (b"A: b\r\nsubject: =?UTF-8?B?5byg5Lyf?=\r\n =?UTF-8?B?5byg?=\r\n\r\n", "张伟张"),
        (b"Subject: " + "合同".encode("gb18030") + b"\r\n\r\n", "合同"),
        (b"Subject: =?unknown-8bit?Q?caf=E9?=\r\n\r\n", "café"),
        (b"X: y\r\n\r\nSubject: in the body\r\n", ""),
        (b"Subject: =?utf-8?B?!!!?=\r\n\r\n", None),
        (b"", ""),
    ],
)
def test_headers_are_read_for_people(raw: bytes, subject: str | None) -> None:
    found = quirks.header_of(raw, "Subject")
    assert subject is None or found == subject


@given(st.binary(max_size=200))
def test_no_header_is_an_error(raw: bytes) -> None:
    quirks.header_of(b"Subject: " + raw, "Subject")


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6))
def test_a_digest_does_not_depend_on_the_pieces(raw: bytes, cuts: list[int]) -> None:
    whole, pieces = Digest(), Digest()
    whole.update(raw)
    places = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    for low, high in pairwise(places):
        pieces.update(raw[low:high])
    assert (whole.sha256, whole.identity) == (pieces.sha256, pieces.identity)


def test_identity_survives_added_headers() -> None:
    one, two, other = Digest(), Digest(), Digest()
    one.update(b"From: a\r\nSubject: b\r\n\r\nbody")
    two.update(b"X-Added: c\r\nFrom: a\r\nSubject:  b\r\n\r\nbody\r\n")
    other.update(b"From: a\r\nSubject: b\r\n\r\nBody")
    assert one.identity == two.identity != other.identity
    assert one.sha256 != two.sha256
