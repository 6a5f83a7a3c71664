"""What goes into the recycle bin by our own doing: asked of the console, then written into the book, with its days."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from bot.words import Words, say
from bot.work import JobStep
from handlers import handovers, recycle_bin
from handlers.handovers import Check
from storage.models import BinItem, BinSource, Handover

RECLAIM_WITHIN = timedelta(days=14)


def ask_to_reclaim(
    step: JobStep, *, address: str, owner: str, owner_name: str, why: Words, seen_before: Mapping[str, Any]
) -> Handover:
    """回收邮箱: the mailbox is to leave its owner, who stays."""
    return handovers.ask_for(
        step,
        title=say("reassign.reclaim_title", address=address, owner=owner_name),
        why=why,
        how=[say("reassign.path"), say("reassign.reclaim_how", owner=owner_name), say("reassign.no_delete")],
        values=[address],
        check=Check("owner_is_not", {"address": address, "userid": owner}),
        deadline_at=step.now + RECLAIM_WITHIN,
        stage="reclaim",
        seen_before=seen_before,
    )


def into_book(
    step: JobStep, *, address: str, mailbox_id: int | None, owner: str | None, source: BinSource, since: datetime
) -> BinItem:
    """Its entry of the book: it lies in the bin since it was last seen elsewhere."""
    box = step.tx.mailboxes.get(mailbox_id) if mailbox_id is not None else None
    item = recycle_bin.enter(
        step.tx, step.services.settings, source=source, known_from=step.job.kind, box=box, address=address,
        owner=step.tx.members.find(owner) if owner is not None else None, added_by=step.job.asked_by, entered_at=since,
    ) or step.tx.recycle_bin.waiting_at(address)  # fmt: skip
    assert item is not None  # noqa: S101 (what is not entered waits there already)
    return item


def last_seen(handover: Handover, otherwise: str) -> datetime:
    """When a mailbox was last seen where it was; the days in the bin are counted from then."""
    return datetime.fromisoformat(handover.before["at"] if handover.before is not None else otherwise)
