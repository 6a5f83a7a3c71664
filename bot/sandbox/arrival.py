"""Whether a mailbox's mail lies in another, byte for byte: looked at behind IMAP, for plays and tests."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import UTC, datetime

from bot.sandbox.player import Player, must

ROOT = "其他文件夹"


def mails(player: Player, address: str, folder: str) -> Counter[tuple[str, tuple[str, ...], str]]:
    """Every mail of a folder by its bytes, flags and moment; twins count."""
    found = player.get("mails", address=address, folder=folder, limit="100000")["mails"]
    return Counter((each["sha256"], tuple(sorted(each["flags"])), moment(each["date"])) for each in found)


def moment(date: str) -> str:
    """A date without the zone it was written in."""
    return datetime.fromisoformat(date).astimezone(UTC).isoformat()


def arrived(player: Player, source: str, target: str) -> str:
    """In words that every mail of the source lies in the target, with flags and date, once; NotHeard if not."""
    count = 0
    for folder in player.mailbox(source)["folders"]:
        wanted = mails(player, source, folder)
        found = mails(player, target, f"{ROOT}/{source}/{folder}")
        must(kept(found) == kept(wanted), f"{folder}: {len(wanted)} at the source, {len(found)} in the target")
        count += sum(wanted.values())
    must(count > 0, f"{source} holds nothing")
    return f"{count} mails of {source} are in {target}, byte for byte, once each"


def kept(found: Counter[tuple[str, tuple[str, ...], str]]) -> Counter[str]:
    """Without the mark for deletion, which a copy does not take over."""
    out: Counter[str] = Counter()
    for (digest, flags, date), count in found.items():
        kept_flags = " ".join(flag for flag in flags if flag not in ("\\Deleted", "\\Recent"))
        out[hashlib.sha256(f"{digest} {kept_flags} {date}".encode()).hexdigest()] += count
    return out
