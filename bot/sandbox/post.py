"""Mail inside the simulated organisation: into mailboxes, to everybody of a group; elsewhere it is only on the wire."""

from __future__ import annotations

from collections.abc import Iterable

from bot.sandbox.callbacks import Callbacks, Outcome
from bot.sandbox.mailserver import INBOX, Mailbox
from bot.sandbox.organisation import Organisation
from bot.sandbox.people import MailGroup

ANYONE, GROUP, CUSTOM = 1, 2, 3  # of allow_type; 0: members of the corp
GROUPS_DEEP_MAX = 5  # of a group in a group


class Bounced(Exception):
    """Nobody takes it; the text is what a mail server says, with its code first."""


def boxes_of(org: Organisation, address: str, sender: str) -> list[Mailbox]:
    """The mailboxes behind an address, an alias or a group; none when it is not ours. Bounced says why not."""
    address = address.lower()
    group = org.groups.get(address)
    if group is not None:
        if not may_send(org, group, sender.lower()):
            raise Bounced("550 The sender is not allowed to send to this group")
        return [box for each in sorted(members(org, group)) if (box := org.mail.mailbox(each)) and not box.disabled]
    box = org.mail.mailbox(address)
    if box is not None and not box.disabled and org.bin_item(box.address) is None:
        return [box]
    if address.rpartition("@")[2] in org.domains and address not in (org.app_address, *org.app_aliases):
        raise Bounced("550 Mailbox unavailable or access denied")
    return []


def members(org: Organisation, group: MailGroup, deep: int = 0) -> set[str]:
    """The addresses of everybody in a group, departments, tags and groups expanded."""
    fields = {name: value["list"] for name, value in group.fields.items() if isinstance(value, dict)}
    people = [*org.in_departments(fields.get("department_list", []))]
    people += [each for tag in fields.get("tag_list", []) for each in org.tagged(tag)]
    found = {str(each).lower() for each in fields.get("email_list", [])} | addresses(people)
    for each in fields.get("group_list", []) if deep < GROUPS_DEEP_MAX else []:
        if (inner := org.groups.get(str(each).lower())) is not None:
            found |= members(org, inner, deep + 1)
    return found


def addresses(people: Iterable[object]) -> set[str]:
    """Those of members who have a mailbox."""
    return {str(address) for each in people if (address := getattr(each, "address", None))}


def may_send(org: Organisation, group: MailGroup, sender: str) -> bool:
    """Whether a group takes mail of a sender (allow_type, page 95510)."""
    kind = group.fields.get("allow_type", 0)
    if kind == ANYONE:
        return True
    if kind == GROUP:
        return sender in members(org, group)
    if kind != CUSTOM:
        return sender.rpartition("@")[2] in org.domains
    lists = {name: (group.fields.get(name) or {}).get("list", []) for name in (
        "allow_emaillist", "allow_departmentlist", "allow_taglist",
    )}  # fmt: skip
    people = [*org.in_departments(lists["allow_departmentlist"])]
    people += [each for tag in lists["allow_taglist"] for each in org.tagged(tag)]
    return sender in {str(each).lower() for each in lists["allow_emaillist"]} | addresses(people)


async def deliver(org: Organisation, callbacks: Callbacks, boxes: Iterable[Mailbox], raw: bytes) -> list[Outcome]:
    """Put a mail into INBOX; for a public mailbox public_email_change goes out."""
    outcomes = []
    for box in boxes:
        box.put(INBOX, raw, org.now())
        public = org.public_of_address(box.address)
        if public is not None:
            public.arrived += 1
            fields = {"ChangeType": "receive_email", "Id": public.id, "Amount": public.arrived}
            outcomes.append(await callbacks.from_system("app", "public_email_change", **fields))
    org.changed()
    return outcomes
