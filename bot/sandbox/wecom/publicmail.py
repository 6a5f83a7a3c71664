"""Public mailboxes: the seven `exmail/publicmail/*` calls (95511, 98000-98003, 100183, 100184)."""

from __future__ import annotations

from typing import Any

from bot.sandbox.organisation import NoPlace
from bot.sandbox.people import PublicMailbox
from bot.sandbox.wecom.api import Call, Refused, endpoint, known, listed
from bot.sandbox.wecom.contacts import ADDRESS

NAME_CHARS, NAME_HANZI = 64, 32
ALIASES_MAX = 5
PASSWORDS_MAX = 10
REMARK_BYTES = 128
REMARK = "办公PC"
LISTS = {"userid_list": "members", "department_list": "departments", "tag_list": "tags", "alias_list": "aliases"}


def in_sight(call: Call, mailbox: PublicMailbox) -> bool:
    """An app sees only the public mailboxes it created itself (a switch, on at the start)."""
    return mailbox.by_app or not call.org.troubles.is_on("own_public_mailboxes_only")


def asked_mailbox(call: Call) -> PublicMailbox:
    """The public mailbox `id` names."""
    number = call.number("id", missing=680036)
    mailbox = call.org.public.get(number)
    if mailbox is None or not in_sight(call, mailbox):
        raise Refused(680035, "publicmail id not found")
    return mailbox


def checked_address(call: Call, address: Any, *, own: PublicMailbox | None = None) -> str:
    """A free, well-formed address in the corp's domain: 680032 foreign or malformed, 680033 taken."""
    if not isinstance(address, str) or not 6 <= len(address.encode()) <= 64 or not ADDRESS.fullmatch(address):
        raise Refused(680032, "invalid publicmail email")
    if not call.org.owns(address.rpartition("@")[2]):
        raise Refused(680032, "invalid publicmail email domain")
    wanted = address.lower()
    if (own is None or wanted not in own.aliases) and call.org.occupied(wanted):
        raise Refused(680033, "publicmail email existed")
    return wanted


def checked_name(call: Call, name: Any, *, own: PublicMailbox | None = None) -> str:
    """A name of 1 to 64 characters or 32 Chinese ones (680034), unique among public mailboxes (680040)."""
    if not isinstance(name, str) or not name.strip():
        raise Refused(680034, "invalid publicmail name")
    if sum(2 if ord(each) > 0x2E7F else 1 for each in name) > max(NAME_CHARS, 2 * NAME_HANZI):
        raise Refused(680034, "invalid publicmail name")
    if any(each.name == name and each is not own for each in call.org.public.values()):
        raise Refused(680040, "publicmail name existed")
    return name


def checked_lists(call: Call, own: PublicMailbox | None) -> dict[str, list[Any]]:
    """The wrapped lists that were sent, checked; a list left out is not in the answer."""
    org, found = call.org, {}
    for name, attribute in LISTS.items():
        if name not in call.body or (name == "alias_list" and own is None):
            continue
        values = listed(call.body[name], name)
        if name == "userid_list":
            members = [call.member(each, unseen=60021) if isinstance(each, str) else None for each in values]
            if None in members:
                raise Refused(40031, "invalid userid list")
            values = [each.userid for each in members if each]
        elif name == "department_list":
            if not known(values, org.departments):
                raise Refused(60123, "invalid department id")
            if not known(values, org.visible_departments()):
                raise Refused(60011, "no privilege to access/modify contact/party/agent")
        elif name == "tag_list":
            if not known(values, org.tags):
                raise Refused(40068, "invalid tagid")
        else:
            if len(values) > ALIASES_MAX:
                raise Refused(680000, "alias_list exceed max count")
            values = [checked_address(call, each, own=own) for each in values]
        found[attribute] = list(dict.fromkeys(values))
    return found


def checked_code(call: Call, own: PublicMailbox | None) -> str | None:
    """The remark of the client password asked for; None when none is."""
    wanted = call.body.get("create_auth_code", 0)
    if wanted not in (0, 1):
        raise Refused(680000, "invalid create_auth_code")
    if not wanted:
        return None
    info = call.body.get("auth_code_info") or {}
    remark = info.get("remark", REMARK) if isinstance(info, dict) else None
    if not isinstance(remark, str) or len(remark.encode()) > REMARK_BYTES:
        raise Refused(680000, "invalid auth_code_info.remark")
    if own and sum(each.by_api for each in own.passwords) >= PASSWORDS_MAX:
        raise Refused(680000, "auth code exceed max count")
    return remark or REMARK


def code_given(call: Call, mailbox: PublicMailbox, remark: str | None) -> dict[str, Any]:
    """The fresh client password, the only time it is shown."""
    if remark is None:
        return {}
    number, code = call.org.mint(mailbox, remark, by_api=True)
    return {"auth_code_id": number, "auth_code": code}


@endpoint("POST", "exmail/publicmail/create")
def create(call: Call) -> dict[str, Any]:
    """Make a public mailbox; members, departments and tags must not all be empty."""
    address = checked_address(call, call.body.get("email"))
    name = checked_name(call, call.body.get("name"))
    lists = checked_lists(call, None)
    if not any(lists.values()):
        raise Refused(680000, "userid_list, department_list and tag_list are all empty")
    remark = checked_code(call, None)
    try:
        call.org.needs_place(call.path)
    except NoPlace:
        raise Refused(680046, "publicmail enable count out of limit") from None
    mailbox = call.org.new_public(address, name, lists, by_app=True)
    call.org.changed()
    return {"id": mailbox.id, **code_given(call, mailbox, remark)}


@endpoint("POST", "exmail/publicmail/update")
def update(call: Call) -> dict[str, Any]:
    """Change name, users, aliases: a list left out stays, `{"list": []}` clears it. The address never changes."""
    mailbox = asked_mailbox(call)
    name = checked_name(call, call.body["name"], own=mailbox) if "name" in call.body else mailbox.name
    lists = checked_lists(call, mailbox)
    after = {attribute: lists.get(attribute, getattr(mailbox, attribute)) for attribute in LISTS.values()}
    if not (after["members"] or after["departments"] or after["tags"]):
        raise Refused(680000, "userid_list, department_list and tag_list are all empty")
    remark = checked_code(call, mailbox)
    mailbox.name = name
    for attribute, values in after.items():
        setattr(mailbox, attribute, values)
    call.org.sync(mailbox.address)
    call.org.drop_lost_passwords()
    call.org.changed()
    return code_given(call, mailbox, remark)


@endpoint("POST", "exmail/publicmail/delete")
def delete(call: Call) -> dict[str, Any]:
    """Delete it; here it goes to the recycle bin for 60 days, which the vendor's page leaves open."""
    call.org.delete_public(asked_mailbox(call))
    call.org.changed()
    return {}


@endpoint("POST", "exmail/publicmail/get")
def get(call: Call) -> dict[str, Any]:
    """Details of the ids asked for; `id_list` is a bare array."""
    ids = call.body.get("id_list")
    if not isinstance(ids, list) or not ids or not all(isinstance(each, int) for each in ids):
        raise Refused(680036, "invalid id_list")
    found = [call.org.public.get(each) for each in ids]
    seen = [each for each in found if each and in_sight(call, each)]
    if not seen:
        raise Refused(680035, "publicmail id not found")
    return {
        "list": [
            {"id": each.id, "email": each.address, "name": each.name}
            | {name: {"list": list(getattr(each, attribute))} for name, attribute in LISTS.items()}
            for each in seen
        ]
    }


@endpoint("GET", "exmail/publicmail/search")
def search(call: Call) -> dict[str, Any]:
    """All (fuzzy 0) or those whose name or address contains `email` (fuzzy 1)."""
    fuzzy = call.query.get("fuzzy", "")
    if fuzzy not in ("0", "1"):
        raise Refused(680015, "invalid fuzzy")
    wanted = call.query.get("email", "").lower() if fuzzy == "1" else ""
    seen = [each for each in call.org.public.values() if in_sight(call, each)]
    hits = [each for each in seen if wanted in each.address or wanted in each.name.lower()]
    return {"list": [{"id": each.id, "email": each.address, "name": each.name} for each in hits]}


@endpoint("POST", "exmail/publicmail/get_auth_code_list")
def get_auth_code_list(call: Call) -> dict[str, Any]:
    """The client passwords without their codes; last_use_time 0 means never."""
    mailbox = asked_mailbox(call)
    used = call.org.box(mailbox.address).last_used
    return {
        "auth_code_list": [
            {
                "auth_code_id": each.id,
                "create_time": int(each.created.timestamp()),
                "last_use_time": int(used[each.id].timestamp()) if each.id in used else 0,
                "remark": each.remark,
            }
            for each in mailbox.passwords
        ]
    }


@endpoint("POST", "exmail/publicmail/delete_auth_code")
def delete_auth_code(call: Call) -> dict[str, Any]:
    """Take a client password back."""
    mailbox = asked_mailbox(call)
    number = call.number("auth_code_id", missing=680000)
    password = next((each for each in mailbox.passwords if each.id == number), None)
    if password is None:
        raise Refused(680000, "auth_code_id not found")
    call.org.revoke(mailbox, password)
    call.org.changed()
    return {}
