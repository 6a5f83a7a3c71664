"""Contacts, look-ups, renames, OAuth2 and the admin log of the simulated WeCom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bot.sandbox.wecom.contacts import LOOKUP_FAILURES_MAX
from tests.sandbox.wecom_world import BASE, World


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


def whose(world: World, address: str) -> str | int:
    """The userid, or the errcode."""
    answer = world.post("user/get_userid_by_email", {"email": address})
    found: str | int = answer.get("userid", answer["errcode"])
    return found


# ---------------------------------------------------------------------- reading
def test_a_member_comes_without_what_new_apps_may_not_see(world: World) -> None:
    ahing = world.get("user/get", userid="AHING")
    assert (ahing["userid"], ahing["name"], ahing["main_department"]) == ("ahing", "阿兴", 2)
    assert ahing["direct_leader"] == ["ling"]
    assert len(ahing["department"]) == len(ahing["is_leader_in_dept"])
    assert not {"biz_mail", "email", "mobile", "avatar", "gender", "address"} & ahing.keys()
    world.trouble("restricted_fields", on=False)
    assert world.get("user/get", userid="ahing")["biz_mail"] == "ahing@corp.test"


def test_members_outside_the_visible_range_cannot_be_read(world: World) -> None:
    world.console("set_range", departments=[2])
    assert world.get("user/get", userid="mei")["errcode"] == 60011
    assert world.get("user/get", userid="nobody")["errcode"] == 60111
    assert world.get("user/simplelist", department_id=4)["errcode"] == 60011
    assert whose(world, "mei@corp.test") == 46004
    assert world.get("user/get", userid="ling")["direct_leader"] == []
    assert [each["id"] for each in world.get("department/list")["department"]] == [2, 5]
    assert world.code("exmail/mail/get_newcount", {"userid": "mei"}) == 60021


def test_departments_know_their_leaders(world: World) -> None:
    sales = world.get("department/get", id=2)["department"]
    assert (sales["name"], sales["name_en"], sales["department_leader"], sales["parentid"]) == (
        "销售",
        "Sales",
        ["ling"],
        1,
    )
    assert [each["id"] for each in world.get("department/simplelist", id=2)["department_id"]] == [2, 5]
    assert world.get("department/get", id=99)["errcode"] == 60003
    assert len(world.get("department/list", caller="contacts")["department"]) == 5


def test_lists_of_members(world: World) -> None:
    names = world.get("user/simplelist", department_id=2)["userlist"]
    assert {each["userid"] for each in names} == {"ling", "ahing", "calvin"}
    assert {each["userid"] for each in world.get("user/list", department_id=2)["userlist"]} == {
        "ling",
        "ahing",
        "calvin",
    }
    first = world.post("user/list_id", {"limit": 6}, caller="contacts")
    second = world.post("user/list_id", {"limit": 6, "cursor": first["next_cursor"]}, caller="contacts")
    assert second["next_cursor"] == ""
    assert len({each["userid"] for each in first["dept_user"] + second["dept_user"]}) == 10
    assert world.code("user/list_id", {"cursor": "made up"}, caller="contacts") == 50100


def test_tags(world: World) -> None:
    tags = {each["tagname"]: each["tagid"] for each in world.get("tag/list")["taglist"]}
    admins = world.get("tag/get", tagid=tags["mail-admin"])
    assert admins["userlist"] == [{"userid": "mei", "name": "美玲"}]
    assert world.get("tag/get", tagid=99)["errcode"] == 40068


def test_the_app_knows_itself(world: World) -> None:
    agent = world.get("agent/get", agentid=world.org.agent_id)
    assert agent["allow_partys"] == {"partyid": [1]}
    assert world.get("agent/get", agentid=1)["errcode"] == 301002
    assert world.get("getcallbackip")["ip_list"] == ["127.0.0.1"]
    assert world.get("get_api_domain_ip")["ip_list"] == ["127.0.0.1"]


# ---------------------------------------------------------------------- look-ups
def test_an_address_leads_to_its_owner(world: World) -> None:
    assert whose(world, "Ahing@Corp.test") == "ahing"
    assert whose(world, "support@corp.test") == 46004
    assert world.post("user/get_userid_by_email", {"email": "mei@personal.test", "email_type": 2})["userid"] == "mei"
    assert world.code("user/get_userid_by_email", {"email": "x@y.z", "email_type": 3}) == 40058
    assert world.post("user/getuserid", {"mobile": "13800138002"})["userid"] == "ahing"
    assert world.code("user/getuserid", {"mobile": "1"}) == 60103


def test_too_many_failed_lookups_block_for_a_day(world: World) -> None:
    for _ in range(LOOKUP_FAILURES_MAX + 1):
        assert whose(world, "nobody@corp.test") == 46004
    assert whose(world, "ahing@corp.test") == 45009
    world.advance(hours=24)
    assert whose(world, "ahing@corp.test") == "ahing"


# ---------------------------------------------------------------------- user/update
def change(world: World, userid: str, **fields: Any) -> int:
    return world.code("user/update", {"userid": userid, **fields}, caller="contacts")


def test_only_a_system_made_old_address_can_be_changed_and_only_once(world: World) -> None:
    assert change(world, "ahing", biz_mail="ahing2@corp.test") == 60144
    assert change(world, "tao", biz_mail="tao2@corp.test") == 60144
    assert change(world, "jun", biz_mail="lijun@corp.test") == 0
    assert (whose(world, "lijun@corp.test"), whose(world, "jun@corp.test")) == ("jun", 46004)
    assert world.mail.mailbox("jun@corp.test") is world.mail.mailbox("lijun@corp.test")
    assert change(world, "jun", biz_mail="again@corp.test") == 60144


@pytest.mark.parametrize(
    ("address", "errcode"),
    [
        ("not an address", 60143),
        ("a@b.c", 60143),
        ("jun@elsewhere.test", 81015),
        ("mei@corp.test", 60145),
        ("support@corp.test", 60143),
    ],
)
def test_a_bad_new_address_is_refused(world: World, address: str, errcode: int) -> None:
    assert change(world, "jun", biz_mail=address) == errcode
    assert whose(world, "jun@corp.test") == "jun"


def test_the_alias_list_is_overwritten(world: World) -> None:
    box = world.org.box("ahing@corp.test")
    assert change(world, "ahing", biz_mail_alias={"item": ["a.hing@corp.test", "hing@corp.test"]}) == 0
    assert box.aliases == {"a.hing@corp.test", "hing@corp.test"}
    assert change(world, "ahing", name="阿兴兴") == 0
    assert len(box.aliases) == 2
    assert change(world, "ahing", biz_mail_alias={"item": ["hing@corp.test"]}) == 0
    assert box.aliases == {"hing@corp.test"}
    assert change(world, "ahing", biz_mail_alias={}) == 0
    assert box.aliases == set()


def test_a_bad_alias_changes_nothing(world: World) -> None:
    six = [f"alias{number}@corp.test" for number in range(6)]
    assert change(world, "ahing", biz_mail_alias={"item": six}) == 40058
    assert change(world, "ahing", biz_mail_alias={"item": ["mei@corp.test"]}) == 60143
    assert change(world, "ahing", biz_mail_alias={"item": ["hing@elsewhere.test"]}) == 81015
    assert change(world, "ahing", biz_mail_alias=["hing@corp.test"]) == 40058
    assert world.org.box("ahing@corp.test").aliases == set()


def test_departments_and_flags_must_match(world: World) -> None:
    assert change(world, "ahing", department=[2, 3], is_leader_in_dept=[1]) == 60132
    assert change(world, "ahing", department=[2, 99]) == 60123
    assert change(world, "ahing", department=[2, 3], is_leader_in_dept=[0, 1]) == 0
    assert world.get("user/get", userid="ahing")["is_leader_in_dept"] == [0, 1]
    assert change(world, "nobody", name="x") == 60111


def test_what_contacts_sync_writes_makes_no_callback(world: World) -> None:
    change(world, "ahing", name="阿兴兴")
    assert world.bot.raw == []


def test_contacts_sync_can_be_off(world: World) -> None:
    world.trouble("contacts_sync_off")
    assert change(world, "ahing", name="x") == 48002


# ---------------------------------------------------------------------- OAuth2
def authorize(world: World, **change: str) -> Any:
    params = {
        "appid": world.org.corp_id,
        "redirect_uri": f"{BASE}/page/abc?x=1",
        "response_type": "code",
        "scope": "snsapi_base",
        "state": "state1",
        "agentid": str(world.org.agent_id),
        **change,
    }
    return world.run(world.http.get("/connect/oauth2/authorize", params=params))


def open_as(world: World, member: str, url: str = "/") -> Any:
    return world.run(world.http.get("/_sandbox/open", params={"member": member, "url": url}))


def code_for(world: World, member: str) -> str:
    assert open_as(world, member).status_code == 303
    answer = authorize(world)
    assert answer.status_code == 302
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert (query["x"], query["state"]) == (["1"], ["state1"])
    return query["code"][0]


def test_who_opens_a_link_is_told_once_within_five_minutes(world: World) -> None:
    code = code_for(world, "ahing")
    assert world.get("auth/getuserinfo", code=code)["userid"] == "ahing"
    assert world.get("auth/getuserinfo", code=code)["errcode"] == 40029
    late = code_for(world, "mei")
    world.advance(minutes=5)
    assert world.get("auth/getuserinfo", code=late)["errcode"] == 40029


def test_an_outsider_has_only_an_openid(world: World) -> None:
    answer = world.get("auth/getuserinfo", code=code_for(world, "outsider"))
    assert answer["openid"]
    assert "userid" not in answer


def test_outside_of_wecom_there_is_no_code(world: World) -> None:
    assert authorize(world).status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        {"redirect_uri": "http://127.0.0.1:9000/page"},
        {"redirect_uri": "http://elsewhere.test/page"},
        {"redirect_uri": "javascript:alert(1)"},
        {"appid": "wwother"},
        {"response_type": "token"},
        {"scope": "all"},
        {"state": "with space"},
        {"state": "x" * 129},
    ],
)
def test_a_bad_link_is_refused(world: World, change: dict[str, str]) -> None:
    open_as(world, "mei")
    assert authorize(world, **change).status_code == 400


@pytest.mark.parametrize(
    "url", ["http://elsewhere.test/", "//elsewhere.test/", "/\\elsewhere.test", "javascript:x", "x"]
)
def test_only_links_to_bot_and_sandbox_are_opened(world: World, url: str) -> None:
    assert open_as(world, "mei", url).status_code == 400


def test_a_link_of_the_bot_is_opened_as_the_member(world: World) -> None:
    world.org.bot_url = "http://127.0.0.1:8100"
    answer = open_as(world, "ahing", "http://127.0.0.1:8100/page/abc")
    assert (answer.status_code, answer.headers["location"]) == (303, "http://127.0.0.1:8100/page/abc")
    assert open_as(world, "nobody", "/").status_code == 404


# ---------------------------------------------------------------------- admin log, batch jobs
def test_the_admin_log_holds_what_people_did_in_the_console(world: World) -> None:
    world.console("delete_member", member="calvin")
    world.console("add_member", member="eva", name="伊娃", department=2)
    world.advance(hours=1)
    change(world, "ahing", name="x")
    now = world.org.epoch()
    span = {"start_time": now - 86400, "end_time": now}
    log = world.post("security/admin_oper_log/list", span)
    assert [each["detail_info"] for each in log["record_list"]] == ["删除成员：卡尔文", "添加成员：伊娃"]
    assert log["has_more"] is False
    page = world.post("security/admin_oper_log/list", {**span, "limit": 1})
    assert page["has_more"] is True
    rest = world.post("security/admin_oper_log/list", {**span, "limit": 1, "cursor": page["next_cursor"]})
    assert rest["record_list"][0]["detail_info"] == "添加成员：伊娃"
    for bad in ({"start_time": now - 8 * 86400}, {"start_time": now}, {"end_time": now + 60}, {"limit": 401}):
        assert world.code("security/admin_oper_log/list", {**span, **bad}) == 40058
    world.trouble("log_not_allowed")
    assert world.code("security/admin_oper_log/list", span) == 48002


def test_the_last_five_batch_jobs_are_kept(world: World) -> None:
    world.org.jobs = [{"jobid": f"job{number}", "status": 3, "type": "sync_user"} for number in range(6)]
    assert world.get("batch/getresult", jobid="job5")["status"] == 3
    assert world.get("batch/getresult", jobid="job0")["errcode"] == 40089
    assert world.get("batch/getresult", jobid="other")["errcode"] == 40088
