"""The play `reassign`: ahing@ becomes Calvin's with its history; what he loses is saved first, nobody is believed."""

from __future__ import annotations

import re
from typing import Any

from bot.sandbox.player import NotHeard, Player, must, text_of

AHING, CALVIN, SUPPORT = "ahing@corp.test", "calvin@corp.test", "support@corp.test"
LOOK_AGAIN_SECONDS = 61  # a look at a console step is made at most once a minute, and so is the look at the backup
STEP = re.compile(r"(?:Console step|后台待办) (\d+)")


def reassign(player: Player) -> None:
    """Asked, rejected with a reason, asked again, agreed to, saved, falsely said to be done, done, seen, told."""
    history = player.mailbox(AHING)["folders"]

    print("--- asked, and rejected with a reason ---")
    player.say("mei", "reassign ahing@ to calvin because he takes over the customers")
    shown = text_of(player.hear("mei", "is deleted for ever on"))
    must(f"{CALVIN} leaves 卡尔文" in shown and "unread" in shown, shown)
    player.press("mei", "reassign_ask:")
    player.hear("mei", "I asked 凌")
    player.card_with("ling", "approve:")
    player.press("ling", "reject:")
    player.hear("ling", "Why not?")
    player.say("ling", "ahing is still here this week")
    player.hear("mei", "ahing is still here this week")

    print("\n--- asked again, in Chinese, and agreed to ---")
    player.say("mei", "转移 ahing@ 给 calvin 原因 阿兴换岗，卡尔文接手客户")
    player.hear("mei", "被永久删除")
    player.press("mei", "reassign_ask:")
    player.hear("mei", "审批邮箱转移")
    player.press("ling", "approve:")
    player.hear("calvin", "acknowledge ")
    player.press("calvin", "reassign_ack:")
    player.hear("mei", "卡尔文 已知悉")

    print("\n--- what Calvin loses is saved first ---")
    player.hear("calvin", "/pages/")
    player.show_everything(CALVIN)
    player.enter("calvin", player.client_password(CALVIN))
    player.press("mei", "start:")
    player.hear("mei", f"封邮件已在 {SUPPORT} 中")
    player.advance(LOOK_AGAIN_SECONDS)

    print("\n--- taken off Ahing: said, but not done; then done ---")
    step = number_of(player.hear("mei", f"回收 阿兴 的邮箱 {AHING}"))
    must(text_of(player.hear("mei", AHING)) == AHING, "the address did not come in a message of its own")
    player.say("mei", f"完成 {step}")
    player.advance(LOOK_AGAIN_SECONDS)
    player.hear("mei", f"{AHING} 属于 阿兴")
    player.console("reclaim", member="ahing")
    player.advance(LOOK_AGAIN_SECONDS)
    player.press("mei", "handover_check:")
    player.hear("mei", f"待办 {step} 已完成")
    player.hear("mei", "现在位于回收站")

    print("\n--- assigned to Calvin ---")
    step = number_of(player.hear("mei", f"把 {AHING} 分配给 卡尔文"))
    player.console("assign", address=AHING, member="calvin")
    player.advance(LOOK_AGAIN_SECONDS)
    player.press("mei", "handover_done:")
    player.hear("mei", f"待办 {step} 已完成")
    told = text_of(player.hear("mei", "现属于 卡尔文"))
    must(f"{CALVIN} 位于回收站" in told and SUPPORT in told, told)
    player.hear("calvin", f"{AHING} is yours now")
    player.hear("ahing", f"{AHING} now belongs to 卡尔文")

    owner = next(each for each in player.state()["members"] if each["userid"] == "calvin")
    must(owner["address"] == AHING, f"Calvin has {owner['address']}")
    must(player.mailbox(AHING)["folders"] == history, "the history did not come along")
    must(in_bin(player, CALVIN), f"{CALVIN} does not wait in the recycle bin")
    must(not in_bin(player, AHING), f"{AHING} waits in the recycle bin")
    print(f"  [checked] {AHING} is Calvin's with its history; {CALVIN} waits in the bin, its mail is saved")


def number_of(entry: Any) -> int:
    """The number of the console step a message speaks of."""
    if (found := STEP.search(text_of(entry))) is None:
        raise NotHeard(text_of(entry))
    return int(found[1])


def in_bin(player: Player, address: str) -> bool:
    """Whether a mailbox waits in the simulated recycle bin."""
    return any(each["address"] == address and each["state"] == "waiting" for each in player.state()["recycle_bin"])
