"""Filling and reading mailboxes with IMAPClient, a reader none of the product's code has a part in."""

from __future__ import annotations

import contextlib
import hashlib
import random
import ssl
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

from imapclient import IMAPClient

from bot.mail.account import MailAccount

CHINA = timezone(timedelta(hours=8))
WORDS = ["合同", "报价", "会议", "纪要", "发票", "周报", "invoice", "meeting", "report", "weekly", "budget", "review"]
FOLDERS = (
    "INBOX",
    "Sent Messages",
    "其他文件夹/项目归档",
    "其他文件夹/客户往来 & 合同",
    "其他文件夹/2019年/发票",
    'Odd "quoted" & back\\slash',
    "100% * sure",
)

# A mailbox as a bag: folder -> (sha256, flags, INTERNALDATE in seconds) -> how many
Bag = dict[str, Counter[tuple[str, frozenset[str], int]]]


@contextlib.contextmanager
def opened(account: MailAccount) -> Iterator[IMAPClient]:
    """A logged-in IMAPClient."""
    context = ssl.create_default_context(cafile=account.ca_file) if account.tls else None
    with IMAPClient(account.host, account.port, ssl=account.tls, ssl_context=context, timeout=30) as client:
        client.normalise_times = False
        client.login(account.user, account.password)
        yield client


def message(number: int, rng: random.Random, *, size: int = 600, kind: str = "plain") -> bytes:
    """A mail of one of the kinds that copiers get wrong."""
    subject = " ".join(rng.choice(WORDS) for _ in range(4))
    header = [
        b"Received: from mx.example.com by mail.example.cn; Mon, 5 Jan 2015 08:00:00 +0800",
        b"Date: Mon, 5 Jan 2015 08:00:00 +0800",
        b"From: =?UTF-8?B?5byg5Lyf?= <user%d@example.com>" % (number % 7),
        b"To: me@example.cn",
        b"Subject: " + subject.encode("gb18030" if kind == "eight_bit" else "utf-8")
        if kind == "eight_bit"
        else b"Subject: mail %d" % number,
    ]
    if kind == "same_id":
        header.append(b"Message-ID: <same@example.com>")
    elif kind != "no_id":
        header.append(b"Message-ID: <%d.%d@example.com>" % (number, rng.getrandbits(40)))
    if kind == "binary":
        body = bytes(byte for byte in rng.randbytes(size) if byte not in (0, 10, 13)) + b"\r\n"
    else:
        lines = []
        while size > 0:
            lines.append(" ".join(rng.choice(WORDS) for _ in range(8)).encode() * (1 + size // 10_000))
            size -= len(lines[-1])
        body = b"\r\n".join(lines) + (b"" if kind == "no_end" else b"\r\n")
    if kind == "no_header":
        return body
    return b"\r\n".join(header) + b"\r\n\r\n" + body


def fill(account: MailAccount, seed: int, *, per_folder: int = 12, folders: tuple[str, ...] = FOLDERS) -> None:
    """A mailbox with every kind, twins among them; the same for the same seed."""
    rng = random.Random(seed)
    kinds = ("plain", "eight_bit", "no_id", "same_id", "binary", "no_end", "no_header", "twin", "plain", "plain")
    with opened(account) as client:
        for folder in folders:
            if folder != "INBOX":
                client.create_folder(folder)
            for number in range(per_folder):
                kind = kinds[number % len(kinds)]
                raw = message(number, rng, size=rng.choice((50, 400, 3000, 20_000)), kind=kind)
                flags = [flag for flag in (b"\\Seen", b"\\Answered", b"\\Flagged", b"\\Draft") if rng.random() < 0.4]
                flags += [keyword for keyword in (b"$Forwarded", b"$Label1", b"todo") if rng.random() < 0.2]
                moment = datetime(2009, 1, 4, 8, tzinfo=CHINA) + timedelta(days=rng.randrange(6000), seconds=number)
                for _ in range(2 if kind == "twin" else 1):
                    client.append(folder, raw, flags, moment)


def bag(account: MailAccount, *, root: str = "") -> Bag:
    """What is in the mailbox, or below `root`, the way an independent reader sees it."""
    result: Bag = {}
    with opened(account) as client:
        for flags, _, name in client.list_folders():
            if b"\\Noselect" in flags or (root and not name.startswith(root + "/")):
                continue
            client.select_folder(name, readonly=True)
            mails: Counter[tuple[str, frozenset[str], int]] = Counter()
            for data in client.fetch(client.search("ALL"), ["BODY.PEEK[]", "FLAGS", "INTERNALDATE"]).values():
                flag_names = frozenset(flag.decode().casefold() for flag in data[b"FLAGS"]) - {"\\recent"}
                moment = int(data[b"INTERNALDATE"].astimezone(UTC).timestamp())
                mails[hashlib.sha256(data[b"BODY[]"]).hexdigest(), flag_names, moment] += 1
            result[name.removeprefix(root + "/") if root else name] = mails
    return result


def count(contents: Bag) -> int:
    """How many mails in all."""
    return sum(sum(mails.values()) for mails in contents.values())
