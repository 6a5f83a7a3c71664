"""The rest of the mail API: account switch, options, unread count, advanced seats, groups, the app's own mailbox."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

from bot.sandbox.mailserver import Mailbox
from bot.sandbox.people import MailGroup, Member
from bot.sandbox.wecom.api import Call, Refused, endpoint, known, listed, page
from bot.sandbox.wecom.contacts import ADDRESS
from bot.sandbox.wecom.publicmail import in_sight

GROUP_NAME_BYTES = 200
GROUP_LISTS = ("email_list", "tag_list", "department_list", "group_list")
ALLOW_LISTS = ("allow_emaillist", "allow_departmentlist", "allow_taglist")
VIP_CALL_MAX = 100
MAIL_BYTES, ATTACHMENTS_MAX = 50 << 20, 200
FORCED_LOGIN, IMAP, POP, SECURE_LOGIN = 1, 2, 3, 4


def mail_member(call: Call, userid: str) -> tuple[Member, Mailbox]:
    """A member in sight with his mailbox."""
    member = call.member(userid, unseen=60021)
    if member.address is None:
        raise Refused(60148, "biz_mail not found")
    return member, call.org.box(member.address)


# ---------------------------------------------------------------------- account, options, unread
@endpoint("POST", "exmail/account/act_email")
def act_email(call: Call) -> dict[str, Any]:
    """Enable (1) or disable (2) a mailbox; with both ids only the member's (95512)."""
    kind = call.number("type", missing=680043)
    if kind not in (1, 2):
        raise Refused(680043, "invalid type")
    org, userid = call.org, call.body.get("userid")
    if userid:
        member, box = mail_member(call, str(userid))
        if kind == 2 and member.is_creator:
            raise Refused(680044, "can not disable super admin or creator")
        owner: Any = member
        address = box.address
    elif call.body.get("publicemail_id") is not None:
        mailbox = org.public.get(call.number("publicemail_id", missing=680036))
        if mailbox is None or not in_sight(call, mailbox):
            raise Refused(680035, "publicmail id not found")
        owner, address = mailbox, mailbox.address
    else:
        raise Refused(40058, "userid and publicemail_id are both empty")
    if kind == 2 and owner.frozen:
        raise Refused(680045, "email has been closed")
    owner.frozen = kind == 2
    org.sync(address)
    org.changed()
    return {}


@endpoint("POST", "exmail/useroption/get")
def useroption_get(call: Call) -> dict[str, Any]:
    """A member's switches as strings "0" and "1" (95513)."""
    member, box = mail_member(call, call.text("userid", missing=41009))
    kinds = call.body.get("type")
    if not isinstance(kinds, list) or not kinds or any(each not in (1, 2, 3, 4) for each in kinds):
        raise Refused(680041, "invalid option type")
    values = {
        FORCED_LOGIN: member.secure_login_forced,
        IMAP: box.imap_on,
        POP: member.pop_on,
        SECURE_LOGIN: member.secure_login,
    }
    return {"option": {"list": [{"type": each, "value": str(int(values[each]))} for each in kinds]}}


@endpoint("POST", "exmail/useroption/update")
def useroption_update(call: Call) -> dict[str, Any]:
    """Set a member's switches (98008); type 4 can only be read."""
    member, box = mail_member(call, call.text("userid", missing=41009))
    options = listed(call.body.get("option"), "option")
    for each in options:
        if not isinstance(each, dict) or each.get("type") not in (FORCED_LOGIN, IMAP, POP):
            raise Refused(680042, "invalid option type")
        if each.get("value") not in ("0", "1"):
            raise Refused(680000, "invalid option value")
    for each in options:
        on = each["value"] == "1"
        if each["type"] == IMAP:
            box.imap_on = on
        elif each["type"] == POP:
            member.pop_on = on
        else:
            member.secure_login_forced = on
            member.secure_login = member.secure_login or on
    call.org.changed()
    return {}


@endpoint("POST", "exmail/mail/get_newcount")
def get_newcount(call: Call) -> dict[str, Any]:
    """A member's unread mails (95514)."""
    return {"count": mail_member(call, call.text("userid", missing=41009))[1].unread()}


# ---------------------------------------------------------------------- advanced seats
def seats(call: Call) -> tuple[list[str], list[str]]:
    """Up to 100 userids, split into members in sight and the rest."""
    ids = call.body.get("userid_list")
    if not isinstance(ids, list) or not 1 <= len(ids) <= VIP_CALL_MAX:
        raise Refused(40058, "invalid userid_list")
    known: list[str] = []
    unknown: list[str] = []
    for each in ids:
        member = call.org.member(str(each))
        if member and call.seen(member) and member.address:
            known.append(member.userid)
        else:
            unknown.append(str(each))
    return known, unknown


@endpoint("POST", "exmail/vip/batch_add")
def vip_add(call: Call) -> dict[str, Any]:
    """Give advanced seats (99316)."""
    known, unknown = seats(call)
    call.org.vip = list(dict.fromkeys([*call.org.vip, *known]))
    return {"succ_userid_list": known, "fail_userid_list": unknown}


@endpoint("POST", "exmail/vip/batch_del")
def vip_del(call: Call) -> dict[str, Any]:
    """Take advanced seats back (99317)."""
    known, unknown = seats(call)
    call.org.vip = [each for each in call.org.vip if each not in known]
    return {"succ_userid_list": known, "fail_userid_list": unknown}


@endpoint("POST", "exmail/vip/list")
def vip_list(call: Call) -> dict[str, Any]:
    """Who has an advanced seat (99318); has_more is a real boolean here."""
    limit = call.number("limit", default=100)
    if not 1 <= limit <= 200:
        raise Refused(40058, "invalid limit")
    cursor = call.body.get("cursor", "")
    part, following = page(call.org.vip, cursor if isinstance(cursor, str) else "?", limit)
    return {"has_more": bool(following), "next_cursor": following, "userid_list": part}


# ---------------------------------------------------------------------- mail groups
def asked_group(call: Call, groupid: str) -> MailGroup:
    """The group in sight; the ownership rule of public mailboxes holds for groups too."""
    group = call.org.groups.get(groupid.lower())
    if group is None or not (group.by_app or not call.org.troubles.is_on("own_public_mailboxes_only")):
        raise Refused(680012, "group not found")
    return group


def group_fields(call: Call, before: MailGroup | None) -> dict[str, Any]:
    """The group's fields after the call, checked."""
    org, body = call.org, call.body
    fields: dict[str, Any] = dict(before.fields) if before else {"allow_type": 0}
    if before is None or "groupname" in body:
        name = body.get("groupname")
        if not isinstance(name, str) or not 1 <= len(name.encode()) <= GROUP_NAME_BYTES:
            raise Refused(680002, "invalid groupname")
        if any(each.fields["groupname"] == name and each is not before for each in org.groups.values()):
            raise Refused(680002, "groupname existed")
        fields["groupname"] = name
    for name in (*GROUP_LISTS, *ALLOW_LISTS):
        if name in body:
            fields[name] = {"list": listed(body[name], name)}
    for address in fields.get("email_list", {}).get("list", []):
        if not isinstance(address, str) or org.member_of_address(address) is None:
            raise Refused(680003, "invalid member email")
    for address in fields.get("group_list", {}).get("list", []):
        if not isinstance(address, str) or address.lower() not in org.groups:
            raise Refused(680004, "invalid group in group_list")
    if not known(fields.get("department_list", {}).get("list", []), org.departments):
        raise Refused(60123, "invalid department id")
    if not known(fields.get("tag_list", {}).get("list", []), org.tags):
        raise Refused(40068, "invalid tagid")
    if not any(fields.get(name, {}).get("list") for name in GROUP_LISTS):
        raise Refused(680008, "group has no member")
    if "allow_type" in body:
        if body["allow_type"] not in (0, 1, 2, 3):
            raise Refused(680006, "invalid allow_type")
        fields["allow_type"] = body["allow_type"]
    allowed = [name for name in ALLOW_LISTS if fields.get(name, {}).get("list")]
    if fields["allow_type"] == 3 and not allowed:
        raise Refused(680007, "allow list is empty")
    if fields["allow_type"] != 3:
        if any(name in body for name in ALLOW_LISTS):
            raise Refused(680007, "allow list is only for allow_type 3")
        for name in ALLOW_LISTS:
            fields.pop(name, None)
    return fields


@endpoint("POST", "exmail/group/create")
def group_create(call: Call) -> dict[str, Any]:
    """Make a mail group (95510)."""
    groupid = call.body.get("groupid")
    if not isinstance(groupid, str) or not ADDRESS.fullmatch(groupid):
        raise Refused(680001, "invalid groupid")
    if not call.org.owns(groupid.rpartition("@")[2]):
        raise Refused(680001, "invalid groupid domain")
    holder = call.org.occupied(groupid)
    if holder:
        raise Refused(680011 if holder == "group" else 680010, "groupid existed")
    call.org.groups[groupid.lower()] = MailGroup(groupid, True, group_fields(call, None))
    return {}


@endpoint("POST", "exmail/group/update")
def group_update(call: Call) -> dict[str, Any]:
    """Change a mail group (97995): left out stays, an empty list clears."""
    group = asked_group(call, call.text("groupid", missing=680001))
    group.fields = group_fields(call, group)
    return {}


@endpoint("POST", "exmail/group/delete")
def group_delete(call: Call) -> dict[str, Any]:
    """Delete a mail group (97996)."""
    del call.org.groups[asked_group(call, call.text("groupid", missing=680001)).id.lower()]
    return {}


@endpoint("GET", "exmail/group/get")
def group_get(call: Call) -> dict[str, Any]:
    """A mail group's fields (97997)."""
    group = asked_group(call, call.asked("groupid", 680001))
    empty: dict[str, Any] = {name: {"list": []} for name in GROUP_LISTS}
    return {"groupid": group.id, **empty, **group.fields}


@endpoint("GET", "exmail/group/search")
def group_search(call: Call) -> dict[str, Any]:
    """All mail groups (fuzzy 0) or those whose address contains `groupid` (fuzzy 1) (97998)."""
    fuzzy = call.query.get("fuzzy", "")
    if fuzzy not in ("0", "1"):
        raise Refused(680015, "invalid fuzzy")
    wanted = call.query.get("groupid", "").lower() if fuzzy == "1" else ""
    own_only = call.org.troubles.is_on("own_public_mailboxes_only")
    hits = [each for each in call.org.groups.values() if wanted in each.id.lower() and (each.by_app or not own_only)]
    rows = [{"groupid": each.id, "groupname": each.fields["groupname"]} for each in hits]
    return {"count": len(rows), "groups": rows}


# ---------------------------------------------------------------------- the app's own mailbox
def addressed(call: Call, name: str) -> list[str]:
    """The addresses of to, cc or bcc: `{emails, userids}`."""
    part = call.body.get(name) or {}
    if not isinstance(part, dict):
        raise Refused(40058, f"invalid {name}")
    emails, userids = part.get("emails") or [], part.get("userids") or []
    if not isinstance(emails, list) or not isinstance(userids, list):
        raise Refused(40058, f"invalid {name}")
    found: list[str] = []
    for address in emails:
        if not isinstance(address, str) or not ADDRESS.fullmatch(address):
            raise Refused(40058, f"invalid {name}.emails")
        found.append(address)
    for userid in userids:
        member = call.member(str(userid), unseen=60021)
        if member.address:
            found.append(member.address)
    return found


@endpoint("POST", "exmail/app/compose_send")
def compose_send(call: Call) -> dict[str, Any]:
    """Send a mail from the app's mailbox (97445); members of the corp find it in their INBOX."""
    to = addressed(call, "to")
    if not to:
        raise Refused(40058, "missing to")
    subject, text = call.text("subject"), call.text("content")
    kind = call.body.get("content_type", "html")
    if kind not in ("html", "text"):
        raise Refused(40058, "invalid content_type")
    copies, blind = addressed(call, "cc"), addressed(call, "bcc")
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = call.org.app_address, ", ".join(to), re.sub(r"[\r\n]+", " ", subject)
    if copies:
        mail["Cc"] = ", ".join(copies)
    mail["Date"] = call.now
    mail["Message-ID"] = f"<{secrets.token_hex(12)}@{call.org.domain}>"
    mail.set_content(text, subtype="plain" if kind == "text" else "html")
    attachments = call.body.get("attachment_list") or []
    if not isinstance(attachments, list) or len(attachments) > ATTACHMENTS_MAX:
        raise Refused(40058, "attachment_list exceed max count")
    for each in attachments:
        try:
            content = base64.b64decode(each["content"], validate=True)
            mail.add_attachment(content, maintype="application", subtype="octet-stream", filename=each["file_name"])
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise Refused(40058, "invalid attachment_list") from None
    raw = mail.as_bytes()
    if len(raw) > MAIL_BYTES:
        raise Refused(45002, "mail size out of limit")
    for address in dict.fromkeys([*to, *copies, *blind]):
        deliver_inside(call, address, raw)
    call.org.record("mail", sender=call.org.app_address, to=to, subject=subject)
    return {}


def deliver_inside(call: Call, address: str, raw: bytes) -> None:
    """Put a mail into the INBOX of whoever has the address in the corp; elsewhere it is only on the wire."""
    org = call.org
    if address.lower() in (org.app_address, *org.app_aliases):
        org.app_mails.append((secrets.token_urlsafe(24), call.now, raw.decode(errors="replace")))
    box = org.mail.mailbox(address.lower())
    if box is not None and not box.disabled:
        box.put("INBOX", raw, call.now)


@endpoint("POST", "exmail/app/get_mail_list")
def get_mail_list(call: Call) -> dict[str, Any]:
    """The INBOX of the app's mailbox (97369); has_more is 0 or 1 here."""
    begin, end = call.number("begin_time"), call.number("end_time")
    limit = call.number("limit", default=100)
    if end < begin or not 1 <= limit <= 1000:
        raise Refused(40058, "invalid time range or limit")
    first, last = datetime.fromtimestamp(begin, UTC), datetime.fromtimestamp(end, UTC)
    hits = [number for number, at, _ in call.org.app_mails if first <= at <= last]
    cursor = call.body.get("cursor", "")
    part, following = page(hits, cursor if isinstance(cursor, str) else "?", limit)
    return {
        "next_cursor": following,
        "has_more": int(bool(following)),
        "mail_list": [{"mail_id": each} for each in part],
    }


@endpoint("POST", "exmail/app/read_mail")
def read_mail(call: Call) -> dict[str, Any]:
    """A mail of the app's mailbox as EML (97979)."""
    wanted = call.text("mail_id")
    for number, _, text in call.org.app_mails:
        if number == wanted:
            return {"mail_data": text}
    raise Refused(40058, "invalid mail_id")


@endpoint("POST", "exmail/app/get_email_alias")
def get_email_alias(call: Call) -> dict[str, Any]:
    """The app mailbox's address and aliases (97991)."""
    return {"email": call.org.app_address, "alias_list": list(call.org.app_aliases)}


@endpoint("POST", "exmail/app/update_email_alias")
def update_email_alias(call: Call) -> dict[str, Any]:
    """A new address for the app mailbox; the old one stays as alias (97373)."""
    new = call.text("new_email").lower()
    if not ADDRESS.fullmatch(new) or not call.org.owns(new.rpartition("@")[2]):
        raise Refused(60143, "invalid new_email")
    org = call.org
    if new in org.app_aliases:
        org.app_aliases.remove(new)
    elif org.occupied(new):
        raise Refused(60143, "new_email existed")
    org.app_aliases.append(org.app_address)
    org.app_address = new
    return {}
