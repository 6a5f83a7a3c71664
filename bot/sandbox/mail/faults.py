"""The switches: what a mail server can do to its clients, one name each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass

FAULTS: dict[str, str] = {
    # commands in general
    "busy": "NO System busy! to APPEND, COPY, STORE and EXPUNGE, n times",
    "hang": "a command gets no answer at all; the line stays open, n times",
    "bad_untagged": "* BAD Command! and no tagged answer, n times",
    "bye": "* BYE instead of an answer, and the line closes, n times",
    "drop_on_command": "the line closes when a command arrives, nothing is done, n times",
    "drop_after_command": "a command is done, its answer is lost and the line closes, n times",
    "long_line_dropped": "a command line longer than n bytes (on: 6,000) is dropped in silence",
    "pipelining_lost": "whatever arrived behind an APPEND's literal is thrown away",
    "latency_ms": "each command is answered n milliseconds late",
    "slow": "answers leave at n bytes a second",
    "throttled": "BAD Request is throttled. Suggested Backoff Time: 1500 milliseconds, n times",
    "idle_ms": "a session that says nothing for n milliseconds is ended with BYE",
    "utf8_closes": "a command line that is not ASCII closes the line",
    # login
    "login_throttled": "the login failure text whatever the password, n times",
    "login_wants_code": "a login is refused with Please using authorized code to login, n times",
    "id_required": "SELECT and EXAMINE answer NO Unsafe Login until the client has sent ID (NetEase)",
    "login_limit": "more than n logins a minute (the server's clock) are refused, refused ones count",
    "connections_max": "more than n open sessions of a mailbox are refused with the login failure text",
    "literal_plus": "LITERAL+ and MULTIAPPEND are announced and accepted",
    "literal_plus_lie": "LITERAL+ is announced, and BAD is the answer to whoever uses it",
    # folders
    "top_level_refused": "CREATE outside of the root of the custom folders is refused (Exmail: on)",
    "delete_refused": "DELETE of a folder is refused: only webmail can (on)",
    "no_namespace": "NAMESPACE is BAD Command!",
    "names_strict": "CREATE of a name with . * % # quote or backslash, or a space at an end, is refused",
    "names_fold_case": "CREATE of a name that differs only in case from another is refused",
    "name_bytes_max": "CREATE of a name with a part longer than n bytes on the wire is refused",
    "depth_max": "CREATE deeper than n levels below the root is refused",
    "subscribe_needed": "new folders are not listed until they are subscribed to",
    "literals_everywhere": "LIST and STATUS give folder names as literals",
    "uidvalidity_change": "at the next login every folder has a new UIDVALIDITY and new UIDs, n times",
    "select_refused": "SELECT and EXAMINE answer NO System busy!, n times",
    "exists_larger": "EXISTS and MESSAGES say n more than FETCH returns",
    "keywords_not_announced": "PERMANENTFLAGS without \\*",
    # reading
    "drop_in_fetch": "half of a FETCH answer with a body, then the line closes, n times",
    "fetch_truncated": "FETCH of several bodies gives half of them and answers OK, n times",
    "fetch_split": "what FETCH gives of one mail comes in two answers, in another order",
    "unsolicited_fetch": "FETCH answers nobody asked for come between the others, some without a UID",
    "literal8": "bodies come as literal8, ~{n}",
    "bad_uid_parameters": "BAD UID parameters! to UID sets that do not rise (Exmail: on)",
    "unbounded_refused": "BAD UID parameters! to UID ranges that end above UIDNEXT",
    "malformed_envelope": "ENVELOPE with nine fields and a stray backslash",
    "malformed_bodystructure": "BODYSTRUCTURE with an empty multipart and a raw line end in a name",
    "empty_header_fields": "BODY[HEADER.FIELDS (...)] comes back empty",
    "date_unpadded": 'INTERNALDATE as "4-Jan-2015", one digit and no space',
    "date_nonsense": "INTERNALDATE is no date",
    "flags_upper": "flags come back in capitals (\\SEEN)",
    "search_ignores_keys": "SEARCH answers with all messages whatever was asked (Exmail: on)",
    "search_blind": "SEARCH does not see what was appended over IMAP",
    "search_literal_hang": "a literal in SEARCH gets no continuation",
    # writing
    "drop_in_append": "the line closes in the middle of an APPEND's literal, nothing is stored, n times",
    "drop_after_append": "the mail is stored, the answer never comes, the line closes, n times",
    "refused_after_append": "the mail is stored, the answer is NO System busy!, n times",
    "size_closes": "the line closes in the middle of a mail larger than n bytes, each time",
    "rate_limited": "the answer to APPEND is NO [LIMIT] Rate limit exceeded, n times",
    "twins_thrown_away": "APPEND of a mail that is there answers OK with the old UID and stores nothing (Gmail)",
    "no_appenduid": "APPEND and COPY answer without the new UID",
    "wrong_appenduid": "APPENDUID names the mail before the one stored",
    "not_stored": "APPEND answers OK with a UID and throws the mail away, n times",
    "size_limit": "a mail larger than n bytes is refused at the continuation",
    "appendlimit": "APPENDLIMIT=n is announced, and kept",
    "line_limit": "a mail with a line longer than n bytes is refused",
    "flags_refused": "APPEND with any flag is refused",
    "keyword_refused": "APPEND and STORE with a keyword are refused",
    "keyword_forgotten": "keywords are accepted and not kept",
    "date_ignored": "INTERNALDATE is the moment of the APPEND",
    "header_munged": "8-bit bytes in a header are stored as X (Cyrus)",
    "headers_added": "APPEND puts two header lines of the server's on top",
    "nul_refused": "a mail with a NUL byte is refused",
    "bare_newlines_refused": "a mail with a bare LF or CR is refused",
    "header_refused": "a mail with 8-bit or broken header lines is refused",
}

NUMBERS = {
    "long_line_dropped": 6_000,
    "latency_ms": 200,
    "slow": 10_000,
    "login_limit": 5,
    "connections_max": 1,
    "exists_larger": 1,
    "idle_ms": 100,
    "name_bytes_max": 60,
    "depth_max": 3,
    "size_closes": 50_000,
    "size_limit": 50_000,
    "appendlimit": 50_000,
    "line_limit": 9_900,
}
"""Faults whose number is a size and not a count, and the size when they are merely switched on."""

FACE = ("top_level_refused", "delete_refused", "bad_uid_parameters", "search_ignores_keys")
"""What Exmail does every day: on unless a server or a mailbox switches it off."""


@dataclass(slots=True)
class Armed:
    """A switch that is on: how often still (None: for ever), after how many misses, for which command, how much."""

    times: int | None
    after: int = 0
    command: str | None = None
    value: int = 0


class Faults(MutableMapping[str, int | bool]):
    """
    The switches of a server or of one mailbox, by the names of `FAULTS`; a mailbox's word goes before the server's.

    `faults["busy"] = 3` three times, `= True` for ever, `= False` off; `faults["size_limit"] = 5000` sets the size.
    Finer: `arm("hang", times=1, after=4, command="UID FETCH")`. An unknown name is a KeyError.
    """

    def __init__(self, on: Iterable[str] = ()) -> None:
        self.face = tuple(on)
        self.armed: dict[str, Armed] = {}
        self.clear()

    def arm(
        self,
        name: str,
        *,
        times: int | None = None,
        after: int = 0,
        command: str | None = None,
        value: int | None = None,
    ) -> None:
        """Switch on: `times` times (None: for ever), after `after` occasions passed unharmed, only for `command`."""
        if name not in FAULTS:
            raise KeyError(f"no fault {name}")
        self.armed[name] = Armed(times, after, command, NUMBERS.get(name, 0) if value is None else value)

    def clear(self) -> None:
        """Back to how it was made."""
        self.armed.clear()
        for name in self.face:
            self.arm(name)

    def trips(self, name: str, command: str = "") -> bool | None:
        """Whether it strikes now, counting down; None when nothing is said about it here."""
        armed = self.armed.get(name)
        if armed is None or (armed.command is not None and armed.command != command):
            return None
        if armed.after > 0:
            armed.after -= 1
            return False
        if armed.times is None:
            return True
        if armed.times == 0:
            return False
        armed.times -= 1
        if armed.times == 0:
            del self.armed[name]
        return True

    def value(self, name: str) -> int | None:
        """The size of a switch that is on, 0 when it is off, None when nothing is said about it here."""
        armed = self.armed.get(name)
        return None if armed is None else 0 if armed.times == 0 else armed.value

    def __setitem__(self, name: str, setting: int | bool) -> None:
        if setting is True:
            self.arm(name)
        elif setting is False:
            self.arm(name, times=0)
        elif name in NUMBERS:
            self.arm(name, times=None if setting else 0, value=setting)
        else:
            self.arm(name, times=setting)

    def __getitem__(self, name: str) -> int | bool:
        armed = self.armed[name]
        if name in NUMBERS:
            return armed.value if armed.times is None else False
        return True if armed.times is None else armed.times or False

    def __delitem__(self, name: str) -> None:
        del self.armed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.armed)

    def __len__(self) -> int:
        return len(self.armed)


def trips(name: str, command: str, *layers: Faults) -> bool:
    """Whether the first of `layers` that knows the fault says it strikes."""
    for layer in layers:
        struck = layer.trips(name, command)
        if struck is not None:
            return struck
    return False


def size_of(name: str, *layers: Faults) -> int:
    """The number of a fault in the first of `layers` that knows it; 0 is off."""
    for layer in layers:
        value = layer.value(name)
        if value is not None:
            return value
    return 0
