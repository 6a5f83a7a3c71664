"""The steps the bot asks for in the admin console, as the page shows them, and the order that does each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bot.words import LANGUAGES, Words, from_json
from handlers.handovers.handover_card import seen_words
from storage.models import Handover

if TYPE_CHECKING:
    from bot.app import Bot

# What a check looks for, to the console's action that brings it about.
ORDERS: dict[str, Callable[[Handover], dict[str, Any]]] = {
    "owner_is_not": lambda step: {"action": "reclaim", "member": step.args["userid"]},
    "owner_is": lambda step: {"action": "assign", "address": step.args["address"], "member": step.args["userid"]},
    "renamed": lambda step: {
        "action": "rename", "address": step.args["instead_of"], "new_address": step.args["address"],
    },
    "is_public": lambda step: {
        "action": "convert_to_public", "address": step.args["address"], "name": step.values[1],
        "members": [step.asked_of],
    },
    "public_is_gone": lambda step: {"action": "delete_public", "address": step.args["address"]},
    "copied_once": lambda step: {"action": "backup_once", "address": step.values[0], "target": step.values[1]},
    "domain_accepted": lambda step: {"action": "verify_domain", "domain": step.args["domain"]},
}  # fmt: skip


def steps(bot: Bot | None) -> list[dict[str, Any]]:
    """The open steps, oldest first, in both languages; `order` is what `POST console` takes to do one."""
    if bot is None:
        return []
    zone = bot.settings.zone
    with bot.store.begin() as tx:
        return [
            {
                "id": each.id,
                "job": each.job_id,
                "asked_of": each.asked_of,
                "title": in_both(from_json(each.title)),
                "why": in_both(from_json(each.why)),
                "how": [in_both(from_json(line)) for line in each.how],
                "values": list(each.values),
                "until": each.deadline_at.isoformat(),
                "contradicted": str(each.state) == "contradicted",
                "seen": in_both(seen_words(each, zone)),
                "order": ORDERS[each.check](each),
            }
            for each in oldest_first(tx.handovers.open_ones())
        ]


def oldest_first(handovers: Sequence[Handover]) -> list[Handover]:
    """In the order they were asked for."""
    return sorted(handovers, key=lambda each: each.id)


def in_both(words: Words) -> dict[str, str]:
    """A sentence in every language."""
    return {language: words.text(language) for language in LANGUAGES}
