"""
People, departments and tags; who opens a page; what the app is and what admins did in the console.

A field WeCom keeps from this app is absent, so it is None or empty here: that never means that there is nothing.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from bot.wecom import limits
from bot.wecom.client import WeComClient
from bot.wecom.errcodes import APP, CONTACTS, NOBODY_FOUND, Secret, WeComError

# Addresses WeCom can have: a look-up of anything else only counts against us.
ADDRESS = re.compile(r"[0-9A-Za-z!#$%&'*+/=?^_`{|}~.-]{1,64}@[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)+")
STATE = re.compile(r"[0-9A-Za-z]*")
LOGIN_BASE = "https://open.weixin.qq.com"


class MemberStatus(enum.IntEnum):
    """A member's account (page 90196)."""

    ACTIVE = 1
    DISABLED = 2
    NOT_ACTIVATED = 4
    LEFT = 5


class AddressKind(enum.IntEnum):
    """What `userid_by_address` compares with: the Exmail address or the private one."""

    CORPORATE = 1
    PRIVATE = 2


@dataclass(frozen=True)
class MemberInfo:
    """A member, as far as the app may see (page 90196)."""

    userid: str
    name: str = ""
    departments: tuple[int, ...] = ()
    main_department: int | None = None
    leads: tuple[int, ...] = ()  # departments of his that he leads
    direct_leader: str | None = None  # None too when the leader is outside the visible range
    position: str = ""
    alias: str = ""
    status: MemberStatus | None = None
    address: str | None = None  # biz_mail: absent for apps made after June 2022


@dataclass(frozen=True)
class Placement:
    """A member's place in one department; who is in two has two."""

    userid: str
    department: int


@dataclass(frozen=True)
class Department:
    """A department; `leaders` where the app may see them (page 90208)."""

    id: int
    name: str = ""
    name_en: str = ""
    parent: int | None = None
    order: int = 0
    leaders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tag:
    """A tag with those of its members and departments that the app sees (page 90213)."""

    id: int
    name: str
    userids: tuple[str, ...] = ()
    departments: tuple[int, ...] = ()


@dataclass(frozen=True)
class Visitor:
    """Who opened a page: a member, or somebody with `userid` None who must be refused (page 91023)."""

    userid: str | None
    user_ticket: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class AppInfo:
    """The app's own settings in the console (page 90227)."""

    agent_id: int
    name: str
    userids: tuple[str, ...]
    departments: tuple[int, ...]
    tags: tuple[int, ...]
    enabled: bool
    trusted_domain: str
    reports_enter: bool
    home_url: str


@dataclass(frozen=True)
class AdminAct:
    """A line of the console's log; actions by API are not in it (page 100179)."""

    at: datetime
    userid: str
    kind: int
    detail_kind: int
    detail: str
    ip: str


@dataclass(frozen=True)
class BatchItem:
    """What became of one member or department of a contacts job."""

    userid: str | None
    department: int | None
    errcode: int
    errmsg: str


@dataclass(frozen=True)
class BatchJob:
    """A contacts job (page 90983); `items` once it is done."""

    kind: str
    done: bool
    total: int
    percentage: int
    items: tuple[BatchItem, ...]


# Members


def member(client: WeComClient, userid: str, *, secret: Secret = APP) -> MemberInfo:
    """A member (page 90196). Raises as `WeComClient.call` does; WeComError 60111 when there is none in sight."""
    return _member(client.call("GET", "/cgi-bin/user/get", secret=secret, query={"userid": userid}))


def members(client: WeComClient, department: int) -> list[MemberInfo]:
    """The members of one department, without those below it (page 90201)."""
    answer = client.call("GET", "/cgi-bin/user/list", query={"department_id": department})
    return [_member(each) for each in dicts(answer.get("userlist"))]


def names(client: WeComClient, department: int) -> list[MemberInfo]:
    """As `members`, with userid, name and departments only: for apps that may see no more (page 90200)."""
    answer = client.call("GET", "/cgi-bin/user/simplelist", query={"department_id": department})
    return [_member(each) for each in dicts(answer.get("userlist"))]


def list_ids(client: WeComClient, *, secret: Secret = CONTACTS) -> list[Placement]:
    """Everybody's userid and departments, all pages (page 96067). By the contacts-sync secret."""
    found: list[Placement] = []
    cursor = ""
    for _ in range(limits.PAGES_MAX):
        body: dict[str, Any] = {"limit": limits.LIST_IDS_PAGE}
        if cursor:
            body["cursor"] = cursor
        answer = client.call("POST", "/cgi-bin/user/list_id", secret=secret, body=body)
        for each in dicts(answer.get("dept_user")):
            if each.get("userid"):
                found.append(Placement(str(each["userid"]), number(each.get("department")) or 0))
        cursor = str(answer.get("next_cursor") or "")
        if not cursor:
            break
    return found


def userid_by_address(client: WeComClient, address: str, kind: AddressKind = AddressKind.CORPORATE) -> str | None:
    """
    Who has a mail address (page 95895); None when nobody in the visible range has, which proves nothing beyond it.

    Many failures block the call for a day: remember a None. ValueError, without a call, for what is no address.
    """
    if not ADDRESS.fullmatch(address):
        raise ValueError(f"not a mail address: {address!r}")
    body = {"email": address, "email_type": int(kind)}
    try:
        answer = client.call("POST", "/cgi-bin/user/get_userid_by_email", body=body)
    except WeComError as error:
        if error.errcode == NOBODY_FOUND:
            return None
        raise
    return text(answer.get("userid")) or None


def userid_by_mobile(client: WeComClient, mobile: str) -> str | None:
    """Who has a mobile number (page 95402); None as for `userid_by_address`, and the same warning."""
    try:
        return text(client.call("POST", "/cgi-bin/user/getuserid", body={"mobile": mobile}).get("userid")) or None
    except WeComError as error:
        if error.errcode == NOBODY_FOUND:
            return None
        raise


def update_member(
    client: WeComClient, userid: str, *, address: str | None = None, aliases: Sequence[str] | None = None
) -> None:
    """
    Change a member's Exmail address, or replace ALL his aliases (page 90197); what is None stays as it is.

    By the contacts-sync secret. WeComError 60144 when the address cannot be changed by API. ValueError for more than
    five aliases, for what is no address, and when there is nothing to change.
    """
    body: dict[str, Any] = {"userid": userid}
    if address is not None:
        body["biz_mail"] = checked_address(address)
    if aliases is not None:
        if len(aliases) > limits.ALIASES_MAX:
            raise ValueError(f"at most {limits.ALIASES_MAX} aliases")
        body["biz_mail_alias"] = {"item": [checked_address(each) for each in aliases]}
    if len(body) == 1:
        raise ValueError("nothing to change")
    client.call("POST", "/cgi-bin/user/update", secret=CONTACTS, body=body)


def checked_address(address: str) -> str:
    """`address` if WeCom can take it as a member's: 6 to 63 bytes; else ValueError."""
    fits = limits.ADDRESS_BYTES_MIN <= len(address.encode()) <= limits.ADDRESS_BYTES_MAX
    if not fits or not ADDRESS.fullmatch(address):
        raise ValueError(f"not a mail address of 6 to 63 bytes: {address!r}")
    return address


def aliases_of(client: WeComClient, userid: str) -> tuple[str, ...] | None:
    """The mail aliases of a member, if WeCom shows them: no page says so. None: it does not, or there are none."""
    shown = client.call("GET", "/cgi-bin/user/get", query={"userid": userid}).get("biz_mail_alias")
    return texts(shown.get("item")) if isinstance(shown, Mapping) else None


def _member(told: Mapping[str, Any]) -> MemberInfo:
    departments = numbers(told.get("department"))
    flags = numbers(told.get("is_leader_in_dept"))
    leaders = texts(told.get("direct_leader"))
    return MemberInfo(
        userid=text(told.get("userid")),
        name=text(told.get("name")),
        departments=departments,
        main_department=number(told.get("main_department")),
        leads=tuple(each for each, flag in zip(departments, flags, strict=False) if flag == 1),
        direct_leader=leaders[0] if leaders else None,
        position=text(told.get("position")),
        alias=text(told.get("alias")),
        status=_status(number(told.get("status"))),
        address=text(told.get("biz_mail")) or None,
    )


def _status(value: int | None) -> MemberStatus | None:
    try:
        return MemberStatus(value) if value is not None else None
    except ValueError:
        return None


# Departments and tags


def departments(client: WeComClient, within: int | None = None) -> list[Department]:
    """The departments in sight, or `within` one and below (page 90208)."""
    query = {} if within is None else {"id": within}
    answer = client.call("GET", "/cgi-bin/department/list", query=query)
    return [_department(each) for each in dicts(answer.get("department"))]


def department_ids(client: WeComClient, within: int | None = None, *, secret: Secret = APP) -> list[Department]:
    """As `departments`, without names and leaders: what the contacts-sync secret may read too (page 95350)."""
    query = {} if within is None else {"id": within}
    answer = client.call("GET", "/cgi-bin/department/simplelist", secret=secret, query=query)
    return [_department(each) for each in dicts(answer.get("department_id"))]


def department(client: WeComClient, department_id: int) -> Department:
    """One department with its leaders (page 95351). WeComError 60011 or 60123 when it is not in sight."""
    answer = client.call("GET", "/cgi-bin/department/get", query={"id": department_id})
    told = answer.get("department")
    return _department(told if isinstance(told, dict) else {"id": department_id})


def _department(told: Mapping[str, Any]) -> Department:
    return Department(
        id=number(told.get("id")) or 0,
        name=text(told.get("name")),
        name_en=text(told.get("name_en")),
        parent=number(told.get("parentid")) or None,
        order=number(told.get("order")) or 0,
        leaders=texts(told.get("department_leader")),
    )


def tags(client: WeComClient) -> list[Tag]:
    """The tags in sight, without their members (page 90216)."""
    answer = client.call("GET", "/cgi-bin/tag/list")
    return [Tag(number(each.get("tagid")) or 0, text(each.get("tagname"))) for each in dicts(answer.get("taglist"))]


def tag(client: WeComClient, tag_id: int) -> Tag:
    """One tag with its members and departments in sight (page 90213)."""
    answer = client.call("GET", "/cgi-bin/tag/get", query={"tagid": tag_id})
    userids = tuple(text(each.get("userid")) for each in dicts(answer.get("userlist")))
    return Tag(tag_id, text(answer.get("tagname")), userids, numbers(answer.get("partylist")))


# Who looks at a page


def authorize_url(client: WeComClient, redirect_url: str, state: str, *, base: str = LOGIN_BASE) -> str:
    """
    The link that brings a member to `redirect_url` with `code` and `state`, silently, inside WeCom (page 91022).

    The host must be the app's trusted domain. ValueError when `state` is not up to 128 letters and digits.
    """
    if not STATE.fullmatch(state) or len(state) > limits.STATE_BYTES:
        raise ValueError("state is up to 128 letters and digits")
    query = urlencode(
        {
            "appid": client.corp_id,
            "redirect_uri": redirect_url,
            "response_type": "code",
            "scope": "snsapi_base",
            "state": state,
            "agentid": client.agent_id,
        },
        quote_via=quote,
        safe="",
    )
    return f"{base}/connect/oauth2/authorize?{query}#wechat_redirect"


def userinfo(client: WeComClient, code: str) -> Visitor:
    """
    Who came with `code`, which works once within five minutes (page 91023).

    WeComError 40029 when it was used or is too old. ValueError, without a call, for what is no code.
    """
    if not code or len(code.encode()) > limits.LOGIN_CODE_BYTES:
        raise ValueError("not a code")
    answer = client.call("GET", "/cgi-bin/auth/getuserinfo", query={"code": code})
    userid = text(answer.get("userid") or answer.get("UserId"))  # capitals in older answers
    return Visitor(userid or None, text(answer.get("user_ticket")) or None)


# The app and the console


def app_info(client: WeComClient) -> AppInfo:
    """The app as the console has it: switched on, visible range, trusted domain (page 90227)."""
    told = client.call("GET", "/cgi-bin/agent/get", query={"agentid": client.agent_id})
    users, parties, tag_ids = (told.get(name) or {} for name in ("allow_userinfos", "allow_partys", "allow_tags"))
    return AppInfo(
        agent_id=number(told.get("agentid")) or client.agent_id,
        name=text(told.get("name")),
        userids=tuple(text(each.get("userid")) for each in dicts(users.get("user"))),
        departments=numbers(parties.get("partyid")),
        tags=numbers(tag_ids.get("tagid")),
        enabled=not boolean(told.get("close")),
        trusted_domain=text(told.get("redirect_domain")),
        reports_enter=boolean(told.get("isreportenter")),
        home_url=text(told.get("home_url")),
    )


def callback_ips(client: WeComClient) -> list[str]:
    """Where callbacks come from (page 92521): addresses and networks; they change, ask daily."""
    return list(texts(client.call("GET", "/cgi-bin/getcallbackip").get("ip_list")))


def api_ips(client: WeComClient) -> list[str]:
    """What a firewall must let us reach (page 92520)."""
    return list(texts(client.call("GET", "/cgi-bin/get_api_domain_ip").get("ip_list")))


def admin_log(client: WeComClient, since: datetime, until: datetime, *, kind: int | None = None) -> list[AdminAct]:
    """
    What admins did in the console (page 100179), all pages; the app must be listed for the log's API.

    ValueError when the span is over 7 days or ends before it begins.
    """
    if not 0 < (until - since).total_seconds() <= limits.ADMIN_LOG_SPAN_DAYS * 86400:
        raise ValueError(f"up to {limits.ADMIN_LOG_SPAN_DAYS} days")
    body: dict[str, Any] = {
        "start_time": int(since.timestamp()),
        "end_time": int(until.timestamp()),
        "limit": limits.ADMIN_LOG_PAGE,
    }
    if kind is not None:
        body["oper_type"] = kind
    acts: list[AdminAct] = []
    for _ in range(limits.PAGES_MAX):
        answer = client.call("POST", "/cgi-bin/security/admin_oper_log/list", body=body)
        acts += [_admin_act(each) for each in dicts(answer.get("record_list"))]
        cursor = text(answer.get("next_cursor"))
        if not boolean(answer.get("has_more")) or not cursor:
            break
        body["cursor"] = cursor
    return acts


def _admin_act(told: Mapping[str, Any]) -> AdminAct:
    return AdminAct(
        at=moment(told.get("time")) or datetime.fromtimestamp(0, UTC),
        userid=text(told.get("userid")),
        kind=number(told.get("oper_type")) or 0,
        detail_kind=number(told.get("detail_type")) or 0,
        detail=text(told.get("detail_info")),
        ip=text(told.get("ip")),
    )


def batch_job(client: WeComClient, job_id: str) -> BatchJob:
    """How far a contacts job is (page 90983). WeComError 40088 or 40089 when WeCom does not know it any more."""
    told = client.call("GET", "/cgi-bin/batch/getresult", secret=CONTACTS, query={"jobid": job_id})
    return BatchJob(
        kind=text(told.get("type")),
        done=number(told.get("status")) == 3,
        total=number(told.get("total")) or 0,
        percentage=number(told.get("percentage")) or 0,
        items=tuple(
            BatchItem(
                text(each.get("userid")) or None,
                number(each.get("partyid")),
                number(each.get("errcode")) or 0,
                text(each.get("errmsg")),
            )
            for each in dicts(told.get("result"))
        ),
    )


# WeCom's JSON, in which a number may be a string and a list may be wrapped


def text(value: object) -> str:
    """A string; empty when absent."""
    return "" if value is None else str(value)


def number(value: object) -> int | None:
    """A whole number, also out of "1", 1.0 or true; None when it is none."""
    try:
        return int(str(int(value) if isinstance(value, (bool, float)) else value))
    except (ValueError, OverflowError):
        return None


def boolean(value: object) -> bool:
    """True for true, 1, "1" and "true"."""
    return str(value).casefold() in ("1", "1.0", "true")


def moment(value: object) -> datetime | None:
    """A Unix time in seconds as a moment; None for 0 or absent, which mean never."""
    seconds = number(value)
    return datetime.fromtimestamp(seconds, UTC) if seconds and 0 < seconds < 1 << 40 else None


def items(value: object) -> list[Any]:
    """The list in `{"list": [...]}`, or the list itself; empty when absent."""
    inside = value.get("list") if isinstance(value, dict) else value
    return inside if isinstance(inside, list) else []


def dicts(value: object) -> list[dict[str, Any]]:
    """The objects of a list."""
    return [each for each in items(value) if isinstance(each, dict)]


def texts(value: object) -> tuple[str, ...]:
    """The strings of a list."""
    return tuple(str(each) for each in items(value) if each is not None)


def numbers(value: object) -> tuple[int, ...]:
    """The numbers of a list."""
    return tuple(each for each in (number(item) for item in items(value)) if each is not None)
