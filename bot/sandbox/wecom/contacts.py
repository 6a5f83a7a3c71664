"""Contacts, OAuth2 codes, the app itself and the admin log."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from bot.sandbox.organisation import Organisation
from bot.sandbox.people import Department, Member, Tag
from bot.sandbox.wecom.api import SEEN_IP, Call, Refused, endpoint, known, page

LOOKUP_FAILURES_MAX = 60  # the official text gives no number for addresses; for phones it is 20 % of the head count
ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
ALIASES_MAX = 5
CODE_MINUTES = 5
OAUTH_OUTSIDER = "outsider"


def profile(call: Call, member: Member) -> dict[str, Any]:
    """A member as user/get shows him to a self-built app made after June 2022: no address, phone, avatar or gender."""
    org = call.org
    leaders = [each for each in member.leaders if (found := org.member(each)) and call.seen(found)]
    shown: dict[str, Any] = {
        "userid": member.userid,
        "name": member.name,
        "department": list(member.departments),
        "order": [0 for _ in member.departments],
        "position": member.position,
        "is_leader_in_dept": [int(each in member.leads) for each in member.departments],
        "direct_leader": leaders[:1],
        "telephone": "",
        "alias": member.alias,
        "extattr": {"attrs": []},
        "status": member.status,
        "isleader": int(bool(member.leads)),
        "enable": int(member.status != 2),
        "hide_mobile": 0,
        "main_department": member.main_department,
    }
    if not org.troubles.is_on("restricted_fields"):
        shown |= {"mobile": member.mobile, "gender": member.gender, "email": member.email, "avatar": "", "address": ""}
        if member.address:
            shown["biz_mail"] = member.address
    if org.troubles.is_on("aliases_shown") and member.aliases:
        shown["biz_mail_alias"] = {"item": list(member.aliases)}
    return shown


@endpoint("GET", "user/get", otherwise=48009)
def user_get(call: Call) -> dict[str, Any]:
    """A member (90196)."""
    return profile(call, call.member(call.asked("userid", 41009)))


def department_asked(call: Call, name: str) -> Department:
    """The department a query names, in sight."""
    department = call.org.departments.get(call.asked_number(name, missing=60123))
    if department is None:
        raise Refused(60003, "department not found")
    if call.caller == "app" and department.id not in call.org.visible_departments():
        raise Refused(60011, "no privilege to access/modify contact/party/agent")
    return department


def members_asked(call: Call) -> list[Member]:
    """Members of a department; `fetch_child` is gone from the current text, and honoured at the turn of a switch."""
    department = department_asked(call, "department_id")
    below = call.query.get("fetch_child") == "1" and call.org.troubles.is_on("fetch_child_works")
    wanted = call.org.department_and_below(department.id) if below else {department.id}
    return [each for each in call.org.members.values() if wanted & set(each.departments) and call.seen(each)]


@endpoint("GET", "user/simplelist", otherwise=48009)
def user_simplelist(call: Call) -> dict[str, Any]:
    """Names of a department's members (90200)."""
    return {
        "userlist": [
            {"userid": each.userid, "name": each.name, "department": list(each.departments)}
            for each in members_asked(call)
        ]
    }


@endpoint("GET", "user/list", otherwise=48009)
def user_list(call: Call) -> dict[str, Any]:
    """A department's members (90201)."""
    return {"userlist": [profile(call, each) for each in members_asked(call)]}


@endpoint("POST", "user/list_id", "app", "contacts")
def user_list_id(call: Call) -> dict[str, Any]:
    """All userids, once per department (96067); the app's own secret may at the turn of a switch only."""
    if call.caller == "app" and not call.org.troubles.is_on("app_lists_ids"):
        raise Refused(48002, "api forbidden")
    limit = call.number("limit", default=10_000)
    if not 1 <= limit <= 10_000:
        raise Refused(40058, "invalid limit")
    pairs = [(m.userid, d) for m in call.org.members.values() for d in m.departments]
    cursor = call.body.get("cursor", "")
    part, following = page(pairs, cursor if isinstance(cursor, str) else "?", limit)
    return {"next_cursor": following, "dept_user": [{"userid": u, "department": d} for u, d in part]}


def looked_up(call: Call, found: Member | None) -> dict[str, Any]:
    """The userid of a look-up; too many failures block it for a day."""
    org = call.org
    if org.lookups_blocked_until and call.now < org.lookups_blocked_until:
        raise Refused(45009, "api freq out of limit")
    if found is None or not call.seen(found):
        day = timedelta(days=1)
        org.failed_lookups = [*(each for each in org.failed_lookups if each > call.now - day), call.now]
        if len(org.failed_lookups) > LOOKUP_FAILURES_MAX:
            org.lookups_blocked_until = call.now + day
            org.failed_lookups = []
        raise Refused(46004, "user not exist")
    return {"userid": found.userid}


@endpoint("POST", "user/getuserid")
def getuserid(call: Call) -> dict[str, Any]:
    """Mobile number to userid (95402)."""
    mobile = call.text("mobile")
    if not 5 <= len(mobile.encode()) <= 32:
        raise Refused(60103, "invalid mobile")
    return looked_up(call, next((each for each in call.org.members.values() if each.mobile == mobile), None))


@endpoint("POST", "user/get_userid_by_email")
def get_userid_by_email(call: Call) -> dict[str, Any]:
    """Address to userid (95895): email_type 1 the corporate mailbox, 2 the personal one."""
    address = call.text("email")
    kind = call.number("email_type", default=1)
    if kind not in (1, 2):
        raise Refused(40058, "invalid email_type")
    if kind == 1:
        return looked_up(call, call.org.member_of_address(address))
    wanted = address.lower()
    return looked_up(call, next((each for each in call.org.members.values() if each.email.lower() == wanted), None))


def address_checked(org: Organisation, address: Any) -> str:
    """A well-formed corporate address of 6 to 63 bytes in one of the corp's domains, lower case."""
    if not isinstance(address, str) or not 6 <= len(address.encode()) <= 63 or not ADDRESS.fullmatch(address):
        raise Refused(60143, "invalid biz_mail")
    if not org.owns(address.rpartition("@")[2]):
        raise Refused(81015, "biz_mail domain does not match")
    return address.lower()


@endpoint("POST", "user/update", "contacts")
def user_update(call: Call) -> dict[str, Any]:
    """
    Change a member (90197); only what is sent changes.

    biz_mail once and only while the address is the system's own, never for members made after 2022-04-25: 60144.
    biz_mail_alias overwrites the whole list. What contacts sync writes itself makes no callback.
    """
    org = call.org
    if org.troubles.strikes("contacts_sync_off", call.path):
        raise Refused(48002, "api forbidden")
    member = call.member(call.text("userid", missing=41009, bytes_max=64))
    body = call.body
    new = body.get("biz_mail")
    if new is not None:
        new = address_checked(org, new)
        if new == member.address:
            new = None
    if new is not None:
        if member.address is not None:
            refused = org.troubles.strikes("rename_refused", call.path)
            if refused or not member.system_made or member.created.isoformat() > "2022-04-25":
                raise Refused(60144, "update biz_mail failed")
        holder = org.occupied(new)
        if holder == "member":
            raise Refused(60145, "biz_mail existed")
        if holder is not None:
            raise Refused(60143, "invalid biz_mail")
    aliases: list[str] | None = None
    if "biz_mail_alias" in body:
        aliases = aliases_sent(call, member, body["biz_mail_alias"])
    departments = departments_sent(call, member)
    if new is not None:
        org.rename(member, new)
    if aliases is not None:
        member.aliases = [each for each in aliases if each != member.address]
    if departments is not None:
        member.departments = departments
        member.leads &= set(departments)
    if "is_leader_in_dept" in body:
        flags = body["is_leader_in_dept"]
        member.leads = {d for d, flag in zip(member.departments, flags, strict=True) if flag == 1}
    for field, attribute in (("name", "name"), ("position", "position"), ("alias", "alias"), ("mobile", "mobile")):
        if isinstance(body.get(field), str):
            setattr(member, attribute, body[field])
    if isinstance(body.get("direct_leader"), list):
        member.leaders = [str(each) for each in body["direct_leader"]][:1]
    if body.get("enable") in (0, 1):
        member.status = 1 if body["enable"] else 2
    if member.address:
        org.sync(member.address)
    org.changed()
    return {"errmsg": "updated"}


def aliases_sent(call: Call, member: Member, value: Any) -> list[str]:
    """The alias list of user/update, checked; an empty structure clears."""
    items = value.get("item", []) if isinstance(value, dict) else None
    if not isinstance(items, list):
        raise Refused(40058, "invalid biz_mail_alias")
    if len(items) > ALIASES_MAX:
        raise Refused(40058, "biz_mail_alias exceed max count")
    if member.address is None and items:
        raise Refused(60148, "biz_mail not found")
    aliases = [address_checked(call.org, each) for each in items]
    for each in aliases:
        if each not in member.aliases and each != member.address and call.org.occupied(each):
            raise Refused(60143, "invalid biz_mail_alias")
    return list(dict.fromkeys(aliases))


def departments_sent(call: Call, member: Member) -> list[int] | None:
    """The departments of user/update, checked against `order` and `is_leader_in_dept` (60132)."""
    departments = call.body.get("department")
    if departments is not None:
        if not isinstance(departments, list) or not departments or len(departments) > 20:
            raise Refused(60110, "invalid department count")
        if not known(departments, call.org.departments):
            raise Refused(60123, "invalid department id")
    count = len(departments if departments is not None else member.departments)
    for name in ("order", "is_leader_in_dept"):
        flags = call.body.get(name)
        if flags is not None and (not isinstance(flags, list) or len(flags) != count):
            raise Refused(60132, f"{name} and department size not match")
    return departments


# ---------------------------------------------------------------------- departments and tags
def departments_seen(call: Call) -> list[Department]:
    """The departments asked for (`id` with everything below, or all) that this token may see."""
    org = call.org
    wanted = set(org.departments)
    if "id" in call.query:
        wanted = org.department_and_below(department_asked(call, "id").id)
    if call.caller == "app":
        wanted &= org.visible_departments()
    return [each for each in org.departments.values() if each.id in wanted]


def department_shown(call: Call, department: Department) -> dict[str, Any]:
    """A department with its leaders, as far as they are in sight."""
    leaders = [each for each in department.leaders if (found := call.org.member(each)) and call.seen(found)]
    return {
        "id": department.id,
        "name": department.name,
        "name_en": department.name_en,
        "department_leader": leaders,
        "parentid": department.parent,
        "order": department.order,
    }


@endpoint("GET", "department/list", "app", "contacts")
def department_list(call: Call) -> dict[str, Any]:
    """Departments (90208)."""
    return {"department": [department_shown(call, each) for each in departments_seen(call)]}


@endpoint("GET", "department/simplelist", "app", "contacts")
def department_simplelist(call: Call) -> dict[str, Any]:
    """Ids of departments (95350)."""
    rows = departments_seen(call)
    return {"department_id": [{"id": each.id, "parentid": each.parent, "order": each.order} for each in rows]}


@endpoint("GET", "department/get", "app", "contacts")
def department_get(call: Call) -> dict[str, Any]:
    """One department (95351)."""
    return {"department": department_shown(call, department_asked(call, "id"))}


@endpoint("GET", "tag/list", "app", "contacts")
def tag_list(call: Call) -> dict[str, Any]:
    """Tags in the visible range (90216)."""
    tags = [each for each in call.org.tags.values() if each.visible or call.caller == "contacts"]
    return {"taglist": [{"tagid": each.id, "tagname": each.name} for each in tags]}


@endpoint("GET", "tag/get", "app", "contacts")
def tag_get(call: Call) -> dict[str, Any]:
    """A tag's members and departments, as far as they are in sight (90213)."""
    tag: Tag | None = call.org.tags.get(call.asked_number("tagid", missing=41017))
    if tag is None:
        raise Refused(40068, "invalid tagid")
    if call.caller == "app" and not tag.visible:
        raise Refused(60011, "no privilege to access/modify contact/party/agent")
    members = [found for each in tag.members if (found := call.org.member(each)) and call.seen(found)]
    sight = call.org.visible_departments() if call.caller == "app" else set(call.org.departments)
    return {
        "tagname": tag.name,
        "userlist": [{"userid": each.userid, "name": each.name} for each in members],
        "partylist": [each for each in tag.departments if each in sight],
    }


# ---------------------------------------------------------------------- OAuth2, the app, the platform
@endpoint("GET", "auth/getuserinfo")
def getuserinfo(call: Call) -> dict[str, Any]:
    """Who came with an OAuth2 code: one use, 5 minutes (91023)."""
    code = call.asked("code", 41008)
    who, issued_at = call.org.oauth_codes.pop(code, ("", call.now))
    if not who or call.now >= issued_at + timedelta(minutes=CODE_MINUTES):
        raise Refused(40029, "invalid code")
    member = call.org.member(who)
    if member is None:
        return {"openid": "o" + who}
    if not call.seen(member):
        raise Refused(50002, "member not in the permission range")
    return {"userid": member.userid}


@endpoint("GET", "agent/get")
def agent_get(call: Call) -> dict[str, Any]:
    """The app's own settings (90227)."""
    org = call.org
    agent = call.asked_number("agentid", missing=40056)
    if agent != org.agent_id:
        raise Refused(301002, "not allow operate another agent with this accesstoken")
    return {
        "agentid": org.agent_id,
        "name": "邮箱管家",
        "square_logo_url": "",
        "description": "公司邮箱的备份与交接",
        "allow_userinfos": {"user": []},
        "allow_partys": {"partyid": list(org.visible)},
        "allow_tags": {"tagid": [each.id for each in org.tags.values() if each.visible]},
        "close": 0,
        "redirect_domain": org.bot_url.partition("://")[2].partition("/")[0],
        "report_location_flag": 0,
        "isreportenter": 1,
        "home_url": "",
    }


@endpoint("GET", "getcallbackip", "app", "contacts")
def getcallbackip(call: Call) -> dict[str, Any]:
    """Where callbacks come from (90930)."""
    return {"ip_list": ["127.0.0.1"]}


@endpoint("GET", "get_api_domain_ip", "app", "contacts")
def get_api_domain_ip(call: Call) -> dict[str, Any]:
    """Where this API answers (92520)."""
    return {"ip_list": ["127.0.0.1"]}


@endpoint("GET", "batch/getresult", "app", "contacts")
def batch_getresult(call: Call) -> dict[str, Any]:
    """What became of a batch job; the last five are kept (90983)."""
    wanted = call.asked("jobid", 40088)
    for number, job in enumerate(reversed(call.org.jobs)):
        if job["jobid"] == wanted:
            if number >= 5:
                raise Refused(40089, "job result cleaned")
            return {name: value for name, value in job.items() if name != "jobid"}
    raise Refused(40088, "invalid jobid")


@endpoint("POST", "security/admin_oper_log/list")
def admin_oper_log(call: Call) -> dict[str, Any]:
    """What admins did in the console, never what was done by API (100179)."""
    if call.org.troubles.strikes("log_not_allowed", call.path):
        raise Refused(48002, "api forbidden")
    start, end = call.number("start_time"), call.number("end_time")
    now = call.org.epoch()
    if start < now - 180 * 86400 or end <= start or end > now or end - start > 7 * 86400:
        raise Refused(40058, "invalid time range")
    limit = call.number("limit", default=400)
    if not 1 <= limit <= 400:
        raise Refused(40058, "invalid limit")
    records = [
        each
        for each in call.org.admin_log
        if start <= int(each.at.timestamp()) <= end
        and call.body.get("oper_type", each.oper_type) == each.oper_type
        and call.body.get("userid", each.admin) == each.admin
    ]
    cursor = call.body.get("cursor", "")
    part, following = page(records, cursor if isinstance(cursor, str) else "?", limit)
    return {
        "has_more": bool(following),
        "next_cursor": following,
        "record_list": [
            {
                "time": int(each.at.timestamp()),
                "userid": each.admin,
                "oper_type": each.oper_type,
                "detail_type": each.detail_type,
                "detail_info": each.detail,
                "ip": SEEN_IP,
            }
            for each in part
        ],
    }
