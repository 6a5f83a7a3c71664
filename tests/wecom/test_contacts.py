"""People and departments as values, whatever WeCom leaves out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bot.wecom import contacts
from bot.wecom.client import WeComClient
from bot.wecom.contacts import AddressKind, Department, MemberInfo, MemberStatus, Placement, Tag
from bot.wecom.errcodes import WeComError

from .conftest import GETTOKEN, WeCom, fixture

BY_ADDRESS = "/cgi-bin/user/get_userid_by_email"


def secret_of(wecom: WeCom) -> str:
    """Whose token the last call carried."""
    tokens = {f"token-{number}": each.query["corpsecret"] for number, each in enumerate(wecom.calls(GETTOKEN), 1)}
    return tokens[wecom.last.query["access_token"]]


def test_member(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer("/cgi-bin/user/get", fixture("user/get.full.response.json"))
    assert contacts.member(client, "zhang+san@") == MemberInfo(
        userid="zhangsan",
        name="张三",
        departments=(1, 2),
        main_department=1,
        leads=(1,),
        direct_leader="lisi",
        position="后台工程师",
        alias="jackzhang",
        status=MemberStatus.ACTIVE,
        address="zhangsan@qyycs2.wecom.work",
    )
    assert wecom.last.query["userid"] == "zhang+san@"
    assert secret_of(wecom) == "app-secret"


@pytest.mark.parametrize(
    "told",
    [{}, {"biz_mail": ""}, {"department": None, "direct_leader": [], "main_department": 0, "status": 99}],
)
def test_a_member_of_a_new_app(client: WeComClient, wecom: WeCom, told: dict[str, Any]) -> None:
    """Absent is not empty: the app may just not see it."""
    wecom.answer("/cgi-bin/user/get", {"errcode": 0, "userid": "mei", **told})
    member = contacts.member(client, "mei")
    assert (member.userid, member.address, member.status, member.departments) == ("mei", None, None, ())
    assert member.direct_leader is None


def test_numbers_may_be_strings(client: WeComClient, wecom: WeCom) -> None:
    told = {"department": ["1", "2"], "is_leader_in_dept": ["0", "1"], "main_department": "2", "status": "4"}
    wecom.answer("/cgi-bin/user/get", {"errcode": 0, "userid": "mei", **told})
    member = contacts.member(client, "mei")
    assert (member.departments, member.leads, member.main_department) == ((1, 2), (2,), 2)
    assert member.status is MemberStatus.NOT_ACTIVATED


def test_members_and_names(client: WeComClient, wecom: WeCom) -> None:
    full = fixture("user/get.full.response.json")
    wecom.answer("/cgi-bin/user/list", {"errcode": 0, "userlist": [full, {"userid": "lisi"}]})
    assert [each.userid for each in contacts.members(client, 2)] == ["zhangsan", "lisi"]
    assert wecom.last.query["department_id"] == "2"
    wecom.answer("/cgi-bin/user/simplelist", fixture("user/simplelist.response.json"))
    assert contacts.names(client, 2) == [MemberInfo("zhangsan", "张三", (1, 2))]
    wecom.answer("/cgi-bin/user/list", {"errcode": 0})
    assert contacts.members(client, 2) == []


def test_list_ids_reads_all_pages(client: WeComClient, wecom: WeCom) -> None:
    last = {"errcode": 0, "next_cursor": "", "dept_user": [{"userid": "wangwu", "department": 3}, {}]}
    wecom.answer("/cgi-bin/user/list_id", fixture("user/list_id.response.json"), last)
    assert contacts.list_ids(client) == [
        Placement("zhangsan", 1),
        Placement("zhangsan", 2),
        Placement("lisi", 2),
        Placement("wangwu", 3),
    ]
    assert [each.json for each in wecom.calls("/cgi-bin/user/list_id")] == [
        {"limit": 10000},
        {"limit": 10000, "cursor": "aaaaaaaaa"},
    ]
    assert secret_of(wecom) == "contacts-secret"


def test_who_has_an_address(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer(BY_ADDRESS, fixture("user/get_userid_by_email.response.json"))
    assert contacts.userid_by_address(client, "zhangsan@corp.test") == "zhangsan"
    assert wecom.last.json == {"email": "zhangsan@corp.test", "email_type": 1}
    contacts.userid_by_address(client, "zhangsan@qq.com", AddressKind.PRIVATE)
    assert wecom.last.json["email_type"] == 2


def test_nobody_has_the_address(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer(BY_ADDRESS, {"errcode": 46004, "errmsg": "user no exist"}, {"errcode": 45009})
    assert contacts.userid_by_address(client, "ghost@corp.test") is None
    with pytest.raises(WeComError):
        contacts.userid_by_address(client, "ghost@corp.test")


@pytest.mark.parametrize(
    "address", ["", "mei", "mei@", "@corp.test", "mei@corp", "a b@corp.test", "美@corp.test", "a@b@c.d"]
)
def test_what_is_no_address_is_not_looked_up(client: WeComClient, wecom: WeCom, address: str) -> None:
    """Failed look-ups can block the call for a day."""
    with pytest.raises(ValueError, match="address"):
        contacts.userid_by_address(client, address)
    assert not wecom.asked


def test_who_has_a_number(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer("/cgi-bin/user/getuserid", fixture("user/getuserid.response.json"), {"errcode": 46004})
    assert contacts.userid_by_mobile(client, "13800000000") == "zhangsan"
    assert wecom.last.json == fixture("user/getuserid.request.json")
    assert contacts.userid_by_mobile(client, "13800000000") is None


def test_update_sends_only_what_changes(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer("/cgi-bin/user/update", fixture("user/update.response.json"))
    contacts.update_member(client, "ahing", address="ahing.wong@corp.test")
    assert wecom.last.json == {"userid": "ahing", "biz_mail": "ahing.wong@corp.test"}
    assert secret_of(wecom) == "contacts-secret"
    contacts.update_member(client, "ahing", aliases=["a.hing@corp.test"])
    assert wecom.last.json == {"userid": "ahing", "biz_mail_alias": {"item": ["a.hing@corp.test"]}}
    contacts.update_member(client, "ahing", aliases=[])
    assert wecom.last.json == {"userid": "ahing", "biz_mail_alias": {"item": []}}
    sample = fixture("user/update.request.json")
    contacts.update_member(client, "zhangsan", address=sample["biz_mail"], aliases=sample["biz_mail_alias"]["item"])
    assert wecom.last.json == {key: sample[key] for key in ("userid", "biz_mail", "biz_mail_alias")}


@pytest.mark.parametrize(
    "changes",
    [{}, {"address": "x"}, {"address": f"{'a' * 60}@corp.test"}, {"aliases": ["a@corp.test"] * 6}, {"aliases": ["x"]}],
)
def test_updates_wecom_would_refuse(client: WeComClient, wecom: WeCom, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"address|aliases|nothing"):
        contacts.update_member(client, "ahing", **changes)
    assert not wecom.asked


def test_departments(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer("/cgi-bin/department/list", fixture("department/list.response.json"))
    assert contacts.departments(client) == [
        Department(2, "广州研发中心", "RDGZ", 1, 10),
        Department(3, "邮箱产品部", "mail", 2, 40),
    ]
    assert "id" not in wecom.last.query
    contacts.departments(client, 2)
    assert wecom.last.query["id"] == "2"
    wecom.answer("/cgi-bin/department/get", fixture("department/get.response.json"))
    assert contacts.department(client, 2) == Department(2, "广州研发中心", "RDGZ", 1, 10, ("zhangsan", "lisi"))
    wecom.answer("/cgi-bin/department/simplelist", fixture("department/simplelist.response.json"))
    assert contacts.department_ids(client) == [Department(2, parent=1, order=10), Department(3, parent=2, order=40)]


def test_departments_with_little_to_see(client: WeComClient, wecom: WeCom) -> None:
    """The root has parent 0, and a new app sees no leaders and perhaps no names."""
    wecom.answer("/cgi-bin/department/list", {"errcode": 0, "department": [{"id": "1", "parentid": 0}]})
    assert contacts.departments(client) == [Department(1)]
    wecom.answer("/cgi-bin/department/get", {"errcode": 0})
    assert contacts.department(client, 7) == Department(7)


def test_tags(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer("/cgi-bin/tag/list", fixture("tag/list.response.json"))
    assert contacts.tags(client) == [Tag(1, "a"), Tag(2, "b")]
    wecom.answer("/cgi-bin/tag/get", fixture("tag/get.response.json"))
    assert contacts.tag(client, 9) == Tag(9, "乒乓球协会", ("zhangsan",), (2,))
    assert wecom.last.query["tagid"] == "9"


def test_the_link_to_a_page(client: WeComClient) -> None:
    url = contacts.authorize_url(client, "https://bot.corp.test/page?x=1&y=二", "s0")
    parts = urlsplit(url)
    assert (parts.netloc, parts.path, parts.fragment) == (
        "open.weixin.qq.com",
        "/connect/oauth2/authorize",
        "wechat_redirect",
    )
    assert {name: values[0] for name, values in parse_qs(parts.query).items()} == {
        "appid": "wwtestcorpid",
        "redirect_uri": "https://bot.corp.test/page?x=1&y=二",
        "response_type": "code",
        "scope": "snsapi_base",
        "state": "s0",
        "agentid": "1000002",
    }
    assert "https%3A%2F%2Fbot.corp.test%2Fpage%3Fx%3D1%26y%3D" in url
    assert contacts.authorize_url(client, "x", "s", base="http://127.0.0.1:9").startswith("http://127.0.0.1:9/connect")
    for state in ("a-b", "a" * 129, "邮", "a\n"):
        with pytest.raises(ValueError, match="state"):
            contacts.authorize_url(client, "x", state)


def test_who_opened_the_page(client: WeComClient, wecom: WeCom) -> None:
    path = "/cgi-bin/auth/getuserinfo"
    wecom.answer(path, {"errcode": 0, "userid": "mei", "user_ticket": "ticket-1"})
    visitor = contacts.userinfo(client, "CODE")
    assert visitor.userid == "mei"
    assert "ticket-1" not in repr(visitor)
    assert wecom.last.query["code"] == "CODE"
    wecom.answer(path, {"errcode": 0, "openid": "o1", "external_userid": "e1"}, {"errcode": 0, "UserId": "ling"})
    assert contacts.userinfo(client, "CODE").userid is None
    assert contacts.userinfo(client, "CODE").userid == "ling"
    wecom.answer(path, {"errcode": 40029})
    with pytest.raises(WeComError) as caught:
        contacts.userinfo(client, "CODE")
    assert "5 minutes" in caught.value.words().text("en")
    for code in ("", "x" * 513):
        with pytest.raises(ValueError, match="code"):
            contacts.userinfo(client, code)


def test_the_app(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer("/cgi-bin/agent/get", fixture("agent/get.response.json"))
    app = contacts.app_info(client)
    assert (app.agent_id, app.name, app.enabled, app.reports_enter) == (1000005, "HR助手", True, False)
    assert (app.userids, app.departments, app.tags) == (("zhangshan", "lisi"), (1,), (1, 2, 3))
    assert app.trusted_domain == "open.work.weixin.qq.com"
    wecom.answer("/cgi-bin/agent/get", {"errcode": 0, "close": "1"})
    assert contacts.app_info(client).enabled is False


def test_addresses_of_wecom(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer("/cgi-bin/getcallbackip", fixture("getcallbackip.response.json"))
    assert contacts.callback_ips(client) == ["1.2.3.4", "2.3.3.3"]
    wecom.answer("/cgi-bin/get_api_domain_ip", fixture("get_api_domain_ip.response.json"))
    assert contacts.api_ips(client) == ["182.254.11.176", "182.254.78.66"]


def test_what_admins_did(client: WeComClient, wecom: WeCom) -> None:
    path = "/cgi-bin/security/admin_oper_log/list"
    first = fixture("security/admin_oper_log.list.response.json")
    wecom.answer(path, first, {**first, "has_more": 0})
    until = datetime(2026, 3, 1, tzinfo=UTC)
    acts = contacts.admin_log(client, until - timedelta(days=7), until, kind=3)
    assert len(acts) == 4
    assert (acts[0].at, acts[0].userid) == (datetime(2024, 8, 21, 16, tzinfo=UTC), "sam")
    asked = [each.json for each in wecom.calls(path)]
    assert asked[1] == {**asked[0], "cursor": "xxxx"}
    assert asked[0]["oper_type"] == 3
    for days in (0, -1, 8):
        with pytest.raises(ValueError, match="days"):
            contacts.admin_log(client, until - timedelta(days=days), until)


def test_a_contacts_job(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer("/cgi-bin/batch/getresult", fixture("batch/getresult.response.json"))
    job = contacts.batch_job(client, "J1")
    assert (job.kind, job.done, job.total, job.percentage) == ("replace_user", False, 3, 33)
    assert [(each.userid, each.department) for each in job.items] == [
        ("lisi", None),
        ("zhangsan", None),
        (None, 1),
        (None, 2),
    ]


@pytest.mark.parametrize(
    ("value", "number", "boolean"),
    [
        *((1, 1, True), ("1", 1, True), (True, 1, True), (1.0, 1, True), ("true", None, True)),
        *((0, 0, False), ("0", 0, False), (False, 0, False), ("false", None, False)),
        *((None, None, False), ("", None, False), ("x", None, False), ([], None, False)),
    ],
)
def test_spellings(value: object, number: int | None, boolean: bool) -> None:
    assert contacts.number(value) == number
    assert contacts.boolean(value) is boolean


def test_lists_may_be_wrapped_bare_or_absent() -> None:
    for value in ({"list": [1, "2"]}, [1, "2"]):
        assert contacts.numbers(value) == (1, 2)
        assert contacts.texts(value) == ("1", "2")
    for value in (None, {}, {"list": None}, "x", 5):
        assert contacts.numbers(value) == ()
        assert contacts.dicts(value) == []
