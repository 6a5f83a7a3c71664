"""Stories played headless against a running sandbox: the conversation is printed, the outcome is checked."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bot.sandbox import play_domain, play_reminders
from bot.sandbox.play_reassign import reassign
from bot.sandbox.player import NotHeard, Player, must, text_of

ROOT = "其他文件夹"


@dataclass(frozen=True)
class Play:
    """A story, the moment its clock begins at (None: now), and what its bot is set to."""

    act: Callable[[Player], None]
    begins: datetime | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def perform(name: str, url: str) -> int:
    """Play a story; 0 only if it came out as it should."""
    with closing(Player(url, print)) as player:
        try:
            player.wait("the bot has read the directory", lambda: bool(player.state()["menu"]))
            PLAYS[name].act(player)
        except NotHeard as error:
            print(f"\nThe play “{name}” failed: {error}")
            return 1
    print(f"\nThe play “{name}” came out as it should.")
    return 0


def backup(player: Player) -> None:
    """Ahing's mail into support@ (minted), then Calvin's into sales@ (made in the console: a page), in Chinese."""
    print("--- support@ was made by the app: its password is minted ---")
    player.say("mei", "backup ahing to support@ because he leaves")
    player.hear("mei", "I asked 阿兴 for access")
    player.hear("ahing", "/pages/")
    player.show_everything("ahing@corp.test")
    player.enter("ahing", player.client_password("ahing@corp.test"))
    player.press("mei", "start:")
    player.hear("mei", "mails of ahing@corp.test are now in support@corp.test.")
    player.hear("mei", ".xlsx")
    player.hear("ahing", "are now in support@corp.test")
    arrived(player, "ahing@corp.test", "support@corp.test")
    player.wait("no password is left behind", lambda: not public(player, "support@corp.test")["passwords"])
    player.wait("Ahing's IMAP is off again", lambda: not player.mailbox("ahing@corp.test")["imap_on"])

    print("\n--- a second run copies only what is new ---")
    player.say("mei", "backup ahing to support@ because to be sure")
    player.hear("ahing", "/pages/")
    player.enter("ahing", player.client_password("ahing@corp.test"))
    player.press("mei", "start:")
    receipt = text_of(player.hear("mei", "already there"))
    must(" 0 copied" in receipt, receipt)
    arrived(player, "ahing@corp.test", "support@corp.test")

    print("\n--- sales@ was made in the console: a member who can open it gives access; in Chinese ---")
    player.say("mei", "备份calvin到sales@原因换岗")
    player.hear("calvin", "/pages/")
    player.show_everything("calvin@corp.test")
    player.enter("calvin", player.client_password("calvin@corp.test"))
    player.hear("mei", "/pages/")
    player.show_everything("sales@corp.test")
    player.enter("mei", player.client_password("sales@corp.test"))
    player.press("mei", "start:")
    player.hear("mei", "封邮件已在 sales@corp.test 中")
    player.hear("mei", ".xlsx")
    arrived(player, "calvin@corp.test", "sales@corp.test")


def public(player: Player, address: str) -> Any:
    """A public mailbox as the sandbox knows it."""
    return next(each for each in player.state()["public_mailboxes"] if each["address"] == address)


def mails(player: Player, address: str, folder: str) -> Counter[tuple[str, tuple[str, ...], str]]:
    """Every mail of a folder by its bytes, flags and moment; twins count."""
    found = player.get("mails", address=address, folder=folder, limit="100000")["mails"]
    return Counter((each["sha256"], tuple(sorted(each["flags"])), moment(each["date"])) for each in found)


def moment(date: str) -> str:
    """A date without the zone it was written in."""
    return datetime.fromisoformat(date).astimezone(UTC).isoformat()


def arrived(player: Player, source: str, target: str) -> None:
    """Every mail of the source lies in the target, byte for byte, with flags and date, once."""
    count = 0
    for folder in player.mailbox(source)["folders"]:
        wanted = mails(player, source, folder)
        found = mails(player, target, f"{ROOT}/{source}/{folder}")
        must(kept(found) == kept(wanted), f"{folder}: {len(wanted)} at the source, {len(found)} in the target")
        count += sum(wanted.values())
    must(count > 0, f"{source} holds nothing")
    print(f"  [checked] {count} mails of {source} are in {target}, byte for byte, once each")


def kept(found: Counter[tuple[str, tuple[str, ...], str]]) -> Counter[str]:
    """Without the mark for deletion, which a copy does not take over."""
    out: Counter[str] = Counter()
    for (digest, flags, date), count in found.items():
        kept_flags = " ".join(flag for flag in flags if flag not in ("\\Deleted", "\\Recent"))
        out[hashlib.sha256(f"{digest} {kept_flags} {date}".encode()).hexdigest()] += count
    return out


PLAYS: dict[str, Play] = {
    "backup": Play(backup),
    "reassign": Play(reassign),
    "domain": Play(play_domain.domain),
    "reminders": Play(play_reminders.reminders, play_reminders.BEGINS, play_reminders.SETTINGS),
}
