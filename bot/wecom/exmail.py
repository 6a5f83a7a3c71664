"""
The 24 endpoints of the mail API (`/cgi-bin/exmail/*`), each a function named after its path. There are no others.

All need the app in the console's 协作 > 邮件 > 可调用应用. The app sees only public mailboxes and groups it made
itself. In an update, a list that is None stays as it is and an empty one clears.
"""

from __future__ import annotations

import base64
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bot.wecom import limits
from bot.wecom.client import WeComClient
from bot.wecom.contacts import boolean, dicts, moment, number, numbers, text, texts

ROOT = "/cgi-bin/exmail"


@dataclass(frozen=True)
class AuthCode:
    """A client password as it was made. WeCom tells `code` this once; it works until deleted by `id`."""

    id: int
    code: str = field(repr=False)


@dataclass(frozen=True)
class AuthCodeInfo:
    """A client password in the list: when made, when used last (None: never), whose it is by its remark."""

    id: int
    remark: str
    created_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True)
class PublicMailboxCreated:
    """The new mailbox's id, and its first client password when one was asked for."""

    id: int
    auth_code: AuthCode | None = None


@dataclass(frozen=True)
class PublicMailbox:
    """A public mailbox; from a search only with id, address and name."""

    id: int
    address: str
    name: str
    userids: tuple[str, ...] = ()
    departments: tuple[int, ...] = ()
    tags: tuple[int, ...] = ()
    aliases: tuple[str, ...] = ()


class AllowType(enum.IntEnum):
    """Who may write to a group."""

    CORP = 0
    ANYONE = 1
    GROUP = 2
    CUSTOM = 3


@dataclass(frozen=True)
class Group:
    """A mail group; from a search only with address and name. `allow_*` only with AllowType.CUSTOM."""

    address: str
    name: str
    members: tuple[str, ...] = ()
    tags: tuple[int, ...] = ()
    departments: tuple[int, ...] = ()
    groups: tuple[str, ...] = ()
    allow_type: AllowType | None = None
    allow_addresses: tuple[str, ...] = ()
    allow_departments: tuple[int, ...] = ()
    allow_tags: tuple[int, ...] = ()


class Option(enum.IntEnum):
    """A switch of a member's mailbox; the last can only be read."""

    FORCE_SECURE_LOGIN = 1
    IMAP_SMTP = 2
    POP_SMTP = 3
    SECURE_LOGIN = 4


@dataclass(frozen=True)
class VipOutcome:
    """Whose advanced functions are as asked (also who had them so before), and whose are not."""

    done: tuple[str, ...]
    failed: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """A page of a list; `cursor` brings the next one, None when this was the last."""

    items: tuple[str, ...]
    cursor: str | None


@dataclass(frozen=True)
class AppAddresses:
    """The app mailbox's address and those it had before, which still receive."""

    address: str
    aliases: tuple[str, ...]


# Public mailboxes


def publicmail_create(
    client: WeComClient,
    address: str,
    name: str,
    *,
    userids: Sequence[str] = (),
    departments: Sequence[int] = (),
    tags: Sequence[int] = (),
    auth_code_remark: str | None = None,
) -> PublicMailboxCreated:
    """
    Make a public mailbox (page 95511), with a client password when there is a remark for it.

    Not to be repeated blindly: after a NetworkError ask `find_public_mailbox`. ValueError when nobody could open it.
    """
    if not (userids or departments or tags):
        raise ValueError("a public mailbox needs somebody who can open it")
    body = {"email": address, "name": name, **_users(userids, departments, tags), **_auth_code(auth_code_remark)}
    answer = client.call("POST", f"{ROOT}/publicmail/create", body=body)
    return PublicMailboxCreated(number(answer.get("id")) or 0, _minted(answer))


def publicmail_update(
    client: WeComClient,
    mailbox_id: int,
    *,
    name: str | None = None,
    userids: Sequence[str] | None = None,
    departments: Sequence[int] | None = None,
    tags: Sequence[int] | None = None,
    aliases: Sequence[str] | None = None,
    auth_code_remark: str | None = None,
) -> AuthCode | None:
    """
    Change a public mailbox (page 98000); lists replace what was there. Its address cannot be changed.

    Gives the new client password when there is a remark for one; ten live ones are the limit. ValueError for more
    than five aliases.
    """
    body: dict[str, Any] = {"id": mailbox_id, **_users(userids, departments, tags), **_auth_code(auth_code_remark)}
    if name is not None:
        body["name"] = name
    if aliases is not None:
        if len(aliases) > limits.ALIASES_MAX:
            raise ValueError(f"at most {limits.ALIASES_MAX} aliases")
        body["alias_list"] = {"list": list(aliases)}
    return _minted(client.call("POST", f"{ROOT}/publicmail/update", body=body))


def mint_auth_code(client: WeComClient, mailbox_id: int, remark: str) -> AuthCode:
    """
    A new client password for a public mailbox, for IMAP and SMTP with its address (page 98000).

    After a NetworkError look for the remark in `publicmail_get_auth_code_list`, delete what is there, mint again.
    LookupError when WeCom says yes and tells no code.
    """
    minted = publicmail_update(client, mailbox_id, auth_code_remark=remark)
    if minted is None:
        raise LookupError("WeCom told no auth_code")
    return minted


def publicmail_delete(client: WeComClient, mailbox_id: int) -> None:
    """Delete a public mailbox (page 98001). Whether it goes to the recycle bin is not documented."""
    client.call("POST", f"{ROOT}/publicmail/delete", body={"id": mailbox_id})


def publicmail_get(client: WeComClient, mailbox_ids: Sequence[int]) -> list[PublicMailbox]:
    """Public mailboxes with who can open them and their aliases (page 98002); what the app does not see is left out."""
    answer = client.call("POST", f"{ROOT}/publicmail/get", body={"id_list": list(mailbox_ids)})
    return [_public_mailbox(each) for each in dicts(answer.get("list"))]


def publicmail_search(client: WeComClient, part: str | None = None) -> list[PublicMailbox]:
    """Public mailboxes with `part` in name or address, or all the app sees (page 98003): id, address, name."""
    query = {"fuzzy": "0"} if part is None else {"fuzzy": "1", "email": part}
    answer = client.call("GET", f"{ROOT}/publicmail/search", query=query)
    return [_public_mailbox(each) for each in dicts(answer.get("list"))]


def find_public_mailbox(client: WeComClient, address: str) -> PublicMailbox | None:
    """The public mailbox with exactly this address, if the app sees it: to learn whether a create arrived."""
    found = publicmail_search(client, address)
    return next((each for each in found if each.address.casefold() == address.casefold()), None)


def publicmail_get_auth_code_list(client: WeComClient, mailbox_id: int) -> list[AuthCodeInfo]:
    """The live client passwords made by API (page 100183), never their codes."""
    answer = client.call("POST", f"{ROOT}/publicmail/get_auth_code_list", body={"id": mailbox_id})
    return [
        AuthCodeInfo(
            id=number(each.get("auth_code_id")) or 0,
            remark=text(each.get("remark")),
            created_at=moment(each.get("create_time")),
            last_used_at=moment(each.get("last_use_time")),
        )
        for each in dicts(answer.get("auth_code_list"))
    ]


def publicmail_delete_auth_code(client: WeComClient, mailbox_id: int, auth_code_id: int) -> None:
    """End a client password (page 100184)."""
    body = {"id": mailbox_id, "auth_code_id": auth_code_id}
    client.call("POST", f"{ROOT}/publicmail/delete_auth_code", body=body)


def _users(
    userids: Sequence[str] | None, departments: Sequence[int] | None, tags: Sequence[int] | None
) -> dict[str, Any]:
    lists = {"userid_list": userids, "department_list": departments, "tag_list": tags}
    return {name: {"list": list(each)} for name, each in lists.items() if each is not None}


def _auth_code(remark: str | None) -> dict[str, Any]:
    if remark is None:
        return {}
    if not 0 < len(remark.encode()) <= limits.AUTH_CODE_REMARK_BYTES:
        raise ValueError(f"a remark of 1 to {limits.AUTH_CODE_REMARK_BYTES} bytes")
    return {"create_auth_code": 1, "auth_code_info": {"remark": remark}}


def _minted(answer: Mapping[str, Any]) -> AuthCode | None:
    code = text(answer.get("auth_code"))
    return AuthCode(number(answer.get("auth_code_id")) or 0, code) if code else None


def _public_mailbox(told: Mapping[str, Any]) -> PublicMailbox:
    return PublicMailbox(
        id=number(told.get("id")) or 0,
        address=text(told.get("email")),
        name=text(told.get("name")),
        userids=texts(told.get("userid_list")),
        departments=numbers(told.get("department_list")),
        tags=numbers(told.get("tag_list")),
        aliases=texts(told.get("alias_list")),
    )


# Mail groups


def group_create(client: WeComClient, group: Group) -> None:
    """Make a mail group (page 95510). ValueError when it has no member, or `allow_*` without AllowType.CUSTOM."""
    if not (group.members or group.tags or group.departments or group.groups):
        raise ValueError("a mail group needs a member")
    lists = {
        "email_list": group.members,
        "tag_list": group.tags,
        "department_list": group.departments,
        "group_list": group.groups,
    }
    body: dict[str, Any] = {"groupid": group.address, "groupname": group.name}
    body |= {name: {"list": list(each)} for name, each in lists.items() if each}
    body |= _allowed(group.allow_type, group.allow_addresses, group.allow_departments, group.allow_tags)
    client.call("POST", f"{ROOT}/group/create", body=body)


def group_update(
    client: WeComClient,
    address: str,
    *,
    name: str | None = None,
    members: Sequence[str] | None = None,
    tags: Sequence[int] | None = None,
    departments: Sequence[int] | None = None,
    groups: Sequence[str] | None = None,
    allow_type: AllowType | None = None,
    allow_addresses: Sequence[str] = (),
    allow_departments: Sequence[int] = (),
    allow_tags: Sequence[int] = (),
) -> None:
    """Change a mail group (page 97995); lists replace what was there. ValueError as for `group_create`."""
    lists: dict[str, Sequence[object] | None] = {
        "email_list": members,
        "tag_list": tags,
        "department_list": departments,
        "group_list": groups,
    }
    body: dict[str, Any] = {"groupid": address}
    if name is not None:
        body["groupname"] = name
    body |= {key: {"list": list(each)} for key, each in lists.items() if each is not None}
    body |= _allowed(allow_type, allow_addresses, allow_departments, allow_tags)
    client.call("POST", f"{ROOT}/group/update", body=body)


def group_delete(client: WeComClient, address: str) -> None:
    """Delete a mail group (page 97996)."""
    client.call("POST", f"{ROOT}/group/delete", body={"groupid": address})


def group_get(client: WeComClient, address: str) -> Group:
    """A mail group (page 97997). WeComError 680012 when the app sees none."""
    return _group(client.call("GET", f"{ROOT}/group/get", query={"groupid": address}))


def group_search(client: WeComClient, part: str | None = None) -> list[Group]:
    """Mail groups with `part` in the address, or all the app sees (page 97998): address and name."""
    query = {"fuzzy": "0"} if part is None else {"fuzzy": "1", "groupid": part}
    answer = client.call("GET", f"{ROOT}/group/search", query=query)
    return [_group(each) for each in dicts(answer.get("groups"))]


def _allowed(
    allow_type: AllowType | None, addresses: Sequence[str], departments: Sequence[int], tags: Sequence[int]
) -> dict[str, Any]:
    lists = {"allow_emaillist": addresses, "allow_departmentlist": departments, "allow_taglist": tags}
    sent = {name: {"list": list(each)} for name, each in lists.items() if each}
    if bool(sent) != (allow_type is AllowType.CUSTOM):
        raise ValueError("lists of who may write belong to AllowType.CUSTOM, and only there")
    return sent if allow_type is None else {"allow_type": int(allow_type), **sent}


def _group(told: Mapping[str, Any]) -> Group:
    allow_type = number(told.get("allow_type"))
    return Group(
        address=text(told.get("groupid")),
        name=text(told.get("groupname")),
        members=texts(told.get("email_list")),
        tags=numbers(told.get("tag_list")),
        departments=numbers(told.get("department_list")),
        groups=texts(told.get("group_list")),
        allow_type=AllowType(allow_type) if allow_type in list(AllowType) else None,
        allow_addresses=texts(told.get("allow_emaillist")),
        allow_departments=numbers(told.get("allow_departmentlist")),
        allow_tags=numbers(told.get("allow_taglist")),
    )


# Switches and counts of one mailbox


def account_act_email(
    client: WeComClient, *, on: bool, userid: str | None = None, public_mailbox_id: int | None = None
) -> None:
    """
    Switch a member's or a public mailbox on or off (page 95512): exactly one of the two, else ValueError.

    WeComError 680044 for a super admin's or the creator's.
    """
    if (userid is None) == (public_mailbox_id is None):
        raise ValueError("a member's or a public mailbox")
    whose = {"userid": userid} if public_mailbox_id is None else {"publicemail_id": public_mailbox_id}
    client.call("POST", f"{ROOT}/account/act_email", body={**whose, "type": 1 if on else 2})


def useroption_get(client: WeComClient, userid: str, options: Sequence[Option] = tuple(Option)) -> dict[Option, bool]:
    """A member's mailbox switches (page 95513); one WeCom does not tell is absent."""
    body = {"userid": userid, "type": [int(each) for each in options]}
    answer = client.call("POST", f"{ROOT}/useroption/get", body=body)
    told = {number(each.get("type")): boolean(each.get("value")) for each in dicts(answer.get("option"))}
    return {option: told[option] for option in Option if option in told}


def useroption_update(client: WeComClient, userid: str, options: Mapping[Option, bool]) -> None:
    """Set a member's mailbox switches (page 98008). ValueError for SECURE_LOGIN, which can only be read."""
    if not options or Option.SECURE_LOGIN in options:
        raise ValueError("at least one switch, and not SECURE_LOGIN")
    listed = [{"type": int(option), "value": "1" if on else "0"} for option, on in options.items()]
    client.call("POST", f"{ROOT}/useroption/update", body={"userid": userid, "option": {"list": listed}})


def mail_get_newcount(client: WeComClient, userid: str) -> int:
    """How many unread mails a member has (page 95514)."""
    return number(client.call("POST", f"{ROOT}/mail/get_newcount", body={"userid": userid}).get("count")) or 0


# Advanced functions (邮件高级功能)


def vip_batch_add(client: WeComClient, userids: Sequence[str]) -> VipOutcome:
    """Give members the advanced functions (page 99316); ValueError for none or more than 100."""
    return _vip(client, "batch_add", userids)


def vip_batch_del(client: WeComClient, userids: Sequence[str]) -> VipOutcome:
    """Take the advanced functions back (page 99317); ValueError for none or more than 100."""
    return _vip(client, "batch_del", userids)


def vip_list(client: WeComClient, cursor: str | None = None) -> Page:
    """Userids with the advanced functions, of those in sight, a page of them (page 99318)."""
    body: dict[str, Any] = {"limit": limits.VIP_PAGE}
    if cursor:
        body["cursor"] = cursor
    answer = client.call("POST", f"{ROOT}/vip/list", body=body)
    return Page(texts(answer.get("userid_list")), _next(answer))


def _vip(client: WeComClient, path: str, userids: Sequence[str]) -> VipOutcome:
    if not 1 <= len(userids) <= limits.VIP_BATCH_MAX:
        raise ValueError(f"1 to {limits.VIP_BATCH_MAX} userids")
    answer = client.call("POST", f"{ROOT}/vip/{path}", body={"userid_list": list(userids)})
    return VipOutcome(texts(answer.get("succ_userid_list")), texts(answer.get("fail_userid_list")))


def _next(answer: Mapping[str, Any]) -> str | None:
    return (text(answer.get("next_cursor")) or None) if boolean(answer.get("has_more")) else None


# The app's own mailbox, never a member's or a public one


def app_compose_send(
    client: WeComClient,
    *,
    subject: str,
    content: str,
    to_addresses: Sequence[str] = (),
    to_userids: Sequence[str] = (),
    cc_addresses: Sequence[str] = (),
    cc_userids: Sequence[str] = (),
    html: bool = False,
    attachments: Sequence[tuple[str, bytes]] = (),
) -> None:
    """
    Send a mail from the app's mailbox (page 97445); attachments are (file name, content).

    ValueError without a receiver, with more than 200 attachments or more than 50 MB.
    """
    if not (to_addresses or to_userids):
        raise ValueError("a mail needs a receiver")
    size_bytes = len(content.encode()) + sum(len(each) for _, each in attachments)
    if len(attachments) > limits.APP_MAIL_ATTACHMENTS_MAX or size_bytes > limits.APP_MAIL_BYTES:
        raise ValueError("too much for one mail")
    body: dict[str, Any] = {
        "to": {"emails": list(to_addresses), "userids": list(to_userids)},
        "subject": subject,
        "content": content,
        "content_type": "html" if html else "text",
    }
    if cc_addresses or cc_userids:
        body["cc"] = {"emails": list(cc_addresses), "userids": list(cc_userids)}
    if attachments:
        body["attachment_list"] = [
            {"file_name": name, "content": base64.b64encode(each).decode()} for name, each in attachments
        ]
    client.call("POST", f"{ROOT}/app/compose_send", body=body)


def app_get_mail_list(client: WeComClient, since: datetime, until: datetime, cursor: str | None = None) -> Page:
    """Ids of mails in the app mailbox's INBOX, a page of them (page 97369)."""
    body: dict[str, Any] = {
        "begin_time": int(since.timestamp()),
        "end_time": int(until.timestamp()),
        "limit": limits.APP_MAILS_PAGE,
    }
    if cursor:
        body["cursor"] = cursor
    answer = client.call("POST", f"{ROOT}/app/get_mail_list", body=body)
    return Page(tuple(text(each.get("mail_id")) for each in dicts(answer.get("mail_list"))), _next(answer))


def app_read_mail(client: WeComClient, mail_id: str) -> str:
    """A mail of the app mailbox as the text of its EML (page 97979)."""
    return text(client.call("POST", f"{ROOT}/app/read_mail", body={"mail_id": mail_id}).get("mail_data"))


def app_get_email_alias(client: WeComClient) -> AppAddresses:
    """The app mailbox's addresses (page 97991)."""
    answer = client.call("POST", f"{ROOT}/app/get_email_alias", body={})
    return AppAddresses(text(answer.get("email")), texts(answer.get("alias_list")))


def app_update_email_alias(client: WeComClient, address: str) -> None:
    """Change the app mailbox's address (page 97373); the old one keeps receiving."""
    client.call("POST", f"{ROOT}/app/update_email_alias", body={"new_email": address})
