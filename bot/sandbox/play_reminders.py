"""
The play `reminders`: nobody forgets the recycle bin, through a weekend and the week of the National Day of 2026.

Ahing leaves on 12 September: his mailbox is deleted on 12 October. Nobody does anything about it, so it is lost, and
the bot says so. Calvin's was taken back on 25 September without the bot's seeing it; it is assigned in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bot.sandbox.player import SHANGHAI, Player, must, text_of

AHING, CALVIN = "ahing@corp.test", "calvin@corp.test"
BEGINS = datetime(2026, 9, 12, 10, tzinfo=SHANGHAI)  # a Saturday
SETTINGS: dict[str, Any] = {"bot_admins": ("mei", "wei")}
EVERYBODY = ("mei", "wei", "ling", "calvin", "fang", "tao")


def reminders(player: Player) -> None:
    """14, 7, 3 and 1 days before and on the last morning, to the right people; put off, assigned, lost."""
    print("--- Saturday, 12 September: Ahing leaves ---")
    player.say("wei", "语言 中文")
    player.hear("wei", "中文")
    player.say("mei", "mailbox ahing@")
    player.hear("mei", AHING)
    player.console("delete_member", member="ahing")
    told = text_of(player.hear("mei", f"The mailbox {AHING} is in the recycle bin"))
    must("the last day is 2026-10-11" in told, told)
    player.hear("wei", "最后一天是 2026-10-11")
    announced(player, AHING, "09-24", "09-30", "10-08", "10-10", "10-11")

    print("\n--- 14 days: Sunday the 27th is a holiday, so on Thursday the 24th, to both admins; one puts it off ---")
    reminded(player, "2026-09-24 09:00", AHING, "mei", "wei")
    player.press("mei", "bin_later:")
    player.hear("mei", f"remind you of {AHING} again at 2026-09-28 09:00")
    reminded(player, "2026-09-28 09:00", AHING, "mei")  # Friday to Sunday nobody works

    print("\n--- Monday, the 28th: Calvin's mailbox lies in the bin, too; mei looks after it ---")
    player.console("reclaim", member="calvin")
    player.say("mei", "bin add calvin@ deleted 2026-09-25")
    told = text_of(player.hear("mei", f"{CALVIN}"))
    must("the last day is 2026-10-24" in told, told)
    announced(player, CALVIN, "10-10", "10-16", "10-21", "10-23", "10-24")

    print("\n--- 7 days: 4 October lies in the week of the National Day, so on the last working day before ---")
    reminded(player, "2026-09-30 09:00", AHING, "mei", "wei")
    print("\n--- 3 days: the first working day after it; his manager hears, too ---")
    reminded(player, "2026-10-08 09:00", AHING, "mei", "wei", "ling")
    print("\n--- 1 day: a Saturday that is worked; and 14 days before Calvin's, of which only mei hears ---")
    reminded(player, "2026-10-10 09:00", AHING, "mei", "wei", "ling", more={"mei": (CALVIN,)})
    print("\n--- the last morning: a Sunday, on its own day nevertheless ---")
    reminded(player, "2026-10-11 09:00", AHING, "mei", "wei", "ling")

    print("\n--- nobody did anything: it is deleted, and the bot says so when work begins ---")
    player.walk("before_deletion")
    must(state_of(player, AHING) == "waiting", f"{AHING} is {state_of(player, AHING)} too early")
    player.walk("after_deletion")
    must(state_of(player, AHING) == "expired", f"{AHING} is {state_of(player, AHING)}")
    must(not any(news(player, each) for each in EVERYBODY), "somebody was told at midnight")
    player.walk("next_reminder")
    stands(player, "2026-10-12 09:00")
    last = text_of(player.hear("mei", f"{AHING} was deleted for ever at 2026-10-12 00:00. Nobody let it go"))
    must("I am sorry" in last, last)
    player.hear("wei", f"据我所知，{AHING} 已于 2026-10-12 00:00 被永久删除")
    player.hear("ling", f"{AHING} was deleted for ever")

    print("\n--- Calvin's, 7 days: Saturday the 17th is a weekend, so on Friday; then it is assigned ---")
    reminded(player, "2026-10-16 09:00", CALVIN, "mei")
    player.say("mei", "bin done calvin@ assigned")
    player.hear("mei", f"I find nobody in WeCom with {CALVIN}")  # it is not believed
    player.console("assign", address=CALVIN, member="tao")
    player.advance(61)  # an answer that young is not asked for again
    player.say("mei", "bin done calvin@ assigned")
    player.hear("mei", f"{CALVIN} is safe: it belongs to 陈涛 now")
    must(not [each for each in player.due() if each["about"].startswith("bin ")], "something is still to come")
    player.until(datetime(2026, 10, 27, 10, tzinfo=SHANGHAI))
    must(not any(news(player, each) for each in EVERYBODY), "somebody is reminded of what is safe")
    print(f"  [checked] {AHING} was lost after every reminder, and {CALVIN} is safe: nobody is reminded any more")


def announced(player: Player, address: str, *days: str) -> None:
    """What is due next of a mailbox, told with its reasons, is on these days at 9 in the morning."""
    found = [each for each in player.due() if each["kind"] == "reminder" and address in each["what"]["en"]]
    for each in found:
        print(f"  [due] {local(each['at']):%a %m-%d %H:%M} {each['what']['en']}. {each['why']['en']}")
    moments = [f"{local(each['at']):%m-%d %H:%M}" for each in found]
    must(moments == [f"{day} 09:00" for day in days], f"{address} is announced for {moments}")


def reminded(
    player: Player, moment: str, address: str, *members: str, more: dict[str, Sequence[str]] | None = None
) -> None:
    """The next reminder comes at this moment and reaches these members, each once, and nobody else."""
    before = [each for each in EVERYBODY if news(player, each)]
    must(not before, f"{before} heard something before")
    player.walk("next_reminder")
    stands(player, moment)
    for member in EVERYBODY:
        heard = news(player, member)
        wanted = [address, *(more or {}).get(member, ())] if member in members else []
        must(len(heard) == bool(wanted), f"{member} heard {heard}")
        must(all(each in heard[0] for each in wanted), f"{member} heard {heard}, not {wanted}")


def news(player: Player, member: str) -> list[str]:
    """What a member has not read yet, now read."""
    return [text_of(each) for each in player.unread(member, 0)]


def stands(player: Player, moment: str) -> None:
    """The sandbox clock shows this minute."""
    shown = f"{player.now():%Y-%m-%d %H:%M}"
    must(shown == moment, f"the clock shows {shown}, not {moment}")


def state_of(player: Player, address: str) -> str:
    """What became of a mailbox in the simulated recycle bin."""
    return str(next(each["state"] for each in player.state()["recycle_bin"] if each["address"] == address))


def local(moment: str) -> datetime:
    """A moment by the clock on the wall in Shanghai."""
    return datetime.fromisoformat(moment).astimezone(SHANGHAI)
