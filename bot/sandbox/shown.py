"""The simulated organisation as JSON: what the control API answers."""

from __future__ import annotations

import hashlib
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser
from typing import Any

from bot.sandbox.mailserver import FAULTS, Message
from bot.sandbox.organisation import Organisation
from bot.sandbox.people import Member
from bot.sandbox.tour import tour


def mail_shown(mail: Message) -> dict[str, Any]:
    """A mail as JSON; what its headers do not say in a readable way is empty."""
    headers = BytesHeaderParser().parsebytes(mail.raw)
    return {
        "uid": mail.uid,
        "subject": readable_header(headers.get("Subject")),
        "sender": readable_header(headers.get("From")),
        "date": mail.date.isoformat(),
        "flags": sorted(mail.flags),
        "size_bytes": len(mail.raw),
        "sha256": hashlib.sha256(mail.raw).hexdigest(),
    }


def readable_header(value: Any) -> str:
    """A header's text with its encoded words decoded; raw bytes of unknown charset come as replacement characters."""
    try:
        return str(make_header(decode_header(value))) if value is not None else ""
    except (ValueError, LookupError):
        return str(value).encode("utf-8", "replace").decode()


def whole_state(org: Organisation) -> dict[str, Any]:
    """The organisation as JSON."""
    return {
        "clock": org.now().isoformat(),
        "version": org.version,
        "domain": org.domain,
        "domains": dict(org.domains),
        "zones": [
            {"name": each.name, "provider": each.provider, "records": [one.shown() for one in each.records]}
            for each in org.dns.zones.values()
        ],
        "dns_accounts": org.providers.accounts.shown(),
        "members": [member_shown(org, each) for each in org.members.values()],
        "departments": [
            {"id": each.id, "name": each.name, "name_en": each.name_en, "parent": each.parent, "leaders": each.leaders}
            for each in org.departments.values()
        ],
        "tags": [
            {"id": each.id, "name": each.name, "members": each.members, "departments": each.departments}
            for each in org.tags.values()
        ],
        "visible_departments": list(org.visible),
        "mailboxes": [mailbox_shown(org, each) for each in org.addresses()],
        "public_slots": {"used": len(org.public), "all": org.places()},
        "public_mailboxes": [
            {
                "id": each.id,
                "address": each.address,
                "name": each.name,
                "members": each.members,
                "departments": each.departments,
                "tags": each.tags,
                "aliases": each.aliases,
                "by_app": each.by_app,
                "frozen": each.frozen,
                "readers": [reader.userid for reader in org.readers(each)],
                "passwords": [
                    {"id": p.id, "remark": p.remark, "created": p.created.isoformat(), "by_api": p.by_api}
                    for p in each.passwords
                ],
            }
            for each in org.public.values()
        ],
        "recycle_bin": [
            {
                "id": each.id,
                "address": each.address,
                "kind": each.kind,
                "source": each.source,
                "former": each.former,
                "recycled_at": each.recycled_at.isoformat(),
                "deletes_at": each.deletes_at.isoformat(),
                "days_left": org.days_left(each),
                "state": each.state,
                "backed_up_to": each.backed_up_to,
            }
            for each in org.bin
        ],
        "groups": [{"groupid": each.id, "by_app": each.by_app, **each.fields} for each in org.groups.values()],
        "vip": list(org.vip),
        "app_mailbox": {"address": org.app_address, "aliases": list(org.app_aliases)},
        "menu": org.chats.menu or [],
        "trouble": org.troubles.shown(),
        "tour": tour(org),
        "mail_faults": dict(FAULTS),
        "imap": {"host": "127.0.0.1", "port": org.mail.port, "tls": False},
        "bot_url": org.bot_url,
        "wecom": {
            "corp_id": org.corp_id,
            "agent_id": org.agent_id,
            "app_secret": org.app_secret,
            "contacts_secret": org.contacts_secret,
            "callback_token": org.callback_token,
            "callback_aes_key": org.callback_aes_key,
            "contacts_callback_token": org.contacts_callback_token,
            "contacts_callback_aes_key": org.contacts_callback_aes_key,
            "api_base": org.api_base,
        },
    }


def member_shown(org: Organisation, member: Member) -> dict[str, Any]:
    """A member as JSON, with his last line of the chat counted."""
    return {
        "userid": member.userid,
        "name": member.name,
        "alias": member.alias,
        "position": member.position,
        "departments": member.departments,
        "leads": sorted(member.leads),
        "leaders": member.leaders,
        "address": member.address,
        "aliases": member.aliases,
        "status": member.status,
        "frozen": member.frozen,
        "entries": len(org.chats.entries.get(member.userid.lower(), [])),
    }


def mailbox_shown(org: Organisation, address: str) -> dict[str, Any]:
    """A mailbox as JSON: whose it is, its settings, its folders with counts."""
    box = org.box(address)
    member, public = org.member_of_address(address), org.public_of_address(address)
    return {
        "address": address,
        "kind": "member" if member else "public" if public else "bin",
        "owner": member.userid if member else public.name if public else None,
        "aliases": sorted(box.aliases),
        "imap_on": box.imap_on,
        "disabled": box.disabled,
        "window_days": box.window_days,
        "show_custom": box.show_custom,
        "quota_bytes": box.quota_bytes,
        "used_bytes": box.used_bytes,
        "unread": box.unread(),
        "passwords": len(box.passwords),
        "mails": sum(box.counts().values()),
        "folders": box.counts(),
    }
