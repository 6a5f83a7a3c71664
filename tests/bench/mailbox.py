"""
The mailboxes that are copied: seeded, so that two runs copy the same bytes, with a bag of what must arrive.

Sizes are log-normal (median about 8 kB, tail to 2 MB), dates from 2009 to 2026, nine folders. Among them are what
copiers get wrong: 8-bit headers, no Message-ID, one Message-ID twice, twins, raw bytes, no last line end, no header.
"""

from __future__ import annotations

import base64
import hashlib
import random
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

from bot.mail.account import MailAccount
from bot.sandbox.mail import utf7

FOLDERS = {
    "INBOX": 40,
    "Sent Messages": 18,
    "Drafts": 1,
    "Deleted Messages": 3,
    "Junk": 2,
    "其他文件夹/项目归档": 16,
    "其他文件夹/客户往来 & 合同": 12,
    "其他文件夹/2019年/发票": 6,
    "Archive/Lists-python": 2,
}
WORDS = [
    "合同",
    "报价",
    "会议",
    "纪要",
    "发票",
    "周报",
    "项目",
    "评审",
    "邮件",
    "备份",
    "invoice",
    "meeting",
    "report",
    "weekly",
    "budget",
    "review",
    "server",
]
KINDS = {"plain": 950, "8bit": 15, "no_id": 12, "same_id": 10, "binary": 5, "no_end": 5, "no_header": 3}
KEYWORDS = ("$Forwarded", "$Label1", "NonJunk", "todo")
CHINA = timezone(timedelta(hours=8))
BEGIN, END = datetime(2009, 1, 5, 9, tzinfo=CHINA), datetime(2026, 6, 30, 8, tzinfo=CHINA)
GROUP_BYTES = 2_000_000
BIG = (48_000_000, 24_000_000, 36_000_000, 48_000_000)

Mails = Counter[tuple[str, str, int]]
"""(sha256 of all bytes, sorted flags, INTERNALDATE in seconds) -> how many."""


@dataclass(frozen=True)
class Mail:
    """One mail and where it lies."""

    folder: str
    raw: bytes
    flags: tuple[str, ...]
    date: datetime

    @property
    def fingerprint(self) -> tuple[str, str, int]:
        """What must be the same in the copy."""
        return hashlib.sha256(self.raw).hexdigest(), " ".join(sorted(self.flags)), int(self.date.timestamp())


@dataclass
class Filled:
    """A mailbox that can be copied, and what is in it."""

    name: str
    account: MailAccount
    contents: dict[str, Mails] = field(default_factory=dict)
    mails: int = 0
    size_bytes: int = 0

    def words(self) -> str:
        """For a table's heading."""
        return f"{self.mails:,} messages, {self.size_bytes / 1e6:.0f} MB, {len(self.contents)} folders"


def ordinary(count: int, seed: int) -> Iterator[Mail]:
    """So many mails, a few twins more."""
    rng = random.Random(seed)
    for number in range(count):
        folder = rng.choices(list(FOLDERS), list(FOLDERS.values()))[0]
        date = BEGIN + (END - BEGIN) * (number / count) + timedelta(seconds=rng.randrange(80_000))
        size = int(min(2_000_000, max(300, rng.lognormvariate(9.0, 1.78))))
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        flags = [
            flag for flag, odds in (("\\Seen", 0.8), ("\\Answered", 0.15), ("\\Flagged", 0.05)) if rng.random() < odds
        ]
        flags += ["\\Draft"] * (folder == "Drafts")
        flags += [keyword for keyword in KEYWORDS if rng.random() < 0.03]
        mail = Mail(folder, written(rng, number, date, size, kind), tuple(flags), date.replace(microsecond=0))
        yield mail
        if kind == "same_id" and number % 2 == 0:
            yield mail  # equal in every byte: both must arrive


def big() -> Iterator[Mail]:
    """44 mails, four of 24 to 48 MB: what a copier holds in memory at once."""
    rng = random.Random(20262)
    for number in range(44):
        size = BIG[number // 11] if number % 11 == 5 else 9_000
        date = BEGIN + timedelta(hours=number)
        yield Mail("INBOX", written(rng, number, date, size, "plain"), ("\\Seen",), date)


def written(rng: random.Random, number: int, date: datetime, size: int, kind: str) -> bytes:
    """The bytes of a mail."""
    lines = header(rng, number, date, kind)
    if kind == "binary":
        lines += [b"Content-Type: application/octet-stream", b"Content-Transfer-Encoding: binary"]
        raw = bytes(byte for byte in rng.randbytes(max(64, size)) if byte not in (0, 10, 13))
        body = b"\r\n".join(raw[start : start + 900] for start in range(0, len(raw), 900)) + b"\r\n"
    elif size > 24_000:
        edge = b"----=_Part_%d" % number
        lines.append(b'Content-Type: multipart/mixed; boundary="' + edge + b'"')
        encoded = base64.b64encode(rng.randbytes(int((size - 1_200) * 0.73)))
        attached = b"\r\n".join(encoded[start : start + 76] for start in range(0, len(encoded), 76))
        text = b"--%b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%b\r\n" % (edge, spoken(rng, 60))
        file = b'--%b\r\nContent-Type: application/pdf; name="a.pdf"\r\n\r\n%b\r\n--%b--\r\n' % (edge, attached, edge)
        body = text + file
    else:
        lines += [b"Content-Type: text/html; charset=utf-8", b"Content-Transfer-Encoding: 8bit"]
        paragraphs: list[bytes] = []
        while size > 0:
            paragraphs.append(b"<p>" + spoken(rng, 12) + b"</p>")
            size -= len(paragraphs[-1]) + 2
        body = b"\r\n".join(paragraphs) + b"\r\n" * (kind != "no_end")
    return body if kind == "no_header" else b"\r\n".join(lines) + b"\r\n\r\n" + body


def header(rng: random.Random, number: int, date: datetime, kind: str) -> list[bytes]:
    when = date.strftime("%a, %d %b %Y %H:%M:%S +0800").encode()
    subject = spoken(rng, rng.randint(2, 7))
    lines = [
        b"Return-Path: <user%d@example.com>" % (number % 97),
        b"Received: from mx%d.example.com by mail.example.cn; %b" % (number % 9, when),
        b"Date: " + when,
        b"From: =?UTF-8?B?" + base64.b64encode("张伟".encode()) + b"?= <user%d@example.com>" % (number % 97),
        b"To: me@example.cn",
    ]
    if kind == "8bit":
        lines += [b"Subject: " + subject.decode().encode("gb18030"), "X-原始: 未编码的头".encode()]
    else:
        lines.append(b"Subject: =?UTF-8?B?" + base64.b64encode(subject) + b"?=")
    if kind == "same_id":
        lines.append(b"Message-ID: <same-%d@example.com>" % (number % 5))
    elif kind != "no_id":
        lines.append(b"Message-ID: <%032x.%d@example.com>" % (rng.getrandbits(128), number))
    return [*lines, b"MIME-Version: 1.0"]


def spoken(rng: random.Random, words: int) -> bytes:
    return " ".join(rng.choice(WORDS) for _ in range(words)).encode()


def fill(name: str, account: MailAccount, mails: Iterator[Mail]) -> Filled:
    """Put mails into an empty mailbox of a server that knows LITERAL+ and MULTIAPPEND, several a round trip."""
    filled = Filled(name, account)
    by_folder: dict[str, list[Mail]] = {}
    for mail in mails:
        by_folder.setdefault(mail.folder, []).append(mail)
        filled.mails += 1
        filled.size_bytes += len(mail.raw)
    with Raw(account) as connection:
        for folder, some in sorted(by_folder.items()):
            filled.contents[folder] = Counter(mail.fingerprint for mail in some)
            wire = '"' + utf7.encode(folder) + '"'
            if folder != "INBOX":
                connection.do(f"CREATE {wire}".encode())
            group: list[bytes] = []
            held = 0
            for mail in some:
                group.append(
                    f' ({" ".join(mail.flags)}) "{mail.date.astimezone(UTC):%d-%b-%Y %H:%M:%S +0000}" '
                    f"{{{len(mail.raw)}+}}\r\n".encode()
                    + mail.raw
                )
                held += len(mail.raw)
                if held > GROUP_BYTES:
                    connection.do(b"".join([f"APPEND {wire}".encode(), *group]))
                    group, held = [], 0
            if group:
                connection.do(b"".join([f"APPEND {wire}".encode(), *group]))
    return filled


class Raw:
    """A logged-in connection that sends a command's bytes as they are and waits for its OK."""

    def __init__(self, account: MailAccount) -> None:
        self.socket = socket.create_connection((account.host, account.port), timeout=120)
        self.file = self.socket.makefile("rb")
        self.file.readline()
        self.do(f"LOGIN {account.user} {account.password}".encode())

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def do(self, command: bytes) -> list[bytes]:
        """The answer's lines; anything but OK is an error."""
        self.socket.sendall(b"A " + command + b"\r\n")
        lines = []
        while not (line := self.file.readline()).startswith(b"A "):
            assert line, "the server hung up"
            lines.append(line)
        assert line.startswith(b"A OK"), line
        return lines
