"""
The guided tour: its steps, each done when the simulated organisation shows that it is.

Nothing is ticked by a click: the chats, mailboxes, the bin, the zones and the wire are looked at whenever something
has changed, so that a step done in a moment is seen, too (a card shows its buttons only until somebody decides). What
was done stays done until the organisation begins anew. The words stand in the page's words/tour.js.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from bot.sandbox.chat import Entry
from bot.sandbox.organisation import Organisation
from bot.words import LANGUAGES, sentence

SETTINGS = {"bot_admins": ["mei", "yan"]}  # two: what lets people read others' mail needs a second
ADMIN, OWNER, NEXT, MANAGER = "mei", "ahing", "calvin", "ling"
SUPPORT, OWNED, LEFT = "support@corp.test", "ahing@corp.test", "jun@corp.test"
REMINDED_AFTER = timedelta(days=10)  # a reminder and not the first news: the first comes after sixteen of thirty days
ROOT = "其他文件夹"


def beginnings(*keys: str) -> tuple[str, ...]:
    """How sentences of the catalogue begin, before their first value, in every language."""
    return tuple(sentence(key)[language].partition("{")[0] for key in keys for language in LANGUAGES)


PARTIAL = beginnings("rescue.once_partial")
VERDICTS = beginnings("doctor.sum_fine", "doctor.sum_warnings")


def said(org: Organisation, member: str) -> list[Entry]:
    """What the bot has said to a member."""
    return [each for each in org.chats.entries.get(member, []) if each.sender == "bot" and not each.recalled]


def text_of(entry: Entry, member: str) -> str:
    """A line of a chat as text; of a card, all that stands in it."""
    return str(entry.card.views[member].card) if entry.card else entry.text


def has_button(org: Organisation, member: str, verb: str) -> bool:
    """Whether a card of a member shows such a button, pressed or not."""
    return any(
        str(button.get("key") or "").startswith(verb)
        for entry in said(org, member)
        if entry.card
        for button in entry.card.views[member].card.get("button_list") or []
    )


def asked(org: Organisation) -> bool:
    return any("/pages/" in text_of(each, OWNER) for each in said(org, OWNER))


def consented(org: Organisation) -> bool:
    return has_button(org, ADMIN, "start:")


def receipted(org: Organisation) -> bool:
    files = [each.media.name for each in said(org, ADMIN) if each.media]
    box = org.mail.mailbox(SUPPORT)
    copied = box is not None and f"{ROOT}/{OWNED}/INBOX" in box.folders
    return copied and any(each.endswith(".xlsx") for each in files)


def opened(org: Organisation) -> bool:
    box = org.public_of_address(SUPPORT)
    return box is not None and NEXT in [each.userid for each in org.readers(box)]


def manager_asked(org: Organisation) -> bool:
    return has_button(org, MANAGER, "approve:")


def agreed(org: Organisation) -> bool:
    return any(
        (each.card.views[MANAGER].clicked or "").startswith("approve:") for each in said(org, MANAGER) if each.card
    )


def handed_over(org: Organisation) -> bool:
    member = org.member(NEXT)
    return member is not None and member.address == OWNED


def binned(org: Organisation) -> bool:
    return any(each.address == LEFT for each in org.bin)


def reminded(org: Organisation) -> bool:
    since = [each.recycled_at + REMINDED_AFTER for each in org.bin if each.address == LEFT]
    return bool(since) and any(each.at >= since[-1] and LEFT in text_of(each, ADMIN) for each in said(org, ADMIN))


def rescued(org: Organisation) -> bool:
    saved = any(each.address == LEFT and each.backed_up_to == SUPPORT for each in org.bin)
    told = [text_of(each, ADMIN) for each in said(org, ADMIN)]
    return saved and any(LEFT in each and any(first in each for first in PARTIAL) for each in told)


def connected(org: Organisation) -> bool:
    zone = org.dns.zones.get("newcorp.test")
    return zone is not None and {each.value for each in zone.records if each.type == "MX"} == {
        "mxbiz1.qq.com",
        "mxbiz2.qq.com",
    }


def aliased(org: Organisation) -> bool:
    box = org.public_of_address(SUPPORT)
    return box is not None and bool(box.aliases)


def minted(org: Organisation) -> bool:
    box = org.public_of_address(SUPPORT)
    wanted = ("printer", "打印机")
    return box is not None and any(each.by_api and any(w in each.remark for w in wanted) for each in box.passwords)


def saved(org: Organisation) -> bool:
    return any(each["kind"] == "console" and each.get("action") == "verify_callbacks" for each in org.wire)


def examined(org: Organisation) -> bool:
    return "saved" in org.tour and any(each.text.startswith(VERDICTS) for each in said(org, ADMIN))


STEPS: dict[str, Callable[[Organisation], bool]] = {
    each.__name__: each
    for each in (
        asked, consented, receipted, opened, manager_asked, agreed, handed_over, binned, reminded, rescued, connected,
        aliased, minted, saved, examined,
    )
}  # fmt: skip


def look(org: Organisation) -> None:
    """Note the steps that are done by now."""
    org.tour.update(name for name, holds in STEPS.items() if name not in org.tour and holds(org))


def tour(org: Organisation) -> list[dict[str, object]]:
    """The steps in their order, and which of them are done."""
    return [{"step": name, "done": name in org.tour} for name in STEPS]
