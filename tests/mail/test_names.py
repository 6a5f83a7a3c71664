"""Folder names on the wire and for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.mail import names
from bot.mail.names import Folder, WireName
from bot.mail.quirks import FolderKind, folder_kind, hides_folders, is_exmail


@pytest.mark.parametrize(
    ("display", "wire"),
    [
        ("其他文件夹", "&UXZO1mWHTvZZOQ-"),
        ("邮件备份", "&kK5O9lkHTv0-"),
        ("备份&测试", "&WQdO,Q-&-&bUuL1Q-"),
        ("A & B", "A &- B"),
        ("plain", "plain"),
        ("😀", "&2D3eAA-"),
        ("", ""),
    ],
)
def test_known_names(display: str, wire: str) -> None:
    assert names.encode(display) == wire
    assert names.decode(wire) == display


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_names_go_there_and_back(text: str) -> None:
    wire = names.encode(text)
    assert wire.isascii()
    assert names.decode(wire) == text


@given(st.text(st.characters(max_codepoint=255), max_size=20))
def test_no_name_is_an_error(wire: str) -> None:
    """A malformed one is shown as it is."""
    names.decode(wire)


@pytest.mark.parametrize("wire", ["&", "&WQ-", "&AAA", "a&b", "&!!-"])
def test_malformed_names_stay(wire: str) -> None:
    assert names.decode(wire) == wire


def folder(wire: str, delimiter: str = "/", *flags: str) -> Folder:
    return Folder(WireName(wire), delimiter, frozenset(flags))


def test_names_are_put_below_a_root() -> None:
    taken: set[str] = set()
    assert names.target_parts(("A", "b.c"), ".", taken) == ("A", "b．c")
    assert names.target_parts(("a", "B．c"), ".", taken) == ("a", "B．c (2)"), "a server may ignore case"
    assert names.target_parts(("x", "", "y\n"), "/", taken) == ("x", "_", "y\N{REPLACEMENT CHARACTER}")
    assert names.target_parts(("flat", "tree"), "", taken) == ("flat - tree",)
    assert len(names.encode(names.target_parts(("长" * 200,), "/", taken)[0])) <= names.PART_BYTES_MAX


def test_names_get_simpler_and_stay_apart() -> None:
    assert names.plain_part(" a.b 100% * ") == "a．b 100％ ＊"
    assert names.simple_part("tilde ~ (a) [b] {c}") == "tilde ～ （a） ［b］ ｛c｝"
    assert names.simple_part("...") == "．．．"
    assert names.short_part("short") == "short"
    one, two = (names.short_part("长" * 30 + end) for end in "ab")
    assert one != two
    assert all(len(names.encode(each)) <= names.SHORT_PART_BYTES for each in (one, two))
    assert names.numbered(("a", "b"), {names.fold(("A", "B")), names.fold(("a", "b (2)"))}) == ("a", "b (3)")


def test_delimiters_are_translated() -> None:
    assert folder("INBOX.Sent", ".").display == "INBOX/Sent"
    assert folder("A/B", ".").display == "A∕B"
    assert names.join(("其他文件夹", "A & B"), ".") == "&UXZO1mWHTvZZOQ-.A &- B"


def test_names_are_quoted_for_the_wire() -> None:
    assert names.quoted('a "b" \\ c') == b'"a \\"b\\" \\\\ c"'
    with pytest.raises(ValueError, match="line end"):
        names.quoted("a\r\nb")


@pytest.mark.parametrize(
    ("wire", "flags", "kind"),
    [
        ("Inbox", (), FolderKind.INBOX),
        ("Sent Messages", (), FolderKind.SENT),
        (names.encode("已发送"), (), FolderKind.SENT),
        (names.encode("垃圾箱"), (), FolderKind.JUNK),
        ("[Gmail]/Spam", ("\\junk",), FolderKind.JUNK),
        ("Deleted Messages", (), FolderKind.TRASH),
        (names.encode("其他文件夹/草稿箱"), (), FolderKind.DRAFTS),
        ("Projects", (), None),
        ("A/INBOX", (), None),
    ],
)
def test_folders_have_a_kind(wire: str, flags: tuple[str, ...], kind: FolderKind | None) -> None:
    assert folder_kind(folder(wire, "/", *flags)) is kind


def test_exmail_is_recognised_and_what_it_hides() -> None:
    system = [folder(each) for each in ("INBOX", "Sent Messages", "Drafts", "Deleted Messages", "Junk")]
    root = folder("&UXZO1mWHTvZZOQ-", "/", "\\noselect")
    assert is_exmail("OK QQMail IMAP4Server ready", "localhost", [])
    assert is_exmail("", "localhost", [root])
    assert not is_exmail("OK Dovecot ready.", "localhost", system)
    assert hides_folders([*system, root])
    assert not hides_folders([*system, root, folder("&UXZO1mWHTvZZOQ-/x")])
