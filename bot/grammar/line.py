"""What somebody typed, made ready to match: half width, lower case, quoted parts and greetings told apart."""

from __future__ import annotations

import re
from functools import lru_cache

TYPED_SHOWN_MAX = 40  # characters of the line a reply repeats


_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "「": "」", "『": "』"}
_CARELESS = {'"': "”“", "“": '"“', "”": '”"“', "＂": '＂"'}  # what else people close a quote with
_PLACE = 0xF0000  # a quoted part is one private character while matching; nobody types those
_DROPPED = re.compile("[\u0000-\u0008\u000e-\u001f\u007f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_MAPPED = {"、": ",", "。": ";", "｡": ";", "–": "-", "—": "-", "−": "-", "\uff40": " ", "`": " "}
SEPARATORS = ",;:"
BALLAST = " ,;:，；：。、"  # what a piece of a line should not end with when it is shown
_MENTION = re.compile(r"@(?:[a-z0-9_.-]+(?: +|(?=[\u3400-\u9fff]))|[^ ]+ +)")
_PICKED = re.compile('@([^@\\n\u2005"“”「」]{1,64})\u2005')  # as WeCom writes whom one picks: the space is its own
POLITE = ("请帮我", "麻烦你", "请", "帮我", "麻烦", "please", "pls")


def is_cjk(char: str) -> bool:
    """A Chinese character."""
    return "\u3400" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff" or "\U00020000" <= char <= "\U0003ffff"


def is_quoted(char: str) -> bool:
    """A character of `Line.norm` that stands for a quoted part."""
    return ord(char) >= _PLACE


def is_latin(char: str) -> bool:
    """A character that sticks to its neighbour: letters, digits and what addresses are made of."""
    return char in "_-@.'&+#/" or (char.isalnum() and not is_cjk(char))


def quoted(value: str) -> str:
    """`value` in quotes that read back as exactly it; ValueError when it is empty or holds every kind of quote."""
    if value:
        for opening, closing in _QUOTES.items():
            if closing not in value and opening != "'":  # which needs a space around it
                return f"{opening}{value}{closing}"
    raise ValueError("cannot be quoted")


def clipped(text: str) -> str:
    """Short enough to repeat in a reply."""
    return text if len(text) <= TYPED_SHOWN_MAX else text[: TYPED_SHOWN_MAX - 1] + "…"


class Line:
    """
    A typed line, ready to match.

    `norm` is lower case and half width with one character per quoted part; `shown` is the same in the writer's case;
    `raw` is what he wrote. All three have one entry per character of `norm`, so a position means the same in each.
    The command stands in `start:end`; a text may run on to `text_end`, which keeps a question mark.
    """

    def __init__(self, typed: str) -> None:
        norm: list[str] = []
        self.shown: list[str] = []
        self.raw: list[str] = []
        self.quoted: list[str] = []
        self.picked = set[int]()  # where somebody with a name of several words is mentioned
        at, unclosed = 0, set[str]()
        while at < len(typed):
            char = typed[at]
            picked = _PICKED.match(typed, at) if char == "@" and (at == 0 or not is_latin(typed[at - 1])) else None
            if picked is not None and " " in picked[1].strip() and len(self.quoted) < 60_000:
                self.picked.add(len(norm))
                norm += (chr(_PLACE + len(self.quoted)), " ")  # a name of several words is one
                self.quoted.append(f"@{picked[1].strip()}")
                self.shown += (self.quoted[-1], " ")
                self.raw += (f'"@{picked[1].strip()}"', " ")
                at = picked.end()
                continue
            close = -1 if char in unclosed else _closing(typed, at)
            if close > at + 1 and len(self.quoted) < 60_000:
                norm.append(chr(_PLACE + len(self.quoted)))
                self.quoted.append(typed[at + 1 : close])
                self.shown.append(self.quoted[-1])
                self.raw.append(typed[at : close + 1])
                at = close + 1
                continue
            if close < 0 and char not in "'‘":
                unclosed.add(char)
            at += 1
            if _DROPPED.match(char):
                continue
            half = _half_width(char)
            if half == "." and (at == len(typed) or typed[at].isspace()):
                half = ";"
            lower = half.lower()
            norm.append(lower if len(lower) == 1 else half)
            self.shown.append(half)
            self.raw.append(char)
        self.norm = "".join(norm)
        self.first = len(self.norm) - len(self.norm.lstrip(" /,;:"))
        self.start = self._after_greeting()
        self.end = self._trimmed(" ,;:.!?")
        self.text_end = self._trimmed(" ,;:.!")

    def _after_greeting(self) -> int:
        at = 0
        while at < len(self.norm):
            if self.norm[at] in " /" or self.norm[at] in SEPARATORS:
                at += 1
            elif mention := _MENTION.match(self.norm, at):
                at = mention.end()
            elif at in self.picked:
                at += 1
            else:
                break
        return at

    def _trimmed(self, ballast: str) -> int:
        end = len(self.norm)
        while end > self.start and self.norm[end - 1] in ballast:
            end -= 1
        return end

    def skip(self, at: int) -> int:
        """The next position that is neither space nor separator."""
        while at < self.end and (self.norm[at] == " " or self.norm[at] in SEPARATORS):
            at += 1
        return at

    def text(self, start: int, end: int) -> str:
        """What was written there, spaces collapsed; a text that is one quoted part is what the quotes hold."""
        end = self.text_end if end >= self.end else end
        while start < end and (self.norm[start] == " " or self.norm[start] in SEPARATORS):
            start += 1
        while end > start and (self.norm[end - 1] == " " or self.norm[end - 1] in SEPARATORS):
            end -= 1
        if end - start == 1 and is_quoted(self.norm[start]):
            return self.shown[start]
        pieces = []
        for at in range(start, end):
            if self.norm[at] != " ":
                pieces.append(self.raw[at])
            elif pieces[-1] != " ":
                pieces.append(" ")
        return "".join(pieces)

    def written(self, start: int, end: int) -> str:
        """The same with its quotes: a piece of a line that can be typed again."""
        return " ".join("".join(self.raw[start:end]).replace("`", " ").split())

    def token(self, at: int) -> str:
        """The word at a position, to repeat in a reply."""
        end = at
        while end < self.end and self.norm[end] != " ":
            end += 1
        return clipped(self.written(at, end))

    def has_word(self, at: int, word: str, *, digits_may_follow: bool = False) -> bool:
        """Whether `word` (lower case) stands there; a Latin one on its own, a Chinese one anywhere."""
        end = at + len(word)
        if end > self.end or not self.norm.startswith(word, at):
            return False
        if at > self.start and is_latin(word[0]) and is_latin(self.norm[at - 1]):
            return False
        if end < self.end and is_latin(word[-1]) and is_latin(self.norm[end]):
            return digits_may_follow and self.norm[end] in "0123456789#" and not word[-1].isdigit()
        return True


@lru_cache(4096)
def _half_width(char: str) -> str:
    if char.isspace():
        return " "
    if "\uff01" <= char <= "\uff5e" and char != "\uff40":
        return chr(ord(char) - 0xFEE0)
    if ord(char) >= _PLACE:
        return "\ufffd"
    return _MAPPED.get(char, char)


def _closing(typed: str, at: int) -> int:
    """Where the quote that opens at `at` closes; -1 when none does."""
    char = typed[at]
    if char not in _QUOTES and char not in _CARELESS:
        return -1
    if char in "'‘" and at > 0 and is_latin(typed[at - 1]):
        return -1  # an apostrophe
    if char == "'":
        close = at
        while (close := typed.find("'", close + 1)) >= 0:
            if close + 1 == len(typed) or not is_latin(typed[close + 1]):
                return close
        return -1
    close = typed.find(_QUOTES[char], at + 1) if char in _QUOTES else -1
    if close >= 0:
        return close
    others = [found for other in _CARELESS.get(char, "") if (found := typed.find(other, at + 1)) >= 0]
    return min(others, default=-1)
