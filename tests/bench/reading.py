"""Reads a copy back over IMAP, by imaplib and no code of ours, and says in what it differs from its source."""

from __future__ import annotations

import hashlib
import imaplib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from bot.mail.account import MailAccount
from bot.sandbox.mail import utf7
from tests.bench.mailbox import Mails

LISTED = re.compile(rb'\(([^)]*)\) "." (?:"((?:[^"\\]|\\.)*)"|(\S+))$')
BATCH = 50


@dataclass(frozen=True)
class Comparison:
    """How many mails differ, and how: `lost` and `more` by folder and bytes, the others of mails that arrived."""

    there: int
    lost: int
    more: int
    flags: int
    dates: int

    @property
    def exact(self) -> bool:
        return not (self.lost or self.more or self.flags or self.dates)

    def words(self) -> str:
        """For a table."""
        if self.exact:
            return "yes"
        if self.lost == self.more == self.there:
            return "no: every mail is altered"
        altered = min(self.lost, self.more)
        kinds = {
            "lost": self.lost - altered,
            "too many": self.more - altered,
            "altered": altered,
            "other flags": self.flags,
            "other dates": self.dates,
        }
        return "no: " + ", ".join(f"{number} {kind}" for kind, number in kinds.items() if number)


def contents(account: MailAccount, root: str) -> dict[str, Mails]:
    """What lies below `root`: folder -> mails."""
    found: dict[str, Mails] = {}
    client = imaplib.IMAP4(account.host, account.port)
    client.login(account.user, account.password)
    for line in client.list()[1]:
        match = LISTED.match(line) if isinstance(line, bytes) else None
        if match is None or b"\\noselect" in match[1].lower():
            continue
        wire = (match[2] if match[2] is not None else match[3]).decode()
        name = utf7.decode(wire.replace("\\\\", "\\").replace('\\"', '"'))
        if not name.startswith(root + "/"):
            continue
        count = int((client.select(f'"{wire}"', readonly=True)[1][0] or b"0").decode())
        mails: Mails = Counter()
        for low in range(1, count + 1, BATCH):
            numbers = f"{low}:{min(count, low + BATCH - 1)}"
            mails.update(fingerprints(client.fetch(numbers, "(FLAGS INTERNALDATE BODY.PEEK[])")[1]))
        if mails:
            found[name.removeprefix(root + "/")] = mails
    client.logout()
    return found


def fingerprints(answer: list[object]) -> Iterable[tuple[str, str, int]]:
    """One a mail; imaplib gives a literal's line and bytes as a pair, and what follows them by itself."""
    for place, item in enumerate(answer):
        if not isinstance(item, tuple):
            continue
        tail = answer[place + 1] if place + 1 < len(answer) else b""
        head = bytes(item[0]) + (tail if isinstance(tail, bytes) else b"")
        flags = re.search(rb"FLAGS \(([^)]*)\)", head)
        date = re.search(rb'INTERNALDATE "([^"]*)"', head)
        assert flags is not None, head
        assert date is not None, head
        kept = sorted(flag for flag in flags[1].decode().split() if flag != "\\Recent")
        moment = datetime.strptime(date[1].decode().strip(), "%d-%b-%Y %H:%M:%S %z")
        yield hashlib.sha256(item[1]).hexdigest(), " ".join(kept), int(moment.timestamp())


def compare(wanted: dict[str, Mails], found: dict[str, Mails]) -> Comparison:
    """By folder, as bags: of two equal mails both must be there."""
    there = lost = more = flags = dates = 0
    for folder in wanted.keys() | found.keys():
        here, copy = wanted.get(folder, Counter()), found.get(folder, Counter())
        there += copy.total()
        bytes_here, bytes_copy = by(here, 0), by(copy, 0)
        lost += (bytes_here - bytes_copy).total()
        more += (bytes_copy - bytes_here).total()
        both = bytes_here & bytes_copy
        flags += unlike(here, copy, both, 1)
        dates += unlike(here, copy, both, 2)
    return Comparison(there, lost, more, flags, dates)


def by(mails: Mails, *places: int) -> Counter[object]:
    counted: Counter[object] = Counter()
    for mail, times in mails.items():
        counted[mail[places[0]] if len(places) == 1 else tuple(mail[place] for place in places)] += times
    return counted


def unlike(here: Mails, copy: Mails, both: Counter[object], place: int) -> int:
    """How many of the mails on both sides differ in that place."""
    one = Counter({mail: times for mail, times in by(here, 0, place).items() if mail[0] in both})  # type: ignore[index]
    other = Counter({mail: times for mail, times in by(copy, 0, place).items() if mail[0] in both})  # type: ignore[index]
    return min((one - other).total(), (other - one).total())
