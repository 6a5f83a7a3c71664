"""The parser: the bytes decide what comes out, not how the network cuts them; and nothing makes it crash."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.mail import wire
from bot.mail.wire import Big, BigChunk, BigEnd, BigStart, Event, Fetched, Parser, Response


def merged(events: list[Event]) -> list[Event]:
    """Neighbouring chunks as one: only their sum is promised."""
    out: list[Event] = []
    for event in events:
        if isinstance(event, BigChunk) and out and isinstance(out[-1], BigChunk):
            out[-1] = BigChunk(out[-1].data + event.data)
        else:
            out.append(event)
    return out


def parsed(pieces: list[bytes], *, stream_over: int = 20) -> list[Event]:
    parser = Parser(stream_over=stream_over)
    return merged([event for piece in pieces for event in parser.feed(piece)])


texts = st.binary(max_size=30).filter(lambda raw: b"\n" not in raw and b"\r" not in raw and not raw.endswith(b"}"))
literals = st.binary(max_size=60)


words = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=9)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """FETCH answers as most servers write them, and some that only nearly are."""
    out = b"* %d FETCH (" % draw(st.integers(1, 10**6))
    items = [b"UID %d" % draw(st.integers(1, 10**9))]
    items += [b"RFC822.SIZE %d" % draw(st.integers(0, 10**9))] * draw(st.integers(0, 1))
    items += [b"FLAGS (" + " ".join(draw(words).split()).encode("latin-1") + b")"] * draw(st.integers(0, 1))
    items += [b'INTERNALDATE "' + draw(words).encode("latin-1") + b'"'] * draw(st.integers(0, 1))
    if draw(st.booleans()):
        body = draw(st.one_of(literals, st.just(b")\r\n* 1 FETCH (UID 2)\r\n")))
        items.append(b"BODY[] {%d}\r\n" % len(body) + body)
    if draw(st.integers(0, 5)) == 0:
        items = draw(st.permutations(items))
    return out + b" ".join(items) + draw(st.sampled_from([b")\r\n", b")\r\n", b")\r\n", b" )\r\n", b" UID 3)\r\n"]))


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Some responses, with literals anywhere."""
    out = b""
    for _ in range(draw(st.integers(1, 4))):
        out += b"* 1 FETCH (" + draw(texts)
        for literal in draw(st.lists(literals, max_size=3)):
            out += b" {%d}\r\n" % len(literal) + literal + draw(texts)
        out += b")\r\n" + b"".join(draw(st.lists(answers(), max_size=3)))
    return out


@given(streams(), st.lists(st.integers(0, 400), max_size=12))
def test_any_split_gives_the_same_events(raw: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    pieces = [raw[low:high] for low, high in pairwise(places)]
    assert parsed(pieces) == parsed([raw]) == parsed([raw[index : index + 1] for index in range(len(raw))])


@given(st.lists(answers(), min_size=1, max_size=4))
def test_what_is_read_at_once_is_what_is_read_thoroughly(raw: list[bytes]) -> None:
    """The quick ways only save time."""
    for answer in raw:
        events = parsed([answer], stream_over=1_000)
        if isinstance(events[0], Fetched):
            line, begins, rest = answer.removesuffix(b"\r\n").partition(b"}\r\n")
            size = int(line.rpartition(b"{")[2]) if begins else 0
            assert events == [wire.read((line + b"}", rest[:size], rest[size:]) if begins else (line,))]


@given(st.binary(max_size=300))
def test_no_bytes_do_harm(raw: bytes) -> None:
    """Responses come out, or a WireError; the readers of values take whatever comes."""
    try:
        for event in Parser(stream_over=20).feed(raw + b"\r\n"):
            if isinstance(event, Response):
                wire.values(event.parts)
                wire.fetched(event.parts)
    except wire.WireError:
        pass


@given(st.lists(st.integers(1, 5000), min_size=1, unique=True))
def test_sets_of_uids_go_there_and_back(uids: list[int]) -> None:
    uids.sort()
    text = wire.uid_set(uids).decode()
    assert wire.uids_of(text) == uids


def test_a_big_literal_is_passed_on() -> None:
    events = parsed([b"* 1 FETCH (UID 7 BODY[] {30}\r\n" + b"x" * 30 + b" FLAGS (\\Seen))\r\n"])
    assert events == [
        BigStart((b"* 1 FETCH (UID 7 BODY[] {30}",), 30),
        BigChunk(b"x" * 30),
        BigEnd(),
        Response((b"* 1 FETCH (UID 7 BODY[] {30}", Big(30), b" FLAGS (\\Seen))")),
    ]


@pytest.mark.parametrize(
    "line", [b"A1 NO no folder {5}", b"* OK hello {5}", b"+ go on {5}", b"* BYE {5}", b"A1 BAD {5}"]
)
def test_the_text_of_a_status_is_no_literal(line: bytes) -> None:
    """It is free text and may end in anything, a stranger's folder name for one."""
    assert parsed([line + b"\r\n"]) == [Response((line,))]


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(wire.WireError):
        list(Parser().feed(b"x" * (wire.LINE_BYTES_MAX + 1)))


@pytest.mark.parametrize(
    ("parts", "uid", "flags", "date", "size", "body"),
    [
        (
            (b'* 1 FETCH (UID 5 FLAGS (\\Seen $x) INTERNALDATE " 4-Jan-2015 08:00:00 +0800" RFC822.SIZE 9)',),
            5, "\\Seen $x", " 4-Jan-2015 08:00:00 +0800", 9, None,
        ),
        ((b"* 1 fetch (BODY[] {5}", b"hello", b" UID 5)"), 5, None, None, None, b"hello"),
        ((b'* 1 FETCH (UID 5 BODY[] "")',), 5, None, None, None, b""),
        ((b"* 1 FETCH (UID 5 BODY[] NIL)",), 5, None, None, None, None),
        (
            (b'* 1 FETCH (UID 5 ENVELOPE ("a" ((NIL NIL "b" "qq.com\\"))) FLAGS (\\Seen))',),
            5, "\\Seen", None, None, None,
        ),
        ((b"* 1 FETCH (UID 5 BODY[HEADER] ~{2}", b"ab", b" MODSEQ (12))"), 5, None, None, None, b"ab"),
    ],
)  # fmt: skip
def test_fetch_is_read_leniently(
    parts: tuple[bytes, ...], uid: int, flags: str | None, date: str | None, size: int | None, body: bytes | None
) -> None:
    told = wire.fetched(parts)
    assert told is not None
    assert (told.uid, told.flags, told.internal_date, told.size_bytes, told.body) == (uid, flags, date, size, body)
